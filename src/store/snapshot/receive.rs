//! A snapshot on its way in from a peer, piece by piece; believed only after its digest agreed.

use super::{SnapshotInfo, folder, io, seal, unsynced};
use crate::seam::fs::{File, Open, blocking};
use crate::store::{StoreError, partition::Partition};
use bytes::Bytes;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A file being received. Dropping it leaves a part file that the next start removes.
pub struct Incoming {
    partition: Arc<Partition>,
    file: Arc<dyn File>,
    path: PathBuf,
    total: u64,
    received: u64,
}

impl Partition {
    /// Starts to receive a snapshot of `total` bytes. Refused where the disk has no room for it.
    pub async fn receive_snapshot(self: &Arc<Self>, total: u64) -> Result<Incoming, StoreError> {
        static NAMES: AtomicU64 = AtomicU64::new(0);
        let folder = folder(&self.shared.dir, self.number);
        let path = folder.join(format!("incoming-{}", NAMES.fetch_add(1, Ordering::Relaxed)));
        let to = path.clone();
        let file = blocking(&self.shared.world.fs, move |fs| {
            fs.create_dir_all(&folder)?;
            for name in fs.list(&folder)?.iter().filter(|n| n.starts_with("incoming-")) {
                // One at a time: an earlier one was given up.
                let _ = fs.remove_file(&folder.join(name));
            }
            if fs.space(&folder)?.0 < total {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            fs.open(&to, Open::Create)
        })
        .await
        .map_err(io)?;
        Ok(Incoming { partition: self.clone(), file, path, total, received: 0 })
    }
}

impl Incoming {
    /// How many bytes came so far: where the next piece starts.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next piece. Pieces come in order.
    pub async fn write(&mut self, offset: u64, piece: Bytes) -> Result<(), StoreError> {
        let len = piece.len() as u64;
        if offset != self.received || offset + len > self.total {
            return Err(StoreError::Io("a piece of a snapshot out of place".into()));
        }
        let file = self.file.clone();
        blocking(&self.partition.shared.world.fs, move |_| file.write_at(offset, &piece)).await.map_err(io)?;
        self.received += len;
        Ok(())
    }

    /// Verifies the whole file, syncs and names it. It is one of the partition's snapshots then, and can be installed.
    /// `None` where the rows here are further than it. It is removed then: a row that came and went before it was here left
    /// no mark for a layer, so layers on it would bring the row back.
    pub async fn finish(self) -> Result<Option<SnapshotInfo>, StoreError> {
        let (partition, file, path) = (self.partition.clone(), self.file.clone(), self.path.clone());
        let info = self.verified().await?;
        if !partition.expect_snapshot(&info) {
            let _ = blocking(&partition.shared.world.fs, move |fs| fs.remove_file(&path)).await;
            return Ok(None);
        }
        keep(&partition, file, path).await.map(Some)
    }

    /// As [`Incoming::finish`], to replace rows that are not what the log behind them needs, however far they are. Layers
    /// that go on behind the snapshot are of those rows, and are dropped.
    pub async fn finish_over(self) -> Result<SnapshotInfo, StoreError> {
        let (partition, file, path) = (self.partition.clone(), self.file.clone(), self.path.clone());
        let info = self.verified().await?;
        if !partition.expect_snapshot(&info) {
            partition.drop_layers_behind(info.before.index).await;
        }
        keep(&partition, file, path).await
    }

    async fn verified(self) -> Result<SnapshotInfo, StoreError> {
        if self.received != self.total {
            return Err(StoreError::Io("a snapshot ended early".into()));
        }
        let (number, path) = (self.partition.number, self.path);
        blocking(&self.partition.shared.world.fs, move |fs| {
            let checked = super::file::Reader::open(fs, &path).and_then(|reader| {
                reader.verify()?;
                if reader.head.partition == number {
                    super::info(fs, path.clone())
                } else {
                    Err(StoreError::Corrupt("snapshot: of another partition".into()))
                }
            });
            if checked.is_err() {
                let _ = fs.remove_file(&path);
            }
            checked
        })
        .await
    }
}

async fn keep(partition: &Arc<Partition>, file: Arc<dyn File>, path: PathBuf) -> Result<SnapshotInfo, StoreError> {
    let folder = folder(&partition.shared.dir, partition.number);
    let info = blocking(&partition.shared.world.fs, move |fs| {
        file.sync().map_err(unsynced)?;
        seal(fs, &path, &folder)
    })
    .await?;
    partition.take_in(info.clone()).await;
    Ok(info)
}
