//! The table in memory: applied rows in key order, until a flush merges them into blocks.
//!
//! Rows are copied in, so that a counter of twenty bytes does not hold the log entry it came in (P6). A row that was
//! put as fresh and deleted before the flush leaves nothing behind.

use bytes::Bytes;
use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

/// Memory a row takes beyond its key and value: the map's node, the allocation. Measured with the bench.
const ROW_OVERHEAD: usize = 150;

/// A key's first bytes as numbers, zeros behind its end. They stand in the map's nodes, so that walking the map
/// seldom has to follow a pointer: a table's number, a mailbox and most of a message id fit in.
type Head = [u64; 3];

fn head(key: &[u8]) -> Head {
    let mut bytes = [0; 24];
    let some = key.len().min(bytes.len());
    bytes[..some].copy_from_slice(&key[..some]);
    let (words, _) = bytes.as_chunks::<8>();
    [0, 1, 2].map(|n: usize| u64::from_be_bytes(words[n]))
}

/// What rows are ordered and found by: a stored row or a key looked for.
trait Keyed {
    fn head(&self) -> &Head;
    fn key(&self) -> &[u8];
}

impl Ord for dyn Keyed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        // Equal heads decide nothing: zeros may be a key's own or stand behind its end.
        self.head().cmp(other.head()).then_with(|| self.key().cmp(other.key()))
    }
}
impl PartialOrd for dyn Keyed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for dyn Keyed + '_ {}

struct Sought<'a> {
    head: Head,
    key: &'a [u8],
}

impl<'a> Sought<'a> {
    fn new(key: &'a [u8]) -> Self {
        Sought { head: head(key), key }
    }
}

impl Keyed for Sought<'_> {
    fn head(&self) -> &Head {
        &self.head
    }
    fn key(&self) -> &[u8] {
        self.key
    }
}

/// A row: key and value in one allocation, ordered by the key alone.
#[derive(Debug)]
struct Row {
    head: Head,
    both: Bytes,
    key_len: usize,
}

impl Row {
    fn new(key: &[u8], value: &[u8]) -> Row {
        let mut both = Vec::with_capacity(key.len() + value.len());
        both.extend_from_slice(key);
        both.extend_from_slice(value);
        Row { head: head(key), both: both.into(), key_len: key.len() }
    }
    fn key_bytes(&self) -> Bytes {
        self.both.slice(..self.key_len)
    }
    fn value(&self) -> Bytes {
        self.both.slice(self.key_len..)
    }
    fn bytes(&self) -> usize {
        self.both.len() + ROW_OVERHEAD
    }
}

impl Keyed for Row {
    fn head(&self) -> &Head {
        &self.head
    }
    fn key(&self) -> &[u8] {
        &self.both[..self.key_len]
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        (self as &dyn Keyed).cmp(other)
    }
}
impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Row {}

impl<'a> Borrow<dyn Keyed + 'a> for Row {
    fn borrow(&self) -> &(dyn Keyed + 'a) {
        self
    }
}

/// What a row says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There, and nothing of this key is in any layer below.
    Fresh,
    /// There.
    Put,
    /// Gone: hides a row below.
    Gone,
}

/// An ordered table of changes.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<Row, State>,
    bytes: usize,
}

impl Table {
    /// Puts a row. `fresh` must only be set where no layer below can hold the key.
    pub fn put(&mut self, key: &[u8], value: &[u8], fresh: bool) {
        if fresh {
            let row = Row::new(key, value);
            let bytes = row.bytes();
            // Seldom is it there already: then the map has kept the old row, with the new state.
            let Some(old) = self.rows.insert(row, State::Fresh) else {
                self.bytes += bytes;
                return;
            };
            self.take(key);
            self.enter(Row::new(key, value), if old == State::Fresh { old } else { State::Put });
            return;
        }
        // What is below does not change: a hidden row stays hidden, a fresh one fresh.
        let state = if self.take(key) == Some(State::Fresh) { State::Fresh } else { State::Put };
        self.enter(Row::new(key, value), state);
    }

    /// Deletes a row: hides what may be below, or forgets a fresh row wholly.
    pub fn delete(&mut self, key: &[u8]) {
        if self.take(key) != Some(State::Fresh) {
            self.enter(Row::new(key, &[]), State::Gone);
        }
    }

