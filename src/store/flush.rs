//! A flush's pieces: changes of the table in memory merged into blocks, or put beside them as edits.
//!
//! A piece is one batch of the engine, so that a block, its splits, its edits and their index entries change together:
//! a crash between pieces leaves a tree that reads whole.

use super::StoreError;
use super::block::{BLOCK_BYTES, Block, Builder};
use super::blocks::{BlockTree, SPLIT_BYTES};
use super::edits::Edits;
use super::index::{Ahead, EDITED, Place, Size};
use super::kv::Change;
use super::memory::Table;
use bytes::Bytes;

/// A block that fell below this is joined with its right neighbour when a flush passes.
const SMALL_BYTES: usize = BLOCK_BYTES / 4;
/// One batch of the engine: batches of 1,000 random keys have cost sled gigabytes, batches of 50 little.
const BATCH_CHANGES: usize = 32;
const BATCH_BYTES: usize = 512 << 10;

/// What becomes of cached blocks and edits: new content by cache id, or none any more.
pub type Cached = Vec<(u64, Option<Block>)>;

/// One batch of a flush while it is made.
pub struct Piece<'a> {
    tree: &'a BlockTree,
    /// The index does not change before the piece is done.
    ahead: Ahead,
    changes: Vec<Change>,
    bytes: usize,
    cached: Cached,
}

impl<'a> Piece<'a> {
    pub fn new(tree: &'a BlockTree) -> Piece<'a> {
        Piece { tree, ahead: Ahead::default(), changes: vec![], bytes: 0, cached: vec![] }
    }

    /// Takes the table's changes from key `from` on until the batch is full. Returns where to go on.
    pub fn fill(&mut self, table: &Table, from: &Bytes) -> Result<Option<Bytes>, StoreError> {
        let mut from = from.clone();
        loop {
            let Some(first) = table.first_from(&from) else { return Ok(None) };
            if self.is_full() {
                return Ok(Some(first));
            }
            match self.merge_at(table, &first)? {
                Some(upper) => from = upper,
                None => return Ok(None),
            }
        }
    }

    /// The batch, and what it means for the cache.
    pub fn done(self) -> (Vec<Change>, Cached) {
        (self.changes, self.cached)
    }

    pub fn is_full(&self) -> bool {
        self.changes.len() >= BATCH_CHANGES || self.bytes >= BATCH_BYTES
    }

    /// Takes the changes that fall into the block of `first`. Returns where to go on: the upper bound of what was done,
    /// or a key before it where the batch is full; `None` at the end.
    fn merge_at(&mut self, table: &Table, first: &Bytes) -> Result<Option<Bytes>, StoreError> {
        let place = self.ahead.floor(&*self.tree.tree, first)?;
        let lower = place.as_ref().map_or_else(Bytes::new, |place| place.lower.clone());
        let next = self.ahead.after(&*self.tree.tree, &lower)?;
        if let Some(place) = &place
            && self.put_beside(place, table, first, next.as_ref())?
        {
            return Ok(next.map(|next| next.lower));
        }
        self.rewrite(place, table, first, next)
    }

    /// Adds the changes to the block's edits, if all of them together are light enough.
    fn put_beside(
        &mut self,
        place: &Place,
        table: &Table,
        first: &[u8],
        next: Option<&Place>,
    ) -> Result<bool, StoreError> {
        let old = self.tree.edits(place, false)?;
        let changes = table.lent(first, next.map(|next| next.lower.as_ref()));
        let Some(edits) = Edits::extend(old.as_ref(), changes, place.size) else { return Ok(false) };
        let (packed, stored) = edits.seal_edits(place.id)?;
        self.bytes += stored.len();
        self.changes.push((place.edits_key(), Some(stored)));
        if !place.edited {
            self.changes.push(Place { edited: true, ..place.clone() }.entry());
        }
        self.cached.push((place.id | EDITED, Some(packed)));
        Ok(true)
    }

    /// Merges the changes into the block with its edits, and into neighbours joined with it.
    fn rewrite(
        &mut self,
        place: Option<Place>,
        table: &Table,
        first: &[u8],
        mut next: Option<Place>,
    ) -> Result<Option<Bytes>, StoreError> {
        let block = place.as_ref().map(|place| self.folded(place)).transpose()?;
        let changed = place.as_ref().is_some_and(|place| place.edited);
        let mut run = Run { at: place.clone(), changed, ..Run::default() };
        if place.is_none() {
            run.at = Some(Place::new(Bytes::new(), self.tree.new_id()));
        }
        let mut rest = self.merge(&mut run, table, block.as_ref(), first, next.as_ref())?;
        // A block left empty goes away instead: its range falls to the block before it.
        while rest.is_none() && run.is_small() {
            let Some(neighbour) = next.take() else { break };
            let block = self.folded(&neighbour)?;
            next = self.ahead.after(&*self.tree.tree, &neighbour.lower)?;
            rest = self.merge(&mut run, table, Some(&block), &neighbour.lower, next.as_ref())?;
            self.remove(&neighbour);
        }
        match place {
            _ if !run.changed => {}
            Some(place) if run.rows.is_empty() => self.remove(&place),
            _ if run.rows.is_empty() => {}
            _ => self.emit(&mut run, None)?,
        }
        Ok(rest.or_else(|| next.map(|next| next.lower)))
    }

    /// A block with its edits in it.
    fn folded(&self, place: &Place) -> Result<Block, StoreError> {
        let block = self.tree.block(place.id, false)?;
        Ok(self.tree.edits(place, false)?.map_or_else(|| block.clone(), |edits| edits.folded(&block)))
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
        run.written = true;
        let place = run.at.take().unwrap_or_else(|| Place::new(rows.first_key(), self.tree.new_id()));
        self.write(place, rows)
    }

    /// Writes a block that has all of its edits in it, and its index entry where that must change.
    pub fn write(&mut self, place: Place, rows: Builder) -> Result<(), StoreError> {
        let size = Size { bytes: rows.raw_len() as u32, rows: rows.len() as u32 };
        let (block, stored) = rows.seal(place.id)?;
        self.bytes += stored.len();
        self.changes.push((place.data_key(), Some(stored)));
        self.changes.extend(place.entry_of(size));
        self.remove_edits(&place);
        self.cached.push((place.id, Some(block)));
        Ok(())
    }

    fn remove(&mut self, place: &Place) {
        self.changes.push((place.index_key(), None));
        self.changes.push((place.data_key(), None));
        self.remove_edits(place);
        self.cached.push((place.id, None));
    }

    fn remove_edits(&mut self, place: &Place) {
        if place.edited {
            self.changes.push((place.edits_key(), None));
            self.cached.push((place.id | EDITED, None));
        }
    }
}

/// Rows of one or more neighbouring blocks with the table's changes on top, as far as they are not written yet.
#[derive(Default)]
struct Run {
    rows: Builder,
    /// The place that the first block takes.
    at: Option<Place>,
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
