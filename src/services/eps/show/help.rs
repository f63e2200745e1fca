//! Where in a message the store's refusal lies, and what would be right: beside the published code and display of §19.2, §19.3 and
//! §8.4, never in their place (spec/eps.md).
//!
//! Invariant: no text here holds anything of a message or of a record.

use crate::services::eps::{
    read::{
        bundle::{Bundle, text},
        claim, dispense, release, rules,
    },
    refused::Refused,
    steps::Code,
};
use serde_json::{Value, json};

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Order,
    Cancel,
    Dispense,
    Return,
    Withdraw,
    Claim,
    Release,
}

impl Of {
    pub const ALL: [Of; 7] = [Of::Order, Of::Cancel, Of::Dispense, Of::Return, Of::Withdraw, Of::Claim, Of::Release];

    /// What a message is, by what it says itself.
    pub fn message(root: &Value) -> Of {
        let event = || text(Bundle::of(root).all("MessageHeader").next()?, "/eventCoding/code");
        match root["resourceType"].as_str() {
            Some("Parameters") => Of::Release,
            Some("Claim") => Of::Claim,
            Some("Task") if root["status"] == "in-progress" => Of::Withdraw,
            Some("Task") => Of::Return,
            _ => match event() {
                Some("dispense-notification") => Of::Dispense,
                Some("prescription-order-update") => Of::Cancel,
                _ => Of::Order,
            },
        }
    }

    fn short_id(self) -> &'static str {
        match self {
            Of::Order | Of::Cancel => rules::SHORT_ID_OF_ITEM,
            Of::Dispense => dispense::SHORT_ID,
            Of::Return | Of::Withdraw => "Task.groupIdentifier.value",
            Of::Claim => claim::SHORT_ID,
            Of::Release => release::SHORT_ID,
        }
    }

    fn message_id(self) -> &'static str {
        match self {
            Of::Order | Of::Cancel | Of::Dispense => "Bundle.identifier.value",
            Of::Return | Of::Withdraw => "Task.identifier.value",
            Of::Claim => "Claim.identifier.value",
            Of::Release => "http.X-Request-ID",
        }
    }

    fn patient(self) -> &'static str {
        match self {
            Of::Order | Of::Cancel => "Bundle.entry.resource.ofType(Patient).identifier.value",
            Of::Dispense => dispense::PATIENT,
            Of::Return | Of::Withdraw => "Task.for.identifier.value",
            Of::Claim => "Claim.patient.identifier.value",
            Of::Release => release::SHORT_ID,
        }
    }

    fn sender(self) -> &'static str {
        match self {
            Of::Order | Of::Cancel | Of::Dispense => "Bundle.entry.resource.ofType(Organization).identifier.value",
            Of::Return | Of::Withdraw => "Task.contained(\"Organization\").identifier.value",
            Of::Claim => "Claim.contained(\"Organization\").identifier.value",
            Of::Release => release::SHORT_ID,
        }
    }

    /// Where a message names the one that it replaces or takes back.
    fn earlier(self) -> &'static str {
        match self {
            Of::Return | Of::Withdraw => "Task.focus.identifier.value",
            Of::Claim => concat!(
                "Claim.extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-replacementOf\")",
                ".valueIdentifier.value"
            ),
            _ => concat!(
                "Bundle.entry.resource.ofType(MessageHeader).extension(\"https://fhir.nhs.uk/StructureDefinition/",
                "Extension-replacementOf\").valueIdentifier.value"
            ),
        }
    }

    /// Which status lets the message pass, and where the message says what it wants.
    fn transition(self) -> (&'static str, &'static str) {
        match self {
            Of::Dispense => (
                concat!(
                    "Bundle.entry.resource.ofType(MedicationDispense).extension(\"https://fhir.nhs.uk/StructureDefinition/",
                    "Extension-EPS-TaskBusinessStatus\").valueCoding.code"
                ),
                "A notification is taken of an issue that is 0002 or 0003, an amendment of one that is 0003, 0006 or 0007; 0006 and \
                 0007 want every item 0001, 0002, 0005 or 0006, and 0007 none that is 0001.",
            ),
            Of::Return => (
                "Task.status",
                "Only an issue that is 0002 With Dispenser, without a dispense notification, can be returned; withdraw the \
                 notifications first.",
            ),
            Of::Withdraw => (
                "Task.status",
                "Only the last notification of an issue that is 0003, 0006 or 0007 can be withdrawn: not once it is claimed.",
            ),
            _ => (self.short_id(), "The prescription's issue is not in a status in which it takes this message."),
        }
    }
}

