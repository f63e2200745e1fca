//! What the store refuses, in the two vocabularies (spec/eps.md §19.2, §19.3), and the other OperationOutcomes of the store.

use super::{Ids, ODS, coding, dispenser, document::identified, url, zoned};
use crate::{
    model::EpochMillis,
    services::eps::{record::Dispenser, refused::Refused},
};
use serde_json::{Value, json};

const ISSUES: &str = "https://fhir.nhs.uk/CodeSystem/EPS-IssueCode";
const SPINE: &str = "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode";

/// What stands in front of the reason of a message that the store cannot take (§7.2).
pub(crate) const FAILURE: &str = "Unable to process message. Information missing or invalid - ";

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Order, dispense notification, return, withdraw, claim.
    Prescribing,
    /// Release.
    Dispensing,
}

/// A row of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub issue: &'static str,
    pub system: &'static str,
    pub code: &'static str,
    pub display: &'static str,
}

const fn row(issue: &'static str, system: &'static str, code: &'static str, display: &'static str) -> Row {
    Row { issue, system, code, display }
}

const NO_MORE: Row = row("informational", ISSUES, "NO_MORE_PRESCRIPTIONS", "No more prescriptions available");
const DISABLED: Row = row("exception", ISSUES, "SERVICE_DISABLED", "Functionality disabled in spine");

/// The row of a refusal. A refusal that a vocabulary has no row for is told with the other's.
pub fn row_of(refused: &Refused, vocabulary: Vocabulary) -> Row {
    let business = |code, display| row("business-rule", ISSUES, code, display);
    match refused {
        Refused::DuplicatePrescription => {
            row("duplicate", ISSUES, "DUPLICATE_PRESCRIPTION_ID", "Duplicate prescription ID exists")
        }
        Refused::DuplicateItem => {
            row("duplicate", ISSUES, "DUPLICATE_MEDICATIONREQUEST_ID", "Duplicate item ID exists")
        }
        Refused::MissingSignature => business("MISSING_DIGITAL_SIGNATURE", "Digital signature not found"),
        Refused::NotFound if vocabulary == Vocabulary::Prescribing => {
            row("not-found", ISSUES, "PRESCRIPTION_NOT_FOUND", "Prescription can not be found. Contact prescriber")
        }
        Refused::NotFound | Refused::ResourceNotFound => {
            row("not-found", SPINE, "RESOURCE_NOT_FOUND", "Resource not found")
        }
        Refused::Transition => {
            business("PRESCRIPTION_INVALID_STATE_TRANSITION", "Invalid State Transition for Prescription")
        }
        Refused::ItemTransition => {
            business("MEDICATIONREQUEST_INVALID_STATE_TRANSITION", "Invalid State Transition for Prescription Item")
        }
        Refused::ItemNotFound => row("not-found", ISSUES, "MEDICATIONREQUEST_NOT_FOUND", "Prescription Item Not found"),
        Refused::NotDispensed => {
            business("CLAIM_INVALID_NOT_DISPENSED", "Invalid Claim. Prescription is not Dispensed")
        }
        Refused::RepeatCount => business("MISMATCH_AUTHORISED_REPEAT_COUNT", "Mismatch in authorised repeat counts"),
        Refused::AmendMismatch => business(
            "DISPENSE_AMEND_IDENTIFIER_MISMATCH",
            "Dispense Amendment/Cancellation Request does not pertain to Last Dispense",
        ),
        Refused::ClaimPeriod => row(
            "business-rule",
            SPINE,
            "CLAIM_AMEND_PERIOD_ISSUE",
            "Claim amendment is not permitted outside of the claim period",
        ),
        Refused::Failure(_) => row("processing", SPINE, "FAILURE_TO_PROCESS_MESSAGE", FAILURE),
        Refused::Cancelled => business("PRESCRIPTION_CANCELLED", "Prescription has been cancelled"),
        Refused::Expired => business("PRESCRIPTION_EXPIRED", "Prescription has expired"),
        Refused::WithAnotherDispenser => {
            business("PRESCRIPTION_WITH_ANOTHER_DISPENSER", "Prescription is with another dispenser")
        }
        Refused::Dispensed => business("PRESCRIPTION_DISPENSED", "Prescription has been dispensed"),
    }
}

fn outcome(row: Row, severity: &str, display: &str, at: EpochMillis) -> Value {
    json!({
        "resourceType": "OperationOutcome",
        "meta": {"lastUpdated": zoned(at)},
        "issue": [{
            "code": row.issue,
            "severity": severity,
            "details": {"coding": [coding(row.system, row.code, display)]},
        }],
    })
}

/// A refusal; its status is 400.
pub fn refusal(refused: &Refused, vocabulary: Vocabulary, at: EpochMillis) -> Value {
    let row = row_of(refused, vocabulary);
    match refused {
        Refused::Failure(reason) => outcome(row, "error", &format!("{}{reason}", row.display), at),
        _ => outcome(row, "error", row.display, at),
    }
}

/// A release's refusal of a prescription that a dispenser has: who, from the `owner` of its release (§9.3).
pub fn with_another_dispenser(holder: Option<&Dispenser>, at: EpochMillis, ids: Ids<'_>) -> Value {
    let id = ids();
    let owner = holder.map(|h| dispenser(h).0);
    let mut all = refusal(&Refused::WithAnotherDispenser, Vocabulary::Dispensing, at);
    all["contained"] = json!([organization(owner.as_ref(), &id)]);
    all["extension"] = json!([{
        "url": url("Extension-Spine-supportingInfo"),
        "valueReference": {"reference": format!("#{id}")},
    }]);
    all
}

/// What another dispenser may know of the holder: name and where to ask.
fn organization(holder: Option<&Value>, id: &str) -> Value {
    let unknown = json!({});
    let holder = holder.unwrap_or(&unknown);
    let or_unknown = |text: &str| if text.is_empty() { "UNKNOWN".to_owned() } else { text.to_owned() };
    let mut out = json!({
        "resourceType": "Organization",
        "id": id,
        "identifier": [{"system": ODS, "value": or_unknown(identified(holder, ODS))}],
        "name": or_unknown(holder["name"].as_str().unwrap_or_default()),
    });
    for member in ["telecom", "address"] {
        if let Some(value) = holder.get(member) {
            out[member] = value.clone();
        }
    }
    out
}

/// A nominated release that finds nothing; its status is 200.
pub fn no_more_prescriptions(at: EpochMillis) -> Value {
    outcome(NO_MORE, "information", NO_MORE.display, at)
}

/// Release is switched off; its status is 400.
pub fn disabled(at: EpochMillis) -> Value {
    outcome(DISABLED, "error", DISABLED.display, at)
}

/// Success of a message that asks for nothing back (§3.5); its status is 200.
pub fn success(at: EpochMillis) -> Value {
    json!({
        "resourceType": "OperationOutcome",
        "meta": {"lastUpdated": zoned(at)},
        "issue": [{"code": "informational", "severity": "information"}],
    })
}
