//! Cancellations take effect: at once, on return, or when an order arrives after them; or they come to nothing (spec/eps.md §8.2, §8.3).

use super::{Draft, Then};
use crate::services::eps::{
    record::{Cancellation, Id, Prescription, cancellation},
    refused::Refused,
    states::{Trigger, issue, item},
};

/// The cancel reason after which nobody is told (§8.3).
const DEATH: &str = "0007";

/// Takes an item, or all, out of the issue `from` and every later one; an issue that has nothing left to dispense is cancelled.
/// `keep` names an issue whose status its caller sets.
pub fn take_out(d: &mut Draft, target: Id, from: u32, trigger: Trigger, keep: u32) -> Result<(), Refused> {
    let place = d.p.place(target);
    let numbers: Vec<u32> = d.p.instances.iter().map(|i| i.number).filter(|n| *n >= from).collect();
    for number in numbers {
        let status = d.issue(number)?.status;
        if number != keep && !issue::CANCELLABLE.contains(&status) {
            continue;
        }
        let hit = |at: usize| target.is_none() || Some(at) == place;
        d.set_items(number, |at, was| if hit(at) && was == item::TO_BE_DISPENSED { item::CANCELLED } else { was })?;
        if number != keep && !Prescription::active(d.issue(number)?) {
            d.go(number, issue::CANCELLED, trigger)?;
            d.issue_mut(number)?.completed_on = d.at.today;
        }
    }
    Ok(())
}

/// Applies every pending cancellation from an issue on, and says so to who asked.
pub fn apply(d: &mut Draft, from: u32, trigger: Trigger, keep: u32) -> Result<(), Refused> {
    let waiting: Vec<usize> = places(d);
    for at in waiting {
        let Some(c) = d.p.cancellations.get(at).cloned() else { continue };
        if c.item.is_some() && d.p.place(c.item).is_none() {
            fail(d, at, "item is not on the prescription");
        } else if c.nhs != 0 && c.nhs != d.p.nhs {
            fail(d, at, "NHS number differs from the prescription's");
        } else {
            take_out(d, c.item, from, trigger, keep)?;
            applied(d, at, from);
        }
    }
    Ok(())
}

/// The prescription was dispensed or expired: what was pending comes to nothing.
pub fn drop_all(d: &mut Draft, why: &str) {
    places(d).into_iter().for_each(|at| fail(d, at, why));
}

fn places(d: &Draft) -> Vec<usize> {
    let pending = |(at, c): (usize, &Cancellation)| (c.state == cancellation::PENDING).then_some(at);
    d.p.cancellations.iter().enumerate().filter_map(pending).collect()
}

fn fail(d: &mut Draft, at: usize, why: &str) {
    let now = d.at.now;
    if let Some(c) = d.p.cancellations.get_mut(at) {
        c.state = cancellation::UNSUCCESSFUL;
        c.failure = why.to_owned();
        c.settled_at = now;
    }
}

fn applied(d: &mut Draft, at: usize, issue: u32) {
    let now = d.at.now;
    let Some(c) = d.p.cancellations.get_mut(at) else { return };
    c.state = cancellation::APPLIED;
    c.settled_at = now;
    c.issue = issue;
    let c = c.clone();
    // Somebody who died needs no message; Spine itself asks for none.
    if let (Some(to), true) = (d.p.sender(c.who).cloned(), c.reason != DEATH) {
        d.then.push(Then::LaterCancellation { cancellation: Box::new(c), to: Box::new(to), at: now });
    }
}
