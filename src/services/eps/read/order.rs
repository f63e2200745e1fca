//! An order (spec/eps.md §5 to §7): checks, then what has no form in the store (one at a time), then the store's own rules.
//! `$prepare` makes the first two only.

use super::{
    Event, Problems,
    bundle::{Bundle, extension, identifier, list, text},
    cancel, codes, dispense, order_checks as checks, order_store, people,
    problem::Issue,
};
use crate::{model::EpochMillis, services::eps::message};
use serde_json::{Number, Value};

/// How every system ends that is taken for SNOMED CT where an order is shown.
const SNOMED_HOST: &str = "snomed.info/sct";
/// What the conversion calls a missing and a superfluous value.
const TOO_FEW: &str = "Too few values submitted. Expected 1 element.";
const TOO_MANY: &str = "Too many values submitted. Expected 1 element.";

/// Steps 6, 7 and 8 of an order whose event and scope were checked; the signature (9) comes after them, then [`store`].
pub fn check(root: &Value) -> Result<(), Problems> {
    let bundle = Bundle::of(root);
    let requests: Vec<&Value> = bundle.all("MedicationRequest").collect();
    Problems::none(checks::needed(&requests))?;
    let mut issues = checks::common(&bundle, &requests);
    issues.extend(checks::order(&bundle, &requests));
    Problems::none(issues)?;
    convert(&bundle, &requests).map_err(Problems::from)
}

/// The same for `$prepare`, which takes no other event: those pass their own checks first (§6.1).
pub fn prepare(root: &Value, event: Event) -> Result<(), Problems> {
    match event {
        Event::Order => return check(root),
        Event::Cancel => cancel::check(root)?,
        Event::DispenseNotification => dispense::check(root)?,
    }
    Err(Issue::invalid("MessageHeader.eventCoding.code must be 'prescription-order'.", super::EVENT_CODE).into())
}

/// Step 10, what needs no stored record (§7.2): a checked order as the store takes it, without its document. `signed_at` is
/// the signature's own time; without a signature there is no order.
pub fn store(root: &Value, now: EpochMillis, signed_at: Option<EpochMillis>) -> Result<message::Order, Problems> {
    let Some(signed_at) = signed_at else {
        let display = "Digital signature not found";
        let (system, code) = (super::problem::EPS, "MISSING_DIGITAL_SIGNATURE");
        let right =
            "A Provenance is wanted whose signature.who is the requester, with signature.when and signature.data.";
        let path = "Bundle.entry.resource.ofType(Provenance)";
        return Err(Issue::store("business-rule", system, (code, display), path, right).into());
    };
    let bundle = Bundle::of(root);
    let requests: Vec<&Value> = bundle.all("MedicationRequest").collect();
    order_store::order(&bundle, &requests, now, signed_at)
}

/// All of it, for an order whose signature needs no look in between.
pub fn order(root: &Value, now: EpochMillis, signed_at: Option<EpochMillis>) -> Result<message::Order, Problems> {
    check(root)?;
    store(root, now, signed_at)
}

/// Step 8: the first thing that has no form in the store.
fn convert(bundle: &Bundle, requests: &[&Value]) -> Result<(), Issue> {
    let author = checks::requester(bundle, requests).ok_or_else(|| few("MedicationRequest.requester"))?;
    professional(bundle, author)?;
    let answers = checks::responsible(bundle, requests).ok_or_else(|| few("MedicationRequest.requester"))?;
    responsible(bundle, answers)?;
    organisation(bundle, author)?;
    patient(bundle, requests)?;
    course(requests)?;
    requests.iter().try_for_each(|request| medication(bundle, request).and_then(|()| item(request)))
}

fn few(path: &str) -> Issue {
    Issue::too_few(TOO_FEW, path)
}

/// Exactly one.
fn one(count: usize, path: &str) -> Result<(), Issue> {
    match count {
        0 => Err(few(path)),
        1 => Ok(()),
        _ => Err(Issue::too_many(TOO_MANY, path)),
    }
}

