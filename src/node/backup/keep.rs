//! How many backups stay in the folder that the settings name: the oldest go, but only when the newest was found on the disk as
//! it was written, never the one that was verified last, and never what this node did not make itself (P7).

use super::{
    BackupError, check,
    create::{self, Made, Wish},
    desk::{self, Progress},
    manifest::Manifest,
};
use crate::{
    node::Node,
    seam::{
        fs::{Fs, blocking},
        pace::Pace,
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// One that may go.
struct Own {
    path: PathBuf,
    made: u64,
}

/// Makes a backup and, where the wish says how many are kept, removes older ones.
pub async fn make(node: &Arc<Node>, wish: &Wish, progress: &Progress) -> Result<Made, BackupError> {
    let mut made = create::create(node, wish, progress).await?;
    if let (Some(keep), Some(rooms)) = (wish.keep, node.rooms.get()) {
        progress.phase("reading back");
        check::files(&node.world.fs, &made.path, Some(&rooms.ca), &Pace::new(wish.rate)).await?;
        let (dir, cluster, number) = (wish.dir.clone(), rooms.identity.cluster.clone(), node.settings.node.number);
        let verified = desk::kept(&node.settings.node.data).verified_made;
        let ca = rooms.ca.clone();
        let of = move |manifest: &Manifest| manifest.cluster == cluster && manifest.node == number;
        let own = blocking(&node.world.fs, move |fs| {
            let all = create::list(&dir).map_err(BackupError::io(&dir))?.into_iter();
            // What is not signed by this site is not this node's to remove.
            let read = all.filter_map(|path| Some((Manifest::read(fs, &path, Some(&ca)).ok()?, path)));
            Ok::<_, BackupError>(
                read.filter(|(manifest, _)| of(manifest)).map(|(m, path)| Own { path, made: m.made }).collect(),
            )
        });
        let old = surplus(own.await?, keep, verified);
        made.removed = remove(node, &wish.dir, &rooms.identity.cluster, old).await?;
    }
    Ok(made)
}

/// All but the newest `keep` and the one that was verified last.
fn surplus(mut own: Vec<Own>, keep: usize, verified: u64) -> Vec<PathBuf> {
    own.sort_by_key(|one| std::cmp::Reverse(one.made));
    own.into_iter().skip(keep.max(1)).filter(|one| one.made != verified).map(|one| one.path).collect()
}

/// Each gets the name of an unfinished one first: half of it is never taken for a backup, and the next one removes the rest.
async fn remove(node: &Arc<Node>, dir: &Path, cluster: &str, old: Vec<PathBuf>) -> Result<Vec<PathBuf>, BackupError> {
    let (own, dir) = (create::own(cluster, node.settings.node.number), dir.to_owned());
    for path in old.clone() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (at, going, above) = (path.clone(), dir.join(format!("{own}{name}")), dir.clone());
        let gone = blocking(&node.world.fs, move |fs: &dyn Fs| {
            fs.rename(&at, &going)?;
            fs.sync_dir(&above)?;
            fs.remove_dir_all(&going)
        });
        gone.await.map_err(BackupError::io(&path))?;
        tracing::info!(event = "backup.removed", path = %path.display(), "a backup is older than those that are kept");
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_the_one_that_was_verified_last() {
        let own = |all: &[u64]| all.iter().map(|made| Own { path: made.to_string().into(), made: *made }).collect();
        let names = |paths: Vec<PathBuf>| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(surplus(own(&[3, 1, 2, 4]), 2, 0)), "2 1");
        assert_eq!(names(surplus(own(&[3, 1, 2, 4]), 2, 1)), "2");
        assert_eq!(names(surplus(own(&[3, 1, 2, 4]), 2, 4)), "2 1");
        assert_eq!(names(surplus(own(&[3, 4]), 2, 0)), "");
        assert_eq!(names(surplus(own(&[3, 4]), 0, 0)), "3", "one always stays");
    }
}
