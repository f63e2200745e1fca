//! What waits in the outboxes that this node delivers, what was set aside as undeliverable, and which timers are late: for
//! metrics and status.
//!
//! Keeps P6: a waiting row is counted once, when a delivery first sees it, and taken off when it is delivered; nothing
//! ever walks over all that waits. A partition counts on the node that leads it, so that a sum over the nodes is the site's.

use super::handle::{Door, Inner};
use super::rows::Mark;
use super::{PartitionId, rows};
use crate::ops::metrics as names;
use crate::seam::World;
use crate::store::{Reader, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Rows that one look counts at most, in pages: what takes some tens of milliseconds. More are counted at the next look.
pub(super) const COUNT_AT_ONCE: usize = 65_536;
pub(super) const COUNT_PAGE: usize = 1_024;
/// Dead letters counted of one partition at most; an operator is needed long before.
const DEAD_AT_MOST: usize = 1_000;
/// Due timers counted of one partition at most: many more than one batch fires, so that a backlog shows.
const DUE_AT_MOST: usize = 1_000;
/// Between two settings of the gauges.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// One outbox, for one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub rows: u64,
    /// When the oldest was sent, in milliseconds since the epoch; 0 where nothing waits or it is not known.
    pub oldest: u64,
}

/// Every outbox that this node delivers now.
#[derive(Default)]
pub(super) struct Board(Mutex<BTreeMap<(u16, u16), Line>>);

impl Board {
    pub fn set(&self, source: PartitionId, target: PartitionId, line: Option<Line>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match line {
            Some(line) => lines.insert((source.0, target.0), line),
            None => lines.remove(&(source.0, target.0)),
        };
    }

    /// All of those whose source is `led` here.
    fn sum(&self, led: impl Fn(u16) -> bool) -> Line {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = || lines.iter().filter(|((source, _), _)| led(*source)).map(|(_, line)| line);
        let oldest = lines().map(|l| l.oldest).filter(|at| *at > 0).min().unwrap_or(0);
        Line { rows: lines().map(|l| l.rows).sum(), oldest }
    }
}

/// How many rows of one outbox wait: those behind what is delivered, up to `upto`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub rows: u64,
    /// Rows up to here are counted.
    pub upto: u64,
}

impl Waiting {
    /// Begins anew behind what is delivered.
    pub fn from(delivered: u64) -> Self {
        Waiting { rows: 0, upto: delivered }
    }

    /// Everything that waits is at hand.
    pub fn all(&mut self, rows: usize, upto: u64) {
        *self = Waiting { rows: rows as u64, upto };
    }

    /// Counts on, page by page; `page` gives how many rows are behind a sequence, and where the last of them stands.
    pub fn count(
        &mut self,
        to: u64,
        mut page: impl FnMut(u64) -> Result<(usize, u64), StoreError>,
    ) -> Result<(), StoreError> {
        for _ in 0..COUNT_AT_ONCE / COUNT_PAGE {
            if self.upto >= to {
                break;
            }
            let (rows, last) = page(self.upto)?;
            self.rows += rows as u64;
            self.upto = if rows < COUNT_PAGE { to } else { last };
        }
        Ok(())
    }

    /// Takes off what is delivered. Where more is than was carried, another leader has carried it: count again.
    pub fn delivered(&mut self, carried: impl Iterator<Item = u64>, upto: u64) {
        let (mut last, mut counted) = (0, 0);
        for sequence in carried {
            last = sequence;
            counted += u64::from(sequence <= upto.min(self.upto));
        }
        if last < upto {
            *self = Waiting::from(upto);
            return;
        }
        self.rows = self.rows.saturating_sub(counted);
        self.upto = self.upto.max(upto);
    }
}

/// What waits on this node for delivery, and what was set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Commands that wait for another partition, of the partitions that this node leads.
    pub waiting: u64,
    /// When the oldest of them was sent, in milliseconds since the epoch; 0 where none waits.
    pub oldest: u64,
    /// Dead letters, as this node has applied them, of all partitions; at most a thousand of each are counted.
    pub dead: u64,
}

