//! The replicated log's bytes at rest: segments, group commit, repair (P1, P7).
//!
//! All Raft groups of a node share one log. Whatever waits when a sync returns goes into the next write, which is one
//! `pwrite` and one `fdatasync` into space that was allocated and zeroed beforehand. A torn last write is cut; a bad
//! record that was once durable is [`Damage`], to be fetched from a peer, and never the end of the log.

mod format;
mod group;
mod ledger;
mod read;
mod recover;
mod relocate;
mod replay;
mod scrub;
mod segment;
mod shared;
mod tempo;
mod writer;

#[cfg(test)]
mod tests;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{format::*, recover::*};
}

use crate::seam::{
    World,
    fs::{Fs, blocking},
    pace::Pace,
    trouble::{Planted, planted},
};
use bytes::Bytes;
use format::{HEADER_BYTES, MAX_RECORD, Mark};
use group::position;
use shared::{Done, Handle, Op};
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A Raft group: the partition's number.
pub type GroupId = u16;
/// Index, term, Raft id of that term's leader.
pub type Position = (u64, u64, u64);

/// How a log is kept.
#[derive(Clone)]
pub struct LogOptions {
    /// Bytes of one segment file; at least [`LogOptions::MIN_SEGMENT`].
    pub segment_bytes: u64,
    /// Segments kept ready beside the one in use: the log's reserve of disk space.
    pub spare_segments: usize,
    /// Bytes of recent payloads kept in memory for reads.
    pub cache_bytes: usize,
    /// Bytes that may wait to be written. [`GroupLog::append`] beyond twice that fails; [`GroupLog::room`] waits below.
    pub queue_bytes: usize,
    /// How long a write waits for a new segment that cannot be made before it fails. A full disk is waited for without
    /// end: nothing is lost meanwhile, others go on, and it passes (P9).
    pub space_patience: Duration,
    /// Called once when a write or sync failed: durability is unknown from then on and the process must stop (P7).
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

impl LogOptions {
    /// The smallest segment: header and a few pages.
    pub const MIN_SEGMENT: u64 = 16 * HEADER_BYTES;
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            segment_bytes: 64 << 20,
            spare_segments: 1,
            cache_bytes: 32 << 20,
            queue_bytes: 64 << 20,
            space_patience: Duration::from_secs(30),
            fatal: Arc::new(|why| {
                tracing::error!(event = "log.failed", why, "the log cannot be written; stopping");
                std::process::abort();
            }),
        }
    }
}

/// One entry of a group's log. The payload is consensus' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub index: u64,
    pub term: u64,
    /// Raft id of the leader of that term.
    pub leader: u64,
    pub payload: Bytes,
}

/// Entries that were durable once and cannot be read any more: to be fetched from a peer and given to
/// [`GroupLog::repair`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub group: GroupId,
    pub range: Range<u64>,
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log i/o failed: {0}")]
    Io(#[from] io::Error),
    /// A vote or other state may be among what was lost. The node must not go on under its Raft id (it could vote
    /// twice): it comes back empty, as its next incarnation.
    #[error("state records of the log were lost in segment {segment} near byte {offset}; the node must rejoin empty")]
    StateLost { segment: u32, offset: u64 },
    /// Written by a newer release than this one and its neighbours.
    #[error("the log was written in format {0}, which this program does not read")]
    Newer(u32),
}

/// What a newer release than this one wrote in the log's folder, in words; reads only.
pub fn newer(fs: &dyn Fs, dir: &Path) -> io::Result<Option<String>> {
    let version = recover::newer(fs, dir)?;
    Ok(version.map(|version| format!("{}: {}", dir.display(), LogError::Newer(version))))
}

/// What a group's log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    pub vote: Option<Bytes>,
    pub committed: Option<Bytes>,
    /// The last entry that a snapshot covers and that is gone.
    pub purged: Option<Position>,
    /// The last entry; `purged` if none is held.
    pub last: Option<Position>,
}

