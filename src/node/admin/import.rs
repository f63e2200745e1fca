//! Imports into the registry: lines of the provisioning format become commands, decided in batches. A refused line is named
//! with its reason and leaves the others as they are; a dry run is the real decision, thrown away.

use super::{Told, fault, rooms, unavailable};
use crate::{
    engine::{
        Command, Fence, SITE,
        draft::{Decide, Draft, Overlay, Stamp},
        services,
    },
    node::{Node, report},
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    services::directory::{
        Directory,
        command::{Batch, DirectoryCommand, DirectoryReply, MAX_BATCH},
        lines,
    },
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most lines of one call.
const MAX_LINES: usize = 10_000;

#[derive(Deserialize)]
struct Input {
    lines: Vec<String>,
}

/// `POST /v1/registry/import?dry_run`: `{"lines": [...]}` → `{"changed", "same", "refused": [{"line", "why"}]}`, lines from 0.
pub async fn import(node: Arc<Node>, r: AdminRequest) -> Told {
    let Input { lines } = r.input()?;
    if lines.len() > MAX_LINES {
        return Err(AdminError::bad_input(format!("at most {MAX_LINES} lines at once")));
    }
    let mut tally = Tally::default();
    let mut waiting: Vec<(usize, Bytes)> = vec![];
    for (n, line) in lines.iter().enumerate() {
        match lines::parse(line) {
            Ok(Some(command)) => waiting.push((n, command.encode())),
            Ok(None) => {}
            Err(why) => tally.refuse(n, &why.to_string()),
        }
        if waiting.len() == MAX_BATCH {
            decide(&node, &r, std::mem::take(&mut waiting), &mut tally).await?;
        }
    }
    decide(&node, &r, waiting, &mut tally).await?;
    tally.refused.sort_by_key(|refused| refused["line"].as_u64());
    Ok(json!({"changed": tally.changed, "same": tally.same, "refused": tally.refused}))
}

#[derive(Default)]
struct Tally {
    changed: usize,
    same: usize,
    refused: Vec<Value>,
}

impl Tally {
    fn refuse(&mut self, line: usize, why: &str) {
        self.refused.push(json!({"line": line, "why": why}));
    }
}

async fn decide(
    node: &Node,
    r: &AdminRequest,
    lines: Vec<(usize, Bytes)>,
    tally: &mut Tally,
) -> Result<(), AdminError> {
    if lines.is_empty() {
        return Ok(());
    }
    let commands = lines.iter().map(|(_, payload)| payload.clone()).collect();
    let batch = DirectoryCommand::Batch(Batch { commands, ..Default::default() });
    let rooms = rooms(node)?;
    let reply = match r.flag("dry_run") {
        true => rehearse(node, r, &batch).await?,
        false => {
            let told = report::submit(rooms, r.caller.operator.clone(), batch).await;
            told.map_err(|why| AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, why))?
        }
    };
    if !reply.is_done() {
        return Err(AdminError::bad_input(reply.text));
    }
    for ((n, _), one) in lines.iter().zip(&reply.each) {
        match (one.is_done(), one.changed) {
            (false, _) => tally.refuse(*n, &one.text),
            (true, true) => tally.changed += 1,
            (true, false) => tally.same += 1,
        }
    }
    Ok(())
}

async fn rehearse(node: &Node, r: &AdminRequest, batch: &DirectoryCommand) -> Result<DirectoryReply, AdminError> {
    let site = rooms(node)?.engine.view(SITE, Fence::Linearizable).await.map_err(unavailable)?;
    let overlay = Overlay::default();
    let mut draft = Draft::new(&site, &overlay, &site);
    let now = node.world.clock.now().0;
    let stamp = Stamp { now, partition: SITE, partitions: 0, sequence: 0, entropy: Default::default() };
    let command = Command {
        service: services::DIRECTORY.0,
        payload: batch.encode(),
        caller: r.caller.clone(),
        ..Default::default()
    };
    let reply = Directory.decide(&mut draft, &stamp, &command).map_err(fault)?;
    DirectoryReply::of(&reply).map_err(fault)
}
