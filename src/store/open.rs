//! Opening a node's store: the engine, the partitions in it, the background flush.

use super::blocks::{BlockTree, Rest};
use super::cache::Cache;
use super::heal::{self, Healed};
use super::kv::{Kv, Tree};
use super::partition::Partition;
use super::snapshot::{self, Chain, Layer, SnapshotInfo};
use super::{StoreError, snapshot::list};
use crate::ops::metrics as names;
use crate::seam::World;
use crate::seam::fs::{Fs, blocking};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// Bounds and intervals of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Rows in memory of all partitions, those that a flush is writing included, in bytes.
    pub memory_bytes: usize,
    /// Unpacked blocks kept for reads, of all partitions, in bytes.
    pub cache_bytes: usize,
    /// The engine's own cache, in bytes. It takes several times as much.
    pub sled_cache_bytes: u64,
    /// How long rows may stay in memory only. It bounds the replay after a restart, not durability.
    pub flush_interval: Duration,
    /// A snapshot is not wanted before the log grew by this many bytes.
    pub snapshot_log_bytes: u64,
    /// Names this run of the machine (Linux: `/proc/sys/kernel/random/boot_id`). A store that was open when an earlier
    /// one ended may be damaged without a sign, because the engine does not sync: it is set aside. Empty: unknown.
    pub boot: String,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            memory_bytes: 32 << 20,
            cache_bytes: 32 << 20,
            sled_cache_bytes: 16 << 20,
            flush_interval: Duration::from_secs(30),
            snapshot_log_bytes: 64 << 20,
            boot: String::new(),
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
    pub pool: Pool,
    damage: watch::Sender<BTreeSet<u16>>,
}

/// Memory of all partitions' tables.
#[derive(Default)]
pub(super) struct Pool {
    bytes: AtomicUsize,
    /// Tells whoever waits for room that some came.
    pub flushed: Notify,
}

impl Pool {
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
    /// One table went from `before` to `after` bytes. Returns what all take now.
    pub fn moved(&self, before: usize, after: usize) -> usize {
        // Differences wrap in the same way as the sum does.
        let change = after.wrapping_sub(before);
        self.bytes.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }
}

const CATALOGUE: &str = "catalogue";

impl Shared {
    /// Name of a partition's tree. Generations rise when rows are replaced as a whole.
    pub fn tree_name(partition: u16, generation: u32) -> String {
        format!("p{partition}.{generation}")
    }

    pub fn generation(&self, partition: u16) -> Result<Option<u32>, StoreError> {
        let value = self.catalogue.get(&partition.to_be_bytes())?;
        Ok(value.as_ref().and_then(|v| v.first_chunk::<4>()).map(|v| u32::from_be_bytes(*v)))
    }

    pub fn set_generation(&self, partition: u16, generation: u32) -> Result<(), StoreError> {
        let key = Bytes::copy_from_slice(&partition.to_be_bytes());
        self.catalogue.batch(vec![(key, Some(Bytes::copy_from_slice(&generation.to_be_bytes())))])
    }

    /// Notes that a partition's rows failed a check: for the next start, for whoever watches, and for the operator.
    pub fn damaged(&self, partition: u16, what: &str) {
        metrics::counter!(names::STORE_CHECKSUM_FAILURES).increment(1);
        tracing::error!(event = "store.damaged", partition, what);
        if let Err(e) = heal::mark(&*self.world.fs, &self.dir, partition) {
            tracing::error!(event = "store.damage_unmarked", partition, error = %e);
        }
        self.damage.send_if_modified(|all| all.insert(partition));
    }

    pub async fn clear_damage(&self, partition: u16) {
        let dir = self.dir.clone();
        blocking(&self.world.fs, move |fs| heal::unmark(fs, &dir, partition)).await;
        self.damage.send_if_modified(|all| all.remove(&partition));
    }
}

/// Far longer than a disk that is of any use takes for one batch.
const STAND_STILL: Duration = Duration::from_secs(60);

/// An engine, and why its files were set aside before, if they were.
type Opened = Result<(Arc<dyn Kv>, Option<String>), StoreError>;

/// A node's store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    partitions: RwLock<BTreeMap<u16, Arc<Partition>>>,
    healed: Mutex<Vec<Healed>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.wake.notify_one();
    }
}

impl Store {
    /// Opens or creates the store in `dir`, and heals what does not open: the engine's files are set aside, partitions
    /// start from their newest whole snapshot, and [`Store::healed`] tells. Must run inside a tokio runtime: it starts
    /// the background flush.
    pub async fn open(world: World, dir: PathBuf, options: StoreOptions) -> Result<Store, StoreError> {
        let (at, with, now) = (dir.clone(), options.clone(), world.clock.now());
        let engine = move |fs: &dyn Fs, found| heal::open_engine(fs, &at, &with, now, found);
        Store::healing(world, dir, options, engine).await
    }

