//! The audit trail for operators: verify, search, trace (P4). Reading it is itself bounded work (P6).

use super::{Told, fault, moment, rooms, unavailable};
use crate::{
    audit::{self, Begin, Head, Query, Record, Seal, Verifier, head_key, record_key},
    engine::{Command, PartitionId, services},
    model::NhsNumber,
    node::{Node, rooms::Rooms, signer::NodeSigner},
    ops::{
        admin::{AdminError, AdminRequest},
        codes, metrics as names,
    },
    seam::World,
    services::trail::command::{Shown, TrailCommand},
    wire::{jwt::to_base64url, record::Record as _},
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Records looked through for one search; older ones of a very busy id are left out.
const MAX_FOUND: usize = 20_000;
const PAGE: usize = 1_000;
/// How often a chain is read again because its first records expired meanwhile.
const MOST_TRIES: u8 = 3;

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
    let begun = || Begin::load(rows.as_ref()).map_err(fault);
    let mut tries = 0..MOST_TRIES;
    let verdict = loop {
        let begin = begun()?;
        let end = rooms.engine.audit_chain(partition).map_err(fault)?;
        let mut verifier = Verifier::new(partition.0, 1, end.sequence, Some(end), rooms.ca.clone()).signed();
        verifier = verifier.begins(begin.clone());
        while !verifier.step(rows.as_ref()).map_err(fault)?.done {
            // Other work goes on between pages.
            tokio::task::yield_now().await;
        }
        let verdict = verifier.verdict();
        // What expired under its eyes is not missing.
        if verdict.is_whole() || begun()? == begin || tries.next().is_none() {
            break verdict;
        }
    };
    let findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    Ok(json!({
        "partition": partition.0, "records": verdict.records, "heads": verdict.heads, "ok": verdict.is_whole(),
        "result": verdict.line(), "findings": findings, "first": verdict.first, "told_by": verdict.told_by,
    }))
}

/// By what was touched (`object`) or by who did it (`user`). Who reads the trail is in the trail, before the answer (P4).
pub async fn search(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let limit = r.query("limit").and_then(|l| l.parse().ok()).unwrap_or(100).clamp(1, MAX_FOUND);
    let (object, user) = (r.query("object").unwrap_or_default(), r.query("user").unwrap_or_default());
    let (kind, id) = match (object, user) {
        ("", "") => return Err(AdminError::bad_input("object or user is missing")),
        (object, "") => (audit::Indexed::Id, object.to_owned()),
        ("", user) => (audit::Indexed::Actor, user.to_owned()),
        _ => return Err(AdminError::bad_input("object and user are asked for one at a time")),
    };
    let mut found = newest(rooms, kind, &id, limit).await?;
    // What nothing was done to may still be the name of a request.
    if found.is_empty() && kind == audit::Indexed::Id {
        found = newest(rooms, audit::Indexed::Correlation, &id, limit).await?;
    }
    read_by(rooms, &r, "audit.search", &id, &found).await?;
    Ok(json!({"items": found.iter().map(|(p, record)| shown(*p, record)).collect::<Vec<_>>()}))
}

/// One record, by the id of the lists (`PARTITION/SEQUENCE`) or by its event id (spec/identity.md §9.1).
pub async fn show(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let id = r.query("id").unwrap_or_default();
    let listed = || id.split_once('/').and_then(|(p, n)| Some((p.parse::<u16>().ok()?, n.parse::<u64>().ok()?)));
    let place = audit::place_of(id).or_else(listed);
    let place = place.ok_or_else(|| AdminError::bad_input("an id is PARTITION/SEQUENCE, or an event id (a UUID)"))?;
    let nothing = || AdminError::of(&codes::CLI_NOT_FOUND, "no such audit record", format!("there is no record {id}"));
    let (partition, sequence) = place;
    let known = rooms.engine.map().all().any(|p| p.0 == partition);
    let rows = known.then(|| rooms.engine.local(PartitionId(partition))).ok_or_else(nothing)?;
    let stored = rows.get(&record_key(sequence)).map_err(fault)?.ok_or_else(nothing)?;
    let found = [(partition, Record::decode(&stored).map_err(fault)?)];
    read_by(rooms, &r, "audit.show", "", &found).await?;
    Ok(shown(partition, &found[0].1))
}

