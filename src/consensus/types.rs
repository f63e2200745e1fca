//! The Raft library's types for Spine, and how they are written to disk and wire.
//!
//! The library counts entries from 0; everything outside it counts from 1, so that 0 can mean "nothing yet".
//! [`outside`] and [`inside`] are the only places that know. Formats: `docs/formats.md`, "Raft entries and votes".

use super::api::{Member, RaftId};
use super::reign::{Outcome, Reign};
use crate::log::LogRecord;
use crate::record;
use crate::seam::trouble::{Planted, planted};
use crate::wire::record::{Malformed, Record};
use bytes::Bytes;
use openraft::vote::RaftVote;
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Tokio, with luck that comes from the seed given where a group is opened, so that a simulation can repeat it.
pub type Runtime = openraft::rt::deterministic_rng::DeterministicRng<openraft::TokioRuntime>;

/// What the library is made of here: one leader per term, bytes as entries.
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct Types;

impl RaftTypeConfig for Types {
    type D = Proposal;
    type R = ();
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Proposal, u64, Peer>;
    type Entry = openraft::Entry<CommittedLeaderId<u64>, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Outcome<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub type LogId = openraft::LogId<CommittedLeaderId<u64>>;
pub type Vote = openraft::Vote<LeaderId<u64, u64>>;
pub type Entry = openraft::Entry<CommittedLeaderId<u64>, EntryPayload<Proposal, u64, Peer>>;
pub type Membership = openraft::Membership<u64, Peer>;
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId<u64>, u64, Peer>;
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId<u64>, u64, Peer>;
/// A snapshot, with whatever stands for its data.
pub type Snapshot<Data> = openraft::Snapshot<CommittedLeaderId<u64>, u64, Peer, Data>;

/// What a leader was asked to append. On its way into the log it carries its reign; read back it does not.
#[derive(Clone, Default)]
pub struct Proposal {
    pub payload: Bytes,
    pub reign: Option<Arc<Reign>>,
}

impl Proposal {
    /// The bytes to log: none if something proposed earlier in the same reign was refused.
    fn settled(&self) -> Bytes {
        match &self.reign {
            Some(reign) if reign.broken() && !planted(Planted::AnyTerm) => Bytes::new(),
            _ => self.payload.clone(),
        }
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.payload == other.payload
    }
}

// Entries may hold patients' data, and the library logs entries: only their length is shown (P10).
impl std::fmt::Debug for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.payload.len())
    }
}

impl std::fmt::Display for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.payload.len())
    }
}

/// Where a member listens for peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
}

impl Default for Peer {
    fn default() -> Self {
        Peer { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) }
    }
}

/// A library index as everyone else counts.
pub fn outside(index: u64) -> u64 {
    index.saturating_add(1)
}

/// The same way back; `None` for 0.
pub fn inside(index: u64) -> Option<u64> {
    index.checked_sub(1)
}

/// A position as other rooms give it: (index, term), nothing for index 0.
pub fn log_id(index: u64, term: u64) -> Option<LogId> {
    Some(LogId { leader_id: CommittedLeaderId::new(term), index: inside(index)? })
}

record! {
    /// An entry's place: index from 1, and term. All zero: none.
    pub struct PositionRecord v1 {
        1 => index: u64,
        2 => term: u64,
    }
}

impl PositionRecord {
    pub fn of(at: Option<&LogId>) -> Self {
        at.map_or_else(PositionRecord::default, |at| PositionRecord {
            index: outside(at.index),
            term: at.leader_id.term,
            ..Default::default()
        })
    }
    pub fn log_id(&self) -> Option<LogId> {
        log_id(self.index, self.term)
    }
}

record! {
    /// A vote, given or won.
    pub struct VoteRecord v1 {
        1 => term: u64,
        /// Raft id of the candidate.
        2 => candidate: u64,
        /// A majority gave it: the candidate leads its term.
        3 => committed: bool,
    }
}

impl VoteRecord {
    pub fn of(vote: &Vote) -> Self {
        VoteRecord {
            term: vote.leader_id.term,
            candidate: vote.leader_id.voted_for,
            committed: vote.committed,
            ..Default::default()
        }
    }
    pub fn vote(&self) -> Vote {
        Vote::from_leader_id(LeaderId { term: self.term, voted_for: self.candidate }, self.committed)
    }
}

record! {
    /// Voters of one half of a membership.
    pub struct VotersRecord v1 { 1 => ids: Vec<u64> }
}

record! {
    /// A member and where it listens.
    pub struct MemberRecord v1 {
        1 => id: u64,
        2 => address: String,
    }
}

record! {
    /// Who is in a group. Two sets of voters while a change is under way.
    pub struct MembershipRecord v1 {
        1 => voters: Vec<VotersRecord>,
        2 => members: Vec<MemberRecord>,
        /// The entry that made it so; left out in that entry itself.
        3 => at: PositionRecord,
    }
}

