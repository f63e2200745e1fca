//! Which entries a search goes through: those of the ids that a look-up gives; where that is too many, the look-up's own rows one after the
//! other; and without a look-up all rows of a table. Always in order of id, so that a page can go on where the last one ended.
//!
//! Invariant: a plan may give too much, never too little; every entry is matched against the whole filter afterwards.

use super::{
    entries::{CONTAINERS, Place},
    ids::{ids, one_word, possible},
};
use crate::{
    engine::draft::Fault,
    services::directory::{
        index::last_text,
        users::{
            self,
            lookups::{self, memberships},
        },
    },
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
    wire::ldap::{Entry, Filter, Scope},
};
use bytes::Bytes;
use std::{collections::VecDeque, ops::Range};

/// Rows read at once where a table is walked through.
const STEP: usize = 512;
/// Workgroups found at once: each is a jump behind all look-up rows of the one before.
const JUMPS: usize = 64;

/// The parts of the tree in the order of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Fixed,
    Systems,
    Endpoints,
    Organisations,
    People,
    Memberships,
    Roles,
    Workgroups,
}

/// Cookies name a part by its place here.
const PARTS: [Part; 8] = [
    Part::Fixed,
    Part::Systems,
    Part::Endpoints,
    Part::Organisations,
    Part::People,
    Part::Memberships,
    Part::Roles,
    Part::Workgroups,
];

/// Where a page begins: at or behind an id of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    part: Part,
    id: String,
    /// The id itself was shown already.
    behind: bool,
}

impl Cursor {
    fn start() -> Cursor {
        Cursor { part: Part::Fixed, id: String::new(), behind: false }
    }
    /// The entry is the first of the next page.
    pub fn before(place: &Place) -> Cursor {
        let (part, id) = position(place);
        Cursor { part, id, behind: false }
    }
    pub fn after(place: &Place) -> Cursor {
        Cursor { behind: true, ..Cursor::before(place) }
    }
    pub fn cookie(&self) -> Vec<u8> {
        let part = PARTS.iter().position(|p| *p == self.part).unwrap_or(0);
        format!("{part}{}{}", u8::from(self.behind), self.id).into_bytes()
    }
    /// `None` where a cookie is none that we made; an empty one is the start.
    pub fn of_cookie(cookie: &[u8]) -> Option<Cursor> {
        let text = std::str::from_utf8(cookie).ok()?;
        if text.is_empty() {
            return Some(Cursor::start());
        }
        let (part, rest) = (text.get(..1)?.parse::<usize>().ok()?, text.get(1..)?);
        let behind = match rest.get(..1)? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        Some(Cursor { part: *PARTS.get(part)?, id: rest[1..].to_owned(), behind })
    }
}

fn position(place: &Place) -> (Part, String) {
    match place {
        Place::System(id) => (Part::Systems, id.clone()),
        Place::Endpoint(id) | Place::Service(id) => (Part::Endpoints, id.clone()),
        Place::Organisation(id) => (Part::Organisations, id.clone()),
        Place::Person(uid) => (Part::People, uid.clone()),
        Place::Membership(uid, ods) => (Part::Memberships, lookups::membership_id(uid, ods)),
        Place::Role(urp) => (Part::Roles, urp.clone()),
        Place::Workgroup(id) => (Part::Workgroups, id.clone()),
        Place::Container(n) => (Part::Fixed, format!("{}", n + 1)),
        _ => (Part::Fixed, "0".into()),
    }
}

/// Entries one after the other.
pub struct Walk<'a> {
    site: &'a dyn Reader,
    filter: &'a Filter,
    /// Parts that are still to come.
    parts: VecDeque<Part>,
    after: Cursor,
    waiting: VecDeque<Place>,
    /// Where the rows that are walked through go on.
    scan: Option<(Part, Range<Bytes>)>,
}

