//! A whole connection of a supplier behind TLS: HTTP/1.1 or 2, framing, bodies, routes, MESH on a site in memory.
//!
//! The answers that come back are well formed, no more of them than requests, in order; and a request with two framings
//! is the last of its connection, so that nothing behind it can pass for another (request smuggling, P5).

use super::{MIB, Take, Target};
use aws_lc_rs::hmac;
use http::request::Parts;
use pki::Pki;
use rustls_pki_types::CertificateDer;
use site::{InProcess, Site};
use spine::access::gate::Standing;
use spine::access::rules;
use spine::edge::connection::speak;
use spine::edge::listener::Phase;
use spine::edge::mesh::MeshProtocol;
use spine::edge::options::Options;
use spine::edge::peer::Peer;
use spine::edge::protocol::{Exchange, Protocol};
use spine::edge::{Edge, tls::Tls};
use spine::seam::clock::{Clock, SystemClock};
use spine::seam::rng::SystemRng;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use trial::Memory;

#[allow(dead_code, reason = "the edge's tests use more of it")]
#[path = "../../../tests/edge/support/pki.rs"]
mod pki;
#[allow(dead_code, reason = "the edge's tests use more of it")]
#[path = "../../../tests/edge/support/site.rs"]
mod site;
#[allow(dead_code, reason = "the edge's tests use more of it")]
#[path = "../../../tests/edge/support/trial.rs"]
mod trial;

/// A connection's buffers, an upload's pieces and a few answers.
pub const TARGET: Target = Target { name: "http", run, seeds, longest: 16 << 10, base: 8 * MIB, factor: 400 };

/// Stands for a token of the mailbox that may be used now.
const TOKEN: &[u8] = b"@TOKEN@";
/// What a client that never stops reading is sent at most.
const MOST_ANSWERED: u64 = 8 << 20;

/// A request's head as the protocol was shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    head: bool,
    two_framings: bool,
}

struct Watched {
    inner: MeshProtocol,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Protocol for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn interactions(&self) -> Vec<&'static str> {
        self.inner.interactions()
    }
    fn begin(&self, head: &Parts) -> Box<dyn Exchange> {
        let two_framings =
            head.headers.contains_key("content-length") && head.headers.contains_key("transfer-encoding");
        self.seen.lock().expect("nobody panics with it").push(Seen { head: head.method == "HEAD", two_framings });
        self.inner.begin(head)
    }
}

struct Server {
    runtime: Runtime,
    edge: Arc<Edge>,
    site: Arc<Site>,
    seen: Arc<Mutex<Vec<Seen>>>,
    certificate: CertificateDer<'static>,
}

impl Server {
    fn new() -> Server {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let memory = Arc::new(Memory { forgetful: true, ..Default::default() });
        let site = Arc::new(Site::new(memory.clone(), true));
        let pki = Pki::new();
        let approved = pki.client(100);
        let (asid, ods, party_key) = ("200000000100".into(), "X26".into(), "X26-1".into());
        let standing = Standing::Approved { asid, ods, party_key, emergency: false };
        memory.registry.lock().expect("it is new").insert(approved.sha256(), standing);
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let protocol = Watched { inner: MeshProtocol(site.mesh.clone()), seen: seen.clone() };
        let tls = Tls::load(pki.files(), Arc::new(SystemClock)).expect("the files are there");
        let options = Options { rate: u32::MAX, burst: u32::MAX, ..Default::default() };
        let (backend, clock) = (Arc::new(InProcess(site.clone())), Arc::new(SystemClock));
        let edge = Edge::new(options, tls, clock, &SystemRng, backend, Arc::new(protocol), rules::MESH);
        Server {
            runtime: runtime.expect("a runtime can be made"),
            edge: edge.expect("each interaction has a rule"),
            site,
            seen,
            certificate: approved.der(),
        }
    }

    /// Sends `input` in pieces of `step` and reads until the server ends the connection, as it does when it is idle.
    fn converse(&self, input: &[u8], step: usize, h2: bool) -> Vec<u8> {
        let peer = Peer::new(&[self.certificate.clone()], ([127, 0, 0, 1], 1).into()).expect("it can be read");
        let place = self.edge.place(&peer).expect("there is room");
        let (_serving, phases) = tokio::sync::watch::channel(Phase::Serving);
        self.runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let serving = tokio::spawn(speak(self.edge.clone(), theirs, h2, peer, place, phases));
            let (read, mut write) = tokio::io::split(ours);
            let pieces: Vec<Vec<u8>> = input.chunks(step).map(<[u8]>::to_vec).collect();
            let writing = tokio::spawn(async move {
                for piece in pieces {
                    if write.write_all(&piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                write
            });
            let mut answers = vec![];
            let _ = read.take(MOST_ANSWERED).read_to_end(&mut answers).await;
            drop(writing.await);
            assert!(serving.await.is_ok(), "the connection's task panicked");
            answers
        })
    }
}

thread_local! {
    static SERVER: Server = Server::new();
}

/// The first byte: whether HTTP/2, and how long the pieces are.
fn run(input: &[u8]) {
    let mut take = Take(input);
    let how = take.byte();
    let step = [1, 7, 100, 64 << 10][usize::from(how >> 1 & 3)];
    SERVER.with(|server| {
        server.seen.lock().expect("nobody panics with it").clear();
        server.site.clear();
        let answers = server.converse(&with_tokens(take.0), step, how & 1 == 1);
        let seen = server.seen.lock().expect("nobody panics with it").clone();
        if how & 1 == 0 {
            holds(&answers, &seen);
        }
    });
}

