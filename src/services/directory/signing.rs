//! The keys that the site signs ID tokens with, as rows of the registry (spec/identity.md §2.4): every node has them, so that each
//! signs, each publishes the same set, and none is lost with a node.
//!
//! Rotation: a new key is published at once and signs later, so that whoever keeps a copy of the key set has it by then; the old one stays
//! published until what it signed is over, and is then taken away by a timer. Which key signs follows from the moment of the
//! decision that is signed, so that all nodes take the same.
//!
//! The private half is stored as it is, like mailboxes' passwords and shared secrets of one-time codes: who can read a node's
//! data folder can sign. It is in no `Debug`, note, answer or export.

use super::{
    command::DirectoryReply,
    decide::{Done, No, invalid, note},
    rows::{Secret, list, read},
};
use crate::{
    engine::{
        draft::{Draft, Fault, Stamp},
        services,
    },
    record,
    store::{Reader, tables::Table},
    wire::{
        jwt::{Jwk, to_base64url},
        record::Record,
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

/// Most keys at once: those of rotations whose tokens are still good.
const MAX_KEYS: usize = 8;
/// Least and longest time between a key's publication and its first signature, in milliseconds. Clients that meet an unknown `kid` fetch the
/// set again, and often keep it for some minutes.
pub const LEAST_LEAD_MS: u64 = 60_000;
pub const LONGEST_LEAD_MS: u64 = 30 * 24 * 3_600_000;
/// How long a key stays published after another signs in its place, in milliseconds: an ID token is good for an hour, and is shown as
/// `id_token_hint` for as long as its session lasts, which is twelve hours and some minutes.
pub const STAYS_MS: u64 = 13 * 3_600_000;

record! {
    /// A key, under its `kid`: the thumbprint of its public half (RFC 7638).
    pub struct SigningKey v1 {
        /// The private key, PEM.
        1 => private: Secret,
        2 => modulus: Bytes,
        3 => exponent: Bytes,
        /// Milliseconds since the epoch.
        4 => made: u64,
        /// From when on it signs, milliseconds since the epoch; 0 from when it was made.
        5 => signs_from: u64,
    }
}

record! {
    /// Adds a key.
    pub struct AddSigningKey v1 {
        1 => key: SigningKey,
        /// Only where there is none yet.
        2 => first: bool,
        /// How long after its publication it signs, in milliseconds.
        3 => lead: u64,
        /// All others are taken away at once, and what they signed is worth nothing: for a key that others may have.
        4 => alone: bool,
    }
}

impl SigningKey {
    /// From when on it signs, milliseconds since the epoch.
    pub fn from(&self) -> u64 {
        if self.signs_from == 0 { self.made } else { self.signs_from }
    }
}

/// The thumbprint of an RSA key (RFC 7638 §3), base64url.
pub fn thumbprint(modulus: &[u8], exponent: &[u8]) -> String {
    let members = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, to_base64url(exponent), to_base64url(modulus));
    to_base64url(digest(&SHA256, members.as_bytes()).as_ref())
}

pub fn key(site: &dyn Reader, kid: &str) -> Result<Option<SigningKey>, Fault> {
    read(site, Table::SigningKeys, Table::SigningKeys.key().text(kid))
}

/// All keys with their ids, that which signs last first. All of them are published.
pub fn keys(site: &dyn Reader) -> Result<Vec<(String, SigningKey)>, Fault> {
    let mut all = list::<SigningKey>(site, Table::SigningKeys, "", MAX_KEYS)?;
    all.sort_by(|(a, x), (b, y)| (y.from(), b).cmp(&(x.from(), a)));
    Ok(all)
}

/// The key that signs at a moment; before the first one's time, that one.
pub fn signs(site: &dyn Reader, now_ms: u64) -> Result<Option<(String, SigningKey)>, Fault> {
    let mut all = keys(site)?;
    let at = all.iter().position(|(_, key)| key.from() <= now_ms);
    let at = at.or(all.len().checked_sub(1));
    Ok(at.map(|at| all.swap_remove(at)))
}

/// Until when each key, in the order of [`keys`], is published, milliseconds since the epoch; `None` while no other follows it.
pub fn published_until(keys: &[(String, SigningKey)]) -> Vec<Option<u64>> {
    (0..keys.len()).map(|at| at.checked_sub(1).map(|next| keys[next].1.from() + STAYS_MS)).collect()
}

/// Takes away the keys whose time is over; their ids.
fn withdraw(draft: &mut Draft<'_>, now: u64) -> Result<Vec<String>, Fault> {
    let all = keys(draft)?;
    let until = published_until(&all);
    let over = all.into_iter().zip(until).filter(|(_, until)| until.is_some_and(|until| until <= now));
    let over: Vec<String> = over.map(|((kid, _), _)| kid).collect();
    for kid in &over {
        draft.delete(Table::SigningKeys.key().text(kid));
    }
    Ok(over)
}

/// The timer of a rotation: what it replaced is over.
pub(super) fn timer(draft: &mut Draft<'_>, stamp: &Stamp) -> Result<(), Fault> {
    for kid in withdraw(draft, stamp.now)? {
        draft.audit(note(
            "directory.signing_key.withdraw",
            kid,
            &DirectoryReply { changed: true, ..Default::default() },
        ));
    }
    Ok(())
}

pub(super) fn add(draft: &mut Draft<'_>, stamp: &Stamp, command: AddSigningKey) -> Done {
    let there = keys(draft)?;
    if command.first && !there.is_empty() {
        return Ok((false, 0));
    }
    if command.alone {
        for (kid, _) in &there {
            draft.delete(Table::SigningKeys.key().text(kid));
        }
    } else {
        withdraw(draft, stamp.now)?;
    }
    let there = keys(draft)?;
    let at_once = there.is_empty();
    if !at_once && !(LEAST_LEAD_MS..=LONGEST_LEAD_MS).contains(&command.lead) {
        return Err(invalid("a key signs one minute to 30 days after it was published"));
    }
    if let Some((kid, _)) = there.iter().find(|(_, key)| key.from() > stamp.now) {
        return Err(No::Refused("conflict", format!("the key {kid} is published already and does not sign yet")));
    }
    if there.len() >= MAX_KEYS {
        return Err(invalid(format!("the site has {MAX_KEYS} signing keys")));
    }
    let mut row = command.key;
    let kid = thumbprint(&row.modulus, &row.exponent);
    let public = Jwk { kid: kid.clone(), modulus: row.modulus.to_vec(), exponent: row.exponent.to_vec() };
    public.check().map_err(|bad| invalid(bad.to_string()))?;
    if row.private.0.is_empty() || key(draft, &kid)?.is_some() {
        return Err(No::Refused("conflict", "the key is there already, or is none".into()));
    }
    row.made = stamp.now;
    row.signs_from = if at_once { stamp.now } else { stamp.now + command.lead };
    if !at_once {
        draft.timer(row.signs_from + STAYS_MS, services::DIRECTORY, Bytes::new());
    }
    draft.put(Table::SigningKeys.key().text(&kid), row.encode());
    Ok((true, 0))
}
