//! `spine arrival`: which organisations' requests are answered here and which are handed to the system being replaced, service by
//! service, and how both sides do (docs/arriving.md).

use super::{args::Globals, client, failure::Done, output, registry::encoded};
use http::Method;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine arrival list\n  spine arrival set mesh --party X26 --to local")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List what was said of each service and organisation, with counts and
    /// times of both sides on this node since it started
    #[command(after_help = "Examples:\n  spine arrival list\n  spine arrival list mesh --output json")]
    List {
        /// Only this service
        service: Option<String>,
    },
    /// Show where an organisation's requests to a service are answered
    #[command(
        after_help = "Examples:\n  spine arrival show mesh --party X26\n  spine arrival show pds --party X26 --output json"
    )]
    Show {
        /// mesh, smsp, identity, pds, eps, directory or relationships
        service: String,
        /// ODS code, or * for everybody without a line of their own
        #[arg(long, value_name = "ODS", default_value = "*")]
        party: String,
    },
    /// Say where they are answered from now on, on every node
    #[command(after_help = "Examples:\n  spine arrival set mesh --party '*' --to relay\n  \
                      spine arrival set mesh --party X26 --to relay --hold\n  \
                      spine arrival set mesh --party X26 --to local --dry-run")]
    Set {
        /// mesh, smsp, identity, pds, eps, directory or relationships
        service: String,
        /// ODS code, or * for everybody without a line of their own
        #[arg(long, value_name = "ODS")]
        party: String,
        /// Here (local), by the system being replaced (relay), or as everybody's
        /// (none)
        #[arg(long, value_name = "SIDE", value_parser = ["local", "relay", "none"])]
        to: String,
        /// Take no new messages for its mailboxes, until it is set again (mesh)
        #[arg(long)]
        hold: bool,
        /// Check and show how it stands; change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(globals: &Globals, verb: Verb) -> Done {
    match verb {
        Verb::List { service } => {
            let service = encoded(service.as_deref().unwrap_or_default());
            let (client, mut rows, mut after) = (client(globals)?, vec![], String::new());
            loop {
                let page = client.get(&format!("/v1/arrivals?service={service}&after={}", encoded(&after))).await?;
                rows.extend(page["items"].as_array().cloned().unwrap_or_default());
                match page["next"].as_str() {
                    Some(next) if next != after => after = next.to_owned(),
                    _ => break,
                }
            }
            globals.out().list("ArrivalList", &rows, &COLUMNS, "id");
            if rows.is_empty() {
                globals.out().next("everything is answered here; hand something on with `spine arrival set --help`");
            }
            Ok(())
        }
        Verb::Show { service, party } => {
            show(globals, &client(globals)?.get(&path(&service, &party)).await?);
            Ok(())
        }
        Verb::Set { service, party, to, hold, dry_run } => {
            let path = format!("{}?dry_run={dry_run}", path(&service, &party));
            let told = client(globals)?.call(Method::PUT, &path, &json!({"to": to, "hold": hold})).await?;
            show(globals, &told);
            if !dry_run {
                globals.out().next(&format!("watch both sides with `spine arrival list {service}`"));
            }
            Ok(())
        }
    }
}

const COLUMNS: [(&str, &str); 10] = [
    ("service", "service"),
    ("party", "party"),
    ("to", "to"),
    ("local", "local.requests"),
    ("errors", "local.errors"),
    ("p50 ms", "local.p50_ms"),
    ("p99 ms", "local.p99_ms"),
    ("relayed", "relay.requests"),
    ("errors", "relay.errors"),
    ("p99 ms", "relay.p99_ms"),
];

fn path(service: &str, party: &str) -> String {
    format!("/v1/arrivals/{}/{}", encoded(service), encoded(party))
}

fn show(globals: &Globals, row: &Value) {
    globals.out().one("Arrival", row, "id", || {
        let names = [
            ("service", "service"),
            ("party", "party"),
            ("answered", "to"),
            ("by the line of", "by"),
            ("held back", "hold"),
            ("was", "was"),
            ("changed", "changed"),
            ("upstream", "upstream"),
            ("not heard", "unheard"),
            ("local requests", "local.requests"),
            ("local refused", "local.refused"),
            ("local errors", "local.errors"),
            ("local p50 ms", "local.p50_ms"),
            ("local p99 ms", "local.p99_ms"),
            ("relayed requests", "relay.requests"),
            ("relayed refused", "relay.refused"),
            ("relayed errors", "relay.errors"),
            ("relayed p50 ms", "relay.p50_ms"),
            ("relayed p99 ms", "relay.p99_ms"),
        ];
        let mut facts: Vec<(&str, String)> = names.map(|(name, path)| (name, output::text(row, path))).into();
        facts.retain(|(_, value)| value != "-");
        output::facts(&facts)
    });
}
