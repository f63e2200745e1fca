//! What of a record a caller sees: sensitivity, reasons for removal, blank lines, record sharing (spec/pds.md §2, §5.11, §6).

use super::{
    access::{self, Mode, attribute},
    fhir::{self, Object, PHARMACIES, text},
    rows::{CURRENT_NAMES, Person, Sensitivity},
};
use crate::{access::caller::Caller, engine::draft::Fault, model::NhsNumber};
use serde_json::{Value, json};

/// How a caller sees records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub privileged: bool,
    pub empty_lines: bool,
    pub confidential_removal: bool,
    pub record_sharing: bool,
}

impl Flags {
    pub fn of(caller: &Caller, mode: Mode) -> Flags {
        let privileged = mode == Mode::Privileged;
        Flags {
            privileged,
            empty_lines: access::has_attribute(caller, attribute::EMPTY_LINES),
            confidential_removal: privileged || access::has_attribute(caller, attribute::CONFIDENTIAL_REMOVAL),
            record_sharing: access::has_attribute(caller, attribute::RECORD_SHARING),
        }
    }
    pub fn bits(self) -> u8 {
        let bits = [self.privileged, self.empty_lines, self.confidential_removal, self.record_sharing];
        bits.iter().enumerate().map(|(n, bit)| u8::from(*bit) << n).sum()
    }
    pub fn of_bits(bits: u8) -> Flags {
        let bit = |n: u8| bits >> n & 1 == 1;
        Flags { privileged: bit(0), empty_lines: bit(1), confidential_removal: bit(2), record_sharing: bit(3) }
    }
}

/// The Patient as a caller gets it by number.
pub fn patient(nhs: NhsNumber, row: &Person, flags: Flags) -> Result<Object, Fault> {
    let mut stored = match row.sensitivity() {
        Sensitivity::VeryRestricted => Object::new(),
        _ => row.stored()?,
    };
    if row.sensitivity() == Sensitivity::Restricted && !flags.privileged {
        strip(&mut stored);
    }
    removal(&mut stored, flags.confidential_removal);
    lines(&mut stored, flags.empty_lines);
    if flags.record_sharing && row.sensitivity() != Sensitivity::VeryRestricted {
        consent(&mut stored, row.consent);
    }
    Ok(fhir::patient(nhs, row, stored))
}

/// The reduced Patient of a search (§8.5); restricted people are stripped for everyone.
pub fn found(nhs: NhsNumber, row: &Person, flags: Flags) -> Result<Object, Fault> {
    let mut stored = row.stored()?;
    if row.sensitivity() != Sensitivity::Unrestricted {
        strip(&mut stored);
    }
    stored.remove("managingOrganization");
    keep(&mut stored, "name", |name| CURRENT_NAMES.contains(&text(name, "use")));
    keep(&mut stored, "address", |address| text(address, "use") == "home");
    keep(&mut stored, "extension", |extension| text(extension, "url") == fhir::DEATH_NOTIFICATION);
    lines(&mut stored, flags.empty_lines);
    Ok(fhir::patient(nhs, row, stored))
}

fn keep(stored: &mut Object, list: &str, wanted: impl Fn(&Value) -> bool) {
    if let Some(Value::Array(items)) = stored.get_mut(list) {
        items.retain(wanted);
        if items.is_empty() {
            stored.remove(list);
        }
    }
}

/// Takes away what says where the person is (§6).
fn strip(stored: &mut Object) {
    take_confidential(stored);
}

/// Takes out what the label of a restricted person hides, and gives it (§6): together they are what is stored.
pub fn take_confidential(stored: &mut Object) -> Object {
    let mut hidden = Object::new();
    for member in ["address", "telecom", "contact", "generalPractitioner", "managingOrganization"] {
        if let Some(value) = stored.remove(member) {
            hidden.insert(member.to_owned(), value);
        }
    }
    let secret = |extension: &Value| {
        let url = text(extension, "url");
        PHARMACIES.contains(&url) || url == fhir::BIRTH_PLACE
    };
    let extensions = stored.get("extension").and_then(Value::as_array);
    let secrets: Vec<Value> = extensions.into_iter().flatten().filter(|e| secret(e)).cloned().collect();
    if !secrets.is_empty() {
        keep(stored, "extension", |extension| !secret(extension));
        hidden.insert("extension".into(), Value::Array(secrets));
    }
    hidden
}

/// Some reasons for removal are shown to few, one to nobody (§5.11).
fn removal(stored: &mut Object, confidential: bool) {
    let Some(Value::Array(extensions)) = stored.get_mut("extension") else { return };
    for extension in extensions.iter_mut().filter(|e| text(e, "url") == fhir::REMOVAL) {
        let Some(Value::Array(parts)) = extension.get_mut("extension") else { continue };
        for part in parts.iter_mut().filter(|p| text(p, "url") == "removalFromRegistrationCode") {
            let Some(coding) = part.pointer_mut("/valueCodeableConcept/coding/0") else { continue };
            let code = text(coding, "code");
            if code == "LDN" || (!confidential && (code == "AFN" || code == "SDN")) {
                coding["code"] = json!("ORR");
                coding["display"] = json!("Other Reason");
            }
        }
    }
}

/// Blank lines are left out, or stand as null with an extension that says so (§2).
fn lines(stored: &mut Object, keep_empty: bool) {
    let Some(Value::Array(addresses)) = stored.get_mut("address") else { return };
    for address in addresses.iter_mut().filter_map(Value::as_object_mut) {
        let Some(Value::Array(lines)) = address.get_mut("line") else { continue };
        let blank = |line: &Value| line.as_str().is_none_or(|l| l.trim().is_empty());
        if !keep_empty {
            lines.retain(|line| !blank(line));
            if lines.is_empty() {
                address.remove("line");
            }
            continue;
        }
        lines.resize(5, json!(""));
        let mut marks = vec![];
        for line in lines.iter_mut() {
            if blank(line) {
                *line = Value::Null;
                marks.push(json!({"extension": [{
                    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                    "valueCode": "not-applicable",
                }]}));
            } else {
                marks.push(Value::Null);
            }
        }
        if marks.iter().any(|mark| !mark.is_null()) {
            address.insert("_line".into(), Value::Array(marks));
        }
    }
}

fn consent(stored: &mut Object, value: u8) {
    if value == 1 || value == 2 {
        add_consent(stored, value);
    }
}

/// The extension on record sharing (§2), whatever the value.
pub fn add_consent(stored: &mut Object, value: u8) {
    let coding = |code: String, display: &str| match display {
        "" => json!({"coding": [{"code": code}]}),
        display => json!({"coding": [{"code": code, "display": display}]}),
    };
    let display = ["", "consent", "dissent"].get(usize::from(value)).copied().unwrap_or_default();
    let extension = json!({"url": fhir::CONSENT, "extension": [
        {"url": "consentType", "valueCodeableConcept": coding("4".into(), "ncrs")},
        {"url": "consentValue", "valueCodeableConcept": coding(value.to_string(), display)},
    ]});
    match stored.get_mut("extension") {
        Some(Value::Array(extensions)) => extensions.push(extension),
        _ => {
            stored.insert("extension".into(), json!([extension]));
        }
    }
}
