//! A cancellation's answer against the published ones.

use super::{differences, document, example, ids, json, numbered};
use crate::{
    model::time,
    services::eps::show::{
        cancel::{self, Answer, OTHER_PATIENT, Outcome},
        document::Document,
    },
};
use serde_json::{Value, json};

fn at(text: &str) -> u64 {
    time::parse_iso(text).unwrap()
}

/// A cancel request of the people in a published answer.
fn request_of(published: &Value) -> Document {
    let mut bundle = published.clone();
    let entries = bundle["entry"].as_array_mut().unwrap();
    // Those of the dispenser came with the release.
    entries
        .retain(|e| !["4179eed1", "3fb98f62", "cda5cbef"].iter().any(|id| e["fullUrl"].as_str().unwrap().contains(id)));
    Document::of(bundle)
}

/// `owner` and `agent` of the release that a published answer shows.
fn holder_of(published: &Value) -> (Value, Value) {
    let of = |id: &str| {
        let entries = published["entry"].as_array().unwrap();
        let found = entries.iter().find(|e| e["fullUrl"].as_str().unwrap().contains(id)).unwrap();
        found["resource"].clone()
    };
    let mut agent = of("3fb98f62");
    let practitioner = of("4179eed1");
    agent["practitioner"] =
        json!({"identifier": practitioner["identifier"][0], "display": practitioner["name"][0]["text"]});
    agent.as_object_mut().unwrap().remove("organization");
    (of("cda5cbef"), agent)
}

#[test]
fn answers_of_the_live_service_are_as_published() {
    let cases = [
        (Outcome::WithDispenser, example!("07-cancel/response-R-0002.json"), None),
        (Outcome::Dispensed, example!("07-cancel/response-R-0004.json"), Some("\"completed\" / \"active\"")),
        (Outcome::AnotherPrescriber, example!("07-cancel/response-R-0007.json"), Some("\"unknown\" / \"active\"")),
    ];
    for (outcome, text, known) in cases {
        let published = json(text);
        let request = request_of(&published);
        let (owner, agent) = holder_of(&published);
        let answer = Answer {
            outcome,
            request: &request,
            order: Some(&request),
            holder: Some((&owner, &agent)),
            at: at("2025-09-11T14:41:57Z"),
            base: "undefined",
        };
        let (status, mut ours) = answer.show(&mut ids());
        assert_eq!(status, 400);
        // Published without; an answer of ours has one.
        assert!(ours.as_object_mut().unwrap().remove("id").is_some());
        // The published Bundle's id is, by chance of its recording, that of the request; ours is new.
        assert_eq!(ours["entry"][0]["resource"]["response"]["identifier"], published["identifier"]["value"]);
        ours["entry"][0]["resource"]["response"]["identifier"] = ours["identifier"]["value"].clone();
        let expected: Vec<String> = known.map(|k| format!(".entry[1].resource.status: {k}")).into_iter().collect();
        assert_eq!(differences(&numbered(&ours), &numbered(&published)), expected, "{outcome:?}");
    }
}

#[test]
fn the_item_and_its_prescription_are_named() {
    let request = document(example!("07-cancel/acute-cancel-2-request.json"));
    let order = document(example!("07-cancel/acute-order-request.json"));
    let at = at("2022-10-21T13:48:00Z");
    let base = "https://x/FHIR/R4";
    let answer = Answer { outcome: Outcome::Cancelled, request: &request, order: Some(&order), holder: None, at, base };
    let (status, ours) = answer.show(&mut ids());
    assert_eq!(status, 200);
    let published = json(example!("07-cancel/acute-cancel-2-response-R-0001.json"));
    let (ours_item, their_item) = (&ours["entry"][1]["resource"], &published["entry"][1]["resource"]);
    assert_eq!(ours_item["extension"][0], their_item["extension"][1]);
    assert_eq!(ours_item["identifier"], their_item["identifier"]);
    assert_eq!(ours_item["status"], their_item["status"]);
    assert_eq!(ours_item["groupIdentifier"]["value"], their_item["groupIdentifier"]["value"]);
    assert_eq!(ours_item.get("dispenseRequest"), None);
    let (ours_header, their_header) = (&ours["entry"][0]["resource"], &published["entry"][0]["resource"]);
    for member in ["eventCoding", "sender"] {
        assert_eq!(ours_header[member], their_header[member]);
    }
    assert_eq!(ours_header["destination"][0]["endpoint"], "urn:nhs-uk:addressing:ods:A83008");
    assert_eq!(ours_header["source"]["endpoint"], "https://x/FHIR/R4/$process-message");
    assert_eq!(ours_header["response"]["identifier"], request.message());
    // One person wrote and cancels: one role.
    assert_eq!(ours["entry"].as_array().unwrap().len(), 6);
    // The later message is the same but for its ids.
    assert_eq!(cancel::later(&request, Some(&order), at, base, &mut ids()), ours);
}

