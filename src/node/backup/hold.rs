//! How far this node's log may be cut while it is archived, and how the archive stands. What is not archived yet stays in the log, within
//! a bound: beyond it the log is cut all the same, and the archive ends (P6). Apart from whoever writes the archive, so that a
//! disk that does not answer holds nothing for good.

use crate::{
    node::{Node, rooms::Rooms},
    ops::{codes, metrics as names},
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

#[derive(Default)]
struct State {
    /// What was found of the newest backup; the inner `None`: nothing is archived.
    chosen: Option<Option<Stand>>,
    trouble: Option<String>,
    /// Entries that are archived, by partition, and the log bytes applied when that was known to be all.
    reach: Option<(Vec<u64>, Vec<u64>)>,
    /// What is held now, and since how many bytes.
    held: Option<(Vec<u64>, Vec<u64>)>,
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

    /// What was archived: up to these entries, all that had been applied when `bytes` had.
    pub fn archived(&self, stand: Stand, reach: Vec<u64>, bytes: Vec<u64>) {
        if stand.until > 0 {
            metrics::gauge!(names::BACKUP_ARCHIVED).set(stand.until as f64 / 1000.0);
        }
        metrics::gauge!(names::BACKUP_ARCHIVE_GAP).set(f64::from(u8::from(stand.gap.is_some())));
        let mut state = self.state();
        state.reach = stand.gap.is_none().then_some((reach, bytes));
        state.chosen = Some(Some(stand));
    }

    /// There is no backup whose log could be archived.
    pub fn nothing(&self) {
        metrics::gauge!(names::BACKUP_ARCHIVE_GAP).set(0.0);
        let mut state = self.state();
        (state.chosen, state.reach) = (Some(None), None);
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
    /// begun until its log is archived what is held stays as it is: nothing behind its places may go.
    fn step(&self, applied: &[(u64, u64)], begun: u64, most: u64) -> Option<Vec<u64>> {
        let mut state = self.state();
        let now = || applied.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>();
        let next = match (&state.reach, &state.chosen) {
            (Some(archived), _) => Some(archived.clone()),
            (None, Some(_)) => Some((applied.iter().map(|(index, _)| *index).collect(), now())),
            (None, None) => None,
        };
        if let Some(next) = next.filter(|_| begun == state.settled || state.held.is_none()) {
            state.held = Some(next);
        }
        // Nobody has looked yet what is archived: all is held.
        let (held, since) = state.held.get_or_insert_with(|| (vec![0; applied.len()], now()));
        let bytes: u64 = applied.iter().zip(since.iter()).map(|((_, now), since)| now.saturating_sub(*since)).sum();
        (bytes <= most).then(|| held.clone())
    }
}

/// Keeps the log as long as it is to be kept.
pub async fn watch(node: &Arc<Node>, rooms: &Rooms) {
    let most = node.settings.backup.archive_hold;
    let (mut tick, mut holds) = (tokio::time::interval(LOOK), true);
    loop {
        tick.tick().await;
        let applied: Vec<(u64, u64)> =
            rooms.groups.iter().map(|group| (*group.applied().borrow(), group.applied_bytes())).collect();
        // After the look at what is applied: a backup that begins now has all of that.
        let (_, begun) = node.backups.begun();
        let held = node.archive.step(&applied, begun, most);
        if held.is_none() && holds {
            tracing::error!(
                event = "backup.archive_unheld",
                code = codes::ARCHIVE_GAP.code,
                "more of the log than backup.archive_hold is not archived: it is cut all the same"
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

    #[test]
    fn what_is_not_archived_is_held_and_a_backup_that_is_made_holds_what_was() {
        let desk = ArchiveDesk::default();
        assert_eq!(desk.step(&[(7, 0), (9, 0)], 0, 100), Some(vec![0, 0]), "nobody has looked yet");
        desk.nothing();
        assert_eq!(desk.step(&[(8, 10), (9, 10)], 0, 100), Some(vec![8, 9]), "no backup: a new one has all of that");
        assert_eq!(desk.step(&[(20, 50), (9, 10)], 1, 100), Some(vec![8, 9]), "one is being made");
        desk.archived(stand(None), vec![15, 9], vec![40, 10]);
        assert_eq!(desk.step(&[(30, 60), (9, 10)], 1, 100), Some(vec![8, 9]));
        desk.settled(1);
        assert_eq!(desk.step(&[(30, 60), (9, 10)], 1, 100), Some(vec![15, 9]), "and its log is archived now");
        desk.archived(stand(Some("gone")), vec![15, 9], vec![40, 10]);
        assert_eq!(desk.step(&[(31, 60), (9, 10)], 1, 100), Some(vec![31, 9]), "nothing follows a gap");
    }

    #[test]
    fn no_more_is_held_than_was_agreed_to() {
        let desk = ArchiveDesk::default();
        desk.archived(stand(None), vec![5, 5], vec![0, 0]);
        assert_eq!(desk.step(&[(9, 60), (9, 40)], 0, 100), Some(vec![5, 5]));
        assert_eq!(desk.step(&[(9, 61), (9, 40)], 0, 100), None, "whoever writes the archive is stuck");
        assert_eq!(desk.step(&[(9, 61), (9, 40)], 1, 100), None);
        desk.archived(stand(None), vec![9, 9], vec![61, 40]);
        assert_eq!(desk.step(&[(9, 61), (9, 40)], 0, 100), Some(vec![9, 9]), "it goes on");
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
