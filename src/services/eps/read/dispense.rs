//! A dispense notification (spec/eps.md §10.1, §10.3): what a dispenser gave out, for every item of an issue.

use super::{
    Problems,
    bundle::{Bundle, code, code_of, contained, extension, extensions, identifier, is, list, moment, text},
    codes, message_id, order_checks as checks, people,
    problem::Issue,
    rules,
    same::{Same, as_is, differing, of_type},
};
use crate::{
    model::NhsNumber,
    services::eps::{
        ids,
        message::{self, Dispensed},
    },
};
use serde_json::{Value, json};
use std::borrow::Cow;

const DISPENSE: &str = "MedicationDispense";
const STATUS: &str = "Extension-EPS-TaskBusinessStatus";
pub const PATIENT: &str = "Bundle.entry.resource.ofType(MedicationDispense).subject.identifier.value";
/// Where a notification names its prescription.
pub const SHORT_ID: &str =
    "Bundle.entry.resource.ofType(MedicationDispense).contained(\"MedicationRequest\").groupIdentifier.value";
const REASON: &str = "Extension-DM-PrescriptionNonDispensingReason";

/// Elements that are the same in every MedicationDispense (§19.1 no. 18). A patient given by reference compares as that.
const SAME: &[Same] = &[
    ("whenHandedOver", |d| as_is(d.get("whenHandedOver"))),
    ("subject.identifier.value", |d| {
        Cow::Owned(json!(text(d, "/subject/identifier/value").or(text(d, "/subject/reference"))))
    }),
    ("extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-EPS-RepeatInformation\")", |d| {
        as_is(extension(d, "Extension-EPS-RepeatInformation"))
    }),
    ("performer", |d| as_is(d.get("performer"))),
];

/// The prescription that an entry belongs to: a notification is of one only.
const SAME_PRESCRIPTION: &[Same] = &[("authorizingPrescription.groupIdentifier.value", |d| {
    let id = request(d).and_then(|r| text(r, "/groupIdentifier/value"));
    Cow::Owned(json!(id.map(str::to_ascii_uppercase)))
})];

/// Steps 6, 7 and 8.
pub fn check(root: &Value) -> Result<(), Problems> {
    let bundle = Bundle::of(root);
    let dispenses: Vec<&Value> = bundle.all(DISPENSE).collect();
    let mut issues: Vec<Issue> = checks::medication(DISPENSE, &dispenses).into_iter().collect();
    issues.extend(differing(DISPENSE, &dispenses, SAME));
    let of_one: Vec<&Value> = dispenses.iter().copied().filter(|d| request(d).is_some()).collect();
    issues.extend(differing(DISPENSE, &of_one, SAME_PRESCRIPTION));
    issues.extend(performers(&bundle, &dispenses));
    Problems::none(issues)?;
    reason(&dispenses)?;
    dispenses.iter().try_for_each(|d| convert(d)).map_err(Problems::from)
}

/// The role inside an entry that handed it over.
fn performer(dispense: &Value) -> Option<&Value> {
    list(dispense, "/performer").iter().find_map(|p| contained(dispense, p.get("actor"), "PractitionerRole"))
}

/// The MedicationRequest inside an entry that it fulfils.
fn request(dispense: &Value) -> Option<&Value> {
    let named = list(dispense, "/authorizingPrescription").first();
    contained(dispense, named, "MedicationRequest")
}

/// Nos. 19 to 22 and 9.
fn performers(bundle: &Bundle, dispenses: &[&Value]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut add = |issue: Issue| {
        if !issues.contains(&issue) {
            issues.push(issue);
        }
    };
    for dispense in dispenses {
        let Some(role) = performer(dispense) else {
            let text = "Expected MedicationDispense to have a value for performer.ofType(PractitionerRole).";
            add(Issue::check("value", text, of_type(DISPENSE, "performer")));
            continue;
        };
        if !people::by_identifier(role) {
            add(checks::not_identified("Bundle.entry(\"PractitionerRole\").practitioner"));
        }
        match people::organization(bundle, role) {
            None => add(checks::not_in_bundle("Bundle.entry(\"PractitionerRole\").organization")),
            Some(organization) => {
                if let Some(issue) = authority(organization) {
                    add(issue);
                }
            }
        }
    }
    issues
}

