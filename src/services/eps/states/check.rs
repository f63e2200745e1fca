//! Does a record contradict itself (spec/eps.md §17.3)? Run after every write in tests, and by whoever doubts a stored record.

use super::{ITEMS_UNDER, code, issue};
use crate::services::eps::record::{Issue, Prescription};

/// What is wrong with a record; names statuses and issue numbers only.
pub fn consistent(p: &Prescription) -> Result<(), String> {
    if p.is_shell() {
        return Ok(());
    }
    if p.is_placeholder() {
        let alone = p.instances.iter().map(|i| i.status).eq([issue::PLACEHOLDER]);
        return if alone { Ok(()) } else { Err("a prescription without an order is no placeholder".into()) };
    }
    if p.issues == 0 || p.instances.len() != p.issues as usize || p.current_issue().is_none() {
        return Err(format!("{} issues of {}, current {}", p.instances.len(), p.issues, p.current));
    }
    for (at, issue) in p.instances.iter().enumerate() {
        one(p, at, issue).map_err(|why| format!("issue {} in {}: {why}", issue.number, code(issue.status)))?;
    }
    Ok(())
}

fn one(p: &Prescription, at: usize, i: &Issue) -> Result<(), String> {
    if i.number as usize != at + 1 || i.items.len() != p.items.len() {
        return Err(format!("stands at place {at} with {} items", i.items.len()));
    }
    if i.number > p.current && !issue::COMPLETED.contains(&i.status) && i.status != issue::FUTURE_REPEAT {
        return Err("a later issue that is neither future nor at an end".into());
    }
    if i.number == p.current && i.status == issue::FUTURE_REPEAT {
        return Err("the current issue is future".into());
    }
    let under = ITEMS_UNDER.iter().find(|(statuses, _)| statuses.contains(&i.status));
    let may = under.map(|(_, items)| *items).ok_or("no status of an issue")?;
    // 0005 that was reached from 0007 keeps what was not dispensed (§17.3).
    let kept = |status| i.status == issue::CANCELLED && i.last_status == issue::NOT_DISPENSED && status == 2;
    if let Some(wrong) = i.item_statuses().find(|status| !may.contains(status) && !kept(*status)) {
        return Err(format!("an item is {}", code(wrong)));
    }
    let holder = p.holder(i).is_some_and(|d| !d.ods.is_empty());
    let lacks = match i.status {
        issue::WITH if !holder => "dispenser",
        issue::ACTIVE if !holder => "dispenser",
        issue::ACTIVE | issue::DISPENSED | issue::CLAIMED if i.dispensed_at == 0 => "lastDispenseDate",
        issue::EXPIRED | issue::CANCELLED | issue::NOT_DISPENSED if i.completed_on == 0 => "completionDate",
        issue::DISPENSED | issue::NO_CLAIMED if i.completed_on == 0 => "completionDate",
        issue::CLAIMED | issue::NO_CLAIMED if i.claim.received_on == 0 => "claimReceivedDate",
        issue::AWAITING_RELEASE if i.download_on == 0 || p.window_start(i) == 0 => {
            "window start, nominatedDownloadDate"
        }
        _ => return Ok(()),
    };
    Err(format!("lacks {lacks}"))
}
