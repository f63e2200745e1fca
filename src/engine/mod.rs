//! The engine: decides each command once, on the partition's leader, and carries the decision everywhere.
//!
//! Promises held here: P1 (answers only after commit and apply), P2 (fences), P3 (request memory), P4 (audit rows in
//! the same entry as the effect). `draft` is the pure half that services see; the rest moves bytes and waits.

mod apply;
mod backlog;
pub mod bodies;
pub mod bulk;
mod clocks;
pub mod cut;
mod dead;
mod decide;
mod decider;
mod disk;
pub mod draft;
mod entry;
mod errand;
mod flights;
mod frames;
mod handle;
mod outbox;
mod ports;
mod queue;
mod rows;
mod space;
mod submit;
pub mod succession;
mod survey;
mod tagged;
mod turning;
mod view;

pub use apply::Applier;
pub use backlog::Backlog;
pub use clocks::{ClockReport, Standing};
pub use dead::{DeadLetterId, Settle, Settled};
pub use disk::DiskReport;
pub use handle::{Engine, EngineOptions};
pub use ports::{Agreement, Rows, Wait};
pub use rows::{DeadLetter, Mark, RowError};
pub use view::{Fence, View, site_serves};

use crate::access::caller::Caller;
use crate::record;
use bytes::Bytes;

/// A partition's number. 0 is the site partition (registry, members, partition map); 1..=P hold the services' rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

pub const SITE: PartitionId = PartitionId(0);

/// A service's number in commands, timers and outbox rows. Numbers are for ever (docs/formats.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u8);

pub mod services {
    //! Every service's number.
    use super::ServiceId;
    pub const ENGINE: ServiceId = ServiceId(0);
    pub const DIRECTORY: ServiceId = ServiceId(1);
    pub const MESH: ServiceId = ServiceId(2);
    pub const IDENTITY: ServiceId = ServiceId(3);
    pub const PDS: ServiceId = ServiceId(4);
    /// Refusals of the gate, AuditEvents read and filed.
    pub const TRAIL: ServiceId = ServiceId(7);
    pub const RELATIONSHIPS: ServiceId = ServiceId(8);
    pub const EPS: ServiceId = ServiceId(9);
}

/// Which partition holds a key. The number of buckets is for ever; which partition a bucket lives in may change later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMap {
    /// Service partitions of the site, 1..=P; fixed when the site is made.
    pub partitions: u16,
}

/// Buckets that keys hash to.
const BUCKETS: u32 = 1024;

impl PartitionMap {
    /// The partition of a key; the site partition for the empty key.
    pub fn of(&self, key: &[u8]) -> PartitionId {
        if key.is_empty() {
            return SITE;
        }
        let bucket = crc32c::crc32c(key) % BUCKETS;
        PartitionId(1 + (bucket * u32::from(self.partitions) / BUCKETS) as u16)
    }
    /// Every partition, the site's first.
    pub fn all(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..=self.partitions).map(PartitionId)
    }
}

record! {
    /// What travels from the node a client reached to the partition's leader.
    pub struct Command v1 {
        1 => service: u8,
        /// Partition key: mailbox id, NHS number… Empty means the site partition.
        2 => key: Bytes,
        /// The service's own command record.
        3 => payload: Bytes,
        4 => caller: Caller,
        /// Repeats of the same id by the same caller get the same answer (P3). Empty: not remembered.
        5 => request_id: String,
        /// Names this attempt in logs, audit and refusals.
        6 => correlation_id: String,
        /// The caller's own `X-Request-ID`, for the audit trail; remembered is only what stands in `request_id`.
        7 => asked_as: String,
        /// Where the caller's trace stands (`TraceContext`); empty where nobody keeps one.
        8 => trace: Bytes,
    }
}

/// What became of a command: its reply is durable, and visible to any read at or after `index`.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub partition: PartitionId,
    /// Log index at which the decision committed.
    pub index: u64,
    pub reply: Bytes,
    /// Commands it sent to other partitions, as (target, outbox sequence): see [`Engine::wait_delivered`].
    pub sent: Vec<(PartitionId, u64)>,
}

/// Why a command or a read got no answer. `Unknown` is the only one after which the effect may still come to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The queue of the partition is full; nothing was done.
    #[error("the partition's queue is full")]
    Busy,
    /// No leader could be reached in time; nothing was done.
    #[error("no leader of the partition can be reached")]
    NoLeader,
    /// The disk is nearly full; writes are refused, reads go on. Nothing was done.
    #[error("the disk is nearly full")]
    NoSpace,
    /// The leader changed or the answer was lost: the effect may or may not have happened.
    #[error("the outcome is not known")]
    Unknown,
    /// The service's code or stored rows are at fault; nothing was done. The text is for the log only.
    #[error("internal fault: {0}")]
    Fault(String),
    /// What was asked for is damaged or gone on every node. The text is for the log only.
    #[error("lost: {0}")]
    Lost(String),
}

impl Unavailable {
    /// Whether asking again can do the thing twice.
    pub fn retry_is_safe(&self) -> bool {
        !matches!(self, Unavailable::Unknown)
    }
}

#[cfg(test)]
pub(crate) mod tests;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{entry::*, errand::*, frames::*, rows::*, space::*};
}
