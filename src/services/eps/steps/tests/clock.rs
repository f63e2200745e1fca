//! §18: what is due when, row by row; days and months.

use super::*;
use crate::services::eps::clock::{Activity, next, plus_days, plus_months, uk_day};
use crate::services::eps::record::{Claim, Issue};

#[test]
fn months_are_clamped_and_days_are_british() {
    assert_eq!(plus_months(20_261_031, 6), 20_270_430);
    assert_eq!(plus_months(20_240_229, 12), 20_250_228);
    assert_eq!((plus_days(20_260_301, -1), plus_days(20_261_231, 1)), (20_260_228, 20_270_101));
    assert_eq!(
        (plus_days(0, 7), plus_days(99_991_231, 9), plus_days(20_260_101, i32::MAX)),
        (0, 99_991_231, 31_210_302)
    );
    // 23:30 UTC in July is the next day in London, in January it is not.
    let at = |text| uk_day(crate::model::time::parse_iso(text).unwrap());
    assert_eq!((at("2026-07-01T23:30:00Z"), at("2026-01-01T23:30:00Z")), (20_260_702, 20_260_101));
    assert_eq!(uk_day(u64::MAX), 99_991_231);
    let born = Prescription { born: 20_080_229, ..Default::default() };
    assert_eq!(born.age_limits(), (20_240_228, 20_680_229));
}

/// A record with one issue (or two: the second future), as it would stand; next activity and its day.
fn of(status: u16, more: fn(&mut Issue)) -> Option<(Activity, u32)> {
    let mut case = Case::ordered(&[1]);
    let i = &mut case.p.as_mut().unwrap().instances[0];
    i.status = status;
    i.completed_on = 20_260_310;
    i.claim = Claim { received_on: 20_260_315, ..Default::default() };
    more(i);
    next(case.p())
}

#[test]
fn the_next_activity_of_each_status() {
    use Activity::*;
    // Ordered on 2 March: valid until 2 September, expired on the day after.
    let expire = Some((Expire, 20_260_903));
    assert_eq!([1, 2, 9000].map(|s| of(s, |_| ())), [expire; 3]);
    assert_eq!(of(0, |i| i.download_on = 20_260_401), Some((Ready, 20_260_401)));
    assert_eq!(of(0, |i| i.window_low = 20_260_501), Some((Ready, 20_260_501)));
    assert_eq!(of(0, |i| i.download_on = 20_260_902), expire, "not before expiry");
    assert_eq!(of(9001, |i| i.window_low = 20_260_501), Some((Ready, 20_260_501)));
    assert_eq!(of(9001, |_| ()), Some((Ready, 20_260_302)), "the prescription date is later");
    let dispensed = |i: &mut Issue| (i.dispensed_at, i.last_notification) = (MONDAY, Id([1; 16]));
    assert_eq!(of(3, dispensed), Some((CreateNoClaim, 20_260_829)));
    assert_eq!(of(3, |i| i.dispensed_at = MONDAY), Some((Expire, 20_260_830)), "without a notification");
    assert_eq!(of(3, |i| i.dispensed_at = MONDAY + 30 * DAY), expire);
    assert_eq!(of(6, |_| ()), Some((CreateNoClaim, 20_260_906)));
    assert_eq!(of(7, |_| ()), Some((Delete, 20_260_409)));
    assert_eq!(of(4, |_| ()), Some((Delete, 20_260_608)));
    assert_eq!(of(5, |_| ()), Some((Delete, 20_260_906)));
    assert_eq!([8, 9].map(|s| of(s, |_| ())), [Some((Delete, 20_260_420)); 2]);
    let mut placeholder = Case::of(&[1]);
    placeholder.cancel(0, "A83008");
    assert_eq!(next(placeholder.p()), Some((Delete, 20_260_829)));
    placeholder.go_to("2026-08-29");
    assert!(placeholder.night());
    assert_eq!(next(placeholder.p()), Some((Purge, 20_270_829)));
    let order = placeholder.order();
    assert_eq!(placeholder.send_order(&order), Err(Refused::DuplicatePrescription), "§7.3: waiting for its purge");
    assert_eq!(placeholder.cancel(0, "A83008"), Code::R0008);
}

#[test]
fn what_is_permitted_of_several_issues() {
    let mut case = Case::released(&[3]);
    case.dispense(6, &[1]).unwrap();
    assert_eq!(next(case.p()), Some((Activity::Ready, 20_260_323)), "of the current one");
    case.pass(21);
    case.night();
    assert_eq!(
        next(case.p()),
        Some((Activity::CreateNoClaim, 20_260_829)),
        "of the one before: the later valid for a year"
    );
    case.claim(1, "").unwrap();
    assert_eq!(next(case.p()), Some((Activity::Expire, 20_270_303)), "the claimed issue is not deleted alone");
    case.cancel(0, "A83008");
    // Claimed + 36 days is earlier than cancelled + 180: the last date counts.
    assert_eq!(next(case.p()), Some((Activity::Delete, plus_days(case.at.today, 180))));
}

#[test]
fn ready_wins_on_equal_dates() {
    let mut case = Case::released(&[2]);
    case.dispense(6, &[1]).unwrap();
    case.p.as_mut().unwrap().instances[1].download_on = 20_260_829;
    assert_eq!(next(case.p()), Some((Activity::Ready, 20_260_829)));
}

