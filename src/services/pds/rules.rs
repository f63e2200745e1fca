//! What fields may become (spec/pds.md §9.5, §9.6): the single values and the extensions, and what a patient may change.

use super::{
    countries::is_country,
    fhir::{self, BIRTH_PLACE, COMMUNICATION, CONTACT_PREFERENCE, DEATH_NOTIFICATION, Object, PHARMACIES, items, text},
    names::day_number,
    patch::{Context, Operation, Verb, item_id, not_permitted, unsupported},
    query::real_day,
    refusal::{Problem, shown},
    shapes,
};
use crate::services::directory::rows as directory;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Only what the operations touched is looked at: old data may be bad, and stay.
pub fn check(before: &Object, after: &mut Object, context: &Context<'_>) -> Result<(), Problem> {
    gender(before, after)?;
    birth(before, after, context)?;
    death(before, after, context)?;
    if let Some(order) = after.get("multipleBirthInteger").filter(|o| before.get("multipleBirthInteger") != Some(*o))
        && !order.as_u64().is_some_and(|n| (1..=9).contains(&n))
    {
        return Err(Problem::invalid(&shown(order), "multipleBirthInteger"));
    }
    extensions(before, after, context)?;
    without_periods(after);
    Ok(())
}

/// Of a pharmacy only the current one exists, so it has no period (§5.6), though the published example brings one.
fn without_periods(after: &mut Object) {
    let Some(Value::Array(extensions)) = after.get_mut("extension") else { return };
    for extension in extensions.iter_mut().filter(|e| PHARMACIES.contains(&text(e, "url"))) {
        if let Some(identifier) = extension.pointer_mut("/valueReference/identifier").and_then(Value::as_object_mut) {
            identifier.remove("period");
        }
    }
}

fn gender(before: &Object, after: &Object) -> Result<(), Problem> {
    match after.get("gender") {
        None if before.contains_key("gender") => Err(not_permitted("remove", "gender")),
        Some(value) if before.get("gender") != Some(value) => {
            match ["male", "female", "unknown"].contains(&value.as_str().unwrap_or_default()) {
                true => Ok(()),
                false => Err(Problem::invalid(&shown(value), "gender")),
            }
        }
        _ => Ok(()),
    }
}

fn died(of: &Object) -> Option<u32> {
    of.get("deceasedDateTime").and_then(Value::as_str).and_then(day_number)
}

fn birth(before: &Object, after: &Object, context: &Context<'_>) -> Result<(), Problem> {
    match after.get("birthDate") {
        None if before.contains_key("birthDate") => Err(not_permitted("remove", "birthDate")),
        Some(value) if before.get("birthDate") != Some(value) => {
            let day = value.as_str().and_then(real_day);
            let latest = died(after).unwrap_or(context.today_number).min(context.today_number);
            match day.is_some_and(|day| day <= latest) {
                true => Ok(()),
                false => Err(Problem::invalid(&shown(value), "birthDate")),
            }
        }
        _ => Ok(()),
    }
}

/// The death date in the form that is stored: with a time and `+00:00` where it came with a time.
fn death_date(value: &Value) -> Option<String> {
    let given = value.as_str()?;
    real_day(given.get(..10)?)?;
    match &given[10..] {
        "" => Some(given.to_owned()),
        time => {
            let time = time.strip_suffix("+00:00").unwrap_or(time).strip_prefix('T')?;
            let good = time.len() == 8 && time.parse::<jiff::civil::Time>().is_ok();
            good.then(|| format!("{}T{time}+00:00", &given[..10]))
        }
    }
}

