//! Every kind of file a node keeps, harmed in every way a disk can (P7, P9): what can be had again from a peer is had again by
//! itself, and what no peer has is refused with an alarm, never served wrong.

use super::{
    demo::{Plan, wait_for},
    rot::{self, HARMS, Harm},
    scene::{Scene, long},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Snapshots soon, and everything at rest looked at all the time.
const WATCHED: &[&str] = &[
    "log.segment=1MiB",
    "log.snapshot_after=256KiB",
    "log.keep=256KiB",
    "store.flush_interval=1s",
    "disk.scrub_interval=500ms",
    "disk.scrub_rate=256MiB",
];

/// A kind of file, and one of it with a byte in its used middle.
type Kind = (&'static str, fn(&Path) -> Option<(PathBuf, u64)>);

const KINDS: [Kind; 5] = [
    ("log", |data| Some(rot::amid_log(data))),
    ("engine", |data| largest(rot::files(&data.join("store/sled")))),
    ("snapshot", |data| {
        let all = rot::files(&data.join("store/snapshots/p1"));
        largest(all.into_iter().filter(|path| path.extension().is_some_and(|e| e == "snap")).collect())
    }),
    ("body", |data| largest(bodies(data))),
    ("identity", |data| largest(vec![data.join("identity.json")])),
];

fn bodies(data: &Path) -> Vec<PathBuf> {
    let all = rot::files(&data.join("blobs")).into_iter();
    all.filter(|path| path.parent().is_some_and(|folder| !folder.ends_with("unfinished"))).collect()
}

fn largest(files: Vec<PathBuf>) -> Option<(PathBuf, u64)> {
    let sized = files.into_iter().filter_map(|path| Some((fs::metadata(&path).ok()?.len(), path)));
    sized.filter(|(len, _)| *len > 8).max().map(|(len, path)| (path, len / 2))
}

/// What a node says of damage: how many lines of what was mended at its start, how much it repaired since, its incarnation.
fn told(scene: &Scene, node: u64) -> (usize, u64, u64) {
    let (damage, incarnation) = wait_for("a status", || scene.demo.damage(node));
    let mended = damage["mended_at_start"].as_array().map_or(0, Vec::len);
    (mended, damage["repaired"].as_u64().unwrap_or(0), incarnation)
}

/// How often a node has said in its log that bytes of its own are not what was written.
fn alarms(scene: &Scene, node: u64) -> usize {
    const EVENTS: [&str; 4] =
        ["\"log.unreadable\"", "\"log.damaged\"", "\"node.identity.damaged\"", "\"node.data.lost\""];
    let log = fs::read_to_string(scene.demo.path().join(format!("node-{node}/log"))).unwrap_or_default();
    log.lines().filter(|line| EVENTS.iter().any(|event| line.contains(event))).count()
}

#[test]
fn every_kind_of_file_of_a_stopped_node_goes_bad() {
    if !long() {
        println!("decay, stopped: only with LONG=1");
        return;
    }
    let scene = Scene::begin("decay, stopped", Plan { set: WATCHED, ..Plan::of(1) });
    let victim = scene.follower();
    for (kind, find) in KINDS {
        for how in HARMS {
            wait_for("a file of the kind", || find(&scene.demo.data(victim)).map(drop));
            let ((_, _, before), heard) = (told(&scene, victim), alarms(&scene, victim));
            scene.demo.kill(victim);
            scene.load.more(10);
            let (path, at) = find(&scene.demo.data(victim)).expect("there was a file of the kind a moment ago");
            rot::harm(&path, how, at).expect("the file of a stopped node stays");
            scene.demo.start_and_keep(victim);
            scene.load.more(10);
            let (mended, _, incarnation) = told(&scene, victim);
            let heard = alarms(&scene, victim) - heard;
            println!(
                "decay, stopped: {kind} {how:?}: {heard} alarms, {mended} mended, incarnation {before} -> {incarnation}"
            );
            match kind {
                // Entries below the cut are in a snapshot already: nothing is to be mended there.
                "log" => assert!(heard + mended > 0 || incarnation > before, "{how:?} of the log was found"),
                "identity" => assert_eq!(incarnation, before + 1, "{how:?} of the identity was found"),
                // Rows, snapshots and bodies that are bad are met when they are read, or by the walk; the end compares.
                _ => assert_eq!(incarnation, before, "log and vote were there: it is the same member"),
            }
            wait_for("the node to vote", || scene.demo.votes(victim).then_some(()));
        }
    }
    scene.end();
}

#[test]
fn every_kind_of_file_of_a_running_node_goes_bad() {
    if !long() {
        println!("decay, running: only with LONG=1");
        return;
    }
    let scene = Scene::begin("decay, running", Plan { set: WATCHED, restarts: true, ..Plan::of(1) });
    let victim = scene.follower();
    let data = scene.demo.data(victim);
    // What the engine holds is in memory while a node runs; an identity is read at the start.
    let at_rest = KINDS.iter().filter(|(kind, _)| ["log", "snapshot", "body"].contains(kind));
    for (kind, find) in at_rest {
        let hows =
            if *kind == "log" { vec![Harm::Zero, Harm::Swap] } else { vec![Harm::Zero, Harm::Swap, Harm::Truncate] };
        for how in hows {
            let (_, before, _) = told(&scene, victim);
            // Snapshots, bodies and segments come and go: one that goes just now is no damage, and another is taken.
            wait_for("the harm to be found", || {
                let (path, at) = find(&data)?;
                rot::harm(&path, how, at).ok()?;
                let found = || (told(&scene, victim).1 > before).then_some(());
                (0..20).find_map(|_| {
                    std::thread::park_timeout(std::time::Duration::from_millis(100));
                    found()
                })
            });
            println!("decay, running: {kind} {how:?}: found and repaired");
        }
    }
    scene.end();
}
