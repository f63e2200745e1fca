//! One node, run as an operator would by hand: init, serve, register, look, stop.

use crate::support::{Ran, command, free_address, spine, spine_with};
use serde_json::json;
use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// A serving node; killed when the test ends.
pub struct Served {
    pub dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    pub fn start() -> Served {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        spine(dir.path(), &["cert", "ca", "--out", "supplier-ca"]).ok();
        let server = ["cert", "issue", "--ca", "supplier-ca.pem", "--for", "server", "--name", "localhost"];
        spine(dir.path(), &[&server[..], &["--san", "127.0.0.1", "--out", "server"]].concat()).ok();
        fs::write(dir.path().join("shared-key"), "TestKey").unwrap();
        spine(dir.path(), &["init", "--partitions", "1"]).ok();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut serve = command(dir.path(), &["serve", "--until-stdin-closes"]);
        let child = serve.stdin(Stdio::piped()).stdout(log).stderr(Stdio::null()).spawn().unwrap();
        let served = Served { dir, child };
        let deadline = Instant::now() + Duration::from_secs(60);
        while served.run(&["status"]).code != 0 {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(served.dir.path().join("log")).unwrap());
            std::thread::yield_now();
        }
        served
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        spine(self.dir.path(), args)
    }
}

fn configure(dir: &Path) {
    let ports = [(); 3].map(|()| free_address());
    let port = |n: usize| ports[n];
    let path = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "[site]\nenvironment = \"test\"\n[node]\ndata = \"{}\"\n\
         [supplier]\nlisten = \"{}\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n\
         [peer]\nlisten = \"{}\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\nca_key = \"{}\"\n\
         [ops]\nlisten = \"{}\"\n[admin]\nsocket = \"{}\"\n[mesh]\nshared_key_file = \"{}\"\n\
         [log]\nsegment = \"1MiB\"\n[disk]\nreserve = \"16MiB\"\n",
        path("data"),
        port(0),
        path("supplier-ca.pem"),
        path("server.pem"),
        path("server-key.pem"),
        port(1),
        path("tls/ca.pem"),
        path("tls/cert.pem"),
        path("tls/key.pem"),
        path("tls/ca-key.pem"),
        port(2),
        path("admin.sock"),
        path("shared-key"),
    );
    fs::write(dir.join("spine.toml"), text).unwrap();
}

