//! Making a backup: a cut through all partitions of this node's own store, its files copied while the site goes on, the
//! bodies that its rows name, and the manifest; then the folder gets its name.
//!
//! Nobody is held up: which entries belong to it is found in a journal of what is applied meanwhile, and what the disk reads
//! and writes is bounded per second. What this node's rows lack of the others' is not in it: it is at least what was
//! acknowledged before it began, because the cut begins behind a fence in every partition.

use super::{
    BackupError,
    copy::{self, copy},
    desk::Progress,
    locked::{Lock, SUFFIX, unlocked},
    manifest::{self, BackupPart, FORMAT, Manifest, PLAIN_FORMAT, part_folder},
    survey::survey,
};
use crate::{
    engine::{
        Fence, PartitionId, PartitionMap,
        cut::{Line, Standing, fit},
    },
    node::{Node, identity::read_trail_authorities, rooms::Rooms, signer::NodeSigner},
    ops::recorder::VERSION,
    seam::{
        fs::{File, Fs, Open, blocking},
        pace::Pace,
    },
    store::{
        blobs::BlobId,
        cut::{Cut, Held},
    },
    wire::age::{Identity, Recipient},
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Searches for a cut, each from the beginning.
const TRIES: usize = 3;
/// How long one may take: followers hear within a heartbeat what was committed.
const SEARCH: Duration = Duration::from_secs(3);
/// Between two looks at what was applied.
const LOOK: Duration = Duration::from_millis(5);
/// What a folder is called while it is written: no `list` shows it.
const UNFINISHED: &str = ".unfinished-";

/// Where a node writes what comes behind the sealed files, before it is encrypted: below its data, where it is at home.
const TAIL: &str = "backing-up";

/// What is asked for.
pub struct Wish {
    pub dir: PathBuf,
    /// Bytes a second.
    pub rate: u64,
    /// None: not encrypted.
    pub recipients: Vec<Recipient>,
    /// How many of this node's backups stay in the folder. None: all.
    pub keep: Option<usize>,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub path: PathBuf,
    pub made: u64,
    pub bytes: u64,
    pub files: usize,
    pub rows: u64,
    /// Bodies that rows name and no node had whole: they are not in it.
    pub absent: usize,
    /// Entries by which partitions had to go on until they fitted.
    pub fitted: usize,
    /// Whom it is encrypted for.
    pub recipients: Vec<String>,
    /// Older ones that were removed.
    pub removed: Vec<PathBuf>,
}

/// Makes a backup.
pub async fn create(node: &Arc<Node>, wish: &Wish, progress: &Progress) -> Result<Made, BackupError> {
    let dir = wish.dir.as_path();
    let rooms = node.rooms.get().ok_or_else(|| BackupError::NoCut("the node is still starting".into()))?;
    let made = node.world.clock.now().0;
    let name = name(&node.settings.site_name, made);
    let own = own(&rooms.identity.cluster, node.settings.node.number);
    let (path, folder) = (dir.join(&name), dir.join(format!("{own}{name}")));
    let (at, parent) = (folder.clone(), dir.to_owned());
    let begun = blocking(&node.world.fs, move |fs| {
        clear(fs, &parent, &own)?;
        fs.create_dir_all(&at)?;
        // All that the site knows will lie in there: nobody else may look.
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o700))
    });
    begun.await.map_err(BackupError::io(&folder))?;
    let maker = Maker::new(node, rooms, folder.clone(), wish, progress);
    let written = maker.write(made).await;
    let (from, to) = (folder, path.clone());
    let (parent, failed) = (dir.to_owned(), written.is_err());
    let named = blocking(&node.world.fs, move |fs| match failed {
        true => fs.remove_dir_all(&from),
        false => fs.rename(&from, &to).and_then(|()| fs.sync_dir(&parent)),
    });
    let named = named.await;
    let (manifest, fitted) = written?;
    named.map_err(BackupError::io(&path))?;
    let rows = manifest.parts.iter().map(|part| part.rows).sum();
    let (files, absent) = (manifest.files().count() + 1, manifest.absent.len());
    let (bytes, recipients) = (manifest.bytes(), manifest.recipients);
    Ok(Made { path, made, bytes, files, rows, absent, fitted, recipients, removed: vec![] })
}

