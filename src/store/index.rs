//! The index of a tree: which block holds which keys, how large it is, and whether edits lie beside it.
//!
//! A mark in the entry says that there are edits, so that a block without any costs a read nothing. The mark is the
//! highest bit of the block's id: a release that does not know of edits finds no such block and heals from a
//! snapshot instead of serving rows that have changed since (P7, P8). An entry carries a checksum over its bound and
//! itself: a mark or a bound that rots would otherwise serve old rows, or none.

use super::StoreError;
use super::kv::{Change, Tree};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub const INDEX: u8 = b'I';
pub const DATA: u8 = b'D';
pub const EDITS: u8 = b'E';

/// Marks an id: of an index entry, that its block has edits; of the cache, that the edits are meant.
pub const EDITED: u64 = 1 << 63;
/// Bytes of an entry.
const ENTRY: usize = 20;
/// Places remembered of a tree: the bounds of 128 MiB of rows, in some 2 MiB (P6).
const MOST_PLACES: usize = 8192;
/// Entries that a flush reads ahead.
const AHEAD: usize = 8;

/// What a block held when its index entry was written: roughly what it holds now. Nothing where an earlier release
/// wrote the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Packed, not compressed.
    pub bytes: u32,
    pub rows: u32,
}

impl Size {
    /// Whether the entry of a block that is now of size `other` should be written again.
    fn is_far_from(self, other: Size) -> bool {
        let far = |a: u32, b: u32| a.abs_diff(b) > b / 4;
        far(self.bytes, other.bytes) || far(self.rows, other.rows)
    }
}

/// A block's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block holds the rows from here up to the next block's bound.
    pub lower: Bytes,
    pub id: u64,
    pub edited: bool,
    pub size: Size,
}

impl Place {
    /// The place of a block that is not written yet.
    pub fn new(lower: Bytes, id: u64) -> Place {
        Place { lower, id, edited: false, size: Size::default() }
    }

    /// Reads an entry of the index. One of 8 bytes is of a release before edits, and has neither size nor checksum.
    pub fn read((key, value): &(Bytes, Bytes)) -> Result<Place, StoreError> {
        let id = number(value)?;
        let part =
            |at: usize| value.get(at..at + 4).and_then(|v| v.first_chunk::<4>()).map_or(0, |v| u32::from_be_bytes(*v));
        let size = Size { bytes: part(8), rows: part(12) };
        if value.len() != ENTRY || checksum(key, &value[..ENTRY - 4]) != part(ENTRY - 4) {
            let old = value.len() == 8 && id & EDITED == 0;
            old.then_some(()).ok_or_else(|| StoreError::Corrupt("an entry of the index".into()))?;
        }
        Ok(Place { lower: key.slice(1..), id: id & !EDITED, edited: id & EDITED != 0, size })
    }

    /// The entry of the index.
    pub fn entry(&self) -> Change {
        let key = self.index_key();
        let mut value = Vec::with_capacity(ENTRY);
        value.extend_from_slice(&(self.id | if self.edited { EDITED } else { 0 }).to_be_bytes());
        value.extend_from_slice(&self.size.bytes.to_be_bytes());
        value.extend_from_slice(&self.size.rows.to_be_bytes());
        value.extend_from_slice(&checksum(&key, &value).to_be_bytes());
        (key, Some(value.into()))
    }

    /// What becomes of the entry when the block is written with rows of `size` and its edits in it.
    pub fn entry_of(&self, size: Size) -> Option<Change> {
        let stale = self.edited || self.size.is_far_from(size);
        stale.then(|| Place { edited: false, size, ..self.clone() }.entry())
    }

