//! Node-to-node connections: mutual TLS, one connection for each peer and lane, calls and answers in frames.
//!
//! Promises held here: P5 (who calls is proven by certificate), P6 (calls in flight, queues and frames are bounded),
//! P8 (the hello agrees on a frame version), P1 (one process speaks for a node). Delivery is at most once: an error says nothing about the other side.

mod frame;
mod join;
mod link;
mod listener;
mod lives;
mod tls;

pub use join::join_call;
pub use lives::PATIENCE as TWIN_PATIENCE;
pub use tls::{Tls, fingerprint, node_name};

use crate::seam::net::{Answer, Kind, Lane, NodeNumber, Router, Transport};
use arc_swap::ArcSwap;
use bytes::Bytes;
use frame::Hello;
use link::Link;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::{io, time::Duration};
use tokio::sync::watch;

/// Both sides of this node's peer connections. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeNumber,
    cluster: String,
    configs: ArcSwap<tls::Configs>,
    router: Arc<Router>,
    /// Connections without a certificate that may be open at once.
    joining: tokio::sync::Semaphore,
    barred: watch::Sender<Barred>,
    /// This process, by a random name.
    process: u64,
    lives: Arc<lives::Lives>,
    refusals: lives::Refusals,
    known: Mutex<Known>,
    /// Tasks of listeners; dropping them closes listeners and accepted connections.
    listeners: Mutex<Vec<AbortOnDrop>>,
}

#[derive(Default)]
struct Known {
    addresses: HashMap<NodeNumber, watch::Sender<SocketAddr>>,
    links: HashMap<(NodeNumber, Lane), Link>,
}

/// Who may not call though its certificate is one of the site's (P5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Barred {
    /// Numbers that were taken out of the site and not given to another machine.
    pub nodes: BTreeSet<NodeNumber>,
    /// Certificates of machines that were taken out, and their public keys: SHA-256 of the DER, lower-case hex.
    pub certificates: BTreeSet<String>,
    /// Certificates of machines whose site was given up, as above, and what they are told of it: for good. Never by number, which may be
    /// another machine's by now.
    pub given_up: BTreeMap<String, String>,
}

impl Barred {
    fn holds(&self, node: NodeNumber, fingerprints: &[String]) -> bool {
        self.verdict(node, fingerprints).is_some()
    }

    /// Why a node may not call; `None` where it may.
    fn verdict(&self, node: NodeNumber, fingerprints: &[String]) -> Option<io::Error> {
        if let Some(told) = fingerprints.iter().find_map(|print| self.given_up.get(print)) {
            return Some(io::Error::new(GIVEN_UP, told.clone()));
        }
        let out = self.nodes.contains(&node) || fingerprints.iter().any(|print| self.certificates.contains(print));
        out.then(|| io::Error::new(io::ErrorKind::PermissionDenied, "this node was taken out of the site"))
    }
}

/// How a node is refused whose site was given up: an error that no socket gives.
const GIVEN_UP: io::ErrorKind = io::ErrorKind::StaleNetworkFileHandle;

