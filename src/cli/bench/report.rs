//! The report of a load, for people as tables and for scripts as one JSON document (`apiVersion` `spine/v1`).

use super::{
    MeshArgs,
    phase::PhaseReport,
    stats::{Op, Stats},
    usage::Sample,
};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::{Value, json};
use std::fmt::Write;

pub struct Report {
    pub phases: Vec<PhaseReport>,
    /// Before the first phase.
    pub before: Sample,
    /// After the last phase, at rest if the user asked for it.
    pub rest: Sample,
}

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

fn quantile(stats: &Stats, op: Op, q: f64) -> f64 {
    stats.latency(op).value_at_quantile(q) as f64 / 1000.0
}

fn per_second(phase: &PhaseReport) -> f64 {
    phase.messages as f64 / phase.took.as_secs_f64().max(1e-9)
}

/// CPU-seconds of all nodes for a thousand messages.
fn cpu_per_thousand(phase: &PhaseReport) -> f64 {
    let sum: f64 = phase.after.nodes.iter().map(|n| phase.after.cpu_since(&phase.before, n.id)).sum();
    sum * 1000.0 / phase.messages.max(1) as f64
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Report {
    /// Messages that reached the disks, those of warm-ups too.
    fn sent(&self) -> u64 {
        self.phases.iter().filter(|p| p.phase != super::Phase::Collect).map(|p| p.all_messages).sum()
    }

    pub fn table(&self, args: &MeshArgs) -> String {
        let mut out = String::new();
        for phase in &self.phases {
            let _ = writeln!(
                out,
                "{}: {} messages of {} B in {:.1} s = {:.0}/s, {} in flight{}; longest silence {:.0} ms",
                phase.phase.name(),
                phase.messages,
                args.size,
                phase.took.as_secs_f64(),
                per_second(phase),
                args.in_flight,
                args.rate.map(|r| format!(", {r}/s intended")).unwrap_or_default(),
                phase.silence.as_secs_f64() * 1000.0,
            );
            let mut table = new_table(["operation", "count", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]);
            for op in Op::ALL.into_iter().filter(|op| !phase.stats.latency(*op).is_empty()) {
                let mut row = vec![op.name().to_owned(), phase.stats.latency(op).len().to_string()];
                row.extend(QUANTILES.iter().map(|(_, q)| format!("{:.2}", quantile(&phase.stats, op, *q))));
                table.add_row(row);
            }
            let _ = writeln!(out, "{table}");
            for (what, n) in &phase.stats.failures {
                let _ = writeln!(out, "failed: {what}: {n}");
            }
            if !phase.stats.refusals.is_empty() {
                let _ = writeln!(
                    out,
                    "refused with 429 or 503: {}, p50 {:.2} ms, p99 {:.2} ms; {} without Retry-After",
                    phase.stats.refusals.len(),
                    phase.stats.refusals.value_at_quantile(0.5) as f64 / 1000.0,
                    phase.stats.refusals.value_at_quantile(0.99) as f64 / 1000.0,
                    phase.stats.without_retry_after,
                );
            }
            if !phase.after.nodes.is_empty() {
                let _ = writeln!(out, "{}", nodes_table(phase));
            }
            let _ = writeln!(
                out,
                "CPU of all nodes for 1,000 messages: {:.3} s; of the generator itself: {:.3} s\n",
                cpu_per_thousand(phase),
                (phase.after.own_cpu_s - phase.before.own_cpu_s) * 1000.0 / phase.messages.max(1) as f64,
            );
        }
        if self.sent() > 0 && !self.rest.nodes.is_empty() {
            let grown = self.rest.disk() as f64 - self.before.disk() as f64;
            let _ = writeln!(out, "disk of all nodes for each message sent: {:.0} B", grown / self.sent() as f64);
        }
        out
    }

    pub fn json(&self, args: &MeshArgs) -> Value {
        let grown = self.rest.disk() as f64 - self.before.disk() as f64;
        json!({
            "apiVersion": "spine/v1",
            "kind": "BenchReport",
            "profile": "mesh",
            "in_flight": args.in_flight,
            "rate": args.rate,
            "size_bytes": args.size,
            "payload": if args.payload == super::Payload::Text { "text" } else { "random" },
            "nodes_loaded": args.nodes,
            "phases": self.phases.iter().map(phase_json).collect::<Vec<_>>(),
            "disk": {
                "before_bytes": self.before.disk(),
                "after_bytes": self.rest.disk(),
                "bytes_per_message": if self.sent() > 0 { json!(grown / self.sent() as f64) } else { Value::Null },
                "nodes": self.rest.nodes.iter().map(|n| json!({"id": n.id, "bytes": n.disk})).collect::<Vec<_>>(),
            },
        })
    }
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

fn nodes_table(phase: &PhaseReport) -> Table {
    let mut table =
        new_table(["node", "CPU s", "CPU s / 1,000", "RSS MiB", "RSS peak MiB", "disk MiB", "disk grown MiB"]);
    for node in &phase.after.nodes {
        let cpu = phase.after.cpu_since(&phase.before, node.id);
        let before = phase.before.nodes.iter().find(|n| n.id == node.id).map_or(0, |n| n.disk);
        table.add_row([
            node.id.to_string(),
            format!("{cpu:.2}"),
            format!("{:.3}", cpu * 1000.0 / phase.messages.max(1) as f64),
            format!("{:.0}", mib(node.rss)),
            format!("{:.0}", mib(node.rss_peak)),
            format!("{:.1}", mib(node.disk)),
            format!("{:.1}", mib(node.disk) - mib(before)),
        ]);
    }
    table
}

fn phase_json(phase: &PhaseReport) -> Value {
    let operation = |op: Op| {
        let h = phase.stats.latency(op);
        let mut one = serde_json::Map::new();
        one.insert("count".into(), h.len().into());
        one.insert("mean_ms".into(), json!(h.mean() / 1000.0));
        for (name, q) in QUANTILES {
            one.insert(format!("{}_ms", name.replace('.', "_")), json!(quantile(&phase.stats, op, q)));
        }
        (op.name().to_owned(), Value::Object(one))
    };
    let node = |n: &super::usage::NodeUse| {
        json!({
            "id": n.id,
            "cpu_s": phase.after.cpu_since(&phase.before, n.id),
            "rss_bytes": n.rss,
            "rss_peak_bytes": n.rss_peak,
            "disk_bytes": n.disk,
        })
    };
    let operations: serde_json::Map<String, Value> =
        Op::ALL.into_iter().filter(|op| !phase.stats.latency(*op).is_empty()).map(operation).collect();
    json!({
        "phase": phase.phase.name(),
        "seconds": phase.took.as_secs_f64(),
        "messages": phase.messages,
        "messages_per_s": per_second(phase),
        "cpu_s_per_1000": cpu_per_thousand(phase),
        "generator_cpu_s": phase.after.own_cpu_s - phase.before.own_cpu_s,
        "longest_silence_ms": phase.silence.as_secs_f64() * 1000.0,
        "operations": operations,
        "failures": phase.stats.failures,
        "refusals": {
            "count": phase.stats.refusals.len(),
            "p50_ms": phase.stats.refusals.value_at_quantile(0.5) as f64 / 1000.0,
            "p99_ms": phase.stats.refusals.value_at_quantile(0.99) as f64 / 1000.0,
            "without_retry_after": phase.stats.without_retry_after,
        },
        "nodes": phase.after.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}
