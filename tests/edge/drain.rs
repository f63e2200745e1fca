//! Taking a node out of service: what is in flight is answered, clients are told to go, then the listener is done.

use crate::support::{Client, Server};
use spine::edge::options::Options;
use std::time::{Duration, Instant};
use tokio::sync::watch;

#[tokio::test]
async fn a_drain_answers_what_is_in_flight_and_closes_the_rest() {
    let options = Options { drain_linger: Duration::from_millis(300), ..Options::default() };
    let mut server = Server::start(options).await;
    let (hold, held) = watch::channel(true);
    *server.memory.hold.lock().unwrap() = Some(held);
    let mut idle = Client::connect(&server).await;
    let mut polite = Client::connect(&server).await;
    assert_eq!(idle.get("/open").await.header("connection"), None);
    assert_eq!(polite.get("/open").await.status, 200);
    let arrived = server.memory.arrived.notified();
    let mut busy = Client::connect(&server).await;
    busy.send("POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await;
    arrived.await;

    server.stop();
    while !server.edge.draining() {
        tokio::task::yield_now().await;
    }
    let answer = polite.get("/open").await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    polite.closed().await;
    idle.closed().await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    hold.send_replace(false);
    assert_eq!(busy.answer().await.unwrap().status, 202);
    server.stopped().await;
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let options = Options {
        drain_linger: Duration::from_millis(50),
        drain_timeout: Duration::from_millis(600),
        ..Options::default()
    };
    let mut server = Server::start(options).await;
    let (_hold, held) = watch::channel(true);
    *server.memory.hold.lock().unwrap() = Some(held);
    let arrived = server.memory.arrived.notified();
    let mut stuck = Client::connect(&server).await;
    stuck.send("POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await;
    arrived.await;
    let begun = Instant::now();
    server.stopped().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    stuck.closed().await;
}
