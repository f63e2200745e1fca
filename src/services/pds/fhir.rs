//! The names of the FHIR shapes (spec/pds.md §5), and small helpers on their JSON.

use super::rows::{Person, Sensitivity};
use crate::model::NhsNumber;
use serde_json::{Map, Value, json};

pub const BASE: &str = "/personal-demographics/FHIR/R4";
pub const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";
pub const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
pub const ADDRESS_KEY: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AddressKey";
pub const NOMINATED_PHARMACY: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NominatedPharmacy";
pub const PREFERRED_DISPENSER: &str =
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-PreferredDispenserOrganization";
pub const APPLIANCE_SUPPLIER: &str =
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicalApplianceSupplier";
pub const DEATH_NOTIFICATION: &str =
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-DeathNotificationStatus";
pub const DEATH_SYSTEM: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-DeathNotificationStatus";
pub const COMMUNICATION: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSCommunication";
pub const CONTACT_PREFERENCE: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-ContactPreference";
pub const BIRTH_PLACE: &str = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace";
pub const REMOVAL: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-PDS-RemovalFromRegistration";
pub const REGISTERING_AUTHORITY: &str =
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-RegisteringAuthority";
pub const CONSENT: &str = "https://hl7.org/fhir/R4/consent.html";
/// The three kinds of dispenser (§5.6).
pub const PHARMACIES: [&str; 3] = [NOMINATED_PHARMACY, PREFERRED_DISPENSER, APPLIANCE_SUPPLIER];
/// Members whose items have server-made ids.
pub const LISTS: [&str; 5] = ["name", "address", "telecom", "contact", "generalPractitioner"];
/// Members of a Patient that are stored; the others are made of the row.
pub const STORED: [&str; 11] = [
    "name",
    "gender",
    "birthDate",
    "multipleBirthInteger",
    "deceasedDateTime",
    "address",
    "telecom",
    "contact",
    "generalPractitioner",
    "managingOrganization",
    "extension",
];

pub type Object = Map<String, Value>;

/// The items of a list member; none where it is not there.
pub fn items<'a>(resource: &'a Object, member: &str) -> &'a [Value] {
    resource.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text member of an object; empty where it is not there.
pub fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// The extension of this URL.
pub fn extension<'a>(resource: &'a Object, url: &str) -> Option<&'a Value> {
    items(resource, "extension").iter().find(|e| text(e, "url") == url)
}

/// The sub-extension of this URL.
pub fn sub<'a>(extension: &'a Value, url: &str) -> Option<&'a Value> {
    extension.get("extension")?.as_array()?.iter().find(|e| text(e, "url") == url)
}

/// The code of a sub-extension's first coding.
pub fn sub_code<'a>(extension: &'a Value, url: &str) -> Option<&'a str> {
    sub(extension, url)?.pointer("/valueCodeableConcept/coding/0/code")?.as_str()
}

/// The `identifier` of a Patient: the number and its verification status, which is always 01 (§5.9).
pub fn identifier(nhs: NhsNumber) -> Value {
    json!([{
        "system": NHS_NUMBER,
        "value": nhs.digits(),
        "extension": [{
            "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus",
            "valueCodeableConcept": {"coding": [{
                "system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatus",
                "version": "1.0.0",
                "code": "01",
                "display": "Number present and verified",
            }]},
        }],
    }])
}

/// The `meta` of a Patient.
pub fn meta(version: u64, sensitivity: Sensitivity) -> Value {
    json!({
        "versionId": version.to_string(),
        "security": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
            "code": sensitivity.code(),
            "display": sensitivity.display(),
        }],
    })
}

/// The whole Patient: what is stored, and what is made of the row.
pub fn patient(nhs: NhsNumber, row: &Person, mut stored: Object) -> Object {
    stored.insert("resourceType".into(), json!("Patient"));
    stored.insert("id".into(), json!(nhs.digits()));
    stored.insert("identifier".into(), identifier(nhs));
    stored.insert("meta".into(), meta(row.version, row.sensitivity()));
    stored
}

/// What is stored of a Patient.
pub fn stored_part(mut patient: Object) -> Object {
    patient.retain(|member, value| {
        STORED.contains(&member.as_str()) && !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
    });
    patient
}

/// A searchset.
pub fn bundle(timestamp: &str, entries: Vec<Value>) -> Value {
    let mut bundle = json!({
        "resourceType": "Bundle", "type": "searchset", "timestamp": timestamp, "total": entries.len(),
    });
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    bundle
}

/// `2019-12-25T12:00:00+00:00`.
pub fn moment(at: crate::model::EpochMillis) -> String {
    let iso = crate::model::time::iso(at);
    format!("{}+00:00", &iso[..19])
}

/// `2019-12-25`.
pub fn day(at: crate::model::EpochMillis) -> String {
    crate::model::time::iso(at)[..10].to_owned()
}
