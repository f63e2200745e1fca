//! The site's level: what all its members' releases can read and decide alike. What is new in a release, and would be misread by
//! earlier ones, is used only from the level on that it came with (P8); operators raise the level when every node runs
//! that release (`spine upgrade finalise`), and it is never lowered.

use super::decide::{Done, No, invalid};
use super::rows::{self, Member};
use crate::engine::draft::{Draft, Fault};
use crate::record;
use crate::store::{Reader, tables::Table};
use crate::wire::record::Record as _;

/// Of a site that was never raised, and of a release that tells none.
pub const FIRST: u32 = 1;

record! {
    /// The site's level, the only row of its table. Without it: [`FIRST`].
    pub struct SiteLevel v1 {
        1 => level: u32,
        /// Since when, milliseconds since the epoch.
        2 => since: u64,
    }
}

record! {
    /// Raises the site's level, to one that the row of every member says its release knows.
    pub struct RaiseLevel v1 {
        1 => level: u32,
        /// Only if this one is the site's now.
        2 => instead_of: u32,
    }
}

/// The site's level.
pub fn of(site: &dyn Reader) -> Result<u32, Fault> {
    let row: Option<SiteLevel> = rows::read(site, Table::SiteLevel, Table::SiteLevel.key())?;
    Ok(row.map_or(FIRST, |row| row.level.max(FIRST)))
}

/// Whether what came with a level may be used. Ask before anything is written, sent or decided that releases of a lower level read
/// otherwise or not at all: `draft.site()` in a decision, a view's registry elsewhere. It is so for good, once it is.
pub fn allows(site: &dyn Reader, wanted: u32) -> Result<bool, Fault> {
    Ok(wanted <= FIRST || of(site)? >= wanted)
}

/// The highest level that a member's release knows, as its row tells.
fn known(member: &Member) -> u32 {
    member.level.max(FIRST)
}

/// Why a machine that knows levels up to `known` may not become a member.
pub(super) fn refuses(site: &dyn Reader, member: &Member) -> Result<Option<String>, Fault> {
    let (level, known) = (of(site)?, known(member));
    Ok((known < level).then(|| format!("its release knows level {known}, the site's is {level}: install a later one")))
}

pub(super) fn raise(draft: &mut Draft<'_>, now: u64, command: &RaiseLevel) -> Done {
    let level = of(draft)?;
    if command.level == level {
        return Ok((false, 0));
    }
    if command.level < level {
        return Err(invalid(format!("the level is {level}; it is never lowered")));
    }
    if command.instead_of != level {
        return Err(No::Refused("changed-meanwhile", format!("the level is {level} now")));
    }
    // Whoever joins later is refused by the level itself: the two are decided one after the other.
    let members = rows::members(draft)?;
    let behind = members.iter().filter(|(_, m)| !m.removed && m.given_up == 0 && known(m) < command.level);
    let behind: Vec<String> = behind.map(|(number, m)| format!("node {number} knows level {}", known(m))).collect();
    if !behind.is_empty() {
        return Err(No::Refused("member-behind", behind.join(", ")));
    }
    let row = SiteLevel { level: command.level, since: now, ..Default::default() };
    draft.put(Table::SiteLevel.key(), row.encode());
    Ok((true, 0))
}
