//! What a prescriber's and a pharmacy's system send (spec/eps.md §5 to §13), made for `spine demo` and `spine bench eps`. Everybody
//! and everything in these messages is invented but the medicines.
//!
//! | file | duty |
//! |---|---|
//! | `order` | orders and cancellations |
//! | `dispensing` | release, dispense notification, return, claim |
//! | `signing` | a prescriber's key, and the signature that it makes |
//!
//! Promise: what is made here passes every check of `services::eps::read`, and its signature all nine of `services::eps::sign`.

pub mod dispensing;
pub mod order;
pub mod signing;
#[cfg(test)]
mod tests;

use super::bench::Known;
use serde_json::{Value, json};

/// Who sends: a person in a role at an organisation.
#[derive(Clone, Debug)]
pub struct Sender {
    /// SDS user id.
    pub user: String,
    /// Role profile.
    pub role: String,
    pub job: String,
    pub given: String,
    pub family: String,
    pub ods: String,
    pub organisation: String,
}

/// Something to prescribe.
#[derive(Clone, Copy, Debug)]
pub struct Medicine {
    /// dm+d.
    pub code: &'static str,
    pub name: &'static str,
    pub quantity: u32,
    pub unit: (&'static str, &'static str),
    pub dose: &'static str,
}

const TABLET: (&str, &str) = ("tablet", "428673006");
const CAPSULE: (&str, &str) = ("capsule", "428641000");

/// As many as a prescription may have items.
pub const MEDICINES: [Medicine; 4] = [
    Medicine {
        code: "39732311000001104",
        name: "Amoxicillin 250mg capsules",
        quantity: 21,
        unit: CAPSULE,
        dose: "One capsule to be taken three times a day for seven days",
    },
    Medicine {
        code: "322237000",
        name: "Paracetamol 500mg soluble tablets",
        quantity: 60,
        unit: TABLET,
        dose: "Two tablets to be dissolved in water and taken up to four times a day",
    },
    Medicine {
        code: "321080004",
        name: "Pseudoephedrine hydrochloride 60mg tablets",
        quantity: 30,
        unit: TABLET,
        dose: "One tablet to be taken three times a day",
    },
    Medicine {
        code: "324252006",
        name: "Azithromycin 250mg capsules",
        quantity: 6,
        unit: CAPSULE,
        dose: "Two capsules to be taken once a day for three days",
    },
];

/// How a prescription repeats (§5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    Acute,
    Repeat,
    /// Repeat dispensing with so many issues.
    Dispensing(u32),
}

/// One prescription: what every message about it says.
#[derive(Clone, Debug)]
pub struct Prescription {
    /// Short and long id.
    pub id: String,
    pub long_id: String,
    /// Item ids; each is for the medicine at its place.
    pub items: Vec<String>,
    pub patient: Known,
    /// ODS code.
    pub nominated: Option<String>,
    pub course: Course,
    /// First and last day, `YYYY-MM-DD`.
    pub start: String,
    pub end: String,
}

impl Prescription {
    pub fn lines(&self) -> impl Iterator<Item = (&str, &'static Medicine)> {
        self.items.iter().map(String::as_str).zip(&MEDICINES)
    }
    /// `MS ZOE BLOGGS`
    fn patient_name(&self) -> String {
        format!("{} {}", self.patient.given, self.patient.family)
    }
    fn group(&self) -> Value {
        json!({
            "system": ORDER_NUMBER,
            "value": self.id,
            "extension": [{
                "url": format!("{STRUCTURE}Extension-DM-PrescriptionId"),
                "valueIdentifier": {"system": "https://fhir.nhs.uk/Id/prescription", "value": self.long_id},
            }],
        })
    }
}

const STRUCTURE: &str = "https://fhir.nhs.uk/StructureDefinition/";
const ORDER_NUMBER: &str = "https://fhir.nhs.uk/Id/prescription-order-number";
const ITEM_NUMBER: &str = "https://fhir.nhs.uk/Id/prescription-order-item-number";
const UUIDS: &str = "https://tools.ietf.org/html/rfc4122";
const SNOMED: &str = "http://snomed.info/sct";

fn identifier(kind: &str, value: &str) -> Value {
    json!({"system": format!("https://fhir.nhs.uk/Id/{kind}"), "value": value})
}

fn ods(code: &str) -> Value {
    identifier("ods-organization-code", code)
}

fn uuid_identifier(value: &str) -> Value {
    json!({"system": UUIDS, "value": value})
}

fn urn(uuid: &str) -> String {
    format!("urn:uuid:{uuid}")
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [{"system": system, "code": code, "display": display}]})
}

fn medicine(of: &Medicine) -> Value {
    concept(SNOMED, of.code, of.name)
}

fn quantity(of: &Medicine, value: u32) -> Value {
    json!({"value": value, "unit": of.unit.0, "system": SNOMED, "code": of.unit.1})
}

fn entry(uuid: &str, resource: Value) -> Value {
    json!({"fullUrl": urn(uuid), "resource": resource})
}

fn event(code: &str, display: &str) -> Value {
    json!({"system": "https://fhir.nhs.uk/CodeSystem/message-event", "code": code, "display": display})
}

fn job_role(code: &str) -> Value {
    json!([{"coding": [{"system": "https://fhir.nhs.uk/CodeSystem/NHSDigital-SDS-JobRoleCode", "code": code}]}])
}

fn phone() -> Value {
    json!([{"system": "phone", "use": "work", "value": "01632 960960"}])
}

/// A message's own resources have ids made from its own: the same message, the same bytes.
fn within(message: &str, place: u8) -> String {
    let (head, _) = message.split_at_checked(34).unwrap_or((message, ""));
    format!("{head}{place:02x}")
}
