//! sled 0.34 as an engine: the one file that knows its name.
//!
//! What was measured of it decides the settings. Its memory follows the batch, not the cache, so batches are small
//! (the caller's duty); its `flush` is `sync_file_range`, not an fsync, so nothing durable rests on it (P7); it may
//! panic on damaged files, so a panic inside it leaves a mark and the next start sets its files aside.
//!
//! Whoever writes waits until the disk has the batch before ([`Gate`]), and sled's own thread tidies in short turns: sled has some
//! seven threads that write, and stands still for ever once all of them wait for a lock whose holder waits for a truncation that is
//! queued behind them (mended upstream after 0.34, in sled's pull request 1269, and never released). With few buffers on their way
//! that does not come about; should it all the same, [`Kv::writing_for`] tells it.

use super::StoreError;
use super::kv::{Change, Gate, Kv, Tree, Turn};
use bytes::Bytes;
use std::{
    io::ErrorKind,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once, PoisonError},
    time::Duration,
};

/// Segments are sled's unit of allocation, and items past a quarter of one go to files of their own. A leaf holds up
/// to 16 blocks of some 8 KiB, so a quarter of 2 MiB keeps leaves inline.
const SEGMENT_BYTES: usize = 2 << 20;
/// How often sled's own thread empties segments that hold little any more, for half of that time at most, and then waits for the
/// disk. Without it their space is never used again where rows come and go: ten times the content after half an hour
/// (docs/performance.md, Soak). A turn moves the pages of about one segment; it must not write more segments than sled has threads
/// to write them (see above).
pub const TIDY_EVERY: Duration = Duration::from_millis(100);

/// An open sled database. Batches of all trees go through one gate, as sled's own lock has it anyway, each when the disk has the
/// one before: they do not outrun it, in buffers without bound.
pub struct SledKv {
    db: sled::Db,
    gate: Arc<Gate>,
}

struct SledTree {
    tree: sled::Tree,
    db: sled::Db,
    gate: Arc<Gate>,
}

/// Linux: a sector that cannot be read.
const EIO: i32 = 5;

/// What cannot be read or understood does not pass, and the next start sets it aside.
fn failed(e: sled::Error) -> StoreError {
    match e {
        sled::Error::Io(e) if e.raw_os_error() != Some(EIO) && e.kind() != ErrorKind::UnexpectedEof => {
            StoreError::Io(e.to_string())
        }
        other => {
            leave_marks();
            StoreError::Corrupt(format!("the engine's files: {other}"))
        }
    }
}

/// As [`failed`] of what was written: sled takes nothing more after a write that failed, before it is opened again.
fn unwritten(db: &sled::Db, e: sled::Error) -> StoreError {
    match failed(e) {
        StoreError::Io(what) if db.context.global_error().is_err() => StoreError::Unsynced(what),
        other => other,
    }
}

/// As [`failed`] while opening, where little but a lock or a full disk is worth another try.
fn not_opened(e: sled::Error) -> StoreError {
    match e {
        sled::Error::Io(e)
            if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::StorageFull)
                || e.to_string().contains("acquire lock") =>
        {
            StoreError::Io(e.to_string())
        }
        other => StoreError::Corrupt(format!("the engine's files: {other}")),
    }
}

impl SledKv {
    /// Opens or creates the database in `dir`. `suspect` is a file that is made when sled panics; `tidy`: see [`TIDY_EVERY`].
    pub fn open(dir: &Path, cache_bytes: u64, suspect: PathBuf, tidy: Duration) -> Result<SledKv, StoreError> {
        watch_panics(suspect);
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            // Flushes that matter are ours.
            .flush_every_ms(Some(tidy.as_millis() as u64))
            .open()
            .map_err(not_opened)?;
        Ok(SledKv { db, gate: Arc::default() })
    }
}

/// Where to leave the marks of databases opened in this process.
static SUSPECTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A panic in sled's source leaves a mark beside each open database before the process aborts, so that the next
/// start does not run into the same damage.
fn watch_panics(suspect: PathBuf) {
    static ONCE: Once = Once::new();
    let mut all = SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner);
    if !all.contains(&suspect) {
        all.push(suspect);
    }
    drop(all);
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let file = info.location().map_or("", |at| at.file());
            if file.contains("/sled-0") || file.contains("/sled/src") {
                leave_marks();
            }
            before(info);
        }));
    });
}

fn leave_marks() {
    for path in SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // Without the mark the next start only finds out by itself.
        let _ = std::fs::write(path, b"the engine failed\n");
    }
}

fn owned(value: sled::IVec) -> Bytes {
    // Short values sit inside the IVec: copying costs less than sharing.
    if value.len() <= 64 { Bytes::copy_from_slice(&value) } else { Bytes::from_owner(value) }
}

impl Tree for SledTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tree.get(key).map_err(failed)?.map(owned))
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
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.tree.range::<&[u8], _>((Bound::Included(from), end));
        let mut rows = Vec::new();
        while rows.len() < limit {
            let Some(row) = (if reverse { range.next_back() } else { range.next() }) else { break };
            let (key, value) = row.map_err(failed)?;
            rows.push((owned(key), owned(value)));
        }
        Ok(rows)
    }

    fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let turn = self.gate.pass();
        self.tree.flush().map_err(|e| unwritten(&self.db, e))?;
        Ok(turn)
    }

    fn write(&self, _: &Turn<'_>, mut changes: Vec<Change>) -> Result<(), StoreError> {
        let unwritten = |e| unwritten(&self.db, e);
        if changes.len() == 1 {
            // One key needs no batch marks in sled's log.
            if let Some((key, value)) = changes.pop() {
                match value {
                    Some(value) => self.tree.insert(key, value.as_ref()).map_err(unwritten)?,
                    None => self.tree.remove(key).map_err(unwritten)?,
                };
            }
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.as_ref(), value.as_ref()),
                None => batch.remove(key.as_ref()),
            }
        }
        self.tree.apply_batch(batch).map_err(unwritten)
    }
}

