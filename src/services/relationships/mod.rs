//! Legitimate relationships between patients and those who care for them, and the alerts to privacy officers that come of
//! some (spec/identity.md §8, §9.3). The interface is ours (D): JSON below `/legitimate-relationships`.
//!
//! How the edge uses it, one request:
//! ```text
//! route(method, path, query)                 which interaction
//! Asked::ask(caller, headers, body)          → the one call that decides it, reads included: its rows are its audit record
//! Asked::answer(reply)                       → Response
//! ```
//!
//! | file | duty |
//! |---|---|
//! | `kinds` | every kind of relationship: who may create it, how long it lasts, whom it alerts |
//! | `routes`, `ask` | method and path → interaction; request → call |
//! | `command`, `rows` | the records that travel to the leader, and those that are stored |
//! | `decide` | one command → rows, notes, timers, reply |
//! | `change` | creating, freezing, closing, expiring |
//! | `look` | listing, showing, checking |
//! | `alerts` | raising, listing, acknowledging, closing |
//! | `open` | how many alerts are not closed, for a metric |
//! | `refusal` | every refusal, once |
//!
//! Relationships live in the partition of the NHS number, alerts in that of the organisation they are for; the one sends the
//! other through the outbox, so that there is no self-claim without its alert.
//! Invariants: an active relationship gives access only before its end, whether or not the timer has fired; one that is
//! self-claimed, an emergency or by court order exists only with its alert; every look and every change, refused ones too,
//! leaves a note with the patient (P4); relationships of a patient and pages of lists are bounded (P6).

mod alerts;
mod ask;
mod change;
pub mod command;
mod decide;
pub mod kinds;
mod look;
pub mod open;
mod refusal;
mod routes;
pub mod rows;
#[cfg(test)]
mod tests;

pub use super::carried::{BodyIn, Call, Response};
pub use ask::Asked;
pub use refusal::{Problem, refuse};
pub use routes::{INTERACTIONS, Route, is_ours, route};

/// The service. It has no options.
#[derive(Debug, Default)]
pub struct Relationships;