/// How the names of this node's unfinished folders begin: others may write into the same folder.
pub fn own(cluster: &str, node: u16) -> String {
    let cluster: String = cluster.chars().take(8).collect();
    format!("{UNFINISHED}{cluster}-{node}-")
}

/// Removes what this node began and never finished: it makes one at a time.
fn clear(fs: &dyn Fs, dir: &Path, own: &str) -> std::io::Result<()> {
    let names = if fs.exists(dir) { fs.list(dir)? } else { vec![] };
    for name in names.iter().filter(|name| name.starts_with(own)) {
        tracing::info!(event = "backup.unfinished_removed", name, "a backup that was interrupted is removed");
        fs.remove_dir_all(&dir.join(name))?;
    }
    Ok(())
}

/// A folder's name: letters, digits and hyphens of the site's, and the moment.
fn name(site: &str, made: u64) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let site: String = site.chars().take(40).map(plain).collect();
    let moment = jiff::Timestamp::from_millisecond(made as i64).unwrap_or_default();
    format!("{}-{}", site.to_lowercase(), moment.strftime("%Y%m%dT%H%M%S%3fZ"))
}

struct Maker<'a> {
    node: &'a Arc<Node>,
    rooms: &'a Rooms,
    folder: PathBuf,
    pace: Pace,
    progress: &'a Progress,
    map: PartitionMap,
    /// Whom bodies are written for, and files of rows: these for a key of the moment, too, so that they can be read back from
    /// the disk. It is forgotten with the rest of this.
    lock: Option<[Lock; 2]>,
    reading: Arc<dyn Fs>,
}

impl<'a> Maker<'a> {
    fn new(node: &'a Arc<Node>, rooms: &'a Rooms, folder: PathBuf, wish: &Wish, progress: &'a Progress) -> Maker<'a> {
        let (fs, rng) = (&node.world.fs, &node.world.rng);
        let (mut lock, mut reading) = (None, fs.clone());
        if !wish.recipients.is_empty() {
            let own = Identity::new(&mut |out| rng.fill(out));
            let rows = wish.recipients.iter().copied().chain([own.public()]).collect();
            lock = Some([wish.recipients.clone(), rows].map(|recipients| Lock { recipients, rng: rng.clone() }));
            reading = unlocked(fs, vec![own]);
        }
        Maker { node, rooms, folder, pace: Pace::new(wish.rate), progress, map: rooms.engine.map(), lock, reading }
    }

    fn suffix(&self) -> &'static str {
        if self.lock.is_some() { SUFFIX } else { "" }
    }

    /// For files of rows.
    fn rows_lock(&self) -> Option<&Lock> {
        self.lock.as_ref().map(|[_, rows]| rows)
    }

