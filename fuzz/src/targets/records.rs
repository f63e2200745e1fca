//! Every record that Spine stores or sends, chosen by the first byte; entries with their rows; commands by their tags.
//!
//! What decodes encodes to bytes that decode to the same, unknown fields and all (P8).

use super::{MIB, Target};
use bytes::Bytes;
use spine::fuzz::{Entry, Visit, every_record};
use spine::services::directory::command::DirectoryCommand;
use spine::services::mesh::command::MeshCommand;
use spine::wire::record::Record;
use std::fmt::Debug;

/// The factor is what a list of the largest record costs: two bytes and a version make one, and a list that grows is
/// for a moment there twice.
pub const TARGET: Target = Target { name: "records", run, seeds, longest: 4 << 10, base: 4 * MIB, factor: 1_500 };

/// Selectors above the records.
const ENTRY: u8 = 253;
const MESH: u8 = 254;
const DIRECTORY: u8 = 255;

/// Records from here on are named by this byte and a second one.
const BEYOND: u8 = 252;

/// Records that hold lists of records with hashes, and how much such a one weighs without any value against the three bytes that make it.
const OF_HASHES: [(&str, usize); 3] =
    [("node::backup::BackupPart", 13), ("node::backup::Manifest", 30), ("node::backup::ArchiveHead", 13)];

struct Decode<'a> {
    wanted: usize,
    at: usize,
    bytes: &'a Bytes,
}

impl Visit for Decode<'_> {
    fn record<R: Record + PartialEq + Debug>(&mut self, name: &'static str) {
        if self.at == self.wanted
            && let Ok(record) = R::decode(self.bytes)
        {
            let encoded = record.encode();
            assert_eq!(R::decode(&encoded).as_ref(), Ok(&record), "{name}");
            // Without any value: only hashes take their place all the same.
            let hollow = R::decode(&Bytes::from_static(&[1])).map_or(0, |record| record.encode().len());
            let factor = OF_HASHES.iter().find(|(heavy, _)| *heavy == name).map_or(2, |(_, factor)| *factor);
            assert!(encoded.len() <= self.bytes.len() * factor + hollow.max(64), "{name} grows: {}", encoded.len());
        }
        self.at += 1;
    }
}

fn run(input: &[u8]) {
    let Some((selector, rest)) = input.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    match *selector {
        ENTRY => entry(&bytes),
        MESH => {
            if let Ok(command) = MeshCommand::decode(&bytes) {
                let again = MeshCommand::decode(&command.encode()).expect("what we encode decodes");
                assert_eq!(format!("{again:?}"), format!("{command:?}"));
            }
        }
        DIRECTORY => {
            if let Ok(command) = DirectoryCommand::decode(&bytes) {
                let again = DirectoryCommand::decode(&command.encode()).expect("what we encode decodes");
                assert_eq!(format!("{again:?}"), format!("{command:?}"));
            }
        }
        BEYOND => {
            let Some((further, rest)) = rest.split_first() else { return };
            let wanted = usize::from(BEYOND) + usize::from(*further);
            every_record(&mut Decode { wanted, at: 0, bytes: &Bytes::copy_from_slice(rest) });
        }
        wanted => every_record(&mut Decode { wanted: wanted.into(), at: 0, bytes: &bytes }),
    }
}

/// Rows that an entry claims to unpack to are read up to 1 MiB here: what a batch holds.
fn entry(bytes: &Bytes) {
    let Ok(entry) = Entry::read(bytes) else { return };
    assert_eq!(entry.rows_in(entry.term.wrapping_add(1)), Ok(vec![]), "decided in another term");
    if entry.length as usize <= MIB / 16 {
        let _ = entry.rows_in(entry.term);
    }
}

struct Seeds(Vec<Vec<u8>>);

impl Visit for Seeds {
    fn record<R: Record + PartialEq + Debug>(&mut self, _: &'static str) {
        let number = self.0.len();
        let mut seed = vec![number.min(BEYOND.into()) as u8];
        if let Some(further) = number.checked_sub(BEYOND.into()) {
            seed.push(further as u8);
        }
        seed.extend([1, 0x08, 7, 0x12, 3, b'a', b'b', b'c', 0x18, 9, 0x22, 2, 1, 8, 0x2a, 0]);
        self.0.push(seed);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Seeds(vec![]);
    every_record(&mut seeds);
    let rows = [&[1, 2, b'k', b'1', 1, b'v'][..], &[0, 2, b'k', b'2'], &[2, 1, b'k', 0]].concat();
    let entry = Entry { term: 5, length: rows.len() as u32, rows: rows.into(), ..Default::default() };
    seeds.0.push([&[ENTRY][..], &entry.encode()].concat());
    let plain = [1u8, 4, b'k', b'k', b'k', b'k', 200, 1].into_iter().chain([7; 200]).collect::<Vec<u8>>().repeat(6);
    let packed = zstd::bulk::compress(&plain, 1).expect("memory compresses");
    let entry = Entry { packing: 1, length: plain.len() as u32, rows: packed.into(), ..entry };
    seeds.0.push([&[ENTRY][..], &entry.encode()].concat());
    seeds.0.extend((1..=12).map(|tag| vec![MESH, tag, 1, 0x0a, 1, b'A']));
    seeds.0.extend((1..=9).map(|tag| vec![DIRECTORY, tag, 1, 0x0a, 1, b'A']));
    seeds.0
}
