//! People are registered while nodes are killed at every step of it: before it is sent, while it is looked for and decided, after it is decided
//! and before it is told. One person has one number and never two, whoever asks again, and nobody is there by half (P1, P3, P4).

use super::{
    demo::{Demo, Plan, wait_for},
    load::PACE,
    scene::alone,
    staff::{Answer, Ask, Office, Staff, person, runtime},
};
use futures_util::future::join_all;
use serde_json::Value;
use spine::{model::NhsNumber, ops::admin_client::AdminClient};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

const PARTITIONS: u16 = 3;
/// Rounds of kills at least, and at most where the kinds of moments that the test is about were not all met.
const ROUNDS: (usize, usize) = (8, 30);
/// How a person is registered: how many do it so at the same time.
const DESKS: &[(Way, usize)] = &[(Way::Alone, 6), (Way::Twins, 2), (Way::Rivals, 2)];
/// Those who read at the end.
const READERS: usize = 12;
/// Requests of this test, by what they are for.
const CREATE: u16 = 0x8001;
const RIVAL: u16 = 0x8002;
const SEARCH: u16 = 0x8003;
const RETRIEVE: u16 = 0x8004;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// By one client.
    Alone,
    /// By one who sends the request to two nodes at once.
    Twins,
    /// By two people who do not know of each other.
    Rivals,
}

/// A person, and who asked for them to be registered.
struct Made {
    way: Way,
    family: String,
    born: String,
    number: String,
    asks: Vec<Asked>,
}

/// A request, who made it, and how it ended.
struct Asked {
    who: usize,
    ask: Ask,
    answer: Answer,
}

/// What all share.
#[derive(Default)]
struct Register {
    begun: AtomicUsize,
    busy: AtomicUsize,
    open: AtomicBool,
    over: AtomicBool,
    made: Mutex<Vec<Made>>,
    wrong: Mutex<Vec<String>>,
}

impl Register {
    fn count(&self) -> usize {
        self.made.lock().expect("no client panicked").len()
    }

    /// Waits for so many more people.
    #[track_caller]
    fn more(&self, count: usize) {
        let goal = self.count() + count;
        wait_for(&format!("{count} more people"), || (self.count() >= goal).then_some(()));
    }

    /// Begins nothing new, and waits until everything that was begun has ended.
    fn close(&self) {
        self.open.store(false, SeqCst);
        wait_for("all to be answered", || (self.busy.load(SeqCst) == 0).then_some(()));
    }

    fn is_right(&self) {
        let wrong = self.wrong.lock().expect("no client panicked");
        assert!(wrong.is_empty(), "{} breach(es)\n  {}", wrong.len(), wrong[..wrong.len().min(20)].join("\n  "));
    }
}

/// One person's worth of members of staff, who register one after the other.
struct Desk {
    register: Arc<Register>,
    way: Way,
    hands: Vec<(usize, Staff)>,
}

impl Desk {
    fn new(office: &Arc<Office>, register: &Arc<Register>, way: Way, place: usize) -> Desk {
        let who = match way {
            Way::Alone => vec![place % office.people()],
            Way::Twins => vec![place % office.people(); 2],
            Way::Rivals => vec![0, 1],
        };
        let hand = |(n, who)| (who, Staff::new(office, who, place + n));
        let hands = who.into_iter().enumerate().map(hand).collect();
        Desk { register: Arc::clone(register), way, hands }
    }

    async fn work_on(mut self) {
        let register = Arc::clone(&self.register);
        while !register.over.load(SeqCst) {
            register.busy.fetch_add(1, SeqCst);
            if register.open.load(SeqCst) {
                self.make(register.begun.fetch_add(1, SeqCst)).await;
            }
            register.busy.fetch_sub(1, SeqCst);
            tokio::time::sleep(PACE).await;
        }
    }

    async fn make(&mut self, count: usize) {
        let (family, born) = (family(count), born(count));
        let person = person(&family, &born);
        let second = if self.way == Way::Rivals { RIVAL } else { CREATE };
        let asks = [CREATE, second].map(|series| Ask::create(&person, (series, count)));
        let hands = self.hands.iter_mut().zip(asks);
        let asks = hands.map(async |((who, hand), ask)| Asked { who: *who, answer: hand.surely(&ask).await, ask });
        let asks = join_all(asks).await;
        let mut made = Made { way: self.way, family, born, number: String::new(), asks };
        match made.numbered() {
            Some(number) => made.number = number,
            None => self.register.wrong.lock().expect("no client panicked").push(made.told()),
        }
        self.register.made.lock().expect("no client panicked").push(made);
    }
}

