//! Snapshots: all rows of a partition in one sealed file, written while applies go on.
//!
//! They are what a new or damaged replica starts from, and what a backup is made of. A snapshot is tagged twice: every
//! entry up to `before` is in it, and entries up to `after_index` may be. Who starts from one applies the log from
//! `before` on, and serves nothing until it is past `after_index`. Between snapshots, layers of what changed go on top
//! (`layers`), and the log may be cut below the last. Two generations of snapshots are kept with the layers on both: a
//! damaged snapshot costs nothing. Both share the layers behind the newer, so that a damaged layer costs a peer's snapshot
//! where the engine is lost as well (P7).

mod chain;
pub(super) mod file;
mod install;
mod layers;
mod merge;
mod receive;

pub(super) use chain::{Chain, Layer};
pub(super) use install::build;
pub(super) use layers::{joined_tail, list as layers, named_until, sealed_tail};
pub(super) use merge::Merge;
pub use receive::Incoming;

use super::partition::Partition;
use super::{Applied, StoreError};
use crate::ops::metrics as names;
use crate::seam::fs::{Fs, Open, blocking};
use crate::seam::pace::Pace;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};
use tokio::time::Instant;

/// Rows are read in pages of about this many bytes.
const RUN_BYTES: usize = 256 << 10;
/// Rows of one page at most.
const RUN_ROWS: usize = 4096;
/// Generations kept.
const KEPT: usize = 2;

/// A sealed snapshot on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Name within its partition, the same on every node that holds this file.
    pub id: String,
    pub partition: u16,
    /// Every entry up to here is in it.
    pub before: Applied,
    /// Entries up to here may be in it.
    pub after_index: u64,
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
    pub path: PathBuf,
}

/// All keys: no table has the number 255.
pub(super) fn everything() -> std::ops::Range<Bytes> {
    Bytes::new()..Bytes::from_static(&[0xff])
}

pub(super) fn folder(dir: &Path, partition: u16) -> PathBuf {
    dir.join("snapshots").join(format!("p{partition}"))
}

