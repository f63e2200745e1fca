//! One Raft group on this node: leadership, proposals, fences, membership.

use super::api::{ConsensusError, Fatal, GroupNumber, Leadership, Member, NotLeader, RaftId, StateMachine, Status};
use super::consensus::Shared;
use super::driver;
use super::machine::{Machine, Progress, state_of};
use super::network::Network;
use super::reign::{Outcome, Reign, Ticket};
use super::snapshot::Receiving;
use super::storage::LogStorage;
use super::types::{MEMBERSHIP_TAG, Peer, Proposal, Runtime, Types, members, outside};
use crate::log::GroupLog;
use crate::ops::metrics as names;
use crate::seam::net::NodeNumber;
use crate::seam::trouble::{Planted, late, planted};
use crate::store::{Partition, SnapshotInfo, StoreError};
use bytes::Bytes;
use openraft::Instant;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft::{ChangeMembers, Raft, RaftMetrics};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Readers that wait for one round of fences.
const READERS: usize = 4096;
/// How long a change of members may take before its caller is told that the outcome is open.
const CHANGE: Duration = Duration::from_secs(10);
/// Between two tries while another change of members is under way.
const CHANGE_PAUSE: Duration = Duration::from_millis(20);
/// How long a hand-over waits for proposals under way: a few disk syncs.
const DRAIN: Duration = Duration::from_millis(250);
/// How late a simulation may make a proposal.
const LATE: Duration = Duration::from_millis(2_000);

/// One group's handle. Cheap to clone. Its tasks run until consensus is shut down.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

pub type Reader = oneshot::Sender<Result<u64, NotLeader>>;

struct Inner {
    number: GroupNumber,
    id: RaftId,
    raft: Raft<Types, Machine>,
    log: GroupLog,
    partition: Arc<Partition>,
    progress: Arc<Progress>,
    leadership: watch::Sender<Leadership>,
    reign: Mutex<Arc<Reign>>,
    readers: mpsc::Sender<Reader>,
    receiving: tokio::sync::Mutex<Option<Receiving>>,
    election: Duration,
    fatal: Fatal,
    /// Nodes that should not lead now.
    avoided: Mutex<BTreeSet<NodeNumber>>,
    /// The last entry that may be cut off, for all who read the log elsewhere.
    held: AtomicU64,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Group {
    pub(super) async fn open(
        shared: &Arc<Shared>,
        number: GroupNumber,
        engine: Arc<dyn StateMachine>,
    ) -> Result<Self, ConsensusError> {
        let (parts, options) = (&shared.parts, &shared.options);
        let partition = parts.store.partition(number).map_err(|e| ConsensusError::Storage(e.to_string()))?;
        let (_, known) = state_of(&partition.applied()).map_err(|e| ConsensusError::Storage(e.to_string()))?;
        shared.learn(number, &members(known.membership()));
        let log = parts.log.group(number);
        yield_to_snapshot(&log, &partition).await.map_err(|e| ConsensusError::Storage(e.to_string()))?;
        let progress = Arc::new(Progress::new());
        progress.applied.send_replace(partition.applied().index);
        let fatal = options.fatal.clone();
        let machine =
            Machine { group: number, partition: partition.clone(), engine, progress: progress.clone(), fatal };
        let network = Network {
            group: number,
            id: options.id,
            transport: parts.transport.clone(),
            partition: partition.clone(),
            fatal: options.fatal.clone(),
        };
        let storage = LogStorage::new(log.clone(), partition.clone(), options.fatal.clone());
        let config = driver::config(options).map_err(|e| ConsensusError::Raft(e.to_string()))?;
        let mut seed = [0; 8];
        parts.rng.fill(&mut seed);
        let raft = Raft::new(options.id.0, config, network, storage, machine);
        let raft = Runtime::scope(u64::from_le_bytes(seed), raft).await;
        let raft = raft.map_err(|e| ConsensusError::Storage(e.to_string()))?;
        let (readers, waiting) = mpsc::channel(READERS);
        let group = Group {
            inner: Arc::new(Inner {
                number,
                id: options.id,
                raft,
                log,
                partition,
                progress,
                leadership: watch::channel(Leadership::default()).0,
                reign: Mutex::new(Arc::new(Reign::over())),
                readers,
                receiving: tokio::sync::Mutex::default(),
                election: options.election.1,
                fatal: options.fatal.clone(),
                avoided: Mutex::default(),
                held: options.hold.into(),
                tasks: Mutex::default(),
            }),
        };
        *lock(&group.inner.tasks) = driver::start(shared, &group, waiting);
        Ok(group)
    }

    pub fn number(&self) -> GroupNumber {
        self.inner.number
    }

    /// This node's id in the group.
    pub fn id(&self) -> RaftId {
        self.inner.id
    }

    /// Who leads, as it changes. `leading` becomes true only after this node has applied everything committed
    /// before its reign, so a decider may start at once.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// The last index applied here, as it rises.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.progress.applied.subscribe()
    }

