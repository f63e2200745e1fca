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

/// PDS (spec/pds.md §1). Which mode may do what is the service's own table (§2), read off the caller.
pub const PDS: &[Rule] = &[
    any("pds.ping", "pds.md §3.3"),
    any("pds.not_found", "pds.md §1"),
    any("pds.not_supported", "pds.md §1"),
    approved("pds.status", "pds.md §3.3"),
    approved("pds.retrieve", "pds.md §7"),
    approved("pds.search", "pds.md §8"),
    approved("pds.update", "pds.md §9"),
    approved("pds.create", "pds.md §10"),
    approved("pds.birth", "pds.md §11"),
    approved("pds.related", "pds.md §12"),
    approved("pds.coverage", "pds.md §13"),
    approved("pds.coverage_set", "pds.md §13"),
];
