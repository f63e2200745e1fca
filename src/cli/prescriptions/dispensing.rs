//! What a pharmacy's system sends: requests for prescriptions (spec/eps.md §9.1), dispense notifications (§10.1), returns (§11), claims (§13).

use super::{
    Course, ITEM_NUMBER, Medicine, ORDER_NUMBER, Prescription, STRUCTURE, Sender, concept, entry, event, identifier,
    job_role, medicine, ods, phone, quantity, urn, uuid_identifier, within,
};
use serde_json::{Value, json};

const HEADER: u8 = 0xe0;
const ORGANISATION: u8 = 0xe4;
/// Items follow from here.
const DISPENSED: u8 = 0x10;
const CLAIMED: u8 = 0x20;

/// What became of a prescription, and of each item at its place (§17).
#[derive(Clone, Copy, Debug)]
pub struct Supply<'a> {
    pub status: &'a str,
    pub items: &'a [&'a str],
    /// Of repeat dispensing, from one.
    pub issue: u32,
    /// When it was handed over, `2026-11-29T12:00:00+00:00`.
    pub at: &'a str,
}

/// Asks for what is nominated to the pharmacy, or for one prescription by its id.
pub fn release(by: &Sender, id: Option<&str>) -> Value {
    let mut parameters = vec![
        json!({"name": "owner", "resource": organisation(by, "organization")}),
        json!({"name": "agent", "resource": role(by, "agent", None)}),
        json!({"name": "status", "valueCode": "accepted"}),
    ];
    if let Some(id) = id {
        let named = json!({"system": ORDER_NUMBER, "value": id});
        parameters.insert(0, json!({"name": "group-identifier", "valueIdentifier": named}));
    }
    json!({"resourceType": "Parameters", "parameter": parameters})
}

/// What was given out; `response` is the id of the release's answer.
pub fn dispense(p: &Prescription, by: &Sender, message: &str, response: &str, supply: &Supply<'_>) -> Value {
    let organisation_id = within(message, ORGANISATION);
    let focus: Vec<Value> =
        (0..p.items.len() as u8).map(|at| json!({"reference": urn(&within(message, DISPENSED + at))})).collect();
    let header = json!({
        "resourceType": "MessageHeader",
        "eventCoding": event("dispense-notification", "Dispense Notification"),
        "sender": {"identifier": ods(&by.ods), "display": by.organisation},
        "source": {"endpoint": format!("https://directory.spineservices.nhs.uk/STU3/Organization/{}", by.ods)},
        "reason": concept("https://fhir.nhs.uk/CodeSystem/message-reason-prescription", "notification", "Notification"),
        "response": {"identifier": response, "code": "ok"},
        "focus": focus,
    });
    let mut pharmacy = organisation(by, "organization");
    pharmacy["extension"] = json!([{
        "url": format!("{STRUCTURE}Extension-ODS-OrganisationRelationships"),
        "extension": [{"url": "reimbursementAuthority", "valueIdentifier": ods("T1450")}],
    }]);
    let mut entries = vec![entry(&within(message, HEADER), header)];
    for (at, ((item, of), status)) in p.lines().zip(supply.items).enumerate() {
        let id = within(message, DISPENSED + at as u8);
        let given = Given { item, of, status, id: &id, organisation: &organisation_id };
        entries.push(entry(&id, dispensed(p, by, supply, &given)));
    }
    entries.push(entry(&organisation_id, pharmacy));
    json!({
        "resourceType": "Bundle",
        "id": message,
        "identifier": uuid_identifier(message),
        "type": "message",
        "timestamp": supply.at,
        "entry": entries,
    })
}

/// One item that was given out, or not.
struct Given<'a> {
    item: &'a str,
    of: &'a Medicine,
    status: &'a str,
    id: &'a str,
    organisation: &'a str,
}

