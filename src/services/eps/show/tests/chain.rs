//! One published prescription through its messages: read, carried out, and what each caller is shown.

use super::{differences, document, example, ids, json};
use crate::{
    model::{day, time},
    services::eps::{
        read,
        record::{Id, Prescription},
        show::{
            cancel,
            document::Document,
            release::{self, Given},
            task,
            task_query::TaskQuery,
            tracker::{self, Detailed},
        },
        steps::{self, Moment},
    },
};
use serde_json::Value;

const BASE: &str = "https://x/FHIR/R4";
const REQUEST: &str = "264fe32e-7217-43d2-8954-a87f9da514b8";
const RESPONSE: &str = "57674b6e-c6c9-42de-943d-f2ed90f36862";

fn moment(text: &str) -> Moment {
    Moment::of(time::parse_iso(text).unwrap())
}

fn ordered(order: &Value) -> Prescription {
    let at = moment("2022-10-21T13:47:00Z");
    let m = read::order::order(order, at.now, Some(at.now)).unwrap();
    steps::order(None, &m, &at).record.unwrap()
}

const CANCELLED: &str = "5cb17f5a-11ac-4e18-825f-6470467238b3";

/// The published cancellation, of an item of the order. Published messages share one id; this one has its own.
pub fn cancellation(item: &str) -> Document {
    let mut bundle = json(&example!("07-cancel/acute-cancel-2-request.json").replace(CANCELLED, item));
    bundle["identifier"]["value"] = format!("d03e713b{}", item.get(8..).unwrap()).into();
    Document::of(bundle)
}

/// The order, of which the fourth item was taken back, then given out.
pub fn released() -> (Document, Prescription, steps::Released) {
    // The patient and the pharmacy of the other messages.
    let order = example!("01-order-acute-nominated/order-request.json");
    let order = order.replace("5839945242", "9449304130").replace("FA565", "VNE51");
    let root = read::parse(order.as_bytes()).unwrap();
    let record = ordered(&root);
    let m = read::cancel::cancel(cancellation(CANCELLED).bundle()).unwrap();
    let record = steps::cancel(Some(&record), &m, &moment("2022-10-21T13:48:00Z")).record.unwrap();
    let request = read::parse(example!("08-release/acute-request.json").as_bytes()).unwrap();
    let m = read::release::release(&request, REQUEST, RESPONSE).unwrap();
    let done = steps::release(Some(&record), &m, &moment("2022-11-21T14:00:00Z"));
    (Document::of(root), done.record.unwrap(), done.result.unwrap())
}

/// The sandbox's answer to the same. What differs is what §9.4 says otherwise; patient, people and drugs are the same.
#[test]
fn a_release_shows_the_published_prescription() {
    let (order, record, released) = released();
    let given = [Given::of(&record, &released, &order)];
    let at = moment("2022-11-21T14:00:00Z").now;
    let answer = release::Answer { response: RESPONSE, request: REQUEST, passed: &given, failed: &[], at, base: BASE };
    let ours = answer.show(&mut ids());
    let ours = &ours["parameter"][0]["resource"]["entry"][0]["resource"];
    let published = json(example!("08-release/acute-response.json"));
    let published = &published["parameter"][0]["resource"]["entry"][0]["resource"];
    assert_eq!(ours["identifier"], published["identifier"]);
    let find = |bundle: &Value, kind: &str, nth: usize| {
        let entries = bundle["entry"].as_array().unwrap().iter();
        entries.map(|e| e["resource"].clone()).filter(|r| r["resourceType"] == kind).nth(nth).unwrap()
    };
    for kind in ["Patient", "PractitionerRole"] {
        assert_eq!(differences(&find(ours, kind, 0), &find(published, kind, 0)), [""; 0], "{kind}");
    }
    for nth in 0..4 {
        let (ours, theirs) = (find(ours, "MedicationRequest", nth), find(published, "MedicationRequest", nth));
        for member in ["identifier", "status", "intent", "groupIdentifier", "courseOfTherapyType", "dosageInstruction"]
        {
            assert_eq!(ours[member], theirs[member], "{nth} {member}");
        }
        for member in ["quantity", "performer", "extension"] {
            assert_eq!(ours["dispenseRequest"][member], theirs["dispenseRequest"][member], "{nth} {member}");
        }
    }
    let signature = |bundle| find(bundle, "Provenance", 0)["signature"].clone();
    assert_eq!(signature(ours), signature(published));
}

