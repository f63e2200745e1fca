//! What is done to a simulated site: a schedule drawn from the seed. Each seed has some sorts of trouble and not others,
//! so that they meet in all combinations.
//!
//! No promise covers the loss of a majority's disks: at most a minority is wiped or rotten at a time. Nor does one cover
//! a majority of wrong clocks.

use crate::site::{DISK, End, SPARE, Site};
use spine::seam::net::NodeNumber;
use spine::seam::sim::{SimRng, fs::Call, net::Link};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A sort of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Cut,
    OneWay,
    Bridge,
    Flapping,
    Lossy,
    Kill,
    KillAll,
    Restart,
    Wipe,
    BadDisk,
    FullDisk,
    SlowDisk,
    Rot,
    ClockJump,
    ClockDrift,
    HandOver,
    Replace,
    Snapshot,
}

pub const SORTS: [Sort; 18] = [
    Sort::Cut,
    Sort::OneWay,
    Sort::Bridge,
    Sort::Flapping,
    Sort::Lossy,
    Sort::Kill,
    Sort::KillAll,
    Sort::Restart,
    Sort::Wipe,
    Sort::BadDisk,
    Sort::FullDisk,
    Sort::SlowDisk,
    Sort::Rot,
    Sort::ClockJump,
    Sort::ClockDrift,
    Sort::HandOver,
    Sort::Replace,
    Sort::Snapshot,
];

/// Makes trouble.
pub struct Maker {
    site: Site,
    rng: SimRng,
    sorts: Vec<Sort>,
    /// The only node whose files rot and whose disk fails.
    victim: NodeNumber,
    /// A node whose data was lost, until it is whole again.
    lost: Option<NodeNumber>,
    /// The only node whose clock is wrong.
    late: NodeNumber,
}

