//! A record as it was, what changed in it, who did it and when (spec/pds.md §15): for operators and auditors, who see all of it.

use super::{
    fhir,
    rows::{self, Actor, Person},
};
use crate::{
    engine::draft::Fault,
    model::{EpochMillis, NhsNumber},
    store::Reader,
};
use serde_json::{Map, Value, json};

/// Versions listed for one record, the newest.
const MOST_VERSIONS: usize = 1_000;

/// The record as of `at`, whole: what its label hides included. `versions` adds what each version changed, newest first.
/// `None` where there was none then, as far as is known.
pub fn record(rows: &dyn Reader, nhs: NhsNumber, at: EpochMillis, versions: bool) -> Result<Option<Value>, Fault> {
    let Some(person) = rows::on(rows, nhs, at)? else { return Ok(None) };
    let mut told = json!({
        "nhs_number": nhs.digits(),
        "version": person.version,
        "at": fhir::moment(person.at),
        "by": actor(&person.by),
        "label": person.sensitivity().code(),
        "invalidated": person.invalidated,
        "supersedes": person.supersedes.iter().filter_map(|n| NhsNumber::of(*n)).map(NhsNumber::digits).collect::<Vec<_>>(),
        "resource": fhir::patient(nhs, &person, person.stored()?),
    });
    if let Some(survivor) = person.superseded_by() {
        told["superseded_by"] = json!(survivor.digits());
    }
    if versions {
        told["versions"] = Value::Array(past(rows, nhs, person)?);
    }
    Ok(Some(told))
}

/// Who made a version. Nobody: it came in a file, whose import the audit trail names.
fn actor(by: &Actor) -> Value {
    let fields = [
        ("application", &by.application),
        ("user", &by.user),
        ("role_profile", &by.role_profile),
        ("organisation", &by.ods),
        ("asid", &by.asid),
        ("request", &by.request),
        ("operator", &by.operator),
    ];
    let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Value::Object(given.map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

fn past(rows: &dyn Reader, nhs: NhsNumber, mut person: Person) -> Result<Vec<Value>, Fault> {
    let mut versions = vec![];
    while versions.len() < MOST_VERSIONS {
        let mut told = json!({"version": person.version, "at": fhir::moment(person.at), "by": actor(&person.by)});
        let wanted = person.version - 1;
        let older = rows::as_of(rows, nhs, person.clone(), wanted)?;
        if let Some(older) = &older {
            told["changed"] = Value::Object(changed(older, &person)?);
        }
        versions.push(told);
        match older {
            Some(older) => person = older,
            None => break,
        }
    }
    Ok(versions)
}

/// Each member that differs, with its value before and after (null: not there).
fn changed(older: &Person, newer: &Person) -> Result<Map<String, Value>, Fault> {
    let mut told = Map::new();
    let mut note = |member: &str, from: Value, to: Value| {
        if from != to {
            told.insert(member.to_owned(), json!({"from": from, "to": to}));
        }
    };
    let (before, after) = (older.stored()?, newer.stored()?);
    for member in before.keys().chain(after.keys()) {
        let value = |of: &fhir::Object| of.get(member).cloned().unwrap_or_default();
        note(member, value(&before), value(&after));
    }
    let number = |number: u64| match NhsNumber::of(number).filter(|_| number != 0) {
        Some(nhs) => json!(nhs.digits()),
        None => Value::Null,
    };
    note("label", json!(older.sensitivity().code()), json!(newer.sensitivity().code()));
    note("invalidated", json!(older.invalidated), json!(newer.invalidated));
    note("superseded_by", number(older.superseded_by), number(newer.superseded_by));
    let numbers = |of: &Person| of.supersedes.iter().map(|n| number(*n)).collect::<Value>();
    note("supersedes", numbers(older), numbers(newer));
    note("record_sharing", json!(older.consent), json!(newer.consent));
    Ok(told)
}
