//! The calendar of a test site's prescriptions, for operators: how far it is ahead, and forward by days, so that expiry, the
//! next issue and what else takes months can be seen in a minute (spec/eps.md §18). Refused on live sites.

use super::{Told, fault, registers::fresh, rooms, unavailable};
use crate::{
    engine::{Command, Engine, PartitionId, SITE, services},
    model::{Environment, day},
    node::Node,
    ops::admin::{AdminError, AdminRequest},
    services::eps::{
        clock::uk_day,
        command::{Advance, EpsCommand, Reply, Sweep},
        rows,
    },
};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;

/// Furthest that a calendar may be ahead, in days: every prescription's work is over by then.
const FURTHEST: u64 = 3_650;

pub async fn clock(node: Arc<Node>, _: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    told(&node, rows::days_ahead(&site).map_err(fault)?)
}

/// `{"days": 30}`: that many days further.
pub async fn advance(node: Arc<Node>, r: AdminRequest) -> Told {
    if node.settings.environment == Environment::Live {
        return Err(AdminError::bad_input("this site is live: its calendar is everybody's"));
    }
    let Some(days) = r.body["days"].as_u64().filter(|days| *days <= FURTHEST) else {
        return Err(AdminError::bad_input(format!("days is a number of 0 to {FURTHEST}")));
    };
    let ahead = u64::from(rows::days_ahead(&fresh(&node).await?).map_err(fault)?) + days;
    if ahead > FURTHEST {
        return Err(AdminError::bad_input(format!("the calendar would be {ahead} days ahead; at most {FURTHEST}")));
    }
    let engine = &rooms(&node)?.engine;
    let ahead = ahead as u32;
    submit(engine, &r, Bytes::new(), Advance { days: ahead, ..Default::default() }.into()).await?;
    for partition in engine.map().all().filter(|partition| *partition != SITE) {
        let key = key_in(engine, partition)?;
        let sweep = || Sweep { ahead, ..Default::default() };
        while submit(engine, &r, key.clone(), sweep().into()).await?.more {}
    }
    told(&node, ahead)
}

fn told(node: &Node, ahead: u32) -> Told {
    let now = node.world.clock.now().0;
    let today = uk_day(now + u64::from(ahead) * 86_400_000);
    Ok(json!({"days_ahead": ahead, "today": day::text(today)}))
}

async fn submit(engine: &Engine, r: &AdminRequest, key: Bytes, command: EpsCommand) -> Result<Reply, AdminError> {
    let command = Command {
        service: services::EPS.0,
        key,
        payload: command.encode(),
        caller: r.caller.clone(),
        ..Default::default()
    };
    let outcome = engine.submit(command).await.map_err(unavailable)?;
    Reply::of(&outcome.reply).map_err(fault)
}

/// A key that lies in the partition.
fn key_in(engine: &Engine, partition: PartitionId) -> Result<Bytes, AdminError> {
    let keys = (0..100_000u32).map(|n| Bytes::from(format!("sweep/{n}")));
    let found = keys.into_iter().find(|key| engine.map().of(key) == partition);
    found.ok_or_else(|| fault("no key of the first hundred thousand lies in a partition"))
}
