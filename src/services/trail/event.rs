//! An audit record as a FHIR AuditEvent (spec/identity.md §9.2; samples in its data), and the page that holds them.

use crate::{
    audit::{Record, event_id},
    engine::draft::Fault,
    model::time,
    services::directory::rows,
    store::Reader,
    wire::capability::{self, Resource},
};
use serde_json::{Value, json};

const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
const USER: &str = "https://fhir.nhs.uk/Id/sds-user-id";
const SYSTEM: &str = "https://fhir.nhs.uk/Id/accredited-system";
/// Client ids of the API platform: (D), the samples have no application without an ASID.
const PRODUCT: &str = "https://fhir.nhs.uk/Id/product-id";
pub const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";
const TRANSACTION: &str = "https://fhir.nhs.uk/Id/transaction";
/// (D) This site's own name as an accredited system.
const OURSELVES: &str = "spine";

/// How much of a record its reader is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All of it: a privacy officer.
    Officer,
    /// Without addresses and without what let the caller in: the citizen whom it is about.
    Citizen,
}

/// Interactions by the first word of their names: service's name, product and what it is for people.
const SERVICES: [(&str, &str, &str); 7] = [
    ("pds", "Personal Demographics Service", "PDS"),
    ("mesh", "Message Exchange for Social Care and Health", "MESH"),
    ("relationships", "Legitimate Relationships", "LRS"),
    ("alerts", "Privacy Alerts", "LRS"),
    ("audit", "Patient Audit Record", "PARS"),
    ("identity", "Identity Service", "CIS"),
    ("directory", "Spine Directory Service", "SDS"),
];

fn service_of(interaction: &str) -> (&'static str, &'static str) {
    let word = interaction.split('.').next().unwrap_or_default();
    let found = SERVICES.iter().find(|(name, ..)| *name == word);
    found.map_or(("Spine", "Spine"), |(_, name, product)| (name, product))
}

fn who(kind: &str, system: &str, value: &str, display: &str) -> Value {
    let mut who = json!({"type": kind, "identifier": {"system": system, "value": value}});
    if !display.is_empty() {
        who["display"] = json!(display);
    }
    who
}

/// The event's id: a filed one has its own, every other is named by its place.
pub fn id_of(partition: u16, record: &Record) -> String {
    if record.filed.is_empty() { event_id(partition, record.sequence) } else { record.object.clone() }
}

/// `site`: the registry, for the names of organisations. `host`: as the caller named this site.
pub fn event(partition: u16, record: &Record, site: &dyn Reader, host: &str, reads: Reads) -> Result<Value, Fault> {
    let id = id_of(partition, record);
    if !record.filed.is_empty() {
        let mut filed: Value =
            serde_json::from_slice(&record.filed).map_err(|e| Fault::Other(format!("a filed event: {e}")))?;
        filed["id"] = json!(id);
        // What it says of itself is its sender's word: when it came and who sent it is ours.
        filed["meta"] = json!({"lastUpdated": time::iso(record.at)});
        if let (Some(agents), Some(sender)) = (filed["agent"].as_array_mut(), device(record)) {
            agents.push(json!({"type": {"text": "filed by"}, "who": sender, "requestor": false}));
        }
        return Ok(filed);
    }
    let rest = !record.interaction.starts_with("mesh.");
    let (system, code) = match rest {
        true => ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"),
        false => ("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "transmit"),
    };
    let (name, _) = service_of(&record.interaction);
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": id,
        "type": {"system": system, "code": code},
        "action": if record.action.is_empty() { crate::audit::action_of(&record.interaction) } else { &record.action },
        "recorded": time::iso(record.at),
        "outcome": if record.outcome == "ok" { "0" } else { "4" },
        "agent": agents(record, site, reads)?,
        "source": {
            "site": host,
            "observer": {"identifier": {"system": SYSTEM, "value": OURSELVES}, "display": name},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "2"}],
        },
        "entity": entities(record, reads),
    });
    if let Some(code) = subtype(&record.interaction) {
        event["subtype"] = json!([{"system": "http://hl7.org/fhir/restful-interaction", "code": code}]);
    }
    if record.outcome != "ok" {
        event["outcomeDesc"] = json!(record.outcome);
    }
    if !record.purpose.is_empty() {
        event["purposeOfEvent"] = json!([{"text": record.purpose}]);
    }
    Ok(event)
}

/// FHIR's word for what a FHIR interface was asked.
fn subtype(interaction: &str) -> Option<&'static str> {
    Some(match interaction {
        "pds.retrieve" | "pds.related" | "pds.coverage" | "audit.read" => "read",
        "pds.search" | "audit.search" => "search-type",
        "pds.update" => "patch",
        "pds.create" | "pds.coverage_set" | "audit.file" => "create",
        "pds.birth" => "operation",
        _ => return None,
    })
}

