//! Rows through the store: ours (table in memory over sealed blocks in sled), plain sled, and fjall beside them.
//!
//! `cargo bench --bench store -- [--small N] [--large N] [--engine spine|sled|fjall]… [--rising] [--until PHASE]`. Each
//! engine and size runs in a process of its own, so that CPU time and resident memory are its own. Rows come in random
//! key order, or in key order with `--rising`, 50 to an entry, as the log would bring them; nothing is synced, as
//! nothing rests on an engine. `--until` ends with the first phase whose name begins so.

use anyhow::{Context, Result};
use bytes::Bytes;
use spine::seam::{World, clock::SystemClock, fs_real::RealFs, rng::SystemRng};
use spine::store::{Position, Reader, RowOp, Store, StoreOptions};
use std::{path::Path, process::Command, sync::Arc, time::Instant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Rows of one entry.
const ENTRY: u64 = 50;

/// What each engine must do.
trait Engine {
    fn apply(&mut self, rows: Vec<RowOp>) -> Result<()>;
    fn get(&self, key: &[u8]) -> Result<Option<usize>>;
    /// Everything so far leaves the tables in memory.
    fn settle(&mut self) -> Result<()>;
}

struct Spine {
    runtime: tokio::runtime::Runtime,
    partition: Arc<spine::store::Partition>,
    index: u64,
    _store: Store,
}

impl Spine {
    fn open(dir: &Path) -> Result<Spine> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let world = World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) };
        let mut options = StoreOptions::default();
        // Bounds to try, in MiB: rows in memory, block cache, the engine's cache.
        if let Ok(tried) = std::env::var("BENCH_BOUNDS") {
            let mib: Vec<usize> = tried.split(',').map(str::parse).collect::<Result<_, _>>()?;
            anyhow::ensure!(mib.len() == 3, "BENCH_BOUNDS=rows,blocks,engine");
            (options.memory_bytes, options.cache_bytes) = (mib[0] << 20, mib[1] << 20);
            options.sled_cache_bytes = (mib[2] as u64) << 20;
        }
        let store = runtime.block_on(Store::open(world, dir.to_path_buf(), options))?;
        Ok(Spine { partition: store.partition(1)?, runtime, index: 0, _store: store })
    }
}

impl Engine for Spine {
    fn apply(&mut self, rows: Vec<RowOp>) -> Result<()> {
        self.runtime.block_on(self.partition.room());
        self.index += 1;
        self.partition.apply(Position { index: self.index, term: 1, leader: 1 }, &rows);
        Ok(())
    }
    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.partition.get(key)?.map(|v| v.len()))
    }
    fn settle(&mut self) -> Result<()> {
        self.runtime.block_on(self.partition.flush())?;
        Ok(())
    }
}

struct Sled(sled::Db);

impl Engine for Sled {
    fn apply(&mut self, rows: Vec<RowOp>) -> Result<()> {
        let mut batch = sled::Batch::default();
        for row in rows {
            match row {
                RowOp::Put { key, value, .. } => batch.insert(&key[..], &value[..]),
                RowOp::Delete { key } => batch.remove(&key[..]),
            }
        }
        Ok(self.0.apply_batch(batch)?)
    }
    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.0.get(key)?.map(|v| v.len()))
    }
    fn settle(&mut self) -> Result<()> {
        self.0.flush()?;
        Ok(())
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Engine for Fjall {
    fn apply(&mut self, rows: Vec<RowOp>) -> Result<()> {
        let mut batch = self.0.batch();
        for row in rows {
            match row {
                RowOp::Put { key, value, .. } => batch.insert(&self.1, &key[..], &value[..]),
                RowOp::Delete { key } => batch.remove(&self.1, &key[..]),
            }
        }
        Ok(batch.commit()?)
    }
    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.1.get(key)?.map(|v| v.len()))
    }
    fn settle(&mut self) -> Result<()> {
        Ok(self.1.rotate_memtable_and_wait()?)
    }
}

fn open(engine: &str, dir: &Path) -> Result<Box<dyn Engine>> {
    Ok(match engine {
        "spine" => Box::new(Spine::open(dir)?),
        "sled" => Box::new(Sled(sled::Config::new().path(dir).cache_capacity(64 << 20).flush_every_ms(None).open()?)),
        "fjall" => {
            let db = fjall::Database::builder(dir).cache_size(64 << 20).manual_journal_persist(true).open()?;
            let rows = db.keyspace("rows", fjall::KeyspaceCreateOptions::default)?;
            Box::new(Fjall(db, rows))
        }
        other => anyhow::bail!("no engine {other}"),
    })
}

