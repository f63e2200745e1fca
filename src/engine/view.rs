//! Reading at a fence, on any node (P2): ask the leader how far is committed, wait until that is applied here, read
//! here. Readers that come together share one round; a node that is cut off refuses.

use super::frames::{FenceAsk, FenceTold};
use super::handle::Engine;
use super::ports::{Agreement, Rows};
use super::{PartitionId, SITE, Unavailable};
use crate::seam::net::{Lane, NodeNumber, Transport, kinds};
use crate::seam::trouble::{Planted, planted};
use crate::store::{Reader, StoreError};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Sees everything acknowledged before the call, anywhere.
    Linearizable,
    /// Sees at least what was applied at this log index, such as an [`Outcome`](super::Outcome)'s.
    At(u64),
    /// Whatever this node has.
    Local,
}

/// Fences that may wait for a round at once; beyond, Busy (P6).
const MAX_WAITING: usize = 16_384;
/// How long one round may take before it is tried with whoever leads then.
const ROUND: Duration = Duration::from_millis(500);
/// Pause before a round is tried again without a leader.
const PAUSE: Duration = Duration::from_millis(10);
/// How often an index is looked for in the store itself: an installed snapshot moves it without an apply.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A partition's rows, at or after the fence it was made with.
#[derive(Clone)]
pub struct View {
    rows: Arc<dyn Rows>,
    index: u64,
}

impl View {
    /// What this node has, now and later.
    pub(super) fn of(rows: Arc<dyn Rows>) -> View {
        View { index: rows.applied_index(), rows }
    }

    /// Log index that everything in the view is at or after.
    pub fn index(&self) -> u64 {
        self.index
    }

    fn open(&self) -> Result<(), StoreError> {
        if self.rows.servable() { Ok(()) } else { Err(StoreError::Io("the partition is being rebuilt".into())) }
    }
}

impl Reader for View {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.open()?;
        self.rows.get(key)
    }
    fn scan(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.open()?;
        self.rows.scan(range, reverse, limit)
    }
}

impl Engine {
    /// A partition's rows at a fence. `NoLeader` when the fence could not be reached in time; nothing is guessed.
    pub async fn view(&self, partition: PartitionId, fence: Fence) -> Result<View, Unavailable> {
        let door = self.inner.door(partition)?;
        let deadline = Instant::now() + self.inner.options.patience;
        let index = match fence {
            Fence::Local => door.slot.rows.applied_index(),
            Fence::At(index) => index,
            Fence::Linearizable if planted(Planted::ReadWithoutFence) => door.slot.rows.applied_index(),
            Fence::Linearizable => door.fences.ask(deadline).await?,
        };
        loop {
            if door.slot.readers.index() < index && door.slot.rows.applied_index() < index {
                let look = (Instant::now() + LOOK_AGAIN).min(deadline);
                if timeout_at(look, door.slot.readers.reach(index)).await.is_err() && look == deadline {
                    return Err(Unavailable::NoLeader);
                }
                continue;
            }
            if door.slot.rows.servable() {
                return Ok(View { rows: door.slot.rows.clone(), index });
            }
            if Instant::now() + LOOK_AGAIN >= deadline {
                return Err(Unavailable::NoLeader);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Callers that wait for a partition's next round.
#[derive(Clone)]
pub(super) struct Fences {
    send: mpsc::Sender<oneshot::Sender<u64>>,
}

impl Fences {
    pub fn new() -> (Fences, mpsc::Receiver<oneshot::Sender<u64>>) {
        let (send, receive) = mpsc::channel(MAX_WAITING);
        (Fences { send }, receive)
    }

    pub async fn ask(&self, deadline: Instant) -> Result<u64, Unavailable> {
        let (ticket, index) = oneshot::channel();
        self.send.try_send(ticket).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Unavailable::Busy,
            mpsc::error::TrySendError::Closed(_) => Unavailable::NoLeader,
        })?;
        match timeout_at(deadline, index).await {
            Ok(Ok(index)) => Ok(index),
            _ => Err(Unavailable::NoLeader),
        }
    }
}

/// Runs a partition's rounds, one after the other. Who comes during a round waits for the next: a round that had
/// begun before may not see what was acknowledged since.
pub(super) async fn fence_task(
    partition: PartitionId,
    group: Arc<dyn Agreement>,
    transport: Arc<dyn Transport>,
    me: NodeNumber,
    mut asked: mpsc::Receiver<oneshot::Sender<u64>>,
) {
    let mut waiting = vec![];
    while asked.recv_many(&mut waiting, MAX_WAITING).await > 0 {
        loop {
            waiting.retain(|ticket| !ticket.is_closed());
            if waiting.is_empty() {
                break;
            }
            match timeout(ROUND, round(partition, group.as_ref(), transport.as_ref(), me)).await {
                Ok(Some(index)) => {
                    for ticket in waiting.drain(..) {
                        // Who stopped waiting needs no answer.
                        let _ = ticket.send(index);
                    }
                    break;
                }
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Err(_) => {}
            }
        }
    }
}

/// Whether the site goes on without this node: one of `peers` leads its partition, and has just proven it to a majority.
pub async fn site_serves(transport: &dyn Transport, peers: impl Iterator<Item = NodeNumber>) -> bool {
    let ask = FenceAsk { partition: SITE.0, ..Default::default() }.encode();
    let calls = peers.map(|peer| transport.call(peer, Lane::Ask, kinds::READ_FENCE, ask.clone(), ROUND));
    let told = futures_util::future::join_all(calls).await;
    told.into_iter().flatten().any(|told| FenceTold::decode(&told).is_ok_and(|told| told.leading))
}

async fn round(
    partition: PartitionId,
    group: &dyn Agreement,
    transport: &dyn Transport,
    me: NodeNumber,
) -> Option<u64> {
    let now = *group.leadership().borrow();
    let leader = now.leader?.node();
    if leader == me {
        return group.read_index().await.ok();
    }
    let ask = FenceAsk { partition: partition.0, ..Default::default() }.encode();
    let told = transport.call(leader, Lane::Ask, kinds::READ_FENCE, ask, ROUND).await.ok()?;
    let told = FenceTold::decode(&told).ok()?;
    told.leading.then_some(told.index)
}