/// Ends a task with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peers {
    /// `cluster` and `node` must be what the certificate names. Calls reach nobody before `set_address`.
    pub fn new(node: NodeNumber, cluster: &str, tls: &Tls, router: Arc<Router>) -> io::Result<Self> {
        let configs = Self::checked(node, cluster, tls)?;
        Ok(Peers {
            shared: Arc::new(Shared {
                node,
                cluster: cluster.to_owned(),
                configs: ArcSwap::from_pointee(configs),
                router,
                joining: tokio::sync::Semaphore::new(listener::JOINING),
                barred: watch::Sender::new(Barred::default()),
                process: uuid::Uuid::new_v4().as_u64_pair().1,
                lives: Arc::default(),
                refusals: lives::Refusals::default(),
                known: Mutex::default(),
                listeners: Mutex::default(),
            }),
        })
    }

    fn checked(node: NodeNumber, cluster: &str, tls: &Tls) -> io::Result<tls::Configs> {
        if tls.identity()? != (node, cluster.to_owned()) {
            let text = format!("the node's certificate must name {}", node_name(node, cluster));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        tls.configs()
    }

    /// Takes new certificates for connections made from now on; the old ones stay up.
    pub fn reload(&self, tls: &Tls) -> io::Result<()> {
        self.shared.configs.store(Arc::new(Self::checked(self.shared.node, &self.shared.cluster, tls)?));
        Ok(())
    }

    /// Who may not call now.
    pub fn barred(&self) -> Barred {
        self.shared.barred.borrow().clone()
    }

    /// Says who may not call from now on; what they have open is closed.
    pub fn bar(&self, barred: Barred) {
        self.shared.barred.send_if_modified(|old| std::mem::replace(old, barred.clone()) != barred);
    }

    /// The peer that refuses this process because another one runs as this node, and since when; the longest.
    pub fn twin(&self) -> Option<(NodeNumber, Duration)> {
        self.shared.refusals.longest()
    }

    /// What a peer said that refuses this process because its site was given up: for good.
    pub fn given_up(&self) -> Option<(NodeNumber, String)> {
        self.shared.refusals.given_up()
    }

    /// Listens for peers at `address` until closed; returns the address, for port 0.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = tokio::net::TcpListener::bind(address).await?;
        let bound = socket.local_addr()?;
        let task = tokio::spawn(listener::run(self.shared.clone(), socket));
        lock(&self.shared.listeners).push(AbortOnDrop(task));
        Ok(bound)
    }

    /// Stops listening and closes every connection. Calls fail from now on.
    pub fn close(&self) {
        lock(&self.shared.listeners).clear();
        *lock(&self.shared.known) = Known::default();
    }

    fn link(&self, to: NodeNumber, lane: Lane) -> io::Result<Link> {
        let mut known = lock(&self.shared.known);
        if let Some(link) = known.links.get(&(to, lane)) {
            return Ok(link.clone());
        }
        let Some(address) = known.addresses.get(&to).map(watch::Sender::subscribe) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no address of node {to}")));
        };
        let link = Link::start(self.shared.clone(), to, lane, address);
        known.links.insert((to, lane), link.clone());
        Ok(link)
    }
}

impl Shared {
    fn hello(&self, lane: u64) -> Hello {
        Hello {
            cluster: self.cluster.clone(),
            node: u64::from(self.node.0),
            oldest_version: frame::OLDEST_VERSION,
            newest_version: frame::NEWEST_VERSION,
            lane,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            process: self.process,
            ..Default::default()
        }
    }
}

impl Transport for Peers {
    fn call(&self, to: NodeNumber, lane: Lane, kind: Kind, payload: Bytes, timeout: Duration) -> Answer {
        let link = self.link(to, lane);
        Box::pin(async move {
            match tokio::time::timeout(timeout, link?.call(kind, payload)).await {
                Ok(answer) => answer,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("node {to} did not answer in time"))),
            }
        })
    }

    fn set_address(&self, node: NodeNumber, address: SocketAddr) {
        if node == self.shared.node {
            return;
        }
        let mut known = lock(&self.shared.known);
        match known.addresses.get(&node) {
            Some(sender) => {
                sender.send_if_modified(|old| std::mem::replace(old, address) != address);
            }
            None => {
                known.addresses.insert(node, watch::channel(address).0);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Settings of every peer socket: no delay for small frames, and a dead path is noticed in seconds, not minutes.
fn prepare(socket: &tokio::net::TcpStream) -> io::Result<()> {
    /// How long sent bytes may stay unacknowledged. Longer than any election, shorter than an operator's patience.
    const USER_TIMEOUT_MS: u32 = 5_000;
    socket.set_nodelay(true)?;
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::TcpUserTimeout, &USER_TIMEOUT_MS)?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::frame::*;
}
