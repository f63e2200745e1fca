//! Sealed snapshots between the store and the library: built here, sent in pieces, installed there.
//!
//! The file says itself what it holds and is believed only after its digest agreed, so nothing but bytes travels.
//! Installing may take minutes: the sender then asks now and then, instead of waiting on one call.

use super::api::{Fatal, RaftId};
use super::group::Group;
use super::machine::state_of;
use super::network::Client;
use super::storage::malformed;
use super::types::{Snapshot, SnapshotMeta, Types, Vote, VoteRecord, outside};
use crate::record;
use crate::seam::net::{Lane, NodeNumber, kinds};
use crate::seam::pace::Pace;
use crate::store::{Incoming, Partition, SnapshotInfo, StoreError};
use crate::wire::record::Record;
use bytes::Bytes;
use openraft::errors::StreamingError;
use openraft::raft::SnapshotResponse;
use std::sync::Arc;
use std::{io, time::Duration};

/// Bytes of one piece: long enough for throughput, short enough to be one call among others.
const PIECE: usize = 1 << 20;
/// One piece's way to the follower's disk and back.
const PIECE_PATIENCE: Duration = Duration::from_secs(20);
/// Between two questions whether a snapshot is installed.
const INSTALL_PAUSE: Duration = Duration::from_millis(100);

/// What the library carries around for a snapshot: which of the store's sealed files it is.
pub type SnapshotData = SnapshotInfo;
/// A snapshot as the library knows it.
pub type Sealed = Snapshot<SnapshotData>;

record! {
    /// RAFT_SNAPSHOT_PIECE. A first call without a piece asks how much of this snapshot is there already.
    pub struct PieceCall v1 {
        1 => group: u16,
        2 => to: u64,
        3 => vote: VoteRecord,
        /// The store's name of the snapshot.
        4 => id: String,
        5 => total: u64,
        6 => offset: u64,
        7 => piece: Bytes,
    }
}

record! {
    /// Answer to RAFT_SNAPSHOT_PIECE.
    pub struct PieceAnswer v1 {
        /// Where the next piece starts.
        1 => received: u64,
        /// The snapshot is installed, or was not needed.
        2 => done: bool,
        /// The follower's vote; meant when done.
        3 => vote: VoteRecord,
    }
}

fn stored(e: StoreError) -> io::Error {
    io::Error::other(e)
}

fn sealed(info: SnapshotInfo) -> io::Result<Sealed> {
    let (last_log_id, last_membership) = state_of(&info.before)?;
    Ok(Sealed { meta: SnapshotMeta { last_log_id, last_membership }, snapshot: info })
}

/// The newest state of a partition that sealed files hold. It may be one file or several.
pub fn newest(partition: &Partition) -> io::Result<Option<Sealed>> {
    partition.newest().map(sealed).transpose()
}

/// Seals what is not in files yet, in the background or as somebody waits for it. A failure costs nothing, but for a failed
/// sync: that stops the process (P7).
pub async fn seal(partition: &Arc<Partition>, gently: bool, fatal: &Fatal) -> Result<SnapshotInfo, StoreError> {
    let made = partition.seal(gently).await;
    if let Err(e @ StoreError::Unsynced(_)) = &made {
        fatal(&e.to_string());
    }
    made
}

/// Seals a new snapshot for the library.
pub async fn build(partition: &Arc<Partition>, fatal: &Fatal) -> io::Result<Sealed> {
    sealed(seal(partition, false, fatal).await.map_err(stored)?)
}

/// Puts a sealed snapshot in the place of the partition's rows.
pub async fn install(partition: &Arc<Partition>, snapshot: SnapshotData) -> io::Result<()> {
    partition.install_snapshot(&snapshot.id).await.map(drop).map_err(stored)
}

/// Sends a snapshot and waits until it is installed. The library calls again after an error.
pub async fn send(
    client: &Client,
    vote: Vote,
    snapshot: Sealed,
) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
    let network = &client.network;
    let kind = kinds::RAFT_SNAPSHOT_PIECE;
    let failed = |e| StreamingError::from(client.failed(stored(e), kind, PIECE_PATIENCE));
    let info = network.partition.whole(&snapshot.snapshot).await.map_err(failed)?;
    let mut offset = 0;
    let mut piece = Bytes::new();
    tracing::info!(
        event = "snapshot.send",
        group = network.group,
        to = %RaftId(client.target),
        index = snapshot.meta.last_log_id.map_or(0, |at| outside(at.index)),
        bytes = info.bytes,
        "sending a snapshot"
    );
    check(client, &info).await?;
    loop {
        let call = PieceCall {
            group: network.group,
            to: client.target,
            vote: VoteRecord::of(&vote),
            id: info.id.clone(),
            total: info.bytes,
            offset,
            piece: std::mem::take(&mut piece),
            ..Default::default()
        };
        let to = RaftId(client.target).node();
        let answer = network.transport.call(to, Lane::Bulk, kind, call.encode(), PIECE_PATIENCE).await;
        let answer = answer.and_then(|a| PieceAnswer::decode(&a).map_err(malformed));
        let answer = answer.map_err(|e| StreamingError::from(client.failed(e, kind, PIECE_PATIENCE)))?;
        if answer.done {
            return Ok(SnapshotResponse::new(answer.vote.vote()));
        }
        offset = answer.received.min(info.bytes);
        if offset == info.bytes {
            tokio::time::sleep(INSTALL_PAUSE).await;
        } else {
            let read = network.partition.read_snapshot_piece(&info.id, offset, PIECE).await;
            piece = read.map_err(failed)?;
        }
    }
}

