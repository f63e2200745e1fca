//! Where clients arrive: listener, TLS, HTTP, routes, the gate, and refusals turned into each protocol's words.
//!
//! | file | duty |
//! |---|---|
//! | `listener` | accepts, bounds, shakes hands, drains |
//! | `tls` `revocation` | certificates and revocation lists, exchanged under load; how long a list is believed |
//! | `prescribers` | the authorities of prescribers' signatures and their lists, exchanged likewise |
//! | `connection` | one connection as HTTP/1.1 or 2 |
//! | `pace` | gives up on slow clients |
//! | `peer` `tenant` `busiest` | who is there; its share of the node; who took most of it |
//! | `flow` | the request path on one page |
//! | `admit` | what is said before the body is read: certificate, share, credentials, permit |
//! | `turns` `away` | how much is worked on at once, whose turn is next, what is kept for emergency care, how long the others stay away |
//! | `thoughts` | slow work for requests, a little at once |
//! | `strangers` | refusals of callers whom nobody knows, gathered for the trail |
//! | `records` | records of requests that no service decided |
//! | `relay` `relays` `upstream` | requests that the system being replaced answers; its addresses; connections to one |
//! | `arriving` | a body on its way in, here or there |
//! | `tally` | how both sides do, by organisation |
//! | `forgiven` | attempts that were told to come again |
//! | `body` `payload` `render` `coding` | bodies in and out, streamed, gzip on the way |
//! | `protocol` `backend` | what the path needs of services, and of the rooms below |
//! | `credentials` | API keys and access tokens of the API listener's requests |
//! | `api` | the API listener: protocols by path, refused credentials as specified |
//! | `mesh` `identity` `pds` `trail` `relationships` `engine` | the product's protocols and backend |
//! | `pages` | style and pictures of web pages |
//! | `openapi` | the interfaces' descriptions |
//! | `documents` | the site's documents, at `/docs` |
//! | `id_tokens` | signs ID tokens with the site's key |
//! | `problem` | refusals: kinds, public and private words |
//! | `options` | every bound |
//!
//! Promises held here: P4 (answers leave after their record is durable), P5 (no permit, no interaction), P6 (bounds).

pub mod admit;
pub mod api;
pub mod arriving;
pub mod away;
pub mod backend;
pub mod body;
pub mod busiest;
pub mod carried;
pub mod coding;
pub mod connection;
pub mod credentials;
pub mod crowd;
pub mod directory;
pub mod documents;
pub mod engine;
pub mod eps;
pub mod flow;
pub mod forgiven;
pub mod id_tokens;
pub mod identity;
pub mod ldap;
pub mod listener;
pub mod mesh;
pub mod meter;
mod offhand;
pub mod onward;
pub mod openapi;
pub mod options;
pub mod outside;
pub mod pace;
pub mod pages;
pub mod payload;
pub mod pds;
pub mod peer;
pub mod prescribers;
pub mod problem;
pub mod protocol;
mod records;
pub mod relationships;
pub mod relay;
pub mod relays;
pub mod render;
pub mod revocation;
pub mod smsp;
pub mod strangers;
pub mod tally;
pub mod tenant;
pub mod thoughts;
pub mod tls;
pub mod trace;
pub mod trail;
pub mod turns;
pub mod upstream;

use crate::access::gate::{BadRules, Gate, Rule};
use crate::seam::{clock::Clock, rng::Rng};
use backend::Backend;
use meter::Meter;
use options::Options;
use protocol::Protocol;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use tls::Tls;
use tokio::sync::Semaphore;

