//! Moments between two backups: a site whose nodes archive their log is killed, and comes back as it was at moments that were noted, and
//! at the last that was archived: everything acknowledged before is there, and nothing that was asked for after (P1, P3). An archive that
//! was damaged, misses a piece or has a gap says so (P7).

use super::{
    backing_up::{Lone, all_files, ca, messages_are_of_the_backup, registry_is_of_the_backup, spine},
    demo::{Plan, wait_for},
    history::{Moment, Op},
    load::Load,
    scene::Scene,
};
use serde_json::Value;
use spine::cli::bench::site::Site;
use std::{
    fs,
    path::{Path, PathBuf},
};

const ARCHIVED: Plan = Plan { set: &["backup.archive_every=1s"], ..Plan::of(3) };
/// Logs that are cut as soon as they may be, and a hold that some seconds of load are more than.
const CUT: Plan = Plan {
    set: &[
        "backup.archive_every=1s",
        "backup.archive_hold=16MiB",
        "log.segment=1MiB",
        "log.keep=16KiB",
        "log.snapshot_after=64KiB",
        "store.flush_interval=1s",
    ],
    ..Plan::of(1)
};

/// Where a node's own backup lies.
fn backup_of(scene: &Scene, node: u64, made: &Value) -> PathBuf {
    let path = Path::new(made["path"].as_str().expect("a path"));
    scene.demo.data(node).with_file_name("backup").join(path.file_name().expect("a name"))
}

/// Up to which moment the archive of a folder's only backup goes: microseconds since 1970.
fn archived(backup: &Path) -> Option<u64> {
    let told = spine(&["backup", "list"], &[("", backup.parent().expect("a folder"))]).expect("a list");
    let items = told["items"].as_array().or_else(|| told.as_array()).expect("items");
    let until = items[0]["archive"]["until"].as_str()?;
    Some(until.parse::<jiff::Timestamp>().expect("a moment").as_microsecond() as u64)
}

/// As `--until` takes it, of a moment of the load: to the millisecond before.
fn told(load: &Load, moment: Moment) -> String {
    jiff::Timestamp::from_millisecond((load.wall(moment) / 1000) as i64).expect("a moment").to_string()
}

fn copied(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    for path in all_files(from) {
        fs::create_dir_all(to.join(&path).parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(&path), to.join(&path)).expect("a copy");
    }
}

#[test]
fn a_site_comes_back_as_it_was_at_a_moment_between_two_backups() {
    let scene = Scene::begin("archived", ARCHIVED);
    let node = scene.follower();
    scene.load.more(100);
    let made = scene.demo.try_ask(node, &["backup", "create", "--rate", "0"]).expect("a backup is made");
    let backup = backup_of(&scene, node, &made);
    let mut moments = vec![];
    for _ in 0..2 {
        scene.load.more(300);
        let now = scene.load.now();
        moments.push(now);
        let goal = scene.load.wall(now);
        wait_for("the archive to reach this moment", || archived(&backup).filter(|until| *until > goal));
    }
    scene.load.more(300);
    let goal = scene.load.wall(scene.load.now());
    wait_for("the archive to reach this moment", || archived(&backup).filter(|until| *until > goal));
    let asked = scene.demo.try_ask(node, &["status"]).expect("it answers");
    assert!(asked["backup"]["archive"]["age_seconds"].as_u64().is_some_and(|age| age < 30), "{asked}");
    assert!(
        scene.demo.metric(node, "spine_backup_archived_timestamp_seconds").is_some_and(|at| at * 1e6 > goal as f64)
    );
    // While it archives, under load.
    scene.demo.kill(node);
    let killed = scene.load.now();
    scene.load.more(100);
    let Scene { load, demo, .. } = scene;
    let sockets: Vec<PathBuf> =
        demo.ids().into_iter().zip(demo.sockets()).filter(|(id, _)| *id != node).map(|of| of.1).collect();
    let texts: Vec<String> = moments.iter().map(|moment| told(&load, *moment)).collect();
    let last = load.moment(archived(&backup).expect("an archive"));
    let ops = load.finish(&sockets);
    demo.ids().into_iter().filter(|id| *id != node).for_each(|id| demo.kill(id));

    let keep = tempfile::tempdir().expect("a folder for new sites");
    let ca = ca(&demo);
    let checked = spine(&["backup", "verify"], &[("", &backup), ("--ca", &ca)]).expect("backup and archive are whole");
    println!("verified: {checked}");
    assert!(checked["archive"]["pieces"].as_u64() > Some(2), "{checked}");
    let refusing = keep.path().join("refusing");
    let config = demo.new_site(&refusing);
    what_cannot_be_had_is_refused(&backup, &keep.path().join("bad"), &config, &refusing);
    // To the millisecond, and some for two clocks of one machine.
    let around = |moment: Moment| (moment.saturating_sub(2_000), moment + 2_000);
    let wanted = [
        (texts[1].as_str(), around(moments[1])),
        (texts[0].as_str(), around(moments[0])),
        ("latest", (last.saturating_sub(2_000), killed)),
    ];
    for (n, (until, span)) in wanted.into_iter().enumerate() {
        let folder = keep.path().join(format!("new-{n}"));
        let config = demo.new_site(&folder);
        let restored = [("", backup.as_path()), ("--config", &config), ("--ca", &ca)];
        let dry = spine(&["backup", "restore", "--until", until, "--dry-run"], &restored).expect("it can be had");
        assert!(dry["archive"]["from"].is_string() && !folder.join("data").exists(), "{dry}");
        let told = spine(&["backup", "restore", "--until", until], &restored).expect("it is restored");
        println!("{until}: {told}");
        let node = Lone::start(&folder, &config);
        it_is_of_the_moment(&node, demo.site(), &ops, span);
        let told = node.ask(&["audit", "search", "--object", "1"]).expect("the restore is in the trail");
        assert!(told.to_string().contains("as of"), "{told}");
    }
}

