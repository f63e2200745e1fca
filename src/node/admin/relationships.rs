//! A patient's legitimate relationships, for operators: the service's own commands, decided and recorded as anyone's.

use super::{Told, rooms, unavailable};
use crate::{
    engine::{Command, services},
    model::NhsNumber,
    node::Node,
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    services::relationships::command::{Change, Find, RelationshipCommand, Reply, act, find},
};
use serde_json::Value;
use std::sync::Arc;

pub async fn list(node: Arc<Node>, r: AdminRequest) -> Told {
    let id = r.query("after").unwrap_or_default().to_owned();
    let nhs = patient(&r)?;
    submit(&node, &r, nhs, Find { nhs: nhs.value(), what: find::LIST, id, ..Default::default() }.into()).await
}

pub async fn show_one(node: Arc<Node>, r: AdminRequest) -> Told {
    let (nhs, id) = (patient(&r)?, r.path("id").to_owned());
    submit(&node, &r, nhs, Find { nhs: nhs.value(), what: find::SHOW, id, ..Default::default() }.into()).await
}

/// `{"reason": "…", "immediately": true}`.
pub async fn close(node: Arc<Node>, r: AdminRequest) -> Told {
    let (nhs, id) = (patient(&r)?, r.path("id").to_owned());
    let change = Change {
        nhs: nhs.value(),
        id,
        what: act::CLOSE,
        reason: r.body["reason"].as_str().unwrap_or_default().into(),
        now: r.body["immediately"] == true,
        ..Default::default()
    };
    submit(&node, &r, nhs, change.into()).await
}

fn patient(r: &AdminRequest) -> Result<NhsNumber, AdminError> {
    NhsNumber::parse(r.path("nhs")).ok_or_else(|| AdminError::bad_input("the patient's number is no NHS number"))
}

async fn submit(node: &Node, r: &AdminRequest, nhs: NhsNumber, command: RelationshipCommand) -> Told {
    let command = Command {
        service: services::RELATIONSHIPS.0,
        key: nhs.digits().into(),
        payload: command.encode(),
        caller: r.caller.clone(),
        ..Default::default()
    };
    let outcome = rooms(node)?.engine.submit(command).await.map_err(unavailable)?;
    let reply = Reply::of(&outcome.reply).map_err(super::fault)?;
    let body: Value = serde_json::from_slice(&reply.body).map_err(super::fault)?;
    let why = body["message"].as_str().unwrap_or_default();
    match reply.status {
        200 | 201 => Ok(body),
        404 => Err(AdminError::of(&codes::CLI_NOT_FOUND, "there is no such relationship", why).with_exit(6)),
        _ => Err(AdminError::bad_input(why)),
    }
}
