//! A group whose voters are lost for good, all of them, and the followers that are left: how these take it over (P1, P2).
//!
//! It is an election of Raft's own, held by hand because the followers' members are still the old ones: every follower that is
//! to vote from now on promises a term to one of them, the *heir*, whose log is at least as long as its own. Then the heir takes
//! entries of that term by the way on which a follower takes any: rows that the engine made, and members of which those
//! followers alone vote. From there the library goes on by itself: the heir is a voter, hears no leader, and stands for
//! election; the others' logs are brought in line with its own. Nothing is committed but by a majority of the new voters.
//!
//! The term is promised on disk, and to one heir only: whoever comes to it a second time, after a stop in the middle, takes a
//! later one. A leader of before that still reaches a follower is protected as in any election: while it is heard, the follower
//! promises nobody anything.

use super::api::{ConsensusError, Entry, Member, RaftId};
use super::group::Group;
use super::types::{Membership, Peer, Proposal, Vote, log_id, payload};
use crate::seam::net::NodeNumber;
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft::vote::RaftVote;
use openraft::vote::leader_id_std::LeaderId;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of one piece of the log, when it is read.
const PIECE: usize = 4 << 20;
/// So many terms are passed over: more than the lost voters, or a follower that is silent, may have begun where nobody here heard of it.
/// Two leaders of one term could give one place in the log two contents.
const TERMS_PASSED_OVER: u64 = 1 << 20;

/// The term in which a group is taken over, of whose nodes none that answers has promised a later one than `promised`.
pub fn succeeding(promised: u64) -> u64 {
    promised.saturating_add(TERMS_PASSED_OVER)
}

/// Where a log ends, in Raft's order: of two logs the one that ends later is the longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    pub term: u64,
    pub index: u64,
}

/// How a group stands on this node, for who has to choose an heir.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The term that this node has promised to follow.
    pub promised: u64,
    pub end: End,
    /// Entries up to here are cut off the log.
    pub cut: u64,
    pub applied: u64,
    /// Members by the newest configuration in the log, committed or not.
    pub members: Vec<Member>,
    /// This node leads and may propose.
    pub leading: bool,
}

/// The name under which a term is promised to an heir: no node has the number 0, so that no member can be taken for it.
fn regent(heir: NodeNumber) -> u64 {
    RaftId::new(NodeNumber(0), heir.0).0
}

fn vote(term: u64, heir: NodeNumber, won: bool) -> Vote {
    Vote::from_leader_id(LeaderId { term, voted_for: regent(heir) }, won)
}

impl Group {
    pub fn place(&self) -> Place {
        let (status, metrics, log) = (self.status(), self.metrics(), self.log().state());
        let end = log.last.or(log.purged).map_or(End::default(), |(index, term, _)| End { term, index });
        Place {
            promised: metrics.vote.leader_id.term,
            end,
            cut: log.purged.map_or(0, |(index, ..)| index),
            applied: status.applied,
            members: status.members,
            leading: status.leadership.leading,
        }
    }

    /// Entries behind `after`, up to and including `upto`: as many as fit in a piece, at least one. Nothing where the log does
    /// not hold them.
    pub async fn logged(&self, after: u64, upto: u64) -> Result<Vec<Entry>, ConsensusError> {
        if after >= upto {
            return Ok(vec![]);
        }
        let unread = |e: &dyn std::fmt::Display| ConsensusError::Storage(format!("the log cannot be read: {e}"));
        let records = self.log().read(after + 1..upto + 1, PIECE).await.map_err(|e| unread(&e))?;
        let read = |record: crate::log::LogRecord| {
            let (index, term) = (record.index, record.term);
            let payload = match payload(record.payload).map_err(|e| unread(&e))? {
                EntryPayload::Normal(proposal) => proposal.payload,
                _ => Bytes::new(),
            };
            Ok(Entry { index, term, payload })
        };
        records.into_iter().map(read).collect()
    }

    /// Promises `term` to an heir whose log ends at `end`. False where this node's log is longer, or it has promised as much to
    /// another, or hears a leader.
    pub async fn yield_to(&self, term: u64, heir: NodeNumber, end: End) -> Result<bool, ConsensusError> {
        let request = VoteRequest::new(vote(term, heir, false), log_id(end.index, end.term));
        let answer = self.raft().vote(request).await.map_err(|e| ConsensusError::Raft(e.to_string()))?;
        Ok(answer.vote_granted)
    }

    /// Takes the group over, on the heir: behind `end`, where its log ends, come `rows`, an entry each, and members of whom `voters`
    /// vote alone. Every one of them has promised `term`. When this returns all are on this node's disk.
    pub async fn succeed(
        &self,
        term: u64,
        end: End,
        rows: Vec<Bytes>,
        members: &[Member],
    ) -> Result<(), ConsensusError> {
        let voters: BTreeSet<u64> = members.iter().filter(|m| m.voter).map(|m| m.id.0).collect();
        if !voters.contains(&self.id().0) {
            return Err(ConsensusError::Membership("the heir is none of those that are to vote".into()));
        }
        // Behind an earlier entry the library would cut the rest off.
        if self.place().end != end {
            return Err(ConsensusError::Membership("the heir's log does not end there".into()));
        }
        let nodes: BTreeMap<u64, Peer> = members.iter().map(|m| (m.id.0, Peer { address: m.address })).collect();
        let config = Membership::new(vec![voters], nodes).map_err(|e| ConsensusError::Membership(e.to_string()))?;
        let rows = rows.into_iter().map(|payload| EntryPayload::Normal(Proposal { payload, reign: None }));
        let payloads = rows.chain([EntryPayload::Membership(config)]);
        let entry = |(index, payload)| {
            let log_id = log_id(index, term).ok_or(ConsensusError::Timeout)?;
            Ok(super::types::Entry { log_id, payload })
        };
        let entries = (end.index + 1..).zip(payloads).map(entry).collect::<Result<Vec<_>, ConsensusError>>()?;
        let last = end.index + entries.len() as u64;
        self.log_room().await;
        // What is committed is for the new voters to say: nothing is, by this alone.
        let request = AppendEntriesRequest {
            vote: vote(term, self.id().node(), true),
            prev_log_id: log_id(end.index, end.term),
            entries,
            leader_commit: None,
        };
        match self.raft().append_entries(request).await.map_err(|e| ConsensusError::Raft(e.to_string()))? {
            AppendEntriesResponse::Success => {
                tracing::warn!(
                    event = "raft.succession",
                    group = self.number(),
                    term,
                    index = last,
                    "the group's voters were given up; this node and its neighbours vote from here on"
                );
                Ok(())
            }
            other => Err(ConsensusError::Membership(format!("the group has moved meanwhile ({other:?})"))),
        }
    }
}
