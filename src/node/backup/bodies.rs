//! Bodies that a backup, or what is archived behind it, is to hold: fetched from a peer where this node lacks them, and left out where
//! nobody has them any more (P1).

use super::BackupError;
use crate::{
    engine::{RowError, bodies},
    node::rooms::Rooms,
    seam::pace::Pace,
    store::blobs::BlobId,
};
use std::collections::BTreeSet;

/// Bodies of one partition's commands on their way that are looked through for one that cannot be had.
const MOST_WAITING: usize = 100_000;

/// Sees to it that this node has a body whole. False where no node has it, and that is known: lost before, or collected by its
/// recipient meanwhile and gone everywhere.
pub async fn at_hand(rooms: &Rooms, id: BlobId, pace: &Pace) -> Result<bool, BackupError> {
    if rooms.bulk.blobs().verify(id, pace).await.is_ok() {
        return Ok(true);
    }
    let Err(e) = rooms.bulk.restore(id).await else { return Ok(true) };
    if named(rooms, id)? && !rooms.bulk.lost().contains(&id) {
        return Err(BackupError::Body { id: id.to_string(), why: e.to_string() });
    }
    tracing::warn!(event = "backup.body_absent", body = %id, "no node has a body that the backup's rows name");
    Ok(false)
}

fn named(rooms: &Rooms, id: BlobId) -> Result<bool, BackupError> {
    for partition in rooms.engine.map().all() {
        let rows = rooms.engine.local(partition);
        let unread = |e: RowError| BackupError::Rows { partition: partition.0, error: e.to_string() };
        let mut waiting = BTreeSet::new();
        // Of so many on their way nobody knows: it may be one of them.
        let known = bodies::of_commands(rows.as_ref(), &mut waiting, MOST_WAITING).map_err(unread)?;
        if known.is_none() || waiting.contains(&id) {
            return Ok(true);
        }
        if bodies::of_message(rows.as_ref(), id).map_err(BackupError::rows(partition.0))? {
            return Ok(true);
        }
    }
    Ok(false)
}
