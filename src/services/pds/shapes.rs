//! The shapes of items and extensions that a caller may write, new or changed (spec/pds.md §1, §5): which members, which values.
//! What is in no list of the specification is refused: unknown members are never stored.

use super::{
    coverage::too_many,
    create::address_key,
    fhir::{self, Object, items, text},
    periods,
    refusal::{self, Problem, shown},
};
use serde_json::Value;

const OTHER_SYSTEM: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-OtherContactSystem";
/// Days that a temporary and a correspondence address may be for.
const TEMP_DAYS: i64 = 90;
const BILLING_DAYS: i64 = 366;
const TEMP_KINDS: [&str; 7] = [
    "Second Home",
    "Student Accommodation",
    "Respite Care Address",
    "Temporary Residence Address",
    "Convalescence Home",
    "Mobile Home",
    "Holiday Home",
];
/// Most lines of an address, given names, and values of any other list of text.
const MOST: usize = 5;

/// No member but these.
pub fn members(item: &Object, path: &str, allowed: &[&str]) -> Result<(), Problem> {
    match item.keys().find(|m| !allowed.contains(&m.as_str())) {
        Some(unknown) => Err(Problem::additional(&[&format!("{path}/{unknown}")])),
        None => Ok(()),
    }
}

/// An object of no member but these.
pub fn object<'a>(value: &'a Value, path: &str, allowed: &[&str]) -> Result<&'a Object, Problem> {
    let Some(object) = value.as_object() else { return Err(wrong(value, path)) };
    members(object, path, allowed)?;
    Ok(object)
}

/// `MISSING_VALUE` for what is not there, else `INVALID_VALUE`.
fn wrong(value: &Value, path: &str) -> Problem {
    if value.is_null() { Problem::missing(path) } else { Problem::invalid(&shown(value), path) }
}

/// A member's text of a fixed list.
pub fn one_of<'a>(item: &'a Object, member: &str, path: &str, allowed: &[&str]) -> Result<&'a str, Problem> {
    match item.get(member) {
        None => Err(Problem::missing(&format!("{path}/{member}"))),
        Some(value) => match value.as_str().filter(|v| allowed.contains(v)) {
            Some(known) => Ok(known),
            None => Err(Problem::invalid(&shown(value), &format!("{path}/{member}"))),
        },
    }
}

/// The identifier of an organisation, with a period where it may have one (§5.5, §5.6).
pub fn organisation<'a>(value: &'a Value, path: &str) -> Result<&'a Object, Problem> {
    let identifier = object(value, path, &["system", "value", "period"])?;
    if identifier.contains_key("system") {
        one_of(identifier, "system", path, &[fhir::ODS])?;
    }
    Ok(identifier)
}

/// One coding alone.
fn coding(concept: &Value, path: &str) -> Result<(), Problem> {
    let concept = object(concept, path, &["coding"])?;
    let path = format!("{path}/coding");
    let list = concept.get("coding").ok_or_else(|| Problem::missing(&path))?;
    match list.as_array().map(Vec::as_slice) {
        Some([one]) => object(one, &format!("{path}/0"), &["system", "version", "code", "display"]).map(|_| ()),
        Some([]) => Err(Problem::missing(&path)),
        Some(_) => Err(Problem::says(&refusal::TOO_MANY_VALUES, too_many(list, &path))),
        None => Err(wrong(list, &path)),
    }
}

/// The members of an extension made of parts, each of which has one value. What the values may be is the caller's to check.
pub fn parts(item: &Value, path: &str, allowed: &[(&str, &str)]) -> Result<(), Problem> {
    let whole = object(item, path, &["url", "extension"])?;
    let list = whole.get("extension").cloned().unwrap_or_default();
    let Some(list) = list.as_array() else { return Err(wrong(&list, &format!("{path}/extension"))) };
    for (n, part) in list.iter().enumerate() {
        let path = format!("{path}/extension/{n}");
        let url = text(part, "url");
        let Some((_, value)) = allowed.iter().find(|(known, _)| *known == url) else {
            return Err(Problem::invalid(url, &format!("{path}/url")));
        };
        if list.iter().filter(|other| text(other, "url") == url).count() > 1 {
            return Err(Problem::invalid(url, &format!("{path}/url")));
        }
        let part = object(part, &path, &["url", value])?;
        let field = format!("{path}/{value}");
        let given = part.get(*value).ok_or_else(|| Problem::missing(&field))?;
        match *value {
            "valueCodeableConcept" => coding(given, &field)?,
            "valueCoding" => drop(object(given, &field, &["system", "version", "code", "display"])?),
            "valueBoolean" if !given.is_boolean() => return Err(wrong(given, &field)),
            "valueString" | "valueDateTime" if !given.is_string() => return Err(wrong(given, &field)),
            _ => {}
        }
    }
    Ok(())
}

