//! One run: a site, its clients, trouble for a while, then rest and judgement.

use crate::clients::{Client, Known};
use crate::invariants;
use crate::site::Site;
use crate::trace::Trace;
use crate::trouble::{Maker, Sort};
use spine::seam::sim::SimRng;
use spine::seam::trouble::{self as asked, Planted};
use spine::store::tables::Table;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const WRITERS: u64 = 3;
const REGISTER_CLIENTS: u64 = 3;
/// How long a site may take to heal when all trouble is over: a wiped node waits for a minute for what nobody has.
const HEAL: Duration = Duration::from_secs(120);

/// What a run is made of; all of it follows from the seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: u16,
    pub partitions: u16,
    /// How long trouble is made.
    pub trouble: Duration,
    /// These sorts, instead of a draw.
    pub sorts: Option<Vec<Sort>>,
    /// Tasks are held up at chosen points.
    pub late: bool,
    /// Whether nodes whose files have rotted ask at a start what they acknowledged.
    pub asks: bool,
    pub planted: Option<Planted>,
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let rng = SimRng::new(seed ^ 0x97a4);
        Plan {
            seed,
            nodes: if rng.chance(200) { 5 } else { 3 },
            partitions: 1 + rng.below(2) as u16,
            trouble: Duration::from_secs(6 + rng.below(14)),
            sorts: None,
            late: rng.chance(500),
            asks: true,
            planted: None,
        }
    }
}

/// What a run came to.
pub struct Verdict {
    pub seed: u64,
    /// Promises that were broken.
    pub broken: Vec<String>,
    pub lines: Vec<String>,
    /// Lines and everything that was answered, with the microsecond.
    pub steps: Vec<String>,
}

impl Verdict {
    /// Leaves the schedule in a file and fails.
    pub fn panic(&self) -> ! {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sim");
        let file = folder.join(format!("seed-{}.txt", self.seed));
        let _ = std::fs::create_dir_all(&folder);
        let _ = std::fs::write(&file, self.lines.join("\n"));
        let broken = self.broken.join("\n  ");
        panic!("seed {} broke a promise (its schedule: {}):\n  {broken}", self.seed, file.display());
    }
}

/// `SPINE_SIM_LOG=info` prints what the rooms say, on stderr, beside the trace.
fn listen() {
    if let Ok(filter) = std::env::var("SPINE_SIM_LOG") {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        let _ =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().try_init();
    }
}

pub fn run(plan: Plan) -> Verdict {
    listen();
    asked::ask(plan.planted, plan.late.then_some(plan.seed));
    let seed = plan.seed;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // In which order tasks wake that wait for one thing.
    runtime.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let trace = runtime.block_on(async {
        let trace = Trace::new();
        // The watch sees promises broken at once; a run that is lost need not be ended.
        let run = scenario(plan, trace.clone());
        let broken = async {
            while trace.failures().is_empty() {
                sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            biased;
            () = run => {}
            () = broken => {}
        }
        trace
    });
    runtime.shutdown_background();
    asked::ask(None, None);
    Verdict { seed, broken: trace.failures(), lines: trace.lines(), steps: trace.steps() }
}

async fn scenario(plan: Plan, trace: Trace) {
    trace.say(format!("{plan:?}"));
    let site = Site::start(plan.seed, plan.nodes, plan.partitions, trace.clone()).await;
    site.asks.store(plan.asks, Ordering::Relaxed);
    let known = Arc::new(Known::default());
    let client = |name: u64| {
        let rng = SimRng::new(plan.seed << 8 ^ name);
        Client { site: site.clone(), known: known.clone(), rng, name }
    };
    let mut clients: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(client(n).write())).collect();
    clients.extend((0..REGISTER_CLIENTS).map(|n| tokio::spawn(client(100 + n).registers())));
    let watch = tokio::spawn(invariants::watch(site.clone()));
    Maker::new(&site, plan.seed, plan.sorts.as_deref()).run(plan.trouble).await;
    known.enough.store(true, Ordering::Relaxed);
    let rest = async {
        for client in clients {
            if let Err(e) = client.await {
                trace.fail(format!("a client failed: {e}"));
            }
        }
        settled(&site).await;
    };
    match timeout(HEAL, rest).await {
        Ok(()) => {
            trace.say("at rest".into());
            invariants::judge(&site, &known).await;
            trace.say(format!("{} writes were answered", known.answered.lock().unwrap().len()));
        }
        Err(_) => trace.fail(format!("the site does not heal within {} s: {}", HEAL.as_secs(), state(&site))),
    }
    watch.abort();
}

/// Waits until every node is whole, nothing waits for delivery, no timer is due, and all have applied the same.
async fn settled(site: &Site) {
    let empty = |table: Table| {
        let rows = |r: &crate::site::Running, p| r.engine.local(p).scan(table.key().prefix(), false, 1);
        site.up().iter().all(|(_, r)| site.partitions().all(|p| rows(r, p).is_ok_and(|rows| rows.is_empty())))
    };
    while !site.numbers().into_iter().all(|n| site.is_whole(n)) || !empty(Table::Outbox) || !empty(Table::Timers) {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Where each node stands, for a run that does not come to rest.
fn state(site: &Site) -> String {
    let mut lines = vec![];
    for node in site.numbers() {
        let Some(running) = site.running(node) else {
            lines.push(format!("node {} is down", node.0));
            continue;
        };
        for group in running.consensus.groups() {
            let s = group.status();
            let members: Vec<_> =
                s.members.iter().map(|m| format!("{}{}", m.id, if m.voter { "" } else { "?" })).collect();
            lines.push(format!(
                "{} group {}: {:?} last {} committed {} applied {} of {}",
                group.id(),
                s.group,
                s.leadership,
                s.last,
                s.committed,
                s.applied,
                members.join(" ")
            ));
        }
    }
    lines.join("\n    ")
}
