//! Trouble that a simulation may ask the code for: waits at chosen points, and planted faults that the simulation must
//! find (`tests/sim`). A proof that never fails proves nothing.
//!
//! Compiled to nothing where debug assertions are off, so that no release can be asked. What is asked for holds for the
//! thread that asked: a simulated site runs in one.

use super::sim::SimRng;
use std::{cell::RefCell, time::Duration};

/// A fault that breaks a promise, put where the code would keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The log says "durable" before it has synced (P1).
    AcknowledgeBeforeSync,
    /// A vote counts before it is durable: two leaders in one term (P1).
    VoteBeforeSync,
    /// What was decided in one term may be logged and applied in another (P2).
    AnyTerm,
    /// A new reign goes on with what an earlier one decided, whatever became of it (P2).
    KeepOverlay,
    /// A linearizable read is answered from what this node happens to have (P2).
    ReadWithoutFence,
    /// A bad record in the middle of the log is taken for its end (P7).
    BadMiddleIsTail,
    /// An entry's rows are applied a second time, later (P1).
    ApplyTwice,
    /// A snapshot leaves the memory of requests out (P3).
    ForgetRequests,
    /// What another partition sent is decided again when it comes again (P3).
    DeliverTwice,
    /// A command may leave no audit record (P4).
    NoAudit,
}

#[derive(Default)]
struct Asked {
    planted: Option<Planted>,
    late: Option<SimRng>,
}

thread_local! {
    static ASKED: RefCell<Asked> = RefCell::default();
}

/// Asks this thread's code for a fault, or for none; and, with a seed, for waits at [`late`].
pub fn ask(planted: Option<Planted>, late: Option<u64>) {
    ASKED.set(Asked { planted, late: late.map(SimRng::new) });
}

/// Whether this very fault is asked for.
pub fn planted(fault: Planted) -> bool {
    cfg!(debug_assertions) && ASKED.with_borrow(|asked| asked.planted == Some(fault))
}

/// A point at which a task may be held up, as a busy machine does: now and then, for up to `longest`.
pub async fn late(longest: Duration) {
    if !cfg!(debug_assertions) {
        return;
    }
    let wait = ASKED.with_borrow(|asked| {
        let rng = asked.late.as_ref().filter(|rng| rng.chance(5))?;
        Some(Duration::from_micros(rng.below(longest.as_micros() as u64)))
    });
    if let Some(wait) = wait {
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_troubled_who_did_not_ask() {
        assert!(!planted(Planted::NoAudit));
        ask(Some(Planted::NoAudit), None);
        assert!(planted(Planted::NoAudit) && !planted(Planted::ApplyTwice));
        assert!(std::thread::spawn(|| !planted(Planted::NoAudit)).join().unwrap(), "nor on another thread");
        ask(None, None);
        assert!(!planted(Planted::NoAudit));
    }
}