fn dispensed(p: &Prescription, by: &Sender, supply: &Supply<'_>, given: &Given<'_>) -> Value {
    let supplied = if given.status == "0001" { given.of.quantity } else { 0 };
    let subject = json!({"type": "Patient", "identifier": identifier("nhs-number", &p.patient.nhs),
        "display": p.patient_name()});
    let ordered = json!({
        "resourceType": "MedicationRequest",
        "id": "request",
        "identifier": [{"system": ITEM_NUMBER, "value": given.item}],
        "status": "active",
        "intent": if matches!(p.course, Course::Dispensing(_)) { "reflex-order" } else { "order" },
        "medicationCodeableConcept": medicine(given.of),
        "subject": subject,
        "groupIdentifier": p.group(),
        "dosageInstruction": [{"text": given.of.dose}],
        "dispenseRequest": {"quantity": quantity(given.of, given.of.quantity)},
    });
    let mut extensions = vec![status(supply.status)];
    extensions.extend(repeats(p, supply.issue));
    let mut told = json!({
        "resourceType": "MedicationDispense",
        "contained": [role(by, "performer", Some(urn(given.organisation))), ordered],
        "extension": extensions,
        "identifier": [identifier("prescription-dispense-item-number", given.id)],
        "status": if given.status == "0001" { "completed" } else { "on-hold" },
        "medicationCodeableConcept": medicine(given.of),
        "subject": subject,
        "performer": [{"actor": {"reference": "#performer"}}],
        "authorizingPrescription": [{"reference": "#request"}],
        "type": concept("https://fhir.nhs.uk/CodeSystem/medicationdispense-type", given.status, item_words(given.status)),
        "quantity": quantity(given.of, supplied),
        "whenHandedOver": supply.at,
        "dosageInstruction": [{"text": given.of.dose}],
    });
    let reasons = "https://fhir.nhs.uk/CodeSystem/medicationdispense-status-reason";
    match given.status {
        "0002" => told["statusReasonCodeableConcept"] = concept(reasons, "0002", "Clinically unsuitable"),
        "0004" => told["statusReasonCodeableConcept"] = concept(reasons, "0003", "Owings note issued to patient"),
        _ => {}
    }
    told
}

fn item_words(status: &str) -> &'static str {
    match status {
        "0001" => "Item fully dispensed",
        "0002" => "Item not dispensed",
        "0003" => "Item dispensed - partial",
        "0004" => "Item not dispensed owing",
        "0005" => "Item cancelled",
        _ => "Item with dispenser",
    }
}

fn status(code: &str) -> Value {
    let words = match code {
        "0003" => "With Dispenser - Active",
        "0007" => "Not Dispensed",
        _ => "Dispensed",
    };
    let coding =
        json!({"system": "https://fhir.nhs.uk/CodeSystem/EPS-task-business-status", "code": code, "display": words});
    json!({"url": format!("{STRUCTURE}Extension-EPS-TaskBusinessStatus"), "valueCoding": coding})
}

/// Issue and issues; both count from zero on the wire (§5.5).
fn repeats(p: &Prescription, issue: u32) -> Option<Value> {
    let Course::Dispensing(issues) = p.course else { return None };
    Some(json!({
        "url": format!("{STRUCTURE}Extension-EPS-RepeatInformation"),
        "extension": [
            {"url": "numberOfRepeatsAllowed", "valueInteger": issues.saturating_sub(1)},
            {"url": "numberOfRepeatsIssued", "valueInteger": issue.saturating_sub(1)},
        ],
    }))
}

/// Gives a prescription back that nothing was dispensed of.
pub fn give_back(p: &Prescription, by: &Sender, message: &str, response: &str, at: &str) -> Value {
    let reasons = "https://fhir.nhs.uk/CodeSystem/EPS-task-dispense-return-status-reason";
    let mut task = json!({
        "resourceType": "Task",
        "id": message,
        "contained": [role(by, "requester", Some("#organization".into())), organisation(by, "organization")],
        "identifier": [uuid_identifier(message)],
        "status": "rejected",
        "statusReason": concept(reasons, "0003", "Patient requested release"),
        "intent": "order",
        "code": concept("http://hl7.org/fhir/CodeSystem/task-code", "fulfill", "Fulfill the focal request"),
        "groupIdentifier": {"system": ORDER_NUMBER, "value": p.id},
        "focus": {"identifier": uuid_identifier(response)},
        "for": {"identifier": identifier("nhs-number", &p.patient.nhs)},
        "authoredOn": at,
        "requester": {"reference": "#requester"},
    });
    if let Some(repeats) = repeats(p, 1) {
        task["extension"] = json!([repeats]);
    }
    task
}

