//! A stored message: its resources by kind and by reference. What was checked where it came in (`read`) is not checked again; what
//! is missing is simply not shown.

use super::exact;
use serde_json::Value;

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
    /// Every entry: its reference and its resource.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        let entries = self.bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
        entries.iter().map(|e| (text(e, "fullUrl"), &e["resource"]))
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