fn death(before: &Object, after: &mut Object, context: &Context<'_>) -> Result<(), Problem> {
    const FIELD: &str = "deceasedDateTime";
    let code = |of: &Object| {
        let extension = fhir::extension(of, DEATH_NOTIFICATION)?;
        fhir::sub_code(extension, "deathNotificationStatus").map(str::to_owned)
    };
    let formal = code(before).as_deref() == Some("2") && !context.back_office;
    match after.get(FIELD).cloned() {
        None if before.contains_key(FIELD) => return Err(not_permitted("remove", FIELD)),
        Some(value) if before.get(FIELD) != Some(&value) => {
            let stored = death_date(&value).ok_or_else(|| Problem::invalid(&shown(&value), FIELD))?;
            let day = day_number(&stored).unwrap_or(u32::MAX);
            let born = after.get("birthDate").and_then(Value::as_str).and_then(day_number).unwrap_or(0);
            if day > context.today_number || day < born {
                return Err(Problem::invalid(&shown(&value), FIELD));
            }
            if formal && before.contains_key(FIELD) {
                return Err(not_permitted("replace", FIELD));
            }
            after.insert(FIELD.into(), json!(stored));
        }
        _ => {}
    }
    let changed = fhir::extension(before, DEATH_NOTIFICATION) != fhir::extension(after, DEATH_NOTIFICATION);
    if changed && formal {
        return Err(not_permitted("replace", "death notification status"));
    }
    if changed && fhir::extension(after, DEATH_NOTIFICATION).is_none() {
        return Err(not_permitted("remove", "death notification status"));
    }
    if changed {
        match code(after).as_deref() {
            Some("1") => {}
            Some("2") if context.back_office => {}
            Some("2") => return Err(not_permitted("add", "formal death notification status")),
            None => return Err(Problem::missing("deathNotificationStatus")),
            Some(other) => return Err(unsupported(&json!(other), "deathNotificationStatus")),
        }
        effective(after, &context.now);
    }
    let (dated, told) = (after.contains_key(FIELD), fhir::extension(after, DEATH_NOTIFICATION).is_some());
    let was = (before.contains_key(FIELD), fhir::extension(before, DEATH_NOTIFICATION).is_some());
    if dated != told && was != (dated, told) {
        return Err(Problem::forbidden("a death date and a death notification status must be given together"));
    }
    Ok(())
}

/// `systemEffectiveDate`, where it was not given (§5.7).
fn effective(after: &mut Object, now: &str) {
    let Some(Value::Array(extensions)) = after.get_mut("extension") else { return };
    for extension in extensions.iter_mut().filter(|e| text(e, "url") == DEATH_NOTIFICATION) {
        if fhir::sub(extension, "systemEffectiveDate").is_none()
            && let Some(Value::Array(parts)) = extension.get_mut("extension")
        {
            parts.push(json!({"url": "systemEffectiveDate", "valueDateTime": now}));
        }
    }
}

/// A record has one extension of each kind (§5).
pub fn one_extension_of_each(list: &[Value]) -> Result<(), Problem> {
    for item in list {
        let url = text(item, "url");
        if list.iter().filter(|other| text(other, "url") == url).count() > 1 {
            return Err(Problem::forbidden(format!("multiple extensions cannot be added for '{url}'")));
        }
    }
    Ok(())
}

fn extensions(before: &Object, after: &Object, context: &Context<'_>) -> Result<(), Problem> {
    let list = items(after, "extension");
    one_extension_of_each(list)?;
    for (n, item) in list.iter().enumerate() {
        let path = format!("extension/{n}");
        let url = text(item, "url");
        let old = items(before, "extension").iter().find(|e| text(e, "url") == url);
        if old == Some(item) {
            continue;
        }
        if url == fhir::REMOVAL || url == fhir::CONSENT {
            return Err(not_permitted("update", url));
        }
        if url == COMMUNICATION
            && old.is_some_and(|old| fhir::sub(old, "interpreterRequired").is_some())
            && fhir::sub(item, "interpreterRequired").is_none()
        {
            return Err(Problem::forbidden("interpreterRequired cannot be removed"));
        }
        extension(item, &path)?;
        if PHARMACIES.contains(&url) {
            registered(item.pointer("/valueReference/identifier/value"), &path, context)?;
        }
    }
    for old in items(before, "extension") {
        let url = text(old, "url");
        let gone = !list.iter().any(|e| text(e, "url") == url);
        if gone && (url == fhir::REMOVAL || url == fhir::CONSENT) {
            return Err(not_permitted("remove", url));
        }
    }
    Ok(())
}

