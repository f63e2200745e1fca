//! Published updates, every text, and what is stored.

use super::*;
use crate::{model::time, wire::record::Record};
use serde_json::json;

macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/data/eps/16-status-update/", $name))
    };
}

const ID: &str = "11111111-2222-4333-8444-555555555555";

fn at(text: &str) -> u64 {
    time::parse_iso(text).unwrap()
}

fn now() -> u64 {
    at("2023-09-11T10:11:12Z")
}

/// The published Bundle of two with changes to its first Task.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut bundle: Value = serde_json::from_str(example!("request-multiple-items.json")).unwrap();
    change(&mut bundle["entry"][0]);
    bundle.to_string().into()
}

fn texts(body: &Value) -> Vec<(String, String)> {
    let entries = body["entry"].as_array().unwrap().iter();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    entries
        .map(|e| (text(&e["response"]["status"]), text(&e["response"]["outcome"]["issue"][0]["diagnostics"])))
        .collect()
}

#[test]
fn two_updates_are_answered_as_published() {
    let updates = read(example!("request-multiple-items.json").as_bytes(), Some(ID), now()).unwrap();
    let published: Value = serde_json::from_str(example!("response-multiple-items.json")).unwrap();
    assert_eq!(updates.answer(|_| false, now()), (201, published, true));
    let expected = StatusUpdate {
        task: "0ae4daf3-f24b-479d-b8fa-b69e2d873b60".into(),
        prescription: "480720-A83008-57FF06".into(),
        item: "e3843418-1900-44a1-8f6a-bff8601893b8".into(),
        nhs: 9449304130,
        ods: "C9Z1O".into(),
        status: "Ready to Collect".into(),
        completed: false,
        modified_at: now(),
        received_at: now(),
        request: ID.into(),
        ..Default::default()
    };
    assert_eq!(updates.all()[1], expected);
    assert_eq!(StatusUpdate::decode(&expected.encode()), Ok(expected));
    let repeat =
        read(example!("request-erd-dispatched.json").as_bytes(), Some(ID), at("2024-01-30T12:01:24Z")).unwrap();
    assert_eq!((repeat.all()[0].repeat, repeat.all()[0].completed), (2, true));
}

#[test]
fn missing_fields_are_named_alone() {
    let (status, body) = read(example!("request-missing-fields.json").as_bytes(), Some(ID), now()).unwrap_err();
    assert_eq!(status, 400);
    let text = "Missing required field(s) - PharmacyODSCode, TaskID.";
    assert_eq!(texts(&body), [("400 Bad Request".into(), text.into())]);
    let issue = &body["entry"][0]["response"]["outcome"]["issue"][0];
    assert_eq!(issue["expression"], json!(["Task.owner.identifier.value", "Task.id"]));
    let bare =
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [{}, {"fullUrl": "x", "resource": {}}]});
    let (_, body) = read(bare.to_string().as_bytes(), Some(ID), now()).unwrap_err();
    assert_eq!(texts(&body)[0].1, "Missing required field(s) - FullUrl, Resource.");
    assert_eq!(
        texts(&body)[1].1,
        "Missing required field(s) - LastModified, LineItemID, PatientNHSNumber, PharmacyODSCode, PrescriptionID, \
         Status, TaskID, TerminalStatus."
    );
}

#[test]
fn every_problem_has_its_text_and_nothing_is_stored() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 14] = [
        (|e| e["fullUrl"] = json!("urn:uuid:x"), "Invalid entry fullUrl or task id."),
        (|e| e["resource"]["status"] = json!("draft"), "Unsupported Task.status 'draft'."),
        (
            |e| e["resource"]["businessStatus"]["coding"][0]["code"] = json!("Lost"),
            "Invalid business status. Unsupported Task.businessStatus 'Lost'.",
        ),
        (|e| e["resource"]["lastModified"] = json!("2023-09-12T10:11:13Z"), "Invalid lastModified value provided."),
        (|e| e["resource"]["lastModified"] = json!("today"), "Date format provided for lastModified is invalid."),
        (
            |e| e["resource"]["meta"] = json!({"lastUpdated": "2023-09-12T10:11:13Z"}),
            "Invalid meta.lastUpdated value provided.",
        ),
        (
            |e| e["resource"]["meta"] = json!({"lastUpdated": 7}),
            "Date format provided for meta.lastUpdated is invalid.",
        ),
        (|e| e["resource"]["for"]["identifier"]["value"] = json!("9449304131"), "NHS number is invalid."),
        (
            |e| e["resource"]["basedOn"][0]["identifier"]["value"] = json!("07A66F-A83008-1EEEA1"),
            "Prescription ID is invalid.",
        ),
        (|e| e["resource"]["resourceType"] = json!("Patient"), "Resource's resourceType is not 'Task'."),
        (
            |e| e["resource"]["businessStatus"]["coding"][0]["code"] = json!("With pharmacy"),
            "Task.status field set to 'completed' but Task.businessStatus value of 'With pharmacy' requires follow up action.",
        ),
        (
            |e| e["resource"]["status"] = json!("in-progress"),
            "Task.status field set to 'in-progress' but Task.businessStatus value of 'Dispatched' \
             has no possible follow up action.",
        ),
        (
            |e| {
                e["resource"]["focus"]["identifier"]["system"] = json!("x");
                e["resource"]["owner"]["identifier"]["system"] = json!("x");
            },
            "Invalid CodeSystem(s) - LineItemID, PharmacyODSCode.",
        ),
        (
            |e| {
                e["resource"]["status"] = json!("x");
                e["resource"]["for"]["identifier"]["value"] = json!("1");
            },
            "Unsupported Task.status 'x'. NHS number is invalid.",
        ),
    ];
    let good = ("200 OK".to_owned(), "Data not committed due to issues in other entries.".to_owned());
    for (change, text) in cases {
        let (status, body) = read(&changed(change), Some(ID), now()).unwrap_err();
        let issue = &body["entry"][0]["response"]["outcome"]["issue"][0];
        assert!(issue["expression"][0].as_str().unwrap().contains('.'), "{issue}");
        assert!(issue["details"]["text"].as_str().unwrap().len() > 20, "what would be right: {issue}");
        assert_eq!((status, texts(&body)), (400, vec![("400 Bad Request".into(), text.into()), good.clone()]));
    }
}

