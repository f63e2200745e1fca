//! One partition's rows: applied into memory, flushed to blocks in the background, read through both.
//!
//! Invariants: applying never touches the disk; a read sees every entry applied before it began; a restart finds the
//! rows as of [`Partition::durable`], or some rows of later entries too, over which the log is applied again. Rows
//! that such a replay may already have are never taken for fresh.

use super::blocks::{BlockTree, Rest};
use super::cut::{Journal, Rows};
use super::memory::Table;
use super::open::Shared;
use super::scan::{gather, merge, nearer, order};
use super::snapshot::{Layer, SnapshotInfo};
use super::{Applied, Position, Reader, RowOp, StoreError};
use crate::ops::metrics as names;
use crate::seam::fs::blocking;
use crate::seam::pace::Pace;
use bytes::Bytes;
use std::{
    cmp::Ordering,
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{self, AtomicU64, AtomicUsize},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Changes looked at beyond what was asked for, so that a scan over deleted rows seldom needs a second round.
const GATHER_AHEAD: usize = 256;
/// Times that a scan starts again because a flush moved rows under it; the last time it holds the flush off.
const SCAN_TRIES: usize = 4;

/// Rest after a piece of background work while memory has room, as a multiple of what the piece took.
const REST: f64 = 6.0;

/// Free space that a flush or a snapshot leaves: some of the engine's segments, which it takes ahead.
const ENGINE_ROOM: u64 = 16 << 20;

/// A partition of the store. Shared; all methods take `&self`.
pub struct Partition {
    pub(super) number: u16,
    pub(super) shared: Arc<Shared>,
    memory: RwLock<Memory>,
    /// One flush, snapshot installation or rebuild at a time.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// One snapshot at a time, and none while rows are replaced. Taken before `turn`.
    pub(super) snapshot_turn: Arc<tokio::sync::Mutex<()>>,
    /// Sealed snapshots on disk, oldest first.
    pub(super) sealed: RwLock<Vec<SnapshotInfo>>,
    /// Sealed layers on disk.
    pub(super) layers: RwLock<Vec<Layer>>,
    /// Up to which entry files may hold rows that are in no list: their names told it at the start, or they were in a list
    /// until they could not be read.
    named_until: AtomicU64,
    /// Who waits for a flush or a snapshot now, be it one that is under way in the background: then that does not rest.
    hurried: AtomicUsize,
}

/// Somebody waits, until this is dropped.
pub(super) struct Hurry<'a>(&'a AtomicUsize);

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, atomic::Ordering::Relaxed);
    }
}

struct Memory {
    active: Table,
    /// What a flush is merging into the blocks, and how far it reaches.
    frozen: Option<Arc<(Table, Applied)>>,
    /// Since when the active table has held rows.
    dirty_since: Option<Instant>,
    applied: Applied,
    durable: Applied,
    /// Entries up to here may be in the blocks already: their rows are not fresh.
    replay_until: u64,
    /// A snapshot is being written of the rows, and began when entries were applied up to here: no row is fresh.
    walking: Option<u64>,
    /// Below this the rows are a mixture of moments and must not be served.
    servable_from: u64,
    damaged: bool,
    /// Rises when the active table is frozen: tells a scan that rows moved.
    rotations: u64,
    /// What is applied while a cut through all partitions is sought: see `cut`.
    journal: Option<Journal>,
    blocks: Arc<BlockTree>,
}

impl Memory {
    fn over(blocks: BlockTree, rest: Rest, rotations: u64) -> Memory {
        Memory {
            active: Table::default(),
            frozen: None,
            dirty_since: None,
            durable: rest.applied.clone(),
            applied: rest.applied,
            replay_until: rest.flushing_to,
            walking: None,
            servable_from: rest.flushing_to,
            damaged: false,
            rotations,
            journal: None,
            blocks: Arc::new(blocks),
        }
    }
}

impl Memory {
    /// Rows of entries up to here may be in sealed files, where a replay makes them again and may delete them: the next
    /// layer must say so, though they are new to the table.
    fn replay_until(&mut self, sealed: u64) {
        self.replay_until = self.replay_until.max(sealed);
    }
}

