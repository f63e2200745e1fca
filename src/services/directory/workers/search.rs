//! Search parameters of Practitioner and PractitionerRole (directory.md §C.5): repeated parameters must all hold, of values with commas
//! between them one.

use super::{Ids, MOST, PRACTITIONER, PRACTITIONER_PARAMETERS, ROLE, ROLE_PARAMETERS, resource};
use crate::{
    engine::draft::Fault,
    services::directory::{
        index::fold,
        ods::{
            fhir::{Control, Refused, control},
            resource::ODS,
            search::{CONTROLS, token},
        },
        users::{
            self, RoleProfile, User,
            lookups::{self, By},
        },
    },
    store::Reader,
};

/// Most values of one parameter.
const MOST_VALUES: usize = 64;

/// One thing that may hold of a person or a role profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A person, by user id.
    Person(String),
    /// A professional id, named as a row names it.
    Professional(&'static str, String),
    /// What a name begins with, folded: the family name's or the given name's.
    Name(String),
    /// A role profile, by its id.
    Role(String),
    Organisation(String),
    /// Of a system that nobody here has an identifier of.
    Nobody,
}

/// Clauses that must all hold, each of words of which one must.
pub struct Question(pub Vec<Vec<Word>>);

impl Question {
    pub fn holds(&self, is: impl Fn(&Word) -> bool) -> bool {
        self.0.iter().all(|clause| clause.iter().any(&is))
    }
}

impl Word {
    /// User ids that it may be about; `None` for too many.
    pub fn people(&self, site: &dyn Reader) -> Result<Option<Ids>, Fault> {
        Ok(match self {
            Word::Person(uid) => Some([uid.clone()].into()),
            Word::Professional(name, value) => lookups::ids(site, lookups::with_professional(name, value), MOST)?,
            Word::Name(folded) => {
                let mut all = Some(Ids::new());
                for rows in
                    [By::FamilyName, By::GivenName].into_iter().filter_map(|by| lookups::named(by, folded, false))
                {
                    let these = lookups::ids(site, rows, MOST)?;
                    all = all.zip(these).map(|(a, b)| &a | &b);
                }
                all
            }
            _ => Some(Ids::new()),
        })
    }

    /// The same of role profiles.
    pub fn profiles(&self, site: &dyn Reader) -> Result<Option<Ids>, Fault> {
        Ok(match self {
            Word::Role(urp) => Some([urp.clone()].into()),
            Word::Organisation(ods) => lookups::ids(site, lookups::key(By::RolesAt, ods).prefix(), MOST)?,
            Word::Person(uid) => Some(users::roles_of(site, uid)?.into_iter().map(|(urp, _)| urp).collect()),
            Word::Professional(..) => {
                let mut all = Ids::new();
                for uid in self.people(site)?.unwrap_or_default() {
                    all.extend(users::roles_of(site, &uid)?.into_iter().map(|(urp, _)| urp));
                }
                Some(all)
            }
            _ => Some(Ids::new()),
        })
    }

    pub fn is_person(&self, uid: &str, row: &User) -> bool {
        match self {
            Word::Person(wanted) => wanted == uid,
            Word::Professional(name, value) => {
                row.professional.iter().any(|a| a.name == *name && a.value.eq_ignore_ascii_case(value))
            }
            Word::Name(folded) => {
                let (family, given) = (fold(&row.family), fold(&row.given));
                [format!("{family} {given}"), format!("{given} {family}")].iter().any(|name| name.starts_with(folded))
            }
            _ => false,
        }
    }

    pub fn is_role(&self, urp: &str, row: &RoleProfile) -> bool {
        match self {
            Word::Role(wanted) => wanted == urp,
            Word::Organisation(ods) => row.ods == *ods,
            Word::Person(uid) => row.uid == *uid,
            // Look-ups of professional ids are exact, and the profile's row has none to compare.
            Word::Professional(..) => true,
            _ => false,
        }
    }
}

/// The parameters of a search for one of the two.
pub fn question(pairs: &[(String, String)], kind: &'static str) -> Result<(Control, Question), Refused> {
    let mut clauses = vec![];
    for (name, value) in pairs.iter().filter(|(name, _)| !CONTROLS.contains(&name.as_str())) {
        let values: Vec<&str> = value.split(',').map(str::trim).filter(|v| !v.is_empty()).collect();
        if values.len() > MOST_VALUES {
            return Err(Refused::invalid(format!("HAPI-0400: at most {MOST_VALUES} values for \"{name}\"")));
        }
        let words = values.into_iter().map(|value| word(kind, name, value)).collect::<Result<Vec<_>, _>>()?;
        // A parameter without a value says nothing; one that nobody knows is refused all the same.
        if words.is_empty() {
            word(kind, name, "")?;
        }
        clauses.extend(Some(words).filter(|words| !words.is_empty()));
    }
    if clauses.is_empty() {
        // Who works here is looked up, not listed.
        return Err(Refused::invalid(format!("A search for {kind} names one of: {}", parameters(kind))));
    }
    Ok((control(pairs)?, Question(clauses)))
}

fn parameters(kind: &str) -> &'static str {
    if kind == PRACTITIONER { PRACTITIONER_PARAMETERS } else { ROLE_PARAMETERS }
}

fn word(kind: &'static str, name: &str, value: &str) -> Result<Word, Refused> {
    let role = kind == ROLE;
    Ok(match name {
        "_id" if role => Word::Role(value.to_owned()),
        "_id" => Word::Person(value.to_owned()),
        "identifier" if role => {
            token(value, &[resource::ROLE_PROFILE]).map_or(Word::Nobody, |urp| Word::Role(urp.into()))
        }
        "identifier" => person(value),
        "name" if !role => Some(fold(value)).filter(|folded| !folded.is_empty()).map_or(Word::Nobody, Word::Name),
        "practitioner" | "practitioner:identifier" | "practitioner.identifier" if role => {
            person(reference(value, PRACTITIONER))
        }
        "organization" | "organization:identifier" | "organization.identifier" if role => {
            let code = token(reference(value, "Organization"), &[ODS]);
            code.map_or(Word::Nobody, |code| Word::Organisation(code.to_ascii_uppercase()))
        }
        _ => return Err(Refused::unknown_parameter(name, kind, parameters(kind))),
    })
}

/// The id at the end of a reference to a resource; what is none, as it is.
fn reference<'a>(value: &'a str, kind: &str) -> &'a str {
    match value.rsplit_once('/') {
        Some((before, id)) if before.rsplit('/').next() == Some(kind) => id,
        _ => value,
    }
}

/// A person's identifier: of a system, or a user id.
fn person(value: &str) -> Word {
    match value.rsplit_once('|') {
        None | Some(("" | resource::USER, _)) => Word::Person(value.rsplit('|').next().unwrap_or_default().to_owned()),
        Some((system, id)) => {
            let known = resource::PROFESSIONAL.iter().find(|(_, known)| *known == system);
            known.map_or(Word::Nobody, |(name, _)| Word::Professional(name, id.to_owned()))
        }
    }
}
