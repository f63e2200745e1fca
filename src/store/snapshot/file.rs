//! The file of a snapshot or of a layer on top of one: header, compressed and checksummed runs of rows in key order,
//! footer (docs/formats.md).
//!
//! A snapshot holds all rows, a layer what became of those that changed. The footer holds a digest over everything before it, so that a file is whole and unchanged or is refused (P7).
//! Numbers are little-endian.

use super::super::block::{compress, decompress};
use super::super::{Applied, StoreError};
use crate::record;
use crate::seam::fs::{File, Fs, Open};
use crate::seam::trouble::{Planted, planted};
use crate::store::tables::Table;
use crate::wire::record::{Record, get_varint, put_varint};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use std::{path::Path, sync::Arc};

const MAGIC: &[u8; 8] = b"SPNSNAP1";
const LAYER_MAGIC: &[u8; 8] = b"SPNLAYR1";
const END: &[u8; 8] = b"SPNSNEND";
/// Kind, flags, raw length, stored length, checksum.
const RUN_HEADER: usize = 14;
const RUN: u8 = 1;
const FOOT: u8 = 2;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Foot offset and end magic.
const TRAILER: u64 = 16;
/// Linux: a sector that cannot be read.
const EIO: i32 = 5;
/// Longest header, run or footer that is believed (P6): a run is a few hundred KiB, and one row at most beyond.
const MAX_PART: usize = 16 << 20;
/// A run is closed at this many bytes before compression: with one more row (a value of 64 KiB, or an old one of a few
/// MiB at most) it stays far below [`MAX_PART`].
const RUN_BYTES: usize = 1 << 20;
/// Rows of a run that are believed: each takes two bytes at least, and a run is closed at [`RUN_BYTES`].
const MAX_ROWS: usize = RUN_BYTES / 2;
/// Bytes after which what was written is synced: a long file synced at its end would hold up the log's own syncs.
const SYNC_BYTES: u64 = 4 << 20;
/// Bytes read at once while a digest is made.
const READ_BYTES: usize = 1 << 20;

record! {
    /// What a file says first.
    pub struct Head v1 {
        1 => partition: u16,
        /// Every entry up to here is in the rows.
        2 => before: Applied,
        /// Of a layer: rows that only entries up to here changed are not in it.
        3 => from: u64,
    }
}

record! {
    /// What a file says last.
    pub struct Foot v1 {
        /// Some entries up to here may be in the rows.
        1 => after_index: u64,
        2 => rows: u64,
        /// Bytes of keys and values.
        3 => row_bytes: u64,
        4 => runs: u64,
        /// SHA-256 of the file up to the footer.
        5 => digest: [u8; 32],
    }
}

/// A part as it is stored.
struct Part {
    kind: u8,
    flags: u8,
    raw_len: usize,
    payload: Vec<u8>,
    /// Header bytes that the checksum covers.
    header: Vec<u8>,
    sum: u32,
}

/// Whether the first bytes of a file are those of a newer release's.
pub fn is_newer(start: &[u8; 8]) -> bool {
    let of = |magic: &[u8; 8]| start[..7] == magic[..7] && start[7].is_ascii_alphanumeric() && start[7] > magic[7];
    of(MAGIC) || of(LAYER_MAGIC)
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All rows.
    Whole,
    /// Rows that changed, and keys whose rows are gone.
    Layer,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Whole => MAGIC,
            Kind::Layer => LAYER_MAGIC,
        }
    }
}

/// Rows in key order; a key without a value says that its row is gone.
pub type Changes = Vec<(Bytes, Option<Bytes>)>;

fn io(e: std::io::Error) -> StoreError {
    StoreError::Io(e.to_string())
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("snapshot: {what}"))
}

/// Writes a file from front to back.
pub struct Writer {
    file: Arc<dyn File>,
    kind: Kind,
    at: u64,
    synced: u64,
    digest: Context,
    foot: Foot,
    /// The run that is being filled.
    raw: Vec<u8>,
}