fn it_is_of_the_moment(node: &Lone, site: Site, ops: &[Op], span: (Moment, Moment)) {
    registry_is_of_the_backup(node, ops, span);
    let socket = node.socket();
    let load = Load::start(site, vec![socket.clone()]);
    load.more(20);
    let later = load.finish(std::slice::from_ref(&socket));
    messages_are_of_the_backup(ops, &later, span);
    let told = wait_for("deliveries to end", || {
        let told = node.ask(&["status"]).ok()?;
        (told["outbox"]["waiting"] == 0).then_some(told)
    });
    assert_eq!(told["outbox"]["dead_letters"], 0, "{told}");
    node.ask(&["audit", "verify"]).expect("the audit trail is whole, over the restore");
}

/// A byte in a piece, a piece that is missing, moments outside: each is refused, and nothing is written.
fn what_cannot_be_had_is_refused(good: &Path, bad: &Path, config: &Path, folder: &Path) {
    let pieces: Vec<PathBuf> = all_files(good).into_iter().filter(|path| path.starts_with("log")).collect();
    let of = |end: &str| {
        let all: Vec<&PathBuf> = pieces.iter().filter(|path| path.to_string_lossy().ends_with(end)).collect();
        all[all.len() / 2].clone()
    };
    let flipped = |path: &Path| {
        let mut content = fs::read(path).expect("the file is there");
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(path, content).expect("it can be written");
    };
    let removed = |path: &Path| fs::remove_file(path).expect("it can be removed");
    type Harm<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Harm); 4] = [(".log", &flipped), (".log", &removed), (".head", &flipped), (".head", &removed)];
    let restore = |backup: &Path, until: &str| {
        let wanted = [("", backup), ("--config", config)];
        spine(&["backup", "restore", "--any-authority", "--until", until], &wanted).expect_err("it is refused")
    };
    for (end, harm) in cases {
        copied(good, bad);
        harm(&bad.join(of(end)));
        let verified = spine(&["backup", "verify"], &[("", bad)]).expect_err("it is damaged");
        for told in [verified, restore(bad, "latest")] {
            assert!(told.contains("SPN-2207"), "{end}: {told}");
        }
    }
    for until in ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        let told = restore(good, until);
        assert!(told.contains("SPN-2209") && told.contains("is not between"), "{told}");
    }
    let told = restore(good, "yesterday");
    assert!(told.contains("latest"), "{told}");
    assert!(!folder.join("data").exists() && !folder.join("tls/peer-cert.pem").exists(), "nothing is written");
}

