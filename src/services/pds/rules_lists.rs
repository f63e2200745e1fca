//! What the items of lists may become (spec/pds.md §9.5): names, addresses, telecoms, emergency contacts, the practice.

use super::{
    create::{address_key, enough_lines, tidy_name},
    fhir::{self, Object, items, text},
    patch::{Context, not_permitted},
    periods,
    refusal::{self, Problem, shown},
    rules::{registered, removed, touched},
};
use serde_json::{Value, json};

pub fn check(before: &Object, after: &mut Object, context: &Context<'_>) -> Result<(), Problem> {
    each("name", before, after, context, name)?;
    each("address", before, after, context, address)?;
    each("telecom", before, after, context, telecom)?;
    each("contact", before, after, context, contact)?;
    each("generalPractitioner", before, after, context, practice)?;
    one_of_each(before, after)?;
    if removed("name", before, after).iter().any(|name| text(name, "use") == "usual") {
        return Err(Problem::forbidden("not permitted to remove usual name"));
    }
    let left = removed("generalPractitioner", before, after);
    if !left.is_empty() && !context.back_office {
        return Err(not_permitted("remove", "generalPractitioner"));
    }
    Ok(())
}

type Check = fn(&mut Object, Option<&Value>, &str, &Context<'_>) -> Result<(), Problem>;

/// Checks and completes the touched items of a list.
fn each(list: &str, before: &Object, after: &mut Object, context: &Context<'_>, check: Check) -> Result<(), Problem> {
    let touched = touched(list, before, after);
    let Some(Value::Array(all)) = after.get_mut(list) else { return Ok(()) };
    for (n, old) in touched {
        let path = format!("{list}/{n}");
        let Some(item) = all[n].as_object_mut() else { return Err(Problem::invalid(&shown(&all[n]), &path)) };
        check(item, old, &path, context)?;
    }
    Ok(())
}

fn members(item: &Object, path: &str, allowed: &[&str]) -> Result<(), Problem> {
    match item.keys().find(|m| !allowed.contains(&m.as_str())) {
        Some(unknown) => Err(Problem::additional(&[&format!("{path}/{unknown}")])),
        None => Ok(()),
    }
}

/// A member's text of a fixed list.
fn one_of<'a>(item: &'a Object, member: &str, path: &str, allowed: &[&str]) -> Result<&'a str, Problem> {
    match item.get(member) {
        None => Err(Problem::missing(&format!("{path}/{member}"))),
        Some(value) => match value.as_str().filter(|v| allowed.contains(v)) {
            Some(known) => Ok(known),
            None => Err(Problem::invalid(&shown(value), &format!("{path}/{member}"))),
        },
    }
}

fn period(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    // What was good enough to be stored stays good enough.
    if old.is_none_or(|old| old.get("period") != item.get("period")) {
        periods::check(item, path, context.today_number)?;
    }
    periods::complete(item, &context.today);
    Ok(())
}

fn name(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    members(item, path, &["id", "use", "period", "given", "family", "prefix", "suffix"])?;
    let used = one_of(item, "use", path, &["usual", "temp", "nickname", "old", "maiden"])?;
    if old.is_some_and(|old| text(old, "use") != used) {
        return Err(not_permitted("update", "use"));
    }
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
    tidy_name(item);
    let given = item.get("given").cloned().unwrap_or_default();
    if given.as_array().is_some_and(|list| list.len() > 5) {
        let text = super::coverage::too_many(&given, &format!("{path}/given"));
        return Err(Problem::says(&refusal::TOO_MANY_VALUES, text));
    }
    period(item, old, path, context)
}

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

