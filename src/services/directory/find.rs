//! Finding organisations: a question is clauses that must all hold, each of terms of which one must.
//!
//! Terms with look-up rows give lists of codes in order of code, which are intersected; status, class and use are read from
//! the look-up rows themselves. Whole rows are read only for the page that is shown and for terms without look-up rows.
//! Every scan is bounded: a question that would look through more is [`Found::TooBroad`] (P6).

use super::{
    index::{self, cut, fold, last_text, name_key, postcode_key},
    organisation::facets,
    rows::{self, Organisation},
};
use crate::{
    engine::draft::Fault,
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
};
use bytes::Bytes;
use std::{collections::BTreeMap, ops::Range};

/// Most look-up rows read for one term: more than there are organisations.
const MOST_ROWS: usize = 250_000;
/// Most whole rows read for terms that have no look-up rows, or to prove what look-up rows promise.
const MOST_PROVED: usize = 25_000;
/// Most words that contain what is looked for.
const MOST_WORDS: usize = 2_000;
/// Small rows read at once when all organisations are paged through.
const STEP: usize = 4_096;

/// How a text must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Begins,
    Contains,
    /// Letter by letter, case included.
    Exact,
}

/// Which role a term means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleKind {
    /// `Some(true)`: primary only; `Some(false)`: non-primary only.
    pub primary: Option<bool>,
    pub active_only: bool,
}

/// One thing that may hold of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    Code(String),
    Name(How, String),
    Postcode(How, String),
    Town(How, String),
    Role(String, RoleKind),
    /// Day of the last change, both ends included.
    Changed(u32, u32),
    Active(bool),
    /// 1 organisation, 2 site.
    Class(u8),
    RefOnly(bool),
    County(How, String),
    Country(How, String),
    /// Any part of the address.
    Address(How, String),
    Never,
}

/// One of these must hold.
pub type Clause = Vec<Term>;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Page {
        /// All that match.
        total: usize,
        /// Those of the page, in order of code.
        items: Vec<(String, Organisation)>,
    },
    TooBroad,
}

/// Codes in order, with their facets.
type List = BTreeMap<String, u8>;

/// Organisations for which all clauses hold: up to `limit` from the one at `offset`.
pub fn find(site: &dyn Reader, clauses: &[Clause], offset: usize, limit: usize) -> Result<Found, Fault> {
    let (by_facets, rest): (Vec<&Clause>, Vec<&Clause>) = clauses.iter().partition(|c| c.iter().all(Term::is_facet));
    let fits = |byte: u8| by_facets.iter().all(|clause| clause.iter().any(|term| term.fits(byte)));
    let (listed, mut proved): (Vec<&Clause>, Vec<&Clause>) =
        rest.into_iter().partition(|c| c.iter().all(Term::is_listed));
    if listed.is_empty() && proved.is_empty() {
        return all(site, &fits, offset, limit);
    }
    proved.extend(listed.iter().copied().filter(|clause| clause.iter().any(Term::needs_proof)));
    let mut codes: Option<List> = None;
    for clause in listed {
        let mut list = List::new();
        for term in clause {
            term.list(site, &mut list)?;
        }
        codes = Some(match codes {
            None => list,
            Some(codes) => codes.into_iter().filter(|(ods, _)| list.contains_key(ods)).collect(),
        });
    }
    let mut codes = match codes {
        Some(codes) => codes,
        None => scan_codes(site, Table::OrganisationCodes.key().prefix())?,
    };
    codes.retain(|_, byte| fits(*byte));
    if !proved.is_empty() {
        if codes.len() > MOST_PROVED {
            return Ok(Found::TooBroad);
        }
        return prove(site, codes, &proved, offset, limit);
    }
    let total = codes.len();
    let mut items = vec![];
    for (ods, _) in codes.into_iter().skip(offset).take(limit) {
        items.extend(rows::organisation(site, &ods)?.map(|row| (ods, row)));
    }
    Ok(Found::Page { total, items })
}

/// Codes of organisations that changed on a day or later, in order of day.
pub fn changed_since(site: &dyn Reader, since: u32, limit: usize) -> Result<Vec<String>, Fault> {
    let from = Table::OrganisationChanges.key().number(u64::from(since)).build();
    let rows = site.scan(from..Table::OrganisationChanges.end(), false, limit)?;
    Ok(rows.iter().filter_map(|(key, _)| day_and_code(key)).collect())
}

