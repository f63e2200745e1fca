//! `spine top`: what a node does just now, on one screen that renews itself. Rates come from two looks at the node's own counters;
//! nothing is kept in the node for it but who came most in the last minute.

mod sample;
mod screen;

use super::{
    args::Globals,
    client,
    failure::Done,
    output::{self, Format},
};
use crate::ops::{
    admin::AdminError,
    admin_client::AdminClient,
    recorder::{REVISION, VERSION},
};
use sample::{Sample, Work};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    io::IsTerminal,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// Looks that latencies are made of: a second alone holds few requests of a quiet site.
const KEPT: usize = 11;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine top\n  spine top --once --output json\n\n\
                  Keys: Ctrl-C ends it. Rates, latencies and parties are of the one node asked,\n\
                  leaders and lag of the whole site. 5000 ms stands for that and all above.")]
pub struct Args {
    /// Print one sample and end, as where stdout is no terminal
    #[arg(long)]
    once: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    let mut watch = Watch::begin(client(globals)?).await?;
    let interval = Duration::from_secs(args.interval);
    let terminal = std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    if args.once || !terminal || globals.output != Format::Table || globals.quiet {
        tokio::time::sleep(interval).await;
        let told = watch.look().await?;
        globals.out().one("Top", &told, "node", || screen::screen(&told, screen::ROWS, false));
        return Ok(());
    }
    live(&mut watch, interval).await
}

/// Draws until somebody ends it. A node that does not answer is waited for: this is how one watches a restart.
async fn live(watch: &mut Watch, interval: Duration) -> Done {
    let watched = |e: std::io::Error| super::failure::file("signals cannot be watched", "/proc/self".as_ref(), &e);
    let mut ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
        .into_iter()
        .map(signal)
        .collect::<Result<Vec<_>, _>>()
        .map_err(watched)?;
    let [interrupt, terminate, hangup] = ends.as_mut_slice() else { return Ok(()) };
    let terminal = screen::Terminal::open();
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    terminal.draw("looking …\n");
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = tick.tick() => {}
        }
        match watch.look().await {
            Ok(told) => terminal.draw(&screen::screen(&told, terminal.rows(), terminal.colour())),
            Err(e) => terminal.draw(&format!("{}\n", super::failure::lines(&e))),
        }
    }
}

/// A node that is looked at again and again.
struct Watch {
    client: AdminClient,
    begun: Instant,
    /// The newest last, with the entries committed of each partition then.
    looks: VecDeque<(Sample, BTreeMap<String, u64>)>,
}

impl Watch {
    async fn begin(client: AdminClient) -> Result<Watch, AdminError> {
        let mut watch = Watch { client, begun: Instant::now(), looks: VecDeque::new() };
        watch.look().await?;
        Ok(watch)
    }

    async fn look(&mut self) -> Result<Value, AdminError> {
        let (ok, text) = self.client.text("/metrics").await?;
        let at = self.begun.elapsed().as_secs_f64();
        let status = self.client.get("/v1/status").await?;
        let busiest = self.client.get("/v1/busiest").await?;
        let sample = Sample::read(if ok { &text } else { "" }, at);
        self.looks.push_back((sample, committed(&status)));
        if self.looks.len() > KEPT {
            self.looks.pop_front();
        }
        Ok(self.told(&status, &busiest))
    }

    /// Rates are of the last two looks, latencies of all that are kept.
    fn told(&self, status: &Value, busiest: &Value) -> Value {
        let newest = self.looks.len().saturating_sub(1);
        let (Some((now, entries)), Some((last, entries_then)), Some((oldest, _))) =
            (self.looks.get(newest), self.looks.get(newest.saturating_sub(1)), self.looks.front())
        else {
            return Value::Null;
        };
        let seconds = (now.at - last.at).max(f64::EPSILON);
        let (lately, longer) = (now.work_since(last), now.work_since(oldest));
        let total = |of: fn(&Work) -> f64| lately.values().map(of).sum::<f64>() / seconds;
        let ok = |name: &str| lately.get(name).map_or(0.0, |work| work.answered - work.refused) / seconds;
        json!({
            "node": status["node"]["number"], "name": status["node"]["name"], "site": status["site"]["name"],
            "members": status["site"]["members"], "version": status["node"]["version"],
            "asked_by": format!("{VERSION} {REVISION}"), "at": format!("{:.0}", jiff::Timestamp::now()),
            "seconds": round(seconds), "latency_seconds": round(now.at - oldest.at),
            "requests_per_second": round(total(|work| work.answered)),
            "refused_per_second": round(total(|work| work.refused)),
            "in_flight": now.in_flight(), "waiting": now.waiting(),
            "messages_sent_per_second": round(ok("mesh.send")),
            "messages_collected_per_second": round(ok("mesh.acknowledge")),
            "services": services(&lately, &longer, seconds),
            "partitions": partitions(status, entries, entries_then, seconds),
            "slowest": slowest(&lately, &longer, seconds),
            "parties_seconds": busiest["seconds"], "parties": busiest["parties"],
            "troubles": status["troubles"],
        })
    }
}

