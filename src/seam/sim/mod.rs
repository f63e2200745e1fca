//! A world that runs from one seed: disk, network, clock and randomness that tests can break at will (P1, P2, P9).
//!
//! Everything here is deterministic on a single-threaded runtime. Time is `tokio::time`, so a test that pauses it runs
//! as fast as the machine can.

mod disk;
pub mod fs;
pub mod net;

use super::{
    World,
    clock::{Clock, Millis},
    rng::Rng,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

/// Randomness from a seed (splitmix64). Not for keys.
pub struct SimRng(Mutex<u64>);

impl SimRng {
    pub fn new(seed: u64) -> SimRng {
        SimRng(Mutex::new(seed))
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 for 0).
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// True with a chance of `per_mille` in 1,000.
    pub fn chance(&self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }
}

impl Rng for SimRng {
    fn fill(&self, out: &mut [u8]) {
        for piece in out.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}

/// A clock that goes with `tokio::time` and can be set forward and back.
pub struct SimClock {
    started: tokio::time::Instant,
    /// Milliseconds at `started`, changed by [`SimClock::shift`].
    base: AtomicI64,
    /// Milliseconds gained in a million, below zero lost.
    drift: AtomicI64,
}

impl SimClock {
    /// Shows `start` now.
    pub fn new(start: Millis) -> SimClock {
        SimClock {
            started: tokio::time::Instant::now(),
            base: AtomicI64::new(start.0 as i64),
            drift: AtomicI64::new(0),
        }
    }

    /// Jumps by so many milliseconds.
    pub fn shift(&self, millis: i64) {
        self.base.fetch_add(millis, Ordering::Relaxed);
    }

    /// Runs fast or slow from here on, by so many millionths.
    pub fn drift(&self, millionths: i64) {
        let now = self.now();
        self.drift.store(millionths, Ordering::Relaxed);
        self.set(now);
    }

    /// Shows `now` from here on.
    pub fn set(&self, now: Millis) {
        self.shift(now.0 as i64 - self.now().0 as i64);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        let since = self.started.elapsed().as_millis() as i64;
        let gained = since * self.drift.load(Ordering::Relaxed) / 1_000_000;
        Millis((self.base.load(Ordering::Relaxed) + since + gained).max(0) as u64)
    }
}

/// One node's simulated world; the parts stay at hand for breaking them.
pub struct SimWorld {
    pub fs: fs::SimFs,
    pub clock: Arc<SimClock>,
    pub rng: Arc<SimRng>,
}

impl SimWorld {
    /// A world from a seed, at 2025-01-01T00:00:00Z, with a disk of `capacity` bytes.
    pub fn new(seed: u64, capacity: u64) -> SimWorld {
        SimWorld {
            fs: fs::SimFs::new(seed ^ 0xd15c, capacity),
            clock: Arc::new(SimClock::new(Millis(1_735_689_600_000))),
            rng: Arc::new(SimRng::new(seed)),
        }
    }

    /// What the rooms of a process get that is started now: its disk is gone with the next power cut.
    pub fn process(&self) -> World {
        World { fs: Arc::new(self.fs.mount()), clock: self.clock.clone(), rng: self.rng.clone() }
    }

    /// What rooms get.
    pub fn world(&self) -> World {
        World { fs: Arc::new(self.fs.clone()), clock: self.clock.clone(), rng: self.rng.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (a, b) = (SimRng::new(7), SimRng::new(7));
        let mut buf = [0; 13];
        a.fill(&mut buf);
        let mut other = [0; 13];
        b.fill(&mut other);
        assert_eq!(buf, other);
        assert_ne!(a.next(), SimRng::new(8).next());
        assert!((0..1000).all(|_| a.below(3) < 3));
    }

    #[tokio::test]
    async fn the_clock_jumps() {
        let clock = SimClock::new(Millis(5_000));
        assert!(clock.now().0 >= 5_000);
        clock.set(Millis(1_000_000));
        assert!((1_000_000..1_060_000).contains(&clock.now().0));
        clock.shift(-2_000_000);
        assert_eq!(clock.now(), Millis(0));
    }
}
