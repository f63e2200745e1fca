//! The library's network over the node's transport: calls to one member of one group.

use super::api::{Fatal, GroupNumber, RaftId};
use super::snapshot::{Sealed, SnapshotData, send};
use super::types::{Peer, Types, Vote};
use super::wire::{AppendAnswer, AppendCall, TransferAnswer, TransferCall, VoteAnswer, VoteCall};
use crate::seam::net::{Kind, Lane, Transport, kinds};
use crate::store::Partition;
use crate::wire::record::Record;
use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use std::future::Future;
use std::sync::Arc;
use std::{io, time::Duration};

/// An append with entries waits for the follower's disk; the library's own limit is meant for heartbeats, and
/// giving up early only sends the same bytes again.
const APPEND_PATIENCE: Duration = Duration::from_secs(3);

/// Makes clients for one group's members.
#[derive(Clone)]
pub struct Network {
    pub group: GroupNumber,
    pub id: RaftId,
    pub transport: Arc<dyn Transport>,
    pub partition: Arc<Partition>,
    pub fatal: Fatal,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    // Where the target listens is told to the transport elsewhere: an earlier incarnation must not say so.
    async fn new_client(&mut self, target: u64, _: &Peer) -> Client {
        Client { network: self.clone(), target }
    }
}

/// Calls one member.
pub struct Client {
    pub network: Network,
    pub target: u64,
}

impl Client {
    async fn call(&self, kind: Kind, payload: Bytes, timeout: Duration) -> Result<Bytes, RPCError<Types>> {
        let to = RaftId(self.target).node();
        let answer = self.network.transport.call(to, Lane::Raft, kind, payload, timeout).await;
        answer.map_err(|e| self.failed(e, kind, timeout))
    }

    /// Sorts a failure by how the library should go on: wait a while, or try again.
    pub fn failed(&self, e: io::Error, kind: Kind, timeout: Duration) -> RPCError<Types> {
        match e.kind() {
            io::ErrorKind::TimedOut => RPCError::Timeout(Timeout {
                action: if kind == kinds::RAFT_APPEND { RPCTypes::AppendEntries } else { RPCTypes::Vote },
                id: self.network.id.0,
                target: self.target,
                timeout,
            }),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::WouldBlock => RPCError::Network(NetworkError::new(&e)),
            _ => RPCError::Unreachable(Unreachable::new(&e)),
        }
    }

    fn unreadable(e: impl std::fmt::Display) -> RPCError<Types> {
        RPCError::Network(NetworkError::from_string(e))
    }

    async fn ask_vote(
        &self,
        kind: Kind,
        call: VoteRequest<Types>,
        ttl: Duration,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let call = VoteCall::of(self.network.group, self.target, &call).encode();
        let answer = self.call(kind, call, ttl).await?;
        Ok(VoteAnswer::decode(&answer).map_err(Self::unreadable)?.response())
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let patience = if request.entries.is_empty() { option.hard_ttl() } else { APPEND_PATIENCE };
        let call = AppendCall::of(self.network.group, self.target, &request).encode_whole();
        drop(request);
        let answer = self.call(kinds::RAFT_APPEND, call, patience).await?;
        AppendAnswer::decode(&answer).map_err(Self::unreadable)?.response().map_err(Self::unreadable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(kinds::RAFT_VOTE, request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(kinds::RAFT_PRE_VOTE, request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Sealed,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            sent = send(self, vote, snapshot) => sent,
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let call = TransferCall::of(self.network.group, self.target, &request).encode();
        let answer = self.call(kinds::RAFT_TRANSFER, call, option.hard_ttl()).await?;
        let answer = TransferAnswer::decode(&answer).map_err(Self::unreadable)?;
        if answer.refused {
            let expected = request.last_log_id().copied();
            return Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }));
        }
        Ok(Ok(()))
    }
}
