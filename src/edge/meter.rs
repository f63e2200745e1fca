//! The request metrics, resolved once at start: the request path touches handles, never the registry of names.

use super::problem::kind_of;
use super::turns::Class;
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
    /// Requests turned away whose sender nobody knows: the audit trail tells of them together.
    pub anonymous: Counter,
    classes: [OfClass; Class::ALL.len()],
    pub request_bytes: Counter,
    pub response_bytes: Counter,
}

/// How the requests of a class fare.
pub struct OfClass {
    pub let_in: Counter,
    pub kept_out: Counter,
    pub turns: Counter,
    pub too_late: Counter,
    pub at_work: Gauge,
}

impl OfClass {
    fn new(service: &'static str, class: Class) -> OfClass {
        let class = class.word();
        let place = |outcome| metrics::counter!(PLACES, "service" => service, "class" => class, "outcome" => outcome);
        let turn = |outcome| metrics::counter!(TURNS, "service" => service, "class" => class, "outcome" => outcome);
        OfClass {
            let_in: place("admitted"),
            kept_out: place("refused"),
            turns: turn("admitted"),
            too_late: turn("refused"),
            at_work: metrics::gauge!(TURNS_TAKEN, "service" => service, "class" => class),
        }
    }
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
            classes: Class::ALL.map(|class| OfClass::new(service, class)),
            rate_limited: metrics::counter!(RATE_LIMITED, "service" => service),
            request_bytes: metrics::counter!(REQUEST_BYTES),
            response_bytes: metrics::counter!(RESPONSE_BYTES),
        }
    }

    pub fn of_class(&self, class: Class) -> &OfClass {
        let [emergency, usual] = &self.classes;
        match class {
            Class::Emergency => emergency,
            Class::Usual => usual,
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
