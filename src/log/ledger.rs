//! What the log on disk says up to the record written last (P1): the source of checkpoints, and the count of what
//! each segment still holds.
//!
//! Calls change a group at once; the ledger follows when the writer reaches them, so that a checkpoint never tells of
//! something queued behind it, and a segment is never used again before the record that frees it is durable.

use super::{
    GroupId,
    format::{Checkpoint, GroupMark, Mark, record_size},
    group::{Group, Place},
};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// What a segment still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    pub records: u64,
    pub bytes: u64,
}

#[derive(Default)]
struct Written {
    mark: GroupMark,
    /// Segment (0: missing) and record size of each entry from `mark.first` on.
    places: VecDeque<(u32, u32)>,
}

#[derive(Default)]
pub struct Ledger {
    groups: BTreeMap<GroupId, Written>,
    live: BTreeMap<u32, Live>,
}

impl Ledger {
    /// The ledger of a log just opened.
    pub fn of(groups: &BTreeMap<GroupId, Group>) -> Ledger {
        let mut ledger = Ledger::default();
        for (id, group) in groups {
            let mut written = Written { mark: group.mark(*id), ..Written::default() };
            for slot in group.range().filter_map(|i| group.slot(i)) {
                let segment = if let Place::At { segment, .. } = slot.place { segment } else { 0 };
                let bytes = record_size(slot.len as usize) as u32;
                ledger.add(segment, bytes);
                written.places.push_back((segment, bytes));
            }
            ledger.groups.insert(*id, written);
        }
        ledger
    }

    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { groups: self.groups.values().map(|w| w.mark.clone()).collect(), ..Checkpoint::default() }
    }

    pub fn live(&self, segment: u32) -> Live {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    /// Bytes that all segments still hold.
    pub fn live_bytes(&self) -> u64 {
        self.live.values().map(|l| l.bytes).sum()
    }

    pub fn entry(&mut self, group: GroupId, at: Mark, segment: u32, bytes: u64) {
        let written = self.group(group);
        if written.places.is_empty() {
            written.mark.first = at.index;
        }
        written.mark.last = Some(at);
        written.places.push_back((segment, bytes as u32));
        self.add(segment, bytes as u32);
    }

    /// An entry now lies elsewhere.
    pub fn moved(&mut self, group: GroupId, index: u64, segment: u32, bytes: u64) {
        let written = self.group(group);
        let Some(place) = index.checked_sub(written.mark.first).and_then(|i| written.places.get_mut(i as usize)) else {
            return;
        };
        let old = std::mem::replace(place, (segment, bytes as u32));
        self.remove(old);
        self.add(segment, bytes as u32);
    }

    pub fn vote(&mut self, group: GroupId, vote: Bytes) {
        self.group(group).mark.vote = Some(vote);
    }

    pub fn committed(&mut self, group: GroupId, committed: Bytes) {
        self.group(group).mark.committed = Some(committed);
    }

    /// Entries from `from` on are gone; `last` is the one before.
    pub fn truncate(&mut self, group: GroupId, from: u64, last: Option<Mark>) {
        let written = self.group(group);
        let keep = from.saturating_sub(written.mark.first) as usize;
        let gone: Vec<_> = written.places.drain(keep.min(written.places.len())..).collect();
        written.mark.last = if written.places.is_empty() { None } else { last };
        gone.into_iter().for_each(|place| self.remove(place));
    }

    pub fn purge(&mut self, group: GroupId, upto: Mark) {
        let written = self.group(group);
        let count = (upto.index + 1).saturating_sub(written.mark.first) as usize;
        let gone: Vec<_> = written.places.drain(..count.min(written.places.len())).collect();
        written.mark.first = upto.index + 1;
        if written.places.is_empty() {
            written.mark.first = 0;
            written.mark.last = None;
        }
        written.mark.purged = Some(upto);
        gone.into_iter().for_each(|place| self.remove(place));
    }

    pub fn install(&mut self, group: GroupId, upto: Mark) {
        let written = self.group(group);
        let gone = std::mem::take(&mut written.places);
        written.mark.first = 0;
        written.mark.last = None;
        written.mark.purged = Some(upto);
        gone.into_iter().for_each(|place| self.remove(place));
    }

    fn group(&mut self, group: GroupId) -> &mut Written {
        self.groups
            .entry(group)
            .or_insert_with(|| Written { mark: GroupMark { group, ..GroupMark::default() }, ..Written::default() })
    }

    fn add(&mut self, segment: u32, bytes: u32) {
        if segment != 0 {
            let live = self.live.entry(segment).or_default();
            live.records += 1;
            live.bytes += u64::from(bytes);
        }
    }

    fn remove(&mut self, (segment, bytes): (u32, u32)) {
        if let Some(live) = self.live.get_mut(&segment) {
            live.records -= 1;
            live.bytes -= u64::from(bytes);
            if live.records == 0 {
                self.live.remove(&segment);
            }
        }
    }
}
