//! One group's log in memory: where each entry lies, its term and chain, recent payloads (P1, P7).
//!
//! The same steps are taken when an operation is called and when its record is read again at start, so that both
//! arrive at the same state.

use super::{
    GroupId, Position,
    format::{GroupMark, Mark, entry_chain},
};
use bytes::Bytes;
use std::{collections::VecDeque, ops::Range};

/// Where an entry's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Waits to be written, under this ticket; its payload is in memory.
    Pending(u64),
    At {
        segment: u32,
        offset: u32,
    },
    /// Lost. `known`: term, leader, chain and content are those of the lost entry, only the payload is gone.
    Missing {
        known: bool,
    },
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Slot {
    pub term: u64,
    pub leader: u64,
    pub chain: u32,
    /// CRC32C of the payload.
    pub content: u32,
    /// Bytes of payload.
    pub len: u32,
    pub place: Place,
    pub payload: Option<Bytes>,
}

impl Slot {
    fn missing() -> Slot {
        Slot { term: 0, leader: 0, chain: 0, content: 0, len: 0, place: Place::Missing { known: false }, payload: None }
    }
    pub fn is_missing(&self) -> bool {
        matches!(self.place, Place::Missing { .. })
    }
}

/// One group's log.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub vote: Option<Bytes>,
    pub committed: Option<Bytes>,
    /// The last entry that is gone because a snapshot covers it, with the chain up to it.
    pub purged: Option<Mark>,
    /// Index of `slots[0]`.
    first: u64,
    slots: VecDeque<Slot>,
    /// Bytes of payload in `slots`.
    cached: usize,
}

fn payload_bytes<'a>(slots: impl Iterator<Item = &'a Slot>) -> usize {
    slots.filter_map(|s| s.payload.as_ref()).map(Bytes::len).sum()
}

impl Group {
    /// Indexes of the entries held (also missing ones).
    pub fn range(&self) -> Range<u64> {
        self.first..self.first + self.slots.len() as u64
    }

    pub fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Exchanges the entry at `index`, if there is one.
    pub fn replace(&mut self, index: u64, slot: Slot) {
        let new = payload_bytes([&slot].into_iter());
        if let Some(old) = self.slot_mut(index) {
            let old = std::mem::replace(old, slot);
            self.cached = self.cached + new - payload_bytes([&old].into_iter());
        }
    }

    /// The record written under `ticket` lies at `place` now.
    pub fn placed(&mut self, index: u64, ticket: u64, place: Place) {
        if let Some(slot) = self.slot_mut(index)
            && slot.place == Place::Pending(ticket)
        {
            slot.place = place;
        }
    }

    /// The record at `from` was written again at `to`.
    pub fn moved(&mut self, index: u64, from: Place, to: Place) {
        if let Some(slot) = self.slot_mut(index)
            && slot.place == from
        {
            slot.place = to;
        }
    }

    /// The record at `place` cannot be read.
    pub fn found_bad(&mut self, index: u64, place: Place) {
        if let Some(slot) = self.slot_mut(index)
            && slot.place == place
        {
            slot.place = Place::Missing { known: true };
        }
    }

    /// Bytes of payload held in memory.
    pub fn cached(&self) -> usize {
        self.cached
    }

    /// Drops an entry's payload from memory and returns how many bytes that were.
    pub fn forget(&mut self, index: u64) -> usize {
        let bytes = self.slot_mut(index).and_then(|s| s.payload.take()).map_or(0, |p| p.len());
        self.cached -= bytes;
        bytes
    }

    /// The last entry, or what was purged last if none is held.
    pub fn last(&self) -> Option<Mark> {
        match self.slots.back() {
            Some(slot) => Some(Mark {
                index: self.range().end - 1,
                term: slot.term,
                leader: slot.leader,
                chain: slot.chain,
                ..Mark::default()
            }),
            None => self.purged.clone(),
        }
    }

    /// The index that the next entry must have; `None` if any will do, because there never was one.
    pub fn next(&self) -> Option<u64> {
        self.last().map(|m| m.index + 1)
    }

    /// The chain up to the entry before `index`.
    pub fn chain_before(&self, index: u64) -> Option<u32> {
        if index == self.first || self.slots.is_empty() {
            return Some(self.purged.as_ref().map_or(0, |m| m.chain));
        }
        let slot = self.slot(index - 1)?;
        (slot.place != Place::Missing { known: false }).then_some(slot.chain)
    }

    /// Adds an entry behind the last.
    pub fn push(&mut self, index: u64, slot: Slot) {
        if self.slots.is_empty() {
            self.first = index;
        }
        debug_assert_eq!(index, self.range().end);
        self.cached += payload_bytes([&slot].into_iter());
        self.slots.push_back(slot);
    }

    /// Takes entries from `from` on away.
    pub fn truncate(&mut self, from: u64) {
        let keep = from.saturating_sub(self.first).min(self.slots.len() as u64);
        self.cached -= payload_bytes(self.slots.range(keep as usize..));
        self.slots.truncate(keep as usize);
        self.trim();
    }

