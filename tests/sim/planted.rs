//! The simulation finds what is planted: a proof that never fails proves nothing. The plans are those of the search for
//! real faults. How many seeds each fault takes is printed, and stands in docs/hazards.md.

use crate::run::Plan;
use crate::search;
use spine::seam::trouble::Planted;

/// Seeds within which a planted fault must be found.
const WITHIN: u64 = 500;

fn is_found(fault: Planted) {
    let verdict = search(1..WITHIN + 1, |seed| Plan { planted: Some(fault), ..Plan::of(seed) });
    let Some(verdict) = verdict else { panic!("{fault:?} is not found within {WITHIN} seeds") };
    println!("{fault:?}: seed {}: {}", verdict.seed, verdict.broken[0]);
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
    is_found(Planted::AnyTerm);
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
    is_found(Planted::BadMiddleIsTail);
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
