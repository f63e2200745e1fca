//! The published people over the real HTTP API: each loads, and behaves as its own data say (spec/pds.md §5–8, §12, §13).

use crate::support::people::{Asker, People, published};
use crate::support::{Client, client};
use serde_json::{Value, json};
use spine::access::caller::Caller;
use spine::access::gate::{Denied, Proven, Standing};
use spine::edge::options::Options;
use spine::engine::draft::AuditNote;

const HIDING: [&str; 5] = ["address", "telecom", "contact", "generalPractitioner", "managingOrganization"];
const HIDING_EXTENSIONS: [&str; 4] =
    ["Extension-UKCore-NominatedPharmacy", "PreferredDispenserOrganization", "MedicalApplianceSupplier", "birthPlace"];

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// A resource without what the server makes: verification status, and ids of items that the file gives none.
fn plain(resource: &Value) -> Value {
    let mut plain = resource.clone();
    for member in ["identifier", "meta"] {
        plain.as_object_mut().unwrap().remove(member);
    }
    plain
}

/// What is said about the reason for removal to those who may not know it (§5.11).
fn with_shown_reason(mut resource: Value, privileged: bool) -> Value {
    if let Some(list) = resource.get_mut("extension").and_then(Value::as_array_mut) {
        let parts = list.iter_mut().filter_map(|e| e.get_mut("extension")?.as_array_mut()).flatten();
        let codings = parts.filter_map(|part| part.pointer_mut("/valueCodeableConcept/coding/0"));
        for coding in codings.filter(|c| c["system"] == "https://fhir.nhs.uk/CodeSystem/PDS-RemovalReasonExitCode") {
            let code = coding["code"].as_str().unwrap().to_owned();
            if code == "LDN" || (!privileged && (code == "AFN" || code == "SDN")) {
                coding["code"] = json!("ORR");
                coding["display"] = json!("Other Reason");
            }
        }
    }
    resource
}

