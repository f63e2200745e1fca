//! The load generator against a small MESH of its own: real mutual TLS on loopback, messages in a map.

use super::{MeshArgs, Output, Payload, Phase, duration, phase, report::Report, site::Site, size, usage};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// What the small MESH holds, and what it saw.
#[derive(Default)]
struct Held {
    messages: BTreeMap<String, (String, Bytes)>,
    tokens: HashSet<String>,
    bodies: HashSet<Bytes>,
    number: u64,
    refuse_next: u32,
    /// Listed, and no longer to be had.
    expired: HashSet<String>,
}

type Shared = Arc<Mutex<Held>>;

async fn answer(held: Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let mut held = held.lock().unwrap();
    let token = parts.headers["authorization"].to_str().unwrap().to_owned();
    let fresh = held.tokens.insert(token);
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let plain = |status: StatusCode, body: String| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        Ok(response)
    };
    if !fresh {
        return plain(StatusCode::FORBIDDEN, String::new());
    }
    if held.refuse_next > 0 {
        held.refuse_next -= 1;
        return plain(StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    match (&parts.method, path.as_slice()) {
        (&Method::POST, [_, _, "outbox"]) => {
            held.number += 1;
            let id = format!("20261124000000{:06}_ABCDEF", held.number);
            let to = parts.headers["mex-to"].to_str().unwrap().to_owned();
            held.bodies.insert(body.clone());
            held.messages.insert(id.clone(), (to, body));
            plain(StatusCode::ACCEPTED, format!("{{\"message_id\":\"{id}\"}}"))
        }
        (&Method::GET, [_, mailbox, "inbox"]) => {
            let mine = held.messages.iter().filter(|(_, (to, _))| to == mailbox).map(|(id, _)| id).take(500);
            plain(StatusCode::OK, serde_json::json!({ "messages": mine.collect::<Vec<_>>() }).to_string())
        }
        (&Method::GET, [_, _, "inbox", id]) => match held.messages.get(*id) {
            Some(_) if held.expired.contains(*id) => plain(StatusCode::GONE, String::new()),
            Some((_, body)) => Ok(Response::new(Full::new(body.clone()))),
            None => plain(StatusCode::NOT_FOUND, String::new()),
        },
        (&Method::PUT, [_, _, "inbox", id, "status", "acknowledged"]) => match held.messages.remove(*id) {
            Some(_) => plain(StatusCode::OK, String::new()),
            None => plain(StatusCode::NOT_FOUND, String::new()),
        },
        _ => plain(StatusCode::NOT_FOUND, String::new()),
    }
}

/// Certificates of a CA, a server and a client, written below `dir`; gives the server's configuration.
fn certificates(dir: &Path) -> rustls::ServerConfig {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    for (name, hosts) in [("server", vec!["localhost".into(), "127.0.0.1".into()]), ("client", vec!["client".into()])] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap().collect::<Result<_, _>>().unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap())
        .unwrap()
}

