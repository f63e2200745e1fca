//! The network between nodes as Spine sees it: one request, one answer, on a lane.
//!
//! `peer` implements it over mutual TLS; a simulation implements it in memory. Bulk (snapshots, blobs) goes as a
//! sequence of bounded calls, never as one large one. Delivery is at most once; an error says nothing about
//! whether the other side acted.

use bytes::Bytes;
use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

/// A member's number in the site: what an operator calls "node 3". It stays the same when the node is wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeNumber(pub u16);

impl std::fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Lanes have connections of their own, so that a heartbeat never waits behind bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Raft: votes, heartbeats, appends.
    Raft,
    /// Forwarded commands and read fences.
    Ask,
    /// Snapshot and blob pieces.
    Bulk,
}

/// What a frame asks for. Numbers are for ever: appended, never reused (docs/formats.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u16);

/// The longest payload of one call or answer, in bytes. Appends and pieces are cut to fit.
pub const MAX_PAYLOAD: usize = 16 << 20;

pub type Answer = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// Sends calls to other nodes.
pub trait Transport: Send + Sync + 'static {
    /// `timeout` bounds the whole call, connecting included.
    fn call(&self, to: NodeNumber, lane: Lane, kind: Kind, payload: Bytes, timeout: Duration) -> Answer;
    /// Tells where a node listens for peers, after a membership change. Unknown nodes cannot be called.
    fn set_address(&self, node: NodeNumber, address: std::net::SocketAddr);
}

/// Answers calls from other nodes. `from` is proven by the caller's certificate, never taken from the frame.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, from: NodeNumber, kind: Kind, payload: Bytes) -> Answer;
}

/// Handlers by kind; each room claims its kinds at wiring time.
#[derive(Default)]
pub struct Router {
    routes: std::sync::RwLock<std::collections::HashMap<Kind, Arc<dyn Handler>>>,
}

impl Router {
    pub fn claim(&self, kind: Kind, handler: Arc<dyn Handler>) {
        self.routes.write().unwrap_or_else(|e| e.into_inner()).insert(kind, handler);
    }
}

impl Handler for Router {
    fn handle(&self, from: NodeNumber, kind: Kind, payload: Bytes) -> Answer {
        let route = self.routes.read().unwrap_or_else(|e| e.into_inner()).get(&kind).cloned();
        match route {
            Some(handler) => handler.handle(from, kind, payload),
            None => Box::pin(async move {
                Err(io::Error::new(io::ErrorKind::Unsupported, format!("no handler for frame kind {}", kind.0)))
            }),
        }
    }
}

/// Frame kinds, all in one list.
pub mod kinds {
    use super::Kind;
    pub const RAFT_APPEND: Kind = Kind(1);
    pub const RAFT_VOTE: Kind = Kind(2);
    pub const RAFT_PRE_VOTE: Kind = Kind(3);
    pub const RAFT_SNAPSHOT_PIECE: Kind = Kind(4);
    pub const RAFT_TRANSFER: Kind = Kind(5);
    pub const LOG_FETCH: Kind = Kind(6);
    pub const SNAPSHOT_FETCH: Kind = Kind(7);
    pub const SUBMIT: Kind = Kind(16);
    pub const READ_FENCE: Kind = Kind(17);
    pub const ROOM: Kind = Kind(18);
    pub const BLOB_PUT: Kind = Kind(24);
    pub const BLOB_GET: Kind = Kind(25);
    pub const REJOIN: Kind = Kind(32);
    pub const STATUS: Kind = Kind(33);
    /// The only kind a caller without a certificate may send; it comes with node number 0.
    pub const JOIN: Kind = Kind(34);
    /// A change of members, asked of the site group's leader.
    pub const MEMBERSHIP: Kind = Kind(35);
    /// A site whose followers go on without those who voted.
    pub const SUCCESSION: Kind = Kind(36);
}
