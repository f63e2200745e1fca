//! The signature's tests: the published vector and the published HL7 v3 forms (`vectors`), certificates and lists made here
//! (`certificates`), the three published signed prescriptions (`published`), and whatever comes in (`anything`).

mod anything;
pub(in crate::services::eps) mod certificates;
mod published;
mod vectors;

use crate::wire::xml::{self, Element};
use serde_json::Value;

/// A published example.
macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../../../tests/data/eps/", $name))
    };
}
pub(crate) use example;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn xml(text: &str) -> Element {
    xml::parse(text).unwrap()
}

/// The first element of that name, depth first.
fn find<'a>(within: &'a Element, name: &str) -> Option<&'a Element> {
    if within.name == name {
        return Some(within);
    }
    within.children.iter().find_map(|child| find(child, name))
}
