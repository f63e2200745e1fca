//! Delivering the outbox: one task per pair of partitions carries items over, in order, while this node leads the
//! source. At least once on the way; once in effect, by the mark that the target keeps in the same entry.

use super::backlog::{COUNT_PAGE, Line, Waiting};
use super::errand::{self, DELETE_AT_ONCE, Errand, Report};
use super::handle::Inner;
use super::rows::{self, Mark};
use super::{Command, PartitionId, services};
use crate::engine::draft::OutboxItem;
use crate::model::TraceContext;
use crate::ops::metrics as names;
use crate::seam::spans::{self, Side};
use crate::store::StoreError;
use crate::wire::record::Record as _;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Items in one delivery, and their bytes.
const ITEMS: usize = 128;
const BYTES: usize = 512 << 10;
/// A look without being told, should a ring be missed by a change of leader.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Pauses after a failed delivery.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Faults of one item before it is set aside as a dead letter, so that those behind it go on.
const FAULTS: u32 = 5;

/// What one look found.
struct Load {
    items: Vec<OutboxItem>,
    /// Rows found, of which `items` are those that one delivery takes.
    rows: usize,
    /// Whether nothing waits beyond those rows.
    whole: bool,
    /// The newest item that there may be.
    to: u64,
}

/// Carries items of `source` to `target`.
pub(super) struct Deliverer {
    engine: Arc<Inner>,
    source: PartitionId,
    target: PartitionId,
    /// Highest sequence known to be applied in the target.
    upto: u64,
    /// Rows up to here are cleared away.
    cleared: u64,
    faulted: (u64, u32),
    waiting: Waiting,
    /// The reign that `waiting` was counted in.
    reign: Option<u64>,
}

impl Deliverer {
    pub fn new(engine: Arc<Inner>, source: PartitionId, target: PartitionId) -> Self {
        let waiting = Waiting::from(0);
        Deliverer { engine, source, target, upto: 0, cleared: 0, faulted: (0, 0), waiting, reign: None }
    }

