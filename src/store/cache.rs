//! Verified blocks kept in memory, bounded in bytes and shared by all partitions of a node (P6).
//!
//! Second-chance eviction over a few shards: a hit costs one short lock and sets a mark.

use super::block::Block;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// (tree's number in this process, block id). Tree numbers are never used twice, so a dropped tree cannot be hit.
pub type CacheKey = (u64, u64);

const SHARDS: usize = 8;

#[derive(Default)]
struct Shard {
    slots: HashMap<CacheKey, (Block, bool)>,
    order: VecDeque<CacheKey>,
    bytes: usize,
}

/// The cache.
pub struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes: usize,
}

impl Cache {
    /// Holds at most about `bytes` of unpacked blocks.
    pub fn new(bytes: usize) -> Cache {
        Cache { shards: Default::default(), shard_bytes: bytes / SHARDS }
    }

    fn shard(&self, key: &CacheKey) -> std::sync::MutexGuard<'_, Shard> {
        // Ids are dense: neighbours go to different shards.
        self.shards[(key.1 ^ key.0) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: &CacheKey) -> Option<Block> {
        let mut shard = self.shard(key);
        let (block, used) = shard.slots.get_mut(key)?;
        *used = true;
        Some(block.clone())
    }

    pub fn put(&self, key: CacheKey, block: Block) {
        let mut shard = self.shard(&key);
        let size = block.bytes();
        if size > self.shard_bytes {
            return;
        }
        match shard.slots.insert(key, (block, false)) {
            Some((old, _)) => shard.bytes -= old.bytes(),
            None => shard.order.push_back(key),
        }
        shard.bytes += size;
        shard.shrink(self.shard_bytes);
    }

    /// Puts the new content of a block where the old one is cached, so that hot blocks stay and cold ones stay out.
    pub fn replace(&self, key: CacheKey, block: Block) {
        let cached = self.shard(&key).slots.contains_key(&key);
        if cached {
            self.put(key, block);
        }
    }

    pub fn remove(&self, key: &CacheKey) {
        let mut shard = self.shard(key);
        if let Some((old, _)) = shard.slots.remove(key) {
            shard.bytes -= old.bytes();
            if shard.order.len() > 2 * shard.slots.len() + 64 {
                let Shard { slots, order, .. } = &mut *shard;
                order.retain(|key| slots.contains_key(key));
            }
        }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).bytes).sum()
    }
}

impl Shard {
    fn shrink(&mut self, bound: usize) {
        while self.bytes > bound {
            let Some(key) = self.order.pop_front() else { break };
            match self.slots.get_mut(&key) {
                Some((_, used)) if *used => {
                    *used = false;
                    self.order.push_back(key);
                }
                Some(_) => {
                    if let Some((old, _)) = self.slots.remove(&key) {
                        self.bytes -= old.bytes();
                    }
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::block::Builder;

    fn block(n: u64) -> Block {
        let mut b = Builder::default();
        b.push(&n.to_be_bytes(), &[0; 1000]);
        b.seal(n).unwrap().0
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let cache = Cache::new(80_000);
        cache.put((1, 0), block(0));
        for n in 1..1000 {
            assert!(cache.get(&(1, 0)).is_some(), "the used block stays");
            cache.put((1, n), block(n));
            assert!(cache.bytes() <= 80_000);
        }
        cache.remove(&(1, 0));
        assert!(cache.get(&(1, 0)).is_none());
        cache.replace((1, 0), block(0));
        assert!(cache.get(&(1, 0)).is_none(), "replacing does not bring in");
        for n in 0..10_000 {
            cache.put((2, n % 3), block(n));
            cache.remove(&(2, n % 3));
        }
        assert!(cache.shards.iter().all(|s| s.lock().unwrap().order.len() < 300));
    }
}
