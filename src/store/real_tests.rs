//! The store over the real engine and real files: restarts, damage, power cuts, set-aside and rebuild (P7, P9).

use super::heal::open_engine;
use super::kv::{Change, Kv, Tree, Turn};
use super::kv_memory::MemoryKv;
use super::testing::{at, gone, key};
use super::*;
use crate::seam::{World, clock::SystemClock, fs::Fs, fs_real::RealFs, pace::Pace, rng::SystemRng};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

fn world() -> World {
    World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) }
}

/// The engine's own threads hold its lock for a moment after it was closed.
async fn open(dir: &Path, boot: &str) -> Store {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let options = StoreOptions { sled_cache_bytes: 1 << 20, boot: boot.into(), ..Default::default() };
        match Store::open(world(), dir.to_path_buf(), options).await {
            Err(StoreError::Io(what)) if what.contains("acquire lock") && std::time::Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            opened => return opened.unwrap(),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn put(n: u64) -> RowOp {
    RowOp::Put { key: key(n as u16), value: Bytes::from(vec![n as u8; 300]), fresh: true }
}

/// Applies entries `from..=to`, one row each.
fn fill(partition: &Partition, from: u64, to: u64) {
    for n in from..=to {
        partition.apply(at(n), &[put(n)]);
    }
}

fn count(partition: &Partition) -> usize {
    partition.scan(Bytes::new()..Bytes::from_static(b"z"), false, usize::MAX).unwrap().len()
}

#[test]
fn a_restart_finds_what_was_flushed_and_a_clean_stop_everything() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(dir.path(), "one").await;
        let partition = store.partition(3).unwrap();
        fill(&partition, 1, 1000);
        partition.set_membership(at(1001), Bytes::from_static(b"members"));
        partition.flush().await.unwrap();
        fill(&partition, 1002, 1100);
        drop(partition);
        gone(store).await;
        let store = open(dir.path(), "one").await;
        assert!(store.healed().is_empty());
        let partition = store.partition(3).unwrap();
        let applied = partition.applied();
        assert_eq!((applied.index, &applied.membership[..], count(&partition)), (1001, &b"members"[..], 1000));
        fill(&partition, 1002, 1100);
        drop(partition);
        store.close().await.unwrap();
        // The machine may have been switched off since: a clean stop is trusted.
        let store = open(dir.path(), "two").await;
        assert!(store.healed().is_empty());
        let partition = store.partition(3).unwrap();
        assert_eq!((partition.applied().index, count(&partition)), (1100, 1099));
        drop(partition);
        gone(store).await;
    });
}

#[test]
fn after_a_power_cut_rows_come_from_sealed_files_and_old_ones_are_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(dir.path(), "one").await;
        let partition = store.partition(1).unwrap();
        fill(&partition, 1, 500);
        partition.snapshot().await.unwrap();
        fill(&partition, 501, 600);
        partition.flush().await.unwrap();
        fill(&partition, 601, 610);
        store.partition(2).unwrap().apply(at(1), &[put(1)]);
        store.partition(2).unwrap().flush().await.unwrap();
        drop(partition);
        gone(store).await;
        let store = open(dir.path(), "two").await;
        let partition = store.partition(1).unwrap();
        assert_eq!((partition.applied().index, count(&partition)), (600, 600), "a snapshot, and the flush behind it");
        assert_eq!(store.partition(2).unwrap().applied().index, 1, "a flush is enough");
        assert_eq!(std::fs::read_dir(dir.path().join("set-aside")).unwrap().count(), 1);
        drop(partition);
        gone(store).await;
    });
}

