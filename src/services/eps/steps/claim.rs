//! A dispenser asks to be paid, once, or mends what it asked (spec/eps.md §13).

use super::{
    Draft, Moment, Outcome, Reimbursement, Step, Then,
    dispense::{only_holder, same_patient},
    id_of, run,
};
use crate::services::eps::{
    clock::{plus_days, plus_months},
    message,
    record::{Claim, Event, Id, Prescription},
    refused::Refused,
    states::{Trigger, issue},
};

/// What may be claimed. §21 no. 4: 0007 too.
const CLAIMABLE: &[u16] = &[issue::DISPENSED, issue::NOT_DISPENSED];
/// A claim may be amended until this day of the month after.
const LAST_DAY_OF_AMENDMENT: u32 = 5;

pub fn claim(old: Option<&Prescription>, m: &message::Claim, at: &Moment) -> Outcome<()> {
    let Some(old) = old.filter(|p| !p.is_placeholder() && !p.is_shell()) else {
        return Outcome::refused(Refused::NotFound);
    };
    run(Draft::of(old, at), |d| {
        let message = id_of(&m.message)?;
        if d.replayed(message, Trigger::Claim)?.is_some() {
            return Ok(Step::Same(()));
        }
        same_patient(&d.p, m.nhs)?;
        let replaces = Id::or_none(&m.replaces);
        let number = target(&d.p, m, replaces);
        let i = d.p.issue(number).ok_or(Refused::NotDispensed)?;
        if m.replaces.is_empty() {
            if !CLAIMABLE.contains(&i.status) {
                return Err(Refused::NotDispensed);
            }
            only_holder(d, number, &m.by)?;
            return first(d, number, m, message);
        }
        if i.status != issue::CLAIMED {
            return Err(Refused::NotDispensed);
        }
        if replaces.is_none() || replaces != i.claim.id {
            return Err(Refused::AmendMismatch);
        }
        only_holder(d, number, &m.by)?;
        if d.at.today > last_amendment(i.claim.first_on) {
            return Err(Refused::ClaimPeriod);
        }
        amend(d, number, m, message)
    })
}

/// The issue that is named. Where none is: for an amendment the one that was so claimed, else the newest that can be claimed.
fn target(p: &Prescription, m: &message::Claim, replaces: Id) -> u32 {
    if !p.is_erd() {
        return 1;
    }
    if m.issue != 0 {
        return m.issue;
    }
    let found = match m.replaces.is_empty() {
        true => p.instances.iter().rev().find(|i| CLAIMABLE.contains(&i.status)),
        false => p.instances.iter().find(|i| replaces.is_some() && i.claim.id == replaces),
    };
    found.map_or(p.current, |i| i.number)
}

/// The 5th of the month after the first claim's. The notification was sent in that month or before; where it was before, the
/// claim's month is what the text "of the dispense notification and first claim" can still mean.
pub fn last_amendment(first_claim: u32) -> u32 {
    let first_of_month = plus_days(first_claim, 1 - (first_claim % 100) as i32);
    plus_days(plus_months(first_of_month, 1), LAST_DAY_OF_AMENDMENT as i32 - 1)
}

fn first(d: &mut Draft, number: u32, m: &message::Claim, message: Id) -> Result<Step<()>, Refused> {
    let (before, today) = (d.issue(number)?.status, d.at.today);
    d.go(number, issue::CLAIMED, Trigger::Claim)?;
    let i = d.issue_mut(number)?;
    i.claim = Claim {
        id: message,
        received_on: today,
        first_on: today,
        payer: m.payer.clone(),
        made_at: m.at,
        ..Default::default()
    };
    // Neither withdrawn nor amended any more.
    i.history.clear();
    done(d, number, m, message, (Trigger::Claim, before, Id::NONE))
}

fn amend(d: &mut Draft, number: u32, m: &message::Claim, message: Id) -> Result<Step<()>, Refused> {
    let today = d.at.today;
    d.go(number, issue::CLAIMED, Trigger::AmendClaim)?;
    let claim = &mut d.issue_mut(number)?.claim;
    let replaced = std::mem::replace(&mut claim.id, message);
    claim.historic.push(replaced);
    (claim.received_on, claim.rebuild, claim.made_at) = (today, true, m.at);
    claim.payer = m.payer.clone();
    done(d, number, m, message, (Trigger::AmendClaim, issue::CLAIMED, replaced))
}

fn done(
    d: &mut Draft,
    number: u32,
    m: &message::Claim,
    message: Id,
    (trigger, before, replaces): (Trigger, u16, Id),
) -> Result<Step<()>, Refused> {
    let who = d.who(&m.by);
    let (payer, dispenser) = (m.payer.clone(), m.by.ods.clone());
    d.then.push(Then::Reimburse(Reimbursement { issue: number, claim: message, replaces, payer, dispenser }));
    let event = Event { message, trigger: trigger as u8, who, issue: number, ..Default::default() };
    d.log(Event { before, after: issue::CLAIMED, ..event });
    Ok(Step::Wrote(()))
}