/// Looks whether the file is still what was sealed: the receiver would find damage only at its end, and be sent the
/// same file again for ever. What is damaged is forgotten, so that the next try finds another file.
async fn check(client: &Client, info: &SnapshotInfo) -> Result<(), StreamingError<Types>> {
    let partition = &client.network.partition;
    let Err(e) = partition.verify_snapshot(info, &Pace::new(u64::MAX)).await else { return Ok(()) };
    if partition.snapshots().is_empty()
        && let Err(e) = seal(partition, false, &client.network.fatal).await
    {
        tracing::error!(event = "snapshot.not_sealed", group = client.network.group, why = %e, "no snapshot to send");
    }
    Err(StreamingError::from(client.failed(stored(e), kinds::RAFT_SNAPSHOT_PIECE, PIECE_PATIENCE)))
}

/// A snapshot on its way in.
pub struct Receiving {
    id: String,
    vote: Vote,
    state: State,
}

enum State {
    Pieces(Incoming),
    /// All there; a task installs it and says what the vote was.
    Installing(tokio::sync::oneshot::Receiver<io::Result<Vote>>),
}

/// Takes a piece. One snapshot at a time in each group: a new one, or a new leader, replaces what was there.
pub async fn receive(group: &Group, from: NodeNumber, payload: Bytes) -> io::Result<Bytes> {
    let call = PieceCall::decode(&payload).map_err(malformed)?;
    if RaftId(call.vote.candidate).node() != from {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the vote names another node than the caller"));
    }
    let vote = call.vote.vote();
    let mut receiving = group.receiving().lock().await;
    let same = receiving.as_ref().is_some_and(|r| r.id == call.id && r.vote == vote);
    if !same {
        let incoming = group.partition().receive_snapshot(call.total).await.map_err(stored)?;
        *receiving = Some(Receiving { id: call.id.clone(), vote, state: State::Pieces(incoming) });
    }
    let answer = match &mut *receiving {
        Some(current) => step(group, current, &call).await,
        None => Err(io::ErrorKind::NotFound.into()),
    };
    // After an error the sender starts again from the beginning; after success there is nothing left to do.
    if answer.as_ref().map_or(true, |a| a.done) {
        *receiving = None;
    }
    answer.map(|a| a.encode())
}

async fn step(group: &Group, current: &mut Receiving, call: &PieceCall) -> io::Result<PieceAnswer> {
    let installing = match &mut current.state {
        State::Pieces(incoming) => {
            if !call.piece.is_empty() && call.offset == incoming.received() {
                incoming.write(call.offset, call.piece.clone()).await.map_err(stored)?;
            }
            if incoming.received() < call.total {
                return Ok(PieceAnswer { received: incoming.received(), ..Default::default() });
            }
            None
        }
        State::Installing(outcome) => Some(outcome.try_recv()),
    };
    use tokio::sync::oneshot::error::TryRecvError;
    match installing {
        Some(Ok(vote)) => {
            let vote = VoteRecord::of(&vote?);
            Ok(PieceAnswer { received: call.total, done: true, vote, ..Default::default() })
        }
        Some(Err(TryRecvError::Empty)) => Ok(PieceAnswer { received: call.total, ..Default::default() }),
        Some(Err(TryRecvError::Closed)) => Err(io::Error::other("installing the snapshot was given up")),
        None => {
            let (tell, told) = tokio::sync::oneshot::channel();
            let State::Pieces(incoming) = std::mem::replace(&mut current.state, State::Installing(told)) else {
                return Err(io::Error::other("installing the snapshot was given up"));
            };
            let (group, vote) = (group.clone(), current.vote);
            tokio::spawn(async move {
                let _ = tell.send(take_over(&group, vote, incoming).await);
            });
            Ok(PieceAnswer { received: call.total, ..Default::default() })
        }
    }
}

/// Verifies the file and gives it to the library, which installs it if it is newer than what is here.
async fn take_over(group: &Group, vote: Vote, incoming: Incoming) -> io::Result<Vote> {
    let Some(info) = incoming.finish().await.map_err(stored)? else {
        // The log brought what is in it meanwhile; the sender goes on with the log.
        return Ok(group.metrics().vote);
    };
    tracing::info!(
        event = "snapshot.received",
        group = group.number(),
        index = info.before.index,
        bytes = info.bytes,
        "snapshot received"
    );
    let response = group.raft().install_full_snapshot(vote, sealed(info)?).await.map_err(io::Error::other)?;
    Ok(response.vote)
}
