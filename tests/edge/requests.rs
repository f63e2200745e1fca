//! The request path: bodies of all sizes, streams both ways, refusals when the site cannot answer, limits (P3, P6).

use crate::support::client::config;
use crate::support::trial::Memory;
use crate::support::{Client, Server};
use rustls::version::TLS13;
use spine::edge::options::{INLINE_BODY, MAX_BODY, Options};
use spine::engine::Unavailable;
use std::time::{Duration, Instant};
use tokio::sync::watch;

#[tokio::test]
async fn header_names_are_lower_case_and_ids_come_back() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    let answer = client.ask("GET /open HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: r-1\r\n\r\n").await;
    for line in answer.head.lines().filter(|l| !l.is_empty()) {
        let name = line.split_once(':').unwrap().0;
        assert_eq!(name, name.to_lowercase(), "{}", answer.head);
    }
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    let first = answer.header("x-correlation-id").unwrap().to_owned();
    assert_ne!(Some(first.as_str()), client.get("/open").await.header("x-correlation-id"));
    let given = client.ask("GET /open HTTP/1.1\r\nHost: localhost\r\nX-Correlation-ID: mine\r\n\r\n").await;
    assert_eq!(given.header("x-correlation-id"), Some("mine"));
    let forged = client.ask("GET /open HTTP/1.1\r\nHost: localhost\r\nX-Correlation-ID: a b\"c\r\n\r\n").await;
    assert_ne!(forged.header("x-correlation-id"), Some("a b\"c"));
}

#[tokio::test]
async fn small_bodies_travel_in_the_command_and_large_ones_as_blobs() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.post("/write", "", b"").await.text(), "none 0");
    assert_eq!(client.post("/write", "", &vec![7; INLINE_BODY]).await.text(), format!("inline {INLINE_BODY}"));
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let answer = client.post("/write", "", &body).await;
    let name = answer.text().strip_prefix("stored ").expect("a stored body").to_owned();
    let back = client.get(&format!("/read/{name}")).await;
    assert_eq!((back.status, back.header("content-length")), (200, Some("3000000")));
    assert!(back.body == body);
}

#[tokio::test]
async fn a_gzip_body_is_inflated_for_who_cannot_take_it() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    let plain: Vec<u8> = (0..5_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    let answer = client.post("/write", "", &encoder.finish().unwrap()).await;
    let name = answer.text().strip_prefix("stored ").unwrap().to_owned();
    let back = client.get(&format!("/inflate/{name}")).await;
    assert_eq!((back.status, back.header("transfer-encoding")), (200, Some("chunked")));
    assert!(back.body == plain);
    assert_eq!(client.get("/open").await.status, 200, "the connection goes on");
}

#[tokio::test]
async fn what_only_claims_to_be_gzip_goes_out_as_stored_and_says_so() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    let body = vec![b'j'; 300_000];
    let name = client.post("/write", "", &body).await.text().strip_prefix("stored ").unwrap().to_owned();
    let back = client.get(&format!("/inflate/{name}")).await;
    assert_eq!((back.status, back.header("content-encoding")), (200, Some("gzip")));
    assert!(back.body == body);
}

#[tokio::test]
async fn a_stored_body_is_zipped_on_its_way_as_one_member() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    let body = b"words and words ".repeat(200_000);
    let name = client.post("/write", "", &body).await.text().strip_prefix("stored ").unwrap().to_owned();
    let back = client.get(&format!("/zip/{name}")).await;
    assert_eq!((back.status, back.header("transfer-encoding")), (200, Some("chunked")));
    let mut plain = vec![];
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(back.body.as_slice()), &mut plain).unwrap();
    assert!(plain == body && back.body.len() < body.len() / 10);
    assert_eq!(client.get("/open").await.status, 200, "the connection goes on");
    // A body that is shorter than it should be must not look whole.
    let short = name.split_once('-').map(|(digest, len)| format!("{digest}-{}", len.parse::<u64>().unwrap() + 1));
    client.send(format!("GET /zip/{} HTTP/1.1\r\nhost: localhost\r\n\r\n", short.unwrap())).await;
    assert!(client.answer().await.is_err());
}

#[tokio::test]
async fn chunked_uploads_and_100_continue_work() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    let head = "POST /write HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = client.ask(format!("{head}3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\ntrailer: x\r\n\r\n")).await;
    assert_eq!(answer.text(), "inline 8");

    client.send("POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 100);
    assert_eq!(client.ask("body").await.text(), "inline 4");

    let head = "POST /write HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: ";
    let refused = client.ask(format!("{head}{}\r\n\r\n", MAX_BODY + 1)).await;
    assert_eq!(refused.status, 413, "refused before a byte of it is asked for");
}

