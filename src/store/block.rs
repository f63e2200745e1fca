//! A block: neighbouring rows packed, compressed and checksummed as one value of the engine (docs/formats.md).
//!
//! P7 is held here: a block answers only after its checksum over content and id agreed, so a flipped bit or a block
//! in the wrong place is an error and never an answer.

use super::StoreError;
use crate::wire::record::put_varint;
use bytes::Bytes;
use std::cell::RefCell;

/// Rows of a block, packed but not compressed, take at most this unless one row alone is longer.
pub const BLOCK_BYTES: usize = 16 << 10;

const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// In the flags of edits, so that they are never taken for a block.
const EDITS: u8 = 2;
/// version, flags, checksum, raw length.
const HEADER: usize = 10;
/// Longest raw block that is believed: a row of 64 KiB and some, with room for later releases (P6).
const MAX_RAW: usize = 4 << 20;

/// Collects rows in key order.
#[derive(Default)]
pub struct Builder {
    rows: Vec<u8>,
    offsets: Vec<u32>,
}

impl Builder {
    /// Adds a row. The caller gives keys in rising order.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.push_parts(key, &[], value);
    }
    /// As [`Builder::push`], of a value in two parts.
    pub fn push_parts(&mut self, key: &[u8], mark: &[u8], value: &[u8]) {
        self.offsets.push(self.rows.len() as u32);
        put_varint(key.len() as u64, &mut self.rows);
        self.rows.extend_from_slice(key);
        self.rows.extend_from_slice(mark);
        self.rows.extend_from_slice(value);
    }
    /// Adds the rows `from..to` of a block as they are packed there. The caller gives keys in rising order.
    pub fn extend(&mut self, block: &Block, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let (start, _) = block.bounds(from);
        let (_, end) = block.bounds(to - 1);
        let base = self.rows.len();
        self.offsets.extend((from..to).map(|n| (block.bounds(n).0 - start + base) as u32));
        self.rows.extend_from_slice(&block.raw[start..end]);
    }
    /// Takes the first rows away, as many as fit into `target` bytes but one at least. `None` where nothing would be
    /// left.
    pub fn cut(&mut self, target: usize) -> Option<Builder> {
        let end = |n: usize| self.offsets.get(n + 1).map_or(self.rows.len(), |o| *o as usize) + (n + 1) * 4 + 4;
        let (mut low, mut high) = (1, self.offsets.len());
        while low < high {
            let mid = low + (high - low) / 2;
            if end(mid) <= target { low = mid + 1 } else { high = mid }
        }
        let at = *self.offsets.get(low)?;
        let rows = self.rows.split_off(at as usize);
        let offsets = self.offsets.split_off(low).into_iter().map(|o| o - at).collect();
        Some(std::mem::replace(self, Builder { rows, offsets }))
    }
    /// Key of the first row.
    pub fn first_key(&self) -> Bytes {
        let (len, used) = varint(&self.rows).unwrap_or((0, 0));
        Bytes::copy_from_slice(self.rows.get(used..used + len).unwrap_or_default())
    }
    /// Bytes of the packed rows with their offsets.
    pub fn raw_len(&self) -> usize {
        self.rows.len() + self.offsets.len() * 4 + 4
    }
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
    pub fn len(&self) -> usize {
        self.offsets.len()
    }
    /// The rows as readers see them, for this process only.
    pub fn pack(mut self) -> Block {
        for offset in &self.offsets {
            self.rows.extend_from_slice(&offset.to_le_bytes());
        }
        self.rows.extend_from_slice(&(self.offsets.len() as u32).to_le_bytes());
        Block { raw: self.rows.into(), count: self.offsets.len() }
    }
    /// Seals the rows under `id`: the block as readers see it, and its bytes at rest.
    pub fn seal(self, id: u64) -> Result<(Block, Bytes), StoreError> {
        let block = self.pack();
        let stored = seal(id, 0, &block.raw)?;
        Ok((block, stored))
    }
    /// As [`Builder::seal`], for rows that are edits of the block `id`.
    pub fn seal_edits(self, id: u64) -> Result<(Block, Bytes), StoreError> {
        let block = self.pack();
        let stored = seal(id, EDITS, &block.raw)?;
        Ok((block, stored))
    }
}

