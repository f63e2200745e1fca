//! Making a backup: a cut through all partitions of this node's own store, its files copied while the site goes on, the
//! bodies that its rows name, and the manifest; then the folder gets its name.
//!
//! Nobody is held up: which entries belong to it is found in a journal of what is applied meanwhile, and what the disk reads
//! and writes is bounded per second. What this node's rows lack of the others' is not in it: it is at least what was
//! acknowledged before it began, because the cut begins behind a fence in every partition.

use super::{
    BackupError,
    desk::Progress,
    maker::{self, Maker},
    manifest,
};
use crate::{
    node::Node,
    seam::fs::{File, Fs, Open, blocking},
    store::blobs::BlobId,
    wire::age::Recipient,
};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// What a folder is called while it is written: no `list` shows it.
const UNFINISHED: &str = ".unfinished-";

/// What is asked for.
pub struct Wish {
    pub dir: PathBuf,
    /// Bytes a second.
    pub rate: u64,
    /// None: not encrypted.
    pub recipients: Vec<Recipient>,
    /// How many of this node's backups stay in the folder. None: all.
    pub keep: Option<usize>,
    /// An earlier backup on the same disk: what it has already is not written again.
    pub since: Option<PathBuf>,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub path: PathBuf,
    pub made: u64,
    pub bytes: u64,
    pub files: usize,
    pub rows: u64,
    /// Bodies that rows name and no node had whole: they are not in it.
    pub absent: usize,
    /// Entries by which partitions had to go on until they fitted.
    pub fitted: usize,
    /// Whom it is encrypted for.
    pub recipients: Vec<String>,
    /// Older ones that were removed.
    pub removed: Vec<PathBuf>,
    /// Bytes of it that the earlier one had already.
    pub linked: u64,
}

/// Makes a backup.
pub async fn create(node: &Arc<Node>, wish: &Wish, progress: &Progress) -> Result<Made, BackupError> {
    let dir = wish.dir.as_path();
    let rooms = node.rooms.get().ok_or_else(|| BackupError::NoCut("the node is still starting".into()))?;
    let made = node.world.clock.now().0;
    let name = name(&node.settings.site_name, made);
    let own = own(&rooms.identity.cluster, node.settings.node.number);
    let (path, folder) = (dir.join(&name), dir.join(format!("{own}{name}")));
    maker::forget_tail(&node.world.fs, &node.settings.node.data).await?;
    let (at, parent) = (folder.clone(), dir.to_owned());
    let begun = blocking(&node.world.fs, move |fs| {
        clear(fs, &parent, &own)?;
        fs.create_dir_all(&at)?;
        // All that the site knows will lie in there: nobody else may look.
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o700))
    });
    begun.await.map_err(BackupError::io(&folder))?;
    let mut maker = Maker::new(node, rooms, folder.clone(), wish, progress);
    let written = maker.write(made, wish.since.as_deref()).await;
    if written.is_err() {
        maker::forget_tail(&node.world.fs, &node.settings.node.data).await?;
    }
    let linked = maker.linked.load(Relaxed);
    let (from, to) = (folder, path.clone());
    let (parent, failed) = (dir.to_owned(), written.is_err());
    let named = blocking(&node.world.fs, move |fs| match failed {
        true => fs.remove_dir_all(&from),
        false => fs.rename(&from, &to).and_then(|()| fs.sync_dir(&parent)),
    });
    let named = named.await;
    let (manifest, fitted) = written?;
    named.map_err(BackupError::io(&path))?;
    let rows = manifest.parts.iter().map(|part| part.rows).sum();
    let (files, absent) = (manifest.files().count() + 1, manifest.absent.len());
    let (bytes, recipients) = (manifest.bytes(), manifest.recipients);
    Ok(Made { path, made, bytes, files, rows, absent, fitted, recipients, removed: vec![], linked })
}

/// How the names of this node's unfinished folders begin: others may write into the same folder.
pub fn own(cluster: &str, node: u16) -> String {
    let cluster: String = cluster.chars().take(8).collect();
    format!("{UNFINISHED}{cluster}-{node}-")
}

/// Removes what this node began and never finished: it makes one at a time.
fn clear(fs: &dyn Fs, dir: &Path, own: &str) -> std::io::Result<()> {
    let names = if fs.exists(dir) { fs.list(dir)? } else { vec![] };
    for name in names.iter().filter(|name| name.starts_with(own)) {
        tracing::info!(event = "backup.unfinished_removed", name, "a backup that was interrupted is removed");
        fs.remove_dir_all(&dir.join(name))?;
    }
    Ok(())
}

/// A folder's name: letters, digits and hyphens of the site's, and the moment.
fn name(site: &str, made: u64) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let site: String = site.chars().take(40).map(plain).collect();
    let moment = jiff::Timestamp::from_millisecond(made as i64).unwrap_or_default();
    format!("{}-{}", site.to_lowercase(), moment.strftime("%Y%m%dT%H%M%S%3fZ"))
}

/// A file, open for reading, and its length.
pub(super) async fn open(fs: &Arc<dyn Fs>, path: PathBuf) -> Result<(Arc<dyn File>, u64), BackupError> {
    let at = path.clone();
    let opened = blocking(fs, move |fs| {
        let file = fs.open(&at, Open::Read)?;
        let bytes = file.len()?;
        Ok::<_, std::io::Error>((file, bytes))
    });
    opened.await.map_err(BackupError::io(path))
}

/// Where a body lies in a backup that is not encrypted, and in a node's data.
pub fn body_name(id: BlobId) -> String {
    let hex = id.to_string();
    format!("blobs/{}/{hex}", &hex[..2])
}

/// Backups in a folder, by name, oldest first; those that are being made, or were interrupted, are not among them.
pub fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().join(manifest::NAME).is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_tells_the_moment() {
        assert_eq!(name("Leeds & Co/../x", 1_790_000_000_123), "leeds---co----x-20260921T141320123Z");
    }

    #[test]
    fn what_this_node_did_not_finish_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (own("0123456789", 1), own("0123456789", 11));
        let (dead, others) = (format!("{own}x"), format!("{other}x"));
        for name in [&*dead, &*others, "demo-20261130T020000000Z"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("file"), "x").unwrap();
        }
        let fs = crate::seam::fs_real::RealFs;
        clear(&fs, &dir.path().join("none"), &own).unwrap();
        clear(&fs, dir.path(), &own).unwrap();
        assert_eq!(fs.list(dir.path()).unwrap(), [&*others, "demo-20261130T020000000Z"]);
    }

    #[test]
    fn what_was_interrupted_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", ".unfinished-c"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join(manifest::NAME), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let names: Vec<_> = list(dir.path()).unwrap().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
