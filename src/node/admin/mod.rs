//! What operators can ask a node over its admin socket, by group: status, cluster and node, registers, outbox, audit.
//!
//! Who may connect is the socket's file mode; the kernel says who it is, and the audit trail keeps it.

mod applications;
mod arrivals;
mod audit;
mod backup;
mod baselines;
mod busiest;
mod cluster;
mod import;
mod issuers;
mod outbox;
mod people;
mod people_out;
mod promote;
mod registers;
mod registration;
mod relationships;
mod signing_keys;
mod sites;
mod status;
mod testdata;
mod traces;
mod upgrade;
mod users;

use super::{Node, rooms::Rooms};
use crate::{
    engine::Unavailable,
    ops::{
        admin::{AdminError, AdminRequest, AdminRouter},
        codes,
    },
};
use http::Method;
use serde_json::Value;
use std::{future::Future, sync::Arc};

type Told = Result<Value, AdminError>;

/// Every operation.
pub fn router(node: &Arc<Node>) -> AdminRouter {
    let mut router = AdminRouter::new();
    let r = &mut router;
    add(r, node, Method::GET, "/v1/status", status::status);
    add(r, node, Method::GET, "/v1/config", status::config);
    add(r, node, Method::POST, "/v1/config/reload", status::reload);
    add(r, node, Method::GET, "/v1/cluster", status::cluster);
    add(r, node, Method::GET, "/v1/cluster/hashes", cluster::hashes);
    add(r, node, Method::POST, "/v1/cluster/hand-over", cluster::hand_over);
    add(r, node, Method::POST, "/v1/cluster/invite", cluster::invite);
    add(r, node, Method::POST, "/v1/node/drain", cluster::drain);
    add(r, node, Method::POST, "/v1/node/undrain", cluster::undrain);
    add(r, node, Method::POST, "/v1/node/add", cluster::add);
    add(r, node, Method::POST, "/v1/node/remove", cluster::remove);
    add(r, node, Method::POST, "/v1/node/replace", cluster::replace);
    add(r, node, Method::GET, "/v1/sites", sites::show);
    add(r, node, Method::POST, "/v1/sites/cutover", sites::cutover);
    add(r, node, Method::POST, "/v1/sites/promote", promote::promote);
    add(r, node, Method::GET, "/v1/outbox", outbox::list);
    add(r, node, Method::POST, "/v1/outbox/{id}/retry", outbox::retry);
    add(r, node, Method::POST, "/v1/outbox/{id}/drop", outbox::give_up);
    add(r, node, Method::GET, "/v1/audit/verify", audit::verify);
    add(r, node, Method::GET, "/v1/audit/search", audit::search);
    add(r, node, Method::GET, "/v1/audit/record", audit::show);
    add(r, node, Method::GET, "/v1/audit/heads", audit::heads);
    add(r, node, Method::GET, "/v1/audit/export", audit::export);
    add(r, node, Method::GET, "/v1/trace/{id}", audit::trace);
    add(r, node, Method::GET, "/v1/busiest", busiest::parties);
    add(r, node, Method::POST, "/v1/backups", backup::begin);
    add(r, node, Method::GET, "/v1/backups", backup::show);
    add(r, node, Method::POST, "/v1/backups/verified", backup::verified);
    add(r, node, Method::GET, "/v1/upgrade", upgrade::show);
    add(r, node, Method::POST, "/v1/upgrade/finalise", upgrade::finalise);
    registers(r, node);
    router
}

