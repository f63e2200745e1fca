//! Requests handed to the system that is being replaced: as they were, once, recorded first, and with a clear refusal in bounded time
//! where that system is away, slow, crowded or another (P4, P5, P6).

use crate::support::client::{Answer, config};
use crate::support::pki::{Identity, Pki};
use crate::support::site::{InProcess, Site};
use crate::support::trial::Memory;
use crate::support::{Client, Server};
use spine::access::gate::Standing;
use spine::access::rules;
use spine::edge::api::Api;
use spine::edge::backend::{Answering, Backend, Credentials, Stored, Upload, View};
use spine::edge::mesh::MeshProtocol;
use spine::edge::options::Options;
use spine::edge::payload::Pieces;
use spine::edge::relationships::RelationshipsProtocol;
use spine::edge::relays::{Plan, Relays};
use spine::edge::upstream::Files;
use spine::engine::draft::MapStore;
use spine::engine::{Command, Outcome, PartitionId, Unavailable};
use spine::model::trace_context::text;
use spine::seam::spans::{self, Side};
use spine::services::directory::arrival::{self, Arrival};
use spine::services::directory::rows::{self, Mailbox};
use spine::store::tables::Table;
use spine::wire::record::Record;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

const INBOX: &str = "/messageexchange/X26ABC1/inbox";
const OUTBOX: &str = "/messageexchange/X26ABC1/outbox";
const PATIENCE: Duration = Duration::from_millis(1_000);

type Rows = Arc<Mutex<MapStore>>;

/// A MESH site that moves: its rows say who is answered where.
struct Moving {
    inner: InProcess,
    rows: Rows,
    relays: Arc<Relays>,
}

impl Backend for Moving {
    fn submit(&self, command: Command) -> Answering<'_, Outcome> {
        self.inner.submit(command)
    }
    fn view(&self, partition: PartitionId, index: u64) -> Answering<'_, View> {
        self.inner.view(partition, index)
    }
    fn views_now(&self) -> Answering<'_, Vec<View>> {
        self.inner.views_now()
    }
    fn settled<'a>(&'a self, outcome: &'a Outcome) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.inner.settled(outcome)
    }
    fn site(&self) -> View {
        Arc::new(MapStore(self.rows.lock().unwrap().0.clone()))
    }
    fn standing(&self, certificate: &str) -> Result<Standing, Unavailable> {
        self.inner.standing(certificate)
    }
    fn known<'a>(&'a self, shown: &'a Credentials) -> Answering<'a, Standing> {
        self.inner.known(shown)
    }
    fn relays(&self) -> Option<Arc<Relays>> {
        Some(self.relays.clone())
    }
    fn upload(&self) -> Answering<'_, Box<dyn Upload>> {
        self.inner.upload()
    }
    fn download(&self, body: Stored) -> Answering<'_, Pieces> {
        self.inner.download(body)
    }
}

/// Head and body of a request.
type Heard = (String, Vec<u8>);

/// The system that is being replaced. What it does is in each request's query.
struct Old {
    pki: Pki,
    address: std::net::SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    /// So many of those that wait may be answered.
    held: Arc<Semaphore>,
}

impl Old {
    async fn start(pki: Pki, shown: Identity) -> Old {
        let authority = shown_to(&pki);
        let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_client_cert_verifier(authority)
            .with_single_cert(vec![shown.der()], shown.key_der())
            .unwrap();
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(vec![])));
        let (all, held) = (heard.clone(), Arc::new(Semaphore::new(0)));
        let waiting = held.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, all, waiting) = (acceptor.clone(), all.clone(), waiting.clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                    while let Some((head, body)) = request(&mut tls).await {
                        all.lock().unwrap().push((head.clone(), body.clone()));
                        if head.contains("do=held") {
                            waiting.acquire().await.unwrap().forget();
                        }
                        if !answer(&mut tls, &head, &body).await {
                            return;
                        }
                    }
                });
            }
        });
        Old { pki, address, heard, held }
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    async fn hears(&self, requests: usize) {
        until("the old system hears it", || self.heard().len() >= requests).await;
    }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what}: in vain"));
}

/// Goes away, and waits until the site has noticed.
async fn hang_up(server: &Server, client: Client) {
    let before = server.connections();
    drop(client);
    until("it is noticed", || server.connections() < before).await;
}

