//! Emergency care is never starved: while everybody else fills the listener it is let in and worked on, within its quota, and it
//! starves nobody either (P6).

use crate::api::{Guarded, RULES, SCOPE, bare, proven};
use crate::support::client::config;
use crate::support::trial::Memory;
use crate::support::{Client, Server};
use rustls::version::TLS13;
use spine::access::gate::Standing;
use spine::edge::api::Api;
use spine::edge::options::Options;
use std::sync::Arc;
use tokio::sync::watch;

/// An application's token: its own name.
fn bearer(application: &str) -> String {
    format!("authorization: Bearer {application}\r\n")
}

fn write(application: &str) -> String {
    let head = "POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n";
    format!("{head}{}\r\nx", bearer(application))
}

/// An API listener that knows two practices, two ambulance services and one with a quota of one a second.
async fn start(options: Options) -> (Server, watch::Sender<bool>) {
    let memory = Memory::default();
    let all = [("practice", 0, false), ("clinic", 0, false), ("ambulance", 0, true), ("air-ambulance", 0, true)];
    for (application, quota, emergency) in all.into_iter().chain([("small-ambulance", 1, true)]) {
        let Standing::Proven(mut proven) = proven(application, SCOPE, quota) else { unreachable!("it is proven") };
        proven.emergency = emergency;
        memory.registry.lock().unwrap().insert(format!("bearer {application}"), Standing::Proven(proven));
    }
    let (hold, held) = watch::channel(true);
    *memory.hold.lock().unwrap() = Some(held);
    (Server::api(options, memory, Arc::new(Api(vec![Arc::new(Guarded)])), &Api::rules(&[RULES])).await, hold)
}

/// Writes of an application that have come as far as the site and stay there.
async fn busy(server: &Server, application: &str, count: usize) -> Vec<Client> {
    let mut clients = vec![];
    for _ in 0..count {
        let arrived = server.memory.arrived.notified();
        let mut client = bare(server).await;
        client.send(write(application)).await;
        arrived.await;
        clients.push(client);
    }
    clients
}

fn spare(server: &Server, who: &str) {
    *server.memory.spared.lock().unwrap() = who.to_owned();
}

#[tokio::test]
async fn emergency_care_gets_its_answers_while_all_others_fill_the_listener() {
    let options = Options { max_requests: 4, max_at_work: 4, ..Options::default() };
    let (server, hold) = start(options).await;
    let mut practice = busy(&server, "practice", 4).await;
    spare(&server, "ambulance");
    let mut ambulance = bare(&server).await;
    for round in 0..5 {
        // On a connection of its own: one that was refused is held to its Retry-After.
        let refused = bare(&server).await.ask(write("clinic")).await;
        assert_eq!((refused.status, refused.text()), (503, "SPN-1013"), "round {round}");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(ambulance.ask(write("ambulance")).await.status, 202, "round {round}");
    }
    // What asks for no credentials, as the way to the next token does, is as open to it.
    let read = |headers: String| format!("GET /read/nothing HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    assert_eq!(bare(&server).await.ask(read(String::new())).await.status, 503);
    assert_eq!(bare(&server).await.ask(read(bearer("clinic"))).await.status, 503);
    let answer = ambulance.ask(read(bearer("ambulance"))).await;
    assert_eq!((answer.status, answer.text()), (404, "no such body"));
    hold.send_replace(false);
    for client in &mut practice {
        assert_eq!(client.answer().await.unwrap().status, 202, "nobody lost what was begun");
    }
}

#[tokio::test]
async fn what_others_send_from_its_address_does_not_count_against_emergency_care() {
    let options = Options { rate: 1, burst: 3, application_rate: Some(1_000), ..Options::default() };
    let (server, hold) = start(options).await;
    hold.send_replace(false);
    let mut refused = 0;
    for _ in 0..6 {
        let answer = bare(&server).await.ask(write("clinic")).await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 0, "the address is over its rate");
    let mut ambulance = bare(&server).await;
    for n in 0..30 {
        assert_eq!(ambulance.ask(write("ambulance")).await.status, 202, "{n}");
    }
}

#[tokio::test]
async fn emergency_care_that_floods_keeps_to_its_quota_and_to_half_of_what_is_kept() {
    // Two places are kept.
    let options = Options { max_requests: 2, ..Options::default() };
    let (server, hold) = start(options).await;
    let _practice = busy(&server, "practice", 2).await;
    let mut flood = busy(&server, "ambulance", 1).await;
    let more = bare(&server).await.ask(write("ambulance")).await;
    assert_eq!((more.status, more.text()), (503, "SPN-1013"), "one application has half of them");
    spare(&server, "air-ambulance");
    assert_eq!(bare(&server).await.ask(write("air-ambulance")).await.status, 202, "and another finds its own");
    spare(&server, "small-ambulance");
    let mut within = 0;
    let over = loop {
        let answer = bare(&server).await.ask(write("small-ambulance")).await;
        match answer.status {
            202 if within < 20 => within += 1,
            _ => break answer,
        }
    };
    assert!(within > 0, "it is let in");
    assert_eq!((over.status, over.header("retry-after"), over.header("ratelimit-limit")), (429, Some("1"), Some("1")));
    hold.send_replace(false);
    assert_eq!(flood[0].answer().await.unwrap().status, 202);
}

#[tokio::test]
async fn emergency_care_that_floods_leaves_turns_to_the_others() {
    // One more turn is kept: of three, one for emergency care while others are about.
    let options = Options { max_at_work: 2, ..Options::default() };
    let (server, hold) = start(options).await;
    let _practice = busy(&server, "practice", 1).await;
    let _at_work = busy(&server, "ambulance", 1).await;
    let mut waiting = vec![];
    for _ in 0..2 {
        let mut client = bare(&server).await;
        client.send(write("ambulance")).await;
        waiting.push(client);
    }
    while server.edge.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    spare(&server, "clinic");
    let mut clinic = bare(&server).await;
    for _ in 0..5 {
        assert_eq!(clinic.ask(write("clinic")).await.status, 202);
    }
    assert_eq!(server.edge.waiting(), 2);
    hold.send_replace(false);
    for client in &mut waiting {
        assert_eq!(client.answer().await.unwrap().status, 202);
    }
}

#[tokio::test]
async fn a_system_that_is_emergency_care_is_let_in_by_its_certificate_within_its_rate() {
    let server = Server::start(Options { max_requests: 1, rate: 1, burst: 3, ..Options::default() }).await;
    let (ambulance, other) = (server.pki.client(104), server.pki.client(105));
    server.register_as(&ambulance, "200000000104", true);
    server.register(&other, "200000000105");
    let (hold, held) = watch::channel(true);
    *server.memory.hold.lock().unwrap() = Some(held);
    spare(&server, "200000000104");
    let connect = |identity| Client::with(&server, config(&server, Some(identity), &[&TLS13]));
    let mut practice = connect(&server.approved).await.unwrap();
    let arrived = server.memory.arrived.notified();
    practice.send("POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx").await;
    arrived.await;
    assert_eq!(connect(&other).await.unwrap().post("/write", "", b"x").await.status, 503);
    let (mut client, mut within) = (connect(&ambulance).await.unwrap(), 0);
    let over = loop {
        let answer = client.post("/write", "", b"x").await;
        match answer.status {
            202 if within < 20 => within += 1,
            _ => break answer,
        }
    };
    assert!(within >= 3, "{within} were let in");
    assert_eq!((over.status, over.header("retry-after")), (429, Some("1")));
    hold.send_replace(false);
    assert_eq!(practice.answer().await.unwrap().status, 202);
}
