//! What a service sees while it decides: the partition's rows, with everything decided and not yet applied on top,
//! and a place for its own changes. Pure: time, ids and the actor come in the [`Stamp`].
//!
//! Invariants: a draft's changes enter the overlay only as a whole, after `decide` returned; a service that refuses
//! writes nothing but its audit note; reads see the decider's own earlier commands (P2).

use super::{Command, PartitionId, ServiceId};
use crate::access::caller::Caller;
use crate::model::EpochMillis;
use crate::record;
use crate::store::tables::{Key, Table};
use crate::store::{Reader, RowOp, StoreError};
use bytes::Bytes;
use std::{collections::BTreeMap, ops::Range};

/// Time, place and luck of one decision, given by the leader and carried in the entry.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub now: EpochMillis,
    pub partition: PartitionId,
    pub partitions: u16,
    /// Number of this decision in its partition: rises by one for each, across leaders. Unique with `partition`.
    pub sequence: u64,
    /// Fresh randomness for ids.
    pub entropy: [u8; 16],
}

/// What the audit trail says of one interaction (P4, `operations.md` §8). Chained and stored by the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditNote {
    /// Stable dotted name: `mesh.send`, `mesh.list`, `directory.party.set`.
    pub interaction: String,
    /// `ok`, or the refusal's code.
    pub outcome: String,
    /// What was touched: mailbox id, message id, ODS code…
    pub object: String,
    /// Second object where there is one, such as the recipient.
    pub other: String,
    /// Patient concerned, in audit form; empty where there is none.
    pub subject: String,
    /// Purpose of use, relationship or override reason.
    pub purpose: String,
    /// Client software and host as announced, or other remarks of bounded length.
    pub detail: String,
    /// C, R, U, D or E; empty for what the interaction's name says (`audit::action_of`).
    pub action: String,
    /// Workgroup through which the access was justified (spec/identity.md §8).
    pub workgroup: String,
    /// An AuditEvent that a system filed, as JSON, for the trail to give back.
    pub filed: Bytes,
}

record! {
    /// A due moment, turned into a call of the service's `timer` by the leader.
    pub struct Timer v1 {
        1 => due: u64,
        2 => service: u8,
        3 => payload: Bytes,
        /// The timer's own number in its partition.
        4 => sequence: u64,
    }
}

record! {
    /// A command on its way to another partition, delivered at least once and applied once.
    pub struct OutboxItem v1 {
        1 => sequence: u64,
        2 => to_key: Bytes,
        3 => service: u8,
        4 => payload: Bytes,
        5 => caller: Caller,
        6 => correlation_id: String,
        /// When it was sent, milliseconds since the epoch; 0 in rows of before this was kept.
        7 => at: u64,
        /// As in the command that sent it.
        8 => trace: Bytes,
        /// SHA-256 of each body in the blob store that the command names.
        9 => bodies: Vec<Bytes>,
    }
}

/// What is decided and not yet applied, over the store. The decider keeps one for its term and drops it with it.
#[derive(Default)]
pub struct Overlay {
    rows: BTreeMap<Bytes, (u64, Option<Bytes>)>,
}

/// Tables that no decision reads: their rows need not be in the overlay, and they are half of all rows.
const UNREAD: [u8; 3] = [Table::Audit as u8, Table::AuditIndex as u8, Table::RequestExpiry as u8];

impl Overlay {
    /// Takes a batch's decided rows in; `batch` rises.
    pub fn take(&mut self, batch: u64, ops: &[RowOp]) {
        for op in ops {
            if op.key().first().is_some_and(|table| UNREAD.contains(table)) {
                continue;
            }
            let value = match op {
                RowOp::Put { value, .. } => Some(value.clone()),
                RowOp::Delete { .. } => None,
            };
            self.rows.insert(op.key().clone(), (batch, value));
        }
    }
    /// Lets go of rows that the store now shows. Call after the batch was applied, with the ops it held.
    pub fn applied(&mut self, batch: u64, ops: &[RowOp]) {
        for op in ops {
            if self.rows.get(op.key()).is_some_and(|(b, _)| *b <= batch) {
                self.rows.remove(op.key());
            }
        }
    }
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A service's side of deciding. Implemented once per service, in its `mod.rs`; pure.
pub trait Decide: Send + Sync {
    fn service(&self) -> ServiceId;
    /// Decides one command. Refusals are replies too: encode them, after [`Draft::abort`] if rows were written.
    /// An `Err` means that stored rows or the program are at fault: nothing is written and the caller gets a 500.
    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault>;
    /// Whether a command only reads (and leaves its audit record) or frees space: such are decided even while the disk
    /// is nearly full and other writes are refused.
    fn may_when_full(&self, command: &Command) -> bool {
        let _ = command;
        false
    }
    /// SHA-256 of each body in the blob store that one of this service's own commands names. While it is on its way to another
    /// partition no row there names them, and they are wanted all the same (`engine/bodies`).
    fn bodies(&self, payload: &Bytes) -> Vec<Bytes> {
        let _ = payload;
        vec![]
    }
    /// Acts on a due timer. The engine has already taken the timer's row away.
    fn timer(&self, draft: &mut Draft<'_>, stamp: &Stamp, timer: &Timer) -> Result<(), Fault>;
}

/// A programming error or unreadable row; the text goes to the log, never to a caller.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("stored row of {0:?}: {1}")]
    Row(Table, crate::wire::record::Malformed),
    #[error("{0}")]
    Other(String),
}

/// One command's view and changes.
pub struct Draft<'a> {
    base: &'a dyn Reader,
    overlay: &'a Overlay,
    site: &'a dyn Reader,
    mine: BTreeMap<Bytes, Change>,
    /// Changes of the commands before this one in the same draft: an abort leaves them.
    settled: BTreeMap<Bytes, Change>,
    audit: Vec<AuditNote>,
    timers: Vec<(EpochMillis, ServiceId, Bytes)>,
    outbox: Vec<(Bytes, ServiceId, Bytes)>,
    /// How many timers and outbox items are settled.
    kept: (usize, usize),
}

