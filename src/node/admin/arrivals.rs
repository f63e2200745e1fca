//! Phased arrival, for operators: which organisation's requests to which service are answered here and which are handed on, and how
//! both sides do on this node since it started.

use super::{Told, fault, registers::fresh, rooms};
use crate::{
    edge::tally,
    engine::SITE,
    node::{
        Node,
        report::{self, NodeStatus},
        rooms::Rooms,
    },
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    services::directory::arrival::{self, Found, SERVICES, SetArrival, Side},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Rows of an answer.
const PAGE: usize = 1_000;

/// `GET /v1/arrivals?service&after`: the rows in force, with figures.
pub async fn list(node: Arc<Node>, r: AdminRequest) -> Told {
    let wanted = r.query("service").unwrap_or_default();
    if !wanted.is_empty() {
        known(wanted)?;
    }
    // Where the page before ended: service and organisation.
    let (at, mut after) = r.query("after").and_then(|after| after.split_once(' ')).unwrap_or_default();
    let (site, mut items) = (fresh(&node).await?, vec![]);
    let services = SERVICES.iter().filter(|service| wanted.is_empty() || **service == wanted);
    for service in services.skip_while(|service| !at.is_empty() && **service != at) {
        let rows = arrival::page(&site, service, std::mem::take(&mut after), PAGE - items.len()).map_err(fault)?;
        items.extend(rows.iter().map(|found| told(&node, service, &found.party, found)));
        if items.len() >= PAGE {
            break;
        }
    }
    let next = items.last().filter(|_| items.len() >= PAGE).map(|item| item["id"].clone());
    Ok(json!({"items": items, "next": next}))
}

/// `GET /v1/arrivals/{service}/{party}`: where an organisation's requests are answered, by its own row or everybody's.
pub async fn show_one(node: Arc<Node>, r: AdminRequest) -> Told {
    let service = known(r.path("service"))?;
    let party = r.path("party").trim().to_uppercase();
    let found = arrival::found(&fresh(&node).await?, service, Some(&party)).map_err(fault)?;
    Ok(told(&node, service, &party, &found))
}

/// `PUT /v1/arrivals/{service}/{party}?dry_run`: `{"to": "local" | "relay" | "none", "hold": false}`.
pub async fn put(node: Arc<Node>, r: AdminRequest) -> Told {
    let service = known(r.path("service"))?;
    let party = r.path("party").trim().to_uppercase();
    let side = match r.body["to"].as_str().unwrap_or_default() {
        "local" => Side::Local as u8,
        "relay" => Side::Relay as u8,
        "none" => 0,
        other => return Err(AdminError::bad_input(format!("{other:?} is none of local, relay and none"))),
    };
    let hold = r.body["hold"] == true;
    let mut silent = vec![];
    if side == Side::Relay as u8 {
        silent = configured(&node, service).await?;
    }
    let before = arrival::found(&fresh(&node).await?, service, Some(&party)).map_err(fault)?;
    let mut changed = false;
    if !r.flag("dry_run") {
        let command = SetArrival { service: service.into(), ods: party.clone(), side, hold, ..Default::default() };
        let reply = report::submit(rooms(&node)?, r.caller.operator.clone(), command.into()).await.map_err(fault)?;
        if !reply.is_done() {
            return Err(AdminError::bad_input(reply.text));
        }
        changed = reply.changed;
    }
    let found = arrival::found(&fresh(&node).await?, service, Some(&party)).map_err(fault)?;
    let mut shown = told(&node, service, &party, &found);
    (shown["was"], shown["changed"]) = (json!(before.side.word()), json!(changed));
    if !silent.is_empty() {
        shown["unheard"] = json!(silent.join(", "));
    }
    Ok(shown)
}

/// Each node hands on what it is asked, so each must have an address. Those that do not answer now are named: a site that has
/// lost a machine can still move, and `spine status` tells should one come back without.
async fn configured(node: &Node, service: &str) -> Result<Vec<String>, AdminError> {
    let rooms = rooms(node)?;
    let told = report::gather(node, rooms).await;
    let without: Vec<&str> = told.values().filter(|told| lacks(told, service)).map(|told| told.name.as_str()).collect();
    if without.is_empty() {
        let members: BTreeSet<u16> =
            rooms.groups.iter().flat_map(|group| group.members()).map(|member| member.id.node().0).collect();
        let silent = members.into_iter().filter(|number| !told.contains_key(number));
        return Ok(silent.map(|number| format!("node {number}")).collect());
    }
    let why = format!("upstream.{service} is empty in the configuration of {}", without.join(", "));
    let error = AdminError::of(&codes::ARRIVAL_NO_UPSTREAM, codes::ARRIVAL_NO_UPSTREAM.words, why);
    let fix = format!(
        "set upstream.{service}, upstream.ca, upstream.cert and upstream.key on every node, then `spine config reload` \
         on each"
    );
    Err(error.with_fix(fix))
}

fn lacks(told: &NodeStatus, service: &str) -> bool {
    !told.upstreams.iter().any(|known| known == service)
}

/// Nodes that answer, with what is handed on there without an address: their clients hear SPN-1032.
pub(super) fn missing(rooms: &Rooms, told: &BTreeMap<u16, NodeStatus>) -> Vec<String> {
    let site = rooms.engine.local(SITE);
    let handed_on = |service: &str| arrival::is_handed_on(site.as_ref(), service).unwrap_or(false);
    let mut all = vec![];
    for service in SERVICES {
        let without: Vec<&str> = told.values().filter(|told| lacks(told, service)).map(|t| t.name.as_str()).collect();
        if !without.is_empty() && handed_on(service) {
            let (nodes, code) = (without.join(", "), codes::UPSTREAM_MISSING.code);
            all.push(format!("{service} is handed on, and upstream.{service} is empty on {nodes} ({code})"));
        }
    }
    all
}

fn known(service: &str) -> Result<&'static str, AdminError> {
    let found = SERVICES.iter().find(|known| **known == service);
    let why = || AdminError::bad_input(format!("{service:?} is none of {}", SERVICES.join(", ")));
    found.copied().ok_or_else(why)
}

/// One line: the side, the address, and how both sides do.
fn told(node: &Node, service: &str, party: &str, found: &Found) -> Value {
    let relays = node.front.get().map(|front| front.relays.clone());
    let both = relays.as_ref().and_then(|relays| relays.tallies.get(service, party));
    let figures = |side| {
        let told = both.as_ref().map(|both| both.told(side)).unwrap_or_default();
        let tally::Told { requests, refused, errors, p50, p99 } = told;
        json!({"requests": requests, "refused": refused, "errors": errors, "p50_ms": p50, "p99_ms": p99})
    };
    json!({
        "id": format!("{service} {party}"),
        "service": service,
        "party": party,
        "to": found.side.word(),
        "hold": found.hold,
        "by": found.party,
        "upstream": relays.and_then(|relays| relays.address(service)).unwrap_or_default(),
        "local": figures(Side::Local),
        "relay": figures(Side::Relay),
    })
}
