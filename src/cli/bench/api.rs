//! `spine bench pds` and `spine bench token`: the HTTP APIs under load. Random people of the site are asked for, each connection
//! with a share of its own, so that no two changes meet; TLS and keep-alive as clients have them. It prints, and judges nothing.

use super::{
    Output,
    api_asks::{self, Known, Op},
    client::Client,
    duration,
    payload::Dice,
    site::Site,
    usage::Sample,
};
use crate::{
    cli::demo::{Record, signer},
    ops::admin_client::AdminClient,
};
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    future::Future,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Longest latency that is told apart.
const LONGEST_US: u64 = 60_000_000;

#[derive(clap::Args, Debug, Clone)]
pub struct Common {
    /// Folder of a running `spine demo`
    #[arg(long, value_name = "DIR")]
    demo: Option<PathBuf>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How long each operation is measured
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Time before that which is not counted
    #[arg(long, default_value = "1s", value_parser = duration)]
    warm_up: Duration,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Longest wait for one answer
    #[arg(long, default_value = "10s", value_parser = duration)]
    timeout: Duration,
}

#[derive(clap::Args, Debug, Clone)]
pub struct PdsArgs {
    #[command(flatten)]
    common: Common,
    /// Without --demo: a node's API URL, with an IP address or localhost (repeatable)
    #[arg(long = "node", value_name = "URL")]
    urls: Vec<String>,
    /// Without --demo: the CA that signed the nodes' certificates (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// People of the site, as `spine export people` writes them (else the demo is asked for a sample)
    #[arg(long, value_name = "FILE")]
    people: Option<PathBuf>,
    /// Access token (else the demo application's own; patch needs a user's)
    #[arg(long)]
    token: Option<String>,
    /// What to measure, in order
    #[arg(long, value_delimiter = ',', default_value = "retrieve,search,fuzzy")]
    op: Vec<Op>,
    /// The token is a user's: up to 50 results instead of one
    #[arg(long)]
    user: bool,
    /// Most people asked for
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sample: u32,
    /// How many people the site has, for memory and disk per person
    #[arg(long, value_name = "PEOPLE")]
    population: Option<u64>,
}

#[derive(clap::Args, Debug, Clone)]
pub struct TokenArgs {
    #[command(flatten)]
    common: Common,
    /// The demo's application
    #[arg(long, default_value = "demo-app")]
    application: String,
}

/// What one run has come to.
pub(super) struct Counted {
    pub latency: Histogram<u64>,
    pub errors: BTreeMap<String, u64>,
}

impl Counted {
    pub fn new() -> anyhow::Result<Counted> {
        Ok(Counted { latency: Histogram::new_with_bounds(1, LONGEST_US, 3)?, errors: BTreeMap::new() })
    }

    pub fn add(&mut self, other: Counted) -> anyhow::Result<()> {
        self.latency.add(&other.latency)?;
        for (what, n) in other.errors {
            *self.errors.entry(what).or_default() += n;
        }
        Ok(())
    }
}

/// The next request of a connection, and what its answer means: good or what was wrong.
trait Asker: Send {
    fn ask(&mut self, host: &str) -> Request<Full<Bytes>>;
    fn told(&mut self, status: u16, body: &Bytes) -> Result<(), String>;
}

struct Person {
    people: Vec<Known>,
    at: usize,
    op: Op,
    one: bool,
    dice: Dice,
    token: String,
}

impl Asker for Person {
    fn ask(&mut self, host: &str) -> Request<Full<Bytes>> {
        self.at = (self.dice.roll() % self.people.len() as u64) as usize;
        self.people[self.at].request(self.op, self.one, &mut self.dice, host, &self.token)
    }
    fn told(&mut self, status: u16, body: &Bytes) -> Result<(), String> {
        if self.op == Op::Patch && status == 200 {
            self.people[self.at].version += 1;
        } else if self.op == Op::Patch && status == 409 {
            // Changed since it was seen: one is behind, and the next try goes on from there.
            self.people[self.at].version += 1;
        }
        if api_asks::is_good(status) {
            return Ok(());
        }
        let told: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = told.pointer("/issue/0/details/coding/0/code").and_then(Value::as_str).unwrap_or_default();
        Err(format!("{status} {code}"))
    }
}

