//! Writing organisations as the reference data has them (directory.md §C.3): what is checked, and what is numbered here.

use super::{
    code_lists,
    decide::{Done, No, invalid, keep},
    index,
    organisation::{Contact, GENERATION, Period, Relationship, Role, Succession},
    rows::{self, Organisation},
};
use crate::{
    engine::draft::{Draft, Stamp},
    model::{OdsCode, day},
};

/// Most roles of an organisation, and most of its successions and contacts: the richest published one has a dozen.
const MAX_ROLES: usize = 64;
/// Most relationships of an organisation to others.
const MAX_RELATIONSHIPS: usize = 512;
/// Most lines of an address besides town and county.
const MAX_LINES: usize = 5;

/// Puts a whole organisation; what operators switch (`disabled`) stays. An organisation that came without the day of
/// its last change has changed today if anything else is different.
pub fn put(draft: &mut Draft<'_>, stamp: &Stamp, ods: &str, mut new: Organisation) -> Done {
    let ods = OdsCode::parse(ods)?.into_string();
    let old = rows::organisation(draft, &ods)?;
    check(&mut new)?;
    if let Some(old) = &old {
        new.disabled = old.disabled;
        new.unknown = old.unknown.clone();
    }
    number(draft, old.as_ref(), &mut new)?;
    store(draft, stamp, &ods, old, new)
}

/// Writes a row that was checked, if anything is different.
pub fn store(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    ods: &str,
    old: Option<Organisation>,
    mut new: Organisation,
) -> Done {
    let dated = new.last_change != 0;
    new.generation = GENERATION;
    if let Some(old) = &old {
        if !dated {
            new.last_change = old.last_change;
        }
        if *old == new {
            return Ok((false, 0));
        }
    }
    if !dated {
        new.last_change = day::of_millis(stamp.now);
    }
    claim(draft, ods, &new.relationships)?;
    index::replace(draft, ods, old.as_ref(), &new)?;
    Ok((true, 0))
}

/// An instance id belongs to one organisation: a second source would be shown under the first one's.
fn claim(draft: &Draft<'_>, ods: &str, relationships: &[Relationship]) -> Result<(), No> {
    for relationship in relationships {
        if rows::relationship_source(draft, relationship.id)?.is_some_and(|source| source != ods) {
            let id = relationship.id;
            return Err(No::Refused("conflict", format!("relationship {id} belongs to another organisation")));
        }
    }
    Ok(())
}

fn check(row: &mut Organisation) -> Result<(), No> {
    let mut name = String::new();
    keep(&mut name, &row.name, "the name")?;
    if name.is_empty() {
        return Err(invalid("an organisation needs a name"));
    }
    row.name = name;
    row.class = match row.class {
        0 | 1 => 1,
        2 => 2,
        _ => return Err(invalid("the record class is RC1 or RC2")),
    };
    let place = &mut row.address;
    if place.lines.len() > MAX_LINES {
        return Err(invalid(format!("an address has at most {MAX_LINES} lines besides town and county")));
    }
    let parts = [&mut place.town, &mut place.county, &mut place.postcode, &mut place.country, &mut place.uprn];
    for part in place.lines.iter_mut().chain(parts).chain([&mut row.authority]) {
        let given = std::mem::take(part);
        keep(part, &given, "a part of the address")?;
    }
    place.lines.retain(|line| !line.is_empty());
    if [row.roles.len(), row.contacts.len(), row.successions.len()].iter().any(|n| *n > MAX_ROLES) {
        return Err(invalid(format!("at most {MAX_ROLES} roles, contacts and successions")));
    }
    if row.relationships.len() > MAX_RELATIONSHIPS {
        return Err(invalid(format!("at most {MAX_RELATIONSHIPS} relationships")));
    }
    [row.legal.clone(), row.operational.clone()].iter().try_for_each(check_period)?;
    row.roles.iter_mut().try_for_each(check_role)?;
    if row.roles.iter().filter(|role| role.primary).count() != 1 {
        return Err(invalid("an organisation has exactly one primary role"));
    }
    row.relationships.iter_mut().try_for_each(check_relationship)?;
    row.successions.iter_mut().try_for_each(check_succession)?;
    row.contacts.iter_mut().try_for_each(check_contact)
}

fn check_period(period: &Period) -> Result<(), No> {
    match period.end != 0 && period.end < period.start {
        true => Err(invalid("a period ends before it starts")),
        false => Ok(()),
    }
}

fn check_role(role: &mut Role) -> Result<(), No> {
    role.code.make_ascii_uppercase();
    if code_lists::role(&role.code).is_none() {
        return Err(invalid("a role's code is not in the list of organisation roles"));
    }
    check_period(&role.legal)?;
    check_period(&role.operational)
}

fn check_relationship(relationship: &mut Relationship) -> Result<(), No> {
    relationship.code.make_ascii_uppercase();
    if code_lists::relationship(&relationship.code).is_none() {
        return Err(invalid("a relationship's code is not in the list of relationships"));
    }
    relationship.target = OdsCode::parse(&relationship.target)?.into_string();
    check_period(&relationship.legal)?;
    check_period(&relationship.operational)
}

fn check_succession(succession: &mut Succession) -> Result<(), No> {
    succession.target = OdsCode::parse(&succession.target)?.into_string();
    Ok(())
}

fn check_contact(contact: &mut Contact) -> Result<(), No> {
    if !matches!(contact.kind.as_str(), "tel" | "http" | "mail" | "fax") {
        return Err(invalid("a contact is of type tel, http, mail or fax"));
    }
    let given = std::mem::take(&mut contact.value);
    keep(&mut contact.value, &given, "a contact")
}

/// Gives ids to what came without: the old one where the same thing stood before, else a fresh one.
fn number(draft: &mut Draft<'_>, old: Option<&Organisation>, new: &mut Organisation) -> Result<(), No> {
    let nothing = Organisation::default();
    let old = old.unwrap_or(&nothing);
    for role in new.roles.iter_mut().filter(|role| role.id == 0) {
        let same = old.roles.iter().find(|o| (&o.code, o.primary) == (&role.code, role.primary));
        role.id = match same {
            Some(same) => same.id,
            None => index::next_instance(draft)?,
        };
    }
    for relationship in new.relationships.iter_mut().filter(|r| r.id == 0) {
        let key = |r: &Relationship| (r.code.clone(), r.target.clone(), r.legal.start);
        let same = old.relationships.iter().find(|o| key(o) == key(relationship));
        relationship.id = match same {
            Some(same) => same.id,
            None => index::next_instance(draft)?,
        };
    }
    for succession in new.successions.iter_mut().filter(|s| s.id == 0) {
        let key = |s: &Succession| (s.predecessor, s.target.clone());
        let same = old.successions.iter().find(|o| key(o) == key(succession));
        succession.id = match same {
            Some(same) => same.id,
            None => index::next_instance(draft)?,
        };
    }
    let ids = |list: &[u64]| list.iter().collect::<std::collections::BTreeSet<_>>().len() == list.len();
    let roles: Vec<u64> = new.roles.iter().map(|r| r.id).collect();
    let relationships: Vec<u64> = new.relationships.iter().map(|r| r.id).collect();
    if !ids(&roles) || !ids(&relationships) {
        return Err(invalid("two roles, or two relationships, have the same id"));
    }
    Ok(())
}
