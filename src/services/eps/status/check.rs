//! Checks of one entry, with the published texts in their order (spec/eps.md §15).

use super::{SYSTEM, StatusUpdate};
use crate::{
    model::{EpochMillis, NhsNumber, time},
    services::eps::{
        ids,
        read::rules::{NHS_NUMBER, SHORT_ID_FORM},
        show::{
            self, ITEM, ODS, SHORT_ID,
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

/// What is wrong with an entry: the published texts, the elements that they are of, and what would be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong {
    pub text: String,
    pub paths: Vec<&'static str>,
    pub right: Vec<String>,
}

impl Wrong {
    pub fn one(text: impl Into<String>, path: &'static str, right: &str) -> Wrong {
        Wrong { text: text.into(), paths: vec![path], right: vec![right.to_owned()] }
    }

    /// An empty text adds to what was said before.
    fn add(&mut self, text: &str, (path, right): (&'static str, &str)) {
        if !self.text.is_empty() && !text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
        if !self.right.iter().any(|told| told == right) {
            self.right.push(right.to_owned());
        }
    }
}

const TASK: (&str, &str) =
    ("Task.id", "Task.id must be a UUID, and the entry's fullUrl urn:uuid: with the same UUID behind it.");
const STATUS: (&str, &str) = ("Task.status", "Task.status must be completed or in-progress.");
const BUSINESS: (&str, &str) = (
    "Task.businessStatus.coding.code",
    "Task.businessStatus must be Collected, Not Dispensed or Dispatched where Task.status is completed, With Pharmacy, With Pharmacy \
     - Preparing Remainder, Ready to Collect - Partial or Ready to Dispatch - Partial where it is in-progress; Ready to Collect and \
     Ready to Dispatch go with both.",
);
const MODIFIED: (&str, &str) = (
    "Task.lastModified",
    "Task.lastModified must be a time YYYY-MM-DDThh:mm:ss with its zone, at most 24 hours ahead; 999 hours with meta.lastUpdated.",
);
const WRITTEN: (&str, &str) = (
    "Task.meta.lastUpdated",
    "Task.meta.lastUpdated must be a time YYYY-MM-DDThh:mm:ss with its zone, at most 24 hours ahead.",
);
const PATIENT: (&str, &str) = ("Task.for.identifier.value", NHS_NUMBER.right);
const PRESCRIPTION: (&str, &str) = ("Task.basedOn.identifier.value", SHORT_ID_FORM);
const RESOURCE: (&str, &str) = ("Bundle.entry.resource.resourceType", "The resource must be a Task.");
const LINE: (&str, &str) = ("Task.focus.identifier.value", "The id of the item is wanted, of at most 64 characters.");
/// Of codes of pharmacies.
pub const PHARMACY: (&str, &str) = ("Task.owner.identifier.value", "An ODS code has capital letters and digits only.");

/// An entry's update, or what is wrong with it.
pub fn entry(entry: &Value, request: &str, now: EpochMillis) -> Result<StatusUpdate, Wrong> {
    let of = Task::of(entry);
    if let Some(wrong) = left_out(entry, &of) {
        return Err(wrong);
    }
    let (modified, written) = moments(of.task);
    let mut wrong = Wrong::default();
    let id = text(of.task, "id");
    if ids::uuid(id).is_none() || text(entry, "fullUrl") != format!("urn:uuid:{id}") {
        wrong.add("Invalid entry fullUrl or task id.", TASK);
    }
    let status = text(of.task, "status");
    if !matches!(status, "completed" | "in-progress") {
        wrong.add(&format!("Unsupported Task.status '{status}'."), STATUS);
    }
    let code = text(of.coding, "code");
    let named = STATUSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(code));
    if named.is_none() {
        wrong.add("Invalid business status.", BUSINESS);
    }
    let most = if written.is_some() { AHEAD_POST_DATED } else { AHEAD };
    for (told, of) in [
        (moment("lastModified", Some(modified), now.saturating_add(most)), MODIFIED),
        (moment("meta.lastUpdated", written, now.saturating_add(AHEAD)), WRITTEN),
    ] {
        told.iter().for_each(|text| wrong.add(text, of));
    }
    let number = NhsNumber::strict(text(of.identifier("for"), "value"));
    if number.is_none() {
        wrong.add("NHS number is invalid.", PATIENT);
    }
    let prescription = ids::short(text(of.based_on, "value"));
    if prescription.is_err() {
        wrong.add("Prescription ID is invalid.", PRESCRIPTION);
    }
    if text(of.task, "resourceType") != "Task" {
        wrong.add("Resource's resourceType is not 'Task'.", RESOURCE);
    }
    ends(status, code, named.map(|(_, ends)| *ends)).iter().for_each(|text| wrong.add(text, BUSINESS));
    systems(&of, &mut wrong);
    let item = text(of.identifier("focus"), "value");
    if item.len() > LONGEST_ITEM {
        wrong.add(&format!("Task.focus.identifier.value is longer than {LONGEST_ITEM} characters."), LINE);
    }
    match (number, prescription, named, modified) {
        (Some(number), Ok(prescription), Some((name, _)), Some(modified_at)) if wrong.text.is_empty() => {
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
        _ => Err(wrong),
    }
}

/// What an update cannot do without and has not: told alone.
fn left_out(entry: &Value, of: &Task<'_>) -> Option<Wrong> {
    let (names, paths): (Vec<&str>, Vec<&str>) = missing(entry, of).into_iter().unzip();
    (!names.is_empty()).then(|| Wrong {
        text: format!("Missing required field(s) - {}.", names.join(", ")),
        paths,
        right: vec!["Each of these elements must be there and not be empty.".into()],
    })
}

/// Names and places of what an update cannot do without, in the published order.
fn missing(entry: &Value, of: &Task<'_>) -> Vec<(&'static str, &'static str)> {
    let fields = [
        (("FullUrl", "Bundle.entry.fullUrl"), text(entry, "fullUrl")),
        (("LastModified", MODIFIED.0), text(of.task, "lastModified")),
        (("LineItemID", LINE.0), text(of.identifier("focus"), "value")),
        (("PatientNHSNumber", PATIENT.0), text(of.identifier("for"), "value")),
        (("PharmacyODSCode", PHARMACY.0), text(of.identifier("owner"), "value")),
        (("PrescriptionID", PRESCRIPTION.0), text(of.based_on, "value")),
        (("Status", BUSINESS.0), text(of.coding, "code")),
        (("TaskID", TASK.0), text(of.task, "id")),
        (("TerminalStatus", STATUS.0), text(of.task, "status")),
    ];
    let empty = |(field, value): &((&'static str, &'static str), &str)| value.is_empty().then_some(*field);
    if of.task.is_object() {
        return fields.iter().filter_map(empty).collect();
    }
    fields.iter().take(1).filter_map(empty).chain([("Resource", "Bundle.entry.resource")]).collect()
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

/// Elements whose system is not theirs; what would be right names the system.
fn systems(of: &Task<'_>, wrong: &mut Wrong) {
    let wanted = [
        ("LineItemID", of.identifier("focus"), ITEM, "Task.focus.identifier.system"),
        ("PatientNHSNumber", of.identifier("for"), show::NHS_NUMBER, "Task.for.identifier.system"),
        ("PharmacyODSCode", of.identifier("owner"), ODS, "Task.owner.identifier.system"),
        ("PrescriptionID", of.based_on, SHORT_ID, "Task.basedOn.identifier.system"),
        ("Status", of.coding, SYSTEM, "Task.businessStatus.coding.system"),
    ];
    let bad: Vec<_> = wanted.iter().filter(|(_, part, system, _)| text(part, "system") != *system).collect();
    let names: Vec<&str> = bad.iter().map(|(name, ..)| *name).collect();
    for (n, (_, _, system, path)) in bad.iter().enumerate() {
        let said = if n == 0 { format!("Invalid CodeSystem(s) - {}.", names.join(", ")) } else { String::new() };
        wrong.add(&said, (path, &format!("{path} must be {system}.")));
    }
}

/// The repeat number; 0 for none. What is none is left out, as upstream does not check it.
fn repeat(task: &Value) -> u32 {
    let said = list(task, "input").iter().find(|i| text(&i["type"], "text").eq_ignore_ascii_case("Repeat Number"));
    let number = said.and_then(|i| i["valueInteger"].as_u64()).filter(|n| (1..=99).contains(n));
    number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}