/// A snapshot under the store's folder `dir` that a newer release than this one wrote. Reads only.
pub fn newer(fs: &dyn Fs, dir: &Path) -> std::io::Result<Option<PathBuf>> {
    let all = dir.join("snapshots");
    let partitions = if fs.exists(&all) { fs.list(&all)? } else { vec![] };
    for partition in partitions.iter().filter(|name| name.starts_with('p')) {
        let folder = all.join(partition);
        let sealed = |name: &&String| name.ends_with(".snap") || name.ends_with(".layer");
        for name in fs.list(&folder)?.iter().filter(sealed) {
            let (path, mut start) = (folder.join(name), [0; 8]);
            let file = fs.open(&path, Open::Read)?;
            // One that is too short is damaged, which is found elsewhere.
            if file.len()? >= 8 {
                file.read_at(0, &mut start)?;
            }
            if file::is_newer(&start) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

fn id(before: u64, after: u64) -> String {
    format!("s{before:020}-{after:020}")
}

fn io(e: std::io::Error) -> StoreError {
    StoreError::Io(e.to_string())
}

fn unsynced(e: std::io::Error) -> StoreError {
    StoreError::Unsynced(e.to_string())
}

/// A snapshot being written of rows as they are read. Meanwhile no row counts as fresh: one that comes and goes could be
/// in the snapshot, and the layer on it would not say that it is gone.
struct Walk<'a> {
    partition: &'a Partition,
    before: Applied,
}

impl<'a> Walk<'a> {
    fn begin(partition: &'a Partition) -> Walk<'a> {
        Walk { partition, before: partition.begin_walk() }
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        self.partition.end_walk();
    }
}

/// What a sealed file says of itself.
fn info(fs: &dyn Fs, path: PathBuf) -> Result<SnapshotInfo, StoreError> {
    let reader = file::Reader::open(fs, &path)?;
    if reader.kind != file::Kind::Whole {
        return Err(StoreError::Corrupt("snapshot: a layer".into()));
    }
    Ok(SnapshotInfo {
        id: id(reader.head.before.index, reader.foot.after_index),
        partition: reader.head.partition,
        before: reader.head.before,
        after_index: reader.foot.after_index,
        rows: reader.foot.rows,
        bytes: reader.bytes,
        path,
    })
}

/// Sealed snapshots in a partition's folder, oldest first. Files that do not open are removed: they are of no use to
/// anyone. So are unfinished ones.
pub(super) fn list(fs: &dyn Fs, dir: &Path, partition: u16) -> Vec<SnapshotInfo> {
    let folder = folder(dir, partition);
    let mut found = Vec::new();
    let names = fs.list(&folder).unwrap_or_default();
    for name in names.into_iter().filter(|name| !name.ends_with(".layer")) {
        let path = folder.join(&name);
        let sealed =
            if name.ends_with(".snap") { info(fs, path.clone()) } else { Err(io(std::io::ErrorKind::NotFound.into())) };
        match sealed {
            Ok(info) if info.partition == partition => found.push(info),
            Ok(_) | Err(StoreError::Corrupt(_)) => {
                tracing::error!(event = "store.snapshot_damaged", partition, name);
                let _ = fs.remove_file(&path);
            }
            Err(_) if !name.ends_with(".snap") => {
                let _ = fs.remove_file(&path);
            }
            Err(e) => tracing::error!(event = "store.snapshot_unreadable", partition, name, error = %e),
        }
    }
    found.sort_by_key(|s| (s.before.index, s.after_index));
    found
}

impl Partition {
    /// Sealed snapshots, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.sealed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a snapshot while applies and flushes go on, seals it, and removes generations past the second.
    /// Where nothing was applied since the last one, that one is returned.
    pub async fn snapshot(self: &Arc<Self>) -> Result<SnapshotInfo, StoreError> {
        self.make_snapshot(false).await
    }

    async fn make_snapshot(self: &Arc<Self>, gently: bool) -> Result<SnapshotInfo, StoreError> {
        let _one = self.snapshot_turn.lock().await;
        let started = Instant::now();
        let walk = Walk::begin(self);
        let before = walk.before.clone();
        if let Some(last) = self.snapshots().pop().filter(|s| s.before == before && s.after_index == before.index) {
            return Ok(last);
        }
        let (folder, temporary) = self.temporary("writing");
        self.disk_room(self.snapshots().last().map_or(0, |s| s.bytes)).await?;
        let head = file::Head { partition: self.number, before, ..Default::default() };
        let writer = self.create(file::Kind::Whole, &head, &temporary).await?;
        let written = self.write_all_rows(writer, gently).await;
        let writer = self.or_remove(written, &temporary).await?;
        let after = self.mixed_until();
        drop(walk);
        self.finish_snapshot(writer, after, &folder, &temporary, started).await
    }

    async fn write_all_rows(
        self: &Arc<Self>,
        mut writer: file::Writer,
        gently: bool,
    ) -> Result<file::Writer, StoreError> {
        let mut range = everything();
        loop {
            let (of, at, began) = (self.clone(), range.clone(), Instant::now());
            let (back, next) = blocking(&self.shared.world.fs, move |_| {
                let (rows, next) = of.page(at, RUN_ROWS, RUN_BYTES)?;
                for (key, value) in &rows {
                    writer.row(key, Some(value))?;
                }
                Ok::<_, StoreError>((writer, next))
            })
            .await?;
            writer = back;
            match next {
                Some(next) => range.start = next,
                None => return Ok(writer),
            }
            if gently {
                self.rest(began.elapsed()).await;
            }
            // In a simulation nothing else would run meanwhile.
            tokio::task::yield_now().await;
        }
    }

    /// Seals a file of all rows, takes it into the list, and removes what is too old then.
    async fn finish_snapshot(
        self: &Arc<Self>,
        writer: file::Writer,
        after: u64,
        folder: &Path,
        temporary: &Path,
        started: Instant,
    ) -> Result<SnapshotInfo, StoreError> {
        let (to, from) = (folder.to_path_buf(), temporary.to_path_buf());
        let sealed = blocking(&self.shared.world.fs, move |fs| {
            writer.finish(after)?;
            seal(fs, &from, &to)
        })
        .await;
        let info = self.or_remove(sealed, temporary).await?;
        self.take_in(info.clone()).await;
        metrics::histogram!(names::SNAPSHOT_DURATION).record(started.elapsed());
        tracing::info!(
            event = "store.snapshot",
            partition = self.number,
            index = info.before.index,
            rows = info.rows,
            bytes = info.bytes,
            duration_ms = started.elapsed().as_millis() as u64
        );
        Ok(info)
    }

    /// Takes a sealed file into the list and removes what is past the second generation, and layers that nobody needs.
    async fn take_in(&self, info: SnapshotInfo) {
        let old: Vec<SnapshotInfo> = {
            let mut sealed = self.sealed.write().unwrap_or_else(PoisonError::into_inner);
            sealed.retain(|s| s.id != info.id);
            sealed.push(info);
            sealed.sort_by_key(|s| (s.before.index, s.after_index));
            let excess = sealed.len().saturating_sub(KEPT);
            sealed.drain(..excess).collect()
        };
        blocking(&self.shared.world.fs, move |fs| {
            for info in old {
                // A file left behind is found and removed as an old generation after the next start.
                let _ = fs.remove_file(&info.path);
            }
        })
        .await;
        self.drop_layers().await;
    }

    /// Reads a sealed file whole, at `pace`, and compares its digest. One that is damaged is removed: the other
    /// generation, or a peer, has what was in it, and a new one is to be sealed. An error that is not `Corrupt` says
    /// nothing of the file, which may have been removed as too old.
    pub async fn verify_snapshot(self: &Arc<Self>, info: &SnapshotInfo, pace: &Pace) -> Result<(), StoreError> {
        let checked = self.check_file(info.path.clone(), pace).await;
        if let Err(StoreError::Corrupt(what)) = &checked {
            self.forget_file(&info.path, what).await;
        }
        checked
    }

    async fn check_file(&self, path: PathBuf, pace: &Pace) -> Result<(), StoreError> {
        let fs = &self.shared.world.fs;
        let mut check = blocking(fs, move |fs| file::Reader::open(fs, &path).map(|reader| reader.check())).await?;
        loop {
            let (back, bytes) = blocking(fs, move |_| check.step().map(|bytes| (check, bytes))).await?;
            check = back;
            if bytes == 0 {
                return Ok(());
            }
            pace.spent(bytes).await;
        }
    }

    /// Up to `max` bytes of a sealed file, for sending it on. Fewer only at its end; an error once it was removed.
    pub async fn read_snapshot_piece(&self, id: &str, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        let info = self.snapshots().into_iter().find(|s| s.id == id);
        let info = info.ok_or_else(|| StoreError::Io("no such snapshot".into()))?;
        blocking(&self.shared.world.fs, move |fs| {
            let len = info.bytes.saturating_sub(offset).min(max as u64) as usize;
            let mut out = vec![0; len];
            fs.open(&info.path, Open::Read).and_then(|f| f.read_at(offset, &mut out)).map_err(io)?;
            Ok(out.into())
        })
        .await
    }

    /// A digest of all rows, and the index it belongs to: equal on all replicas at the same index. Starts again where
    /// applies went on meanwhile, so ask when the partition is quiet; `None` where it never was.
    pub async fn hash(self: &Arc<Self>) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            let index = self.applied().index;
            let mut digest = Context::new(&SHA256);
            let mut range = everything();
            loop {
                let (of, at) = (self.clone(), range.clone());
                let (rows, next) = self.work(move || of.page(at, RUN_ROWS, RUN_BYTES)).await?;
                for (key, value) in rows {
                    digest.update(&(key.len() as u32).to_le_bytes());
                    digest.update(&key);
                    digest.update(&(value.len() as u32).to_le_bytes());
                    digest.update(&value);
                }
                match next {
                    Some(next) => range.start = next,
                    None => break,
                }
            }
            if self.applied().index == index && self.servable() {
                let mut out = [0; 32];
                out.copy_from_slice(digest.finish().as_ref());
                return Ok(Some((index, out)));
            }
        }
        Ok(None)
    }
}

/// Gives a finished and synced file its lasting name.
pub(super) fn seal(fs: &dyn Fs, temporary: &Path, folder: &Path) -> Result<SnapshotInfo, StoreError> {
    let mut info = info(fs, temporary.to_path_buf())?;
    info.path = folder.join(format!("{}.snap", info.id));
    seal_as(fs, temporary, &info.path)?;
    Ok(info)
}

fn seal_as(fs: &dyn Fs, temporary: &Path, path: &Path) -> Result<(), StoreError> {
    fs.rename(temporary, path).map_err(io)?;
    let Some(folder) = path.parent() else { return Ok(()) };
    fs.sync_dir(folder).map_err(unsynced)?;
    if let Some(parent) = folder.parent() {
        fs.sync_dir(parent).map_err(unsynced)?;
        if let Some(above) = parent.parent() {
            fs.sync_dir(above).map_err(unsynced)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod tests;
