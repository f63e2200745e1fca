//! Turns at the work behind the edge: as many at once as keep it busy, and given to waiting systems round about (P6).
//!
//! Work that is begun beyond what disks and processors can carry only makes all of it late. So requests wait here, where
//! waiting costs next to nothing and a system that sends too much waits behind itself alone. While others are about, one
//! system may also not fill the work: what it has begun is in everybody's way. Whose turn would come later than anybody
//! wants to wait is refused at once: a client that hears so within milliseconds can go elsewhere. How long it is told to
//! stay away is found (`away`), so that refusing stays a small part of the work.
//!
//! Emergency care is a class of its own and never starved: an eighth as many turns again is kept for it on top of what the
//! others may have, its systems come first whenever a turn is to be given, and how long it would wait is foretold from its own
//! queue alone. It starves nobody either: while others are about, the class has at most half of all turns and one system of it
//! at most a quarter, so that neither the others nor a second ambulance service wait for one that floods.

use super::away::Away;
use super::options::KEPT;
use super::tenant::CertificateHash;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One system's part of the work while others are about: a thirty-second, two of sixty-four. What it has begun is in the
/// way of everybody's next request; and two that are always at work still bring thousands of requests a second.
const PART: usize = 32;
/// The same of emergency care's systems, and of all of them together, of all turns with those that are kept.
const EMERGENCY_PART: usize = 4;
const EMERGENCY_ALL: usize = 2;
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

/// Whose turn comes first, and what is kept for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// What an operator has marked as emergency care.
    Emergency,
    Usual,
}

impl Class {
    pub const ALL: [Class; 2] = [Class::Emergency, Class::Usual];
    /// In metrics.
    pub fn word(self) -> &'static str {
        match self {
            Class::Emergency => "emergency",
            Class::Usual => "usual",
        }
    }
}

/// A system in its class. One that changes its class begins as another: nothing of it counts twice.
pub type Who = (CertificateHash, Class);

/// The bounded work of one listener. Its queue is bounded by the requests that the listener lets in at once.
pub struct Turns {
    patience: Duration,
    state: Mutex<State>,
}

struct State {
    /// Turns at once of those who are not emergency care.
    at_once: usize,
    emergency: Line,
    usual: Line,
    systems: HashMap<Who, System>,
    away: Away,
    swept_at: Instant,
}

/// All systems of one class.
struct Line {
    at_work: usize,
    waiting: usize,
    /// Systems that wait and may have a turn when there is one, the next first; each once.
    ring: VecDeque<Who>,
    pace: Pace,
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
pub struct Turn(Option<(Arc<Turns>, Who)>);

/// It would take longer than the patience of [`Turns`]; for how long to stay away, in whole seconds.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong(pub Duration);

impl Turns {
    pub fn new(at_once: usize, patience: Duration) -> Arc<Turns> {
        let now = Instant::now();
        let line = || Line { at_work: 0, waiting: 0, ring: VecDeque::new(), pace: Pace::new(now) };
        let state = State {
            at_once: at_once.max(1),
            emergency: line(),
            usual: line(),
            systems: HashMap::new(),
            away: Away::new(now),
            swept_at: now,
        };
        Arc::new(Turns { patience, state: Mutex::new(state) })
    }

    /// A turn, now or after those before it. A caller that is dropped while it waits has had none.
    pub async fn take(self: &Arc<Self>, who: Who) -> Result<Turn, TooLong> {
        let turn = {
            let mut state = self.lock();
            let now = Instant::now();
            state.sweep(now);
            state.systems.entry(who).or_insert_with(|| System::new(now)).seen = now;
            if state.begin(&who) {
                return Ok(Turn(Some((self.clone(), who))));
            }
            if state.wait_of(&who, now) > self.patience {
                return Err(TooLong(match who.1 {
                    // The time is found for the crowd, and this one waits for none but itself.
                    Class::Emergency => Away::LEAST,
                    Class::Usual => state.away.refused(now),
                }));
            }
            state.queue(who)
        };
        turn.await.map_err(|_| TooLong(Away::LEAST))
    }

    /// Counts a request that was refused before it could ask for a turn; for how long it should stay away.
    pub fn refused(&self) -> Duration {
        self.lock().away.refused(Instant::now())
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        let state = self.lock();
        state.emergency.waiting + state.usual.waiting
    }

