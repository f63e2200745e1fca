//! A day of one surgery and forty pharmacies, who write down what they were told: what becomes of each prescription, by the answers alone.

use super::{
    demo::{Demo, wait_for},
    load::PACE,
    script::{self, Given, ITEMS, Script, uuid},
    staff::{Answer, Ask, Office, Staff, runtime},
};
use futures_util::future::join;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

pub const PHARMACIES: usize = 40;
/// Connections of those who prescribe.
const PRESCRIBERS: usize = 12;
/// Of so many orders one each is: repeat dispensing, cancelled by who wrote it, cancelled in one item, given back by the pharmacy.
const ERD: (usize, usize) = (20, 3);
const CANCELLED: (usize, usize) = (25, 7);
const AMENDED: (usize, usize) = (25, 17);
const RETURNED: (usize, usize) = (25, 12);
/// Pharmacies of which each sends its requests to two nodes at once.
const TWINS: usize = 8;
/// Of these messages one each is repeated when the day is over; releases all are.
const REPEATED: usize = 16;

pub const PROCESS: &str = "/electronic-prescriptions/FHIR/R4/$process-message";
pub const RELEASE: &str = "/electronic-prescriptions/FHIR/R4/Task/$release";
const TASK: &str = "/electronic-prescriptions/FHIR/R4/Task";
const CLAIM: &str = "/electronic-prescriptions/FHIR/R4/Claim";

/// Messages by what they are for.
const ORDER: u16 = 0x2000;
const CANCEL: u16 = 0x2100;
const NOMINATED: u16 = 0x2200;
const BY_ID: u16 = 0x2300;
const GIVE_BACK: u16 = 0x2400;
const DISPENSE: u16 = 0x2500;
const PAY: u16 = 0x2600;

fn is_one(n: usize, (of, rest): (usize, usize)) -> bool {
    n % of == rest
}

/// The `n`th pharmacy's organisation.
pub fn code(n: usize) -> String {
    format!("FJ{:03}", n % PHARMACIES)
}

/// What became of a prescription.
pub struct Entry {
    pub script: Script,
    /// Items whose cancellation was said to have taken effect.
    pub cancelled: [bool; ITEMS],
    /// Who was given which issue, in order.
    pub given: Vec<(String, u64)>,
    pub returned: bool,
    pub dispensed: Vec<u64>,
    pub claimed: Vec<u64>,
}

impl Entry {
    fn of(script: &Script) -> Entry {
        let script = script.clone();
        let (given, dispensed, claimed) = (vec![], vec![], vec![]);
        Entry { script, cancelled: [false; ITEMS], given, returned: false, dispensed, claimed }
    }

    /// Whether nothing of it is left to be given out.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled == [true; ITEMS]
    }
}

/// A message that is sent again when all is over: who sent it, and what the answer was.
pub struct Sent {
    pub by_pharmacy: bool,
    pub ask: Ask,
    pub answer: Answer,
}

impl Sent {
    /// Whether it asked for all that is nominated.
    pub fn is_nominated(&self) -> bool {
        (NOMINATED..BY_ID).any(|kind| self.ask.id.starts_with(&uuid(kind, 0)[..13]))
    }
}

/// What all share.
pub struct Day {
    pub surgery: Arc<Office>,
    pub pharmacy: Arc<Office>,
    orders: usize,
    begun: AtomicUsize,
    ordered: AtomicUsize,
    pub claimed: AtomicUsize,
    pub messages: AtomicUsize,
    pub cut: AtomicUsize,
    book: Mutex<BTreeMap<String, Entry>>,
    sent: Mutex<Vec<Sent>>,
    wrong: Mutex<Vec<String>>,
}

impl Day {
    pub fn new(demo: &Demo, orders: usize) -> Arc<Day> {
        Arc::new(Day {
            surgery: Office::with_smartcards(demo, "B0420"),
            pharmacy: Office::with_smartcards(demo, "B0570"),
            orders,
            begun: AtomicUsize::new(0),
            ordered: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
            book: Mutex::default(),
            sent: Mutex::default(),
            wrong: Mutex::default(),
        })
    }

