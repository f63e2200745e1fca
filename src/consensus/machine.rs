//! The library's state machine: hands committed entries to the engine and keeps the members with the rows.

use super::api::{self, Fatal, GroupNumber, StateMachine};
use super::snapshot::{Sealed, SnapshotData};
use super::storage::malformed;
use super::types::{LogId, MembershipRecord, SnapshotMeta, StoredMembership, Types, log_id, outside};
use crate::store::{Applied, Partition, Position};
use crate::wire::record::Record;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::watch;

/// Entries given to the engine at once; callers are woken after each such piece.
const PIECE_ENTRIES: usize = 256;
const PIECE_BYTES: usize = 2 << 20;
/// What an entry costs in the log beside its content, about; for deciding when a snapshot is due.
const ENTRY_OVERHEAD: u64 = 48;

/// How far this node has applied a group's log. Shared with the group's handle.
pub struct Progress {
    pub applied: watch::Sender<u64>,
    /// Term of the last entry applied.
    pub term: watch::Sender<u64>,
    /// Log bytes applied since the group was opened.
    pub bytes: AtomicU64,
    /// A snapshot was sealed that the library has not taken note of yet.
    pub sealed: AtomicBool,
}

impl Progress {
    pub fn new() -> Self {
        Progress {
            applied: watch::channel(0).0,
            term: watch::channel(0).0,
            bytes: AtomicU64::new(0),
            sealed: false.into(),
        }
    }
}

/// One group's state machine, as the library wants it. Cheap to clone.
#[derive(Clone)]
pub struct Machine {
    pub group: GroupNumber,
    pub partition: Arc<Partition>,
    pub engine: Arc<dyn StateMachine>,
    pub progress: Arc<Progress>,
    pub fatal: Fatal,
}

/// What a store knows of the log, as the library counts.
pub fn state_of(applied: &Applied) -> io::Result<(Option<LogId>, StoredMembership)> {
    let membership = match applied.membership.is_empty() {
        true => StoredMembership::default(),
        false => MembershipRecord::decode(&applied.membership).and_then(|m| m.stored()).map_err(malformed)?,
    };
    Ok((log_id(applied.index, applied.term), membership))
}

impl Machine {
    fn checked<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &result {
            (self.fatal)(&format!("{what} of group {}: {e}", self.group));
        }
        result
    }

    /// Gives a piece to the engine, then tells whoever proposed it.
    async fn deliver(&self, piece: &mut Piece) -> io::Result<()> {
        let Some(last) = piece.entries.last() else { return Ok(()) };
        let (index, term) = (last.index, last.term);
        self.partition.room().await;
        self.engine.apply(self.group, std::mem::take(&mut piece.entries));
        let reached = self.partition.applied().index;
        if reached < index {
            let text = format!("the state machine stands at {reached} after applying up to {index}");
            return Err(io::Error::other(text));
        }
        self.progress.bytes.fetch_add(std::mem::take(&mut piece.bytes), Ordering::Relaxed);
        self.progress.term.send_if_modified(|t| std::mem::replace(t, term) != term);
        self.progress.applied.send_replace(index);
        for responder in piece.responders.drain(..) {
            responder.send(());
        }
        Ok(())
    }

    async fn apply_all<S>(&self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut piece = Piece::default();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let (index, term) = (outside(entry.log_id.index), entry.log_id.leader_id.term);
            let payload = match entry.payload {
                EntryPayload::Normal(proposal) => proposal.payload,
                EntryPayload::Blank => Bytes::new(),
                EntryPayload::Membership(membership) => {
                    self.deliver(&mut piece).await?;
                    let record = MembershipRecord::of(&membership, Some(&entry.log_id));
                    self.partition.set_membership(Position { index, term, leader: 0 }, record.encode());
                    Bytes::new()
                }
            };
            piece.bytes += payload.len() as u64 + ENTRY_OVERHEAD;
            piece.entries.push(api::Entry { index, term, payload });
            piece.responders.extend(responder);
            if piece.entries.len() >= PIECE_ENTRIES || piece.bytes >= PIECE_BYTES as u64 {
                self.deliver(&mut piece).await?;
            }
        }
        self.deliver(&mut piece).await
    }
}

/// Entries on their way to the engine.
#[derive(Default)]
struct Piece {
    entries: Vec<api::Entry>,
    responders: Vec<ApplyResponder<Types>>,
    bytes: u64,
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.checked("reading the position", state_of(&self.partition.applied()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let applied = self.apply_all(entries).await;
        self.checked("applying entries", applied)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, _: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let installed = super::snapshot::install(&self.partition, snapshot).await;
        self.checked("installing a snapshot", installed)?;
        let applied = self.partition.applied();
        self.progress.term.send_replace(applied.term);
        self.progress.applied.send_replace(applied.index);
        self.engine.installed(self.group, applied.index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Sealed>> {
        let newest = super::snapshot::newest(&self.partition);
        self.checked("looking for snapshots", newest)
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = SnapshotData;

    /// A failure in here stops the group, and a full disk must not. So [`super::Group::trigger_snapshot`] seals first and
    /// the library only takes note of the file; and where it asks by itself, an older file is as good.
    async fn build_snapshot(&mut self) -> io::Result<Sealed> {
        let newest = super::snapshot::newest(&self.partition)?;
        if let Some(newest) = newest.clone().filter(|_| self.progress.sealed.swap(false, Ordering::Relaxed)) {
            return Ok(newest);
        }
        match (super::snapshot::build(&self.partition, &self.fatal).await, newest) {
            (Err(_), Some(newest)) => Ok(newest),
            (built, _) => built,
        }
    }
}
