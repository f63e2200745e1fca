//! What a caller reads where the store refuses.

use super::{example, ids, json, numbered};
use crate::{
    model::time,
    services::eps::{
        record::Dispenser,
        refused::Refused,
        show::refusals::{
            self,
            Vocabulary::{self, *},
        },
    },
    wire::packed,
};

fn at(text: &str) -> u64 {
    time::parse_iso(text).unwrap()
}

#[test]
fn a_release_of_nothing_is_as_published() {
    let published = json(example!("08-release/response-not-found.json"));
    let at = at("2022-10-21T13:47:00Z");
    assert_eq!(refusals::refusal(&Refused::ResourceNotFound, Dispensing, at), published);
    assert_eq!(refusals::refusal(&Refused::NotFound, Dispensing, at), published);
}

#[test]
fn with_another_dispenser_is_as_published() {
    let published = json(example!("08-release/response-with-another-dispenser.json"));
    let at = at("2025-02-14T11:30:29Z");
    let holder = Dispenser { owner: packed::pack(&published["contained"][0]), ..Default::default() };
    let ours = refusals::with_another_dispenser(Some(&holder), at, &mut ids());
    assert_eq!(numbered(&ours), numbered(&published));
    let nobody = refusals::with_another_dispenser(None, at, &mut ids());
    assert_eq!(nobody["contained"][0]["name"], "UNKNOWN");
    assert_eq!(nobody["contained"][0]["identifier"][0]["value"], "UNKNOWN");
    assert_eq!(nobody["contained"][0].get("telecom"), None);
    // One that took the prescription over said nothing at a release.
    let over = Dispenser { ods: "FA565".into(), name: "A".into(), ..Default::default() };
    let shown = refusals::with_another_dispenser(Some(&over), at, &mut ids());
    assert_eq!(shown["contained"][0]["identifier"][0]["value"], "FA565");
}

/// The tables' rows: issue code, system, code, display.
const ROWS: [(Refused, Vocabulary, &str); 16] = [
    (
        Refused::DuplicatePrescription,
        Prescribing,
        "duplicate I DUPLICATE_PRESCRIPTION_ID Duplicate prescription ID exists",
    ),
    (Refused::DuplicateItem, Prescribing, "duplicate I DUPLICATE_MEDICATIONREQUEST_ID Duplicate item ID exists"),
    (Refused::MissingSignature, Prescribing, "business-rule I MISSING_DIGITAL_SIGNATURE Digital signature not found"),
    (
        Refused::NotFound,
        Prescribing,
        "not-found I PRESCRIPTION_NOT_FOUND Prescription can not be found. Contact prescriber",
    ),
    (
        Refused::Transition,
        Prescribing,
        "business-rule I PRESCRIPTION_INVALID_STATE_TRANSITION Invalid State Transition for Prescription",
    ),
    (
        Refused::ItemTransition,
        Prescribing,
        "business-rule I MEDICATIONREQUEST_INVALID_STATE_TRANSITION Invalid State Transition for Prescription Item",
    ),
    (Refused::ItemNotFound, Prescribing, "not-found I MEDICATIONREQUEST_NOT_FOUND Prescription Item Not found"),
    (
        Refused::NotDispensed,
        Prescribing,
        "business-rule I CLAIM_INVALID_NOT_DISPENSED Invalid Claim. Prescription is not Dispensed",
    ),
    (
        Refused::RepeatCount,
        Prescribing,
        "business-rule I MISMATCH_AUTHORISED_REPEAT_COUNT Mismatch in authorised repeat counts",
    ),
    (
        Refused::AmendMismatch,
        Prescribing,
        "business-rule I DISPENSE_AMEND_IDENTIFIER_MISMATCH \
         Dispense Amendment/Cancellation Request does not pertain to Last Dispense",
    ),
    (
        Refused::ClaimPeriod,
        Prescribing,
        "business-rule S CLAIM_AMEND_PERIOD_ISSUE Claim amendment is not permitted outside of the claim period",
    ),
    (Refused::Cancelled, Dispensing, "business-rule I PRESCRIPTION_CANCELLED Prescription has been cancelled"),
    (Refused::Expired, Dispensing, "business-rule I PRESCRIPTION_EXPIRED Prescription has expired"),
    (Refused::ResourceNotFound, Dispensing, "not-found S RESOURCE_NOT_FOUND Resource not found"),
    (
        Refused::WithAnotherDispenser,
        Prescribing,
        "business-rule I PRESCRIPTION_WITH_ANOTHER_DISPENSER Prescription is with another dispenser",
    ),
    (Refused::Dispensed, Dispensing, "business-rule I PRESCRIPTION_DISPENSED Prescription has been dispensed"),
];

#[test]
fn every_refusal_has_its_row() {
    let failure = Refused::Failure("prescriptionID has invalid checksum".into());
    let failure = (
        failure,
        Prescribing,
        "processing S FAILURE_TO_PROCESS_MESSAGE \
         Unable to process message. Information missing or invalid - prescriptionID has invalid checksum",
    );
    for (refused, vocabulary, row) in ROWS.into_iter().chain([failure]) {
        let shown = refusals::refusal(&refused, vocabulary, 0);
        let issue = &shown["issue"][0];
        let coding = &issue["details"]["coding"][0];
        let system = match coding["system"].as_str().unwrap() {
            "https://fhir.nhs.uk/CodeSystem/EPS-IssueCode" => "I",
            "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode" => "S",
            other => other,
        };
        let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
        let ours = format!("{} {system} {} {}", text(&issue["code"]), text(&coding["code"]), text(&coding["display"]));
        assert_eq!(ours, row);
        assert_eq!(issue["severity"], "error");
    }
}

#[test]
fn nothing_more_success_and_switched_off() {
    let none = refusals::no_more_prescriptions(0);
    assert_eq!(
        (&none["issue"][0]["code"], &none["issue"][0]["severity"]),
        (&"informational".into(), &"information".into())
    );
    assert_eq!(none["issue"][0]["details"]["coding"][0]["code"], "NO_MORE_PRESCRIPTIONS");
    assert_eq!(refusals::disabled(0)["issue"][0]["code"], "exception");
    let success = refusals::success(at("2022-10-21T13:47:00Z"));
    assert_eq!(
        success.to_string(),
        concat!(
            r#"{"issue":[{"code":"informational","severity":"information"}],"#,
            r#""meta":{"lastUpdated":"2022-10-21T13:47:00+00:00"},"resourceType":"OperationOutcome"}"#,
        )
    );
}