    /// Orders, releases and all that follows, at the same time.
    pub fn begin(self: &Arc<Day>) -> JoinHandle<()> {
        let day = Arc::clone(self);
        thread::spawn(move || {
            runtime().block_on(async {
                let mut all = tokio::task::JoinSet::new();
                for n in 0..PRESCRIBERS {
                    let hand = Staff::new(&day.surgery, 0, n);
                    all.spawn(Arc::clone(&day).prescribe(hand));
                }
                for n in 0..PHARMACIES {
                    let hands = [n, n + 1].map(|node| Staff::new(&day.pharmacy, 0, node));
                    all.spawn(Counter { day: Arc::clone(&day), n, hands, asked: 0 }.work_on());
                }
                while let Some(ended) = all.join_next().await {
                    ended.expect("a client ends in order");
                }
            });
        })
    }

    /// Waits until so many claims were accepted, or somebody saw what must not be.
    #[track_caller]
    pub fn until_claimed(&self, count: usize) {
        let claimed = || self.claimed.load(SeqCst);
        while claimed() < count && self.wrong().is_empty() {
            let before = claimed();
            wait_for("another claim", || (claimed() > before || !self.wrong().is_empty()).then_some(()));
        }
    }

    pub fn book(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.book.lock().expect("no client panicked")
    }

    pub fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().expect("no client panicked"))
    }

    fn wrong(&self) -> MutexGuard<'_, Vec<String>> {
        self.wrong.lock().expect("no client panicked")
    }

    pub fn complain(&self, what: String) {
        self.wrong().push(what);
    }

    pub fn is_right(&self) {
        let wrong = self.wrong();
        assert!(wrong.is_empty(), "{} breach(es)\n  {}", wrong.len(), wrong[..wrong.len().min(20)].join("\n  "));
    }

    /// The surgery is some orders ahead: what is cancelled at once is cancelled before anybody asks for it.
    fn may_open(&self) -> bool {
        self.ordered.load(SeqCst) >= self.orders / 10 + PRESCRIBERS
    }

    fn all_ordered(&self) -> bool {
        self.ordered.load(SeqCst) == self.orders
    }

    pub fn script(&self, id: &str) -> Option<Script> {
        self.book().get(id).map(|entry| entry.script.clone())
    }

    fn enter(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        change(self.book().get_mut(id).expect("a prescription that was written"));
    }

    /// Counts a message that was answered, and keeps some for later.
    fn note(&self, by_pharmacy: bool, keep: bool, ask: &Ask, answer: &Answer) {
        self.messages.fetch_add(1, SeqCst);
        self.cut.fetch_add(usize::from(answer.cut > 0), SeqCst);
        if keep {
            let sent = Sent { by_pharmacy, ask: ask.clone(), answer: answer.clone() };
            self.sent.lock().expect("no client panicked").push(sent);
        }
    }

    async fn prescribe(self: Arc<Day>, mut hand: Staff) {
        loop {
            let n = self.begun.fetch_add(1, SeqCst);
            if n >= self.orders {
                return;
            }
            let script = Script::new(n, is_one(n, ERD));
            self.book().insert(script.id.clone(), Entry::of(&script));
            let message = uuid(ORDER, n);
            let ask = Ask::post(PROCESS, message.clone(), script.order(&message, &code(n)));
            let answer = hand.surely(&ask).await;
            self.note(false, n.is_multiple_of(REPEATED), &ask, &answer);
            if answer.status != 200 {
                self.complain(format!("order {}: {}", script.id, told(&answer)));
            }
            let items = if is_one(n, CANCELLED) { 0..ITEMS } else { 0..usize::from(is_one(n, AMENDED)) };
            for place in items {
                self.cancel(&mut hand, &script, place).await;
            }
            self.ordered.fetch_add(1, SeqCst);
        }
    }

    /// An item, that its pharmacy may be given at the same moment.
    async fn cancel(&self, hand: &mut Staff, script: &Script, place: usize) {
        let message = uuid(CANCEL + place as u16, script.n);
        let ask = Ask::post(PROCESS, message.clone(), script.cancellation(&message, place));
        let answer = hand.surely(&ask).await;
        let decided = decided(&answer.body);
        // What came too late left nothing behind: asked again, it is decided again.
        self.note(false, decided != "R-0004", &ask, &answer);
        match (answer.status, decided) {
            (200, "R-0001") => self.enter(&script.id, |entry| entry.cancelled[place] = true),
            (400, "R-0002" | "R-0003" | "R-0004") => {}
            _ => self.complain(format!("cancellation of {}: {}", script.id, told(&answer))),
        }
    }
}

