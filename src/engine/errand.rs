//! Commands that the engine gives to itself: delivering outbox items, clearing them away, settling dead letters.

use super::draft::OutboxItem;
use crate::record;

/// Decide these items of `partition`'s outbox in the target partition.
pub(super) const DELIVER: u8 = 1;
/// Clear the outbox of items for `partition` up to `upto`.
pub(super) const DELIVERED: u8 = 2;
/// Decide a dead letter of the target partition again.
pub(super) const RETRY: u8 = 3;
/// Take a dead letter away.
pub(super) const DROP: u8 = 4;

/// Outbox rows cleared by one errand.
pub(super) const DELETE_AT_ONCE: usize = 512;

record! {
    /// One errand: the payload of a command to the engine itself.
    pub struct Errand v1 {
        1 => kind: u8,
        /// DELIVER, RETRY, DROP: source partition. DELIVERED: target partition.
        2 => partition: u16,
        3 => items: Vec<OutboxItem>,
        4 => upto: u64,
        /// DELIVER: an item that faulted too often; if it faults once more it becomes a dead letter.
        5 => set_aside: u64,
        /// RETRY, DROP: the dead letter's number in its source.
        6 => sequence: u64,
        /// RETRY, DROP: only see what would come of it.
        7 => trial: bool,
    }
}

record! {
    /// Answer to DELIVER, RETRY and DROP.
    pub struct Report v1 {
        /// Highest sequence of the source that is applied in the target.
        1 => upto: u64,
        /// The item that faulted, if one did.
        2 => faulted: u64,
        /// The dead letter is, or was until now, there.
        3 => found: bool,
        /// Why it faulted again; empty where it did not.
        4 => fault: String,
    }
}
