//! Which entries a search can be about: ids by look-up where the filter names an indexed word, else all rows of a table in
//! order of id. Either way in one order, so that a page can go on where the last one ended.
//!
//! Invariant: a plan may give too much, never too little; every entry is matched against the whole filter afterwards.

use super::entries::{CONTAINERS, ENDPOINT_ATTRIBUTES, ORGANISATION_ATTRIBUTES, Place, SYSTEM_ATTRIBUTES};
use crate::{
    engine::draft::Fault,
    services::directory::{
        find::{Found, How, Term, find},
        index::last_text,
        systems::{By, endpoint_ids, system_ids},
    },
    store::{Reader, tables::Table},
    wire::ldap::{Entry, Filter, Scope},
};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// Rows read at once where a table is walked through.
const STEP: usize = 512;
/// Most organisations that a word of a name may stand for.
const MOST_NAMED: usize = 5_000;

/// The parts of the tree in the order of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Fixed,
    Systems,
    Endpoints,
    Organisations,
}

const PARTS: [Part; 4] = [Part::Fixed, Part::Systems, Part::Endpoints, Part::Organisations];

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
    /// Where the table that is walked through goes on.
    scan: Option<(Part, Bytes)>,
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
                let parts = match n {
                    0 => vec![Part::Systems, Part::Endpoints],
                    1 => vec![Part::Organisations],
                    _ => vec![],
                };
                (own, parts)
            }
            // Leaves have nothing below them, and the root's tree is asked for by its name.
            (Scope::Sub, place) => (vec![place.clone()], vec![]),
            (Scope::One, _) => (vec![], vec![]),
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

    pub fn next(&mut self) -> Result<Option<(Place, Entry)>, Fault> {
        loop {
            while let Some(place) = self.waiting.pop_front() {
                // A row may be disabled, or gone since the look-up.
                if let Some(entry) = place.entry(self.site)? {
                    return Ok(Some((place, entry)));
                }
            }
            if let Some((part, from)) = self.scan.take() {
                self.more(part, from)?;
                continue;
            }
            let Some(part) = self.parts.pop_front() else { return Ok(None) };
            self.open(part)?;
        }
    }

    /// Begins a part: by look-up, or from its table's first row.
    fn open(&mut self, part: Part) -> Result<(), Fault> {
        if !possible(self.filter, part) {
            return Ok(());
        }
        let resumes = part == self.after.part && self.after != Cursor::start();
        if let Some(ids) = ids(self.site, self.filter, part)? {
            let (last, behind) = (self.after.id.clone(), self.after.behind);
            let left = ids.into_iter().filter(|id| !resumes || *id > last || (*id == last && !behind));
            self.waiting = left.map(|id| place(part, id)).collect();
            return Ok(());
        }
        let table = table(part);
        let from = match (resumes, self.after.behind) {
            (false, _) => table.key().build(),
            (true, false) => table.key().text(&self.after.id).build(),
            (true, true) => table.key().text(&self.after.id).prefix().end,
        };
        self.scan = Some((part, from));
        Ok(())
    }

    fn more(&mut self, part: Part, from: Bytes) -> Result<(), Fault> {
        let rows = self.site.scan(from..table(part).end(), false, STEP)?;
        if rows.len() == STEP
            && let Some((last, _)) = rows.last()
        {
            self.scan = Some((part, [last.as_ref(), &[0]].concat().into()));
        }
        self.waiting = rows.iter().filter_map(|(key, _)| last_text(key)).map(|id| place(part, id)).collect();
        Ok(())
    }
}

fn place(part: Part, id: String) -> Place {
    match part {
        Part::Systems => Place::System(id),
        Part::Endpoints => Place::Endpoint(id),
        Part::Organisations | Part::Fixed => Place::Organisation(id),
    }
}

fn table(part: Part) -> Table {
    match part {
        Part::Systems => Table::Systems,
        Part::Endpoints => Table::Endpoints,
        // Small rows: whole ones are read as they are matched.
        Part::Organisations | Part::Fixed => Table::OrganisationCodes,
    }
}

