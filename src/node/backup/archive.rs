//! The log behind a backup, in pieces beside its files: what is in the folder `log` of a backup, how it is sealed, and how it is read
//! back. Each piece has a head that names its files with their SHA-256 and the head before it with its own, the first the backup's
//! manifest, and is signed with the node's key: what was changed, exchanged, left out or made elsewhere is found (P4, P7).

use super::{
    BackupError,
    copy::compare,
    locked::SUFFIX,
    manifest::{self, BackupFile, Manifest, SealedManifest},
};
use crate::{
    audit::{Ca, Signer, proves},
    record,
    seam::{
        fs::{Fs, Open},
        pace::Pace,
    },
    wire::record::Record as _,
};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::{Buf as _, Bytes};
use std::{path::Path, sync::Arc};

/// Where it lies in a backup.
pub const FOLDER: &str = "log";
/// See [`ArchiveHead::format`].
pub const FORMAT: u32 = 1;
const HEAD: &[u8; 8] = b"SPNARCH1";
const LOG: &[u8; 8] = b"SPNALOG1";
/// How the names of heads end.
const HEAD_SUFFIX: &str = ".head";
/// Longest head and longest piece that are believed (P6); a piece is cut at a fraction of that.
const LONGEST_HEAD: u64 = 64 << 20;
const LONGEST_LOG: u64 = 160 << 20;
/// Most pieces of one archive: one a second for twelve days.
pub const MOST_PIECES: usize = 1 << 20;

record! {
    /// What a piece says of itself.
    pub struct ArchiveHead v1 {
        /// A release that writes it in a form that releases before cannot read says a higher number.
        1 => format: u32,
        /// The site's id, and the node that wrote it.
        2 => cluster: String,
        3 => node: u16,
        /// From 1, and the SHA-256 of the head before; of the first that of the backup's manifest, as these files lie there.
        4 => number: u64,
        5 => previous: [u8; 32],
        /// When it was written, milliseconds since the epoch.
        6 => made: u64,
        /// All that was acknowledged before this moment is in this piece or before it; 0 while no piece says so.
        7 => until: u64,
        /// By partition: the last entry that is in this piece or before it.
        8 => reach: Vec<u64>,
        /// The entries; none where nothing was decided.
        9 => log: Option<BackupFile>,
        /// Bodies that rows of these entries name and no file before holds.
        10 => bodies: Vec<BackupFile>,
        /// SHA-256 of those that no node had any more.
        11 => absent: Vec<Bytes>,
        /// Why nothing follows: entries behind this piece are gone from the node's log.
        12 => gap: String,
    }
}

record! {
    /// One entry of a partition's log.
    pub struct ArchivedEntry v1 {
        1 => partition: u16,
        2 => index: u64,
        3 => term: u64,
        /// As it was agreed; empty where no decision made it.
        4 => payload: Bytes,
    }
}

impl ArchiveHead {
    /// The file's bytes.
    pub fn sealed(&self, signer: &dyn Signer) -> Result<Vec<u8>, BackupError> {
        let manifest = self.encode();
        let signature = signer.sign(&signed_bytes(&manifest)).map_err(BackupError::Unsigned)?.into();
        let sealed = SealedManifest { manifest, certificate: signer.certificate(), signature, ..Default::default() };
        Ok([&HEAD[..], &sealed.encode()].concat())
    }

    fn opened(content: &[u8], ca: &Ca) -> Result<ArchiveHead, String> {
        let sealed = content.strip_prefix(HEAD).ok_or("it does not begin as a head")?;
        let sealed = SealedManifest::decode(&Bytes::copy_from_slice(sealed)).map_err(|e| e.to_string())?;
        let head = ArchiveHead::decode(&sealed.manifest).map_err(|e| e.to_string())?;
        let message = signed_bytes(&sealed.manifest);
        let proven = proves((&sealed.certificate, &sealed.signature), head.made, head.node, &message, ca);
        proven.map_err(|e| e.to_string())?;
        Ok(head)
    }

    /// Its files, all but itself.
    pub fn files(&self) -> impl Iterator<Item = &BackupFile> {
        self.log.iter().chain(&self.bodies)
    }
}

