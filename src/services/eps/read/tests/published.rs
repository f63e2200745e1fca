//! What the published messages say.

use super::*;
use crate::services::eps::{
    message::{Dispensed, Item, Order, Sender, treatment},
    read::{cancel, claim, dispense, order, release, task},
};

/// An order, read a moment after it was signed.
fn read(name: &str, when: &str) -> Order {
    let bundle = example(name);
    assert_eq!(event(&bundle).expect(name), Event::Order, "{name}");
    order::order(&bundle, at(when), Some(at(when))).expect(name)
}

fn ids(order: &Order) -> Vec<&str> {
    order.items.iter().map(|i| i.id.as_str()).collect()
}

const FOUR: [&str; 4] = [
    "a54219b8-f741-4c47-b662-e4f8dfa49ab6",
    "6989b7bd-8db6-428c-a593-4022e3044c00",
    "2868554c-5565-4d31-b92a-c5b8dab8b90a",
    "5cb17f5a-11ac-4e18-825f-6470467238b3",
];

fn hallgarth() -> Sender {
    Sender {
        ods: "A83008".into(),
        name: "HALLGARTH SURGERY".into(),
        user: "555086689106".into(),
        role: "200102238987".into(),
        person: "DR C BOIN".into(),
        ..Sender::default()
    }
}

#[test]
fn an_acute_order_says_everything_that_the_store_keeps() {
    let order = read("01-order-acute-nominated/order-request", "2022-10-21T13:47:00Z");
    let want = Order {
        message: "46183abc-9fad-4673-85db-ce2cb6614732".into(),
        id: "24F5DA-A83008-7EFE6Z".into(),
        long_id: "20ba5fb5-cb58-462c-923e-22d180b09356".into(),
        nhs: 5_839_945_242,
        born: 19_480_430,
        treatment: treatment::ACUTE,
        prescription_type: "0101".into(),
        prescribed_at: at("2022-10-21T00:00:00Z"),
        signed_at: at("2022-10-21T13:47:00Z"),
        prescriber: hallgarth(),
        days_supply: 10,
        issues: 1,
        items: FOUR.map(|id| Item { id: id.into(), issues: 1, ..Item::default() }).into(),
        nominated: "FA565".into(),
        nominated_type: "P1".into(),
        ..Order::default()
    };
    assert_eq!(order, want);
}

#[test]
fn orders_of_every_kind_are_read() {
    let none = read("02-order-acute-no-nomination/order-request", "2022-10-21T13:47:00Z");
    assert_eq!((none.nominated.as_str(), none.nominated_type.as_str(), none.items.len()), ("", "0004", 2));
    assert_eq!((none.nhs, none.days_supply), (9_990_548_609, 30));

    let repeat = read("03-order-repeat-prescribing/order-request", "2022-10-21T13:47:00Z");
    assert_eq!((repeat.treatment, repeat.issues, repeat.items[0].issues), (treatment::REPEAT, 1, 1));

    let trust = read("05-order-secondary-care-four-items/order-request", "2022-10-21T13:47:00Z");
    assert_eq!((trust.prescription_type.as_str(), trust.prescriber.ods.as_str()), ("1001", "A99968"));
    // Nothing said: the signature's time, 28 days.
    assert_eq!((trust.prescribed_at, trust.days_supply), (at("2022-10-21T13:47:00Z"), 28));
    assert_eq!(trust.id, "4243A0-A99968-4E149+");

    let drug = read("06-order-controlled-drug/order-request", "2022-10-21T13:47:00Z");
    assert_eq!((drug.nominated.as_str(), drug.items.len()), ("FH542", 2));

    let lines = read("01-order-acute-nominated/order-multiple-dosage-request", "2024-03-05T10:00:00Z");
    assert_eq!((lines.id.as_str(), ids(&lines).len(), lines.window_high), ("62DB25-A83008-5CBA2Z", 4, 0));

    read("07-cancel/acute-order-request", "2022-10-21T13:47:00Z");
}

#[test]
fn repeat_dispensing_keeps_its_issues_and_its_window() {
    let erd = read("04-order-erd/order-request", "2022-10-21T13:47:00Z");
    assert_eq!((erd.treatment, erd.issues, erd.days_supply), (treatment::DISPENSING, 7, 10));
    assert_eq!((erd.window_low, erd.window_high), (20_221_021, 20_221_121));
    assert!(erd.items.iter().all(|i| i.issues == 7));
    assert_eq!(ids(&erd), FOUR);

    let listed = read("04-order-erd/order-with-medication-list-request", "2022-02-19T10:00:00Z");
    assert_eq!((listed.issues, listed.items.len(), listed.nominated.as_str()), (6, 2, "FCG71"));
}

