//! Putting a snapshot in the place of a partition's rows: a new tree is built beside the old, then takes its place.
//!
//! A crash before the switch leaves the old rows, after it the new ones. Memory and cache start empty; the log is
//! applied from the snapshot's `before` on, and nothing is served until it is past `after_index`.

use super::{SnapshotInfo, file};
use crate::seam::fs::{Fs, blocking};
use crate::store::blocks::BlockTree;
use crate::store::open::Shared;
use crate::store::{Applied, StoreError, partition::Partition};
use std::sync::Arc;

impl Partition {
    /// Replaces all rows with those of a sealed snapshot, and returns the position to apply the log from. One that turns
    /// out to be rotten is noted as damage of the partition: consensus would ask for the same file at every start, so
    /// the next start goes without it. The caller must hold off applies.
    pub async fn install_snapshot(self: &Arc<Self>, id: &str) -> Result<Applied, StoreError> {
        let _one = self.snapshot_turn.lock().await;
        let _turn = self.turn.lock().await;
        let info = self.snapshots().into_iter().find(|s| s.id == id);
        let info = info.ok_or_else(|| StoreError::Io("no such snapshot".into()))?;
        self.noted(self.replace_rows(Some(&info)).await)
    }

    /// Rebuilds the partition from its newest snapshot that is whole, or empties it where there is none. Rows are as
    /// of the returned position, which may be lower than what was applied before: consensus starts the group again
    /// from there. Needed only where the process cannot simply be restarted, which does the same.
    pub async fn rebuild(self: &Arc<Self>) -> Result<Option<SnapshotInfo>, StoreError> {
        let _one = self.snapshot_turn.lock().await;
        let _turn = self.turn.lock().await;
        for info in self.snapshots().into_iter().rev() {
            match self.replace_rows(Some(&info)).await {
                Ok(_) => return Ok(Some(info)),
                Err(e) => {
                    tracing::error!(event = "store.snapshot_damaged", partition = self.number, id = info.id, error = %e);
                    if matches!(e, StoreError::Corrupt(_)) {
                        self.forget_snapshot(&info).await;
                    }
                }
            }
        }
        self.replace_rows(None).await?;
        Ok(None)
    }

    async fn replace_rows(self: &Arc<Self>, info: Option<&SnapshotInfo>) -> Result<Applied, StoreError> {
        let (shared, number, info) = (self.shared.clone(), self.number, info.cloned());
        let (blocks, old) =
            blocking(&self.shared.world.fs, move |fs| build(fs, &shared, number, info.as_ref())).await?;
        let rest = blocks.rest()?;
        let applied = rest.applied.clone();
        self.replace(blocks, rest);
        let kv = self.shared.kv.clone();
        // The old rows are out of sight already; what cannot be dropped now is dropped at the next start.
        let dropped = blocking(&self.shared.world.fs, move |_| kv.drop_tree(&old)).await;
        if let Err(e) = dropped {
            tracing::warn!(event = "store.old_tree_kept", partition = self.number, error = %e);
        }
        self.shared.clear_damage(self.number).await;
        Ok(applied)
    }
}

/// Builds the next generation of a partition's tree and switches to it. Returns it with the old one's name.
pub(in crate::store) fn build(
    fs: &dyn Fs,
    shared: &Arc<Shared>,
    partition: u16,
    info: Option<&SnapshotInfo>,
) -> Result<(BlockTree, String), StoreError> {
    let old = shared.generation(partition)?.unwrap_or(0);
    let name = Shared::tree_name(partition, old + 1);
    shared.kv.drop_tree(&name)?;
    let blocks = BlockTree::open(shared.kv.tree(&name)?, shared.cache.clone())?;
    if let Some(info) = info {
        let mut reader = file::Reader::open(fs, &info.path)?;
        reader.verify()?;
        while let Some(rows) = reader.rows()? {
            blocks.append(&rows)?;
        }
        blocks.begin(reader.foot.after_index)?;
        blocks.finish(&reader.head.before)?;
    }
    shared.set_generation(partition, old + 1)?;
    shared.kv.sync()?;
    Ok((blocks, Shared::tree_name(partition, old)))
}
