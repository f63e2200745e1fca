//! `spine party`: organisations by ODS code, and the systems that connect for them.

use super::{
    args::{Globals, Write},
    bulk,
    failure::{Done, Failure, failure, file},
    registry::{Fields, Mode, Register, Row},
};
use crate::{node::pki, ops::codes};
use std::path::{Path, PathBuf};

pub const PARTIES: Register = Register {
    noun: "party",
    path: "/v1/parties",
    kind: "Party",
    id: "ods",
    columns: &[("ods", "ods"), ("name", "name"), ("active", "active"), ("systems", "asids")],
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine party\n  spine party add X26 --name \"NHS Digital\"")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What may be said of an organisation and of one of its systems.
#[derive(clap::Args, Debug, Default)]
pub struct Said {
    /// The organisation's name
    #[arg(long)]
    pub name: Option<String>,
    /// A system of it: its accredited system id
    #[arg(long)]
    pub asid: Option<String>,
    /// The system's party key
    #[arg(long, requires = "asid")]
    pub party_key: Option<String>,
    /// The system's client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "asid")]
    pub cert: Option<PathBuf>,
    /// The system is emergency care: served where others find no room
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"], requires = "asid")]
    pub emergency: Option<String>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List organisations
    #[command(after_help = "Examples:\n  spine party list\n  spine party list X2 --output json")]
    List {
        /// Only ODS codes that start with this
        prefix: Option<String>,
    },
    /// Show an organisation and its systems
    #[command(after_help = "Examples:\n  spine party show X26\n  spine party show X26 --output json")]
    Show { ods: String },
    /// Register an organisation, or a system of it
    #[command(after_help = "Examples:\n  spine party add X26 --name \"NHS Digital\"\n  \
                      spine party add X26 --name \"NHS Digital\" --asid 200000000001 --cert a.pem")]
    Add {
        ods: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        write: Write,
    },
    /// Change an organisation, or add or change a system of it
    #[command(after_help = "Examples:\n  spine party set X26 --name \"NHS England\"\n  \
                      spine party set X26 --asid 200000000001 --cert new.pem --dry-run")]
    Set {
        ods: String,
        #[command(flatten)]
        said: Said,
        /// Take it into service again
        #[arg(long)]
        enable: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Refuse an organisation's systems from now on
    #[command(after_help = "Examples:\n  spine party disable X26\n  spine party disable X26 --dry-run")]
    Disable {
        ods: String,
        /// Only this system
        #[arg(long)]
        asid: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// Show whose systems keep this node busy, in the last minute
    #[command(after_help = "Examples:\n  spine party top\n  spine party top --output json")]
    Top,
    /// Register from a file: published ODS CSV, JSON lines, LDIF, or our CSV
    #[command(after_help = "Examples:\n  spine party import epraccur.csv --dry-run\n  \
                      spine party import systems.ldif\n  spine party import -\n\n\
                      Our own CSV has the heading ods,name,asid,party_key,certificate\n\
                      (certificate is a SHA-256 fingerprint).")]
    Import {
        /// File, or - for stdin
        file: PathBuf,
        /// How the file is written (else by its ending and first line)
        #[arg(long, value_enum)]
        format: Option<bulk::Shape>,
        /// Published CSV: primary role of its organisations (else by its name)
        #[arg(long, value_name = "ROxxx")]
        role: Option<String>,
        /// Check all rows; change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::List { prefix: None }) {
        Verb::List { prefix } => PARTIES.list(globals, prefix.as_deref().unwrap_or("")).await,
        Verb::Show { ods } => PARTIES.show(globals, &ods).await,
        Verb::Add { ods, said, write } => PARTIES.write(globals, &ods, Mode::Add, fields(&said)?, &write).await,
        Verb::Set { ods, said, enable, write } => {
            let fields = fields(&said)?.flag("active", enable.then_some(true));
            PARTIES.write(globals, &ods, Mode::Set, fields, &write).await
        }
        Verb::Disable { ods, asid, write } => {
            let fields = match &asid {
                Some(asid) => Fields::default().text("asid", Some(asid)).flag("system_active", Some(false)),
                None => Fields::default().flag("active", Some(false)),
            };
            PARTIES.write(globals, &ods, Mode::Set, fields, &write).await
        }
        Verb::Top => super::top::parties(globals).await,
        Verb::Import { file, format, role, dry_run } => {
            let job = bulk::Job { path: &file, shape: format, role: role.as_deref(), dry_run };
            match bulk::run(globals, job).await? {
                None => Ok(()),
                Some(text) => PARTIES.import_text(globals, &file, &text, dry_run, row).await,
            }
        }
    }
}

fn row(row: &Row) -> Fields {
    let cell = |name: &str| row.get(name).map(String::as_str).filter(|v| !v.is_empty());
    let fields = Fields::default().text("name", cell("name")).text("asid", cell("asid"));
    fields.text("party_key", cell("party_key")).text("certificate", cell("certificate"))
}

fn fields(said: &Said) -> Result<Fields, Failure> {
    let fields = Fields::default().text("name", said.name.as_deref()).text("asid", said.asid.as_deref());
    let fields = fields.text("party_key", said.party_key.as_deref());
    let fields = fields.flag("emergency", said.emergency.as_ref().map(|word| word == "on"));
    let Some(path) = &said.cert else { return Ok(fields) };
    let told = described(path)?;
    Ok(fields.text("certificate", Some(&told.fingerprint)).text("common_name", Some(&told.common_name)))
}

/// The first certificate of a file.
pub fn described(path: &Path) -> Result<pki::Described, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| file("the certificate cannot be read", path, &e))?;
    let first = pki::describe(&text).ok().and_then(|told| told.into_iter().next());
    first.ok_or_else(|| {
        let why = format!("{} holds no certificate", path.display());
        failure(&codes::CLI_CERTIFICATE, "the certificate cannot be read", why, "name a PEM file")
    })
}
