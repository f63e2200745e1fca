//! Providers of citizens' log-ins that the site trusts (spec/identity.md §2.6, §5), as rows of the registry: by issuer, with the public
//! keys that an operator has registered. No key is fetched: which are believed is a decision, the same on every node.

use super::{
    applications::PublicKey,
    decide::{Done, invalid},
    rows::read,
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

/// Longest name of an issuer, in bytes.
const MAX_ISSUER: usize = 200;
/// Most issuers.
pub const MAX_ISSUERS: usize = 16;

record! {
    /// A trusted issuer of citizens' ID tokens, under its name (`iss`).
    pub struct CitizenIssuer v1 {
        1 => keys: Vec<PublicKey>,
    }
}

record! {
    /// Sets the keys of an issuer, or takes it away.
    pub struct SetIssuer v1 {
        1 => issuer: String,
        2 => keys: Vec<PublicKey>,
        3 => remove: bool,
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
    if command.keys.is_empty() || command.keys.len() > MAX_KEYS {
        return Err(invalid(format!("an issuer has 1 to {MAX_KEYS} keys")));
    }
    for (at, one) in command.keys.iter().enumerate() {
        let jwk = Jwk { kid: one.kid.clone(), modulus: one.modulus.to_vec(), exponent: one.exponent.to_vec() };
        jwk.check().map_err(|bad| invalid(bad.to_string()))?;
        if command.keys[..at].iter().any(|k| k.kid == one.kid) {
            return Err(invalid(format!("two keys have the kid {}", one.kid)));
        }
    }
    let range = Table::CitizenIssuers.key().build()..Table::CitizenIssuers.end();
    if old.is_none() && draft.scan(range, false, MAX_ISSUERS)?.len() >= MAX_ISSUERS {
        return Err(invalid(format!("the site trusts at most {MAX_ISSUERS} issuers")));
    }
    let row = CitizenIssuer { keys: command.keys, ..Default::default() };
    let changed = old.as_ref() != Some(&row);
    if changed {
        draft.put(key(&name), row.encode());
    }
    Ok((changed, 0))
}
