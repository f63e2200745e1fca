//! A line of a file of people to what is stored (docs/formats.md, "People"), and the command that writes many of them.
//!
//! A line is a JSON object: `nhsNumber`, `resource`, and where there is any `history`, `confidential`, `supersedes`,
//! `invalidated`, `relatedPersons`, `coverage`. Writing a line twice is writing it once; a person who has the same or a later
//! version here than in the file is left alone. [`super::export`] makes such lines.

use super::{
    codec,
    command::{Import, Reply, Supersede},
    fhir::{self, LISTS, Object, STORED, items, text},
    names, query,
    rows::{self, Card, Person, Sensitivity},
};
use crate::{
    engine::{
        draft::{AuditNote, Draft, Fault, Stamp},
        services,
    },
    model::NhsNumber,
    record,
    wire::record::Record,
};
use bytes::Bytes;
use serde_json::Value;

record! {
    /// A person of a file.
    pub struct Line v1 {
        1 => nhs: u64,
        2 => person: Person,
        /// Related people, packed each.
        3 => related: Vec<Bytes>,
        4 => card: Option<Card>,
    }
}

const MEMBERS: [&str; 10] = [
    "nhsNumber",
    "resource",
    "history",
    "confidential",
    "supersedes",
    "invalidated",
    "relatedPersons",
    "coverage",
    "note",
    "hidden",
];
const GENDERS: [&str; 4] = ["male", "female", "other", "unknown"];
const HISTORY: [&str; 6] = ["name", "address", "telecom", "gender", "birthDate", "generalPractitioner"];

/// Reads one line. The error names what is wrong, and holds nothing of the person (P10).
pub fn line(text: &str) -> Result<(NhsNumber, Line), String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("no JSON: column {}", e.column()))?;
    let members = value.as_object().ok_or("not an object")?;
    if let Some(unknown) = members.keys().find(|m| !MEMBERS.contains(&m.as_str())) {
        return Err(format!("unknown member '{unknown}'"));
    }
    let nhs = members.get("nhsNumber").and_then(Value::as_str).and_then(NhsNumber::strict);
    let nhs = nhs.ok_or("nhsNumber is missing, or its check digit is wrong")?;
    let person = person(nhs, members)?;
    let mut related = vec![];
    for one in list(members, "relatedPersons")? {
        let one = one.as_object().filter(|o| o.get("id").is_some_and(Value::is_string));
        let one = one.ok_or("a related person has no id")?.clone();
        if related.iter().any(|(id, _)| Some(id) == one.get("id")) {
            return Err("two related people have one id".into());
        }
        related.push((one["id"].clone(), codec::pack(&Value::Object(one))));
    }
    if related.len() > rows::MAX_RELATED {
        return Err(format!("more than {} related people", rows::MAX_RELATED));
    }
    let card = members.get("coverage").map(card).transpose()?;
    let related = related.into_iter().map(|(_, packed)| packed).collect();
    Ok((nhs, Line { nhs: nhs.value(), person, related, card, ..Default::default() }))
}

fn list<'a>(members: &'a Object, name: &str) -> Result<&'a [Value], String> {
    match members.get(name) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("{name} is not a list")),
    }
}

fn person(nhs: NhsNumber, members: &Object) -> Result<Person, String> {
    let resource = members.get("resource").and_then(Value::as_object).ok_or("resource is missing")?;
    for member in resource.keys() {
        if !STORED.contains(&member.as_str())
            && !["resourceType", "id", "identifier", "meta"].contains(&member.as_str())
        {
            return Err(format!("unknown member 'resource/{member}'"));
        }
    }
    if resource.get("id").is_some_and(|id| id.as_str() != Some(&nhs.digits())) {
        return Err("resource/id is not the nhsNumber".into());
    }
    let meta = resource.get("meta").cloned().unwrap_or_default();
    let version = match &meta["versionId"] {
        Value::Null => 1,
        given => given.as_str().and_then(|v| v.parse().ok()).filter(|v| *v > 0).ok_or("meta/versionId is no number")?,
    };
    let invalidated = match members.get("invalidated") {
        None => false,
        Some(Value::Bool(yes_or_no)) => *yes_or_no,
        Some(_) => return Err("invalidated is not true or false".into()),
    };
    let label = meta.pointer("/security/0/code").and_then(Value::as_str).unwrap_or("U");
    let sensitivity = match label {
        "REDACTED" if invalidated => Sensitivity::Unrestricted,
        other => Sensitivity::of_code(other).ok_or("meta/security is not U, R or V")?,
    };
    let mut stored = fhir::stored_part(resource.clone());
    confidential(members, &mut stored)?;
    readable(&stored)?;
    let consent = consent(&mut stored)?;
    rows::give_ids(&mut stored, &seed(nhs));
    let history = history(members)?;
    let mut supersedes = vec![];
    for old in list(members, "supersedes")? {
        let old = old.as_str().and_then(NhsNumber::strict).ok_or("supersedes holds no NHS number")?;
        if old == nhs || supersedes.contains(&old.value()) {
            return Err("supersedes names the person, or a number twice".into());
        }
        supersedes.push(old.value());
    }
    Ok(Person {
        version,
        resource: codec::pack(&Value::Object(stored)),
        sensitivity: sensitivity as u8,
        invalidated,
        history,
        supersedes,
        consent,
        ..Default::default()
    })
}

