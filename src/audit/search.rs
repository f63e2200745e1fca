//! Searching a partition's audit records, in pages of bounded work (P4, P6).

use super::record::{Indexed, Record, record_key};
use crate::store::tables::{Parts, Table};
use crate::store::{Reader, StoreError};
use crate::wire::record::Record as _;

/// What to look for. Empty and `None` match all.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Object or other object: mailbox, message id, ODS code…
    pub id: String,
    pub correlation_id: String,
    /// Start of the interaction's name: `mesh.` finds all of MESH.
    pub interaction: String,
    pub outcome: String,
    /// The caller's organisation.
    pub ods: String,
    /// Milliseconds since the epoch, inclusive.
    pub since: Option<u64>,
    /// Milliseconds since the epoch, exclusive.
    pub until: Option<u64>,
}

/// One page of findings.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub records: Vec<Record>,
    /// Pass as `after` for the next page; `None` at the end. A page may be empty and yet not be the last.
    pub next: Option<u64>,
}

/// Rows looked at for one page at most, so that a rare word costs several calls and not a long one.
const MAX_LOOKED_AT: usize = 5_000;

/// Finds up to `limit` records with a sequence greater than `after` (0 to begin), oldest first.
pub fn search(reader: &dyn Reader, query: &Query, after: u64, limit: usize) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let from = match (after, query.since) {
        (0, Some(since)) => first_at(reader, since)?,
        _ => after + 1,
    };
    let indexed = match (query.correlation_id.as_str(), query.id.as_str()) {
        ("", "") => None,
        ("", id) => Some(Indexed::Id.key(id)),
        (correlation, _) => Some(Indexed::Correlation.key(correlation)),
    };
    let range = match &indexed {
        Some(key) => key.clone().number(from).build()..key.clone().prefix().end,
        None => record_key(from)..Table::Audit.end(),
    };
    let looked_at = if indexed.is_some() { limit } else { MAX_LOOKED_AT.min(limit.saturating_mul(20)) };
    let rows = reader.scan(range, false, looked_at)?;
    let more = rows.len() == looked_at;
    for (key, value) in rows {
        let sequence = key.last_chunk::<8>().map(|n| u64::from_be_bytes(*n)).unwrap_or(0);
        let value = match indexed {
            Some(_) => reader.get(&record_key(sequence))?,
            None => Some(value),
        };
        page.next = Some(sequence);
        let Some(record) = value.and_then(|v| Record::decode(&v).ok()) else { continue };
        if query.until.is_some_and(|until| record.at >= until) {
            page.next = None;
            return Ok(page);
        }
        if query.matches(&record) {
            page.records.push(record);
            if page.records.len() == limit {
                return Ok(page);
            }
        }
    }
    if !more {
        page.next = None;
    }
    Ok(page)
}

impl Query {
    fn matches(&self, record: &Record) -> bool {
        let is = |want: &str, have: &str| want.is_empty() || want == have;
        (self.id.is_empty() || self.id == record.object || self.id == record.other)
            && is(&self.correlation_id, &record.correlation_id)
            && is(&self.outcome, &record.outcome)
            && is(&self.ods, &record.ods)
            && record.interaction.starts_with(&self.interaction)
            && self.since.is_none_or(|since| record.at >= since)
    }
}

/// First sequence whose record was made at or after `since`: times never fall along the chain, so halving finds it.
fn first_at(reader: &dyn Reader, since: u64) -> Result<u64, StoreError> {
    let last = reader.scan(Table::Audit.key().prefix(), true, 1)?;
    let Some(last) = last.first().and_then(|(key, _)| Parts::of(key).number()) else { return Ok(1) };
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let record = reader.get(&record_key(middle))?.and_then(|v| Record::decode(&v).ok());
        match record {
            Some(record) if record.at >= since => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Chain;
    use crate::store::RowOp;
    use bytes::Bytes;
    use std::{collections::BTreeMap, ops::Range};

    struct Rows(BTreeMap<Bytes, Bytes>);
    impl Reader for Rows {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
            Ok(self.0.get(key).cloned())
        }
        fn scan(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
            let rows = self.0.range(range).map(|(k, v)| (k.clone(), v.clone()));
            Ok(if reverse { rows.rev().take(limit).collect() } else { rows.take(limit).collect() })
        }
    }

    fn rows() -> Rows {
        let (mut chain, mut ops) = (Chain::default(), vec![]);
        for n in 0..100u64 {
            let record = Record {
                at: 1_000 + n,
                interaction: if n % 2 == 0 { "mesh.send".into() } else { "mesh.list".into() },
                object: format!("M{n}"),
                other: format!("BOX{}", n % 3),
                correlation_id: format!("c{n}"),
                ..Default::default()
            };
            chain.push(record, &mut ops);
        }
        Rows(
            ops.into_iter()
                .filter_map(|op| match op {
                    RowOp::Put { key, value, .. } => Some((key, value)),
                    RowOp::Delete { .. } => None,
                })
                .collect(),
        )
    }

    fn all(rows: &Rows, query: &Query, limit: usize) -> Vec<u64> {
        let (mut found, mut after) = (vec![], 0);
        loop {
            let page = search(rows, query, after, limit).unwrap();
            found.extend(page.records.iter().map(|r| r.sequence));
            match page.next {
                Some(next) => after = next,
                None => return found,
            }
        }
    }

    #[test]
    fn pages_join_to_exactly_what_matches() {
        let rows = rows();
        let by_id = Query { id: "BOX1".into(), ..Default::default() };
        let expected: Vec<u64> = (0..100).filter(|n| n % 3 == 1).map(|n| n + 1).collect();
        assert_eq!(all(&rows, &by_id, 7), expected);
        assert_eq!(all(&rows, &Query { correlation_id: "c41".into(), ..Default::default() }, 10), [42]);
        let window =
            Query { since: Some(1_010), until: Some(1_014), interaction: "mesh.s".into(), ..Default::default() };
        assert_eq!(all(&rows, &window, 2), [11, 13]);
        assert_eq!(all(&rows, &Query { id: "nobody".into(), ..Default::default() }, 5), Vec::<u64>::new());
    }
}
