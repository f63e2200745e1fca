//! The EHIC card as it comes in (spec/pds.md §13): whose, and the checks in their order.

use super::{
    access::Mode,
    fhir::{NHS_NUMBER, Object},
    query::real_day,
    refusal::{self, Problem, shown},
    routes::pairs,
    shapes,
};
use crate::{access::caller::Caller, model::NhsNumber};
use serde_json::{Value, json};

/// Years that an end may lie from 2026: 150 either way of any day this program runs on is more than a card lives.
const YEARS: (u32, u32) = (1876, 2176);

/// The one parameter of a GET, the caller's own number.
pub fn subscriber(query: &str, mode: Mode, caller: &Caller) -> Result<NhsNumber, Problem> {
    if mode != Mode::Patient {
        return Err(Problem::no_operation("GET", mode.word()));
    }
    let wrong = || {
        let text = "Invalid search data provided - 'Coverage search request must follow the format \
                    /Coverage?subscriber:identifier=NHS_NUMBER'";
        Problem::says(&refusal::INVALID_SEARCH_DATA, text)
    };
    match pairs(query).as_slice() {
        [(name, value)] if name == "subscriber:identifier" && !value.is_empty() => {
            let value = value.strip_prefix(&format!("{NHS_NUMBER}|")).unwrap_or(value);
            if value != caller.own_record() {
                return Err(Problem::patient_denied());
            }
            NhsNumber::strict(value).ok_or(Problem::plain(&refusal::INVALID_RESOURCE_ID))
        }
        _ => Err(wrong()),
    }
}

fn at<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    body.pointer(&format!("/{path}")).filter(|v| !v.is_null() && v.as_str() != Some(""))
}

fn plain(value: &Value, longest: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-,/:'. ".contains(c);
    value.as_str().is_some_and(|text| (1..=longest).contains(&text.len()) && text.chars().all(allowed))
}

const MEMBERS: [&str; 7] = ["resourceType", "status", "subscriber", "identifier", "payor", "beneficiary", "period"];

/// A card that may be stored, and its person.
pub fn checked(body: &Value, caller: &Caller) -> Result<(NhsNumber, Object), Problem> {
    let Some(members) = body.as_object() else {
        return Err(Problem::says(&refusal::VALIDATION_ERROR, "Validation error - the body is not an object"));
    };
    let unknown: Vec<&str> = members.keys().map(String::as_str).filter(|m| !MEMBERS.contains(m)).collect();
    if !unknown.is_empty() {
        return Err(Problem::additional(&unknown));
    }
    let needed =
        ["identifier/0/value", "status", "subscriber/identifier/value", "beneficiary/identifier/value", "period"];
    if let Some(missing) = needed.into_iter().find(|path| at(body, path).is_none()) {
        return Err(Problem::missing(missing));
    }
    let invalid = |path: &str, field: &str| Problem::invalid(&shown(at(body, path).unwrap_or(&Value::Null)), field);
    if !at(body, "period").is_some_and(Value::is_object) {
        return Err(invalid("period", "period"));
    }
    let end = at(body, "period/end").and_then(Value::as_str).and_then(real_day);
    if !end.is_some_and(|day| (YEARS.0..=YEARS.1).contains(&(day / 10_000))) {
        return Err(invalid("period/end", "period/end"));
    }
    let checks = [
        ("identifier/0/value", "identifier/value", 25),
        ("beneficiary/identifier/value", "beneficiary/identifier/value", 25),
        ("payor/0/identifier/value", "payor/0/identifier/value", 30),
    ];
    for (path, field, longest) in checks {
        if !at(body, path).is_some_and(|value| plain(value, longest)) {
            return Err(invalid(path, field));
        }
    }
    if at(body, "status").and_then(Value::as_str) != Some("active") {
        return Err(invalid("status", "status"));
    }
    if body["payor"].as_array().is_none_or(|list| list.len() != 1) {
        return Err(Problem::says(&refusal::TOO_MANY_VALUES, too_many(&body["payor"], "payor")));
    }
    closed(members)?;
    let mut card = members.clone();
    country(&mut card)?;
    let number = at(body, "subscriber/identifier/value").and_then(Value::as_str).unwrap_or_default();
    if number != caller.own_record() {
        return Err(Problem::patient_denied());
    }
    let nhs = NhsNumber::strict(number)
        .ok_or_else(|| invalid("subscriber/identifier/value", "subscriber/identifier/value"))?;
    card.remove("resourceType");
    Ok((nhs, card))
}

