//! What a cancellation is answered (spec/eps.md §8.4), and the message that follows when a kept one takes effect (§8.5).

use super::{
    EVENTS, ITEM, Ids, ODS, ROLE_PROFILE, SHORT_ID, SNOMED, UUIDS, coding,
    document::{Document, identified, item_id, text},
    entry, identifier,
    people::{Copies, Origin},
    reference, url, zoned,
};
use crate::model::EpochMillis;
use serde_json::{Value, json};

const HISTORY: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-history";
/// The ODS code and name under which Spine sends.
pub(crate) const SPINE_ODS: &str = "X2601";
pub(crate) const SPINE_NAME: &str = "NHS Digital Spine";

/// What became of a cancellation (§8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Cancelled,
    WithDispenser,
    WithDispenserActive,
    Dispensed,
    Expired,
    AlreadyCancelled,
    AnotherPrescriber,
    NotFound,
    Disabled,
    NotDispensed,
    /// With the text that is shown.
    Failed(&'static str),
    Invalid,
}

/// The text of a cancellation whose NHS number is not the prescription's, after the published example.
pub const OTHER_PATIENT: &str = "Unable to process message. Information missing or invalid - \
                                 Mismatch between prescription and cancellation NHSNumber";

impl Outcome {
    pub fn code(self) -> &'static str {
        match self {
            Outcome::Cancelled => "R-0001",
            Outcome::WithDispenser => "R-0002",
            Outcome::WithDispenserActive => "R-0003",
            Outcome::Dispensed => "R-0004",
            Outcome::Expired => "R-0005",
            Outcome::AlreadyCancelled => "R-0006",
            Outcome::AnotherPrescriber => "R-0007",
            Outcome::NotFound => "R-0008",
            Outcome::Disabled => "R-0009",
            Outcome::NotDispensed => "R-0010",
            Outcome::Failed(_) => "R-5000",
            Outcome::Invalid => "R-5888",
        }
    }
    pub fn display(self) -> &'static str {
        match self {
            Outcome::Cancelled => "Prescription/item was cancelled",
            Outcome::WithDispenser => "Prescription/item was not cancelled. With dispenser. Marked for cancellation",
            Outcome::WithDispenserActive => {
                "Prescription/item was not cancelled. With dispenser active. Marked for cancellation"
            }
            Outcome::Dispensed => "Prescription/item was not cancelled. Prescription has been dispensed.",
            Outcome::Expired => "Prescription/item has expired",
            Outcome::AlreadyCancelled => "Prescription/item had already been cancelled",
            Outcome::AnotherPrescriber => "Prescription/item cancellation requested by another prescriber",
            Outcome::NotFound => "Prescription/item not found",
            Outcome::Disabled => "Cancellation functionality disabled in SPINE",
            Outcome::NotDispensed => "Prescription/item was not cancelled. Prescription has been not dispensed.",
            Outcome::Failed(text) => text,
            Outcome::Invalid => "Invalid Message.",
        }
    }
    /// `MedicationRequest.status`, or the issue code of an answer that is no Bundle.
    fn shape(self) -> Result<&'static str, &'static str> {
        Ok(match self {
            Outcome::Cancelled | Outcome::AlreadyCancelled => "cancelled",
            Outcome::WithDispenser | Outcome::WithDispenserActive => "active",
            Outcome::Dispensed => dispensed_status(),
            Outcome::Expired | Outcome::NotDispensed => "stopped",
            Outcome::AnotherPrescriber => "unknown",
            Outcome::NotFound => return Err("not-found"),
            Outcome::Disabled => return Err("not-supported"),
            Outcome::Failed(_) => return Err("processing"),
            Outcome::Invalid => return Err("invalid"),
        })
    }
    pub fn status(self) -> u16 {
        if self == Outcome::Cancelled { 200 } else { 400 }
    }
}

/// Uncertain point 8 of §21: completed as the code has it; one published example shows active.
fn dispensed_status() -> &'static str {
    "completed"
}

/// What an answer is made of.
pub struct Answer<'a> {
    pub outcome: Outcome,
    /// The cancel request.
    pub request: &'a Document,
    /// The prescription; none where there is none.
    pub order: Option<&'a Document>,
    /// `owner` and `agent` of the release, where a dispenser has or had the prescription (§8.4).
    pub holder: Option<(&'a Value, &'a Value)>,
    pub at: EpochMillis,
    /// Our address up to and with `FHIR/R4`.
    pub base: &'a str,
}

