//! The shape of every scenario: a site under load, something breaks, all is well again, and the judge has the last word.

use super::{
    demo::{Demo, Plan},
    history::{Moment, Op, Outcome, judge, longest_silence},
    keys,
    load::Load,
};
use spine::cli::bench::site::Site;
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// Sites share two cores: one at a time, or elections would measure each other.
static ONE_SITE: Mutex<()> = Mutex::new(());

/// Whether the long variants are asked for: `make cluster LONG=1`.
pub fn long() -> bool {
    std::env::var_os("LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

/// The turn of a test that has a site of its own.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_SITE.lock().unwrap_or_else(|e| e.into_inner())
}

/// A site under load.
pub struct Scene {
    name: &'static str,
    pub load: Load,
    pub demo: Demo,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    /// Starts a site, and waits until it has served its clients for a while.
    pub fn begin(name: &'static str, plan: Plan) -> Scene {
        Scene::begin_at(name, plan, |demo| (demo.site(), demo.sockets()))
    }

    /// As [`Scene::begin`], with clients that come elsewhere than to the first three nodes.
    pub fn begin_at(name: &'static str, plan: Plan, where_to: impl FnOnce(&mut Demo) -> (Site, Vec<PathBuf>)) -> Scene {
        let alone = alone();
        let mut demo = Demo::start(plan);
        let (site, sockets) = where_to(&mut demo);
        let load = Load::start(site, sockets);
        load.more(200);
        Scene { name, load, demo, _alone: alone }
    }

    pub fn leader(&self) -> u64 {
        self.demo.leader(1)
    }

    /// Lets the site be as it is for so long, under load.
    pub fn stay(&self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
    }

    pub fn follower(&self) -> u64 {
        let leader = self.leader();
        self.demo.ids().into_iter().find(|id| *id != leader).expect("a follower")
    }

    /// The end of each scenario: all nodes are back, what clients saw is one history, replicas and audit chain are whole.
    pub fn end(self) -> Ending {
        self.end_but(|_| false)
    }

    /// As [`Scene::end`], of a site that lost what was done in a stretch of the scenario, or some of it: what was answered then may have
    /// happened or not, and what was read then may never have been.
    pub fn end_losing(self, (from, until): (Moment, Moment)) -> Ending {
        let open = |op: Op| match op.done > from && op.invoked <= until {
            true => Op { outcome: Outcome::Unknown, ..op },
            false => op,
        };
        self.end_seeing(open, |_| false)
    }

    /// As [`Scene::end`], but for operations that the scenario itself calls for and no site should see: they are kept apart.
    pub fn end_but(self, excused: impl Fn(&Op) -> bool) -> Ending {
        self.end_seeing(|op| op, excused)
    }

    fn end_seeing(self, seen: impl Fn(Op) -> Op, excused: impl Fn(&Op) -> bool) -> Ending {
        self.demo.wait_ready();
        self.load.more(20);
        let ops = self.load.finish(&self.demo.sockets()).into_iter().map(seen);
        let (excused, ops) = ops.partition::<Vec<Op>, _>(excused);
        let (name, mut wrong) = (self.name, judge(&ops));
        wrong.extend(keys::judge(&ops));
        let edits = ops.iter().filter(|op| op.outcome == Outcome::Written).count();
        println!("{name}: {} operations judged, {edits} of them changed the registry", ops.len());
        assert!(edits > 0, "{name}: no clerk could change a row");
        assert!(
            wrong.is_empty(),
            "{name}: {} breach(es)\n  {}",
            wrong.len(),
            wrong[..wrong.len().min(20)].join("\n  ")
        );
        self.demo.replicas_are_equal();
        self.demo.audit_is_whole();
        Ending { name, ops, excused }
    }
}

/// What clients saw, after it was judged.
pub struct Ending {
    name: &'static str,
    ops: Vec<Op>,
    excused: Vec<Op>,
}

impl Ending {
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// What was not judged, because the scenario called for it.
    pub fn excused(&self) -> &[Op] {
        &self.excused
    }

    /// Writes were back within `limit` microseconds after the fault.
    pub fn silent_at_most(&self, fault: Moment, limit: Moment) {
        self.silent_within("", (fault, Moment::MAX), limit);
    }

    /// No more than `limit` microseconds without a write began in a stretch of the scenario.
    pub fn silent_within(&self, what: &str, (from, until): (Moment, Moment), limit: Moment) {
        let (name, silence) = (self.name, longest_silence(&self.ops, from, until));
        let (felt, allowed) = (silence as f64 / 1e3, limit as f64 / 1e3);
        println!("{name}{what}: writes back after {felt:.0} ms (limit {allowed:.0} ms)");
        assert!(silence <= limit, "{name}{what}: no write succeeded for {silence} µs");
    }

    /// How many operations were asked for in a stretch of the scenario and answered after it.
    pub fn answered_after(&self, (from, until): (Moment, Moment)) -> usize {
        let waited = |op: &&Op| (from..until).contains(&op.invoked) && op.done > until;
        self.ops.iter().filter(waited).filter(|op| op.outcome != Outcome::Unknown).count()
    }
}