/// One card, with no member but those of the table, below each of them as well.
fn closed(card: &Object) -> Result<(), Problem> {
    let many = |field: &str| Err(Problem::says(&refusal::TOO_MANY_VALUES, too_many(&card[field], field)));
    if card["identifier"].as_array().is_none_or(|list| list.len() != 1) {
        return many("identifier");
    }
    let below = |value: &Value, path: &str, allowed: &[&str]| shapes::object(value, path, allowed).map(|_| ());
    below(&card["subscriber"], "subscriber", &["identifier"])?;
    below(&card["subscriber"]["identifier"], "subscriber/identifier", &["system", "value"])?;
    let system = &card["subscriber"]["identifier"]["system"];
    if !system.is_null() && system != NHS_NUMBER {
        return Err(Problem::invalid(&shown(system), "subscriber/identifier/system"));
    }
    below(&card["beneficiary"], "beneficiary", &["identifier"])?;
    below(&card["beneficiary"]["identifier"], "beneficiary/identifier", &["value"])?;
    below(&card["payor"][0], "payor/0", &["identifier"])?;
    below(&card["payor"][0]["identifier"], "payor/0/identifier", &["value"])?;
    below(&card["period"], "period", &["end"])?;
    below(&card["identifier"][0], "identifier/0", &["value", "assigner"])?;
    let assigner = &card["identifier"][0]["assigner"];
    if assigner.pointer("/identifier/value").is_none_or(Value::is_null) {
        return Err(Problem::missing("identifier/0/assigner/identifier/value"));
    }
    below(assigner, "identifier/0/assigner", &["identifier", "display"])?;
    below(&assigner["identifier"], "identifier/0/assigner/identifier", &["system", "value"])?;
    match &assigner["identifier"]["system"] {
        Value::Null => Err(Problem::missing("identifier/0/assigner/identifier/system")),
        system if system == COUNTRY_SYSTEM => Ok(()),
        system => Err(Problem::invalid(&shown(system), "identifier/0/assigner/identifier/system")),
    }
}

const COUNTRY_SYSTEM: &str = "urn:iso:std:iso:3166";

/// The issuing country by its code; its name is ours to add, and a caller's is not kept.
fn country(card: &mut Object) -> Result<(), Problem> {
    let Some(assigner) = card.get_mut("identifier").and_then(|i| i.pointer_mut("/0/assigner")) else { return Ok(()) };
    assigner.as_object_mut().map(|a| a.remove("display"));
    let code = assigner.pointer("/identifier/value").cloned().unwrap_or_default();
    let known = code.as_str().filter(|c| c.len() == 3 && c.bytes().all(|b| b.is_ascii_uppercase()));
    let Some(code) = known else {
        return Err(Problem::invalid(&shown(&code), "identifier/0/assigner/identifier/value"));
    };
    let name = COUNTRIES.iter().find(|(c, _)| *c == code).map(|(_, name)| *name);
    if let (Some(name), Some(assigner)) = (name, assigner.as_object_mut()) {
        assigner.insert("display".into(), json!(name));
    }
    Ok(())
}

/// Countries that issue the card: ISO 3166-1 alpha-3.
const COUNTRIES: [(&str, &str); 33] = [
    ("AUT", "Austria"),
    ("BEL", "Belgium"),
    ("BGR", "Bulgaria"),
    ("CHE", "Switzerland"),
    ("CYP", "Cyprus"),
    ("CZE", "Czechia"),
    ("DEU", "Germany"),
    ("DNK", "Denmark"),
    ("ESP", "Spain"),
    ("EST", "Estonia"),
    ("FIN", "Finland"),
    ("FRA", "France"),
    ("GBR", "United Kingdom"),
    ("GRC", "Greece"),
    ("HRV", "Croatia"),
    ("HUN", "Hungary"),
    ("IRL", "Ireland"),
    ("ISL", "Iceland"),
    ("ITA", "Italy"),
    ("LIE", "Liechtenstein"),
    ("LTU", "Lithuania"),
    ("LUX", "Luxembourg"),
    ("LVA", "Latvia"),
    ("MLT", "Malta"),
    ("NLD", "Netherlands"),
    ("NOR", "Norway"),
    ("POL", "Poland"),
    ("PRT", "Portugal"),
    ("ROU", "Romania"),
    ("SVK", "Slovakia"),
    ("SVN", "Slovenia"),
    ("SWE", "Sweden"),
    ("TUR", "Turkey"),
];

/// `Too many values submitted - [...] in field '<path>'`.
pub fn too_many(list: &Value, field: &str) -> String {
    format!("Too many values submitted - {} in field '{field}'", refusal::shown(list))
}
