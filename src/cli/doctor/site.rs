//! Checks of the node and its site: does it answer, is it ready, are ports and peers reachable, do versions agree.

use super::Finding;
use super::{peers, ports};
use crate::{
    cli::{args::Globals, output, status},
    config::Settings,
    ops::{admin_client::AdminClient, codes},
};

pub async fn examine(globals: &Globals, settings: &Settings) -> Vec<Finding> {
    let socket = globals.socket.clone().unwrap_or_else(|| settings.admin_socket.clone());
    let client = AdminClient::new(&socket);
    let mut out = vec![];
    match client.get("/v1/status").await {
        Ok(told) => {
            out.push(Finding::ok("node", format!("answers on {}", socket.display())));
            out.push(ready(&client).await);
            out.push(version(&told));
            out.push(listener(&told, settings));
            out.push(at_rest(&told));
            out.push(bodies(&told));
            out.push(deliveries(&told));
            out.push(clock(&told));
            out.push(stamps(&told));
            out.push(disk(&told));
            out.push(registration(&told));
            out.push(backup(&told));
            out.extend(archive(&told));
            out.push(upstreams(&told));
        }
        // It runs, and what keeps it from opening is for an operator to mend: a store that no peer can make whole again, say.
        Err(e) if e.code == codes::CLI_NOT_READY.code => {
            let found = format!("runs, and is not open: {}", e.why);
            out.push(Finding::fail("node", found, format!("{}; `journalctl -u spine -n 50`", e.fix)));
        }
        Err(e) if e.why.contains("Permission denied") => {
            let fix = "run this as root, or as a user of the group spine (`usermod -aG spine USER`)";
            out.push(Finding::warn("node", e.why, fix));
        }
        Err(e) => {
            out.push(Finding::warn("node", e.why, "start it: `systemctl start spine`, or `spine serve`"));
            out.extend(ports::examine(settings));
        }
    }
    out.extend(peers::examine(&client, settings).await);
    out
}

/// A backup older than this was missed once.
const OLD: u64 = 26 * 3600;

fn backup(told: &serde_json::Value) -> Finding {
    let fix = "`spine backup create DIR`, then `spine backup verify`";
    match told["backup"]["age_seconds"].as_u64() {
        Some(age) if age > OLD => {
            Finding::warn("backup", format!("the last one made here is {} hours old", age / 3600), fix)
        }
        Some(age) => Finding::ok("backup", format!("the last one made here is {} hours old", age / 3600)),
        None if told["site"]["environment"] == "live" => {
            Finding::warn("backup", "this node has made none; another may have".to_owned(), fix)
        }
        None => Finding::ok("backup", "none is wanted of a site that is not live"),
    }
}

/// Longer than the longest `backup.archive_every`.
const BEHIND: u64 = 3600;

/// Where the log behind the newest backup is archived.
fn archive(told: &serde_json::Value) -> Option<Finding> {
    let archive = &told["backup"]["archive"];
    if !archive.is_object() {
        return None;
    }
    let check = "archive";
    let fix = "see to the disk of backup.dir; `spine backup create` begins a new archive";
    if let Some(gap) = archive["gap"].as_str() {
        return Some(Finding::warn(check, format!("it ended: {gap} (SPN-2208)"), fix));
    }
    if let Some(why) = archive["trouble"].as_str() {
        return Some(Finding::warn(check, format!("the log is not archived now: {why}"), fix));
    }
    Some(match archive["age_seconds"].as_u64() {
        Some(age) if age > BEHIND => {
            Finding::warn(check, format!("the log is archived until {} minutes ago", age / 60), fix)
        }
        Some(age) => Finding::ok(check, format!("the log is archived until {age} s ago")),
        None => {
            Finding::warn(check, "there is no backup in backup.dir yet whose log could be archived".to_owned(), fix)
        }
    })
}

