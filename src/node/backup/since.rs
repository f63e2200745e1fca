//! Backups that hold only what is new: what an earlier one of the same site holds already gets a second name instead of being
//! written again. Each is whole by itself all the same: its manifest names every file, and it outlives the earlier one (P3, P7).

use super::{
    BackupError,
    copy::{compare, hashed},
    manifest::{BackupFile, Manifest},
};
use crate::{
    audit::Ca,
    seam::{
        fs::{File, Fs, blocking},
        pace::Pace,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// An earlier backup.
pub struct Base {
    path: PathBuf,
    files: BTreeMap<String, BackupFile>,
}

impl Base {
    /// Of this site, signed by it, and readable for the same keys: else the new one would hold what nobody wants in it.
    pub fn open(
        fs: &dyn Fs,
        path: &Path,
        ca: &Ca,
        (cluster, recipients): (&str, &[String]),
    ) -> Result<Base, BackupError> {
        let manifest = Manifest::read(fs, path, Some(ca))?;
        let other = |why| Err(BackupError::OtherBase { path: path.to_owned(), why });
        if manifest.cluster != cluster {
            return other("is of another site");
        }
        let all = |keys: &[String]| keys.iter().cloned().collect::<BTreeSet<_>>();
        if all(&manifest.recipients) != all(recipients) {
            return other("is encrypted for other keys");
        }
        let files = manifest.files().map(|file| (file.name.clone(), file.clone())).collect();
        Ok(Base { path: path.to_owned(), files })
    }

    /// Gives a file of the earlier backup its name in the new one too, if it is what the new one wants there: with a source, one
    /// of the same SHA-256; without, its name says it (a body's is its content's SHA-256). It is read first: what was damaged
    /// there since is none.
    pub async fn link(
        &self,
        fs: &Arc<dyn Fs>,
        (folder, name): (&Path, &str),
        source: Option<(Arc<dyn File>, u64)>,
        pace: &Pace,
    ) -> Result<Option<BackupFile>, BackupError> {
        let Some(told) = self.files.get(name) else { return Ok(None) };
        if let Some((file, bytes)) = source
            && (bytes != told.bytes
                || hashed(fs, file, bytes, pace).await.map_err(BackupError::io(folder))? != told.sha256)
        {
            return Ok(None);
        }
        if let Err(error) = compare(fs, &self.path, told, pace).await {
            tracing::warn!(event = "backup.base_damaged", %error, "an earlier backup is damaged; the file is copied anew");
            return Ok(None);
        }
        let (from, to) = (self.path.join(name), folder.join(name));
        let linked = blocking(fs, move |fs| {
            if let Some(above) = to.parent() {
                fs.create_dir_all(above)?;
            }
            std::fs::hard_link(&from, &to)
        });
        // Another disk, or one without second names: then it is copied.
        Ok(linked.await.is_ok().then(|| told.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::test_signer,
        node::backup::{
            copy,
            manifest::{BackupPart, NAME},
        },
        seam::fs_real::RealFs,
    };
    use std::os::unix::fs::MetadataExt;

    #[tokio::test]
    async fn only_a_file_that_is_the_same_and_whole_gets_a_second_name() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, pace): (Arc<dyn Fs>, _) = (Arc::new(RealFs), Pace::new(u64::MAX));
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for name in ["p0/a", "p0/b", "p0/c"] {
            std::fs::create_dir_all(old.join("p0")).unwrap();
            std::fs::write(old.join(name), name).unwrap();
        }
        let mut files = vec![];
        for name in ["p0/a", "p0/b", "p0/c"] {
            files.push(copy::read(&fs, &old, name, &pace).await.unwrap());
        }
        let (ca, signer) = test_signer();
        let parts = vec![BackupPart { files, ..Default::default() }];
        let made = 1_790_000_000_000;
        let manifest = Manifest { format: 1, node: 1, cluster: "x".into(), made, parts, ..Default::default() };
        std::fs::write(old.join(NAME), manifest.sealed(&signer).unwrap()).unwrap();
        let refused = |of| Base::open(fs.as_ref(), &old, &ca, of).map(drop).unwrap_err().to_string();
        assert!(refused(("y", &[])).contains("another site"));
        assert!(refused(("x", &["age1".into()])).contains("other keys"));
        let base = Base::open(fs.as_ref(), &old, &ca, ("x", &[])).unwrap();
        let source = |name: &str| {
            let file = fs.open(&old.join(name), crate::seam::fs::Open::Read).unwrap();
            Some((file.clone(), file.len().unwrap()))
        };
        std::fs::write(old.join("p0/c"), "damaged").unwrap();
        let linked = base.link(&fs, (&new, "p0/a"), source("p0/a"), &pace).await.unwrap().unwrap();
        assert_eq!((linked.name.as_str(), std::fs::metadata(new.join("p0/a")).unwrap().nlink()), ("p0/a", 2));
        for (name, source) in [("p0/b", source("p0/a")), ("p0/c", None), ("p0/d", None)] {
            assert!(base.link(&fs, (&new, name), source, &pace).await.unwrap().is_none(), "{name}");
            assert!(!new.join(name).exists());
        }
        std::fs::remove_dir_all(&old).unwrap();
        assert_eq!(std::fs::read(new.join("p0/a")).unwrap(), b"p0/a", "it outlives the earlier one");
    }
}