#[tokio::test]
async fn everybody_is_retrieved_as_their_label_says() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let mut seen = [0; 4];
    for person in published() {
        let nhs = text(&person, "/nhsNumber");
        let target = format!("/Patient/{nhs}");
        for who in ["app", "privileged", "worker", nhs] {
            let told = asker.get(who, &target).await;
            if person["invalidated"] == true {
                seen[0] += 1;
                assert_eq!((told.status, told.code()), (404, "INVALIDATED_RESOURCE"), "{nhs} {who}");
                continue;
            }
            assert_eq!(told.status, 200, "{nhs} {who}: {}", told.body);
            let resource = &person["resource"];
            assert_eq!(told.etag, format!("W/\"{}\"", text(resource, "/meta/versionId")), "{nhs}");
            let label = text(resource, "/meta/security/0/code");
            assert_eq!(text(&told.body, "/meta/security/0/code"), label, "{nhs}");
            assert_eq!(text(&told.body, "/identifier/0/value"), nhs);
            match label {
                "U" => {
                    seen[1] += 1;
                    let wanted = with_shown_reason(plain(resource), who == "privileged");
                    assert_eq!(plain(&told.body), wanted, "{nhs} {who}");
                }
                "R" => {
                    seen[2] += 1;
                    assert_eq!(told.body["name"], resource["name"], "{nhs} {who}");
                    restricted(&told.body, &person["confidential"], who == "privileged");
                }
                "V" => {
                    seen[3] += 1;
                    let members: Vec<&String> = told.body.as_object().unwrap().keys().collect();
                    assert_eq!(members, ["id", "identifier", "meta", "resourceType"], "{nhs} {who}");
                }
                other => panic!("{nhs} has the label {other}"),
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "every kind of person is among them: {seen:?}");
}

/// Nothing says where a restricted person is, but to privileged applications, who see all of it (§6).
fn restricted(shown: &Value, confidential: &Value, privileged: bool) {
    let told = shown.to_string();
    for (member, hidden) in confidential.as_object().unwrap() {
        for item in hidden.as_array().into_iter().flatten() {
            let word = ["/postalCode", "/value", "/identifier/value"].map(|path| text(item, path));
            let word = word.into_iter().find(|w| !w.is_empty()).unwrap_or_default();
            assert_eq!(told.contains(word), privileged, "{member}");
        }
    }
    if !privileged {
        assert!(HIDING.iter().all(|member| shown.get(member).is_none()), "{told}");
        assert!(HIDING_EXTENSIONS.iter().all(|url| !told.contains(url)), "{told}");
    }
}

#[tokio::test]
async fn a_merged_number_leads_to_the_person_it_became() {
    let (server, people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let mut count = 0;
    for person in published() {
        let nhs = text(&person, "/nhsNumber");
        for old in person["supersedes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            count += 1;
            let told = asker.get("worker", &format!("/Patient/{old}")).await;
            assert_eq!((told.status, text(&told.body, "/id")), (200, nhs));
            assert_eq!(told.etag, format!("W/\"{}\"", text(&person, "/resource/meta/versionId")));
            let body = br#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#;
            let headers = "content-type: application/json-patch+json\r\nif-match: W/\"1\"\r\n";
            let told = asker.ask("worker", "PATCH", &format!("/Patient/{old}"), headers, body).await;
            assert_eq!((told.status, told.code()), (403, "FORBIDDEN_UPDATE"));
            let named =
                people.notes().into_iter().any(|note| note.interaction == "pds.retrieve" && note.subject == nhs);
            assert!(named, "the trail names whose data were shown");
        }
    }
    assert!(count > 0);
}

/// A search for a person's usual name, birth date and gender.
fn search(resource: &Value) -> Option<String> {
    let name = resource["name"].as_array()?.iter().find(|n| n["use"] == "usual")?;
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    };
    let mut query = format!("/Patient?family={}", encode(name["family"].as_str()?));
    if let Some(given) = name["given"][0].as_str() {
        query.push_str(&format!("&given={}", encode(given)));
    }
    query.push_str(&format!("&birthdate=eq{}", resource["birthDate"].as_str()?));
    query.push_str(&format!("&gender={}", resource["gender"].as_str()?));
    Some(query)
}

#[tokio::test]
async fn everybody_is_found_or_not_as_their_label_says() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let mut found = 0;
    for person in published() {
        let (nhs, resource) = (text(&person, "/nhsNumber"), &person["resource"]);
        let Some(query) = search(resource) else { continue };
        let label = text(resource, "/meta/security/0/code");
        let told = asker.get("worker", &query).await;
        let shown = label != "V" && person["invalidated"] != true;
        assert_eq!(told.numbers().contains(&nhs), shown, "{query}");
        let fuzzy = asker.get("worker", &format!("{query}&_fuzzy-match=true")).await;
        assert_eq!(fuzzy.numbers().contains(&nhs), shown, "{query}");
        if !shown {
            continue;
        }
        found += 1;
        let entry = told.body["entry"].as_array().unwrap().iter().find(|e| e["resource"]["id"] == nhs).unwrap();
        assert_eq!(entry["search"]["score"], 1, "who agrees in everything scores 1");
        if let Some(died) = resource["deceasedDateTime"].as_str() {
            assert_eq!(text(entry, "/resource/deceasedDateTime"), died);
        }
        let place = if label == "R" { &person["confidential"] } else { resource };
        let postcode = place["address"][0]["postalCode"].as_str().unwrap_or_default().replace(' ', "");
        if postcode.is_empty() {
            continue;
        }
        let told = asker.get("worker", &format!("{query}&address-postalcode={postcode}")).await;
        assert_eq!(told.numbers().contains(&nhs), label == "U", "nobody restricted is found by a place: {query}");
    }
    assert!(found > 50, "{found}");
}

