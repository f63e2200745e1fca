//! `RequestGroup` against the published answers: the order and the notifications are made of the answer, the record by hand.

use super::{differences, document, example, ids, json, numbered};
use crate::{
    model::{day, time},
    services::eps::{
        message::Sender,
        record::{Cancellation, Dispenser, Event, Id, Issue, LineItem, Nomination, Prescription},
        show::{
            document::Document,
            tracker::{self, Detailed},
            tracker_query::{Search, Whose},
        },
        states::Trigger,
        status::StatusUpdate,
    },
};
use serde_json::{Value, json};

fn at(text: &str) -> u64 {
    time::parse_iso(text).unwrap()
}

fn resources<'a>(published: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let entries = published["entry"].as_array().unwrap().iter();
    entries.map(|e| &e["resource"]).filter(move |r| r["resourceType"] == kind)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The item's number of a MedicationRequest or MedicationDispense.
fn item(resource: &Value) -> Id {
    Id::read(text(&resource["identifier"][0]["value"])).unwrap()
}

fn coded(text: &Value) -> Value {
    json!({"coding": [{"system": "http://snomed.info/sct", "code": "1", "display": text}]})
}

/// An order that could have led to the answer.
fn order(published: &Value) -> Document {
    let entry = |resource: Value| json!({"fullUrl": "urn:uuid:x", "resource": resource});
    let requests = resources(published, "MedicationRequest").cloned().map(|mut r| {
        r["medicationCodeableConcept"] = coded(&r["medicationCodeableConcept"]["text"]);
        entry(r)
    });
    let patient = resources(published, "Patient").cloned().map(entry);
    Document::of(json!({"resourceType": "Bundle", "entry": patient.chain(requests).collect::<Vec<_>>()}))
}

/// The notification that could have led to it.
fn notification(published: &Value) -> Document {
    let dispenses = resources(published, "MedicationDispense").cloned().map(|mut d| {
        d["medicationCodeableConcept"] = coded(&d["medicationCodeableConcept"]["text"]);
        d["authorizingPrescription"] = json!([{"reference": "#m"}]);
        d["contained"] = json!([{"resourceType": "MedicationRequest", "id": "m", "identifier": d["identifier"]}]);
        json!({"fullUrl": "urn:uuid:y", "resource": d})
    });
    Document::of(json!({"resourceType": "Bundle", "entry": dispenses.collect::<Vec<_>>()}))
}

/// The record that the answer is of.
fn record(published: &Value) -> Prescription {
    let group = resources(published, "RequestGroup").last().unwrap();
    let requests: Vec<&Value> = resources(published, "MedicationRequest").collect();
    let number = |v: &Value| text(v).parse::<u16>().unwrap();
    let statuses = requests.iter().map(|r| number(&r["extension"][0]["extension"][0]["valueCoding"]["code"]) as u8);
    let erd = group["intent"] == "reflex-order";
    let issues = if erd { 7 } else { 1 };
    let mut p = Prescription {
        id: text(&group["identifier"][0]["value"]).into(),
        nhs: text(&resources(published, "Patient").next().unwrap()["identifier"][0]["value"]).parse().unwrap(),
        born: day::parse(text(&resources(published, "Patient").next().unwrap()["birthDate"])).unwrap(),
        treatment: if erd { 3 } else { 1 },
        prescription_type: "0101".into(),
        prescribed_at: at(text(&group["authoredOn"])),
        days_supply: group["action"][0]["timingTiming"]["repeat"]["period"].as_u64().unwrap() as u32,
        issues,
        current: 1,
        order: Id::or_none("46183abc-9fad-4673-85db-ce2cb6614732"),
        prescriber: 1,
        items: requests.iter().map(|r| LineItem { id: item(r), issues, ..Default::default() }).collect(),
        ..Default::default()
    };
    let nominated = text(&requests[0]["dispenseRequest"]["performer"]["identifier"][0]["value"]);
    p.nomination = Nomination { ods: nominated.into(), kind: "P1".into(), ..Default::default() };
    let sender = |ods: &str| Sender { ods: ods.into(), ..Default::default() };
    p.senders = vec![sender(text(&group["author"]["identifier"]["value"]))];
    let holder = text(&requests[0]["performer"]["identifier"][0]["value"]);
    p.dispensers = vec![Dispenser { ods: holder.into(), ..Default::default() }];
    p.instances = vec![Issue {
        number: 1,
        status: number(&group["extension"][0]["extension"][0]["valueCoding"]["code"]),
        items: statuses.collect::<Vec<u8>>().into(),
        dispenser: u32::from(!holder.is_empty()),
        ..Default::default()
    }];
    for action in group["action"][1]["action"].as_array().unwrap() {
        let ods = text(&action["participant"][0]["extension"][0]["valueReference"]["identifier"]["value"]);
        p.senders.push(sender(ods));
        let trigger = match text(&action["title"]) {
            "Prescription upload successful" => Trigger::Order,
            "Release Request successful" => Trigger::Release,
            "Dispense notification successful" => Trigger::Dispense,
            _ => Trigger::Cancel,
        };
        let message = Id::or_none(text(&action["code"][1]["coding"][0]["code"]));
        if trigger == Trigger::Dispense {
            p.instances[0].last_notification = message;
        }
        p.log.push(Event {
            message,
            at: at(text(&action["timingDateTime"])),
            trigger: trigger as u8,
            who: p.senders.len() as u32,
            issue: 1,
            after: number(&action["code"][0]["coding"][0]["code"]),
            answer: if trigger == Trigger::Cancel { 2 } else { 0 },
            ..Default::default()
        });
    }
    for request in requests.iter().filter(|r| r.get("statusReason").is_some()) {
        let reason = text(&request["statusReason"]["coding"][0]["code"]).to_owned();
        p.cancellations.push(Cancellation { item: item(request), reason, ..Default::default() });
    }
    p
}