#[test]
fn a_cancellation_that_comes_too_late_names_the_dispenser() {
    let (order, record, _) = released();
    let request = cancellation("a54219b8-f741-4c47-b662-e4f8dfa49ab6");
    let m = read::cancel::cancel(request.bundle()).unwrap();
    let done = steps::cancel(Some(&record), &m, &moment("2022-11-22T09:00:00Z"));
    let decided = done.result.unwrap();
    let (status, shown) =
        cancel::Answer { decided: &decided, request: &request, order: Some(&order), base: BASE }.show(&mut ids());
    let item = &shown["entry"][1]["resource"];
    assert_eq!((status, &item["extension"][0]["extension"][0]["valueCoding"]["code"]), (400, &"R-0002".into()));
    assert_eq!(item["dispenseRequest"]["performer"]["identifier"]["value"], "VNE51");
    assert_eq!(item["dispenseRequest"]["performer"]["display"], "The Simple Pharmacy");
}

#[test]
fn the_trackers_follow_it() {
    let (order, record, _) = released();
    let notification = document(example!("09-dispense-notification/acute-01-request.json"));
    let m = read::dispense::dispense(notification.bundle()).unwrap();
    let record = steps::dispense(Some(&record), &m, &moment("2022-11-22T10:00:00Z")).record.unwrap();
    let asked = TaskQuery { prescription: Some(record.id.clone()), ..Default::default() };
    let tasks = task::answer(&asked, std::slice::from_ref(&record), 0, &mut ids());
    let shown = &tasks["entry"][0]["resource"];
    assert_eq!((&shown["status"], &shown["owner"]["display"]), (&"in-progress".into(), &"The Simple Pharmacy".into()));
    let days: Vec<u32> = record.instances.iter().map(|i| day::of_millis(i.released_at)).collect();
    assert_eq!(days, [20221121]);
    let notifications = [(Id::or_none(&m.message), notification)];
    let of = Detailed { record: &record, order: Some(&order), notifications: &notifications, updates: &[], now: 0 };
    let shown = tracker::detail(&of, Some(1), &mut ids()).unwrap();
    let group = shown["entry"].as_array().unwrap().last().unwrap()["resource"].clone();
    let titles: Vec<_> =
        group["action"][1]["action"].as_array().unwrap().iter().map(|a| a["title"].as_str().unwrap()).collect();
    let expected = [
        "Prescription upload successful",
        "Prescription/item was cancelled",
        "Release Request successful",
        "Dispense notification successful",
    ];
    assert_eq!(titles, expected);
    let kinds = |kind: &str| {
        let entries = shown["entry"].as_array().unwrap().iter();
        entries.filter(|e| e["resource"]["resourceType"] == kind).map(|e| e["resource"].clone()).collect::<Vec<_>>()
    };
    let dispensed = kinds("MedicationDispense");
    assert_eq!(dispensed.len(), 4);
    assert!(dispensed.iter().all(|d| d["status"] == "in-progress" && d.get("authorizingPrescription").is_some()));
    let requests = kinds("MedicationRequest");
    assert_eq!(
        (&requests[3]["status"], &requests[3]["statusReason"]["coding"][0]["code"]),
        (&"cancelled".into(), &"0002".into())
    );
    assert_eq!(requests[0]["medicationCodeableConcept"]["text"], "Amoxicillin 250mg capsules");
}
