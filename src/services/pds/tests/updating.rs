//! Update (spec/pds.md §9): envelope, order of checks, ids and tests, field rules, patient access, versions, once only.

use super::*;
use crate::services::pds::fhir::BIRTH_PLACE;
use crate::wire::{person_changed::PersonChanged, record::Record};
use std::collections::BTreeSet;

const ADDRESS: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-";

fn get(site: &mut Site, nhs: &str) -> Value {
    json(&site.get(&privileged(), &format!("/Patient/{nhs}")))
}

#[test]
fn a_change_makes_the_next_version_and_says_so() {
    for mut site in sites() {
        let response = site.patch(&worker(), JANE, 2, json!([{"op": "replace", "path": "/gender", "value": "male"}]));
        assert_eq!((response.status, header(&response, "etag").as_str()), (200, "W/\"3\""));
        let body = json(&response);
        assert_eq!((&body["gender"], &body["meta"]["versionId"]), (&json!("male"), &json!("3")));
        assert_eq!(body, get(&mut site, JANE));
        let found = site.get(&app(), "/Patient?family=Smith&birthdate=2010-10-22&gender=male&given=Jane");
        assert_eq!(numbers(&found), [JANE], "search follows at once");
        let old = site.get(&app(), "/Patient?family=Smith&birthdate=2010-10-22&gender=female&given=Jane");
        assert_eq!(numbers(&old), Vec::<String>::new());
        let history =
            site.get(&app(), "/Patient?family=Smith&birthdate=2010-10-22&gender=female&given=Jane&_history=true");
        assert_eq!(numbers(&history), [JANE]);
    }
}

#[test]
fn checks_before_the_patches_come_in_their_order() {
    let body = br#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#;
    let kind = ("content-type", "application/json-patch+json");
    let version = ("if-match", "W/\"2\"");
    let id = ("x-request-id", "60e0b220-8136-4ca5-ae46-1d97ef59d068");
    for mut site in sites() {
        let mut patch = |caller: &Caller, nhs: &str, headers: &[(&str, &str)], body: &[u8]| {
            error(&site.raw(caller, "PATCH", &format!("/Patient{nhs}"), headers, body))
        };
        let jane = format!("/{JANE}");
        assert_eq!(patch(&app(), &jane, &[], body).1, "INVALID_METHOD");
        assert_eq!(patch(&privileged(), &jane, &[], body).1, "INVALID_METHOD");
        assert_eq!(patch(&worker(), "", &[], body).1, "UNSUPPORTED_SERVICE");
        assert_eq!(patch(&worker(), "/9000000000", &[], body).1, "INVALID_RESOURCE_ID");
        assert_eq!(patch(&worker(), &jane, &[], body).0, 412);
        for bad in ["2", "W/2", "W/\"x\"", "\"2\"", "W/\"\""] {
            assert_eq!(patch(&worker(), &jane, &[("if-match", bad), kind, id], body).1, "PRECONDITION_FAILED");
        }
        assert_eq!(patch(&worker(), &jane, &[version], body).1, "UNSUPPORTED_SERVICE");
        assert_eq!(patch(&worker(), &jane, &[version, ("content-type", "text/plain")], body).1, "UNSUPPORTED_SERVICE");
        assert_eq!(patch(&worker(), &jane, &[version, kind], body).1, "MISSING_VALUE");
        assert_eq!(patch(&worker(), "/9999999468", &[version, kind, id], body).1, "RESOURCE_NOT_FOUND");
        // A request's id is good for one person.
        assert_eq!(patch(&worker(), "/9990003343", &[version, kind, id], body).1, "INVALID_VALUE");
        let id = ("x-request-id", "60e0b220-8136-4ca5-ae46-1d97ef59d069");
        assert_eq!(patch(&worker(), "/9990003343", &[version, kind, id], body).1, "INVALIDATED_RESOURCE");
        let id = ("x-request-id", "60e0b220-8136-4ca5-ae46-1d97ef59d06a");
        assert_eq!(patch(&worker(), &format!("/{RESTRICTED}"), &[version, kind, id], body).1, "FORBIDDEN_UPDATE");
        let id = ("x-request-id", "60e0b220-8136-4ca5-ae46-1d97ef59d06b");
        assert_eq!(patch(&worker(), "/9999999468", &[version, kind, id], b"").1, "RESOURCE_NOT_FOUND");
        let id = ("x-request-id", "60e0b220-8136-4ca5-ae46-1d97ef59d06c");
        let empty = patch(&worker(), &jane, &[version, kind, id], b"").2;
        assert_eq!(empty, "Invalid update with error - No patches found", "a body that is not there, after the record");
    }
}

