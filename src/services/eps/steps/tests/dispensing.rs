//! §10.2 step by step, §12, §17.4 and §17.6.

use super::*;

#[test]
fn the_published_sequence_of_four_items() {
    // 09-dispense-notification/acute-01 to 04: item and prescription statuses as published; the fourth item was cancelled before.
    let mut case = Case::ordered(&[1, 1, 1, 1]);
    assert_eq!(case.cancel(3, "A83008"), Code::R0001);
    case.release("FA565").unwrap();
    let mut last = String::new();
    for (status, items) in [(3, [1, 1, 4, 5]), (3, [1, 1, 3, 5]), (6, [1, 1, 1, 5])] {
        last = case.dispense(status, &items).unwrap();
        assert_eq!((case.status(), case.items_of(1)), (status, items.to_vec()));
    }
    let amended = case.amend(&last, 6, &[1, 1, 1, 5]).unwrap();
    let i = case.p().current_issue().unwrap();
    assert_eq!((i.status, i.last_notification.to_string(), i.completed_on), (6, amended, 20_260_302));
    assert_eq!(i.history.len(), 3, "the amendment took the place of what it replaced");
    assert_eq!(case.amend(&last, 6, &[1, 1, 1, 5]), Err(Refused::AmendMismatch));
}

#[test]
fn the_only_item_dispensed_and_the_prescription_still_0003() {
    let mut case = Case::released(&[1]);
    case.dispense(3, &[1]).unwrap();
    case.dispense(6, &[1]).unwrap();
    assert_eq!(case.status(), 6);
}

#[test]
fn refusals_of_a_notification() {
    let mut case = Case::released(&[1, 1]);
    let stored = case.p().clone();
    let good = case.dispense_message(6, &[1, 1]);
    let refused = |case: &mut Case, spoil: &dyn Fn(&mut message::Dispense)| {
        let mut m = good.clone();
        spoil(&mut m);
        case.send_dispense(&m).unwrap_err()
    };
    assert!(matches!(refused(&mut case, &|m| m.nhs = 1), Refused::Failure(_)));
    assert_eq!(refused(&mut case, &|m| m.by = sender("FH123")), Refused::WithAnotherDispenser);
    assert_eq!(refused(&mut case, &|m| m.items.truncate(1)), Refused::ItemNotFound);
    assert_eq!(refused(&mut case, &|m| m.items[1].item = uuid(5)), Refused::ItemNotFound);
    assert_eq!(
        refused(&mut case, &|m| m.items.push(Dispensed { item: uuid(5), ..m.items[0].clone() })),
        Refused::ItemNotFound
    );
    assert_eq!(refused(&mut case, &|m| m.items[1].status = 5), Refused::ItemTransition);
    assert_eq!(refused(&mut case, &|m| m.items[1].status = 3), Refused::Transition, "§21 no. 14");
    assert_eq!(refused(&mut case, &|m| m.status = 7), Refused::Transition, "not dispensed, yet an item is");
    assert_eq!(refused(&mut case, &|m| m.status = 8), Refused::Transition);
    assert_eq!(refused(&mut case, &|m| m.replaces = uuid(5)), Refused::AmendMismatch);
    assert_eq!(case.p(), &stored);
    let mut twice = good.clone();
    twice.items.push(Dispensed { status: 2, ..twice.items[0].clone() });
    case.send_dispense(&twice).unwrap();
    assert_eq!(case.items_of(1), [1, 1], "of several for one item the first counts");
    let stored = case.p().clone();
    assert_eq!(case.send_dispense(&good), Ok(()), "the same id: a repeat");
    assert_eq!(case.dispense(6, &[1, 1]), Err(Refused::Transition), "dispensed before");
    assert_eq!(case.p(), &stored);
    assert_eq!(Case::ordered(&[1]).dispense(6, &[1]), Err(Refused::Transition));
    assert_eq!(Case::of(&[1]).dispense(6, &[1]), Err(Refused::NotFound));
}

#[test]
fn another_may_dispense_where_the_site_lets_it() {
    let mut case = Case::released(&[1]);
    case.at.rules.holder_only = false;
    let m = message::Dispense { by: sender("FH123"), ..case.dispense_message(3, &[3]) };
    case.send_dispense(&m).unwrap();
    let i = case.p().current_issue().unwrap().clone();
    assert_eq!(case.p().holder(&i).unwrap().ods, "FH123");
    case.withdraw(&m.message).unwrap();
    let i = case.p().current_issue().unwrap().clone();
    assert_eq!(case.p().holder(&i).unwrap().ods, "FA565", "as before the notification");
}

#[test]
fn an_amendment_is_compared_with_what_was_before() {
    let mut case = Case::released(&[1, 1]);
    let first = case.dispense(6, &[1, 1]).unwrap();
    let second = case.amend(&first, 3, &[1, 4]).unwrap();
    assert_eq!((case.status(), case.items_of(1)), (3, vec![1, 4]), "0001 back to 0004: both were 0008 before it");
    assert_eq!(case.p().current_issue().unwrap().completed_on, 0);
    let third = case.amend(&second, 7, &[2, 2]).unwrap();
    assert_eq!(case.status(), 7);
    assert_eq!(case.amend(&first, 6, &[1, 1]), Err(Refused::AmendMismatch));
    case.withdraw(&third).unwrap();
    assert_eq!((case.status(), case.items_of(1)), (2, vec![8, 8]), "as before the first");
    assert_eq!(case.withdraw(&third), Err(Refused::Transition));
    case.give_back().unwrap();
}

