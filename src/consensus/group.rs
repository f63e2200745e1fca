//! One Raft group on this node: leadership, proposals, fences, membership.

use super::api::{ConsensusError, GroupNumber, Leadership, Member, NotLeader, RaftId, Status};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::watch;

/// One group's handle. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

struct Inner {
    number: GroupNumber,
    leadership: watch::Sender<Leadership>,
    applied: watch::Sender<u64>,
}

impl Group {
    pub fn number(&self) -> GroupNumber {
        self.inner.number
    }

    /// Who leads, as it changes. `leading` becomes true only after this node has applied everything committed
    /// before its reign, so a decider may start at once.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// The last index applied here, as it rises.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.subscribe()
    }

    /// Queues an entry behind all earlier ones of this reign, to be logged only within it. `Ok` means queued, not
    /// committed: the outcome is the entry in [`StateMachine::apply`](super::StateMachine::apply), or a new reign.
    /// Waits only while the queue is full; callers must not run two proposals of one group at once if order matters.
    pub async fn propose(&self, reign: u64, payload: Bytes) -> Result<(), NotLeader> {
        let _ = (reign, payload);
        Err(NotLeader { leader: self.inner.leadership.borrow().leader })
    }

    /// An index such that a reader who has applied it sees everything acknowledged before this call. Asks a majority;
    /// callers that come together share one round.
    pub async fn read_index(&self) -> Result<u64, NotLeader> {
        Err(NotLeader { leader: self.inner.leadership.borrow().leader })
    }

    pub fn status(&self) -> Status {
        Status { group: self.inner.number, leadership: *self.inner.leadership.borrow(), ..Status::default() }
    }

    /// Makes the first members of a new site agree on themselves. Called once, on one node, with an empty log.
    pub async fn initialise(&self, members: &[Member]) -> Result<(), ConsensusError> {
        let _ = members;
        Err(NotLeader::default().into())
    }

    /// Gives leadership to `to`, or to the voter with the longest log. `Ok` when another node leads.
    pub async fn hand_over(&self, to: Option<RaftId>) -> Result<(), ConsensusError> {
        let _ = to;
        Ok(())
    }

    /// Adds a member without a vote, or changes a member's address.
    pub async fn add_learner(&self, id: RaftId, address: std::net::SocketAddr) -> Result<(), ConsensusError> {
        let _ = (id, address);
        Err(NotLeader::default().into())
    }

    /// Gives a learner a vote, in place of an earlier incarnation of the same node if there is one.
    pub async fn promote(&self, id: RaftId) -> Result<(), ConsensusError> {
        let _ = id;
        Err(NotLeader::default().into())
    }

    /// Takes a member out of the group.
    pub async fn remove(&self, id: RaftId) -> Result<(), ConsensusError> {
        let _ = id;
        Err(NotLeader::default().into())
    }

    /// Starts a sealed snapshot of this node's state now; the log is cut below it when it is done.
    pub async fn trigger_snapshot(&self) -> Result<(), ConsensusError> {
        Ok(())
    }
}
