//! Whatever becomes of a message on its way, reading it ends in a message or in issues.

use super::*;
use crate::services::eps::read::{order, parsers};
use proptest::prelude::*;

/// Every function on one message, whatever it is; each must end, and a refusal must say something.
fn read_all(root: &Value) {
    let mut refusals = parsers::of(root, now());
    refusals.extend(order::store(root, u64::MAX, Some(0)).err());
    for refusal in refusals {
        assert!(!refusal.issues.is_empty() && refusal.issues.len() <= 100);
        assert!(refusal.outcome(root, now())["issue"][0]["severity"].is_string());
        for issue in &refusal.issues {
            let said = !issue.diagnostics.is_empty() || issue.coding.as_ref().is_some_and(|c| !c.display.is_empty());
            assert!(said && (!issue.expression.is_empty() || !root.is_object()), "path and rule: {issue:?}");
        }
        assert!(matches!(refusal.status(), 200 | 400 | 403));
    }
}

/// Pointers of every value in a message.
fn places(value: &Value, at: &mut String, out: &mut Vec<String>) {
    out.push(at.clone());
    let length = at.len();
    let mut down = |name: &str, child: &Value| {
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        places(child, at, out);
        at.truncate(length);
    };
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(n, item)| down(&n.to_string(), item)),
        Value::Object(members) => members.iter().for_each(|(name, member)| down(name, member)),
        _ => {}
    }
}

/// What a value becomes.
fn put(kind: u8, old: &Value) -> Value {
    match kind {
        0 => Value::Null,
        1 => json!(""),
        2 => json!(-1),
        3 => json!(1e300),
        4 => json!([]),
        5 => json!({}),
        6 => json!([old, old]),
        7 => json!({"reference": "#", "extension": [old], "coding": [old]}),
        8 => json!("é".repeat(25)),
        9 => json!("9999999999999999999"),
        10 => json!("2022-10-21"),
        _ => json!(true),
    }
}

fn mutate(root: &mut Value, pick: usize, kind: u8) {
    let mut all = Vec::new();
    places(root, &mut String::new(), &mut all);
    let Some(place) = all.get(pick % all.len()) else { return };
    if kind >= 12 {
        let Some((parent, name)) = place.rsplit_once('/') else { return };
        match root.pointer_mut(parent) {
            Some(Value::Object(members)) => drop(members.remove(name)),
            Some(Value::Array(items)) if kind == 13 => {
                let twice = items.first().cloned();
                items.extend(twice);
            }
            Some(Value::Array(items)) => drop(items.pop()),
            _ => {}
        }
        return;
    }
    if let Some(value) = root.pointer_mut(place) {
        let new = put(kind, value);
        *value = new;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_message_breaks_the_reader(
        which in 0..EXAMPLES.len(),
        changes in prop::collection::vec((any::<usize>(), 0u8..14), 1..6),
    ) {
        let (name, _) = EXAMPLES[which];
        let mut message = example(name);
        for (pick, kind) in changes {
            mutate(&mut message, pick, kind);
        }
        read_all(&message);
    }

    #[test]
    fn no_bytes_break_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = parse(&bytes) {
            read_all(&value);
        }
    }

    #[test]
    fn no_text_breaks_the_ids(text in ".{0,40}") {
        use crate::services::eps::ids;
        let _ = (ids::uuid(&text), ids::ods(&text), ids::key(&text), ids::make(1, &text, 2), ids::check_character(&text));
        if let Ok(id) = ids::short(&text) {
            prop_assert_eq!(ids::short(&id), Ok(id));
        }
    }
}

/// A mebibyte of what is wrong a hundred thousand times gets a short answer.
#[test]
fn a_body_full_of_faults_gets_a_short_answer() {
    let mut message = example("01-order-acute-nominated/order-request");
    let telecom =
        json!({"fullUrl": "x", "resource": {"resourceType": "PractitionerRole", "telecom": vec![json!({}); 1_000]}});
    let entries = message["entry"].as_array_mut().expect("entries");
    entries.resize(350, telecom);
    let problems = order::check(&message).expect_err("refused");
    assert_eq!(problems.issues.len(), 100);
}

/// Every single member of every message gone, one at a time.
#[test]
fn no_missing_member_breaks_the_reader() {
    for (name, _) in EXAMPLES.iter().filter(|(name, _)| !name.ends_with("response")) {
        let message = example(name);
        let mut all = Vec::new();
        places(&message, &mut String::new(), &mut all);
        for pick in (0..all.len()).step_by(7) {
            let mut one = message.clone();
            mutate(&mut one, pick, 12);
            read_all(&one);
        }
    }
}
