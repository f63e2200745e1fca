//! Watching free space: writes are refused before the disk is full, reads go on, and leadership moves to a node that
//! has room (P6, P9). Everything comes back by itself when space does.

use super::clocks::Clocks;
use super::disk::Disk;
use super::ports::Agreement;
use super::survey::{Survey, give_away};
use crate::ops::metrics as names;
use crate::record;
use crate::seam::World;
use crate::seam::fs::blocking;
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::{
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::Duration,
};

/// How often free space is looked at: at 1 GB/s a disk loses less than the default spare in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Writes come back when there is a quarter more than the spare, so that the state does not flap.
const BACK_AT: (u64, u64) = (5, 4);

pub(super) const ENOUGH: u8 = 0;
const SHORT: u8 = 1;
const NONE: u8 = 2;

record! {
    /// Answer to ROOM: how a node stands.
    pub struct Room v1 {
        /// 0 enough, 1 below the spare, 2 below a quarter of it.
        1 => state: u8,
        2 => free: u64,
        /// The answerer's clock, in milliseconds since the epoch; 0 from a release that does not tell.
        3 => now: u64,
        /// Nothing may be stamped with that clock.
        4 => clock_off: bool,
        /// It is being taken out of traffic, and gives leadership away.
        5 => leaving: bool,
        /// How long a sync of its log takes just now, in microseconds; 0 where that is not known.
        6 => sync_micros: u64,
        /// Its disk is slow, and it gives leadership away.
        7 => disk_slow: bool,
    }
}

/// This node's free space, as the deciders see it.
pub(super) struct Space {
    state: AtomicU8,
    dir: PathBuf,
    spare: u64,
    leaving: AtomicBool,
}

impl Space {
    pub fn new(dir: PathBuf, spare: u64) -> Self {
        Space { state: AtomicU8::new(ENOUGH), dir, spare, leaving: AtomicBool::new(false) }
    }

    /// Has peers told that this node is being taken out of traffic, or that it is not any more.
    pub fn leave(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::Relaxed);
    }

    /// Whether a command may be decided. `frees` says whether it only reads or frees space: such go on until a quarter
    /// of the spare is left, so that reads, which must leave an audit record (P4), go on.
    pub fn takes(&self, frees: impl FnOnce() -> bool) -> bool {
        match self.state.load(Ordering::Relaxed) {
            ENOUGH => true,
            SHORT => frees(),
            _ => false,
        }
    }

    /// Looks at the disk once.
    pub async fn look(&self, world: &World) -> u8 {
        let dir = self.dir.clone();
        let Ok((free, _)) = blocking(&world.fs, move |fs| fs.space(&dir)).await else {
            return self.state.load(Ordering::Relaxed);
        };
        metrics::gauge!(names::STORE_FREE_BYTES).set(free as f64);
        let was = self.state.load(Ordering::Relaxed);
        let spare = if was == ENOUGH { self.spare } else { self.spare / BACK_AT.1 * BACK_AT.0 };
        let state = match free {
            free if free < self.spare / 4 => NONE,
            free if free < spare => SHORT,
            _ => ENOUGH,
        };
        if state != was {
            self.state.store(state, Ordering::Relaxed);
            if state == ENOUGH {
                tracing::info!(event = "engine.space.back", free, "writes are taken again");
            } else {
                tracing::error!(event = "engine.space.short", free, spare = self.spare, "writes are refused");
            }
        }
        state
    }

    /// The answer to a peer that asks.
    pub fn room(&self, clocks: &Clocks, disk: &Disk) -> Bytes {
        let leaving = self.leaving.load(Ordering::Relaxed);
        let mut room = Room { state: self.state.load(Ordering::Relaxed), leaving, ..Default::default() };
        clocks.fill(&mut room);
        disk.fill(&mut room);
        room.encode()
    }
}

/// Looks at the disk for ever, and gives leadership away while it is short and another voter is not.
pub(super) async fn watch(
    space: Arc<Space>,
    world: World,
    clocks: Arc<Clocks>,
    survey: Arc<Survey>,
    groups: Vec<Arc<dyn Agreement>>,
) {
    loop {
        if space.look(&world).await != ENOUGH {
            let said = survey.ask(&clocks).await;
            give_away(&groups, survey.me, "engine.space.hand_over", &|voter| {
                said.iter().find(|s| s.node == voter && s.may_lead() && !clocks.wrong(s)).map(|s| s.room.disk_slow)
            })
            .await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
