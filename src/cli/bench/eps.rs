//! `spine bench eps`: the prescription service under load, from the order to the claim. A run makes its own prescriptions, each with a
//! real signature, nominated to pharmacies that nobody else has; so one run does not meet what another left. It prints, and judges nothing.

use super::{
    Output,
    api::{self, Counted, RunReport},
    client::Client,
    duration,
    eps_asks::{Kind, Work},
    site::Site,
    usage::{self, Sample},
};
use crate::{
    cli::demo::{self, Record, signer},
    services::eps::MOST_RELEASED,
};
use anyhow::{Context, anyhow, bail};
use serde_json::json;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

#[derive(clap::Args, Debug, Clone)]
pub struct EpsArgs {
    /// Folder of a running `spine demo`
    #[arg(long, visible_alias = "dir", value_name = "DIR")]
    demo: PathBuf,
    /// How many prescriptions, of one to four items; they are made and signed before the clock starts
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    prescriptions: u32,
    /// What to measure, in order; all but poll go on with what the one before left
    #[arg(long, value_delimiter = ',', default_value = "order,release,poll,dispense,claim")]
    phase: Vec<Kind>,
    /// Pharmacies that they are nominated to
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=255))]
    pharmacies: u32,
    /// Releases a second, with latency counted from the moment each should have started; 0 for as fast as it goes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    release_rate: u32,
    /// How long the empty poll is measured
    #[arg(long, default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Longest wait for one answer
    #[arg(long, default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// Waits up to so long at the end for disk use to come to rest
    #[arg(long, default_value = "0s", value_parser = duration)]
    settle: Duration,
}

/// How requests follow one another.
struct Pace {
    most: u64,
    begin: Instant,
    end: Option<Instant>,
    /// A second; none for as fast as it goes.
    rate: Option<f64>,
    next: AtomicU64,
}

pub fn run(args: &EpsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (site, socket) = Site::of_apis(&args.demo)?;
    let record = api::record(&args.demo)?;
    let people = api::once(api::of_site(&socket, args.prescriptions as usize))??;
    if people.is_empty() {
        bail!("the demo has nobody to prescribe for: start it with --people");
    }
    let first = args.phase.first().copied();
    if first.is_some_and(|kind| !matches!(kind, Kind::Order | Kind::Poll)) {
        bail!("--phase begins with order or poll: the others go on with the run's own prescriptions");
    }
    let seed = jiff::Timestamp::now().as_microsecond().unsigned_abs();
    let count = if args.phase.contains(&Kind::Order) { args.prescriptions } else { 0 };
    let key = demo::signing_key(&args.demo).map_err(told)?;
    let mut work = Work::new(seed, count, args.pharmacies, people)?;
    work.make(&key)?;
    let work = Arc::new(work);
    let stored = || record.nodes.iter().map(|node| usage::stored(&node.metrics)).sum::<u64>();
    let (before, mut reports) = (stored(), vec![]);
    for kind in &args.phase {
        let token = format!("Bearer {}", token(args, &record, *kind)?);
        reports.push(phase(&site, args, &work, *kind, &token)?);
    }
    usage::settle(&site, args.settle);
    let nodes = site.nodes.len().max(1) as u64;
    let each = stored().saturating_sub(before).checked_div(u64::from(count) * nodes).unwrap_or(0);
    let (size, released) = (work.mean_size(), work.released());
    let text = format!(
        "{count} prescriptions of {size} bytes on average, {released} released; {each} B for each in a node's store, its log apart\n"
    );
    let more =
        json!({"prescriptions": count, "order_bytes": size, "released": released, "store_per_prescription": each});
    api::tell(&site, &reports, None, output, Some((text, more)))
}

fn told(failure: crate::cli::failure::Failure) -> anyhow::Error {
    anyhow!("{}: {}", failure.what, failure.why)
}

