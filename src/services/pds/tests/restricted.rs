//! Restricted and very restricted people under updates, searches and creates (spec/pds.md §6, §8.3, §10): what the label hides is
//! never lost, never a way to find them, and never a reason to give them a second number.

use super::*;
use crate::services::pds::rows;

const VERY: &str = "9727024610";
const HIDDEN: &str = "9727022820";

fn office() -> Caller {
    with(worker(), "pds.back-office")
}

/// What is stored of a person.
fn stored(site: &Site, number: &str) -> Value {
    Value::Object(rows::person(site.rows_of(number), nhs(number)).unwrap().unwrap().stored().unwrap())
}

fn line(number: &str, label: &str, more: Value) -> String {
    let mut line = json!({"nhsNumber": number, "resource": {"name": [{"use": "usual", "family": "Quillon", "given": ["Ada", "May"]}],
        "gender": "female", "birthDate": "1980-01-01", "meta": {"versionId": "1", "security": [{"code": label}]}}});
    for (member, value) in more.as_object().unwrap() {
        line[member] = value.clone();
    }
    line.to_string()
}

#[test]
fn an_update_by_the_back_office_keeps_what_the_label_hides() {
    let pharmacy = json!({"url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NominatedPharmacy",
        "valueReference": {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "Y12345"}}});
    let language = json!({"url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSCommunication",
        "extension": [{"url": "language", "valueCodeableConcept": {"coding": [{"code": "fr"}]}}]});
    for mut site in sites() {
        let secret = json!({"confidential": {"extension": [pharmacy], "managingOrganization": {"type": "Organization"},
            "address": [{"id": "A1", "use": "home", "line": ["1 X"], "postalCode": "LS1 6AE"}],
            "contact": [{"id": "C1", "telecom": []}], "telecom": [{"id": "T1", "system": "phone", "use": "home", "value": "1"}]}});
        site.import(&line("9990000018", "R", secret)).unwrap();
        let before = stored(&site, "9990000018");
        let change = json!([{"op": "replace", "path": "/gender", "value": "unknown"},
            {"op": "add", "path": "/extension/-", "value": language},
            {"op": "add", "path": "/telecom/-", "value": {"system": "email", "use": "home", "value": "ada@example.org"}}]);
        let response = site.patch(&office(), "9990000018", 1, change);
        assert_eq!(response.status, 200, "{}", json(&response));
        let shown = json(&response);
        assert!(shown.get("address").is_none() && shown.get("telecom").is_none(), "the answer is stripped");
        assert_eq!(shown["extension"], json!([language]));
        let after = stored(&site, "9990000018");
        for member in ["address", "contact", "managingOrganization", "name", "birthDate"] {
            assert_eq!(after[member], before[member], "{member}");
        }
        assert_eq!((&after["gender"], &after["extension"]), (&json!("unknown"), &json!([pharmacy, language])));
        assert_eq!((&after["telecom"][0], &after["telecom"][1]["system"]), (&before["telecom"][0], &json!("email")));
        for second in [
            json!({"op": "add", "path": "/telecom/-", "value": {"system": "phone", "use": "home", "value": "2"}}),
            json!({"op": "add", "path": "/extension/-", "value": pharmacy}),
        ] {
            let response = site.patch(&office(), "9990000018", 2, json!([second]));
            assert_eq!(error(&response).1, "FORBIDDEN_UPDATE", "a hidden one counts");
        }
        let before = stored(&site, VERY);
        let response =
            site.patch(&office(), VERY, 2, json!([{"op": "add", "path": "/multipleBirthInteger", "value": 2}]));
        assert_eq!(response.status, 200, "{}", json(&response));
        assert!(json(&response).get("name").is_none());
        let mut wanted = before;
        wanted["multipleBirthInteger"] = json!(2);
        assert_eq!(stored(&site, VERY), wanted);
    }
}

#[test]
fn a_restricted_survivor_is_not_found_by_what_the_merged_number_says_of_places() {
    for mut site in sites() {
        let open = json!({"resource": {"name": [{"use": "usual", "family": "Quillon", "given": ["Ada"]}], "gender": "female",
            "birthDate": "1980-01-01", "address": [{"use": "home", "line": ["1 X"], "postalCode": "LS1 6AE"}],
            "telecom": [{"system": "phone", "use": "home", "value": "0777"}, {"system": "email", "use": "home", "value": "a@b.example"}],
            "generalPractitioner": [{"type": "Organization", "identifier": {"value": "A20047"}}]}});
        site.import(&line("9990000018", "U", open)).unwrap();
        site.import(&line("9990000026", "R", json!({"supersedes": ["9990000018"]}))).unwrap();
        let who = "/Patient?family=Quillon&given=Ada&birthdate=1980-01-01&gender=female";
        assert_eq!(numbers(&site.get(&worker(), who)), ["9990000026"]);
        for place in ["address-postalcode=LS16AE", "general-practitioner=A20047", "phone=0777", "email=a%40b.example"] {
            for fuzzy in ["", "&_fuzzy-match=true"] {
                let found = numbers(&site.get(&worker(), &format!("{who}&{place}{fuzzy}")));
                assert_eq!(found, Vec::<String>::new(), "{place}{fuzzy}");
            }
        }
    }
}

#[test]
fn nobody_with_a_label_gets_a_second_number() {
    let person = |family: &str, given: &str| {
        let mut new = example("create/create-patient.json");
        new["gender"] = json!("female");
        new["birthDate"] = json!("1980-01-01");
        new["name"][0]["family"] = json!(family);
        new["name"][0]["given"] = json!([given]);
        new["address"][0]["postalCode"] = json!("DN15 6AA");
        new
    };
    for mut site in sites() {
        // The published data have two of this name, one restricted and one very restricted.
        let both = site.post(&worker(), "/Patient", &person("Winterbourne", "Test"));
        assert_eq!((both.status, error(&both).1.as_str()), (200, "MULTIPLE_MATCHES"));
        let secret = json!({"confidential": {"address": [{"use": "home", "line": ["1 X"], "postalCode": "DN15 6AA"}]}});
        site.import(&line("9990000018", "V", secret)).unwrap();
        let text = "Unable to create new patient. NHS number 9990000018 found for supplied demographic data.";
        expect(&site.post(&worker(), "/Patient", &person("Quillon", "Ada")), 200, "SINGLE_MATCH", text);
        let search = "/Patient?family=Quillon&given=Ada&birthdate=1980-01-01&gender=female";
        for who in [worker(), app(), privileged()] {
            for more in ["", "&_history=true", "&_fuzzy-match=true"] {
                assert_eq!(
                    numbers(&site.get(&who, &format!("{search}{more}"))),
                    Vec::<String>::new(),
                    "searches hide them"
                );
            }
        }
        // An address of before is hidden by the label too, and counts.
        let moved = json!({"confidential": {"address": [{"use": "home", "line": ["1 X"], "postalCode": "LS1 6AE"}]},
            "history": {"address": [{"use": "home", "line": ["2 X"], "postalCode": "DN15 6AA"}]}});
        let row: Value = serde_json::from_str(&line("9990000026", "R", moved)).unwrap();
        let row = row.to_string().replace("Quillon", "Rushworth");
        site.import(&row).unwrap();
        assert_eq!(error(&site.post(&worker(), "/Patient", &person("Rushworth", "Ada"))).1, "SINGLE_MATCH");
        assert!(rows::person(site.rows_of(HIDDEN), nhs(HIDDEN)).unwrap().is_some());
    }
}