#[test]
fn files_that_the_engine_cannot_open_or_died_on_are_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(dir.path(), "").await;
        let partition = store.partition(1).unwrap();
        fill(&partition, 1, 50);
        partition.snapshot().await.unwrap();
        drop(partition);
        store.close().await.unwrap();
        for damage in ["conf", "suspect", "opening"] {
            match damage {
                "conf" => std::fs::write(dir.path().join("sled/conf"), b"segment_size: 77").unwrap(),
                "suspect" => std::fs::write(dir.path().join("suspect"), b"").unwrap(),
                _ => std::fs::write(dir.path().join("opening"), [2]).unwrap(),
            }
            let store = open(dir.path(), "").await;
            let healed = store.healed();
            assert_eq!(healed.iter().map(|h| h.partition).collect::<Vec<_>>(), [1], "{damage}");
            let partition = store.partition(1).unwrap();
            assert_eq!((partition.applied().index, count(&partition)), (50, 50));
            drop(partition);
            store.close().await.unwrap();
            assert_eq!(std::fs::read_dir(dir.path().join("set-aside")).unwrap().count(), 1);
        }
    });
}

/// An engine that opens, and of whose trees nothing can be read.
#[derive(Default)]
struct Unreadable(MemoryKv);
struct UnreadableTree;

fn rotten<T>() -> Result<T, StoreError> {
    Err(StoreError::Corrupt("the catalogue".into()))
}

impl Tree for UnreadableTree {
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        rotten()
    }
    fn range(&self, _: &[u8], _: Option<&[u8]>, _: bool, _: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        rotten()
    }
    fn write(&self, _: &Turn<'_>, _: Vec<Change>) -> Result<(), StoreError> {
        rotten()
    }
}

impl Kv for Unreadable {
    fn tree(&self, _: &str) -> Result<Arc<dyn Tree>, StoreError> {
        Ok(Arc::new(UnreadableTree))
    }
    fn names(&self) -> Vec<String> {
        self.0.names()
    }
    fn drop_tree(&self, name: &str) -> Result<(), StoreError> {
        self.0.drop_tree(name)
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.0.sync()
    }
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

#[test]
fn an_engine_that_opens_and_cannot_be_read_is_set_aside_and_rows_come_from_sealed_files_and_log() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(dir.path(), "").await;
        let partition = store.partition(1).unwrap();
        fill(&partition, 1, 50);
        partition.snapshot().await.unwrap();
        fill(&partition, 51, 60);
        drop(partition);
        store.close().await.unwrap();
        let at = dir.path().to_path_buf();
        let engine = move |fs: &dyn Fs, found: Option<String>| match found {
            None => Ok((Arc::new(Unreadable::default()) as Arc<dyn Kv>, None)),
            found => open_engine(fs, &at, &StoreOptions::default(), world().clock.now(), found),
        };
        let store = Store::healing(world(), dir.path().to_path_buf(), StoreOptions::default(), engine).await.unwrap();
        let healed = store.healed();
        assert_eq!((healed[0].partition, healed[0].from.is_some()), (1, true));
        assert!(healed[0].why.contains("the catalogue"), "{}", healed[0].why);
        assert_eq!(std::fs::read_dir(dir.path().join("set-aside")).unwrap().count(), 1);
        let partition = store.partition(1).unwrap();
        assert_eq!((partition.applied().index, count(&partition)), (60, 60));
        fill(&partition, 61, 70);
        assert_eq!(count(&partition), 70, "the log brings the rest");
        drop(partition);
        store.close().await.unwrap();
        // What was made anew is a store like any other.
        let store = open(dir.path(), "").await;
        assert_eq!((store.healed().len(), count(&store.partition(1).unwrap())), (0, 70));
    });
}

/// Opens the store once more, applies the log of 2,000 entries from where it stands, and reads everything; a panic
/// inside the engine is an `Err`.
async fn read_damaged(dir: PathBuf) -> Result<Result<usize, StoreError>, tokio::task::JoinError> {
    tokio::spawn(async move {
        let store = open(&dir, "").await;
        let partition = store.partition(1).unwrap();
        fill(&partition, partition.applied().index + 1, 2000);
        let read = tokio::task::spawn_blocking(move || {
            let rows = partition.scan(Bytes::new()..Bytes::from_static(b"z"), false, usize::MAX)?;
            for (n, (k, v)) in (1u64..).zip(&rows) {
                assert_eq!((k, v), (&key(n as u16), &Bytes::from(vec![n as u8; 300])), "a wrong row was served");
            }
            Ok(rows.len())
        });
        let read = read.await.unwrap_or_else(|_| Err(StoreError::Corrupt("panic".into())));
        gone(store).await;
        read
    })
    .await
}

