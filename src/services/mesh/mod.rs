//! MESH, the message exchange (spec/mesh.md): a sender posts an opaque payload naming a recipient mailbox and a
//! workflow; the recipient lists its inbox, downloads and acknowledges; what is not collected in time is reported.
//!
//! How the edge uses it, one request:
//! ```text
//! route(method, path, query)                 which interaction
//! mesh.at_once(route, headers)               pings, 404, 405: answered without the engine
//! mesh.worth_reading(route, headers, …)      a large body of a caller without a valid token is not read
//! mesh.ask(route, headers, body, site)       → Ask { calls, … }: commands with their partition keys, or a Response
//! engine.submit(call) for each of the calls  → reply bytes, index
//! Reply::of(bytes)                           → does it need a view at that index? deliveries to await?
//! mesh.answer(ask, reply, site, view)        → Response
//! mesh.unavailable(status, …)                → Response for 429, 503, 500; mesh.release(ask) frees the token
//! ```
//!
//! | file | duty |
//! |---|---|
//! | `routes` | method and path → interaction |
//! | `wire`, `headers`, `query`, `wire_test_mode` | head and body → command, with the first thing wrong with them |
//! | `command` | the records that travel to the leader, and the reply |
//! | `decide` | one command → rows, audit note, reply: the order that holds for all |
//! | `auth` | tokens: checks in the specified order, replay memory, its sweeping |
//! | `send`, `collect`, `track`, `admin` | what each interaction does |
//! | `deliver` | the other mailbox's half; into and out of the inbox |
//! | `post` | messages to and from the site's own services |
//! | `timers` | expiry, reports, removal, sweeping |
//! | `rows` | the records that are stored, their keys, and the helpers that keep indexes in step |
//! | `answer`, `download`, `track`, `rich`, `lookup` | reply and view → response of version 1 or 2 |
//! | `unread` | since when messages wait, for a metric |
//! | `refusal` | every error of the specification, once |
//!
//! Invariants:
//! - Authorization is decided before anything else, on the leader of the mailbox's partition, together with the
//!   replay row, the audit note and the effect: one decision, one entry (P2, P4).
//! - A message lives with its recipient (`Messages`, `Bodies`, `Inbox`); its sender keeps a copy of the metadata
//!   (`Sent`, `LocalIds`) whose status follows by outbox.
//! - A message is in `Inbox` exactly while its status is `accepted`, and `MailboxState` counts those rows.

mod admin;
mod answer;
mod auth;
mod collect;
pub mod command;
mod decide;
mod deliver;
mod download;
mod headers;
mod lookup;
mod post;
mod query;
pub mod refusal;
mod rich;
pub mod routes;
pub mod rows;
mod send;
#[cfg(test)]
mod tests;
mod timers;
mod track;
pub mod unread;
pub mod wire;
mod wire_test_mode;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{auth::*, timers::*};
}

use aws_lc_rs::hmac;
use bytes::Bytes;
use std::time::Duration;

pub use command::Reply;
pub use routes::{BodyRule, Query, Route, route};
pub use wire::{Ask, Attempt};

/// A body up to this many bytes travels in the command and lives in a row; above it goes to the blob store
/// (design §3, Bulk).
pub const INLINE_LIMIT: usize = 64 << 10;

/// Largest body of one request, as received: 100 MB is published, clients differ on MB and MiB (mesh.md §8).
pub const MAX_BODY: u64 = 100 << 20;

/// How workflow permission is enforced (mesh.md §11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// Any workflow, known or not, between any mailboxes.
    Off,
    /// Known workflows are held to their senders and receivers, unknown ones pass.
    #[default]
    Restricted,
    /// The workflow must exist, and both mailboxes must be configured for it.
    Strict,
}

/// What the configuration says of MESH. The shared key never shows in `Debug`.
#[derive(Clone)]
pub struct MeshOptions {
    /// The environment's HMAC key, the same for all mailboxes (mesh.md §3).
    pub shared_key: Vec<u8>,
    /// Shown by the pings.
    pub environment: String,
    pub build_label: String,
    pub enforcement: Enforcement,
    /// From acceptance until a message that was not acknowledged is reported back (mesh.md §9.2).
    pub inbox_expiry: Duration,
    /// From acceptance until every trace but the audit trail's is removed.
    pub retention: Duration,
    /// How far a token's timestamp may be from now, either way (mesh.md §3); the windows of used tokens are twice as
    /// long, so what was used under another value is not found.
    pub clock_skew: Duration,
    /// The test-mode endpoints of mesh.md §15. Refused by the configuration where the site is live.
    pub test_endpoints: bool,
}

impl Default for MeshOptions {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        MeshOptions {
            shared_key: Vec::new(),
            environment: String::new(),
            build_label: String::new(),
            enforcement: Enforcement::default(),
            inbox_expiry: Duration::from_secs(5 * DAY),
            retention: Duration::from_secs(30 * DAY),
            clock_skew: Duration::from_secs(2 * 60 * 60),
            test_endpoints: false,
        }
    }
}

impl std::fmt::Debug for MeshOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshOptions")
            .field("environment", &self.environment)
            .field("enforcement", &self.enforcement)
            .field("inbox_expiry", &self.inbox_expiry)
            .field("retention", &self.retention)
            .field("test_endpoints", &self.test_endpoints)
            .finish_non_exhaustive()
    }
}

/// The service: its options and the keys made from them.
pub struct Mesh {
    options: MeshOptions,
    token_key: hmac::Key,
    cursor_key: hmac::Key,
}

impl Mesh {
    pub fn new(options: MeshOptions) -> Self {
        let token_key = hmac::Key::new(hmac::HMAC_SHA256, &options.shared_key);
        // A key of its own, so that a continuation says nothing about tokens.
        let derived = hmac::sign(&token_key, b"spine mesh continuation");
        Mesh { token_key, cursor_key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()), options }
    }
}

/// A request's body as the edge received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyInfo {
    /// Empty, or not read because the interaction ignores it.
    None,
    /// At most [`INLINE_LIMIT`] bytes.
    Inline(Bytes),
    /// Stored by a majority of the blob stores under its SHA-256.
    Blob { digest: [u8; 32], len: u64 },
    /// More than [`MAX_BODY`]; the edge stopped reading.
    TooLarge,
    /// Not read, because [`Mesh::worth_reading`] said no.
    Skipped,
}

/// One command for the engine: submit under `ServiceId` MESH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The partition key: the mailbox.
    pub key: Bytes,
    pub payload: Bytes,
}

/// A response, ready for HTTP. Header names are lower case (mesh.md §2) and hold no `content-length`: the edge adds
/// it from the body (`0` for [`Body::Empty`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, Bytes)>,
    pub body: Body,
}

/// A response's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Empty,
    Bytes(Bytes),
    /// Gunzipped while streaming: too dense to be inflated in memory.
    Inflate(Bytes),
    /// A blob, streamed by the edge.
    Blob {
        digest: [u8; 32],
        len: u64,
        transfer: Transfer,
    },
}

/// What becomes of a blob's bytes on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// As stored, `content-length` is `len`.
    AsIs,
    /// Gunzipped while streaming, for a caller that does not take gzip; the length is not known beforehand.
    Inflate,
    /// Gzipped while streaming, as one member; the length is not known beforehand.
    Zip,
}
