//! Systems as Device, endpoint records as Endpoint, members in the order of the published examples (directory.md §A.4).

use crate::{
    services::directory::rows::{Endpoint, System},
    wire::tree::{Members, Node},
};

pub const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
pub const INTERACTION: &str = "https://fhir.nhs.uk/Id/nhsServiceInteractionId";
pub const PARTY_KEY: &str = "https://fhir.nhs.uk/Id/nhsMhsPartyKey";
const ASID: &str = "https://fhir.nhs.uk/Id/nhsSpineASID";
const FQDN: &str = "https://fhir.nhs.uk/Id/nhsMhsFQDN";
const CPA_ID: &str = "https://fhir.nhs.uk/Id/nhsMhsCPAId";
const MHS_ID: &str = "https://fhir.nhs.uk/Id/nhsMHSId";
const MANUFACTURER: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-SDS-ManufacturingOrganisation";
const SERVICE_INTERACTION: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-SDS-NhsServiceInteractionId";
const RELIABILITY: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-SDS-ReliabilityConfiguration";

fn identifier(system: &str, value: &str) -> Node {
    Members::new().with("system", system).with("value", value).into()
}

fn identifiers(all: &[(&str, &str)]) -> Vec<Node> {
    all.iter().filter(|(_, value)| !value.is_empty()).map(|(system, value)| identifier(system, value)).collect()
}

fn reference(url: &str, system: &str, value: &str) -> Node {
    let reference = Members::new().with("identifier", identifier(system, value));
    Members::new().with("url", url).with("valueReference", reference).into()
}

fn interactions(all: &[String]) -> impl Iterator<Item = Node> + '_ {
    all.iter().map(|interaction| reference(SERVICE_INTERACTION, INTERACTION, interaction))
}

/// `id` is new each time; the system's own name is its ASID.
pub fn device(id: &str, asid: &str, row: &System) -> Node {
    let manufacturer = Some(&row.manufacturer).filter(|ods| !ods.is_empty());
    let mut extensions: Vec<Node> = manufacturer.map(|ods| reference(MANUFACTURER, ODS, ods)).into_iter().collect();
    extensions.extend(interactions(&row.interactions));
    let members = Members::new()
        .with("resourceType", "Device")
        .with("id", id)
        .list("identifier", identifiers(&[(ASID, asid), (PARTY_KEY, &row.party_key)]))
        .list("extension", extensions);
    match row.clients.first() {
        Some(client) => members.with("owner", Members::new().with("identifier", identifier(ODS, client))).into(),
        None => members.into(),
    }
}

/// One address of a record.
pub fn endpoint(id: &str, record: &str, address: &str, row: &Endpoint) -> Node {
    let text = |url: &str, value: &str| -> Node { Members::new().with("url", url).with("valueString", value).into() };
    let mut contract = vec![];
    let texts = [
        ("nhsMHSSyncReplyMode", &row.sync_reply_mode),
        ("nhsMHSRetryInterval", &row.retry_interval),
        ("nhsMHSRetries", &row.retries),
        ("nhsMHSPersistDuration", &row.persist_duration),
        ("nhsMHSDuplicateElimination", &row.duplicate_elimination),
        ("nhsMHSAckRequested", &row.ack_requested),
    ];
    for (name, value) in texts.into_iter().filter(|(_, value)| !value.is_empty()) {
        contract.push(match (name, value.parse::<u16>()) {
            ("nhsMHSRetries", Ok(number)) => {
                Members::new().with("url", name).with("valueInteger", Node::Int(number.into())).into()
            }
            _ => text(name, value),
        });
    }
    contract.extend(row.actors.iter().map(|actor| text("nhsMHSActor", actor)));
    let mut extensions = vec![];
    if !contract.is_empty() {
        extensions.push(Members::new().with("url", RELIABILITY).with("extension", contract).into());
    }
    extensions.extend(interactions(&row.interactions));
    let known = [(FQDN, row.fqdn.as_str()), (PARTY_KEY, &row.party_key), (CPA_ID, &row.cpa_id), (MHS_ID, record)];
    let connection = Members::new()
        .with("system", "http://terminology.hl7.org/CodeSystem/endpoint-connection-type")
        .with("code", "hl7-fhir-msg")
        .with("display", "HL7 FHIR Messaging");
    let payload = Members::new()
        .with("system", "http://terminology.hl7.org/CodeSystem/endpoint-payload-type")
        .with("code", "any")
        .with("display", "Any");
    Members::new()
        .with("resourceType", "Endpoint")
        .with("id", id)
        .list("extension", extensions)
        .list("identifier", identifiers(&known))
        .with("status", "active")
        .with("connectionType", connection)
        .with("managingOrganization", Members::new().with("identifier", identifier(ODS, &row.ods)))
        .with("payloadType", vec![Members::new().with("coding", vec![payload.into()]).into()])
        .text("address", address)
        .into()
}
