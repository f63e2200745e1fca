//! An order (spec/eps.md §5) and the cancellation of an item (§8.1), as a practice's system makes them.

use super::{
    Course, ITEM_NUMBER, Medicine, Prescription, STRUCTURE, Sender, concept, entry, event, identifier, job_role,
    medicine, ods, phone, quantity, urn, uuid_identifier, within,
};
use serde_json::{Value, json};

/// Places of a message's resources in [`within`].
const HEADER: u8 = 0xe0;
const PATIENT: u8 = 0xe1;
const ROLE: u8 = 0xe2;
const PERSON: u8 = 0xe3;
const ORGANISATION: u8 = 0xe4;

/// The order without its signature; `message` is its id.
pub fn order(p: &Prescription, by: &Sender, message: &str) -> Value {
    let items = p.lines().map(|(id, of)| entry(id, request(p, id, of, message))).collect();
    bundle(p, by, message, event("prescription-order", "Prescription Order"), items)
}

/// One item is cancelled, for a reason of §20.5.
pub fn cancel(p: &Prescription, by: &Sender, message: &str, item: &str, reason: (&str, &str)) -> Value {
    let items = p.lines().filter(|(id, _)| *id == item).map(|(id, of)| {
        let mut request = request(p, id, of, message);
        if let Some(members) = request.as_object_mut() {
            let system = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-reason";
            members.insert("status".into(), json!("cancelled"));
            members.insert("statusReason".into(), concept(system, reason.0, reason.1));
        }
        entry(id, request)
    });
    let event = event("prescription-order-update", "Prescription Order Update");
    bundle(p, by, message, event, items.collect())
}

fn bundle(p: &Prescription, by: &Sender, message: &str, event: Value, items: Vec<Value>) -> Value {
    let focus = items.iter().map(|item| &item["fullUrl"]).map(|url| json!({"reference": url}));
    let mut focus: Vec<Value> = focus.collect();
    focus.push(json!({"reference": urn(&within(message, PATIENT))}));
    let mut header = json!({
        "resourceType": "MessageHeader",
        "eventCoding": event,
        "sender": {
            "identifier": ods(&by.ods),
            "reference": urn(&within(message, ROLE)),
            "display": by.organisation,
        },
        "source": {"endpoint": format!("https://directory.spineservices.nhs.uk/STU3/Organization/{}", by.ods)},
        "focus": focus,
    });
    if let Some(nominated) = &p.nominated {
        header["destination"] = json!([{
            "endpoint": format!("urn:nhs-uk:addressing:ods:{nominated}"),
            "receiver": {"identifier": ods(nominated)},
        }]);
    }
    let mut entries = vec![entry(&within(message, HEADER), header)];
    entries.extend(items);
    entries.push(entry(&within(message, PATIENT), patient(p, &by.ods)));
    entries.extend(prescriber(by, message));
    json!({
        "resourceType": "Bundle",
        "id": message,
        "identifier": uuid_identifier(message),
        "type": "message",
        "entry": entries,
    })
}

fn request(p: &Prescription, id: &str, of: &Medicine, message: &str) -> Value {
    let category = "http://terminology.hl7.org/CodeSystem/medicationrequest-category";
    let (intent, course) = course(p.course);
    json!({
        "resourceType": "MedicationRequest",
        "id": id,
        "extension": extensions(p),
        "identifier": [{"system": ITEM_NUMBER, "value": id}],
        "status": "active",
        "intent": intent,
        "category": [concept(category, "community", "Community")],
        "medicationCodeableConcept": medicine(of),
        "subject": {"reference": urn(&within(message, PATIENT))},
        "requester": {"reference": urn(&within(message, ROLE))},
        "groupIdentifier": p.group(),
        "courseOfTherapyType": course,
        "dosageInstruction": [{
            "text": of.dose,
            "route": concept("http://snomed.info/sct", "26643006", "Oral"),
        }],
        "dispenseRequest": dispense_request(p, of),
        "substitution": {"allowedBoolean": false},
    })
}

