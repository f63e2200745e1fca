//! LDAP on values: the queries that clients send, scopes, paging, limits, comparing, the schema.

use super::{
    fhir::EXAMPLES,
    imports::{LDIF, import, of_ldap, of_ldif},
    *,
};
use crate::{
    services::directory::ldap::{Told, compare, search},
    wire::ldap::{Code, Filter, Paged, Scope, Search},
};

fn site() -> MapStore {
    let mut site = MapStore::default();
    import(&mut site, &of_ldap());
    import(&mut site, &of_ldif(LDIF)[..2].join("\n"));
    import(&mut site, EXAMPLES);
    site
}

pub fn equal(name: &str, value: &str) -> Filter {
    Filter::Equal(name.into(), value.into())
}

pub fn present(name: &str) -> Filter {
    Filter::Present(name.into())
}

pub fn asked(base: &str, scope: Scope, filter: Filter, attributes: &[&str]) -> Search {
    let attributes = attributes.iter().map(|a| (*a).to_owned()).collect();
    Search { base: base.into(), scope, size_limit: 0, types_only: false, filter, attributes }
}

pub fn ids(told: &Told) -> Vec<&str> {
    told.entries.iter().map(|e| e.dn.split(',').next().unwrap().trim_start_matches("uniqueIdentifier=")).collect()
}

#[test]
fn the_queries_that_clients_send_find_what_they_should() {
    let site = site();
    let services = "ou=Services,o=nhs";
    let gp2gp = "urn:nhs:names:services:gp2gp:RCMR_IN010000UK05";
    let psis = "urn:nhs:names:services:psis:REPC_IN150016UK05";
    let and = Filter::And;
    for (base, filter, wanted) in [
        (
            services,
            and(vec![equal("nhsIDCode", "A99999"), equal("objectClass", "nhsAs"), equal("nhsAsSvcIA", gp2gp)]),
            "200000009001",
        ),
        (
            services,
            and(vec![
                equal("objectclass", "nhsMhs"),
                equal("nhsMHSPartyKey", "yes-0000806"),
                equal("nhsMhsSvcIA", psis),
            ]),
            "S20001A000182",
        ),
        (services, and(vec![equal("nhsIDCode", "yes"), equal("nhsMhsSvcIA", psis)]), ""),
        (services, and(vec![equal("objectClass", "nhsAs"), equal("uniqueIdentifier", "200000009001")]), "200000009001"),
        (
            services,
            and(vec![
                equal("objectClass", "nhsMHS"),
                equal("nhsIDCode", "X26"),
                Filter::Not(Box::new(present("nhsEPInteractionType"))),
            ]),
            "5878ac87fcd8acfef532bd5e06372fee3bf3df0c cb238429762210af860b",
        ),
        (
            services,
            Filter::Or(vec![equal("uniqueIdentifier", "200000009001"), equal("nhsMhsCPAId", "S20003A000304")]),
            "200000009001 S20003A000304",
        ),
        ("o=nhs", equal("nhsProductName", "example practice system"), "200000009001"),
        ("O=NHS", Filter::Parts("o".into(), Some("bird".into()), vec![], Some("surgery".into())), "G81086"),
        // A blank where a part meets an asterisk counts: "bird " begins no word of its name.
        ("O=NHS", Filter::Parts("o".into(), Some("bird ".into()), vec![], None), ""),
        ("O=NHS", Filter::Parts("o".into(), None, vec![], Some("  SURGERY ".into())), "G81086"),
        ("ou=Organisations,o=nhs", Filter::Parts("o".into(), None, vec!["pharm".into()], None), "FCE71"),
        ("ou=Organisations, o=nhs", equal("postalCode", "ls11 5bd"), "Q72"),
        ("ou=Organisations,o=nhs", and(vec![equal("objectClass", "nhsSite"), present("ou")]), "FDC49"),
        ("ou=Organisations,o=nhs", Filter::AtMost("nhsOrgOpenDate".into(), "19750101".into()), "FCE71 G81086"),
        (
            services,
            and(vec![
                equal("objectClass", "nhsMhs"),
                Filter::AtLeast("nhsMHSRetries".into(), "2".into()),
                equal("nhsIDCode", "YES"),
            ]),
            "S20001A000182",
        ),
        (services, Filter::Undefined, ""),
        (services, Filter::Not(Box::new(Filter::Undefined)), ""),
        (services, equal("noSuchAttribute", "x"), ""),
    ] {
        let told = search(&site, &asked(base, Scope::Sub, filter.clone(), &["uniqueIdentifier"]), None).unwrap();
        assert_eq!((told.code, ids(&told).join(" ").as_str()), (Code::Success, wanted), "{filter:?}");
    }
}

#[test]
fn attributes_come_in_the_schemas_spelling_and_as_chosen() {
    let site = site();
    let with = |attributes: &[&str]| {
        let filter = equal("nhsmhspartykey", "A99999-900001");
        let told = search(&site, &asked("ou=services,o=nhs", Scope::One, filter, attributes), None).unwrap();
        told.entries[0].attributes.clone()
    };
    let chosen = with(&["NHSMHSPARTYKEY", "uniqueidentifier", "nothing"]);
    let names: Vec<&str> = chosen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["uniqueIdentifier", "nhsMHSPartyKey"]);
    assert!(with(&["*"]).len() > 10 && with(&["1.1"]).is_empty());
    let mut types = asked("ou=Services,o=nhs", Scope::One, present("objectClass"), &["nhsIDCode"]);
    types.types_only = true;
    let told = search(&site, &types, None).unwrap();
    assert!(told.entries.iter().all(|e| e.attributes == [("nhsIDCode".to_owned(), vec![])]));
}

