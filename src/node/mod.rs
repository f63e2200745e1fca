//! A running node, wired together: open, start, stop in reverse. Decides nothing.
//!
//! | file | duty |
//! |---|---|
//! | `identity` `settle` | who this node is; how it comes back without its data |
//! | `level` | whether this program knows what the site was raised to |
//! | `examine` | what must hold before anything is opened: the data is this node's, and nobody else runs as it |
//! | `data` | log and store opened, and what they lack fetched from peers |
//! | `rooms` | opens world, log, store, peers, consensus, engine, in this order, and closes them in reverse |
//! | `front` | the suppliers' listener, drained and taken up again |
//! | `door` `token` | how a new machine joins; changes of members between nodes; who is kept out |
//! | `watch` | readiness: what `/readyz` says and what is told to systemd |
//! | `gauges` | what is measured of the node now and then |
//! | `scrub` | the slow walk over everything at rest |
//! | `succession` | how the followers of a site that is lost take its partitions over |
//! | `report` | what this node knows of itself and of the others, for status and its peers |
//! | `admin` | operators' requests over the admin socket |
//! | `logouts` `key_sets` `outgoing` | tells relying parties of sessions that ended; fetches key sets that applications publish; requests to outside the site |
//! | `tracer` | works on the files of batch traces |
//! | `reload` | configuration and certificates taken anew while the node runs |
//! | `pki` `signer` | certificates; signatures under the audit chain |

pub mod admin;
pub mod backup;
pub mod data;
mod door;
mod examine;
mod front;
mod gauges;
mod given_up;
pub mod identity;
mod key_sets;
mod level;
mod logouts;
mod outgoing;
pub mod pki;
mod reload;
mod report;
mod rooms;
mod scrub;
mod settle;
mod signer;
mod signing;
mod spans;
mod succession;
pub mod token;
mod tracer;
mod watch;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{door::*, report::*, succession::*};
}

use crate::{
    config::Settings,
    engine::{Fence, SITE},
    ops::{self, health::Health, systemd::Notify},
    seam::{World, clock::SystemClock, fs_real::RealFs, rng::SystemRng},
    services::directory,
};
use arc_swap::ArcSwap;
use identity::IdentityError;
use rooms::Rooms;
use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch as channel};

/// How long a stop may take: a little less than systemd's TimeoutStopSec=90s.
const STOPPING: Duration = Duration::from_secs(80);
/// How long a start may be silent before systemd gives up on it.
const STARTING: Duration = Duration::from_secs(60);
const OPENING: &str = "opening log and store";
/// How often a new node looks whether the registry has come.
const REGISTRY: Duration = Duration::from_millis(200);