/// Asks to be paid for a prescription that was dispensed.
pub fn claim(p: &Prescription, by: &Sender, message: &str, supply: &Supply<'_>) -> Value {
    let line = |(at, ((item, of), status)): (usize, ((&str, &'static Medicine), &&str))| {
        claimed(item, of, status, (at + 1, &within(message, CLAIMED + at as u8)))
    };
    let details: Vec<Value> = p.lines().zip(supply.items).enumerate().map(line).collect();
    let mut extensions = vec![status(supply.status)];
    extensions.extend(repeats(p, supply.issue));
    let exemption = "https://fhir.nhs.uk/CodeSystem/prescription-charge-exemption";
    let evidence = "https://fhir.nhs.uk/CodeSystem/DM-exemption-evidence";
    json!({
        "resourceType": "Claim",
        "id": message,
        "extension": [{
            "url": format!("{STRUCTURE}Extension-Provenance-agent"),
            "valueReference": {"identifier": identifier("sds-user-id", &by.user), "display": name(by)},
        }],
        "contained": [role(by, "provider", Some("#organisation".into())), organisation(by, "organisation")],
        "identifier": [uuid_identifier(message)],
        "status": "active",
        "type": concept("http://terminology.hl7.org/CodeSystem/claim-type", "pharmacy", "Pharmacy"),
        "use": "claim",
        "patient": {"identifier": identifier("nhs-number", &p.patient.nhs)},
        "created": supply.at,
        "provider": {"reference": "#provider"},
        "priority": concept("http://terminology.hl7.org/CodeSystem/processpriority", "normal", "Normal"),
        "payee": {
            "type": concept("http://terminology.hl7.org/CodeSystem/payeetype", "provider", "Provider"),
            "party": {"reference": "#organisation"},
        },
        "prescription": {"extension": [{
            "url": format!("{STRUCTURE}Extension-DM-GroupIdentifier"),
            "extension": [
                {"url": "shortForm", "valueIdentifier": {"system": ORDER_NUMBER, "value": p.id}},
                {"url": "UUID", "valueIdentifier": identifier("prescription", &p.long_id)},
            ],
        }]},
        "insurance": [{"sequence": 1, "focal": true, "coverage": {"identifier": ods("T1450")}}],
        "item": [{
            "extension": extensions,
            "sequence": 1,
            "productOrService": concept("http://snomed.info/sct", "16076005", "Prescription"),
            "programCode": [
                concept(exemption, "0001", "Patient has paid appropriate charges"),
                concept(evidence, "no-evidence-seen", "No Evidence Seen"),
            ],
            "detail": details,
        }],
    })
}

fn claimed(item: &str, of: &Medicine, status: &str, (sequence, id): (usize, &str)) -> Value {
    let charge = "https://fhir.nhs.uk/CodeSystem/DM-prescription-charge";
    let endorsement = "https://fhir.nhs.uk/CodeSystem/medicationdispense-endorsement";
    let supplied = if status == "0001" { of.quantity } else { 0 };
    json!({
        "extension": [
            {
                "url": format!("{STRUCTURE}Extension-ClaimSequenceIdentifier"),
                "valueIdentifier": identifier("claim-sequence-identifier", id),
            },
            {
                "url": format!("{STRUCTURE}Extension-ClaimMedicationRequestReference"),
                "valueReference": {"identifier": {"system": ITEM_NUMBER, "value": item}},
            },
        ],
        "sequence": sequence,
        "productOrService": medicine(of),
        "modifier": [concept("https://fhir.nhs.uk/CodeSystem/medicationdispense-type", status, item_words(status))],
        "programCode": [
            concept(charge, "paid-once", "Paid Once"),
            concept(endorsement, "NDEC", "No Dispenser Endorsement Code"),
        ],
        "quantity": quantity(of, supplied),
    })
}

fn name(by: &Sender) -> String {
    format!("{} {}", by.given, by.family)
}

fn role(by: &Sender, id: &str, organisation: Option<String>) -> Value {
    let mut role = json!({
        "resourceType": "PractitionerRole",
        "id": id,
        "identifier": [identifier("sds-role-profile-id", &by.role)],
        "practitioner": {"identifier": identifier("sds-user-id", &by.user), "display": name(by)},
        "code": job_role(&by.job),
        "telecom": phone(),
    });
    if let Some(organisation) = organisation {
        role["organization"] = json!({"reference": organisation});
    }
    role
}

fn organisation(by: &Sender, id: &str) -> Value {
    json!({
        "resourceType": "Organization",
        "id": id,
        "identifier": [ods(&by.ods)],
        "type": [concept("https://fhir.nhs.uk/CodeSystem/organisation-role", "182", "PHARMACY")],
        "name": by.organisation,
        "telecom": phone(),
        "address": [{"use": "work", "line": ["3 DEMONSTRATION STREET"], "city": "EXAMPLETON", "postalCode": "ZZ99 3VZ"}],
    })
}
