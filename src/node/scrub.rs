//! The walk over everything at rest, now and then and slowly: bytes that went bad are found, and had from another node,
//! while that one still has them whole (P7, P9). Nothing else reads a message that nobody collects.

use super::{Node, rooms::Rooms, settle};
use crate::{ops::metrics as names, seam::pace::Pace, store::StoreError};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How soon a walk that could not begin, because the node is not in step, is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Lines about damage that could not be repaired, for status (P6).
const MAX_LINES: usize = 20;

/// What walks have found since the node started.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When the last one ended, in milliseconds since the epoch; 0 before the first.
    pub finished: u64,
    /// Bytes that the last one read.
    pub bytes: u64,
    pub damaged: u64,
    pub repaired: u64,
    /// What the last one found and could not repair.
    pub open: Vec<String>,
}

/// The newest report.
#[derive(Default)]
pub struct Scrub(Mutex<Report>);

impl Scrub {
    pub fn report(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Walks for as long as the node runs. The first walk comes at a random time, so that nodes take turns.
pub async fn run(node: Arc<Node>) {
    let (interval, rate) = (node.settings.storage.scrub_interval, node.settings.storage.scrub_rate);
    let mut luck = [0; 4];
    node.world.rng.fill(&mut luck);
    let mut pause = interval.mul_f64(f64::from(u32::from_le_bytes(luck)) / f64::from(u32::MAX));
    loop {
        tokio::time::sleep(pause).await;
        let Some(rooms) = node.rooms.get().filter(|_| node.ready()) else {
            pause = interval.min(AGAIN);
            continue;
        };
        pause = interval;
        let pace = Pace::new(rate);
        let mut found = Found::default();
        walk(&node, rooms, &pace, &mut found).await;
        let finished = node.world.clock.now().0;
        metrics::gauge!(names::SCRUB_FINISHED).set(finished as f64 / 1000.0);
        metrics::counter!(names::SCRUB_BYTES).increment(pace.bytes());
        tracing::info!(
            event = "node.scrubbed",
            bytes = pace.bytes(),
            damaged = found.damaged,
            repaired = found.repaired,
            "everything at rest was read and checked"
        );
        let mut report = node.scrub.0.lock().unwrap_or_else(PoisonError::into_inner);
        report.finished = finished;
        report.bytes = pace.bytes();
        report.damaged += found.damaged;
        report.repaired += found.repaired;
        report.open = found.open;
    }
}

/// What one walk finds.
#[derive(Default)]
struct Found {
    damaged: u64,
    repaired: u64,
    open: Vec<String>,
}

impl Found {
    fn note(&mut self, what: &'static str, damaged: usize, repaired: usize, line: impl FnOnce() -> String) {
        if damaged == 0 {
            return;
        }
        tracing::error!(event = "node.rot", what, damaged, repaired, "bytes at rest have gone bad");
        metrics::counter!(names::SCRUB_DAMAGED, "what" => what).increment(damaged as u64);
        metrics::counter!(names::SCRUB_REPAIRED, "what" => what).increment(repaired as u64);
        self.damaged += damaged as u64;
        self.repaired += repaired as u64;
        if repaired < damaged && self.open.len() < MAX_LINES {
            self.open.push(line());
        }
    }
}

async fn walk(node: &Node, rooms: &Rooms, pace: &Pace, found: &mut Found) {
    let holes = rooms.log.scrub(pace).await;
    let count = holes.len();
    let left = if holes.is_empty() { holes } else { rooms.consensus.mend(holes, &settle::peers(&node.settings)).await };
    found.note("log", count, count - left.len(), || format!("the log has {} damaged stretches", left.len()));
    for group in &rooms.groups {
        let Ok(partition) = rooms.store.partition(group.number()) else { continue };
        let number = group.number();
        let mut lost = 0;
        for info in partition.snapshots() {
            lost += usize::from(matches!(partition.verify_snapshot(&info, pace).await, Err(StoreError::Corrupt(_))));
        }
        lost += partition.verify_layers(pace).await;
        // A new one takes the place of what was lost.
        let sealed = lost > 0 && group.reseal().await.is_ok();
        let line = || format!("{lost} snapshots of partition {number} are lost, and no new one could be sealed");
        found.note("snapshot", lost, if sealed { lost } else { 0 }, line);
        // The store tells the node, which starts again and so rebuilds them.
        let rows = usize::from(matches!(partition.scrub(pace).await, Err(StoreError::Corrupt(_))));
        found.note("rows", rows, 0, || format!("rows of partition {number} failed a check"));
    }
    match rooms.bulk.scrub(pace).await {
        Ok((damaged, restored)) => {
            let line = || format!("{} bodies are damaged and no node gave another copy", damaged - restored);
            found.note("body", damaged, restored, line);
        }
        Err(e) => {
            tracing::warn!(event = "node.scrub.cut", error = %e, "not all bodies were read; the next walk goes on")
        }
    }
}
