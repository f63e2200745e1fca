//! Versions (spec/pds.md §15): who changed what and when, the record as it was, what a person takes on disk.

use super::*;
use crate::{services::pds::rows, store::tables::Table};

#[test]
fn the_record_can_be_shown_as_it_was() {
    for mut site in sites() {
        let first = json(&site.get(&worker(), &format!("/Patient/{JANE}")));
        let day = 24 * 60 * 60 * 1000;
        let mut versions = vec![first];
        for (n, gender) in ["male", "unknown", "female"].into_iter().enumerate() {
            site.now += day;
            let change = json!([{"op": "replace", "path": "/gender", "value": gender}]);
            versions.push(json(&site.patch(&worker(), JANE, 2 + n as u64, change)));
        }
        let view = site.rows_of(JANE);
        for (n, wanted) in versions.iter().enumerate() {
            let row = rows::on(view, nhs(JANE), NOW + n as u64 * day + 1).unwrap().unwrap();
            assert_eq!(row.version, 2 + n as u64);
            let shown = super::super::show::patient(nhs(JANE), &row, Default::default()).unwrap();
            assert_eq!(Value::Object(shown), *wanted, "as it was on day {n}");
            let maker = if n == 0 { "" } else { "555254240100" };
            assert_eq!((row.by.user.as_str(), row.at), (maker, NOW + n as u64 * day));
        }
        assert!(rows::on(view, nhs(JANE), NOW - 1).unwrap().is_none());
    }
}

#[test]
fn importing_again_changes_nothing_and_never_undoes_a_change() {
    let people: Value = serde_json::from_str(PEOPLE).unwrap();
    let jane = people["people"].as_array().unwrap().iter().find(|p| p["nhsNumber"] == JANE).unwrap().to_string();
    for mut site in sites() {
        let before: Vec<_> = site.partitions.iter().map(|p| p.0.clone()).collect();
        for person in people["people"].as_array().unwrap() {
            let reply = site.import(&person.to_string()).unwrap();
            assert_eq!((reply.written, reply.same), (0, 1));
        }
        assert!(site.partitions.iter().zip(&before).all(|(p, b)| p.0 == *b));
        site.patch(&worker(), JANE, 2, json!([{"op": "replace", "path": "/gender", "value": "male"}]));
        let again = site.import(&jane).unwrap();
        assert_eq!((again.written, again.same, again.kept), (0, 0, 1), "what was changed here since is left alone");
        assert_eq!(json(&site.get(&worker(), &format!("/Patient/{JANE}")))["gender"], "male");
    }
}

#[test]
fn a_bad_line_is_refused_by_name_and_without_the_patient() {
    let rows = [
        ("{", "no JSON: column 1"),
        (r#"{"nhsNumber":"9000000000","resource":{}}"#, "nhsNumber is missing, or its check digit is wrong"),
        (r#"{"nhsNumber":"9990000018","resource":{},"pets":1}"#, "unknown member 'pets'"),
        (r#"{"nhsNumber":"9990000018","resource":{"pets":1}}"#, "unknown member 'resource/pets'"),
        (r#"{"nhsNumber":"9990000018","resource":{"id":"9000000009"}}"#, "resource/id is not the nhsNumber"),
    ];
    for (line, text) in rows {
        assert_eq!(import::line(line).map(|_| ()), Err(text.to_owned()));
    }
}

#[test]
fn values_that_nobody_could_read_or_find_are_refused_by_name() {
    let line = |member: &str, value: Value| json!({"nhsNumber": "9990000018", "resource": {member: value}}).to_string();
    let bad = [
        ("name", json!("x"), "name is not a list of objects"),
        ("address", json!(["x"]), "address is not a list of objects"),
        ("name", json!([{"family": 7}]), "name/family is not a text"),
        ("telecom", json!([{"value": 7}]), "telecom/value is not a text"),
        ("address", json!([{"postalCode": {}}]), "address/postalCode is not a text"),
        ("name", json!([{"given": "Ann"}]), "name/given is not a list of texts"),
        ("address", json!([{"line": [7]}]), "address/line is not a list of texts"),
        ("gender", json!("m"), "gender is not male, female, other or unknown"),
        ("birthDate", json!("2001-13-45"), "birthDate is not a date"),
        ("birthDate", json!("2001-02-29"), "birthDate is not a date"),
        ("birthDate", json!(20010228), "birthDate is not a date"),
        ("deceasedDateTime", json!("2001-02-28T25:00:00+00:00"), "deceasedDateTime is not a date or time"),
        ("multipleBirthInteger", json!(true), "multipleBirthInteger is not a number"),
    ];
    for (member, value, why) in bad {
        assert_eq!(import::line(&line(member, value)).map(|_| ()), Err(format!("resource/{why}")));
    }
    let hidden = json!({"nhsNumber": "9990000018", "resource": {}, "confidential": {"name": "x"}}).to_string();
    assert_eq!(import::line(&hidden).map(|_| ()), Err("resource/name is not a list of objects".to_owned()));
    let good = [
        ("birthDate", json!("2000-02-29")),
        ("birthDate", json!("2000-02")),
        ("birthDate", json!("2000")),
        ("deceasedDateTime", json!("2010-10-22T00:00:00+00:00")),
        ("deceasedDateTime", json!("2010-10-22")),
        ("address", json!([{"line": ["1 High Street", null]}])),
    ];
    for (member, value) in good {
        assert_eq!(import::line(&line(member, value)).map(|_| ()), Ok(()));
    }
}

#[test]
fn a_plain_person_is_small() {
    let line = json!({"nhsNumber": "9990000018", "resource": {"resourceType": "Patient", "id": "9990000018",
        "meta": {"versionId": "1", "security": [{"code": "U"}]},
        "name": [{"id": "1A2B3C4D", "use": "usual", "period": {"start": "1970-02-03"}, "family": "Featherstone", "given": ["Margaret", "Ann"], "prefix": ["Mrs"]}],
        "gender": "female", "birthDate": "1970-02-03",
        "address": [{"id": "1A2B3C4E", "use": "home", "period": {"start": "2001-02-03"}, "line": ["12 Station Road", "", "", "Scunthorpe", "Lincolnshire"], "postalCode": "DN15 6AA"}],
        "telecom": [{"id": "1A2B3C4F", "system": "phone", "use": "mobile", "value": "07700900123", "period": {"start": "2010-01-01"}},
            {"id": "1A2B3C50", "system": "email", "use": "home", "value": "margaret.featherstone@example.com", "period": {"start": "2010-01-01"}}],
        "generalPractitioner": [{"id": "1A2B3C51", "type": "Organization", "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A20047", "period": {"start": "2001-02-03"}}}]}});
    let mut site = Site::empty(1, PdsOptions::default());
    site.import(&line.to_string()).unwrap();
    let bytes: usize = site.partitions[0].0.iter().map(|(k, v)| k.len() + v.len()).sum();
    assert!(bytes < 420, "{bytes} B for a person and what finds them");
    let mut tables: Vec<u8> = site.partitions[0].0.keys().map(|k| k[0]).collect();
    tables.dedup();
    assert_eq!(tables, [Table::People as u8, Table::PeopleByName as u8, Table::PeopleByPostcode as u8]);
}
