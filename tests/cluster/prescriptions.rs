//! Prescriptions are written, given out, dispensed, brought back, cancelled and paid while nodes are killed: each is with one pharmacy, is
//! dispensed once and claimed once, none is lost, and whoever asks again hears the same (P1, P3, P4).

use super::{
    demo::{Demo, Plan},
    pharmacies::{Day, Entry, PHARMACIES, PROCESS, RELEASE, Sent, code, comparable, told},
    scene::alone,
    script::{self, ISSUES, ITEMS, Script, uuid},
    staff::{Answer, Ask, Office, Staff, runtime},
};
use futures_util::future::{join, join_all};
use serde_json::Value;
use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Instant,
};

const PARTITIONS: u16 = 3;
/// Prescriptions of a day.
const ORDERS: usize = 1_000;
/// Rounds of two pharmacies that want the same, and how many prescriptions they both want in each.
const ROUNDS: usize = 20;
const WANTED: usize = 8;
/// A program that was built without optimization does a part of it.
const UNOPTIMIZED: usize = 4;
/// Those who read at the end.
const READERS: usize = 12;
/// Requests of this test, by what they are for.
const TRACK: u16 = 0x3000;
const DETAIL: u16 = 0x3100;
const WANT: u16 = 0x3200;

/// How much of it is done here: all by the program that `make cluster` names.
fn scaled(count: usize) -> usize {
    let released = !cfg!(debug_assertions) || std::env::var_os("SPINE_BIN").is_some();
    if released { count } else { count / UNOPTIMIZED }
}

#[test]
fn a_pharmacists_day_is_accounted_for_when_a_node_is_killed() {
    let _alone = alone();
    let demo = Demo::start(Plan::of(PARTITIONS));
    let orders = scaled(ORDERS);
    let day = Day::new(&demo, orders);
    let began = Instant::now();
    let working = day.begin();
    day.until_claimed(orders / 3);
    let victim = demo.leader(1);
    demo.kill(victim);
    day.until_claimed(orders / 2);
    demo.start_node(victim);
    working.join().expect("the clients end in order");
    let (took, messages, cut) = (began.elapsed(), day.messages.load(SeqCst), day.cut.load(SeqCst));
    println!(
        "prescriptions: {orders} orders and all that followed by {PHARMACIES} pharmacies: {messages} messages in {:.1} s, \
         {:.0} a second; {cut} were cut off; {} claims",
        took.as_secs_f64(),
        messages as f64 / took.as_secs_f64(),
        day.claimed.load(SeqCst)
    );
    day.is_right();
    assert!(cut > 0, "no kill met a message");
    demo.wait_ready();
    let began = Instant::now();
    runtime().block_on(async {
        all_are_where_they_should_be(&day, false).await;
        repeats_are_answered_as_before(&day).await;
        // And nothing came of that, as the whole history of each tells.
        all_are_where_they_should_be(&day, true).await;
    });
    println!("prescriptions: looked at and repeated in {:.1} s", began.elapsed().as_secs_f64());
    day.is_right();
    demo.replicas_are_equal();
    demo.audit_is_whole();
}

/// By one tracker, or by both: each through another node.
async fn all_are_where_they_should_be(day: &Arc<Day>, with_history: bool) {
    let book = std::mem::take(&mut *day.book());
    let kinds = |of: fn(&Entry) -> bool| book.values().filter(|entry| of(entry)).count();
    let (cancelled, returned) = (kinds(Entry::is_cancelled), kinds(|e| e.returned));
    let (erd, amended) = (kinds(|e| e.script.erd), kinds(|e| e.cancelled.contains(&true) && !e.is_cancelled()));
    if with_history {
        println!("prescriptions: {erd} repeat, {cancelled} cancelled, {amended} in part, {returned} given back");
    }
    assert!(erd > 0 && cancelled > 0 && returned > 0, "the day had something of everything");
    join_all((0..READERS).map(async |reader| {
        let mut hand = Staff::new(&day.pharmacy, 0, reader);
        for entry in book.values().skip(reader).step_by(READERS) {
            is_as_entered(&mut hand, day, entry).await;
            if with_history {
                went_as_entered(&mut hand, day, entry).await;
            }
        }
    }))
    .await;
    *day.book() = book;
}

