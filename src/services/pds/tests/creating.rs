//! POST Patient (spec/pds.md §10): checks in order, duplicates, numbers that nobody gets twice.

use super::*;
use std::collections::BTreeSet;

fn new() -> Value {
    example("create/create-patient.json")
}

#[test]
fn a_new_person_gets_a_number_of_their_own() {
    for mut site in sites() {
        let response = site.post(&worker(), "/Patient", &new());
        assert_eq!((response.status, header(&response, "etag").as_str()), (201, "W/\"1\""));
        let body = json(&response);
        let number = body["id"].as_str().unwrap().to_owned();
        assert!(number.starts_with("999") && NhsNumber::strict(&number).is_some());
        assert_eq!(site.last_note(), ("pds.create", "ok", number.as_str()));
        assert_eq!(body["meta"]["security"][0]["code"], "U");
        assert!(
            body["name"][0]["id"].is_string()
                && body["address"][0]["id"].is_string()
                && body["telecom"][0]["id"].is_string()
        );
        assert!(body.get("extension").is_none(), "the registering authority is not stored");
        assert_eq!(json(&site.get(&app(), &format!("/Patient/{number}"))), body);
        assert_eq!(numbers(&site.get(&app(), "/Patient?family=Edwards&birthdate=1982-07-10")), [number.as_str()]);
        let again = site.post(&worker(), "/Patient", &new());
        let text = format!("Unable to create new patient. NHS number {number} found for supplied demographic data.");
        expect(&again, 200, "SINGLE_MATCH", &text);
    }
}

