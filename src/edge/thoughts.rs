//! Slow work that requests need done, such as checking a password: a few at once, a few more that wait, and of these no more than a
//! handful for one share, so that strangers who ask for it neither take the processors nor hold the turns of all others (P6).

use super::problem::Refusal;
use super::tenant::CertificateHash;
use crate::ops::codes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Done at once: each takes a processor for a tenth of a second, and others want it too.
const AT_ONCE: usize = 2;
/// Done or waiting, on one listener: each of them holds one of its turns, of which there are several times as many.
const MOST: usize = 16;
/// Done or waiting, of one share: a hospital's staff may all come from one address.
const MOST_OF_SHARE: usize = 3;
/// How long one waits: as long as people wait for a page.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener's.
pub struct Thoughts {
    places: Arc<Semaphore>,
    crowd: Crowd,
}

impl Default for Thoughts {
    fn default() -> Self {
        Thoughts { places: Arc::new(Semaphore::new(AT_ONCE)), crowd: Crowd::new(MOST, MOST_OF_SHARE) }
    }
}

/// Those who are at something that only so many may be at, and only so many of one share.
pub(super) struct Crowd {
    most: usize,
    most_of_share: usize,
    /// How many of each share are here; those with none are not.
    here: Mutex<HashMap<CertificateHash, usize>>,
}

/// A place among those that are here, until it is dropped.
pub(super) struct Here<'a>(&'a Crowd, CertificateHash);

impl Drop for Here<'_> {
    fn drop(&mut self) {
        let mut here = self.0.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = here.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                here.remove(&self.1);
            }
        }
    }
}

impl Crowd {
    pub(super) fn new(most: usize, most_of_share: usize) -> Crowd {
        Crowd { most, most_of_share, here: Mutex::default() }
    }

    /// `None` where there are too many, of all or of the share.
    pub(super) fn enter(&self, share: CertificateHash) -> Option<Here<'_>> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (here.values().sum::<usize>(), here.get(&share).copied().unwrap_or_default());
        if all >= self.most || own >= self.most_of_share {
            return None;
        }
        here.insert(share, own + 1);
        Some(Here(self, share))
    }
}

impl Thoughts {
    /// Does the work on a thread that may be slow. Where too many want that, they are told so at once.
    pub async fn think(&self, share: CertificateHash, work: Box<dyn FnOnce() -> bool + Send>) -> Result<bool, Refusal> {
        let Some(_here) = self.crowd.enter(share) else { return Err(Refusal::new(&codes::OVERLOADED)) };
        let place = tokio::time::timeout(PATIENCE, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Refusal::new(&codes::OVERLOADED)) };
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await.map_err(|e| Refusal::new(&codes::FAULT).because(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_to_a_crowd_is_told_so_at_once_and_others_are_served() {
        let thoughts = Arc::new(Thoughts::default());
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let slow = |share: u8| {
            let (thoughts, gate) = (thoughts.clone(), gate.clone());
            tokio::spawn(async move {
                let work = Box::new(move || gate.lock().unwrap().recv().is_err());
                thoughts.think([share; 32], work).await
            })
        };
        let mut here: Vec<_> = (0..MOST_OF_SHARE).map(|_| slow(1)).collect();
        tokio::task::yield_now().await;
        let more = slow(1).await.unwrap().unwrap_err();
        assert_eq!(more.code.code, codes::OVERLOADED.code, "one share has its handful");
        for share in 2..=(MOST - MOST_OF_SHARE + 1) as u8 {
            here.push(slow(share));
        }
        tokio::task::yield_now().await;
        assert!(slow(99).await.unwrap().is_err(), "and all of them have theirs");
        drop(open);
        for one in here {
            assert!(one.await.unwrap().unwrap());
        }
        assert!(thoughts.think([1; 32], Box::new(|| true)).await.unwrap(), "nobody is counted for ever");
        assert!(thoughts.crowd.here.lock().unwrap().is_empty());
    }
}
