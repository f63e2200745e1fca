//! An AuditEvent that a system files (spec/identity.md §9.2): what it must hold, and what of it is kept. Clinical content
//! has no place in the trail (§9.1): members that could carry it are refused by name.

use super::{event::NHS_NUMBER, refusal::Problem};
use crate::model::{NhsNumber, time};
use serde_json::{Map, Value, json};

/// Bytes of an event as it is kept: the samples have 3,000.
const MOST_BYTES: usize = 16 << 10;
/// Agents and entities.
const MOST_ITEMS: usize = 20;

const MEMBERS: [&str; 13] = [
    "resourceType",
    "id",
    "meta",
    "type",
    "subtype",
    "action",
    "period",
    "recorded",
    "outcome",
    "outcomeDesc",
    "purposeOfEvent",
    "agent",
    "source",
];
const TYPES: [(&str, &str); 2] = [
    ("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "transmit"),
    ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"),
];
/// Of an entity: `query` and `securityLabel` are left out on purpose, a query holds what was asked.
const OF_AN_ENTITY: [&str; 7] = ["what", "type", "role", "lifecycle", "name", "description", "detail"];

/// A checked event.
#[derive(Debug)]
pub struct Filed {
    pub subject: NhsNumber,
    /// C, R, U, D or E.
    pub action: String,
    /// As JSON, without `id` and `meta`: these are the site's.
    pub event: Vec<u8>,
}

/// Checks a body.
pub fn checked(body: &[u8]) -> Result<Filed, Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Problem::invalid("the body is not JSON"))?;
    let Value::Object(mut event) = value else { return Err(Problem::invalid("the body is no object")) };
    let text = |event: &Map<String, Value>, member: &str| {
        event.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if text(&event, "resourceType") != "AuditEvent" {
        return Err(Problem::invalid("Invalid value in field 'resourceType'"));
    }
    if let Some(other) = event.keys().find(|k| !MEMBERS.contains(&k.as_str()) && *k != "entity") {
        let other: String = other.chars().take(40).collect();
        return Err(Problem::invalid(format!("Member '{other}' has no place in the audit trail")));
    }
    let kind = event.get("type").cloned().unwrap_or_default();
    if !TYPES.iter().any(|(system, code)| kind["system"] == *system && kind["code"] == *code) {
        return Err(Problem::invalid("Invalid value in field 'type'"));
    }
    let action = text(&event, "action");
    if !["C", "R", "U", "D", "E"].contains(&action.as_str()) {
        return Err(Problem::invalid("Invalid value in field 'action'"));
    }
    let recorded = text(&event, "recorded");
    if !recorded.contains('T') || time::parse_iso(&recorded).is_none() {
        return Err(Problem::invalid("Invalid value in field 'recorded'"));
    }
    let agents = items(&event, "agent")?;
    if agents.iter().any(|agent| !agent["who"].is_object() || !agent["requestor"].is_boolean()) {
        return Err(Problem::invalid("Invalid value in field 'agent'"));
    }
    if !event.get("source").is_some_and(|source| source["observer"].is_object()) {
        return Err(Problem::invalid("Invalid value in field 'source'"));
    }
    let subject = patient(items(&event, "entity")?)?;
    event.remove("id");
    event.remove("meta");
    let event = json!(event).to_string().into_bytes();
    if event.len() > MOST_BYTES {
        return Err(Problem::too_large(format!("an event has at most {MOST_BYTES} bytes")));
    }
    Ok(Filed { subject, action, event })
}

fn items<'a>(event: &'a Map<String, Value>, member: &str) -> Result<&'a [Value], Problem> {
    let list = event.get(member).and_then(Value::as_array).filter(|l| !l.is_empty() && l.len() <= MOST_ITEMS);
    list.map(Vec::as_slice).ok_or_else(|| Problem::invalid(format!("Invalid value in field '{member}'")))
}

/// The one person that the event is about.
fn patient(entities: &[Value]) -> Result<NhsNumber, Problem> {
    let bad = || Problem::invalid("Invalid value in field 'entity'");
    let mut found = None;
    for entity in entities {
        let members = entity.as_object().ok_or_else(bad)?;
        if members.keys().any(|k| !OF_AN_ENTITY.contains(&k.as_str())) {
            return Err(bad());
        }
        let identifier = &entity["what"]["identifier"];
        if identifier["system"] == NHS_NUMBER {
            let nhs = identifier["value"].as_str().and_then(NhsNumber::strict).ok_or_else(bad)?;
            if found.replace(nhs).is_some_and(|before| before != nhs) {
                return Err(bad());
            }
        }
    }
    found.ok_or_else(|| Problem::missing("an entity must name the patient"))
}
