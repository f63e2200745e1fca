//! Requests as the edge carries them: from body to answer over a store in memory, whose decisions are the service's own.

use super::*;
use crate::{
    engine::{
        Command, PartitionId,
        draft::{Decide, Draft, MapStore, Overlay, Stamp},
        services,
    },
    model::time,
    services::eps::{EpsOptions, ids, record::Prescription, sign::Mode, steps::Rules},
};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

const PRESCRIBING: &str = "urn:nhsd:apim:user-nhs-id:aal3:electronic-prescription-service-api:prescribing";
const DISPENSING: &str = "urn:nhsd:apim:user-nhs-id:aal3:electronic-prescription-service-api:dispensing";

macro_rules! example {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../../../tests/data/eps/", $name, ".json"))).unwrap()
    };
}

fn now() -> u64 {
    time::parse_iso("2022-10-21T13:47:00Z").unwrap()
}

/// One partition, and the replies that are remembered by their request's id.
struct Site {
    eps: Arc<Eps>,
    trust: Arc<sign::Trust>,
    now: u64,
    store: MapStore,
    told: HashMap<String, Bytes>,
    attempts: AtomicU64,
}

impl Site {
    fn new() -> Site {
        Site::at(now(), Mode::Sample, sign::Trust::default())
    }

    fn at(now: u64, signatures: Mode, trust: sign::Trust) -> Site {
        let options =
            EpsOptions { signatures, rules: Rules::default(), prescribing: true, dispensing: true, live: false };
        let (eps, trust) = (Arc::new(Eps { options }), Arc::new(trust));
        Site { eps, trust, now, store: MapStore::default(), told: HashMap::new(), attempts: AtomicU64::new(1) }
    }

    /// A request of somebody with both products, up to its first step.
    fn ask(&self, path: &str, request: &str, body: &Value) -> (Asked, Step) {
        let path = format!("/fhir-dispensing/FHIR/R4{path}");
        let route = crate::services::eps::route("POST", &path, "");
        let mut asked = Asked::new(self.eps.clone(), self.trust.clone(), route, &path, self.now);
        let caller = Caller {
            user: "656005750199".into(),
            scopes: vec![DISPENSING.into(), PRESCRIBING.into()],
            activities: vec!["B0572".into(), "B0420".into(), "B0001".into()],
            granted: format!("{DISPENSING} B0572 B0420"),
            ..Default::default()
        };
        asked.name_attempt(self.attempts.fetch_add(1, Relaxed));
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", request.parse().unwrap());
        let body = BodyIn::Bytes(body.to_string().into());
        let step = asked.ask(&caller, &headers, body, &MapStore::default());
        (asked, step)
    }

    fn decide(&mut self, call: Call) -> Bytes {
        if let Some(told) = self.told.get(&call.request_id) {
            return told.clone();
        }
        let command = Command { service: services::EPS.0, key: call.key, payload: call.payload, ..Default::default() };
        let stamp = Stamp { now: self.now, partition: PartitionId(1), partitions: 1, sequence: 1, entropy: [7; 16] };
        let (overlay, registry) = (Overlay::default(), MapStore::default());
        let mut draft = Draft::new(&self.store, &overlay, &registry);
        let reply = self.eps.decide(&mut draft, &stamp, &command).unwrap();
        let decided = draft.finish();
        self.store.apply(decided.rows);
        if !call.request_id.is_empty() {
            self.told.insert(call.request_id, reply.clone());
        }
        reply
    }

    /// The answer, once all calls are done.
    fn finish(&mut self, mut asked: Asked, step: Step) -> (u16, Value) {
        let mut calls = match step {
            Step::Submit(calls) => calls,
            Step::Answer(response) => return told(&response),
            Step::Look => panic!("it looks"),
        };
        while !calls.is_empty() {
            let replies: Vec<Bytes> = calls.into_iter().map(|call| self.decide(call)).collect();
            asked.replied(&replies).unwrap();
            calls = asked.onward();
        }
        told(&asked.answer().unwrap())
    }

