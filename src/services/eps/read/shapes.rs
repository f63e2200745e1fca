//! The FHIR R4 shapes of what EPS reads (spec/eps.md §3.6): which elements a type has, of what type, how many. Elements that
//! are not named here are let pass, as the live service does (§3.8).
//!
//! Promise: where R4 or §5 says that an element must be there, this table says so, and nowhere else.

use Count::{Many, May, Must, Some as Several};

/// How many.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// 0..1
    May,
    /// 1..1
    Must,
    /// 0..*
    Many,
    /// 1..*
    Some,
}

/// An element: name, type, count. Types that start small are FHIR's primitives; `Resource` is any resource.
pub type Element = (&'static str, &'static str, Count);

const EXTENSION: &[Element] = &[
    ("url", "string", Must),
    ("extension", "Extension", Many),
    ("valueString", "string", May),
    ("valueCode", "string", May),
    ("valueDateTime", "dateTime", May),
    ("valueBoolean", "boolean", May),
    ("valueInteger", "integer", May),
    ("valueUnsignedInt", "integer", May),
    ("valueCoding", "Coding", May),
    ("valueCodeableConcept", "CodeableConcept", May),
    ("valueReference", "Reference", May),
    ("valueIdentifier", "Identifier", May),
];
const IDENTIFIER: &[Element] = &[("system", "string", May), ("value", "string", May), ("extension", "Extension", Many)];
const CODING: &[Element] = &[("system", "string", May), ("code", "string", May), ("display", "string", May)];
const CONCEPT: &[Element] = &[("coding", "Coding", Many), ("text", "string", May)];
const REFERENCE: &[Element] = &[
    ("reference", "string", May),
    ("identifier", "Identifier", May),
    ("display", "string", May),
    ("extension", "Extension", Many),
];
const PERIOD: &[Element] = &[("start", "dateTime", May), ("end", "dateTime", May)];
const QUANTITY: &[Element] =
    &[("value", "decimal", May), ("unit", "string", May), ("system", "string", May), ("code", "string", May)];
const NAME: &[Element] = &[
    ("use", "string", May),
    ("text", "string", May),
    ("family", "string", May),
    ("given", "string", Many),
    ("prefix", "string", Many),
    ("suffix", "string", Many),
];
const ADDRESS: &[Element] = &[
    ("use", "string", May),
    ("line", "string", Many),
    ("city", "string", May),
    ("district", "string", May),
    ("state", "string", May),
    ("postalCode", "string", May),
];
const CONTACT: &[Element] = &[("system", "string", May), ("value", "string", May), ("use", "string", May)];

const BUNDLE: &[Element] = &[
    ("identifier", "Identifier", May),
    ("type", "string", Must),
    ("entry", "Bundle.entry", Several),
    ("meta", "Meta", May),
];
const ENTRY: &[Element] = &[("fullUrl", "string", May), ("resource", "Resource", Must)];
const META: &[Element] = &[("lastUpdated", "dateTime", May)];
const HEADER: &[Element] = &[
    ("extension", "Extension", Many),
    ("eventCoding", "Coding", Must),
    ("destination", "MessageHeader.destination", Many),
    ("sender", "Reference", May),
    ("source", "MessageHeader.source", Must),
    ("reason", "CodeableConcept", May),
    ("response", "MessageHeader.response", May),
    ("focus", "Reference", Many),
];
const DESTINATION: &[Element] = &[("endpoint", "string", May), ("receiver", "Reference", May)];
const SOURCE: &[Element] = &[("name", "string", May), ("endpoint", "string", Must)];
const RESPONSE: &[Element] = &[("identifier", "string", Must), ("code", "string", Must)];

const REQUEST: &[Element] = &[
    ("extension", "Extension", Many),
    ("identifier", "Identifier", Several),
    ("basedOn", "Reference", Many),
    ("status", "string", Must),
    ("statusReason", "CodeableConcept", May),
    ("intent", "string", Must),
    ("category", "CodeableConcept", Many),
    ("medicationCodeableConcept", "CodeableConcept", May),
    ("medicationReference", "Reference", May),
    ("subject", "Reference", Must),
    ("authoredOn", "dateTime", May),
    ("requester", "Reference", May),
    ("groupIdentifier", "Identifier", Must),
    ("courseOfTherapyType", "CodeableConcept", May),
    ("note", "Annotation", Many),
    ("dosageInstruction", "Dosage", Many),
    ("dispenseRequest", "MedicationRequest.dispenseRequest", May),
    ("substitution", "MedicationRequest.substitution", May),
];
const ANNOTATION: &[Element] = &[("text", "string", Must)];
const DOSAGE: &[Element] = &[("sequence", "integer", May), ("text", "string", May)];
const DISPENSE_REQUEST: &[Element] = &[
    ("extension", "Extension", Many),
    ("validityPeriod", "Period", May),
    ("numberOfRepeatsAllowed", "integer", May),
    ("quantity", "Quantity", May),
    ("expectedSupplyDuration", "Quantity", May),
    ("performer", "Reference", May),
];
const SUBSTITUTION: &[Element] = &[("allowedBoolean", "boolean", May)];