#[test]
fn a_withdrawal_takes_back_the_last() {
    let mut case = Case::released(&[1, 1]);
    let first = case.dispense(3, &[1, 4]).unwrap();
    let second = case.dispense(6, &[1, 1]).unwrap();
    assert_eq!(case.withdraw(&first), Err(Refused::AmendMismatch));
    let m = case.withdraw_message(&second);
    case.send_withdraw(&m).unwrap();
    assert_eq!((case.status(), case.items_of(1)), (3, vec![1, 4]));
    let stored = case.p().clone();
    assert_eq!((case.send_withdraw(&m), case.p()), (Ok(()), &stored), "a repeat");
    case.withdraw(&first).unwrap();
    assert_eq!((case.status(), case.items_of(1)), (2, vec![8, 8]));
    assert!(case.p().current_issue().unwrap().history.is_empty());
    assert_eq!(Case::of(&[1]).withdraw(&first), Err(Refused::NotFound));
    case.dispense(6, &[1, 1]).unwrap();
    case.claim(0, "").unwrap();
    let last = case.p().current_issue().unwrap().last_notification.to_string();
    assert_eq!(case.withdraw(&last), Err(Refused::Transition), "claimed");
    assert_eq!(case.amend(&last, 6, &[1, 1]), Err(Refused::Transition));
}

#[test]
fn erd_numbers_must_agree() {
    let mut case = Case::released(&[6, 2]);
    let m = case.dispense_message(6, &[1, 1]);
    let send = |case: &mut Case, spoil: &dyn Fn(&mut message::Dispense)| {
        let mut m = m.clone();
        spoil(&mut m);
        case.send_dispense(&m)
    };
    assert_eq!(send(&mut case, &|m| m.issues = 5), Err(Refused::RepeatCount));
    assert_eq!(send(&mut case, &|m| m.issue = 7), Err(Refused::RepeatCount));
    assert_eq!(send(&mut case, &|m| m.items[1].issues = 3), Err(Refused::RepeatCount));
    assert_eq!(send(&mut case, &|m| m.issue = 2), Err(Refused::Transition), "a later issue");
    assert_eq!(send(&mut case.clone(), &|m| m.items[1].issues = 2), Ok(()), "the item's own");
    assert_eq!(send(&mut case, &|m| m.items[1].issues = 6), Ok(()), "or the prescription's");
}

#[test]
fn the_next_issue_of_an_erd_prescription() {
    let mut case = Case::released(&[3]);
    case.dispense(6, &[1]).unwrap();
    let next = case.p().issue(2).unwrap().clone();
    // 2 March + 28 − 7 days.
    assert_eq!((case.p().current, next.status, next.download_on, next.window_low), (2, 0, 20_260_323, 20_260_302));
    assert_eq!(next.previous_issue_at, MONDAY);
    case.pass(20);
    assert!(!case.night(), "not before the 23rd");
    case.pass(1);
    assert!(case.night());
    assert_eq!((case.at.today, case.statuses()), (20_260_323, vec![6, 1, 9000]));
    case.pass(100);
    assert_eq!(case.release("FA565").unwrap().last_dispensed, MONDAY);
    case.dispense(7, &[2]).unwrap();
    assert_eq!(case.statuses(), [6, 7, 1], "the date is past: at once");
    case.claim(1, "").unwrap();
    assert_eq!(case.statuses(), [8, 7, 1], "issue 1 is still claimed while 3 is current");
}

#[test]
fn an_earlier_issue_is_amended_and_withdrawn_while_the_next_stays() {
    let mut case = Case::released(&[2]);
    let first = case.dispense(6, &[1]).unwrap();
    case.pass(3);
    let m = message::Dispense { issue: 1, replaces: first, ..case.dispense_message(6, &[1]) };
    case.send_dispense(&m).unwrap();
    assert_eq!((case.statuses(), case.p().current), (vec![6, 0], 2), "§21 no. 12");
    assert_eq!(case.p().issue(2).unwrap().previous_issue_at, MONDAY + 3 * DAY, "told anew");
    case.withdraw(&m.message).unwrap();
    let i = case.p().issue(1).unwrap();
    assert_eq!((case.statuses(), i.dispensed_at), (vec![3, 0], MONDAY), "never below 0003: dispensed when released");
    let m = message::Dispense { issue: 1, ..case.dispense_message(6, &[1]) };
    case.send_dispense(&m).unwrap();
    assert_eq!((case.statuses(), case.p().current), (vec![6, 0], 2));
}

#[test]
fn erd_comes_back_without_its_issue_number_and_never_below_0003() {
    let mut case = Case::released(&[2]);
    let first = case.dispense(3, &[3]).unwrap();
    case.withdraw(&first).unwrap();
    assert_eq!((case.status(), case.items_of(1)), (3, vec![8]));
    assert_eq!(case.give_back(), Err(Refused::Transition));
    case.dispense(6, &[1]).unwrap();
    assert_eq!(case.p().current, 2);
}

#[test]
fn a_repeated_release_tells_the_same_after_the_issue_before_was_amended() {
    let mut case = Case::released(&[2]);
    let first = case.dispense(6, &[1]).unwrap();
    let m = case.release_message("FA565", false);
    let told = case.send_release(&m).unwrap();
    case.pass(1);
    let amended = message::Dispense { issue: 1, replaces: first, ..case.dispense_message(6, &[1]) };
    case.send_dispense(&amended).unwrap();
    assert_eq!(case.p().issue(2).unwrap().previous_issue_at, MONDAY + DAY);
    assert_eq!(case.send_release(&m), Ok(told));
}