fn address(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    members(item, path, &["id", "use", "period", "text", "line", "_line", "postalCode", "extension"])?;
    let used = one_of(item, "use", path, &["home", "temp", "billing", "work"])?.to_owned();
    if used == "work" {
        return Err(not_permitted(if old.is_some() { "replace" } else { "add" }, "work address"));
    }
    if old.is_some_and(|old| text(old, "use") != used) {
        return Err(not_permitted("update", "use"));
    }
    let lines = item.get("line").cloned().unwrap_or_default();
    let good =
        lines.is_null() || lines.as_array().is_some_and(|l| l.iter().all(|one| one.is_string() || one.is_null()));
    if !good {
        return Err(Problem::invalid(&shown(&lines), &format!("{path}/line")));
    }
    if lines.as_array().is_some_and(|list| list.len() > 5) {
        let text = super::coverage::too_many(&lines, &format!("{path}/line"));
        return Err(Problem::says(&refusal::TOO_MANY_VALUES, text));
    }
    if let Some(code) = item.get("postalCode") {
        let Some(code) = code.as_str() else {
            return Err(Problem::invalid(&shown(code), &format!("{path}/postalCode")));
        };
        let tidy = periods::tidy_postcode(code);
        item.insert("postalCode".into(), json!(tidy));
    }
    address_keys(item, path)?;
    address_lines(item, old)?;
    period(item, old, path, context)?;
    temporary(item, &used, path)
}

/// Lines 1 or 2 and 4; positions are lost on reading, so a part that is replaced is taken as it comes. Line 5 by PAF only.
fn address_lines(item: &Object, old: Option<&Value>) -> Result<(), Problem> {
    let whole = Value::Object(item.clone());
    if old.is_none() && !enough_lines(&whole) {
        let text = "address lines 1 and 4 or 2 and 4 must be completed as a minimum";
        return Err(Problem::update(text));
    }
    let fifth = |of: &Value| of.pointer("/line/4").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let was = old.map(fifth).unwrap_or_default();
    if fifth(&whole) != was && !fifth(&whole).is_empty() && address_key(&whole, "PAF").is_none() {
        return Err(Problem::update("address line 5 may only be completed in addresses with a PAF key"));
    }
    Ok(())
}

fn address_keys(item: &Object, path: &str) -> Result<(), Problem> {
    let whole = Value::Object(item.clone());
    for (n, key) in items(item, "extension").iter().enumerate() {
        if text(key, "url") != fhir::ADDRESS_KEY {
            return Err(Problem::invalid(text(key, "url"), &format!("{path}/extension/{n}/url")));
        }
    }
    // The published example has a PAF key of seven digits, so fewer than eight pass.
    for (kind, longest) in [("PAF", 8), ("UPRN", 12)] {
        let good = |key: &str| (1..=longest).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_digit());
        if let Some(key) = address_key(&whole, kind).filter(|key| !good(key)) {
            return Err(Problem::invalid(key, &format!("{path}/extension/valueString")));
        }
    }
    Ok(())
}

