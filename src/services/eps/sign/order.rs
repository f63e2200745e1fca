//! An order as the signature reads it: resources by type, references by `fullUrl`, texts where they are texts.

use super::digits::Digits;
use serde_json::Value;
use std::collections::HashMap;

static NOTHING: Value = Value::Null;

/// A Bundle with its entries found once.
pub struct Order<'a> {
    entries: &'a [Value],
    /// By `fullUrl` in lower case: whoever reads and shows the order takes any case of a reference (§3.8), and must find the same.
    by_url: HashMap<String, &'a Value>,
    digits: &'a Digits,
}

impl<'a> Order<'a> {
    pub fn new(bundle: &'a Value, digits: &'a Digits) -> Order<'a> {
        let entries = list(&bundle["entry"]);
        let mut by_url = HashMap::with_capacity(entries.len());
        for entry in entries {
            // The first of two that say the same: `read` refuses such a Bundle where it matters.
            by_url.entry(text(&entry["fullUrl"]).to_ascii_lowercase()).or_insert(&entry["resource"]);
        }
        Order { entries, by_url, digits }
    }

    /// Resources of a type, in the Bundle's order, with their entry's place.
    pub fn of_type(&self, name: &'static str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
        let resources = self.entries.iter().map(|entry| &entry["resource"]).enumerate();
        resources.filter(move |(_, resource)| resource["resourceType"].as_str() == Some(name))
    }

    /// The first item, whose common fields are those of all (§5.1).
    pub fn first_item(&self) -> &'a Value {
        self.of_type("MedicationRequest").next().map_or(&NOTHING, |(_, item)| item)
    }

    /// What a Reference names; null for what is not in the Bundle.
    pub fn resolve(&self, reference: &Value) -> &'a Value {
        reference["reference"]
            .as_str()
            .and_then(|url| self.by_url.get(&url.to_ascii_lowercase()))
            .copied()
            .unwrap_or(&NOTHING)
    }

    /// An item's quantity as it was written.
    pub fn quantity(&self, entry: usize, item: &Value) -> String {
        match self.digits.at(entry) {
            Some(digits) => digits.to_owned(),
            None => scalar(&item["dispenseRequest"]["quantity"]["value"]),
        }
    }
}

/// A text; empty for what is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// A list; empty for what is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The first of a list.
pub fn first(value: &Value) -> &Value {
    list(value).first().unwrap_or(&NOTHING)
}

/// A number as text; a text that stands for a number is taken as it is (§3.8).
pub fn scalar(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    }
}

/// A whole number, written as a number or as a text.
pub fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The first identifier of a system.
pub fn identifier<'a>(identifiers: &'a Value, system: &str) -> &'a str {
    let found = list(identifiers).iter().find(|one| one["system"].as_str() == Some(system));
    found.map_or("", |one| text(&one["value"]))
}

/// The first coding of a system in a CodeableConcept.
pub fn coding<'a>(concept: &'a Value, system: &str) -> Option<&'a Value> {
    list(&concept["coding"]).iter().find(|one| one["system"].as_str() == Some(system))
}

/// The first extension of a URL.
pub fn extension<'a>(of: &'a Value, url: &str) -> &'a Value {
    list(&of["extension"]).iter().find(|one| one["url"].as_str() == Some(url)).unwrap_or(&NOTHING)
}
