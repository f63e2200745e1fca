//! The system calls of every node, watched by strace under load (P1): what was answered with "accepted" had before that been
//! written to the log of a majority, and a sync of that very file had returned, without error, on each of them.
//!
//! A message is found in what was written by its id, also inside compressed entries. All clocks are one machine's.

use super::{
    demo::{Plan, wait_for},
    history::{Call, Op, Outcome},
    scene::Scene,
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Microseconds since 1970.
type Wall = u64;

/// One finished call.
#[derive(Debug, PartialEq)]
struct Syscall {
    began: Wall,
    ended: Wall,
    name: String,
    /// What the file descriptor stands for.
    path: String,
    bytes: Vec<u8>,
    good: bool,
}

/// `1764330000.123456 pwrite64(9</data/log/7>, "\x00…", 4096, 8192) = 4096 <0.000045>`
fn parse(line: &str) -> Option<Syscall> {
    let (began, rest) = line.split_once(' ')?;
    let (seconds, micros) = began.split_once('.')?;
    let began = seconds.parse::<Wall>().ok()? * 1_000_000 + micros.parse::<Wall>().ok()?;
    let (name, rest) = rest.split_once('(')?;
    let (head, took) = rest.trim_end().strip_suffix('>')?.rsplit_once(" <")?;
    let (seconds, micros) = took.split_once('.')?;
    let took = seconds.parse::<Wall>().ok()? * 1_000_000 + micros.parse::<Wall>().ok()?;
    let (arguments, result) = head.rsplit_once(" = ")?;
    let path = arguments.split_once('<')?.1.split_once('>')?.0;
    let bytes = arguments.split_once(", \"").map(|(_, text)| unescaped(text));
    Some(Syscall {
        began,
        ended: began + took,
        name: name.to_owned(),
        path: String::from_utf8_lossy(&unescaped(path)).into_owned(),
        bytes: bytes.unwrap_or_default(),
        good: !result.starts_with('-') && !result.starts_with('?'),
    })
}

/// A C string up to its closing quote.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes().peekable();
    let mut found = vec![];
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => match bytes.next() {
                Some(b'x') => {
                    let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).unwrap_or(0);
                    found.push((digit() * 16 + digit()) as u8);
                }
                Some(first @ b'0'..=b'7') => {
                    let mut value = u32::from(first - b'0');
                    for _ in 0..2 {
                        let Some(next) = bytes.next_if(|b| (b'0'..=b'7').contains(b)) else { break };
                        value = value * 8 + u32::from(next - b'0');
                    }
                    found.push(value as u8);
                }
                Some(b'n') => found.push(b'\n'),
                Some(b't') => found.push(b'\t'),
                Some(b'r') => found.push(b'\r'),
                Some(b'v') => found.push(0x0b),
                Some(b'f') => found.push(0x0c),
                Some(other) => found.push(other),
                None => break,
            },
            _ => found.push(byte),
        }
    }
    found
}

/// What was written, with whatever is compressed in it unpacked behind it.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut all = bytes.to_vec();
    for at in (0..bytes.len().saturating_sub(MAGIC.len())).filter(|at| bytes[*at..].starts_with(&MAGIC)) {
        if let Ok(frame) = zstd::stream::read::Decoder::with_buffer(&bytes[at..]) {
            // What follows the frame is not ours to read; what was read before an error counts.
            let _ = std::io::copy(&mut frame.single_frame(), &mut all);
        }
    }
    all
}