/// Everything that the listener's connections share.
pub struct Edge {
    pub options: Options,
    pub tls: Tls,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) gate: Gate,
    pub(crate) meter: Meter,
    pub(crate) tenants: tenant::Tenants,
    pub busiest: busiest::Busiest,
    pub(crate) draining: AtomicBool,
    /// Open connections, handshakes included.
    pub(crate) open: AtomicUsize,
    pub(crate) forgiven: forgiven::Forgiven,
    pub(crate) strangers: strangers::Strangers,
    /// Requests at once, over all connections.
    pub(crate) requests: Arc<Semaphore>,
    /// Places beyond those, for emergency care.
    pub(crate) kept: Arc<Semaphore>,
    pub(crate) turns: Arc<turns::Turns>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) discards: Arc<Semaphore>,
    pub(crate) releases: Arc<Semaphore>,
    /// Slow work, such as checking passwords.
    pub(crate) thoughts: thoughts::Thoughts,
    pub(crate) outside: outside::Outside,
    /// Of [`Edge::attempt`]: random for each start, then counted.
    id_prefix: u64,
    id_count: AtomicU64,
}

/// A turn, counted while it is had.
pub(crate) struct AtWork {
    _turn: turns::Turn,
    gauge: metrics::Gauge,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

/// Refused bodies read to their end at once, so that their senders see the refusal.
const MAX_DISCARDS: usize = 64;
/// Tokens being released at once (`flow::release`).
const MAX_RELEASES: usize = 1_024;

impl Edge {
    /// An error means that an interaction has no access rule: the node must not start (P5).
    pub fn new(
        options: Options,
        tls: Tls,
        clock: Arc<dyn Clock>,
        rng: &dyn Rng,
        backend: Arc<dyn Backend>,
        protocol: Arc<dyn Protocol>,
        rules: &[Rule],
    ) -> Result<Arc<Edge>, BadRules> {
        let mut random = [0; 8];
        rng.fill(&mut random);
        Ok(Arc::new(Edge {
            gate: Gate::new(protocol.interactions(), rules)?,
            meter: Meter::new(protocol.name(), &protocol.interactions()),
            tenants: tenant::Tenants::default(),
            busiest: busiest::Busiest::default(),
            draining: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            forgiven: forgiven::Forgiven::default(),
            strangers: strangers::Strangers::new(options.gather),
            requests: Arc::new(Semaphore::new(options.max_requests)),
            kept: Arc::new(Semaphore::new(options.kept())),
            turns: turns::Turns::new(options.max_at_work, options.turn_patience),
            uploads: Arc::new(Semaphore::new(options.max_uploads)),
            discards: Arc::new(Semaphore::new(MAX_DISCARDS)),
            releases: Arc::new(Semaphore::new(MAX_RELEASES)),
            thoughts: thoughts::Thoughts::default(),
            outside: outside::Outside::default(),
            id_prefix: u64::from_be_bytes(random),
            id_count: AtomicU64::new(0),
            options,
            tls,
            clock,
            backend,
            protocol,
        }))
    }

    /// True once the listener has begun to drain: `/readyz` fails from then on.
    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Open connections, handshakes included.
    pub fn connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Requests that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// A request came from somebody whom nobody knows: they are one party.
    pub(crate) fn nobody_came(&self) -> tenant::CertificateHash {
        self.busiest.came(self.clock.now().0, &busiest::NOBODY, busiest::Party::default);
        busiest::NOBODY
    }

    /// A turn at the work, counted by its class.
    pub(crate) async fn turn(&self, who: turns::Who) -> Result<AtWork, turns::TooLong> {
        let class = self.meter.of_class(who.1);
        match self.turns.take(who).await {
            Ok(turn) => {
                class.turns.increment(1);
                class.at_work.increment(1.0);
                Ok(AtWork { _turn: turn, gauge: class.at_work.clone() })
            }
            Err(too_long) => {
                class.too_late.increment(1);
                Err(too_long)
            }
        }
    }

    /// A place for one more connection of this system; `None` where it has as many as it may.
    pub fn place(&self, peer: &peer::Peer) -> Option<tenant::Place> {
        self.tenants.join(peer.hash, &self.options)
    }

    /// A number for one request, unique over the site but for a chance of 2^-64 each: a random start, counted on and
    /// mixed (the finaliser of splitmix64, which maps distinct numbers to distinct numbers).
    pub(crate) fn attempt(&self) -> u64 {
        let mut z =
            self.id_prefix.wrapping_add(self.id_count.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