    pub fn index_key(&self) -> Bytes {
        prefixed(INDEX, &self.lower)
    }
    pub fn data_key(&self) -> Bytes {
        data_key(self.id)
    }
    /// Edits lie under the bound and not under the id: a flush comes in key order, and neighbours share a leaf.
    pub fn edits_key(&self) -> Bytes {
        prefixed(EDITS, &self.lower)
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

pub fn prefixed(prefix: u8, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key.into()
}

pub fn data_key(id: u64) -> Bytes {
    prefixed(DATA, &id.to_be_bytes())
}

pub fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes.first_chunk::<8>().ok_or_else(|| StoreError::Corrupt("a number of the index".into()))?;
    Ok(u64::from_be_bytes(*bytes))
}

/// The smallest key behind `key`.
pub fn behind(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// The block whose range holds `key`.
pub fn floor(tree: &dyn Tree, key: &[u8]) -> Result<Option<Place>, StoreError> {
    let to = behind(&prefixed(INDEX, key));
    tree.range(&[INDEX], Some(&to), true, 1)?.first().map(Place::read).transpose()
}

/// Up to `limit` blocks that follow the one at `lower`.
pub fn after(tree: &dyn Tree, lower: &[u8], limit: usize) -> Result<Vec<Place>, StoreError> {
    let from = behind(&prefixed(INDEX, lower));
    tree.range(&from, Some(&[INDEX + 1]), false, limit)?.iter().map(Place::read).collect()
}

/// Places that were found lately, each with its upper bound (none: the end). Asking the engine for one costs several
/// microseconds, also for the many keys that are in no block, such as a token that was not used before.
#[derive(Default)]
pub struct Places(Mutex<BTreeMap<Bytes, (Option<Bytes>, Place)>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Bytes, (Option<Bytes>, Place)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`floor`], remembered. The caller sees to it that the index stays as it is meanwhile.
    pub fn find(&self, tree: &dyn Tree, key: &[u8]) -> Result<Option<Place>, StoreError> {
        if let Some((_, (upper, place))) = self.lock().range::<[u8], _>(upto(key)).next_back()
            && upper.as_ref().is_none_or(|upper| key < upper.as_ref())
        {
            return Ok(Some(place.clone()));
        }
        let Some(place) = floor(tree, key)? else { return Ok(None) };
        let upper = after(tree, &place.lower, 1)?.pop().map(|next| next.lower);
        let mut places = self.lock();
        if places.len() >= MOST_PLACES {
            places.clear();
        }
        places.insert(place.lower.clone(), (upper, place.clone()));
        Ok(Some(place))
    }

    /// Forgets the places that changes of the index touch: the one in whose range a bound comes to be or goes, or
    /// whose own entry changes. Ranges before and behind it stay true.
    pub fn forget(&self, changes: &[Change]) {
        let mut places = self.lock();
        for (key, _) in changes {
            let Some((&INDEX, bound)) = key.split_first() else { continue };
            let held = places.range::<[u8], _>(upto(bound)).next_back().map(|(lower, _)| lower.clone());
            if let Some(lower) = held {
                places.remove(&lower);
            }
        }
    }

    pub fn clear(&self) {
        self.lock().clear();
    }
}

fn upto(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

/// Entries read ahead while the index stays as it is: a dense flush asks for neighbour after neighbour.
#[derive(Default)]
pub struct Ahead {
    /// Every place behind `since`, as far as it was read.
    since: Bytes,
    places: Vec<Place>,
    /// Nothing follows.
    last: bool,
}

impl Ahead {
    fn knows_after(&self, at: usize) -> bool {
        at < self.places.len() || self.last
    }

    /// As [`floor`].
    pub fn floor(&self, tree: &dyn Tree, key: &[u8]) -> Result<Option<Place>, StoreError> {
        let at = self.places.partition_point(|place| place.lower <= key);
        match at.checked_sub(1).and_then(|at| self.places.get(at)) {
            Some(place) if self.knows_after(at) => Ok(Some(place.clone())),
            _ => floor(tree, key),
        }
    }

    /// The block that follows the one at `lower`.
    pub fn after(&mut self, tree: &dyn Tree, lower: &Bytes) -> Result<Option<Place>, StoreError> {
        let at = self.places.partition_point(|place| place.lower <= *lower);
        if *lower >= self.since && self.knows_after(at) {
            return Ok(self.places.get(at).cloned());
        }
        self.places = after(tree, lower, AHEAD)?;
        self.since = lower.clone();
        self.last = self.places.len() < AHEAD;
        Ok(self.places.first().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_rots_anywhere_is_found() {
        let place =
            Place { edited: true, size: Size { bytes: 900, rows: 12 }, ..Place::new(Bytes::from_static(b"low"), 7) };
        let (key, value) = place.entry();
        let value = value.unwrap();
        assert_eq!(Place::read(&(key.clone(), value.clone())).unwrap(), place);
        let flipped = |bytes: &Bytes, bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Bytes::from(bytes)
        };
        for bit in 0..value.len() * 8 {
            assert!(Place::read(&(key.clone(), flipped(&value, bit))).is_err(), "bit {bit} of the value");
        }
        for bit in 0..key.len() * 8 {
            assert!(Place::read(&(flipped(&key, bit), value.clone())).is_err(), "bit {bit} of the key");
        }
        for end in (0..value.len()).filter(|end| *end != 8) {
            assert!(Place::read(&(key.clone(), value.slice(..end))).is_err(), "cut to {end}");
        }
        assert!(Place::read(&(key.clone(), value.slice(..8))).is_err(), "edits are marked, and no checksum");
        let old = Place { edited: false, size: Size::default(), ..place };
        assert_eq!(Place::read(&(key, old.entry().1.unwrap().slice(..8))).unwrap(), old);
    }
}
