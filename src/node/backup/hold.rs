//! How far this node's log may be cut while it is archived, and how the archive stands. What is not archived yet stays in the log, within
//! a bound: beyond it the log is cut all the same, and the archive ends (P6). Apart from whoever writes the archive, so that a
//! disk that does not answer holds nothing for good.

use crate::{
    node::{Node, rooms::Rooms},
    ops::{codes, metrics as names},
    seam::fs::blocking,
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// How an archive stands, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// The backup that it is behind.
    pub backup: PathBuf,
    /// Up to which moment points can be had, milliseconds since the epoch; 0: none yet.
    pub until: u64,
    /// Why it ended.
    pub gap: Option<String>,
}

/// A place in one partition's log behind which nothing goes.
#[derive(Clone, Copy)]
struct Hold {
    index: u64,
    /// Log bytes behind it when it was taken, and those applied until then: what waits is counted from the log itself, and never
    /// begins anew while the place stands.
    behind: u64,
    applied: u64,
}

#[derive(Default)]
struct State {
    /// What was found of the newest backup; the inner `None`: nothing is archived.
    chosen: Option<Option<Stand>>,
    trouble: Option<String>,
    /// Entries that are archived, by partition.
    reach: Option<Vec<u64>>,
    /// What is held now, by partition; empty before the first look.
    held: Vec<Hold>,
    /// More waits than is held.
    over: bool,
    /// Backups that had been begun, all of them ended, when the newest was last looked for.
    settled: u64,
}

#[derive(Default)]
pub struct ArchiveDesk(Mutex<State>);

impl ArchiveDesk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands, and what is in its way now.
    pub fn told(&self) -> (Option<Stand>, Option<String>) {
        let state = self.state();
        (state.chosen.clone().flatten(), state.trouble.clone())
    }

    /// The log is to be archived; so far it is nowhere.
    pub fn begun(&self) {
        metrics::gauge!(names::BACKUP_ARCHIVED).set(0.0);
    }

    /// What was archived: up to these entries.
    pub fn archived(&self, stand: Stand, reach: Vec<u64>) {
        metrics::gauge!(names::BACKUP_ARCHIVED).set(stand.until as f64 / 1000.0);
        metrics::gauge!(names::BACKUP_ARCHIVE_GAP).set(f64::from(u8::from(stand.gap.is_some())));
        let mut state = self.state();
        state.reach = stand.gap.is_none().then_some(reach);
        state.chosen = Some(Some(stand));
    }

    /// There is no backup whose log could be archived.
    pub fn nothing(&self) {
        let mut state = self.state();
        (state.chosen, state.reach) = (Some(None), None);
    }

    /// Whether more waits to be archived than is held.
    pub fn over(&self) -> bool {
        self.state().over
    }

    /// So many backups were begun and have ended, and the newest is the one that is archived now.
    pub fn settled(&self, begun: u64) {
        self.state().settled = begun;
    }

    /// Takes note of what is in the way; true where that is news.
    pub fn trouble(&self, why: Option<String>) -> bool {
        let mut state = self.state();
        let news = state.trouble != why;
        state.trouble = why;
        news
    }

    /// The last entry that may be cut, by partition; `None` where more would be held than `most` bytes. From when a backup is
    /// begun until its log is archived what is held stays as it is: nothing behind its places may go. `behind` counts the log's bytes
    /// behind an entry of a partition.
    fn step(
        &self,
        applied: &[(u64, u64)],
        begun: u64,
        most: u64,
        behind: impl Fn(usize, u64) -> u64,
    ) -> Option<Vec<u64>> {
        let mut state = self.state();
        let first = state.held.is_empty();
        let next = match (&state.reach, &state.chosen) {
            (Some(reach), _) => Some(reach.clone()),
            (None, Some(_)) => Some(applied.iter().map(|(index, _)| *index).collect()),
            // Nobody has looked yet what is archived: all is held.
            (None, None) => first.then(|| vec![0; applied.len()]),
        };
        if let Some(next) = next.filter(|_| first || begun == state.settled) {
            let old = std::mem::take(&mut state.held);
            let taken = next.into_iter().zip(applied).enumerate();
            let taken = taken.map(|(n, (index, (_, applied)))| match old.get(n) {
                Some(held) if held.index == index => *held,
                _ => Hold { index, behind: behind(n, index), applied: *applied },
            });
            state.held = taken.collect();
        }
        let waits = applied.iter().zip(&state.held);
        let bytes: u64 = waits.map(|((_, now), held)| held.behind + now.saturating_sub(held.applied)).sum();
        state.over = bytes > most;
        (!state.over).then(|| state.held.iter().map(|held| held.index).collect())
    }
}

