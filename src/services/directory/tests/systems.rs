//! SDS FHIR: Device and Endpoint as published, every rule on parameters and headers, every refusal word by word.

use super::{
    imports::{LDIF, import, of_ldap, of_ldif},
    *,
};
use crate::services::directory::{
    http::{Answer, Asked},
    routes::route,
};
use serde_json::Value;

const BASE: &str = "/spine-directory/FHIR/R4";
const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
const IA: &str = "https://fhir.nhs.uk/Id/nhsServiceInteractionId";
const PK: &str = "https://fhir.nhs.uk/Id/nhsMhsPartyKey";
const PSIS: &str = "urn:nhs:names:services:psis:REPC_IN150016UK05";

fn site() -> MapStore {
    let mut site = MapStore::default();
    import(&mut site, &of_ldap());
    import(&mut site, &of_ldif(LDIF)[..2].join("\n"));
    site
}

fn asked(path: &str, query: &str) -> Asked {
    Asked {
        method: "GET".into(),
        origin: "https://h".into(),
        path: path.into(),
        query: query.into(),
        now: NOW,
        unique: 3,
        ..Default::default()
    }
}

fn answer(site: &MapStore, asked: &Asked) -> Answer {
    route(&asked.path).unwrap().answer(site, asked).unwrap()
}

fn get(site: &MapStore, resource: &str, query: &str) -> (Answer, Value) {
    let answer = answer(site, &asked(&format!("{BASE}/{resource}"), query));
    let body = serde_json::from_str(&answer.body).unwrap();
    (answer, body)
}

