//! Restoring: the first data of a new site's first node, made out of a backup before the node was ever started.
//!
//! Each partition becomes one sealed snapshot, whose only member is this node and behind which the log begins; so the store
//! takes it as it takes a snapshot after a loss, and nodes that join get it as they get any. The old site's members and
//! invitations stay behind. In every partition a record at the end of the audit trail says what happened (P4). All is written
//! beside the data and moved there when everything else is written, too: a restore that was interrupted leaves nothing that would
//! be taken for data. What root restores is given to whom the data folder belongs to.

use super::{
    BackupError,
    archive::Archive,
    check,
    copy::copy,
    create::{body_name, open},
    locked::plain_name,
    manifest::{BackupFile, Manifest, paths},
    points::{self, Point, Source, Until},
    survey::survey,
};
use crate::{
    audit::{Ca, Record},
    consensus::{Member, RaftId, founded},
    engine::{
        PartitionId, PartitionMap, SITE,
        cut::{Standing, with_record},
    },
    seam::{
        World,
        fs::{Fs, blocking},
        net::NodeNumber,
        pace::Pace,
    },
    store::{
        Applied, RowOp, StoreError,
        cut::{Merged, Planting},
        tables::Table,
    },
    wire::age::Identity,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Interaction of the record that tells of it.
pub const RESTORED: &str = "backup.restore";
/// Where the data are made before they are data.
const STAGE: &str = "restoring";
/// Where, below that, the rows of entries behind the backup are until they are among the others.
const LAYERS: &str = "layers";
/// How the names of archived bodies begin.
const ARCHIVED: &str = "log/";
const FAST: u64 = u64::MAX;

/// Who restores, and as what.
pub struct Wanted<'a> {
    pub data: &'a Path,
    pub node: u16,
    pub address: SocketAddr,
    /// For the audit trail: `uid:1000`.
    pub operator: String,
    /// What an encrypted backup is read with.
    pub identities: &'a [Identity],
    /// A moment behind the backup. None: the backup's own.
    pub until: Option<Until>,
}

/// Refuses a folder that holds anything, other than what an earlier try left.
pub fn room(data: &Path) -> Result<(), BackupError> {
    let entries = match std::fs::read_dir(data) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::Io { path: data.into(), error }),
    };
    for entry in entries {
        let name = entry.map_err(BackupError::io(data))?.file_name();
        if ![STAGE, "lost+found"].iter().any(|known| name == *known) {
            return Err(BackupError::NotEmpty(data.into()));
        }
    }
    Ok(())
}

/// Makes the data of the node, beside where they count. What cannot be made whole is removed.
pub async fn prepare(
    world: &World,
    backup: &Path,
    ca: Option<&Ca>,
    wanted: &Wanted<'_>,
) -> Result<(Manifest, Option<Point>), BackupError> {
    room(wanted.data)?;
    let keys = (ca, wanted.identities);
    let (manifest, reading) = check::readable(&world.fs, backup, keys, &Pace::new(FAST)).await?;
    let archive = match wanted.until {
        None => Archive::default(),
        Some(until) => check::archived(&world.fs, backup, (&manifest, ca), until, &Pace::new(FAST)).await?,
    };
    let stage = wanted.data.join(STAGE);
    let source = Source { fs: &world.fs, reading: &reading, backup, manifest: &manifest, archive: &archive };
    let made = make(world, source, wanted, &stage).await;
    if made.is_err() {
        // What is left of it holds patients' records; a next try removes it where this cannot.
        let _ = blocking(&world.fs, move |fs| fs.remove_dir_all(&stage)).await;
    }
    made.map(|point| (manifest, point))
}

/// Puts what was prepared in its place. Nothing but identity and certificate is missing then.
pub async fn settle(world: &World, data: &Path) -> Result<(), BackupError> {
    let (stage, to) = (data.join(STAGE), data.to_owned());
    let moved = blocking(&world.fs, move |fs| {
        crate::node::identity::give_tree_to_owner(&stage, &to)?;
        move_all(fs, &stage, &to)
    });
    moved.await.map_err(BackupError::io(data))
}

