//! A protocol with one interaction of each kind, and a backend in memory that can be told to fail or to wait.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use spine::access::gate::{Admits, Denied, Permit, Proven, Rule, Standing};
use spine::edge::backend::{Answering, Backend, Credentials, Stored, Upload, View};
use spine::edge::payload::Pieces;
use spine::edge::problem::Refusal;
use spine::edge::protocol::*;
use spine::engine::draft::MapStore;
use spine::engine::{Command, Outcome, PartitionId, ServiceId, Unavailable};
use spine::store::Reader;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};

pub const RULES: &[Rule] = &[
    Rule::new("trial.open", Admits::AnyCertificate, ""),
    Rule::new("trial.write", Admits::ApprovedSystem, ""),
    Rule::new("trial.read", Admits::ApprovedSystem, ""),
    Rule::new("trial.look", Admits::ApprovedSystem, ""),
    Rule::new("trial.not_found", Admits::AnyCertificate, ""),
];

/// `GET /open`, `POST /write` (any body), `GET /look` (counts the commands so far, and makes two more), `GET /read/N`, `GET /inflate/N` and `GET /zip/N` (the Nth stored body).
pub struct Trial;

struct Asked {
    name: &'static str,
    stored: Option<Stored>,
    coding: Coding,
    replies: Vec<Bytes>,
}

impl Protocol for Trial {
    fn name(&self) -> &'static str {
        "trial"
    }
    fn interactions(&self) -> Vec<&'static str> {
        RULES.iter().map(|r| r.interaction).collect()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let name = match (head.method.as_str(), head.uri.path()) {
            ("GET", "/open") => "trial.open",
            ("POST", "/write") => "trial.write",
            ("GET", "/look") => "trial.look",
            ("GET", path) if ["/read/", "/inflate/", "/zip/"].iter().any(|p| path.starts_with(p)) => "trial.read",
            _ => "trial.not_found",
        };
        let coding = match head.uri.path().split('/').nth(1) {
            Some("inflate") => Coding::Inflate,
            Some("zip") => Coding::Zip,
            _ => Coding::AsIs,
        };
        let stored = head.uri.path().rsplit('/').next().and_then(|hex| {
            let (digest, len) = hex.split_once('-')?;
            let digest: Vec<u8> =
                (0..32).map(|i| u8::from_str_radix(digest.get(2 * i..2 * i + 2)?, 16).ok()).collect::<Option<_>>()?;
            Some(Stored { digest: digest.try_into().ok()?, len: len.parse().ok()? })
        });
        Box::new(Asked { name, stored, coding, replies: vec![] })
    }
}

pub fn text(status: u16, body: impl Into<Bytes>) -> Reply {
    Reply {
        status,
        headers: vec![("content-type", Bytes::from_static(b"text/plain"))],
        body: ReplyBody::Bytes(body.into()),
    }
}

impl Exchange for Asked {
    fn interaction(&self) -> &'static str {
        self.name
    }
    fn service(&self) -> ServiceId {
        ServiceId(200)
    }
    fn body_rule(&self) -> BodyRule {
        if self.name == "trial.write" { BodyRule::Payload } else { BodyRule::Ignored }
    }
    fn at_once(&mut self) -> Option<Reply> {
        match self.name {
            "trial.open" => Some(text(200, "open")),
            "trial.not_found" => Some(text(404, "not found")),
            _ => None,
        }
    }
    fn worth_reading(&mut self, headers: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        !headers.contains_key("x-worthless")
    }
    fn ask(&mut self, permit: &Permit, _: &HeaderMap, body: Body, _: &dyn Reader, attempt: Attempt) -> Next {
        assert_eq!(permit.interaction(), self.name);
        if self.name == "trial.look" {
            return Next::Look;
        }
        if self.name == "trial.read" {
            return match self.stored {
                Some(body) => Next::Answer(Reply {
                    status: 200,
                    headers: vec![],
                    body: ReplyBody::Stored { body, coding: self.coding },
                }),
                None => Next::Answer(text(404, "no such body")),
            };
        }
        let payload = match body {
            Body::None => "none 0".to_owned(),
            Body::Inline(bytes) => format!("inline {}", bytes.len()),
            Body::Stored(s) => format!("stored {}-{}", spine::edge::peer::hex(&s.digest), s.len),
            Body::TooLarge => return Next::Answer(text(413, "too large")),
            Body::Skipped => return Next::Answer(text(403, "skipped")),
        };
        let payload = match attempt.forgiven.len() {
            0 => payload,
            n => format!("{payload} forgiven {n}"),
        };
        Next::Submit(vec![Call::new(Bytes::from_static(b"key"), payload.into())])
    }
    fn looked(&mut self, views: &[&dyn Reader]) -> Next {
        let count = views[0].get(b"count").unwrap().unwrap();
        assert_eq!((views.len(), views[1].get(b"count").unwrap()), (2, None));
        let call = Call::new(Bytes::from_static(b"key"), [b"seen ", &count[..]].concat().into());
        Next::Submit(vec![Call { request_id: "look-1".into(), ..call }])
    }
    fn onward(&mut self) -> Vec<Call> {
        match self.replies.first() {
            Some(reply) if reply.starts_with(b"seen") => {
                let again = Call::new(Bytes::from_static(b"other"), [b"onward after ", &reply[..]].concat().into());
                vec![again]
            }
            _ => vec![],
        }
    }
    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        self.replies = replies.to_vec();
        Ok(Wait { view: true, ..Default::default() })
    }
    fn answer(&mut self, _: &dyn Reader, view: Option<&dyn Reader>) -> Result<Reply, Broken> {
        assert!(view.is_some());
        Ok(text(202, self.replies[0].clone()))
    }
    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        text(refusal.status().as_u16(), refusal.code.code)
    }
    fn release(&self) -> Option<Call> {
        Some(Call::new(Bytes::from_static(b"key"), Bytes::from_static(b"release")))
    }
}

