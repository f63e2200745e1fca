//! The narrow waist between Spine's blocks and whatever engine keeps them: trees with get, range, atomic batch, sync.
//!
//! Nothing durable rests on an engine (P7), so the trait asks for little: a batch is seen whole or not at all by
//! readers and after a killed process; order of batches survives a killed process. [`conform`] is the suite that
//! every engine must pass; adding an engine is adding one file.

use super::StoreError;
use bytes::Bytes;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// One change of a batch: a key with its new value, or `None` to remove it.
pub type Change = (Bytes, Option<Bytes>);

/// An ordered keyspace. Reads block for at most a few page reads, writers for as long as the disk takes.
pub trait Tree: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Up to `limit` entries with `from <= key`, and `key < to` where given; in key order, or from the end when
    /// `reverse`.
    fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;
    /// Waits for a writer's turn. To be had before any lock that readers need: it may take as long as the disk does.
    fn turn(&self) -> Result<Turn<'_>, StoreError> {
        Ok(Turn(None))
    }
    /// Makes all changes at once. No key stands twice in a batch.
    fn write(&self, turn: &Turn<'_>, changes: Vec<Change>) -> Result<(), StoreError>;
    /// [`Tree::write`] in a turn of its own.
    fn batch(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.write(&self.turn()?, changes)
    }
}

/// Lets writers to an engine through one by one, and tells for how long the one inside has been there.
#[derive(Default)]
pub struct Gate {
    alone: Mutex<()>,
    since: Mutex<Option<Instant>>,
}

impl Gate {
    /// Waits until nobody else is inside.
    pub fn pass(&self) -> Turn<'_> {
        let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        *self.since() = Some(Instant::now());
        Turn(Some((self, alone)))
    }

    /// For how long somebody has been inside.
    pub fn held(&self) -> Duration {
        self.since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer's turn. Of an engine with a [`Gate`]: what was written before it was handed to the disk, and nobody else writes until
/// it ends.
pub struct Turn<'a>(Option<(&'a Gate, MutexGuard<'a, ()>)>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some((gate, _)) = &self.0 {
            *gate.since() = None;
        }
    }
}

/// An engine: named trees in one place.
pub trait Kv: Send + Sync {
    /// Opens a tree, making it where it is missing.
    fn tree(&self, name: &str) -> Result<Arc<dyn Tree>, StoreError>;
    /// Names of all trees.
    fn names(&self) -> Vec<String>;
    /// Removes a tree and gives its space back in time. Handles still held read nothing sensible.
    fn drop_tree(&self, name: &str) -> Result<(), StoreError>;
    /// Hands every batch so far to the operating system: survives a killed process, not a power cut.
    fn sync(&self) -> Result<(), StoreError>;
    /// For how long the writer whose turn it is has been at it.
    fn writing_for(&self) -> Duration {
        Duration::ZERO
    }
    /// Bytes taken on disk.
    fn bytes(&self) -> u64;
}

#[cfg(test)]
pub(crate) mod conform {
    //! What every engine must do, run against each from its own file.
    use super::*;

    fn b(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn keys(rows: Vec<(Bytes, Bytes)>) -> Vec<String> {
        rows.into_iter().map(|(k, _)| String::from_utf8_lossy(&k).into_owned()).collect()
    }

    /// Runs the whole suite against an empty engine.
    pub fn suite(kv: &dyn Kv) {
        values_are_whole_and_batches_atomic(kv);
        ranges_are_ordered_and_half_open(kv);
        trees_are_apart_and_can_be_dropped(kv);
        readers_see_batches_whole(kv);
    }

    fn values_are_whole_and_batches_atomic(kv: &dyn Kv) {
        let tree = kv.tree("values").unwrap();
        assert_eq!(tree.get(b"a").unwrap(), None);
        tree.batch(vec![(b("a"), Some(b("1"))), (b(""), Some(b("empty key")))]).unwrap();
        tree.batch(vec![(b("a"), None), (b("c"), Some(Bytes::from(vec![7; 100_000]))), (b("none"), None)]).unwrap();
        assert_eq!(tree.get(b"a").unwrap(), None);
        assert_eq!(tree.get(b"").unwrap(), Some(b("empty key")));
        assert_eq!(tree.get(b"c").unwrap().unwrap().len(), 100_000);
        tree.batch(vec![]).unwrap();
        kv.sync().unwrap();
    }

    fn ranges_are_ordered_and_half_open(kv: &dyn Kv) {
        let tree = kv.tree("ranges").unwrap();
        for key in ["m", "a", "z", "ab", "b"] {
            tree.batch(vec![(b(key), Some(b(key)))]).unwrap();
        }
        assert_eq!(keys(tree.range(b"", None, false, 9).unwrap()), ["a", "ab", "b", "m", "z"]);
        assert_eq!(keys(tree.range(b"ab", Some(b"m"), false, 9).unwrap()), ["ab", "b"]);
        assert_eq!(keys(tree.range(b"a", Some(b"z"), true, 2).unwrap()), ["m", "b"]);
        assert_eq!(keys(tree.range(b"b", None, true, 9).unwrap()), ["z", "m", "b"]);
        assert!(tree.range(b"b", Some(b"b"), false, 9).unwrap().is_empty());
        assert!(tree.range(b"z", Some(b"a"), true, 9).unwrap().is_empty());
        assert!(tree.range(b"", None, false, 0).unwrap().is_empty());
    }

    fn trees_are_apart_and_can_be_dropped(kv: &dyn Kv) {
        kv.tree("one").unwrap().batch(vec![(b("k"), Some(b("1")))]).unwrap();
        kv.tree("two").unwrap().batch(vec![(b("k"), Some(b("2")))]).unwrap();
        assert!(kv.names().contains(&"one".to_string()) && kv.names().contains(&"two".to_string()));
        kv.drop_tree("one").unwrap();
        kv.drop_tree("never there").unwrap();
        assert!(!kv.names().contains(&"one".to_string()));
        assert_eq!(kv.tree("one").unwrap().get(b"k").unwrap(), None);
        assert_eq!(kv.tree("two").unwrap().get(b"k").unwrap(), Some(b("2")));
    }

    fn readers_see_batches_whole(kv: &dyn Kv) {
        let tree = kv.tree("whole").unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..200u32 {
                    let value = Bytes::copy_from_slice(&n.to_be_bytes());
                    tree.batch((0..8u8).map(|k| (Bytes::from(vec![k]), Some(value.clone()))).collect()).unwrap();
                }
            });
            let mut last = Bytes::new();
            while !writer.is_finished() {
                let value = tree.get(&[3]).unwrap().unwrap_or_default();
                assert!(value >= last, "a reader must not go back");
                last = value;
            }
        });
        let rows = tree.range(b"", None, false, 99).unwrap();
        assert!(rows.len() == 8 && rows.iter().all(|(_, v)| v == &rows[0].1));
    }
}
