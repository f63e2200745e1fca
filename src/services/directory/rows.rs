//! The registry's rows and their keys. Any service may read them, through a draft's or a view's site reader;
//! only this folder's `decide` writes them.
//!
//! Invariants kept by the functions that put and remove: a system's certificates and [`Table::Certificates`] agree; a
//! mailbox's organisation and [`Table::MailboxesByOds`] agree; a workflow's counts are those of its sender and
//! receiver rows.

use super::organisation::{Address, Contact, Period, Relationship, Role, Succession};
use crate::{
    engine::draft::Fault,
    record,
    store::{
        Reader, StoreError,
        tables::{Key, Parts, Table},
    },
    wire::record::{Field, Malformed, Raw, Record, put_bytes},
};
use bytes::Bytes;

/// A row whose key says everything.
pub const NOTHING: Bytes = Bytes::from_static(&[1]);

/// A password at rest in a row. `Debug` prints nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret" })
    }
}

impl Field for Secret {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            put_bytes(field, self.0.as_bytes(), out);
        }
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        self.0.merge(field, raw)
    }
}

record! {
    /// An organisation, under its ODS code.
    pub struct Organisation v1 {
        1 => name: String,
        2 => disabled: bool,
        /// 1 organisation (RC1), 2 site (RC2); 0 in rows of before this was kept: [`Organisation::class`].
        3 => class: u8,
        /// Status in the reference data, which has nothing to do with `disabled`.
        4 => inactive: bool,
        5 => legal: Period,
        6 => operational: Period,
        7 => roles: Vec<Role>,
        8 => relationships: Vec<Relationship>,
        9 => successions: Vec<Succession>,
        10 => address: Address,
        11 => contacts: Vec<Contact>,
        /// Day of the last change.
        12 => last_change: u32,
        /// Known for reference only: somebody else looks after it.
        13 => ref_only: bool,
        /// Who gave the code; empty for `HSCIC`.
        14 => authority: String,
        /// Which look-up rows stand beside it: [`GENERATION`](super::organisation::GENERATION).
        15 => generation: u32,
    }
}

record! {
    /// A supplier's connecting system, under its ASID.
    pub struct System v1 {
        /// ODS code of the organisation that runs it.
        1 => ods: String,
        /// MHS party key.
        2 => party_key: String,
        3 => name: String,
        /// SHA-256 of each client certificate (DER), lower-case hex.
        4 => certificates: Vec<String>,
        5 => disabled: bool,
        /// Service-interaction ids that it is accredited for (`nhsAsSvcIA`, directory.md §B.3).
        6 => interactions: Vec<String>,
        /// ODS codes of client organisations.
        7 => clients: Vec<String>,
        /// Access-control features that it performs itself: `RBAC`, `CNST`, `DOLR`.
        8 => access_control: Vec<String>,
        9 => categories: Vec<String>,
        /// ODS code of the supplier.
        10 => manufacturer: String,
        11 => product_key: String,
        12 => product_name: String,
        13 => product_version: String,
        /// Who asked for it and who approved it (role-profile names), and when (`YYYYMMDDhhmmss`).
        14 => requestor: String,
        15 => requested: String,
        16 => approver: String,
        17 => approved: String,
        18 => temp_uid: String,
        19 => description: String,
        /// As in `Organisation`: 0 in rows of before look-ups.
        20 => generation: u32,
        /// Emergency care: served also where there is no room for others.
        21 => emergency: bool,
    }
}