#[test]
fn a_stale_or_empty_update_is_refused() {
    for mut site in sites() {
        let text = "Invalid update with error - No patches found";
        expect(&site.patch(&worker(), JANE, 9, json!([])), 400, "INVALID_UPDATE", text);
        let change = json!([{"op": "replace", "path": "/gender", "value": "male"}]);
        let stale = site.patch(&worker(), JANE, 1, change.clone());
        assert_eq!(json(&stale), example("errors/RESOURCE_VERSION_MISMATCH.json"));
        assert_eq!(stale.status, 409);
        let plain = site.patch(&app(), JANE, 2, change.clone());
        assert_eq!(
            json(&plain)["issue"][0]["details"]["coding"][0]["display"],
            "Cannot update resource with application-restricted access token"
        );
        assert_eq!(site.patch(&with(app(), "pds.app-restricted.update"), JANE, 2, change).status, 200);
    }
}

/// Patches on the published person, and the text that follows `Invalid update with error - `.
const OPERATIONS: &str = r#"
[{"op":"replace","path":"/name/0","value":{"use":"usual","family":"X"}}] => no id or url found for path with root /name/0
[{"op":"replace","path":"/address/0/line/1","value":"x"}] => no id or url found for path with root /address/0
[{"op":"add","path":"/name/0/suffix","value":["Esq"]}] => no id or url found for path with root /name/0
[{"op":"replace","path":"/address/7/line/1","value":"x"}] => no id or url found for path with root /address/7
[{"op":"replace","path":"/address/7/id","value":"456"},{"op":"replace","path":"/address/7/line/1","value":"x"}] => Invalid patch - index '7' is out of bounds
[{"op":"replace","path":"/address/0/id","value":"123456"},{"op":"replace","path":"/address/0/line/1","value":"x"}] => no 'address' resources with object id '123456'
[{"op":"replace","path":"/address/0/id","value":"123456"},{"op":"replace","path":"/address/0/line/7","value":"x"}] => Invalid patch - index '7' is out of bounds
[{"op":"replace","path":"/address/0/id","value":"456"},{"op":"replace","path":"/address/0/line","value":["x"]}] => Invalid patch - can't replace non-existent object 'line'
[{"op":"remove","path":"/name/1"}] => removal '/name/1' is not immediately preceded by equivalent test - instead it is the first item
[{"op":"test","path":"/name/0/id","value":"123"},{"op":"replace","path":"/gender","value":"male"},{"op":"remove","path":"/name/0"}] => removal '/name/0' is not immediately preceded by equivalent test - instead it is preceded by '/gender'
[{"op":"test","path":"/name/1/id","value":"123"},{"op":"remove","path":"/name/1"}] => Invalid patch - index '1' is out of bounds
[{"op":"test","path":"/name/0/id","value":"123"},{"op":"remove","path":"/name/0/suffix/0"}] => Invalid patch - member 'suffix' not found
[{"op":"test","path":"/name/0/id","value":"123"},{"op":"remove","path":"/name/0/prefix/3"}] => Invalid patch - can't remove non-existent object '3'
[{"op":"test","path":"/name/0/id","value":"123"},{"op":"replace","path":"/name/0/suffix","value":[]}] => Invalid patch - can't replace non-existent object 'suffix'
[{"op":"add","path":"/pets","value":"dog"}] => Update unsupported for resource - 'pets'
[{"op":"replace","path":"/id","value":"1"}] => Update unsupported for resource - 'id'
[{"op":"add","path":"/name/0","value":{"use":"old","family":"X"}}] => Invalid patch - items are added to '/name' with the index '-' only
[{"op":"replace","path":"/address/0","value":{"id":"456","use":"home"}}] => address lines 1 and 4 or 2 and 4 must be completed as a minimum
[{"op":"replace","path":"/address/0","value":{"id":"456","use":"home","line":["1 X","Leeds"],"postalCode":"LS1 6AE"}}] => address lines 1 and 4 or 2 and 4 must be completed as a minimum
[{"op":"test","path":"/gender","value":"male"}] => Invalid patch - female (<class 'str'>) is not equal to tested value male (<class 'str'>)
"#;

