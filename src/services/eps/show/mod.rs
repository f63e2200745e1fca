//! Records and documents → FHIR answers (spec/eps.md §8.4, §9, §14, §19). Pure: time, ids and addresses come in as arguments.
//!
//! | file | duty |
//! |---|---|
//! | `refusals` | what the store refuses → OperationOutcome (§19.2, §19.3) |
//! | `help` | where in the message such a refusal lies, and what would be right |
//! | `document`, `exact` | a stored message, and its numbers with the digits they came with |
//! | `people` | resources copied from a message into an answer, under new ids |
//! | `release` | a release's answer (§9.4) |
//! | `cancel` | a cancellation's answer, and the later one (§8.4, §8.5) |
//! | `task`, `task_query` | `GET /Task` (§14.1) |
//! | `tracker`, `tracker_detail`, `tracker_query` | `RequestGroup` (§14.2) |
//! | `words` | displays of codes |
//! | `metadata` | CapabilityStatement, `_ping`, `_status` |
//!
//! Invariant: an answer shows what the record says; nothing here decides.

pub mod cancel;
pub mod document;
pub mod exact;
pub mod help;
pub mod metadata;
pub(crate) mod people;
pub mod refusals;
pub mod release;
pub mod task;
pub mod task_query;
pub mod tracker;
mod tracker_detail;
pub mod tracker_query;
mod words;

#[cfg(test)]
mod tests;

use super::{record::Dispenser, states};
use crate::{
    model::{EpochMillis, time},
    wire::packed,
};
use serde_json::{Value, json};

/// Where new ids come from: lower-case UUIDs, each once.
pub type Ids<'a> = &'a mut dyn FnMut() -> String;

pub const FHIR_JSON: &str = "application/fhir+json; fhirVersion=4.0";

pub const UUIDS: &str = "https://tools.ietf.org/html/rfc4122";
pub const SHORT_ID: &str = "https://fhir.nhs.uk/Id/prescription-order-number";
pub const LONG_ID: &str = "https://fhir.nhs.uk/Id/prescription";
pub const ITEM: &str = "https://fhir.nhs.uk/Id/prescription-order-item-number";
pub const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";
pub const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
pub const ROLE_PROFILE: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id";
pub const SNOMED: &str = "http://snomed.info/sct";
pub const EVENTS: &str = "https://fhir.nhs.uk/CodeSystem/message-event";
pub const BUSINESS_STATUS: &str = "https://fhir.nhs.uk/CodeSystem/EPS-task-business-status";
pub const ITEM_STATUS: &str = "https://fhir.nhs.uk/CodeSystem/medicationdispense-type";
pub const CANCEL_REASON: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-reason";
pub const HTTP_ERRORS: &str = "https://fhir.nhs.uk/CodeSystem/http-error-codes";
pub const SITE_TYPE: &str = "https://fhir.nhs.uk/CodeSystem/dispensing-site-preference";
pub const PRESCRIPTION_TYPE: &str = "https://fhir.nhs.uk/CodeSystem/prescription-type";
/// Before the names of extensions.
pub const EXTENSION: &str = "https://fhir.nhs.uk/StructureDefinition/";
pub const UK_CORE_REPEAT: &str =
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicationRepeatInformation";

/// `2022-10-21T13:47:00+00:00`, as every time of an EPS answer.
pub fn zoned(at: EpochMillis) -> String {
    let iso = time::iso(at);
    format!("{}+00:00", iso.get(..19).unwrap_or(&iso))
}

/// URL of an extension of ours.
pub(crate) fn url(name: &str) -> String {
    format!("{EXTENSION}{name}")
}

pub(crate) fn identifier(system: &str, value: &str) -> Value {
    json!({"system": system, "value": value})
}

pub(crate) fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({"system": system, "code": code, "display": display})
}

pub(crate) fn reference(id: &str) -> Value {
    json!({"reference": urn(id)})
}

pub(crate) fn urn(id: &str) -> String {
    format!("urn:uuid:{id}")
}

/// A resource in a Bundle.
pub(crate) fn entry(id: &str, resource: Value) -> Value {
    json!({"fullUrl": urn(id), "resource": resource})
}

/// `MedicationRequest.status` of an item's status (§9.4).
pub(crate) fn request_status(item: u16) -> &'static str {
    match item {
        1 => "completed",
        2 | 6 => "stopped",
        5 => "cancelled",
        _ => "active",
    }
}

/// Coding of an issue's status.
pub(crate) fn business_status(status: u16, display: &str) -> Value {
    coding(BUSINESS_STATUS, &states::code(status), display)
}

/// What a dispenser said of itself at its release: `owner` Organization and `agent` PractitionerRole. One that took a prescription
/// over said nothing: then its code and name.
pub(crate) fn dispenser(of: &Dispenser) -> (Value, Value) {
    let owner = packed::unpack(&of.owner).unwrap_or_default();
    let agent = packed::unpack(&of.agent).ok().filter(Value::is_object).unwrap_or_default();
    if owner.is_object() {
        return (owner, agent);
    }
    let mut owner = json!({"resourceType": "Organization", "identifier": [identifier(ODS, &of.ods)]});
    if !of.name.is_empty() {
        owner["name"] = json!(of.name);
    }
    (owner, agent)
}

/// Coding of the treatment type (§5.3).
pub(crate) fn course_of_therapy(treatment: u8) -> Value {
    use super::message::treatment;
    const HL7: &str = "http://terminology.hl7.org/CodeSystem/medicationrequest-course-of-therapy";
    match treatment {
        treatment::DISPENSING => coding(
            "https://fhir.nhs.uk/CodeSystem/medicationrequest-course-of-therapy",
            "continuous-repeat-dispensing",
            "Continuous long term (repeat dispensing)",
        ),
        treatment::REPEAT => coding(HL7, "continuous", "Continuous long term therapy"),
        _ => coding(HL7, "acute", "Short course (acute) therapy"),
    }
}

/// `Extension-EPS-RepeatInformation`; who counts from zero and who from one, §5.5 says.
pub(crate) fn repeat_information(allowed: u32, issued: u32) -> Value {
    json!({"url": url("Extension-EPS-RepeatInformation"), "extension": [
        {"url": "numberOfRepeatsAllowed", "valueInteger": allowed},
        {"url": "numberOfRepeatsIssued", "valueInteger": issued},
    ]})
}
