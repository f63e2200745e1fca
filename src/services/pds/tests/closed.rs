//! Nothing that the specification does not name is stored (spec/pds.md §1, §5, §10, §13): creates, births, updates and cards are
//! closed below their top level too.

use super::*;

const UK: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-";

/// Where in the new person what is put, and the refusal. `+` stands for the end of a list.
const CREATES: &str = r#"
/name/0/text "Jane" => ADDITIONAL_PROPERTIES ('name/0/text' was unexpected)
/name/0/pets 1 => ADDITIONAL_PROPERTIES ('name/0/pets' was unexpected)
/name/0/id "X" => ADDITIONAL_PROPERTIES ('name/0/id' was unexpected)
/name/0/use null => MISSING_VALUE Missing value - 'name/0/use'
/name/0/period "x" => INVALID_VALUE 'x' in field 'name/0/period'
/name/0/period {} => MISSING_VALUE Missing value - 'name/0/period/start'
/name/0/period {"start":"banana"} => INVALID_VALUE 'banana' in field 'name/0/period/start'
/name/0/period {"start":"2999-01-01"} => INVALID_VALUE '2999-01-01' in field 'name/0/period/start'
/name/0/prefix "Mrs" => INVALID_VALUE 'Mrs' in field 'name/0/prefix'
/name/0/prefix [1] => INVALID_VALUE '1' in field 'name/0/prefix'
/name/0/suffix ["esq"] => INVALID_VALUE 'esq' in field 'name/0/suffix'
/name/0/suffix [{"a":1}] => INVALID_VALUE in field 'name/0/suffix'
/address/0/pets 1 => ADDITIONAL_PROPERTIES ('address/0/pets' was unexpected)
/address/0/period {} => MISSING_VALUE Missing value - 'address/0/period/start'
/address/0/period {"start":"2999-01-01"} => INVALID_VALUE '2999-01-01' in field 'address/0/period/start'
/address/0/period {"start":"2020-01-02","end":"2020-01-01"} => INVALID_VALUE '2020-01-01' in field 'address/0/period/end'
/address/0/period {"start":"2020-01-02","pets":1} => ADDITIONAL_PROPERTIES ('pets' was unexpected)
/address/0/line ["1",{"a":1},"x","Leeds"] => INVALID_VALUE in field 'address/0/line'
/address/0/text "Student Accommodation" => INVALID_VALUE 'Student Accommodation' in field 'address/0/text'
/address/0/extension "x" => INVALID_VALUE 'x' in field 'address/0/extension'
/address/0/extension/0/url "pets" => INVALID_VALUE 'pets' in field 'address/0/extension/0/url'
/address/0/extension/0/pets 1 => ADDITIONAL_PROPERTIES ('address/0/extension/0/pets' was unexpected)
/address/0/extension/0/extension/1/valueString "abc" => INVALID_VALUE 'abc' in field 'address/0/extension/valueString'
/address/+ {"use":"home","period":{"start":"2020-01-01"},"line":["1","","","Leeds"]} => INVALID_VALUE 'home' in field 'address/1/use'
/address/+ {"use":"temp","period":{"start":"2020-01-01","end":"2020-02-01"},"line":["1","","","Leeds"]} => MISSING_VALUE Missing value - 'address/1/text'
/address/+ {"use":"temp","text":"Holiday Home","period":{"start":"2020-01-01"},"line":["1","","","Leeds"]} => MISSING_VALUE Missing value - 'address/1/period/end'
/address {"use":"home","period":{"start":"2020-01-01"},"line":["1","2","3","4","5","6"]} => TOO_MANY_VALUES_SUBMITTED in field 'address/0/line'
/telecom/0 "x" => INVALID_VALUE 'x' in field 'telecom/0'
/telecom/0/id "X" => ADDITIONAL_PROPERTIES ('telecom/0/id' was unexpected)
/telecom/0/use "xyz" => INVALID_VALUE 'xyz' in field 'telecom/0/use'
/telecom/0/rank 1 => ADDITIONAL_PROPERTIES ('telecom/0/rank' was unexpected)
/telecom/0/extension [{"url":"x"}] => INVALID_VALUE 'x' in field 'telecom/0/extension/0/url'
/telecom/0/period {"start":"x"} => INVALID_VALUE 'x' in field 'telecom/0/period/start'
/telecom/+ {"system":"phone","use":"home","value":"2"} => INVALID_VALUE 'home' in field 'telecom/1/use'
"#;

