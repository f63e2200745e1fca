//! The API listener: no client certificate, credentials in each request, protocols by path, shares by application (P5, P6).

use crate::support::client::config;
use crate::support::trial::{Memory, Trial};
use crate::support::{Client, Server};
use spine::access::caller::Caller;
use spine::access::gate::{Admits, Denied, Proven, Rule, Standing};
use spine::edge::api::Api;
use spine::edge::options::Options;
use spine::edge::protocol::{Exchange, Protocol};
use spine::engine::{Command, Unavailable, services};
use spine::seam::clock::{Clock, SystemClock};
use spine::services::trail::command::TrailCommand;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const SCOPE: &str = "urn:nhsd:apim:app:level3:trial";

pub const RULES: &[Rule] = &[
    Rule::new("trial.open", Admits::Anyone, ""),
    Rule::new("trial.write", Admits::Holders { scopes: &[SCOPE], activities: &[] }, ""),
    Rule::new("trial.read", Admits::Anyone, ""),
    Rule::new("trial.look", Admits::Anyone, ""),
    Rule::new("trial.not_found", Admits::Anyone, ""),
];

/// The trial protocol as one of the API listener's, with three paths of its own.
pub struct Guarded;

impl Protocol for Guarded {
    fn name(&self) -> &'static str {
        "trial"
    }
    fn takes(&self, path: &str) -> bool {
        ["/open", "/write", "/read/nothing"].contains(&path)
    }
    fn interactions(&self) -> Vec<&'static str> {
        Trial.interactions()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        Trial.begin(head)
    }
}

/// Whom a token proves.
pub fn proven(application: &str, scope: &str, quota: u32) -> Standing {
    let caller = Caller {
        application: application.into(),
        level: "level3".into(),
        scopes: vec![scope.into()],
        ..Default::default()
    };
    Standing::Proven(Box::new(Proven { caller, quota, emergency: false }))
}

/// Whose token has expired.
fn lapsed(application: &str, quota: u32) -> Standing {
    let Standing::Proven(proven) = proven(application, SCOPE, quota) else { unreachable!("it is proven") };
    Standing::Lapsed(Denied::TokenExpired, proven)
}

/// What the gate's refusals left for the trail: interaction, code, application, the caller's own request id.
fn recorded(server: &Server) -> Vec<(String, String, String, String)> {
    let commands = server.memory.commands.lock().unwrap();
    let refusals = commands.iter().filter(|c| c.service == services::TRAIL.0);
    let one = |c: &Command| match TrailCommand::decode(&c.payload).unwrap() {
        TrailCommand::Refused(r) => (r.interaction, r.code, c.caller.application.clone(), c.asked_as.clone()),
        other => panic!("a refusal is recorded as {other:?}"),
    };
    refusals.map(one).collect()
}

/// Times, first and last of the records on strangers.
fn of_strangers(server: &Server) -> Vec<(String, u64, u64, u64)> {
    let commands = server.memory.commands.lock().unwrap();
    let decoded = commands.iter().map(|c| TrailCommand::decode(&c.payload).unwrap());
    let one = |command| match command {
        TrailCommand::Refused(r) => (r.code, r.times, r.first, r.last),
        other => panic!("a refusal is recorded as {other:?}"),
    };
    decoded.map(one).collect()
}

#[tokio::test]
async fn a_flood_of_strangers_is_counted_and_told_when_the_listener_drains() {
    const FLOOD: u64 = 10_000;
    let mut server = start().await;
    let mut client = bare(&server).await;
    let begun = SystemClock.now().0;
    for n in 0..FLOOD {
        // Another token each time: what was made up is no part of the kind.
        let answer = client.post("/write", &format!("authorization: Bearer forged-{n}\r\n"), b"x").await;
        assert_eq!((answer.status, answer.text()), (401, "SPN-1023"));
        assert_eq!(of_strangers(&server).len(), 1, "the first is there before it is answered, and no other");
    }
    server.stopped().await;
    let told = of_strangers(&server);
    let [(_, 1, ..), (code, times, first, last)] = told.as_slice() else { panic!("two records: {told:?}") };
    assert_eq!((code.as_str(), *times), ("SPN-1023", FLOOD - 1));
    assert!(begun <= *first && first < last && *last <= SystemClock.now().0);
    let commands = server.memory.commands.lock().unwrap();
    assert!(commands.iter().all(|c| c.caller.address == "127.0.0.1" && c.caller.application.is_empty()));
}

