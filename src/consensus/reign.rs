//! Reigns: what keeps a leader's pipeline without holes (P2).
//!
//! The library may refuse a proposal in the middle of a term (its lease ran out for a moment, or a hand-over
//! failed) and accept the next one. What comes later was decided on top of what was refused, so it must not count.
//! Each proposal carries its reign; the first refusal spoils the reign, and what the library accepts after that is
//! logged empty. Refusal and logging happen on the same task, in order, so no proposal slips between them.

use super::types::Types;
use crate::ops::metrics as names;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio::time::Instant;

/// One unbroken stretch of being able to propose.
#[derive(Debug, Default)]
pub struct Reign {
    number: u64,
    term: u64,
    /// No further proposals are taken; those under way may still be logged.
    closed: AtomicBool,
    /// A proposal was refused, or leadership was lost.
    spoiled: AtomicBool,
    /// Proposals given to the library whose outcome is open.
    outstanding: AtomicU64,
    /// Wakes whoever waits for the two above.
    changed: Notify,
}

impl Reign {
    pub fn new(number: u64, term: u64) -> Self {
        Reign { number, term, ..Default::default() }
    }
    /// A reign that takes nothing: the time before the first.
    pub fn over() -> Self {
        let reign = Reign::default();
        reign.spoil();
        reign
    }
    pub fn number(&self) -> u64 {
        self.number
    }
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Takes a proposal in, or not if the reign is over. The ticket counts it until its outcome is known.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        // Counted before looking, as `settled` looks after closing: one of the two sees the other.
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket { reign: self.clone(), since: Instant::now() };
        (!self.closed.load(Ordering::SeqCst) && !self.broken()).then_some(ticket)
    }

    /// Whether what is logged from now on counts for nothing.
    pub fn broken(&self) -> bool {
        self.spoiled.load(Ordering::SeqCst)
    }

    /// Takes no more proposals; those under way still count.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Ends the reign: nothing that is not logged yet will count.
    pub fn spoil(&self) {
        self.close();
        self.spoiled.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Whether every proposal has been applied or dropped.
    pub fn settled(&self) -> bool {
        self.outstanding.load(Ordering::SeqCst) == 0
    }

    /// Waits until `done` says so; looked at whenever the reign changes.
    pub async fn wait(&self, done: impl Fn(&Reign) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if done(self) {
                return;
            }
            changed.await;
        }
    }
}

/// One proposal under way.
#[derive(Debug)]
pub struct Ticket {
    reign: Arc<Reign>,
    since: Instant,
}

impl Ticket {
    pub fn reign(&self) -> &Arc<Reign> {
        &self.reign
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.reign.outstanding.fetch_sub(1, Ordering::SeqCst);
        self.reign.changed.notify_waiters();
    }
}

/// Given to the library with each proposal; told what became of it, on the library's own task.
pub struct Outcome<T> {
    ticket: Option<Ticket>,
    _result: std::marker::PhantomData<fn(T)>,
}

impl<T> Outcome<T> {
    pub fn of(ticket: Ticket) -> Self {
        Outcome { ticket: Some(ticket), _result: std::marker::PhantomData }
    }
}

impl<T: Send + 'static> Responder<Types, T> for Outcome<T> {
    fn on_complete(mut self, result: T) {
        let result = (&result as &dyn Any).downcast_ref::<ClientWriteResult<Types>>();
        let Some(ticket) = self.ticket.take() else { return };
        match result {
            Some(Ok(_)) => metrics::histogram!(names::RAFT_PROPOSE_DURATION).record(ticket.since.elapsed()),
            _ => ticket.reign.spoil(),
        }
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        // The library dropped the proposal without a word: it is shutting down.
        if let Some(ticket) = &self.ticket {
            ticket.reign.spoil();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_closes_the_reign_and_the_last_outcome_settles_it() {
        let reign = Arc::new(Reign::new(1, 1));
        let first = Outcome::<ClientWriteResult<Types>>::of(reign.enter().unwrap());
        let second = reign.enter().unwrap();
        let refused = openraft::errors::ForwardToLeader::empty();
        first.on_complete(Err(refused.into()));
        assert!(reign.broken() && !reign.settled());
        assert!(reign.enter().is_none());
        let waiting = tokio::spawn({
            let reign = reign.clone();
            async move { reign.wait(Reign::settled).await }
        });
        drop(second);
        waiting.await.unwrap();
    }
}
