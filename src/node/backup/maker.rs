//! One backup being written: the cut, the files of each partition, the bodies, the manifest. What [`super::create`] promises is
//! kept here; the folder's name is given there.

use super::{
    BackupError,
    bodies::at_hand,
    copy::{self, copy},
    create::{Wish, body_name, open},
    desk::Progress,
    locked::{Lock, SUFFIX, unlocked},
    manifest::{self, BackupPart, FORMAT, Manifest, PLAIN_FORMAT, part_folder},
    since::Base,
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
    wire::age::Identity,
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Searches for a cut, each from the beginning.
const TRIES: usize = 3;
/// How long one may take: followers hear within a heartbeat what was committed.
const SEARCH: Duration = Duration::from_secs(3);
/// Between two looks at what was applied.
const LOOK: Duration = Duration::from_millis(5);
/// Where a node writes what comes behind the sealed files, before it is encrypted: below its data, where it is at home.
const TAIL: &str = "backing-up";

/// Removes what lies there: rows in plain, which nobody looks for in such a place.
pub async fn forget_tail(fs: &Arc<dyn Fs>, data: &Path) -> Result<(), BackupError> {
    let stage = data.join(TAIL);
    let at = stage.clone();
    let gone = blocking(fs, move |fs| if fs.exists(&at) { fs.remove_dir_all(&at) } else { Ok(()) });
    gone.await.map_err(BackupError::io(stage))
}

pub struct Maker<'a> {
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
    base: Option<Base>,
    pub linked: AtomicU64,
}

impl<'a> Maker<'a> {
    pub fn new(
        node: &'a Arc<Node>,
        rooms: &'a Rooms,
        folder: PathBuf,
        wish: &Wish,
        progress: &'a Progress,
    ) -> Maker<'a> {
        let (fs, rng) = (&node.world.fs, &node.world.rng);
        let (mut lock, mut reading) = (None, fs.clone());
        if !wish.recipients.is_empty() {
            let own = Identity::new(&mut |out| rng.fill(out));
            let rows = wish.recipients.iter().copied().chain([own.public()]).collect();
            lock = Some([wish.recipients.clone(), rows].map(|recipients| Lock { recipients, rng: rng.clone() }));
            reading = unlocked(fs, vec![own]);
        }
        Maker {
            node,
            rooms,
            folder,
            pace: Pace::new(wish.rate),
            progress,
            map: rooms.engine.map(),
            lock,
            reading,
            base: None,
            linked: AtomicU64::new(0),
        }
    }

    fn suffix(&self) -> &'static str {
        if self.lock.is_some() { SUFFIX } else { "" }
    }

    fn recipients(&self) -> Vec<String> {
        self.lock.iter().flat_map(|[all, _]| &all.recipients).map(ToString::to_string).collect()
    }

    /// What the earlier backup has already, if that is the same.
    async fn linked(
        &self,
        name: &str,
        source: Option<(Arc<dyn File>, u64)>,
    ) -> Result<Option<manifest::BackupFile>, BackupError> {
        let Some(base) = &self.base else { return Ok(None) };
        let linked = base.link(&self.node.world.fs, (&self.folder, name), source, &self.pace).await?;
        if let Some(file) = &linked {
            self.linked.fetch_add(file.bytes, Relaxed);
        }
        Ok(linked)
    }

    /// For files of rows.
    fn rows_lock(&self) -> Option<&Lock> {
        self.lock.as_ref().map(|[_, rows]| rows)
    }

    pub async fn write(&mut self, made: u64, since: Option<&Path>) -> Result<(Manifest, usize), BackupError> {
        if let Some(base) = since.map(Path::to_owned) {
            let (ca, cluster) = (self.rooms.ca.clone(), self.rooms.identity.cluster.clone());
            let recipients = self.recipients();
            let opened = move |fs: &dyn Fs| Base::open(fs, &base, &ca, (&cluster, &recipients));
            self.base = Some(blocking(&self.node.world.fs, opened).await?);
        }
        self.progress.phase("sealing");
        let (cuts, fitted) = self.cut().await?;
        let bytes: u64 = cuts.iter().flat_map(|cut| &cut.files).map(|file| file.bytes).sum();
        if self.base.is_none() {
            // Else each is asked for when it turns out to be new.
            self.room(bytes).await?;
        }
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
            recipients: self.recipients(),
            cluster: self.rooms.identity.cluster.clone(),
            site: settings.site_name.clone(),
            node: settings.node.number,
            release: VERSION.into(),
            made,
            parts,
            bodies,
            absent,
            decided: standings.iter().map(Standing::time).max().unwrap_or(0),
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
            // Of encrypted ones nobody can read back the earlier one's, whose key of the moment is gone.
            let known = if self.lock.is_none() { self.linked(&name, Some(from.clone())).await? } else { None };
            files.push(match known {
                Some(file) => file,
                None => {
                    self.room(sealed.bytes).await?;
                    copy(fs, from, (&self.folder, &name), self.rows_lock(), &self.pace).await?
                }
            });
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
        let folder = if self.lock.is_some() { stage } else { self.folder.join(within) };
        let at = folder.clone();
        let written = blocking(fs, move |fs| {
            fs.create_dir_all(&at).map_err(|e| crate::store::StoreError::Io(e.to_string()))?;
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
            forget_tail(fs, &self.node.settings.node.data).await?;
        }
        Ok(file)
    }

    /// Copies bodies; what this node lacks it gets from a peer first. Those that nobody has are told with the rest: the rows
    /// that name them are better than no backup.
    async fn bodies(&self, ids: BTreeSet<BlobId>) -> Result<(Vec<manifest::BackupFile>, Vec<Bytes>), BackupError> {
        let fs = &self.node.world.fs;
        let (mut files, mut absent) = (vec![], vec![]);
        for id in ids {
            let (name, lock) = (format!("{}{}", body_name(id), self.suffix()), self.lock.as_ref().map(|[all, _]| all));
            if let Some(file) = self.linked(&name, None).await? {
                files.push(file);
                continue;
            }
            if !at_hand(self.rooms, id, &self.pace).await? {
                absent.push(Bytes::copy_from_slice(&id.0));
                continue;
            }
            let (file, bytes) = open(fs, self.node.settings.node.data.join(body_name(id))).await?;
            self.room(bytes).await?;
            self.progress.more(bytes);
            files.push(copy(fs, (file, bytes), (&self.folder, &name), lock, &self.pace).await?);
            self.progress.done(bytes);
        }
        Ok((files, absent))
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