#[test]
fn damage_anywhere_in_the_engines_file_is_never_served_and_heals_by_the_second_start() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(dir.path(), "").await;
        let partition = store.partition(1).unwrap();
        fill(&partition, 1, 2000);
        partition.snapshot().await.unwrap();
        // The same rows once more, few enough for each block to lie beside it.
        for n in 1..=200 {
            partition.apply(at(2000 + n), &[put(n * 10)]);
        }
        drop(partition);
        store.close().await.unwrap();
        let file = dir.path().join("sled/db");
        let whole = std::fs::read(&file).unwrap();
        let used = whole.iter().rposition(|b| *b != 0).unwrap();
        for n in 0..24usize {
            let mut bad = whole.clone();
            bad[used / 24 * n + n * 31 % 100] ^= 1 << (n % 8);
            std::fs::write(&file, bad).unwrap();
            let mut healthy = false;
            for start in 0..3 {
                match read_damaged(dir.path().to_path_buf()).await {
                    Ok(Ok(rows)) => {
                        assert_eq!(rows, 2000, "damage at {n}");
                        healthy = true;
                    }
                    Ok(Err(_)) | Err(_) => assert!(start < 2, "still damaged at {n}"),
                }
                if healthy {
                    break;
                }
            }
            assert!(healthy);
        }
    });
}

#[test]
fn readers_and_writers_run_beside_flushes_and_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let options = StoreOptions { memory_bytes: 1 << 20, cache_bytes: 1 << 20, ..Default::default() };
        let store = Store::open(world(), dir.path().to_path_buf(), options).await.unwrap();
        let partition = store.partition(1).unwrap();
        // Rows come in pairs that an entry changes together: a scan must never see half of one.
        let pair = |n: u64, side: u8| Bytes::from(vec![side, (n % 200) as u8, (n % 7) as u8]);
        let writer = {
            let partition = partition.clone();
            tokio::spawn(async move {
                for n in 1..=20_000u64 {
                    partition.room().await;
                    let value = Bytes::from(vec![n as u8; 200]);
                    let rows: Vec<_> = (1..3)
                        .map(|side| match n % 5 {
                            0 => RowOp::Delete { key: pair(n, side) },
                            _ => RowOp::Put { key: pair(n, side), value: value.clone(), fresh: false },
                        })
                        .collect();
                    partition.apply(at(n), &rows);
                }
            })
        };
        let reader = {
            let partition = partition.clone();
            tokio::task::spawn_blocking(move || {
                while partition.applied().index < 20_000 {
                    let rows = partition.scan(Bytes::from_static(&[1])..Bytes::from_static(&[3]), false, 5000).unwrap();
                    let (left, right) = rows.split_at(rows.len() / 2);
                    assert_eq!(left.len() * 2, rows.len());
                    let same = left.iter().zip(right).all(|(a, b)| a.0[1..] == b.0[1..] && a.1 == b.1);
                    assert!(same, "a scan saw half of an entry");
                }
            })
        };
        while !writer.is_finished() {
            partition.snapshot().await.unwrap();
        }
        writer.await.unwrap();
        reader.await.unwrap();
        partition.flush().await.unwrap();
        partition.scrub(&Pace::new(u64::MAX)).await.unwrap();
        let hash = partition.hash().await.unwrap().unwrap();
        partition.snapshot().await.unwrap();
        partition.rebuild().await.unwrap();
        assert_eq!(partition.hash().await.unwrap().unwrap(), hash);
        drop(partition);
        gone(store).await;
    });
}
