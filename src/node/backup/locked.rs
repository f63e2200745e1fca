//! Encrypted files of a backup, in `age`'s form: written for public keys of which the node has no private half, and read, at any
//! place of theirs, by whoever has one, as if they were plain. What was changed in one does not open (P7); one piece of a file
//! is in memory at a time (P6).

use super::{BackupError, manifest::Manifest};
use crate::{
    seam::{
        fs::{File, Fs, Open},
        rng::Rng,
    },
    wire::age::{self, Identity, LONGEST_HEADER, PIECE, Pieces, Recipient, SEAL},
};
use std::{
    io::{self, Error, ErrorKind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How the names of encrypted files end.
pub const SUFFIX: &str = ".age";

/// A name without it.
pub fn plain_name(name: &str) -> &str {
    name.strip_suffix(SUFFIX).unwrap_or(name)
}

/// Whom files are written for.
pub struct Lock {
    pub recipients: Vec<Recipient>,
    pub rng: Arc<dyn Rng>,
}

/// A file that is being written.
pub struct Sealing {
    pieces: Pieces,
    number: u64,
}

impl Sealing {
    /// The file's first bytes come with it.
    pub fn begin(lock: &Lock) -> io::Result<(Vec<u8>, Sealing)> {
        let begun = age::begin(&lock.recipients, &mut |out| lock.rng.fill(out));
        begun.map(|(start, pieces)| (start, Sealing { pieces, number: 0 })).map_err(Error::other)
    }

    /// Content that follows: whole pieces, but at the end.
    pub fn seal(&mut self, content: &[u8], end: bool) -> io::Result<Vec<u8>> {
        let count = content.len().div_ceil(PIECE).max(1);
        let mut out = Vec::with_capacity(content.len() + count * SEAL);
        for n in 0..count {
            let mut piece = content[n * PIECE..content.len().min((n + 1) * PIECE)].to_vec();
            let sealed = self.pieces.seal(self.number, end && n + 1 == count, &mut piece);
            sealed.map_err(|e| Error::other(e.to_string()))?;
            self.number += 1;
            out.append(&mut piece);
        }
        Ok(out)
    }
}

/// The file system, with encrypted files as if they were plain.
struct Unlocked {
    fs: Arc<dyn Fs>,
    identities: Vec<Identity>,
}

/// A file system that reads encrypted files with these keys.
pub fn unlocked(fs: &Arc<dyn Fs>, identities: Vec<Identity>) -> Arc<dyn Fs> {
    Arc::new(Unlocked { fs: fs.clone(), identities })
}

/// Likewise for a backup, whose own recipients tell at once whether the keys are right.
pub fn opened(fs: &Arc<dyn Fs>, manifest: &Manifest, identities: &[Identity]) -> Result<Arc<dyn Fs>, BackupError> {
    let wanted = &manifest.recipients;
    if wanted.is_empty() {
        return Ok(fs.clone());
    }
    match identities.iter().any(|identity| wanted.contains(&identity.public().to_string())) {
        true => Ok(unlocked(fs, identities.to_vec())),
        false if identities.is_empty() => Err(BackupError::Locked(wanted.join(", "))),
        false => {
            let given: Vec<String> = identities.iter().map(|identity| identity.public().to_string()).collect();
            Err(BackupError::OtherKey { wanted: wanted.join(", "), given: given.join(", ") })
        }
    }
}

/// An encrypted file, open for reading.
struct LockedFile {
    file: Arc<dyn File>,
    pieces: Pieces,
    /// Where the pieces begin, how many they are, and how many bytes of content they hold.
    start: u64,
    count: u64,
    bytes: u64,
    /// The piece that was read last: readers go in small steps.
    last: Mutex<Option<(u64, Vec<u8>)>>,
}

impl LockedFile {
    fn open(file: Arc<dyn File>, identities: &[Identity]) -> io::Result<LockedFile> {
        let invalid = |e: age::Locked| Error::new(ErrorKind::InvalidData, e.to_string());
        let total = file.len()?;
        let mut start = vec![0; total.min(LONGEST_HEADER as u64) as usize];
        file.read_at(0, &mut start)?;
        let (start, pieces) = age::open(&start, identities).map_err(invalid)?;
        let (start, step) = (start as u64, (PIECE + SEAL) as u64);
        let body = total - start;
        let count = body.div_ceil(step);
        let bytes = body.checked_sub(count * SEAL as u64).filter(|_| count > 0);
        let bytes = bytes.ok_or_else(|| invalid(age::Locked::Piece))?;
        let opened = LockedFile { file, pieces, start, count, bytes, last: Mutex::default() };
        // The end first: only its seal says that it is the end, so a reader who stops before it would believe a file that was cut off.
        let end = opened.piece(count - 1)?;
        if end.is_empty() && count > 1 {
            return Err(invalid(age::Locked::Piece));
        }
        Ok(LockedFile { last: Mutex::new(Some((count - 1, end))), ..opened })
    }

    fn piece(&self, number: u64) -> io::Result<Vec<u8>> {
        let step = (PIECE + SEAL) as u64;
        let left = self.bytes + self.count * SEAL as u64 - number * step;
        let mut piece = vec![0; left.min(step) as usize];
        self.file.read_at(self.start + number * step, &mut piece)?;
        let opened = self.pieces.open(number, number + 1 == self.count, &mut piece);
        opened.map_err(|e| Error::new(ErrorKind::InvalidData, e.to_string()))?;
        Ok(piece)
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(Error::from(ErrorKind::ReadOnlyFilesystem))
}

impl File for LockedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.bytes) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (number, within) = (at / PIECE as u64, (at % PIECE as u64) as usize);
            let content = match last.take() {
                Some((of, content)) if of == number => content,
                _ => self.piece(number)?,
            };
            let len = (content.len() - within).min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&content[within..within + len]);
            done += len;
            *last = Some((number, content));
        }
        Ok(())
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        read_only()
    }
    fn sync(&self) -> io::Result<()> {
        read_only()
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }
    fn preallocate(&self, _: u64) -> io::Result<()> {
        read_only()
    }
}

