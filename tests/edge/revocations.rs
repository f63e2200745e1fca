//! Revocation lists that are old, missing or exchanged under load (P5): past its date and its grace a list lets nobody
//! of its authority in; nothing else does.

use crate::support::client::config;
use crate::support::pki::{GRACE, Identity};
use crate::support::{Client, Pki, Server};
use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};
use rustls::version::{TLS12, TLS13};
use spine::edge::options::Options;
use spine::edge::tls::{Tls, TlsFiles};
use spine::seam::clock::SystemClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// Whether a new connection of this certificate gets an answer.
async fn served(server: &Server, identity: &Identity) -> bool {
    let mut answers = vec![];
    for version in [&TLS12, &TLS13] {
        let client = Client::with(server, config(server, Some(identity), &[version])).await;
        let Ok(mut client) = client else {
            answers.push(false);
            continue;
        };
        let request = "GET /open HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
        // TLS 1.3 tells a client of its refusal only when it reads.
        answers.push(client.answer().await.is_ok_and(|a| a.status == 200));
    }
    assert_eq!(answers[0], answers[1], "both versions of TLS are of one mind");
    answers[0]
}

fn exchange(server: &Server, next: SystemTime) {
    server.pki.write("crl.pem", &server.pki.list(&[], next));
    server.edge.tls.reload().unwrap();
}

#[tokio::test]
async fn a_list_is_believed_through_its_grace_and_not_a_moment_longer() {
    let server = Server::start(Options::default()).await;
    let now = SystemTime::now();
    let shared = config(&server, Some(&server.approved), &[&TLS13]);
    let mut open = Client::with(&server, shared.clone()).await.unwrap();
    assert_eq!(open.get("/open").await.status, 200);

    exchange(&server, now - GRACE + DAY);
    assert!(served(&server, &server.approved).await, "stale, within its grace");
    assert_eq!(open.get("/open").await.status, 200);

    exchange(&server, now - GRACE - DAY);
    assert!(!served(&server, &server.approved).await, "past its grace");
    let answer = open.get("/open").await;
    assert_eq!((answer.status, answer.text(), answer.header("connection")), (503, "SPN-1019", Some("close")));
    let resumed = Client::with(&server, shared).await;
    if let Ok(mut resumed) = resumed {
        let request = "GET /open HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut resumed.stream, request.as_bytes()).await;
        assert!(resumed.answer().await.is_err(), "a ticket of before does not help");
    }

    exchange(&server, now + DAY);
    assert!(served(&server, &server.approved).await, "a fresh list opens again");
}

#[tokio::test]
async fn an_open_connection_ends_when_the_grace_ends_without_a_reload() {
    let server = Server::start(Options::default()).await;
    exchange(&server, SystemTime::now() - GRACE + Duration::from_secs(4));
    let mut open = Client::connect(&server).await;
    assert_eq!(open.get("/open").await.status, 200);
    let begun = std::time::Instant::now();
    loop {
        let answer = open.get("/open").await;
        if answer.status == 503 {
            assert_eq!(answer.text(), "SPN-1019");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "the connection outlives its list");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!served(&server, &server.approved).await);
}

#[tokio::test]
async fn a_stale_list_of_one_authority_does_not_touch_anothers_clients() {
    let server = Server::start(Options::default()).await;
    let other = Pki::named("Another authority");
    let (stale, theirs) = (SystemTime::now() - GRACE - DAY, other.client(7));
    server.pki.write("ca.pem", &format!("{}{}", server.pki.authority_pem, other.authority_pem));
    let lists = |ours: SystemTime, others: SystemTime| server.pki.list(&[], ours) + &other.list(&[], others);
    server.pki.write("crl.pem", &lists(SystemTime::now() + DAY, stale));
    server.edge.tls.reload().unwrap();
    assert!(served(&server, &server.approved).await);
    assert!(!served(&server, &theirs).await);
    server.pki.write("crl.pem", &lists(stale, SystemTime::now() + DAY));
    server.edge.tls.reload().unwrap();
    assert!(!served(&server, &server.approved).await);
    assert!(served(&server, &theirs).await);
}

#[tokio::test]
async fn a_list_that_went_missing_or_is_none_leaves_the_old_one_in_force() {
    let server = Server::start(Options::default()).await;
    server.pki.revoke(&[server.approved.serial]);
    server.edge.tls.reload().unwrap();
    for bad in [None, Some(""), Some("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n")] {
        match bad {
            None => std::fs::remove_file(server.pki.path("crl.pem")).unwrap(),
            Some(text) => server.pki.write("crl.pem", text),
        }
        assert!(server.edge.tls.reload().is_err(), "{bad:?}");
        assert!(!served(&server, &server.approved).await, "{bad:?} lets the revoked in again");
    }
}

/// Keeps one gauge, and nothing else.
struct NextUpdate(Arc<AtomicU64>);

impl Recorder for NextUpdate {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> metrics::Counter {
        metrics::Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        let wanted = key.name() == spine::ops::metrics::CRL_NEXT_UPDATE;
        if wanted { metrics::Gauge::from_arc(self.0.clone()) } else { metrics::Gauge::noop() }
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[test]
fn a_list_that_was_taken_away_runs_out_no_more() {
    let (pki, shown) = (Pki::new(), Arc::new(AtomicU64::new(0)));
    // Bits, for no sum was made of them: the figure that was set is the figure that is shown.
    let next = || shown.load(Relaxed);
    let (end, never) = (4_102_444_800.0_f64.to_bits(), f64::INFINITY.to_bits());
    metrics::with_local_recorder(&NextUpdate(shown.clone()), || {
        let tls = Tls::load(pki.files(), Arc::new(SystemClock)).unwrap();
        assert_eq!(next(), end);
        let without = TlsFiles { revocations: vec![], ..pki.files() };
        tls.take(tls.prepare(without).unwrap());
        assert_eq!(next(), never, "an alert on a list that nobody has");
        tls.take(tls.prepare(pki.files()).unwrap());
        assert_eq!(next(), end);
    });
}

/// Certificates and lists go round under load; every request of every connection, old and new, is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_drops_no_connection() {
    let server = Arc::new(Server::start(Options::default()).await);
    let over = Arc::new(AtomicBool::new(false));
    let mut busy = vec![];
    for worker in 0..8 {
        let (server, over) = (server.clone(), over.clone());
        busy.push(tokio::spawn(async move {
            let mut answered = 0;
            let mut client = Client::connect(&server).await;
            while !over.load(Relaxed) {
                // Half of the workers stay on one connection, half come on a new one each time.
                if worker % 2 == 1 {
                    client = Client::connect(&server).await;
                }
                assert_eq!(client.get("/open").await.status, 200);
                assert_eq!(client.post("/write", "", b"x").await.status, 202);
                answered += 2;
            }
            answered
        }));
    }
    for round in 0..40u64 {
        let fresh = server.pki.issue("localhost", 1_000 + round, 2100);
        server.pki.write("server.pem", &fresh.pem);
        server.pki.write("server.key", &fresh.key_pem);
        // Someone is revoked each time; nobody who is busy.
        server.pki.revoke(&[5_000 + round]);
        server.edge.tls.reload().unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    over.store(true, Relaxed);
    for worker in busy {
        assert!(worker.await.unwrap() > 0);
    }
}
