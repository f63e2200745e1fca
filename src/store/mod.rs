//! Bytes at rest: a bounded table in memory over sealed blocks in sled; snapshots; blobs.
//!
//! Nothing durable rests on sled (P7): the log is cut only below our own sealed snapshots, and a store that does
//! not open or fails a checksum is set aside and rebuilt.

pub mod blobs;
mod block;
mod blocks;
mod cache;
pub mod cut;
mod edits;
mod flush;
mod heal;
mod index;
mod kv;
mod kv_memory;
mod memory;
mod open;
mod partition;
mod scan;
mod sled;
mod snapshot;
pub mod tables;

pub use heal::Healed;
pub use open::{Store, StoreOptions};
pub use partition::Partition;
pub use snapshot::{Incoming, SnapshotInfo, newer};

use crate::record;
use bytes::Bytes;

/// One change to one row. Rows are whole values, so applying one twice is applying it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOp {
    /// `fresh` promises that the key did not exist: if it is deleted before the next flush, the disk never sees it.
    Put {
        key: Bytes,
        value: Bytes,
        fresh: bool,
    },
    Delete {
        key: Bytes,
    },
}

impl RowOp {
    pub fn key(&self) -> &Bytes {
        match self {
            RowOp::Put { key, .. } | RowOp::Delete { key } => key,
        }
    }
}

record! {
    /// How far the log is applied, kept with the rows.
    pub struct Applied v1 {
        /// Log index of the last entry applied; 0 before the first.
        1 => index: u64,
        2 => term: u64,
        /// Raft id of the leader that wrote the entry.
        3 => leader: u64,
        /// The members as of `index`; consensus' own bytes.
        4 => membership: Bytes,
    }
}

impl Applied {
    pub fn position(&self) -> Position {
        Position { index: self.index, term: self.term, leader: self.leader }
    }
}

/// An entry's place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
    /// Raft id of the leader of that term.
    pub leader: u64,
}

/// Why the store cannot answer. Never a reason to answer "not there".
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A stored block failed its checksum; the partition must be rebuilt from a snapshot or a peer.
    #[error("stored data failed its checksum in {0}")]
    Corrupt(String),
    #[error("store i/o failed: {0}")]
    Io(String),
    /// What was durable is not known any more: the process must stop (P7).
    #[error("a sync of the store failed: {0}")]
    Unsynced(String),
}

/// Ordered rows that can be read. Shared by the store, a draft and a view.
pub trait Reader {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Up to `limit` rows with `range.start <= key < range.end`, in key order, or from the end when `reverse`.
    fn scan(
        &self,
        range: std::ops::Range<Bytes>,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;
}

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{block::*, snapshot::file::*};
}