/// Compresses and checksums any bytes under an id. Edits stay plain: they are read and written again before long, and
/// compressing them was a quarter of what a flush at random keys cost.
fn seal(id: u64, kind: u8, raw: &[u8]) -> Result<Bytes, StoreError> {
    let packed = if kind == EDITS { None } else { compress(raw)? };
    let (packing, payload) = match &packed {
        Some(packed) => (ZSTD, packed.as_slice()),
        None => (PLAIN, raw),
    };
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(&[VERSION, packing | kind, 0, 0, 0, 0]);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    let sum = checksum(id, &out);
    out[2..6].copy_from_slice(&sum.to_le_bytes());
    Ok(out.into())
}

/// CRC32C over the id, then the block without its checksum field.
fn checksum(id: u64, stored: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&id.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &stored[..2]);
    crc32c::crc32c_append(sum, &stored[6..])
}

/// Level 1, as measured: the rest of the flush costs more. `None` where it does not save an eighth.
pub(super) fn compress(raw: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(zstd::bulk::Compressor::new(1).map_err(|e| StoreError::Io(e.to_string()))?),
        };
        let packed = compressor.compress(raw).map_err(|e| StoreError::Io(e.to_string()))?;
        Ok((packed.len() + raw.len() / 8 < raw.len()).then_some(packed))
    })
}

/// Undoes [`compress`]; `None` where the bytes are not what was packed.
pub(super) fn decompress(packed: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        decompressor.decompress(packed, raw_len).ok().filter(|raw| raw.len() == raw_len)
    })
}

/// A verified block in memory. Cheap to clone; values handed out share its memory.
#[derive(Clone, Debug)]
pub struct Block {
    raw: Bytes,
    count: usize,
}

impl Block {
    /// Verifies and unpacks bytes at rest.
    pub fn open(id: u64, stored: &[u8]) -> Result<Block, StoreError> {
        Block::open_kind(id, 0, stored)
    }
    /// As [`Block::open`], of edits of the block `id`.
    pub fn open_edits(id: u64, stored: &[u8]) -> Result<Block, StoreError> {
        Block::open_kind(id, EDITS, stored)
    }

    fn open_kind(id: u64, kind: u8, stored: &[u8]) -> Result<Block, StoreError> {
        let what = if kind == EDITS { "edits of block" } else { "block" };
        let damaged = |why: &str| StoreError::Corrupt(format!("{what} {id}: {why}"));
        if stored.len() < HEADER {
            return Err(damaged("too short"));
        }
        let sum = u32::from_le_bytes([stored[2], stored[3], stored[4], stored[5]]);
        if sum != checksum(id, stored) {
            return Err(damaged("checksum"));
        }
        if stored[0] != VERSION {
            return Err(damaged("written by a newer release"));
        }
        let raw_len = u32::from_le_bytes([stored[6], stored[7], stored[8], stored[9]]) as usize;
        if raw_len > MAX_RAW {
            return Err(damaged("too long"));
        }
        let payload = &stored[HEADER..];
        if stored[1] & EDITS != kind {
            return Err(damaged("flags"));
        }
        let raw = match stored[1] & !EDITS {
            PLAIN if payload.len() == raw_len => payload.to_vec(),
            ZSTD => decompress(payload, raw_len).ok_or_else(|| damaged("does not unpack"))?,
            _ => return Err(damaged("flags")),
        };
        Block::check(raw.into()).ok_or_else(|| damaged("offsets"))
    }

    /// Looks once at every offset and key length, so that reading rows needs no further checks.
    fn check(raw: Bytes) -> Option<Block> {
        let (rest, count) = raw.split_last_chunk::<4>()?;
        let count = u32::from_le_bytes(*count) as usize;
        let end = rest.len().checked_sub(count.checked_mul(4)?)?;
        let mut last = end;
        for at in (0..count).rev() {
            let offset = u32::from_le_bytes(*rest[end + at * 4..].first_chunk::<4>()?) as usize;
            let (len, used) = varint(rest.get(offset..last)?)?;
            if offset >= last || used + len > last - offset {
                return None;
            }
            last = offset;
        }
        (last == 0).then_some(Block { raw, count })
    }

