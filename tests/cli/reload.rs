//! A running node takes changed files, all or nothing, and says what it took and what waits (rule 2 of operations.md).

use crate::node::Served;
use serde_json::{Value, json};
use std::fs;

/// Whom the suppliers' listener shows itself as.
fn shown(node: &Served) -> Value {
    let listen = node.run(&["status", "--output", "json"]).json()["node"]["supplier"].as_str().unwrap().to_owned();
    let ask = ["cert", "check", &listen, "--ca", "supplier-ca.pem", "--cert", "looker.pem", "--key", "looker-key.pem"];
    node.run(&[&ask[..], &["--output", "json"]].concat()).ok().json()["common_name"].clone()
}

pub fn reloading(node: &Served) {
    let dir = node.dir.path();
    let drop_in = dir.join("conf.d/50-test.toml");
    fs::create_dir_all(dir.join("conf.d")).unwrap();
    let issue = |purpose: &str, name: &str| {
        let ask = ["cert", "issue", "--ca", "supplier-ca.pem", "--for", purpose, "--name", name, "--out", name];
        node.run(&[&ask[..], &["--san", "127.0.0.1"]].concat()).ok();
    };
    issue("client", "looker");
    issue("server", "renewed");
    assert_eq!(shown(node), "localhost");
    assert_eq!(node.run(&["config", "diff", "--output", "json"]).ok().json()["items"], json!([]));

    // A mistake is told with its line, and leaves everything as it was.
    fs::write(&drop_in, "[supplier]\nrate = 7\ncrtt = \"x\"\n").unwrap();
    node.run(&["config", "reload"]).failed(1);
    let [what, why, fix, code] = node.run(&["config", "reload", "--wait", "--socket", "admin.sock"]).failed(1);
    assert!(what.contains("old one stays") && why.contains("50-test.toml:3"), "{what}: {why}");
    assert!(!fix.is_empty() && code.starts_with("SPN-2005"), "{fix} {code}");
    // Files that are named rightly and cannot be used: likewise, and no listener takes half of it.
    let certificate = |file: &str| format!("cert = \"{0}.pem\"\nkey = \"{0}-key.pem\"\n", dir.join(file).display());
    fs::write(&drop_in, format!("[supplier]\nrate = 7\n{}", certificate("nobody"))).unwrap();
    let [_, why, _, code] = node.run(&["config", "reload"]).failed(1);
    assert!(why.contains("nobody.pem") && code.starts_with("SPN-3001"), "{why} {code}");
    assert_eq!(shown(node), "localhost");
    let metrics = node.run(&["config", "diff", "--output", "json"]).ok().json();
    assert_eq!(metrics["items"].as_array().unwrap().len(), 3, "nothing of it was taken: {metrics}");

    fs::write(&drop_in, format!("[supplier]\nrate = 7\n{}", certificate("renewed"))).unwrap();
    let told = node.run(&["config", "reload", "--output", "json"]).ok().json();
    assert_eq!(
        (&told["taken"], &told["waiting"]),
        (&json!(["supplier.cert", "supplier.key"]), &json!(["supplier.rate"]))
    );
    assert_eq!(shown(node), "renewed", "the next handshake shows it");
    let left = node.run(&["config", "diff", "--output", "json"]).ok().json();
    let left = left["items"].as_array().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0]["key"], &left[0]["takes"]), (&json!("supplier.rate"), &json!("restart")));
    // What was taken is watched from now on, too: a reload finds the files where they are.
    fs::remove_file(&drop_in).unwrap();
    let told = node.run(&["config", "reload"]).ok();
    assert!(told.out.contains("supplier.cert, supplier.key"), "{}", told.out);
    assert_eq!(shown(node), "localhost");
}
