//! Real processes, really killed, under load; a history checker judges (design: docs/architecture.md, Tests).
//!
//! Held here: P1 and P2 (nothing accepted is lost, lists tell one history), P3 (nothing twice), P7 and P9 (nodes come back
//! by themselves, also with their disks empty), and what clients see meanwhile: 503 with Retry-After or a closed
//! connection. Run with `make cluster`; `SPINE_BIN` names another program than the one cargo built.

mod demo;
mod history;
mod load;

use demo::{Demo, wait_for};
use history::{Moment, Op, judge, longest_silence};
use load::Load;
use std::sync::{Mutex, MutexGuard};

/// Writes must be back so soon after a leader was killed, or handed over (microseconds; the site's own promise).
const BACK_AFTER_KILL: Moment = 2_000_000;
const BACK_AFTER_HAND_OVER: Moment = 200_000;

/// Sites share two cores: one at a time, or elections would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_SITE: Mutex<()> = Mutex::new(());
    ONE_SITE.lock().unwrap_or_else(|e| e.into_inner())
}

/// The end of each scenario: all nodes are back, what clients saw is one history, replicas and audit chain are whole.
fn judged(demo: &Demo, load: Load, name: &str) -> Vec<Op> {
    demo.wait_ready();
    load.more(20);
    let ops = load.finish();
    let wrong = judge(&ops);
    println!("{name}: {} operations judged", ops.len());
    assert!(wrong.is_empty(), "{name}: {} breach(es)\n  {}", wrong.len(), wrong[..wrong.len().min(20)].join("\n  "));
    demo.replicas_are_equal();
    demo.audit_is_whole();
    ops
}

fn say_silence(name: &str, silence: Moment, limit: Moment) {
    println!("{name}: writes back after {:.0} ms (limit {:.0} ms)", silence as f64 / 1e3, limit as f64 / 1e3);
    assert!(silence <= limit, "{name}: no write succeeded for {silence} µs");
}

#[test]
fn the_leader_is_killed() {
    let _alone = alone();
    let demo = Demo::start(1);
    let load = Load::start(demo.site());
    load.more(200);
    let leader = demo.leader(1);
    let fault = load.now();
    demo.kill(leader);
    load.more(300);
    demo.start_node(leader);
    let ops = judged(&demo, load, "leader killed");
    say_silence("leader killed", longest_silence(&ops, fault), BACK_AFTER_KILL);
}

#[test]
fn a_follower_is_killed() {
    let _alone = alone();
    let demo = Demo::start(1);
    let load = Load::start(demo.site());
    load.more(200);
    let leader = demo.leader(1);
    let follower = demo.ids().into_iter().find(|id| *id != leader).expect("a follower");
    let fault = load.now();
    demo.kill(follower);
    load.more(300);
    demo.start_node(follower);
    let ops = judged(&demo, load, "follower killed");
    say_silence("follower killed", longest_silence(&ops, fault), BACK_AFTER_KILL);
}

#[test]
fn all_three_are_killed_at_once() {
    let _alone = alone();
    let demo = Demo::start(3);
    let load = Load::start(demo.site());
    load.more(300);
    for id in demo.ids() {
        demo.kill(id);
    }
    for id in demo.ids() {
        demo.start_node(id);
    }
    load.more(300);
    judged(&demo, load, "all killed");
}

#[test]
fn a_data_folder_is_wiped() {
    let _alone = alone();
    let demo = Demo::start(3);
    let load = Load::start(demo.site());
    load.more(300);
    // First a node that follows, then the one that leads: its lost log must not take back what it promised.
    for round in 0..2 {
        let leader = demo.leader(1);
        let victim = if round == 0 { demo.ids().into_iter().find(|id| *id != leader).expect("one") } else { leader };
        demo.kill(victim);
        load.more(50);
        demo.wipe(victim);
        demo.start_node(victim);
        load.more(100);
        demo.wait_ready();
    }
    judged(&demo, load, "data wiped");
}

#[test]
fn all_nodes_restart_one_after_another() {
    let _alone = alone();
    let demo = Demo::start(1);
    let load = Load::start(demo.site());
    load.more(200);
    for id in demo.ids() {
        demo.stop(id);
        load.more(100);
        demo.start_node(id);
        demo.wait_ready();
        load.more(100);
    }
    judged(&demo, load, "rolling restart");
}

#[test]
fn leadership_is_handed_over() {
    let _alone = alone();
    let demo = Demo::start(1);
    let load = Load::start(demo.site());
    load.more(200);
    let leader = demo.leader(1);
    let fault = load.now();
    demo.try_ask(leader, &["cluster", "hand-over"]).expect("a hand-over");
    load.more(300);
    assert_ne!(demo.leader(1), leader, "another node leads");
    let ops = judged(&demo, load, "handed over");
    say_silence("handed over", longest_silence(&ops, fault), BACK_AFTER_HAND_OVER);
}

#[test]
fn a_fourth_node_joins_and_one_is_lost() {
    let _alone = alone();
    let mut demo = Demo::start(3);
    let load = Load::start(demo.site());
    load.more(300);
    demo.join_fourth();
    wait_for("the fourth node to vote", || demo.votes(4).then_some(()));
    load.more(100);
    // With four voters, three make a majority: one may go.
    demo.kill(2);
    load.more(300);
    demo.start_node(2);
    judged(&demo, load, "fourth joined");
}

#[test]
fn a_lost_node_is_replaced() {
    let _alone = alone();
    let mut demo = Demo::start(1);
    let load = Load::start(demo.site());
    load.more(200);
    demo.kill(3);
    load.more(50);
    demo.replace(3);
    wait_for("the new node to vote", || demo.votes(3).then_some(()));
    load.more(200);
    judged(&demo, load, "replaced");
}
