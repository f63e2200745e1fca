//! Who keeps the node busy: requests, refusals and time of each party in the last minute, for `spine top` and `spine party top`.
//!
//! Bounded (P6) by the space-saving sketch (Metwally, Agrawal, El Abbadi 2005): in each stretch of ten seconds the 64 parties that
//! came most; a newcomer takes the place of the one that came least, with its count, and what may be too much is told as
//! `at_most_over`. Whoever makes more than a 64th of a stretch's requests is there for certain. Organisations and their systems only, and
//! never in a metric's label (P10): no person, mailbox or address; callers whom nobody knows are one party.

use super::tenant::CertificateHash;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Parties that are told apart in a stretch.
const PLACES: usize = 64;
/// A minute in stretches.
const STRETCH: Duration = Duration::from_secs(10);
const STRETCHES: u64 = 6;

/// Key of those whom nobody knows.
pub const NOBODY: CertificateHash = [0; 32];

/// An organisation's system or application, as the registry names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// ODS code; empty where nobody knows who it is.
    pub ods: String,
    /// Accredited system id, or client id of the application.
    pub system: String,
}

/// What a party did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    pub requests: u64,
    /// Of those, requests that may be another party's, which had the place before.
    pub at_most_over: u64,
    pub refused: u64,
    /// How long its requests took, all together.
    pub micros: u64,
}

impl Deeds {
    fn add(&mut self, other: &Deeds) {
        self.requests += other.requests;
        self.at_most_over += other.at_most_over;
        self.refused += other.refused;
        self.micros += other.micros;
    }
}

struct Place {
    key: CertificateHash,
    party: Party,
    deeds: Deeds,
}

#[derive(Default)]
struct Stretch {
    /// Which stretch since the epoch.
    number: u64,
    places: Vec<Place>,
}

#[derive(Default)]
pub struct Busiest {
    /// The newest last.
    stretches: Mutex<Vec<Stretch>>,
}

impl Busiest {
    /// A request of a party came. `name` is asked for where the party has no place yet, and nobody waits for that: it may look into
    /// the registry, and where many come a newcomer is the rule.
    pub fn came(&self, now_ms: u64, key: &CertificateHash, name: impl FnOnce() -> Party) {
        if counted(&mut current(&mut self.lock(), now_ms).places, key) {
            return;
        }
        let party = name();
        let mut stretches = self.lock();
        let places = &mut current(&mut stretches, now_ms).places;
        if counted(places, key) {
            return;
        }
        let mut deeds = Deeds { requests: 1, ..Deeds::default() };
        if places.len() == PLACES
            && let Some(least) = (0..PLACES).min_by_key(|at| places[*at].deeds.requests)
        {
            let had = places.swap_remove(least).deeds.requests;
            deeds = Deeds { requests: had + 1, at_most_over: had, ..deeds };
        }
        places.push(Place { key: *key, party, deeds });
    }

    /// It was answered. Whoever has lost the place meanwhile is not counted.
    pub fn answered(&self, key: &CertificateHash, refused: bool, took: Duration) {
        let mut stretches = self.lock();
        let mut newest_first = stretches.iter_mut().rev().flat_map(|stretch| stretch.places.iter_mut());
        if let Some(place) = newest_first.find(|place| place.key == *key) {
            place.deeds.refused += u64::from(refused);
            place.deeds.micros += u64::try_from(took.as_micros()).unwrap_or(u64::MAX >> 20);
        }
    }