async fn make(world: &World, of: Source<'_>, wanted: &Wanted<'_>, stage: &Path) -> Result<Option<Point>, BackupError> {
    let Source { reading, backup, manifest, .. } = of;
    let pace = Pace::new(FAST);
    let at = stage.to_owned();
    let begun = blocking(&world.fs, move |fs| {
        if fs.exists(&at) {
            fs.remove_dir_all(&at)?;
        }
        // Nobody else may look at what lies in there.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&at)
    });
    begun.await.map_err(BackupError::io(stage))?;
    let map = PartitionMap { partitions: (manifest.parts.len() as u16).saturating_sub(1) };
    let (mut standings, mut all) = (vec![], vec![]);
    for part in &manifest.parts {
        let files = paths(backup, part);
        all.push(files.clone());
        let found = survey(reading, (part.partition, map), files, &mut BTreeSet::new(), &pace).await?;
        if (found.rows, found.digest) != (part.rows, part.digest) {
            return Err(BackupError::OtherRows(part.partition));
        }
        standings.push(found.standing);
    }
    if let Some(misfit) = crate::engine::cut::misfit(standings.iter()) {
        return Err(misfit.into());
    }
    let (point, bodies) = match wanted.until {
        None => (None, manifest.bodies.clone()),
        Some(until) => {
            let mut point = points::find(of, &standings, until).await?;
            let bodies;
            (bodies, point.absent) = follow(of, &point, &mut all, (map, stage)).await?;
            standings = point.places.iter().map(|place| place.standing.clone()).collect();
            (Some(point), bodies)
        }
    };
    let now = world.clock.now().0;
    for (n, (part, standing)) in manifest.parts.iter().zip(&standings).enumerate() {
        let index = point.as_ref().and_then(|point| point.places.get(n)).map_or(part.index, |place| place.index);
        let at = (part.partition, index);
        let ops = record(wanted, manifest, at, (standing, point.as_ref()), now);
        plant((world, reading), std::mem::take(&mut all[n]), at, wanted, ops).await?;
    }
    let layers = stage.join(LAYERS);
    let gone = blocking(&world.fs, move |fs| if fs.exists(&layers) { fs.remove_dir_all(&layers) } else { Ok(()) });
    gone.await.map_err(BackupError::io(stage))?;
    for body in &bodies {
        let from = open(reading, backup.join(&body.name)).await?;
        let name = plain_name(&body.name);
        let name = name.strip_prefix(ARCHIVED).unwrap_or(name);
        copy(&world.fs, from, (stage, name), None, &pace).await?;
    }
    Ok(point)
}

/// Brings the files of each partition on to a point. Gives the bodies that rows name there: each must be in the backup or its archive,
/// unless one of them says that no node had it; so many are told.
async fn follow(
    of: Source<'_>,
    point: &Point,
    all: &mut [Vec<PathBuf>],
    (map, stage): (PartitionMap, &Path),
) -> Result<(Vec<BackupFile>, u64), BackupError> {
    let folder = |partition: u16| stage.join(LAYERS).join(format!("p{partition}"));
    let layers = points::layers(of, point, folder).await?;
    let mut named = BTreeSet::new();
    for (((files, layers), part), place) in all.iter_mut().zip(layers).zip(&of.manifest.parts).zip(&point.places) {
        files.extend(layers);
        let found = survey(of.reading, (part.partition, map), files.clone(), &mut named, &Pace::new(FAST)).await?;
        if found.standing != place.standing {
            return Err(BackupError::OtherRows(part.partition));
        }
    }
    let heads = || of.archive.heads.iter();
    let files = of.manifest.bodies.iter().chain(heads().flat_map(|head| &head.bodies));
    let files: BTreeMap<&str, &BackupFile> =
        files.filter_map(|file| Some((plain_name(&file.name).rsplit('/').next()?, file))).collect();
    let absent = of.manifest.absent.iter().chain(heads().flat_map(|head| &head.absent));
    let absent: BTreeSet<&[u8]> = absent.map(AsRef::as_ref).collect();
    let (mut bodies, mut lacking) = (vec![], 0);
    for id in named {
        match files.get(&*id.to_string()) {
            Some(file) => bodies.push((*file).clone()),
            None if absent.contains(&id.0[..]) => lacking += 1,
            None => return Err(BackupError::NoBody(body_name(id))),
        }
    }
    Ok((bodies, lacking))
}

