//! Opening a node's store: the engine, the partitions in it, the background flush; and healing what does not open.

use super::StoreError;
use super::blocks::BlockTree;
use super::cache::Cache;
use super::kv::{Kv, Tree};
use super::kv_memory::MemoryKv;
use super::partition::Partition;
use super::sled::SledKv;
use crate::ops::metrics as names;
use crate::seam::{World, fs::blocking};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};
use tokio::sync::Notify;

/// Bounds and intervals of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Rows in memory of each partition, flushed or on the way, in bytes.
    pub memory_bytes: usize,
    /// Unpacked blocks kept for reads, of all partitions, in bytes.
    pub cache_bytes: usize,
    /// The engine's own cache, in bytes. It takes several times as much.
    pub sled_cache_bytes: u64,
    /// How long rows may stay in memory only. It bounds the replay after a restart, not durability.
    pub flush_interval: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            memory_bytes: 32 << 20,
            cache_bytes: 32 << 20,
            sled_cache_bytes: 16 << 20,
            flush_interval: Duration::from_secs(30),
        }
    }
}

/// What all partitions of a node share.
pub(super) struct Shared {
    pub world: World,
    pub dir: PathBuf,
    pub options: StoreOptions,
    pub kv: Arc<dyn Kv>,
    pub cache: Arc<Cache>,
    /// Which tree holds a partition: number → generation of its tree.
    catalogue: Arc<dyn Tree>,
    /// Asks for a look at which partitions are due for a flush.
    pub wake: Arc<Notify>,
}

impl Shared {
    pub fn damaged(&self, partition: u16, what: &str) {
        metrics::counter!(names::STORE_CHECKSUM_FAILURES).increment(1);
        tracing::error!(event = "store.damaged", partition, what);
    }
}

/// A node's store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    partitions: RwLock<BTreeMap<u16, Arc<Partition>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.wake.notify_one();
    }
}

const CATALOGUE: &str = "catalogue";

fn tree_name(partition: u16, generation: u32) -> String {
    format!("p{partition}.{generation}")
}

impl Store {
    /// Opens or creates the store in `dir`. Must run inside a tokio runtime: it starts the background flush.
    pub async fn open(world: World, dir: PathBuf, options: StoreOptions) -> Result<Store, StoreError> {
        let (place, cache_bytes) = (dir.clone(), options.sled_cache_bytes);
        let inline = world.fs.inline();
        let kv: Arc<dyn Kv> = if inline {
            Arc::new(MemoryKv::default())
        } else {
            blocking(&world.fs, move |fs| {
                fs.create_dir_all(&place).map_err(|e| StoreError::Io(e.to_string()))?;
                SledKv::open(&place.join("sled"), cache_bytes, place.join("suspect")).map(Arc::new)
            })
            .await?
        };
        Store::over(world, dir, options, kv).await
    }

    /// A store over an engine that is open.
    pub(super) async fn over(
        world: World,
        dir: PathBuf,
        options: StoreOptions,
        kv: Arc<dyn Kv>,
    ) -> Result<Store, StoreError> {
        let catalogue = kv.tree(CATALOGUE)?;
        let wake = Arc::new(Notify::new());
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let shared = Arc::new(Shared { world, dir, options, kv, cache, catalogue, wake: wake.clone() });
        let inner = Arc::new(Inner { shared, partitions: RwLock::default() });
        tokio::spawn(flush_when_due(Arc::downgrade(&inner), wake));
        let store = Store(inner);
        for (key, _) in store.0.shared.catalogue.range(b"", None, false, usize::MAX)? {
            if let Some(number) = key.first_chunk::<2>() {
                store.partition(u16::from_be_bytes(*number))?;
            }
        }
        Ok(store)
    }

    /// A partition, made empty where it is missing.
    pub fn partition(&self, number: u16) -> Result<Arc<Partition>, StoreError> {
        let mut partitions = self.0.partitions.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = partitions.get(&number) {
            return Ok(partition.clone());
        }
        let shared = &self.0.shared;
        let key = Bytes::copy_from_slice(&number.to_be_bytes());
        let generation = match shared.catalogue.get(&key)?.as_ref().and_then(|v| v.first_chunk::<4>().copied()) {
            Some(generation) => u32::from_be_bytes(generation),
            None => {
                shared.catalogue.batch(vec![(key, Some(Bytes::copy_from_slice(&1u32.to_be_bytes())))])?;
                1
            }
        };
        let tree = shared.kv.tree(&tree_name(number, generation))?;
        let blocks = BlockTree::open(tree, shared.cache.clone())?;
        let rest = blocks.rest()?;
        let partition = Arc::new(Partition::new(number, shared.clone(), blocks, rest));
        partitions.insert(number, partition.clone());
        Ok(partition)
    }

    /// All partitions that are open.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.0.partitions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Flushes everything: a clean stop replays nothing.
    pub async fn close(self) -> Result<(), StoreError> {
        for partition in self.partitions() {
            partition.flush().await?;
        }
        Ok(())
    }
}

/// Flushes partitions one after another when they are due; ends with the store.
async fn flush_when_due(store: Weak<Inner>, wake: Arc<Notify>) {
    loop {
        let pause = match store.upgrade() {
            Some(inner) => inner.shared.options.flush_interval / 8,
            None => return,
        };
        let _ = tokio::time::timeout(pause, wake.notified()).await;
        let partitions: Vec<_> = match store.upgrade() {
            Some(inner) => inner.partitions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect(),
            None => return,
        };
        for partition in partitions {
            while partition.due() {
                if let Err(e) = partition.flush().await {
                    tracing::error!(event = "store.flush_failed", partition = partition.number(), error = %e);
                    // Nothing is lost: rows stay in memory and the log. Damage ends it; other causes may pass.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    break;
                }
            }
        }
    }
}
