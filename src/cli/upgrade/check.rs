//! `spine upgrade check`: each line PASS, WARN or FAIL with the repair. The program that judges is the one that is installed: it
//! reads the configuration with its own keys, and knows its own level.

use crate::{
    cli::{
        args::Globals,
        client,
        doctor::{Finding, Level},
        failure::{self, Done, exit, failure},
        output,
    },
    node::identity,
    ops::{codes, recorder::VERSION},
};
use serde_json::{Value, json};
use std::path::Path;

/// A backup older than this was missed once.
const OLD: u64 = 26 * 3600;
/// Seconds that a delivery between partitions may wait: long enough for any election.
const STALE: u64 = 60;
/// Entries behind from which on a node is no stand-in: a second's work of a busy site.
const LAGGING: u64 = 10_000;

pub async fn run(globals: &Globals, troubles: bool) -> Done {
    let findings = examine(globals).await;
    let failed = findings.iter().filter(|f| f.level == Level::Fail).count();
    let shown = findings.iter().filter(|f| !troubles || f.level != Level::Ok);
    let items: Vec<_> = shown.map(told).collect();
    let columns = [("result", "result"), ("check", "check"), ("found", "found"), ("to do", "fix")];
    globals.out().list("UpgradeCheck", &items, &columns, "check");
    if failed == 0 {
        globals.out().next("`spine node restart` on this machine, then `spine upgrade check` on the next");
        return Ok(());
    }
    let (what, why) = ("the upgrade should not go on", format!("{failed} of {} checks failed", findings.len()));
    Err(failure(&codes::UPGRADE_UNFIT, what, why, "do what the last column says, then check once more")
        .with_exit(exit::REFUSED)
        .after_a_report())
}

fn told(finding: &Finding) -> Value {
    let result = match finding.level {
        Level::Ok => "PASS",
        Level::Warn => "WARN",
        Level::Fail => "FAIL",
    };
    json!({"check": finding.check, "result": result, "found": finding.found, "fix": finding.fix})
}

async fn examine(globals: &Globals) -> Vec<Finding> {
    let mut out = vec![configuration(globals).await];
    let asked = match client(globals) {
        Ok(client) => client.get("/v1/upgrade").await,
        Err(e) => Err(e),
    };
    match asked {
        Ok(told) => {
            out.extend([releases(&told, VERSION), levels(&told, identity::LEVEL)]);
            out.extend(data(globals).await);
            out.extend(of_the_site(&told));
        }
        Err(e) => {
            let fix = format!("{}; start it first: `systemctl start spine`", e.fix);
            out.push(Finding::fail("node", format!("this machine's node cannot be asked: {}", e.why), fix));
        }
    }
    out
}

/// Read by this program, with the keys that it knows.
async fn configuration(globals: &Globals) -> Finding {
    let check = "configuration";
    let loaded = match globals.checked_sources().await {
        Ok(sources) => sources.load().map_err(failure::config),
        Err(e) => Err(e),
    };
    match loaded {
        Ok(_) => Finding::ok(check, format!("{VERSION} takes it")),
        Err(e) => Finding::fail(check, e.why, e.fix),
    }
}

/// What the node's data need, as it noted beside them.
async fn data(globals: &Globals) -> Option<Finding> {
    let folder = globals.checked_settings().await.ok()?.node.data;
    Some(needs(&folder, VERSION))
}

fn needs(data: &Path, installed: &str) -> Finding {
    match identity::needs_later(data, installed) {
        None => Finding::ok("data", format!("{installed} reads them")),
        Some(needed) => Finding::fail(
            "data",
            format!("they need release {needed} or a later one, {installed} is installed"),
            format!("install {needed} or later; `spine explain {}`", codes::NEWER_DATA.code),
        ),
    }
}

fn releases(told: &Value, installed: &str) -> Finding {
    let check = "release";
    let running = output::text(told, "version");
    let others: Vec<String> = members(told)
        .filter(|m| m["seen"] == true && m["number"] != told["number"])
        .map(|m| format!("node {} {}", m["number"], output::text(m, "version")))
        .collect();
    let found = format!("installed {installed}, running {running}; {}", others.join(", "));
    Finding::ok(check, found.trim_end_matches("; "))
}

