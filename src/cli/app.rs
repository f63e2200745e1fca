//! `spine app`: applications that use the HTTP APIs: their keys, products and standing.

use super::{
    args::{Globals, Write},
    cert::write_private,
    failure::{Done, Failure, failure},
    output,
    registry::{Fields, Mode, Register},
};
use crate::{node::pki, ops::codes, services::directory::applications::LEVELS, wire::jwt};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

pub const APPLICATIONS: Register = Register {
    noun: "app",
    path: "/v1/applications",
    kind: "Application",
    id: "id",
    columns: &[
        ("client id", "id"),
        ("name", "name"),
        ("ods", "ods"),
        ("state", "state"),
        ("keys", "kids"),
        ("emergency", "emergency"),
    ],
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine app\n  spine app show my-app-0001")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What may be said of an application.
#[derive(clap::Args, Debug, Default)]
pub struct Said {
    /// Name for people
    #[arg(long)]
    pub name: Option<String>,
    /// ODS code of the organisation that answers for it
    #[arg(long)]
    pub ods: Option<String>,
    /// An API and the levels at which it may be used; may be repeated, replaces the list
    #[arg(long = "product", value_name = "API:LEVEL,…")]
    pub products: Vec<String>,
    /// Its public keys: a JSON Web Key Set (- for stdin)
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// Where it publishes them itself instead; none takes it away
    #[arg(long, value_name = "URL", conflicts_with = "jwks")]
    pub jwks_url: Option<String>,
    /// Where a user's browser may be sent back to; may be repeated, replaces the list
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub redirect_uris: Vec<String>,
    /// Where it is told that somebody has logged out; none takes it away
    #[arg(long, value_name = "URI")]
    pub backchannel_logout_uri: Option<String>,
    /// A further fact for services; may be repeated, replaces the list
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
    /// Requests a second on each node
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub quota: Option<u32>,
    /// Emergency care: served within its quota where others find no room
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"])]
    pub emergency: Option<String>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List applications
    #[command(after_help = "Examples:\n  spine app list\n  spine app list my- --output json")]
    List {
        /// Only client ids that start with this
        prefix: Option<String>,
    },
    /// Show an application with its public keys
    #[command(after_help = "Examples:\n  spine app show my-app-0001\n  spine app show my-app-0001 --output json")]
    Show { client: String },
    /// Register an application; it gets nothing before it is approved
    #[command(after_help = "Examples:\n  spine app add my-app-0001 --name Mine --ods X26 --jwks keys.json \\\n    \
                      --product personal-demographics-service:level3\n  \
                      spine app add my-app-0001 --name Mine --ods X26 --dry-run")]
    Add {
        client: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        write: Write,
    },
    /// Change an application
    #[command(after_help = "Examples:\n  spine app set my-app-0001 --quota 50\n  \
                      spine app set my-app-0001 --emergency on\n  \
                      spine app set my-app-0001 --jwks-url https://a.example/jwks\n  \
                      spine app set my-app-0001 --product spine-directory:level0 --dry-run")]
    Set {
        client: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        write: Write,
    },
    /// Let an application use its products
    #[command(after_help = "Examples:\n  spine app approve my-app-0001\n  spine app approve my-app-0001 --dry-run")]
    Approve {
        client: String,
        #[command(flatten)]
        write: Write,
    },
    /// Refuse an application, its API key and its tokens from now on
    #[command(after_help = "Examples:\n  spine app revoke my-app-0001\n  spine app revoke my-app-0001 --dry-run")]
    Revoke {
        client: String,
        #[command(flatten)]
        write: Write,
    },
    /// Add, make or withdraw an application's keys
    #[command(
        override_usage = "spine app key [OPTIONS] <CLIENT>",
        after_help = "Examples:\n  spine app key my-app-0001 --jwks new.json\n  \
                      spine app key my-app-0001 --generate private.pem --kid 2027-1\n  \
                      spine app key my-app-0001 --drop 2026-1"
    )]
    Key {
        client: String,
        #[command(flatten)]
        change: KeyChange,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(clap::Args, Debug, Default)]
