//! Putting a snapshot in the place of a partition's rows: a new tree is built beside the old, then takes its place.
//!
//! A crash before the switch leaves the old rows, after it the new ones. Memory and cache start empty; the log is
//! applied from the snapshot's `before` on, and nothing is served until it is past `after_index`.

use super::merge::{Bad, Merge};
use super::{Chain, SnapshotInfo, folder};
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
        let chain = Chain { base: Some(info), layers: vec![] };
        self.noted(self.replace_rows(chain).await.map_err(|(_, e)| e))
    }

    /// Rebuilds the partition from the files that are whole, or empties it where there are none. Rows are as of the
    /// returned position, which may be lower than what was applied before: consensus starts the group again from there.
    /// Needed only where the process cannot simply be restarted, which does the same.
    pub async fn rebuild(self: &Arc<Self>) -> Result<Option<SnapshotInfo>, StoreError> {
        let _one = self.snapshot_turn.lock().await;
        let _turn = self.turn.lock().await;
        loop {
            let chain = self.whole_chain();
            let info = chain.info(self.number, &folder(&self.shared.dir, self.number));
            match self.replace_rows(chain).await {
                Ok(_) => return Ok(info),
                Err((path, StoreError::Corrupt(what))) if !path.as_os_str().is_empty() => {
                    self.forget_file(&path, &what).await;
                }
                // A sector that cannot be read costs the file, not the node: an older chain and the log, or a peer, have its rows.
                Err((path, e @ StoreError::Io(_))) if !path.as_os_str().is_empty() => self.pass_over(&path, &e),
                Err((_, e)) => return Err(e),
            }
        }
    }

    async fn replace_rows(self: &Arc<Self>, chain: Chain) -> Result<Applied, Bad> {
        let (shared, number) = (self.shared.clone(), self.number);
        let (blocks, old) = blocking(&self.shared.world.fs, move |fs| build(fs, &shared, number, &chain)).await?;
        let rest = blocks.rest().map_err(nowhere)?;
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

/// An error that no file of the chain is to blame for.
fn nowhere(e: StoreError) -> Bad {
    (Default::default(), e)
}

/// Builds the next generation of a partition's tree and switches to it. Returns it with the old one's name; or the file
/// that is damaged.
pub(in crate::store) fn build(
    fs: &dyn Fs,
    shared: &Arc<Shared>,
    partition: u16,
    chain: &Chain,
) -> Result<(BlockTree, String), Bad> {
    let info = chain.info(partition, &folder(&shared.dir, partition));
    let merge = info.as_ref().map(|_| Merge::open(fs, chain.files(), true)).transpose()?;
    let old = shared.generation(partition).map_err(nowhere)?.unwrap_or(0);
    let name = Shared::tree_name(partition, old + 1);
    shared.kv.drop_tree(&name).map_err(nowhere)?;
    let tree = shared.kv.tree(&name).map_err(nowhere)?;
    let blocks = BlockTree::open(tree, shared.cache.clone()).map_err(nowhere)?;
    if let (Some(info), Some(mut merge)) = (info, merge) {
        fill(&blocks, &mut merge)?;
        blocks.begin(info.after_index).and_then(|()| blocks.finish(&info.before)).map_err(nowhere)?;
    }
    shared.set_generation(partition, old + 1).and_then(|()| shared.kv.sync()).map_err(nowhere)?;
    Ok((blocks, Shared::tree_name(partition, old)))
}

fn fill(blocks: &BlockTree, merge: &mut Merge) -> Result<(), Bad> {
    loop {
        let rows = merge.rows()?;
        if rows.is_empty() {
            return Ok(());
        }
        let there: Vec<_> = rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        if !there.is_empty() {
            blocks.append(&there).map_err(nowhere)?;
        }
    }
}
