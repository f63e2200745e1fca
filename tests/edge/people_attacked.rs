//! What bad, stale, doubled and simultaneous requests do to people over the real HTTP API: never a 5xx, never two effects, never
//! two people (spec/pds.md §9–10; P3, P6).

use crate::support::people::{Asker, People};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const JANE: &str = "9000000009";
const PATCH: &str = "content-type: application/json-patch+json\r\n";
const JSON: &str = "content-type: application/json\r\n";

fn new_person(family: &str) -> Value {
    let mut person: Value = serde_json::from_str(include_str!("../data/pds/create/create-patient.json")).unwrap();
    person["name"][0]["family"] = json!(family);
    person
}

/// JSON that is none, is deep, is of the wrong type everywhere, or is very long.
fn hostile() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n)).into_bytes();
    let mut all: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "}",
        "null",
        "true",
        "0",
        "-",
        "1e999",
        "\"",
        "\"x\"",
        "[]",
        "[[]]",
        "{}",
        "{\"patches\":null}",
        "{\"patches\":{}}",
        "{\"patches\":[null]}",
        "{\"patches\":[[]]}",
        "{\"patches\":[{}]}",
        "{\"patches\":[{\"op\":1}]}",
        "{\"patches\":[{\"op\":\"add\",\"path\":\"\",\"value\":{}}]}",
        "{\"patches\":[{\"op\":\"remove\",\"path\":\"/\"}]}",
        "{\"patches\":[{\"op\":\"replace\",\"path\":\"/name/99999999999999999999\",\"value\":{}}]}",
        "{\"patches\":[{\"op\":\"add\",\"path\":\"/name/-/-/-\",\"value\":{\"id\":\"1\"}}]}",
        "{\"patches\":[{\"op\":\"test\",\"path\":\"/~2\",\"value\":1}]}",
        "\u{feff}{}",
        "{\"a\":1,\"a\":2}",
        "{\"patches\":[{\"op\":\"replace\",\"path\":\"/gender\",\"value\":[\"male\"]}]}",
        "{\"patches\":[{\"op\":\"replace\",\"path\":\"/birthDate\",\"value\":20101022}]}",
        "{\"patches\":[{\"op\":\"replace\",\"path\":\"/birthDate\",\"value\":\"9999-99-99\"}]}",
        "{\"resourceType\":\"Bundle\",\"entry\":{}}",
        "{\"resourceType\":\"Bundle\",\"entry\":[null,1,\"x\",[],{}]}",
        "{\"resourceType\":\"Patient\",\"name\":\"x\",\"address\":1,\"gender\":{},\"birthDate\":[]}",
        "{\"resourceType\":\"Patient\",\"name\":[[]],\"address\":[[]],\"gender\":\"male\",\"birthDate\":\"\"}",
        "{\"resourceType\":\"Patient\",\"name\":[null],\"address\":null,\"telecom\":[{}],\"extension\":[{\"url\":1}]}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    all.push(vec![0xff, 0xfe, 0x00]);
    all.push(b"{\"patches\":[{\"op\":\"\xc3\"}]}".to_vec());
    all.extend([deep("[", "]", 100_000), deep("{\"a\":", "}", 10_000), deep("[", "", 50_000)]);
    all.push(
        format!(
            "{{\"patches\":[{}]}}",
            vec!["{\"op\":\"test\",\"path\":\"/gender\",\"value\":\"male\"}"; 500].join(",")
        )
        .into_bytes(),
    );
    all.push(
        json!({"patches": [{"op": "add", "path": "/name/-", "value": {"use": "old", "family": "x".repeat(30_000)}}]})
            .to_string()
            .into_bytes(),
    );
    all
}

