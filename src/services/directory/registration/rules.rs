//! How strictly a site registers people: one row of the registry, changed by a command, in effect on every node at once. Where there is
//! no row, the strictest holds: nobody comes past the steps, and one operator account does not do for two people.
//!
//! Invariants: what loosens a rule names its reason and stands in the audit trail with the operator who did it; the register is open
//! to entries without steps until a moment and no longer.

use crate::{
    engine::draft::{Draft, Fault, Stamp},
    record,
    services::directory::{
        decide::{Done, No, invalid, switch},
        rows::read,
        users::{MAX_CODES, roles::is_activity},
    },
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::record::Record,
};

/// (D) The specification says that sponsors and identity checkers are activities and does not say which: these codes are ours, and
/// hold where a site has named no others.
pub const SPONSOR: &str = "B9001";
pub const IDENTITY_CHECKER: &str = "B9002";

/// Longest reason, in characters.
const MAX_REASON: usize = 200;

record! {
    /// A site's rules of registration.
    pub struct Rules v1 {
        /// Activities of which a sponsor holds one; empty means [`SPONSOR`].
        1 => sponsors: Vec<String>,
        /// The same for identity checkers and [`IDENTITY_CHECKER`].
        2 => checkers: Vec<String>,
        /// One operator account may enter the steps of both people: for a site that has no second one.
        3 => one_operator: bool,
        /// Until when operators may let people in without steps, milliseconds since the epoch.
        4 => open_until: u64,
    }
}

record! {
    /// Changes them.
    pub struct SetRules v1 {
        /// Whole lists; an empty one keeps what is stored.
        1 => sponsors: Vec<String>,
        2 => checkers: Vec<String>,
        /// 0 keeps what is stored, 1 is on, 2 is off.
        3 => one_operator: u8,
        /// The same: 1 opens the register until `until`, 2 closes it.
        4 => open: u8,
        5 => until: u64,
        /// Needed where a rule is loosened.
        6 => reason: String,
    }
}

impl Rules {
    pub fn of(site: &dyn Reader) -> Result<Rules, Fault> {
        Ok(read(site, Table::RegistrationRules, key())?.unwrap_or_default())
    }
    pub fn sponsors(&self) -> Vec<&str> {
        codes(&self.sponsors, SPONSOR)
    }
    pub fn checkers(&self) -> Vec<&str> {
        codes(&self.checkers, IDENTITY_CHECKER)
    }
    /// Whether people may be let in without steps.
    pub fn is_open(&self, now_ms: u64) -> bool {
        now_ms < self.open_until
    }
}

fn codes<'a>(set: &'a [String], usual: &'a str) -> Vec<&'a str> {
    if set.is_empty() { vec![usual] } else { set.iter().map(String::as_str).collect() }
}

fn key() -> Key {
    Table::RegistrationRules.key()
}

/// A reason as steps and rules have it.
pub(super) fn reason(text: &str) -> Result<&str, No> {
    let text = text.trim();
    let good = !text.is_empty() && text.chars().count() <= MAX_REASON && !text.contains(char::is_control);
    if good { Ok(text) } else { Err(invalid(format!("a reason is needed, of at most {MAX_REASON} characters"))) }
}

pub(in crate::services::directory) fn set(draft: &mut Draft<'_>, stamp: &Stamp, command: SetRules) -> Done {
    let old = Rules::of(draft)?;
    let mut row = old.clone();
    for (stored, new) in [(&mut row.sponsors, command.sponsors), (&mut row.checkers, command.checkers)] {
        let new: Vec<String> = new.iter().map(|code| code.trim().to_ascii_uppercase()).collect();
        if new.len() > MAX_CODES || !new.iter().all(|code| is_activity(code)) {
            return Err(invalid(format!("at most {MAX_CODES} activities, each B and four digits")));
        }
        if !new.is_empty() {
            *stored = new;
        }
    }
    switch(&mut row.one_operator, command.one_operator, "one operator")?;
    match command.open {
        0 => {}
        1 if command.until > stamp.now => row.open_until = command.until,
        1 => return Err(invalid("the register is opened until a moment that is still to come")),
        2 => row.open_until = 0,
        other => return Err(invalid(format!("the register is open or closed, not {other}"))),
    }
    if row.one_operator && !old.one_operator || row.open_until > old.open_until {
        reason(&command.reason)?;
    }
    let changed = row != old;
    if changed {
        draft.put(key(), row.encode());
    }
    Ok((changed, 0))
}

/// What a change of the rules says in the audit trail: each rule that it sets.
pub fn told(command: &SetRules) -> String {
    let mut all = vec![];
    for (name, codes) in [("sponsors", &command.sponsors), ("checkers", &command.checkers)] {
        if !codes.is_empty() {
            all.push(format!("{name}={}", codes.join(",")));
        }
    }
    match command.one_operator {
        1 => all.push("one-operator=on".into()),
        2 => all.push("one-operator=off".into()),
        _ => {}
    }
    match command.open {
        1 => all.push(format!("open-until={}", command.until)),
        2 => all.push("closed".into()),
        _ => {}
    }
    all.join(" ").chars().take(MAX_REASON).collect()
}
