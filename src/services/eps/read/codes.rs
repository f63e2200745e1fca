//! Systems and codes that messages name (spec/eps.md §4, §20).

pub const RFC4122: &str = "https://tools.ietf.org/html/rfc4122";
pub const ITEM: &str = "https://fhir.nhs.uk/Id/prescription-order-item-number";
pub const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";
pub const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
pub const USER: &str = "https://fhir.nhs.uk/Id/sds-user-id";
pub const ROLE: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id";
pub const GMP: &str = "https://fhir.hl7.org.uk/Id/gmp-number";
pub const DIN: &str = "https://fhir.hl7.org.uk/Id/din-number";
pub const SPURIOUS: &str = "https://fhir.hl7.org.uk/Id/nhsbsa-spurious-code";
/// The codes of which a prescriber has exactly one (§5.2).
pub const PROFESSIONAL: &[&str] = &[
    "https://fhir.hl7.org.uk/Id/gmc-number",
    "https://fhir.hl7.org.uk/Id/nmc-number",
    "https://fhir.hl7.org.uk/Id/gphc-number",
    "https://fhir.hl7.org.uk/Id/hcpc-number",
    "https://fhir.hl7.org.uk/Id/professional-code",
];
pub const SNOMED: [&str; 2] = ["http://snomed.info/sct", "https://snomed.info/sct"];
pub const PRESCRIPTION_TYPE: &str = "https://fhir.nhs.uk/CodeSystem/prescription-type";
pub const COURSE_OF_THERAPY: &str = "http://terminology.hl7.org/CodeSystem/medicationrequest-course-of-therapy";
pub const SITE: &str = "https://fhir.nhs.uk/CodeSystem/dispensing-site-preference";
pub const CANCEL_REASON: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-reason";
pub const DISPENSE_TYPE: &str = "https://fhir.nhs.uk/CodeSystem/medicationdispense-type";
pub const DISPENSE_REASON: &str = "https://fhir.nhs.uk/CodeSystem/medicationdispense-status-reason";
pub const RETURN_REASON: &str = "https://fhir.nhs.uk/CodeSystem/EPS-task-dispense-return-status-reason";
pub const WITHDRAW_REASON: &str = "https://fhir.nhs.uk/CodeSystem/EPS-task-dispense-withdraw-reason";
pub const TASK_CODE: &str = "http://hl7.org/fhir/CodeSystem/task-code";
pub const CHARGE: &str = "https://fhir.nhs.uk/CodeSystem/DM-prescription-charge";
pub const ENDORSEMENT: &str = "https://fhir.nhs.uk/CodeSystem/medicationdispense-endorsement";

/// Agencies that pay (§13).
pub const PAYERS: &[&str] = &["T1450", "RQFZ1"];

/// §20.5.
pub const CANCEL_REASONS: &[&str] = &["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009"];
/// §20.6.
pub const NOT_DISPENSED: &[&str] =
    &["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011"];
/// §20.7.
pub const RETURN_REASONS: &[&str] = &["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008"];
/// §20.8.
pub const WITHDRAW_REASONS: &[&str] = &["QU", "MU", "DA", "PA", "OC", "ONC"];
/// §13.
pub const CHARGES: &[&str] = &["paid-once", "paid-twice", "not-paid"];

/// First halves of a prescription type: the setting (§20.1).
const SETTINGS: &[&str] = &["01", "10", "11", "12", "02", "20", "05", "50"];
/// Second halves: the prescriber.
const PRESCRIBERS: &[&str] = &["01", "04", "05", "08", "13", "14", "16", "17", "24", "25"];
/// Types that are older than that system.
const OLDER: &[&str] = &[
    "0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0102", "0103", "0106",
    "0107", "0109", "0110", "0119", "0120", "0121", "0122", "0123", "0304", "0305", "0306", "0307", "0406", "0607",
    "0707", "0708", "0709", "0713", "0714", "0716", "0717", "0718", "0719", "0721", "0722", "0901", "0904", "0908",
    "0913", "0914", "0915", "0916",
];

/// A prescription type as it is stored: one that stands in no table is accepted as `NotProvided` (§7.2).
pub fn prescription_type(code: &str) -> String {
    let halves = code.get(..2).zip(code.get(2..));
    let listed = halves.is_some_and(|(setting, who)| SETTINGS.contains(&setting) && PRESCRIBERS.contains(&who));
    if listed || OLDER.contains(&code) { code.to_owned() } else { "NotProvided".to_owned() }
}
