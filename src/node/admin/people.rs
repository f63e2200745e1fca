//! Importing people: lines of a file become the service's own commands, as many people of one partition as fit in one.

use super::{Told, rooms, unavailable};
use crate::{
    engine::{Command, PartitionId, services},
    node::Node,
    ops::admin::{AdminError, AdminRequest},
    services::pds::{
        command::{Import, PdsCommand, Reply},
        import,
    },
    wire::record::Record,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Lines of one request.
const MAX_LINES: usize = 10_000;
/// People, and bytes, of one command: a part of what an entry may hold, so that live traffic goes between.
const MAX_PEOPLE: usize = 100;
const MAX_BYTES: usize = 128 << 10;
/// Commands under way at once for one request.
const AT_ONCE: usize = 8;

/// `POST /v1/people`: `{"lines": […], "source": "…"}` → how many were written, were there already, and which lines were
/// refused, why.
pub async fn import(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let lines = r.body["lines"].as_array().filter(|lines| lines.len() <= MAX_LINES);
    let lines = lines.ok_or_else(|| AdminError::bad_input(format!("lines is not a list of at most {MAX_LINES}")))?;
    let source = r.body["source"].as_str().unwrap_or_default().to_owned();
    let dry_run = r.flag("dry_run");
    let mut rejected: Vec<Value> = vec![];
    let mut waiting: BTreeMap<PartitionId, (String, usize, Vec<Bytes>)> = BTreeMap::new();
    let mut commands = vec![];
    let mut good = 0_u64;
    let finished = |people: Vec<Bytes>, key: String| {
        let import = Import { people, source: source.clone(), ..Default::default() };
        Command {
            service: services::PDS.0,
            key: Bytes::from(key),
            payload: PdsCommand::from(import).encode(),
            caller: r.caller.clone(),
            ..Default::default()
        }
    };
    for (n, line) in lines.iter().enumerate() {
        let (nhs, line) = match import::line(line.as_str().unwrap_or_default()) {
            Ok(read) => read,
            Err(why) => {
                rejected.push(json!({"line": n, "why": why}));
                continue;
            }
        };
        good += 1;
        let (key, bytes) = (nhs.digits(), line.encode());
        let partition = rooms.engine.partition_of(key.as_bytes());
        let batch = waiting.entry(partition).or_default();
        batch.0 = key;
        batch.1 += bytes.len();
        batch.2.push(bytes);
        if batch.2.len() >= MAX_PEOPLE || batch.1 >= MAX_BYTES {
            let (key, _, people) = std::mem::take(batch);
            commands.push(finished(people, key));
        }
    }
    commands.extend(waiting.into_values().filter(|b| !b.2.is_empty()).map(|(key, _, people)| finished(people, key)));
    if dry_run {
        return Ok(json!({"written": 0, "same": 0, "good": good, "rejected": rejected}));
    }
    let mut replies = stream::iter(commands.into_iter().map(|c| rooms.engine.submit(c))).buffer_unordered(AT_ONCE);
    let (mut written, mut same) = (0, 0);
    while let Some(outcome) = replies.next().await {
        let reply = Reply::of(&outcome.map_err(unavailable)?.reply).map_err(super::fault)?;
        if let Some(problem) = reply.problem() {
            return Err(AdminError::bad_input(problem.diagnostics));
        }
        written += reply.written;
        same += reply.same;
    }
    Ok(json!({"written": written, "same": same, "good": good, "rejected": rejected}))
}