/// Puts a value where the path says.
fn put(body: &mut Value, path: &str, value: Value) {
    let (parent, last) = path.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Array(list) if last == "+" => list.push(value),
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
        parent => parent[last] = value,
    }
}

fn refused(got: (u16, String, String), wanted: &str, of: &str) {
    let (code, text) = wanted.split_once(' ').unwrap();
    assert_eq!((got.0, got.1.as_str()), (400, code), "{of}: {}", got.2);
    assert!(got.2.ends_with(text) || got.2.ends_with(&format!("{text})")), "{of}: {}", got.2);
}

#[test]
fn a_new_person_is_closed_at_every_depth() {
    for mut site in sites() {
        for (change, wanted) in CREATES.lines().filter_map(|line| line.split_once(" => ")) {
            let (path, value) = change.split_once(' ').unwrap();
            let mut body = example("create/create-patient.json");
            put(&mut body, path, serde_json::from_str(value).unwrap());
            refused(error(&site.post(&worker(), "/Patient", &body)), wanted, change);
        }
    }
}

#[test]
fn a_child_is_closed_too() {
    for mut site in sites() {
        for (path, value, wanted) in [
            ("name/0/text", json!("x"), "ADDITIONAL_PROPERTIES ('entry/0/resource/name/0/text' was unexpected"),
            ("name/0/prefix", json!("x"), "INVALID_VALUE 'x' in field 'entry/0/resource/name/0/prefix'"),
            ("address/0/pets", json!(1), "ADDITIONAL_PROPERTIES ('entry/0/resource/address/0/pets' was unexpected"),
            ("name/0/period", json!({"start": "2999-01-01"}), "INVALID_VALUE 'entry/0/resource/name/0/period/start'"),
        ] {
            let mut body = births::birth();
            put(&mut body, &format!("/entry/0/resource/{path}"), value);
            refused(error(&site.post(&worker(), "/Patient/$process-birth-details", &body)), wanted, path);
        }
    }
}

/// An extension or item of the published person that is replaced, a value put into it, and the refusal.
const UPDATES: &str = r#"
/extension/0 /pets 1 => ADDITIONAL_PROPERTIES ('extension/0/pets' was unexpected)
/extension/0 /valueReference/pets 1 => ADDITIONAL_PROPERTIES ('extension/0/valueReference/pets' was unexpected)
/extension/0 /valueReference/identifier/use "x" => ADDITIONAL_PROPERTIES ('extension/0/valueReference/identifier/use' was unexpected)
/extension/4 /pets 1 => ADDITIONAL_PROPERTIES ('extension/4/pets' was unexpected)
/extension/4 /extension/0/pets 1 => ADDITIONAL_PROPERTIES ('extension/4/extension/0/pets' was unexpected)
/extension/4 /extension/0/valueCodeableConcept/text "x" => ADDITIONAL_PROPERTIES ('extension/4/extension/0/valueCodeableConcept/text' was unexpected)
/extension/4 /extension/0/valueCodeableConcept/coding/0/pets 1 => ADDITIONAL_PROPERTIES coding/0/pets' was unexpected)
/extension/5 /extension/2/pets 1 => ADDITIONAL_PROPERTIES ('extension/5/extension/2/pets' was unexpected)
/extension/6 /pets 1 => ADDITIONAL_PROPERTIES ('extension/6/pets' was unexpected)
/generalPractitioner/0 /identifier/pets 1 => ADDITIONAL_PROPERTIES ('generalPractitioner/0/identifier/pets' was unexpected)
/contact/0 /relationship/0/text "x" => ADDITIONAL_PROPERTIES ('contact/0/relationship/0/text' was unexpected)
/contact/0 /relationship/0/coding/0/pets 1 => ADDITIONAL_PROPERTIES coding/0/pets' was unexpected)
/address/0 /extension/1/extension/0/valueCoding/code "PAF" => TOO_MANY_VALUES_SUBMITTED in field 'address/0/extension'
/address/0 /extension/0/extension/1 {"url":"value"} => MISSING_VALUE Missing value - 'address/0/extension/0/extension/1/valueString'
/telecom/2 /extension/0/pets 1 => ADDITIONAL_PROPERTIES ('telecom/2/extension/0/pets' was unexpected)
"#;

