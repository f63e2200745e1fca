//! What callers and the writer share: the groups in memory and the queue of what must be written (P1, P6).

use super::{
    GroupId, LogOptions, LogRecord, Position, again, check_len, closed, done_channel,
    format::{Mark, entry_chain, record_size},
    group::{Group, Place, Slot},
    mark_of,
    segment::{Dir, Segment},
    tempo::Tempo,
};
use crate::seam::fs::Fs;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};
use tokio::sync::Notify;

/// Called when what it came with is durable, or failed.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// An entry to write.
pub struct EntryOp {
    pub group: GroupId,
    pub index: u64,
    pub term: u64,
    pub leader: u64,
    pub chain: u32,
    pub content: u32,
    pub ticket: u64,
    pub payload: Bytes,
}

/// One record to write.
pub enum Op {
    Entry(EntryOp),
    Fill(EntryOp),
    Vote { group: GroupId, vote: Bytes },
    Truncate { group: GroupId, from: u64, last: Option<Mark> },
    Purge { group: GroupId, mark: Mark },
    Install { group: GroupId, mark: Mark },
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Entry(e) | Op::Fill(e) => record_size(e.payload.len()) as usize,
            Op::Vote { vote, .. } => record_size(vote.len()) as usize,
            Op::Truncate { .. } | Op::Purge { .. } | Op::Install { .. } => record_size(0) as usize,
        }
    }
}

/// What one call wants written, in one piece.
pub struct Item {
    pub ops: Vec<Op>,
    pub bytes: usize,
    pub done: Option<Done>,
}

/// The state behind the lock. Nothing is done under it that waits.
pub struct State {
    pub groups: BTreeMap<GroupId, Group>,
    pub queue: VecDeque<Item>,
    /// Bytes queued or being written.
    pub queued_bytes: usize,
    /// Segments in use, for reads.
    pub segments: BTreeMap<u32, Segment>,
    /// Groups whose `committed` is newer than the disk's.
    pub committed_dirty: BTreeSet<GroupId>,
    tickets: u64,
    /// Entries whose payload is in memory, oldest first; may name some that are gone.
    recent: VecDeque<(GroupId, u64)>,
    pub closing: bool,
    pub finished: bool,
    /// The thread that prepares segments runs.
    pub tending: bool,
    failed: Option<io::Error>,
}

pub struct Shared {
    pub fs: Arc<dyn Fs>,
    pub options: LogOptions,
    pub dir: Arc<Dir>,
    pub epoch: u64,
    state: Mutex<State>,
    /// Wakes the writer's thread, or its task in a simulation.
    pub wake: Condvar,
    pub notify: Notify,
    /// Wakes the thread that prepares segments.
    pub tend: Condvar,
    /// How long syncs take.
    pub tempo: Tempo,
    room: Notify,
    finished: Notify,
}

/// Held by every handle; the last one to go stops the writer.
pub struct Handle(pub Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.wake_writer();
    }
}

