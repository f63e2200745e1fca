//! Bodies too long for the log: files named by the SHA-256 of their content (docs/formats.md).
//!
//! A blob is durable when [`Writer::finish`] returns: synced, renamed into place, its folder synced, and the folder's own
//! name too (P1). Each piece of
//! 64 KiB carries a checksum, so that reading from any offset serves nothing damaged (P7). Nobody holds a whole blob
//! in memory: writers and readers work in pieces.

use crate::ops::metrics as names;
use crate::seam::World;
use crate::seam::fs::{File, Fs, Open, blocking};
use crate::seam::pace::Pace;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Content between two checksums.
const PIECE: usize = 64 << 10;
const SUM: usize = 4;
const MAGIC: &[u8; 8] = b"SPNBLOB1";
/// Magic, length, checksum of both.
const HEADER: u64 = 20;
/// Longest blob: a chunk of a message may be 100 MB (MESH), with room above (P6).
pub const MAX_BLOB_BYTES: u64 = 160 << 20;
/// Longest answer of one read (P6).
pub const MAX_READ_BYTES: usize = 4 << 20;
/// Content gathered before it goes to the disk in one write.
const WRITE_BYTES: usize = 4 * PIECE;
/// Content verified in one go.
const VERIFY_BYTES: usize = 16 * PIECE;

/// A blob's name: the SHA-256 of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl BlobId {
    /// The name of some content.
    pub fn of(content: &[u8]) -> BlobId {
        let mut digest = Context::new(&SHA256);
        digest.update(content);
        finish(digest)
    }

    /// Reads the one spelling of a name.
    pub fn parse(name: &str) -> Option<BlobId> {
        let mut id = [0; 32];
        if name.len() != 64 || !name.is_ascii() {
            return None;
        }
        for (n, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&name[2 * n..2 * n + 2], 16).ok()?;
        }
        let id = BlobId(id);
        // Only the one spelling is a name.
        (id.to_string() == name).then_some(id)
    }
}

fn finish(digest: Context) -> BlobId {
    let mut id = [0; 32];
    id.copy_from_slice(digest.finish().as_ref());
    BlobId(id)
}

/// Why a blob cannot be had or kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// This node does not hold it: a peer may.
    #[error("blob {0} is not here")]
    Missing(BlobId),
    /// It failed a checksum: fetch it from a peer and put it again, which replaces it.
    #[error("blob {0} failed its checksum")]
    Corrupt(BlobId),
    /// The content was not what was announced. Nothing was kept.
    #[error("the content is not blob {0}")]
    Mismatch(BlobId),
    #[error("a blob may be at most {MAX_BLOB_BYTES} bytes long")]
    TooLong,
    #[error("blob i/o failed: {0}")]
    Io(String),
    /// Less space is free than must stay for what frees some. Nothing was kept.
    #[error("the disk is nearly full")]
    Full,
}

fn failed(e: io::Error) -> BlobError {
    BlobError::Io(e.to_string())
}

/// A node's blobs. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    world: World,
    dir: PathBuf,
    temporary: AtomicU64,
    /// Folders, by the first byte of the names in them, whose own names this process has made durable. That a folder is
    /// there says nothing: another writer may have made it just now, and not synced it yet.
    settled: [AtomicBool; 256],
    /// Free bytes below which no further blob is begun.
    reserve: u64,
    fatal: Fatal,
}

impl Inner {
    /// Stops the process where a sync failed (P7).
    fn synced(&self, outcome: io::Result<()>) -> io::Result<()> {
        outcome.inspect_err(|e| (self.fatal)(&format!("the sync of a blob failed: {e}")))
    }

    /// Sees to it that a blob's folder is there, and durable under its own name. Writers that meet here sync it each:
    /// none rests on what another may not have finished.
    fn settle(&self, fs: &dyn Fs, id: BlobId, folder: &Path) -> io::Result<()> {
        let settled = &self.settled[usize::from(id.0[0])];
        if settled.load(Ordering::Acquire) && fs.exists(folder) {
            return Ok(());
        }
        match fs.create_dir_all(folder) {
            // Made, and not known to be durable.
            Err(e) if fs.exists(folder) => self.synced(Err(e))?,
            made => made?,
        }
        self.synced(fs.sync_dir(&self.dir))?;
        settled.store(true, Ordering::Release);
        Ok(())
    }
}

