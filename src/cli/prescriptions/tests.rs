//! What is made here is read by the service without a complaint, and its signature holds.

use super::{
    Course, Prescription, Sender,
    dispensing::{self, Supply},
    order,
    signing::SigningKey,
};
use crate::{
    cli::bench::Known,
    model::time::parse_iso,
    node::pki::{Authority, Purpose, Wanted},
    services::eps::{
        ids,
        read::{self, Event},
        sign::{Checked, Mode, Trust, check},
    },
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

const MESSAGE: &str = "46183abc-9fad-4673-85db-ce2cb6614732";
const RESPONSE: &str = "56183abc-9fad-4673-85db-ce2cb6614732";
const AT: &str = "2026-11-29T12:00:00+00:00";

fn sender(ods: &str) -> Sender {
    let text = |t: &str| t.to_owned();
    Sender {
        user: text("656005750103"),
        role: text("656014452103"),
        job: text("S8000:G8000:R8000"),
        given: text("Petra"),
        family: text("Prescriber"),
        ods: text(ods),
        organisation: text("Demo"),
    }
}

fn prescription(items: usize, course: Course) -> Prescription {
    let patient = Known {
        nhs: "9990000018".into(),
        version: 1,
        family: "BLOGGS".into(),
        given: "ZOË".into(),
        born: "1970-01-02".into(),
        gender: "female".into(),
        postcode: "LS1 4AP".into(),
    };
    Prescription {
        id: ids::make(7, "A83008", 9).unwrap(),
        long_id: "66183abc-9fad-4673-85db-ce2cb6614732".into(),
        items: (0..items).map(|n| format!("76183abc-9fad-4673-85db-ce2cb66147{n:02x}")).collect(),
        patient,
        nominated: Some("FA565".into()),
        course,
        start: "2026-11-29".into(),
        end: "2027-05-29".into(),
    }
}

fn read(message: &Value, event: Event) -> Value {
    let root = read::parse(message.to_string().as_bytes()).unwrap();
    assert_eq!(read::event(&root).unwrap(), event);
    root
}

#[test]
fn orders_are_read_and_their_signatures_hold() {
    let now = parse_iso(AT).unwrap();
    let ca = Authority::create("prescribers", 30).unwrap();
    let wanted = Wanted {
        common_name: "Petra Prescriber".into(),
        organisation: "A83008".into(),
        names: vec![],
        purpose: Purpose::Client,
        days: 3_650,
    };
    let issued = ca.issue_rsa(&wanted).unwrap();
    let key = SigningKey::of_pem(&issued.cert, &issued.key).unwrap();
    let trust = CertificateDer::from_pem_slice(ca.cert().as_bytes()).unwrap();
    let trust = Trust::parse(&[&trust], &[]).unwrap();
    // The certificate is of now, whatever the calendar says.
    let signed_at = jiff::Timestamp::now().as_millisecond() as u64;
    for (items, course) in [(1, Course::Acute), (2, Course::Repeat), (4, Course::Dispensing(6)), (4, Course::Acute)] {
        let p = prescription(items, course);
        let mut bundle = order::order(&p, &sender("A83008"), MESSAGE);
        key.sign(&mut bundle, "86183abc-9fad-4673-85db-ce2cb6614732", signed_at).unwrap();
        let text = serde_json::to_string_pretty(&bundle).unwrap();
        // What real orders are long (spec/eps.md §1).
        assert!((10_000..30_000).contains(&text.len()), "{items} items: {}", text.len());
        assert_eq!(check(text.as_bytes(), Mode::Verify, &trust), Checked::Signed(vec![]));
        let other = text.replace("ZOË", "ZOE");
        assert_ne!(check(other.as_bytes(), Mode::Verify, &trust), Checked::Signed(vec![]));
        let root = read(&bundle, Event::Order);
        let told = read::order::order(&root, now, Some(now)).unwrap();
        let issues = if let Course::Dispensing(issues) = course { issues } else { 1 };
        assert_eq!((told.id, told.items.len(), told.issues), (p.id, items, issues));
        assert_eq!((told.nominated.as_str(), told.prescriber.ods.as_str()), ("FA565", "A83008"));
    }
}

#[test]
fn what_a_pharmacy_sends_is_read() {
    let by = sender("FA565");
    let p = prescription(3, Course::Dispensing(6));
    let supply = Supply { status: "0003", items: &["0001", "0004", "0002"], issue: 2, at: AT };
    let root = read(&dispensing::dispense(&p, &by, MESSAGE, RESPONSE, &supply), Event::DispenseNotification);
    let told = read::dispense::dispense(&root).unwrap();
    assert_eq!((told.id.as_str(), told.status, told.issue, told.issues), (p.id.as_str(), 3, 2, 6));
    assert_eq!(told.items.iter().map(|i| i.status).collect::<Vec<_>>(), [1, 4, 2]);

    let parsed = |value: Value, kind: &str| {
        let root = read::parse(value.to_string().as_bytes()).unwrap();
        read::resource(&root, kind).unwrap();
        root
    };
    for id in [None, Some(p.id.as_str())] {
        let root = parsed(dispensing::release(&by, id), "Parameters");
        let told = read::release::release(&root, MESSAGE, RESPONSE).unwrap();
        assert_eq!((told.id.as_str(), told.nominated, told.by.ods.as_str()), (id.unwrap_or(""), id.is_none(), "FA565"));
    }
    let root = parsed(dispensing::give_back(&p, &by, MESSAGE, RESPONSE, AT), "Task");
    assert!(matches!(read::task::task(&root).unwrap(), read::task::Task::Return(r) if r.response == RESPONSE));
    let supply = Supply { status: "0006", ..supply };
    let root = parsed(dispensing::claim(&p, &by, MESSAGE, &supply), "Claim");
    let told = read::claim::claim(&root).unwrap();
    assert_eq!((told.id, told.issue, told.payer.as_str()), (p.id, 2, "T1450"));
}

#[test]
fn a_cancellation_names_one_item() {
    let p = prescription(3, Course::Acute);
    let bundle = order::cancel(&p, &sender("A83008"), MESSAGE, &p.items[1], ("0001", "Prescribing Error"));
    let told = read::cancel::cancel(&read(&bundle, Event::Cancel)).unwrap();
    assert_eq!((told.id, told.item, told.reason.as_str()), (p.id, p.items[1].clone(), "0001"));
}