record! {
    /// A message handler's endpoint (`nhsMhs`, directory.md §B.4), under its record id. Contract properties are texts as the
    /// directory has them; empty where it has none.
    pub struct Endpoint v1 {
        1 => ods: String,
        2 => party_key: String,
        /// `nhsMhsSvcIA`; published records have one, test data more.
        3 => interactions: Vec<String>,
        /// `nhsMhsSN`, the service.
        4 => service: String,
        /// `nhsMhsIN`, the interaction.
        5 => interaction: String,
        /// `nhsMhsEndPoint`: URLs.
        6 => addresses: Vec<String>,
        7 => fqdn: String,
        8 => cpa_id: String,
        9 => is_authenticated: String,
        10 => interaction_type: String,
        11 => template_key: String,
        12 => product_key: String,
        13 => product_name: String,
        14 => product_version: String,
        15 => sync_reply_mode: String,
        16 => ack_requested: String,
        17 => duplicate_elimination: String,
        18 => actors: Vec<String>,
        19 => persist_duration: String,
        20 => retries: String,
        21 => retry_interval: String,
        22 => ip_address: String,
        23 => network: String,
        24 => sin_code: String,
        25 => description: String,
        26 => requestor: String,
        27 => requested: String,
        28 => approver: String,
        29 => approved: String,
        30 => dns_approver: String,
        31 => dns_approved: String,
        32 => disabled: bool,
    }
}

record! {
    /// A MESH mailbox, under its id (mesh.md §1).
    pub struct Mailbox v1 {
        1 => name: String,
        2 => ods: String,
        3 => org_code: String,
        4 => org_name: String,
        /// England, Wales…
        5 => billing: String,
        6 => password: Secret,
        7 => inactive: bool,
        /// The site's own: nobody may send to it (mesh.md §12.5, code 12).
        8 => internal: bool,
        /// The service of the site that what is sent to it is for (`ServiceId`); 0 for none: somebody collects it.
        9 => service: u8,
    }
}

record! {
    /// A MESH workflow, under its id. Who may send and receive it is in rows of their own.
    pub struct Workflow v1 {
        /// Known but open: anyone may use it where enforcement is `restricted` (mesh.md §11.3).
        1 => open: bool,
        2 => senders: u32,
        3 => receivers: u32,
        4 => disabled: bool,
    }
}

record! {
    /// A node of the site, under its number.
    pub struct Member v1 {
        1 => name: String,
        /// Address and port for the other nodes.
        2 => peer: String,
        /// Rises each time the node comes back without its data.
        3 => incarnation: u16,
        /// Address and port of the suppliers' listener.
        4 => supplier: String,
        /// Draining: gives leadership away and takes no new connections.
        5 => draining: bool,
        /// SHA-256 of the node's certificate (DER), lower-case hex.
        6 => certificate: String,
        7 => version: String,
        /// When it joined, milliseconds since the epoch.
        8 => joined: u64,
        /// Taken out of the site; the number is not given again.
        9 => removed: bool,
        /// Address and port of health and metrics.
        10 => metrics: String,
        /// The site that it stands in, where there are several (`sites`).
        11 => site: String,
        /// When its site was given up (`sites`), milliseconds since the epoch; 0: it was not.
        12 => given_up: u64,
        /// SHA-256 of the certificate's public key (DER), lower-case hex: a renewed certificate keeps it.
        20 => key: String,
        /// The highest level that its release knows (`level`); 0 of a release that does not tell: 1.
        21 => level: u32,
    }
}

record! {
    /// A one-time invitation, under the SHA-256 of its token.
    pub struct Invitation v1 {
        /// After this moment it is worth nothing; milliseconds since the epoch.
        1 => expires: u64,
        /// The node number it admits; 0 lets the site choose.
        2 => node: u16,
        3 => name: String,
        4 => used: bool,
    }
}

