//! Whole groups in one process: real log and store in temporary folders, the network in memory or over real TLS.

mod cluster;
mod faults;
mod logged;
mod succession;
mod suite;
mod tls;

use super::*;
use crate::log::{Log, LogOptions};
use crate::seam::net::{Answer, Handler, Kind, Lane, NodeNumber, Router, Transport};
use crate::seam::{World, clock::SystemClock, fs_real::RealFs, rng::SystemRng};
use crate::store::tables::Table;
use crate::store::{Partition, Position, RowOp, Store, StoreOptions};
use bytes::Bytes;
use futures_util::future::join_all;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::{io, time::Duration};
use tokio::time::Instant;

/// Longer than anything here takes on a machine that does ten other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn world() -> World {
    World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) }
}

/// Waits until `done` says so; panics with `what` when it never does.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A payload that has the registry say that nodes 1 to 3 stand in the site that serves, and 4 to 6 in another.
pub const TWO_SITES: &str = "two sites";

fn two_sites() -> Vec<RowOp> {
    use crate::services::directory::{rows, sites::Serving};
    use crate::wire::record::Record as _;
    let label = |n: u16| if n < 4 { "leeds" } else { "york" }.to_owned();
    let put = |key: crate::store::tables::Key, value: Bytes| RowOp::Put { key: key.build(), value, fresh: false };
    let member = |n| put(rows::member_key(n), rows::Member { site: label(n), ..Default::default() }.encode());
    let serving = Serving { site: label(1), ..Default::default() }.encode();
    (1..=6).map(member).chain([put(Table::ServingSite.key(), serving)]).collect()
}

/// Keeps each payload as a row under its index, and the payloads in order.
pub struct Recorder {
    store: Store,
    pub seen: Mutex<Vec<Entry>>,
}

impl Recorder {
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Recorder { store, seen: Mutex::default() })
    }
    /// Payloads that came, in order.
    pub fn payloads(&self) -> Vec<Bytes> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|e| !e.payload.is_empty()).map(|e| e.payload.clone()).collect()
    }
}

impl StateMachine for Recorder {
    fn apply(&self, group: GroupNumber, entries: Vec<Entry>) {
        let partition = self.store.partition(group).unwrap();
        for entry in entries {
            let mut rows = vec![];
            if entry.payload == payload_of(TWO_SITES) {
                rows = two_sites();
            } else if !entry.payload.is_empty() {
                let key = Table::Outbox.key().number(entry.index).build();
                rows.push(RowOp::Put { key, value: entry.payload.clone(), fresh: true });
            }
            partition.apply(Position { index: entry.index, term: entry.term, leader: 0 }, &rows);
            self.seen.lock().unwrap().push(entry);
        }
    }
}

/// A network in memory: every node's router, and who is cut off.
#[derive(Default)]
pub struct Net {
    routers: RwLock<HashMap<NodeNumber, Arc<Router>>>,
    cut: RwLock<HashSet<NodeNumber>>,
    /// Answers of these kinds come late, as if the follower's disk were slow.
    slow: RwLock<Option<(Kind, Duration)>>,
}

impl Net {
    pub fn cut(&self, node: NodeNumber) {
        self.cut.write().unwrap().insert(node);
    }
    pub fn heal(&self, node: NodeNumber) {
        self.cut.write().unwrap().remove(&node);
    }
    pub fn slow(&self, how: Option<(Kind, Duration)>) {
        *self.slow.write().unwrap() = how;
    }
}

struct Port {
    net: Arc<Net>,
    me: NodeNumber,
}

