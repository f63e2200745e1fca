//! Layers read as one: the active table over the frozen one over the blocks, in either direction.

use super::memory::Table;
use bytes::Bytes;
use std::{cmp::Ordering, ops::Range};

/// Changes of the tables in a range, in reading order, and whether there are more behind the last.
pub struct Gathered {
    pub changes: Vec<(Bytes, Option<Bytes>)>,
    pub stopped: bool,
}

/// Takes up to `limit` changes of a range from two tables; the first hides the second.
pub fn gather(over: &Table, under: Option<&Table>, range: &Range<Bytes>, reverse: bool, limit: usize) -> Gathered {
    let part = |table: &Table| {
        let rows = table.range(&range.start, Some(&range.end));
        let one_more = limit.saturating_add(1);
        let mut rows: Vec<_> =
            if reverse { rows.rev().take(one_more).collect() } else { rows.take(one_more).collect() };
        let stopped = rows.len() > limit;
        rows.truncate(limit);
        (rows, stopped)
    };
    let (upper, upper_stopped) = part(over);
    let Some(under) = under else { return Gathered { changes: upper, stopped: upper_stopped } };
    let (lower, lower_stopped) = part(under);
    let horizon = nearer(
        upper.last().filter(|_| upper_stopped).map(|(k, _)| k.clone()),
        lower.last().filter(|_| lower_stopped).map(|(k, _)| k.clone()),
        reverse,
    );
    let mut changes = merge(upper, lower, reverse);
    if let Some(horizon) = &horizon {
        changes.retain(|(key, _)| order(key, horizon, reverse) != Ordering::Greater);
    }
    Gathered { changes, stopped: horizon.is_some() }
}

/// Key order in reading direction.
pub fn order(a: &Bytes, b: &Bytes, reverse: bool) -> Ordering {
    if reverse { b.cmp(a) } else { a.cmp(b) }
}

/// Whichever horizon comes first in reading direction.
pub fn nearer(a: Option<Bytes>, b: Option<Bytes>, reverse: bool) -> Option<Bytes> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if order(&a, &b, reverse) == Ordering::Greater { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// Merges two lists that are sorted in reading direction; where both have a key, the first wins.
pub fn merge<V>(over: Vec<(Bytes, V)>, under: Vec<(Bytes, V)>, reverse: bool) -> Vec<(Bytes, V)> {
    let mut out = Vec::with_capacity(over.len() + under.len());
    let mut under = under.into_iter().peekable();
    for (key, value) in over {
        while let Some(row) = under.next_if(|(k, _)| order(k, &key, reverse) == Ordering::Less) {
            out.push(row);
        }
        under.next_if(|(k, _)| *k == key);
        out.push((key, value));
    }
    out.extend(under);
    out
}
