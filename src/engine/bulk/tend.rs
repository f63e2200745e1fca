//! Keeps the blob store in step with the rows: fetches bodies that a row names and this node lacks (it was away when
//! they were uploaded, or is new), and removes bodies that no row names (P6, P9).

use super::*;
use crate::engine::bodies;
use crate::engine::rows::RowError;
use crate::seam::pace::Pace;
use crate::store::{Reader, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

/// Pause between rounds.
const ROUND: Duration = Duration::from_secs(60);
/// A node that has come into step looks for what it lacks as soon as this.
const SOON: Duration = Duration::from_secs(2);
/// A body without a row is kept this long after it was first seen so: its command may still be on its way, and a
/// replica may not have applied it yet.
pub const GRACE: Duration = Duration::from_secs(3_600);
/// Bodies of commands on their way that are kept count of. Where there are more, nothing is removed in this round.
const MAX_ON_THEIR_WAY: usize = 100_000;
/// Bodies remembered as orphans. More wait for a later round.
const MAX_ORPHANS: usize = 100_000;

/// The partitions' rows as this node has applied them; empty while this node may not judge by them (catching up).
pub type Partitions = Arc<dyn Fn() -> Vec<Arc<dyn Reader + Send + Sync>> + Send + Sync>;

impl Bulk {
    /// Runs until `stop` turns true.
    pub async fn tend(&self, partitions: Partitions, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = if self.whole_since().is_some() { ROUND } else { SOON };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.0.sooner.notified() => {}
                _ = stop.wait_for(|s| *s) => return,
            }
            if let Err(e) = self.tend_once(&partitions(), GRACE).await {
                tracing::warn!(event = "bulk.tend_failed", error = %e, "bodies were not all looked after; next round goes on");
            }
        }
    }

    /// One round. Returns how many bodies were fetched and how many removed.
    pub async fn tend_once(
        &self,
        partitions: &[Arc<dyn Reader + Send + Sync>],
        grace: Duration,
    ) -> Result<(usize, usize), TendError> {
        if partitions.is_empty() {
            return Ok((0, 0));
        }
        let (mut restored, mut lacking, begun) = (0, false, Instant::now());
        // Before messages' rows are looked at: what arrives meanwhile is named there then.
        let on_their_way = on_their_way(partitions)?;
        for rows in partitions {
            let (here, lacks) = self.restore_named(rows.as_ref()).await?;
            restored += here;
            lacking |= lacks;
        }
        if !lacking {
            *self.0.whole.lock().unwrap_or_else(|e| e.into_inner()) = Some(begun);
        }
        let Some(on_their_way) = on_their_way else {
            tracing::warn!(
                event = "bulk.tend_waits",
                "more bodies are between partitions than are kept count of: none is removed"
            );
            return Ok((restored, 0));
        };
        for id in self.lost() {
            if !on_their_way.contains(&id) && !named(partitions, id)? {
                self.not_lost(id);
            }
        }
        Ok((restored, self.collect(partitions, &on_their_way, grace).await?))
    }

    /// Has the next round begin now.
    pub fn look_again(&self) {
        self.0.sooner.notify_one();
    }

    /// How long ago the last round began that left this node with every body that its rows name.
    pub fn whole_since(&self) -> Option<Duration> {
        self.0.whole.lock().unwrap_or_else(|e| e.into_inner()).map(|begun| begun.elapsed())
    }

    /// How many were fetched, and whether some could not be.
    async fn restore_named(&self, rows: &(dyn Reader + Send + Sync)) -> Result<(usize, bool), TendError> {
        let (mut restored, mut lacks) = (0, false);
        let mut pages = bodies::all(rows);
        while let Some(ids) = pages.page()? {
            for id in ids {
                if self.0.blobs.has(id).await {
                    continue;
                }
                match self.restore(id).await {
                    Ok(_) => restored += 1,
                    Err(_) => lacks = true,
                }
            }
        }
        Ok((restored, lacks))
    }

    /// Reads every body at `pace`, and fetches what fails its checksum from a peer. Returns how many did, and how many
    /// are whole again.
    pub async fn scrub(&self, pace: &Pace) -> Result<(usize, usize), BlobError> {
        let (mut damaged, mut restored) = (0, 0);
        for folder in 0..=255 {
            for id in self.0.blobs.list(folder).await? {
                match self.0.blobs.verify(id, pace).await {
                    Ok(_) => self.not_lost(id),
                    Err(BlobError::Missing(_)) => {}
                    Err(BlobError::Corrupt(_)) => {
                        damaged += 1;
                        restored += usize::from(self.restore(id).await.is_ok());
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok((damaged, restored))
    }

    async fn collect(
        &self,
        partitions: &[Arc<dyn Reader + Send + Sync>],
        on_their_way: &BTreeSet<BlobId>,
        grace: Duration,
    ) -> Result<usize, TendError> {
        let mut removed = 0;
        for folder in 0..=255 {
            for id in self.0.blobs.list(folder).await? {
                if on_their_way.contains(&id) || named(partitions, id)? {
                    self.orphans().remove(&id);
                } else if self.orphaned_for(id) >= grace {
                    removed += usize::from(self.remove_orphan(id, grace).await?);
                }
            }
        }
        if removed > 0 {
            tracing::info!(event = "bulk.collected", bodies = removed, "bodies that no row names were removed");
        }
        Ok(removed)
    }

    fn orphaned_for(&self, id: BlobId) -> Duration {
        let mut orphans = self.orphans();
        if orphans.len() >= MAX_ORPHANS && !orphans.contains_key(&id) {
            return Duration::ZERO;
        }
        orphans.entry(id).or_insert_with(Instant::now).elapsed()
    }

    async fn remove_orphan(&self, id: BlobId, grace: Duration) -> Result<bool, BlobError> {
        let _naming = self.0.naming.write().await;
        // The same content may have come again since: then it is nobody's orphan.
        if self.orphans().get(&id).is_none_or(|since| since.elapsed() < grace) {
            return Ok(false);
        }
        self.0.blobs.remove(id).await?;
        self.orphans().remove(&id);
        Ok(true)
    }

    fn orphans(&self) -> std::sync::MutexGuard<'_, HashMap<BlobId, Instant>> {
        self.0.orphans.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum TendError {
    #[error(transparent)]
    Rows(#[from] RowError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl From<StoreError> for TendError {
    fn from(e: StoreError) -> Self {
        TendError::Rows(e.into())
    }
}

/// `None`: more than are kept count of.
fn on_their_way(partitions: &[Arc<dyn Reader + Send + Sync>]) -> Result<Option<BTreeSet<BlobId>>, RowError> {
    let mut found = BTreeSet::new();
    for rows in partitions {
        if bodies::of_commands(rows.as_ref(), &mut found, MAX_ON_THEIR_WAY)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// Whether a message has it.
fn named(partitions: &[Arc<dyn Reader + Send + Sync>], id: BlobId) -> Result<bool, StoreError> {
    for rows in partitions {
        if bodies::of_message(rows.as_ref(), id)? {
            return Ok(true);
        }
    }
    Ok(false)
}