impl Made {
    /// The number that the answers agree on: everybody who asked under one id was given it, and a second id was told of it.
    fn numbered(&self) -> Option<String> {
        let numbers: Vec<&str> = self.asks.iter().filter_map(|asked| given(&asked.answer)).collect();
        let number = (*numbers.first()?).to_owned();
        let winners = if self.way == Way::Rivals { 1 } else { self.asks.len() };
        let met = |answer: &Answer| answer.code() == "SINGLE_MATCH" && answer.body.to_string().contains(&number);
        let mut losers = self.asks.iter().map(|asked| &asked.answer).filter(|answer| answer.status != 201);
        let one = numbers.len() == winners && numbers.iter().all(|n| *n == number) && losers.all(met);
        (one && NhsNumber::strict(&number).is_some()).then_some(number)
    }

    fn told(&self) -> String {
        let one = |Asked { ask, answer, .. }: &Asked| {
            format!("{}: {} {:?} {} after {} lost", ask.id, answer.status, answer.person(), answer.code(), answer.cut)
        };
        format!("{:?} {}: {}", self.way, self.family, self.asks.iter().map(one).collect::<Vec<_>>().join("; "))
    }
}

/// The number that a person was made with.
fn given(answer: &Answer) -> Option<&str> {
    let (number, version) = answer.person()?;
    (answer.status == 201 && version == 1).then_some(number)
}

/// Letters only, and no two alike.
fn family(mut count: usize) -> String {
    let mut name = String::from("Made");
    for _ in 0..4 {
        name.push(char::from(b'a' + (count % 26) as u8));
        count /= 26;
    }
    name
}

/// Days of eighty years, so that people are spread over the partitions.
fn born(count: usize) -> String {
    format!("{}-{:02}-{:02}", 1930 + count % 80, 1 + count / 80 % 12, 1 + count / 960 % 28)
}

fn start(office: &Arc<Office>, register: &Arc<Register>) -> JoinHandle<()> {
    let (office, register) = (Arc::clone(office), Arc::clone(register));
    thread::spawn(move || {
        runtime().block_on(async {
            let mut desks = tokio::task::JoinSet::new();
            for (place, way) in DESKS.iter().flat_map(|(way, count)| vec![*way; *count]).enumerate() {
                desks.spawn(Desk::new(&office, &register, way, place).work_on());
            }
            while let Some(ended) = desks.join_next().await {
                ended.expect("a client ends in order");
            }
        });
    })
}

/// Kills a partition's leader, each node in turn, a leader that alone has what it decided last, or all of them; tells whom.
fn strike(demo: &Demo, register: &Register, round: usize) -> Vec<u64> {
    let (ids, partition) = (demo.ids(), 1 + round as u64 / 4 % u64::from(PARTITIONS));
    let victims = match round % 4 {
        0 => vec![demo.leader(partition)],
        1 => vec![ids[round / 4 % ids.len()]],
        2 => return vec![kill_alone(demo, register, partition)],
        _ => ids,
    };
    victims.iter().for_each(|id| demo.kill(*id));
    victims
}

/// Stops the others while the leader works, and kills it once it has decided what they cannot confirm.
fn kill_alone(demo: &Demo, register: &Register, partition: u64) -> u64 {
    wait_for("a leader to be left with what it decided", || {
        let leader = demo.leader(partition);
        let others: Vec<u64> = demo.ids().into_iter().filter(|id| *id != leader).collect();
        register.more(1);
        others.iter().for_each(|id| demo.freeze(*id));
        let ahead = demo.is_ahead(leader, partition) == Some(true);
        if ahead {
            demo.kill(leader);
        }
        others.iter().for_each(|id| demo.thaw(*id));
        ahead.then_some(leader)
    })
}

/// The decisions on a request that the audit trail tells: when, how it ended, and about whom.
async fn decisions(node: &AdminClient, id: &str) -> Vec<(u64, String, String)> {
    let told = node.get(&format!("/v1/audit/search?object={id}&limit=100")).await.expect("the trail is read");
    let text = |record: &Value, member: &str| record[member].as_str().unwrap_or_default().to_owned();
    let all = told["items"].as_array().cloned().unwrap_or_default();
    let ours = all.iter().filter(|record| record["interaction"] == "pds.create" && record["object"] == id);
    let one = |record: &Value| {
        let time: jiff::Timestamp = text(record, "time").parse().expect("a time");
        (time.as_millisecond() as u64, text(record, "outcome"), text(record, "subject"))
    };
    ours.map(one).collect()
}

/// How many requests were cut off undecided, and how many between their decision and its answer. Those that two nodes had at
/// once cannot tell.
fn moments(node: &AdminClient, made: &[Made]) -> (usize, usize) {
    let mut met = (0, 0);
    let cut = made.iter().filter(|made| made.way != Way::Twins).flat_map(|made| &made.asks);
    for Asked { ask, answer, .. } in cut.filter(|asked| asked.answer.cut > 0) {
        let decided = runtime().block_on(decisions(node, &ask.id));
        match decided.first().is_some_and(|(at, ..)| *at < answer.asked) {
            true => met.1 += 1,
            false => met.0 += 1,
        }
    }
    met
}

