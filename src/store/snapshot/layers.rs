//! Layers between snapshots: each flush seals what it takes out of memory, so the log may be cut after a flush however
//! long the last whole snapshot is (P6). Neighbours of like length become one; once the layers on a snapshot are as long
//! as it is, files alone make the next.

use super::chain::{Chain, Layer, alike, reach_over};
use super::file::{Head, Kind, Reader, Writer};
use super::merge::{Bad, Merge};
use super::{KEPT, SnapshotInfo, folder, io, seal_as};
use crate::ops::metrics as names;
use crate::seam::fs::{Fs, blocking};
use crate::seam::pace::Pace;
use crate::store::memory::Table;
use crate::store::{Applied, StoreError, partition::Partition};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tokio::time::Instant;

/// Bytes of a layer that are written between two rests.
const PIECE: u64 = 1 << 20;

/// Layers that are read at once to be made one: a run of each is in memory.
const JOINED: usize = 16;

fn name(from: u64, to: u64) -> String {
    format!("d{from:020}-{to:020}.layer")
}

/// Up to which entry the files in a partition's folder hold rows, by their names: one that cannot be read now may be read
/// at the next start.
pub(in crate::store) fn named_until(fs: &dyn Fs, dir: &Path, partition: u16) -> u64 {
    let names = fs.list(&folder(dir, partition)).unwrap_or_default();
    let end = |name: &String| name.split_once('.')?.0.rsplit_once('-')?.1.parse().ok();
    names.iter().filter(|name| name.ends_with(".snap") || name.ends_with(".layer")).filter_map(end).max().unwrap_or(0)
}

/// What a sealed layer says of itself, and its partition.
fn layer(fs: &dyn Fs, path: PathBuf) -> Result<(u16, Layer), StoreError> {
    let reader = Reader::open(fs, &path)?;
    if reader.kind != Kind::Layer {
        return Err(StoreError::Corrupt("layer: a whole snapshot".into()));
    }
    let layer = Layer { from: reader.head.from, to: reader.head.before, bytes: reader.bytes, path };
    Ok((reader.head.partition, layer))
}

/// Sealed layers in a partition's folder, in the order of their ends. What does not open is removed, and what a longer
/// one holds too: a crash came between its sealing and their removal.
pub(in crate::store) fn list(fs: &dyn Fs, dir: &Path, partition: u16) -> Vec<Layer> {
    let folder = folder(dir, partition);
    let mut found = Vec::new();
    for name in fs.list(&folder).unwrap_or_default().iter().filter(|name| name.ends_with(".layer")) {
        let path = folder.join(name);
        match layer(fs, path.clone()) {
            Ok((of, layer)) if of == partition => found.push(layer),
            Ok(_) | Err(StoreError::Corrupt(_)) => {
                tracing::error!(event = "store.layer_damaged", partition, name);
                let _ = fs.remove_file(&path);
            }
            Err(e) => tracing::error!(event = "store.layer_unreadable", partition, name, error = %e),
        }
    }
    found.sort_by_key(|layer| (layer.to.index, layer.from));
    let all = found.clone();
    found.retain(|a| {
        let within = |b: &Layer| b.path != a.path && b.from <= a.from && b.to.index >= a.to.index;
        let spare = all.iter().any(within);
        if spare {
            let _ = fs.remove_file(&a.path);
        }
        !spare
    });
    found
}

/// Writes rows that changed behind entry `from`, up to the place they are of, as a layer into any folder. Returns its name.
pub(in crate::store) fn sealed_tail(
    fs: &dyn Fs,
    folder: &Path,
    partition: u16,
    (from, to): (u64, &Applied),
    rows: &std::collections::BTreeMap<Bytes, Option<Bytes>>,
) -> Result<String, StoreError> {
    let name = name(from, to.index);
    let head = Head { partition, before: to.clone(), from, ..Default::default() };
    let mut writer = Writer::create(fs, &folder.join(&name), Kind::Layer, &head)?;
    for (key, value) in rows {
        writer.row(key, value.as_deref())?;
    }
    writer.finish(to.index)?;
    Ok(name)
}