fn levels(told: &Value, known: u32) -> Finding {
    let (check, site) = ("level", told["site_level"].as_u64().unwrap_or(1));
    match u64::from(known) < site {
        false => Finding::ok(check, format!("the site's is {site}, the installed release knows {known}")),
        true => Finding::fail(
            check,
            format!("the site's is {site}, the installed release knows only {known}: the node would not start"),
            "install the release that the other nodes run (`spine cluster members --output json`)",
        ),
    }
}

fn members(told: &Value) -> impl Iterator<Item = &Value> {
    told["members"].as_array().into_iter().flatten()
}

fn partitions(told: &Value) -> impl Iterator<Item = &Value> {
    told["partitions"].as_array().into_iter().flatten()
}

fn of_the_site(told: &Value) -> Vec<Finding> {
    vec![
        answering(told),
        standing(told),
        leaders(told),
        majority(told),
        in_step(told),
        words(told, "clock", "clocks", "`chronyc tracking` there; `spine explain SPN-3002`"),
        words(told, "disk", "disks", "`iostat -x 1 5` there; `spine explain SPN-3004`"),
        deliveries(told),
        whole(told),
        backup(told),
        room(told),
    ]
}

/// One finding out of what is wrong, each in words.
fn all_well(check: &'static str, wrong: Vec<String>, well: &str, fix: &str) -> Finding {
    match wrong.is_empty() {
        true => Finding::ok(check, well),
        false => Finding::fail(check, wrong.join("; "), fix),
    }
}

fn answering(told: &Value) -> Finding {
    let silent = members(told).filter(|m| m["seen"] != true);
    let silent = silent.map(|m| format!("node {} at {} does not answer", m["number"], output::text(m, "address")));
    let fix = "on that machine `systemctl status spine`; one that is lost: `spine node replace` or `spine node remove`";
    all_well("members", silent.collect(), &format!("{} answer", members(told).count()), fix)
}

/// A drain of this node's own is what an operator does before a restart.
fn standing(told: &Value) -> Finding {
    let own = |m: &Value| m["number"] == told["number"];
    let lacks = |m: &Value| match (m["draining"] == true, m["ready"] == true) {
        (true, _) if own(m) => None,
        (true, _) => Some(format!("node {} is draining", m["number"])),
        (_, false) => Some(format!("node {} is not ready", m["number"])),
        _ => None,
    };
    let wrong = members(told).filter(|m| m["seen"] == true).filter_map(lacks).collect();
    let fix = "wait for `spine status` there; after a drain `spine node undrain`; `spine doctor --troubles` says what keeps it";
    all_well("ready", wrong, "every node takes traffic", fix)
}

fn leaders(told: &Value) -> Finding {
    let none = partitions(told).filter(|p| p["leader"].is_null());
    let none = none.map(|p| format!("partition {} has no leader", p["partition"])).collect();
    all_well("leaders", none, "every partition has one", "`spine cluster status`: which voters answer?")
}

/// What is left while this node is away.
fn majority(told: &Value) -> Finding {
    let (check, count) = ("majority", |p: &Value, key: &str| p[key].as_u64().unwrap_or(0));
    let lacks = |p: &&Value| count(p, "others_ready") * 2 <= count(p, "voters");
    let wrong: Vec<&Value> = partitions(told).filter(lacks).collect();
    if wrong.is_empty() {
        return Finding::ok(check, "every partition has one without this node");
    }
    let words = |p: &&Value| {
        let (ready, voters) = (count(p, "others_ready"), count(p, "voters"));
        format!("partition {}: {ready} of {voters} voters are left", p["partition"])
    };
    let found = wrong.iter().map(words).collect::<Vec<_>>().join("; ");
    // With one or two nodes it is never otherwise.
    match wrong.iter().all(|p| count(p, "voters") < 3 && count(p, "others_ready") + 1 >= count(p, "voters")) {
        true => Finding::warn(check, found, "the site stands still while the node restarts; three nodes would go on"),
        false => Finding::fail(check, found, "wait until the other nodes are ready: `spine cluster status`"),
    }
}

