//! The process's own figures, from `/proc/self` (the unit hides the rest of `/proc`).

use super::metrics::*;
use std::fs;

/// Reads the figures and sets the `process_*` metrics. A file that cannot be read leaves its metric as it was.
pub fn observe() {
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        observe_stat(&stat);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        metrics::gauge!(PROCESS_FDS).set(entries.count() as f64);
    }
    if let Ok((soft, _)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        metrics::gauge!(PROCESS_MAX_FDS).set(soft as f64);
    }
}

fn observe_stat(stat: &str) {
    // The command name may hold spaces and brackets; fields count from behind its last bracket.
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let fields: Vec<u64> = rest.split_ascii_whitespace().skip(1).map(|f| f.parse().unwrap_or(0)).collect();
    // Index 0 is field 4 of proc_pid_stat(5).
    let field = |number: usize| fields.get(number - 4).copied().unwrap_or(0);
    let ticks = ticks_per_second();
    // Whole seconds: the counter's library type is an integer, and rates over minutes need no more.
    metrics::counter!(PROCESS_CPU).absolute(((field(14) + field(15)) as f64 / ticks) as u64);
    metrics::gauge!(PROCESS_THREADS).set(field(20) as f64);
    metrics::gauge!(PROCESS_VIRTUAL).set(field(23) as f64);
    metrics::gauge!(PROCESS_RESIDENT).set(field(24) as f64 * page_size());
    if let Some(booted) = boot_time() {
        metrics::gauge!(PROCESS_START).set(booted + field(22) as f64 / ticks);
    }
}

/// Whether the program's file is another by now, as after an upgrade of the package, which leaves the process running.
pub fn replaced() -> bool {
    fs::read_link("/proc/self/exe").is_ok_and(|path| path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)"))
}

/// Linux has counted in hundredths of a second on every architecture we build for.
fn ticks_per_second() -> f64 {
    100.0
}

fn page_size() -> f64 {
    4096.0
}

/// Unix time of boot; not to be had under `ProcSubset=pid`, where `spine_start_time_seconds` serves instead.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}
