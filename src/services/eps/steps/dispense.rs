//! What a dispenser gave out, or says anew (spec/eps.md §10.2).

use super::{Draft, Moment, Outcome, Step, id_of, next_issue, pending, run};
use crate::services::eps::{
    message::{Dispense, Dispensed, Sender},
    record::{Dispenser, Event, Id, Issue, Prescription, Snapshot, day_of},
    refused::Refused,
    states::{Trigger, issue, item, item_allowed},
};

/// §21 no. 12: a withdrawal or amendment may open an issue again after the next became current; it can then be notified again,
/// or what was supplied of it could never be paid.
const EARLIER_ISSUE_MAY_BE_NOTIFIED_AGAIN: bool = true;

pub fn dispense(old: Option<&Prescription>, m: &Dispense, at: &Moment) -> Outcome<()> {
    let Some(old) = old.filter(|p| !p.is_placeholder() && !p.is_shell()) else {
        return Outcome::refused(Refused::NotFound);
    };
    run(Draft::of(old, at), |d| {
        let message = id_of(&m.message)?;
        if d.replayed(message, Trigger::Dispense)?.is_some() {
            return Ok(Step::Same(()));
        }
        same_patient(&d.p, m.nhs)?;
        let number = target(&d.p, m)?;
        let base = base(d, number, m)?;
        only_holder(d, number, &m.by)?;
        let items = new_items(&d.p, &base, m)?;
        ends_well(m.status, &items)?;
        notify(d, number, m, message, base, items)
    })
}

/// The patient's number has to be the record's ([I] which code).
pub fn same_patient(p: &Prescription, nhs: u64) -> Result<(), Refused> {
    let same = p.nhs == nhs;
    same.then_some(()).ok_or_else(|| Refused::Failure("nhsNumber does not match the prescription".into()))
}

/// §21 no. 2: somebody else than the holder is refused, unless the site lets it pass.
pub fn only_holder(d: &Draft, number: u32, by: &Sender) -> Result<(), Refused> {
    let holder = d.p.issue(number).and_then(|i| d.p.holder(i));
    let other = holder.is_some_and(|h| h.ods != by.ods);
    if other && d.at.rules.holder_only { Err(Refused::WithAnotherDispenser) } else { Ok(()) }
}

/// The issue that a notification is about, its repeat counts compared.
fn target(p: &Prescription, m: &Dispense) -> Result<u32, Refused> {
    if !p.is_erd() {
        return Ok(1);
    }
    let item_wrong = |i: &Dispensed| {
        let own = Id::read(&i.item).and_then(|id| p.items.iter().find(|item| item.id == id)).map(|item| item.issues);
        i.issues != 0 && i.issues != p.issues && own.is_some_and(|own| own != i.issues)
    };
    let wrong = (m.issues != 0 && m.issues != p.issues) || m.issue > p.issues || m.items.iter().any(item_wrong);
    if wrong { Err(Refused::RepeatCount) } else { Ok(if m.issue == 0 { p.current } else { m.issue }) }
}

/// The issue as it stood before this notification: as it is, or for an amendment as before the one that it replaces.
fn base(d: &Draft, number: u32, m: &Dispense) -> Result<Snapshot, Refused> {
    let i = d.issue(number)?;
    if m.replaces.is_empty() {
        let reachable = number == d.p.current || (EARLIER_ISSUE_MAY_BE_NOTIFIED_AGAIN && number < d.p.current);
        return if reachable && i.with_dispenser() { Ok(snapshot(i)) } else { Err(Refused::Transition) };
    }
    let replaced = Id::or_none(&m.replaces);
    if replaced.is_none() || replaced != i.last_notification {
        return Err(Refused::AmendMismatch);
    }
    // 0008 may not be amended, §10.2 no. 3.
    let open = [issue::ACTIVE, issue::DISPENSED, issue::NOT_DISPENSED].contains(&i.status);
    let kept = i.history.iter().find(|s| s.message == replaced).cloned();
    if open { kept.ok_or(Refused::AmendMismatch) } else { Err(Refused::Transition) }
}

