//! Registration as a process (spec/identity.md §6.2): apply → verify identity → sponsor → grant → issue; suspend, resume, end.
//! Each step names the role profile of who does it, and is kept with the person for ever.
//!
//! | file | duty |
//! |---|---|
//! | `command` | the steps as commands (tags 40–49 of the directory's) |
//! | `decide` | one step → rows: who may, whether it is its turn |
//! | `evidence` | documents that prove an identity |
//! | `rules` | what a site has decided about all this: activities, operators, whether the register is open |
//!
//! Invariants: one user id for one person (a second application for the same name and birth date, e-mail or National
//! Insurance number is refused unless it says that it is of another); who grants is not who sponsored, and nobody does a step
//! for himself; the operator account that enters a grant entered neither the identity check nor the sponsor's step, unless the
//! site has said that it has one account only; nobody becomes active or gets a role profile but by the steps, unless the register
//! is open, so that no half-registered person can enter (P5); of documents only kind and date are kept.
//!
//! `spine user` writes the same register without these steps while it is open (`spine registration rules`): for the first
//! registration managers of a site, and for what an older register has decided.

pub mod command;
pub(super) mod decide;
pub mod evidence;
pub mod rules;
#[cfg(test)]
mod tests;

use super::{
    rows::{NOTHING, read},
    users::{User, command::SetRole},
};
use crate::{
    engine::draft::{Draft, Fault},
    record,
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
};
use evidence::Evidence;

/// Job roles of the registration authority: manager and agent (spec/identity.md §6.2).
pub const AUTHORITY: [&str; 2] = ["R5080", "R5090"];
/// Steps kept of a person; older ones are in the audit trail.
pub const MOST_STEPS: usize = 100;
/// People of one name and birth date that are looked at.
const MOST_NAMESAKES: usize = 50;

/// What a step does. Numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    Applied = 1,
    Verified = 2,
    Sponsored = 3,
    Granted = 4,
    Issued = 5,
    Suspended = 6,
    Resumed = 7,
    Ended = 8,
}

impl What {
    pub const ALL: [What; 8] = [
        What::Applied,
        What::Verified,
        What::Sponsored,
        What::Granted,
        What::Issued,
        What::Suspended,
        What::Resumed,
        What::Ended,
    ];
    pub fn word(number: u8) -> &'static str {
        match What::ALL.into_iter().find(|what| *what as u8 == number) {
            Some(What::Applied) => "applied",
            Some(What::Verified) => "identity-verified",
            Some(What::Sponsored) => "sponsored",
            Some(What::Granted) => "granted",
            Some(What::Issued) => "issued",
            Some(What::Suspended) => "suspended",
            Some(What::Resumed) => "resumed",
            Some(What::Ended) => "ended",
            None => "unknown",
        }
    }
}

record! {
    /// A step that was done.
    pub struct Step v1 {
        /// A [`What`].
        1 => what: u8,
        /// Role profile of who did it; empty where the applicant did.
        2 => by: String,
        /// User id behind it.
        3 => uid: String,
        /// Milliseconds since the epoch.
        4 => at: u64,
        /// Why, or what was granted.
        5 => remark: String,
        /// The operator account that entered it; empty in a row of an older release.
        6 => operator: String,
        /// The account had entered the other person's step too, as the site's rules allow.
        7 => alone: bool,
    }
}

record! {
    /// How far a person's registration has come, under the user id.
    pub struct Registration v1 {
        /// Oldest first.
        1 => steps: Vec<Step>,
        2 => evidence: Vec<Evidence>,
        /// The position that was sponsored and is not yet granted.
        3 => wanted: Option<SetRole>,
        /// National Insurance number; empty where it is not known.
        4 => ni: String,
        /// Of `wanted`: user id of who sponsored it; empty where none waits.
        5 => sponsor: String,
        /// The role profile in which he did.
        6 => sponsored_by: String,
        /// The operator account that entered it.
        7 => sponsor_operator: String,
        /// The person was in before there were steps: as an older register decided, or while the register was open.
        8 => taken_over: bool,
    }
}

impl Registration {
    /// The newest step of a kind.
    pub fn last(&self, what: What) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.what == what as u8)
    }
    /// Whether every step that lets a person in was done.
    pub fn is_complete(&self) -> bool {
        let steps = [What::Applied, What::Verified, What::Sponsored, What::Granted, What::Issued];
        self.taken_over || steps.into_iter().all(|what| self.last(what).is_some())
    }
}

pub fn key(uid: &str) -> Key {
    Table::Registrations.key().text(uid)
}
fn lookup_key(word: &str, uid: &str) -> Key {
    Table::UserLookups.key().text(word).text(uid)
}

pub fn registration(site: &dyn Reader, uid: &str) -> Result<Option<Registration>, Fault> {
    read(site, Table::Registrations, key(uid))
}

/// What two people do not have in common: name with birth date, e-mail.
fn words(user: &User) -> Vec<String> {
    let mut words = vec![];
    let folded = |text: &str| text.trim().to_uppercase();
    if user.born != 0 {
        words.push(format!("n|{}|{}|{}", user.born, folded(&user.family), folded(&user.given)));
    }
    if !user.email.is_empty() {
        words.push(format!("e|{}", folded(&user.email)));
    }
    words
}

/// Look-up rows of people with an e-mail address.
pub fn with_mail(address: &str) -> std::ops::Range<bytes::Bytes> {
    Table::UserLookups.key().text(format!("e|{}", address.trim().to_uppercase())).prefix()
}

fn ni_word(ni: &str) -> String {
    format!("i|{ni}")
}

/// Keeps what finds a person in step with the person's row.
pub(super) fn reindex(draft: &mut Draft<'_>, uid: &str, old: Option<&User>, new: &User) {
    let (old, new) = (old.map(words).unwrap_or_default(), words(new));
    for word in old.iter().filter(|word| !new.contains(word)) {
        draft.delete(lookup_key(word, uid));
    }
    for word in new.iter().filter(|word| !old.contains(word)) {
        draft.put(lookup_key(word, uid), NOTHING);
    }
}

/// User ids of those who have one of the words.
fn namesakes(site: &dyn Reader, words: &[String]) -> Result<Vec<String>, Fault> {
    let mut found = vec![];
    for word in words {
        for (key, _) in site.scan(Table::UserLookups.key().text(word).prefix(), false, MOST_NAMESAKES)? {
            let mut parts = Parts::of(&key);
            parts.text();
            found.extend(parts.text());
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
