//! The bytes of a simulated disk (P1): what is written, what of it is durable, and what a power cut leaves.

use super::SimRng;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

const PAGE: u64 = 4096;
/// What a disk writes in one piece.
const SECTOR: usize = 512;

type Page = Box<[u8; PAGE as usize]>;

/// A file's content. Pages that are all zero are not held.
#[derive(Clone, Default)]
struct Content {
    len: u64,
    pages: BTreeMap<u64, Page>,
}

/// A file, by number; names are apart.
#[derive(Default)]
pub struct Inode {
    now: Content,
    /// Length that is durable.
    synced_len: u64,
    /// Durable content of each page written since the last sync.
    dirty: BTreeMap<u64, Option<Page>>,
    /// The same for pages whose sync failed: a later sync that succeeds does not bring them to the disk.
    doomed: BTreeMap<u64, Option<Page>>,
}

impl Inode {
    pub fn len(&self) -> u64 {
        self.now.len
    }

    /// Reads what is there; false if the file ends before.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> bool {
        if offset + buf.len() as u64 > self.now.len {
            return false;
        }
        for_pages(offset, buf.len(), |number, within, range| match self.now.pages.get(&number) {
            Some(page) => buf[range.clone()].copy_from_slice(&page[within..within + range.len()]),
            None => buf[range].fill(0),
        });
        true
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.now.len = self.now.len.max(offset + data.len() as u64);
        for_pages(offset, data.len(), |number, within, range| {
            let size = range.len();
            self.page(number)[within..within + size].copy_from_slice(&data[range]);
        });
    }

    /// Zeroes everything below `len` and extends the file to it.
    pub fn zero(&mut self, len: u64) {
        self.set_len(self.now.len.max(len));
        let below: Vec<u64> = self.now.pages.range(..len.div_ceil(PAGE)).map(|(n, _)| *n).collect();
        for number in below {
            let keep_from = (len - number * PAGE).min(PAGE) as usize;
            self.page(number)[..keep_from].fill(0);
        }
    }

    pub fn set_len(&mut self, len: u64) {
        if len < self.now.len {
            let beyond: Vec<u64> = self.now.pages.range(len / PAGE..).map(|(n, _)| *n).collect();
            for number in beyond {
                let from = len.saturating_sub(number * PAGE).min(PAGE) as usize;
                self.page(number)[from..].fill(0);
            }
        }
        self.now.len = len;
    }

    /// A page to be changed; remembers what was durable of it.
    fn page(&mut self, number: u64) -> &mut Page {
        let page = self.now.pages.entry(number).or_insert_with(|| Box::new([0; PAGE as usize]));
        if let Some(durable) = self.doomed.remove(&number) {
            self.dirty.entry(number).or_insert(durable);
        }
        self.dirty.entry(number).or_insert_with(|| Some(page.clone()));
        page
    }

    pub fn sync(&mut self) {
        self.synced_len = self.now.len;
        self.dirty.clear();
    }

    /// As Linux does: the pages count as clean afterwards, and are not on the disk.
    pub fn sync_failed(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for (number, durable) in dirty {
            self.doomed.entry(number).or_insert(durable);
        }
    }

    /// Power is cut: of each unsynced write some sectors got to the disk, as `rng` decides.
    pub fn crash(&mut self, rng: &SimRng) {
        let keep = match rng.below(4) {
            0 | 1 => 0,
            2 => 1000,
            _ => 500,
        };
        if self.now.len != self.synced_len && !rng.chance(keep) {
            // Content past the old end, if the file grew, goes with the length.
            let len = self.synced_len;
            if len < self.now.len {
                self.now.pages.split_off(&len.div_ceil(PAGE));
            }
            self.now.len = len;
        }
        let dirty = std::mem::take(&mut self.dirty).into_iter().map(|(number, durable)| (number, durable, keep));
        let doomed = std::mem::take(&mut self.doomed).into_iter().map(|(number, durable)| (number, durable, 0));
        for (number, durable, keep) in dirty.chain(doomed) {
            let durable = durable.unwrap_or_else(|| Box::new([0; PAGE as usize]));
            let Some(page) = self.now.pages.get_mut(&number) else { continue };
            for sector in (0..PAGE as usize).step_by(SECTOR) {
                if !rng.chance(keep) {
                    page[sector..sector + SECTOR].copy_from_slice(&durable[sector..sector + SECTOR]);
                }
            }
        }
        self.synced_len = self.now.len;
    }

    /// Cuts the file on the disk itself.
    pub fn cut(&mut self, len: u64) {
        self.set_len(len.min(self.now.len));
        self.synced_len = self.synced_len.min(len);
        self.dirty.retain(|page, _| page * PAGE < len);
        self.now.pages.split_off(&len.div_ceil(PAGE));
    }

    /// Changes bytes on the disk itself, behind everyone's back.
    pub fn corrupt(&mut self, offset: u64, change: impl Fn(&mut u8), len: usize) {
        for at in offset..(offset + len as u64).min(self.now.len) {
            let within = (at % PAGE) as usize;
            let page = self.now.pages.entry(at / PAGE).or_insert_with(|| Box::new([0; PAGE as usize]));
            change(&mut page[within]);
            if let Some(Some(durable)) = self.dirty.get_mut(&(at / PAGE)) {
                change(&mut durable[within]);
            }
        }
    }
}

