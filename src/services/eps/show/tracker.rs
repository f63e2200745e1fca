//! A search of `RequestGroup` (spec/eps.md §14.2): the patient, and one RequestGroup for each issue.

pub use super::tracker_detail::{Detailed, detail};

use super::{
    Ids, NHS_NUMBER, SHORT_ID, business_status,
    document::{Document, list, text},
    identifier, reference,
    tracker_query::{Search, Whose},
    url, urn, words,
};
use crate::{
    model::time,
    services::eps::{
        message::treatment,
        record::{Issue, Prescription, day_of},
    },
};
use serde_json::{Map, Value, json};

impl Search {
    /// Whether a prescription is searched for.
    pub fn fits(&self, p: &Prescription) -> bool {
        let whose = match &self.whose {
            Whose::Prescription(id) => p.id == *id,
            Whose::Patient(nhs) => p.nhs == *nhs,
        };
        let on = day_of(if p.prescribed_at == 0 { p.arrived_at } else { p.prescribed_at });
        whose && (self.low..=self.high).contains(&on)
    }
}

/// The answer to a search, of prescriptions with their orders where they are kept; its status is 200.
pub fn search(search: &Search, found: &[(&Prescription, Option<&Document>)], ids: Ids<'_>) -> Value {
    let fitting: Vec<_> = found.iter().filter(|(p, _)| search.fits(p)).collect();
    let Some((first, _)) = fitting.first() else {
        return bundle(0, vec![]);
    };
    let patient = ids();
    let named = fitting.iter().find_map(|(_, order)| order.and_then(|o| o.of_kind("Patient").next()));
    let mut shown = json!({
        "resourceType": "Patient",
        "identifier": [identifier(NHS_NUMBER, &format!("{:010}", first.nhs))],
    });
    if let Some(name) = named.and_then(|(_, p)| name(p)) {
        shown["name"] = json!([name]);
    }
    let mut entries = vec![found_entry(&patient, "include", shown)];
    for (p, _) in fitting {
        for issue in &p.instances {
            let mut group = group(p, &patient);
            let mut extensions = vec![status_history(issue.status)];
            extensions.extend(repeats(p, issue));
            extensions.push(pending(&[
                ("prescriptionPendingCancellation", whole_pending(p)),
                ("lineItemPendingCancellation", p.pending().any(|c| c.item.is_some())),
            ]));
            group["extension"] = extensions.into();
            entries.push(found_entry(&ids(), "match", group));
        }
    }
    bundle(entries.len().saturating_sub(1), entries)
}

pub(super) fn bundle(total: usize, entries: Vec<Value>) -> Value {
    json!({"resourceType": "Bundle", "type": "searchset", "total": total, "entry": entries})
}

pub(super) fn found_entry(id: &str, mode: &str, resource: Value) -> Value {
    json!({"fullUrl": urn(id), "search": {"mode": mode}, "resource": resource})
}

/// What both answers say of an issue.
pub(super) fn group(p: &Prescription, patient: &str) -> Value {
    json!({
        "resourceType": "RequestGroup",
        "identifier": [identifier(SHORT_ID, &p.id)],
        "subject": reference(patient),
        "status": if p.is_shell() { "completed" } else { "active" },
        "intent": intent(p.treatment),
        "authoredOn": time::iso(if p.prescribed_at == 0 { p.arrived_at } else { p.prescribed_at }),
    })
}

pub(super) fn intent(treatment: u8) -> &'static str {
    match treatment {
        treatment::DISPENSING => "reflex-order",
        treatment::REPEAT => "instance-order",
        _ => "order",
    }
}

pub(super) fn status_history(status: u16) -> Value {
    json!({"url": url("Extension-EPS-PrescriptionStatusHistory"), "extension": [
        {"url": "status", "valueCoding": business_status(status, words::tracker_issue(status))},
    ]})
}

/// Repeat numbers from one (§5.5); none for an acute prescription.
pub(super) fn repeats(p: &Prescription, issue: &Issue) -> Option<Value> {
    (p.treatment == treatment::REPEAT || p.is_erd()).then(|| {
        json!({"url": url("Extension-EPS-RepeatInformation"), "extension": [
            {"url": "numberOfRepeatsIssued", "valueInteger": issue.number},
            {"url": "numberOfRepeatsAllowed", "valueInteger": p.issues},
        ]})
    })
}

pub(super) fn pending(which: &[(&str, bool)]) -> Value {
    let parts = which.iter().map(|(url, is)| json!({"url": url, "valueBoolean": is}));
    json!({"url": url("Extension-PendingCancellation"), "extension": parts.collect::<Vec<_>>()})
}

pub(super) fn whole_pending(p: &Prescription) -> bool {
    p.pending().any(|c| c.item.is_none())
}

/// A patient's first name as the tracker shows it: its parts only.
pub(super) fn name(patient: &Value) -> Option<Value> {
    let first = list(patient, "name").first()?;
    let parts = ["prefix", "given", "family", "suffix"];
    let parts: Map<String, Value> =
        parts.iter().filter_map(|n| first.get(*n).map(|v| ((*n).to_owned(), v.clone()))).collect();
    if parts.is_empty() {
        let whole = text(first, "text");
        return (!whole.is_empty()).then(|| json!({"text": whole}));
    }
    Some(parts.into())
}
