//! The words that `packed` writes as one or two bytes. A word's number is its place: for ever, so words are appended and never
//! moved or changed; the first 127 take one byte.

use std::{collections::HashMap, sync::LazyLock};

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "id",
    "use",
    "period",
    "start",
    "end",
    "given",
    "family",
    "prefix",
    "suffix",
    "usual",
    "home",
    "temp",
    "line",
    "postalCode",
    "system",
    "value",
    "url",
    "extension",
    "valueString",
    "valueCoding",
    "code",
    "type",
    "PAF",
    "UPRN",
    "identifier",
    "Organization",
    "name",
    "address",
    "telecom",
    "generalPractitioner",
    "gender",
    "male",
    "female",
    "birthDate",
    "phone",
    "email",
    "mobile",
    "work",
    "billing",
    "display",
    "coding",
    "valueCodeableConcept",
    "version",
    "1.0.0",
    "Mr",
    "Mrs",
    "Ms",
    "Miss",
    "Dr",
    "https://fhir.nhs.uk/Id/ods-organization-code",
    "https://fhir.nhs.uk/Id/nhs-number",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AddressKey",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-AddressKeyType",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NominatedPharmacy",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-PreferredDispenserOrganization",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicalApplianceSupplier",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-DeathNotificationStatus",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-DeathNotificationStatus",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSCommunication",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-HumanLanguage",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-ContactPreference",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-PreferredWrittenCommunicationFormat",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-PreferredContactMethod",
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-OtherContactSystem",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-OtherContactSystem",
    "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
    "https://fhir.nhs.uk/StructureDefinition/Extension-PDS-RemovalFromRegistration",
    "https://fhir.nhs.uk/CodeSystem/PDS-RemovalReasonExitCode",
    "valueReference",
    "deceasedDateTime",
    "multipleBirthInteger",
    "deathNotificationStatus",
    "systemEffectiveDate",
    "valueDateTime",
    "Formal - death notice received from Registrar of Deaths",
    "Informal - death notice received via an update from a local NHS Organisation such as GP or Trust",
    "language",
    "interpreterRequired",
    "valueBoolean",
    "PreferredWrittenCommunicationFormat",
    "PreferredContactMethod",
    "PreferredContactTimes",
    "removalFromRegistrationCode",
    "effectiveTime",
    "valuePeriod",
    "valueAddress",
    "city",
    "district",
    "country",
    "contact",
    "relationship",
    "http://terminology.hl7.org/CodeSystem/v2-0131",
    "Emergency Contact",
    "managingOrganization",
    "other",
    "fax",
    "old",
    "nickname",
    "maiden",
    "unknown",
    "text",
    "textphone",
    "Minicom (Textphone)",
    "resourceType",
    "Patient",
    "RelatedPerson",
    "active",
    "patient",
    "https://fhir.nhs.uk/R4/StructureDefinition/Extension-UKCore-CopyCorrespondenceIndicator",
    "https://fhir.nhs.uk/R4/StructureDefinition/Extension-UKCore-ContactRank",
    "valuePositiveInt",
    "https://fhir.nhs.uk/R4/CodeSystem/UKCore-AdditionalRelatedPersonRole",
    "http://hl7.org/fhir/ValueSet/relatedperson-relationshiptype",
    "Coverage",
    "status",
    "subscriber",
    "assigner",
    "urn:iso:std:iso:3166",
    "payor",
    "beneficiary",
    "DEA",
    "EMB",
    "SCT",
    "NIT",
    "TRA",
    "ORR",
    "AFN",
    "SDN",
    "LDN",
    "Transferred to Scotland",
    "Death",
    "Embarkation",
    "reference",
    "mother",
];

static NUMBERS: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| WORDS.iter().enumerate().map(|(number, word)| (*word, number)).collect());

/// The number of a word of the list.
pub fn number_of(text: &str) -> Option<usize> {
    NUMBERS.get(text).copied()
}

/// The word of a number.
pub fn word(number: usize) -> Option<&'static str> {
    WORDS.get(number).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_has_moved() {
        assert_eq!(NUMBERS.len(), WORDS.len(), "each word once");
        let first = &WORDS[..134];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, first.join("\n").as_bytes());
        assert_eq!(crate::wire::mesh::hex_encode(&digest.as_ref()[..8]), "7c2227096159183d", "words are appended only");
    }
}
