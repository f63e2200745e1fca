//! Values that must be the same in every resource of a message, or different in each (spec/eps.md §19.1 nos. 6, 11, 18).

use super::problem::Issue;
use serde_json::Value;
use std::borrow::Cow;

/// What [`Same`] compares: null for an element that is not there.
type Get = fn(&Value) -> Cow<Value>;

/// An element that must be the same: its path as the issue names it, and how to get it.
pub type Same = (&'static str, Get);

/// One issue for each element that differs between the resources.
pub fn differing(kind: &str, resources: &[&Value], elements: &[Same]) -> Vec<Issue> {
    elements.iter().filter_map(|(path, get)| one(kind, resources, path, *get)).collect()
}

fn one(kind: &str, resources: &[&Value], path: &str, get: Get) -> Option<Issue> {
    let mut unique: Vec<Cow<Value>> = Vec::new();
    for resource in resources {
        let value = get(resource);
        if !unique.contains(&value) {
            unique.push(value);
        }
    }
    if unique.len() < 2 {
        return None;
    }
    let received = Value::Array(unique.into_iter().map(Cow::into_owned).collect());
    let text = format!("Expected all {kind}s to have the same value for {path}. Received {received}.");
    Some(Issue::check("value", text, of_type(kind, path)))
}

/// An element as it stands.
pub fn as_is(element: Option<&Value>) -> Cow<'_, Value> {
    Cow::Borrowed(element.unwrap_or(&Value::Null))
}

/// The FHIRPath of an element of every resource of a type in a Bundle.
pub fn of_type(kind: &str, path: &str) -> String {
    format!("Bundle.entry.resource.ofType({kind}).{path}")
}