/// A name by itself (§5.1). Gives its use.
pub fn name<'a>(item: &'a Object, path: &str) -> Result<&'a str, Problem> {
    members(item, path, &["id", "use", "period", "given", "family", "prefix", "suffix"])?;
    let used = one_of(item, "use", path, &["usual", "temp", "nickname", "old", "maiden"])?;
    let family = item.get("family").ok_or_else(|| Problem::missing(&format!("{path}/family")))?;
    periods::name_text(family, &format!("{path}/family"))?;
    for list in ["given", "prefix", "suffix"] {
        let field = format!("{path}/{list}");
        let Some(value) = item.get(list) else { continue };
        let Some(all) = value.as_array() else { return Err(Problem::invalid(&shown(value), &field)) };
        for one in all {
            periods::name_text(one, &field)?;
            let starts = one.as_str().and_then(|t| t.chars().next());
            if list == "suffix" && starts.is_some_and(|c| !c.is_ascii_uppercase()) {
                return Err(Problem::invalid(&shown(one), &field));
            }
        }
    }
    Ok(used)
}

/// The members of an address, its lines and keys (§5.2).
pub fn address(item: &Object, path: &str) -> Result<(), Problem> {
    members(item, path, &["id", "use", "period", "text", "line", "_line", "postalCode", "extension"])?;
    let lines = item.get("line").cloned().unwrap_or_default();
    let good =
        lines.is_null() || lines.as_array().is_some_and(|l| l.iter().all(|one| one.is_string() || one.is_null()));
    if !good {
        return Err(Problem::invalid(&shown(&lines), &format!("{path}/line")));
    }
    if lines.as_array().is_some_and(|list| list.len() > MOST) {
        return Err(Problem::says(&refusal::TOO_MANY_VALUES, too_many(&lines, &format!("{path}/line"))));
    }
    address_keys(item, path)
}

fn address_keys(item: &Object, path: &str) -> Result<(), Problem> {
    let whole = Value::Object(item.clone());
    let field = format!("{path}/extension");
    let given = item.get("extension").cloned().unwrap_or_else(|| Value::Array(vec![]));
    let Some(keys) = given.as_array() else { return Err(Problem::invalid(&shown(&given), &field)) };
    let kind = |key: &Value| {
        let found = fhir::sub(key, "type").and_then(|t| t.pointer("/valueCoding/code"));
        found.cloned().unwrap_or_default()
    };
    for (n, key) in keys.iter().enumerate() {
        let at = format!("{field}/{n}");
        if text(key, "url") != fhir::ADDRESS_KEY {
            return Err(Problem::invalid(text(key, "url"), &format!("{at}/url")));
        }
        parts(key, &at, &[("type", "valueCoding"), ("value", "valueString")])?;
        if !["PAF", "UPRN"].contains(&kind(key).as_str().unwrap_or_default()) {
            return Err(wrong(&kind(key), &format!("{at}/extension/valueCoding/code")));
        }
        if fhir::sub(key, "value").is_none() {
            return Err(Problem::missing(&format!("{at}/extension/valueString")));
        }
        if keys.iter().filter(|other| kind(other) == kind(key)).count() > 1 {
            return Err(Problem::says(&refusal::TOO_MANY_VALUES, too_many(&given, &field)));
        }
    }
    // The published example has a PAF key of seven digits, so fewer than eight pass.
    for (kind, longest) in [("PAF", 8), ("UPRN", 12)] {
        let good = |key: &str| (1..=longest).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_digit());
        if let Some(key) = address_key(&whole, kind).filter(|key| !good(key)) {
            return Err(Problem::invalid(key, &format!("{field}/valueString")));
        }
    }
    Ok(())
}

/// What an address that is not for ever says of its time, and a temporary one of its kind (§5.2, §9.5).
pub fn temporary(item: &Object, used: &str, path: &str) -> Result<(), Problem> {
    let longest = match used {
        "temp" => TEMP_DAYS,
        "billing" => BILLING_DAYS,
        _ if item.contains_key("text") => return Err(Problem::invalid(&shown(&item["text"]), &format!("{path}/text"))),
        _ => return Ok(()),
    };
    if used == "temp" {
        one_of(item, "text", path, &TEMP_KINDS)?;
    } else if let Some(kind) = item.get("text") {
        return Err(Problem::invalid(&shown(kind), &format!("{path}/text")));
    }
    match periods::length(item) {
        None => Err(Problem::missing(&format!("{path}/period/end"))),
        Some(days) if days > longest => {
            let end = item["period"].get("end").cloned().unwrap_or_default();
            Err(Problem::invalid(&shown(&end), &format!("{path}/period/end")))
        }
        Some(_) => Ok(()),
    }
}