impl Transport for Port {
    fn call(&self, to: NodeNumber, _: Lane, kind: Kind, payload: Bytes, timeout: Duration) -> Answer {
        let (net, me) = (self.net.clone(), self.me);
        Box::pin(async move {
            let cut = |n: &Net| n.cut.read().unwrap().contains(&me) || n.cut.read().unwrap().contains(&to);
            let router = net.routers.read().unwrap().get(&to).cloned();
            let Some(router) = router.filter(|_| !cut(&net)) else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let answered = tokio::time::timeout(timeout, router.handle(me, kind, payload)).await;
            let late = net.slow.read().unwrap().filter(|(k, _)| *k == kind).map(|(_, d)| d);
            if let Some(late) = late {
                tokio::time::sleep(late.min(timeout)).await;
                if late >= timeout {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            match answered {
                Ok(answer) if !cut(&net) => answer,
                _ => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
    fn set_address(&self, _: NodeNumber, _: SocketAddr) {}
}

pub fn address(node: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8], 7))
}

/// One node: consensus over its own folder.
pub struct Node {
    pub id: RaftId,
    pub consensus: Consensus,
    pub groups: Vec<Group>,
    pub recorder: Arc<Recorder>,
    pub store: Store,
    pub log: Log,
    pub failures: Arc<Mutex<Vec<String>>>,
}

/// Bounds small enough that snapshots and cuts happen in a test.
pub fn small() -> (LogOptions, StoreOptions) {
    (LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() }, StoreOptions::default())
}

/// What differs between tests.
#[derive(Default)]
pub struct How {
    /// Who may be asked to mend a damaged log.
    pub mend: Vec<(NodeNumber, SocketAddr)>,
    pub balance: Option<Duration>,
    /// Elections as early as in a real site; without it so late that no stall of a busy machine calls one.
    pub lively: bool,
}

/// Opens a store, also just after it was closed: the engine's own threads hold its lock for a moment longer.
async fn store_at(dir: &Path, options: &StoreOptions) -> Store {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(world(), dir.to_owned(), options.clone()).await {
            Ok(store) => return store,
            Err(e) => assert!(std::time::Instant::now() < deadline, "{e}"),
        }
        tokio::task::yield_now().await;
    }
}

pub async fn start(
    dir: &Path,
    id: RaftId,
    transport: Arc<dyn Transport>,
    router: Arc<Router>,
    groups: u16,
    listens: SocketAddr,
    how: &How,
) -> Node {
    let (log_options, store_options) = small();
    let failures: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, damage) = Log::open(world(), dir.join("log"), log_options).await.unwrap();
    let store = store_at(&dir.join("store"), &store_options).await;
    let recorder = Recorder::new(store.clone());
    let told = failures.clone();
    let usual = Options::new("test", id, listens);
    let options = Options {
        snapshot_after_bytes: 1 << 20,
        keep_bytes: 256 << 10,
        balance_after: how.balance,
        election: if how.lively { usual.election } else { (usual.election.0 * 5, usual.election.1 * 5) },
        fatal: Arc::new(move |why| told.lock().unwrap().push(why.to_owned())),
        ..usual
    };
    let parts = Parts { log: log.clone(), store: store.clone(), transport, router, rng: Arc::new(SystemRng) };
    let consensus = Consensus::new(parts, options);
    assert_eq!(consensus.repair(damage, &how.mend).await, vec![]);
    assert!(consensus.refill(consensus.gaps(), &how.mend).await.is_empty());
    let mut opened = vec![];
    for number in 0..groups {
        opened.push(consensus.open(number, recorder.clone()).await.unwrap());
    }
    Node { id, consensus, groups: opened, recorder, store, log, failures }
}

impl Node {
    pub fn partition(&self, group: u16) -> Arc<Partition> {
        self.store.partition(group).unwrap()
    }
    /// Stops without handing over, as a crash would look to the others.
    pub async fn kill(self) {
        for group in &self.groups {
            group.stop().await;
        }
        self.log.close().await;
        assert_eq!(*self.failures.lock().unwrap(), Vec::<String>::new());
    }
    pub async fn stop(self) {
        self.consensus.shutdown().await;
        self.log.close().await;
        self.store.close().await.unwrap();
    }
}

/// Several nodes on a network in memory.
pub struct Cluster {
    pub net: Arc<Net>,
    pub dir: tempfile::TempDir,
    pub nodes: Vec<Option<Node>>,
    pub groups: u16,
    pub how: How,
    /// Nodes that listen elsewhere than at first.
    pub moved: HashMap<NodeNumber, SocketAddr>,
}

impl Cluster {
    pub async fn new(size: u16, groups: u16) -> Self {
        Self::made(size, groups, How::default()).await
    }

    pub async fn lively(size: u16, groups: u16) -> Self {
        Self::made(size, groups, How { lively: true, ..How::default() }).await
    }

