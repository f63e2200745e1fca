//! Every bound of the edge, in one place, with its reason (P6). The configuration fills it in; tests make it small.

use std::time::Duration;

/// One request's largest body, in bytes (spec/mesh.md §8): 100 MiB.
pub const MAX_BODY: u64 = 104_857_600;
/// Bodies up to this many bytes travel in the log; larger ones as blobs (design §3).
pub const INLINE_BODY: usize = 64 << 10;
/// A document that is kept in memory until it has been read: the longest published prescription messages have 54 KB, one with
/// several packs of each item some hundred. What travels in the log of it is compressed.
pub const DOCUMENT_BODY: usize = 512 << 10;
/// What is kept for emergency care beyond what the others may have: one in so many, of requests let in and of turns. One in
/// eight more of either harms nobody, also when all of it is taken.
pub const KEPT: usize = 8;

#[derive(Clone, Debug)]
pub struct Options {
    /// The listener's word in metrics and logs.
    pub label: &'static str,
    /// Open connections of the listener. One costs some 40 KiB when idle; a site of 28,000 systems on three nodes
    /// that each keep one open fits with room for a node's loss.
    pub max_connections: usize,
    /// Connections of one certificate, so that one system cannot take all.
    pub max_connections_per_system: usize,
    /// Handshakes at once: each costs half a millisecond of CPU, and requests must still get theirs.
    pub max_handshakes: usize,
    pub handshake_timeout: Duration,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this. Clients of MESH poll minutes apart and reconnect.
    pub idle_timeout: Duration,
    /// Longest pause inside a body.
    pub body_pause: Duration,
    /// A body's sender must keep above this rate on the whole, in bytes a second, after [`Options::body_pause`].
    pub body_min_rate: u64,
    /// Longest time the other side may leave our bytes unread.
    pub write_timeout: Duration,
    /// A connection older than this is told to close with its next answer, so that load spreads after a restart.
    pub connection_age: Duration,
    /// Headers of one request. Real clients send about 30.
    pub max_headers: usize,
    /// Bytes of one request's head: the longest legal set of MESH headers has 4 KiB.
    pub max_head: usize,
    /// Requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// Requests being worked on, over all connections. Beyond it: 503, but for emergency care ([`Options::kept`]).
    pub max_requests: usize,
    /// Requests whose bodies are here and that are worked on at once; more wait for their turn (`turns`).
    pub max_at_work: usize,
    /// A request that would have to wait longer for its turn is refused at once.
    pub turn_patience: Duration,
    /// Requests of one system at once. Beyond it: 429.
    pub max_requests_per_system: usize,
    /// Requests a second of one system, and how many it may send in a burst.
    pub rate: u32,
    pub burst: u32,
    /// Requests a second of an application without a quota of its own. `None`: only [`Options::rate`] bounds it.
    pub application_rate: Option<u32>,
    /// Bodies above [`INLINE_BODY`] being received at once: each holds a file and some 1 MiB of pieces in memory.
    pub max_uploads: usize,
    /// How long a large body waits for its turn, unread, before it is refused.
    pub upload_patience: Duration,
    /// How long refusals of one kind of stranger are gathered before one record tells of them (`strangers`).
    pub gather: Duration,
    /// How long a drain waits for what is in flight.
    pub drain_timeout: Duration,
    /// How long a drain answers `connection: close` before it closes idle connections.
    pub drain_linger: Duration,
}

impl Options {
    /// Requests at once for which there is a place beyond [`Options::max_requests`]: emergency care's, and no more than half of
    /// them one application's.
    pub fn kept(&self) -> usize {
        (self.max_requests / KEPT).max(2)
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            label: "suppliers",
            max_connections: 20_000,
            max_connections_per_system: 2_000,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            body_pause: Duration::from_secs(15),
            body_min_rate: 10_000,
            write_timeout: Duration::from_secs(30),
            connection_age: Duration::from_secs(3_600),
            max_headers: 100,
            max_head: 64 << 10,
            max_streams: 64,
            max_requests: 4_096,
            max_at_work: 64,
            turn_patience: Duration::from_millis(250),
            max_requests_per_system: 1_024,
            rate: 20_000,
            burst: 20_000,
            application_rate: None,
            max_uploads: 64,
            upload_patience: Duration::from_secs(5),
            gather: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(60),
            drain_linger: Duration::from_secs(1),
        }
    }
}