impl Partition {
    pub(super) fn new(
        number: u16,
        shared: Arc<Shared>,
        blocks: BlockTree,
        rest: Rest,
        sealed: Vec<SnapshotInfo>,
        layers: Vec<Layer>,
        named_until: u64,
    ) -> Partition {
        let memory = Memory::over(blocks, rest, 0);
        let partition = Partition {
            number,
            shared,
            memory: RwLock::new(memory),
            turn: Arc::default(),
            snapshot_turn: Arc::default(),
            sealed: RwLock::new(sealed),
            layers: RwLock::new(layers),
            named_until: AtomicU64::new(named_until),
            hurried: AtomicUsize::new(0),
        };
        partition.write().replay_until(partition.sealed_until());
        partition
    }

    /// Up to which entry sealed files may hold rows.
    fn sealed_until(&self) -> u64 {
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let files = sealed.iter().map(|s| s.after_index).chain(layers.iter().map(|l| l.to.index));
        files.max().unwrap_or(0).max(self.named_until.load(atomic::Ordering::Relaxed))
    }

    /// Files are about to leave the lists and stay on the disk: the next start may read them.
    pub(super) fn remember_named(&self) {
        self.named_until.fetch_max(self.sealed_until(), atomic::Ordering::Relaxed);
    }

    /// Starts again from other rows at rest; everything in memory is forgotten.
    pub(super) fn replace(&self, blocks: BlockTree, rest: Rest) {
        let held = self.memory_bytes();
        let mut memory = self.write();
        *memory = Memory::over(blocks, rest, memory.rotations + 1);
        memory.replay_until(self.sealed_until());
        drop(memory);
        self.shared.pool.moved(held, 0);
        self.shared.pool.flushed.notify_waiters();
    }

    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition's number; 0 is the site's.
    pub fn number(&self) -> u16 {
        self.number
    }
    /// How far entries are applied, in memory.
    pub fn applied(&self) -> Applied {
        self.read().applied.clone()
    }
    /// What a restart starts from. The log must not be cut by it: only below a snapshot (P7).
    pub fn durable(&self) -> Applied {
        self.read().durable.clone()
    }
    /// Whether reads may be answered: not while rows of later entries may already be there, not after damage.
    pub fn servable(&self) -> bool {
        let memory = self.read();
        !memory.damaged && memory.applied.index >= memory.servable_from
    }
    /// Where the snapshot began that is being written of the rows, if one is.
    pub(super) fn walking(&self) -> Option<u64> {
        self.read().walking
    }

    /// A snapshot of the rows begins. One at a time.
    pub(super) fn begin_walk(&self) -> Applied {
        let mut memory = self.write();
        memory.active.nothing_is_fresh();
        memory.walking = Some(memory.applied.index);
        memory.applied.clone()
    }

    pub(super) fn end_walk(&self) {
        self.write().walking = None;
    }

    /// A snapshot from elsewhere is about to be among the files, and rows of it may be deleted here before it is installed,
    /// if it ever is: from now on a deletion leaves its mark. False where entries behind it are applied already, and marks
    /// may be lost.
    pub(super) fn expect_snapshot(&self, info: &SnapshotInfo) -> bool {
        let mut memory = self.write();
        if info.before.index < memory.applied.index {
            return false;
        }
        memory.active.nothing_is_fresh();
        memory.replay_until(info.after_index);
        true
    }

