//! The engine's own rows: the partition's mark, remembered requests, outbox, inbound marks, timers (docs/formats.md).

use super::draft::{OutboxItem, Timer};
use super::{Command, PartitionId};
use crate::audit;
use crate::model::EpochMillis;
use crate::record;
use crate::store::tables::{Parts, Table};
use crate::store::{Reader, StoreError};
use crate::wire::record::{Malformed, Record as _};
use aws_lc_rs::digest;
use bytes::Bytes;
use std::ops::Range;

record! {
    /// Where a partition's counters stand. Written last in each entry, so that who has it has the entry's other rows.
    pub struct Mark v1 {
        /// Newest decision.
        1 => sequence: u64,
        /// Newest time given in a stamp, milliseconds since the epoch; never falls, across leaders.
        2 => time: u64,
        /// Newest audit record and its hash.
        3 => audit_sequence: u64,
        4 => audit_hash: [u8; 32],
        /// Newest timer.
        5 => timer: u64,
        /// Newest outbox item.
        6 => outbox: u64,
    }
}

impl Mark {
    pub fn chain(&self) -> audit::Chain {
        audit::Chain { sequence: self.audit_sequence, hash: self.audit_hash }
    }
    /// The partition's mark as a reader has it; zero for a partition in which nothing was ever decided.
    pub fn load(reader: &dyn Reader) -> Result<Mark, RowError> {
        match reader.get(&mark_key())? {
            Some(value) => Mark::decode(&value).map_err(|e| RowError::Row(Table::Meta, e)),
            None => Ok(Mark::default()),
        }
    }
}

record! {
    /// The answer to a request, kept for who asks again (P3).
    pub struct Remembered v1 {
        /// When it was decided.
        1 => at: u64,
        2 => reply: Bytes,
        /// Outbox items it caused, as `target << 48 | sequence`.
        3 => sent: Vec<u64>,
        4 => service: u8,
    }
}

record! {
    /// A command that its target faulted on again and again: set aside for an operator, so that those behind it go on.
    pub struct DeadLetter v1 {
        1 => source: u16,
        2 => item: Option<OutboxItem>,
        /// Milliseconds since the epoch.
        3 => at: u64,
        4 => fault: String,
    }
}

/// Why an own row could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("stored row of {0:?}: {1}")]
    Row(Table, Malformed),
}

impl From<RowError> for super::draft::Fault {
    fn from(e: RowError) -> Self {
        match e {
            RowError::Store(e) => super::draft::Fault::Store(e),
            RowError::Row(table, e) => super::draft::Fault::Row(table, e),
        }
    }
}

pub fn mark_key() -> Bytes {
    Table::Meta.key().text("mark").build()
}

/// Names a request among all callers' for ever: half a SHA-256 over who asks and the id. Its two rows stay small, and
/// neither the id nor the caller can be read from them.
pub fn request_digest(command: &Command) -> [u8; 16] {
    let caller = &command.caller;
    // The system, however its certificate is renewed; else the certificate; else the local user.
    let who = [&caller.asid, &caller.certificate, &caller.operator].into_iter().find(|w| !w.is_empty());
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [who.map(String::as_str).unwrap_or(""), &caller.principal, &command.request_id] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.update(&[command.service]);
    // Who came with a token is an application and whom it acts for; where there is none, digests stay as they were.
    if !caller.application.is_empty() {
        for part in [&caller.application, &caller.user, &caller.nhs_number] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    let mut short = [0; 16];
    short.copy_from_slice(&context.finish().as_ref()[..16]);
    short
}

pub fn request_key(digest: &[u8; 16]) -> Bytes {
    Table::Requests.key().fixed(digest).build()
}

pub fn expiry_key(at: EpochMillis, digest: &[u8; 16]) -> Bytes {
    Table::RequestExpiry.key().number(at).fixed(digest).build()
}

/// Expiry rows due up to and including `now`.
pub fn expired(now: EpochMillis) -> Range<Bytes> {
    Table::RequestExpiry.key().build()..Table::RequestExpiry.key().number(now.saturating_add(1)).build()
}

/// The request that an expiry row is about.
pub fn digest_of_expiry(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk::<16>().copied()
}

pub fn timer_key(timer: &Timer) -> Bytes {
    Table::Timers.key().number(timer.due).fixed(&[timer.service]).number(timer.sequence).build()
}

/// Timers due up to and including `now`.
pub fn due(now: EpochMillis) -> Range<Bytes> {
    Table::Timers.key().build()..Table::Timers.key().number(now.saturating_add(1)).build()
}

/// When a timer's row is due.
pub fn due_of(key: &[u8]) -> EpochMillis {
    Parts::of(key).number().unwrap_or(0)
}

pub fn outbox_key(target: PartitionId, sequence: u64) -> Bytes {
    Table::Outbox.key().fixed(&target.0.to_be_bytes()).number(sequence).build()
}

/// The sequence that an outbox row's key ends with.
pub fn sequence_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n))
}