const PATIENT: &[Element] = &[
    ("identifier", "Identifier", Several),
    ("name", "HumanName", Many),
    ("gender", "gender", May),
    ("birthDate", "date", May),
    ("address", "Address", Many),
    ("telecom", "ContactPoint", Many),
    ("generalPractitioner", "Reference", Many),
    ("extension", "Extension", Many),
];
const ROLE: &[Element] = &[
    ("identifier", "Identifier", Many),
    ("practitioner", "Reference", May),
    ("organization", "Reference", May),
    ("code", "CodeableConcept", Many),
    ("healthcareService", "Reference", Many),
    ("telecom", "ContactPoint", Many),
];
const PRACTITIONER: &[Element] =
    &[("identifier", "Identifier", Many), ("name", "HumanName", Many), ("telecom", "ContactPoint", Many)];
const ORGANIZATION: &[Element] = &[
    ("extension", "Extension", Many),
    ("identifier", "Identifier", Many),
    ("type", "CodeableConcept", Many),
    ("name", "string", May),
    ("telecom", "ContactPoint", Many),
    ("address", "Address", Many),
    ("partOf", "Reference", May),
];
const SERVICE: &[Element] = &[
    ("identifier", "Identifier", Many),
    ("name", "string", May),
    ("location", "Reference", Many),
    ("telecom", "ContactPoint", Many),
];
const LOCATION: &[Element] = &[("identifier", "Identifier", Many), ("address", "Address", May)];
const MEDICATION: &[Element] = &[("code", "CodeableConcept", May)];
const COMMUNICATION: &[Element] =
    &[("status", "string", Must), ("payload", "CommunicationRequest.payload", Many), ("subject", "Reference", May)];
const PAYLOAD: &[Element] = &[("contentString", "string", May), ("contentReference", "Reference", May)];
const LIST: &[Element] = &[("status", "string", Must), ("mode", "string", Must), ("entry", "List.entry", Many)];
const LIST_ENTRY: &[Element] = &[("item", "Reference", Must)];
const PROVENANCE: &[Element] = &[
    ("target", "Reference", Several),
    ("recorded", "dateTime", Must),
    ("agent", "Provenance.agent", Several),
    ("signature", "Signature", Many),
];
const AGENT: &[Element] = &[("who", "Reference", Must)];
const SIGNATURE: &[Element] =
    &[("type", "Coding", Several), ("when", "dateTime", Must), ("who", "Reference", Must), ("data", "string", May)];

const DISPENSE: &[Element] = &[
    ("contained", "Resource", Many),
    ("extension", "Extension", Many),
    ("identifier", "Identifier", Many),
    ("status", "string", Must),
    ("statusReasonCodeableConcept", "CodeableConcept", May),
    ("medicationCodeableConcept", "CodeableConcept", May),
    ("medicationReference", "Reference", May),
    ("subject", "Reference", May),
    ("performer", "MedicationDispense.performer", Many),
    ("authorizingPrescription", "Reference", Many),
    ("type", "CodeableConcept", May),
    ("quantity", "Quantity", May),
    ("whenHandedOver", "dateTime", May),
    ("dosageInstruction", "Dosage", Many),
];
const PERFORMER: &[Element] = &[("actor", "Reference", Must)];

const TASK: &[Element] = &[
    ("contained", "Resource", Many),
    ("extension", "Extension", Many),
    ("identifier", "Identifier", Several),
    ("groupIdentifier", "Identifier", Must),
    ("status", "string", Must),
    ("statusReason", "CodeableConcept", May),
    ("intent", "string", Must),
    ("code", "CodeableConcept", May),
    ("focus", "Reference", May),
    ("for", "Reference", Must),
    ("authoredOn", "dateTime", May),
    ("requester", "Reference", May),
    ("meta", "Meta", May),
];