fn temporary(item: &Object, used: &str, path: &str) -> Result<(), Problem> {
    let longest = match used {
        "temp" => TEMP_DAYS,
        "billing" => BILLING_DAYS,
        _ if item.contains_key("text") => return Err(Problem::invalid(&shown(&item["text"]), &format!("{path}/text"))),
        _ => return Ok(()),
    };
    if used == "temp" {
        one_of(item, "text", path, &TEMP_KINDS)?;
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

/// One current item of each use, of each system and use, one usual and one nickname.
fn one_of_each(before: &Object, after: &Object) -> Result<(), Problem> {
    let more = |list: &str, key: &dyn Fn(&Value) -> Option<String>| -> Option<String> {
        let count = |of: &Object, wanted: &str| {
            items(of, list).iter().filter(|item| key(item).as_deref() == Some(wanted)).count()
        };
        let keys: Vec<String> = items(after, list).iter().filter_map(key).collect();
        keys.into_iter().find(|wanted| count(after, wanted) > 1 && count(after, wanted) > count(before, wanted))
    };
    let one = |item: &Value, member: &str| Some(text(item, member).to_owned());
    if let Some(used) = more("name", &|n| one(n, "use").filter(|u| u == "usual" || u == "nickname")) {
        return Err(Problem::forbidden(format!("multiple {used} names cannot be added")));
    }
    if let Some(used) = more("address", &|a| one(a, "use")) {
        return Err(Problem::forbidden(format!("multiple {used} addresses cannot be added")));
    }
    if more("telecom", &|t| Some(format!("{}/{}", text(t, "system"), text(t, "use")))).is_some() {
        return Err(Problem::forbidden("multiple telecoms of one system and use cannot be added"));
    }
    if more("generalPractitioner", &|_| Some(String::new())).is_some() {
        return Err(Problem::forbidden("multiple general practitioners cannot be added"));
    }
    Ok(())
}

fn telecom(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    members(item, path, &["id", "period", "system", "value", "use", "extension"])?;
    let system = one_of(item, "system", path, &["phone", "fax", "email", "other"])?.to_owned();
    if item.contains_key("use") {
        one_of(item, "use", path, &["home", "work", "temp", "mobile"])?;
    }
    if let Some(old) = old {
        for member in ["system", "use"] {
            if old.get(member) != item.get(member) {
                return Err(not_permitted("update", member));
            }
        }
    }
    value(item, &system, path)?;
    period(item, old, path, context)
}

fn value(item: &Object, system: &str, path: &str) -> Result<(), Problem> {
    let field = format!("{path}/value");
    let value = item.get("value").ok_or_else(|| Problem::missing(&field))?;
    let good = value.as_str().is_some_and(|text| match system {
        "email" => periods::is_email(text),
        _ => (1..=100).contains(&text.trim().chars().count()),
    });
    if good { Ok(()) } else { Err(Problem::invalid(&shown(value), &field)) }
}

fn contact(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    members(item, path, &["id", "period", "relationship", "telecom"])?;
    let coding = item.get("relationship").cloned().unwrap_or_default();
    let right = coding.as_array().is_some_and(|list| {
        list.len() == 1
            && list[0]["coding"].as_array().is_some_and(|codes| codes.len() == 1 && text(&codes[0], "code") == "C")
    });
    if !right {
        return Err(Problem::invalid(&shown(&coding), &format!("{path}/relationship")));
    }
    for (n, one) in items(item, "telecom").iter().enumerate() {
        let path = format!("{path}/telecom/{n}");
        let Some(telecom) = one.as_object() else { return Err(Problem::invalid(&shown(one), &path)) };
        members(telecom, &path, &["system", "value"])?;
        let system = one_of(telecom, "system", &path, &["phone", "email", "other"])?;
        value(telecom, system, &path)?;
    }
    period(item, old, path, context)
}

fn practice(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    members(item, path, &["id", "type", "identifier"])?;
    let field = format!("{path}/identifier/value");
    let code = item.get("identifier").and_then(|i| i.get("value")).cloned().unwrap_or_default();
    let good =
        |c: &str| !c.is_empty() && c.len() <= 10 && c.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if !code.as_str().is_some_and(good) {
        return Err(Problem::invalid(&shown(&code), &field));
    }
    registered(Some(&code), &field, context)?;
    let Some(Value::Object(identifier)) = item.get_mut("identifier") else { return Err(Problem::missing(&field)) };
    let ended = |of: Option<&Value>| of.and_then(|p| p.get("end")).cloned();
    let before = ended(old.and_then(|o| o.pointer("/identifier/period")));
    if let Some(end) = ended(identifier.get("period")).filter(|end| before.as_ref() != Some(end)) {
        return Err(Problem::invalid(&shown(&end), &format!("{path}/identifier/period/end")));
    }
    periods::check(identifier, &format!("{path}/identifier"), context.today_number)?;
    periods::complete(identifier, &context.today);
    identifier.entry("system").or_insert_with(|| json!(fhir::ODS));
    item.entry("type").or_insert_with(|| json!("Organization"));
    Ok(())
}
