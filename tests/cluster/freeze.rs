//! Nodes that stop in their tracks and go on as if no time had passed (SIGSTOP, SIGCONT): a machine that is paused, a guest
//! that is moved. A leader that wakes must not answer from the past (P2), and the site does not wait for it (P9).

use super::{
    demo::Plan,
    history::Moment,
    scene::{Scene, long},
};
use std::time::Duration;

/// Writes are to be back within two seconds; asserted more loosely, since everything here shares two cores.
const BACK: Moment = 5_000_000;

/// Freezes a node, asks it for everything while the others go on, and wakes it after `seconds`.
fn freeze(scene: &Scene, victim: u64, seconds: u64) -> (Moment, Moment) {
    let from = scene.load.now();
    scene.demo.freeze(victim);
    // Whoever leads now has accepted these: what the sleeper answers to what it is asked from here on must show them.
    scene.load.more(20);
    scene.load.ask_and_wait(victim as usize - 1);
    let slept = Duration::from_micros(scene.load.now() - from);
    scene.stay(Duration::from_secs(seconds).saturating_sub(slept));
    let until = scene.load.now();
    scene.demo.thaw(victim);
    scene.load.more(50);
    (from, until)
}

#[test]
fn a_leader_is_frozen_and_wakes() {
    let scene = Scene::begin("leader frozen", Plan::of(1));
    let term = scene.demo.term(1);
    let times: &[u64] = if long() { &[1, 5, 15, 30] } else { &[1, 7] };
    let mut stretches = vec![];
    for seconds in times {
        let victim = scene.leader();
        stretches.push((format!(" for {seconds} s"), freeze(&scene, victim, *seconds)));
        scene.demo.wait_ready();
        assert_ne!(scene.leader(), victim, "nobody waited for the sleeper");
    }
    let elections = scene.demo.term(1) - term;
    println!("leader frozen: {elections} terms for {} freezes", times.len());
    assert!(elections <= 3 * times.len() as u64, "elections without need: {elections}");
    let ending = scene.end();
    for (what, stretch) in stretches {
        ending.silent_within(&what, stretch, BACK);
        let late = ending.answered_after(stretch);
        println!("leader frozen{what}: {late} operations were answered by the sleeper");
        assert!(late > 0, "the sleeper was asked and has answered");
    }
}

#[test]
fn a_follower_is_frozen_and_wakes() {
    let scene = Scene::begin("follower frozen", Plan::of(1));
    let (term, leader) = (scene.demo.term(1), scene.leader());
    let times: &[u64] = if long() { &[1, 5, 15, 30] } else { &[5] };
    let mut stretches = vec![];
    for seconds in times {
        stretches.push((format!(" for {seconds} s"), freeze(&scene, scene.follower(), *seconds)));
        scene.demo.wait_ready();
    }
    let elections = scene.demo.term(1) - term;
    println!("follower frozen: {elections} terms for {} freezes", times.len());
    // It asks before it calls an election (pre-vote), and is told that there is a leader.
    assert_eq!((elections, scene.leader()), (0, leader), "a follower that wakes disturbs nobody");
    let ending = scene.end();
    for (what, stretch) in stretches {
        ending.silent_within(&what, stretch, BACK);
    }
}