/// When each message was safe in one node's log, as its calls tell.
fn safe_at<'a>(calls: &[Syscall], ids: &HashSet<&'a str>) -> HashMap<&'a str, Wall> {
    let mut syncs: HashMap<&str, Vec<(Wall, Wall)>> = HashMap::new();
    for call in calls.iter().filter(|call| call.good && ["fdatasync", "fsync"].contains(&call.name.as_str())) {
        syncs.entry(&call.path).or_default().push((call.began, call.ended));
    }
    let mut safe: HashMap<&str, Wall> = HashMap::new();
    let longest = ids.iter().map(|id| id.len()).max().unwrap_or(0);
    for write in calls.iter().filter(|call| call.good && call.name.starts_with("pwrite")) {
        let of_file = syncs.get(write.path.as_str()).map_or(&[][..], Vec::as_slice);
        let synced = of_file.iter().filter(|(began, _)| *began >= write.ended).map(|(_, ended)| *ended).min();
        let Some(synced) = synced else { continue };
        for window in unpacked(&write.bytes).windows(longest.max(1)).filter(|window| window[0].is_ascii_digit()) {
            let found = std::str::from_utf8(window).ok().and_then(|text| ids.get(text));
            if let Some(id) = found {
                safe.entry(id).and_modify(|at| *at = synced.min(*at)).or_insert(synced);
            }
        }
    }
    safe
}

/// Messages that were answered before `majority` nodes had them safe, of those answered with their moments.
fn too_early<'a>(answered: &[(&'a str, Wall)], nodes: &[HashMap<&'a str, Wall>], majority: usize) -> Vec<String> {
    let judged = answered.iter().filter_map(|(id, answer)| {
        let safe = nodes.iter().filter(|node| node.get(id).is_some_and(|at| at <= answer)).count();
        let when: Vec<_> = nodes.iter().map(|node| node.get(id)).collect();
        (safe < majority).then(|| format!("{id} was answered at {answer} and safe on {safe} nodes: {when:?}"))
    });
    judged.collect()
}

/// Whether strace may look at other processes here; says loudly why not.
fn may_trace(test: &str) -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let why = match tried {
        Ok(done) if done.status.success() => return true,
        Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        Err(e) => format!("strace: {e}; apt-get install strace"),
    };
    eprintln!("SKIPPED: {test} needs to trace the nodes' system calls, and may not: {why}");
    false
}

/// Watches one process; its calls go to files of one thread each.
fn watch(folder: &Path, node: u64, pid: nix::unistd::Pid) -> Child {
    let out = folder.join(format!("trace-{node}"));
    let mut strace = Command::new("strace")
        .args(["-ff", "-y", "-ttt", "-T", "-x", "-s", "4000000", "-e", "trace=pwrite64,fdatasync,fsync", "-o"])
        .arg(&out)
        .args(["-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace starts");
    wait_for("strace to watch every thread", || {
        assert!(strace.try_wait().is_ok_and(|over| over.is_none()), "strace ended");
        let mut threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let traced = |status: String| status.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0"));
        let all = threads.all(|t| fs::read_to_string(t.path().join("status")).is_ok_and(traced));
        all.then_some(())
    });
    strace
}

fn calls(folder: &Path, node: u64) -> Vec<Syscall> {
    let mut found = vec![];
    for file in fs::read_dir(folder).expect("the site's folder").flatten() {
        if file.file_name().to_string_lossy().starts_with(&format!("trace-{node}.")) {
            let text = fs::read(file.path()).expect("a trace can be read");
            found.extend(String::from_utf8_lossy(&text).lines().filter_map(parse));
        }
    }
    found.retain(|call| call.path.contains(&format!("node-{node}/data/log/")));
    found
}

#[test]
fn what_is_answered_was_synced_on_a_majority_before() {
    if !may_trace("what_is_answered_was_synced_on_a_majority_before") {
        return;
    }
    let scene = Scene::begin("synced before answered", Plan::of(1));
    let ids = scene.demo.ids();
    let mut watching: Vec<Child> = ids.iter().map(|id| watch(scene.demo.path(), *id, scene.demo.pid(*id))).collect();
    let from = scene.load.now();
    scene.stay(Duration::from_secs(6));
    scene.load.more(30);
    let until = scene.load.now();
    for strace in &mut watching {
        let pid = nix::unistd::Pid::from_raw(strace.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("strace is there");
        strace.wait().expect("strace ends");
    }
    let traced: Vec<Vec<Syscall>> = ids.iter().map(|id| calls(scene.demo.path(), *id)).collect();
    let began = scene.load.wall(0);
    let ending = scene.end();
    let within = |op: &&Op| op.invoked >= from && op.done <= until;
    let answered: Vec<(&str, Wall)> = ending
        .ops()
        .iter()
        .filter(within)
        .filter_map(|op| match (&op.call, &op.outcome) {
            (Call::Send { .. }, Outcome::Sent { id }) => Some((id.as_str(), began + op.done)),
            _ => None,
        })
        .collect();
    let wanted: HashSet<&str> = answered.iter().map(|(id, _)| *id).collect();
    let nodes: Vec<HashMap<&str, Wall>> = traced.iter().map(|calls| safe_at(calls, &wanted)).collect();
    let seen: Vec<usize> = nodes.iter().map(HashMap::len).collect();
    println!("synced before answered: {} messages; found in the logs of the nodes: {seen:?}", answered.len());
    let wrong = too_early(&answered, &nodes, 2);
    assert!(answered.len() >= 30, "the site worked while it was watched");
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), answered.len(), wrong[..wrong.len().min(5)].join("\n  "));
}