/// The requester's professional code (§5.2).
pub(super) fn professional(bundle: &Bundle, role: &Value) -> Result<(), Issue> {
    let Some(person) = people::practitioner(bundle, role) else { return Err(few("PractitionerRole.practitioner")) };
    one(list(person, "/name").len(), "Practitioner.name")?;
    let codes: Vec<&str> = codes::PROFESSIONAL.iter().filter_map(|system| identifier(person, system)).collect();
    let rule = "Expected exactly one professional code. One of GMC|GMP|NMC|GPhC|HCPC|unknown.";
    match codes.len() {
        1 => Ok(()),
        0 => Err(Issue::too_few(rule, "Practitioner.identifier")),
        _ => Err(Issue::too_many(&format!("{rule} But got: {}.", codes.join(", ")), "Practitioner.identifier")),
    }
}

/// The code of who answers for the prescription (§5.2): the first that there is.
pub(super) fn prescriber_code<'a>(bundle: &Bundle<'a>, role: &'a Value) -> Option<&'a str> {
    if let Some(code) = identifier(role, codes::SPURIOUS) {
        return Some(code);
    }
    let Some(person) = people::practitioner(bundle, role) else {
        return text(role, "/practitioner/identifier/value");
    };
    let professional = || codes::PROFESSIONAL.iter().find_map(|system| identifier(person, system));
    let code = identifier(person, codes::DIN).or_else(professional)?;
    // The letter before a doctor's number is dropped.
    let gmc = identifier(person, codes::PROFESSIONAL.first()?) == Some(code);
    Some(code.strip_prefix(['C', 'c']).filter(|_| gmc).unwrap_or(code))
}

fn responsible(bundle: &Bundle, role: &Value) -> Result<(), Issue> {
    if prescriber_code(bundle, role).is_none() {
        let rule = "Expected exactly one professional code. One of GMC|GMP|NMC|GPhC|HCPC|unknown.";
        return Err(Issue::too_few(rule, "Practitioner.identifier"));
    }
    let has = |of: Option<&Value>| of.is_some_and(|r| !list(r, "/telecom").is_empty());
    let reachable =
        has(Some(role)) || has(people::practitioner(bundle, role)) || has(people::organization(bundle, role));
    if reachable {
        return Ok(());
    }
    Err(Issue::too_few("ResponsiblePractitioner must have at least one telecom.", "PractitionerRole.telecom"))
}

/// What the prescribing organisation must say of itself: a name, one telecom, one address.
fn organisation(bundle: &Bundle, role: &Value) -> Result<(), Issue> {
    let unit = people::unit(bundle, role).ok_or_else(|| few("PractitionerRole.organization"))?;
    let kind = text(unit, "/resourceType").unwrap_or_default();
    let path = |element: &str| format!("{kind}.{element}");
    if identifier(unit, codes::ODS).is_none() {
        return Err(few(&path("identifier")));
    }
    if text(unit, "/name").is_none() {
        return Err(few(&path("name")));
    }
    one(list(unit, "/telecom").len(), &path("telecom"))?;
    if kind == "Organization" {
        return one(list(unit, "/address").len(), &path("address"));
    }
    let location = bundle.resolve(list(unit, "/location").first(), "Location");
    let address = location.and_then(|l| l.get("address"));
    if address.is_some() { Ok(()) } else { Err(few("Location.address")) }
}

fn patient(bundle: &Bundle, requests: &[&Value]) -> Result<(), Issue> {
    let patient = bundle.resolve(requests.first().and_then(|r| r.get("subject")), "Patient");
    let patient = patient.ok_or_else(|| few("MedicationRequest.subject"))?;
    if identifier(patient, codes::NHS_NUMBER).is_none() {
        return Err(few("Patient.identifier"));
    }
    match list(patient, "/name").len() {
        0 => return Err(few("Patient.name")),
        _ if text(patient, "/birthDate").is_none() => return Err(few("Patient.birthDate")),
        _ => {}
    }
    if list(patient, "/address").is_empty() { Err(few("Patient.address")) } else { Ok(()) }
}

/// §5.3: repeat dispensing does not mix with anything.
fn course(requests: &[&Value]) -> Result<(), Issue> {
    const PATH: &str = "MedicationRequest.courseOfTherapyType.coding";
    let known = |r: &&Value| matches!(checks::course(r), Some("acute" | "continuous" | checks::REPEAT_DISPENSING));
    let repeats = requests.iter().filter(|r| checks::course(r) == Some(checks::REPEAT_DISPENSING)).count();
    if !requests.iter().all(known) || (repeats > 0 && repeats < requests.len()) {
        let rule = "Course of therapy type must either match for all MedicationRequests or be a mixture of 'acute' and \
                    'continuous'.";
        return Err(Issue::invalid(rule, PATH));
    }
    let count = "/dispenseRequest/numberOfRepeatsAllowed";
    if repeats > 0 && requests.iter().any(|r| r.pointer(count).is_none()) {
        return Err(few("MedicationRequest.dispenseRequest.numberOfRepeatsAllowed"));
    }
    Ok(())
}