/// Calls `f(page number, offset within, range of the buffer)` for each page touched.
fn for_pages(offset: u64, len: usize, mut f: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let within = (at % PAGE) as usize;
        let size = (PAGE as usize - within).min(len - done);
        f(at / PAGE, within, done..done + size);
        done += size;
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    File(u64),
    Dir,
}

/// The names on the disk: as processes see them, and as a power cut would leave them.
pub struct Names {
    pub now: BTreeMap<PathBuf, Node>,
    synced: BTreeMap<PathBuf, Node>,
}

impl Default for Names {
    fn default() -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Dir)]);
        Names { now: root.clone(), synced: root }
    }
}

impl Names {
    pub fn children<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Node)> {
        self.now.iter().filter(move |(path, _)| path.parent() == Some(dir))
    }

    /// Makes the names in `dir` durable.
    pub fn sync(&mut self, dir: &Path) {
        // What was in a folder that is gone is gone with it.
        let now = &self.now;
        let gone: Vec<PathBuf> = self
            .synced
            .iter()
            .filter(|(path, node)| path.parent() == Some(dir) && **node == Node::Dir && !now.contains_key(*path))
            .map(|(path, _)| path.clone())
            .collect();
        self.synced.retain(|path, _| path.parent() != Some(dir) && !gone.iter().any(|g| path.starts_with(g)));
        let children: Vec<_> =
            self.now.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(p, n)| (p.clone(), *n)).collect();
        self.synced.extend(children);
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(node) = self.now.remove(from) else { return false };
        if node == Node::Dir {
            // What is in a folder goes with it, and as durable as it was: it can be reached where the folder can.
            move_inside(&mut self.now, from, to, true);
            move_inside(&mut self.synced, from, to, false);
        }
        self.now.insert(to.into(), node);
        true
    }

    /// Power is cut: in each folder the changes since its last sync are gone, or (as when the file system's journal
    /// was just written) all there.
    pub fn crash(&mut self, rng: &SimRng) {
        let dirs: BTreeSet<PathBuf> =
            self.now.keys().chain(self.synced.keys()).filter_map(|p| p.parent().map(Path::to_path_buf)).collect();
        for dir in dirs {
            if rng.chance(300) {
                self.sync(&dir);
            }
        }
        // A folder whose name is gone takes with it what is in it.
        let mut left = BTreeMap::new();
        for (path, node) in &self.synced {
            let reachable = path.parent().is_none_or(|p| left.get(p) == Some(&Node::Dir));
            if reachable {
                left.insert(path.clone(), *node);
            }
        }
        self.now = left.clone();
        self.synced = left;
    }
}

fn move_inside(names: &mut BTreeMap<PathBuf, Node>, from: &Path, to: &Path, remove: bool) {
    let inside: Vec<_> =
        names.iter().filter(|(p, _)| p.starts_with(from) && *p != from).map(|(p, n)| (p.clone(), *n)).collect();
    for (old, node) in inside {
        if remove {
            names.remove(&old);
        }
        if let Ok(rest) = old.strip_prefix(from) {
            names.insert(to.join(rest), node);
        }
    }
}
