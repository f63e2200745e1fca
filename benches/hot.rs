//! Instructions that the hot parts take, counted by valgrind, so that a busy machine counts the same.
//!
//! `cargo bench --bench hot`. Each part runs in a process of its own under `valgrind --tool=callgrind`, once a few
//! times and once many times more; the difference over the number of repetitions is what one costs, set-up excluded.
//! The program itself makes no judgement: compare with the table of docs/performance.md.

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use spine::audit::{self, Chain};
use spine::engine::draft::{Decide, Draft, MapStore, Overlay, Stamp};
use spine::engine::{Command, PartitionId, SITE};
use spine::log::{Log, LogOptions, LogRecord};
use spine::model::{EpochMillis, time};
use spine::seam::{World, clock::SystemClock, fs_real::RealFs, rng::SystemRng};
use spine::services::directory::{Directory, lines, rows as registry};
use spine::services::mesh::{Attempt, BodyInfo, Mesh, MeshOptions, route};
use spine::store::{Position, Reader, RowOp, Store, StoreOptions, tables::Table};
use spine::wire::mesh::{hex_encode, token::Token};
use spine::wire::record::Record as _;
use std::hint::black_box;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// 2026-11-22T00:59:33.579Z.
const NOW: EpochMillis = 1_795_309_173_579;
const KEY: &[u8] = b"TestKey";
const FROM: &str = "X26ABC1";
const TO: &str = "X26ABC2";
/// Repetitions of the shorter and of the longer run.
const FEW: u64 = 20;
const MANY: u64 = 220;
/// Rows of a batch that is applied, and entries of an append.
const BATCH: u64 = 64;
/// Reads counted together: the store's set-up has threads, whose count varies by more than a few reads cost.
const READS: u64 = 500;

type Part = fn(u64) -> Result<()>;

const PARTS: &[(&str, Part)] = &[
    ("record: an audit record encoded", record_encode),
    ("record: an audit record decoded", record_decode),
    ("audit: a record chained, with its index rows", chain),
    ("mesh: a token read and its hash checked", token_check),
    ("mesh: a send's head and body to a command", ask_send),
    ("mesh: a send decided", decide_send),
    ("store: 64 fresh rows applied", apply),
    ("store: 500 rows read from cached blocks", block_hit),
    ("store: 500 keys sought that are in no block", block_miss),
    ("log: 64 entries of 1 KiB appended and synced", log_append),
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, part, times] = args.as_slice()
        && first == "--one"
    {
        let (_, run) = PARTS.get(part.parse::<usize>()?).context("no such part")?;
        return run(times.parse()?);
    }
    if std::process::Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: instructions are counted by valgrind, which is not here (apt-get install valgrind)");
        return Ok(());
    }
    println!("| part | instructions |\n|---|---|");
    for (n, (name, _)) in PARTS.iter().enumerate() {
        let each = (counted(n, MANY)? - counted(n, FEW)?) / (MANY - FEW) as i64;
        println!("| {name} | {each} |");
    }
    Ok(())
}

/// Instructions of a whole run, all threads.
fn counted(part: usize, times: u64) -> Result<i64> {
    let mut command = std::process::Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
    let done = command.args(["--one", &part.to_string(), &times.to_string()]).output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{said}");
    let count = said.lines().find_map(|l| l.split_once("Collected :")).context("valgrind gave no count")?;
    Ok(count.1.trim().parse()?)
}

fn sample() -> audit::Record {
    audit::Record {
        sequence: 70_000,
        at: NOW,
        node: 1,
        interaction: "mesh.send".into(),
        outcome: "ok".into(),
        object: "20261122005933579ABCDE".into(),
        other: "X26ABC1 X26ABC2".into(),
        detail: "mesh-client/1.0".into(),
        correlation_id: "0123456789abcdef".into(),
        asid: "200000000001".into(),
        ods: "X26".into(),
        certificate: "ab".repeat(32),
        address: "127.0.0.1".into(),
        ..Default::default()
    }
}

