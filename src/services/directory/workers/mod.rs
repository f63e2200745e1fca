//! The healthcare-worker look-up in FHIR R4 (directory.md §C.5): read and search of Practitioner and PractitionerRole over the rows of
//! people who work here. Requests, errors and bundles as the organisations' R4 face has them. Reads rows, writes nothing;
//! says whom an answer shows, for the audit trail.
//!
//! | file | duty |
//! |---|---|
//! | `search` | query parameters → who is looked for |
//! | `resource` | rows as Practitioner and PractitionerRole |
//!
//! Invariants: who has only applied is not shown, nor anything that a person proves themself by; a search names somebody or some
//! organisation, and one that would go through more than [`MOST`] people is refused (P6).

mod resource;
mod search;

use super::{
    http::{Answer, Asked},
    ods::fhir::{self, Not, Refused},
    users::{self, RoleProfile, User, lookups::listed},
};
use crate::{engine::draft::Fault, store::Reader, wire::tree::Node};
use search::{Question, Word};

/// Most people or role profiles that one search goes through.
pub const MOST: usize = 10_000;
pub const PRACTITIONER: &str = "Practitioner";
pub const ROLE: &str = "PractitionerRole";
/// Search parameters of each, as the capability statement tells them.
pub const PRACTITIONER_PARAMETERS: &str = "_id, identifier, name";
pub const ROLE_PARAMETERS: &str = "_id, identifier, organization, practitioner";

/// Answers a request; `rest` begins with the resource's type.
pub fn answer(site: &dyn Reader, asked: &Asked, rest: &str) -> Result<Answer, Fault> {
    let mut people = vec![];
    let mut answer = fhir::told(asked, resource(site, asked, rest, &mut people))?;
    people.sort_unstable();
    people.dedup();
    answer.people = people;
    Ok(answer)
}

/// `people`: whom it shows.
fn resource(site: &dyn Reader, asked: &Asked, rest: &str, people: &mut Vec<String>) -> Result<Node, Not> {
    let parts: Vec<&str> = rest.trim_matches('/').split('/').collect();
    let post = match asked.method.as_str() {
        "GET" => false,
        "POST" => true,
        method => return Err(Refused::method(method).into()),
    };
    match parts[..] {
        [PRACTITIONER] | [PRACTITIONER, "_search"] => practitioners(site, asked, people),
        [ROLE] | [ROLE, "_search"] => roles(site, asked, people),
        [PRACTITIONER, uid] if !post => {
            let row = listed(site, uid)?.ok_or_else(|| Refused::unknown(PRACTITIONER, uid))?;
            people.push(uid.to_owned());
            Ok(resource::practitioner(uid, &row))
        }
        [ROLE, urp] if !post => {
            let (row, user) = profile(site, urp)?.ok_or_else(|| Refused::unknown(ROLE, urp))?;
            people.push(row.uid.clone());
            Ok(resource::role(site, asked, urp, &row, &user)?)
        }
        [PRACTITIONER | ROLE, _] => Err(Refused::method(&asked.method).into()),
        _ => Err(Refused::unknown(parts.first().unwrap_or(&""), &parts[1..].join("/")).into()),
    }
}

/// A role profile and whose it is.
fn profile(site: &dyn Reader, urp: &str) -> Result<Option<(RoleProfile, User)>, Fault> {
    let Some(row) = users::role(site, urp)? else { return Ok(None) };
    Ok(listed(site, &row.uid)?.map(|user| (row, user)))
}

fn practitioners(site: &dyn Reader, asked: &Asked, people: &mut Vec<String>) -> Result<Node, Not> {
    let (control, question) = search::question(&asked.pairs(), PRACTITIONER)?;
    let mut found = vec![];
    for uid in candidates(site, &question, Word::people)? {
        if let Some(row) = listed(site, &uid)?
            && question.holds(|word| word.is_person(&uid, &row))
        {
            found.push((uid, row));
        }
    }
    let total = found.len();
    let mut shown = vec![];
    for (uid, row) in found.into_iter().skip(control.offset).take(control.shown()) {
        shown.push((format!("{PRACTITIONER}/{uid}"), resource::practitioner(&uid, &row)));
        people.push(uid);
    }
    Ok(fhir::bundle(asked, &control, total, total, shown, vec![]))
}

fn roles(site: &dyn Reader, asked: &Asked, people: &mut Vec<String>) -> Result<Node, Not> {
    let (control, question) = search::question(&asked.pairs(), ROLE)?;
    let mut found = vec![];
    for urp in candidates(site, &question, Word::profiles)? {
        if let Some((row, user)) = profile(site, &urp)?
            && question.holds(|word| word.is_role(&urp, &row))
        {
            found.push((urp, row, user));
        }
    }
    let total = found.len();
    let mut shown = vec![];
    for (urp, row, user) in found.into_iter().skip(control.offset).take(control.shown()) {
        shown.push((format!("{ROLE}/{urp}"), resource::role(site, asked, &urp, &row, &user)?));
        people.push(row.uid);
    }
    Ok(fhir::bundle(asked, &control, total, total, shown, vec![]))
}

/// Ids for which every parameter may hold, in order; what look-ups promise is proved on the rows.
fn candidates(
    site: &dyn Reader,
    question: &Question,
    ids: impl Fn(&Word, &dyn Reader) -> Result<Option<Ids>, Fault>,
) -> Result<Ids, Not> {
    let mut found: Option<Ids> = None;
    for clause in &question.0 {
        let mut any = Some(Ids::new());
        for word in clause {
            any = match (any, ids(word, site)?) {
                (Some(mut all), Some(these)) => {
                    all.extend(these);
                    Some(all)
                }
                _ => None,
            };
        }
        found = match (found, any) {
            (Some(before), Some(these)) => Some(before.intersection(&these).cloned().collect()),
            (before, these) => before.or(these),
        };
    }
    found.filter(|found| found.len() <= MOST).ok_or_else(|| Refused::too_many_people().into())
}

type Ids = std::collections::BTreeSet<String>;
