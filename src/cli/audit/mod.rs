//! `spine audit`: is the chain whole, who did what, and the trail as a file that proves itself anywhere.

mod offline;

/// The reader of an export, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::offline::read;
}

use super::{
    args::Globals,
    client,
    failure::{Done, failure},
    output,
    registry::encoded,
};
use crate::ops::codes;
use serde_json::Value;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine audit\n  spine audit search --object X26ABC1")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Read every record again and check the chain and its signatures
    ///
    /// On this node's own copy, or with --file on an export, anywhere, without a site.
    #[command(after_help = "Examples:\n  spine audit verify\n  spine audit verify --partition 1 --output json\n  \
                      spine audit verify --file trail.ndjson --ca ca.pem --kept h.jsonl")]
    Verify {
        /// Only this partition
        #[arg(long, conflicts_with = "file")]
        partition: Option<u16>,
        /// An export, in the place of this node's copy
        #[arg(long, requires = "ca")]
        file: Option<PathBuf>,
        /// Certificates of the site's authority (peer.ca), as they were kept outside the site
        #[arg(long, requires = "file")]
        ca: Option<PathBuf>,
        /// Heads that were kept outside the site (`spine audit heads --output jsonl`): finds a trail that was rolled back
        #[arg(long, requires = "file")]
        kept: Vec<PathBuf>,
    },
    /// Show one record, whole
    #[command(after_help = "Examples:\n  spine audit show 1/4711\n  \
                      spine audit show 00000001-0000-8000-8000-000000001267 --output json")]
    Show {
        /// As `spine audit search` and `spine trace` list it, or the id of its AuditEvent
        id: String,
    },
    /// Sign where every chain ends now; keep what it prints outside the site
    #[command(after_help = "Examples:\n  spine audit heads\n  spine audit heads --output jsonl >> heads.jsonl")]
    Heads,
    /// Write the trail to a file, with its signatures
    #[command(
        after_help = "Examples:\n  spine audit export trail.ndjson\n  spine audit export trail.ndjson --partition 1"
    )]
    Export {
        file: PathBuf,
        /// Only this partition
        #[arg(long)]
        partition: Option<u16>,
    },
    /// Find records by what was touched, or by who did it
    #[command(after_help = "Examples:\n  spine audit search --object X26ABC1\n  \
                      spine audit search --object 9990000018\n  \
                      spine audit search --object strangers\n  \
                      spine audit search --user 555254240100\n  \
                      spine audit search --object X26ABC1 --limit 1000 --output jsonl")]
    Search {
        /// Mailbox, message or user id, NHS number, correlation id…
        #[arg(long, required_unless_present = "user")]
        object: Option<String>,
        /// User id of a member of staff, or an operator (`uid:0`)
        #[arg(long, conflicts_with = "object")]
        user: Option<String>,
        /// Most records shown, newest first
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::Verify { partition: None, file: None, ca: None, kept: vec![] }) {
        Verb::Verify { file: Some(file), ca: Some(ca), kept, .. } => offline::verify(globals, &file, &ca, &kept),
        Verb::Verify { partition, .. } => verify(globals, partition).await,
        Verb::Show { id } => show(globals, &id).await,
        Verb::Heads => heads(globals).await,
        Verb::Export { file, partition } => offline::export(globals, &file, partition).await,
        Verb::Search { object, user, limit } => search(globals, object.as_deref(), user.as_deref(), limit).await,
    }
}

async fn verify(globals: &Globals, partition: Option<u16>) -> Done {
    let query = partition.map(|p| format!("?partition={p}")).unwrap_or_default();
    let told = client(globals)?.get(&format!("/v1/audit/verify{query}")).await?;
    let chains = told["partitions"].as_array().cloned().unwrap_or_default();
    judged(globals, &told, &chains, "keep the disks as they are and compare with the other nodes")
}

/// Shows what a verification found, and fails where a chain is broken.
fn judged(globals: &Globals, told: &Value, chains: &[Value], fix: &str) -> Done {
    globals.out().one("AuditVerification", told, "ok", || {
        let mut table = output::table(["partition", "records", "first", "signed heads", "result"].into_iter());
        for chain in chains {
            table.add_row(["partition", "records", "first", "heads", "result"].map(|f| output::text(chain, f)));
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
    Err(failure(&codes::CLI_AUDIT_BROKEN, "the audit chain is broken", why, fix))
}

async fn show(globals: &Globals, id: &str) -> Done {
    let told = client(globals)?.get(&format!("/v1/audit/record?id={}", encoded(id))).await?;
    globals.out().one("AuditRecord", &told, "id", || facts(&told));
    Ok(())
}

/// Whatever the record says.
fn facts(record: &Value) -> String {
    let names = record.as_object().into_iter().flat_map(|record| record.keys());
    let facts = names.map(|name| (name.as_str(), output::text(record, name)));
    output::facts(&facts.filter(|(_, value)| value != "-").collect::<Vec<_>>())
}

async fn heads(globals: &Globals) -> Done {
    let told = client(globals)?.get("/v1/audit/heads").await?;
    let items = told["items"].as_array().cloned().unwrap_or_default();
    let columns = [("partition", "partition"), ("records", "records"), ("signed", "signed"), ("node", "node")];
    globals.out().list("AuditHeadList", &items, &columns, "head");
    globals.out().next("keep them outside the site: `spine audit heads --output jsonl >> heads.jsonl`");
    Ok(())
}

async fn search(globals: &Globals, object: Option<&str>, user: Option<&str>, limit: usize) -> Done {
    let (object, user) = (encoded(object.unwrap_or_default()), encoded(user.unwrap_or_default()));
    let told = client(globals)?.get(&format!("/v1/audit/search?object={object}&user={user}&limit={limit}")).await?;
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