    /// A store over the engine that `engine` opens. Where that opens and what it holds cannot be read, its files go, and
    /// every partition begins again: from a snapshot, and from there on from the log.
    pub(super) async fn healing(
        world: World,
        dir: PathBuf,
        options: StoreOptions,
        engine: impl Fn(&dyn Fs, Option<String>) -> Opened + Clone + Send + 'static,
    ) -> Result<Store, StoreError> {
        let open = engine.clone();
        let (kv, why) = blocking(&world.fs, move |fs| open(fs, None)).await?;
        match Store::over(world.clone(), dir.clone(), options.clone(), kv, why).await {
            Err(StoreError::Corrupt(what)) => {
                tracing::error!(event = "store.engine_damaged", what, "the engine's files are set aside");
                let (kv, why) = blocking(&world.fs, move |fs| engine(fs, Some(what))).await?;
                Store::over(world, dir, options, kv, why).await
            }
            other => other,
        }
    }

    /// A store over an engine that is open. `why` is the reason if the engine's files were set aside before.
    pub(super) async fn over(
        world: World,
        dir: PathBuf,
        options: StoreOptions,
        kv: Arc<dyn Kv>,
        why: Option<String>,
    ) -> Result<Store, StoreError> {
        let catalogue = kv.tree(CATALOGUE)?;
        let wake = Arc::new(Notify::new());
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let pool = Pool::default();
        let damage = watch::Sender::new(BTreeSet::new());
        let shared = Arc::new(Shared { world, dir, options, kv, cache, catalogue, wake: wake.clone(), pool, damage });
        let inner = Arc::new(Inner { shared: shared.clone(), partitions: RwLock::default(), healed: Mutex::default() });
        let store = Store(inner.clone());
        blocking(&shared.world.fs, move |fs| inner.load(fs, why)).await?;
        tokio::spawn(flush_when_due(Arc::downgrade(&store.0), wake));
        Ok(store)
    }

    /// A partition, made empty where it is missing.
    pub fn partition(&self, number: u16) -> Result<Arc<Partition>, StoreError> {
        let mut partitions = self.0.partitions.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = partitions.get(&number) {
            return Ok(partition.clone());
        }
        let shared = &self.0.shared;
        let (blocks, rest) = heal::open_partition(shared, number)?;
        let partition = Arc::new(Partition::new(number, shared.clone(), blocks, rest, vec![], vec![], 0));
        partitions.insert(number, partition.clone());
        Ok(partition)
    }

    /// All partitions that are open.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.0.partitions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What was set aside and rebuilt while opening.
    pub fn healed(&self) -> Vec<Healed> {
        self.0.healed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a write to the engine has been under way for so long that it will not end: a new process may get further.
    pub fn stands_still(&self) -> bool {
        self.0.shared.kv.writing_for() > STAND_STILL
    }

    /// Partitions whose rows failed a check since the start. The node hands leadership over and starts again, which
    /// rebuilds them, or calls [`Partition::rebuild`].
    pub fn damage(&self) -> watch::Receiver<BTreeSet<u16>> {
        self.0.shared.damage.subscribe()
    }

    /// Tells when the last handle is gone.
    #[cfg(test)]
    pub(super) fn weak(&self) -> Weak<dyn Send + Sync> {
        Arc::downgrade(&(self.0.shared.clone() as Arc<dyn Send + Sync>))
    }

    /// Bytes that the engine takes on disk.
    pub fn bytes(&self) -> u64 {
        self.0.shared.kv.bytes()
    }

    /// Flushes everything and marks the engine's files as whole: a clean stop replays nothing and is trusted after a
    /// power cut.
    pub async fn close(self) -> Result<(), StoreError> {
        for partition in self.partitions() {
            if !partition.is_damaged() {
                partition.flush().await?;
            }
        }
        let shared = self.0.shared.clone();
        let dir = shared.dir.clone();
        blocking(&shared.world.fs, move |fs| heal::closed(fs, &dir)).await
    }
}

impl Inner {
    /// Opens every partition that the engine or a snapshot knows of.
    fn load(&self, fs: &dyn Fs, why: Option<String>) -> Result<(), StoreError> {
        let shared = &self.shared;
        let marked = heal::marked(fs, &shared.dir);
        let mut numbers: BTreeSet<u16> = snapshot_folders(fs, &shared.dir);
        for (key, _) in shared.catalogue.range(b"", None, false, usize::MAX)? {
            numbers.extend(key.first_chunk::<2>().map(|n| u16::from_be_bytes(*n)));
        }
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        for number in numbers {
            // Before damaged files are removed.
            let named = snapshot::named_until(fs, &shared.dir, number);
            let mut sealed = list(fs, &shared.dir, number);
            let mut layers = snapshot::layers(fs, &shared.dir, number);
            let known = shared.generation(number)?.is_some();
            let why = match &why {
                _ if marked.contains(&number) => Some("its rows failed a check".to_string()),
                Some(why) => Some(why.clone()),
                None if known => None,
                None => Some("the engine does not hold it".to_string()),
            };
            let opened = match why {
                None => heal::open_partition(shared, number).map_err(|e| e.to_string()),
                Some(why) => Err(why),
            };
            let (blocks, rest) = match opened {
                Ok(opened) => opened,
                Err(why) => self.heal(fs, number, why, &mut sealed, &mut layers)?,
            };
            let partition = Partition::new(number, shared.clone(), blocks, rest, sealed, layers, named);
            partitions.insert(number, Arc::new(partition));
        }
        drop(partitions);
        self.drop_old_trees()
    }

