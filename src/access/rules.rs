//! The access rules of every interaction, one row each (P5). The gate does not start without a row for each name.

use super::gate::{Admits, Rule};

const fn any(interaction: &'static str, spec: &'static str) -> Rule {
    Rule { interaction, admits: Admits::AnyCertificate, spec }
}
const fn approved(interaction: &'static str, spec: &'static str) -> Rule {
    Rule { interaction, admits: Admits::ApprovedSystem, spec }
}

/// Open to anyone.
const fn open(interaction: &'static str, spec: &'static str) -> Rule {
    Rule { interaction, admits: Admits::Anyone, spec }
}

/// Holders of an access token (or key) with one of these scopes; with none listed, of any access token.
const fn holders(interaction: &'static str, scopes: &'static [&'static str], spec: &'static str) -> Rule {
    Rule { interaction, admits: Admits::Holders { scopes, activities: &[] }, spec }
}

/// The API listener's own names.
pub const API: &[Rule] = &[open("api.not_found", "identity.md §3")];

/// The token service (spec/identity.md §3). Whoever asks for a token proves itself within the request, to the service.
pub const IDENTITY: &[Rule] = &[
    open("identity.token", "identity.md §3"),
    open("identity.revoke", "RFC 7009"),
    open("identity.introspect", "RFC 7662"),
    holders("identity.userinfo", &[], "identity.md §4.4"),
    open("identity.ping", "identity.md §3"),
    open("identity.status", "identity.md §3"),
    open("identity.method_not_allowed", "identity.md §3"),
    open("identity.not_found", "identity.md §3"),
];

/// Every table, under the listener that it is for: what `spine role matrix` prints and the tests go through.
pub const ALL: &[(&str, &[Rule])] = &[("suppliers", MESH), ("api", API), ("api", IDENTITY)];

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