#[test]
fn every_refusal_of_operations() {
    for mut site in sites() {
        for (patches, text) in OPERATIONS.lines().filter_map(|line| line.split_once(" => ")) {
            let response = site.patch(&worker(), JANE, 2, serde_json::from_str(patches).unwrap());
            let wanted = format!("Invalid update with error - {text}");
            assert_eq!(error(&response), (400, "INVALID_UPDATE".into(), wanted), "{patches}");
        }
        let bad = site.patch(&worker(), JANE, 2, json!([{"op": "bad_value", "path": "/gender", "value": "male"}]));
        expect(&bad, 400, "INVALID_VALUE", "Invalid value - 'bad_value' in field '0/op'");
        let whole =
            json!([{"op": "test", "path": "/name/0", "value": {"family": "No"}}, {"op": "remove", "path": "/name/0"}]);
        let text = error(&site.patch(&worker(), JANE, 2, whole)).2;
        assert!(text.starts_with("Invalid update with error - Invalid patch - {"), "{text}");
        assert!(
            text.contains("(<class 'dict'>) is not equal to tested value {'family': 'No'} (<class 'dict'>)"),
            "{text}"
        );
        assert_eq!(get(&mut site, JANE)["meta"]["versionId"], "2", "nothing of a refused request is done");
    }
}