const CLAIM: &[Element] = &[
    ("contained", "Resource", Many),
    ("extension", "Extension", Many),
    ("identifier", "Identifier", Several),
    ("status", "string", Must),
    ("type", "CodeableConcept", Must),
    ("use", "string", Must),
    ("patient", "Reference", Must),
    ("created", "dateTime", Must),
    ("provider", "Reference", Must),
    ("priority", "CodeableConcept", Must),
    ("prescription", "Reference", Must),
    ("insurance", "Claim.insurance", Many),
    ("item", "Claim.item", Many),
    ("meta", "Meta", May),
];
const INSURANCE: &[Element] =
    &[("sequence", "integer", Must), ("focal", "boolean", Must), ("coverage", "Reference", Must)];
const CLAIM_ITEM: &[Element] = &[
    ("extension", "Extension", Many),
    ("sequence", "integer", Must),
    ("productOrService", "CodeableConcept", Must),
    ("programCode", "CodeableConcept", Many),
    ("detail", "Claim.item.detail", Many),
];
const DETAIL: &[Element] = &[
    ("extension", "Extension", Many),
    ("sequence", "integer", Must),
    ("productOrService", "CodeableConcept", Must),
    ("modifier", "CodeableConcept", Many),
    ("programCode", "CodeableConcept", Many),
    ("quantity", "Quantity", May),
    ("subDetail", "Claim.item.detail.subDetail", Many),
];
const SUB_DETAIL: &[Element] = &[
    ("extension", "Extension", Many),
    ("sequence", "integer", Must),
    ("productOrService", "CodeableConcept", Must),
    ("quantity", "Quantity", May),
];

const PARAMETERS: &[Element] = &[("parameter", "Parameters.parameter", Several), ("meta", "Meta", May)];
const PARAMETER: &[Element] = &[
    ("name", "string", Must),
    ("resource", "Resource", May),
    ("valueCode", "string", May),
    ("valueString", "string", May),
    ("valueIdentifier", "Identifier", May),
];

/// The elements of a type; `None` for a primitive or a type that EPS does not read.
pub fn elements(kind: &str) -> Option<&'static [Element]> {
    Some(match kind {
        "Extension" => EXTENSION,
        "Identifier" => IDENTIFIER,
        "Coding" => CODING,
        "CodeableConcept" => CONCEPT,
        "Reference" => REFERENCE,
        "Period" => PERIOD,
        "Quantity" => QUANTITY,
        "HumanName" => NAME,
        "Address" => ADDRESS,
        "ContactPoint" => CONTACT,
        "Annotation" => ANNOTATION,
        "Dosage" => DOSAGE,
        "Signature" => SIGNATURE,
        "Meta" => META,
        _ => return resource(kind).or_else(|| part(kind)),
    })
}

/// The elements of a resource.
pub fn resource(kind: &str) -> Option<&'static [Element]> {
    Some(match kind {
        "Bundle" => BUNDLE,
        "MessageHeader" => HEADER,
        "MedicationRequest" => REQUEST,
        "MedicationDispense" => DISPENSE,
        "Patient" => PATIENT,
        "PractitionerRole" => ROLE,
        "Practitioner" => PRACTITIONER,
        "Organization" => ORGANIZATION,
        "HealthcareService" => SERVICE,
        "Location" => LOCATION,
        "Medication" => MEDICATION,
        "CommunicationRequest" => COMMUNICATION,
        "List" => LIST,
        "Provenance" => PROVENANCE,
        "Task" => TASK,
        "Claim" => CLAIM,
        "Parameters" => PARAMETERS,
        _ => return None,
    })
}

/// The elements of a part of a resource.
fn part(kind: &str) -> Option<&'static [Element]> {
    Some(match kind {
        "Bundle.entry" => ENTRY,
        "MessageHeader.destination" => DESTINATION,
        "MessageHeader.source" => SOURCE,
        "MessageHeader.response" => RESPONSE,
        "MedicationRequest.dispenseRequest" => DISPENSE_REQUEST,
        "MedicationRequest.substitution" => SUBSTITUTION,
        "MedicationDispense.performer" => PERFORMER,
        "CommunicationRequest.payload" => PAYLOAD,
        "List.entry" => LIST_ENTRY,
        "Provenance.agent" => AGENT,
        "Claim.insurance" => INSURANCE,
        "Claim.item" => CLAIM_ITEM,
        "Claim.item.detail" => DETAIL,
        "Claim.item.detail.subDetail" => SUB_DETAIL,
        "Parameters.parameter" => PARAMETER,
        _ => return None,
    })
}