/// Whether a reader would believe a head, apart from what is before it.
pub fn believed(name: &str, sealed: &[u8], ca: &Ca) -> Result<(), BackupError> {
    if sealed.len() as u64 > LONGEST_HEAD {
        return Err(damaged(name, format!("{} bytes are too many", sealed.len())));
    }
    ArchiveHead::opened(sealed, ca).map(drop).map_err(|why| damaged(name, why))
}

fn signed_bytes(head: &[u8]) -> Vec<u8> {
    [b"spine archive v1\0", head].concat()
}

/// Names of a piece's files below the backup's folder, of bodies by their own; `suffix` where they are encrypted.
pub fn head_name(number: u64) -> String {
    format!("{FOLDER}/{number:08}{HEAD_SUFFIX}")
}
pub fn log_name(number: u64, suffix: &str) -> String {
    format!("{FOLDER}/{number:08}.log{suffix}")
}

/// A file's SHA-256.
pub fn sha256(content: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, content).as_ref());
    out
}

fn damaged(file: &str, why: impl Into<String>) -> BackupError {
    BackupError::Archive { file: file.into(), why: why.into() }
}

fn read_all(fs: &dyn Fs, path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let file = fs.open(path, Open::Read)?;
    let len = file.len()?;
    if len > most {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{len} bytes are too many")));
    }
    let mut content = vec![0; len as usize];
    file.read_at(0, &mut content)?;
    Ok(content)
}

/// The pieces behind a backup, in their order.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    pub heads: Vec<ArchiveHead>,
    /// SHA-256 of the last head, or of the manifest where there is none.
    pub last: [u8; 32],
    /// The last entries of the backup itself, by partition.
    base: Vec<u64>,
}

impl Archive {
    /// Reads the heads, and believes them only if they are one chain that begins at this backup and nodes of its site signed it.
    pub fn read(fs: &dyn Fs, backup: &Path, manifest: &Manifest, ca: Option<&Ca>) -> Result<Archive, BackupError> {
        let base = manifest.parts.iter().map(|part| part.index).collect();
        let start = backup.join(manifest::NAME);
        let start = read_all(fs, &start, u64::MAX).map_err(BackupError::io(&start))?;
        let mut archive = Archive { heads: vec![], last: sha256(&start), base };
        let folder = backup.join(FOLDER);
        if !fs.exists(&folder) {
            return Ok(archive);
        }
        let own;
        let ca = match ca {
            Some(ca) => ca,
            None => {
                own = manifest.ca()?;
                &own
            }
        };
        let names = fs.list(&folder).map_err(BackupError::io(&folder))?;
        for name in names.iter().filter(|name| name.ends_with(HEAD_SUFFIX)) {
            let wanted = head_name(archive.heads.len() as u64 + 1);
            if format!("{FOLDER}/{name}") != wanted {
                return Err(damaged(&wanted, format!("it is missing, and {name} is there")));
            }
            if archive.heads.len() >= MOST_PIECES {
                return Err(damaged(&wanted, "there are more pieces than are read"));
            }
            archive.follow(fs, backup, (&wanted, &manifest.cluster), ca)?;
        }
        Ok(archive)
    }

    fn follow(
        &mut self,
        fs: &dyn Fs,
        backup: &Path,
        (name, cluster): (&str, &str),
        ca: &Ca,
    ) -> Result<(), BackupError> {
        let content = read_all(fs, &backup.join(name), LONGEST_HEAD).map_err(|e| damaged(name, e.to_string()))?;
        let head = ArchiveHead::opened(&content, ca).map_err(|why| damaged(name, why))?;
        if head.format > FORMAT {
            return Err(BackupError::Newer(head.format));
        }
        let (reach, until) = (self.reach(), self.until().unwrap_or(0));
        let why = if head.cluster != cluster {
            "it is of another site"
        } else if head.number != self.heads.len() as u64 + 1 || head.previous != self.last {
            "it does not follow the one before it, or the manifest"
        } else if self.gap().is_some() {
            "it follows one that says that nothing does"
        } else if head.reach.len() != reach.len() || head.reach.iter().zip(&reach).any(|(now, before)| now < before) {
            "it goes back behind the one before it"
        } else if head.until < until {
            "its moment is before that of the one before it"
        } else if head.files().any(|file| !manifest::is_plain(&file.name)) {
            "it names a file that is none of the backup's"
        } else {
            (self.last, _) = (sha256(&content), self.heads.push(head));
            return Ok(());
        };
        Err(damaged(name, why))
    }