/// Whether entries of a part can match at all: an object class or an attribute that they do not have rules them out, so that a
/// question about nobody here costs no walk through everybody.
fn possible(filter: &Filter, part: Part) -> bool {
    let classes: &[&str] = match part {
        Part::Systems => &["top", "nhsas"],
        Part::Endpoints => &["top", "nhsmhs"],
        Part::Organisations => &["top", "organization", "organizationalunit", "nhsorg", "nhssite", "nhsgppractice"],
        Part::Fixed => return true,
    };
    match filter {
        Filter::And(all) => all.iter().all(|f| possible(f, part)),
        Filter::Or(any) => any.iter().any(|f| possible(f, part)),
        Filter::Equal(name, value) if name.eq_ignore_ascii_case("objectClass") => {
            classes.iter().any(|class| class.eq_ignore_ascii_case(value.trim()))
        }
        Filter::Equal(name, _)
        | Filter::Parts(name, ..)
        | Filter::AtLeast(name, _)
        | Filter::AtMost(name, _)
        | Filter::Present(name) => {
            let name = name.split(';').next().unwrap_or(name);
            attributes(part).iter().any(|known| known.eq_ignore_ascii_case(name))
        }
        // What is not there is as "not" wants it.
        Filter::Not(_) | Filter::Undefined => true,
    }
}

/// The attributes that entries of a part may have.
pub fn attributes(part: Part) -> &'static [&'static str] {
    match part {
        Part::Systems => SYSTEM_ATTRIBUTES,
        Part::Endpoints => ENDPOINT_ATTRIBUTES,
        Part::Organisations => ORGANISATION_ATTRIBUTES,
        Part::Fixed => &[],
    }
}

/// Ids in order, where look-up rows give them; `None` where they do not.
fn ids(site: &dyn Reader, filter: &Filter, part: Part) -> Result<Option<BTreeSet<String>>, Fault> {
    match filter {
        Filter::And(all) => {
            // Indexed words of one conjunction are intersected.
            let mut found: Option<BTreeSet<String>> = None;
            for one in all {
                if let Some(these) = ids(site, one, part)? {
                    found = Some(match found {
                        Some(before) => before.intersection(&these).cloned().collect(),
                        None => these,
                    });
                }
            }
            Ok(found)
        }
        Filter::Or(any) => {
            let mut found = BTreeSet::new();
            for one in any {
                match ids(site, one, part)? {
                    Some(these) => found.extend(these),
                    // One branch without a look-up: all rows must be seen.
                    None => return Ok(None),
                }
            }
            Ok(Some(found))
        }
        Filter::Equal(name, value) => equal(site, &name.to_ascii_lowercase(), value.trim(), part),
        Filter::Parts(name, Some(first), ..) if part == Part::Organisations => {
            let by = match name.to_ascii_lowercase().as_str() {
                "o" | "ou" => Term::Name(How::Begins, first.clone()),
                "postalcode" => Term::Postcode(How::Begins, first.clone()),
                "l" => Term::Town(How::Begins, first.clone()),
                _ => return Ok(None),
            };
            named(site, by)
        }
        _ => Ok(None),
    }
}

fn equal(site: &dyn Reader, name: &str, value: &str, part: Part) -> Result<Option<BTreeSet<String>>, Fault> {
    let by = match name {
        "nhsidcode" => By::Organisation,
        "nhsassvcia" | "nhsmhssvcia" => By::Interaction,
        "nhsmhspartykey" => By::PartyKey,
        _ => By::Organisation,
    };
    match (part, name) {
        (Part::Organisations, "uniqueidentifier" | "nhsidcode") => Ok(Some([value.to_ascii_uppercase()].into())),
        (Part::Organisations, "o" | "ou") => named(site, Term::Name(How::Begins, value.to_owned())),
        (Part::Organisations, "postalcode") => named(site, Term::Postcode(How::Begins, value.to_owned())),
        (Part::Organisations, "l") => named(site, Term::Town(How::Begins, value.to_owned())),
        (Part::Systems, "uniqueidentifier") => Ok(Some([value.to_ascii_uppercase()].into())),
        // Record ids keep their case: as it was said, and as the directory mostly writes them.
        (Part::Endpoints, "uniqueidentifier") => {
            Ok(Some([value.to_owned(), value.to_ascii_uppercase(), value.to_ascii_lowercase()].into()))
        }
        (Part::Systems, "nhsidcode" | "nhsassvcia" | "nhsmhspartykey") => system_ids(site, &[(by, value)]).map(Some),
        (Part::Endpoints, "nhsidcode" | "nhsmhssvcia" | "nhsmhspartykey") => {
            endpoint_ids(site, &[(by, value)]).map(Some)
        }
        _ => Ok(None),
    }
}

/// Organisations by a look-up of theirs; `None` where it stands for too many, so that the table is walked instead.
fn named(site: &dyn Reader, term: Term) -> Result<Option<BTreeSet<String>>, Fault> {
    match find(site, &[vec![term]], 0, MOST_NAMED)? {
        Found::Page { total, items } if total <= MOST_NAMED => {
            Ok(Some(items.into_iter().map(|(ods, _)| ods).collect()))
        }
        _ => Ok(None),
    }
}