impl Kv for SledKv {
    fn tree(&self, name: &str) -> Result<Arc<dyn Tree>, StoreError> {
        let tree = self.db.open_tree(name).map_err(failed)?;
        Ok(Arc::new(SledTree { tree, db: self.db.clone(), gate: self.gate.clone() }))
    }

    fn names(&self) -> Vec<String> {
        let names = self.db.tree_names().into_iter();
        names.map(|n| String::from_utf8_lossy(&n).into_owned()).filter(|n| n != "__sled__default").collect()
    }

    fn drop_tree(&self, name: &str) -> Result<(), StoreError> {
        self.db.drop_tree(name).map_err(failed).map(|_| ())
    }

    fn sync(&self) -> Result<(), StoreError> {
        // Beside a batch it would keep readers out for as long as it takes: the batch waits for it, and they for the batch.
        let _turn = self.gate.pass();
        self.db.flush().map_err(|e| unwritten(&self.db, e)).map(|_| ())
    }

    fn writing_for(&self) -> Duration {
        self.gate.held()
    }

    fn bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::open_sled;
    use super::*;
    use std::{sync::mpsc::RecvTimeoutError, time::Instant};

    const LIVE: u64 = 500;
    const BLOCK: usize = 4_096;
    const TIDY: Duration = Duration::from_millis(50);

    /// One round of blocks that come at one end and go at the other, as the trail's and the mailboxes' do.
    fn exchange_all(tree: &dyn Tree, round: u64) {
        let key = |n: u64| Bytes::copy_from_slice(&n.to_be_bytes());
        for n in (round * LIVE..).take(LIVE as usize) {
            let block: Vec<u8> = (0..BLOCK).map(|at| (n as usize * 31 + at * 7) as u8).collect();
            let gone = n.checked_sub(LIVE).map(|old| (key(old), None));
            tree.batch([Some((key(n), Some(block.into()))), gone].into_iter().flatten().collect()).unwrap();
        }
    }

    fn open_tidied(dir: &Path, tidy: Duration) -> SledKv {
        SledKv::open(&dir.join("sled"), 1 << 20, dir.join("suspect"), tidy).unwrap()
    }

    #[test]
    fn space_that_nothing_lies_in_any_more_is_used_again() {
        const STEADY: usize = 5;
        let dir = tempfile::tempdir().unwrap();
        let kv = open_tidied(dir.path(), TIDY);
        let tree = kv.tree("t").unwrap();
        // Bytes on disk after each round, in which everything is exchanged once. No round takes more than the fifth before it in the end.
        let mut taken: Vec<u64> = vec![];
        while taken.iter().rev().nth(STEADY).is_none_or(|before| Some(before) < taken.last()) {
            assert!(taken.len() < 100, "it grows and grows: {taken:?}");
            let began = Instant::now();
            exchange_all(&*tree, taken.len() as u64);
            taken.push(kv.bytes());
            // On a busy machine or a slow disk sled's thread would not have had its turn.
            std::thread::park_timeout(TIDY.max(began.elapsed()));
        }
        assert_eq!(tree.range(&[], None, false, usize::MAX).unwrap().len() as u64, LIVE);
    }

    /// CI hung for an hour and a quarter: every thread of sled's that writes waited for a lock, whose holder waited for a
    /// truncation that was queued behind them. Without [`Gate`] this stands still in most runs.
    #[test]
    fn a_writer_that_outruns_the_disk_does_not_bring_it_to_a_stand() {
        let dir = tempfile::tempdir().unwrap();
        let tidy = TIDY / 2;
        let kv = open_tidied(dir.path(), tidy);
        let (turned, turns) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let (tree, began) = (kv.tree("t").unwrap(), Instant::now());
            // On a slow disk fewer rounds show as much.
            for round in (0..100).take_while(|_| began.elapsed() < Duration::from_secs(60)) {
                exchange_all(&*tree, round);
                turned.send(()).unwrap();
                std::thread::park_timeout(tidy);
            }
        });
        let ended = std::iter::repeat_with(|| turns.recv_timeout(Duration::from_secs(120))).find_map(Result::err);
        assert_eq!(ended, Some(RecvTimeoutError::Disconnected), "it stands still");
        writer.join().unwrap();
    }

    #[test]
    fn a_writer_that_does_not_come_back_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let kv = open_tidied(dir.path(), TIDY);
        let tree = kv.tree("t").unwrap();
        assert_eq!(kv.writing_for(), Duration::ZERO);
        let turn = tree.turn().unwrap();
        while kv.writing_for() < TIDY {
            std::thread::yield_now();
        }
        tree.write(&turn, vec![(Bytes::from_static(b"k"), Some(Bytes::new()))]).unwrap();
        assert!(kv.writing_for() >= TIDY, "a turn ends with its guard");
        drop(turn);
        assert_eq!(kv.writing_for(), Duration::ZERO);
    }

    #[test]
    fn sled_passes_the_engine_suite_and_reopens() {
        let dir = tempfile::tempdir().unwrap();
        let kv = open_sled(dir.path());
        super::super::kv::conform::suite(kv.as_ref());
        drop(kv);
        let kv = open_sled(dir.path());
        assert_eq!(kv.tree("two").unwrap().get(b"k").unwrap(), Some(Bytes::from_static(b"2")));
    }
}
