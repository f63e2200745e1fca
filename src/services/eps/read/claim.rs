//! A claim (spec/eps.md §13): a dispenser asks to be paid. The scope is checked between [`before_scope`] and [`claim`] (§3.2).

use super::{
    Problems,
    bundle::{code_of, extension, identifier, list, moment, text},
    codes, message_id, order_checks as checks, people,
    problem::Issue,
    rules,
};
use crate::{
    model::NhsNumber,
    services::eps::{ids, message},
};
use serde_json::Value;

const ORGANIZATION: &str = "Claim.contained(\"Organization\").identifier.value";
/// Where a claim names its prescription.
pub const SHORT_ID: &str = "Claim.prescription.extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-DM-GroupIdentifier\")\
                            .extension(\"shortForm\").valueIdentifier.value";

/// Insurance and practitioner: nos. 28, 29 and 9.
pub fn before_scope(root: &Value) -> Result<(), Problems> {
    let mut issues = Vec::new();
    let insurance = list(root, "/insurance");
    if insurance.len() != 1 {
        let text = format!("Expected 1 item(s) in Claim.insurance, but received {}.", insurance.len());
        issues.push(Issue::check("invalid", text, "Claim.insurance"));
    } else if payer(root).is_none_or(|payer| !codes::PAYERS.contains(&payer)) {
        let text = "Claim.insurance[0].coverage.identifier.value must be one of: 'T1450', 'RQFZ1'.";
        issues.push(Issue::check("value", text, "Claim.insurance[0].coverage.identifier.value"));
    }
    match role(root) {
        None => issues.push(checks::not_contained("Claim.provider")),
        Some(role) if !people::by_identifier(role) => {
            issues.push(checks::not_identified("Claim.contained(\"PractitionerRole\").practitioner"));
        }
        Some(_) => {}
    }
    Problems::none(issues)
}

fn payer(root: &Value) -> Option<&str> {
    text(root, "/insurance/0/coverage/identifier/value")
}

fn role(root: &Value) -> Option<&Value> {
    people::inner_role(root, root.get("provider"))
}

/// Every line of a claim.
fn details(root: &Value) -> impl Iterator<Item = &Value> {
    list(root, "/item").iter().flat_map(|item| list(item, "/detail"))
}

/// Nos. 30 and 9.
fn check(root: &Value) -> Result<(), Problems> {
    let mut issues = Vec::new();
    if role(root).is_none_or(|role| people::inner_organization(root, role).is_none()) {
        issues.push(checks::not_contained("Claim.contained(\"PractitionerRole\").organization"));
    }
    // Only the first line that has any code is looked at (§13).
    let coded = details(root).find(|d| !list(d, "/programCode").is_empty());
    let endorsed = |d: &Value| list(d, "/programCode").iter().any(|c| code_of(Some(c), codes::ENDORSEMENT).is_some());
    if !coded.is_some_and(endorsed) {
        let text = "The claim is missing the required endorsement code.";
        issues.push(Issue::check("invalid", text, "Claim.item.detail.programCode"));
    }
    Problems::none(issues)?;
    let charges = details(root).flat_map(|d| list(d, "/programCode")).filter_map(|c| code_of(Some(c), codes::CHARGE));
    for charge in charges {
        if !codes::CHARGES.contains(&charge) {
            let display = format!("Claim.item.detail.programCode must be one of: {}.", codes::CHARGES.join(", "));
            return Err(Issue::invalid(&display, "Claim.item.detail.programCode.coding.code").into());
        }
    }
    Ok(())
}

/// Reads a claim whose shape, first checks and scope were checked.
pub fn claim(root: &Value) -> Result<message::Claim, Problems> {
    before_scope(root)?;
    check(root)?;
    let role = role(root).unwrap_or(&Value::Null);
    let by = people::dispenser(role, people::inner_organization(root, role).unwrap_or(&Value::Null));
    if !people::known(&by) {
        return Err(Issue::failure(rules::DISPENSER.at(ORGANIZATION)).into());
    }
    let prescription = root.get("prescription").unwrap_or(&Value::Null);
    let group = extension(prescription, "Extension-DM-GroupIdentifier").unwrap_or(&Value::Null);
    let short = extension(group, "shortForm").and_then(|e| text(e, "/valueIdentifier/value"));
    let replaced = extension(root, "Extension-replacementOf");
    let replaces = replaced.map(|e| text(e, "/valueIdentifier/value").unwrap_or_default().to_ascii_lowercase());
    // Older clients say the issue with each line (§13).
    let places: Vec<&Value> = list(root, "/item").iter().take(1).chain(details(root).take(1)).collect();
    let created = text(root, "/created").and_then(moment);
    let created = created.ok_or_else(|| {
        Issue::invalid("Claim.created must be a date, or a time YYYY-MM-DDThh:mm:ss+zz:zz.", "Claim.created")
    })?;
    Ok(message::Claim {
        message: message_id(root).ok_or_else(|| Issue::failure(rules::MESSAGE.at("Claim.identifier.value")))?,
        id: ids::short(short.unwrap_or_default()).map_err(|_| checks::unknown(SHORT_ID))?,
        nhs: patient(root).ok_or_else(|| Issue::failure(rules::NHS_NUMBER.at("Claim.patient.identifier.value")))?,
        issue: checks::first_repeats(&places).0,
        replaces: replaces.unwrap_or_default(),
        by,
        payer: payer(root).unwrap_or_default().to_owned(),
        at: created,
        ..Default::default()
    })
}

fn patient(root: &Value) -> Option<u64> {
    let patient = root.get("patient")?;
    let inside =
        || super::bundle::contained(root, Some(patient), "Patient").and_then(|p| identifier(p, codes::NHS_NUMBER));
    let number = text(patient, "/identifier/value").or_else(inside);
    number.and_then(NhsNumber::strict).map(NhsNumber::value)
}
