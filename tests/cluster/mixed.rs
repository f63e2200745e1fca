//! Neighbours of two releases (P8): a site made by an earlier program is taken over node by node under load, goes on mixed,
//! loses nodes while it is mixed, and one node goes back and forth.

use super::{
    demo::{Plan, old_program, program},
    scene::Scene,
};

/// What to compare with is not in the tree: a release, or a build of an earlier commit.
fn earlier(test: &str) -> Option<std::path::PathBuf> {
    let old = old_program();
    if old.is_none() {
        eprintln!("SKIPPED: {test} needs an earlier program beside this one: SPINE_OLD_BIN=/path/to/spine");
    }
    old
}

#[test]
fn old_and_new_live_together() {
    let Some(old) = earlier("old_and_new_live_together") else { return };
    let mut scene = Scene::begin("old and new", Plan { old: true, ..Plan::of(2) });
    for id in [1, 2, 3] {
        scene.demo.exchange(id, &program());
        scene.demo.wait_ready();
        scene.load.more(100);
        // Whichever kind leads: its going is no loss to the other.
        let leader = scene.leader();
        scene.demo.try_ask(leader, &["cluster", "hand-over"]).expect("a hand-over between releases");
        scene.load.more(100);
    }
    // An operator who does not like what is new takes a node back.
    scene.demo.exchange(2, &old);
    scene.demo.wait_ready();
    scene.load.more(100);
    scene.demo.exchange(2, &program());
    scene.end();
}
