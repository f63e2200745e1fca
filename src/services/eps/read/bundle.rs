//! Looking into FHIR resources: entries of a Bundle and what refers to them, extensions, identifiers, codes, numbers and times.
//! Takes what the live service takes (spec/eps.md §3.8): numbers as text, any case of a reference's UUID.
//!
//! Invariant: what is missing or of another type reads as missing; nothing here fails.

use crate::model::{EpochMillis, day, time};
use serde_json::Value;

/// Prefix of the extensions of §5.1.
const STRUCTURE: &str = "https://fhir.nhs.uk/StructureDefinition/";

/// A Bundle's entries.
pub struct Bundle<'a> {
    pub root: &'a Value,
    entries: Vec<(&'a str, &'a Value)>,
}

impl<'a> Bundle<'a> {
    pub fn of(root: &'a Value) -> Self {
        let entries = list(root, "/entry");
        let entries = entries.iter().filter_map(|entry| {
            let url = entry.get("fullUrl").and_then(Value::as_str).unwrap_or_default();
            Some((url, entry.get("resource")?))
        });
        Bundle { root, entries: entries.collect() }
    }

    /// The resources of a type, in their order.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.entries.iter().map(|(_, resource)| *resource).filter(move |resource| is(resource, kind))
    }

    /// The name of each entry; empty for none.
    pub fn urls(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(url, _)| *url)
    }

    /// Every resource.
    pub fn resources(&self) -> impl Iterator<Item = &'a Value> {
        self.entries.iter().map(|(_, resource)| *resource)
    }

    /// The resource that a Reference element names; `None` for one outside of the Bundle or of another type.
    pub fn resolve(&self, reference: Option<&Value>, kind: &str) -> Option<&'a Value> {
        let url = text(reference?, "/reference")?;
        let entry = self.entries.iter().find(|(full, _)| full.eq_ignore_ascii_case(url))?;
        is(entry.1, kind).then_some(entry.1)
    }
}

/// Whether a resource is of this type.
pub fn is(resource: &Value, kind: &str) -> bool {
    resource.get("resourceType").and_then(Value::as_str) == Some(kind)
}

/// Text that is not empty.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// The items of an array; none for anything else.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A whole number, which may be written as text (§3.8).
pub fn integer(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|f| f.abs() < 1e15)?;
            (float.fract() == 0.0).then_some(float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A count of issues that FHIR counts from zero (§5.5), counted from one.
pub fn from_one(value: Option<&Value>) -> Option<u32> {
    integer(value).and_then(|n| n.checked_add(1)).and_then(|n| u32::try_from(n).ok())
}

/// A moment; a day alone is its first moment in UTC.
pub fn moment(text: &str) -> Option<EpochMillis> {
    if let Some(day) = day::parse(text).filter(|_| text.len() == 10) {
        return time::parse_iso(&day::text(day));
    }
    time::parse_iso(text)
}

/// The day that a date or a time begins with.
pub fn day_of(text: &str) -> Option<u32> {
    day::parse(text.get(..10)?)
}

/// The first identifier of a system.
pub fn identifier<'a>(resource: &'a Value, system: &str) -> Option<&'a str> {
    let of = |i: &&Value| i.get("system").and_then(Value::as_str) == Some(system);
    list(resource, "/identifier").iter().find(of).and_then(|i| text(i, "/value"))
}

/// The values of all identifiers of a system, wherever they stand. A parsed message is no deeper than `serde_json` reads.
pub fn identified<'a>(value: &'a Value, system: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| identified(item, system, found)),
        Value::Object(members) => {
            if members.get("system").and_then(Value::as_str) == Some(system) {
                found.extend(text(value, "/value"));
            }
            members.values().for_each(|member| identified(member, system, found));
        }
        _ => {}
    }
}

/// The extensions of a URL; one without a scheme stands below `https://fhir.nhs.uk/StructureDefinition/`, or is a part's name.
pub fn extensions<'a>(value: &'a Value, url: &str) -> impl Iterator<Item = &'a Value> {
    list(value, "/extension").iter().filter(move |e| {
        let own = e.get("url").and_then(Value::as_str).unwrap_or_default();
        own == url || own.strip_prefix(STRUCTURE) == Some(url)
    })
}

/// The first of them.
pub fn extension<'a>(value: &'a Value, url: &str) -> Option<&'a Value> {
    extensions(value, url).next()
}

/// The code of a CodeableConcept: of this system if one is named and there, else the first.
pub fn code<'a>(concept: Option<&'a Value>, system: &str) -> Option<&'a str> {
    let codings = list(concept?, "/coding");
    let of = |c: &&Value| c.get("system").and_then(Value::as_str) == Some(system);
    codings.iter().find(of).or(codings.first()).and_then(|c| text(c, "/code"))
}

/// Whether a CodeableConcept has a code of this system, and which.
pub fn code_of<'a>(concept: Option<&'a Value>, system: &str) -> Option<&'a str> {
    let of = |c: &&Value| c.get("system").and_then(Value::as_str) == Some(system);
    list(concept?, "/coding").iter().find(of).and_then(|c| text(c, "/code"))
}

/// What `Extension-EPS-RepeatInformation` says: issue and issues, both from one; 0 for not said (§5.5).
pub fn repeats(value: &Value) -> (u32, u32) {
    let Some(information) = extension(value, "Extension-EPS-RepeatInformation") else { return (0, 0) };
    let number = |part: &'_ Value| from_one(part.get("valueInteger").or(part.get("valueUnsignedInt")));
    let part = |url: &str| extension(information, url).and_then(number).unwrap_or(0);
    (part("numberOfRepeatsIssued"), part("numberOfRepeatsAllowed"))
}

/// The resource inside another one that `#id` names.
pub fn contained<'a>(resource: &'a Value, reference: Option<&Value>, kind: &str) -> Option<&'a Value> {
    let id = text(reference?, "/reference")?.strip_prefix('#')?;
    let all = list(resource, "/contained");
    all.iter().find(|c| is(c, kind) && c.get("id").and_then(Value::as_str) == Some(id))
}

/// Systems of HL7's terminology that clients write with https and the standard with http (§3.6).
const HTTPS: &[&str] = &["https://terminology.hl7.org/", "https://hl7.org/fhir/CodeSystem"];

/// Writes these systems as the standard does, everywhere in a message.
pub fn rewrite_systems(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(rewrite_systems),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(text) if name == "system" && HTTPS.iter().any(|p| text.starts_with(p)) => {
                        text.replace_range(..5, "http");
                    }
                    _ => rewrite_systems(member),
                }
            }
        }
        _ => {}
    }
}