#[tokio::test]
async fn values_of_the_past_match_with_history_only_and_hidden_ones_never() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let (mut names, mut mails, mut births, mut hidden) = (0, 0, 0, 0);
    for person in published() {
        let (nhs, resource, history) = (text(&person, "/nhsNumber"), &person["resource"], &person["history"]);
        let Some(query) = search(resource) else { continue };
        for name in history["name"].as_array().into_iter().flatten() {
            names += 1;
            let mut then = resource.clone();
            then["name"] = json!([name]);
            let query = search(&then).unwrap();
            assert!(!asker.get("worker", &query).await.numbers().contains(&nhs), "{query}");
            assert!(asker.get("worker", &format!("{query}&_history=true")).await.numbers().contains(&nhs), "{query}");
        }
        for mail in history["telecom"].as_array().into_iter().flatten().filter(|t| t["system"] == "email") {
            mails += 1;
            let query = format!("{query}&email={}", text(mail, "/value"));
            assert!(!asker.get("worker", &query).await.numbers().contains(&nhs), "{query}");
            assert!(asker.get("worker", &format!("{query}&_history=true")).await.numbers().contains(&nhs), "{query}");
        }
        for born in history["birthDate"].as_array().into_iter().flatten() {
            births += 1;
            let mut then = resource.clone();
            then["birthDate"] = born.clone();
            for kind in ["_history=true", "_fuzzy-match=true"] {
                let query = format!("{}&{kind}", search(&then).unwrap());
                assert!(
                    !asker.get("worker", &query).await.numbers().contains(&nhs),
                    "no birth date of the past: {query}"
                );
            }
        }
        for address in person["hidden"]["address"].as_array().into_iter().flatten() {
            hidden += 1;
            let code = text(address, "/postalCode").replace(' ', "");
            for kind in ["_history=false", "_history=true"] {
                let query = format!("{query}&address-postalcode={code}&{kind}");
                assert!(!asker.get("worker", &query).await.numbers().contains(&nhs), "{query}");
            }
        }
    }
    assert!(names > 1 && mails > 0 && births > 0 && hidden > 0, "{names} {mails} {births} {hidden}");
}

#[tokio::test]
async fn related_people_and_cards_are_those_of_the_file() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    for person in published() {
        let nhs = text(&person, "/nhsNumber");
        if person["invalidated"] == true {
            continue;
        }
        let told = asker.get("app", &format!("/Patient/{nhs}/RelatedPerson")).await;
        let mut wanted: Vec<Value> = person["relatedPersons"].as_array().cloned().unwrap_or_default();
        wanted.sort_by_key(|one| text(one, "/id").to_owned());
        let shown = told.body["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone());
        assert_eq!(shown.collect::<Vec<_>>(), wanted, "{nhs}");
        let told = asker.get(nhs, &format!("/Coverage?subscriber%3Aidentifier={nhs}")).await;
        assert_eq!(told.status, 200, "{nhs}: {}", told.body);
        let card = &person["coverage"];
        let version = card["versionId"].as_str().unwrap_or("1");
        assert_eq!((told.etag.as_str(), text(&told.body, "/meta/versionId")), (&*format!("W/\"{version}\""), version));
        match card.get("resource") {
            Some(resource) => assert_eq!(&told.body["entry"][0]["resource"], resource),
            None => assert_eq!(told.body["total"], 0),
        }
    }
}

#[tokio::test]
async fn a_token_that_opens_nothing_here_is_told_as_one_that_is_not_known() {
    let (server, _people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    for who in ["other-product", "low", "nobody"] {
        let told = asker.get(who, "/Patient/9000000009").await;
        let issue = &told.body["issue"][0];
        assert_eq!((told.status, told.code()), (401, "ACCESS_DENIED"), "{who}");
        assert_eq!(text(issue, "/details/coding/0/display"), "Access Denied - Unauthorised", "{who}");
        assert_eq!(text(issue, "/diagnostics"), "Invalid Access Token", "{who}");
    }
}

/// Method, target, headers, body, the activities that open it, and the status that those get who have one.
type Ask<'a> = (&'a str, &'a str, &'a str, &'a [u8], &'a str, u16);