impl<'a> Walk<'a> {
    pub fn new(
        site: &'a dyn Reader,
        base: &Place,
        scope: Scope,
        filter: &'a Filter,
        after: Cursor,
    ) -> Result<Walk<'a>, Fault> {
        let (single, parts): (Vec<Place>, Vec<Part>) = match (scope, base) {
            (Scope::Base, place) => (vec![place.clone()], vec![]),
            (Scope::One, Place::Nhs) => ((0..CONTAINERS.len()).map(Place::Container).collect(), vec![]),
            (Scope::Sub, Place::Nhs) => {
                let fixed = [Place::Nhs].into_iter().chain((0..CONTAINERS.len()).map(Place::Container));
                (fixed.collect(), PARTS[1..].to_vec())
            }
            (scope, Place::Container(n)) => {
                let own = if scope == Scope::Sub { vec![base.clone()] } else { vec![] };
                let parts = match (n, scope) {
                    (0, _) => vec![Part::Systems, Part::Endpoints],
                    (1, _) => vec![Part::Organisations],
                    (2, Scope::Sub) => vec![Part::People, Part::Memberships, Part::Roles],
                    (2, _) => vec![Part::People],
                    (3, _) => vec![Part::Workgroups],
                    _ => vec![],
                };
                (own, parts)
            }
            // Other leaves have nothing below them, and the root's tree is asked for by its name.
            (Scope::Sub, place) => ([vec![place.clone()], below(site, place, true)?].concat(), vec![]),
            (Scope::One, place) => (below(site, place, false)?, vec![]),
        };
        let resumed = |place: &Place| {
            let (part, id) = position(place);
            part > after.part || (part == after.part && (id > after.id || (id == after.id && !after.behind)))
        };
        let started = after == Cursor::start();
        let waiting = single.into_iter().filter(|place| started || resumed(place)).collect();
        let parts = parts.into_iter().filter(|part| *part >= after.part).collect();
        Ok(Walk { site, filter, parts, after, waiting, scan: None })
    }

    /// The next place, and its entry: a row may be disabled, not to be shown, or gone since the look-up.
    pub fn next(&mut self) -> Result<Option<(Place, Option<Entry>)>, Fault> {
        loop {
            if let Some(place) = self.waiting.pop_front() {
                let entry = place.entry(self.site)?;
                return Ok(Some((place, entry)));
            }
            if let Some((part, range)) = self.scan.take() {
                self.more(part, range)?;
                continue;
            }
            let Some(part) = self.parts.pop_front() else { return Ok(None) };
            self.open(part)?;
        }
    }

    /// Begins a part: by look-up, or from the first row of what is walked through.
    fn open(&mut self, part: Part) -> Result<(), Fault> {
        if !possible(self.filter, part) {
            return Ok(());
        }
        let resumes = part == self.after.part && self.after != Cursor::start();
        if let Some(ids) = ids(self.site, self.filter, part)? {
            let (last, behind) = (self.after.id.clone(), self.after.behind);
            let left = ids.into_iter().filter(|id| !resumes || *id > last || (*id == last && !behind));
            self.waiting = left.filter_map(|id| place(part, id)).collect();
            return Ok(());
        }
        let rows = one_word(self.filter, part).unwrap_or_else(|| all(part));
        let end = rows.clone().prefix().end;
        let from = match (resumes, self.after.behind) {
            (false, _) => rows.build(),
            (true, false) => at(rows, part, &self.after.id).build(),
            (true, true) => at(rows, part, &self.after.id).prefix().end,
        };
        self.scan = Some((part, from..end));
        Ok(())
    }

    fn more(&mut self, part: Part, range: Range<Bytes>) -> Result<(), Fault> {
        if part == Part::Workgroups {
            let found = lookups::workgroups(self.site, range.clone(), JUMPS)?;
            if let (JUMPS, Some(last)) = (found.len(), found.last()) {
                self.scan = Some((part, at(all(part), part, last).prefix().end..range.end));
            }
            self.waiting = found.into_iter().map(Place::Workgroup).collect();
            return Ok(());
        }
        let rows = self.site.scan(range.clone(), false, STEP)?;
        if rows.len() == STEP
            && let Some((last, _)) = rows.last()
        {
            self.scan = Some((part, Bytes::from([last.as_ref(), &[0]].concat())..range.end));
        }
        self.waiting = rows.iter().filter_map(|(key, _)| place(part, id_of(key)?)).collect();
        Ok(())
    }
}

/// What stands below a person or their belonging to an organisation, in the order of a walk: at once below, or all of it.
fn below(site: &dyn Reader, base: &Place, deep: bool) -> Result<Vec<Place>, Fault> {
    let roles = |uid: &str, ods: Option<&str>| -> Result<Vec<Place>, Fault> {
        let all = users::roles_of(site, uid)?.into_iter().filter(|(_, row)| ods.is_none_or(|ods| row.ods == ods));
        Ok(all.map(|(urp, _)| Place::Role(urp)).collect())
    };
    match base {
        Place::Person(uid) => {
            let own = memberships(site, uid)?.into_iter().map(|(ods, _)| Place::Membership(uid.clone(), ods)).collect();
            let further = if deep { roles(uid, None)? } else { vec![] };
            Ok([own, further].concat())
        }
        Place::Membership(uid, ods) => roles(uid, Some(ods)),
        _ => Ok(vec![]),
    }
}

fn place(part: Part, id: String) -> Option<Place> {
    Some(match part {
        Part::Systems => Place::System(id),
        Part::Endpoints => Place::Endpoint(id),
        Part::Organisations | Part::Fixed => Place::Organisation(id),
        Part::People => Place::Person(id),
        Part::Memberships => id.split_once('/').map(|(uid, ods)| Place::Membership(uid.into(), ods.into()))?,
        Part::Roles => Place::Role(id),
        Part::Workgroups => Place::Workgroup(id),
    })
}

/// Where all rows of a part stand.
fn all(part: Part) -> Key {
    match part {
        Part::Systems => Table::Systems.key(),
        Part::Endpoints => Table::Endpoints.key(),
        // Small rows: whole ones are read as they are matched.
        Part::Organisations | Part::Fixed => Table::OrganisationCodes.key(),
        Part::People => Table::Users.key(),
        Part::Memberships => Table::OrgPersons.key(),
        Part::Roles => Table::RoleProfiles.key(),
        Part::Workgroups => lookups::all_workgroups(),
    }
}

/// The row of an id among those that are walked through.
fn at(rows: Key, part: Part, id: &str) -> Key {
    let own_table = rows.clone().build().as_ref() == [Table::OrgPersons as u8];
    match id.split_once('/') {
        Some((uid, ods)) if part == Part::Memberships && own_table => rows.text(uid).text(ods),
        _ => rows.text(id),
    }
}

/// The id that a row of a table, or a look-up row, is about.
fn id_of(key: &Bytes) -> Option<String> {
    if key.first() != Some(&(Table::OrgPersons as u8)) {
        return last_text(key);
    }
    let mut parts = Parts::of(key);
    Some(lookups::membership_id(&parts.text()?, &parts.text()?))
}