/// Nos. 21 and 22: who pays.
fn authority(organization: &Value) -> Option<Issue> {
    let path =
        "Organization.extension(\"https://fhir.nhs.uk/StructureDefinition/Extension-ODS-OrganisationRelationships\")";
    let relations = extension(organization, "Extension-ODS-OrganisationRelationships");
    let text_of = match relations.and_then(|r| extension(r, "reimbursementAuthority")) {
        None => "The dispense notification is missing the reimbursement authority and it should be provided.",
        Some(authority) if text(authority, "/valueIdentifier/value").is_none() => {
            "The dispense notification is missing the ODS code for reimbursement authority and it should be provided."
        }
        Some(_) => return None,
    };
    Some(Issue::check("invalid", text_of, path))
}

/// The code of the agency that pays.
fn payer(organization: Option<&Value>) -> Option<&str> {
    let relations = extension(organization?, "Extension-ODS-OrganisationRelationships")?;
    text(extension(relations, "reimbursementAuthority")?, "/valueIdentifier/value")
}

/// Why nothing of the prescription was dispensed: counts only where every entry says it, and then they must agree (no. 23).
fn reason<'a>(dispenses: &[&'a Value]) -> Result<Option<&'a str>, Issue> {
    let said = |d: &&'a Value| extension(d, REASON).and_then(|e| text(e, "/valueCoding/code"));
    let Some(all) = dispenses.iter().map(said).collect::<Option<Vec<&str>>>() else { return Ok(None) };
    let first = all.first().copied();
    if all.iter().any(|code| Some(*code) != first) {
        let path = "MedicationDispense.extension:prescriptionNonDispensingReason";
        let text = format!("Expected all MedicationDispenses to have the same value for {path}");
        return Err(Issue::inconsistent(text, path));
    }
    match first {
        Some(code) if !codes::NOT_DISPENSED.contains(&code) => Err(Issue::invalid(
            &format!("PrescriptionNonDispensingReason must be one of: {}.", codes::NOT_DISPENSED.join(", ")),
            "MedicationDispense.extension:prescriptionNonDispensingReason",
        )),
        _ => Ok(first),
    }
}

/// Step 8 for one entry.
fn convert(dispense: &Value) -> Result<(), Issue> {
    let few = |path: &str| Issue::too_few("Too few values submitted. Expected 1 element.", path);
    let request = request(dispense).ok_or_else(|| few("MedicationDispense.authorizingPrescription"))?;
    if checks::item(request).and_then(ids::uuid).is_none() {
        return Err(few("MedicationDispense.contained(\"MedicationRequest\").identifier"));
    }
    item_status(dispense)?;
    if let Some(reason) = item_reason(dispense).filter(|r| !codes::NOT_DISPENSED.contains(r)) {
        let display = format!("'{reason}' is no reason: must be one of {}.", codes::NOT_DISPENSED.join(", "));
        return Err(Issue::invalid(&display, "MedicationDispense.statusReasonCodeableConcept.coding.code"));
    }
    let handed = text(dispense, "/whenHandedOver").ok_or_else(|| few("MedicationDispense.whenHandedOver"))?;
    if moment(handed).is_none() {
        let display = "whenHandedOver must be a date, or a time YYYY-MM-DDThh:mm:ss+zz:zz.";
        return Err(Issue::invalid(display, "MedicationDispense.whenHandedOver"));
    }
    Ok(())
}

/// Status of the item after the message (§17.2).
fn item_status(dispense: &Value) -> Result<u16, Issue> {
    let code = code(dispense.get("type"), codes::DISPENSE_TYPE).unwrap_or_default();
    let status = code.parse::<u16>().ok().filter(|n| (1..=8).contains(n) && code.len() == 4);
    status.ok_or_else(|| {
        let display = "MedicationDispense.type must be one of: 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008.";
        Issue::invalid(display, "MedicationDispense.type.coding.code")
    })
}

