//! One word's records of several partitions as one list, newest first, in pages of bounded work (P4, P6): "who has looked
//! at this person", "what has this user done".
//!
//! Order: time, partition, sequence. Times never fall along a chain, so a position in the list is a position in each chain,
//! and a page can go on where the last one ended without either skipping or repeating a record.

use super::record::{Indexed, Record};
use super::search::{first_at, newest_first};
use crate::store::{Reader, StoreError};
use crate::wire::record::Record as _;

/// Index pages read of one partition for one page of the list: what a rare second condition may cost.
const MAX_ROUNDS: usize = 8;

/// What the list is of.
pub struct Wanted<'a> {
    pub kind: Indexed,
    pub word: &'a str,
    /// Milliseconds since the epoch, inclusive.
    pub since: Option<u64>,
    /// Milliseconds since the epoch, exclusive.
    pub until: Option<u64>,
    /// What else must hold of a record.
    pub keep: &'a dyn Fn(&Record) -> bool,
}

/// A place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Milliseconds since the epoch.
    pub at: u64,
    pub partition: u16,
    pub sequence: u64,
}

impl Cursor {
    /// As it stands in a link.
    pub fn text(self) -> String {
        format!("{}-{}-{}", self.at, self.partition, self.sequence)
    }
    pub fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.split('-');
        let at = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let sequence = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Cursor { at, partition, sequence })
    }
}

/// A page of the list.
#[derive(Debug, Default)]
pub struct Stretch {
    /// With their partitions.
    pub records: Vec<(u16, Record)>,
    /// What lies before this is not in the page; `None` at the list's end. A page may be empty and yet not be the last.
    pub next: Option<Cursor>,
}

/// Up to `limit` records before a place in the list, or from its beginning. `views`: partitions' numbers and rows.
pub fn timeline(
    views: &[(u16, &dyn Reader)],
    wanted: &Wanted<'_>,
    before: Option<Cursor>,
    limit: usize,
) -> Result<Stretch, StoreError> {
    let mut found: Vec<(Cursor, Record)> = vec![];
    // Below this place not every partition was looked at.
    let mut floor: Option<Cursor> = None;
    for (partition, reader) in views {
        let unseen = one_partition(*partition, *reader, wanted, before, limit, &mut found)?;
        floor = floor.max(unseen);
    }
    found.retain(|(place, _)| floor.is_none_or(|floor| *place >= floor));
    found.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    let mut next = floor;
    if found.len() > limit {
        found.truncate(limit);
        next = found.last().map(|(place, _)| *place);
    }
    Ok(Stretch { records: found.into_iter().map(|(place, record)| (place.partition, record)).collect(), next })
}

