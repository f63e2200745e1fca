//! What is done when stored data is not to be trusted: set aside, and begun again from a snapshot (P7, P9).
//!
//! Small files beside the engine's carry what one process must tell the next: `open` holds the machine's run in which
//! the engine was opened and goes away with a clean stop; `opening` counts starts that died inside the engine;
//! `suspect` is left by a panic in it; `damaged/p<number>` names partitions with rows that failed a check.

use super::StoreError;
use super::blocks::{BlockTree, Rest};
use super::kv::Kv;
use super::kv_memory::MemoryKv;
use super::open::{Shared, StoreOptions};
use super::sled::{SledKv, TIDY_EVERY};
use super::snapshot::SnapshotInfo;
use crate::seam::clock::Millis;
use crate::seam::fs::{Fs, Open};
use std::{collections::BTreeSet, io, path::Path, sync::Arc};

/// A partition that was begun again while the store opened.
#[derive(Clone, Debug)]
pub struct Healed {
    pub partition: u16,
    /// For the log.
    pub why: String,
    /// Where its rows come from. `None`: it is empty, and needs the whole log or a peer's snapshot.
    pub from: Option<SnapshotInfo>,
}

const ENGINE: &str = "sled";
const SET_ASIDE: &str = "set-aside";
/// One start may be killed for reasons of its own; a second one that dies at the same place has found damage.
const OPENINGS: u8 = 2;
/// The newest set-aside data is kept for whoever wants to know why; more would fill the disk.
const SET_ASIDE_KEPT: usize = 1;

fn io(e: io::Error) -> StoreError {
    StoreError::Io(e.to_string())
}

/// Opens the engine. Files that do not open, or should not be trusted, are set aside first; then the reason is told.
/// `found` is damage that was found in them just now.
pub fn open_engine(
    fs: &dyn Fs,
    dir: &Path,
    options: &StoreOptions,
    now: Millis,
    found: Option<String>,
) -> Result<(Arc<dyn Kv>, Option<String>), StoreError> {
    fs.create_dir_all(dir).map_err(io)?;
    if fs.inline() {
        // A simulation's engine dies with the process: like an engine whose files were all set aside.
        return Ok((Arc::new(MemoryKv::default()), found));
    }
    let mut why = found.or_else(|| distrust(fs, dir, options));
    if why.is_some() {
        set_aside(fs, dir, now)?;
    }
    let tries = read_small(fs, &dir.join("opening")).first().copied().unwrap_or(0);
    write_small(fs, &dir.join("opening"), &[tries.saturating_add(1)])?;
    let open = || SledKv::open(&dir.join(ENGINE), options.sled_cache_bytes, dir.join("suspect"), TIDY_EVERY);
    let kv = match open() {
        Ok(kv) => kv,
        Err(StoreError::Corrupt(what)) => {
            why = Some(what);
            set_aside(fs, dir, now)?;
            open()?
        }
        Err(e) => return Err(e),
    };
    // Never without a mark that says which run of the machine it was: a start that dies here must not look like a clean stop.
    let open = dir.join("open");
    if read_small(fs, &open) != options.boot.as_bytes() {
        let new = dir.join("open-new");
        write_small(fs, &new, options.boot.as_bytes())?;
        fs.rename(&new, &open).map_err(io)?;
    }
    fs.sync_dir(dir).map_err(io)?;
    let _ = fs.remove_file(&dir.join("opening"));
    Ok((Arc::new(kv), why))
}

/// Why the engine's files should not even be tried.
fn distrust(fs: &dyn Fs, dir: &Path, options: &StoreOptions) -> Option<String> {
    if !fs.exists(&dir.join(ENGINE)) {
        return None;
    }
    if fs.exists(&dir.join("suspect")) {
        return Some("the engine panicked in an earlier run".into());
    }
    if read_small(fs, &dir.join("opening")).first().is_some_and(|&tries| tries >= OPENINGS) {
        return Some("earlier runs ended while opening the engine".into());
    }
    let open = dir.join("open");
    if !options.boot.is_empty() && fs.exists(&open) && read_small(fs, &open) != options.boot.as_bytes() {
        return Some("the machine stopped while the engine was open".into());
    }
    None
}

