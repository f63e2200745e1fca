//! `spine workflow`: MESH workflows, and who may send and receive with them.

use super::{
    args::{Globals, Write},
    failure::Done,
    registry::{Fields, Mode, Register, Row},
};
use std::path::PathBuf;

pub const WORKFLOWS: Register = Register {
    noun: "workflow",
    path: "/v1/workflows",
    kind: "Workflow",
    id: "id",
    columns: &[("id", "id"), ("senders", "senders"), ("receivers", "receivers"), ("active", "active")],
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine workflow\n  spine workflow show PATH_MEDRPT")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Who may use a workflow.
#[derive(clap::Args, Debug, Default)]
pub struct Said {
    /// Mailbox that may send; may be repeated, replaces the list
    #[arg(long = "sender", value_name = "MAILBOX")]
    pub senders: Vec<String>,
    /// Mailbox that may receive; may be repeated, replaces the list
    #[arg(long = "receiver", value_name = "MAILBOX")]
    pub receivers: Vec<String>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List workflows
    #[command(after_help = "Examples:\n  spine workflow list\n  spine workflow list PATH --output json")]
    List {
        /// Only ids that start with this
        prefix: Option<String>,
    },
    /// Show a workflow
    #[command(after_help = "Examples:\n  spine workflow show PATH_MEDRPT\n  spine workflow show W --output json")]
    Show { id: String },
    /// Register a workflow
    #[command(after_help = "Examples:\n  spine workflow add LAB --sender X26HC005 --receiver X27HC001\n  \
                      spine workflow add LAB_ACK --sender X27HC001 --receiver X26HC005 --dry-run")]
    Add {
        id: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        write: Write,
    },
    /// Change who may send or receive
    #[command(after_help = "Examples:\n  spine workflow set LAB --receiver X27HC001 --receiver X27HC002\n  \
                      spine workflow set LAB --sender X26HC009 --dry-run")]
    Set {
        id: String,
        #[command(flatten)]
        said: Said,
        /// Take it into service again
        #[arg(long)]
        enable: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Refuse messages of a workflow from now on
    #[command(after_help = "Examples:\n  spine workflow disable LAB\n  spine workflow disable LAB --dry-run")]
    Disable {
        id: String,
        #[command(flatten)]
        write: Write,
    },
    /// Register from a CSV file: id,senders,receivers (lists with ;)
    #[command(after_help = "Examples:\n  spine workflow import w.csv --dry-run\n  spine workflow import -")]
    Import {
        /// File, or - for stdin
        file: PathBuf,
        /// Check all rows; change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::List { prefix: None }) {
        Verb::List { prefix } => WORKFLOWS.list(globals, prefix.as_deref().unwrap_or("")).await,
        Verb::Show { id } => WORKFLOWS.show(globals, &id).await,
        Verb::Add { id, said, write } => WORKFLOWS.write(globals, &id, Mode::Add, fields(&said), &write).await,
        Verb::Set { id, said, enable, write } => {
            let fields = fields(&said).flag("active", enable.then_some(true));
            WORKFLOWS.write(globals, &id, Mode::Set, fields, &write).await
        }
        Verb::Disable { id, write } => {
            let fields = Fields::default().flag("active", Some(false));
            WORKFLOWS.write(globals, &id, Mode::Set, fields, &write).await
        }
        Verb::Import { file, dry_run } => WORKFLOWS.import(globals, &file, dry_run, row).await,
    }
}

fn row(row: &Row) -> Fields {
    let list = |name: &str| -> Vec<String> {
        let cell = row.get(name).map(String::as_str).unwrap_or_default();
        cell.split(';').map(str::trim).filter(|m| !m.is_empty()).map(str::to_owned).collect()
    };
    Fields::default().list("senders", &list("senders")).list("receivers", &list("receivers"))
}

fn fields(said: &Said) -> Fields {
    Fields::default().list("senders", &said.senders).list("receivers", &said.receivers)
}
