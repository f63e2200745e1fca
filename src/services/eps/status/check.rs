//! Checks of one entry, with the published texts in their order (spec/eps.md §15).

use super::{SYSTEM, StatusUpdate};
use crate::{
    model::{EpochMillis, NhsNumber, time},
    services::eps::{
        ids,
        show::{
            ITEM, NHS_NUMBER, ODS, SHORT_ID,
            document::{list, text},
        },
    },
};
use serde_json::Value;

const HOUR: u64 = 3_600_000;
/// How far ahead a moment may lie; and that of an update that says when it was written.
const AHEAD: u64 = 24 * HOUR;
const AHEAD_POST_DATED: u64 = 999 * HOUR;
/// Longest id of an item that is kept; upstream does not look at its form.
const LONGEST_ITEM: usize = 64;

/// What a business status says of `Task.status`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Completed,
    InProgress,
    Either,
}

const STATUSES: [(&str, Ends); 9] = [
    ("Collected", Ends::Completed),
    ("Not Dispensed", Ends::Completed),
    ("Dispatched", Ends::Completed),
    ("With Pharmacy", Ends::InProgress),
    ("With Pharmacy - Preparing Remainder", Ends::InProgress),
    ("Ready to Collect - Partial", Ends::InProgress),
    ("Ready to Dispatch - Partial", Ends::InProgress),
    ("Ready to Collect", Ends::Either),
    ("Ready to Dispatch", Ends::Either),
];

/// The Task's parts that are looked at.
struct Task<'a> {
    task: &'a Value,
    based_on: &'a Value,
    coding: &'a Value,
}

const NOTHING: &Value = &Value::Null;

impl<'a> Task<'a> {
    fn of(entry: &'a Value) -> Self {
        let task = &entry["resource"];
        let based_on = list(task, "basedOn").first().map_or(NOTHING, |b| &b["identifier"]);
        let coding = list(&task["businessStatus"], "coding").first().unwrap_or(NOTHING);
        Task { task, based_on, coding }
    }
    fn identifier(&self, member: &str) -> &'a Value {
        &self.task[member]["identifier"]
    }
}

/// Codes of pharmacies that are none, each as it came.
pub fn bad_ods_codes(entries: &[Value]) -> Vec<String> {
    let codes = entries.iter().map(|e| text(Task::of(e).identifier("owner"), "value"));
    let bad = |code: &&str| !code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    codes.filter(bad).map(str::to_owned).collect()
}

/// An entry's update, or what is wrong with it.
pub fn entry(entry: &Value, request: &str, now: EpochMillis) -> Result<StatusUpdate, String> {
    let of = Task::of(entry);
    let missing = missing(entry, &of);
    if !missing.is_empty() {
        return Err(format!("Missing required field(s) - {}.", missing.join(", ")));
    }
    let (modified, written) = moments(of.task);
    let mut problems: Vec<String> = vec![];
    let id = text(of.task, "id");
    if ids::uuid(id).is_none() || text(entry, "fullUrl") != format!("urn:uuid:{id}") {
        problems.push("Invalid entry fullUrl or task id.".into());
    }
    let status = text(of.task, "status");
    if !matches!(status, "completed" | "in-progress") {
        problems.push(format!("Unsupported Task.status '{status}'."));
    }
    let code = text(of.coding, "code");
    let named = STATUSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(code));
    if named.is_none() {
        problems.push("Invalid business status.".into());
    }
    let most = if written.is_some() { AHEAD_POST_DATED } else { AHEAD };
    problems.extend(moment("lastModified", Some(modified), now.saturating_add(most)));
    problems.extend(moment("meta.lastUpdated", written, now.saturating_add(AHEAD)));
    let number = NhsNumber::strict(text(of.identifier("for"), "value"));
    if number.is_none() {
        problems.push("NHS number is invalid.".into());
    }
    let prescription = ids::short(text(of.based_on, "value"));
    if prescription.is_err() {
        problems.push("Prescription ID is invalid.".into());
    }
    if text(of.task, "resourceType") != "Task" {
        problems.push("Resource's resourceType is not 'Task'.".into());
    }
    problems.extend(ends(status, code, named.map(|(_, ends)| *ends)));
    problems.extend(systems(&of));
    let item = text(of.identifier("focus"), "value");
    if item.len() > LONGEST_ITEM {
        problems.push(format!("Task.focus.identifier.value is longer than {LONGEST_ITEM} characters."));
    }
    match (number, prescription, named, modified) {
        (Some(number), Ok(prescription), Some((name, _)), Some(modified_at)) if problems.is_empty() => {
            Ok(StatusUpdate {
                task: id.to_owned(),
                prescription,
                item: item.to_lowercase(),
                nhs: number.value(),
                ods: text(of.identifier("owner"), "value").to_owned(),
                status: (*name).to_owned(),
                completed: status == "completed",
                modified_at,
                repeat: repeat(of.task),
                written_at: written.flatten().unwrap_or(0),
                received_at: now,
                request: request.to_owned(),
                ..Default::default()
            })
        }
        _ => Err(problems.join(" ")),
    }
}

