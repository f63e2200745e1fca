//! Events that systems file: kept, found, given back; what has no place in the trail is refused by name.

use super::*;

const SAMPLE: &str =
    include_str!("../../../../tests/data/identity/PARS-AuditEvent-user-restricted-hl7v3-gpsummary-read-Example.json");

fn system() -> Caller {
    Caller { application: "gp-connect".into(), ods: "ABC".into(), level: "level3".into(), ..Default::default() }
}

/// The sample about a person of the test range.
fn sample() -> Value {
    let mut event: Value = serde_json::from_str(SAMPLE).unwrap();
    event["entity"][0]["what"]["identifier"]["value"] = JANE.into();
    event
}

#[test]
fn a_filed_event_comes_back_as_it_was_filed() {
    for mut site in sites() {
        let response = site.ask(&system(), "POST", "/AuditEvent", sample().to_string().as_bytes());
        assert_eq!(response.status, 201);
        let (_, location) = response.headers.iter().find(|(name, _)| *name == "location").unwrap();
        let location = String::from_utf8(location.to_vec()).unwrap();
        let id = location.strip_prefix(&format!("https://api.example.org{BASE}/AuditEvent/")).unwrap();
        let mut wanted = sample();
        wanted["id"] = id.into();
        // When it came and who sent it, whatever the event says of itself.
        wanted["meta"] = serde_json::json!({"lastUpdated": crate::model::time::iso(NOW)});
        wanted["agent"].as_array_mut().unwrap().push(serde_json::json!({
            "type": {"text": "filed by"},
            "who": {
                "type": "Device",
                "identifier": {"system": "https://fhir.nhs.uk/Id/product-id", "value": "gp-connect"},
            },
            "requestor": false,
        }));
        assert_eq!(site.get(&citizen(JANE), &format!("/AuditEvent/{id}")), (200, wanted.clone()));
        let (events, _) = site.all(&citizen(JANE), "");
        assert_eq!(events.last(), Some(&wanted), "and the citizen finds it");
        assert_eq!(site.get(&citizen(JOHN), &format!("/AuditEvent/{id}")).0, 404);
    }
}

#[test]
fn what_has_no_place_in_the_trail_is_refused_by_name() {
    let mut site = Site::new(1);
    let changed = |at: &str, to: Value| {
        let mut event = sample();
        match at.rsplit_once('/') {
            Some((parent, last)) if !parent.is_empty() => event.pointer_mut(parent).unwrap()[last] = to,
            _ => event[&at[1..]] = to,
        }
        event.to_string()
    };
    let long = "x".repeat(17_000);
    for (what, body, status) in [
        ("no JSON", "{".to_owned(), 400),
        ("a list", "[]".to_owned(), 400),
        ("another resource", changed("/resourceType", "Patient".into()), 400),
        ("clinical content", changed("/contained", serde_json::json!([{"resourceType": "Observation"}])), 400),
        ("a query", changed("/entity/0/query", "c2VjcmV0".into()), 400),
        ("another type", changed("/type/code", "other".into()), 400),
        ("an action that is none", changed("/action", "X".into()), 400),
        ("a day", changed("/recorded", "2024-07-01".into()), 400),
        ("nobody", changed("/agent", serde_json::json!([])), 400),
        ("no patient", changed("/entity/0/what", serde_json::json!({})), 400),
        ("a number that does not check", changed("/entity/0/what/identifier/value", "9990000019".into()), 400),
        ("a long text", changed("/outcomeDesc", long.into()), 413),
    ] {
        let response = site.ask(&system(), "POST", "/AuditEvent", body.as_bytes());
        assert_eq!(response.status, status, "{what}");
    }
    assert_eq!(site.ask(&system(), "POST", "/AuditEvent", b"").status, 400);
    let (events, _) = site.all(&officer(), &format!("patient={JANE}"));
    assert!(events.is_empty(), "nothing of them is in her trail");
}
