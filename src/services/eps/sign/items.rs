//! The items of an order in its signed text (spec/eps.md §6.3): one pertinentLineItem for each MedicationRequest.

use super::{
    c14n::{Writer, escape_text},
    fragments::HL7,
    order::{Order, coding, extension, first, list, text, whole},
};
use serde_json::Value;
use std::collections::BTreeMap;

const SNOMED: &str = "2.16.840.1.113883.2.1.3.2.4.15";
/// Code system of the annotations of an item.
const ANNOTATION: &str = "2.16.840.1.113883.2.1.3.2.4.17.30";
const ENDORSEMENT: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionEndorsement";
const CONTROLLED_DRUG: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-ControlledDrug";

/// A Fragment for each item, in the Bundle's order.
pub fn all(w: &mut Writer, order: &Order<'_>) {
    let issues = issues(order);
    let mut to_patient = to_patient(order);
    for (entry, item) in order.of_type("MedicationRequest") {
        let instructions = instructions(item, std::mem::take(&mut to_patient));
        w.element("Fragment", &[], |w| line_item(w, order, (entry, item), &issues, &instructions));
    }
}

/// The highest repeat number, the same for every item: 1 for repeat prescribing, the issues for repeat dispensing, none for
/// others and for a mixture (§5.3).
fn issues(order: &Order<'_>) -> String {
    let therapy = |item: &Value| {
        let known = ["acute", "continuous", "continuous-repeat-dispensing"];
        let codes = list(&item["courseOfTherapyType"]["coding"]).iter().map(|one| text(&one["code"]));
        codes.into_iter().find_map(|code| known.iter().position(|k| *k == code))
    };
    let mut kinds: Vec<Option<usize>> = order.of_type("MedicationRequest").map(|(_, item)| therapy(item)).collect();
    kinds.dedup();
    match kinds.as_slice() {
        [Some(1)] => "1".to_owned(),
        [Some(2)] => {
            let repeats = whole(&order.first_item()["dispenseRequest"]["numberOfRepeatsAllowed"]);
            repeats.map_or(String::new(), |n| n.saturating_add(1).to_string())
        }
        _ => String::new(),
    }
}

/// What the first item says to the patient: the list of current medicines, then messages. Their inner text is escaped here once.
fn to_patient(order: &Order<'_>) -> String {
    let (mut medicines, mut messages) = (String::new(), String::new());
    for (_, request) in order.of_type("CommunicationRequest") {
        for payload in list(&request["payload"]) {
            let listed = order.resolve(&payload["contentReference"]);
            for entry in list(&listed["entry"]) {
                tagged("medication", text(&entry["item"]["display"]), &mut medicines);
            }
            tagged("patientInfo", text(&payload["contentString"]), &mut messages);
        }
    }
    medicines + &messages
}

fn tagged(tag: &str, content: &str, out: &mut String) {
    if !content.is_empty() {
        out.push_str(&format!("<{tag}>"));
        escape_text(content, out);
        out.push_str(&format!("</{tag}>"));
    }
}

/// Additional instructions: what goes to the patient, then a controlled drug's quantity in words and the note, a line each.
fn instructions(item: &Value, mut before: String) -> String {
    let words = text(&extension(extension(item, CONTROLLED_DRUG), "quantityWords")["valueString"]);
    let words = if words.is_empty() { String::new() } else { format!("CD: {words}") };
    let note = text(&first(&item["note"])["text"]);
    let lines: Vec<&str> = [words.as_str(), note].into_iter().filter(|line| !line.is_empty()).collect();
    escape_text(&lines.join("\n"), &mut before);
    before
}

/// Instructions of one dose; several are put together by their sequence: those of one step with "and", steps with "then".
fn dosage(item: &Value) -> String {
    let doses = list(&item["dosageInstruction"]);
    if let [one] = doses {
        return text(&one["text"]).to_owned();
    }
    let mut steps = BTreeMap::<u64, Vec<&str>>::new();
    for dose in doses {
        steps.entry(whole(&dose["sequence"]).unwrap_or(0)).or_default().push(text(&dose["text"]));
    }
    let steps: Vec<String> = steps.values().map(|step| step.join(", and ")).collect();
    steps.join(", then ")
}