#[test]
fn an_update_is_closed_at_every_depth() {
    for mut site in sites() {
        let jane = example("patient-unrestricted.json");
        for (change, wanted) in UPDATES.lines().filter_map(|line| line.split_once(" => ")) {
            let mut parts = change.splitn(3, ' ');
            let (item, path, value) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let mut new = jane.pointer(item).unwrap().clone();
            put(&mut new, path, serde_json::from_str(value).unwrap());
            let patches = json!([{"op": "replace", "path": item, "value": new}]);
            refused(error(&site.patch(&worker(), JANE, 2, patches)), wanted, change);
        }
        let alive = "9733162337";
        let version =
            json(&site.get(&app(), &format!("/Patient/{alive}")))["meta"]["versionId"].as_str().unwrap().parse();
        let death = json!({"url": format!("{UK}DeathNotificationStatus"), "extension": []});
        let told = json!([{"op": "add", "path": "/deceasedDateTime", "value": "2026-11-01"},
            {"op": "add", "path": "/extension/-", "value": death}]);
        let text = "Missing value - 'deathNotificationStatus'";
        expect(&site.patch(&worker(), alive, version.unwrap(), told), 400, "MISSING_VALUE", text);
    }
}

#[test]
fn a_pharmacy_has_no_period() {
    for mut site in sites() {
        let remove = json!([{"op": "test", "path": "/extension/0/url", "value": format!("{UK}NominatedPharmacy")},
            {"op": "remove", "path": "/extension/0"}]);
        assert_eq!(site.patch(&worker(), JANE, 2, remove).status, 200);
        let added = site.patch(&worker(), JANE, 3, example("patch/add-extension.json")["patches"].clone());
        assert_eq!(added.status, 200, "the published example: {}", json(&added));
        let kind = json!(format!("{UK}NominatedPharmacy"));
        let body = json(&added);
        let pharmacy = body["extension"].as_array().unwrap().iter().find(|e| e["url"] == kind).unwrap().clone();
        let wanted = json!({"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "Y12345"});
        assert_eq!(pharmacy["valueReference"]["identifier"], wanted);
    }
}

/// What is put into the published card, and the refusal.
const CARDS: &str = r#"
/identifier/0/assigner null => MISSING_VALUE Missing value - 'identifier/0/assigner/identifier/value'
/identifier/0/assigner/identifier/system "x" => INVALID_VALUE 'x' in field 'identifier/0/assigner/identifier/system'
/identifier/0/assigner/identifier/system null => MISSING_VALUE Missing value - 'identifier/0/assigner/identifier/system'
/identifier/0/assigner/pets 1 => ADDITIONAL_PROPERTIES ('identifier/0/assigner/pets' was unexpected)
/identifier/0/pets 1 => ADDITIONAL_PROPERTIES ('identifier/0/pets' was unexpected)
/identifier/+ {"value":"2"} => TOO_MANY_VALUES_SUBMITTED in field 'identifier'
/subscriber/pets 1 => ADDITIONAL_PROPERTIES ('subscriber/pets' was unexpected)
/subscriber/identifier/system "x" => INVALID_VALUE 'x' in field 'subscriber/identifier/system'
/beneficiary/identifier/pets 1 => ADDITIONAL_PROPERTIES ('beneficiary/identifier/pets' was unexpected)
/payor/0/pets 1 => ADDITIONAL_PROPERTIES ('payor/0/pets' was unexpected)
/period/pets 1 => ADDITIONAL_PROPERTIES ('period/pets' was unexpected)
"#;

#[test]
fn a_card_is_one_and_closed() {
    for mut site in sites() {
        for (change, wanted) in CARDS.lines().filter_map(|line| line.split_once(" => ")) {
            let (path, value) = change.split_once(' ').unwrap();
            let mut card = example("coverage-post.json");
            put(&mut card, path, serde_json::from_str(value).unwrap());
            let headers = [("content-type", "application/json"), ("if-match", "W/\"2\"")];
            let response = site.ask(&patient(JANE), "POST", "/Coverage", &headers, card.to_string().as_bytes());
            refused(error(&response), wanted, change);
        }
    }
}