/// A fresh token for each phase: one lasts ten minutes. The poll is an application's, as pharmacies' systems do it.
fn token(args: &EpsArgs, record: &Record, kind: Kind) -> anyhow::Result<String> {
    let given = match kind {
        Kind::Order => api::once(demo::user_token(&args.demo, record, demo::PRESCRIBER))?,
        Kind::Poll => {
            let named = record.applications.iter().find(|a| a.name == "demo-pharmacy");
            let application = named.context("demo.json names no demo-pharmacy: start the demo anew")?;
            api::once(signer::token(record, application))?
        }
        _ => api::once(demo::user_token(&args.demo, record, demo::PHARMACIST))?,
    };
    given.map_err(told)
}

fn phase(site: &Site, args: &EpsArgs, work: &Arc<Work>, kind: Kind, token: &str) -> anyhow::Result<RunReport> {
    let begin = Instant::now() + Duration::from_millis(300 + 5 * u64::from(args.connections));
    let rate = (kind == Kind::Release && args.release_rate > 0).then_some(f64::from(args.release_rate));
    let end = (kind == Kind::Poll).then(|| begin + args.duration);
    let pace = Pace { most: work.requests(kind, MOST_RELEASED as u64), begin, end, rate, next: AtomicU64::new(0) };
    let before = Sample::take(site);
    let connections = args.connections as usize;
    let threads = usize::from(args.threads).min(connections);
    let pace = Arc::new(pace);
    let parts = thread::scope(|scope| {
        let load = |t: usize| {
            let clients: Vec<_> =
                (t..connections).step_by(threads).map(|n| Client::new(site, n, args.timeout)).collect();
            let (work, pace, token) = (Arc::clone(work), Arc::clone(&pace), token.to_owned());
            move || api::once(all(clients, work, kind, pace, token))
        };
        let runs: Vec<_> = (0..threads).map(|t| scope.spawn(load(t))).collect();
        runs.into_iter().map(|r| r.join().map_err(|_| anyhow!("a load thread panicked"))?).collect::<Vec<_>>()
    });
    let (mut counted, mut last) = (Counted::new()?, begin);
    for part in parts {
        for one in part? {
            let (one, ended) = one?;
            counted.add(one)?;
            last = last.max(ended);
        }
    }
    let after = Sample::take(site);
    let cpu_s = site.nodes.iter().map(|node| after.cpu_since(&before, node.id)).sum();
    Ok(RunReport { name: kind.name(), took: last - begin, counted, cpu_s })
}

async fn all(
    clients: Vec<Client>,
    work: Arc<Work>,
    kind: Kind,
    pace: Arc<Pace>,
    token: String,
) -> Vec<anyhow::Result<(Counted, Instant)>> {
    let mut set = JoinSet::new();
    for client in clients {
        set.spawn(one(client, Arc::clone(&work), kind, Arc::clone(&pace), token.clone()));
    }
    set.join_all().await
}

/// One connection: takes the next request until there is none, or the time is over. When it ended comes with what it counted.
async fn one(
    mut client: Client,
    work: Arc<Work>,
    kind: Kind,
    pace: Arc<Pace>,
    token: String,
) -> anyhow::Result<(Counted, Instant)> {
    let (mut counted, mut last) = (Counted::new()?, pace.begin);
    // One that cannot connect now tries again with its first request, where the failure is counted.
    let _ = client.connect().await;
    tokio::time::sleep_until(pace.begin.into()).await;
    loop {
        let number = pace.next.fetch_add(1, Relaxed);
        if number >= pace.most {
            return Ok((counted, last));
        }
        let due = pace.rate.map(|rate| pace.begin + Duration::from_secs_f64(number as f64 / rate));
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let request = work.ask(kind, number, client.authority(), &token);
        let sent = due.unwrap_or_else(Instant::now);
        if pace.end.is_some_and(|end| sent >= end) {
            return Ok((counted, last));
        }
        let answer = client.ask(request).await;
        last = Instant::now();
        let told = match answer {
            Ok(answer) => work.told(kind, answer.status().as_u16(), answer.body()),
            Err(failure) => Err(failure.name().to_owned()),
        };
        match told {
            Ok(()) => counted.latency.saturating_record((last - sent).as_micros() as u64),
            Err(what) => *counted.errors.entry(what).or_default() += 1,
        }
    }
}
