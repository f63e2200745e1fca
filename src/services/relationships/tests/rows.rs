//! The rows of the gate's table say what is asked for here, and nothing that is not: each is measured.

use super::*;
use crate::access::{
    conditions::{Organisation, Purpose, Relationship},
    rules,
};

const CLAIM: &str = "self-claimed";

/// A site where a nurse of A83001 has claimed a relationship: her site, its id, its alert's.
fn claimed() -> (Site, String, String) {
    let mut site = Site::new(3);
    let id = site.created(&nurse(), JANE, json!({"kind": CLAIM, "reason": "on call tonight"}));
    let (_, alerts) = site.get(&officer(), "/alerts");
    let alert = alerts["items"][0]["id"].as_str().unwrap().to_owned();
    (site, id, alert)
}

/// Does it as `caller`, with a reason or note or without: whether that is done, and is about something.
fn does(interaction: &str, caller: &Caller, said: &str) -> bool {
    let (mut site, id, alert) = claimed();
    let of_jane = format!("/patients/{JANE}/relationships");
    let reason = json!({"reason": said});
    let about = |told: (u16, Value)| told.0 == 200 && told.1["items"].as_array().is_some_and(|items| !items.is_empty());
    match interaction {
        "relationships.create" => {
            let claim = json!({"kind": CLAIM, "reason": said, "organisation": "A83001"});
            site.create(caller, JOHN, claim).0 == 201
        }
        "relationships.list" => about(site.get(caller, &of_jane)),
        "relationships.check" => site.get(caller, &format!("{of_jane}/check")).0 == 200,
        "relationships.read" => site.get(caller, &format!("{of_jane}/{id}")).0 == 200,
        "relationships.freeze" => site.post(caller, &format!("{of_jane}/{id}/freeze"), reason).0 == 200,
        "relationships.close" => site.post(caller, &format!("{of_jane}/{id}/close"), reason).0 == 200,
        "alerts.list" => about(site.get(caller, "/alerts")),
        "alerts.read" => site.get(caller, &format!("/alerts/{alert}")).0 == 200,
        "alerts.acknowledge" => site.post(caller, &format!("/alerts/{alert}/acknowledge"), json!({})).0 == 200,
        "alerts.close" => {
            assert_eq!(site.post(&officer(), &format!("/alerts/{alert}/acknowledge"), json!({})).0, 200);
            site.post(caller, &format!("/alerts/{alert}/close"), json!({"note": said})).0 == 200
        }
        other => panic!("{other} is not tried"),
    }
}

/// Who may do it at home: a nurse, or of alerts an officer.
fn at_home(interaction: &str) -> Caller {
    if interaction.starts_with("alerts.") { officer() } else { nurse() }
}

fn rows() -> impl Iterator<Item = &'static crate::access::gate::Rule> {
    rules::RELATIONSHIPS.iter().filter(|rule| rule.interaction != "relationships.not_found")
}

#[test]
fn the_own_organisation_is_asked_for_where_the_row_says_so() {
    for rule in rows() {
        let home = at_home(rule.interaction);
        let user = "656005750999".to_owned();
        let elsewhere = Caller { ods: "RR8".into(), user: user.clone(), ..home.clone() };
        let privacy = Caller { ods: "RR8".into(), user, ..officer() };
        let done = [&home, &elsewhere, &privacy].map(|caller| does(rule.interaction, caller, "a good reason"));
        let asked = match done {
            [true, true, true] => Organisation::Active,
            [true, false, true] => Organisation::OwnOrPrivacy,
            [true, false, false] => Organisation::Own,
            other => panic!("{}: {other:?}", rule.interaction),
        };
        assert_eq!(rule.organisation, asked, "{}", rule.interaction);
    }
}

#[test]
fn a_purpose_is_asked_for_or_recorded_where_the_row_says_so() {
    for rule in rows() {
        let without = does(rule.interaction, &at_home(rule.interaction), "");
        // Another kind of relationship needs no reason.
        let (mut site, ..) = claimed();
        let other_kind = json!({"kind": "referral", "holder": {"workgroup": "555012345678"}});
        let asked = match (without, rule.interaction) {
            (false, "relationships.create") if site.create(&system(), JANE, other_kind).0 == 201 => {
                Purpose::ReasonByKind
            }
            (false, "alerts.close") => Purpose::Note,
            (false, _) => Purpose::Reason,
            (true, "relationships.check") => {
                site.access(&nurse(), JANE, "");
                let found = site.last_note().purpose.clone();
                site.access(&nurse(), JOHN, "");
                assert!(found.starts_with("self-claimed") && site.last_note().purpose == "no relationship");
                Purpose::Recorded
            }
            (true, _) => Purpose::Any,
        };
        assert_eq!(rule.purpose, asked, "{}", rule.interaction);
    }
}

#[test]
fn a_relationship_is_asked_for_to_grant_one_and_for_nothing_else() {
    for rule in rows() {
        let grant = json!({"kind": "colleague-granted", "holder": {"user": "656005750998"}});
        let (mut site, ..) = claimed();
        let colleague = staff("656005750997", &["B0820"]);
        let asked = match rule.interaction {
            "relationships.create" => {
                assert_eq!(site.create(&nurse(), JANE, grant.clone()).0, 201, "she has one of her own");
                claimed().0.create(&colleague, JANE, grant).0 == 403
            }
            // By colleagues without one.
            other => !does(other, &Caller { user: colleague.user.clone(), ..at_home(other) }, "a good reason"),
        };
        let wanted = if asked { Relationship::ToGrant } else { Relationship::Any };
        assert_eq!(rule.relationship, wanted, "{}", rule.interaction);
    }
}