fn item_reason(dispense: &Value) -> Option<&str> {
    code_of(dispense.get("statusReasonCodeableConcept"), codes::DISPENSE_REASON)
}

/// Status of the prescription after the message, from the first entry (§10.1).
fn status(dispense: &Value) -> Result<u16, Issue> {
    match extension(dispense, STATUS).and_then(|e| text(e, "/valueCoding/code")) {
        Some("0003") => Ok(3),
        Some("0006") => Ok(6),
        Some("0007") => Ok(7),
        _ => {
            let display = "Extension-EPS-TaskBusinessStatus must be one of: 0003, 0006, 0007.";
            Err(Issue::invalid(display, "MedicationDispense.extension:taskBusinessStatus"))
        }
    }
}

/// The whole of it.
pub fn dispense(root: &Value) -> Result<message::Dispense, Problems> {
    check(root)?;
    let bundle = Bundle::of(root);
    let dispenses: Vec<&Value> = bundle.all(DISPENSE).collect();
    let first = dispenses.first().copied().unwrap_or(&Value::Null);
    let role = performer(first).unwrap_or(&Value::Null);
    let by = people::dispenser(role, people::organization(&bundle, role).unwrap_or(&Value::Null));
    if !people::known(&by) {
        return Err(Issue::failure(rules::DISPENSER).into());
    }
    let header = bundle.all("MessageHeader").next().unwrap_or(&Value::Null);
    let replaced = extensions(header, "Extension-replacementOf").next();
    let replaces = replaced.map(|e| text(e, "/valueIdentifier/value").unwrap_or_default().to_ascii_lowercase());
    let inner = request(first).unwrap_or(&Value::Null);
    let (issue, issues) = checks::first_repeats(&[first, list(inner, "/basedOn").first().unwrap_or(&Value::Null)]);
    Ok(message::Dispense {
        message: message_id(root).ok_or_else(|| Issue::failure(rules::MESSAGE))?,
        id: ids::short(checks::group(inner).0).map_err(|_| checks::unknown(SHORT_ID))?,
        nhs: patient(&bundle, first).ok_or_else(|| Issue::failure(rules::NHS_NUMBER.at(PATIENT)))?,
        issue,
        issues,
        replaces: replaces.unwrap_or_default(),
        by,
        status: status(first)?,
        reason: reason(&dispenses)?.unwrap_or_default().to_owned(),
        at: text(first, "/whenHandedOver").and_then(moment).unwrap_or_default(),
        items: items(&dispenses)?,
        payer: payer(people::organization(&bundle, role)).unwrap_or_default().to_ascii_uppercase(),
        ..Default::default()
    })
}

fn patient(bundle: &Bundle, dispense: &Value) -> Option<u64> {
    let subject = dispense.get("subject")?;
    let number = text(subject, "/identifier/value").or_else(|| {
        let patient = bundle.resolve(Some(subject), "Patient")?;
        identifier(patient, codes::NHS_NUMBER)
    });
    number.and_then(NhsNumber::strict).map(NhsNumber::value)
}

/// One for each item, in the message's order; of several for one item the first counts (§10.1).
fn items(dispenses: &[&Value]) -> Result<Vec<Dispensed>, Issue> {
    let mut items: Vec<Dispensed> = Vec::new();
    for dispense in dispenses {
        let Some(request) = request(dispense).filter(|r| is(r, "MedicationRequest")) else { continue };
        let item = checks::lower(checks::item(request));
        if items.iter().any(|known| known.item == item) {
            continue;
        }
        let based = list(request, "/basedOn").first().unwrap_or(&Value::Null);
        let (_, issues) = checks::first_repeats(&[based, dispense]);
        let reason = item_reason(dispense).unwrap_or_default().to_owned();
        items.push(Dispensed { item, status: item_status(dispense)?, reason, issues, ..Default::default() });
    }
    Ok(items)
}
