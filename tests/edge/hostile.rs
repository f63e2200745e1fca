//! Malformed and smuggled requests: each gets its error or a closed connection, changes nothing, and the server goes
//! on serving (P6).

use crate::support::{Client, Server};
use spine::edge::options::Options;

/// Sends raw bytes on a connection of their own. The status of the answer, or `None` where the connection ended.
async fn attack(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut client = Client::connect(server).await;
    let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, bytes).await;
    let _ = tokio::io::AsyncWriteExt::flush(&mut client.stream).await;
    client.answer().await.ok().map(|a| a.status)
}

#[tokio::test]
async fn malformed_heads_are_refused() {
    let server = Server::start(Options::default()).await;
    let long = "a".repeat(70_000);
    let many: String = (0..150).map(|i| format!("x-{i}: 1\r\n")).collect();
    let cases: Vec<(&str, String, &[u16])> = vec![
        ("no version", "GET /open\r\n\r\n".into(), &[400]),
        ("bad version", "GET /open HTTP/9.9\r\nhost: a\r\n\r\n".into(), &[400]),
        ("bad method", "G E T /open HTTP/1.1\r\n\r\n".into(), &[400]),
        ("header without colon", "GET /open HTTP/1.1\r\nhost a\r\n\r\n".into(), &[400]),
        ("space before colon", "POST /write HTTP/1.1\r\ncontent-length : 5\r\n\r\nhello".into(), &[400]),
        ("folded header", "GET /open HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n".into(), &[400]),
        ("control in value", "GET /open HTTP/1.1\r\nhost: a\r\nx: \u{1}\r\n\r\n".into(), &[400]),
        ("bare cr in value", "GET /open HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n".into(), &[400]),
        ("long value", format!("GET /open HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), &[431]),
        ("long target", format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), &[414, 431]),
        ("many headers", format!("GET /open HTTP/1.1\r\nhost: a\r\n{many}\r\n"), &[431]),
        ("negative length", "POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".into(), &[400]),
        ("signed length", "POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello".into(), &[400]),
        (
            "huge length",
            "POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n".into(),
            &[400],
        ),
        (
            "two lengths",
            "POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".into(),
            &[400],
        ),
        ("bad coding", "POST /write HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n".into(), &[400]),
        (
            "coding in 1.0",
            "POST /write HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            &[400],
        ),
        ("tls in tls", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".into(), &[400]),
        ("no host", "GET /open HTTP/1.1\r\n\r\n".into(), &[400]),
        ("two hosts", "GET /read/0 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".into(), &[400]),
        (
            "two tokens",
            "GET /read/0 HTTP/1.1\r\nhost: a\r\nauthorization: a\r\nauthorization: b\r\n\r\n".into(),
            &[400],
        ),
        (
            "two mex",
            "POST /write HTTP/1.1\r\nhost: a\r\nmex-to: a\r\nmex-to: b\r\ncontent-length: 0\r\n\r\n".into(),
            &[400],
        ),
        ("connect", "CONNECT localhost:443 HTTP/1.1\r\nhost: a\r\n\r\n".into(), &[404]),
        ("upgrade", "GET /open HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n".into(), &[200]),
        ("plain h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &[]),
    ];
    for (what, bytes, expected) in cases {
        match attack(&server, bytes.as_bytes()).await {
            None => {}
            Some(status) => assert!(expected.contains(&status), "{what}: {status}"),
        }
    }
    assert!(server.memory.payloads().is_empty(), "nothing was done: {:?}", server.memory.payloads());
    assert_eq!(Client::connect(&server).await.get("/open").await.status, 200);
}

#[tokio::test]
async fn broken_chunks_do_nothing() {
    let server = Server::start(Options::default()).await;
    let head = "POST /write HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in [
        "zz\r\n",
        "-1\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
    ] {
        let status = attack(&server, format!("{head}{chunks}").as_bytes()).await;
        assert!(matches!(status, None | Some(400)), "{chunks:?}: {status:?}");
    }
    assert!(server.memory.payloads().is_empty());
}

#[tokio::test]
async fn a_smuggled_request_is_not_a_second_request() {
    let server = Server::start(Options::default()).await;
    // Both framings: the chunked one counts, and the connection ends, so that nothing behind it is read as a request.
    let inner = "POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nsmuggled";
    for framing in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let mut client = Client::connect(&server).await;
        let head = format!("POST /write HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n0\r\n\r\n{inner}");
        let answer = client.ask(head).await;
        assert!(matches!(answer.status, 202 | 400), "{}", answer.status);
        client.closed().await;
    }
    assert!(!server.memory.payloads().iter().any(|p| p == "inline 8"));
    for coding in ["xchunked", "chunked\r\ntransfer-encoding: identity", "\u{b}chunked", "chunked, chunked2"] {
        let head =
            format!("POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: {coding}\r\n\r\n");
        let status = attack(&server, format!("{head}0\r\n\r\n{inner}").as_bytes()).await;
        assert!(matches!(status, None | Some(400)), "{coding}: {status:?}");
    }
    assert!(!server.memory.payloads().iter().any(|p| p == "inline 8"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    let mut all = String::new();
    for n in 1..=50 {
        all += &format!("POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: {n}\r\n\r\n{}", "x".repeat(n));
    }
    client.send(all).await;
    for n in 1..=50 {
        assert_eq!(client.answer().await.unwrap().text(), format!("inline {n}"));
    }
}

#[tokio::test]
async fn a_body_cut_short_does_nothing() {
    let server = Server::start(Options::default()).await;
    for length in [10, 1_000_000] {
        let mut client = Client::connect(&server).await;
        client.send(format!("POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nhello")).await;
        drop(client);
    }
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(server.memory.payloads().is_empty());
}