impl Answer<'_> {
    /// HTTP status and body.
    pub fn show(&self, ids: Ids<'_>) -> (u16, Value) {
        let body = match self.outcome.shape() {
            Ok(status) => self.bundle(status, ids),
            Err(issue) => self.refusal(issue),
        };
        (self.outcome.status(), body)
    }

    fn refusal(&self, issue: &str) -> Value {
        json!({
            "resourceType": "OperationOutcome",
            "meta": {"lastUpdated": zoned(self.at)},
            "issue": [{
                "severity": "error",
                "code": issue,
                "details": {"coding": [coding(HISTORY, self.outcome.code(), self.outcome.display())]},
            }],
        })
    }

    fn bundle(&self, status: &str, ids: Ids<'_>) -> Value {
        let mut copies = Copies::new(ids);
        let bundle = copies.id();
        let header = copies.id();
        let item = copies.id();
        let request = self.request.of_kind("MedicationRequest").next().map(|(_, r)| r.clone()).unwrap_or_default();
        let patient = self.request.of_kind("Patient").next();
        let patient = patient.map(|(url, p)| copies.plain(Origin::Request, url, p));
        let role = self.request.requester();
        let canceller = role.map(|(url, r)| copies.role(Origin::Request, self.request, url, r));
        let author = self.author(&mut copies).or_else(|| canceller.clone());
        let dispenser = self.holder.map(|(owner, agent)| (owner, copies.dispenser(owner, agent)));

        let mut shown = json!({
            "resourceType": "MedicationRequest",
            "id": item,
            "extension": [self.history()],
            "identifier": [identifier(ITEM, &item_id(&request).to_lowercase())],
            "status": status,
            "intent": "order",
            "medicationCodeableConcept": {"coding": [coding(SNOMED, "763158003", "Medicinal product")]},
            "groupIdentifier": identifier(SHORT_ID, &text(&request["groupIdentifier"], "value").to_uppercase()),
        });
        if let (Some(canceller), Some(all)) = (&canceller, shown["extension"].as_array_mut()) {
            let url = url("Extension-DM-ResponsiblePractitioner");
            all.push(json!({"url": url, "valueReference": reference(canceller)}));
        }
        for (member, id) in [("subject", &patient), ("requester", &author)] {
            if let Some(id) = id {
                shown[member] = reference(id);
            }
        }
        if let Some((owner, role)) = dispenser {
            shown["dispenseRequest"] = json!({"performer": performer(owner, &role)});
        }
        let focus: Vec<Value> = patient.iter().chain([&item]).map(|id| reference(id)).collect();
        let organization = role.and_then(|(_, r)| self.request.organization_of(r));
        let ods = organization.map_or("", |o| identified(o, ODS));
        let response = self.request.message();
        let about = Header { event: Event::Response, bundle: &bundle, ods, name: "", response: &response, focus };
        let mut entries = vec![entry(&header, about.show(&header, self.base)), entry(&item, shown)];
        entries.extend(copies.entries());
        json!({
            "resourceType": "Bundle",
            "id": bundle,
            "identifier": identifier(UUIDS, &bundle),
            "timestamp": zoned(self.at),
            "type": "message",
            "entry": entries,
        })
    }

    fn history(&self) -> Value {
        json!({"url": url("Extension-DM-PrescriptionStatusHistory"), "extension": [
            {"url": "status", "valueCoding": coding(HISTORY, self.outcome.code(), self.outcome.display())},
            {"url": "statusDate", "valueDateTime": zoned(self.at)},
        ]})
    }

    /// Who wrote the prescription, where that is another than who cancels.
    fn author(&self, copies: &mut Copies<'_>) -> Option<String> {
        let order = self.order?;
        let (url, role) = order.requester()?;
        let profile = |role: &Value| identified(role, ROLE_PROFILE).to_owned();
        let same = self.request.requester().is_some_and(|(_, canceller)| profile(canceller) == profile(role));
        (!same).then(|| copies.role(Origin::Order, order, url, role))
    }
}

fn performer(owner: &Value, role: &str) -> Value {
    let mut performer = json!({
        "extension": [{"url": url("Extension-DM-DispensingPerformer"), "valueReference": reference(role)}],
        "identifier": identifier(ODS, identified(owner, ODS)),
    });
    if !text(owner, "name").is_empty() {
        performer["display"] = owner["name"].clone();
    }
    performer
}

#[derive(Clone, Copy)]
pub(crate) enum Event {
    Order,
    Response,
}

/// MessageHeader of what Spine sends.
pub(crate) struct Header<'a> {
    pub event: Event,
    /// The message's id.
    pub bundle: &'a str,
    /// To whom; empty for nobody in particular.
    pub ods: &'a str,
    pub name: &'a str,
    /// The message that is answered.
    pub response: &'a str,
    pub focus: Vec<Value>,
}

impl Header<'_> {
    pub fn show(&self, id: &str, base: &str) -> Value {
        let (code, display) = match self.event {
            Event::Order => ("prescription-order", "Prescription Order"),
            Event::Response => ("prescription-order-response", "Prescription Order Response"),
        };
        let mut header = json!({
            "resourceType": "MessageHeader",
            "id": id,
            "extension": [{
                "url": url("Extension-MessageHeader-messageId"),
                "valueIdentifier": identifier(UUIDS, self.bundle),
            }],
            "eventCoding": coding(EVENTS, code, display),
            "sender": {"identifier": identifier(ODS, SPINE_ODS), "display": SPINE_NAME},
            "source": {"name": "NHS Spine", "endpoint": format!("{base}/$process-message")},
            "response": {"identifier": self.response, "code": "ok"},
            "focus": self.focus,
        });
        if !self.ods.is_empty() {
            let mut receiver = json!({"identifier": identifier(ODS, self.ods)});
            if !self.name.is_empty() {
                receiver["display"] = json!(self.name);
            }
            header["destination"] =
                json!([{"endpoint": format!("urn:nhs-uk:addressing:ods:{}", self.ods), "receiver": receiver}]);
        }
        header
    }
}

/// The message to a prescriber's mailbox when a kept cancellation takes effect (§8.5); workflow
/// `HL7FHIR_R4_PRESCRIPTION_ORDER_RESPONSE`. `request` is the cancel request that was kept.
pub fn later(request: &Document, order: Option<&Document>, at: EpochMillis, base: &str, ids: Ids<'_>) -> Value {
    Answer { outcome: Outcome::Cancelled, request, order, holder: None, at, base }.show(ids).1
}
