//! What may become a new person (spec/pds.md §10): the checks in their order, and what of it is stored.

use super::{
    PdsOptions,
    coverage::too_many,
    fhir::{self, Object, items, text},
    periods,
    query::real_day,
    refusal::{self, Problem, shown},
    shapes,
};
use crate::store::Reader;
use serde_json::{Value, json};

const MEMBERS: [&str; 7] = ["resourceType", "name", "gender", "birthDate", "address", "telecom", "extension"];
/// Extensions that are stored; those of the second list are accepted and not stored.
const KEPT: [&str; 2] = [fhir::COMMUNICATION, fhir::CONTACT_PREFERENCE];
const DROPPED: [&str; 9] = [
    fhir::REGISTERING_AUTHORITY,
    fhir::BIRTH_PLACE,
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-BirthSex",
    "http://hl7.org/fhir/StructureDefinition/patient-cadavericDonor",
    fhir::DEATH_NOTIFICATION,
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-EthnicCategory",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-ResidentialStatus",
    "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberUnavailableReason",
];
/// Most addresses and telecoms of a new person.
const MOST_ITEMS: usize = 20;

/// The members to store, without ids.
pub fn checked(body: &Value, _: &PdsOptions, _: &dyn Reader) -> Result<Object, Problem> {
    let Some(members) = body.as_object() else {
        return Err(Problem::says(&refusal::VALIDATION_ERROR, "Validation error - the body is not an object"));
    };
    let mut members = members.clone();
    let unknown: Vec<&str> = members.keys().map(String::as_str).filter(|m| !MEMBERS.contains(m)).collect();
    if !unknown.is_empty() {
        return Err(Problem::additional(&unknown));
    }
    for needed in ["name", "address", "gender", "birthDate"] {
        let there = members.get(needed).is_some_and(|v| !v.is_null() && v.as_array().is_none_or(|l| !l.is_empty()));
        if !there {
            return Err(Problem::missing(needed));
        }
    }
    let addresses = addresses(&members)?;
    let name = name(&mut members)?;
    demographics(&members)?;
    counts(&members, &addresses)?;
    for (n, address) in addresses.iter().enumerate() {
        lines(address, n)?;
    }
    telecoms(&members)?;
    if name.get("period").is_some_and(|p| p.get("end").is_some()) {
        return Err(Problem::create("An end date can not be provided on usual name"));
    }
    authority(&members)?;
    let extensions = extensions(&members)?;
    for list in ["name", "telecom"] {
        let all: Vec<Object> = items(&members, list).iter().filter_map(Value::as_object).cloned().collect();
        shapes::new_items(list, &all)?;
    }
    shapes::new_items("address", &addresses)?;
    let mut stored = Object::new();
    for member in ["gender", "birthDate", "telecom"] {
        if let Some(value) = members.get(member) {
            stored.insert(member.into(), value.clone());
        }
    }
    stored.insert("name".into(), json!([name]));
    stored.insert("address".into(), stored_addresses(addresses));
    stored.insert("extension".into(), Value::Array(extensions));
    Ok(fhir::stored_part(stored))
}

/// Addresses as they are stored: a line that is null is a blank one.
pub fn stored_addresses(mut addresses: Vec<Object>) -> Value {
    for lines in addresses.iter_mut().filter_map(|a| a.get_mut("line")?.as_array_mut()) {
        lines.iter_mut().filter(|line| line.is_null()).for_each(|line| *line = json!(""));
    }
    Value::Array(addresses.into_iter().map(Value::Object).collect())
}

