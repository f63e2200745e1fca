//! Who reads whose trail, and what it looks like.

use super::*;
use serde_json::json;

const SAMPLE: &str =
    include_str!("../../../../tests/data/identity/PARS-AuditEvent-app-restricted-fhir-pds-read-Example.json");
const BY_A_USER: &str =
    include_str!("../../../../tests/data/identity/PARS-AuditEvent-user-restricted-hl7v3-gpsummary-read-Example.json");

fn sample(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The names of all members, with the coding systems, of a value: its shape.
fn same_shape(ours: &Value, theirs: &Value, at: &str) {
    match theirs {
        Value::Object(members) => {
            for (name, value) in members {
                let mine = ours.get(name).unwrap_or_else(|| panic!("{at}/{name} is missing in {ours}"));
                same_shape(mine, value, &format!("{at}/{name}"));
            }
        }
        Value::Array(items) => {
            let mine = ours.as_array().unwrap_or_else(|| panic!("{at} is no list"));
            for (n, item) in items.iter().enumerate() {
                same_shape(&mine[n], item, &format!("{at}/{n}"));
            }
        }
        Value::String(text) if at.ends_with("/system") || at.ends_with("/code") => {
            assert_eq!(ours, text, "{at}");
        }
        Value::String(_) => assert!(ours.is_string(), "{at}"),
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

#[test]
fn an_event_has_the_shape_of_the_published_samples() {
    for mut site in sites() {
        site.looked_at(JANE);
        let (status, bundle) = site.get(&officer(), &format!("/AuditEvent?patient={JANE}"));
        assert_eq!(status, 200);
        let event = &bundle["entry"][0]["resource"];
        let mut wanted = sample(BY_A_USER);
        wanted["type"] = sample(SAMPLE)["type"].clone();
        wanted["subtype"] = sample(SAMPLE)["subtype"].clone();
        // The trail holds the user's id, and no name.
        wanted["agent"][1]["who"].as_object_mut().unwrap().remove("display");
        same_shape(event, &wanted, "");
        assert_eq!(event["recorded"], "2026-11-22T00:59:33.579Z");
        assert_eq!(event["agent"][0]["who"]["display"], "A GP Surgery");
        assert_eq!(event["agent"][0]["who"]["identifier"]["value"], "A83001");
        assert_eq!(event["agent"][1]["who"]["identifier"]["value"], "656005750107");
        assert_eq!((&event["agent"][1]["altId"], &event["action"]), (&json!("555254242102"), &json!("R")));
        assert_eq!(event["agent"][2]["network"], json!({"address": "10.9.9.9", "type": "2"}));
        assert_eq!(event["entity"][0]["what"]["identifier"]["value"], JANE);
        assert_eq!(event["entity"][1]["what"]["identifier"]["value"], "76d148b6-586d-11ec-bf63-0242ac130082");
        assert_eq!(
            (interaction(event), &event["entity"][2]["name"]),
            ("pds.retrieve", &json!("Personal Demographics Service"))
        );
        let id = event["id"].as_str().unwrap();
        let (status, again) = site.get(&officer(), &format!("/AuditEvent/{id}"));
        assert_eq!((status, &again), (200, event));
    }
}

#[test]
fn reading_the_trail_is_in_the_trail() {
    for mut site in sites() {
        site.looked_at(JANE);
        site.all(&officer(), &format!("patient={JANE}"));
        let (events, _) = site.all(&officer(), &format!("patient={JANE}"));
        let told: Vec<&str> = events.iter().map(interaction).collect();
        assert_eq!(told, ["audit.search", "pds.retrieve"]);
        assert_eq!(events[0]["agent"][1]["who"]["identifier"]["value"], officer().user);
        let (status, body) = site.get(&officer(), "/AuditEvent?patient=9990000019");
        assert_eq!((status, code(&body)), (400, "INVALID_VALUE"));
        let (doings, _) = site.all(&officer(), &format!("agent={}", officer().user));
        assert_eq!(doings.len(), 3, "a refused search leaves its record too");
        assert_eq!(doings[0]["outcomeDesc"], "INVALID_VALUE");
    }
}

#[test]
fn a_citizen_sees_who_looked_at_himself_and_nobody_else() {
    for mut site in sites() {
        site.looked_at(JANE);
        site.looked_at(JOHN);
        let jane = citizen(JANE);
        for query in ["", "date=ge2026-11-01", &format!("patient={JANE}")] {
            let (events, _) = site.all(&jane, query);
            let retrieved: Vec<&Value> = events.iter().filter(|e| interaction(e) == "pds.retrieve").collect();
            assert_eq!(retrieved.len(), 1, "{query}");
            assert!(events.iter().all(|e| e["entity"][0]["what"]["identifier"]["value"] == JANE));
            assert_eq!(retrieved[0]["agent"][2].get("network"), None, "no addresses of staff");
        }
        let (status, body) = site.get(&jane, &format!("/AuditEvent?patient={JOHN}"));
        assert_eq!((status, code(&body)), (403, "ACCESS_DENIED"));
        let (johns, _) = site.all(&officer(), &format!("patient={JOHN}"));
        assert_eq!(interaction(&johns[0]), "audit.search", "her try is in his trail");
        assert_eq!(johns[0]["outcomeDesc"], "ACCESS_DENIED");
        let id = johns[1]["id"].as_str().unwrap();
        assert_eq!(site.get(&jane, &format!("/AuditEvent/{id}")).0, 404);
        assert_eq!(site.get(&citizen(JOHN), &format!("/AuditEvent/{id}")).0, 200);
        let nobody = Caller { nhs_number: String::new(), ..jane };
        assert_eq!(site.get(&nobody, "/AuditEvent").0, 403, "a token without a number shows nothing");
    }
}

#[test]
fn pages_and_dates_join_to_the_whole_trail() {
    for mut site in sites() {
        for n in 0..23 {
            site.looked_at(if n % 2 == 0 { JANE } else { JOHN });
        }
        let by = format!("agent={}", clinician().user);
        let (whole, one) = site.all(&officer(), &format!("{by}&_count=100"));
        assert_eq!((whole.len(), one), (23, 1));
        for count in [1, 4, 7] {
            let (events, pages) = site.all(&officer(), &format!("{by}&_count={count}"));
            assert_eq!(events, whole, "{count} a page");
            assert!(pages >= 23 / count, "{pages} pages of {count}");
        }
        let (hers, _) = site.all(&officer(), &format!("{by}&patient={JANE}&_count=3"));
        assert_eq!(hers.len(), 12);
        let window = "date=ge2026-11-22T00:59:40Z&date=lt2026-11-22T00:59:43Z";
        let (inside, _) = site.all(&officer(), &format!("{by}&{window}"));
        assert_eq!(inside.len(), 3);
        // The officer's searches named every person that they showed.
        let (hers, _) = site.all(&officer(), &format!("patient={JANE}&_count=100"));
        assert!(hers.iter().filter(|e| interaction(e) == "audit.search").count() > 10);
    }
}

#[test]
fn an_event_that_is_not_there_is_not_found() {
    let mut site = Site::new(3);
    site.looked_at(JANE);
    for id in ["00000001-0000-8000-8000-0000000003e7", "00000009-0000-8000-8000-000000000001", "x", "%20"] {
        assert_eq!(site.get(&officer(), &format!("/AuditEvent/{id}")).0, 404, "{id}");
    }
    let (status, body) = site.get(&officer(), &format!("/AuditEvent/{}", "x".repeat(40)));
    assert_eq!((status, code(&body)), (400, "INVALID_RESOURCE_ID"));
    let (status, body) = site.get(&officer(), "/AuditEvent");
    assert_eq!((status, code(&body)), (400, "MISSING_VALUE"));
}

#[test]
fn a_citizen_gets_nobody_elses_trail_where_the_rule_says_themself() {
    use crate::access::{conditions::Relationship, rules};
    for rule in rules::AUDIT.iter().filter(|rule| !rule.activities().is_empty()) {
        let mut site = Site::new(3);
        site.looked_at(JANE);
        let (events, _) = site.all(&officer(), &format!("patient={JANE}"));
        let target = match rule.interaction {
            "audit.search" => format!("/AuditEvent?patient={JANE}"),
            "audit.read" => format!("/AuditEvent/{}", events[0]["id"].as_str().unwrap()),
            other => panic!("{other} is not tried"),
        };
        let asked = site.get(&citizen(JANE), &target).0 == 200 && site.get(&citizen(JOHN), &target).0 >= 400;
        assert_eq!(rule.relationship == Relationship::Themself, asked, "{}", rule.interaction);
    }
}