/// Makes layers that follow each other one, in the place of them: it begins behind `from` and ends where the last of them does.
pub(in crate::store) fn joined_tail(
    fs: &dyn Fs,
    folder: &Path,
    partition: u16,
    (from, to): (u64, &Applied),
    files: Vec<PathBuf>,
) -> Result<String, StoreError> {
    let name = name(from, to.index);
    let head = Head { partition, before: to.clone(), from, ..Default::default() };
    let mut merge = Merge::open(fs, files.clone(), false).map_err(|(_, e)| e)?;
    let mut writer = Writer::create(fs, &folder.join(&name), Kind::Layer, &head)?;
    loop {
        let rows = merge.rows().map_err(|(_, e)| e)?;
        if rows.is_empty() {
            break;
        }
        for (key, value) in rows {
            writer.row(&key, value.as_deref())?;
        }
    }
    writer.finish(to.index)?;
    for path in files {
        fs.remove_file(&path).map_err(io)?;
    }
    Ok(name)
}

impl Partition {
    fn layers(&self) -> Vec<Layer> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest chain of files that rows at rest have reached as well.
    fn chain(&self) -> Chain {
        Chain::new(self.snapshots().pop(), &self.layers(), self.durable().index)
    }

    /// As [`Partition::chain`], with how far the rows at rest are. Who asks has both turns.
    pub(in crate::store) fn chain_at_rest(&self) -> (Chain, u64) {
        (self.chain(), self.durable().index)
    }

    /// All that files hold, for who has lost the rows.
    pub(super) fn whole_chain(&self) -> Chain {
        Chain::new(self.snapshots().pop(), &self.layers(), u64::MAX)
    }

    /// The newest state that files hold and rows at rest have reached, as a snapshot. [`Partition::whole`] makes its file.
    pub fn newest(&self) -> Option<SnapshotInfo> {
        self.chain().info(self.number, &folder(&self.shared.dir, self.number))
    }

    /// The index up to which the log is not needed any more: what is held by files of two generations of snapshots, the
    /// beginning of all things being one as long as there are layers from there.
    pub fn log_floor(&self) -> u64 {
        let (sealed, layers, durable) = (self.snapshots(), self.layers(), self.durable().index);
        let reach = |base: Option<SnapshotInfo>| Chain::new(base, &layers, durable).reach();
        let beginning = (sealed.len() < KEPT).then(|| reach(None));
        sealed.into_iter().map(|base| reach(Some(base))).chain(beginning).min().unwrap_or(0)
    }

    /// Bytes of all sealed files.
    pub fn sealed_bytes(&self) -> u64 {
        let layers: u64 = self.layers().iter().map(|layer| layer.bytes).sum();
        self.snapshots().iter().map(|info| info.bytes).sum::<u64>() + layers
    }

    /// Flushes, which seals a layer, and makes a snapshot where the layers are as long as the last or the chain does not
    /// reach the rows. Returns the newest state.
    pub async fn seal(self: &Arc<Self>, gently: bool) -> Result<SnapshotInfo, StoreError> {
        let _hurry = (!gently).then(|| self.hurry());
        let durable = if gently { self.flush_gently().await? } else { self.flush().await? };
        let chain = self.chain();
        let newest = match self.newest() {
            Some(newest) if chain.reach() >= durable.index => newest,
            _ => return self.make_snapshot(gently).await,
        };
        let long = chain
            .base
            .as_ref()
            .is_none_or(|base| chain.layer_bytes() >= base.bytes.max(self.shared.options.snapshot_log_bytes));
        if long && !chain.layers.is_empty() { self.whole_from(&newest, gently).await } else { Ok(newest) }
    }

    /// Dies between sealing a layer and telling the rows at rest.
    #[cfg(test)]
    pub(in crate::store) async fn seal_only(self: &Arc<Self>) {
        if let Some(frozen) = self.freeze() {
            self.seal_layer(&frozen, false).await.unwrap();
        }
    }