    async fn write(&self, made: u64) -> Result<(Manifest, usize), BackupError> {
        self.progress.phase("sealing");
        let (cuts, fitted) = self.cut().await?;
        let bytes: u64 = cuts.iter().flat_map(|cut| &cut.files).map(|file| file.bytes).sum();
        self.room(bytes).await?;
        self.progress.more(bytes);
        self.progress.phase("copying rows");
        let (mut parts, mut standings, mut bodies) = (vec![], vec![], BTreeSet::new());
        for cut in cuts {
            let (part, standing) = self.part(cut, &mut bodies).await?;
            parts.push(part);
            standings.push(standing);
        }
        // As the files tell it, not as the search had it.
        if let Some(misfit) = crate::engine::cut::misfit(standings.iter()) {
            return Err(misfit.into());
        }
        self.progress.phase("copying bodies");
        let (bodies, absent) = self.bodies(bodies).await?;
        let settings = &self.node.settings;
        let read = |path: &Path| std::fs::read(path).map_err(BackupError::io(path));
        let (cert, key) = (read(&settings.peer.cert)?, read(&settings.peer.key)?);
        let past = read_trail_authorities(settings).map_err(BackupError::io(&settings.peer.ca))?;
        let signer = NodeSigner::new(&cert, &key).map_err(|e| BackupError::Unsigned(e.to_string()))?;
        let manifest = Manifest {
            format: if self.lock.is_some() { FORMAT } else { PLAIN_FORMAT },
            recipients: self.lock.iter().flat_map(|[all, _]| &all.recipients).map(ToString::to_string).collect(),
            cluster: self.rooms.identity.cluster.clone(),
            site: settings.site_name.clone(),
            node: settings.node.number,
            release: VERSION.into(),
            made,
            parts,
            bodies,
            absent,
            ca: format!("{}\n{past}", String::from_utf8_lossy(&read(&settings.peer.ca)?).trim_end()),
            ..Default::default()
        };
        self.seal(manifest.sealed(&signer)?).await?;
        Ok((manifest, fitted))
    }

    /// Refuses to write more than the disk has beside what is to be left free.
    async fn room(&self, bytes: u64) -> Result<(), BackupError> {
        let (at, wanted) = (self.folder.clone(), bytes.saturating_add(self.node.settings.storage.disk_reserve));
        let space = blocking(&self.node.world.fs, move |fs| fs.space(&at)).await;
        match space.map_err(BackupError::io(&self.folder))? {
            (free, _) if free < wanted => {
                let path = self.folder.parent().unwrap_or(&self.folder).to_owned();
                Err(BackupError::NoRoom { path, free, wanted })
            }
            _ => Ok(()),
        }
    }

