//! Segment files: made and zeroed ahead of time, taken by the writer, used again when purged (P1, P6).
//!
//! A segment gets its name and number while it is still empty and its folder entry is synced then, so that taking it
//! costs the append path no metadata at all. A segment in use has a valid header; a spare has a zeroed one.

use super::format::{HEADER_BYTES, PAGE};
use crate::seam::fs::{File, Fs, Open};
use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Purged segments kept beyond the spares wanted: entries come and are purged in turns, and zeroing a new segment costs
/// as much as filling it.
const KEPT: usize = 2;

/// An open segment file.
#[derive(Clone)]
pub struct Segment {
    pub sequence: u32,
    pub file: Arc<dyn File>,
    /// Bytes of the file.
    pub bytes: u64,
}

/// The folder of segments.
pub struct Dir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    segment_bytes: u64,
    wanted: usize,
    /// Bytes of all segment files, spares included.
    bytes: AtomicU64,
    /// Empty segments, in order. Held only for a moment.
    ready: Mutex<VecDeque<Segment>>,
    /// The number of the segment made next. Held while one is made, so that they become ready in order.
    making: Mutex<u32>,
    /// Purged segments that wait to be used again or removed, oldest first.
    retired: Mutex<VecDeque<Segment>>,
    /// The log closes: nothing more is prepared.
    stopping: AtomicBool,
}

/// The name of a segment file.
pub fn name(sequence: u32) -> String {
    format!("seg-{sequence:010}.log")
}

/// The number in a segment file's name.
pub fn sequence_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".log")?;
    (digits.len() == 10).then(|| digits.parse().ok())?
}

/// Whether a file is what an interrupted preparation left.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with("new-") && name.ends_with(".tmp")
}

