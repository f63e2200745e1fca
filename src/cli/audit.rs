//! `spine audit`: is the chain whole, and who did what.

use super::{
    args::Globals,
    client,
    failure::{Done, failure},
    output,
    registry::encoded,
};
use crate::ops::codes;
use serde_json::Value;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine audit\n  spine audit search --object X26ABC1")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Read every record again and check the chain and its signatures
    #[command(after_help = "Examples:\n  spine audit verify\n  spine audit verify --partition 1 --output json")]
    Verify {
        /// Only this partition
        #[arg(long)]
        partition: Option<u16>,
    },
    /// Find records by what was touched
    #[command(after_help = "Examples:\n  spine audit search --object X26ABC1\n  \
                      spine audit search --object 9990000018\n  \
                      spine audit search --object X26ABC1 --limit 1000 --output jsonl")]
    Search {
        /// Mailbox, message id, NHS number, ODS code, correlation id…
        #[arg(long)]
        object: String,
        /// Most records shown, newest first
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::Verify { partition: None }) {
        Verb::Verify { partition } => verify(globals, partition).await,
        Verb::Search { object, limit } => search(globals, &object, limit).await,
    }
}

async fn verify(globals: &Globals, partition: Option<u16>) -> Done {
    let query = partition.map(|p| format!("?partition={p}")).unwrap_or_default();
    let told = client(globals)?.get(&format!("/v1/audit/verify{query}")).await?;
    let chains = told["partitions"].as_array().cloned().unwrap_or_default();
    globals.out().one("AuditVerification", &told, "ok", || {
        let mut table = output::table(["partition", "records", "signed heads", "result"].into_iter());
        for chain in &chains {
            table.add_row(["partition", "records", "heads", "result"].map(|f| output::text(chain, f)));
        }
        output::render(&table)
    });
    if told["ok"] == Value::Bool(true) {
        return Ok(());
    }
    let broken = chains.iter().find(|c| c["ok"] != Value::Bool(true));
    let why = broken.map_or_else(String::new, |c| {
        format!("partition {}: {}", output::text(c, "partition"), output::text(c, "result"))
    });
    let fix = "keep the disks as they are and compare with the other nodes";
    Err(failure(&codes::CLI_AUDIT_BROKEN, "the audit chain is broken", why, fix))
}

async fn search(globals: &Globals, object: &str, limit: usize) -> Done {
    let told = client(globals)?.get(&format!("/v1/audit/search?object={}&limit={limit}", encoded(object))).await?;
    let items = told["items"].as_array().cloned().unwrap_or_default();
    let columns = [
        ("time", "time"),
        ("interaction", "interaction"),
        ("outcome", "outcome"),
        ("who", "who"),
        ("object", "object"),
        ("other", "other"),
    ];
    globals.out().list("AuditRecordList", &items, &columns, "id");
    if items.is_empty() {
        globals.out().next("nothing touched that id; ids are upper case, and records of it may be in another site");
    }
    Ok(())
}