/// A number's scrambled twin: keys and values without order, the same in each run.
fn scramble(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// What rows are made.
#[derive(Clone, Copy)]
struct Rows {
    large: bool,
    /// Keys in the order in which rows come, not scattered.
    rising: bool,
}

impl Rows {
    /// 16 bytes: a table's number, then an id.
    fn key(self, n: u64) -> Bytes {
        let mut key = vec![40; 8];
        key.extend_from_slice(&if self.rising { n } else { scramble(n) }.to_be_bytes());
        key.into()
    }
    fn put(self, n: u64, version: u64, fresh: bool) -> RowOp {
        RowOp::Put { key: self.key(n), value: value(n, version, self.large), fresh }
    }
}

/// 32 random bytes, or 1 KiB of record-like text that a compressor halves.
fn value(n: u64, version: u64, large: bool) -> Bytes {
    let mut seed = scramble(n ^ version << 40);
    let mut next = || {
        seed = scramble(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
        seed
    };
    let mut out = Vec::with_capacity(1100);
    if large {
        while out.len() < 1024 {
            out.extend_from_slice(format!("\"code\":\"{}\",\"at\":{:016x},", next() % 1000, next()).as_bytes());
        }
        out.truncate(1024);
    } else {
        (0..4).for_each(|_| out.extend_from_slice(&next().to_le_bytes()));
    }
    out.into()
}

struct Meter {
    engine: String,
    size: &'static str,
    dir: std::path::PathBuf,
    started: Instant,
    cpu: f64,
}

impl Meter {
    fn new(engine: &str, size: &'static str, dir: &Path) -> Result<Meter> {
        Ok(Meter { engine: engine.into(), size, dir: dir.into(), started: Instant::now(), cpu: cpu()? })
    }
    /// Prints one row of the table.
    fn row(&mut self, phase: &str, rows: u64, logical: u64) -> Result<()> {
        let (wall, cpu_now) = (self.started.elapsed().as_secs_f64(), cpu()?);
        let disk = if logical == 0 { "-".into() } else { format!("{:.2}", disk(&self.dir)? as f64 / logical as f64) };
        println!(
            "| {} | {} | {} | {:.0} | {:.1} | {} | {} |",
            self.size,
            phase,
            self.engine,
            rows as f64 / wall / 1000.0,
            (cpu_now - self.cpu) * 1e6 / rows as f64,
            resident()? >> 20,
            disk
        );
        (self.started, self.cpu) = (Instant::now(), cpu()?);
        Ok(())
    }
}

/// One engine, one kind of rows: write, read at random, overwrite, delete; ends with the phase that `until` begins.
fn one(engine: &str, kind: Rows, rows: u64, until: Option<&str>) -> Result<()> {
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into()))?;
    let mut store = open(engine, dir.path())?;
    let size = if kind.large { "1 KiB" } else { "48 B" };
    let row_bytes = if kind.large { 16 + 1024 } else { 16 + 32 };
    let mut meter = Meter::new(engine, size, dir.path())?;
    let change = |store: &mut Box<dyn Engine>, from: u64, to: u64, make: &dyn Fn(u64) -> RowOp| {
        (from..to).step_by(ENTRY as usize).try_for_each(|n| store.apply((n..to.min(n + ENTRY)).map(make).collect()))
    };
    for phase in ["write", "read", "overwrite half", "delete half", "put and collect"] {
        let (done, logical) = match phase {
            "write" => {
                change(&mut store, 0, rows, &|n| kind.put(n, 0, true))?;
                (rows, rows * row_bytes)
            }
            "read" => {
                for n in 0..rows / 4 {
                    let found = store.get(&kind.key(scramble(n) % rows))?;
                    anyhow::ensure!(found == Some(row_bytes as usize - 16), "a row is missing");
                }
                (rows / 4, 0)
            }
            "overwrite half" => {
                let scattered = |n| if kind.rising { n } else { scramble(n) % rows };
                change(&mut store, 0, rows / 2, &|n| kind.put(scattered(n), 1, false))?;
                (rows / 2, rows * row_bytes)
            }
            "delete half" => {
                change(&mut store, 0, rows / 2, &|n| RowOp::Delete { key: kind.key(n) })?;
                (rows / 2, rows * row_bytes / 2)
            }
            // A queue: made and gone again shortly after, as a message that is collected.
            _ => {
                for n in (0..rows / 2).step_by(ENTRY as usize) {
                    let ids = || (n..n + ENTRY).map(|n| n + (1 << 40));
                    store.apply(ids().map(|n| kind.put(n, 2, true)).collect())?;
                    store.apply(ids().map(|n| RowOp::Delete { key: kind.key(n) }).collect())?;
                }
                (rows / 2, rows * row_bytes / 2)
            }
        };
        if phase != "read" {
            store.settle()?;
        }
        meter.row(phase, done, logical)?;
        if until.is_some_and(|until| phase.starts_with(until)) {
            break;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let all = |name: &str| -> Vec<String> { args.windows(2).filter(|w| w[0] == name).map(|w| w[1].clone()).collect() };
    let number = |name: &str, default: u64| all(name).first().map_or(Ok(default), |v| v.parse());
    if let Some(engine) = all("--one").first() {
        let has = |name: &str| args.iter().any(|a| a == name);
        let kind = Rows { large: has("--large-rows"), rising: has("--rising") };
        return one(engine, kind, number("--rows", 1000)?, all("--until").first().map(String::as_str));
    }
    let (small, large) = (number("--small", 200_000)?, number("--large", 40_000)?);
    let mut engines = all("--engine");
    if engines.is_empty() {
        engines = ["spine", "sled", "fjall"].map(String::from).into();
    }
    let mut passed: Vec<String> = all("--until").into_iter().flat_map(|until| ["--until".into(), until]).collect();
    passed.extend(args.iter().filter(|a| *a == "--rising").cloned());
    println!("| row | phase | engine | 1,000 rows/s | CPU µs/row | resident MiB (peak) | disk/logical |");
    println!("|---|---|---|---|---|---|---|");
    for (rows, kind) in [(small, None), (large, Some("--large-rows"))].into_iter().filter(|(rows, _)| *rows > 0) {
        for engine in &engines {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--one", engine, "--rows", &rows.to_string()]).args(kind).args(&passed);
            let status = command.status().context("the bench runs itself")?;
            anyhow::ensure!(status.success(), "{engine} failed");
        }
    }
    Ok(())
}

/// CPU seconds of this process, all threads.
fn cpu() -> Result<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Most resident bytes so far.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? << 10)
}

fn disk(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // Files may go while they are counted.
        let Ok(meta) = entry.metadata() else { continue };
        bytes += if meta.is_dir() { disk(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}
