//! The log entry: what one batch of decisions writes, as every replica applies it (P2, P8).
//!
//! An entry holds rows, not commands. It says in which term it was decided; [`Entry::rows_in`] gives rows only to a
//! log position of that same term, so that what was decided under one leader is never applied under another.

use crate::record;
use crate::store::RowOp;
use crate::wire::record::{Malformed, Record, get_varint, put_varint};
use bytes::{Buf, BufMut, Bytes};
use std::cell::RefCell;

record! {
    /// One batch.
    pub struct Entry v1 {
        /// Raft term in which the rows were decided.
        1 => term: u64,
        /// Random name of the stretch of leadership that decided, so that its node knows its own entries again.
        2 => reign: u64,
        /// Number of the batch in its reign, from 1.
        3 => batch: u64,
        /// Sequence of the first decision inside; with `decisions` it names what the entry holds.
        4 => first: u64,
        5 => decisions: u32,
        /// 0: `rows` as they are; 1: zstd.
        6 => packing: u8,
        /// Length of the rows before packing, in bytes.
        7 => length: u32,
        /// All row changes in order (docs/formats.md, "Log entries").
        8 => rows: Bytes,
    }
}

/// Shorter runs of rows are not worth a compressor's set-up.
const WORTH_PACKING: usize = 512;
/// zstd level: 1 is the fastest that still halves FHIR and XML.
const LEVEL: i32 = 1;
/// Batches that go unpacked after one that did not shrink: bodies that are already compressed come in runs.
const SKIP_AFTER_MISS: u32 = 15;
/// The longest rows an entry may claim. A batch is about 1 MiB with one command of 64 KiB parts on top; this is far above.
const MAX_ROWS: usize = 64 << 20;

const PACKED_ZSTD: u8 = 1;
const DELETE: u8 = 0;
const PUT: u8 = 1;
const PUT_FRESH: u8 = 2;

/// Packs rows, remembering whether packing has paid lately.
#[derive(Default)]
pub struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    skip: u32,
}

impl Packer {
    /// Fills `packing`, `length` and `rows` of the entry.
    pub fn pack(&mut self, ops: &[RowOp], entry: &mut Entry) {
        let plain = write_rows(ops);
        entry.length = plain.len() as u32;
        match self.squeeze(&plain) {
            Some(packed) => {
                entry.packing = PACKED_ZSTD;
                entry.rows = packed.into();
            }
            None => entry.rows = plain.into(),
        }
    }

    fn squeeze(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() < WORTH_PACKING {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let packed = self.zstd.as_mut()?.compress(plain).ok()?;
        if packed.len() > plain.len() - plain.len() / 8 {
            self.skip = SKIP_AFTER_MISS;
            return None;
        }
        Some(packed)
    }
}

fn write_rows(ops: &[RowOp]) -> Vec<u8> {
    let size = ops.iter().map(row_size).sum();
    let mut out = Vec::with_capacity(size);
    let mut part = |tag: u8, key: &[u8], value: Option<&[u8]>| {
        out.push(tag);
        put_varint(key.len() as u64, &mut out);
        out.put_slice(key);
        if let Some(value) = value {
            put_varint(value.len() as u64, &mut out);
            out.put_slice(value);
        }
    };
    for op in ops {
        match op {
            RowOp::Delete { key } => part(DELETE, key, None),
            RowOp::Put { key, value, fresh } => part(if *fresh { PUT_FRESH } else { PUT }, key, Some(value)),
        }
    }
    out
}

/// Upper bound of a row's bytes in an entry.
pub fn row_size(op: &RowOp) -> usize {
    match op {
        RowOp::Delete { key } => key.len() + 4,
        RowOp::Put { key, value, .. } => key.len() + value.len() + 9,
    }
}

/// Why a committed entry cannot be applied. The node must stop: going on would let replicas part ways (P7).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("entry: {0}")]
    Malformed(#[from] Malformed),
    #[error("entry packing {0} is newer than this program reads")]
    Packing(u8),
    #[error("entry rows do not unpack")]
    Unpack,
}

impl Entry {
    pub fn read(payload: &Bytes) -> Result<Entry, EntryError> {
        Ok(Entry::decode(payload)?)
    }

