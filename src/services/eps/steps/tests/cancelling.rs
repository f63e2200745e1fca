//! §8.2, §8.3 row by row; §7.3: orders over placeholders, duplicates and repeats.

use super::*;

#[test]
fn an_order_is_stored_once() {
    let mut case = Case::of(&[1, 1]);
    let order = case.order();
    assert_eq!(case.send_order(&order), Ok(()));
    let stored = case.p().clone();
    assert_eq!((case.status(), case.items_of(1), stored.scn), (1, vec![7, 7], 1));
    assert_eq!((stored.window_low, stored.window_high), (20_260_302, 20_270_302));
    case.pass(1);
    assert_eq!(case.send_order(&order), Ok(()), "a repeat gets the same");
    let other = message::Order { message: case.id(), ..order.clone() };
    assert_eq!(case.send_order(&other), Err(Refused::DuplicatePrescription));
    assert_eq!(case.p(), &stored, "and neither changes anything");
}

#[test]
fn an_order_for_later_waits() {
    for (ahead, status) in [(DAY, 1), (DAY + 1, 9001)] {
        let mut case = Case::of(&[1]);
        let order = message::Order { prescribed_at: MONDAY + ahead, ..case.order() };
        case.send_order(&order).unwrap();
        assert_eq!(case.status(), status);
    }
    let mut case = Case::of(&[6, 2]);
    let order = message::Order { window_low: 20_260_304, ..case.order() };
    case.send_order(&order).unwrap();
    assert_eq!(case.statuses(), [9001, 9000, 9000, 9000, 9000, 9000]);
    assert_eq!((case.items_of(2), case.items_of(3)), (vec![7, 7], vec![7, 6]), "an item is 0006 beyond its own issues");
}

#[test]
fn an_order_that_cannot_be_is_refused() {
    let refused = |spoil: fn(&mut message::Order)| {
        let mut case = Case::of(&[6, 2]);
        let mut order = case.order();
        spoil(&mut order);
        let out = super::super::order(None, &order, &case.at);
        assert_eq!((out.record, out.then), (None, vec![]));
        out.result.unwrap_err()
    };
    let failure = |why: &str| Refused::Failure(why.into());
    assert_eq!(refused(|o| o.items.clear()), failure("No valid line items found"));
    assert_eq!(refused(|o| o.items = vec![o.items[0].clone(); 5]), failure("No valid line items found"));
    assert_eq!(refused(|o| o.items[1] = o.items[0].clone()), Refused::DuplicateItem);
    assert_eq!(refused(|o| o.issues = 100), failure("maxRepeats must be between 1 and 99"));
    assert_eq!(refused(|o| o.issues = 5), failure("lineItem maxRepeats must not exceed the prescription's"));
    assert_eq!(refused(|o| o.issues = 7), failure("no lineItem maxRepeats reaches the prescription's"));
    assert_eq!(refused(|o| o.message = "x".into()), failure("messageID has invalid format"));
}

#[test]
fn an_item_is_cancelled_in_this_and_all_later_issues() {
    let mut case = Case::ordered(&[3, 1]);
    assert_eq!(case.cancel(1, "A83008"), Code::R0001);
    assert_eq!((case.statuses(), case.items_of(1), case.items_of(3)), (vec![1, 9000, 9000], vec![7, 5], vec![7, 6]));
    let last = case.cancel_message(0, "B81001");
    let first_answer = case.send_cancel(&last);
    assert_eq!(first_answer.code, Code::R0001, "another organisation may");
    assert_eq!((case.statuses(), case.items_of(2)), (vec![5, 5, 5], vec![5, 6]));
    assert_eq!(case.p().issue(3).unwrap().completed_on, 20_260_302);
    let stored = case.p().clone();
    case.pass(2);
    assert_eq!(case.send_cancel(&last), first_answer, "a repeat gets the same");
    assert_eq!(case.cancel(0, "A83008"), Code::R0006);
    assert_eq!(case.cancel(3, "A83008"), Code::R0008, "no such item");
    let other = message::Cancel { nhs: 9_999_999_998, ..case.cancel_message(0, "A83008") };
    assert_eq!(case.send_cancel(&other).code, Code::R5000);
    assert_eq!(case.send_cancel(&message::Cancel { item: "x".into(), ..last }).code, Code::R5888);
    assert_eq!(case.p(), &stored);
    assert!(case.then.is_empty(), "what was cancelled at once is told at once only");
}

