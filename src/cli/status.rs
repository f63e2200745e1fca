//! `spine status`: one screen about the node and its site. Exit 3 when something is not as it should be.

use super::{
    args::Globals,
    client,
    failure::{Done, exit, failure},
    output,
};
use crate::ops::codes;
use serde_json::Value;

pub async fn run(globals: &Globals) -> Done {
    let told = client(globals)?.get("/v1/status").await?;
    globals.out().one("Status", &told, "node.name", || screen(&told));
    let troubles = told["troubles"].as_array().cloned().unwrap_or_default();
    if troubles.is_empty() {
        return Ok(());
    }
    let words: Vec<&str> = troubles.iter().filter_map(Value::as_str).collect();
    let fix = "see `spine cluster status`, then `spine doctor`";
    let what = match told["takes_writes"] == false {
        true => "the site does not take every write: a part of it stands still",
        false => "the site works, but not as it should",
    };
    Err(failure(&codes::CLI_DEGRADED, what, words.join("; "), fix).with_exit(exit::DEGRADED).after_a_report())
}

fn screen(told: &Value) -> String {
    let t = |path: &str| output::text(told, path);
    let mut out = output::facts(&[
        ("node", format!("{} (number {}, incarnation {})", t("node.name"), t("node.number"), t("node.incarnation"))),
        ("site", format!("{} ({}), {} members", t("site.name"), t("site.environment"), t("site.members"))),
        ("version", running(told)),
        ("up since", t("node.started")),
        ("ready", t("node.ready")),
        ("draining", t("node.draining")),
        ("suppliers", t("node.supplier")),
        ("peers", t("node.peer")),
        ("disk", format!("{} free of {}{}", t("disk.free"), t("disk.total"), pace(told))),
        ("at rest", at_rest(told)),
        ("deliveries", deliveries(told)),
        ("backup", backup(told)),
        ("clock", clock(told)),
        ("certificates", certificates(told)),
        ("revocations", revocations(told)),
        ("staff register", registration(told)),
    ]);
    out.push('\n');
    out.push_str(&partitions(told));
    out
}

/// After an upgrade of the package the old program runs on until it is restarted; say so.
fn running(told: &Value) -> String {
    let running = output::text(told, "node.version");
    match env!("CARGO_PKG_VERSION") {
        installed if installed != running => {
            format!("running {running}, installed {installed}: run `spine node restart`")
        }
        installed if told["node"]["program_replaced"] == true => {
            format!("running {running}, installed another build of {installed}: run `spine node restart`")
        }
        _ => running,
    }
}

/// What the background check of everything stored has found.
fn at_rest(told: &Value) -> String {
    let t = |path: &str| output::text(told, path);
    let checked = match told["damage"]["scrubbed"].as_str().unwrap_or_default() {
        "" => "not all checked since the start".to_owned(),
        at => format!("all checked at {at}"),
    };
    let mended = told["damage"]["mended_at_start"].as_array().map_or(0, Vec::len);
    format!("{checked}, {} damaged, {} repaired, {mended} mended at the start", t("damage.found"), t("damage.repaired"))
}

/// How long syncs take just now, where enough are made to say so.
fn pace(told: &Value) -> String {
    told["disk"]["sync_ms"].as_f64().map_or(String::new(), |millis| format!(", a sync takes {millis:.1} ms"))
}

/// What is on its way between partitions.
fn deliveries(told: &Value) -> String {
    let t = |path: &str| output::text(told, path);
    format!(
        "{} wait, the oldest for {} s; {} undeliverable",
        t("outbox.waiting"),
        t("outbox.oldest_seconds"),
        t("outbox.dead_letters")
    )
}

/// How old the newest backup is that this node made.
fn backup(told: &Value) -> String {
    let Some(age) = told["backup"]["age_seconds"].as_u64() else { return "none was made here".into() };
    let old = match age / 3600 {
        0 => format!("{} min", age / 60),
        hours @ 1..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    };
    let archive = super::backup::archive(&told["backup"]["archive"], "; ");
    match told["backup"]["verified"].as_str() {
        Some(at) => format!("the last is {old} old; one was verified at {at}{archive}"),
        None => format!("the last is {old} old; none was verified{archive}"),
    }
}

fn clock(told: &Value) -> String {
    let ahead = told["clock"]["ahead_ms"].as_i64().unwrap_or(0) as f64 / 1000.0;
    match told["clock"]["standing"].as_str().unwrap_or_default() {
        "right" => format!("{ahead:+.3} s from the median of all nodes"),
        "alone" => "no other clock is known".into(),
        _ => told["clock"]["trouble"].as_str().unwrap_or("-").to_owned(),
    }
}

fn certificates(told: &Value) -> String {
    let all = told["certificates"].as_array().cloned().unwrap_or_default();
    let soonest = all.iter().min_by_key(|c| c["days_left"].as_i64().unwrap_or(i64::MAX));
    soonest.map_or("-".into(), |c| {
        format!("first to run out: {} in {} days", output::text(c, "use"), output::text(c, "days_left"))
    })
}

fn revocations(told: &Value) -> String {
    let t = |path: &str| output::text(told, path);
    match told["revocations"]["state"].as_str().unwrap_or_default() {
        "fresh" => format!("list good until {}", t("revocations.next_update")),
        "stale" => format!("list OUT OF DATE, believed until {}", t("revocations.believed_until")),
        "refusing" => format!("list OUT OF DATE, clients are refused since {}", t("revocations.believed_until")),
        "unreadable" => "list cannot be read".into(),
        _ => "no list".into(),
    }
}

/// How strictly people who work here are let in.
pub fn registration(told: &Value) -> String {
    let rules = &told["registration"];
    let open = match rules["open"] == true {
        true => format!("OPEN until {}: people come in without a registration", output::text(rules, "open_until")),
        false => "closed".into(),
    };
    let accounts = match rules["one_operator"] == true {
        true => "ONE operator account enters the steps of two people",
        false => "two operator accounts for the steps of two people",
    };
    format!("{open}; {accounts}")
}

/// The table of partitions, shared with `cluster status`.
pub fn partitions(told: &Value) -> String {
    let fields = ["partition", "leader", "term", "committed", "applied", "voters", "learners", "lag"];
    let mut table = output::table(fields.into_iter());
    for partition in told["partitions"].as_array().into_iter().flatten() {
        table.add_row(fields.map(|f| output::text(partition, f)));
    }
    output::render(&table)
}
