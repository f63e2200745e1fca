//! One worker: a connection that sends, collects, or does both in turn, until the phase's plan says that it is over.

use super::{
    MeshArgs, Phase,
    client::{Client, Failure},
    payload::{self, Dice},
    site::{Mailbox, Site},
    stats::{Op, Silence, Stats},
    token::Tokens,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// What all workers of a phase share.
pub struct Plan {
    pub phase: Phase,
    pub start: Instant,
    /// Before this moment nothing is counted.
    pub counted_from: Instant,
    pub end: Instant,
    pub count: Option<u64>,
    pub rate: Option<f64>,
    pub tickets: AtomicU64,
    /// Messages so far, for the progress line.
    pub progress: AtomicU64,
    pub silence: Silence,
    pub inboxes: Vec<Inbox>,
}

impl Plan {
    /// The next message's start: now in a closed loop; in an open loop the moment it is due, waited for. `None`: over.
    async fn ticket(&self) -> Option<Instant> {
        let n = self.tickets.fetch_add(1, Relaxed);
        if self.count.is_some_and(|count| n >= count) {
            return None;
        }
        let due = match self.rate {
            // The timer wakes on whole milliseconds; what that adds is part of the latency.
            Some(rate) => {
                let due = self.start + Duration::from_secs_f64(n as f64 / rate);
                if due >= self.end {
                    return None;
                }
                tokio::time::sleep_until(due.into()).await;
                due
            }
            None => Instant::now(),
        };
        // Also where the site is behind: what it did not get to in time is not its doing.
        (due.max(Instant::now()) < self.end).then_some(due)
    }
    fn counts(&self, at: Instant) -> bool {
        at >= self.counted_from
    }
}

/// A mailbox that several workers drain together, as a supplier's client does: list, collect all, list again.
#[derive(Default)]
pub struct Inbox {
    page: tokio::sync::Mutex<Page>,
}

#[derive(Default)]
struct Page {
    waiting: VecDeque<String>,
    /// Ids given out that the last list still showed.
    given: HashSet<String>,
}

/// How long a worker rests after a failure that names no Retry-After, so that a site in trouble is not hammered.
const REST: Duration = Duration::from_millis(20);
/// After so many empty lists in a row of a collect phase, its worker stops.
const EMPTY_LISTS: u32 = 2;

pub struct Worker {
    plan: Arc<Plan>,
    client: Client,
    stats: Arc<Mutex<Stats>>,
    dice: Dice,
    args: Arc<MeshArgs>,
    fixed: Fixed,
    /// The last refusal's Retry-After.
    told: Option<Duration>,
    /// A token maker for each mailbox of the site.
    tokens: Vec<Tokens>,
    number: usize,
    paths: Vec<String>,
    workflow: HeaderValue,
}

impl Worker {
    pub fn new(site: &Site, plan: Arc<Plan>, args: Arc<MeshArgs>, number: usize, stats: Arc<Mutex<Stats>>) -> Worker {
        let tokens = |m: &Mailbox| Tokens::new(&site.shared_key, &m.id, &m.password);
        Worker {
            client: Client::new(site, number, args.timeout),
            dice: Dice(args.seed.wrapping_add((number as u64) << 32)),
            tokens: site.mailboxes.iter().map(tokens).collect(),
            paths: site.mailboxes.iter().map(|m| format!("/messageexchange/{}", m.id)).collect(),
            workflow: HeaderValue::from_str(&args.workflow).unwrap_or_else(|_| HeaderValue::from_static("SPINE_BENCH")),
            fixed: Fixed::new(site),
            told: None,
            plan,
            stats,
            args,
            number,
        }
    }

    pub async fn run(mut self) {
        let collects = self.plan.phase == Phase::Collect;
        let mut empty = 0;
        while let Some(due) = self.plan.ticket().await {
            let good = if collects {
                match self.collect(due).await {
                    Collected::One { .. } => true,
                    Collected::Nothing => {
                        empty += 1;
                        if empty >= EMPTY_LISTS {
                            return;
                        }
                        continue;
                    }
                    Collected::Failed => false,
                }
            } else {
                let sent = self.send(due).await;
                if sent && self.plan.phase == Phase::Mixed {
                    // One for each would never make up for a look that found nothing, and inboxes would only grow.
                    if let Collected::One { more: true } = self.collect(Instant::now()).await {
                        self.collect(Instant::now()).await;
                    }
                }
                sent
            };
            if good {
                empty = 0;
            } else if !self.args.relentless {
                tokio::time::sleep(self.told.take().unwrap_or(REST)).await;
            }
        }
    }

    /// Connections are made before the clock starts.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        self.client.connect().await
    }

    async fn send(&mut self, due: Instant) -> bool {
        let from = self.number % self.tokens.len();
        let to = (from + 1) % self.tokens.len();
        let body = payload::body(self.args.payload, self.args.size, &mut self.dice);
        let mut request = self.request(from, Method::POST, "/outbox", Full::new(body));
        let headers = request.headers_mut();
        headers.insert(self.fixed.to.clone(), self.fixed.mailboxes[to].clone());
        headers.insert(self.fixed.workflow.clone(), self.workflow.clone());
        headers.insert(header::CONTENT_TYPE, self.fixed.octets.clone());
        let done = self.ask(Op::Send, due, request, StatusCode::ACCEPTED).await.is_ok();
        self.finished(done, due);
        done
    }

    async fn collect(&mut self, due: Instant) -> Collected {
        let plan = Arc::clone(&self.plan);
        let at = self.number % plan.inboxes.len();
        let inbox = &plan.inboxes[at];
        let (id, more) = {
            let mut page = inbox.page.lock().await;
            if page.waiting.is_empty() {
                let request = self.request(at, Method::GET, "/inbox?max_results=500", Full::default());
                let Ok(body) = self.ask(Op::List, Instant::now(), request, StatusCode::OK).await else {
                    return Collected::Failed;
                };
                page.take(&body);
            }
            match page.waiting.pop_front() {
                Some(id) => (id, !page.waiting.is_empty()),
                None => return Collected::Nothing,
            }
        };
        let path = format!("/inbox/{id}");
        let request = self.request(at, Method::GET, &path, Full::default());
        if let Err(status) = self.ask(Op::Retrieve, due, request, StatusCode::OK).await {
            // One that has expired since it was listed will not come back.
            if status != Some(StatusCode::GONE) {
                inbox.page.lock().await.waiting.push_back(id);
            }
            return Collected::Failed;
        }
        let request = self.request(at, Method::PUT, &format!("{path}/status/acknowledged"), Full::default());
        let done = self.ask(Op::Acknowledge, Instant::now(), request, StatusCode::OK).await.is_ok();
        if plan.phase == Phase::Collect {
            self.finished(done, due);
        }
        if done { Collected::One { more } } else { Collected::Failed }
    }

    fn finished(&self, done: bool, began: Instant) {
        if done {
            self.plan.progress.fetch_add(1, Relaxed);
            if self.plan.counts(began) {
                self.stats.lock().unwrap_or_else(|e| e.into_inner()).messages += 1;
            }
        }
    }

    fn request(&mut self, mailbox: usize, method: Method, rest: &str, body: Full<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let path = format!("{}{rest}", self.paths[mailbox]);
        // Mailbox and message ids are letters, digits and underscores; a path of them is a URI.
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(self.client.authority()) {
            headers.insert(header::HOST, host);
        }
        headers.insert(header::ACCEPT, self.fixed.accept.clone());
        headers.insert(header::AUTHORIZATION, self.tokens[mailbox].make());
        request
    }

    /// Asks, counts the answer, and gives the body of an answer with the wanted status; else the status, if there was one.
    async fn ask(
        &mut self,
        op: Op,
        due: Instant,
        request: Request<Full<Bytes>>,
        want: StatusCode,
    ) -> Result<Bytes, Option<StatusCode>> {
        let sent = Instant::now();
        let answer = self.client.ask(request).await;
        let now = Instant::now();
        let good = matches!(&answer, Ok(answer) if answer.status() == want);
        if good {
            self.plan.silence.broken(now);
        }
        let mut stats = self.stats.lock().unwrap_or_else(|e| e.into_inner());
        match answer {
            // Failures of the warm-up count: they are never to be expected.
            Err(failure) => {
                stats.failed(op, failure);
                Err(None)
            }
            Ok(answer) if !good => {
                let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
                // A little more, and not the same for all.
                self.told = seconds.map(|s: u64| Duration::from_millis(s * 1_000 + self.dice.roll() % 500));
                stats.refused(op, answer.status(), self.told.is_some(), now.saturating_duration_since(sent));
                Err(Some(answer.status()))
            }
            Ok(answer) => {
                if self.plan.counts(due) {
                    stats.success(op, now.saturating_duration_since(due));
                }
                Ok(answer.into_body())
            }
        }
    }
}

