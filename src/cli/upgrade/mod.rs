//! `spine upgrade`: may this node restart with the release that is installed, and raising the site's level when all run it.

mod check;

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, exit, failure},
    output,
};
use crate::ops::codes;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine upgrade\n  spine upgrade finalise --dry-run")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// PASS or FAIL, with the repair: may this machine's node restart now?
    ///
    /// Looks at the whole site, at this machine, and at whether the installed program takes
    /// the node's configuration and data. Changes nothing. Exit code 5 where one fails.
    #[command(after_help = "Examples:\n  spine upgrade check\n  spine upgrade check --troubles")]
    Check {
        /// Show only what does not pass
        #[arg(long)]
        troubles: bool,
    },
    /// Let the site use what the new release brought; there is no way back
    ///
    /// Refused until every member answers and all run the same release.
    #[command(after_help = "Examples:\n  spine upgrade finalise --dry-run\n  spine upgrade finalise --yes")]
    Finalise {
        /// Show the plan; change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do it; without this only the plan is shown
        #[arg(long)]
        yes: bool,
        /// Fail (exit 7) where it is already so
        #[arg(long)]
        strict: bool,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::Check { troubles: false }) {
        Verb::Check { troubles } => check::run(globals, troubles).await,
        Verb::Finalise { dry_run, yes, strict } => finalise(globals, dry_run, yes, strict).await,
    }
}

async fn finalise(globals: &Globals, dry_run: bool, yes: bool, strict: bool) -> Done {
    let client = client(globals)?;
    let told = client.post("/v1/upgrade/finalise", &json!({"dry_run": dry_run || !yes})).await?;
    let to_do = told["level"] != told["before"];
    globals.out().one("SiteLevel", &told, "level", || shown(&told));
    match (to_do, dry_run, yes) {
        (false, ..) if strict => {
            let why = format!("the site is at level {}, which is all that its nodes know", told["level"]);
            let already = Failure::of(&codes::CLI_ALREADY, "the upgrade is final already", why);
            Err(already.with_exit(exit::ALREADY).after_a_report())
        }
        (true, false, false) => {
            let fix = "read the plan above, then repeat with --yes";
            Err(failure(&codes::CLI_CONFIRM, "nothing was done", "--yes was not given", fix).after_a_report())
        }
        (true, true, _) => {
            globals.out().next("spine upgrade finalise --yes");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn shown(told: &Value) -> String {
    let steps: Vec<&str> = told["steps"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (steps.is_empty(), told["changed"] == true) {
        (true, _) => format!("the site is at level {}: nothing is to be raised", output::text(told, "level")),
        (false, true) => format!("the site is at level {} now", output::text(told, "level")),
        (false, false) => steps.join("\n"),
    }
}
