//! Imports on values: published CSV, our own lines, directory attributes; what a change does to look-up rows.

use super::*;
use crate::{
    services::directory::{
        command::{Batch, MAX_BATCH, PutOrganisation},
        organisation::{Relationship, Role},
        published,
        rows::Organisation,
    },
    wire::{ldif, record::Record},
};

pub const LDAP: &str = include_str!("data/ldap-mhs-records.json");
pub const LDIF: &str = include_str!("data/sample.ldif");

/// Imports lines; what is refused fails the test.
pub fn import(site: &mut MapStore, text: &str) {
    for line in text.lines() {
        if let Some(command) = lines::parse(line).unwrap() {
            let reply = set(site, command);
            assert!(reply.is_done(), "{line}: {}", reply.text);
        }
    }
}

/// The entries of an LDIF file as lines.
pub fn of_ldif(text: &str) -> Vec<String> {
    let entries = text.split("\n\n").filter_map(|entry| ldif::entry(entry).unwrap());
    let line = |entry: ldif::Entry| {
        let mut object = serde_json::Map::new();
        for (name, value) in entry.attributes {
            let values = object.entry(name).or_insert_with(|| serde_json::json!([]));
            values.as_array_mut().unwrap().push(value.into());
        }
        serde_json::Value::Object(object).to_string()
    };
    entries.map(line).collect()
}

/// The published endpoint records as lines.
pub fn of_ldap() -> String {
    let all: Vec<serde_json::Value> = serde_json::from_str(LDAP).unwrap();
    all.iter().map(|record| record.to_string() + "\n").collect()
}

fn row(text: &str) -> Vec<String> {
    text.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()
}

const PRACTICE: &str = "\"A81001\",\"THE DENSHAM SURGERY\",\"Y63\",\"QHM\",\"THE HEALTH CENTRE\",\"LAWSON STREET\",\"\",\
    \"STOCKTON-ON-TEES\",\"CLEVELAND\",\"TS18 1HU\",\"19740401\",\"\",\"A\",\"B\",\"16C\",\"20130401\",\"\",\
    \"01642 672351\",\"\",\"\",\"\",\"0\",\"\",\"16C\",\"\",\"4\",\"\"";

#[test]
fn a_published_practice_is_a_cost_centre_with_a_practices_role() {
    let mut site = MapStore::default();
    let object = published::object(&row(PRACTICE), published::role_of_file("EPRACCUR").unwrap()).unwrap();
    import(&mut site, &serde_json::Value::Object(object.clone()).to_string());
    let found = rows::organisation(&site, "A81001").unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.class(), found.inactive), ("THE DENSHAM SURGERY", 1, false));
    let roles: Vec<(&str, bool)> = found.roles.iter().map(|r| (r.code.as_str(), r.primary)).collect();
    assert_eq!(roles, [("RO177", true), ("RO76", false)]);
    let to: Vec<(&str, &str)> = found.relationships.iter().map(|r| (r.code.as_str(), r.target.as_str())).collect();
    assert_eq!(to, [("RE4", "16C"), ("RE5", "Y63"), ("RE5", "QHM")]);
    assert_eq!((found.address.town.as_str(), found.address.postcode.as_str()), ("STOCKTON-ON-TEES", "TS18 1HU"));
    assert_eq!(found.last_change, 20_261_122, "the day of the stamp");
    // The same line again, a day later: nothing changes, the ids least of all.
    let before = site.0.clone();
    import(&mut site, &serde_json::Value::Object(object).to_string());
    assert!(site.0 == before);
}

#[test]
fn what_is_wrong_with_a_published_line_is_said() {
    let why = |text: &str, role: &str| published::object(&row(text), role).unwrap_err();
    assert_eq!(why("a,b", "RO177"), "2 columns, a published file has 27");
    assert_eq!(why(PRACTICE, "RO999"), "RO999 is no organisation role");
    assert_eq!(why(&PRACTICE.replace("\"A\",\"B\"", "\"X\",\"B\""), "RO177"), "the status is none of A, C, D, P");
    let site = published::object(&row(PRACTICE), "RO198").unwrap();
    assert_eq!((site["record_class"].as_str(), site["relationships"][0]["code"].as_str()), (Some("RC2"), Some("RE6")));
}

