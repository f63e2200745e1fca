//! One issue of a prescription in the tracker (spec/eps.md §14.2): the patient, who wrote it, its items, what was dispensed, and last
//! the RequestGroup with everything that happened.
//!
//! Upstream writes `performer.identifier` as a list, which is not valid FHIR; here it is one Identifier.

use super::{
    CANCEL_REASON, ITEM, ITEM_STATUS, Ids, NHS_NUMBER, ODS, PRESCRIPTION_TYPE, SHORT_ID, SITE_TYPE, SNOMED, UUIDS,
    business_status, coding, course_of_therapy,
    document::{Document, dosage, item_id, list, number, text},
    identifier, reference,
    tracker::{bundle, found_entry, group, intent, name, pending, repeats, status_history, whole_pending},
    url, words,
};
use crate::{
    model::{EpochMillis, day, time},
    services::eps::{
        record::{Event, Id, Issue, Prescription},
        states::{self, Trigger},
        status::{self, StatusUpdate},
        steps::Code,
    },
};
use serde_json::{Value, json};

const NOT_DISPENSED: &str = "https://fhir.nhs.uk/CodeSystem/medicationdispense-status-reason";
/// Stands for any drug beside its text.
const ANY_CONCEPT: &str = "138875005";
/// The R5 element that says who did something.
const WHO: &str =
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-RequestOrchestration.action.participant.typeReference";

/// What is shown.
pub struct Detailed<'a> {
    pub record: &'a Prescription,
    /// The order, where it is kept.
    pub order: Option<&'a Document>,
    /// Dispense notifications of the issue, in the order of the change log.
    pub notifications: &'a [(Id, Document)],
    /// What pharmacies told of its items (§15); of each item the newest whose moment has come by `now` is shown.
    pub updates: &'a [StatusUpdate],
    pub now: EpochMillis,
}

/// The answer for an issue, or for the current one; `None` where there is no such issue.
pub fn detail(of: &Detailed<'_>, issue: Option<u32>, ids: Ids<'_>) -> Option<Value> {
    let p = of.record;
    let issue = p.issue(issue.unwrap_or(p.current))?;
    let mut shown =
        Shown { of, issue, patient: ids(), prescriber: ids(), dispenser: ids(), group: ids(), entries: vec![] };
    let (patient, prescriber) = (shown.patient.clone(), shown.prescriber.clone());
    shown.put(&patient, "include", shown.patient());
    if let Some(by) = p.prescribed_by() {
        shown.put(&prescriber, "include", role(&by.ods));
    }
    let requests: Vec<String> = p.items.iter().map(|_| ids()).collect();
    for (at, id) in requests.iter().enumerate() {
        shown.put(id, "include", shown.request(at));
    }
    let dispensed = shown.dispensed(&requests, ids);
    let group = shown.group(&requests, &dispensed);
    let id = shown.group.clone();
    shown.put(&id, "match", group);
    Some(bundle(1, shown.entries))
}

/// The answer in the making.
struct Shown<'a> {
    of: &'a Detailed<'a>,
    issue: &'a Issue,
    patient: String,
    prescriber: String,
    dispenser: String,
    group: String,
    entries: Vec<Value>,
}

fn role(ods: &str) -> Value {
    json!({"resourceType": "PractitionerRole", "organization": {"identifier": identifier(ODS, ods)}})
}

/// A coding without a display where there is none.
fn named(system: &str, code: &str, display: &str) -> Value {
    if display.is_empty() { json!({"system": system, "code": code}) } else { coding(system, code, display) }
}

fn item_status(status: u16) -> Value {
    coding(ITEM_STATUS, &states::code(status), words::tracker_item(status))
}

/// A drug: its text, and a code that stands for any.
fn drug(text: &str) -> Value {
    json!({"coding": [{"system": SNOMED, "code": ANY_CONCEPT}], "text": text})
}

