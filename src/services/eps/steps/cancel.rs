//! A prescriber takes an item back (spec/eps.md §8.2): done, kept for later, or too late; before the order a placeholder.

use super::{Draft, MAX_CANCELLATIONS, Moment, Outcome, SCN_LIMIT, Step, id_of, pending, run};
use crate::model::EpochMillis;
use crate::services::eps::{
    message::Cancel,
    record::{Cancellation, Dispenser, Event, Id, Issue, Prescription, cancellation},
    refused::Refused,
    states::{Trigger, allowed, issue, item},
};

/// The answers of §8.4; numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    R0001 = 1,
    R0002 = 2,
    R0003 = 3,
    R0004 = 4,
    R0005 = 5,
    R0006 = 6,
    R0007 = 7,
    R0008 = 8,
    R0009 = 9,
    R0010 = 10,
    R5000 = 5000,
    R5888 = 5888,
}

impl Code {
    pub const ALL: &'static [Code] = &[
        Code::R0001,
        Code::R0002,
        Code::R0003,
        Code::R0004,
        Code::R0005,
        Code::R0006,
        Code::R0007,
        Code::R0008,
        Code::R0009,
        Code::R0010,
        Code::R5000,
        Code::R5888,
    ];

    pub fn of(number: u16) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| *code as u16 == number)
    }

    /// `R-0001`.
    pub fn word(self) -> String {
        format!("R-{:04}", self as u16)
    }

    /// Exact: a public test compares (§8.4). Empty for R-5000, whose text is free.
    pub fn display(self) -> &'static str {
        match self {
            Code::R0001 => "Prescription/item was cancelled",
            Code::R0002 => "Prescription/item was not cancelled. With dispenser. Marked for cancellation",
            Code::R0003 => "Prescription/item was not cancelled. With dispenser active. Marked for cancellation",
            Code::R0004 => "Prescription/item was not cancelled. Prescription has been dispensed.",
            Code::R0005 => "Prescription/item has expired",
            Code::R0006 => "Prescription/item had already been cancelled",
            Code::R0007 => "Prescription/item cancellation requested by another prescriber",
            Code::R0008 => "Prescription/item not found",
            Code::R0009 => "Cancellation functionality disabled in SPINE",
            Code::R0010 => "Prescription/item was not cancelled. Prescription has been not dispensed.",
            Code::R5000 => "",
            Code::R5888 => "Invalid Message.",
        }
    }
}

/// What a cancellation is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    pub code: Code,
    /// When it was decided (`statusDate`).
    pub at: EpochMillis,
    /// Who has or had it, in the states that show it (§8.4).
    pub dispenser: Option<Dispenser>,
    /// R-5000: why.
    pub why: &'static str,
}

/// Every reason of an R-5000.
pub const WHYS: [&str; 3] = [OTHER_PATIENT, CHANGED_TOO_OFTEN, TOO_MANY_WAIT];
const OTHER_PATIENT: &str = "NHS number differs from the prescription's";
const CHANGED_TOO_OFTEN: &str = "prescription was changed too often";
const TOO_MANY_WAIT: &str = "too many cancellations wait for the order";

/// Never refused by the store: `result` is `Err` only where a message id was used before by another kind of message.
pub fn cancel(old: Option<&Prescription>, m: &Cancel, at: &Moment) -> Outcome<Cancelled> {
    let empty = Prescription::default();
    let draft = Draft::of(old.unwrap_or(&empty), at);
    let (Ok(message), Some(item)) = (id_of(&m.message), Id::read(&m.item)) else {
        let answer = answer(&draft, Code::R5888, None);
        return draft.undone(Ok(answer));
    };
    run(draft, |d| match d.replayed(message, Trigger::Cancel)?.cloned() {
        Some(event) => Ok(Step::Same(again(d, &event))),
        None if old.is_none() => placeholder(d, m, message, item),
        None => decide(d, m, message, item),
    })
}

/// The first answer again (§3.7).
fn again(d: &Draft, event: &Event) -> Cancelled {
    let code = Code::of(event.answer).unwrap_or(Code::R5000);
    Cancelled { code, at: event.at, dispenser: d.p.dispenser(event.dispenser).cloned(), why: "" }
}

fn answer(d: &Draft, code: Code, dispenser: Option<Dispenser>) -> Cancelled {
    Cancelled { code, at: d.at.now, dispenser, why: "" }
}

fn failed(d: &Draft, why: &'static str) -> Result<Step<Cancelled>, Refused> {
    Ok(Step::Same(Cancelled { code: Code::R5000, at: d.at.now, dispenser: None, why }))
}

/// Nothing of it is known: the cancellation waits for its order.
fn placeholder(d: &mut Draft, m: &Cancel, message: Id, item: Id) -> Result<Step<Cancelled>, Refused> {
    if !allowed(None, issue::PLACEHOLDER, Trigger::Cancel) {
        return Err(Refused::Transition);
    }
    d.p.id = m.id.clone();
    d.p.long_id = Id::or_none(&m.long_id);
    d.p.nhs = m.nhs;
    d.p.arrived_at = d.at.now;
    (d.p.issues, d.p.current) = (1, 1);
    d.p.instances = vec![Issue { number: 1, status: issue::PLACEHOLDER, ..Default::default() }];
    keep(d, m, message, item, cancellation::PENDING, "");
    wrote(d, m, message, item, Code::R0008, issue::PLACEHOLDER)
}

