//! Readiness: what `/livez`, `/readyz` and `/startupz` say, and what is told to systemd (operations.md §5).
//!
//! Ready means caught up: a read fence of every partition has come back within the last seconds, so leaders are
//! known, a majority answers, and this node has applied what they have committed. Its clock must be right, too.

use super::Node;
use crate::{
    engine::{ClockReport, Engine, Fence},
    ops::{codes, health::Probe, systemd::Notify},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicBool, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

/// Between two fences. Four a second would still be cheap; readiness must not lag a change by much more than this.
const BEAT: Duration = Duration::from_millis(300);
/// A fence that takes longer says that something is wrong.
const PATIENCE: Duration = Duration::from_secs(2);
/// A node is ready for so long after a fence came back: longer than an election or a hand-over takes, while requests wait.
/// Otherwise each of them would take the whole site out of a balancer's traffic for a moment (P2).
const FRESH: Duration = Duration::from_secs(3);

/// What the beat last found.
#[derive(Default)]
pub struct Pulse {
    caught_up: Mutex<Option<Instant>>,
    full: AtomicBool,
}

impl Pulse {
    fn fresh(&self) -> bool {
        let last = *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() < FRESH)
    }
}

impl Node {
    fn is_open(&self) -> Result<(), String> {
        match self.front.get() {
            Some(_) => Ok(()),
            None if !self.waits().is_empty() => Err(self.waits()),
            None => Err("log, store and listeners are being opened".into()),
        }
    }
    fn has_leaders(&self) -> Result<(), String> {
        let Some(rooms) = self.rooms.get().filter(|_| !self.pulse.fresh()) else { return Ok(()) };
        let without: Vec<String> = rooms
            .groups
            .iter()
            .filter(|g| g.leadership().borrow().leader.is_none())
            .map(|g| g.number().to_string())
            .collect();
        if without.is_empty() { Ok(()) } else { Err(format!("no leader of partition {}", without.join(", "))) }
    }
    fn is_caught_up(&self) -> Result<(), String> {
        if self.pulse.fresh() { Ok(()) } else { Err("not known to be in step with the leaders".into()) }
    }
    fn has_room(&self) -> Result<(), String> {
        if self.pulse.full.load(Relaxed) { Err("the disk is nearly full: writes are refused".into()) } else { Ok(()) }
    }
    fn has_right_clock(&self) -> Result<(), String> {
        let Some(clock) = self.rooms.get().map(|rooms| rooms.engine.clock()).filter(ClockReport::is_off) else {
            return Ok(());
        };
        Err(format!("{} ({})", clock.trouble().unwrap_or_default(), codes::CLOCK.code))
    }
    /// Out of traffic by an operator's wish, or about to stop.
    pub fn draining(&self) -> bool {
        self.front.get().is_some_and(super::front::Front::draining)
    }
    /// Whether `/readyz` would say yes.
    pub fn ready(&self) -> bool {
        self.health.ask(Probe::Ready, &[]).ok
    }
}

