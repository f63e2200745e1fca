//! Clients that work while the site is broken: each sends and collects through its own mutual-TLS connection, passes on
//! to the next node when its own is gone, and writes down everything that it saw.

use super::{
    clerk::{CLERKS, Clerk},
    history::{Call, Moment, Op, Outcome},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use spine::cli::bench::{client::Client, site::Site, token::Tokens};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How many of the clients send and how many collect.
const SENDERS: usize = 6;
const COLLECTORS: usize = 4;
/// How many read and take what is left at the end.
const CLOSERS: usize = 8;
/// A pause between two operations of a client: the history shall hold faults, not millions of lines.
pub const PACE: Duration = Duration::from_millis(4);
/// How long a client waits for an answer; a frozen node must not hold it for good.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest page of an inbox (MESH §6.2).
const PAGE: usize = 5000;
/// Sizes of bodies on both sides of the border above which they leave the log; so many are the longer ones.
const SHORT: usize = 200;
const LONG: usize = 100_000;
const LONG_EVERY: usize = 50;
/// What bodies are made of behind their tag.
const FILLER: u8 = b'.';

/// What all clients share.
pub struct Record {
    start: Instant,
    /// The same moment as everybody's clock tells it.
    wall: SystemTime,
    ops: Mutex<Vec<Op>>,
    sent: AtomicUsize,
    /// Sends that were answered 503.
    refused: AtomicUsize,
    /// Lists and messages that were shown.
    read: AtomicUsize,
    over: AtomicBool,
}

impl Record {
    pub fn now(&self) -> Moment {
        self.start.elapsed().as_micros() as Moment
    }

    pub fn over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub fn note(&self, op: Op) {
        self.ops.lock().expect("no client panicked").push(op);
    }
}

pub struct Load {
    record: Arc<Record>,
    thread: Option<JoinHandle<()>>,
    site: Arc<Site>,
    /// Every node's admin socket.
    sockets: Vec<PathBuf>,
    patient: Mutex<Vec<JoinHandle<()>>>,
}

impl Load {
    pub fn start(site: Site, sockets: Vec<PathBuf>) -> Load {
        let record = Record {
            start: Instant::now(),
            wall: SystemTime::now(),
            ops: Mutex::default(),
            sent: 0.into(),
            refused: 0.into(),
            read: 0.into(),
            over: false.into(),
        };
        let (record, site) = (Arc::new(record), Arc::new(site));
        let (shared, loaded, doors) = (Arc::clone(&record), Arc::clone(&site), sockets.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut clients = tokio::task::JoinSet::new();
                for number in 0..SENDERS + COLLECTORS {
                    let hand = Hand::new(&loaded, Arc::clone(&shared), number);
                    if number < SENDERS {
                        clients.spawn(hand.send_on());
                    } else {
                        clients.spawn(hand.collect_on());
                    }
                }
                for number in 0..CLERKS {
                    clients.spawn(Clerk::new(&doors, Arc::clone(&shared), number).work_on());
                }
                while let Some(ended) = clients.join_next().await {
                    ended.expect("a client ends in order");
                }
            });
        });
        Load { record, thread: Some(thread), site, sockets, patient: Mutex::default() }
    }

    pub fn now(&self) -> Moment {
        self.record.now()
    }

    /// A moment of the history as microseconds since 1970.
    pub fn wall(&self, moment: Moment) -> u64 {
        let began = self.record.wall.duration_since(UNIX_EPOCH).expect("it is later than 1970");
        began.as_micros() as u64 + moment
    }

    /// The other way.
    pub fn moment(&self, wall: u64) -> Moment {
        wall.saturating_sub(self.wall(0))
    }

    /// Waits until so many more sends have been accepted: the site serves.
    #[track_caller]
    pub fn more(&self, count: usize) {
        self.wait("sends", &self.record.sent, count);
    }

    /// Waits until so many more sends have been refused: the site says that it cannot.
    #[track_caller]
    pub fn refused(&self, count: usize) {
        self.wait("refusals", &self.record.refused, count);
    }

    /// Waits until so many more reads have been answered.
    #[track_caller]
    pub fn reads(&self, count: usize) {
        self.wait("reads", &self.record.read, count);
    }

    #[track_caller]
    fn wait(&self, what: &str, counter: &AtomicUsize, count: usize) {
        let goal = counter.load(Relaxed) + count;
        super::demo::wait_for(&format!("{count} more {what}"), || (counter.load(Relaxed) >= goal).then_some(()));
    }

    /// Asks one node, the `place`th, for every list and every row, by clients that wait until it answers: one that was
    /// frozen or cut off must not answer from the past when it is back.
    pub fn ask_and_wait(&self, place: usize) {
        let (site, sockets, record) = (Arc::clone(&self.site), self.sockets.clone(), Arc::clone(&self.record));
        let asking = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let lists = (0..site.mailboxes.len()).map(|mailbox| {
                    let mut hand = Hand::patient(&site, Arc::clone(&record), place);
                    async move { drop(hand.list(mailbox).await) }
                });
                let rows = Clerk::ask_each(&sockets[place], &record);
                tokio::join!(futures_util::future::join_all(lists), rows);
            });
        });
        self.patient.lock().expect("no test panicked with it").push(asking);
    }

    /// Stops the clients, waits for their last answers, and then reads every inbox to its end from every node, and every row
    /// through `sockets`: a node that was replaced has another.
    pub fn finish(mut self, sockets: &[PathBuf]) -> Vec<Op> {
        self.record.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the clients end in order");
        }
        for asking in self.patient.lock().expect("no test panicked with it").drain(..) {
            asking.join().expect("patient clients end in order");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for node in 0..self.site.targets.len() {
                let mut hands = self.hands(node);
                for mailbox in 0..self.site.mailboxes.len() {
                    let ids = hands[0].surely_list(mailbox).await;
                    // The first node's word is enough for what is in each body; all nodes must show the same list.
                    if node == 0 {
                        share(&mut hands, mailbox, &ids, true).await;
                    }
                }
            }
            Clerk::new(sockets, Arc::clone(&self.record), CLERKS).read_all().await;
            let mut hands = self.hands(1);
            for mailbox in 0..self.site.mailboxes.len() {
                // A list shows so many at most; what was taken from one comes in none after it.
                let mut taken = HashSet::new();
                loop {
                    let ids = hands[0].surely_list(mailbox).await;
                    if ids.is_empty() {
                        break;
                    }
                    share(&mut hands, mailbox, &ids, false).await;
                    assert!(ids.into_iter().all(|id| taken.insert(id)), "what was acknowledged is gone");
                }
            }
        });
        std::mem::take(&mut *self.record.ops.lock().expect("no client panicked"))
    }

    /// Those who read and take what is left at the end, at one node.
    fn hands(&self, node: usize) -> Vec<Hand> {
        (0..CLOSERS).map(|_| Hand::new(&self.site, Arc::clone(&self.record), node)).collect()
    }
}

