//! `spine registration`: how people come to work here (spec/identity.md §6.2): apply, verify, sponsor, grant, issue; suspend,
//! resume, end. Each step names the role profile (URP) of who does it.

use super::{
    args::{Globals, Write},
    client,
    failure::{Done, Failure, exit, failure},
    output,
    registry::{Fields, Register, encoded},
    user::Said,
};
use crate::ops::codes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const REGISTRATIONS: Register = Register {
    noun: "registration",
    path: "/v1/registrations",
    kind: "Registration",
    id: "uid",
    columns: &[
        ("user id", "uid"),
        ("name", "name"),
        ("state", "state"),
        ("last step", "last_step"),
        ("complete", "complete"),
    ],
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine registration\n  spine registration show 656005750104")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List registrations
    #[command(after_help = "Examples:\n  spine registration list\n  spine registration list --output json")]
    List {
        /// Only user ids that start with this
        prefix: Option<String>,
    },
    /// Show one, with who did each step
    #[command(after_help = "Examples:\n  spine registration show 656005750104\n  \
                      spine registration show 656005750104 --output json")]
    Show { uid: String },
    /// A person applies; refused where somebody looks the same
    #[command(after_help = "Examples:\n  spine registration apply --given Sam --family Carer --born 1990-04-01\n  \
                      spine registration apply --given Sam --family Carer \\\n    --born 1990-04-01 --not 656005750104")]
    Apply {
        #[command(flatten)]
        said: Said,
        /// National Insurance number
        #[arg(long)]
        ni: Option<String>,
        /// Role profile of who applies for the person (else the person does)
        #[arg(long, value_name = "URP")]
        by: Option<String>,
        /// User id of somebody who looks the same and is another person; may be repeated
        #[arg(long = "not", value_name = "UID")]
        others: Vec<String>,
        #[command(flatten)]
        write: Write,
    },
    /// The identity was checked: at least three documents, with and without a photo
    #[command(after_help = "Examples:\n  spine registration verify 656005750104 --by 656014452101 \\\n    \
                      --evidence passport=2021-03-04 --evidence payslip=2026-10-01 \\\n    \
                      --evidence council-tax-bill=2026-04-01\n  \
                      spine registration verify 656005750104 --by 656014452101 \\\n    --evidence remote-proof-high=2026-11-02")]
    Verify {
        uid: String,
        /// Role profile of the registration authority or identity checker
        #[arg(long, value_name = "URP")]
        by: String,
        /// A document's kind and the day of its issue; may be repeated
        #[arg(long = "evidence", value_name = "DOC=DAY", required = true)]
        evidence: Vec<String>,
        #[command(flatten)]
        write: Write,
    },
    /// The organisation needs the person in a position
    #[command(
        override_usage = "spine registration sponsor --by URP --ods ODS --role S:G:R UID ...",
        after_help = "Examples:\n  spine registration sponsor 656005750104 --by 656014452102 \\\n    --ods X26 --role S8000:G8000:R8001 --activity B0820\n  \
                      spine registration sponsor 656005750104 --by 656014452102 \\\n    --ods X26 --role S8000:G8000:R8001 --until 2027-03-31"
    )]
    Sponsor {
        uid: String,
        /// Role profile of the sponsor, of the same organisation
        #[arg(long, value_name = "URP")]
        by: String,
        /// ODS code of the organisation
        #[arg(long)]
        ods: String,
        /// Job role: staff group, sub-group, role
        #[arg(long, value_name = "S:G:R")]
        role: String,
        /// An activity beside those of the job role; may be repeated
        #[arg(long = "activity", value_name = "CODE[=NAME]")]
        activities: Vec<String>,
        /// An area of work; may be repeated
        #[arg(long = "area", value_name = "CODE[=NAME]")]
        areas: Vec<String>,
        /// A workgroup; may be repeated
        #[arg(long = "workgroup", value_name = "ID[=NAME]")]
        workgroups: Vec<String>,
        /// The day it ends
        #[arg(long, value_name = "YYYY-MM-DD")]
        until: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// The sponsored position becomes a role profile; by somebody else than the sponsor
    #[command(after_help = "Examples:\n  spine registration grant 656005750104 --by 656014452101\n  \
                      spine registration grant 656005750104 --by 656014452101 --dry-run")]
    Grant {
        uid: String,
        /// Role profile of the registration authority
        #[arg(long, value_name = "URP")]
        by: String,
        #[command(flatten)]
        write: Write,
    },
    /// Hand over an authenticator; the first one lets the person in
    #[command(after_help = "Examples:\n  spine registration issue 656005750104 --by 656014452101 --totp --terms\n  \
                      spine registration issue 656005750104 --by 656014452101 \\\n    --password-file p.txt --terms")]
    Issue {
        uid: String,
        /// Role profile of the registration authority
        #[arg(long, value_name = "URP")]
        by: String,
        /// A secret for one-time codes, printed once
        #[arg(long, conflicts_with = "password_file", required_unless_present_any = ["password_file", "device"])]
        totp: bool,
        /// A password, from this file (- for stdin), one line
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// The passkey or smartcard that the person was given with `spine user`
        #[arg(long, conflicts_with_all = ["totp", "password_file"])]
        device: bool,
        /// The person has accepted the terms
        #[arg(long)]
        terms: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Refuse a person from now on
    #[command(after_help = "Examples:\n  spine registration suspend 656005750104 --by 656014452101 --reason lost\n  \
                      spine registration suspend 656005750104 --by 656014452101 \\\n    --reason lost --dry-run")]
    Suspend {
        uid: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        write: Write,
    },
    /// Let a suspended person in again
    #[command(after_help = "Examples:\n  spine registration resume 656005750104 --by 656014452101 --reason found\n  \
                      spine registration resume 656005750104 --by 656014452101 \\\n    --reason found --dry-run")]
    Resume {
        uid: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        write: Write,
    },
    /// End role profiles, or with --leaving everything but the user id
    #[command(
        after_help = "Examples:\n  spine registration end 656005750104 --by 656014452101 --reason moved \\\n    --on 2027-03-31\n  \
                      spine registration end 656005750104 --by 656014452101 --reason retired \\\n    --leaving"
    )]
    End {
        uid: String,
        #[command(flatten)]
        why: Why,
        /// Only this role profile
        #[arg(long, value_name = "URP")]
        urp: Option<String>,
        /// The day it ends (else now)
        #[arg(long, value_name = "YYYY-MM-DD")]
        on: Option<String>,
        /// The person leaves: authenticators go, the user id stays
        #[arg(long)]
        leaving: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Show the site's rules of registration, or change them
    #[command(after_help = "Examples:\n  spine registration rules\n  \
                      spine registration rules --open-for 2h --reason \"first registration managers\"")]
    Rules(Loosen),
    /// Register many: one JSON object a line, with the steps that were done
    #[command(after_help = "Examples:\n  spine registration import staff.jsonl --dry-run --rejects no.jsonl\n  \
                      spine registration import staff.jsonl --rejects no.jsonl")]
    Import {
        file: PathBuf,
        /// Write refused lines here, each with its reason
        #[arg(long, value_name = "FILE")]
        rejects: Option<PathBuf>,
        /// Check and show what would change; change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What is not named stays as it is.
#[derive(clap::Args, Debug)]
pub struct Loosen {
    /// An activity of sponsors; may be repeated, the whole list
    #[arg(long = "sponsor", value_name = "CODE")]
    pub sponsors: Vec<String>,
    /// An activity of identity checkers; may be repeated, the whole list
    #[arg(long = "checker", value_name = "CODE")]
    pub checkers: Vec<String>,
    /// Whether one operator account may enter the steps of both people
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"])]
    pub one_operator: Option<String>,
    /// Let people in without steps (`spine user`) for this long; at most 24h in a live site
    #[arg(long, value_name = "DURATION", conflicts_with = "close")]
    pub open_for: Option<String>,
    /// Let it no more
    #[arg(long)]
    pub close: bool,
    /// Why, where a rule is loosened
    #[arg(long)]
    pub reason: Option<String>,
}

/// Who does it, and why.
#[derive(clap::Args, Debug)]
pub struct Why {
    /// Role profile of the registration authority
    #[arg(long, value_name = "URP")]
    pub by: String,
    #[arg(long)]
    pub reason: String,
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    let by = |by: &str| Fields::default().text("by", Some(by));
    let why = |why: &Why| by(&why.by).text("reason", Some(&why.reason));
    match verb.unwrap_or(Verb::List { prefix: None }) {
        Verb::List { prefix } => REGISTRATIONS.list(globals, prefix.as_deref().unwrap_or("")).await,
        Verb::Show { uid } => REGISTRATIONS.show(globals, &uid).await,
        Verb::Apply { said, ni, by, others, write } => {
            let fields = super::user::fields(&said)?.text("ni", ni.as_deref()).text("by", by.as_deref());
            post(globals, "", fields.list("others", &others), &write).await
        }
        Verb::Verify { uid, by: urp, evidence, write } => {
            post(globals, &format!("/{}/verify", encoded(&uid)), by(&urp).list("evidence", &evidence), &write).await
        }
        Verb::Sponsor { uid, by: urp, ods, role, activities, areas, workgroups, until, write } => {
            let fields = by(&urp).text("ods", Some(&ods)).text("role_code", Some(&role));
            let fields = fields.list("activities", &activities).list("areas", &areas).list("workgroups", &workgroups);
            let fields = fields.text("closes", until.as_deref());
            post(globals, &format!("/{}/sponsor", encoded(&uid)), fields, &write).await
        }
        Verb::Grant { uid, by: urp, write } => {
            post(globals, &format!("/{}/grant", encoded(&uid)), by(&urp), &write).await
        }
        Verb::Issue { uid, by: urp, totp, password_file, device, terms, write } => {
            let mut fields = by(&urp).flag("terms", Some(terms)).flag("totp", totp.then_some(true));
            fields = fields.flag("device", device.then_some(true));
            if let Some(file) = password_file {
                let text = super::import::read(&file)?;
                fields = fields.text("password", text.lines().next());
            }
            post(globals, &format!("/{}/issue", encoded(&uid)), fields, &write).await
        }
        Verb::Suspend { uid, why: w, write } => {
            post(globals, &format!("/{}/suspend", encoded(&uid)), why(&w), &write).await
        }
        Verb::Resume { uid, why: w, write } => {
            post(globals, &format!("/{}/resume", encoded(&uid)), why(&w), &write).await
        }
        Verb::End { uid, why: w, urp, on, leaving, write } => {
            let fields = why(&w).text("urp", urp.as_deref()).text("on", on.as_deref());
            let fields = fields.flag("leaving", leaving.then_some(true));
            post(globals, &format!("/{}/end", encoded(&uid)), fields, &write).await
        }
        Verb::Rules(loosen) => rules(globals, &loosen).await,
        Verb::Import { file, rejects, dry_run } => import(globals, &file, rejects.as_deref(), dry_run).await,
    }
}

async fn rules(globals: &Globals, loosen: &Loosen) -> Done {
    const PATH: &str = "/v1/registration-rules";
    let mut fields = Fields::default().list("sponsors", &loosen.sponsors).list("checkers", &loosen.checkers);
    fields = fields.flag("one_operator", loosen.one_operator.as_ref().map(|word| word == "on"));
    fields = fields.flag("close", loosen.close.then_some(true)).text("reason", loosen.reason.as_deref());
    if let Some(text) = &loosen.open_for {
        let wrong = || {
            let why = format!("{text} is no length of time");
            failure(&codes::CLI_USAGE, "the command was not understood", why, "write a time such as 2h")
        };
        let span = crate::config::units::parse_duration(text).ok_or_else(wrong)?;
        fields.0.insert("open_for".into(), json!(span.as_secs()));
    }
    let client = client(globals)?;
    let told = match fields.0.is_empty() {
        true => client.get(PATH).await?,
        false => client.call(http::Method::PUT, PATH, &Value::Object(fields.0)).await?,
    };
    globals.out().one("RegistrationRules", &told, "open", || {
        let text = |name: &str| output::text(&told, name);
        output::facts(&[
            ("sponsors", text("sponsors")),
            ("identity checkers", text("checkers")),
            ("one operator", text("one_operator")),
            ("open until", text("open_until")),
        ])
    });
    Ok(())
}

async fn post(globals: &Globals, below: &str, fields: Fields, write: &Write) -> Done {
    let path = format!("{}{below}?dry_run={}", REGISTRATIONS.path, write.dry_run);
    let answer = client(globals)?.post(&path, &Value::Object(fields.0)).await?;
    let mut told = answer["registration"].clone();
    let uid = told["uid"].as_str().unwrap_or_default().to_owned();
    if answer["outcome"] == "same" && write.strict {
        let what = format!("registration {uid} is already so");
        return Err(Failure::of(&codes::CLI_ALREADY, what, "nothing would change").with_exit(exit::ALREADY));
    }
    if let Some(told) = told.as_object_mut() {
        for name in ["outcome", "totp_secret", "otpauth"] {
            told.extend(answer.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        told.insert("dry_run".into(), json!(write.dry_run));
    }
    globals.out().one(REGISTRATIONS.kind, &told, "uid", || {
        let mut facts = vec![("user id", uid.clone()), ("state", output::text(&told, "state"))];
        for (name, field) in
            [("sponsored", "sponsored"), ("roles", "roles"), ("secret", "totp_secret"), ("uri", "otpauth")]
        {
            facts.push((name, output::text(&told, field)));
        }
        facts.retain(|(_, value)| value != "-");
        output::facts(&facts)
    });
    if write.dry_run {
        globals.out().next("repeat without --dry-run");
    }
    Ok(())
}

/// Longest line of a file, in bytes.
const MAX_LINE: usize = 64 << 10;

/// One person a line; a refused line is named and the others go in. A person who is in already is refused as one who looks
/// the same, so that a repeat makes nobody twice.
async fn import(globals: &Globals, file: &Path, rejects: Option<&Path>, dry_run: bool) -> Done {
    let trouble = |e| super::failure::file("the file cannot be read", file, &e);
    let reader = std::io::BufReader::new(std::fs::File::open(file).map_err(trouble)?);
    let client = client(globals)?;
    let mut refused: Vec<Value> = vec![];
    let mut done = 0;
    let path = format!("{}?dry_run={dry_run}", REGISTRATIONS.path);
    for (n, line) in std::io::BufRead::lines(reader).enumerate() {
        let line = line.map_err(trouble)?;
        if line.trim().is_empty() {
            continue;
        }
        let read = serde_json::from_str::<Value>(&line).ok().filter(|v| v.is_object() && line.len() <= MAX_LINE);
        let why = match read {
            None => "it is no JSON object, or too long".to_owned(),
            Some(person) => match client.post(&path, &person).await {
                Ok(_) => {
                    done += 1;
                    continue;
                }
                // A node that cannot be reached refuses no line: stop, and repeat.
                Err(e) if e.exit == exit::UNREACHABLE => return Err(e),
                Err(e) => e.why,
            },
        };
        refused.push(json!({"line": n + 1, "why": why, "text": line.chars().take(MAX_LINE).collect::<String>()}));
    }
    if let Some(path) = rejects {
        let text: String = refused.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(path, text).map_err(|e| super::failure::file("the rejects cannot be written", path, &e))?;
    }
    let lines: Vec<Value> = refused.iter().map(|r| json!({"line": r["line"], "why": r["why"]})).collect();
    let told = json!({"done": done, "refused": refused.len(), "dry_run": dry_run, "lines": lines});
    globals.out().one("RegistrationImport", &told, "done", || {
        let mut text = format!("{done} registered, {} refused\n", refused.len());
        for line in refused.iter().take(100) {
            text.push_str(&format!("line {}: {}\n", line["line"], output::text(line, "why")));
        }
        text
    });
    match refused.is_empty() {
        true => Ok(()),
        false => {
            let why = format!("{} lines were refused", refused.len());
            Err(failure(&codes::CLI_DEGRADED, "not every line went in", why, "mend these lines and import them again")
                .after_a_report())
        }
    }
}
