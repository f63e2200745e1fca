//! Checking a backup, anywhere and without a site: the signature, every file, then a replay into a scratch store, whose rows,
//! deliveries, bodies and audit trail are compared with what the manifest says (P4, P7).

use super::{
    BackupError,
    copy::compare,
    create::body_name,
    manifest::{BackupPart, Manifest},
};
use crate::{
    audit::{Begin, Ca, Verifier},
    engine::{
        PartitionMap,
        cut::{Standing, misfit},
    },
    seam::{World, fs::Fs, pace::Pace},
    store::{Partition, Reader as _, Store, StoreOptions, blobs::BlobId, tables::Table},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Rows looked at at once.
const PAGE: usize = 1_000;

/// A backup that is whole.
pub struct Checked {
    pub manifest: Manifest,
    pub rows: u64,
    pub records: u64,
    pub heads: u64,
}

/// Signature and files: cheap, and enough to know that nothing was changed since it was made.
pub async fn files(fs: &Arc<dyn Fs>, backup: &Path, ca: Option<&Ca>, pace: &Pace) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(fs.as_ref(), backup, ca)?;
    for file in manifest.files() {
        compare(fs, backup, file, pace).await?;
    }
    Ok(manifest)
}

/// Everything. `scratch` is an empty folder, which is left as it comes to be.
pub async fn check(
    world: &World,
    backup: &Path,
    ca: Option<&Ca>,
    scratch: &Path,
    pace: &Pace,
) -> Result<Checked, BackupError> {
    let manifest = files(&world.fs, backup, ca, pace).await?;
    for part in &manifest.parts {
        place(backup, part, scratch).map_err(BackupError::io(scratch))?;
    }
    let store = Store::open(world.clone(), scratch.to_owned(), StoreOptions::default()).await;
    let store = store.map_err(BackupError::rows(0))?;
    let checked = replayed(&store, manifest).await;
    let closed = store.close().await;
    let checked = checked?;
    closed.map_err(BackupError::rows(0))?;
    Ok(checked)
}

/// The files of a partition under the names by which a store finds them.
fn place(backup: &Path, part: &BackupPart, scratch: &Path) -> std::io::Result<()> {
    let folder = scratch.join("snapshots").join(format!("p{}", part.partition));
    std::fs::create_dir_all(&folder)?;
    for file in &part.files {
        let from = backup.join(&file.name);
        let to: PathBuf = folder.join(from.file_name().unwrap_or_default());
        // A second name is enough where both lie on one file system; a store never writes to a sealed file.
        if std::fs::hard_link(&from, &to).is_err() {
            std::fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

async fn replayed(store: &Store, manifest: Manifest) -> Result<Checked, BackupError> {
    let map = PartitionMap { partitions: (manifest.parts.len() as u16).saturating_sub(1) };
    let ca = manifest.ca()?;
    let absent = manifest.absent.iter().filter_map(|id| Some(body_name(BlobId(id.as_ref().try_into().ok()?))));
    let bodies: BTreeSet<String> = manifest.bodies.iter().map(|file| file.name.clone()).chain(absent).collect();
    let (mut standings, mut rows, mut records, mut heads) = (vec![], 0, 0, 0);
    for part in &manifest.parts {
        let number = part.partition;
        let partition = store.partition(number).map_err(BackupError::rows(number))?;
        let hash = partition.hash().await.map_err(BackupError::rows(number))?;
        if hash != Some((part.index, part.digest)) {
            return Err(BackupError::OtherRows(number));
        }
        let standing = Standing::read(map, |key| partition.get(key));
        let standing = standing.map_err(|e| BackupError::Rows { partition: number, error: e.to_string() })?;
        let chain = standing.chain();
        if (chain.sequence, chain.hash) != (part.audit_sequence, part.audit_hash) {
            return Err(BackupError::OtherRows(number));
        }
        let (read, signed) = trail(&partition, &standing, ca.clone())?;
        (records, heads, rows) = (records + read, heads + signed, rows + part.rows);
        every_body(&partition, &bodies)?;
        standings.push(standing);
    }
    if let Some(found) = misfit(standings.iter()) {
        return Err(found.into());
    }
    Ok(Checked { rows, records, heads, manifest })
}

/// Reads the audit trail from its first record to the mark. How many records and signed heads it has.
fn trail(partition: &Arc<Partition>, standing: &Standing, ca: Ca) -> Result<(u64, u64), BackupError> {
    let (number, end) = (partition.number(), standing.chain());
    let begin = Begin::load(&**partition).map_err(BackupError::rows(number))?;
    let mut verifier = Verifier::new(number, 1, end.sequence, Some(end), ca).signed().begins(begin);
    while !verifier.step(&**partition).map_err(BackupError::rows(number))?.done {}
    let verdict = verifier.verdict();
    match verdict.findings.first() {
        None => Ok((verdict.records, verdict.heads)),
        Some(finding) => Err(BackupError::Trail { partition: number, finding: finding.to_string() }),
    }
}

fn every_body(partition: &Arc<Partition>, bodies: &BTreeSet<String>) -> Result<(), BackupError> {
    let mut range = Table::BlobRefs.key().prefix();
    loop {
        let page = partition.scan(range.clone(), false, PAGE).map_err(BackupError::rows(partition.number()))?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        range.start = crate::store::tables::after_prefix(last);
        for id in page.iter().filter_map(|(key, _)| key.get(1..)?.first_chunk::<32>()) {
            let name = body_name(BlobId(*id));
            if !bodies.contains(&name) {
                return Err(BackupError::NoBody(name));
            }
        }
    }
}
