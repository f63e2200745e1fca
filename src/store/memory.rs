//! The table in memory: applied rows in key order, until a flush merges them into blocks.
//!
//! Rows are copied in, so that a counter of twenty bytes does not hold the log entry it came in (P6). A row that was
//! put as fresh and deleted before the flush leaves nothing behind.

use bytes::Bytes;
use std::{collections::BTreeMap, ops::Bound};

/// Memory a row takes beyond its key and value: the map's node, the shared allocation. Measured with the bench.
const ROW_OVERHEAD: usize = 150;

/// A row as the table knows it; `value: None` hides a row below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: Option<Bytes>,
    /// Nothing of this key is in any layer below.
    fresh: bool,
}

/// An ordered table of changes.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<Bytes, Entry>,
    bytes: usize,
}

impl Table {
    /// Puts a row. `fresh` must only be set where no layer below can hold the key.
    pub fn put(&mut self, key: &[u8], value: &[u8], fresh: bool) {
        if let Some(entry) = self.rows.get_mut(key) {
            self.bytes = self.bytes + value.len() - entry.value.as_ref().map_or(0, Bytes::len);
            // What is below does not change: a hidden row stays hidden, a fresh one fresh.
            entry.value = Some(Bytes::copy_from_slice(value));
            return;
        }
        let mut both = Vec::with_capacity(key.len() + value.len());
        both.extend_from_slice(key);
        both.extend_from_slice(value);
        let both = Bytes::from(both);
        let entry = Entry { value: Some(both.slice(key.len()..)), fresh };
        self.bytes += both.len() + ROW_OVERHEAD;
        self.rows.insert(both.slice(..key.len()), entry);
    }

    /// Deletes a row: hides what may be below, or forgets a fresh row wholly.
    pub fn delete(&mut self, key: &[u8]) {
        match self.rows.get_mut(key) {
            Some(entry) if entry.fresh => {
                let len = entry.value.as_ref().map_or(0, Bytes::len);
                self.bytes -= key.len() + len + ROW_OVERHEAD;
                self.rows.remove(key);
            }
            Some(entry) => {
                self.bytes -= entry.value.take().map_or(0, |v| v.len());
            }
            None => {
                self.bytes += key.len() + ROW_OVERHEAD;
                self.rows.insert(Bytes::copy_from_slice(key), Entry { value: None, fresh: false });
            }
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.rows.get(key).map(|entry| &entry.value)
    }

    /// Changes in `[from, to)`, or to the end.
    pub fn range(
        &self,
        from: Bytes,
        to: Option<Bytes>,
    ) -> impl DoubleEndedIterator<Item = (&Bytes, &Option<Bytes>)> + '_ {
        let empty = to.as_ref().is_some_and(|to| *to <= from);
        // An empty range must not panic in the map.
        let bounds = match to {
            _ if empty => (Bound::Included(from.clone()), Bound::Excluded(from)),
            Some(to) => (Bound::Included(from), Bound::Excluded(to)),
            None => (Bound::Included(from), Bound::Unbounded),
        };
        self.rows.range(bounds).map(|(key, entry)| (key, &entry.value))
    }

    /// The first key at or after `from`.
    pub fn first_from(&self, from: &Bytes) -> Option<Bytes> {
        self.rows.range(from.clone()..).next().map(|(key, _)| key.clone())
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
        assert_eq!(table.get(b"a"), Some(&Some("22".into())));
        table.delete(b"a");
        assert!(table.is_empty() && table.bytes() == 0);
        table.delete(b"b");
        assert_eq!(table.get(b"b"), Some(&None));
        table.put(b"b", b"again", true);
        table.delete(b"b");
        assert_eq!(table.get(b"b"), Some(&None), "what is below must stay hidden");
        table.put(b"c", b"", false);
        table.delete(b"c");
        assert_eq!((table.rows.len(), table.bytes()), (2, 2 * (1 + ROW_OVERHEAD)));
    }
}