/// Only the site's certificate, of the old system's own authority, is taken there.
fn shown_to(pki: &Pki) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(pki.authority_pem.as_bytes()).unwrap()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap()
}

type Tls = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

async fn request(tls: &mut Tls) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (vec![], vec![0; 64 << 10]);
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length =
                head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            while bytes.len() < end + length {
                match tls.read(&mut piece).await.ok()? {
                    0 => return None,
                    n => bytes.extend_from_slice(&piece[..n]),
                }
            }
            return Some((head, bytes[end..].to_vec()));
        }
        match tls.read(&mut piece).await.ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

/// False ends the connection.
async fn answer(tls: &mut Tls, head: &str, body: &[u8]) -> bool {
    let told = match head.split_once("do=").map(|(_, what)| what.split(' ').next().unwrap()) {
        Some("late") => {
            std::future::pending::<()>().await;
            return false;
        }
        Some("break") => return false,
        Some("half") => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal".to_owned(),
        Some("unknown") => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Some("upgrade") => {
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n".to_owned()
        }
        Some("teapot") => "HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-kept: yes\r\nconnection: x-secret\r\nx-secret: 1\r\nkeep-alive: \
             timeout=9\r\n\r\n{:04}",
            body.len() % 10_000
        ),
    };
    tls.write_all(told.as_bytes()).await.is_ok() && tls.flush().await.is_ok() && !head.contains("do=half")
}

async fn old() -> Old {
    let pki = Pki::named("Old authority");
    let shown = pki.issue("old", 5, 2100);
    Old::start(pki, shown).await
}

/// A MESH site whose X26 is answered by `old`; nothing is configured without an address.
async fn moving(old: &Old, address: Option<String>, most: usize, ours: Identity) -> (Server, Arc<Site>) {
    let (server, site, _) = that_moves(old, address, most, ours, ("mesh", "X26"), Options::default()).await;
    (server, site)
}

/// A site of one service that moves for a party.
async fn that_moves(
    old: &Old,
    address: Option<String>,
    most: usize,
    ours: Identity,
    (service, party): (&'static str, &str),
    options: Options,
) -> (Server, Arc<Site>, Rows) {
    old.pki.write("ours.pem", &ours.pem);
    old.pki.write("ours.key", &ours.key_pem);
    let files = Files {
        authorities: old.pki.path("ca.pem"),
        certificate: old.pki.path("ours.pem"),
        key: old.pki.path("ours.key"),
    };
    let addresses = address.map(|address| (service, address.parse().unwrap())).into_iter().collect();
    let relays = Relays::new(&Plan { files, addresses, patience: PATIENCE, most }).unwrap();
    let mut rows = MapStore::default();
    for (id, ods) in [("X26ABC1", "X26"), ("X26ABC2", "X26"), ("X26ABC3", "X27")] {
        rows.0.insert(rows::mailbox_key(id).build(), Mailbox { ods: ods.into(), ..Default::default() }.encode());
    }
    answered(&mut rows, service, party, arrival::Side::Relay);
    let rows = Arc::new(Mutex::new(rows));
    let memory = Arc::new(Memory::default());
    let site = Arc::new(Site::new(memory.clone(), false));
    let backend = Moving { inner: InProcess(site.clone()), rows: rows.clone(), relays: Arc::new(relays) };
    if service == "mesh" {
        let protocol = Arc::new(MeshProtocol(site.mesh.clone()));
        return (Server::of(options, memory, Arc::new(backend), protocol, rules::MESH).await, site, rows);
    }
    let protocol = Arc::new(Api(vec![Arc::new(RelationshipsProtocol)]));
    let rules = Api::rules(&[rules::RELATIONSHIPS]);
    (Server::of(options, memory, Arc::new(backend), protocol, &rules).await, site, rows)
}

/// Says where a party is answered from now on.
fn answered(rows: &mut MapStore, service: &str, party: &str, side: arrival::Side) {
    let row = Arrival { side: side as u8, ..Default::default() };
    rows.0.insert(Table::Arrivals.key().text(service).text(party).build(), row.encode());
}

/// A site that hands on what anybody asks of the service, and knows nobody's token.
async fn everybodys(old: &Old, service: &'static str, options: Options) -> (Server, Arc<Site>) {
    let address = format!("https://localhost:{}", old.address.port());
    let (server, site, _) = that_moves(old, Some(address), 8, old.pki.client(7), (service, "*"), options).await;
    (server, site)
}

async fn usual(old: &Old, most: usize) -> (Server, Arc<Site>) {
    let address = format!("https://localhost:{}", old.address.port());
    moving(old, Some(address), most, old.pki.client(7)).await
}

fn refused(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(words), "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{}", answer.head);
}

