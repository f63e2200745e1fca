//! `spine upgrade` against a node that runs, and one that does not.

use crate::{node::Served, support::spine};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn result(told: &Value, check: &str) -> Value {
    let items = told["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["check"] == check);
    found.unwrap_or_else(|| panic!("{check} in {told}"))["result"].clone()
}

/// A site of one node for tests: it may restart, and is told what that costs. Nothing is to be raised at level 1.
pub fn upgrading(node: &Served) {
    let told = node.run(&["upgrade", "check", "--output", "json"]).ok().json();
    assert_eq!(told["kind"], "UpgradeCheck");
    for check in ["configuration", "release", "level", "data", "members", "ready", "leaders", "in step", "deliveries"] {
        assert_eq!(result(&told, check), "PASS", "{check}");
    }
    assert_eq!((result(&told, "majority"), result(&told, "backup")), (json!("WARN"), json!("WARN")));
    // The files as they are, read by the program that is installed.
    let config = node.dir.path().join("spine.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}[nonsense]\nkey = 1\n")).unwrap();
    let socket = node.dir.path().join("admin.sock").display().to_string();
    let [_, why, ..] = node.run(&["upgrade", "check", "--socket", &socket]).failed(5);
    assert!(why.contains(" checks failed"), "{why}");
    fs::write(&config, good).unwrap();

    let told = node.run(&["upgrade", "finalise", "--output", "json"]).ok().json();
    assert_eq!((&told["level"], &told["before"], &told["changed"]), (&json!(1), &json!(1), &json!(false)));
    node.run(&["upgrade", "finalise", "--yes"]).ok();
    node.run(&["upgrade", "finalise", "--yes", "--strict"]).failed(7);
}

pub fn of_a_dead_node(dir: &Path) {
    let [what, _, _, code] = spine(dir, &["upgrade", "check"]).failed(5);
    assert!(what.contains("should not go on") && code.contains("SPN-2122"), "{what} {code}");
    spine(dir, &["upgrade", "finalise", "--yes"]).failed(4);
}
