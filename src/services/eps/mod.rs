//! EPS, the Electronic Prescription Service (spec/eps.md).
//!
//! How the edge uses it, one request:
//! ```text
//! route(method, path, query)                 which interaction
//! Asked::ask(caller, headers, body)          → Step: calls to submit, or a look at all partitions
//! Asked::looked(views)                       → calls: what is nominated to a pharmacy, a person's prescriptions
//! Asked::replied(replies), onward()          → calls that follow: the prescriptions of a nominated release
//! Asked::answer()                            → Response
//! ```
//!
//! | file | duty |
//! |---|---|
//! | `routes`, `access` | method and path → interaction; scopes and activities |
//! | `ask`, `reads`, `answer`, `refuse` | request → calls; replies → response; refusals that are not the message's |
//! | `ids`, `message`, `refused` | identifiers; what a message says to the store; why the store says no |
//! | `read` | a FHIR message → `message`, or every check that failed |
//! | `sign` | what is signed, `$prepare`, and whether a signature holds |
//! | `command`, `decide`, `follow` | the records that travel to the leader; one command → rows, notes, reply; what follows elsewhere |
//! | `record`, `states`, `steps`, `clock` | the stored prescription, its published states, one step each, what time does |
//! | `rows`, `packed` | what is stored, and how documents are |
//! | `show` | records and documents → FHIR answers |
//! | `status` | what pharmacies tell of an item's way to the patient (§15), kept beside the prescription |
//!
//! Invariants:
//! - A prescription is one record in the partition of its key; every message is one decision on it, so two pharmacies that ask in
//!   the same millisecond meet there, and one gets it.
//! - Nothing of a prescription leaves before the note that says so is durable (P4).
//! - A message whose id the record knows changes nothing and is answered as it was (P3).

pub mod access;
mod answer;
mod ask;
pub mod clock;
pub mod command;
mod decide;
mod follow;
pub mod ids;
pub mod message;
pub mod packed;
pub mod read;
mod reads;
pub mod record;
pub mod refuse;
pub mod refused;
mod routes;
pub mod rows;
pub mod show;
pub mod sign;
pub mod states;
pub mod status;
pub mod steps;

pub use super::carried::{BodyIn, Call, Response, Step};
pub use ask::{Asked, MOST_RELEASED};
pub use routes::{INTERACTIONS, Route, is_ours, route};

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct EpsOptions {
    pub signatures: sign::Mode,
    /// Who but the holder may do what (§21 no. 2).
    pub rules: steps::Rules,
    /// Whether prescriptions are taken and cancelled; given out and dispensed.
    pub prescribing: bool,
    pub dispensing: bool,
    /// Nothing that is for tests only.
    pub live: bool,
}

/// The service.
#[derive(Debug)]
pub struct Eps {
    pub options: EpsOptions,
}