/// What is prescribed has one code of dm+d (§5.1), in one place: it is what the prescriber signs and the dispenser gives, and there
/// must be no second for the other to read.
fn medication(bundle: &Bundle, request: &Value) -> Result<(), Issue> {
    let (concept, path) = match bundle.resolve(request.get("medicationReference"), "Medication") {
        Some(medication) => (medication.get("code"), "Medication.code.coding"),
        None => (request.get("medicationCodeableConcept"), "MedicationRequest.medicationCodeableConcept.coding"),
    };
    const BOTH: &str = "MedicationRequest.medicationCodeableConcept";
    if request.get("medicationReference").is_some() && request.get("medicationCodeableConcept").is_some() {
        return Err(Issue::invalid(
            "A medicine is named either in the item or in a Medication that it refers to.",
            BOTH,
        ));
    }
    let coded = concept.map_or(&[][..], |concept| list(concept, "/coding"));
    let mut named = coded.iter().filter(|c| text(c, "/system").is_some_and(|system| system.ends_with(SNOMED_HOST)));
    let (first, [system, _]) = (named.next(), codes::SNOMED);
    if named.any(|other| {
        first.is_some_and(|first| ["code", "display"].iter().any(|name| first.get(name) != other.get(name)))
    }) {
        return Err(Issue::invalid(
            "One medicine is wanted: codes of SNOMED CT that are the same, with one display.",
            path,
        ));
    }
    let ours = |coding: &&Value| text(coding, "/system").is_some_and(|system| codes::SNOMED.contains(&system));
    if coded.iter().filter(ours).any(|coding| text(coding, "/code").is_some()) {
        return Ok(());
    }
    Err(Issue::too_few(&format!("{} where system == '{system}'.", TOO_FEW.trim_end_matches('.')), path))
}

/// One item.
fn item(request: &Value) -> Result<(), Issue> {
    if checks::group(request).1.is_empty() {
        return Err(few("MedicationRequest.groupIdentifier.extension.valueIdentifier"));
    }
    if checks::prescription_type(request).is_none() {
        return Err(few("MedicationRequest.extension"));
    }
    let dispense = request.get("dispenseRequest").unwrap_or(&Value::Null);
    if extension(dispense, checks::SITE).and_then(|e| text(e, "/valueCoding/code")).is_none() {
        return Err(few("MedicationRequest.dispenseRequest.extension"));
    }
    // The text is all of a dosage that is signed and comes out again (§9.4).
    if list(request, "/dosageInstruction").iter().any(|d| text(d, "/text").is_none_or(|t| t.trim().is_empty())) {
        return Err(few("MedicationRequest.dosageInstruction.text"));
    }
    if list(request, "/note").len() > 1 {
        return Err(Issue::too_many(TOO_MANY, "MedicationRequest.note"));
    }
    if dispense.get("expectedSupplyDuration").is_some_and(|d| text(d, "/code") != Some("d")) {
        let rule = "Expected supply duration must be specified in days.";
        return Err(Issue::invalid(rule, "MedicationRequest.dispenseRequest.expectedSupplyDuration.code"));
    }
    quantity(dispense.get("quantity").unwrap_or(&Value::Null))
}

/// How much of what (§5.1): nobody could supply it otherwise.
fn quantity(of: &Value) -> Result<(), Issue> {
    let path = |element: &str| format!("MedicationRequest.dispenseRequest.quantity.{element}");
    let value = match of.get("value") {
        Some(Value::String(text)) => serde_json::from_str::<Number>(text.trim()).ok().and_then(|n| n.as_f64()),
        value => value.and_then(Value::as_f64),
    };
    let value = value.ok_or_else(|| few(&path("value")))?;
    for element in ["unit", "code"] {
        text(of, &format!("/{element}")).ok_or_else(|| few(&path(element)))?;
    }
    if value > 0.0 { Ok(()) } else { Err(Issue::invalid("Quantity must be more than 0.", path("value"))) }
}
