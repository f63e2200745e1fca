//! Nodes that die, are stopped, or give leadership away (P1, P2, P3, P9).

use super::{demo::Plan, history::Moment, scene::Scene};
use std::time::Duration;

/// Writes must be back so soon after a leader was killed, or handed over (microseconds; the site's own promise).
const BACK_AFTER_KILL: Moment = 2_000_000;
const BACK_AFTER_HAND_OVER: Moment = 200_000;

#[test]
fn the_leader_is_killed() {
    let scene = Scene::begin("leader killed", Plan::of(1));
    let leader = scene.leader();
    let fault = scene.load.now();
    scene.demo.kill(leader);
    // A balancer that asks meanwhile must not take those that are left for dead.
    let others: Vec<u64> = scene.demo.ids().into_iter().filter(|id| *id != leader).collect();
    while scene.load.now() < fault + BACK_AFTER_KILL {
        let told: Vec<_> = others.iter().map(|id| scene.demo.takes_traffic(*id)).collect();
        assert_eq!(told, [Some(true); 2], "{:?} after the fault", scene.load.now() - fault);
        scene.stay(Duration::from_millis(2));
    }
    scene.load.more(300);
    scene.demo.start_node(leader);
    scene.end().silent_at_most(fault, BACK_AFTER_KILL);
}

#[test]
fn a_follower_is_killed() {
    let scene = Scene::begin("follower killed", Plan::of(1));
    let follower = scene.follower();
    let fault = scene.load.now();
    scene.demo.kill(follower);
    scene.load.more(300);
    scene.demo.start_node(follower);
    scene.end().silent_at_most(fault, BACK_AFTER_KILL);
}

#[test]
fn all_three_are_killed_at_once() {
    let scene = Scene::begin("all killed", Plan::of(3));
    for id in scene.demo.ids() {
        scene.demo.kill(id);
    }
    for id in scene.demo.ids() {
        scene.demo.start_node(id);
    }
    scene.load.more(300);
    scene.end();
}

#[test]
fn all_nodes_restart_one_after_another() {
    let scene = Scene::begin("rolling restart", Plan::of(1));
    for id in scene.demo.ids() {
        scene.demo.stop(id);
        scene.load.more(100);
        scene.demo.start_node(id);
        scene.demo.wait_ready();
        scene.load.more(100);
    }
    scene.end();
}

#[test]
fn leadership_is_handed_over() {
    let scene = Scene::begin("handed over", Plan::of(1));
    let leader = scene.leader();
    let fault = scene.load.now();
    scene.demo.try_ask(leader, &["cluster", "hand-over"]).expect("a hand-over");
    scene.load.more(300);
    assert_ne!(scene.leader(), leader, "another node leads");
    scene.end().silent_at_most(fault, BACK_AFTER_HAND_OVER);
}
