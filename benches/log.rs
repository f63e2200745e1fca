//! The log's write path on this machine's disk, beside a bare write and fdatasync of the same bytes.
//!
//! `cargo bench --bench log -- [--dir DIR] [--seconds N]`. Prints medians: latency of a lone append, entries a second
//! at several batch sizes and depths, CPU an entry.

use anyhow::{Context, Result};
use bytes::Bytes;
use spine::log::{GroupLog, Log, LogOptions, LogRecord};
use spine::seam::{
    World,
    clock::SystemClock,
    fs::{Fs, Open},
    fs_real::RealFs,
    rng::SystemRng,
};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Payload of an entry.
const ENTRY: usize = 1024;
/// Entries kept before a purge, as a snapshot would do.
const KEPT: u64 = 200_000;

fn main() -> Result<()> {
    let mut dir = PathBuf::from(std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into()));
    let mut seconds = 3.0;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dir" => dir = args.next().context("--dir needs a value")?.into(),
            "--seconds" => seconds = args.next().context("--seconds needs a value")?.parse()?,
            _ => {}
        }
    }
    let dir = tempfile::tempdir_in(dir)?;
    let span = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{:<44} {:>12} {:>10} {:>10} {:>12}", "what", "entries/s", "p50 us", "p99 us", "CPU us/entry");
    for entries in [1, 256] {
        bare(dir.path(), entries, span)?;
    }
    for (entries, depth) in [(1, 1), (256, 1), (256, 4), (1, 32), (1, 256), (16, 16)] {
        runtime.block_on(appends(&dir.path().join(format!("log-{entries}-{depth}")), entries, depth, span))?;
    }
    Ok(())
}

fn cpu() -> Duration {
    match nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) {
        Ok(usage) => {
            let micros = |t: nix::sys::time::TimeVal| t.tv_sec() as u64 * 1_000_000 + t.tv_usec() as u64;
            Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
        }
        Err(_) => Duration::ZERO,
    }
}

fn line(what: &str, entries: u64, span: Duration, cpu: Duration, mut each: Vec<Duration>) {
    each.sort();
    let at = |part: f64| each.get((each.len() as f64 * part) as usize).map_or(0, |d| d.as_micros());
    println!(
        "{what:<44} {:>12.0} {:>10} {:>10} {:>12.1}",
        entries as f64 / span.as_secs_f64(),
        at(0.5),
        at(0.99),
        cpu.as_secs_f64() * 1e6 / entries as f64
    );
}

/// The floor: the same bytes into written preallocation, one write and one fdatasync at a time.
fn bare(dir: &Path, entries: usize, span: Duration) -> Result<()> {
    let file = RealFs.open(&dir.join(format!("bare-{entries}")), Open::Create)?;
    let size = (64 << 20) as u64;
    file.preallocate(size)?;
    let data = vec![7u8; entries * ENTRY];
    let (started, before) = (Instant::now(), cpu());
    let (mut each, mut at) = (Vec::new(), 0);
    while started.elapsed() < span {
        let begun = Instant::now();
        file.write_at(at, &data)?;
        file.sync()?;
        each.push(begun.elapsed());
        at = (at + data.len() as u64) % (size - data.len() as u64);
    }
    let count = (each.len() * entries) as u64;
    line(&format!("bare write + fdatasync, {entries} x 1 KiB"), count, started.elapsed(), cpu() - before, each);
    Ok(())
}

/// `depth` appends of `entries` entries each under way at any time.
async fn appends(dir: &Path, entries: u64, depth: usize, span: Duration) -> Result<()> {
    let world = World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) };
    let (log, _) = Log::open(world, dir.into(), LogOptions::default()).await?;
    let group = log.group(1);
    let payload = Bytes::from(vec![7u8; ENTRY]);
    let (started, before) = (Instant::now(), cpu());
    let (mut each, mut waiting, mut next) = (Vec::new(), VecDeque::new(), 0u64);
    while started.elapsed() < span {
        while waiting.len() < depth {
            let records = (next..next + entries)
                .map(|index| LogRecord { index, term: 1, leader: 1, payload: payload.clone() })
                .collect();
            waiting.push_back(append(&group, records));
            next += entries;
        }
        if let Some((begun, done)) = waiting.pop_front() {
            done.await??;
            each.push(begun.elapsed());
        }
        if next % KEPT < entries && next > KEPT {
            group.purge(next - KEPT, 1, 1).await?;
        }
    }
    for (_, done) in waiting {
        done.await??;
    }
    let what = format!("log, {depth} under way, {entries} x 1 KiB each");
    line(&what, next, started.elapsed(), cpu() - before, each);
    drop(group);
    log.close().await;
    Ok(())
}

type Done = tokio::sync::oneshot::Receiver<std::io::Result<()>>;

fn append(group: &GroupLog, records: Vec<LogRecord>) -> (Instant, Done) {
    let (send, receive) = tokio::sync::oneshot::channel();
    let begun = Instant::now();
    group.append(
        records,
        Box::new(move |result| {
            let _ = send.send(result);
        }),
    );
    (begun, receive)
}