fn decide(d: &mut Draft, m: &Cancel, message: Id, item: Id) -> Result<Step<Cancelled>, Refused> {
    if d.p.is_shell() {
        return Ok(Step::Same(answer(d, Code::R0008, None)));
    }
    if d.p.nhs != m.nhs {
        return failed(d, OTHER_PATIENT);
    }
    let number = d.p.current;
    let status = d.issue(number)?.status;
    let code = if d.p.is_placeholder() {
        Code::R0008
    } else {
        match d.p.place(item) {
            Some(place) => code_of(status, d.issue(number)?.item(place)),
            None => return Ok(Step::Same(answer(d, Code::R0008, None))),
        }
    };
    if d.p.scn >= SCN_LIMIT && matches!(code, Code::R0001 | Code::R0002 | Code::R0003 | Code::R0008) {
        return failed(d, CHANGED_TOO_OFTEN);
    }
    match code {
        Code::R0001 => {
            pending::take_out(d, item, number, Trigger::Cancel, 0)?;
            keep(d, m, message, item, cancellation::APPLIED, "");
            wrote(d, m, message, item, code, status)
        }
        Code::R0002 | Code::R0003 | Code::R0008 => mark(d, m, message, item, code, status),
        _ => Ok(Step::Same(answer(d, code, shown(&d.p, number, item)))),
    }
}

/// The code of §8.2 for a current issue and the item in it. The item decides; the issue where the item does not.
pub fn code_of(status: u16, item: u16) -> Code {
    match (status, item) {
        (status, item::TO_BE_DISPENSED) if issue::CANCELLABLE.contains(&status) => Code::R0001,
        (issue::CANCELLED, _) | (_, item::CANCELLED) => Code::R0006,
        (_, item::DISPENSED) => Code::R0004,
        (_, item::NOT_DISPENSED) => Code::R0010,
        (issue::EXPIRED, _) | (_, item::EXPIRED) => Code::R0005,
        (issue::WITH, _) => Code::R0002,
        (issue::ACTIVE, _) => Code::R0003,
        (issue::NOT_DISPENSED, _) => Code::R0010,
        (issue::DISPENSED | issue::CLAIMED | issue::NO_CLAIMED, _) => Code::R0004,
        _ => Code::R5000,
    }
}

/// It is kept until the prescription comes back or is ordered; a second one for the same item is noted only.
fn mark(d: &mut Draft, m: &Cancel, message: Id, item: Id, code: Code, status: u16) -> Result<Step<Cancelled>, Refused> {
    let same = d.p.pending().find(|c| c.item == item || c.item.is_none());
    let earlier = same.map(|c| d.p.sender(c.who).map(|s| s.ods.clone()).unwrap_or_default());
    match earlier {
        Some(ods) => {
            let code = if ods == m.by.ods { code } else { Code::R0007 };
            if d.p.unsuccessful().count() >= MAX_CANCELLATIONS {
                return Ok(Step::Same(answer(d, code, shown(&d.p, d.p.current, item))));
            }
            keep(d, m, message, item, cancellation::UNSUCCESSFUL, "a cancellation of the same item was pending");
            wrote(d, m, message, item, code, status)
        }
        None if d.p.pending().count() >= MAX_CANCELLATIONS => failed(d, TOO_MANY_WAIT),
        None => {
            keep(d, m, message, item, cancellation::PENDING, "");
            wrote(d, m, message, item, code, status)
        }
    }
}

fn keep(d: &mut Draft, m: &Cancel, message: Id, item: Id, state: u8, failure: &str) {
    let who = d.who(&m.by);
    let now = d.at.now;
    let settled_at = if state == cancellation::PENDING { 0 } else { now };
    d.p.cancellations.push(Cancellation {
        message,
        item,
        reason: m.reason.clone(),
        who,
        at: now,
        state,
        failure: failure.to_owned(),
        settled_at,
        issue: if state == cancellation::APPLIED { d.p.current } else { 0 },
        nhs: if d.p.is_placeholder() { m.nhs } else { 0 },
        ..Default::default()
    });
}

fn wrote(
    d: &mut Draft,
    m: &Cancel,
    message: Id,
    item: Id,
    code: Code,
    before: u16,
) -> Result<Step<Cancelled>, Refused> {
    let (number, who) = (d.p.current, d.who(&m.by));
    let now = d.issue(number)?;
    let (after, has_it) = (now.status, now.dispenser);
    let dispenser = shown(&d.p, number, item);
    d.log(Event {
        message,
        trigger: Trigger::Cancel as u8,
        who,
        issue: number,
        before,
        after,
        answer: code as u16,
        dispenser: if dispenser.is_some() { has_it } else { 0 },
        item,
        ..Default::default()
    });
    Ok(Step::Wrote(answer(d, code, dispenser)))
}

/// Who has or had the issue, in the states that show it (§8.4).
fn shown(p: &Prescription, number: u32, item: Id) -> Option<Dispenser> {
    const ISSUES: &[u16] = &[2, 3, 6, 7, 8, 9];
    const ITEMS: &[u16] = &[8, 3, 1, 2, 4];
    let issue = p.issue(number)?;
    let status = issue.item(p.place(item)?);
    let shows = ISSUES.contains(&issue.status) && ITEMS.contains(&status);
    if shows { p.holder(issue).cloned() } else { None }
}