impl Writer {
    pub fn create(fs: &dyn Fs, path: &Path, kind: Kind, head: &Head) -> Result<Writer, StoreError> {
        let file = fs.open(path, Open::Create).map_err(io)?;
        let (digest, foot) = (Context::new(&SHA256), Foot::default());
        let mut writer = Writer { file, kind, at: 0, synced: 0, digest, foot, raw: vec![] };
        let head = head.encode();
        let mut out = kind.magic().to_vec();
        out.extend_from_slice(&(head.len() as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        writer.put(&out)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        self.file.write_at(self.at, bytes).map_err(io)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Adds a row behind those written before; without a value, that it is gone, which a snapshot need not say. Runs are
    /// such that a reader takes them, whatever the rows' number and size.
    pub fn row(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        if planted(Planted::ForgetRequests) && key.first() == Some(&(Table::Requests as u8)) {
            return Ok(());
        }
        let len = match (self.kind, value) {
            (Kind::Whole, None) => return Ok(()),
            (Kind::Whole, Some(value)) => value.len() as u64,
            (Kind::Layer, value) => value.map_or(0, |value| value.len() as u64 + 1),
        };
        put_varint(key.len() as u64, &mut self.raw);
        self.raw.extend_from_slice(key);
        put_varint(len, &mut self.raw);
        self.raw.extend_from_slice(value.unwrap_or_default());
        self.foot.row_bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        self.foot.rows += 1;
        if self.raw.len() >= RUN_BYTES { self.put_run() } else { Ok(()) }
    }

    fn put_run(&mut self) -> Result<(), StoreError> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let run = run(RUN, self.foot.runs, &self.raw)?;
        self.raw.clear();
        self.foot.runs += 1;
        self.put(&run)?;
        if self.at - self.synced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.synced = self.at;
        self.file.sync().map_err(|e| StoreError::Unsynced(e.to_string()))
    }

    /// Seals and syncs the file. Its name is not durable yet.
    pub fn finish(mut self, after_index: u64) -> Result<(Foot, u64), StoreError> {
        self.put_run()?;
        self.foot.after_index = after_index;
        self.foot.digest.copy_from_slice(self.digest.clone().finish().as_ref());
        let foot_at = self.at;
        let mut out = run(FOOT, self.foot.runs, &self.foot.encode())?;
        out.extend_from_slice(&foot_at.to_le_bytes());
        out.extend_from_slice(END);
        self.put(&out)?;
        self.sync()?;
        Ok((self.foot, self.at))
    }
}

/// One part of the file. Its number is in the checksum, so that a part in another's place is found.
fn run(kind: u8, number: u64, raw: &[u8]) -> Result<Vec<u8>, StoreError> {
    let packed = if kind == RUN { compress(raw)? } else { None };
    let (flags, payload) = packed.as_deref().map_or((PLAIN, raw), |packed| (ZSTD, packed));
    let mut out = Vec::with_capacity(RUN_HEADER + payload.len());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let sum = checksum(number, &out, payload);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(payload);
    Ok(out)
}

fn checksum(number: u64, header: &[u8], payload: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&number.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, header), payload)
}

/// Reads a file; every part is checked before it is believed.
pub struct Reader {
    file: Arc<dyn File>,
    pub kind: Kind,
    pub head: Head,
    pub foot: Foot,
    /// Length of the file.
    pub bytes: u64,
    at: u64,
    foot_at: u64,
    read: u64,
}