/// Names of what an update cannot do without, in the published order.
fn missing(entry: &Value, of: &Task<'_>) -> Vec<&'static str> {
    let fields = [
        ("FullUrl", text(entry, "fullUrl")),
        ("LastModified", text(of.task, "lastModified")),
        ("LineItemID", text(of.identifier("focus"), "value")),
        ("PatientNHSNumber", text(of.identifier("for"), "value")),
        ("PharmacyODSCode", text(of.identifier("owner"), "value")),
        ("PrescriptionID", text(of.based_on, "value")),
        ("Status", text(of.coding, "code")),
        ("TaskID", text(of.task, "id")),
        ("TerminalStatus", text(of.task, "status")),
    ];
    let empty = |(name, value): &(&'static str, &str)| value.is_empty().then_some(*name);
    if of.task.is_object() {
        return fields.iter().filter_map(empty).collect();
    }
    fields.iter().take(1).filter_map(empty).chain(["Resource"]).collect()
}

/// `lastModified`, and `meta.lastUpdated` where there is one; `None` inside for what is no moment.
fn moments(task: &Value) -> (Option<EpochMillis>, Option<Option<EpochMillis>>) {
    let read = |text: &str| if text.contains('T') { time::parse_iso(text) } else { None };
    let written = task["meta"].get("lastUpdated").map(|v| v.as_str().and_then(read));
    (read(text(task, "lastModified")), written)
}

fn moment(name: &str, said: Option<Option<EpochMillis>>, last: EpochMillis) -> Option<String> {
    match said? {
        None => Some(format!("Date format provided for {name} is invalid.")),
        Some(at) if at > last => Some(format!("Invalid {name} value provided.")),
        Some(_) => None,
    }
}

fn ends(status: &str, code: &str, named: Option<Ends>) -> Option<String> {
    match (status, named) {
        (_, None) => Some(format!("Unsupported Task.businessStatus '{code}'.")),
        ("completed", Some(Ends::InProgress)) => Some(format!(
            "Task.status field set to 'completed' but Task.businessStatus value of '{code}' requires follow up action."
        )),
        ("in-progress", Some(Ends::Completed)) => Some(format!(
            "Task.status field set to 'in-progress' but Task.businessStatus value of '{code}' \
             has no possible follow up action."
        )),
        _ => None,
    }
}

fn systems(of: &Task<'_>) -> Option<String> {
    let wanted = [
        ("LineItemID", of.identifier("focus"), ITEM),
        ("PatientNHSNumber", of.identifier("for"), NHS_NUMBER),
        ("PharmacyODSCode", of.identifier("owner"), ODS),
        ("PrescriptionID", of.based_on, SHORT_ID),
        ("Status", of.coding, SYSTEM),
    ];
    let wrong = wanted.iter().filter(|(_, part, system)| text(part, "system") != *system).map(|(name, ..)| *name);
    let wrong: Vec<&str> = wrong.collect();
    (!wrong.is_empty()).then(|| format!("Invalid CodeSystem(s) - {}.", wrong.join(", ")))
}

/// The repeat number; 0 for none. What is none is left out, as upstream does not check it.
fn repeat(task: &Value) -> u32 {
    let said = list(task, "input").iter().find(|i| text(&i["type"], "text").eq_ignore_ascii_case("Repeat Number"));
    let number = said.and_then(|i| i["valueInteger"].as_u64()).filter(|n| (1..=99).contains(n));
    number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}
