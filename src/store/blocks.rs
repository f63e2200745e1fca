//! One partition's rows at rest: an index of first keys over sealed blocks, in one tree of the engine.
//!
//! Keys of the tree: `I` + lower bound → block id; `D` + id → block; `A` → applied position; `F` → the index that an
//! unfinished flush is heading for. A block holds the rows from its lower bound up to the next block's. The index is
//! apart from the blocks because a leaf of the engine holds up to sixteen values: finding a cached block must not
//! page in a leaf of compressed bytes.

use super::block::{BLOCK_BYTES, Block, Builder};
use super::cache::Cache;
use super::kv::{Change, Tree};
use super::memory::Table;
use super::{Applied, StoreError};
use crate::wire::record::Record;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

const INDEX: u8 = b'I';
const DATA: u8 = b'D';
const APPLIED: &[u8] = b"A";
const FLUSHING_TO: &[u8] = b"F";

/// A block that fell below this is joined with its right neighbour when a flush passes.
const SMALL_BYTES: usize = BLOCK_BYTES / 4;
/// Splits leave room to grow: full blocks would split again at once.
const SPLIT_BYTES: usize = BLOCK_BYTES * 3 / 4;
/// One batch of the engine: batches of 1,000 random keys have cost sled gigabytes, batches of 50 little.
const BATCH_CHANGES: usize = 32;
const BATCH_BYTES: usize = 512 << 10;
/// Index entries read ahead by a scan.
const INDEX_PAGE: usize = 16;
/// Places remembered of a tree: the bounds of 128 MiB of rows, in some 2 MiB (P6).
const MOST_PLACES: usize = 8192;

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
    /// As they lie at rest.
    pub bytes: u64,
    /// Where to go on.
    pub next: Option<Bytes>,
}

/// The rows at rest of one partition.
pub struct BlockTree {
    tree: Arc<dyn Tree>,
    cache: Arc<Cache>,
    /// This tree's number in the cache.
    number: u64,
    next_id: AtomicU64,
    /// Held for writing while blocks are split or joined: a scan sees one shape.
    shape: RwLock<()>,
    places: Mutex<Places>,
}

/// Places that were found lately: lower bound → upper bound (none: the end) and id. Asking the engine for one costs
/// several microseconds, also for the many keys that are in no block, such as a token that was not used before.
type Places = BTreeMap<Bytes, (Option<Bytes>, u64)>;

/// A block's place: its lower bound and id.
#[derive(Clone, Debug)]
struct Place {
    lower: Bytes,
    id: u64,
}

fn prefixed(prefix: u8, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key.into()
}

fn data_key(id: u64) -> Bytes {
    prefixed(DATA, &id.to_be_bytes())
}

fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes.first_chunk::<8>().ok_or_else(|| StoreError::Corrupt("a number of the index".into()))?;
    Ok(u64::from_be_bytes(*bytes))
}

