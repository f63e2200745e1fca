//! P4: every effect has its record, and the chain of records is whole on every node.

use super::End;
use crate::site::Site;
use spine::audit;
use spine::store::tables::Table;
use spine::wire::record::Record as _;
use std::collections::BTreeMap;

pub fn check(site: &Site, end: &End) {
    for (node, running) in site.up() {
        let mut records: BTreeMap<String, u8> = BTreeMap::new();
        for partition in site.partitions() {
            let rows = running.engine.local(partition);
            let Ok(chain) = running.engine.audit_chain(partition) else {
                site.trace.fail(format!("P4: node {} cannot read its chain in partition {}", node.0, partition.0));
                continue;
            };
            let verifier = audit::Verifier::new(partition.0, 1, u64::MAX - 1, Some(chain), audit::Ca::default());
            match audit::verify(rows.as_ref(), verifier) {
                Ok(verdict) if verdict.findings.is_empty() => {}
                Ok(verdict) => site.trace.fail(format!("P4: node {}: {:?}", node.0, verdict.findings)),
                Err(e) => site.trace.fail(format!("P4: node {} cannot verify: {e}", node.0)),
            }
            let stored = rows.scan(Table::Audit.key().prefix(), false, usize::MAX).unwrap_or_default();
            let read = stored.iter().filter_map(|(_, value)| audit::Record::decode(value).ok());
            for record in read.filter(|r| r.interaction == "once.put") {
                *records.entry(record.object).or_default() += 1;
            }
        }
        for (name, count) in &end.counts {
            if records.get(name) != Some(count) {
                let found = records.get(name).copied().unwrap_or(0);
                site.trace.fail(format!("P4: {name} was done {count} times, and node {} has {found} records", node.0));
                return;
            }
        }
    }
}
