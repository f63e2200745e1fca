//! What operators see of a site that works, and of one in which a node is gone or runs another release: `spine top`, `spine doctor`, and a
//! support bundle in which nobody's data are, with people and messages everywhere around it (P10).

use super::{
    demo::{Demo, Plan, program, wait_for},
    scene::Scene,
    staff::{Ask, Office, Staff, person, runtime},
};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const PEOPLE: &str = "300";
/// A name that no program, log or machine has for anything else.
const FAMILY: &str = "Quillfeather-Ozymandias";
const BORN: &str = "1954-02-03";

#[test]
fn a_site_is_watched_without_prometheus_and_helped_without_anybodys_data() {
    let mut scene = Scene::begin("operators", Plan::of(1));
    let numbers = people(&scene.demo);
    top(&scene);
    bundle(&scene.demo, &numbers);
    another_release(&mut scene);
    gone(&scene);
    scene.demo.start_node(2);
    scene.end();
}

/// Loads people, looks some of them up in every way, and gives what may be seen nowhere.
fn people(demo: &Demo) -> BTreeSet<String> {
    let file = demo.path().join("people.ndjson");
    let made = File::create(&file).expect("a file");
    let generate = ["generate", "people", "--seed", "5", "--count", PEOPLE];
    let made = Command::new(program()).args(generate).stdout(made).stdin(Stdio::null()).status();
    assert!(made.expect("spine starts").success());
    demo.try_ask(2, &["import", "people", file.to_str().expect("a path")]).expect("the import succeeds");
    let text = fs::read_to_string(&file).expect("it was made");
    let mut secret = BTreeSet::from([FAMILY.to_owned()]);
    for line in text.lines() {
        let person: Value = serde_json::from_str(line).expect("JSON");
        gather(&person, &mut secret);
    }
    let office = Office::open(demo);
    let mut hand = Staff::new(&office, 0, 0);
    runtime().block_on(async {
        let made = hand.surely(&Ask::create(&person(FAMILY, BORN), (0x8101, 0))).await;
        let number = made.person().expect("a person is made").0.to_owned();
        for (count, asked) in secret.iter().filter(|text| is_number(text)).take(20).enumerate() {
            hand.surely(&Ask::retrieve(asked, (0x8102, count))).await;
        }
        hand.surely(&Ask::search(FAMILY, BORN, "female", (0x8103, 0))).await;
        // Refused, with a name and a number in what is refused.
        hand.surely(&Ask::search(FAMILY, "not-a-date", "female", (0x8104, 0))).await;
        hand.surely(&Ask::born(&number, 7, "1955-01-01", (0x8105, 0))).await;
        secret.insert(number);
    });
    demo.try_ask(1, &["pds", "show", secret.iter().find(|text| is_number(text)).expect("a number")]);
    secret
}

/// Fields whose values are words of the standard, and nobody's.
const WORDS: [&str; 4] = ["system", "type", "resourceType", "use"];

/// NHS numbers, postcodes, telephones, addresses and names of a person: every text with a digit or a blank in it, and long names.
fn gather(value: &Value, secret: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| !WORDS.contains(&name.as_str())).for_each(|(_, v)| gather(v, secret))
        }
        Value::Array(items) => items.iter().for_each(|v| gather(v, secret)),
        Value::String(text) => {
            let words = text.contains(' ') && text.len() > 5 && !text.contains("://");
            let name = text.len() > 9 && text.bytes().all(|b| b.is_ascii_alphabetic());
            if is_number(text) || words || name {
                secret.insert(text.clone());
            }
        }
        _ => {}
    }
}

fn is_number(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit())
}

fn top(scene: &Scene) {
    let told = wait_for("messages to be seen", || {
        let told = scene.demo.try_ask(1, &["top"])?;
        (told["messages_sent_per_second"].as_f64() > Some(0.0)).then_some(told)
    });
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    let mesh = list("services").into_iter().find(|s| s["name"] == "mesh").unwrap_or_else(|| panic!("mesh: {told}"));
    assert!(mesh["per_second"].as_f64() > Some(0.0) && mesh["p99_ms"].as_f64() >= mesh["p50_ms"].as_f64(), "{mesh}");
    assert!(mesh["p50_ms"].as_f64() > Some(0.0), "{mesh}");
    let leader = scene.leader();
    let partition = list("partitions").into_iter().find(|p| p["partition"] == 1).expect("partition 1");
    assert!(partition["leader"] == leader && partition["entries_per_second"].as_f64() > Some(0.0), "{partition}");
    assert!(list("slowest").iter().any(|s| s["name"] == "mesh.send"), "{told}");
    let noisiest = &list("parties")[0];
    assert!(noisiest["known"] == true && noisiest["listener"] == "supplier", "{noisiest}");
    let parties = scene.demo.try_ask(1, &["party", "list"]).expect("parties");
    let known = parties["items"].as_array().into_iter().flatten().any(|party| party["ods"] == noisiest["ods"]);
    assert!(known && noisiest["requests"].as_u64() > Some(10), "{noisiest} of {parties}");
    // The one who asked for people is there by application, on the API listener of the node that was asked.
    let api = list("parties").into_iter().find(|p| p["listener"] == "api" && p["known"] == true);
    assert!(api.is_some_and(|p| p["requests"].as_u64() >= Some(20)), "{told}");
    let shown =
        Command::new(program()).args(["top", "--socket"]).arg(&scene.demo.sockets()[0]).output().expect("spine starts");
    println!("{}", String::from_utf8_lossy(&shown.stdout));
}