#[test]
fn an_order_to_prepare_passes_the_same_checks() {
    let prepared = EXAMPLES.iter().filter(|(name, _)| name.contains("prepare-request"));
    let mut count = 0;
    for (name, _) in prepared {
        let bundle = example(name);
        order::prepare(&bundle, event(&bundle).expect(name)).expect(name);
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn cancellations_name_one_item_and_who_takes_it_back() {
    let read = |name: &str| {
        let bundle = example(name);
        assert_eq!(event(&bundle).expect(name), Event::Cancel);
        cancel::cancel(&bundle).expect(name)
    };
    let secretary = read("07-cancel/acute-cancel-request");
    assert_eq!(secretary.message, "22d28bbf-e9ed-4c77-8374-3aaf88596109");
    assert_eq!((secretary.id.as_str(), secretary.nhs), ("58E241-A83008-4E2F8R", 9_990_548_609));
    assert_eq!(secretary.long_id, "942fd768-d9a6-4062-8768-6e2faa486c38");
    assert_eq!(secretary.item, "299c610b-f4f1-4eac-a7d7-4fb6b0556e11");
    assert_eq!(secretary.reason, "0001");
    let who = Sender { user: "555086718101".into(), person: "MS Medical Secetary".into(), ..hallgarth() };
    assert_eq!(secretary.by, who);
    for name in ["acute-cancel-2-request", "erd-cancel-request", "repeat-cancel-request"] {
        let cancel = read(&format!("07-cancel/{name}"));
        assert_eq!((cancel.item.as_str(), cancel.reason.as_str()), (FOUR[3], "0002"), "{name}");
        assert_eq!(cancel.by, hallgarth(), "{name}");
    }
}

#[test]
fn releases_say_who_asks_and_for_what() {
    let read = |name: &str| {
        let parameters = example(name);
        resource(&parameters, "Parameters").expect(name);
        let release = release::release(&parameters, "ABC", "DEF").expect(name);
        assert_eq!(release::by_id(&parameters), !release.nominated, "{name}");
        assert_eq!((release.request.as_str(), release.response.as_str()), ("abc", "def"));
        release
    };
    let one = read("08-release/by-prescription-id-request");
    assert_eq!((one.id.as_str(), one.nominated), ("A0548B-A99968-451485", false));
    let who = Sender {
        ods: "VNE51".into(),
        name: "The Simple Pharmacy".into(),
        user: "3415870201".into(),
        role: "555086415105".into(),
        person: "Jackie Clark".into(),
        ..Sender::default()
    };
    assert_eq!(one.by, who);
    let owner = crate::wire::packed::unpack(&one.owner).expect("packed");
    assert_eq!(owner["telecom"][0]["value"], "0113 3180277");
    let agent = crate::wire::packed::unpack(&one.agent).expect("packed");
    assert_eq!(agent["resourceType"], "PractitionerRole");
    let all = read("08-release/nominated-request");
    assert_eq!((all.id.as_str(), all.nominated), ("", true));
    for name in
        ["08-release/acute-request", "08-release/erd-request", "01-order-acute-nominated/release-request-nominated"]
    {
        read(name);
    }
}

#[test]
fn dispense_notifications_say_what_became_of_each_item() {
    let read = |name: &str| {
        let bundle = example(name);
        assert_eq!(event(&bundle).expect(name), Event::DispenseNotification);
        dispense::dispense(&bundle).expect(name)
    };
    let statuses = |items: &[Dispensed]| items.iter().map(|i| i.status).collect::<Vec<_>>();
    for (n, status, items, replaces) in [
        (1, 3, [1, 1, 4, 5], ""),
        (2, 3, [1, 1, 3, 5], ""),
        (3, 6, [1, 1, 1, 5], ""),
        (4, 6, [1, 1, 1, 5], "a14d4fc1-82a2-4a82-aae2-50e212e7b907"),
    ] {
        let name = format!("09-dispense-notification/acute-0{n}-request");
        let notice = read(&name);
        assert_eq!((notice.status, statuses(&notice.items)), (status, items.to_vec()), "{name}");
        assert_eq!(notice.items.iter().map(|i| i.item.as_str()).collect::<Vec<_>>(), FOUR, "{name}");
        assert_eq!(notice.replaces, replaces, "{name}");
        assert_eq!((notice.issue, notice.issues, notice.reason.as_str()), (0, 0, ""), "{name}");
    }
    let acute = read("09-dispense-notification/acute-01-request");
    assert_eq!(acute.message, "b240434e-cb85-40bb-899c-1c61410c93a7");
    assert_eq!((acute.id.as_str(), acute.nhs), ("24F5DA-A83008-7EFE6Z", 9_449_304_130));
    assert_eq!(acute.at, at("2022-11-27T11:45:00Z"));
    assert_eq!((acute.by.ods.as_str(), acute.by.user.as_str()), ("VNE51", "7654321"));
    assert_eq!((acute.by.name.as_str(), acute.by.person.as_str()), ("The Simple Pharmacy", "Mr Peter Potion"));

    let erd = read("09-dispense-notification/erd-request");
    assert_eq!((erd.issue, erd.issues, statuses(&erd.items)), (3, 6, vec![1, 1, 4, 5]));
    assert!(erd.items.iter().all(|i| i.issues == 6));
}

#[test]
fn returns_and_withdrawals_are_told_apart() {
    let read = |name: &str| {
        let root = example(name);
        resource(&root, "Task").expect(name);
        task::task(&root).expect(name)
    };
    for (name, issue) in [("acute", 0), ("erd", 3), ("repeat", 3)] {
        let task::Task::Return(back) = read(&format!("10-return/{name}-request")) else { panic!("{name}") };
        assert_eq!((back.issue, back.reason.as_str(), back.nhs), (issue, "0003", 9_449_304_130), "{name}");
        assert_eq!(back.message, "ee1b55f8-113c-4725-99a3-25fbad366dd6");
        assert_eq!(back.response, "a5d77265-8ba5-4c74-b8ce-ea0dbaafbdb8");
        assert_eq!((back.id.as_str(), back.by.ods.as_str()), ("24F5DA-A83008-7EFE6Z", "VNE51"));
        assert_eq!(back.by.person, "Ms Lottie Maifeld");

        let task::Task::Withdraw(taken) = read(&format!("11-withdraw/{name}-request")) else { panic!("{name}") };
        assert_eq!((taken.issue, taken.reason.as_str()), (issue, "MU"), "{name}");
        assert_eq!(taken.message, "5ac84c11-db8b-44da-8fcf-8980b3d13596");
        assert_eq!(taken.notification, "a14d4fc1-82a2-4a82-aae2-50e212e7b907");
    }
}

#[test]
fn claims_say_who_pays_and_what_for() {
    for (name, issue) in [("acute", 0), ("erd", 3), ("repeat", 3)] {
        let name = format!("12-claim/{name}-request");
        let root = example(&name);
        resource(&root, "Claim").expect(&name);
        claim::before_scope(&root).expect(&name);
        let claim = claim::claim(&root).expect(&name);
        assert_eq!((claim.issue, claim.payer.as_str(), claim.replaces.as_str()), (issue, "T1450", ""), "{name}");
        assert_eq!(claim.message, "737dcf8d-fc7a-436d-b692-7d3c4f258083");
        assert_eq!((claim.id.as_str(), claim.nhs), ("24F5DA-A83008-7EFE6Z", 9_449_304_130));
        assert_eq!(claim.at, at("2022-11-30T13:30:00Z"));
        assert_eq!((claim.by.ods.as_str(), claim.by.role.as_str()), ("VNE51", "454567759542"));
    }
    let amended = changed("12-claim/acute-request", |claim| {
        let old = json!({"url": "https://fhir.nhs.uk/StructureDefinition/Extension-replacementOf",
            "valueIdentifier": {"value": "A14D4FC1-82A2-4A82-AAE2-50E212E7B907"}});
        claim["extension"].as_array_mut().expect("extensions").push(old);
    });
    let amended = claim::claim(&amended).expect("an amendment");
    assert_eq!(amended.replaces, "a14d4fc1-82a2-4a82-aae2-50e212e7b907");
}

#[test]
fn what_the_live_service_takes_is_taken() {
    let odd = changed("04-order-erd/order-request", |bundle| {
        for n in 0..4 {
            let request = nth(bundle, "MedicationRequest", n);
            request["dispenseRequest"]["numberOfRepeatsAllowed"] = json!("6");
            request["category"][0]["coding"][0]["system"] =
                json!("http://terminology.hl7.org/CodeSystem/medicationrequest-category");
            request["reasonCode"] = json!("whatever");
            request["dispenseRequest"]["quantity"]["value"] = json!("63.0");
        }
        first(bundle, "Organization")["active"] = json!("true");
    });
    let text = odd.to_string().replace("http://terminology.hl7.org", "https://terminology.hl7.org");
    let odd = parse(text.as_bytes()).expect("JSON");
    assert!(!odd.to_string().contains("https://terminology.hl7.org"));
    event(&odd).expect("a shape");
    assert_eq!(order::order(&odd, now(), Some(now())).expect("an order").issues, 7);

    let shouted = changed("11-withdraw/acute-request", |task| {
        task["focus"]["identifier"]["value"] = json!("A14D4FC1-82A2-4A82-AAE2-50E212E7B907");
    });
    let task::Task::Withdraw(taken) = task::task(&shouted).expect("read") else { panic!("a withdrawal") };
    assert_eq!(taken.notification, "a14d4fc1-82a2-4a82-aae2-50e212e7b907");
}
