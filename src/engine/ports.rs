//! What the engine needs of the rooms below, so that deciding and forwarding can be tried without a disk or a
//! majority. Implemented here for consensus and store; by an in-memory group in tests.

use crate::consensus::{Group, Leadership, NotLeader, RaftId};
use crate::seam::net::NodeNumber;
use crate::store::{Partition, Position, Reader, RowOp};
use bytes::Bytes;
use std::{collections::BTreeSet, future::Future, pin::Pin, time::Duration};
use tokio::sync::watch;

pub type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A partition's group.
pub trait Agreement: Send + Sync {
    fn leadership(&self) -> watch::Receiver<Leadership>;
    fn propose(&self, reign: u64, payload: Bytes) -> Wait<'_, Result<(), NotLeader>>;
    fn read_index(&self) -> Wait<'_, Result<u64, NotLeader>>;
    /// Voters other than this node.
    fn others(&self, me: NodeNumber) -> Vec<RaftId>;
    fn hand_over(&self, to: Option<RaftId>) -> Wait<'_, Result<(), String>>;
    /// Nodes that should not be given leadership now.
    fn avoid(&self, nodes: BTreeSet<NodeNumber>);
    /// How long a sync of this node's log takes just now; `None` while too few were made to say so.
    fn sync_time(&self) -> Option<Duration>;
}

impl Agreement for Group {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        Group::leadership(self)
    }
    fn propose(&self, reign: u64, payload: Bytes) -> Wait<'_, Result<(), NotLeader>> {
        Box::pin(Group::propose(self, reign, payload))
    }
    fn read_index(&self) -> Wait<'_, Result<u64, NotLeader>> {
        Box::pin(Group::read_index(self))
    }
    fn others(&self, me: NodeNumber) -> Vec<RaftId> {
        self.status().members.into_iter().filter(|m| m.voter && m.id.node() != me).map(|m| m.id).collect()
    }
    fn hand_over(&self, to: Option<RaftId>) -> Wait<'_, Result<(), String>> {
        Box::pin(async move { Group::hand_over(self, to).await.map_err(|e| e.to_string()) })
    }
    fn avoid(&self, nodes: BTreeSet<NodeNumber>) {
        Group::avoid(self, nodes);
    }
    fn sync_time(&self) -> Option<Duration> {
        Group::sync_time(self)
    }
}

/// A partition's rows on this node.
pub trait Rows: Reader + Send + Sync {
    fn applied_index(&self) -> u64;
    fn apply(&self, at: Position, rows: &[RowOp]);
    /// False while what is here must not be shown: damaged, or not caught up behind a snapshot.
    fn servable(&self) -> bool;
    /// Waits until the store can take more rows.
    fn room(&self) -> Wait<'_, ()>;
}

impl Rows for Partition {
    fn applied_index(&self) -> u64 {
        self.applied().index
    }
    fn apply(&self, at: Position, rows: &[RowOp]) {
        Partition::apply(self, at, rows);
    }
    fn servable(&self) -> bool {
        Partition::servable(self)
    }
    fn room(&self) -> Wait<'_, ()> {
        Box::pin(Partition::room(self))
    }
}