impl Shown<'_> {
    fn put(&mut self, id: &str, mode: &str, mut resource: Value) {
        resource["id"] = json!(id);
        self.entries.push(found_entry(id, mode, resource));
    }

    fn patient(&self) -> Value {
        let p = self.of.record;
        let mut shown = json!({
            "resourceType": "Patient",
            "identifier": [identifier(NHS_NUMBER, &format!("{:010}", p.nhs))],
        });
        if p.born != 0 {
            shown["birthDate"] = json!(day::text(p.born));
        }
        let Some((_, sent)) = self.of.order.and_then(|o| o.of_kind("Patient").next()) else { return shown };
        if let Some(name) = name(sent) {
            shown["name"] = json!([name]);
        }
        if let Some(gender) = sent.get("gender") {
            shown["gender"] = gender.clone();
        }
        if let Some(address) = list(sent, "address").first().and_then(address) {
            shown["address"] = json!([address]);
        }
        shown
    }

    /// The item at a place.
    fn request(&self, at: usize) -> Value {
        let p = self.of.record;
        let item = p.items.get(at).cloned().unwrap_or_default();
        let id = item.id.to_string();
        let sent = self.of.order.and_then(|o| o.item(&id)).cloned().unwrap_or_default();
        let status = self.issue.item(at);
        let waits = p.pending().find(|c| c.item == item.id);
        let drug_name = self.of.order.map(|o| o.medication(&sent)).unwrap_or_default();
        let mut extensions = vec![
            json!({"url": url("Extension-EPS-DispensingInformation"), "extension": [
                {"url": "dispenseStatus", "valueCoding": item_status(status)},
            ]}),
            pending(&[("lineItemPendingCancellation", waits.is_some())]),
        ];
        extensions.extend(self.told(&id));
        let mut dispense = json!({
            "quantity": quantity(&sent["dispenseRequest"]["quantity"]),
            "extension": [{"url": url("Extension-DM-PerformerSiteType"), "valueCoding": self.site_type()}],
        });
        if !p.nomination.ods.is_empty() {
            dispense["performer"] = json!({"identifier": identifier(ODS, &p.nomination.ods)});
        }
        if p.is_erd() {
            dispense["numberOfRepeatsAllowed"] = json!(item.issues);
            let issued = self.issue.number.min(item.issues.max(1));
            let issued = json!({"url": "numberOfPrescriptionsIssued", "valueUnsignedInt": issued});
            extensions.push(json!({"url": super::UK_CORE_REPEAT, "extension": [issued]}));
        }
        let mut shown = json!({
            "resourceType": "MedicationRequest",
            "identifier": [identifier(ITEM, &id)],
            "subject": reference(&self.patient),
            "status": super::request_status(status),
            "intent": intent(p.treatment),
            "groupIdentifier": identifier(SHORT_ID, &p.id),
            "medicationCodeableConcept": drug(text(&drug_name, "display")),
            "courseOfTherapyType": {"coding": [course_of_therapy(p.treatment)]},
            "dispenseRequest": dispense,
            "dosageInstruction": [{"text": dosage(list(&sent, "dosageInstruction"))}],
            "substitution": {"allowedBoolean": false},
            "extension": extensions,
        });
        let cancelled = (status == states::item::CANCELLED).then(|| p.cancelled_by(item.id)).flatten();
        if let Some(why) = waits.or(cancelled).filter(|c| !c.reason.is_empty()) {
            shown["statusReason"] =
                json!({"coding": [named(CANCEL_REASON, &why.reason, words::cancel_reason(&why.reason))]});
        }
        if p.prescribed_by().is_some() {
            shown["requester"] = reference(&self.prescriber);
        }
        if let Some(holder) = p.holder(self.issue) {
            shown["performer"] = json!({"identifier": identifier(ODS, &holder.ods)});
        }
        shown
    }

    /// The status update that is shown of an item of this issue.
    fn told(&self, item: &str) -> Option<Value> {
        let mine = |u: &&StatusUpdate| u.item == item && (u.repeat == 0 || u.repeat == self.issue.number);
        let update = status::shown(self.of.updates.iter().filter(mine), self.of.now)?;
        Some(json!({"url": url("Extension-DM-PrescriptionStatusHistory"), "extension": [
            {"url": "status", "valueCoding": {"system": status::SYSTEM, "code": update.status}},
            {"url": "statusDate", "valueDateTime": time::iso(update.modified_at)},
        ]}))
    }

    fn site_type(&self) -> Value {
        let kind = &self.of.record.nomination.kind;
        let kind = if kind.is_empty() { "0004" } else { kind };
        named(SITE_TYPE, kind, words::site_type(kind))
    }

    /// What was dispensed: for each notification the ids of its MedicationDispenses.
    fn dispensed(&mut self, requests: &[String], ids: Ids<'_>) -> Vec<(Id, Vec<String>)> {
        let p = self.of.record;
        let holder = p.holder(self.issue).map(|d| d.ods.clone());
        let mut all = vec![];
        if self.of.notifications.is_empty() {
            return all;
        }
        let dispenser = self.dispenser.clone();
        self.put(&dispenser, "include", role(&holder.unwrap_or_default()));
        for (message, notification) in self.of.notifications {
            let mut made = vec![];
            for (_, sent) in notification.of_kind("MedicationDispense") {
                let id = ids();
                let shown = self.dispense(*message, sent, requests);
                self.put(&id, "include", shown);
                made.push(id);
            }
            all.push((*message, made));
        }
        all
    }

    fn dispense(&self, message: Id, sent: &Value, requests: &[String]) -> Value {
        let p = self.of.record;
        let item = prescribed(sent).to_lowercase();
        let place = Id::read(&item).and_then(|id| p.place(id));
        let status = list(&sent["type"], "coding").first().map_or("", |c| text(c, "code")).parse().unwrap_or(0);
        let concept = &sent["medicationCodeableConcept"];
        let name = list(concept, "coding").first().map_or("", |c| text(c, "display"));
        let business = business_status(self.issue.status, words::tracker_issue(self.issue.status));
        let mut shown = json!({
            "resourceType": "MedicationDispense",
            "identifier": [identifier(ITEM, &item)],
            "subject": reference(&self.patient),
            "status": if message == self.issue.last_notification { "in-progress" } else { "unknown" },
            "performer": [{"actor": reference(&self.dispenser)}],
            "type": {"coding": [item_status(status)]},
            "medicationCodeableConcept": drug(if name.is_empty() { text(concept, "text") } else { name }),
            "quantity": quantity(&sent["quantity"]),
            "extension": [{"url": url("Extension-EPS-TaskBusinessStatus"), "valueCoding": business}],
        });
        if let Some(request) = place.and_then(|at| requests.get(at)) {
            shown["authorizingPrescription"] = json!([reference(request)]);
        }
        let dosage = dosage(list(sent, "dosageInstruction"));
        if !dosage.is_empty() {
            shown["dosageInstruction"] = json!([{"text": dosage}]);
        }
        let why = list(&sent["statusReasonCodeableConcept"], "coding").first().map_or("", |c| text(c, "code"));
        if !why.is_empty() {
            let why = named(NOT_DISPENSED, why, words::not_dispensed_reason(why));
            shown["statusReasonCodeableConcept"] = json!({"coding": [why]});
        }
        shown
    }

    fn group(&self, requests: &[String], dispensed: &[(Id, Vec<String>)]) -> Value {
        let (p, issue) = (self.of.record, self.issue);
        let mut shown = group(p, &self.patient);
        if let Some(by) = p.prescribed_by() {
            shown["author"] = json!({"identifier": identifier(ODS, &by.ods)});
        }
        let mut extensions = vec![status_history(issue.status)];
        if !p.prescription_type.is_empty() {
            let kind = named(PRESCRIPTION_TYPE, &p.prescription_type, &words::prescription_type(&p.prescription_type));
            extensions.push(json!({"url": url("Extension-DM-PrescriptionType"), "valueCoding": kind}));
        }
        extensions.extend(repeats(p, issue));
        extensions.push(pending(&[("prescriptionPendingCancellation", whole_pending(p))]));
        let cancelled = (issue.status == states::issue::CANCELLED).then(|| p.cancelled_by(Id::NONE)).flatten();
        let waits = p.pending().find(|c| c.item.is_none());
        if let Some(why) = waits.or(cancelled).filter(|c| !c.reason.is_empty()) {
            let why = named(CANCEL_REASON, &why.reason, words::cancel_reason(&why.reason));
            extensions.push(json!({"url": url("Extension-EPS-PrescriptionStatusHistory"), "extension": [
                {"url": "cancellationReason", "valueCoding": why},
            ]}));
        }
        if !issue.reason.is_empty() {
            let why = named(NOT_DISPENSED, &issue.reason, words::not_dispensed_reason(&issue.reason));
            extensions.push(json!({"url": url("Extension-DM-PrescriptionNonDispensingReason"), "valueCoding": why}));
        }
        shown["extension"] = extensions.into();
        let items: Vec<Value> = requests.iter().map(|id| json!({"resource": reference(id)})).collect();
        let mut lines = json!({"title": "Prescription Line Items(Medications)", "action": items});
        if p.days_supply != 0 {
            lines["timingTiming"] = json!({"repeat": {"frequency": 1, "period": p.days_supply, "periodUnit": "d"}});
        }
        let happened = p.log.iter().filter(|e| self.is_of(e)).map(|e| self.event(e, dispensed));
        shown["action"] =
            json!([lines, {"title": "Prescription status transitions", "action": happened.collect::<Vec<_>>()}]);
        shown
    }

    /// Whether an event is of this issue: the order is of every one.
    fn is_of(&self, event: &Event) -> bool {
        event.issue == 0 || event.issue == self.issue.number || event.trigger() == Some(Trigger::Order)
    }

    fn event(&self, event: &Event, dispensed: &[(Id, Vec<String>)]) -> Value {
        let p = self.of.record;
        // The order's own status is that of the first issue.
        let other = event.trigger() == Some(Trigger::Order) && event.issue != self.issue.number && p.is_erd();
        let after = if other { states::issue::FUTURE_REPEAT } else { event.after };
        let mut code = vec![json!({"coding": [business_status(after, words::tracker_issue(after))]})];
        let made = dispensed.iter().find(|(id, made)| *id == event.message && !made.is_empty());
        if matches!(event.trigger(), Some(Trigger::Dispense | Trigger::Amend)) {
            code.push(json!({"coding": [{"system": UUIDS, "code": event.message.to_string()}]}));
        }
        let mut shown = json!({"title": title(event), "timingDateTime": time::iso(event.at), "code": code});
        if let Some(who) = p.sender(event.who) {
            let who = json!({"identifier": identifier(ODS, &who.ods)});
            shown["participant"] = json!([{"extension": [{"url": WHO, "valueReference": who}]}]);
        }
        // An action has a resource or actions of its own.
        match made {
            Some((_, made)) => {
                shown["action"] = made.iter().map(|id| json!({"resource": reference(id)})).collect::<Vec<_>>().into();
            }
            None => shown["resource"] = reference(&self.group),
        }
        shown
    }
}

