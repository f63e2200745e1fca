//! Who sent a message, by its own words (spec/eps.md §5.2): roles, persons, organisations, and where they are found.

use super::{
    bundle::{Bundle, contained, identifier, list, text},
    codes,
};
use crate::services::eps::{ids, message::Sender};
use serde_json::Value;

/// A person's name as one reads it.
fn name(person: &Value) -> String {
    let Some(name) = list(person, "/name").first() else { return String::new() };
    let words = |pointer: &str| list(name, pointer).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let mut all = words("/prefix");
    all.extend(words("/given"));
    all.extend(text(name, "/family"));
    all.extend(words("/suffix"));
    if all.is_empty() {
        all.extend(text(name, "/text"));
    }
    all.join(" ")
}

/// An ODS code as it is kept; one that breaks the rule of §7.2 is for the caller to refuse.
fn upper(code: Option<&str>) -> String {
    code.unwrap_or_default().to_ascii_uppercase()
}

/// What an order's role stands for: its HealthcareService if it names one, else its Organization (§6.3).
pub fn unit<'a>(bundle: &Bundle<'a>, role: &Value) -> Option<&'a Value> {
    let service = list(role, "/healthcareService").first();
    bundle.resolve(service, "HealthcareService").or_else(|| organization(bundle, role))
}

/// The Organization of a role of a Bundle.
pub fn organization<'a>(bundle: &Bundle<'a>, role: &Value) -> Option<&'a Value> {
    bundle.resolve(role.get("organization"), "Organization")
}

/// The Practitioner of a role of a Bundle.
pub fn practitioner<'a>(bundle: &Bundle<'a>, role: &Value) -> Option<&'a Value> {
    bundle.resolve(role.get("practitioner"), "Practitioner")
}

/// Sender of an order or a cancellation: everything is in the Bundle.
pub fn prescriber(bundle: &Bundle, role: &Value) -> Sender {
    let unit = unit(bundle, role).unwrap_or(&Value::Null);
    let person = practitioner(bundle, role).unwrap_or(&Value::Null);
    Sender {
        ods: upper(identifier(unit, codes::ODS)),
        name: text(unit, "/name").unwrap_or_default().to_owned(),
        user: identifier(person, codes::USER).unwrap_or_default().to_owned(),
        role: identifier(role, codes::ROLE).unwrap_or_default().to_owned(),
        person: name(person),
        ..Default::default()
    }
}

/// Sender of a dispenser's message: the person by identifier, the organisation beside it.
pub fn dispenser(role: &Value, organization: &Value) -> Sender {
    Sender {
        ods: upper(identifier(organization, codes::ODS)),
        name: text(organization, "/name").unwrap_or_default().to_owned(),
        user: text(role, "/practitioner/identifier/value").unwrap_or_default().to_owned(),
        role: identifier(role, codes::ROLE).unwrap_or_default().to_owned(),
        person: text(role, "/practitioner/display").unwrap_or_default().to_owned(),
        ..Default::default()
    }
}

/// The role inside a Task or a Claim that an element names by its `#id`.
pub fn inner_role<'a>(root: &'a Value, reference: Option<&Value>) -> Option<&'a Value> {
    contained(root, reference, "PractitionerRole")
}

/// Its organisation, inside the same resource.
pub fn inner_organization<'a>(root: &'a Value, role: &Value) -> Option<&'a Value> {
    contained(root, role.get("organization"), "Organization")
}

/// Whether a dispenser's person is given as it must be: by identifier, not by reference (§9.1, §10.1, §13).
pub fn by_identifier(role: &Value) -> bool {
    text(role, "/practitioner/reference").is_none() && text(role, "/practitioner/identifier/value").is_some()
}

/// Whether the sender's code is one that the store takes (§7.2).
pub fn known(sender: &Sender) -> bool {
    ids::ods(&sender.ods).is_some()
}
