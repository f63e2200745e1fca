//! A partition at one place of its log, for a backup: the sealed files that hold it, and what was applied behind them.
//!
//! The files are opened while nobody may remove them and can be read to their end afterwards. Which place it is, the caller
//! finds: a journal tells what is applied meanwhile, entry by entry, so that the places of several partitions can be made to
//! fit each other to the entry, without holding up anybody (P6: the journal is bounded, and so is the search for the caller).

use super::snapshot::{Chain, file::Kind, joined_tail, sealed_tail};
use super::{Applied, Partition, RowOp, StoreError};
use crate::seam::{
    fs::{File, Fs, Open, blocking},
    pace::Pace,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::OwnedMutexGuard;

/// Rows that changed; a key without a value says that its row is gone.
pub(super) type Rows = BTreeMap<Bytes, Option<Bytes>>;

/// Bytes of rows that one partition's journal holds between two looks at it.
const MAX_JOURNAL: usize = 64 << 20;
/// Layers of one partition after which they are made one: all of them are read at once.
const JOINED: usize = 64;

/// One entry that was applied.
pub struct Step {
    pub at: Applied,
    pub rows: Vec<RowOp>,
}

/// Entries as they are applied.
#[derive(Default)]
pub struct Journal {
    pub steps: Vec<Step>,
    bytes: usize,
    /// More came than a journal holds.
    pub full: bool,
}

impl Journal {
    pub(super) fn note(&mut self, at: Applied, rows: &[RowOp]) {
        let size = |op: &RowOp| match op {
            RowOp::Put { key, value, .. } => key.len() + value.len(),
            RowOp::Delete { key } => key.len(),
        };
        self.bytes += rows.iter().map(size).sum::<usize>();
        self.full |= self.bytes > MAX_JOURNAL;
        if !self.full {
            self.steps.push(Step { at, rows: rows.to_vec() });
        }
    }

    pub(super) fn take(&mut self) -> Journal {
        let full = self.full;
        let taken = std::mem::take(self);
        self.full = full;
        taken
    }
}

/// A sealed file, open.
pub struct Sealed {
    pub name: String,
    pub bytes: u64,
    pub file: Arc<dyn File>,
}

/// A partition held for a cut: it makes no snapshot and drops no layer, and from [`Held::begin`] on nothing of it is flushed
/// either, until it is settled or dropped. A snapshot from a peer may still come in and take the place of an older one: the
/// files that were opened are read to their end all the same, and what came in before is no place to begin at.
pub struct Held {
    partition: Arc<Partition>,
    snapshots: Option<OwnedMutexGuard<()>>,
    turn: Option<OwnedMutexGuard<()>>,
    files: Vec<Sealed>,
    /// What the files reach at least.
    from: u64,
    rows: Rows,
    at: Applied,
}

/// A partition at the place that was settled on. Its sealed files are copied, what is behind them written anew.
pub struct Cut {
    pub partition: u16,
    pub at: Applied,
    pub files: Vec<Sealed>,
    from: u64,
    rows: Rows,
}

impl Partition {
    /// Holds off snapshots, and with them what they take the place of. May wait for one that is being made.
    pub async fn hold(self: &Arc<Self>) -> Held {
        let snapshots = Some(self.snapshot_turn.clone().lock_owned().await);
        let (files, rows, at) = (vec![], Rows::new(), Applied::default());
        Held { partition: self.clone(), snapshots, turn: None, files, from: 0, rows, at }
    }
}

fn opened(fs: &dyn Fs, chain: &Chain) -> Result<Vec<Sealed>, StoreError> {
    let mut all = vec![];
    for path in chain.files() {
        let io = |e: std::io::Error| StoreError::Io(e.to_string());
        let file = fs.open(&path, Open::Read).map_err(io)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        all.push(Sealed { name, bytes: file.len().map_err(io)?, file });
    }
    Ok(all)
}

impl Held {
    pub fn number(&self) -> u16 {
        self.partition.number()
    }

    /// Opens the files, takes the rows that are not in them as they are now, and begins the journal of what follows. Waits for a
    /// flush that is under way.
    pub async fn begin(&mut self) -> Result<&Applied, StoreError> {
        let partition = self.partition.clone();
        let hurry = partition.hurry();
        self.turn = Some(partition.turn.clone().lock_owned().await);
        drop(hurry);
        let (chain, durable) = partition.chain_at_rest();
        if chain.reach() < durable {
            return Err(StoreError::Io("the sealed files do not reach the rows at rest".into()));
        }
        let base = chain.base.as_ref().map_or(0, |base| base.before.index.max(base.after_index));
        self.files = blocking(&partition.shared.world.fs, move |fs| opened(fs, &chain)).await?;
        self.from = durable;
        let begun = partition.begin_journal();
        (self.at, self.rows) = begun.ok_or_else(|| StoreError::Io("the rows are being made whole".into()))?;
        // From a peer, and not installed yet: rows of later entries would lie below those of this place.
        if base > self.at.index {
            return Err(StoreError::Io("a newer snapshot waits to be installed".into()));
        }
        Ok(&self.at)
    }

    /// A row as of [`Held::begin`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.partition.blocks().get(key),
        }
    }

    /// What was applied since the last call.
    pub fn steps(&self) -> Result<Vec<Step>, StoreError> {
        match self.partition.take_journal() {
            Some(journal) if !journal.full => Ok(journal.steps),
            Some(_) => Err(StoreError::Io("more was written than is kept while a cut is sought".into())),
            None => Err(StoreError::Io("the rows were replaced meanwhile".into())),
        }
    }

    /// Lets the partition go on, cut behind these steps.
    pub fn settle(mut self, steps: Vec<Step>) -> Cut {
        self.partition.end_journal();
        (self.turn, self.snapshots) = (None, None);
        for step in steps {
            for op in step.rows {
                match op {
                    RowOp::Put { key, value, .. } => self.rows.insert(key, Some(value)),
                    RowOp::Delete { key } => self.rows.insert(key, None),
                };
            }
            self.at = step.at;
        }
        Cut {
            partition: self.partition.number(),
            at: std::mem::take(&mut self.at),
            files: std::mem::take(&mut self.files),
            from: self.from,
            rows: std::mem::take(&mut self.rows),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.partition.end_journal();
    }
}