    /// Queues an entry behind all earlier ones of this reign, to be logged only within it. `Ok` means queued, not
    /// committed: the outcome is the entry in [`StateMachine::apply`](super::StateMachine::apply), or a new reign.
    /// Waits while log or store are behind (P6); calls of one group must not overlap if their order matters.
    ///
    /// The payload must not be empty, and its first byte (a record's version) not be 255.
    pub async fn propose(&self, reign: u64, payload: Bytes) -> Result<(), NotLeader> {
        let current = self.reign();
        if current.number() != reign || payload.first().is_none_or(|b| *b == MEMBERSHIP_TAG) {
            return Err(self.not_leader());
        }
        self.inner.log.room().await;
        self.inner.partition.room().await;
        let ticket = current.enter().ok_or_else(|| self.not_leader())?;
        self.write(ticket, payload).await
    }

    pub(super) async fn write(&self, ticket: Ticket, payload: Bytes) -> Result<(), NotLeader> {
        let reign = ticket.reign().clone();
        let term = CommittedLeaderId::new(reign.term());
        late(LATE).await;
        let proposal = Proposal { payload, reign: Some(reign) };
        let request = self.inner.raft.write(proposal).responder(Outcome::of(ticket));
        let request = if planted(Planted::AnyTerm) { request } else { request.with_leader(term) };
        request.await.map_err(|_| self.not_leader())
    }

    /// An index such that a reader who has applied it sees everything acknowledged before this call. Asks a majority;
    /// callers that come together share one round.
    pub async fn read_index(&self) -> Result<u64, NotLeader> {
        let (tell, told) = oneshot::channel();
        self.inner.readers.send(tell).await.map_err(|_| self.not_leader())?;
        told.await.unwrap_or_else(|_| Err(self.not_leader()))
    }

    pub(super) fn not_leader(&self) -> NotLeader {
        NotLeader { leader: self.inner.leadership.borrow().leader.filter(|l| *l != self.inner.id) }
    }

    pub fn status(&self) -> Status {
        let metrics = self.metrics();
        let index = |at: &Option<super::types::LogId>| at.map_or(0, |at| outside(at.index));
        let matched = metrics.replication.iter().flatten();
        let membership = metrics.membership_config.membership();
        Status {
            group: self.inner.number,
            leadership: *self.inner.leadership.borrow(),
            last: metrics.last_log_index.map_or(0, outside),
            committed: index(&metrics.local_committed),
            applied: *self.inner.progress.applied.borrow(),
            snapshot: index(&metrics.snapshot),
            cut: index(&metrics.purged),
            members: members(membership),
            joint: membership.get_joint_config().len() > 1,
            matched: matched.map(|(id, at)| (RaftId(*id), index(at))).collect(),
            quorum_age_ms: metrics.last_quorum_acked.map(|at| at.elapsed().as_millis() as u64),
        }
    }

    /// How long a sync of this node's log takes just now, of whatever groups; `None` while too few were made to say so.
    pub fn sync_time(&self) -> Option<Duration> {
        self.inner.log.sync_time()
    }

    /// Members as this node knows them now, committed or not.
    pub fn members(&self) -> Vec<Member> {
        members(self.metrics().membership_config.membership())
    }

    /// Makes the first members of a new site agree on themselves. Called once, on one node, with an empty log.
    pub async fn initialise(&self, members: &[Member]) -> Result<(), ConsensusError> {
        let nodes: BTreeMap<u64, Peer> = members.iter().map(|m| (m.id.0, Peer { address: m.address })).collect();
        self.inner.raft.initialize(nodes).await.map_err(|e| ConsensusError::Raft(e.to_string()))
    }

    /// Gives leadership to `to`, or to the voter with the longest log. `Ok` when this node does not lead any more.
    /// Proposals under way are finished first; new ones are refused from the start.
    pub async fn hand_over(&self, to: Option<RaftId>) -> Result<(), ConsensusError> {
        if self.inner.leadership.borrow().leader != Some(self.inner.id) {
            return Ok(());
        }
        let to = to.or_else(|| self.successor());
        let to = to.ok_or_else(|| ConsensusError::Membership("no other voter can lead".into()))?;
        let reign = self.reign();
        reign.close();
        let _ = tokio::time::timeout(DRAIN, reign.wait(Reign::settled)).await;
        let trigger = self.inner.raft.trigger().transfer_leader(to.0).await;
        trigger.map_err(|e| ConsensusError::Raft(e.to_string()))?;
        let mut leadership = self.leadership();
        let changed = leadership.wait_for(|l| l.leader.is_some_and(|leader| leader != self.inner.id));
        let outcome = tokio::time::timeout(self.inner.election * 2, changed).await;
        // If nobody took over, this node may go on, but not in the reign that was closed.
        reign.spoil();
        outcome.map(drop).map_err(|_| ConsensusError::Timeout)
    }

