//! Sites whose nodes are set up and started by hand, each in a folder of its own: what operators do, and get wrong.

use crate::support::{Ran, command, free_address, spine};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// How long a condition may take on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until it is so.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A node in its folder; killed when the test ends.
pub struct Node {
    pub dir: PathBuf,
    child: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    /// Writes the configuration of a node that was not there before. `common` holds what all nodes share.
    pub fn configure(dir: PathBuf, common: &Path, number: u16) -> Node {
        fs::create_dir_all(&dir).unwrap();
        let ports = [(); 3].map(|()| free_address());
        let port = |n: usize| ports[n];
        let (own, shared) =
            (|name: &str| dir.join(name).display().to_string(), |name: &str| common.join(name).display().to_string());
        let text = format!(
            "[site]\nenvironment = \"test\"\n[node]\nnumber = {number}\nname = \"lab-{number}\"\ndata = \"{}\"\n\
             [supplier]\nlisten = \"{}\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n\
             [peer]\nlisten = \"{}\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\nca_key = \"{}\"\n\
             [ops]\nlisten = \"{}\"\n[admin]\nsocket = \"{}\"\n[mesh]\nshared_key_file = \"{}\"\n\
             [log]\nsegment = \"1MiB\"\n[disk]\nreserve = \"16MiB\"\n",
            own("data"),
            port(0),
            shared("supplier-ca.pem"),
            shared("server.pem"),
            shared("server-key.pem"),
            port(1),
            own("tls/ca.pem"),
            own("tls/cert.pem"),
            own("tls/key.pem"),
            own("tls/ca-key.pem"),
            port(2),
            own("admin.sock"),
            shared("shared-key"),
        );
        fs::write(dir.join("spine.toml"), text).unwrap();
        Node { dir, child: None }
    }

    /// A node whose folder is there already.
    pub fn at(dir: PathBuf) -> Node {
        Node { dir, child: None }
    }

    /// The running process.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.as_ref().expect("it was started").id() as i32)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        spine(&self.dir, args)
    }

    /// Replaces a part of the configuration.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.dir.join("spine.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(file, text.replace(from, to)).unwrap();
    }

    /// Sets the node's clock: so many milliseconds ahead of the machine's.
    pub fn set_clock(&self, ahead: i64) {
        let (file, new) = (self.clock_file(), self.dir.join("clock.new"));
        fs::write(&new, ahead.to_string()).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn clock_file(&self) -> PathBuf {
        self.dir.join("clock")
    }

    pub fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut serve = command(&self.dir, &["serve"]);
        serve.env("SPINE_TEST_CLOCK_FILE", self.clock_file());
        let errors = log.try_clone().unwrap();
        self.child = Some(serve.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().unwrap());
    }

    #[track_caller]
    pub fn start_ready(&mut self) {
        self.start();
        let deadline = Instant::now() + PATIENCE;
        while !self.ready() {
            let over = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(over.is_none(), "{over:?}\n{}", self.log());
            let status = || self.run(&["status"]).out;
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for a node\n{}\n{}", self.log(), status());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Starts a node that must not start; what it said.
    #[track_caller]
    pub fn refused(&self) -> [String; 4] {
        let mut serve = command(&self.dir, &["serve", "--until-stdin-closes"]);
        let serve = serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        // One that has started all the same stops when its stdin is closed.
        Ran::of(child.wait_with_output().unwrap()).failed(5)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub fn status(&self) -> Option<Value> {
        let told = self.run(&["status", "--output", "json"]);
        serde_json::from_str::<Value>(&told.out).ok().filter(|told| told["kind"] == "Status")
    }

    pub fn ready(&self) -> bool {
        self.status().is_some_and(|told| told["node"]["ready"] == true)
    }

    /// Partitions that it leads, as it sees it.
    pub fn leads(&self, number: u16) -> Option<usize> {
        let told = self.status()?;
        let all = told["partitions"].as_array()?;
        Some(all.iter().filter(|p| p["leader"] == number).count())
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{}", self.log());
    }

    /// Waits until it ends by itself; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it was started");
        let mut code = None;
        until("the node to end", || child.try_wait().unwrap().inspect(|status| code = status.code()).is_some());
        code
    }
}

/// Every file of a folder with its bytes.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, vec![]);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// Whether a folder is as it was, byte for byte; names what is not.
#[track_caller]
pub fn assert_untouched(folder: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let after = contents(folder);
    let changed = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let all: Vec<&PathBuf> = before.keys().chain(after.keys()).filter(changed).collect();
    assert!(all.is_empty(), "touched: {all:?}");
}

/// Makes what all nodes of a site share: the suppliers' certificates and the key of MESH.
pub fn common(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    spine(dir, &["cert", "ca", "--out", "supplier-ca"]).ok();
    let server = ["cert", "issue", "--ca", "supplier-ca.pem", "--for", "server", "--name", "localhost"];
    spine(dir, &[&server[..], &["--san", "127.0.0.1", "--out", "server"]].concat()).ok();
    fs::write(dir.join("shared-key"), "TestKey").unwrap();
}

/// A site of one node that has run and is stopped.
pub fn one(dir: &Path) -> Node {
    let shared = dir.join("common");
    common(&shared);
    let mut node = Node::configure(dir.join("1"), &shared, 1);
    node.run(&["init", "--partitions", "1"]).ok();
    node.start_ready();
    node.run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    node.stop();
    node
}

/// A site of three nodes, all ready and voting.
pub fn three(dir: &Path) -> Vec<Node> {
    let shared = dir.join("common");
    common(&shared);
    let mut nodes = vec![Node::configure(dir.join("1"), &shared, 1)];
    nodes[0].run(&["init", "--partitions", "2"]).ok();
    nodes[0].start_ready();
    for number in 2..=3u16 {
        let mut node = Node::configure(dir.join(number.to_string()), &shared, number);
        let token = nodes[0].run(&["cluster", "invite", "--number", &number.to_string(), "--quiet"]).ok().out;
        node.run(&["join", token.trim()]).ok();
        node.start_ready();
        nodes.push(node);
    }
    until("all to vote", || {
        let told = nodes[0].status();
        told.is_some_and(|told| {
            let all = told["partitions"].as_array().cloned().unwrap_or_default();
            all.len() == 3 && all.iter().all(|p| p["voters"].as_array().is_some_and(|v| v.len() == 3))
        })
    });
    nodes
}
