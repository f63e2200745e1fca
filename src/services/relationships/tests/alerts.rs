//! Alerts: who gets which, from new to closed, and never without the act that they tell of.

use super::*;

fn claim(site: &mut Site) -> String {
    site.created(&nurse(), JANE, json!({"kind": "self-claimed", "reason": "on call tonight"}))
}

fn open(site: &mut Site, caller: &Caller) -> Vec<Value> {
    let (status, list) = site.get(caller, "/alerts");
    assert_eq!(status, 200, "{list}");
    list["items"].as_array().unwrap().clone()
}

#[test]
fn a_claim_reaches_the_privacy_officers_of_the_organisation() {
    for mut site in sites() {
        let relationship = claim(&mut site);
        let found = open(&mut site, &officer());
        assert_eq!(found.len(), 1);
        let alert = &found[0];
        for (member, value) in [
            ("kind", "self-claimed"),
            ("state", "new"),
            ("patient", JANE),
            ("reason", "on call tonight"),
            ("organisation", "A83001"),
            ("relationship", relationship.as_str()),
        ] {
            assert_eq!(alert[member], value);
        }
        assert_eq!(
            (&alert["by"]["user"], &alert["by"]["at"]),
            (&json!(nurse().user), &json!("2026-11-22T00:59:33.579Z"))
        );
        let shown = site.notes.iter().filter(|n| n.interaction == "alerts.list" && n.subject == JANE).count();
        assert_eq!(shown, 1, "whose data a list shows is in the trail");
        let elsewhere = Caller { ods: "RR8".into(), ..officer() };
        assert!(open(&mut site, &elsewhere).is_empty());
        let of_emergencies = staff("555254240101", &["B0015"]);
        assert!(open(&mut site, &of_emergencies).is_empty(), "another activity receives claims");
        let id = alert["id"].as_str().unwrap();
        assert_eq!(site.get(&elsewhere, &format!("/alerts/{id}")).0, 404);
        assert_eq!(site.get(&of_emergencies, &format!("/alerts/{id}")).0, 404);
        assert_eq!(site.get(&officer(), &format!("/alerts/{id}")), (200, alert.clone()));
    }
}

#[test]
fn an_alert_is_acknowledged_then_closed_with_a_note() {
    for mut site in sites() {
        claim(&mut site);
        let id = open(&mut site, &officer())[0]["id"].as_str().unwrap().to_owned();
        let (acknowledge, close) = (format!("/alerts/{id}/acknowledge"), format!("/alerts/{id}/close"));
        let note = json!({"note": "rota checked: she was on call"});
        assert_eq!(
            code(&site.post(&officer(), &close, note.clone())),
            (409, "CONFLICT"),
            "not before it is acknowledged"
        );
        assert_eq!(code(&site.post(&nurse(), &acknowledge, json!({}))), (404, "NOT_FOUND"), "nobody clears himself");
        let (status, told) = site.post(&officer(), &acknowledge, json!({}));
        assert_eq!((status, &told["state"]), (200, &json!("acknowledged")));
        assert_eq!(open(&mut site, &officer()).len(), 1, "it waits until it is closed");
        assert_eq!(code(&site.post(&officer(), &close, json!({}))), (400, "MISSING_VALUE"));
        let (status, told) = site.post(&officer(), &close, note.clone());
        assert_eq!((status, &told["state"], &told["note"]), (200, &json!("closed"), &note["note"]));
        assert_eq!(told["closed"]["user"], officer().user);
        assert_eq!(site.last_note().subject, JANE);
        assert!(open(&mut site, &officer()).is_empty());
        let (_, all) = site.get(&officer(), "/alerts?state=all");
        assert_eq!(all["items"].as_array().unwrap().len(), 1, "it is kept");
        assert_eq!(code(&site.post(&officer(), &close, note)), (409, "CONFLICT"));
        assert_eq!(code(&site.get(&officer(), "/alerts?state=none")), (400, "INVALID_VALUE"));
    }
}

#[test]
fn an_emergency_is_recorded_with_its_purpose_and_told() {
    for mut site in sites() {
        let paramedic = staff("656005750120", &["B0168"]);
        let emergency = json!({"kind": "emergency", "reason": "unconscious at the roadside"});
        assert_eq!(code(&site.create(&nurse(), JANE, emergency.clone())), (403, "ACTIVITY_MISSING"));
        site.created(&paramedic, JANE, emergency);
        let note = site.notes.iter().find(|n| n.interaction == "relationships.create" && n.outcome == "ok").unwrap();
        assert_eq!(note.purpose, "emergency: unconscious at the roadside");
        assert!(site.access(&paramedic, JANE, ""));
        let found = open(&mut site, &officer());
        assert_eq!((found.len(), &found[0]["kind"]), (1, &json!("emergency-view")));
        site.pass(DAY);
        assert!(!site.access(&paramedic, JANE, ""));
        assert_eq!(open(&mut site, &officer()).len(), 1, "the alert does not end with the access");
    }
}

#[test]
fn a_second_claim_within_the_day_is_no_second_alert() {
    let mut site = Site::new(3);
    claim(&mut site);
    let again = json!({"kind": "self-claimed", "reason": "again"});
    assert_eq!(code(&site.create(&nurse(), JANE, again.clone())), (409, "CONFLICT"));
    site.pass(DAY);
    site.created(&nurse(), JANE, again);
    assert_eq!(open(&mut site, &officer()).len(), 2);
}

#[test]
fn a_queue_of_any_length_comes_in_pages() {
    let mut site = Site::new(3);
    for n in 0..120 {
        site.created(&staff(&format!("{n:012}"), &[]), JANE, json!({"kind": "self-claimed", "reason": "busy"}));
        site.now += 1;
    }
    let (mut seen, mut after) = (vec![], String::new());
    loop {
        let (_, page) = site.get(&officer(), &format!("/alerts?after={after}"));
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 50);
        seen.extend(items.iter().map(|a| a["by"]["user"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, (0..120).map(|n| format!("{n:012}")).collect::<Vec<_>>(), "oldest first");
}