#[test]
fn numbers_are_never_handed_out_twice() {
    for mut site in sites() {
        let mut seen = BTreeSet::new();
        for n in 0..60 {
            let mut person = new();
            person["birthDate"] = json!(format!("19{:02}-01-01", 20 + n));
            let body = json(&site.post(&worker(), "/Patient", &person));
            let number = body["id"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
            assert!(
                site.rows_of(&number).get(&super::super::rows::person_key(nhs(&number)).build()).unwrap().is_some()
            );
            assert!(seen.insert(number));
        }
    }
}

#[test]
fn two_at_once_become_one() {
    for mut site in sites() {
        // Both have looked before either was decided.
        let body = Bytes::from(new().to_string());
        let headers = |id: &str| {
            let mut map = HeaderMap::new();
            map.insert("x-request-id", HeaderValue::from_str(id).unwrap());
            map.insert("content-type", HeaderValue::from_static("application/json"));
            map
        };
        let mut both = vec![];
        for n in 0..2 {
            let mut asked = Asked::new(site.pds.clone(), route("POST", "/personal-demographics/FHIR/R4/Patient", ""));
            let id = format!("60e0b220-8136-4ca5-ae46-00000000000{n}");
            let step = asked.ask(&worker(), &headers(&id), BodyIn::Bytes(body.clone()), &MapStore::default());
            assert!(matches!(step, Step::Look));
            let views: Vec<&dyn Reader> = site.partitions.iter().map(|p| p as _).collect();
            let Step::Submit(calls) = asked.looked(&views).unwrap() else { panic!("no call") };
            both.push(calls);
        }
        let replies: Vec<Reply> =
            both.into_iter().flatten().map(|call| Reply::of(&site.submit(call, &worker())).unwrap()).collect();
        assert_eq!((replies[0].problem, replies[0].version), (0, 1));
        assert_eq!(replies[1].problem().unwrap().row.code, "SINGLE_MATCH");
    }
}

#[test]
fn the_same_request_id_makes_one_person() {
    let headers = [("content-type", "application/json"), ("x-request-id", "60e0b220-8136-4ca5-ae46-1d97ef59d068")];
    for mut site in sites() {
        let body = new().to_string();
        let first = site.raw(&worker(), "POST", "/Patient", &headers, body.as_bytes());
        let again = site.raw(&worker(), "POST", "/Patient", &headers, body.as_bytes());
        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(first.body, again.body);
    }
}

#[test]
fn published_matches_are_found() {
    for mut site in sites() {
        let person = |given: &str, family: &str, born: &str, postcode: &str| {
            let mut person = new();
            person["gender"] = json!("male");
            person["birthDate"] = json!(born);
            person["name"][0]["given"] = json!([given]);
            person["name"][0]["family"] = json!(family);
            person["address"][0]["postalCode"] = json!(postcode);
            person
        };
        let single = site.post(&worker(), "/Patient", &person("Mickey", "McMatch-Single", "1954-10-26", "BAP 4WG"));
        assert_eq!(error(&single).1, "SINGLE_MATCH");
        let several = site.post(&worker(), "/Patient", &person("Leandro", "McMatch-Multiple", "1997-08-20", "DN197UD"));
        assert_eq!((several.status, json(&several)), (200, example("errors/MULTIPLE_MATCHES_FOUND.json")));
    }
}

#[test]
fn a_postcode_that_cannot_be_one_is_refused() {
    let mut body = new();
    body["address"][0]["postalCode"] = json!("!!!");
    for mut site in sites() {
        let wanted = (400, "INVALID_VALUE".into(), "Invalid value - '!!!' in field 'address/0/postalCode'".into());
        assert_eq!(error(&site.post(&worker(), "/Patient", &body)), wanted);
    }
}

#[test]
fn every_refusal_in_its_order() {
    let set = |path: &str, value: Value| {
        let mut body = new();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let without = |member: &str| {
        let mut body = new();
        body.as_object_mut().unwrap().remove(member);
        body
    };
    let lines =
        "Invalid patient create data provided - 'address lines 1 and 4 or 2 and 4 must be completed as a minimum'";
    let mut ended = new();
    ended["name"][0]["period"]["end"] = json!("2020-01-01");
    let mut mail = new();
    mail["telecom"][0] = json!({"system": "email", "value": "bad"});
    let mut address = new();
    address["address"][0].as_object_mut().unwrap().remove("period");
    let mut many = new();
    many["name"][0]["given"] = json!(["a", "b", "c", "d", "e", "f"]);
    let rows: Vec<(Value, &str, &str)> = vec![
        (json!({}), "MISSING_VALUE", "Missing value - 'name'"),
        (without("address"), "MISSING_VALUE", "Missing value - 'address'"),
        (without("gender"), "MISSING_VALUE", "Missing value - 'gender'"),
        (without("birthDate"), "MISSING_VALUE", "Missing value - 'birthDate'"),
        (set("/address", json!("x")), "INVALID_VALUE", "Invalid value - 'x' in field 'address'"),
        (address, "MISSING_VALUE", "Missing value - 'address/0/period'"),
        (set("/name/0/given", json!("Jane")), "INVALID_VALUE", "Invalid value - 'Jane' in field 'name/0/given'"),
        (
            set("/name/0/given", json!(["O`Brien"])),
            "INVALID_VALUE",
            "Invalid value - 'O`Brien' in field 'name/0/given'",
        ),
        (set("/gender", json!("other")), "INVALID_VALUE", "Invalid value - 'other' in field 'gender'"),
        (set("/birthDate", json!("1982-7-10")), "INVALID_VALUE", "Invalid value - '1982-7-10' in field 'birthDate'"),
        (set("/birthDate", json!("2999-01-01")), "INVALID_VALUE", "Invalid value - '2999-01-01' in field 'birthDate'"),
        (
            many,
            "TOO_MANY_VALUES_SUBMITTED",
            "Too many values submitted - ['a', 'b', 'c', 'd', 'e', 'f'] in field 'name/0/given'",
        ),
        (set("/address/0/line", json!(["1 High Street", "", "", "", ""])), "INVALID_CREATE", lines),
        (mail, "INVALID_CREATE", "Invalid patient create data provided - 'email format is invalid'"),
        (
            ended,
            "INVALID_CREATE",
            "Invalid patient create data provided - 'An end date can not be provided on usual name'",
        ),
        (
            set("/extension/0/extension/0/valueCodeableConcept/coding/0/code", json!("z")),
            "INVALID_VALUE",
            "Invalid value - 'z' in field 'extension/registeringAuthorityType'",
        ),
    ];
    for mut site in sites() {
        for (body, code, text) in &rows {
            let got = error(&site.post(&worker(), "/Patient", body));
            assert_eq!(got, (400, (*code).into(), (*text).into()), "{body}");
        }
        for caller in [app(), privileged(), patient(JANE)] {
            assert_eq!(error(&site.post(&caller, "/Patient", &new())).1, "INVALID_METHOD");
        }
        let kind = site.ask(&worker(), "POST", "/Patient", &[("content-type", "text/xml")], b"<x/>");
        assert_eq!(error(&kind).1, "UNSUPPORTED_SERVICE");
    }
}
