//! `spine user`: people who work here, their roles and what they prove themselves by (spec/identity.md §6).

use super::{
    args::{Globals, Write},
    client,
    failure::{Done, Failure, exit, failure},
    output,
    registry::{Fields, Mode, Register, encoded},
};
use crate::ops::codes;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

pub const USERS: Register = Register {
    noun: "user",
    path: "/v1/users",
    kind: "User",
    id: "uid",
    columns: &[("user id", "uid"), ("name", "name"), ("state", "state"), ("identity level", "identity_level")],
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine user\n  spine user show 656005750104")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What may be said of a person.
#[derive(clap::Args, Debug, Default)]
pub struct Said {
    /// Given name
    #[arg(long)]
    pub given: Option<String>,
    /// Family name
    #[arg(long)]
    pub family: Option<String>,
    /// Title before the name
    #[arg(long)]
    pub title: Option<String>,
    /// Middle names
    #[arg(long)]
    pub middle: Option<String>,
    /// The name that others see (else given and family name)
    #[arg(long)]
    pub display: Option<String>,
    /// E-mail address
    #[arg(long)]
    pub email: Option<String>,
    /// Birth date
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub born: Option<String>,
    /// A professional id, such as `gmc_id`; may be repeated, replaces the list
    #[arg(long = "professional", value_name = "NAME=ID")]
    pub professional: Vec<String>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List people
    #[command(after_help = "Examples:\n  spine user list\n  spine user list 6560 --output json")]
    List {
        /// Only user ids that start with this
        prefix: Option<String>,
    },
    /// Show a person with roles and authenticators
    #[command(after_help = "Examples:\n  spine user show 656005750104\n  spine user show 656005750104 --output json")]
    Show { uid: String },
    /// Register a person; the id is drawn, once for life
    #[command(after_help = "Examples:\n  spine user add --given Sam --family Carer\n  \
                      spine user add --given Sam --family Carer --uid 656005750104 --dry-run")]
    Add {
        #[command(flatten)]
        said: Said,
        /// The id that an older register gave to this person
        #[arg(long)]
        uid: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// Change what is said of a person
    #[command(after_help = "Examples:\n  spine user set 656005750104 --family Nurse\n  \
                      spine user set 656005750104 --professional nmc_id=NMC123 --dry-run")]
    Set {
        uid: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        write: Write,
    },
    /// Record that the person's identity was checked
    #[command(after_help = "Examples:\n  spine user verify 656005750104 --level 3\n  \
                      spine user verify 656005750104 --level 3 --dry-run")]
    Verify {
        uid: String,
        /// How well (3: by the government's identity standard, high)
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
        level: u8,
        #[command(flatten)]
        write: Write,
    },
    /// Open or end a role profile
    #[command(
        subcommand,
        after_help = "Examples:\n  spine user role add 656005750104 --ods X26 --role S8000:G8000:R8001\n  \
                      spine user role end 656005750104 555254242104"
    )]
    Role(Role),
    /// Set the password: read from stdin, one line
    #[command(after_help = "Examples:\n  spine user password 656005750104 < password.txt\n  \
                      spine user password 656005750104 --drop")]
    Password {
        uid: String,
        /// Read it from this file instead (- for stdin)
        #[arg(long, value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Take the password away
        #[arg(long)]
        drop: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Make a secret for one-time codes and print it, once
    #[command(after_help = "Examples:\n  spine user totp 656005750104\n  spine user totp 656005750104 --drop")]
    Totp {
        uid: String,
        /// Take the one-time codes away
        #[arg(long)]
        drop: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Print a link by which the person enrols a passkey, good for half an hour
    #[command(after_help = "Examples:\n  spine user passkey 656005750104\n  \
                      spine user passkey 656005750104 --remove passkey-6f1f0a7d3c2b9e48")]
    Passkey {
        uid: String,
        /// Take this passkey away; what it opened ends at once
        #[arg(long, value_name = "SERIAL")]
        remove: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// Make a client certificate of the site's authority a person's smartcard
    #[command(after_help = "Examples:\n  spine user smartcard 656005750104 --certificate card.pem\n  \
                      spine user smartcard 656005750104 --remove smartcard-6f1f0a7d3c2b9e48")]
    Smartcard {
        uid: String,
        /// The certificate, PEM
        #[arg(long, value_name = "FILE", required_unless_present = "remove", conflicts_with = "remove")]
        certificate: Option<PathBuf>,
        /// Take this smartcard away; what it opened ends at once
        #[arg(long, value_name = "SERIAL")]
        remove: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// Let a person in whose identity, role and authenticator are there
    #[command(
        after_help = "Examples:\n  spine user activate 656005750104\n  spine user activate 656005750104 --dry-run"
    )]
    Activate {
        uid: String,
        #[command(flatten)]
        write: Write,
    },
    /// Refuse a person and their tokens from now on
    #[command(after_help = "Examples:\n  spine user suspend 656005750104\n  spine user suspend 656005750104 --dry-run")]
    Suspend {
        uid: String,
        #[command(flatten)]
        write: Write,
    },
    /// Let a suspended person in again
    #[command(after_help = "Examples:\n  spine user resume 656005750104\n  spine user resume 656005750104 --dry-run")]
    Resume {
        uid: String,
        #[command(flatten)]
        write: Write,
    },
    /// Close a person, all roles and authenticators, for ever
    #[command(after_help = "Examples:\n  spine user close 656005750104\n  spine user close 656005750104 --dry-run")]
    Close {
        uid: String,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(clap::Subcommand, Debug)]
pub enum Role {
    /// Open a role profile in an organisation
    #[command(after_help = "Examples:\n  spine user role add 656005750104 --ods X26 --role S8000:G8000:R8001 \\\n    \
                      --activity B0825 --activity B0820\n  \
                      spine user role add 656005750104 --ods X26 --role S8000:G8000:R8001 --until 2027-03-31")]
    Add {
        uid: String,
        /// ODS code of the organisation
        #[arg(long)]
        ods: String,
        /// Job role: staff group, sub-group, role
        #[arg(long, value_name = "S:G:R")]
        role: String,
        /// Name of the job role, three quoted parts joined by colons, where it is not a usual one
        #[arg(long)]
        role_name: Option<String>,
        /// An activity beside those of the job role; may be repeated
        #[arg(long = "activity", value_name = "CODE[=NAME]")]
        activities: Vec<String>,
        /// An area of work; may be repeated
        #[arg(long = "area", value_name = "CODE[=NAME]")]
        areas: Vec<String>,
        /// A workgroup; may be repeated
        #[arg(long = "workgroup", value_name = "ID[=NAME]")]
        workgroups: Vec<String>,
        /// First day (else now)
        #[arg(long, value_name = "YYYY-MM-DD")]
        from: Option<String>,
        /// The day it ends
        #[arg(long, value_name = "YYYY-MM-DD")]
        until: Option<String>,
        /// The id that an older register gave to this role profile
        #[arg(long)]
        urp: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// End a role profile
    #[command(after_help = "Examples:\n  spine user role end 656005750104 656014452101\n  \
                      spine user role end 656005750104 656014452101 --on 2027-03-31")]
    End {
        uid: String,
        urp: String,
        /// The day it ends (else now)
        #[arg(long, value_name = "YYYY-MM-DD")]
        on: Option<String>,
        #[command(flatten)]
        write: Write,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    let state = |word: &str| Fields::default().text("state", Some(word));
    let set = async |uid: &str, fields, write: &Write| USERS.write(globals, uid, Mode::Set, fields, write).await;
    match verb.unwrap_or(Verb::List { prefix: None }) {
        Verb::List { prefix } => USERS.list(globals, prefix.as_deref().unwrap_or("")).await,
        Verb::Show { uid } => USERS.show(globals, &uid).await,
        Verb::Add { said, uid, write } => {
            let fields = fields(&said)?.text("uid", uid.as_deref());
            let told = post(globals, "/v1/users", "user", fields, &write).await?;
            if let (Some(uid), false) = (told["uid"].as_str(), write.dry_run) {
                globals.out().next(&format!("record the identity check with `spine user verify {uid} --level 3`"));
            }
            Ok(())
        }
        Verb::Set { uid, said, write } => set(&uid, fields(&said)?, &write).await,
        Verb::Verify { uid, level, write } => {
            let mut fields = state("identity-verified");
            fields.0.insert("identity_level".into(), json!(level));
            set(&uid, fields, &write).await
        }
        Verb::Role(role) => run_role(globals, role).await,
        Verb::Password { uid, drop: true, write, .. } => set(&uid, dropped("password"), &write).await,
        Verb::Password { uid, file, write, .. } => {
            let text = super::import::read(&file)?;
            let password = text.lines().next().unwrap_or_default();
            if password.is_empty() {
                let fix = "give it on stdin, as one line";
                return Err(failure(&codes::CLI_USAGE, "no password was set", "the first line is empty", fix));
            }
            set(&uid, Fields::default().text("password", Some(password)), &write).await
        }
        Verb::Totp { uid, drop: true, write } => set(&uid, dropped("totp"), &write).await,
        Verb::Totp { uid, write, .. } => totp(globals, &uid, &write).await,
        Verb::Passkey { uid, remove: Some(serial), write }
        | Verb::Smartcard { uid, remove: Some(serial), write, .. } => set(&uid, dropped(&serial), &write).await,
        Verb::Passkey { uid, write, .. } => passkey(globals, &uid, &write).await,
        Verb::Smartcard { uid, certificate, write, .. } => {
            set(&uid, smartcard(&certificate.unwrap_or_default())?, &write).await
        }
        Verb::Activate { uid, write } | Verb::Resume { uid, write } => set(&uid, state("active"), &write).await,
        Verb::Suspend { uid, write } => set(&uid, state("suspended"), &write).await,
        Verb::Close { uid, write } => set(&uid, state("closed"), &write).await,
    }
}

fn dropped(serial: &str) -> Fields {
    Fields::default().text("drop_authenticator", Some(serial))
}

async fn run_role(globals: &Globals, role: Role) -> Done {
    match role {
        Role::Add { uid, ods, role, role_name, activities, areas, workgroups, from, until, urp, write } => {
            let fields = Fields::default().text("ods", Some(&ods)).text("role_code", Some(&role));
            let fields = fields.text("role_name", role_name.as_deref()).text("urp", urp.as_deref());
            let fields = fields.list("activities", &activities).list("areas", &areas).list("workgroups", &workgroups);
            let fields = fields.text("opens", from.as_deref()).text("closes", until.as_deref());
            post(globals, &format!("/v1/users/{}/roles", encoded(&uid)), "role", fields, &write).await.map(drop)
        }
        Role::End { uid, urp, on, write } => {
            let path = format!("/v1/users/{}/roles/{}/end", encoded(&uid), encoded(&urp));
            post(globals, &path, "role", Fields::default().text("closes", on.as_deref()), &write).await.map(drop)
        }
    }
}

/// What has no id yet is posted; the answer names it.
async fn post(
    globals: &Globals,
    path: &str,
    noun: &'static str,
    fields: Fields,
    write: &Write,
) -> Result<Value, Failure> {
    let mode = if path.ends_with("/end") { "set" } else { "add" };
    let path = format!("{path}?mode={mode}&dry_run={}", write.dry_run);
    let answer = client(globals)?.post(&path, &Value::Object(fields.0)).await?;
    let outcome = answer["outcome"].as_str().unwrap_or("?").to_owned();
    let mut told = answer.get(noun).cloned().unwrap_or_default();
    let (kind, id) = if noun == "user" { ("User", "uid") } else { ("RoleProfile", "urp") };
    let name = told[id].as_str().unwrap_or_default().to_owned();
    if outcome == "same" && write.strict {
        let what = format!("{noun} {name} is already so");
        return Err(Failure::of(&codes::CLI_ALREADY, what, "nothing would change").with_exit(exit::ALREADY));
    }
    if let Some(told) = told.as_object_mut() {
        told.insert("outcome".into(), json!(outcome));
        told.insert("dry_run".into(), json!(write.dry_run));
    }
    globals.out().one(kind, &told, id, || match (write.dry_run, outcome.as_str()) {
        // A drawn id is another one next time.
        (true, _) => format!("{noun} would be {outcome}"),
        (false, "same") => format!("{noun} {name} unchanged: it is already so"),
        (false, _) => format!("{noun} {name} {outcome}"),
    });
    Ok(told)
}

async fn totp(globals: &Globals, uid: &str, write: &Write) -> Done {
    let fields = Fields::default().flag("totp", Some(true));
    let answer = USERS.put(&client(globals)?, uid, Mode::Set, &Value::Object(fields.0), write.dry_run).await?;
    let told = json!({
        "uid": uid, "totp_secret": answer["totp_secret"], "otpauth": answer["otpauth"], "dry_run": write.dry_run,
    });
    globals.out().one("OneTimeCodes", &told, "uid", || match write.dry_run {
        true => format!("user {uid} would get a new secret for one-time codes"),
        false => {
            let text = |name: &str| output::text(&answer, name);
            output::facts(&[("secret", text("totp_secret")), ("uri", text("otpauth"))])
        }
    });
    if !write.dry_run {
        globals.out().next("give it to the person now: it is not shown again");
    }
    Ok(())
}

/// The link, once: whoever has it makes a passkey for this person.
async fn passkey(globals: &Globals, uid: &str, write: &Write) -> Done {
    let path = format!("/v1/users/{}/passkey?dry_run={}", encoded(uid), write.dry_run);
    let told = client(globals)?.post(&path, &json!({})).await?;
    globals.out().one("PasskeyInvitation", &told, "uid", || match write.dry_run {
        true => format!("user {uid} would get a code for enrolling a passkey"),
        false => {
            let text = |name: &str| output::text(&told, name);
            output::facts(&[("link", text("link")), ("code", text("code")), ("expires", text("expires"))])
        }
    });
    if !write.dry_run {
        globals.out().next("give it to the person now: it is not shown again, and good for one passkey");
    }
    Ok(())
}

pub(super) fn smartcard(certificate: &std::path::Path) -> Result<Fields, Failure> {
    let told = super::party::described(certificate)?;
    let fields = Fields::default().text("smartcard", Some(&told.fingerprint));
    let mut fields = fields.text("smartcard_name", Some(&told.common_name));
    // The last second of a certificate counts (RFC 5280 §4.1.2.5).
    let expires = u64::try_from(told.not_after).unwrap_or_default().saturating_add(1).saturating_mul(1_000);
    fields.0.insert("smartcard_expires".into(), json!(expires));
    Ok(fields)
}

pub(super) fn fields(said: &Said) -> Result<Fields, Failure> {
    let text = |fields: Fields, name: &str, value: &Option<String>| fields.text(name, value.as_deref());
    let mut fields = Fields::default();
    let all = [
        ("given", &said.given),
        ("family", &said.family),
        ("title", &said.title),
        ("middle", &said.middle),
        ("display", &said.display),
        ("email", &said.email),
        ("born", &said.born),
    ];
    for (name, value) in all {
        fields = text(fields, name, value);
    }
    if !said.professional.is_empty() {
        let wrong = |text: &String| {
            let fix = "write NAME=ID, such as gmc_id=1234567";
            failure(&codes::CLI_USAGE, "the command was not understood", format!("{text} is not of that form"), fix)
        };
        let pair =
            |text: &String| text.split_once('=').map(|(n, v)| (n.to_owned(), json!(v))).ok_or_else(|| wrong(text));
        let all = said.professional.iter().map(pair).collect::<Result<Map<_, _>, _>>()?;
        fields.0.insert("professional".into(), Value::Object(all));
    }
    Ok(fields)
}
