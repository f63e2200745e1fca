//! The one writer: takes whatever waits, writes it in one piece, syncs once, tells the callers (P1, P7).
//!
//! On a machine it is a thread of its own, so that a lone append costs one hop and no async thread ever waits for the
//! disk; in a simulation it is a task. Making and clearing segments happens on a second thread.

use super::{
    GroupId, LogOptions, again,
    format::{HEADER_BYTES, Head, Kind, PAGE, SegmentHeader, Spot, record_size},
    group::Place,
    ledger::Ledger,
    recover::Opened,
    replay::Tail,
    segment::Segment,
    shared::{Done, EntryOp, Item, Op, Shared, State},
};
use crate::{
    ops::metrics::{LOG_BATCH_ENTRIES, LOG_BYTES, LOG_SYNC_DURATION},
    seam::fs::{Fs, dawdle},
    seam::trouble::{Planted, planted},
    wire::record::Record,
};
use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes of queue that go into one batch. More would only make the first caller in it wait longer.
const BATCH_BYTES: usize = 4 << 20;
/// After this much quiet the log gets a checkpoint, which proves the last write to have been durable.
const QUIET: Duration = Duration::from_secs(1);
/// How often a preparation that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The buffer gives memory beyond this back.
const BUFFER_KEPT: usize = 8 << 20;

/// An entry whose record was written.
struct Placed {
    group: GroupId,
    index: u64,
    ticket: u64,
    place: Place,
}

/// An entry whose record was written again elsewhere.
pub(super) struct Moved {
    pub group: GroupId,
    pub index: u64,
    pub from: Place,
    pub to: Place,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) ledger: Ledger,
    pub(super) active: Segment,
    /// A segment whose entries cannot be moved out, or 0.
    pub(super) stuck: u32,
    /// Where the next record goes.
    offset: u64,
    /// Everything in the active segment before this is durable.
    synced: u64,
    /// Checksum of the last record.
    chain: u32,
    number: u32,
    /// Content of the active segment from `base` (a page boundary) up to `offset`.
    buffer: Vec<u8>,
    base: u64,
    /// Something was written since the last checkpoint.
    unsealed: bool,
    /// A vote or the like was written in an earlier batch and not repeated in a checkpoint since.
    repeat: bool,
}

/// Starts the writer of a log just opened: on return its first checkpoint is durable.
pub fn start(opened: Opened, options: LogOptions, fs: Arc<dyn Fs>) -> io::Result<Arc<Shared>> {
    let Opened { epoch, groups, used, tail, dir, damage } = opened;
    let ledger = Ledger::of(&groups);
    let begun = match (used.last(), tail) {
        (Some(active), Some(tail)) => Some((active.clone(), tail)),
        _ => None,
    };
    let shared = Arc::new(Shared::new(fs, options, epoch, groups, used, dir));
    let mut writer = Writer {
        shared: shared.clone(),
        ledger,
        active: match &begun {
            Some((active, _)) => active.clone(),
            None => shared.dir.take(0)?,
        },
        stuck: 0,
        offset: 0,
        synced: 0,
        chain: 0,
        number: 0,
        buffer: Vec::new(),
        base: 0,
        unsealed: false,
        repeat: false,
    };
    match begun {
        Some((active, tail)) => {
            writer.offset = tail.offset;
            writer.synced = tail.offset;
            writer.chain = tail.chain;
            writer.number = tail.number;
            writer.base = tail.offset - tail.offset % PAGE;
            writer.buffer.resize((tail.offset - writer.base) as usize, 0);
            active.file.read_at(writer.base, &mut writer.buffer)?;
            if tail.wipe_to > tail.offset && !damage.is_empty() {
                // What is torn may prove that a damaged record before it was durable once. It stays until the next
                // segment's header proves the same: a crash in between must not turn damage into the end of the log.
                writer.roll(0)?;
            } else {
                wipe(&active, &tail)?;
                writer.checkpoint()?;
            }
        }
        None => {
            let first = writer.active.clone();
            writer.begin(first, 0, 0)?;
        }
    }
    writer.flush()?;
    writer.retire();
    if shared.fs.inline() {
        let _ = shared.dir.tend();
        tokio::spawn(writer.run_task());
    } else {
        shared.lock().tending = true;
        let tending = shared.clone();
        std::thread::Builder::new().name("spine-log-spare".into()).spawn(move || {
            tend(&tending);
            tending.tender_stopped();
        })?;
        std::thread::Builder::new().name("spine-log".into()).spawn(move || writer.run_thread())?;
    }
    Ok(shared)
}

