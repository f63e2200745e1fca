//! Commands that need no node: configuration, certificates, init, and what is said where no node answers.

use crate::support::{Ran, command, free_address, spine};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

#[test]
fn a_wrong_key_is_named_with_file_line_and_the_key_meant() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/50-site.toml"), "[site]\nname = \"a\"\n\n[mesh]\ninbox_expirey = \"5d\"\n")
        .unwrap();
    let [what, why, fix, code] = spine(dir.path(), &["config", "check"]).failed(1);
    assert_eq!(what, "the configuration cannot be used");
    assert!(why.ends_with("conf.d/50-site.toml:5: unknown key mesh.inbox_expirey"), "{why}");
    assert_eq!(fix, "did you mean mesh.inbox_expiry?");
    assert!(code.starts_with("SPN-2005"));
    let ran = spine(dir.path(), &["config", "check", "--output", "json"]);
    assert_eq!(ran.json()["error"]["code"], "SPN-2005");
    assert_eq!(ran.json()["kind"], "Error");
}

/// A `systemctl` that says of every unit that it runs, or that it does not, before those of the machine.
fn with_systemctl(dir: &Path, runs: bool, args: &[&str]) -> Ran {
    let tools = dir.join("tools");
    fs::create_dir_all(&tools).unwrap();
    let script = format!("#!/bin/sh\n[ \"$1\" = is-active ] && exit {}\nexit 1\n", if runs { 0 } else { 3 });
    fs::write(tools.join("systemctl"), script).unwrap();
    fs::set_permissions(tools.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    Ran::of(command(dir, args).env("PATH", path).output().unwrap())
}

#[test]
fn a_running_node_that_does_not_answer_is_not_restarted_on_the_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let restart = ["node", "restart", "--dry-run", "--socket", "nobody.sock"];
    let [what, why, fix, code] = with_systemctl(dir.path(), true, &restart).failed(5);
    assert_eq!(what, "the running node does not answer on nobody.sock");
    assert!(
        why.contains("nobody.sock") && fix.contains("--force") && code.starts_with("SPN-2010"),
        "{why} {fix} {code}"
    );
    with_systemctl(dir.path(), true, &[&restart[..], &["--force"]].concat()).ok();
    with_systemctl(dir.path(), false, &restart).ok();
}

#[test]
fn every_value_knows_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("spine.toml"), "[mesh]\ninbox_expiry = \"2d\"\n").unwrap();
    let args = ["config", "show", "mesh", "--set", "mesh.test_endpoints=true", "--output", "json"];
    let told = spine(dir.path(), &args).ok().json();
    assert_eq!(told["kind"], "ConfigList");
    let items = told["items"].as_array().unwrap();
    let of = |key: &str| items.iter().find(|i| i["key"] == key).unwrap_or_else(|| panic!("{key}")).clone();
    assert!(of("mesh.inbox_expiry")["origin"].as_str().unwrap().ends_with("spine.toml:2"));
    assert_eq!(of("mesh.inbox_expiry")["value"], "\"2d\"");
    assert_eq!(of("mesh.test_endpoints")["origin"], "--set");
    assert_eq!(of("mesh.workflow_enforcement")["origin"], "default");
    // Test endpoints and a live site exclude each other.
    let [_, why, fix, _] = spine(dir.path(), &["config", "check", "--set", "mesh.test_endpoints=true"]).failed(1);
    assert!(why.contains("live") && fix.contains("site.environment"), "{why} {fix}");
    let [_, _, fix, _] = spine(dir.path(), &["config", "show", "--set", "mesh.inbox_expiry=5"]).failed(1);
    assert!(fix.contains("\"30s\""), "{fix}");
}

#[test]
fn a_drop_in_is_checked_before_it_is_put_in_place() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("new.toml"), "[raft]\nheartbeat = \"1s\"\n").unwrap();
    let [_, why, ..] = spine(dir.path(), &["config", "check", "--file", "new.toml"]).failed(1);
    assert!(why.contains("two heartbeats"), "{why}");
    spine(dir.path(), &["config", "check"]).ok();
}

