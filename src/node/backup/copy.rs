//! Files of a backup, read and written in pieces at a pace: nobody holds a whole one in memory, and clients come first (P6).

use super::{
    BackupError,
    locked::{Lock, Sealing},
    manifest::BackupFile,
};
use crate::seam::{
    fs::{File, Fs, Open, blocking},
    pace::Pace,
};
use aws_lc_rs::digest::{Context, SHA256};
use std::{path::Path, sync::Arc};

/// Bytes at a time; whole pieces of an encrypted file.
const PIECE: usize = 1 << 20;
/// Bytes after which what was written is synced: a long file synced at its end would hold up the log's own syncs.
const SYNC_BYTES: u64 = 4 << 20;

/// A file being read, with what has to be done with each piece.
struct Walk {
    from: Arc<dyn File>,
    to: Option<Arc<dyn File>>,
    sealing: Option<Sealing>,
    /// What an encrypted file begins with, until it is written.
    head: Vec<u8>,
    digest: Context,
    at: u64,
    bytes: u64,
    /// Bytes that were written, and up to where they are synced.
    written: u64,
    synced: u64,
}

impl Walk {
    fn new(from: Arc<dyn File>, bytes: u64, to: Option<Arc<dyn File>>) -> Walk {
        let digest = Context::new(&SHA256);
        Walk { from, to, sealing: None, head: vec![], digest, at: 0, bytes, written: 0, synced: 0 }
    }

    /// Makes what an encrypted file begins with; the whole of it, if there is no content.
    fn lock(&mut self, lock: &Lock) -> std::io::Result<()> {
        let (head, mut sealing) = Sealing::begin(lock)?;
        self.head = head;
        if self.bytes == 0 {
            self.head.append(&mut sealing.seal(&[], true)?);
        }
        self.sealing = Some(sealing);
        Ok(())
    }

    /// The next piece; 0 at the end.
    fn step(&mut self) -> std::io::Result<u64> {
        if !self.head.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.put(&head)?;
        }
        let mut piece = vec![0; (PIECE as u64).min(self.bytes - self.at) as usize];
        if piece.is_empty() {
            return Ok(0);
        }
        self.from.read_at(self.at, &mut piece)?;
        let len = piece.len() as u64;
        self.at += len;
        if let Some(sealing) = &mut self.sealing {
            piece = sealing.seal(&piece, self.at == self.bytes)?;
        }
        self.put(&piece)?;
        Ok(len)
    }

    fn put(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.digest.update(piece);
        if let Some(to) = &self.to {
            to.write_at(self.written, piece)?;
            self.written += piece.len() as u64;
            if self.written - self.synced >= SYNC_BYTES || self.at == self.bytes {
                to.sync()?;
                self.synced = self.written;
            }
        }
        Ok(())
    }
}

/// Walks to the end; the SHA-256 of what was written, or read, and its bytes.
async fn walk(fs: &Arc<dyn Fs>, mut walk: Walk, pace: &Pace) -> std::io::Result<([u8; 32], u64)> {
    loop {
        let (back, done) = blocking(fs, move |_| {
            let done = walk.step();
            (walk, done)
        })
        .await;
        walk = back;
        match done? {
            0 => break,
            bytes => pace.spent(bytes).await,
        }
    }
    let mut out = [0; 32];
    out.copy_from_slice(walk.digest.finish().as_ref());
    Ok((out, if walk.to.is_some() { walk.written } else { walk.bytes }))
}

/// Copies an open file to a new one, synced; its name is not durable yet. What is told is of the new one, encrypted or not.
pub async fn copy(
    fs: &Arc<dyn Fs>,
    (from, bytes): (Arc<dyn File>, u64),
    (folder, name): (&Path, &str),
    lock: Option<&Lock>,
    pace: &Pace,
) -> Result<BackupFile, BackupError> {
    let path = folder.join(name);
    let at = path.clone();
    let made = blocking(fs, move |fs| {
        if let Some(above) = at.parent() {
            fs.create_dir_all(above)?;
        }
        let to = fs.open(&at, Open::Create)?;
        to.sync()?;
        Ok::<_, std::io::Error>(to)
    });
    let to = Some(made.await.map_err(BackupError::io(&path))?);
    let mut begun = Walk::new(from, bytes, to);
    if let Some(lock) = lock {
        begun.lock(lock).map_err(BackupError::io(&path))?;
    }
    let (sha256, bytes) = walk(fs, begun, pace).await.map_err(BackupError::io(&path))?;
    Ok(BackupFile { name: name.into(), bytes, sha256, ..Default::default() })
}

/// The SHA-256 of an open file.
pub async fn hashed(fs: &Arc<dyn Fs>, file: Arc<dyn File>, bytes: u64, pace: &Pace) -> std::io::Result<[u8; 32]> {
    walk(fs, Walk::new(file, bytes, None), pace).await.map(|(sha256, _)| sha256)
}

/// What a file is, as a manifest tells it.
pub async fn read(fs: &Arc<dyn Fs>, folder: &Path, name: &str, pace: &Pace) -> Result<BackupFile, BackupError> {
    let path = folder.join(name);
    let at = path.clone();
    let opened = blocking(fs, move |fs| {
        let file = fs.open(&at, Open::Read)?;
        let bytes = file.len()?;
        Ok::<_, std::io::Error>((file, bytes))
    });
    let (from, bytes) = opened.await.map_err(BackupError::io(&path))?;
    let (sha256, bytes) = walk(fs, Walk::new(from, bytes, None), pace).await.map_err(BackupError::io(&path))?;
    Ok(BackupFile { name: name.into(), bytes, sha256, ..Default::default() })
}

/// Compares a file with what the manifest says of it.
pub async fn compare(fs: &Arc<dyn Fs>, backup: &Path, told: &BackupFile, pace: &Pace) -> Result<(), BackupError> {
    let path = backup.join(&told.name);
    let at = path.clone();
    let length = blocking(fs, move |fs| {
        if !fs.exists(&at) {
            return Ok::<_, std::io::Error>(None);
        }
        fs.open(&at, Open::Read)?.len().map(Some)
    });
    match length.await.map_err(BackupError::io(&path))? {
        None => return Err(BackupError::Missing(told.name.clone())),
        Some(found) if found != told.bytes => {
            return Err(BackupError::Length { name: told.name.clone(), found, wanted: told.bytes });
        }
        Some(_) => {}
    }
    match read(fs, backup, &told.name, pace).await? {
        found if found.sha256 == told.sha256 => Ok(()),
        _ => Err(BackupError::Changed(told.name.clone())),
    }
}
