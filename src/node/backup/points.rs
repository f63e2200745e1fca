//! Moments between two backups: how far each partition's archived log is followed so that all of it was decided at or before a moment
//! and all partitions fit each other, and the rows at these places, as more layers on the backup's own files (P1, P3).
//!
//! Entries say when they were decided. Followed to the last one at or before a moment, the partitions mostly fit at once, since what
//! is sent is decided before it is taken; where clocks of leaders differ, one may have taken what by its source's clock was sent
//! later. Then that one goes back, and not the other on: nothing decided after the moment is there.

use super::{
    BackupError,
    archive::{self, Archive, ArchivedEntry},
    manifest::Manifest,
};
use crate::{
    engine::{
        PartitionMap,
        cut::{Bound, Standing, bound, misfit, rows_of},
    },
    seam::fs::{Fs, blocking},
    store::{
        Applied,
        cut::{Layering, Step},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Rows of all partitions that are gathered before some of them are written.
const GATHERED: usize = 128 << 20;

/// Which moment is wanted, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All that was archived.
    Latest,
    At(u64),
}

/// A backup with its archive, and what reads its files.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub fs: &'a Arc<dyn Fs>,
    pub reading: &'a Arc<dyn Fs>,
    pub backup: &'a Path,
    pub manifest: &'a Manifest,
    pub archive: &'a Archive,
}

/// Where one partition is followed to.
#[derive(Clone, Debug)]
pub struct Place {
    pub index: u64,
    pub standing: Standing,
}

/// Places that fit each other.
#[derive(Clone, Debug)]
pub struct Point {
    /// The moment that was asked for, or the last that was archived.
    pub moment: u64,
    pub places: Vec<Place>,
    /// Entries decided at or before the moment that are not in it, because what they follow from is not.
    pub back: u64,
    /// Bodies that its rows name and nobody had any more; 0 before these were looked through.
    pub absent: u64,
}

/// The first and the last moment that can be had.
pub fn range(manifest: &Manifest, archive: &Archive) -> Option<(u64, u64)> {
    archive
        .until()
        .filter(|until| manifest.decided > 0 && *until >= manifest.decided)
        .map(|until| (manifest.decided, until))
}

/// The backup's own last entries, by partition.
fn base(manifest: &Manifest) -> Vec<u64> {
    manifest.parts.iter().map(|part| part.index).collect()
}

/// The moment that is wanted, if it can be had.
pub fn moment(manifest: &Manifest, archive: &Archive, until: Until) -> Result<u64, BackupError> {
    // Wherever clocks stood: what was archived behind the backup is there.
    if until == Until::Latest && archive.heads.last().is_some_and(|head| head.reach != base(manifest)) {
        return Ok(archive.until().unwrap_or(0).max(manifest.decided));
    }
    let told = |at: u64| jiff::Timestamp::from_millisecond(at as i64).map(|at| at.to_string()).unwrap_or_default();
    let Some((first, last)) = range(manifest, archive) else {
        let why =
            "it has no archive of the log behind it that reaches to any moment: only the backup itself can be had";
        return Err(BackupError::NoPoint(why.into()));
    };
    match until {
        Until::Latest => Ok(last),
        Until::At(at) if (first..=last).contains(&at) => Ok(at),
        Until::At(at) => {
            let gap = archive.gap().map_or_else(String::new, |gap| format!("; it ends there, because {gap}"));
            let why = format!(
                "{} is not between {} and {}, the moments that it holds{gap}",
                told(at),
                told(first),
                told(last)
            );
            Err(BackupError::NoPoint(why))
        }
    }
}

/// Gives every entry of the archive to `visit`, in order, until all is done.
async fn over<S: Send + 'static>(
    of: Source<'_>,
    mut state: S,
    visit: fn(&mut S, ArchivedEntry, &dyn Fs) -> Result<(), BackupError>,
    done: fn(&S) -> bool,
) -> Result<S, BackupError> {
    let mut seen = base(of.manifest);
    for head in &of.archive.heads {
        if done(&state) {
            break;
        }
        if let Some(log) = head.log.clone() {
            let (reading, backup) = (of.reading.clone(), of.backup.to_owned());
            (state, seen) = blocking(of.fs, move |fs| {
                for entry in archive::entries(reading.as_ref(), &backup, &log)? {
                    let last = seen.get_mut(usize::from(entry.partition)).filter(|last| **last + 1 == entry.index);
                    let Some(last) = last else {
                        let (p, index) = (entry.partition, entry.index);
                        let why = format!("entry {index} of partition {p} does not follow the one before it");
                        return Err(BackupError::Archive { file: log.name, why });
                    };
                    *last = entry.index;
                    visit(&mut state, entry, fs)?;
                }
                Ok((state, seen))
            })
            .await?;
        }
        if seen != head.reach {
            let why = "its entries are not those that it tells of".into();
            return Err(BackupError::Archive { file: archive::head_name(head.number), why });
        }
    }
    Ok(state)
}

