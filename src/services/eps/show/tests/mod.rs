//! Answers against the published ones, member by member. Ids that are new each time are compared by which one stands where.

mod cancelling;
mod chain;
mod mutated;
mod refusing;
mod releasing;
mod tasks;
mod tracking;

use super::document::Document;
use serde_json::{Map, Value};

/// A published example.
macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../../../tests/data/eps/", $name))
    };
}
pub(crate) use example;

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub fn document(text: &str) -> Document {
    Document::read(text.as_bytes()).unwrap()
}

/// UUIDs one after another.
pub fn ids() -> impl FnMut() -> String {
    let mut next = 0;
    move || {
        next += 1;
        format!("00000000-0000-4000-8000-{next:012}")
    }
}

/// The value with its UUIDs numbered in the order in which they are met.
pub fn numbered(value: &Value) -> Value {
    fn uuid(text: &str) -> bool {
        text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            })
    }
    fn go(value: &Value, met: &mut Vec<String>) -> Value {
        match value {
            Value::String(s) => {
                let bare = s.trim_start_matches("urn:uuid:").trim_start_matches('#').to_lowercase();
                if !uuid(&bare) {
                    return value.clone();
                }
                let at = met.iter().position(|m| *m == bare).unwrap_or_else(|| {
                    met.push(bare.clone());
                    met.len() - 1
                });
                Value::String(format!("uuid {at}"))
            }
            Value::Array(all) => all.iter().map(|v| go(v, met)).collect(),
            Value::Object(all) => {
                Value::Object(all.iter().map(|(n, v)| (n.clone(), go(v, met))).collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
    go(value, &mut vec![])
}

/// Where two values differ: path, then both.
pub fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    fn go(path: &str, a: &Value, b: &Value, out: &mut Vec<String>) {
        match (a, b) {
            (Value::Object(x), Value::Object(y)) => {
                let names: std::collections::BTreeSet<_> = x.keys().chain(y.keys()).collect();
                for name in names {
                    let path = format!("{path}.{name}");
                    go(&path, x.get(name).unwrap_or(&Value::Null), y.get(name).unwrap_or(&Value::Null), out);
                }
            }
            (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
                for (at, (a, b)) in x.iter().zip(y).enumerate() {
                    go(&format!("{path}[{at}]"), a, b, out);
                }
            }
            _ if a == b => {}
            _ => out.push(format!("{path}: {a} / {b}")),
        }
    }
    let mut out = vec![];
    go("", ours, theirs, &mut out);
    out
}