/// Clears the remains of a torn write, which must not line up with what is written next.
fn wipe(active: &Segment, tail: &Tail) -> io::Result<()> {
    if tail.wipe_to <= tail.offset {
        return Ok(());
    }
    active.file.write_at(tail.offset, &vec![0; (tail.wipe_to - tail.offset) as usize])?;
    active.file.sync()
}

impl Writer {
    fn run_thread(mut self) {
        let shared = self.shared.clone();
        loop {
            let mut state = shared.lock();
            while state.queue.is_empty() && !state.closing {
                let idle = if self.unsealed || !state.committed_dirty.is_empty() { QUIET } else { Duration::MAX };
                if idle == Duration::MAX {
                    state = shared.wake.wait(state).unwrap_or_else(|e| e.into_inner());
                    continue;
                }
                let (guard, timeout) = shared.wake.wait_timeout(state, idle).unwrap_or_else(|e| e.into_inner());
                state = guard;
                if timeout.timed_out() {
                    break;
                }
            }
            if !self.turn(state) {
                return;
            }
        }
    }

    async fn run_task(mut self) {
        let shared = self.shared.clone();
        loop {
            let idle = {
                let state = shared.lock();
                state.queue.is_empty() && !state.closing
            };
            if idle {
                let _ = tokio::time::timeout(QUIET, shared.notify.notified()).await;
            }
            // Lets callers that are ready now join the batch, as they would while a real disk syncs.
            tokio::task::yield_now().await;
            // What comes meanwhile is written with what is there, after the same time.
            shared.tempo.begin();
            dawdle(&shared.fs).await;
            if !self.turn(shared.lock()) {
                return;
            }
            shared.tempo.forget();
            if shared.dir.needs_tending() {
                let _ = shared.dir.tend();
            }
        }
    }

    /// One batch, or the rest that comes with quiet. False: the writer is done.
    fn turn(&mut self, mut state: std::sync::MutexGuard<'_, State>) -> bool {
        let shared = self.shared.clone();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(item) = state.queue.front()
            && (batch.is_empty() || bytes + item.bytes <= BATCH_BYTES)
        {
            bytes += item.bytes;
            batch.extend(state.queue.pop_front());
        }
        let last = batch.is_empty() && state.closing;
        let committed: Vec<_> = std::mem::take(&mut state.committed_dirty)
            .into_iter()
            .filter_map(|id| Some((id, state.groups.get(&id)?.committed.clone()?)))
            .collect();
        drop(state);
        let quiet = batch.is_empty();
        if quiet && committed.is_empty() && !self.unsealed {
            if last {
                shared.stopped(None);
            }
            return !last;
        }
        let (ops, dones): (Vec<_>, Vec<_>) = batch.into_iter().map(|Item { ops, done, .. }| (ops, done)).unzip();
        let result = self.write(ops, committed, quiet);
        match result {
            Ok((placed, moved)) => {
                let mut state = shared.lock();
                for m in moved {
                    if let Some(g) = state.groups.get_mut(&m.group) {
                        g.moved(m.index, m.from, m.to);
                    }
                }
                for p in placed {
                    if let Some(g) = state.groups.get_mut(&p.group) {
                        g.placed(p.index, p.ticket, p.place);
                    }
                }
                shared.wrote(&mut state, bytes);
                drop(state);
                dones.into_iter().flatten().for_each(|done| done(Ok(())));
                self.retire();
                if last {
                    shared.stopped(None);
                }
                !last
            }
            Err(e) => {
                self.fail(e, dones);
                false
            }
        }
    }

    fn write(
        &mut self,
        ops: Vec<Vec<Op>>,
        committed: Vec<(GroupId, bytes::Bytes)>,
        quiet: bool,
    ) -> io::Result<(Vec<Placed>, Vec<Moved>)> {
        let (mut placed, mut moved) = (Vec::new(), Vec::new());
        let repeat = std::mem::take(&mut self.repeat);
        let mut entries = 0u32;
        for op in ops.into_iter().flatten() {
            entries += u32::from(matches!(op, Op::Entry(_)));
            self.record_op(op, &mut placed)?;
        }
        for (group, at) in committed {
            // Behind the entries it speaks of, so that it never outlives them.
            let head = Head { group, kind: Kind::Committed as u8, ..Head::default() };
            self.record(head, &at)?;
            self.ledger.committed(group, at);
        }
        if !quiet {
            self.relocate(&mut moved)?;
        }
        if repeat || quiet {
            self.checkpoint()?;
        }
        self.flush()?;
        metrics::histogram!(LOG_BATCH_ENTRIES).record(entries);
        Ok((placed, moved))
    }

