//! Reading entries back: from memory where they are recent, else from their segments, checked (P7).

use super::{
    GroupId, LogRecord,
    format::{HEAD_BYTES, Head, Kind, Spot, record_size},
    group::Place,
    segment::Segment,
    shared::Shared,
};
use crate::seam::fs::blocking;
use bytes::Bytes;
use std::{io, ops::Range, sync::Arc};

/// Bytes read from a segment at once.
const SPAN: usize = 1 << 20;
/// Tries after the entries moved while they were read.
const TRIES: usize = 8;

/// An entry to be read.
struct Wanted {
    index: u64,
    term: u64,
    leader: u64,
    content: u32,
    len: u32,
    from: From,
}

enum From {
    Memory(Bytes),
    Disk { segment: Segment, offset: u32 },
    Missing,
}

/// See [`super::GroupLog::read`].
pub async fn read(
    shared: &Arc<Shared>,
    group: GroupId,
    range: Range<u64>,
    max_bytes: usize,
) -> io::Result<Vec<LogRecord>> {
    for _ in 0..TRIES {
        let wanted = plan(shared, group, &range, max_bytes)?;
        let epoch = shared.epoch;
        let found = if wanted.iter().all(|w| !matches!(w.from, From::Disk { .. })) {
            fetch(epoch, group, wanted)
        } else {
            blocking(&shared.fs, move |_| fetch(epoch, group, wanted)).await
        };
        let Some((index, place)) = found.bad else { return Ok(found.records) };
        if let Some(place) = place {
            let mut state = shared.lock();
            let still = state.groups.get(&group).and_then(|g| g.slot(index)).is_some_and(|s| s.place == place);
            if !still {
                // Purged, cut or moved meanwhile, and its segment perhaps used again.
                continue;
            }
            tracing::warn!(event = "log.damaged", group, from = index, to = index);
            if let Some(g) = state.groups.get_mut(&group) {
                g.found_bad(index, place);
            }
        }
        if found.records.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index} is damaged")));
        }
        return Ok(found.records);
    }
    Err(io::Error::new(io::ErrorKind::Interrupted, "the log changed while it was read"))
}

fn plan(shared: &Shared, group: GroupId, range: &Range<u64>, max_bytes: usize) -> io::Result<Vec<Wanted>> {
    let state = shared.lock();
    let Some(g) = state.groups.get(&group) else { return Ok(Vec::new()) };
    let held = g.range();
    if range.start < held.start && range.start < range.end {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("log entry {} is purged", range.start)));
    }
    let mut wanted = Vec::new();
    let mut bytes = 0;
    for index in range.start..range.end.min(held.end) {
        let Some(slot) = g.slot(index) else { break };
        bytes += slot.len as usize;
        if !wanted.is_empty() && bytes > max_bytes {
            break;
        }
        let from = match (&slot.payload, slot.place) {
            (Some(payload), _) => From::Memory(payload.clone()),
            (None, Place::At { segment, offset }) => match state.segments.get(&segment) {
                Some(segment) => From::Disk { segment: segment.clone(), offset },
                None => From::Missing,
            },
            (None, _) => From::Missing,
        };
        wanted.push(Wanted { index, term: slot.term, leader: slot.leader, content: slot.content, len: slot.len, from });
    }
    Ok(wanted)
}

struct Found {
    records: Vec<LogRecord>,
    /// The first entry that could not be read, and where it should have been.
    bad: Option<(u64, Option<Place>)>,
}

/// A stretch of a segment held in memory.
struct Span {
    segment: u32,
    start: u64,
    bytes: Bytes,
}

fn fetch(epoch: u64, group: GroupId, wanted: Vec<Wanted>) -> Found {
    let mut records = Vec::with_capacity(wanted.len());
    let mut span = Span { segment: 0, start: 0, bytes: Bytes::new() };
    let total: u64 = wanted.iter().map(|w| record_size(w.len as usize)).sum();
    for w in wanted {
        let payload = match &w.from {
            From::Memory(payload) => Some(payload.clone()),
            From::Missing => None,
            From::Disk { segment, offset } => load(epoch, group, &w, segment, *offset, &mut span, total),
        };
        let Some(payload) = payload else {
            let place = match w.from {
                From::Disk { segment, offset } => Some(Place::At { segment: segment.sequence, offset }),
                _ => None,
            };
            return Found { records, bad: Some((w.index, place)) };
        };
        records.push(LogRecord { index: w.index, term: w.term, leader: w.leader, payload });
    }
    Found { records, bad: None }
}

/// One entry's payload from where it lies; `head` says what it must be.
pub fn one(epoch: u64, head: &Head, segment: &Segment, offset: u32) -> Option<Bytes> {
    let wanted = Wanted {
        index: head.index,
        term: head.term,
        leader: head.leader,
        content: head.content,
        len: head.len,
        from: From::Missing,
    };
    let mut span = Span { segment: 0, start: 0, bytes: Bytes::new() };
    load(epoch, head.group, &wanted, segment, offset, &mut span, 0)
}

fn load(
    epoch: u64,
    group: GroupId,
    w: &Wanted,
    segment: &Segment,
    offset: u32,
    span: &mut Span,
    total: u64,
) -> Option<Bytes> {
    let start = u64::from(offset);
    let size = (HEAD_BYTES + w.len as usize) as u64;
    let held = span.start..span.start + span.bytes.len() as u64;
    if span.segment != segment.sequence || start < held.start || start + size > held.end {
        // Neighbours mostly follow: read ahead, but not more than was asked for in all.
        let ahead = total.min(SPAN as u64).max(size).min(segment.bytes.checked_sub(start)?);
        let read = |len: u64| {
            let mut bytes = vec![0; len as usize];
            segment.file.read_at(start, &mut bytes).ok().map(|()| bytes)
        };
        // A file that was cut short, or has a bad sector further on, still has this record.
        let bytes = read(ahead).or_else(|| read(size.min(ahead)))?;
        *span = Span { segment: segment.sequence, start, bytes: bytes.into() };
    }
    let at = (start - span.start) as usize;
    let record = span.bytes.get(at..at + size as usize)?;
    let (head, _) = Head::decode(record, Spot { epoch, segment: segment.sequence, offset })?;
    let kind = matches!(Kind::of(head.kind), Some(Kind::Entry | Kind::Fill));
    let same = kind && head.group == group && head.index == w.index && head.term == w.term && head.content == w.content;
    if !same || crc32c::crc32c(&record[HEAD_BYTES..]) != head.content {
        return None;
    }
    Some(span.bytes.slice(at + HEAD_BYTES..at + size as usize))
}
