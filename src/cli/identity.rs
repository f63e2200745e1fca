//! `spine identity`: the keys that ID tokens are signed with, and a new one in the place of the old; providers of citizens' log-ins
//! that are believed.

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, failure},
    registry::encoded,
};
use crate::{config::units, ops::codes};
use http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine identity keys\n  spine identity rotate-key --after 1h")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// List the keys that are published, and which of them signs
    #[command(after_help = "Examples:\n  spine identity keys\n  spine identity keys --output json")]
    Keys,
    /// Publish a new key, which signs after a while; the old one stays published
    /// until what it signed is over
    #[command(
        after_help = "Examples:\n  spine identity rotate-key\n  spine identity rotate-key --after 10m --dry-run\n  \
                      spine identity rotate-key --alone --yes"
    )]
    RotateKey {
        /// When it signs: 1m to 30d from now
        #[arg(long, value_name = "TIME", default_value = "1h", conflicts_with = "alone")]
        after: String,
        /// At once, and no other is left: what others signed is refused
        #[arg(long)]
        alone: bool,
        /// Do it, where --alone ends what people hold now
        #[arg(long)]
        yes: bool,
        /// Check, and show the keys as they are; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List the providers whose log-ins of citizens are believed
    #[command(after_help = "Examples:\n  spine identity issuers\n  spine identity issuers --output json")]
    Issuers,
    /// Believe a provider of citizens' log-ins by its keys, or no longer
    #[command(
        override_usage = "spine identity issuer [OPTIONS] <ISSUER>",
        after_help = "Examples:\n  spine identity issuer https://auth.login.test --jwks keys.json\n  \
                      spine identity issuer https://auth.login.test --client-id our-id \\\n    \
                      --client-key key.pem --authorize https://auth.login.test/authorize \\\n    \
                      --token https://auth.login.test/token\n  \
                      spine identity issuer https://auth.login.test --remove"
    )]
    Issuer {
        /// As iss of its ID tokens has it
        issuer: String,
        /// Its public keys: a JSON Web Key Set (- for stdin); replaces those there are
        #[arg(long, value_name = "FILE", required_unless_present_any = ["remove", "client_id", "no_log_in"])]
        jwks: Option<PathBuf>,
        #[command(flatten)]
        log_in: LogIn,
        /// Send citizens there no more; their ID tokens are still believed
        #[arg(long, conflicts_with = "client_id")]
        no_log_in: bool,
        /// Take it away; tokens that were given out end with their hour
        #[arg(long, conflicts_with_all = ["jwks", "client_id", "no_log_in"])]
        remove: bool,
    },
}

/// Where citizens are sent to log in (scope=nhs-login), and who the site is there.
#[derive(clap::Args, Debug)]
pub struct LogIn {
    /// Send citizens there to log in (scope=nhs-login); the site's client id there
    #[arg(long, value_name = "ID", requires_all = ["client_key", "authorize", "token"])]
    client_id: Option<String>,
    /// The site's private key for it, RSA in PKCS#8 PEM (- for stdin)
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_key: Option<PathBuf>,
    /// Its authorization endpoint
    #[arg(long, value_name = "URL", requires = "client_id")]
    authorize: Option<String>,
    /// Its token endpoint
    #[arg(long, value_name = "URL", requires = "client_id")]
    token: Option<String>,
}

impl LogIn {
    fn body(&self) -> Result<Value, Failure> {
        let Some(client) = &self.client_id else { return Ok(Value::Null) };
        let key = self.client_key.as_deref().map(super::import::read).transpose()?.unwrap_or_default();
        Ok(json!({"client": client, "key": key, "authorize": self.authorize, "token": self.token}))
    }
}

pub async fn run(globals: &Globals, verb: Verb) -> Done {
    match verb {
        Verb::Keys => {
            let told = client(globals)?.get("/v1/signing-keys").await?;
            show(globals, &told);
            Ok(())
        }
        Verb::Issuers => {
            issuers(globals, &client(globals)?.get("/v1/issuers").await?);
            Ok(())
        }
        Verb::Issuer { issuer, jwks, log_in, no_log_in, remove } => {
            let jwks = jwks.as_deref().map(super::import::read).transpose()?.unwrap_or_default();
            let log_in = log_in.body()?;
            let body =
                json!({"issuer": issuer, "jwks": jwks, "remove": remove, "log_in": log_in, "no_log_in": no_log_in});
            issuers(globals, &client(globals)?.call(Method::PUT, "/v1/issuers", &body).await?);
            Ok(())
        }
        Verb::RotateKey { after, alone, yes, dry_run } => {
            if alone && !yes && !dry_run {
                let why =
                    "every ID token that people and applications hold now would be refused, and --yes was not given";
                let fix = "repeat with --yes where a key may be in other hands; otherwise leave --alone out";
                return Err(failure(&codes::CLI_CONFIRM, "nothing was done", why, fix));
            }
            let Some(after) = units::parse_duration(&after) else {
                let why = format!("{after} is no time");
                return Err(failure(&codes::CLI_USAGE, "the command was not understood", why, "write 10m, 1h or 7d"));
            };
            let body = json!({"after_ms": after.as_millis() as u64, "alone": alone});
            let path = format!("/v1/signing-keys?dry_run={}", encoded(if dry_run { "true" } else { "false" }));
            let told = client(globals)?.post(&path, &body).await?;
            show(globals, &told);
            if !dry_run {
                globals.out().next("watch it with `spine identity keys`");
            }
            Ok(())
        }
    }
}

fn issuers(globals: &Globals, told: &Value) {
    let rows = told["items"].as_array().cloned().unwrap_or_default();
    globals.out().list(
        "IssuerList",
        &rows,
        &[("issuer", "issuer"), ("keys", "kids"), ("log-in", "log_in.authorize")],
        "issuer",
    );
}

fn show(globals: &Globals, told: &Value) {
    let columns =
        [("kid", "kid"), ("state", "state"), ("signs from", "signs_from"), ("published until", "published_until")];
    let rows = told["items"].as_array().cloned().unwrap_or_default();
    globals.out().list("SigningKeyList", &rows, &columns, "kid");
}
