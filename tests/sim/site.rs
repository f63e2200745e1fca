//! A simulated site: machines whose processes are started, killed and started again as systemd would, on disks, wires
//! and clocks that can be broken. The rooms are the product's own, from log to engine.

use crate::service::Once;
use crate::trace::Trace;
use spine::consensus::{Consensus, Member, Options, RaftId, Status, promised, rejoin};
use spine::engine::draft::Decide;
use spine::engine::{Agreement, Applier, Engine, EngineOptions, PartitionId, Rows};
use spine::log::{Log, LogOptions};
use spine::node::data::{self, Data, DataOptions};
use spine::seam::net::{NodeNumber, Router};
use spine::seam::pace::Pace;
use spine::seam::sim::{SimWorld, net::SimNet};
use spine::store::{Store, StoreOptions};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub const DISK: u64 = 256 << 20;
/// Small segments, snapshots and logs, so that a run of some seconds goes through many.
const SEGMENT: u64 = 128 << 10;
const SNAPSHOT_AFTER: u64 = 48 << 10;
const KEEP: u64 = 24 << 10;
/// Free space below which writes are refused.
pub const SPARE: u64 = 8 << 20;
/// How long a wiped node asks for its next incarnation before it tries anew.
const REJOIN: Duration = Duration::from_secs(10);
/// What a supervisor waits before it starts a process again that could not start.
const AGAIN: Duration = Duration::from_millis(500);

/// A process's time from start to end.
pub struct Life {
    over: watch::Sender<bool>,
}

impl Life {
    pub fn alive(&self) -> bool {
        !*self.over.borrow()
    }
    async fn ended(&self) {
        // The sender is in this very struct.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }
}

/// The rooms of a process that is up.
#[derive(Clone)]
pub struct Running {
    pub life: Arc<Life>,
    pub consensus: Consensus,
    pub engine: Engine,
    pub log: Log,
    pub store: Store,
}

/// What a machine knows of itself besides its data: `identity.json` in the product.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub id: Option<RaftId>,
    settled: bool,
    /// Taken out of the site: it must not ask for an incarnation by itself.
    pub expelled: bool,
    /// The highest incarnation it ever had: the registry's row of members in the product.
    taken: u16,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The power goes: what was not synced is lost.
    Power,
    /// As [`End::Power`], and the disk is exchanged for an empty one.
    Wiped,
    /// As an operator stops it.
    Stopped,
}

pub struct Machine {
    pub number: NodeNumber,
    pub world: SimWorld,
    pub identity: Mutex<Identity>,
    life: Mutex<Arc<Life>>,
    running: Mutex<Option<Running>>,
    end: Mutex<(End, Duration)>,
    /// Its disk was broken on purpose: it may stop by itself.
    pub excused: AtomicBool,
    /// Bytes of its files changed where they lay. The end of a log that rots just as the power goes looks like one that was
    /// never synced, and is cut off.
    pub rotten: AtomicBool,
}

impl Machine {
    fn is_now(&self, id: RaftId) {
        let taken = lock(&self.identity).taken.max(id.incarnation());
        *lock(&self.identity) = Identity { id: Some(id), settled: false, expelled: false, taken };
    }
}

pub struct Inner {
    pub net: SimNet,
    pub machines: BTreeMap<NodeNumber, Machine>,
    pub partitions: u16,
    /// Whether nodes whose files have rotted ask at a start what they acknowledged.
    pub asks: AtomicBool,
    pub trace: Trace,
}

/// Clones are the same site.
#[derive(Clone)]
pub struct Site(Arc<Inner>);

impl std::ops::Deref for Site {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

pub fn address(node: NodeNumber) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node.0 as u8], 7000))
}

fn new_life() -> Arc<Life> {
    Arc::new(Life { over: watch::Sender::new(false) })
}

