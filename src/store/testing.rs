//! For this room's tests: files in memory, and a partition under test with its model and its log.

use super::index::{DATA, EDITS, INDEX, Place};
use super::kv::{Kv, Tree};
use super::kv_memory::MemoryKv;
use super::sled::{SledKv, TIDY_EVERY};
use super::*;
use crate::seam::{World, clock, fs, rng};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

type Content = Arc<Mutex<Vec<u8>>>;

/// Files in memory. Everything runs inline, as in a simulation.
#[derive(Clone, Default)]
pub struct MemFs(pub Arc<Mutex<BTreeMap<PathBuf, Content>>>);

struct MemFile(Content);

impl fs::File for MemFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let data = self.0.lock().unwrap();
        let at = offset as usize;
        let from = data.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut data = self.0.lock().unwrap();
        let end = offset as usize + bytes.len();
        if data.len() < end {
            data.resize(end, 0);
        }
        data[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }
    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

impl fs::Fs for MemFs {
    fn open(&self, path: &Path, how: fs::Open) -> io::Result<Arc<dyn fs::File>> {
        let mut files = self.0.lock().unwrap();
        match (files.get(path).cloned(), how) {
            (Some(_), fs::Open::Create) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(content), _) => Ok(Arc::new(MemFile(content))),
            (None, fs::Open::Create) => {
                let content = files.entry(path.to_path_buf()).or_default().clone();
                Ok(Arc::new(MemFile(content)))
            }
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let files = self.0.lock().unwrap();
        let below = files.keys().filter_map(|p| p.strip_prefix(path).ok()?.components().next());
        let mut names: Vec<String> = below.map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        names.dedup();
        Ok(names)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_path_buf(), content);
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().retain(|p, _| !p.starts_with(path));
        Ok(())
    }
    fn exists(&self, path: &Path) -> bool {
        self.0.lock().unwrap().contains_key(path)
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

impl MemFs {
    /// Flips one bit of the only file whose path contains `part`.
    pub fn flip(&self, part: &str, bit: usize) {
        let files = self.0.lock().unwrap();
        let mut hits = files.iter().filter(|(p, _)| p.to_string_lossy().contains(part));
        let mut data = hits.next().unwrap().1.lock().unwrap();
        let bit = bit % (data.len() * 8);
        data[bit / 8] ^= 1 << (bit % 8);
        assert!(hits.next().is_none());
    }
}

pub fn world(fs: &MemFs) -> World {
    World { fs: Arc::new(fs.clone()), clock: Arc::new(clock::SystemClock), rng: Arc::new(rng::SystemRng) }
}

pub fn at(index: u64) -> Position {
    Position { index, term: 1, leader: 1 }
}

pub fn key(n: u16) -> Bytes {
    Bytes::from(format!("key {n:04}"))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// An engine, and the folder that it lives in.
pub type Engine = (Arc<dyn Kv>, Option<tempfile::TempDir>);

pub fn memory() -> Engine {
    (Arc::new(MemoryKv::default()), None)
}

pub fn sled() -> Engine {
    let dir = tempfile::tempdir().unwrap();
    (open_sled(dir.path()), Some(dir))
}

/// Opens the real engine, also just after it was closed: its own threads hold its lock for a moment longer.
pub fn open_sled(dir: &Path) -> Arc<dyn Kv> {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match SledKv::open(&dir.join("sled"), 1 << 20, dir.join("suspect"), TIDY_EVERY) {
            Ok(kv) => return Arc::new(kv),
            Err(e) if std::time::Instant::now() > deadline => panic!("{e}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Waits until the last handle on the engine is gone, as after the end of a process.
pub async fn gone(store: Store) {
    let weak = store.weak();
    drop(store);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while weak.upgrade().is_some() {
        assert!(std::time::Instant::now() < deadline, "something holds the store");
        tokio::task::yield_now().await;
    }
}

/// A partition with its model and the log that a crash is replayed from.
pub struct Run {
    pub fs: MemFs,
    pub kv: Arc<dyn Kv>,
    make: fn() -> Engine,
    dir: Option<tempfile::TempDir>,
    pub store: Store,
    pub model: BTreeMap<Bytes, Bytes>,
    pub log: Vec<Vec<RowOp>>,
}

impl Run {
    pub async fn new() -> Run {
        Run::over(memory).await
    }

    pub async fn over(make: fn() -> Engine) -> Run {
        let (fs, (kv, dir)) = (MemFs::default(), make());
        let store = Run::open(&fs, &kv).await;
        Run { fs, kv, make, dir, store, model: BTreeMap::new(), log: vec![] }
    }

    async fn open(fs: &MemFs, kv: &Arc<dyn Kv>) -> Store {
        let options = StoreOptions { flush_interval: Duration::from_secs(3600), ..Default::default() };
        Store::over(world(fs), PathBuf::from("/store"), options, kv.clone(), None).await.unwrap()
    }

    pub fn partition(&self) -> Arc<Partition> {
        self.store.partition(1).unwrap()
    }

    /// Makes an entry as the engine would: a row is fresh where the key does not exist at that point of the log.
    pub fn entry(&mut self, changes: Vec<(u16, Option<u16>)>) {
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

    /// Applies the log from where the partition stands.
    pub fn replay(&self) {
        let partition = self.partition();
        let from = partition.applied().index;
        for (n, rows) in self.log.iter().enumerate().skip(from as usize) {
            partition.apply(at(n as u64 + 1), rows);
        }
        assert!(partition.servable());
    }

    /// Dies and comes back without its memory, not yet replayed. Files are closed and opened.
    pub async fn restart(&mut self) {
        if let Some(dir) = &self.dir {
            let between: Arc<dyn Kv> = Arc::new(MemoryKv::default());
            let old = std::mem::replace(&mut self.store, Run::open(&MemFs::default(), &between).await);
            self.kv = between;
            gone(old).await;
            self.kv = open_sled(dir.path());
        }
        self.store = Run::open(&self.fs, &self.kv).await;
    }

    /// The engine's files are gone too.
    pub async fn lose_engine(&mut self) {
        let (kv, dir) = (self.make)();
        self.kv = kv;
        let _old = std::mem::replace(&mut self.dir, dir);
        self.store = Run::open(&self.fs, &self.kv).await;
    }

    /// The partition's tree in the engine.
    pub fn tree(&self) -> Arc<dyn Tree> {
        // It comes to be when the partition is first asked for.
        drop(self.partition());
        let names = self.kv.names().into_iter().filter(|name| name.starts_with("p1."));
        let newest = names.max_by_key(|name| name[3..].parse::<u32>().unwrap()).unwrap();
        self.kv.tree(&newest).unwrap()
    }

    /// What the engine holds under one prefix.
    pub fn at_rest(&self, prefix: u8) -> Vec<(Bytes, Bytes)> {
        self.tree().range(&[prefix], Some(&[prefix + 1]), false, usize::MAX).unwrap()
    }

    /// Blocks and edits are exactly those that the index speaks of. Returns their numbers.
    pub fn check_tree(&self) -> (usize, usize) {
        let places: Vec<_> = self.at_rest(INDEX).iter().map(|entry| Place::read(entry).unwrap()).collect();
        let keys = |prefix| self.at_rest(prefix).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let mut blocks: Vec<_> = places.iter().map(Place::data_key).collect();
        blocks.sort();
        let edited: Vec<_> = places.iter().filter(|place| place.edited).map(Place::edits_key).collect();
        assert_eq!((keys(DATA), keys(EDITS)), (blocks, edited.clone()));
        (places.len(), edited.len())
    }

    /// Everything reads as the model does.
    pub fn check(&self) {
        let partition = self.partition();
        let all = partition.scan(Bytes::new()..Bytes::from_static(b"z"), false, usize::MAX).unwrap();
        let want: Vec<_> = self.model.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(all, want);
        for n in (0..400).step_by(7) {
            assert_eq!(partition.get(&key(n)).unwrap(), self.model.get(&key(n)).cloned());
        }
    }
}
