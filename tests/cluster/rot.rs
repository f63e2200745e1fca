//! Hands that make bytes at rest go bad, in files of a node that runs or does not.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Time for several walks over everything at rest, as often as the tests ask for them.
pub const WALKED: Duration = Duration::from_secs(3);
/// Time to find what is rotten and to tell that it was mended: a snapshot sealed meanwhile must not rot too.
pub const MENDED: Duration = Duration::from_secs(12);

/// All files below a folder, in order of their names.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Turns bits of the byte at `at` over, in place. Fails where a running node has just removed the file.
pub fn flip(path: &Path, at: u64) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x55], at)
}

/// Turns a byte in every so many over, for as long as the file is there.
pub fn flip_every(path: &Path, step: u64) {
    let bytes = fs::metadata(path).map_or(0, |m| m.len());
    (0..bytes).skip(step as usize / 2).step_by(step as usize).take_while(|at| flip(path, *at).is_ok()).for_each(drop);
}

/// Overwrites a stretch.
pub fn smear(path: &Path, from: u64, to: u64) {
    let file = File::options().write(true).open(path).expect("the file is there");
    file.write_all_at(&vec![0xee; (to - from) as usize], from).expect("the stretch is written");
}

/// A record in a log segment, by its place (docs/formats.md).
struct Record {
    at: u64,
    kind: u8,
    len: u64,
}

const FIRST_RECORD: u64 = 4096;
const HEAD: u64 = 56;
const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const CHECKPOINT: u8 = 8;

fn records(segment: &[u8]) -> Vec<Record> {
    let number = |at: u64| u32::from_le_bytes(segment[at as usize..at as usize + 4].try_into().expect("four bytes"));
    let (mut found, mut at) = (vec![], FIRST_RECORD);
    // A spare one keeps the records of an earlier use behind an empty header: harm to them is no damage.
    if segment.iter().take(FIRST_RECORD as usize).all(|byte| *byte == 0) {
        return found;
    }
    while at + HEAD <= segment.len() as u64 {
        let (kind, len) = (segment[at as usize + 22], u64::from(number(at)));
        // Records of a segment count from 0: what was left of an earlier use does not.
        if kind == 0 || number(at + 16) as usize != found.len() {
            break;
        }
        found.push(Record { at, kind, len });
        at = (at + HEAD + len).next_multiple_of(8);
    }
    found
}

/// The segment of a node's log that holds most records, and they.
fn fullest(data: &Path) -> (PathBuf, Vec<Record>) {
    let segments = files(&data.join("log")).into_iter().filter_map(|path| {
        let found = records(&fs::read(&path).ok()?);
        Some((path, found))
    });
    segments.max_by_key(|(_, found)| found.len()).expect("the log has segments")
}

/// Flips one byte in the content of an entry in the middle of the log, where a running node has not just cut it away.
pub fn log_entry(data: &Path) {
    let (path, found) = fullest(data);
    let entries: Vec<&Record> = found.iter().filter(|r| r.kind == ENTRY && r.len > 8).collect();
    if let Some(victim) = entries.get(entries.len() / 2) {
        let _ = flip(&path, victim.at + HEAD + victim.len / 2);
    }
}

/// Makes the last record that says what the node had promised in votes unreadable, with everything before it.
pub fn log_state(data: &Path) {
    let (path, found) = fullest(data);
    let last =
        found.iter().rposition(|r| [VOTE, CHECKPOINT].contains(&r.kind)).expect("a log begins with a checkpoint");
    let behind = &found[last + 1..];
    assert!(behind.len() > 2, "the node was killed under load: entries follow");
    smear(&path, FIRST_RECORD, behind[0].at);
}

/// How bytes at rest go bad.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// One bit turns over.
    Flip,
    /// A page reads as zeroes.
    Zero,
    /// Two pages change places.
    Swap,
    /// The file ends early.
    Truncate,
}

pub const HARMS: [Harm; 4] = [Harm::Flip, Harm::Zero, Harm::Swap, Harm::Truncate];

const PAGE: u64 = 4096;

/// Does harm to a file about the byte `at`; in files too short for pages, to as much as there is. Fails where a running node
/// has just removed the file.
pub fn harm(path: &Path, how: Harm, at: u64) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    let page = PAGE.min(len / 4).max(1);
    // Two whole pages, so that there is another one to swap with.
    let first = (at / page * page).min((len - 2 * page) / page * page);
    let read = |from: u64| {
        let mut bytes = vec![0; page as usize];
        file.read_exact_at(&mut bytes, from).map(|()| bytes)
    };
    match how {
        Harm::Flip => flip(path, at.min(len - 1)),
        Harm::Zero => file.write_all_at(&vec![0; page as usize], first),
        Harm::Swap => {
            let (one, mut other) = (read(first)?, read(first + page)?);
            if one == other {
                // Changing places with the like of it is no harm.
                other[0] ^= 1;
            }
            file.write_all_at(&other, first)?;
            file.write_all_at(&one, first + page)
        }
        Harm::Truncate => file.set_len(at.min(len - 1)),
    }
}

/// The segment of a node's log that holds most records, and a byte in the content of an entry in their middle.
pub fn amid_log(data: &Path) -> (PathBuf, u64) {
    let (path, found) = fullest(data);
    let entries: Vec<&Record> = found.iter().filter(|r| r.kind == ENTRY && r.len > 8).collect();
    let victim = entries[entries.len() / 2];
    (path, victim.at + HEAD + victim.len / 2)
}