#[test]
fn scopes_bases_and_limits_are_kept() {
    let site = site();
    let any = || present("objectClass");
    let dns = |base: &str, scope: Scope| -> Vec<String> {
        let told = search(&site, &asked(base, scope, any(), &["1.1"]), None).unwrap();
        told.entries.into_iter().map(|e| e.dn).collect()
    };
    assert_eq!(dns("o=nhs", Scope::Base), ["o=nhs"]);
    assert_eq!(dns("o=nhs", Scope::One)[0], "ou=Services,o=nhs");
    assert_eq!(dns("ou=Organisations,o=nhs", Scope::One).len(), 4);
    assert_eq!(dns("ou=Organisations,o=nhs", Scope::Sub).len(), 5);
    assert_eq!(dns("uniqueIdentifier=q72,ou=Organisations,o=nhs", Scope::Base).len(), 1);
    assert_eq!(dns("", Scope::Base), [""]);
    for nowhere in ["o=other", "uniqueIdentifier=NONE,ou=Services,o=nhs", "cn=x,cn=y,cn=z,o=nhs"] {
        let told = search(&site, &asked(nowhere, Scope::Sub, any(), &[]), None).unwrap();
        assert_eq!(told.code, Code::NoSuchObject, "{nowhere}");
    }
    let mut limited = asked("o=nhs", Scope::Sub, any(), &[]);
    limited.size_limit = 3;
    let told = search(&site, &limited, None).unwrap();
    assert_eq!((told.code, told.entries.len()), (Code::SizeLimit, 3));
}

#[test]
fn pages_together_are_the_whole_and_nothing_twice() {
    let site = site();
    let whole = search(&site, &asked("o=nhs", Scope::Sub, present("objectClass"), &[]), None).unwrap();
    for (filter, size) in [
        (present("objectClass"), 1),
        (present("objectClass"), 4),
        (equal("nhsIDCode", "YES"), 2),
        (present("nhsMHSEndPoint"), 3),
    ] {
        let wanted: Vec<String> = {
            let told = search(&site, &asked("o=nhs", Scope::Sub, filter.clone(), &[]), None).unwrap();
            told.entries.into_iter().map(|e| e.dn).collect()
        };
        let (mut seen, mut cookie) = (vec![], vec![]);
        loop {
            let paged = Paged { size, cookie };
            let told = search(&site, &asked("o=nhs", Scope::Sub, filter.clone(), &[]), Some(&paged)).unwrap();
            assert!(told.code == Code::Success && told.entries.len() <= size);
            seen.extend(told.entries.into_iter().map(|e| e.dn));
            cookie = told.cookie.unwrap();
            if cookie.is_empty() {
                break;
            }
        }
        assert_eq!(seen, wanted);
    }
    assert_eq!(whole.entries.len(), 6 + 1 + 10 + 4);
    let forged = Paged { size: 1, cookie: b"9x".to_vec() };
    let told = search(&site, &asked("o=nhs", Scope::Sub, present("o"), &[]), Some(&forged)).unwrap();
    assert_eq!(told.code, Code::Unwilling);
}

#[test]
fn the_root_and_the_schema_tell_what_a_client_needs() {
    let site = site();
    let root = search(&site, &asked("", Scope::Base, present("objectClass"), &["*", "+"]), None).unwrap();
    let of = |told: &Told, name: &str| {
        told.entries[0].attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default()
    };
    assert_eq!(of(&root, "namingContexts")[0], "o=nhs");
    assert_eq!(of(&root, "supportedControl"), ["1.2.840.113556.1.4.319"]);
    let schema = search(&site, &asked("cn=Subschema", Scope::Base, present("objectClass"), &["+", "*"]), None).unwrap();
    let types = of(&schema, "attributeTypes").join("\n");
    // Every attribute that an entry shows is in the schema, in that spelling.
    let all = search(&site, &asked("o=nhs", Scope::Sub, present("objectClass"), &[]), None).unwrap();
    for (name, _) in all.entries.iter().flat_map(|e| &e.attributes) {
        assert!(types.contains(&format!("'{name}'")), "{name}");
    }
    assert!(of(&schema, "objectClasses").iter().any(|c| c.contains("'nhsMhs'")));
}

#[test]
fn comparing_says_yes_no_or_what_is_not_there() {
    let site = site();
    let dn = "uniqueIdentifier=200000009001,ou=Services,o=nhs";
    for (dn, attribute, value, wanted) in [
        (dn, "nhsIDCode", "A99999", Code::CompareTrue),
        (dn, "nhsIDCode", "a99999", Code::CompareFalse),
        (dn, "nhsmhspartykey", "a99999-900001", Code::CompareTrue),
        (dn, "mail", "x", Code::NoSuchAttribute),
        ("o=none", "o", "x", Code::NoSuchObject),
    ] {
        assert_eq!(compare(&site, dn, attribute, value).unwrap(), wanted, "{attribute}={value}");
    }
}

#[test]
fn every_attribute_that_an_entry_says_can_be_asked_for() {
    let site = site();
    let whole = search(&site, &asked("o=nhs", Scope::Sub, present("objectClass"), &[]), None).unwrap();
    for entry in &whole.entries {
        for (name, _) in &entry.attributes {
            let told = search(&site, &asked("o=nhs", Scope::Sub, present(name), &[]), None).unwrap();
            assert!(told.entries.iter().any(|e| e.dn == entry.dn), "{} by {name}", entry.dn);
        }
    }
}
