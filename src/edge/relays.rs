//! The addresses of the system that is being replaced, by service, exchanged under load; and what is counted of requests to them.

use super::tally::Tallies;
use super::tls::TlsError;
use super::upstream::{self, Files, Trouble, Upstream};
use crate::ops::metrics::{CERTIFICATE_EXPIRY, RELAY_DURATION, RELAYED, RELAYS_IN_FLIGHT};
use crate::services::directory::arrival::SERVICES;
use arc_swap::ArcSwap;
use http::Uri;
use metrics::{Counter, Gauge, Histogram};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What the configuration says.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub files: Files,
    pub addresses: Vec<(&'static str, Uri)>,
    pub patience: Duration,
    pub most: usize,
}

type Table = HashMap<&'static str, Arc<Upstream>>;

/// Files that were read and addresses that can be used, not in force yet; and until when our certificate is good.
pub struct Fresh(Table, Option<i64>);

/// How a request that was handed on went, for metrics: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    Ok,
    Refused,
    Failed,
    Crowded,
    Unreached,
    Untrusted,
    Late,
    Broken,
    /// It was turned back before it was sent.
    Unsent,
}

impl Outcome {
    const WORDS: [&str; 9] =
        ["ok", "refused", "failed", "crowded", "unreached", "untrusted", "late", "broken", "unsent"];

    pub fn of_status(status: u16) -> Outcome {
        match status {
            500.. => Outcome::Failed,
            400.. => Outcome::Refused,
            _ => Outcome::Ok,
        }
    }
    pub fn of_trouble(trouble: &Trouble) -> Outcome {
        match trouble {
            Trouble::Crowded => Outcome::Crowded,
            Trouble::Unreached(_) => Outcome::Unreached,
            Trouble::Untrusted(_) => Outcome::Untrusted,
            Trouble::Late => Outcome::Late,
            Trouble::Broken(_) => Outcome::Broken,
        }
    }
}

struct Meter {
    outcomes: [Counter; Outcome::WORDS.len()],
    duration: Histogram,
    in_flight: Gauge,
}

impl Meter {
    fn new(service: &'static str) -> Meter {
        Meter {
            outcomes: Outcome::WORDS
                .map(|outcome| metrics::counter!(RELAYED, "service" => service, "outcome" => outcome)),
            duration: metrics::histogram!(RELAY_DURATION, "service" => service),
            in_flight: metrics::gauge!(RELAYS_IN_FLIGHT, "service" => service),
        }
    }
}

/// A request that is counted as being with the other system, while this lives.
pub struct OnItsWay(Gauge);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A node's.
pub struct Relays {
    table: ArcSwap<Table>,
    meters: HashMap<&'static str, Meter>,
    pub tallies: Tallies,
}

impl Relays {
    pub fn new(plan: &Plan) -> Result<Relays, TlsError> {
        let table = ArcSwap::default();
        // A label for each service from the start, of those that can be handed on.
        let meters = SERVICES.iter().map(|service| (*service, Meter::new(service))).collect();
        let relays = Relays { table, meters, tallies: Tallies::default() };
        relays.take(Relays::prepare(plan)?);
        Ok(relays)
    }

    /// Reads the files; nothing is in force before [`Relays::take`]. Without an address no file is asked for.
    pub fn prepare(plan: &Plan) -> Result<Fresh, TlsError> {
        if plan.addresses.is_empty() {
            return Ok(Fresh(Table::new(), None));
        }
        let (tls, good_until) = upstream::tls(&plan.files)?;
        let one = |(service, address): &(&'static str, Uri)| {
            (*service, Upstream::new(address.clone(), tls.clone(), plan.patience, plan.most))
        };
        Ok(Fresh(plan.addresses.iter().map(one).collect(), Some(good_until)))
    }

    /// From here on requests go where the new plan says; those on their way end as they began.
    pub fn take(&self, fresh: Fresh) {
        self.table.store(Arc::new(fresh.0));
        if let Some(good_until) = fresh.1 {
            metrics::gauge!(CERTIFICATE_EXPIRY, "use" => "upstream").set(good_until as f64);
        }
    }

    pub fn upstream(&self, service: &str) -> Option<Arc<Upstream>> {
        self.table.load().get(service).cloned()
    }

    /// Where a service's requests would go.
    pub fn address(&self, service: &str) -> Option<String> {
        self.upstream(service).map(|upstream| upstream.address())
    }

    /// Those that have an address.
    pub fn services(&self) -> Vec<&'static str> {
        let table = self.table.load();
        SERVICES.iter().copied().filter(|service| table.contains_key(service)).collect()
    }

    pub fn on_its_way(&self, service: &str) -> Option<OnItsWay> {
        let meter = self.meters.get(service)?;
        meter.in_flight.increment(1.0);
        Some(OnItsWay(meter.in_flight.clone()))
    }

    pub fn count(&self, service: &str, outcome: Outcome, took: Duration) {
        if let Some(meter) = self.meters.get(service) {
            meter.outcomes[outcome as usize].increment(1);
            meter.duration.record(took);
        }
    }
}
