//! Applying: committed entries become rows, on every replica alike; then callers and readers wake (P1, P2).

use super::entry::Entry;
use super::flights::Flights;
use super::ports::Rows;
use super::rows;
use super::{PartitionId, PartitionMap};
use crate::consensus::{self, Fatal, GroupNumber, StateMachine};
use crate::seam::trouble::{Planted, planted};
use crate::store::tables::Table;
use crate::store::{Position, RowOp};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{oneshot, watch};

/// A partition on this node, as applying, deciding and reading share it.
pub(super) struct Slot {
    pub id: PartitionId,
    pub rows: Arc<dyn Rows>,
    pub flights: Flights,
    pub readers: Readers,
    /// Rises when outbox rows were applied: deliverers look again.
    pub outbox: watch::Sender<u64>,
    /// By source partition: how much of its outbox is applied here, and who waits for more.
    pub inbound: Vec<Readers>,
    /// What a simulation plants: rows to be applied again.
    planted: Mutex<Vec<RowOp>>,
}

/// The engine's half of consensus: made first, given to consensus, then to [`super::Engine::start`].
pub struct Applier {
    pub(super) slots: Vec<Arc<Slot>>,
    fatal: Fatal,
}

impl Applier {
    /// `rows`: the store's partitions 0..=P in order. `fatal` is called, and must end the process, when a committed
    /// entry cannot be read: replicas must not part ways (P7).
    pub fn new(rows: Vec<Arc<dyn Rows>>, fatal: Fatal) -> Arc<Applier> {
        let count = rows.len();
        let slots = rows.into_iter().enumerate().map(|(n, rows)| {
            let id = PartitionId(n as u16);
            let (flights, readers) = (Flights::default(), Readers::new(rows.applied_index()));
            // Zero is no more than the truth; who waits looks at the row too.
            let inbound = (0..count).map(|_| Readers::new(0)).collect();
            let (outbox, planted) = (watch::Sender::new(0), Mutex::default());
            Arc::new(Slot { id, rows, flights, readers, outbox, inbound, planted })
        });
        Arc::new(Applier { slots: slots.collect(), fatal })
    }

    /// The partition map that fits these slots.
    pub fn map(&self) -> PartitionMap {
        PartitionMap { partitions: self.slots.len().saturating_sub(1) as u16 }
    }

    fn apply_one(&self, slot: &Slot, entry: consensus::Entry) {
        let at = Position { index: entry.index, term: entry.term, leader: 0 };
        if entry.payload.is_empty() {
            slot.flights.arriving(entry.term, 0, 0);
            slot.rows.apply(at, &[]);
            return;
        }
        let decided = match Entry::read(&entry.payload) {
            Ok(decided) => decided,
            Err(e) => return (self.fatal)(&format!("entry {} of partition {}: {e}", entry.index, slot.id.0)),
        };
        let flight = slot.flights.arriving(entry.term, decided.reign, decided.batch);
        if let Some(flight) = flight {
            if decided.term != entry.term && !planted(Planted::AnyTerm) {
                slot.rows.apply(at, &[]);
                return flight.not_done();
            }
            // This node decided it: the rows are at hand as they were, without unpacking.
            slot.apply(at, &flight.ops);
            slot.noticed(&flight.ops);
            return slot.flights.arrived(flight, slot.id, entry.index);
        }
        let term = if planted(Planted::AnyTerm) { decided.term } else { entry.term };
        match decided.rows_in(term) {
            Ok(rows) => {
                slot.apply(at, &rows);
                slot.noticed(&rows);
            }
            Err(e) => (self.fatal)(&format!("entry {} of partition {}: {e}", entry.index, slot.id.0)),
        }
    }
}

impl StateMachine for Applier {
    fn apply(&self, group: GroupNumber, entries: Vec<consensus::Entry>) {
        let Some(slot) = self.slots.get(usize::from(group)) else {
            return (self.fatal)(&format!("entries for partition {group}, which this site does not have"));
        };
        let (Some(first), Some(last)) = (entries.first().map(|e| e.index), entries.last().map(|e| e.index)) else {
            return;
        };
        if first > slot.readers.index() + 1 {
            // A snapshot took the place of entries: what became of batches under way cannot be told any more.
            slot.flights.unknown();
        }
        for entry in entries {
            self.apply_one(slot, entry);
        }
        slot.readers.applied(last);
    }

    /// Fences at or below `index` have been reached, though no entry came.
    fn installed(&self, group: GroupNumber, index: u64) {
        if let Some(slot) = self.slots.get(usize::from(group)) {
            slot.flights.unknown();
            slot.readers.applied(index);
        }
    }
}

impl Slot {
    fn apply(&self, at: Position, rows: &[RowOp]) {
        if !planted(Planted::ApplyTwice) {
            return self.rows.apply(at, rows);
        }
        let mut earlier = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::replace(&mut *earlier, rows.to_vec());
        let again = if at.index.is_multiple_of(8) { earlier } else { vec![] };
        self.rows.apply(at, &[rows, &again].concat());
    }

    /// Rings where rows concern the outbox.
    fn noticed(&self, rows: &[RowOp]) {
        let mut sent = false;
        for op in rows {
            let RowOp::Put { key, value, .. } = op else { continue };
            match key.first() {
                Some(&OUTBOX) => sent = true,
                Some(&INBOUND) => {
                    let source = rows::source_of_inbound(key).and_then(|s| self.inbound.get(usize::from(s.0)));
                    if let (Some(readers), Ok(upto)) = (source, value.as_ref().try_into()) {
                        readers.applied(u64::from_be_bytes(upto));
                    }
                }
                _ => {}
            }
        }
        if sent {
            self.outbox.send_modify(|n| *n += 1);
        }
    }
}

const OUTBOX: u8 = Table::Outbox as u8;
const INBOUND: u8 = Table::Inbound as u8;

/// Who waits for an index to be applied. Each waiter is woken once, when its turn has come.
pub(super) struct Readers {
    index: AtomicU64,
    waiting: Mutex<BTreeMap<(u64, u64), oneshot::Sender<()>>>,
    next: AtomicU64,
}

impl Readers {
    fn new(index: u64) -> Self {
        Readers { index: AtomicU64::new(index), waiting: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Everything up to `index` is applied.
    pub fn applied(&self, index: u64) {
        self.index.fetch_max(index, Ordering::SeqCst);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.first_key_value().is_some_and(|((at, _), _)| *at <= index) {
            let later = waiting.split_off(&(index + 1, 0));
            for (_, wake) in std::mem::replace(&mut *waiting, later) {
                let _ = wake.send(());
            }
        }
    }

    pub fn index(&self) -> u64 {
        self.index.load(Ordering::SeqCst)
    }

    /// Waits until `index` is applied. Drop the future to stop waiting.
    pub async fn reach(&self, index: u64) {
        if self.index() >= index {
            return;
        }
        let (wake, woken) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = (index, number);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key, wake);
        let _leave = Leave { readers: self, key };
        // It may have been applied between the look and the insert.
        if self.index() < index {
            let _ = woken.await;
        }
    }
}

struct Leave<'a> {
    readers: &'a Readers,
    key: (u64, u64),
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.readers.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