/// The log of a node. Cheap to clone; stops writing when the last handle is dropped.
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

impl Log {
    /// Opens or makes the log in `dir`. Damaged entries are reported, and their groups can be used except for them.
    pub async fn open(world: World, dir: PathBuf, options: LogOptions) -> Result<(Log, Vec<Damage>), LogError> {
        let mut epoch = [0; 8];
        world.rng.fill(&mut epoch);
        let scan = options.clone();
        let opened = blocking(&world.fs, {
            let fs = world.fs.clone();
            move |_| recover::open(fs, dir, &scan, u64::from_le_bytes(epoch))
        })
        .await?;
        let damage = opened.damage.clone();
        for d in &damage {
            tracing::warn!(event = "log.damaged", group = d.group, from = d.range.start, to = d.range.end - 1);
        }
        let shared = blocking(&world.fs, {
            let fs = world.fs.clone();
            move |_| writer::start(opened, options, fs)
        })
        .await?;
        Ok((Log { handle: Arc::new(Handle(shared)) }, damage))
    }

    /// Reads and checks every entry where it lies on the disk, at `pace`; what is read from memory in daily work rots
    /// unseen otherwise. Returns what turned out damaged: to be fetched from a peer (P7).
    pub async fn scrub(&self, pace: &Pace) -> Vec<Damage> {
        scrub::scrub(&self.handle.0, pace).await
    }

    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog { handle: self.handle.clone(), group }
    }

    /// Groups that have something in this log.
    pub fn groups(&self) -> Vec<GroupId> {
        self.handle.0.groups()
    }

    /// Bytes of all segment files, spares included.
    pub fn bytes(&self) -> u64 {
        self.handle.0.dir.bytes()
    }

    /// Writes what waits, marks the end, and stops. Later calls through other handles fail.
    pub async fn close(self) {
        self.handle.0.close().await;
    }
}

/// One group's part of the log.
#[derive(Clone)]
pub struct GroupLog {
    handle: Arc<Handle>,
    group: GroupId,
}

impl GroupLog {
    pub fn id(&self) -> GroupId {
        self.group
    }

    /// State in memory: includes what is queued and not yet durable.
    pub fn state(&self) -> GroupState {
        self.handle.0.with(self.group, |g| GroupState {
            vote: g.vote.clone(),
            committed: g.committed.clone(),
            purged: g.purged.as_ref().map(position),
            last: g.last().as_ref().map(position),
        })
    }

    /// The term of an entry that the log holds, from memory; 0 where its record is lost and nothing tells it.
    pub fn term(&self, index: u64) -> Option<u64> {
        self.handle.0.with(self.group, |g| g.slot(index).map(|slot| slot.term))
    }

    /// Bytes of payload in a stretch of the entries held, from memory.
    pub fn bytes_of(&self, range: Range<u64>) -> u64 {
        self.handle.0.with(self.group, |g| {
            let held = g.range();
            let within = range.start.max(held.start)..range.end.min(held.end);
            within.filter_map(|index| g.slot(index)).map(|slot| u64::from(slot.len)).sum()
        })
    }

    /// Adds entries behind the last. They can be read at once; `done` is called from the writer's thread, in order,
    /// when they are durable, or with an error. It must not block.
    pub fn append(&self, records: Vec<LogRecord>, done: Box<dyn FnOnce(io::Result<()>) + Send>) {
        self.handle.0.append(self.group, records, done);
    }

    /// How long a sync of the whole log takes just now; `None` while too few were made lately to say so.
    pub fn sync_time(&self) -> Option<Duration> {
        self.handle.0.tempo.now()
    }

    /// Waits until less than [`LogOptions::queue_bytes`] wait to be written.
    pub async fn room(&self) {
        self.handle.0.room().await;
    }

