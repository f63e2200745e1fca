//! Nodes that come new, or come back with nothing (P7, P9).

use super::{
    demo::{Plan, wait_for},
    history::Moment,
    scene::Scene,
};

/// Writes are to be back within two seconds; asserted more loosely, since five nodes share two cores.
const BACK: Moment = 6_000_000;

#[test]
fn a_data_folder_is_wiped() {
    let scene = Scene::begin("data wiped", Plan::of(3));
    // First a node that follows, then the one that leads: its lost log must not take back what it promised.
    for round in 0..2 {
        let victim = if round == 0 { scene.follower() } else { scene.leader() };
        scene.demo.kill(victim);
        scene.load.more(50);
        scene.demo.wipe(victim);
        scene.demo.start_node(victim);
        scene.load.more(100);
        scene.demo.wait_ready();
        // In every partition: without its vote, the next victim would be one too many.
        wait_for("the node to vote again", || scene.demo.votes(victim).then_some(()));
    }
    scene.end();
}

#[test]
fn a_fourth_node_joins_and_one_is_lost() {
    let mut scene = Scene::begin("fourth joined", Plan::of(3));
    scene.demo.join(4);
    wait_for("the fourth node to vote", || scene.demo.votes(4).then_some(()));
    scene.load.more(100);
    // With four voters, three make a majority: one may go.
    scene.demo.kill(2);
    scene.load.more(300);
    scene.demo.start_node(2);
    scene.end();
}

#[test]
fn a_lost_node_is_replaced() {
    let mut scene = Scene::begin("replaced", Plan::of(1));
    scene.demo.kill(3);
    scene.load.more(50);
    scene.demo.replace(3);
    wait_for("the new node to vote", || scene.demo.votes(3).then_some(()));
    scene.load.more(200);
    scene.end();
}

#[test]
fn three_become_five_and_three_again() {
    let mut scene = Scene::begin("three, five, three", Plan::of(1));
    for id in [4, 5] {
        scene.demo.join(id);
        wait_for("the new node to vote", || scene.demo.votes(id).then_some(()));
        scene.load.more(50);
    }
    // With five voters, three make a majority: two may go.
    let fault = scene.load.now();
    [2, 3].iter().for_each(|id| scene.demo.kill(*id));
    scene.load.more(200);
    let until = scene.load.now();
    [2, 3].iter().for_each(|id| scene.demo.start_node(*id));
    scene.demo.wait_ready();
    // One of those that go again leads when it is told to go.
    scene
        .demo
        .try_ask(scene.leader(), &["cluster", "hand-over", "--partition", "1", "--to", "5"])
        .expect("a hand-over");
    for id in [5, 4] {
        scene.load.more(50);
        scene.demo.part_with(id);
        wait_for("the members to be told", || scene.demo.voters(1).is_some_and(|all| !all.contains(&id)).then_some(()));
    }
    assert_eq!(scene.demo.voters(1), Some(vec![1, 2, 3]));
    // And again two make a majority.
    scene.demo.kill(3);
    scene.load.more(100);
    scene.demo.start_node(3);
    scene.end().silent_within(", two of five killed", (fault, until), BACK);
}
