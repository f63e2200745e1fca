//! What operators compare while a service moves: requests, refusals, errors and latency of both sides, by service and organisation,
//! on this node. In memory, for as many organisations as have a row of their own, up to a bound (P6); metrics have the same by service.

use crate::services::directory::arrival::{Found, SERVICES, Side};
use std::collections::HashMap;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

/// Most pairs of service and organisation that are told apart; the rest is counted as everybody's.
const MOST: usize = 4_096;
/// Latencies are sorted into steps of a quarter of a doubling, from 100 µs to over two minutes: a quantile is right within a fifth.
const STEPS: usize = 84;
const FIRST: Duration = Duration::from_micros(100);

/// One side of one pair.
pub struct OneSide {
    requests: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
    steps: [AtomicU64; STEPS],
}

impl Default for OneSide {
    fn default() -> Self {
        OneSide {
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            steps: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// What is told of a side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    pub requests: u64,
    /// Answered 4xx.
    pub refused: u64,
    /// Answered 5xx, by either system.
    pub errors: u64,
    /// Milliseconds within which half, and all but one of a hundred, were answered.
    pub p50: f64,
    pub p99: f64,
}

fn step(took: Duration) -> usize {
    let times = took.as_secs_f64() / FIRST.as_secs_f64();
    if times <= 1.0 { 0 } else { ((times.log2() * 4.0).ceil() as usize).min(STEPS - 1) }
}

impl OneSide {
    fn add(&self, status: u16, took: Duration) {
        self.requests.fetch_add(1, Relaxed);
        match status {
            500.. => self.errors.fetch_add(1, Relaxed),
            400.. => self.refused.fetch_add(1, Relaxed),
            _ => 0,
        };
        if let Some(step) = self.steps.get(step(took)) {
            step.fetch_add(1, Relaxed);
        }
    }

    fn told(&self) -> Told {
        let steps: Vec<u64> = self.steps.iter().map(|n| n.load(Relaxed)).collect();
        let all: u64 = steps.iter().sum();
        let within = |part: f64| {
            let wanted = (all as f64 * part).ceil() as u64;
            let mut seen = 0;
            let at = steps.iter().position(|n| {
                seen += n;
                seen >= wanted
            });
            let times = 2f64.powf(at.unwrap_or(0) as f64 / 4.0);
            if all == 0 { 0.0 } else { (FIRST.as_secs_f64() * 1e5 * times).round() / 100.0 }
        };
        Told {
            requests: self.requests.load(Relaxed),
            refused: self.refused.load(Relaxed),
            errors: self.errors.load(Relaxed),
            p50: within(0.5),
            p99: within(0.99),
        }
    }
}

/// Both sides of a pair.
#[derive(Default)]
pub struct Both {
    local: OneSide,
    relay: OneSide,
}

impl Both {
    pub fn add(&self, side: Side, status: u16, took: Duration) {
        self.of(side).add(status, took);
    }
    pub fn told(&self, side: Side) -> Told {
        self.of(side).told()
    }
    fn of(&self, side: Side) -> &OneSide {
        match side {
            Side::Local => &self.local,
            Side::Relay => &self.relay,
        }
    }
}

/// All pairs of this node since it started.
#[derive(Default)]
pub struct Tallies(Mutex<HashMap<(&'static str, String), Arc<Both>>>);

impl Tallies {
    pub fn of(&self, service: &'static str, found: &Found) -> Arc<Both> {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let mut key = (service, found.party.clone());
        if all.len() >= MOST && !all.contains_key(&key) {
            key.1 = crate::services::directory::arrival::EVERYBODY.into();
        }
        all.entry(key).or_default().clone()
    }

    /// What is known of a pair; nothing where none of its requests came here.
    pub fn get(&self, service: &str, party: &str) -> Option<Arc<Both>> {
        let all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let service = SERVICES.iter().find(|known| **known == service)?;
        all.get(&(*service, party.to_owned())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_fifth_and_sides_are_kept_apart() {
        let both = Both::default();
        for n in 1..=100u64 {
            both.add(Side::Relay, if n > 98 { 502 } else { 200 }, Duration::from_millis(n));
        }
        both.add(Side::Local, 404, Duration::from_secs(3_600));
        let told = both.told(Side::Relay);
        assert_eq!((told.requests, told.refused, told.errors), (100, 0, 2));
        assert!((50.0..60.0).contains(&told.p50) && (99.0..119.0).contains(&told.p99), "{told:?}");
        let local = both.told(Side::Local);
        assert_eq!((local.requests, local.refused, local.errors), (1, 1, 0));
        assert_eq!(Both::default().told(Side::Local), Told::default());
    }

    #[test]
    fn more_organisations_than_may_be_told_apart_are_counted_together() {
        let tallies = Tallies::default();
        for n in 0..MOST + 10 {
            tallies.of("mesh", &Found { side: Side::Relay, hold: false, party: format!("X{n}") });
        }
        assert!(tallies.get("mesh", &format!("X{MOST}")).is_none());
        assert!(tallies.get("mesh", "X0").is_some() && tallies.get("mesh", "*").is_some());
    }
}
