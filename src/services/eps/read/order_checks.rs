//! Checks of messages with MedicationRequests (spec/eps.md §5.1, §5.2, §7.1), with the texts of §19.1. All of them are reported
//! together; what the store thinks of the values is `order_store`'s.

use super::{
    bundle::{Bundle, extension, integer, list, repeats, text},
    codes, people,
    problem::{Issue, MOST},
    rules,
    same::{Same, as_is, differing, of_type},
};
use crate::services::eps::ids;
use serde_json::{Value, json};
use std::borrow::Cow;

const REQUEST: &str = "MedicationRequest";
const PRESCRIPTION_TYPE: &str = "Extension-DM-PrescriptionType";
pub const RESPONSIBLE: &str = "Extension-DM-ResponsiblePractitioner";
pub const SITE: &str = "Extension-DM-PerformerSiteType";
const REPEAT_INFORMATION: &str =
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicationRepeatInformation";

/// Elements that every MedicationRequest of an order has beyond FHIR's own (§5.1), and where they are.
const NEEDED: &[(&str, &str)] = &[
    ("category", "/category"),
    ("requester", "/requester"),
    ("courseOfTherapyType", "/courseOfTherapyType"),
    ("dispenseRequest", "/dispenseRequest"),
    ("dispenseRequest.quantity", "/dispenseRequest/quantity"),
    ("substitution", "/substitution"),
];

fn element<'a>(request: &'a Value, pointer: &str) -> Cow<'a, Value> {
    as_is(request.pointer(pointer))
}

fn part<'a>(request: &'a Value, pointer: &str, url: &str) -> Cow<'a, Value> {
    as_is(request.pointer(pointer).and_then(|of| extension(of, url)))
}

/// Column "same" of §5.1.
const SAME: &[Same] = &[
    ("groupIdentifier", |r| element(r, "/groupIdentifier")),
    ("category", |r| element(r, "/category")),
    ("authoredOn", |r| element(r, "/authoredOn")),
    ("subject", |r| element(r, "/subject")),
    ("requester", |r| element(r, "/requester")),
    ("dispenseRequest.performer", |r| element(r, "/dispenseRequest/performer")),
    ("dispenseRequest.validityPeriod", |r| element(r, "/dispenseRequest/validityPeriod")),
    ("dispenseRequest.expectedSupplyDuration", |r| element(r, "/dispenseRequest/expectedSupplyDuration")),
    ("dispenseRequest.extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-DM-PerformerSiteType\")", |r| {
        part(r, "/dispenseRequest", SITE)
    }),
    ("extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionType\")", |r| {
        part(r, "", PRESCRIPTION_TYPE)
    }),
    ("extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-DM-ResponsiblePractitioner\")", |r| {
        part(r, "", RESPONSIBLE)
    }),
];

/// The same for repeat dispensing only.
const SAME_REPEATS: &[Same] = &[
    ("dispenseRequest.numberOfRepeatsAllowed", |r| {
        Cow::Owned(json!(integer(r.pointer("/dispenseRequest/numberOfRepeatsAllowed"))))
    }),
    ("extension(\"https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicationRepeatInformation\")", |r| {
        part(r, "", REPEAT_INFORMATION)
    }),
];

/// Elements that §5.1 asks for and R4 does not; part of step 2.
pub fn needed(requests: &[&Value]) -> Vec<Issue> {
    let mut issues = Vec::new();
    for request in requests {
        for (path, pointer) in NEEDED {
            let member = request.pointer(pointer);
            if member.is_none_or(|m| m.as_array().is_some_and(Vec::is_empty)) {
                issues.push(Issue::missing(REQUEST, path, of_type(REQUEST, path)));
            }
        }
        if request.get("medicationCodeableConcept").or(request.get("medicationReference")).is_none() {
            let path = "medicationCodeableConcept";
            issues.push(Issue::missing(REQUEST, path, of_type(REQUEST, path)));
        }
    }
    issues
}

/// Checks that orders and cancellations share, in the order of §7.1.
pub fn common(bundle: &Bundle, requests: &[&Value]) -> Vec<Issue> {
    let mut issues: Vec<Issue> = intent(requests).into_iter().collect();
    issues.extend(medication(REQUEST, requests));
    issues.extend(telecoms(bundle));
    issues.extend(references(bundle, requests));
    issues
}

/// The rest of what an order must hold.
pub fn order(bundle: &Bundle, requests: &[&Value]) -> Vec<Issue> {
    let mut issues = differing(REQUEST, requests, SAME);
    issues.extend(prescriber(bundle, requests));
    if requests.iter().any(|r| course(r) == Some(REPEAT_DISPENSING)) {
        issues.extend(differing(REQUEST, requests, SAME_REPEATS));
        issues.extend(missing(requests, "dispenseRequest.validityPeriod"));
        issues.extend(missing(requests, "dispenseRequest.expectedSupplyDuration"));
    }
    issues.extend(status(requests, "active"));
    issues.extend(unique(requests));
    issues.extend(dosage(requests));
    issues
}

pub const REPEAT_DISPENSING: &str = "continuous-repeat-dispensing";

