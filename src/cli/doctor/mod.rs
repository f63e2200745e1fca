//! `spine doctor`: checks of this machine and its node, each OK, WARN or FAIL with the remedy.

mod host;
mod peers;
mod ports;
mod setup;
mod site;

use super::{
    args::Globals,
    failure::{Done, Failure, exit, failure},
    output,
};
use crate::ops::codes;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine doctor\n  spine doctor --socket /tmp/demo/node-1/admin.sock --output json")]
pub struct Args {
    /// Show only what is not OK
    #[arg(long)]
    troubles: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    /// What to do; empty where all is well.
    pub fix: String,
}

impl Finding {
    /// As scripts and the support bundle read it.
    pub fn told(&self) -> Value {
        let result = match self.level {
            Level::Ok => "OK",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        json!({"check": self.check, "result": result, "found": self.found, "fix": self.fix})
    }
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding { check, level: Level::Ok, found: found.into(), fix: String::new() }
    }
    pub fn warn(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding { check, level: Level::Warn, found: found.into(), fix: fix.into() }
    }
    pub fn fail(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding { check, level: Level::Fail, found: found.into(), fix: fix.into() }
    }
}

/// Every check, in the order in which they are shown.
pub async fn examine(globals: &Globals) -> Result<Vec<Finding>, Failure> {
    let (settings, setup) = setup::settle(globals).await?;
    let mut findings = vec![setup];
    findings.extend(host::examine(&settings));
    findings.extend(site::examine(globals, &settings).await);
    Ok(findings)
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    let findings = examine(globals).await?;
    let worst = findings.iter().map(|f| f.level).max().unwrap_or(Level::Ok);
    let count = |level: Level| findings.iter().filter(|f| f.level == level).count();
    let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
    let shown = findings.iter().filter(|f| !args.troubles || f.level != Level::Ok);
    let items: Vec<_> = shown.map(Finding::told).collect();
    let columns = [("result", "result"), ("check", "check"), ("found", "found"), ("to do", "fix")];
    globals.out().list("DoctorReport", &items, &columns, "check");
    if worst == Level::Ok {
        if globals.out().human() {
            output::progress(&format!("{} checks, all well", findings.len()));
        }
        return Ok(());
    }
    let why = format!("{failures} checks failed, {warnings} warn");
    let failed = failure(&codes::CLI_DEGRADED, "not everything is well", why, "do what the last column says");
    Err(failed.with_exit(if worst == Level::Fail { exit::FAILED } else { exit::DEGRADED }).after_a_report())
}
