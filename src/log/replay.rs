//! Reading segments at start: what the records say, what is torn and cut, what is damaged (P1, P7).
//!
//! A record that fails its checksum is torn, and the log ends before it, only if nothing proves that it was durable
//! once. Proof is a later record that was written when everything before it had been synced, or a later segment.

use super::{
    GroupId, LogError,
    format::{ALIGN, Checkpoint, HEAD_BYTES, HEADER_BYTES, Head, Kind, Mark, PAGE, Spot},
    group::{Group, Place, Slot},
};
use crate::{
    seam::fs::File,
    seam::trouble::{Planted, planted},
    wire::record::Record,
};
use bytes::Bytes;
use std::{collections::BTreeMap, io};

/// Bytes read at a time.
const WINDOW: usize = 1 << 20;
/// Lost records of an unknown number.
const MANY: u64 = 1 << 40;
/// Entries that may be missing, in all groups and stretches together: what a lost segment can have held, and some. Each
/// takes its place in memory, so that a few damaged records that claim a gap each must not add up (P6); and where more
/// than that is lost, a peer's snapshot is the shorter way than one entry after another.
const MOST_LOST: u64 = 1 << 20;
/// No log gets here: at a million entries a second it takes a hundred thousand years.
const LAST_INDEX: u64 = 1 << 62;

/// What is known about where a segment's records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The segment after this one says: here, and everything before was durable.
    At(u64),
    /// A segment follows, so everything was durable, but what it says of the end is lost.
    Durable,
    /// This is the last segment.
    Open,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    pub offset: u64,
    /// Checksum of the last record.
    pub chain: u32,
    pub number: u32,
    /// Torn remains lie between `offset` and here and must be wiped.
    pub wipe_to: u64,
}

/// State built up from records.
#[derive(Default)]
pub struct Replay {
    pub epoch: u64,
    pub groups: BTreeMap<GroupId, Group>,
    /// Records that are lost and not accounted for since the last checkpoint, and how many of them turned out to be
    /// entries that are known to be missing.
    lost: u64,
    explained: u64,
    /// Entries for which a place was made because they turned out to be missing. Never taken back: places that are made
    /// and dropped again cost time.
    made_up: u64,
    first_loss: Option<(u32, u64)>,
}

impl Replay {
    pub fn new(epoch: u64) -> Replay {
        Replay { epoch, ..Replay::default() }
    }

    /// Reads one segment. `chain` is the checksum of the last record before it, where known.
    pub fn segment(
        &mut self,
        window: &mut Window<'_>,
        sequence: u32,
        chain: Option<u32>,
        end: End,
    ) -> Result<Tail, LogError> {
        let mut prev = chain;
        let mut tail = Tail { offset: HEADER_BYTES, chain: chain.unwrap_or(0), number: 0, wipe_to: 0 };
        loop {
            if matches!(end, End::At(end) if tail.offset >= end) {
                return Ok(tail);
            }
            let found = self.head(window, sequence, tail.offset)?.filter(|(head, _)| match prev {
                Some(prev) => head.prev == prev && head.number == tail.number,
                None => head.number >= tail.number,
            });
            let Some((head, crc)) = found else {
                match self.after(window, sequence, tail.offset, end)? {
                    Next::Resume(offset) => {
                        self.note(sequence, tail.offset, 0);
                        tail.offset = offset;
                        prev = None;
                        continue;
                    }
                    Next::Nothing { wipe_to } => {
                        if let End::At(_) = end {
                            self.note(sequence, tail.offset, MANY);
                        }
                        tail.wipe_to = wipe_to;
                        return Ok(tail);
                    }
                }
            };
            let payload = window.payload(tail.offset, &head)?;
            if payload.is_none() && end == End::Open {
                // A torn payload ends the log; a damaged one does not.
                if let Next::Nothing { wipe_to } = self.after(window, sequence, tail.offset, end)? {
                    tail.wipe_to = wipe_to.max((tail.offset + head.size()).min(window.bytes));
                    return Ok(tail);
                }
            }
            if head.number > tail.number {
                self.note(sequence, tail.offset, u64::from(head.number - tail.number));
            }
            self.apply(sequence, tail.offset, &head, payload)?;
            let number = head.number.saturating_add(1);
            tail = Tail { offset: tail.offset + head.size(), chain: crc, number, wipe_to: 0 };
            prev = Some(crc);
        }
    }

    /// Records that a whole missing segment held.
    pub fn segment_lost(&mut self, sequence: u32) {
        self.note(sequence, 0, MANY);
    }

