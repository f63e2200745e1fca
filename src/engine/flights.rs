//! Batches under way: proposed, not yet applied, with the callers who wait for them (P1: nobody is told before).
//!
//! When leadership is lost the callers stay a little: what the log still brings of their batches is then known for
//! sure, and what a later term has passed over is known not to have happened, so that both can be told apart from
//! `Unknown`. Only what neither happens to in time is `Unknown`.

use super::{Outcome, PartitionId, Unavailable};
use crate::store::RowOp;
use bytes::Bytes;
use std::{collections::VecDeque, sync::Mutex, sync::MutexGuard, sync::PoisonError};
use tokio::sync::{Notify, oneshot};

/// Why the leader's queue gives no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setback {
    /// This node does not lead, or no longer; nothing was done.
    NotLeader,
    Unavailable(Unavailable),
}

pub(super) type Ticket = oneshot::Sender<Result<Outcome, Setback>>;

/// One caller's share of a batch.
pub(super) struct Waiting {
    pub ticket: Ticket,
    pub answer: Result<(Bytes, Vec<(PartitionId, u64)>), Unavailable>,
}

/// One batch under way.
pub(super) struct Flight {
    pub term: u64,
    /// The reign's random name, as in the entry.
    pub reign: u64,
    pub batch: u64,
    pub ops: Vec<RowOp>,
    pub waiting: Vec<Waiting>,
}

/// Batches under way of one partition, oldest first.
#[derive(Default)]
pub(super) struct Flights {
    state: Mutex<State>,
    /// Rings when a batch landed.
    pub landed: Notify,
}

#[derive(Default)]
struct State {
    flying: VecDeque<Flight>,
    landed: Vec<(u64, Vec<RowOp>)>,
}

impl Flights {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the batch is proposed: its entry may be applied at once.
    pub fn depart(&self, flight: Flight) {
        self.state().flying.push_back(flight);
    }

    pub fn len(&self) -> usize {
        self.state().flying.len()
    }

    /// Batches that landed since the last call, with their rows.
    pub fn take_landed(&self) -> Vec<(u64, Vec<RowOp>)> {
        std::mem::take(&mut self.state().landed)
    }

    /// The flight that an entry belongs to, if this node's own decider made it. Flights of earlier terms are then
    /// known to be lost, as the log holds terms in order.
    pub fn arriving(&self, log_term: u64, reign: u64, batch: u64) -> Option<Flight> {
        let mut state = self.state();
        let mut lost = vec![];
        while state.flying.front().is_some_and(|f| f.term < log_term) {
            lost.extend(state.flying.pop_front());
        }
        let at = state.flying.iter().position(|f| f.reign == reign && f.batch == batch);
        let found = at.and_then(|at| {
            // What was proposed earlier in the same reign and is not in the log before this one will never be.
            lost.extend(state.flying.drain(..at));
            state.flying.pop_front()
        });
        drop(state);
        lost.into_iter().for_each(Flight::not_done);
        found
    }

    /// A batch is applied: its callers wake, and the decider may let go of its rows.
    pub fn arrived(&self, flight: Flight, partition: PartitionId, index: u64) {
        for Waiting { ticket, answer } in flight.waiting {
            let answer = answer.map(|(reply, sent)| Outcome { partition, index, reply, sent });
            // A caller that hung up does not undo what is done.
            let _ = ticket.send(answer.map_err(Setback::Unavailable));
        }
        self.state().landed.push((flight.batch, flight.ops));
        self.landed.notify_one();
    }

    /// Gives up every flight, because it is known that none of them can land any more.
    pub fn none_done(&self) {
        let lost = std::mem::take(&mut self.state().flying);
        lost.into_iter().for_each(Flight::not_done);
    }

    /// Gives up every flight, not knowing.
    pub fn unknown(&self) {
        let lost = std::mem::take(&mut self.state().flying);
        for waiting in lost.into_iter().flat_map(|f| f.waiting) {
            let _ = waiting.ticket.send(Err(Setback::Unavailable(Unavailable::Unknown)));
        }
    }

    /// Takes back the newest flight, whose proposal was refused before it was queued.
    pub fn turned_back(&self, reign: u64, batch: u64) {
        let mut state = self.state();
        let is_it = state.flying.back().is_some_and(|f| f.reign == reign && f.batch == batch);
        let flight = if is_it { state.flying.pop_back() } else { None };
        drop(state);
        flight.into_iter().for_each(Flight::not_done);
    }
}

impl Flight {
    /// The log went on without this batch: nothing of it was done.
    pub fn not_done(self) {
        for waiting in self.waiting {
            let _ = waiting.ticket.send(Err(Setback::NotLeader));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(term: u64, reign: u64, batch: u64) -> (Flight, oneshot::Receiver<Result<Outcome, Setback>>) {
        let (ticket, seen) = oneshot::channel();
        let waiting = vec![Waiting { ticket, answer: Ok(("done".into(), vec![])) }];
        (Flight { term, reign, batch, ops: vec![], waiting }, seen)
    }

    #[test]
    fn a_later_term_proves_that_an_older_batch_was_not_done() {
        let flights = Flights::default();
        let (a, mut seen_a) = flight(3, 1, 1);
        let (b, mut seen_b) = flight(3, 1, 2);
        flights.depart(a);
        flights.depart(b);
        let a = flights.arriving(3, 1, 1).unwrap();
        flights.arrived(a, PartitionId(1), 10);
        assert_eq!(seen_a.try_recv().unwrap().unwrap().index, 10);
        assert!(seen_b.try_recv().is_err());
        assert!(flights.arriving(4, 0, 0).is_none());
        assert_eq!(seen_b.try_recv().unwrap().unwrap_err(), Setback::NotLeader);
        assert_eq!(flights.take_landed().len(), 1);
    }

    #[test]
    fn another_reigns_entry_wakes_nobody() {
        let flights = Flights::default();
        let (a, mut seen) = flight(3, 7, 1);
        flights.depart(a);
        assert!(flights.arriving(3, 8, 1).is_none());
        assert!(seen.try_recv().is_err());
        flights.unknown();
        assert_eq!(seen.try_recv().unwrap().unwrap_err(), Setback::Unavailable(Unavailable::Unknown));
    }
}
