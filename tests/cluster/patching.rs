//! Many change one person at the same version while nodes are killed: each version has one author, whoever lost an answer and asks again
//! hears how their own request ended, and the record is as the authors made it, one after the other (P1, P3, P4).

use super::{
    demo::{Demo, Plan, wait_for},
    load::PACE,
    scene::alone,
    staff::{Answer, Ask, Office, Staff, person, runtime},
};
use futures_util::future::join_all;
use serde_json::Value;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

/// How many change the person at once.
const AUTHORS: usize = 8;
/// Requests of this test, by what they are for.
const CREATE: u16 = 0x8001;
const PATCH: u16 = 0x9000;
const RETRIEVE: u16 = 0x8002;

/// A request at the version before this one, and how it ended.
struct Try {
    author: usize,
    ask: Ask,
    day: String,
    answer: Answer,
}

/// What became of each version: its tries.
#[derive(Default)]
struct Record {
    over: AtomicBool,
    versions: Mutex<Vec<Vec<Try>>>,
}

impl Record {
    #[track_caller]
    fn more(&self, count: usize) {
        let written = || self.versions.lock().expect("no client panicked").len();
        let goal = written() + count;
        wait_for(&format!("{count} more versions"), || (written() >= goal).then_some(()));
    }
}

fn staff(office: &Arc<Office>) -> Vec<Staff> {
    (0..AUTHORS).map(|author| Staff::new(office, author, author)).collect()
}

/// A birth date that no other request sets.
fn day(version: u64, author: usize) -> String {
    let n = version as usize * AUTHORS + author;
    format!("{}-{:02}-{:02}", 1900 + n % 100, 1 + n / 100 % 12, 1 + n / 1200 % 28)
}

/// All at one version, then all at the next.
async fn write_on(mut staff: Vec<Staff>, number: String, record: Arc<Record>) {
    let mut version = 1;
    while !record.over.load(SeqCst) {
        let tries = staff.iter_mut().enumerate().map(async |(author, hand)| {
            let day = day(version, author);
            let ask = Ask::born(&number, version, &day, (PATCH + author as u16, version as usize));
            Try { author, day, answer: hand.surely(&ask).await, ask }
        });
        let tries = join_all(tries).await;
        record.versions.lock().expect("no client panicked").push(tries);
        version += 1;
        tokio::time::sleep(PACE).await;
    }
}

fn start(office: &Arc<Office>, number: &str, record: &Arc<Record>) -> JoinHandle<()> {
    let (staff, number, record) = (staff(office), number.to_owned(), Arc::clone(record));
    thread::spawn(move || runtime().block_on(write_on(staff, number, record)))
}

/// Who made the version that follows on `version`: one, and everybody else was told that they came too late.
fn author(tries: &[Try], number: &str, version: u64) -> usize {
    let won = |t: &&Try| t.answer.status == 200 && t.answer.person() == Some((number, version + 1));
    let lost = |t: &&Try| t.answer.status == 409 && t.answer.code() == "RESOURCE_VERSION_MISMATCH";
    let one = |t: &Try| format!("{}: {} {:?} {}", t.author, t.answer.status, t.answer.person(), t.answer.code());
    let told = || tries.iter().map(one).collect::<Vec<_>>().join("; ");
    assert_eq!(tries.iter().filter(lost).count(), AUTHORS - 1, "at version {version}: {}", told());
    tries.iter().position(|t| won(&t)).unwrap_or_else(|| panic!("nobody wrote at version {version}: {}", told()))
}

#[test]
fn each_version_has_one_author_whenever_a_node_is_killed() {
    let _alone = alone();
    let demo = Demo::start(Plan::of(1));
    let (office, record) = (Office::open(&demo), Arc::<Record>::default());
    let edwards = person("Edwards", "1982-07-10");
    let made = runtime().block_on(Staff::new(&office, 0, 0).surely(&Ask::create(&edwards, (CREATE, 0))));
    let number = made.person().expect("a person is made").0.to_owned();
    let writing = start(&office, &number, &record);
    for (round, all) in [false, false, true, false].into_iter().enumerate() {
        record.more(5 + 3 * round);
        // The leader and another in turn, and all of them.
        let leader = demo.leader(1);
        let one = demo.ids().into_iter().find(|id| (*id == leader) == (round % 2 == 0));
        let victims = if all { demo.ids() } else { one.into_iter().collect() };
        victims.iter().for_each(|id| demo.kill(*id));
        if !all {
            record.more(5);
        }
        victims.iter().for_each(|id| demo.start_node(*id));
        demo.wait_ready();
    }
    record.over.store(true, SeqCst);
    writing.join().expect("the clients end in order");
    let versions = std::mem::take(&mut *record.versions.lock().expect("no client panicked"));
    let cut = versions.iter().flatten().filter(|t| t.answer.cut > 0).count();
    println!("patching: {} versions by {AUTHORS} authors each; {cut} requests were cut off", versions.len());
    assert!(cut > 0, "no kill met a request");
    is_as_its_authors_made_it(&demo, &office, &number, &versions);
    demo.replicas_are_equal();
    demo.audit_is_whole();
}

fn is_as_its_authors_made_it(demo: &Demo, office: &Arc<Office>, number: &str, versions: &[Vec<Try>]) {
    let at = versions.iter().enumerate().map(|(n, tries)| &tries[author(tries, number, n as u64 + 1)]);
    let authors: Vec<&Try> = at.collect();
    let (last, born) = (1 + versions.len() as u64, authors.last().map_or("", |t| &t.day));
    let mut hands = staff(office);
    runtime().block_on(async {
        // Whoever asks again, however late, hears the same, and nothing happens.
        for t in versions.iter().flatten() {
            let again = hands[t.author].surely(&t.ask).await;
            assert_eq!((again.status, again.code()), (t.answer.status, t.answer.code()), "{} again", t.ask.id);
        }
        for (count, hand) in hands.iter_mut().enumerate() {
            let shown = hand.surely(&Ask::retrieve(number, (RETRIEVE, count))).await;
            assert_eq!(
                (shown.status, shown.person()),
                (200, Some((number, last))),
                "one version for each that was accepted"
            );
            assert_eq!(shown.body["birthDate"], born, "the last author's");
        }
    });
    let told = demo.try_ask(2, &["pds", "show", number, "--history"]).expect("the person is there");
    let text =
        |version: &Value, path: &str| version.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let one = |v: &Value| (v["version"].as_u64(), text(v, "/by/request"), text(v, "/changed/birthDate/to"));
    let mut kept: Vec<_> = told["versions"].as_array().into_iter().flatten().map(one).collect();
    kept.sort_unstable();
    let made = |(n, t): (usize, &&Try)| (Some(n as u64 + 2), t.ask.id.clone(), t.day.clone());
    let made: Vec<_> = authors.iter().enumerate().map(made).collect();
    assert_eq!(kept[1..], made, "the history tells of the same authors in the same order");
}