async fn is_as_entered(hand: &mut Staff, day: &Day, entry: &Entry) {
    let id = &entry.script.id;
    let tasks = tracked(hand, &entry.script).await;
    let expected = expected(entry);
    let told: Result<Vec<Issue>, _> = tasks.as_ref().map(|tasks| tasks.iter().map(Issue::of).collect());
    if told.as_ref() != Ok(&expected) {
        day.complain(format!("{id} is {told:?}, and by its pharmacies {expected:?}"));
    }
}

/// Given out, dispensed and claimed once each, and nothing else.
async fn went_as_entered(hand: &mut Staff, day: &Day, entry: &Entry) {
    let id = &entry.script.id;
    let issues: &[(u64, &str)] = if entry.script.erd { &[(1, "0001"), (2, "9000")] } else { &[(1, "0001")] };
    for (issue, first) in issues {
        let happened = happened(hand, &entry.script, *issue).await;
        let rest: &[&str] = match (entry.is_cancelled(), entry.returned) {
            (true, _) => &["0005"],
            (_, true) => &["0002", "0001", "0002", "0006", "0008"],
            _ => &["0002", "0006", "0008"],
        };
        let expected: Vec<&str> = std::iter::once(*first).chain(rest.iter().copied()).collect();
        if happened != expected {
            day.complain(format!("issue {issue} of {id} went {happened:?}, and should have {expected:?}"));
        }
    }
}

/// An issue as the tracker shows it.
#[derive(Debug, PartialEq)]
struct Issue {
    status: String,
    owner: String,
    items: Vec<String>,
}

impl Issue {
    fn of(task: &Value) -> Issue {
        let text = |of: &Value, path: &str| of.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let items = task["input"].as_array().into_iter().flatten();
        Issue {
            status: text(task, "/businessStatus/coding/0/code"),
            owner: text(task, "/owner/identifier/value"),
            items: items.map(|i| text(i, "/extension/0/extension/0/valueCoding/code")).collect(),
        }
    }
}

/// What the answers to the pharmacies say of each issue.
fn expected(entry: &Entry) -> Vec<Issue> {
    let nominated = code(entry.script.n);
    let status = |text: &str| text.to_owned();
    let issue = |number: u64| {
        let holder = entry.given.iter().rev().find(|(_, issue)| *issue == number).map(|(who, _)| who.clone());
        let done = entry.dispensed == entry.claimed && entry.claimed.iter().filter(|n| **n == number).count() == 1;
        let (issue, item) = match (entry.is_cancelled(), done && holder.is_some(), number) {
            (true, false, _) => ("0005", "0005"),
            (false, true, _) => ("0008", "0001"),
            // The one after those that were asked for waits for its day; those behind it for their turn.
            (_, _, 3) => ("0000", "0007"),
            _ => ("lost", "lost"),
        };
        let items = entry.cancelled.map(|cancelled| status(if cancelled { "0005" } else { item }));
        Issue { status: status(issue), owner: holder.unwrap_or_else(|| nominated.clone()), items: items.to_vec() }
    };
    (1..=if entry.script.erd { ISSUES } else { 1 }).map(issue).collect()
}

/// `GET /Task` by its id.
async fn tracked(hand: &mut Staff, script: &Script) -> Result<Vec<Value>, String> {
    let id = script.id.replace('+', "%2B");
    let path = format!("/electronic-prescriptions/FHIR/R4/Task?focus:identifier={id}");
    let answer = hand.surely(&Ask::get(path, uuid(TRACK, script.n), vec![])).await;
    let entries = answer.body["entry"].as_array().filter(|_| answer.status == 200);
    let entries = entries.ok_or_else(|| told(&answer))?;
    Ok(entries.iter().map(|entry| entry["resource"].clone()).collect())
}

