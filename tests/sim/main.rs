//! A whole site and its clients in one thread, from one seed: real log, store, consensus and engine over disks, wires and
//! clocks that are broken at will (P1, P2, P3, P4, P7, P9).
//!
//! `SPINE_SIM_SEEDS=from..to` runs other seeds, `make sim SEEDS=10000` that many; `SPINE_SIM_TRACE=1` prints what is
//! done to the site. A seed that fails leaves its schedule in `target/tmp/sim` and becomes a test in `known.rs`.

mod clients;
mod invariants;
mod known;
#[path = "../shared/linear.rs"]
mod linear;
mod planted;
mod run;
mod service;
mod site;
mod slow;
mod trace;
mod trouble;

use run::{Plan, Verdict, run};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of a plain `cargo test`, which runs them without optimization; `make sim` runs 300.
const SEEDS: u64 = 10;

/// The seeds of a search: the usual ones, or those of `SPINE_SIM_SEEDS=from..to`.
fn seeds() -> Range<u64> {
    let asked = std::env::var("SPINE_SIM_SEEDS").ok();
    let range = asked.as_deref().and_then(|s| s.split_once("..")).map(|(a, b)| (a.parse(), b.parse()));
    match range {
        Some((Ok(from), Ok(to))) => from..to,
        _ => 1..SEEDS + 1,
    }
}

/// Runs seeds on all processors until one fails or all are through; a run stays on its thread.
pub fn search(seeds: Range<u64>, plan: impl Fn(u64) -> Plan + Sync) -> Option<Verdict> {
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(None::<Verdict>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().is_some() {
                        return;
                    }
                    let verdict = run(plan(seed));
                    if !verdict.broken.is_empty() {
                        let mut failed = failed.lock().unwrap();
                        if failed.as_ref().is_none_or(|f| f.seed > seed) {
                            *failed = Some(verdict);
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

/// Every sort of trouble in all combinations; then it ends, the site heals within its bound, and every promise holds.
#[test]
fn no_promise_is_broken_and_the_site_heals() {
    if let Some(verdict) = search(seeds(), Plan::of) {
        verdict.panic();
    }
}

/// As far as reproduction goes: everything that was done, when, and what came of it.
#[test]
fn the_same_seed_runs_the_same() {
    for seed in [7, 8] {
        let (first, second) = (run(Plan::of(seed)), run(Plan::of(seed)));
        let parting = first.steps.iter().zip(&second.steps).position(|(a, b)| a != b);
        let around = parting.map(|n| (&first.steps[n.saturating_sub(2)..=n], &second.steps[n.saturating_sub(2)..=n]));
        assert_eq!(around, None, "seed {seed} went two ways");
        assert_eq!(first.steps.len(), second.steps.len(), "seed {seed} ended in two ways");
    }
}
