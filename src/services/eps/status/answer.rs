//! Entries of a transaction's response (spec/eps.md §15).

use super::check::Wrong;
use crate::{
    model::{EpochMillis, time},
    services::eps::show::{HTTP_ERRORS, coding},
};
use serde_json::{Value, json};

pub fn bundle(entries: Vec<Value>) -> Value {
    json!({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})
}

fn entry(url: &str, status: &str, issue: Value, at: EpochMillis) -> Value {
    let mut entry = json!({"response": {"status": status, "outcome": {
        "resourceType": "OperationOutcome",
        "meta": {"lastUpdated": time::iso(at)},
        "issue": [issue],
    }}});
    if !url.is_empty() {
        entry["fullUrl"] = json!(url);
    }
    entry
}

fn issue(code: &str, severity: &str, text: &str) -> Value {
    json!({"code": code, "severity": severity, "diagnostics": text})
}

/// A refusal of everything; its status is 400.
pub fn whole_refusal(wrong: &Wrong, at: EpochMillis) -> Value {
    bundle(vec![bad("", wrong, at)])
}

/// The published text; beside it the elements, and what would be right.
pub fn bad(url: &str, wrong: &Wrong, at: EpochMillis) -> Value {
    let mut issue = issue("value", "error", &wrong.text);
    let (headers, elements): (Vec<&str>, Vec<&str>) = wrong.paths.iter().partition(|path| path.starts_with("http."));
    for (member, paths) in [("expression", elements), ("location", headers)] {
        if !paths.is_empty() {
            issue[member] = json!(paths);
        }
    }
    if !wrong.right.is_empty() {
        issue["details"] = json!({"text": wrong.right.join(" ")});
    }
    entry(url, "400 Bad Request", issue, at)
}

pub fn created(url: &str, at: EpochMillis) -> Value {
    entry(url, "201 Created", issue("success", "information", "No issues detected during validation."), at)
}

pub fn not_committed(url: &str, at: EpochMillis) -> Value {
    let text = "Data not committed due to issues in other entries.";
    entry(url, "200 OK", issue("informational", "information", text), at)
}

pub fn conflict(task: &str, at: EpochMillis) -> Value {
    let text = "Request contains a task id and prescription id identical to a record already in the data store.";
    let mut issue = issue("duplicate", "error", text);
    let display = "409: The Receiver identified a conflict.";
    issue["details"] = json!({"coding": [coding(HTTP_ERRORS, "REC_CONFLICT", display)]});
    let mut entry = entry(&format!("urn:uuid:{task}"), "409 Conflict", issue, at);
    entry["response"]["location"] = json!(format!("Task/{task}"));
    entry
}

/// What is answered when the store does not take a request: 429, 504, else 500.
pub fn trouble(status: u16, at: EpochMillis) -> Value {
    let made = match status {
        429 => {
            let text = "The Server is receiving too many requests. Try again later.";
            entry("", "429 Too Many Requests", issue("temporarily-forbidden", "error", text), at)
        }
        504 => {
            let text = "The Server has timed out while processing the request sent by the client.";
            entry("", "504 The request timed out", issue("timeout", "fatal", text), at)
        }
        _ => {
            let text = "The Server has encountered an error processing the request.";
            entry("", "500 Internal Server Error", issue("exception", "fatal", text), at)
        }
    };
    bundle(vec![made])
}
