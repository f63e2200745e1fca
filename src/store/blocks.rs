//! One partition's rows at rest: an index of first keys over sealed blocks, in one tree of the engine.
//!
//! Keys of the tree: `I` + lower bound → block id and size; `D` + id → block; `E` + lower bound → edits of that block;
//! `A` → applied position; `F` → the index that an unfinished flush is heading for. A block holds the rows from its
//! lower bound up to the next block's; its edits, where the index says that there are any, lie over it. Index and
//! edits are apart from the blocks because a leaf of the engine holds up to sixteen values: finding a cached block, or
//! adding a row beside one, must not page in a leaf of compressed bytes.

use super::block::{BLOCK_BYTES, Block, Builder};
use super::cache::Cache;
use super::edits::{Collect, Edits};
use super::flush::Piece;
use super::index::{DATA, EDITED, INDEX, Place, Places, behind, data_key, number, prefixed};
use super::kv::Tree;
use super::memory::Table;
use super::{Applied, StoreError};
use crate::wire::record::Record;
use bytes::Bytes;
use std::{
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

const APPLIED: &[u8] = b"A";
const FLUSHING_TO: &[u8] = b"F";

/// Splits leave room to grow: full blocks would split again at once.
pub(super) const SPLIT_BYTES: usize = BLOCK_BYTES * 3 / 4;
/// Index entries read ahead by a scan.
const INDEX_PAGE: usize = 16;

/// What a restart starts from.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    pub applied: Applied,
    /// Rows up to this index may be in the blocks already, although `applied` is lower.
    pub flushing_to: u64,
}

/// Rows of a scan, and whether it stopped before the end of its range.
pub struct Found {
    pub rows: Vec<(Bytes, Bytes)>,
    pub stopped: bool,
}

/// What a stretch of blocks turned out to be.
pub struct Verified {
    pub blocks: usize,
    /// As they lie at rest, with their edits.
    pub bytes: u64,
    /// Where to go on.
    pub next: Option<Bytes>,
}

/// The rows at rest of one partition.
pub struct BlockTree {
    pub(super) tree: Arc<dyn Tree>,
    cache: Arc<Cache>,
    /// This tree's number in the cache.
    number: u64,
    next_id: AtomicU64,
    /// Held for writing while blocks are split or joined: a scan sees one shape.
    shape: RwLock<()>,
    places: Places,
}

