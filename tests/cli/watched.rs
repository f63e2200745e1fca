//! What an operator without Prometheus has of one node: `spine top`, `spine party top`, and `spine support-bundle` for somebody else.

use crate::{
    node::Served,
    support::{Ran, command, spine},
};
use std::{collections::BTreeMap, fs, io::Read, path::Path};

/// The files of a bundle, without the folder that they lie in.
fn opened(path: &Path) -> BTreeMap<String, String> {
    let mut tar = vec![];
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut tar).unwrap();
    let (mut found, mut at) = (BTreeMap::new(), 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    while tar[at] != 0 {
        let size = usize::from_str_radix(&text(&tar[at + 124..at + 135]), 8).unwrap();
        let name = text(&tar[at..at + 100]);
        let (folder, file) = name.split_once('/').expect("all in one folder");
        assert!(folder.starts_with("spine-support-"), "{name}");
        found.insert(file.to_owned(), text(&tar[at + 512..at + 512 + size]));
        at += 512 + size.next_multiple_of(512);
    }
    found
}

pub fn watching(node: &Served) {
    // Not a terminal: one sample.
    let shown = node.run(&["top"]).ok().out;
    for head in [
        "node 1 (",
        "requests/s: ",
        "messages/s: ",
        "no troubles",
        "SERVICE",
        "PARTITION",
        "SLOWEST INTERACTION",
        "PARTY",
    ] {
        assert!(shown.contains(head), "{head}: {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80 && !line.contains('\u{1b}')), "{shown}");
    let told = node.run(&["top", "--once", "--output", "json"]).ok().json();
    assert_eq!((&told["kind"], &told["partitions"][1]["leader"]), (&"Top".into(), &1.into()), "{told}");
    assert!(told["seconds"].as_f64().unwrap() >= 0.9, "{told}");
    // The certificate check of this test shook hands and asked for nothing: nobody has come.
    assert_eq!(node.run(&["party", "top", "--output", "json"]).ok().json()["kind"], "BusiestParties");
    node.run(&["top", "--interval", "0"]).failed(2);
    bundled(node);
}

fn bundled(node: &Served) {
    let ran = node.run(&["support-bundle", "--output-file", "b.tar.gz", "--output", "json"]).ok();
    let told = ran.json();
    assert_eq!(told["kind"], "SupportBundle");
    let files = opened(&node.dir.path().join("b.tar.gz"));
    for file in ["INDEX", "config.txt", "metrics.txt", "status.json", "cluster.json", "doctor.json", "versions.txt"] {
        assert!(files.get(file).is_some_and(|text| text.len() > 20), "{file}: {:?}", files.keys());
    }
    assert!(files["INDEX"].contains("no patient data"), "{}", files["INDEX"]);
    assert!(files["log.jsonl"].contains("\"event\":\"node.open\""), "the file that the node writes its log to");
    assert!(files["config.txt"].contains("shared-key\"   # ") && files["data-folder.txt"].contains(" identity.json"));
    assert!(files["metrics.txt"].contains("# HELP spine_requests_total"));
    let all = files.values().cloned().collect::<Vec<_>>().join("\n");
    // The shared key, every key's file, and the mailboxes' password.
    for secret in ["TestKey", "PRIVATE KEY", "s3cret"] {
        assert!(!all.contains(secret), "{secret} is in the bundle");
    }
    let again = node.run(&["support-bundle", "--output-file", "b.tar.gz"]).failed(5);
    assert!(again[1].contains("nothing is overwritten"), "{again:?}");
}

/// The node is down: what the machine tells is there, the rest is named.
pub fn bundled_of_a_dead_node(dir: &Path) {
    let ran = spine(dir, &["support-bundle"]);
    let out = ran.out.clone();
    let [what, _, fix, code] = ran.failed(3);
    assert!(what.contains("only of the machine") && fix.contains("systemctl status spine"), "{what} {fix}");
    assert!(code.starts_with("SPN-2019") && out.contains("status.json") && out.contains("not had: "), "{out}");
    let name = out.lines().last().unwrap();
    let files = opened(&dir.join(name));
    assert!(files["config.txt"].contains("node.number = 1") && !files.contains_key("status.json"));
    assert!(
        files["INDEX"].lines().any(|l| l.starts_with("status.json ") && l.contains("not had: ")),
        "{}",
        files["INDEX"]
    );
    assert!(files["doctor.json"].contains("supplier.listen"), "its ports are looked at");
}

#[test]
fn a_machine_whose_configuration_is_broken_has_a_bundle_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("spine.toml"), "[mesh]\nno_such_key = 1\n").unwrap();
    let ran = Ran::of(command(dir.path(), &["support-bundle", "--output-file", "b.tar.gz"]).output().unwrap());
    assert_eq!(ran.code, 3, "{}", ran.err);
    let files = opened(&dir.path().join("b.tar.gz"));
    assert!(files["INDEX"].contains("no_such_key") && files.contains_key("kernel.txt"), "{}", files["INDEX"]);
}

#[test]
fn top_of_a_node_that_is_down_exits_4() {
    let dir = tempfile::tempdir().unwrap();
    for noun in [&["top"][..], &["party", "top"]] {
        let [_, why, ..] = spine(dir.path(), &[noun, &["--socket", "none.sock"]].concat()).failed(4);
        assert!(why.contains("none.sock"), "{why}");
    }
}
