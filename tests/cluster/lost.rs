//! Copies that went bad on every node at once (P7): what nobody has whole is refused and told, never served wrong, and
//! everything else goes on; a copy that is found is enough.

use super::{
    demo::{PATIENCE, Plan, wait_for},
    history::{Call, Op, Outcome},
    rot,
    scene::Scene,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// Bounds so small that the log is cut below a snapshot within the test.
const CUT_SOON: &[&str] =
    &["log.segment=1MiB", "log.snapshot_after=256KiB", "log.keep=256KiB", "store.flush_interval=1s"];
/// Everything at rest is looked at all the time.
const SCRUBBED: &[&str] = &["disk.scrub_interval=500ms", "disk.scrub_rate=256MiB"];

/// The newest body that lies on all nodes, as its path on each.
fn newest_body(scene: &Scene) -> Option<Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for node in scene.demo.ids() {
        let all = rot::files(&scene.demo.data(node).join("blobs")).into_iter();
        for path in all.filter(|path| path.parent().is_some_and(|folder| !folder.ends_with("unfinished"))) {
            found.entry(path.file_name()?.to_string_lossy().into_owned()).or_default().push(path);
        }
    }
    let written =
        |paths: &Vec<PathBuf>| fs::metadata(&paths[0]).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    found.into_values().filter(|paths| paths.len() == 3).max_by_key(written)
}

/// What each node says is lost: bodies by their names, with the messages that they are of.
fn told(scene: &Scene, node: u64) -> Vec<(String, String)> {
    let damage = scene.demo.damage(node).map(|(damage, _)| damage).unwrap_or_default();
    let all = damage["lost"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|body| (body["body"].as_str().unwrap_or_default().to_owned(), body["messages"].to_string()))
        .collect()
}

#[test]
fn a_body_goes_bad_on_every_node() {
    let scene = Scene::begin("body lost", Plan { set: SCRUBBED, ..Plan::of(1) });
    let nodes = scene.demo.ids();
    // One that is collected just now, or mended between two strokes, is no loss: then another is taken.
    let (paths, whole, messages) = wait_for("a body to be lost", || {
        let paths = newest_body(&scene)?;
        let whole = fs::read(&paths[0]).ok()?;
        paths.iter().for_each(|path| rot::flip_every(path, 65_536));
        let name = paths[0].file_name()?.to_string_lossy().into_owned();
        (0..30).find_map(|_| {
            std::thread::park_timeout(std::time::Duration::from_millis(100));
            let all: Vec<String> =
                nodes.iter().filter_map(|n| told(&scene, *n).into_iter().find(|l| l.0 == name)).map(|l| l.1).collect();
            (all.len() == nodes.len()).then(|| (paths.clone(), whole.clone(), all[0].clone()))
        })
    });
    println!("body lost: {} of {messages}", paths[0].file_name().expect("a name").to_string_lossy());
    let status = scene.demo.troubles(nodes[0]).join("\n");
    assert!(status.contains("SPN-3005") && status.contains("message "), "{status}");
    assert!(scene.demo.metric(nodes[0], "spine_bodies_lost").is_some_and(|lost| lost >= 1.0), "the alarm");
    // The rest of the site goes on, and collectors come by the lost body.
    let begun = scene.load.now();
    scene.load.more(100);
    scene.load.reads(200);
    wait_for("every node to tell it still", || nodes.iter().all(|node| !told(&scene, *node).is_empty()).then_some(()));
    // An operator finds a copy, and puts it on one node.
    fs::write(&paths[2], &whole).expect("the node's folder can be written");
    wait_for("the body to be whole again everywhere", || {
        nodes.iter().all(|node| told(&scene, *node).is_empty()).then_some(())
    });
    let refused = |op: &Op| {
        let of = matches!(&op.call, Call::Retrieve { id, .. } if messages.contains(id.as_str()));
        of && op.outcome == (Outcome::Refused { status: 500, retry_after: false })
    };
    let ending = scene.end_but(refused);
    let clear = ending.excused().iter().filter(|op| op.invoked >= begun).count();
    println!("body lost: refused {clear} times since it was known");
    assert!(clear > 0, "who asked for it was told");
}

/// A copy of a folder and all that is in it.
fn copy(from: &Path, to: &Path) {
    for file in rot::files(from) {
        let at = to.join(file.strip_prefix(from).expect("it lies in there"));
        fs::create_dir_all(at.parent().expect("a folder")).expect("a folder for the copy");
        fs::copy(&file, at).expect("the copy is written");
    }
}

/// Waits until a node says that nobody has what it lost: it asks for a minute first.
fn until_it_waits(scene: &Scene, node: u64) {
    let deadline = Instant::now() + 3 * PATIENCE;
    let log = scene.demo.path().join(format!("node-{node}/log"));
    while !fs::read_to_string(&log).unwrap_or_default().contains("\"node.data.nowhere\"") {
        assert!(Instant::now() < deadline, "node {node} says that nobody has what it lost");
        scene.stay(Duration::from_millis(200));
    }
}

#[test]
fn the_rows_of_a_partition_go_bad_on_every_node() {
    let scene = Scene::begin("rows lost", Plan { set: CUT_SOON, ..Plan::of(1) });
    let nodes = scene.demo.ids();
    for node in &nodes {
        wait_for("the log to be cut", || (scene.demo.cut(*node, 1)? > 0).then_some(()));
    }
    nodes.iter().for_each(|node| scene.demo.kill(*node));
    let spare = tempfile::tempdir().expect("a folder for the copy");
    scene.stay(Duration::from_millis(500));
    copy(&scene.demo.data(nodes[0]), spare.path());
    for node in &nodes {
        let data = scene.demo.data(*node);
        rot::files(&data.join("store/snapshots/p1")).iter().for_each(|path| rot::flip_every(path, 4096));
        rot::files(&data.join("store/sled")).iter().for_each(|path| rot::flip_every(path, 512));
    }
    nodes.iter().for_each(|node| scene.demo.start_node(*node));
    for node in &nodes {
        until_it_waits(&scene, *node);
        assert!(!scene.demo.data(*node).join("set-aside").exists(), "node {node} keeps what it has");
        let told = wait_for("an operator to be told", || scene.demo.refusal(*node, &["status"]));
        assert!(told.contains("the rows of partition 1") && told.contains("SPN-3006"), "{told}");
    }
    println!("rows lost: every node waits and says so");
    // An operator finds a copy of one node's folder.
    scene.demo.kill(nodes[0]);
    scene.stay(Duration::from_millis(500));
    fs::remove_dir_all(scene.demo.data(nodes[0])).expect("the folder can be removed");
    copy(spare.path(), &scene.demo.data(nodes[0]));
    scene.demo.start_and_keep(nodes[0]);
    scene.demo.wait_ready();
    scene.load.more(50);
    for node in &nodes {
        let (damage, incarnation) = scene.demo.damage(*node).expect("a status");
        println!("rows lost: node {node}, incarnation {incarnation}: {}", damage["mended_at_start"]);
        assert_eq!(incarnation, 1, "log and vote were there all the time: it is the same member");
    }
    scene.end();
}
