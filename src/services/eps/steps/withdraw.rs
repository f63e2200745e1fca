//! A dispenser takes the last notification back (spec/eps.md §12): the issue is again what it was before it.

use super::{Draft, Moment, Outcome, Step, dispense::same_patient, give_back::holder_or_warning, id_of, run};
use crate::services::eps::{
    message::Withdraw,
    record::{Event, Id, Prescription, Snapshot},
    refused::Refused,
    states::{Trigger, issue},
};

pub fn withdraw(old: Option<&Prescription>, m: &Withdraw, at: &Moment) -> Outcome<()> {
    let Some(old) = old.filter(|p| !p.is_placeholder() && !p.is_shell()) else {
        return Outcome::refused(Refused::NotFound);
    };
    run(Draft::of(old, at), |d| {
        let message = id_of(&m.message)?;
        if d.replayed(message, Trigger::Withdraw)?.is_some() {
            return Ok(Step::Same(()));
        }
        same_patient(&d.p, m.nhs)?;
        let notification = Id::or_none(&m.notification);
        let number = target(&d.p, m.issue, notification);
        let i = d.issue(number)?;
        // §21 no. 6 and no. 12: of every type, and after the next issue became current, too; never once claimed.
        if ![issue::ACTIVE, issue::DISPENSED, issue::NOT_DISPENSED].contains(&i.status) {
            return Err(Refused::Transition);
        }
        if notification.is_none() || i.last_notification != notification {
            return Err(Refused::AmendMismatch);
        }
        let kept = i.history.iter().find(|s| s.message == notification).cloned().ok_or(Refused::AmendMismatch)?;
        holder_or_warning(d, number, &m.by)?;
        restore(d, number, m, message, kept)
    })
}

/// The issue that is named; where none is, the one whose last notification it is.
fn target(p: &Prescription, issue: u32, notification: Id) -> u32 {
    if !p.is_erd() {
        return 1;
    }
    let its = || p.instances.iter().find(|i| notification.is_some() && i.last_notification == notification);
    if issue != 0 { issue } else { its().map_or(p.current, |i| i.number) }
}

fn restore(d: &mut Draft, number: u32, m: &Withdraw, message: Id, kept: Snapshot) -> Result<Step<()>, Refused> {
    let (before, who, erd) = (d.issue(number)?.status, d.who(&m.by), d.p.is_erd());
    // eRD never goes below 0003; its date of dispensing is then that of the release (§12).
    let floor = erd && kept.status == issue::WITH;
    let to = if floor { issue::ACTIVE } else { kept.status };
    d.go(number, to, Trigger::Withdraw)?;
    d.set_items(number, |at, was| kept.items.get(at).map_or(was, |status| u16::from(*status)))?;
    let i = d.issue_mut(number)?;
    i.history.retain(|s| s.message != kept.message);
    i.dispenser = kept.dispenser;
    i.dispensed_at = if floor { i.released_at } else { kept.dispensed_at };
    (i.last_status, i.last_notification) = (kept.last_status, kept.last_notification);
    (i.reason, i.completed_on) = (kept.reason, kept.completed_on);
    let event = Event { message, trigger: Trigger::Withdraw as u8, who, issue: number, ..Default::default() };
    d.log(Event { before, after: to, ..event });
    Ok(Step::Wrote(()))
}