fn committed(status: &Value) -> BTreeMap<String, u64> {
    let all = status["partitions"].as_array().into_iter().flatten();
    all.filter_map(|p| Some((p["partition"].to_string(), p["committed"].as_u64()?))).collect()
}

/// To a tenth: no more is known, and scripts compare no digits.
fn round(value: f64) -> f64 {
    // The sum of nothing is -0.0.
    (value * 10.0).round() / 10.0 + 0.0
}

fn millis(work: Option<&Work>, part: f64) -> Option<f64> {
    work.and_then(|work| work.quantile(part)).map(|seconds| (seconds * 1e5).round() / 100.0)
}

fn line(name: &str, lately: Option<&Work>, longer: Option<&Work>, seconds: f64) -> Value {
    let rate = |of: fn(&Work) -> f64| round(lately.map_or(0.0, of) / seconds);
    json!({
        "name": name, "per_second": rate(|work| work.answered), "refused_per_second": rate(|work| work.refused),
        "p50_ms": millis(longer, 0.5), "p99_ms": millis(longer, 0.99),
    })
}

/// The busiest first.
fn services(lately: &BTreeMap<String, Work>, longer: &BTreeMap<String, Work>, seconds: f64) -> Vec<Value> {
    let (lately, longer) = (sample::by_service(lately), sample::by_service(longer));
    let mut all: Vec<(&String, &Work)> = longer.iter().collect();
    all.sort_by(|a, b| b.1.answered.total_cmp(&a.1.answered));
    all.into_iter().map(|(name, work)| line(name, lately.get(name), Some(work), seconds)).collect()
}

/// Interactions with the longest waits of the unluckiest in a hundred first.
fn slowest(lately: &BTreeMap<String, Work>, longer: &BTreeMap<String, Work>, seconds: f64) -> Vec<Value> {
    let mut all: Vec<(&String, &Work)> = longer.iter().collect();
    let tail = |work: &Work| work.quantile(0.99).unwrap_or(0.0);
    all.sort_by(|a, b| tail(b.1).total_cmp(&tail(a.1)));
    all.into_iter().map(|(name, work)| line(name, lately.get(name), Some(work), seconds)).collect()
}

fn partitions(status: &Value, now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>, seconds: f64) -> Vec<Value> {
    let one = |p: &Value| {
        let name = p["partition"].to_string();
        let grown = now.get(&name).zip(then.get(&name)).map_or(0, |(now, then)| now.saturating_sub(*then));
        json!({
            "partition": p["partition"], "leader": p["leader"], "term": p["term"],
            "entries_per_second": round(grown as f64 / seconds), "lag": p["lag"], "lags": p["lags"],
            "quorum_age_ms": p["quorum_age_ms"],
        })
    };
    status["partitions"].as_array().into_iter().flatten().map(one).collect()
}

/// `spine party top`: the parties alone.
pub async fn parties(globals: &Globals) -> Done {
    let told = client(globals)?.get("/v1/busiest").await?;
    let items: Vec<Value> = told["parties"].as_array().into_iter().flatten().map(screen::party).collect();
    let columns = [
        ("ods", "ods"),
        ("system", "system"),
        ("listener", "listener"),
        ("requests", "requests"),
        ("refused", "refused"),
        ("a second", "per_second"),
        ("at once", "at_once"),
    ];
    globals.out().list("BusiestParties", &items, &columns, "system");
    if globals.out().human() {
        let seconds = told["seconds"].as_f64().unwrap_or_default();
        output::progress(&format!("of this node, in the last {seconds:.0} s"));
    }
    globals.out().next("`spine app set CLIENT --quota N` bounds an application");
    Ok(())
}