impl BlockTree {
    pub fn open(tree: Arc<dyn Tree>, cache: Arc<Cache>) -> Result<BlockTree, StoreError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let last = tree.range(&[DATA], Some(&[DATA + 1]), true, 1)?;
        let next_id = match last.first() {
            Some((key, _)) => number(key.get(1..).unwrap_or_default())? + 1,
            None => 1,
        };
        Ok(BlockTree {
            tree,
            cache,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            next_id: AtomicU64::new(next_id),
            shape: RwLock::new(()),
            places: Places::default(),
        })
    }

    /// Where the rows at rest stand.
    pub fn rest(&self) -> Result<Rest, StoreError> {
        let applied = match self.tree.get(APPLIED)? {
            Some(bytes) => {
                Applied::decode(&bytes).map_err(|e| StoreError::Corrupt(format!("the applied position: {e}")))?
            }
            None => Applied::default(),
        };
        let flushing_to = match self.tree.get(FLUSHING_TO)? {
            Some(bytes) => number(&bytes)?,
            None => 0,
        };
        Ok(Rest { applied, flushing_to })
    }

    /// Says that rows up to `index` are about to come: before a flush's first piece.
    pub fn begin(&self, index: u64) -> Result<(), StoreError> {
        let mark = Bytes::copy_from_slice(&index.to_be_bytes());
        self.tree.batch(vec![(Bytes::from_static(FLUSHING_TO), Some(mark))])
    }

    /// Says that every row up to `applied` is there: after a flush's last piece.
    pub fn finish(&self, applied: &Applied) -> Result<(), StoreError> {
        self.tree.batch(vec![(Bytes::from_static(APPLIED), Some(applied.encode()))])
    }

    /// The caller holds the shape, so that what is remembered is as it is when a flush comes to change it.
    fn place_of(&self, key: &[u8]) -> Result<Option<Place>, StoreError> {
        self.places.find(&*self.tree, key)
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let _shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = self.place_of(key)? else { return Ok(None) };
        if let Some(known) = self.edits(&place, true)?.and_then(|edits| edits.get(key)) {
            return Ok(known);
        }
        Ok(self.block(place.id, true)?.get(key))
    }

    /// Rows of `range` in key order (from the end when `reverse`), until `limit` rows or `max_bytes` are reached.
    /// `keep` puts the blocks that were read into the cache.
    pub fn scan(
        &self,
        range: &Range<Bytes>,
        reverse: bool,
        limit: usize,
        max_bytes: usize,
        keep: bool,
    ) -> Result<Found, StoreError> {
        let mut out = Collect::new(limit, max_bytes);
        let _shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let first = self.place_of(&range.start)?.map_or_else(Bytes::new, |place| place.lower);
        let (mut from, mut to) = (prefixed(INDEX, &first).to_vec(), prefixed(INDEX, &range.end).to_vec());
        loop {
            let page = self.tree.range(&from, Some(&to), reverse, INDEX_PAGE)?;
            for entry in &page {
                let place = Place::read(entry)?;
                let (block, edits) = (self.block(place.id, keep)?, self.edits(&place, keep)?);
                if !out.take(&block, edits.as_ref(), range, reverse) {
                    return Ok(Found { rows: out.rows, stopped: true });
                }
                if reverse { to = entry.0.to_vec() } else { from = behind(&entry.0) }
            }
            if page.len() < INDEX_PAGE {
                return Ok(Found { rows: out.rows, stopped: false });
            }
        }
    }

    pub(super) fn block(&self, id: u64, keep: bool) -> Result<Block, StoreError> {
        if let Some(block) = self.cache.get(&(self.number, id)) {
            return Ok(block);
        }
        let block = self.stored(id)?;
        if keep {
            self.cache.put((self.number, id), block.clone());
        }
        Ok(block)
    }

    fn stored(&self, id: u64) -> Result<Block, StoreError> {
        Block::open(id, &self.at_rest(id)?)
    }

    fn at_rest(&self, id: u64) -> Result<Bytes, StoreError> {
        self.tree.get(&data_key(id))?.ok_or_else(|| StoreError::Corrupt(format!("block {id} is missing")))
    }

    /// The edits beside a block. `keep` puts them into the cache.
    pub(super) fn edits(&self, place: &Place, keep: bool) -> Result<Option<Edits>, StoreError> {
        if !place.edited {
            return Ok(None);
        }
        let cached = (self.number, place.id | EDITED);
        if let Some(packed) = self.cache.get(&cached) {
            return Ok(Some(Edits::of(packed)));
        }
        let edits = Edits::open(place.id, &self.edits_at_rest(place)?)?;
        if keep {
            self.cache.put(cached, edits.packed().clone());
        }
        Ok(Some(edits))
    }

    fn edits_at_rest(&self, place: &Place) -> Result<Bytes, StoreError> {
        let missing = || StoreError::Corrupt(format!("edits of block {} are missing", place.id));
        self.tree.get(&place.edits_key())?.ok_or_else(missing)
    }

    /// An id that no block of this tree has had.
    pub(super) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Merges one batch's worth of `table` into the blocks, from key `from` on. Returns where to go on.
    pub fn merge(&self, table: &Table, from: &Bytes) -> Result<Option<Bytes>, StoreError> {
        let mut piece = Piece::new(self);
        let next = piece.fill(table, from)?;
        let (changes, cached) = piece.done();
        let turn = self.tree.turn()?;
        let _shape = self.shape.write().unwrap_or_else(PoisonError::into_inner);
        self.places.forget(&changes);
        self.tree.write(&turn, changes)?;
        for (id, block) in cached {
            match block {
                Some(block) => self.cache.replace((self.number, id), block),
                None => self.cache.remove(&(self.number, id)),
            }
        }
        Ok(next)
    }

    /// Writes rows behind every row there is: how a snapshot becomes a tree. Call with rising keys.
    pub fn append(&self, rows: &[(Bytes, Bytes)]) -> Result<(), StoreError> {
        let mut piece = Piece::new(self);
        let empty = self.tree.range(&[INDEX], Some(&[INDEX + 1]), false, 1)?.is_empty();
        let mut rows = rows.iter().peekable();
        let mut lower = empty.then(Bytes::new);
        while rows.peek().is_some() {
            let mut builder = Builder::default();
            while let Some((key, value)) = rows.next_if(|_| builder.raw_len() < SPLIT_BYTES) {
                lower.get_or_insert_with(|| key.clone());
                builder.push(key, value);
            }
            piece.write(Place::new(lower.take().unwrap_or_default(), self.new_id()), builder)?;
            if piece.is_full() {
                let (changes, _) = std::mem::replace(&mut piece, Piece::new(self)).done();
                self.tree.batch(changes)?;
            }
        }
        self.places.clear();
        self.tree.batch(piece.done().0)
    }

    /// Reads and verifies blocks and their edits from lower bound `from` on, at most `limit` of them.
    pub fn verify(&self, from: &[u8], limit: usize) -> Result<Verified, StoreError> {
        let _shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let page = self.tree.range(&prefixed(INDEX, from), Some(&[INDEX + 1]), false, limit)?;
        let mut bytes = 0;
        for entry in &page {
            let place = Place::read(entry)?;
            let stored = self.at_rest(place.id)?;
            bytes += stored.len() as u64;
            Block::open(place.id, &stored)?;
            if place.edited {
                let stored = self.edits_at_rest(&place)?;
                bytes += stored.len() as u64;
                Edits::open(place.id, &stored)?;
            }
        }
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| behind(&key[1..]).into());
        Ok(Verified { blocks: page.len(), bytes, next })
    }
}
