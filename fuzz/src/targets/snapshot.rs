//! Files of snapshots, which come from a peer, and of layers. The first byte says whether the input is a file as it stands, or parts whose
//! checksums and digest are made to fit, so that what lies behind them is reached too.
//!
//! Rows of a file that verifies are written again to a file that reads the same.

use super::{MIB, Take, Target};
use bytes::Bytes;
use spine::fuzz::store::{Changes, Foot, Head, Kind, Reader, Writer};
use spine::seam::fs::{Fs, Open};
use spine::seam::sim::fs::SimFs;
use spine::wire::record::Record;
use std::path::Path;

/// A run claims at most 16 MiB unpacked; its rows, however short, cost as much again in handles.
pub const TARGET: Target = Target { name: "snapshot", run, seeds, longest: 16 << 10, base: 160 * MIB, factor: 400 };

const MAGICS: [&[u8]; 2] = [b"SPNSNAP1", b"SPNLAYR1"];
const END: &[u8] = b"SPNSNEND";

fn run(input: &[u8]) {
    let mut take = Take(input);
    let bytes = if take.byte() & 1 == 0 { take.0.to_vec() } else { with_checksums(&mut take) };
    let fs = SimFs::new(1, 64 << 20);
    let Ok(rows) = read(&fs, "in", &bytes) else { return };
    let Some((kind, head, all)) = rows else { return };
    let mut writer = Writer::create(&fs, Path::new("/out"), kind, &head).expect("the disk is sound");
    for (key, value) in &all {
        writer.row(key, value.as_deref()).expect("the disk is sound");
    }
    writer.finish(9).expect("the disk is sound");
    let (mut reader, mut again) = (Reader::open(&fs, Path::new("/out")).expect("what we write opens"), vec![]);
    reader.verify().expect("what we write verifies");
    while let Some(rows) = reader.rows().expect("what we write reads") {
        again.extend(rows);
    }
    assert_eq!((reader.head.encode(), again), (head.encode(), all));
}

/// The rows where every part is good, none where some are many: memory is measured on reading alone.
fn read(fs: &SimFs, name: &str, bytes: &[u8]) -> Result<Option<(Kind, Head, Changes)>, ()> {
    let path = Path::new("/").join(name);
    let file = fs.open(&path, Open::Create).map_err(drop)?;
    file.write_at(0, bytes).map_err(drop)?;
    let mut reader = Reader::open(fs, &path).map_err(drop)?;
    reader.verify().map_err(drop)?;
    let mut all = vec![];
    let mut many = false;
    while let Some(rows) = reader.rows().map_err(drop)? {
        many |= all.len() + rows.len() > 10_000;
        if !many {
            all.extend(rows);
        }
    }
    Ok((!many).then_some((reader.kind, reader.head, all)))
}

/// A head, runs of `flags, raw length, length, payload`, and the footer that fits them.
fn with_checksums(take: &mut Take<'_>) -> Vec<u8> {
    let len = usize::from(take.byte());
    let head = take.bytes(len);
    let mut out = MAGICS[len % 2].to_vec();
    out.extend_from_slice(&(head.len() as u32).to_le_bytes());
    out.extend_from_slice(head);
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    let mut runs = 0u64;
    while !take.is_empty() && runs < 8 {
        let (flags, raw_len, len) = (take.byte(), take.u32(), take.u32() as usize);
        part(&mut out, 1, flags, raw_len, runs, take.bytes(len));
        runs += 1;
    }
    let foot_at = out.len() as u64;
    let mut foot = Foot { runs, ..Default::default() };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &out);
    foot.digest.copy_from_slice(digest.as_ref());
    let foot = foot.encode();
    part(&mut out, 2, 0, foot.len() as u32, runs, &foot);
    out.extend_from_slice(&foot_at.to_le_bytes());
    out.extend_from_slice(END);
    out
}

fn part(out: &mut Vec<u8>, kind: u8, flags: u8, raw_len: u32, number: u64, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&raw_len.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &out[start..]);
    let sum = crc32c::crc32c_append(sum, payload);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(payload);
}

fn written(kind: Kind, rows: &[(Bytes, Option<Bytes>)]) -> Vec<u8> {
    let (fs, path) = (SimFs::new(1, 1 << 20), Path::new("/made"));
    let head = Head { partition: 3, ..Default::default() };
    let mut writer = Writer::create(&fs, path, kind, &head).expect("the disk is sound");
    for (key, value) in rows {
        writer.row(key, value.as_deref()).expect("the disk is sound");
    }
    writer.finish(9).expect("the disk is sound");
    let file = fs.open(path, Open::Read).expect("it was written");
    let mut bytes = vec![0; file.len().expect("it has a length") as usize];
    file.read_at(0, &mut bytes).expect("it can be read");
    bytes
}

/// One run behind a small head, for [`with_checksums`].
fn loose(flags: u8, raw_len: usize, payload: &[u8]) -> Vec<u8> {
    let head = Head { partition: 3, ..Default::default() }.encode();
    let lengths = [(raw_len as u32).to_le_bytes(), (payload.len() as u32).to_le_bytes()].concat();
    [&[1, head.len() as u8][..], &head, &[flags], &lengths, payload].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let row = |n: usize| (Bytes::from(format!("key {n:03}")), (n % 7 > 0).then(|| Bytes::from("value ".repeat(n % 5))));
    let rows: Vec<_> = (0..60).map(row).collect();
    let plain = [&[3][..], b"abc", &[2], b"xy", &[1], b"b", &[0]].concat();
    let packed = zstd::bulk::compress(&plain.repeat(40), 1).expect("memory compresses");
    // As many rows as a run can claim to hold, in a few hundred bytes.
    let bomb = zstd::bulk::compress(&vec![0; 16 * MIB], 1).expect("memory compresses");
    vec![
        [&[0][..], &written(Kind::Whole, &rows)].concat(),
        [&[0][..], &written(Kind::Layer, &rows)].concat(),
        [&[0][..], &written(Kind::Whole, &[])].concat(),
        loose(0, plain.len(), &plain),
        loose(1, plain.len() * 40, &packed),
        loose(1, 16 * MIB, &bomb),
    ]
}
