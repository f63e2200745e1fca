//! Turns at the work behind the edge: as many at once as keep it busy, and given to waiting systems round about (P6).
//!
//! Work that is begun beyond what disks and processors can carry only makes all of it late. So requests wait here, where
//! waiting costs next to nothing and a system that sends too much waits behind itself alone. While others are about, one
//! system may also not fill the work: what it has begun is in everybody's way. Whose turn would come later than anybody
//! wants to wait is refused at once: a client that hears so within milliseconds can go elsewhere. How long it is told to
//! stay away is found (`away`), so that refusing stays a small part of the work.

use super::away::Away;
use super::tenant::CertificateHash;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One system's part of the work while others are about: a thirty-second, two of sixty-four. What it has begun is in the
/// way of everybody's next request; and two that are always at work still bring thousands of requests a second.
const PART: usize = 32;
/// A system is about for so long after its last request, and for up to twice as long.
const ABOUT: Duration = Duration::from_secs(1);
/// Turns that ended, over which a pace is measured: the engine gives them back in batches.
const SAMPLE: u32 = 64;
const QUICKEST: Duration = Duration::from_micros(1);
/// How many times slower than before turns may be taken to have become at once. An election is a pause and no pace: who waits
/// through it is served behind it.
const SLOWER: u32 = 4;
/// Pace before anything was measured: a thousand requests a second.
const FIRST_PACE: Duration = Duration::from_millis(1);

/// The bounded work of one listener. Its queue is bounded by the requests that the listener lets in at once.
pub struct Turns {
    at_once: usize,
    patience: Duration,
    state: Mutex<State>,
}

struct State {
    at_work: usize,
    waiting: usize,
    systems: HashMap<CertificateHash, System>,
    /// Systems that wait and may have a turn when there is one, the next first; each once.
    ring: VecDeque<CertificateHash>,
    pace: Pace,
    away: Away,
    swept_at: Instant,
}

/// One system's part.
struct System {
    at_work: usize,
    queue: VecDeque<oneshot::Sender<Turn>>,
    in_ring: bool,
    pace: Pace,
    seen: Instant,
}

/// Mean time from one turn's end to the next, while there is always somebody waiting.
struct Pace {
    mean: Duration,
    ended: u32,
    since: Instant,
}

/// The right to work; ends when it is dropped, and is somebody else's then.
#[must_use]
pub struct Turn(Option<(Arc<Turns>, CertificateHash)>);

/// It would take longer than the patience of [`Turns`]; for how long to stay away, in whole seconds.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong(pub Duration);

impl Turns {
    pub fn new(at_once: usize, patience: Duration) -> Arc<Turns> {
        let now = Instant::now();
        let state = State {
            at_work: 0,
            waiting: 0,
            systems: HashMap::new(),
            ring: VecDeque::new(),
            pace: Pace::new(now),
            away: Away::new(now),
            swept_at: now,
        };
        Arc::new(Turns { at_once: at_once.max(1), patience, state: Mutex::new(state) })
    }

    /// A turn, now or after those before it. A caller that is dropped while it waits has had none.
    pub async fn take(self: &Arc<Self>, system: CertificateHash) -> Result<Turn, TooLong> {
        let turn = {
            let mut state = self.lock();
            let now = Instant::now();
            state.sweep(now);
            let part = state.part(&system, self.at_once);
            let free = state.at_work < self.at_once;
            let own = state.systems.entry(system).or_insert_with(|| System::new(now));
            own.seen = now;
            if free && own.at_work < part && own.queue.is_empty() {
                own.at_work += 1;
                state.at_work += 1;
                return Ok(Turn(Some((self.clone(), system))));
            }
            if state.wait_of(&system, now) > self.patience {
                return Err(TooLong(state.away.refused(now)));
            }
            state.queue(system)
        };
        turn.await.map_err(|_| TooLong(Away::LEAST))
    }