/// Called when a sync failed: what was durable is not known any more, and the process must stop (P7).
pub type Fatal = Arc<dyn Fn(&str) + Send + Sync>;

impl Blobs {
    /// Opens or creates the folder; content that was not finished is removed. With less than `reserve` bytes free no
    /// further blob is begun.
    pub async fn open(world: World, dir: PathBuf, reserve: u64, fatal: Fatal) -> Result<Blobs, BlobError> {
        let at = dir.clone();
        let opened = blocking(&world.fs, move |fs| {
            let unfinished = at.join("unfinished");
            fs.create_dir_all(&unfinished)?;
            for name in fs.list(&unfinished)? {
                fs.remove_file(&unfinished.join(name))?;
            }
            fs.sync_dir(&at)?;
            // The folder itself may be new, or left by a run that ended before it was durable.
            at.parent().map_or(Ok(()), |above| fs.sync_dir(above))
        });
        opened.await.map_err(failed)?;
        let settled = std::array::from_fn(|_| AtomicBool::new(false));
        Ok(Blobs(Arc::new(Inner { world, dir, temporary: AtomicU64::new(0), settled, reserve, fatal })))
    }

    fn path(&self, id: &BlobId) -> PathBuf {
        let name = id.to_string();
        self.0.dir.join(&name[..2]).join(name)
    }

    /// Starts to write a blob whose name is known when its content is. [`BlobError::Full`] where the disk nearly is.
    pub async fn writer(&self) -> Result<Writer, BlobError> {
        let name = self.0.temporary.fetch_add(1, Ordering::Relaxed).to_string();
        let path = self.0.dir.join("unfinished").join(name);
        let place = path.clone();
        let (dir, reserve) = (self.0.dir.clone(), self.0.reserve);
        let file = blocking(&self.0.world.fs, move |fs| match fs.space(&dir) {
            Ok((free, _)) if free < reserve => Err(BlobError::Full),
            _ => fs.open(&place, Open::Create).map_err(failed),
        });
        let file = file.await?;
        let (digest, waiting) = (Context::new(&SHA256), BytesMut::new());
        Ok(Writer { blobs: self.clone(), file, path, digest, waiting, length: 0, pieces: 0, done: false })
    }

    /// Keeps content that is in memory already.
    pub async fn put(&self, content: Bytes) -> Result<BlobId, BlobError> {
        let mut writer = self.writer().await?;
        writer.write(content).await?;
        Ok(writer.finish().await?.0)
    }

    /// Up to `max` bytes from `offset` on, all of them checked; empty behind the end. See [`MAX_READ_BYTES`].
    pub async fn read(&self, id: BlobId, offset: u64, max: usize) -> Result<Bytes, BlobError> {
        let path = self.path(&id);
        let result = blocking(&self.0.world.fs, move |fs| {
            let (file, length) = open(fs, &path, id)?;
            read_checked(&*file, id, length, offset, max.min(MAX_READ_BYTES))
        })
        .await;
        noted(result)
    }

    /// Length of a blob's content.
    pub async fn length(&self, id: BlobId) -> Result<u64, BlobError> {
        let path = self.path(&id);
        noted(blocking(&self.0.world.fs, move |fs| open(fs, &path, id).map(|(_, length)| length)).await)
    }

    /// Whether this node holds it. Says nothing of its content: see [`Blobs::verify`].
    pub async fn has(&self, id: BlobId) -> bool {
        let path = self.path(&id);
        blocking(&self.0.world.fs, move |fs| fs.exists(&path)).await
    }

    /// Reads all of a blob, at `pace`, and compares its digest with its name. Returns its length.
    pub async fn verify(&self, id: BlobId, pace: &Pace) -> Result<u64, BlobError> {
        let mut digest = Context::new(&SHA256);
        let mut length = 0;
        loop {
            let piece = self.read(id, length, VERIFY_BYTES).await?;
            if piece.is_empty() {
                break;
            }
            digest.update(&piece);
            length += piece.len() as u64;
            pace.spent(piece.len() as u64).await;
        }
        noted(if finish(digest) == id { Ok(length) } else { Err(BlobError::Corrupt(id)) })
    }