/// What is handed to the system being replaced needs its address on every node.
fn upstreams(told: &serde_json::Value) -> Finding {
    let check = "upstreams";
    let missing: Vec<&str> =
        told["upstreams_missing"].as_array().into_iter().flatten().filter_map(|line| line.as_str()).collect();
    match missing.is_empty() {
        true => Finding::ok(check, "every node has the addresses of what is handed on"),
        false => Finding::fail(check, missing.join("; "), "set them there, then `spine config reload` on each"),
    }
}

async fn ready(client: &AdminClient) -> Finding {
    match client.text("/readyz").await {
        Ok((true, _)) => Finding::ok("ready", "takes traffic"),
        Ok((false, text)) => {
            let why = text.lines().next().unwrap_or_default().to_owned();
            Finding::fail("ready", why, "see `spine cluster status`")
        }
        Err(e) => Finding::fail("ready", e.why, e.fix),
    }
}

fn version(told: &serde_json::Value) -> Finding {
    let running = output::text(told, "node.version");
    let installed = env!("CARGO_PKG_VERSION");
    match running == installed {
        true => Finding::ok("version", running),
        false => Finding::warn(
            "version",
            format!("running {running}, installed {installed}"),
            "run `spine node restart` when it suits the site",
        ),
    }
}

/// Damage that was repaired is still a word about the disk.
fn at_rest(told: &serde_json::Value) -> Finding {
    let check = "at rest";
    let damage = &told["damage"];
    let lines = |key: &str| -> Vec<String> {
        let all = damage[key].as_array().into_iter().flatten();
        all.filter_map(|line| line.as_str().map(str::to_owned)).collect()
    };
    let (left, mended) = (lines("left"), lines("mended_at_start"));
    let (found, repaired) = (damage["found"].as_u64().unwrap_or(0), damage["repaired"].as_u64().unwrap_or(0));
    let fix = "nothing was lost; look at the disk (`smartctl -a`, `dmesg`) and replace it if this comes again";
    if !left.is_empty() {
        Finding::fail(
            check,
            left.join("; "),
            "`spine node restart`; if it stays, `smartctl -a` of the disk, replace it, and let the node come back with an empty \
             data folder (`spine explain SPN-3005`)",
        )
    } else if found > 0 {
        Finding::warn(check, format!("{found} damaged pieces found, {repaired} repaired"), fix)
    } else if !mended.is_empty() {
        Finding::warn(check, mended.join("; "), fix)
    } else {
        Finding::ok(check, "no damage found since the start")
    }
}

/// A socket that systemd opened wins over the configuration; where that was set to something else, one of them is a mistake.
fn listener(told: &serde_json::Value, settings: &Settings) -> Finding {
    let (check, key) = ("suppliers' listener", "supplier.listen");
    let (listens, says) = (output::text(told, "node.supplier"), settings.supplier.listen.to_string());
    let set = settings.told.values.iter().any(|value| value.key == key && !value.origin.starts_with("default"));
    match set && listens != says {
        false => Finding::ok(check, listens),
        true => Finding::warn(
            check,
            format!("{key} says {says}, spine.socket listens on {listens}"),
            format!("take {key} out, or give the socket that address (systemctl edit spine.socket)"),
        ),
    }
}

/// Bodies of which no node has a whole copy.
fn bodies(told: &serde_json::Value) -> Finding {
    let check = "bodies";
    match told["damage"]["lost"].as_array().map_or(0, Vec::len) {
        0 => Finding::ok(check, "none is known to be lost"),
        count => Finding::fail(
            check,
            format!("{count} are damaged or gone on every node; `spine status` names them"),
            "see `spine explain SPN-3005`",
        ),
    }
}

/// Commands between partitions that could not be delivered wait for an operator.
fn deliveries(told: &serde_json::Value) -> Finding {
    let check = "deliveries";
    let count = |key: &str| told["outbox"][key].as_u64().unwrap_or(0);
    match (count("dead_letters"), count("waiting")) {
        (0, waiting) => Finding::ok(check, format!("none is undeliverable, {waiting} are on their way")),
        (dead, _) => Finding::warn(
            check,
            format!("{dead} commands between partitions could not be delivered"),
            "see `spine outbox list`; once the cause is gone, `spine outbox retry --all`",
        ),
    }
}

