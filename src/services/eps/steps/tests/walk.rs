//! Every status of an issue against every message and job: what happens is what the published table says, and every row of the
//! table is reached.

use super::*;
use crate::services::eps::{
    clock::next,
    states::{self, TRANSITIONS, allowed},
};
use std::collections::BTreeSet;

type Move = (Option<u16>, u16, Trigger);

/// The moves between two records, each with what the change log says moved it.
fn moves(before: Option<&Prescription>, after: &Prescription) -> Vec<Move> {
    let known = before.map_or(0, |p| p.log.len());
    let new: Vec<Trigger> = after.log.iter().skip(known).filter_map(|e| e.trigger()).collect();
    let [trigger] = new[..] else { return vec![] };
    let mut found = Vec::new();
    for i in &after.instances {
        let from = before.and_then(|p| p.issue(i.number)).map(|i| i.status);
        match (from, i.status, trigger) {
            // The order of a placeholder and its cancellation in one write: two moves, told apart in `cancelling`.
            (_, issue::CANCELLED, Trigger::Order) => {}
            (Some(issue::FUTURE_REPEAT), 0 | 1, _) => found.push((from, i.status, Trigger::Next)),
            (Some(8), 8, Trigger::AmendClaim) | (Some(3), 3, Trigger::Dispense | Trigger::Withdraw) => {
                found.push((from, i.status, trigger));
            }
            (Some(same), now, Trigger::Amend) if same == now && [3, 6, 7].contains(&now) => {
                found.push((from, now, trigger));
            }
            (from, now, _) if from != Some(now) => found.push((from, now, trigger)),
            _ => {}
        }
    }
    found
}

/// Cases with the current issue in a status, however it got there: acute and eRD, with one item.
fn cases() -> Vec<Case> {
    let mut all = vec![Case::of(&[1]), Case::of(&[3])];
    let mut placeholder = Case::of(&[1]);
    placeholder.cancel(3, "A83008");
    all.push(placeholder);
    for ahead in [10 * DAY, 300 * DAY] {
        let mut later = Case::of(&[3]);
        let window_low = crate::services::eps::clock::uk_day(MONDAY + ahead);
        let order = message::Order { window_low, prescribed_at: MONDAY + 2 * DAY, ..later.order() };
        later.send_order(&order).unwrap();
        all.push(later);
    }
    for items in [&[1][..], &[3]] {
        all.push(Case::ordered(items));
        let mut cancelled = Case::ordered(items);
        cancelled.cancel(0, "A83008");
        let mut expired = Case::ordered(items);
        expired.pass(250);
        expired.night();
        all.extend([cancelled, expired]);
        for marked in [false, true] {
            held(&mut all, items, marked);
        }
    }
    let mut far = Case::of(&[3]);
    let order = message::Order { days_supply: 366, ..far.order() };
    far.send_order(&order).unwrap();
    for _ in 0..2 {
        far.release("FA565").unwrap();
        far.dispense(6, &[1]).unwrap();
    }
    all.push(far);
    all
}

/// Cases with a dispenser, or that had one.
fn held(all: &mut Vec<Case>, items: &[u32], marked: bool) {
    let mut held = Case::released(items);
    if marked {
        held.cancel(0, "A83008");
    }
    for first in [None, Some(3), Some(4)] {
        let mut open = held.clone();
        if let Some(status) = first {
            open.dispense(3, &[status]).unwrap();
        }
        for (status, item) in [(6, 1), (7, 2)] {
            let mut done = open.clone();
            if done.dispense(status, &[item]).is_ok() {
                let mut claimed = done.clone();
                if claimed.claim(1, "").is_ok() {
                    all.push(claimed);
                }
                let mut closed = done.clone();
                closed.pass(190);
                closed.night();
                all.extend([done, closed]);
            }
        }
        let mut emptied = open.clone();
        if let (Some(_), Some(i)) = (first, open.p().current_issue()) {
            emptied.withdraw(&i.last_notification.to_string()).unwrap();
            all.push(emptied);
        }
        all.push(open);
    }
}

struct Action {
    trigger: Trigger,
    /// `true`: carried out.
    run: fn(&mut Case, u32) -> bool,
}

/// The last notification of an issue, or one that nobody sent.
fn last(case: &Case, number: u32) -> String {
    let i = case.p.as_ref().and_then(|p| p.issue(number)).map(|i| i.last_notification).filter(Id::is_some);
    i.map_or(uuid(0xeee), |id| id.to_string())
}

fn notify(case: &mut Case, number: u32, replaces: String, status: u16, item: u16) -> bool {
    let m = message::Dispense { issue: number, replaces, ..case.dispense_message(status, &[item]) };
    case.send_dispense(&m).is_ok()
}

