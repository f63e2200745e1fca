//! A cancellation's answer against the published ones.

use super::{differences, document, example, ids, json, numbered};
use crate::wire::packed;
use crate::{
    model::time,
    services::eps::{
        record::Dispenser,
        show::{
            cancel::{self, Answer},
            document::Document,
        },
        steps::{Cancelled, Code},
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

fn decided(code: Code, at: u64) -> Cancelled {
    Cancelled { code, at, dispenser: None, why: "" }
}

/// Who holds the prescription of a published answer, as it said at its release.
fn holder_of(published: &Value) -> Dispenser {
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
    Dispenser { owner: packed::pack(&of("cda5cbef")), agent: packed::pack(&agent), ..Default::default() }
}

#[test]
fn answers_of_the_live_service_are_as_published() {
    let cases = [
        (Code::R0002, example!("07-cancel/response-R-0002.json"), None),
        (Code::R0004, example!("07-cancel/response-R-0004.json"), Some("\"completed\" / \"active\"")),
        (Code::R0007, example!("07-cancel/response-R-0007.json"), Some("\"unknown\" / \"active\"")),
    ];
    for (code, text, known) in cases {
        let published = json(text);
        let request = request_of(&published);
        let dispenser = Some(holder_of(&published));
        let decided = Cancelled { dispenser, ..decided(code, at("2025-09-11T14:41:57Z")) };
        let answer = Answer { decided: &decided, request: &request, order: Some(&request), base: "undefined" };
        let (status, mut ours) = answer.show(&mut ids());
        assert_eq!(status, 400);
        // Published without; an answer of ours has one.
        assert!(ours.as_object_mut().unwrap().remove("id").is_some());
        // The published Bundle's id is, by chance of its recording, that of the request; ours is new.
        assert_eq!(ours["entry"][0]["resource"]["response"]["identifier"], published["identifier"]["value"]);
        ours["entry"][0]["resource"]["response"]["identifier"] = ours["identifier"]["value"].clone();
        let expected: Vec<String> = known.map(|k| format!(".entry[1].resource.status: {k}")).into_iter().collect();
        assert_eq!(differences(&numbered(&ours), &numbered(&published)), expected, "{code:?}");
    }
}

#[test]
fn the_item_and_its_prescription_are_named() {
    let request = document(example!("07-cancel/acute-cancel-2-request.json"));
    let order = document(example!("07-cancel/acute-order-request.json"));
    let at = at("2022-10-21T13:48:00Z");
    let base = "https://x/FHIR/R4";
    let decided = decided(Code::R0001, at);
    let answer = Answer { decided: &decided, request: &request, order: Some(&order), base };
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
    let decided = decided(Code::R0001, 0);
    let answer = Answer { decided: &decided, request: &request, order: Some(&order), base: "" };
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
        (Code::R0008, "", Some(example!("07-cancel/response-R-0008.json")), "not-found"),
        (
            Code::R5000,
            "NHS number differs from the prescription's",
            Some(example!("07-cancel/response-R-5000.json")),
            "processing",
        ),
        (Code::R0009, "", None, "not-supported"),
        (Code::R5888, "", None, "invalid"),
    ];
    for (code, why, published, issue) in cases {
        let decided = Cancelled { why, ..decided(code, 0) };
        let answer = Answer { decided: &decided, request: &request, order: None, base: "" };
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
        (Code::R0003, "R-0003", "With dispenser active. Marked for cancellation", "active"),
        (Code::R0005, "R-0005", "has expired", "stopped"),
        (Code::R0006, "R-0006", "had already been cancelled", "cancelled"),
        (Code::R0010, "R-0010", "Prescription has been not dispensed.", "stopped"),
    ];
    let request = document(example!("07-cancel/erd-cancel-request.json"));
    for (number, code, display, status) in all {
        let decided = decided(number, 0);
        let answer = Answer { decided: &decided, request: &request, order: None, base: "" };
        let item = answer.show(&mut ids()).1["entry"][1]["resource"].clone();
        let coding = &item["extension"][0]["extension"][0]["valueCoding"];
        assert_eq!(coding["code"], code);
        assert!(coding["display"].as_str().unwrap().ends_with(display));
        assert_eq!(item["status"], status);
    }
    for bundle in [json!(null), json!({"entry": [{"resource": {"resourceType": "MedicationRequest"}}]})] {
        let request = Document::of(bundle);
        let decided = Cancelled { dispenser: Some(Dispenser::default()), ..decided(Code::R0001, 0) };
        Answer { decided: &decided, request: &request, order: Some(&request), base: "" }.show(&mut ids());
    }
}

/// The step's own words for another patient are those that are shown as published.
#[test]
fn another_patient_is_told_as_published() {
    use crate::services::eps::{
        message::Cancel,
        record::{Id, Issue, Prescription},
        steps::{Moment, cancel},
    };
    let id = "5cb17f5a-11ac-4e18-825f-6470467238b3";
    let record = Prescription {
        order: Id::or_none("46183abc-9fad-4673-85db-ce2cb6614732"),
        instances: vec![Issue { number: 1, status: 1, ..Default::default() }],
        nhs: 1,
        current: 1,
        ..Default::default()
    };
    let m = Cancel { message: id.into(), item: id.into(), nhs: 2, ..Default::default() };
    let decided = cancel(Some(&record), &m, &Moment::of(0)).result.unwrap();
    let request = document(example!("07-cancel/acute-cancel-2-request.json"));
    let answer = Answer { decided: &decided, request: &request, order: None, base: "" };
    let published = json(example!("07-cancel/response-R-5000.json"));
    assert_eq!(answer.show(&mut ids()).1["issue"], published["issue"]);
}
