//! Prescription status updates (spec/eps.md §15): what a pharmacy tells of an item on its way to the patient. A transaction Bundle is
//! read and checked whole; either every entry is stored or none.
//!
//! Invariant: updates never change a prescription. The newest for a prescription's item is the one that is shown.

mod answer;
mod check;

#[cfg(test)]
mod tests;

pub use answer::trouble;

use crate::{model::EpochMillis, record};
use answer::whole_refusal;
use check::Wrong;
use serde_json::Value;

/// Code system of the business statuses.
pub const SYSTEM: &str = "https://fhir.nhs.uk/CodeSystem/task-businessStatus-nppt";

record! {
    /// One update of an item.
    pub struct StatusUpdate v1 {
        /// `Task.id`, as it came.
        1 => task: String,
        /// Short id, upper case.
        2 => prescription: String,
        /// Item number, lower case.
        3 => item: String,
        4 => nhs: u64,
        /// ODS code of the pharmacy.
        5 => ods: String,
        /// Business status as the table spells it: `Ready to Collect`.
        6 => status: String,
        /// `Task.status` is `completed`; else it is `in-progress`.
        7 => completed: bool,
        /// When it is so, milliseconds: later than `received_at` for a post-dated update.
        8 => modified_at: u64,
        /// Repeat number; 0 for none.
        9 => repeat: u32,
        /// `meta.lastUpdated`: when a post-dated update was written; 0 for none.
        10 => written_at: u64,
        /// When it came, milliseconds.
        11 => received_at: u64,
        /// `X-Request-ID`.
        12 => request: String,
    }
}

impl StatusUpdate {
    /// Whether it is told after another of the same item: by the moment of which it tells, then by arrival.
    pub fn is_after(&self, other: &StatusUpdate) -> bool {
        (self.modified_at, self.received_at) > (other.modified_at, other.received_at)
    }
    /// Whether another update is the same one: a `Task.id` once for each prescription.
    pub fn is_same(&self, other: &StatusUpdate) -> bool {
        self.task.eq_ignore_ascii_case(&other.task) && self.prescription == other.prescription
    }
}

/// The update that is shown of an item's: the newest whose moment has come.
pub fn shown<'a>(updates: impl IntoIterator<Item = &'a StatusUpdate>, now: EpochMillis) -> Option<&'a StatusUpdate> {
    let come = updates.into_iter().filter(|u| u.modified_at <= now);
    come.reduce(|newest, next| if next.is_after(newest) { next } else { newest })
}

/// Updates that may be stored together, and what is answered of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Updates {
    updates: Vec<StatusUpdate>,
    urls: Vec<String>,
}

impl Updates {
    pub fn all(&self) -> &[StatusUpdate] {
        &self.updates
    }
    /// Status, body, and whether everything is to be stored. `known` says whether an update with that `Task.id` and prescription is
    /// stored; two of them in one Bundle are a conflict as well.
    pub fn answer(&self, known: impl Fn(&StatusUpdate) -> bool, at: EpochMillis) -> (u16, Value, bool) {
        let before = |nth: usize| self.updates.iter().take(nth);
        let twice = |nth: usize, u: &StatusUpdate| before(nth).any(|b| b.is_same(u));
        let conflicts: Vec<bool> = self.updates.iter().enumerate().map(|(nth, u)| known(u) || twice(nth, u)).collect();
        let clear = !conflicts.contains(&true);
        let entries = self.updates.iter().zip(&self.urls).zip(&conflicts).map(|((update, url), conflict)| {
            match (conflict, clear) {
                (true, _) => answer::conflict(&update.task, at),
                (false, true) => answer::created(url, at),
                (false, false) => answer::not_committed(url, at),
            }
        });
        let body = answer::bundle(entries.collect());
        (if clear { 201 } else { 409 }, body, clear)
    }
}

/// Reads a request: what may be stored, or the answer with its status.
pub fn read(body: &[u8], request: Option<&str>, now: EpochMillis) -> Result<Updates, (u16, Value)> {
    let request = request.map(str::trim).filter(|id| !id.is_empty());
    let Some(request) = request else {
        let right = "The header must be there and not be empty.";
        return Err((
            400,
            whole_refusal(&Wrong::one("Missing or empty x-request-id header.", "http.x-request-id", right), now),
        ));
    };
    let bundle = serde_json::from_slice::<Value>(body).unwrap_or_default();
    if bundle["resourceType"] != "Bundle" || bundle["type"] != "transaction" {
        let text = "Request body does not have resourceType of 'Bundle' and type of 'transaction'.";
        let right = "A Bundle of type transaction with one entry for each Task is wanted.";
        return Err((400, whole_refusal(&Wrong::one(text, "Bundle.type", right), now)));
    }
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        return Err((200, answer::bundle(vec![])));
    }
    let codes = check::bad_ods_codes(entries);
    if !codes.is_empty() {
        let codes = Value::from(codes);
        let (path, right) = check::PHARMACY;
        return Err((
            400,
            whole_refusal(&Wrong::one(format!("Received invalid ODS codes: {codes}"), path, right), now),
        ));
    }
    let read: Vec<_> = entries.iter().map(|entry| check::entry(entry, request, now)).collect();
    let urls: Vec<String> = entries.iter().map(|e| e["fullUrl"].as_str().unwrap_or_default().to_owned()).collect();
    if read.iter().all(Result::is_ok) {
        return Ok(Updates { updates: read.into_iter().flatten().collect(), urls });
    }
    let entries = read.iter().zip(&urls).map(|(read, url)| match read {
        Ok(_) => answer::not_committed(url, now),
        Err(wrong) => answer::bad(url, wrong, now),
    });
    Err((400, answer::bundle(entries.collect())))
}
