//! The LDAP face on values (directory.md §B): a request and the registry's rows give entries and a result. Read-only.
//!
//! | file | duty |
//! |---|---|
//! | `entries` | the tree; systems, endpoints and organisations as entries, in the spelling of the schema |
//! | `people` | people, their roles and workgroups as entries |
//! | `attributes` | what an entry may say |
//! | `matching` | filters on entries, with the schema's rules of comparing |
//! | `plan` | which entries a search goes through, in one order |
//! | `ids` | which of them a filter can be about at all |
//! | `schema.txt` | attribute types (`A`) and object classes (`C`), as the national directory publishes them |
//!
//! Everything is shown to every registered, enabled system alike; of people only what [`people`] lists, and of who works where
//! nothing that one proves oneself by. A workgroup is known by the role profiles that name it. Lists of roles and activities
//! (`ou=RBAC`) are not kept as rows and not shown; nor is a change log (directory.md §B.1 and §B.6 name both, and no query of §B.2 asks for them).

mod attributes;
mod entries;
mod ids;
mod matching;
mod people;
mod plan;

use crate::{
    engine::draft::Fault,
    store::Reader,
    wire::ldap::{Code, Entry, Filter, Paged, Scope, Search},
};
use entries::Place;

/// Most entries of one answer; more come page by page.
pub const MAX_ENTRIES: usize = 1_000;
/// Most entries looked through for one answer: a filter without an indexed word over more needs pages.
const MAX_LOOKED: usize = 20_000;

/// What a search gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub code: Code,
    pub words: &'static str,
    pub entries: Vec<Entry>,
    /// For paged results: where the next page begins; empty at the end.
    pub cookie: Option<Vec<u8>>,
}

fn told(code: Code, words: &'static str) -> Told {
    Told { code, words, entries: vec![], cookie: None }
}

/// Searches. `paged`: the client's control, if it sent one.
pub fn search(site: &dyn Reader, search: &Search, paged: Option<&Paged>) -> Result<Told, Fault> {
    let base = Place::of_dn(&search.base).map(|place| place.settled(site)).transpose()?.flatten();
    let Some(base) = base else { return Ok(told(Code::NoSuchObject, "no such entry")) };
    if !base.exists(site)? {
        return Ok(told(Code::NoSuchObject, "no such entry"));
    }
    let want = match (search.size_limit, paged) {
        (_, Some(page)) if page.size > 0 => page.size.min(MAX_ENTRIES),
        (0, _) => MAX_ENTRIES,
        (limit, _) => limit.min(MAX_ENTRIES),
    };
    let after = paged.map(|page| page.cookie.as_slice()).unwrap_or_default();
    let Some(after) = plan::Cursor::of_cookie(after) else {
        return Ok(told(Code::Unwilling, "the cookie is none of ours"));
    };
    let mut walk = plan::Walk::new(site, &base, search.scope, &search.filter, after)?;
    let (mut entries, mut looked) = (vec![], 0);
    while let Some((place, entry)) = walk.next()? {
        looked += 1;
        if let Some(entry) = entry
            && matching::holds(&search.filter, &entry) == Some(true)
        {
            if entries.len() == want {
                let full = |code, cookie| Told { code, words: "more entries match", entries, cookie };
                return Ok(match paged {
                    Some(_) => full(Code::Success, Some(plan::Cursor::before(&place).cookie())),
                    None => full(Code::SizeLimit, None),
                });
            }
            entries.push(chosen(entry, search));
        }
        if looked == MAX_LOOKED {
            let words =
                "too many entries would be looked through: name an organisation, interaction, party key, id or name";
            return Ok(match paged {
                // A page may be short; the next goes on behind it.
                Some(_) => {
                    Told { code: Code::Success, words: "", entries, cookie: Some(plan::Cursor::after(&place).cookie()) }
                }
                None => Told { code: Code::AdminLimit, words, entries, cookie: None },
            });
        }
    }
    Ok(Told { code: Code::Success, words: "", entries, cookie: paged.map(|_| vec![]) })
}

/// User id of the member of staff whom an entry or what lies below it is about.
pub fn person_of(dn: &str) -> Option<&str> {
    let parts = dn.split(',').map(str::trim);
    parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("uid")).map(|(_, uid)| uid)
}

/// Compares one attribute of one entry.
pub fn compare(site: &dyn Reader, dn: &str, attribute: &str, value: &str) -> Result<Code, Fault> {
    let entry = match Place::of_dn(dn) {
        Some(place) => place.entry(site)?,
        None => None,
    };
    let Some(entry) = entry else { return Ok(Code::NoSuchObject) };
    if !entry.attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case(attribute)) {
        return Ok(Code::NoSuchAttribute);
    }
    let filter = Filter::Equal(attribute.to_owned(), value.to_owned());
    Ok(if matching::holds(&filter, &entry) == Some(true) { Code::CompareTrue } else { Code::CompareFalse })
}

/// The attributes that are asked for, in the entry's order.
fn chosen(mut entry: Entry, search: &Search) -> Entry {
    let all = search.attributes.is_empty() || search.attributes.iter().any(|a| a == "*");
    // The root and the schema show what a client must ask for by name elsewhere: `+` is all of it.
    let operational = search.attributes.iter().any(|a| a == "+") && matches!(search.scope, Scope::Base);
    if !all && !operational {
        entry.attributes.retain(|(name, _)| search.attributes.iter().any(|a| a.eq_ignore_ascii_case(name)));
    }
    if search.types_only {
        entry.attributes.iter_mut().for_each(|(_, values)| values.clear());
    }
    entry
}
