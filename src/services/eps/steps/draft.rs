//! A record while a step works on it: statuses move through the published table only, people and dispensers stand once.

use super::{Moment, Outcome, Then};
use crate::services::eps::{
    message::Sender,
    record::{Dispenser, Event, Id, Issue, Prescription},
    refused::Refused,
    states::{Trigger, allowed},
};
use bytes::Bytes;

/// The record in the making.
pub(in crate::services::eps) struct Draft {
    pub p: Prescription,
    pub then: Vec<Then>,
    pub at: Moment,
    /// What was overdue and is written whatever becomes of the step itself.
    pub first: Option<(Prescription, Vec<Then>)>,
}

impl Draft {
    pub fn of(old: &Prescription, at: &Moment) -> Draft {
        Draft { p: old.clone(), then: Vec::new(), at: *at, first: None }
    }

    /// The finished record, its change counted.
    pub fn finish(mut self) -> (Prescription, Vec<Then>) {
        self.p.scn = self.p.scn.saturating_add(1);
        self.p.changed_at = self.at.now;
        (self.p, self.then)
    }

    /// The step changes nothing: only what was overdue is written.
    pub fn undone<T>(self, result: Result<T, Refused>) -> Outcome<T> {
        let (record, then) = self.first.map_or((None, Vec::new()), |(record, then)| (Some(record), then));
        Outcome { record, then, result }
    }

    pub fn issue(&self, number: u32) -> Result<&Issue, Refused> {
        self.p.issue(number).ok_or(Refused::Transition)
    }

    pub fn issue_mut(&mut self, number: u32) -> Result<&mut Issue, Refused> {
        let at = (number as usize).checked_sub(1);
        at.and_then(|at| self.p.instances.get_mut(at)).ok_or(Refused::Transition)
    }

    /// Moves an issue's status, if the table has the row.
    pub fn go(&mut self, number: u32, to: u16, trigger: Trigger) -> Result<(), Refused> {
        let issue = self.issue_mut(number)?;
        if !allowed(Some(issue.status), to, trigger) {
            return Err(Refused::Transition);
        }
        issue.previous = issue.status;
        issue.status = to;
        Ok(())
    }

    /// Gives each item of an issue a new status.
    pub fn set_items(&mut self, number: u32, to: impl Fn(usize, u16) -> u16) -> Result<(), Refused> {
        let issue = self.issue_mut(number)?;
        let now: Vec<u8> = issue.item_statuses().enumerate().map(|(at, from)| to(at, from) as u8).collect();
        issue.previous_items = std::mem::replace(&mut issue.items, Bytes::from(now));
        Ok(())
    }

    /// The place of a sender, who is written down if new.
    pub fn who(&mut self, sender: &Sender) -> u32 {
        let at = self.p.senders.iter().position(|s| s == sender).unwrap_or_else(|| {
            self.p.senders.push(sender.clone());
            self.p.senders.len() - 1
        });
        at as u32 + 1
    }

    /// The place of a dispenser. One that nothing points at any more gives its place up.
    pub fn holder(&mut self, dispenser: Dispenser) -> u32 {
        if let Some(at) = self.p.dispensers.iter().position(|d| *d == dispenser) {
            return at as u32 + 1;
        }
        match (1..=self.p.dispensers.len() as u32).find(|at| !self.points_at(*at)) {
            Some(at) => {
                if let Some(place) = self.p.dispensers.get_mut(at as usize - 1) {
                    *place = dispenser;
                }
                at
            }
            None => {
                self.p.dispensers.push(dispenser);
                self.p.dispensers.len() as u32
            }
        }
    }

    fn points_at(&self, at: u32) -> bool {
        self.p.log.iter().any(|e| e.dispenser == at)
            || self.p.instances.iter().any(|i| i.dispenser == at || i.history.iter().any(|s| s.dispenser == at))
    }

    /// Writes the change log: what a message did to an issue.
    pub fn log(&mut self, event: Event) {
        self.p.log.push(Event { at: self.at.now, ..event });
    }

    /// The event that a message left before, if this message is a repeat.
    pub fn replayed(&self, message: Id, kind: Trigger) -> Result<Option<&Event>, Refused> {
        replayed(&self.p, message, kind)
    }
}

/// The event that a message left in a change log. One id may not be two kinds of message.
pub(super) fn replayed(p: &Prescription, message: Id, kind: Trigger) -> Result<Option<&Event>, Refused> {
    let found = p.log.iter().find(|e| e.message == message && e.message.is_some() && !e.is_release());
    match found {
        Some(event) if event.trigger().map(Trigger::kind) != Some(kind) => {
            Err(Refused::Failure("messageID was used by another message".into()))
        }
        found => Ok(found),
    }
}