/// Keeps the log as long as it is to be kept.
pub async fn watch(node: &Arc<Node>, rooms: &Rooms) {
    let (most, reserve) = (node.settings.backup.archive_hold, node.settings.storage.disk_reserve);
    let reserve = reserve.saturating_add(reserve / 4);
    let (mut tick, mut holds) = (tokio::time::interval(LOOK), true);
    loop {
        tick.tick().await;
        let applied: Vec<(u64, u64)> =
            rooms.groups.iter().map(|group| (*group.applied().borrow(), group.applied_bytes())).collect();
        // After the look at what is applied: a backup that begins now has all of that.
        let (_, begun) = node.backups.begun();
        // With the data disk nearly full nothing is held: the site goes on, the archive ends.
        let data = node.settings.node.data.clone();
        let free = blocking(&node.world.fs, move |fs| fs.space(&data)).await.map_or(u64::MAX, |(free, _)| free);
        let most = if free < reserve { 0 } else { most };
        let held = node.archive.step(&applied, begun, most, |n, index| rooms.groups[n].bytes_behind(index));
        if held.is_none() && holds {
            tracing::error!(
                event = "backup.archive_unheld",
                code = codes::ARCHIVE_GAP.code,
                free,
                "more of the log waits than backup.archive_hold (which one backup's log must not reach), or the disk is nearly full: it is cut"
            );
        }
        holds = held.is_some();
        for (n, group) in rooms.groups.iter().enumerate() {
            let upto = held.as_ref().and_then(|held| held.get(n).copied());
            group.hold_log(upto.unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(gap: Option<&str>) -> Stand {
        Stand { until: 1, gap: gap.map(Into::into), ..Default::default() }
    }

    /// Nothing is in the log but what is applied from now on.
    fn empty(_: usize, _: u64) -> u64 {
        0
    }

    #[test]
    fn what_is_not_archived_is_held_and_a_backup_that_is_made_holds_what_was() {
        let desk = ArchiveDesk::default();
        let step = |applied: [(u64, u64); 2], begun| desk.step(&applied, begun, 100, empty);
        assert_eq!(step([(7, 0), (9, 0)], 0), Some(vec![0, 0]), "nobody has looked yet");
        desk.nothing();
        assert_eq!(step([(8, 10), (9, 10)], 0), Some(vec![8, 9]), "no backup: a new one has all of that");
        assert_eq!(step([(20, 50), (9, 10)], 1), Some(vec![8, 9]), "one is being made");
        desk.archived(stand(None), vec![15, 9]);
        assert_eq!(step([(30, 60), (9, 10)], 1), Some(vec![8, 9]));
        desk.settled(1);
        assert_eq!(step([(30, 60), (9, 10)], 1), Some(vec![15, 9]), "and its log is archived now");
        desk.archived(stand(Some("gone")), vec![15, 9]);
        assert_eq!(step([(31, 60), (9, 10)], 1), Some(vec![31, 9]), "nothing follows a gap");
    }

    #[test]
    fn no_more_is_held_than_was_agreed_to() {
        let desk = ArchiveDesk::default();
        desk.archived(stand(None), vec![5, 5]);
        assert_eq!(desk.step(&[(5, 0), (5, 0)], 0, 100, empty), Some(vec![5, 5]));
        assert_eq!(desk.step(&[(9, 60), (9, 40)], 0, 100, empty), Some(vec![5, 5]));
        assert_eq!(desk.step(&[(9, 61), (9, 40)], 0, 100, empty), None, "whoever writes the archive is stuck");
        // It tries again, and gets no further: the disk is full.
        desk.archived(stand(None), vec![5, 5]);
        assert_eq!(desk.step(&[(9, 61), (9, 40)], 0, 100, empty), None, "and what waits does not begin anew");
        assert!(desk.over());
        assert_eq!(desk.step(&[(9, 61), (9, 40)], 1, 100, empty), None);
        desk.archived(stand(None), vec![9, 9]);
        assert_eq!(desk.step(&[(9, 61), (9, 40)], 0, 100, empty), Some(vec![9, 9]), "it goes on");
    }

    #[test]
    fn a_node_that_starts_again_counts_what_waits_already() {
        let desk = ArchiveDesk::default();
        desk.archived(stand(None), vec![5, 7]);
        let log = |n: usize, index: u64| [(9 - index) * 10, (12 - index) * 10][n];
        assert_eq!(desk.step(&[(9, 0), (12, 0)], 0, 90, log), Some(vec![5, 7]));
        assert_eq!(desk.step(&[(10, 1), (12, 0)], 0, 90, log), None);
    }

    #[test]
    fn the_same_trouble_is_told_once() {
        let desk = ArchiveDesk::default();
        let told: Vec<bool> = [Some("full"), Some("full"), None, None, Some("full")]
            .map(|why| desk.trouble(why.map(Into::into)))
            .to_vec();
        assert_eq!(told, [true, false, true, false, true]);
    }
}
