//! Power cuts at every step (P1): what was told to be durable is there, nothing else was invented, and what is there
//! is a state that the log was really in.

use super::{
    model::{Driver, contents, trimmed},
    *,
};
use crate::seam::sim::{
    SimRng, SimWorld,
    fs::{Call, SimFs},
};
use std::sync::Mutex;

/// Seeds tried by each test; more with SPINE_SEEDS.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    0..std::env::var("SPINE_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(usual)
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn quiet(cache_bytes: usize) -> LogOptions {
    LogOptions { cache_bytes, fatal: Arc::new(|_| {}), ..small() }
}

const DIR: &str = "/data/log";

async fn open(sim: &SimWorld, cache: usize) -> Result<(Log, Vec<Damage>), LogError> {
    Log::open(sim.world(), DIR.into(), quiet(cache)).await
}

/// Lets everything run that can run.
async fn settle(fs: &SimFs) {
    let mut calls = u64::MAX;
    while calls != fs.calls() {
        calls = fs.calls();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

async fn crash_rounds(seed: u64) {
    let rng = SimRng::new(seed);
    let sim = SimWorld::new(seed, 1 << 30);
    let mut driver = Driver::new(seed);
    // Mostly short entries; now and then some that are longer than a segment.
    driver.longest = if rng.chance(100) { 100_000 } else { 3_000 };
    let cache = if rng.chance(500) { 4 << 10 } else { 1 << 20 };
    for round in 0..6 {
        let (log, damage) = open(&sim, cache).await.unwrap_or_else(|e| panic!("seed {seed} round {round}: {e}"));
        assert_eq!(damage, [], "seed {seed} round {round}");
        let found = contents(&log).await;
        let allowed = driver.allowed();
        let known = allowed.iter().any(|a| trimmed(a) == trimmed(&found));
        assert!(known, "seed {seed} round {round}: {} states allowed, none found", allowed.len());
        driver.rebase(found);
        sim.fs.cut_power_after(1 + rng.below(60));
        for _ in 0..rng.below(200) {
            driver.step(&log).await;
            if rng.chance(300) {
                tokio::task::yield_now().await;
            }
            if sim.fs.is_off() {
                break;
            }
        }
        settle(&sim.fs).await;
        drop(log);
        sim.fs.crash();
        // Starting can be cut short as well, again and again.
        while rng.chance(400) {
            sim.fs.cut_power_after(1 + rng.below(12));
            if let Ok((log, damage)) = open(&sim, cache).await {
                assert_eq!(damage, [], "seed {seed} round {round}");
                drop(log);
                settle(&sim.fs).await;
            }
            sim.fs.crash();
        }
    }
}

#[test]
fn nothing_durable_is_lost_and_nothing_invented_whenever_the_power_goes() {
    for seed in seeds(60) {
        run(crash_rounds(seed));
    }
}

#[test]
fn a_clean_close_keeps_everything() {
    for seed in seeds(20) {
        run(async {
            let sim = SimWorld::new(seed, 1 << 30);
            let mut driver = Driver::new(seed);
            for _ in 0..3 {
                let (log, damage) = open(&sim, 1 << 20).await.unwrap();
                assert_eq!(damage, []);
                assert_eq!(trimmed(&contents(&log).await), trimmed(&driver.now), "seed {seed}");
                for _ in 0..60 {
                    driver.step(&log).await;
                }
                log.close().await;
                let now = driver.now.clone();
                driver.rebase(now);
                sim.fs.crash();
            }
        });
    }
}

#[test]
fn a_failed_sync_or_write_stops_the_log_once_and_loudly() {
    for (call, kind) in [(Call::Sync, io::ErrorKind::Other), (Call::Write, io::ErrorKind::StorageFull)] {
        run(async {
            let sim = SimWorld::new(1, 1 << 30);
            let said = Arc::new(Mutex::new(Vec::new()));
            let heard = said.clone();
            let fatal = Arc::new(move |why: &str| heard.lock().unwrap().push(why.to_string()));
            let options = LogOptions { fatal, ..small() };
            let (log, _) = Log::open(sim.world(), DIR.into(), options).await.unwrap();
            let group = log.group(1);
            append(&group, vec![record(0, 1, 10)]).await.unwrap();
            sim.fs.fail(call, "seg-", 0, 1, kind);
            assert_eq!(append(&group, vec![record(1, 1, 10)]).await.err().map(|e| e.kind()), Some(kind));
            assert_eq!(append(&group, vec![record(2, 1, 10)]).await.err().map(|e| e.kind()), Some(kind));
            assert!(group.save_vote(Bytes::new()).await.is_err());
            assert_eq!(said.lock().unwrap().len(), 1);
        });
    }
}

#[test]
fn a_full_disk_fails_the_write_that_needs_a_segment_and_spares_hold_until_then() {
    run(async {
        let sim = SimWorld::new(1, 1 << 30);
        let said = Arc::new(Mutex::new(0));
        let heard = said.clone();
        let options = LogOptions { fatal: Arc::new(move |_| *heard.lock().unwrap() += 1), ..small() };
        let (log, _) = Log::open(sim.world(), DIR.into(), options).await.unwrap();
        let group = log.group(1);
        sim.fs.set_capacity(log.bytes());
        let mut written = 0;
        while append(&group, vec![record(written, 1, 1_000)]).await.is_ok() {
            written += 1;
        }
        assert!(written > 100, "the spare was used too: {written}");
        assert_eq!(*said.lock().unwrap(), 1);
        drop((log, group));
        sim.fs.crash();
        let (log, damage) = Log::open(sim.world(), DIR.into(), quiet(0)).await.unwrap();
        assert_eq!(damage, []);
        assert_eq!(log.group(1).state().last, Some((written - 1, 1, 65537)));
    });
}
