//! What a phase counts: latencies by operation in histograms, failures by kind, and the longest time without a success.

use super::client::Failure;
use hdrhistogram::Histogram;
use http::StatusCode;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The operations that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Send,
    List,
    Retrieve,
    Acknowledge,
}

impl Op {
    pub const ALL: [Op; 4] = [Op::Send, Op::List, Op::Retrieve, Op::Acknowledge];
    pub fn name(self) -> &'static str {
        match self {
            Op::Send => "send",
            Op::List => "list",
            Op::Retrieve => "retrieve",
            Op::Acknowledge => "acknowledge",
        }
    }
}

/// Longest latency that a histogram tells apart; longer ones count as this one.
const LONGEST: Duration = Duration::from_secs(120);

/// One thread's counts. Microseconds, three significant digits.
pub struct Stats {
    latencies: [Histogram<u64>; 4],
    /// Answers 429 and 503, from the moment the request was sent.
    pub refusals: Histogram<u64>,
    /// Those of them that do not say when to come again.
    pub without_retry_after: u64,
    pub failures: BTreeMap<String, u64>,
    pub messages: u64,
}

impl Stats {
    pub fn new() -> anyhow::Result<Stats> {
        let one = || Histogram::new_with_bounds(1, LONGEST.as_micros() as u64, 3);
        Ok(Stats {
            latencies: [one()?, one()?, one()?, one()?],
            refusals: one()?,
            without_retry_after: 0,
            failures: BTreeMap::new(),
            messages: 0,
        })
    }
    pub fn success(&mut self, op: Op, took: Duration) {
        self.latencies[op as usize].saturating_record(took.as_micros() as u64);
    }
    pub fn refused(&mut self, op: Op, status: StatusCode, retry_after: bool, took: Duration) {
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            self.refusals.saturating_record(took.as_micros() as u64);
            self.without_retry_after += u64::from(!retry_after);
        }
        self.fail(format!("{} {}", op.name(), status.as_u16()));
    }
    pub fn failed(&mut self, op: Op, failure: Failure) {
        self.fail(format!("{} {}", op.name(), failure.name()));
    }
    fn fail(&mut self, what: String) {
        *self.failures.entry(what).or_default() += 1;
    }
    pub fn latency(&self, op: Op) -> &Histogram<u64> {
        &self.latencies[op as usize]
    }
    pub fn add(&mut self, other: &Stats) -> anyhow::Result<()> {
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(theirs)?;
        }
        self.refusals.add(&other.refusals)?;
        self.without_retry_after += other.without_retry_after;
        for (what, n) in &other.failures {
            *self.failures.entry(what.clone()).or_default() += n;
        }
        self.messages += other.messages;
        Ok(())
    }
}

/// The longest time in a phase in which nothing succeeded: how long a failover kept clients waiting.
pub struct Silence {
    start: Instant,
    last: AtomicU64,
    longest: AtomicU64,
}

impl Silence {
    pub fn new(start: Instant) -> Silence {
        Silence { start, last: AtomicU64::new(0), longest: AtomicU64::new(0) }
    }
    pub fn broken(&self, now: Instant) {
        let now = now.saturating_duration_since(self.start).as_micros() as u64;
        let before = self.last.fetch_max(now, Relaxed);
        let gap = now.saturating_sub(before);
        // Looked at first: the maximum rarely changes, and a read is cheaper than a write that others wait for.
        if gap > self.longest.load(Relaxed) {
            self.longest.fetch_max(gap, Relaxed);
        }
    }
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_over_threads() {
        let (mut one, mut two) = (Stats::new().unwrap(), Stats::new().unwrap());
        one.success(Op::Send, Duration::from_millis(1));
        two.success(Op::Send, Duration::from_millis(3));
        two.refused(Op::Send, StatusCode::SERVICE_UNAVAILABLE, false, Duration::from_millis(2));
        two.refused(Op::Send, StatusCode::TOO_MANY_REQUESTS, true, Duration::from_millis(2));
        two.failed(Op::List, Failure::Closed);
        one.add(&two).unwrap();
        assert_eq!(one.latency(Op::Send).len(), 2);
        assert_eq!(
            one.failures.into_iter().collect::<Vec<_>>(),
            [("list closed".into(), 1), ("send 429".into(), 1), ("send 503".into(), 1)]
        );
        assert_eq!((one.refusals.len(), one.without_retry_after), (2, 1));
    }

    #[test]
    fn the_longest_silence_is_kept() {
        let start = Instant::now();
        let silence = Silence::new(start);
        for at in [10, 20, 500, 510] {
            silence.broken(start + Duration::from_millis(at));
        }
        assert_eq!(silence.longest(), Duration::from_millis(480));
    }
}
