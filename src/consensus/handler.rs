//! The answering side of Raft: calls from other nodes to this node's groups.
//!
//! A call is taken only from the node that its vote names, as its certificate proves, and only if it is meant for
//! this node's present incarnation (P5).

use super::api::{GroupNumber, RaftId};
use super::consensus::Shared;
use super::group::Group;
use super::storage::malformed;
use super::types::VoteRecord;
use super::wire::{AppendAnswer, AppendCall, TransferAnswer, TransferCall, VoteAnswer, VoteCall, addressee};
use crate::seam::net::{Answer, Handler, Kind, NodeNumber, kinds};
use crate::wire::record::Record;
use bytes::Bytes;
use std::io;
use std::sync::{Arc, Weak};

/// Kinds that this handler claims on the router.
pub const KINDS: [Kind; 8] = [
    kinds::RAFT_APPEND,
    kinds::RAFT_VOTE,
    kinds::RAFT_PRE_VOTE,
    kinds::RAFT_SNAPSHOT_PIECE,
    kinds::RAFT_TRANSFER,
    kinds::LOG_FETCH,
    kinds::SNAPSHOT_FETCH,
    kinds::REJOIN,
];

/// Finds the group a call is for. Holds consensus weakly: the router outlives it.
pub struct RaftHandler {
    pub shared: Weak<Shared>,
}

impl Handler for RaftHandler {
    fn handle(&self, from: NodeNumber, kind: Kind, payload: Bytes) -> Answer {
        let shared = self.shared.upgrade();
        Box::pin(async move {
            let shared = shared.ok_or_else(|| gone("consensus is stopped"))?;
            match kind {
                kinds::LOG_FETCH => super::repair::answer(&shared, payload).await,
                kinds::SNAPSHOT_FETCH => super::refill::answer(&shared, payload).await,
                kinds::REJOIN => super::rejoin::answer(&shared, from, payload).await,
                _ => raft(&shared, from, kind, payload).await,
            }
        })
    }
}

fn gone(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, why)
}

/// Refuses a call whose vote names another node than the one that sent it.
fn check(from: NodeNumber, vote: &VoteRecord) -> io::Result<()> {
    if RaftId(vote.candidate).node() != from {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the vote names another node than the caller"));
    }
    Ok(())
}

async fn raft(shared: &Arc<Shared>, from: NodeNumber, kind: Kind, payload: Bytes) -> io::Result<Bytes> {
    let (group, to) = addressee(&payload).ok_or_else(|| gone("no Raft call"))?;
    let group = find(shared, group)?;
    if to != group.id().0 {
        return Err(gone("the call is meant for another incarnation of this node"));
    }
    match kind {
        kinds::RAFT_APPEND => append(&group, from, payload).await,
        kinds::RAFT_VOTE | kinds::RAFT_PRE_VOTE => {
            let call = VoteCall::decode(&payload).map_err(malformed)?;
            check(from, &call.vote)?;
            let pre = kind == kinds::RAFT_PRE_VOTE;
            let raft = group.raft();
            let response = if pre { raft.pre_vote(call.request()).await } else { raft.vote(call.request()).await };
            Ok(VoteAnswer::of(&response.map_err(io::Error::other)?).encode())
        }
        kinds::RAFT_SNAPSHOT_PIECE => super::snapshot::receive(&group, from, payload).await,
        kinds::RAFT_TRANSFER => {
            let call = TransferCall::decode(&payload).map_err(malformed)?;
            check(from, &call.vote)?;
            let response = group.raft().handle_transfer_leader(call.request()).await.map_err(io::Error::other)?;
            Ok(TransferAnswer { refused: response.is_err(), ..Default::default() }.encode())
        }
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "not a Raft call")),
    }
}

async fn append(group: &Group, from: NodeNumber, payload: Bytes) -> io::Result<Bytes> {
    let call = AppendCall::decode(&payload).map_err(malformed)?;
    check(from, &call.vote)?;
    if !call.entries.is_empty() {
        // The library does not wait for the disk; a bounded queue does (P6).
        group.log_room().await;
    }
    let response = group.raft().append_entries(call.request()?).await.map_err(io::Error::other)?;
    Ok(AppendAnswer::of(&response).encode())
}

fn find(shared: &Shared, number: GroupNumber) -> io::Result<Group> {
    shared.group(number).ok_or_else(|| gone("this node does not have the group"))
}