    fn record_op(&mut self, op: Op, placed: &mut Vec<Placed>) -> io::Result<()> {
        let bare = |kind: Kind, group| Head { group, kind: kind as u8, ..Head::default() };
        match op {
            Op::Entry(e) => self.entry(Kind::Entry, e, placed)?,
            Op::Fill(e) => self.entry(Kind::Fill, e, placed)?,
            Op::Vote { group, vote } => {
                self.record(bare(Kind::Vote, group), &vote)?;
                self.ledger.vote(group, vote);
                self.repeat = true;
            }
            Op::Truncate { group, from, last } => {
                self.record(Head { index: from, ..bare(Kind::Truncate, group) }, &[])?;
                self.ledger.truncate(group, from, last);
                self.repeat = true;
            }
            Op::Purge { group, mark } => {
                let head = Head {
                    index: mark.index,
                    term: mark.term,
                    leader: mark.leader,
                    chain: mark.chain,
                    ..bare(Kind::Purge, group)
                };
                self.record(head, &[])?;
                self.ledger.purge(group, mark);
            }
            Op::Install { group, mark } => {
                let head = Head {
                    index: mark.index,
                    term: mark.term,
                    leader: mark.leader,
                    chain: mark.chain,
                    ..bare(Kind::Install, group)
                };
                self.record(head, &[])?;
                self.ledger.install(group, mark);
                self.repeat = true;
            }
        }
        Ok(())
    }

    fn entry(&mut self, kind: Kind, e: EntryOp, placed: &mut Vec<Placed>) -> io::Result<()> {
        let head = Head {
            group: e.group,
            kind: kind as u8,
            index: e.index,
            term: e.term,
            leader: e.leader,
            chain: e.chain,
            content: e.content,
            ..Head::default()
        };
        let offset = self.append(head, &e.payload)?;
        let (segment, bytes) = (self.active.sequence, record_size(e.payload.len()));
        if kind == Kind::Entry {
            let mark =
                super::Mark { index: e.index, term: e.term, leader: e.leader, chain: e.chain, ..Default::default() };
            self.ledger.entry(e.group, mark, segment, bytes);
        } else {
            self.ledger.moved(e.group, e.index, segment, bytes);
        }
        placed.push(Placed { group: e.group, index: e.index, ticket: e.ticket, place: Place::At { segment, offset } });
        Ok(())
    }

    fn checkpoint(&mut self) -> io::Result<()> {
        let state = self.ledger.checkpoint().encode();
        self.record(Head { kind: Kind::Checkpoint as u8, ..Head::default() }, &state)?;
        self.unsealed = false;
        Ok(())
    }

    /// Adds a record whose content checksum is still to be made.
    fn record(&mut self, head: Head, payload: &[u8]) -> io::Result<u32> {
        self.append(Head { content: crc32c::crc32c(payload), ..head }, payload)
    }

    /// Adds a record to the buffer, in a new segment if it does not fit in this one. Returns where it will lie.
    pub(super) fn append(&mut self, head: Head, payload: &[u8]) -> io::Result<u32> {
        let size = record_size(payload.len());
        if self.offset + size > self.active.bytes {
            self.roll(size)?;
        }
        let offset = self.offset as u32;
        let head = Head {
            len: payload.len() as u32,
            prev: self.chain,
            synced: self.synced as u32,
            number: self.number,
            ..head
        };
        let spot = Spot { epoch: self.shared.epoch, segment: self.active.sequence, offset };
        self.chain = head.encode(spot, &mut self.buffer);
        self.buffer.extend_from_slice(payload);
        self.offset += size;
        self.number += 1;
        self.buffer.resize((self.offset - self.base) as usize, 0);
        self.unsealed = true;
        Ok(offset)
    }

