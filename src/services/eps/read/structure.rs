//! Step 2 of the checks (spec/eps.md §3.3): does a message have the shape that FHIR R4 gives it? Every issue names the element,
//! the rule and what would be right.
//!
//! Invariant: the work is bounded by the message's size, and the answer by [`MOST`] issues.

use super::{
    bundle::{integer, moment},
    problem::{Issue, Problems},
    shapes::{self, Count},
};
use serde_json::Value;

/// Issues after which nothing more is looked for.
const MOST: usize = 50;
/// Most items of one array; a message of 1 MiB with more of them is no prescription.
const ITEMS: usize = 1_000;

/// Checks a resource of whatever type it says it is; types that EPS does not read are let pass.
pub fn validate(root: &Value) -> Result<(), Problems> {
    let mut walk = Walk { issues: Vec::new() };
    match root.as_object() {
        None => walk.issues.push(Issue::shape("The content must be one JSON object with a 'resourceType'", "")),
        Some(_) => walk.resource(root, None),
    }
    Problems::none(walk.issues)
}

struct Walk {
    issues: Vec<Issue>,
}

/// Kind, owner and path of what is looked at.
type Place<'p> = (&'p str, &'p str);

impl Walk {
    fn full(&self) -> bool {
        self.issues.len() >= MOST
    }

    fn resource(&mut self, value: &Value, path: Option<&str>) {
        let kind = value.get("resourceType").and_then(Value::as_str).unwrap_or_default();
        if kind.is_empty() && path.is_some() {
            let path = path.unwrap_or_default();
            self.issues.push(Issue::missing("Resource", "resourceType", format!("{path}.resourceType")));
            return;
        }
        let Some(elements) = shapes::resource(kind) else { return };
        self.elements(value, elements, (kind, path.unwrap_or(kind)));
    }

    fn elements(&mut self, value: &Value, elements: &'static [shapes::Element], (kind, path): Place) {
        for (name, of, count) in elements {
            if self.full() {
                return;
            }
            let at = format!("{path}.{name}");
            let member = value.get(name).filter(|member| !member.is_null());
            let empty = member.and_then(Value::as_array).is_some_and(Vec::is_empty);
            match (member, count) {
                (None, Count::Must | Count::Some) => self.issues.push(Issue::missing(kind, name, at)),
                (Some(_), Count::Some) if empty => self.issues.push(Issue::missing(kind, name, at)),
                (None, _) => {}
                (Some(member), Count::Must | Count::May) => self.one(member, of, &at),
                (Some(member), Count::Some | Count::Many) => self.many(member, of, &at),
            }
        }
    }

    fn many(&mut self, member: &Value, of: &str, at: &str) {
        let Some(items) = member.as_array() else {
            self.issues.push(Issue::shape(&format!("{at} must be an array of {of}"), at));
            return;
        };
        if items.len() > ITEMS {
            self.issues.push(Issue::shape(&format!("{at} must have at most {ITEMS} items"), at));
            return;
        }
        for (index, item) in items.iter().enumerate() {
            if self.full() {
                return;
            }
            self.one(item, of, &format!("{at}[{index}]"));
        }
    }

    fn one(&mut self, value: &Value, of: &str, at: &str) {
        if of.starts_with(|first: char| first.is_ascii_lowercase()) {
            if let Some(rule) = primitive(value, of) {
                self.issues.push(Issue::shape(&format!("{at} must be {rule}"), at));
            }
        } else if !value.is_object() {
            self.issues.push(Issue::shape(&format!("{at} must be one {of}, as a JSON object"), at));
        } else if of == "Resource" {
            self.resource(value, Some(at));
        } else if let Some(elements) = shapes::elements(of) {
            self.elements(value, elements, (of, at));
        }
    }
}

/// What a value would have to be to be one of these; `None` where it is. Numbers and booleans may be text (§3.8).
fn primitive(value: &Value, of: &str) -> Option<&'static str> {
    let text = value.as_str();
    let (right, rule) = match of {
        "string" => (text.is_some_and(|t| !t.is_empty()), "text that is not empty"),
        "boolean" => (value.is_boolean() || matches!(text, Some("true" | "false")), "true or false"),
        "integer" => (integer(Some(value)).is_some(), "a whole number"),
        "decimal" => (value.is_number() || text.is_some_and(|t| t.trim().parse::<f64>().is_ok()), "a number"),
        "date" => (text.is_some_and(partial_date), "a date: YYYY, YYYY-MM or YYYY-MM-DD"),
        "dateTime" => (
            text.is_some_and(|t| partial_date(t) || moment(t).is_some()),
            "a date, or a time YYYY-MM-DDThh:mm:ss+zz:zz",
        ),
        _ => (true, ""),
    };
    (!right).then_some(rule)
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
fn partial_date(text: &str) -> bool {
    let rest = match text.len() {
        4 => "-01-01",
        7 => "-01",
        10 => "",
        _ => return false,
    };
    text.is_ascii()
        && crate::model::day::parse(&format!("{text}{rest}")).is_some_and(|_| text.get(4..5).is_none_or(|c| c == "-"))
}