/// One or more addresses; one object stands for a list of one. Each with a period.
pub fn addresses(members: &Object) -> Result<Vec<Object>, Problem> {
    let given = &members["address"];
    let list = match given {
        Value::Array(list) if list.len() <= MOST_ITEMS => list.clone(),
        Value::Object(_) => vec![given.clone()],
        other => return Err(Problem::invalid(&shown(other), "address")),
    };
    let mut all = vec![];
    for (n, address) in list.into_iter().enumerate() {
        let Value::Object(mut address) = address else {
            return Err(Problem::invalid(&shown(&address), &format!("address/{n}")));
        };
        if address.get("period").is_none_or(Value::is_null) {
            return Err(Problem::missing(&format!("address/{n}/period")));
        }
        if !address.get("period").is_some_and(Value::is_object) {
            return Err(Problem::invalid(&shown(&address["period"]), &format!("address/{n}/period")));
        }
        if !["home", "temp", "billing"].contains(&text(&Value::Object(address.clone()), "use")) {
            let given = address.get("use").cloned().unwrap_or_default();
            return Err(match given {
                Value::Null => Problem::missing(&format!("address/{n}/use")),
                other => Problem::invalid(&shown(&other), &format!("address/{n}/use")),
            });
        }
        if address.get("line").is_some_and(|l| !l.is_array()) {
            return Err(Problem::invalid(&shown(&address["line"]), &format!("address/{n}/line")));
        }
        if let Some(code) = address.get("postalCode") {
            let Some(code) = code.as_str().filter(|code| periods::is_postcode(code)) else {
                return Err(Problem::invalid(&shown(code), &format!("address/{n}/postalCode")));
            };
            let tidy = periods::tidy_postcode(code);
            address.insert("postalCode".into(), json!(tidy));
        }
        all.push(address);
    }
    Ok(all)
}

/// The one name: its shape and characters; later given names are split at spaces (§5.1).
fn name(members: &mut Object) -> Result<Object, Problem> {
    let list = match &members["name"] {
        Value::Array(list) => list,
        other => return Err(Problem::invalid(&shown(other), "name")),
    };
    let Some(name) = list.first().and_then(Value::as_object) else {
        return Err(Problem::invalid(&shown(&members["name"]), "name"));
    };
    let mut name = name.clone();
    if let Some(given) = name.get("given") {
        let Some(list) = given.as_array() else { return Err(Problem::invalid(&shown(given), "name/0/given")) };
        for one in list {
            periods::name_text(one, "name/0/given")?;
        }
    }
    match name.get("family") {
        Some(family) => periods::name_text(family, "name/0/family")?,
        None => return Err(Problem::missing("name/0/family")),
    }
    if name.get("use").and_then(Value::as_str) != Some("usual") {
        return Err(match name.get("use") {
            None | Some(Value::Null) => Problem::missing("name/0/use"),
            Some(given) => Problem::invalid(&shown(given), "name/0/use"),
        });
    }
    tidy_name(&mut name);
    Ok(name)
}

/// Splits later given names at spaces, drops blank ones, and spells the common prefixes one way.
pub fn tidy_name(name: &mut Object) {
    if let Some(Value::Array(given)) = name.get_mut("given") {
        let mut tidy: Vec<Value> = vec![];
        for (n, one) in given.iter().filter_map(Value::as_str).map(str::trim).enumerate() {
            match n {
                0 if one.is_empty() => {}
                0 => tidy.push(json!(one)),
                _ => tidy.extend(one.split_whitespace().map(|word| json!(word))),
            }
        }
        *given = tidy;
    }
    for member in ["prefix", "suffix"] {
        let Some(Value::Array(list)) = name.get_mut(member) else { continue };
        list.retain(|one| one.as_str().is_none_or(|text| !text.trim().is_empty()));
        if member == "prefix" {
            for one in list.iter_mut() {
                *one = json!(prefix(one.as_str().unwrap_or_default()));
            }
        }
    }
    name.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
}

/// §9.5: trailing full stops dropped; Mr Mrs Ms Dr Rev Sir Lady Lord spelt so.
fn prefix(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let known = ["Mr", "Mrs", "Ms", "Dr", "Rev", "Sir", "Lady", "Lord"];
    known.iter().find(|k| k.eq_ignore_ascii_case(text)).map_or(text, |k| k).to_owned()
}

fn demographics(members: &Object) -> Result<(), Problem> {
    let gender = &members["gender"];
    if !["male", "female", "unknown"].contains(&gender.as_str().unwrap_or_default()) {
        return Err(Problem::invalid(&shown(gender), "gender"));
    }
    let born = &members["birthDate"];
    born.as_str().and_then(real_day).map(|_| ()).ok_or_else(|| Problem::invalid(&shown(born), "birthDate"))
}

