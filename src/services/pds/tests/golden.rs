//! The bytes of each row, for ever (P8): `tests/golden/pds.txt` holds them as the first release wrote them, a row a line, key and
//! value in hex. A change of these bytes is a change of what is stored, and needs code that reads both.

use super::*;
use crate::services::pds::{export, rows};
use std::fmt::Write;

const GOLDEN: &str = include_str!("../../../../tests/golden/pds.txt");

/// A site with a row of each table, and each field of each row in use somewhere.
fn every_row() -> Site {
    let mut site = Site::empty(1, PdsOptions::default());
    let people: Value = serde_json::from_str(PEOPLE).unwrap();
    for person in people["people"].as_array().unwrap() {
        if [JANE, RESTRICTED, MINIMAL, "9732019395", "9990003343", "9733162450"]
            .iter()
            .any(|n| person["nhsNumber"] == *n)
        {
            site.import(&person.to_string()).unwrap();
        }
    }
    site.patch(&worker(), JANE, 2, json!([{"op": "replace", "path": "/gender", "value": "male"}]));
    let newer = json!({"nhsNumber": MINIMAL, "supersedes": ["9990000018"], "resource": {"gender": "other", "meta": {"versionId": "3",
        "security": [{"code": "V"}]}, "extension": [{"url": "https://hl7.org/fhir/R4/consent.html", "extension": [
            {"url": "consentValue", "valueCodeableConcept": {"coding": [{"code": "2"}]}}]}]}});
    site.import(&newer.to_string()).unwrap();
    let created = site.post(&worker(), "/Patient", &example("create/create-patient.json"));
    assert_eq!(created.status, 201);
    site
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|n| u8::from_str_radix(&hex[n..n + 2], 16).unwrap()).collect::<Vec<_>>().into()
}

#[test]
fn rows_are_written_as_the_first_release_wrote_them() {
    let site = every_row();
    let mut now = String::new();
    for (key, value) in &site.partitions[0].0 {
        writeln!(now, "{} {}", hex(key), hex(value)).unwrap();
    }
    let mut tables: Vec<u8> = site.partitions[0].0.keys().map(|key| key[0]).collect();
    tables.dedup();
    assert_eq!(tables, [96, 97, 98, 99, 100, 101, 102], "a row of each table");
    for (n, (now, then)) in now.lines().zip(GOLDEN.lines()).enumerate() {
        assert_eq!(now, then, "row {} of tests/golden/pds.txt", n + 1);
    }
    assert_eq!(now.lines().count(), GOLDEN.lines().count(), "{now}");
}

#[test]
fn rows_of_the_first_release_are_read() {
    let mut old = Site::empty(1, PdsOptions::default());
    for line in GOLDEN.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        old.partitions[0].0.insert(bytes(key), bytes(value));
    }
    let new = every_row();
    let people = rows::numbers(&new.partitions[0], 0, 100).unwrap();
    assert_eq!(rows::numbers(&old.partitions[0], 0, 100).unwrap(), people);
    for nhs in people {
        for at in [NOW, u64::MAX] {
            let line = |site: &Site| export::line(&site.partitions[0], nhs, at).unwrap();
            assert_eq!(line(&old), line(&new));
        }
    }
    let found = numbers(&old.get(&worker(), "/Patient?family=Smith&birthdate=2010-10-22&gender=male"));
    assert_eq!(found, [JANE]);
}
