//! The backup that a node is making, and how its last one went: one at a time (P6), remembered over restarts in a small file.

use super::{
    BackupError,
    create::{Made, Wish},
    keep,
};
use crate::{node::Node, ops::metrics as names};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::time::Instant;

/// File in the data folder. What cannot be read counts as never made: it is told, and nothing rests on it.
const FILE: &str = "backup.json";

/// How far a backup is.
#[derive(Default)]
pub struct Progress {
    phase: Mutex<&'static str>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    pub fn phase(&self, phase: &'static str) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
    pub fn more(&self, bytes: u64) {
        self.total.fetch_add(bytes, Relaxed);
    }
    pub fn done(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }
    /// What it does, bytes done, bytes known of.
    pub fn told(&self) -> (&'static str, u64, u64) {
        let phase = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        (phase, self.done.load(Relaxed), self.total.load(Relaxed))
    }
}

/// When this node last made a backup, and when one was last verified: milliseconds since the epoch, 0 for never.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub made: u64,
    pub path: PathBuf,
    pub verified: u64,
    /// When that one was made: it is kept.
    #[serde(default)]
    pub verified_made: u64,
}

/// One that has ended.
pub struct Ended {
    pub number: u64,
    pub seconds: f64,
    pub outcome: Result<Made, BackupError>,
}

#[derive(Default)]
struct State {
    number: u64,
    running: Option<Arc<Progress>>,
    last: Option<Arc<Ended>>,
}

#[derive(Default)]
pub struct Desk(Mutex<State>);

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is being made now, and what has ended last.
    pub fn told(&self) -> (Option<Arc<Progress>>, Option<Arc<Ended>>) {
        let state = self.state();
        (state.running.clone(), state.last.clone())
    }

    /// Whether one is being made, and how many were begun.
    pub fn begun(&self) -> (bool, u64) {
        let state = self.state();
        (state.running.is_some(), state.number)
    }

    /// Begins one, unless one is being made. Its number tells which one ended.
    pub fn begin(&self, node: &Arc<Node>, wish: Wish) -> Result<u64, BackupError> {
        let (number, progress) = {
            let mut state = self.state();
            if state.running.is_some() {
                return Err(BackupError::Running);
            }
            state.number += 1;
            let progress = Arc::new(Progress::default());
            state.running = Some(progress.clone());
            (state.number, progress)
        };
        let node = node.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let outcome = keep::make(&node, &wish, &progress).await;
            match &outcome {
                Ok(made) => {
                    tracing::info!(event = "backup.made", path = %made.path.display(), bytes = made.bytes, "a backup was made");
                }
                Err(e @ BackupError::Outlived { .. }) => {
                    tracing::error!(event = "backup.outlived", error = %e, "a backup was made, and older ones are left");
                }
                Err(e) => tracing::error!(event = "backup.failed", error = %e, "no backup was made"),
            }
            let ended = Ended { number, seconds: begun.elapsed().as_secs_f64(), outcome };
            let mut state = node.backups.state();
            (state.running, state.last) = (None, Some(Arc::new(ended)));
        });
        Ok(number)
    }
}

/// What is kept in a data folder.
pub fn kept(data: &Path) -> Kept {
    let text = std::fs::read(data.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Changes what is kept, and the gauges.
pub fn note(node: &Node, change: impl FnOnce(&mut Kept)) {
    let data = &node.settings.node.data;
    let mut now = kept(data);
    change(&mut now);
    let write = || -> std::io::Result<()> {
        let temporary = data.join("backup.tmp");
        std::fs::write(&temporary, serde_json::to_vec(&now)?)?;
        std::fs::rename(&temporary, data.join(FILE))
    };
    if let Err(error) = write() {
        tracing::warn!(event = "backup.unkept", %error, "when the last backup was made is forgotten at the next start");
    }
    tell(&now);
}

/// Sets the gauges; what never was is not there.
pub fn tell(kept: &Kept) {
    if kept.made > 0 {
        metrics::gauge!(names::BACKUP_SUCCESS).set(kept.made as f64 / 1000.0);
    }
    if kept.verified > 0 {
        metrics::gauge!(names::BACKUP_VERIFIED).set(kept.verified as f64 / 1000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_counts_as_never() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(kept(dir.path()), Kept::default());
        std::fs::write(dir.path().join(FILE), "{\"made\": 7, \"path\": \"/b\", \"verified\": 0}").unwrap();
        assert_eq!(kept(dir.path()), Kept { made: 7, path: "/b".into(), ..Kept::default() });
        std::fs::write(dir.path().join(FILE), "x").unwrap();
        assert_eq!(kept(dir.path()), Kept::default());
    }
}