/// The code of an organisation, known to the registry where the site checks that (§9.5). A registry into which no reference
/// data were loaded knows of no practice and no pharmacy, and so can tell of none that it is wrong.
pub fn registered(code: Option<&Value>, path: &str, context: &Context<'_>) -> Result<(), Problem> {
    let given = code.cloned().unwrap_or_default();
    let text = given.as_str().unwrap_or_default().to_ascii_uppercase();
    let known = !context.options.check_organisations
        || directory::has_reference_data(context.site).is_ok_and(|has| !has)
        || directory::organisation(context.site, &text).is_ok_and(|row| row.is_some());
    if known { Ok(()) } else { Err(Problem::invalid(&shown(&given), path)) }
}

/// One extension of those that may be written, by itself.
pub fn extension(item: &Value, path: &str) -> Result<(), Problem> {
    match text(item, "url") {
        url if PHARMACIES.contains(&url) => {
            shapes::object(item, path, &["url", "valueReference"])?;
            let at = format!("{path}/valueReference");
            let reference = shapes::object(&item["valueReference"], &at, &["identifier"])?;
            let identifier = reference.get("identifier").unwrap_or(&Value::Null);
            shapes::organisation(identifier, &format!("{at}/identifier"))?;
            let code = item.pointer("/valueReference/identifier/value").cloned().unwrap_or_default();
            let good = code
                .as_str()
                .is_some_and(|c| (3..=10).contains(&c.len()) && c.bytes().all(|b| b.is_ascii_alphanumeric()));
            if good {
                Ok(())
            } else {
                Err(Problem::invalid(&shown(&code), &format!("{path}/valueReference/identifier/value")))
            }
        }
        COMMUNICATION => communication(item, path),
        CONTACT_PREFERENCE => preference(item, path),
        BIRTH_PLACE => {
            shapes::object(item, path, &["url", "valueAddress"])?;
            let place = item.get("valueAddress").and_then(Value::as_object);
            let allowed = ["city", "district", "country"];
            match place {
                Some(p) if !p.is_empty() && p.iter().all(|(m, v)| allowed.contains(&m.as_str()) && v.is_string()) => {
                    match text(&item["valueAddress"], "country") {
                        country if p.contains_key("country") && !is_country(country) => {
                            Err(Problem::invalid(country, &format!("{path}/valueAddress/country")))
                        }
                        _ => Ok(()),
                    }
                }
                _ => Err(Problem::invalid(&shown(&item["valueAddress"]), &format!("{path}/valueAddress"))),
            }
        }
        DEATH_NOTIFICATION => {
            let allowed =
                [("deathNotificationStatus", "valueCodeableConcept"), ("systemEffectiveDate", "valueDateTime")];
            shapes::parts(item, path, &allowed)
        }
        url => Err(Problem::invalid(url, &format!("{path}/url"))),
    }
}

/// ISO 639-1 codes, a pair each.
const LANGUAGES: &str = "aaabaeafakamanarasavayazbabebgbhbibmbnbobrbscacechcocrcscucvcydadedvdzeeeleoeseteufafffifjfofrfygagdglgngu\
gvhahehihohrhthuhyhziaidieigiiikioisitiujajvkakgkikjkkklkmknkokrkskukvkwkylalblglilnloltlulvmgmhmimkmlmnmrmsmtmynanbndnengnlnn\
nonrnvnyocojomorospapiplpsptqurmrnrorurwsascsdsesgsiskslsmsnsosqsrssstsusvswtatetgthtitktltntotrtstttwtyugukuruzvevivowawoxh\
yiyozazhzu";

fn is_language(code: &str) -> bool {
    let listed = code.len() == 2 && LANGUAGES.as_bytes().chunks(2).any(|pair| pair == code.as_bytes());
    (listed && code != "en") || ["q1", "q2", "q3", "q4", "q5"].contains(&code)
}

fn communication(item: &Value, path: &str) -> Result<(), Problem> {
    let Some(code) = fhir::sub_code(item, "language") else {
        return Err(Problem::missing(&format!("{path}/extension/language")));
    };
    if !is_language(code) {
        return Err(Problem::invalid(code, &format!("{path}/extension/language")));
    }
    match fhir::sub(item, "interpreterRequired").map(|s| &s["valueBoolean"]) {
        None | Some(Value::Bool(_)) => {
            let allowed = [("language", "valueCodeableConcept"), ("interpreterRequired", "valueBoolean")];
            shapes::parts(item, path, &allowed)
        }
        Some(other) => Err(Problem::invalid(&shown(other), &format!("{path}/extension/interpreterRequired"))),
    }
}

