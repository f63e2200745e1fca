//! Rows that the log cannot rebuild, fetched from another member before the group starts (P7, P9).
//!
//! A store may be lost whole, snapshots included, after the log was cut. Log and vote are still there, so the node need
//! not come back as another incarnation: it takes a member's sealed snapshot, and goes on with its own log behind it.

use super::api::GroupNumber;
use super::consensus::Shared;
use super::repair::candidates;
use super::storage::malformed;
use crate::record;
use crate::seam::net::{Lane, NodeNumber, kinds};
use crate::store::{Applied, StoreError};
use crate::wire::record::Record;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{io, time::Duration};

/// Bytes of one piece, as in snapshots that a leader sends.
const PIECE: usize = 1 << 20;
const PIECE_PATIENCE: Duration = Duration::from_secs(20);
/// The first answer may have to wait until the member has sealed a new snapshot, and a call may be lost on the way: it is
/// made again, so that a node does not wait minutes for what nobody does.
const SEAL_PATIENCE: Duration = Duration::from_secs(60);
const SEAL_CALLS: usize = 5;

record! {
    /// SNAPSHOT_FETCH: a piece of a sealed snapshot; with an empty `id` the first of one that reaches `least` at least.
    pub struct SnapshotCall v1 {
        1 => group: u16,
        2 => least: u64,
        3 => id: String,
        4 => offset: u64,
    }
}

record! {
    /// Answer to SNAPSHOT_FETCH.
    pub struct SnapshotAnswer v1 {
        1 => id: String,
        /// Length of the whole file.
        2 => total: u64,
        3 => piece: Bytes,
    }
}

fn stored(e: StoreError) -> io::Error {
    io::Error::other(e)
}

/// Answers SNAPSHOT_FETCH from this node's snapshots; seals one where none reaches far enough.
pub async fn answer(shared: &Arc<Shared>, payload: Bytes) -> io::Result<Bytes> {
    let call = SnapshotCall::decode(&payload).map_err(malformed)?;
    let group = shared.group(call.group).ok_or(io::ErrorKind::NotFound)?;
    let partition = group.partition();
    let newest = match partition.snapshots().into_iter().rev().find(|s| s.id == call.id) {
        Some(info) => info,
        None if !call.id.is_empty() => return Err(io::ErrorKind::NotFound.into()),
        None => match partition.snapshots().pop().filter(|s| s.before.index >= call.least) {
            Some(info) => info,
            None => {
                let newest = group.seal().await.map_err(stored)?;
                partition.whole(&newest).await.map_err(stored)?
            }
        },
    };
    if newest.before.index < call.least {
        return Err(io::Error::new(io::ErrorKind::NotFound, "this node is itself behind"));
    }
    let piece = partition.read_snapshot_piece(&newest.id, call.offset, PIECE).await.map_err(stored)?;
    Ok(SnapshotAnswer { id: newest.id, total: newest.bytes, piece, ..Default::default() }.encode())
}

/// See [`super::Consensus::gaps`].
pub fn gaps(shared: &Arc<Shared>) -> Vec<GroupNumber> {
    let behind = |group: &GroupNumber| {
        let Some((purged, ..)) = shared.parts.log.group(*group).state().purged else { return false };
        shared.parts.store.partition(*group).is_ok_and(|p| p.applied().index < purged)
    };
    shared.parts.log.groups().into_iter().filter(behind).collect()
}

/// See [`super::Consensus::rebuild`].
pub async fn rebuild(shared: &Arc<Shared>, behind: &[GroupNumber]) -> Vec<GroupNumber> {
    for group in behind {
        let Ok(partition) = shared.parts.store.partition(*group) else { continue };
        if let Err(e) = partition.rebuild().await {
            tracing::warn!(event = "store.rebuild_failed", group, why = %e, "own snapshots are of no use");
        }
    }
    let still = gaps(shared);
    behind.iter().filter(|group| !still.contains(group)).copied().collect()
}

/// See [`super::Consensus::refill`].
pub async fn refill(
    shared: &Arc<Shared>,
    groups: Vec<GroupNumber>,
    peers: &[(NodeNumber, SocketAddr)],
) -> Vec<GroupNumber> {
    let mut left = Vec::new();
    for group in groups {
        let least = shared.parts.log.group(group).state().purged.map_or(0, |(index, ..)| index);
        if !passed_over(shared, group, least, peers).await {
            left.push(group);
        }
    }
    left
}

/// Replaces a group's rows by a member's snapshot that holds every entry up to `least`, and begins the log behind it.
pub async fn passed_over(
    shared: &Arc<Shared>,
    group: GroupNumber,
    least: u64,
    peers: &[(NodeNumber, SocketAddr)],
) -> bool {
    for (node, address) in candidates(shared, group, peers) {
        shared.parts.transport.set_address(node, address);
        match take(shared, node, group, least).await {
            Ok(at) => {
                // Entries that the log holds behind that very place stay; others were never committed.
                shared.parts.log.group(group).install((at.index, at.term, 0));
                tracing::info!(
                    event = "store.refilled",
                    group,
                    node = node.0,
                    index = at.index,
                    "rows came from a peer"
                );
                return true;
            }
            Err(e) => {
                tracing::warn!(event = "store.refill_failed", group, node = node.0, why = %e, "no rows from this node");
            }
        }
    }
    false
}

async fn take(shared: &Arc<Shared>, node: NodeNumber, group: GroupNumber, least: u64) -> io::Result<Applied> {
    let partition = shared.parts.store.partition(group).map_err(stored)?;
    let ask = async |id: String, offset: u64| {
        let patience = if id.is_empty() { SEAL_PATIENCE } else { PIECE_PATIENCE };
        let call = SnapshotCall { group, least, id, offset, ..Default::default() }.encode();
        let answer = shared.parts.transport.call(node, Lane::Bulk, kinds::SNAPSHOT_FETCH, call, patience).await?;
        SnapshotAnswer::decode(&answer).map_err(malformed)
    };
    let mut calls = 1;
    let mut got = loop {
        match ask(String::new(), 0).await {
            Err(e) if e.kind() == io::ErrorKind::TimedOut && calls < SEAL_CALLS => calls += 1,
            told => break told?,
        }
    };
    let (id, total) = (got.id.clone(), got.total);
    let mut incoming = partition.receive_snapshot(total).await.map_err(stored)?;
    loop {
        if got.piece.is_empty() || got.id != id {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        incoming.write(incoming.received(), got.piece).await.map_err(stored)?;
        if incoming.received() == total {
            break;
        }
        got = ask(id.clone(), incoming.received()).await?;
    }
    let info = incoming.finish_over().await.map_err(stored)?;
    if info.before.index < least {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot does not reach far enough"));
    }
    partition.install_snapshot(&info.id).await.map_err(stored)
}