    /// Removes a blob that no row names any more. `Ok` too where it is not there.
    pub async fn remove(&self, id: BlobId) -> Result<(), BlobError> {
        let path = self.path(&id);
        let removed = blocking(&self.0.world.fs, move |fs| fs.remove_file(&path)).await;
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        }
    }

    /// Names in one of the 256 folders, sorted: whoever collects blobs without a row walks over all of them.
    pub async fn list(&self, folder: u8) -> Result<Vec<BlobId>, BlobError> {
        let path = self.0.dir.join(format!("{folder:02x}"));
        let names = blocking(&self.0.world.fs, move |fs| match fs.list(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            other => other,
        });
        Ok(names.await.map_err(failed)?.iter().filter_map(|name| BlobId::parse(name)).collect())
    }
}

/// Counts damage where it is met.
fn noted<T>(result: Result<T, BlobError>) -> Result<T, BlobError> {
    if let Err(BlobError::Corrupt(id)) = &result {
        metrics::counter!(names::STORE_CHECKSUM_FAILURES).increment(1);
        tracing::error!(event = "store.blob_damaged", blob = %id);
    }
    result
}

fn open(fs: &dyn Fs, path: &Path, id: BlobId) -> Result<(Arc<dyn File>, u64), BlobError> {
    let file = fs.open(path, Open::Read).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => BlobError::Missing(id),
        _ => failed(e),
    })?;
    let stored = file.len().map_err(failed)?;
    let mut header = [0; HEADER as usize];
    if stored < HEADER {
        return Err(BlobError::Corrupt(id));
    }
    file.read_at(0, &mut header).map_err(failed)?;
    let (said, sum) = header.split_at(16);
    let length = said.last_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    let whole = said.starts_with(MAGIC)
        && sum == crc32c::crc32c(said).to_le_bytes()
        && length <= MAX_BLOB_BYTES
        && stored == HEADER + length + length.div_ceil(PIECE as u64) * SUM as u64;
    if whole { Ok((file, length)) } else { Err(BlobError::Corrupt(id)) }
}

/// Over the piece's number too, so that a piece in another's place is found.
fn checksum(number: u64, content: &[u8]) -> [u8; SUM] {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), content).to_le_bytes()
}

fn read_checked(file: &dyn File, id: BlobId, length: u64, offset: u64, max: usize) -> Result<Bytes, BlobError> {
    let end = length.min(offset.saturating_add(max as u64));
    if offset >= end {
        return Ok(Bytes::new());
    }
    let piece = PIECE as u64;
    let (first, last) = (offset / piece, (end - 1) / piece);
    let stored_end = HEADER + length.min((last + 1) * piece) + (last + 1) * SUM as u64;
    let stored_from = HEADER + first * (piece + SUM as u64);
    let mut stored = vec![0; (stored_end - stored_from) as usize];
    file.read_at(stored_from, &mut stored).map_err(failed)?;
    let mut content = Vec::with_capacity(stored.len());
    for (number, part) in (first..).zip(stored.chunks(PIECE + SUM)) {
        let (body, sum) = part.split_at(part.len().saturating_sub(SUM));
        if sum != checksum(number, body) {
            return Err(BlobError::Corrupt(id));
        }
        content.extend_from_slice(body);
    }
    let from = (offset - first * piece) as usize;
    Ok(Bytes::from(content).slice(from..from + (end - offset) as usize))
}

/// A blob being written. Dropping it before [`Writer::finish`] keeps nothing.
pub struct Writer {
    blobs: Blobs,
    file: Arc<dyn File>,
    path: PathBuf,
    digest: Context,
    waiting: BytesMut,
    length: u64,
    pieces: u64,
    done: bool,
}

impl Writer {
    /// Adds content behind what came before.
    pub async fn write(&mut self, content: Bytes) -> Result<(), BlobError> {
        if self.length + content.len() as u64 > MAX_BLOB_BYTES {
            return Err(BlobError::TooLong);
        }
        self.length += content.len() as u64;
        self.digest.update(&content);
        self.waiting.extend_from_slice(&content);
        while self.waiting.len() >= WRITE_BYTES {
            self.flush(WRITE_BYTES).await?;
        }
        Ok(())
    }

    /// The name that the content so far would have.
    pub fn digest(&self) -> BlobId {
        finish(self.digest.clone())
    }