/// The statuses that an issue went through, as its history tells. Cancellations of items are no step of it.
async fn happened(hand: &mut Staff, script: &Script, issue: u64) -> Vec<String> {
    let (id, request) = (script.id.replace('+', "%2B"), uuid(DETAIL + issue as u16, script.n));
    let path = format!("/clinical-prescription-tracker/FHIR/R4/RequestGroup/{id}?issueNumber={issue}");
    let headers = ["nhsd-organization-uuid", "nhsd-identity-uuid", "nhsd-session-jobrole"];
    let headers = headers.into_iter().map(|name| (name, "R8003".to_owned())).collect();
    let answer = hand.surely(&Ask::get(path, request, headers)).await;
    let group = answer.body["entry"].as_array().and_then(|all| all.last()).map(|entry| &entry["resource"]);
    let steps = group.and_then(|group| group.pointer("/action/1/action")).and_then(Value::as_array);
    let Some(steps) = steps else { return vec![told(&answer)] };
    let mut all: Vec<String> = vec![];
    for step in steps {
        let after = step.pointer("/code/0/coding/0/code").and_then(Value::as_str).unwrap_or_default();
        let cancels = step["title"].as_str().unwrap_or_default().to_lowercase().contains("cancel");
        if !cancels || all.last().is_none_or(|last| last != after) {
            all.push(after.to_owned());
        }
    }
    all
}

/// Everything again, the same to the byte, through whichever node.
async fn repeats_are_answered_as_before(day: &Arc<Day>) {
    let sent = day.take_sent();
    let returned: BTreeSet<String> =
        day.book().values().filter(|entry| entry.returned).map(|entry| entry.script.id.clone()).collect();
    println!("prescriptions: {} messages are repeated", sent.len());
    join_all((0..READERS).map(async |reader| {
        let mut hands = [&day.surgery, &day.pharmacy].map(|office| Staff::new(office, 0, reader));
        for sent in sent.iter().skip(reader).step_by(READERS) {
            let again = hands[usize::from(sent.by_pharmacy)].surely(&sent.ask).await;
            if let Some(why) = differs(day, sent, &again, &returned) {
                day.complain(format!("{} again: {why}: {} and then {}", sent.ask.id, told(&sent.answer), told(&again)));
            }
        }
    }))
    .await;
}

/// What a repeat's answer has that the first had not. A prescription that came back is nobody's by the old request any more.
fn differs(day: &Day, sent: &Sent, again: &Answer, returned: &BTreeSet<String>) -> Option<&'static str> {
    let held = |answer: &Answer| -> BTreeSet<String> {
        let all = script::given(&answer.body, |id| day.script(id)).unwrap_or_default();
        all.into_iter().map(|given| given.id).collect()
    };
    let before = held(&sent.answer);
    if sent.is_nominated() && before.iter().any(|id| returned.contains(id)) {
        let left: BTreeSet<String> = before.difference(returned).cloned().collect();
        return (held(again) != left).then_some("other prescriptions");
    }
    (comparable(&sent.answer) != comparable(again)).then_some("another answer")
}

#[test]
fn of_two_pharmacies_that_ask_at_once_one_is_given_it_whenever_a_node_is_killed() {
    let _alone = alone();
    let demo = Demo::start(Plan::of(PARTITIONS));
    let pair = Pair {
        surgery: Office::with_smartcards(&demo, "B0420"),
        pharmacy: Office::with_smartcards(&demo, "B0570"),
        demo,
    };
    let (rounds, began) = (scaled(ROUNDS), Instant::now());
    let met: Vec<(usize, usize)> = (0..rounds).map(|round| pair.round(round)).collect();
    let (cut, firsts) = met.iter().fold((0, 0), |(cut, firsts), (c, f)| (cut + c, firsts + f));
    println!(
        "prescriptions: {} wanted by two at once in {rounds} rounds of kills, {:.1} s; the first had {firsts}; {cut} \
         requests were cut off",
        rounds * WANTED,
        began.elapsed().as_secs_f64()
    );
    assert!(cut > 0, "no kill met a request");
    pair.demo.replicas_are_equal();
    pair.demo.audit_is_whole();
}

struct Pair {
    demo: Demo,
    surgery: Arc<Office>,
    pharmacy: Arc<Office>,
}

