//! Reading every entry where it lies on the disk, slowly, so that rot is found while another node still has the entry
//! whole (P7). Daily reads come from memory mostly and would find it too late.

use super::{
    Damage, GroupId,
    format::{Head, record_size},
    group::Place,
    read,
    segment::Segment,
    shared::Shared,
};
use crate::seam::{fs::blocking, pace::Pace};
use std::sync::Arc;

/// Bytes of records checked in one go.
const STEP_BYTES: u64 = 512 << 10;

/// An entry on the disk.
struct Lying {
    index: u64,
    head: Head,
    segment: Segment,
    offset: u32,
}

/// See [`super::Log::scrub`].
pub async fn scrub(shared: &Arc<Shared>, pace: &Pace) -> Vec<Damage> {
    for group in shared.groups() {
        let mut from = 0;
        while let Some((step, next)) = take(shared, group, from) {
            from = next;
            let bytes = step.iter().map(|l| record_size(l.head.len as usize)).sum();
            let epoch = shared.epoch;
            let bad = blocking(&shared.fs, move |_| {
                step.into_iter().filter(|l| read::one(epoch, &l.head, &l.segment, l.offset).is_none()).collect()
            });
            note(shared, group, bad.await);
            pace.spent(bytes).await;
        }
    }
    let damage = |group| {
        let holes: Vec<_> = shared.with(group, |g| g.holes());
        holes.into_iter().map(move |range| Damage { group, range })
    };
    shared.groups().into_iter().flat_map(damage).collect()
}

/// The next entries of a group from index `from` on, and where to go on; `None` behind the last.
fn take(shared: &Shared, group: GroupId, from: u64) -> Option<(Vec<Lying>, u64)> {
    let state = shared.lock();
    let g = state.groups.get(&group)?;
    let held = g.range();
    let (mut step, mut bytes, mut index) = (Vec::new(), 0, from.max(held.start));
    if index >= held.end {
        return None;
    }
    while index < held.end && bytes < STEP_BYTES {
        let slot = g.slot(index)?;
        // What is still on its way to the disk, or known to be missing, cannot be checked.
        if let Place::At { segment, offset } = slot.place
            && let Some(segment) = state.segments.get(&segment)
        {
            let head = Head {
                len: slot.len,
                group,
                index,
                term: slot.term,
                leader: slot.leader,
                content: slot.content,
                ..Head::default()
            };
            step.push(Lying { index, head, segment: segment.clone(), offset });
        }
        bytes += record_size(slot.len as usize);
        index += 1;
    }
    Some((step, index))
}

/// Marks entries as missing that are still where they could not be read: others were purged or moved meanwhile.
fn note(shared: &Shared, group: GroupId, bad: Vec<Lying>) {
    let mut state = shared.lock();
    let Some(g) = state.groups.get_mut(&group) else { return };
    for Lying { index, segment, offset, .. } in bad {
        let place = Place::At { segment: segment.sequence, offset };
        if g.slot(index).is_some_and(|s| s.place == place) {
            tracing::warn!(event = "log.damaged", group, from = index, to = index);
            g.found_bad(index, place);
        }
    }
}