    /// Goes on in the next segment, which takes at least a record of `size` bytes.
    fn roll(&mut self, size: u64) -> io::Result<()> {
        self.flush()?;
        let checkpoint = record_size(self.ledger.checkpoint().encode().len());
        let wanted = HEADER_BYTES + checkpoint + size;
        let started = Instant::now();
        let next = loop {
            match self.shared.dir.take(wanted) {
                Ok(segment) => break segment,
                Err(e) if self.waits(&e, started) => {
                    tracing::warn!(event = "log.no_space", error = %e, "waiting for room for a log segment");
                    let state = self.shared.lock();
                    drop(self.shared.tend.wait_timeout(state, RETRY));
                }
                Err(e) => return Err(e),
            }
        };
        self.shared.wake_tender();
        let (previous, end) = (self.active.sequence, self.offset as u32);
        self.begin(next, previous, end)
    }

    /// Whether a segment that could not be made is tried again.
    fn waits(&self, e: &io::Error, since: Instant) -> bool {
        let full = matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let patient = full || since.elapsed() < self.shared.options.space_patience;
        // A simulation has one thread, which must not sleep.
        patient && !self.shared.fs.inline() && !self.shared.lock().closing
    }

    fn begin(&mut self, segment: Segment, previous: u32, previous_end: u32) -> io::Result<()> {
        let header = SegmentHeader {
            epoch: self.shared.epoch,
            sequence: segment.sequence,
            previous,
            previous_end,
            chain: self.chain,
            bytes: u32::try_from(segment.bytes).unwrap_or(0),
        };
        self.shared.lock().segments.insert(segment.sequence, segment.clone());
        self.active = segment;
        self.buffer = header.encode();
        self.base = 0;
        self.offset = HEADER_BYTES;
        self.synced = 0;
        self.number = 0;
        self.checkpoint()
    }

    /// Writes the buffer and syncs: on `Ok` everything added so far is durable.
    fn flush(&mut self) -> io::Result<()> {
        if self.synced == self.offset {
            return Ok(());
        }
        let started = Instant::now();
        self.shared.tempo.begin();
        let whole = (self.offset.next_multiple_of(PAGE)).min(self.active.bytes) - self.base;
        self.buffer.resize(whole as usize, 0);
        self.active.file.write_at(self.base, &self.buffer)?;
        if !planted(Planted::AcknowledgeBeforeSync) {
            self.active.file.sync()?;
        }
        metrics::histogram!(LOG_SYNC_DURATION).record(started.elapsed().as_secs_f64());
        self.shared.tempo.end();
        self.synced = self.offset;
        let base = self.offset - self.offset % PAGE;
        let keep = (base - self.base) as usize..(self.offset - self.base) as usize;
        let kept = keep.len();
        self.buffer.copy_within(keep, 0);
        self.buffer.truncate(kept);
        self.buffer.shrink_to(BUFFER_KEPT);
        self.base = base;
        Ok(())
    }

    /// Hands segments back that hold nothing any more. Only from the front: what a later one says may undo an earlier.
    fn retire(&mut self) {
        let mut state = self.shared.lock();
        let mut retired = VecDeque::new();
        while let Some((&sequence, _)) = state.segments.first_key_value()
            && sequence < self.active.sequence
            && self.ledger.live(sequence).records == 0
        {
            retired.extend(state.segments.remove(&sequence));
        }
        drop(state);
        if !retired.is_empty() {
            retired.into_iter().for_each(|segment| self.shared.dir.retire(segment));
            self.shared.wake_tender();
        }
        metrics::gauge!(LOG_BYTES).set(self.shared.dir.bytes() as f64);
    }

    fn fail(&mut self, e: io::Error, dones: Vec<Option<Done>>) {
        self.shared.stopped(Some(&e));
        (self.shared.options.fatal)(&format!("log write failed: {e}"));
        dones.into_iter().flatten().for_each(|done| done(Err(again(&e))));
    }
}

/// Keeps spare segments ready until the writer is gone.
fn tend(shared: &Shared) {
    loop {
        let failed = match shared.dir.tend() {
            Ok(()) => false,
            Err(e) => {
                tracing::warn!(event = "log.spare_failed", error = %e, "no log segment could be prepared");
                true
            }
        };
        let mut state = shared.lock();
        loop {
            if state.finished {
                return;
            }
            if failed {
                let (guard, timeout) = shared.tend.wait_timeout(state, RETRY).unwrap_or_else(|e| e.into_inner());
                state = guard;
                if timeout.timed_out() {
                    break;
                }
            } else if shared.dir.needs_tending() {
                break;
            } else {
                state = shared.tend.wait(state).unwrap_or_else(|e| e.into_inner());
            }
        }
    }
}
