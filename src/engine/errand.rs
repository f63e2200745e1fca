//! Commands that the engine gives to itself: delivering outbox items and clearing them away.

use super::draft::OutboxItem;
use crate::record;

/// Decide these items of `partition`'s outbox in the target partition.
pub(super) const DELIVER: u8 = 1;
/// Clear the outbox of items for `partition` up to `upto`.
pub(super) const DELIVERED: u8 = 2;

/// Outbox rows cleared by one errand.
pub(super) const DELETE_AT_ONCE: usize = 512;

record! {
    /// One errand: the payload of a command to the engine itself.
    pub struct Errand v1 {
        1 => kind: u8,
        /// DELIVER: source partition. DELIVERED: target partition.
        2 => partition: u16,
        3 => items: Vec<OutboxItem>,
        4 => upto: u64,
        /// DELIVER: an item that faulted too often; if it faults once more it becomes a dead letter.
        5 => set_aside: u64,
    }
}

record! {
    /// Answer to DELIVER.
    pub struct Report v1 {
        /// Highest sequence of the source that is applied in the target.
        1 => upto: u64,
        /// The item that faulted, if one did.
        2 => faulted: u64,
    }
}
