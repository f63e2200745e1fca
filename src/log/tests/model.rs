//! What a log must hold, in the simplest possible way, and random work on both.

use super::*;
use crate::seam::sim::SimRng;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

/// One group, as plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    pub vote: Option<Bytes>,
    pub purged: Option<Position>,
    pub entries: BTreeMap<u64, LogRecord>,
}

impl Plain {
    pub fn last(&self) -> Option<Position> {
        self.entries.values().next_back().map(|r| (r.index, r.term, r.leader)).or(self.purged)
    }
}

pub type Groups = BTreeMap<GroupId, Plain>;

/// A call, as it was made.
#[derive(Clone, Debug)]
pub enum Step {
    Append(GroupId, Vec<LogRecord>),
    Vote(GroupId, Bytes),
    Truncate(GroupId, Option<u64>),
    Purge(GroupId, Position),
    Install(GroupId, Position),
}

impl Step {
    pub fn apply(&self, groups: &mut Groups) {
        match self {
            Step::Append(g, records) => {
                let g = groups.entry(*g).or_default();
                g.entries.extend(records.iter().map(|r| (r.index, r.clone())));
            }
            Step::Vote(g, vote) => groups.entry(*g).or_default().vote = Some(vote.clone()),
            Step::Truncate(g, keep) => {
                groups.entry(*g).or_default().entries.retain(|i, _| keep.is_some_and(|k| *i <= k));
            }
            Step::Purge(g, at) => {
                let g = groups.entry(*g).or_default();
                g.entries.retain(|i, _| *i > at.0);
                g.purged = Some(*at);
            }
            Step::Install(g, at) => {
                let g = groups.entry(*g).or_default();
                let same = g.entries.get(&at.0).is_some_and(|r| r.term == at.1);
                g.entries.retain(|i, _| same && *i > at.0);
                g.purged = Some(*at);
            }
        }
    }
}

/// Makes random calls and remembers them; knows how many of them were told to be durable.
pub struct Driver {
    rng: SimRng,
    /// The state before `steps`.
    pub base: Groups,
    pub now: Groups,
    pub steps: Vec<Step>,
    /// Steps up to here are durable: the writer told so of the last of them, and works in order.
    pub acked: Arc<AtomicUsize>,
    term: u64,
    pub longest: usize,
}

impl Driver {
    pub fn new(seed: u64) -> Driver {
        Driver {
            rng: SimRng::new(seed),
            base: Groups::new(),
            now: Groups::new(),
            steps: Vec::new(),
            acked: Arc::default(),
            term: 1,
            longest: 3_000,
        }
    }

    /// Starts over from what a reopened log holds.
    pub fn rebase(&mut self, groups: Groups) {
        self.base = groups.clone();
        self.now = groups;
        self.steps.clear();
        self.acked = Arc::default();
    }

    fn records(&mut self, group: GroupId, count: u64) -> Vec<LogRecord> {
        let next = self.now.get(&group).and_then(Plain::last).map_or(0, |l| l.0 + 1);
        let leader = self.term << 16 | 1;
        (next..next + count)
            .map(|index| {
                let mut payload = vec![0; self.rng.below(self.longest as u64) as usize];
                crate::seam::rng::Rng::fill(&self.rng, &mut payload);
                LogRecord { index, term: self.term, leader, payload: payload.into() }
            })
            .collect()
    }

    fn choose(&mut self) -> Step {
        let group = self.rng.below(3) as GroupId;
        let plain = self.now.get(&group).cloned().unwrap_or_default();
        let pick = self.rng.below(100);
        let inside = |rng: &SimRng| plain.entries.values().nth(rng.below(plain.entries.len() as u64) as usize).cloned();
        match (pick, inside(&self.rng)) {
            (70..=79, Some(at)) => {
                self.term += 1;
                let keep = if plain.purged.is_none() && self.rng.chance(100) { None } else { Some(at.index) };
                Step::Truncate(group, keep)
            }
            (80..=89, Some(at)) => Step::Purge(group, (at.index, at.term, at.leader)),
            (90..=91, Some(at)) => Step::Install(group, (at.index, at.term, at.leader)),
            (92..=93, _) => {
                self.term += 1;
                let index = plain.last().map_or(0, |l| l.0) + 1 + self.rng.below(50);
                Step::Install(group, (index, self.term, self.term << 16 | 1))
            }
            (94..=99, _) => Step::Vote(group, Bytes::from(self.rng.next().to_le_bytes().to_vec())),
            _ => {
                let count = 1 + self.rng.below(6);
                Step::Append(group, self.records(group, count))
            }
        }
    }

    /// Makes one call. It is queued on return; its end is noted when it comes.
    pub async fn step(&mut self, log: &Log) {
        let step = self.choose();
        step.apply(&mut self.now);
        self.steps.push(step.clone());
        let (number, acked) = (self.steps.len(), self.acked.clone());
        let done = move |result: io::Result<()>| {
            if result.is_ok() {
                acked.fetch_max(number, Ordering::SeqCst);
            }
        };
        let wait: std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match step {
            Step::Append(g, records) => return log.group(g).append(records, Box::new(done)),
            Step::Install(g, at) => return log.group(g).install(at),
            Step::Vote(g, vote) => {
                let g = log.group(g);
                Box::pin(async move { g.save_vote(vote).await })
            }
            Step::Truncate(g, keep) => {
                let g = log.group(g);
                Box::pin(async move { g.truncate_after(keep).await })
            }
            Step::Purge(g, at) => {
                let g = log.group(g);
                Box::pin(async move { g.purge(at.0, at.1, at.2).await })
            }
        };
        let mut wait = wait;
        // A call that ends at once had nothing to do, and tells nothing of those before it.
        if futures_util::future::poll_immediate(&mut wait).await.is_none() {
            tokio::spawn(async move { done(wait.await) });
        }
    }

    /// Which states the log may be found in: after any number of steps that includes all acknowledged ones.
    pub fn allowed(&self) -> Vec<Groups> {
        let acked = self.acked.load(Ordering::SeqCst);
        let mut state = self.base.clone();
        let mut allowed = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            if i >= acked {
                allowed.push(state.clone());
                // Entries of one call are not one piece: some of them may have got to the disk.
                if let Step::Append(group, records) = step {
                    for count in 1..records.len() {
                        let mut part = state.clone();
                        Step::Append(*group, records[..count].to_vec()).apply(&mut part);
                        allowed.push(part);
                    }
                }
            }
            step.apply(&mut state);
        }
        allowed.push(state);
        allowed
    }
}

/// All that a log holds.
pub async fn contents(log: &Log) -> Groups {
    let mut groups = Groups::new();
    for id in log.groups() {
        let group = log.group(id);
        let state = group.state();
        let first = state.purged.map_or(0, |p| p.0 + 1);
        let end = state.last.map_or(0, |l| l.0 + 1);
        let mut entries = BTreeMap::new();
        let mut next = first;
        while next < end {
            let records = group.read(next..end, 100_000).await.unwrap();
            assert!(!records.is_empty(), "no entry {next} in group {id}");
            for r in records {
                assert_eq!(r.index, next);
                next += 1;
                entries.insert(r.index, r);
            }
        }
        let plain = Plain { vote: state.vote, purged: state.purged, entries };
        assert_eq!(plain.last(), state.last);
        groups.insert(id, plain);
    }
    groups
}

/// Groups without those that hold nothing: whether such a group is known is no matter.
pub fn trimmed(groups: &Groups) -> Groups {
    groups.iter().filter(|(_, p)| **p != Plain::default()).map(|(g, p)| (*g, p.clone())).collect()
}