/// Each of several hands reads, or acknowledges, its share of one mailbox's messages.
async fn share(hands: &mut [Hand], mailbox: usize, ids: &[String], read: bool) {
    let count = hands.len();
    let shares = hands.iter_mut().enumerate().map(|(first, hand)| async move {
        for id in ids.iter().skip(first).step_by(count) {
            hand.surely(mailbox, id, read).await;
        }
    });
    futures_util::future::join_all(shares).await;
}

impl Drop for Load {
    fn drop(&mut self) {
        self.record.over.store(true, Relaxed);
    }
}

/// One client.
struct Hand {
    client: Client,
    record: Arc<Record>,
    tokens: Vec<Tokens>,
    mailboxes: Vec<String>,
    number: usize,
    count: usize,
}

impl Hand {
    fn new(site: &Site, record: Arc<Record>, number: usize) -> Hand {
        Hand::waiting(site, record, number, TIMEOUT)
    }

    fn patient(site: &Site, record: Arc<Record>, number: usize) -> Hand {
        Hand::waiting(site, record, number, super::demo::PATIENCE)
    }

    fn waiting(site: &Site, record: Arc<Record>, number: usize, timeout: Duration) -> Hand {
        Hand {
            client: Client::new(site, number, timeout),
            record,
            tokens: site.mailboxes.iter().map(|m| Tokens::new(&site.shared_key, &m.id, &m.password)).collect(),
            mailboxes: site.mailboxes.iter().map(|m| m.id.clone()).collect(),
            number,
            count: 0,
        }
    }

