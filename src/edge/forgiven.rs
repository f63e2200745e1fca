//! Attempts that this node answered with "come again": the same token may then come again (spec/mesh.md §3.2).
//!
//! The memory is this node's alone and short: other nodes learn of it by the release command (`flow`), which may come
//! later than a quick retry on the same connection. A forged entry is impossible: attempt numbers are the edge's own.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Tokens remembered. Under a long outage the oldest go first; their clients still have the release.
const MAX_TOKENS: usize = 50_000;
/// Clients back off for seconds, not minutes.
const REMEMBER: Duration = Duration::from_secs(300);
/// Attempts remembered for one token: clients try three or four times.
const MAX_ATTEMPTS: usize = 8;

#[derive(Default)]
pub struct Forgiven {
    hasher: RandomState,
    /// Mostly zero, and then nothing is locked.
    count: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    attempts: HashMap<u64, Vec<u64>>,
    order: VecDeque<(Instant, u64)>,
}

impl Forgiven {
    /// Remembers that `attempt`, made with `token`, was told to come again.
    pub fn add(&self, token: &[u8], attempt: u64) {
        let key = self.hasher.hash_one(token);
        let mut inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        inner.expire();
        let attempts = inner.attempts.entry(key).or_default();
        let new = attempts.is_empty();
        if attempts.len() < MAX_ATTEMPTS {
            attempts.push(attempt);
        }
        if new {
            inner.order.push_back((Instant::now(), key));
        }
        self.count.store(inner.attempts.len(), Relaxed);
    }

    /// Attempts with this token that were told to come again.
    pub fn of(&self, token: &[u8]) -> Vec<u64> {
        if self.count.load(Relaxed) == 0 {
            return vec![];
        }
        let key = self.hasher.hash_one(token);
        let mut inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        inner.expire();
        self.count.store(inner.attempts.len(), Relaxed);
        inner.attempts.get(&key).cloned().unwrap_or_default()
    }
}

impl Inner {
    fn expire(&mut self) {
        while let Some((since, key)) = self.order.front() {
            if self.order.len() <= MAX_TOKENS && since.elapsed() < REMEMBER {
                return;
            }
            self.attempts.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_kept_by_token_and_bounded() {
        let forgiven = Forgiven::default();
        assert!(forgiven.of(b"a").is_empty());
        forgiven.add(b"a", 1);
        forgiven.add(b"a", 2);
        forgiven.add(b"b", 3);
        assert_eq!((forgiven.of(b"a"), forgiven.of(b"b"), forgiven.of(b"c")), (vec![1, 2], vec![3], vec![]));
        for n in 0..100 {
            forgiven.add(b"a", n);
        }
        assert_eq!(forgiven.of(b"a").len(), MAX_ATTEMPTS);
        for n in 0..=MAX_TOKENS as u64 {
            forgiven.add(&n.to_be_bytes(), n);
        }
        assert!(forgiven.of(b"a").is_empty(), "the oldest go first");
        assert!(forgiven.inner.lock().unwrap().attempts.len() <= MAX_TOKENS + 1);
    }
}
