//! What is stored of a person to a line of a file (docs/formats.md, "People in a file"): the other way of [`super::import`].
//! Read again, a line makes the same rows, so exporting them once more gives the same bytes.

use super::{
    codec,
    fhir::{self, Object},
    rows::{self, Card, Person, Sensitivity},
    show,
};
use crate::{
    engine::draft::Fault,
    model::{EpochMillis, NhsNumber},
    store::Reader,
};
use serde_json::{Map, Value, json};

/// A person's line as of `at`, without line feed. `None` for numbers that were not there then, and for those that are
/// nothing but a pointer: the line of the person they were merged into names them.
///
/// What has no versions of its own (related people, card, values of a search with history) is as of now.
pub fn line(rows: &dyn Reader, nhs: NhsNumber, at: EpochMillis) -> Result<Option<String>, Fault> {
    let Some(person) = rows::on(rows, nhs, at)? else { return Ok(None) };
    if person.superseded_by != 0 && person.resource.is_empty() {
        return Ok(None);
    }
    let mut stored = person.stored()?;
    let hidden = match person.sensitivity() {
        Sensitivity::Unrestricted => Object::new(),
        _ => show::take_confidential(&mut stored),
    };
    if person.consent != 0 {
        show::add_consent(&mut stored, person.consent);
    }
    let mut line = Map::new();
    line.insert("nhsNumber".into(), json!(nhs.digits()));
    line.insert("resource".into(), Value::Object(fhir::patient(nhs, &person, stored)));
    let history = person.history()?;
    if !history.is_empty() {
        line.insert("history".into(), Value::Object(history));
    }
    if !hidden.is_empty() {
        line.insert("confidential".into(), Value::Object(hidden));
    }
    if person.invalidated {
        line.insert("invalidated".into(), json!(true));
    }
    let supersedes = merged(&person);
    if !supersedes.is_empty() {
        line.insert("supersedes".into(), Value::Array(supersedes));
    }
    let related = rows::related(rows, nhs)?;
    if !related.is_empty() {
        line.insert("relatedPersons".into(), Value::Array(related.into_iter().map(Value::Object).collect()));
    }
    if let Some(card) = rows::card(rows, nhs)? {
        line.insert("coverage".into(), coverage(&card)?);
    }
    Ok(Some(Value::Object(line).to_string()))
}

fn merged(person: &Person) -> Vec<Value> {
    let numbers = person.supersedes.iter().filter_map(|number| NhsNumber::of(*number));
    numbers.map(|number| Value::String(number.digits())).collect()
}

fn coverage(card: &Card) -> Result<Value, Fault> {
    let mut coverage = json!({"versionId": card.version.to_string()});
    if !card.resource.is_empty() {
        let resource = codec::unpack(&card.resource).map_err(|e| Fault::Other(format!("a card: {e}")))?;
        coverage["resource"] = resource;
        coverage["resource"]["resourceType"] = json!("Coverage");
    }
    Ok(coverage)
}