#[test]
fn the_published_endpoint_comes_back_as_published() {
    let query = format!("organization={ODS}|YES&identifier={IA}|{PSIS}&identifier={PK}|YES-0000806");
    let (answer, mut got) = get(&site(), "Endpoint", &query.replace('|', "%7C"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/fhir+json")));
    assert_eq!(got["link"][0]["url"], format!("https://h{BASE}/Endpoint?{query}"), "decoded");
    let id = got["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    assert_eq!(got["entry"][0]["fullUrl"], format!("https://h{BASE}/Endpoint/{id}"));
    assert!(id.len() == 36 && id == id.to_ascii_uppercase());
    for place in ["/id", "/link/0/url", "/entry/0/fullUrl", "/entry/0/resource/id"] {
        *got.pointer_mut(place).unwrap() = "<TO_REPLACE>".into();
    }
    let wanted: Value = serde_json::from_str(include_str!("data/endpoint-searchset.json")).unwrap();
    assert_eq!(got, wanted);
}

#[test]
fn a_device_has_the_published_shape() {
    let mut site = MapStore::default();
    let line = r#"{"asid":"200000000985","ods_code":"A20047","party_key":"A20047-821870","clients":["A20047"],"manufacturer":"A20047","interactions":["urn:nhs:names:services:gpconnect:fhir:operation:gpc.getcarerecord","urn:nhs:names:services:gpconnect:fhir:rest:read:location"]}"#;
    import(&mut site, line);
    let ia = "urn:nhs:names:services:gpconnect:fhir:rest:read:location";
    let query = format!("organization={ODS}|A20047&identifier={IA}|{ia}");
    let (_, mut got) = get(&site, "Device", &query);
    let mut wanted: Value = serde_json::from_str(include_str!("data/device.json")).unwrap();
    wanted["id"] = Value::Null;
    got["entry"][0]["resource"]["id"] = Value::Null;
    assert_eq!(got["entry"][0]["resource"], wanted);
    for (more, found) in [
        (format!("&identifier={PK}|a20047-821870"), 1),
        (format!("&identifier={PK}|A20047-1"), 0),
        (format!("&manufacturing-organization={ODS}|A20047"), 1),
        (format!("&manufacturing-organization={ODS}|X26"), 0),
    ] {
        let (_, got) = get(&site, "Device", &format!("{query}{more}"));
        assert_eq!((got["total"].as_u64(), got["entry"].as_array().map(Vec::len)), (Some(found), Some(found as usize)));
    }
    let disabled = Disable { kind: Kind::System as u8, id: "200000000985".into(), ..Default::default() };
    set(&mut site, disabled);
    assert_eq!(get(&site, "Device", &query).1["total"], 0, "a disabled system is in no answer");
}

#[test]
fn two_owners_of_one_system_are_a_fault() {
    let mut site = MapStore::default();
    import(&mut site, r#"{"asid":"1","ods_code":"A","party_key":"A-1","clients":["A","B"],"interactions":["i"]}"#);
    let (answer, body) = get(&site, "Device", &format!("organization={ODS}|A&identifier={IA}|i"));
    assert_eq!((answer.status, body["issue"][0]["code"].as_str()), (500, Some("exception")));
}

#[test]
fn spine_stands_between_where_it_must() {
    let site = site();
    let address = |ia: &str, org: &str| {
        let (answer, body) = get(&site, "Endpoint", &format!("organization={ODS}|{org}&identifier={IA}|{ia}"));
        (answer.status, body["entry"][0]["resource"]["address"].as_str().unwrap_or_default().to_owned())
    };
    let spine = "https://msg.int.spine2.ncrs.nhs.uk/reliablemessaging/intermediary".to_owned();
    assert_eq!(address("urn:nhs:names:services:gp2gp:RCMR_IN010000UK05", "A99999"), (200, spine.clone()));
    assert_eq!(address("urn:nhs:names:services:ebs:PRSC_IN080000UK03", "X26"), (200, spine.clone()));
    assert_eq!(address(PSIS, "YES").1, "https://msg.opentest.hscic.gov.uk/reliablemessaging/reliablerequest");
    let mut without = MapStore::default();
    import(&mut without, &of_ldif(LDIF)[1]);
    let query = format!("organization={ODS}|A99999&identifier={PK}|A99999-900001");
    let (answer, body) = get(&without, "Endpoint", &query);
    assert_eq!((answer.status, body["issue"][0]["code"].as_str()), (500, Some("exception")));
}

#[test]
fn each_combination_of_words_finds_its_endpoints() {
    let site = site();
    for (query, found) in [
        (format!("organization={ODS}|YES&identifier={IA}|{PSIS}"), 1),
        (format!("organization={ODS}|YES&identifier={PK}|YES-0000806"), 5),
        (format!("identifier={IA}|{PSIS}&identifier={PK}|yes-0000806"), 1),
        (format!("identifier={PK}|YES-0000806&identifier={IA}|other&identifier={IA}|{PSIS}"), 1),
        (format!("organization={ODS}|NONE&identifier={PK}|YES-0000806"), 0),
    ] {
        let (answer, body) = get(&site, "Endpoint", &query);
        assert_eq!((answer.status, body["total"].as_u64()), (200, Some(found)), "{query}");
    }
}

#[test]
fn parameters_are_refused_word_by_word() {
    let site = site();
    let missing = |name: &str, system: &str| {
        format!("Missing or invalid '{name}' query parameter. Should be '{name}={system}|value'")
    };
    let foreign = format!(
        "Missing or invalid 'identifier' query parameter. Should be one or both of: ['identifier={IA}|value', \
         'identifier={PK}|value'"
    );
    let combinations = format!(
        "Missing or invalid query parameters. Should one of following combinations: \
         ['organization={ODS}|value&identifier={IA}|value&identifier={PK}|value''organization={ODS}|value&\
         identifier={IA}|value''organization={ODS}|value&identifier={PK}|value''identifier={IA}|value&\
         identifier={PK}|value']"
    );
    for (resource, query, why) in [
        ("Device", String::new(), missing("organization", ODS)),
        ("Device", format!("identifier={IA}|i"), missing("organization", ODS)),
        ("Device", format!("organization=X26&identifier={IA}|i"), missing("organization", ODS)),
        ("Device", format!("organization={ODS}|&identifier={IA}|i"), missing("organization", ODS)),
        ("Device", format!("organization={ODS}|+&identifier={IA}|i"), missing("organization", ODS)),
        ("Device", format!("organization={ODS}|X26"), missing("identifier", IA)),
        ("Device", format!("organization={ODS}|X26&identifier={PK}|k"), missing("identifier", IA)),
        ("Device", format!("organization={ODS}|X26&identifier=x|y"), foreign.clone()),
        (
            "Device",
            format!("organization={ODS}|X26&identifier={IA}|i&manufacturing-organization=X26"),
            missing("manufacturing-organization", ODS),
        ),
        ("Device", format!("organization={ODS}|X26&who=me"), "Illegal query parameter 'who'".into()),
        ("Endpoint", String::new(), combinations.clone()),
        ("Endpoint", format!("organization={ODS}|X26"), combinations.clone()),
        ("Endpoint", format!("identifier={IA}|i"), combinations.clone()),
        ("Endpoint", format!("organization={ODS}|X26&identifier={IA}|"), combinations),
        ("Endpoint", format!("organization={ODS}|X26&identifier=x|y"), foreign),
        (
            "Endpoint",
            format!("organization={ODS}|X26&manufacturing-organization={ODS}|X26"),
            "Illegal query parameter 'manufacturing-organization'".into(),
        ),
    ] {
        let (answer, body) = get(&site, resource, &query);
        let issue = &body["issue"][0];
        let wanted = format!("HTTP 400: Bad Request ({why})");
        assert_eq!((answer.status, issue["diagnostics"].as_str()), (400, Some(wanted.as_str())), "{query}");
        assert_eq!((&issue["code"], &issue["severity"]), (&"required".into(), &"error".into()));
        let coding = &issue["details"]["coding"][0];
        assert_eq!(coding["system"], "https://fhir.nhs.uk/STU3/ValueSet/Spine-ErrorOrWarningCode-1");
        assert_eq!((&coding["code"], &coding["display"]), (&"BAD_REQUEST".into(), &"Bad request".into()));
    }
}

#[test]
fn headers_paths_and_methods_are_told_apart() {
    let site = site();
    let good = format!("organization={ODS}|YES&identifier={IA}|{PSIS}");
    let with = |accept: Option<&str>| {
        let asked = Asked { accept: accept.map(str::to_owned), ..asked(&format!("{BASE}/Endpoint"), &good) };
        let answer = answer(&site, &asked);
        (answer.status, answer.header("content-type").unwrap_or_default().to_owned())
    };
    let fhir = || "application/fhir+json".to_owned();
    for (accept, wanted) in [
        (None, (200, fhir())),
        (Some("*/*"), (200, fhir())),
        (Some("application/json, Application/FHIR+json"), (200, fhir())),
        (Some("text/html,application/json"), (200, "application/json".to_owned())),
        (Some("text/html"), (406, fhir())),
    ] {
        assert_eq!(with(accept), wanted, "{accept:?}");
    }
    for (method, path, status, code, words) in [
        ("GET", "/Devices", 404, "NO_RECORD_FOUND", "HTTP endpoint not found"),
        ("GET", "/device", 404, "NO_RECORD_FOUND", "HTTP endpoint not found"),
        ("POST", "/Device", 405, "NOT_IMPLEMENTED", "HTTP operation not supported"),
        ("OPTIONS", "/Endpoint", 405, "NOT_IMPLEMENTED", "HTTP operation not supported"),
    ] {
        let asked = Asked { method: method.into(), ..asked(&format!("{BASE}{path}"), &good) };
        let answer = answer(&site, &asked);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let issue = &body["issue"][0];
        let coded = issue["details"]["coding"][0]["code"].as_str();
        assert_eq!((answer.status, coded, issue["diagnostics"].as_str()), (status, Some(code), Some(words)), "{path}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET"));
        assert_eq!(body["id"].as_str(), answer.header("x-correlation-id"), "errors echo it too");
    }
}

#[test]
fn the_correlation_id_is_echoed_made_or_refused() {
    let site = site();
    let with = |id: Option<&str>| {
        let query = format!("organization={ODS}|YES&identifier={IA}|{PSIS}");
        answer(&site, &Asked { correlation: id.map(str::to_owned), ..asked(&format!("{BASE}/Endpoint"), &query) })
    };
    let id = "72eaa355-0152-4a67-a9d8-d6b9ed3e1b03";
    assert_eq!(with(Some(id)).header("x-correlation-id"), Some(id));
    let made = with(None);
    let made = made.header("x-correlation-id").unwrap();
    assert!(made.len() == 36 && made == made.to_ascii_uppercase());
    let refused = with(Some("not-a-uuid"));
    let body: Value = serde_json::from_str(&refused.body).unwrap();
    let words = "HTTP 400: Bad Request (Invalid X-Correlation-ID header. Should be an UUIDv4 matching regex \
                 '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$')";
    assert_eq!((refused.status, body["issue"][0]["diagnostics"].as_str()), (400, Some(words)));
    assert_eq!(refused.header("x-correlation-id").map(str::len), Some(36));
}

#[test]
fn health_is_told() {
    let site = site();
    let plain = answer(&site, &asked("/healthcheck", ""));
    assert_eq!((plain.status, plain.body.as_str()), (200, ""));
    let deep = answer(&site, &asked("/healthcheck/deep", ""));
    let body: Value = serde_json::from_str(&deep.body).unwrap();
    assert_eq!(
        (deep.status, &body["status"], &body["details"]["ldap"]["status"]),
        (200, &"pass".into(), &"pass".into())
    );
}
