//! Log segments as they lie on the disk at start. The input is one or two segments; its first byte says how many, and
//! whether checksums and numbers are made to fit, so that what lies behind them is reached too.
//!
//! Reading twice finds the same. And what a log holds when it was opened, whatever lay there, it holds when it is opened
//! again, after a clean end and after a crash on the way (P1, P7).

use super::{MIB, Take, Target};
use spine::fuzz::log::{HEAD_BYTES, HEADER_BYTES, Head, Opened, SegmentHeader, Spot, open};
use spine::log::{Damage, Log, LogOptions};
use spine::seam::World;
use spine::seam::clock::SystemClock;
use spine::seam::fs::{File, Fs, Open};
use spine::seam::sim::SimRng;
use spine::seam::sim::fs::SimFs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A window of 1 MiB, the simulated disk, and a slot for each of the million entries that may be missing at most, in a
/// queue that grows by doubling.
pub const TARGET: Target = Target { name: "log", run, seeds, longest: 16 << 10, base: 320 * MIB, factor: 100 };

const EPOCH: u64 = 7;
const SEGMENT: u64 = LogOptions::MIN_SEGMENT;

const FIT_HEADS: u8 = 1;
const FIT_CONTENTS: u8 = 2;
const FIT_ORDER: u8 = 4;
const TWO: u8 = 8;
const BARE: u8 = 16;

fn run(input: &[u8]) {
    let mut take = Take(input);
    let how = take.byte();
    let fs = SimFs::new(1, 64 << 20);
    let dir = Path::new("/log");
    fs.create_dir_all(dir).expect("the disk is sound");
    let first_len = if how & TWO != 0 { usize::from(take.byte()) * 16 } else { usize::MAX };
    let (chain, end) = segment(
        &fs,
        1,
        how,
        take.bytes(first_len),
        SegmentHeader { epoch: EPOCH, sequence: 1, previous: 0, previous_end: 0, chain: 0, bytes: SEGMENT as u32 },
    );
    if how & TWO != 0 {
        let header =
            SegmentHeader { epoch: EPOCH, sequence: 2, previous: 1, previous_end: end, chain, bytes: SEGMENT as u32 };
        segment(&fs, 2, how, take.0, header);
    }
    fs.sync_dir(dir).expect("the disk is sound");
    // Once the power is off nothing can be written; that is no fault.
    let options = LogOptions { segment_bytes: SEGMENT, fatal: Arc::new(|_| {}), ..Default::default() };
    let opened = || open(Arc::new(fs.clone()), dir.to_owned(), &options, EPOCH);
    let Ok(first) = opened() else { return };
    let shown = shape(&first);
    let groups: Vec<_> =
        first.groups.iter().map(|(id, g)| (*id, g.last().map(|m| (m.index, m.term, m.leader)))).collect();
    let damage: Vec<_> = first.damage.iter().map(|d| (d.group, d.range.clone())).collect();
    drop(first);
    assert_eq!(shape(&opened().expect("what opened once opens again")), shown);
    RUNTIME.with(|runtime| runtime.block_on(reopened(&fs, &options, &groups, &damage)));
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
}

type Last = (u16, Option<(u64, u64, u64)>);

/// The whole log, opened: with the power going on the way first, then twice to its end. Damage stays damage, and the
/// last entries the last.
async fn reopened(fs: &SimFs, options: &LogOptions, groups: &[Last], damaged: &[(u16, Range<u64>)]) {
    let world = World { fs: Arc::new(fs.clone()), clock: Arc::new(SystemClock), rng: Arc::new(SimRng::new(1)) };
    let holds = |log: &Log, damage: Vec<Damage>| {
        let ranges: Vec<_> = damage.into_iter().map(|d| (d.group, d.range)).collect();
        assert_eq!(ranges, damaged);
        for (id, last) in groups {
            assert_eq!(log.group(*id).state().last, *last, "group {id}");
        }
    };
    fs.cut_power_after(2);
    if let Ok((log, _)) = Log::open(world.clone(), "/log".into(), options.clone()).await {
        drop(log);
    }
    tokio::task::yield_now().await;
    fs.crash();
    let (log, damage) = Log::open(world.clone(), "/log".into(), options.clone()).await.expect("it opened before");
    holds(&log, damage);
    log.close().await;
    let (log, damage) = Log::open(world, "/log".into(), options.clone()).await.expect("it was closed cleanly");
    holds(&log, damage);
    log.close().await;
}

/// What must not differ from one opening to the next: not where spares lie.
fn shape(opened: &Opened) -> String {
    let tail = opened.tail.map(|t| (t.offset, t.chain, t.number));
    let damage: Vec<_> = opened.damage.iter().map(|d| (d.group, d.range.clone())).collect();
    let groups: Vec<_> = opened.groups.iter().map(|(id, g)| (*id, g.range(), g.vote.clone(), g.mark(*id))).collect();
    format!("{} {tail:?} {damage:?} {groups:?}", opened.epoch)
}

