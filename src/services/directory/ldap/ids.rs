//! What a filter says of ids: whether a part's entries can match at all, and which, where look-up rows tell.
//!
//! Invariant: too much may be promised, never too little; every entry is matched against the whole filter afterwards.

use super::{
    attributes::{ENDPOINT_ATTRIBUTES, ORGANISATION_ATTRIBUTES, SYSTEM_ATTRIBUTES},
    people::{MEMBERSHIP_ATTRIBUTES, PERSON_ATTRIBUTES, PROFESSIONAL, ROLE_ATTRIBUTES, WORKGROUP_ATTRIBUTES},
    plan::Part,
};
use crate::{
    engine::draft::Fault,
    services::directory::{
        find::{Found, How, Term, find},
        registration::with_mail,
        systems::{By, endpoint_ids, system_ids},
        users::lookups::{self, By as Staff},
    },
    store::{Reader, tables::Key},
    wire::ldap::Filter,
};
use std::collections::BTreeSet;

/// Most organisations that a word of a name may stand for, and most people, roles or workgroups that one word lists.
const MOST_NAMED: usize = 5_000;
/// Most people of a name: as many as are looked through for one answer.
const MOST_PEOPLE: usize = super::MAX_LOOKED;

/// Whether entries of a part can match at all: an object class or an attribute that they do not have rules them out, so that a
/// question about nobody here costs no walk through everybody.
pub fn possible(filter: &Filter, part: Part) -> bool {
    let classes: &[&str] = match part {
        Part::Systems => &["top", "nhsas"],
        Part::Endpoints => &["top", "nhsmhs"],
        Part::Organisations => &["top", "organization", "organizationalunit", "nhsorg", "nhssite", "nhsgppractice"],
        Part::People => &["top", "person", "inetorgperson", "nhsperson"],
        Part::Memberships => &["top", "person", "inetorgperson", "nhsorgperson"],
        Part::Roles => &["top", "nhsorgpersonrole"],
        Part::Workgroups => &["top", "nhswg"],
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
fn attributes(part: Part) -> &'static [&'static str] {
    match part {
        Part::Systems => SYSTEM_ATTRIBUTES,
        Part::Endpoints => ENDPOINT_ATTRIBUTES,
        Part::Organisations => ORGANISATION_ATTRIBUTES,
        Part::People => PERSON_ATTRIBUTES,
        Part::Memberships => MEMBERSHIP_ATTRIBUTES,
        Part::Roles => ROLE_ATTRIBUTES,
        Part::Workgroups => WORKGROUP_ATTRIBUTES,
        Part::Fixed => &[],
    }
}

/// Ids in order, where look-up rows give them; `None` where they do not.
pub fn ids(site: &dyn Reader, filter: &Filter, part: Part) -> Result<Option<BTreeSet<String>>, Fault> {
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
        Filter::Parts(name, Some(first), ..) if matches!(part, Part::People | Part::Memberships) => {
            by_name(site, &name.to_ascii_lowercase(), first, false, part)
        }
        _ => Ok(None),
    }
}

/// The rows of one word, by which the filter alone is answered where they are too many to be listed.
pub fn one_word(filter: &Filter, part: Part) -> Option<Key> {
    match filter {
        Filter::And(all) => all.iter().find_map(|one| one_word(one, part)),
        Filter::Equal(name, value) => {
            let value = value.trim().to_ascii_uppercase();
            let by = match (part, name.to_ascii_lowercase().as_str()) {
                (Part::Memberships, "nhsidcode") => Staff::MembersOf,
                (Part::Roles, "nhsidcode") => Staff::RolesAt,
                (Part::Roles, "nhsworkgroupscodes") => Staff::Workgroup,
                _ => return None,
            };
            Some(lookups::key(by, &value))
        }
        _ => None,
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
        (Part::People, "uid") | (Part::Roles | Part::Workgroups, "uniqueidentifier") => {
            Ok(Some([value.to_owned()].into()))
        }
        (Part::Memberships, "uid") => belonging(site, [value.to_owned()].into()).map(Some),
        (Part::Memberships, "uniqueidentifier") => {
            lookups::ids(site, lookups::key(Staff::PersonOrg, value).prefix(), MOST_NAMED)
        }
        (Part::People, "mail") => lookups::ids(site, with_mail(value), MOST_NAMED),
        (Part::People | Part::Memberships, "sn" | "cn" | "givenname") => by_name(site, name, value, true, part),
        (Part::People, _) => match PROFESSIONAL.iter().find(|(_, attribute)| attribute.eq_ignore_ascii_case(name)) {
            Some((id, _)) => lookups::ids(site, lookups::with_professional(id, value), MOST_NAMED),
            None => Ok(None),
        },
        (Part::Memberships | Part::Roles, _) => {
            let rows = one_word(&Filter::Equal(name.to_owned(), value.to_owned()), part);
            rows.map_or(Ok(None), |rows| lookups::ids(site, rows.prefix(), MOST_NAMED))
        }
        (Part::Workgroups, "nhsidcode") => {
            let found = lookups::workgroups(site, lookups::workgroups_at(&value.to_ascii_uppercase()), MOST_NAMED + 1)?;
            Ok(Some(found).filter(|found| found.len() <= MOST_NAMED).map(|found| found.into_iter().collect()))
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

/// People by a name, or where they belong.
fn by_name(
    site: &dyn Reader,
    name: &str,
    value: &str,
    whole: bool,
    part: Part,
) -> Result<Option<BTreeSet<String>>, Fault> {
    let rows = match name {
        "sn" => lookups::named(Staff::FamilyName, value, whole),
        "givenname" => lookups::named(Staff::GivenName, value, whole),
        // The whole of a common name is given and family name: what it begins with says it.
        "cn" => lookups::named(Staff::GivenName, value, false),
        _ => None,
    };
    let people = rows.map(|rows| lookups::ids(site, rows, MOST_PEOPLE)).transpose()?.flatten();
    match people {
        Some(people) if part == Part::Memberships => belonging(site, people).map(Some),
        people => Ok(people),
    }
}

/// Where people belong.
fn belonging(site: &dyn Reader, people: BTreeSet<String>) -> Result<BTreeSet<String>, Fault> {
    let mut all = BTreeSet::new();
    for uid in people {
        let own = lookups::memberships(site, &uid)?;
        all.extend(own.into_iter().map(|(ods, _)| lookups::membership_id(&uid, &ods)));
    }
    Ok(all)
}
