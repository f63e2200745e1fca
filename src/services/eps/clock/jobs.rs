//! Carrying out what is due (spec/eps.md §18.2). Each job moves statuses through the published table, writes the change log, and
//! can be run again without harm.

use super::{Activity, activity, forget_on, next_of};
use crate::services::eps::{
    message::Sender,
    record::{Event, Id, Issue, Prescription},
    refused::Refused,
    states::{Trigger, issue},
    steps::{Draft, Moment, Outcome, Reimbursement, Then, agency, items, next_issue, pending},
};

/// More jobs than one record can have due at once: each takes an issue further, and none goes back.
const MOST_JOBS: usize = 400;

/// Everything that is due. `None`: nothing is.
pub fn due(p: &Prescription, at: &Moment) -> Option<Outcome<()>> {
    carry_out(p, at, next_of).map(|d| {
        let gone = d.then.contains(&Then::Remove);
        let (record, then) = d.finish();
        Outcome { record: (!gone).then_some(record), then, result: Ok(()) }
    })
}

/// What a release or an administrative change carries out first: readiness or expiry of the current issue, if overdue (§18.2).
pub fn overdue(p: &Prescription, at: &Moment) -> Option<(Prescription, Vec<Then>)> {
    let pick = |p: &Prescription| {
        let i = p.current_issue().filter(|_| !p.is_shell())?;
        activity(p, i)
            .map(|(a, day)| (a, day, i.number))
            .filter(|(a, ..)| matches!(a, Activity::Ready | Activity::Expire))
    };
    carry_out(p, at, pick).map(Draft::finish)
}

fn carry_out(
    p: &Prescription,
    at: &Moment,
    pick: impl Fn(&Prescription) -> Option<(Activity, u32, u32)>,
) -> Option<Draft> {
    let mut draft: Option<Draft> = None;
    for _ in 0..MOST_JOBS {
        let now = draft.as_ref().map_or(p, |d| &d.p);
        let Some((activity, _, number)) = pick(now).filter(|(_, day, _)| *day <= at.today) else { break };
        let mut d = draft.take().unwrap_or_else(|| Draft::of(p, at));
        let kept = d.p.clone();
        if job(&mut d, activity, number).is_err() {
            // The table has no row for it: a record that contradicts itself is left alone.
            d.p = kept;
            return changed(d, p);
        }
        let gone = d.then.contains(&Then::Remove);
        draft = Some(d);
        if gone {
            break;
        }
    }
    draft
}

fn changed(d: Draft, before: &Prescription) -> Option<Draft> {
    (d.p != *before).then_some(d)
}

fn job(d: &mut Draft, activity: Activity, number: u32) -> Result<(), Refused> {
    match activity {
        Activity::Ready => ready(d, number),
        Activity::Expire => expire(d, number),
        Activity::CreateNoClaim => no_claim(d, number),
        Activity::Delete => delete(d),
        Activity::Forget => {
            forget(d);
            Ok(())
        }
        Activity::Purge => {
            d.then.push(Then::Remove);
            Ok(())
        }
    }
}

fn log(d: &mut Draft, trigger: Trigger, number: u32, before: u16) -> Result<(), Refused> {
    let after = d.issue(number)?.status;
    d.log(Event { trigger: trigger as u8, issue: number, before, after, ..Default::default() });
    Ok(())
}

fn ready(d: &mut Draft, number: u32) -> Result<(), Refused> {
    let (before, now) = (d.issue(number)?.status, d.at.now);
    d.go(number, issue::TO_BE_DISPENSED, Trigger::Ready)?;
    d.issue_mut(number)?.available_at = now;
    log(d, Trigger::Ready, number, before)
}

/// The issue and all later ones; one before the current only itself.
fn expire(d: &mut Draft, number: u32) -> Result<(), Refused> {
    let (before, today, current) = (d.issue(number)?.status, d.at.today, d.p.current);
    let last = if number < current { number } else { d.p.issues };
    let open = |i: &&Issue| (number..=last).contains(&i.number) && !issue::COMPLETED.contains(&i.status);
    let numbers: Vec<u32> = d.p.instances.iter().filter(open).map(|i| i.number).collect();
    for number in numbers {
        let to = if d.issue(number)?.status == issue::ACTIVE { issue::DISPENSED } else { issue::EXPIRED };
        d.go(number, to, Trigger::Expire)?;
        d.set_items(number, |_, was| items::expired(was))?;
        d.issue_mut(number)?.completed_on = today;
    }
    if number >= current {
        d.p.current = d.p.issues;
        pending::drop_all(d, "prescription expired");
    }
    log(d, Trigger::Expire, number, before)
}

fn no_claim(d: &mut Draft, number: u32) -> Result<(), Refused> {
    let (before, today) = (d.issue(number)?.status, d.at.today);
    d.go(number, issue::NO_CLAIMED, Trigger::NoClaim)?;
    d.set_items(number, |_, was| items::expired(was))?;
    let i = d.issue_mut(number)?;
    (i.completed_on, i.claim.received_on) = (today, today);
    i.history.clear();
    let dispenser = d.p.issue(number).and_then(|i| d.p.holder(i)).map(|h| h.ods.clone()).unwrap_or_default();
    let payer = agency(d.issue(number)?);
    let (claim, replaces) = Default::default();
    d.then.push(Then::Reimburse(Reimbursement { issue: number, claim, replaces, payer, dispenser }));
    if number == d.p.current {
        pending::drop_all(d, "prescription was closed without a claim");
    }
    next_issue::make_available(d, number)?;
    log(d, Trigger::NoClaim, number, before)
}

/// Documents go that have reached their age, oldest first; the log still knows their messages.
fn forget(d: &mut Draft) {
    let aged = |e: &&Event| forget_on(&d.p, e) <= d.at.today;
    let gone: Vec<(u64, Id)> = d.p.documented().take_while(aged).map(|e| (e.at, e.message)).collect();
    let last = gone.iter().map(|(at, _)| *at).max().unwrap_or_default();
    d.p.forgotten = d.p.forgotten.max(last + 1);
    d.then.push(Then::DeleteDocuments(gone.into_iter().map(|(_, id)| id).collect()));
}

/// Documents go, and all that is of the record but its frame: the shell keeps the id from being used again.
fn delete(d: &mut Draft) -> Result<(), Refused> {
    let documents: Vec<_> = d.p.documents().collect();
    if !documents.is_empty() {
        d.then.push(Then::DeleteDocuments(documents));
    }
    let old = std::mem::take(&mut d.p);
    let prescriber = old.prescribed_by().cloned().into_iter();
    d.p = Prescription {
        senders: prescriber.map(|s| Sender { ods: s.ods, name: s.name, ..Default::default() }).collect(),
        prescriber: u32::from(old.prescriber != 0),
        instances: old.instances.iter().map(frame).collect(),
        deleted_on: d.at.today,
        id: old.id,
        long_id: old.long_id,
        nhs: old.nhs,
        treatment: old.treatment,
        prescription_type: old.prescription_type,
        prescribed_at: old.prescribed_at,
        issues: old.issues,
        current: old.current,
        order: old.order,
        scn: old.scn,
        arrived_at: old.arrived_at,
        ..Default::default()
    };
    Ok(())
}

fn frame(i: &Issue) -> Issue {
    Issue { number: i.number, status: i.status, completed_on: i.completed_on, ..Default::default() }
}