/// Starts the small MESH on a thread of its own; it ends with the test's process.
fn serve(dir: &Path) -> (SocketAddr, Shared) {
    let acceptor = TlsAcceptor::from(Arc::new(certificates(dir)));
    let held = Shared::default();
    let (shared, (tell, told)) = (held.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| answer(shared.clone(), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    (told.recv().unwrap(), held)
}

fn demo(dir: &Path, address: SocketAddr) -> MeshArgs {
    let url = format!("https://localhost:{}", address.port());
    let demo = serde_json::json!({
        "ca": "ca.pem", "shared_key": "TestKey",
        "nodes": [{"id": 1, "pid": std::process::id(), "supplier": url, "internet": null, "metrics": null, "data": "."}],
        "clients": [{"name": "one", "cert": "client.pem", "key": "client.key"}],
        "mailboxes": [{"id": "X26ABC1", "password": "password"}, {"id": "X26ABC2", "password": "password"}],
    });
    fs::write(dir.join("demo.json"), demo.to_string()).unwrap();
    MeshArgs {
        demo: Some(dir.to_owned()),
        urls: vec![],
        ca: None,
        cert: None,
        key: None,
        shared_key: None,
        mailboxes: None,
        client: None,
        nodes: "all".into(),
        phase: vec![],
        in_flight: 8,
        rate: None,
        relentless: false,
        duration: Duration::from_secs(20),
        count: None,
        warm_up: Duration::ZERO,
        size: 700,
        payload: Payload::Text,
        workflow: "W".into(),
        threads: 2,
        timeout: Duration::from_secs(5),
        settle: Duration::ZERO,
        seed: 1,
        output: Output::Json,
    }
}

#[test]
fn a_load_sends_collects_and_reports() {
    let dir = tempfile::tempdir().unwrap();
    let (address, held) = serve(dir.path());
    let mut args = demo(dir.path(), address);
    let site = Site::find(&args).unwrap();
    held.lock().unwrap().refuse_next = 3;
    args.count = Some(200);
    let before = usage::Sample::take(&site);
    let sent = phase::run(&site, &args, Phase::Send).unwrap();
    usage::settle(&site, Duration::from_millis(600));
    let kept = held.lock().unwrap().messages.len();
    assert_eq!((sent.messages, kept), (197, 197), "{:?}", sent.stats.failures);
    assert_eq!(sent.stats.failures.get("send 503"), Some(&3));
    assert_eq!(held.lock().unwrap().bodies.len(), 197, "every body is different");

    args.count = None;
    let collected = phase::run(&site, &args, Phase::Collect).unwrap();
    assert_eq!((collected.messages, held.lock().unwrap().messages.len()), (197, 0), "{:?}", collected.stats.failures);

    // One that expired behind the list is asked for once.
    args.count = Some(20);
    phase::run(&site, &args, Phase::Send).unwrap();
    let one = held.lock().unwrap().messages.keys().next().unwrap().clone();
    held.lock().unwrap().expired.insert(one.clone());
    args.count = None;
    let others = phase::run(&site, &args, Phase::Collect).unwrap();
    assert_eq!((others.messages, others.stats.failures.get("retrieve 410")), (19, Some(&1)));
    held.lock().unwrap().messages.remove(&one);

    args.count = Some(40);
    args.rate = Some(400.0);
    let mixed = phase::run(&site, &args, Phase::Mixed).unwrap();
    assert_eq!(mixed.messages, 40, "{:?}", mixed.stats.failures);

    let rest = usage::Sample::take(&site);
    let report = Report { phases: vec![sent, collected, mixed], before, rest };
    let json = report.json(&args);
    assert_eq!(json["phases"][0]["operations"]["send"]["count"], 197);
    assert_eq!(json["phases"][1]["operations"]["acknowledge"]["count"], 197);
    assert!(json["phases"][0]["operations"]["send"]["p99_9_ms"].as_f64().unwrap() > 0.0);
    let table = report.table(&args);
    assert!(table.contains("send 503: 3") && table.contains("400/s intended"), "{table}");
}

#[test]
fn a_node_that_is_gone_is_counted_and_passed_by() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _) = serve(dir.path());
    let mut args = demo(dir.path(), address);
    let site = Site::find(&args).unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut with_gone = site;
    let mut dead = with_gone.targets[0].clone();
    dead.address = gone;
    with_gone.targets.push(dead);
    args.count = Some(50);
    let sent = phase::run(&with_gone, &args, Phase::Send).unwrap();
    assert_eq!(sent.messages + sent.stats.failures.values().sum::<u64>(), 50);
    assert!(sent.messages >= 42, "{:?}", sent.stats.failures);
}

#[test]
fn sizes_and_durations_are_read_with_their_units() {
    assert_eq!(size("1KiB"), Ok(1024));
    assert_eq!(size("17"), Ok(17));
    assert!(size("1KB").is_err() && size("0").is_err() && size("200MiB").is_err());
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
    assert!(duration("10").is_err() && duration("s").is_err());
}

#[test]
fn a_rate_is_above_nothing() {
    assert_eq!((super::rate("0.5"), super::rate("2000")), (Ok(0.5), Ok(2_000.0)));
    for none in ["0", "-1", "NaN", "inf", "fast"] {
        assert!(super::rate(none).is_err(), "{none}");
    }
}