#[tokio::test]
async fn what_strangers_were_refused_is_told_while_the_listener_serves_and_again_after_a_failure() {
    let server = start_with(Options { gather: Duration::from_millis(100), ..Options::default() }).await;
    let mut client = bare(&server).await;
    // The first cannot be written: the answer is what it is, and the count goes on.
    server.memory.fail.lock().unwrap().push_back(Unavailable::NoLeader);
    for _ in 0..3 {
        assert_eq!(client.post("/write", "", b"x").await.text(), "SPN-1021");
    }
    let mut told = 0;
    while told < 3 {
        tokio::time::timeout(Duration::from_secs(30), server.memory.arrived.notified()).await.expect("it is told");
        told = of_strangers(&server).iter().map(|(_, times, ..)| times).sum();
    }
    assert_eq!(told, 3, "each once");
}

async fn start() -> Server {
    start_with(Options::default()).await
}

async fn start_with(options: Options) -> Server {
    let memory = Memory::default();
    let known = [
        ("good", proven("app-one", SCOPE, 0)),
        ("two-a-second", proven("app-two", SCOPE, 2)),
        ("other-scope", proven("app-three", "urn:nhsd:apim:app:level3:other", 0)),
        ("expired", Standing::Refused(Denied::TokenExpired)),
        ("lapsed", lapsed("app-four", 2)),
    ];
    memory.registry.lock().unwrap().extend(known.map(|(token, standing)| (format!("bearer {token}"), standing)));
    Server::api(options, memory, Arc::new(Api(vec![Arc::new(Guarded)])), &Api::rules(&[RULES])).await
}

pub async fn bare(server: &Server) -> Client {
    Client::with(server, config(server, None, rustls::ALL_VERSIONS)).await.expect("no certificate is asked for")
}

#[tokio::test]
async fn what_is_open_needs_nothing_and_what_is_not_needs_the_right_token() {
    let server = start().await;
    let mut client = bare(&server).await;
    assert_eq!(client.get("/open").await.status, 200);
    let unknown = client.get("/elsewhere").await;
    assert_eq!((unknown.status, unknown.text().contains("Not Found")), (404, true));
    let tries = [
        ("", 401, "SPN-1021"),
        ("authorization: Bearer \r\n", 401, "SPN-1021"),
        ("authorization: Basic Z29vZA==\r\n", 401, "SPN-1021"),
        ("authorization: Bearer nobody\r\n", 401, "SPN-1023"),
        ("authorization: Bearer expired\r\n", 401, "SPN-1024"),
        ("authorization: Bearer other-scope\r\n", 403, "SPN-1026"),
        ("apikey: nobody\r\n", 401, "SPN-1022"),
    ];
    for (headers, status, code) in tries {
        let answer = client.post("/write", headers, b"x").await;
        assert_eq!((answer.status, answer.text()), (status, code), "{headers}");
    }
    let kinds = ["SPN-1021", "SPN-1023", "SPN-1024", "SPN-1026", "SPN-1022"];
    let all = kinds.map(|code| {
        let application = if code == "SPN-1026" { "app-three" } else { "" };
        ("trial.write".to_owned(), code.to_owned(), application.to_owned(), String::new())
    });
    assert_eq!(recorded(&server), all, "one is known, of strangers there is one record for each kind");
    assert_eq!(server.memory.commands.lock().unwrap().len(), 5, "nothing was done for any of them");
    let answer = client.post("/write", "authorization: bearer good\r\n", b"x").await;
    assert_eq!((answer.status, answer.text()), (202, "inline 1"));
    let commands = server.memory.commands.lock().unwrap();
    let caller = &commands[5].caller;
    assert_eq!((caller.application.as_str(), caller.address.as_str()), ("app-one", "127.0.0.1"));
    assert!(caller.asid.is_empty() && caller.certificate.is_empty());
}

