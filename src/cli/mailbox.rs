//! `spine mailbox`: MESH mailboxes.

use super::{
    args::{Globals, Write},
    failure::{Done, Failure, file},
    registry::{Fields, Mode, Register, Row},
};
use std::path::{Path, PathBuf};

pub const MAILBOXES: Register = Register {
    noun: "mailbox",
    path: "/v1/mailboxes",
    kind: "Mailbox",
    id: "id",
    columns: &[("id", "id"), ("name", "name"), ("ods", "ods"), ("active", "active")],
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine mailbox\n  spine mailbox show X26ABC1")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What may be said of a mailbox.
#[derive(clap::Args, Debug, Default)]
pub struct Said {
    /// Name for people
    #[arg(long)]
    pub name: Option<String>,
    /// ODS code of the organisation it belongs to
    #[arg(long)]
    pub ods: Option<String>,
    /// File with the password (- for stdin); never an argument
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Name of the organisation, as shown to correspondents
    #[arg(long)]
    pub org_name: Option<String>,
    /// Who pays: England, Wales…
    #[arg(long)]
    pub billing_entity: Option<String>,
    /// The site's own service that answers what is sent to it: pds-trace, or none
    #[arg(long)]
    pub service: Option<String>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List mailboxes
    #[command(after_help = "Examples:\n  spine mailbox list\n  spine mailbox list X26 --quiet")]
    List {
        /// Only ids that start with this
        prefix: Option<String>,
    },
    /// Show a mailbox
    #[command(after_help = "Examples:\n  spine mailbox show X26ABC1\n  spine mailbox show X26ABC1 --output json")]
    Show { id: String },
    /// Register a mailbox
    #[command(after_help = "Examples:\n  spine mailbox add X26HC005 --ods X26 --name LAB --password-file pw\n  \
                      pwgen 16 1 | spine mailbox add X26HC006 --ods X26 --password-file -")]
    Add {
        id: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        write: Write,
    },
    /// Change a mailbox
    #[command(after_help = "Examples:\n  spine mailbox set X26HC005 --name LAB2\n  \
                      spine mailbox set X26HC005 --password-file new --dry-run")]
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
    /// Refuse a mailbox's requests and messages for it from now on
    #[command(after_help = "Examples:\n  spine mailbox disable X26HC005\n  spine mailbox disable X26HC005 --dry-run")]
    Disable {
        id: String,
        #[command(flatten)]
        write: Write,
    },
    /// Register from a CSV file: id,name,ods,password,org_name,…
    #[command(after_help = "Examples:\n  spine mailbox import boxes.csv --dry-run\n  spine mailbox import -")]
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
        Verb::List { prefix } => MAILBOXES.list(globals, prefix.as_deref().unwrap_or("")).await,
        Verb::Show { id } => MAILBOXES.show(globals, &id).await,
        Verb::Add { id, said, write } => MAILBOXES.write(globals, &id, Mode::Add, fields(&said)?, &write).await,
        Verb::Set { id, said, enable, write } => {
            let fields = fields(&said)?.flag("active", enable.then_some(true));
            MAILBOXES.write(globals, &id, Mode::Set, fields, &write).await
        }
        Verb::Disable { id, write } => {
            let fields = Fields::default().flag("active", Some(false));
            MAILBOXES.write(globals, &id, Mode::Set, fields, &write).await
        }
        Verb::Import { file, dry_run } => MAILBOXES.import(globals, &file, dry_run, row).await,
    }
}

fn row(row: &Row) -> Fields {
    let names = ["name", "ods", "password", "org_code", "org_name", "billing_entity", "service"];
    names.iter().fold(Fields::default(), |fields, name| {
        fields.text(name, row.get(*name).map(String::as_str).filter(|v| !v.is_empty()))
    })
}

fn fields(said: &Said) -> Result<Fields, Failure> {
    let fields = Fields::default().text("name", said.name.as_deref()).text("ods", said.ods.as_deref());
    let fields = fields.text("org_name", said.org_name.as_deref());
    let fields = fields.text("billing_entity", said.billing_entity.as_deref());
    let fields = fields.text("service", said.service.as_deref());
    match &said.password_file {
        Some(path) => Ok(fields.text("password", Some(&secret(path)?))),
        None => Ok(fields),
    }
}

/// A secret from a file or stdin, without the final line end.
pub fn secret(path: &Path) -> Result<String, Failure> {
    use std::io::Read;
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(|_| text),
        false => std::fs::read_to_string(path),
    };
    let text = read.map_err(|e| file("the secret cannot be read", path, &e))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