impl Site {
    /// A site of `nodes` machines that has agreed on its members. Must run on a paused single-threaded runtime.
    pub async fn start(seed: u64, nodes: u16, partitions: u16, trace: Trace) -> Site {
        let machine = |n: u16| Machine {
            number: NodeNumber(n),
            world: SimWorld::new(seed << 8 | u64::from(n), DISK),
            identity: Mutex::new(Identity {
                id: Some(RaftId::new(NodeNumber(n), 0)),
                settled: false,
                expelled: false,
                taken: 0,
            }),
            life: Mutex::new(new_life()),
            running: Mutex::default(),
            end: Mutex::new((End::Stopped, Duration::ZERO)),
            excused: AtomicBool::new(false),
            rotten: AtomicBool::new(false),
        };
        let machines = (1..=nodes).map(|n| (NodeNumber(n), machine(n))).collect();
        let site =
            Site(Arc::new(Inner { net: SimNet::new(seed), machines, partitions, asks: AtomicBool::new(true), trace }));
        for node in site.numbers() {
            tokio::spawn(site.clone().supervise(node));
        }
        while site.up().len() < usize::from(nodes) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let members: Vec<_> = site
            .numbers()
            .into_iter()
            .map(|n| Member { id: RaftId::new(n, 0), address: address(n), voter: true })
            .collect();
        for group in site.up()[0].1.consensus.groups() {
            group.initialise(&members).await.unwrap();
        }
        site
    }

    pub fn numbers(&self) -> Vec<NodeNumber> {
        self.machines.keys().copied().collect()
    }

    /// The processes that are up, in the order of their nodes.
    pub fn up(&self) -> Vec<(NodeNumber, Running)> {
        let running = |m: &Machine| Some((m.number, lock(&m.running).clone().filter(|r| r.life.alive())?));
        self.machines.values().filter_map(running).collect()
    }

    pub fn running(&self, node: NodeNumber) -> Option<Running> {
        lock(&self.machines[&node].running).clone().filter(|r| r.life.alive())
    }

    /// Ends a node's process now, and has it started again after `down`.
    pub fn end(&self, node: NodeNumber, how: End, down: Duration) {
        let machine = &self.machines[&node];
        let life = lock(&machine.life).clone();
        if !life.alive() {
            return;
        }
        *lock(&machine.end) = (how, down);
        if lock(&machine.running).is_some() {
            self.trace.say(format!("node {} ends: {how:?}, down for {} ms", node.0, down.as_millis()));
        }
        if how != End::Stopped {
            machine.world.fs.cut_power_after(0);
            self.net.stop(node);
        }
        life.over.send_replace(true);
    }

    /// Starts a node's process again whenever it has ended.
    async fn supervise(self, node: NodeNumber) {
        let machine = &self.machines[&node];
        loop {
            let life = new_life();
            *lock(&machine.life) = life.clone();
            if !self.run(machine, &life).await && life.alive() {
                // It could not start: as when a process ends with an error.
                self.end(node, End::Power, AGAIN);
            }
            life.ended().await;
            let running = lock(&machine.running).take();
            let (how, down) = *lock(&machine.end);
            if let Some(running) = running {
                self.take_down(machine, running, how).await;
            }
            match how {
                End::Power => machine.world.fs.crash(),
                End::Wiped => {
                    machine.world.fs.wipe();
                    lock(&machine.identity).id = None;
                }
                End::Stopped => {}
            }
            tokio::time::sleep(down).await;
        }
    }

    async fn take_down(&self, machine: &Machine, running: Running, how: End) {
        if how == End::Stopped {
            running.engine.hand_over_all().await;
        }
        running.engine.stop().await;
        running.consensus.shutdown().await;
        if how == End::Stopped {
            self.net.stop(machine.number);
            let _ = running.store.close().await;
            running.log.close().await;
        }
    }

    /// Starts a process. `false`: it could not start.
    async fn run(&self, machine: &Machine, life: &Arc<Life>) -> bool {
        if lock(&machine.identity).expelled {
            return false;
        }
        let started = tokio::select! {
            biased;
            () = life.ended() => return false,
            opened = self.open(machine, life) => opened,
        };
        let Some((router, applier, data)) = started else { return false };
        let mut groups: Vec<Arc<dyn Agreement>> = vec![];
        for partition in 0..=self.partitions {
            match data.consensus.open(partition, applier.clone()).await {
                Ok(group) => groups.push(Arc::new(group)),
                Err(_) => {
                    data.consensus.shutdown().await;
                    return false;
                }
            }
        }
        let mut options = EngineOptions::new(machine.number, "/data".into());
        options.spare_bytes = SPARE;
        let services: Vec<Arc<dyn Decide>> = vec![Arc::new(Once)];
        let (world, transport) = (machine.world.process(), self.net.transport(machine.number));
        let engine = Engine::start(world, options, &applier, groups, transport, &router, services, None);
        let Data { log, store, consensus, .. } = data;
        if life.alive() {
            self.net.serve(machine.number, router);
            lock(&machine.identity).settled = true;
        }
        *lock(&machine.running) = Some(Running { life: life.clone(), consensus, engine, log, store });
        self.trace.say(format!("node {} is up as {:?}", machine.number.0, lock(&machine.identity).id));
        true
    }