impl Cut {
    /// Writes what was applied behind the sealed files as one more layer into a folder, synced. `None` where it is nothing.
    pub fn write_tail(&self, fs: &dyn Fs, folder: &Path) -> Result<Option<String>, StoreError> {
        if self.from == self.at.index && !self.files.is_empty() {
            return Ok(None);
        }
        sealed_tail(fs, folder, self.partition, (self.from, &self.at), &self.rows).map(Some)
    }
}

/// What entries changed behind sealed files, gathered and written as more layers.
pub struct Layering {
    partition: u16,
    folder: PathBuf,
    /// Where the first layer begins, and the next.
    first: u64,
    from: u64,
    at: Applied,
    rows: Rows,
    bytes: usize,
    files: Vec<PathBuf>,
}

impl Layering {
    /// Behind entry `from`, into a folder.
    pub fn begin(partition: u16, from: u64, folder: PathBuf) -> Layering {
        let at = Applied { index: from, ..Default::default() };
        Layering { partition, folder, first: from, from, at, rows: Rows::new(), bytes: 0, files: vec![] }
    }

    pub fn step(&mut self, step: Step) {
        for op in step.rows {
            // Copies: what is given may be a small part of a large piece, all of which would stay in memory for it.
            let key = Bytes::copy_from_slice(op.key());
            self.bytes += key.len();
            let value = match &op {
                RowOp::Put { value, .. } => {
                    self.bytes += value.len();
                    Some(Bytes::copy_from_slice(value))
                }
                RowOp::Delete { .. } => None,
            };
            self.rows.insert(key, value);
        }
        self.at = step.at;
    }

    /// Bytes of rows gathered; those that were changed again count again.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes what was gathered since the last call.
    pub fn write(&mut self, fs: &dyn Fs) -> Result<(), StoreError> {
        if self.from == self.at.index {
            return Ok(());
        }
        let name = sealed_tail(fs, &self.folder, self.partition, (self.from, &self.at), &self.rows)?;
        self.files.push(self.folder.join(name));
        (self.from, self.bytes) = (self.at.index, 0);
        self.rows.clear();
        if self.files.len() >= JOINED {
            let files = std::mem::take(&mut self.files);
            let name = joined_tail(fs, &self.folder, self.partition, (self.first, &self.at), files)?;
            self.files.push(self.folder.join(name));
        }
        Ok(())
    }