    /// Says which nodes should not lead now, as far as is known above: leadership goes to none of them for balance, and
    /// at a hand-over only where there is no other.
    pub fn avoid(&self, nodes: BTreeSet<NodeNumber>) {
        *lock(&self.inner.avoided) = nodes;
    }

    pub(super) fn avoids(&self, node: NodeNumber) -> bool {
        lock(&self.inner.avoided).contains(&node)
    }

    /// The other voter with the longest log that answered last, if it can be one that may lead.
    fn successor(&self) -> Option<RaftId> {
        let metrics = self.metrics();
        let acknowledged = |id: &u64| metrics.heartbeat.as_ref()?.get(id).copied().flatten();
        let matched = metrics.replication.as_ref()?;
        let voters = metrics.membership_config.voter_ids().filter(|id| *id != self.inner.id.0);
        let fresh = voters.filter(|id| acknowledged(id).is_some_and(|at| at.elapsed() < self.inner.election));
        let rank = |id: &u64| (!self.avoids(RaftId(*id).node()), matched.get(id).copied().flatten().map(|at| at.index));
        fresh.max_by_key(rank).map(RaftId)
    }

    /// Adds a member without a vote, or changes a member's address. Leader only.
    pub async fn add_learner(&self, id: RaftId, address: SocketAddr) -> Result<(), ConsensusError> {
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(id.0, Peer { address })]))).await
    }

    /// Gives a learner a vote, in place of an earlier incarnation of the same node if there is one. Leader only.
    pub async fn promote(&self, id: RaftId) -> Result<(), ConsensusError> {
        let voters = self.metrics().membership_config.voter_ids().collect::<Vec<_>>();
        let others = voters.into_iter().filter(|v| RaftId(*v).node() != id.node());
        self.change(ChangeMembers::ReplaceAllVoters(others.chain([id.0]).collect())).await
    }

    /// Leaves the vote to these voters only; the others go on learning. Leader only, and one of them.
    pub async fn leave_vote_to(&self, voters: BTreeSet<RaftId>) -> Result<(), ConsensusError> {
        self.change_keeping(ChangeMembers::ReplaceAllVoters(voters.into_iter().map(|id| id.0).collect())).await
    }

    /// Takes a member out of the group. Leader only.
    pub async fn remove(&self, id: RaftId) -> Result<(), ConsensusError> {
        let voters: BTreeSet<u64> = self.metrics().membership_config.voter_ids().collect();
        if voters.contains(&id.0) {
            let rest = voters.into_iter().filter(|v| *v != id.0).collect();
            return self.change(ChangeMembers::ReplaceAllVoters(rest)).await;
        }
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id.0]))).await
    }

    /// Leaves a half-finished change of voters behind. Leader only.
    pub(super) async fn settle_members(&self) -> Result<(), ConsensusError> {
        self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await
    }

    async fn change(&self, change: ChangeMembers<u64, Peer>) -> Result<(), ConsensusError> {
        tokio::time::timeout(CHANGE, self.change_in_turn(change, false)).await.unwrap_or(Err(ConsensusError::Timeout))
    }

    /// As `change`, and who loses its vote stays a member.
    async fn change_keeping(&self, change: ChangeMembers<u64, Peer>) -> Result<(), ConsensusError> {
        tokio::time::timeout(CHANGE, self.change_in_turn(change, true)).await.unwrap_or(Err(ConsensusError::Timeout))
    }

    async fn change_in_turn(&self, change: ChangeMembers<u64, Peer>, keep: bool) -> Result<(), ConsensusError> {
        use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
        loop {
            match self.inner.raft.change_membership(change.clone(), keep).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                    return Err(NotLeader { leader: to.leader_id.map(RaftId) }.into());
                }
                // One change at a time: another one, perhaps of the leader's own making, comes first.
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => tokio::time::sleep(CHANGE_PAUSE).await,
                Err(RaftError::APIError(e)) => return Err(ConsensusError::Membership(e.to_string())),
                Err(RaftError::Fatal(e)) => return Err(ConsensusError::Raft(e.to_string())),
            }
        }
    }

    /// Seals a snapshot of this node's state, in the background; the log is cut below it later. A failure, as on a full
    /// disk, costs nothing: the snapshots before stay, and the log is kept.
    pub async fn trigger_snapshot(&self) -> Result<(), ConsensusError> {
        self.seal_for(true).await
    }

    /// As [`Group::trigger_snapshot`], in the place of one that was lost: until it is there this node has a copy less, so it
    /// does not stand back behind clients (P7).
    pub async fn reseal(&self) -> Result<(), ConsensusError> {
        self.seal_for(false).await
    }

    async fn seal_for(&self, gently: bool) -> Result<(), ConsensusError> {
        super::snapshot::seal(&self.inner.partition, gently, &self.inner.fatal)
            .await
            .map_err(|e| ConsensusError::Storage(e.to_string()))?;
        self.inner.progress.sealed.store(true, Ordering::Relaxed);
        self.inner.raft.trigger().snapshot().await.map_err(|e| ConsensusError::Raft(e.to_string()))
    }

    /// Keeps entries behind `index` in this node's log, even where a snapshot holds them. `u64::MAX`: none are kept for that.
    pub fn hold_log(&self, index: u64) {
        self.inner.held.store(index, Ordering::Relaxed);
    }

    /// Log bytes applied since the group was opened.
    pub fn applied_bytes(&self) -> u64 {
        self.inner.progress.bytes.load(Ordering::Relaxed)
    }

    /// Stops the group on this node, without handing over.
    pub(super) async fn stop(&self) {
        self.reign().spoil();
        if let Err(e) = self.inner.raft.shutdown().await {
            tracing::warn!(event = "raft.stop", group = self.inner.number, why = %e, "group did not stop cleanly");
        }
        for task in lock(&self.inner.tasks).drain(..) {
            task.abort();
        }
    }
}