/// An item's course of therapy (§5.3); the code counts, not its system.
pub fn course(request: &Value) -> Option<&str> {
    list(request, "/courseOfTherapyType/coding").first().and_then(|c| text(c, "/code"))
}

/// A prescription's type as the order says it.
pub fn prescription_type(request: &Value) -> Option<&str> {
    extension(request, PRESCRIPTION_TYPE).and_then(|e| text(e, "/valueCoding/code"))
}

/// The role of who asks.
pub fn requester<'a>(bundle: &Bundle<'a>, requests: &[&Value]) -> Option<&'a Value> {
    bundle.resolve(requests.first()?.get("requester"), "PractitionerRole")
}

/// The role of who answers for it: the requester where nobody else is named (§5.1).
pub fn responsible<'a>(bundle: &Bundle<'a>, requests: &[&Value]) -> Option<&'a Value> {
    match requests.first().and_then(|r| extension(r, RESPONSIBLE)) {
        Some(named) => bundle.resolve(named.get("valueReference"), "PractitionerRole"),
        None => requester(bundle, requests),
    }
}

/// No. 4.
fn intent(requests: &[&Value]) -> Option<Issue> {
    let good = |r: &&Value| matches!(text(r, "/intent"), Some("order" | "original-order" | "instance-order"));
    (!requests.iter().all(good)).then(|| {
        let text = "MedicationRequest.intent must be order, original-order or instance-order.";
        Issue::check("value", text, of_type(REQUEST, "intent"))
    })
}

/// No. 5.
pub fn medication(kind: &str, resources: &[&Value]) -> Option<Issue> {
    let both = |r: &&Value| r.get("medicationReference").is_some() && r.get("medicationCodeableConcept").is_some();
    resources.iter().any(both).then(|| {
        let text = format!("{kind} cannot contain both medicationReference and medicationCodeableConcept fields.");
        Issue::coded_check("structure", "CONFLICTING_VALUES", "", &text, &of_type(kind, "medication"))
    })
}

/// No. 7, telecoms.
fn telecoms(bundle: &Bundle) -> Vec<Issue> {
    let mut issues = Vec::new();
    for resource in bundle.resources() {
        let kind = text(resource, "/resourceType").unwrap_or_default();
        for (index, telecom) in list(resource, "/telecom").iter().enumerate() {
            for (part, pointer) in [("value", "/value"), ("use", "/use")] {
                if issues.len() >= MOST {
                    return issues;
                }
                if text(telecom, pointer).is_none() {
                    let path = of_type(kind, &format!("telecom[{index}]"));
                    let text = format!("Required field {path}.{part} is missing.");
                    issues.push(Issue::check("invalid", text, format!("{path}.{part}")));
                }
            }
        }
    }
    issues
}

/// No. 9, the first form.
pub fn not_in_bundle(path: &str) -> Issue {
    let text = format!("{path} populated incorrectly. Please populate with Reference to resource within Bundle.");
    Issue::check("invalid", text, path)
}

/// No. 9, the second form, and no. 20.
pub fn not_identified(path: &str) -> Issue {
    let text = format!("{path} populated incorrectly. Please populate with Identifier and Display.");
    Issue::check("invalid", text, path)
}

/// No. 9 for what stands inside a resource.
pub fn not_contained(path: &str) -> Issue {
    let text = format!("{path} populated incorrectly. Please populate with Reference to contained resource.");
    Issue::check("invalid", text, path)
}

/// A prescription that nobody can have stored: its id breaks the rule of §4.1.
pub fn unknown(path: &str) -> Issue {
    let told = ("PRESCRIPTION_NOT_FOUND", "Prescription can not be found. Contact prescriber");
    Issue::store("not-found", super::problem::EPS, told, path, rules::SHORT_ID_FORM)
}

/// Nos. 9 and 16: references of the items and of every role.
fn references(bundle: &Bundle, requests: &[&Value]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut check = |found: bool, path: &str| {
        if !found && !issues.iter().any(|i: &Issue| i.expression == path) {
            issues.push(not_in_bundle(path));
        }
    };
    for request in requests {
        check(bundle.resolve(request.get("subject"), "Patient").is_some(), "MedicationRequest.subject");
        check(bundle.resolve(request.get("requester"), "PractitionerRole").is_some(), "MedicationRequest.requester");
        if let Some(medicine) = request.get("medicationReference") {
            check(bundle.resolve(Some(medicine), "Medication").is_some(), "MedicationRequest.medicationReference");
        }
        if let Some(named) = extension(request, RESPONSIBLE) {
            let found = bundle.resolve(named.get("valueReference"), "PractitionerRole").is_some();
            check(found, "MedicationRequest.extension(\"responsiblePractitioner\")");
        }
    }
    let (author, answers) = (requester(bundle, requests), responsible(bundle, requests));
    for role in bundle.all("PractitionerRole") {
        let only_answers =
            answers.is_some_and(|r| std::ptr::eq(r, role)) && !author.is_some_and(|r| std::ptr::eq(r, role));
        if !only_answers {
            check(people::practitioner(bundle, role).is_some(), "Bundle.entry(\"PractitionerRole\").practitioner");
        }
        check(people::organization(bundle, role).is_some(), "Bundle.entry(\"PractitionerRole\").organization");
        for service in list(role, "/healthcareService") {
            let found = bundle.resolve(Some(service), "HealthcareService").is_some();
            check(found, "Bundle.entry(\"PractitionerRole\").healthcareService");
        }
    }
    if let Some(role) = answers.filter(|r| author.is_none_or(|a| !std::ptr::eq(a, *r))) {
        let reference = people::practitioner(bundle, role).is_some();
        if reference == text(role, "/practitioner/identifier/value").is_some() {
            let text = "Responsible practitioner must be either a reference to a Practitioner resource or an identifier \
                        reference.";
            issues.push(Issue::check("invalid", text, "Bundle.entry(\"PractitionerRole\").practitioner"));
        }
    }
    issues
}