    /// Takes an ended turn back, and gives out what may be given.
    fn end(self: Arc<Self>, who: Who) {
        self.lock().ended(&who);
        loop {
            let Some((next, give)) = self.lock().next() else { return };
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
    fn line(&mut self, class: Class) -> &mut Line {
        match class {
            Class::Emergency => &mut self.emergency,
            Class::Usual => &mut self.usual,
        }
    }

    /// All turns: those at once, and those that are kept for emergency care on top of them.
    fn all(&self) -> usize {
        self.at_once + (self.at_once / KEPT).max(1)
    }

    /// Is there a turn for anybody of this class?
    fn free(&self, class: Class) -> bool {
        let (emergency, usual) = (self.emergency.at_work, self.usual.at_work);
        emergency + usual < self.all()
            && match class {
                Class::Usual => usual < self.at_once,
                Class::Emergency => emergency < self.all() / EMERGENCY_ALL || !self.others_are_about(),
            }
    }

    /// Others than emergency care: they are the many, so that one is found at once where there is one.
    fn others_are_about(&self) -> bool {
        self.systems.keys().any(|(_, class)| *class == Class::Usual)
    }

    /// How much of the work a system may have at once: all of its class's while it is alone.
    fn part(&self, who: &Who) -> usize {
        let alone = self.systems.len() == usize::from(self.systems.contains_key(who));
        match who.1 {
            _ if alone => self.all(),
            Class::Emergency => (self.all() / EMERGENCY_PART).max(1),
            Class::Usual => (self.at_once / PART).max(1),
        }
    }

    /// Begins a turn of a system that has nothing waiting, if there is one for it.
    fn begin(&mut self, who: &Who) -> bool {
        let (free, part) = (self.free(who.1), self.part(who));
        let Some(own) = self.systems.get_mut(who) else { return false };
        let begins = free && own.at_work < part && own.queue.is_empty();
        if begins {
            own.at_work += 1;
            self.line(who.1).at_work += 1;
        }
        begins
    }

    /// How long a new request of this system would wait: behind its own, and behind one of each other in each round. Only
    /// those of its class are before it.
    fn wait_of(&mut self, who: &Who, now: Instant) -> Duration {
        let line = match who.1 {
            Class::Emergency => &mut self.emergency,
            Class::Usual => &mut self.usual,
        };
        if line.waiting == 0 {
            line.pace.restart(now);
        }
        let Some(own) = self.systems.get_mut(who) else { return Duration::ZERO };
        if own.queue.is_empty() {
            own.pace.restart(now);
            // Whatever is foretold: of emergency care one may always wait.
            if who.1 == Class::Emergency {
                return Duration::ZERO;
            }
        }
        let rounds = own.queue.len() + 1;
        let behind_own = own.pace.of(rounds);
        let others = line.waiting - own.queue.len();
        let behind_others = others.min(line.ring.len() * rounds);
        behind_own.max(line.pace.of(rounds + behind_others))
    }

    fn queue(&mut self, who: Who) -> oneshot::Receiver<Turn> {
        let (give, turn) = oneshot::channel();
        if let Some(own) = self.systems.get_mut(&who) {
            own.queue.push_back(give);
            let joins = !std::mem::replace(&mut own.in_ring, true);
            let line = self.line(who.1);
            line.waiting += 1;
            if joins {
                line.ring.push_back(who);
            }
        }
        turn
    }

    /// The next turn to be given, if there is one to give and somebody who may have it: emergency care first.
    fn next(&mut self) -> Option<(Who, oneshot::Sender<Turn>)> {
        [Class::Emergency, Class::Usual].into_iter().find_map(|class| self.next_of(class))
    }

    fn next_of(&mut self, class: Class) -> Option<(Who, oneshot::Sender<Turn>)> {
        if !self.free(class) {
            return None;
        }
        for _ in 0..self.line(class).ring.len() {
            let who = self.line(class).ring.pop_front()?;
            let part = self.part(&who);
            let Some(own) = self.systems.get_mut(&who) else { continue };
            if own.at_work >= part {
                // Comes again with the end of a turn of its own, at the latest.
                self.line(class).ring.push_back(who);
                continue;
            }
            let give = own.queue.pop_front();
            own.at_work += usize::from(give.is_some());
            own.in_ring = !own.queue.is_empty();
            let (waits, line) = (own.in_ring, self.line(class));
            if waits {
                line.ring.push_back(who);
            }
            if let Some(give) = give {
                line.at_work += 1;
                line.waiting -= 1;
                return Some((who, give));
            }
        }
        None
    }

    fn release(&mut self, who: &Who) {
        self.line(who.1).at_work -= 1;
        if let Some(own) = self.systems.get_mut(who) {
            own.at_work -= 1;
        }
    }

    fn ended(&mut self, who: &Who) {
        self.release(who);
        self.away.served();
        let now = Instant::now();
        let line = self.line(who.1);
        if line.waiting == 0 {
            return;
        }
        line.pace.count(now);
        if let Some(own) = self.systems.get_mut(who)
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
        if let Some((turns, who)) = self.0.take() {
            turns.end(who);
        }
    }
}

#[cfg(test)]
mod tests;
