//! The bytes of log segments: headers, records, checksums, checkpoints (P1, P7, P8; drawn in `docs/formats.md`).
//!
//! Pure: bytes in, values out. Every record says where it lies, so that a stale or misplaced one never passes, and up
//! to where everything was durable when it was written, so that damage can be told from a torn last write.

use super::GroupId;
use crate::record;
use bytes::Bytes;

/// A segment's header block; the first record follows it.
pub const HEADER_BYTES: u64 = 4096;
/// A record's head; its payload follows, padded to [`ALIGN`].
pub const HEAD_BYTES: usize = 56;
/// Records begin at multiples of this.
pub const ALIGN: u64 = 8;
/// Writes cover whole pages of this size, so that the kernel never has to read one before overwriting part of it.
pub const PAGE: u64 = 4096;
/// The longest payload of one record: one peer frame (seam::net::MAX_PAYLOAD) and what consensus wraps around it.
pub const MAX_RECORD: usize = (16 << 20) + (64 << 10);

const MAGIC: &[u8; 8] = b"SPINELOG";
const VERSION: u32 = 1;
/// Where the copies of the header begin: in different sectors, so that one bad sector does not cost both.
const COPIES: [usize; 2] = [0, 2048];
const COPY_BYTES: usize = 48;

/// What stands at the front of a segment in use. A segment whose header block is all zero is a spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random, chosen when the log was made: segments of another log never mix in.
    pub epoch: u64,
    /// This segment's number; never used twice.
    pub sequence: u32,
    /// The segment before this one in the log, or 0 for the first.
    pub previous: u32,
    /// Where the records of the segment before end.
    pub previous_end: u32,
    /// Checksum of the last record before this segment.
    pub chain: u32,
    /// Bytes of the file, which never shrinks; 0 from releases that did not say so.
    pub bytes: u32,
}

/// What [`SegmentHeader::decode`] finds in a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBlock {
    Valid(SegmentHeader),
    Empty,
    Damaged,
    /// Written by a release that uses a format we do not know.
    Newer(u32),
}

impl SegmentHeader {
    /// The whole header block.
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(COPY_BYTES);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&VERSION.to_le_bytes());
        copy.extend_from_slice(&self.sequence.to_le_bytes());
        copy.extend_from_slice(&self.epoch.to_le_bytes());
        copy.extend_from_slice(&self.previous.to_le_bytes());
        copy.extend_from_slice(&self.previous_end.to_le_bytes());
        copy.extend_from_slice(&self.chain.to_le_bytes());
        copy.extend_from_slice(&self.bytes.to_le_bytes());
        copy.resize(COPY_BYTES - 4, 0);
        let crc = crc32c::crc32c(&copy);
        copy.extend_from_slice(&crc.to_le_bytes());
        let mut block = vec![0; HEADER_BYTES as usize];
        for at in COPIES {
            block[at..at + COPY_BYTES].copy_from_slice(&copy);
        }
        block
    }

    pub fn decode(block: &[u8]) -> HeaderBlock {
        let mut newer = None;
        for at in COPIES {
            let Some(copy) = block.get(at..at + COPY_BYTES) else { return HeaderBlock::Damaged };
            if &copy[..8] != MAGIC || crc32c::crc32c(&copy[..COPY_BYTES - 4]) != u32_at(copy, COPY_BYTES - 4) {
                continue;
            }
            match u32_at(copy, 8) {
                VERSION => {
                    return HeaderBlock::Valid(SegmentHeader {
                        sequence: u32_at(copy, 12),
                        epoch: u64_at(copy, 16),
                        previous: u32_at(copy, 24),
                        previous_end: u32_at(copy, 28),
                        chain: u32_at(copy, 32),
                        bytes: u32_at(copy, 36),
                    });
                }
                version => newer = Some(version),
            }
        }
        match newer {
            Some(version) => HeaderBlock::Newer(version),
            None if block.iter().all(|b| *b == 0) => HeaderBlock::Empty,
            None => HeaderBlock::Damaged,
        }
    }
}

