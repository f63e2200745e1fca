//! What happens to the patient: a death, another nomination (spec/eps.md §8.3, §17.7). No messages: both can be carried out twice.

use super::{Draft, Moment, Outcome, Step, give_back::clear_nomination, pending, run, run_always};
use crate::services::eps::{
    clock,
    record::{Cancellation, Event, Id, Nomination, Prescription, cancellation},
    refused::Refused,
    states::{Trigger, issue},
};

/// Cancel reason "Notification of Death" (§20.5).
const DEATH: &str = "0007";

/// A change of nomination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nominate {
    /// Only prescriptions nominated as this type (`P1` …); empty for any.
    pub kind: String,
    /// Only those nominated to this ODS code: a pharmacy closes or changes its code; empty for any.
    pub from: String,
    /// The new dispenser; empty: none any more.
    pub to: String,
}

/// The patient died: whatever is cancellable is cancelled, and nobody is told.
///
/// An issue with a dispenser stays; the cancellation of the whole prescription waits for its return, and later issues of an
/// eRD prescription are cancelled at once, so that none becomes available.
pub fn died(old: Option<&Prescription>, at: &Moment) -> Outcome<()> {
    let nothing = |p: &Prescription| p.is_placeholder() || p.is_shell();
    let Some(old) = old.filter(|p| !nothing(p)) else {
        return Draft::of(&Prescription::default(), at).undone(Ok(()));
    };
    run_always(Draft::of(old, at), take_all)
}

fn take_all(d: &mut Draft) -> Result<Step<()>, Refused> {
    let number = d.p.current;
    let before = d.issue(number)?.status;
    let (held, now) = (d.issue(number)?.with_dispenser(), d.at.now);
    let open = d.p.instances.iter().any(|i| issue::CANCELLABLE.contains(&i.status));
    let waits = d.p.pending().any(|c| c.item.is_none());
    if !open && (!held || waits) {
        return Ok(Step::Same(()));
    }
    if open {
        let first = d.p.instances.iter().find(|i| issue::CANCELLABLE.contains(&i.status)).map_or(number, |i| i.number);
        pending::take_out(d, Id::NONE, first, Trigger::Death, 0)?;
        let settled_at = now;
        let state = cancellation::APPLIED;
        d.p.cancellations.push(Cancellation { state, settled_at, issue: first, ..of_death(now) });
    }
    if held && !waits {
        d.p.cancellations.push(of_death(now));
    }
    let after = d.issue(number)?.status;
    d.log(Event { trigger: Trigger::Death as u8, issue: number, before, after, ..Default::default() });
    Ok(Step::Wrote(()))
}

fn of_death(at: u64) -> Cancellation {
    Cancellation { reason: DEATH.to_owned(), at, ..Default::default() }
}

/// A nomination changed: prescriptions that nobody downloaded follow it; an overdue expiry comes first.
pub fn nominate(old: Option<&Prescription>, m: &Nominate, at: &Moment) -> Outcome<()> {
    let mut draft = Draft::of(old.unwrap_or(&Prescription::default()), at);
    if let Some(old) = old {
        draft.first = clock::overdue(old, at);
        if let Some((record, then)) = draft.first.clone() {
            (draft.p, draft.then) = (record, then);
        }
    }
    run(draft, |d| {
        let wanted = |have: &str, asked: &str| asked.is_empty() || have == asked;
        let has = &d.p.nomination;
        let open = d.p.instances.iter().any(|i| issue::CANCELLABLE.contains(&i.status));
        let fits = wanted(&has.kind, &m.kind) && wanted(&has.ods, &m.from);
        if has.ods.is_empty() || has.ods == m.to || !fits || !open || d.p.is_shell() {
            return Ok(Step::Same(()));
        }
        let kind = has.kind.clone();
        clear_nomination(d);
        if !m.to.is_empty() {
            d.p.nomination = Nomination { ods: m.to.clone(), kind, ..Default::default() };
        }
        let (issue, status) = d.p.current_issue().map(|i| (i.number, i.status)).unwrap_or_default();
        let event =
            Event { trigger: Trigger::Nominate as u8, issue, before: status, after: status, ..Default::default() };
        d.log(event);
        Ok(Step::Wrote(()))
    })
}
