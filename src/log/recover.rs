//! Opening the folder of segments: which are in use, which are spare, what they hold together (P1, P7).

use super::{
    Damage, GroupId, LogError, LogOptions,
    format::{HEADER_BYTES, HeaderBlock, PAGE, SegmentHeader},
    group::Group,
    replay::{End, Replay, Tail, Window},
    segment::{Dir, Segment, clear, is_unfinished, sequence_of},
};
use crate::seam::fs::{Fs, Open};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What opening found.
pub struct Opened {
    pub epoch: u64,
    pub groups: BTreeMap<GroupId, Group>,
    /// Segments in use, in order. The last is written on.
    pub used: Vec<Segment>,
    /// Where to write on in the last segment, and up to where remains of a torn write are to be wiped; `None` in a new log.
    /// Nothing is wiped here: a torn record may be the proof that one before it, which is damaged, was durable once.
    pub tail: Option<Tail>,
    pub dir: Arc<Dir>,
    pub damage: Vec<Damage>,
}

/// The format of the log in `path`, if a newer release than this one wrote it. Reads only.
pub fn newer(fs: &dyn Fs, path: &Path) -> io::Result<Option<u32>> {
    if !fs.exists(path) {
        return Ok(None);
    }
    for name in fs.list(path)?.into_iter().filter(|name| sequence_of(name).is_some()) {
        let file = fs.open(&path.join(name), Open::Read)?;
        let mut block = vec![0; HEADER_BYTES.min(file.len()?) as usize];
        file.read_at(0, &mut block)?;
        if let HeaderBlock::Newer(version) = SegmentHeader::decode(&block) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

struct Found {
    segment: Segment,
    header: HeaderBlock,
}

/// Reads the log in `path`. `fresh` becomes the epoch of a new log.
pub fn open(fs: Arc<dyn Fs>, path: PathBuf, options: &LogOptions, fresh: u64) -> Result<Opened, LogError> {
    if let Some(version) = newer(fs.as_ref(), &path)? {
        return Err(LogError::Newer(version));
    }
    fs.create_dir_all(&path)?;
    let found = list(fs.as_ref(), &path)?;
    let next = found.last().map_or(1, |f| f.segment.sequence + 1);
    let total: u64 = found.iter().map(|f| f.segment.bytes).sum();
    let Sorted { epoch, used, spares, unused } = sort(found)?;
    let spare_bytes: u64 = spares.iter().map(|s| s.bytes).sum();
    let segment_bytes = options.segment_bytes.max(LogOptions::MIN_SEGMENT).next_multiple_of(PAGE);
    let dir = Arc::new(Dir::new(fs, path, segment_bytes, options.spare_segments, spares, next, total - spare_bytes));
    for segment in unused {
        clear(segment.file.as_ref())?;
        dir.retire(segment);
    }
    let mut replay = Replay::new(epoch.unwrap_or(fresh));
    let tail = read_all(&mut replay, &used)?;
    let epoch = replay.epoch;
    let groups = replay.finish()?;
    let damage = groups
        .iter()
        .flat_map(|(group, g)| g.holes().into_iter().map(|range| Damage { group: *group, range }))
        .collect();
    let used = used.into_iter().map(|f| f.segment).collect();
    Ok(Opened { epoch, groups, used, tail, dir, damage })
}

fn list(fs: &dyn Fs, path: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for name in fs.list(path)? {
        if is_unfinished(&name) {
            fs.remove_file(&path.join(name))?;
            continue;
        }
        let Some(sequence) = sequence_of(&name) else { continue };
        let file = fs.open(&path.join(name), Open::Write)?;
        let bytes = file.len()?;
        let mut window = Window::new(file.as_ref(), bytes);
        let header = match window.get(0, HEADER_BYTES as usize)? {
            Some(block) => SegmentHeader::decode(block),
            None => HeaderBlock::Damaged,
        };
        drop(window);
        found.push(Found { segment: Segment { sequence, file, bytes }, header });
    }
    found.sort_by_key(|f| f.segment.sequence);
    Ok(found)
}

struct Sorted {
    epoch: Option<u64>,
    used: Vec<Found>,
    spares: Vec<Segment>,
    /// Segments that hold nothing, but not where a spare would be.
    unused: Vec<Segment>,
}

fn sort(found: Vec<Found>) -> Result<Sorted, LogError> {
    let mut epoch = None;
    let (mut first, mut last) = (u32::MAX, 0);
    for f in &found {
        match f.header {
            HeaderBlock::Valid(h) if h.sequence == f.segment.sequence => {
                epoch = Some(h.epoch);
                first = first.min(h.sequence);
                last = h.sequence;
            }
            HeaderBlock::Newer(version) => return Err(LogError::Newer(version)),
            _ => {}
        }
    }
    let claimed: Vec<u32> = found
        .iter()
        .filter_map(|f| if let HeaderBlock::Valid(h) = f.header { Some(h.previous) } else { None })
        .collect();
    let mut sorted = Sorted { epoch, used: Vec::new(), spares: Vec::new(), unused: Vec::new() };
    for f in found {
        let sequence = f.segment.sequence;
        let Some(epoch) = epoch else {
            match f.header {
                HeaderBlock::Empty => sorted.spares.push(f.segment),
                // A first segment that was never durable looks like this only when it is alone and holds nothing.
                _ if holds_records(&f)? => return Err(LogError::StateLost { segment: sequence, offset: 0 }),
                _ => sorted.unused.push(f.segment),
            }
            continue;
        };
        if sequence > last && f.segment.bytes < LogOptions::MIN_SEGMENT {
            // Files get their names when they have their length: this one was cut short, and may have been the last.
            return Err(LogError::StateLost { segment: sequence, offset: f.segment.bytes });
        }
        let valid = matches!(f.header, HeaderBlock::Valid(h) if h.sequence == sequence && h.epoch == epoch);
        if valid || (first < sequence && claimed.contains(&sequence)) {
            sorted.used.push(f);
            continue;
        }
        // An empty header block is what a spare or a cleared segment has, but also one that rotted to zeroes or cannot be
        // read; a bad one is damaged, or was torn when the segment was begun. Behind the last segment nothing was cleared
        // under its own number: records that were durable there prove that it is the last one.
        let replay = Replay::new(epoch);
        let mut window = Window::new(f.segment.file.as_ref(), f.segment.bytes);
        let asked = f.header != HeaderBlock::Empty || sequence > last;
        if asked && replay.in_use(&mut window, sequence)? {
            sorted.used.push(f);
        } else if f.header == HeaderBlock::Empty && sequence > last {
            sorted.spares.push(f.segment);
        } else {
            sorted.unused.push(f.segment);
        }
    }
    Ok(sorted)
}

/// Whether anything but zeroes follows the header page's first batch; used only where no header tells the epoch.
fn holds_records(f: &Found) -> io::Result<bool> {
    let mut window = Window::new(f.segment.file.as_ref(), f.segment.bytes);
    // The first batch of a log is a checkpoint of nothing: it fits the page behind the header.
    let rest = f.segment.bytes.saturating_sub(HEADER_BYTES + PAGE).min(PAGE) as usize;
    Ok(window.get(HEADER_BYTES + PAGE, rest)?.is_some_and(|b| b.iter().any(|b| *b != 0)))
}

fn header_of(f: &Found, epoch: u64) -> Option<SegmentHeader> {
    match f.header {
        HeaderBlock::Valid(h) if h.epoch == epoch && h.sequence == f.segment.sequence => Some(h),
        _ => None,
    }
}

fn read_all(replay: &mut Replay, used: &[Found]) -> Result<Option<Tail>, LogError> {
    let mut tail: Option<Tail> = None;
    for (i, f) in used.iter().enumerate() {
        let sequence = f.segment.sequence;
        let header = header_of(f, replay.epoch);
        let end = match used.get(i + 1) {
            None => End::Open,
            Some(next) => match header_of(next, replay.epoch) {
                Some(h) if h.previous == sequence => End::At(u64::from(h.previous_end)),
                _ => End::Durable,
            },
        };
        let before = i.checked_sub(1).map(|b| used[b].segment.sequence);
        if let (Some(header), Some(before)) = (header, before)
            && header.previous != before
        {
            replay.segment_lost(header.previous);
        }
        let chain = header.map(|h| h.chain).or(tail.map(|t| t.chain));
        let mut window = Window::new(f.segment.file.as_ref(), f.segment.bytes);
        let ended = replay.segment(&mut window, sequence, chain, end)?;
        if end == End::Open {
            whole(f, header, &mut window, ended.offset)?;
        }
        tail = Some(ended);
    }
    Ok(tail)
}

/// Whether the last segment's file still ends behind its last record. A file that was cut short takes entries and votes
/// with it, and nothing tells how many: what is left must not pass for the whole (P1).
fn whole(f: &Found, header: Option<SegmentHeader>, window: &mut Window<'_>, end: u64) -> Result<(), LogError> {
    let (sequence, bytes) = (f.segment.sequence, f.segment.bytes);
    if header.is_none_or(|h| u64::from(h.bytes) <= bytes) {
        return Ok(());
    }
    // Records follow each other without a gap: a page of nothing behind the last one was never written.
    let page = (end.next_multiple_of(PAGE), PAGE as usize);
    let nothing = window.get(page.0, page.1)?.is_some_and(|page| page.iter().all(|b| *b == 0));
    if nothing { Ok(()) } else { Err(LogError::StateLost { segment: sequence, offset: bytes }) }
}
