//! Reading tested with the published messages (tests/data/eps): each says what it says, and each rule refuses one that breaks it.

mod mutated;
mod published;
mod refused;
mod refused_dispense;

use super::{Event, Problems, event, parse, problem, resource};
use crate::model::{EpochMillis, time};
use serde_json::{Value, json};

macro_rules! examples {
    ($($name:literal,)*) => {
        /// Name and text of every message.
        const EXAMPLES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../tests/data/eps/", $name, ".json"))),)*];
    };
}

examples! {
    "01-order-acute-nominated/order-multiple-dosage-request",
    "01-order-acute-nominated/order-request",
    "01-order-acute-nominated/prepare-request",
    "01-order-acute-nominated/release-request-nominated",
    "02-order-acute-no-nomination/order-request",
    "02-order-acute-no-nomination/prepare-request",
    "03-order-repeat-prescribing/order-request",
    "04-order-erd/order-request",
    "04-order-erd/order-with-medication-list-request",
    "04-order-erd/prepare-request",
    "05-order-secondary-care-four-items/order-request",
    "06-order-controlled-drug/order-request",
    "06-order-controlled-drug/prepare-request",
    "07-cancel/acute-cancel-2-request",
    "07-cancel/acute-cancel-request",
    "07-cancel/acute-order-request",
    "07-cancel/erd-cancel-request",
    "07-cancel/repeat-cancel-request",
    "08-release/acute-request",
    "08-release/by-prescription-id-request",
    "08-release/erd-request",
    "08-release/nominated-request",
    "09-dispense-notification/acute-01-request",
    "09-dispense-notification/acute-02-request",
    "09-dispense-notification/acute-03-request",
    "09-dispense-notification/acute-04-request",
    "09-dispense-notification/acute-05-request",
    "09-dispense-notification/erd-request",
    "10-return/acute-request",
    "10-return/erd-request",
    "10-return/repeat-request",
    "11-withdraw/acute-request",
    "11-withdraw/erd-request",
    "11-withdraw/repeat-request",
    "12-claim/acute-request",
    "12-claim/erd-request",
    "12-claim/repeat-request",
    "14-signature/prepare-request-of-fixture",
    "15-errors/dispense-mixed-non-dispensing-reason-response",
    "15-errors/operation-outcome-success",
    "15-errors/order-invalid-checksum-request",
    "15-errors/order-invalid-checksum-response",
    "15-errors/validation-missing-field-response",
}

/// A message as it came.
fn text(name: &str) -> &'static str {
    EXAMPLES.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no example {name}")).1
}

/// A message, parsed.
fn example(name: &str) -> Value {
    parse(text(name).as_bytes()).expect(name)
}

/// A moment of a test.
fn at(text: &str) -> EpochMillis {
    time::parse_iso(text).expect("a time")
}

/// One second before the published orders were signed.
fn now() -> EpochMillis {
    at("2022-10-21T13:47:00Z")
}

/// A message that one change breaks.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut message = example(name);
    change(&mut message);
    message
}

/// The first resource of a type in a Bundle.
fn first<'a>(bundle: &'a mut Value, kind: &str) -> &'a mut Value {
    nth(bundle, kind, 0)
}

/// The resource of a type in a Bundle.
fn nth<'a>(bundle: &'a mut Value, kind: &str, n: usize) -> &'a mut Value {
    let entries = bundle["entry"].as_array_mut().expect("entries");
    let of = entries.iter_mut().map(|e| &mut e["resource"]).filter(|r| r["resourceType"] == kind);
    of.into_iter().nth(n).unwrap_or_else(|| panic!("no {kind} {n}"))
}

/// Takes a member away.
fn drop_member(value: &mut Value, name: &str) {
    value.as_object_mut().expect("an object").remove(name).expect("was there");
}

/// The only issue: severity, FHIR code, coding's code, text of either place, path.
fn only(problems: Problems) -> (String, String, String, String, String) {
    assert_eq!(problems.issues.len(), 1, "{problems:?}");
    let outcome = problems.outcome(&Value::Null, now());
    let issue = &outcome["issue"][0];
    let text = |pointer: &str| issue.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let words = Some(text("/details/coding/0/display")).filter(|t| !t.is_empty()).unwrap_or(text("/diagnostics"));
    (text("/severity"), text("/code"), text("/details/coding/0/code"), words, text("/expression/0"))
}

/// That a refusal is this one.
#[track_caller]
fn assert_only<T: std::fmt::Debug>(
    result: Result<T, Problems>,
    (severity, code, coding): (&str, &str, &str),
    words: &str,
) {
    let found = only(result.expect_err("refused"));
    assert_eq!(
        (found.0.as_str(), found.1.as_str(), found.2.as_str(), found.3.as_str()),
        (severity, code, coding, words),
        "{found:?}"
    );
}
