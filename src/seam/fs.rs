//! The file system as Spine sees it: positioned reads and writes, syncs that mean fdatasync, and durable names.
//!
//! Calls block. Async rooms call them through [`blocking`], which a simulation runs inline. Promise P1 rests on
//! `sync` and `sync_dir`: an `Ok` from them is the only thing that counts as durable.

use std::{io, path::Path, sync::Arc, time::Duration};

/// An open file. All methods take `&self`; positions are explicit, so handles can be shared.
#[allow(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Send + Sync {
    /// Reads exactly `buf.len()` bytes at `offset`; `UnexpectedEof` if the file is shorter.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`, extending the file where needed. Not durable before [`File::sync`].
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// fdatasync. An error means that durability is unknown for ever: the caller must stop the process (P7).
    fn sync(&self) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Grows or shrinks the file; new bytes read as zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Allocates and zeroes `[0, len)` with written blocks, so that later overwrites need no allocation.
    fn preallocate(&self, len: u64) -> io::Result<()>;
}

/// How [`Fs::open`] treats a file that is missing or present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Must exist; opened for reading only.
    Read,
    /// Must exist; opened for reading and writing.
    Write,
    /// Must not exist; created empty.
    Create,
}

pub trait Fs: Send + Sync + 'static {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Makes missing folders, with their names durable.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// File names (not paths) in a folder, sorted; an error if the folder is missing.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> bool;
    /// fsync of a folder: makes creations, renames and removals in it durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// (free bytes for us, total bytes) of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;
    /// True where blocking work must run inline on the calling thread (simulation).
    fn inline(&self) -> bool {
        false
    }
    /// How long the next piece of work takes on a simulated disk; a real one takes its time by itself.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// Waits as long as a simulated disk takes.
pub async fn dawdle(fs: &Arc<dyn Fs>) {
    let delay = fs.delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// Runs blocking file work away from the async threads; inline in a simulation.
pub async fn blocking<T: Send + 'static>(fs: &Arc<dyn Fs>, work: impl FnOnce(&dyn Fs) -> T + Send + 'static) -> T {
    if fs.inline() {
        dawdle(fs).await;
        return work(fs.as_ref());
    }
    let fs = fs.clone();
    match tokio::task::spawn_blocking(move || work(fs.as_ref())).await {
        Ok(value) => value,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