pub fn organisation_key(ods: &str) -> Key {
    Table::Organisations.key().text(ods)
}
pub fn system_key(asid: &str) -> Key {
    Table::Systems.key().text(asid)
}
pub fn endpoint_key(id: &str) -> Key {
    Table::Endpoints.key().text(id)
}
pub fn certificate_key(fingerprint: &str) -> Key {
    Table::Certificates.key().text(fingerprint)
}
pub fn mailbox_key(mailbox: &str) -> Key {
    Table::Mailboxes.key().text(mailbox)
}
pub fn mailbox_by_ods_key(ods: &str, mailbox: &str) -> Key {
    Table::MailboxesByOds.key().text(ods).text(mailbox)
}
pub fn workflow_key(workflow: &[u8]) -> Key {
    Table::Workflows.key().text(workflow)
}
pub fn sender_key(workflow: &[u8], mailbox: &str) -> Key {
    Table::WorkflowSenders.key().text(workflow).text(mailbox)
}
pub fn receiver_key(workflow: &[u8], mailbox: &str) -> Key {
    Table::WorkflowReceivers.key().text(workflow).text(mailbox)
}
pub fn member_key(node: u16) -> Key {
    Table::Nodes.key().number(u64::from(node))
}
pub fn expelled_key(fingerprint: &str) -> Key {
    Table::ExpelledCertificates.key().text(fingerprint)
}
pub fn invitation_key(token_hash: &str) -> Key {
    Table::Invitations.key().text(token_hash)
}

/// Reads one row as its record. An unreadable row is a fault, never "not there".
pub fn read<R: Record>(reader: &dyn Reader, table: Table, key: Key) -> Result<Option<R>, Fault> {
    match reader.get(&key.build())? {
        Some(bytes) => R::decode(&bytes).map(Some).map_err(|e| Fault::Row(table, e)),
        None => Ok(None),
    }
}

pub fn organisation(site: &dyn Reader, ods: &str) -> Result<Option<Organisation>, Fault> {
    read(site, Table::Organisations, organisation_key(ods))
}
/// Whether the registry has reference data: any organisation whose role is known. Those that an operator registers for
/// certificates and mailboxes alone have none.
pub fn has_reference_data(site: &dyn Reader) -> Result<bool, Fault> {
    Ok(!site.scan(Table::OrganisationRoles.key().prefix(), false, 1)?.is_empty())
}
/// An organisation's name; empty where it is not known.
pub fn org_name(site: &dyn Reader, ods: &str) -> Result<String, Fault> {
    Ok(organisation(site, ods)?.map(|o| o.name).unwrap_or_default())
}
pub fn system(site: &dyn Reader, asid: &str) -> Result<Option<System>, Fault> {
    read(site, Table::Systems, system_key(asid))
}
pub fn endpoint(site: &dyn Reader, id: &str) -> Result<Option<Endpoint>, Fault> {
    read(site, Table::Endpoints, endpoint_key(id))
}
pub fn mailbox(site: &dyn Reader, mailbox: &str) -> Result<Option<Mailbox>, Fault> {
    read(site, Table::Mailboxes, mailbox_key(mailbox))
}
pub fn workflow(site: &dyn Reader, workflow: &[u8]) -> Result<Option<Workflow>, Fault> {
    read(site, Table::Workflows, workflow_key(workflow))
}
pub fn member(site: &dyn Reader, node: u16) -> Result<Option<Member>, Fault> {
    read(site, Table::Nodes, member_key(node))
}
pub fn invitation(site: &dyn Reader, token_hash: &str) -> Result<Option<Invitation>, Fault> {
    read(site, Table::Invitations, invitation_key(token_hash))
}

/// The system that a client certificate belongs to, with its ASID.
pub fn system_of_certificate(site: &dyn Reader, fingerprint: &str) -> Result<Option<(String, System)>, Fault> {
    let Some(asid) = site.get(&certificate_key(fingerprint).build())? else { return Ok(None) };
    let asid = String::from_utf8(asid.into()).map_err(|_| Fault::Row(Table::Certificates, Malformed::Range(0)))?;
    Ok(system(site, &asid)?.map(|system| (asid, system)))
}

/// The organisation that a relationship starts from.
pub fn relationship_source(site: &dyn Reader, id: u64) -> Result<Option<String>, Fault> {
    let Some(ods) = site.get(&Table::Relationships.key().number(id).build())? else { return Ok(None) };
    String::from_utf8(ods.into()).map(Some).map_err(|_| Fault::Row(Table::Relationships, Malformed::Range(0)))
}

