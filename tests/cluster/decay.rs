//! Every kind of file a node keeps, harmed in every way a disk can (P7, P9): what can be had again from a peer is had again by
//! itself, and what is harmed is found each time.

use super::{
    demo::{Plan, wait_acting, wait_for},
    rot::{self, HARMS, Harm},
    scene::Scene,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
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

/// A file and a byte in its used middle.
type Spot = (PathBuf, u64);

fn engine(data: &Path) -> Option<Spot> {
    largest(rot::files(&data.join("store/sled")))
}

fn snapshot(data: &Path) -> Option<Spot> {
    let all = rot::files(&data.join("store/snapshots/p1")).into_iter();
    largest(all.filter(|path| path.extension().is_some_and(|e| e == "snap")).collect())
}

fn body(data: &Path) -> Option<Spot> {
    let all = rot::files(&data.join("blobs")).into_iter();
    largest(all.filter(|path| path.parent().is_some_and(|folder| !folder.ends_with("unfinished"))).collect())
}

fn largest(files: Vec<PathBuf>) -> Option<Spot> {
    let sized = files.into_iter().filter_map(|path| Some((fs::metadata(&path).ok()?.len(), path)));
    sized.filter(|(len, _)| *len > 8).max().map(|(len, path)| (path, len / 2))
}

/// A file that never changes once it is there, and was harmed: what it held.
struct Harmed {
    path: PathBuf,
    whole: Vec<u8>,
}

impl Harmed {
    /// Harms a file of a kind that a node holds. `None` where it holds none just now: such files come and go.
    fn now(spot: Option<Spot>, how: Harm) -> Option<Harmed> {
        let (path, at) = spot?;
        let whole = fs::read(&path).ok()?;
        rot::harm(&path, how, at).ok()?;
        Some(Harmed { path, whole })
    }

    /// Whether nothing wrong is left: what was written stands there again, or the file is not kept any more.
    fn is_mended(&self) -> bool {
        fs::read(&self.path).map_or_else(|e| e.kind() == std::io::ErrorKind::NotFound, |now| now == self.whole)
    }
}

/// What a node says of damage: how many lines of what was mended at its start, how much it repaired since, its incarnation.
fn told(scene: &Scene, node: u64) -> (usize, u64, u64) {
    wait_for("a status", || told_now(scene, node))
}

fn told_now(scene: &Scene, node: u64) -> Option<(usize, u64, u64)> {
    let (damage, incarnation) = scene.demo.damage(node)?;
    let mended = damage["mended_at_start"].as_array().map_or(0, Vec::len);
    Some((mended, damage["repaired"].as_u64().unwrap_or(0), incarnation))
}

/// The same once it votes. A page that is read late ends the process late, so that its next start rebuilds the rows: it is started
/// again, as systemd would.
fn told_at_last(scene: &Scene, node: u64) -> (usize, u64, u64) {
    wait_for("the node to vote", || {
        scene.demo.start_if_gone(node);
        scene.demo.votes(node).then(|| told_now(scene, node)).flatten()
    })
}

/// How often a node has said in its log that bytes of its own are not what was written.
fn alarms(scene: &Scene, node: u64) -> usize {
    const EVENTS: [&str; 4] =
        ["\"log.unreadable\"", "\"log.damaged\"", "\"node.identity.damaged\"", "\"node.data.lost\""];
    let log = fs::read_to_string(scene.demo.path().join(format!("node-{node}/log"))).unwrap_or_default();
    log.lines().filter(|line| EVENTS.iter().any(|event| line.contains(event))).count()
}

/// What a stopped node's files went through: whatever was harmed that can be compared, and what the node says of it.
struct After {
    harmed: Vec<Harmed>,
    /// Alarms and lines of what was mended at the start.
    heard: usize,
    /// By how many incarnations it came back later.
    later: u64,
}

/// Kills a node, lets `harm` at its data, and starts it until it stays.
fn after(scene: &Scene, victim: u64, harm: impl FnOnce(&Path) -> Vec<Harmed>) -> After {
    let ((_, _, before), heard) = (told_at_last(scene, victim), alarms(scene, victim));
    scene.demo.kill(victim);
    scene.load.more(10);
    let harmed = harm(&scene.demo.data(victim));
    scene.demo.start_and_keep(victim);
    scene.load.more(10);
    let (mended, _, now) = told_at_last(scene, victim);
    After { harmed, heard: alarms(scene, victim) - heard + mended, later: now - before }
}

fn harm(spot: Option<Spot>, how: Harm) {
    let (path, at) = spot.expect("a node keeps such a file from its first start to its last");
    rot::harm(&path, how, at).expect("the file of a stopped node stays");
}

#[test]
fn every_kind_of_file_of_a_stopped_node_goes_bad() {
    let scene = Scene::begin("decay, stopped", Plan { set: WATCHED, ..Plan::of(1) });
    let victim = scene.follower();
    let (mut bodies, mut snapshots) = (0, 0);
    for how in HARMS {
        let log_and_body = after(&scene, victim, |data| {
            harm(Some(rot::amid_log(data)), how);
            Harmed::now(body(data), how).into_iter().collect()
        });
        // Entries below the cut are in a snapshot already: nothing is to be mended there.
        assert!(log_and_body.heard > 0 || log_and_body.later > 0, "{how:?} of the log was found");
        // The engine's file has room that nothing lies in: what the harm met there nobody can tell, and the end compares rows.
        let rows = after(&scene, victim, |data| {
            harm(engine(data), how);
            Harmed::now(snapshot(data), how).into_iter().collect()
        });
        assert_eq!(rows.later, 0, "log and vote were there: it is the same member");
        let identity = after(&scene, victim, |data| {
            harm(largest(vec![data.join("identity.json")]), how);
            vec![]
        });
        assert_eq!(identity.later, 1, "{how:?} of the identity was found");
        bodies += log_and_body.harmed.len();
        snapshots += rows.harmed.len();
        let harmed: Vec<Harmed> = log_and_body.harmed.into_iter().chain(rows.harmed).collect();
        wait_for("bodies and snapshots to be found and mended", || harmed.iter().all(Harmed::is_mended).then_some(()));
        println!("decay, stopped: {how:?}: found in log ({} incarnations), rows, body, identity", log_and_body.later);
    }
    assert!(bodies > 0 && snapshots > 0, "{bodies} bodies and {snapshots} snapshots were harmed");
    scene.end();
}

/// Under load an entry is in the log for a second or two, and a walk that begins with the log takes several: some harm must be
/// there when one begins.
const LOG_AGAIN: Duration = Duration::from_millis(700);

/// Finds a place to harm below a data folder.
type Find<'a> = &'a dyn Fn(&Path) -> Option<Spot>;

#[test]
fn every_kind_of_file_of_a_running_node_goes_bad() {
    let scene = Scene::begin("decay, running", Plan { set: WATCHED, restarts: true, ..Plan::of(1) });
    let victim = scene.follower();
    let data = scene.demo.data(victim);
    // What the engine holds is in memory while a node runs; an identity is read at the start.
    for how in HARMS {
        let log = |data: &Path| Some(rot::amid_log(data));
        let kinds: [(_, _, Find<'_>); 3] =
            [("log", LOG_AGAIN, &log), ("snapshot", rot::MENDED, &snapshot), ("body", rot::MENDED, &body)];
        for (kind, again, find) in kinds {
            let (_, before, _) = told(&scene, victim);
            // Snapshots, bodies and segments come and go: one that goes just now is no damage, and another is taken.
            let harms = || find(&data).is_some_and(|(path, at)| rot::harm(&path, how, at).is_ok());
            let what = format!("{how:?} of {kind} to be found");
            wait_acting(&what, again, harms, || told(&scene, victim).1 > before);
        }
        println!("decay, running: {how:?}: found and repaired in log, snapshot and body");
    }
    scene.end();
}
