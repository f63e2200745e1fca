//! Providers of citizens' log-ins that the site trusts (spec/identity.md §2.6, §5), as rows of the registry: by issuer, with the public
//! keys that an operator has registered. No key is fetched: which are believed is a decision, the same on every node.
//!
//! One of them may be where applications' citizens are sent to log in (the combined flow, §4.1): its row then holds its addresses, and
//! who the site is there. The private key is stored as it is, like those of `signing`, and is in no `Debug`, note or answer.

use super::{
    applications::{PublicKey, is_redirect},
    decide::{Done, No, invalid},
    rows::{Secret, list, read},
};
use crate::{
    engine::draft::{Draft, Fault},
    record,
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::{
        jwt::{Jwk, MAX_KEYS},
        record::Record,
    },
};
use bytes::Bytes;

/// Longest name of an issuer, in bytes.
const MAX_ISSUER: usize = 200;
/// Most issuers.
pub const MAX_ISSUERS: usize = 16;
/// Longest address and client id of a provider, in bytes.
const MAX_TEXT: usize = 512;

record! {
    /// A trusted issuer of citizens' ID tokens, under its name (`iss`).
    pub struct CitizenIssuer v1 {
        1 => keys: Vec<PublicKey>,
        /// Where citizens are sent to log in; of one issuer at most.
        2 => log_in: Option<LogInAt>,
    }
}

record! {
    /// A provider's addresses, and who the site is there.
    pub struct LogInAt v1 {
        /// Its authorization endpoint.
        1 => authorize: String,
        /// Its token endpoint.
        2 => token: String,
        /// The site's client id.
        3 => client: String,
        /// The site's private key for it (`private_key_jwt`), PEM; and the `kid`, the thumbprint of its public half (RFC 7638).
        4 => private: Secret,
        5 => kid: String,
        6 => modulus: Bytes,
        7 => exponent: Bytes,
    }
}

record! {
    /// Sets the keys of an issuer, or takes it away. What is not given stays as it is.
    pub struct SetIssuer v1 {
        1 => issuer: String,
        2 => keys: Vec<PublicKey>,
        3 => remove: bool,
        4 => log_in: Option<LogInAt>,
        /// Citizens are not sent there any more.
        5 => no_log_in: bool,
    }
}

impl CitizenIssuer {
    pub fn key(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

fn key(issuer: &str) -> Key {
    Table::CitizenIssuers.key().text(issuer)
}

pub fn issuer(site: &dyn Reader, name: &str) -> Result<Option<CitizenIssuer>, Fault> {
    if name.len() > MAX_ISSUER { Ok(None) } else { read(site, Table::CitizenIssuers, key(name)) }
}

/// The provider where citizens are sent to log in, with its name (`iss`).
pub fn log_in(site: &dyn Reader) -> Result<Option<(String, CitizenIssuer)>, Fault> {
    let all = list::<CitizenIssuer>(site, Table::CitizenIssuers, "", MAX_ISSUERS)?;
    Ok(all.into_iter().find(|(_, row)| row.log_in.is_some()))
}

pub(super) fn set(draft: &mut Draft<'_>, command: SetIssuer) -> Done {
    let name = command.issuer.trim().to_owned();
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\".contains(c);
    if !name.starts_with("https://") || name.len() > MAX_ISSUER || !name.chars().all(plain) {
        return Err(invalid("an issuer is an https address, as `iss` of its tokens has it"));
    }
    let old = issuer(draft, &name)?;
    if command.remove {
        draft.delete(key(&name));
        return Ok((old.is_some(), 0));
    }
    let mut row = old.clone().unwrap_or_default();
    if !command.keys.is_empty() {
        row.keys = command.keys;
    }
    check_keys(&row.keys)?;
    if let Some(at) = command.log_in {
        check(&at)?;
        if let Some((other, _)) = log_in(draft)?.filter(|(other, _)| *other != name) {
            return Err(invalid(format!("citizens are sent to {other} already: take that away first (--no-log-in)")));
        }
        row.log_in = Some(at);
    } else if command.no_log_in {
        row.log_in = None;
    }
    let range = Table::CitizenIssuers.key().build()..Table::CitizenIssuers.end();
    if old.is_none() && draft.scan(range, false, MAX_ISSUERS)?.len() >= MAX_ISSUERS {
        return Err(invalid(format!("the site trusts at most {MAX_ISSUERS} issuers")));
    }
    let changed = old.as_ref() != Some(&row);
    if changed {
        draft.put(key(&name), row.encode());
    }
    Ok((changed, 0))
}

fn check_keys(keys: &[PublicKey]) -> Result<(), No> {
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(invalid(format!("an issuer has 1 to {MAX_KEYS} keys")));
    }
    for (at, one) in keys.iter().enumerate() {
        let jwk = Jwk { kid: one.kid.clone(), modulus: one.modulus.to_vec(), exponent: one.exponent.to_vec() };
        jwk.check().map_err(|bad| invalid(bad.to_string()))?;
        if keys[..at].iter().any(|k| k.kid == one.kid) {
            return Err(invalid(format!("two keys have the kid {}", one.kid)));
        }
    }
    Ok(())
}

fn check(at: &LogInAt) -> Result<(), No> {
    for (what, address) in [("asked for a log-in", &at.authorize), ("asked for tokens", &at.token)] {
        let plain = address.chars().all(|c| c.is_ascii_graphic());
        if !is_redirect(address) || !plain || address.len() > MAX_TEXT {
            let why = format!("{address} cannot be {what}: https (or http to localhost), no fragment");
            return Err(invalid(why));
        }
    }
    let graphic = |text: &str| !text.is_empty() && text.len() <= MAX_TEXT && text.chars().all(|c| c.is_ascii_graphic());
    if !graphic(&at.client) {
        return Err(invalid("the client id at the provider is 1 to 512 plain characters"));
    }
    let jwk = Jwk { kid: at.kid.clone(), modulus: at.modulus.to_vec(), exponent: at.exponent.to_vec() };
    jwk.check().map_err(|bad| invalid(bad.to_string()))?;
    if at.private.0.is_empty() {
        return Err(invalid("the site proves itself to the provider with a private key"));
    }
    Ok(())
}
