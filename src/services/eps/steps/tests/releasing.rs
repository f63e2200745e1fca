//! §9: who gets a prescription, once; §11: it comes back; §17.7: nomination.

use super::*;
use crate::services::eps::{ids, states::allowed};

#[test]
fn one_gets_it_and_the_other_is_told() {
    let mut case = Case::ordered(&[1, 1]);
    let m = case.release_message("FA565", true);
    let first = case.send_release(&m).unwrap();
    assert_eq!((case.status(), case.items_of(1), first.items_before.clone()), (2, vec![8, 8], vec![7, 7]));
    assert_eq!(first.response.to_string(), m.response);
    let i = case.p().current_issue().unwrap().clone();
    assert_eq!((case.p().holder(&i).unwrap().ods.as_str(), i.released_at), ("FA565", MONDAY));
    let stored = case.p().clone();
    assert_eq!(case.release("FH123"), Err(Refused::WithAnotherDispenser));
    assert_eq!(case.release("FA565"), Err(Refused::WithAnotherDispenser), "§21 no. 3");
    case.pass(1);
    let again = message::Release { response: uuid(0x999), ..m.clone() };
    assert_eq!(case.send_release(&again), Ok(first), "the same request gets the same again");
    let stranger = message::Release { by: sender("FH123"), ..m };
    assert_eq!(case.send_release(&stranger), Err(Refused::WithAnotherDispenser));
    assert_eq!(case.p(), &stored);
}

#[test]
fn refusals_by_status() {
    use Refused::*;
    let rows: [(u16, Option<Refused>); 13] = [
        (0, None),
        (1, None),
        (2, Some(WithAnotherDispenser)),
        (3, Some(WithAnotherDispenser)),
        (4, Some(Expired)),
        (5, Some(Cancelled)),
        (6, Some(Dispensed)),
        (7, Some(Dispensed)),
        (8, Some(Dispensed)),
        (9, Some(Dispensed)),
        (9000, Some(ResourceNotFound)),
        (9001, Some(ResourceNotFound)),
        (9005, Some(ResourceNotFound)),
    ];
    for (status, why) in rows {
        assert_eq!(release::refusal(status), why, "{status}");
        assert_eq!(why.is_none(), allowed(Some(status), issue::WITH, Trigger::Release), "{status}: as the table");
    }
    assert_eq!(Case::of(&[1]).release("FA565"), Err(ResourceNotFound));
}

#[test]
fn a_nominated_release_takes_what_is_nominated_and_ready() {
    let mut case = Case::ordered(&[1]);
    let m = case.release_message("FH123", true);
    assert_eq!(case.send_release(&m), Err(Refused::ResourceNotFound));
    case.release("FH123").unwrap();
    assert_eq!(case.p().nomination.ods, "FA565", "by id by another: the nomination stays");
    let m = case.return_message("FH123");
    case.send_return(&m).unwrap();
    let p = case.p();
    assert_eq!((p.nomination.ods.as_str(), p.past_nominations[0].ods.as_str()), ("", "FA565"), "until the return");
    let m = case.release_message("FA565", true);
    assert_eq!(case.send_release(&m), Err(Refused::ResourceNotFound));
    case.release("FA565").unwrap();
}

#[test]
fn a_repeat_of_a_release_after_the_return_gets_nothing() {
    let mut case = Case::ordered(&[1]);
    let m = case.release_message("FA565", false);
    case.send_release(&m).unwrap();
    case.give_back().unwrap();
    let stored = case.p().clone();
    assert!(matches!(case.send_release(&m), Err(Refused::Failure(_))));
    assert_eq!(case.p(), &stored);
    case.release("FH123").unwrap();
    assert!(matches!(case.send_release(&m), Err(Refused::Failure(_))));
}

#[test]
fn an_overdue_expiry_is_carried_out_first() {
    let mut case = Case::ordered(&[3]);
    case.go_to("2026-09-02");
    assert!(case.clone().release("FA565").is_ok(), "valid on its last day, §21 no. 9");
    case.go_to("2026-09-03");
    assert_eq!(case.release("FA565"), Err(Refused::Expired));
    assert_eq!((case.statuses(), case.items_of(3)), (vec![4, 4, 4], vec![6]), "and written, beside the refusal");
    let mut case = Case::ordered(&[1]);
    case.p.as_mut().unwrap().instances[0].status = 9001;
    case.release("FA565").unwrap();
}