/// What an event is called in the tracker.
fn title(event: &Event) -> String {
    let Some(trigger) = event.trigger() else { return String::new() };
    match trigger {
        Trigger::Order => "Prescription upload successful",
        Trigger::Cancel => return Code::of(event.answer).map(cancel_title).unwrap_or_default(),
        Trigger::Release => "Release Request successful",
        Trigger::ReleaseNominated => "Nominated Release Request successful",
        Trigger::Dispense | Trigger::Amend => "Dispense notification successful",
        Trigger::Return => "Dispense proposal return successful",
        Trigger::Withdraw => "Dispense Withdrawal successful",
        Trigger::Claim | Trigger::AmendClaim => "Dispense claim successful",
        Trigger::Death | Trigger::Nominate => "Administrative update successful",
        Trigger::Next | Trigger::Ready | Trigger::Expire | Trigger::NoClaim | Trigger::Delete => {
            "Updated by Routine Admin Batch worker"
        }
    }
    .to_owned()
}

fn cancel_title(code: Code) -> String {
    match code.display() {
        "" => "Cancellation unsuccessful".to_owned(),
        display => display.to_owned(),
    }
}

/// The item that a MedicationDispense is of: from the contained MedicationRequest that it names.
fn prescribed(sent: &Value) -> &str {
    let wanted = list(sent, "authorizingPrescription").first().map_or("", |r| text(r, "reference"));
    let wanted = wanted.trim_start_matches('#');
    let requests = || list(sent, "contained").iter().filter(|c| text(c, "resourceType") == "MedicationRequest");
    requests().find(|c| text(c, "id") == wanted).or_else(|| requests().next()).map_or("", item_id)
}

fn quantity(sent: &Value) -> Value {
    if !sent.is_object() {
        return json!({"value": 0});
    }
    let mut shown = json!({"value": number(&sent["value"])});
    if !text(sent, "unit").is_empty() {
        shown["unit"] = sent["unit"].clone();
    }
    shown
}

fn address(sent: &Value) -> Option<Value> {
    let parts = ["city", "district", "state"].map(|n| text(sent, n));
    let lines = list(sent, "line").iter().filter_map(Value::as_str).chain(parts).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    let code = text(sent, "postalCode");
    if lines.is_empty() && code.is_empty() {
        return None;
    }
    let whole: Vec<&str> = lines.iter().copied().chain([code]).filter(|part| !part.is_empty()).collect();
    let mut shown = json!({"text": whole.join(", "), "type": "both", "use": "home"});
    if !lines.is_empty() {
        shown["line"] = json!(lines);
    }
    if !code.is_empty() {
        shown["postalCode"] = json!(code);
    }
    Some(shown)
}