    /// Durable on return; ordered with appends.
    pub async fn save_vote(&self, vote: Bytes) -> io::Result<()> {
        let group = self.group;
        self.handle
            .0
            .wait(group, move |g| {
                g.vote = Some(vote.clone());
                if planted(Planted::VoteBeforeSync) {
                    return Ok(Vec::new());
                }
                Ok(vec![Op::Vote { group, vote }])
            })
            .await
    }

    /// Written with the next batch; the newest value wins.
    pub fn save_committed(&self, committed: Bytes) {
        self.handle.0.save_committed(self.group, committed);
    }

    /// Takes entries behind `keep` away (all of them for `None`). Durable on return.
    pub async fn truncate_after(&self, keep: Option<u64>) -> io::Result<()> {
        let group = self.group;
        self.handle
            .0
            .wait(group, move |g| {
                let from = keep.map_or(0, |k| k + 1).max(g.range().start);
                if from >= g.range().end {
                    return Ok(Vec::new());
                }
                g.truncate(from);
                let last = g.last();
                Ok(vec![Op::Truncate { group, from, last }])
            })
            .await
    }

    /// Takes entries up to and including `upto` away, because a snapshot covers them. If the log ends before, it
    /// restarts behind `upto`. Durable on return; segments that hold nothing any more are used again.
    pub async fn purge(&self, upto: u64, term: u64, leader: u64) -> io::Result<()> {
        let group = self.group;
        self.handle
            .0
            .wait(group, move |g| {
                if g.purged.as_ref().is_some_and(|p| p.index >= upto) {
                    return Ok(Vec::new());
                }
                let mark = mark_of(g, group, (upto, term, leader));
                g.purge(mark.clone());
                Ok(vec![Op::Purge { group, mark }])
            })
            .await
    }

    /// A snapshot up to `at` was installed. Where the log holds that very entry, or was cut at it or behind it, what follows
    /// stays; otherwise the log is emptied and restarts behind it. Ordered with appends, durable with the next batch.
    pub fn install(&self, at: Position) {
        let group = self.group;
        self.handle.0.install(group, at);
    }

    /// Entries of `range` in order, as many as fit in `max_bytes` (at least one); fewer where the log ends. `NotFound`
    /// if the first is purged, `InvalidData` if it is damaged.
    pub async fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<LogRecord>> {
        read::read(&self.handle.0, self.group, range, max_bytes).await
    }

    /// Damaged entries of this group, found at start or by a read since.
    pub fn holes(&self) -> Vec<Range<u64>> {
        self.handle.0.with(self.group, |g| g.holes())
    }

    /// Fills damaged stretches with entries fetched from a peer. A stretch must be given whole, and its entries are
    /// proven by the checksums that the log kept around it: others are refused with `InvalidData`. Entries that are
    /// not missing are passed over. Durable on return.
    pub async fn repair(&self, records: Vec<LogRecord>) -> io::Result<()> {
        self.handle.0.repair(self.group, records).await
    }
}

/// `at` with the chain up to it, where it is known, or the start of a new chain.
fn mark_of(g: &group::Group, group: GroupId, (index, term, leader): Position) -> Mark {
    let chain = match g.slot(index) {
        Some(slot) if slot.chain != 0 && slot.term == term => slot.chain,
        _ => format::entry_chain(0, group, index, term, leader, 0),
    };
    Mark { index, term, leader, chain, ..Mark::default() }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the log is closed")
}

fn check_len(record: &LogRecord) -> io::Result<()> {
    if record.payload.len() > MAX_RECORD {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "log record too long"));
    }
    Ok(())
}

/// An error that can be given to several callers.
fn again(e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), e.to_string())
}

/// Used by callers that wait for durability.
fn done_channel() -> (Done, tokio::sync::oneshot::Receiver<io::Result<()>>) {
    let (send, receive) = tokio::sync::oneshot::channel();
    let done: Done = Box::new(move |result| {
        let _ = send.send(result);
    });
    (done, receive)
}
