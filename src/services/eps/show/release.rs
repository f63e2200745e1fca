//! A release's answer (spec/eps.md §9.4): the prescriptions given out, each as the prescriber signed it, with what the record says of
//! its issue. Those whose signature does not hold stand apart, each behind its reason.
//!
//! Structured dosage is left out, as the backbone has done since its prescriptions were HL7 v3; the text carries it. The signature's
//! XML goes out as it came in.

use super::{
    ITEM, Ids, LONG_ID, ODS, PRESCRIPTION_TYPE, SHORT_ID, SITE_TYPE, SNOMED, UK_CORE_REPEAT, UUIDS,
    cancel::{Event, Header},
    coding, course_of_therapy,
    document::{Document, dosage, extension, item_id, list, number, text},
    entry, identifier, reference, repeat_information, request_status, url, zoned,
};
use crate::{
    model::{EpochMillis, day, time},
    services::eps::{message::treatment, record::Prescription, steps::Released},
};
use serde_json::{Value, json};

/// An item of the issue that is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenItem {
    pub id: String,
    /// Its status before the release.
    pub status: u16,
    /// Issues that it is for.
    pub issues: u32,
}

/// A prescription that is given out.
pub struct Given<'a> {
    pub order: &'a Document,
    pub treatment: u8,
    pub prescribed_at: EpochMillis,
    /// Number of the issue, from 1.
    pub issue: u32,
    pub items: Vec<GivenItem>,
    /// ODS code of the nominated dispenser and its type; empty for none.
    pub nominated: &'a str,
    pub nominated_type: &'a str,
    /// When the issue before was dispensed.
    pub last_dispensed: Option<EpochMillis>,
}

/// A release's answer.
pub struct Answer<'a> {
    /// The release response id.
    pub response: &'a str,
    /// The request's id.
    pub request: &'a str,
    pub passed: &'a [Given<'a>],
    /// Those whose signature does not hold.
    pub failed: &'a [Given<'a>],
    pub at: EpochMillis,
    /// Our address up to and with `FHIR/R4`.
    pub base: &'a str,
}

impl Answer<'_> {
    /// The Parameters; `exact::write` makes text of it.
    pub fn show(&self, ids: Ids<'_>) -> Value {
        let passed =
            self.passed.iter().map(|given| given.show(self, ids)).map(|(id, bundle)| entry(&id, bundle)).collect();
        let mut failed = vec![];
        for given in self.failed {
            let id = ids();
            failed.push(entry(&id, self.reason(&id, given)));
            let (id, bundle) = given.show(self, ids);
            failed.push(entry(&id, bundle));
        }
        json!({
            "resourceType": "Parameters",
            "id": ids(),
            "parameter": [
                {"name": "passedPrescriptions", "resource": self.frame(&ids(), passed)},
                {"name": "failedPrescriptions", "resource": self.frame(&ids(), failed)},
            ],
        })
    }

    fn frame(&self, id: &str, entries: Vec<Value>) -> Value {
        json!({
            "resourceType": "Bundle",
            "id": id,
            "meta": {"lastUpdated": zoned(self.at)},
            "identifier": identifier(UUIDS, self.response),
            "type": "searchset",
            "total": entries.len(),
            "entry": entries,
        })
    }

    fn reason(&self, id: &str, given: &Given<'_>) -> Value {
        const SPINE: &str = "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode";
        json!({
            "resourceType": "OperationOutcome",
            "id": id,
            "meta": {"lastUpdated": zoned(self.at)},
            "extension": [{
                "url": url("Extension-Spine-supportingInfo-prescription"),
                "valueReference": {"identifier": identifier(UUIDS, &given.order.message())},
            }],
            "issue": [{
                "severity": "error",
                "code": "invalid",
                "details": {"coding": [coding(SPINE, "INVALID_VALUE", "Signature is invalid.")]},
                "expression": ["Provenance.signature.data"],
            }],
        })
    }
}

/// Kinds of entries, in the order in which an answer has them. Those that no reference needs any more are left out.
const KINDS: [&str; 9] = [
    "CommunicationRequest",
    "List",
    "MedicationRequest",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "HealthcareService",
    "Location",
];
/// What the answer's Provenance names beside the header, in its order.
const TARGETS: [&str; 5] = ["Patient", "PractitionerRole", "Practitioner", "Organization", "MedicationRequest"];

/// The UUID of an entry's reference.
fn uuid(full_url: &str) -> &str {
    full_url.strip_prefix("urn:uuid:").unwrap_or(full_url)
}

