//! A site of one partition in memory, for targets whose input is not only read but decided on: rows, the registry, and what
//! the audit trail was told.

use bytes::Bytes;
use spine::access::caller::Caller;
use spine::engine::draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp};
use spine::engine::{Command, PartitionId};
use std::collections::BTreeMap;

/// 2026-11-22T00:59:33.579Z.
pub const NOW: u64 = 1_795_309_173_579;

#[derive(Default)]
pub struct Site {
    pub rows: MapStore,
    pub registry: MapStore,
    pub notes: Vec<AuditNote>,
    /// The rows are those of the site partition: the registry itself.
    is_registry: bool,
    count: u64,
}

impl Site {
    /// A site with these rows; they are shared until it changes them.
    pub fn of(rows: &BTreeMap<Bytes, Bytes>) -> Site {
        Site { rows: MapStore(rows.clone()), ..Default::default() }
    }

    /// The site partition, with these rows.
    pub fn registry(rows: &BTreeMap<Bytes, Bytes>) -> Site {
        Site { is_registry: true, ..Site::of(rows) }
    }

    /// Decides a command and what follows from it in the same service. No input may be the program's own fault.
    pub fn decide(&mut self, service: &dyn Decide, key: &[u8], payload: Bytes, caller: &Caller) -> Bytes {
        self.count += 1;
        let stamp = Stamp {
            now: NOW,
            partition: PartitionId(1),
            partitions: 1,
            sequence: self.count,
            entropy: [self.count as u8; 16],
        };
        let command =
            Command { key: Bytes::copy_from_slice(key), payload, caller: caller.clone(), ..Default::default() };
        let overlay = Overlay::default();
        let registry = if self.is_registry { &self.rows } else { &self.registry };
        let mut draft = Draft::new(&self.rows, &overlay, registry);
        let reply = service.decide(&mut draft, &stamp, &command).unwrap_or_else(|fault| panic!("{fault}"));
        let decided = draft.finish();
        self.rows.apply(decided.rows);
        self.notes.extend(decided.audit);
        for (key, to, payload) in decided.outbox {
            if to == service.service() {
                self.decide(service, &key, payload, caller);
            }
        }
        reply
    }
}

/// A refusal names its code where FHIR has it, and no input is the program's fault.
pub fn told(status: u16, body: &[u8]) -> serde_json::Value {
    assert!(status < 500, "{status}: {}", String::from_utf8_lossy(body));
    if body.is_empty() {
        return serde_json::Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(body)))
}