/// Why a node cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{key} {address}: {error}")]
    Listen { key: &'static str, address: String, error: std::io::Error },
    #[error("{0}")]
    Tls(String),
    #[error("{room}: {why}")]
    Room { room: &'static str, why: String },
    /// Rows that failed a check: the next start rebuilds them.
    #[error("rows {0}")]
    Damaged(String),
    /// A safety check: nothing was touched.
    #[error("{why}")]
    Refused { code: &'static ops::codes::Code, why: String },
}

/// What operators' requests and probes reach: the rooms, once they are open.
pub struct Node {
    /// What it started with.
    pub settings: Settings,
    /// The same with what reloads have changed since.
    pub current: ArcSwap<Settings>,
    reloading: Mutex<()>,
    pub world: World,
    pub health: Health,
    /// Milliseconds since the epoch.
    started: u64,
    pulse: watch::Pulse,
    scrub: scrub::Scrub,
    backups: backup::desk::Desk,
    archive: backup::hold::ArchiveDesk,
    /// What keeps it from opening, in a line for operators; empty where that is only work.
    waits: Mutex<String>,
    /// The site that this one goes on without, until the registry says so.
    given_up: Mutex<Option<given_up::GivenUp>>,
    rooms: OnceLock<Rooms>,
    front: OnceLock<front::Front>,
}

impl Node {
    /// Where suppliers' systems really connect: the configuration's address, unless systemd opened the socket.
    pub fn supplier_address(&self) -> SocketAddr {
        let passed = self.front.get().and_then(|front| front.passed("supplier.listen"));
        passed.unwrap_or(self.settings.supplier.listen)
    }

    /// What keeps it from opening; empty where that is only work.
    fn waits(&self) -> String {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what keeps it from opening, and asks systemd for patience.
    fn waits_for(&self, what: &str) {
        what.clone_into(&mut self.waits.lock().unwrap_or_else(PoisonError::into_inner));
        Notify.starting(what, STARTING);
    }
}

impl Node {
    /// A node with no room open.
    fn new(settings: Settings, world: World, started: u64) -> Node {
        backup::desk::tell(&backup::desk::kept(&settings.node.data));
        Node {
            // It was looked at before: one that cannot be read lets nothing start.
            given_up: Mutex::new(given_up::GivenUp::kept(&settings.node.data).ok().flatten()),
            current: ArcSwap::from_pointee(settings.clone()),
            reloading: Mutex::default(),
            settings,
            world,
            health: Health::default(),
            started,
            pulse: watch::Pulse::default(),
            scrub: scrub::Scrub::default(),
            backups: backup::desk::Desk::default(),
            archive: backup::hold::ArchiveDesk::default(),
            waits: Mutex::default(),
            rooms: OnceLock::new(),
            front: OnceLock::new(),
        }
    }
}

/// Runs a node until `stop` ends; its value says why, for the log.
pub async fn run(settings: Settings, stop: impl Future<Output = &'static str> + Send) -> Result<(), NodeError> {
    stop_on_panic();
    let world = World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) };
    let started = world.clock.now().0;
    ops::recorder::install(started as f64 / 1000.0);
    let cluster = identity::cluster_of(&settings)?;
    examine::data(&settings, &cluster, &world.fs).await?;
    let _lock = settle::lock(&settings.node.data)?;
    let node = Arc::new(Node::new(settings, world, started));
    tracing::info!(
        event = "node.starting",
        node = node.settings.node.number,
        site = cluster,
        version = ops::recorder::VERSION,
        "the node is starting"
    );
    Notify.starting(OPENING, STARTING);
    watch::register(&node);
    let (ops_stop, ops_stopped) = channel::channel(false);
    let probes = serve_probes(&node, ops_stopped).await?;
    tokio::pin!(stop);
    let opened = tokio::select! {
        opened = open(&node, cluster) => opened.map(Some),
        never = keep_patient(&node) => match never {},
        why = &mut stop => {
            tracing::info!(event = "node.stopping", why, "stopped before it was open");
            Ok(None)
        }
    };
    let done = match opened {
        Ok(Some(tasks)) => {
            let (why, done) = tokio::select! {
                why = &mut stop => (why.to_owned(), Ok(())),
                why = damaged(&node) => (format!("rows failed a check: {why}"), Err(NodeError::Damaged(why))),
                refused = displaced(&node) => (refused.to_string(), Err(refused)),
                refused = level::outgrown(&node, identity::LEVEL) => (refused.to_string(), Err(refused)),
            };
            tracing::info!(event = "node.stopping", why, "the node is stopping");
            Notify.stopping("draining", STOPPING);
            close(&node, tasks).await;
            done
        }
        Ok(None) => Ok(()),
        Err(e) => Err(e),
    };
    let _ = ops_stop.send(true);
    for probe in probes {
        let _ = probe.await;
    }
    let _ = std::fs::remove_file(&node.settings.admin_socket);
    if done.is_ok() {
        tracing::info!(event = "node.stopped", "the node has stopped");
    }
    done
}

/// Systemd gives up on a start that says nothing; one that waits for its peers, or brings back much, says so again and again.
async fn keep_patient(node: &Node) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(STARTING / 4).await;
        let waits = node.waits();
        Notify.starting(if waits.is_empty() { OPENING } else { &waits }, STARTING);
    }
}

type Tasks = Vec<tokio::task::JoinHandle<()>>;

