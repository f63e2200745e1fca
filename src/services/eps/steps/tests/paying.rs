//! §13: claims and their amendments, and how small a finished prescription is.

use super::*;

#[test]
fn a_claim_is_paid_once() {
    let mut case = Case::released(&[1]);
    assert_eq!(case.claim(0, ""), Err(Refused::NotDispensed));
    case.dispense(6, &[1]).unwrap();
    let stranger = message::Claim { by: sender("FH123"), ..case.claim_message(0, "") };
    assert_eq!(case.send_claim(&stranger), Err(Refused::WithAnotherDispenser));
    let m = case.claim_message(0, "");
    case.send_claim(&m).unwrap();
    let stored = case.p().clone();
    assert_eq!((case.send_claim(&m), case.p()), (Ok(()), &stored), "a repeat");
    assert_eq!(case.claim(0, ""), Err(Refused::NotDispensed), "another first claim");
    let [Then::Reimburse(paid)] = &case.then[..] else { panic!("{:?}", case.then) };
    assert_eq!((paid.claim.to_string(), paid.payer.as_str(), paid.dispenser.as_str()), (m.message, "T1450", "FA565"));
    assert_eq!((case.status(), case.p().current_issue().unwrap().claim.received_on), (8, 20_260_302));
    assert_eq!(Case::of(&[1]).claim(0, ""), Err(Refused::NotFound));
}

#[test]
fn what_was_not_dispensed_is_claimed_too() {
    let mut case = Case::released(&[1]);
    case.dispense(7, &[2]).unwrap();
    case.claim(0, "").unwrap();
    assert_eq!(case.status(), 8, "§21 no. 4");
}

#[test]
fn a_claim_is_amended_until_the_fifth() {
    let mut case = Case::released(&[1]);
    case.dispense(6, &[1]).unwrap();
    assert_eq!(case.claim(0, &uuid(77)), Err(Refused::NotDispensed), "an amendment of nothing");
    let first = case.claim(0, "").unwrap();
    case.go_to("2026-04-04");
    let second = case.claim(0, &first).unwrap();
    assert_eq!(case.claim(0, &first), Err(Refused::AmendMismatch));
    case.go_to("2026-04-05");
    let third = case.claim(0, &second).unwrap();
    let claim = &case.p().current_issue().unwrap().claim;
    assert_eq!((claim.id.to_string(), claim.rebuild, claim.received_on), (third.clone(), true, 20_260_405));
    assert_eq!(claim.historic.iter().map(Id::to_string).collect::<Vec<_>>(), [first, second]);
    case.go_to("2026-04-06");
    assert_eq!(case.claim(0, &third), Err(Refused::ClaimPeriod));
    assert_eq!(super::super::claim::last_amendment(20_261_231), 20_270_105);
}

#[test]
fn a_claim_without_an_issue_finds_it() {
    let mut case = Case::released(&[3]);
    case.dispense(6, &[1]).unwrap();
    case.pass(60);
    case.night();
    case.release("FA565").unwrap();
    let first = case.claim(0, "").unwrap();
    assert_eq!(case.statuses(), [8, 2, 9000]);
    case.dispense(6, &[1]).unwrap();
    let second = case.claim(0, "").unwrap();
    assert_eq!(case.statuses(), [8, 8, 1]);
    case.claim(0, &first).unwrap();
    case.claim(0, &second).unwrap();
    let historic = |n| case.p().issue(n).unwrap().claim.historic.len();
    assert_eq!((historic(1), historic(2)), (1, 1));
    assert_eq!(case.claim(3, ""), Err(Refused::NotDispensed));
    assert_eq!(case.claim(9, ""), Err(Refused::NotDispensed));
}

#[test]
fn a_no_claim_ends_it() {
    let mut case = Case::released(&[2, 2]);
    case.dispense(3, &[3, 4]).unwrap();
    case.pass(180);
    assert!(case.night());
    assert_eq!((case.statuses(), case.items_of(1)), (vec![9, 1], vec![1, 2]), "§21 no. 11; then the next issue");
    let [Then::Reimburse(notice)] = &case.then[..] else { panic!("{:?}", case.then) };
    assert_eq!((notice.issue, notice.claim, notice.dispenser.as_str()), (1, Id::NONE, "FA565"));
    assert_eq!(notice.payer, "T1450", "no notification named another");
    assert_eq!(case.claim(1, ""), Err(Refused::NotDispensed), "no claim after it");
    assert_eq!(case.claim(1, &uuid(1)), Err(Refused::NotDispensed));
}

#[test]
fn the_agency_that_pays_the_dispenser_hears_of_a_no_claim() {
    for (named, told) in [("RQFZ1", "RQFZ1"), ("T1450", "T1450"), ("X26", "T1450")] {
        let mut case = Case::released(&[1]);
        let first = case.dispense_message(6, &[1]);
        case.send_dispense(&message::Dispense { payer: "T1450".into(), ..first.clone() }).unwrap();
        let amended =
            message::Dispense { replaces: first.message, payer: named.into(), ..case.dispense_message(6, &[1]) };
        case.send_dispense(&amended).unwrap();
        case.pass(181);
        assert!(case.night());
        let [Then::Reimburse(notice)] = &case.then[..] else { panic!("{:?}", case.then) };
        assert_eq!(notice.payer, told, "the last notification named {named}");
    }
}

#[test]
fn a_finished_prescription_is_small() {
    let mut case = Case::released(&[1, 1, 1, 1]);
    case.dispense(6, &[1, 1, 1, 1]).unwrap();
    case.claim(0, "").unwrap();
    let acute = case.p().encode().len();
    let mut erd = Case::ordered(&[12, 12, 12, 12]);
    for _ in 0..12 {
        erd.release("FA565").unwrap();
        erd.dispense(6, &[1, 1, 1, 1]).unwrap();
        erd.claim(erd.p().current.min(12), "").ok();
        erd.pass(28);
        erd.night();
    }
    assert_eq!(erd.p().current, 12);
    let erd = erd.p().encode().len();
    // 600 of them are what the dispenser said of itself.
    assert!(acute < 1_500 && erd < 6_000, "{acute} {erd}");
}