#[test]
fn what_a_dispenser_has_is_marked() {
    let mut case = Case::released(&[1, 1]);
    let m = case.cancel_message(0, "A83008");
    let marked = case.send_cancel(&m);
    assert_eq!((marked.code, marked.dispenser.unwrap().ods), (Code::R0002, "FA565".into()));
    assert_eq!((case.status(), case.items_of(1)), (2, vec![8, 8]));
    assert_eq!(case.cancel(0, "A83008"), Code::R0002, "the same organisation again");
    assert_eq!(case.cancel(0, "B81001"), Code::R0007, "another");
    assert_eq!((case.p().pending().count(), case.p().unsuccessful().count()), (1, 2));
    for _ in 0..2 * MAX_CANCELLATIONS {
        case.cancel(0, "A83008");
    }
    assert_eq!(case.p().unsuccessful().count(), MAX_CANCELLATIONS, "bounded");

    let mut case = Case::released(&[1, 1, 1]);
    case.dispense(3, &[1, 3, 8]).unwrap_err();
    case.dispense(3, &[1, 3, 4]).unwrap();
    assert_eq!([0, 1, 2].map(|n| case.cancel(n, "A83008")), [Code::R0004, Code::R0003, Code::R0003]);
}

#[test]
fn what_is_over_is_not_cancelled() {
    use Code::*;
    let rows: [(u16, u16, Code); 13] = [
        (0, 7, R0001),
        (1, 7, R0001),
        (9000, 7, R0001),
        (9001, 7, R0001),
        (1, 6, R0005),
        (5, 2, R0006),
        (6, 1, R0004),
        (8, 1, R0004),
        (9, 1, R0004),
        (7, 2, R0010),
        (4, 6, R0005),
        (2, 8, R0002),
        (3, 3, R0003),
    ];
    rows.iter().for_each(|(issue, item, code)| assert_eq!(cancel::code_of(*issue, *item), *code, "{issue} {item}"));
    let mut case = Case::released(&[1, 1]);
    case.dispense(6, &[1, 2]).unwrap();
    let m = case.cancel_message(0, "A83008");
    assert!(case.send_cancel(&m).dispenser.is_some());
    assert_eq!((case.cancel(0, "A83008"), case.cancel(1, "A83008")), (R0004, R0010));
}

#[test]
fn a_pending_cancellation_takes_effect_on_return() {
    let mut case = Case::released(&[2, 2]);
    case.cancel(0, "A83008");
    case.give_back().unwrap();
    assert_eq!((case.statuses(), case.items_of(1), case.items_of(2)), (vec![1, 9000], vec![5, 7], vec![5, 7]));
    let [Then::LaterCancellation { cancellation, to, .. }] = &case.then[..] else { panic!("{:?}", case.then) };
    assert_eq!((cancellation.item.to_string(), to.ods.as_str()), (item_id(0), "A83008"));
    case.release("FA565").unwrap();
    let death = message::Cancel { reason: "0007".into(), ..case.cancel_message(1, "A83008") };
    assert_eq!(case.send_cancel(&death).code, Code::R0002);
    case.give_back().unwrap();
    assert_eq!((case.statuses(), case.then.len()), (vec![5, 5], 1), "after a death nobody is told");
    assert_eq!(case.p().pending().count(), 0);
}