struct Assertions {
    /// Made before the clock starts: a signature costs the generator more than the node's work.
    ready: Vec<String>,
    make: Box<dyn Fn() -> Result<String, String> + Send>,
}

impl Asker for Assertions {
    fn ask(&mut self, host: &str) -> Request<Full<Bytes>> {
        let jwt = self.ready.pop().or_else(|| (self.make)().ok()).unwrap_or_default();
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let body = format!("grant_type=client_credentials&client_assertion_type={kind}&client_assertion={jwt}");
        Request::post("/oauth2/token")
            .header("host", host)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .unwrap_or_default()
    }
    fn told(&mut self, status: u16, _: &Bytes) -> Result<(), String> {
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    }
}

pub fn pds(args: &PdsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (site, socket) = match (&args.common.demo, &args.ca) {
        (Some(dir), _) => Site::of_apis(dir).map(|(site, socket)| (site, Some(socket)))?,
        (None, Some(ca)) => {
            let urls: Vec<&str> = args.urls.iter().map(String::as_str).collect();
            (Site::at(&urls, ca, vec![], None)?, None)
        }
        (None, None) => bail!("--demo, or --node and --ca, say which site"),
    };
    let token = match (&args.token, &args.common.demo) {
        (Some(token), _) => token.clone(),
        (None, Some(_)) if args.op.contains(&Op::Patch) => bail!("patch needs a user's token: --token"),
        (None, Some(dir)) => once(demo_token(dir))??,
        (None, None) => bail!("--token is needed where --demo is not given"),
    };
    let people = match (&args.people, socket) {
        (Some(file), _) => of_file(file, args.sample as usize)?,
        (None, Some(socket)) => once(of_site(&socket, args.sample as usize))??,
        (None, None) => bail!("--people is needed where --demo is not given"),
    };
    let connections = args.common.connections as usize;
    if people.len() < connections {
        bail!("{} people are too few for {connections} connections: load some with spine import people", people.len());
    }
    let mut reports = vec![];
    for op in &args.op {
        let one = !args.user && args.token.is_none();
        let asker = |n: usize| {
            let share = people.iter().skip(n).step_by(connections).cloned().collect();
            let (dice, token) = (Dice(n as u64 ^ u64::from(std::process::id()) << 32), format!("Bearer {token}"));
            Box::new(Person { people: share, at: 0, op: *op, one, dice, token }) as Box<dyn Asker>
        };
        reports.push(run(&site, &args.common, op.name(), asker)?);
    }
    tell(&site, &reports, args.population, output, None)
}

pub fn token(args: &TokenArgs, output: Output) -> anyhow::Result<ExitCode> {
    let dir = args.common.demo.as_ref().context("--demo is needed: the application's key is in its folder")?;
    let (site, _) = Site::of_apis(dir)?;
    let record = record(dir)?;
    let application = record.applications.iter().find(|a| a.name == args.application);
    let application = application.with_context(|| format!("{} is no demo application", args.application))?.clone();
    let pem = std::fs::read_to_string(&application.key_file).context("reading the application's key")?;
    let maker = || -> anyhow::Result<Box<dyn Fn() -> Result<String, String> + Send>> {
        let signer = signer::Signer::of_pem(&pem).map_err(|e| anyhow!(e))?;
        let (application, url) = (application.clone(), record.token_url.clone());
        Ok(Box::new(move || signer.assertion(&application.client_id, &application.kid, &url)))
    };
    let connections = args.common.connections as usize;
    let seconds = (args.common.duration + args.common.warm_up).as_secs_f64();
    let each = ((seconds * 1_500.0).min(30_000.0) / connections as f64).ceil() as usize;
    let mut askers = vec![];
    for _ in 0..connections {
        let make = maker()?;
        let ready = (0..each).map(|_| make()).collect::<Result<_, _>>().map_err(|e| anyhow!(e))?;
        askers.push(Some(Assertions { ready, make }));
    }
    let askers = std::sync::Mutex::new(askers);
    let asker = |n: usize| {
        let taken = askers.lock().unwrap_or_else(|e| e.into_inner()).get_mut(n).and_then(Option::take);
        Box::new(taken.unwrap_or(Assertions { ready: vec![], make: Box::new(|| Err(String::new())) })) as Box<dyn Asker>
    };
    let report = run(&site, &args.common, "token", asker)?;
    tell(&site, &[report], None, output, None)
}