    /// Writes the rest. The layers, in their order.
    pub fn done(mut self, fs: &dyn Fs) -> Result<Vec<PathBuf>, StoreError> {
        self.write(fs)?;
        Ok(self.files)
    }
}

/// Sealed files of one partition, read from anywhere: as one state, in key order.
pub struct Merged(super::snapshot::Merge);

impl Merged {
    /// Opens files in the order that [`Cut`] names them in. Each is compared with its digest first, at a pace.
    pub async fn open(fs: &Arc<dyn Fs>, files: Vec<PathBuf>, pace: &Pace) -> Result<Merged, StoreError> {
        for path in files.clone() {
            let opened = blocking(fs, move |fs| super::snapshot::file::Reader::open(fs, &path)).await;
            let mut check = opened?.check();
            loop {
                let (back, done) = blocking(fs, move |_| {
                    let done = check.step();
                    (check, done)
                })
                .await;
                check = back;
                match done? {
                    0 => break,
                    bytes => pace.spent(bytes).await,
                }
            }
        }
        let opened = blocking(fs, move |fs| super::snapshot::Merge::open(fs, files, false)).await;
        opened.map(Merged).map_err(|(_, e)| e)
    }

    /// The next rows; empty at the end.
    pub fn rows(&mut self) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        loop {
            let rows = self.0.rows().map_err(|(_, e)| e)?;
            let end = rows.is_empty();
            let there: Vec<(Bytes, Bytes)> = rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            if end || !there.is_empty() {
                return Ok(there);
            }
        }
    }
}

/// Writes a snapshot, row by row in key order, where a store will find it: for a store that does not exist yet.
pub struct Planting {
    writer: super::snapshot::file::Writer,
    at: u64,
    temporary: std::path::PathBuf,
    folder: std::path::PathBuf,
}