/// Patches on the published person; status, code and what the text ends with. `UK-` stands for the extensions' address, `{…}` alone for
/// an item that is added to the list named before it.
const FIELDS: &str = r#"
[{"op":"remove","path":"/gender"}] => 403 FORBIDDEN_UPDATE source not permitted to remove 'gender'
[{"op":"remove","path":"/birthDate"}] => 403 FORBIDDEN_UPDATE source not permitted to remove 'birthDate'
[{"op":"remove","path":"/deceasedDateTime"}] => 403 FORBIDDEN_UPDATE source not permitted to remove 'deceasedDateTime'
[{"op":"replace","path":"/gender","value":"other"}] => 400 INVALID_VALUE 'other' in field 'gender'
[{"op":"replace","path":"/birthDate","value":"2010-10"}] => 400 INVALID_VALUE '2010-10' in field 'birthDate'
[{"op":"replace","path":"/birthDate","value":"2010-10-23"}] => 400 INVALID_VALUE '2010-10-23' in field 'birthDate'
[{"op":"replace","path":"/deceasedDateTime","value":"2011-01-01T00:00:00+01:00"}] => 400 INVALID_VALUE Invalid value - '2011-01-01T00:00:00+01:00' in field 'deceasedDateTime'
[{"op":"replace","path":"/deceasedDateTime","value":"2011-01-01"}] => 403 FORBIDDEN_UPDATE source not permitted to replace 'deceasedDateTime'
[{"op":"replace","path":"/multipleBirthInteger","value":10}] => 400 INVALID_VALUE '10' in field 'multipleBirthInteger'
[{"op":"test","path":"/name/0/id","value":"123"},{"op":"remove","path":"/name/0"}] => 403 FORBIDDEN_UPDATE Forbidden update with error - not permitted to remove usual name
name {"use":"usual","family":"X"} => 403 FORBIDDEN_UPDATE multiple usual names cannot be added
name {"use":"official","family":"X"} => 400 INVALID_VALUE 'official' in field 'name/1/use'
name {"use":"old","family":"X","given":["O`Brien"]} => 400 INVALID_VALUE Invalid value - 'O`Brien' in field 'name/1/given'
name {"use":"old"} => 400 MISSING_VALUE Missing value - 'name/1/family'
name {"use":"old","family":"X","text":"X"} => 400 ADDITIONAL_PROPERTIES ('name/1/text' was unexpected)
name {"use":"old","family":"X","suffix":["esq"]} => 400 INVALID_VALUE 'esq' in field 'name/1/suffix'
name {"use":"old","family":"X","period":{"start":"2999-01-01"}} => 400 INVALID_VALUE '2999-01-01' in field 'name/1/period/start'
name {"use":"old","family":"X","period":{"start":"2020-01-02","end":"2020-01-01"}} => 400 INVALID_VALUE '2020-01-01' in field 'name/1/period/end'
name {"use":"old","family":"X","period":{"end":"2020-01-01"}} => 400 MISSING_VALUE Missing value - 'name/1/period/start'
name {"use":"old","family":"X","id":"1"} => 400 INVALID_UPDATE an added item cannot bring an id of its own
address {"use":"work","line":["1","","","X"]} => 403 FORBIDDEN_UPDATE source not permitted to add 'work address'
address {"use":"home","line":["1","","","X"]} => 403 FORBIDDEN_UPDATE multiple home addresses cannot be added
address {"use":"billing","line":["1 High St"]} => 400 INVALID_UPDATE address lines 1 and 4 or 2 and 4 must be completed as a minimum
address {"use":"billing","line":["1","","","X"]} => 400 MISSING_VALUE Missing value - 'address/2/period/end'
address {"use":"billing","line":["1","","","X"],"period":{"start":"2020-01-01","end":"2021-01-02"}} => 400 INVALID_VALUE '2021-01-02' in field 'address/2/period/end'
telecom {"system":"email","use":"work","value":"nobody"} => 400 INVALID_VALUE 'nobody' in field 'telecom/3/value'
telecom {"system":"phone","use":"home","value":"0123"} => 403 FORBIDDEN_UPDATE multiple telecoms of one system and use cannot be added
contact {"relationship":[{"coding":[{"code":"C"}]}],"telecom":[{"system":"phone","value":"1","use":"home"}]} => 400 ADDITIONAL_PROPERTIES was unexpected)
contact {"relationship":[{"coding":[{"code":"N"}]}]} => 400 INVALID_VALUE in field 'contact/1/relationship'
generalPractitioner {"identifier":{"value":"A1"}} => 403 FORBIDDEN_UPDATE multiple general practitioners cannot be added
extension {"url":"UK-NominatedPharmacy","valueReference":{"identifier":{"value":"AAA"}}} => 403 FORBIDDEN_UPDATE NominatedPharmacy'
extension {"url":"UK-Pets"} => 400 INVALID_VALUE in field 'extension/8/url'
[{"op":"replace","path":"/extension/0","value":{"url":"UK-NominatedPharmacy","valueReference":{"identifier":{"value":"?"}}}}] => 400 INVALID_VALUE '?' in field 'extension/0/valueReference/identifier/value'
[{"op":"replace","path":"/extension/6","value":{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"country":"5"}}}] => 400 INVALID_VALUE Invalid value - '5' in field 'extension/6/valueAddress/country'
[{"op":"replace","path":"/extension/6","value":{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"Leeds","country":"GB"}}}] => 400 INVALID_VALUE 'GB' in field 'extension/6/valueAddress/country'
[{"op":"replace","path":"/extension/6","value":{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"Leeds","country":""}}}] => 400 INVALID_VALUE '' in field 'extension/6/valueAddress/country'
[{"op":"test","path":"/extension/4/url","value":"UK-NHSCommunication"},{"op":"remove","path":"/extension/4/extension/1"}] => 403 FORBIDDEN_UPDATE interpreterRequired cannot be removed
[{"op":"replace","path":"/extension/4/extension/1","value":{"url":"","valueBoolean":false}}] => 403 FORBIDDEN_UPDATE interpreterRequired cannot be removed
[{"op":"test","path":"/generalPractitioner/0/id","value":"254406A3"},{"op":"remove","path":"/generalPractitioner/0"}] => 403 FORBIDDEN_UPDATE source not permitted to remove 'generalPractitioner'
"#;

