//! Submitting: from any node to the partition's leader and back, tried again while that cannot do a thing twice.
//!
//! Holds P3's other half: an unknown outcome is asked for again only where the request memory makes it one effect.

use super::flights::Setback;
use super::frames::{Ask, FenceAsk, FenceTold, Told};
use super::handle::{Door, Engine, Inner};
use super::{Command, Outcome, PartitionId, Unavailable, services};
use crate::consensus::{Leadership, RaftId};
use crate::model::TraceContext;
use crate::ops::metrics as names;
use crate::seam::net::{Answer, Handler, Kind, Lane, NodeNumber, kinds};
use crate::seam::spans::{self, Side};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// First and longest pause between two tries; a change of leader ends a pause at once.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long a leader that another has followed may still take to tell what became of a command: the log tells it within a
/// round or two, also over a long wire. One that is frozen or cut off never does.
const PARTING: Duration = Duration::from_millis(500);

impl Engine {
    /// Decides a command on its partition's leader. Returns when the effect is durable on a majority (P1) and applied
    /// by the leader. Dropping the future neither stops nor halves a command that was taken.
    pub async fn submit(&self, command: Command) -> Result<Outcome, Unavailable> {
        let partition = self.partition_of(&command.key);
        self.inner.submit_to(partition, command).await
    }
}

/// Where to go with a command.
enum Way {
    Here,
    To(NodeNumber),
    Nowhere,
}

impl Inner {
    pub(super) fn door(&self, partition: PartitionId) -> Result<&Door, Unavailable> {
        let missing = || Unavailable::Fault(format!("this site has no partition {}", partition.0));
        self.doors.get(usize::from(partition.0)).ok_or_else(missing)
    }

    fn way(&self, leading: bool, leader: Option<RaftId>) -> Way {
        match leader.map(RaftId::node) {
            _ if leading => Way::Here,
            Some(node) if node != self.options.node => Way::To(node),
            _ => Way::Nowhere,
        }
    }

    pub(super) async fn submit_to(&self, partition: PartitionId, command: Command) -> Result<Outcome, Unavailable> {
        let door = self.door(partition)?;
        let deadline = Instant::now() + self.options.patience;
        // The engine's own errands may be repeated: their effects are marked.
        let repeatable = !command.request_id.is_empty() || command.service == services::ENGINE.0;
        let mut step = spans::begin(TraceContext::decode(&command.trace), "engine.submit", Side::Asks);
        let mut command = command;
        if let Some(step) = &mut step {
            step.tell("spine.partition", spans::Told::Number(partition.0.into()));
            command.trace = step.context().map_or_else(Bytes::new, |context| context.encode());
        }
        let command = Arc::new(command);
        let mut encoded: Option<Bytes> = None;
        let mut leadership = door.group.leadership();
        let mut pause = FIRST_PAUSE;
        let mut verdict = Unavailable::NoLeader;
        loop {
            let now = *leadership.borrow_and_update();
            let tried = match self.way(now.leading, now.leader) {
                Way::Here => {
                    let asked = timeout_at(deadline, decided(door, command.clone())).await;
                    asked.unwrap_or(Err(Setback::Unavailable(Unavailable::Unknown)))
                }
                Way::To(node) => {
                    let bytes = encoded.get_or_insert_with(|| command.encode()).clone();
                    let forwarded = self.forward(node, partition, bytes, deadline);
                    tokio::select! {
                        biased;
                        told = forwarded => told,
                        () = left_behind(leadership.clone(), node) => Err(Setback::Unavailable(Unavailable::Unknown)),
                    }
                }
                Way::Nowhere => Err(Setback::NotLeader),
            };
            match tried {
                Ok(outcome) => return Ok(outcome),
                Err(Setback::NotLeader) => {}
                Err(Setback::Unavailable(Unavailable::Unknown)) if repeatable => verdict = Unavailable::Unknown,
                // An earlier try may have had its effect: "nothing was done" would be a guess.
                Err(Setback::Unavailable(_)) if verdict == Unavailable::Unknown => return Err(verdict),
                Err(Setback::Unavailable(why)) => return Err(why),
            }
            let again = Instant::now() + pause;
            if again >= deadline {
                return Err(verdict);
            }
            let _ = timeout_at(again, leadership.changed()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            metrics::counter!(names::ENGINE_RETRIES).increment(1);
        }
    }

    async fn forward(
        &self,
        to: NodeNumber,
        partition: PartitionId,
        command: Bytes,
        deadline: Instant,
    ) -> Result<Outcome, Setback> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let ask = Ask { partition: partition.0, command, patience: patience.as_millis() as u32, ..Default::default() };
        match self.transport.call(to, Lane::Ask, kinds::SUBMIT, ask.encode(), patience).await {
            Ok(bytes) => match Told::decode(&bytes) {
                Ok(told) => told.into_result(partition),
                Err(_) => Err(Setback::Unavailable(Unavailable::Unknown)),
            },
            Err(e) if never_arrived(&e) => Err(Setback::NotLeader),
            Err(_) => Err(Setback::Unavailable(Unavailable::Unknown)),
        }
    }

