//! One phase of a load: workers over threads, connections made before the clock starts, usage of the nodes before and
//! after, and a progress line on a terminal.

use super::{
    MeshArgs, Phase,
    site::Site,
    stats::{Silence, Stats},
    usage::Sample,
    work::{Inbox, Plan, Worker},
};
use anyhow::{Context, anyhow};
use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

pub struct PhaseReport {
    pub phase: Phase,
    /// Time that was counted, warm-up not included.
    pub took: Duration,
    pub messages: u64,
    /// With those of the warm-up.
    pub all_messages: u64,
    pub stats: Stats,
    pub silence: Duration,
    pub before: Sample,
    pub after: Sample,
}

pub fn run(site: &Site, args: &MeshArgs, phase: Phase) -> anyhow::Result<PhaseReport> {
    // Connecting thousands of clients takes a while; the clock starts behind it.
    let connecting = Duration::from_millis(200 + 3 * u64::from(args.in_flight));
    let start = Instant::now() + connecting;
    let warm_up = if args.count.is_some() || phase == Phase::Collect { Duration::ZERO } else { args.warm_up };
    let counted_from = start + warm_up;
    let plan = Arc::new(Plan {
        phase,
        start,
        counted_from,
        end: counted_from + args.duration,
        count: args.count,
        rate: args.rate,
        tickets: AtomicU64::new(0),
        progress: AtomicU64::new(0),
        silence: Silence::new(start),
        inboxes: site.mailboxes.iter().map(|_| Inbox::default()).collect(),
    });
    let args = Arc::new(args.clone());
    let mut stats = Stats::new()?;
    let (before, finished) = thread::scope(|scope| {
        let threads = usize::from(args.threads);
        let runs: Vec<_> = (0..threads)
            .map(|t| {
                let (plan, args) = (Arc::clone(&plan), Arc::clone(&args));
                scope.spawn(move || load(site, plan, args, t, threads))
            })
            .collect();
        let before = watch(site, &plan, || runs.iter().all(|r| r.is_finished()));
        let joined = |r: thread::ScopedJoinHandle<'_, _>| r.join().map_err(|_| anyhow!("a load thread panicked"))?;
        (before, runs.into_iter().map(joined).collect::<anyhow::Result<Vec<Stats>>>())
    });
    let now = Instant::now();
    let after = Sample::take(site);
    for one in finished? {
        stats.add(&one)?;
    }
    Ok(PhaseReport {
        phase,
        took: now.min(plan.end).saturating_duration_since(counted_from),
        messages: stats.messages,
        all_messages: plan.progress.load(Relaxed),
        stats,
        silence: plan.silence.longest(),
        before,
        after,
    })
}

/// One thread: a runtime of its own and its share of the workers.
fn load(site: &Site, plan: Arc<Plan>, args: Arc<MeshArgs>, thread: usize, threads: usize) -> anyhow::Result<Stats> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let stats = Arc::new(Mutex::new(Stats::new()?));
    runtime.block_on(async {
        let mut workers = JoinSet::new();
        for number in (thread..args.in_flight as usize).step_by(threads) {
            let mut worker = Worker::new(site, Arc::clone(&plan), Arc::clone(&args), number, Arc::clone(&stats));
            let start = plan.start;
            workers.spawn(async move {
                // One that cannot connect now tries again with its first request, where the failure is counted.
                let _ = worker.connect().await;
                tokio::time::sleep_until(start.into()).await;
                worker.run().await;
            });
        }
        while workers.join_next().await.is_some() {}
    });
    let stats = Arc::into_inner(stats).context("a worker outlived its thread")?;
    Ok(stats.into_inner().unwrap_or_else(|e| e.into_inner()))
}

/// Takes the first sample when counting begins, then shows progress until all threads are done.
fn watch(site: &Site, plan: &Plan, done: impl Fn() -> bool) -> Sample {
    const TICK: Duration = Duration::from_millis(50);
    let terminal = std::io::stderr().is_terminal();
    let mut before = None;
    let (mut shown_at, mut shown) = (plan.start, 0);
    while !done() {
        thread::park_timeout(TICK);
        let now = Instant::now();
        if before.is_none() && now >= plan.counted_from {
            before = Some(Sample::take(site));
        }
        if terminal && now.saturating_duration_since(shown_at) >= Duration::from_secs(1) {
            let total = plan.progress.load(Relaxed);
            let rate = (total - shown) as f64 / now.saturating_duration_since(shown_at).as_secs_f64();
            let _ = write!(std::io::stderr(), "\r{}: {total} messages, {rate:.0}/s   ", plan.phase.name());
            (shown_at, shown) = (now, total);
        }
    }
    if terminal {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    before.unwrap_or_else(|| Sample::take(site))
}