    /// The groups, once all segments are read; an error if a vote may be among what was lost.
    pub fn finish(self) -> Result<BTreeMap<GroupId, Group>, LogError> {
        if self.lost > self.explained {
            let (segment, offset) = self.first_loss.unwrap_or_default();
            return Err(LogError::StateLost { segment, offset });
        }
        Ok(self.groups)
    }

    /// Whether a segment holds any record at all that was written after its first batch was durable.
    pub fn in_use(&self, window: &mut Window<'_>, sequence: u32) -> Result<bool, LogError> {
        // Offset 0 is the header itself: a record written after it was synced proves it.
        Ok(matches!(self.after(window, sequence, 0, End::Open)?, Next::Resume(_)))
    }

    fn note(&mut self, sequence: u32, offset: u64, lost: u64) {
        self.first_loss.get_or_insert((sequence, offset));
        self.lost += lost;
        tracing::warn!(
            event = "log.unreadable",
            segment = sequence,
            offset,
            "log records do not match their checksums"
        );
    }

    fn spot(&self, segment: u32, offset: u64) -> Spot {
        Spot { epoch: self.epoch, segment, offset: offset as u32 }
    }

    fn head(&self, window: &mut Window<'_>, sequence: u32, offset: u64) -> io::Result<Option<(Head, u32)>> {
        let spot = self.spot(sequence, offset);
        let end = window.bytes;
        let Some(bytes) = window.get(offset, HEAD_BYTES)? else { return Ok(None) };
        Ok(Head::decode(bytes, spot).filter(|(head, _)| offset + head.size() <= end))
    }

    /// What comes behind an unreadable record at `bad`.
    fn after(&self, window: &mut Window<'_>, sequence: u32, bad: u64, end: End) -> io::Result<Next> {
        if planted(Planted::BadMiddleIsTail) {
            return Ok(Next::Nothing { wipe_to: window.bytes });
        }
        let limit = if let End::At(end) = end { end } else { window.bytes };
        let mut first = None;
        let mut wipe_to = 0;
        let mut offset = (bad + ALIGN).max(HEADER_BYTES);
        while offset + HEAD_BYTES as u64 <= limit {
            if offset.is_multiple_of(PAGE) && window.page_is_zero(offset)? {
                offset += PAGE;
                continue;
            }
            if let Some((head, _)) = self.head(window, sequence, offset)? {
                let first = *first.get_or_insert(offset);
                if end != End::Open || u64::from(head.synced) > bad {
                    return Ok(Next::Resume(first));
                }
                wipe_to = offset + head.size();
            }
            offset += ALIGN;
        }
        Ok(Next::Nothing { wipe_to })
    }

    fn apply(&mut self, segment: u32, offset: u64, head: &Head, payload: Option<Bytes>) -> Result<(), LogError> {
        let Some(kind) = Kind::of(head.kind) else { return Err(LogError::Newer(u32::from(head.kind))) };
        let lost = LogError::StateLost { segment, offset };
        let missing = match self.groups.get(&head.group).and_then(Group::next) {
            Some(next) if kind == Kind::Entry => head.index.saturating_sub(next),
            _ => 0,
        };
        if head.index > LAST_INDEX || !self.make_up(missing) {
            return Err(lost);
        }
        let mark =
            Mark { index: head.index, term: head.term, leader: head.leader, chain: head.chain, ..Mark::default() };
        let place = match &payload {
            Some(_) => Place::At { segment, offset: offset as u32 },
            None => Place::Missing { known: true },
        };
        let slot = || Slot {
            term: head.term,
            leader: head.leader,
            chain: head.chain,
            content: head.content,
            len: head.len,
            place,
            payload: None,
        };
        if payload.is_none() {
            self.note(segment, offset, u64::from(matches!(kind, Kind::Vote | Kind::Checkpoint)));
        }
        let group = || -> GroupId { head.group };
        match (kind, payload) {
            (Kind::Entry, _) => {
                self.explained += self.groups.entry(group()).or_default().replay_entry(head.index, slot());
            }
            (Kind::Fill, Some(_)) => self.groups.entry(group()).or_default().replay_fill(head.index, slot()),
            (Kind::Truncate, _) => self.groups.entry(group()).or_default().truncate(head.index),
            (Kind::Purge, _) => self.groups.entry(group()).or_default().purge(mark),
            (Kind::Install, _) => self.groups.entry(group()).or_default().install(mark),
            (Kind::Vote, Some(vote)) => self.groups.entry(group()).or_default().vote = Some(vote),
            (Kind::Committed, Some(at)) => self.groups.entry(group()).or_default().committed = Some(at),
            (Kind::Checkpoint, Some(payload)) => {
                let checkpoint = Checkpoint::decode(&payload)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                if !self.checkpoint(&checkpoint) {
                    return Err(lost);
                }
            }
            (Kind::Fill | Kind::Vote | Kind::Committed | Kind::Checkpoint, None) => {}
        }
        Ok(())
    }

