//! The house rules, held by reading the tree: walls between rooms, purity, openings, lengths, leftovers, panics,
//! paths of one machine, private keys, what fuzzing kept, metrics that nothing sets, records that no page describes. Each breach is told as `file:line: what — how to mend it`.
//!
//! The walls are those of docs/architecture.md. To change a rule, change the tables at the top, with the reason.

#[path = "tidy/source.rs"]
mod source;

use source::{Named, Source};
use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms from top to bottom. A room may name rooms of a lower number only.
const ROOMS: &[(&str, u8)] = &[
    ("main", 14),
    ("fuzz", 14),
    ("cli", 13),
    ("node", 12),
    ("edge", 11),
    ("ops", 11),
    ("services", 10),
    ("access", 9),
    ("engine", 8),
    ("audit", 7),
    ("consensus", 6),
    ("peer", 5),
    ("log", 4),
    ("store", 4),
    ("config", 3),
    ("seam", 2),
    ("pages", 1),
    ("wire", 1),
    ("model", 0),
];

/// Doors in the walls: who may name what against the order, and why.
const DOORS: &[(&[&str], &str, &str)] = &[
    (&["*"], "record", "the macro that every room writes its rows and frames with"),
    (&["engine", "audit"], "access::caller", "the proven caller travels inside commands and audit records"),
    (&["edge", "engine", "audit", "consensus", "peer", "log", "store", "node", "cli"], "ops::metrics", "names only"),
    (&["engine", "audit", "consensus", "edge", "ops"], "services::directory", "registry rows, which anyone may read"),
    (&["edge"], "ops", "the edge reports its health and readiness"),
    (&["services", "access"], "engine::draft", "the pure half of the engine"),
    (&["model"], "wire::record", "words that are stored as they are"),
];

/// Rooms that may see the configuration; rooms below take plain option structs of their own.
const MAY_SEE_CONFIG: &[&str] = &["main", "cli", "node", "edge", "ops"];

/// Rooms without async, clock, randomness, socket, file: time, ids and actor come in a Stamp.
const PURE: &[&str] = &["services", "access", "pages", "wire", "model"];

/// What a pure room may not name.
const IMPURE: &[&str] = &[
    "tokio",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::io::stdin",
    "std::io::stdout",
    "rand",
    "getrandom",
    "aws_lc_rs::rand",
    "uuid::Uuid::new_v4",
    "uuid::Uuid::now_v7",
    "hyper",
    "hyper_util",
    "rustls",
    "tokio_rustls",
    "sled",
    "openraft",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];

/// What pure rooms may name of the rooms below them; everything else of `engine`, `store`, `seam` does I/O.
const PURE_MAY_NAME: &[&str] = &[
    "engine::draft",
    "engine::Command",
    "engine::PartitionId",
    "engine::PartitionMap",
    "engine::ServiceId",
    "engine::services",
    "engine::SITE",
    "store::tables",
    "store::Reader",
    "store::RowOp",
    "store::StoreError",
    "seam::net::NodeNumber",
];

/// Rooms that a simulation runs whole: the world comes in through `seam` only.
const SEAMED: &[&str] = &["engine", "audit", "consensus", "log", "store"];

/// What a seamed room may not name.
const AROUND_THE_SEAMS: &[&str] = &[
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::SystemTime",
    "std::env",
    "tokio::fs",
    "tokio::net",
    "rand",
    "getrandom",
    "aws_lc_rs::rand",
    "uuid::Uuid::new_v4",
    "uuid::Uuid::now_v7",
];

/// Files excused from the seams, and why.
const EXCUSED: &[(&str, &str)] = &[("src/store/sled.rs", "sled opens its own files; nothing durable rests on it (P7)")];

/// No file is longer than this; a longer one holds two duties.
const LINES_OF_A_FILE: usize = 800;
/// A function fits a screen.
const LINES_OF_A_FUNCTION: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files of the project but build output and version control, with their paths from the root.
fn files() -> Vec<(String, PathBuf)> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<(String, PathBuf)>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if matches!(name.as_str(), "target" | ".git" | "node_modules" | "__pycache__" | ".pytest_cache") {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
            } else if let Ok(inner) = path.strip_prefix(root) {
                found.push((inner.to_string_lossy().replace('\\', "/"), path.clone()));
            }
        }
    }
    let mut found = vec![];
    walk(&root(), &root(), &mut found);
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let read = |(name, path): (String, PathBuf)| {
        let text = fs::read_to_string(path).expect("a source file is text");
        Source::read(name, &text)
    };
    files().into_iter().filter(|(name, _)| name.ends_with(".rs")).map(read).collect()
}

