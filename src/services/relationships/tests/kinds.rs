//! Who may create what: every kind by every kind of caller, against the table of the specification.

use super::*;
use crate::services::relationships::kinds::{Holder, KINDS};

/// A body that is right for a kind.
fn body(kind: &str, holder: Holder) -> Value {
    let holder = match holder {
        Holder::Either | Holder::Workgroup => json!({"workgroup": "555000000001"}),
        Holder::Colleague => json!({"user": "656005750199"}),
        Holder::Oneself => json!({}),
    };
    json!({"kind": kind, "holder": holder, "reason": "said so"})
}

#[test]
fn each_kind_is_created_by_those_whom_the_table_names() {
    let mut tried = 0;
    for kind in &KINDS {
        let needed: Vec<&str> = kind.activities.iter().take(1).copied().collect();
        let citizen = Caller { level: "P9".into(), user: String::new(), nhs_number: JANE.into(), ..system() };
        let callers = [
            ("system", system(), kind.systems),
            ("staff with it", staff("1", &needed), kind.holder != Holder::Colleague),
            ("staff without", staff("1", &["B0001"]), needed.is_empty() && kind.holder != Holder::Colleague),
            ("citizen", citizen, false),
        ];
        for (who, caller, may) in callers {
            let mut site = Site::new(1);
            let (status, told) = site.create(&caller, JANE, body(kind.name, kind.holder));
            assert_eq!(status == 201, may, "{} by {who}: {told}", kind.name);
            assert!(may || status == 403, "{} by {who}: {status}", kind.name);
            assert_eq!(site.notes.iter().filter(|n| n.subject == JANE).count(), site.notes.len());
            let alerts = site.notes.iter().filter(|n| n.interaction == "alerts.raise").count();
            assert_eq!(alerts, usize::from(may && kind.alert.is_some()), "{} by {who}", kind.name);
            tried += 1;
        }
        if kind.days != 0 && kind.holder != Holder::Colleague {
            let mut site = Site::new(1);
            let id = site.created(&staff("1", &needed), JANE, body(kind.name, kind.holder));
            site.pass(kind.days * DAY);
            assert_eq!(site.state(JANE, &id), "expired", "{} after {} days", kind.name, kind.days);
        }
    }
    assert_eq!(tried, 40);
}

#[test]
fn a_colleague_is_granted_only_by_who_has_access() {
    for mut site in sites() {
        let grant = json!({"kind": "colleague-granted", "holder": {"user": "656005750199"}});
        assert_eq!(code(&site.create(&nurse(), JANE, grant.clone())), (403, "ACCESS_DENIED"));
        site.created(&nurse(), JANE, json!({"kind": "self-claimed", "reason": "at the bedside"}));
        site.created(&nurse(), JANE, grant.clone());
        let colleague = staff("656005750199", &[]);
        assert!(site.access(&colleague, JANE, ""));
        let oneself = json!({"kind": "colleague-granted", "holder": {"user": nurse().user}});
        assert_eq!(code(&site.create(&nurse(), JANE, oneself)), (400, "INVALID_VALUE"));
        // What was granted ends with the claim.
        site.pass(DAY - 1);
        assert!(site.access(&nurse(), JANE, "") && site.access(&colleague, JANE, ""));
        site.pass(1);
        assert!(!site.access(&nurse(), JANE, "") && !site.access(&colleague, JANE, ""));
    }
}

#[test]
fn what_is_asked_for_wrongly_is_refused_by_name() {
    let mut site = Site::new(3);
    let right = json!({"kind": "referral", "holder": {"workgroup": "555000000001"}});
    let with = |name: &str, value: Value| {
        let mut body = right.clone();
        body[name] = value;
        body
    };
    for (what, body, expected) in [
        ("no kind", json!({}), (400, "MISSING_VALUE")),
        ("a kind that is none", with("kind", json!("friend")), (400, "INVALID_VALUE")),
        ("two holders", with("holder", json!({"workgroup": "1", "user": "2"})), (400, "INVALID_VALUE")),
        ("no holder", with("holder", json!({})), (400, "INVALID_VALUE")),
        ("a holder of another kind", with("holder", json!({"ward": "7"})), (400, "INVALID_VALUE")),
        ("another member", with("state", json!("active")), (400, "INVALID_VALUE")),
        ("a text that is none", with("reason", json!(7)), (400, "INVALID_VALUE")),
        ("a long text", with("reason", json!("x".repeat(501))), (400, "INVALID_VALUE")),
        ("days that are none", with("days", json!(-1)), (400, "INVALID_VALUE")),
        ("another's organisation", with("organisation", json!("RR8")), (403, "ACCESS_DENIED")),
    ] {
        assert_eq!(code(&site.create(&system(), JANE, body)), expected, "{what}");
    }
    assert_eq!(code(&site.create(&system(), "9990000019", right.clone())), (400, "INVALID_VALUE"));
    assert_eq!(site.last_note().subject, "", "no number, no subject");
    let claim = json!({"kind": "self-claimed", "reason": "  "});
    assert_eq!(code(&site.create(&nurse(), JANE, claim)), (400, "MISSING_VALUE"), "a claim says why");
    let nowhere = Caller { ods: String::new(), ..nurse() };
    let claim = json!({"kind": "self-claimed", "reason": "on call"});
    assert_eq!(code(&site.create(&nowhere, JANE, claim)), (403, "ACCESS_DENIED"), "nobody would be told");
    assert_eq!(
        code(&site.get(&nurse(), &format!("/patients/{JANE}/relationships/check?user=1"))),
        (403, "ACCESS_DENIED")
    );
    let short = with("days", json!(3));
    let id = site.created(&system(), JANE, short);
    site.pass(3 * DAY);
    assert_eq!(site.state(JANE, &id), "expired", "a life may be shorter than its kind's");
}

#[test]
fn a_grant_ends_with_what_it_stands_on_and_is_not_granted_on() {
    for mut site in sites() {
        let grant = |user: &str| json!({"kind": "colleague-granted", "holder": {"user": user}});
        let (first, second) = (nurse(), staff("656005750199", &[]));
        site.created(&first, JANE, json!({"kind": "self-claimed", "reason": "in the emergency department"}));
        site.created(&first, JANE, grant(&second.user));
        // Not on to a third, and not back to the first.
        for to in ["656005750198", first.user.as_str()] {
            let told = site.create(&second, JANE, grant(to));
            assert_eq!(code(&told), (403, "ACCESS_DENIED"), "{to}");
        }
        site.pass(DAY + 1);
        assert!(!site.access(&first, JANE, "") && !site.access(&second, JANE, ""), "both are over");
        // Of several relationships the one that lasts longest counts.
        site.created(&first, JANE, json!({"kind": "self-claimed", "reason": "again"}));
        site.created(&system(), JANE, json!({"kind": "referral", "holder": {"user": first.user}, "reference": "1"}));
        site.created(&first, JANE, grant(&second.user));
        site.pass(7 * DAY - 1);
        assert!(site.access(&second, JANE, ""));
        site.pass(1);
        assert!(!site.access(&second, JANE, ""));
    }
}