    /// How many rows it holds.
    pub fn count(&self) -> usize {
        self.count
    }
    /// Bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        self.raw.len() + 96
    }

    fn bounds(&self, at: usize) -> (usize, usize) {
        let end = self.raw.len() - 4 - self.count * 4;
        let offset = |n: usize| match self.raw[end + n * 4..].first_chunk::<4>() {
            Some(bytes) if n < self.count => u32::from_le_bytes(*bytes) as usize,
            _ => end,
        };
        (offset(at), offset(at + 1))
    }

    /// Where row `at` has its key, as a range of `raw`, and where it ends.
    fn split(&self, at: usize) -> (usize, usize, usize) {
        let (from, to) = self.bounds(at);
        let (len, used) = varint(&self.raw[from..to]).unwrap_or((0, 0));
        (from + used, from + used + len, to)
    }

    pub fn key(&self, at: usize) -> &[u8] {
        let (from, to, _) = self.split(at);
        &self.raw[from..to]
    }
    pub fn key_bytes(&self, at: usize) -> Bytes {
        let (from, to, _) = self.split(at);
        self.raw.slice(from..to)
    }
    /// The value of row `at`, lent.
    pub fn value_of(&self, at: usize) -> &[u8] {
        let (_, from, to) = self.split(at);
        &self.raw[from..to]
    }
    pub fn value(&self, at: usize) -> Bytes {
        let (_, from, to) = self.split(at);
        self.raw.slice(from..to)
    }

    /// The first row whose key is at or after `key`; `len()` where there is none.
    pub fn seek(&self, key: &[u8]) -> usize {
        self.seek_from(0, key)
    }
    /// As [`Block::seek`], where the rows before `from` are known to be lower.
    pub fn seek_from(&self, from: usize, key: &[u8]) -> usize {
        let (mut low, mut high) = (from, self.count);
        while low < high {
            let mid = low + (high - low) / 2;
            if self.key(mid) < key { low = mid + 1 } else { high = mid }
        }
        low
    }

    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        let at = self.seek(key);
        (at < self.count && self.key(at) == key).then(|| self.value(at))
    }
}

/// (value, bytes used) of a varint that fits a block.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (at, &b) in bytes.iter().take(5).enumerate() {
        value |= usize::from(b & 0x7f) << (7 * at);
        if b & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: usize) -> (Block, Bytes) {
        let mut builder = Builder::default();
        for n in 0..rows {
            builder.push(format!("key {n:05}").as_bytes(), format!("value {n}").repeat(n % 4).as_bytes());
        }
        builder.seal(7).unwrap()
    }

    #[test]
    fn rows_come_back_as_they_were_packed() {
        for rows in [0, 1, 2, 300] {
            let (made, stored) = sample(rows);
            let read = Block::open(7, &stored).unwrap();
            assert_eq!((made.count(), read.count()), (rows, rows));
            for n in 0..rows {
                let key = format!("key {n:05}");
                assert_eq!(read.get(key.as_bytes()).unwrap(), format!("value {n}").repeat(n % 4));
                assert_eq!(read.key(n), key.as_bytes());
            }
            assert_eq!(read.get(b"key 00000a"), None);
            assert_eq!(read.get(b""), None);
            assert_eq!(read.get(b"z"), None);
        }
        assert!(sample(300).1.len() < 4000, "neighbouring rows compress");
    }

    #[test]
    fn rows_are_taken_over_and_cut_as_they_are_packed() {
        let (block, _) = sample(300);
        let mut builder = Builder::default();
        builder.extend(&block, 0, 120);
        builder.extend(&block, 120, 120);
        builder.push(b"key 00119a", b"between");
        builder.extend(&block, 130, 300);
        let mut seen = vec![];
        loop {
            let cut = builder.cut(1000);
            let last = cut.is_none();
            let piece = cut.unwrap_or_else(|| std::mem::take(&mut builder));
            assert!(piece.raw_len() <= 1000 && (last || piece.raw_len() > 950), "{}", piece.raw_len());
            let first = piece.first_key();
            let (block, _) = piece.seal(1).unwrap();
            assert_eq!(block.key(0), first);
            seen.extend((0..block.count()).map(|n| (block.key_bytes(n), block.value(n))));
            if last {
                break;
            }
        }
        let mut want: Vec<_> = (0..300).map(|n| (block.key_bytes(n), block.value(n))).collect();
        want.splice(120..130, [("key 00119a".into(), "between".into())]);
        assert_eq!(seen, want);
        let mut long = Builder::default();
        long.push(b"a", &[0; 3000]);
        assert!(long.cut(1000).is_none(), "a row alone");
        long.push(b"b", &[0; 3000]);
        assert_eq!(long.cut(1000).unwrap().first_key(), "a");
        assert_eq!(long.first_key(), "b");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (_, stored) = sample(40);
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Block::open(7, &bad).is_err(), "bit {bit}");
        }
        assert!(Block::open(8, &stored).is_err(), "a block in another's place");
        assert!(Block::open(7, &stored[..stored.len() - 1]).is_err());
        assert!(Block::open(7, &[]).is_err());
    }
}
