//! The library's log storage over one group of the node's log (P1, P7).
//!
//! An append is readable when the call returns and reported when it is durable. Any error here ends the process: a
//! leader that cannot read its log, or a log that may not be on disk, must not go on.

use super::api::{Fatal, GroupNumber};
use super::types::{Entry, LogId, PositionRecord, Types, Vote, VoteRecord, entry, log_id, log_record, outside};
use crate::log::{GroupLog, Log, LogRecord};
use crate::store::Partition;
use crate::wire::record::{Malformed, Record};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Entries of one append call between nodes, in bytes of content; one larger entry goes alone.
pub const APPEND_BYTES: usize = 4 << 20;
/// Entries read at once to be applied.
const APPLY_BYTES: usize = 4 << 20;

/// One group's log, as the library wants it. Cheap to clone.
#[derive(Clone)]
pub struct LogStorage {
    log: GroupLog,
    partition: Arc<Partition>,
    fatal: Fatal,
}

impl LogStorage {
    pub fn new(log: GroupLog, partition: Arc<Partition>, fatal: Fatal) -> Self {
        LogStorage { log, partition, fatal }
    }

    /// Passes a result on; an error stops the process first.
    fn checked<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &result {
            (self.fatal)(&format!("{what} of group {}: {e}", self.log.id()));
        }
        result
    }

    fn last(&self) -> u64 {
        self.log.state().last.map_or(0, |(index, ..)| index)
    }

    /// Entries from `from` up to `to` (outside indexes, `to` excluded) that fit in `max_bytes`.
    async fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (mut from, mut to) = (from, to);
        loop {
            to = to.min(self.last() + 1);
            if let Some((purged, ..)) = self.log.state().purged {
                from = from.max(purged + 1);
            }
            if from >= to {
                return Ok(vec![]);
            }
            match self.log.read(from..to, max_bytes).await {
                // Cut meanwhile, or the log began later: the library takes a range without its beginning.
                Err(e) if e.kind() == io::ErrorKind::NotFound => from += 1,
                records => {
                    let entries = records.and_then(|r| r.into_iter().map(parsed).collect());
                    return self.checked("reading the log", entries);
                }
            }
        }
    }
}

fn parsed(record: LogRecord) -> io::Result<Entry> {
    entry(record).map_err(malformed)
}

pub fn malformed(e: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

/// A library range in outside indexes, end excluded.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX - 1,
    };
    (outside(from), outside(to))
}

impl RaftLogReader<Types> for LogStorage {
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let storage = self.clone();
        // A long stretch is read piece by piece, so that catching up takes little memory.
        stream::unfold(Some((storage, from)), move |state| async move {
            let (storage, from) = state?;
            match storage.read(from, to, APPLY_BYTES).await {
                Ok(entries) => {
                    let next = outside(entries.last()?.log_id.index) + 1;
                    let entries: Vec<_> = entries.into_iter().map(Ok).collect();
                    Some((stream::iter(entries), Some((storage, next))))
                }
                Err(e) => Some((stream::iter(vec![Err(e)]), None)),
            }
        })
        .flatten()
        .boxed()
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (mut from, to) = bounds(&range);
        let mut all = Vec::new();
        loop {
            let entries = self.read(from, to, APPLY_BYTES).await?;
            match entries.last() {
                Some(last) => from = outside(last.log_id.index) + 1,
                None => return Ok(all),
            }
            all.extend(entries);
        }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries = self.read(outside(start), outside(end), APPEND_BYTES).await?;
        // A follower numbers what it gets behind the entry before `start`: with the beginning cut off meanwhile, what
        // is left would be logged under wrong indexes. The library takes nothing for a heartbeat and looks again.
        Ok(if entries.first().is_some_and(|e| e.log_id.index == start) { entries } else { vec![] })
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let read = |bytes: Bytes| VoteRecord::decode(&bytes).map(|v| v.vote()).map_err(malformed);
        self.checked("reading the vote", self.log.state().vote.map(read).transpose())
    }
}

/// The term of the vote that this node's log keeps for a group: it follows no leader of an earlier one. `None` before the
/// first vote, and where it cannot be read (the group will say so when it starts).
pub fn promised(log: &Log, group: GroupNumber) -> Option<u64> {
    let vote = log.group(group).state().vote?;
    VoteRecord::decode(&vote).ok().map(|vote| vote.term)
}

impl RaftLogStorage<Types> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state();
        let place = |(index, term, _)| log_id(index, term);
        Ok(LogState { last_purged_log_id: state.purged.and_then(place), last_log_id: state.last.and_then(place) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let saved = self.log.save_vote(VoteRecord::of(vote).encode()).await;
        self.checked("saving the vote", saved)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.log.save_committed(PositionRecord::of(committed.as_ref()).encode());
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let read = |bytes: Bytes| PositionRecord::decode(&bytes).map(|p| p.log_id()).map_err(malformed);
        let committed = self.log.state().committed.map(read).transpose();
        let committed = self.checked("reading the committed position", committed)?.flatten();
        // Saved with the next batch, so it may be ahead of entries that a crash took away.
        let (last, purged) = (self.last(), self.log.state().purged);
        match committed {
            Some(at) if outside(at.index) > last => {
                let held = self.read(last, last + 1, 1).await?.pop().map(|e| e.log_id);
                Ok(held.or(purged.and_then(|(index, term, _)| log_id(index, term))))
            }
            other => Ok(other),
        }
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = <Types as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(|e| log_record(&e)).collect();
        let (fatal, group) = (self.fatal.clone(), self.log.id());
        let done = move |result: io::Result<()>| {
            if let Err(e) = &result {
                fatal(&format!("appending to the log of group {group}: {e}"));
            }
            callback.io_completed(result);
        };
        self.log.append(records, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let (keep, applied) = (last.map(|at| outside(at.index)), self.partition.applied().index);
        // Rows that are applied are not taken back: who went on would tell something else than the others, for ever (P2, P7).
        if keep.unwrap_or(0) < applied {
            let kept = keep.unwrap_or(0);
            let why =
                format!("entry {applied} is applied, and another leader's log parts from this one behind entry {kept}");
            return self.checked("truncating the log", Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let done = self.log.truncate_after(keep).await;
        self.checked("truncating the log", done)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let done = self.log.purge(outside(upto.index), upto.leader_id.term, 0).await;
        self.checked("cutting the log", done)
    }
}