fn record_encode(times: u64) -> Result<()> {
    let record = sample();
    (0..times).for_each(|_| drop(black_box(black_box(&record).encode())));
    Ok(())
}

fn record_decode(times: u64) -> Result<()> {
    let bytes = sample().encode();
    (0..times).try_for_each(|_| audit::Record::decode(black_box(&bytes)).map(|r| drop(black_box(r))))?;
    Ok(())
}

fn chain(times: u64) -> Result<()> {
    let (mut chain, mut rows) = (Chain::default(), vec![]);
    for _ in 0..times {
        rows.clear();
        chain.push(sample(), &mut rows);
    }
    black_box(chain);
    Ok(())
}

fn token(count: u64) -> String {
    let stamp = &time::compact(NOW)[..12];
    let hash = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, KEY),
        format!("{FROM}:0b5c9d1a-nonce:{count}:password:{stamp}").as_bytes(),
    );
    format!("NHSMESH {FROM}:0b5c9d1a-nonce:{count}:{stamp}:{}", hex_encode(hash.as_ref()))
}

fn token_check(times: u64) -> Result<()> {
    let (header, key) = (token(1), hmac::Key::new(hmac::HMAC_SHA256, KEY));
    for _ in 0..times {
        let token = Token::parse(black_box(header.as_bytes()), FROM)?;
        let hash = spine::wire::mesh::hex_decode(token.hash).context("a hash")?;
        hmac::verify(&key, &token.message("password"), &hash).map_err(|_| anyhow!("a wrong hash"))?;
        black_box(token.time());
    }
    Ok(())
}

/// A registry of two mailboxes, and MESH over it.
fn site() -> Result<(Mesh, MapStore)> {
    const LINES: [&str; 3] = [
        r#"{"mailbox_id":"X26ABC1","mailbox_name":"A","ods_code":"X26","password":"password","active":true}"#,
        r#"{"mailbox_id":"X26ABC2","mailbox_name":"B","ods_code":"X26","password":"password","active":true}"#,
        r#"{"workflow_id":"TEST_WORKFLOW","senders":["X26ABC1"],"receivers":["X26ABC2"]}"#,
    ];
    let mut store = MapStore::default();
    for (n, line) in LINES.iter().enumerate() {
        let command = lines::parse(line)?.context("a line")?;
        let mut command = Command { payload: command.encode(), ..Default::default() };
        command.caller.operator = "uid:0".into();
        let overlay = Overlay::default();
        let mut draft = Draft::new(&store, &overlay, &store);
        Directory.decide(&mut draft, &stamp(SITE, n as u64 + 1), &command)?;
        let rows = draft.finish().rows;
        store.apply(rows);
    }
    ensure!(registry::mailbox(&store, TO)?.is_some(), "the registry is empty");
    Ok((Mesh::new(MeshOptions { shared_key: KEY.to_vec(), ..Default::default() }), store))
}

fn stamp(partition: PartitionId, sequence: u64) -> Stamp {
    Stamp { now: NOW, partition, partitions: 1, sequence, entropy: [7; 16] }
}

fn send_headers(count: u64) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    let token = token(count);
    for (name, value) in [
        ("authorization", token.as_str()),
        ("mex-to", TO),
        ("mex-workflowid", "TEST_WORKFLOW"),
        ("content-type", "application/octet-stream"),
    ] {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    }
    Ok(map)
}

fn sends(mesh: &Mesh, site: &MapStore, headers: &[HeaderMap]) -> Vec<Command> {
    let route = route("POST", "/messageexchange/X26ABC1/outbox", "");
    let body = Bytes::from(vec![b'x'; 1024]);
    let ask = |(n, headers): (usize, &HeaderMap)| {
        let attempt = Attempt { number: n as u64 + 1, forgiven: vec![] };
        let Ok(asked) = mesh.ask(&route, headers, BodyInfo::Inline(body.clone()), site, attempt) else {
            panic!("the bench's own send was refused");
        };
        asked.calls.into_iter().map(|call| Command { key: call.key, payload: call.payload, ..Default::default() })
    };
    headers.iter().enumerate().flat_map(ask).collect()
}