/// The site in memory.
#[derive(Default)]
pub struct Memory {
    pub registry: Mutex<HashMap<String, Standing>>,
    pub commands: Mutex<Vec<Command>>,
    /// What the next commands meet instead of success.
    pub fail: Mutex<VecDeque<Unavailable>>,
    pub bodies: Mutex<HashMap<[u8; 32], Bytes>>,
    /// While true, commands wait.
    pub hold: Mutex<Option<watch::Receiver<bool>>>,
    /// But not those of this application or system.
    pub spared: Mutex<String>,
    pub arrived: Notify,
    /// Uploads are counted and not kept.
    pub forgetful: bool,
}

impl Memory {
    pub fn payloads(&self) -> Vec<String> {
        self.commands.lock().unwrap().iter().map(|c| String::from_utf8_lossy(&c.payload).into_owned()).collect()
    }
}

/// The backend of one server.
#[derive(Clone)]
pub struct InMemory(pub Arc<Memory>);

impl Backend for InMemory {
    fn submit(&self, command: Command) -> Answering<'_, Outcome> {
        Box::pin(async move {
            self.0.arrived.notify_waiters();
            let hold = self.0.hold.lock().unwrap().clone();
            let of = [command.caller.application.as_str(), command.caller.asid.as_str()];
            let spared = self.0.spared.lock().unwrap().clone();
            let spared = !spared.is_empty() && of.contains(&spared.as_str());
            if let Some(mut hold) = hold.filter(|_| !spared) {
                let _ = hold.wait_for(|held| !held).await;
            }
            if let Some(why) = self.0.fail.lock().unwrap().pop_front() {
                return Err(why);
            }
            let reply = command.payload.clone();
            let mut commands = self.0.commands.lock().unwrap();
            commands.push(command);
            Ok(Outcome { partition: PartitionId(1), index: commands.len() as u64, reply, sent: vec![] })
        })
    }
    fn view(&self, _: PartitionId, _: u64) -> Answering<'_, View> {
        Box::pin(async { Ok(Arc::new(MapStore::default()) as View) })
    }
    fn views_now(&self) -> Answering<'_, Vec<View>> {
        let mut rows = MapStore::default();
        let count = self.0.commands.lock().unwrap().len();
        rows.0.insert(Bytes::from_static(b"count"), Bytes::from(count.to_string()));
        let fails = self.0.fail.lock().unwrap().pop_front();
        Box::pin(async move {
            match fails {
                Some(why) => Err(why),
                None => Ok(vec![Arc::new(rows) as View, Arc::new(MapStore::default()) as View]),
            }
        })
    }
    fn settled<'a>(&'a self, _: &'a Outcome) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {})
    }
    fn site(&self) -> View {
        Arc::new(MapStore::default())
    }
    fn standing(&self, certificate: &str) -> Result<Standing, Unavailable> {
        Ok(self.0.registry.lock().unwrap().get(certificate).cloned().unwrap_or(Standing::Unknown))
    }
    fn known<'a>(&'a self, shown: &'a Credentials) -> Answering<'a, Standing> {
        let (name, unknown) = match shown {
            Credentials::Bearer(token, _) => (format!("bearer {token}"), Denied::TokenUnknown),
            Credentials::Key(key) => (format!("key {key}"), Denied::KeyUnknown),
        };
        let known = self.0.registry.lock().unwrap().get(&name).cloned();
        Box::pin(async move { Ok(known.unwrap_or(Standing::Refused(unknown))) })
    }
    fn seen(&self, shown: &Credentials) -> Option<Proven> {
        let Credentials::Bearer(token, _) = shown else { return None };
        match self.0.registry.lock().unwrap().get(&format!("bearer {token}")) {
            Some(Standing::Proven(proven) | Standing::Lapsed(_, proven)) => Some((**proven).clone()),
            _ => None,
        }
    }
    fn upload(&self) -> Answering<'_, Box<dyn Upload>> {
        let upload = Sink { memory: self.0.clone(), kept: BytesMut::new(), len: 0, digest: sha256() };
        Box::pin(async move { Ok(Box::new(upload) as Box<dyn Upload>) })
    }
    fn download(&self, body: Stored) -> Answering<'_, Pieces> {
        let stored = self.0.bodies.lock().unwrap().get(&body.digest).cloned();
        Box::pin(async move {
            let mut stored = stored.ok_or(Unavailable::NoLeader)?;
            let (send, pieces) = tokio::sync::mpsc::channel(2);
            tokio::spawn(async move {
                while !stored.is_empty() {
                    let piece = stored.split_to(stored.len().min(50_000));
                    if send.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
            });
            Ok(pieces)
        })
    }
}

fn sha256() -> aws_lc_rs::digest::Context {
    aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256)
}

struct Sink {
    memory: Arc<Memory>,
    kept: BytesMut,
    len: u64,
    digest: aws_lc_rs::digest::Context,
}

impl Upload for Sink {
    fn piece(&mut self, piece: Bytes) -> Answering<'_, ()> {
        self.digest.update(&piece);
        self.len += piece.len() as u64;
        if !self.memory.forgetful {
            self.kept.extend_from_slice(&piece);
        }
        Box::pin(async { Ok(()) })
    }
    fn commit(self: Box<Self>) -> Answering<'static, Stored> {
        let digest: [u8; 32] = self.digest.finish().as_ref().try_into().unwrap();
        self.memory.bodies.lock().unwrap().insert(digest, self.kept.freeze());
        let stored = Stored { digest, len: self.len };
        Box::pin(async move { Ok(stored) })
    }
}
