//! How a node without data comes back: it asks any member, proven by its certificate, and gets its next incarnation
//! (docs/decisions/incarnations.md).

use super::api::{ConsensusError, Member, RaftId};
use super::consensus::{SITE_GROUP, Shared};
use super::group::Group;
use super::storage::malformed;
use super::types::MemberRecord;
use crate::record;
use crate::seam::net::{Lane, NodeNumber, Transport, kinds};
use crate::wire::record::Record;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{io, time::Duration};
use tokio::time::Instant;

/// One attempt at one member: a commit of the site group, with an election in between at worst.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between two rounds through all members.
const PAUSE: Duration = Duration::from_millis(200);

record! {
    /// REJOIN: the caller, named by its certificate, has lost its data, or has moved.
    pub struct RejoinCall v1 {
        /// Where it listens for peers.
        1 => address: String,
        /// Its Raft id, if it has its data and only the address is new.
        2 => id: u64,
    }
}

record! {
    /// Answer to REJOIN.
    pub struct RejoinAnswer v1 {
        /// The caller's new Raft id; 0 if this node could not give one.
        1 => id: u64,
        /// Members of the site group, the caller included.
        2 => members: Vec<MemberRecord>,
        /// Groups that the answering node runs, the site group included.
        3 => groups: u64,
    }
}

/// What a node that lost its data starts from.
#[derive(Clone, Debug)]
pub struct Rejoined {
    pub id: RaftId,
    pub members: Vec<(RaftId, SocketAddr)>,
    /// Number of groups; they are numbered from 0.
    pub groups: u16,
}

/// Asks `peers` in turn until one gives this node its next incarnation, or the deadline passes.
pub async fn rejoin(
    transport: &Arc<dyn Transport>,
    peers: &[(NodeNumber, SocketAddr)],
    address: SocketAddr,
    deadline: Instant,
) -> Result<Rejoined, ConsensusError> {
    let mut peers = peers.to_vec();
    let call = RejoinCall { address: address.to_string(), ..Default::default() }.encode();
    while Instant::now() < deadline {
        for (node, at) in peers.clone() {
            transport.set_address(node, at);
            let answer = transport.call(node, Lane::Ask, kinds::REJOIN, call.clone(), ATTEMPT).await;
            let answer = match answer.and_then(|a| RejoinAnswer::decode(&a).map_err(malformed)) {
                Ok(answer) => answer,
                Err(e) => {
                    tracing::info!(event = "rejoin.refused", node = node.0, why = %e, "no new incarnation from this node");
                    continue;
                }
            };
            let members: Vec<_> = answer.members.iter().filter_map(member).collect();
            if answer.id != 0 {
                return Ok(Rejoined { id: RaftId(answer.id), members, groups: answer.groups as u16 });
            }
            // It does not lead, but it knows where everyone is.
            for (id, at) in members {
                if !peers.iter().any(|(known, _)| *known == id.node()) {
                    peers.push((id.node(), at));
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(ConsensusError::Timeout)
}

fn member(record: &MemberRecord) -> Option<(RaftId, SocketAddr)> {
    Some((RaftId(record.id), record.address.parse().ok()?))
}

/// Answers REJOIN: with a new id where this node leads the site group, else with the members only.
pub async fn answer(shared: &Arc<Shared>, from: NodeNumber, payload: Bytes) -> io::Result<Bytes> {
    let call = RejoinCall::decode(&payload).map_err(malformed)?;
    let address = call.address.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let site = shared.group(SITE_GROUP).ok_or(io::ErrorKind::NotFound)?;
    if !site.members().iter().any(|m| m.id.node() == from) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the node is not a member of the site"));
    }
    let given = match call.id {
        0 => admit(shared, from, address).await,
        id if RaftId(id).node() == from => moved(&site, RaftId(id), address).await,
        _ => return Err(io::ErrorKind::PermissionDenied.into()),
    };
    let id = match given {
        Ok(id) => id.0,
        Err(ConsensusError::NotLeader(_)) => 0,
        Err(e) => return Err(io::Error::other(e)),
    };
    let record = |m: Member| MemberRecord { id: m.id.0, address: m.address.to_string(), ..Default::default() };
    let members = site.members().into_iter().map(record).collect();
    let groups = shared.groups().len() as u64;
    Ok(RejoinAnswer { id, members, groups, ..Default::default() }.encode())
}

/// Takes over a member's new address.
async fn moved(site: &Group, id: RaftId, address: SocketAddr) -> Result<RaftId, ConsensusError> {
    if !site.members().iter().any(|m| m.id == id) {
        return Err(ConsensusError::Membership("no such incarnation".into()));
    }
    site.add_learner(id, address).await?;
    Ok(id)
}

/// Tells the site group's leader where this node listens, if the members say otherwise: it was moved while it was
/// down, so nobody can call it, but it can call.
pub async fn tell_address(shared: &Arc<Shared>, site: &Group) {
    let members = site.members();
    let own = members.iter().find(|m| m.id == site.id());
    if own.is_none_or(|m| m.address == shared.options.address) {
        return;
    }
    let address = shared.options.address.to_string();
    let call = RejoinCall { address, id: site.id().0, ..Default::default() }.encode();
    for member in members.iter().filter(|m| m.id != site.id()) {
        let transport = &shared.parts.transport;
        let answer = transport.call(member.id.node(), Lane::Ask, kinds::REJOIN, call.clone(), ATTEMPT).await;
        if answer.is_ok_and(|a| RejoinAnswer::decode(&a).is_ok_and(|a| a.id != 0)) {
            tracing::info!(event = "raft.moved", address = %shared.options.address, "the site knows this node's new address");
            return;
        }
    }
}

/// Adds a node's next incarnation to the site group, as a learner; durable when this returns.
pub async fn admit(shared: &Arc<Shared>, node: NodeNumber, address: SocketAddr) -> Result<RaftId, ConsensusError> {
    let site = shared.group(SITE_GROUP).ok_or(ConsensusError::Membership("no site group here".into()))?;
    if !site.leadership().borrow().leading {
        return Err(site.not_leader().into());
    }
    // Two calls at once must not get one number; a lost answer only costs one.
    let _turn = shared.admissions.lock().await;
    let incarnations = site.members().into_iter().filter(|m| m.id.node() == node).map(|m| m.id.incarnation());
    let next = incarnations.max().unwrap_or(0).checked_add(1);
    let next = next.ok_or_else(|| ConsensusError::Membership("the node has no incarnation left".into()))?;
    let id = RaftId::new(node, next);
    site.add_learner(id, address).await?;
    tracing::info!(event = "raft.admitted", id = %id, "a node was given a new incarnation");
    Ok(id)
}