    /// The last entry that the backup or its archive has, by partition.
    pub fn reach(&self) -> Vec<u64> {
        self.heads.last().map_or_else(|| self.base.clone(), |head| head.reach.clone())
    }

    /// The last moment that can be had.
    pub fn until(&self) -> Option<u64> {
        self.heads.last().map(|head| head.until).filter(|until| *until > 0)
    }

    /// Why it ends.
    pub fn gap(&self) -> Option<&str> {
        self.heads.last().map(|head| head.gap.as_str()).filter(|gap| !gap.is_empty())
    }

    pub fn files(&self) -> impl Iterator<Item = &BackupFile> {
        self.heads.iter().flat_map(ArchiveHead::files)
    }

    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// Compares every file with what its head says of it.
    pub async fn compare(&self, fs: &Arc<dyn Fs>, backup: &Path, pace: &Pace) -> Result<(), BackupError> {
        for file in self.files() {
            compare(fs, backup, file, pace).await.map_err(|e| match e {
                BackupError::Missing(_) => damaged(&file.name, "it is missing"),
                BackupError::Length { .. } | BackupError::Changed(_) => damaged(&file.name, e.to_string()),
                other => other,
            })?;
        }
        Ok(())
    }
}

/// Entries on their way into a piece's file.
pub struct Content(Vec<u8>);

impl Content {
    pub fn begin() -> Content {
        Content(LOG.to_vec())
    }

    pub fn push(&mut self, entry: &ArchivedEntry) {
        let record = entry.encode();
        self.0.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.0.extend_from_slice(&record);
    }

    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// `None` where there are no entries.
    pub fn done(self) -> Option<Vec<u8>> {
        (self.0.len() > LOG.len()).then_some(self.0)
    }
}