#[tokio::test]
async fn hostile_bodies_get_an_answer_that_is_no_fault_and_change_nothing() {
    let (server, people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let before = asker.get("privileged", &format!("/Patient/{JANE}")).await.body;
    let mut asked = 0;
    for body in hostile() {
        let match_two = format!("{PATCH}if-match: W/\"2\"\r\n");
        let card = format!("{JSON}if-match: W/\"2\"\r\n");
        for (who, method, target, headers) in [
            ("worker", "PATCH", format!("/Patient/{JANE}"), match_two.as_str()),
            (JANE, "PATCH", format!("/Patient/{JANE}"), match_two.as_str()),
            ("worker", "POST", "/Patient".into(), JSON),
            ("worker", "POST", "/Patient/$process-birth-details".into(), JSON),
            (JANE, "POST", "/Coverage".into(), card.as_str()),
        ] {
            asked += 1;
            let notes = people.notes().len();
            let told = asker.ask(who, method, &target, headers, &body).await;
            let begin = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert!((400..500).contains(&told.status), "{method} {target} {begin}: {} {}", told.status, told.body);
            assert_eq!(told.body["resourceType"], "OperationOutcome", "{begin}");
            assert!(!told.code().is_empty());
            assert!(people.notes().len() > notes, "a refusal leaves its record too: {method} {target} {begin}");
        }
    }
    assert!(asked > 150);
    let after = asker.get("privileged", &format!("/Patient/{JANE}")).await.body;
    assert_eq!(after, before);
}

#[tokio::test]
async fn hostile_queries_and_headers_get_an_answer_that_is_no_fault() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let long = "x".repeat(4_000);
    let (many, long) =
        (format!("/Patient?{}", "given=a&".repeat(400)), format!("/Patient?family={long}&birthdate=2010-10-22"));
    for target in [
        "/Patient?",
        "/Patient?=",
        "/Patient?&&&",
        "/Patient?family=%00&birthdate=2010-10-22",
        "/Patient?family=%FF%FE&birthdate=2010-10-22",
        "/Patient?family=*&birthdate=2010-10-22",
        "/Patient?family=Sm*&birthdate=ge0000-00-00&birthdate=le9999-99-99",
        "/Patient?family=Sm*&birthdate=ge1900-01-01&birthdate=le2100-01-01",
        "/Patient?_max-results=-1&family=a&birthdate=2010-10-22",
        "/Patient?_max-results=99999999999999999999&family=a&birthdate=2010-10-22",
        "/Patient?_fuzzy-match=maybe&family=a&birthdate=2010-10-22",
        "/Patient/0",
        "/Patient/%00",
        "/Patient/99999999999999999999",
        "/Patient/..%2f..%2fetc",
        "/Patient/9000000009/RelatedPerson/1/2",
        "/Coverage?subscriber:identifier=%F0%9F%92%A3",
        "/_poll/x",
        &many,
        &long,
    ] {
        let told = asker.get("worker", target).await;
        assert!(told.status < 500, "{target}: {} {}", told.status, told.body);
    }
    for tag in ["", "*", "W/\"\"", "W/\"-1\"", "W/\"99999999999999999999999\"", "W/\"2", "\"2\"", "W/\"2\", W/\"3\""] {
        let headers = format!("{PATCH}if-match: {tag}\r\n");
        let body = br#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#;
        let told = asker.ask("worker", "PATCH", &format!("/Patient/{JANE}"), &headers, body).await;
        assert!([409, 412].contains(&told.status), "{tag}: {} {}", told.status, told.body);
    }
}

