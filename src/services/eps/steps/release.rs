//! A prescription is given out, once (spec/eps.md §9): by its id, or as one of those that a nominated release found.

use super::{Draft, Moment, Outcome, Step, items, run};
use crate::{
    model::EpochMillis,
    services::eps::{
        clock, ids,
        message::Release,
        record::{Dispenser, Event, Id, Issue, Prescription},
        refused::Refused,
        states::{Trigger, issue},
    },
};

/// Why a repeat gets nothing of what its first answer had.
pub const ANSWERED: &str = "this request was answered, and the prescription has come back since";

/// What the answer is made from, with the record after (or, for a replay, as it stands).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    pub issue: u32,
    /// What the answer's Bundle is called: of the first answer, for a replay.
    pub response: Id,
    /// Status of each item before, in the record's order.
    pub items_before: Vec<u16>,
    /// When the issue before was dispensed; 0 for never.
    pub last_dispensed: EpochMillis,
    /// When Spine took it back from this release, because its signature does not hold; 0 where it did not.
    pub taken_back: EpochMillis,
}

pub fn release(old: Option<&Prescription>, m: &Release, at: &Moment) -> Outcome<Released> {
    let Some(old) = old.filter(|p| !p.is_placeholder() && !p.is_shell()) else {
        return Outcome::refused(Refused::ResourceNotFound);
    };
    let Some(request) = Id::read(&m.request) else {
        return Outcome::refused(Refused::Failure("request id has invalid format".into()));
    };
    match again(old, m, request) {
        Some(Ok(answer)) => return Draft::of(old, at).undone(Ok(answer)),
        Some(Err(why)) => return Outcome::refused(why),
        None if m.recalls => return Outcome::refused(Refused::ResourceNotFound),
        None => {}
    }
    let mut draft = Draft::of(old, at);
    draft.first = clock::overdue(old, at);
    if let Some((record, then)) = draft.first.clone() {
        (draft.p, draft.then) = (record, then);
    }
    run(draft, |d| give_out(d, m, request))
}

/// The same request of the same organisation gets the same again, as long as the prescription is still out under it. A repeat
/// that comes after a return gets nothing ([`came_back`]): somebody else may have it by now, or it may be cancelled.
fn again(p: &Prescription, m: &Release, request: Id) -> Option<Result<Released, Refused>> {
    let by = |who| p.sender(who).is_some_and(|s| s.ods == m.by.ods);
    let event = p.log.iter().rev().find(|e| e.is_release() && e.message == request && by(e.who))?;
    let issue = p.issue(event.issue)?;
    if issue.release_request != request || issue.dispenser == 0 {
        return Some(came_back(p, m, issue));
    }
    Some(Ok(Released {
        issue: issue.number,
        response: issue.release_response,
        items_before: issue.before_release.iter().map(|status| u16::from(*status)).collect(),
        last_dispensed: issue.previous_told,
        taken_back: 0,
    }))
}

/// What a repeat is told of a prescription that has come back. One that Spine took back is told as it was the first time, among those
/// that failed: else a pharmacy whose connection broke would never hear that there is one which nobody may dispense.
fn came_back(p: &Prescription, m: &Release, issue: &Issue) -> Result<Released, Refused> {
    let by_spine = Id::read(&ids::taken_back(&m.request, &p.id));
    let event = p.log.iter().find(|e| Some(e.message) == by_spine && e.trigger == Trigger::Return as u8);
    let Some(event) = event else {
        return Err(Refused::Failure(ANSWERED.into()));
    };
    Ok(Released {
        issue: issue.number,
        response: Id::read(&m.response).unwrap_or(Id::NONE),
        items_before: issue.items.iter().map(|status| u16::from(*status)).collect(),
        last_dispensed: issue.previous_issue_at,
        taken_back: event.at,
    })
}

/// Why an issue in this status is not given out (§9.3).
pub fn refusal(status: u16) -> Option<Refused> {
    match status {
        issue::AWAITING_RELEASE | issue::TO_BE_DISPENSED => None,
        // §21 no. 3: the holder itself is told the same.
        issue::WITH | issue::ACTIVE => Some(Refused::WithAnotherDispenser),
        issue::EXPIRED => Some(Refused::Expired),
        issue::CANCELLED => Some(Refused::Cancelled),
        issue::DISPENSED | issue::NOT_DISPENSED | issue::CLAIMED | issue::NO_CLAIMED => Some(Refused::Dispensed),
        // §21 no. 13: a post-dated prescription is not there yet.
        _ => Some(Refused::ResourceNotFound),
    }
}

fn give_out(d: &mut Draft, m: &Release, request: Id) -> Result<Step<Released>, Refused> {
    let number = d.p.current;
    let before = d.issue(number)?.status;
    if let Some(why) = refusal(before) {
        return Err(why);
    }
    let mine = !d.p.nomination.ods.is_empty() && d.p.nomination.ods == m.by.ods;
    if m.nominated && (before != issue::TO_BE_DISPENSED || !mine) {
        return Err(Refused::ResourceNotFound);
    }
    let response = Id::read(&m.response).ok_or_else(|| Refused::Failure("response id has invalid format".into()))?;
    let trigger = if m.nominated { Trigger::ReleaseNominated } else { Trigger::Release };
    d.go(number, issue::WITH, trigger)?;
    let dispenser = d.holder(Dispenser {
        ods: m.by.ods.clone(),
        name: m.by.name.clone(),
        owner: m.owner.clone(),
        agent: m.agent.clone(),
        ..Default::default()
    });
    let (who, now) = (d.who(&m.by), d.at.now);
    d.set_items(number, |_, was| items::released(was))?;
    let issue = d.issue_mut(number)?;
    issue.before_release = issue.previous_items.clone();
    issue.status_before_release = before;
    issue.dispenser = dispenser;
    issue.released_at = now;
    (issue.release_request, issue.release_response) = (request, response);
    issue.previous_told = issue.previous_issue_at;
    let released = Released {
        issue: number,
        response,
        items_before: issue.before_release.iter().map(|status| u16::from(*status)).collect(),
        last_dispensed: issue.previous_told,
        taken_back: 0,
    };
    let event = Event { message: request, trigger: trigger as u8, who, issue: number, ..Default::default() };
    d.log(Event { before, after: issue::WITH, ..event });
    Ok(Step::Wrote(released))
}
