//! Finding mailboxes in the registry: by organisation and workflow, by workflow, by id (mesh.md §11.1, §15).

use super::{
    Response,
    answer::{json, problem},
    command::Reply,
    refusal::{JSON_V1, plain},
};
use crate::{
    engine::draft::Fault, model::time, services::directory::rows as registry, store::Reader, wire::mesh::json::Json,
};
use bytes::Bytes;

/// Mailboxes of one organisation that are looked at; the largest have some hundreds.
const MAX_MAILBOXES: usize = 1000;
/// Receivers in one answer. England has some seven thousand practices, each with a mailbox.
const MAX_RECEIVERS: usize = 10_000;

/// Mailboxes of an organisation that receive a workflow.
pub fn endpoints(site: &dyn Reader, ods: &str, workflow: &str, version: u8, reply: &Reply) -> Result<Bytes, Fault> {
    let (ods, workflow) = (ods.trim(), workflow.trim());
    let mut list = Json::array();
    for id in registry::mailboxes_of(site, ods, MAX_MAILBOXES)? {
        if !registry::may_receive(site, workflow.as_bytes(), &id)? {
            continue;
        }
        if let Some(row) = registry::mailbox(site, &id)?.filter(|row| !row.inactive) {
            let mut line = Json::object();
            if version < 2 {
                line.text("address", &id).text("description", &row.name).text("endpoint_type", "MESH");
            } else {
                line.text("mailbox_id", &id).text("mailbox_name", &row.name);
            }
            list.raw_item(&line.end());
        }
    }
    let mut body = Json::object();
    if version < 2 {
        let query_id =
            format!("{}000000_{:06X}_{}", time::compact(reply.now), reply.count & 0xff_ffff, reply.now / 1000);
        body.text("query_id", &query_id);
    }
    body.raw("results", &list.end());
    Ok(body.end())
}

/// All mailboxes that receive a workflow; the same in both versions.
pub fn workflow(site: &dyn Reader, workflow: &str) -> Result<Bytes, Fault> {
    let mut list = Json::array();
    for id in registry::receivers(site, workflow.trim().as_bytes(), MAX_RECEIVERS)? {
        if let Some(row) = registry::mailbox(site, &id)?.filter(|row| !row.inactive) {
            let mut line = Json::object();
            line.text("mailbox_id", &id).text("mailbox_name", &row.name);
            list.raw_item(&line.end());
        }
    }
    let mut body = Json::object();
    body.raw("results", &list.end());
    Ok(body.end())
}

/// A mailbox's details, without its password.
pub fn mailbox(site: &dyn Reader, id: &str) -> Result<Response, Fault> {
    let Some(row) = registry::mailbox(site, id)? else { return Ok(problem(&plain(404, "Not Found"), 1)) };
    let mut body = Json::object();
    body.text("mailbox_id", id)
        .text("mailbox_name", &row.name)
        .text("billing_entity", &row.billing)
        .text("ods_code", &row.ods)
        .text("org_code", &row.org_code)
        .text("org_name", &row.org_name)
        .truth("active", !row.inactive);
    Ok(json(200, JSON_V1, body.end()))
}
