//! Which of two sites serves: nodes carry the label of the site that they stand in (`node.site`), and those of the serving one vote.
//! The others follow without a vote, so that the service can move to them with nothing lost (P1), and their distance costs
//! no write its time.

use super::command::DirectoryCommand;
use super::decide::{Done, No, invalid};
use super::rows;
use crate::engine::draft::{Draft, Fault};
use crate::model::is_site_label;
use crate::record;
use crate::store::{Reader, tables::Table};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::collections::BTreeSet;

/// Characters of what may be missing, in the trail.
const REMARK: usize = 2_000;

/// Voters that bear the loss of one.
pub const LEAST: u16 = 3;

record! {
    /// The serving site's row, the only one of its table. Without it every node votes.
    pub struct Serving v1 {
        1 => site: String,
        /// Since when, milliseconds since the epoch.
        2 => since: u64,
        /// The one that served before; empty for the first.
        3 => before: String,
        /// So many nodes keep the vote at least; 0 as [`LEAST`].
        4 => least: u16,
    }
}

record! {
    /// Lets another site serve.
    pub struct SetServing v1 {
        1 => site: String,
        /// Only if this one serves now; empty where none was named yet.
        2 => instead_of: String,
        /// Of its nodes so many keep the vote at least; 0 as [`LEAST`]. Fewer is an operator's decision.
        3 => least: u16,
    }
}

record! {
    /// Lets a site serve whose nodes took every partition over, because the one that served is lost for good. Who stands elsewhere is
    /// out of the site from then on.
    pub struct Promote v1 {
        1 => site: String,
        /// Only if this one serves now.
        2 => instead_of: String,
        /// As in [`SetServing`].
        3 => least: u16,
        /// What may be missing, in words for the audit trail.
        4 => missing: String,
        /// Nodes of the site itself that are gone on without: out as those of the lost one.
        5 => without: Vec<u64>,
    }
}

pub fn serving(site: &dyn Reader) -> Result<Option<Serving>, Fault> {
    rows::read(site, Table::ServingSite, Table::ServingSite.key())
}

/// Who stands in another site than the serving one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// They must not vote. A node without a label may.
    pub nodes: BTreeSet<u16>,
    /// And yet none of them loses its vote while fewer than these would keep theirs: a label that was mistyped on two nodes of three
    /// must not leave the site with one copy (P1).
    pub least: usize,
}

pub fn elsewhere(site: &dyn Reader) -> Result<Elsewhere, Fault> {
    let Some(serving) = serving(site)? else { return Ok(Elsewhere::default()) };
    let members = rows::members(site)?.into_iter();
    let away = members.filter(|(_, m)| !m.removed && !m.site.is_empty() && m.site != serving.site);
    let least = if serving.least == 0 { LEAST } else { serving.least };
    Ok(Elsewhere { nodes: away.map(|(number, _)| number).collect(), least: least.into() })
}

pub(super) fn set(draft: &mut Draft<'_>, now: u64, command: SetServing) -> Done {
    let old = serving(draft)?.unwrap_or_default();
    if old.site == command.site {
        return Ok((false, 0));
    }
    if !is_site_label(&command.site) {
        return Err(invalid("a site's label is up to 32 lower-case letters, digits and hyphens"));
    }
    if old.site != command.instead_of {
        return Err(No::Refused("changed-meanwhile", format!("site {} serves now", old.site)));
    }
    if !rows::members(draft)?.iter().any(|(_, m)| !m.removed && m.site == command.site) {
        return Err(No::Refused("not-found", format!("no node stands in site {}", command.site)));
    }
    let (site, least) = (command.site, command.least);
    let row = Serving { site, since: now, before: old.site, least, ..Default::default() };
    draft.put(Table::ServingSite.key(), row.encode());
    Ok((true, 0))
}

/// The serving site's row, and every node that stands elsewhere or is gone on without is out, with its certificate: one that comes back with the data of
/// before must not speak for the site (P2).
pub(super) fn promote(draft: &mut Draft<'_>, now: u64, command: &Promote) -> Done {
    let wanted = SetServing {
        site: command.site.clone(),
        instead_of: command.instead_of.clone(),
        least: command.least,
        ..Default::default()
    };
    let done = set(draft, now, wanted)?;
    let out = |number: u16, m: &rows::Member| {
        !m.removed && (m.site != command.site || command.without.contains(&u64::from(number)))
    };
    for (number, mut row) in rows::members(draft)?.into_iter().filter(|(number, m)| out(*number, m)) {
        (row.removed, row.given_up) = (true, now);
        if !row.certificate.is_empty() {
            // Its number may be given to another machine; its certificate stays that of one that was given up.
            draft.put(rows::expelled_key(&row.certificate), Bytes::copy_from_slice(&now.to_be_bytes()));
        }
        draft.put(rows::member_key(number), row.encode());
    }
    Ok(done)
}

/// What the audit trail says of a promotion beside its name: purpose and detail.
pub(super) fn remark(command: &DirectoryCommand) -> Option<(String, String)> {
    let DirectoryCommand::Promote(promote) = command else { return None };
    Some(("site lost".into(), promote.missing.chars().take(REMARK).collect()))
}