/// Organisation, person, system: each where it is known, in this order.
fn agents(record: &Record, site: &dyn Reader, reads: Reads) -> Result<Vec<Value>, Fault> {
    let mut agents = vec![];
    let mut add = |who: Value, requestor: bool| agents.push(json!({"who": who, "requestor": requestor}));
    if !record.ods.is_empty() {
        let name = rows::organisation(site, &record.ods)?.map(|o| o.name).unwrap_or_default();
        add(who("Organization", ODS, &record.ods, &name), true);
    }
    if record.level.starts_with('P') {
        add(who("Patient", NHS_NUMBER, &record.nhs_number, ""), true);
    } else if !record.user.is_empty() {
        add(who("Practitioner", USER, &record.user, ""), true);
    } else if !record.operator.is_empty() {
        add(json!({"type": "Person", "display": format!("operator {}", record.operator)}), true);
    }
    if let Some(device) = device(record) {
        add(device, false);
    }
    for agent in &mut agents {
        let practitioner = agent["who"]["type"] == "Practitioner";
        if practitioner && !record.role_profile.is_empty() {
            // The role profile that he acted in, and its job role.
            agent["altId"] = json!(record.role_profile);
        }
        if practitioner && !record.job_role.is_empty() {
            agent["role"] = json!([{"text": record.job_role}]);
        }
    }
    if let (Some(last), Reads::Officer, false) = (agents.last_mut(), reads, record.address.is_empty()) {
        // 2: an IP address.
        last["network"] = json!({"address": record.address, "type": "2"});
    }
    if agents.is_empty() {
        // FHIR wants one: what the site does by itself, such as at the end of a time.
        agents.push(json!({"who": who("Device", SYSTEM, OURSELVES, "Spine"), "requestor": false}));
    }
    Ok(agents)
}

/// The system that asked, or filed.
fn device(record: &Record) -> Option<Value> {
    if !record.asid.is_empty() {
        Some(who("Device", SYSTEM, &record.asid, &record.common_name))
    } else if !record.application.is_empty() {
        Some(who("Device", PRODUCT, &record.application, ""))
    } else if !record.common_name.is_empty() {
        Some(json!({"type": "Device", "display": record.common_name}))
    } else {
        None
    }
}

/// Patient, transaction, and the service that was asked.
fn entities(record: &Record, reads: Reads) -> Vec<Value> {
    let mut entities = vec![];
    if !record.subject.is_empty() {
        entities.push(json!({
            "what": {"identifier": {"system": NHS_NUMBER, "value": record.subject}},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1", "display": "Person"},
            "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1", "display": "Patient"},
        }));
    }
    let transaction = if record.request_id.is_empty() { &record.correlation_id } else { &record.request_id };
    if !transaction.is_empty() {
        entities.push(json!({
            "what": {"identifier": {"system": TRANSACTION, "value": transaction}},
            "type": {
                "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "code": "XrequestId",
            },
        }));
    }
    let (name, product) = service_of(&record.interaction);
    let mut detail = vec![];
    let mut add = |kind: &str, value: &str| {
        if !value.is_empty() {
            detail.push(json!({"type": kind, "valueString": value}));
        }
    };
    add("productIdentifier", product);
    add("interactionIdentifier", &record.interaction);
    if reads == Reads::Officer {
        add("workgroup", &record.workgroup);
        add("assuranceLevel", &record.level);
        add("granted", &record.granted);
        add("session", &record.session);
        add("object", if record.object == record.subject { "" } else { &record.object });
        add("remark", &record.detail);
    }
    entities.push(json!({
        "what": {"identifier": {"system": SYSTEM, "value": OURSELVES}},
        "type": {"system": "http://hl7.org/fhir/resource-types", "code": "Endpoint"},
        "role": {
            "system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "17", "display": "Data Repository",
        },
        "name": name,
        "detail": detail,
    }));
    entities
}

/// A page of a search. `links`: of this page, and of the next where there may be one.
pub fn bundle(base: &str, at: u64, links: (String, Option<String>), events: Vec<Value>) -> Value {
    let mut link = vec![json!({"relation": "self", "url": format!("{base}/AuditEvent?{}", links.0)})];
    if let Some(next) = links.1 {
        link.push(json!({"relation": "next", "url": format!("{base}/AuditEvent?{next}")}));
    }
    let entry = |event: Value| {
        let url = format!("{base}/AuditEvent/{}", event["id"].as_str().unwrap_or_default());
        json!({"fullUrl": url, "resource": event, "search": {"mode": "match"}})
    };
    json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "timestamp": time::iso(at),
        "link": link,
        "entry": events.into_iter().map(entry).collect::<Vec<_>>(),
    })
}

/// What the interface can do, for FHIR clients that ask first.
pub fn capability() -> Value {
    let resource = Resource {
        kind: "AuditEvent",
        interactions: vec!["read", "search-type", "create"],
        parameters: vec![("patient", "reference"), ("agent", "reference"), ("date", "date")],
        operations: vec![],
    };
    capability::statement("Patient audit record", &[resource])
}