/// Writes one segment; returns the last record's checksum and the end.
fn segment(fs: &SimFs, sequence: u32, how: u8, records: &[u8], header: SegmentHeader) -> (u32, u32) {
    let path = Path::new("/log").join(format!("seg-{sequence:010}.log"));
    let file = fs.open(&path, Open::Create).expect("the disk is sound");
    file.preallocate(SEGMENT).expect("the disk is sound");
    if how & BARE != 0 {
        let bare = records.len().min(SEGMENT as usize);
        file.write_at(0, &records[..bare]).expect("the disk is sound");
        file.sync().expect("the disk is sound");
        return (0, bare as u32);
    }
    file.write_at(0, &header.encode()).expect("the disk is sound");
    fitted(file.as_ref(), how, records, header)
}

/// Records one after another: 56 bytes of head, then what the head says of payload.
fn fitted(file: &dyn File, how: u8, records: &[u8], header: SegmentHeader) -> (u32, u32) {
    let (mut rest, mut offset, mut prev, mut number) = (Take(records), HEADER_BYTES, header.chain, 0u32);
    while !rest.is_empty() && offset + 2 * HEAD_BYTES as u64 <= SEGMENT {
        let mut head = [0; HEAD_BYTES];
        let taken = rest.bytes(HEAD_BYTES);
        head[..taken.len()].copy_from_slice(taken);
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as u64;
        let room = SEGMENT - offset - HEAD_BYTES as u64;
        let payload = rest.bytes(len.min(room) as usize).to_vec();
        let word = |b: &[u8], at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let long = |b: &[u8], at: usize| u64::from(word(b, at)) | u64::from(word(b, at + 4)) << 32;
        let fits = how & FIT_ORDER != 0;
        let made = Head {
            len: if how & FIT_CONTENTS != 0 { payload.len() as u32 } else { len as u32 },
            prev: if fits { prev } else { word(&head, 8) },
            synced: if fits { word(&head, 12) % (offset as u32 + 1) } else { word(&head, 12) },
            number: if fits { number } else { word(&head, 16) },
            group: u16::from_le_bytes([head[20], head[21]]),
            kind: if fits { head[22] % 10 } else { head[22] },
            index: long(&head, 24),
            term: long(&head, 32),
            leader: long(&head, 40),
            chain: word(&head, 48),
            content: if how & FIT_CONTENTS != 0 { crc32c::crc32c(&payload) } else { word(&head, 52) },
        };
        let spot = Spot { epoch: header.epoch, segment: header.sequence, offset: offset as u32 };
        let mut bytes = vec![];
        prev = made.encode(spot, &mut bytes);
        if how & FIT_HEADS == 0 {
            bytes[4..8].copy_from_slice(&head[4..8]);
        }
        bytes.extend_from_slice(&payload);
        file.write_at(offset, &bytes).expect("the disk is sound");
        offset += made.size().min(SEGMENT);
        number += 1;
    }
    file.sync().expect("the disk is sound");
    (prev, offset.min(SEGMENT) as u32)
}

fn record(kind: u8, index: u64, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        len: payload.len() as u32,
        synced: HEADER_BYTES as u32,
        group: 1,
        kind,
        index,
        term: 3,
        leader: 65_537,
        chain: index as u32,
        ..Default::default()
    };
    let mut bytes = vec![];
    head.encode(Spot { epoch: EPOCH, segment: 1, offset: 0 }, &mut bytes);
    [&bytes[..], payload].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    const FIT: u8 = FIT_HEADS | FIT_CONTENTS | FIT_ORDER;
    let checkpoint = [1, 0x0a, 14, 1, 0x08, 1, 0x2a, 5, 1, 0x08, 5, 0x10, 3, 0x30, 2, 0x12, 0];
    let all = |records: &[Vec<u8>]| records.concat();
    let entries = all(&[record(8, 0, &[1]), record(1, 1, b"one"), record(1, 2, b"two"), record(2, 0, b"a vote")]);
    let turns = all(&[
        record(1, 1, b"a"),
        record(1, 2, b"b"),
        record(4, 2, b""),
        record(1, 2, b"c"),
        record(7, 1, b"a"),
        record(5, 1, b""),
        record(3, 0, b"done"),
        record(6, 40, b""),
        record(1, 41, b"d"),
        record(8, 0, &checkpoint),
    ]);
    let gap = all(&[record(1, 1, b"a"), record(1, 60, b"b")]);
    let far = all(&[record(1, 1, b"a"), record(1, u64::MAX - 1, b"b"), record(5, u64::MAX, b"")]);
    let half = [&[FIT | TWO, (entries.len() / 16) as u8][..], &entries, &turns].concat();
    let header =
        SegmentHeader { epoch: EPOCH, sequence: 1, previous: 0, previous_end: 0, chain: 0, bytes: SEGMENT as u32 };
    vec![
        [&[FIT][..], &entries].concat(),
        [&[FIT][..], &turns].concat(),
        [&[FIT][..], &gap].concat(),
        [&[FIT][..], &far].concat(),
        [&[FIT & !FIT_CONTENTS][..], &turns].concat(),
        [&[FIT_CONTENTS | FIT_ORDER][..], &turns].concat(),
        half,
        [&[BARE][..], &header.encode()[..64]].concat(),
    ]
}