#[tokio::test]
async fn the_largest_body_passes_and_one_byte_more_does_not() {
    let memory = Memory { forgetful: true, ..Default::default() };
    let server = Server::with(Options::default(), memory).await;
    let mut client = Client::connect(&server).await;
    let piece = vec![0; 1 << 20];
    client.send(format!("POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-length: {MAX_BODY}\r\n\r\n")).await;
    for _ in 0..MAX_BODY / (1 << 20) {
        client.send(&piece).await;
    }
    assert!(client.answer().await.unwrap().text().ends_with(&format!("-{MAX_BODY}")));

    client.send("POST /write HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..MAX_BODY / (1 << 20) {
        client.send("100000\r\n").await;
        client.send(&piece).await;
        client.send("\r\n").await;
    }
    let answer = client.ask("1\r\nx\r\n0\r\n\r\n").await;
    assert_eq!(answer.status, 413);
    assert_eq!(server.memory.payloads().len(), 1);
}

#[tokio::test]
async fn a_body_that_would_be_refused_is_not_stored() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    let answer = client.post("/write", "x-worthless: 1\r\n", &vec![0; 5_000_000]).await;
    assert_eq!((answer.status, answer.text()), (403, "skipped"));
    assert!(server.memory.bodies.lock().unwrap().is_empty());
    assert_eq!(client.get("/open").await.status, 200, "the rest of the body was read away");
}

#[tokio::test]
async fn a_write_outlives_its_caller() {
    let server = Server::start(Options::default()).await;
    let (hold, held) = watch::channel(true);
    *server.memory.hold.lock().unwrap() = Some(held);
    let arrived = server.memory.arrived.notified();
    let mut client = Client::connect(&server).await;
    client.send("POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx").await;
    arrived.await;
    drop(client);
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(server.memory.payloads().is_empty());
    hold.send_replace(false);
    while server.memory.payloads().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_be_answered_now_is_503_with_retry_after_and_frees_its_token() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    for (why, code, freed) in [
        (Unavailable::Busy, "SPN-1013", 0),
        (Unavailable::NoSpace, "SPN-1015", 0),
        (Unavailable::Unknown, "SPN-1016", 1),
    ] {
        server.memory.fail.lock().unwrap().push_back(why);
        let answer = client.post("/write", "", b"x").await;
        assert_eq!((answer.status, answer.text(), answer.header("retry-after")), (503, code, Some("1")));
        let releases = server.memory.payloads().iter().filter(|p| *p == "release").count();
        assert_eq!(releases, freed, "{code}");
    }
    // The release itself meets an election, and is tried again.
    server.memory.fail.lock().unwrap().extend([Unavailable::Unknown, Unavailable::NoLeader, Unavailable::Unknown]);
    assert_eq!(client.post("/write", "", b"x").await.status, 503);
    assert_eq!(server.memory.payloads().iter().filter(|p| *p == "release").count(), 2);
    // The same credentials come again, and the service hears which attempts were told to.
    server.memory.fail.lock().unwrap().push_back(Unavailable::Unknown);
    assert_eq!(client.post("/write", "authorization: token\r\n", b"x").await.status, 503);
    assert_eq!(client.post("/write", "authorization: token\r\n", b"x").await.text(), "inline 1 forgiven 1");
    assert_eq!(client.post("/write", "authorization: other\r\n", b"x").await.text(), "inline 1");
    server.memory.fail.lock().unwrap().push_back(Unavailable::Fault("private words".into()));
    let answer = client.post("/write", "", b"x").await;
    assert_eq!((answer.status, answer.text(), answer.header("retry-after")), (500, "SPN-1017", None));
}