fn snapshot(i: &Issue) -> Snapshot {
    Snapshot {
        status: i.status,
        items: i.items.clone(),
        dispenser: i.dispenser,
        dispensed_at: i.dispensed_at,
        last_status: i.last_status,
        last_notification: i.last_notification,
        reason: i.reason.clone(),
        completed_on: i.completed_on,
        ..Default::default()
    }
}

/// Status of each item after the message, in the record's order. Every item of the issue must be named, and no other.
fn new_items(p: &Prescription, base: &Snapshot, m: &Dispense) -> Result<Vec<u16>, Refused> {
    let mut said: Vec<Option<u16>> = vec![None; p.items.len()];
    for named in &m.items {
        let place = Id::read(&named.item).and_then(|id| p.place(id)).ok_or(Refused::ItemNotFound)?;
        if let Some(status) = said.get_mut(place) {
            status.get_or_insert(named.status);
        }
    }
    let after = said.into_iter().collect::<Option<Vec<u16>>>().ok_or(Refused::ItemNotFound)?;
    let good = base.items.iter().zip(&after).all(|(from, to)| item_allowed(u16::from(*from), *to));
    if good { Ok(after) } else { Err(Refused::ItemTransition) }
}

/// §21 no. 14: the prescription may not be complete while an item is open, nor "not dispensed" with an item dispensed; all else may be.
fn ends_well(status: u16, items: &[u16]) -> Result<(), Refused> {
    let open = items.iter().any(|status| item::ACTIVE.contains(status));
    let supplied = items.contains(&item::DISPENSED);
    let good = match status {
        issue::ACTIVE => true,
        issue::DISPENSED => !open,
        issue::NOT_DISPENSED => !open && !supplied,
        _ => false,
    };
    if good { Ok(()) } else { Err(Refused::Transition) }
}

fn notify(
    d: &mut Draft,
    number: u32,
    m: &Dispense,
    message: Id,
    base: Snapshot,
    items: Vec<u16>,
) -> Result<Step<()>, Refused> {
    let amends = !m.replaces.is_empty();
    let trigger = if amends { Trigger::Amend } else { Trigger::Dispense };
    let before = d.issue(number)?.status;
    let undone = m.status == issue::NOT_DISPENSED && number == d.p.current && d.p.pending().next().is_some();
    let status = if undone { issue::CANCELLED } else { m.status };
    d.go(number, status, trigger)?;
    d.set_items(number, |at, was| items.get(at).copied().unwrap_or(was))?;
    let (who, now, dispenser) = (d.who(&m.by), d.at.now, holder_after(d, &base, m));
    let i = d.issue_mut(number)?;
    let replaced = i.last_notification;
    i.history.retain(|s| !amends || s.message != replaced);
    i.history.push(Snapshot { message, ..base });
    i.dispensed_at = if m.at == 0 { now } else { m.at };
    (i.last_status, i.last_notification, i.dispenser) = (m.status, message, dispenser);
    i.payer = m.payer.clone();
    i.reason = if m.status == issue::NOT_DISPENSED { m.reason.clone() } else { String::new() };
    let complete = m.status != issue::ACTIVE;
    i.completed_on = if complete { day_of(i.dispensed_at) } else { 0 };
    if undone {
        pending::apply(d, number, trigger, number)?;
    } else if m.status == issue::DISPENSED && number == d.p.current {
        pending::drop_all(d, "prescription was dispensed");
    }
    if complete {
        next_issue::make_available(d, number)?;
    }
    let event = Event { message, trigger: trigger as u8, who, issue: number, ..Default::default() };
    d.log(Event { before, after: status, ..event });
    Ok(Step::Wrote(()))
}

/// The sender holds it from now on (only where the site lets others notify is that somebody else).
fn holder_after(d: &mut Draft, base: &Snapshot, m: &Dispense) -> u32 {
    match d.p.dispenser(base.dispenser) {
        Some(holder) if holder.ods == m.by.ods => base.dispenser,
        _ => d.holder(Dispenser { ods: m.by.ods.clone(), name: m.by.name.clone(), ..Default::default() }),
    }
}