impl Planting {
    /// `dir` is the store's folder; `at` is where the log will begin.
    pub fn begin(fs: &dyn Fs, dir: &Path, partition: u16, at: Applied) -> Result<Planting, StoreError> {
        let folder = super::snapshot::folder(dir, partition);
        fs.create_dir_all(&folder).map_err(|e| StoreError::Io(e.to_string()))?;
        let (temporary, index) = (folder.join("planting"), at.index);
        let head = super::snapshot::file::Head { partition, before: at, ..Default::default() };
        let writer = super::snapshot::file::Writer::create(fs, &temporary, Kind::Whole, &head)?;
        Ok(Planting { writer, at: index, temporary, folder })
    }

    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.writer.row(key, Some(value))
    }

    /// Seals it, durable.
    pub fn finish(self, fs: &dyn Fs) -> Result<(), StoreError> {
        self.writer.finish(self.at)?;
        super::snapshot::seal(fs, &self.temporary, &self.folder).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::*;

    #[test]
    fn a_snapshot_that_waits_to_be_installed_is_no_place_to_begin_at() {
        runtime().block_on(async {
            let (mut there, mut here) = (Run::new().await, Run::new().await);
            there.entry(vec![(1, Some(10))]);
            here.entry(vec![(1, Some(10))]);
            there.entry(vec![(2, Some(20)), (1, None)]);
            let info = there.partition().snapshot().await.unwrap();
            let mut incoming = here.partition().receive_snapshot(info.bytes).await.unwrap();
            let whole = there.partition().read_snapshot_piece(&info.id, 0, info.bytes as usize).await.unwrap();
            incoming.write(0, whole).await.unwrap();
            let info = incoming.finish().await.unwrap().expect("it is newer");
            let mut held = here.partition().hold().await;
            assert!(held.begin().await.is_err(), "rows of entry 2 lie below those of entry 1");
            drop(held);
            here.partition().install_snapshot(&info.id).await.unwrap();
            let mut held = here.partition().hold().await;
            assert_eq!(held.begin().await.unwrap().index, 2);
        });
    }

    #[test]
    fn layers_of_entries_are_what_the_entries_wrote_however_many_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let fs = crate::seam::fs_real::RealFs;
        let mut layering = Layering::begin(3, 7, dir.path().to_owned());
        let (mut wanted, mut last) = (BTreeMap::new(), 7);
        for n in 0..3 * JOINED as u64 {
            last = 8 + n;
            let [kept, gone] = [n % 50, (n + 1) % 50].map(|k| Bytes::copy_from_slice(&k.to_be_bytes()));
            let value = Bytes::copy_from_slice(&n.to_le_bytes());
            let rows = vec![
                RowOp::Put { key: kept.clone(), value: value.clone(), fresh: false },
                RowOp::Delete { key: gone.clone() },
            ];
            wanted.insert(kept, value);
            wanted.remove(&gone);
            layering.step(Step { at: Applied { index: last, term: 1, ..Default::default() }, rows });
            layering.write(&fs).unwrap();
            assert!(layering.bytes() == 0 && std::fs::read_dir(dir.path()).unwrap().count() < JOINED);
        }
        let files = layering.done(&fs).unwrap();
        let merged = super::super::snapshot::Merge::open(&fs, files, true);
        let (mut merged, mut found) = (Merged(merged.map_err(|(_, e)| e).unwrap()), BTreeMap::new());
        loop {
            let rows = merged.rows().unwrap();
            if rows.is_empty() {
                break;
            }
            found.extend(rows);
        }
        assert!(found == wanted && last == 7 + 3 * JOINED as u64);
    }

    #[test]
    fn a_row_that_is_gathered_keeps_nothing_else_of_what_it_was_read_from() {
        let dir = tempfile::tempdir().unwrap();
        let mut layering = Layering::begin(3, 7, dir.path().to_owned());
        let piece = Bytes::from(vec![7; 1 << 20]);
        let rows = vec![
            RowOp::Put { key: piece.slice(..8), value: piece.slice(8..16), fresh: false },
            RowOp::Delete { key: piece.slice(16..24) },
        ];
        layering.step(Step { at: Applied { index: 8, term: 1, ..Default::default() }, rows });
        assert!(piece.is_unique(), "the whole piece stays in memory");
    }

    #[test]
    fn a_cut_holds_every_row_as_of_its_entry_and_none_of_later_ones() {
        runtime().block_on(async {
            let mut run = Run::new().await;
            run.entry(vec![(1, Some(10)), (2, Some(20)), (3, Some(30))]);
            run.partition().flush().await.unwrap();
            run.entry(vec![(2, None), (4, Some(40))]);
            let partition = run.partition();
            partition.seal(false).await.unwrap();
            let mut held = partition.hold().await;
            run.entry(vec![(5, Some(50)), (1, None)]);
            assert_eq!(held.begin().await.unwrap().index, 3);
            assert_eq!((held.get(&key(1)).unwrap(), held.get(&key(2)).unwrap()), (None, None));
            assert!(held.get(&key(5)).unwrap().is_some() && held.get(&key(3)).unwrap().is_some());
            run.entry(vec![(6, Some(60)), (5, None)]);
            run.entry(vec![(7, Some(70)), (6, None)]);
            let mut steps = held.steps().unwrap();
            assert_eq!(steps.iter().map(|s| s.at.index).collect::<Vec<_>>(), [4, 5]);
            steps.pop();
            let cut = held.settle(steps);
            // The site goes on while the files are copied.
            run.entry(vec![(8, Some(80)), (3, None)]);
            partition.flush().await.unwrap();
            let folder = std::path::PathBuf::from("/backup/p1");
            run.fs.create_dir_all(&folder).unwrap();
            let mut files = vec![];
            for sealed in &cut.files {
                let mut content = vec![0; sealed.bytes as usize];
                sealed.file.read_at(0, &mut content).unwrap();
                let path = folder.join(&sealed.name);
                run.fs.open(&path, Open::Create).unwrap().write_at(0, &content).unwrap();
                files.push(path);
            }
            files.extend(cut.write_tail(&run.fs, &folder).unwrap().map(|name| folder.join(name)));
            let fs: Arc<dyn Fs> = Arc::new(run.fs.clone());
            let (pace, bytes) = (Pace::new(u64::MAX), cut.files.iter().map(|file| file.bytes).sum::<u64>());
            let mut merged = Merged::open(&fs, files, &pace).await.unwrap();
            // All but what frames the files was read for its digest, and counts.
            assert!(bytes > 0 && pace.bytes() > bytes / 2, "{} of {bytes} bytes", pace.bytes());
            let mut keys = vec![];
            loop {
                let rows = merged.rows().unwrap();
                if rows.is_empty() {
                    break;
                }
                keys.extend(rows.into_iter().map(|(key, _)| key));
            }
            assert_eq!((cut.at.index, keys), (4, [3, 4, 6].map(key).to_vec()));
            run.check();
        });
    }
}