/// What whoever reads and searches records relies on; the rest is taken as a nation has it. Names the member, not the value (P10).
fn readable(stored: &Object) -> Result<(), String> {
    let is = |good: bool, member: &str, what: &str| match good {
        true => Ok(()),
        false => Err(format!("resource/{member} is not {what}")),
    };
    let member = |name: &str, good: &dyn Fn(&Value) -> bool| stored.get(name).is_none_or(good);
    for name in LISTS.into_iter().chain(["extension"]) {
        let list = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_object));
        is(member(name, &list), name, "a list of objects")?;
    }
    for (list, name) in [("name", "family"), ("address", "postalCode"), ("telecom", "value")] {
        let good = |item: &Value| item.get(name).is_none_or(Value::is_string);
        is(items(stored, list).iter().all(good), &format!("{list}/{name}"), "a text")?;
    }
    for (list, name) in [("name", "given"), ("name", "prefix"), ("name", "suffix"), ("address", "line")] {
        let texts = |value: &Value| value.as_array().is_some_and(|l| l.iter().all(|t| t.is_string() || t.is_null()));
        let good = |item: &Value| item.get(name).is_none_or(texts);
        is(items(stored, list).iter().all(good), &format!("{list}/{name}"), "a list of texts")?;
    }
    let gender = |value: &Value| value.as_str().is_some_and(|text| GENDERS.contains(&text));
    is(member("gender", &gender), "gender", "male, female, other or unknown")?;
    is(member("birthDate", &|value| value.as_str().is_some_and(is_date)), "birthDate", "a date")?;
    is(
        member("deceasedDateTime", &|value| value.as_str().is_some_and(is_moment)),
        "deceasedDateTime",
        "a date or time",
    )?;
    is(member("multipleBirthInteger", &Value::is_u64), "multipleBirthInteger", "a number")
}

/// A date of FHIR: a day of the calendar, a month or a year.
fn is_date(text: &str) -> bool {
    match text.len() {
        10 => query::real_day(text).is_some(),
        4 | 7 => names::day_number(text).is_some(),
        _ => false,
    }
}

/// A dateTime of FHIR.
fn is_moment(text: &str) -> bool {
    is_date(text) || text.parse::<jiff::Timestamp>().is_ok()
}

/// Takes the extension on record sharing (§2) out of the members: its value is stored apart, and shown to few.
fn consent(stored: &mut Object) -> Result<u8, String> {
    let Some(Value::Array(extensions)) = stored.get_mut("extension") else { return Ok(0) };
    let Some(place) = extensions.iter().position(|e| text(e, "url") == fhir::CONSENT) else { return Ok(0) };
    let parts = extensions.remove(place);
    if extensions.is_empty() {
        stored.remove("extension");
    }
    let code = fhir::sub_code(&parts, "consentValue").and_then(|code| code.parse().ok()).filter(|code| *code > 0);
    code.ok_or_else(|| "the extension on record sharing has no code".into())
}

/// The same person gets the same ids, however often and wherever a file is read.
fn seed(nhs: NhsNumber) -> [u8; 16] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, nhs.digits().as_bytes());
    let mut seed = [0; 16];
    seed.copy_from_slice(&digest.as_ref()[..16]);
    seed
}