#[test]
fn a_node_is_made_filled_looked_at_and_stopped_by_commands_alone() {
    let mut node = Served::start();
    registers(&node);
    imports(&node);
    looking(&node);
    from_elsewhere(&node);
    crate::reload::reloading(&node);
    crate::watched::watching(&node);
    crate::upgrade::upgrading(&node);
    let pid = nix::unistd::Pid::from_raw(node.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(node.child.wait().unwrap().code(), Some(0), "SIGTERM ends with 0");
    assert!(!node.dir.path().join("admin.sock").exists());
    let log = fs::read_to_string(node.dir.path().join("log")).unwrap();
    assert!(log.contains("node.stopped"), "{log}");
    assert!(!log.contains("s3cret"), "no password in the log");
    crate::watched::bundled_of_a_dead_node(node.dir.path());
    crate::upgrade::of_a_dead_node(node.dir.path());
}

fn registers(node: &Served) {
    let added = node.run(&["party", "add", "X26", "--name", "Clinic", "--output", "json"]).ok().json();
    assert_eq!((&added["outcome"], &added["ods"]), (&json!("added"), &json!("X26")));
    node.run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    node.run(&["party", "add", "X26", "--name", "Clinic", "--strict"]).failed(7);
    let [_, _, fix, _] = node.run(&["party", "add", "X26", "--name", "Other"]).failed(5);
    assert!(fix.contains("spine party set X26"), "{fix}");
    node.run(&["party", "set", "X26", "--asid", "200000000001", "--party-key", "X26-1", "--cert", "server.pem"]).ok();
    let party = node.run(&["party", "show", "X26", "--output", "json"]).ok().json();
    assert_eq!(party["systems"][0]["party_key"], "X26-1");
    emergency(node);

    let dry = ["mailbox", "add", "X26HC001", "--ods", "X26", "--name", "LAB", "--password-file", "-", "--dry-run"];
    let told = spine_with(node.dir.path(), &[&dry[..], &["--output", "json"]].concat(), "s3cret\n").ok().json();
    assert_eq!((&told["outcome"], &told["dry_run"]), (&json!("added"), &json!(true)));
    node.run(&["mailbox", "show", "X26HC001"]).failed(6);
    spine_with(node.dir.path(), &dry[..dry.len() - 1], "s3cret\n").ok();
    let told = node.run(&["mailbox", "show", "x26hc001", "--output", "json"]).ok().json();
    assert_eq!((&told["name"], &told["active"]), (&json!("LAB"), &json!(true)));
    assert!(told.get("password").is_none(), "a password is never shown");
    let [what, ..] = node.run(&["mailbox", "add", "X26HC002", "--ods", "X26"]).failed(2);
    assert!(what.contains("X26HC002"), "a mailbox without a password is refused: {what}");
    node.run(&["mailbox", "disable", "X26HC001"]).ok();
    assert_eq!(node.run(&["mailbox", "show", "X26HC001", "--output", "json"]).ok().json()["active"], false);
    node.run(&["mailbox", "set", "X26HC001", "--enable"]).ok();
    let [what, ..] = node.run(&["workflow", "set", "W", "--sender", "X26HC001"]).failed(6);
    assert_eq!(what, "there is no workflow W");
    node.run(&["workflow", "add", "W", "--sender", "X26HC001", "--receiver", "X26HC001"]).ok();
    assert_eq!(node.run(&["workflow", "list", "--quiet"]).ok().out, "W\n");
}

/// Emergency care is a mark of a system or an application, which stays while other things change.
fn emergency(node: &Served) {
    let system = |word| ["party", "set", "X26", "--asid", "200000000001", "--emergency", word];
    let shown = || node.run(&["party", "show", "X26", "--output", "json"]).ok().json()["systems"][0].clone();
    assert_eq!(shown()["emergency"], false);
    node.run(&system("on")).ok();
    node.run(&["party", "set", "X26", "--asid", "200000000001", "--party-key", "X26-1"]).ok();
    let system_shown = shown();
    assert_eq!((&system_shown["emergency"], &system_shown["party_key"]), (&json!(true), &json!("X26-1")));
    assert_eq!(system_shown["certificates"].as_array().unwrap().len(), 1);
    node.run(&system("off")).ok();
    assert_eq!(shown()["emergency"], false);
    node.run(&["party", "set", "X26", "--emergency", "on"]).failed(2);

    let app = |word| ["app", "set", "my-app-0001", "--emergency", word];
    node.run(&app("on")).failed(6);
    node.run(&["app", "add", "my-app-0001", "--name", "Ambulances", "--ods", "X26", "--emergency", "on"]).ok();
    node.run(&["app", "set", "my-app-0001", "--quota", "50"]).ok();
    let told = node.run(&["app", "show", "my-app-0001", "--output", "json"]).ok().json();
    assert_eq!((&told["emergency"], &told["quota"]), (&json!(true), &json!(50)));
    assert!(node.run(&["app", "list"]).ok().out.contains("EMERGENCY"));
    node.run(&[&app("off")[..], &["--dry-run"]].concat()).ok();
    assert_eq!(node.run(&["app", "show", "my-app-0001", "--output", "json"]).ok().json()["emergency"], true);
    node.run(&app("off")).ok();
    assert_eq!(node.run(&["app", "show", "my-app-0001", "--output", "json"]).ok().json()["emergency"], false);
    node.run(&app("perhaps")).failed(2);
    let found = node.run(&["audit", "search", "--object", "my-app-0001", "--output", "json"]).ok().json();
    assert_eq!(found["items"].as_array().unwrap().len(), 3, "added, and changed twice: {found}");
}

fn imports(node: &Served) {
    let file = node.dir.path().join("boxes.csv");
    fs::write(&file, "id,name,ods,password\nX26HC010,Ten,X26,s3cret\nX26HC011,Eleven,X26,s3cret\n").unwrap();
    let told = node.run(&["mailbox", "import", "boxes.csv", "--dry-run", "--output", "json"]).ok().json();
    assert_eq!((&told["outcomes"]["added"], &told["dry_run"]), (&json!(2), &json!(true)));
    node.run(&["mailbox", "show", "X26HC010"]).failed(6);
    node.run(&["mailbox", "import", "boxes.csv"]).ok();
    let again = node.run(&["mailbox", "import", "boxes.csv", "--output", "json"]).ok().json();
    assert_eq!(again["outcomes"]["same"], 2, "repeating changes nothing: {again}");
    // A mistake on the last line changes nothing of the first.
    fs::write(&file, "id,name,ods,password\nX26HC012,Twelve,X26,s3cret\nX26HC013,Bad,,\n").unwrap();
    let [what, ..] = node.run(&["mailbox", "import", "boxes.csv"]).failed(2);
    assert!(what.contains("X26HC013"), "{what}");
    node.run(&["mailbox", "show", "X26HC012"]).failed(6);
    fs::write(&file, "id,name\nX26HC014\n").unwrap();
    let [_, why, ..] = node.run(&["mailbox", "import", "boxes.csv"]).failed(2);
    assert!(why.contains("line 2"), "{why}");
}

/// Nothing is undeliverable here; what is asked for anyway is said in words and exit codes.
fn undelivered(node: &Served) {
    let status = node.run(&["status", "--output", "json"]).ok().json();
    assert_eq!(status["outbox"], json!({"waiting": 0, "oldest_seconds": 0, "dead_letters": 0}));
    assert_eq!(node.run(&["outbox", "--output", "json"]).ok().json()["items"], json!([]));
    node.run(&["outbox", "retry", "--all"]).ok();
    let [what, _, fix, _] = node.run(&["outbox", "retry", "1.0.5"]).failed(6);
    assert!(what.contains("1.0.5") && fix.contains("spine outbox list"), "{what} {fix}");
    node.run(&["outbox", "drop", "1.0.5", "--yes"]).failed(6);
    let [_, why, ..] = node.run(&["outbox", "drop", "one"]).failed(2);
    assert!(why.contains("2.1.17"), "{why}");
    node.run(&["outbox", "drop"]).failed(2);
    let [_, why, ..] = node.run(&["outbox", "drop", "--all"]).failed(5);
    assert!(why.contains("--yes"), "{why}");
}

/// Who names only the socket is told of the files and folders that the node runs with, not of the machine's own.
fn from_elsewhere(node: &Served) {
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = node.dir.path().join("admin.sock").display().to_string();
    let run = |args: &[&str]| spine(elsewhere.path(), &[args, &["--socket", &socket, "--output", "json"]].concat());
    let found = |check: &str| {
        let told = run(&["doctor"]).json();
        let items = told["items"].as_array().unwrap().clone();
        let found = items.into_iter().find(|f| f["check"] == check).unwrap_or_else(|| panic!("{check}: {told}"));
        (found["result"].as_str().unwrap().to_owned(), found["found"].as_str().unwrap().to_owned())
    };
    let file = node.dir.path().join("spine.toml");
    let said = fs::read_to_string(&file).unwrap();
    assert_eq!(found("configuration"), ("OK".into(), format!("the node runs with {}", file.display())));
    assert!(found("data folder").1.contains(node.dir.path().to_str().unwrap()), "{:?}", found("data folder"));
    // The test wrote that key for everyone to read.
    assert!(found("file modes").1.contains(node.dir.path().join("shared-key").to_str().unwrap()));
    for check in ["membership", "peer certificate", "supplier certificate", "node", "deliveries"] {
        assert_eq!(found(check).0, "OK", "{check}: {}", found(check).1);
    }
    let shown = run(&["config", "show", "node.data"]).ok().json();
    assert!(shown["items"][0]["origin"].as_str().unwrap().starts_with(file.to_str().unwrap()), "{shown}");
    let listed = run(&["cert", "list"]).ok().json();
    assert!(listed["items"][0]["file"].as_str().unwrap().starts_with(node.dir.path().to_str().unwrap()), "{listed}");
    fs::write(&file, format!("{said}[site2]\n")).unwrap();
    let (result, text) = found("configuration");
    assert!(result == "FAIL" && text.contains("unknown key site2"), "{text}");
    fs::write(&file, said.replace("16MiB", "17MiB")).unwrap();
    let (result, text) = found("configuration");
    assert!(result == "WARN" && text.contains("disk.reserve"), "{text}");
    fs::write(&file, said).unwrap();
}

fn looking(node: &Served) {
    let status = node.run(&["status", "--output", "json"]).ok().json();
    assert_eq!((&status["kind"], &status["node"]["ready"]), (&json!("Status"), &json!(true)));
    assert_eq!(status["partitions"].as_array().unwrap().len(), 2);
    assert!(node.run(&["cluster"]).ok().out.starts_with("PARTITION"));
    assert_eq!(node.run(&["cluster", "members", "--quiet"]).ok().out, "1\n");
    let whole = node.run(&["audit", "verify", "--output", "json"]).ok().json();
    assert_eq!(whole["ok"], true);
    let found = node.run(&["audit", "search", "--object", "X26HC001", "--output", "json"]).ok().json();
    let first = &found["items"][0];
    assert_eq!(first["interaction"], "directory.enable");
    assert!(first["who"].as_str().unwrap().starts_with("uid:"), "{first}");
    let hops = node.run(&["trace", first["correlation_id"].as_str().unwrap(), "--output", "json"]).ok().json();
    assert_eq!(hops["hops"].as_array().unwrap().len(), 1);
    node.run(&["trace", "nothing"]).failed(6);
    undelivered(node);
    let [_, why, ..] = node.run(&["node", "remove", "1", "--yes"]).failed(5);
    assert!(why.contains("no voter"), "{why}");
    let token = node.run(&["cluster", "invite", "--number", "2", "--quiet"]).ok().out;
    assert!(token.starts_with("spine1-"), "{token}");
    node.run(&["node", "drain"]).ok();
    node.run(&["node", "undrain"]).ok();
    // A TLS client without a certificate is refused, and told so.
    let listen = status["node"]["supplier"].as_str().unwrap().to_owned();
    let [_, why, fix, _] = node.run(&["cert", "check", &listen]).failed(1);
    assert!(why.contains("client certificate") && fix.contains("--cert"), "{why} {fix}");
}