/// Adds a partition's newest records; gives the place below which there may be more.
fn one_partition(
    partition: u16,
    reader: &dyn Reader,
    wanted: &Wanted<'_>,
    before: Option<Cursor>,
    limit: usize,
    found: &mut Vec<(Cursor, Record)>,
) -> Result<Option<Cursor>, StoreError> {
    let from = wanted.since.map_or(Ok(1), |since| first_at(reader, since))?;
    let mut end = wanted.until.map_or(Ok(u64::MAX), |until| first_at(reader, until))?;
    if let Some(before) = before {
        end = end.min(match before.partition.cmp(&partition) {
            std::cmp::Ordering::Equal => before.sequence,
            // What this partition has of the same moment comes later in the list, or has been shown.
            std::cmp::Ordering::Greater => first_at(reader, before.at.saturating_add(1))?,
            std::cmp::Ordering::Less => first_at(reader, before.at)?,
        });
    }
    let place = |record: &Record| Cursor { at: record.at, partition, sequence: record.sequence };
    let mut kept = 0;
    for _ in 0..MAX_ROUNDS {
        if from >= end {
            return Ok(None);
        }
        let page = newest_first(reader, wanted.kind, wanted.word, from..end, limit)?;
        for record in page.records {
            if (wanted.keep)(&record) {
                found.push((place(&record), record));
                kept += 1;
            }
            if kept == limit {
                return Ok(found.last().map(|(place, _)| *place));
            }
        }
        match page.next {
            Some(next) => end = next,
            None => return Ok(None),
        }
    }
    let last = reader.get(&super::record_key(end))?.and_then(|value| Record::decode(&value).ok());
    Ok(last.as_ref().map(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Chain;
    use crate::store::RowOp;
    use bytes::Bytes;
    use std::{collections::BTreeMap, ops::Range};

    #[derive(Default)]
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

    /// Three partitions in which things happen at the same moments; every fifth record is about the person.
    fn site() -> (Vec<Rows>, Vec<(u64, u16, u64)>) {
        let mut all = vec![];
        let mut told = vec![];
        for partition in 1..=3u16 {
            let (mut chain, mut ops) = (Chain::default(), vec![]);
            for n in 0..200u64 {
                let at = 1_000 + n / 7;
                let hers = n % 5 == u64::from(partition);
                let record = Record {
                    at,
                    subject: if hers { "9990000018".into() } else { String::new() },
                    user: format!("{}", n % 3),
                    ..Default::default()
                };
                chain.push(record, &mut ops);
                if hers {
                    told.push((at, partition, n + 1));
                }
            }
            let put = |op| match op {
                RowOp::Put { key, value, .. } => Some((key, value)),
                RowOp::Delete { .. } => None,
            };
            all.push(Rows(ops.into_iter().filter_map(put).collect()));
        }
        told.sort_unstable();
        told.reverse();
        (all, told)
    }

    fn walk(rows: &[Rows], wanted: &Wanted<'_>, limit: usize) -> Vec<(u64, u16, u64)> {
        let views: Vec<(u16, &dyn Reader)> = rows.iter().zip(1..).map(|(r, p)| (p, r as &dyn Reader)).collect();
        let (mut seen, mut before) = (vec![], None);
        loop {
            let stretch = timeline(&views, wanted, before, limit).unwrap();
            assert!(stretch.records.len() <= limit);
            seen.extend(stretch.records.iter().map(|(p, r)| (r.at, *p, r.sequence)));
            match stretch.next {
                Some(next) => before = Cursor::parse(&next.text()),
                None => return seen,
            }
        }
    }

    #[test]
    fn pages_of_any_length_join_to_the_one_list() {
        let (rows, told) = site();
        let all = Wanted { kind: Indexed::Id, word: "9990000018", since: None, until: None, keep: &|_| true };
        for limit in [1, 2, 7, 50, 1_000] {
            assert_eq!(walk(&rows, &all, limit), told, "{limit} at once");
        }
        let window = Wanted { since: Some(1_005), until: Some(1_011), ..all };
        let inside: Vec<_> = told.iter().copied().filter(|(at, ..)| (1_005..1_011).contains(at)).collect();
        for limit in [1, 3, 50] {
            assert_eq!(walk(&rows, &window, limit), inside);
        }
    }

    #[test]
    fn a_second_condition_costs_pages_and_no_records() {
        let (rows, told) = site();
        let by_one = |record: &Record| record.user == "1";
        let wanted = Wanted { kind: Indexed::Id, word: "9990000018", since: None, until: None, keep: &by_one };
        let expected: Vec<_> = told.iter().copied().filter(|(_, _, n)| (n - 1) % 3 == 1).collect();
        assert!(!expected.is_empty());
        for limit in [1, 2, 40] {
            assert_eq!(walk(&rows, &wanted, limit), expected);
        }
        let of_the_user = Wanted { kind: Indexed::Actor, word: "1", since: None, until: None, keep: &|_| true };
        assert_eq!(walk(&rows, &of_the_user, 9).len(), 3 * 67, "what has this user done");
        assert!(walk(&rows, &Wanted { word: "nobody", ..of_the_user }, 9).is_empty());
    }
}