/// What a record holds. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An entry of a group; its index follows the group's last one.
    Entry = 1,
    /// The group's vote, opaque.
    Vote = 2,
    /// What the group knows to be committed, opaque.
    Committed = 3,
    /// Entries from `index` on are gone.
    Truncate = 4,
    /// Entries up to `index` are gone; `term` and `leader` are that entry's.
    Purge = 5,
    /// The group's log restarts behind `index`.
    Install = 6,
    /// An entry again, at its old index: moved out of an old segment, or fetched from a peer.
    Fill = 7,
    /// The state of all groups at this point.
    Checkpoint = 8,
}

impl Kind {
    pub fn of(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Entry, Vote, Committed, Truncate, Purge, Install, Fill, Checkpoint].into_iter().find(|k| *k as u8 == byte)
    }
}

/// A record's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Bytes of payload.
    pub len: u32,
    /// Checksum of the record before in the log.
    pub prev: u32,
    /// Everything in this segment before this offset was durable before this record was written.
    pub synced: u32,
    /// Counts the records of the segment, from 0: tells how many were lost in a damaged stretch.
    pub number: u32,
    pub group: GroupId,
    pub kind: u8,
    pub index: u64,
    pub term: u64,
    pub leader: u64,
    /// For entries: [`entry_chain`] up to this one.
    pub chain: u32,
    /// CRC32C of the payload.
    pub content: u32,
}

/// Where a record lies: what its checksum binds it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub epoch: u64,
    pub segment: u32,
    pub offset: u32,
}

impl Head {
    /// Appends the head to `out` and returns its checksum, which the next record repeats.
    pub fn encode(&self, spot: Spot, out: &mut Vec<u8>) -> u32 {
        let mut b = [0u8; HEAD_BYTES];
        b[0..4].copy_from_slice(&self.len.to_le_bytes());
        b[8..12].copy_from_slice(&self.prev.to_le_bytes());
        b[12..16].copy_from_slice(&self.synced.to_le_bytes());
        b[16..20].copy_from_slice(&self.number.to_le_bytes());
        b[20..22].copy_from_slice(&self.group.to_le_bytes());
        b[22] = self.kind;
        b[24..32].copy_from_slice(&self.index.to_le_bytes());
        b[32..40].copy_from_slice(&self.term.to_le_bytes());
        b[40..48].copy_from_slice(&self.leader.to_le_bytes());
        b[48..52].copy_from_slice(&self.chain.to_le_bytes());
        b[52..56].copy_from_slice(&self.content.to_le_bytes());
        let crc = head_crc(&b, spot);
        b[4..8].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&b);
        crc
    }

    /// The head at `spot` and its checksum; `None` unless it is whole and belongs exactly there.
    pub fn decode(b: &[u8], spot: Spot) -> Option<(Head, u32)> {
        let b = b.get(..HEAD_BYTES)?;
        // Cheap checks first: the search behind a damaged stretch tries every eighth byte.
        if b[22] == 0 || b[23] != 0 || u32_at(b, 0) as usize > MAX_RECORD || u32_at(b, 12) > spot.offset {
            return None;
        }
        let crc = u32_at(b, 4);
        (head_crc(b, spot) == crc).then(|| {
            let head = Head {
                len: u32_at(b, 0),
                prev: u32_at(b, 8),
                synced: u32_at(b, 12),
                number: u32_at(b, 16),
                group: u16::from_le_bytes([b[20], b[21]]),
                kind: b[22],
                index: u64_at(b, 24),
                term: u64_at(b, 32),
                leader: u64_at(b, 40),
                chain: u32_at(b, 48),
                content: u32_at(b, 52),
            };
            (head, crc)
        })
    }

    /// Bytes that the record takes in the segment.
    pub fn size(&self) -> u64 {
        record_size(self.len as usize)
    }
}

/// Bytes that a record with a payload of `len` bytes takes in a segment.
pub fn record_size(len: usize) -> u64 {
    ((HEAD_BYTES + len) as u64).next_multiple_of(ALIGN)
}

