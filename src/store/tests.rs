//! The partition against a plain map: random writes, flushes, crashes in the middle of flushes, replays.

use super::kv_memory::MemoryKv;
use super::*;
use crate::seam::{World, clock, fs, rng};
use proptest::prelude::*;
use std::{collections::BTreeMap, io, path::Path, path::PathBuf, sync::Arc, time::Duration};

/// A world without files: everything runs inline, as in a simulation.
struct NoFiles;

impl fs::Fs for NoFiles {
    fn open(&self, _: &Path, _: fs::Open) -> io::Result<Arc<dyn fs::File>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(vec![])
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn exists(&self, _: &Path) -> bool {
        false
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((1 << 40, 1 << 40))
    }
    fn inline(&self) -> bool {
        true
    }
}

fn world() -> World {
    World { fs: Arc::new(NoFiles), clock: Arc::new(clock::SystemClock), rng: Arc::new(rng::SystemRng) }
}

fn options() -> StoreOptions {
    StoreOptions { flush_interval: Duration::from_secs(3600), ..Default::default() }
}

async fn over(kv: &MemoryKv) -> Store {
    Store::over(world(), PathBuf::from("/none"), options(), Arc::new(kv.clone())).await.unwrap()
}

fn at(index: u64) -> Position {
    Position { index, term: 1, leader: 1 }
}

fn key(n: u16) -> Bytes {
    Bytes::from(format!("key {n:04}"))
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// One entry: (key, value length or `None` to delete).
    Entry(Vec<(u16, Option<u16>)>),
    Flush,
    /// Merge this many pieces of a flush, then die.
    CrashInFlush(usize),
    Crash,
    Scan(u16, u16, bool, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0u16..400, prop_oneof![3 => (0u16..600).prop_map(Some), 2 => Just(None)]);
    let step = prop_oneof![
        12 => prop::collection::vec(change, 1..60).prop_map(Step::Entry),
        2 => Just(Step::Flush),
        2 => (0usize..4).prop_map(Step::CrashInFlush),
        1 => Just(Step::Crash),
        4 => (0u16..400, 0u16..400, any::<bool>(), 1usize..50).prop_map(|(a, b, r, l)| Step::Scan(a, b, r, l)),
    ];
    prop::collection::vec(step, 1..40)
}

/// The store with its model: the map, and the log that a crash is replayed from.
struct Run {
    kv: MemoryKv,
    store: Store,
    model: BTreeMap<Bytes, Bytes>,
    log: Vec<Vec<RowOp>>,
}

impl Run {
    async fn new() -> Run {
        let kv = MemoryKv::default();
        Run { store: over(&kv).await, kv, model: BTreeMap::new(), log: vec![] }
    }

    fn partition(&self) -> Arc<Partition> {
        self.store.partition(1).unwrap()
    }

    /// Makes an entry as the engine would: a row is fresh where the key does not exist at that point of the log.
    fn entry(&mut self, changes: Vec<(u16, Option<u16>)>) {
        let mut rows = vec![];
        for (n, len) in changes {
            let key = key(n);
            match len {
                Some(len) => {
                    let mut value = format!("{}:", self.log.len()).into_bytes();
                    value.resize(value.len() + usize::from(len), b'v');
                    let value = Bytes::from(value);
                    let fresh = self.model.insert(key.clone(), value.clone()).is_none();
                    rows.push(RowOp::Put { key, value, fresh });
                }
                None => {
                    self.model.remove(&key);
                    rows.push(RowOp::Delete { key });
                }
            }
        }
        self.log.push(rows);
        self.partition().apply(at(self.log.len() as u64), &self.log[self.log.len() - 1]);
    }

    /// Dies and comes back: memory is lost, the log from the durable position is applied again.
    async fn crash(&mut self) {
        self.store = over(&self.kv).await;
        let partition = self.partition();
        let from = partition.applied().index;
        for (n, rows) in self.log.iter().enumerate().skip(from as usize) {
            partition.apply(at(n as u64 + 1), rows);
        }
        assert!(partition.servable());
    }

    fn check(&self) {
        let partition = self.partition();
        let all = partition.scan(Bytes::new()..Bytes::from_static(b"z"), false, usize::MAX).unwrap();
        let want: Vec<_> = self.model.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(all, want);
        for n in (0..400).step_by(7) {
            assert_eq!(partition.get(&key(n)).unwrap(), self.model.get(&key(n)).cloned());
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Entry(changes) => self.entry(changes),
            Step::Flush => {
                let reached = self.partition().flush().await.unwrap();
                assert_eq!(reached.index, self.log.len() as u64);
            }
            Step::CrashInFlush(pieces) => {
                self.partition().flush_some(pieces).await.unwrap();
                self.crash().await;
            }
            Step::Crash => self.crash().await,
            Step::Scan(a, b, reverse, limit) => {
                let range = key(a.min(b))..key(a.max(b));
                let got = self.partition().scan(range.clone(), reverse, limit).unwrap();
                let rows = self.model.range(range).map(|(k, v)| (k.clone(), v.clone()));
                let want: Vec<_> = if reverse { rows.rev().take(limit).collect() } else { rows.take(limit).collect() };
                assert_eq!(got, want);
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_history_reads_like_a_plain_map(steps in steps()) {
        runtime().block_on(async {
            let mut run = Run::new().await;
            for step in steps {
                run.step(step).await;
            }
            run.check();
            run.partition().flush().await.unwrap();
            run.check();
            run.crash().await;
            run.check();
        });
    }
}

#[test]
fn a_row_made_before_and_deleted_after_an_interrupted_flush_stays_deleted() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry(vec![(1, Some(3))]);
        // The flush wrote the row and died before it could say so.
        run.partition().flush_some(usize::MAX).await.unwrap();
        run.entry(vec![(1, None)]);
        run.crash().await;
        run.partition().flush().await.unwrap();
        assert_eq!(run.partition().get(&key(1)).unwrap(), None);
    });
}