/// The code of a cancellation's answer (spec/eps.md §8.4).
fn decided(body: &Value) -> &str {
    let entries = body["entry"].as_array().into_iter().flatten().map(|e| &e["resource"]);
    let item = entries.into_iter().find(|r| r["resourceType"] == "MedicationRequest");
    let code = item.and_then(|item| item.pointer("/extension/0/extension/0/valueCoding/code"));
    code.and_then(Value::as_str).unwrap_or_default()
}

/// What a repeat must hear again: all but the moment at which an outcome is told (spec/eps.md §3.5), and by which name the caller
/// called the node, which stands in addresses.
pub fn comparable(answer: &Answer) -> (u16, String) {
    let mut body = answer.body.clone();
    if let Some(meta) = body.get_mut("meta").filter(|_| answer.body["resourceType"] == "OperationOutcome") {
        *meta = Value::Null;
    }
    let text = body.to_string();
    let without_port = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
    let mut parts = text.split("https://localhost:");
    let first = parts.next().unwrap_or_default().to_owned();
    (answer.status, parts.fold(first, |all, rest| all + "https://localhost" + &without_port(rest)))
}

pub fn told(answer: &Answer) -> String {
    format!("{} after {} lost: {}", answer.status, answer.cut, answer.body).chars().take(400).collect()
}

/// A pharmacy: takes what is nominated to it, and does what is to be done with each.
struct Counter {
    day: Arc<Day>,
    n: usize,
    /// At two nodes.
    hands: [Staff; 2],
    asked: usize,
}

impl Counter {
    /// Until nothing is left after the last order, which was answered before it asked.
    async fn work_on(mut self) {
        while !self.day.may_open() {
            tokio::time::sleep(PACE).await;
        }
        loop {
            let last = self.day.all_ordered();
            let ask = Ask::post(RELEASE, uuid(NOMINATED + self.n as u16, self.asked), script::nominated(&code(self.n)));
            self.asked += 1;
            let answer = self.release(&ask).await;
            if answer.code() == "NO_MORE_PRESCRIPTIONS" && answer.status == 200 {
                if last {
                    return;
                }
                tokio::time::sleep(PACE * 20).await;
                continue;
            }
            // All that was found was cancelled before it could be taken: there may be more.
            if answer.status == 200 && answer.body["parameter"][0]["resource"]["total"] == 0 {
                continue;
            }
            let all = self.given(&answer, self.n);
            if all.is_empty() {
                return;
            }
            for given in all {
                self.handle(&given).await;
            }
        }
    }

    /// Some send it to two nodes at the same time, and hear the same from both.
    async fn release(&mut self, ask: &Ask) -> Answer {
        let Counter { day, n, hands: [one, other], .. } = self;
        if !n.is_multiple_of(TWINS) {
            let answer = one.surely(ask).await;
            day.note(true, true, ask, &answer);
            return answer;
        }
        let (answer, twin) = join(one.surely(ask), other.surely(ask)).await;
        day.note(true, true, ask, &answer);
        if comparable(&twin) != comparable(&answer) {
            day.complain(format!("a release sent twice: {} and {}", told(&answer), told(&twin)));
        }
        answer
    }