/// The entries of a piece, read with what opens its file.
pub fn entries(reading: &dyn Fs, backup: &Path, file: &BackupFile) -> Result<Vec<ArchivedEntry>, BackupError> {
    let content = read_all(reading, &backup.join(&file.name), LONGEST_LOG);
    let content = Bytes::from(content.map_err(|e| damaged(&file.name, e.to_string()))?);
    // Compared before, and read again: what is replayed is what was written. What is encrypted opens only as it was written.
    if !file.name.ends_with(SUFFIX) && sha256(&content) != file.sha256 {
        return Err(damaged(&file.name, "it was changed: its SHA-256 is another"));
    }
    if !content.starts_with(LOG) {
        return Err(damaged(&file.name, "it does not begin as a piece of a log"));
    }
    let (mut rest, mut found) = (content.slice(LOG.len()..), vec![]);
    while rest.has_remaining() {
        let len = rest.try_get_u32_le().unwrap_or(u32::MAX) as usize;
        if len > rest.len() {
            return Err(damaged(&file.name, "an entry is cut off"));
        }
        let entry = ArchivedEntry::decode(&rest.split_to(len));
        found.push(entry.map_err(|e| damaged(&file.name, e.to_string()))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::test_signer, node::backup::manifest::BackupPart, seam::fs_real::RealFs};

    /// A backup with an archive of three pieces, the second of them without entries.
    fn archived(dir: &Path, signer: &dyn Signer) -> Manifest {
        let made = 1_790_000_000_000;
        let parts = vec![BackupPart { index: 5, ..Default::default() }];
        let manifest = Manifest { format: 1, node: 1, cluster: "x".into(), made, parts, ..Default::default() };
        let start = manifest.sealed(signer).unwrap();
        std::fs::create_dir_all(dir.join(FOLDER)).unwrap();
        std::fs::write(dir.join(manifest::NAME), &start).unwrap();
        let mut previous = sha256(&start);
        for (number, reach) in [(1, 7), (2, 7), (3, 8)] {
            let mut content = Content::begin();
            for index in if number == 1 { 6..8 } else { reach..reach + 1 } {
                let payload = Bytes::from_static(b"rows");
                content.push(&ArchivedEntry { index, term: 1, payload, ..Default::default() });
            }
            let log = content.done().filter(|_| number != 2).map(|content| {
                let name = log_name(number, "");
                std::fs::write(dir.join(&name), &content).unwrap();
                BackupFile { name, bytes: content.len() as u64, sha256: sha256(&content), ..Default::default() }
            });
            let until = made + number * 1000;
            let head = ArchiveHead {
                format: FORMAT,
                cluster: "x".into(),
                node: 1,
                number,
                previous,
                made,
                until,
                reach: vec![reach],
                log,
                ..Default::default()
            };
            let sealed = head.sealed(signer).unwrap();
            std::fs::write(dir.join(head_name(number)), &sealed).unwrap();
            previous = sha256(&sealed);
        }
        manifest
    }

    fn why(dir: &Path, manifest: &Manifest, ca: &Ca) -> String {
        let found = Archive::read(&RealFs, dir, manifest, Some(ca));
        let error = found.map(drop).unwrap_err();
        assert_eq!(error.code().code, "SPN-2207", "{error}");
        error.to_string()
    }

    #[test]
    fn a_chain_is_read_as_it_was_written_and_one_that_misses_a_piece_or_its_start_is_refused() {
        let (ca, signer) = test_signer();
        let all = tempfile::tempdir().unwrap();
        let dir = |name: &str| all.path().join(name);
        let manifest = archived(&dir("good"), &signer);
        let archive = Archive::read(&RealFs, &dir("good"), &manifest, Some(&ca)).unwrap();
        assert_eq!((archive.reach(), archive.until(), archive.gap()), (vec![8], Some(manifest.made + 3000), None));
        let read = |n: usize| entries(&RealFs, &dir("good"), archive.heads[n].log.as_ref().unwrap()).unwrap();
        assert_eq!(read(0).iter().map(|entry| entry.index).collect::<Vec<_>>(), [6, 7]);
        assert_eq!(read(2).iter().map(|entry| entry.index).collect::<Vec<_>>(), [8]);

        archived(&dir("middle"), &signer);
        std::fs::remove_file(dir("middle").join(head_name(2))).unwrap();
        assert!(why(&dir("middle"), &manifest, &ca).contains("it is missing"));
        archived(&dir("moved"), &signer);
        std::fs::rename(dir("moved").join(head_name(3)), dir("moved").join(head_name(2))).unwrap();
        assert!(why(&dir("moved"), &manifest, &ca).contains("does not follow"));
        archived(&dir("other"), &signer);
        let other = Manifest { made: 7, ..manifest.clone() }.sealed(&signer).unwrap();
        std::fs::write(dir("other").join(manifest::NAME), other).unwrap();
        assert!(why(&dir("other"), &manifest, &ca).contains("does not follow"), "the archive of another backup");
    }

    #[test]
    fn no_bit_of_a_head_can_be_changed_and_nobody_else_signs_one() {
        let (ca, signer) = test_signer();
        let dir = tempfile::tempdir().unwrap();
        let manifest = archived(dir.path(), &signer);
        let path = dir.path().join(head_name(3));
        let good = std::fs::read(&path).unwrap();
        let read = || Archive::read(&RealFs, dir.path(), &manifest, Some(&ca));
        let whole = read().unwrap().heads;
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).unwrap();
            let found = read();
            assert!(found.as_ref().is_ok_and(|found| found.heads == whole) || found.is_err(), "bit {bit}");
        }
        let (_, other) = test_signer();
        std::fs::write(&path, whole[2].sealed(&other).unwrap()).unwrap();
        why(dir.path(), &manifest, &ca);
    }

    #[tokio::test]
    async fn a_file_that_is_not_what_its_head_says_is_the_archives_damage() {
        let (ca, signer) = test_signer();
        let dir = tempfile::tempdir().unwrap();
        let manifest = archived(dir.path(), &signer);
        let archive = Archive::read(&RealFs, dir.path(), &manifest, Some(&ca)).unwrap();
        let (fs, pace): (Arc<dyn Fs>, _) = (Arc::new(RealFs), Pace::new(u64::MAX));
        archive.compare(&fs, dir.path(), &pace).await.unwrap();
        let path = dir.path().join(log_name(1, ""));
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[20] ^= 1;
        for content in [Some(bad), Some(good[..good.len() - 1].to_vec()), None] {
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let error = archive.compare(&fs, dir.path(), &pace).await.unwrap_err();
            assert_eq!(error.code().code, "SPN-2207", "{error}");
        }
    }
}
