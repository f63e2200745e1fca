//! An order makes a prescription, or fills a placeholder (spec/eps.md §7.3, §7.4).

use super::{Draft, MAX_ISSUES, MAX_ITEMS, Moment, Outcome, SCN_LIMIT, Step, draft, id_of, pending, run};
use crate::services::eps::{
    clock::{plus_days, plus_months, uk_day},
    message::{Order, treatment},
    record::{Event, Id, Issue, LineItem, Nomination, Prescription},
    refused::Refused,
    states::{Trigger, allowed, issue, item},
};
use bytes::Bytes;
use std::collections::HashSet;

/// An order later than this from now is post-dated.
const POST_DATED_MILLIS: u64 = 24 * 3600 * 1000;
/// The dispensing window of what is not eRD, whatever was sent (§7.2).
const WINDOW_MONTHS: i32 = 12;

pub fn order(old: Option<&Prescription>, m: &Order, at: &Moment) -> Outcome<()> {
    let (message, items) = match id_of(&m.message).and_then(|id| Ok((id, items(m)?))) {
        Ok(read) => read,
        Err(why) => return Outcome::refused(why),
    };
    if let Some(old) = old {
        match draft::replayed(old, message, Trigger::Order) {
            Ok(Some(_)) => return Draft::of(old, at).undone(Ok(())),
            Err(why) => return Outcome::refused(why),
            // §21 no. 5: an order of a placeholder is stored and then cancelled; a shell keeps its id for itself.
            Ok(None) if !old.is_placeholder() => return Outcome::refused(Refused::DuplicatePrescription),
            Ok(None) if old.scn >= SCN_LIMIT => return Outcome::refused(super::too_many_changes()),
            Ok(None) => {}
        }
    }
    let empty = Prescription::default();
    run(Draft::of(old.unwrap_or(&empty), at), |d| create(d, m, message, items, old.is_some()))
}

/// The items, each with how many issues it is for.
fn items(m: &Order) -> Result<Vec<LineItem>, Refused> {
    let wrong = |why: &str| Refused::Failure(why.to_owned());
    if m.items.is_empty() || m.items.len() > MAX_ITEMS {
        return Err(wrong("No valid line items found"));
    }
    let issues = issues(m);
    if issues == 0 || issues > MAX_ISSUES {
        return Err(wrong("maxRepeats must be between 1 and 99"));
    }
    let mut seen = HashSet::new();
    let read = |i: &crate::services::eps::message::Item| {
        let id = Id::read(&i.id).ok_or_else(|| wrong("lineItemID has invalid format"))?;
        if m.treatment == treatment::DISPENSING && i.issues > issues {
            return Err(wrong("lineItem maxRepeats must not exceed the prescription's"));
        }
        let issues = if i.issues == 0 { issues } else { i.issues.min(issues) };
        seen.insert(id).then(|| LineItem { id, issues, ..Default::default() }).ok_or(Refused::DuplicateItem)
    };
    let items = m.items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let reached = items.iter().any(|i| i.issues == issues);
    reached.then_some(items).ok_or_else(|| wrong("no lineItem maxRepeats reaches the prescription's"))
}

/// Issues in all: one, but for eRD.
fn issues(m: &Order) -> u32 {
    if m.treatment == treatment::DISPENSING { m.issues } else { 1 }
}

fn create(d: &mut Draft, m: &Order, message: Id, items: Vec<LineItem>, over: bool) -> Result<Step<()>, Refused> {
    let (now, today, who) = (d.at.now, d.at.today, d.who(&m.prescriber));
    let erd = m.treatment == treatment::DISPENSING;
    let p = &mut d.p;
    p.id = m.id.clone();
    p.long_id = Id::or_none(&m.long_id);
    (p.nhs, p.born, p.treatment) = (m.nhs, m.born, m.treatment);
    p.prescription_type = m.prescription_type.clone();
    (p.prescribed_at, p.signed_at) = (m.prescribed_at, m.signed_at);
    p.days_supply = m.days_supply;
    (p.window_low, p.window_high) =
        if erd { (m.window_low, m.window_high) } else { (today, plus_months(today, WINDOW_MONTHS)) };
    (p.issues, p.current, p.order, p.prescriber) = (issues(m), 1, message, who);
    p.nomination = Nomination { ods: m.nominated.clone(), kind: m.nominated_type.clone(), ..Default::default() };
    p.arrived_at = if over { p.arrived_at } else { now };
    let from = over.then_some(issue::PLACEHOLDER);
    let first = if post_dated(m, d) { issue::FUTURE } else { issue::TO_BE_DISPENSED };
    d.p.instances = (1..=d.p.issues).map(|number| instance(number, first, &items, now)).collect();
    d.p.items = items;
    if !allowed(from, first, Trigger::Order) {
        return Err(Refused::Transition);
    }
    pending::apply(d, 1, Trigger::Cancel, 0)?;
    let after = d.issue(1)?.status;
    d.log(Event {
        message,
        trigger: Trigger::Order as u8,
        who,
        issue: 1,
        before: from.unwrap_or_default(),
        after,
        ..Default::default()
    });
    Ok(Step::Wrote(()))
}

/// Is it later than tomorrow? For eRD the window counts too (§7.4).
fn post_dated(m: &Order, d: &Draft) -> bool {
    let window = m.treatment == treatment::DISPENSING && m.window_low > plus_days(uk_day(d.at.now), 1);
    window || m.prescribed_at > d.at.now.saturating_add(POST_DATED_MILLIS)
}

/// One issue of a new prescription; an item that is not for it is 0006.
fn instance(number: u32, first: u16, items: &[LineItem], now: u64) -> Issue {
    let status = if number == 1 { first } else { issue::FUTURE_REPEAT };
    let of = |i: &LineItem| if i.issues < number { item::EXPIRED } else { item::TO_BE_DISPENSED } as u8;
    let available_at = if status == issue::TO_BE_DISPENSED { now } else { 0 };
    let items: Bytes = items.iter().map(of).collect::<Vec<u8>>().into();
    Issue { number, status, items, available_at, ..Default::default() }
}
