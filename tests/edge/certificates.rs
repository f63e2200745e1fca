//! Who gets in: no, foreign, expired, revoked and unregistered certificates, and exchange under load (P5).

use crate::support::client::config;
use crate::support::pki::Identity;
use crate::support::{Client, Pki, Server};
use rustls::version::{TLS12, TLS13};
use spine::access::gate::Standing;
use spine::edge::options::Options;

/// Neither the handshake nor a request may succeed; TLS 1.3 tells a client of its refusal only afterwards.
async fn refused(server: &Server, identity: Option<&Identity>) {
    for version in [&TLS12, &TLS13] {
        if let Ok(mut client) = Client::with(server, config(server, identity, &[version])).await {
            let request = "GET /open HTTP/1.1\r\nhost: localhost\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
            assert!(client.answer().await.is_err(), "an unproven client got an answer");
        }
    }
}

#[tokio::test]
async fn both_versions_of_tls_serve_a_registered_system() {
    let server = Server::start(Options::default()).await;
    for version in [&TLS12, &TLS13] {
        let mut client = Client::with(&server, config(&server, Some(&server.approved), &[version])).await.unwrap();
        for _ in 0..300 {
            assert_eq!(client.get("/open").await.status, 200);
        }
        assert_eq!(client.post("/write", "", b"x").await.status, 202);
    }
    assert_eq!(server.memory.commands.lock().unwrap()[0].caller.asid, "200000000100");
    assert_eq!(server.memory.commands.lock().unwrap()[0].caller.address, "127.0.0.1");
}

#[tokio::test]
async fn without_a_certificate_of_ours_nobody_gets_an_answer() {
    let server = Server::start(Options::default()).await;
    refused(&server, None).await;
    refused(&server, Some(&Pki::new().client(100))).await;
    refused(&server, Some(&server.pki.issue("late", 101, 2021))).await;
    assert_eq!(Client::connect(&server).await.get("/open").await.status, 200);
}

#[tokio::test]
async fn an_unregistered_or_disabled_system_is_refused_in_words() {
    let server = Server::start(Options::default()).await;
    let stranger = server.pki.client(102);
    let mut client = Client::with(&server, config(&server, Some(&stranger), &[&TLS13])).await.unwrap();
    assert_eq!(client.get("/open").await.status, 200);
    let answer = client.post("/write", "", b"x").await;
    assert_eq!((answer.status, answer.text()), (403, "SPN-1003"));
    server.memory.registry.lock().unwrap().insert(stranger.sha256(), Standing::Disabled);
    assert_eq!(client.post("/write", "", b"x").await.text(), "SPN-1004");
    server.register(&stranger, "200000000102");
    assert_eq!(client.post("/write", "", b"x").await.status, 202, "a registration works at once");
}

#[tokio::test]
async fn a_revocation_ends_open_connections_and_resumed_sessions() {
    let server = Server::start(Options::default()).await;
    let shared = config(&server, Some(&server.approved), &[&TLS13]);
    let mut open = Client::with(&server, shared.clone()).await.unwrap();
    assert_eq!(open.get("/open").await.status, 200);
    let resumed = Client::with(&server, shared.clone()).await.unwrap();
    assert_eq!(resumed.stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));

    server.pki.revoke(&[server.approved.serial]);
    server.edge.tls.reload().unwrap();
    let answer = open.get("/open").await;
    assert_eq!((answer.status, answer.text(), answer.header("connection")), (401, "SPN-1005", Some("close")));
    refused(&server, Some(&server.approved)).await;
    if let Ok(mut client) = Client::with(&server, shared).await {
        let request = "GET /open HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
        assert!(client.answer().await.is_err(), "a ticket does not outlive its certificate");
    }
    let other = server.pki.client(103);
    let mut client = Client::with(&server, config(&server, Some(&other), &[&TLS12])).await.unwrap();
    assert_eq!(client.get("/open").await.status, 200, "others are not touched");
}

#[tokio::test]
async fn bad_new_files_leave_the_old_ones_serving() {
    let server = Server::start(Options::default()).await;
    let mut open = Client::connect(&server).await;
    let good = server.pki.read(&server.pki.path("server.pem"));
    for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &server.approved.pem] {
        server.pki.write("server.pem", bad);
        assert!(server.edge.tls.reload().is_err());
        assert_eq!(Client::connect(&server).await.get("/open").await.status, 200);
    }
    server.pki.write("server.pem", &good);
    server.edge.tls.reload().unwrap();
    assert_eq!(open.get("/open").await.status, 200, "a reload drops no connection");
    assert_eq!(Client::connect(&server).await.get("/open").await.status, 200);
}