    /// Counts a request that was refused before it could ask for a turn; for how long it should stay away.
    pub fn refused(&self) -> Duration {
        self.lock().away.refused(Instant::now())
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Takes an ended turn back, and gives out what may be given.
    fn end(self: Arc<Self>, system: CertificateHash) {
        self.lock().ended(&system);
        loop {
            let Some((next, give)) = self.lock().next(self.at_once) else { return };
            if let Err(mut unwanted) = give.send(Turn(Some((self.clone(), next)))) {
                // Its caller is gone: the turn is still to be had.
                unwanted.0 = None;
                self.lock().release(&next);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    /// How much of the work a system may have at once: all of it while it is alone.
    fn part(&self, system: &CertificateHash, at_once: usize) -> usize {
        match self.systems.len() - usize::from(self.systems.contains_key(system)) {
            0 => at_once,
            _ => (at_once / PART).max(1),
        }
    }

    /// How long a new request of this system would wait: behind its own, and behind one of each other in each round.
    fn wait_of(&mut self, system: &CertificateHash, now: Instant) -> Duration {
        if self.waiting == 0 {
            self.pace.restart(now);
        }
        let Some(own) = self.systems.get_mut(system) else { return Duration::ZERO };
        if own.queue.is_empty() {
            own.pace.restart(now);
        }
        let rounds = own.queue.len() + 1;
        let behind_own = own.pace.of(rounds);
        let others = self.waiting - own.queue.len();
        let behind_others = others.min(self.ring.len() * rounds);
        behind_own.max(self.pace.of(rounds + behind_others))
    }

    fn queue(&mut self, system: CertificateHash) -> oneshot::Receiver<Turn> {
        let (give, turn) = oneshot::channel();
        if let Some(own) = self.systems.get_mut(&system) {
            own.queue.push_back(give);
            self.waiting += 1;
            if !std::mem::replace(&mut own.in_ring, true) {
                self.ring.push_back(system);
            }
        }
        turn
    }

    /// The next turn to be given, if there is one to give and somebody who may have it.
    fn next(&mut self, at_once: usize) -> Option<(CertificateHash, oneshot::Sender<Turn>)> {
        if self.at_work >= at_once {
            return None;
        }
        for _ in 0..self.ring.len() {
            let system = self.ring.pop_front()?;
            let part = self.part(&system, at_once);
            let Some(own) = self.systems.get_mut(&system) else { continue };
            if own.at_work >= part {
                // Comes again with the end of a turn of its own, at the latest.
                self.ring.push_back(system);
                continue;
            }
            let give = own.queue.pop_front();
            own.in_ring = !own.queue.is_empty();
            if own.in_ring {
                self.ring.push_back(system);
            }
            if let Some(give) = give {
                own.at_work += 1;
                self.at_work += 1;
                self.waiting -= 1;
                return Some((system, give));
            }
        }
        None
    }

    fn release(&mut self, system: &CertificateHash) {
        self.at_work -= 1;
        if let Some(own) = self.systems.get_mut(system) {
            own.at_work -= 1;
        }
    }

    fn ended(&mut self, system: &CertificateHash) {
        self.release(system);
        self.away.served();
        if self.waiting == 0 {
            return;
        }
        let now = Instant::now();
        self.pace.count(now);
        if let Some(own) = self.systems.get_mut(system)
            && !own.queue.is_empty()
        {
            own.pace.count(now);
        }
    }

    /// Forgets systems that are not about any more.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept_at) < ABOUT {
            return;
        }
        self.swept_at = now;
        let about = |own: &System| now.saturating_duration_since(own.seen) < ABOUT;
        self.systems.retain(|_, own| own.at_work > 0 || !own.queue.is_empty() || about(own));
    }
}

impl System {
    fn new(now: Instant) -> System {
        System { at_work: 0, queue: VecDeque::new(), in_ring: false, pace: Pace::new(now), seen: now }
    }
}

impl Pace {
    fn new(now: Instant) -> Pace {
        Pace { mean: FIRST_PACE, ended: 0, since: now }
    }

    fn restart(&mut self, now: Instant) {
        (self.ended, self.since) = (0, now);
    }

    fn count(&mut self, now: Instant) {
        self.ended += 1;
        if self.ended == SAMPLE {
            let each = now.saturating_duration_since(self.since) / SAMPLE;
            self.mean = ((self.mean * 3 + each.min(self.mean * SLOWER)) / 4).max(QUICKEST);
            self.restart(now);
        }
    }

    fn of(&self, turns: usize) -> Duration {
        self.mean.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((turns, system)) = self.0.take() {
            turns.end(system);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const NOISY: CertificateHash = [1; 32];
    const POLITE: CertificateHash = [2; 32];

    fn long() -> Duration {
        Duration::from_secs(60)
    }

    #[tokio::test]
    async fn who_floods_waits_behind_itself_alone() {
        let turns = Turns::new(1, long());
        let held = turns.take(NOISY).await.unwrap();
        let mut flood: Vec<_> = (0..100).map(|_| Box::pin(turns.take(NOISY))).collect();
        assert!(flood.iter_mut().all(|f| f.now_or_never().is_none()));
        let mut polite = Box::pin(turns.take(POLITE));
        assert!(polite.as_mut().now_or_never().is_none());
        drop(held);
        let first = flood[0].as_mut().now_or_never().unwrap().unwrap();
        assert!(flood[1].as_mut().now_or_never().is_none() && polite.as_mut().now_or_never().is_none());
        drop(first);
        assert!(polite.now_or_never().is_some(), "behind one of the flood, not behind all of it");
    }

    #[tokio::test]
    async fn who_stops_waiting_costs_nobody_a_turn() {
        let turns = Turns::new(2, long());
        let held = [turns.take(NOISY).await.unwrap(), turns.take(NOISY).await.unwrap()];
        let mut gone = Box::pin(turns.take(NOISY));
        let mut given = Box::pin(turns.take(NOISY));
        let mut stays = Box::pin(turns.take(POLITE));
        assert!(gone.as_mut().now_or_never().is_none() && given.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        // Given, and dropped before it was looked at.
        drop(given);
        let turn = stays.now_or_never().expect("a turn").unwrap();
        assert_eq!((turns.waiting(), turns.lock().at_work), (0, 1));
        drop(turn);
        assert_eq!(turns.lock().at_work, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_hears_so_at_once_and_others_are_not_touched() {
        let turns = Turns::new(1, Duration::from_millis(100));
        let mut working = turns.take(NOISY).await.unwrap();
        // Ten milliseconds each: ten may wait.
        let mut waiting: VecDeque<_> = VecDeque::new();
        for _ in 0..2_000 {
            while waiting.len() < 5 {
                let mut one = Box::pin({
                    let turns = turns.clone();
                    async move { turns.take(NOISY).await }
                });
                assert!(one.as_mut().now_or_never().is_none());
                waiting.push_back(one);
            }
            tokio::time::advance(Duration::from_millis(10)).await;
            drop(working);
            working = waiting.pop_front().unwrap().now_or_never().expect("its turn").unwrap();
        }
        // Four wait already.
        let more = (0..100).map(|_| Box::pin(turns.take(NOISY))).map(|mut one| (one.as_mut().now_or_never(), one));
        let (refused, kept): (Vec<_>, Vec<_>) = more.partition(|(at_once, _)| at_once.is_some());
        assert!(refused.iter().all(|(at_once, _)| matches!(at_once, Some(Err(TooLong(_))))));
        assert!((4..=7).contains(&kept.len()), "{} more may wait", kept.len());
        assert!(turns.take(POLITE).now_or_never().is_none(), "another system waits two turns, not eleven");
        drop(working);
    }

    #[tokio::test(start_paused = true)]
    async fn alone_a_system_may_fill_the_work_and_beside_others_it_leaves_room() {
        let turns = Turns::new(64, long());
        let mut noisy: Vec<_> = (0..64).map(|_| turns.take(NOISY).now_or_never().expect("alone").unwrap()).collect();
        let mut polite = Box::pin(turns.take(POLITE));
        assert!(polite.as_mut().now_or_never().is_none(), "all is taken");
        noisy.pop();
        let polite = polite.now_or_never().expect("the first that is free").unwrap();
        assert!(turns.take(NOISY).now_or_never().is_none(), "no more than its part while another is about");
        noisy.truncate(1);
        let second = turns.take(NOISY).now_or_never().expect("two are its part").unwrap();
        let mut third = Box::pin(turns.take(NOISY));
        assert!(third.as_mut().now_or_never().is_none());
        drop(polite);
        tokio::time::advance(ABOUT * 3).await;
        assert!(third.as_mut().now_or_never().is_none(), "nobody has given a turn back");
        let fourth = turns.take(NOISY);
        drop((noisy, second));
        let _ = third.now_or_never().expect("its turn").unwrap();
        let _ = fourth.now_or_never().expect("alone again").unwrap();
    }
}
