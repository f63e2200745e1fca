//! The access rules of every interaction, one row each (P5). The gate does not start without a row for each name.

use super::gate::{Admits, Rule};

const fn any(interaction: &'static str, spec: &'static str) -> Rule {
    Rule { interaction, admits: Admits::AnyCertificate, spec }
}
const fn approved(interaction: &'static str, spec: &'static str) -> Rule {
    Rule { interaction, admits: Admits::ApprovedSystem, spec }
}

/// MESH (spec/mesh.md). The certificate proves an approved system; the Authorization header names the mailbox, and
/// the service checks it where the mailbox lives.
pub const MESH: &[Rule] = &[
    any("mesh.ping", "mesh.md §15"),
    any("mesh.not_found", "mesh.md §5"),
    any("mesh.method_not_allowed", "mesh.md §5"),
    approved("mesh.handshake", "mesh.md §6.1"),
    approved("mesh.update", "mesh.md §15"),
    approved("mesh.list", "mesh.md §6.2"),
    approved("mesh.count", "mesh.md §6.3"),
    approved("mesh.download", "mesh.md §6.4"),
    approved("mesh.head", "mesh.md §6.5"),
    approved("mesh.acknowledge", "mesh.md §6.6"),
    approved("mesh.send", "mesh.md §6.7"),
    approved("mesh.send_chunk", "mesh.md §6.8"),
    approved("mesh.inbox_rich", "mesh.md §6.9"),
    approved("mesh.outbox_rich", "mesh.md §6.9"),
    approved("mesh.track", "mesh.md §10"),
    approved("mesh.track_local", "mesh.md §10"),
    approved("mesh.lookup", "mesh.md §11.1"),
    approved("mesh.workflow_search", "mesh.md §11.1"),
    approved("mesh.mailbox", "mesh.md §15"),
    approved("mesh.admin_reset", "mesh.md §15"),
    approved("mesh.admin_report", "mesh.md §15"),
    approved("mesh.admin_event", "mesh.md §15"),
    approved("mesh.admin_mailbox", "mesh.md §15"),
    approved("mesh.admin_message", "mesh.md §15"),
];

/// The directory (spec/directory.md): reference data, no patient's, for every application.
pub const DIRECTORY: &[Rule] = &[
    any("directory.sds.device", "directory.md §A.1"),
    any("directory.sds.endpoint", "directory.md §A.2"),
    any("directory.sds.health", "directory.md §A.5"),
    any("directory.sds.other", "directory.md §A.5"),
    any("directory.fhir.organization", "directory.md §C.1"),
    any("directory.fhir.affiliation", "directory.md §C.1"),
    any("directory.fhir.other", "directory.md §C.1"),
    any("directory.stu3.organization", "directory.md §C.2"),
    any("directory.ord.organisations", "directory.md §C.4"),
    any("directory.ord.lists", "directory.md §C.4"),
    any("directory.ord.sync", "directory.md §C.4"),
    any("directory.ord.other", "directory.md §C.4"),
];

/// The directory's LDAP face. A certificate is no secret of the client's organisation: registered systems only.
pub const LDAP: &[Rule] = &[
    approved("directory.ldap.bind", "directory.md §B"),
    approved("directory.ldap.search", "directory.md §B.2"),
    approved("directory.ldap.compare", "directory.md §B"),
    approved("directory.ldap.other", "directory.md §B"),
];
