//! Disks that fill up: writes are refused early and clearly, reads go on, leadership goes where there is room, and all is
//! well again when space is back (P6, P9).

use super::{ballast::may_mount, demo::Plan, scene::Scene};

/// Free space that nodes keep: below it they refuse writes, below a quarter of it everything.
const RESERVE: u64 = 64 << 20;
const SMALL_DISKS: Plan = Plan {
    partitions: 1,
    restarts: true,
    set: &[
        "disk.reserve=64MiB",
        "log.segment=1MiB",
        "log.snapshot_after=1MiB",
        "log.keep=1MiB",
        "store.flush_interval=1s",
    ],
    disk_mib: Some(256),
    wired: false,
    old: false,
};

#[test]
fn the_leaders_disk_fills_up() {
    if !may_mount("the_leaders_disk_fills_up") {
        return;
    }
    let scene = Scene::begin("leader full", SMALL_DISKS);
    let leader = scene.leader();
    scene.demo.disk(leader).fill(RESERVE / 2);
    super::demo::wait_for("leadership to go to a node with room", || (scene.leader() != leader).then_some(()));
    scene.load.more(300);
    let (found, _) = scene.demo.wait_finding(leader, "FAIL", "free space");
    assert!(found.contains("64MiB reserved"), "{found}");
    // To the last byte, for longer than what lies ready for the log lasts.
    scene.demo.disk(leader).fill(0);
    scene.load.more(2_000);
    assert_ne!(scene.leader(), leader, "a full node does not lead");
    scene.demo.disk(leader).clear();
    scene.end();
}

#[test]
fn the_followers_disks_fill_up_then_all() {
    if !may_mount("the_followers_disks_fill_up_then_all") {
        return;
    }
    let scene = Scene::begin("all full", SMALL_DISKS);
    let leader = scene.leader();
    for id in scene.demo.ids().into_iter().filter(|id| *id != leader) {
        scene.demo.disk(id).fill(RESERVE / 2);
    }
    scene.load.more(300);
    // No node has room any more: senders hear so, collectors go on.
    scene.demo.disk(leader).fill(RESERVE / 2);
    scene.load.refused(100);
    scene.load.reads(300);
    // Somebody takes the rest, too.
    scene.demo.ids().into_iter().for_each(|id| scene.demo.disk(id).fill(0));
    scene.load.refused(100);
    scene.demo.ids().into_iter().for_each(|id| scene.demo.disk(id).clear());
    scene.load.more(200);
    scene.end();
}
