//! The request metrics, resolved once at start: the request path touches handles, never the registry of names.

use super::problem::kind_of;
use crate::ops::codes::Kind;
use crate::ops::metrics::*;
use metrics::{Counter, Gauge, Histogram};
use std::collections::HashMap;
use std::time::Duration;

/// Handles of one service.
pub struct Meter {
    interactions: HashMap<&'static str, Interaction>,
    refusals: [Counter; Kind::ALL.len()],
    pub in_flight: Gauge,
    pub waiting: Gauge,
    pub rate_limited: Counter,
    /// Requests turned away whose sender nobody knows: they leave no audit record.
    pub anonymous: Counter,
    pub request_bytes: Counter,
    pub response_bytes: Counter,
}

struct Interaction {
    duration: Histogram,
    ok: Counter,
    refused: [Counter; Kind::ALL.len()],
}

impl Meter {
    pub fn new(service: &'static str, interactions: &[&'static str]) -> Meter {
        let one = |name: &'static str| {
            Interaction {
            duration: metrics::histogram!(REQUEST_DURATION, "service" => service, "interaction" => name),
            ok: metrics::counter!(REQUESTS, "service" => service, "interaction" => name, "outcome" => "ok"),
            refused: Kind::ALL.map(|kind| {
                metrics::counter!(REQUESTS, "service" => service, "interaction" => name, "outcome" => kind.word())
            }),
        }
        };
        Meter {
            interactions: interactions.iter().map(|name| (*name, one(name))).collect(),
            refusals: Kind::ALL.map(|kind| metrics::counter!(REFUSALS, "service" => service, "kind" => kind.word())),
            waiting: metrics::gauge!(REQUESTS_WAITING, "service" => service),
            in_flight: metrics::gauge!(REQUESTS_IN_FLIGHT, "service" => service),
            anonymous: metrics::counter!(REFUSALS_ANONYMOUS, "service" => service),
            rate_limited: metrics::counter!(RATE_LIMITED, "service" => service),
            request_bytes: metrics::counter!(REQUEST_BYTES),
            response_bytes: metrics::counter!(RESPONSE_BYTES),
        }
    }

    pub fn answered(&self, interaction: &'static str, status: u16, took: Duration) {
        let kind = kind_of(status);
        if let Some(kind) = kind {
            self.refusals[kind as usize].increment(1);
        }
        if let Some(of) = self.interactions.get(interaction) {
            of.duration.record(took);
            match kind {
                None => of.ok.increment(1),
                Some(kind) => of.refused[kind as usize].increment(1),
            }
        }
    }
}
