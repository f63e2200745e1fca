//! Which of two sites serves: nodes carry the label of the site that they stand in (`node.site`), and those of the serving one vote.
//! The others follow without a vote, so that the service can move to them with nothing lost (P1), and their distance costs
//! no write its time.

use super::decide::{Done, No, invalid};
use super::rows;
use crate::engine::draft::{Draft, Fault};
use crate::record;
use crate::store::{Reader, tables::Table};
use crate::wire::record::Record as _;
use std::collections::BTreeSet;

/// Longest label, in characters.
const MAX_LABEL: usize = 32;

record! {
    /// The serving site's row, the only one of its table. Without it every node votes.
    pub struct Serving v1 {
        1 => site: String,
        /// Since when, milliseconds since the epoch.
        2 => since: u64,
        /// The one that served before; empty for the first.
        3 => before: String,
    }
}

record! {
    /// Lets another site serve.
    pub struct SetServing v1 {
        1 => site: String,
        /// Only if this one serves now; empty where none was named yet.
        2 => instead_of: String,
    }
}

/// Whether a text can be a label: it is written into file names and commands.
pub fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= MAX_LABEL && text.bytes().all(plain)
}

pub fn serving(site: &dyn Reader) -> Result<Option<Serving>, Fault> {
    rows::read(site, Table::ServingSite, Table::ServingSite.key())
}

/// Nodes that must not vote now, for they stand in another site than the serving one. A node without a label may.
pub fn elsewhere(site: &dyn Reader) -> Result<BTreeSet<u16>, Fault> {
    let Some(serving) = serving(site)? else { return Ok(BTreeSet::new()) };
    let members = rows::members(site)?.into_iter();
    let away = members.filter(|(_, m)| !m.removed && !m.site.is_empty() && m.site != serving.site);
    Ok(away.map(|(number, _)| number).collect())
}

pub(super) fn set(draft: &mut Draft<'_>, now: u64, command: SetServing) -> Done {
    let old = serving(draft)?.unwrap_or_default();
    if old.site == command.site {
        return Ok((false, 0));
    }
    if !is_label(&command.site) {
        return Err(invalid("a site's label is up to 32 lower-case letters, digits and hyphens"));
    }
    if old.site != command.instead_of {
        return Err(No::Refused("changed-meanwhile", format!("site {} serves now", old.site)));
    }
    if !rows::members(draft)?.iter().any(|(_, m)| !m.removed && m.site == command.site) {
        return Err(No::Refused("not-found", format!("no node stands in site {}", command.site)));
    }
    let row = Serving { site: command.site, since: now, before: old.site, ..Default::default() };
    draft.put(Table::ServingSite.key(), row.encode());
    Ok((true, 0))
}