enum Change {
    Put { value: Bytes, fresh: bool },
    Delete,
}

/// Everything a draft decided, ready for the entry.
pub struct Decided {
    pub rows: Vec<RowOp>,
    pub audit: Vec<AuditNote>,
    /// (due, service, payload)
    pub timers: Vec<(EpochMillis, ServiceId, Bytes)>,
    /// (partition key, service, payload)
    pub outbox: Vec<(Bytes, ServiceId, Bytes)>,
}

impl<'a> Draft<'a> {
    /// `base`: this partition's applied rows; `site`: the site partition's, as this node has applied them.
    pub fn new(base: &'a dyn Reader, overlay: &'a Overlay, site: &'a dyn Reader) -> Self {
        Draft {
            base,
            overlay,
            site,
            mine: BTreeMap::new(),
            settled: BTreeMap::new(),
            audit: vec![],
            timers: vec![],
            outbox: vec![],
            kept: (0, 0),
        }
    }
    /// The registry (mailboxes, workflows, systems), as of now on the leader.
    pub fn site(&self) -> &'a dyn Reader {
        self.site
    }
    /// Writes a row whose key is known to be new (it holds a fresh id): cheaper for the disk than [`Draft::put`].
    pub fn insert(&mut self, key: Key, value: Bytes) {
        self.mine.insert(key.build(), Change::Put { value, fresh: true });
    }
    pub fn put(&mut self, key: Key, value: Bytes) {
        let key = key.build();
        let before = self.mine.get(&key).or_else(|| self.settled.get(&key));
        let fresh = matches!(before, Some(Change::Put { fresh: true, .. }));
        self.mine.insert(key, Change::Put { value, fresh });
    }
    pub fn delete(&mut self, key: Key) {
        self.delete_raw(key.build());
    }
    /// Deletes by a whole key, as a scan returned it.
    pub fn delete_raw(&mut self, key: Bytes) {
        self.mine.insert(key, Change::Delete);
    }
    /// Asks for a call of `service.timer` at or soon after `due`.
    pub fn timer(&mut self, due: EpochMillis, service: ServiceId, payload: Bytes) {
        self.timers.push((due, service, payload));
    }
    /// Sends a command to the partition that holds `key`: decided in the same entry where that is this partition,
    /// else delivered through the outbox, once.
    pub fn send(&mut self, key: Bytes, service: ServiceId, payload: Bytes) {
        self.outbox.push((key, service, payload));
    }
    pub fn audit(&mut self, note: AuditNote) {
        self.audit.push(note);
    }
    /// Drops every change so far but the audit notes: a refusal changes nothing.
    pub fn abort(&mut self) {
        self.mine.clear();
        self.timers.truncate(self.kept.0);
        self.outbox.truncate(self.kept.1);
    }
    /// Keeps every change so far, whatever a later command in this draft does: a savepoint.
    pub fn settle(&mut self) {
        if self.settled.is_empty() {
            std::mem::swap(&mut self.settled, &mut self.mine);
        } else {
            self.settled.append(&mut self.mine);
        }
        self.kept = (self.timers.len(), self.outbox.len());
    }
    /// Takes away the outbox items since the last call, to be decided here or numbered for the outbox.
    pub(super) fn take_outbox(&mut self) -> Vec<(Bytes, ServiceId, Bytes)> {
        self.kept.1 = 0;
        std::mem::take(&mut self.outbox)
    }
    /// Takes away the audit notes since the last call.
    pub(super) fn take_audit(&mut self) -> Vec<AuditNote> {
        std::mem::take(&mut self.audit)
    }
    pub fn finish(mut self) -> Decided {
        self.settle();
        let rows = self.settled.into_iter().map(|(key, change)| match change {
            Change::Put { value, fresh } => RowOp::Put { key, value, fresh },
            Change::Delete => RowOp::Delete { key },
        });
        Decided { rows: rows.collect(), audit: self.audit, timers: self.timers, outbox: self.outbox }
    }

    fn layered(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        match self.mine.get(key).or_else(|| self.settled.get(key)) {
            Some(Change::Put { value, .. }) => Some(Some(value)),
            Some(Change::Delete) => Some(None),
            None => self.overlay.rows.get(key).map(|(_, value)| value.as_ref()),
        }
    }
}

