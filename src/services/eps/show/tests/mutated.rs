//! No message, however it is broken, breaks an answer: every member of a document is replaced by everything that it should not be.

use super::{chain, example, ids, json};
use crate::services::eps::{
    show::{
        cancel,
        document::Document,
        exact,
        release::{self, Given},
        tracker::{self, Detailed},
    },
    status::{self, StatusUpdate},
    steps::{Cancelled, Code},
};
use serde_json::{Value, json};

/// Pointers to every member of a value.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(all) => all.iter().map(|(n, v)| (n.replace('~', "~0").replace('/', "~1"), v)).collect(),
        Value::Array(all) => all.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect(),
        _ => vec![],
    };
    for (name, value) in inner {
        let at = format!("{at}/{name}");
        pointers(value, &at, out);
        out.push(at);
    }
}

fn each_broken(whole: &Value, mut look: impl FnMut(Value)) {
    let mut all = vec![];
    pointers(whole, "", &mut all);
    assert!(all.len() > 50);
    let bad = [json!(null), json!("x"), json!(7), json!([null]), json!([{"a": 1}])];
    for (nth, at) in all.iter().enumerate() {
        // Two of them for each place, in turn: the whole would take minutes.
        for bad in bad.iter().cycle().skip(nth).step_by(2).take(2).cloned() {
            let mut broken = whole.clone();
            *broken.pointer_mut(at).unwrap() = bad;
            look(broken);
        }
    }
}

#[test]
fn orders() {
    let (order, record, released) = chain::released();
    let cancellation = chain::cancellation("a54219b8-f741-4c47-b662-e4f8dfa49ab6");
    let dispenser = record.dispensers.first().cloned();
    let decided = Cancelled { code: Code::R0002, at: 0, dispenser, why: "" };
    // One item of the four is enough.
    let mut whole = order.bundle().clone();
    whole["entry"].as_array_mut().unwrap().drain(2..5);
    each_broken(&whole, |broken| {
        let order = Document::of(broken);
        let given = [Given::of(&record, &released, &order)];
        let answer = release::Answer { response: "r", request: "q", passed: &given, failed: &given, at: 0, base: "" };
        json(&exact::write(&answer.show(&mut ids())));
        cancel::Answer { decided: &decided, request: &cancellation, order: Some(&order), base: "" }.show(&mut ids());
        cancel::Answer { decided: &decided, request: &order, order: None, base: "" }.show(&mut ids());
        tracker::detail(
            &Detailed { record: &record, order: Some(&order), notifications: &[], updates: &[], now: 0 },
            None,
            &mut ids(),
        );
    });
}

#[test]
fn notifications() {
    let (order, record, _) = chain::released();
    each_broken(&json(example!("09-dispense-notification/acute-01-request.json")), |broken| {
        let notifications = [(record.order, Document::of(broken))];
        let of = Detailed { record: &record, order: Some(&order), notifications: &notifications, updates: &[], now: 0 };
        assert!(tracker::detail(&of, None, &mut ids()).is_some());
    });
}

/// A broken update is either refused with a text or says nothing else than before, but for the item's id, whose form is nobody's
/// business.
#[test]
fn updates() {
    let whole = json(example!("16-status-update/request-multiple-items.json"));
    let now = 1_694_427_072_000;
    let good = status::read(whole.to_string().as_bytes(), Some("x"), now).unwrap();
    each_broken(&whole, |broken| match status::read(broken.to_string().as_bytes(), Some("x"), now) {
        Ok(read) => {
            for (read, good) in read.all().iter().zip(good.all()) {
                assert_eq!(StatusUpdate { item: good.item.clone(), ..read.clone() }, *good, "{broken}");
            }
        }
        Err((status, body)) => {
            assert!(status == 400 || body["entry"] == json!([]), "{broken}");
            assert_eq!(body["type"], "transaction-response");
        }
    });
}