fn ask_send(times: u64) -> Result<()> {
    let (mesh, site) = site()?;
    let headers = [send_headers(1)?];
    (0..times).for_each(|_| drop(black_box(sends(&mesh, &site, &headers))));
    Ok(())
}

fn decide_send(times: u64) -> Result<()> {
    let (mesh, site) = site()?;
    // Both runs make as many commands, so that making them cancels out.
    let headers: Vec<HeaderMap> = (0..MANY).map(send_headers).collect::<Result<_>>()?;
    let commands = sends(&mesh, &site, &headers);
    ensure!(commands.len() == MANY as usize, "a send is one command");
    let (rows, overlay) = (MapStore::default(), Overlay::default());
    for (n, command) in commands.iter().take(times as usize).enumerate() {
        let mut draft = Draft::new(&rows, &overlay, &site);
        let reply = mesh.decide(&mut draft, &stamp(PartitionId(1), n as u64 + 1), command)?;
        ensure!(spine::services::mesh::Reply::of(&reply).is_ok_and(|r| r.problem.is_none()), "a send was refused");
        black_box(draft.finish().rows);
    }
    Ok(())
}

fn key(n: u64) -> Bytes {
    Table::Messages.key().text(TO).number(n).build()
}

fn on_store(work: impl FnOnce(&Arc<spine::store::Partition>, &dyn Fn()) -> Result<()>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let world = World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) };
    let store = runtime.block_on(Store::open(world, dir.path().to_path_buf(), StoreOptions::default()))?;
    let partition = store.partition(1)?;
    let flush = || drop(runtime.block_on(partition.flush()));
    work(&partition, &flush)
}

fn rows(from: u64, count: u64) -> Vec<RowOp> {
    let value = Bytes::from(vec![7; 100]);
    (from..from + count).map(|n| RowOp::Put { key: key(2 * n), value: value.clone(), fresh: true }).collect()
}

fn apply(times: u64) -> Result<()> {
    let batches: Vec<_> = (0..MANY).map(|n| rows(n * BATCH, BATCH)).collect();
    on_store(|partition, _| {
        for (n, batch) in batches.iter().take(times as usize).enumerate() {
            partition.apply(Position { index: n as u64 + 1, term: 1, leader: 1 }, batch);
        }
        Ok(())
    })
}

/// Reads rows at rest; with `off` 1 the keys lie between those that are there.
fn block_reads(times: u64, off: u64) -> Result<()> {
    on_store(|partition, flush| {
        partition.apply(Position { index: 1, term: 1, leader: 1 }, &rows(0, 2_000));
        flush();
        // Every block is in the cache before the counted reads.
        (0..2_000).try_for_each(|n| partition.get(&key(2 * n)).map(drop))?;
        for n in 0..times * READS {
            let found = partition.get(&key(2 * (n * 37 % 2_000) + off))?;
            ensure!(found.is_some() == (off == 0), "the wrong row");
        }
        Ok(())
    })
}

fn block_hit(times: u64) -> Result<()> {
    block_reads(times, 0)
}

fn block_miss(times: u64) -> Result<()> {
    block_reads(times, 1)
}

fn log_append(times: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let world = World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) };
    let payload = Bytes::from(vec![7; 1024]);
    runtime.block_on(async {
        let (log, _) = Log::open(world, dir.path().to_path_buf(), LogOptions::default()).await?;
        let group = log.group(1);
        for n in 0..times {
            let entry = |index| LogRecord { index, term: 1, leader: 1, payload: payload.clone() };
            let (send, done) = tokio::sync::oneshot::channel();
            let told = move |result| drop(send.send(result));
            group.append((n * BATCH..(n + 1) * BATCH).map(entry).collect(), Box::new(told));
            done.await??;
        }
        drop(group);
        log.close().await;
        Ok(())
    })
}
