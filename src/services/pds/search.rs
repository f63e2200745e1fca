//! Finding people in the rows of all partitions (spec/pds.md §8): candidates by name or postcode, then each is judged.
//!
//! Cost: an exact or fuzzy search for one birth date reads the few rows of one Soundex code on that day, whatever the
//! surname; a wildcard skips from code to code; a range of days reads on until a bound, beyond which there are too many.

use super::{
    fhir::{self, Object},
    matching::{self, CERTAIN},
    names::{self, Soundex, matches_pattern, soundex},
    query::Query,
    rows::{self, NameRow, Person, Sensitivity, name_key, postcode_key},
    show::{self, Flags},
};
use crate::{
    engine::draft::Fault,
    model::NhsNumber,
    store::{
        Reader,
        tables::{Parts, after_prefix},
    },
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Rows read of one partition for one search: some fifty times what the commonest surname has on a day in a nation.
const MOST_ROWS: usize = 20_000;
/// People judged in one partition for one search.
const MOST_CANDIDATES: usize = 2_000;
/// Rows read at once.
const PAGE: usize = 256;
/// Merges followed from one number to the next.
const MOST_MERGES: usize = 8;

/// One person found.
pub struct Hit {
    pub nhs: NhsNumber,
    pub person: Person,
    /// In ten thousandths.
    pub score: u32,
}

/// What a search has come to.
pub enum Found {
    /// By score, then by number.
    People(Vec<Hit>),
    TooMany,
}

/// Searches the rows of all partitions.
pub fn find(views: &[&dyn Reader], query: &Query) -> Result<Found, Fault> {
    let mut best: BTreeMap<NhsNumber, Hit> = BTreeMap::new();
    for view in views {
        let Some(candidates) = candidates(*view, query)? else { return Ok(Found::TooMany) };
        for nhs in candidates {
            let Some(person) = rows::person(*view, nhs)? else { continue };
            let Some(score) = judged(query, &person)? else { continue };
            let Some((nhs, person)) = survivor(views, nhs, person)? else { continue };
            if !query.whole && !may_be_found(query, &person) {
                continue;
            }
            if best.get(&nhs).is_none_or(|hit| hit.score < score) {
                best.insert(nhs, Hit { nhs, person, score });
            }
        }
        if best.len() > query.max {
            return Ok(Found::TooMany);
        }
    }
    let mut hits: Vec<Hit> = best.into_values().collect();
    hits.sort_by(|a, b| b.score.cmp(&a.score).then(a.nhs.cmp(&b.nhs)));
    Ok(Found::People(hits))
}

/// Whether the answer may name the person whose record a merged number has become part of (§8.3): that number's own data say
/// where the person is as well as the record's do.
fn may_be_found(query: &Query, survivor: &Person) -> bool {
    let reached = query.managing.is_some() || query.email.is_some() || query.phone.is_some();
    match survivor.sensitivity() {
        Sensitivity::Unrestricted => true,
        Sensitivity::Restricted => query.postcode.is_none() && query.practice.is_none() && !reached,
        Sensitivity::VeryRestricted => false,
    }
}

/// The person's score, if it may be found at all: by its labels, then by its data. The check on duplicates (§10) judges
/// everybody by everything, for one person must never get two numbers.
fn judged(query: &Query, person: &Person) -> Result<Option<u32>, Fault> {
    if query.whole {
        return Ok(matching::score(query, &person.stored()?, &person.history()?));
    }
    let by_place = query.postcode.is_some() || query.practice.is_some();
    match person.sensitivity() {
        Sensitivity::VeryRestricted => return Ok(None),
        Sensitivity::Restricted if by_place => return Ok(None),
        _ => {}
    }
    let mut stored = person.stored()?;
    if person.sensitivity() == Sensitivity::Restricted {
        // What is not shown cannot be asked for either.
        for hidden in ["address", "telecom", "contact", "generalPractitioner", "managingOrganization"] {
            stored.remove(hidden);
        }
    }
    let history = match person.sensitivity() {
        Sensitivity::Unrestricted => person.history()?,
        _ => names_only(person.history()?),
    };
    Ok(matching::score(query, &stored, &history))
}

fn names_only(mut history: Object) -> Object {
    history.retain(|member, _| member == "name" || member == "gender");
    history
}

/// The record that a merged one is now part of; itself where it was not merged. `None` where that one is invalid.
pub(super) fn survivor(
    views: &[&dyn Reader],
    mut nhs: NhsNumber,
    mut person: Person,
) -> Result<Option<(NhsNumber, Person)>, Fault> {
    for _ in 0..MOST_MERGES {
        let Some(next) = person.superseded_by() else {
            return Ok((!person.invalidated).then_some((nhs, person)));
        };
        let mut found = None;
        for view in views {
            found = rows::person(*view, next)?;
            if found.is_some() {
                break;
            }
        }
        match found {
            Some(row) => (nhs, person) = (next, row),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// People whose keys may agree; `None` where there are too many to look at.
fn candidates(view: &dyn Reader, query: &Query) -> Result<Option<BTreeSet<NhsNumber>>, Fault> {
    let mut walk = Walk { view, query, rows: 0, found: BTreeSet::new() };
    let mut whole = true;
    if let Some(family) = &query.family {
        match family.split_once('*') {
            Some((fixed, _)) => {
                let (from, to) = codes_of(fixed);
                whole &= walk.names(from, to)?;
            }
            None => {
                let mut codes = BTreeSet::from([soundex(family)]);
                if query.fuzzy {
                    // The other way round: the record's family name is one of the query's given names.
                    codes.extend(query.given.iter().map(|given| soundex(given)));
                }
                for code in codes {
                    whole &= walk.names(code, code)?;
                }
            }
        }
    }
    if let (true, Some(postcode), Some(_)) = (query.fuzzy && !query.given.is_empty(), &query.postcode, &query.gender) {
        whole &= walk.postcodes(postcode)?;
    }
    Ok((whole && walk.found.len() <= MOST_CANDIDATES).then_some(walk.found))
}

/// The first and last Soundex code that a name can have which begins so.
fn codes_of(fixed: &str) -> (Soundex, Soundex) {
    let from = fixed.bytes().find(u8::is_ascii_uppercase).unwrap_or(b'0');
    // Whether the next letters give a digit depends on what follows, so all codes of the letter are looked at.
    ([from, b'0', b'0', b'0'], [from, b'6', b'6', b'6'])
}

struct Walk<'a> {
    view: &'a dyn Reader,
    query: &'a Query,
    rows: usize,
    found: BTreeSet<NhsNumber>,
}

impl Walk<'_> {
    /// Name rows of codes and days, skipping from one code's days to the next's. False where the bound was met.
    fn names(&mut self, from: Soundex, to: Soundex) -> Result<bool, Fault> {
        let (first, last) = self.query.born;
        let end = after_prefix(&name_key(to, last).build());
        let mut start = name_key(from, first).build();
        let mut page = if from == to { PAGE } else { 8 };
        loop {
            let rows = self.view.scan(start.clone()..end.clone(), false, page)?;
            let (count, mut skip) = (rows.len(), None);
            self.rows += count;
            if self.rows > MOST_ROWS || self.found.len() > MOST_CANDIDATES {
                return Ok(false);
            }
            for (key, value) in rows {
                let Some((code, born)) = code_and_day(&key) else { continue };
                start = after(&key);
                if born < first {
                    skip = Some(name_key(code, first).build());
                    break;
                }
                if born > last {
                    skip = Some(match next(code) {
                        Some(code) => name_key(code, first).build(),
                        None => end.clone(),
                    });
                    break;
                }
                self.take(&key, &value);
            }
            match skip {
                Some(to) => start = to,
                None if count < page => return Ok(true),
                None => page = PAGE,
            }
            if start >= end {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        let Some(rest) = key.get(8..) else { return };
        let mut parts = Parts::of(rest);
        let (Some(family), Some(nhs)) = (parts.text(), parts.number().and_then(NhsNumber::of)) else { return };
        if self.may_agree(&family, value) {
            self.found.insert(nhs);
        }
    }

    /// Saves the reading of rows that cannot agree: in a search that is not fuzzy everything in the key must.
    fn may_agree(&self, family: &str, value: &[u8]) -> bool {
        let query = self.query;
        let Some(row) = NameRow::decode(value) else { return true };
        if query.fuzzy {
            return true;
        }
        let agrees = |pattern: &str, text: &str| match pattern.contains('*') {
            true => matches_pattern(pattern, text),
            false => pattern == text,
        };
        let gender = query.gender.as_deref().is_none_or(|g| query.history || g.bytes().next() == Some(row.gender));
        gender
            && query.family.as_deref().is_none_or(|pattern| agrees(pattern, family))
            && row.names.iter().any(|(historic, given)| {
                (!historic || query.history)
                    && query.given.first().is_none_or(|g| given.first().is_some_and(|name| agrees(g, name)))
            })
    }

    fn postcodes(&mut self, postcode: &str) -> Result<bool, Fault> {
        let (first, last) = self.query.born;
        let end = after_prefix(&postcode_key(postcode, last).build());
        let mut start = postcode_key(postcode, first).build();
        loop {
            let rows = self.view.scan(start.clone()..end.clone(), false, PAGE)?;
            self.rows += rows.len();
            if self.rows > MOST_ROWS || self.found.len() > MOST_CANDIDATES {
                return Ok(false);
            }
            let count = rows.len();
            for (key, _) in rows {
                start = after(&key);
                let nhs = key.last_chunk::<8>().map(|n| u64::from_be_bytes(*n));
                self.found.extend(nhs.and_then(NhsNumber::of));
            }
            if count < PAGE {
                return Ok(true);
            }
        }
    }
}

/// The first key behind this one.
fn after(key: &Bytes) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}

fn code_and_day(key: &[u8]) -> Option<(Soundex, u32)> {
    let code = key.get(1..5)?.try_into().ok()?;
    Some((code, u32::from_be_bytes(key.get(5..9)?.try_into().ok()?)))
}

/// The code after this one of the same letter.
fn next(mut code: Soundex) -> Option<Soundex> {
    for place in (1..4).rev() {
        if code[place] < b'6' {
            code[place] += 1;
            return Some(code);
        }
        code[place] = b'0';
    }
    None
}

/// The Bundle of §8.5. `host` as the caller named it.
pub fn bundle(host: &str, at: u64, hits: &[Hit], flags: Flags) -> Result<Value, Fault> {
    let mut entries = vec![];
    for hit in hits {
        let score = if hit.score == CERTAIN { json!(1) } else { json!(f64::from(hit.score) / f64::from(CERTAIN)) };
        entries.push(json!({
            "fullUrl": format!("https://{host}{}/Patient/{}", fhir::BASE, hit.nhs.digits()),
            "search": {"score": score},
            "resource": show::found(hit.nhs, &hit.person, flags)?,
        }));
    }
    Ok(fhir::bundle(&fhir::moment(at), entries))
}

/// People who are the same as a new one: family, first given name, gender, birth date and postcode, history included (§10).
pub fn same_people(views: &[&dyn Reader], new: &Object, identical: bool) -> Result<Vec<NhsNumber>, Fault> {
    let Some(query) = sameness(new, identical) else { return Ok(vec![]) };
    Ok(match find(views, &query)? {
        Found::People(hits) => hits.into_iter().map(|hit| hit.nhs).collect(),
        Found::TooMany => vec![],
    })
}

/// The duplicate check as a query. An identical person also has the same further given names.
fn sameness(new: &Object, identical: bool) -> Option<Query> {
    let born = new.get("birthDate").and_then(Value::as_str).and_then(names::day_number)?;
    let name = fhir::items(new, "name").first()?;
    let mut given = rows::given_names(name);
    if !identical {
        given.truncate(1);
    }
    let code = fhir::items(new, "address").first().map(|a| names::postcode(fhir::text(a, "postalCode")));
    Some(Query {
        history: !identical,
        max: usize::MAX,
        family: Some(names::fold(fhir::text(name, "family"))),
        given,
        gender: new.get("gender").and_then(Value::as_str).map(str::to_owned),
        born: (born, born),
        postcode: code.filter(|code| !code.is_empty()),
        whole: true,
        ..Default::default()
    })
}