/// Nos. 7 (partOf), 8 and 10.
fn prescriber(bundle: &Bundle, requests: &[&Value]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let Some(role) = requester(bundle, requests) else { return issues };
    if requests.first().and_then(|r| prescription_type(r)).is_some_and(|t| t.starts_with("01")) {
        if !list(role, "/healthcareService").is_empty() {
            let text = "Unexpected field of practitionerRole.healthcareService.";
            issues.push(Issue::check("invalid", text, "practitionerRole.healthcareService"));
        }
        if people::organization(bundle, role).is_some_and(|o| o.get("partOf").is_none()) {
            let text = "Required field organization.partOf is missing.";
            issues.push(Issue::check("invalid", text, "organization.partOf"));
        }
    }
    let gmp = people::practitioner(bundle, role).is_some_and(|p| super::bundle::identifier(p, codes::GMP).is_some());
    if gmp {
        let text = "Bundle resource Practitioner.identifier expected exactly one professional code from \
                    GMC|NMC|GPhC|HCPC|professional-code.";
        issues.push(Issue::check("value", text, of_type("Practitioner", "identifier")));
    }
    issues
}

/// No. 15: an element that every item must have.
pub fn missing(requests: &[&Value], path: &str) -> Option<Issue> {
    let pointer = format!("/{}", path.replace('.', "/"));
    (!requests.iter().all(|r| r.pointer(&pointer).is_some())).then(|| {
        let text = format!("Expected MedicationRequest to have a value for {path}.");
        Issue::check("value", text, of_type(REQUEST, path))
    })
}

/// No. 14.
pub fn status(requests: &[&Value], must: &str) -> Option<Issue> {
    (!requests.iter().all(|r| text(r, "/status") == Some(must)))
        .then(|| Issue::check("value", format!("MedicationRequest.status must be {must}."), of_type(REQUEST, "status")))
}

/// An item's id as it came.
pub fn item(request: &Value) -> Option<&str> {
    super::bundle::identifier(request, codes::ITEM).or_else(|| text(request, "/identifier/0/value"))
}

/// No. 11.
fn unique(requests: &[&Value]) -> Option<Issue> {
    let mut all: Vec<String> = requests.iter().filter_map(|r| item(r)).map(str::to_ascii_lowercase).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    (all.len() < count).then(|| {
        let text = "Expected all MedicationRequests to have a different value for identifier.";
        Issue::check("value", text, of_type(REQUEST, "identifier"))
    })
}

/// Nos. 17 and 12.
fn dosage(requests: &[&Value]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let path = of_type(REQUEST, "dosageInstruction");
    let lines = |r: &&Value| list(r, "/dosageInstruction").len();
    if requests.iter().any(|r| lines(r) == 0) {
        issues.push(Issue::check("invalid", "Required field dosageInstructions is missing.", path.clone()));
    }
    let numbered = |r: &Value| list(r, "/dosageInstruction").iter().all(|d| integer(d.get("sequence")).is_some());
    if requests.iter().any(|r| lines(r) > 1 && !numbered(r)) {
        let text =
            "The request contains multiple dosage instruction lines but no corresponding dosage sequence number.";
        issues.push(Issue::coded_check("invalid", "MISSING_VALUE", text, "", &format!("{path}.sequence")));
    }
    issues
}

/// The ids of §4.1 as an item says them: short and long, as they came.
pub fn group(request: &Value) -> (&str, &str) {
    let short = text(request, "/groupIdentifier/value").unwrap_or_default();
    let group = request.get("groupIdentifier").unwrap_or(&Value::Null);
    let long = extension(group, "Extension-DM-PrescriptionId").and_then(|e| text(e, "/valueIdentifier/value"));
    (short, long.unwrap_or_default())
}

/// A UUID that a message may leave out or spell in any case; empty where it is none.
pub fn lower(id: Option<&str>) -> String {
    id.and_then(ids::uuid).unwrap_or_default()
}

/// Issue and issues of the first resource that says them (§5.5).
pub fn first_repeats(places: &[&Value]) -> (u32, u32) {
    places.iter().map(|p| repeats(p)).find(|r| *r != (0, 0)).unwrap_or((0, 0))
}
