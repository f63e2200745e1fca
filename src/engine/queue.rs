//! The bounded queue in front of a partition's decider: when it is full the answer is Busy, at once (P6).

use super::flights::{Setback, Ticket};
use super::{Command, Outcome, Unavailable};
use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::sync::{mpsc, oneshot};

/// A command that waits to be decided.
pub(super) struct Queued {
    pub command: Arc<Command>,
    pub ticket: Ticket,
    _weight: Weight,
}

impl Queued {
    pub fn refuse(self, why: Setback) {
        let _ = self.ticket.send(Err(why));
    }
}

/// A command's share of the queue's bytes; given back when it leaves.
struct Weight {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The entrance.
#[derive(Clone)]
pub(super) struct Queue {
    send: mpsc::Sender<Queued>,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
}

impl Queue {
    pub fn new(max_commands: usize, max_bytes: usize) -> (Queue, mpsc::Receiver<Queued>) {
        let (send, receive) = mpsc::channel(max_commands.max(1));
        (Queue { send, bytes: Arc::default(), max_bytes }, receive)
    }

    /// Queues a command and waits for its outcome.
    pub async fn ask(&self, command: Arc<Command>) -> Result<Outcome, Setback> {
        let bytes = command.payload.len() + command.key.len() + 512;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let weight = Weight { bytes, total: self.bytes.clone() };
        if before + bytes > self.max_bytes {
            return Err(Setback::Unavailable(Unavailable::Busy));
        }
        let (ticket, outcome) = oneshot::channel();
        match self.send.try_send(Queued { command, ticket, _weight: weight }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(Setback::Unavailable(Unavailable::Busy)),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Setback::NotLeader),
        }
        // A decider that is gone may have proposed it.
        outcome.await.unwrap_or(Err(Setback::Unavailable(Unavailable::Unknown)))
    }
}