    /// The index up to which entries may be in the rows, some or all of them.
    pub(super) fn mixed_until(&self) -> u64 {
        let memory = self.read();
        memory.applied.index.max(memory.servable_from)
    }
    /// Whether stored rows failed a check: nothing is served until they are rebuilt.
    pub fn is_damaged(&self) -> bool {
        self.read().damaged
    }
    /// Memory that rows not yet flushed take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let memory = self.read();
        memory.active.bytes() + memory.frozen.as_ref().map_or(0, |f| f.0.bytes())
    }

    /// Takes over one entry's rows, decided elsewhere, and moves the position. Entries come in log order; an entry at
    /// or below the applied index is ignored. Costs a few microseconds; see [`Partition::room`] for the bound.
    pub fn apply(&self, at: Position, rows: &[RowOp]) {
        let mut memory = self.write();
        if at.index <= memory.applied.index {
            return;
        }
        let before = memory.active.bytes();
        let known_fresh = at.index > memory.replay_until && memory.walking.is_none();
        for row in rows {
            match row {
                RowOp::Put { key, value, fresh } => memory.active.put(key, value, *fresh && known_fresh),
                RowOp::Delete { key } => memory.active.delete(key),
            }
        }
        memory.applied.index = at.index;
        memory.applied.term = at.term;
        memory.applied.leader = at.leader;
        let Memory { journal, applied, .. } = &mut *memory;
        if let Some(journal) = journal {
            journal.note(applied.clone(), rows);
        }
        if memory.dirty_since.is_none() && !memory.active.is_empty() {
            memory.dirty_since = Some(Instant::now());
        }
        // Under the lock, so that a flush never takes away what was not added yet.
        if self.shared.pool.moved(before, memory.active.bytes()) >= self.shared.options.memory_bytes / 2 {
            self.shared.wake.notify_one();
        }
    }

    /// Takes over the members as of an entry, and moves the position.
    pub fn set_membership(&self, at: Position, membership: Bytes) {
        let mut memory = self.write();
        if at.index <= memory.applied.index {
            return;
        }
        memory.applied = Applied { membership, ..memory.applied.clone() };
        (memory.applied.index, memory.applied.term, memory.applied.leader) = (at.index, at.term, at.leader);
        let Memory { journal, applied, .. } = &mut *memory;
        if let Some(journal) = journal {
            journal.note(applied.clone(), &[]);
        }
    }

    /// Everything that was changed since the last flush, and from now on a journal of what follows. The caller has both
    /// turns, so that no flush takes rows away. `None` while reads may not be answered.
    pub(super) fn begin_journal(&self) -> Option<(Applied, Rows)> {
        let mut memory = self.write();
        if memory.damaged || memory.frozen.is_some() || memory.applied.index < memory.servable_from {
            return None;
        }
        memory.journal = Some(Journal::default());
        Some((memory.applied.clone(), memory.active.range(&[], None).collect()))
    }

    /// What came since the last call, or since the journal was begun.
    pub(super) fn take_journal(&self) -> Option<Journal> {
        self.write().journal.as_mut().map(Journal::take)
    }

    pub(super) fn end_journal(&self) {
        self.write().journal = None;
    }

    pub(super) fn blocks(&self) -> Arc<BlockTree> {
        self.read().blocks.clone()
    }

    /// Waits until the tables in memory of all partitions are within their bound. Whoever proposes or applies awaits
    /// this first (P6).
    pub async fn room(&self) {
        loop {
            let flushed = self.shared.pool.flushed.notified();
            tokio::pin!(flushed);
            flushed.as_mut().enable();
            // Rows of a damaged partition cannot be flushed. The log goes on a while, until the node starts again.
            let bound = self.shared.options.memory_bytes * if self.read().damaged { 2 } else { 1 };
            if self.shared.pool.bytes() < bound {
                return;
            }
            metrics::counter!(names::STORE_FULL_WAITS).increment(1);
            self.shared.wake.notify_one();
            flushed.await;
        }
    }

    /// Whether rows have been in memory for so long that the background flush should take this partition now.
    pub(super) fn due(&self) -> bool {
        let memory = self.read();
        !memory.damaged && memory.dirty_since.is_some_and(|s| s.elapsed() >= self.shared.options.flush_interval)
    }
    /// Bytes that a flush would take out of memory; 0 where it must not be tried.
    pub(super) fn flushable(&self) -> usize {
        let memory = self.read();
        if memory.damaged { 0 } else { memory.active.bytes() + memory.frozen.as_ref().map_or(0, |f| f.0.bytes()) }
    }

    /// Merges everything applied so far into the blocks, and returns how far that reaches.
    pub async fn flush(self: &Arc<Self>) -> Result<Applied, StoreError> {
        let _hurry = self.hurry();
        let _turn = self.turn.lock().await;
        self.flush_in_turn(false).await
    }

    /// As [`Partition::flush`], in the background: clients come first.
    pub(super) async fn flush_gently(self: &Arc<Self>) -> Result<Applied, StoreError> {
        let _turn = self.turn.lock().await;
        self.flush_in_turn(true).await
    }

    async fn flush_in_turn(self: &Arc<Self>, gently: bool) -> Result<Applied, StoreError> {
        let goal = self.applied().index;
        loop {
            let Some(frozen) = self.freeze() else { return Ok(self.durable()) };
            let started = Instant::now();
            let blocks = self.read().blocks.clone();
            let target = frozen.1.clone();
            // A mark of an earlier, unfinished flush must not be lowered: its rows may be there.
            let mark = target.index.max(self.read().replay_until);
            let begun = blocks.clone();
            self.disk_room(frozen.0.bytes() as u64).await?;
            self.work(move || begun.begin(mark)).await?;
            self.seal_layer(&frozen, gently).await?;
            let mut from = Some(Bytes::new());
            while let Some(at) = from {
                self.disk_room(frozen.0.bytes() as u64).await?;
                let piece = Instant::now();
                let (blocks, frozen) = (blocks.clone(), frozen.clone());
                from = self.work(move || blocks.merge(&frozen.0, &at)).await?;
                if gently {
                    self.rest(piece.elapsed()).await;
                }
                // In a simulation nothing else would run meanwhile.
                tokio::task::yield_now().await;
            }
            let (kv, target) = (self.shared.kv.clone(), frozen.1.clone());
            self.work(move || blocks.finish(&target).and_then(|()| kv.sync())).await?;
            {
                let mut memory = self.write();
                memory.frozen = None;
                memory.durable = frozen.1.clone();
            }
            self.shared.pool.moved(frozen.0.bytes(), 0);
            self.shared.pool.flushed.notify_waiters();
            metrics::histogram!(names::STORE_FLUSH_DURATION).record(started.elapsed());
            if gently {
                // Beside the next flush: joining long layers takes longer than memory has room for.
                tokio::spawn(self.clone().join_in_background());
            } else {
                self.join_layers(false).await?;
            }
            // Under load there is always more; the first round may only end what an earlier one began.
            if frozen.1.index >= goal {
                return Ok(frozen.1.clone());
            }
        }
    }

    /// Leaves processors and disk to clients after a piece of background work, the longer the more room memory has for
    /// what comes in meanwhile: a flush that begins half full is spread over the time in which a quarter more comes.
    /// All replicas flush and seal at about the same time; done in one go it would be felt.
    pub(super) async fn rest(&self, took: Duration) {
        if self.hurried.load(atomic::Ordering::Relaxed) > 0 {
            return;
        }
        let most = self.shared.options.memory_bytes;
        let spare = (most / 4 * 3).saturating_sub(self.shared.pool.bytes());
        let share = (spare as f64 / (most / 4).max(1) as f64).min(1.0);
        tokio::time::sleep(took.mul_f64(share * REST)).await;
    }

    /// Somebody waits for what is done in turns.
    pub(super) fn hurry(&self) -> Hurry<'_> {
        self.hurried.fetch_add(1, atomic::Ordering::Relaxed);
        Hurry(&self.hurried)
    }

    /// Reads and verifies every block at rest, a few at a time at `pace`, and returns their number. Damage is noted as
    /// it is for any read. For a slow walk now and then, so that damage is found while another replica is whole.
    pub async fn scrub(self: &Arc<Self>, pace: &Pace) -> Result<u64, StoreError> {
        const AT_ONCE: usize = 64;
        let mut count = 0;
        let mut from = Some(Bytes::new());
        while let Some(at) = from {
            // Rows must not be replaced as a whole under a step.
            let turn = self.turn.lock().await;
            let blocks = self.read().blocks.clone();
            let seen = self.work(move || blocks.verify(&at, AT_ONCE)).await?;
            drop(turn);
            count += seen.blocks as u64;
            from = seen.next;
            pace.spent(seen.bytes).await;
            tokio::task::yield_now().await;
        }
        Ok(count)
    }

    /// Merges up to `pieces` pieces of a flush and leaves it there: what a killed process leaves behind.
    #[cfg(test)]
    pub(super) async fn flush_some(&self, pieces: usize) -> Result<(), StoreError> {
        let Some(frozen) = self.freeze() else { return Ok(()) };
        let blocks = self.read().blocks.clone();
        blocks.begin(frozen.1.index.max(self.read().replay_until))?;
        let mut from = Some(Bytes::new());
        for _ in 0..pieces {
            let Some(at) = from else { break };
            from = blocks.merge(&frozen.0, &at)?;
        }
        Ok(())
    }

    /// Refuses work on a disk that could not take it. The engine does not recover from a full disk before it is opened
    /// again, so it must not meet one: rows stay in memory and in the log until there is room (P9).
    pub(super) async fn disk_room(&self, bytes: u64) -> Result<(), StoreError> {
        let dir = self.shared.dir.clone();
        let free = blocking(&self.shared.world.fs, move |fs| fs.space(&dir)).await;
        match free {
            Ok((free, _)) if free < ENGINE_ROOM + bytes => Err(StoreError::Io("the disk is full".into())),
            _ => Ok(()),
        }
    }

    /// Moves the active table aside for a flush. `None` where nothing is left to flush.
    pub(super) fn freeze(&self) -> Option<Arc<(Table, Applied)>> {
        let mut memory = self.write();
        if memory.frozen.is_none() {
            if memory.active.is_empty() && memory.applied == memory.durable {
                return None;
            }
            let table = std::mem::take(&mut memory.active);
            memory.frozen = Some(Arc::new((table, memory.applied.clone())));
            memory.dirty_since = None;
            memory.rotations += 1;
        }
        memory.frozen.clone()
    }

    /// Runs engine work away from the async threads, and notes damage.
    pub(super) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let result = blocking(&self.shared.world.fs, move |_| work()).await;
        self.noted(result)
    }

    /// Passes a result on; damage stops this partition from serving anything.
    pub(super) fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Corrupt(what)) = &result {
            let first = !std::mem::replace(&mut self.write().damaged, true);
            if first {
                self.shared.damaged(self.number, what);
                self.shared.pool.flushed.notify_waiters();
            }
        }
        result
    }

    /// Rows of a range for a walk over everything: at most `limit` rows or about `max_bytes`, and where to go on.
    pub(super) fn page(&self, range: Range<Bytes>, limit: usize, max_bytes: usize) -> Result<Page, StoreError> {
        let ask = Ask { reverse: false, limit, max_bytes, keep: false };
        let (rows, horizon) = self.noted(self.round(&range, &ask))?;
        let next = horizon.map(|h| after(&h));
        Ok((rows, next))
    }

    /// One consistent look at tables and blocks. Returns rows in reading direction and, where it did not come to the
    /// end of the range, the last key it looked at.
    fn round(&self, range: &Range<Bytes>, ask: &Ask) -> Result<Page, StoreError> {
        for attempt in 1.. {
            let memory = self.read();
            let frozen = memory.frozen.clone();
            let under = frozen.as_ref().map(|f| &f.0);
            let seen = gather(&memory.active, under, range, ask.reverse, ask.limit.saturating_add(GATHER_AHEAD));
            let (rotations, blocks) = (memory.rotations, memory.blocks.clone());
            // Disk reads must not hold up `apply`; only the last attempt lets them.
            let held = (attempt == SCAN_TRIES).then_some(memory);
            let limit = ask.limit.saturating_add(seen.changes.len());
            let found = blocks.scan(range, ask.reverse, limit, ask.max_bytes, ask.keep)?;
            if held.is_none() && self.read().rotations != rotations {
                continue;
            }
            let memory_horizon = seen.changes.last().filter(|_| seen.stopped).map(|(k, _)| k.clone());
            let block_horizon = found.rows.last().filter(|_| found.stopped).map(|(k, _)| k.clone());
            let mut horizon = nearer(memory_horizon, block_horizon, ask.reverse);
            let below = found.rows.into_iter().map(|(k, v)| (k, Some(v))).collect();
            let mut rows = Vec::new();
            for (key, value) in merge(seen.changes, below, ask.reverse) {
                if horizon.as_ref().is_some_and(|h| order(&key, h, ask.reverse) == Ordering::Greater) {
                    break;
                }
                let Some(value) = value else { continue };
                if rows.len() == ask.limit {
                    horizon = rows.last().map(|(k, _): &(Bytes, Bytes)| k.clone());
                    break;
                }
                rows.push((key, value));
            }
            return Ok((rows, horizon));
        }
        Ok((vec![], None))
    }

    fn collect(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let mut range = range;
        let mut rows = Vec::new();
        while rows.len() < limit && range.start < range.end {
            let ask = Ask { reverse, limit: limit - rows.len(), max_bytes: usize::MAX, keep: true };
            let (more, horizon) = self.round(&range, &ask)?;
            rows.extend(more);
            match horizon {
                Some(key) if reverse => range.end = key,
                Some(key) => range.start = after(&key),
                None => break,
            }
        }
        Ok(rows)
    }
}

/// Rows, and a key to go on from.
pub(super) type Page = (Vec<(Bytes, Bytes)>, Option<Bytes>);

struct Ask {
    reverse: bool,
    limit: usize,
    max_bytes: usize,
    keep: bool,
}

/// The smallest key behind `key`.
fn after(key: &Bytes) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

impl Reader for Partition {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let blocks = {
            let memory = self.read();
            let frozen = || memory.frozen.as_ref().and_then(|f| f.0.get(key));
            if let Some(value) = memory.active.get(key).or_else(frozen) {
                return Ok(value);
            }
            memory.blocks.clone()
        };
        self.noted(blocks.get(key))
    }

    /// Sees one moment, unless a range holds many more deleted rows than were asked for and needs several looks.
    fn scan(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.noted(self.collect(range, reverse, limit))
    }
}
