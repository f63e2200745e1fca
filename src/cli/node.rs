//! `spine node`: take a node out of traffic and back; restart, add, remove, replace.

use super::{
    args::Globals,
    client,
    failure::{Done, exit, failure},
    output,
};
use crate::ops::codes;
use serde_json::{Value, json};
use std::net::SocketAddr;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine node\n  spine node drain")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Consent to a verb that can take something away.
#[derive(clap::Args, Debug)]
pub struct Consent {
    /// Show the plan; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do it; without this only the plan is shown
    #[arg(long)]
    pub yes: bool,
    /// Do it even where a safety check refuses; may lose data
    #[arg(long)]
    pub force: bool,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// The site's nodes
    #[command(after_help = "Examples:\n  spine node list\n  spine node list --output json")]
    List,
    /// Stop taking suppliers' connections; hand leaderships over
    #[command(after_help = "Examples:\n  spine node drain\n  spine node drain --socket /tmp/d/node-2/admin.sock")]
    Drain,
    /// Take suppliers' connections again
    #[command(after_help = "Examples:\n  spine node undrain\n  spine node undrain --output json")]
    Undrain,
    /// Restart this machine's node, as after an upgrade of the package
    ///
    /// Its leaderships go to other nodes first, and it has to be ready again. Refused while another node is missing, or
    /// while systemd says that this one runs and its admin socket does not answer.
    #[command(after_help = "Examples:\n  spine node restart\n  spine node restart --dry-run")]
    Restart {
        /// Show the plan; change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do it even where other nodes are missing or unknown: the site may stop
        #[arg(long)]
        force: bool,
    },
    /// Add a node that runs and waits; it learns first, then votes
    #[command(after_help = "Examples:\n  spine node add 4 10.0.0.4:8441\n  spine node add 4 10.0.0.4:8441 --dry-run")]
    Add {
        number: u16,
        /// Its peer listener
        address: SocketAddr,
        /// Show the plan; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a node for good
    #[command(after_help = "Examples:\n  spine node remove 3 --dry-run\n  spine node remove 3 --yes")]
    Remove {
        number: u16,
        #[command(flatten)]
        consent: Consent,
    },
    /// Remove a lost node and invite the machine that takes its place
    #[command(after_help = "Examples:\n  spine node replace 3 --dry-run\n  spine node replace 3 --yes")]
    Replace {
        number: u16,
        #[command(flatten)]
        consent: Consent,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    let client = client(globals)?;
    match verb.unwrap_or(Verb::List) {
        Verb::List => return super::cluster::run(globals, Some(super::cluster::Verb::Members)).await,
        Verb::Drain => {
            let told = client.post("/v1/node/drain", &json!({})).await?;
            globals
                .out()
                .one("Node", &told, "number", || "draining: /readyz says no, leaderships are handed over".into());
            globals.out().next("stop the node, or `spine node undrain`");
        }
        Verb::Undrain => {
            let told = client.post("/v1/node/undrain", &json!({})).await?;
            globals.out().one("Node", &told, "number", || "in service again".into());
        }
        Verb::Restart { dry_run, force } => restart(globals, dry_run, force).await?,
        Verb::Add { number, address, dry_run } => {
            let ask = json!({"number": number, "address": address.to_string(), "dry_run": dry_run});
            let told = client.post("/v1/node/add", &ask).await?;
            globals.out().one("Node", &told, "number", || plan(&told));
        }
        Verb::Remove { number, consent } => change(globals, "/v1/node/remove", number, &consent).await?,
        Verb::Replace { number, consent } => change(globals, "/v1/node/replace", number, &consent).await?,
    }
    Ok(())
}

const UNIT: &str = "spine.service";

/// One node at a time: while another one is missing, this one may be what the site still needs for its majority.
async fn restart(globals: &Globals, dry_run: bool, force: bool) -> Done {
    let client = client(globals)?;
    let told = match client.get("/v1/cluster").await {
        Err(e) if e.exit == exit::UNREACHABLE && !force && unit_runs().await => {
            let what = format!("the running node does not answer on {}", globals.socket_path()?.display());
            let fix = "as root, or in the group spine? admin.socket as the node has it? then `journalctl -u spine -n 50`; \
                       --force restarts it without knowing whether the site can spare it";
            return Err(failure(&codes::CLI_UNAVAILABLE, &what, e.why, fix).with_exit(exit::REFUSED));
        }
        // A node that does not run takes nothing away by starting.
        Err(e) if e.exit == exit::UNREACHABLE => Value::Null,
        told => told?,
    };
    let missing = missing(&told, client.get("/v1/status").await.ok().and_then(|s| s["node"]["number"].as_u64()));
    if !missing.is_empty() && !force {
        let what = "the node is not restarted";
        let fix = "wait until `spine cluster members` shows every other node ready; --force overrides";
        return Err(failure(&codes::CLI_UNAVAILABLE, what, missing.join("; "), fix).with_exit(exit::REFUSED));
    }
    let value = json!({"unit": UNIT, "dry_run": dry_run, "missing": missing});
    if dry_run {
        globals.out().one("Restart", &value, "unit", || {
            format!(
                "would stop {UNIT} (leaderships go to other nodes, what is in flight ends), start it and wait for ready"
            )
        });
        return Ok(());
    }
    output::progress(&format!("restarting {UNIT}; it returns when the node is ready"));
    // systemd's answer to a unit that notifies comes when the node listens and has caught up.
    let done = tokio::process::Command::new("systemctl").args(["restart", UNIT]).status().await;
    let why = match done {
        Ok(status) if status.success() => {
            globals.out().one("Restart", &value, "unit", || "the node was restarted and is ready".into());
            return Ok(());
        }
        Ok(status) => format!("systemctl restart {UNIT}: {status}"),
        Err(e) => format!("systemctl cannot be run: {e}"),
    };
    let fix = "as root? then see `journalctl -u spine`; without systemd stop the process and start `spine serve` again";
    Err(failure(&codes::CLI_NOT_READY, "the node was not restarted", why, fix))
}

/// Whether systemd says that the node runs: where there is no systemd, no unit does.
async fn unit_runs() -> bool {
    let asked = tokio::process::Command::new("systemctl").args(["is-active", "--quiet", UNIT]).status().await;
    asked.is_ok_and(|status| status.success())
}

/// Other members that could not stand in for the one numbered `me`, in words.
fn missing(told: &Value, me: Option<u64>) -> Vec<String> {
    let others = told["members"].as_array().into_iter().flatten().filter(|m| m["number"].as_u64() != me);
    let lacks = |m: &Value| match (&m["seen"], &m["ready"]) {
        (Value::Bool(true), Value::Bool(true)) => None,
        (Value::Bool(true), _) => Some(format!("node {} is not ready", m["number"])),
        _ => Some(format!("node {} does not answer", m["number"])),
    };
    others.filter_map(lacks).collect()
}

/// Shows the plan first; acts only with consent.
async fn change(globals: &Globals, path: &str, number: u16, consent: &Consent) -> Done {
    let client = client(globals)?;
    let ask = |dry_run: bool| json!({"number": number, "force": consent.force, "dry_run": dry_run});
    if consent.dry_run || !consent.yes {
        let told = client.post(path, &ask(true)).await?;
        globals.out().one("Plan", &told, "number", || plan(&told));
        if consent.dry_run {
            return Ok(());
        }
        let fix = "read the plan above, then repeat with --yes";
        return Err(failure(&codes::CLI_CONFIRM, "nothing was done", "--yes was not given", fix));
    }
    let told = client.post(path, &ask(false)).await?;
    let id = if told["token"].is_string() { "token" } else { "number" };
    globals.out().one("Node", &told, id, || plan(&told));
    if told["token"].is_string() {
        globals.out().next("on the machine that takes the place: `spine join TOKEN`, then `spine serve`");
    }
    Ok(())
}

fn plan(told: &Value) -> String {
    let steps = told["steps"].as_array().cloned().unwrap_or_default();
    let mut lines: Vec<String> = steps.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect();
    if told["token"].is_string() {
        lines.push(format!("token: {}", output::text(told, "token")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_restarts_only_while_all_others_stand() {
        let told = json!({"members": [
            {"number": 1, "seen": true, "ready": false}, {"number": 2, "seen": true, "ready": true},
            {"number": 3, "seen": false, "ready": false},
        ]});
        assert_eq!(missing(&told, Some(1)), ["node 3 does not answer"]);
        assert_eq!(missing(&told, Some(3)), ["node 1 is not ready"]);
        assert!(missing(&Value::Null, None).is_empty(), "a node that does not run may be started");
    }
}