#[test]
fn a_person_has_one_number_whenever_a_node_is_killed() {
    let _alone = alone();
    let demo = Demo::start(Plan::of(PARTITIONS));
    let (office, register) = (Office::open(&demo), Arc::<Register>::default());
    let desks = start(&office, &register);
    let node = AdminClient::new(&demo.sockets()[0]);
    let (mut round, mut undecided, mut untold, mut seen) = (0, 0, 0, 0);
    while round < ROUNDS.0 || undecided == 0 || untold == 0 {
        assert!(round < ROUNDS.1, "{undecided} were cut off undecided and {untold} untold");
        register.open.store(true, SeqCst);
        register.more(5 + 3 * round);
        let victims = strike(&demo, &register, round);
        if victims.len() == 1 {
            register.more(10);
        }
        victims.iter().for_each(|id| demo.start_node(*id));
        register.close();
        demo.wait_ready();
        register.is_right();
        let made = register.made.lock().expect("no client panicked");
        let met = moments(&node, &made[seen..]);
        (undecided, untold, seen, round) = (undecided + met.0, untold + met.1, made.len(), round + 1);
    }
    register.over.store(true, SeqCst);
    desks.join().expect("the clients end in order");
    let made = std::mem::take(&mut *register.made.lock().expect("no client panicked"));
    let asks = made.iter().flat_map(|made| &made.asks);
    println!(
        "creating: {} people by {} requests through {round} rounds of kills; {} were cut off, {undecided} of them \
         undecided and {untold} untold",
        made.len(),
        asks.clone().count(),
        asks.filter(|asked| asked.answer.cut > 0).count()
    );
    everybody_is_there_once(&demo, &office, &node, &made);
    demo.replicas_are_equal();
    demo.audit_is_whole();
}

fn everybody_is_there_once(demo: &Demo, office: &Arc<Office>, node: &AdminClient, made: &[Made]) {
    let numbers: BTreeSet<&str> = made.iter().map(|made| made.number.as_str()).collect();
    assert_eq!(numbers.len(), made.len(), "no number was given to two people");
    runtime().block_on(join_all((0..READERS).map(async |reader| {
        let mut hands: Vec<Staff> = (0..office.people()).map(|who| Staff::new(office, who, reader + who)).collect();
        for (count, made) in made.iter().enumerate().skip(reader).step_by(READERS) {
            made.is_answered_again(&mut hands).await;
            made.is_found(&mut hands, count).await;
            made.was_decided_once(node).await;
        }
    })));
    // By number, as the rows have it: also whom no search would find.
    let file = demo.path().join("everybody.ndjson");
    demo.try_ask(2, &["export", "people", file.to_str().expect("a path")]).expect("an export");
    let text = std::fs::read_to_string(&file).expect("the file is there");
    let mut there: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let person: Value = serde_json::from_str(line).expect("JSON");
        let text = |path: &str| person.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        there.entry(text("/resource/name/0/family")).or_default().push(text("/nhsNumber"));
    }
    let expected = made.iter().map(|made| (made.family.clone(), vec![made.number.clone()])).collect();
    assert_eq!(there, expected, "everybody once, and nobody else");
}

impl Made {
    /// Who asks again, however late, hears the same.
    async fn is_answered_again(&self, hands: &mut [Staff]) {
        for Asked { who, ask, answer } in &self.asks {
            let again = hands[*who].surely(ask).await;
            assert_eq!((again.status, &again.body), (answer.status, &answer.body), "{}", self.told());
        }
    }

    /// By name and by number, through two nodes.
    async fn is_found(&self, hands: &mut [Staff], count: usize) {
        let search = Ask::search(&self.family, &self.born, "female", (SEARCH, count));
        let found = hands[0].surely(&search).await;
        let entries = found.body["entry"].as_array().cloned().unwrap_or_default();
        let numbers: Vec<&str> = entries.iter().filter_map(|entry| entry["resource"]["id"].as_str()).collect();
        assert_eq!((found.status, numbers), (200, vec![self.number.as_str()]), "a search for {}", self.told());
        let shown = hands[1].surely(&Ask::retrieve(&self.number, (RETRIEVE, count))).await;
        assert_eq!((shown.status, shown.person()), (200, Some((self.number.as_str(), 1))), "{}", self.told());
        assert_eq!(shown.body["name"][0]["family"], self.family.as_str(), "the number is this person's");
    }

    /// One decision for each id, however often it was asked for.
    async fn was_decided_once(&self, node: &AdminClient) {
        for Asked { ask, answer, .. } in &self.asks {
            let decided = decisions(node, &ask.id).await;
            let told: Vec<(&str, &str)> = decided.iter().map(|(_, o, s)| (o.as_str(), s.as_str())).collect();
            let expected = match answer.status {
                201 => ("ok", self.number.as_str()),
                _ => (answer.code(), ""),
            };
            assert_eq!(told, [expected], "the trail of {}", self.told());
        }
    }
}
