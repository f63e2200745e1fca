//! `GET /Task` (spec/eps.md §14.1): one Task for each issue that is asked for.

use super::{
    ITEM, ITEM_STATUS, Ids, NHS_NUMBER, ODS, SHORT_ID, SNOMED, UUIDS, business_status, coding, course_of_therapy,
    entry, identifier, repeat_information, task_query::TaskQuery, url, zoned,
};
use crate::{
    model::{EpochMillis, day},
    services::eps::{
        record::{Issue, Prescription, day_of},
        states,
    },
};
use serde_json::{Value, json};

/// The answer to a query, of the prescriptions that may fit it; its status is 200 whatever is found.
pub fn answer(query: &TaskQuery, found: &[Prescription], at: EpochMillis, ids: Ids<'_>) -> Value {
    let found = || found.iter().filter(|p| !p.is_shell());
    if let Some(id) = query.one()
        && !found().any(|p| p.id == id)
    {
        return unknown(at);
    }
    let issues = found().flat_map(|p| p.instances.iter().map(move |issue| (p, issue)));
    let fitting = issues.filter(|(p, issue)| {
        let status = states::code(issue.status);
        query.fits(&p.id, p.nhs, &status, day::of_millis(issued_at(p, issue)))
    });
    let named = query.one().is_some();
    let entries: Vec<Value> = fitting
        .map(|(p, issue)| {
            let id = ids();
            entry(&id, task(p, issue, named, &id))
        })
        .collect();
    let id = ids();
    json!({
        "resourceType": "Bundle",
        "id": id,
        "meta": {"lastUpdated": zoned(at)},
        "identifier": identifier(UUIDS, &id),
        "type": "searchset",
        "total": entries.len(),
        "entry": entries,
    })
}

/// Uncertain point 15 of §21: a prescription that nobody knows is told with status 200.
fn unknown(at: EpochMillis) -> Value {
    const SPINE: &str = "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode";
    json!({
        "resourceType": "OperationOutcome",
        "meta": {"lastUpdated": zoned(at)},
        "issue": [{
            "severity": "error",
            "code": "invalid",
            "details": {"coding": [coding(SPINE, "INVALID", "Prescription not found")]},
        }],
    })
}

/// The moment of an issue: when a later one became available, else when the prescription was written.
fn issued_at(p: &Prescription, issue: &Issue) -> EpochMillis {
    match (issue.number, issue.available_at, p.prescribed_at) {
        (2.., at @ 1.., _) => at,
        (_, _, 0) => p.arrived_at,
        (_, _, at) => at,
    }
}

fn task_status(status: u16) -> &'static str {
    match status {
        2 => "accepted",
        3 => "in-progress",
        4 => "failed",
        5 | 9005 => "cancelled",
        6..=9 => "completed",
        _ => "requested",
    }
}

/// `named`: asked for by its id; then who has it and who wrote it are shown too.
fn task(p: &Prescription, issue: &Issue, named: bool, id: &str) -> Value {
    let mut extensions = vec![json!({
        "url": url("Extension-EPS-Prescription"),
        "extension": [{"url": "courseOfTherapyType", "valueCoding": course_of_therapy(p.treatment)}],
    })];
    if p.issues > 1 {
        extensions.push(repeat_information(p.issues, issue.number));
    }
    let mut task = json!({
        "resourceType": "Task",
        "id": id,
        "extension": extensions,
        "identifier": [identifier(UUIDS, id)],
        "status": task_status(issue.status),
        "businessStatus": {"coding": [business_status(issue.status, states::issue_display(issue.status))]},
        "intent": "order",
        "code": {"coding": [coding("http://hl7.org/fhir/CodeSystem/task-code", "fulfill", "Fulfill the focal request")]},
        "focus": {"identifier": identifier(SHORT_ID, &p.id)},
        "for": {"identifier": identifier(NHS_NUMBER, &format!("{:010}", p.nhs))},
        "authoredOn": zoned(issued_at(p, issue)),
    });
    if named {
        let holder = p.holder(issue).map(|d| (d.ods.as_str(), d.name.as_str()));
        let nominated = Some((p.nomination.ods.as_str(), "")).filter(|(ods, _)| !ods.is_empty());
        let prescriber = p.prescribed_by().map(|s| (s.ods.as_str(), s.name.as_str()));
        for (member, who) in [("owner", holder.or(nominated)), ("requester", prescriber)] {
            if let Some((ods, name)) = who {
                task[member] = organization(ods, name);
            }
        }
    }
    for (member, of) in [("input", input as Part), ("output", output as Part)] {
        let all: Vec<Value> = (0..p.items.len()).map(|at| of(p, issue, at)).collect();
        if !all.is_empty() {
            task[member] = all.into();
        }
    }
    task
}

fn organization(ods: &str, name: &str) -> Value {
    let mut who = json!({"identifier": identifier(ODS, ods)});
    if !name.is_empty() {
        who["display"] = json!(name);
    }
    who
}

/// What a Task says of the item at a place.
type Part = fn(&Prescription, &Issue, usize) -> Value;

fn part(p: &Prescription, at: usize, code: &str, display: &str) -> Value {
    let item = p.items.get(at).map(|i| i.id.to_string()).unwrap_or_default();
    json!({
        "type": {"coding": [coding(SNOMED, code, display)]},
        "valueReference": {"identifier": identifier(ITEM, &item)},
    })
}

fn input(p: &Prescription, issue: &Issue, at: usize) -> Value {
    let status = issue.item(at);
    let status = coding(ITEM_STATUS, &states::code(status), states::item_display(status));
    let mut parts = vec![json!({"url": "dispenseStatus", "valueCoding": status})];
    if issue.dispensed_at != 0 {
        parts.push(json!({"url": "dateLastDispensed", "valueDateTime": zoned(issue.dispensed_at)}));
    }
    let mut input = part(p, at, "16076005", "Prescription");
    input["extension"] = json!([{"url": url("Extension-EPS-DispensingInformation"), "extension": parts}]);
    input
}

fn output(p: &Prescription, issue: &Issue, at: usize) -> Value {
    let days = [
        ("dateLastIssuedDispensed", day_of(issue.previous_issue_at)),
        ("dateDownloaded", day_of(issue.released_at)),
        ("dateClaimed", issue.claim.received_on),
    ];
    let days = days.iter().filter(|(_, on)| *on != 0);
    let parts: Vec<Value> = days.map(|(url, on)| json!({"url": url, "valueDate": day::text(*on)})).collect();
    let mut output = part(p, at, "373784005", "Dispensing medication");
    if !parts.is_empty() {
        output["extension"] = json!([{"url": url("Extension-EPS-DispensingReleaseInformation"), "extension": parts}]);
    }
    output
}
