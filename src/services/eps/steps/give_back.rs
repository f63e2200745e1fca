//! A dispenser gives a prescription back before it dispensed anything (spec/eps.md §11); Spine does it itself on a bad signature
//! (then in the holder's name, so that no warning is written).

use super::{Draft, Moment, Outcome, Step, Then, dispense::same_patient, id_of, items, pending, run};
use crate::services::eps::{
    clock,
    message::{Return, Sender},
    record::{Event, Id, Nomination, Prescription},
    refused::Refused,
    states::{Trigger, issue},
};

pub fn give_back(old: Option<&Prescription>, m: &Return, at: &Moment) -> Outcome<()> {
    let Some(old) = old.filter(|p| !p.is_placeholder() && !p.is_shell()) else {
        return Outcome::refused(Refused::NotFound);
    };
    run(Draft::of(old, at), |d| {
        let message = id_of(&m.message)?;
        if d.replayed(message, Trigger::Return)?.is_some() {
            return Ok(Step::Same(()));
        }
        same_patient(&d.p, m.nhs)?;
        // §3.8: a return of an eRD prescription may leave its issue out.
        let number = if d.p.is_erd() && m.issue != 0 { m.issue } else { d.p.current };
        if d.issue(number)?.status != issue::WITH {
            return Err(Refused::Transition);
        }
        holder_or_warning(d, number, &m.by)?;
        come_back(d, number, m, message)
    })
}

/// §21 no. 2: returns and withdrawals of others than the holder pass with a warning, unless the site refuses them.
pub fn holder_or_warning(d: &mut Draft, number: u32, by: &Sender) -> Result<(), Refused> {
    let holder = d.p.issue(number).and_then(|i| d.p.holder(i)).map(|h| h.ods.clone()).unwrap_or_default();
    if holder == by.ods {
        return Ok(());
    }
    if d.at.rules.holder_only_returns {
        return Err(Refused::WithAnotherDispenser);
    }
    d.then.push(Then::NotHolder { holder, sender: by.ods.clone(), issue: number });
    Ok(())
}

fn come_back(d: &mut Draft, number: u32, m: &Return, message: Id) -> Result<Step<()>, Refused> {
    let (now, today, who) = (d.at.now, d.at.today, d.who(&m.by));
    d.set_items(number, |_, was| items::returned(was))?;
    let overdue = clock::expiry(&d.p, d.issue(number)?) < today;
    // §21 no. 7: a pending cancellation is applied now.
    pending::apply(d, number, Trigger::Return, number)?;
    let to = match Prescription::active(d.issue(number)?) {
        false => issue::CANCELLED,
        true if overdue => issue::EXPIRED,
        true => issue::TO_BE_DISPENSED,
    };
    d.go(number, to, Trigger::Return)?;
    if to == issue::EXPIRED {
        expire_from(d, number)?;
    }
    let i = d.issue_mut(number)?;
    i.dispenser = 0;
    i.released_at = 0;
    (i.release_request, i.release_response) = (Id::NONE, Id::NONE);
    i.before_release = Default::default();
    (i.status_before_release, i.previous_told) = (0, 0);
    if to == issue::TO_BE_DISPENSED {
        i.available_at = now;
    } else {
        i.completed_on = today;
    }
    clear_nomination(d);
    let event = Event { message, trigger: Trigger::Return as u8, who, issue: number, ..Default::default() };
    d.log(Event { before: issue::WITH, after: to, ..event });
    Ok(Step::Wrote(()))
}

/// The returned issue is past its expiry date: it and all later ones expire.
fn expire_from(d: &mut Draft, number: u32) -> Result<(), Refused> {
    d.set_items(number, |_, was| items::expired(was))?;
    let today = d.at.today;
    let later: Vec<u32> = d.p.instances.iter().filter(|i| i.number > number).map(|i| i.number).collect();
    for later in later {
        if d.issue(later)?.status == issue::FUTURE_REPEAT {
            d.go(later, issue::EXPIRED, Trigger::Return)?;
            d.set_items(later, |_, was| items::expired(was))?;
            d.issue_mut(later)?.completed_on = today;
        }
    }
    d.p.current = d.p.issues;
    Ok(())
}

/// The next release has to be by id (§17.7).
pub fn clear_nomination(d: &mut Draft) {
    let ended_at = d.at.now;
    if !d.p.nomination.ods.is_empty() {
        let old = std::mem::take(&mut d.p.nomination);
        d.p.past_nominations.push(Nomination { ended_at, ..old });
    }
}