fn bundle(demo: &Demo, secret: &BTreeSet<String>) {
    let path = demo.path().join("bundle.tar.gz");
    let made = Command::new(program())
        .args(["support-bundle", "--output-file"])
        .arg(&path)
        .arg("--socket")
        .arg(&demo.sockets()[0])
        .output()
        .expect("spine starts");
    let told = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "{told}{}", String::from_utf8_lossy(&made.stderr));
    println!("{told}");
    let mut text = vec![];
    GzDecoder::new(File::open(&path).expect("the bundle")).read_to_end(&mut text).expect("gzip");
    let text = String::from_utf8_lossy(&text);
    for there in ["spine_requests_total{", "\"event\":\"node.open\"", "Max open files", "store/sled", "supplier.key = "]
    {
        assert!(text.contains(there), "{there} is missing");
    }
    println!("{} texts of {PEOPLE} people are looked for in {} bytes", secret.len(), text.len());
    assert!(secret.len() > 600, "{}", secret.len());
    let seen: Vec<&String> = secret.iter().filter(|secret| text.contains(*secret)).collect();
    assert!(seen.is_empty(), "the bundle holds {seen:?}");
    let json = demo.json();
    let key = fs::read_to_string(demo.within(&json["clients"][0]["key"])).expect("a key");
    let of_key = key.lines().nth(1).expect("a line of the key").to_owned();
    // Bodies of the load, the environment's key, passwords, keys.
    for never in ["tag-0-", &".".repeat(40), json["shared_key"].as_str().expect("text"), "PRIVATE KEY", &of_key] {
        assert!(!text.contains(never), "the bundle holds {never}");
    }
}

/// A copy of the program that says that it is another release: of the one that Cargo built for the tests, which has its version as text
/// everywhere. An optimised one has it in its instructions, too.
fn renamed(into: &Path) -> PathBuf {
    const OTHER: &str = "0.0.9";
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_spine")).expect("the program");
    let (own, other) = (env!("CARGO_PKG_VERSION").as_bytes(), OTHER.as_bytes());
    let places: Vec<usize> = (0..bytes.len() - own.len()).filter(|at| bytes[*at..].starts_with(own)).collect();
    places.iter().for_each(|at| bytes[*at..at + own.len()].copy_from_slice(other));
    let path = into.join("spine-renamed");
    fs::write(&path, bytes).expect("a copy");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    let told = Command::new(&path).arg("--version").output().expect("it starts");
    assert!(String::from_utf8_lossy(&told.stdout).contains(OTHER), "{told:?}");
    path
}

fn another_release(scene: &mut Scene) {
    let other = renamed(scene.demo.path());
    // It is this program by an earlier name, which would leave data alone that need a later one.
    fs::remove_file(scene.demo.data(3).join("needs-release")).expect("it was noted");
    scene.demo.exchange(3, &other);
    let (found, fix) = scene.demo.wait_finding(1, "WARN", "versions");
    assert!(found.contains("node 3 runs 0.0.9") && fix.contains("spine node restart"), "{found}");
    // There, what runs is not what is installed.
    let (found, _) = scene.demo.wait_finding(3, "WARN", "version");
    assert!(found.starts_with("running 0.0.9, installed"), "{found}");
    scene.demo.exchange(3, &program());
    scene.demo.wait_ready();
    assert!(scene.demo.findings(1).iter().all(|[_, check, ..]| check != "versions"));
}

fn gone(scene: &Scene) {
    assert!(scene.demo.findings(1).iter().all(|[_, check, ..]| check != "peer"), "{:?}", scene.demo.findings(1));
    scene.demo.kill(2);
    let (found, fix) = scene.demo.wait_finding(1, "WARN", "peer");
    assert!(found.starts_with("node 2 at 127.0.0.1:") && found.contains("cannot be reached"), "{found}");
    assert!(fix.contains("systemctl start spine"), "{fix}");
}