/// Files under `src` that only tests use, because a `#[cfg(test)] mod x;` declares them.
fn test_files(all: &[Source]) -> HashSet<String> {
    let mut found = HashSet::new();
    for source in all {
        for name in &source.test_modules {
            let folder = source.module().join("/");
            let base = if folder.is_empty() { format!("src/{name}") } else { format!("src/{folder}/{name}") };
            found.insert(format!("{base}.rs"));
            found.extend(all.iter().filter(|s| s.path.starts_with(&format!("{base}/"))).map(|s| s.path.clone()));
        }
    }
    found
}

fn tell(rule: &str, breaches: &BTreeSet<String>) {
    let list: Vec<&str> = breaches.iter().map(String::as_str).collect();
    assert!(list.is_empty(), "{rule}: {} breach(es)\n  {}\n", list.len(), list.join("\n  "));
}

fn in_src(source: &Source) -> bool {
    source.path.starts_with("src/")
}

fn room(source: &Source) -> String {
    source.module().first().cloned().unwrap_or_else(|| "main".to_owned())
}

fn starts(path: &[String], with: &str) -> bool {
    let mut parts = path.iter();
    with.split("::").all(|w| parts.next().is_some_and(|p| p == w))
}

/// `std::fs` for a path that starts outside the crate.
fn foreign(named: &Named) -> Option<&[String]> {
    (named.path.first().map(String::as_str) == Some("::")).then(|| &named.path[1..])
}