fn organisation(name: &str, roles: &[(&str, bool)]) -> Organisation {
    let role = |(code, primary): &(&str, bool)| Role { code: (*code).into(), primary: *primary, ..Default::default() };
    Organisation { name: name.into(), roles: roles.iter().map(role).collect(), ..Default::default() }
}

fn put(ods: &str, organisation: Organisation) -> PutOrganisation {
    PutOrganisation { ods: ods.into(), organisation, ..Default::default() }
}

#[test]
fn an_organisation_that_is_none_is_refused() {
    let mut site = MapStore::default();
    let good = || organisation("A SURGERY", &[("RO177", true)]);
    let mut twice = good();
    twice.roles.push(Role { code: "RO182".into(), primary: true, ..Default::default() });
    let mut stranger = good();
    stranger.roles[0].code = "RO999".into();
    let mut backwards = good();
    (backwards.legal.start, backwards.legal.end) = (20_200_102, 20_200_101);
    let mut related = good();
    related.relationships.push(Relationship { code: "RE99".into(), target: "X26".into(), ..Default::default() });
    for (ods, row, why) in [
        ("A1", organisation("", &[("RO177", true)]), "an organisation needs a name"),
        ("A1", organisation("N", &[]), "an organisation has exactly one primary role"),
        ("A1", twice, "an organisation has exactly one primary role"),
        ("A1", stranger, "a role's code is not in the list of organisation roles"),
        ("A1", backwards, "a period ends before it starts"),
        ("A1", related, "a relationship's code is not in the list of relationships"),
        ("A-1", good(), "an ODS code is 1 to 12 letters or digits"),
    ] {
        let reply = set(&mut site, put(ods, row));
        assert_eq!((reply.refusal.as_str(), reply.text.as_str()), ("invalid", why));
    }
    assert!(site.0.is_empty(), "a refusal writes nothing");
}

#[test]
fn look_up_rows_follow_every_change_and_go_with_it() {
    let mut site = MapStore::default();
    let mut first = organisation("BIRD-IN-EYE SURGERY", &[("RO177", true), ("RO76", false)]);
    first.address.postcode = "TN22 5AW".into();
    first.address.town = "UCKFIELD".into();
    first.last_change = 20_230_822;
    first.relationships.push(Relationship { code: "RE4".into(), target: "4VE03".into(), ..Default::default() });
    set(&mut site, put("G81086", first.clone()));
    let mut second = organisation("EYE CLINIC", &[("RO182", true)]);
    (second.inactive, second.last_change) = (true, 20_240_101);
    let mut moved = MapStore::default();
    set(&mut moved, put("G81086", second.clone()));
    set(&mut site, put("G81086", second));
    // The counter of instance ids goes up and never back.
    let without = |store: &MapStore| {
        let mut rows = store.0.clone();
        rows.remove(&Table::OrganisationCounts.key().number(255).build());
        rows.retain(|key, value| key[0] != Table::OrganisationCounts as u8 || value.as_ref() != [0; 8]);
        rows.retain(|key, _| key[0] != Table::Organisations as u8);
        rows
    };
    assert!(without(&site) == without(&moved), "rows of the old name, place and roles are gone");
}

#[test]
fn a_relationship_id_belongs_to_one_organisation() {
    let mut site = MapStore::default();
    let mut row = organisation("A", &[("RO177", true)]);
    row.relationships.push(Relationship {
        id: 256_248,
        code: "RE4".into(),
        target: "X26".into(),
        ..Default::default()
    });
    assert!(set(&mut site, put("A1", row.clone())).changed);
    assert_eq!(set(&mut site, put("A2", row)).refusal, "conflict");
}

