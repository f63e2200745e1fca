//! Birth notifications (spec/pds.md §11).

use super::*;
use crate::services::pds::fhir;

pub fn birth() -> Value {
    let text = include_str!("../../../../tests/data/pds/create/create-at-birth-template.json");
    let mut body: Value = serde_json::from_str(text).unwrap();
    let baby = &mut body["entry"][0]["resource"];
    baby["name"][0]["given"] = json!(["Earnestine", "Kerstin"]);
    baby["name"][0]["family"] = json!("Newborn");
    baby["name"][0]["period"] = json!({"start": "2026-11-02"});
    baby["gender"] = json!("male");
    baby["birthDate"] = json!("2026-11-02");
    baby["address"] = json!([{"use": "home", "line": ["24 Park End St", "", "", "Brockley"], "postalCode": "BS19 5PZ", "period": {"start": "1990-02-28"}}]);
    baby["multipleBirthInteger"] = json!(1);
    baby.as_object_mut().unwrap().remove("telecom");
    body["entry"][1]["resource"]["valueQuantity"]["value"] = json!(3200);
    body["entry"][7]["resource"]["identifier"][0]["value"] = json!(JANE);
    body
}

#[test]
fn a_child_gets_a_number_and_a_mother() {
    for mut site in sites() {
        let response = site.post(&worker(), "/Patient/$process-birth-details", &birth());
        assert_eq!(response.status, 201, "{}", json(&response));
        assert_eq!(header(&response, "notification-id").len(), 36);
        let body = json(&response);
        let published = example("create/created-at-birth.json");
        let members = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(&body), members(&published));
        assert_eq!(body["extension"], published["extension"]);
        let child = body["id"].as_str().unwrap().to_owned();
        let related = json(&site.get(&worker(), &format!("/Patient/{child}/RelatedPerson")));
        assert_eq!(related["total"], 1);
        assert_eq!(related["entry"][0]["resource"]["patient"]["identifier"]["value"], JANE);
        for target in
            ["/Patient/$process-birth-details", "/Patient/$process-birth-details?ignore_potential_matches=true"]
        {
            assert_eq!(error(&site.post(&worker(), target, &birth())).1, "SINGLE_MATCH", "an identical child, always");
        }
        let mut twin = birth();
        twin["entry"][0]["resource"]["name"][0]["given"] = json!(["Earnestine", "Maud"]);
        assert_eq!(error(&site.post(&worker(), "/Patient/$process-birth-details", &twin)).1, "SINGLE_MATCH");
        let sure = site.post(&worker(), "/Patient/$process-birth-details?ignore_potential_matches=true", &twin);
        assert_eq!(sure.status, 201);
    }
}

#[test]
fn every_refusal() {
    let set = |path: &str, value: Value| {
        let mut body = birth();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let mut short = birth();
    short["entry"].as_array_mut().unwrap().truncate(9);
    let mut died = birth();
    let death = json!({"url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-DeathNotificationStatus",
        "extension": [{"url": "deathNotificationStatus", "valueCodeableConcept": {"coding": [{"code": "2"}]}}]});
    died["entry"][0]["resource"]["extension"].as_array_mut().unwrap().push(death);
    let mut placed = birth();
    let at_birth = placed["entry"][0]["resource"]["extension"].as_array_mut().unwrap();
    at_birth.retain(|extension| extension["url"] != fhir::BIRTH_PLACE);
    at_birth.push(json!({"url": fhir::BIRTH_PLACE, "valueAddress": {"city": "Leeds", "country": "5"}}));
    let rows: Vec<(Value, &str, &str)> = vec![
        (short, "TOO_FEW_VALUES_SUBMITTED", "Too few values submitted - <json too long to display> in field 'entry'"),
        (died, "INSERT_BIRTH_DEATH_STATUS_INCONSISTENT", "Insert Birth - Death Status Inconsistent"),
        (
            set("/entry/0/resource/gender", json!("x")),
            "INVALID_VALUE",
            "Invalid value - 'x' in field 'entry/0/resource/gender'",
        ),
        (placed, "INVALID_VALUE", "Invalid value - '5' in field 'entry/0/resource/extension/valueAddress/country'"),
        (
            set("/entry/1/resource/valueQuantity/value", json!(10_000)),
            "INVALID_VALUE",
            "Invalid value - '10000' in field 'entry/1/resource/valueQuantity/value'",
        ),
        (
            set("/entry/7/resource/identifier/0/value", json!("9000000000")),
            "INVALID_VALUE",
            "Invalid value - '9000000000' in field 'entry/7/resource/identifier/0/value'",
        ),
        (
            set("/entry/7/resource/identifier/0/value", json!("9999999468")),
            "INVALID_VALUE",
            "Invalid value - '9999999468' in field 'entry/7/resource/identifier/0/value'",
        ),
    ];
    for mut site in sites() {
        for (body, code, text) in &rows {
            let got = error(&site.post(&worker(), "/Patient/$process-birth-details", body));
            assert_eq!(got, (400, (*code).into(), (*text).into()));
        }
        assert_eq!(error(&site.post(&app(), "/Patient/$process-birth-details", &birth())).1, "INVALID_METHOD");
    }
}