    fn over(&self) -> bool {
        self.record.over()
    }

    async fn send_on(mut self) {
        let mut pace = tokio::time::interval(PACE);
        while !self.over() {
            pace.tick().await;
            let (from, to) = (self.count % self.mailboxes.len(), (self.count + self.number) % self.mailboxes.len());
            self.send(from, to).await;
        }
    }

    /// Lists, reads some, acknowledges most of them: some stay for later lists to show.
    async fn collect_on(mut self) {
        let mut pace = tokio::time::interval(PACE);
        while !self.over() {
            let mailbox = self.count % self.mailboxes.len();
            self.count += 1;
            let ids = self.list(mailbox).await.unwrap_or_default();
            // Each collector takes another share of the page, so that some meet at the same message and some do not.
            for id in ids.iter().skip(self.number % 2).step_by(2).take(20) {
                pace.tick().await;
                if self.retrieve(mailbox, id).await && !self.count.is_multiple_of(7) {
                    self.acknowledge(mailbox, id).await;
                }
            }
            pace.tick().await;
        }
    }

    async fn send(&mut self, from: usize, to: usize) -> bool {
        let tag = format!("tag-{}-{}", self.number, self.count);
        self.count += 1;
        let to = self.mailboxes[to].clone();
        let size = if self.count.is_multiple_of(LONG_EVERY) { LONG } else { SHORT };
        let mut body = format!("{tag};").into_bytes();
        body.resize(size, FILLER);
        let mut request = self.request(from, Method::POST, "/outbox", body.into());
        request.headers_mut().insert("mex-to", to.parse().expect("a mailbox id"));
        request.headers_mut().insert("mex-workflowid", "CLUSTER".parse().expect("a workflow id"));
        let call = Call::Send { tag, to };
        let read = |body: &Bytes| {
            let told: serde_json::Value = serde_json::from_slice(body).ok()?;
            Some(Outcome::Sent { id: told["message_id"].as_str()?.to_owned() })
        };
        let outcome = self.ask(call, request, StatusCode::ACCEPTED, read).await;
        let good = matches!(outcome, Outcome::Sent { .. });
        if good {
            self.record.sent.fetch_add(1, Relaxed);
        }
        good
    }

    async fn list(&mut self, mailbox: usize) -> Option<Vec<String>> {
        let request = self.request(mailbox, Method::GET, &format!("/inbox?max_results={PAGE}"), Bytes::new());
        let call = Call::List { mailbox: self.mailboxes[mailbox].clone() };
        let read = |body: &Bytes| {
            let told: serde_json::Value = serde_json::from_slice(body).ok()?;
            let ids = told["messages"].as_array()?.iter().filter_map(|id| Some(id.as_str()?.to_owned())).collect();
            Some(Outcome::Listed { ids, whole: told["links"]["next"].is_null() })
        };
        match self.ask(call, request, StatusCode::OK, read).await {
            Outcome::Listed { ids, .. } => Some(ids),
            _ => None,
        }
    }