#[test]
fn a_batch_keeps_what_is_good_and_names_what_is_not() {
    let mut site = MapStore::default();
    let good = DirectoryCommand::from(put("A1", organisation("A", &[("RO177", true)])));
    let bad = DirectoryCommand::from(put("A2", organisation("", &[])));
    let commands = vec![good.encode(), bad.encode(), good.encode()];
    let (reply, decided) = run(&mut site, "uid:0", Batch { commands, ..Default::default() });
    let each: Vec<(bool, bool)> = reply.each.iter().map(|r| (r.is_done(), r.changed)).collect();
    assert_eq!(each, [(true, true), (false, false), (true, false)]);
    assert_eq!(decided.audit.len(), 3, "a note for each");
    assert!(rows::organisation(&site, "A1").unwrap().is_some() && rows::organisation(&site, "A2").unwrap().is_none());
    let commands = vec![good.encode(); MAX_BATCH + 1];
    assert_eq!(set(&mut site, Batch { commands, ..Default::default() }).refusal, "invalid");
}

#[test]
fn a_row_of_before_look_ups_gets_them_with_its_next_writing() {
    let mut site = MapStore::default();
    let old = Organisation { name: "NHS ENGLAND".into(), ..Default::default() };
    site.0.insert(rows::organisation_key("X26").build(), old.encode());
    let again = SetOrganisation { ods: "X26".into(), name: "NHS ENGLAND".into(), ..Default::default() };
    assert!(set(&mut site, again.clone()).changed);
    assert!(site.0.keys().any(|key| key[0] == Table::OrganisationWords as u8));
    assert!(!set(&mut site, again).changed);
}

#[test]
fn the_published_directory_entries_are_taken_as_they_are() {
    let mut site = MapStore::default();
    import(&mut site, &of_ldap());
    let row = rows::endpoint(&site, "S20001A000182").unwrap().unwrap();
    assert_eq!((row.party_key.as_str(), row.retries.as_str()), ("YES-0000806", "2"));
    assert_eq!(row.actors, ["urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH"]);
    let before = site.0.clone();
    import(&mut site, &of_ldap());
    assert!(site.0 == before);

    let entries = of_ldif(LDIF);
    assert_eq!(entries.len(), 5);
    import(&mut site, &entries[..2].join("\n"));
    let system = rows::system(&site, "200000009001").unwrap().unwrap();
    assert_eq!((system.interactions.len(), system.product_name.as_str()), (2, "Example Practice System"));
    for person in &entries[2..] {
        assert_eq!(lines::parse(person), Err(BadLine::Class));
    }
}

#[test]
fn an_accreditation_leaves_certificates_and_switches_alone() {
    let mut site = MapStore::default();
    let certificate = "ab".repeat(32);
    let with = SetSystem { asid: "200000009001".into(), ods: "X26".into(), ..Default::default() };
    set(&mut site, SetSystem { certificates: vec![certificate.clone()], name: "n".into(), emergency: 1, ..with });
    import(&mut site, &of_ldif(LDIF)[0]);
    let row = rows::system(&site, "200000009001").unwrap().unwrap();
    assert_eq!((row.certificates, row.name.as_str(), row.ods.as_str()), (vec![certificate.clone()], "n", "A99999"));
    assert!(row.emergency);
    assert_eq!(rows::system_of_certificate(&site, &certificate).unwrap().unwrap().0, "200000009001");
}

#[test]
fn lines_that_say_more_become_whole_rows_and_mistakes_are_named() {
    let bad = |line: &str| match lines::parse(line) {
        Err(BadLine::Value(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(bad(r#"{"ods_code":"X","name":"n","roles":[{"cod":"RO1"}]}"#).starts_with("unknown field `cod`"));
    assert_eq!(bad(r#"{"ods_code":"X","name":"n","status":"open"}"#), "a status is Active or Inactive");
    assert_eq!(bad(r#"{"ods_code":"X","name":"n","last_change":"2023-02-30"}"#), "a date is YYYY-MM-DD or YYYYMMDD");
    assert_eq!(bad(r#"{"ods_code":"X","name":"n","record_class":"RC3"}"#), "the record class is RC1 or RC2");
    let system = lines::parse(r#"{"asid":"1","ods_code":"X","interactions":["urn:a:b"]}"#).unwrap();
    assert!(matches!(system, Some(DirectoryCommand::PutSystem(_))));
}