fn unread(partition: u16) -> impl Fn(String) -> BackupError {
    move |error| BackupError::Rows { partition, error }
}

/// One partition on its way along the log.
struct Walk {
    place: Place,
    bound: Bound,
    ended: bool,
}

#[allow(clippy::ptr_arg, reason = "what `over` hands on")]
fn walk(walks: &mut Vec<Walk>, entry: ArchivedEntry, _: &dyn Fs) -> Result<(), BackupError> {
    let Some(walk) = walks.get_mut(usize::from(entry.partition)).filter(|walk| !walk.ended) else { return Ok(()) };
    let unread = unread(entry.partition);
    let rows = rows_of(&entry.payload, entry.term).map_err(|e| unread(e.to_string()))?;
    let mut next = walk.place.standing.clone();
    next.follow(&rows).map_err(|e| unread(e.to_string()))?;
    walk.ended = !walk.bound.holds(&next);
    if !walk.ended {
        walk.place = Place { index: entry.index, standing: next };
    }
    Ok(())
}

/// Finds the greatest places that fit each other at or before a moment, from where the backup stands: these places fit already.
pub async fn find(of: Source<'_>, starts: &[Standing], until: Until) -> Result<Point, BackupError> {
    let moment = moment(of.manifest, of.archive, until)?;
    let map = PartitionMap { partitions: (starts.len() as u16).saturating_sub(1) };
    let time = if until == Until::Latest { u64::MAX } else { moment };
    let mut bounds = vec![Bound::until(time, map); starts.len()];
    let mut furthest = None;
    loop {
        let starts = of.manifest.parts.iter().zip(starts).zip(&bounds);
        let begin = |((part, standing), bound): ((&super::manifest::BackupPart, &Standing), &Bound)| Walk {
            place: Place { index: part.index, standing: standing.clone() },
            bound: bound.clone(),
            ended: false,
        };
        let walks = over(of, starts.map(begin).collect(), walk, |walks| walks.iter().all(|walk| walk.ended)).await?;
        let places: Vec<Place> = walks.into_iter().map(|walk| walk.place).collect();
        let reached: u64 = places.iter().map(|place| place.index).sum();
        let furthest = *furthest.get_or_insert(reached);
        let Some(found) = misfit(places.iter().map(|place| &place.standing)) else {
            return Ok(Point { moment, places, back: furthest - reached, absent: 0 });
        };
        let before = bounds.clone();
        bound(&mut bounds, found);
        if before == bounds {
            return Err(found.into());
        }
    }
}

struct Layers {
    all: Vec<Layering>,
    places: Vec<u64>,
}

fn lay(layers: &mut Layers, entry: ArchivedEntry, fs: &dyn Fs) -> Result<(), BackupError> {
    let n = usize::from(entry.partition);
    if layers.places.get(n).is_none_or(|place| entry.index > *place) {
        return Ok(());
    }
    let rows = rows_of(&entry.payload, entry.term).map_err(|e| unread(entry.partition)(e.to_string()))?;
    let at = Applied { index: entry.index, term: entry.term, ..Default::default() };
    layers.all[n].step(Step { at, rows });
    if layers.all.iter().map(Layering::bytes).sum::<usize>() >= GATHERED
        && let Some(most) = layers.all.iter_mut().max_by_key(|layering| layering.bytes())
    {
        most.write(fs).map_err(BackupError::rows(entry.partition))?;
    }
    Ok(())
}

/// Writes the rows that change between the backup and a point as layers below `folder(partition)`. By partition, in their order.
pub async fn layers(
    of: Source<'_>,
    point: &Point,
    folder: impl Fn(u16) -> PathBuf,
) -> Result<Vec<Vec<PathBuf>>, BackupError> {
    let mut all = vec![];
    for part in &of.manifest.parts {
        let at = folder(part.partition);
        let made = at.clone();
        let made = blocking(of.fs, move |fs| fs.create_dir_all(&made)).await;
        made.map_err(BackupError::io(&at))?;
        all.push(Layering::begin(part.partition, part.index, at));
    }
    let places = point.places.iter().map(|place| place.index).collect();
    let laid = over(of, Layers { all, places }, lay, |_| false).await?;
    let done = blocking(of.fs, move |fs| laid.all.into_iter().map(|one| one.done(fs)).collect::<Result<Vec<_>, _>>());
    done.await.map_err(BackupError::rows(0))
}
