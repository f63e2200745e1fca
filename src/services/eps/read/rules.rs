//! The store's rules for single values (spec/eps.md §7.2): how a refusal names the field, where the element stands, and what would
//! be right.
//!
//! Invariant: no text here holds anything of a message.

use crate::services::eps::ids::BadShortId;

/// One rule of one element.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// "field rule", as the published texts end.
    pub reason: &'static str,
    /// FHIRPath of the element.
    pub path: &'static str,
    /// What would be right.
    pub right: &'static str,
}

impl Rule {
    /// The same rule of an element that stands elsewhere.
    pub const fn at(self, path: &'static str) -> Rule {
        Rule { path, ..self }
    }
}

const fn rule(reason: &'static str, path: &'static str, right: &'static str) -> Rule {
    Rule { reason, path, right }
}

macro_rules! of {
    ($kind:literal, $path:literal) => {
        concat!("Bundle.entry.resource.ofType(", $kind, ").", $path)
    };
}
macro_rules! request {
    ($path:literal) => {
        of!("MedicationRequest", $path)
    };
}

const ODS: &str = "An ODS code has 1 to 8 letters, digits or hyphens.";
const UUID: &str = "A UUID is wanted: 8-4-4-4-12 hexadecimal digits.";
const DIGIT: &str = "An NHS number has ten digits, of which the last is the check digit of the others (modulus 11).";
const INSTANT: &str = "A date YYYY-MM-DD is wanted, or a time YYYY-MM-DDThh:mm:ss+zz:zz.";

pub const MESSAGE: Rule = rule("messageID has invalid format", "Bundle.identifier.value", UUID);
pub const NHS_NUMBER: Rule = rule("nhsNumber is not valid", of!("Patient", "identifier.value"), DIGIT);
pub const PRESCRIBER: Rule =
    rule("prescribingOrganization has invalid format", of!("Organization", "identifier.value"), ODS);
pub const PARENT: Rule = rule("parentOrganization has invalid format", of!("Organization", "partOf"), ODS);
pub const CANCELLER: Rule =
    rule("cancellingOrganization has invalid format", of!("Organization", "identifier.value"), ODS);
pub const DISPENSER: Rule =
    rule("dispensingOrganization has invalid format", of!("Organization", "identifier.value"), ODS);
pub const PRESCRIBER_CODE: Rule = rule(
    "prescriberCode has invalid format",
    of!("Practitioner", "identifier.value"),
    "The code of who answers for the prescription (spurious code, DIN, else professional code) has 1 to 12 letters, digits \
     or hyphens.",
);
pub const PRESCRIBED_AT: Rule = rule(
    "prescriptionTime is not a valid time or in the valid format; expected format %Y%m%d%H%M%S",
    request!("dispenseRequest.validityPeriod.start"),
    INSTANT,
);
pub const BORN: Rule = rule(
    "birthTime is not a valid time or in the valid format; expected format %Y%m%d",
    of!("Patient", "birthDate"),
    "A date YYYY-MM-DD is wanted.",
);
pub const BORN_LATER: Rule =
    rule("birthTime is in the future", of!("Patient", "birthDate"), "The date must be today or before.");
pub const ISSUES: Rule = rule(
    "maxRepeats must be between 1 and 99",
    request!("dispenseRequest.numberOfRepeatsAllowed"),
    "The number of issues minus one is wanted: a whole number from 0 to 98.",
);
pub const NO_ITEMS: Rule = rule(
    "No valid line items found",
    "Bundle.entry.resource.ofType(MedicationRequest)",
    "One to four items are wanted.",
);
pub const ITEM: Rule = rule("lineItemID has invalid format", request!("identifier.value"), UUID);
pub const SITE: Rule = rule(
    "nominatedPerformerType is not of expected type",
    request!(
        "dispenseRequest.extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-DM-PerformerSiteType\").valueCoding.code"
    ),
    "With a performer P1, P2 or P3 is wanted; without one 0004 may stand too.",
);
pub const NOMINATED: Rule = rule(
    "nominatedPerformer has invalid format",
    request!("dispenseRequest.performer.identifier.value"),
    "The ODS code of the nominated dispenser is wanted, of 1 to 8 letters, digits or hyphens; or no performer at all.",
);
pub const LONG_ID: Rule = rule(
    "prescriptionLongID has invalid format",
    request!(
        "groupIdentifier.extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionId\").valueIdentifier.value"
    ),
    UUID,
);
const DAYS_AT: &str = request!("dispenseRequest.expectedSupplyDuration.value");
const DAYS: &str = "A whole number of days from 0 to 366 is wanted; without one 28 count.";
pub const DAYS_MANY: Rule = rule("daysSupply cannot exceed 366", DAYS_AT, DAYS);
pub const DAYS_NEGATIVE: Rule = rule("daysSupply must be a non-negative integer", DAYS_AT, DAYS);
pub const DAYS_NO_NUMBER: Rule = rule("daysSupply is not an integer", DAYS_AT, DAYS);
const START: &str = request!("dispenseRequest.validityPeriod.start");
const END: &str = request!("dispenseRequest.validityPeriod.end");
pub const WINDOW_LOW: Rule = rule("daysSupplyValidLow is missing or no date", START, INSTANT);
pub const WINDOW_HIGH: Rule = rule("daysSupplyValidHigh is missing or no date", END, INSTANT);
pub const WINDOW_PAST: Rule =
    rule("daysSupplyValidHigh is in the past", END, "The last day must be today or later, at most 12 months ahead.");
pub const WINDOW_FAR: Rule = rule(
    "daysSupplyValidHigh is more than 12 months beyond current day",
    END,
    "The last day must be today or later, at most 12 months ahead.",
);
pub const WINDOW_TURNED: Rule = rule(
    "daysSupplyValid low is after daysSupplyValidHigh",
    START,
    "The first day must not be later than the last one, validityPeriod.end.",
);

/// Where items name their prescription.
pub const SHORT_ID_OF_ITEM: &str = request!("groupIdentifier.value");
pub const SHORT_ID_FORM: &str = "A short id is wanted: HHHHHH-OOOOOO-SSSSSC, with six hexadecimal digits, the ODS code padded to \
                                 six characters, five hexadecimal digits and the check character.";
const SHORT_ID_CHECK: &str = "The last character must be the check character of those before it (modulus 37, radix 2).";

/// A short id that is none.
pub fn short_id(wrong: BadShortId) -> Rule {
    match wrong {
        BadShortId::Format => rule("prescriptionID has invalid format", SHORT_ID_OF_ITEM, SHORT_ID_FORM),
        BadShortId::Check => rule("prescriptionID has invalid checksum", SHORT_ID_OF_ITEM, SHORT_ID_CHECK),
    }
}