const ACTIONS: &[Action] = &[
    Action {
        trigger: Trigger::Order,
        run: |case, _| {
            let order = case.order();
            case.send_order(&order).is_ok()
        },
    },
    Action {
        trigger: Trigger::Order,
        run: |case, _| {
            let order = message::Order { prescribed_at: case.at.now + 5 * DAY, ..case.order() };
            case.send_order(&order).is_ok()
        },
    },
    Action { trigger: Trigger::Cancel, run: |case, _| case.cancel(0, "A83008") == Code::R0001 },
    Action { trigger: Trigger::Release, run: |case, _| case.release("FH123").is_ok() },
    Action {
        trigger: Trigger::ReleaseNominated,
        run: |case, _| {
            let m = case.release_message("FA565", true);
            case.send_release(&m).is_ok()
        },
    },
    Action { trigger: Trigger::Dispense, run: |case, n| notify(case, n, String::new(), 3, 3) },
    Action { trigger: Trigger::Dispense, run: |case, n| notify(case, n, String::new(), 6, 1) },
    Action { trigger: Trigger::Dispense, run: |case, n| notify(case, n, String::new(), 7, 2) },
    Action { trigger: Trigger::Amend, run: |case, n| notify(case, n, last(case, n), 3, 3) },
    Action { trigger: Trigger::Amend, run: |case, n| notify(case, n, last(case, n), 6, 1) },
    Action { trigger: Trigger::Amend, run: |case, n| notify(case, n, last(case, n), 7, 2) },
    Action {
        trigger: Trigger::Return,
        run: |case, issue| {
            let m = message::Return { issue, ..case.return_message("FA565") };
            case.send_return(&m).is_ok()
        },
    },
    Action {
        trigger: Trigger::Return,
        run: |case, issue| {
            case.pass(400);
            let m = message::Return { issue, ..case.return_message("FA565") };
            case.send_return(&m).is_ok()
        },
    },
    Action {
        trigger: Trigger::Withdraw,
        run: |case, issue| {
            let notification = last(case, issue);
            let m = message::Withdraw { issue, ..case.withdraw_message(&notification) };
            case.send_withdraw(&m).is_ok()
        },
    },
    Action { trigger: Trigger::Claim, run: |case, n| case.claim(n, "").is_ok() },
    Action {
        trigger: Trigger::AmendClaim,
        run: |case, n| {
            let claimed = case.p.as_ref().and_then(|p| p.issue(n)).map(|i| i.claim.id.to_string());
            case.claim(n, &claimed.unwrap_or(uuid(0xeee))).is_ok()
        },
    },
    Action {
        trigger: Trigger::Death,
        run: |case, _| {
            let out = died(case.p.as_ref(), &case.at);
            let wrote = out.record.is_some();
            case.apply(out).is_ok() && wrote
        },
    },
];

/// Does the table let a trigger do anything in a status?
fn starts(from: Option<u16>, trigger: Trigger) -> bool {
    let from_here = |row: &states::Row| from.map_or(row.from.is_empty(), |from| row.from.contains(&from));
    TRANSITIONS.iter().any(|row| row.trigger == trigger && from_here(row))
}

#[test]
fn every_status_against_every_message() {
    let (mut reached, mut met): (BTreeSet<Move>, BTreeSet<Option<u16>>) = Default::default();
    for case in cases() {
        let issues = case.p.as_ref().map_or(1, |p| p.instances.len() as u32);
        for (n, action) in ACTIONS.iter().enumerate() {
            for number in 1..=issues {
                let status = |case: &Case| case.p.as_ref().and_then(|p| p.issue(number)).map(|i| i.status);
                let (from, mut after) = (status(&case), case.clone());
                met.insert(from);
                let done = (action.run)(&mut after, number);
                let words =
                    format!("action {n}, {} in {from:?}, issue {number} of {:?}", action.trigger.words(), case.p);
                if let Some(p) = &after.p {
                    for made in moves(case.p.as_ref(), p) {
                        assert!(allowed(made.0, made.1, made.2), "{made:?} is no row: {words}");
                        reached.insert(made);
                    }
                }
                // A message that names no issue is about the current one.
                let named = !matches!(
                    action.trigger,
                    Trigger::Cancel | Trigger::Release | Trigger::ReleaseNominated | Trigger::Death
                );
                if !starts(from, action.trigger) && (named || issues == 1) {
                    // A death of what a dispenser has is kept for its return, and moves nothing now.
                    assert!(!done || action.trigger == Trigger::Death, "carried out: {words}");
                    let overdue = after.p != case.p && from != status(&after);
                    assert!(!overdue, "{words}");
                }
            }
        }
        nights(&case, &mut reached);
    }
    let all: BTreeSet<Option<u16>> = issue::ALL.iter().copied().map(Some).chain([None]).collect();
    assert_eq!(met, all, "every status was met");
    let rows: BTreeSet<Move> = TRANSITIONS.iter().flat_map(expand).collect();
    let missed: Vec<_> = rows.difference(&reached).collect();
    assert!(missed.is_empty(), "rows that nothing reaches: {missed:?}");
}

/// What time does to a case, to the end.
fn nights(case: &Case, reached: &mut BTreeSet<Move>) {
    let mut case = case.clone();
    for _ in 0..50 {
        let Some((_, day)) = case.p.as_ref().and_then(next) else { return };
        let before = case.p.clone();
        if day > case.at.today {
            case.go_to(&crate::model::day::text(day));
        }
        assert!(case.night(), "what is next is due on its day");
        let Some(after) = &case.p else { return };
        for made in moves(before.as_ref(), after) {
            assert!(allowed(made.0, made.1, made.2), "{made:?} is no row");
            reached.insert(made);
        }
    }
    panic!("never ends: {:?}", case.p);
}

/// The single moves of a row of the table.
fn expand(row: &states::Row) -> Vec<Move> {
    let froms: Vec<Option<u16>> =
        if row.from.is_empty() { vec![None] } else { row.from.iter().copied().map(Some).collect() };
    froms.into_iter().flat_map(|from| row.to.iter().map(move |to| (from, *to, row.trigger))).collect()
}
