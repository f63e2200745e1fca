//! `spine pds`: a person's record as it was on a day, and who changed what and when. Looking leaves a record of its own.

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, failure},
    import_people::{self, People},
    output,
};
use crate::ops::codes;
use serde_json::Value;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine pds show 9990000018\n  spine pds show 9990000018 --at 2026-03-01 --history")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Show one record whole, as it is or was; audited
    #[command(after_help = "Examples:\n  spine pds show 9990000018 --output json\n  \
                      spine pds show 9990000018 --at 2026-03-01\n  spine pds show 9990000018 --history")]
    Show {
        /// NHS number
        number: String,
        /// As it was at the end of this day, or at this moment (RFC 3339)
        #[arg(long, value_name = "DATE")]
        at: Option<String>,
        /// What each version changed, who made it and when
        #[arg(long)]
        history: bool,
    },
    /// Show files for batch trace: those under way, then the newest that were answered
    #[command(after_help = "Examples:\n  spine pds traces\n  spine pds traces --output json")]
    Traces,
    /// The same as `spine import people`
    #[command(hide = true)]
    Import(People),
}

pub async fn run(globals: &Globals, verb: Verb) -> Done {
    match verb {
        Verb::Import(args) => import_people::people(globals, &args).await,
        Verb::Show { number, at, history } => show(globals, &number, at.as_deref(), history).await,
        Verb::Traces => traces(globals).await,
    }
}

async fn traces(globals: &Globals) -> Done {
    let told = client(globals)?.get("/v1/traces").await?;
    let columns = [
        ("message", "message"),
        ("mailbox", "mailbox"),
        ("from", "from"),
        ("state", "state"),
        ("code", "code"),
        ("rows", "rows"),
        ("done", "done"),
        ("matched", "matched"),
    ];
    let items = told["items"].as_array().cloned().unwrap_or_default();
    globals.out().list("Trace", &items, &columns, "message");
    Ok(())
}

/// Milliseconds of a moment; of a day its last.
fn moment(text: &str) -> Result<u64, Failure> {
    let end_of = |day: jiff::civil::Date| {
        let next = day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(next.timestamp().as_millisecond() - 1)
    };
    let found = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => Some(moment.as_millisecond()),
        Err(_) => text.parse().ok().and_then(end_of),
    };
    found.and_then(|at| u64::try_from(at).ok()).ok_or_else(|| {
        let why = format!("{text} is neither a day such as 2026-03-01 nor a moment such as 2026-03-01T12:00:00Z");
        failure(&codes::CLI_USAGE, "the command was not understood", why, "write --at YYYY-MM-DD")
    })
}

async fn show(globals: &Globals, number: &str, at: Option<&str>, history: bool) -> Done {
    let digits: String = number.chars().filter(|c| *c != ' ' && *c != '-').collect();
    if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let fix = "write ten digits";
        return Err(failure(&codes::CLI_USAGE, "that is no NHS number", "an NHS number has ten digits", fix));
    }
    let mut path = format!("/v1/people/{digits}?versions={history}");
    if let Some(at) = at {
        path.push_str(&format!("&at={}", moment(at)?));
    }
    let told = client(globals)?.get(&path).await?;
    globals.out().one("Person", &told, "nhs_number", || text(&told));
    Ok(())
}

/// For people: what is known of the version, the members, then the versions.
fn text(told: &Value) -> String {
    let of = |path: &str| output::text(told, path);
    let mut facts = vec![
        ("NHS number", of("nhs_number")),
        ("version", format!("{}, since {}", of("version"), of("at"))),
        ("made by", maker(&told["by"])),
        ("label", of("label")),
    ];
    if told["invalidated"] == true {
        facts.push(("invalidated", "yes".into()));
    }
    if told.get("superseded_by").is_some() {
        facts.push(("merged into", of("superseded_by")));
    }
    if of("supersedes") != "-" {
        facts.push(("merged from", of("supersedes")));
    }
    let mut text = output::facts(&facts);
    text.push_str(&format!("\n{}\n", serde_json::to_string_pretty(&told["resource"]).unwrap_or_default()));
    for version in told["versions"].as_array().into_iter().flatten() {
        let head = (output::text(version, "version"), output::text(version, "at"), maker(&version["by"]));
        text.push_str(&format!("\nversion {}, {}, by {}\n", head.0, head.1, head.2));
        for (member, change) in version["changed"].as_object().into_iter().flatten() {
            text.push_str(&format!("  {member}: {} → {}\n", change["from"], change["to"]));
        }
    }
    text
}

fn maker(by: &Value) -> String {
    let fields = by.as_object().into_iter().flatten();
    let parts: Vec<String> = fields.map(|(name, value)| format!("{name} {}", value.as_str().unwrap_or("?"))).collect();
    if parts.is_empty() { "an import (see the audit trail)".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_means_its_end_and_a_moment_itself() {
        assert_eq!(moment("1970-01-01").unwrap(), 86_399_999);
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), 1_000);
        assert_eq!(moment("1970-01-01T01:00:01+01:00").unwrap(), 1_000);
        assert!(moment("yesterday").is_err() && moment("2026-02-30").is_err());
    }
}