    /// A nominated release, as far as what it sees.
    fn sees(&self, request: &str) -> (Asked, Step) {
        let mut body = example!("08-release/nominated-request");
        body["parameter"][0]["resource"]["identifier"][0]["value"] = "FA565".into();
        let (mut asked, step) = self.ask("/Task/$release", request, &body);
        assert!(matches!(step, Step::Look));
        let step = asked.looked(&[&self.store]).unwrap();
        (asked, step)
    }

    /// All are of the same items: their ids are a prescription's own (§19.1 no. 11), and the published orders share them too.
    fn order(&mut self, n: u32) {
        let mut body = example!("01-order-acute-nominated/order-request");
        body["identifier"]["value"] = ids::made_of(&format!("order {n}")).into();
        let id = ids::make(n, "A83008", n).unwrap();
        for entry in body["entry"].as_array_mut().unwrap() {
            if entry["resource"]["resourceType"] == "MedicationRequest" {
                entry["resource"]["groupIdentifier"]["value"] = id.clone().into();
            }
        }
        let (asked, step) = self.ask("/$process-message", &ids::made_of("x"), &body);
        let (status, told) = self.finish(asked, step);
        assert_eq!(status, 200, "{told}");
    }
}

fn told(response: &Response) -> (u16, Value) {
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

/// Prescriptions in a release's answer.
fn passed(answer: &Value) -> usize {
    assert_eq!(answer["parameter"][0]["name"], "passedPrescriptions", "{answer}");
    answer["parameter"][0]["resource"]["entry"].as_array().map_or(0, Vec::len)
}

#[test]
fn tills_of_one_pharmacy_that_ask_at_once_share_what_waits() {
    let mut site = Site::new();
    (0..76).for_each(|n| site.order(n));
    let requests: Vec<String> = (0..4).map(|n| ids::made_of(&format!("till {n}"))).collect();
    let tills: Vec<_> = requests.iter().map(|request| site.sees(request)).collect();
    let answers: Vec<_> = tills.into_iter().map(|(asked, step)| site.finish(asked, step)).collect();
    let got: Vec<usize> = answers.iter().map(|(_, answer)| passed(answer)).collect();
    assert_eq!(
        got,
        [25, 25, 25, 0],
        "one more waits that the last one has not seen: its answer is empty, and it asks again"
    );
    // Asked again, each gets what it got.
    for (request, answer) in requests.iter().zip(&answers) {
        let (asked, step) = site.sees(request);
        assert_eq!(site.finish(asked, step), *answer);
    }
    let (last, late) = (site.sees(&ids::made_of("last")), site.sees(&ids::made_of("late")));
    assert_eq!(passed(&site.finish(last.0, last.1).1), 1);
    let (status, told) = site.finish(late.0, late.1);
    let code = &told["issue"][0]["details"]["coding"][0]["code"];
    assert_eq!(
        (status, code),
        (200, &"NO_MORE_PRESCRIPTIONS".into()),
        "all that it saw was taken, and there is no more"
    );
}

#[test]
fn a_repeat_is_not_led_away_by_what_came_free_since() {
    let mut site = Site::new();
    (0..60).for_each(|n| site.order(n));
    let (a, b) = (site.sees(&ids::made_of("till a")), site.sees(&ids::made_of("till b")));
    let first = site.finish(a.0, a.1);
    let second = site.finish(b.0, b.1);
    assert_eq!((passed(&first.1), passed(&second.1)), (25, 25));
    // One of those that the other till had when this one asked is given back, and waits again.
    let id = ids::make(0, "A83008", 0).unwrap();
    let held = rows::prescription(&site.store, ids::key(&id)).unwrap().unwrap();
    let back = message::Return {
        message: ids::made_of("back"),
        id: id.clone(),
        nhs: held.nhs,
        issue: 1,
        reason: "0003".into(),
        response: held.issue(1).unwrap().release_response.to_string(),
        by: message::Sender { ods: "FA565".into(), ..Default::default() },
        ..Default::default()
    };
    let told = Reply::of(&site.decide(call(ids::key(&id), back.into(), String::new()))).unwrap();
    assert_eq!((told.refused, told.reason.as_str()), (0, ""));
    // And the patient nominates the pharmacy anew.
    let back = rows::prescription(&site.store, ids::key(&id)).unwrap().unwrap();
    let anew = Prescription { nomination: held.nomination.clone(), ..back.clone() };
    let (overlay, registry) = (Overlay::default(), MapStore::default());
    let mut draft = Draft::new(&site.store, &overlay, &registry);
    rows::put(&mut draft, Some(&back), &anew);
    let changed = draft.finish().rows;
    site.store.apply(changed);
    let (asked, step) = site.sees(&ids::made_of("till b"));
    assert_eq!(site.finish(asked, step), second, "the connection broke: nobody else tells what this till holds");
    let (asked, step) = site.sees(&ids::made_of("till c"));
    assert_eq!(passed(&site.finish(asked, step).1), 11, "ten that nobody had, and the one that came back");
}

/// What is signed and what is given out are one thing, however the order is written.
#[test]
fn an_order_that_names_two_medicines_is_refused() {
    let mut site = Site::new();
    let mut sent = |change: &dyn Fn(&mut Value)| {
        let mut body = example!("01-order-acute-nominated/order-request");
        for entry in body["entry"].as_array_mut().unwrap() {
            if entry["resource"]["resourceType"] == "MedicationRequest" {
                change(&mut entry["resource"]);
            }
        }
        let (asked, step) = site.ask("/$process-message", &ids::made_of("x"), &body);
        site.finish(asked, step)
    };
    let concept = "medicationCodeableConcept";
    let (status, told) = sent(&|item| {
        let mut other = item[concept]["coding"][0].clone();
        (other["system"], other["code"]) = ("https://snomed.info/sct".into(), "15517911000001104".into());
        item[concept]["coding"].as_array_mut().unwrap().insert(0, other);
    });
    assert_eq!((status, &told["issue"][0]["code"]), (400, &"invalid".into()), "{told}");
    let (status, told) = sent(&|item| {
        item[concept]["coding"][0]["system"] = "elsewhere:snomed.info/sct".into();
    });
    assert_eq!(status, 400, "{told}");
    let (status, told) = sent(&|item| item["medicationReference"] = serde_json::json!({"reference": "urn:uuid:1"}));
    assert_eq!(status, 400, "{told}");
    for wrong in ["inf", "NaN", "+5", "5.", ".5", "-1"] {
        let (status, told) = sent(&|item| item["dispenseRequest"]["quantity"]["value"] = wrong.into());
        assert_eq!(status, 400, "{wrong}: {told}");
    }
    let (status, told) = sent(&|item| {
        let again = item[concept]["coding"][0].clone();
        item[concept]["coding"].as_array_mut().unwrap().push(again);
    });
    assert_eq!(status, 200, "the same twice is one: {told}");
}

#[test]
fn the_trail_names_the_scope_and_the_activity_that_the_message_needed() {
    let site = Site::new();
    let granted = |path: &str, body: &Value| site.ask(path, &ids::made_of("x"), body).0.granted().map(str::to_owned);
    let cancel = example!("07-cancel/acute-cancel-2-request");
    assert_eq!(granted("/$process-message", &cancel), Some(format!("{PRESCRIBING} B0420")));
    let dispense = example!("09-dispense-notification/acute-01-request");
    assert_eq!(granted("/$process-message", &dispense), Some(format!("{DISPENSING} B0572")));
    // The gate's rule for releases names activities of its own.
    let release = example!("08-release/nominated-request");
    assert_eq!(granted("/Task/$release", &release), Some(format!("{DISPENSING} B0572 B0420")));
    assert_eq!(granted("/$process-message", &Value::Null), None, "refused before anything was needed");
}

#[test]
fn an_order_is_not_taken_while_nobody_can_say_who_was_revoked() {
    // The list is believed to the first of July.
    let (order, trust) = sign::tests::certificates::under_a_list(150);
    let sent = |at: &str| {
        let mut site = Site::at(time::parse_iso(at).unwrap(), Mode::Verify, trust.clone());
        let (asked, step) = site.ask("/$process-message", &ids::made_of("x"), &order);
        site.finish(asked, step)
    };
    let (status, told) = sent("2026-06-30T12:00:00Z");
    assert_eq!(status, 200, "{told}");
    let (status, told) = sent("2026-07-02T12:00:00Z");
    let issue = &told["issue"][0];
    assert_eq!((status, &issue["code"]), (503, &"transient".into()), "{told}");
    assert!(issue["diagnostics"].as_str().unwrap().contains("revocation list"), "{told}");
    // Whom nobody trusts is told so, and what would be right.
    let mut site = Site::at(time::parse_iso("2026-06-02T12:00:00Z").unwrap(), Mode::Verify, sign::Trust::default());
    let (asked, step) = site.ask("/$process-message", &ids::made_of("x"), &order);
    let (status, told) = site.finish(asked, step);
    let issue = &told["issue"][0];
    assert_eq!((status, &issue["diagnostics"]), (400, &"Certificate not trusted".into()), "{told}");
    assert_eq!(issue["details"]["text"], sign::Failure::NotTrusted.right());
}

#[test]
fn the_stores_refusals_say_where_they_lie_and_what_would_be_right() {
    let mut site = Site::new();
    let mut refused = |path: &str, body: &Value| {
        let (asked, step) = site.ask(path, &ids::made_of("x"), body);
        let (status, told) = site.finish(asked, step);
        assert_eq!(status, 400, "{told}");
        let issue = &told["issue"][0];
        assert!(issue["diagnostics"].as_str().is_some_and(|right| right.ends_with('.')), "{told}");
        let code = issue["details"]["coding"][0]["code"].as_str().unwrap().to_owned();
        (code, issue["expression"][0].as_str().unwrap().to_owned())
    };
    let item = "Bundle.entry.resource.ofType(MedicationRequest).identifier.value";
    for (path, body, code, at) in [
        ("/$process-message", example!("07-cancel/acute-cancel-2-request"), "R-0008", item),
        (
            "/$process-message",
            example!("09-dispense-notification/acute-01-request"),
            "PRESCRIPTION_NOT_FOUND",
            read::dispense::SHORT_ID,
        ),
        ("/Task", example!("10-return/acute-request"), "PRESCRIPTION_NOT_FOUND", "Task.groupIdentifier.value"),
        ("/Claim", example!("12-claim/acute-request"), "PRESCRIPTION_NOT_FOUND", read::claim::SHORT_ID),
        (
            "/Task/$release",
            example!("08-release/by-prescription-id-request"),
            "RESOURCE_NOT_FOUND",
            read::release::SHORT_ID,
        ),
    ] {
        assert_eq!(refused(path, &body), (code.to_owned(), at.to_owned()));
    }
    site.order(1);
    let mut twice = example!("01-order-acute-nominated/order-request");
    twice["identifier"]["value"] = ids::made_of("other").into();
    let id = ids::make(1, "A83008", 1).unwrap();
    for entry in twice["entry"].as_array_mut().unwrap() {
        if entry["resource"]["resourceType"] == "MedicationRequest" {
            entry["resource"]["groupIdentifier"]["value"] = id.clone().into();
        }
    }
    let (asked, step) = site.ask("/$process-message", &ids::made_of("x"), &twice);
    let (_, told) = site.finish(asked, step);
    assert_eq!(told["issue"][0]["details"]["coding"][0]["code"], "DUPLICATE_PRESCRIPTION_ID");
    assert_eq!(told["issue"][0]["expression"][0], read::rules::SHORT_ID_OF_ITEM);
}
