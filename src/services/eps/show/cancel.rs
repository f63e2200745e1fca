//! What a cancellation is answered (spec/eps.md §8.4), and the message that follows when a kept one takes effect (§8.5).

use super::{
    EVENTS, ITEM, Ids, ODS, ROLE_PROFILE, SHORT_ID, SNOMED, UUIDS, coding, dispenser,
    document::{Document, identified, item_id, text},
    entry, identifier,
    people::{Copies, Origin},
    reference,
    refusals::FAILURE,
    url, zoned,
};
use crate::{
    model::EpochMillis,
    services::eps::steps::{Cancelled, Code},
};
use serde_json::{Value, json};

const HISTORY: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-history";
/// The ODS code and name under which Spine sends.
pub(crate) const SPINE_ODS: &str = "X2601";
pub(crate) const SPINE_NAME: &str = "NHS Digital Spine";

/// The published words for a cancellation whose NHS number is not the prescription's.
const OTHER_PATIENT: &str = "Mismatch between prescription and cancellation NHSNumber";

/// `MedicationRequest.status`, or the issue code of an answer that is no Bundle (§8.4).
fn shape(code: Code) -> Result<&'static str, &'static str> {
    match code {
        Code::R0001 | Code::R0006 => Ok("cancelled"),
        Code::R0002 | Code::R0003 => Ok("active"),
        Code::R0004 => Ok(dispensed_status()),
        Code::R0005 | Code::R0010 => Ok("stopped"),
        Code::R0007 => Ok("unknown"),
        Code::R0008 => Err("not-found"),
        Code::R0009 => Err("not-supported"),
        Code::R5000 => Err("processing"),
        Code::R5888 => Err("invalid"),
    }
}

/// Uncertain point 8 of §21: completed as the code has it; one published example shows active.
fn dispensed_status() -> &'static str {
    "completed"
}

/// What an answer is made of.
pub struct Answer<'a> {
    pub decided: &'a Cancelled,
    /// The cancel request.
    pub request: &'a Document,
    /// The prescription; none where there is none.
    pub order: Option<&'a Document>,
    /// Our address up to and with `FHIR/R4`.
    pub base: &'a str,
}

impl Answer<'_> {
    /// HTTP status and body.
    pub fn show(&self, ids: Ids<'_>) -> (u16, Value) {
        let body = match shape(self.decided.code) {
            Ok(status) => self.bundle(status, ids),
            Err(issue) => self.refusal(issue),
        };
        (if self.decided.code == Code::R0001 { 200 } else { 400 }, body)
    }

    fn code(&self) -> Value {
        let display = match (self.decided.code, self.decided.why) {
            (Code::R5000, "") => FAILURE.trim_end_matches(" - ").to_owned(),
            (Code::R5000, why) if why.starts_with("NHS number") => format!("{FAILURE}{OTHER_PATIENT}"),
            (Code::R5000, why) => format!("{FAILURE}{why}"),
            (code, _) => code.display().to_owned(),
        };
        coding(HISTORY, &self.decided.code.word(), &display)
    }

    fn refusal(&self, issue: &str) -> Value {
        json!({
            "resourceType": "OperationOutcome",
            "meta": {"lastUpdated": zoned(self.decided.at)},
            "issue": [{
                "severity": "error",
                "code": issue,
                "details": {"coding": [self.code()]},
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
        let dispenser = self.decided.dispenser.as_ref().map(|of| {
            let (owner, agent) = dispenser(of);
            let role = copies.dispenser(&owner, &agent);
            (owner, role)
        });

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
            shown["dispenseRequest"] = json!({"performer": performer(&owner, &role)});
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
            "timestamp": zoned(self.decided.at),
            "type": "message",
            "entry": entries,
        })
    }

    fn history(&self) -> Value {
        json!({"url": url("Extension-DM-PrescriptionStatusHistory"), "extension": [
            {"url": "status", "valueCoding": self.code()},
            {"url": "statusDate", "valueDateTime": zoned(self.decided.at)},
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
    let decided = Cancelled { code: Code::R0001, at, dispenser: None, why: "" };
    Answer { decided: &decided, request, order, base }.show(ids).1
}
