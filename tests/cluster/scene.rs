//! The shape of every scenario: a site under load, something breaks, all is well again, and the judge has the last word.

use super::{
    demo::{Demo, Plan},
    history::{Moment, Op, judge, longest_silence},
    load::Load,
};
use std::sync::{Mutex, MutexGuard};

/// Sites share two cores: one at a time, or elections would measure each other.
static ONE_SITE: Mutex<()> = Mutex::new(());

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
        let alone = ONE_SITE.lock().unwrap_or_else(|e| e.into_inner());
        let demo = Demo::start(plan);
        let load = Load::start(demo.site());
        load.more(200);
        Scene { name, load, demo, _alone: alone }
    }

    pub fn leader(&self) -> u64 {
        self.demo.leader(1)
    }

    pub fn follower(&self) -> u64 {
        let leader = self.leader();
        self.demo.ids().into_iter().find(|id| *id != leader).expect("a follower")
    }

    /// The end of each scenario: all nodes are back, what clients saw is one history, replicas and audit chain are whole.
    pub fn end(self) -> Ending {
        self.demo.wait_ready();
        self.load.more(20);
        let ops = self.load.finish();
        let (name, wrong) = (self.name, judge(&ops));
        println!("{name}: {} operations judged", ops.len());
        assert!(
            wrong.is_empty(),
            "{name}: {} breach(es)\n  {}",
            wrong.len(),
            wrong[..wrong.len().min(20)].join("\n  ")
        );
        self.demo.replicas_are_equal();
        self.demo.audit_is_whole();
        Ending { name, ops }
    }
}

/// What clients saw, after it was judged.
pub struct Ending {
    name: &'static str,
    ops: Vec<Op>,
}

impl Ending {
    /// Writes were back within `limit` microseconds after the fault.
    pub fn silent_at_most(&self, fault: Moment, limit: Moment) {
        let (name, silence) = (self.name, longest_silence(&self.ops, fault));
        println!("{name}: writes back after {:.0} ms (limit {:.0} ms)", silence as f64 / 1e3, limit as f64 / 1e3);
        assert!(silence <= limit, "{name}: no write succeeded for {silence} µs");
    }
}
