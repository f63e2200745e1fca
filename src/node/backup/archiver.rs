//! A node archives the log behind its newest backup, every so often: what every partition has agreed since, and bodies that its rows
//! name, into the folder `log` of that backup. A piece counts when it is synced and its head has its name; until then the entries
//! stay in this node's log (`hold`). What cannot be read from there any more ends the archive, and says so (P6, P7).

use super::{
    BackupError,
    archive::{self, Archive, ArchiveHead, ArchivedEntry, Content},
    bodies::at_hand,
    copy::copy,
    create::{self, body_name, open},
    desk,
    hold::{self, Stand},
    locked::{Lock, SUFFIX, Sealing, plain_name},
    manifest::{self, BackupFile, Manifest},
};
use crate::{
    consensus::{Entry, Unread},
    engine::{Fence, bodies::of_row, cut::rows_of},
    node::{Node, rooms::Rooms, signer::NodeSigner},
    seam::{
        fs::{Fs, Open, blocking},
        pace::Pace,
    },
    store::{RowOp, blobs::BlobId},
    wire::age::Recipient,
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::time::{Duration, MissedTickBehavior, interval};

/// Content after which a piece is full: it is in memory while it is written.
const PIECE: usize = 16 << 20;
/// Content of entries read at a time.
const PAGE: usize = 4 << 20;
/// Bytes a second that are read and written at most: clients come first.
const RATE: u64 = 64 << 20;

/// The archive that is being written.
struct Chain {
    backup: PathBuf,
    recipients: Vec<Recipient>,
    cluster: String,
    number: u64,
    previous: [u8; 32],
    reach: Vec<u64>,
    until: u64,
    gap: Option<String>,
    /// Bodies that the backup or its archive holds: as many as a backup has at most.
    known: BTreeSet<BlobId>,
}

/// What was read from the log for a piece.
struct Gathered {
    content: Content,
    reach: Vec<u64>,
    ids: BTreeSet<BlobId>,
    gap: Option<String>,
}

struct Archiver<'a> {
    node: &'a Arc<Node>,
    rooms: &'a Rooms,
    chain: Option<Chain>,
    /// Backups among which the newest was looked for last.
    seen: Vec<PathBuf>,
}

/// Archives as long as the node runs, where the settings say so.
pub async fn run(node: Arc<Node>) {
    let (Some(every), Some(rooms)) = (node.settings.backup.archive_every, node.rooms.get()) else { return };
    let archiver = Archiver { node: &node, rooms, chain: None, seen: vec![] };
    tokio::join!(hold::watch(&node, rooms), archiver.go_on(every));
}