/// The published answer with what is done otherwise on purpose: one Identifier for `performer`, a code beside a drug's text, a
/// resource for an action that has no actions, an eRD item's numbers, ids in small letters.
fn corrected(published: &Value) -> Value {
    let mut all = published.clone();
    let entries = all["entry"].as_array_mut().unwrap();
    let group = entries.last().unwrap()["resource"]["id"].clone();
    let one = |performer: &mut Value| {
        if let Some(first) = performer["identifier"].get(0).cloned() {
            performer["identifier"] = first;
        }
    };
    for entry in entries {
        let resource = &mut entry["resource"];
        if let Some(concept) = resource.get_mut("medicationCodeableConcept") {
            concept["coding"] = json!([{"system": "http://snomed.info/sct", "code": "138875005"}]);
        }
        if resource["resourceType"] == "MedicationRequest" {
            if resource.get("performer").is_some() {
                one(&mut resource["performer"]);
            }
            one(&mut resource["dispenseRequest"]["performer"]);
            if resource["intent"] == "reflex-order" {
                // The code is in no system of HL7's.
                let system = "https://fhir.nhs.uk/CodeSystem/medicationrequest-course-of-therapy";
                resource["courseOfTherapyType"]["coding"][0]["system"] = json!(system);
                resource["dispenseRequest"]["numberOfRepeatsAllowed"] = json!(7);
                resource["extension"].as_array_mut().unwrap().push(json!({
                    "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicationRepeatInformation",
                    "extension": [{"url": "numberOfPrescriptionsIssued", "valueUnsignedInt": 1}],
                }));
            }
        }
        if let Some(actions) = resource.get_mut("action") {
            for action in actions[1]["action"].as_array_mut().unwrap() {
                if action.get("action").is_none() {
                    action["resource"] = json!({"reference": format!("urn:uuid:{}", text(&group))});
                }
            }
        }
    }
    all
}

#[test]
fn details_are_as_published() {
    let examples = [
        example!("13-tracker/requestgroup-200_AcuteWithMultipleItems_Created.json"),
        example!("13-tracker/requestgroup-200_AcuteWithMultipleItems_ItemPendingCancellationWithReason.json"),
        example!("13-tracker/requestgroup-200_AcuteWithMultipleItems_PartiallyDispensed.json"),
        example!("13-tracker/requestgroup-200_ErdWithSingleItem_Dispensed.json"),
    ];
    for text in examples {
        let published = json(text);
        let (order, record) = (order(&published), record(&published));
        let last = record.instances[0].last_notification;
        let notifications: Vec<_> = last.is_some().then(|| (last, notification(&published))).into_iter().collect();
        let of = Detailed { record: &record, order: Some(&order), notifications: &notifications, updates: &[], now: 0 };
        let ours = tracker::detail(&of, None, &mut ids()).unwrap();
        let found = differences(&numbered(&ours), &numbered(&corrected(&published)));
        assert_eq!(found, [""; 0], "{}", record.id);
        assert_eq!(tracker::detail(&of, Some(2), &mut ids()), None);
    }
}

fn seven() -> (Value, Prescription) {
    let published = json(example!("13-tracker/requestgroup-search-200_With7InstanceErd.json"));
    let issue = |number: u32| Issue { number, status: if number == 1 { 1 } else { 9000 }, ..Default::default() };
    let record = Prescription {
        id: "7B7EF0-A83008-3220F7".into(),
        nhs: 9732730684,
        treatment: 3,
        prescribed_at: at("2026-02-27T00:00:00Z"),
        issues: 7,
        current: 1,
        order: Id::or_none("46183abc-9fad-4673-85db-ce2cb6614732"),
        instances: (1..=7).map(issue).collect(),
        ..Default::default()
    };
    (published, record)
}

