//! The audit trail for operators: verify, search, trace (P4). Reading it is itself bounded work (P6).

use super::{Told, fault, moment, rooms};
use crate::{
    audit::{self, Query, Record, Verifier},
    engine::PartitionId,
    node::{Node, rooms::Rooms},
    ops::{
        admin::{AdminError, AdminRequest},
        metrics as names,
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Records looked through for one search; older ones of a very busy id are left out.
const MAX_FOUND: usize = 20_000;
const PAGE: usize = 1_000;

/// Reads every record again, page by page, on this node's own copy.
pub async fn verify(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let only = match r.query("partition") {
        None => None,
        Some(text) => Some(text.parse::<u16>().map_err(|_| AdminError::bad_input("partition is not a number"))?),
    };
    let mut partitions = vec![];
    for partition in rooms.engine.map().all().filter(|p| only.is_none_or(|n| n == p.0)) {
        partitions.push(verify_one(rooms, partition).await?);
    }
    if partitions.is_empty() {
        return Err(AdminError::bad_input("this site has no such partition"));
    }
    let ok = partitions.iter().all(|p| p["ok"] == true);
    if only.is_none() {
        metrics::gauge!(names::AUDIT_VERIFIED).set(node.world.clock.now().0 as f64 / 1000.0);
        metrics::gauge!(names::AUDIT_CHAIN_OK).set(f64::from(u8::from(ok)));
    }
    Ok(json!({"ok": ok, "partitions": partitions}))
}

async fn verify_one(rooms: &Rooms, partition: PartitionId) -> Told {
    let rows = rooms.engine.local(partition);
    let end = rooms.engine.audit_chain(partition).map_err(fault)?;
    let mut verifier = Verifier::new(partition.0, 1, end.sequence, Some(end), rooms.ca.clone());
    while !verifier.step(rows.as_ref()).map_err(fault)?.done {
        // Other work goes on between pages.
        tokio::task::yield_now().await;
    }
    let verdict = verifier.verdict();
    let findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    Ok(json!({
        "partition": partition.0, "records": verdict.records, "heads": verdict.heads, "ok": verdict.is_whole(),
        "result": findings.first().cloned().unwrap_or_else(|| "whole".into()), "findings": findings,
    }))
}

pub async fn search(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let limit = r.query("limit").and_then(|l| l.parse().ok()).unwrap_or(100).clamp(1, MAX_FOUND);
    let id = r.query("object").unwrap_or_default().to_owned();
    if id.is_empty() {
        return Err(AdminError::bad_input("object is missing"));
    }
    let mut found = vec![];
    for partition in rooms.engine.map().all() {
        let rows = rooms.engine.local(partition);
        let (mut before, full) = (u64::MAX, found.len() + limit);
        loop {
            let page = audit::newest_of(rows.as_ref(), &id, before, PAGE.min(full - found.len())).map_err(fault)?;
            found.extend(page.records.into_iter().map(|record| (partition.0, record)));
            match page.next {
                Some(next) if found.len() < full => before = next,
                _ => break,
            }
            tokio::task::yield_now().await;
        }
    }
    found.sort_by_key(|(partition, record)| std::cmp::Reverse((record.at, *partition, record.sequence)));
    found.truncate(limit);
    Ok(json!({"items": found.iter().map(|(p, record)| shown(*p, record)).collect::<Vec<_>>()}))
}

/// Everything that carries the id: as correlation id, or as what was touched.
pub async fn trace(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let id = r.path("id").to_owned();
    let mut hops = find(rooms, &Query { correlation_id: id.clone(), ..Default::default() }).await?;
    hops.extend(find(rooms, &Query { id: id.clone(), ..Default::default() }).await?);
    hops.sort_by_key(|(partition, record)| (record.at, *partition, record.sequence));
    hops.dedup_by_key(|(partition, record)| (*partition, record.sequence));
    let hops: Vec<Value> = hops.iter().map(|(p, record)| shown(*p, record)).collect();
    Ok(json!({"id": id, "hops": hops}))
}

/// Matching records of all partitions, oldest first.
async fn find(rooms: &Rooms, query: &Query) -> Result<Vec<(u16, Record)>, AdminError> {
    let mut found = vec![];
    for partition in rooms.engine.map().all() {
        let rows = rooms.engine.local(partition);
        let mut after = 0;
        loop {
            let page = audit::search(rows.as_ref(), query, after, PAGE).map_err(fault)?;
            found.extend(page.records.into_iter().map(|record| (partition.0, record)));
            match page.next {
                Some(next) if found.len() < MAX_FOUND => after = next,
                _ => break,
            }
            tokio::task::yield_now().await;
        }
    }
    found.sort_by_key(|(partition, record)| (record.at, *partition, record.sequence));
    Ok(found)
}

fn shown(partition: u16, r: &Record) -> Value {
    let who = [&r.user, &r.principal, &r.operator, &r.application, &r.common_name]
        .into_iter()
        .find(|w| !w.is_empty())
        .cloned();
    json!({
        "id": format!("{partition}/{}", r.sequence), "time": moment(r.at), "interaction": r.interaction,
        "outcome": r.outcome, "who": who, "ods": r.ods, "asid": r.asid, "address": r.address, "operator": r.operator,
        "application": r.application, "level": r.level, "user": r.user, "role_profile": r.role_profile,
        "job_role": r.job_role, "session": r.session, "subject": r.subject, "object": r.object, "other": r.other, "purpose": r.purpose, "detail": r.detail, "node": r.node,
        "correlation_id": r.correlation_id, "request_id": r.request_id, "certificate": r.certificate,
    })
}