/// A telecom by itself (§5.3).
pub fn telecom(item: &Object, path: &str) -> Result<(), Problem> {
    members(item, path, &["id", "period", "system", "value", "use", "extension"])?;
    let system = one_of(item, "system", path, &["phone", "fax", "email", "other"])?.to_owned();
    if item.contains_key("use") {
        one_of(item, "use", path, &["home", "work", "temp", "mobile"])?;
    }
    let field = format!("{path}/extension");
    match item.get("extension").map(|e| (e, e.as_array().map(Vec::as_slice))) {
        None | Some((_, Some([]))) => {}
        Some((_, Some([one]))) => {
            let at = format!("{field}/0");
            let other = object(one, &at, &["url", "valueCoding"])?;
            one_of(other, "url", &at, &[OTHER_SYSTEM])?;
            let at = format!("{at}/valueCoding");
            let coding = other.get("valueCoding").ok_or_else(|| Problem::missing(&at))?;
            one_of(object(coding, &at, &["system", "version", "code", "display"])?, "code", &at, &["textphone"])?;
        }
        Some((given, Some(_))) => return Err(Problem::says(&refusal::TOO_MANY_VALUES, too_many(given, &field))),
        Some((given, None)) => return Err(Problem::invalid(&shown(given), &field)),
    }
    telecom_value(item, &system, path)
}

/// What a telecom of this system is.
pub fn telecom_value(item: &Object, system: &str, path: &str) -> Result<(), Problem> {
    let field = format!("{path}/value");
    let value = item.get("value").ok_or_else(|| Problem::missing(&field))?;
    let good = value.as_str().is_some_and(|text| match system {
        "email" => periods::is_email(text),
        _ => (1..=100).contains(&text.trim().chars().count()),
    });
    if good { Ok(()) } else { Err(Problem::invalid(&shown(value), &field)) }
}

/// What an emergency contact is related by: the one coding C (§5.4).
pub fn emergency(relationship: &Value, path: &str) -> Result<(), Problem> {
    let list = match relationship.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => return Err(Problem::invalid(&shown(relationship), path)),
    };
    let codes = list["coding"].as_array().map_or(&[][..], Vec::as_slice);
    if !matches!(codes, [one] if text(one, "code") == "C") {
        return Err(Problem::invalid(&shown(relationship), path));
    }
    coding(list, &format!("{path}/0"))
}

/// The items that a new person brings, each by itself and beside the others: no ids, and one of each kind (§5, §10).
pub fn new_items(list: &str, all: &[Object]) -> Result<(), Problem> {
    for (n, item) in all.iter().enumerate() {
        let path = format!("{list}/{n}");
        if let Some(ours) = ["id", "_line"].into_iter().find(|m| item.contains_key(*m)) {
            return Err(Problem::additional(&[&format!("{path}/{ours}")]));
        }
        match list {
            "name" => drop(name(item, &path)?),
            "address" => address(item, &path)?,
            _ => telecom(item, &path)?,
        }
        // Whether a start is in the future is for the decision to say, which knows the day.
        periods::check(item, &path, u32::MAX)?;
        if list == "address" {
            temporary(item, item.get("use").and_then(Value::as_str).unwrap_or_default(), &path)?;
        }
        let same = |other: &&Object| other.get("use") == item.get("use") && other.get("system") == item.get("system");
        if all[..n].iter().any(|other| same(&other)) {
            let used = item.get("use").cloned().unwrap_or_default();
            return Err(Problem::invalid(&shown(&used), &format!("{path}/use")));
        }
    }
    Ok(())
}

/// Refuses a new person whose items begin after today, as `names::day_number`. `at` stands before each path.
pub fn begun(resource: &Object, today: u32, at: &str) -> Result<(), Problem> {
    for list in ["name", "address", "telecom"] {
        for (n, item) in items(resource, list).iter().enumerate() {
            let Some(item) = item.as_object() else { continue };
            periods::check(item, &format!("{at}{list}/{n}"), today)?;
        }
    }
    Ok(())
}