impl Reader {
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<Reader, StoreError> {
        let file = fs.open(path, Open::Read).map_err(io)?;
        let bytes = file.len().map_err(io)?;
        if bytes < 12 + 4 + RUN_HEADER as u64 + TRAILER {
            return Err(damaged("too short"));
        }
        let start = read(&*file, 0, 12)?;
        let head_len = u32_at(&start, 8) as usize;
        if start.first_chunk().is_some_and(is_newer) {
            // No damage: who takes it for that would remove it.
            return Err(StoreError::Io(format!("{} is of a newer release", path.display())));
        }
        let kind = [Kind::Whole, Kind::Layer].into_iter().find(|kind| start[..8] == kind.magic()[..]);
        let kind = kind.filter(|_| head_len <= MAX_PART && head_len as u64 + 16 <= bytes);
        let kind = kind.ok_or_else(|| damaged("header"))?;
        let rest = read(&*file, 12, head_len + 4)?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&start), &rest[..head_len]);
        if sum != u32_at(&rest, head_len) {
            return Err(damaged("header checksum"));
        }
        let head = Head::decode(&Bytes::copy_from_slice(&rest[..head_len])).map_err(|e| damaged(&e.to_string()))?;
        let trailer = read(&*file, bytes - TRAILER, TRAILER as usize)?;
        let foot_at = u64::from(u32_at(&trailer, 0)) | u64::from(u32_at(&trailer, 4)) << 32;
        if &trailer[8..] != END || foot_at < head_len as u64 + 16 || foot_at > bytes - TRAILER - RUN_HEADER as u64 {
            return Err(damaged("trailer"));
        }
        let at = head_len as u64 + 16;
        let mut reader = Reader { file, kind, head, foot: Foot::default(), bytes, at: foot_at, foot_at, read: 0 };
        reader.foot = reader.read_foot()?;
        reader.at = at;
        Ok(reader)
    }

    /// The footer's number in its checksum is the count of runs, which only the footer tells.
    fn read_foot(&mut self) -> Result<Foot, StoreError> {
        let part = self.part(self.bytes - TRAILER)?;
        let foot = Foot::decode(&part.payload.clone().into()).map_err(|e| damaged(&e.to_string()))?;
        let sum = checksum(foot.runs, &part.header, &part.payload);
        if part.kind != FOOT || part.sum != sum || self.at != self.bytes - TRAILER {
            return Err(damaged("footer"));
        }
        Ok(foot)
    }

    /// Takes the part at hand, not checked yet.
    fn part(&mut self, limit: u64) -> Result<Part, StoreError> {
        let header = read(&*self.file, self.at, RUN_HEADER)?;
        let (raw_len, len, sum) = (u32_at(&header, 2) as usize, u32_at(&header, 6) as usize, u32_at(&header, 10));
        let end = self.at + (RUN_HEADER + len) as u64;
        if raw_len > MAX_PART || len > MAX_PART || end > limit {
            return Err(damaged("length of a part"));
        }
        let payload = read(&*self.file, self.at + RUN_HEADER as u64, len)?;
        self.at = end;
        Ok(Part { kind: header[0], flags: header[1], raw_len, payload, header: header[..10].to_vec(), sum })
    }

    /// The next rows; `None` behind the last, after the count was compared with the footer's.
    pub fn rows(&mut self) -> Result<Option<Changes>, StoreError> {
        if self.at == self.foot_at {
            return if self.read == self.foot.runs { Ok(None) } else { Err(damaged("runs are missing")) };
        }
        let part = self.part(self.foot_at)?;
        if part.kind != RUN || checksum(self.read, &part.header, &part.payload) != part.sum {
            return Err(damaged("checksum of a run"));
        }
        self.read += 1;
        let raw = match part.flags {
            PLAIN if part.payload.len() == part.raw_len => part.payload,
            ZSTD => decompress(&part.payload, part.raw_len).ok_or_else(|| damaged("a run does not unpack"))?,
            _ => return Err(damaged("flags of a run")),
        };
        unpack(raw.into(), self.kind).ok_or_else(|| damaged("rows of a run")).map(Some)
    }

    /// Reads the whole file and compares its digest.
    pub fn verify(&self) -> Result<(), StoreError> {
        let mut check = self.check();
        while check.step()? != 0 {}
        Ok(())
    }

    /// A comparison of the digest in steps.
    pub fn check(&self) -> Check {
        let (file, foot_at, wanted) = (self.file.clone(), self.foot_at, self.foot.digest);
        Check { file, foot_at, wanted, digest: Context::new(&SHA256), at: 0 }
    }
}

/// A file being compared with its digest.
pub struct Check {
    file: Arc<dyn File>,
    foot_at: u64,
    wanted: [u8; 32],
    digest: Context,
    at: u64,
}

impl Check {
    /// Reads on, and says how many bytes; 0 at the end, where the digest agreed.
    pub fn step(&mut self) -> Result<u64, StoreError> {
        let piece = read(&*self.file, self.at, READ_BYTES.min((self.foot_at - self.at) as usize))?;
        if piece.is_empty() {
            let agrees = self.digest.clone().finish().as_ref() == self.wanted;
            return if agrees { Ok(0) } else { Err(damaged("digest")) };
        }
        self.digest.update(&piece);
        self.at += piece.len() as u64;
        Ok(piece.len() as u64)
    }
}

fn unpack(mut raw: Bytes, kind: Kind) -> Option<Changes> {
    fn number(raw: &mut Bytes) -> Option<usize> {
        get_varint(raw).ok()?.try_into().ok()
    }
    fn part(raw: &mut Bytes, len: usize) -> Option<Bytes> {
        (len <= raw.len()).then(|| raw.split_to(len))
    }
    let mut rows = Vec::new();
    while !raw.is_empty() {
        if rows.len() == MAX_ROWS {
            return None;
        }
        let len = number(&mut raw)?;
        let key = part(&mut raw, len)?;
        let len = number(&mut raw)?;
        let value = match kind {
            Kind::Whole => Some(part(&mut raw, len)?),
            Kind::Layer if len == 0 => None,
            Kind::Layer => Some(part(&mut raw, len - 1)?),
        };
        rows.push((key, value));
    }
    Some(rows)
}

fn read(file: &dyn File, at: u64, len: usize) -> Result<Vec<u8>, StoreError> {
    let mut out = vec![0; len];
    file.read_at(at, &mut out).map_err(|e| match e.raw_os_error() {
        // As for the engine's files: a sector that cannot be read is damage, to be mended from elsewhere.
        Some(EIO) => StoreError::Corrupt(format!("snapshot: {e}")),
        _ => io(e),
    })?;
    Ok(out)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_more_rows_than_a_writer_puts_into_one_is_none() {
        for kind in [Kind::Whole, Kind::Layer] {
            assert_eq!(unpack(vec![0; 2 * MAX_ROWS].into(), kind).map(|rows| rows.len()), Some(MAX_ROWS));
            assert_eq!(unpack(vec![0; 2 * MAX_ROWS + 2].into(), kind), None);
        }
    }
}