pub fn once<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}

pub fn record(dir: &Path) -> anyhow::Result<Record> {
    let text = std::fs::read(dir.join("demo.json")).context("reading demo.json: is the demo running?")?;
    serde_json::from_slice(&text).context("reading demo.json")
}

async fn demo_token(dir: &Path) -> anyhow::Result<String> {
    let record = record(dir)?;
    let application = record.applications.first().context("demo.json names no application")?;
    signer::token(&record, application).await.map_err(|e| anyhow!("{}: {}", e.what, e.why))
}

/// People out of a file, from all over it: every k-th line, where that is long.
fn of_file(path: &Path, most: usize) -> anyhow::Result<Vec<Known>> {
    let file = std::fs::File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let (mut people, mut dice, mut seen) = (vec![], Dice(7), 0u64);
    for line in BufReader::with_capacity(1 << 20, file).lines() {
        let Some(known) = Known::of_line(&line?) else { continue };
        seen += 1;
        match people.len() < most {
            true => people.push(known),
            false => {
                let place = (dice.roll() % seen) as usize;
                if place < most {
                    people[place] = known;
                }
            }
        }
    }
    Ok(people)
}

/// People of a running site, some pages from random places of the numbers.
pub async fn of_site(socket: &Path, most: usize) -> anyhow::Result<Vec<Known>> {
    let client = AdminClient::new(socket);
    let call =
        async |body: Value| client.post("/v1/people/export", &body).await.map_err(|e| anyhow!("{}: {}", e.what, e.why));
    let begun = call(json!({"begin": true, "source": "a sample for spine bench"})).await?;
    let partitions = begun["partitions"].as_array().cloned().unwrap_or_default();
    if partitions.is_empty() {
        bail!("the site has no partitions");
    }
    let (mut people, mut dice) = (BTreeMap::new(), Dice(u64::from(std::process::id())));
    let pages = most.div_ceil(500).max(partitions.len());
    for n in 0..2 * pages {
        if people.len() >= most {
            break;
        }
        let partition = &partitions[n % partitions.len()];
        // The first page of each from the start: a small site is seen whole.
        let after = if n < partitions.len() { 0 } else { 9_000_000_000 + dice.roll() % 1_000_000_000 };
        let after = if after >= 9_000_000_000 && n % 3 > 0 { 9_990_000_000 + dice.roll() % 10_000_000 } else { after };
        let body = json!({"partition": partition["partition"], "at": partition["at"], "after": after,
            "source": "a sample for spine bench"});
        for line in call(body).await?["lines"].as_array().into_iter().flatten() {
            if let Some(known) = line[1].as_str().and_then(Known::of_line) {
                people.insert(line[0].as_u64(), known);
            }
        }
    }
    Ok(people.into_values().take(most).collect())
}

pub(super) struct RunReport {
    pub name: &'static str,
    pub took: Duration,
    pub counted: Counted,
    pub cpu_s: f64,
}

fn run(
    site: &Site,
    args: &Common,
    name: &'static str,
    asker: impl Fn(usize) -> Box<dyn Asker> + Sync,
) -> anyhow::Result<RunReport> {
    let connections = args.connections as usize;
    let begin = Instant::now() + Duration::from_millis(300 + 5 * connections as u64);
    let from = begin + args.warm_up;
    let end = from + args.duration;
    let before = Sample::take(site);
    let mut counted = Counted::new()?;
    let threads = usize::from(args.threads).min(connections);
    let parts = thread::scope(|scope| {
        let asker = &asker;
        let load = |t: usize| {
            let clients = (t..connections).step_by(threads);
            let workers: Vec<_> = clients.map(|n| (Client::new(site, n, args.timeout), asker(n))).collect();
            move || once(all(workers, begin, from, end))
        };
        let runs: Vec<_> = (0..threads).map(|t| scope.spawn(load(t))).collect();
        runs.into_iter().map(|r| r.join().map_err(|_| anyhow!("a load thread panicked"))?).collect::<Vec<_>>()
    });
    for part in parts {
        for one in part? {
            counted.add(one?)?;
        }
    }
    let after = Sample::take(site);
    let cpu_s = site.nodes.iter().map(|node| after.cpu_since(&before, node.id)).sum();
    Ok(RunReport { name, took: args.duration, counted, cpu_s })
}