#[test]
fn every_refusal_of_fields() {
    for mut site in sites() {
        for (patches, wanted) in FIELDS.lines().filter_map(|line| line.split_once(" => ")) {
            let patches = patches.replace("UK-", ADDRESS);
            let operations = match patches.split_once(' ').filter(|_| !patches.starts_with('[')) {
                Some((list, item)) => {
                    let item: Value = serde_json::from_str(item).unwrap();
                    json!([{"op": "add", "path": format!("/{list}/-"), "value": item}])
                }
                None => serde_json::from_str(&patches).unwrap(),
            };
            let (status, code, text) = error(&site.patch(&worker(), JANE, 2, operations));
            let mut parts = wanted.splitn(3, ' ');
            assert_eq!(
                (parts.next(), parts.next()),
                (Some(&*status.to_string()), Some(code.as_str())),
                "{patches}: {text}"
            );
            assert!(text.ends_with(parts.next().unwrap()), "{patches}: {text}");
        }
    }
}

#[test]
fn a_place_of_birth_is_in_a_country_of_the_standard_or_a_part_of_these_islands() {
    let path =
        get(&mut Site::new(1), JANE)["extension"].as_array().unwrap().iter().position(|e| e["url"] == BIRTH_PLACE);
    let path = format!("/extension/{}", path.unwrap());
    for mut site in sites() {
        for (version, country) in (2..).zip(["1", "10", "FRA", "GBR"]) {
            let place = json!({"url": BIRTH_PLACE, "valueAddress": {"city": "Leeds", "country": country}});
            let patches = json!([{"op": "replace", "path": path, "value": place}]);
            let changed = site.patch(&worker(), JANE, version, patches);
            assert_eq!(changed.status, 200, "{country}: {}", json(&changed));
        }
    }
}