/// The rows that say in a partition's trail what happened, by key.
fn record(
    wanted: &Wanted<'_>,
    manifest: &Manifest,
    (partition, index): (u16, u64),
    (standing, point): (&Standing, Option<&Point>),
    now: u64,
) -> BTreeMap<Bytes, Bytes> {
    let moment = |millis: u64| jiff::Timestamp::from_millisecond(millis as i64).unwrap_or_default();
    let made = moment(manifest.made);
    let until = point.map_or_else(String::new, |point| format!(", as of {}", moment(point.moment)));
    let record = Record {
        at: now,
        node: wanted.node,
        interaction: RESTORED.into(),
        outcome: "ok".into(),
        detail: format!("site {}, made {made} by node {}, entry {index}{until}", manifest.cluster, manifest.node),
        operator: wanted.operator.clone(),
        action: crate::audit::action_of(RESTORED).into(),
        ..Default::default()
    };
    let (_, ops) = with_record(standing, PartitionId(partition), record);
    let put = |op| match op {
        RowOp::Put { key, value, .. } => Some((key, value)),
        RowOp::Delete { .. } => None,
    };
    ops.into_iter().filter_map(put).collect()
}

/// Writes one partition's snapshot: the rows of the backup but the old site's own, and those that take their place.
async fn plant(
    (world, reading): (&World, &Arc<dyn Fs>),
    files: Vec<PathBuf>,
    (number, index): (u16, u64),
    wanted: &Wanted<'_>,
    mut ops: BTreeMap<Bytes, Bytes>,
) -> Result<(), BackupError> {
    let first = Member { id: RaftId::new(NodeNumber(wanted.node), 1), address: wanted.address, voter: true };
    // Of no term: whoever leads first is of a later one.
    let at = Applied { index, membership: founded(index, &first), ..Default::default() };
    let dir = wanted.data.join(STAGE).join("store");
    let mut merged = Merged::open(reading, files, &Pace::new(FAST)).await.map_err(BackupError::rows(number))?;
    let planted = blocking(&world.fs, move |fs| {
        let mut planting = Planting::begin(fs, &dir, number, at)?;
        loop {
            let rows = merged.rows()?;
            if rows.is_empty() {
                break;
            }
            for (key, value) in rows.into_iter().filter(|(key, _)| !(number == SITE.0 && is_the_old_sites(key))) {
                while ops.first_key_value().is_some_and(|(first, _)| *first < key) {
                    if let Some((key, value)) = ops.pop_first() {
                        planting.row(&key, &value)?;
                    }
                }
                let value = ops.remove(&key).unwrap_or(value);
                planting.row(&key, &value)?;
            }
        }
        for (key, value) in ops {
            planting.row(&key, &value)?;
        }
        planting.finish(fs)
    });
    planted.await.map_err(|e: StoreError| BackupError::Rows { partition: number, error: e.to_string() })
}

/// Its members, whom it invited, and which of its places served: a new member may stand in another, and is to have a vote there.
fn is_the_old_sites(key: &[u8]) -> bool {
    [Table::Nodes, Table::Invitations, Table::ServingSite].iter().any(|table| key.first() == Some(&(*table as u8)))
}

/// Moves what was made to where it counts, durable.
fn move_all(fs: &dyn Fs, stage: &Path, data: &Path) -> std::io::Result<()> {
    let names: Vec<PathBuf> = fs.list(stage)?.into_iter().map(PathBuf::from).collect();
    let bodies = stage.join("blobs");
    for within in if fs.exists(&bodies) { fs.list(&bodies)? } else { vec![] } {
        fs.sync_dir(&bodies.join(within))?;
    }
    for name in &names {
        fs.sync_dir(&stage.join(name))?;
        fs.rename(&stage.join(name), &data.join(name))?;
    }
    fs.sync_dir(data)?;
    fs.remove_dir_all(stage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_the_place_that_served_are_the_old_sites() {
        for (table, old) in [
            (Table::Nodes, true),
            (Table::Invitations, true),
            (Table::ServingSite, true),
            (Table::Applications, false),
            (Table::Audit, false),
        ] {
            assert_eq!(is_the_old_sites(&table.key().build()), old, "{table:?}");
        }
        assert!(!is_the_old_sites(&[]));
    }

    #[test]
    fn only_an_empty_folder_is_restored_into() {
        let dir = tempfile::tempdir().unwrap();
        assert!(room(&dir.path().join("none")).is_ok() && room(dir.path()).is_ok());
        std::fs::create_dir(dir.path().join(STAGE)).unwrap();
        assert!(room(dir.path()).is_ok(), "what an earlier try left");
        std::fs::write(dir.path().join("identity.json"), "x").unwrap();
        assert!(matches!(room(dir.path()), Err(BackupError::NotEmpty(_))));
    }
}