#[test]
fn calls_are_read_as_strace_writes_them() {
    let line = r#"100.000007 pwrite64(9</d/node-1/data/log/7>, "\x01A\n\"\\\0017", 6, 4096) = 6 <0.000003>"#;
    let read = parse(line).expect("a call");
    assert_eq!((read.began, read.ended, read.good), (100_000_007, 100_000_010, true));
    assert_eq!((read.name.as_str(), read.path.as_str()), ("pwrite64", "/d/node-1/data/log/7"));
    assert_eq!(read.bytes, b"\x01A\n\"\\\x017");
    let failed = "101.000000 fdatasync(9</d/log/7>) = -1 EIO (Input/output error) <0.000001>";
    assert!(!parse(failed).expect("a call").good);
    assert_eq!(parse("102.000000 --- SIGCHLD {si_signo=SIGCHLD} ---"), None);
}

#[test]
fn answers_before_the_sync_are_found() {
    let call = |at: Wall, name: &str, good| Syscall {
        began: at,
        ended: at + 10,
        name: name.into(),
        path: "log/1".into(),
        bytes: b"..2026A..".to_vec(),
        good,
    };
    let ids = HashSet::from(["2026A"]);
    let safe = |calls: &[Syscall]| safe_at(calls, &ids);
    let good = safe(&[call(0, "pwrite64", true), call(20, "fdatasync", true)]);
    assert_eq!(good, HashMap::from([("2026A", 30)]));
    assert_eq!(too_early(&[("2026A", 40)], &[good.clone(), good.clone(), HashMap::new()], 2), Vec::<String>::new());
    let found = |nodes: &[HashMap<&'static str, Wall>], answer| too_early(&[("2026A", answer)], nodes, 2).len() == 1;
    assert!(found(&[good.clone(), HashMap::new(), HashMap::new()], 40), "on one node only");
    assert!(found(&[good.clone(), good.clone(), good.clone()], 29), "answered before the sync returned");
    assert!(safe(&[call(0, "pwrite64", true)]).is_empty(), "no sync");
    assert!(safe(&[call(0, "pwrite64", true), call(5, "fdatasync", true)]).is_empty(), "a sync that began before");
    assert!(safe(&[call(0, "pwrite64", true), call(20, "fdatasync", false)]).is_empty(), "a sync that failed");
    let packed = Syscall { bytes: zstd::bulk::compress(b"..2026A..", 1).expect("packed"), ..call(0, "pwrite64", true) };
    assert_eq!(safe(&[packed, call(20, "fdatasync", true)]).len(), 1, "inside a compressed entry");
}
