//! Edits: changes that came to a block since it was written, packed and kept beside it (docs/formats.md).
//!
//! Rewriting a block for each row that falls into it costs a hundred times the row. Small changes are gathered here
//! until they weigh a quarter of the block; then a flush folds them in. Verified as a block is, and never taken for
//! one (P7).

use super::StoreError;
use super::block::{Block, Builder};
use super::index::Size;
use bytes::Bytes;
use std::{cmp::Ordering, ops::Range};

/// Edits weigh at most this part of their block.
const PART: usize = 4;
/// First byte of an edit's value: the row is gone, or the row's value follows.
const GONE: u8 = 0;
const PUT: u8 = 1;

/// The verified edits of a block. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Edits(Block);

impl Edits {
    /// Verifies and unpacks edits at rest.
    pub fn open(id: u64, stored: &[u8]) -> Result<Edits, StoreError> {
        let edits = Block::open_edits(id, stored)?;
        // Looked at once, so that reading needs no further checks.
        match (0..edits.count()).all(|at| matches!(edits.value_of(at).first(), Some(&GONE | &PUT))) {
            true => Ok(Edits(edits)),
            false => Err(StoreError::Corrupt(format!("edits of block {id}: neither put nor gone"))),
        }
    }

    /// What the cache holds of them.
    pub fn packed(&self) -> &Block {
        &self.0
    }
    /// Edits out of the cache, where only verified ones are.
    pub fn of(packed: Block) -> Edits {
        Edits(packed)
    }

    /// What is known of a key: nothing, that it is gone, or its value.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let at = self.0.seek(key);
        (at < self.0.count() && self.0.key(at) == key).then(|| self.value(at))
    }

    fn value(&self, at: usize) -> Option<Bytes> {
        (self.0.value_of(at).first() == Some(&PUT)).then(|| self.0.value(at).slice(1..))
    }

    /// The block with the edits in it.
    pub fn folded(&self, block: &Block) -> Block {
        let mut rows = Builder::default();
        let mut at = 0;
        for n in 0..self.0.count() {
            let key = self.0.key(n);
            let to = block.seek_from(at, key);
            rows.extend(block, at, to);
            at = if to < block.count() && block.key(to) == key { to + 1 } else { to };
            if let Some((&PUT, value)) = self.0.value_of(n).split_first() {
                rows.push(key, value);
            }
        }
        rows.extend(block, at, block.count());
        rows.pack()
    }

    /// Puts later changes, in key order, on top of what is there already. `None` where all of it weighs too much
    /// beside a block of `size`: it is to be folded.
    pub fn extend<'a>(
        old: Option<&Edits>,
        changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        size: Size,
    ) -> Option<Builder> {
        let mut draft = Draft { size, rows: Builder::default(), gone: 0 };
        let mut at = 0;
        for (key, value) in changes {
            if let Some(Edits(old)) = old {
                let to = old.seek_from(at, key);
                draft.keep(old, at, to);
                at = if to < old.count() && old.key(to) == key { to + 1 } else { to };
            }
            draft.push(key, value);
            if draft.is_heavy() {
                return None;
            }
        }
        if let Some(Edits(old)) = old {
            draft.keep(old, at, old.count());
        }
        (!draft.is_heavy()).then_some(draft.rows)
    }
}

/// Edits while they are made.
struct Draft {
    size: Size,
    rows: Builder,
    gone: usize,
}

impl Draft {
    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.rows.push_parts(key, &[PUT], value),
            None => self.rows.push(key, &[GONE]),
        }
        self.gone += usize::from(value.is_none());
    }

    /// Takes rows of earlier edits over.
    fn keep(&mut self, old: &Block, from: usize, to: usize) {
        self.rows.extend(old, from, to);
        self.gone += (from..to).filter(|at| old.value_of(*at).first() == Some(&GONE)).count();
    }

    /// A row that is gone weighs as much as it takes in the block: rows deleted must not lie there for long because
    /// their marks are small.
    fn is_heavy(&self) -> bool {
        let row = self.size.bytes / self.size.rows.max(1);
        self.rows.raw_len() + self.gone * row as usize > self.size.bytes as usize / PART
    }
}

/// Gathers rows from blocks, with their edits on top, until a bound is reached.
pub struct Collect {
    pub rows: Vec<(Bytes, Bytes)>,
    bytes: usize,
    limit: usize,
    max_bytes: usize,
}

impl Collect {
    pub fn new(limit: usize, max_bytes: usize) -> Collect {
        Collect { rows: vec![], bytes: 0, limit, max_bytes }
    }