    /// Decides here for another node. Does not forward again: the asking node looks for the leader itself.
    async fn submitted(self: Arc<Self>, payload: Bytes) -> io::Result<Bytes> {
        let bad = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        let ask = Ask::decode(&payload).map_err(bad)?;
        let command = Command::decode(&ask.command).map_err(bad)?;
        let Ok(door) = self.door(PartitionId(ask.partition)) else { return Ok(Told::of(Err(Setback::NotLeader))) };
        if !door.group.leadership().borrow().leading {
            return Ok(Told::of(Err(Setback::NotLeader)));
        }
        let patience = Duration::from_millis(ask.patience.into()).min(self.options.patience);
        let asked = tokio::time::timeout(patience, decided(door, Arc::new(command))).await;
        Ok(Told::of(asked.unwrap_or(Err(Setback::Unavailable(Unavailable::Unknown)))))
    }

    async fn fenced(self: Arc<Self>, payload: Bytes) -> io::Result<Bytes> {
        let ask = FenceAsk::decode(&payload).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let told = match self.door(PartitionId(ask.partition)) {
            Ok(door) => match door.group.read_index().await {
                Ok(index) => FenceTold { leading: true, index, ..Default::default() },
                Err(_) => FenceTold::default(),
            },
            Err(_) => FenceTold::default(),
        };
        Ok(told.encode())
    }
}

/// Decides on this node, which leads.
async fn decided(door: &Door, command: Arc<Command>) -> Result<Outcome, Setback> {
    let mut step = spans::begin(TraceContext::decode(&command.trace), "engine.decide", Side::Asked);
    let outcome = door.queue.ask(command).await;
    match (&mut step, &outcome) {
        (Some(step), Ok(outcome)) => {
            step.tell("spine.partition", spans::Told::Number(outcome.partition.0.into()));
            step.tell("spine.log_index", spans::Told::Number(outcome.index));
        }
        (Some(step), Err(_)) => step.failed(),
        (None, _) => {}
    }
    outcome
}

/// Ends some time after another node than `leader` is known to lead.
async fn left_behind(mut leadership: watch::Receiver<Leadership>, leader: NodeNumber) {
    let other = leadership.wait_for(|now| now.leader.is_some_and(|id| id.node() != leader)).await.is_ok();
    match other {
        true => tokio::time::sleep(PARTING).await,
        // The group has ended; the call ends by itself.
        false => std::future::pending().await,
    }
}

/// Errors after which the other side has certainly not acted.
fn never_arrived(e: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        e.kind(),
        NotConnected
            | ConnectionRefused
            | HostUnreachable
            | NetworkUnreachable
            | AddrNotAvailable
            | Unsupported
            | WouldBlock
    )
}

/// The engine's frame kinds.
pub(super) struct Frames(pub Arc<Inner>);

impl Handler for Frames {
    fn handle(&self, _: NodeNumber, kind: Kind, payload: Bytes) -> Answer {
        let inner = self.0.clone();
        match kind {
            kinds::SUBMIT => Box::pin(inner.submitted(payload)),
            kinds::READ_FENCE => Box::pin(inner.fenced(payload)),
            kinds::ROOM => Box::pin(async move { Ok(inner.space.room(&inner.clocks, &inner.disk)) }),
            _ => Box::pin(async move { Err(io::ErrorKind::Unsupported.into()) }),
        }
    }
}
