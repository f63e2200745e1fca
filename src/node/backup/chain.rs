//! Which backup's log is archived, and where that archive ends: found in the folder of backups. What cannot be read is never taken for
//! something that is not there, or the log would be given up for a disk that is away for a moment (P6).

use super::{
    BackupError,
    archive::{self, Archive},
    create,
    locked::plain_name,
    manifest::{self, BackupFile, Manifest},
};
use crate::{
    audit::Ca,
    seam::fs::{Fs, Open},
    store::blobs::BlobId,
    wire::age::Recipient,
};
use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// The archive that is being written.
pub struct Chain {
    pub backup: PathBuf,
    pub recipients: Vec<Recipient>,
    pub cluster: String,
    pub number: u64,
    pub previous: [u8; 32],
    pub reach: Vec<u64>,
    pub until: u64,
    pub gap: Option<String>,
    /// Bodies that the backup or its archive holds: as many as a backup has at most.
    pub known: BTreeSet<BlobId>,
    /// A write failed: what is on the disk may be more than this, or less.
    pub torn: bool,
    /// The backup before, where bodies are that were collected since.
    pub before: Option<PathBuf>,
}

impl Chain {
    /// An archive goes on where its last piece ends, encrypted for whom the backup is.
    pub fn read(fs: &dyn Fs, backup: PathBuf, ca: &Ca) -> Result<Chain, BackupError> {
        let manifest = Manifest::read(fs, &backup, Some(ca))?;
        let archive = Archive::read(fs, &backup, &manifest, Some(ca))?;
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
            torn: false,
            before: None,
        })
    }

    /// Why no further piece is written: a reader would not believe it.
    pub fn full(&self) -> Option<String> {
        (self.number + 2 > archive::MOST_PIECES as u64).then(|| "it has as many pieces as are read".into())
    }
}

/// What is in the folder of backups.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It was read, holds no backup of this node, and this node never made one there.
    Nothing,
    /// The same as the last time.
    AsBefore,
    /// The newest of this node, and the one before it where that was looked for.
    Newest(PathBuf, Option<PathBuf>),
}

/// Whether a file is there; an error where that cannot be told.
pub fn is_there(fs: &dyn Fs, path: &Path) -> io::Result<bool> {
    match fs.open(path, Open::Read) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The newest backup of this node in its folder: the one that it made last, if that is there; else the newest that is signed by it.
/// `first`: nothing was found before.
pub fn look(
    fs: &dyn Fs,
    (dir, kept): (&Path, &Path),
    (ca, (cluster, node)): (&Ca, &(String, u16)),
    seen: &mut Vec<PathBuf>,
    first: bool,
) -> Result<Found, BackupError> {
    let last = Some(kept).filter(|kept| kept.parent() == Some(dir));
    if let Some(kept) = last.filter(|_| !first)
        && is_there(fs, &kept.join(manifest::NAME)).map_err(BackupError::io(kept))?
    {
        return Ok(Found::Newest(kept.to_owned(), None));
    }
    let all = create::list(dir).map_err(BackupError::io(dir))?;
    if !first && !all.is_empty() && all == *seen {
        return Ok(Found::AsBefore);
    }
    let mut own = vec![];
    for path in &all {
        match Manifest::read(fs, path, Some(ca)) {
            Ok(found) if found.cluster == *cluster && found.node == *node => {
                own.push((Some(path.as_path()) == last, found.made, path.clone()));
            }
            Err(e @ (BackupError::Io { .. } | BackupError::NoManifest(_))) => return Err(e),
            // Of another site or node, or changed: none that this node may go on with.
            _ => {}
        }
    }
    *seen = all;
    own.sort();
    match (own.pop(), last) {
        (Some((.., newest)), _) => Ok(Found::Newest(newest, own.pop().map(|(.., path)| path))),
        (None, Some(kept)) => {
            let why = format!("the backup {}, the last that this node made, is not there", kept.display());
            Err(BackupError::Archiving(why))
        }
        (None, None) => Ok(Found::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::test_signer, seam::fs_real::RealFs};

    #[test]
    fn a_folder_that_is_away_or_lacks_the_last_backup_is_not_one_without_backups() {
        let (ca, signer) = test_signer();
        let disk = tempfile::tempdir().unwrap();
        let dir = disk.path().join("backups");
        let own = ("x".to_owned(), 1);
        let mut seen = vec![];
        let mut look = |kept: &Path, first| look(&RealFs, (&dir, kept), (&ca, &own), &mut seen, first);
        let none = Path::new("");
        assert!(look(none, true).is_err(), "no folder: its disk may be away");
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(look(none, true).unwrap(), Found::Nothing);
        assert!(look(&dir.join("b"), true).is_err(), "this node made one, and it is not there");
        assert!(look(&dir.join("b"), false).is_err());
        for (name, made) in [("a", 1_790_000_000_002), ("b", 1_790_000_000_001)] {
            let manifest = Manifest { format: 1, node: 1, cluster: "x".into(), made, ..Default::default() };
            std::fs::create_dir(dir.join(name)).unwrap();
            std::fs::write(dir.join(name).join(manifest::NAME), manifest.sealed(&signer).unwrap()).unwrap();
        }
        let newest =
            |one: &str, before: Option<&str>| Found::Newest(dir.join(one), before.map(|before| dir.join(before)));
        assert_eq!(look(&dir.join("b"), false).unwrap(), newest("b", None), "the last made, whatever clocks said");
        assert_eq!(look(&dir.join("b"), true).unwrap(), newest("b", Some("a")));
        assert_eq!(look(none, true).unwrap(), newest("a", Some("b")));
        assert_eq!(look(none, false).unwrap(), Found::AsBefore);
        std::fs::remove_dir_all(dir.join("b")).unwrap();
        assert_eq!(look(&dir.join("b"), false).unwrap(), newest("a", None), "removed, and the disk is there");
    }
}