    /// Identity, log and store, as the product's `node` opens them: what cannot be mended is set aside.
    async fn open(&self, machine: &Machine, life: &Arc<Life>) -> Option<(Arc<Router>, Arc<Applier>, Data)> {
        let world = machine.world.process();
        let transport = self.net.transport(machine.number);
        let peers: Vec<_> =
            self.numbers().into_iter().filter(|n| *n != machine.number).map(|n| (n, address(n))).collect();
        loop {
            let mut identity = *lock(&machine.identity);
            match world.fs.list(Path::new("/data/log")) {
                Ok(files) if !files.is_empty() => {}
                Err(e) if e.kind() != ErrorKind::NotFound => return None,
                _ if identity.settled => identity.id = None,
                _ => {}
            }
            let id = match identity.id {
                Some(id) => id,
                None => {
                    let deadline = Instant::now() + REJOIN;
                    let given = rejoin(&transport, &peers, address(machine.number), deadline).await.ok()?;
                    self.trace.say(format!("node {} was given {}", machine.number.0, given.id));
                    machine.is_now(given.id);
                    given.id
                }
            };
            let router = Arc::new(Router::default());
            let options = self.options(machine, life, id);
            let fatal = options.consensus.fatal.clone();
            match data::open(&world, options, &peers, &transport, &router).await {
                Ok(Some(data)) if self.has_forgotten(machine, id, &data) => {
                    self.trace
                        .say(format!("node {} has less than it acknowledged, and sets it aside", machine.number.0));
                    drop(data);
                    self.set_aside(machine)?;
                }
                Ok(Some(data)) => {
                    let rows = (0..=self.partitions).map(|p| data.store.partition(p).unwrap() as Arc<dyn Rows>);
                    return Some((router, Applier::new(rows.collect(), fatal), data));
                }
                Ok(None) => {
                    self.trace.say(format!("node {} sets its data aside", machine.number.0));
                    self.set_aside(machine)?;
                }
                Err(e) => {
                    self.trace.say(format!("node {} does not open: {e}", machine.number.0));
                    if !machine.excused.load(Ordering::Relaxed) && life.alive() {
                        self.trace.fail(format!("node {} does not open: {e}", machine.number.0));
                    }
                    return None;
                }
            }
        }
    }

    /// What the product's daily walk does with a log: what has rotted is found, and had again from a peer.
    pub async fn mend_log(&self, node: NodeNumber, running: &Running) {
        if !self.machines[&node].rotten.load(Ordering::Relaxed) {
            return;
        }
        let holes = running.log.scrub(&Pace::new(u64::MAX)).await;
        let peers: Vec<_> = self.numbers().into_iter().filter(|n| *n != node).map(|n| (n, address(n))).collect();
        let left = running.consensus.mend(holes, &peers).await;
        if !left.is_empty() {
            self.trace.say(format!("node {} has log entries that nobody could give it", node.0));
        }
    }

    /// Makes a machine one without data, which asks for its next incarnation.
    fn set_aside(&self, machine: &Machine) -> Option<()> {
        let fs = machine.world.process().fs;
        for folder in ["/data/log", "/data/store"] {
            let _ = fs.remove_dir_all(Path::new(folder));
        }
        fs.sync_dir(Path::new("/data")).ok()?;
        let mut identity = lock(&machine.identity);
        (identity.id, identity.settled) = (None, false);
        Some(())
    }

    /// As the product asks at each start (`node::settle::forgotten`): whether a leader was told of more than is there. Only
    /// where files have rotted: elsewhere nothing may be missing, and what is must break a promise.
    fn has_forgotten(&self, machine: &Machine, id: RaftId, data: &Data) -> bool {
        let told = |partition: u16| {
            let leader = self.leader(partition).filter(|leader| *leader != machine.number)?;
            let group = self.running(leader)?.consensus.group(partition)?;
            let matched = group.status().matched.into_iter().find(|(node, _)| *node == id)?.1;
            let term = group.leadership().borrow().term;
            let held = data.log.group(partition).state().last.map_or(0, |(index, ..)| index);
            let held = held.max(data.store.partition(partition).ok()?.applied().index);
            (promised(&data.log, partition)? <= term && matched > held).then_some(())
        };
        let asks = self.asks.load(Ordering::Relaxed) && machine.rotten.load(Ordering::Relaxed);
        asks && (0..=self.partitions).any(|partition| told(partition).is_some())
    }

