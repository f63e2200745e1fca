//! How many backups stay in the folder that the settings name: the oldest go, but only when the newest was found on the disk as
//! it was written, never the one that was verified last, and never what this node did not make itself (P7). One that is not found
//! as it was written goes itself: it would take the place of one that is whole.

use super::{
    BackupError, check,
    create::{self, Made, Wish},
    desk::{self, Progress},
    manifest::Manifest,
};
use crate::{
    node::{Node, rooms::Rooms},
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
    let kept = wish.keep.zip(node.rooms.get());
    if let Some((_, rooms)) = kept {
        progress.phase("reading back");
        if let Err(e) = check::files(&node.world.fs, &made.path, Some(&rooms.ca), &Pace::new(wish.rate)).await {
            if let Err(error) = remove(node, &wish.dir, &rooms.identity.cluster, &made.path).await {
                tracing::warn!(event = "backup.damaged_left", path = %made.path.display(), %error, "a backup that is not whole cannot be removed");
            }
            return Err(e);
        }
    }
    desk::note(node, |kept| (kept.made, kept.path) = (made.made, made.path.clone()));
    if let Some((keep, rooms)) = kept {
        let removed = trim(node, (&wish.dir, keep), rooms, &made.path).await;
        made.removed = removed.map_err(|e| BackupError::Outlived { made: made.path.clone(), error: Box::new(e) })?;
    }
    Ok(made)
}

/// Removes what is more than is kept.
async fn trim(
    node: &Arc<Node>,
    (dir, keep): (&Path, usize),
    rooms: &Rooms,
    made: &Path,
) -> Result<Vec<PathBuf>, BackupError> {
    let verified = desk::kept(&node.settings.node.data).verified_made;
    let (cluster, number, ca, at) =
        (rooms.identity.cluster.clone(), node.settings.node.number, rooms.ca.clone(), dir.to_owned());
    let own = blocking(&node.world.fs, move |fs| {
        let all = create::list(&at).map_err(BackupError::io(&at))?.into_iter();
        // What is not signed by this site is not this node's to remove.
        let read = all.filter_map(|path| Some((Manifest::read(fs, &path, Some(&ca)).ok()?, path)));
        let own = read.filter(|(manifest, _)| manifest.cluster == cluster && manifest.node == number);
        Ok::<_, BackupError>(own.map(|(manifest, path)| Own { path, made: manifest.made }).collect())
    });
    let old = surplus(own.await?, keep, verified, made);
    for path in &old {
        remove(node, dir, &rooms.identity.cluster, path).await?;
        tracing::info!(event = "backup.removed", path = %path.display(), "a backup is older than those that are kept");
    }
    Ok(old)
}

/// All but the newest `keep` and the one that was verified last. The one just made is the newest, whatever a clock that was wrong
/// wrote into the others.
fn surplus(mut own: Vec<Own>, keep: usize, verified: u64, made: &Path) -> Vec<PathBuf> {
    own.sort_by_key(|one| std::cmp::Reverse((one.path == made, one.made)));
    own.into_iter().skip(keep.max(1)).filter(|one| one.made != verified).map(|one| one.path).collect()
}

/// It gets the name of an unfinished one first: half of it is never taken for a backup, and the next one removes the rest.
async fn remove(node: &Arc<Node>, dir: &Path, cluster: &str, path: &Path) -> Result<(), BackupError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let going = dir.join(format!("{}{name}", create::own(cluster, node.settings.node.number)));
    let (at, above) = (path.to_owned(), dir.to_owned());
    let gone = blocking(&node.world.fs, move |fs: &dyn Fs| {
        fs.rename(&at, &going)?;
        fs.sync_dir(&above)?;
        fs.remove_dir_all(&going)
    });
    gone.await.map_err(BackupError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_the_one_that_was_verified_last() {
        let own = |all: &[u64]| all.iter().map(|made| Own { path: made.to_string().into(), made: *made }).collect();
        let names = |paths: Vec<PathBuf>| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ");
        let four = Path::new("4");
        assert_eq!(names(surplus(own(&[3, 1, 2, 4]), 2, 0, four)), "2 1");
        assert_eq!(names(surplus(own(&[3, 1, 2, 4]), 2, 1, four)), "2");
        assert_eq!(names(surplus(own(&[3, 1, 2, 4]), 2, 4, four)), "2 1");
        assert_eq!(names(surplus(own(&[3, 4]), 2, 0, four)), "");
        assert_eq!(names(surplus(own(&[3, 4]), 0, 0, four)), "3", "one always stays");
        assert_eq!(names(surplus(own(&[3, 9, 8, 4]), 2, 0, four)), "8 3", "made while the clock was ahead");
    }
}
