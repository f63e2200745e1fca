//! Search parameters of the R4 Organization → clauses (directory.md §C.1): repeated parameters must all hold, of values
//! with commas between them one.

use super::{
    fhir::Refused,
    resource::{CLASS_SYSTEM, ODS, ROLE_SYSTEM, USE_SYSTEM},
};
use crate::{
    model::day,
    services::directory::find::{Clause, How, RoleKind, Term},
};

/// All that HAPI names in the published error, in its order.
pub const PARAMETERS: &str = "_content, _id, _lastUpdated, _profile, _security, _source, _tag, _text, active, \
    activeRoleCode, address, address-city, address-country, address-postalcode, address-state, address-use, endpoint, \
    identifier, lastChangeDate, name, partof, phonetic, roleCode, type";
/// The same for OrganizationAffiliation (inferred).
pub const AFFILIATION_PARAMETERS: &str =
    "_id, _lastUpdated, active, identifier, participating-organization, primary-organization";
/// Parameters about the answer, not about what is looked for.
pub const CONTROLS: &[&str] =
    &["_count", "_format", "_summary", "_total", "_sort", "_pretty", "_include", "_getpagesoffset", "_elements"];
/// Most values of one parameter, and most parameters: one question is no bulk export (P6).
const MOST_VALUES: usize = 64;

/// One parameter as clauses.
pub fn clause(name: &str, value: &str) -> Result<Clause, Refused> {
    let (base, modifier) = name.split_once(':').unwrap_or((name, ""));
    let how = match modifier {
        "" => How::Begins,
        "contains" => How::Contains,
        "exact" => How::Exact,
        _ => return Err(Refused::unknown_parameter(name, "Organization", PARAMETERS)),
    };
    let is_text = base == "name" || base == "phonetic" || base.starts_with("address");
    if !modifier.is_empty() && !is_text {
        return Err(Refused::unknown_parameter(name, "Organization", PARAMETERS));
    }
    let values: Vec<&str> = value.split(',').map(str::trim).filter(|v| !v.is_empty()).collect();
    if values.len() > MOST_VALUES {
        return Err(Refused::invalid(format!("HAPI-0400: at most {MOST_VALUES} values for \"{name}\"")));
    }
    values.into_iter().map(|value| term(name, base, how, value)).collect()
}

fn term(name: &str, base: &str, how: How, value: &str) -> Result<Term, Refused> {
    let text = value.to_owned();
    Ok(match base {
        "_id" => Term::Code(value.to_ascii_uppercase()),
        "identifier" => token(value, &[ODS]).map_or(Term::Never, |code| Term::Code(code.to_ascii_uppercase())),
        "active" => match token(value, &[]) {
            Some("true") => Term::Active(true),
            Some("false") => Term::Active(false),
            _ => Term::Never,
        },
        "type" => kind(value),
        "name" | "phonetic" => Term::Name(how, text),
        "lastChangeDate" | "_lastUpdated" => changed(value)?,
        "roleCode" => role(value, false),
        "activeRoleCode" => role(value, true),
        "address" => Term::Address(how, text),
        "address-city" => Term::Town(how, text),
        "address-state" => Term::County(how, text),
        "address-postalcode" => Term::Postcode(how, text),
        "address-country" => Term::Country(how, text),
        // Known to the server, and nothing of ours has them: no organisation matches.
        "_content" | "_profile" | "_security" | "_source" | "_tag" | "_text" | "address-use" | "endpoint"
        | "partof" => Term::Never,
        _ => return Err(Refused::unknown_parameter(name, "Organization", PARAMETERS)),
    })
}

/// A token's code, if its system is one of these or none is named.
pub fn token<'a>(value: &'a str, systems: &[&str]) -> Option<&'a str> {
    match value.rsplit_once('|') {
        None => Some(value),
        Some((system, code)) => (system.is_empty() || systems.contains(&system)).then_some(code),
    }
}

fn kind(value: &str) -> Term {
    match (token(value, &[USE_SYSTEM]), token(value, &[CLASS_SYSTEM])) {
        (Some("Full"), _) => Term::RefOnly(false),
        (Some("RefOnly"), _) => Term::RefOnly(true),
        (_, Some("RC1")) => Term::Class(1),
        (_, Some("RC2")) => Term::Class(2),
        _ => Term::Never,
    }
}

fn role(value: &str, active_only: bool) -> Term {
    let kind = RoleKind { active_only, ..Default::default() };
    token(value, &[ROLE_SYSTEM]).map_or(Term::Never, |code| Term::Role(code.to_owned(), kind))
}

/// `eq`, `lt`, `gt`, `le`, `ge` with a year, month, day or moment, of which the day counts.
pub fn changed(value: &str) -> Result<Term, Refused> {
    let bad = || Refused::invalid(format!("HAPI-1940: Invalid date/time/quantity format: \"{value}\""));
    let (prefix, date) = match value.get(..2) {
        Some(p @ ("eq" | "lt" | "gt" | "le" | "ge")) => (p, &value[2..]),
        _ => ("eq", value),
    };
    let date = date.split('T').next().unwrap_or(date);
    let (first, last) = span(date).ok_or_else(bad)?;
    Ok(match prefix {
        "lt" => Term::Changed(1, first - 1),
        "le" => Term::Changed(1, last),
        "gt" => Term::Changed(last + 1, u32::MAX),
        "ge" => Term::Changed(first, u32::MAX),
        _ => Term::Changed(first, last),
    })
}

/// The first and last day number of `2023`, `2023-08` or `2023-08-22`.
fn span(date: &str) -> Option<(u32, u32)> {
    match date.len() {
        4 => date.parse().ok().filter(|y| (1..=9_999).contains(y)).map(|y: u32| (y * 10_000, y * 10_000 + 1_231)),
        7 => day::parse(&format!("{date}-01")).map(|first| (first - 1, first + 30)),
        10 => day::parse(date).map(|day| (day, day)),
        _ => None,
    }
}
