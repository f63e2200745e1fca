//! The simulation finds what is planted: a proof that never fails proves nothing, nor does one that fails without the fault.
//! The plans are those of the search for
//! real faults, but where it is said. How many seeds each fault takes is printed, and stands in docs/hazards.md.

use crate::run::{Plan, run};
use crate::search;
use crate::trouble::Sort;
use spine::seam::trouble::Planted;

/// Seeds within which a planted fault must be found.
const WITHIN: u64 = 500;

fn is_found(fault: Planted) {
    is_found_by(fault, Plan::of);
}

fn is_found_by(fault: Planted, plan: impl Fn(u64) -> Plan + Sync) {
    let mut from = 1;
    loop {
        let verdict = search(from..WITHIN + 1, |seed| Plan { planted: Some(fault), ..plan(seed) });
        let Some(verdict) = verdict else { panic!("{fault:?} is not found within {WITHIN} seeds") };
        if run(plan(verdict.seed)).broken.is_empty() {
            return println!("{fault:?}: seed {}: {}", verdict.seed, verdict.broken[0]);
        }
        // It breaks without the fault too, and proves nothing.
        from = verdict.seed + 1;
    }
}

#[test]
fn acknowledging_before_the_sync() {
    is_found(Planted::AcknowledgeBeforeSync);
}

#[test]
fn voting_before_the_sync() {
    is_found(Planted::VoteBeforeSync);
}

#[test]
fn taking_over_decisions_of_another_term() {
    // A proposal must be held up while leadership goes away and comes back: rare, where all sorts of trouble meet.
    let back_and_forth = |seed| Plan { sorts: Some(vec![Sort::HandOver]), late: true, ..Plan::of(seed) };
    is_found_by(Planted::AnyTerm, back_and_forth);
}

#[test]
fn keeping_the_overlay_of_an_earlier_reign() {
    is_found(Planted::KeepOverlay);
}

#[test]
fn reading_without_a_fence() {
    is_found(Planted::ReadWithoutFence);
}

#[test]
fn taking_a_bad_record_in_the_middle_for_the_end() {
    // A leader that tells a node what it acknowledged makes up for this fault: it must show where nobody asks.
    is_found_by(Planted::BadMiddleIsTail, |seed| Plan { asks: false, ..Plan::of(seed) });
}

#[test]
fn applying_an_entry_twice() {
    is_found(Planted::ApplyTwice);
}

#[test]
fn forgetting_requests_in_a_snapshot() {
    is_found(Planted::ForgetRequests);
}

#[test]
fn deciding_a_delivery_twice() {
    is_found(Planted::DeliverTwice);
}

#[test]
fn leaving_an_audit_record_out() {
    is_found(Planted::NoAudit);
}