fn course(of: Course) -> (&'static str, Value) {
    let hl7 = "http://terminology.hl7.org/CodeSystem/medicationrequest-course-of-therapy";
    let ours = "https://fhir.nhs.uk/CodeSystem/medicationrequest-course-of-therapy";
    match of {
        Course::Acute => ("order", concept(hl7, "acute", "Short course (acute) therapy")),
        Course::Repeat => ("order", concept(hl7, "continuous", "Continuous long term therapy")),
        Course::Dispensing(_) => {
            let display = "Continuous long term (repeat dispensing)";
            ("original-order", concept(ours, "continuous-repeat-dispensing", display))
        }
    }
}

fn extensions(p: &Prescription) -> Value {
    let mut all = vec![json!({
        "url": format!("{STRUCTURE}Extension-DM-PrescriptionType"),
        "valueCoding": {
            "system": "https://fhir.nhs.uk/CodeSystem/prescription-type",
            "code": "0101",
            "display": "Primary Care Prescriber - Medical Prescriber",
        },
    })];
    if p.course != Course::Acute {
        all.push(json!({
            "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicationRepeatInformation",
            "extension": [{"url": "authorisationExpiryDate", "valueDateTime": p.end}],
        }));
    }
    Value::Array(all)
}

fn dispense_request(p: &Prescription, of: &Medicine) -> Value {
    // Where a pharmacy is nominated, it is one of the first kind.
    let site = if p.nominated.is_some() { "P1" } else { "0004" };
    let mut told = json!({
        "extension": [{
            "url": format!("{STRUCTURE}Extension-DM-PerformerSiteType"),
            "valueCoding": {"system": "https://fhir.nhs.uk/CodeSystem/dispensing-site-preference", "code": site},
        }],
        "validityPeriod": {"start": p.start, "end": p.end},
        "quantity": quantity(of, of.quantity),
        "expectedSupplyDuration": {"value": 28, "unit": "day", "system": "http://unitsofmeasure.org", "code": "d"},
    });
    if let Some(nominated) = &p.nominated {
        told["performer"] = json!({"identifier": ods(nominated)});
    }
    if let Course::Dispensing(issues) = p.course {
        told["numberOfRepeatsAllowed"] = json!(issues.saturating_sub(1));
    }
    told
}

fn patient(p: &Prescription, practice: &str) -> Value {
    let of = &p.patient;
    json!({
        "resourceType": "Patient",
        "identifier": [identifier("nhs-number", &of.nhs)],
        "name": [{"use": "usual", "family": of.family, "given": [of.given]}],
        "gender": of.gender,
        "birthDate": of.born,
        "address": [{"use": "home", "line": ["1 DEMONSTRATION STREET", "EXAMPLETON"], "postalCode": of.postcode}],
        "generalPractitioner": [{"identifier": ods(practice)}],
    })
}

fn prescriber(by: &Sender, message: &str) -> [Value; 3] {
    let role = json!({
        "resourceType": "PractitionerRole",
        "identifier": [identifier("sds-role-profile-id", &by.role)],
        "practitioner": {"reference": urn(&within(message, PERSON))},
        "organization": {"reference": urn(&within(message, ORGANISATION))},
        "code": job_role(&by.job),
        "telecom": phone(),
    });
    let person = json!({
        "resourceType": "Practitioner",
        "identifier": [
            identifier("sds-user-id", &by.user),
            {"system": "https://fhir.hl7.org.uk/Id/gmc-number", "value": "9999999"},
            {"system": "https://fhir.hl7.org.uk/Id/din-number", "value": "999999"},
        ],
        "name": [{"family": by.family, "given": [by.given], "prefix": ["DR"]}],
    });
    let organisation = json!({
        "resourceType": "Organization",
        "identifier": [ods(&by.ods)],
        "type": [concept("https://fhir.nhs.uk/CodeSystem/organisation-role", "76", "GP PRACTICE")],
        "name": by.organisation,
        "telecom": phone(),
        "address": [{"use": "work", "type": "both", "line": ["2 DEMONSTRATION STREET"], "city": "EXAMPLETON",
            "postalCode": "ZZ99 3VZ"}],
        "partOf": {"identifier": ods("84H"), "display": "DEMO COMMISSIONING BOARD"},
    });
    [
        entry(&within(message, ROLE), role),
        entry(&within(message, PERSON), person),
        entry(&within(message, ORGANISATION), organisation),
    ]
}