impl<'a> Given<'a> {
    /// What a release decided of a record.
    pub fn of(record: &'a Prescription, released: &Released, order: &'a Document) -> Given<'a> {
        let before = |at: usize| released.items_before.get(at).copied().unwrap_or(0);
        let items = record.items.iter().enumerate();
        let items = items.map(|(at, i)| GivenItem { id: i.id.to_string(), status: before(at), issues: i.issues });
        Given {
            order,
            treatment: record.treatment,
            prescribed_at: record.prescribed_at,
            issue: released.issue,
            items: items.collect(),
            nominated: &record.nomination.ods,
            nominated_type: &record.nomination.kind,
            last_dispensed: (released.last_dispensed != 0).then_some(released.last_dispensed),
        }
    }

    /// The prescription Bundle's id, and the Bundle.
    fn show(&self, answer: &Answer<'_>, ids: Ids<'_>) -> (String, Value) {
        let (id, header) = (ids(), ids());
        let message = self.order.message();
        let about = Header {
            event: Event::Order,
            bundle: &message,
            ods: self.nominated,
            name: self.receiver(),
            response: answer.request,
            focus: self.references(&["Patient", "MedicationRequest"]),
        };
        let mut entries = vec![entry(&header, about.show(&header, answer.base))];
        for kind in KINDS {
            for (full_url, resource) in self.order.of_kind(kind) {
                let mut shown = if kind == "MedicationRequest" { self.item(resource) } else { resource.clone() };
                shown["id"] = json!(uuid(full_url));
                entries.push(json!({"fullUrl": full_url, "resource": shown}));
            }
        }
        entries.extend(self.provenance(&header));
        let bundle = json!({
            "resourceType": "Bundle",
            "id": id,
            "meta": {"lastUpdated": zoned(self.prescribed_at)},
            "identifier": identifier(UUIDS, &message),
            "type": "message",
            "entry": entries,
        });
        (id, bundle)
    }

    /// The nominated dispenser's name, where the order's header says it.
    fn receiver(&self) -> &str {
        let header = self.order.of_kind("MessageHeader").next();
        let receiver = header.and_then(|(_, h)| list(h, "destination").first()).map(|d| &d["receiver"]);
        let named = receiver.filter(|r| text(&r["identifier"], "value").eq_ignore_ascii_case(self.nominated));
        named.map_or("", |r| text(r, "display"))
    }

    fn references(&self, kinds: &[&str]) -> Vec<Value> {
        let urls = kinds.iter().flat_map(|kind| self.order.of_kind(kind));
        urls.map(|(full_url, _)| json!({"reference": full_url})).collect()
    }

    /// The signature as it came: the one of the requester, else the first.
    fn provenance(&self, header: &str) -> Option<Value> {
        let requester = self.order.requester().map_or("", |(url, _)| url);
        let (full_url, of) = self.order.of_kind("Provenance").next()?;
        let signatures = || self.order.of_kind("Provenance").flat_map(|(_, p)| list(p, "signature"));
        let own = signatures().find(|s| text(&s["who"], "reference").eq_ignore_ascii_case(requester));
        let signature = own.or_else(|| signatures().next())?;
        let who = json!({"reference": requester});
        let when = text(signature, "when");
        let when = time::parse_iso(when).map_or_else(|| when.to_owned(), zoned);
        let mut target = vec![reference(header)];
        target.extend(self.references(&TARGETS));
        let data: String = text(signature, "data").split_whitespace().collect();
        let id = if text(of, "id").is_empty() { uuid(full_url) } else { text(of, "id") };
        let shown = json!({
            "resourceType": "Provenance",
            "id": id,
            "agent": [{"who": who}],
            "recorded": when,
            "signature": [{
                "who": who,
                "when": when,
                "data": data,
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
            }],
            "target": target,
        });
        Some(json!({"fullUrl": full_url, "resource": shown}))
    }

    /// An item (§9.4).
    fn item(&self, sent: &Value) -> Value {
        let id = item_id(sent).to_lowercase();
        let of = self.items.iter().find(|i| i.id.eq_ignore_ascii_case(&id));
        let issues = of.map_or(1, |i| i.issues.max(1));
        let issued = self.issue.clamp(1, issues);
        let repeats = self.treatment != treatment::ACUTE;
        let group = &sent["groupIdentifier"];
        let long = extension(group, &url("Extension-DM-PrescriptionId")).map(|e| text(&e["valueIdentifier"], "value"));
        let mut shown = json!({
            "resourceType": "MedicationRequest",
            "extension": self.extensions(sent, repeats.then_some(issued)),
            "identifier": [identifier(ITEM, &id)],
            "status": request_status(of.map_or(7, |i| i.status)),
            "intent": if self.treatment == treatment::DISPENSING { "reflex-order" } else { "order" },
            "medicationCodeableConcept": {"coding": [self.order.medication(sent)]},
            "subject": sent["subject"],
            "category": [{"coding": [coding(
                "http://terminology.hl7.org/CodeSystem/medicationrequest-category", "outpatient", "Outpatient",
            )]}],
            "requester": sent["requester"],
            "groupIdentifier": identifier(SHORT_ID, text(group, "value")),
            "courseOfTherapyType": {"coding": [course_of_therapy(self.treatment)]},
            "dosageInstruction": [{"text": dosage(list(sent, "dosageInstruction"))}],
            "dispenseRequest": self.dispense_request(&sent["dispenseRequest"], issues),
            "substitution": {"allowedBoolean": false},
        });
        if let Some(long) = long {
            shown["groupIdentifier"]["extension"] = json!([{
                "url": url("Extension-DM-PrescriptionId"),
                "valueIdentifier": identifier(LONG_ID, &long.to_lowercase()),
            }]);
        }
        if repeats {
            let mut based_on = reference(&id);
            based_on["extension"] = json!([repeat_information(issues - 1, issued - 1)]);
            shown["basedOn"] = json!([based_on]);
        }
        if let Some(note) = list(sent, "note").first().filter(|n| !text(n, "text").is_empty()) {
            shown["note"] = json!([{"text": note["text"]}]);
        }
        shown
    }

    fn extensions(&self, sent: &Value, issued: Option<u32>) -> Vec<Value> {
        let of = |name: &str| extension(sent, &url(name));
        let responsible =
            of("Extension-DM-ResponsiblePractitioner").map_or(&sent["requester"], |e| &e["valueReference"]);
        let mut all = vec![json!({
            "url": url("Extension-DM-ResponsiblePractitioner"),
            "valueReference": responsible,
        })];
        if let Some(kind) = of("Extension-DM-PrescriptionType") {
            all.push(json!({
                "url": kind["url"],
                "valueCoding": {"system": PRESCRIPTION_TYPE, "code": kind["valueCoding"]["code"]},
            }));
        }
        let endorsement = url("Extension-DM-PrescriptionEndorsement");
        all.extend(list(sent, "extension").iter().filter(|e| text(e, "url") == endorsement).cloned());
        if let Some(issued) = issued {
            let review = extension(sent, UK_CORE_REPEAT).and_then(|e| extension(e, "authorisationExpiryDate"));
            let mut parts: Vec<Value> = review.into_iter().cloned().collect();
            parts.push(json!({"url": "numberOfPrescriptionsIssued", "valueUnsignedInt": issued}));
            all.push(json!({"url": UK_CORE_REPEAT, "extension": parts}));
        }
        let drug = of("Extension-DM-ControlledDrug");
        if let Some(words) = drug.and_then(|e| extension(e, "quantityWords")) {
            all.push(json!({"url": url("Extension-DM-ControlledDrug"), "extension": [words]}));
        }
        if let Some(at) = self.last_dispensed {
            all.push(json!({
                "url": url("Extension-EPS-DispensingInformation"),
                "extension": [{"url": "dateLastDispensed", "valueDateTime": zoned(at)}],
            }));
        }
        all
    }

    fn dispense_request(&self, sent: &Value, issues: u32) -> Value {
        let repeats = if self.treatment == treatment::DISPENSING { issues - 1 } else { 0 };
        let quantity = &sent["quantity"];
        let mut shown = json!({
            "extension": [{
                "url": url("Extension-DM-PerformerSiteType"),
                "valueCoding": {"system": SITE_TYPE, "code": self.site_type(sent)},
            }],
            "numberOfRepeatsAllowed": repeats,
            "quantity": {
                "value": number(&quantity["value"]),
                "unit": quantity["unit"],
                "system": SNOMED,
                "code": quantity["code"],
            },
        });
        if !self.nominated.is_empty() {
            shown["performer"] = json!({"identifier": identifier(ODS, self.nominated)});
        }
        for end in ["start", "end"] {
            let date = text(&sent["validityPeriod"], end).get(..10).filter(|d| day::parse(d).is_some());
            if let Some(date) = date {
                shown["validityPeriod"][end] = json!(date);
            }
        }
        if let Some(duration) = sent.get("expectedSupplyDuration").filter(|d| d.is_object()) {
            shown["expectedSupplyDuration"] = duration.clone();
            shown["expectedSupplyDuration"]["value"] = number(&duration["value"]);
        }
        shown
    }

    /// The nomination's type as it is now; what the order says where the record does not.
    fn site_type(&self, sent: &Value) -> String {
        let said = extension(sent, &url("Extension-DM-PerformerSiteType")).map(|e| text(&e["valueCoding"], "code"));
        match (self.nominated_type, said) {
            ("", Some(said)) => said.to_owned(),
            ("", None) => "0004".to_owned(),
            (kind, _) => kind.to_owned(),
        }
    }
}