    pub async fn run(mut self) {
        let door = &self.engine.doors[usize::from(self.source.0)];
        let mut leadership = door.group.leadership();
        let mut rung = door.slot.outbox.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let now = *leadership.borrow_and_update();
            if !now.leading {
                self.engine.board.set(self.source, self.target, None);
                if leadership.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if self.reign.replace(now.reign) != Some(now.reign) {
                self.waiting = Waiting::from(self.upto);
            }
            rung.borrow_and_update();
            match self.carry().await {
                Ok(true) => pause = FIRST_PAUSE,
                Ok(false) => {
                    pause = FIRST_PAUSE;
                    if !self.idle(&mut rung).await {
                        return;
                    }
                }
                Err(()) => {
                    metrics::counter!(names::DELIVERY_ATTEMPTS, "kind" => "partition", "outcome" => "failed")
                        .increment(1);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Waits for more to carry. `false` when the engine is gone.
    async fn idle(&self, rung: &mut watch::Receiver<u64>) -> bool {
        !matches!(tokio::time::timeout(LOOK_AGAIN, rung.changed()).await, Ok(Err(_)))
    }

    /// Delivers one load. `Ok(false)` when there was nothing.
    async fn carry(&mut self) -> Result<bool, ()> {
        let source = self.source.0;
        let unreadable = |e: rows::RowError| {
            tracing::error!(event = "engine.outbox.unreadable", partition = source, error = %e);
        };
        let load = self.load().map_err(unreadable)?;
        self.count(&load).map_err(|e| unreadable(e.into()))?;
        let items = load.items;
        if items.is_empty() {
            self.clear().await?;
            return Ok(false);
        }
        let set_aside = if self.faulted.1 >= FAULTS { self.faulted.0 } else { 0 };
        let carried: Vec<(u64, u64)> = items.iter().map(|item| (item.sequence, item.at)).collect();
        let above = items.iter().filter_map(|item| TraceContext::decode(&item.trace));
        let steps: Vec<_> = above.filter_map(|above| spans::begin(Some(above), "engine.deliver", Side::Asks)).collect();
        let errand = Errand { kind: errand::DELIVER, partition: self.source.0, items, set_aside, ..Default::default() };
        let report = self.give(self.target, errand).await?;
        drop(steps);
        self.waiting.delivered(carried.iter().map(|(sequence, _)| *sequence), report.upto);
        self.tell(carried.iter().find(|(sequence, _)| *sequence > report.upto).map(|(_, at)| *at));
        metrics::counter!(names::DELIVERY_ATTEMPTS, "kind" => "partition", "outcome" => "ok").increment(1);
        self.upto = self.upto.max(report.upto);
        if self.upto >= self.cleared + DELETE_AT_ONCE as u64 / 2 {
            self.clear().await?;
        }
        if report.faulted != 0 {
            let before = if self.faulted.0 == report.faulted { self.faulted.1 } else { 0 };
            self.faulted = (report.faulted, before + 1);
            return Err(());
        }
        Ok(true)
    }

    /// The next items, in order. Only up to the mark: rows behind it may still be on their way into the store.
    fn load(&self) -> Result<Load, rows::RowError> {
        let reader = self.engine.doors[usize::from(self.source.0)].slot.rows.as_ref();
        let to = Mark::load(reader)?.outbox;
        let found = reader.scan(rows::outbox_range(self.target, self.upto, to), false, ITEMS)?;
        let (mut items, mut bytes, rows) = (vec![], 0, found.len());
        for (_, value) in found {
            bytes += value.len();
            items.push(
                OutboxItem::decode(&value).map_err(|e| rows::RowError::Row(crate::store::tables::Table::Outbox, e))?,
            );
            if bytes > BYTES {
                break;
            }
        }
        Ok(Load { whole: rows < ITEMS, rows, items, to })
    }

    /// Counts what waits, as far as it is not counted yet.
    fn count(&mut self, load: &Load) -> Result<(), StoreError> {
        if load.whole {
            self.waiting.all(load.rows, load.to);
        } else {
            let (engine, source, target) = (&self.engine, self.source, self.target);
            let reader = engine.doors[usize::from(source.0)].slot.rows.as_ref();
            self.waiting.count(load.to, |after| {
                let page = reader.scan(rows::outbox_range(target, after, load.to), false, COUNT_PAGE)?;
                Ok((page.len(), page.last().map_or(after, |(key, _)| rows::sequence_of(key))))
            })?;
        }
        self.tell(load.items.first().map(|item| item.at));
        Ok(())
    }

    /// Says what waits, and since when.
    fn tell(&self, oldest: Option<u64>) {
        let line = Line { rows: self.waiting.rows, oldest: oldest.unwrap_or(0) };
        self.engine.board.set(self.source, self.target, Some(line));
    }

    /// Clears away rows of items that are applied in the target.
    async fn clear(&mut self) -> Result<(), ()> {
        let upto = self.upto;
        while self.cleared < upto {
            let left = self.left(upto).map_err(|e| {
                tracing::error!(event = "engine.outbox.unreadable", partition = self.source.0, error = %e);
            })?;
            if left == 0 {
                self.cleared = upto;
                break;
            }
            let errand = Errand { kind: errand::DELIVERED, partition: self.target.0, upto, ..Default::default() };
            self.give(self.source, errand).await?;
        }
        Ok(())
    }

    fn left(&self, upto: u64) -> Result<usize, StoreError> {
        let reader = self.engine.doors[usize::from(self.source.0)].slot.rows.as_ref();
        Ok(reader.scan(rows::outbox_range(self.target, 0, upto), false, 1)?.len())
    }

    async fn give(&self, to: PartitionId, errand: Errand) -> Result<Report, ()> {
        let command = Command { service: services::ENGINE.0, payload: errand.encode(), ..Default::default() };
        let outcome = self.engine.submit_to(to, command).await.map_err(|why| {
            tracing::debug!(event = "engine.outbox.waits", source = self.source.0, target = self.target.0, %why);
        })?;
        if outcome.reply.is_empty() {
            return Ok(Report::default());
        }
        Report::decode(&outcome.reply).map_err(drop)
    }
}
