//! `spine node`: take a node out of traffic and back; add, remove, replace.

use super::{
    args::Globals,
    client,
    failure::{Done, failure},
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