    /// From now on a deleted row leaves a mark, whatever its row said when it came.
    pub fn nothing_is_fresh(&mut self) {
        self.rows.values_mut().filter(|state| **state == State::Fresh).for_each(|state| *state = State::Put);
    }

    fn enter(&mut self, row: Row, state: State) {
        self.bytes += row.bytes();
        self.rows.insert(row, state);
    }

    fn take(&mut self, key: &[u8]) -> Option<State> {
        let (row, state) = self.rows.remove_entry(&Sought::new(key) as &dyn Keyed)?;
        self.bytes -= row.bytes();
        Some(state)
    }

    /// What the table knows of a key: nothing, that it is gone, or its value.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let (row, state) = self.rows.get_key_value(&Sought::new(key) as &dyn Keyed)?;
        Some((*state != State::Gone).then(|| row.value()))
    }

    /// Changes in `[from, to)`, or to the end.
    pub fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let rows = self.rows_in(from, to);
        rows.map(|(row, state)| (row.key_bytes(), (*state != State::Gone).then(|| row.value())))
    }

    /// As [`Table::range`], lent.
    pub fn lent(&self, from: &[u8], to: Option<&[u8]>) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> + '_ {
        let rows = self.rows_in(from, to);
        rows.map(|(row, state)| (row.key(), (*state != State::Gone).then(|| &row.both[row.key_len..])))
    }

    fn rows_in(&self, from: &[u8], to: Option<&[u8]>) -> btree_map::Range<'_, Row, State> {
        let (from, to) = (Sought::new(from), to.map(Sought::new));
        let lower = Bound::Included(&from as &dyn Keyed);
        let upper = match &to {
            // An empty range must not panic in the map.
            Some(to) if to.key <= from.key => Bound::Excluded(&from as &dyn Keyed),
            Some(to) => Bound::Excluded(to as &dyn Keyed),
            None => Bound::Unbounded,
        };
        self.rows.range::<dyn Keyed, _>((lower, upper))
    }

    /// The first key at or after `from`.
    pub fn first_from(&self, from: &[u8]) -> Option<Bytes> {
        let from = Sought::new(from);
        let mut rows = self.rows.range::<dyn Keyed, _>((Bound::Included(&from as &dyn Keyed), Bound::Unbounded));
        rows.next().map(|(row, _)| row.key_bytes())
    }

    /// Memory taken, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_row_deleted_leaves_nothing_and_another_leaves_a_mark() {
        let mut table = Table::default();
        table.put(b"a", b"1", true);
        table.put(b"a", b"22", false);
        assert_eq!(table.get(b"a"), Some(Some("22".into())));
        table.delete(b"a");
        assert!(table.is_empty() && table.bytes() == 0);
        table.delete(b"b");
        assert_eq!(table.get(b"b"), Some(None));
        table.put(b"b", b"again", true);
        table.delete(b"b");
        assert_eq!(table.get(b"b"), Some(None), "what is below must stay hidden");
        table.put(b"c", b"", false);
        table.delete(b"c");
        assert_eq!((table.rows.len(), table.bytes()), (2, 2 * (1 + ROW_OVERHEAD)));
    }

    #[test]
    fn order_is_that_of_the_bytes_whatever_the_head_holds() {
        let long = [b'x'; 30];
        let keys: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0\0b", &long[..24], &long];
        let mut table = Table::default();
        for (n, key) in keys.iter().enumerate().rev() {
            table.put(key, &[n as u8], n % 2 == 0);
            table.put(key, &[n as u8], n % 3 == 0);
        }
        let seen: Vec<_> = table.range(b"", None).map(|(key, value)| (key, value.unwrap()[0])).collect();
        let want: Vec<_> = keys.iter().enumerate().map(|(n, k)| (Bytes::copy_from_slice(k), n as u8)).collect();
        assert_eq!(seen, want);
        assert_eq!(table.range(b"a", Some(b"a\0\0")).count(), 2);
        assert_eq!(table.range(b"b", Some(b"a")).count(), 0);
        assert_eq!(table.first_from(b"a\0\0c").as_deref(), Some(&long[..24]));
        for key in keys {
            assert_eq!(table.get(key).is_some(), table.first_from(key).as_deref() == Some(key));
            table.delete(key);
            table.delete(key);
        }
        assert!(table.range(b"", None).all(|(_, value)| value.is_none()));
    }
}
