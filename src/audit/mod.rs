//! The audit chain (P4): who asked what, for whom and why, as rows hashed one onto the next and signed at intervals.
//!
//! The engine makes a [`Record`] of every interaction and stores it in the same entry as the effect, so a record is
//! as durable as what it tells of (P1). Each partition has a chain of its own. Invariants: `sequence` rises by one
//! from 1 without gaps, or from where its retention has left it; a record holds its predecessor's hash; the partition's mark holds the newest hash;
//! signed [`Head`]s pin the chain now and then. [`verify`] finds what breaks any of these.

mod expire;
mod head;
mod record;
mod seal;
mod search;
mod timeline;
mod verify;

#[cfg(test)]
pub(crate) use head::tests::signer as test_signer;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{expire::*, head::*, record::*, seal::*};
}

pub use expire::{Begin, EXPIRED, Kept, PIECE, Piece, piece};
pub use head::{Ca, Head, HeadError, Signer, head_key, proves};
pub use record::{
    Chain, HASH_LEN, Indexed, OTHER_OBJECTS, Record, action_of, actor, event_id, index_keys, place_of, record_key,
};
pub use seal::Seal;
pub use search::{Page, Query, first_at, newest_first, newest_of, search};
pub use timeline::{Cursor, Stretch, Wanted, timeline};
pub use verify::{Finding, Progress, Verdict, Verifier, verify};