/// Moves the engine's files out of the way, under the time.
fn set_aside(fs: &dyn Fs, dir: &Path, now: Millis) -> Result<(), StoreError> {
    let aside = dir.join(SET_ASIDE);
    fs.create_dir_all(&aside).map_err(io)?;
    for mark in ["suspect", "opening", "open"] {
        let _ = fs.remove_file(&dir.join(mark));
    }
    let mut old = fs.list(&aside).map_err(io)?;
    while old.len() >= SET_ASIDE_KEPT {
        fs.remove_dir_all(&aside.join(old.remove(0))).map_err(io)?;
    }
    if fs.exists(&dir.join(ENGINE)) {
        fs.rename(&dir.join(ENGINE), &aside.join(format!("{:013}", now.0))).map_err(io)?;
    }
    fs.sync_dir(dir).map_err(io)
}

/// After a clean flush: syncs the engine's files, which it does not do itself, and takes the `open` mark away.
pub fn closed(fs: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
    if fs.inline() {
        return Ok(());
    }
    let engine = dir.join(ENGINE);
    sync_all(fs, &engine).map_err(io)?;
    fs.sync_dir(dir).map_err(io)?;
    let _ = fs.remove_file(&dir.join("open"));
    fs.sync_dir(dir).map_err(io)
}

fn sync_all(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    for name in fs.list(dir)? {
        let path = dir.join(name);
        if fs.list(&path).is_ok() {
            sync_all(fs, &path)?;
        } else {
            fs.open(&path, Open::Read)?.sync()?;
        }
    }
    fs.sync_dir(dir)
}

/// Opens a partition's tree, making it where it is missing.
pub fn open_partition(shared: &Arc<Shared>, number: u16) -> Result<(BlockTree, Rest), StoreError> {
    let generation = match shared.generation(number)? {
        Some(generation) => generation,
        None => {
            shared.set_generation(number, 1)?;
            1
        }
    };
    let tree = shared.kv.tree(&Shared::tree_name(number, generation))?;
    let blocks = BlockTree::open(tree, shared.cache.clone())?;
    let rest = blocks.rest()?;
    Ok((blocks, rest))
}

/// Marks a partition as damaged for the next start.
pub fn mark(fs: &dyn Fs, dir: &Path, partition: u16) -> Result<(), StoreError> {
    let folder = dir.join("damaged");
    fs.create_dir_all(&folder).map_err(io)?;
    write_small(fs, &folder.join(format!("p{partition}")), b"")?;
    fs.sync_dir(&folder).map_err(io)
}

/// Takes the mark away again.
pub fn unmark(fs: &dyn Fs, dir: &Path, partition: u16) {
    let _ = fs.remove_file(&dir.join("damaged").join(format!("p{partition}")));
}

/// Partitions that are marked as damaged.
pub fn marked(fs: &dyn Fs, dir: &Path) -> BTreeSet<u16> {
    let names = fs.list(&dir.join("damaged")).unwrap_or_default();
    names.iter().filter_map(|n| n.strip_prefix('p')?.parse().ok()).collect()
}

fn write_small(fs: &dyn Fs, path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let _ = fs.remove_file(path);
    let file = fs.open(path, Open::Create).map_err(io)?;
    file.write_at(0, content).and_then(|()| file.sync()).map_err(io)
}

/// Empty where there is no such file.
fn read_small(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let read = || {
        let file = fs.open(path, Open::Read)?;
        let mut out = vec![0; file.len()?.min(4096) as usize];
        file.read_at(0, &mut out)?;
        Ok::<_, io::Error>(out)
    };
    read().unwrap_or_default()
}
