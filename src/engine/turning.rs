//! Whether the engine turns: each partition's decider leaves a mark whenever it was run and came back. One that blocks its
//! thread, in a lock or in work without end, leaves none.
//!
//! That no decider blocks its thread is all that this proves. One that waits without end for what never comes is run by the
//! tick and leaves marks: a disk, a majority, and an answer that was forgotten look alike. Those the fences of readiness see
//! (`node/watch.rs`), and nothing restarts for them.

use super::Engine;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// An idle decider is run at least so often, to show that it can be.
const IDLE: Duration = Duration::from_secs(1);

/// A decider's mark that it was run.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<AtomicBool>);

impl Turn {
    /// Runs `work` to its end, leaving a mark after every stretch of it.
    pub async fn around(self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        let mut tick = interval(IDLE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll_fn(|cx| {
            let done = work.as_mut().poll(cx);
            self.0.store(true, Relaxed);
            // Until it will wake this task again.
            while tick.poll_tick(cx).is_ready() {}
            done
        })
        .await;
    }
}

impl Engine {
    /// Whether every partition's decider has run since this last said so. For the watchdog.
    pub fn turned(&self) -> bool {
        let marks = || self.inner.doors.iter().map(|door| &door.turned.0);
        let all = marks().all(|mark| mark.load(Relaxed));
        if all {
            marks().for_each(|mark| mark.store(false, Relaxed));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_work_leaves_marks_and_work_that_has_ended_does_not() {
        let mark = Turn::default();
        let seen = mark.0.clone();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(mark.around(async move {
            let _ = gone.await;
        }));
        for _ in 0..3 {
            tokio::time::sleep(IDLE + Duration::from_millis(1)).await;
            assert!(seen.swap(false, Relaxed), "it waits, and shows that it could run");
        }
        let _ = go.send(());
        let _ = task.await;
        seen.store(false, Relaxed);
        tokio::time::sleep(5 * IDLE).await;
        assert!(!seen.load(Relaxed), "what has ended leaves no mark");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_turns_while_nothing_is_asked_of_it_and_not_when_it_was_stopped() {
        let site = crate::engine::tests::harness::Site::start(2);
        let engine = &site.engines[1];
        tokio::time::sleep(2 * IDLE).await;
        assert!(engine.turned());
        assert!(!engine.turned(), "nothing ran in between");
        tokio::time::sleep(2 * IDLE).await;
        assert!(engine.turned());
        engine.stop().await;
        engine.turned();
        tokio::time::sleep(5 * IDLE).await;
        assert!(!engine.turned());
    }
}
