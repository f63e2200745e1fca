//! `spine cluster`: members and leaders, invitations, planned hand-over.

use super::{args::Globals, client, failure::Done, output, status};
use serde_json::json;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine cluster\n  spine cluster invite --number 4")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Voters, learners, leader, term and lag of each partition
    #[command(after_help = "Examples:\n  spine cluster status\n  spine cluster status --output json")]
    Status,
    /// The site's nodes and their addresses
    #[command(after_help = "Examples:\n  spine cluster members\n  spine cluster members --quiet")]
    Members,
    /// A digest of this node's rows, to compare with another's at the same index
    #[command(after_help = "Examples:\n  spine cluster hashes\n  spine cluster hashes --output json")]
    Hashes,
    /// Hand this node's leaderships to others, or one to a certain node
    #[command(after_help = "Examples:\n  spine cluster hand-over\n  spine cluster hand-over --partition 1 --to 2")]
    HandOver {
        /// Only this partition
        #[arg(long)]
        partition: Option<u16>,
        /// The node to take over (else the one most in step)
        #[arg(long, value_name = "NODE")]
        to: Option<u16>,
    },
    /// Make a token that lets one new node join within 30 minutes
    #[command(after_help = "Examples:\n  spine cluster invite\n  spine cluster invite --number 4 --quiet")]
    Invite {
        /// Number of the new node (else the next free one)
        #[arg(long)]
        number: Option<u16>,
        /// Minutes until it runs out, at most 30
        #[arg(long, default_value_t = 30)]
        minutes: u16,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    let client = client(globals)?;
    match verb.unwrap_or(Verb::Status) {
        Verb::Status => {
            let told = client.get("/v1/cluster").await?;
            globals.out().one("ClusterStatus", &told, "cluster", || status::partitions(&told));
        }
        Verb::Members => {
            let told = client.get("/v1/cluster").await?;
            let items = told["members"].as_array().cloned().unwrap_or_default();
            let columns = [
                ("node", "number"),
                ("name", "name"),
                ("address", "address"),
                ("incarnation", "incarnation"),
                ("voter", "voter"),
                ("seen", "seen"),
                ("draining", "draining"),
            ];
            globals.out().list("MemberList", &items, &columns, "number");
        }
        Verb::Hashes => {
            let told = client.get("/v1/cluster/hashes").await?;
            globals.out().one("ClusterHashes", &told, "number", || {
                let fields = ["partition", "index", "hash"];
                let mut table = output::table(fields.into_iter());
                for partition in told["partitions"].as_array().into_iter().flatten() {
                    table.add_row(fields.map(|f| output::text(partition, f)));
                }
                output::render(&table)
            });
        }
        Verb::HandOver { partition, to } => {
            let told = client.post("/v1/cluster/hand-over", &json!({"partition": partition, "to": to})).await?;
            globals.out().one("HandOver", &told, "moved", || {
                let moved = told["moved"].as_array().cloned().unwrap_or_default();
                match moved.is_empty() {
                    true => "this node leads nothing: nothing to hand over".into(),
                    false => moved
                        .iter()
                        .map(|m| format!("partition {} → node {}", output::text(m, "partition"), output::text(m, "to")))
                        .collect::<Vec<_>>()
                        .join("\n"),
                }
            });
        }
        Verb::Invite { number, minutes } => {
            let told = client.post("/v1/cluster/invite", &json!({"number": number, "minutes": minutes})).await?;
            globals.out().one("Invitation", &told, "token", || output::text(&told, "token"));
            globals.out().next("on the new machine, within the time: `spine join TOKEN`, then `spine serve`");
        }
    }
    Ok(())
}
