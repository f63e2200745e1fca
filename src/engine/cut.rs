//! Places of all partitions' logs that fit each other, for a backup: nothing that was sent between partitions is lost between
//! them, and nothing is there twice (P3).
//!
//! At such a cut, for each source and target: what the target has taken, the source has sent; and what the source has
//! cleared away, the target has taken. Each partition tells both in its own rows: its mark, what it took from whom, and up to
//! where it cleared. Where a place does not fit, the partition that is behind goes on, entry by entry, and never another: so
//! the least cut that fits is found, and all of it was committed before the search began.

use super::entry::{Entry, EntryError};
use super::rows::{self, Mark, RowError};
use super::{PartitionId, PartitionMap};
use crate::audit::Chain;
use crate::store::cut::Step;
use crate::store::tables::Table;
use crate::store::{RowOp, StoreError};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::collections::VecDeque;

/// What one partition has sent, taken and cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Where its counters stand.
    mark: Mark,
    /// By source: the highest item taken.
    taken: Vec<u64>,
    /// By target: up to which item the outbox was cleared.
    cleared: Vec<u64>,
}

impl Standing {
    /// As the rows tell it.
    pub fn read(
        map: PartitionMap,
        get: impl Fn(&[u8]) -> Result<Option<Bytes>, StoreError>,
    ) -> Result<Standing, RowError> {
        let mark = get(&rows::mark_key())?.map(|value| Mark::decode(&value)).transpose();
        let mark = mark.map_err(|e| RowError::Row(Table::Meta, e))?.unwrap_or_default();
        let number = |key: Bytes| -> Result<u64, RowError> {
            Ok(get(&key)?.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
        };
        let taken = map.all().map(|source| number(rows::inbound_key(source))).collect::<Result<_, _>>()?;
        let cleared = map.all().map(|target| number(rows::cleared_key(target))).collect::<Result<_, _>>()?;
        Ok(Standing { mark, taken, cleared })
    }

    /// The end of the audit chain.
    pub fn chain(&self) -> Chain {
        self.mark.chain()
    }

    /// As another node tells its own: items sent, taken by source, cleared by target.
    pub fn told(time: u64, sent: u64, taken: Vec<u64>, cleared: Vec<u64>) -> Standing {
        Standing { mark: Mark { time, outbox: sent, ..Default::default() }, taken, cleared }
    }

    /// When the newest decision was stamped, milliseconds since the epoch.
    pub fn time(&self) -> u64 {
        self.mark.time
    }

    /// The newest item sent.
    pub fn sent(&self) -> u64 {
        self.mark.outbox
    }

    /// The highest item taken of a source.
    pub fn taken(&self, source: PartitionId) -> u64 {
        self.taken.get(usize::from(source.0)).copied().unwrap_or(0)
    }

    /// Up to which item the outbox for a target was cleared.
    pub fn cleared(&self, target: PartitionId) -> u64 {
        self.cleared.get(usize::from(target.0)).copied().unwrap_or(0)
    }

    /// Takes an entry's rows.
    pub fn follow(&mut self, ops: &[RowOp]) -> Result<(), RowError> {
        let mark_key = rows::mark_key();
        for op in ops {
            let RowOp::Put { key, value, .. } = op else { continue };
            let number = || value.as_ref().try_into().map(u64::from_be_bytes).unwrap_or(0);
            if key == &mark_key {
                self.mark = Mark::decode(value).map_err(|e| RowError::Row(Table::Meta, e))?;
            } else if key.first() == Some(&(Table::Inbound as u8)) {
                let source = rows::source_of_inbound(key).map_or(usize::MAX, |p| usize::from(p.0));
                if let Some(taken) = self.taken.get_mut(source) {
                    *taken = number();
                }
            } else if let Some(cleared) =
                rows::target_of_cleared(key).and_then(|p| self.cleared.get_mut(usize::from(p.0)))
            {
                *cleared = number();
            }
        }
        Ok(())
    }
}

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("partition {target} has taken item {taken} of partition {source_partition}, which has sent {sent} only")]
    NotSent { source_partition: u16, target: u16, taken: u64, sent: u64 },
    #[error(
        "partition {source_partition} has cleared its items for partition {target} up to {cleared}, which has taken {taken} only"
    )]
    NotTaken { source_partition: u16, target: u16, cleared: u64, taken: u64 },
}

impl Misfit {
    /// The partition that is behind.
    fn behind(&self) -> usize {
        match self {
            Misfit::NotSent { source_partition, .. } => usize::from(*source_partition),
            Misfit::NotTaken { target, .. } => usize::from(*target),
        }
    }
}

/// The first pair of partitions that do not fit each other, in the order of their numbers.
pub fn misfit<'a>(standings: impl Iterator<Item = &'a Standing> + Clone) -> Option<Misfit> {
    misfits_of(standings).into_iter().next()
}