impl Shared {
    pub fn new(
        fs: Arc<dyn Fs>,
        options: LogOptions,
        epoch: u64,
        groups: BTreeMap<GroupId, Group>,
        used: Vec<Segment>,
        dir: Arc<Dir>,
    ) -> Shared {
        let state = State {
            groups,
            queue: VecDeque::new(),
            queued_bytes: 0,
            segments: used.into_iter().map(|s| (s.sequence, s)).collect(),
            committed_dirty: BTreeSet::new(),
            tickets: 0,
            recent: VecDeque::new(),
            closing: false,
            finished: false,
            tending: false,
            failed: None,
        };
        Shared {
            fs,
            options,
            dir,
            epoch,
            state: Mutex::new(state),
            wake: Condvar::new(),
            notify: Notify::new(),
            tend: Condvar::new(),
            tempo: Tempo::default(),
            room: Notify::new(),
            finished: Notify::new(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn wake_writer(&self) {
        self.wake.notify_all();
        self.notify.notify_one();
    }

    /// After there is something for it to do. Takes the lock, so that it is either before its look or in its sleep.
    pub fn wake_tender(&self) {
        let _state = self.lock();
        self.tend.notify_all();
    }

    pub fn groups(&self) -> Vec<GroupId> {
        self.lock().groups.keys().copied().collect()
    }

    pub fn with<T: Default>(&self, group: GroupId, look: impl FnOnce(&Group) -> T) -> T {
        self.lock().groups.get(&group).map(look).unwrap_or_default()
    }

    pub fn append(&self, group: GroupId, records: Vec<LogRecord>, done: Done) {
        let mut state = self.lock();
        let result = state.check(self.options.queue_bytes).and_then(|()| state.add(group, records));
        match result {
            Ok(ops) => {
                let cache = self.options.cache_bytes;
                state.enqueue(ops, Some(done));
                state.evict(cache);
                drop(state);
                self.wake_writer();
            }
            Err(e) => {
                drop(state);
                done(Err(e));
            }
        }
    }

    /// Changes a group and waits until the records that say so are durable.
    pub async fn wait(&self, group: GroupId, change: impl FnOnce(&mut Group) -> io::Result<Vec<Op>>) -> io::Result<()> {
        let receive = {
            let mut state = self.lock();
            state.usable()?;
            let ops = change(state.groups.entry(group).or_default())?;
            if ops.is_empty() {
                return Ok(());
            }
            let (done, receive) = done_channel();
            state.enqueue(ops, Some(done));
            receive
        };
        self.wake_writer();
        receive.await.unwrap_or_else(|_| Err(closed()))
    }

    pub fn install(&self, group: GroupId, at: Position) {
        let mut state = self.lock();
        if state.usable().is_err() {
            return;
        }
        let g = state.groups.entry(group).or_default();
        // The log begins there, or behind it: what follows was acknowledged and stays (P1).
        if g.purged.as_ref().is_some_and(|p| (p.index, p.term) == (at.0, at.1) || p.index > at.0) {
            return;
        }
        let mark = mark_of(g, group, at);
        let op = if g.slot(at.0).is_some_and(|s| s.term == at.1) {
            g.purge(mark.clone());
            Op::Purge { group, mark }
        } else {
            g.install(mark.clone());
            Op::Install { group, mark }
        };
        state.enqueue(vec![op], None);
        drop(state);
        self.wake_writer();
    }

    pub fn save_committed(&self, group: GroupId, committed: Bytes) {
        let mut state = self.lock();
        state.groups.entry(group).or_default().committed = Some(committed);
        state.committed_dirty.insert(group);
    }

    pub async fn repair(&self, group: GroupId, records: Vec<LogRecord>) -> io::Result<()> {
        let receive = {
            let mut state = self.lock();
            state.usable()?;
            let ops = state.fill(group, &records)?;
            if ops.is_empty() {
                return Ok(());
            }
            let (done, receive) = done_channel();
            state.enqueue(ops, Some(done));
            receive
        };
        self.wake_writer();
        receive.await.unwrap_or_else(|_| Err(closed()))
    }

    pub async fn room(&self) {
        loop {
            let mut waiting = std::pin::pin!(self.room.notified());
            waiting.as_mut().enable();
            {
                let state = self.lock();
                if state.queued_bytes < self.options.queue_bytes || state.usable().is_err() {
                    return;
                }
            }
            waiting.await;
        }
    }

    pub async fn close(&self) {
        self.lock().closing = true;
        self.wake_writer();
        loop {
            let mut waiting = std::pin::pin!(self.finished.notified());
            waiting.as_mut().enable();
            let ended = {
                let state = self.lock();
                state.finished && !state.tending
            };
            if ended {
                return;
            }
            waiting.await;
        }
    }

    /// The writer wrote `bytes` of the queue.
    pub fn wrote(&self, state: &mut State, bytes: usize) {
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        state.evict(self.options.cache_bytes);
        self.room.notify_waiters();
    }

    /// The thread that prepares segments is gone.
    pub fn tender_stopped(&self) {
        self.lock().tending = false;
        self.finished.notify_waiters();
    }

    /// The writer is gone; `error` if it failed. Everything queued fails.
    pub fn stopped(&self, error: Option<&io::Error>) {
        self.dir.stop();
        let items = {
            let mut state = self.lock();
            state.finished = true;
            state.closing = true;
            if let Some(e) = error {
                state.failed = Some(again(e));
            }
            std::mem::take(&mut state.queue)
        };
        for item in items {
            if let Some(done) = item.done {
                done(Err(error.map_or_else(closed, again)));
            }
        }
        self.finished.notify_waiters();
        self.room.notify_waiters();
        self.wake_tender();
    }
}

impl State {
    pub fn usable(&self) -> io::Result<()> {
        match &self.failed {
            Some(e) => Err(again(e)),
            None if self.closing => Err(closed()),
            None => Ok(()),
        }
    }

    fn check(&self, queue_bytes: usize) -> io::Result<()> {
        self.usable()?;
        if self.queued_bytes > 2 * queue_bytes {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "too much waits to be written to the log"));
        }
        Ok(())
    }

    fn enqueue(&mut self, ops: Vec<Op>, done: Option<Done>) {
        let bytes = ops.iter().map(Op::bytes).sum();
        self.queued_bytes += bytes;
        self.queue.push_back(Item { ops, bytes, done });
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn add(&mut self, group: GroupId, records: Vec<LogRecord>) -> io::Result<Vec<Op>> {
        let mut next = self.groups.entry(group).or_default().next();
        for record in &records {
            check_len(record)?;
            if next.is_some_and(|n| n != record.index) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "log entry does not follow the last one"));
            }
            next = Some(record.index + 1);
        }
        let mut ops = Vec::with_capacity(records.len());
        for LogRecord { index, term, leader, payload } in records {
            let ticket = self.ticket();
            let g = self.groups.entry(group).or_default();
            let content = crc32c::crc32c(&payload);
            let chain = entry_chain(g.last().map_or(0, |m| m.chain), group, index, term, leader, content);
            g.push(index, pending(term, leader, chain, content, ticket, &payload));
            self.recent.push_back((group, index));
            ops.push(Op::Entry(EntryOp { group, index, term, leader, chain, content, ticket, payload }));
        }
        Ok(ops)
    }

    fn fill(&mut self, group: GroupId, records: &[LogRecord]) -> io::Result<Vec<Op>> {
        let holes = self.groups.get(&group).map(Group::holes).unwrap_or_default();
        let mut ops = Vec::new();
        for hole in holes {
            let mut found = Vec::new();
            for record in records.iter().filter(|r| hole.contains(&r.index)) {
                check_len(record)?;
                let content = crc32c::crc32c(&record.payload);
                found.push((((record.index, record.term, record.leader), content), record.payload.clone()));
            }
            if found.is_empty() {
                continue;
            }
            ops.extend(self.fill_hole(group, hole, found)?);
        }
        Ok(ops)
    }

    fn fill_hole(
        &mut self,
        group: GroupId,
        hole: Range<u64>,
        found: Vec<((Position, u32), Bytes)>,
    ) -> io::Result<Vec<Op>> {
        let whole = found.iter().map(|((p, _), _)| p.0).eq(hole.clone());
        let proofs: Vec<(Position, u32)> = found.iter().map(|(p, _)| *p).collect();
        let g = self.groups.entry(group).or_default();
        let before = g.chain_before(hole.start);
        let (true, true, Some(mut chain)) = (whole, g.proves(group, &hole, &proofs), before) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not the log entries that were lost"));
        };
        let mut ops = Vec::new();
        for (((index, term, leader), content), payload) in found {
            let ticket = self.ticket();
            chain = entry_chain(chain, group, index, term, leader, content);
            let slot = pending(term, leader, chain, content, ticket, &payload);
            self.groups.entry(group).or_default().replace(index, slot);
            self.recent.push_back((group, index));
            ops.push(Op::Fill(EntryOp { group, index, term, leader, chain, content, ticket, payload }));
        }
        Ok(ops)
    }

    /// Keeps payloads in memory within `limit`, as far as they are on disk.
    fn evict(&mut self, limit: usize) {
        let mut held: usize = self.groups.values().map(Group::cached).sum();
        while let Some((group, index)) = self.recent.front().copied() {
            let g = self.groups.get_mut(&group);
            match g.as_ref().and_then(|g| g.slot(index)) {
                Some(slot) if slot.payload.is_some() => {
                    if held <= limit || matches!(slot.place, Place::Pending(_)) {
                        break;
                    }
                    held -= g.map_or(0, |g| g.forget(index));
                }
                _ => {}
            }
            self.recent.pop_front();
        }
        // Entries of a group that purges often leave names behind one of a group that never does.
        let cached: u64 = self.groups.values().map(|g| g.range().end - g.range().start).sum();
        if self.recent.len() as u64 > 2 * cached + 1024 {
            let groups = &self.groups;
            self.recent.retain(|(group, index)| {
                groups.get(group).and_then(|g| g.slot(*index)).is_some_and(|s| s.payload.is_some())
            });
        }
    }
}

fn pending(term: u64, leader: u64, chain: u32, content: u32, ticket: u64, payload: &Bytes) -> Slot {
    Slot {
        term,
        leader,
        chain,
        content,
        len: payload.len() as u32,
        place: Place::Pending(ticket),
        payload: Some(payload.clone()),
    }
}