    /// Adds what was done in the last minute, by party: one with several certificates is one.
    pub fn tell(&self, now_ms: u64, all: &mut BTreeMap<Party, Deeds>) {
        let oldest = number(now_ms).saturating_sub(STRETCHES - 1);
        let stretches = self.lock();
        let places = stretches.iter().filter(|stretch| stretch.number >= oldest).flat_map(|stretch| &stretch.places);
        for place in places {
            all.entry(place.party.clone()).or_default().add(&place.deeds);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Stretch>> {
        self.stretches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more of a party that has a place; false where it has none.
fn counted(places: &mut [Place], key: &CertificateHash) -> bool {
    let place = places.iter_mut().find(|place| place.key == *key);
    place.map(|place| place.deeds.requests += 1).is_some()
}

fn number(now_ms: u64) -> u64 {
    now_ms / STRETCH.as_millis() as u64
}

/// The stretch that is now. A clock that is set back goes on in the newest there is.
fn current(stretches: &mut Vec<Stretch>, now_ms: u64) -> &mut Stretch {
    let number = number(now_ms);
    if stretches.last().is_none_or(|newest| newest.number < number) {
        stretches.retain(|stretch| stretch.number + STRETCHES > number);
        stretches.push(Stretch { number, places: Vec::with_capacity(PLACES) });
    }
    let newest = stretches.len() - 1;
    &mut stretches[newest]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(n: u16) -> (CertificateHash, Party) {
        let mut key = NOBODY;
        key[..2].copy_from_slice(&n.to_be_bytes());
        (key, Party { ods: format!("X{n}"), system: String::new() })
    }

    fn told(busiest: &Busiest, now: u64) -> BTreeMap<Party, Deeds> {
        let mut all = BTreeMap::new();
        busiest.tell(now, &mut all);
        all
    }

    #[test]
    fn the_noisiest_is_found_among_thousands_and_memory_stays_bounded() {
        let busiest = Busiest::default();
        let (noisy, name) = party(9);
        for n in 0..40_000_u32 {
            let (key, other) = party(100 + (n % 5_000) as u16);
            busiest.came(1_000, &key, || other);
            if n % 20 == 0 {
                busiest.came(1_000, &noisy, || name.clone());
                busiest.answered(&noisy, n % 40 == 0, Duration::from_micros(50));
            }
        }
        let all = told(&busiest, 1_000);
        assert_eq!(all.len(), PLACES);
        let deeds = all[&name];
        assert!(deeds.requests >= 2_000 && deeds.requests - deeds.at_most_over <= 2_000, "{deeds:?}");
        assert!((900..=1_000).contains(&deeds.refused), "{deeds:?}");
        let total: u64 = all.values().map(|deeds| deeds.requests).sum();
        assert_eq!(total, 42_000, "a place passes on what was counted in it");
    }

    #[test]
    fn whoever_looks_up_a_name_keeps_nobody_waiting() {
        let busiest = Busiest::default();
        let ((slow, name), (quick, other)) = (party(1), party(2));
        // While the name of one is looked up, others are counted, also one under the same name.
        busiest.came(0, &slow, || {
            busiest.came(0, &quick, || other.clone());
            busiest.came(0, &slow, || name.clone());
            name.clone()
        });
        assert_eq!((told(&busiest, 0)[&name].requests, told(&busiest, 0)[&other].requests), (2, 1));
    }

    #[test]
    fn a_minute_later_it_is_forgotten_and_two_certificates_are_one_party() {
        let busiest = Busiest::default();
        let (first, name) = party(1);
        let (second, _) = party(2);
        busiest.came(0, &first, || name.clone());
        busiest.came(15_000, &first, || name.clone());
        busiest.came(15_000, &second, || name.clone());
        busiest.answered(&second, true, Duration::from_millis(2));
        let all = told(&busiest, 59_999);
        assert_eq!(all[&name], Deeds { requests: 3, at_most_over: 0, refused: 1, micros: 2_000 });
        assert_eq!(told(&busiest, 60_000)[&name].requests, 2);
        assert_eq!(told(&busiest, 75_000).len(), 0);
        // Many stretches later no more than a minute is kept.
        (2..40).for_each(|n| busiest.came(n * 10_000, &first, || name.clone()));
        assert_eq!(busiest.lock().len(), STRETCHES as usize);
        // A clock that was set back loses nothing and keeps nothing for ever.
        busiest.came(0, &first, || name.clone());
        assert_eq!(busiest.lock().len(), STRETCHES as usize);
    }
}
