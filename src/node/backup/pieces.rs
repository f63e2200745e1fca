//! A piece of the archived log on its way to the disk: bodies, entries, then the head that makes it count, each synced before the
//! next. What was written without a head is written anew; nothing comes to be in a backup that is being removed (P6, P7).

use super::{
    BackupError,
    archive::{self, ArchiveHead},
    archiver::{Archiver, Gathered, PAGE},
    bodies::at_hand,
    chain::Chain,
    copy::{copy, hashed},
    create::{body_name, open},
    locked::{Lock, SUFFIX, Sealing},
    manifest::{self, BackupFile},
};
use crate::{
    node::signer::NodeSigner,
    seam::{
        fs::{File, Fs, Open, blocking},
        pace::Pace,
    },
    store::blobs::BlobId,
};
use bytes::Bytes;
use std::{collections::BTreeSet, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

/// Bytes a second that are read and written at most: clients come first.
const RATE: u64 = 64 << 20;

impl Archiver<'_> {
    /// Writes one piece: bodies, entries, then the head, each synced before the next.
    pub async fn write(&self, chain: &mut Chain, found: Gathered, until: u64) -> Result<(), BackupError> {
        let (fs, pace, number) = (&self.node.world.fs, Pace::new(RATE), chain.number + 1);
        self.room(chain, found.content.bytes() as u64).await?;
        let (backup, last) = (chain.backup.clone(), chain.number);
        let made = blocking(fs, move |fs| {
            let folder = backup.join(archive::FOLDER);
            match fs.exists(&folder) {
                // What follows a piece that somebody removed is of no use.
                _ if last > 0 && !fs.exists(&backup.join(archive::head_name(last))) => {
                    Err(std::io::Error::from(std::io::ErrorKind::NotFound))
                }
                true => Ok(()),
                // Not the backup's own folder with it: one that was removed does not come back.
                false => {
                    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
                    fs.sync_dir(&backup)
                }
            }
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
                self.put(&chain.backup, &name, content, &pace).await?;
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
        // What no reader would believe is not written: nothing that follows would be either.
        let name = archive::head_name(number);
        archive::believed(&name, &sealed, &self.rooms.ca)?;
        let hash = archive::sha256(&sealed);
        self.put(&chain.backup, &name, sealed, &pace).await?;
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
            let from = match at_hand(self.rooms, id, pace).await? {
                true => Some(open(fs, self.node.settings.node.data.join(body_name(id))).await?),
                false => self.earlier(chain, id, pace).await,
            };
            let Some((file, bytes)) = from else {
                absent.push(Bytes::copy_from_slice(&id.0));
                continue;
            };
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
            self.room(chain, bytes).await?;
            files.push(copy(fs, (file, bytes), (&chain.backup, &name), lock, pace).await?);
            copied.push(id);
        }
        let synced = blocking(fs, move |fs| folders.iter().try_for_each(|folder| fs.sync_dir(folder)));
        synced.await.map_err(BackupError::io(&chain.backup))?;
        Ok((files, absent, copied))
    }

    /// A body that no node has any more, from the backup before this one or its archive, where it lies plain. What takes long to be
    /// archived, since the backup took long, was collected meanwhile.
    async fn earlier(&self, chain: &Chain, id: BlobId, pace: &Pace) -> Option<(Arc<dyn File>, u64)> {
        let (fs, before) = (&self.node.world.fs, chain.before.as_ref()?);
        for folder in [before.clone(), before.join(archive::FOLDER)] {
            let Ok((file, bytes)) = open(fs, folder.join(body_name(id))).await else { continue };
            if hashed(fs, file.clone(), bytes, pace).await.is_ok_and(|found| found == id.0) {
                return Some((file, bytes));
            }
        }
        None
    }

    /// Writes a file under another name, and gives it its own when it is synced. A long one synced at its end would hold up the log's
    /// own syncs.
    async fn put(&self, backup: &Path, name: &str, content: Vec<u8>, pace: &Pace) -> Result<(), BackupError> {
        let (fs, to) = (&self.node.world.fs, backup.join(name));
        let (unfinished, mut rest) = (to.with_extension("unfinished"), Bytes::from(content));
        let path = unfinished.clone();
        let created = blocking(fs, move |fs: &dyn Fs| {
            if fs.exists(&path) {
                fs.remove_file(&path)?;
            }
            fs.open(&path, Open::Create)
        });
        let (file, mut at) = (created.await.map_err(BackupError::io(&to))?, 0);
        while !rest.is_empty() {
            let (piece, into) = (rest.split_to(rest.len().min(PAGE)), file.clone());
            let bytes = piece.len() as u64;
            let written = blocking(fs, move |_| into.write_at(at, &piece).and_then(|()| into.sync())).await;
            written.map_err(BackupError::io(&to))?;
            at += bytes;
            pace.spent(bytes).await;
        }
        let path = to.clone();
        let named = blocking(fs, move |fs| {
            fs.rename(&unfinished, &to)?;
            to.parent().map_or(Ok(()), |folder| fs.sync_dir(folder))
        });
        named.await.map_err(BackupError::io(path))
    }
}

fn sealed(lock: &Lock, content: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let (mut out, mut sealing) = Sealing::begin(lock)?;
    out.append(&mut sealing.seal(&content, true)?);
    Ok(out)
}
