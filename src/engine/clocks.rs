//! A guard against a wrong clock (P6). Stamps never fall, so one leader whose clock is years ahead would let everything
//! in its partitions expire, for good. Each node compares its clock with the other voters' once a second; one that is
//! off the median makes no stamp, and leadership goes to a node whose clock is right.
//!
//! A clock is written as its zero: what it showed when this program's own steady time began. Two clocks that run alike
//! keep their zeros, so a stamp costs one look at each and a subtraction, and a clock that was set is seen at once.

use super::ports::Agreement;
use super::space::Room;
use super::survey::{Said, Survey, give_away};
use crate::ops::metrics as names;
use crate::seam::clock::Clock;
use std::{
    sync::Arc,
    sync::atomic::{AtomicI64, AtomicU8, Ordering},
    time::Duration,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// How far a clock may be from what most show, in milliseconds. Twenty times what a comparison over a slow wire errs
/// by (half of [`super::survey::ASK_TIMEOUT`]) and far more than a time service leaves; far below what users tolerate:
/// their tokens are good for two hours either way.
const BOUND: u64 = 5_000;
/// A clock that was off is right again within this, so that one at the bound does not flap.
const BACK_AT: u64 = BOUND / 2;
/// How often clocks are compared: soon enough that a reign begins on a comparison which is there already.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// A comparison up to so old will do for a reign that begins: far more than one is late by on a busy machine, and far
/// less than clocks that nobody sets need to part. One that was set is seen without a comparison.
const FRESH: Duration = Duration::from_secs(10);

/// How this node's clock stands to the other voters'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// No other clock is known; this one is taken as it is.
    Alone,
    /// It shows what most clocks show.
    Right,
    /// Only one other clock is known, and it differs: nobody can tell which is wrong, so this one is taken as it is.
    Doubt,
    /// It is wrong: nothing is stamped with it.
    Off,
    /// It was set since it was last compared: nothing is stamped with it until it is compared again.
    Jumped,
}

impl Standing {
    fn of(number: u8) -> Standing {
        use Standing::*;
        [Alone, Right, Doubt, Off, Jumped][usize::from(number).min(4)]
    }
    fn stamps(self) -> bool {
        !matches!(self, Standing::Off | Standing::Jumped)
    }
}

/// What is known of this node's clock, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReport {
    pub standing: Standing,
    /// Milliseconds by which it is ahead of the others; below zero it is behind.
    pub ahead: i64,
}

impl ClockReport {
    /// Whether the node does without leading and taking traffic.
    pub fn is_off(&self) -> bool {
        !self.standing.stamps()
    }
    /// What is wrong, in a line behind "node 3: "; `None` while nothing is known to be.
    pub fn trouble(&self) -> Option<String> {
        let way = if self.ahead < 0 { "behind" } else { "ahead of" };
        let apart = format!("{:.1} s {way}", self.ahead.unsigned_abs() as f64 / 1000.0);
        match self.standing {
            Standing::Alone | Standing::Right => None,
            Standing::Doubt => Some(format!(
                "its clock is {apart} the only other one that is known: one of the two is wrong, and nobody can tell which"
            )),
            Standing::Off => {
                Some(format!("its clock is {apart} the other nodes': it does not lead until that is set right"))
            }
            Standing::Jumped => {
                Some("its clock was just set, and is being compared with the other nodes' clocks".into())
            }
        }
    }
}

/// The newest comparison.
#[derive(Clone, Copy, Debug, Default)]
struct Compared {
    at: Option<Instant>,
    /// It left nothing open that another one could answer.
    settled: bool,
    /// The zero kept is one that at least two clocks have had.
    vouched: bool,
}

/// What a comparison says.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    standing: Standing,
    zero: i64,
    vouched: bool,
    ahead: i64,
}

/// This node's clock, as deciders read it.
pub(super) struct Clocks {
    clock: Arc<dyn Clock>,
    began: Instant,
    standing: AtomicU8,
    /// Zero of the site's time, as far as it is known.
    zero: AtomicI64,
    ahead: AtomicI64,
    compared: watch::Sender<Compared>,
    /// Asks for a comparison before its time.
    wake: Notify,
}