#[test]
fn a_return_brings_it_back() {
    let mut case = Case::released(&[1, 1]);
    let m = case.return_message("FH123");
    let strict = Rules { holder_only_returns: true, ..Rules::default() };
    case.at.rules = strict;
    assert_eq!(case.send_return(&m), Err(Refused::WithAnotherDispenser));
    case.at.rules = Rules::default();
    case.send_return(&m).unwrap();
    let warning = Then::NotHolder { holder: "FA565".into(), sender: "FH123".into(), issue: 1 };
    assert_eq!(std::mem::take(&mut case.then), [warning], "§21 no. 2");
    let i = case.p().current_issue().unwrap();
    assert_eq!((i.status, case.items_of(1), i.dispenser, i.release_request), (1, vec![7, 7], 0, Id::NONE));
    let stored = case.p().clone();
    assert_eq!(case.send_return(&m), Ok(()));
    assert_eq!((case.give_back(), case.p()), (Err(Refused::Transition), &stored));
    let other = message::Return { nhs: 9_999_999_998, ..case.return_message("FA565") };
    assert!(matches!(case.send_return(&other), Err(Refused::Failure(_))));
    assert_eq!(Case::of(&[1]).give_back(), Err(Refused::NotFound));

    let mut late = Case::released(&[2]);
    late.go_to("2026-09-03");
    late.give_back().unwrap();
    assert_eq!((late.statuses(), late.items_of(1), late.items_of(2)), (vec![4, 4], vec![6], vec![6]));
}

#[test]
fn what_spine_took_back_is_told_again_as_that() {
    let mut case = Case::ordered(&[1, 1]);
    let m = case.release_message("FA565", false);
    let first = case.send_release(&m).unwrap();
    assert_eq!(first.taken_back, 0);
    let id = case.p().id.clone();
    let back = message::Return { message: ids::taken_back(&m.request, &id), ..case.return_message("FA565") };
    case.send_return(&back).unwrap();
    let stored = case.p().clone();
    let again = case.send_release(&m).unwrap();
    assert_eq!(again, Released { taken_back: case.at.now, response: again.response, ..first });
    assert_eq!(case.p(), &stored, "nobody was given it");
    // A repeat after somebody's own return is refused still.
    let mut case = Case::ordered(&[1, 1]);
    let m = case.release_message("FA565", false);
    case.send_release(&m).unwrap();
    case.give_back().unwrap();
    assert!(matches!(case.send_release(&m), Err(Refused::Failure(_))));
}

#[test]
fn a_nomination_changes_where_nothing_was_downloaded() {
    let change = |case: &mut Case, kind: &str, from: &str, to: &str| {
        let m = Nominate { kind: kind.into(), from: from.into(), to: to.into() };
        let out = nominate(case.p.as_ref(), &m, &case.at);
        case.apply(out).unwrap();
        case.p().nomination.ods.clone()
    };
    let mut case = Case::ordered(&[2]);
    assert_eq!(change(&mut case, "P2", "", "FH123"), "FA565", "another type");
    assert_eq!(change(&mut case, "P1", "FZ999", "FH123"), "FA565", "of another pharmacy");
    assert_eq!(change(&mut case, "P1", "", "FH123"), "FH123");
    let keys = index_rows(case.p());
    assert!(keys.contains(&IndexKey::Nominated { ods: "FH123".into(), since: MONDAY }), "{keys:?}");
    assert_eq!(change(&mut case, "", "FH123", ""), "");
    assert_eq!(change(&mut case, "P1", "", "FA565"), "", "none is not made one");
    assert_eq!(case.p().past_nominations.len(), 2);
    let mut held = Case::released(&[1]);
    assert_eq!(change(&mut held, "P1", "", "FH123"), "FA565", "stays with its dispenser");
}

#[test]
fn keys_of_the_indexes() {
    let mut case = Case::ordered(&[1]);
    let ods = |ods: &str| ods.to_owned();
    let due = IndexKey::Activity { day: 20_260_903, activity: crate::services::eps::clock::Activity::Expire };
    let patient = IndexKey::Patient { nhs: 9_999_999_999, at: MONDAY };
    let prescriber = IndexKey::Prescriber { ods: ods("A83008"), at: MONDAY };
    let nominated = IndexKey::Nominated { ods: ods("FA565"), since: MONDAY };
    assert_eq!(index_rows(case.p()), [nominated, patient.clone(), prescriber.clone(), due.clone()]);
    case.release("FA565").unwrap();
    let dispenser = IndexKey::Dispenser { ods: ods("FA565"), at: MONDAY };
    assert_eq!(index_rows(case.p()), [patient, prescriber, dispenser, due]);
    assert_eq!(case.p().key(), "7D9625-Z72BF2-11E3A");
}