fn rank(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

fn wall_breach(from: &str, path: &[String]) -> Option<String> {
    let to = path.first()?;
    if to == from || to == "::" || from == "lib" || path.len() < 2 && rank(to).is_none() {
        return None;
    }
    let door =
        |(who, what, _): &&(&[&str], &str, &str)| (who.contains(&"*") || who.contains(&from)) && starts(path, what);
    if DOORS.iter().any(|d| door(&d)) {
        return None;
    }
    let (Some(mine), Some(theirs)) = (rank(from), rank(to)) else { return None };
    if to == "config" && !MAY_SEE_CONFIG.contains(&from) {
        return Some(format!("`{from}` reads configuration — take a plain option struct of your own room"));
    }
    (theirs >= mine).then(|| {
        format!("`{from}` may not name `{}` — arrows go down only; move it below, or pass a trait", path.join("::"))
    })
}

#[test]
fn arrows_between_rooms_go_down_only() {
    let mut breaches = BTreeSet::new();
    for source in sources().iter().filter(|s| in_src(s) && s.path != "src/lib.rs") {
        let from = room(source);
        if rank(&from).is_none() {
            breaches
                .insert(format!("{}: room `{from}` is not in ROOMS — give it its place in tests/tidy.rs", source.path));
        }
        for named in source.named() {
            if let Some(text) = wall_breach(&from, &named.path) {
                breaches.insert(format!("{}:{}: {text}", source.path, named.line + 1));
            }
        }
    }
    tell("walls", &breaches);
}

#[test]
fn one_service_never_names_another() {
    let mut breaches = BTreeSet::new();
    for source in sources().iter().filter(|s| s.path.starts_with("src/services/")) {
        let module = source.module();
        let Some(mine) = module.get(1) else { continue };
        for named in source.named().iter().filter(|n| starts(&n.path, "services") && n.path.len() > 2) {
            let other = &named.path[1];
            if other != mine && !["directory", "carried"].contains(&other.as_str()) {
                let at = format!("{}:{}", source.path, named.line + 1);
                breaches.insert(format!("{at}: `{mine}` names `{other}` — meet through outbox rows or typed reads"));
            }
        }
    }
    tell("services apart", &breaches);
}

#[test]
fn pure_rooms_are_pure() {
    let mut breaches = BTreeSet::new();
    for source in sources().iter().filter(|s| in_src(s) && PURE.contains(&room(s).as_str())) {
        let mine = room(source);
        for named in source.named() {
            let at = format!("{}:{}", source.path, named.line + 1);
            if let Some(path) = foreign(&named) {
                if let Some(what) = IMPURE.iter().find(|w| starts(path, w)) {
                    breaches.insert(format!("{at}: names `{what}` — time, ids and actor come in a Stamp"));
                }
            } else if ["engine", "store", "seam"].contains(&named.path[0].as_str()) && named.path.len() > 1 {
                let known = PURE_MAY_NAME.iter().any(|w| starts(&named.path, w));
                if !known && !source.test[named.line] {
                    let path = named.path.join("::");
                    breaches.insert(format!("{at}: `{mine}` names `{path}`, which does I/O — see PURE_MAY_NAME"));
                }
            }
        }
        for token in source.tokens.iter().filter(|t| t.text == "async" || t.text == "await") {
            breaches.insert(format!("{}:{}: async code — a pure room only decides", source.path, token.line + 1));
        }
    }
    tell("purity", &breaches);
}

#[test]
fn the_world_comes_in_through_the_seams() {
    let all = sources();
    let tests = test_files(&all);
    let mut breaches = BTreeSet::new();
    for source in all.iter().filter(|s| in_src(s) && SEAMED.contains(&room(s).as_str()) && !tests.contains(&s.path)) {
        if EXCUSED.iter().any(|(path, _)| *path == source.path) {
            continue;
        }
        for named in source.named().iter().filter(|n| !source.test[n.line]) {
            let Some(path) = foreign(named) else { continue };
            if let Some(what) = AROUND_THE_SEAMS.iter().find(|w| starts(path, w)) {
                let at = format!("{}:{}", source.path, named.line + 1);
                breaches.insert(format!("{at}: reaches around the seams to `{what}` — use `seam::World`"));
            }
        }
    }
    tell("seams", &breaches);
}

#[test]
fn every_file_says_first_what_it_holds() {
    let mut breaches = BTreeSet::new();
    for (name, path) in files() {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let shebang = text.starts_with("#!") && !text.starts_with("#![");
        let first = text.lines().nth(usize::from(shebang)).unwrap_or("");
        let (kind, good) = match name.rsplit('.').next().unwrap_or("") {
            "rs" => ("`//!`", first.starts_with("//! ")),
            "py" => ("a docstring", first.starts_with("\"\"\"") || text.trim().is_empty()),
            _ if shebang => ("a `#` comment under the `#!` line", first.starts_with("# ")),
            _ => continue,
        };
        if !good {
            breaches.insert(format!(
                "{name}:1: no opening words — begin with {kind}: what it holds, which promise it keeps"
            ));
        }
    }
    tell("openings", &breaches);
}

#[test]
fn files_and_functions_are_short() {
    let mut breaches = BTreeSet::new();
    for (name, path) in files().into_iter().filter(|(n, _)| n.ends_with(".py") || n.ends_with(".sh")) {
        let lines = fs::read_to_string(path).unwrap_or_default().lines().count();
        if lines > LINES_OF_A_FILE {
            breaches.insert(format!("{name}: {lines} lines — split by duty (at most {LINES_OF_A_FILE})"));
        }
    }
    for source in sources() {
        let (path, lines) = (&source.path, source.raw.len());
        if lines > LINES_OF_A_FILE {
            breaches.insert(format!("{path}: {lines} lines — split by duty (at most {LINES_OF_A_FILE})"));
        }
        for f in source.functions().iter().filter(|f| in_src(&source) && f.lines > LINES_OF_A_FUNCTION) {
            let (at, name, lines) = (f.line + 1, &f.name, f.lines);
            breaches.insert(format!("{path}:{at}: fn {name} has {lines} lines — at most {LINES_OF_A_FUNCTION}"));
        }
    }
    tell("lengths", &breaches);
}

#[test]
fn nothing_is_left_over() {
    // Written in halves, so that this file does not find itself.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:"), concat!("WI", "P:")];
    let code = [concat!("todo", "!("), concat!("unimple", "mented!("), concat!("db", "g!("), concat!("#[ig", "nore")];
    let mut breaches = BTreeSet::new();
    for (name, path) in files().into_iter().filter(|(n, _)| n != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(path) else { continue };
        for (n, line) in text.lines().enumerate() {
            let word =
                |w: &&&str| line.match_indices(**w).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric()));
            if let Some(mark) = words.iter().find(word) {
                breaches.insert(format!("{name}:{}: `{mark}` — do it, or file an issue and say nothing here", n + 1));
            }
            if let Some(mark) = code.iter().find(|w| name.ends_with(".rs") && line.contains(**w)) {
                breaches.insert(format!("{name}:{}: `{mark}` — unfinished code does not land", n + 1));
            }
        }
    }
    tell("leftovers", &breaches);
}