fn with_tokens(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let (mut rest, mut count) = (input, 0);
    while let Some(at) = rest.windows(TOKEN.len()).position(|w| w == TOKEN).filter(|_| count < 50) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(token(count).as_bytes());
        rest = &rest[at + TOKEN.len()..];
        count += 1;
    }
    out.extend_from_slice(rest);
    out
}

fn token(count: usize) -> String {
    let time = spine::model::time::compact(SystemClock.now().0);
    let time = &time[..12];
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"TestKey");
    let tag = hmac::sign(&key, format!("X26ABC1:nonce:{count}:password:{time}").as_bytes());
    format!("NHSMESH X26ABC1:nonce:{count}:{time}:{}", spine::edge::peer::hex(tag.as_ref()))
}

/// What comes back is a sequence of whole answers, but that the last may be cut off.
fn holds(answers: &[u8], seen: &[Seen]) {
    let double = seen.iter().position(|s| s.two_framings);
    assert!(double.is_none_or(|at| at + 1 == seen.len()), "a request behind one of two framings: {seen:?}");
    let mut rest = answers;
    let mut count = 0;
    while !rest.is_empty() {
        let Some(end) = rest.windows(4).position(|w| w == b"\r\n\r\n") else { break };
        let head = std::str::from_utf8(&rest[..end]).expect("our heads are text");
        let status: u16 = head.get(9..12).and_then(|s| s.parse().ok()).expect("a status");
        assert!(head.starts_with("HTTP/1.1 ") || head.starts_with("HTTP/1.0 "), "{head}");
        rest = &rest[end + 4..];
        if status == 100 {
            continue;
        }
        let asked = seen.get(count);
        count += 1;
        assert!(asked.is_some() || (400..500).contains(&status), "an answer to no request: {head}");
        let Some(left) = behind_the_body(head, rest, asked.is_some_and(|a| a.head)) else { break };
        rest = left;
        assert!(asked.is_some() || rest.is_empty(), "more behind the last refusal: {head}");
    }
    assert!(count <= seen.len() + 1, "{count} answers to {} requests", seen.len());
}

fn behind_the_body<'a>(head: &str, rest: &'a [u8], bodiless: bool) -> Option<&'a [u8]> {
    let header = |name: &str| {
        let mut values = head.lines().filter_map(|l| l.split_once(": ").filter(|(n, _)| *n == name)).map(|(_, v)| v);
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice: {head}");
        first
    };
    let (length, coding) = (header("content-length"), header("transfer-encoding"));
    assert!(length.is_none() || coding.is_none(), "two framings in an answer: {head}");
    if bodiless {
        return Some(rest);
    }
    match (length, coding) {
        (Some(length), _) => rest.get(length.parse::<usize>().expect("a length")..),
        (None, Some("chunked")) => behind_chunks(rest),
        _ => Some(rest),
    }
}

fn behind_chunks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("text"), 16).expect("a length");
        rest = rest.get(end + 2 + length + 2..)?;
        if length == 0 {
            return Some(rest);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let authorization = "authorization: @TOKEN@\r\n";
    let send = format!(
        "POST /messageexchange/X26ABC1/outbox HTTP/1.1\r\nhost: a\r\n{authorization}mex-to: X26ABC1\r\nmex-workflowid: W\r\n"
    );
    let get = |path: &str, more: &str| format!("GET /messageexchange/{path} HTTP/1.1\r\nhost: a\r\n{more}\r\n");
    let inner = get("_ping", "");
    let texts = [
        inner.repeat(3),
        format!("{send}content-length: 5\r\n\r\nhello{}", get("X26ABC1/inbox", authorization)),
        format!("{send}transfer-encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\ntrailer: 1\r\n\r\n{inner}"),
        format!("{send}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{send}content-length: 5\r\ncontent-length: 5\r\n\r\nhello{inner}"),
        format!("{send}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("{send}expect: 100-continue\r\ncontent-length: 2\r\n\r\nab"),
        format!("{send}content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x02\x08\x01"),
        format!("{send}mex-chunk-range: 1:2\r\ncontent-length: 1\r\n\r\na"),
        get("X26ABC1/inbox?max_results=10&workflow_filter=!A*", authorization),
        get("X26ABC1/inbox/rich", &format!("{authorization}accept: application/vnd.mesh.v2+json\r\n")),
        get("X26ABC1/outbox/tracking?messageID=20220228174323222222_ABCDEF", authorization),
        get("endpointlookup/X26/W", "connection: close\r\n"),
        "POST /messageexchange/admin/report HTTP/1.1\r\nhost: a\r\ncontent-length: 58\r\n\r\n{\"mailbox_id\":\"X26ABC1\",\"code\":\"21\",\"workflow_id\":\"W\"  }  ".into(),
        format!("HEAD http://a/messageexchange/X26ABC1/inbox/20220228174323222222_ABCDEF HTTP/1.1\r\nhost: b\r\n{authorization}\r\n"),
        "GET /messageexchange/_ping HTTP/1.0\r\n\r\n".into(),
        "GET /messageexchange/_ping HTTP/1.1\nhost: a\nx: 1\n 2\n\n".into(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|t| [&[6][..], t.as_bytes()].concat()).collect();
    seeds.push([&[0][..], texts[0].as_bytes()].concat());
    seeds.push([&[3][..], &http2()].concat());
    seeds.push(
        [&[7][..], &http2(), &[0, 0, 8, 6, 0, 0, 0, 0, 0], &[1; 8], &[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 1, 0]].concat(),
    );
    seeds
}

/// Preface, settings, one request of static and literal header fields.
fn http2() -> Vec<u8> {
    let path = b"/messageexchange/_ping";
    let block = [&[0x82, 0x87, 0x41, 1, b'a', 0x44, path.len() as u8][..], path].concat();
    let head = [0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1];
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &head, &block].concat()
}
