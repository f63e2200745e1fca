//! Disks that become slow: one slow follower is not waited for, and one slow leader does not hold the site up (P9).

use super::{
    demo::Plan,
    history::{Call, Moment, Op, Outcome},
    scene::{Scene, long},
    throttle::{Throttle, may_throttle},
};
use std::time::Duration;

/// A disk that writes so often a second is a hundred times slower than the slowest that anyone would buy.
const WRITES: u32 = 20;

/// The 99th and 50th percentile of sends in a stretch, in microseconds.
fn latency(ops: &[Op], (from, until): (Moment, Moment)) -> (Moment, Moment) {
    let within = |op: &&Op| matches!(op.call, Call::Send { .. }) && op.invoked >= from && op.invoked < until;
    let sent = ops.iter().filter(within).filter(|op| matches!(op.outcome, Outcome::Sent { .. }));
    let mut all: Vec<Moment> = sent.map(|op| op.done - op.invoked).collect();
    assert!(all.len() > 50, "there are sends to measure: {}", all.len());
    all.sort_unstable();
    (all[all.len() * 99 / 100], all[all.len() / 2])
}

fn stretch(scene: &Scene) -> (Moment, Moment) {
    let from = scene.load.now();
    scene.stay(Duration::from_secs(if long() { 60 } else { 8 }));
    (from, scene.load.now())
}

/// Runs a scene with one node's disk slow; gives the percentiles before and during it.
fn slowed(name: &'static str, victim: impl Fn(&Scene) -> u64) -> Option<()> {
    let folder = tempfile::tempdir().expect("a folder");
    if !may_throttle(name, folder.path()) {
        return None;
    }
    let scene = Scene::begin(name, Plan::of(1));
    let before = stretch(&scene);
    let victim = victim(&scene);
    let slow = Throttle::new(scene.demo.pid(victim), &scene.demo.data(victim), WRITES).expect("a limit");
    let during = stretch(&scene);
    let leader = scene.leader();
    drop(slow);
    scene.demo.wait_ready();
    let ending = scene.end();
    let (was, median) = latency(ending.ops(), before);
    let (is, slowed) = latency(ending.ops(), during);
    let shown = |micros: Moment| micros as f64 / 1e3;
    println!(
        "{name}: node {victim} at {WRITES} writes/s; p50 {:.1} -> {:.1} ms, p99 {:.1} -> {:.1} ms; leader then {leader}",
        shown(median),
        shown(slowed),
        shown(was),
        shown(is)
    );
    // Twice the usual is the aim; a busy machine of two cores makes p99 jump by itself.
    assert!(is <= 4 * was + 200_000, "{name}: p99 went from {was} to {is} µs");
    ending.silent_within(", while slow", during, 5_000_000);
    Some(())
}

#[test]
fn a_followers_disk_is_slow() {
    slowed("follower slow", Scene::follower);
}

#[test]
fn the_leaders_disk_is_slow() {
    slowed("leader slow", Scene::leader);
}
