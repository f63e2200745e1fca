//! What the items of lists may become (spec/pds.md §9.5): names, addresses, telecoms, emergency contacts, the practice.

use super::{
    create::{address_key, enough_lines, tidy_name},
    fhir::{self, Object, items, text},
    patch::{Context, Operation, Verb, not_permitted},
    periods,
    refusal::{self, Problem, shown},
    rules::{registered, removed, touched},
    shapes::{self, members, one_of, telecom_value},
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

fn period(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    // What was good enough to be stored stays good enough.
    if old.is_none_or(|old| old.get("period") != item.get("period")) {
        periods::check(item, path, context.today_number)?;
    }
    periods::complete(item, &context.today);
    Ok(())
}

fn name(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    let used = shapes::name(item, path)?;
    if old.is_some_and(|old| text(old, "use") != used) {
        return Err(not_permitted("update", "use"));
    }
    tidy_name(item);
    let given = item.get("given").cloned().unwrap_or_default();
    if given.as_array().is_some_and(|list| list.len() > 5) {
        let text = super::coverage::too_many(&given, &format!("{path}/given"));
        return Err(Problem::says(&refusal::TOO_MANY_VALUES, text));
    }
    period(item, old, path, context)
}

fn address(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    let used = one_of(item, "use", path, &["home", "temp", "billing", "work"])?.to_owned();
    if used == "work" {
        return Err(not_permitted(if old.is_some() { "replace" } else { "add" }, "work address"));
    }
    if old.is_some_and(|old| text(old, "use") != used) {
        return Err(not_permitted("update", "use"));
    }
    shapes::address(item, path)?;
    if let Some(code) = item.get("postalCode") {
        // What is bad of old and stays is let be (§9.5).
        let stays = old.is_some_and(|old| old.get("postalCode") == Some(code));
        let Some(code) = code.as_str().filter(|code| stays || periods::is_postcode(code)) else {
            return Err(Problem::invalid(&shown(code), &format!("{path}/postalCode")));
        };
        let tidy = periods::tidy_postcode(code);
        item.insert("postalCode".into(), json!(tidy));
    }
    address_lines(item, old)?;
    period(item, old, path, context)?;
    shapes::temporary(item, &used, path)
}

fn too_few_lines() -> Problem {
    Problem::update("address lines 1 and 4 or 2 and 4 must be completed as a minimum")
}

/// An address that is replaced as a whole has its lines in their places, as a new one has (§9.5).
pub fn replaced_addresses(operations: &[Operation], before: &Object, after: &Object) -> Result<(), Problem> {
    let whole = |operation: &&Operation| {
        operation.verb == Verb::Replace && operation.is_whole_item() && operation.tokens[0] == "address"
    };
    for operation in operations.iter().filter(whole) {
        let same = |address: &&Value| text(address, "id") == text(&operation.value, "id");
        let Some(made) = items(after, "address").iter().find(same) else { continue };
        if items(before, "address").iter().find(same) != Some(made) && !enough_lines(made) {
            return Err(too_few_lines());
        }
    }
    Ok(())
}

/// Lines 1 or 2 and 4; positions are lost on reading, so a part that is replaced is taken as it comes, as long as any line is
/// left. Line 5 by PAF only.
fn address_lines(item: &Object, old: Option<&Value>) -> Result<(), Problem> {
    let whole = Value::Object(item.clone());
    let has_line = |of: &Value| {
        let lines = of.get("line").and_then(Value::as_array);
        lines.is_some_and(|l| l.iter().filter_map(Value::as_str).any(|line| !line.trim().is_empty()))
    };
    let emptied = old.is_none_or(|old| has_line(old) && !has_line(&whole));
    if emptied && !enough_lines(&whole) {
        return Err(too_few_lines());
    }
    let fifth = |of: &Value| of.pointer("/line/4").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let was = old.map(fifth).unwrap_or_default();
    if fifth(&whole) != was && !fifth(&whole).is_empty() && address_key(&whole, "PAF").is_none() {
        return Err(Problem::update("address line 5 may only be completed in addresses with a PAF key"));
    }
    Ok(())
}

/// One current item of each use, of each system and use, one usual and one nickname.
pub fn one_of_each(before: &Object, after: &Object) -> Result<(), Problem> {
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
    shapes::telecom(item, path)?;
    if let Some(old) = old {
        for member in ["system", "use"] {
            if old.get(member) != item.get(member) {
                return Err(not_permitted("update", member));
            }
        }
    }
    period(item, old, path, context)
}

fn contact(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    members(item, path, &["id", "period", "relationship", "telecom"])?;
    let relationship = item.get("relationship").cloned().unwrap_or_default();
    shapes::emergency(&relationship, &format!("{path}/relationship"))?;
    for (n, one) in items(item, "telecom").iter().enumerate() {
        let path = format!("{path}/telecom/{n}");
        let Some(telecom) = one.as_object() else { return Err(Problem::invalid(&shown(one), &path)) };
        members(telecom, &path, &["system", "value"])?;
        let system = one_of(telecom, "system", &path, &["phone", "email", "other"])?;
        telecom_value(telecom, system, &path)?;
    }
    period(item, old, path, context)
}

fn practice(item: &mut Object, old: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    members(item, path, &["id", "type", "identifier"])?;
    let field = format!("{path}/identifier/value");
    if item.contains_key("type") {
        one_of(item, "type", path, &["Organization"])?;
    }
    shapes::organisation(item.get("identifier").unwrap_or(&Value::Null), &format!("{path}/identifier"))?;
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
