//! People, roles and workgroups by LDAP, on values: found as directory.md §B says, by look-ups that are in step with the rows, within
//! bounds, and nothing of what they prove themselves by.

use super::{
    ldap::{asked, equal, ids, present},
    size::Counting,
    *,
};
use crate::{
    services::directory::{
        applications::Attribute,
        command::SetOrganisation,
        ldap::{compare, search},
        registration::rules::SetRules,
        users::{
            self, Coded, Kind as Proof, State,
            command::{EndRole, SetAuthenticator, SetRole, SetUser, StandUser},
            secrets,
        },
    },
    store::Reader,
    wire::ldap::{Code, Filter, Paged, Scope},
};
use std::cell::Cell;

pub const NINA: &str = "656005750109";
const DORA: &str = "656005750107";
/// Has applied, no more.
pub const ABE: &str = "656005750101";
pub const WARD: &str = "555000000001";
const PEOPLE: &str = "ou=People,o=nhs";

fn done(site: &mut MapStore, command: impl Into<DirectoryCommand>) {
    let reply = set(site, command);
    assert!(reply.is_done(), "{}: {}", reply.refusal, reply.text);
}

/// A site whose operators enter people without steps.
fn opened(site: &mut MapStore) {
    done(site, SetRules { open: 1, until: u64::MAX, reason: "a test".into(), ..Default::default() });
}

fn coded(code: &str, name: &str) -> Coded {
    Coded { code: code.into(), name: name.into(), ..Default::default() }
}

fn role(urp: &str, uid: &str, ods: &str, person_org: &str, workgroups: Vec<Coded>) -> SetRole {
    SetRole {
        urp: urp.into(),
        uid: uid.into(),
        ods: ods.into(),
        person_org: person_org.into(),
        role_code: "S8000:G8000:R8001".into(),
        activities: vec![coded("B0825", "Amend Patient Demographics")],
        workgroups,
        ..Default::default()
    }
}

/// A nurse with two roles at X26 and one at X27, a doctor, and one who has applied.
pub fn staff() -> MapStore {
    let mut site = MapStore::default();
    for (ods, name) in [("X26", "DEMO HOSPITAL"), ("X27", "DEMO SURGERY")] {
        done(&mut site, SetOrganisation { ods: ods.into(), name: name.into(), ..Default::default() });
    }
    for (uid, given, family, gmc) in
        [(NINA, "Nina", "Núrse-Smith", ""), (DORA, "Dora", "Doctor", "c4428981"), (ABE, "Abe", "Applicant", "")]
    {
        let professional = Some(gmc).filter(|v| !v.is_empty()).map(|v| Attribute {
            name: "gmc_id".into(),
            value: v.into(),
            ..Default::default()
        });
        done(
            &mut site,
            SetUser {
                uid: uid.into(),
                title: "Ms".into(),
                given: given.into(),
                family: family.into(),
                email: format!("{given}@example.nhs.uk"),
                born: 19_800_704,
                identity_level: 4,
                professional: professional.into_iter().collect(),
                ..Default::default()
            },
        );
    }
    opened(&mut site);
    let ward = || vec![coded(WARD, "WARD 7")];
    done(&mut site, role("656014452101", NINA, "X26", "656008045101", ward()));
    done(&mut site, role("656014452102", NINA, "X26", "656008045101", vec![]));
    done(&mut site, role("656014452103", NINA, "X27", "656008045102", vec![coded("555000000002", "")]));
    done(&mut site, role("656014452107", DORA, "X26", "656008045103", ward()));
    done(&mut site, role("656014452108", ABE, "X26", "656008045104", vec![]));
    for uid in [NINA, DORA] {
        let authenticator = secrets::one_time([9; 20]);
        done(&mut site, SetAuthenticator { uid: uid.into(), authenticator, ..Default::default() });
        for state in [State::IdentityVerified, State::Active] {
            done(&mut site, StandUser { uid: uid.into(), state: state as u8, ..Default::default() });
        }
    }
    site
}

fn parts(name: &str, first: &str) -> Filter {
    Filter::Parts(name.into(), Some(first.into()), vec![], None)
}

