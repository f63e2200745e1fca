//! How long a sync of the log takes just now, so that a node whose disk is slow can be told from the others (P9).

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The middle one of so many syncs counts: two or three long ones among them are a hiccup.
const KEPT: usize = 9;
/// What was measured so long ago says nothing of the disk any more.
const OLD: Duration = Duration::from_secs(10);
/// A sync that has been under way for so long counts before it has ended: it may never end.
const STUCK: Duration = Duration::from_secs(1);

/// Measures one log's writes with their syncs.
#[derive(Default)]
pub struct Tempo(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// When each of the last ended, and how long it took.
    recent: VecDeque<(Instant, Duration)>,
    /// Since when one is under way.
    since: Option<Instant>,
}

impl Tempo {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write has begun; no change where that was said before.
    pub fn begin(&self) {
        self.lock().since.get_or_insert_with(Instant::now);
    }

    /// What has begun is durable.
    pub fn end(&self) {
        let mut inner = self.lock();
        let Some(since) = inner.since.take() else { return };
        let now = Instant::now();
        inner.recent.push_back((now, now.duration_since(since)));
        if inner.recent.len() > KEPT {
            inner.recent.pop_front();
        }
    }

    /// Nothing was written after all.
    pub fn forget(&self) {
        self.lock().since = None;
    }

    /// What a sync takes just now; `None` while too few were made lately to say so.
    pub fn now(&self) -> Option<Duration> {
        let inner = self.lock();
        let stuck = inner.since.map(|since| since.elapsed()).filter(|taken| *taken >= STUCK);
        let lately = inner.recent.iter().filter(|(ended, _)| ended.elapsed() < OLD);
        let mut lately: Vec<Duration> = lately.map(|(_, took)| *took).collect();
        lately.sort_unstable();
        let middle = (lately.len() > KEPT / 2).then(|| lately[lately.len() / 2]);
        middle.max(stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const MS: Duration = Duration::from_millis(1);

    async fn syncs(tempo: &Tempo, count: u32, take: Duration) {
        for _ in 0..count {
            tempo.begin();
            advance(take).await;
            tempo.end();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_middle_of_the_last_few_syncs_counts_and_grows_old() {
        let tempo = Tempo::default();
        syncs(&tempo, 4, 3 * MS).await;
        assert_eq!(tempo.now(), None, "four are too few to tell");
        syncs(&tempo, 20, 3 * MS).await;
        syncs(&tempo, 3, 900 * MS).await;
        assert_eq!(tempo.now(), Some(3 * MS), "a hiccup");
        syncs(&tempo, 5, 70 * MS).await;
        assert_eq!(tempo.now(), Some(70 * MS));
        advance(OLD).await;
        assert_eq!(tempo.now(), None, "long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sync_that_does_not_end_counts_after_a_while() {
        let tempo = Tempo::default();
        syncs(&tempo, 20, 3 * MS).await;
        tempo.begin();
        advance(STUCK - MS).await;
        tempo.begin();
        assert_eq!(tempo.now(), Some(3 * MS));
        advance(MS).await;
        assert_eq!(tempo.now(), Some(STUCK));
        tempo.forget();
        assert_eq!(tempo.now(), Some(3 * MS));
    }
}