async fn all(
    workers: Vec<(Client, Box<dyn Asker>)>,
    begin: Instant,
    from: Instant,
    end: Instant,
) -> Vec<anyhow::Result<Counted>> {
    let mut set = JoinSet::new();
    for (mut client, mut asker) in workers {
        set.spawn(async move {
            let mut counted = Counted::new()?;
            // One that cannot connect now tries again with its first request, where the failure is counted.
            let _ = client.connect().await;
            tokio::time::sleep_until(begin.into()).await;
            loop {
                let sent = Instant::now();
                if sent >= end {
                    return Ok(counted);
                }
                let request = asker.ask(client.authority());
                let told = match client.ask(request).await {
                    Ok(answer) => asker.told(answer.status().as_u16(), answer.body()),
                    Err(failure) => Err(failure.name().to_owned()),
                };
                let now = Instant::now();
                // What ends behind the end is not of the span that is measured.
                if sent < from || now > end {
                    continue;
                }
                match told {
                    Ok(()) => counted.latency.saturating_record((now - sent).as_micros() as u64),
                    Err(what) => *counted.errors.entry(what).or_default() += 1,
                }
            }
        });
    }
    set.join_all().await
}

/// Prints runs and nodes; `more` is a line of text, and the same for `--output json`.
pub(super) fn tell(
    site: &Site,
    reports: &[RunReport],
    population: Option<u64>,
    output: Output,
    more: Option<(String, Value)>,
) -> anyhow::Result<ExitCode> {
    let rest = Sample::take(site);
    let ms = |us: u64| us as f64 / 1_000.0;
    let mut runs = vec![];
    let mut text = format!(
        "{:<16} {:>9} {:>10} {:>9} {:>9} {:>9} {:>8}  errors\n",
        "operation", "count", "rate/s", "p50 ms", "p99 ms", "max ms", "cpu µs"
    );
    for run in reports {
        let Counted { latency, errors } = &run.counted;
        let (count, seconds) = (latency.len(), run.took.as_secs_f64().max(1e-6));
        let (p50, p99) = (ms(latency.value_at_quantile(0.5)), ms(latency.value_at_quantile(0.99)));
        let rate = count as f64 / seconds;
        let cpu = if count > 0 { run.cpu_s * 1e6 / count as f64 } else { 0.0 };
        let told: Vec<String> = errors.iter().map(|(what, n)| format!("{what}: {n}")).collect();
        let told = if told.is_empty() { "none".into() } else { told.join(", ") };
        text.push_str(&format!(
            "{:<16} {count:>9} {rate:>10.0} {p50:>9.2} {p99:>9.2} {:>9.2} {cpu:>8.0}  {told}\n",
            run.name,
            ms(latency.max())
        ));
        runs.push(json!({"operation": run.name, "count": count, "seconds": seconds, "rate": rate, "p50_ms": p50,
            "p99_ms": p99, "max_ms": ms(latency.max()), "node_cpu_us": cpu, "errors": errors}));
    }
    let (mut nodes, per) = (vec![], |bytes: u64| population.map(|people| bytes / people.max(1)));
    for node in &rest.nodes {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        text.push_str(&format!("node {}: memory {:.0} MiB, disk {:.0} MiB", node.id, mib(node.rss), mib(node.disk)));
        if let (Some(memory), Some(disk)) = (per(node.rss), per(node.disk)) {
            text.push_str(&format!("; a person {memory} B and {disk} B"));
        }
        text.push('\n');
        nodes.push(json!({"id": node.id, "rss": node.rss, "disk": node.disk, "rss_per_person": per(node.rss),
            "disk_per_person": per(node.disk)}));
    }
    let (line, more) = more.unwrap_or_default();
    text.push_str(&line);
    if output == Output::Json {
        let mut told = json!({"runs": runs, "nodes": nodes});
        if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
            told.extend(more);
        }
        text = serde_json::to_string_pretty(&told)? + "\n";
    }
    // A reader that has seen enough (`| head`) is no failure of the load.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let worked = reports.iter().any(|run| !run.counted.latency.is_empty());
    Ok(if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
