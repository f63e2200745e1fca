//! Importing people: lines of a file become the service's own commands, as many people of one partition as fit in one.

use super::{Told, rooms, unavailable};
use crate::{
    engine::{Command, Outcome, PartitionId, Unavailable, services},
    node::{Node, rooms::Rooms},
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
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// Lines of one request.
const MAX_LINES: usize = 10_000;
/// Longest name of a request.
const MAX_REQUEST: usize = 64;
/// People, and bytes, of one command: a part of what an entry may hold, so that live traffic goes between.
const MAX_PEOPLE: usize = 100;
const MAX_BYTES: usize = 128 << 10;
/// Commands under way at once for one request.
const AT_ONCE: usize = 8;
/// Where the site has no time for people of a file, or nobody leads for the moment, they wait: first so long, then twice as long
/// each time, and so often before whoever asked is told.
const PAUSE: Duration = Duration::from_millis(50);
const TRIES: u32 = 8;

/// Why a good line may change nothing.
const LEFT: &str = "left alone: this person is another here, at that version or a later one";

/// `POST /v1/people`: `{"lines": […], "source": "…", "request": "…"}` → how many were written, were there already, are others
/// here and were left alone, and which lines those are (`left`), and which were refused, why. A repeat of the same lines under the same `request` is told
/// what its first time did (P3), so that nobody counts as there already whom the lost attempt wrote.
pub async fn import(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let lines = r.body["lines"].as_array().filter(|lines| lines.len() <= MAX_LINES);
    let lines = lines.ok_or_else(|| AdminError::bad_input(format!("lines is not a list of at most {MAX_LINES}")))?;
    let source = r.body["source"].as_str().unwrap_or_default().to_owned();
    let request = match r.body["request"].as_str() {
        Some(given) if given.len() > MAX_REQUEST => return Err(AdminError::bad_input("request is too long")),
        Some(given) => given.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let dry_run = r.flag("dry_run");
    let mut rejected: Vec<Value> = vec![];
    let mut waiting: BTreeMap<PartitionId, (String, usize, Vec<Bytes>)> = BTreeMap::new();
    let mut commands = vec![];
    // Which line names a person: the last one that does.
    let mut named: HashMap<u64, usize> = HashMap::new();
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
        named.insert(nhs.value(), n);
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
        return Ok(json!({"written": 0, "same": 0, "kept": 0, "good": good, "rejected": rejected}));
    }
    for (n, command) in commands.iter_mut().enumerate() {
        command.request_id = format!("{request}-{n}");
    }
    let mut replies = stream::iter(commands.into_iter().map(|c| patiently(rooms, c))).buffer_unordered(AT_ONCE);
    let (mut written, mut same, mut kept, mut left) = (0, 0, 0, vec![]);
    while let Some(outcome) = replies.next().await {
        let reply = Reply::of(&outcome.map_err(unavailable)?.reply).map_err(super::fault)?;
        if let Some(problem) = reply.problem() {
            return Err(AdminError::bad_input(problem.diagnostics));
        }
        written += reply.written;
        same += reply.same;
        kept += reply.kept;
        left.extend(reply.left.iter().filter_map(|nhs| named.get(nhs)).map(|n| json!({"line": n, "why": LEFT})));
    }
    Ok(json!({"written": written, "same": same, "kept": kept, "good": good, "rejected": rejected, "left": left}))
}

/// Submits a command that may be carried out twice, behind live traffic: where there is no room it comes again later.
pub(super) async fn patiently(rooms: &Rooms, command: Command) -> Result<Outcome, Unavailable> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match rooms.engine.submit(command.clone()).await {
            Err(Unavailable::Busy | Unavailable::NoLeader | Unavailable::Unknown) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            told => return told,
        }
    }
    rooms.engine.submit(command).await
}