#[test]
fn people_roles_and_workgroups_are_found_by_what_clients_name() {
    let site = staff();
    let class = |class: &str, further: Filter| Filter::And(vec![equal("objectClass", class), further]);
    for (base, scope, filter, wanted) in [
        ("o=nhs", Scope::Sub, class("nhsPerson", equal("uid", NINA)), "uid=656005750109"),
        (PEOPLE, Scope::Sub, equal("uid", NINA), "uid=656005750109 656008045101 656008045102"),
        (PEOPLE, Scope::One, equal("uid", NINA), "uid=656005750109"),
        (PEOPLE, Scope::Sub, class("nhsperson", equal("sn", "núrse-smith")), "uid=656005750109"),
        (PEOPLE, Scope::Sub, class("inetOrgPerson", parts("sn", "DOC")), "uid=656005750107 656008045103"),
        (PEOPLE, Scope::One, equal("cn", "dora  doctor"), "uid=656005750107"),
        (PEOPLE, Scope::One, equal("givenName", "nina"), "uid=656005750109"),
        (PEOPLE, Scope::One, equal("mail", "Dora@example.nhs.uk"), "uid=656005750107"),
        (PEOPLE, Scope::One, equal("nhsGMC", "C4428981"), "uid=656005750107"),
        (PEOPLE, Scope::One, equal("nhsNMC", "C4428981"), ""),
        (PEOPLE, Scope::Sub, equal("uniqueIdentifier", "656008045102"), "656008045102"),
        (PEOPLE, Scope::Sub, equal("uniqueIdentifier", "656014452107"), "656014452107"),
        (PEOPLE, Scope::Sub, class("nhsOrgPersonRole", equal("nhsIDCode", "X27")), "656014452103"),
        (PEOPLE, Scope::Sub, class("nhsOrgPerson", equal("nhsIDCode", "X26")), "656008045103 656008045101"),
        (PEOPLE, Scope::Sub, equal("nhsWorkGroupsCodes", WARD), "656014452101 656014452107"),
        ("o=nhs", Scope::Sub, class("nhsWg", equal("nhsIDCode", "X26")), WARD),
        ("ou=Workgroups,o=nhs", Scope::One, present("cn"), "555000000001 555000000002"),
        ("ou=Workgroups,o=nhs", Scope::Sub, equal("cn", "ward 7"), WARD),
        // What is not there, is no id, or has only applied.
        (PEOPLE, Scope::Sub, equal("uid", "656005750199"), ""),
        (PEOPLE, Scope::Sub, equal("uid", "*"), ""),
        (PEOPLE, Scope::Sub, equal("uid", ABE), ""),
        (PEOPLE, Scope::Sub, equal("sn", "Applicant"), ""),
        (PEOPLE, Scope::Sub, equal("uniqueIdentifier", "656014452108"), ""),
        (PEOPLE, Scope::Sub, equal("uniqueIdentifier", "656008045104"), ""),
    ] {
        let told = search(&site, &asked(base, scope, filter.clone(), &["1.1"]), None).unwrap();
        assert_eq!((told.code, ids(&told).join(" ").as_str()), (Code::Success, wanted), "{filter:?}");
    }
}

