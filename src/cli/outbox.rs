//! `spine outbox`: commands between partitions that could not be delivered; retry them, or give them up.

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, exit, failure},
    output,
    registry::encoded,
};
use crate::ops::{admin_client::AdminClient, codes};
use serde_json::{Value, json};

/// Letters asked for at once; the node bounds it too.
const PAGE: usize = 500;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine outbox\n  spine outbox retry --all")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Which undelivered commands.
#[derive(clap::Args, Debug)]
pub struct Which {
    /// Names as `list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    pub ids: Vec<String>,
    /// Every one there is
    #[arg(long)]
    pub all: bool,
    /// Try it and show what would happen; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List commands that could not be delivered, and why
    #[command(after_help = "Examples:\n  spine outbox list\n  spine outbox list --output json")]
    List,
    /// Deliver again; what fails again stays
    #[command(after_help = "Examples:\n  spine outbox retry 2.1.17\n  spine outbox retry --all --dry-run")]
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Give up: the command is never carried out
    #[command(after_help = "Examples:\n  spine outbox drop 2.1.17 --dry-run\n  spine outbox drop 2.1.17 --yes")]
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do it; without, only the plan is shown
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::List) {
        Verb::List => list(globals).await,
        Verb::Retry { which } => {
            let dry_run = which.dry_run;
            settle(globals, "retry", &which, dry_run).await
        }
        Verb::Drop { which, yes } => {
            settle(globals, "drop", &which, which.dry_run || !yes).await?;
            if yes || which.dry_run {
                return Ok(());
            }
            let fix = "read the plan above, then repeat with --yes";
            Err(failure(&codes::CLI_CONFIRM, "nothing was done", "--yes was not given", fix).after_a_report())
        }
    }
}

async fn list(globals: &Globals) -> Done {
    let items = every(&client(globals)?).await?;
    let columns = [
        ("id", "id"),
        ("from", "from"),
        ("to", "to"),
        ("service", "service"),
        ("sent", "sent"),
        ("set aside", "set_aside"),
        ("correlation", "correlation_id"),
        ("why", "fault"),
    ];
    globals.out().list("UndeliveredList", &items, &columns, "id");
    match items.is_empty() {
        true if globals.out().human() => output::progress("everything was delivered, or is on its way"),
        true => {}
        false => globals.out().next("mend the cause, then `spine outbox retry --all`"),
    }
    Ok(())
}

async fn every(client: &AdminClient) -> Result<Vec<Value>, Failure> {
    let (mut items, mut after) = (vec![], String::new());
    loop {
        let page = client.get(&format!("/v1/outbox?limit={PAGE}&after={}", encoded(&after))).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) if next != after => after = next.into(),
            _ => return Ok(items),
        }
    }
}

/// Goes through all that were named and shows what came of each; a failure of one does not hold up the others.
async fn settle(globals: &Globals, verb: &str, which: &Which, dry_run: bool) -> Done {
    let client = client(globals)?;
    let ids = match which.all {
        true => every(&client).await?.iter().map(|item| output::text(item, "id")).collect(),
        false => which.ids.clone(),
    };
    let mut items = vec![];
    let mut worst: Option<Failure> = None;
    for id in &ids {
        match client.post(&format!("/v1/outbox/{}/{verb}", encoded(id)), &json!({"dry_run": dry_run})).await {
            Ok(told) => items.push(told),
            // Another operator was quicker.
            Err(e) if e.exit == exit::NOT_FOUND && which.all => {}
            Err(e) if matches!(e.exit, exit::FAILED | exit::NOT_FOUND) => {
                items.push(json!({"id": id, "outcome": "failed", "dry_run": dry_run, "why": e.why}));
                if worst.as_ref().is_none_or(|worst| worst.exit != exit::FAILED) {
                    worst = Some(e);
                }
            }
            Err(e) => return Err(e),
        }
    }
    let columns = [("id", "id"), ("outcome", "outcome"), ("dry run", "dry_run"), ("why", "why")];
    globals.out().list("SettledList", &items, &columns, "id");
    if dry_run && worst.is_none() && verb == "retry" {
        globals.out().next("repeat without --dry-run");
    }
    match worst {
        Some(failure) => Err(failure.after_a_report()),
        None => Ok(()),
    }
}
