//! Blocks of the store. The first byte says whether the input is a block as it stands, or a body whose checksum is made
//! to fit, so that what lies behind the checksum is reached too.
//!
//! Every row of a block that opens can be read, and rows packed again read the same.

use super::{MIB, Take, Target};
use spine::fuzz::store::{Block, Builder};

/// A block claims at most 4 MiB.
pub const TARGET: Target = Target { name: "block", run, seeds, longest: 16 << 10, base: 10 * MIB, factor: 40 };

const ID: u64 = 7;
const HEADER: usize = 10;

fn run(input: &[u8]) {
    let mut take = Take(input);
    let stored = if take.byte() & 1 == 0 { take.0.to_vec() } else { with_checksum(take.0) };
    let Ok(block) = Block::open(ID, &stored) else { return };
    let mut builder = Builder::default();
    let mut sorted = true;
    for at in 0..block.count() {
        sorted &= at == 0 || block.key(at - 1) < block.key(at);
        builder.push(block.key(at), &block.value(at));
    }
    if sorted {
        for at in 0..block.count() {
            assert_eq!(block.get(block.key(at)), Some(block.value(at)));
        }
    }
    let _ = (block.seek(b"a key"), block.get(b""));
    let raw_len = builder.raw_len();
    let (_, again) = builder.seal(ID).expect("memory does not fail");
    let again = Block::open(ID, &again).expect("what we seal opens");
    assert_eq!(again.count(), block.count());
    assert!(raw_len <= 5 * MIB && (0..block.count()).all(|at| again.key(at) == block.key(at)));
}

/// `flags, raw length, body` as a block with a checksum that fits.
fn with_checksum(body: &[u8]) -> Vec<u8> {
    let mut stored = vec![1, body.first().copied().unwrap_or(0), 0, 0, 0, 0];
    stored.extend_from_slice(body.get(1..).unwrap_or_default());
    stored.resize(stored.len().max(HEADER), 0);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&ID.to_le_bytes()), &stored[..2]);
    let sum = crc32c::crc32c_append(sum, &stored[6..]);
    stored[2..6].copy_from_slice(&sum.to_le_bytes());
    stored
}

fn seeds() -> Vec<Vec<u8>> {
    let sealed = |rows: usize, value: &str| {
        let mut builder = Builder::default();
        for n in 0..rows {
            builder.push(format!("key {n:03}").as_bytes(), value.repeat(n % 4).as_bytes());
        }
        builder.seal(ID).expect("memory does not fail").1
    };
    let mut seeds = vec![];
    for stored in [sealed(0, ""), sealed(1, ""), sealed(3, "value"), sealed(90, "a longer value ")] {
        seeds.push([&[0][..], &stored].concat());
        // The same without its checksum.
        seeds.push([&[1, stored[1]][..], &stored[6..]].concat());
    }
    // A few bytes that claim to unpack to the most there may be.
    let bomb = zstd::bulk::compress(&vec![0; 4 * MIB], 1).expect("memory compresses");
    seeds.push([&[1, 1][..], &(4 * MIB as u32).to_le_bytes(), &bomb].concat());
    seeds
}