impl Pair {
    /// Some prescriptions are written, both want them, and a node is killed when some of the answers are there. How many
    /// requests were cut off, and how many prescriptions the first of the two was given.
    fn round(&self, round: usize) -> (usize, usize) {
        let ids = self.demo.ids();
        let victim = match round % 2 {
            0 => self.demo.leader(1 + (round / 2 % usize::from(PARTITIONS)) as u64),
            _ => ids[round / 2 % ids.len()],
        };
        let wanted: Vec<Script> = (0..WANTED).map(|n| Script::new(round * WANTED + n, false)).collect();
        runtime().block_on(async {
            self.write(&wanted).await;
            let answers = self.want(&wanted, victim, round % (2 * WANTED)).await;
            self.demo.start_node(victim);
            self.demo.wait_ready();
            let cut = answers.iter().flatten().filter(|answer| answer.cut > 0).count();
            (cut, self.each_has_one(&wanted, &answers).await)
        })
    }

    async fn write(&self, wanted: &[Script]) {
        join_all(wanted.iter().map(async |script| {
            let message = uuid(0x2000, script.n);
            let ask = Ask::post(PROCESS, message.clone(), script.order(&message, &code(0)));
            let answer = Staff::new(&self.surgery, 0, script.n).surely(&ask).await;
            assert_eq!(answer.status, 200, "{}", told(&answer));
        }))
        .await;
    }

    fn ask(script: &Script, who: usize) -> Ask {
        Ask::post(RELEASE, uuid(WANT + who as u16, script.n), script.release(&code(who)))
    }

    /// Both ask for all at once, at two nodes; the node dies with the answer of that number, the first being 0.
    async fn want(&self, wanted: &[Script], victim: u64, at: usize) -> Vec<[Answer; 2]> {
        let answered = Cell::new(0);
        let mut hands: Vec<[Staff; 2]> =
            wanted.iter().map(|script| [0, 1].map(|who| Staff::new(&self.pharmacy, 0, script.n + who))).collect();
        join_all(wanted.iter().zip(&mut hands).map(async |(script, [one, other])| {
            let asking = async |hand: &mut Staff, who: usize| {
                let answer = hand.surely(&Pair::ask(script, who)).await;
                if answered.replace(answered.get() + 1) == at {
                    self.demo.kill(victim);
                }
                answer
            };
            let (one, other) = join(asking(one, 0), asking(other, 1)).await;
            [one, other]
        }))
        .await
    }

    /// One was given it, the other told of that one; both hear the same again, and the tracker says so too.
    async fn each_has_one(&self, wanted: &[Script], answers: &[[Answer; 2]]) -> usize {
        let mut firsts = 0;
        for (script, both) in wanted.iter().zip(answers) {
            let is_given = |answer: &Answer| {
                let given = script::given(&answer.body, |id| (id == script.id).then(|| script.clone()));
                answer.status == 200 && given.is_ok_and(|all| all.len() == 1)
            };
            let all = || both.iter().map(told).collect::<Vec<_>>().join("\n  ");
            let winners: Vec<usize> = (0..2).filter(|who| is_given(&both[*who])).collect();
            assert_eq!(winners.len(), 1, "one holder of {}:\n  {}", script.id, all());
            let (winner, loser) = (winners[0], &both[1 - winners[0]]);
            let holder = loser.body.pointer("/contained/0/identifier/0/value").and_then(Value::as_str);
            let refused = (loser.status, loser.code(), holder.unwrap_or_default());
            assert_eq!(refused, (400, "PRESCRIPTION_WITH_ANOTHER_DISPENSER", code(winner).as_str()), "{}", all());
            let mut hand = Staff::new(&self.pharmacy, 0, script.n + 2);
            let again = hand.surely(&Pair::ask(script, winner)).await;
            assert_eq!(comparable(&again), comparable(&both[winner]), "the holder hears the same again");
            let again = hand.surely(&Pair::ask(script, 1 - winner)).await;
            assert_eq!((again.status, again.code()), (400, loser.code()), "and the other too: {}", told(&again));
            let tasks = tracked(&mut hand, script).await.expect("it is there");
            let shown: Vec<Issue> = tasks.iter().map(Issue::of).collect();
            let items = vec!["0008".to_owned(); ITEMS];
            assert_eq!(shown, [Issue { status: "0002".into(), owner: code(winner), items }]);
            firsts += 1 - winner;
        }
        firsts
    }
}
