//! What a request has come to (spec/pds.md §17.4, §17.5): by number it is a cross-check, else a search of which only a unique hit counts.

use super::{Operation, request::Request};
use crate::{
    engine::draft::Fault,
    model::NhsNumber,
    services::pds::{
        fhir::{Object, items, text},
        names::{self, fold, matches_pattern},
        query::Query,
        rows::{CURRENT_NAMES, Person, Sensitivity, given_names},
        search::{self, Found},
        trace::{Checked, birth, by_number, gender_word},
    },
    store::Reader,
};

pub const SUCCESS: &str = "SMSP-0000";
pub const FAILED_VALIDATION: &str = "SMSP-0001";
/// The envelope names another system than the one that sends it.
pub const AUTHOR: &str = "SMSP-0005";
const NO_MATCH: &str = "DEMOG-0001";
const SEVERAL: &str = "DEMOG-0007";
const SUPERSEDED: &str = "DEMOG-0017";
const INVALIDATED: &str = "DEMOG-0022";
const NOT_VERIFIED: &str = "DEMOG-0040";
const NOT_NEW_STYLE: &str = "DEMOG-0042";

/// Code, and the person whom the answer shows.
pub struct Outcome {
    pub code: &'static str,
    pub person: Option<(NhsNumber, Person)>,
    /// Of a verification: whether number and birth date (and name) belong together.
    pub valid: bool,
}

fn code(code: &'static str) -> Result<Outcome, Fault> {
    Ok(Outcome { code, person: None, valid: false })
}

pub fn find(views: &[&dyn Reader], request: &Request) -> Result<Outcome, Fault> {
    match (request.operation, request.nhs.is_empty()) {
        (Operation::Verify | Operation::DetailsByNumber, _) | (Operation::Details, false) => number(views, request),
        _ => search(views, request),
    }
}

/// Number and birth date, and the name where one is given.
fn number(views: &[&dyn Reader], request: &Request) -> Result<Outcome, Fault> {
    let verify = request.operation == Operation::Verify;
    if NhsNumber::strict(&request.nhs).is_none() {
        return code(NOT_NEW_STYLE);
    }
    let (nhs, person, moved) = match by_number(views, &request.nhs)? {
        Checked::Is(nhs, person, moved) => (nhs, *person, moved),
        Checked::Invalidated => return code(INVALIDATED),
        // Nothing could be compared.
        Checked::No => return code(if verify { NOT_VERIFIED } else { NO_MATCH }),
    };
    let stored = person.stored()?;
    let born = birth(&stored);
    if person.sensitivity() == Sensitivity::VeryRestricted || born == 0 {
        return code(if verify { NOT_VERIFIED } else { NO_MATCH });
    }
    let valid = (request.born.0..=request.born.1).contains(&born) && named(request, &stored);
    let code_of = if moved { SUPERSEDED } else { SUCCESS };
    match (valid, verify) {
        (true, _) | (false, true) => {
            Ok(Outcome { code: if valid { code_of } else { SUCCESS }, person: Some((nhs, person)), valid })
        }
        (false, false) => code(NOT_VERIFIED),
    }
}

/// Whether one of the record's names is the one that is given, wildcards allowed.
fn named(request: &Request, stored: &Object) -> bool {
    let (family, given) = (fold(&request.family), fold(&request.given));
    let current = items(stored, "name").iter().filter(|name| CURRENT_NAMES.contains(&text(name, "use")));
    let agrees = |name: &serde_json::Value| {
        matches_pattern(&family, &fold(text(name, "family")))
            && (given.is_empty() || given_names(name).first().is_some_and(|first| matches_pattern(&given, first)))
    };
    family.is_empty() || current.into_iter().any(agrees)
}

fn search(views: &[&dyn Reader], request: &Request) -> Result<Outcome, Fault> {
    let query = Query {
        // Two are too many.
        max: 1,
        family: Some(fold(&request.family)),
        given: Some(fold(&request.given)).filter(|given| !given.is_empty()).into_iter().collect(),
        gender: gender_word(&request.gender).map(str::to_owned),
        born: request.born,
        postcode: Some(names::postcode(&request.postcode)).filter(|code| !code.is_empty()),
        ..Default::default()
    };
    let Found::People(mut hits) = search::find(views, &query)? else { return code(SEVERAL) };
    match (hits.pop(), hits.is_empty()) {
        (None, _) => code(NO_MATCH),
        (Some(_), false) => code(SEVERAL),
        (Some(hit), true) => Ok(Outcome { code: SUCCESS, person: Some((hit.nhs, hit.person)), valid: true }),
    }
}
