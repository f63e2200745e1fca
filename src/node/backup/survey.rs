//! What the rows of a partition say, read from its files from front to back: how many they are and their digest, what it sent
//! and took, and which bodies it names.

use super::BackupError;
use crate::{
    engine::{PartitionMap, bodies::of_row, cut::Standing},
    seam::{
        fs::{Fs, blocking},
        pace::Pace,
    },
    store::{blobs::BlobId, cut::Merged, tables::Table},
};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

/// Bodies of a site that are kept count of at once (P6): 160 MB of names.
const MOST_BODIES: usize = 4 << 20;

/// What was found.
pub struct Survey {
    pub rows: u64,
    pub digest: [u8; 32],
    pub standing: Standing,
}

/// Reads all rows of a partition. `bodies` takes the names of bodies.
pub async fn survey(
    fs: &Arc<dyn Fs>,
    (partition, map): (u16, PartitionMap),
    files: Vec<PathBuf>,
    bodies: &mut BTreeSet<BlobId>,
    pace: &Pace,
) -> Result<Survey, BackupError> {
    let mut merged = Merged::open(fs, files, pace).await.map_err(BackupError::rows(partition))?;
    let (mut digest, mut rows) = (Context::new(&SHA256), 0);
    let mut counters: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    loop {
        let (back, digested, page) = blocking(fs, move |_| {
            let page = merged.rows();
            page.iter().flatten().for_each(|(key, value)| {
                digest.update(&(key.len() as u32).to_le_bytes());
                digest.update(key);
                digest.update(&(value.len() as u32).to_le_bytes());
                digest.update(value);
            });
            (merged, digest, page)
        })
        .await;
        (merged, digest) = (back, digested);
        let page = page.map_err(BackupError::rows(partition))?;
        if page.is_empty() {
            break;
        }
        rows += page.len() as u64;
        let mut bytes = 0;
        for (key, value) in page {
            bytes += (key.len() + value.len()) as u64;
            match key.first().copied() {
                Some(META | INBOUND) => drop(counters.insert(key, value)),
                _ => {
                    let named = of_row(&key, &value);
                    bodies.extend(named.map_err(|e| BackupError::Rows { partition, error: e.to_string() })?);
                }
            }
        }
        if bodies.len() > MOST_BODIES {
            let error = "more bodies than a backup takes".into();
            return Err(BackupError::Rows { partition, error });
        }
        pace.spent(bytes).await;
    }
    let standing = Standing::read(map, |key| Ok(counters.get(key).cloned()))
        .map_err(|e| BackupError::Rows { partition, error: e.to_string() })?;
    let mut told = [0; 32];
    told.copy_from_slice(digest.finish().as_ref());
    Ok(Survey { rows, digest: told, standing })
}

const META: u8 = Table::Meta as u8;
const INBOUND: u8 = Table::Inbound as u8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::draft::OutboxItem,
        seam::fs_real::RealFs,
        store::{Applied, cut::Planting},
        wire::record::Record as _,
    };

    #[tokio::test]
    async fn a_body_is_named_while_its_message_is_between_two_partitions() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let at = Applied { index: 7, ..Default::default() };
        let mut planting = Planting::begin(fs.as_ref(), dir.path(), 1, at).unwrap();
        let item = OutboxItem { bodies: vec![Bytes::from_static(&[7; 32])], ..Default::default() };
        let key = Table::Outbox.key().fixed(&2_u16.to_be_bytes()).number(5).build();
        planting.row(&key, &item.encode()).unwrap();
        planting.finish(fs.as_ref()).unwrap();
        let folder = dir.path().join("snapshots/p1");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut bodies = BTreeSet::new();
        let map = PartitionMap { partitions: 2 };
        let found = survey(&fs, (1, map), files, &mut bodies, &Pace::new(u64::MAX)).await.unwrap();
        assert_eq!((found.rows, bodies), (1, BTreeSet::from([BlobId([7; 32])])));
    }
}