fn line_item(w: &mut Writer, order: &Order<'_>, (entry, item): (usize, &Value), issues: &str, instructions: &str) {
    let identifiers = &item["identifier"];
    let id = super::order::identifier(identifiers, "https://fhir.nhs.uk/Id/prescription-order-item-number");
    w.element("pertinentLineItem", &[("xmlns", HL7), ("classCode", "SBADM"), ("moodCode", "RQO")], |w| {
        w.empty("id", &[("root", &id.to_uppercase())]);
        code(w, "225426007", "Administration of therapeutic substance (procedure)");
        w.empty("effectiveTime", &[("nullFlavor", "NA")]);
        if !issues.is_empty() {
            // The lowest number and the item's status differ from issue to issue, so they are not signed.
            w.element("repeatNumber", &[], |w| w.empty("high", &[("value", issues)]));
        }
        product(w, order, item);
        quantity(w, &order.quantity(entry, item), &item["dispenseRequest"]["quantity"]);
        if !instructions.is_empty() {
            annotation(w, "pertinentInformation1", ("pertinentAdditionalInstructions", "AI"), |w| {
                w.leaf("value", instructions);
            });
        }
        for endorsed in list(&item["extension"]).iter().filter(|one| one["url"] == ENDORSEMENT) {
            let system = "https://fhir.nhs.uk/CodeSystem/medicationrequest-endorsement";
            let found = coding(&endorsed["valueCodeableConcept"], system).map_or("", |one| text(&one["code"]));
            annotation(w, "pertinentInformation3", ("pertinentPrescriberEndorsement", "PE"), |w| {
                w.empty("value", &[("code", found), ("codeSystem", "2.16.840.1.113883.2.1.3.2.4.16.32")]);
            });
        }
        annotation(w, "pertinentInformation2", ("pertinentDosageInstructions", "DI"), |w| {
            w.leaf("value", &dosage(item))
        });
    });
}

fn code(w: &mut Writer, code: &str, display: &str) {
    w.empty("code", &[("code", code), ("codeSystem", SNOMED), ("displayName", display)]);
}

/// The medicine, named in the item or in a Medication that it refers to.
fn product(w: &mut Writer, order: &Order<'_>, item: &Value) {
    let own = &item["medicationCodeableConcept"];
    let concept = if own.is_object() { own } else { &order.resolve(&item["medicationReference"])["code"] };
    let found = ["http://snomed.info/sct", "https://snomed.info/sct"].iter().find_map(|system| coding(concept, system));
    w.element("product", &[("contextControlCode", "OP"), ("typeCode", "PRD")], |w| {
        w.element("manufacturedProduct", &[("classCode", "MANU")], |w| {
            let kind = [("classCode", "MMAT"), ("determinerCode", "KIND")];
            w.element("manufacturedRequestedMaterial", &kind, |w| {
                code(w, found.map_or("", |c| text(&c["code"])), found.map_or("", |c| text(&c["display"])));
            });
        });
    });
}

fn quantity(w: &mut Writer, value: &str, quantity: &Value) {
    let (unit, unit_code) = (text(&quantity["unit"]), text(&quantity["code"]));
    w.element("component", &[("typeCode", "COMP")], |w| {
        w.empty("seperatableInd", &[("value", "false")]);
        w.element("lineItemQuantity", &[("classCode", "SPLY"), ("moodCode", "RQO")], |w| {
            code(w, "373784005", "Dispensing medication (procedure)");
            w.element("quantity", &[("unit", "1"), ("value", value)], |w| {
                let translation =
                    [("value", value), ("code", unit_code), ("codeSystem", SNOMED), ("displayName", unit)];
                w.empty("translation", &translation);
            });
        });
    });
}

/// The frame that instructions, endorsements and doses share.
fn annotation(w: &mut Writer, name: &str, (inner, kind): (&str, &str), value: impl FnOnce(&mut Writer)) {
    w.element(name, &[("contextConductionInd", "true"), ("typeCode", "PERT")], |w| {
        w.empty("seperatableInd", &[("value", "false")]);
        w.element(inner, &[("classCode", "OBS"), ("moodCode", "EVN")], |w| {
            w.empty("code", &[("code", kind), ("codeSystem", ANNOTATION)]);
            value(w);
        });
    });
}
