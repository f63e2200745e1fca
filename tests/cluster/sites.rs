//! Two sites of three nodes each, of which one serves: the service moves to the other and back with nothing lost, and the one
//! that does not serve may be switched off (P1, P2, P9).

use super::{
    demo::{Demo, Plan},
    history::Moment,
    scene::Scene,
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Of refused writes, while the service moves.
const REFUSED: Moment = 2_000_000;
/// Nodes look for bodies that they lack once a minute.
const A_LOOK: Duration = Duration::from_secs(100);

/// What a node tells of a site.
fn site(demo: &Demo, asked: u64, label: &str) -> Option<Value> {
    let told = demo.try_ask(asked, &["site", "status"])?;
    told["sites"].as_array()?.iter().find(|site| site["site"] == label).cloned()
}

/// Waits until every node of a site is known to hold every body.
fn whole(demo: &Demo, asked: u64, label: &str) {
    let until = Instant::now() + A_LOOK;
    while !site(demo, asked, label).is_some_and(|site| site["whole"] == true) {
        assert!(Instant::now() < until, "{label} does not come to hold every body");
        std::thread::park_timeout(Duration::from_millis(500));
    }
}

/// Moves the service; gives when it began and ended.
fn move_to(scene: &Scene, asked: u64, label: &str, voters: [u64; 3]) -> (Moment, Moment) {
    let from = scene.load.now();
    let told = scene.demo.try_ask(asked, &["site", "cutover", label, "--yes"]);
    let told = told.unwrap_or_else(|| panic!("{:?}", scene.demo.refusal(asked, &["site", "cutover", label, "--yes"])));
    println!("to {label}: {} s", told["seconds"]);
    let until = scene.load.now();
    assert_eq!(scene.demo.voters(1), Some(voters.to_vec()), "{label} votes alone");
    assert!(voters.contains(&scene.demo.leader(1)), "{label} leads");
    assert_eq!(site(&scene.demo, asked, label).expect("the site")["serving"], true);
    (from, until)
}

#[test]
fn the_service_moves_to_another_site_and_back_and_the_first_may_go() {
    const LEEDS: &[&str] = &["node.site=leeds"];
    let york = |demo: &mut Demo| {
        for id in [4, 5, 6] {
            demo.join_in(id, "york");
        }
        // Not waited for: a node that knows nobody yet must turn no client away whom the site knows.
        demo.site_of_joined()
    };
    // The clients know nodes of York only, while they follow, while they serve, and when they follow again.
    let scene = Scene::begin_at("two sites", Plan { set: LEEDS, ..Plan::of(2) }, york);
    let demo = &scene.demo;
    assert_eq!(demo.voters(1), Some(vec![1, 2, 3]), "nodes of another site have no vote");
    let at_sea = demo.refusal(1, &["site", "cutover", "atlantis", "--yes"]).expect("a refusal");
    assert!(at_sea.contains("no node stands there") && at_sea.contains("york"), "{at_sea}");
    whole(demo, 1, "york");
    assert!(!demo.troubles(1).iter().any(|line| line.contains("learning")), "{:?}", demo.troubles(1));
    let plan = demo.try_ask(1, &["site", "cutover", "york"]).expect("a plan");
    assert!(plan["dry_run"] == true && demo.voters(1) == Some(vec![1, 2, 3]), "{plan}");

    let there = move_to(&scene, 2, "york", [4, 5, 6]);
    // A machine of Leeds may not be taken out before York is known to hold every body.
    let early = demo.refusal(4, &["node", "remove", "3", "--dry-run"]);
    if site(demo, 4, "york").is_some_and(|york| york["whole"] == false) {
        assert!(early.is_some_and(|told| told.contains("SPN-2107") && told.contains("bodies")), "it is not known yet");
    }
    scene.load.more(100);
    // What Leeds alone might have held is copied: then it may be switched off, at once.
    whole(demo, 4, "york");
    let dark = scene.load.now();
    (1..=3).for_each(|id| demo.kill(id));
    scene.load.more(300);
    let silent = demo.refusal(4, &["site", "cutover", "leeds", "--yes"]).expect("a refusal");
    assert!(silent.contains("SPN-2108") && silent.contains("node 1 does not answer"), "{silent}");
    let light = scene.load.now();
    (1..=3).for_each(|id| demo.start_node(id));
    demo.wait_ready();
    whole(demo, 5, "leeds");
    let back = move_to(&scene, 5, "leeds", [1, 2, 3]);
    scene.load.more(100);

    let ending = scene.end();
    ending.silent_within(", to york", there, REFUSED);
    ending.silent_within(", leeds is off", (dark, light), REFUSED);
    ending.silent_within(", back to leeds", back, REFUSED);
}
