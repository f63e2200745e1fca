//! Checking a backup, anywhere and without a site: the signature, every file, then a replay into a scratch store, whose rows,
//! deliveries, bodies and audit trail are compared with what the manifest says (P4, P7).

use super::{
    BackupError,
    archive::Archive,
    copy::{compare, copy, hashed},
    create::{body_name, open},
    locked::{self, plain_name},
    manifest::{BackupFile, BackupPart, Manifest},
    points::{self, Point, Source, Until},
};
use crate::{
    audit::{Begin, Ca, Verdict, Verifier},
    engine::{
        PartitionMap, RowError,
        cut::{Standing, misfit},
    },
    seam::{
        World,
        fs::{Fs, blocking},
        pace::Pace,
    },
    store::{Partition, Reader as _, Store, StoreOptions, blobs::BlobId},
    wire::age::Identity,
};
use std::{
    collections::BTreeSet,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A backup that is whole.
pub struct Checked {
    pub manifest: Manifest,
    pub rows: u64,
    pub records: u64,
    pub heads: u64,
    /// Trails that begin behind records that expired, by partition.
    pub shortened: Vec<(u16, Verdict)>,
    /// What its archive was followed to, as far as one can be had.
    pub archive: Archive,
    pub point: Option<Point>,
}

/// Signature and files: cheap, and enough to know that nothing was changed since it was made.
pub async fn files(fs: &Arc<dyn Fs>, backup: &Path, ca: Option<&Ca>, pace: &Pace) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(fs.as_ref(), backup, ca)?;
    every_file(fs, backup, &manifest, pace).await?;
    Ok(manifest)
}

/// What is to be replayed or restored: the keys first, since files take long. The files, plain, are in what is given back.
pub async fn readable(
    fs: &Arc<dyn Fs>,
    backup: &Path,
    (ca, identities): (Option<&Ca>, &[Identity]),
    pace: &Pace,
) -> Result<(Manifest, Arc<dyn Fs>), BackupError> {
    let manifest = Manifest::read(fs.as_ref(), backup, ca)?;
    let reading = locked::opened(fs, &manifest, identities)?;
    every_file(fs, backup, &manifest, pace).await?;
    Ok((manifest, reading))
}

/// The archive behind a backup, of which that moment can be had: its chain and every file.
pub async fn archived(
    fs: &Arc<dyn Fs>,
    backup: &Path,
    (manifest, ca): (&Manifest, Option<&Ca>),
    until: Until,
    pace: &Pace,
) -> Result<Archive, BackupError> {
    let archive = Archive::read(fs.as_ref(), backup, manifest, ca)?;
    points::moment(manifest, &archive, until)?;
    archive.compare(fs, backup, pace).await?;
    Ok(archive)
}

async fn every_file(fs: &Arc<dyn Fs>, backup: &Path, manifest: &Manifest, pace: &Pace) -> Result<(), BackupError> {
    for file in manifest.files() {
        compare(fs, backup, file, pace).await?;
    }
    Ok(())
}

/// Makes a folder for a replay below `above`: a new one, so that nothing of an earlier try is in it, and closed to others, since
/// patients' records will lie there.
pub fn scratch(above: &Path) -> io::Result<PathBuf> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder.recursive(true).create(above)?;
    let folder = above.join(format!(".verify-{}-{}", std::process::id(), uuid::Uuid::new_v4().simple()));
    builder.recursive(false).create(&folder)?;
    Ok(folder)
}

/// Everything, and its archive. `scratch` is an empty folder, which is left as it comes to be.
pub async fn check(
    world: &World,
    backup: &Path,
    (ca, identities): (Option<&Ca>, &[Identity]),
    scratch: &Path,
    pace: &Pace,
) -> Result<Checked, BackupError> {
    let (manifest, reading) = readable(&world.fs, backup, (ca, identities), pace).await?;
    let archive = Archive::read(world.fs.as_ref(), backup, &manifest, ca)?;
    archive.compare(&world.fs, backup, pace).await?;
    let of = Source { fs: &world.fs, reading: &reading, backup, manifest: &manifest, archive: &archive };
    if !manifest.recipients.is_empty() {
        bodies_open(&reading, backup, manifest.bodies.iter().chain(archive.heads.iter().flat_map(|h| &h.bodies)), pace)
            .await?;
    }
    let own = scratch.join("backup");
    let mut replayed = replay(world, of, &own, None, pace).await?;
    let mut point = None;
    if points::moment(&manifest, &archive, Until::Latest).is_ok() {
        let gone = blocking(&world.fs, move |fs| fs.remove_dir_all(&own));
        gone.await.map_err(BackupError::io(scratch))?;
        let found = points::find(of, &replayed.standings, Until::Latest).await?;
        replayed = replay(world, of, &scratch.join("point"), Some(&found), pace).await?;
        point = Some(found);
    }
    let Replayed { rows, records, heads, shortened, .. } = replayed;
    Ok(Checked { rows, records, heads, shortened, point, archive, manifest })
}

