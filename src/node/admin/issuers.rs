//! Trusted providers of citizens' log-ins, for operators (spec/identity.md §2.6).

use super::{Told, fault, registers::fresh, rooms};
use crate::{
    node::{Node, report},
    ops::admin::{AdminError, AdminRequest},
    services::directory::{
        applications::PublicKey,
        issuers::{CitizenIssuer, MAX_ISSUERS, SetIssuer},
        rows,
    },
    store::{Reader, tables::Table},
    wire::jwt::key_set,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn list(node: Arc<Node>, _: AdminRequest) -> Told {
    Ok(json!({"items": told(&fresh(&node).await?)?}))
}

/// `{"issuer": "https://…", "jwks": "…", "remove": false}`.
pub async fn put(node: Arc<Node>, r: AdminRequest) -> Told {
    let text = |name: &str| r.body[name].as_str().unwrap_or_default();
    let remove = r.body["remove"] == true;
    let keys = if remove { vec![] } else { keys(text("jwks"))? };
    let command = SetIssuer { issuer: text("issuer").to_owned(), keys, remove, ..Default::default() };
    let reply = report::submit(rooms(&node)?, r.caller.operator.clone(), command.into()).await.map_err(fault)?;
    if !reply.is_done() {
        return Err(AdminError::bad_input(reply.text));
    }
    Ok(json!({"changed": reply.changed, "items": told(&fresh(&node).await?)?}))
}

/// A set as providers publish it: both algorithms may be named, of which the token says one (spec/identity.md §5).
fn keys(text: &str) -> Result<Vec<PublicKey>, AdminError> {
    let mut set: Value = serde_json::from_str(text).map_err(|_| AdminError::bad_input("the key set is no JSON"))?;
    for key in set["keys"].as_array_mut().into_iter().flatten() {
        if let Some(key) = key.as_object_mut().filter(|key| key.get("alg").is_some_and(|alg| alg == "RS256")) {
            key.remove("alg");
        }
    }
    let keys = key_set(&set.to_string()).map_err(|bad| AdminError::bad_input(bad.to_string()))?;
    Ok(keys.into_iter().map(PublicKey::from).collect())
}

fn told(site: &dyn Reader) -> Result<Vec<Value>, AdminError> {
    let all = rows::list::<CitizenIssuer>(site, Table::CitizenIssuers, "", MAX_ISSUERS).map_err(fault)?;
    let kids = |row: &CitizenIssuer| row.keys.iter().map(|key| key.kid.clone()).collect::<Vec<_>>();
    Ok(all.iter().map(|(issuer, row)| json!({"issuer": issuer, "kids": kids(row)})).collect())
}
