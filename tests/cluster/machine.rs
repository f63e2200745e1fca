//! What the machine under the tests took away: moments in which it let nobody run, and syncs that its disk was late with.
//! A promise of time is the site's (P2). What the machine itself stood still is no breach of it, and is told beside it.

use super::history::Moment;
use std::{
    fs::File,
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Between two looks at the clock, and how late one may be before it counts: schedulers of busy machines are that late.
const BEAT: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_millis(40);
/// Between two syncs, and how long one may take: as long as that of a slow disk that works.
const SYNC_EVERY: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(60);

/// A stretch of time.
pub type Stretch = (Moment, Moment);

/// Watches from its start to its end.
pub struct Machine {
    stood: Arc<Mutex<Vec<Stretch>>>,
    over: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<()>>,
}

impl Machine {
    /// `start` is the moment 0 of the history.
    pub fn watch(start: Instant) -> Machine {
        let (stood, over) = (Arc::<Mutex<Vec<Stretch>>>::default(), Arc::<AtomicBool>::default());
        let watcher = |bearable: Duration, mut act: Box<dyn FnMut() + Send>| {
            let (stood, over) = (stood.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    let from = start.elapsed();
                    act();
                    let until = start.elapsed();
                    if until - from > bearable {
                        let stretch = ((from + bearable).as_micros() as Moment, until.as_micros() as Moment);
                        stood.lock().expect("no watcher panicked").push(stretch);
                    }
                }
            })
        };
        let beats = watcher(BEAT + LATE, Box::new(|| thread::park_timeout(BEAT)));
        let mut file = tempfile::tempfile().expect("a file");
        let syncs = watcher(SYNC_EVERY + SLOW, Box::new(move || sync(&mut file)));
        Machine { watchers: vec![beats, syncs], stood, over }
    }

    /// When the machine stood still, in order and apart from each other.
    pub fn end(mut self) -> Vec<Stretch> {
        self.over.store(true, Relaxed);
        for watcher in self.watchers.drain(..) {
            watcher.join().expect("a watcher ends in order");
        }
        merged(std::mem::take(&mut *self.stood.lock().expect("no watcher panicked")))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

fn sync(file: &mut File) {
    thread::park_timeout(SYNC_EVERY);
    // A disk that refuses is another test's matter; this one only waits for it.
    let _ = file.write_all(&[7; 4096]).and_then(|()| file.sync_data());
}

fn merged(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    let mut merged: Vec<Stretch> = vec![];
    for (from, until) in stretches {
        match merged.last_mut().filter(|last| from <= last.1) {
            Some(last) => last.1 = last.1.max(until),
            None => merged.push((from, until)),
        }
    }
    merged
}

/// How much of a stretch lies within `stood`.
pub fn lost_of(stood: &[Stretch], (from, until): Stretch) -> Moment {
    stood.iter().map(|(a, b)| (*b).min(until).saturating_sub((*a).max(from))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_watchers_saw_counts_once_and_only_within_the_stretch() {
        let stood = merged(vec![(50, 70), (10, 20), (15, 30), (30, 40)]);
        assert_eq!(stood, [(10, 40), (50, 70)]);
        assert_eq!(lost_of(&stood, (0, 100)), 50);
        assert_eq!(lost_of(&stood, (35, 60)), 15);
        assert_eq!(lost_of(&stood, (40, 50)), 0);
    }
}