enum Collected {
    One {
        /// Others of the last list wait for somebody to take them.
        more: bool,
    },
    Nothing,
    Failed,
}

impl Page {
    /// Takes a list's ids in, but for those already given out and not yet gone.
    fn take(&mut self, body: &[u8]) {
        #[derive(serde::Deserialize, Default)]
        struct Listed {
            messages: Vec<String>,
        }
        let listed: Listed = serde_json::from_slice(body).unwrap_or_default();
        let now: HashSet<String> = listed.messages.iter().cloned().collect();
        self.given.retain(|id| now.contains(id));
        for id in listed.messages {
            if self.given.insert(id.clone()) {
                self.waiting.push_back(id);
            }
        }
    }
}

/// Header names and values that never change.
struct Fixed {
    to: HeaderName,
    workflow: HeaderName,
    accept: HeaderValue,
    octets: HeaderValue,
    mailboxes: Vec<HeaderValue>,
}

impl Fixed {
    fn new(site: &Site) -> Fixed {
        let mailbox = |m: &Mailbox| HeaderValue::from_str(&m.id).unwrap_or_else(|_| HeaderValue::from_static(""));
        Fixed {
            to: HeaderName::from_static("mex-to"),
            workflow: HeaderName::from_static("mex-workflowid"),
            accept: HeaderValue::from_static("application/vnd.mesh.v2+json"),
            octets: HeaderValue::from_static("application/octet-stream"),
            mailboxes: site.mailboxes.iter().map(mailbox).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_given_out_once_though_lists_show_it_again() {
        let mut page = Page::default();
        page.take(br#"{"messages":["A","B"]}"#);
        assert_eq!(page.waiting.drain(..).collect::<Vec<_>>(), ["A", "B"]);
        page.take(br#"{"messages":["B","C"]}"#);
        assert_eq!(page.waiting.drain(..).collect::<Vec<_>>(), ["C"]);
        page.take(br#"not json"#);
        assert!(page.waiting.is_empty() && page.given.is_empty());
    }
}