    /// Takes entries up to `upto.index` away. If the log ends before that, it restarts behind it.
    pub fn purge(&mut self, upto: Mark) {
        match &mut self.purged {
            Some(before) if before.index > upto.index => return,
            // The later word counts: a checkpoint must be able to say again what stood in a segment that is gone by now.
            Some(before) if before.index == upto.index => {
                *before = upto;
                return;
            }
            _ => {}
        }
        let gone = (upto.index + 1).saturating_sub(self.first).min(self.slots.len() as u64);
        self.cached -= payload_bytes(self.slots.range(..gone as usize));
        self.slots.drain(..gone as usize);
        // What was read may begin behind it, where records were lost: it must not change places.
        self.first = if self.slots.is_empty() { upto.index + 1 } else { self.first.max(upto.index + 1) };
        self.purged = Some(upto);
        self.trim();
    }

    /// Drops everything; the log restarts behind `upto`.
    pub fn install(&mut self, upto: Mark) {
        self.slots.clear();
        self.cached = 0;
        self.first = upto.index + 1;
        self.purged = Some(upto);
        self.trim();
    }

    fn trim(&mut self) {
        // A burst must not pin its memory for ever.
        if self.slots.capacity() > 4 * self.slots.len() + 1024 {
            self.slots.shrink_to(2 * self.slots.len());
        }
    }

    /// Missing stretches of entries.
    pub fn holes(&self) -> Vec<Range<u64>> {
        let mut holes: Vec<Range<u64>> = Vec::new();
        for (i, _) in self.slots.iter().enumerate().filter(|(_, s)| s.is_missing()) {
            let index = self.first + i as u64;
            match holes.last_mut() {
                Some(hole) if hole.end == index => hole.end += 1,
                _ => holes.push(index..index + 1),
            }
        }
        holes
    }

    /// This state as a checkpoint says it.
    pub fn mark(&self, group: GroupId) -> GroupMark {
        GroupMark {
            group,
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
            last: if self.slots.is_empty() { None } else { self.last() },
            first: if self.slots.is_empty() { 0 } else { self.first },
            ..GroupMark::default()
        }
    }

    /// An entry read at start. Returns how many entries before it turned out to be missing.
    pub fn replay_entry(&mut self, index: u64, slot: Slot) -> u64 {
        let Some(next) = self.next() else {
            self.push(index, slot);
            return 0;
        };
        if self.purged.as_ref().is_some_and(|p| index <= p.index) {
            // Only where the record of a restart behind a snapshot was lost; the checkpoint that follows settles it.
            return 0;
        }
        // The record of the truncation may be lost; that an entry follows says the same.
        self.truncate(index);
        let gap = index.saturating_sub(next);
        for missing in next..index {
            self.push(missing, Slot::missing());
        }
        self.push(index, slot);
        gap
    }

    /// An entry written again at its old index, read at start.
    pub fn replay_fill(&mut self, index: u64, slot: Slot) {
        if let Some(old) = self.slot_mut(index)
            && (old.is_missing() || old.chain == slot.chain)
        {
            *old = slot;
        }
    }

    /// How many entries a checkpoint tells of that were not read: the places that [`Group::replay_mark`] makes up.
    pub fn lost_by(known: Option<&Group>, mark: &GroupMark) -> u64 {
        let Some(last) = &mark.last else { return 0 };
        let end = last.index.saturating_add(1);
        // What it purges goes first, and may leave nothing: then all is made up.
        let purged = mark.purged.as_ref().map_or(0, |p| p.index.saturating_add(1));
        let held = known.map_or(0..0, |g| g.first.max(purged)..g.range().end);
        match held.is_empty() {
            true => end.saturating_sub(mark.first),
            false => held.start.saturating_sub(mark.first) + end.saturating_sub(held.end),
        }
    }

    /// A checkpoint read at start: what it says holds, whatever was or was not read before.
    pub fn replay_mark(&mut self, mark: &GroupMark) {
        self.vote = mark.vote.clone();
        self.committed = mark.committed.clone();
        if let Some(purged) = &mark.purged {
            self.purge(purged.clone());
        }
        let Some(last) = &mark.last else {
            let from = self.first;
            self.truncate(from);
            return;
        };
        if self.slots.is_empty() {
            self.first = mark.first;
        }
        while self.first > mark.first {
            self.slots.push_front(Slot::missing());
            self.first -= 1;
        }
        self.truncate(last.index + 1);
        while self.range().end <= last.index {
            let index = self.range().end;
            self.push(index, Slot::missing());
        }
        if let Some(slot) = self.slots.back_mut()
            && slot.place == (Place::Missing { known: false })
        {
            // Content is not known, but everything that the entry after it needs is.
            *slot = Slot { term: last.term, leader: last.leader, chain: last.chain, ..Slot::missing() };
        }
    }

    /// Whether `records` are the very entries missing in `hole`: the chain from the entry before leads over them to
    /// what stands behind.
    pub fn proves(&self, group: GroupId, hole: &Range<u64>, records: &[(Position, u32)]) -> bool {
        let Some(mut chain) = self.chain_before(hole.start) else { return false };
        for ((index, term, leader), content) in records {
            chain = entry_chain(chain, group, *index, *term, *leader, *content);
            if let Some(slot) = self.slot(*index)
                && slot.place == (Place::Missing { known: true })
                && slot.chain != chain
            {
                return false;
            }
        }
        match self.slot(hole.end) {
            Some(s) => entry_chain(chain, group, hole.end, s.term, s.leader, s.content) == s.chain,
            None => self.last().is_some_and(|last| last.chain == chain),
        }
    }
}

/// A place in a log as other rooms see it.
pub fn position(mark: &Mark) -> Position {
    (mark.index, mark.term, mark.leader)
}
