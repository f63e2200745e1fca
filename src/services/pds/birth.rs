//! A birth notification (spec/pds.md §11): a Bundle of ten entries at least, in a fixed order, to the child's record.

use super::{
    countries::is_country,
    create,
    fhir::{self, BIRTH_PLACE, NHS_NUMBER, Object, text},
    periods,
    query::real_day,
    refusal::{self, Problem, shown},
    shapes,
};
use crate::model::NhsNumber;
use serde_json::{Value, json};

/// Entries that must be there.
const ENTRIES: usize = 10;
const TYPES: [&str; ENTRIES] = [
    "Patient",
    "Observation",
    "Observation",
    "Observation",
    "Observation",
    "Observation",
    "RelatedPerson",
    "Patient",
    "Organization",
    "Location",
];

/// The child's members to store, and the mother's number.
pub fn checked(body: &Value) -> Result<(Object, NhsNumber), Problem> {
    if text(body, "resourceType") != "Bundle" {
        return Err(Problem::invalid(text(body, "resourceType"), "resourceType"));
    }
    if text(body, "type") != "transaction" {
        return Err(Problem::invalid(text(body, "type"), "type"));
    }
    let entries = body["entry"].as_array().map_or(&[][..], Vec::as_slice);
    if entries.len() < ENTRIES {
        let text = "Too few values submitted - <json too long to display> in field 'entry'";
        return Err(Problem::says(&refusal::TOO_FEW_VALUES, text));
    }
    for (n, wanted) in TYPES.iter().enumerate() {
        let found = &entries[n]["resource"]["resourceType"];
        if found.as_str() != Some(*wanted) {
            return Err(Problem::invalid(&shown(found), &format!("entry/{n}/resource/resourceType")));
        }
    }
    let child = child(&entries[0]["resource"])?;
    observations(entries)?;
    let live = entries[2].pointer("/resource/valueCodeableConcept/coding/0/code").and_then(Value::as_str) == Some("1");
    let extensions =
        entries[0]["resource"].as_object().and_then(|baby| fhir::extension(baby, fhir::DEATH_NOTIFICATION));
    let formal = extensions.and_then(|e| fhir::sub_code(e, "deathNotificationStatus")) == Some("2");
    if live && formal {
        let text = "Insert Birth - Death Status Inconsistent";
        return Err(Problem::says(&refusal::BIRTH_DEATH_INCONSISTENT, text));
    }
    Ok((child, mother(&entries[7]["resource"])?))
}

fn mother(resource: &Value) -> Result<NhsNumber, Problem> {
    const PATH: &str = "entry/7/resource/identifier/0/value";
    let given = resource.pointer("/identifier/0/value").ok_or_else(|| Problem::missing(PATH))?;
    let right = resource.pointer("/identifier/0/system").and_then(Value::as_str) == Some(NHS_NUMBER);
    let number = given.as_str().filter(|_| right).and_then(NhsNumber::strict);
    number.ok_or_else(|| Problem::invalid(&shown(given), PATH))
}

fn observations(entries: &[Value]) -> Result<(), Problem> {
    let whole = |n: usize, path: &str, from: i64, to: i64| {
        let field = format!("entry/{n}/resource/{path}");
        let Some(value) = entries[n].pointer(&format!("/resource/{path}")) else {
            return Err(Problem::missing(&field));
        };
        // The published requests send numbers as numbers or as text.
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        match number.is_some_and(|n| (from..=to).contains(&n)) {
            true => Ok(()),
            false => Err(Problem::invalid(&shown(value), &field)),
        }
    };
    let coded = |n: usize, allowed: &[&str]| {
        let field = format!("entry/{n}/resource/valueCodeableConcept/coding/0/code");
        let Some(value) = entries[n].pointer("/resource/valueCodeableConcept/coding/0/code") else {
            return Err(Problem::missing(&field));
        };
        match allowed.contains(&value.as_str().unwrap_or_default()) {
            true => Ok(()),
            false => Err(Problem::invalid(&shown(value), &field)),
        }
    };
    whole(1, "valueQuantity/value", 1, 9_999)?;
    coded(2, &["1", "2", "3", "4"])?;
    whole(3, "valueQuantity/value", 1, 50)?;
    whole(4, "valueInteger", 1, 9)?;
    coded(5, &["Y", "N"])
}