fn in_step(told: &Value) -> Finding {
    let learning = members(told).filter(|m| m["learning"] == true);
    let mut wrong: Vec<String> =
        learning.map(|m| format!("node {} is learning and has no vote yet", m["number"])).collect();
    for p in partitions(told) {
        for node in p["learning"].as_array().into_iter().flatten() {
            wrong.push(format!("node {node} is learning partition {}", p["partition"]));
        }
        if p["lag"].as_u64().unwrap_or(0) > LAGGING {
            wrong.push(format!("a node is {} entries behind in partition {}", p["lag"], p["partition"]));
        }
    }
    all_well("in step", wrong, "nobody learns or is behind", "wait: `spine cluster status` shows lag and learners")
}

/// What a node says of its clock or its disk.
fn words(told: &Value, key: &str, check: &'static str, fix: &str) -> Finding {
    let said = members(told).filter_map(|m| m[key].as_str().filter(|s| !s.is_empty()).map(|s| (m, s)));
    all_well(check, said.map(|(m, s)| format!("node {}: {s}", m["number"])).collect(), "no node complains", fix)
}

fn deliveries(told: &Value) -> Finding {
    let count = |key: &str| told["outbox"][key].as_u64().unwrap_or(0);
    let mut wrong = vec![];
    if count("dead_letters") > 0 {
        wrong.push(format!("{} commands within the site could not be delivered", count("dead_letters")));
    }
    if count("oldest_seconds") > STALE {
        wrong.push(format!("a delivery within the site has waited for {} s", count("oldest_seconds")));
    }
    let fix = "`spine outbox list` says why; once the cause is gone `spine outbox retry --all`";
    all_well("deliveries", wrong, "none is stuck", fix)
}