/// Opens the rooms, then the listeners. The suppliers' comes last: who connects finds a node that can answer.
async fn open(node: &Arc<Node>, cluster: String) -> Result<Tasks, NodeError> {
    let rooms = Rooms::open(node, cluster).await?;
    let rooms = node.rooms.get_or_init(|| rooms);
    let mut tasks = vec![tokio::spawn(watch::run(node.clone())), tokio::spawn(report::keep_member_row(node.clone()))];
    tasks.push(tokio::spawn(signing::keep_a_key(node.clone())));
    tasks.push(tokio::spawn(door::keep_out(node.clone())));
    tasks.push(tokio::spawn(tend_bodies(node.clone())));
    tasks.push(tokio::spawn(scrub::run(node.clone())));
    tasks.push(tokio::spawn(backup::archiver::run(node.clone())));
    tasks.push(tokio::spawn(gauges::run(node.clone())));
    tasks.push(tokio::spawn(tracer::run(node.clone())));
    tasks.push(tokio::spawn(logouts::run(node.clone())));
    tasks.push(tokio::spawn(key_sets::run(node.clone())));
    tasks.push(tokio::spawn(spans::run(node.clone())));
    until_registry(node, rooms).await;
    let front = front::Front::open(node, rooms).await?;
    tasks.push(tokio::spawn(front::watch_certificates(node.clone())));
    node.front.get_or_init(|| front);
    tracing::info!(event = "node.open", supplier = %node.supplier_address(), peer = %node.settings.peer.listen,
        incarnation = rooms.identity.incarnation, "log, store and listeners are open");
    Ok(tasks)
}

/// A node that has joined, or has lost its data, knows nobody yet: it would turn away clients that the site knows.
async fn until_registry(node: &Node, rooms: &Rooms) {
    let number = node.settings.node.number;
    let known = directory::rows::member(rooms.engine.local(SITE).as_ref(), number).is_ok_and(|row| row.is_some());
    if known {
        return;
    }
    while rooms.engine.view(SITE, Fence::Linearizable).await.is_err() {
        node.waits_for("waits for the registry of the site");
        tokio::time::sleep(REGISTRY).await;
    }
    node.waits_for(OPENING);
}

/// Bodies are looked after by the rows of every partition, once this node is known to be in step.
async fn tend_bodies(node: Arc<Node>) {
    let Some(rooms) = node.rooms.get() else { return };
    let weak = Arc::downgrade(&node);
    let (engine, map) = (rooms.engine.clone(), rooms.engine.map());
    let rows = move || match weak.upgrade() {
        Some(node) if node.ready() => map.all().map(|p| engine.local(p)).collect(),
        _ => vec![],
    };
    let (_keep, stop) = channel::channel(false);
    rooms.bulk.tend(Arc::new(rows), stop).await;
}

/// Rows that fail a check are rebuilt by a start; whoever supervises the node starts it again (P9).
async fn damaged(node: &Node) -> String {
    match node.rooms.get() {
        Some(rooms) => rooms.damaged().await,
        None => std::future::pending().await,
    }
}

async fn displaced(node: &Node) -> NodeError {
    match node.rooms.get() {
        Some(rooms) => examine::displaced(&node.settings, &rooms.peers).await,
        None => std::future::pending().await,
    }
}

/// In reverse: no new work, what is in flight finishes, leaderships go, then log and store are synced and closed.
async fn close(node: &Node, tasks: Tasks) {
    if let (Some(front), Some(rooms)) = (node.front.get(), node.rooms.get()) {
        front.set_draining(true);
        // Leadership first: what arrives meanwhile is forwarded to whoever leads now.
        rooms.engine.hand_over_all().await;
        front.close().await;
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    if let Some(rooms) = node.rooms.get() {
        rooms.close().await;
    }
}

/// Health, metrics and operators can be asked from the first moment on.
async fn serve_probes(node: &Arc<Node>, stopped: channel::Receiver<bool>) -> Result<Tasks, NodeError> {
    let address = node.settings.ops_listen;
    let listener = TcpListener::bind(address).await.map_err(|error| listen("ops.listen", address, error))?;
    let socket = &node.settings.admin_socket;
    if let Some(folder) = socket.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let admin = ops::admin::bind(socket).await;
    let admin = admin.map_err(|error| NodeError::Listen {
        key: "admin.socket",
        address: socket.display().to_string(),
        error,
    })?;
    let router = Arc::new(admin::router(node));
    Ok(vec![
        tokio::spawn(ops::http::serve(listener, node.health.clone(), stopped.clone())),
        tokio::spawn(ops::admin::serve(admin, router, node.health.clone(), stopped)),
    ])
}

fn listen(key: &'static str, address: SocketAddr, error: std::io::Error) -> NodeError {
    NodeError::Listen { key, address: address.to_string(), error }
}

/// A room that has panicked cannot be trusted to keep its promises: the process ends and is started again (P7, P9).
fn stop_on_panic() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        earlier(info);
        tracing::error!(event = "node.panic", place = ?info.location().map(ToString::to_string), "stopping at a fault");
        std::process::abort();
    }));
}
