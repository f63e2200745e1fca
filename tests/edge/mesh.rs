//! Every interaction of MESH attacked from outside, and one message carried through (P5, mesh.md §3, §12).
//!
//! A route that is added without a line in [`ROUTES`] fails the coverage test.

use crate::support::client::{Answer, config};
use crate::support::{Client, Server};
use aws_lc_rs::hmac;
use rustls::version::TLS13;
use spine::access::rules;
use spine::edge::options::{INLINE_BODY, Options};
use spine::engine::Unavailable;
use spine::services::mesh;
use spine::store::tables::Table;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// (method, path, whether a token is needed). Ids are ones that the site lacks or has, as each route needs.
const ROUTES: &[(&str, &str, bool)] = &[
    ("GET", "/messageexchange/_ping", false),
    ("GET", "/nothing/here", false),
    ("DELETE", "/messageexchange/X26ABC1/inbox", false),
    ("POST", "/messageexchange/X26ABC1", true),
    ("POST", "/messageexchange/X26ABC1/update", true),
    ("GET", "/messageexchange/X26ABC1/inbox", true),
    ("GET", "/messageexchange/X26ABC1/count", true),
    ("GET", "/messageexchange/X26ABC1/inbox/20220228174323222222_ABCDEF", true),
    ("HEAD", "/messageexchange/X26ABC1/inbox/20220228174323222222_ABCDEF", true),
    ("PUT", "/messageexchange/X26ABC1/inbox/20220228174323222222_ABCDEF/status/acknowledged", true),
    ("POST", "/messageexchange/X26ABC1/outbox", true),
    ("POST", "/messageexchange/X26ABC1/outbox/20220228174323222222_ABCDEF/2", true),
    ("GET", "/messageexchange/X26ABC1/inbox/rich", true),
    ("GET", "/messageexchange/X26ABC1/outbox/rich", true),
    ("GET", "/messageexchange/X26ABC1/outbox/tracking?messageID=20220228174323222222_ABCDEF", true),
    ("GET", "/messageexchange/X26ABC1/outbox/tracking/local", true),
    ("GET", "/messageexchange/endpointlookup/X26/TEST_WORKFLOW", false),
    ("GET", "/messageexchange/workflowsearch/TEST_WORKFLOW", false),
    ("GET", "/messageexchange/mailbox/X26ABC1", false),
    ("DELETE", "/admin/reset", false),
    ("POST", "/messageexchange/admin/report", false),
    ("POST", "/admin/message/20220228174323222222_ABCDEF/event", false),
    ("GET", "/admin/mailbox/X26ABC1", false),
    ("GET", "/admin/message/20220228174323222222_ABCDEF", false),
    // The same interactions by their other addresses.
    ("GET", "/messageexchange/X26ABC1", true),
    ("GET", "/messageexchange/X26ABC1/inbox/20220228174323222222_ABCDEF/2", true),
    ("GET", "/endpointlookup/mesh/X26/TEST_WORKFLOW", false),
    ("DELETE", "/messageexchange/admin/reset/X26ABC1", false),
    ("POST", "/admin/report", false),
    ("GET", "/messageexchange/admin/message/20220228174323222222_ABCDEF", false),
];

/// Heads that no client sends, or none should: repeated, over-long, of unknown form, not UTF-8. Each with the number of
/// times that each byte of its last value is repeated.
const HEADS: &[(&str, &[u8], usize)] = &[
    ("two accepts", b"accept: application/vnd.mesh.v2+json\r\naccept: text/html", 1),
    ("an accept of no form", b"accept: application/vnd.mesh.vv2+json", 1),
    ("a long accept", b"accept: a", 20_000),
    ("an accept that is no text", b"accept: \xff\xfe", 9),
    ("a header twice", b"mex-to: X26ABC2\r\nmex-to: X26ABC2", 1),
    ("a token twice", b"authorization: NHSMESH X26ABC1:n:0:202601010000:00", 1),
    ("a type twice", b"content-type: a/b\r\ncontent-type: a/c", 1),
    ("a long recipient", b"mex-workflowid: W\r\nmex-to: A", 30_000),
    ("a long workflow", b"mex-to: X26ABC2\r\nmex-workflowid: W", 30_000),
    ("a recipient that is no text", b"mex-workflowid: W\r\nmex-to: \xff\xfe", 1),
    ("a tab in a value", b"mex-to: X26ABC2\r\nmex-workflowid: W\r\nmex-subject: a\tb", 1),
    ("an encoding of no kind", b"mex-to: X26ABC2\r\nmex-workflowid: W\r\ncontent-encoding: \xffzip", 1),
    ("chunk nought", b"mex-to: X26ABC2\r\nmex-workflowid: W\r\nmex-chunk-range: 0:0", 1),
    ("chunks beyond counting", b"mex-to: X26ABC2\r\nmex-workflowid: W\r\nmex-chunk-range: 1:99999999999999", 1),
    ("an expectation of no kind", b"expect: 200-nothing", 1),
    ("a range", b"range: bytes=0-1", 1),
    ("an encoding wish that is no text", b"accept-encoding: \xff;q=gzip", 1),
    ("a long cookie", b"cookie: c", 30_000),
];

