//! What a group does by itself on this node: reigns begin and end, fences are asked in rounds, snapshots are sealed
//! and the log is cut below them, numbers are published.

use super::api::{Leadership, Options, RaftId};
use super::consensus::Shared;
use super::group::{Group, Reader};
use super::reign::Reign;
use super::types::{Types, inside, members, outside};
use crate::ops::metrics as names;
use crate::seam::trouble::late;
use futures_util::future::{BoxFuture, OptionFuture};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::RaftServerMetrics;
use openraft::{Config, ReadPolicy, ServerState, SnapshotPolicy};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often snapshots, cuts and metrics are looked at.
const UPKEEP: Duration = Duration::from_millis(500);
/// How long after a snapshot could not be made it is tried again.
const SEAL_AGAIN: Duration = Duration::from_secs(5);
/// Replicas begin to seal a part of the way apart, this many of them.
const STAGGER: u64 = 3;
/// Log positions are remembered so many times in the bytes that are kept, to find where to cut.
const MARKS: u64 = 64;
/// How long a change of the library's view may stay unseen when nothing wakes us.
const GLANCE: Duration = Duration::from_millis(100);
/// How late a simulation may make this node see that it does not lead any more.
const LATE: Duration = Duration::from_millis(2_000);

/// The library's settings.
pub fn config(options: &Options) -> Result<Arc<Config>, openraft::ConfigError> {
    let config = Config {
        cluster_name: options.cluster.clone(),
        heartbeat_interval: options.heartbeat.as_millis() as u64,
        election_timeout_min: options.election.0.as_millis() as u64,
        election_timeout_max: options.election.1.as_millis() as u64,
        // Snapshots and cuts are ours to time, by bytes (`upkeep`).
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // A node that was paused or cut off must not unseat a working leader when it comes back.
        enable_pre_vote: Some(true),
        // A leader that restarts stands for election like anyone: its memory of the term is gone.
        enable_leader_restore: Some(false),
        backoff: "100ms".into(),
        ..Config::default()
    };
    config.validate().map(Arc::new)
}

/// Starts a group's tasks. They end when the group is stopped.
pub fn start(shared: &Arc<Shared>, group: &Group, readers: mpsc::Receiver<Reader>) -> Vec<JoinHandle<()>> {
    let (weak, options) = (Arc::downgrade(shared), shared.options.clone());
    vec![
        tokio::spawn(reigns(weak.clone(), group.clone())),
        tokio::spawn(fences(group.clone(), readers)),
        tokio::spawn(upkeep(options.clone(), group.clone())),
        tokio::spawn(health(options, group.clone())),
        tokio::spawn(super::members::keep(weak, group.clone())),
    ]
}

/// The term in which this node leads, if it does.
fn leads(view: &RaftServerMetrics<Types>) -> Option<u64> {
    let vote = &view.vote;
    let ours = view.state == ServerState::Leader && vote.committed && vote.leader_id.voted_for == view.id;
    ours.then_some(vote.leader_id.term)
}

/// Begins and ends reigns as the library's view changes, and tells everyone.
async fn reigns(shared: Weak<Shared>, group: Group) {
    let mut views = group.raft().server_metrics();
    let mut applied_term = group.applied_term();
    let (mut reign, mut active, mut number) = (group.reign(), false, 0);
    let mut seen_term = 0;
    loop {
        late(LATE).await;
        let view = views.borrow_and_update().clone();
        if let Some(shared) = shared.upgrade() {
            shared.learn(group.number(), &members(view.membership_config.membership()));
        }
        let leads = leads(&view);
        if active && (leads != Some(reign.term()) || reign.broken()) {
            reign.spoil();
            (active, number) = (false, number + 1);
        }
        let applied = *applied_term.borrow_and_update();
        if let Some(term) = leads.filter(|_| !active)
            && may_begin(&group, &reign, term, applied).await
        {
            number += 1;
            reign = Arc::new(Reign::new(number, term));
            group.set_reign(reign.clone());
            active = true;
        }
        let term = view.vote.leader_id.term;
        let leader = view.current_leader.map(RaftId);
        if leader.is_some() && term > seen_term {
            metrics::counter!(names::RAFT_ELECTIONS).increment(1);
            tracing::info!(event = "raft.leader", group = group.number(), term, leader = ?leader.map(|l| l.0), "leader known");
            seen_term = term;
        }
        group.publish(Leadership { term, leader, leading: active, reign: number });
        tokio::select! {
            biased;
            changed = views.changed() => if changed.is_err() { break },
            _ = applied_term.changed() => {}
            _ = reign.wait(Reign::broken), if active => {}
            _ = tokio::time::sleep(GLANCE), if leads.is_some() && !active => {}
        }
    }
    reign.spoil();
    group.publish(Leadership { reign: number + 1, ..Leadership::default() });
}

/// Whether a new reign may begin in `term`: everything committed before is applied, and nothing proposed in an earlier
/// reign of the same term is still on its way.
async fn may_begin(group: &Group, last: &Reign, term: u64, applied_term: u64) -> bool {
    if applied_term < term {
        return false;
    }
    if last.term() != term {
        return true;
    }
    // A majority answers again: what made the library refuse is over.
    last.settled() && group.raft().get_read_log_id(ReadPolicy::ReadIndex).await.is_ok()
}