#[tokio::test]
async fn staff_do_what_the_activities_of_their_role_open() {
    let (server, people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let jane = "9000000009";
    let (patient, related) = (format!("/Patient/{jane}"), format!("/Patient/{jane}/RelatedPerson"));
    let found = "/Patient?family=Smith&birthdate=2010-10-22&gender=female";
    let card = format!("/Coverage?subscriber:identifier={jane}");
    let patch = "content-type: application/json-patch+json\r\nif-match: W/\"2\"\r\n";
    let json = "content-type: application/json\r\nif-match: W/\"2\"\r\n";
    let change = br#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#.as_slice();
    const TRACE: &str = "B0264, B0254, B0825, B0820";
    let asks: [Ask<'_>; 8] = [
        ("GET", &patient, "", b"", TRACE, 200),
        ("GET", found, "", b"", TRACE, 200),
        ("GET", &related, "", b"", TRACE, 200),
        ("GET", &card, "", b"", TRACE, 403),
        ("PATCH", &patient, patch, change, "B0825", 200),
        ("POST", "/Patient", json, b"{}", "B0825", 400),
        ("POST", "/Patient/$process-birth-details", json, b"{}", "B0825", 400),
        ("POST", "/Coverage", json, b"{}", "B0825", 403),
    ];
    for (method, target, headers, body, needed, status) in asks {
        for (who, may) in [("worker", true), ("reader", needed == TRACE), ("desk", false)] {
            let told = asker.ask(who, method, target, headers, body).await;
            let issue = &told.body["issue"][0];
            let refused = text(issue, "/details/coding/0/display") == "Role cannot perform this action";
            assert_eq!(refused, !may, "{who} {method} {target}: {}", told.body);
            if may {
                assert_eq!(told.status, status, "{who} {method} {target}: {}", told.body);
            } else {
                assert_eq!((told.status, told.code()), (403, "ACCESS_DENIED"), "{who} {method} {target}");
                let named = text(issue, "/diagnostics").contains(&format!("open this: {needed}."));
                assert!(named && text(issue, "/code") == "forbidden", "{issue}");
            }
        }
    }
    // Who is no member of staff has no activities, and is asked for none.
    for who in ["app", "privileged", jane] {
        assert_eq!(asker.get(who, &patient).await.status, 200, "{who}");
    }
    // One change is made; the refused ones are in the trail too (P4).
    let notes = people.notes();
    let updates: Vec<bool> =
        notes.iter().filter(|n| n.interaction == "pds.update").map(|n| n.outcome == "ok").collect();
    assert_eq!(updates, [true, false, false]);
}

#[tokio::test]
async fn staff_without_one_role_are_told_which_way_it_is() {
    let (server, people) = People::start().await;
    let mut asker = Asker::connect(&server).await;
    let rows = [
        ("closed", Denied::RolesNone, 401, "no userroles available, please check NHSD-Session-URID is valid"),
        ("gone", Denied::RoleGone, 401, "selected_roleid is misconfigured/invalid"),
        ("several", Denied::RolesSeveral, 400, "Invalid value - '' in header 'NHSD-Session-URID'. Refer"),
        ("foreign", Denied::RoleForeign, 400, "Invalid value - '12' in header 'NHSD-Session-URID'. Refer"),
    ];
    for (who, why, status, words) in rows {
        people.know(&format!("bearer {who}"), Standing::Lapsed(why, Box::new(proven_staff())));
        let header = if who == "foreign" { "nhsd-session-urid: 12\r\n" } else { "" };
        let told = asker.ask(who, "GET", "/Patient/9000000009", header, b"").await;
        let code = if status == 401 { "ACCESS_DENIED" } else { "INVALID_VALUE" };
        assert_eq!((told.status, told.code()), (status, code), "{who}");
        assert!(text(&told.body, "/issue/0/diagnostics").starts_with(words), "{who}: {}", told.body);
    }
}

fn proven_staff() -> Proven {
    let scopes = vec!["urn:nhsd:apim:user-nhs-id:aal3:personal-demographics-service".to_owned()];
    let caller = Caller { level: "aal3".into(), user: "555254240100".into(), scopes, ..Default::default() };
    Proven { caller, quota: 0, emergency: false }
}

#[tokio::test]
async fn how_it_is_is_told_to_an_operators_key() {
    let (server, people) = People::start().await;
    let key = |scope: &str| {
        let scopes = vec![format!("urn:nhsd:apim:app:level0:{scope}")];
        let caller = Caller { application: "watch".into(), level: "level0".into(), scopes, ..Default::default() };
        Standing::Proven(Box::new(Proven { caller, quota: 0, emergency: false }))
    };
    people.know("key watch", key("personal-demographics-service"));
    people.know("key elsewhere", key("spine-directory"));
    let mut client = Client::with(&server, client::config(&server, None, rustls::ALL_VERSIONS)).await.unwrap();
    for (shown, path, status) in [
        ("apikey: watch", "/_status", 200),
        ("apikey: watch", "/FHIR/R4/_status", 200),
        ("authorization: Bearer app", "/_status", 200),
        ("apikey: elsewhere", "/_status", 401),
        ("apikey: wrong", "/_status", 401),
        ("x-none: x", "/_status", 401),
        ("x-none: x", "/_ping", 200),
        // A key opens nothing else.
        ("apikey: watch", "/FHIR/R4/Patient/9000000009", 401),
    ] {
        let id = "x-request-id: 60e0b220-8136-4ca5-ae46-1d97ef59d068";
        let head = format!("GET /personal-demographics{path} HTTP/1.1\r\nhost: localhost\r\n{id}\r\n{shown}\r\n\r\n");
        let answer = client.ask(head.into_bytes()).await;
        assert_eq!(answer.status, status, "{shown} {path}: {}", answer.text());
        match (status, shown) {
            (200, _) if path.ends_with("_status") => assert_eq!(answer.text(), r#"{"status":"pass"}"#),
            (401, "apikey: wrong") => assert!(answer.text().contains("Invalid ApiKey"), "{}", answer.text()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn new_patients_have_a_limit_of_their_own() {
    let options = Options { application_rate: Some(5), ..Options::default() };
    let (server, _people) = People::start_with(options).await;
    let mut asker = Asker::connect(&server).await;
    let refused = loop {
        let told = asker.ask("worker", "POST", "/Patient", "content-type: application/json\r\n", b"{}").await;
        if told.status == 429 {
            break told;
        }
        assert_eq!((told.status, told.code()), (400, "MISSING_VALUE"));
    };
    assert_eq!((refused.code(), refused.retry_after.as_str()), ("TOO_MANY_REQUESTS", "1"));
    let words = "There have been too many Create Patient requests. Please try again later.";
    assert_eq!(text(&refused.body, "/issue/0/diagnostics"), words);
    let told = asker.get("worker", "/Patient/9000000009").await;
    assert_eq!(told.status, 200, "who made too many may still look");
}

#[tokio::test]
async fn a_request_without_its_id_is_told_so_before_its_token_is_looked_at() {
    let (server, people) = People::start().await;
    let mut client = Client::with(&server, client::config(&server, None, rustls::ALL_VERSIONS)).await.unwrap();
    let path = "/personal-demographics/FHIR/R4/Patient/9000000009";
    let stranger = "authorization: Bearer nobody\r\n";
    for (method, id, status, code) in [
        ("GET", "", 400, "MISSING_VALUE"),
        ("GET", "x-request-id: 17\r\n", 400, "INVALID_VALUE"),
        ("GET", "x-request-id: 60e0b220-8136-4ca5-ae46-1d97ef59d068\r\n", 401, "ACCESS_DENIED"),
        // Of PATCH the gateway looks at the token first (spec/pds.md §9.2).
        ("PATCH", "", 401, "ACCESS_DENIED"),
    ] {
        let answer = client.ask(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{stranger}{id}\r\n")).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, text(&body, "/issue/0/details/coding/0/code")), (status, code), "{method} {id}");
    }
    let named = |note: &&AuditNote| note.subject == "9000000009" && note.outcome == "SPN-1023";
    let told: Vec<String> = people.notes().iter().filter(named).map(|note| note.interaction.clone()).collect();
    assert_eq!(told, ["pds.retrieve", "pds.update"], "and whose record was asked for is in the trail");
}