#[tokio::test]
async fn of_simultaneous_changes_to_one_version_one_is_made() {
    let (server, _people) = People::start().await;
    let values = ["male", "unknown", "female", "male", "unknown", "male", "female", "unknown"];
    for round in 0..4 {
        let mut asker = Asker::connect(&server).await;
        let etag = asker.get("worker", &format!("/Patient/{JANE}")).await.etag;
        let mut tries = tokio::task::JoinSet::new();
        for (n, gender) in values.iter().enumerate() {
            let mut asker = Asker::connect(&server).await;
            let headers = format!("{PATCH}if-match: {etag}\r\n");
            let body = json!({"patches": [{"op": "replace", "path": "/gender", "value": gender}]}).to_string();
            let id = format!("60e0b220-8136-4ca5-ae46-{:012x}", 0xabc000 + round * 100 + n);
            tries.spawn(async move {
                let target = format!("/Patient/{JANE}");
                let told = asker.with_id(&id, "worker", "PATCH", &target, &headers, body.as_bytes()).await;
                (told.status, told.code().to_owned(), told.etag, told.body["gender"].clone())
            });
        }
        let told = tries.join_all().await;
        let won: Vec<_> = told.iter().filter(|t| t.0 == 200).collect();
        assert_eq!(won.len(), 1, "{told:?}");
        let lost = told.iter().filter(|t| t.0 == 409 && t.1 == "RESOURCE_VERSION_MISMATCH");
        assert_eq!(lost.count(), values.len() - 1, "{told:?}");
        let now = asker.get("worker", &format!("/Patient/{JANE}")).await;
        assert_eq!((&now.etag, &now.body["gender"]), (&won[0].2, &won[0].3), "what stands is what was answered");
    }
}

#[tokio::test]
async fn who_waits_no_longer_hears_so_and_the_repeat_hears_how_it_ended() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let (hold, held) = tokio::sync::watch::channel(true);
    *server.memory.hold.lock().unwrap() = Some(held);
    let (id, target) = ("60e0b220-8136-4ca5-ae46-00000000beef", format!("/Patient/{JANE}"));
    let body = br#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#;
    let headers = format!("{PATCH}if-match: W/\"2\"\r\nx-sync-wait: 0.25\r\n");
    let begun = Instant::now();
    let told = asker.with_id(id, "worker", "PATCH", &target, &headers, body).await;
    assert_eq!((told.status, told.code(), told.retry_after.as_str()), (503, "SERVICE_UNAVAILABLE", "5"));
    assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&begun.elapsed()));
    hold.send(false).unwrap();
    for _ in 0..2 {
        let told = asker.with_id(id, "worker", "PATCH", &target, &headers, body).await;
        assert_eq!((told.status, told.etag.as_str()), (200, "W/\"3\""), "once, whoever waited for it");
    }
}

#[tokio::test]
async fn a_correlation_id_is_given_back_and_never_invented() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let id = "11c46f5f-cdef-4865-94b2-0ee0edcc26da";
    for target in [format!("/Patient/{JANE}"), "/Patient/0".into()] {
        assert_eq!(asker.get("worker", &target).await.correlation, None);
        assert_eq!(asker.get("nobody", &target).await.correlation, None);
        let told = asker.ask("worker", "GET", &target, &format!("x-correlation-id: {id}\r\n"), b"").await;
        assert_eq!(told.correlation.as_deref(), Some(id));
    }
}

#[tokio::test]
async fn the_same_person_sent_by_many_at_once_is_one_person_with_one_number() {
    let (server, _people) = People::start().await;
    let body = new_person("Simultaneous").to_string();
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..8 {
        let mut asker = Asker::connect(&server).await;
        let body = body.clone();
        // Two and two share a request id, as a client has that heard nothing in time.
        let id = format!("60e0b220-8136-4ca5-ae46-{:012x}", 0xdef000 + n / 2);
        tries.spawn(async move {
            let told = asker.with_id(&id, "worker", "POST", "/Patient", JSON, body.as_bytes()).await;
            (n / 2, told.status, told.body)
        });
    }
    let mut made = vec![];
    for (id, status, body) in tries.join_all().await {
        match status {
            201 => made.push((id, body["id"].as_str().unwrap().to_owned())),
            200 => assert_eq!(body["issue"][0]["details"]["coding"][0]["code"], "SINGLE_MATCH", "{body}"),
            other => panic!("{other} {body}"),
        }
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 1, "one number, told only to those who sent its id: {made:?}");
    let mut asker = Asker::connect(&server).await;
    let born = new_person("x")["birthDate"].as_str().unwrap().to_owned();
    let told = asker.get("worker", &format!("/Patient?family=Simultaneous&birthdate={born}")).await;
    assert_eq!(told.numbers(), [made[0].1.as_str()]);
}