/// What a store made of the files, and, where they were followed to a point, of the log's entries.
struct Replayed {
    standings: Vec<Standing>,
    rows: u64,
    records: u64,
    heads: u64,
    shortened: Vec<(u16, Verdict)>,
}

async fn replay(
    world: &World,
    of: Source<'_>,
    scratch: &Path,
    point: Option<&Point>,
    pace: &Pace,
) -> Result<Replayed, BackupError> {
    let folder = |partition: u16| scratch.join("snapshots").join(format!("p{partition}"));
    for part in &of.manifest.parts {
        match of.manifest.recipients.is_empty() {
            true => place(of.backup, part, &folder(part.partition)).map_err(BackupError::io(scratch))?,
            false => place_plain((of.fs, of.reading), of.backup, part, &folder(part.partition), pace).await?,
        }
    }
    if let Some(point) = point {
        points::layers(of, point, folder).await?;
    }
    let store = Store::open(world.clone(), scratch.to_owned(), StoreOptions::default()).await;
    let store = store.map_err(BackupError::rows(0))?;
    let replayed = compared(&store, of, point).await;
    let closed = store.close().await;
    let replayed = replayed?;
    closed.map_err(BackupError::rows(0))?;
    Ok(replayed)
}

/// The files of a partition under the names by which a store finds them.
fn place(backup: &Path, part: &BackupPart, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for file in &part.files {
        let from = backup.join(&file.name);
        let to: PathBuf = folder.join(from.file_name().unwrap_or_default());
        bring(&from, &to)?;
    }
    Ok(())
}

/// Likewise of an encrypted backup: its rows lie there in plain until the scratch folder is removed.
async fn place_plain(
    (fs, reading): (&Arc<dyn Fs>, &Arc<dyn Fs>),
    backup: &Path,
    part: &BackupPart,
    folder: &Path,
    pace: &Pace,
) -> Result<(), BackupError> {
    for file in &part.files {
        let from = open(reading, backup.join(&file.name)).await?;
        let name = Path::new(plain_name(&file.name)).file_name().unwrap_or_default().to_string_lossy().into_owned();
        copy(fs, from, (folder, &name), None, pace).await?;
    }
    Ok(())
}

/// That the keys open each body, too: its SHA-256 on the disk says only that it is what was written.
async fn bodies_open<'a>(
    reading: &Arc<dyn Fs>,
    backup: &Path,
    bodies: impl Iterator<Item = &'a BackupFile>,
    pace: &Pace,
) -> Result<(), BackupError> {
    for body in bodies {
        let (file, bytes) = open(reading, backup.join(&body.name)).await?;
        hashed(reading, file, bytes, pace).await.map_err(BackupError::io(backup.join(&body.name)))?;
    }
    Ok(())
}

/// A second name is enough where both lie on one file system; a store never writes to a sealed file. What has the name already
/// may be the backup's own file: nothing is written into it.
fn bring(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            let mut into = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            io::copy(&mut File::open(from)?, &mut into).map(drop)
        }
        linked => linked,
    }
}

async fn compared(store: &Store, of: Source<'_>, point: Option<&Point>) -> Result<Replayed, BackupError> {
    let manifest = of.manifest;
    let map = PartitionMap { partitions: (manifest.parts.len() as u16).saturating_sub(1) };
    let ca = manifest.ca()?;
    // Behind a point nobody asks for the archive's bodies.
    let heads = || of.archive.heads.iter().filter(|_| point.is_some());
    let absent = manifest.absent.iter().chain(heads().flat_map(|head| &head.absent));
    let absent = absent.filter_map(|id| Some(body_name(BlobId(id.as_ref().try_into().ok()?))));
    let files = manifest.bodies.iter().chain(heads().flat_map(|head| &head.bodies));
    let named =
        files.map(|file| plain_name(&file.name)).map(|name| name.strip_prefix("log/").unwrap_or(name).to_owned());
    let bodies: BTreeSet<String> = named.chain(absent).collect();
    let mut found = Replayed { standings: vec![], rows: 0, records: 0, heads: 0, shortened: vec![] };
    for (n, part) in manifest.parts.iter().enumerate() {
        let number = part.partition;
        let partition = store.partition(number).map_err(BackupError::rows(number))?;
        let hash = partition.hash().await.map_err(BackupError::rows(number))?;
        let standing = Standing::read(map, |key| partition.get(key));
        let standing = standing.map_err(|e| BackupError::Rows { partition: number, error: e.to_string() })?;
        let chain = standing.chain();
        let same = match point.and_then(|point| point.places.get(n)) {
            Some(place) => hash.is_some_and(|(index, _)| index == place.index) && standing == place.standing,
            None => {
                hash == Some((part.index, part.digest))
                    && (chain.sequence, chain.hash) == (part.audit_sequence, part.audit_hash)
            }
        };
        if !same {
            return Err(BackupError::OtherRows(number));
        }
        let verdict = trail(&partition, &standing, ca.clone())?;
        found.records += verdict.records;
        found.heads += verdict.heads;
        found.rows += part.rows;
        if verdict.first > 1 {
            found.shortened.push((number, verdict));
        }
        every_body(&partition, &bodies)?;
        found.standings.push(standing);
    }
    match misfit(found.standings.iter()) {
        Some(misfit) => Err(misfit.into()),
        None => Ok(found),
    }
}