#[tokio::test]
async fn one_system_over_its_rate_gets_429_and_others_are_served() {
    let options = Options { rate: 1, burst: 5, ..Options::default() };
    let server = Server::start(options).await;
    let other = server.pki.client(104);
    server.register(&other, "200000000104");
    let mut limited = vec![];
    // A connection each: coming again on a new one is of no use.
    for _ in 0..10 {
        let mut noisy = Client::connect(&server).await;
        let answer = noisy.post("/write", "", &[0; 1000]).await;
        if answer.status == 429 {
            assert_eq!((answer.text(), answer.header("retry-after")), ("SPN-1012", Some("1")));
            limited.push(noisy);
        }
    }
    assert!(limited.len() >= 4, "{}", limited.len());
    // Who asks again before its time is made to wait for it.
    let again = Instant::now();
    let mut last = limited.pop().unwrap();
    assert!(matches!(last.post("/write", "", b"x").await.status, 202 | 429));
    assert!(again.elapsed() > Duration::from_millis(400), "{:?}", again.elapsed());
    let mut quiet = Client::with(&server, config(&server, Some(&other), &[&TLS13])).await.unwrap();
    assert_eq!(quiet.post("/write", "", b"x").await.status, 202);
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_not_queued() {
    let options = Options { max_requests_per_system: 2, ..Options::default() };
    let server = Server::start(options).await;
    let (hold, held) = watch::channel(true);
    *server.memory.hold.lock().unwrap() = Some(held);
    let mut busy = vec![];
    for _ in 0..2 {
        let arrived = server.memory.arrived.notified();
        let mut client = Client::connect(&server).await;
        client.send("POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx").await;
        arrived.await;
        busy.push(client);
    }
    let mut third = Client::connect(&server).await;
    assert_eq!(third.post("/write", "", b"x").await.status, 429);
    hold.send_replace(false);
    for client in &mut busy {
        assert_eq!(client.answer().await.unwrap().status, 202);
    }
    assert_eq!(third.post("/write", "", b"x").await.status, 202);
}

#[tokio::test]
async fn http_2_serves_many_requests_on_one_connection() {
    let server = Server::start(Options::default()).await;
    let mut tls = config(&server, Some(&server.approved), &[&TLS13]);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let client = Client::with(&server, tls).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(client.stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let ask = |n: usize| {
        let mut sender = sender.clone();
        async move {
            let body = http_body_util::Full::new(bytes::Bytes::from(vec![1u8; n * 20_000]));
            let request = http::Request::post("https://localhost/write").body(body).unwrap();
            sender.send_request(request).await.unwrap().status().as_u16()
        }
    };
    let statuses = tokio::time::timeout(Duration::from_secs(20), futures_util::future::join_all((0..40).map(ask)));
    assert_eq!(statuses.await.unwrap(), vec![202; 40]);
}

#[tokio::test]
async fn who_would_wait_too_long_for_a_turn_hears_so_at_once_and_nothing_is_done() {
    // A millisecond each is the pace that is believed before one is measured: one may wait, not two.
    let options = Options { max_at_work: 1, turn_patience: Duration::from_millis(1), ..Options::default() };
    let server = Server::start(options).await;
    let (hold, held) = watch::channel(true);
    *server.memory.hold.lock().unwrap() = Some(held);
    let mut clients = vec![];
    for _ in 0..3 {
        clients.push(Client::connect(&server).await);
    }
    let write =
        |n: usize| format!("POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-length: {n}\r\n\r\n{}", "x".repeat(n));
    let arrived = server.memory.arrived.notified();
    clients[0].send(write(1)).await;
    arrived.await;
    clients[1].send(write(2)).await;
    while server.edge.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    let refused = clients[2].ask(write(3)).await;
    assert_eq!((refused.status, refused.text(), refused.header("retry-after")), (503, "SPN-1013", Some("1")));
    hold.send_replace(false);
    assert_eq!(clients[0].answer().await.unwrap().text(), "inline 1");
    assert_eq!(clients[1].answer().await.unwrap().text(), "inline 2");
    assert_eq!(clients[2].ask(write(3)).await.text(), "inline 3", "the same connection is served again");
    assert_eq!(server.memory.payloads(), ["inline 1", "inline 2", "inline 3"], "what was refused did nothing");
}

#[tokio::test]
async fn a_look_shows_all_partitions_and_what_follows_is_submitted_in_rounds() {
    let server = Server::start(Options::default()).await;
    let mut client = Client::connect(&server).await;
    client.post("/write", "", b"abc").await;
    assert_eq!(client.get("/look").await.text(), "onward after seen 1");
    assert_eq!(server.memory.payloads(), ["inline 3", "seen 1", "onward after seen 1"]);
    let ids: Vec<String> = server.memory.commands.lock().unwrap().iter().map(|c| c.request_id.clone()).collect();
    assert_eq!(ids, ["", "look-1", ""], "a call's own id reaches the engine (P3)");
    server.memory.fail.lock().unwrap().push_back(Unavailable::NoLeader);
    let refused = client.get("/look").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(server.memory.payloads().len(), 3, "nothing was asked of a site that could not be seen");
}