#[tokio::test]
async fn request_and_answer_go_through_as_they_are_but_for_what_is_about_the_connection() {
    let old = old().await;
    let (server, site) = usual(&old, 8).await;
    let mut client = Client::connect(&server).await;
    let headers = "mex-to: X26ABC2\r\nmex-workflowid: FREE\r\nx-request-id: r-1\r\nconnection: x-hop\r\nx-hop: 1\r\n\
                   te: trailers\r\nforwarded: for=9.9.9.9\r\nvia: 1.0 before\r\nx-other: as it was\r\n\
                   x-forwarded-for: 9.9.9.9\r\nx_forwarded_for: 9.9.9.9\r\nclient-cert: :Zm9yZ2Vk:\r\nx-ssl-client-verify: SUCCESS\r\n";
    let body = vec![7; 3_000_123];
    let answer = client.post(&format!("{OUTBOX}?a=%2F&b"), headers, &body).await;
    assert_eq!((answer.status, answer.text()), (200, "0123"));
    assert_eq!((answer.header("x-kept"), answer.header("via")), (Some("yes"), Some("1.1 spine")));
    assert!(answer.header("x-secret").is_none() && answer.header("keep-alive").is_none(), "{}", answer.head);
    let (head, told) = old.heard().remove(0);
    assert!(told == body, "the whole body, and no other");
    assert!(head.starts_with(&format!("POST {OUTBOX}?a=%2F&b HTTP/1.1\r\n")), "{head}");
    let host = format!("host: localhost:{}\r\n", old.address.port());
    let forwarded = "forwarded: for=127.0.0.1;host=\"localhost\";proto=https\r\n";
    let here = [&host, forwarded, "via: 1.0 before\r\n", "via: 1.1 spine\r\n", "x-request-id: r-1\r\n"];
    for line in here.into_iter().chain(["x-other: as it was\r\n", "content-length: 3000123\r\n"]) {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    for gone in ["x-hop", "te:", "9.9.9.9", "connection", "client"] {
        assert!(!head.contains(gone), "{gone} is in {head}");
    }
    // A refusal of the old system comes as it says it.
    assert_eq!(client.get(&format!("{INBOX}?do=teapot")).await.status, 418);
    let told = site.told();
    let all: Vec<_> = told.iter().map(|n| (n.interaction.as_str(), n.outcome.as_str(), n.object.as_str())).collect();
    assert_eq!(all, [("mesh.send", "relayed", "X26"), ("mesh.list", "relayed", "X26")]);
    // Another organisation is answered here, where its token is not good.
    assert_eq!(client.get("/messageexchange/X26ABC3/inbox").await.status, 403);
    assert_eq!(old.heard().len(), 2);
}

#[tokio::test]
async fn a_trace_goes_on_below_our_own_step() {
    let mut steps = spans::collect(0, 1).expect("nobody else here collects");
    let old = old().await;
    let (server, _) = usual(&old, 8).await;
    let mut client = Client::connect(&server).await;
    let (trace, theirs, state) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "tracestate: rojo=1\r\n");
    let mut told = async |given: &str, what: &str| {
        let headers = format!("mex-to: X26ABC2\r\ntraceparent: {given}\r\n{state}");
        client.post(&format!("{OUTBOX}?do={what}"), &headers, b"x").await;
        let (head, _) = old.heard().pop().unwrap();
        let values: Vec<_> = head.lines().filter_map(|l| l.strip_prefix("traceparent: ").map(str::to_owned)).collect();
        (values, head.matches(state).count())
    };
    for (what, failed) in [("all", false), ("late", true)] {
        let (values, states) = told(&format!("00-{trace}-{theirs}-01"), what).await;
        let (asks, request) = (steps.recv().await.unwrap(), steps.recv().await.unwrap());
        // Theirs, above ours, above the old system's.
        assert_eq!(
            (request.name, text(&request.trace), text(&request.parent)),
            ("request", trace.into(), theirs.into())
        );
        assert_eq!((asks.name, asks.side, asks.parent), ("relay.ask", Side::Asks, request.id));
        assert_eq!(asks.failed, failed);
        assert_eq!((values, states), (vec![format!("00-{trace}-{}-01", text(&asks.id))], 1));
        assert_ne!(text(&asks.id), theirs);
    }
    // Of one that nobody records there is no step: it goes on as it came. What is no trace is not passed on.
    let unrecorded = format!("00-{trace}-{theirs}-00");
    assert_eq!(told(&unrecorded, "all").await, (vec![unrecorded.clone()], 1));
    assert_eq!(told("00-1-2-3", "all").await, (vec![], 0));
    assert!(steps.try_recv().is_err());
}

