//! Three nodes over a simulated world: started, cut from power, restarted, compared.

use crate::service::{ONCE, Once, told};
use bytes::Bytes;
use spine::audit;
use spine::consensus::{Consensus, Member, Options, Parts, RaftId};
use spine::engine::draft::Decide;
use spine::engine::{Agreement, Applier, Engine, EngineOptions, Fence, PartitionId, Rows};
use spine::log::{Log, LogOptions};
use spine::seam::net::{NodeNumber, Router};
use spine::seam::sim::{SimWorld, net::SimNet};
use spine::store::{Reader, Store, StoreOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A partition's number.
#[derive(Clone, Copy)]
pub struct P(pub u16);

const DISK: u64 = 256 << 20;
/// Small segments, so that a run goes through several.
const SEGMENT: u64 = 1 << 20;

/// Engines of the nodes that are up, as clients find them.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<BTreeMap<NodeNumber, Engine>>>);

impl Doors {
    pub fn open(&self, node: NodeNumber) -> Option<Engine> {
        self.0.lock().unwrap().get(&node).cloned()
    }
}

struct Running {
    consensus: Consensus,
    engine: Engine,
    log: Log,
}

pub struct Site {
    net: SimNet,
    worlds: BTreeMap<NodeNumber, SimWorld>,
    running: BTreeMap<NodeNumber, Running>,
    doors: Doors,
    partitions: u16,
}

pub fn numbers() -> impl Iterator<Item = NodeNumber> {
    (1..=3).map(NodeNumber)
}

fn address(node: NodeNumber) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node.0 as u8], 7000))
}

impl Site {
    pub async fn start(seed: u64, partitions: u16) -> Site {
        let worlds = numbers().map(|n| (n, SimWorld::new(seed << 8 | u64::from(n.0), DISK))).collect();
        let net = SimNet::new(seed);
        let mut site = Site { net, worlds, running: BTreeMap::new(), doors: Doors::default(), partitions };
        for node in numbers() {
            site.restart(node).await;
        }
        let members: Vec<_> =
            numbers().map(|n| Member { id: RaftId::new(n, 0), address: address(n), voter: true }).collect();
        for group in site.running[&NodeNumber(1)].consensus.groups() {
            group.initialise(&members).await.unwrap();
        }
        site
    }

    /// Starts a node on whatever its disk holds.
    pub async fn restart(&mut self, node: NodeNumber) {
        let sim = &self.worlds[&node];
        let world = sim.world();
        let fs = sim.fs.clone();
        // A node whose power is gone stops by itself; one that is up has no reason to.
        let fatal: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(move |why: &str| assert!(fs.is_off(), "{why}"));
        let options = LogOptions { segment_bytes: SEGMENT, fatal: fatal.clone(), ..LogOptions::default() };
        let (log, damage) = Log::open(world.clone(), "/data/log".into(), options).await.unwrap();
        assert!(damage.is_empty(), "a torn tail is not damage");
        let store = Store::open(world.clone(), "/data/store".into(), StoreOptions::default()).await.unwrap();
        let (router, transport) = (Arc::new(Router::default()), self.net.transport(node));
        let mut options = Options::new("sim", RaftId::new(node, 0), address(node));
        options.fatal = fatal.clone();
        let parts =
            Parts { log: log.clone(), store: store.clone(), transport: transport.clone(), router: router.clone() };
        let consensus = Consensus::new(parts, options);
        let rows = (0..=self.partitions).map(|p| store.partition(p).unwrap() as Arc<dyn Rows>).collect();
        let applier = Applier::new(rows, fatal);
        let mut groups: Vec<Arc<dyn Agreement>> = vec![];
        for partition in 0..=self.partitions {
            groups.push(Arc::new(consensus.open(partition, applier.clone()).await.unwrap()));
        }
        let mut options = EngineOptions::new(node, "/data".into());
        options.spare_bytes = 8 << 20;
        let services: Vec<Arc<dyn Decide>> = vec![Arc::new(Once)];
        let engine = Engine::start(world, options, &applier, groups, transport, &router, services, None);
        self.net.serve(node, router);
        self.doors.0.lock().unwrap().insert(node, engine.clone());
        self.running.insert(node, Running { consensus, engine, log });
    }

    /// The power of these nodes goes at one moment: they say nothing more, and what they had not synced is lost.
    pub async fn crash(&mut self, nodes: &[NodeNumber]) {
        for node in nodes {
            self.worlds[node].fs.cut_power_after(0);
            self.net.isolate(*node, numbers());
            self.net.stop(*node);
            self.doors.0.lock().unwrap().remove(node);
        }
        for node in nodes {
            let running = self.running.remove(node).unwrap();
            running.engine.stop().await;
            running.consensus.shutdown().await;
            drop(running.log);
            self.worlds[node].fs.crash();
        }
        self.net.heal();
    }

    pub async fn stop(self) {
        for (_, running) in self.running {
            running.engine.stop().await;
            running.consensus.shutdown().await;
        }
    }

    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }

    /// The node that leads a partition.
    pub async fn leader(&self, partition: P) -> NodeNumber {
        loop {
            for (node, running) in &self.running {
                let group = running.consensus.group(partition.0).unwrap();
                if group.leadership().borrow().leading {
                    return *node;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A node that does not.
    pub async fn follower(&self, partition: P) -> NodeNumber {
        let leader = self.leader(partition).await;
        numbers().find(|n| *n != leader).unwrap()
    }

    fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..=self.partitions).map(PartitionId)
    }

    /// Waits until every outbox is empty and every node has applied everything.
    pub async fn settle(&self) {
        let outbox = spine::store::tables::Table::Outbox.key().prefix();
        for _ in 0..6_000 {
            let empty = |engine: &Engine, p| engine.local(p).scan(outbox.clone(), false, 1).unwrap().is_empty();
            let waiting = self.running.values().any(|r| self.partitions().any(|p| !empty(&r.engine, p)));
            let applied = |r: &Running, p: PartitionId| r.consensus.group(p.0).unwrap().status().applied;
            let first = &self.running[&NodeNumber(1)];
            let apart = |r: &Running| self.partitions().any(|p| applied(r, p) != applied(first, p));
            if !waiting && !self.running.values().any(apart) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the nodes do not come together");
    }

    /// The service's rows, once all replicas are seen to hold the same rows, read at a fence on each node.
    pub async fn rows_of_all_equal(&self) -> BTreeSet<String> {
        let mut all: Vec<Vec<(Bytes, Bytes)>> = vec![];
        for running in self.running.values() {
            let mut rows = vec![];
            for partition in self.partitions() {
                let view = running.engine.view(partition, Fence::Linearizable).await.unwrap();
                let end = Bytes::from_static(&[0xff]);
                rows.extend(view.scan(Bytes::new()..end, false, 1_000_000).unwrap());
            }
            all.push(rows);
        }
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|rows| rows == &all[0]), "replicas part ways");
        all[0].iter().filter_map(|(key, value)| told(key, value)).collect()
    }

    /// Every node's audit chains are whole and hold a record of each write.
    pub async fn assert_audit_whole(&self) {
        for running in self.running.values() {
            let mut records = 0;
            for partition in self.partitions() {
                let end = running.engine.audit_chain(partition).unwrap();
                let verifier = audit::Verifier::new(partition.0, 1, u64::MAX - 1, Some(end), audit::Ca::default());
                let verdict = audit::verify(running.engine.local(partition).as_ref(), verifier).unwrap();
                assert_eq!(verdict.findings, []);
                records += verdict.records;
            }
            assert!(records > 0, "service {} leaves records", ONCE.0);
        }
    }
}