#[group(required = true, multiple = true)]
pub struct KeyChange {
    /// Add the keys of a JSON Web Key Set (- for stdin)
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub jwks: Option<PathBuf>,
    /// Make a key: the private half goes to FILE, the public one is added
    #[arg(long, value_name = "FILE")]
    pub generate: Option<PathBuf>,
    /// Name of the key that is made
    #[arg(long, requires = "generate", default_value = "1")]
    pub kid: String,
    /// Take the key of this name away; may be repeated
    #[arg(long = "drop", value_name = "KID")]
    pub dropped: Vec<String>,
    /// Make a client secret and print it, once
    #[arg(long)]
    pub secret: bool,
    /// Whether the client id is good as an API key
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"])]
    pub api_key: Option<String>,
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    let approved = |yes| Fields::default().flag("approved", Some(yes));
    match verb.unwrap_or(Verb::List { prefix: None }) {
        Verb::List { prefix } => APPLICATIONS.list(globals, prefix.as_deref().unwrap_or("")).await,
        Verb::Show { client } => APPLICATIONS.show(globals, &client).await,
        Verb::Add { client, said, write } => {
            APPLICATIONS.write(globals, &client, Mode::Add, fields(&said)?, &write).await?;
            if !write.dry_run {
                globals.out().next(&format!("let it in with `spine app approve {client}`"));
            }
            Ok(())
        }
        Verb::Set { client, said, write } => {
            APPLICATIONS.write(globals, &client, Mode::Set, fields(&said)?, &write).await
        }
        Verb::Approve { client, write } => {
            APPLICATIONS.write(globals, &client, Mode::Set, approved(true), &write).await
        }
        Verb::Revoke { client, write } => {
            APPLICATIONS.write(globals, &client, Mode::Set, approved(false), &write).await
        }
        Verb::Key { client, change, write } => key(globals, &client, &change, &write).await,
    }
}

async fn key(globals: &Globals, client: &str, change: &KeyChange, write: &Write) -> Done {
    let mut fields = Fields::default().list("drop_keys", &change.dropped).flag("add_keys", Some(true));
    fields = fields.flag("api_key", change.api_key.as_ref().map(|word| word == "on"));
    if let Some(path) = &change.jwks {
        fields = fields.text("jwks", Some(&key_set(path)?));
    }
    if let Some(path) = &change.generate {
        let (pem, public) = made(&change.kid)?;
        // The private half first: a key that is registered and lost would have to be withdrawn again.
        if !write.dry_run {
            write_private(path, &pem)?;
        }
        fields = fields.text("jwks", Some(&json!({"keys": [public]}).to_string()));
    }
    let secret = change.secret.then(Secret::new);
    if let Some(secret) = &secret {
        fields = fields.text("secret_salt", Some(&secret.salt)).text("secret_hash", Some(&secret.hash));
    }
    APPLICATIONS.write(globals, client, Mode::Set, fields, write).await?;
    if let Some(secret) = secret.filter(|_| !write.dry_run) {
        globals.out().next("keep the secret: it is not shown again");
        output::line(&secret.text);
    }
    Ok(())
}

/// A client secret of 256 random bits, and what is kept of it.
struct Secret {
    text: String,
    /// Hexadecimal.
    salt: String,
    hash: String,
}

impl Secret {
    fn new() -> Secret {
        let (mut drawn, mut salt) = ([0; 32], [0; 16]);
        let filled = aws_lc_rs::rand::fill(&mut drawn).and_then(|()| aws_lc_rs::rand::fill(&mut salt));
        // A machine without entropy cannot run TLS either; going on would hand out guessable secrets.
        filled.expect("the system's random generator answers");
        let text = jwt::to_base64url(&drawn);
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[&salt[..], text.as_bytes()].concat());
        Secret { text, salt: pki::hex(&salt), hash: pki::hex(hash.as_ref()) }
    }
}

/// A fresh RSA key of 2,048 bits: the private half as PEM, the public one as a JWK.
pub fn made(kid: &str) -> Result<(String, Value), Failure> {
    let trouble = |why: String| Failure::of(&codes::CLI_CERTIFICATE, "a key cannot be made", why);
    let pem = pki::rsa_key().map_err(|e| trouble(e.to_string()))?;
    let public = super::demo::signer::Signer::of_pem(&pem).map_err(trouble)?.public(kid);
    Ok((pem, public))
}