impl Clocks {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let began = Instant::now();
        Clocks {
            zero: AtomicI64::new(millis(clock.now().0)),
            clock,
            began,
            standing: AtomicU8::new(Standing::Alone as u8),
            ahead: AtomicI64::new(0),
            compared: watch::Sender::default(),
            wake: Notify::new(),
        }
    }

    /// Steady time, in milliseconds.
    pub fn steady(&self) -> i64 {
        millis(self.began.elapsed().as_millis() as u64)
    }

    fn own(&self) -> i64 {
        millis(self.clock.now().0).saturating_sub(self.steady())
    }

    fn standing(&self) -> Standing {
        Standing::of(self.standing.load(Ordering::Acquire))
    }

    /// The time, if a stamp may be made with it. Read anew for each batch of stamps.
    pub fn stamp(&self) -> Option<u64> {
        let now = self.clock.now().0;
        let own = millis(now).saturating_sub(self.steady());
        let standing = self.standing();
        if !standing.stamps() {
            return None;
        }
        let strayed = own.saturating_sub(self.zero.load(Ordering::Relaxed));
        if strayed.unsigned_abs() <= BOUND {
            return Some(now);
        }
        let jumped = Standing::Jumped as u8;
        if self.standing.compare_exchange(standing as u8, jumped, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            tracing::error!(event = "engine.clock.jumped", millis = strayed, "the clock was set: nothing is stamped");
            self.ahead.store(strayed, Ordering::Relaxed);
            self.wake();
        }
        None
    }

    /// By how many milliseconds a time is ahead of the site's, as far as that is known here; 0 within what the clocks of
    /// leaders that took turns may differ by.
    pub fn ahead(&self, time: u64) -> u64 {
        let site = self.zero.load(Ordering::Relaxed).saturating_add(self.steady());
        let ahead = time.saturating_sub(u64::try_from(site).unwrap_or(0));
        if ahead > 2 * BOUND { ahead } else { 0 }
    }

    /// Whether stamps may be made now.
    pub fn fit(&self) -> bool {
        self.stamp().is_some()
    }

    /// What a peer that asks is told, besides of room.
    pub fn fill(&self, room: &mut Room) {
        room.now = self.clock.now().0;
        room.clock_off = !self.fit();
    }

    /// Whether a peer is known to have a wrong clock, by its own word or by what this node knows.
    pub fn wrong(&self, said: &Said) -> bool {
        let site = self.zero.load(Ordering::Relaxed);
        let known = self.compared.borrow().vouched;
        said.room.clock_off || said.zero.is_some_and(|zero| known && zero.abs_diff(site) > BOUND)
    }

    pub fn report(&self) -> ClockReport {
        self.fit();
        ClockReport { standing: self.standing(), ahead: self.ahead.load(Ordering::Relaxed) }
    }

    /// Has clocks compared before their time.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Before a reign begins: waits for a comparison where no clock but this one vouches for the time yet: this node has
    /// just started, or a lost answer has left a doubt. Two rounds at most, together no longer than a peer may take to answer.
    pub async fn fresh(&self) {
        let mut compared = self.compared.subscribe();
        let settled = |c: &Compared| c.settled && c.at.is_some_and(|at| at.elapsed() <= FRESH);
        let deadline = Instant::now() + super::survey::ASK_TIMEOUT;
        for _ in 0..2 {
            if settled(&compared.borrow_and_update()) {
                return;
            }
            self.wake();
            if timeout_at(deadline, compared.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Takes a comparison in: this clock's zero as of when peers were asked, and theirs.
    fn compare(&self, own: i64, others: &[i64], asked: usize) {
        let was = self.standing();
        let memory = self.compared.borrow().vouched.then(|| self.zero.load(Ordering::Relaxed));
        let bound = if was == Standing::Off { BACK_AT } else { BOUND };
        let found = judge(own, others, asked, memory, bound);
        metrics::gauge!(names::CLOCK_OFFSET).set(found.ahead as f64 / 1000.0);
        self.zero.store(found.zero, Ordering::Relaxed);
        self.ahead.store(found.ahead, Ordering::Relaxed);
        self.standing.store(found.standing as u8, Ordering::Release);
        if found.standing != was {
            tell(&found, others.len());
        }
        let settled = asked == 0 || found.vouched;
        self.compared.send_replace(Compared { at: Some(Instant::now()), settled, vouched: found.vouched });
    }
}

fn tell(found: &Verdict, known: usize) {
    let millis = found.ahead;
    match found.standing {
        Standing::Off => {
            tracing::error!(event = "engine.clock.off", millis, known, "this node's clock is wrong: it does not lead");
        }
        Standing::Doubt => {
            tracing::warn!(event = "engine.clock.doubt", millis, "two clocks are known, and they differ");
        }
        Standing::Right => tracing::info!(event = "engine.clock.right", millis, known, "clocks agree"),
        Standing::Alone | Standing::Jumped => tracing::info!(event = "engine.clock.alone", "no other clock is known"),
    }
}

/// Compares zeros. `memory` is a zero that was vouched for: it tells two clocks that differ apart, as does nothing else.
fn judge(own: i64, others: &[i64], asked: usize, memory: Option<i64>, bound: u64) -> Verdict {
    let apart = |zero: i64| own.saturating_sub(zero);
    let far = |zero: i64| own.abs_diff(zero) > bound;
    match others {
        [other] if !far(*other) => {
            Verdict { standing: Standing::Right, zero: own, vouched: true, ahead: apart(*other) }
        }
        [] | [_] => match memory.filter(|zero| far(*zero) && asked > 0) {
            Some(zero) => Verdict { standing: Standing::Off, zero, vouched: true, ahead: apart(zero) },
            None => Verdict {
                standing: if others.is_empty() { Standing::Alone } else { Standing::Doubt },
                zero: own,
                vouched: memory.is_some() && asked > 0,
                ahead: others.first().map_or(0, |zero| apart(*zero)),
            },
        },
        _ => {
            let mut all = others.to_vec();
            all.push(own);
            all.sort_unstable();
            // The lower one of two: time that lags does less harm. It is a clock's own, so one at least is right.
            let median = all[(all.len() - 1) / 2];
            let standing = if far(median) { Standing::Off } else { Standing::Right };
            Verdict { standing, zero: median, vouched: true, ahead: apart(median) }
        }
    }
}

fn millis(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Compares clocks for ever, says which nodes should not be given leadership, and gives it away while this node's clock is
/// off and another voter's is not.
pub(super) async fn watch(clocks: Arc<Clocks>, survey: Arc<Survey>, groups: Vec<Arc<dyn Agreement>>) {
    loop {
        let own = clocks.own();
        let said = survey.ask(&clocks).await;
        let zeros: Vec<i64> = said.iter().filter_map(|s| s.zero).collect();
        clocks.compare(own, &zeros, survey.asks());
        let unfit = survey.unfit(&said, &clocks);
        groups.iter().for_each(|group| group.avoid(unfit.clone()));
        if !clocks.fit() {
            give_away(&groups, survey.me, "engine.clock.hand_over", &|voter| {
                let said = said.iter().find(|s| s.node == voter && !clocks.wrong(s))?;
                Some((!said.may_lead(), said.room.disk_slow))
            })
            .await;
        }
        tokio::select! {
            biased;
            _ = tokio::time::sleep(COMPARE_EVERY) => {}
            _ = clocks.wake.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: i64 = 365 * 24 * 3_600_000;

    fn standing(own: i64, others: &[i64], memory: Option<i64>) -> Standing {
        judge(own, others, 2, memory, BOUND).standing
    }

    #[test]
    fn the_median_of_three_and_more_decides() {
        assert_eq!(standing(5_000, &[0, 0], None), Standing::Right);
        assert_eq!(standing(5_001, &[0, 0], None), Standing::Off);
        assert_eq!(standing(0, &[0, YEAR], Some(YEAR)), Standing::Right);
        // Of clocks that all differ one is right, and all know which.
        assert_eq!(standing(YEAR, &[0, 2 * YEAR], None), Standing::Right);
        assert_eq!(standing(0, &[YEAR, 2 * YEAR], None), Standing::Off);
        // Two against two: those behind are kept, on every node.
        assert_eq!(standing(0, &[0, YEAR, YEAR], None), Standing::Right);
        assert_eq!(standing(YEAR, &[0, 0, YEAR], None), Standing::Off);
        assert_eq!(judge(YEAR, &[0, 1], 2, None, BOUND).ahead, YEAR - 1);
    }

    #[test]
    fn two_that_differ_are_told_apart_by_memory_alone() {
        assert_eq!(standing(YEAR, &[0], None), Standing::Doubt);
        assert_eq!(standing(YEAR, &[0], Some(YEAR)), Standing::Doubt);
        assert_eq!(standing(YEAR, &[0], Some(0)), Standing::Off);
        assert_eq!(standing(YEAR, &[YEAR], Some(0)), Standing::Right, "both were set");
        assert_eq!(standing(YEAR, &[], Some(0)), Standing::Off, "the others are silent");
        assert_eq!(standing(YEAR, &[], None), Standing::Alone);
        assert_eq!(judge(YEAR, &[], 0, Some(0), BOUND).standing, Standing::Alone, "there are no others");
    }

    #[test]
    fn absurd_clocks_do_no_harm() {
        for other in [i64::MIN, 0, i64::MAX] {
            for own in [i64::MIN, 0, i64::MAX] {
                judge(own, &[other], 2, Some(0), BOUND);
                judge(own, &[other, other, 0], 3, None, BOUND);
            }
        }
    }
}
