//! A node whose disk is slow does not lead (P9). Each node knows how long its log's syncs take just now; one that finds its
//! own slow asks the others, and where theirs are much quicker it gives its leaderships to the quickest and takes none back
//! until its disk has been well for a while. Where none is better it stays as it is: slow for everyone is nobody's fault.

use super::clocks::Clocks;
use super::ports::Agreement;
use super::space::Room;
use super::survey::{Said, Survey, give_away};
use crate::ops::metrics as names;
use crate::seam::net::NodeNumber;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// A sync that takes less is never slow, whatever the others' take: disks that anyone would buy need a few milliseconds.
const FLOOR: Duration = Duration::from_millis(40);
/// How many times longer this node's syncs take than the quickest other node's, the way there and back included.
const WORSE: u32 = 4;
/// How often this node looks at its own syncs.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks in a row that find them slow before the others are asked: a second, which no hiccup fills.
const LOOKS: u32 = 4;
/// A disk that was slow leads again when it has been well for so long…
const REST: Duration = Duration::from_secs(30);
/// …twice as long each time that it becomes slow again within [`REMEMBERED`], up to this.
const LONGEST_REST: Duration = Duration::from_secs(600);
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Between two tries to give leadership away: an election may have brought it back, or nobody took it. Doubled each time.
const TRY_AGAIN: Duration = Duration::from_secs(5);
const LONGEST_TRY: Duration = Duration::from_secs(60);

/// What is known of this node's disk, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskReport {
    /// Whether the node does without leading.
    pub slow: bool,
    /// How long a sync of the log takes just now; `None` while too few are made to say so.
    pub sync: Option<Duration>,
    /// How long it took on the quickest other node when this one was found slow, the way there and back included.
    pub others: Duration,
}

impl DiskReport {
    /// What is wrong, in a line behind "node 3: "; `None` while nothing is known to be.
    pub fn trouble(&self) -> Option<String> {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let now = self.sync.map_or("not measured now".into(), |sync| format!("{:.0} ms now", millis(sync)));
        self.slow.then(|| {
            let others = millis(self.others);
            format!("its disk is slow: a sync of the log takes {now}, {others:.1} ms on the quickest other node; it does not lead")
        })
    }
}

/// This node's disk, as the others are told of it.
pub(super) struct Disk {
    /// Whose log is asked: all groups share one.
    site: Arc<dyn Agreement>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slow: bool,
    others: Duration,
    /// Looks in a row that found syncs slow.
    looks: u32,
    /// Since when syncs have been well, while `slow`.
    well_since: Option<Instant>,
    rest: Duration,
    recovered: Option<Instant>,
    /// When leadership may next be given away, and what comes between that and the next try.
    next_try: Option<Instant>,
    pause: Duration,
}

impl Disk {
    pub fn new(site: Arc<dyn Agreement>) -> Self {
        Disk { site, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn report(&self) -> DiskReport {
        let sync = self.site.sync_time();
        let state = self.lock();
        DiskReport { slow: state.slow, sync, others: state.others }
    }

    /// What a peer that asks is told, besides of room.
    pub fn fill(&self, room: &mut Room) {
        let told = self.report();
        room.disk_slow = told.slow;
        room.sync_micros = told.sync.map_or(0, |sync| (sync.as_micros() as u64).max(1));
    }

    /// Takes one look at this node's own syncs. True: the others are to be asked.
    fn look(&self, sync: Option<Duration>, leads: bool) -> bool {
        let mut state = self.lock();
        let bad = sync.is_some_and(|sync| sync >= FLOOR);
        state.looks = if bad { state.looks + 1 } else { 0 };
        if !state.slow {
            return bad && state.looks.is_multiple_of(LOOKS);
        }
        // Half of what is slow, so that a disk at the border does not go to and fro. No syncs say nothing of a disk, but
        // then nothing is written either; should it still be slow, that is found out again.
        if sync.is_some_and(|sync| sync >= FLOOR / 2) {
            state.well_since = None;
        }
        let well = state.well_since.get_or_insert_with(Instant::now).elapsed();
        if well >= state.rest {
            state.slow = false;
            state.recovered = Some(Instant::now());
            drop(state);
            self.tell(sync);
            return false;
        }
        leads && state.next_try.is_some_and(|at| at <= Instant::now())
    }

    /// Compares with what others said. True: this node should not lead, and somebody else can.
    fn compare(&self, sync: Option<Duration>, quickest: Option<Duration>) -> bool {
        let much_better = sync.zip(quickest).filter(|(sync, others)| *sync >= *others * WORSE);
        let mut state = self.lock();
        let found = !state.slow && much_better.is_some();
        if found {
            let again = state.recovered.is_some_and(|at| at.elapsed() < REMEMBERED);
            state.rest = if again { (state.rest * 2).min(LONGEST_REST) } else { REST };
            (state.slow, state.well_since, state.pause) = (true, None, TRY_AGAIN);
        }
        if let Some((_, others)) = much_better {
            state.others = others;
        }
        state.next_try = Some(Instant::now() + state.pause);
        state.pause = (state.pause * 2).min(LONGEST_TRY);
        drop(state);
        if found {
            self.tell(sync);
        }
        much_better.is_some()
    }

    fn tell(&self, sync: Option<Duration>) {
        let state = self.lock();
        metrics::gauge!(names::DISK_SLOW).set(f64::from(u8::from(state.slow)));
        let (millis, others) = (sync.map(|s| s.as_millis() as u64), state.others.as_millis() as u64);
        if state.slow {
            tracing::error!(event = "engine.disk.slow", millis, others, "this node's disk is slow: it does not lead");
        } else {
            tracing::info!(event = "engine.disk.well", millis, "this node's disk is as quick as it should be again");
        }
    }
}

/// How long it takes until an entry is durable on another node, as far as it says.
fn cost(said: &Said) -> Option<Duration> {
    Some(said.sync? + said.trip)
}

/// Looks at this node's disk for ever, and gives leadership away while it is slow and another voter's is not.
pub(super) async fn watch(disk: Arc<Disk>, clocks: Arc<Clocks>, survey: Arc<Survey>, groups: Vec<Arc<dyn Agreement>>) {
    let leads = || groups.iter().any(|group| group.leadership().borrow().leading);
    loop {
        sleep(LOOK_EVERY).await;
        let sync = disk.site.sync_time();
        metrics::gauge!(names::LOG_SYNC_NOW).set(sync.unwrap_or_default().as_secs_f64());
        if !disk.look(sync, leads()) {
            continue;
        }
        let said = survey.ask(&clocks).await;
        let fit = |said: &&Said| said.may_lead() && !said.room.disk_slow && !clocks.wrong(said);
        let quickest = said.iter().filter(fit).filter_map(cost).min();
        if disk.compare(sync, quickest) {
            let limit = sync.unwrap_or_default() / WORSE;
            let rank = |voter: NodeNumber| {
                let said = said.iter().filter(fit).find(|said| said.node == voter)?;
                cost(said).filter(|cost| *cost <= limit)
            };
            give_away(&groups, survey.me, "engine.disk.hand_over", &rank).await;
        }
    }
}