/// Records of all partitions under one word, newest first.
async fn newest(rooms: &Rooms, kind: audit::Indexed, id: &str, limit: usize) -> Result<Vec<(u16, Record)>, AdminError> {
    let mut found = vec![];
    for partition in rooms.engine.map().all() {
        let rows = rooms.engine.local(partition);
        let (mut before, full) = (u64::MAX, found.len() + limit);
        loop {
            let room = PAGE.min(full - found.len());
            let page = audit::newest_first(rows.as_ref(), kind, id, 1..before, room).map_err(fault)?;
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
    Ok(found)
}

/// Most people that one record of reading names: more were an export.
const MOST_SUBJECTS: usize = 1_000;

/// Leaves the record of who reads the trail, and of whom.
async fn read_by(
    rooms: &Rooms,
    r: &AdminRequest,
    interaction: &str,
    asked: &str,
    found: &[(u16, Record)],
) -> Result<(), AdminError> {
    let mut subjects: Vec<String> = found.iter().map(|(_, record)| record.subject.clone()).collect();
    subjects.extend(NhsNumber::strict(asked).map(NhsNumber::digits));
    subjects.retain(|subject| !subject.is_empty());
    subjects.sort_unstable();
    subjects.dedup();
    subjects.truncate(MOST_SUBJECTS);
    let event = if subjects.iter().any(|s| s == asked) { String::new() } else { asked.to_owned() };
    let key = subjects.first().cloned().unwrap_or_else(|| "audit".into());
    let shown = Shown { interaction: interaction.into(), outcome: "ok".into(), subjects, event, ..Default::default() };
    let command = Command {
        service: services::TRAIL.0,
        key: key.into(),
        payload: TrailCommand::from(shown).encode(),
        caller: r.caller.clone(),
        ..Default::default()
    };
    rooms.engine.submit(command).await.map(drop).map_err(unavailable)
}

/// Rows of one page of an export: some 300 KiB.
const EXPORT_PAGE: usize = 1_000;

/// Where every chain ends now (`?partition=N`: where that one does), signed by this node one by one and all together: the
/// beginning of an export, and what to keep outside the site. Making it leaves a record.
pub async fn heads(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    read_by(rooms, &r, "audit.export", "", &[]).await?;
    let World { clock, .. } = &node.world;
    let (now, number) = (clock.now().0, node.settings.node.number);
    let read = |path: &std::path::Path| std::fs::read(path).map_err(|e| fault(format!("{}: {e}", path.display())));
    let peer = &node.settings.peer;
    let signer = NodeSigner::new(&read(&peer.cert)?, &read(&peer.key)?).map_err(fault)?;
    let only = r.query("partition").map(|n| n.parse::<u16>());
    let only = only.transpose().map_err(|_| AdminError::bad_input("partition is not a number"))?;
    let (mut partitions, mut ends) = (vec![], vec![]);
    for partition in rooms.engine.map().all().filter(|p| only.is_none_or(|n| n == p.0)) {
        let chain = rooms.engine.audit_chain(partition).map_err(fault)?;
        let begin = Begin::load(rooms.engine.local(partition).as_ref()).map_err(fault)?;
        let head = Head::sign(&chain, now, number, partition.0, &signer).map_err(fault)?.encode();
        partitions.push(json!({
            "partition": partition.0, "records": chain.sequence, "signed": moment(now), "node": number,
            "head": to_base64url(&head), "begins": begin.sequence, "hash": to_base64url(&begin.hash),
        }));
        ends.push(head);
    }
    let seal = to_base64url(&Seal::sign(ends, now, number, &signer).map_err(fault)?.encode());
    Ok(json!({"site": rooms.identity.cluster, "node": number, "made": moment(now), "items": partitions, "seal": seal}))
}

/// A page of a partition's chain as this node has it: records `after`..=`upto`, and the heads among them.
pub async fn export(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let number = |name: &str| {
        let value = r.query(name).and_then(|n| n.parse::<u64>().ok());
        value.ok_or_else(|| AdminError::bad_input(format!("{name} is not a number")))
    };
    let partition = u16::try_from(number("partition")?).unwrap_or(u16::MAX);
    let (after, upto) = (number("after")?, number("upto")?);
    if !rooms.engine.map().all().any(|p| p.0 == partition) {
        return Err(AdminError::bad_input("this site has no such partition"));
    }
    let rows = rooms.engine.local(PartitionId(partition));
    let page = |from: Bytes, to: Bytes| rows.scan(from..to, false, EXPORT_PAGE).map_err(fault);
    let records = page(record_key(after.saturating_add(1)), record_key(upto.saturating_add(1)))?;
    let sequence = |key: &Bytes| key.last_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n));
    let last = records.last().map_or(upto, |(key, _)| sequence(key));
    let heads = page(head_key(after.saturating_add(1)), head_key(last.saturating_add(1)))?;
    let shown = |rows: Vec<(Bytes, Bytes)>| -> Vec<Value> {
        rows.iter().map(|(key, value)| json!([sequence(key), to_base64url(value)])).collect()
    };
    let next = (records.len() == EXPORT_PAGE && last < upto).then_some(last);
    Ok(json!({"records": shown(records), "heads": shown(heads), "next": next}))
}

/// Everything that carries the id: as correlation id, or as what was touched.
pub async fn trace(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let id = r.path("id").to_owned();
    let mut hops = find(rooms, &Query { correlation_id: id.clone(), ..Default::default() }).await?;
    hops.extend(find(rooms, &Query { id: id.clone(), ..Default::default() }).await?);
    hops.sort_by_key(|(partition, record)| (record.at, *partition, record.sequence));
    hops.dedup_by_key(|(partition, record)| (*partition, record.sequence));
    // A trail without people in it may be read while the site cannot write: it is what explains why.
    if hops.iter().any(|(_, record)| !record.subject.is_empty()) {
        read_by(rooms, &r, "audit.trace", &id, &hops).await?;
    }
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
        "job_role": r.job_role, "session": r.session, "granted": r.granted, "workgroup": r.workgroup,
        "citizen": r.nhs_number, "acts_for": r.acts_for, "action": r.action, "event": audit::event_id(partition, r.sequence),
        "subject": r.subject, "object": r.object, "other": r.other, "purpose": r.purpose, "detail": r.detail, "node": r.node,
        "correlation_id": r.correlation_id, "request_id": r.request_id, "certificate": r.certificate,
    })
}