fn token_at(mailbox: &str, password: &str, minutes_from_now: i64) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes_from_now);
    let time = at.strftime("%Y%m%d%H%M");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"TestKey");
    let tag = hmac::sign(&key, format!("{mailbox}:nonce:{count}:{password}:{time}").as_bytes());
    format!("NHSMESH {mailbox}:nonce:{count}:{time}:{}", spine::edge::peer::hex(tag.as_ref()))
}

fn token(mailbox: &str) -> String {
    token_at(mailbox, "password", 0)
}

async fn ask(client: &mut Client, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    client.head = method == "HEAD";
    client.send(bytes).await;
    let answer = client.answer().await;
    answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
}

fn is_json(answer: &Answer) -> bool {
    serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok()
}

/// Rows but those that every request may leave: used tokens.
fn effects(site: &crate::support::site::Site) -> Vec<bytes::Bytes> {
    let tokens = Table::Tokens.key().prefix();
    site.rows().0.into_keys().filter(|key| !tokens.contains(key)).collect()
}

#[test]
fn every_interaction_is_attacked() {
    for rule in rules::MESH {
        let attacked = ROUTES.iter().any(|(method, path, _)| {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            mesh::route(method, path, query).name() == rule.interaction
        });
        assert!(attacked, "{} has no line in ROUTES", rule.interaction);
    }
}

#[tokio::test]
async fn an_unregistered_system_gets_403_in_json_everywhere() {
    let (server, site) = Server::mesh(true).await;
    let stranger = server.pki.client(200);
    let mut client = Client::with(&server, config(&server, Some(&stranger), &[&TLS13])).await.unwrap();
    for (method, path, _) in ROUTES.iter().skip(3).filter(|r| r.0 != "HEAD") {
        for accept in ["application/json", "application/vnd.mesh.v2+json"] {
            let headers = format!("authorization: {}\r\naccept: {accept}\r\n", token("X26ABC1"));
            let answer = ask(&mut client, method, path, &headers, b"x").await;
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let words = if accept.contains("v2") { &body["detail"][0]["msg"] } else { &body["errorDescription"] };
            assert_eq!((answer.status, words.is_string()), (403, true), "{method} {path} {}", answer.text());
            assert!(answer.header("x-correlation-id").is_some());
        }
    }
    assert!(site.rows().0.is_empty(), "not even a token is used up");
}

#[tokio::test]
async fn wrong_tokens_get_403_before_anything_else_is_said() {
    let (server, site) = Server::mesh(true).await;
    let mut client = Client::connect(&server).await;
    let good = token("X26ABC1");
    let bad = [
        String::new(),
        "authorization: \r\n".into(),
        "authorization: Basic dXNlcjpwYXNz\r\n".into(),
        format!("authorization: {}\r\n", token("X26ABC2")),
        format!("authorization: {}\r\n", token_at("X26ABC1", "wrong", 0)),
        format!("authorization: {}\r\n", token_at("X26ABC1", "password", 60 * 3)),
        format!("authorization: {}\r\n", token_at("X26ABC1", "password", -60 * 3)),
        format!("authorization: {}\r\n", good.replace(":nonce:", ":nonce:0x")),
        format!("authorization: {good}:extra\r\n"),
        format!("authorization: {}\r\n", "x".repeat(5_000)),
        format!("authorization: {}\u{ff}\r\n", token("X26ABC1")),
    ];
    for (method, path, _) in ROUTES.iter().filter(|r| r.2) {
        for headers in &bad {
            let answer = ask(&mut client, method, path, headers, b"x").await;
            assert_eq!(answer.status, 403, "{method} {path} {headers}");
            assert!(*method == "HEAD" || is_json(&answer), "{method} {path} {}", answer.text());
        }
    }
    assert!(effects(&site).is_empty(), "a wrong token changes nothing");
}

