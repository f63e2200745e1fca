//! Networks that part and that are poor: full, one-way and bridged partitions, flapping, loss, delay (P2, P6, P9).

use super::{
    demo::Plan,
    history::Moment,
    scene::{Scene, long},
    wires::Wire,
};
use std::time::Duration;

/// Writes are to be back within two seconds of a partition; asserted more loosely on a busy machine.
const BACK: Moment = 6_000_000;
const WIRED: Plan = Plan { wired: true, ..Plan::of(1) };

/// How long each fault stays.
fn lasting() -> Duration {
    Duration::from_secs(if long() { 30 } else { 6 })
}

/// One leader and two followers.
struct Roles {
    leader: u64,
    others: [u64; 2],
}

fn roles(scene: &Scene) -> Roles {
    let leader = scene.leader();
    let others: Vec<u64> = scene.demo.ids().into_iter().filter(|id| *id != leader).collect();
    Roles { leader, others: [others[0], others[1]] }
}

/// Breaks wires for a while, asks the node that is cut off for everything, and mends them.
fn broken(scene: &Scene, breaks: impl FnOnce() -> u64) -> (Moment, Moment) {
    let from = scene.load.now();
    let cut_off = breaks();
    scene.load.more(20);
    scene.load.ask_and_wait(cut_off as usize - 1);
    let passed = Duration::from_micros(scene.load.now() - from);
    scene.stay(lasting().saturating_sub(passed));
    scene.demo.wires().all(Wire::Good);
    let until = scene.load.now();
    scene.demo.wait_ready();
    scene.load.more(20);
    (from, until)
}

/// A fault by its name, and what brings it about; it returns when.
type Fault<'a> = (&'a str, fn(&Scene, &Roles) -> u64);

/// Runs faults one after another on one site; each leaves what it was called and when it was.
fn faults(name: &'static str, faults: &[Fault<'_>]) {
    let scene = Scene::begin(name, WIRED);
    let mut stretches = vec![];
    for (what, breaks) in faults {
        let (roles, term) = (roles(&scene), scene.demo.term(1));
        let stretch = broken(&scene, || breaks(&scene, &roles));
        println!("{name}, {what}: {} terms", scene.demo.term(1) - term);
        stretches.push((format!(", {what}"), stretch));
    }
    let ending = scene.end();
    for (what, stretch) in stretches {
        ending.silent_within(&what, stretch, BACK);
    }
}

#[test]
fn the_network_parts() {
    faults(
        "partitions",
        &[
            ("the leader alone", |scene, roles| {
                scene.demo.wires().between(roles.leader, &roles.others, Wire::Silent);
                roles.leader
            }),
            ("a follower alone", |scene, roles| {
                scene.demo.wires().between(roles.others[0], &[roles.leader, roles.others[1]], Wire::Silent);
                roles.others[0]
            }),
            ("the leader's connections reset", |scene, roles| {
                scene.demo.wires().between(roles.leader, &roles.others, Wire::Cut);
                roles.leader
            }),
            ("a bridge beside the leader", |scene, roles| {
                scene.demo.wires().between(roles.leader, &roles.others[..1], Wire::Silent);
                roles.leader
            }),
        ],
    );
}

#[test]
fn the_network_parts_one_way() {
    faults(
        "one way",
        &[
            ("nobody hears the leader", |scene, roles| {
                roles.others.iter().for_each(|other| scene.demo.wires().set(roles.leader, *other, Wire::Silent));
                roles.leader
            }),
            ("the leader hears nobody", |scene, roles| {
                roles.others.iter().for_each(|other| scene.demo.wires().set(*other, roles.leader, Wire::Silent));
                roles.leader
            }),
            ("a follower hears nobody", |scene, roles| {
                let deaf = roles.others[0];
                [roles.leader, roles.others[1]].iter().for_each(|n| scene.demo.wires().set(*n, deaf, Wire::Silent));
                deaf
            }),
        ],
    );
}

#[test]
fn the_network_flaps() {
    let scene = Scene::begin("flapping", WIRED);
    let term = scene.demo.term(1);
    let from = scene.load.now();
    let rounds = if long() { 30 } else { 6 };
    for round in 0..rounds {
        let roles = roles(&scene);
        let wire = if round % 2 == 0 { Wire::Silent } else { Wire::Cut };
        scene.demo.wires().between(roles.leader, &roles.others, wire);
        scene.stay(Duration::from_millis(300 * (1 + round % 4)));
        scene.demo.wires().all(Wire::Good);
        scene.stay(Duration::from_millis(700));
    }
    let until = scene.load.now();
    println!("flapping: {} terms in {rounds} rounds", scene.demo.term(1) - term);
    scene.end().silent_within("", (from, until), BACK);
}

#[test]
fn the_network_is_poor() {
    let scene = Scene::begin("poor network", WIRED);
    let milliseconds = Duration::from_millis;
    let poor = |loss, delay, jitter| Wire::Poor { loss, delay: milliseconds(delay), jitter: milliseconds(jitter) };
    let networks = [
        ("1 % lost", poor(1, 0, 0), 1),
        ("5 % lost", poor(5, 0, 0), 3),
        ("20 % lost", poor(20, 0, 0), 60),
        ("20 ms and as much jitter", poor(0, 20, 20), 1),
        ("2 % lost, 50 ms and as much jitter", poor(2, 50, 50), 3),
    ];
    let mut stretches = vec![];
    for (what, wire, elections) in networks {
        let (term, from) = (scene.demo.term(1), scene.load.now());
        scene.demo.wires().all(wire);
        scene.stay(lasting());
        scene.load.more(5);
        scene.demo.wires().all(Wire::Good);
        stretches.push((format!(", {what}"), (from, scene.load.now())));
        scene.demo.wait_ready();
        let terms = scene.demo.term(1) - term;
        println!("poor network, {what}: {terms} terms in {:?}", lasting());
        assert!(terms <= elections, "{what}: {terms} elections");
    }
    let ending = scene.end();
    for (what, stretch) in stretches {
        ending.silent_within(&what, stretch, 4 * BACK);
    }
}