    /// Seals what a flush takes out of memory. Done before the rows at rest say that they have it: so whatever they have
    /// is in files. Nothing is written where files hold it already, or where a gap before it makes it useless.
    pub(in crate::store) async fn seal_layer(
        self: &Arc<Self>,
        frozen: &Arc<(Table, Applied)>,
        gently: bool,
    ) -> Result<(), StoreError> {
        let (from, to) = (self.durable().index, frozen.1.clone());
        let layers = self.layers();
        let reach = |base| Chain::new(base, &layers, u64::MAX).reach();
        let mut reached: Vec<u64> = self.snapshots().into_iter().map(|base| reach(Some(base))).collect();
        // A snapshot that is being written will hold every entry up to where it began, and the layers since go on from there.
        reached.extend(self.walking().map(|began| reach_over(began, &layers)));
        reached.push(reach(None));
        if reached.iter().all(|at| *at < from) || layers.iter().any(|l| l.from <= from && l.to.index >= to.index) {
            return Ok(());
        }
        let head = Head { partition: self.number, before: to.clone(), from, ..Default::default() };
        let (folder, temporary) = self.temporary("layer-writing");
        let mut writer = self.create(Kind::Layer, &head, &temporary).await?;
        let mut at = Some(Bytes::new());
        while let Some(start) = at {
            let (frozen, began) = (frozen.clone(), Instant::now());
            let written = blocking(&self.shared.world.fs, move |_| write_piece(writer, &frozen.0, &start)).await;
            (writer, at) = self.or_remove(written, &temporary).await?;
            if gently {
                self.rest(began.elapsed()).await;
            }
            // In a simulation nothing else would run meanwhile.
            tokio::task::yield_now().await;
        }
        let sealed = self.seal_writer(writer, to.index, &temporary, folder.join(name(from, to.index))).await?;
        self.layers.write().unwrap_or_else(PoisonError::into_inner).push(sealed);
        Ok(())
    }

    async fn seal_writer(
        &self,
        writer: Writer,
        after: u64,
        temporary: &Path,
        path: PathBuf,
    ) -> Result<Layer, StoreError> {
        let from = temporary.to_path_buf();
        let sealed = blocking(&self.shared.world.fs, move |fs| {
            writer.finish(after)?;
            seal_as(fs, &from, &path)?;
            layer(fs, path)
        })
        .await;
        self.or_remove(sealed, temporary).await.map(|(_, layer)| layer)
    }

    /// Makes one layer of neighbours of like length, if nobody is reading them.
    pub(in crate::store) async fn join_layers(self: &Arc<Self>, gently: bool) -> Result<(), StoreError> {
        let Ok(_one) = self.snapshot_turn.try_lock() else { return Ok(()) };
        loop {
            let (layers, durable) = (self.layers(), self.durable().index);
            // Those that a snapshot holds are left alone: they go once it is the older of two.
            let held = self.snapshots().last().map_or(0, |base| base.before.index);
            let settled = |layer: &Layer| layer.to.index <= durable && layer.to.index > held;
            let settled: Vec<Layer> = layers.into_iter().filter(settled).collect();
            let old = &settled[settled.len() - alike(&settled).min(settled.len()).min(JOINED)..];
            if !self.join(old, gently).await? {
                return Ok(());
            }
        }
    }

    /// Makes one layer of several that meet; false where they are not such. Who asks has the turn of the snapshots.
    async fn join(self: &Arc<Self>, old: &[Layer], gently: bool) -> Result<bool, StoreError> {
        let ([first, .., last], true) = (old, old.windows(2).all(|w| w[1].from <= w[0].to.index)) else {
            return Ok(false);
        };
        self.disk_room(old.iter().map(|layer| layer.bytes).sum()).await?;
        let from = old.iter().map(|layer| layer.from).min().unwrap_or(first.from);
        let head = Head { partition: self.number, before: last.to.clone(), from, ..Default::default() };
        let (folder, temporary) = self.temporary("layer-joining");
        let files = old.iter().map(|layer| layer.path.clone()).collect();
        let writer = self.write_merged(Kind::Layer, &head, files, &temporary, gently).await?;
        let after = last.to.index;
        let joined = self.seal_writer(writer, after, &temporary, folder.join(name(from, after))).await?;
        self.exchange_layers(old.to_vec(), Some(joined)).await;
        Ok(true)
    }

