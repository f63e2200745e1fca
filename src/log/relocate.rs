//! Moving the few entries that an old segment still holds (P6): segments are used again only from the front, so a
//! group that hardly writes would otherwise keep everything behind its last entries on the disk.

use super::{
    GroupId,
    format::{Head, Kind, record_size},
    group::Place,
    read,
    segment::Segment,
    writer::{Moved, Writer},
};
use bytes::Bytes;
use std::io;

/// Bytes moved along with one batch: little beside a sync.
const STEP: u64 = 256 << 10;
/// Segments that the log may have in use beyond twice what it holds.
const SLACK: u64 = 3;

struct Found {
    group: GroupId,
    index: u64,
    head: Head,
    offset: u32,
    payload: Option<Bytes>,
}

impl Writer {
    /// Writes entries of the oldest segment again, if the log is mostly things that are gone.
    pub(super) fn relocate(&mut self, moved: &mut Vec<Moved>) -> io::Result<()> {
        let Some(oldest) = self.pinned() else { return Ok(()) };
        let found = self.entries_in(oldest.sequence);
        let mut stuck = true;
        for Found { group, index, head, offset, payload } in found {
            let payload = match payload {
                Some(payload) => payload,
                None => match read::one(self.shared.epoch, &head, &oldest, offset) {
                    Some(payload) => payload,
                    // A read that needs it will find it damaged too; it stays where it is until repaired or purged.
                    None => continue,
                },
            };
            stuck = false;
            let from = Place::At { segment: oldest.sequence, offset };
            let offset = self.append(head, &payload)?;
            let segment = self.active.sequence;
            self.ledger.moved(group, index, segment, record_size(payload.len()));
            moved.push(Moved { group, index, from, to: Place::At { segment, offset } });
        }
        if stuck {
            self.stuck = oldest.sequence;
        }
        Ok(())
    }

    /// The oldest segment, if moving what it holds is worth it.
    fn pinned(&self) -> Option<Segment> {
        let state = self.shared.lock();
        let (_, oldest) = state.segments.first_key_value()?;
        let used: u64 = state.segments.values().map(|s| s.bytes).sum();
        let allowed = 2 * self.ledger.live_bytes() + SLACK * self.active.bytes;
        let worth = used > allowed && oldest.sequence != self.active.sequence && oldest.sequence != self.stuck;
        worth.then(|| oldest.clone())
    }

    fn entries_in(&self, sequence: u32) -> Vec<Found> {
        let state = self.shared.lock();
        let mut found = Vec::new();
        let mut bytes = 0;
        for (group, g) in &state.groups {
            for index in g.range() {
                let Some(slot) = g.slot(index) else { break };
                let Place::At { segment, offset } = slot.place else { continue };
                if segment != sequence {
                    continue;
                }
                bytes += record_size(slot.len as usize);
                if bytes > STEP && !found.is_empty() {
                    return found;
                }
                let head = Head {
                    len: slot.len,
                    group: *group,
                    kind: Kind::Fill as u8,
                    index,
                    term: slot.term,
                    leader: slot.leader,
                    chain: slot.chain,
                    content: slot.content,
                    ..Head::default()
                };
                found.push(Found { group: *group, index, head, offset, payload: slot.payload.clone() });
            }
        }
        found
    }
}