/// Values that the label hides are stored with the others.
fn confidential(members: &Object, stored: &mut Object) -> Result<(), String> {
    let Some(hidden) = members.get("confidential") else { return Ok(()) };
    let hidden = hidden.as_object().ok_or("confidential is not an object")?;
    for (member, value) in hidden {
        if !STORED.contains(&member.as_str()) {
            return Err(format!("unknown member 'confidential/{member}'"));
        }
        match (stored.get_mut(member), value) {
            (Some(Value::Array(list)), Value::Array(more)) => {
                list.extend(more.iter().cloned());
            }
            _ => {
                stored.insert(member.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn history(members: &Object) -> Result<Bytes, String> {
    let Some(history) = members.get("history") else { return Ok(Bytes::new()) };
    let history = history.as_object().ok_or("history is not an object")?;
    for (member, value) in history {
        if !HISTORY.contains(&member.as_str()) {
            return Err(format!("unknown member 'history/{member}'"));
        }
        if !value.is_array() {
            return Err(format!("history/{member} is not a list"));
        }
    }
    Ok(codec::pack(&Value::Object(history.clone())))
}

fn card(given: &Value) -> Result<Card, String> {
    let version = text(given, "versionId").parse().map_err(|_| "coverage/versionId is no number")?;
    let resource = match given.get("resource") {
        None => Bytes::new(),
        Some(Value::Object(card)) => {
            let mut card = card.clone();
            card.remove("resourceType");
            codec::pack(&Value::Object(card))
        }
        Some(_) => return Err("coverage/resource is not an object".into()),
    };
    Ok(Card { version, resource, ..Default::default() })
}

/// Writes the people of one command; one note for all of them, since their records are not shown to anybody.
pub fn write(draft: &mut Draft<'_>, stamp: &Stamp, command: &Import) -> Result<Reply, Fault> {
    let (mut written, mut same, mut left) = (0, 0, vec![]);
    for bytes in &command.people {
        let line = Line::decode(bytes).map_err(|e| Fault::Other(format!("a person of a file: {e}")))?;
        let nhs = NhsNumber::of(line.nhs).ok_or_else(|| Fault::Other("a person of a file without a number".into()))?;
        let old = rows::person(draft, nhs)?;
        if old.as_ref().is_some_and(|old| old.version >= line.person.version && !stub(old)) {
            if old.as_ref().is_some_and(|old| alike(old, &line.person)) {
                same += 1;
            } else {
                left.push(line.nhs);
            }
            continue;
        }
        let mut new = Person { at: stamp.now, ..line.person };
        if let Some(old) = &old {
            // A merge may have been told before the person was, and is not undone by a line that does not know of it.
            new.superseded_by = old.superseded_by;
            let more = old.supersedes.iter().filter(|number| !new.supersedes.contains(number));
            new.supersedes = new.supersedes.iter().chain(more).copied().collect();
        }
        if let Some(old) = old.as_ref().filter(|old| !stub(old)) {
            rows::keep_version(draft, nhs, old, &new, &new.stored()?)?;
        }
        rows::put(draft, nhs, old.as_ref(), &new)?;
        relate(draft, nhs, old.is_some(), line.related)?;
        if let Some(card) = line.card {
            let card_here = rows::card(draft, nhs)?.map_or(0, |card| card.version);
            if card.version > card_here {
                draft.put(rows::card_key(nhs), Card { at: stamp.now, ..card }.encode());
            }
        }
        for old in new.supersedes {
            let merge = Supersede { old, new: nhs.value(), ..Default::default() };
            let key = NhsNumber::of(old).map(NhsNumber::digits).unwrap_or_default();
            draft.send(Bytes::from(key), services::PDS, super::command::PdsCommand::from(merge).encode());
        }
        written += 1;
    }
    let kept = left.len() as u64;
    draft.audit(AuditNote {
        interaction: "pds.import".into(),
        outcome: "ok".into(),
        object: command.source.chars().take(200).collect(),
        detail: format!("{written} written, {same} there already, {kept} left as they are here"),
        ..Default::default()
    });
    Ok(Reply { written, same, kept, left, ..Default::default() })
}

/// The related people of a person become those of a line. Who was not here has none, and a nation's worth of looking for them is
/// left out.
fn relate(draft: &mut Draft<'_>, nhs: NhsNumber, was_here: bool, lines: Vec<Bytes>) -> Result<(), Fault> {
    let id = |row: &Object| row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let before = if was_here { rows::related(draft, nhs)? } else { vec![] };
    for old in before {
        draft.delete(rows::related_key(nhs, &id(&old)));
    }
    for packed in lines {
        let id = id(&rows::object(&packed)?);
        draft.put(rows::related_key(nhs, &id), packed);
    }
    Ok(())
}

/// Whether a line says what is here.
fn alike(here: &Person, line: &Person) -> bool {
    here.version == line.version
        && here.resource == line.resource
        && here.sensitivity == line.sensitivity
        && here.invalidated == line.invalidated
        && here.supersedes == line.supersedes
}

/// A number that so far only points to another, with nothing of its own.
fn stub(person: &Person) -> bool {
    person.superseded_by != 0 && person.resource.is_empty()
}
