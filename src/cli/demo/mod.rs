//! `spine demo`: a whole site on this machine, of real node processes, to try things on and to script against.
//!
//! The shape of `DIR/demo.json`, the addresses and the names of the demo data are a contract (docs/demo.md):
//! scripts rest on them. Everything in the site is made by the same commands that an operator has.

mod control;
mod data;
mod layout;
mod login;
mod people;
mod prescriptions;
pub(super) mod record;
pub(super) mod signer;
mod start;
mod supervisor;

pub use data::{PHARMACIST, PRESCRIBER, sender};
pub use record::Record;

use super::{
    args::Globals,
    failure::{Done, Failure, failure},
    output,
    prescriptions::signing::SigningKey,
};
use crate::ops::codes;
use layout::Layout;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine demo\n  spine demo --dir /tmp/site --nodes 5 --set mesh.inbox_expiry=1h",
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// Folder of the site; what is in it goes on (else a new temporary one)
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// How many partitions hold the services' data; fixed when DIR is first used
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    partitions: u16,
    /// First port; node N listens for suppliers on PORT + 10·(N−1)
    #[arg(long, default_value_t = 8440, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port: u16,
    /// How many made-up people, besides the published ones; 0 for nobody
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(0..=900_000))]
    people: u64,
    /// Leave a node that dies dead
    #[arg(long)]
    no_restart: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Kill a node of a running demo as a power cut would (kill -9)
    #[command(after_help = "Examples:\n  spine demo kill 2 --dir /tmp/site\n  spine demo kill 1 --dir d --output json")]
    Kill { number: u16 },
    /// Start a killed node of a running demo again
    #[command(
        after_help = "Examples:\n  spine demo start 2 --dir /tmp/site\n  spine demo start 1 --dir d --output json"
    )]
    Start { number: u16 },
    /// Print an Authorization header for a demo mailbox, good for one request, or an access token of an application or user
    #[command(
        after_help = "Examples:\n  spine demo token X26ABC1 --dir /tmp/site\n  spine demo token --as demo-app --dir d"
    )]
    Token {
        #[arg(required_unless_present = "application")]
        mailbox: Option<String>,
        /// The application or user to get an access token for
        #[arg(long = "as", value_name = "APPLICATION|USER", conflicts_with = "mailbox")]
        application: Option<String>,
    },
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    match &args.verb {
        None => start::run(globals, &args).await,
        Some(Verb::Kill { number }) => {
            control::ask(&existing(&args)?, "kill", *number).await?;
            tell(globals, *number, "killed");
            Ok(())
        }
        Some(Verb::Start { number }) => {
            control::ask(&existing(&args)?, "start", *number).await?;
            tell(globals, *number, "started");
            Ok(())
        }
        Some(Verb::Token { application: Some(name), .. }) => {
            let layout = existing(&args)?;
            let record = Record::read(&layout)?;
            if let Some(user) = record.users.iter().find(|u| u.id == *name || u.name == *name) {
                output::line(&login::token(&record, &layout, user).await?);
                return Ok(());
            }
            let found =
                record.applications.iter().find(|a| a.name == *name || a.client_id == *name).ok_or_else(|| {
                    let known = record.applications.iter().map(|a| &a.name).chain(record.users.iter().map(|u| &u.id));
                    let known: Vec<&str> = known.map(String::as_str).collect();
                    let (why, fix) =
                        (format!("{name} is no demo application or user"), format!("name one of {}", known.join(", ")));
                    failure(&codes::CLI_NOT_FOUND, "there is no such application or user", why, fix)
                })?;
            output::line(&signer::token(&record, found).await?);
            Ok(())
        }
        Some(Verb::Token { mailbox, .. }) => {
            let record = Record::read(&existing(&args)?)?;
            let mailbox = mailbox.as_deref().unwrap_or_default();
            let found = record.mailboxes.iter().find(|m| m.id.eq_ignore_ascii_case(mailbox)).ok_or_else(|| {
                let known: Vec<&str> = record.mailboxes.iter().map(|m| m.id.as_str()).collect();
                let fix = format!("name one of {}", known.join(", "));
                failure(&codes::CLI_NOT_FOUND, "there is no such mailbox", format!("{mailbox} is no demo mailbox"), fix)
            })?;
            output::line(&data::token(&record.shared_key, &found.id, &found.password));
            Ok(())
        }
    }
}

/// An access token of one of the people of the demo in this folder.
pub async fn user_token(dir: &Path, record: &Record, id: &str) -> Result<String, Failure> {
    let layout = Layout::new(dir, 0);
    let user = record.users.iter().find(|user| user.id == id).ok_or_else(|| {
        Failure::of(&codes::CLI_DEMO, "no token was given", format!("the demo has no user {id}: start it anew"))
    })?;
    login::token(record, &layout, user).await
}

/// The key with which the demo's prescriber signs.
pub fn signing_key(dir: &Path) -> Result<SigningKey, Failure> {
    let (certificate, key) = Layout::new(dir, 0).signing(PRESCRIBER);
    SigningKey::read(&certificate, &key)
}

fn tell(globals: &Globals, number: u16, verb: &str) {
    let value = serde_json::json!({"node": number, "done": verb});
    globals.out().one("DemoNode", &value, "node", || format!("node {number} {verb}"));
}

/// The folder that a verb on a running demo needs.
fn existing(args: &Args) -> Result<Layout, Failure> {
    match &args.dir {
        Some(dir) => Ok(Layout::new(dir, args.port)),
        None => {
            let why = "no --dir was given, so it is not known which demo is meant";
            Err(failure(&codes::CLI_DEMO, "which demo?", why, "give --dir DIR, as the running demo printed it"))
        }
    }
}
