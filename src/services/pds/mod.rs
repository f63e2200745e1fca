//! PDS, the demographics of people (spec/pds.md §1–15): retrieve, search, update, create, birth, related persons, EHIC cards.
//!
//! How the edge uses it, one request:
//! ```text
//! route(method, path, query)                 which interaction
//! Asked::ask(caller, headers, body)          → Step: calls to submit, or a look at all partitions
//! Asked::looked(views)                       → calls: search and check on duplicates are over before anything is recorded
//! Asked::replied(replies)                    → is a view of the call's partition wanted?
//! Asked::onward()                            → the same question about the number that this one was merged into
//! Asked::answer(view)                        → Response
//! ```
//!
//! | file | duty |
//! |---|---|
//! | `routes`, `access` | method and path → interaction; modes and headers |
//! | `ask`, `answer` | request → calls; reply and rows → response |
//! | `command` | the records that travel to the leader, and the reply |
//! | `decide` | one command → rows, audit notes, reply |
//! | `show` | what of a record a caller sees |
//! | `query`, `search`, `matching`, `names` | search: parameters, candidates, scores, folding and Soundex |
//! | `patch`, `patch_ids`, `rules`, `rules_lists`, `periods`, `countries` | update: operations, companions, what fields may become |
//! | `create`, `birth`, `numbers` | new people and their numbers |
//! | `coverage` | the EHIC card |
//! | `tell` | what EPS must know of a change |
//! | `import`, `export` | a line of a file ⇄ a person |
//! | `past` | what changed in a record, who did it and when |
//! | `rows`, `fhir` | what is stored, and the names of the FHIR shapes; how JSON is packed: `wire::packed` |
//! | `trace` | batch trace over MESH (§16) |
//! | `smsp` | Spine Mini Services, the five questions over SOAP (§17) |
//! | `refusal` | every error of the specification, once |
//!
//! Invariants:
//! - Nothing of a person leaves before the audit note with their number is durable (P4); a refusal leaves one too.
//! - A number is handed out only by the partition that it hashes to, so it cannot be handed out twice.
//! - Creates go to the partition of the birth date and look again there: two for one person meet (P3).
//! - Search rows change with the person's row, in one decision.

pub mod access;
mod answer;
mod ask;
mod birth;
pub mod command;
mod countries;
mod coverage;
mod create;
mod decide;
pub mod export;
pub mod fhir;
pub mod import;
mod matching;
pub mod names;
mod numbers;
pub mod past;
mod patch;
mod patch_ids;
mod periods;
mod query;
pub mod refusal;
mod routes;
pub mod rows;
mod rules;
mod rules_lists;
mod search;
pub mod shapes;
mod show;
pub mod smsp;
mod tell;
#[cfg(test)]
mod tests;
pub mod trace;

pub use super::carried::{BodyIn, Call, Response, Step};
pub use crate::wire::packed as codec;
pub use answer::refuse;
pub use ask::Asked;
pub use routes::{INTERACTIONS, Route, is_ours, route};

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct PdsOptions {
    /// Ranges that new NHS numbers are taken from: first and last of the first nine digits, in the order of their use (§4).
    pub ranges: Vec<(u64, u64)>,
    /// Practice and pharmacy codes must be organisations of the registry.
    pub check_organisations: bool,
}

impl Default for PdsOptions {
    /// The numbers kept for tests, 999 000 0000 to 999 999 9999.
    fn default() -> Self {
        PdsOptions { ranges: vec![(999_000_000, 999_999_999)], check_organisations: true }
    }
}

/// The service.
#[derive(Debug, Default)]
pub struct Pds {
    pub options: PdsOptions,
}

/// The room's records and its reader of queries, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{command::*, routes::pairs};
}
