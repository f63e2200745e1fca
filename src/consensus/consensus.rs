//! All groups of this node: what they share, and how they start and stop.

use super::api::{ConsensusError, GroupNumber, Member, Options, RaftId, StateMachine};
use super::group::Group;
use super::handler::{KINDS, RaftHandler};
use crate::log::Log;
use crate::seam::net::{NodeNumber, Router, Transport};
use crate::seam::rng::Rng;
use crate::store::Store;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

/// The group whose members are the site's members; the other groups follow it.
pub const SITE_GROUP: GroupNumber = 0;
/// How long a stopping node waits for others to take over what it leads.
const HAND_OVER: Duration = Duration::from_secs(2);

/// What consensus stands on.
#[derive(Clone)]
pub struct Parts {
    pub log: Log,
    pub store: Store,
    pub transport: Arc<dyn Transport>,
    pub router: Arc<Router>,
    /// Where the library's election timeouts come from.
    pub rng: Arc<dyn Rng>,
}

/// This node's part in all groups. Cheap to clone.
#[derive(Clone)]
pub struct Consensus {
    shared: Arc<Shared>,
}

/// What all groups of a node share.
pub struct Shared {
    pub parts: Parts,
    pub options: Options,
    groups: RwLock<BTreeMap<GroupNumber, Group>>,
    addresses: Mutex<HashMap<NodeNumber, Rank>>,
    /// One new incarnation at a time.
    pub admissions: tokio::sync::Mutex<()>,
}

/// Who said where a node listens: later incarnations know better, and the site group knows better than the others.
type Rank = (u16, bool);

impl Consensus {
    /// Claims the Raft kinds on the router. Groups answer once they are opened.
    pub fn new(parts: Parts, options: Options) -> Self {
        let router = parts.router.clone();
        let shared = Arc::new(Shared {
            parts,
            options,
            groups: RwLock::default(),
            addresses: Mutex::default(),
            admissions: Default::default(),
        });
        let handler = Arc::new(RaftHandler { shared: Arc::downgrade(&shared) });
        for kind in KINDS {
            router.claim(kind, handler.clone());
        }
        Consensus { shared }
    }

    /// Starts this node's part in a group from its log and rows. Entries known to be committed are applied through
    /// `machine` before this returns.
    pub async fn open(&self, number: GroupNumber, machine: Arc<dyn StateMachine>) -> Result<Group, ConsensusError> {
        let group = Group::open(&self.shared, number, machine).await?;
        self.shared.write().insert(number, group.clone());
        Ok(group)
    }

    pub fn group(&self, number: GroupNumber) -> Option<Group> {
        self.shared.group(number)
    }

    pub fn groups(&self) -> Vec<Group> {
        self.shared.groups()
    }

    /// This node's Raft id.
    pub fn id(&self) -> RaftId {
        self.shared.options.id
    }

    /// Gives a node a new incarnation in the site group: called on the site group's leader, for a machine that joins
    /// or comes back without its data. The other groups follow by themselves.
    pub async fn admit(&self, node: NodeNumber, address: SocketAddr) -> Result<RaftId, ConsensusError> {
        super::rejoin::admit(&self.shared, node, address).await
    }

    /// Takes a node out of the site, and so out of every group. Called on the site group's leader; if that is the
    /// node itself, it hands over first, and the caller asks the next leader.
    pub async fn expel(&self, node: NodeNumber) -> Result<(), ConsensusError> {
        let site = self.group(SITE_GROUP).ok_or(ConsensusError::Membership("no site group here".into()))?;
        if node == self.id().node() {
            site.hand_over(None).await?;
            return Err(site.not_leader().into());
        }
        for member in site.members().into_iter().filter(|m| m.id.node() == node) {
            site.remove(member.id).await?;
        }
        Ok(())
    }

    /// Fills damaged stretches of the log with entries fetched from other members, or passes over them with a member's
    /// snapshot. Call before any group is opened; `peers` are tried beside the members that the rows name. Returns what
    /// could not be filled: the node must then come back as its next incarnation.
    pub async fn repair(
        &self,
        damage: Vec<crate::log::Damage>,
        peers: &[(NodeNumber, SocketAddr)],
    ) -> Vec<crate::log::Damage> {
        super::repair::repair(&self.shared, damage, peers).await
    }

    /// As [`Consensus::repair`], while the groups run: from what this node still has in memory, or from a peer. What is
    /// left can still be had when the node starts again.
    pub async fn mend(
        &self,
        damage: Vec<crate::log::Damage>,
        peers: &[(NodeNumber, SocketAddr)],
    ) -> Vec<crate::log::Damage> {
        super::repair::mend(&self.shared, damage, peers).await
    }

    /// Groups whose log begins behind their rows, so that the rows cannot be rebuilt from it: the store was lost.
    pub fn gaps(&self) -> Vec<GroupNumber> {
        super::refill::gaps(&self.shared)
    }

    /// Rebuilds groups that are in [`Consensus::gaps`] from their own newest snapshots that are whole; rotten ones are removed, so
    /// that no start rests on them. Returns the groups that are not behind any more.
    pub async fn rebuild(&self, behind: &[GroupNumber]) -> Vec<GroupNumber> {
        super::refill::rebuild(&self.shared, behind).await
    }

    /// Fetches the rows of groups with such a gap from other members, before any group is opened. Returns the groups
    /// for which nobody had them.
    pub async fn refill(&self, groups: Vec<GroupNumber>, peers: &[(NodeNumber, SocketAddr)]) -> Vec<GroupNumber> {
        super::refill::refill(&self.shared, groups, peers).await
    }

    /// Hands over everything this node leads, then stops all groups. Log and store may be closed afterwards.
    pub async fn shutdown(&self) {
        let groups = self.groups();
        let shared_out = groups.iter().filter(|g| g.members().iter().any(|m| m.voter && m.id != g.id()));
        let hand_overs = shared_out.map(|group| async move {
            let handed = tokio::time::timeout(HAND_OVER, group.hand_over(None)).await;
            if !matches!(handed, Ok(Ok(()))) {
                tracing::warn!(event = "raft.hand_over_failed", group = group.number(), "nobody took the group over");
            }
        });
        futures_util::future::join_all(hand_overs).await;
        for group in &groups {
            group.stop().await;
        }
        self.shared.write().clear();
    }
}

impl Shared {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<GroupNumber, Group>> {
        self.groups.write().unwrap_or_else(|e| e.into_inner())
    }

    pub fn group(&self, number: GroupNumber) -> Option<Group> {
        self.groups.read().unwrap_or_else(|e| e.into_inner()).get(&number).cloned()
    }

    pub fn groups(&self) -> Vec<Group> {
        self.groups.read().unwrap_or_else(|e| e.into_inner()).values().cloned().collect()
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<NodeNumber, Rank>> {
        self.addresses.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes over where a group's members listen.
    pub fn learn(&self, group: GroupNumber, members: &[Member]) {
        let mut addresses = self.addresses();
        for member in members.iter().filter(|m| m.id.node() != self.options.id.node()) {
            let rank = (member.id.incarnation(), group == SITE_GROUP);
            if addresses.get(&member.id.node()).is_none_or(|old| *old <= rank) {
                addresses.insert(member.id.node(), rank);
                self.parts.transport.set_address(member.id.node(), member.address);
            }
        }
    }
}