#[test]
fn an_entry_has_its_place_below_its_person() {
    let site = staff();
    let role_dn = format!("uniqueIdentifier=656014452101,uniqueIdentifier=656008045101,uid={NINA},{PEOPLE}");
    let told = search(&site, &asked(&role_dn, Scope::Base, present("objectClass"), &[]), None).unwrap();
    assert_eq!(told.entries[0].dn, role_dn);
    let of = |name: &str| {
        let found = told.entries[0].attributes.iter().find(|(n, _)| n == name);
        found.map(|(_, values)| values.join(" ")).unwrap_or_default()
    };
    assert_eq!(of("nhsJobRole"), r#""Clinical":"Clinical Provision":"Nurse Access Role""#);
    assert_eq!((of("nhsJobRoleCode").as_str(), of("nhsIDCode").as_str()), ("S8000:G8000:R8001", "X26"));
    assert_eq!((of("nhsWorkGroups").as_str(), of("nhsWorkGroupsCodes").as_str()), ("WARD 7", WARD));
    assert_eq!((of("nhsOrgOpenDate").as_str(), of("nhsOrgCloseDate").as_str()), ("20261122", ""));
    let person = format!("UID={NINA}, ou=people, O=NHS");
    let membership = format!("uniqueIdentifier=656008045101,{person}");
    for (base, scope, wanted) in [
        (&person, Scope::Base, "uid=656005750109"),
        (&person, Scope::One, "656008045101 656008045102"),
        (&person, Scope::Sub, "uid=656005750109 656008045101 656008045102 656014452101 656014452102 656014452103"),
        (&membership, Scope::One, "656014452101 656014452102"),
        (&membership, Scope::Sub, "656008045101 656014452101 656014452102"),
        (&role_dn, Scope::One, ""),
    ] {
        let told = search(&site, &asked(base, scope, present("objectClass"), &["1.1"]), None).unwrap();
        assert_eq!((told.code, ids(&told).join(" ").as_str()), (Code::Success, wanted), "{base} {scope:?}");
    }
    for nowhere in [
        format!("uid={ABE},{PEOPLE}"),
        format!("uid=656005750199,{PEOPLE}"),
        format!("uniqueIdentifier=656008045103,uid={NINA},{PEOPLE}"),
        format!("uniqueIdentifier=656014452107,uniqueIdentifier=656008045101,uid={NINA},{PEOPLE}"),
        "uniqueIdentifier=555000000009,ou=Workgroups,o=nhs".into(),
    ] {
        let told = search(&site, &asked(&nowhere, Scope::Sub, present("objectClass"), &[]), None).unwrap();
        assert_eq!(told.code, Code::NoSuchObject, "{nowhere}");
        assert_eq!(compare(&site, &nowhere, "objectClass", "top").unwrap(), Code::NoSuchObject);
    }
    assert_eq!(compare(&site, &role_dn, "nhsJobRoleCode", "S8000:G8000:R8001").unwrap(), Code::CompareTrue);
}

#[test]
fn nothing_that_a_person_proves_themself_by_is_told() {
    let site = staff();
    let secret = users::authenticator(&site, NINA, Proof::OneTimeCode).unwrap().unwrap().secret.0;
    assert!(secret.len() > 20);
    let all = search(&site, &asked("o=nhs", Scope::Sub, present("objectClass"), &["*", "+"]), None).unwrap();
    let shown = format!("{:?}", all.entries);
    assert!(shown.contains(NINA) && shown.contains("Nina@example.nhs.uk"));
    for hidden in [secret.as_str(), "19800704", "1980", ABE, "Applicant", "totp", "password", "Secret"] {
        assert!(!shown.contains(hidden), "{hidden}");
    }
    for name in ["userPassword", "nhsPuSecret", "userCertificate", "born", "totp_secret"] {
        let told = search(&site, &asked("o=nhs", Scope::Sub, present(name), &[]), None).unwrap();
        assert!(told.entries.is_empty(), "{name}");
        assert_eq!(compare(&site, &format!("uid={NINA},{PEOPLE}"), name, "x").unwrap(), Code::NoSuchAttribute);
    }
}

#[test]
fn the_schema_knows_every_attribute_and_every_attribute_can_be_asked_for() {
    let site = staff();
    let all = search(&site, &asked("o=nhs", Scope::Sub, present("objectClass"), &[]), None).unwrap();
    assert_eq!(all.entries.len(), 6 + 2 + 2 + 3 + 4 + 2);
    let schema = search(&site, &asked("cn=Subschema", Scope::Base, present("objectClass"), &["*", "+"]), None).unwrap();
    let schema = format!("{:?}", schema.entries);
    for entry in &all.entries {
        for (name, values) in &entry.attributes {
            assert!(schema.contains(&format!("'{name}'")), "{name}");
            let told = search(&site, &asked("o=nhs", Scope::Sub, present(name), &[]), None).unwrap();
            assert!(told.entries.iter().any(|e| e.dn == entry.dn), "{} by {name}", entry.dn);
            // Look-ups promise too much at most: each value finds its entry.
            let told = search(&site, &asked("o=nhs", Scope::Sub, equal(name, &values[0]), &[]), None).unwrap();
            assert!(told.entries.iter().any(|e| e.dn == entry.dn), "{} by {name}={}", entry.dn, values[0]);
        }
    }
}

#[test]
fn look_ups_follow_their_rows() {
    let mut site = staff();
    let found = |site: &MapStore, filter: Filter| {
        let told = search(site, &asked(PEOPLE, Scope::Sub, filter, &["1.1"]), None).unwrap();
        ids(&told).join(" ")
    };
    let married = SetUser { uid: DORA.into(), family: "Medic".into(), ..Default::default() };
    done(&mut site, married);
    assert_eq!(found(&site, equal("sn", "Doctor")), "");
    assert_eq!(found(&site, equal("sn", "Medic")), "uid=656005750107 656008045103");
    // Of rows that are left behind a search would not tell, because entries are matched: they are counted.
    let lookups = |site: &MapStore| site.scan(Table::StaffLookups.key().prefix(), false, 999).unwrap().len();
    let before = lookups(&site);
    done(&mut site, role("656014452107", DORA, "X26", "", vec![]));
    assert_eq!(found(&site, equal("nhsWorkGroupsCodes", WARD)), "656014452101");
    assert_eq!(lookups(&site), before - 2);
    done(&mut site, role("656014452101", NINA, "X26", "", vec![]));
    let told = search(&site, &asked("ou=Workgroups,o=nhs", Scope::One, present("cn"), &[]), None).unwrap();
    assert_eq!(ids(&told), ["555000000002"], "a workgroup is there while a role profile names it");
    done(&mut site, EndRole { urp: "656014452101".into(), ..Default::default() });
    let told = search(&site, &asked(PEOPLE, Scope::Sub, present("nhsOrgCloseDate"), &["1.1"]), None).unwrap();
    assert_eq!(ids(&told), ["656014452101"]);
    let closed = StandUser { uid: DORA.into(), state: State::Closed as u8, ..Default::default() };
    done(&mut site, closed);
    assert_eq!(found(&site, equal("mail", "Dora@example.nhs.uk")), "", "who has left has no address any more");
    assert_eq!(found(&site, equal("nhsPersonStatus", "closed")), "uid=656005750107");
}

#[test]
fn rows_of_before_there_were_look_ups_get_them_at_their_next_change() {
    let mut site = staff();
    site.0.retain(|key, _| key[0] != Table::StaffLookups as u8);
    let mut row = users::user(&site, DORA).unwrap().unwrap();
    row.generation = 0;
    site.0.insert(users::user_key(DORA).build(), crate::wire::record::Record::encode(&row));
    let mut profile = users::role(&site, "656014452107").unwrap().unwrap();
    profile.generation = 0;
    site.0.insert(users::role_key("656014452107").build(), crate::wire::record::Record::encode(&profile));
    let found = |site: &MapStore, filter: Filter| {
        let told = search(site, &asked(PEOPLE, Scope::Sub, filter, &["1.1"]), None).unwrap();
        ids(&told).join(" ")
    };
    assert_eq!(found(&site, equal("uid", DORA)), "uid=656005750107 656008045103");
    assert_eq!(found(&site, equal("sn", "Doctor")), "");
    done(&mut site, SetUser { uid: DORA.into(), ..Default::default() });
    assert_eq!(found(&site, equal("sn", "Doctor")), "uid=656005750107 656008045103");
    assert_eq!(found(&site, equal("nhsIDCode", "X26")), "656008045103 656014452107");
}

/// Many at one hospital, few of any one name.
fn crowd(count: usize) -> MapStore {
    let mut site = MapStore::default();
    done(&mut site, SetOrganisation { ods: "X26".into(), name: "H".into(), ..Default::default() });
    opened(&mut site);
    for n in 0..count {
        let uid = format!("{:012}", 600_000_000_000 + n);
        let family = format!("Family{n}");
        let (given, level) = ("Sam".into(), 4);
        done(&mut site, SetUser { uid: uid.clone(), given, family, identity_level: level, ..Default::default() });
        let state = State::IdentityVerified as u8;
        done(&mut site, StandUser { uid: uid.clone(), state, ..Default::default() });
        let urp = format!("{:012}", 700_000_000_000 + n);
        done(&mut site, role(&urp, &uid, "X26", &format!("{:012}", 800_000_000_000 + n), vec![coded(WARD, "W")]));
    }
    site
}

#[test]
fn a_look_up_reads_what_it_shows_however_many_work_here() {
    let cost = |count: usize| -> Vec<usize> {
        let site = crowd(count);
        let questions =
            [equal("uid", "600000000007"), equal("sn", "family7"), equal("uniqueIdentifier", "700000000007")];
        let read = |filter: Filter| {
            let counting = Counting(&site, Cell::new(0));
            let told = search(&counting, &asked(PEOPLE, Scope::Sub, filter, &[]), None).unwrap();
            assert!(!told.entries.is_empty() && told.code == Code::Success);
            counting.1.get()
        };
        let mut all: Vec<usize> = questions.into_iter().map(read).collect();
        let counting = Counting(&site, Cell::new(0));
        search(&counting, &asked("ou=Workgroups,o=nhs", Scope::Sub, present("cn"), &[]), None).unwrap();
        all.push(counting.1.get());
        all
    };
    let (few, many) = (cost(40), cost(400));
    for (question, (few, many)) in few.iter().zip(&many).enumerate() {
        assert!(*many <= few + 24, "question {question}: {few} rows of 40 people, {many} of 400");
    }
}

#[test]
fn pages_of_people_together_are_the_whole() {
    let site = staff();
    for filter in
        [present("objectClass"), equal("nhsIDCode", "X26"), present("nhsJobRole"), equal("objectClass", "nhsWg")]
    {
        let whole = search(&site, &asked("o=nhs", Scope::Sub, filter.clone(), &["1.1"]), None).unwrap();
        for size in [1, 2, 5] {
            let (mut seen, mut cookie) = (vec![], vec![]);
            loop {
                let paged = Paged { size, cookie };
                let told = search(&site, &asked("o=nhs", Scope::Sub, filter.clone(), &["1.1"]), Some(&paged)).unwrap();
                seen.extend(told.entries);
                cookie = told.cookie.unwrap();
                if cookie.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, whole.entries);
        }
    }
}