    /// Whether so many entries more may be missing; counts them.
    fn make_up(&mut self, missing: u64) -> bool {
        self.made_up = self.made_up.saturating_add(missing);
        self.made_up <= MOST_LOST
    }

    /// False where its places cannot be those of a log, or leave more missing than a log can lose.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> bool {
        for mark in &checkpoint.groups {
            let places = mark.purged.iter().chain(&mark.last).map(|m| m.index).chain([mark.first]);
            let missing = Group::lost_by(self.groups.get(&mark.group), mark);
            // One after another: a group that is named twice is judged by what the first left.
            if places.max().is_some_and(|index| index > LAST_INDEX) || !self.make_up(missing) {
                return false;
            }
            self.groups.entry(mark.group).or_default().replay_mark(mark);
        }
        // It is the whole state, so whatever was lost before it no longer matters; lost entries show as missing.
        self.lost = 0;
        self.explained = 0;
        self.first_loss = None;
        true
    }
}

/// What comes behind an unreadable record.
enum Next {
    /// It was durable once; the next whole record is here.
    Resume(u64),
    /// Nothing, or only remains of the torn write it belongs to, which end at `wipe_to`.
    Nothing { wipe_to: u64 },
}

/// A segment file read piece by piece.
pub struct Window<'a> {
    file: &'a dyn File,
    /// Bytes of the file.
    pub bytes: u64,
    start: u64,
    held: Vec<u8>,
}

impl<'a> Window<'a> {
    pub fn new(file: &'a dyn File, bytes: u64) -> Window<'a> {
        Window { file, bytes, start: 0, held: Vec::new() }
    }

    /// `len` bytes at `offset`; `None` past the end.
    pub fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset + len as u64 > self.bytes {
            return Ok(None);
        }
        if offset < self.start || offset + len as u64 > self.start + self.held.len() as u64 {
            let start = offset - offset % PAGE;
            let wanted = ((offset - start) as usize + len).max(WINDOW);
            let size = (wanted as u64).min(self.bytes - start) as usize;
            self.held.resize(size, 0);
            self.start = start;
            if self.file.read_at(start, &mut self.held).is_err() {
                self.read_page_by_page()?;
            }
        }
        let at = (offset - self.start) as usize;
        Ok(Some(&self.held[at..at + len]))
    }

    /// A sector that the disk cannot read is damage like a wrong checksum: it reads as zero.
    fn read_page_by_page(&mut self) -> io::Result<()> {
        let mut unreadable = 0;
        for (i, page) in self.held.chunks_mut(PAGE as usize).enumerate() {
            if self.file.read_at(self.start + i as u64 * PAGE, page).is_err() {
                page.fill(0);
                unreadable += 1;
            }
        }
        if unreadable == self.held.len().div_ceil(PAGE as usize) && unreadable > 1 {
            // Not a bad sector: the device is gone.
            return Err(io::Error::other("a log segment cannot be read"));
        }
        Ok(())
    }

    fn page_is_zero(&mut self, offset: u64) -> io::Result<bool> {
        const ZERO: [u8; PAGE as usize] = [0; PAGE as usize];
        Ok(self.get(offset, PAGE as usize)?.is_some_and(|page| page == ZERO))
    }