/// Reads the audit trail from its first record to the mark. What is not whole is an error.
fn trail(partition: &Arc<Partition>, standing: &Standing, ca: Ca) -> Result<Verdict, BackupError> {
    let (number, end) = (partition.number(), standing.chain());
    let begin = Begin::load(&**partition).map_err(BackupError::rows(number))?;
    let mut verifier = Verifier::new(number, 1, end.sequence, Some(end), ca).signed().begins(begin);
    while !verifier.step(&**partition).map_err(BackupError::rows(number))?.done {}
    let verdict = verifier.verdict();
    match verdict.findings.first() {
        None => Ok(verdict),
        Some(finding) => Err(BackupError::Trail { partition: number, finding: finding.to_string() }),
    }
}

fn every_body(partition: &Arc<Partition>, bodies: &BTreeSet<String>) -> Result<(), BackupError> {
    let mut pages = crate::engine::bodies::all(&**partition);
    let unread = |e: RowError| BackupError::Rows { partition: partition.number(), error: e.to_string() };
    while let Some(ids) = pages.page().map_err(unread)? {
        if let Some(name) = ids.into_iter().map(body_name).find(|name| !bodies.contains(name)) {
            return Err(BackupError::NoBody(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn backup(dir: &Path) -> (PathBuf, BackupPart) {
        std::fs::create_dir_all(dir.join("p0")).unwrap();
        std::fs::write(dir.join("p0/a.snap"), "rows").unwrap();
        let file = BackupFile { name: "p0/a.snap".into(), bytes: 4, ..Default::default() };
        (dir.join("p0/a.snap"), BackupPart { files: vec![file], ..Default::default() })
    }

    #[tokio::test]
    async fn a_body_that_the_keys_do_not_open_is_found() {
        use crate::{
            node::backup::locked::{Lock, unlocked},
            seam::{
                fs_real::RealFs,
                rng::{Rng as _, SystemRng},
            },
        };
        let dir = tempfile::tempdir().unwrap();
        let (fs, pace): (Arc<dyn Fs>, _) = (Arc::new(RealFs), Pace::new(u64::MAX));
        let [own, other] = [0; 2].map(|_| Identity::new(&mut |out| SystemRng.fill(out)));
        std::fs::write(dir.path().join("plain"), "a body").unwrap();
        for (key, found) in [(&own, true), (&other, false)] {
            let lock = Lock { recipients: vec![key.public()], rng: Arc::new(SystemRng) };
            let from = open(&fs, dir.path().join("plain")).await.unwrap();
            let name = format!("{found}.age");
            let body = copy(&fs, from, (dir.path(), &name), Some(&lock), &pace).await.unwrap();
            let manifest = Manifest { bodies: vec![body], ..Default::default() };
            every_file(&fs, dir.path(), &manifest, &pace).await.unwrap();
            let opened =
                bodies_open(&unlocked(&fs, vec![own.clone()]), dir.path(), manifest.bodies.iter(), &pace).await;
            assert_eq!(opened.map_err(|e| e.code().code), if found { Ok(()) } else { Err("SPN-2201") });
        }
    }

    #[test]
    fn what_a_try_before_left_costs_the_backup_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, part) = backup(dir.path());
        let scratch = dir.path().join("scratch");
        place(dir.path(), &part, &scratch).unwrap();
        // The same names again, which are those of the backup's own files.
        assert_eq!(place(dir.path(), &part, &scratch).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"rows");
    }

    #[test]
    fn a_copy_on_another_disk_is_closed_to_others() {
        use std::os::unix::fs::MetadataExt;
        let (dir, Ok(other)) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm")) else { return };
        let (file, _) = backup(dir.path());
        let to = other.path().join("a.snap");
        bring(&file, &to).unwrap();
        let of = |path: &Path| std::fs::metadata(path).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"rows");
        assert!(of(&file).dev() == of(&to).dev() || of(&to).mode() & 0o777 == 0o600);
    }

    #[test]
    fn nobody_else_looks_into_a_scratch_folder_and_no_two_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (scratch(&dir.path().join("x/y")).unwrap(), scratch(&dir.path().join("x/y")).unwrap());
        assert_ne!(one, other);
        for folder in [one, other] {
            assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