    /// How many bytes were written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    async fn flush(&mut self, bytes: usize) -> Result<(), BlobError> {
        let content = self.waiting.split_to(bytes).freeze();
        let (file, first) = (self.file.clone(), self.pieces);
        self.pieces += bytes.div_ceil(PIECE) as u64;
        let write = move |_: &dyn Fs| {
            let mut stored = Vec::with_capacity(bytes + (bytes / PIECE + 1) * SUM);
            for (number, piece) in (first..).zip(content.chunks(PIECE)) {
                stored.extend_from_slice(piece);
                stored.extend_from_slice(&checksum(number, piece));
            }
            file.write_at(HEADER + first * (PIECE + SUM) as u64, &stored)
        };
        blocking(&self.blobs.0.world.fs, write).await.map_err(failed)
    }

    /// Makes the blob durable under the name of its content, and returns name and length.
    pub async fn finish(self) -> Result<(BlobId, u64), BlobError> {
        self.seal(None).await
    }

    /// As [`Writer::finish`], where the name was announced before the content.
    pub async fn finish_as(self, id: BlobId) -> Result<u64, BlobError> {
        Ok(self.seal(Some(id)).await?.1)
    }

    async fn seal(mut self, announced: Option<BlobId>) -> Result<(BlobId, u64), BlobError> {
        while !self.waiting.is_empty() {
            self.flush(self.waiting.len().min(WRITE_BYTES)).await?;
        }
        let id = finish(self.digest.clone());
        if let Some(announced) = announced.filter(|&a| a != id) {
            return Err(BlobError::Mismatch(announced));
        }
        let (file, from, to, length) = (self.file.clone(), self.path.clone(), self.blobs.path(&id), self.length);
        let inner = self.blobs.0.clone();
        let seal = move |fs: &dyn Fs| {
            let mut header = MAGIC.to_vec();
            header.extend_from_slice(&length.to_le_bytes());
            header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
            file.write_at(0, &header)?;
            inner.synced(file.sync())?;
            let folder = to.parent().unwrap_or(&inner.dir);
            inner.settle(fs, id, folder)?;
            fs.rename(&from, &to)?;
            inner.synced(fs.sync_dir(folder))
        };
        blocking(&self.blobs.0.world.fs, seal).await.map_err(failed)?;
        self.done = true;
        Ok((id, length))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed now is removed at the next start.
            let _ = self.blobs.0.world.fs.remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{MemFs, runtime, world};

    async fn opened(fs: &MemFs) -> Blobs {
        Blobs::open(world(fs), PathBuf::from("/blobs"), 0, Arc::new(|_| ())).await.unwrap()
    }

    fn content(len: usize) -> Bytes {
        (0..len).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<_>>().into()
    }

    #[test]
    fn content_comes_back_from_any_offset() {
        runtime().block_on(async {
            let blobs = opened(&MemFs::default()).await;
            for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 77] {
                let body = content(len);
                let mut writer = blobs.writer().await.unwrap();
                for part in body.chunks(9_999) {
                    writer.write(Bytes::copy_from_slice(part)).await.unwrap();
                }
                let (id, length) = writer.finish().await.unwrap();
                assert_eq!((id, length), (BlobId::of(&body), len as u64));
                assert_eq!(blobs.verify(id, &Pace::new(u64::MAX)).await.unwrap(), len as u64);
                for offset in [0, 1, len / 2, PIECE - 1, PIECE, len.saturating_sub(1), len, len + 9] {
                    let got = blobs.read(id, offset as u64, PIECE + 5).await.unwrap();
                    let from = offset.min(len);
                    assert_eq!(got, body.slice(from..len.min(from + PIECE + 5)), "{len} from {offset}");
                }
                assert!(blobs.has(id).await && blobs.list(id.0[0]).await.unwrap().contains(&id));
                blobs.remove(id).await.unwrap();
                blobs.remove(id).await.unwrap();
                assert_eq!(blobs.read(id, 0, 1).await, Err(BlobError::Missing(id)));
            }
        });
    }

    #[test]
    fn a_flipped_bit_is_found_and_putting_again_repairs() {
        runtime().block_on(async {
            let fs = MemFs::default();
            let blobs = opened(&fs).await;
            let id = blobs.put(content(2 * PIECE + 9)).await.unwrap();
            for bit in (0..(2 * PIECE + 9 + 32) * 8).step_by(9973) {
                fs.flip(&id.to_string(), bit);
                assert_eq!(blobs.verify(id, &Pace::new(u64::MAX)).await, Err(BlobError::Corrupt(id)), "bit {bit}");
                let bad = blobs.read(id, 0, 3 * PIECE).await;
                assert_eq!(bad, Err(BlobError::Corrupt(id)));
                assert_eq!(blobs.put(content(2 * PIECE + 9)).await, Ok(id));
                assert!(blobs.verify(id, &Pace::new(u64::MAX)).await.is_ok());
            }
        });
    }

    #[test]
    fn a_failed_sync_stops_the_process_and_answers_no() {
        use crate::seam::sim::{SimWorld, fs::Call};
        runtime().block_on(async {
            let sim = SimWorld::new(1, 1 << 30);
            let told = Arc::new(AtomicU64::new(0));
            let tell = told.clone();
            let fatal: Fatal = Arc::new(move |_| {
                tell.fetch_add(1, Ordering::Relaxed);
            });
            let blobs = Blobs::open(sim.world(), PathBuf::from("/blobs"), 0, fatal).await.unwrap();
            sim.fs.fail(Call::Sync, "unfinished", 0, 1, io::ErrorKind::Other);
            assert!(blobs.put(content(9)).await.is_err());
            assert_eq!(told.load(Ordering::Relaxed), 1);
            assert!(!blobs.has(BlobId::of(&content(9))).await);
        });
    }

    /// Content whose name begins like that of `like`, so that both lie in one folder.
    fn beside(like: BlobId) -> Bytes {
        let bodies = (0u32..).map(|n| Bytes::copy_from_slice(&n.to_be_bytes()));
        bodies.into_iter().find(|body| BlobId::of(body).0[0] == like.0[0] && BlobId::of(body) != like).unwrap()
    }

    #[test]
    fn a_body_in_a_folder_that_another_writer_made_and_did_not_sync_outlives_the_power() {
        use crate::seam::sim::{SimWorld, fs::Call};
        runtime().block_on(async {
            let sim = SimWorld::new(2, 1 << 30);
            let dir = PathBuf::from("/data/blobs");
            let open = || Blobs::open(sim.world(), dir.clone(), 0, Arc::new(|_| ()));
            let blobs = open().await.unwrap();
            // The first writer makes the folder, and has not got further when the second comes.
            let first = content(9);
            sim.fs.fail(Call::SyncDir, "blobs", 0, 1, io::ErrorKind::Other);
            assert!(blobs.put(first.clone()).await.is_err());
            let folder = dir.join(&BlobId::of(&first).to_string()[..2]);
            assert!(sim.world().fs.exists(&folder), "made and not synced");
            let second = beside(BlobId::of(&first));
            let id = blobs.put(second.clone()).await.unwrap();
            sim.fs.crash();
            assert_eq!(open().await.unwrap().read(id, 0, 99).await, Ok(second));
        });
    }

    #[test]
    fn whatever_was_acknowledged_before_the_power_went_is_there_after_it() {
        use crate::seam::sim::SimWorld;
        runtime().block_on(async {
            for calls in 0..120 {
                let sim = SimWorld::new(calls, 1 << 30);
                let open = || Blobs::open(sim.world(), PathBuf::from("/data/blobs"), 0, Arc::new(|_| ()));
                sim.fs.cut_power_after(calls + 1);
                let mut kept = vec![];
                if let Ok(blobs) = open().await {
                    for n in 0..9 {
                        kept.extend(blobs.put(content(n)).await);
                    }
                }
                sim.fs.crash();
                let blobs = open().await.unwrap();
                for id in kept {
                    assert!(blobs.verify(id, &Pace::new(u64::MAX)).await.is_ok(), "{id} after {calls} calls");
                }
            }
        });
    }

    #[test]
    fn what_is_not_finished_or_not_as_announced_leaves_nothing() {
        runtime().block_on(async {
            let fs = MemFs::default();
            let blobs = opened(&fs).await;
            let mut writer = blobs.writer().await.unwrap();
            writer.write(content(PIECE * 9)).await.unwrap();
            drop(writer);
            let mut writer = blobs.writer().await.unwrap();
            writer.write(content(100)).await.unwrap();
            let other = BlobId::of(b"other");
            assert_eq!(writer.finish_as(other).await, Err(BlobError::Mismatch(other)));
            assert!(fs.0.lock().unwrap().is_empty());
            // A writer that a killed process left behind.
            fs.open(Path::new("/blobs/unfinished/0"), Open::Create).unwrap();
            opened(&fs).await;
            assert!(fs.0.lock().unwrap().is_empty());
            assert_eq!(BlobId::parse(&"G".repeat(64)), None);
            assert_eq!(BlobId::parse(&other.to_string().to_uppercase()), None);
            assert_eq!(BlobId::parse(&other.to_string()), Some(other));
        });
    }
}