/// All pairs of partitions that do not fit each other, in the order of their numbers.
pub(super) fn misfits_of<'a>(standings: impl Iterator<Item = &'a Standing> + Clone) -> Vec<Misfit> {
    let mut found = vec![];
    for (s, source) in standings.clone().enumerate() {
        for (t, target) in standings.clone().enumerate().filter(|(t, _)| *t != s) {
            let at = |of: &[u64], n: usize| of.get(n).copied().unwrap_or(0);
            let (taken, sent, cleared) = (at(&target.taken, s), source.mark.outbox, at(&source.cleared, t));
            let (source_partition, target) = (s as u16, t as u16);
            if taken > sent {
                found.push(Misfit::NotSent { source_partition, target, taken, sent });
            }
            if cleared > taken {
                found.push(Misfit::NotTaken { source_partition, target, cleared, taken });
            }
        }
    }
    found
}

/// How far one partition may go along its log, where the places are sought from behind: to a moment, and no further than the
/// others have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    time: u64,
    taken: Vec<u64>,
    cleared: Vec<u64>,
}

impl Bound {
    /// Up to the last entry decided at or before a moment.
    pub fn until(time: u64, map: PartitionMap) -> Bound {
        let any = vec![u64::MAX; map.all().count()];
        Bound { time, taken: any.clone(), cleared: any }
    }

    pub fn holds(&self, standing: &Standing) -> bool {
        let within = |of: &[u64], most: &[u64]| of.iter().zip(most).all(|(at, most)| at <= most);
        standing.mark.time <= self.time
            && within(&standing.taken, &self.taken)
            && within(&standing.cleared, &self.cleared)
    }
}

/// Bounds the partition that is ahead of what the other has, of two that do not fit: it has to go back, and the other cannot go
/// on. Repeated until all fit this finds the greatest places that do; what went back was decided after what the other lacks.
pub fn bound(bounds: &mut [Bound], found: Misfit) {
    let (ahead, of, most) = match found {
        Misfit::NotSent { source_partition, target, sent, .. } => (target, source_partition, sent),
        Misfit::NotTaken { source_partition, target, taken, .. } => (source_partition, target, taken),
    };
    let Some(bound) = bounds.get_mut(usize::from(ahead)) else { return };
    let side = if matches!(found, Misfit::NotSent { .. }) { &mut bound.taken } else { &mut bound.cleared };
    if let Some(at) = side.get_mut(usize::from(of)) {
        *at = most.min(*at);
    }
}

/// The rows that a log's entry writes at its place: none, if no decision made it, or it was decided in another term.
pub fn rows_of(payload: &Bytes, term: u64) -> Result<Vec<RowOp>, EntryError> {
    if payload.is_empty() { Ok(vec![]) } else { Entry::read(payload)?.rows_in(term) }
}

/// One partition on the way to its place.
pub struct Line {
    pub standing: Standing,
    /// Entries that are applied behind it.
    pub waiting: VecDeque<Step>,
    /// Entries that belong before its place.
    pub steps: Vec<Step>,
}

impl Line {
    pub fn at(standing: Standing) -> Line {
        Line { standing, waiting: VecDeque::new(), steps: vec![] }
    }
}

/// Moves the lines on until they fit. The misfit that is left where a partition has to go on, and nothing more of it is there yet.
pub fn fit(lines: &mut [Line]) -> Result<Option<Misfit>, RowError> {
    loop {
        let Some(found) = misfit(lines.iter().map(|line| &line.standing)) else { return Ok(None) };
        let Some(line) = lines.get_mut(found.behind()) else { return Ok(Some(found)) };
        let Some(step) = line.waiting.pop_front() else { return Ok(Some(found)) };
        line.standing.follow(&step.rows)?;
        line.steps.push(step);
    }
}