    /// Places that fit each other, in all partitions.
    async fn cut(&self) -> Result<(Vec<Cut>, usize), BackupError> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.search().await {
                Err(e @ BackupError::NoCut(_)) => last = Some(e),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| BackupError::NoCut("it was not tried".into())))
    }

    async fn search(&self) -> Result<(Vec<Cut>, usize), BackupError> {
        let no = |e: &dyn std::fmt::Display| BackupError::NoCut(e.to_string());
        let of = |p: PartitionId| self.rooms.store.partition(p.0).map_err(BackupError::rows(p.0));
        let all = self.map.all().map(of).collect::<Result<Vec<_>, _>>()?;
        for rows in &all {
            // Gently: what is left for the time in which flushes are held off is little then.
            rows.seal(true).await.map_err(|e| no(&e))?;
        }
        for partition in self.map.all() {
            // Everything that was acknowledged before is applied here.
            self.rooms.engine.view(partition, Fence::Linearizable).await.map_err(|e| no(&e))?;
        }
        for rows in &all {
            // A snapshot that is under way is waited for while nothing is held.
            drop(rows.hold().await);
        }
        let deadline = Instant::now() + SEARCH;
        let late = |_| BackupError::NoCut("a partition could not be held in time".into());
        let mut held: Vec<Held> = vec![];
        for rows in &all {
            held.push(timeout_at(deadline, rows.hold()).await.map_err(late)?);
        }
        for one in &mut held {
            timeout_at(deadline, one.begin()).await.map_err(late)?.map_err(|e| no(&e))?;
        }
        let read = |one: &Held| Standing::read(self.map, |key| one.get(key)).map(Line::at);
        let mut lines = held.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(|e| no(&e))?;
        while let Some(misfit) = fit(&mut lines).map_err(|e| no(&e))? {
            if Instant::now() >= deadline {
                return Err(no(&misfit));
            }
            tokio::time::sleep(LOOK).await;
            for (line, one) in lines.iter_mut().zip(&held) {
                line.waiting.extend(one.steps().map_err(|e| no(&e))?);
            }
        }
        let fitted = lines.iter().map(|line| line.steps.len()).sum();
        let settled = held.into_iter().zip(lines).map(|(one, line)| one.settle(line.steps));
        Ok((settled.collect(), fitted))
    }

    /// Copies a partition's files, then reads them back from the backup.
    async fn part(&self, cut: Cut, bodies: &mut BTreeSet<BlobId>) -> Result<(BackupPart, Standing), BackupError> {
        let (fs, partition, at) = (&self.node.world.fs, cut.partition, cut.at.clone());
        let within = part_folder(partition);
        let mut files = vec![];
        for sealed in &cut.files {
            let name = format!("{within}/{}{}", sealed.name, self.suffix());
            let from = (sealed.file.clone(), sealed.bytes);
            files.push(copy(fs, from, (&self.folder, &name), self.rows_lock(), &self.pace).await?);
            self.progress.done(sealed.bytes);
        }
        let folder = self.folder.join(&within);
        files.extend(self.tail(cut, &within).await?);
        blocking(fs, move |fs| fs.sync_dir(&folder)).await.map_err(BackupError::io(&self.folder))?;
        let paths = files.iter().map(|file| self.folder.join(&file.name)).collect();
        let found = survey(&self.reading, (partition, self.map), paths, bodies, &self.pace).await?;
        let chain = found.standing.chain();
        let part = BackupPart {
            partition,
            index: at.index,
            term: at.term,
            audit_sequence: chain.sequence,
            audit_hash: chain.hash,
            rows: found.rows,
            digest: found.digest,
            files,
            ..Default::default()
        };
        Ok((part, found.standing))
    }

    /// Writes what was applied behind the sealed files. Nothing is ever plain in the folder of an encrypted backup.
    async fn tail(&self, cut: Cut, within: &str) -> Result<Option<manifest::BackupFile>, BackupError> {
        let (fs, partition) = (&self.node.world.fs, cut.partition);
        let stage = self.node.settings.node.data.join(TAIL);
        let folder = if self.lock.is_some() { stage.clone() } else { self.folder.join(within) };
        let (at, fresh) = (folder.clone(), self.lock.is_some());
        let written = blocking(fs, move |fs| {
            let io = |e: std::io::Error| crate::store::StoreError::Io(e.to_string());
            if fresh && fs.exists(&at) {
                fs.remove_dir_all(&at).map_err(io)?;
            }
            fs.create_dir_all(&at).map_err(io)?;
            cut.write_tail(fs, &at)
        });
        let written = written.await.map_err(BackupError::rows(partition))?;
        let file = match (written, self.rows_lock()) {
            (None, _) => None,
            (Some(name), None) => Some(copy::read(fs, &self.folder, &format!("{within}/{name}"), &self.pace).await?),
            (Some(name), lock) => {
                let (file, bytes) = open(fs, folder.join(&name)).await?;
                let name = format!("{within}/{name}{SUFFIX}");
                Some(copy(fs, (file, bytes), (&self.folder, &name), lock, &self.pace).await?)
            }
        };
        if self.lock.is_some() {
            let at = stage.clone();
            blocking(fs, move |fs| fs.remove_dir_all(&at)).await.map_err(BackupError::io(stage))?;
        }
        Ok(file)
    }

    /// Copies bodies; what this node lacks it gets from a peer first. Those that nobody has are told with the rest: the rows
    /// that name them are better than no backup.
    async fn bodies(&self, ids: BTreeSet<BlobId>) -> Result<(Vec<manifest::BackupFile>, Vec<Bytes>), BackupError> {
        let (fs, bulk) = (&self.node.world.fs, &self.rooms.bulk);
        let (mut files, mut absent) = (vec![], vec![]);
        for id in ids {
            let verified = bulk.blobs().verify(id, &self.pace).await;
            if verified.is_err()
                && let Err(e) = bulk.restore(id).await
            {
                // Lost before, or collected by its recipient since the cut and gone everywhere.
                if self.named(id)? && !bulk.lost().contains(&id) {
                    return Err(BackupError::Body { id: id.to_string(), why: e.to_string() });
                }
                tracing::warn!(event = "backup.body_absent", body = %id, "no node has a body that the backup's rows name");
                absent.push(Bytes::copy_from_slice(&id.0));
                continue;
            }
            let (name, lock) = (format!("{}{}", body_name(id), self.suffix()), self.lock.as_ref().map(|[all, _]| all));
            let (file, bytes) = open(fs, self.node.settings.node.data.join(body_name(id))).await?;
            self.room(bytes).await?;
            self.progress.more(bytes);
            files.push(copy(fs, (file, bytes), (&self.folder, &name), lock, &self.pace).await?);
            self.progress.done(bytes);
        }
        Ok((files, absent))
    }

    fn named(&self, id: BlobId) -> Result<bool, BackupError> {
        let range = crate::store::tables::Table::BlobRefs.key().fixed(&id.0).prefix();
        for partition in self.map.all() {
            let rows = self.rooms.engine.local(partition);
            if !rows.scan(range.clone(), false, 1).map_err(BackupError::rows(partition.0))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the manifest last, everything below the folder durable before it gets its name.
    async fn seal(&self, content: Vec<u8>) -> Result<(), BackupError> {
        let folder = self.folder.clone();
        let parts: Vec<PartitionId> = self.map.all().collect();
        let written = blocking(&self.node.world.fs, move |fs| {
            let file = fs.open(&folder.join(manifest::NAME), Open::Create)?;
            file.write_at(0, &content)?;
            file.sync()?;
            for part in parts {
                fs.sync_dir(&folder.join(part_folder(part.0)))?;
            }
            let bodies = folder.join("blobs");
            for within in if fs.exists(&bodies) { fs.list(&bodies)? } else { vec![] } {
                fs.sync_dir(&bodies.join(within))?;
            }
            if fs.exists(&bodies) {
                fs.sync_dir(&bodies)?;
            }
            fs.sync_dir(&folder)
        });
        written.await.map_err(BackupError::io(&self.folder))
    }
}

/// A file, open for reading, and its length.
pub(super) async fn open(fs: &Arc<dyn Fs>, path: PathBuf) -> Result<(Arc<dyn File>, u64), BackupError> {
    let at = path.clone();
    let opened = blocking(fs, move |fs| {
        let file = fs.open(&at, Open::Read)?;
        let bytes = file.len()?;
        Ok::<_, std::io::Error>((file, bytes))
    });
    opened.await.map_err(BackupError::io(path))
}

/// Where a body lies in a backup that is not encrypted, and in a node's data.
pub fn body_name(id: BlobId) -> String {
    let hex = id.to_string();
    format!("blobs/{}/{hex}", &hex[..2])
}

/// Backups in a folder, by name, oldest first; those that are being made, or were interrupted, are not among them.
pub fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().join(manifest::NAME).is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_tells_the_moment() {
        assert_eq!(name("Leeds & Co/../x", 1_790_000_000_123), "leeds---co----x-20260921T141320123Z");
    }

    #[test]
    fn what_this_node_did_not_finish_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (own("0123456789", 1), own("0123456789", 11));
        let (dead, others) = (format!("{own}x"), format!("{other}x"));
        for name in [&*dead, &*others, "demo-20261130T020000000Z"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("file"), "x").unwrap();
        }
        let fs = crate::seam::fs_real::RealFs;
        clear(&fs, &dir.path().join("none"), &own).unwrap();
        clear(&fs, dir.path(), &own).unwrap();
        assert_eq!(fs.list(dir.path()).unwrap(), [&*others, "demo-20261130T020000000Z"]);
    }

    #[test]
    fn what_was_interrupted_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", ".unfinished-c"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join(manifest::NAME), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let names: Vec<_> = list(dir.path()).unwrap().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