    fn options(&self, machine: &Machine, life: &Arc<Life>, id: RaftId) -> DataOptions {
        let (site, life, node) = (self.clone(), life.clone(), machine.number);
        let trace = self.trace.clone();
        let fatal: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(move |why: &str| {
            if !life.alive() {
                return;
            }
            site.trace.say(format!("node {} stops itself: {why}", node.0));
            if !site.machines[&node].excused.load(Ordering::Relaxed) {
                site.trace.fail(format!("node {} stopped itself without a reason: {why}", node.0));
            }
            site.end(node, End::Power, AGAIN);
        });
        let mut consensus = Options::new("sim", id, address(node));
        consensus.snapshot_after_bytes = SNAPSHOT_AFTER;
        consensus.keep_bytes = KEEP;
        consensus.fatal = fatal.clone();
        let log = LogOptions { segment_bytes: SEGMENT, cache_bytes: 64 << 10, fatal, ..LogOptions::default() };
        let store = StoreOptions { flush_interval: Duration::from_secs(5), ..StoreOptions::default() };
        let waits = Arc::new(move |what: &str| trace.say(format!("node {} {what}", node.0)));
        DataOptions { dir: "/data".into(), log, store, consensus, waits }
    }

    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..=self.partitions).map(PartitionId)
    }

    /// The node that leads a partition now, as it says itself.
    pub fn leader(&self, partition: u16) -> Option<NodeNumber> {
        let leads = |r: &Running| r.consensus.group(partition).is_some_and(|g| g.leadership().borrow().leading);
        self.up().into_iter().find(|(_, r)| leads(r)).map(|(n, _)| n)
    }

    /// Takes a node out of the site and gives it back to it as a new member, as an operator replaces a machine.
    pub async fn replace(&self, node: NodeNumber) -> bool {
        let Some(leader) = self.leader(0).filter(|l| *l != node).and_then(|l| self.running(l)) else { return false };
        self.trace.say(format!("node {} is taken out", node.0));
        let out = timeout(Duration::from_secs(10), leader.consensus.expel(node)).await;
        if !matches!(out, Ok(Ok(()))) {
            self.trace.say(format!("node {} could not be taken out: {out:?}", node.0));
            return false;
        }
        lock(&self.machines[&node].identity).expelled = true;
        self.end(node, End::Wiped, Duration::from_millis(100));
        true
    }

    /// Takes a node that was taken out into the site again, whoever leads it.
    pub async fn admit(&self, node: NodeNumber) -> bool {
        let Some(leader) = self.leader(0).and_then(|l| self.running(l)) else { return false };
        match timeout(Duration::from_secs(10), leader.consensus.admit(node, address(node))).await {
            // The incarnations of a machine that was taken out must never come again.
            Ok(Ok(id)) if id.incarnation() > lock(&self.machines[&node].identity).taken => {
                self.trace.say(format!("node {} is taken in as {id}", node.0));
                self.machines[&node].is_now(id);
                true
            }
            _ => false,
        }
    }

    /// Has a node taken in again that is no member, as far as the site's leader knows: as an operator does who finds one
    /// that was taken out.
    pub async fn make_sure_of(&self, node: NodeNumber) {
        if self.is_out(node) {
            self.admit(node).await;
            return;
        }
        let id = lock(&self.machines[&node].identity).id;
        let site = self.leader(0).and_then(|l| self.running(l)).and_then(|r| r.consensus.group(0));
        let Some((site, id)) = site.zip(id) else { return };
        if !site.members().iter().any(|m| m.id == id) {
            lock(&self.machines[&node].identity).expelled = true;
            self.end(node, End::Wiped, Duration::ZERO);
        }
    }

    pub fn is_out(&self, node: NodeNumber) -> bool {
        lock(&self.machines[&node].identity).expelled
    }

    /// Whether a node is up, votes in every group under its own id, and has applied what the others have committed.
    pub fn is_whole(&self, node: NodeNumber) -> bool {
        let Some(running) = self.running(node) else { return false };
        let up = self.up();
        self.partitions().all(|p| {
            let Some(own) = running.consensus.group(p.0) else { return false };
            let Status { members, joint, applied, last, .. } = own.status();
            let votes = members.iter().any(|m| m.id == own.id() && m.voter);
            let ahead = up.iter().filter_map(|(_, r)| r.consensus.group(p.0)).map(|g| g.status().applied).max();
            // Its vote may be in an entry that nobody else has yet; and what it replaces may still be needed beside it.
            votes && !joint && applied == last && applied >= ahead.unwrap_or(0)
        })
    }
}