    pub async fn balanced(size: u16, groups: u16, after: Duration) -> Self {
        Self::made(size, groups, How { balance: Some(after), ..How::default() }).await
    }

    async fn made(size: u16, groups: u16, how: How) -> Self {
        let mut cluster = Cluster {
            net: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            nodes: (0..size).map(|_| None).collect(),
            groups,
            how,
            moved: HashMap::new(),
        };
        for node in 1..=size {
            cluster.start(RaftId::new(NodeNumber(node), 1)).await;
        }
        let members: Vec<Member> = (1..=size)
            .map(|n| Member { id: RaftId::new(NodeNumber(n), 1), address: address(n), voter: true })
            .collect();
        for group in &cluster.node(1).groups {
            group.initialise(&members).await.unwrap();
        }
        cluster
    }

    pub fn port(&self, node: NodeNumber) -> Arc<dyn Transport> {
        Arc::new(Port { net: self.net.clone(), me: node })
    }

    pub async fn start(&mut self, id: RaftId) {
        let router = Arc::new(Router::default());
        self.net.routers.write().unwrap().insert(id.node(), router.clone());
        let dir = self.dir.path().join(format!("node{}", id.node()));
        let listens = self.moved.get(&id.node()).copied().unwrap_or(address(id.node().0));
        let node = start(&dir, id, self.port(id.node()), router, self.groups, listens, &self.how).await;
        let place = usize::from(id.node().0) - 1;
        self.nodes[place] = Some(node);
    }

    pub fn node(&self, number: u16) -> &Node {
        self.nodes[usize::from(number) - 1].as_ref().unwrap()
    }

    pub fn take(&mut self, number: u16) -> Node {
        self.net.routers.write().unwrap().remove(&NodeNumber(number));
        self.nodes[usize::from(number) - 1].take().unwrap()
    }

    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// Waits for a node that may propose in a group.
    pub async fn leader(&self, group: u16) -> &Node {
        let leading = |n: &&Node| {
            let cut = self.net.cut.read().unwrap().contains(&n.id.node());
            !cut && n.groups[usize::from(group)].leadership().borrow().leading
        };
        until("a leader", || self.running().any(|n| leading(&n))).await;
        self.running().find(leading).unwrap()
    }

    /// Proposes until it is applied somewhere; says at which node.
    pub async fn write(&self, group: u16, payload: &str) {
        let wanted = payload_of(payload);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let leader = self.leader(group).await;
            let handle = &leader.groups[usize::from(group)];
            let reign = handle.leadership().borrow().reign;
            if handle.propose(reign, wanted.clone()).await.is_err() {
                continue;
            }
            let applied = || leader.recorder.payloads().contains(&wanted);
            let patience = Instant::now() + Duration::from_secs(3);
            while Instant::now() < patience && !applied() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if applied() {
                return;
            }
        }
        panic!("{payload} was never applied");
    }

    pub async fn all_have(&self, group: u16, index: u64) {
        until("all to apply", || self.running().all(|n| *n.groups[usize::from(group)].applied().borrow() >= index))
            .await;
    }

    /// Every node's rows are the same. Hashes are compared where they are of one index: the members may still change
    /// meanwhile, and a node may have applied their entries before another has.
    pub async fn agree(&self, group: u16) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let of = |node: &Node| node.partition(group);
            let hashes = join_all(self.running().map(|n| async { of(n).hash().await.unwrap() })).await;
            let index = hashes[0].map(|(index, _)| index);
            if index.is_some() && hashes.iter().all(|h| h.map(|(index, _)| index) == index) {
                assert!(hashes.iter().all(|h| *h == hashes[0]), "rows differ: {hashes:?}");
                return;
            }
            assert!(Instant::now() < deadline, "never at one index: {hashes:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops every node; none may have met a fatal error.
    pub async fn end(mut self) {
        for node in self.nodes.iter_mut().filter_map(Option::take) {
            node.kill().await;
        }
    }
}

/// A payload as the engine would make one: a record's version first.
pub fn payload_of(text: &str) -> Bytes {
    let mut bytes = vec![1];
    bytes.extend_from_slice(text.as_bytes());
    bytes.into()
}