#[test]
fn a_pending_cancellation_comes_to_nothing_or_makes_0005_of_0007() {
    let mut case = Case::released(&[1, 1]);
    case.cancel(0, "A83008");
    case.dispense(6, &[1, 2]).unwrap();
    let dropped: Vec<_> = case.p().unsuccessful().map(|c| c.failure.clone()).collect();
    assert_eq!(dropped, ["prescription was dispensed"]);

    let mut case = Case::released(&[2, 2]);
    case.cancel(0, "A83008");
    case.dispense(7, &[2, 2]).unwrap();
    assert_eq!((case.statuses(), case.items_of(1), case.items_of(2)), (vec![5, 0], vec![2, 2], vec![5, 7]));
    assert!(matches!(&case.then[..], [Then::LaterCancellation { .. }]));
}

#[test]
fn a_cancellation_before_its_order_waits_for_it() {
    let mut case = Case::of(&[1, 1]);
    assert_eq!(case.cancel(0, "A83008"), Code::R0008);
    assert_eq!((case.status(), case.p().is_placeholder()), (9005, true));
    assert_eq!(case.cancel(0, "A83008"), Code::R0008, "the same again");
    assert_eq!(case.cancel(0, "B81001"), Code::R0007, "another");
    assert_eq!(case.cancel(3, "A83008"), Code::R0008, "another item");
    assert_eq!(case.release("FA565"), Err(Refused::ResourceNotFound));
    assert_eq!(case.dispense(6, &[1, 1]), Err(Refused::NotFound));
    let order = case.order();
    assert_eq!(case.send_order(&order), Ok(()), "§21 no. 5");
    assert_eq!((case.status(), case.items_of(1)), (1, vec![5, 7]));
    assert!(matches!(&case.then[..], [Then::LaterCancellation { .. }]));
    assert!(case.p().unsuccessful().any(|c| c.failure == "item is not on the prescription"));
    assert_eq!(case.send_order(&order), Ok(()));
    assert_eq!(case.then.len(), 1);

    let mut case = Case::of(&[1]);
    case.cancel(0, "A83008");
    let order = message::Order { nhs: 9_999_999_998, ..case.order() };
    case.send_order(&order).unwrap();
    assert_eq!(case.status(), 1, "of another patient: not applied");
    let mut case = Case::of(&[3]);
    case.cancel(0, "A83008");
    let order = case.order();
    case.send_order(&order).unwrap();
    assert_eq!(case.statuses(), [5, 5, 5]);
}

#[test]
fn one_message_id_is_one_kind_of_message() {
    let mut case = Case::ordered(&[1]);
    let order_id = case.p().order.to_string();
    let m = message::Return { message: order_id, ..case.return_message("FA565") };
    assert_eq!(case.send_return(&m), Err(Refused::Failure("messageID was used by another message".into())));
}

#[test]
fn a_death_takes_what_is_not_with_a_dispenser() {
    let mut case = Case::ordered(&[3]);
    let dead = |case: &mut Case| {
        let out = died(case.p.as_ref(), &case.at);
        let wrote = out.record.is_some();
        case.apply(out).unwrap();
        wrote
    };
    assert!(dead(&mut case));
    assert_eq!((case.statuses(), case.then.len()), (vec![5, 5, 5], 0));
    assert!(!dead(&mut case), "twice is once");
    let mut case = Case::released(&[3]);
    assert!(dead(&mut case) && !dead(&mut case));
    assert_eq!(case.statuses(), [2, 5, 5]);
    case.give_back().unwrap();
    assert_eq!((case.statuses(), case.then.len()), (vec![5, 5, 5], 0));
}

#[test]
fn a_record_that_changed_too_often_takes_no_more_messages_but_time_goes_on() {
    let mut case = Case::ordered(&[1]);
    case.p.as_mut().unwrap().scn = SCN_LIMIT;
    let stored = case.p().clone();
    let failure = Refused::Failure("prescription was changed too often".into());
    assert_eq!(case.release("FA565"), Err(failure));
    assert_eq!((case.cancel(0, "A83008"), case.p()), (Code::R5000, &stored));
    let dead = died(case.p.as_ref(), &case.at);
    assert_eq!(dead.record.map(|p| p.instances[0].status), Some(5));
    case.pass(200);
    assert!(case.night());
    assert_eq!(case.status(), 4);
}