/// Items for a target behind `after`, up to and including `to`.
pub fn outbox_range(target: PartitionId, after: u64, to: u64) -> Range<Bytes> {
    outbox_key(target, after.saturating_add(1))..outbox_key(target, to.saturating_add(1))
}

pub fn inbound_key(source: PartitionId) -> Bytes {
    Table::Inbound.key().fixed(&source.0.to_be_bytes()).build()
}

/// The source that an inbound row is about.
pub fn source_of_inbound(key: &[u8]) -> Option<PartitionId> {
    key.last_chunk::<2>().map(|n| PartitionId(u16::from_be_bytes(*n)))
}

/// Highest outbox sequence of `source` applied in the reader's partition.
pub fn inbound(reader: &dyn Reader, source: PartitionId) -> Result<u64, StoreError> {
    let value = reader.get(&inbound_key(source))?;
    Ok(value.and_then(|v| v.as_ref().try_into().ok()).map(u64::from_be_bytes).unwrap_or(0))
}

/// Up to where the outbox for a target was cleared.
pub fn cleared_key(target: PartitionId) -> Bytes {
    Table::Meta.key().text("cleared").fixed(&target.0.to_be_bytes()).build()
}

/// The target that such a row is about.
pub fn target_of_cleared(key: &[u8]) -> Option<PartitionId> {
    let target = PartitionId(key.last_chunk::<2>().map(|n| u16::from_be_bytes(*n))?);
    (key == cleared_key(target)).then_some(target)
}

/// Every dead letter of a partition.
pub fn dead_letters() -> Range<Bytes> {
    Table::DeadLetters.key().prefix()
}

pub fn dead_key(source: PartitionId, sequence: u64) -> Bytes {
    Table::DeadLetters.key().fixed(&source.0.to_be_bytes()).number(sequence).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller::Caller;

    #[test]
    fn a_request_is_the_callers_own_and_outlives_a_certificate() {
        let ask = |asid: &str, certificate: &str, id: &str| Command {
            caller: Caller { asid: asid.into(), certificate: certificate.into(), ..Default::default() },
            request_id: id.into(),
            ..Default::default()
        };
        let first = request_digest(&ask("1", "a", "r"));
        assert_eq!(first, request_digest(&ask("1", "b", "r")));
        assert_ne!(first, request_digest(&ask("2", "a", "r")));
        assert_ne!(first, request_digest(&ask("1", "a", "r2")));
        assert_ne!(request_digest(&ask("", "a", "r")), request_digest(&ask("", "b", "r")));
    }

    #[test]
    fn what_is_due_now_is_in_the_range_and_what_is_due_later_is_not() {
        let timer = |due| Timer { due, service: 2, sequence: 9, ..Default::default() };
        assert!(due(100).contains(&timer_key(&timer(100))));
        assert!(!due(100).contains(&timer_key(&timer(101))));
        assert_eq!(due_of(&timer_key(&timer(77))), 77);
        assert!(outbox_range(PartitionId(2), 5, 7).contains(&outbox_key(PartitionId(2), 7)));
        assert!(!outbox_range(PartitionId(2), 5, 7).contains(&outbox_key(PartitionId(2), 5)));
        assert!(!outbox_range(PartitionId(2), 0, u64::MAX).contains(&outbox_key(PartitionId(3), 1)));
    }
}
