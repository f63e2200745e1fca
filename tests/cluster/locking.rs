//! Encrypted backups, as an operator makes them every night: nothing in one is plain, files are compared without the key and replayed
//! with it, another key is told from damage (P7); old ones go, but never the one that was verified; a site comes back out of one.

use super::{
    backing_up::{Lone, all_files, ca, spine},
    demo::{Plan, wait_for},
    scene::Scene,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const KEPT: Plan = Plan { set: &["backup.keep=2", "node.site=leeds"], ..Plan::of(1) };

fn name(value: &Value) -> String {
    let path = Path::new(value.as_str().expect("a path"));
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn an_encrypted_backup_opens_with_its_key_alone_and_the_verified_one_stays() {
    let scene = Scene::begin("backed up, encrypted", KEPT);
    let keep = tempfile::tempdir().expect("a folder for keys");
    let [key, other] = ["key", "other"].map(|name| pair(&keep.path().join(name)));
    let public = PathBuf::from(format!("{}.pub", key.display()));
    let node = scene.follower();
    let create = ["backup", "create", "--rate", "0", "--recipient", public.to_str().expect("a path")];
    let make = || {
        scene.load.more(50);
        scene.demo.try_ask(node, &create).expect("a backup is made")
    };
    wait_for("leeds to serve", || serves(&scene.demo.try_ask(node, &["site", "status"])?, "leeds"));
    let first = make();
    assert_eq!(first["removed"], Value::Array(vec![]), "{first}");
    let folder = scene.demo.data(node).with_file_name("backup");
    let (first, authority) = (folder.join(name(&first["path"])), ca(&scene.demo));
    let verify = |path: &Path, key: Option<&Path>| {
        let socket = scene.demo.sockets()[node as usize - 1].clone();
        let mut wanted = vec![("", path), ("--ca", &authority), ("--socket", &socket)];
        wanted.extend(key.into_iter().flat_map(|key| [("--identity", key), ("--scratch", keep.path())]));
        spine(&["backup", "verify"], &wanted)
    };
    let told = verify(&first, Some(&key)).expect("it is whole");
    assert!(told["replayed"] == true && told["audit_records"].as_u64() > Some(100), "{told}");
    nothing_is_plain(&first);
    let nowhere = spine(&["backup", "verify"], &[("", &first), ("--identity", &key)]).expect_err("it would be plain");
    assert!(nowhere.contains("SPN-2004") && nowhere.contains("--scratch"), "{nowhere}");
    assert!(!scene.demo.data(node).join("backing-up").exists(), "the tail is plain, and gone");

    let [second, third, fourth] = [make(), make(), make()];
    assert_eq!(third["removed"], Value::Array(vec![]), "the verified one beside the newest two: {third}");
    let removed: Vec<String> = fourth["removed"].as_array().expect("a list").iter().map(name).collect();
    assert_eq!(removed, [name(&second["path"])]);
    let mut left: Vec<String> =
        fs::read_dir(&folder).expect("a folder").map(|e| e.expect("one").file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [name(&first.to_string_lossy().into()), name(&third["path"]), name(&fourth["path"])]);

    let newest = folder.join(name(&fourth["path"]));
    let told = verify(&newest, None).expect("its files are compared");
    assert!(told["replayed"] == false && told["recipients"].as_array().is_some_and(|all| all.len() == 1), "{told}");
    let refused = verify(&newest, Some(&other)).expect_err("another key");
    assert!(refused.contains("SPN-2205") && refused.contains("age1"), "{refused}");
    let backup = keep.path().join("backup");
    for path in all_files(&newest) {
        fs::create_dir_all(backup.join(&path).parent().expect("a folder")).expect("a folder");
        fs::copy(newest.join(&path), backup.join(&path)).expect("a copy");
    }
    let again = [&create[..], &["--since", newest.to_str().expect("a path")]].concat();
    let again = scene.demo.try_ask(node, &again).expect("a backup is made");
    assert!(again["linked_bytes"].as_u64() > Some(0), "bodies are there already, encrypted for the same key: {again}");
    verify(&folder.join(name(&again["path"])), Some(&key)).expect("it is whole");
    let Scene { load, demo, .. } = scene;
    load.finish(&demo.sockets());
    for id in demo.ids() {
        demo.stop(id);
    }
    let new = keep.path().join("new");
    let config = demo.new_site(&new);
    elsewhere(&config);
    let restored = |how: &[&str], key: Option<&Path>| {
        let mut wanted = vec![("", backup.as_path()), ("--config", &config), ("--ca", &authority)];
        wanted.extend(key.map(|key| ("--identity", key)));
        spine(&[&["backup", "restore"], how].concat(), &wanted)
    };
    let restore = |key| restored(&[], key);
    for (key, how) in [None, Some(other.as_path())].into_iter().flat_map(|key| [(key, &[][..]), (key, &["--dry-run"])])
    {
        let refused = restored(how, key).expect_err("the key is not at hand");
        assert!(refused.contains("SPN-2205"), "{refused}");
    }
    assert!(restored(&["--dry-run"], Some(&key)).is_ok());
    assert!(!new.join("data").exists(), "nothing is written");
    let body = all_files(&backup).into_iter().find(|path| path.starts_with("blobs")).expect("a body");
    let good = fs::read(backup.join(&body)).expect("it is there");
    let mut bad = good.clone();
    *bad.last_mut().expect("it is long") ^= 1;
    fs::write(backup.join(&body), bad).expect("it can be written");
    let refused = restore(Some(&key)).expect_err("it is damaged");
    assert!(refused.contains("SPN-2201") && refused.contains("was changed"), "{refused}");
    fs::write(backup.join(&body), good).expect("it can be written");
    println!("restored: {}", restore(Some(&key)).expect("it is restored"));
    let restored = Lone::start(&new, &config);
    restored.ask(&["audit", "verify"]).expect("the audit trail is whole, over the restore");
    assert!(restored.ask(&["mailbox", "show", "X26CLERK1"]).is_ok());
    it_serves_from_where_it_stands(&restored);
}

/// Says that a node stands in another place than those of the demo.
fn elsewhere(config: &Path) {
    let text = fs::read_to_string(config).expect("it was written");
    let mut table: toml::Table = text.parse().expect("it is TOML");
    let node = table.get_mut("node").and_then(toml::Value::as_table_mut).expect("a section");
    node.insert("site".into(), "york".into());
    fs::write(config, table.to_string()).expect("it can be written");
}

/// Not from where the old site did, whose nodes are gone: who joins here would never have a vote.
fn it_serves_from_where_it_stands(restored: &Lone) {
    wait_for("york to serve", || serves(&restored.ask(&["site", "status"]).ok()?, "york"));
    assert!(serves(&restored.ask(&["site", "status"]).expect("it answers"), "leeds").is_none());
}

fn serves(told: &Value, label: &str) -> Option<()> {
    let site = told["sites"].as_array()?.iter().find(|site| site["site"] == label)?;
    site["serving"].as_bool()?.then_some(())
}

/// A pair of keys; the private one is its owner's alone, and is not written over.
fn pair(path: &Path) -> PathBuf {
    let told = spine(&["backup", "key"], &[("--out", path)]).expect("a pair");
    assert_eq!(fs::metadata(path).expect("the key").mode() & 0o777, 0o600);
    let (private, public) = (fs::read_to_string(path), fs::read_to_string(format!("{}.pub", path.display())));
    let recipient = told["recipient"].as_str().expect("a key");
    assert_eq!(public.expect("the public half").trim(), recipient);
    assert!(private.expect("the private half").contains("\nAGE-SECRET-KEY-1") && !told.to_string().contains("SECRET"));
    assert!(spine(&["backup", "key"], &[("--out", path)]).is_err(), "a key that is there stays");
    path.to_owned()
}

fn nothing_is_plain(backup: &Path) {
    let files = all_files(backup);
    assert!(files.len() > 3, "{files:?}");
    for path in files.into_iter().filter(|path| path != Path::new("manifest")) {
        let start = fs::read(backup.join(&path)).expect("the file is there");
        assert!(start.starts_with(b"age-encryption.org/v1\n"), "{}", path.display());
    }
}
