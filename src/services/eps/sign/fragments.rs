//! FragmentsToBeHashed (spec/eps.md §6.3): what of an order its prescriber signs, as one line of canonical XML. Byte-exact with
//! `tests/data/eps/14-signature/fragments-canonical.txt` and with the published HL7 v3 forms of the example orders.

use super::{c14n::Writer, digits::Digits, items, order::Order, people};
use crate::model::{EpochMillis, time};
use serde_json::Value;

/// The namespace that the children of every Fragment carry themselves.
pub(super) const HL7: &str = "urn:hl7-org:v3";
const LONG_ID: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionId";

/// The text that is hashed, for an order signed at `at` (to the second).
pub fn fragments(bundle: &Value, digits: &Digits, at: EpochMillis) -> String {
    let order = Order::new(bundle, digits);
    let mut writer = Writer::new();
    writer.element("FragmentsToBeHashed", &[], |w| {
        w.element("Fragment", &[], |w| prescription(w, &order, at));
        w.element("Fragment", &[], |w| people::requester(w, &order));
        w.element("Fragment", &[], |w| people::patient(w, &order));
        items::all(w, &order);
    });
    writer.finish()
}

/// When it was signed, and which prescription.
fn prescription(w: &mut Writer, order: &Order<'_>, at: EpochMillis) {
    let extension = super::order::extension(&order.first_item()["groupIdentifier"], LONG_ID);
    let id = super::order::text(&extension["valueIdentifier"]["value"]).to_uppercase();
    w.empty("time", &[("xmlns", HL7), ("value", &time::compact(at))]);
    w.empty("id", &[("xmlns", HL7), ("root", &id)]);
}
