//! People out of the site for operators: a page of an export, or one record as it was. Nothing of a person leaves before the
//! audit record that names them and the operator is durable (P4).

use super::{Told, fault, people::patiently, rooms, unavailable};
use crate::{
    engine::{Command, Fence, PartitionId, services},
    model::NhsNumber,
    node::{Node, rooms::Rooms},
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    services::pds::{
        command::{Noted, PdsCommand, Reply},
        export, past, rows,
    },
};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;

/// People of one page: as many notes go into one entry of the log.
const MAX_PAGE: usize = 500;

/// `POST /v1/people/export`. `{"begin": true}` → `{"partitions": [{"partition", "at"}]}`: the fence of each. Then for each
/// partition, `{"partition", "at", "after"}` → `{"lines": [[NHS number, line]…], "next"}` in the order of the numbers, until
/// `next` is null. What changed behind the fence is told as it was at it.
pub async fn export(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let source = r.body["source"].as_str().unwrap_or_default();
    if r.body["begin"] == true {
        let mut partitions = vec![];
        for partition in rooms.engine.map().all().filter(|p| p.0 != 0) {
            let at = noted(rooms, &r, &key_of(rooms, partition), "pds.export", "ok", source, vec![]).await?.1;
            partitions.push(json!({"partition": partition.0, "at": at}));
        }
        return Ok(json!({"partitions": partitions}));
    }
    let number = |name: &str| r.body[name].as_u64();
    let asked = number("partition").and_then(|p| u16::try_from(p).ok()).zip(number("at"));
    let (partition, at) = asked.ok_or_else(|| AdminError::bad_input("partition and at are missing"))?;
    let partition = rooms.engine.map().all().find(|p| p.0 == partition && p.0 != 0);
    let partition = partition.ok_or_else(|| AdminError::bad_input("this site has no such partition"))?;
    let after = number("after").unwrap_or(0);
    let view = rooms.engine.view(partition, Fence::Linearizable).await.map_err(unavailable)?;
    let people = rows::numbers(&view, after, MAX_PAGE).map_err(fault)?;
    let Some(last) = people.last() else { return Ok(json!({"lines": [], "next": null})) };
    let subjects = people.iter().map(|nhs| nhs.value()).collect();
    let (index, _) = noted(rooms, &r, &people[0].digits(), "pds.export", "ok", source, subjects).await?;
    let view = rooms.engine.view(partition, Fence::At(index)).await.map_err(unavailable)?;
    let mut lines = vec![];
    for nhs in &people {
        if let Some(line) = export::line(&view, *nhs, at).map_err(fault)? {
            lines.push(json!([nhs.value(), line]));
        }
    }
    Ok(json!({"lines": lines, "next": last.value()}))
}

/// `GET /v1/people/{nhs}?at=MILLISECONDS&versions` → the record, whole, as of then, and what each version changed.
pub async fn show(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let nhs = NhsNumber::strict(r.path("nhs"));
    let nhs =
        nhs.ok_or_else(|| AdminError::bad_input("that is no NHS number: its length or its check digit is wrong"))?;
    let at = match r.query("at") {
        None => u64::MAX,
        Some(text) => text.parse().map_err(|_| AdminError::bad_input("at is no moment in milliseconds"))?,
    };
    let partition = rooms.engine.partition_of(nhs.digits().as_bytes());
    let view = rooms.engine.view(partition, Fence::Linearizable).await.map_err(unavailable)?;
    let there = rows::on(&view, nhs, at).map_err(fault)?.is_some();
    let outcome = if there { "ok" } else { "RESOURCE_NOT_FOUND" };
    let (index, _) = noted(rooms, &r, &nhs.digits(), "pds.show", outcome, "", vec![nhs.value()]).await?;
    let view = rooms.engine.view(partition, Fence::At(index)).await.map_err(unavailable)?;
    let told = past::record(&view, nhs, at, r.flag("versions")).map_err(fault)?;
    told.ok_or_else(|| {
        let why = if at == u64::MAX { "nobody has that number" } else { "nothing is known of that number then" };
        AdminError::of(&codes::CLI_NOT_FOUND, "there is no such record", why)
    })
}

/// Leaves the record of who saw whom; the index and moment of its decision.
async fn noted(
    rooms: &Rooms,
    r: &AdminRequest,
    key: &str,
    interaction: &str,
    outcome: &str,
    detail: &str,
    subjects: Vec<u64>,
) -> Result<(u64, u64), AdminError> {
    let note = Noted {
        interaction: interaction.into(),
        outcome: outcome.into(),
        subjects,
        detail: detail.chars().take(200).collect(),
        ..Default::default()
    };
    let command = Command {
        service: services::PDS.0,
        key: Bytes::from(key.to_owned()),
        payload: PdsCommand::from(note).encode(),
        caller: r.caller.clone(),
        ..Default::default()
    };
    let outcome = patiently(rooms, command).await.map_err(unavailable)?;
    let reply = Reply::of(&outcome.reply).map_err(fault)?;
    Ok((outcome.index, reply.at))
}

/// A key that lives in the partition.
fn key_of(rooms: &Rooms, partition: PartitionId) -> String {
    let names = (0..).map(|n| format!("export-{n}"));
    let mut mine = names.filter(|name| rooms.engine.partition_of(name.as_bytes()) == partition);
    mine.next().unwrap_or_default()
}