    /// Enters who was given what; nobody else may have it.
    fn given(&self, answer: &Answer, pharmacy: usize) -> Vec<Given> {
        let day = &self.day;
        let all = script::given(&answer.body, |id| day.script(id)).and_then(|all| match answer.status {
            200 if !all.is_empty() => Ok(all),
            _ => Err("an answer without prescriptions".into()),
        });
        let all = all.unwrap_or_else(|why| {
            day.complain(format!("release by {}: {why}: {}", code(pharmacy), told(answer)));
            vec![]
        });
        let known: BTreeSet<&str> = all.iter().map(|given| given.id.as_str()).collect();
        if known.len() != all.len() {
            day.complain(format!("{} was given one twice in an answer", code(pharmacy)));
        }
        for given in &all {
            day.enter(&given.id, |entry| {
                let again = entry.given.iter().any(|(_, issue)| *issue == given.issue);
                if again && !(entry.returned && entry.given.len() == 1) {
                    day.complain(format!("{} {given:?} and before to {:?}", code(pharmacy), entry.given));
                }
                entry.given.push((code(pharmacy), given.issue));
            });
        }
        all
    }

    async fn handle(&mut self, given: &Given) {
        let Some(script) = self.day.script(&given.id) else { return };
        if is_one(script.n, RETURNED) && given.issue == 1 {
            let message = uuid(GIVE_BACK, script.n);
            let body = script.give_back(&message, &code(self.n), &given.response);
            if self.say(TASK, &script, message, body).await {
                self.day.enter(&script.id, |entry| entry.returned = true);
            }
            // The patient goes next door.
            self.hand_out(&script, self.n + 1, 1).await;
            return;
        }
        self.dispense(&script, self.n, given).await;
        if script.erd && given.issue == 1 {
            // And asks for the next one at once.
            self.hand_out(&script, self.n, 2).await;
        }
    }

    /// Asked for by its id.
    async fn hand_out(&mut self, script: &Script, pharmacy: usize, issue: u64) {
        let ask = Ask::post(RELEASE, uuid(BY_ID + issue as u16, script.n), script.release(&code(pharmacy)));
        let answer = self.release(&ask).await;
        for given in self.given(&answer, pharmacy) {
            if (given.id.as_str(), given.issue) != (script.id.as_str(), issue) {
                self.day.complain(format!("issue {issue} of {} was asked for: {given:?}", script.id));
            }
            self.dispense(script, pharmacy, &given).await;
        }
    }

    async fn dispense(&mut self, script: &Script, pharmacy: usize, given: &Given) {
        let (pharmacy, issue) = (code(pharmacy), given.issue);
        let message = uuid(DISPENSE + issue as u16, script.n);
        let body = script.notification(&message, &pharmacy, given);
        if self.say(PROCESS, script, message, body).await {
            self.day.enter(&script.id, |entry| entry.dispensed.push(issue));
        }
        let message = uuid(PAY + issue as u16, script.n);
        let body = script.claim(&message, &pharmacy, issue);
        if self.say(CLAIM, script, message, body).await {
            self.day.enter(&script.id, |entry| entry.claimed.push(issue));
            self.day.claimed.fetch_add(1, SeqCst);
        }
    }

    /// Whether it was accepted, as it must be.
    async fn say(&mut self, path: &str, script: &Script, message: String, body: String) -> bool {
        let ask = Ask::post(path, message, body);
        let answer = self.hands[0].surely(&ask).await;
        self.day.note(true, script.n.is_multiple_of(REPEATED), &ask, &answer);
        if answer.status != 200 {
            self.day.complain(format!("{path} of {}: {}", script.id, told(&answer)));
        }
        answer.status == 200
    }
}
