//! Damaged entries of the log, fetched from other members before the group starts (P7).
//!
//! The log proves what it is given by the checksums around the damage, so a peer cannot slip anything in; a stretch
//! that nobody can fill sends the node back as its next incarnation.

use super::api::GroupNumber;
use super::consensus::Shared;
use super::machine::state_of;
use super::storage::malformed;
use super::types::members;
use crate::log::{Damage, LogRecord};
use crate::record;
use crate::seam::net::{Lane, NodeNumber, kinds};
use crate::wire::record::Record;
use bytes::Bytes;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::{io, time::Duration};

/// Entries of one answer, in bytes of content; one larger entry goes alone.
const FETCH_BYTES: usize = 4 << 20;
const FETCH_PATIENCE: Duration = Duration::from_secs(10);

record! {
    /// LOG_FETCH: entries with `from` ≤ index < `to`.
    pub struct FetchCall v1 {
        1 => group: u16,
        2 => from: u64,
        3 => to: u64,
    }
}

record! {
    /// One entry, as the log holds it.
    pub struct FetchedRecord v1 {
        1 => index: u64,
        2 => term: u64,
        3 => leader: u64,
        4 => content: Bytes,
    }
}

record! {
    /// Answer to LOG_FETCH: as many entries as fit, in order.
    pub struct FetchAnswer v1 { 1 => entries: Vec<FetchedRecord> }
}

/// Answers LOG_FETCH from this node's log.
pub async fn answer(shared: &Arc<Shared>, payload: Bytes) -> io::Result<Bytes> {
    let call = FetchCall::decode(&payload).map_err(malformed)?;
    if call.from >= call.to {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let records = shared.parts.log.group(call.group).read(call.from..call.to, FETCH_BYTES).await?;
    let fetched = |r: LogRecord| FetchedRecord {
        index: r.index,
        term: r.term,
        leader: r.leader,
        content: r.payload,
        ..Default::default()
    };
    Ok(FetchAnswer { entries: records.into_iter().map(fetched).collect(), ..Default::default() }.encode())
}

/// Fills what can be filled, and returns the rest.
pub async fn repair(shared: &Arc<Shared>, damage: Vec<Damage>, peers: &[(NodeNumber, SocketAddr)]) -> Vec<Damage> {
    let mut left = Vec::new();
    for damage in damage {
        let done = covered(shared, &damage).await
            || filled(shared, &damage, peers).await
            || super::refill::passed_over(shared, damage.group, damage.range.end - 1, peers).await;
        if done { tell(&damage) } else { left.push(damage) }
    }
    left
}

/// Fills what can be filled while the group runs, and returns the rest. The library holds the log's ends then, so
/// nothing is cut.
pub async fn mend(shared: &Arc<Shared>, damage: Vec<Damage>, peers: &[(NodeNumber, SocketAddr)]) -> Vec<Damage> {
    let mut left = Vec::new();
    for damage in damage {
        let done = remembered(shared, &damage).await || filled(shared, &damage, peers).await;
        if done { tell(&damage) } else { left.push(damage) }
    }
    left
}

fn tell(damage: &Damage) {
    tracing::info!(
        event = "log.repaired",
        group = damage.group,
        from = damage.range.start,
        to = damage.range.end - 1,
        "log repaired"
    );
}

/// Writes entries again that are bad on the disk and still whole in memory.
async fn remembered(shared: &Arc<Shared>, damage: &Damage) -> bool {
    let log = shared.parts.log.group(damage.group);
    match log.read(damage.range.clone(), usize::MAX).await {
        Ok(records) => log.repair(records).await.is_ok(),
        Err(_) => false,
    }
}

/// Cuts the log where a sealed snapshot and the rows already hold what the damaged entries said.
async fn covered(shared: &Arc<Shared>, damage: &Damage) -> bool {
    let Ok(partition) = shared.parts.store.partition(damage.group) else { return false };
    let Some(sealed) = partition.newest().map(|s| s.before) else { return false };
    if sealed.index + 1 < damage.range.end || partition.durable().index < sealed.index {
        return false;
    }
    shared.parts.log.group(damage.group).purge(sealed.index, sealed.term, 0).await.is_ok()
}

async fn filled(shared: &Arc<Shared>, damage: &Damage, peers: &[(NodeNumber, SocketAddr)]) -> bool {
    for (node, address) in candidates(shared, damage.group, peers) {
        shared.parts.transport.set_address(node, address);
        let log = shared.parts.log.group(damage.group);
        let repaired = match fetch(shared, node, damage.group, damage.range.clone()).await {
            Ok(records) => log.repair(records).await,
            Err(e) => Err(e),
        };
        match repaired {
            Ok(()) => return true,
            Err(e) => {
                tracing::warn!(event = "log.repair_failed", group = damage.group, node = node.0, why = %e, "no help from this node");
            }
        }
    }
    false
}

/// Other members of the group, as the rows know them, then those the caller knows.
pub fn candidates(
    shared: &Arc<Shared>,
    group: GroupNumber,
    peers: &[(NodeNumber, SocketAddr)],
) -> Vec<(NodeNumber, SocketAddr)> {
    let known = shared.parts.store.partition(group).ok().and_then(|p| state_of(&p.applied()).ok());
    let known = known.map(|(_, m)| members(m.membership())).unwrap_or_default();
    let mut all: Vec<_> = known.into_iter().map(|m| (m.id.node(), m.address)).chain(peers.iter().copied()).collect();
    all.retain(|(node, _)| *node != shared.options.id.node());
    all.dedup();
    all
}

async fn fetch(
    shared: &Arc<Shared>,
    node: NodeNumber,
    group: GroupNumber,
    range: Range<u64>,
) -> io::Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    let mut from = range.start;
    while from < range.end {
        let call = FetchCall { group, from, to: range.end, ..Default::default() };
        let transport = &shared.parts.transport;
        let answer = transport.call(node, Lane::Bulk, kinds::LOG_FETCH, call.encode(), FETCH_PATIENCE).await?;
        let answer = FetchAnswer::decode(&answer).map_err(malformed)?;
        from = take(answer, from..range.end, &mut records)?;
    }
    Ok(records)
}

/// Takes an answer's entries, which must be the next of the range. Returns the index behind them. A peer whose log ends
/// within the range answers nothing in the end: another is asked then.
fn take(answer: FetchAnswer, left: Range<u64>, records: &mut Vec<LogRecord>) -> io::Result<u64> {
    if answer.entries.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut next = left.start;
    for entry in answer.entries {
        if entry.index != next || next == left.end {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer sent other entries than asked for"));
        }
        next += 1;
        records.push(LogRecord { index: entry.index, term: entry.term, leader: entry.leader, payload: entry.content });
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(indexes: Range<u64>) -> FetchAnswer {
        let entries = indexes.map(|index| FetchedRecord { index, term: 1, ..Default::default() }).collect();
        FetchAnswer { entries, ..Default::default() }
    }

    #[test]
    fn a_peer_whose_log_ends_within_the_damage_is_given_up() {
        let mut records = vec![];
        assert_eq!(take(answer(100..150), 100..200, &mut records).unwrap(), 150);
        assert_eq!(take(answer(0..0), 150..200, &mut records).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(take(answer(151..200), 150..200, &mut records).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(take(answer(150..201), 150..200, &mut records).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
