//! What other rooms see of consensus: groups, leadership, proposals, and the state machine they feed.
//!
//! A *reign* is one unbroken stretch of being able to propose. A term may hold several: when a proposal is refused
//! in the middle of a term (an expired lease, a hand-over that failed), everything proposed after it in that reign
//! is voided, and a new reign starts only when every earlier proposal has been applied or dropped. So what a
//! decider has piled onto its overlay is either committed in order without a hole, or dropped from some point on.

use crate::seam::net::NodeNumber;
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// A Raft group's number: the partition's.
pub type GroupNumber = u16;

/// Called with the reason when going on could break a promise (P7). Must end the process.
pub type Fatal = Arc<dyn Fn(&str) + Send + Sync>;

/// A member of a group, as Raft knows it: node number and incarnation. A node whose log was lost comes back with the
/// next incarnation, so that it can never take back a vote or an acknowledgement (docs/decisions/incarnations.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RaftId(pub u64);

impl RaftId {
    pub fn new(node: NodeNumber, incarnation: u16) -> Self {
        RaftId(u64::from(node.0) << 16 | u64::from(incarnation))
    }
    pub fn node(self) -> NodeNumber {
        NodeNumber((self.0 >> 16) as u16)
    }
    pub fn incarnation(self) -> u16 {
        self.0 as u16
    }
}

impl std::fmt::Display for RaftId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.node(), self.incarnation())
    }
}

/// A committed entry, as the state machine gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    /// Term in which it was appended to the log.
    pub term: u64,
    /// What was proposed. Empty for the group's own entries (new leader, membership) and for voided proposals:
    /// they change no rows, and the state machine must still take their position.
    pub payload: Bytes,
}

/// Implemented by the engine: takes committed entries in log order, on every replica.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies entries and moves the store's applied position to the last of them. Called by one task per group,
    /// never twice at once, with indexes rising by one. After a restart entries behind the store's durable position
    /// come again. Must not wait for anything but the store's memory.
    fn apply(&self, group: GroupNumber, entries: Vec<Entry>);

    /// A snapshot took the place of the group's rows: everything up to `index` is applied without having come through
    /// [`StateMachine::apply`]. Whoever waits for an index must be told.
    fn installed(&self, group: GroupNumber, index: u64) {
        let _ = (group, index);
    }
}

/// Who leads a group, as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Leadership {
    pub term: u64,
    /// The leader of `term`, if this node knows it.
    pub leader: Option<RaftId>,
    /// True when this node may propose: it leads, and has applied everything committed before.
    pub leading: bool,
    /// Rises whenever `leading` was lost or gained. What was decided under one reign must never be proposed under
    /// another: drop the overlay whenever this number changes.
    pub reign: u64,
}

/// This node cannot propose or fence now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("this node does not lead the group")]
pub struct NotLeader {
    /// The leader, if known.
    pub leader: Option<RaftId>,
}

/// A member of a group and where it listens for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub id: RaftId,
    pub address: SocketAddr,
    /// False for a learner, which copies the log and has no vote.
    pub voter: bool,
}

/// A group as `spine status` and the metrics show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub group: GroupNumber,
    pub leadership: Leadership,
    /// Last index in this node's log.
    pub last: u64,
    /// Last index known to be committed.
    pub committed: u64,
    /// Last index applied to this node's store.
    pub applied: u64,
    /// Last index covered by this node's own sealed snapshot.
    pub snapshot: u64,
    /// Last index that was cut off this node's log; 0 while it reaches back to the beginning.
    pub cut: u64,
    pub members: Vec<Member>,
    /// Members are being changed: until that is done, a majority of the voters before is needed too.
    pub joint: bool,
    /// For each other member its last acknowledged index; known to the leader only.
    pub matched: Vec<(RaftId, u64)>,
    /// Milliseconds since a majority last answered the leader; known to the leader only.
    pub quorum_age_ms: Option<u64>,
}

/// Why a group could not be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    #[error("storage: {0}")]
    Storage(String),
    #[error("raft: {0}")]
    Raft(String),
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    #[error("no answer in time")]
    Timeout,
    /// The group is being changed already, or the change makes no sense for its members.
    #[error("membership: {0}")]
    Membership(String),
}

/// What a node tells consensus about itself.
#[derive(Clone)]
pub struct Options {
    /// The site's id, as in every node certificate.
    pub cluster: String,
    pub id: RaftId,
    /// Where this node listens for peers.
    pub address: SocketAddr,
    /// How often a leader shows that it is alive.
    pub heartbeat: Duration,
    /// A follower that has heard nothing for a random time between these asks for votes.
    pub election: (Duration, Duration),
    /// Log bytes applied since the last sealed snapshot that make the next one due; more where the last snapshot was
    /// longer than that, so that a large partition is not written over and over.
    pub snapshot_after_bytes: u64,
    /// Log bytes kept behind the newest sealed snapshot for followers that lag.
    pub keep_bytes: u64,
    /// How long a node leads a group before it gives it to the member whose turn that group is, so that the groups'
    /// work is spread over the site again after a failure. `None`: never.
    pub balance_after: Option<Duration>,
    /// No log is cut behind this entry before [`super::Group::hold_log`] was told.
    pub hold: u64,
    pub fatal: Fatal,
}

impl Options {
    /// The defaults of production; `fatal` aborts the process.
    pub fn new(cluster: impl Into<String>, id: RaftId, address: SocketAddr) -> Self {
        Options {
            cluster: cluster.into(),
            id,
            address,
            heartbeat: Duration::from_millis(100),
            election: (Duration::from_millis(300), Duration::from_millis(600)),
            snapshot_after_bytes: 256 << 20,
            keep_bytes: 64 << 20,
            balance_after: Some(Duration::from_secs(60)),
            hold: u64::MAX,
            fatal: Arc::new(|why| {
                tracing::error!(event = "consensus.fatal", why, "stopping: going on could break a promise");
                std::process::abort()
            }),
        }
    }
}