    /// Builds a partition anew from the files that are whole, or empty.
    fn heal(
        &self,
        fs: &dyn Fs,
        number: u16,
        why: String,
        sealed: &mut Vec<SnapshotInfo>,
        layers: &mut Vec<Layer>,
    ) -> Result<(BlockTree, Rest), StoreError> {
        let (blocks, from) = loop {
            let chain = Chain::new(sealed.last().cloned(), layers, u64::MAX);
            match snapshot::build(fs, &self.shared, number, &chain) {
                Ok((blocks, _)) => break (blocks, chain.info(number, &snapshot::folder(&self.shared.dir, number))),
                Err((path, StoreError::Corrupt(what))) if !path.as_os_str().is_empty() => {
                    let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
                    tracing::error!(event = "store.snapshot_damaged", partition = number, file, what);
                    let _ = fs.remove_file(&path);
                    sealed.retain(|info| info.path != path);
                    layers.retain(|layer| layer.path != path);
                }
                // A sector that cannot be read costs the file, not the start: an older chain and the log, or a peer, have its
                // rows. It stays on the disk, and its name says how far rows of it may be elsewhere.
                Err((path, StoreError::Io(why))) if !path.as_os_str().is_empty() => {
                    let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
                    tracing::error!(event = "store.snapshot_unreadable", partition = number, file, error = %why);
                    sealed.retain(|info| info.path != path);
                    layers.retain(|layer| layer.path != path);
                }
                Err((_, e)) => return Err(e),
            }
        };
        heal::unmark(fs, &self.shared.dir, number);
        metrics::counter!(names::STORE_SET_ASIDE).increment(1);
        let index = from.as_ref().map_or(0, |s| s.before.index);
        tracing::warn!(event = "store.healed", partition = number, why, index);
        let healed = Healed { partition: number, why, from };
        self.healed.lock().unwrap_or_else(PoisonError::into_inner).push(healed);
        let rest = blocks.rest()?;
        Ok((blocks, rest))
    }

    /// Drops trees that no partition is in: left by a crash while rows were replaced.
    fn drop_old_trees(&self) -> Result<(), StoreError> {
        let mut current = BTreeSet::from([CATALOGUE.to_string()]);
        for (key, value) in self.shared.catalogue.range(b"", None, false, usize::MAX)? {
            if let (Some(number), Some(generation)) = (key.first_chunk::<2>(), value.first_chunk::<4>()) {
                current.insert(Shared::tree_name(u16::from_be_bytes(*number), u32::from_be_bytes(*generation)));
            }
        }
        for name in self.shared.kv.names() {
            if !current.contains(&name) {
                self.shared.kv.drop_tree(&name)?;
            }
        }
        Ok(())
    }
}

/// Partitions that have a folder of snapshots.
fn snapshot_folders(fs: &dyn Fs, dir: &Path) -> BTreeSet<u16> {
    let names = fs.list(&dir.join("snapshots")).unwrap_or_default();
    names.iter().filter_map(|n| n.strip_prefix('p')?.parse().ok()).collect()
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
        while let Some(partition) = most_due(&partitions) {
            if let Err(e) = partition.flush_gently().await {
                tracing::error!(event = "store.flush_failed", partition = partition.number(), error = %e);
                if let StoreError::Unsynced(what) = &e {
                    // What of it is durable is not known: the node hands over and begins again (P7).
                    partition.shared.damaged(partition.number(), what);
                }
                // Nothing is lost: rows stay in memory and the log. Damage ends it; other causes may pass.
                tokio::time::sleep(Duration::from_secs(1)).await;
                break;
            }
            report(&partitions);
        }
        report(&partitions);
    }
}

/// The partition to flush next: the one with most rows while memory is half full, else one with old rows.
fn most_due(partitions: &[Arc<Partition>]) -> Option<&Arc<Partition>> {
    let shared = &partitions.first()?.shared;
    if shared.pool.bytes() >= shared.options.memory_bytes / 2 {
        let largest = partitions.iter().max_by_key(|p| p.flushable())?;
        if largest.flushable() > 0 {
            return Some(largest);
        }
    }
    partitions.iter().find(|p| p.due())
}

/// Sets the gauges.
fn report(partitions: &[Arc<Partition>]) {
    let Some(first) = partitions.first() else { return };
    metrics::gauge!(names::STORE_MEMORY_BYTES).set(first.shared.pool.bytes() as f64);
    metrics::gauge!(names::STORE_CACHE_BYTES).set(first.shared.cache.bytes() as f64);
    metrics::gauge!(names::STORE_BYTES, "tree" => "rows").set(first.shared.kv.bytes() as f64);
    let snapshots: u64 = partitions.iter().map(|p| p.sealed_bytes()).sum();
    metrics::gauge!(names::STORE_BYTES, "tree" => "snapshots").set(snapshots as f64);
}
