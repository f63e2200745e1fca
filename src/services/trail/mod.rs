//! The audit trail as a service: what the gate refuses is recorded, and those who may read the trail as FHIR AuditEvents
//! (spec/identity.md §9.1, §9.2).
//!
//! How the edge uses it, one request:
//! ```text
//! route(method, path, query)                 which interaction
//! Asked::ask(caller, headers, body)          → Step: calls to submit, or a look at all partitions
//! Asked::looked(views)                       → the call that records whose trail is shown
//! Asked::replied(reply)
//! Asked::answer(site)                        → Response
//! ```
//!
//! | file | duty |
//! |---|---|
//! | `routes` | method and path → interaction |
//! | `query` | search parameters |
//! | `ask` | request → look and calls; reply → response |
//! | `command`, `decide` | the records that travel to the leader; audit notes |
//! | `event` | an audit record → AuditEvent |
//! | `filing` | an AuditEvent that a system files → what is kept of it |
//! | `refusal` | every refusal, once, as OperationOutcome |
//!
//! Who may read: a member of staff with an activity of a privacy officer, about anyone; a citizen about himself alone.
//! Invariants: the trail of a person is shown only after the record of that showing is durable (P4); what a citizen sees
//! is his own, whatever he asks for; pages, rows looked at and bodies are bounded (P6).

mod ask;
pub mod command;
mod decide;
mod event;
mod filing;
mod query;
mod refusal;
mod routes;
#[cfg(test)]
mod tests;

pub use super::carried::{BodyIn, Call, Response, Step};
pub use ask::{Asked, refuse};
pub use refusal::Problem;
pub use routes::{INTERACTIONS, Route, is_ours, route};

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{
        filing::{Filed, checked},
        query::Query,
    };
}

/// The service. It has no options.
#[derive(Debug, Default)]
pub struct Trail;
