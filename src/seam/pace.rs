//! A pace for background work on disks: it takes its time, so that clients do not feel it (P6).

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counts bytes and holds up whoever has worked on them, so that a bound per second is kept.
pub struct Pace {
    bytes_per_second: u64,
    bytes: AtomicU64,
}

impl Pace {
    /// 0 counts as 1 byte a second: a bound is never taken for none.
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), bytes: AtomicU64::new(0) }
    }

    /// Call after each piece of work; waits as long as the piece was worth.
    pub async fn spent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)).await;
    }

    /// Bytes worked on so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_piece_takes_as_long_as_it_is_worth() {
        let pace = Pace::new(1_000);
        let start = tokio::time::Instant::now();
        pace.spent(500).await;
        pace.spent(1_500).await;
        assert_eq!((pace.bytes(), start.elapsed().as_millis()), (2_000, 2_000));
    }
}