    /// The rows to apply at a log position of `log_term`: none when the entry was decided in another term.
    pub fn rows_in(&self, log_term: u64) -> Result<Vec<RowOp>, EntryError> {
        if self.term != log_term {
            return Ok(vec![]);
        }
        let length = self.length as usize;
        let plain = match self.packing {
            0 => self.rows.clone(),
            PACKED_ZSTD if length <= MAX_ROWS => unpack(&self.rows, length).ok_or(EntryError::Unpack)?.into(),
            PACKED_ZSTD => return Err(EntryError::Unpack),
            other => return Err(EntryError::Packing(other)),
        };
        if plain.len() != length {
            return Err(EntryError::Unpack);
        }
        Ok(read_rows(plain)?)
    }
}

/// A decompressor's tables are larger than most entries: each thread keeps one.
fn unpack(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    thread_local! {
        static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    ZSTD.with_borrow_mut(|slot| {
        let zstd = match slot {
            Some(zstd) => zstd,
            None => slot.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        zstd.decompress(packed, length).ok()
    })
}

fn read_rows(mut run: Bytes) -> Result<Vec<RowOp>, Malformed> {
    let mut ops = Vec::with_capacity(run.len() / 64);
    while run.has_remaining() {
        let tag = run.get_u8();
        let key = take(&mut run)?;
        ops.push(match tag {
            DELETE => RowOp::Delete { key },
            PUT | PUT_FRESH => RowOp::Put { key, value: take(&mut run)?, fresh: tag == PUT_FRESH },
            _ => return Err(Malformed::Type(8)),
        });
    }
    Ok(ops)
}

fn take(run: &mut Bytes) -> Result<Bytes, Malformed> {
    let len = get_varint(run)?;
    if len > run.len() as u64 {
        return Err(Malformed::Truncated);
    }
    Ok(run.split_to(len as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(body: Vec<u8>) -> Vec<RowOp> {
        vec![
            RowOp::Put { key: "k1".into(), value: body.into(), fresh: true },
            RowOp::Delete { key: "k2".into() },
            RowOp::Put { key: "k3".into(), value: Bytes::new(), fresh: false },
        ]
    }

    #[test]
    fn rows_come_back_packed_or_not() {
        let mut noise = vec![0; 4000];
        aws_lc_rs::rand::fill(&mut noise).unwrap();
        for (body, packing) in [(vec![7; 20], 0), (vec![7; 4000], 1), (noise, 0)] {
            let ops = ops(body);
            let mut entry = Entry { term: 5, ..Default::default() };
            Packer::default().pack(&ops, &mut entry);
            assert_eq!(entry.packing, packing);
            assert_eq!(Entry::read(&entry.encode()).unwrap().rows_in(5), Ok(ops));
        }
    }

    #[test]
    fn decided_in_one_term_and_logged_in_another_writes_nothing() {
        let mut entry = Entry { term: 5, ..Default::default() };
        Packer::default().pack(&ops(vec![1]), &mut entry);
        assert_eq!(entry.rows_in(6), Ok(vec![]));
        assert_eq!(entry.rows_in(4), Ok(vec![]));
    }

    #[test]
    fn a_broken_entry_is_an_error_and_not_half_applied() {
        let mut entry = Entry { term: 5, ..Default::default() };
        Packer::default().pack(&ops(vec![7; 4000]), &mut entry);
        let cut = Entry { rows: entry.rows.slice(..entry.rows.len() - 1), ..entry.clone() };
        assert_eq!(cut.rows_in(5), Err(EntryError::Unpack));
        assert_eq!(Entry { packing: 9, ..entry.clone() }.rows_in(5), Err(EntryError::Packing(9)));
        assert_eq!(Entry { length: 3, ..entry }.rows_in(5), Err(EntryError::Unpack));
        let torn = Entry { term: 1, length: 3, rows: Bytes::from_static(&[1, 9, 9]), ..Default::default() };
        assert_eq!(torn.rows_in(1), Err(EntryError::Malformed(Malformed::Truncated)));
    }
}