fn head_crc(b: &[u8], spot: Spot) -> u32 {
    let mut place = [0u8; 16];
    place[0..8].copy_from_slice(&spot.epoch.to_le_bytes());
    place[8..12].copy_from_slice(&spot.segment.to_le_bytes());
    place[12..16].copy_from_slice(&spot.offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&place), &b[0..4]);
    crc32c::crc32c_append(crc, &b[8..HEAD_BYTES])
}

/// The checksum over a group's entries up to this one. Independent of where records lie, so that entries fetched from
/// a peer can be proven to be the ones that were here.
pub fn entry_chain(before: u32, group: GroupId, index: u64, term: u64, leader: u64, content: u32) -> u32 {
    let mut b = [0u8; 30];
    b[0..2].copy_from_slice(&group.to_le_bytes());
    b[2..10].copy_from_slice(&index.to_le_bytes());
    b[10..18].copy_from_slice(&term.to_le_bytes());
    b[18..26].copy_from_slice(&leader.to_le_bytes());
    b[26..30].copy_from_slice(&content.to_le_bytes());
    crc32c::crc32c_append(before, &b)
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from(u32_at(b, at)) | u64::from(u32_at(b, at + 4)) << 32
}

record! {
    /// A place in a group's log with the chain checksum up to it.
    pub struct Mark v1 {
        1 => index: u64,
        2 => term: u64,
        3 => leader: u64,
        4 => chain: u32,
    }
}

record! {
    /// One group's state in a checkpoint.
    pub struct GroupMark v1 {
        1 => group: u16,
        2 => vote: Option<Bytes>,
        3 => committed: Option<Bytes>,
        4 => purged: Option<Mark>,
        /// The last entry, when there are entries that are not purged.
        5 => last: Option<Mark>,
        /// The index of the first entry, when there are entries that are not purged.
        6 => first: u64,
    }
}

record! {
    /// The payload of a [`Kind::Checkpoint`] record.
    pub struct Checkpoint v1 {
        1 => groups: Vec<GroupMark>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_one_bad_sector_and_tell_empty_from_damaged() {
        let header = SegmentHeader { epoch: 7, sequence: 3, previous: 2, previous_end: 8192, chain: 99, bytes: 65536 };
        let mut block = header.encode();
        assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Valid(header));
        block[..512].fill(0xaa);
        assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Valid(header));
        block[2050] ^= 1;
        assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Damaged);
        assert_eq!(SegmentHeader::decode(&vec![0; 4096]), HeaderBlock::Empty);
    }

    #[test]
    fn a_head_is_bound_to_its_place_and_every_bit() {
        let spot = Spot { epoch: 1, segment: 2, offset: 4096 };
        let head = Head { len: 5, kind: 1, synced: 4096, number: 1, index: 9, term: 3, ..Head::default() };
        let mut out = Vec::new();
        let crc = head.encode(spot, &mut out);
        assert_eq!(Head::decode(&out, spot), Some((head, crc)));
        assert_eq!(Head::decode(&out, Spot { epoch: 2, ..spot }), None);
        assert_eq!(Head::decode(&out, Spot { segment: 3, ..spot }), None);
        assert_eq!(Head::decode(&out, Spot { offset: 4104, ..spot }), None);
        for bit in 0..HEAD_BYTES * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&out, spot), None, "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn the_bytes_of_version_one_stay() {
        let spot = Spot { epoch: 0x0102_0304_0506_0708, segment: 1, offset: 4096 };
        let head = Head {
            len: 3,
            prev: 4,
            synced: 5,
            number: 6,
            group: 7,
            kind: 1,
            index: 8,
            term: 9,
            leader: 10,
            chain: 11,
            content: 12,
        };
        let mut out = Vec::new();
        head.encode(spot, &mut out);
        assert_eq!(out.len(), HEAD_BYTES);
        assert_eq!(&out[..4], &[3, 0, 0, 0]);
        assert_eq!(&out[8..24], &[4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 1, 0]);
        assert_eq!(
            &out[24..56],
            &[8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 12, 0, 0, 0]
        );
    }
}