/// Whether a mailbox may send a workflow.
pub fn may_send(site: &dyn Reader, workflow: &[u8], mailbox: &str) -> Result<bool, StoreError> {
    Ok(site.get(&sender_key(workflow, mailbox).build())?.is_some())
}

/// Whether a mailbox is registered to receive a workflow.
pub fn may_receive(site: &dyn Reader, workflow: &[u8], mailbox: &str) -> Result<bool, StoreError> {
    Ok(site.get(&receiver_key(workflow, mailbox).build())?.is_some())
}

/// Up to `limit` mailboxes of an organisation, in order of id.
pub fn mailboxes_of(site: &dyn Reader, ods: &str, limit: usize) -> Result<Vec<String>, StoreError> {
    second_parts(site, Table::MailboxesByOds.key().text(ods), limit)
}

/// Up to `limit` mailboxes that may send a workflow, in order of id.
pub fn senders(site: &dyn Reader, workflow: &[u8], limit: usize) -> Result<Vec<String>, StoreError> {
    second_parts(site, Table::WorkflowSenders.key().text(workflow), limit)
}

/// Up to `limit` mailboxes that receive a workflow, in order of id.
pub fn receivers(site: &dyn Reader, workflow: &[u8], limit: usize) -> Result<Vec<String>, StoreError> {
    second_parts(site, Table::WorkflowReceivers.key().text(workflow), limit)
}

/// Up to `limit` rows of a table whose key is one text, from the first after `after`: `(id, record)`.
pub fn list<R: Record>(site: &dyn Reader, table: Table, after: &str, limit: usize) -> Result<Vec<(String, R)>, Fault> {
    let from = if after.is_empty() { table.key().build() } else { table.key().text(after).prefix().end };
    let rows = site.scan(from..table.end(), false, limit)?;
    rows.into_iter()
        .map(|(key, value)| {
            let id = Parts::of(&key).text().ok_or(Fault::Row(table, Malformed::Truncated))?;
            Ok((id, R::decode(&value).map_err(|e| Fault::Row(table, e))?))
        })
        .collect()
}

/// All members, removed ones included, in order of number. A site has tens of nodes, not thousands.
pub fn members(site: &dyn Reader) -> Result<Vec<(u16, Member)>, Fault> {
    const MOST: usize = 4096;
    let rows = site.scan(Table::Nodes.key().prefix(), false, MOST)?;
    rows.into_iter()
        .map(|(key, value)| {
            let number = Parts::of(&key).number().and_then(|n| u16::try_from(n).ok());
            let number = number.ok_or(Fault::Row(Table::Nodes, Malformed::Truncated))?;
            Ok((number, Member::decode(&value).map_err(|e| Fault::Row(Table::Nodes, e))?))
        })
        .collect()
}

/// Certificates and keys of nodes that were taken out of the site, newest ones of a number that is taken included; where the node's
/// site was given up, when that was (milliseconds since the epoch), else 0.
pub fn expelled(site: &dyn Reader) -> Result<Vec<(String, u64)>, Fault> {
    /// More machines than a site ever parts with.
    const MOST: usize = 65_536;
    let rows = site.scan(Table::ExpelledCertificates.key().prefix(), false, MOST)?;
    let text = |key: &Bytes| Parts::of(key).text().ok_or(Fault::Row(Table::ExpelledCertificates, Malformed::Truncated));
    let at = |value: &Bytes| value.as_ref().try_into().map_or(0, u64::from_be_bytes);
    rows.iter().map(|(key, value)| Ok((text(key)?, at(value)))).collect()
}

fn second_parts(site: &dyn Reader, first: Key, limit: usize) -> Result<Vec<String>, StoreError> {
    let rows = site.scan(first.prefix(), false, limit)?;
    Ok(rows
        .iter()
        .filter_map(|(key, _)| {
            let mut parts = Parts::of(key);
            parts.bytes()?;
            parts.text()
        })
        .collect())
}
