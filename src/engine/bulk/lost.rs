//! Bodies of which no node has a whole copy any more (P7): refused at once instead of half way, and told to operators for
//! as long as that is so and a row names them.

use super::*;
use crate::ops::metrics::BODIES_LOST;
use std::sync::{MutexGuard, PoisonError};

/// Lost bodies that are remembered (P6). What is beyond is found again when these are gone.
const MAX_LOST: usize = 1_000;

impl Bulk {
    fn lost_ones(&self) -> MutexGuard<'_, BTreeSet<BlobId>> {
        self.0.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bodies that every voter was asked for, and none has whole.
    pub fn lost(&self) -> Vec<BlobId> {
        self.lost_ones().iter().copied().collect()
    }

    pub(super) fn is_lost(&self, id: BlobId) -> bool {
        self.lost_ones().contains(&id)
    }

    /// Takes note of what a search for a body has come to.
    pub(super) fn searched<T>(&self, id: BlobId, result: &Result<T, BulkError>) {
        match result {
            Ok(_) => self.not_lost(id),
            Err(BulkError::Lost(_)) => {
                let mut lost = self.lost_ones();
                if lost.len() < MAX_LOST && lost.insert(id) {
                    metrics::gauge!(BODIES_LOST).set(lost.len() as f64);
                    tracing::error!(event = "bulk.lost", blob = %id, "no node has a whole copy of a body: it is refused");
                }
            }
            Err(_) => {}
        }
    }

    /// A whole copy is here, or no row names the body any more.
    pub(super) fn not_lost(&self, id: BlobId) {
        let mut lost = self.lost_ones();
        if lost.remove(&id) {
            metrics::gauge!(BODIES_LOST).set(lost.len() as f64);
            tracing::info!(event = "bulk.lost.over", blob = %id, "a body is whole again, or not needed any more");
        }
    }
}