/// For the rest of the room.
impl Group {
    pub(super) fn raft(&self) -> &Raft<Types, Machine> {
        &self.inner.raft
    }
    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.inner.partition
    }
    pub(super) fn receiving(&self) -> &tokio::sync::Mutex<Option<Receiving>> {
        &self.inner.receiving
    }
    pub(super) async fn seal(&self) -> Result<SnapshotInfo, StoreError> {
        super::snapshot::seal(&self.inner.partition, false, &self.inner.fatal).await
    }
    pub(super) async fn log_room(&self) {
        self.inner.log.room().await;
    }
    pub(super) fn metrics(&self) -> RaftMetrics<Types> {
        self.inner.raft.metrics().borrow_watched().clone()
    }
    pub(super) fn reign(&self) -> Arc<Reign> {
        lock(&self.inner.reign).clone()
    }
    pub(super) fn set_reign(&self, reign: Arc<Reign>) {
        *lock(&self.inner.reign) = reign;
    }
    pub(super) fn applied_term(&self) -> watch::Receiver<u64> {
        self.inner.progress.term.subscribe()
    }
    pub(super) fn log(&self) -> &GroupLog {
        &self.inner.log
    }
    pub(super) fn held(&self) -> u64 {
        self.inner.held.load(Ordering::Relaxed)
    }
    /// Tells everyone who leads.
    pub(super) fn publish(&self, now: Leadership) {
        let changed = self.inner.leadership.send_if_modified(|old| std::mem::replace(old, now) != now);
        if changed {
            let label = self.inner.number.to_string();
            metrics::gauge!(names::RAFT_IS_LEADER, "partition" => label.clone()).set(f64::from(u8::from(now.leading)));
            metrics::gauge!(names::RAFT_TERM, "partition" => label).set(now.term as f64);
        }
    }
}

/// Cuts entries off that contradict a sealed snapshot ahead of the rows. A node that had led without a majority may die
/// when a snapshot has come in whole and before its own tail was cut; the library would find the log at odds with the
/// rows at every start. What a snapshot holds was committed, so what contradicts it never was.
async fn yield_to_snapshot(log: &GroupLog, partition: &Partition) -> std::io::Result<()> {
    let Some(sealed) = partition.newest().map(|s| s.before) else { return Ok(()) };
    let held = log.state().last.is_some_and(|(last, ..)| last >= sealed.index);
    if sealed.index <= partition.applied().index || !held {
        return Ok(());
    }
    let entry = log.read(sealed.index..sealed.index + 1, 1).await?.pop();
    if entry.is_none_or(|entry| entry.term == sealed.term) {
        return Ok(());
    }
    tracing::warn!(event = "raft.tail_cut", group = log.id(), from = sealed.index, "entries that were never committed");
    log.truncate_after(sealed.index.checked_sub(1)).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