    /// Takes the rows of `range`. False when a bound stopped it.
    pub fn take(&mut self, block: &Block, edits: Option<&Edits>, range: &Range<Bytes>, reverse: bool) -> bool {
        let span = |rows: &Block| rows.seek(&range.start)..rows.seek(&range.end);
        let step = |rows: &mut Range<usize>| if reverse { rows.next_back() } else { rows.next() };
        let (mut rows, mut changes) = (span(block), edits.map_or(0..0, |edits| span(&edits.0)));
        let (mut row, mut change) = (step(&mut rows), step(&mut changes));
        loop {
            let (order, found) = match (row, change.zip(edits)) {
                (None, None) => return true,
                (Some(at), None) => (Ordering::Less, (block.key_bytes(at), Some(block.value(at)))),
                (None, Some((at, edits))) => (Ordering::Greater, (edits.0.key_bytes(at), edits.value(at))),
                (Some(at), Some((n, edits))) => {
                    let order = block.key(at).cmp(edits.0.key(n));
                    match if reverse { order.reverse() } else { order } {
                        Ordering::Less => (Ordering::Less, (block.key_bytes(at), Some(block.value(at)))),
                        order => (order, (edits.0.key_bytes(n), edits.value(n))),
                    }
                }
            };
            if order != Ordering::Greater {
                row = step(&mut rows);
            }
            if order != Ordering::Less {
                change = step(&mut changes);
            }
            let (key, Some(value)) = found else { continue };
            if self.rows.len() >= self.limit || self.bytes >= self.max_bytes {
                return false;
            }
            self.bytes += key.len() + value.len();
            self.rows.push((key, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const BIG: Size = Size { bytes: 1 << 20, rows: 1 << 10 };

    fn key(n: u32) -> Vec<u8> {
        format!("key {n:03}").into_bytes()
    }

    fn block(keys: impl Iterator<Item = u32>) -> Block {
        let mut rows = Builder::default();
        keys.for_each(|n| rows.push(&key(n), format!("old {n}").as_bytes()));
        rows.pack()
    }

    fn edits(old: Option<&Edits>, changes: &[(u32, Option<&str>)]) -> Edits {
        let changes: Vec<_> = changes.iter().map(|(n, v)| (key(*n), v.map(str::as_bytes))).collect();
        let changes = changes.iter().map(|(k, v)| (k.as_slice(), *v));
        let (_, stored) = Edits::extend(old, changes, BIG).unwrap().seal_edits(7).unwrap();
        Edits::open(7, &stored).unwrap()
    }

    #[test]
    fn later_edits_lie_over_earlier_ones_and_both_over_the_block() {
        let block = block((0..100).step_by(2));
        let first = edits(None, &[(1, Some("new")), (4, None), (5, Some("new")), (98, Some("new"))]);
        let both = edits(Some(&first), &[(0, Some("last")), (4, Some("again")), (5, None), (99, Some(""))]);
        assert_eq!(both.get(&key(4)), Some(Some("again".into())));
        assert_eq!((both.get(&key(5)), both.get(&key(6))), (Some(None), None));
        let mut want: BTreeMap<_, _> = (0..100).step_by(2).map(|n| (key(n), format!("old {n}"))).collect();
        for (n, value) in [(0, "last"), (1, "new"), (4, "again"), (98, "new"), (99, "")] {
            want.insert(key(n), value.into());
        }
        let want: Vec<_> = want.into_iter().map(|(k, v)| (Bytes::from(k), Bytes::from(v))).collect();
        let folded = both.folded(&block);
        let seen: Vec<_> = (0..folded.count()).map(|n| (folded.key_bytes(n), folded.value(n))).collect();
        assert_eq!(seen, want);
        for (from, to) in [(0, 100), (1, 5), (5, 99), (4, 4), (99, 100)] {
            for reverse in [false, true] {
                for limit in [1, 3, 100] {
                    let mut out = Collect::new(limit, usize::MAX);
                    let range = Bytes::from(key(from))..Bytes::from(key(to));
                    let mut part: Vec<_> = want.iter().filter(|(k, _)| range.contains(k)).cloned().collect();
                    let whole = out.take(&block, Some(&both), &range, reverse);
                    assert_eq!(whole, part.len() <= limit);
                    if reverse {
                        part.reverse();
                    }
                    part.truncate(limit);
                    assert_eq!(out.rows, part);
                }
            }
        }
    }

    #[test]
    fn edits_that_weigh_too_much_are_to_be_folded_and_rows_gone_weigh_what_they_take() {
        let size = Size { bytes: 4000, rows: 10 };
        let change = |value: Option<&'static [u8]>, many: usize| {
            let keys: Vec<_> = (0..many as u32).map(key).collect();
            Edits::extend(None, keys.iter().map(|k| (k.as_slice(), value)), size).is_some()
        };
        assert!(change(Some(&[1; 100]), 8) && !change(Some(&[1; 100]), 9));
        assert!(change(None, 2) && !change(None, 3), "three rows of 400 bytes are more than a quarter");
        let old = edits(None, &[(1, None), (2, None)]);
        let more = [(key(3), None)];
        assert!(Edits::extend(Some(&old), more.iter().map(|(k, v)| (k.as_slice(), *v)), size).is_none());
    }

    #[test]
    fn edits_and_blocks_are_never_taken_for_each_other() {
        let mut rows = Builder::default();
        rows.push(b"key", &[PUT, 1]);
        let (_, stored) = rows.seal(7).unwrap();
        assert!(Edits::open(7, &stored).is_err());
        let mut rows = Builder::default();
        rows.push(b"key", &[2, 1]);
        let (_, stored) = rows.seal_edits(7).unwrap();
        assert!(Block::open(7, &stored).is_err() && Edits::open(8, &stored).is_err());
        assert!(Edits::open(7, &stored).is_err(), "neither put nor gone");
    }
}