#[tokio::test]
async fn every_route_meets_every_malformed_head_and_body_with_a_documented_answer() {
    let (server, site) = Server::mesh(true).await;
    for (method, path, needs_token) in ROUTES {
        for (what, head, times) in HEADS {
            for length in [0, 10, 70_000] {
                let mut bytes =
                    format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n").into_bytes();
                if *needs_token {
                    bytes.extend_from_slice(format!("authorization: {}\r\n", token("X26ABC1")).as_bytes());
                }
                bytes.extend_from_slice(head);
                bytes.extend_from_slice(&head[head.len() - 1..].repeat(times - 1));
                bytes.extend_from_slice(b"\r\n\r\n");
                bytes.extend_from_slice(&vec![0xff; length]);
                let mut client = Client::connect(&server).await;
                client.head = *method == "HEAD";
                client.send(bytes).await;
                let answer = client.answer().await.unwrap_or_else(|e| panic!("{method} {path} {what} {length}: {e}"));
                let told = || format!("{method} {path} {what} {length}: {} {}", answer.status, answer.text());
                assert!(answer.status < 500, "{}", told());
                assert!(answer.status < 400 || *method == "HEAD" || is_json(&answer), "{}", told());
            }
        }
    }
    let rows = site.rows().0;
    for table in [Table::Messages, Table::Sent, Table::Inbox, Table::Bodies, Table::Handshakes, Table::Uploads] {
        assert!(!rows.keys().any(|key| table.key().prefix().contains(key)), "{table:?} was changed");
    }
}

/// The time that a connection is held to is the one that its client was told: whoever keeps to the header is answered at once.
#[tokio::test]
async fn who_is_refused_for_want_of_room_is_told_for_how_long_its_connection_is_held() {
    let (server, _) = Server::mesh_with(Options { max_requests: 0, ..Options::default() }, false).await;
    let begun = Instant::now();
    loop {
        let mut client = Client::connect(&server).await;
        let refused = ask(&mut client, "GET", "/messageexchange/_ping", "", b"").await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        let told: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        // Who comes again and again without being served is told a longer time by and by: MESH's own second is the least.
        if told > 1 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "told a second for ever");
    }
}

#[tokio::test]
async fn a_token_works_once() {
    let (server, _) = Server::mesh(false).await;
    let mut client = Client::connect(&server).await;
    let headers = format!("authorization: {}\r\n", token("X26ABC1"));
    assert_eq!(ask(&mut client, "GET", "/messageexchange/X26ABC1/count", &headers, b"").await.status, 200);
    let again = ask(&mut client, "GET", "/messageexchange/X26ABC1/inbox", &headers, b"").await;
    assert_eq!(again.status, 403, "{}", again.text());
    assert!(again.text().contains("Error Duplicated Authentication Token"));
}

#[tokio::test]
async fn a_token_whose_request_got_503_may_come_again() {
    let (server, site) = Server::mesh(false).await;
    let mut client = Client::connect(&server).await;
    for why in [Unavailable::Busy, Unavailable::NoLeader, Unavailable::Unknown] {
        let headers = format!("authorization: {}\r\n", token("X26ABC1"));
        site.memory.fail.lock().unwrap().push_back(why);
        let refused = ask(&mut client, "GET", "/messageexchange/X26ABC1/inbox", &headers, b"").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
        assert!(is_json(&refused));
        let again = ask(&mut client, "GET", "/messageexchange/X26ABC1/inbox", &headers, b"").await;
        assert_eq!(again.status, 200, "{}", again.text());
        let third = ask(&mut client, "GET", "/messageexchange/X26ABC1/inbox", &headers, b"").await;
        assert_eq!(third.status, 403, "once is enough");
    }
}