/// True if a comment stands on the line itself, above it, or above the statement that the line belongs to.
fn explained(source: &Source, line: usize) -> bool {
    let mut at = line;
    loop {
        if source.comment[at] {
            return true;
        }
        if at == 0 {
            return false;
        }
        let above = source.code[at - 1].trim_end();
        if source.comment[at - 1] {
            return true;
        }
        if above.is_empty() || above.ends_with([';', '{', '}']) {
            return false;
        }
        at -= 1;
    }
}

#[test]
fn a_panic_in_the_daemon_says_why_it_cannot_happen() {
    let all = sources();
    let tests = test_files(&all);
    let marks = [".unwrap()", ".expect(", "panic!(", "unreachable!("];
    let mut breaches = BTreeSet::new();
    for source in all.iter().filter(|s| in_src(s) && !tests.contains(&s.path)) {
        for (n, line) in source.code.iter().enumerate().filter(|(n, _)| !source.test[*n]) {
            let Some(mark) = marks.iter().find(|m| line.contains(**m)) else { continue };
            if !explained(source, n) {
                let at = format!("{}:{}", source.path, n + 1);
                breaches.insert(format!("{at}: `{mark}` — return an error, or say above it why it cannot happen"));
            }
        }
    }
    tell("panics", &breaches);
}

#[test]
fn anyhow_and_printing_stay_at_the_command_line() {
    let all = sources();
    let tests = test_files(&all);
    let mut breaches = BTreeSet::new();
    for source in all.iter().filter(|s| in_src(s) && !["cli", "main"].contains(&room(s).as_str())) {
        for named in source.named().iter().filter(|n| !source.test[n.line] && !tests.contains(&source.path)) {
            if foreign(named).is_some_and(|p| starts(p, "anyhow")) {
                let at = format!("{}:{}", source.path, named.line + 1);
                breaches.insert(format!("{at}: anyhow — a room returns its own thiserror enum"));
            }
        }
        let prints = ["println!(", "eprintln!(", "print!(", "eprint!("];
        for (n, line) in source.code.iter().enumerate().filter(|(n, _)| !source.test[*n]) {
            if prints.iter().any(|p| line.contains(p)) && !tests.contains(&source.path) {
                breaches.insert(format!("{}:{}: prints — the daemon speaks through `tracing`", source.path, n + 1));
            }
        }
    }
    tell("manners", &breaches);
}

#[test]
fn no_machine_and_no_secret_is_in_the_tree() {
    let paths = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let mut breaches = BTreeSet::new();
    for (name, path) in files().into_iter().filter(|(n, _)| n != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let whole = |p: &&&str| {
                line.match_indices(**p).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.'))
            };
            if let Some(found) = paths.iter().find(whole) {
                breaches.insert(format!("{name}:{}: `{found}` — a path of one machine; use a relative one", n + 1));
            }
            // A name for the marker is fine; a marker with a key under it is not.
            let next = lines.get(n + 1).map_or("", |l| l.trim());
            let body = next.len() >= 40 && next.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
            if line.contains(concat!("PRIVATE", " KEY-----")) && body {
                breaches.insert(format!("{name}:{}: a private key — make keys when they are needed", n + 1));
            }
        }
    }
    tell("secrets", &breaches);
}

/// Whether ten digits, alone, pass for an NHS number. Made ones begin with 999.
fn patients(bytes: &[u8]) -> bool {
    bytes.split(|b| !b.is_ascii_digit()).filter(|run| run.len() == 10 && !run.starts_with(b"999")).any(|run| {
        let sum: u32 = run[..9].iter().zip((2..=10).rev()).map(|(b, weight)| u32::from(b - b'0') * weight).sum();
        u32::from(run[9] - b'0') == (11 - sum % 11) % 11
    })
}

