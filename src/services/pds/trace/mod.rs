//! Batch trace (spec/pds.md §16): a CSV file that comes to the service's MESH mailbox, each row of which asks who somebody is, is
//! answered by a CSV file to its sender. How it goes together is in docs/decisions/batch-trace.md.
//!
//! | file | duty |
//! |---|---|
//! | `code` | the codes of §16.5; the two generations of the format |
//! | `intake` | the file as it streams in: first row, rows, references that repeat |
//! | `layout` | a row → what it asks, with the first thing wrong with it; an answer → a row |
//! | `find` | the three steps of tracing |
//! | `command`, `rows`, `decide` | what travels, what is stored, and what each command does |
//!
//! Invariants:
//! - The cursor and the rows that it stands behind are one commit: no row is answered twice or not at all, whoever goes on with a file.
//! - Who is shown to the sender of a file is in the audit trail in the same commit (P4).
//! - Whatever the length of a file, its rows are read, answered and kept in pieces of bounded size (P6).

pub mod code;
pub mod command;
pub(super) mod decide;
mod find;
pub mod intake;
pub mod layout;
pub mod rows;

pub use decide::{TraceTimer, generation};
pub use find::{Answer, Checked, born as birth, by_number, gender as gender_word, trace};

/// Rows of a file where the operator says nothing (§16.1, ours).
pub const MAX_ROWS: u64 = 500_000;
/// Rows answered in one commit: their audit records keep the decider busy for a millisecond or two.
pub const PIECE_ROWS: usize = 100;
/// Bytes of an answer at which its commit is made, however few its rows: with one row more it stays inline.
pub const PIECE_BYTES: usize = 48 << 10;
/// What travels in commands and rows; above it, in blobs.
pub const INLINE: u64 = 64 << 10;
/// Pieces that wait to be put together into one blob, which is one chunk of the answer: some 2 MiB.
pub const FOLD_PIECES: u32 = 64;