impl Inner {
    fn leads(&self, partition: u16) -> bool {
        self.doors.get(usize::from(partition)).is_some_and(|door| door.group.leadership().borrow().leading)
    }

    fn waiting(&self) -> Line {
        self.board.sum(|source| self.leads(source))
    }

    pub(super) fn backlog(&self) -> Backlog {
        let Line { rows, oldest } = self.waiting();
        let dead = self.doors.iter().filter_map(|door| dead_letters(door.slot.rows.as_ref()).ok());
        Backlog { waiting: rows, oldest, dead: dead.sum() }
    }
}

impl Inner {
    pub(super) fn stamps_ahead(&self, door: &Door) -> u64 {
        let reader: &dyn Reader = door.slot.rows.as_ref();
        Mark::load(reader).map_or(0, |mark| self.clocks.ahead(mark.time))
    }
}

fn dead_letters(rows: &dyn Reader) -> Result<u64, StoreError> {
    Ok(rows.scan(rows::dead_letters(), false, DEAD_AT_MOST)?.len() as u64)
}

fn due_timers(rows: &dyn Reader, now: u64) -> Result<u64, StoreError> {
    Ok(rows.scan(rows::due(now), false, DUE_AT_MOST)?.len() as u64)
}

/// Keeps the gauges true for as long as the engine runs. Dead letters and timers count where their partition is led.
pub(super) async fn tell(engine: Arc<Inner>, world: World) {
    loop {
        let Line { rows, oldest } = engine.waiting();
        let now = world.clock.now().0;
        let age = if oldest == 0 { 0 } else { now.saturating_sub(oldest) };
        let led = engine.doors.iter().filter(|door| engine.leads(door.slot.id.0));
        // Rows that cannot be read now are counted by whoever leads next.
        let (mut dead, mut due, mut ahead) = (0, 0, 0);
        for door in led {
            ahead = ahead.max(engine.stamps_ahead(door));
            dead += dead_letters(door.slot.rows.as_ref()).unwrap_or(0);
            due += due_timers(door.slot.rows.as_ref(), now).unwrap_or(0);
        }
        metrics::gauge!(names::OUTBOX_ROWS, "kind" => "partition").set(rows as f64);
        metrics::gauge!(names::OUTBOX_OLDEST_AGE).set(age as f64 / 1000.0);
        metrics::gauge!(names::DEAD_LETTERS).set(dead as f64);
        metrics::gauge!(names::TIMERS_DUE).set(due as f64);
        metrics::gauge!(names::STAMPS_AHEAD).set(ahead as f64 / 1000.0);
        tokio::time::sleep(TOLD_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_counted_once_and_taken_off_once() {
        let mut waiting = Waiting::from(10);
        // 5,000 rows, numbered by twos behind 10.
        let page =
            |after: u64| Ok((((10_010 - after) / 2).min(COUNT_PAGE as u64) as usize, after + 2 * COUNT_PAGE as u64));
        waiting.count(10_010, page).unwrap();
        assert_eq!(waiting, Waiting { rows: 5_000, upto: 10_010 });
        let carried = |from: u64| (from..=128).map(|n| 10 + 2 * n);
        waiting.delivered(carried(1), 10 + 2 * 100);
        assert_eq!(waiting.rows, 4_900, "those that arrived");
        waiting.delivered(carried(101), 10 + 2 * 128);
        assert_eq!(waiting.rows, 4_872);
    }

    #[test]
    fn rows_delivered_before_they_were_counted_and_by_others_are_not_counted() {
        let mut waiting = Waiting::from(0);
        waiting.delivered(1..=3, 3);
        assert_eq!(waiting, Waiting { rows: 0, upto: 3 });
        waiting.all(2, 5);
        waiting.delivered(4..=5, 900);
        assert_eq!(waiting, Waiting::from(900));
        let bound = |_| Ok((COUNT_PAGE, 0));
        waiting.count(u64::MAX, bound).unwrap();
        assert_eq!(waiting.rows, COUNT_AT_ONCE as u64, "one look is bounded");
    }
}