/// Read and checked here as well as at the node, so that the file is named.
fn key_set(path: &Path) -> Result<String, Failure> {
    let text = super::import::read(path)?;
    jwt::key_set(&text).map_err(|bad| {
        let fix = "give a JSON Web Key Set of public RSA keys, each with a kid of its own";
        failure(&codes::CLI_CERTIFICATE, format!("{} cannot be used", path.display()), bad.to_string(), fix)
    })?;
    Ok(text)
}

fn fields(said: &Said) -> Result<Fields, Failure> {
    let mut fields = Fields::default().text("name", said.name.as_deref()).text("ods", said.ods.as_deref());
    fields = fields.list("redirect_uris", &said.redirect_uris);
    fields = fields.flag("emergency", said.emergency.as_ref().map(|word| word == "on"));
    fields = fields.text("backchannel_logout_uri", said.backchannel_logout_uri.as_deref());
    fields = fields.text("jwks_uri", said.jwks_url.as_deref());
    if let Some(path) = &said.jwks {
        fields = fields.text("jwks", Some(&key_set(path)?));
    }
    if !said.products.is_empty() {
        let products = said.products.iter().map(|text| product(text)).collect::<Result<Map<_, _>, _>>()?;
        fields.0.insert("products".into(), Value::Object(products));
    }
    if !said.attributes.is_empty() {
        let pair =
            |text: &String| text.split_once('=').map(|(n, v)| (n.to_owned(), json!(v))).ok_or_else(|| wrong(text));
        let attributes = said.attributes.iter().map(pair).collect::<Result<Map<_, _>, _>>()?;
        fields.0.insert("attributes".into(), Value::Object(attributes));
    }
    if let Some(quota) = said.quota {
        fields.0.insert("quota".into(), json!(quota));
    }
    Ok(fields)
}

/// `API:LEVEL,LEVEL` as the scopes that it stands for (spec/identity.md §1).
pub fn product(text: &str) -> Result<(String, Value), Failure> {
    // Some products have a part of their own behind a colon: `electronic-prescription-service-api:prescribing`.
    let (api, levels) = text.rsplit_once(':').ok_or_else(|| wrong(text))?;
    let mut scopes = vec![];
    for level in levels.split(',').map(str::trim) {
        // A level of staff has a scope under each of the provider's names.
        let of_level = LEVELS.iter().filter(|l| l.rsplit(':').next() == Some(level));
        let of_level: Vec<String> = of_level.map(|whole| format!("urn:nhsd:apim:{whole}:{api}")).collect();
        if of_level.is_empty() {
            return Err(wrong(text));
        }
        scopes.extend(of_level);
    }
    Ok((api.to_owned(), json!(scopes)))
}

fn wrong(text: &str) -> Failure {
    let fix =
        "write API:LEVEL,LEVEL with levels of level0, level3, aal1, aal2, aal3, P0, P5, P9; attributes as NAME=VALUE";
    failure(&codes::CLI_USAGE, "the command was not understood", format!("{text} is not of that form"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_written_short_and_kept_as_scopes() {
        let (name, scopes) = product("spine-directory:level0,aal3").unwrap();
        assert_eq!(name, "spine-directory");
        let scopes_told = [
            "urn:nhsd:apim:app:level0:spine-directory",
            "urn:nhsd:apim:user-nhs-id:aal3:spine-directory",
            "urn:nhsd:apim:user-nhs-cis2:aal3:spine-directory",
        ];
        assert_eq!(scopes, json!(scopes_told));
        assert!(product("x").is_err() && product("x:level9").is_err());
        let (name, scopes) = product("electronic-prescription-service-api:tracker:level3").unwrap();
        assert_eq!(name, "electronic-prescription-service-api:tracker");
        assert_eq!(scopes, json!(["urn:nhsd:apim:app:level3:electronic-prescription-service-api:tracker"]));
    }
}