impl Archiver<'_> {
    async fn go_on(mut self, every: Duration) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let done = self.round().await;
            if done.is_err() {
                // What is on the disk decides, not what was to be written.
                self.chain = None;
                self.seen.clear();
            }
            let why = done.err().map(|e| format!("{e} ({})", e.code().code));
            if self.node.archive.trouble(why.clone())
                && let Some(why) = why
            {
                tracing::error!(event = "backup.archive_failed", %why, "the log is not archived; it is tried again");
            }
        }
    }

    /// Archives what was agreed since the last time.
    async fn round(&mut self) -> Result<(), BackupError> {
        let (making, begun) = self.node.backups.begun();
        if !making {
            self.choose().await?;
            self.node.archive.settled(begun);
        }
        let Some(mut chain) = self.chain.take() else { return Ok(()) };
        let bytes = self.bytes();
        let done = self.extend(&mut chain).await;
        if done.is_ok() {
            self.tell(&chain, bytes);
            self.chain = Some(chain);
        }
        done
    }

    fn bytes(&self) -> Vec<u64> {
        self.rooms.groups.iter().map(|group| group.applied_bytes()).collect()
    }

    fn tell(&self, chain: &Chain, bytes: Vec<u64>) {
        let stand = Stand { backup: chain.backup.clone(), until: chain.until, gap: chain.gap.clone() };
        self.node.archive.archived(stand, chain.reach.clone(), bytes);
    }

    /// Finds the newest backup of this node, and where its archive ends. What was archived before goes on to this moment first: so
    /// no moment lies between two archives.
    async fn choose(&mut self) -> Result<(), BackupError> {
        let (dir, kept) = (self.node.settings.backup.dir.clone(), desk::kept(&self.node.settings.node.data).path);
        let (ca, own) = (self.rooms.ca.clone(), (self.rooms.identity.cluster.clone(), self.node.settings.node.number));
        let (old, mut seen) = (self.chain.as_ref().map(|chain| chain.backup.clone()), std::mem::take(&mut self.seen));
        let found = blocking(&self.node.world.fs, move |fs| {
            let path = newest(fs, &dir, &kept, (&ca, &own), &mut seen);
            let read = match path.filter(|path| Some(path) != old.as_ref()) {
                None => Ok(None),
                Some(path) => Manifest::read(fs, &path, Some(&ca)).and_then(|manifest| {
                    let archive = Archive::read(fs, &path, &manifest, Some(&ca))?;
                    Ok(Some((path, manifest, archive)))
                }),
            };
            let gone = old.is_some_and(|old| !fs.exists(&old.join(manifest::NAME)));
            (read, gone, seen)
        });
        let (read, gone, seen) = found.await;
        self.seen = seen;
        match read? {
            Some((path, manifest, archive)) => {
                if let Some(mut chain) = self.chain.take().filter(|_| !gone) {
                    // How it ends is no reason not to begin the next; nothing that this one needs is given up with it.
                    let ended = self.extend(&mut chain).await;
                    ended.unwrap_or_else(|e| tracing::warn!(event = "backup.archive_short", error = %e));
                }
                let chain = begin(path, manifest, archive)?;
                self.tell(&chain, self.bytes());
                self.chain = Some(chain);
            }
            None if gone || self.chain.is_none() => {
                self.chain = None;
                self.node.archive.nothing();
            }
            None => {}
        }
        Ok(())
    }

    /// Writes pieces until all that was agreed before this moment is in them.
    async fn extend(&self, chain: &mut Chain) -> Result<(), BackupError> {
        if chain.gap.is_some() {
            return Ok(());
        }
        let moment = self.node.world.clock.now().0;
        let mut goal = vec![];
        for (partition, group) in self.rooms.engine.map().all().zip(&self.rooms.groups) {
            // Everything that was acknowledged before is applied here.
            let fenced = self.rooms.engine.view(partition, Fence::Linearizable).await;
            fenced.map_err(|e| BackupError::Archiving(e.to_string()))?;
            let rows = self.rooms.store.partition(group.number()).map_err(BackupError::rows(group.number()))?;
            goal.push(rows.applied().index);
        }
        loop {
            let found = self.gather(chain, &goal).await?;
            let ended = found.gap.is_some() || found.reach.iter().zip(&goal).all(|(reach, goal)| reach >= goal);
            let until = if ended && found.gap.is_none() { moment.max(chain.until) } else { chain.until };
            self.write(chain, found, until).await?;
            if ended {
                return Ok(());
            }
        }
    }

    /// The next entries behind those that are archived.
    async fn gather(&self, chain: &Chain, goal: &[u64]) -> Result<Gathered, BackupError> {
        let mut found = Gathered {
            content: Content::begin(),
            reach: chain.reach.clone(),
            ids: BTreeSet::new(),
            gap: None,
        };
        for ((group, goal), reach) in self.rooms.groups.iter().zip(goal).zip(0..) {
            while found.reach[reach] < *goal && found.content.len() < PIECE {
                let page = match group.committed(found.reach[reach] + 1, PAGE).await {
                    Ok(page) => page,
                    Err(e @ Unread::Cut { .. }) => {
                        tracing::error!(event = "backup.archive_gap", code = crate::ops::codes::ARCHIVE_GAP.code,
                            why = %e, "the archive ends here; a new backup begins another");
                        found.gap = Some(e.to_string());
                        return Ok(found);
                    }
                    Err(e) => return Err(BackupError::Archiving(e.to_string())),
                };
                let page: Vec<Entry> = page.into_iter().take_while(|entry| entry.index <= *goal).collect();
                let Some(last) = page.last().map(|entry| entry.index) else {
                    return Err(BackupError::Archiving("the log ends before what is applied".into()));
                };
                let number = group.number();
                let (content, ids) = (std::mem::replace(&mut found.content, Content::begin()), std::mem::take(&mut found.ids));
                let taken = blocking(&self.node.world.fs, move |_| take(number, &page, content, ids)).await;
                (found.content, found.ids) = taken?;
                found.reach[reach] = last;
            }
        }
        Ok(found)
    }

    /// Writes one piece: bodies, entries, then the head, each synced before the next.
    async fn write(&self, chain: &mut Chain, found: Gathered, until: u64) -> Result<(), BackupError> {
        let (fs, pace, number) = (&self.node.world.fs, Pace::new(RATE), chain.number + 1);
        self.room(chain, found.content.len() as u64).await?;
        let folder = chain.backup.join(archive::FOLDER);
        let made = blocking(fs, move |fs| match fs.exists(&folder) {
            true => Ok(()),
            // Not the backup's own folder with it: one that was removed does not come back.
            false => std::fs::DirBuilder::new().mode(0o700).create(&folder),
        });
        made.await.map_err(BackupError::io(&chain.backup))?;
        let recipients = chain.recipients.clone();
        let lock = (!recipients.is_empty()).then(|| Lock { recipients, rng: self.node.world.rng.clone() });
        let (bodies, absent, ids) = self.bodies(chain, found.ids, lock.as_ref(), &pace).await?;
        let suffix = if lock.is_some() { SUFFIX } else { "" };
        let log = match found.content.done() {
            None => None,
            Some(content) => {
                let content = match &lock {
                    None => content,
                    Some(lock) => sealed(lock, content).map_err(BackupError::io(&chain.backup))?,
                };
                let name = archive::log_name(number, suffix);
                let (bytes, sha256) = (content.len() as u64, archive::sha256(&content));
                self.put(&chain.backup, &name, content).await?;
                pace.spent(bytes).await;
                Some(BackupFile { name, bytes, sha256, ..Default::default() })
            }
        };
        let head = ArchiveHead {
            format: archive::FORMAT,
            cluster: chain.cluster.clone(),
            node: self.node.settings.node.number,
            number,
            previous: chain.previous,
            made: self.node.world.clock.now().0,
            until,
            reach: found.reach.clone(),
            log,
            bodies,
            absent,
            gap: found.gap.clone().unwrap_or_default(),
            ..Default::default()
        };
        let sealed = head.sealed(&self.signer()?)?;
        let hash = archive::sha256(&sealed);
        self.put(&chain.backup, &archive::head_name(number), sealed).await?;
        (chain.number, chain.previous, chain.reach, chain.until) = (number, hash, found.reach, until);
        chain.gap = found.gap;
        chain.known.extend(ids);
        Ok(())
    }

    fn signer(&self) -> Result<NodeSigner, BackupError> {
        let read = |path: &Path| std::fs::read(path).map_err(BackupError::io(path));
        let peer = &self.node.settings.peer;
        NodeSigner::new(&read(&peer.cert)?, &read(&peer.key)?).map_err(|e| BackupError::Unsigned(e.to_string()))
    }

    /// Refuses to write more than the disk has beside what is to be left free.
    async fn room(&self, chain: &Chain, bytes: u64) -> Result<(), BackupError> {
        let (at, wanted) = (chain.backup.clone(), bytes.saturating_add(self.node.settings.storage.disk_reserve));
        let space = blocking(&self.node.world.fs, move |fs| fs.space(&at)).await;
        match space.map_err(BackupError::io(&chain.backup))? {
            (free, _) if free < wanted => Err(BackupError::NoRoom { path: chain.backup.clone(), free, wanted }),
            _ => Ok(()),
        }
    }

    /// Copies bodies that no file before holds. Those that a piece which has no head left behind are written anew.
    async fn bodies(
        &self,
        chain: &Chain,
        ids: BTreeSet<BlobId>,
        lock: Option<&Lock>,
        pace: &Pace,
    ) -> Result<(Vec<BackupFile>, Vec<Bytes>, Vec<BlobId>), BackupError> {
        let fs = &self.node.world.fs;
        let (mut files, mut absent, mut copied) = (vec![], vec![], vec![]);
        let mut folders = BTreeSet::new();
        for id in ids.into_iter().filter(|id| !chain.known.contains(id)) {
            if !at_hand(self.rooms, id, pace).await? {
                absent.push(Bytes::copy_from_slice(&id.0));
                continue;
            }
            let suffix = if lock.is_some() { SUFFIX } else { "" };
            let name = format!("{}/{}{suffix}", archive::FOLDER, body_name(id));
            let at = chain.backup.join(&name);
            folders.extend(at.ancestors().skip(1).take(2).map(Path::to_owned));
            let whole = chain.backup.join(manifest::NAME);
            let cleared = blocking(fs, move |fs| match (fs.exists(&whole), fs.exists(&at)) {
                // Nothing is written into one that is being removed.
                (false, _) => Err(std::io::ErrorKind::NotFound.into()),
                (true, true) => fs.remove_file(&at),
                (true, false) => Ok(()),
            });
            cleared.await.map_err(BackupError::io(&chain.backup))?;
            let (file, bytes) = open(fs, self.node.settings.node.data.join(body_name(id))).await?;
            self.room(chain, bytes).await?;
            files.push(copy(fs, (file, bytes), (&chain.backup, &name), lock, pace).await?);
            copied.push(id);
        }
        let synced = blocking(fs, move |fs| folders.iter().try_for_each(|folder| fs.sync_dir(folder)));
        synced.await.map_err(BackupError::io(&chain.backup))?;
        Ok((files, absent, copied))
    }

    /// Writes a file under another name, and gives it its own when it is synced.
    async fn put(&self, backup: &Path, name: &str, content: Vec<u8>) -> Result<(), BackupError> {
        let to = backup.join(name);
        let path = to.clone();
        let written = blocking(&self.node.world.fs, move |fs: &dyn Fs| {
            let unfinished = to.with_extension("unfinished");
            if fs.exists(&unfinished) {
                fs.remove_file(&unfinished)?;
            }
            let file = fs.open(&unfinished, Open::Create)?;
            file.write_at(0, &content)?;
            file.sync()?;
            fs.rename(&unfinished, &to)?;
            to.parent().map_or(Ok(()), |folder| fs.sync_dir(folder))
        });
        written.await.map_err(BackupError::io(path))
    }
}

