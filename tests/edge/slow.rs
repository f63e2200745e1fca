//! Slow, never-ending and idle clients: bounded in time, in number and in memory (P6).

use crate::support::client::config;
use crate::support::trial::Memory;
use crate::support::{Client, Server};
use rustls::version::TLS13;
use spine::edge::options::Options;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Short enough for a test, long enough for a loaded machine.
fn quick() -> Options {
    Options {
        handshake_timeout: Duration::from_millis(800),
        header_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_secs(2),
        body_pause: Duration::from_millis(500),
        body_min_rate: 10_000,
        write_timeout: Duration::from_millis(800),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_silent_handshake_ends() {
    let server = Server::start(quick()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[0x16, 3, 1]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(stream.read(&mut [0; 100]).await.unwrap_or(0), 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_trickled_head_ends_before_the_idle_limit() {
    let server = Server::start(quick()).await;
    let mut client = Client::connect(&server).await;
    let begun = Instant::now();
    let mut sent = 0;
    for byte in b"GET /open HTTP/1.1\r\nhost: localhost\r\nx-padding: ".iter().chain([b'a'; 200].iter()) {
        if client.stream.write_all(&[*byte]).await.is_err() || client.stream.flush().await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.closed().await;
    assert!(sent < 200 && begun.elapsed() >= Duration::from_millis(450), "{sent} bytes, {:?}", begun.elapsed());
}

/// Found by the fuzz target `http`: the body came behind the answer, and no limit of time held for the connection any more.
#[tokio::test]
async fn a_body_that_comes_behind_its_answer_does_not_keep_a_connection_for_ever() {
    let server = Server::start(quick()).await;
    for (framing, body) in [("content-length: 5", "hello"), ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        for next in ["", "GET /op"] {
            let mut client = Client::connect(&server).await;
            let head = format!("POST /nowhere HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
            assert_eq!(client.ask(&head).await.status, 404, "answered without its body");
            client.send(body).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.send(next).await;
            client.closed().await;
        }
    }
}

#[tokio::test]
async fn a_paused_body_and_a_trickled_body_get_408() {
    let server = Server::start(quick()).await;
    let mut client = Client::connect(&server).await;
    let answer = client.ask("POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhello").await;
    assert_eq!((answer.status, answer.text()), (408, "SPN-1010"));

    let mut client = Client::connect(&server).await;
    client.send("POST /write HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let (mut read, mut write) = tokio::io::split(client.stream);
    let trickle = tokio::spawn(async move {
        while write.write_all(b"1\r\nx\r\n").await.is_ok() && write.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut head = [0; 12];
    read.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
    drop(read);
    trickle.abort();
    assert!(server.memory.payloads().is_empty());
}

#[tokio::test]
async fn a_never_ending_body_is_cut_at_the_limit() {
    let server = Server::with(quick(), Memory { forgetful: true, ..Default::default() }).await;
    let client = Client::connect(&server).await;
    let (mut read, mut write) = tokio::io::split(client.stream);
    let endless = tokio::spawn(async move {
        let mut chunk = b"100000\r\n".to_vec();
        chunk.resize(chunk.len() + (1 << 20), 0);
        chunk.extend_from_slice(b"\r\n");
        let head = b"POST /write HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut sent = write.write_all(head).await.map(|()| 0u64);
        while let Ok(n) = sent {
            sent = write.write_all(&chunk).await.map(|()| n + 1);
            if sent.is_ok() && n > 400 {
                return n;
            }
            if sent.is_err() {
                return n;
            }
        }
        0
    });
    let mut head = [0; 12];
    read.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    // The other side reads nothing more, and the server gives up on it.
    assert!(endless.await.unwrap() <= 400, "the server takes a body without end");
    assert!(server.memory.payloads().is_empty());
}

#[tokio::test]
async fn unread_answers_do_not_pile_up() {
    let server = Server::start(quick()).await;
    let mut client = Client::connect(&server).await;
    let body = vec![1u8; 8_000_000];
    let name = client.post("/write", "", &body).await.text().strip_prefix("stored ").unwrap().to_owned();
    for _ in 0..8 {
        let request = format!("GET /read/{name} HTTP/1.1\r\nhost: a\r\n\r\n");
        client.stream.write_all(request.as_bytes()).await.unwrap();
    }
    client.stream.flush().await.unwrap();
    let begun = Instant::now();
    while server.connections() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(15), "a client that does not read is kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn idle_connections_end_by_themselves() {
    let server = Server::start(quick()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.get("/open").await.status, 200);
    let begun = Instant::now();
    client.closed().await;
    assert!(begun.elapsed() >= Duration::from_millis(1_800), "idle is not a slow head: {:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_for_each_system() {
    let options = Options { max_connections: 6, max_connections_per_system: 4, ..Options::default() };
    let server = Server::start(options).await;
    let mut open = vec![];
    for _ in 0..4 {
        open.push(Client::connect(&server).await);
    }
    for client in &mut open {
        assert_eq!(client.get("/open").await.status, 200);
    }
    let mut fifth = Client::connect(&server).await;
    let _ = fifth.stream.write_all(b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n").await;
    fifth.closed().await;
    let other = server.pki.client(105);
    let theirs = config(&server, Some(&other), &[&TLS13]);
    for _ in 0..2 {
        let mut client = Client::with(&server, theirs.clone()).await.unwrap();
        assert_eq!(client.get("/open").await.status, 200);
        open.push(client);
    }
    assert!(Client::with(&server, theirs).await.is_err(), "a seventh connection of the listener");
}