    /// As [`Partition::join_layers`], gently; a failure costs nothing, for there will be another try, but where a sync failed.
    pub(in crate::store) async fn join_in_background(self: Arc<Self>) {
        match self.join_layers(true).await {
            Err(StoreError::Unsynced(what)) => self.shared.damaged(self.number, &what),
            Err(e) => tracing::warn!(event = "store.layers_not_joined", partition = self.number, error = %e),
            Ok(()) => {}
        }
    }

    /// The file of a state that [`Partition::newest`] told: made of the chain's files where there is none. An error once
    /// they were joined past it; then there is a newer state.
    pub async fn whole(self: &Arc<Self>, info: &SnapshotInfo) -> Result<SnapshotInfo, StoreError> {
        self.whole_from(info, false).await
    }

    async fn whole_from(self: &Arc<Self>, info: &SnapshotInfo, gently: bool) -> Result<SnapshotInfo, StoreError> {
        let _one = self.snapshot_turn.lock().await;
        if let Some(found) = self.snapshots().into_iter().find(|sealed| sealed.id == info.id) {
            return Ok(found);
        }
        let started = Instant::now();
        let chain = loop {
            let chain = Chain::new(self.snapshots().pop(), &self.layers(), info.before.index);
            // Each file that is read at once takes memory.
            let few = chain.layers.len() <= JOINED;
            if few || !self.join(&chain.layers[chain.layers.len() - JOINED..], gently).await? {
                break chain;
            }
        };
        let (folder, temporary) = self.temporary("writing");
        let made = chain.info(self.number, &folder).filter(|made| made.id == info.id);
        let made = made.ok_or_else(|| StoreError::Io("no such snapshot".into()))?;
        self.disk_room(chain.bytes()).await?;
        let head = Head { partition: self.number, before: made.before.clone(), ..Default::default() };
        let writer = self.write_merged(Kind::Whole, &head, chain.files(), &temporary, gently).await?;
        self.finish_snapshot(writer, made.after_index, &folder, &temporary, started).await
    }

