//! The metrics recorder: installed once a process, rendered by our own `/metrics` (no HTTP server of the library's).

use super::metrics::{ALL, BUILD_INFO, LOG_BATCH_ENTRIES, START_TIME, Shape};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Latency buckets in seconds (`operations.md` §6).
pub const LATENCY_BUCKETS: [f64; 13] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
/// Buckets for counts of things in a batch.
const COUNT_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What `/version` and `spine_build_info` say.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Source revision, given by the build as `SPINE_REVISION`.
pub const REVISION: &str = match option_env!("SPINE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder and starts all known label sets at 0. Safe to call again; later calls change nothing.
pub fn install(now_seconds: f64) {
    HANDLE.get_or_init(|| {
        let handle = build()?;
        start(now_seconds);
        Some(handle)
    });
}

fn build() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets(&LATENCY_BUCKETS)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(LOG_BATCH_ENTRIES.into()), &COUNT_BUCKETS));
    match builder.and_then(|b| b.install_recorder()) {
        Ok(handle) => Some(handle),
        Err(e) => {
            tracing::error!(event = "metrics.install.failed", error = %e, "metrics are not recorded");
            None
        }
    }
}

fn start(now_seconds: f64) {
    for m in ALL {
        match m.shape {
            Shape::Counter => match m.unit {
                Some(unit) => metrics::describe_counter!(m.name, unit, m.help),
                None => metrics::describe_counter!(m.name, m.help),
            },
            Shape::Gauge => match m.unit {
                Some(unit) => metrics::describe_gauge!(m.name, unit, m.help),
                None => metrics::describe_gauge!(m.name, m.help),
            },
            Shape::Histogram => match m.unit {
                Some(unit) => metrics::describe_histogram!(m.name, unit, m.help),
                None => metrics::describe_histogram!(m.name, m.help),
            },
        }
        for labels in m.start {
            metrics::counter!(m.name, *labels).absolute(0);
        }
    }
    metrics::gauge!(BUILD_INFO, "version" => VERSION, "revision" => REVISION).set(1.0);
    metrics::gauge!(START_TIME).set(now_seconds);
}

/// The exposition text; empty where no recorder is installed (a simulation, a unit test).
pub fn render() -> String {
    match HANDLE.get() {
        Some(Some(handle)) => {
            super::process::observe();
            handle.run_upkeep();
            handle.render()
        }
        _ => String::new(),
    }
}

/// Drains histogram samples into their buckets. Call every few seconds: undrained samples are kept in memory.
pub fn upkeep() {
    if let Some(Some(handle)) = HANDLE.get() {
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_described_bounded_and_starts_at_zero() {
        install(1.0);
        let text = render();
        for m in ALL.iter().filter(|m| !m.start.is_empty()) {
            assert!(text.contains(&format!("# HELP {} ", m.name)), "{} lacks help", m.name);
        }
        assert!(text.contains("spine_refusals_total{service=\"mesh\",kind=\"busy\"} 0"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "));
        assert!(text.lines().filter(|l| !l.starts_with('#')).count() <= 5_000);
    }
}