/// What is registered: parties, mailboxes, applications, people.
fn registers(r: &mut AdminRouter, node: &Arc<Node>) {
    add(r, node, Method::GET, "/v1/parties", registers::list_parties);
    add(r, node, Method::GET, "/v1/parties/{id}", registers::show_party);
    add(r, node, Method::PUT, "/v1/parties/{id}", registers::put_party);
    add(r, node, Method::POST, "/v1/registry/import", import::import);
    add(r, node, Method::GET, "/v1/mailboxes", registers::list_mailboxes);
    add(r, node, Method::GET, "/v1/mailboxes/{id}", registers::show_mailbox);
    add(r, node, Method::PUT, "/v1/mailboxes/{id}", registers::put_mailbox);
    add(r, node, Method::GET, "/v1/workflows", registers::list_workflows);
    add(r, node, Method::GET, "/v1/workflows/{id}", registers::show_workflow);
    add(r, node, Method::PUT, "/v1/workflows/{id}", registers::put_workflow);
    add(r, node, Method::GET, "/v1/applications", applications::list);
    add(r, node, Method::GET, "/v1/applications/{id}", applications::show_one);
    add(r, node, Method::PUT, "/v1/applications/{id}", applications::put);
    add(r, node, Method::POST, "/v1/people", people::import);
    add(r, node, Method::GET, "/v1/users", users::list);
    add(r, node, Method::POST, "/v1/users", users::add);
    add(r, node, Method::GET, "/v1/users/{id}", users::show_one);
    add(r, node, Method::PUT, "/v1/users/{id}", users::put);
    add(r, node, Method::POST, "/v1/users/{id}/passkey", users::invite_passkey);
    add(r, node, Method::POST, "/v1/users/{id}/roles", users::put_role);
    add(r, node, Method::PUT, "/v1/users/{id}/roles/{urp}", users::put_role);
    add(r, node, Method::POST, "/v1/users/{id}/roles/{urp}/end", users::end_role);
    add(r, node, Method::GET, "/v1/relationships/{nhs}", relationships::list);
    add(r, node, Method::GET, "/v1/relationships/{nhs}/{id}", relationships::show_one);
    add(r, node, Method::POST, "/v1/relationships/{nhs}/{id}/close", relationships::close);
    add(r, node, Method::GET, "/v1/registration-rules", registration::show_rules);
    add(r, node, Method::PUT, "/v1/registration-rules", registration::put_rules);
    add(r, node, Method::GET, "/v1/registrations", registration::list);
    add(r, node, Method::POST, "/v1/registrations", registration::apply);
    add(r, node, Method::GET, "/v1/registrations/{id}", registration::show_one);
    add(r, node, Method::POST, "/v1/registrations/{id}/{step}", registration::step);
    add(r, node, Method::GET, "/v1/signing-keys", signing_keys::list);
    add(r, node, Method::POST, "/v1/signing-keys", signing_keys::rotate);
    add(r, node, Method::GET, "/v1/issuers", issuers::list);
    add(r, node, Method::PUT, "/v1/issuers", issuers::put);
    add(r, node, Method::GET, "/v1/arrivals", arrivals::list);
    add(r, node, Method::GET, "/v1/arrivals/{service}/{party}", arrivals::show_one);
    add(r, node, Method::PUT, "/v1/arrivals/{service}/{party}", arrivals::put);
    add(r, node, Method::GET, "/v1/baselines", baselines::list);
    add(r, node, Method::PUT, "/v1/baselines/{job}", baselines::put);
    add(r, node, Method::GET, "/v1/traces", traces::list);
    add(r, node, Method::GET, "/v1/testdata/clock", testdata::clock);
    add(r, node, Method::POST, "/v1/testdata/clock", testdata::advance);
    add(r, node, Method::POST, "/v1/people/export", people_out::export);
    add(r, node, Method::GET, "/v1/people/{nhs}", people_out::show);
}

fn add<F, R>(router: &mut AdminRouter, node: &Arc<Node>, method: Method, pattern: &'static str, handler: F)
where
    F: Fn(Arc<Node>, AdminRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Told> + Send + 'static,
{
    let node = node.clone();
    router.route(method, pattern, move |request| handler(node.clone(), request));
}

/// The rooms, once they are open.
fn rooms(node: &Node) -> Result<&Rooms, AdminError> {
    let starting = || {
        let (waits, fix) = match node.waits() {
            waits if waits.is_empty() => ("its rooms are being opened".into(), "wait until /readyz says ok"),
            waits => (format!("it {waits}"), "see `spine explain SPN-3006`"),
        };
        AdminError::of(&codes::CLI_NOT_READY, "the node is still starting", waits).with_fix(fix).with_exit(4)
    };
    node.rooms.get().ok_or_else(starting)
}

/// A command or read that got no answer.
fn unavailable(e: Unavailable) -> AdminError {
    match e {
        Unavailable::Fault(why) => {
            tracing::error!(event = "admin.fault", why, "an operator's request met a fault");
            AdminError::of(&codes::FAULT, codes::FAULT.words, "the cause is in the node's log")
        }
        other => AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, other.to_string()),
    }
}

/// Stored rows that cannot be read: for the log; the operator is sent there.
fn fault(e: impl std::fmt::Display) -> AdminError {
    unavailable(Unavailable::Fault(e.to_string()))
}

/// A moment as people and scripts read it: RFC 3339, UTC.
fn moment(millis: u64) -> String {
    jiff::Timestamp::from_millisecond(millis as i64).map(|t| t.to_string()).unwrap_or_default()
}