    /// Writes the rows of several files into one, which is still to be finished.
    async fn write_merged(
        self: &Arc<Self>,
        kind: Kind,
        head: &Head,
        files: Vec<PathBuf>,
        temporary: &Path,
        gently: bool,
    ) -> Result<Writer, StoreError> {
        let opened = blocking(&self.shared.world.fs, move |fs| Merge::open(fs, files, false)).await;
        let mut merge = self.whole_or_forgotten(opened).await?;
        let mut writer = self.create(kind, head, temporary).await?;
        loop {
            let began = Instant::now();
            let written = blocking(&self.shared.world.fs, move |_| {
                let rows = merge.rows()?;
                let more = !rows.is_empty();
                for (key, value) in &rows {
                    writer.row(key, value.as_deref()).map_err(|e| (PathBuf::new(), e))?;
                }
                Ok((merge, writer, more))
            })
            .await;
            let written = self.whole_or_forgotten(written).await;
            let more;
            (merge, writer, more) = self.or_remove(written, temporary).await?;
            if !more {
                return Ok(writer);
            }
            if gently {
                self.rest(began.elapsed()).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Passes on what was read; a file that turned out damaged is forgotten, and the next seal makes up for it.
    pub(super) async fn whole_or_forgotten<T>(&self, read: Result<T, Bad>) -> Result<T, StoreError> {
        match read {
            Ok(value) => Ok(value),
            Err((path, e)) => {
                if let StoreError::Corrupt(what) = &e {
                    self.forget_file(&path, what).await;
                }
                Err(e)
            }
        }
    }

    /// Does without a sealed file that cannot be read now, and leaves it for the next start.
    pub(super) fn pass_over(&self, path: &Path, why: &StoreError) {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        tracing::error!(event = "store.snapshot_unreadable", partition = self.number, file, error = %why);
        self.remember_named();
        self.sealed.write().unwrap_or_else(PoisonError::into_inner).retain(|info| info.path != path);
        self.layers.write().unwrap_or_else(PoisonError::into_inner).retain(|layer| layer.path != path);
    }

    /// Removes a sealed file that turned out damaged.
    pub(super) async fn forget_file(&self, path: &Path, what: &str) {
        metrics::counter!(names::STORE_CHECKSUM_FAILURES).increment(1);
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        tracing::error!(event = "store.snapshot_damaged", partition = self.number, file, what);
        self.sealed.write().unwrap_or_else(PoisonError::into_inner).retain(|info| info.path != path);
        self.layers.write().unwrap_or_else(PoisonError::into_inner).retain(|layer| layer.path != path);
        let path = path.to_path_buf();
        blocking(&self.shared.world.fs, move |fs| drop(fs.remove_file(&path))).await;
    }

    /// Takes `old` layers out of the list and off the disk, and `new` in, which may have taken the file of one of them.
    async fn exchange_layers(&self, mut old: Vec<Layer>, new: Option<Layer>) {
        {
            let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
            layers.retain(|layer| !old.contains(layer));
            old.retain(|layer| new.as_ref().is_none_or(|new| new.path != layer.path));
            layers.extend(new);
            layers.sort_by_key(|layer| (layer.to.index, layer.from));
        }
        blocking(&self.shared.world.fs, move |fs| {
            for layer in old {
                // A file left behind is found to be spare after the next start.
                let _ = fs.remove_file(&layer.path);
            }
        })
        .await;
    }

    /// Removes layers that hold what entries behind `index` changed: those rows are given up.
    pub(super) async fn drop_layers_behind(&self, index: u64) {
        let old: Vec<Layer> = self.layers().into_iter().filter(|layer| layer.to.index > index).collect();
        self.exchange_layers(old, None).await;
    }

    /// Removes layers that the oldest kept snapshot holds.
    pub(super) async fn drop_layers(&self) {
        let sealed = self.snapshots();
        if sealed.len() < KEPT {
            return;
        }
        let held = sealed[0].before.index;
        let old: Vec<Layer> = self.layers().into_iter().filter(|layer| layer.to.index <= held).collect();
        if !old.is_empty() {
            self.exchange_layers(old, None).await;
        }
    }

    /// Reads every layer whole, at `pace`, and returns how many were damaged. Those are removed; the next seal makes a
    /// snapshot of the rows instead.
    pub async fn verify_layers(self: &Arc<Self>, pace: &Pace) -> usize {
        let mut damaged = 0;
        for layer in self.layers() {
            if let Err(StoreError::Corrupt(what)) = self.check_file(layer.path.clone(), pace).await {
                damaged += 1;
                self.forget_file(&layer.path, &what).await;
            }
        }
        damaged
    }

    pub(super) fn temporary(&self, name: &str) -> (PathBuf, PathBuf) {
        let folder = folder(&self.shared.dir, self.number);
        let temporary = folder.join(name);
        (folder, temporary)
    }

    /// Begins a file in the partition's folder; what an earlier try left there is removed.
    pub(super) async fn create(&self, kind: Kind, head: &Head, path: &Path) -> Result<Writer, StoreError> {
        let (head, path) = (head.clone(), path.to_path_buf());
        let made = blocking(&self.shared.world.fs, {
            let path = path.clone();
            move |fs| {
                if let Some(folder) = path.parent() {
                    fs.create_dir_all(folder).map_err(io)?;
                }
                let _ = fs.remove_file(&path);
                Writer::create(fs, &path, kind, &head)
            }
        })
        .await;
        self.or_remove(made, &path).await
    }

    /// What a full disk kept from its end must not keep the disk full.
    pub(super) async fn or_remove<T>(&self, made: Result<T, StoreError>, temporary: &Path) -> Result<T, StoreError> {
        if made.is_err() {
            let path = temporary.to_path_buf();
            let _ = blocking(&self.shared.world.fs, move |fs| fs.remove_file(&path)).await;
        }
        made
    }
}

/// Writes rows of a table from `start` on, and returns where to go on.
fn write_piece(mut writer: Writer, table: &Table, start: &[u8]) -> Result<(Writer, Option<Bytes>), StoreError> {
    let mut bytes = 0;
    for (key, value) in table.lent(start, None) {
        if bytes >= PIECE {
            return Ok((writer, Some(Bytes::copy_from_slice(key))));
        }
        bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        writer.row(key, value)?;
    }
    Ok((writer, None))
}