/// The code in a key that begins with a day.
fn day_and_code(key: &Bytes) -> Option<String> {
    let mut parts = Parts::of(key);
    parts.number()?;
    parts.text()
}

/// Reads each row and asks it.
fn prove(site: &dyn Reader, codes: List, clauses: &[&Clause], offset: usize, limit: usize) -> Result<Found, Fault> {
    let (mut total, mut items) = (0, vec![]);
    for (ods, _) in codes {
        let Some(row) = rows::organisation(site, &ods)? else { continue };
        if clauses.iter().all(|clause| clause.iter().any(|term| term.holds(&ods, &row))) {
            if total >= offset && items.len() < limit {
                items.push((ods, row));
            }
            total += 1;
        }
    }
    Ok(Found::Page { total, items })
}

/// Pages through all organisations; how many there are is counted already.
fn all(site: &dyn Reader, fits: &dyn Fn(u8) -> bool, offset: usize, limit: usize) -> Result<Found, Fault> {
    let total = index::counted(site, fits)?;
    let mut items = vec![];
    let Range { start: mut from, end } = Table::OrganisationCodes.key().prefix();
    let mut skip = offset;
    // The count says where the end is: a page behind it needs no scan.
    while items.len() < limit && offset < total {
        let step = if skip == 0 { STEP.min(limit * 2 + 16) } else { STEP.min(skip + limit) };
        let rows = site.scan(from.clone()..end.clone(), false, step)?;
        let Some((last, _)) = rows.last() else { break };
        from = Bytes::from([last.as_ref(), &[0]].concat());
        for (key, _) in rows.iter().filter(|(_, value)| fits(value.get(1).copied().unwrap_or(0))) {
            if skip > 0 {
                skip -= 1;
            } else if items.len() < limit
                && let Some(ods) = last_text(key)
            {
                items.extend(rows::organisation(site, &ods)?.map(|row| (ods, row)));
            }
        }
    }
    Ok(Found::Page { total, items })
}

fn scan_codes(site: &dyn Reader, range: Range<Bytes>) -> Result<List, Fault> {
    let mut list = List::new();
    add_codes(site, range, &mut list, &|_| true)?;
    Ok(list)
}