#[tokio::test]
async fn nothing_is_sent_before_its_record_is_durable() {
    let old = old().await;
    let (server, site) = usual(&old, 8).await;
    server.memory.fail.lock().unwrap().push_back(Unavailable::NoLeader);
    let mut client = Client::connect(&server).await;
    assert_eq!(client.get(INBOX).await.status, 503);
    assert_eq!((old.heard().len(), site.notes()), (0, 0));
    assert_eq!(client.get(INBOX).await.status, 200);
}

#[tokio::test]
async fn a_late_and_a_broken_answer_are_told_in_time_and_nothing_is_sent_twice() {
    let old = old().await;
    let (server, _) = usual(&old, 8).await;
    let mut client = Client::connect(&server).await;
    let begun = Instant::now();
    refused(&client.get(&format!("{INBOX}?do=late")).await, 504, "did not answer in time");
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 4, "{:?}", begun.elapsed());
    let answer = client.post(&format!("{OUTBOX}?do=break"), "mex-to: X26ABC2\r\n", b"once").await;
    refused(&answer, 502, "broke off");
    assert_eq!(old.heard().iter().filter(|(_, body)| body == b"once").count(), 1);
    // Half an answer is not taken for the whole: the connection breaks.
    client.send(format!("GET {INBOX}?do=half HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    client.closed().await;
    assert_eq!(Client::connect(&server).await.get(INBOX).await.status, 200);
}

#[tokio::test]
async fn no_more_are_on_their_way_than_may_be() {
    let old = old().await;
    let (server, _) = usual(&old, 1).await;
    let (mut first, mut second) = (Client::connect(&server).await, Client::connect(&server).await);
    first.send(format!("GET {INBOX}?do=late HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    while old.heard().is_empty() {
        tokio::task::yield_now().await;
    }
    refused(&second.get(INBOX).await, 503, "Too many requests wait");
    assert_eq!(first.answer().await.unwrap().status, 504);
    assert_eq!(second.get(INBOX).await.status, 200, "the place is free again");
}

#[tokio::test]
async fn who_cannot_be_trusted_or_reached_hears_nothing() {
    let words = "is not the one it should be";
    // Of another authority, of another name, expired; and one that does not take our certificate.
    let (stranger, same) = (Pki::named("Stranger"), || Pki::named("Old authority"));
    let foreign = stranger.issue("old", 5, 2100);
    let pki = same();
    let expired = pki.issue("old", 6, 2021);
    let named = same();
    let other = named.issue_with("old", 7, |params| params.subject_alt_names = vec![]);
    for (pki, shown) in [(same(), foreign), (pki, expired), (named, other)] {
        let old = Old::start(pki, shown).await;
        let (server, _) = usual(&old, 8).await;
        refused(&Client::connect(&server).await.get(INBOX).await, 502, words);
        assert!(old.heard().is_empty());
    }
    let old = old().await;
    let address = format!("https://localhost:{}", old.address.port());
    let (server, _) = moving(&old, Some(address), 8, stranger.client(9)).await;
    refused(&Client::connect(&server).await.get(INBOX).await, 502, words);
    assert!(old.heard().is_empty());
    // Nobody is there; nothing is configured.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (server, _) = moving(&old, Some(format!("https://{free}")), 8, old.pki.client(8)).await;
    refused(&Client::connect(&server).await.get(INBOX).await, 502, "cannot be reached");
    let (server, _) = moving(&old, None, 8, old.pki.client(8)).await;
    refused(&Client::connect(&server).await.get(INBOX).await, 503, "is not configured here");
}

#[tokio::test]
async fn a_message_between_the_sides_is_refused_and_stored_nowhere() {
    let old = old().await;
    let (server, site) = usual(&old, 8).await;
    let mut client = Client::connect(&server).await;
    for (from, to) in [("X26ABC1", "X26ABC3"), ("X26ABC3", "X26ABC1")] {
        let answer = client.post(&format!("/messageexchange/{from}/outbox"), &format!("mex-to: {to}\r\n"), b"x").await;
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert!(answer.text().contains("SPN-1038"), "{}", answer.text());
    }
    assert!(old.heard().is_empty() && site.rows().0.is_empty());
}

#[tokio::test]
async fn nobody_comes_to_more_than_the_services_that_are_handed_on() {
    let old = old().await;
    let (server, _) = everybodys(&old, "mesh", Options::default()).await;
    let mut client = Client::connect(&server).await;
    // Whatever else there is at the other address; a method of nothing; a path that leads out of the service.
    assert_eq!(client.get("/admin?do=all").await.status, 404);
    assert_eq!(client.post(INBOX, "", b"x").await.status, 405);
    let reset = client.ask("DELETE /admin/reset HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(reset.status, 404, "{}", reset.text());
    for way in ["..%2f..%2f..%2fadmin", "%2e%2E%5cadmin", ".."] {
        assert_eq!(client.get(&format!("{INBOX}/{way}")).await.status, 400, "{way}");
    }
    assert!(old.heard().is_empty(), "{:?}", old.heard());
    assert_eq!(client.get(INBOX).await.status, 200);
    assert_eq!(old.heard().len(), 1);
}

#[tokio::test]
async fn bodies_are_handed_on_whole_or_not_at_all() {
    let old = old().await;
    let (server, site) = usual(&old, 8).await;
    let mut client = Client::connect(&server).await;
    // Of no bytes: a length that is missing is a body that is missing, to some.
    let path = format!("{INBOX}/20260101000000000001_ABCDEF/status/acknowledged");
    let answer = client.ask(format!("PUT {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(answer.status, 200);
    assert!(old.heard()[0].0.contains("content-length: 0\r\n"), "{}", old.heard()[0].0);
    // Longer than any may be: refused before anything is told or sent.
    let told = site.notes();
    let head = |length: u64| {
        format!("POST {OUTBOX} HTTP/1.1\r\nhost: localhost\r\nmex-to: X26ABC2\r\ncontent-length: {length}\r\n")
    };
    assert_eq!(client.ask(format!("{}expect: 100-continue\r\n\r\n", head(104_857_601))).await.status, 413);
    assert_eq!((site.notes(), old.heard().len()), (told, 1));
    // A sender who takes time, within what senders may, is not called a slow system.
    let mut client = Client::connect(&server).await;
    client.send(format!("{}\r\nhal", head(6))).await;
    tokio::time::sleep(PATIENCE * 3).await;
    client.send("ves").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(old.heard()[1].1, b"halves");
    // Cut off in the middle: the other system never has it as a whole one.
    client.send(format!("{}\r\nhal", head(6))).await;
    hang_up(&server, client).await;
    assert_eq!(Client::connect(&server).await.get(INBOX).await.status, 200);
    let bodies: Vec<_> = old.heard().into_iter().skip(2).map(|(_, body)| body).collect();
    assert_eq!(bodies, [b""]);
}

#[tokio::test]
async fn another_protocol_is_no_answer() {
    let old = old().await;
    let (server, _) = usual(&old, 8).await;
    refused(&Client::connect(&server).await.get(&format!("{INBOX}?do=upgrade")).await, 502, "broke off");
}

#[tokio::test]
async fn one_sender_leaves_places_for_the_others() {
    let old = old().await;
    let (server, _) = usual(&old, 2).await;
    let (mut first, mut second) = (Client::connect(&server).await, Client::connect(&server).await);
    first.send(format!("GET {INBOX}?do=held HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    old.hears(1).await;
    refused(&second.get(INBOX).await, 503, "Too many requests wait");
    let another = server.pki.client(101);
    server.register(&another, "200000000101");
    let config = config(&server, Some(&another), rustls::ALL_VERSIONS);
    assert_eq!(Client::with(&server, config).await.unwrap().get(INBOX).await.status, 200);
    old.held.add_permits(1);
    assert_eq!(first.answer().await.unwrap().status, 200);
    assert_eq!(second.get(INBOX).await.status, 200, "the place is free again");
}

const RELATIONSHIPS: &str = "/legitimate-relationships/patients/9990000018/relationships";
const UNKNOWN: &str = "host: localhost\r\nauthorization: Bearer theirs\r\n\r\n";

async fn stranger(server: &Server) -> Client {
    Client::with(server, config(server, None, rustls::ALL_VERSIONS)).await.unwrap()
}

/// Outcome and object of each record, and whose data they name.
fn trail(site: &Site) -> Vec<(String, String, String)> {
    site.told().into_iter().map(|note| (note.outcome, note.object, note.subject)).collect()
}

fn relayed(times: usize) -> Vec<(String, String, String)> {
    vec![("relayed".into(), "*".into(), "9990000018".into()); times]
}

#[tokio::test]
async fn of_a_stranger_whom_the_other_system_may_have_heard_the_trail_tells_whatever_came_of_it() {
    let old = old().await;
    let (server, site) = everybodys(&old, "relationships", Options::default()).await;
    let mut client = stranger(&server).await;
    for (times, what, status) in [(1, "all", 200), (2, "late", 504), (3, "break", 502)] {
        let answer = client.ask(format!("GET {RELATIONSHIPS}?do={what} HTTP/1.1\r\n{UNKNOWN}")).await;
        assert_eq!((answer.status, trail(&site)), (status, relayed(times)), "{what}");
    }
    // Whoever hangs up before there is an answer is told of all the same.
    let mut gone = stranger(&server).await;
    gone.send(format!("GET {RELATIONSHIPS}?do=held HTTP/1.1\r\n{UNKNOWN}")).await;
    old.hears(4).await;
    hang_up(&server, gone).await;
    old.held.add_permits(1);
    until("the record", || trail(&site) == relayed(4)).await;
    // Those whom nobody knows are told of together.
    for _ in 0..3 {
        assert_eq!(client.ask(format!("GET {RELATIONSHIPS}?do=unknown HTTP/1.1\r\n{UNKNOWN}")).await.status, 401);
    }
    assert_eq!(trail(&site).len(), 5, "{:?}", trail(&site));
}

#[tokio::test]
async fn a_stranger_who_is_handed_on_counts_against_the_share_of_the_address() {
    let old = old().await;
    let (server, _) =
        everybodys(&old, "relationships", Options { max_requests_per_system: 1, ..Options::default() }).await;
    let (mut first, mut second) = (stranger(&server).await, stranger(&server).await);
    first.send(format!("GET {RELATIONSHIPS}?do=held HTTP/1.1\r\n{UNKNOWN}")).await;
    old.hears(1).await;
    assert_eq!(second.ask(format!("GET {RELATIONSHIPS} HTTP/1.1\r\n{UNKNOWN}")).await.status, 429);
    old.held.add_permits(1);
    assert_eq!((first.answer().await.unwrap().status, old.heard().len()), (200, 1));
}

#[tokio::test]
async fn a_message_that_comes_slowly_does_not_end_where_its_recipient_no_longer_is() {
    let old = old().await;
    let address = format!("https://localhost:{}", old.address.port());
    let moves = ("mesh", "X26");
    let (server, site, rows) = that_moves(&old, Some(address), 8, old.pki.client(7), moves, Options::default()).await;
    let before = site.rows().0;
    for side in [arrival::Side::Local, arrival::Side::Relay] {
        let mut client = Client::connect(&server).await;
        let head = "host: localhost\r\nmex-to: X26ABC2\r\nmex-workflowid: FREE\r\ncontent-length: 6\r\n\r\n";
        client.send(format!("POST {OUTBOX} HTTP/1.1\r\n{head}hal")).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        answered(&mut rows.lock().unwrap(), "mesh", "X26", side);
        client.send("ves").await;
        refused(&client.answer().await.unwrap(), 503, "The recipient is moving");
    }
    assert!(old.heard().is_empty() && site.rows().0 == before);
}