#[test]
fn an_authority_issues_signs_lists_and_revokes() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| spine(dir.path(), args);
    run(&["cert", "ca", "--name", "Lab CA", "--out", "ca", "--dry-run"]).ok();
    assert!(!dir.path().join("ca.pem").exists(), "a dry run writes nothing");
    run(&["cert", "ca", "--name", "Lab CA", "--out", "ca"]).ok();
    let [_, why, ..] = run(&["cert", "ca", "--name", "Other", "--out", "ca"]).failed(5);
    assert!(why.contains("overwritten"), "{why}");
    let issue = ["cert", "issue", "--ca", "ca.pem", "--for", "client", "--name", "a.X26", "--out", "a"];
    run(&issue).ok();
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(dir.path().join("a-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "a key is nobody else's");
    let told = run(&["cert", "list", "a.pem", "ca.pem", "--output", "json"]).ok().json();
    assert_eq!(told["items"][0]["common_name"], "a.X26");
    assert_eq!(told["items"][0]["state"], "ok");
    assert_eq!(told["items"][1]["authority"], true);
    let revoke = ["cert", "revoke", "a.pem", "--ca", "ca.pem", "--crl", "ca.crl"];
    let serial = run(&revoke).ok().out;
    assert!(serial.contains("revoked"), "{serial}");
    run(&revoke).ok();
    run(&[&revoke[..], &["--strict"]].concat()).failed(7);
    let [what, ..] = run(&["cert", "list", "nothing.pem"]).failed(1);
    assert_eq!(what, "the file cannot be read");
}

#[test]
fn a_handshake_with_nobody_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    spine(dir.path(), &["cert", "ca", "--out", "ca"]).ok();
    let free = free_address();
    let [what, ..] = spine(dir.path(), &["cert", "check", &free.to_string(), "--ca", "ca.pem"]).failed(4);
    assert!(what.contains("handshake"), "{what}");
    let [_, _, fix, _] = spine(dir.path(), &["cert", "check", "example.com:443", "--ca", "ca.pem"]).failed(2);
    assert!(fix.contains("10.0.0.1:8443"), "names are not resolved: {fix}");
}

#[test]
fn init_is_done_once_and_repeating_it_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = format!(
        "[node]\ndata = \"{}\"\n[peer]\nadvertise = \"127.0.0.1:8441\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\nca_key = \"{}\"\n",
        path("data"),
        path("tls/ca.pem"),
        path("tls/cert.pem"),
        path("tls/key.pem"),
        path("tls/ca-key.pem"),
    );
    fs::write(dir.path().join("spine.toml"), text).unwrap();
    let run = |args: &[&str]| spine(dir.path(), args);
    let [_, _, fix, _] = run(&["init", "--set", "peer.advertise=0.0.0.0:8441"]).failed(1);
    assert!(fix.contains("peer.advertise"), "{fix}");
    run(&["init", "--dry-run"]).ok();
    assert!(!dir.path().join("tls").exists());
    let made = run(&["init", "--partitions", "2", "--output", "json"]).ok().json();
    assert_eq!((made["made"].as_bool(), made["partitions"].as_u64()), (Some(true), Some(2)));
    let again = run(&["init", "--output", "json"]).ok().json();
    assert_eq!((&again["made"], &again["cluster"]), (&serde_json::json!(false), &made["cluster"]));
    run(&["init", "--strict"]).failed(7);
    // A wiped node must not make a second site.
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    let [_, _, fix, _] = run(&["init"]).failed(5);
    assert!(fix.contains("spine serve"), "{fix}");
    let [what, ..] = run(&["join", "spine1-00"]).failed(5);
    assert_eq!(what, "this node already belongs to a site");
}

#[test]
fn where_no_node_answers_commands_exit_4_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for args in
        [&["status"][..], &["cluster"], &["mailbox", "list"], &["audit", "verify"], &["node", "drain"], &["outbox"]]
    {
        let socket = dir.path().join("none.sock").display().to_string();
        let [_, why, fix, code] = spine(dir.path(), &[args, &["--socket", &socket]].concat()).failed(4);
        assert!(why.contains("none.sock"), "{why}");
        assert!(fix.contains("Start the node"), "{fix}");
        assert!(code.starts_with("SPN-2003"), "{code}");
    }
    let data = format!("node.data={}", dir.path().join("data").display());
    let [_, _, fix, code] = spine(dir.path(), &["serve", "--set", &data]).failed(1);
    assert!(fix.contains("spine init") && code.starts_with("SPN-2014"), "{fix} {code}");
    let [what, ..] = spine(dir.path(), &["join", "not-a-token", "--set", &data]).failed(5);
    assert_eq!(what, "the token was not understood");
    let [what, ..] = spine(dir.path(), &["demo", "kill", "1", "--dir", "nowhere"]).failed(5);
    assert_eq!(what, "no demo runs in this folder");
}
