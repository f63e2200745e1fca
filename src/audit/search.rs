//! Searching a partition's audit records, in pages of bounded work (P4, P6).

use super::record::{Indexed, Record, Short, actor, epoch, first_of, other_objects, record_key, short};
use crate::store::tables::Table;
use crate::store::{Reader, StoreError};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::ops::Range;

/// What to look for. Empty and `None` match all.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Object, person, or one of the other objects: mailbox, message id, NHS number, ODS code…
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
/// Epochs of the index looked into for one page at most: some tens of milliseconds, 16 million records.
const MAX_EPOCHS: u64 = 1_000;

/// Finds up to `limit` records with a sequence greater than `after` (0 to begin), oldest first.
pub fn search(reader: &dyn Reader, query: &Query, after: u64, limit: usize) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let from = match (after, query.since) {
        (0, Some(since)) => first_at(reader, since)?,
        _ => after + 1,
    };
    let word = match (query.correlation_id.as_str(), query.id.as_str()) {
        ("", "") => None,
        ("", id) => Some((Indexed::Id, short(id))),
        (correlation, _) => Some((Indexed::Correlation, short(correlation))),
    };
    let Looked { rows, next } = match word {
        Some(word) => by_word(reader, word, from, limit)?,
        None => {
            let most = MAX_LOOKED_AT.min(limit.saturating_mul(20));
            let rows = reader.scan(record_key(from)..Table::Audit.end(), false, most)?;
            let next = rows.last().filter(|_| rows.len() == most).map(|(key, _)| sequence_of(key));
            Looked { rows, next }
        }
    };
    for (key, value) in rows {
        let sequence = sequence_of(&key);
        let value = match word {
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
    page.next = next;
    Ok(page)
}

/// Rows to look at, and the sequence up to which nothing else is to be found; `None` where that is the end.
struct Looked {
    rows: Vec<(Bytes, Bytes)>,
    next: Option<u64>,
}

/// Index rows of a word from a sequence on, epoch by epoch.
fn by_word(reader: &dyn Reader, word: (Indexed, Short), from: u64, limit: usize) -> Result<Looked, StoreError> {
    let newest = epoch(newest(reader)?);
    let mut rows = vec![];
    for at in epoch(from)..=newest {
        if at == epoch(from) + MAX_EPOCHS {
            return Ok(Looked { rows, next: Some(first_of(at) - 1) });
        }
        let key = word.0.key(at, word.1);
        let range = key.clone().number(from).build()..key.prefix().end;
        let room = limit - rows.len();
        let more = reader.scan(range, false, room)?;
        let full = more.len() == room;
        rows.extend(more);
        if full {
            let next = rows.last().map(|(key, _)| sequence_of(key));
            return Ok(Looked { rows, next });
        }
    }
    Ok(Looked { rows, next: None })
}

/// Finds up to `limit` records with a sequence below `before` that touched `id`, newest first. Pass the page's `next` as
/// `before` for the next page.
pub fn newest_of(reader: &dyn Reader, id: &str, before: u64, limit: usize) -> Result<Page, StoreError> {
    newest_first(reader, Indexed::Id, id, 1..before, limit)
}

/// Finds up to `limit` records with a sequence in `window` under one word of the index, newest first; the page's `next` is
/// the end of the next page's window.
pub fn newest_first(
    reader: &dyn Reader,
    kind: Indexed,
    text: &str,
    window: Range<u64>,
    limit: usize,
) -> Result<Page, StoreError> {
    let query = Query { id: text.to_owned(), ..Default::default() };
    let is_it = |record: &Record| match kind {
        Indexed::Id => query.matches(record),
        Indexed::Correlation => is_request(record, text),
        Indexed::Actor => actor(record) == text,
    };
    let word = short(text);
    let mut page = Page::default();
    let last = newest(reader)?.min(window.end.saturating_sub(1));
    for at in (epoch(window.start)..=epoch(last)).rev() {
        if at + MAX_EPOCHS == epoch(last) {
            page.next = Some(first_of(at + 1));
            break;
        }
        let key = kind.key(at, word);
        let end = if at == epoch(last) { key.clone().number(last + 1).build() } else { key.clone().prefix().end };
        let start = if at == epoch(window.start) {
            key.clone().number(window.start).build()
        } else {
            key.clone().prefix().start
        };
        if start >= end {
            continue;
        }
        let room = limit - page.records.len();
        let rows = reader.scan(start..end, true, room)?;
        let full = rows.len() == room;
        for (key, _) in &rows {
            let record = reader.get(&record_key(sequence_of(key)))?.and_then(|v| Record::decode(&v).ok());
            page.records.extend(record.filter(|record| is_it(record)));
        }
        if full {
            page.next = rows.last().map(|(key, _)| sequence_of(key));
            break;
        }
    }
    Ok(page)
}

/// Whether an id is the request's: the one that the site gave it, or the client's own.
fn is_request(record: &Record, id: &str) -> bool {
    [&record.correlation_id, &record.request_id].into_iter().any(|own| own == id)
}

fn sequence_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n))
}