/// Where a refusal lies, and what would be right.
pub fn help(refused: &Refused, of: Of) -> (&'static str, &'static str) {
    let id = of.short_id();
    let item = "Bundle.entry.resource.ofType(MedicationRequest).identifier.value";
    let dispensed =
        "Bundle.entry.resource.ofType(MedicationDispense).contained(\"MedicationRequest\").identifier.value";
    match refused {
        Refused::DuplicatePrescription => (
            id,
            "Each prescription needs a short id that none had before it; whoever sends a message again keeps its \
             Bundle.identifier too.",
        ),
        Refused::DuplicateItem => (item, "Each item needs an id of its own."),
        Refused::MissingSignature => {
            ("Bundle.entry.resource.ofType(Provenance)", "A signature of the requester is wanted.")
        }
        Refused::NotFound | Refused::ResourceNotFound => (
            id,
            "The short id of a prescription is wanted that was ordered and is available; it may not have come in yet.",
        ),
        Refused::Transition => of.transition(),
        Refused::ItemTransition => (
            "Bundle.entry.resource.ofType(MedicationDispense).type.coding.code",
            "An item may go from 0008 and 0004 to 0001, 0002, 0003 or 0004, from 0003 to 0001 or 0003; every other stays as it is.",
        ),
        Refused::ItemNotFound => {
            (dispensed, "Every item of the issue must be named, cancelled and expired ones too, and no other.")
        }
        Refused::NotDispensed => {
            (id, "A claim is for an issue that is 0006 or 0007, an amended claim for one that is 0008.")
        }
        Refused::RepeatCount => (
            concat!(
                "Bundle.entry.resource.ofType(MedicationDispense).extension(\"https://fhir.nhs.uk/StructureDefinition/",
                "Extension-EPS-RepeatInformation\")"
            ),
            "numberOfRepeatsAllowed must be the issues of the order minus one, and numberOfRepeatsIssued the issue minus one.",
        ),
        Refused::AmendMismatch => {
            (of.earlier(), "The id of the last notification of the issue is wanted, or of its last claim for a claim.")
        }
        Refused::ClaimPeriod => {
            (of.earlier(), "A claim is amended up to and including the 5th of the month after that of the first claim.")
        }
        Refused::Failure(reason) => failure(reason, of),
        Refused::Cancelled | Refused::Expired | Refused::Dispensed => {
            (id, "Only a prescription whose current issue is 0000 or 0001 can be released.")
        }
        Refused::WithAnotherDispenser if of == Of::Release => {
            (id, "The dispenser who has the prescription can return it; then it can be released again.")
        }
        Refused::WithAnotherDispenser => {
            (of.sender(), "The dispenser who has the prescription must send this message.")
        }
    }
}

/// The reasons of `steps`, by the field that they begin with.
fn failure(reason: &str, of: Of) -> (&'static str, &'static str) {
    match reason.split(' ').next() {
        Some("nhsNumber") => (of.patient(), "The NHS number of the prescription's patient is wanted."),
        Some("messageID") => (of.message_id(), "Each message needs a UUID of its own, which no other message has."),
        Some("request" | "response" | "this") => ("http.X-Request-ID", "A new request needs a UUID of its own."),
        Some("prescription") => {
            (of.short_id(), "A prescription takes 512 changes; what is still to be done needs a new prescription.")
        }
        Some("maxRepeats" | "lineItem" | "no") => (rules::ISSUES.path, rules::ISSUES.right),
        Some("lineItemID") => (rules::ITEM.path, rules::ITEM.right),
        Some("No") => (rules::NO_ITEMS.path, rules::NO_ITEMS.right),
        _ => (of.short_id(), "The message does not fit the stored prescription."),
    }
}