#[test]
fn another_author_is_shown_beside_the_canceller() {
    let request = document(example!("07-cancel/acute-cancel-2-request.json"));
    let text = example!("07-cancel/acute-order-request.json").replace("200102238987", "200102238988");
    let order = document(&text);
    let answer =
        Answer { outcome: Outcome::Cancelled, request: &request, order: Some(&order), holder: None, at: 0, base: "" };
    let (_, ours) = answer.show(&mut ids());
    let entries = ours["entry"].as_array().unwrap();
    let kinds: Vec<_> = entries.iter().map(|e| e["resource"]["resourceType"].as_str().unwrap()).collect();
    let people =
        ["Practitioner", "Practitioner", "PractitionerRole", "PractitionerRole", "Organization", "Organization"];
    assert_eq!(kinds, [&["MessageHeader", "MedicationRequest", "Patient"][..], &people].concat());
    let item = &entries[1]["resource"];
    assert_ne!(item["requester"], item["extension"][1]["valueReference"]);
    let all: std::collections::BTreeSet<_> = entries.iter().map(|e| e["fullUrl"].to_string()).collect();
    assert_eq!(all.len(), entries.len());
    for role in &entries[5..7] {
        for member in ["practitioner", "organization"] {
            assert!(all.contains(&role["resource"][member]["reference"].to_string()), "{role}");
        }
    }
}

#[test]
fn refusals_without_a_bundle_are_as_published() {
    let request = document(example!("07-cancel/acute-cancel-2-request.json"));
    let cases = [
        (Outcome::NotFound, Some(example!("07-cancel/response-R-0008.json")), "not-found"),
        (Outcome::Failed(OTHER_PATIENT), Some(example!("07-cancel/response-R-5000.json")), "processing"),
        (Outcome::Disabled, None, "not-supported"),
        (Outcome::Invalid, None, "invalid"),
    ];
    for (outcome, published, issue) in cases {
        let answer = Answer { outcome, request: &request, order: None, holder: None, at: 0, base: "" };
        let (status, mut ours) = answer.show(&mut ids());
        assert_eq!((status, &ours["issue"][0]["code"]), (400, &json!(issue)));
        if let Some(published) = published {
            ours.as_object_mut().unwrap().remove("meta");
            assert_eq!(ours, json(published));
        }
    }
}

#[test]
fn every_code_has_its_display() {
    let all = [
        (Outcome::WithDispenserActive, "R-0003", "With dispenser active. Marked for cancellation", "active"),
        (Outcome::Expired, "R-0005", "has expired", "stopped"),
        (Outcome::AlreadyCancelled, "R-0006", "had already been cancelled", "cancelled"),
        (Outcome::NotDispensed, "R-0010", "Prescription has been not dispensed.", "stopped"),
    ];
    let request = document(example!("07-cancel/erd-cancel-request.json"));
    for (outcome, code, display, status) in all {
        let answer = Answer { outcome, request: &request, order: None, holder: None, at: 0, base: "" };
        let item = answer.show(&mut ids()).1["entry"][1]["resource"].clone();
        let coding = &item["extension"][0]["extension"][0]["valueCoding"];
        assert_eq!(coding["code"], code);
        assert!(coding["display"].as_str().unwrap().ends_with(display));
        assert_eq!(item["status"], status);
    }
    for bundle in [json!(null), json!({"entry": [{"resource": {"resourceType": "MedicationRequest"}}]})] {
        let request = Document::of(bundle);
        Answer { outcome: Outcome::Cancelled, request: &request, order: Some(&request), holder: None, at: 0, base: "" }
            .show(&mut ids());
    }
}