/// The child's record: name, gender, birth date, address, order of birth, place of birth.
fn child(baby: &Value) -> Result<Object, Problem> {
    let at = |path: &str| format!("entry/0/resource/{path}");
    let Some(members) = baby.as_object() else { return Err(Problem::missing(&at(""))) };
    for needed in ["name", "gender", "birthDate", "address"] {
        if members.get(needed).is_none_or(Value::is_null) {
            return Err(Problem::missing(&at(needed)));
        }
    }
    let prefixed = |problem: Problem| {
        let diagnostics = problem.diagnostics.replace("in field '", "in field 'entry/0/resource/");
        let diagnostics = diagnostics.replace("Missing value - '", "Missing value - 'entry/0/resource/");
        let diagnostics = diagnostics.replace("are not allowed ('", "are not allowed ('entry/0/resource/");
        Problem { diagnostics, ..problem }
    };
    if !["male", "female", "unknown"].contains(&text(baby, "gender")) {
        return Err(Problem::invalid(&shown(&baby["gender"]), &at("gender")));
    }
    if real_day(text(baby, "birthDate")).is_none() {
        return Err(Problem::invalid(&shown(&baby["birthDate"]), &at("birthDate")));
    }
    let order = &baby["multipleBirthInteger"];
    let order = match order.as_u64().or_else(|| order.as_str()?.parse().ok()) {
        Some(order @ 1..=9) => Some(order),
        None if order.is_null() => None,
        _ => return Err(Problem::invalid(&shown(order), &at("multipleBirthInteger"))),
    };
    let mut addresses = create::addresses(members).map_err(prefixed)?;
    create::authority(members).map_err(prefixed)?;
    for address in &mut addresses {
        address.remove("id");
    }
    let name = name(&baby["name"][0])?;
    shapes::new_items("name", std::slice::from_ref(&name)).map_err(prefixed)?;
    shapes::new_items("address", &addresses).map_err(prefixed)?;
    let mut stored = Object::new();
    stored.insert("name".into(), json!([tidied(name)]));
    stored.insert("gender".into(), baby["gender"].clone());
    stored.insert("birthDate".into(), baby["birthDate"].clone());
    stored.insert("address".into(), create::stored_addresses(addresses));
    if let Some(order) = order {
        stored.insert("multipleBirthInteger".into(), json!(order));
    }
    if let Some(place) = fhir::extension(members, BIRTH_PLACE).and_then(|e| e["valueAddress"].as_object()) {
        let place: Object = place
            .iter()
            .filter(|(m, _)| ["city", "district", "country"].contains(&m.as_str()))
            .map(|(m, v)| (m.clone(), v.clone()))
            .collect();
        if let Some((member, value)) = place.iter().find(|(_, value)| !value.is_string()) {
            return Err(Problem::invalid(&shown(value), &at(&format!("extension/valueAddress/{member}"))));
        }
        if let Some(country) = place.get("country").and_then(Value::as_str).filter(|code| !is_country(code)) {
            return Err(Problem::invalid(country, &at("extension/valueAddress/country")));
        }
        if !place.is_empty() {
            stored.insert("extension".into(), json!([{"url": BIRTH_PLACE, "valueAddress": place}]));
        }
    }
    Ok(fhir::stored_part(stored))
}

fn name(given: &Value) -> Result<Object, Problem> {
    let field = |member: &str| format!("entry/0/resource/name/0/{member}");
    let Some(mut name) = given.as_object().cloned() else { return Err(Problem::missing(&field("family"))) };
    match name.get("family") {
        Some(family) => periods::name_text(family, &field("family"))?,
        None => return Err(Problem::missing(&field("family"))),
    }
    if let Some(Value::String(one)) = name.get("given") {
        name.insert("given".into(), json!([one]));
    }
    for one in name.get("given").and_then(Value::as_array).into_iter().flatten() {
        periods::name_text(one, &field("given"))?;
    }
    name.insert("use".into(), json!("usual"));
    name.remove("id");
    Ok(name)
}

fn tidied(mut name: Object) -> Object {
    create::tidy_name(&mut name);
    name
}