/// Answers readers in rounds: whoever came while one was under way shares the next.
async fn fences(group: Group, mut readers: mpsc::Receiver<Reader>) {
    let mut waiting = Vec::new();
    while readers.recv_many(&mut waiting, usize::MAX).await > 0 {
        let round = group.raft().get_read_log_id(ReadPolicy::ReadIndex).await;
        let index = round.map(|(at, _)| outside(at.log_id().index)).map_err(|_| group.not_leader());
        for reader in waiting.drain(..) {
            let _ = reader.send(index);
        }
    }
}

/// Where the log stood when so many bytes had been applied; for finding where to cut.
struct Marks {
    marks: VecDeque<(u64, u64)>,
    /// Bytes that must stay behind a cut.
    keep: u64,
}

impl Marks {
    fn new(keep: u64) -> Marks {
        Marks { marks: VecDeque::new(), keep }
    }
    fn note(&mut self, index: u64, bytes: u64) {
        if self.marks.back().is_none_or(|(_, last)| bytes - last >= (self.keep / MARKS).max(1)) {
            self.marks.push_back((index, bytes));
        }
    }
    /// The highest index with enough bytes behind it. Lower marks are forgotten.
    fn behind(&mut self, bytes: u64) -> Option<u64> {
        let far = |(_, at): &(u64, u64)| bytes - at >= self.keep;
        while self.marks.len() > 1 && self.marks.get(1).is_some_and(far) {
            self.marks.pop_front();
        }
        self.marks.front().filter(|m| far(m)).map(|(index, _)| *index)
    }
}

/// Seals what is in memory now and then, tells the library, cuts the log below it, publishes numbers.
async fn upkeep(options: Options, group: Group) {
    let mut marks = Marks::new(options.keep_bytes);
    let mut cut = 0;
    // Replicas seal in turn: all at once they would be felt.
    let node = u64::from(group.id().node().0);
    let mut head_start = options.snapshot_after_bytes / STAGGER * (node % STAGGER);
    let mut bytes_at_seal = 0;
    let mut not_before = Instant::now();
    let mut sealing: Option<BoxFuture<'_, _>> = None;
    let mut tick = tokio::time::interval(UPKEEP);
    let applied = group.applied();
    loop {
        tokio::select! {
            biased;
            made = OptionFuture::from(sealing.as_mut()), if sealing.is_some() => {
                sealing = None;
                if let Some(Err(e)) = made {
                    bytes_at_seal = 0;
                    not_before = Instant::now() + SEAL_AGAIN;
                    tracing::warn!(event = "snapshot.not_sealed", group = group.number(), why = %e, "no snapshot");
                }
            }
            _ = tick.tick() => {}
        }
        let bytes = group.applied_bytes();
        marks.note(*applied.borrow(), bytes);
        let due = bytes + head_start - bytes_at_seal >= options.snapshot_after_bytes;
        if due && sealing.is_none() && Instant::now() >= not_before {
            (bytes_at_seal, head_start) = (bytes, 0);
            sealing = Some(Box::pin(group.trigger_snapshot()));
        }
        let upto = marks.behind(bytes).unwrap_or(0).min(group.partition().log_floor()).min(group.held());
        if let Some(upto) = inside(upto).filter(|_| upto > cut) {
            cut = outside(upto);
            if group.raft().trigger().purge_log(upto).await.is_err() {
                return;
            }
        }
        publish(&group);
    }
}

fn publish(group: &Group) {
    let status = group.status();
    let label = status.group.to_string();
    metrics::gauge!(names::RAFT_COMMIT_INDEX, "partition" => label.clone()).set(status.committed as f64);
    metrics::gauge!(names::RAFT_APPLIED_INDEX, "partition" => label.clone()).set(status.applied as f64);
    // A leader that is cut off still takes itself for one: this tells it from one that others follow.
    let heard = status.quorum_age_ms.filter(|_| status.leadership.leading).unwrap_or_default();
    metrics::gauge!(names::RAFT_QUORUM_AGE, "partition" => label.clone()).set(heard as f64 / 1000.0);
    for (id, matched) in status.matched.iter().filter(|(id, _)| *id != group.id()) {
        let lag = status.last.saturating_sub(*matched) as f64;
        let node = id.node().to_string();
        metrics::gauge!(names::RAFT_PEER_LAG, "partition" => label.clone(), "node" => node).set(lag);
    }
}

/// Stops the process when the library stopped for any reason but being told to.
async fn health(options: Options, group: Group) {
    let mut views = group.raft().metrics();
    loop {
        let state = views.borrow_and_update().running_state.clone();
        match state {
            Ok(()) => {}
            Err(Fatal::Stopped) => return,
            Err(e) => return (options.fatal)(&format!("group {} stopped: {e}", group.number())),
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_cut_only_where_enough_lies_behind() {
        let mut marks = Marks::new(6_400);
        for n in 0..10u64 {
            marks.note(n * 10, n * 1_600);
            marks.note(n * 10 + 1, n * 1_600 + 99);
        }
        assert_eq!(marks.behind(6_000), None);
        assert_eq!(marks.behind(9 * 1_600), Some(50));
        assert_eq!(marks.marks.len(), 5);
    }
}