/// The mark, and the rows of a record at the end of the chain: what a restored partition begins with.
pub fn with_record(standing: &Standing, partition: PartitionId, record: crate::audit::Record) -> (Mark, Vec<RowOp>) {
    let mut mark = standing.mark.clone();
    mark.time = mark.time.max(record.at);
    let mut chain = mark.chain();
    let mut ops = vec![];
    let record = crate::audit::Record { at: mark.time, object: partition.0.to_string(), ..record };
    chain.push(record, &mut ops);
    (mark.audit_sequence, mark.audit_hash) = (chain.sequence, chain.hash);
    ops.push(RowOp::Put { key: rows::mark_key(), value: mark.encode(), fresh: false });
    (mark, ops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Applied;

    const MAP: PartitionMap = PartitionMap { partitions: 1 };

    fn put(key: Bytes, value: Bytes) -> RowOp {
        RowOp::Put { key, value, fresh: false }
    }
    fn number(n: u64) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }
    fn sent(n: u64) -> RowOp {
        put(rows::mark_key(), Mark { outbox: n, ..Default::default() }.encode())
    }
    fn taken(n: u64) -> RowOp {
        put(rows::inbound_key(PartitionId(0)), number(n))
    }
    fn cleared(n: u64) -> RowOp {
        put(rows::cleared_key(PartitionId(1)), number(n))
    }
    fn step(index: u64, op: RowOp) -> Step {
        Step { at: Applied { index, ..Default::default() }, rows: vec![op] }
    }
    fn line(ops: &[RowOp]) -> Line {
        let mut line = Line::at(Standing::read(MAP, |_| Ok(None)).unwrap());
        line.standing.follow(ops).unwrap();
        line
    }

    #[test]
    fn the_partition_that_is_behind_goes_on_to_the_entry_and_no_further() {
        // The target has taken what its source, as it is known here, has not sent yet; the source then says that it cleared more
        // than the target has taken.
        let mut lines = [line(&[sent(3)]), line(&[taken(5)])];
        lines[0].waiting.extend([step(1, sent(4)), step(2, cleared(7)), step(3, sent(5)), step(4, sent(9))]);
        let left = fit(&mut lines).unwrap();
        assert_eq!(
            left,
            Some(Misfit::NotTaken { source_partition: 0, target: 1, cleared: 7, taken: 5 }),
            "waits for more"
        );
        lines[1].waiting.extend([step(1, taken(6)), step(2, taken(8)), step(3, taken(9))]);
        assert_eq!(fit(&mut lines).unwrap(), None);
        let places: Vec<usize> = lines.iter().map(|line| line.steps.len()).collect();
        assert_eq!((places, lines[0].waiting.len(), lines[1].waiting.len()), (vec![4, 2], 0, 1));
    }

    #[test]
    fn sought_from_behind_whoever_is_ahead_of_the_other_goes_back_and_the_other_stays() {
        let at = |time, outbox| put(rows::mark_key(), Mark { time, outbox, ..Default::default() }.encode());
        // The target has taken what its source sends in the entry behind the bound; the source has cleared no more than was taken.
        let logs = [vec![vec![at(10, 3)], vec![at(20, 4)]], vec![vec![taken(3)], vec![taken(4)], vec![at(12, 0)]]];
        let walk = |bounds: &[Bound]| -> Vec<(usize, Standing)> {
            let along = |(log, bound): (&Vec<Vec<RowOp>>, &Bound)| {
                let (mut place, mut standing) = (0, line(&[]).standing);
                for ops in log {
                    let mut next = standing.clone();
                    next.follow(ops).unwrap();
                    if !bound.holds(&next) {
                        break;
                    }
                    (place, standing) = (place + 1, next);
                }
                (place, standing)
            };
            logs.iter().zip(bounds).map(along).collect()
        };
        let mut bounds = vec![Bound::until(15, MAP); 2];
        let mut reached = walk(&bounds);
        assert_eq!(reached.iter().map(|r| r.0).collect::<Vec<_>>(), [1, 3], "as the moment has them");
        let mut rounds = 0;
        while let Some(found) = misfit(reached.iter().map(|r| &r.1)) {
            bound(&mut bounds, found);
            reached = walk(&bounds);
            rounds += 1;
        }
        assert_eq!((reached.iter().map(|r| r.0).collect::<Vec<_>>(), rounds), (vec![1, 1], 1));
        let cleared = Misfit::NotTaken { source_partition: 0, target: 1, cleared: 7, taken: 5 };
        bound(&mut bounds, cleared);
        assert_eq!(
            (bounds[0].cleared[1], bounds[1].cleared[0]),
            (5, u64::MAX),
            "a source that cleared too much goes back"
        );
    }

    #[test]
    fn rows_and_entries_tell_the_same_standing() {
        let ops = [sent(3), taken(2), cleared(1)];
        let stored = |key: &[u8]| {
            let found = ops.iter().find(|op| op.key() == key);
            Ok(found.and_then(|op| match op {
                RowOp::Put { value, .. } => Some(value.clone()),
                RowOp::Delete { .. } => None,
            }))
        };
        assert_eq!(Standing::read(MAP, stored).unwrap(), line(&ops).standing);
    }

    #[test]
    fn a_record_continues_the_chain() {
        let standing = line(&[sent(3)]).standing;
        let record = |at| crate::audit::Record { at, interaction: "backup.restore".into(), ..Default::default() };
        let (mark, ops) = with_record(&standing, PartitionId(1), record(77));
        assert_eq!((mark.outbox, mark.audit_sequence, mark.time), (3, 1, 77));
        let key = crate::audit::record_key(1);
        let RowOp::Put { value, .. } = ops.iter().find(|op| *op.key() == key).unwrap() else { panic!("a record") };
        let mut chain = Chain::default();
        assert!(chain.follow(&crate::audit::Record::decode(value).unwrap(), value));
        assert_eq!(chain, mark.chain());
    }
}