/// The newest backup of this node in its folder: the one that it made last, if that is there; else the newest that is signed by it.
fn newest(
    fs: &dyn Fs,
    dir: &Path,
    kept: &Path,
    (ca, (cluster, node)): (&crate::audit::Ca, &(String, u16)),
    seen: &mut Vec<PathBuf>,
) -> Option<PathBuf> {
    if kept.parent() == Some(dir) && fs.exists(&kept.join(manifest::NAME)) {
        return Some(kept.to_owned());
    }
    let all = create::list(dir).unwrap_or_default();
    if all == *seen {
        return None;
    }
    let read = |path: PathBuf| Some((Manifest::read(fs, &path, Some(ca)).ok()?, path));
    let own = all.iter().cloned().filter_map(read);
    let own = own.filter(|(manifest, _)| manifest.cluster == *cluster && manifest.node == *node);
    let found = own.max_by_key(|(manifest, _)| manifest.made).map(|(_, path)| path);
    *seen = all;
    found
}

/// An archive goes on where its last piece ends, encrypted for whom the backup is.
fn begin(backup: PathBuf, manifest: Manifest, archive: Archive) -> Result<Chain, BackupError> {
    if manifest.decided == 0 {
        let why = "the newest backup was made by a release that did not archive; make a new one";
        return Err(BackupError::Archiving(why.into()));
    }
    let keys: Option<Vec<Recipient>> = manifest.recipients.iter().map(|key| Recipient::parse(key)).collect();
    let recipients = keys.ok_or_else(|| BackupError::Archiving("the backup's keys are none".into()))?;
    let id = |file: &BackupFile| BlobId::parse(plain_name(&file.name).rsplit('/').next()?);
    let known = manifest.bodies.iter().chain(archive.heads.iter().flat_map(|head| &head.bodies)).filter_map(id);
    Ok(Chain {
        recipients,
        cluster: manifest.cluster.clone(),
        number: archive.heads.len() as u64,
        previous: archive.last,
        reach: archive.reach(),
        until: archive.until().unwrap_or(0),
        gap: archive.gap().map(Into::into),
        known: known.collect(),
        backup,
    })
}

/// Puts entries behind those of a piece, and the bodies that their rows name among the others.
fn take(
    partition: u16,
    page: &[Entry],
    mut content: Content,
    mut ids: BTreeSet<BlobId>,
) -> Result<(Content, BTreeSet<BlobId>), BackupError> {
    let unread = |e: &dyn std::fmt::Display| BackupError::Rows { partition, error: e.to_string() };
    for entry in page {
        for op in rows_of(&entry.payload, entry.term).map_err(|e| unread(&e))? {
            if let RowOp::Put { key, value, .. } = op {
                ids.extend(of_row(&key, &value).map_err(|e| unread(&e))?);
            }
        }
        let (index, term, payload) = (entry.index, entry.term, entry.payload.clone());
        content.push(&ArchivedEntry { partition, index, term, payload, ..Default::default() });
    }
    Ok((content, ids))
}

fn sealed(lock: &Lock, content: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let (mut out, mut sealing) = Sealing::begin(lock)?;
    out.append(&mut sealing.seal(&content, true)?);
    Ok(out)
}