#[test]
fn what_fuzzing_kept_is_small_and_nobodys() {
    const MOST: u64 = 1 << 20;
    let mut breaches = BTreeSet::new();
    let mut bytes = 0;
    for (name, path) in files().into_iter().filter(|(n, _)| n.starts_with("fuzz/corpus/")) {
        let input = fs::read(path).expect("a file of the tree");
        bytes += input.len() as u64;
        if input.windows(11).any(|w| w == concat!("PRIVATE", " KEY").as_bytes()) {
            breaches.insert(format!("{name}: a private key — drop the input"));
        }
        if patients(&input) {
            breaches.insert(format!("{name}: what may be somebody's NHS number — drop the input"));
        }
    }
    assert!(bytes > 0, "the corpora are gone");
    if bytes > MOST {
        breaches.insert(format!("fuzz/corpus: {bytes} bytes — at most {MOST}; see fuzz/run"));
    }
    assert!(patients(b"a9434765919b") && !patients(b"9434765918 94347659190 9990000018"));
    tell("corpora", &breaches);
}

#[test]
fn every_metric_that_is_declared_is_measured() {
    let all = sources();
    let list = all.iter().find(|s| s.path == "src/ops/metrics.rs").expect("the list of metrics");
    let constant = |line: &String| Some(line.strip_prefix("pub const ")?.split_once(": &str = ")?.0.to_owned());
    let declared: Vec<(usize, String)> =
        list.code.iter().enumerate().filter_map(|(n, line)| Some((n, constant(line)?))).collect();
    assert!(declared.len() > 50, "{}", declared.len());
    let tests = test_files(&all);
    let users = all.iter().filter(|s| in_src(s) && s.path != list.path && !tests.contains(&s.path));
    let used: HashSet<&str> =
        users.flat_map(|s| s.tokens.iter().filter(|t| !s.test[t.line])).map(|t| t.text.as_str()).collect();
    let unused = declared.iter().filter(|(_, name)| !used.contains(name.as_str()));
    let breaches = unused.map(|(n, name)| {
        format!("{}:{}: nothing sets {name} — measure it, or take it out of the list", list.path, n + 1)
    });
    tell("metrics", &breaches.collect());
}

#[test]
fn every_stored_and_sent_record_is_in_the_formats() {
    let text = fs::read_to_string(root().join("docs/formats.md")).expect("docs/formats.md");
    // Names stand in code spans, alone or with others.
    let spans = text.split('`').skip(1).step_by(2);
    let named: HashSet<&str> = spans.flat_map(|span| span.split(|c: char| !c.is_alphanumeric())).collect();
    let (mut breaches, mut found) = (BTreeSet::new(), 0);
    for source in sources().iter().filter(|s| in_src(s)) {
        let words: Vec<&str> = source.tokens.iter().map(|t| t.text.as_str()).collect();
        for (i, _) in words.windows(3).enumerate().filter(|(_, w)| *w == ["record", "!", "{"]) {
            let Some(at) = (i..words.len()).find(|at| words[*at] == "struct").map(|at| at + 1) else { continue };
            let (name, line) = (words[at], source.tokens[at].line);
            found += 1;
            if !source.test[line] && !named.contains(name) {
                let at = format!("{}:{}", source.path, line + 1);
                breaches
                    .insert(format!("{at}: `{name}` is stored or sent — name it with its fields in docs/formats.md"));
            }
        }
    }
    assert!(found > 80, "{found} records were found");
    tell("formats", &breaches);
}

#[test]
fn the_rules_find_what_they_look_for() {
    let text = concat!(
        "//! Opening.\nuse crate::{access::caller::Caller, store::{self, tables::Table}};\nuse super::sibling;\n",
        "// why\nfn a() { let s = \"crate::cli::x\"; x.unwrap() }\n#[cfg(test)]\nmod tests {\n    use super::*;\n",
        "    fn b<'a>(c: char) { if c == '{' { crate::edge::go() } }\n}\n"
    );
    let source = Source::read("src/log/part.rs".into(), text);
    let named: Vec<String> = source.named().into_iter().map(|n| n.path.join("::")).collect();
    let wanted =
        ["access::caller::Caller", "store::self", "store::tables::Table", "log::sibling", "log::part::*", "edge::go"];
    assert_eq!(named, wanted);
    assert_eq!(source.test.iter().filter(|t| **t).count(), 5);
    assert!(explained(&source, 4) && !explained(&source, 2));
    let path = |s: &str| s.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert!(wall_breach("log", &path("edge::go")).is_some(), "upwards");
    assert!(wall_breach("log", &path("store::Store")).is_some(), "sideways");
    assert!(wall_breach("engine", &path("store::Store")).is_none(), "downwards");
    assert!(wall_breach("engine", &path("config::Config")).is_some(), "configuration");
    assert!(wall_breach("engine", &path("access::caller::Caller")).is_none(), "through a door");
}