#[tokio::test]
async fn a_refusal_of_someone_known_is_in_the_trail_before_it_is_answered() {
    let server = start().await;
    let mut client = bare(&server).await;
    let lapsed = "authorization: Bearer lapsed\r\nx-request-id: 60e0b220-8136-4ca5-ae46-1d97ef59d068\r\n";
    assert_eq!(client.post("/write", lapsed, b"x").await.text(), "SPN-1024");
    let id = "60e0b220-8136-4ca5-ae46-1d97ef59d068".to_owned();
    assert_eq!(recorded(&server), [("trial.write".into(), "SPN-1024".into(), "app-four".into(), id)]);
    // What cannot be recorded is not answered either.
    server.memory.fail.lock().unwrap().push_back(Unavailable::NoLeader);
    let answer = client.post("/write", "authorization: Bearer other-scope\r\n", b"x").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(recorded(&server).len(), 1);
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_the_trail() {
    let server = start().await;
    let (mut client, begun) = (bare(&server).await, Instant::now());
    let (mut refused, mut limited) = (0, 0);
    // Each 429 makes the connection rest for a while.
    while limited < 2 {
        match client.post("/write", "authorization: Bearer lapsed\r\n", b"x").await.status {
            401 => refused += 1,
            429 => limited += 1,
            other => panic!("{other}"),
        }
        assert_eq!(client.post("/write", "authorization: Bearer nobody\r\n", b"x").await.status, 401);
    }
    assert!(refused <= 2 + 2 * (begun.elapsed().as_secs() + 1), "{refused} within the quota of 2");
    assert_eq!(recorded(&server).len() as u64, refused + 1, "and one record of the stranger");
}

#[tokio::test]
async fn two_tokens_in_one_request_are_not_chosen_between() {
    let server = start().await;
    let mut client = bare(&server).await;
    let both = "authorization: Bearer nobody\r\nauthorization: Bearer good\r\n";
    assert_eq!(client.post("/write", both, b"x").await.text(), "SPN-1002");
}

#[tokio::test]
async fn an_application_over_its_quota_waits_and_others_do_not() {
    let server = start().await;
    // Two connections of one address share the application's quota.
    let (mut noisy, mut calm) = (bare(&server).await, bare(&server).await);
    let (begun, mut accepted, mut refused) = (Instant::now(), 0u64, None);
    for n in 0..40 {
        let client = if n % 2 == 0 { &mut noisy } else { &mut calm };
        let answer = client.post("/write", "authorization: Bearer two-a-second\r\n", b"x").await;
        assert_eq!(answer.header("ratelimit-limit"), Some("2"));
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        accepted += 1;
    }
    let refused = refused.expect("the quota was reached");
    assert!(accepted <= 2 + 2 * (begun.elapsed().as_secs() + 1), "{accepted} were let through");
    assert_eq!((refused.header("ratelimit-remaining"), refused.header("retry-after")), (Some("0"), Some("1")));
    // Another application, from the same address, is not held up.
    let mut other = bare(&server).await;
    assert_eq!(other.post("/write", "authorization: Bearer good\r\n", b"x").await.status, 202);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(noisy.post("/write", "authorization: Bearer two-a-second\r\n", b"x").await.status, 202);
}

#[tokio::test]
async fn an_application_without_a_quota_has_the_sites() {
    let options = Options { application_rate: Some(5), ..Options::default() };
    let server = start_with(options).await;
    let mut client = bare(&server).await;
    let (begun, mut accepted) = (Instant::now(), 0u64);
    let refused = loop {
        let answer = client.post("/write", "authorization: Bearer good\r\n", b"x").await;
        assert_eq!(answer.header("ratelimit-limit"), Some("5"));
        if answer.status == 429 {
            break answer;
        }
        accepted += 1;
        assert!(accepted <= 5 + 5 * (begun.elapsed().as_secs() + 1), "{accepted} were let through");
    };
    assert_eq!((refused.header("ratelimit-remaining"), refused.header("retry-after")), (Some("0"), Some("1")));
    let own = client.post("/write", "authorization: Bearer two-a-second\r\n", b"x").await;
    assert_eq!((own.status, own.header("ratelimit-limit")), (202, Some("2")), "a quota that was given stands");
}

#[tokio::test]
async fn a_certificate_that_is_shown_is_checked_all_the_same() {
    let server = start().await;
    let known = config(&server, Some(&server.approved), rustls::ALL_VERSIONS);
    let mut client = Client::with(&server, known).await.unwrap();
    assert_eq!(client.get("/open").await.status, 200);
    let foreign = crate::support::pki::Pki::new().client(7);
    let foreign = config(&server, Some(&foreign), &[&rustls::version::TLS12]);
    assert!(Client::with(&server, foreign).await.is_err(), "a certificate of a foreign authority passes no handshake");
}

#[tokio::test]
async fn a_certificate_proves_itself_on_each_connection_and_others_resume() {
    use rustls::HandshakeKind::{Full, Resumed};
    let server = start().await;
    for version in rustls::ALL_VERSIONS {
        for (identity, second) in [(None, Resumed), (Some(&server.approved), Full)] {
            let shared = config(&server, identity, &[version]);
            for kind in [Full, second] {
                let mut client = Client::with(&server, shared.clone()).await.unwrap();
                assert_eq!(client.get("/open").await.status, 200);
                assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
            }
        }
    }
}