impl MembershipRecord {
    pub fn of(membership: &Membership, at: Option<&LogId>) -> Self {
        let set = |ids: &BTreeSet<u64>| VotersRecord { ids: ids.iter().copied().collect(), ..Default::default() };
        MembershipRecord {
            voters: membership.get_joint_config().iter().map(set).collect(),
            members: membership
                .nodes()
                .map(|(id, peer)| MemberRecord { id: *id, address: peer.address.to_string(), ..Default::default() })
                .collect(),
            at: PositionRecord::of(at),
            ..Default::default()
        }
    }

    pub fn membership(&self) -> Result<Membership, Malformed> {
        let configs = self.voters.iter().map(|v| v.ids.iter().copied().collect()).collect();
        let mut nodes = BTreeMap::new();
        for member in &self.members {
            nodes.insert(member.id, Peer { address: member.address.parse().map_err(|_| Malformed::Range(2))? });
        }
        Membership::new(configs, nodes).map_err(|_| Malformed::Range(1))
    }

    pub fn stored(&self) -> Result<StoredMembership, Malformed> {
        Ok(StoredMembership::new(self.at.log_id(), self.membership()?))
    }
}

/// A group's members as rows keep them that begin behind entry `index`, with no log before it: of a site that is restored.
pub fn founded(index: u64, first: &Member) -> Bytes {
    let set = VotersRecord { ids: vec![first.id.0], ..Default::default() };
    let member = MemberRecord { id: first.id.0, address: first.address.to_string(), ..Default::default() };
    let at = PositionRecord { index, ..Default::default() };
    MembershipRecord { voters: vec![set], members: vec![member], at, ..Default::default() }.encode()
}

/// Members of a group, as other rooms see them.
pub fn members(membership: &Membership) -> Vec<Member> {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    membership
        .nodes()
        .map(|(id, peer)| Member { id: RaftId(*id), address: peer.address, voter: voters.contains(id) })
        .collect()
}

/// First byte of a logged membership. Proposals are records, and those start with a version far below.
pub const MEMBERSHIP_TAG: u8 = 0xff;

/// An entry's content as it is logged and sent: nothing for a blank or voided entry, a tagged membership, or the
/// proposal as it is.
pub fn content(entry: &Entry) -> Bytes {
    match &entry.payload {
        EntryPayload::Blank => Bytes::new(),
        EntryPayload::Normal(proposal) => proposal.settled(),
        EntryPayload::Membership(membership) => {
            let mut out = vec![MEMBERSHIP_TAG];
            MembershipRecord::of(membership, None).encode_into(&mut out);
            out.into()
        }
    }
}

/// Reads an entry's content back.
pub fn payload(content: Bytes) -> Result<EntryPayload<Proposal, u64, Peer>, Malformed> {
    match content.first() {
        None => Ok(EntryPayload::Blank),
        Some(&MEMBERSHIP_TAG) => {
            Ok(EntryPayload::Membership(MembershipRecord::decode(&content.slice(1..))?.membership()?))
        }
        Some(_) => Ok(EntryPayload::Normal(Proposal { payload: content, reign: None })),
    }
}

/// An entry for the log room. Which node led is not part of an entry: a term has one leader.
pub fn log_record(entry: &Entry) -> LogRecord {
    LogRecord {
        index: outside(entry.log_id.index),
        term: entry.log_id.leader_id.term,
        leader: 0,
        payload: content(entry),
    }
}

/// An entry from the log room.
pub fn entry(record: LogRecord) -> Result<Entry, Malformed> {
    let log_id = log_id(record.index, record.term).ok_or(Malformed::Range(1))?;
    Ok(Entry { log_id, payload: payload(record.payload)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_and_votes_come_back_as_they_went() {
        let address = |n: u8| Peer { address: SocketAddr::from(([10, 0, 0, n], 7)) };
        let joint = vec![BTreeSet::from([65537, 131073]), BTreeSet::from([65537, 131074])];
        let nodes = BTreeMap::from([(65537, address(1)), (131073, address(2)), (131074, address(2))]);
        let membership = Membership::new(joint, nodes).unwrap();
        let at = log_id(9, 4);
        let record = MembershipRecord::of(&membership, at.as_ref());
        let back = MembershipRecord::decode(&record.encode()).unwrap().stored().unwrap();
        assert_eq!(back, StoredMembership::new(at, membership.clone()));
        let logged = Entry { log_id: log_id(1, 1).unwrap(), payload: EntryPayload::Membership(membership) };
        assert_eq!(entry(log_record(&logged)).unwrap(), logged);
        let vote = Vote::from_leader_id(LeaderId { term: 3, voted_for: 65537 }, true);
        assert_eq!(VoteRecord::decode(&VoteRecord::of(&vote).encode()).unwrap().vote(), vote);
    }

    #[test]
    fn a_proposal_of_a_broken_reign_is_logged_empty() {
        let reign = Arc::new(Reign::new(7, 3));
        let proposal = Proposal { payload: Bytes::from_static(b"\x01rows"), reign: Some(reign.clone()) };
        let logged = Entry { log_id: log_id(5, 3).unwrap(), payload: EntryPayload::Normal(proposal) };
        assert_eq!(content(&logged).as_ref(), b"\x01rows");
        reign.spoil();
        assert!(content(&logged).is_empty());
        assert_eq!(entry(log_record(&logged)).unwrap().payload, EntryPayload::Blank);
    }
}
