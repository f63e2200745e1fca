//! Places at one address of the system that is being replaced (P6): so many requests at once, of which one sender has at most half, and
//! those whom nobody here knows three quarters together. So neither a busy system nor a flood of strangers keeps the others away.

use super::tenant::CertificateHash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who asks for a place.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Under what it is counted: its certificate, its application, or its address.
    pub share: CertificateHash,
    pub known: bool,
}

pub struct Crowd {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    most_of_one: usize,
    taken: Mutex<HashMap<CertificateHash, usize>>,
}

impl Crowd {
    pub fn new(most: usize) -> Arc<Crowd> {
        Arc::new(Crowd {
            all: Arc::new(Semaphore::new(most)),
            strangers: Arc::new(Semaphore::new((most * 3 / 4).max(1))),
            most_of_one: (most / 2).max(1),
            taken: Mutex::default(),
        })
    }

    /// A place, until it is dropped; `None` where there is none for this sender.
    pub fn enter(self: &Arc<Self>, sender: Sender) -> Option<Place> {
        let strangers = match sender.known {
            true => None,
            false => Some(self.strangers.clone().try_acquire_owned().ok()?),
        };
        let all = self.all.clone().try_acquire_owned().ok()?;
        let mut taken = self.taken.lock().unwrap_or_else(|e| e.into_inner());
        let mine = taken.entry(sender.share).or_default();
        // Who has none yet finds the entry made anew: `most_of_one` is at least one, so that none is left behind empty.
        if *mine >= self.most_of_one {
            return None;
        }
        *mine += 1;
        drop(taken);
        Some(Place { _permits: (all, strangers), share: sender.share, of: self.clone() })
    }
}

/// A request's place.
pub struct Place {
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    share: CertificateHash,
    of: Arc<Crowd>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(mine) = taken.get_mut(&self.share) {
            *mine -= 1;
            if *mine == 0 {
                taken.remove(&self.share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(n: u8, known: bool) -> Sender {
        Sender { share: [n; 32], known }
    }

    #[test]
    fn one_sender_has_half_and_strangers_leave_room_for_those_who_are_known() {
        let crowd = Crowd::new(8);
        let mut held: Vec<Place> = (0..4).map(|_| crowd.enter(sender(1, false)).unwrap()).collect();
        assert!(crowd.enter(sender(1, false)).is_none(), "half is one's most");
        held.extend((2..4).map(|n| crowd.enter(sender(n, false)).unwrap()));
        assert!(crowd.enter(sender(4, false)).is_none(), "and three quarters theirs together");
        held.extend((0..2).map(|_| crowd.enter(sender(9, true)).unwrap()));
        assert!(crowd.enter(sender(10, true)).is_none(), "all are taken");
        held.clear();
        assert!(crowd.taken.lock().unwrap().is_empty(), "nobody is remembered");
        assert!(Crowd::new(1).enter(sender(1, false)).is_some());
    }
}