#[test]
fn items_are_added_with_ids_periods_and_one_spelling() {
    for mut site in sites() {
        let add = json!([
            {"op": "add", "path": "/name/-", "value": {"use": "nickname", "family": "Smith", "given": ["Janey Jo", "May Ann"], "prefix": ["MRS.", ""]}},
            {"op": "add", "path": "/address/-", "value": {"use": "billing", "line": ["1 High Street", "", "", "Leeds"], "postalCode": "ls16ae",
                "period": {"start": "2026-01-01", "end": "2026-12-31"}}},
        ]);
        let response = site.patch(&worker(), JANE, 2, add);
        assert_eq!(response.status, 200, "{:?}", String::from_utf8_lossy(&response.body));
        let body = json(&response);
        let name = &body["name"][1];
        assert_eq!((&name["given"], &name["prefix"]), (&json!(["Janey Jo", "May", "Ann"]), &json!(["Mrs"])));
        assert_eq!(name["period"], json!({"start": "2026-11-22"}));
        assert_eq!(name["id"].as_str().unwrap().len(), 8);
        let address = &body["address"][2];
        assert_eq!((&address["postalCode"], &address["line"]), (&json!("LS1 6AE"), &json!(["1 High Street", "Leeds"])));
        assert_ne!(address["id"], name["id"]);
        assert_eq!(numbers(&site.get(&app(), "/Patient?family=Smith&given=Janey%20Jo&birthdate=2010-10-22")), [JANE]);
        // What is gone from one list shifts the next index, as RFC 6902 says.
        let id = address["id"].clone();
        let remove =
            json!([{"op": "test", "path": "/address/2/id", "value": id}, {"op": "remove", "path": "/address/2"}]);
        let body = json(&site.patch(&worker(), JANE, 3, remove));
        assert_eq!(body["address"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn an_address_keeps_lines_however_they_are_taken_away() {
    let few = "Invalid update with error - address lines 1 and 4 or 2 and 4 must be completed as a minimum";
    let bare = json!([{"op": "replace", "path": "/address/0", "value": {"id": "456", "use": "home", "period": {"start": "2020-01-01"},
        "line": ["1 X", "", "", "Leeds"], "postalCode": "LS1 6AE"}}]);
    let test = json!({"op": "test", "path": "/address/0/id", "value": "456"});
    for mut site in sites() {
        assert_eq!(site.patch(&worker(), JANE, 2, bare.clone()).status, 200);
        let line = json!([test, {"op": "remove", "path": "/address/0/line"}]);
        let each = json!([test, {"op": "remove", "path": "/address/0/line/0"}, test, {"op": "remove", "path": "/address/0/line/0"}]);
        for gone in [line, each] {
            expect(&site.patch(&worker(), JANE, 3, gone), 400, "INVALID_UPDATE", few);
        }
        // As it was read, so it may be written: nothing is changed.
        let same = json(&site.get(&worker(), &format!("/Patient/{JANE}")))["address"][0].clone();
        let again = json!([{"op": "replace", "path": "/address/0", "value": same}]);
        assert_eq!(site.patch(&worker(), JANE, 3, again).status, 200);
    }
}

#[test]
fn an_informal_death_is_told_with_its_date() {
    let death = json!({"url": format!("{ADDRESS}DeathNotificationStatus"), "extension": [{"url": "deathNotificationStatus",
        "valueCodeableConcept": {"coding": [{"code": "1"}]}}]});
    for mut site in sites() {
        let date = json!({"op": "add", "path": "/deceasedDateTime", "value": "2026-11-01"});
        let alone = site.patch(&worker(), "9733162337", 1, json!([date]));
        let version =
            json(&site.get(&app(), "/Patient/9733162337"))["meta"]["versionId"].as_str().unwrap().parse().unwrap();
        assert_eq!(alone.status, if version == 1 { 403 } else { 409 });
        assert_eq!(site.patch(&worker(), "9733162337", version, json!([date])).status, 403);
        let told = json!([date, {"op": "add", "path": "/extension/-", "value": death}]);
        let body = json(&site.patch(&worker(), "9733162337", version, told));
        assert_eq!(body["deceasedDateTime"], "2026-11-01");
        assert_eq!(body["extension"][0]["extension"][1]["valueDateTime"], "2026-11-22T00:59:33+00:00");
        // Prescriptions are in every partition: each hears of it, once.
        let told: Vec<PersonChanged> =
            site.told.iter().map(|(_, payload)| PersonChanged::decode(&payload.slice(1..)).unwrap()).collect();
        assert_eq!(told.len(), site.partitions.len());
        assert!(told.iter().all(|one| one.died && one.nhs == 9_733_162_337 && one.nominations.is_empty()));
        let keys: BTreeSet<_> = site.told.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys.len(), told.len());
    }
}

#[test]
fn a_patient_changes_some_things_of_their_own() {
    let denied =
        "Invalid update with error - This user does not have permission to update the fields in the patches provided.";
    for mut site in sites() {
        let me = patient(JANE);
        let mobile = json!([{"op": "add", "path": "/telecom/-", "value": {"system": "phone", "use": "mobile", "value": "07700900000"}}]);
        let response = site.patch(&me, JANE, 2, mobile);
        assert_eq!(response.status, 200, "{:?}", error(&response));
        let home = [
            json!({"op": "replace", "path": "/address/0/id", "value": "456"}),
            json!({"op": "replace", "path": "/address/0/line/0", "value": "2 X"}),
        ];
        assert_eq!(site.patch(&me, JANE, 3, json!(home)).status, 200);
        for refused in [
            json!([{"op": "replace", "path": "/gender", "value": "male"}]),
            json!([{"op": "test", "path": "/name/0/id", "value": "123"}, {"op": "replace", "path": "/name/0/family", "value": "X"}]),
            json!([{"op": "add", "path": "/telecom/-", "value": {"system": "phone", "use": "home", "value": "1"}}]),
            json!([{"op": "test", "path": "/telecom/1/id", "value": "790"}, {"op": "replace", "path": "/telecom/1/value", "value": "a@b.example"}]),
        ] {
            expect(&site.patch(&me, JANE, 4, refused), 400, "INVALID_UPDATE", denied);
        }
        // After a removal the next item has its place: each operation is judged by the list as it then is.
        let test = |n: usize, id: &str| json!({"op": "test", "path": format!("/telecom/{n}/id"), "value": id});
        let remove = |n: usize| json!({"op": "remove", "path": format!("/telecom/{n}")});
        let shifted = json!([test(1, "790"), remove(1), test(1, "OC789"), remove(1)]);
        expect(&site.patch(&me, JANE, 4, shifted), 400, "INVALID_UPDATE", denied);
        let out = json!([test(1, "790"), remove(1), test(9, "x"), remove(9), {"op": "remove", "path": "/gender"}]);
        expect(&site.patch(&me, JANE, 4, out), 400, "INVALID_UPDATE", denied);
        let mobile = json(&site.get(&me, &format!("/Patient/{JANE}")))["telecom"][3]["id"].clone();
        let lawful = json!([test(1, "790"), remove(1), test(2, mobile.as_str().unwrap()), remove(2)]);
        let response = site.patch(&me, JANE, 4, lawful);
        assert_eq!(response.status, 200, "{}", json(&response));
        let left = json(&response);
        let left: Vec<&str> = left["telecom"].as_array().unwrap().iter().filter_map(|t| t["id"].as_str()).collect();
        assert_eq!(left, ["789", "OC789"]);
        for other in ["9912003071", "9000000000"] {
            assert_eq!(site.patch(&me, other, 1, json!([])).status, 403, "before the check digit");
        }
    }
}

#[test]
fn the_same_request_id_does_it_once_and_answers_the_same() {
    let body = br#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#;
    let headers = [
        ("content-type", "application/json-patch+json"),
        ("if-match", "W/\"2\""),
        ("x-request-id", "60E0B220-8136-4ca5-ae46-1d97ef59d068"),
    ];
    for mut site in sites() {
        let target = format!("/Patient/{JANE}");
        let first = site.raw(&worker(), "PATCH", &target, &headers, body);
        let later = site.patch(&worker(), JANE, 3, json!([{"op": "replace", "path": "/gender", "value": "unknown"}]));
        assert_eq!((first.status, later.status), (200, 200));
        let again = site.raw(&worker(), "PATCH", &target, &headers, body);
        assert_eq!(
            (again.status, &again.body),
            (200, &first.body),
            "the first outcome, although there is a later version"
        );
        assert_eq!(get(&mut site, JANE)["gender"], "unknown");
        let other = site.raw(&worker(), "PATCH", "/Patient/9000000017", &headers, body);
        assert_eq!(error(&other).1, "INVALID_VALUE", "the outcome of another person is not shown");
    }
}

#[test]
fn practices_and_pharmacies_are_those_of_the_registry_once_it_has_reference_data() {
    use crate::{
        services::directory::rows::Organisation, services::directory::rows::organisation_key, store::tables::Table,
    };
    let pharmacy = |code: &str| {
        let identifier = json!({"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": code});
        let url = format!("{ADDRESS}NominatedPharmacy");
        json!([{"op": "replace", "path": "/extension/0", "value": {"url": url, "valueReference": {"identifier": identifier}}}])
    };
    let practice = |code: &str| {
        json!([{"op": "replace", "path": "/generalPractitioner/0", "value": {"id": "254406A3", "type": "Organization",
            "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": code}}}])
    };
    for mut site in sites() {
        let known = |site: &mut Site, code: &str| {
            let key = organisation_key(code).build();
            site.registry.0.insert(key, Organisation { name: "A".into(), ..Default::default() }.encode());
        };
        known(&mut site, "X26");
        assert_eq!(site.patch(&worker(), JANE, 2, pharmacy("FA001")).status, 200, "nothing is known of pharmacies");
        known(&mut site, "FA002");
        known(&mut site, "A20047");
        let role = Table::OrganisationRoles.key().text("RO182").text("FA002").build();
        site.registry.0.insert(role, Bytes::new());
        let text = "Invalid value - 'FA003' in field 'extension/0'";
        expect(&site.patch(&worker(), JANE, 3, pharmacy("FA003")), 400, "INVALID_VALUE", text);
        let text = "Invalid value - 'Y99999' in field 'generalPractitioner/0/identifier/value'";
        expect(&site.patch(&worker(), JANE, 3, practice("Y99999")), 400, "INVALID_VALUE", text);
        assert_eq!(site.patch(&worker(), JANE, 3, pharmacy("fa002")).status, 200);
        assert_eq!(site.patch(&worker(), JANE, 4, practice("A20047")).status, 200);
    }
}
