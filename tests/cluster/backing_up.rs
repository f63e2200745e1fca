//! A site is backed up under load, lost as a whole, and comes back out of the backup as another site: with everything that was
//! acknowledged before the backup began, and nothing twice (P1, P3, P4). A backup that was changed is refused.

use super::{
    demo::{Demo, Plan, program, serve, wait_for},
    history::{Call, Moment, Op, Outcome},
    load::Load,
    scene::Scene,
    wires::Wire,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A user that owns nothing else.
const DAEMON: u32 = 47_110;

/// Runs a command; its JSON, or the four lines that say why not.
pub fn spine(args: &[&str], paths: &[(&str, &Path)]) -> Result<Value, String> {
    let mut command = Command::new(program());
    command.args(args).args(["--output", "json"]).stdin(Stdio::null());
    for (option, path) in paths {
        command.args((!option.is_empty()).then_some(option)).arg(path);
    }
    let output = command.output().expect("spine starts");
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A node that nothing else looks after.
pub struct Lone(Child, PathBuf);

impl Lone {
    pub fn start(folder: &Path, config: &Path) -> Lone {
        let node = Lone(serve(&program(), config, &folder.join("log")), folder.join("admin.sock"));
        wait_for("the node to be ready", || node.ask(&["status"]).ok());
        node
    }

    pub fn socket(&self) -> PathBuf {
        self.1.clone()
    }

    pub fn ask(&self, args: &[&str]) -> Result<Value, String> {
        spine(args, &[("--socket", &self.1)])
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.1.with_file_name("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the restored node said:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

#[test]
fn a_follower_that_is_cut_off_makes_no_backup_and_leaves_nothing_behind() {
    let scene = Scene::begin("cut off, backed up", Plan { wired: true, ..Plan::of(1) });
    let keep = tempfile::tempdir().expect("a folder for backups");
    let (leader, node) = (scene.leader(), scene.follower());
    let others: Vec<u64> = scene.demo.ids().into_iter().filter(|id| *id != node).collect();
    scene.demo.wires().between(node, &others, Wire::Silent);
    let command = ["backup", "create", keep.path().to_str().expect("a path"), "--rate", "0"];
    let told = scene.demo.refusal(node, &command).expect("it cannot know what was acknowledged");
    assert!(told.contains("SPN-2202") && told.contains("the site cannot take a record of it"), "{told}");
    assert_eq!(fs::read_dir(keep.path()).expect("the folder").count(), 0, "{told}");
    assert!(scene.demo.try_ask(leader, &command).is_some(), "the majority makes one meanwhile");
    scene.demo.wires().all(Wire::Good);
    scene.demo.wait_ready();
    // What a crash left of an encrypted one that was under way: rows in plain.
    let tail = scene.demo.data(node).join("backing-up");
    fs::create_dir(&tail).expect("a folder");
    fs::write(tail.join("left"), "rows").expect("a file");
    let first = scene.demo.try_ask(node, &command).expect("and so does the node, once it is back");
    assert!(!tail.exists(), "whichever backup is next removes it");
    assert_eq!(fs::read_dir(keep.path()).expect("the folder").count(), 2);
    what_is_there_already_is_not_written_again(&scene, node, keep.path(), &first);
    scene.end();
}

#[test]
fn a_site_comes_back_out_of_its_backup_with_all_that_was_acknowledged_and_nothing_twice() {
    let scene = Scene::begin("backed up", Plan::of(3));
    let keep = tempfile::tempdir().expect("a folder for backups");
    let node = scene.follower();
    scene.load.more(300);
    let begun = scene.load.now();
    let made = scene.demo.try_ask(node, &["backup", "create", keep.path().to_str().expect("a path"), "--rate", "0"]);
    let ended = scene.load.now();
    scene.load.more(200);
    let made = made.expect("a backup is made");
    println!("backed up: {made}");
    let backup = PathBuf::from(made["path"].as_str().expect("a path"));
    assert!(scene.demo.metric(node, "spine_backup_last_success_timestamp_seconds").is_some_and(|at| at > 1.7e9));
    let Scene { load, demo, .. } = scene;
    let ops = load.finish(&demo.sockets());
    for id in demo.ids() {
        demo.stop(id);
    }
    let told = spine(&["backup", "verify"], &[("", &backup), ("--ca", &ca(&demo))]).expect("the backup is whole");
    assert!(told["audit_records"].as_u64() > Some(300) && told["bodies"].as_u64() > Some(0), "{told}");

    let folder = keep.path().join("new");
    let config = demo.new_site(&folder);
    damaged_backups_are_refused(&backup, &keep.path().join("bad"), &config, &folder);
    let ca = ca(&demo);
    let whose = spine(&["backup", "restore"], &[("", &backup), ("--config", &config)]).expect_err("whose is it");
    assert!(whose.contains("SPN-2004") && whose.contains("--ca"), "{whose}");
    let wanted = [("", backup.as_path()), ("--config", &config), ("--ca", &ca)];
    let told = spine(&["backup", "restore", "--dry-run"], &wanted).expect("it can be restored");
    assert!(told["dry_run"] == true && !folder.join("data").exists(), "{told}");
    // As a package leaves it: a folder of the daemon's, into which root restores.
    let data = folder.join("data");
    fs::DirBuilder::new().mode(0o700).create(&data).expect("a folder");
    let root = nix::unistd::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&data, Some(DAEMON), Some(DAEMON)).expect("root may");
    }
    let told = spine(&["backup", "restore"], &wanted).expect("it is restored");
    println!("restored: {told}");
    what_is_restored_is_the_daemons_alone(&data, root);
    if root {
        // A node refuses data of another user, and this one is to run as whoever tests.
        let given = Command::new("chown").arg("-R").arg("0:0").arg(&data).status();
        assert!(given.expect("chown starts").success());
    }
    let again = spine(&["backup", "restore"], &wanted).expect_err("it is there");
    assert!(again.contains("SPN-2204"), "{again}");
    the_old_authority_proves_the_trail_and_lets_nobody_in(&folder.join("tls"), &ca);

    let restored = Lone::start(&folder, &config);
    registry_is_of_the_backup(&restored, &ops, (begun, ended));
    let load = Load::start(demo.site(), vec![restored.1.clone()]);
    load.more(50);
    let later = load.finish(std::slice::from_ref(&restored.1));
    messages_are_of_the_backup(&ops, &later, (begun, ended));
    let told = wait_for("deliveries to end", || {
        let told = restored.ask(&["status"]).ok()?;
        (told["outbox"]["waiting"] == 0).then_some(told)
    });
    assert_eq!(told["outbox"]["dead_letters"], 0, "{told}");
    let trail = restored.ask(&["audit", "verify"]).expect("the audit trail is whole, over the restore");
    println!("trail: {trail}");
    let record = restored.ask(&["audit", "search", "--object", "1"]).expect("the restore is in the trail");
    assert!(record.to_string().contains("backup.restore"), "{record}");
}

/// The next backup of a folder holds only what is new, and is whole without the one that it was made since.
fn what_is_there_already_is_not_written_again(scene: &Scene, node: u64, keep: &Path, first: &Value) {
    scene.load.more(50);
    let (first, keep) = (first["path"].as_str().expect("a path"), keep.to_str().expect("a path"));
    let made = scene.demo.try_ask(node, &["backup", "create", keep, "--rate", "0", "--since", first]);
    let made = made.expect("a backup is made");
    println!("since the first: {made}");
    let (all, known) = (made["bytes"].as_u64().unwrap_or(0), made["linked_bytes"].as_u64().unwrap_or(0));
    assert!(known > 0 && known < all, "{made}");
    let path = Path::new(made["path"].as_str().expect("a path"));
    let links = |of: &PathBuf| fs::metadata(path.join(of)).expect("a file").nlink() > 1;
    let twice: u64 =
        all_files(path).iter().filter(|of| links(of)).map(|of| path.join(of).metadata().unwrap().len()).sum();
    assert_eq!(twice, known, "{made}");
    fs::remove_dir_all(first).expect("it can be removed");
    spine(&["backup", "verify"], &[("", path), ("--ca", &ca(&scene.demo))]).expect("it is whole by itself");
    let missing = scene.demo.refusal(node, &["backup", "create", keep, "--since", first]).expect("it is gone");
    assert!(missing.contains("SPN-2201") && missing.contains("holds no manifest"), "{missing}");
}

/// Nobody but the daemon may read what was restored, and the daemon may.
fn what_is_restored_is_the_daemons_alone(data: &Path, root: bool) {
    let mut left = vec![data.to_owned()];
    let mut kinds = [0, 0];
    while let Some(path) = left.pop() {
        let told = fs::symlink_metadata(&path).expect("it is there");
        if path != data || told.is_file() {
            let mode = if told.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(told.mode() & 0o777, mode, "{}", path.display());
        }
        assert!(!root || (told.uid(), told.gid()) == (DAEMON, DAEMON), "{}: {}", path.display(), told.uid());
        kinds[usize::from(told.is_dir())] += 1;
        if told.is_dir() {
            left.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        }
    }
    assert!(kinds[0] > 5 && kinds[1] > 5, "{kinds:?}");
}

fn the_old_authority_proves_the_trail_and_lets_nobody_in(tls: &Path, old: &Path) {
    let text = |path: PathBuf| fs::read_to_string(path).expect("it was written");
    let old = text(old.to_owned());
    let peers = text(tls.join("peer-ca.pem"));
    assert!(peers.matches("BEGIN CERTIFICATE").count() == 1 && !peers.contains(old.trim()), "{peers}");
    assert_eq!(text(tls.join("trail-authorities.pem")).trim(), old.trim());
}

pub fn ca(demo: &Demo) -> PathBuf {
    let text = fs::read_to_string(demo.path().join("node-1/spine.toml")).expect("node 1's configuration");
    let table: toml::Table = text.parse().expect("it is TOML");
    PathBuf::from(table["peer"]["ca"].as_str().expect("a path"))
}

/// What clients saw of the first site, and then of the second.
pub fn messages_are_of_the_backup(ops: &[Op], later: &[Op], (begun, ended): (Moment, Moment)) {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
    for op in later {
        match (&op.call, &op.outcome) {
            (Call::List { mailbox }, Outcome::Listed { ids, .. }) => {
                let unique: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
                assert_eq!(unique.len(), ids.len(), "a list shows a message twice");
                for id in unique {
                    seen.entry(id).or_default().insert(mailbox);
                }
            }
            (Call::Retrieve { id, .. }, Outcome::Got { tag }) => {
                bodies.insert(id, tag);
            }
            _ => {}
        }
    }
    let (mut taken, mut maybe_taken) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        if let Call::Acknowledge { id } = &op.call {
            if op.outcome == Outcome::Acknowledged && op.done < begun {
                taken.insert(id.as_str());
            }
            if op.invoked < ended {
                maybe_taken.insert(id.as_str());
            }
        }
    }
    let (mut there, mut tags) = (0, BTreeSet::new());
    for op in ops {
        let (Call::Send { tag, to }, Outcome::Sent { id }) = (&op.call, &op.outcome) else { continue };
        let at = seen.get(id.as_str());
        if op.done < begun && !maybe_taken.contains(id.as_str()) {
            assert!(at.is_some_and(|at| at.contains(to.as_str())), "{id} was accepted before the backup, and is gone");
            there += 1;
        }
        assert!(op.invoked < ended || at.is_none(), "{id} was sent after the backup, and is there");
        if let (Some(_), Some(body)) = (at, bodies.get(id.as_str())) {
            assert_eq!(body, tag, "{id} has another body");
            assert!(tags.insert(tag), "{tag} is there twice");
        }
    }
    for (id, mailboxes) in &seen {
        assert_eq!(mailboxes.len(), 1, "{id} is in several mailboxes: {mailboxes:?}");
        assert!(!taken.contains(id), "{id} was acknowledged before the backup, and is back");
    }
    println!("{there} messages were to be there and are; {} bodies compared", tags.len());
    assert!(there > 0, "the load left something to look for");
}

/// Rows of the registry hold the last value acknowledged before the backup, or one that was being written then.
pub fn registry_is_of_the_backup(node: &Lone, ops: &[Op], (begun, ended): (Moment, Moment)) {
    for (key, mailbox) in [("mailbox 1", "X26CLERK1"), ("mailbox 2", "X26CLERK2")] {
        let told = node.ask(&["mailbox", "show", mailbox]).expect("the row is there");
        let writes: Vec<(&Op, &String)> = ops
            .iter()
            .filter_map(|op| match &op.call {
                Call::Write { key: of, value } if of == key => Some((op, value)),
                _ => None,
            })
            .collect();
        let replaced = |op: &Op| {
            let by = |(later, _): &(&Op, &String)| {
                later.outcome == Outcome::Written && later.invoked > op.done && later.done < begun
            };
            writes.iter().any(by)
        };
        let can_be = |(op, value): &&(&Op, &String)| {
            told["name"].as_str() == Some(value.as_str()) && op.invoked < ended && !replaced(op)
        };
        assert!(writes.iter().any(|write| can_be(&write)), "{mailbox} is {} after the restore", told["name"]);
    }
}

/// One byte of each kind of file, a file that is missing, a manifest of other content: each is refused, and nothing is written.
fn damaged_backups_are_refused(good: &Path, bad: &Path, config: &Path, folder: &Path) {
    let files = all_files(good);
    let of = |part: &str| {
        let found = files.iter().find(|path| path.to_string_lossy().contains(part));
        found.unwrap_or_else(|| panic!("the backup has no {part}")).clone()
    };
    let flipped = |path: &Path| {
        let mut content = fs::read(path).expect("the file is there");
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(path, content).expect("it can be written");
    };
    let cut_off = |path: &Path| {
        let content = fs::read(path).expect("the file is there");
        fs::write(path, &content[..content.len() - 1]).expect("it can be written");
    };
    let removed = |path: &Path| fs::remove_file(path).expect("it can be removed");
    type Harm<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Harm, &str); 7] = [
        (".snap", &flipped, "was changed"),
        (".layer", &flipped, "was changed"),
        ("blobs/", &flipped, "was changed"),
        (".snap", &cut_off, "bytes and should have"),
        ("blobs/", &removed, "is missing"),
        ("manifest", &flipped, "the manifest"),
        ("manifest", &removed, "holds no manifest"),
    ];
    for (part, harm, why) in cases {
        let _ = fs::remove_dir_all(bad);
        for path in &files {
            let to = bad.join(path);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(good.join(path), to).expect("a copy");
        }
        harm(&bad.join(of(part)));
        for told in [
            spine(&["backup", "verify"], &[("", bad)]).expect_err("it is damaged"),
            spine(&["backup", "restore", "--any-authority"], &[("", bad), ("--config", config)])
                .expect_err("it is damaged"),
        ] {
            assert!(told.contains("SPN-2201") && told.contains(why), "{part}: {told}");
        }
        assert!(
            !folder.join("data").exists() && !folder.join("tls/peer-cert.pem").exists(),
            "{part}: nothing is written"
        );
    }
}

/// Paths below a folder, of files.
pub fn all_files(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() { walk(&entry, found) } else { found.push(entry) }
        }
    }
    let mut found = vec![];
    walk(folder, &mut found);
    found.sort();
    found.iter().map(|path| path.strip_prefix(folder).expect("it lies below").to_owned()).collect()
}