impl Dir {
    /// `spares` are empty segments found at start; `next` is the first number never used.
    pub fn new(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        segment_bytes: u64,
        wanted: usize,
        spares: Vec<Segment>,
        next: u32,
        used_bytes: u64,
    ) -> Dir {
        let bytes = used_bytes + spares.iter().map(|s| s.bytes).sum::<u64>();
        Dir {
            fs,
            path,
            segment_bytes,
            wanted,
            bytes: AtomicU64::new(bytes),
            ready: Mutex::new(spares.into()),
            making: Mutex::new(next),
            retired: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The next segment to write to, of at least `bytes`. Waits for a preparation under way; prepares one itself where
    /// none is.
    pub fn take(&self, bytes: u64) -> io::Result<Segment> {
        let mut segment = match self.next_ready() {
            Some(segment) => segment,
            None => {
                let mut next = lock(&self.making);
                match self.next_ready() {
                    Some(segment) => segment,
                    None => self.prepare(&mut next)?,
                }
            }
        };
        if segment.bytes < bytes {
            // A record longer than a whole segment: rare, so the append path may wait for it.
            let bytes = bytes.next_multiple_of(PAGE);
            if let Err(e) = segment.file.preallocate(bytes) {
                lock(&self.ready).push_front(segment);
                return Err(e);
            }
            self.bytes.fetch_add(bytes - segment.bytes, Ordering::Relaxed);
            segment.bytes = bytes;
        }
        Ok(segment)
    }

    /// Keeps spares ready and clears purged segments away. Called from the background.
    pub fn tend(&self) -> io::Result<()> {
        while !self.stopping.load(Ordering::Relaxed) {
            if self.is_short() {
                let mut next = lock(&self.making);
                if self.is_short() {
                    let segment = self.prepare(&mut next)?;
                    lock(&self.ready).push_back(segment);
                }
                continue;
            }
            if lock(&self.retired).is_empty() {
                return Ok(());
            }
            if lock(&self.ready).len() < self.wanted + KEPT {
                let mut next = lock(&self.making);
                if let Some(old) = self.reusable()? {
                    let segment = self.recycle(old, &mut next)?;
                    lock(&self.ready).push_back(segment);
                }
            } else {
                let old = lock(&self.retired).pop_front();
                old.map_or(Ok(()), |old| self.remove(old))?;
            }
        }
        Ok(())
    }

    /// Ends [`Dir::tend`] at its next step.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn remove(&self, old: Segment) -> io::Result<()> {
        let path = self.path.join(name(old.sequence));
        if self.fs.exists(&path)
            && let Err(e) = self.fs.remove_file(&path)
        {
            lock(&self.retired).push_front(old);
            return Err(e);
        }
        self.bytes.fetch_sub(old.bytes, Ordering::Relaxed);
        self.fs.sync_dir(&self.path)
    }

    /// The oldest purged segment of the usual size. Longer ones before it go: used again, they would keep their size
    /// for ever; and in order, so that what is left after a crash has no gap.
    fn reusable(&self) -> io::Result<Option<Segment>> {
        loop {
            let Some(old) = lock(&self.retired).pop_front() else { return Ok(None) };
            if old.bytes == self.segment_bytes {
                return Ok(Some(old));
            }
            self.remove(old)?;
        }
    }

    /// Whether [`Dir::tend`] has something to do.
    pub fn needs_tending(&self) -> bool {
        self.is_short() || !lock(&self.retired).is_empty()
    }

    fn is_short(&self) -> bool {
        lock(&self.ready).len() < self.wanted
    }

    fn next_ready(&self) -> Option<Segment> {
        lock(&self.ready).pop_front()
    }

    /// Hands a segment back whose entries are all purged, durably so.
    pub fn retire(&self, segment: Segment) {
        lock(&self.retired).push_back(segment);
    }

    fn prepare(&self, next: &mut u32) -> io::Result<Segment> {
        if let Some(old) = self.reusable()? {
            return self.recycle(old, next);
        }
        let sequence = *next;
        let file = make(self.fs.as_ref(), &self.path, sequence, self.segment_bytes)?;
        self.bytes.fetch_add(self.segment_bytes, Ordering::Relaxed);
        *next += 1;
        Ok(Segment { sequence, file, bytes: self.segment_bytes })
    }

    fn recycle(&self, old: Segment, next: &mut u32) -> io::Result<Segment> {
        let from = self.path.join(name(old.sequence));
        let target = self.path.join(name(*next));
        // After a failure behind the rename, the next try finds the file already under its new name.
        let renamed = |()| if self.fs.exists(&from) { self.fs.rename(&from, &target) } else { Ok(()) };
        if let Err(e) = clear(old.file.as_ref()).and_then(renamed).and_then(|()| self.fs.sync_dir(&self.path)) {
            lock(&self.retired).push_front(old);
            return Err(e);
        }
        let segment = Segment { sequence: *next, ..old };
        *next += 1;
        Ok(segment)
    }
}

/// Makes a segment a spare: its records no longer count.
pub fn clear(file: &dyn File) -> io::Result<()> {
    file.write_at(0, &[0; HEADER_BYTES as usize])?;
    file.sync()
}

/// A new, zeroed, synced file under the name of segment `sequence`.
fn make(fs: &dyn Fs, dir: &Path, sequence: u32, bytes: u64) -> io::Result<Arc<dyn File>> {
    let unfinished = dir.join(format!("new-{sequence}.tmp"));
    if fs.exists(&unfinished) {
        fs.remove_file(&unfinished)?;
    }
    let file = fs.open(&unfinished, Open::Create)?;
    let made = file
        .preallocate(bytes)
        .and_then(|()| file.sync())
        .and_then(|()| fs.rename(&unfinished, &dir.join(name(sequence))))
        .and_then(|()| fs.sync_dir(dir));
    if let Err(e) = made {
        // Give the space back: a full disk is the likeliest cause.
        let _ = fs.remove_file(&unfinished);
        return Err(e);
    }
    Ok(file)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_match() {
        assert_eq!(name(7), "seg-0000000007.log");
        assert_eq!(sequence_of("seg-0000000007.log"), Some(7));
        assert_eq!(sequence_of("seg-7.log"), None);
        assert_eq!(sequence_of("new-7.tmp"), None);
        assert!(is_unfinished("new-7.tmp"));
    }
}