/// A restart must not be what brings damage to light.
fn whole(told: &Value) -> Finding {
    let damaged = told["damaged"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut wrong: Vec<String> = damaged.map(str::to_owned).collect();
    if let Some(lost) = told["lost"].as_u64().filter(|lost| *lost > 0) {
        wrong.push(format!("{lost} message bodies are damaged or gone on every node"));
    }
    all_well("at rest", wrong, "nothing is damaged or lost", "`spine status` names it; `spine explain SPN-3005`")
}

/// The way back from a release that has written what the one before cannot read.
fn backup(told: &Value) -> Finding {
    let (check, backup) = ("backup", &told["backup"]);
    let fix = "`spine backup create`, then `spine backup verify FOLDER/SITE-TIME --ca FILE` on a machine of the site";
    let found = match backup["age_seconds"].as_u64() {
        None => "no node that answers has made one".to_owned(),
        Some(age) if age > OLD => format!("the newest is {} hours old", age / 3600),
        Some(age) if backup["verified"] == true => {
            return Finding::ok(check, format!("{} hours old, and verified", age / 3600));
        }
        Some(age) => format!("the newest, {} hours old, was not verified", age / 3600),
    };
    match told["live"] == true {
        true => Finding::fail(check, found, fix),
        false => Finding::warn(check, found, fix),
    }
}

/// A start may flush and rebuild; a node below its reserve takes no writes.
fn room(told: &Value) -> Finding {
    let count = |key: &str| told["disk"][key].as_u64().unwrap_or(0);
    let (check, free, reserve) = ("free space", count("free_bytes"), count("reserve_bytes"));
    let found = format!("{} MiB free, {} MiB reserved", free >> 20, reserve >> 20);
    let fix = "make room: `df -h` of the data folder; delete nothing in the folder itself";
    match free {
        free if free < reserve.saturating_mul(2) => Finding::fail(check, found, fix),
        free if free < reserve.saturating_mul(4) => Finding::warn(check, found, fix),
        _ => Finding::ok(check, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Value {
        let member = |number: u64| {
            json!({"number": number, "address": "10.0.0.1:8441", "seen": true, "ready": true, "draining": false,
                "version": "0.2.0", "level": 1, "clock": "", "disk": "", "learning": false})
        };
        let partition = |number: u64| json!({"partition": number, "leader": 1, "voters": 3, "others_ready": 2, "learning": [], "lag": 3});
        json!({
            "number": 1, "version": "0.1.0", "level": 1, "site_level": 1, "live": true,
            "members": [member(1), member(2), member(3)], "partitions": [partition(0), partition(1)],
            "outbox": {"waiting": 0, "oldest_seconds": 0, "dead_letters": 0}, "lost": 0, "damaged": [],
            "backup": {"age_seconds": 7200, "verified": true},
            "disk": {"free_bytes": 8u64 << 30, "reserve_bytes": 1u64 << 30},
        })
    }

    /// What does not pass, after something was made otherwise.
    fn troubles(pointer: &str, value: Value) -> Vec<(Level, String)> {
        let mut told = well();
        *told.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        let found = of_the_site(&told).into_iter().filter(|f| f.level != Level::Ok);
        found.map(|f| (f.level, format!("{}: {}", f.check, f.found))).collect()
    }

    #[test]
    fn a_well_site_passes_and_each_trouble_fails_one_check() {
        assert!(of_the_site(&well()).iter().all(|f| f.level == Level::Ok), "{:?}", of_the_site(&well()));
        let cases = [
            ("/members/1/seen", json!(false), "members: node 2 at 10.0.0.1:8441 does not answer"),
            ("/members/1/ready", json!(false), "ready: node 2 is not ready"),
            ("/members/2/draining", json!(true), "ready: node 3 is draining"),
            ("/partitions/1/leader", Value::Null, "leaders: partition 1 has no leader"),
            ("/partitions/1/others_ready", json!(1), "majority: partition 1: 1 of 3 voters are left"),
            ("/members/2/learning", json!(true), "in step: node 3 is learning and has no vote yet"),
            ("/partitions/0/learning", json!([4]), "in step: node 4 is learning partition 0"),
            ("/partitions/0/lag", json!(10_001), "in step: a node is 10001 entries behind in partition 0"),
            ("/members/2/clock", json!("3 s ahead"), "clocks: node 3: 3 s ahead"),
            ("/members/0/disk", json!("slow"), "disks: node 1: slow"),
            ("/outbox/dead_letters", json!(2), "deliveries: 2 commands within the site could not be delivered"),
            ("/outbox/oldest_seconds", json!(61), "deliveries: a delivery within the site has waited for 61 s"),
            ("/lost", json!(1), "at rest: 1 message bodies are damaged or gone on every node"),
            ("/damaged", json!(["log segment 3"]), "at rest: log segment 3"),
            ("/backup/age_seconds", Value::Null, "backup: no node that answers has made one"),
            ("/backup/age_seconds", json!(27 * 3600), "backup: the newest is 27 hours old"),
            ("/backup/verified", json!(false), "backup: the newest, 2 hours old, was not verified"),
            ("/disk/free_bytes", json!(1u64 << 30), "free space: 1024 MiB free, 1024 MiB reserved"),
        ];
        for (pointer, value, found) in cases {
            assert_eq!(troubles(pointer, value), [(Level::Fail, found.to_owned())], "{pointer}");
        }
    }

    #[test]
    fn what_is_only_advice_warns() {
        assert!(troubles("/members/0/draining", json!(true)).is_empty(), "this node, before its restart");
        let mut told = well();
        (told["live"], told["backup"]["age_seconds"]) = (json!(false), Value::Null);
        assert_eq!(backup(&told).level, Level::Warn, "a site for tests");
        for partition in told["partitions"].as_array_mut().unwrap() {
            (partition["voters"], partition["others_ready"]) = (json!(1), json!(0));
        }
        assert_eq!(majority(&told).level, Level::Warn, "it has one node");
        told["partitions"][0]["voters"] = json!(2);
        assert_eq!(majority(&told).level, Level::Fail, "the other of two is missing");
    }

    #[test]
    fn a_program_that_the_site_or_the_data_have_left_behind_fails() {
        let mut told = well();
        assert_eq!(levels(&told, 1).level, Level::Ok);
        told["site_level"] = json!(3);
        assert!(levels(&told, 3).level == Level::Ok && levels(&told, 4).level == Level::Ok);
        let found = levels(&told, 2);
        assert!(found.level == Level::Fail && found.found.contains("knows only 2"), "{found:?}");
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(needs(dir.path(), "0.1.0").level, Level::Ok);
        std::fs::write(dir.path().join("needs-release"), "0.2.0\n").unwrap();
        let found = needs(dir.path(), "0.1.0");
        assert!(found.level == Level::Fail && found.found.contains("need release 0.2.0"), "{found:?}");
        assert!(
            releases(&well(), "0.3.0").found.contains("installed 0.3.0, running 0.1.0; node 2 0.2.0, node 3 0.2.0")
        );
    }
}