fn counts(members: &Object, addresses: &[Object]) -> Result<(), Problem> {
    let many = |value: &Value, field: &str| Err(Problem::says(&refusal::TOO_MANY_VALUES, too_many(value, field)));
    if items(members, "name").len() > 1 {
        return many(&members["name"], "name");
    }
    let given = members["name"].pointer("/0/given").cloned().unwrap_or_default();
    if given.as_array().is_some_and(|list| list.len() > 5) {
        return many(&given, "name/0/given");
    }
    for (n, address) in addresses.iter().enumerate() {
        if address.get("line").and_then(Value::as_array).is_some_and(|list| list.len() > 5) {
            return many(&address["line"], &format!("address/{n}/line"));
        }
    }
    if items(members, "telecom").len() > MOST_ITEMS {
        return many(&members["telecom"], "telecom");
    }
    Ok(())
}

/// Lines 1 or 2 and 4, unless a postcode with a PAF key or a pseudo-postcode stands for them (§9.5).
fn lines(address: &Object, _: usize) -> Result<(), Problem> {
    let whole = Value::Object(address.clone());
    if enough_lines(&whole) {
        return Ok(());
    }
    Err(Problem::create("address lines 1 and 4 or 2 and 4 must be completed as a minimum"))
}

pub fn enough_lines(address: &Value) -> bool {
    let postcode = text(address, "postalCode");
    if periods::is_pseudo(postcode) || (!postcode.is_empty() && address_key(address, "PAF").is_some()) {
        return true;
    }
    let line = |n: usize| address.pointer(&format!("/line/{n}")).and_then(Value::as_str).unwrap_or_default();
    let filled = |n: usize| !line(n).trim().is_empty();
    (filled(0) || filled(1)) && filled(3)
}

/// The value of an address key of this type.
pub fn address_key<'a>(address: &'a Value, kind: &str) -> Option<&'a str> {
    let keys = address.get("extension")?.as_array()?;
    let key = keys.iter().find(|key| {
        fhir::sub(key, "type").is_some_and(|t| t.pointer("/valueCoding/code").and_then(Value::as_str) == Some(kind))
    })?;
    fhir::sub(key, "value")?.get("valueString")?.as_str()
}

fn telecoms(members: &Object) -> Result<(), Problem> {
    let Some(given) = members.get("telecom") else { return Ok(()) };
    let Some(list) = given.as_array() else { return Err(Problem::invalid(&shown(given), "telecom")) };
    for (n, telecom) in list.iter().enumerate() {
        if !telecom.is_object() {
            return Err(Problem::invalid(&shown(telecom), &format!("telecom/{n}")));
        }
        let system = text(telecom, "system");
        if !["phone", "fax", "email", "other"].contains(&system) {
            return Err(Problem::invalid(&shown(&telecom["system"]), &format!("telecom/{n}/system")));
        }
        let value = text(telecom, "value");
        if value.is_empty() {
            return Err(Problem::missing(&format!("telecom/{n}/value")));
        }
        if system == "email" && !periods::is_email(value) {
            return Err(Problem::create("email format is invalid"));
        }
    }
    Ok(())
}

/// Who registers: a type of a to x or 1, and a code of 2 to 15 characters.
pub fn authority(members: &Object) -> Result<(), Problem> {
    let Some(found) = fhir::extension(members, fhir::REGISTERING_AUTHORITY) else {
        return Err(Problem::missing("extension/registeringAuthority"));
    };
    let kind = fhir::sub_code(found, "registeringAuthorityType").unwrap_or_default();
    if !matches!(kind.as_bytes(), [b'a'..=b'x' | b'1']) {
        return Err(Problem::invalid(kind, "extension/registeringAuthorityType"));
    }
    let code = fhir::sub(found, "organisationIdentifier").map_or("", |s| text(s, "valueString"));
    if !(2..=15).contains(&code.chars().count()) {
        return Err(Problem::invalid(code, "extension/organisationIdentifier"));
    }
    Ok(())
}

fn extensions(members: &Object) -> Result<Vec<Value>, Problem> {
    let mut kept = vec![];
    for (n, extension) in items(members, "extension").iter().enumerate() {
        let url = text(extension, "url");
        if KEPT.contains(&url) {
            super::rules::extension(extension, &format!("extension/{n}"))?;
            kept.push(extension.clone());
        } else if !DROPPED.contains(&url) {
            return Err(Problem::invalid(url, &format!("extension/{n}/url")));
        }
    }
    Ok(kept)
}