    /// A record's payload, copied out; `None` if it does not match its checksum.
    fn payload(&mut self, offset: u64, head: &Head) -> io::Result<Option<Bytes>> {
        let keep = !matches!(Kind::of(head.kind), Some(Kind::Entry | Kind::Fill));
        let Some(bytes) = self.get(offset + HEAD_BYTES as u64, head.len as usize)? else { return Ok(None) };
        if crc32c::crc32c(bytes) != head.content {
            return Ok(None);
        }
        Ok(Some(if keep { Bytes::copy_from_slice(bytes) } else { Bytes::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::GroupMark;

    fn read(records: &[(Kind, u64, Bytes)]) -> Result<(), LogError> {
        let mut replay = Replay::new(1);
        records.iter().try_for_each(|(kind, index, payload)| {
            let head = Head { kind: *kind as u8, group: 1, index: *index, term: 1, ..Head::default() };
            replay.apply(1, HEADER_BYTES, &head, Some(payload.clone()))
        })
    }

    fn entry(index: u64) -> (Kind, u64, Bytes) {
        (Kind::Entry, index, Bytes::new())
    }

    /// Group, first and last entry of each.
    fn checkpoint(groups: &[(GroupId, u64, u64)]) -> (Kind, u64, Bytes) {
        let mark = |&(group, first, last): &(GroupId, u64, u64)| {
            let last = Some(Mark { index: last, term: 1, ..Mark::default() });
            GroupMark { group, first, last, ..GroupMark::default() }
        };
        let groups = groups.iter().map(mark).collect();
        (Kind::Checkpoint, 0, Checkpoint { groups, ..Checkpoint::default() }.encode())
    }

    #[test]
    fn places_that_no_log_of_ours_has_are_refused_and_not_filled_up() {
        assert!(read(&[entry(1), entry(1000)]).is_ok());
        assert!(matches!(read(&[entry(1), entry(MOST_LOST + 9)]), Err(LogError::StateLost { .. })));
        assert!(matches!(read(&[entry(u64::MAX)]), Err(LogError::StateLost { .. })));
        assert!(matches!(read(&[(Kind::Purge, u64::MAX, Bytes::new())]), Err(LogError::StateLost { .. })));
        assert!(read(&[checkpoint(&[(1, 7, 900)])]).is_ok());
        assert!(read(&[entry(5), checkpoint(&[(1, 5, 900)])]).is_ok());
        assert!(matches!(read(&[checkpoint(&[(1, 7, MOST_LOST + 9)])]), Err(LogError::StateLost { .. })));
        assert!(matches!(read(&[entry(9), checkpoint(&[(1, 9, u64::MAX)])]), Err(LogError::StateLost { .. })));
    }

    #[test]
    fn gaps_are_bounded_in_sum_not_one_by_one() {
        let (half, most) = (MOST_LOST / 2, MOST_LOST);
        // Groups of one checkpoint, each with a gap that alone would pass.
        assert!(read(&[checkpoint(&[(1, 1, half), (2, 1, half)])]).is_ok());
        assert!(matches!(
            read(&[checkpoint(&[(1, 1, half), (2, 1, half), (3, 1, 1)])]),
            Err(LogError::StateLost { .. })
        ));
        // One checkpoint after another, an entry after another.
        let again = [checkpoint(&[(1, 1, half)]), checkpoint(&[(2, 1, half)]), checkpoint(&[(3, 1, 9)])];
        assert!(matches!(read(&again), Err(LogError::StateLost { .. })));
        let hops = [entry(1), entry(half), entry(most), entry(most + half)];
        assert!(read(&hops[..3]).is_ok());
        assert!(matches!(read(&hops), Err(LogError::StateLost { .. })));
    }

    #[test]
    fn a_checkpoint_cannot_leave_more_missing_than_it_is_counted_for() {
        // A group that is named twice: the second place is far from the first.
        let twice = checkpoint(&[(1, 1, 2), (1, 1 << 40, (1 << 40) + 1)]);
        assert!(matches!(read(&[twice]), Err(LogError::StateLost { .. })));
        // All that is held is purged, and the entries that are told of begin long before.
        let place = |index| Some(Mark { index, term: 1, ..Mark::default() });
        let far = GroupMark {
            group: 1,
            first: 1,
            purged: place(1 << 40),
            last: place((1 << 40) + 1),
            ..GroupMark::default()
        };
        let far = (Kind::Checkpoint, 0, Checkpoint { groups: vec![far], ..Checkpoint::default() }.encode());
        assert!(matches!(read(&[entry(1), far]), Err(LogError::StateLost { .. })));
    }

    /// Found by the fuzz target `log`: three purges of one index that named different entries, of which the first was kept; with its
    /// segment gone, what the log said to have purged last was another.
    #[test]
    fn of_two_purges_up_to_one_index_the_later_counts() {
        let mut replay = Replay::new(1);
        for (term, leader) in [(7, 1), (8, 2)] {
            let head = Head { kind: Kind::Purge as u8, group: 1, index: 10, term, leader, ..Head::default() };
            replay.apply(1, HEADER_BYTES, &head, Some(Bytes::new())).unwrap();
        }
        let last = replay.groups[&1].last().unwrap();
        assert_eq!((last.index, last.term, last.leader), (10, 8, 2));
    }

    #[test]
    fn a_purge_of_what_was_not_read_moves_nothing() {
        let mut replay = Replay::new(1);
        for (kind, index) in [(Kind::Entry, 14), (Kind::Purge, 10)] {
            let head = Head { kind: kind as u8, group: 1, index, term: 1, ..Head::default() };
            replay.apply(1, HEADER_BYTES, &head, Some(Bytes::new())).unwrap();
        }
        assert_eq!(replay.groups[&1].range(), 14..15);
    }
}