#[test]
fn an_expiry_takes_the_issue_and_all_later() {
    let mut case = Case::ordered(&[3, 1]);
    case.go_to("2026-09-02");
    assert!(!case.night(), "valid until the end of its last day");
    case.go_to("2026-09-03");
    assert!(case.night() && !case.night(), "and once only");
    assert_eq!((case.statuses(), case.items_of(1), case.p().current), (vec![4, 4, 4], vec![6, 6], 3));
    let held = || {
        let mut case = Case::released(&[1, 1]);
        case.cancel(0, "A83008");
        case
    };
    let mut case = held();
    case.go_to("2026-09-03");
    case.night();
    assert_eq!((case.status(), case.items_of(1), case.p().pending().count()), (4, vec![6, 6], 0));
    let mut case = Case::released(&[2, 2, 2]);
    let first = case.dispense(3, &[1, 3, 4]).unwrap();
    let second = case.dispense(3, &[1, 3, 4]).unwrap();
    case.withdraw(&second).unwrap();
    case.withdraw(&first).unwrap();
    case.go_to("2026-08-30");
    case.night();
    assert_eq!((case.statuses(), case.items_of(1)), (vec![6, 4], vec![6, 6, 6]), "0003 becomes 0006");
}

#[test]
fn an_earlier_issue_left_without_a_notification_expires_alone() {
    let mut case = Case::released(&[2]);
    let first = case.dispense(6, &[1]).unwrap();
    case.withdraw(&first).unwrap();
    case.go_to("2026-08-30");
    case.night();
    assert_eq!((case.statuses(), case.p().current), (vec![6, 1], 2));
}

#[test]
fn a_post_dated_prescription_becomes_ready() {
    let mut case = Case::of(&[1]);
    let order = message::Order { prescribed_at: MONDAY + 10 * DAY, ..case.order() };
    case.send_order(&order).unwrap();
    assert_eq!(case.release("FA565"), Err(Refused::ResourceNotFound), "§21 no. 13");
    case.pass(10);
    assert!(case.night());
    let since = case.at.now;
    assert_eq!(case.status(), 1);
    assert!(index_rows(case.p()).contains(&IndexKey::Nominated { ods: "FA565".into(), since }));
}

#[test]
fn documents_of_a_prescription_that_goes_on_are_kept_for_eighteen_months() {
    let mut case = Case::released(&[1]);
    let first = case.dispense(6, &[1]).unwrap();
    // Ordered on 2 March 2026; said anew in May 2027, and so not closed without a claim before November.
    case.go_to("2027-05-20");
    let m = case.dispense_message(6, &[1]);
    let amended = message::Dispense { replaces: first.clone(), ..m };
    case.send_dispense(&amended).unwrap();
    let documents: Vec<Id> = case.p().documents().collect();
    assert_eq!((documents.len(), next(case.p())), (3, Some((Activity::Forget, 20_270_902))));
    case.go_to("2027-09-02");
    case.then.clear();
    assert!(case.night() && !case.night());
    assert_eq!(case.then, [Then::DeleteDocuments(documents[..2].to_vec())], "order and first notification");
    assert_eq!(case.p().documents().collect::<Vec<_>>(), documents[2..]);
    assert_eq!(next(case.p()), Some((Activity::CreateNoClaim, 20_271_116)));
    // The messages are still known, and the prescription goes on.
    let again = message::Dispense { message: first, ..case.dispense_message(6, &[1]) };
    assert_eq!(case.send_dispense(&again), Ok(()));
    case.claim(0, "").unwrap();
    case.pass(36);
    case.then.clear();
    assert!(case.night());
    let [Then::DeleteDocuments(rest)] = &case.then[..] else { panic!("{:?}", case.then) };
    assert_eq!((rest.len(), rest[0]), (2, documents[2]), "what is left goes with it");
}

#[test]
fn an_order_that_is_dated_ahead_keeps_its_document_while_it_can_be_given_out() {
    let mut case = Case::of(&[1]);
    let order = message::Order { prescribed_at: MONDAY + 700 * DAY, ..case.order() };
    case.send_order(&order).unwrap();
    case.go_to("2028-02-01");
    case.night();
    assert_eq!((case.status(), case.p().documents().count()), (1, 1));
    case.release("FA565").unwrap();
}

#[test]
fn a_finished_prescription_is_deleted_and_its_shell_purged() {
    let mut case = Case::released(&[1]);
    case.dispense(6, &[1]).unwrap();
    case.claim(0, "").unwrap();
    let documents: Vec<Id> = case.p().documents().collect();
    assert_eq!(documents.len(), 3, "order, notification, claim");
    case.then.clear();
    case.pass(36);
    assert!(case.night());
    assert_eq!(case.then, [Then::DeleteDocuments(documents)]);
    assert!(case.p().is_shell() && case.p().log.is_empty() && case.p().encode().len() < 200);
    assert_eq!(case.release("FA565"), Err(Refused::ResourceNotFound));
    assert_eq!(case.give_back(), Err(Refused::NotFound));
    let keys = index_rows(case.p());
    assert_eq!(keys.len(), 2, "{keys:?}");
    case.pass(364);
    assert!(!case.night());
    case.pass(1);
    assert!(case.night() && case.p.is_none());
}