fn preference(item: &Value, path: &str) -> Result<(), Problem> {
    let coded = [
        ("PreferredWrittenCommunicationFormat", &["11", "12", "13"][..]),
        ("PreferredContactMethod", &["1", "2", "3", "4", "5", "6", "7", "8"][..]),
    ];
    for (url, allowed) in coded {
        if fhir::sub(item, url).is_some() {
            let code = fhir::sub_code(item, url).unwrap_or_default();
            if !allowed.contains(&code) {
                return Err(Problem::invalid(code, &format!("{path}/extension/{url}")));
            }
        }
    }
    if let Some(times) = fhir::sub(item, "PreferredContactTimes") {
        let value = text(times, "valueString");
        let with_method = fhir::sub(item, "PreferredContactMethod").is_some();
        if value.is_empty() || value.chars().count() > 40 || !with_method {
            return Err(Problem::invalid(value, &format!("{path}/extension/PreferredContactTimes")));
        }
    }
    let allowed = [
        ("PreferredWrittenCommunicationFormat", "valueCodeableConcept"),
        ("PreferredContactMethod", "valueCodeableConcept"),
        ("PreferredContactTimes", "valueString"),
    ];
    shapes::parts(item, path, &allowed)
}

/// What a patient may change, and how (§9.6). Each operation is judged by the list as those before it leave it: after a removal
/// indexes shift (§9.3).
pub fn patient_may(operations: &[Operation], before: &Object) -> Result<(), Problem> {
    let denied = || Problem::update("This user does not have permission to update the fields in the patches provided.");
    let mine = |list: &str, item: &Value| match list {
        "telecom" => text(item, "system") == "email" || text(item, "use") == "mobile",
        "extension" => {
            let url = text(item, "url");
            url == COMMUNICATION || url == BIRTH_PLACE || PHARMACIES.contains(&url)
        }
        list => list == "address" || list == "contact",
    };
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for operation in operations {
        let Some((list, at)) = operation.item() else { return Err(denied()) };
        let all = lists.entry(list).or_insert_with(|| items(before, list).to_vec());
        let at = at.parse::<usize>().ok().filter(|n| *n < all.len());
        let stored = at.and_then(|n| all.get(n));
        let whole = operation.is_whole_item();
        let allowed = match (operation.verb, list) {
            (_, "address" | "contact") => true,
            (Verb::Remove, _) => stored.is_none_or(|item| mine(list, item)),
            (Verb::Test, _) if operation.is_id() => stored.is_none_or(|item| mine(list, item)),
            (_, "telecom" | "extension") => whole && mine(list, &operation.value),
            _ => false,
        };
        let same_kind = stored.is_none_or(|item| !whole || mine(list, item));
        if !allowed || !same_kind {
            return Err(denied());
        }
        match (operation.verb, at) {
            (Verb::Add, None) if whole => all.push(operation.value.clone()),
            (Verb::Replace, Some(n)) if whole => all[n] = operation.value.clone(),
            (Verb::Remove, Some(n)) if whole => drop(all.remove(n)),
            _ => {}
        }
    }
    Ok(())
}

/// Items of a list that are new or changed: their place, and what they were.
pub fn touched<'a>(list: &str, before: &'a Object, after: &Object) -> Vec<(usize, Option<&'a Value>)> {
    let old = |item: &Value| {
        let id = item_id(list, item);
        items(before, list).iter().find(|i| !id.is_empty() && item_id(list, i) == id)
    };
    let all = items(after, list).iter().enumerate().map(|(n, item)| (n, old(item), item));
    all.filter(|(_, old, item)| *old != Some(*item)).map(|(n, old, _)| (n, old)).collect()
}

/// Items of a list that are gone.
pub fn removed<'a>(list: &str, before: &'a Object, after: &Object) -> Vec<&'a Value> {
    let there = |id: &str| items(after, list).iter().any(|item| item_id(list, item) == id);
    items(before, list).iter().filter(|item| !there(item_id(list, item))).collect()
}