fn upto(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

/// The smallest key behind `key`.
fn behind(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
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
            places: Mutex::default(),
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

    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let _shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        match self.place_of(key)? {
            Some(place) => Ok(self.block(place.id, true)?.get(key)),
            None => Ok(None),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`BlockTree::floor`], remembered. The caller holds the shape, so that what is put down here is as it is when
    /// a flush comes to change it.
    fn place_of(&self, key: &[u8]) -> Result<Option<Place>, StoreError> {
        if let Some((lower, (upper, id))) = self.places().range::<[u8], _>(upto(key)).next_back()
            && upper.as_ref().is_none_or(|upper| key < upper.as_ref())
        {
            return Ok(Some(Place { lower: lower.clone(), id: *id }));
        }
        let Some(place) = self.floor(key)? else { return Ok(None) };
        let upper = self.after(&place.lower)?.map(|next| next.lower);
        let mut places = self.places();
        if places.len() >= MOST_PLACES {
            places.clear();
        }
        places.insert(place.lower.clone(), (upper, place.id));
        Ok(Some(place))
    }

    /// Forgets the places that changes of the index move: the one in whose range a bound comes to be or goes. Ranges
    /// before and behind it stay true.
    fn forget_places(&self, changes: &[Change]) {
        let mut places = self.places();
        for (key, _) in changes {
            let Some((&INDEX, bound)) = key.split_first() else { continue };
            let held = places.range::<[u8], _>(upto(bound)).next_back().map(|(lower, _)| lower.clone());
            if let Some(lower) = held {
                places.remove(&lower);
            }
        }
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
        let mut out = Collect { rows: vec![], bytes: 0, limit, max_bytes };
        let _shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let first = self.place_of(&range.start)?.map_or_else(Bytes::new, |place| place.lower);
        let (mut from, mut to) = (prefixed(INDEX, &first).to_vec(), prefixed(INDEX, &range.end).to_vec());
        loop {
            let page = self.tree.range(&from, Some(&to), reverse, INDEX_PAGE)?;
            for (key, id) in &page {
                let block = self.block(number(id)?, keep)?;
                if !out.take(&block, range, reverse) {
                    return Ok(Found { rows: out.rows, stopped: true });
                }
                if reverse { to = key.to_vec() } else { from = behind(key) }
            }
            if page.len() < INDEX_PAGE {
                return Ok(Found { rows: out.rows, stopped: false });
            }
        }
    }

    /// The block whose range holds `key`.
    fn floor(&self, key: &[u8]) -> Result<Option<Place>, StoreError> {
        let to = behind(&prefixed(INDEX, key));
        let found = self.tree.range(&[INDEX], Some(&to), true, 1)?;
        found.into_iter().next().map(|entry| self.place(entry)).transpose()
    }

    /// The block that follows the one at `lower`.
    fn after(&self, lower: &[u8]) -> Result<Option<Place>, StoreError> {
        let from = behind(&prefixed(INDEX, lower));
        let found = self.tree.range(&from, Some(&[INDEX + 1]), false, 1)?;
        found.into_iter().next().map(|entry| self.place(entry)).transpose()
    }

    fn place(&self, (key, id): (Bytes, Bytes)) -> Result<Place, StoreError> {
        Ok(Place { lower: key.slice(1..), id: number(&id)? })
    }

    fn block(&self, id: u64, keep: bool) -> Result<Block, StoreError> {
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

    /// Merges one batch's worth of `table` into the blocks, from key `from` on. Returns where to go on.
    pub fn merge(&self, table: &Table, from: &Bytes) -> Result<Option<Bytes>, StoreError> {
        let mut piece = Piece { tree: self, changes: vec![], bytes: 0, cached: vec![] };
        let mut from = from.clone();
        let next = loop {
            let Some(first) = table.first_from(&from) else { break None };
            if piece.is_full() {
                break Some(first);
            }
            match piece.merge_at(table, &first)? {
                Some(upper) => from = upper,
                None => break None,
            }
        };
        let Piece { changes, cached, .. } = piece;
        let _shape = self.shape.write().unwrap_or_else(PoisonError::into_inner);
        self.forget_places(&changes);
        self.tree.batch(changes)?;
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
        let mut piece = Piece { tree: self, changes: vec![], bytes: 0, cached: vec![] };
        let empty = self.tree.range(&[INDEX], Some(&[INDEX + 1]), false, 1)?.is_empty();
        let mut rows = rows.iter().peekable();
        let mut at_start = empty;
        while rows.peek().is_some() {
            let mut builder = Builder::default();
            let mut lower = if at_start { Some(Bytes::new()) } else { None };
            at_start = false;
            while let Some((key, value)) = rows.next_if(|_| builder.raw_len() < SPLIT_BYTES) {
                lower.get_or_insert_with(|| key.clone());
                builder.push(key, value);
            }
            piece.write(lower.as_ref(), None, builder)?;
            if piece.is_full() {
                self.tree.batch(std::mem::take(&mut piece.changes))?;
                piece.bytes = 0;
            }
            piece.cached.clear();
        }
        self.places().clear();
        self.tree.batch(piece.changes)
    }

    /// Reads and verifies blocks from lower bound `from` on, at most `limit` of them.
    pub fn verify(&self, from: &[u8], limit: usize) -> Result<Verified, StoreError> {
        let _shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let page = self.tree.range(&prefixed(INDEX, from), Some(&[INDEX + 1]), false, limit)?;
        let mut bytes = 0;
        for (_, id) in &page {
            let id = number(id)?;
            let stored = self.at_rest(id)?;
            bytes += stored.len() as u64;
            Block::open(id, &stored)?;
        }
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| behind(&key[1..]).into());
        Ok(Verified { blocks: page.len(), bytes, next })
    }
}

/// Gathers rows from blocks until a bound is reached.
struct Collect {
    rows: Vec<(Bytes, Bytes)>,
    bytes: usize,
    limit: usize,
    max_bytes: usize,
}

impl Collect {
    /// False when a bound stopped it.
    fn take(&mut self, block: &Block, range: &Range<Bytes>, reverse: bool) -> bool {
        let (from, to) = (block.seek(&range.start), block.seek(&range.end));
        for n in from..to {
            if self.rows.len() >= self.limit || self.bytes >= self.max_bytes {
                return false;
            }
            let at = if reverse { to - 1 - (n - from) } else { n };
            let (key, value) = (block.key_bytes(at), block.value(at));
            self.bytes += key.len() + value.len();
            self.rows.push((key, value));
        }
        true
    }
}

/// One batch of a flush while it is made.
struct Piece<'a> {
    tree: &'a BlockTree,
    changes: Vec<Change>,
    bytes: usize,
    cached: Vec<(u64, Option<Block>)>,
}