#[tokio::test]
async fn test_endpoints_exist_only_in_test_mode() {
    let (server, _) = Server::mesh(false).await;
    let mut client = Client::connect(&server).await;
    for (method, path, _) in ROUTES.iter().filter(|r| r.1.contains("admin")) {
        assert_eq!(ask(&mut client, method, path, "", b"{}").await.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn headers_of_a_send_are_checked() {
    let (server, site) = Server::mesh(false).await;
    let mut client = Client::connect(&server).await;
    let to = "mex-to: X26ABC2\r\nmex-workflowid: TEST_WORKFLOW\r\n";
    let cases: Vec<(&str, String, &[u8], u16)> = vec![
        ("no recipient", "mex-workflowid: TEST_WORKFLOW\r\n".into(), b"x", 400),
        ("blank recipient", "mex-to:  \r\nmex-workflowid: TEST_WORKFLOW\r\n".into(), b"x", 400),
        ("no workflow", "mex-to: X26ABC2\r\n".into(), b"x", 400),
        ("address as recipient", "mex-to: https://a\r\nmex-workflowid: TEST_WORKFLOW\r\n".into(), b"x", 400),
        ("over-long recipient", format!("mex-to: {}\r\nmex-workflowid: W\r\n", "A".repeat(101)), b"x", 400),
        ("over-long subject", format!("{to}mex-subject: {}\r\n", "é".repeat(501)), b"x", 400),
        ("two subjects", format!("{to}mex-subject: a\r\nmex-subject: b\r\n"), b"x", 400),
        ("tab in subject", format!("{to}mex-subject: a\tb\r\n"), b"x", 400),
        ("bad checksum", format!("{to}mex-content-checksum: a;b\r\n"), b"x", 400),
        ("unknown recipient", "mex-to: NOBODY\r\nmex-workflowid: TEST_WORKFLOW\r\n".into(), b"x", 417),
        ("workflow of others", "mex-to: X26ABC3\r\nmex-workflowid: TEST_WORKFLOW\r\n".into(), b"x", 417),
        ("not from here", format!("{to}mex-from: X26ABC2\r\n"), b"x", 417),
        ("a report", format!("{to}mex-messagetype: REPORT\r\n"), b"x", 417),
        ("chunk 2 first", format!("{to}mex-chunk-range: 2:2\r\n"), b"x", 417),
        ("no body", to.into(), b"", 417),
        ("brotli", format!("{to}content-encoding: br\r\n"), b"x", 422),
    ];
    for (what, headers, body, status) in cases {
        for accept in ["", "accept: application/vnd.mesh.v2+json\r\n"] {
            let headers = format!("authorization: {}\r\n{headers}{accept}", token("X26ABC1"));
            let answer = ask(&mut client, "POST", "/messageexchange/X26ABC1/outbox", &headers, body).await;
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(body["errorDescription"].is_string() || body["detail"][0]["msg"].is_string(), "{what}: {body}");
        }
    }
    let inbox = site.rows().0.into_keys().filter(|k| Table::Inbox.key().prefix().contains(k)).count();
    assert_eq!(inbox, 0, "nothing was sent");
}

#[tokio::test]
async fn messages_of_all_sizes_travel() {
    let (server, site) = Server::mesh(false).await;
    let mut client = Client::connect(&server).await;
    let to = "mex-to: X26ABC2\r\nmex-workflowid: TEST_WORKFLOW\r\nmex-subject: caf\u{e9}\r\n";
    for size in [1, 1_024, INLINE_BODY, INLINE_BODY + 1, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|n| (n % 253) as u8).collect();
        let headers = format!("authorization: {}\r\n{to}", token("X26ABC1"));
        let sent = ask(&mut client, "POST", "/messageexchange/X26ABC1/outbox", &headers, &body).await;
        assert_eq!(sent.status, 202, "{}", sent.text());
        let id =
            serde_json::from_slice::<serde_json::Value>(&sent.body).unwrap()["messageID"].as_str().unwrap().to_owned();

        let headers = format!("authorization: {}\r\n", token("X26ABC2"));
        let list = ask(&mut client, "GET", "/messageexchange/X26ABC2/inbox", &headers, b"").await;
        assert_eq!(list.text(), format!(r#"{{"messages":["{id}"]}}"#));

        let headers = format!("authorization: {}\r\n", token("X26ABC2"));
        let path = format!("/messageexchange/X26ABC2/inbox/{id}");
        let got = ask(&mut client, "GET", &path, &headers, b"").await;
        assert_eq!((got.status, got.body == body), (200, true));
        assert_eq!(got.header("mex-subject"), Some("caf\u{e9}"));
        assert_eq!(got.header("mex-chunk-range"), Some("1:1"));

        let headers = format!("authorization: {}\r\n", token("X26ABC1"));
        let stolen = ask(&mut client, "GET", &format!("/messageexchange/X26ABC1/inbox/{id}"), &headers, b"").await;
        assert_eq!(stolen.status, 403, "{}", stolen.text());

        let headers = format!("authorization: {}\r\n", token("X26ABC2"));
        let done = ask(&mut client, "PUT", &format!("{path}/status/acknowledged"), &headers, b"{\"a\":1}").await;
        assert_eq!((done.status, done.text().to_owned()), (200, format!(r#"{{"messageId":"{id}"}}"#)));
    }
    assert_eq!(site.notes(), 5 * 5, "each interaction left its audit note, the refused one too");
    assert_eq!(site.memory.bodies.lock().unwrap().len(), 2, "only what is above the bound became a blob");
}

#[tokio::test]
async fn a_large_body_without_a_valid_token_is_not_stored() {
    let (server, site) = Server::mesh(false).await;
    let mut client = Client::connect(&server).await;
    let to = "mex-to: X26ABC2\r\nmex-workflowid: TEST_WORKFLOW\r\n";
    let headers = format!("authorization: {}\r\n{to}", token_at("X26ABC1", "wrong", 0));
    let answer = ask(&mut client, "POST", "/messageexchange/X26ABC1/outbox", &headers, &vec![0; 2_000_000]).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(site.memory.bodies.lock().unwrap().is_empty());
    let headers =
        format!("authorization: {}\r\nexpect: 100-continue\r\n{to}content-length: 104857601\r\n", token("X26ABC1"));
    let head = format!("POST /messageexchange/X26ABC1/outbox HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    let answer = client.ask(head).await;
    assert_eq!((answer.status, is_json(&answer)), (413, true), "{}", answer.text());
}
