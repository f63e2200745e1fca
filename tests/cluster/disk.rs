//! Disks that lose bytes: whatever fails a check is had again from log, snapshot or peers, with no hand work (P7, P9).

use super::{
    demo::{Plan, wait_acting, wait_for},
    rot,
    scene::Scene,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Bounds so small that the log is cut below a snapshot within the test.
const CUT_SOON: &[&str] =
    &["log.segment=1MiB", "log.snapshot_after=256KiB", "log.keep=256KiB", "store.flush_interval=1s"];
/// And everything at rest is looked at all the time.
const SCRUBBED: &[&str] = &[
    "log.segment=1MiB",
    "log.snapshot_after=256KiB",
    "log.keep=256KiB",
    "store.flush_interval=1s",
    "disk.scrub_interval=500ms",
    "disk.scrub_rate=256MiB",
];

fn snapshots(data: &Path) -> Vec<PathBuf> {
    let all = rot::files(&data.join("store/snapshots/p1"));
    all.into_iter().filter(|path| path.extension().is_some_and(|e| e == "snap")).collect()
}

/// Waits until no node's log reaches back to the beginning any more, so that lost rows cannot be rebuilt from it.
fn until_cut(scene: &Scene) {
    for id in scene.demo.ids() {
        wait_for("the log to be cut", || (scene.demo.cut(id, 1)? > 0).then_some(()));
    }
}

/// Kills a node, lets `harm` at its data, starts it, and gives what it says of damage when all is well again.
fn after(scene: &Scene, victim: u64, harm: impl FnOnce(&Path)) -> (Vec<String>, u64) {
    scene.demo.kill(victim);
    scene.load.more(50);
    harm(&scene.demo.data(victim));
    scene.demo.start_and_keep(victim);
    scene.load.more(50);
    let (damage, incarnation) = scene.demo.damage(victim).expect("a status");
    let lines = damage["mended_at_start"].as_array().into_iter().flatten();
    let lines: Vec<String> = lines.filter_map(|l| l.as_str().map(str::to_owned)).collect();
    println!("node {victim}, incarnation {incarnation}: {lines:?}");
    (lines, incarnation)
}

#[test]
fn the_store_of_a_stopped_node_is_lost_or_rots() {
    let scene = Scene::begin("store lost", Plan { set: CUT_SOON, ..Plan::of(1) });
    until_cut(&scene);
    for victim in [scene.follower(), scene.leader()] {
        let (lines, incarnation) =
            after(&scene, victim, |data| fs::remove_dir_all(data.join("store")).expect("the store is there"));
        assert!(lines.iter().any(|l| l.contains("partition 1 were fetched from another node")), "{lines:?}");
        assert_eq!(incarnation, 1, "log and vote were there: it is the same member");
    }
    // Every page of the engine's files.
    let victim = scene.leader();
    let (lines, incarnation) = after(&scene, victim, |data| {
        rot::files(&data.join("store/sled")).iter().for_each(|file| rot::flip_every(file, 512));
    });
    // The engine may say that it is damaged, or pass for whole and hold nothing.
    let again = |l: &String| l.contains("partition 1 were rebuilt") || l.contains("partition 1 were fetched");
    assert!(lines.iter().any(again), "{lines:?}");
    assert_eq!(incarnation, 1);
    // The engine's files, and every snapshot that it could have been rebuilt from.
    let (lines, incarnation) = after(&scene, scene.follower(), |data| {
        let sealed = snapshots(data);
        assert!(!sealed.is_empty(), "there are snapshots");
        sealed.iter().for_each(|path| rot::flip_every(path, 4096));
        rot::files(&data.join("store/sled")).iter().for_each(|file| rot::flip_every(file, 512));
    });
    assert!(lines.iter().any(|l| l.contains("partition 1 were fetched from another node")), "{lines:?}");
    assert_eq!(incarnation, 1);
    scene.end();
}

#[test]
fn the_log_of_a_stopped_node_rots() {
    let scene = Scene::begin("log rotten", Plan::of(1));
    for victim in [scene.follower(), scene.leader()] {
        let (lines, incarnation) = after(&scene, victim, rot::log_entry);
        assert!(lines.iter().any(|l| l.starts_with("log entries") && l.ends_with("were repaired")), "{lines:?}");
        assert_eq!(incarnation, 1, "what it had promised is known: it is the same member");
    }
    // What the node had promised is lost: it must not promise otherwise, so it comes back as another member.
    let (_, incarnation) = after(&scene, scene.leader(), rot::log_state);
    assert_eq!(incarnation, 2);
    scene.end();
}

#[test]
fn a_running_node_finds_what_rots_and_mends_it() {
    let scene = Scene::begin("rot found", Plan { set: SCRUBBED, restarts: true, ..Plan::of(1) });
    let victim = scene.follower();
    let (data, process) = (scene.demo.data(victim), scene.demo.pid(victim));
    let repaired = || scene.demo.damage(victim).and_then(|(damage, _)| damage["repaired"].as_u64()).unwrap_or(0);
    // The log is cut behind what is sealed: an entry that goes with it meanwhile is no damage, and another is taken.
    let rots = || {
        rot::log_entry(&data);
        true
    };
    wait_acting("the log to be repaired", rot::WALKED, rots, || repaired() >= 1);
    let (found, _) = scene.demo.wait_finding(victim, "WARN", "at rest");
    assert!(found.contains("damaged pieces found"), "{found}");
    wait_for("a snapshot to be there", || (!snapshots(&data).is_empty()).then_some(()));
    let before = repaired();
    // Snapshots come and go: one may go just now, and is no damage then. The next is left alone for as long as a mend takes.
    let rots = || {
        let newest = snapshots(&data).pop().filter(|path| path.exists());
        newest.inspect(|path| rot::flip_every(path, 4096)).is_some()
    };
    wait_acting("a snapshot to be sealed anew", rot::MENDED, rots, || repaired() > before);
    // Bodies come and go too: one that was collected meanwhile is no damage, and another is taken.
    let mut rotten: Option<(PathBuf, Vec<u8>)> = None;
    wait_for("a body to be fetched again", || match &rotten {
        Some((path, whole)) if path.exists() => (fs::read(path).ok()? == *whole).then_some(()),
        _ => {
            let path =
                rot::files(&data.join("blobs")).into_iter().find(|p| !p.parent().unwrap().ends_with("unfinished"))?;
            let whole = fs::read(&path).ok()?;
            rot::flip(&path, whole.len() as u64 / 2).ok()?;
            rotten = Some((path, whole));
            None
        }
    });
    assert_eq!(scene.demo.pid(victim), process, "all that went without a restart");
    // Rows: the engine holds its pages in memory and reads few again, so a new process is to be the first that reads what rots
    // under it: one that dies by itself and has mended its rows already would have nothing to tell after the kill.
    scene.demo.kill_after(victim, |data| {
        rot::files(&data.join("store/sled")).iter().for_each(|file| rot::flip_every(file, 512));
    });
    wait_for("the node to come back by itself", || {
        let (damage, _) = scene.demo.damage(victim)?;
        let told = damage["mended_at_start"].to_string();
        (scene.demo.pid(victim) != process && (told.contains("rebuilt") || told.contains("fetched"))).then_some(())
    });
    scene.end();
}

#[test]
fn bodies_that_rot_or_are_gone_come_from_a_peer_and_are_never_served_wrong() {
    let scene = Scene::begin("bodies rotten", Plan::of(1));
    scene.load.more(300);
    // The first node is asked for every message that is left at the end.
    let blobs = scene.demo.data(1).join("blobs");
    let all = rot::files(&blobs);
    assert!(all.len() >= 4, "there are bodies: {}", all.len());
    for (n, body) in all.iter().enumerate() {
        if n % 2 == 0 { rot::flip_every(body, 65_536) } else { fs::remove_file(body).expect("the body is there") }
    }
    scene.load.more(300);
    scene.end();
}
