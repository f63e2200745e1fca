//! Two sites of three nodes each, and the one that serves is lost for good: the followers of the other go on by an operator's
//! word, with everything that was acknowledged up to the moment that they name, and none of the lost nodes takes anything back
//! (P1, P2, P9).

use super::{
    demo::{Demo, Plan, wait_for},
    history::Moment,
    scene::Scene,
};
use serde_json::Value;
use std::time::Duration;

const LEEDS: &[&str] = &["node.site=leeds"];
const PROMOTE: &[&str] = &["site", "promote", "york", "--yes"];
/// The moment that is told has milliseconds, the history microseconds.
const ROUNDED: Moment = 1_000;

/// Clients know nodes of York, which follow.
fn two_sites(name: &'static str) -> Scene {
    Scene::begin_at(name, Plan { set: LEEDS, ..Plan::of(2) }, |demo| {
        (4..=6).for_each(|id| demo.join_in(id, "york"));
        // Each says where it stands in a row of its own, some seconds after it has joined.
        for id in 4..=6 {
            wait_for("York to know its nodes", || {
                let told = demo.try_ask(id, &["site", "status"])?;
                let york = told["sites"].as_array()?.iter().find(|site| site["site"] == "york")?.clone();
                (york["nodes"].as_array()?.len() == 3).then_some(())
            });
        }
        demo.site_of_joined()
    })
}

/// The moment that York names is ten seconds of clocks before its logs end: it has to be one in which there was a load.
const LOADED: Moment = 16_000_000;

fn load_for_a_while(scene: &Scene) {
    while scene.load.now() < LOADED {
        scene.load.more(50);
    }
}

/// kill -9 of Leeds, all at once; when it was.
fn lose_leeds(scene: &mut Scene) -> Moment {
    (1..=3).for_each(|id| scene.demo.kill(id));
    scene.demo.lose(&[1, 2, 3]);
    scene.load.now()
}

/// Up to when everything is there, as York says, in the history's time.
fn until(scene: &Scene, told: &Value) -> Moment {
    let moment: jiff::Timestamp = told["until"].as_str().expect("a moment").parse().expect("RFC 3339");
    let wall = u64::try_from(moment.as_microsecond()).expect("it is later than 1970");
    wall.saturating_sub(scene.load.wall(0)).saturating_sub(ROUNDED)
}

fn york_serves(demo: &Demo) {
    let told = demo.try_ask(5, &["site", "status"]).expect("it is told");
    assert_eq!((&told["serving"], &told["before"]), (&"york".into(), &"leeds".into()), "{told}");
    let labels: Vec<&str> = told["sites"].as_array().into_iter().flatten().filter_map(|s| s["site"].as_str()).collect();
    assert_eq!(labels, ["york"], "who is lost is no member");
    for partition in 0..=2 {
        assert_eq!(demo.voters_by(4, partition), Some(vec![4, 5, 6]), "partition {partition}");
        assert!([4, 5, 6].contains(&demo.leader(partition)));
    }
}

#[test]
fn the_followers_of_a_site_that_is_lost_go_on_without_it_and_it_stays_away() {
    let mut scene = two_sites("promoted");
    let alive = scene.demo.refusal(4, PROMOTE).expect("a refusal");
    assert!(alive.contains("SPN-2109") && alive.contains("still answers"), "{alive}");
    let elsewhere = scene.demo.refusal(1, PROMOTE).expect("a refusal");
    assert!(elsewhere.contains("stands in site leeds"), "{elsewhere}");
    assert!(
        scene.demo.refusal(4, &["site", "promote", "atlantis"]).is_some_and(|told| told.contains("no node stands"))
    );
    load_for_a_while(&scene);

    let dark = lose_leeds(&mut scene);
    let demo = &scene.demo;
    let plan = wait_for("a plan", || demo.try_ask(5, &["site", "promote", "york", "--dry-run"]));
    assert!(plan["dry_run"] == true && plan["changed"] == false, "{plan}");
    assert_eq!(demo.voters_by(5, 1), Some(vec![1, 2, 3]), "nothing is changed");
    let told = demo.try_ask(4, PROMOTE);
    let told = told.unwrap_or_else(|| panic!("{:?}", demo.refusal(4, PROMOTE)));
    let until = until(&scene, &told);
    assert!(until > 0, "there was a load before it, which is looked for");
    println!("promoted in {} s; up to {} ms before the loss", told["seconds"], dark.saturating_sub(until) / 1_000);
    assert_eq!(told["until"], plan["until"], "as it was said before");
    assert!(demo.term(0) > 1 << 20, "no node of Leeds can have led in that term: {}", demo.term(0));
    scene.load.more(300);
    york_serves(demo);
    let again = demo.refusal(6, PROMOTE).expect("a refusal");
    assert!(again.contains("serves already"), "{again}");
    let trail = demo.try_ask(6, &["audit", "search", "--object", "york"]).expect("the trail");
    assert!(
        trail.to_string().contains("directory.site.promote") && trail.to_string().contains("may be missing"),
        "{trail}"
    );

    for id in 1..=3 {
        let said = demo.start_lost(id);
        assert!(said.contains("SPN-2027") && said.contains("spine site promote york"), "node {id} said:\n{said}");
    }
    scene.load.more(50);
    let ending = scene.end_losing((until, dark));
    ending.silent_within(", york serves", (dark, Moment::MAX), 60_000_000);
}