#[test]
fn an_encrypted_backups_archive_is_encrypted_for_the_same_keys() {
    let scene = Scene::begin("archived, encrypted", Plan { set: ARCHIVED.set, ..Plan::of(1) });
    let keep = tempfile::tempdir().expect("a folder for keys");
    let key = keep.path().join("key");
    spine(&["backup", "key"], &[("--out", &key)]).expect("a pair");
    let public = format!("{}.pub", key.display());
    let node = scene.follower();
    let made = scene.demo.try_ask(node, &["backup", "create", "--rate", "0", "--recipient", &public]);
    let backup = backup_of(&scene, node, &made.expect("a backup is made"));
    scene.load.more(200);
    let moment = scene.load.now();
    let text = told(&scene.load, moment);
    scene.load.more(100);
    let goal = scene.load.wall(scene.load.now());
    wait_for("the archive to reach this moment", || archived(&backup).filter(|until| *until > goal));
    let Scene { load, demo, .. } = scene;
    let ops = load.finish(&demo.sockets());
    demo.ids().into_iter().for_each(|id| demo.kill(id));
    let pieces: Vec<PathBuf> = all_files(&backup).into_iter().filter(|path| path.starts_with("log")).collect();
    for path in pieces.iter().filter(|path| path.extension().is_none_or(|end| end != "head")) {
        let start = fs::read(backup.join(path)).expect("the file is there");
        assert!(start.starts_with(b"age-encryption.org/v1\n"), "{}", path.display());
    }
    assert!(pieces.iter().any(|path| path.starts_with("log/blobs")), "bodies are archived: {pieces:?}");
    let authority = ca(&demo);
    let compared =
        spine(&["backup", "verify"], &[("", &backup), ("--ca", &authority)]).expect("its files are compared");
    assert!(compared["replayed"] == false && compared["archive"]["until"].is_string(), "{compared}");
    let read = [("", backup.as_path()), ("--ca", &authority), ("--identity", &key), ("--scratch", keep.path())];
    let whole = spine(&["backup", "verify"], &read).expect("it is whole");
    assert!(whole["replayed"] == true && whole["archive"]["until"].is_string(), "{whole}");
    let folder = keep.path().join("new");
    let config = demo.new_site(&folder);
    let wanted = [("", backup.as_path()), ("--config", &config), ("--ca", &authority)];
    let closed = spine(&["backup", "restore", "--until", "latest"], &wanted).expect_err("the key is not at hand");
    assert!(closed.contains("SPN-2205") && !folder.join("data").exists(), "{closed}");
    let wanted = [&wanted[..], &[("--identity", key.as_path())]].concat();
    println!("{}", spine(&["backup", "restore", "--until", &text], &wanted).expect("it is restored"));
    let node = Lone::start(&folder, &config);
    it_is_of_the_moment(&node, demo.site(), &ops, (moment.saturating_sub(2_000), moment + 2_000));
}

#[test]
fn a_log_that_cannot_be_archived_is_cut_in_the_end_and_the_archive_says_that_it_has_a_gap() {
    let scene = Scene::begin("archived with a gap", CUT);
    let node = scene.follower();
    let made = scene.demo.try_ask(node, &["backup", "create", "--rate", "0"]).expect("a backup is made");
    let backup = backup_of(&scene, node, &made);
    scene.load.more(100);
    let goal = scene.load.wall(scene.load.now());
    wait_for("the archive to reach this moment", || archived(&backup).filter(|until| *until > goal));
    // The folder is no folder any more: as a disk that is away.
    let (log, away) = (backup.join("log"), backup.join("away"));
    fs::rename(&log, &away).expect("it can be moved");
    fs::write(&log, "").expect("it can be written");
    wait_for("it to say what is in the way", || {
        let told = scene.demo.try_ask(node, &["status"])?;
        told["backup"]["archive"]["trouble"].as_str().map(ToOwned::to_owned)
    });
    // Until the log is cut behind all that there was when the disk went.
    let last = scene.demo.last(node, 1).expect("it answers");
    while scene.demo.cut(node, 1).is_none_or(|cut| cut <= last) {
        scene.load.more(500);
    }
    fs::remove_file(&log).expect("it can be removed");
    fs::rename(&away, &log).expect("it can be moved");
    let gap = wait_for("the archive to end", || {
        let told = scene.demo.try_ask(node, &["status"])?;
        told["backup"]["archive"]["gap"].as_str().map(ToOwned::to_owned)
    });
    assert!(gap.contains("does not reach back to entry"), "{gap}");
    assert_eq!(scene.demo.metric(node, "spine_backup_archive_gap"), Some(1.0));
    let until = archived(&backup).expect("what was archived before can be had");
    assert!(until > goal);
    let text = jiff::Timestamp::from_microsecond(until as i64 + 60_000_000).expect("a moment").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let config = scene.demo.new_site(&folder.path().join("new"));
    let wanted = [("", backup.as_path()), ("--config", &config)];
    let told = spine(&["backup", "restore", "--any-authority", "--dry-run", "--until", &text], &wanted);
    let told = told.expect_err("nothing follows");
    assert!(told.contains("SPN-2209") && told.contains("it ends there"), "{told}");
    let verified = spine(&["backup", "verify"], &[("", &backup)]).expect("what is there is whole");
    assert!(verified["archive"]["gap"].is_string(), "{verified}");
    // A new backup begins a new archive. Beside a load like that one's log is more than may be held.
    let Scene { load, demo, .. } = scene;
    load.finish(&demo.sockets());
    let made = demo.try_ask(node, &["backup", "create", "--rate", "0"]).expect("a backup is made");
    wait_for("the next archive", || {
        let told = demo.try_ask(node, &["status"])?;
        let archive = &told["backup"]["archive"];
        (archive["gap"].is_null() && archive["until"].is_string()).then_some(())
    });
    let next = made["path"].as_str().and_then(|path| Path::new(path).file_name()).expect("a path");
    assert!(backup.with_file_name(next).join("log").is_dir());
    assert_eq!(demo.metric(node, "spine_backup_archive_gap"), Some(0.0));
    demo.replicas_are_equal();
}
