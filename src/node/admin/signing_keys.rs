//! The keys that ID tokens are signed with, for operators: which there are, and a new one in the place of the old
//! (docs/decisions/signing-keys.md).

use super::{Told, fault, moment, registers::fresh, rooms};
use crate::{
    node::{Node, report, signing::make},
    ops::admin::{AdminError, AdminRequest},
    services::directory::signing::{self, AddSigningKey, LEAST_LEAD_MS, LONGEST_LEAD_MS, SigningKey},
    store::Reader,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn list(node: Arc<Node>, _: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    Ok(json!({"items": told(&site, node.world.clock.now().0)?}))
}

/// `{"after_ms": 3600000, "alone": false}`: a key is made here, and published by the registry.
pub async fn rotate(node: Arc<Node>, r: AdminRequest) -> Told {
    let alone = r.body["alone"] == true;
    let lead = r.body["after_ms"].as_u64().unwrap_or_default();
    if !alone && !(LEAST_LEAD_MS..=LONGEST_LEAD_MS).contains(&lead) {
        return Err(AdminError::bad_input("a key signs one minute to 30 days after it was published"));
    }
    if !r.flag("dry_run") {
        let key = tokio::task::spawn_blocking(make).await.map_err(fault)?.map_err(fault)?;
        let command = AddSigningKey { key, lead, alone, ..Default::default() };
        let reply = report::submit(rooms(&node)?, r.caller.operator.clone(), command.into()).await;
        let reply = reply.map_err(fault)?;
        if !reply.is_done() {
            return Err(AdminError::bad_input(reply.text));
        }
    }
    let site = fresh(&node).await?;
    Ok(json!({"dry_run": r.flag("dry_run"), "items": told(&site, node.world.clock.now().0)?}))
}

/// Keys in the order in which they sign, the last first.
fn told(site: &dyn Reader, now_ms: u64) -> Result<Vec<Value>, AdminError> {
    let all = signing::keys(site).map_err(fault)?;
    let signs = signing::signs(site, now_ms).map_err(fault)?.map(|(kid, _)| kid);
    let until = signing::published_until(&all);
    let one = |((kid, key), until): (&(String, SigningKey), Option<u64>)| {
        let state = match signs.as_ref() == Some(kid) {
            true => "signs",
            false if key.from() > now_ms => "published",
            false => "replaced",
        };
        json!({
            "kid": kid, "state": state, "made": moment(key.made), "signs_from": moment(key.from()),
            "published_until": until.map(moment),
        })
    };
    Ok(all.iter().zip(until).map(one).collect())
}