fn add_codes(
    site: &dyn Reader,
    range: Range<Bytes>,
    to: &mut List,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> Result<(), Fault> {
    for (key, value) in site.scan(range, false, MOST_ROWS)? {
        if wanted(&value)
            && let Some(ods) =
                if key[0] == Table::OrganisationChanges as u8 { day_and_code(&key) } else { last_text(&key) }
        {
            to.insert(ods, value.get(1).copied().unwrap_or(0));
        }
    }
    Ok(())
}

/// Every key whose next part, a text, begins with these letters.
fn beginning(key: Key, text: &str) -> Range<Bytes> {
    let from: Bytes = [key.build().as_ref(), text.as_bytes()].concat().into();
    let to = crate::store::tables::after_prefix(&from);
    from..to
}

impl Term {
    /// Can be told from a look-up row's facets.
    fn is_facet(&self) -> bool {
        matches!(self, Term::Active(_) | Term::Class(_) | Term::RefOnly(_))
    }

    fn fits(&self, byte: u8) -> bool {
        match self {
            Term::Active(wanted) => facets::active(byte) == *wanted,
            Term::Class(wanted) => facets::class(byte) == *wanted,
            Term::RefOnly(wanted) => facets::ref_only(byte) == *wanted,
            _ => false,
        }
    }

    /// Has look-up rows.
    fn is_listed(&self) -> bool {
        match self {
            Term::Code(_) | Term::Role(..) | Term::Changed(..) | Term::Never => true,
            Term::Name(_, text) => !fold(text).is_empty(),
            Term::Postcode(how, _) | Term::Town(how, _) => *how != How::Contains,
            _ => false,
        }
    }

    /// Its look-up rows may promise too much.
    fn needs_proof(&self) -> bool {
        match self {
            Term::Name(How::Contains, text) => fold(text).contains(' ') || fold(text).len() > index::LONGEST_WORD,
            Term::Name(how, text) => *how == How::Exact || name_key(text) != fold(text),
            Term::Postcode(how, _) | Term::Town(how, _) => *how == How::Exact,
            _ => false,
        }
    }

    /// Adds the codes that the look-up rows give.
    fn list(&self, site: &dyn Reader, to: &mut List) -> Result<(), Fault> {
        let any = |_: &[u8]| true;
        match self {
            Term::Code(ods) => {
                if let Some(row) = rows::organisation(site, ods)? {
                    to.insert(ods.clone(), row.facets());
                }
                Ok(())
            }
            Term::Name(How::Contains, text) => containing(site, &fold(text), to),
            Term::Name(_, text) => {
                add_codes(site, beginning(Table::OrganisationNames.key(), &name_key(text)), to, &any)
            }
            Term::Postcode(_, text) => {
                add_codes(site, beginning(Table::OrganisationPostcodes.key(), &postcode_key(text)), to, &any)
            }
            Term::Town(_, text) => {
                add_codes(site, beginning(Table::OrganisationTowns.key(), &name_key(text)), to, &any)
            }
            Term::Role(code, kind) => {
                let wanted = |value: &[u8]| {
                    let bits = value.get(2).copied().unwrap_or(0);
                    kind.primary.is_none_or(|wanted| wanted == (bits & 1 != 0)) && !(kind.active_only && bits & 2 != 0)
                };
                add_codes(site, Table::OrganisationRoles.key().text(code).prefix(), to, &wanted)
            }
            Term::Changed(first, last) => {
                let key = |day: u32| Table::OrganisationChanges.key().number(u64::from(day)).build();
                add_codes(site, key(*first)..key(last.saturating_add(1)), to, &any)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn holds(&self, ods: &str, row: &Organisation) -> bool {
        let place = &row.address;
        match self {
            Term::Code(code) => code == ods,
            Term::Name(how, text) => agrees(*how, &row.name, text),
            Term::Postcode(How::Exact, text) => place.postcode == *text,
            Term::Postcode(how, text) => agrees(*how, &postcode_key(&place.postcode), &postcode_key(text)),
            Term::Town(how, text) => agrees(*how, &place.town, text),
            Term::County(how, text) => agrees(*how, &place.county, text),
            Term::Country(how, text) => agrees(*how, &place.country, text),
            Term::Address(how, text) => {
                let others = [&place.town, &place.county, &place.postcode, &place.country];
                place.lines.iter().chain(others).any(|part| agrees(*how, part, text))
            }
            Term::Role(code, kind) => row.roles.iter().any(|role| {
                role.code == *code
                    && kind.primary.is_none_or(|wanted| wanted == role.primary)
                    && !(kind.active_only && role.inactive)
            }),
            Term::Changed(first, last) => (*first..=*last).contains(&row.last_change),
            Term::Never => false,
            _ => self.fits(row.facets()),
        }
    }
}

fn agrees(how: How, text: &str, wanted: &str) -> bool {
    match how {
        How::Exact => text == wanted,
        How::Begins => fold(text).starts_with(&fold(wanted)),
        How::Contains => fold(text).contains(&fold(wanted)),
    }
}

/// Codes of names that hold a word, or part of one, of the folded text: of its longest, since that is the rarest.
fn containing(site: &dyn Reader, text: &str, to: &mut List) -> Result<(), Fault> {
    let words: Vec<&str> = text.split(' ').collect();
    let longest = words.iter().enumerate().max_by_key(|(_, word)| word.len());
    let Some((at, word)) = longest else { return Ok(()) };
    let (open, shut) = (at == 0, at + 1 == words.len());
    let word = cut(word, index::LONGEST_WORD);
    let any = |_: &[u8]| true;
    if !open {
        // A blank stands before it: the word begins with it, or is it.
        let words = Table::OrganisationWords.key();
        let range = if shut { beginning(words, word) } else { words.text(word).prefix() };
        return add_codes(site, range, to, &any);
    }
    let endings = Table::WordEndings.key();
    let range = if shut { beginning(endings, word) } else { endings.text(word).prefix() };
    let found = site.scan(range, false, MOST_WORDS)?;
    let found: std::collections::BTreeSet<String> = found.iter().filter_map(|(key, _)| last_text(key)).collect();
    for word in found {
        add_codes(site, Table::OrganisationWords.key().text(word).prefix(), to, &any)?;
    }
    Ok(())
}
