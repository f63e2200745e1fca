//! JSON lines of the provisioning format (mesh.md §15) as commands. A line is told apart by the id it holds:
//! `mailbox_id`, `workflow_id`, `asid`, or `ods_code` with `name`. Lines that say more of an organisation or a system, and
//! those of directory attributes (told by `uniqueIdentifier` or `objectClass`), are read by `records`.

use super::{
    command::{DirectoryCommand, SetMailbox, SetOrganisation, SetSystem, SetWorkflow},
    records,
    rows::Secret,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a line is no command. Holds no content of the line: it may be a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadLine {
    #[error("not a JSON object with fields of the right types (column {0})")]
    Json(usize),
    #[error("none of mailbox_id, workflow_id, asid, ods_code, uniqueIdentifier is in it")]
    Kind,
    #[error("the entry is neither an nhsAs nor an nhsMhs")]
    Class,
    /// Only of lines that hold no secrets: organisations, systems, endpoints.
    #[error("{0}")]
    Value(String),
}

/// Members that only a whole organisation has.
const ORGANISATION: &[&str] = &[
    "record_class",
    "status",
    "legal",
    "operational",
    "roles",
    "relationships",
    "successions",
    "address",
    "contacts",
    "last_change",
    "ref_only",
    "authority",
];
/// Members that only a system's accreditation has.
const ACCREDITATION: &[&str] =
    &["interactions", "clients", "access_control", "manufacturer", "product_key", "product_name", "product_version"];

#[derive(Deserialize)]
struct Line {
    mailbox_id: Option<String>,
    workflow_id: Option<String>,
    asid: Option<String>,
    ods_code: Option<String>,
    #[serde(default)]
    mailbox_name: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    billing_entity: String,
    #[serde(default)]
    org_code: String,
    #[serde(default)]
    org_name: String,
    #[serde(default)]
    password: String,
    active: Option<bool>,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    service: String,
    #[serde(default)]
    senders: Vec<String>,
    #[serde(default)]
    receivers: Vec<String>,
    restricted: Option<bool>,
    #[serde(default)]
    party_key: String,
    #[serde(default)]
    certificates: Vec<String>,
}

/// Reads one line. Blank lines and lines that begin with `#` give `None`.
pub fn parse(line: &str) -> Result<Option<DirectoryCommand>, BadLine> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let object: Map<String, Value> = serde_json::from_str(line).map_err(|e| BadLine::Json(e.column()))?;
    let has = |names: &[&str]| names.iter().any(|name| object.contains_key(*name));
    if !has(&["mailbox_id", "workflow_id"]) {
        if has(&["asid"]) && has(ACCREDITATION) {
            return records::system(object).map(Some);
        }
        if !has(&["asid"]) && has(&["ods_code"]) && has(ORGANISATION) {
            return records::organisation(object).map(Some);
        }
        let entry = |name: &&String| ["uniqueidentifier", "objectclass"].contains(&name.to_ascii_lowercase().as_str());
        if object.keys().any(|name| entry(&name)) {
            return records::attributes(object).map(Some);
        }
    }
    drop(object);
    let line: Line = serde_json::from_str(line).map_err(|e| BadLine::Json(e.column()))?;
    let ods = line.ods_code.unwrap_or_default();
    Ok(Some(if let Some(mailbox) = line.mailbox_id {
        let active = line.active.map_or(0, |active| if active { 1 } else { 2 });
        SetMailbox {
            mailbox,
            name: line.mailbox_name,
            ods,
            org_code: line.org_code,
            org_name: line.org_name,
            billing: line.billing_entity,
            password: Secret(line.password),
            active,
            internal: line.internal,
            service: line.service,
            ..Default::default()
        }
        .into()
    } else if let Some(workflow) = line.workflow_id {
        SetWorkflow {
            workflow,
            senders: line.senders,
            receivers: line.receivers,
            open: line.restricted == Some(false),
            ..Default::default()
        }
        .into()
    } else if let Some(asid) = line.asid {
        let (party_key, certificates) = (line.party_key, line.certificates);
        SetSystem { asid, ods, party_key, name: line.name, certificates, ..Default::default() }.into()
    } else if !ods.is_empty() {
        SetOrganisation { ods, name: line.name, ..Default::default() }.into()
    } else {
        return Err(BadLine::Kind);
    }))
}
