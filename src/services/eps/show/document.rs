//! A stored message: its resources by kind and by reference. What was checked where it came in (`read`) is not checked again; what
//! is missing is simply not shown.

use super::{SNOMED, coding, exact};
use serde_json::{Value, json};

/// A Bundle as it came.
#[derive(Clone, Debug)]
pub struct Document {
    bundle: Value,
}

impl Document {
    /// From the message's text; `None` where it is no JSON.
    pub fn read(text: &[u8]) -> Option<Document> {
        exact::read(text).map(Document::of)
    }
    pub fn of(bundle: Value) -> Document {
        Document { bundle }
    }
    pub fn bundle(&self) -> &Value {
        &self.bundle
    }
    /// The message's id, lower case.
    pub fn message(&self) -> String {
        text(&self.bundle["identifier"], "value").to_lowercase()
    }
    /// Every entry with a resource: its reference and the resource, which is an object.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        let entries = list(&self.bundle, "entry").iter().filter(|e| e["resource"].is_object());
        entries.map(|e| (text(e, "fullUrl"), &e["resource"]))
    }
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.entries().filter(move |(_, r)| text(r, "resourceType") == kind)
    }
    /// What a Reference points at.
    pub fn resolve(&self, reference: &Value) -> Option<(&str, &Value)> {
        let wanted = text(reference, "reference");
        (!wanted.is_empty()).then(|| self.entries().find(|(url, _)| url.eq_ignore_ascii_case(wanted))).flatten()
    }
    /// The item with a number, which may be in any case.
    pub fn item(&self, id: &str) -> Option<&Value> {
        self.of_kind("MedicationRequest").map(|(_, r)| r).find(|r| item_id(r).eq_ignore_ascii_case(id))
    }
    /// Code and display of an item's drug, from the item or from the Medication that it refers to.
    pub(crate) fn medication(&self, item: &Value) -> Value {
        let concept = match item.get("medicationReference") {
            Some(reference) => self.resolve(reference).map(|(_, m)| &m["code"]),
            None => item.get("medicationCodeableConcept"),
        };
        let codings = concept.map(|c| list(c, "coding")).unwrap_or_default();
        let code = codings.iter().find(|c| text(c, "system").ends_with("snomed.info/sct")).or(codings.first());
        code.map(|c| coding(SNOMED, text(c, "code"), text(c, "display"))).unwrap_or_default()
    }
    /// PractitionerRole of who asks.
    pub fn requester(&self) -> Option<(&str, &Value)> {
        let (_, first) = self.of_kind("MedicationRequest").next()?;
        self.resolve(&first["requester"])
    }
    /// What a role's `organization` is.
    pub fn organization_of(&self, role: &Value) -> Option<&Value> {
        self.resolve(&role["organization"]).map(|(_, r)| r)
    }
}

/// A member's text; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A list member; empty where there is none.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Number of an item: the identifier of its system, else the first.
pub(crate) fn item_id(request: &Value) -> &str {
    let all = list(request, "identifier");
    let own = all.iter().find(|i| text(i, "system") == super::ITEM).or(all.first());
    own.map_or("", |i| text(i, "value"))
}

/// Value of the identifier that has a system.
pub(crate) fn identified<'a>(resource: &'a Value, system: &str) -> &'a str {
    let found = list(resource, "identifier").iter().find(|i| text(i, "system") == system);
    found.map_or("", |i| text(i, "value"))
}

/// The extension with a URL.
pub(crate) fn extension<'a>(element: &'a Value, url: &str) -> Option<&'a Value> {
    list(element, "extension").iter().find(|e| text(e, "url") == url)
}

/// A number that may have come as a string (§3.8).
pub(crate) fn number(sent: &Value) -> Value {
    match sent {
        Value::String(s) if serde_json::from_str::<serde_json::Number>(s).is_ok() => {
            json!(format!("{}{s}", exact::MARK))
        }
        other => other.clone(),
    }
}

/// The text of all instructions: groups of one sequence joined with ", and ", groups with ", then " (§6.3).
pub(crate) fn dosage(instructions: &[Value]) -> String {
    let [_, _, ..] = instructions else {
        return instructions.first().map_or("", |i| text(i, "text")).to_owned();
    };
    let mut all: Vec<(i64, &str)> = instructions.iter().map(|i| (sequence(&i["sequence"]), text(i, "text"))).collect();
    all.sort_by_key(|(sequence, _)| *sequence);
    let groups: Vec<String> = all
        .chunk_by(|a, b| a.0 == b.0)
        .map(|group| group.iter().map(|(_, text)| *text).collect::<Vec<_>>().join(", and "))
        .collect();
    groups.join(", then ")
}

fn sequence(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}
