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
use std::fmt::Write;

/// Issues after which nothing more is looked for.
const MOST: usize = 50;
/// Most items of one array; a message of 1 MiB with more of them is no prescription.
const ITEMS: usize = 1_000;

/// Checks a resource of whatever type it says it is; types that EPS does not read are let pass.
pub fn validate(root: &Value) -> Result<(), Problems> {
    let kind = root.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    let mut walk = Walk { issues: Vec::new(), path: kind.to_owned() };
    if root.is_object() {
        walk.resource(root);
    } else {
        walk.issues.push(Issue::shape("The content must be one JSON object with a 'resourceType'", ""));
    }
    Problems::none(walk.issues)
}

/// A walk through a message: what was found, and where it is.
struct Walk {
    issues: Vec<Issue>,
    path: String,
}

impl Walk {
    fn full(&self) -> bool {
        self.issues.len() >= MOST
    }

    /// Goes one step down, as far as `step` reaches, and back.
    fn down(&mut self, step: std::fmt::Arguments, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        // Writing to a String cannot fail.
        let _ = self.path.write_fmt(step);
        look(self);
        self.path.truncate(length);
    }

    fn wrong(&mut self, rule: std::fmt::Arguments) {
        self.issues.push(Issue::shape(&format!("{} must {rule}", self.path), self.path.clone()));
    }

    fn resource(&mut self, value: &Value) {
        let kind = value.get("resourceType").and_then(Value::as_str).unwrap_or_default();
        if let Some(elements) = shapes::resource(kind) {
            self.elements(value, elements, kind);
        } else if kind.is_empty() && !self.path.is_empty() {
            self.issues.push(Issue::missing("Resource", "resourceType", format!("{}.resourceType", self.path)));
        }
    }

    fn elements(&mut self, value: &Value, elements: &'static [shapes::Element], kind: &str) {
        for (name, of, count) in elements {
            if self.full() {
                return;
            }
            let member = value.get(name).filter(|member| !member.is_null());
            let empty = member.and_then(Value::as_array).is_some_and(Vec::is_empty);
            self.down(format_args!(".{name}"), |walk| match (member, count) {
                (None, Count::Must | Count::Some) => walk.issues.push(Issue::missing(kind, name, walk.path.clone())),
                (Some(_), Count::Some) if empty => walk.issues.push(Issue::missing(kind, name, walk.path.clone())),
                (None, _) => {}
                (Some(member), Count::Must | Count::May) => walk.one(member, of),
                (Some(member), Count::Some | Count::Many) => walk.many(member, of),
            });
        }
    }

    fn many(&mut self, member: &Value, of: &str) {
        let Some(items) = member.as_array() else { return self.wrong(format_args!("be an array of {of}")) };
        if items.len() > ITEMS {
            return self.wrong(format_args!("have at most {ITEMS} items"));
        }
        for (index, item) in items.iter().enumerate() {
            if self.full() {
                return;
            }
            self.down(format_args!("[{index}]"), |walk| walk.one(item, of));
        }
    }

    fn one(&mut self, value: &Value, of: &str) {
        if of.starts_with(|first: char| first.is_ascii_lowercase()) {
            if let Some(rule) = primitive(value, of) {
                self.wrong(format_args!("be {rule}"));
            }
        } else if !value.is_object() {
            self.wrong(format_args!("be one {of}, as a JSON object"));
        } else if of == "Resource" {
            self.resource(value);
        } else if let Some(elements) = shapes::elements(of) {
            self.elements(value, elements, of);
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
        "gender" => (
            text.is_some_and(|t| matches!(t, "male" | "female" | "other" | "unknown")),
            "male, female, other or unknown",
        ),
        "decimal" => (
            value.is_number() || text.is_some_and(|t| serde_json::from_str::<serde_json::Number>(t.trim()).is_ok()),
            "a number",
        ),
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
