//! Fairness between connecting systems (P6): each certificate, and on the API listener each address and application, has
//! a rate, a number of connections and of requests at once. A tenant is remembered for a while after its last connection, so that reconnecting does not refill its rate.

use super::options::Options;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// SHA-256 of a client certificate, or of what else a share is kept for (`peer::share_of`).
pub type CertificateHash = [u8; 32];

/// How long a tenant without connections is remembered.
const REMEMBER: Duration = Duration::from_secs(600);
/// Tenants remembered beyond those connected; a sweep runs when the map has grown by this.
const SWEEP_EVERY: usize = 1_000;

/// One system's share.
pub struct Tenant {
    rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    /// Requests a second.
    pub quota: u32,
    clock: DefaultClock,
    pub requests: Arc<Semaphore>,
    /// Its part of the places that are kept for emergency care, if it is that.
    pub kept: Arc<Semaphore>,
    connections: AtomicUsize,
    last_seen: Mutex<Instant>,
}

/// A connection's place with its tenant.
pub struct Place(pub Arc<Tenant>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        *self.0.last_seen.lock().unwrap_or_else(|e| e.into_inner()) = Instant::now();
    }
}

impl Tenant {
    /// Counts a request against the rate and says how many more may come at once; `Err` says how long to wait.
    pub fn check(&self) -> Result<u32, Duration> {
        let state = self.rate.check().map_err(|not| not.wait_time_from(self.clock.now()))?;
        Ok(state.remaining_burst_capacity())
    }
}

#[derive(Default)]
pub struct Tenants {
    map: Mutex<HashMap<CertificateHash, Arc<Tenant>>>,
    sweep_at: AtomicUsize,
}

impl Tenants {
    /// A place for one more connection of this certificate; `None` where it has as many as it may.
    pub fn join(&self, certificate: CertificateHash, options: &Options) -> Option<Place> {
        let mut map = self.map.lock().unwrap_or_else(|e| e.into_inner());
        self.sweep(&mut map);
        let tenant =
            map.entry(certificate).or_insert_with(|| Arc::new(new_tenant(options, options.rate, options.burst)));
        if tenant.connections.load(Relaxed) >= options.max_connections_per_system {
            return None;
        }
        tenant.connections.fetch_add(1, Relaxed);
        Some(Place(tenant.clone()))
    }

    /// The share of whoever a request's credentials name, whatever connection it came on. Another quota than before
    /// begins a new share.
    pub fn of(&self, name: CertificateHash, quota: u32, options: &Options) -> Arc<Tenant> {
        let mut map = self.map.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = map.get(&name).filter(|t| t.quota == quota) {
            *known.last_seen.lock().unwrap_or_else(|e| e.into_inner()) = Instant::now();
            return known.clone();
        }
        self.sweep(&mut map);
        let tenant = Arc::new(new_tenant(options, quota, quota));
        map.insert(name, tenant.clone());
        tenant
    }

    /// Forgets who was not seen for a while, when many have come since the last time.
    fn sweep(&self, map: &mut HashMap<CertificateHash, Arc<Tenant>>) {
        if map.len() >= self.sweep_at.load(Relaxed) {
            let gone = |t: &Tenant| {
                let last = *t.last_seen.lock().unwrap_or_else(|e| e.into_inner());
                t.connections.load(Relaxed) == 0 && last.elapsed() > REMEMBER
            };
            map.retain(|_, t| !gone(t));
            self.sweep_at.store(map.len() + SWEEP_EVERY, Relaxed);
        }
    }
}

fn new_tenant(options: &Options, rate: u32, burst: u32) -> Tenant {
    let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::per_second(at_least_one(rate)).allow_burst(at_least_one(burst));
    Tenant {
        rate: RateLimiter::direct(quota).with_middleware(),
        quota: rate,
        clock: DefaultClock::default(),
        requests: Arc::new(Semaphore::new(options.max_requests_per_system)),
        kept: Arc::new(Semaphore::new(options.kept() / 2)),
        connections: AtomicUsize::new(0),
        last_seen: Mutex::new(Instant::now()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnecting_does_not_refill_and_others_are_not_touched() {
        let options = Options { rate: 1, burst: 2, max_connections_per_system: 1, ..Options::default() };
        let tenants = Tenants::default();
        let noisy = tenants.join([1; 32], &options).unwrap();
        assert!(tenants.join([1; 32], &options).is_none(), "one connection is its share");
        assert!(noisy.0.check().is_ok() && noisy.0.check().is_ok());
        assert!(noisy.0.check().unwrap_err() <= Duration::from_secs(1));
        drop(noisy);
        let again = tenants.join([1; 32], &options).unwrap();
        assert!(again.0.check().is_err());
        assert!(tenants.join([2; 32], &options).unwrap().0.check().is_ok());
    }
}
