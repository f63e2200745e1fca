//! What the rows of a partition say, read from its files from front to back: how many they are and their digest, what it sent
//! and took, and which bodies it names.

use super::BackupError;
use crate::{
    engine::{PartitionMap, cut::Standing},
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
                Some(BLOB_REFS) if bodies.len() < MOST_BODIES => {
                    bodies.extend(key.get(1..).and_then(|rest| rest.first_chunk::<32>()).map(|id| BlobId(*id)));
                }
                Some(BLOB_REFS) => {
                    let error = "more bodies than a backup takes".into();
                    return Err(BackupError::Rows { partition, error });
                }
                _ => {}
            }
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
const BLOB_REFS: u8 = Table::BlobRefs as u8;
