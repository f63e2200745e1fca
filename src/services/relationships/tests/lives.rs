//! From active to its end: frozen, closed with and without grace, expired by the timer and before it.

use super::*;

#[test]
fn a_referral_lives_its_ninety_days_and_gives_access_to_its_workgroup_alone() {
    for mut site in sites() {
        let body = json!({"kind": "referral", "holder": {"workgroup": "555000000001"}, "reference": "000000070000"});
        let id = site.created(&system(), JANE, body);
        assert_eq!((site.last_note().subject.as_str(), site.last_note().workgroup.as_str()), (JANE, "555000000001"));
        assert!(site.access(&system(), JANE, "workgroup=555000000001"));
        assert_eq!(
            site.last_note().purpose,
            format!("referral relationship {id}"),
            "the access reason is in the trail"
        );
        for other in ["workgroup=555000000002", "user=656005750107"] {
            assert!(!site.access(&system(), JANE, other), "{other}");
        }
        assert!(!site.access(&system(), JOHN, "workgroup=555000000001"), "one patient's is not another's");
        assert_eq!(site.last_note().purpose, "no relationship");
        site.pass(90 * DAY - 1);
        assert!(site.access(&system(), JANE, "workgroup=555000000001"));
        // The moment it ends, whether or not the timer has fired.
        site.now += 1;
        assert!(!site.access(&system(), JANE, "workgroup=555000000001"));
        assert_eq!(site.state(JANE, &id), "expired");
        site.pass(0);
        assert_eq!((site.state(JANE, &id).as_str(), site.timers.len()), ("expired", 0));
        assert_eq!(site.notes.iter().filter(|n| n.interaction == "relationships.expire").count(), 1);
    }
}

#[test]
fn frozen_gives_no_access_and_ends_all_the_same() {
    for mut site in sites() {
        let holder = json!({"workgroup": "555000000001"});
        let id = site.created(&system(), JANE, json!({"kind": "self-referral", "holder": holder}));
        let freeze = format!("/patients/{JANE}/relationships/{id}/freeze");
        assert_eq!(code(&site.post(&system(), &freeze, json!({}))), (400, "MISSING_VALUE"));
        assert_eq!(site.post(&system(), &freeze, json!({"reason": "left the ward"})).0, 200);
        assert!(!site.access(&system(), JANE, "workgroup=555000000001"));
        assert_eq!(code(&site.post(&system(), &freeze, json!({"reason": "again"}))), (409, "CONFLICT"));
        site.pass(30 * DAY);
        assert_eq!(site.state(JANE, &id), "expired");
        assert_eq!(code(&site.post(&system(), &freeze, json!({"reason": "late"}))), (409, "CONFLICT"));
    }
}

#[test]
fn a_registration_ends_after_its_grace_or_at_once() {
    for mut site in sites() {
        let registration = json!({"kind": "registration", "holder": {"workgroup": "555000000001"}});
        let id = site.created(&system(), JANE, registration.clone());
        assert_eq!(code(&site.create(&system(), JANE, registration.clone())), (409, "CONFLICT"), "one is enough");
        site.pass(1_000 * DAY);
        assert!(site.access(&system(), JANE, "workgroup=555000000001"), "it has no end of its own");
        let close = format!("/patients/{JANE}/relationships/{id}/close");
        let (status, ending) = site.post(&system(), &close, json!({"reason": "deregistered"}));
        assert_eq!((status, &ending["state"]), (200, &json!("active")));
        site.pass(30 * DAY - 1);
        assert!(site.access(&system(), JANE, "workgroup=555000000001"));
        site.pass(1);
        assert_eq!(site.state(JANE, &id), "closed");
        let id = site.created(&system(), JANE, registration);
        let close = format!("/patients/{JANE}/relationships/{id}/close");
        assert_eq!(site.post(&system(), &close, json!({"reason": "a mistake", "immediately": true})).0, 200);
        assert!(!site.access(&system(), JANE, "workgroup=555000000001"));
        assert_eq!(site.state(JANE, &id), "closed");
    }
}

#[test]
fn a_repeat_makes_no_second_one() {
    for mut site in sites() {
        let body = json!({"kind": "self-claimed", "reason": "on call tonight"}).to_string();
        let id = Some("60e0b220-8136-4ca5-ae46-1d97ef59d068");
        let path = format!("/patients/{JANE}/relationships");
        let first = site.raw(&nurse(), "POST", &path, id, body.as_bytes());
        assert_eq!(first.0, 201);
        assert_eq!(site.raw(&nurse(), "POST", &path, id, body.as_bytes()), first);
        let (_, alerts) = site.get(&officer(), "/alerts");
        assert_eq!(alerts["items"].as_array().unwrap().len(), 1, "and no second alert");
        for none in [None, Some("not-a-uuid")] {
            assert_eq!(code(&site.raw(&nurse(), "POST", &path, none, body.as_bytes())), (400, "MISSING_VALUE"));
            assert_eq!(site.last_note().outcome, "MISSING_VALUE");
        }
    }
}

#[test]
fn who_treats_a_patient_elsewhere_is_not_told() {
    for mut site in sites() {
        let elsewhere = Caller { ods: "RR8".into(), ..system() };
        let theirs =
            site.created(&elsewhere, JANE, json!({"kind": "referral", "holder": {"workgroup": "555000000009"}}));
        site.now += 1;
        let ours =
            site.created(&system(), JANE, json!({"kind": "registration", "holder": {"workgroup": "555000000001"}}));
        let listed = |site: &mut Site, caller: &Caller| -> Vec<String> {
            let (_, list) = site.get(caller, &format!("/patients/{JANE}/relationships"));
            let items = list["items"].as_array().unwrap();
            items.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(listed(&mut site, &nurse()), std::slice::from_ref(&ours));
        assert_eq!(listed(&mut site, &officer()), [theirs.clone(), ours], "who looks after privacy sees all");
        let close = format!("/patients/{JANE}/relationships/{theirs}/close");
        assert_eq!(code(&site.post(&system(), &close, json!({"reason": "x"}))), (404, "NOT_FOUND"));
        assert_eq!(code(&site.post(&officer(), &close, json!({"reason": "x"}))), (403, "ACCESS_DENIED"));
        assert_eq!(site.get(&nurse(), &format!("/patients/{JANE}/relationships/{theirs}")).0, 404);
        assert!(site.access(&system(), JANE, "workgroup=555000000009"), "nothing was closed");
    }
}

#[test]
fn a_list_of_any_length_comes_in_pages() {
    let mut site = Site::new(3);
    for n in 0..120 {
        let body = json!({"kind": "referral", "holder": {"workgroup": format!("5550000{n:05}")}});
        site.created(&system(), JANE, body);
        site.now += 1;
    }
    let (mut seen, mut after) = (vec![], String::new());
    loop {
        let (_, page) = site.get(&nurse(), &format!("/patients/{JANE}/relationships?after={after}"));
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 50);
        seen.extend(items.iter().map(|row| row["holder"]["workgroup"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = (0..120).map(|n| format!("5550000{n:05}")).collect();
    assert_eq!(seen, expected);
}