/// The clock beside the other nodes'.
fn clock(told: &serde_json::Value) -> Finding {
    let check = "clocks agree";
    let fix = "compare `date -u` on all nodes; on the wrong one `chronyc tracking`, then `chronyc makestep`; see \
               `spine explain SPN-3002`";
    let clock = &told["clock"];
    match clock["trouble"].as_str() {
        Some(trouble) if clock["off"] == true => Finding::fail(check, trouble, fix),
        Some(trouble) => Finding::warn(check, trouble, fix),
        None if clock["standing"] == "alone" => Finding::ok(check, "no other node's clock is known"),
        None => Finding::ok(check, format!("{} ms from the median of all nodes", clock["ahead_ms"])),
    }
}

/// How long syncs take beside the other nodes'.
fn disk(told: &serde_json::Value) -> Finding {
    let (check, disk) = ("disk's pace", &told["disk"]);
    match (disk["trouble"].as_str(), disk["sync_ms"].as_f64()) {
        (Some(trouble), _) => {
            let fix = "`iostat -x 1 5` and `smartctl -a` of the disk; see `spine explain SPN-3004`";
            Finding::fail(check, trouble, fix)
        }
        (None, Some(millis)) => Finding::ok(check, format!("a sync of the log takes {millis:.1} ms")),
        (None, None) => Finding::ok(check, "too few syncs lately to say"),
    }
}

/// Time stamps that a wrong clock has left ahead of the clocks.
fn stamps(told: &serde_json::Value) -> Finding {
    let check = "time stamps";
    let all = told["partitions"].as_array().into_iter().flatten();
    let ahead = |p: &serde_json::Value| (p["stamps_ahead_ms"].as_u64().unwrap_or(0), p["partition"].to_string());
    match all.map(ahead).max().filter(|(millis, _)| *millis > 0) {
        None => Finding::ok(check, "none is ahead of the clocks"),
        Some((millis, partition)) => Finding::fail(
            check,
            format!(
                "partition {partition} is {} s ahead of the clocks: its time stands still until then",
                millis / 1000
            ),
            "see that all clocks are right now, then `spine explain SPN-3003`",
        ),
    }
}

/// Who may be let in without the steps of two people (docs/registration.md). A demo is made so.
fn registration(told: &serde_json::Value) -> Finding {
    let (check, rules) = ("staff register", &told["registration"]);
    let found = status::registration(told);
    let demo = told["site"]["environment"] == "demo";
    match (rules["open"] == true, rules["one_operator"] == true) {
        (true, _) if !demo => {
            Finding::warn(check, found, "once the first people are in, `spine registration rules --close`")
        }
        (_, true) if !demo => {
            let fix = "once two people have operator accounts, `spine registration rules --one-operator off`";
            Finding::warn(check, found, fix)
        }
        _ => Finding::ok(check, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;
    use serde_json::json;

    #[test]
    fn a_register_that_lets_people_in_past_two_others_is_warned_of() {
        let told = |open: bool, one: bool, environment: &str| {
            let rules = json!({"open": open, "open_until": "2026-11-30T02:00:00Z", "one_operator": one});
            registration(&json!({"site": {"environment": environment}, "registration": rules}))
        };
        assert_eq!(told(false, false, "live").level, Level::Ok);
        let open = told(true, true, "live");
        assert!(open.level == Level::Warn && open.found.contains("OPEN until 2026-11-30T02:00:00Z"), "{open:?}");
        assert!(open.fix.contains("--close"), "{open:?}");
        let alone = told(false, true, "test");
        assert!(alone.level == Level::Warn && alone.fix.contains("--one-operator off"), "{alone:?}");
        assert_eq!(told(true, true, "demo").level, Level::Ok);
    }
}