impl Reader for Draft<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.layered(key) {
            Some(value) => Ok(value.cloned()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if range.start >= range.end || limit == 0 {
            return Ok(vec![]);
        }
        // Rows above the store in this range, newest layer last; `None` hides a stored row.
        let mut above: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        for (key, (_, value)) in self.overlay.rows.range(range.clone()) {
            above.insert(key.clone(), value.clone());
        }
        for (key, change) in self.settled.range(range.clone()).chain(self.mine.range(range.clone())) {
            let value = match change {
                Change::Put { value, .. } => Some(value.clone()),
                Change::Delete => None,
            };
            above.insert(key.clone(), value);
        }
        // Each hidden row can displace at most one stored row from the page.
        let hidden = above.len();
        let mut rows: BTreeMap<Bytes, Bytes> =
            self.base.scan(range, reverse, limit.saturating_add(hidden))?.into_iter().collect();
        for (key, value) in above {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(if reverse { rows.into_iter().rev().take(limit).collect() } else { rows.into_iter().take(limit).collect() })
    }
}

/// An ordered map as a store: for tests of services, and nothing else needs a runtime.
#[derive(Default)]
pub struct MapStore(pub BTreeMap<Bytes, Bytes>);

impl MapStore {
    pub fn apply(&mut self, rows: Vec<RowOp>) {
        for op in rows {
            match op {
                RowOp::Put { key, value, .. } => self.0.insert(key, value),
                RowOp::Delete { key } => self.0.remove(&key),
            };
        }
    }
}

impl Reader for MapStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(key).cloned())
    }
    fn scan(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if range.start >= range.end {
            return Ok(vec![]);
        }
        let rows = self.0.range(range).map(|(k, v)| (k.clone(), v.clone()));
        Ok(if reverse { rows.rev().take(limit).collect() } else { rows.take(limit).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Table::Inbox.key().number(n)
    }

    #[test]
    fn a_scan_sees_the_store_the_overlay_and_its_own_changes_as_one() {
        let mut base = MapStore::default();
        for n in 0..6 {
            base.0.insert(key(n).build(), Bytes::from(vec![n as u8]));
        }
        let mut overlay = Overlay::default();
        overlay.take(
            1,
            &[
                RowOp::Delete { key: key(1).build() },
                RowOp::Put { key: key(2).build(), value: "o".into(), fresh: false },
            ],
        );
        let mut draft = Draft::new(&base, &overlay, &base);
        draft.delete(key(0));
        draft.put(key(9), "m".into());
        let all = Table::Inbox.key().prefix();
        let seen = |rows: Vec<(Bytes, Bytes)>| rows.into_iter().map(|(k, _)| k[8]).collect::<Vec<_>>();
        assert_eq!(seen(draft.scan(all.clone(), false, 3).unwrap()), [2, 3, 4]);
        assert_eq!(seen(draft.scan(all, true, 2).unwrap()), [9, 5]);
        assert_eq!(draft.get(&key(2).build()).unwrap(), Some("o".into()));
        draft.abort();
        assert_eq!(draft.get(&key(9).build()).unwrap(), None);
    }

    #[test]
    fn an_abort_leaves_what_was_settled_before() {
        let base = MapStore::default();
        let overlay = Overlay::default();
        let mut draft = Draft::new(&base, &overlay, &base);
        draft.insert(key(1), "a".into());
        draft.send("k".into(), ServiceId(9), "x".into());
        draft.settle();
        draft.put(key(1), "b".into());
        draft.delete(key(2));
        draft.send("k".into(), ServiceId(9), "y".into());
        assert_eq!(draft.get(&key(1).build()).unwrap(), Some("b".into()));
        draft.abort();
        assert_eq!(draft.get(&key(1).build()).unwrap(), Some("a".into()));
        let decided = draft.finish();
        assert_eq!(decided.rows, [RowOp::Put { key: key(1).build(), value: "a".into(), fresh: true }]);
        assert_eq!(decided.outbox.len(), 1);
    }

    #[test]
    fn the_overlay_lets_go_only_of_what_no_later_batch_wrote() {
        let put = |v: &'static str| RowOp::Put { key: key(1).build(), value: v.into(), fresh: false };
        let mut overlay = Overlay::default();
        overlay.take(1, &[put("a")]);
        overlay.take(2, &[put("b")]);
        overlay.applied(1, &[put("a")]);
        assert_eq!(overlay.len(), 1);
        overlay.applied(2, &[put("b")]);
        assert!(overlay.is_empty());
    }
}
