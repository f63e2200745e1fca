//! Activities that job roles have by themselves, for operators (spec/identity.md §6.4).

use super::{Told, fault, registers::fresh, rooms};
use crate::{
    node::{Node, report},
    ops::admin::{AdminError, AdminRequest},
    services::directory::users::baseline::{self, PUBLISHED, SetBaseline},
    store::Reader,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Most rows that are listed.
const MOST: usize = 10_000;

pub async fn list(node: Arc<Node>, _: AdminRequest) -> Told {
    Ok(json!({"items": told(&fresh(&node).await?)?}))
}

/// `{"area": "Pharmacy", "activities": ["B0570"], "reset": false}`.
pub async fn put(node: Arc<Node>, r: AdminRequest) -> Told {
    let activities = r.body["activities"].as_array().into_iter().flatten();
    let command = SetBaseline {
        job: r.path("job").to_owned(),
        area: r.body["area"].as_str().unwrap_or_default().to_owned(),
        activities: activities.filter_map(|a| a.as_str().map(str::to_owned)).collect(),
        reset: r.body["reset"] == true,
        ..Default::default()
    };
    let reply = report::submit(rooms(&node)?, r.caller.operator.clone(), command.into()).await.map_err(fault)?;
    if !reply.is_done() {
        return Err(AdminError::bad_input(reply.text));
    }
    Ok(json!({"changed": reply.changed, "items": told(&fresh(&node).await?)?}))
}

/// What holds: what operators set, and what is published where they set nothing.
fn told(site: &dyn Reader) -> Result<Vec<Value>, AdminError> {
    let set = baseline::rows(site, None, MOST).map_err(fault)?;
    let published = PUBLISHED
        .iter()
        .filter(|piece| !set.iter().any(|(job, area, _)| job == piece.job && area.eq_ignore_ascii_case(piece.area)));
    let mut items: Vec<Value> = published
        .map(|p| json!({"job": p.job, "area": p.area, "activities": p.activities, "from": "published"}))
        .collect();
    items.extend(
        set.iter().map(|(job, area, a)| json!({"job": job, "area": area, "activities": a, "from": "operator"})),
    );
    items.sort_by_key(|item| (item["job"].to_string(), item["area"].to_string()));
    Ok(items)
}