    /// A list of a site that is healthy again: asked until it is answered.
    async fn surely_list(&mut self, mailbox: usize) -> Vec<String> {
        let deadline = Instant::now() + super::demo::PATIENCE;
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            if let Some(ids) = self.list(mailbox).await {
                return ids;
            }
            assert!(Instant::now() < deadline, "a healthy site answers a list");
        }
    }

    /// Reads or acknowledges a message of a site that is healthy again: asked until it is answered. What is wrong with
    /// the answers on the way is for the judge.
    async fn surely(&mut self, mailbox: usize, id: &str, read: bool) {
        let deadline = Instant::now() + super::demo::PATIENCE;
        loop {
            let done = if read { self.retrieve(mailbox, id).await } else { self.acknowledge(mailbox, id).await };
            if done {
                return;
            }
            let last = self.record.ops.lock().expect("no client panicked").last().cloned();
            assert!(Instant::now() < deadline, "a healthy site answers: {last:?}");
        }
    }

    async fn retrieve(&mut self, mailbox: usize, id: &str) -> bool {
        let request = self.request(mailbox, Method::GET, &format!("/inbox/{id}"), Bytes::new());
        let call = Call::Retrieve { mailbox: self.mailboxes[mailbox].clone(), id: id.to_owned() };
        let read = |body: &Bytes| {
            let tag = body.split(|b| *b == b';').next()?;
            let rest = body.get(tag.len() + 1..)?;
            let whole = [SHORT, LONG].contains(&body.len()) && rest.iter().all(|b| *b == FILLER);
            // A tag that nobody sent, for the judge, where the body is not what was sent.
            let tag = String::from_utf8_lossy(tag);
            Some(Outcome::Got { tag: if whole { tag.into_owned() } else { format!("a changed body of {tag}") } })
        };
        matches!(self.ask(call, request, StatusCode::OK, read).await, Outcome::Got { .. })
    }

    async fn acknowledge(&mut self, mailbox: usize, id: &str) -> bool {
        let path = format!("/inbox/{id}/status/acknowledged");
        let request = self.request(mailbox, Method::PUT, &path, Bytes::new());
        let call = Call::Acknowledge { id: id.to_owned() };
        self.ask(call, request, StatusCode::OK, |_| Some(Outcome::Acknowledged)).await == Outcome::Acknowledged
    }

    fn request(&mut self, mailbox: usize, method: Method, rest: &str, body: Bytes) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("/messageexchange/{}{rest}", self.mailboxes[mailbox]))
            .header(header::HOST, self.client.authority())
            .header(header::ACCEPT, "application/vnd.mesh.v2+json")
            .header(header::AUTHORIZATION, self.tokens[mailbox].make())
            .body(Full::new(body))
            .expect("a request of known parts")
    }

    /// Asks, and writes down call and outcome with the moments between which it happened, if it did.
    async fn ask(
        &mut self,
        call: Call,
        request: Request<Full<Bytes>>,
        want: StatusCode,
        read: impl Fn(&Bytes) -> Option<Outcome>,
    ) -> Outcome {
        let invoked = self.record.now();
        let answer = self.client.ask(request).await;
        let done = self.record.now();
        let outcome = match answer {
            Err(_) => Outcome::Unknown,
            Ok(answer) if answer.status() == want => {
                read(answer.body()).unwrap_or_else(|| panic!("{call:?}: {want} with a body of no known shape"))
            }
            Ok(answer) => Outcome::Refused {
                status: answer.status().as_u16(),
                retry_after: answer.headers().contains_key(header::RETRY_AFTER),
            },
        };
        match (&call, &outcome) {
            (Call::Send { .. }, Outcome::Refused { status: 503, .. }) => self.record.refused.fetch_add(1, Relaxed),
            (_, Outcome::Got { .. } | Outcome::Listed { .. }) => self.record.read.fetch_add(1, Relaxed),
            _ => 0,
        };
        self.record.note(Op { call, invoked, done, outcome: outcome.clone() });
        if matches!(outcome, Outcome::Unknown | Outcome::Refused { status: 503, .. }) {
            tokio::time::sleep(PACE * 5).await;
        }
        outcome
    }
}