/// The node that was told to does it in many steps, and is killed in one of them; another one goes on from there.
#[test]
fn a_promotion_that_was_broken_off_is_gone_on_with_from_another_node() {
    let mut scene = two_sites("promotion broken off");
    load_for_a_while(&scene);
    let dark = lose_leeds(&mut scene);
    let plan = wait_for("a plan", || scene.demo.try_ask(5, &["site", "promote", "york", "--dry-run"]));
    let until = until(&scene, &plan);
    assert!(until > 0, "there was a load before it, which is looked for");
    let york = || Some(vec![4, 5, 6]);
    let voters = |demo: &Demo| [0, 1, 2].map(|partition| demo.voters_by(6, partition));
    let before = |demo: &Demo| {
        std::thread::park_timeout(Duration::from_millis(300));
        println!("killed before the first step that cannot be taken back: {:?}", voters(demo));
    };
    // The site's own partition comes first, and the others when it is led.
    let between = |demo: &Demo| wait_for("the first partition", || (demo.voters_by(6, 0) == york()).then_some(()));
    type Step<'a> = &'a (dyn Fn(&Demo) + Sync);
    let steps: [(u64, Step<'_>); 2] = [(4, &before), (5, &between)];
    for (id, step) in steps {
        std::thread::scope(|scope| {
            let demo = &scene.demo;
            scope.spawn(move || demo.try_ask(id, PROMOTE));
            step(demo);
            demo.kill_joined(id);
        });
        scene.demo.start_joined(id);
        wait_for("it to be there again", || scene.demo.try_ask(id, &["node", "list"]));
    }
    let told = wait_for("the broken promotion to be told", || {
        scene.demo.try_ask(6, &["site", "promote", "york", "--dry-run"])
    });
    println!("killed with the first partition taken over: {}", told["partitions"]);
    assert_eq!(told["partitions"][0]["taken_over"], true, "{told}");
    assert_eq!(told["until"], plan["until"], "the moment that was named first, whatever came since");
    let serving = scene.demo.try_ask(6, &["site", "status"]).expect("it is told");
    assert_eq!(serving["serving"], "leeds", "it was broken off: {serving}");
    assert!(scene.demo.try_ask(6, PROMOTE).is_some(), "{:?}", scene.demo.refusal(6, PROMOTE));
    scene.load.more(200);
    york_serves(&scene.demo);
    scene.end_losing((until, dark));
}

/// A node of the site itself is silent: it may have the longest log, so it is gone on without by name only, and then for good.
#[test]
fn a_silent_node_is_gone_on_without_by_name_only_and_stays_away_like_the_lost_ones() {
    let mut scene = two_sites("promoted without one");
    let dark = lose_leeds(&mut scene);
    scene.demo.kill_joined(6);
    scene.demo.lose(&[6]);
    let demo = &scene.demo;
    let silent = wait_for("a refusal", || demo.refusal(4, PROMOTE).filter(|told| told.contains("longest log")));
    assert!(silent.contains("SPN-2109") && silent.contains("--without 6"), "{silent}");
    let alone = ["site", "promote", "york", "--yes", "--without", "6", "--without", "5"];
    let alone = demo.refusal(4, &alone).expect("a refusal");
    assert!(alone.contains("node 5 answers"), "{alone}");
    let without = ["site", "promote", "york", "--yes", "--without", "6"];
    let told = demo.try_ask(4, &without).unwrap_or_else(|| panic!("{:?}", demo.refusal(4, &without)));
    let until = until(&scene, &told);
    let demo = &scene.demo;
    for partition in 0..=2 {
        assert_eq!(demo.voters_by(4, partition), Some(vec![4, 5]), "partition {partition}");
    }
    let said = demo.start_lost(6);
    assert!(said.contains("SPN-2027") && said.contains("given up"), "node 6 said:\n{said}");
    scene.load.more(200);
    scene.end_losing((until, dark));
}