/// The same of a cancellation's answer that is no Bundle (§8.4); `why` is that of an R-5000.
pub fn cancellation(code: Code, why: &str) -> (&'static str, &'static str) {
    match code {
        Code::R0008 => (
            "Bundle.entry.resource.ofType(MedicationRequest).identifier.value",
            "The id of an item is wanted and the short id of its prescription; where the order is still to come, the \
             cancellation waits for it.",
        ),
        Code::R5000 if why.starts_with("too many") => {
            (Of::Cancel.short_id(), "Sixteen cancellations may wait for an order; this one was not kept.")
        }
        Code::R5000 => failure(if why.starts_with("NHS") { "nhsNumber" } else { why }, Of::Cancel),
        Code::R5888 => (Of::Cancel.message_id(), "The ids of message and item must be UUIDs."),
        _ => (Of::Cancel.short_id(), "This prescription is not cancelled here and now."),
    }
}

/// Writes both into the first issue of an OperationOutcome.
pub fn tell(outcome: &mut Value, (path, right): (&str, &str)) {
    let Some(issue) = outcome.pointer_mut("/issue/0") else { return };
    issue["diagnostics"] = json!(right);
    // A header is no element: R4 names it in `location`.
    let member = if path.starts_with("http.") { "location" } else { "expression" };
    issue[member] = json!([path]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::eps::{command::PLAIN, steps::cancel::WHYS};

    #[test]
    fn every_refusal_says_where_it_lies_and_what_would_be_right() {
        let reasons = ["nhsNumber does not match the prescription", "prescription was changed too often", "x"];
        let failures = reasons.map(|reason| Refused::Failure(reason.into()));
        for refused in PLAIN.iter().chain(&failures) {
            for of in Of::ALL {
                let (path, right) = help(refused, of);
                assert!(path.contains('.') && right.ends_with('.') && right.len() > 20, "{refused:?} {of:?}");
            }
        }
        for (code, why) in Code::ALL.iter().map(|code| (*code, "")).chain(WHYS.map(|why| (Code::R5000, why))) {
            assert!(cancellation(code, why).1.ends_with('.'), "{code:?} {why}");
        }
    }

    #[test]
    fn messages_are_told_apart_and_each_names_its_own_elements() {
        let bundle = |event: &str| {
            let header = json!({"resourceType": "MessageHeader", "eventCoding": {"code": event}});
            json!({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}, {"resource": header}]})
        };
        for (root, of, path) in [
            (bundle("prescription-order"), Of::Order, rules::SHORT_ID_OF_ITEM),
            (bundle("prescription-order-update"), Of::Cancel, rules::SHORT_ID_OF_ITEM),
            (bundle("dispense-notification"), Of::Dispense, dispense::SHORT_ID),
            (json!({"resourceType": "Task", "status": "rejected"}), Of::Return, "Task.groupIdentifier.value"),
            (json!({"resourceType": "Task", "status": "in-progress"}), Of::Withdraw, "Task.groupIdentifier.value"),
            (json!({"resourceType": "Claim"}), Of::Claim, claim::SHORT_ID),
            (json!({"resourceType": "Parameters"}), Of::Release, release::SHORT_ID),
        ] {
            assert_eq!(Of::message(&root), of);
            assert_eq!(help(&Refused::NotFound, of).0, path);
        }
        assert_eq!(help(&Refused::AmendMismatch, Of::Withdraw).0, "Task.focus.identifier.value");
        let other = Refused::Failure("nhsNumber does not match the prescription".into());
        assert_eq!(help(&other, Of::Claim).0, "Claim.patient.identifier.value");
    }

    #[test]
    fn an_element_is_an_expression_and_a_header_a_location() {
        let mut outcome = json!({"issue": [{}]});
        tell(&mut outcome, ("Task.status", "A."));
        tell(&mut outcome, ("http.X-Request-ID", "B."));
        let told = json!({"diagnostics": "B.", "expression": ["Task.status"], "location": ["http.X-Request-ID"]});
        assert_eq!(outcome["issue"][0], told);
    }
}