/// Sequence of the newest record; 0 where there is none.
fn newest(reader: &dyn Reader) -> Result<u64, StoreError> {
    let last = reader.scan(Table::Audit.key().prefix(), true, 1)?;
    Ok(last.first().map_or(0, |(key, _)| sequence_of(key)))
}

impl Query {
    fn matches(&self, record: &Record) -> bool {
        let is = |want: &str, have: &str| want.is_empty() || want == have;
        let named = || {
            [&record.object, &record.subject].contains(&&self.id) || other_objects(record).any(|word| self.id == word)
        };
        (self.id.is_empty() || named())
            && (self.correlation_id.is_empty() || is_request(record, &self.correlation_id))
            && is(&self.outcome, &record.outcome)
            && is(&self.ods, &record.ods)
            && record.interaction.starts_with(&self.interaction)
            && self.since.is_none_or(|since| record.at >= since)
    }
}

/// First sequence whose record was made at or after `since`: times never fall along the chain, so halving finds it.
pub fn first_at(reader: &dyn Reader, since: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (1, newest(reader)? + 1);
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
    use std::collections::BTreeMap;

    struct Rows(BTreeMap<Bytes, Bytes>);
    impl Rows {
        fn of(ops: Vec<RowOp>) -> Rows {
            let put = |op| match op {
                RowOp::Put { key, value, .. } => Some((key, value)),
                RowOp::Delete { .. } => None,
            };
            Rows(ops.into_iter().filter_map(put).collect())
        }
    }
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
                other: format!("FROM BOX{}", n % 3),
                correlation_id: format!("c{n}"),
                subject: if n % 50 == 7 { "9990000018".into() } else { String::new() },
                ..Default::default()
            };
            chain.push(record, &mut ops);
        }
        Rows::of(ops)
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
        let by_sender = Query { id: "FROM".into(), until: Some(1_003), ..Default::default() };
        assert_eq!(all(&rows, &by_sender, 7), [1, 2, 3], "each word of the other objects is found");
        let of_a_person = Query { id: "9990000018".into(), ..Default::default() };
        assert_eq!(all(&rows, &of_a_person, 1), [8, 58], "who has looked at this person");
        assert_eq!(all(&rows, &Query { correlation_id: "c41".into(), ..Default::default() }, 10), [42]);
        let window =
            Query { since: Some(1_010), until: Some(1_014), interaction: "mesh.s".into(), ..Default::default() };
        assert_eq!(all(&rows, &window, 2), [11, 13]);
        assert_eq!(all(&rows, &Query { id: "nobody".into(), ..Default::default() }, 5), Vec::<u64>::new());
    }

    #[test]
    fn a_word_is_found_in_every_epoch_of_the_index() {
        let (mut chain, mut ops) = (Chain { sequence: first_of(1) - 3, ..Default::default() }, vec![]);
        for n in 0..6 {
            let object = if n % 2 == 0 { "even" } else { "odd" };
            chain.push(Record { object: object.into(), ..Default::default() }, &mut ops);
        }
        chain.sequence = first_of(MAX_EPOCHS + 7);
        chain.push(Record { object: "even".into(), ..Default::default() }, &mut ops);
        let rows = Rows::of(ops);
        let first = first_of(1) - 2;
        let expected = [first, first + 2, first + 4, first_of(MAX_EPOCHS + 7) + 1];
        for limit in [1, 2, 10] {
            assert_eq!(all(&rows, &Query { id: "even".into(), ..Default::default() }, limit), expected);
        }
        for limit in [1, 2, 10] {
            let (mut found, mut before) = (vec![], u64::MAX);
            loop {
                let page = newest_of(&rows, "even", before, limit).unwrap();
                found.extend(page.records.iter().map(|r| r.sequence));
                match page.next {
                    Some(next) => before = next,
                    None => break,
                }
            }
            found.reverse();
            assert_eq!(found, expected);
        }
        let page = search(&rows, &Query { id: "even".into(), ..Default::default() }, 0, 10).unwrap();
        assert!(page.records.len() == 3 && page.next.is_some(), "one page does not look into every epoch");
    }
}