#[test]
fn a_post_dated_update_waits() {
    let ahead = |e: &mut Value| {
        e["resource"]["lastModified"] = json!("2023-10-11T10:11:12Z");
        e["resource"]["meta"] = json!({"lastUpdated": "2023-09-11T09:00:00Z"});
    };
    let updates = read(&changed(ahead), Some(ID), now()).unwrap();
    let first = &updates.all()[0];
    assert_eq!((first.modified_at, first.written_at), (at("2023-10-11T10:11:12Z"), at("2023-09-11T09:00:00Z")));
    let old = StatusUpdate { modified_at: now(), ..first.clone() };
    assert_eq!(shown([first, &old], now()), Some(&old));
    assert_eq!(shown([first, &old], first.modified_at), Some(first));
    assert_eq!(shown([first], now()), None);
}

#[test]
fn what_is_refused_whole() {
    let one = |read: Result<Updates, (u16, Value)>| {
        let (status, body) = read.unwrap_err();
        assert_eq!((status, body["entry"].as_array().unwrap().len()), (400, 1));
        assert_eq!(body["entry"][0].get("fullUrl"), None);
        texts(&body)[0].1.clone()
    };
    let good = example!("request-multiple-items.json").as_bytes();
    for missing in [None, Some(""), Some(" ")] {
        assert_eq!(one(read(good, missing, now())), "Missing or empty x-request-id header.");
        let (_, body) = read(good, missing, now()).unwrap_err();
        let issue = &body["entry"][0]["response"]["outcome"]["issue"][0];
        assert_eq!(issue["location"], json!(["http.x-request-id"]));
    }
    let shape = "Request body does not have resourceType of 'Bundle' and type of 'transaction'.";
    for body in [
        "",
        "{",
        "[]",
        r#"{"resourceType":"Bundle","type":"message"}"#,
        r#"{"resourceType":"Task","type":"transaction"}"#,
    ] {
        assert_eq!(one(read(body.as_bytes(), Some(ID), now())), shape);
    }
    let codes = changed(|e| e["resource"]["owner"]["identifier"]["value"] = json!("c9z\"1"));
    assert_eq!(one(read(&codes, Some(ID), now())), r#"Received invalid ODS codes: ["c9z\"1"]"#);
    let empty = read(br#"{"resourceType":"Bundle","type":"transaction","entry":[]}"#, Some(ID), now());
    assert_eq!(empty, Err((200, json!({"resourceType": "Bundle", "type": "transaction-response", "entry": []}))));
}

#[test]
fn one_that_is_known_stops_all() {
    let updates = read(example!("request-multiple-items.json").as_bytes(), Some(ID), now()).unwrap();
    let known = updates.all()[0].clone();
    let (status, body, store) = updates.answer(|u| u.is_same(&known), now());
    assert_eq!((status, store), (409, false));
    let first = &body["entry"][0];
    assert_eq!(first["response"]["location"], format!("Task/{}", known.task));
    assert_eq!(first["response"]["outcome"]["issue"][0]["code"], "duplicate");
    assert_eq!(first["response"]["outcome"]["issue"][0]["details"]["coding"][0]["code"], "REC_CONFLICT");
    assert_eq!(body["entry"][1]["response"]["status"], "200 OK");
    // The same update twice in one Bundle.
    let mut bundle: Value = serde_json::from_str(example!("request-multiple-items.json")).unwrap();
    bundle["entry"][1] = bundle["entry"][0].clone();
    let updates = read(bundle.to_string().as_bytes(), Some(ID), now()).unwrap();
    let (status, body, _) = updates.answer(|_| false, now());
    assert_eq!((status, &body["entry"][1]["response"]["status"]), (409, &json!("409 Conflict")));
}

#[test]
fn trouble_has_its_shape() {
    for (status, code) in [(429, "temporarily-forbidden"), (504, "timeout"), (500, "exception")] {
        assert_eq!(trouble(status, 0)["entry"][0]["response"]["outcome"]["issue"][0]["code"], code);
    }
}