/// Registers every check. They hold the node weakly: it owns them.
pub fn register(node: &Arc<Node>) {
    type Ask = fn(&Node) -> Result<(), String>;
    let checks: [(Probe, &'static str, Ask); 8] = [
        (Probe::Live, "process", |_| Ok(())),
        (Probe::Startup, "open", Node::is_open),
        (Probe::Ready, "open", Node::is_open),
        (Probe::Ready, "leaders", Node::has_leaders),
        (Probe::Ready, "caught-up", Node::is_caught_up),
        (Probe::Ready, "disk", Node::has_room),
        (Probe::Ready, "clock", Node::has_right_clock),
        (Probe::Ready, "draining", |node| if node.draining() { Err("the node is draining".into()) } else { Ok(()) }),
    ];
    for (probe, name, ask) in checks {
        let node: Weak<Node> = Arc::downgrade(node);
        node.upgrade().inspect(|n| {
            n.health.add(probe, name, move || node.upgrade().map_or(Ok(()), |n| ask(&n)));
        });
    }
}

/// Beats until aborted: fences, free space, systemd. The watchdog is petted when the engine's deciders have run since the
/// last time, so that one that blocks its thread is seen, and one that waits for a majority is not; and while the store writes.
pub async fn run(node: Arc<Node>) {
    let (mut told_ready, mut told_still, mut progress) = (false, false, Progress::default());
    loop {
        beat(&node).await;
        let ready = node.ready();
        if ready && !told_ready {
            told_ready = true;
            tracing::info!(event = "node.ready", "the node is ready");
            Notify.ready("ready");
        }
        match ready {
            true => Notify.status("ready"),
            false if told_ready => Notify.status(&format!("not ready: {}", first_trouble(&node))),
            false => Notify.starting(&catching_up(&node, &mut progress).await, super::STARTING),
        }
        let still = node.rooms.get().is_some_and(|rooms| rooms.store.stands_still());
        if still && !told_still {
            tracing::error!(
                event = "store.stands_still",
                "a write of rows does not end; the watchdog will end the process"
            );
        }
        told_still = still;
        pet(node.rooms.get().filter(|_| !still).map(|rooms| &rooms.engine), || Notify.alive());
        tokio::time::sleep(BEAT).await;
    }
}

/// Says `alive` if every decider has run since the last time: not before there are any, and not for one that blocks its thread.
fn pet(engine: Option<&Engine>, alive: impl FnOnce()) {
    if engine.is_some_and(Engine::turned) {
        alive();
    }
}

/// The first reason why `/readyz` says no.
fn first_trouble(node: &Node) -> String {
    let report = node.health.ask(Probe::Ready, &[]);
    report.lines.into_iter().find_map(|(_, line)| line.err()).unwrap_or_default()
}

/// How far a node that starts has come: what it had applied of each group when it was first looked at.
#[derive(Default)]
struct Progress {
    began: BTreeMap<u16, u64>,
}

impl Progress {
    /// In words, from each group's applied index here and its greatest known committed one; empty when nothing is left.
    fn words(&mut self, groups: &[(u16, u64, u64)]) -> String {
        let (mut done, mut all) = (0, 0);
        for (group, applied, committed) in groups {
            let began = *self.began.entry(*group).or_insert(*applied);
            done += applied.saturating_sub(began);
            all += committed.max(applied).saturating_sub(began);
        }
        if done == all { String::new() } else { format!("applying {} of {} entries", counted(done), counted(all)) }
    }
}

/// 91077 as 91,077.
fn counted(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What a node that is not ready yet is busy with: entries that the others have and it has not, else what it waits for.
async fn catching_up(node: &Node, progress: &mut Progress) -> String {
    let Some(rooms) = node.rooms.get() else { return first_trouble(node) };
    let told = super::report::gather(node, rooms).await;
    let committed = |group: u16| {
        let of = told.values().flat_map(|status| &status.groups).filter(|g| g.group == group);
        of.map(|g| g.committed).max().unwrap_or(0)
    };
    let groups: Vec<_> =
        rooms.groups.iter().map(|g| g.status()).map(|s| (s.group, s.applied, committed(s.group))).collect();
    match progress.words(&groups) {
        words if words.is_empty() => first_trouble(node),
        words => words,
    }
}

async fn beat(node: &Arc<Node>) {
    let Some(rooms) = node.rooms.get() else { return };
    let fences = rooms.engine.map().all().map(|partition| rooms.engine.view(partition, Fence::Linearizable));
    let all = tokio::time::timeout(PATIENCE, futures_util::future::try_join_all(fences)).await;
    if matches!(all, Ok(Ok(_))) {
        *node.pulse.caught_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
    let free = node.world.fs.space(&node.settings.node.data).map(|(free, _)| free);
    node.pulse.full.store(free.is_ok_and(|free| free < node.settings.storage.disk_reserve), Relaxed);
    rooms.engine.leave(node.draining());
    if node.draining() {
        // An election may have given it leadership again.
        rooms.engine.hand_over_all().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_petted_only_while_the_engine_turns() {
        let site = crate::engine::tests::harness::Site::start(2);
        let engine = &site.engines[1];
        let petted = |engine: Option<&Engine>| {
            let mut told = false;
            pet(engine, || told = true);
            told
        };
        assert!(!petted(None), "nothing is open yet");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(petted(Some(engine)), "idle deciders are run every second");
        assert!(!petted(Some(engine)), "none was run in between");
        engine.stop().await;
        petted(Some(engine));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!petted(Some(engine)), "systemd has to hear nothing");
    }

    #[test]
    fn what_is_left_to_apply_is_counted_from_where_the_node_began() {
        let mut progress = Progress::default();
        assert_eq!(progress.words(&[(0, 100, 100), (1, 5_000, 96_077)]), "applying 0 of 91,077 entries");
        assert_eq!(progress.words(&[(0, 100, 110), (1, 23_204, 96_077)]), "applying 18,204 of 91,087 entries");
        assert_eq!(progress.words(&[(0, 110, 110), (1, 96_077, 96_070)]), "", "nothing is left");
        assert_eq!(counted(999), "999");
        assert_eq!(counted(1_234_567), "1,234,567");
    }
}
