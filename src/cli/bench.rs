//! `spine bench`: a load generator that users can run against a site, and that makes the figures of docs/performance.md.
//!
//! It is a real client: mutual TLS, HTTP/1.1 keep-alive, MESH tokens with a nonce and a count of their own. It shares the
//! machine with what it measures, so it spends little: no task switch per request, bodies filled in place, one lock-free
//! count for progress. Its own CPU is reported apart from the nodes'. Client, site and tokens serve `tests/cluster` too.

mod api;
mod api_asks;
pub mod client;
mod eps;
mod eps_asks;
mod payload;
mod phase;
mod report;
pub mod site;
mod stats;
#[cfg(test)]
mod tests;
pub mod token;
mod trace;
mod usage;
mod work;

pub use api_asks::Known;

use anyhow::{Context, bail};
use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

#[derive(clap::Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    profile: Profile,
}

#[derive(clap::Subcommand, Debug)]
enum Profile {
    /// Sends and collects MESH messages and reports throughput, latencies, CPU, memory and disk
    #[command(after_help = "Examples:\n  spine bench mesh --demo target/demo --in-flight 256 --duration 30s\n  \
        spine bench mesh --demo target/demo --phase send --rate 2000 --output json")]
    Mesh(MeshArgs),
    /// Retrieves, searches for and changes people, random ones of the site
    #[command(after_help = "Examples:\n  spine bench pds --demo target/demo --duration 10s\n  \
        spine bench pds --demo d --op search,fuzzy --connections 32\n  spine bench pds --demo d --op patch --token TOKEN")]
    Pds(api::PdsArgs),
    /// Orders, releases, polls for, dispenses and claims prescriptions of its own
    #[command(after_help = "Examples:\n  spine bench eps --demo target/demo\n  \
        spine bench eps --demo d --prescriptions 1000 --phase order --output json")]
    Eps(eps::EpsArgs),
    /// Gets access tokens with signed JWTs
    #[command(
        after_help = "Examples:\n  spine bench token --demo target/demo\n  spine bench token --demo d --duration 10s --output json"
    )]
    Token(api::TokenArgs),
    /// Sends a file of batch trace over MESH and waits for its answer
    #[command(after_help = "Examples:\n  spine bench trace --demo target/demo\n  \
        spine bench trace --demo d --rows 100000 --by details --output json")]
    Trace(trace::TraceArgs),
}

/// What to load, how, and for how long.
#[derive(clap::Args, Debug, Clone)]
pub struct MeshArgs {
    /// Folder of a running `spine demo`; everything else is read from its demo.json
    #[arg(long, value_name = "DIR")]
    pub demo: Option<PathBuf>,
    /// Without --demo: a node's supplier URL, with an IP address or localhost (repeatable)
    #[arg(long = "node", value_name = "URL")]
    pub urls: Vec<String>,
    /// Without --demo: the CA that signed the nodes' certificates (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Without --demo: client certificate chain (PEM)
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Without --demo: the client certificate's key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Without --demo: file with the environment's shared key
    #[arg(long, value_name = "FILE")]
    pub shared_key: Option<PathBuf>,
    /// Without --demo: mailboxes as JSON lines with mailbox_id and password (at least two)
    #[arg(long, value_name = "FILE")]
    pub mailboxes: Option<PathBuf>,
    /// With --demo: the client to connect as, by its name in demo.json; the default is the first
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,
    /// Which nodes to load: all, leader, or a node's number (or several: 1,3)
    #[arg(long, default_value = "all")]
    pub nodes: String,
    /// What to do, in order: send, collect (list, retrieve, acknowledge), mixed (both at once)
    #[arg(long, value_delimiter = ',', default_value = "send,collect")]
    pub phase: Vec<Phase>,
    /// Requests at a time, each on a connection of its own
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: u32,
    /// Open loop: messages a second, with latency counted from the moment each should have started
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Goes on at once after a refusal, as a client that knows no Retry-After does
    #[arg(long)]
    pub relentless: bool,
    /// How long each phase lasts (collect ends sooner when the inboxes are empty)
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Stops each phase after so many messages
    #[arg(long)]
    pub count: Option<u64>,
    /// Time at the start of a send or mixed phase that is not counted (none with --count)
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warm_up: Duration,
    /// Size of a message: 1KiB, 64KiB, 1MiB
    #[arg(long, default_value = "1KiB", value_parser = size)]
    pub size: usize,
    /// text: JSON of clinical look, different in each message; random: bytes that do not compress
    #[arg(long, value_enum, default_value_t = Payload::Text)]
    pub payload: Payload,
    /// Workflow of the messages; the default is unknown to a demo site and so unrestricted
    #[arg(long, default_value = "SPINE_BENCH")]
    pub workflow: String,
    /// Threads of the generator; one is enough for most sites
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// Longest wait for one answer
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// Waits up to so long after the last phase for disk use to come to rest
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub settle: Duration,
    /// Same seed, same bodies
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Set from the program's own --output
    #[arg(skip)]
    pub output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Send,
    Collect,
    Mixed,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Send => "send",
            Phase::Collect => "collect",
            Phase::Mixed => "mixed",
        }
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    Text,
    Random,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    #[default]
    Table,
    Json,
}

/// Runs the load and prints its report. Exit code 1 if not one operation succeeded.
pub fn run(args: BenchArgs, output: Output) -> anyhow::Result<ExitCode> {
    let args = match args.profile {
        Profile::Mesh(args) => args,
        Profile::Pds(args) => return api::pds(&args, output),
        Profile::Eps(args) => return eps::run(&args, output),
        Profile::Token(args) => return api::token(&args, output),
        Profile::Trace(args) => return trace::run(&args, output),
    };
    let args = MeshArgs { output, ..args };
    let site = site::Site::find(&args).context("finding the site to load")?;
    if site.mailboxes.len() < 2 {
        bail!("two mailboxes are needed, one to send from and one to send to");
    }
    let mut reports = vec![];
    let before = usage::Sample::take(&site);
    for phase in &args.phase {
        reports.push(phase::run(&site, &args, *phase)?);
    }
    let rest = usage::settle(&site, args.settle);
    let whole = report::Report { phases: reports, before, rest };
    let text = match args.output {
        Output::Table => whole.table(&args),
        Output::Json => serde_json::to_string_pretty(&whole.json(&args))? + "\n",
    };
    // A reader that has seen enough (`| head`) is no failure of the load.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let worked = whole.phases.iter().any(|p| p.messages > 0);
    Ok(if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `250ms`, `10s`, `2m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no duration; write 250ms, 10s, 2m"))?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("`{text}` has no unit; write 250ms, 10s, 2m")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// Messages a second; half a message is one every two seconds.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no rate; write messages a second, above 0"))
}

/// `512`, `1KiB`, `64KiB`, `1MiB`.
pub fn size(text: &str) -> Result<usize, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: usize = number.parse().map_err(|_| format!("`{text}` is no size; write 1KiB, 64KiB, 1MiB"))?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(format!("`{text}` has an unknown unit; write 1KiB, 64KiB, 1MiB")),
    };
    // One request carries one chunk; a chunk is at most 100 MiB (spec: MESH §8).
    match number.checked_mul(factor) {
        Some(n) if n > 0 && n <= 100 << 20 => Ok(n),
        _ => Err(format!("`{text}` is not between 1 byte and 100 MiB")),
    }
}