impl Fs for Unlocked {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = self.fs.open(path, how)?;
        match how == Open::Read && path.to_string_lossy().ends_with(SUFFIX) {
            true => Ok(Arc::new(LockedFile::open(file, &self.identities)?)),
            false => Ok(file),
        }
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.fs.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_dir_all(path)
    }
    fn exists(&self, path: &Path) -> bool {
        self.fs.exists(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        self.fs.space(path)
    }
    fn inline(&self) -> bool {
        self.fs.inline()
    }
    fn delay(&self) -> Duration {
        self.fs.delay()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::backup::copy::{self, copy},
        seam::{fs_real::RealFs, pace::Pace, rng::SystemRng},
    };

    fn identity() -> Identity {
        Identity::new(&mut |out| SystemRng.fill(out))
    }

    #[tokio::test]
    async fn what_was_copied_encrypted_is_read_at_any_place_as_it_was_and_only_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, pace): (Arc<dyn Fs>, _) = (Arc::new(RealFs), Pace::new(u64::MAX));
        let (own, other) = (identity(), identity());
        let lock = Lock { recipients: vec![own.public()], rng: Arc::new(SystemRng) };
        for len in [0, 1, PIECE, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 * PIECE + 5] {
            let content: Vec<u8> = (0..len).map(|n| ((n * 31) >> 3) as u8).collect();
            std::fs::write(dir.path().join("plain"), &content).unwrap();
            let from = fs.open(&dir.path().join("plain"), Open::Read).unwrap();
            let name = format!("{len}{SUFFIX}");
            let told = copy(&fs, (from, len as u64), (dir.path(), &name), Some(&lock), &pace).await.unwrap();
            // The manifest tells of what lies on the disk.
            let read = copy::read(&fs, dir.path(), &name, &pace).await.unwrap();
            assert_eq!(read, told, "{len}");
            let stored = std::fs::read(dir.path().join(&name)).unwrap();
            assert!(stored.len() as u64 == told.bytes && told.bytes > len as u64 + 190);
            assert!(len < 64 || !stored.windows(64).any(|part| part == &content[..64]));
            let path = dir.path().join(&name);
            let file = unlocked(&fs, vec![own.clone()]).open(&path, Open::Read).unwrap();
            assert_eq!(file.len().unwrap(), len as u64);
            for (at, part) in [(0, len), (len / 2, len - len / 2), (len.saturating_sub(1), len.min(1)), (len, 0)] {
                let mut found = vec![0; part];
                file.read_at(at as u64, &mut found).unwrap();
                assert_eq!(found, content[at..at + part]);
            }
            assert!(file.read_at(len as u64, &mut [0]).is_err());
            let wrong = unlocked(&fs, vec![other.clone()]).open(&path, Open::Read).map(drop).unwrap_err();
            assert!(wrong.to_string().contains("other keys"), "{wrong}");
        }
    }

    /// Runs a program of the package `age`; `None` where it is not installed.
    fn age(dir: &Path, program: &str, args: &[&str]) -> Option<String> {
        let done = std::process::Command::new(program).args(args).current_dir(dir).output().ok()?;
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).ok()
    }

    #[tokio::test]
    async fn age_itself_reads_what_is_written_here_and_what_it_writes_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, pace): (Arc<dyn Fs>, _) = (Arc::new(RealFs), Pace::new(u64::MAX));
        if age(dir.path(), "age-keygen", &["-o", "theirs"]).is_none() {
            println!("left out: age is not installed");
            return;
        }
        let (own, path) = (identity(), |name: &str| dir.path().join(name));
        std::fs::write(path("own"), own.secret_text()).unwrap();
        let theirs = Identity::all(&std::fs::read_to_string(path("theirs")).unwrap()).unwrap().remove(0);
        let public = age(dir.path(), "age-keygen", &["-y", "theirs"]).unwrap();
        assert_eq!(Recipient::parse(public.trim()), Some(theirs.public()));
        assert_eq!(age(dir.path(), "age-keygen", &["-y", "own"]).unwrap().trim(), own.public().to_string());
        let lock = Lock { recipients: vec![own.public(), theirs.public()], rng: Arc::new(SystemRng) };
        for len in [0, 1, PIECE, PIECE + 1, (1 << 20) + 5] {
            let content: Vec<u8> = (0..len).map(|n| ((n * 31) >> 3) as u8).collect();
            std::fs::write(path("plain"), &content).unwrap();
            let from = fs.open(&path("plain"), Open::Read).unwrap();
            let name = format!("{len}.age");
            copy(&fs, (from, len as u64), (dir.path(), &name), Some(&lock), &pace).await.unwrap();
            for key in ["own", "theirs"] {
                let back = format!("{len}-{key}");
                age(dir.path(), "age", &["--decrypt", "-i", key, "-o", &back, &name]).unwrap();
                // Of nothing it makes no file.
                assert!(std::fs::read(path(&back)).unwrap_or_default() == content, "{len} with {key}");
            }
            let both = [own.public().to_string(), theirs.public().to_string()];
            age(dir.path(), "age", &["-r", &both[0], "-r", &both[1], "-o", "written.age", "plain"]).unwrap();
            for key in [&own, &theirs] {
                let file = unlocked(&fs, vec![key.clone()]).open(&path("written.age"), Open::Read).unwrap();
                let mut found = vec![0; file.len().unwrap() as usize];
                file.read_at(0, &mut found).unwrap();
                assert!(found == content, "{len}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_was_cut_off_anywhere_or_goes_on_behind_its_end_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, pace): (Arc<dyn Fs>, _) = (Arc::new(RealFs), Pace::new(u64::MAX));
        let own = identity();
        let lock = Lock { recipients: vec![own.public()], rng: Arc::new(SystemRng) };
        let len = 2 * PIECE + 40;
        std::fs::write(dir.path().join("plain"), vec![7; len]).unwrap();
        let from = fs.open(&dir.path().join("plain"), Open::Read).unwrap();
        let told = copy(&fs, (from, len as u64), (dir.path(), "whole.age"), Some(&lock), &pace).await.unwrap();
        let whole = std::fs::read(dir.path().join("whole.age")).unwrap();
        let head = told.bytes as usize - len - 3 * SEAL;
        let (step, path) = (PIECE + SEAL, dir.path().join("cut.age"));
        let opens = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            unlocked(&fs, vec![own.clone()]).open(&path, Open::Read).is_ok()
        };
        assert!(opens(&whole));
        for end in [head, head + step, head + 2 * step].into_iter().flat_map(|at| at - 20..at + 40) {
            assert!(!opens(&whole[..end]), "{end} of {} bytes, {head} of them the header", whole.len());
        }
        let joined = [&whole[..], &whole[head..]].concat();
        assert!(!opens(&joined) && !opens(&[&whole[..], b"x"].concat()));
        // A last piece without content is one too many, however well it is sealed.
        let (mut start, pieces) = age::begin(&lock.recipients, &mut |out| lock.rng.fill(out)).unwrap();
        let (mut full, mut empty) = (vec![7; PIECE], vec![]);
        pieces.seal(0, false, &mut full).unwrap();
        pieces.seal(1, true, &mut empty).unwrap();
        start.extend([full, empty].concat());
        assert!(!opens(&start));
    }
}