impl Piece<'_> {
    /// Merges the changes that fall into the block of `first`, and into neighbours joined with it. Returns where to go
    /// on: the upper bound of what was done, or a key before it where the batch is full; `None` at the end.
    fn merge_at(&mut self, table: &Table, first: &Bytes) -> Result<Option<Bytes>, StoreError> {
        let place = self.tree.floor(first)?;
        let lower = place.as_ref().map_or_else(Bytes::new, |p| p.lower.clone());
        let mut next = self.tree.after(&lower)?;
        let mut run = Run { id: place.as_ref().map(|p| p.id), ..Run::default() };
        if place.is_none() {
            run.lower = Some(lower);
        }
        let block = place.as_ref().map(|place| self.tree.block(place.id, false)).transpose()?;
        let mut rest = self.merge(&mut run, table, block.as_ref(), first, next.as_ref())?;
        // A block left empty goes away instead: its range falls to the block before it.
        while rest.is_none() && run.is_small() {
            let Some(neighbour) = next.take() else { break };
            let block = self.tree.block(neighbour.id, false)?;
            next = self.tree.after(&neighbour.lower)?;
            rest = self.merge(&mut run, table, Some(&block), &neighbour.lower, next.as_ref())?;
            self.remove(&neighbour);
        }
        match place {
            _ if !run.changed => {}
            Some(place) if run.rows.is_empty() => self.remove(&place),
            _ if run.rows.is_empty() => {}
            _ => self.emit(&mut run, None)?,
        }
        Ok(rest.or_else(|| next.map(|n| n.lower)))
    }

    /// Merges a block with the table's rows from `from` up to the next block, writing blocks as they become full.
    /// Returns the key of a change that was left for the next batch.
    fn merge(
        &mut self,
        run: &mut Run,
        table: &Table,
        block: Option<&Block>,
        from: &[u8],
        next: Option<&Place>,
    ) -> Result<Option<Bytes>, StoreError> {
        let count = block.map_or(0, Block::count);
        let mut at = 0;
        for (key, value) in table.lent(from, next.map(|next| next.lower.as_ref())) {
            if let Some(block) = block {
                let to = block.seek_from(at, key);
                run.rows.extend(block, at, to);
                at = to;
                if at < count && block.key(at) == key {
                    run.changed = true;
                    at += 1;
                }
            }
            let Some(value) = value else { continue };
            if at == count && run.written && self.is_full() {
                return Ok(Some(Bytes::copy_from_slice(key)));
            }
            run.changed = true;
            run.rows.push(key, value);
            self.emit_full(run)?;
        }
        if let Some(block) = block {
            run.rows.extend(block, at, count);
            if run.changed {
                self.emit_full(run)?;
            }
        }
        Ok(None)
    }

    /// Writes what is more than one block holds, and keeps the rest.
    fn emit_full(&mut self, run: &mut Run) -> Result<(), StoreError> {
        while run.rows.raw_len() > BLOCK_BYTES {
            let Some(full) = run.rows.cut(SPLIT_BYTES) else { break };
            self.emit(run, Some(full))?;
        }
        Ok(())
    }

    /// Writes a block of a run: the first takes the run's place, each other one its own. Without `rows`, what is left.
    fn emit(&mut self, run: &mut Run, rows: Option<Builder>) -> Result<(), StoreError> {
        let rows = rows.unwrap_or_else(|| std::mem::take(&mut run.rows));
        let lower = if run.written { Some(rows.first_key()) } else { run.lower.take() };
        run.written = true;
        self.write(lower.as_ref(), run.id.take(), rows)
    }

    fn is_full(&self) -> bool {
        self.changes.len() >= BATCH_CHANGES || self.bytes >= BATCH_BYTES
    }

    /// Writes one block; a `lower` bound also makes its index entry.
    fn write(&mut self, lower: Option<&Bytes>, id: Option<u64>, builder: Builder) -> Result<(), StoreError> {
        let id = id.unwrap_or_else(|| self.tree.next_id.fetch_add(1, Ordering::Relaxed));
        let (block, stored) = builder.seal(id)?;
        self.bytes += stored.len();
        self.changes.push((data_key(id), Some(stored)));
        if let Some(lower) = lower {
            let id = Bytes::copy_from_slice(&id.to_be_bytes());
            self.changes.push((prefixed(INDEX, lower), Some(id)));
        }
        self.cached.push((id, Some(block)));
        Ok(())
    }

    fn remove(&mut self, place: &Place) {
        self.changes.push((prefixed(INDEX, &place.lower), None));
        self.changes.push((data_key(place.id), None));
        self.cached.push((place.id, None));
    }
}

/// Rows of one or more neighbouring blocks with the table's changes on top, as far as they are not written yet.
#[derive(Default)]
struct Run {
    rows: Builder,
    /// The place that the first block takes: an id that there is, or a bound that is new.
    id: Option<u64>,
    lower: Option<Bytes>,
    changed: bool,
    /// Blocks of this run are written already.
    written: bool,
}

impl Run {
    /// Whether it should be joined with what follows.
    fn is_small(&self) -> bool {
        self.changed && !self.written && self.rows.raw_len() < SMALL_BYTES && !self.rows.is_empty()
    }
}
