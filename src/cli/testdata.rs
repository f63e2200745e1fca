//! `spine testdata`: what only test and demo sites let an operator do.

use super::{args::Globals, client, failure::Done, output};
use serde_json::json;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine testdata clock\n  spine testdata clock --days 28 --output json")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Show the calendar of the site's prescriptions, or move it on
    ///
    /// What is due by then is done before the command ends: issues become ready, prescriptions expire, claims that never came are
    /// closed. It never goes back. Nothing but prescriptions goes by it.
    #[command(after_help = "Examples:\n  spine testdata clock\n  spine testdata clock --days 190")]
    Clock {
        /// So many days further
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
    },
}

pub async fn run(globals: &Globals, verb: Verb) -> Done {
    let Verb::Clock { days } = verb;
    let client = client(globals)?;
    let told = match days {
        None => client.get("/v1/testdata/clock").await?,
        Some(days) => client.post("/v1/testdata/clock", &json!({ "days": days })).await?,
    };
    globals.out().one("TestClock", &told, "today", || {
        format!("today {}, {} days ahead", output::text(&told, "today"), output::text(&told, "days_ahead"))
    });
    Ok(())
}
