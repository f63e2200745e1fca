//! A site of real processes: `spine demo` in a folder of its own, and the hands that break it: kill, wipe, start, join.

use super::{ballast::Disk, wires::Wires};
use nix::sys::signal::Signal;
use serde_json::Value;
use spine::cli::bench::site::{Site, Target};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// How long a condition may take before the test fails, on a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test: `SPINE_BIN`, or what cargo built beside this test.
pub fn program() -> PathBuf {
    std::env::var_os("SPINE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_spine").into(), PathBuf::from)
}

/// An earlier release, or a build of an earlier commit, to run beside the program under test: `SPINE_OLD_BIN`.
pub fn old_program() -> Option<PathBuf> {
    std::env::var_os("SPINE_OLD_BIN").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Asks again and again until the answer is there; fails with `what` after [`PATIENCE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// As [`wait_for`], of what `act` brings about, once it can be done, and again after each `every` that brought nothing.
pub fn wait_acting(what: &str, every: Duration, mut act: impl FnMut() -> bool, mut done: impl FnMut() -> bool) {
    let mut acted: Option<Instant> = None;
    wait_for(what, || {
        if acted.is_none_or(|at| at.elapsed() >= every) && act() {
            acted = Some(Instant::now());
        }
        done().then_some(())
    });
}

/// What a site under test is like.
#[derive(Clone, Copy, Default)]
pub struct Plan {
    pub partitions: u16,
    /// A node that dies is started again after a second, as systemd would.
    pub restarts: bool,
    /// Configuration of all nodes.
    pub set: &'static [&'static str],
    /// Every node's data lies on a disk of its own of so many MiB. Ask [`super::ballast::may_mount`] first.
    pub disk_mib: Option<u64>,
    /// What nodes say to each other passes through [`Wires`].
    pub wired: bool,
    /// The site is made and run by the earlier program. Ask [`old_program`] first.
    pub old: bool,
}

impl Plan {
    pub const fn of(partitions: u16) -> Plan {
        Plan { partitions, restarts: false, set: &[], disk_mib: None, wired: false, old: false }
    }
}

pub struct Demo {
    /// Taken away before the folder they lie in.
    disks: Vec<Disk>,
    folder: tempfile::TempDir,
    process: Child,
    port: u16,
    /// Nodes that the demo did not start itself.
    joined: Vec<Joined>,
    /// Nodes that are stopped for a while, and answer nobody.
    frozen: Mutex<BTreeSet<u64>>,
    wires: Option<Wires>,
    /// Processes of nodes that the demo does not look after any more.
    by_hand: BTreeMap<u64, Child>,
    /// Nodes that are gone for good; who joined goes on without them.
    lost: BTreeSet<u64>,
}

/// A node that joined by invitation: its number, folder and process.
struct Joined {
    id: u64,
    folder: PathBuf,
    process: Child,
}

impl Demo {
    /// Starts three nodes, and waits until the site is ready.
    pub fn start(plan: Plan) -> Demo {
        let folder = tempfile::tempdir().expect("a folder for the site");
        let data = |id: u64| folder.path().join(format!("node-{id}/data"));
        let disks = plan.disk_mib.map(|mib| (1..=3).map(|id| Disk::mount(data(id), mib)).collect());
        let port = free_ports();
        let wires = plan.wired.then(|| Wires::lay(folder.path(), port, 3));
        let log = File::create(folder.path().join("demo.log")).expect("a log file");
        let runs = if plan.old { old_program().expect("an earlier program") } else { program() };
        let process = Command::new(runs)
            .args(["demo", "--nodes", "3", "--port", &port.to_string()])
            .args((!plan.restarts).then_some("--no-restart"))
            // An earlier program knows nobody, and no such option.
            .args(if plan.old { &[][..] } else { &["--people", "0"][..] })
            .args(plan.set.iter().flat_map(|set| ["--set", set]))
            .args(["--partitions", &plan.partitions.to_string(), "--dir"])
            .arg(folder.path())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("spine starts");
        let disks = disks.unwrap_or_default();
        let mut demo = Demo {
            disks,
            folder,
            process,
            port,
            joined: vec![],
            frozen: Mutex::default(),
            wires,
            by_hand: BTreeMap::new(),
            lost: BTreeSet::new(),
        };
        wait_for("the demo to be ready", || {
            let over = demo.process.try_wait().ok().flatten();
            assert!(over.is_none(), "the demo ended: {over:?}\n{}", demo.log());
            demo.path().join("demo.json").exists().then_some(())
        });
        demo
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("demo.log")).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        let text = fs::read(self.path().join("demo.json")).expect("demo.json is there");
        serde_json::from_slice(&text).expect("demo.json is JSON")
    }

    fn node(&self, id: u64) -> Value {
        let nodes = self.json()["nodes"].as_array().cloned().unwrap_or_default();
        nodes.into_iter().find(|n| n["id"] == id).unwrap_or_else(|| panic!("demo.json names no node {id}"))
    }

    /// A path of demo.json, which may be relative to the demo's folder.
    pub fn within(&self, path: &Value) -> PathBuf {
        self.path().join(path.as_str().expect("a path"))
    }

    pub fn site(&self) -> Site {
        Site::of_demo(self.path(), "all").expect("demo.json can be read")
    }

    /// The nodes that the demo looks after; once it has lost some for good, those that are left, whoever they are.
    pub fn ids(&self) -> Vec<u64> {
        let nodes = self.json()["nodes"].as_array().cloned().unwrap_or_default();
        let all = nodes.iter().filter_map(|n| n["id"].as_u64()).filter(|id| !self.lost.contains(id));
        let joined = self.joined.iter().filter(|_| !self.lost.is_empty()).map(|joined| joined.id);
        all.chain(joined.filter(|id| !self.lost.contains(id))).collect()
    }

    /// From now on these nodes are no part of the site any more.
    pub fn lose(&mut self, ids: &[u64]) {
        self.lost.extend(ids);
    }

    /// Starts a lost node as it was, by hand; gives what it said when it has ended by itself.
    pub fn start_lost(&self, id: u64) -> String {
        let joined = self.joined.iter().find(|joined| joined.id == id);
        let folder = joined.map_or_else(|| self.path().join(format!("node-{id}")), |joined| joined.folder.clone());
        let log = folder.join("log-again");
        let mut process = serve(&program(), &folder.join("spine.toml"), &log);
        let ended = Instant::now() + PATIENCE;
        while process.try_wait().expect("a child").is_none() {
            if Instant::now() >= ended {
                let _ = process.kill();
                let _ = process.wait();
                panic!("node {id} goes on:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        fs::read_to_string(&log).unwrap_or_default()
    }

    /// kill -9 of a node that joined.
    pub fn kill_joined(&self, id: u64) {
        let joined = self.joined.iter().find(|joined| joined.id == id).expect("it has joined");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(joined.process.id()).expect("a process id"));
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("the node is there to be killed");
    }

    /// Starts a node again that joined and was killed.
    pub fn start_joined(&mut self, id: u64) {
        let joined = self.joined.iter_mut().find(|joined| joined.id == id).expect("it has joined");
        joined.process.wait().expect("it ends");
        joined.process = serve(&program(), &joined.folder.join("spine.toml"), &joined.folder.join("log"));
    }

    /// Runs an operator's command and gives its JSON; `None` where it fails.
    pub fn try_ask(&self, id: u64, command: &[&str]) -> Option<Value> {
        let output = Command::new(program())
            .args(command)
            .args(["--output", "json", "--socket"])
            .arg(self.socket(id))
            .stdin(Stdio::null())
            .output()
            .expect("spine starts");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
    }

    /// What an operator reads whose command a node does not carry out.
    pub fn refusal(&self, id: u64, command: &[&str]) -> Option<String> {
        let output =
            Command::new(program()).args(command).arg("--socket").arg(self.socket(id)).stdin(Stdio::null()).output();
        let output = output.expect("spine starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success() && told.contains("SPN-")).then_some(told)
    }

    /// The site as clients see it that know nodes which joined, and no others.
    pub fn site_of_joined(&self) -> (Site, Vec<PathBuf>) {
        let mut site = self.site();
        let ids: Vec<u64> = self.joined.iter().map(|joined| joined.id).collect();
        let first = site.targets[0].clone();
        let target = |id: &u64| {
            let port = self.port + 10 * (*id as u16 - 1);
            let address = std::net::SocketAddr::new(first.address.ip(), port);
            Target { address, name: first.name.clone(), authority: format!("localhost:{port}") }
        };
        site.targets = ids.iter().map(target).collect();
        (site, ids.into_iter().map(|id| self.socket(id)).collect())
    }

    pub fn sockets(&self) -> Vec<PathBuf> {
        self.ids().into_iter().map(|id| self.socket(id)).collect()
    }

    fn socket(&self, id: u64) -> PathBuf {
        match self.joined.iter().find(|joined| joined.id == id) {
            Some(joined) => joined.folder.join("admin.sock"),
            None => self.within(&self.node(id)["socket"]),
        }
    }

    /// The node that leads the partition, as a majority of the running nodes says.
    pub fn leader(&self, partition: u64) -> u64 {
        wait_for("a leader", || self.leader_now(partition))
    }

    fn leader_now(&self, partition: u64) -> Option<u64> {
        let says = |id: &u64| {
            let told = self.try_ask(*id, &["cluster", "status"])?;
            let of = told["partitions"].as_array()?.iter().find(|p| p["partition"] == partition)?.clone();
            of["leader"].as_u64()
        };
        let votes: Vec<u64> = self.awake().iter().filter_map(says).collect();
        let best = votes.iter().max_by_key(|id| votes.iter().filter(|v| v == id).count())?;
        (votes.iter().filter(|v| *v == best).count() >= 2).then_some(*best)
    }

    /// Nodes that are not frozen.
    fn awake(&self) -> Vec<u64> {
        let frozen = self.frozen.lock().expect("no test panicked with it");
        self.ids().into_iter().filter(|id| !frozen.contains(id)).collect()
    }

    /// The newest term of a partition that any node knows: it grows with every election.
    pub fn term(&self, partition: u64) -> u64 {
        let says = |id: u64| {
            let told = self.try_ask(id, &["cluster", "status"])?;
            told["partitions"].as_array()?.iter().find(|p| p["partition"] == partition)?["term"].as_u64()
        };
        wait_for("a node that knows a term", || self.awake().into_iter().filter_map(says).max())
    }

    /// What lies between the nodes, of a site that was planned with it.
    pub fn wires(&self) -> &Wires {
        self.wires.as_ref().expect("the plan says `wired`")
    }

    /// Stops a node in its tracks; its connections stay as they are.
    pub fn freeze(&self, id: u64) {
        self.frozen.lock().expect("no test panicked with it").insert(id);
        nix::sys::signal::kill(self.pid(id), Signal::SIGSTOP).expect("the node is there to be frozen");
    }

    pub fn thaw(&self, id: u64) {
        nix::sys::signal::kill(self.pid(id), Signal::SIGCONT).expect("the node is there to be thawed");
        self.frozen.lock().expect("no test panicked with it").remove(&id);
    }

    fn demo_command(&self, verb: &str, id: u64) {
        let status = Command::new(program())
            .args(["demo", verb, &id.to_string(), "--dir"])
            .arg(self.path())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .status()
            .expect("spine starts");
        assert!(status.success(), "spine demo {verb} {id}: {status}");
    }

    pub fn pid(&self, id: u64) -> nix::unistd::Pid {
        if let Some(process) = self.by_hand.get(&id) {
            return nix::unistd::Pid::from_raw(i32::try_from(process.id()).expect("a process id"));
        }
        let pid = self.node(id)["pid"].as_i64().expect("a process id");
        nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"))
    }

    /// Where the node keeps everything but its certificates.
    pub fn data(&self, id: u64) -> PathBuf {
        let data = self.within(&self.node(id)["data"]);
        assert!(data.starts_with(self.path()), "only below the test's own folder");
        data
    }

    /// The small disk that a node's data lies on.
    pub fn disk(&self, id: u64) -> &Disk {
        &self.disks[id as usize - 1]
    }

    /// kill -9, straight at the process.
    pub fn kill(&self, id: u64) {
        let pid = self.pid(id);
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("the node is there to be killed");
    }

    /// Kills a process that `harm` was done to while it stood still, so that none of its threads came upon the harm before.
    pub fn kill_after(&self, id: u64, harm: impl FnOnce(&Path)) {
        let pid = self.pid(id);
        nix::sys::signal::kill(pid, Signal::SIGSTOP).expect("the node is there to be held");
        harm(&self.data(id));
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("the node is there to be killed");
    }

    /// SIGTERM, and waits until the process is gone.
    pub fn stop(&self, id: u64) {
        let pid = self.pid(id);
        nix::sys::signal::kill(pid, Signal::SIGTERM).expect("the node is there to be stopped");
        wait_for("the node to stop", || gone(pid).then_some(()));
    }

    /// Stops a node, and starts it with another program from now on.
    pub fn exchange(&mut self, id: u64, program: &Path) {
        self.stop(id);
        self.exchange_stopped(id, program);
    }

    /// As [`Demo::exchange`], of one that was stopped before.
    pub fn exchange_stopped(&mut self, id: u64, program: &Path) {
        if let Some(mut old) = self.by_hand.remove(&id) {
            old.wait().expect("the node ends");
        }
        let folder = self.path().join(format!("node-{id}"));
        self.by_hand.insert(id, serve(program, &folder.join("spine.toml"), &folder.join("log")));
    }

    pub fn start_node(&self, id: u64) {
        self.demo_command("start", id);
    }

    /// Starts the node, and again whenever it ends by itself, until it is ready: as systemd would.
    pub fn start_and_keep(&self, id: u64) {
        wait_for("the node to be ready", || {
            self.start_if_gone(id);
            self.try_ask(id, &["status"]).map(drop)
        });
    }

    /// Starts the node where it has ended by itself.
    pub fn start_if_gone(&self, id: u64) {
        if gone(self.pid(id)) {
            self.start_node(id);
        }
    }

    /// Takes the node's data away. Its certificates lie elsewhere and stay.
    pub fn wipe(&self, id: u64) {
        fs::remove_dir_all(self.data(id)).expect("the data folder can be removed");
    }

    /// What a node says of the bytes that it keeps: `spine status`, section `damage`; and under which incarnation it runs.
    pub fn damage(&self, id: u64) -> Option<(Value, u64)> {
        let told = self.status(id)?;
        Some((told["damage"].clone(), told["node"]["incarnation"].as_u64()?))
    }

    /// What a node says is not as it should be: `spine status`.
    pub fn troubles(&self, id: u64) -> Vec<String> {
        let told = self.status(id).unwrap_or_default();
        let all = told["troubles"].as_array().into_iter().flatten();
        all.filter_map(|line| line.as_str().map(str::to_owned)).collect()
    }

    /// A metric without labels, as a node shows it now.
    pub fn metric(&self, id: u64, name: &str) -> Option<f64> {
        self.asked(id, "/metrics")?.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Whether a node says that it takes traffic; `None` where it does not answer.
    pub fn takes_traffic(&self, id: u64) -> Option<bool> {
        Some(self.asked(id, "/readyz")?.starts_with("HTTP/1.1 200"))
    }

    /// What `spine doctor` finds wrong with a node and its machine: result, check, what was found and what is to be done.
    pub fn findings(&self, id: u64) -> Vec<[String; 4]> {
        let output = Command::new(program())
            .args(["doctor", "--troubles", "--output", "json", "--socket"])
            .arg(self.socket(id))
            .stdin(Stdio::null())
            .output()
            .expect("spine starts");
        let told: Value = serde_json::from_slice(&output.stdout).expect("a report");
        let one = |item: &Value| {
            ["result", "check", "found", "fix"].map(|name| item[name].as_str().expect("text").to_owned())
        };
        told["items"].as_array().into_iter().flatten().map(one).collect()
    }

    /// Waits until `spine doctor` says of a check that it warns or fails, and gives what it found and what is to be done.
    #[track_caller]
    pub fn wait_finding(&self, id: u64, result: &str, check: &str) -> (String, String) {
        let found = wait_for(&format!("doctor to find {result} of {check} on node {id}"), || {
            self.findings(id).into_iter().find(|[is, of, ..]| is == result && of == check)
        });
        let [_, _, found, fix] = found;
        println!("doctor, node {id}: {result} {check}: {found} -> {fix}");
        assert!(fix.contains('`'), "what is to be done names a command: {fix}");
        (found, fix)
    }

    /// What a node answers scrapers and probes, head and all.
    fn asked(&self, id: u64, path: &str) -> Option<String> {
        let url = self.node(id)["metrics"].as_str()?.to_owned();
        let (host, _) = url.strip_prefix("http://")?.split_once('/')?;
        let mut connection = std::net::TcpStream::connect(host).ok()?;
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(connection, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// `spine status` of a node.
    pub fn status(&self, id: u64) -> Option<Value> {
        // Status exits with 3 while anything is not as it should be; what it says counts here.
        let output = Command::new(program())
            .args(["status", "--output", "json", "--socket"])
            .arg(self.socket(id))
            .stdin(Stdio::null())
            .output()
            .expect("spine starts");
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until every node answers a linearizable read and all replicas are in step.
    pub fn wait_ready(&self) {
        let ids = self.ids();
        wait_for("all nodes to be ready", || {
            ids.iter().all(|id| self.try_ask(*id, &["status"]).is_some()).then_some(())
        });
    }

    /// Invites, joins and starts another node with a configuration made from node 1's.
    pub fn join(&mut self, id: u64) {
        let invited = self.try_ask(1, &["cluster", "invite", "--number", &id.to_string()]).expect("an invitation");
        self.take_place(id, &invited, None);
    }

    /// As [`Demo::join`], of a node that stands in the site with this label.
    pub fn join_in(&mut self, id: u64, label: &str) {
        let invited = self.try_ask(1, &["cluster", "invite", "--number", &id.to_string()]).expect("an invitation");
        self.take_place(id, &invited, Some(label));
    }

    /// The configuration of the first node of another site, in a folder of its own, where clients of node 1 find it: that
    /// one must be stopped.
    pub fn new_site(&self, folder: &Path) -> PathBuf {
        let config = joining_config(self.path(), folder, 1, self.port);
        let text = fs::read_to_string(&config).expect("it was written");
        let mut table: toml::Table = text.parse().expect("it is TOML");
        let peer = table.get_mut("peer").and_then(toml::Value::as_table_mut).expect("a section");
        let key = folder.join("tls/peer-ca.key").to_string_lossy().into_owned();
        peer.insert("ca_key".into(), key.into());
        peer.insert("nodes".into(), toml::Value::Array(vec![]));
        fs::write(&config, table.to_string()).expect("it can be written");
        config
    }

    /// Takes a node that joined out of the site again, and then stops it.
    pub fn part_with(&mut self, id: u64) {
        self.try_ask(1, &["node", "remove", &id.to_string(), "--yes"]).expect("the node is taken out");
        let place = self.joined.iter().position(|joined| joined.id == id).expect("a node that joined");
        let mut gone = self.joined.remove(place);
        gone.process.kill().expect("the node runs");
        gone.process.wait().expect("the node ends");
    }

    /// Removes the dead node `id` and lets a new machine take its place and number. A node that runs is not replaced.
    pub fn replace(&mut self, id: u64) {
        let number = id.to_string();
        assert!(self.try_ask(1, &["node", "replace", "2", "--yes"]).is_none(), "node 2 answers and has a vote");
        let told = self.try_ask(1, &["node", "replace", &number, "--yes"]).expect("a replacement");
        self.take_place(id, &told, None);
    }

    fn take_place(&mut self, id: u64, told: &Value, label: Option<&str>) {
        let token = told["token"].as_str().expect("the invitation holds a token").to_owned();
        let folder = self.path().join(format!("joined-{id}"));
        let config = joining_config(self.path(), &folder, id, self.port + 10 * (id as u16 - 1));
        if let Some(label) = label {
            stand_in(&config, label);
        }
        let joined = Command::new(program())
            .args(["join", &token, "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .output()
            .expect("spine starts");
        assert!(joined.status.success(), "spine join: {}", String::from_utf8_lossy(&joined.stderr));
        let process = serve(&program(), &config, &folder.join("log"));
        self.joined.push(Joined { id, folder, process });
    }

    /// True when node `id` votes in every partition, as it says itself.
    pub fn votes(&self, id: u64) -> bool {
        let told = self.try_ask(id, &["cluster", "status"]).unwrap_or_default();
        let partitions = told["partitions"].as_array().cloned().unwrap_or_default();
        // Voters are told as number and incarnation: "4.1".
        let voter = format!("\"{id}.");
        let votes =
            |p: &Value| p["voters"].to_string().contains(&voter) && p["learners"].as_array().is_none_or(Vec::is_empty);
        !partitions.is_empty() && partitions.iter().all(votes)
    }

    /// The numbers of a partition's voters, as node 1 says.
    pub fn voters(&self, partition: u64) -> Option<Vec<u64>> {
        self.voters_by(1, partition)
    }

    /// As [`Demo::voters`], as another node says.
    pub fn voters_by(&self, asked: u64, partition: u64) -> Option<Vec<u64>> {
        let told = self.try_ask(asked, &["cluster", "status"])?;
        let of = told["partitions"].as_array()?.iter().find(|p| p["partition"] == partition)?.clone();
        let number = |id: &Value| id.as_str()?.split('.').next()?.parse().ok();
        let mut all: Vec<u64> = of["voters"].as_array()?.iter().filter_map(number).collect();
        all.sort_unstable();
        Some(all)
    }

    /// Up to which index a node has cut its own log of a partition.
    pub fn cut(&self, id: u64, partition: u64) -> Option<u64> {
        let told = self.try_ask(id, &["cluster", "status"])?;
        told["partitions"].as_array()?.iter().find(|p| p["partition"] == partition)?["cut"].as_u64()
    }

    /// The last entry in a node's log of a partition.
    pub fn last(&self, id: u64, partition: u64) -> Option<u64> {
        let told = self.try_ask(id, &["cluster", "status"])?;
        told["partitions"].as_array()?.iter().find(|p| p["partition"] == partition)?["last"].as_u64()
    }

    /// Whether a node's log of a partition holds more than a majority is known to have.
    pub fn is_ahead(&self, id: u64, partition: u64) -> Option<bool> {
        let told = self.try_ask(id, &["cluster", "status"])?;
        let of = told["partitions"].as_array()?.iter().find(|p| p["partition"] == partition)?.clone();
        Some(of["last"].as_u64()? > of["committed"].as_u64()?)
    }

    /// The rows' hash of every partition on a node, with the index at which it was taken.
    pub fn hashes(&self, id: u64) -> Option<Vec<(u64, u64, String)>> {
        let told = self.try_ask(id, &["cluster", "hashes"])?;
        let one = |p: &Value| Some((p["partition"].as_u64()?, p["index"].as_u64()?, p["hash"].as_str()?.to_owned()));
        told["partitions"].as_array()?.iter().map(one).collect()
    }

    /// Waits until all nodes are at the same index of each partition, and compares what they hold there.
    pub fn replicas_are_equal(&self) {
        let mut ids = self.ids();
        let joined = self.joined.iter().map(|joined| joined.id);
        ids.extend(joined.filter(|id| !ids.contains(id) && !self.lost.contains(id)).collect::<Vec<_>>());
        let all = wait_for("all nodes to be at one index", || {
            let all: Option<Vec<_>> = ids.iter().map(|id| self.hashes(*id)).collect();
            let all = all?;
            let indexes = |one: &Vec<(u64, u64, String)>| one.iter().map(|(p, i, _)| (*p, *i)).collect::<Vec<_>>();
            all.iter().all(|one| indexes(one) == indexes(&all[0])).then_some(all)
        });
        for (id, one) in ids.iter().zip(&all) {
            assert_eq!(one, &all[0], "node {id} holds other rows than node {}", ids[0]);
        }
    }

    /// The audit chain of every node is whole (P4).
    pub fn audit_is_whole(&self) {
        for id in self.ids() {
            assert!(self.try_ask(id, &["audit", "verify"]).is_some(), "the audit chain of node {id} is broken");
        }
    }
}

impl Demo {
    /// The last lines of a node's log that are not of daily life: what a failed test leaves to think about.
    fn complaints(&self, node: &str) {
        const LINES: usize = 25;
        let log = fs::read_to_string(self.path().join(format!("{node}/log"))).unwrap_or_default();
        let odd = log.lines().filter(|line| !line.contains("INFO") && !line.contains("\"info\""));
        let odd: Vec<&str> = odd.collect();
        eprintln!("{node} complained:\n  {}", odd[odd.len().saturating_sub(LINES)..].join("\n  "));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let joined = self.joined.drain(..).map(|joined| joined.process);
        for mut process in joined.chain(std::mem::take(&mut self.by_hand).into_values()) {
            let _ = process.kill();
            let _ = process.wait();
        }
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        let _ = nix::sys::signal::kill(pid, Signal::SIGINT);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && self.process.try_wait().is_ok_and(|over| over.is_none()) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the demo said:\n{}", self.log());
            for id in 1..=3 {
                self.complaints(&format!("node-{id}"));
            }
            for id in 4..=6 {
                self.complaints(&format!("joined-{id}"));
            }
        }
    }
}

/// A node's process that the demo does not look after.
pub fn serve(program: &Path, config: &Path, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log file");
    Command::new(program)
        .args(["serve", "--config"])
        .arg(config)
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .expect("spine starts")
}

/// Whether a process is over: gone, or a zombie that its parent has not looked at yet.
fn gone(pid: nix::unistd::Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// A port whose neighbours are free too: nodes lie ten apart and need a few each, and two more may join. Below those that
/// the kernel gives to connections, which would be taken by the time a node wants its own.
fn free_ports() -> u16 {
    const ROW: u16 = 50;
    let mut port = 15_000 + (std::process::id() % 340) as u16 * ROW;
    for _ in 0..500 {
        let held: Vec<_> = (port..port + ROW).map_while(|p| TcpListener::bind(("127.0.0.1", p)).ok()).collect();
        if held.len() == usize::from(ROW) {
            return port;
        }
        port = if port > 32_000 { 15_000 } else { port + ROW };
    }
    panic!("no {ROW} free ports in a row");
}

/// Writes a joining node's configuration: node 1's, with folders, ports and number of its own.
/// Says in a node's configuration in which site it stands.
fn stand_in(config: &Path, label: &str) {
    let text = fs::read_to_string(config).expect("the node's configuration");
    let mut table: toml::Table = text.parse().expect("it is TOML");
    let node = table.get_mut("node").and_then(toml::Value::as_table_mut).expect("a section");
    node.insert("site".into(), label.into());
    fs::write(config, table.to_string()).expect("it can be written");
}

fn joining_config(demo: &Path, folder: &Path, id: u64, port: u16) -> PathBuf {
    fs::create_dir_all(folder.join("tls")).expect("a folder for the node");
    let first = demo.join("node-1");
    let text = fs::read_to_string(first.join("spine.toml")).expect("node 1's configuration");
    let mut table: toml::Table = text.parse().expect("node 1's configuration is TOML");
    let mut set = |section: &str, key: &str, value: toml::Value| {
        let inner = table.entry(section).or_insert_with(|| toml::Table::new().into());
        inner.as_table_mut().expect("a section").insert(key.to_owned(), value);
    };
    let path = |name: &str| toml::Value::String(folder.join(name).to_string_lossy().into_owned());
    let address = |offset: u16| toml::Value::String(format!("127.0.0.1:{}", port + offset));
    set("node", "number", (id as i64).into());
    set("node", "name", toml::Value::String(format!("node-{id}")));
    set("node", "data", path("data"));
    set("supplier", "listen", address(0));
    set("peer", "listen", address(1));
    set("peer", "advertise", address(1));
    set("peer", "ca", path("tls/peer-ca.pem"));
    set("peer", "cert", path("tls/peer-cert.pem"));
    set("peer", "key", path("tls/peer-key.pem"));
    set("ops", "listen", address(2));
    set("api", "listen", address(3));
    set("ldap", "listen", address(4));
    set("admin", "socket", path("admin.sock"));
    let config = folder.join("spine.toml");
    fs::write(&config, table.to_string()).expect("the node's configuration");
    config
}
