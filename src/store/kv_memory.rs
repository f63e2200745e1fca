//! An engine that keeps everything in memory: for simulations, where it dies with the process, and for tests.
//!
//! Losing it at a crash is allowed: nothing rests on an engine (P7), the partition comes back from its snapshot.

use super::StoreError;
use super::kv::{Change, Kv, Tree, Turn};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

#[derive(Default)]
struct MemoryTree(RwLock<BTreeMap<Bytes, Bytes>>);

/// The engine. Cloning it shares the trees.
#[derive(Clone, Default)]
pub struct MemoryKv(Arc<RwLock<BTreeMap<String, Arc<MemoryTree>>>>);

impl Tree for MemoryTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(vec![]);
        }
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = rows.range::<[u8], _>((Bound::Included(from), end)).map(|(k, v)| (k.clone(), v.clone()));
        Ok(if reverse { range.rev().take(limit).collect() } else { range.take(limit).collect() })
    }

    fn write(&self, _: &Turn<'_>, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}

impl Kv for MemoryKv {
    fn tree(&self, name: &str) -> Result<Arc<dyn Tree>, StoreError> {
        let mut trees = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Ok(trees.entry(name.to_string()).or_default().clone())
    }

    fn names(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn drop_tree(&self, name: &str) -> Result<(), StoreError> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let trees = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let size = |tree: &Arc<MemoryTree>| {
            let rows = tree.0.read().unwrap_or_else(PoisonError::into_inner);
            rows.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum::<u64>()
        };
        trees.values().map(size).sum()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_passes_the_engine_suite() {
        super::super::kv::conform::suite(&super::MemoryKv::default());
    }
}