/// How far a clock jumps, in milliseconds. Where only two nodes are up nobody can tell which is wrong, and a stamp once given
/// is never taken back: timers then wait until the site's time has caught up, which must be within the bound for healing.
const FARTHEST: u64 = 40_000;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Maker {
    /// `only`: these sorts, instead of a draw.
    pub fn new(site: &Site, seed: u64, only: Option<&[Sort]>) -> Maker {
        let rng = SimRng::new(seed ^ 0x7e0b1e);
        let drawn: Vec<Sort> = SORTS.into_iter().filter(|_| rng.chance(350)).collect();
        let sorts = only.map_or(drawn, <[Sort]>::to_vec);
        let all = site.numbers();
        let pick = || all[rng.below(all.len() as u64) as usize];
        let (victim, late) = (pick(), pick());
        site.trace.say(format!("trouble: {sorts:?}, victim {}, clock {}", victim.0, late.0));
        Maker { site: site.clone(), rng, sorts, victim, lost: None, late }
    }

    fn node(&self) -> NodeNumber {
        let all = self.site.numbers();
        all[self.rng.below(all.len() as u64) as usize]
    }

    /// The leader of some partition, more often than not.
    fn important(&self) -> NodeNumber {
        let partition = self.rng.below(u64::from(self.site.partitions) + 1) as u16;
        self.site.leader(partition).filter(|_| self.rng.chance(700)).unwrap_or_else(|| self.node())
    }

    fn say(&self, what: String) {
        self.site.trace.say(what);
    }

    /// Goes on for `long`, then takes everything back. Nodes that are down are started again by their supervisors.
    pub async fn run(&mut self, long: Duration) {
        let end = Instant::now() + long;
        while Instant::now() < end && !self.sorts.is_empty() {
            sleep(millis(20 + self.rng.below(900))).await;
            let sort = self.sorts[self.rng.below(self.sorts.len() as u64) as usize];
            self.make(sort).await;
        }
        self.calm().await;
    }

    /// Ends all trouble: what is broken may heal from here on.
    pub async fn calm(&mut self) {
        self.say("calm".into());
        self.site.net.heal();
        self.site.net.calm();
        for machine in self.site.machines.values() {
            machine.world.fs.mend();
            machine.world.fs.set_capacity(DISK);
            machine.world.fs.set_slow(Duration::ZERO..Duration::ZERO);
            machine.world.clock.drift(0);
        }
        let sound = self.site.machines.values().find(|m| m.number != self.late);
        if let Some(sound) = sound {
            use spine::seam::clock::Clock as _;
            self.site.machines[&self.late].world.clock.set(sound.world.clock.now());
        }
        // A taking out that was left without an answer may come to be later.
        let site = self.site.clone();
        tokio::spawn(async move {
            loop {
                for node in site.numbers() {
                    site.make_sure_of(node).await;
                }
                sleep(millis(500)).await;
            }
        });
    }

    async fn make(&mut self, sort: Sort) {
        if self.lost.is_some_and(|node| self.site.is_whole(node)) {
            self.lost = None;
        }
        match sort {
            Sort::Cut | Sort::OneWay | Sort::Bridge | Sort::Flapping => self.cut(sort).await,
            Sort::Lossy => self.lossy(),
            Sort::Kill => self.site.end(self.important(), End::Power, millis(self.rng.below(3000))),
            Sort::KillAll => {
                let numbers = self.site.numbers();
                numbers.into_iter().for_each(|n| self.site.end(n, End::Power, millis(self.rng.below(500))));
            }
            Sort::Restart => self.site.end(self.important(), End::Stopped, millis(self.rng.below(500))),
            Sort::Wipe => self.wipe(),
            Sort::BadDisk => self.bad_disk(),
            Sort::FullDisk => self.full_disk(),
            Sort::SlowDisk => self.slow_disk(),
            Sort::Rot => self.rot(),
            Sort::ClockJump => {
                let jump = (self.rng.below(2 * FARTHEST) as i64 - FARTHEST as i64) >> self.rng.below(16);
                self.say(format!("clock of {} jumps {jump} ms", self.late.0));
                self.site.machines[&self.late].world.clock.shift(jump);
            }
            Sort::ClockDrift => {
                let drift = self.rng.below(200_000) as i64 - 100_000;
                self.say(format!("clock of {} drifts {drift} ppm", self.late.0));
                self.site.machines[&self.late].world.clock.drift(drift);
            }
            Sort::HandOver => self.hand_over().await,
            Sort::Replace => self.replace().await,
            Sort::Snapshot => self.snapshot().await,
        }
    }

    async fn cut(&self, sort: Sort) {
        let (node, numbers) = (self.important(), self.site.numbers());
        self.say(format!("{sort:?} around {}", node.0));
        let others: Vec<_> = numbers.iter().copied().filter(|n| *n != node).collect();
        match sort {
            Sort::OneWay => {
                let inwards = self.rng.chance(500);
                for other in others {
                    let (from, to) = if inwards { (other, node) } else { (node, other) };
                    self.site.net.cut_one_way(from, to);
                }
            }
            // Everyone talks to one, who talks to all.
            Sort::Bridge => {
                for (n, a) in others.iter().enumerate() {
                    others[n + 1..].iter().for_each(|b| self.site.net.cut(*a, *b));
                }
            }
            Sort::Flapping => {
                for _ in 0..self.rng.below(8) {
                    self.site.net.isolate(node, numbers.iter().copied());
                    sleep(millis(self.rng.below(700))).await;
                    self.site.net.heal();
                    sleep(millis(self.rng.below(700))).await;
                }
            }
            _ => self.site.net.isolate(node, numbers),
        }
        sleep(millis(self.rng.below(3000))).await;
        self.site.net.heal();
        self.say("links are whole".into());
    }

    fn lossy(&self) {
        let longest = 1 << self.rng.below(9);
        let delay = Duration::from_micros(50)..Duration::from_millis(longest);
        let link = Link { delay, loss: self.rng.below(200) as u32, twice: self.rng.below(100) as u32 };
        self.say(format!("links: {link:?}"));
        self.site.net.set_usual(link);
    }

    fn wipe(&mut self) {
        let node = if self.sorts.contains(&Sort::Rot) { self.victim } else { self.node() };
        if self.lost.is_none_or(|lost| lost == node) {
            self.lost = Some(node);
            self.site.end(node, End::Wiped, millis(self.rng.below(1500)));
        }
    }

    /// Some calls fail from now on, on any node: an error of the disk stops the process, and nothing durable is lost.
    fn bad_disk(&self) {
        let node = self.node();
        let call = [Call::Write, Call::Sync, Call::SyncDir, Call::Name, Call::Read][self.rng.below(5) as usize];
        let (after, times) = (self.rng.below(60) as u32, 1 + self.rng.below(3) as u32);
        self.say(format!("disk of {} fails at {call:?}", node.0));
        let machine = &self.site.machines[&node];
        machine.excused.store(true, Ordering::Relaxed);
        machine.world.fs.fail(call, "/data", after, times, ErrorKind::Other);
    }

    fn full_disk(&self) {
        let all = self.rng.chance(200);
        let one = self.important();
        for machine in self.site.machines.values().filter(|m| all || m.number == one) {
            let fs = &machine.world.fs;
            let left = if self.rng.chance(300) { 0 } else { self.rng.below(2 * SPARE) };
            machine.excused.store(true, Ordering::Relaxed);
            fs.set_capacity(fs.used() + left);
            self.say(format!("disk of {} has {left} bytes left", machine.number.0));
            let fs = fs.clone();
            let long = millis(500 + self.rng.below(6000));
            tokio::spawn(async move {
                sleep(long).await;
                fs.set_capacity(DISK);
            });
        }
    }

    fn slow_disk(&self) {
        let node = self.important();
        let longest = 1 << self.rng.below(9);
        self.say(format!("disk of {} takes up to {longest} ms", node.0));
        let fs = self.site.machines[&node].world.fs.clone();
        fs.set_slow(Duration::ZERO..millis(longest));
        let long = millis(self.rng.below(5000));
        tokio::spawn(async move {
            sleep(long).await;
            fs.set_slow(Duration::ZERO..Duration::ZERO);
        });
    }

    /// Bytes of a file of the victim change where they lie.
    fn rot(&mut self) {
        if self.lost.is_some_and(|lost| lost != self.victim) {
            return;
        }
        self.lost = Some(self.victim);
        let machine = &self.site.machines[&self.victim];
        machine.excused.store(true, Ordering::Relaxed);
        machine.rotten.store(true, Ordering::Relaxed);
        let files: Vec<(PathBuf, u64)> = machine.world.fs.files().into_iter().filter(|(_, len)| *len > 0).collect();
        if files.is_empty() {
            return;
        }
        let (path, len) = &files[self.rng.below(files.len() as u64) as usize];
        let offset = self.rng.below(*len);
        self.say(format!("{} of {} rots at {offset}", path.display(), self.victim.0));
        match self.rng.below(4) {
            0 if self.rng.chance(500) => {
                machine.world.fs.cut(path, offset);
                true
            }
            0 => machine.world.fs.smear(path, offset - offset % 512, 512, 0),
            1 => machine.world.fs.smear(path, offset - offset % 4096, 4096, 0xa5),
            _ => machine.world.fs.flip(path, offset, self.rng.below(8) as u8),
        };
        if self.rng.chance(500) {
            self.site.end(self.victim, End::Power, millis(self.rng.below(500)));
        }
    }

    async fn hand_over(&self) {
        let partition = self.rng.below(u64::from(self.site.partitions) + 1) as u16;
        let Some(leader) = self.site.leader(partition).and_then(|n| self.site.running(n)) else { return };
        let Some(group) = leader.consensus.group(partition) else { return };
        self.say(format!("partition {partition} is handed over"));
        tokio::spawn(async move { drop(group.hand_over(None).await) });
    }

    async fn replace(&mut self) {
        let node = if self.sorts.contains(&Sort::Rot) { self.victim } else { self.node() };
        if self.lost.is_some_and(|lost| lost != node) || self.site.is_out(node) {
            return;
        }
        self.lost = Some(node);
        if self.site.replace(node).await {
            sleep(millis(self.rng.below(2000))).await;
            while self.rng.chance(900) && !self.site.admit(node).await {
                sleep(millis(100)).await;
            }
        }
    }

    async fn snapshot(&self) {
        let Some(running) = self.site.running(self.important()) else { return };
        let partition = self.rng.below(u64::from(self.site.partitions) + 1) as u16;
        if let Some(group) = running.consensus.group(partition) {
            self.say(format!("partition {partition} is asked for a snapshot"));
            tokio::spawn(async move { drop(group.trigger_snapshot().await) });
        }
    }
}