#[test]
fn a_search_is_as_published() {
    let (published, record) = seven();
    let order = order(&published);
    let mut search = Search { whose: Whose::Patient(9732730684), low: 20240101, high: 20260227 };
    let found = [(&record, Some(&order))];
    let ours = tracker::search(&search, &found, &mut ids());
    assert_eq!(differences(&numbered(&ours), &numbered(&published)), [""; 0]);
    search.whose = Whose::Prescription(record.id.clone());
    assert_eq!(tracker::search(&search, &found, &mut ids()), ours);
    let nothing = json(example!("13-tracker/requestgroup-search-200_NoResults.json"));
    search.high = 20260226;
    assert_eq!(tracker::search(&search, &found, &mut ids()), nothing);
    assert_eq!(tracker::search(&search, &[], &mut ids()), nothing);
}

#[test]
fn what_waits_and_what_is_gone() {
    let (_, mut record) = seven();
    record.deleted_on = 20270101;
    record.cancellations.push(Cancellation { item: record.order, ..Default::default() });
    record.cancellations.push(Cancellation { reason: "0007".into(), ..Default::default() });
    let search = Search { whose: Whose::Patient(9732730684), low: 0, high: 99999999 };
    let group = tracker::search(&search, &[(&record, None)], &mut ids())["entry"][1]["resource"].clone();
    assert_eq!(group["status"], "completed");
    let waits = group["extension"].as_array().unwrap().last().unwrap()["extension"].clone();
    assert_eq!((&waits[0]["valueBoolean"], &waits[1]["valueBoolean"]), (&json!(true), &json!(true)));
    let of = Detailed { record: &record, order: None, notifications: &[], updates: &[], now: 0 };
    let shown = tracker::detail(&of, Some(7), &mut ids()).unwrap();
    let group = shown["entry"].as_array().unwrap().last().unwrap()["resource"].clone();
    let reason = group["extension"].as_array().unwrap().last().unwrap()["extension"][0].clone();
    assert_eq!(
        (&reason["url"], &reason["valueCoding"]["display"]),
        (&json!("cancellationReason"), &json!("Notification of Death"))
    );
}

/// A notification as published, of an item that is not the prescription's: shown without a prescription to it.
#[test]
fn a_notification_is_read_as_it_came() {
    let (_, record) = seven();
    let text = include_str!("../../../../../tests/data/eps/09-dispense-notification/acute-01-request.json");
    let notifications = [(record.order, document(text))];
    let of = Detailed { record: &record, order: None, notifications: &notifications, updates: &[], now: 0 };
    let shown = tracker::detail(&of, None, &mut ids()).unwrap();
    let dispenses: Vec<&Value> = resources(&shown, "MedicationDispense").collect();
    let codes: Vec<_> = dispenses.iter().map(|d| text_of(&d["type"])).collect();
    assert_eq!(codes, ["0001", "0001", "0004", "0005"]);
    assert_eq!(dispenses[0]["status"], "unknown");
    assert_eq!(dispenses[0].get("authorizingPrescription"), None);
    assert_ne!(dispenses[0]["medicationCodeableConcept"]["text"], "");
}

fn text_of(concept: &Value) -> &str {
    text(&concept["coding"][0]["code"])
}

/// What a pharmacy told of an item is shown on it, of the issue that it is for.
#[test]
fn the_newest_update_of_an_item_is_shown() {
    let published = json(example!("13-tracker/requestgroup-200_AcuteWithMultipleItems_Created.json"));
    let (order, record) = (order(&published), record(&published));
    let update = |modified_at: u64, status: &str, repeat: u32| StatusUpdate {
        item: record.items[1].id.to_string(),
        status: status.into(),
        modified_at,
        repeat,
        ..Default::default()
    };
    let updates = [update(1000, "With Pharmacy", 1), update(2000, "Ready to Collect", 0), update(3000, "Collected", 0)];
    let of = Detailed { record: &record, order: Some(&order), notifications: &[], updates: &updates, now: 2500 };
    let shown = tracker::detail(&of, None, &mut ids()).unwrap();
    let items: Vec<&Value> = resources(&shown, "MedicationRequest").collect();
    assert_eq!(items[0]["extension"].as_array().unwrap().len(), 2);
    let told = &items[1]["extension"][2]["extension"];
    assert_eq!(
        (&told[0]["valueCoding"]["code"], &told[1]["valueDateTime"]),
        (&json!("Ready to Collect"), &json!("1970-01-01T00:00:02.000Z"))
    );
    let other = [update(1000, "Collected", 2)];
    let of = Detailed { updates: &other, ..of };
    let shown = tracker::detail(&of, None, &mut ids()).unwrap();
    assert!(resources(&shown, "MedicationRequest").all(|r| r["extension"].as_array().unwrap().len() == 2));
}
