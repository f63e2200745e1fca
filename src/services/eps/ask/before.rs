//! What a request is told before anything is looked at: headers, functions that are off, where it is served, whom a message names.

use super::*;
use crate::services::eps::EpsOptions;

fn asked(route: Route, path: &str, live: bool) -> Asked {
    let rules = Default::default();
    let signatures = sign::Mode::Sample;
    let options = EpsOptions { signatures, rules, prescribing: true, dispensing: true, live };
    let mut asked = Asked::new(Arc::new(Eps { options }), Arc::default(), route, path, 0);
    asked.name_host(Some("spine:8443"));
    asked
}

#[test]
fn headers_for_tests_are_refused_where_it_is_live() {
    let mut headers = HeaderMap::new();
    headers.insert("x-skip-validation", "true".parse().unwrap());
    let path = "/fhir-prescribing/FHIR/R4/$process-message";
    assert!(asked(Route::Process, path, false).no_test_headers(&headers).is_ok());
    assert!(asked(Route::Process, path, true).no_test_headers(&HeaderMap::new()).is_ok());
    let refused = asked(Route::Process, path, true).no_test_headers(&headers).expect_err("refused").response;
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    let issue = &body["issue"][0];
    assert_eq!(
        (refused.status, issue["severity"].as_str(), issue["code"].as_str()),
        (403, Some("error"), Some("invalid"))
    );
    assert_eq!(issue["details"]["coding"][0]["code"], "MISSING_OR_INVALID_HEADER");
    assert_eq!(issue["diagnostics"], "Invalid headers: x-skip-validation");
}

#[test]
fn a_capability_statement_says_where_it_is_served() {
    for (path, at) in [
        ("/fhir-dispensing/FHIR/R4/metadata", "https://spine:8443/fhir-dispensing/FHIR/R4"),
        ("/fhir-prescribing/metadata", "https://spine:8443/fhir-prescribing"),
    ] {
        let told: Value = serde_json::from_slice(&asked(Route::Metadata, path, false).metadata().body).unwrap();
        assert_eq!(told["implementation"]["url"], at);
        assert_eq!(told["date"], "1970-01-01T00:00:00+00:00");
    }
}

#[test]
fn a_message_of_somebody_else_is_noticed() {
    let mut asked = asked(Route::Process, "/fhir-prescribing/FHIR/R4/$process-message", true);
    let caller = Caller { user: "555".into(), role_profile: "777".into(), ..Default::default() };
    assert!(!asked.names_others(&caller), "it names nobody");
    let named = |role: &str, user: &str| {
        let id = |system: &str, value: &str| serde_json::json!([{"system": system, "value": value}]);
        serde_json::json!({"entry": [{"resource": {"identifier": id(read::codes::ROLE, role)}},
            {"resource": {"identifier": id(read::codes::USER, user)}}]})
    };
    asked.root = named("777", "555");
    assert!(!asked.names_others(&caller) && !asked.names_others(&Caller::default()));
    for (role, user) in [("778", "555"), ("777", "556")] {
        asked.root = named(role, user);
        assert!(asked.names_others(&caller), "{role} {user}");
    }
}

#[test]
fn cancelling_that_is_off_has_its_own_code() {
    let path = "/fhir-prescribing/FHIR/R4/$process-message";
    assert!(asked(Route::Process, path, true).cancelling().is_ok());
    let mut off = asked(Route::Process, path, true);
    let options = EpsOptions { prescribing: false, ..off.eps.options.clone() };
    off.eps = Arc::new(Eps { options });
    let refused = off.cancelling().expect_err("refused");
    let body: Value = serde_json::from_slice(&refused.response.body).unwrap();
    assert_eq!((refused.response.status, body["issue"][0]["code"].as_str()), (400, Some("not-supported")));
    let coding = &body["issue"][0]["details"]["coding"][0];
    assert_eq!(coding["display"], "Cancellation functionality disabled in SPINE");
    assert_eq!((coding["code"].as_str(), refused.code), (Some("R-0009"), "R-0009"));
}
