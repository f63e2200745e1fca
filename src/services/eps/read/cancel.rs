//! A cancellation (spec/eps.md §8.1). Like an order with one item; a Provenance is let pass.

use super::{
    Problems,
    bundle::{Bundle, code, identifier},
    codes, message_id, order, order_checks as checks, people,
    problem::Issue,
    rules::{self, Rule},
};
use crate::{
    model::NhsNumber,
    services::eps::{ids, message},
};
use serde_json::Value;

/// Steps 6, 7 and 8.
pub fn check(root: &Value) -> Result<(), Problems> {
    let bundle = Bundle::of(root);
    let requests: Vec<&Value> = bundle.all("MedicationRequest").collect();
    let mut issues = checks::common(&bundle, &requests);
    if requests.len() != 1 {
        let text = "The Bundle must contain exactly one MedicationRequest if MessageHeader.eventCoding.code is \
                    'prescription-order-update'.";
        issues.push(Issue::check("value", text, "Bundle.entry.resource.ofType(MedicationRequest)"));
    }
    issues.extend(checks::status(&requests, "cancelled"));
    issues.extend(checks::missing(&requests, "statusReason"));
    Problems::none(issues)?;
    convert(&bundle, &requests).map_err(Problems::from)
}

fn convert(bundle: &Bundle, requests: &[&Value]) -> Result<(), Issue> {
    let few = |path: &str| Issue::too_few("Too few values submitted. Expected 1 element.", path);
    let role = checks::requester(bundle, requests).ok_or_else(|| few("MedicationRequest.requester"))?;
    order::professional(bundle, role)?;
    let person = people::practitioner(bundle, role).unwrap_or(&Value::Null);
    if identifier(person, codes::USER).is_none() {
        let display = format!("Too few values submitted. Expected 1 element where system == '{}'.", codes::USER);
        return Err(Issue::too_few(&display, "Practitioner.identifier"));
    }
    let reason = requests.first().and_then(|r| code(r.get("statusReason"), codes::CANCEL_REASON));
    if reason.is_none_or(|r| !codes::CANCEL_REASONS.contains(&r)) {
        let display = format!("MedicationRequest.statusReason must be one of: {}.", codes::CANCEL_REASONS.join(", "));
        return Err(Issue::invalid(&display, "MedicationRequest.statusReason.coding.code"));
    }
    Ok(())
}

/// The whole of it. What the store finds wrong is told in the words of cancellations (§8.4).
pub fn cancel(root: &Value) -> Result<message::Cancel, Problems> {
    check(root)?;
    let bundle = Bundle::of(root);
    let requests: Vec<&Value> = bundle.all("MedicationRequest").collect();
    let request = requests.first().copied().unwrap_or(&Value::Null);
    let patient = bundle.resolve(request.get("subject"), "Patient").unwrap_or(&Value::Null);
    let (short, long) = checks::group(request);

    let mut issues = Vec::new();
    let mut need = |found: Option<String>, rule: Rule| {
        if found.is_none() {
            issues.push(Issue::cancel_failure(rule));
        }
        found.unwrap_or_default()
    };
    let message = need(message_id(root), rules::MESSAGE);
    let id = match ids::short(short) {
        Ok(id) => id,
        Err(wrong) => need(None, rules::short_id(wrong)),
    };
    let long_id = need(ids::uuid(long), rules::LONG_ID);
    let item = need(checks::item(request).and_then(ids::uuid), rules::ITEM);
    let by = checks::requester(&bundle, &requests).map(|role| people::prescriber(&bundle, role)).unwrap_or_default();
    need(people::known(&by).then(String::new), rules::CANCELLER);
    let nhs = identifier(patient, codes::NHS_NUMBER).and_then(NhsNumber::strict);
    need(nhs.map(|_| String::new()), rules::NHS_NUMBER);
    Problems::none(issues)?;
    Ok(message::Cancel {
        message,
        id,
        long_id,
        nhs: nhs.map(NhsNumber::value).unwrap_or_default(),
        item,
        reason: text_of(code(request.get("statusReason"), codes::CANCEL_REASON)),
        by,
        ..Default::default()
    })
}

fn text_of(found: Option<&str>) -> String {
    found.unwrap_or_default().to_owned()
}
