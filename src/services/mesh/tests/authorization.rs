//! Tokens: the specification's vectors, its checks in their order, replay, clock, release (mesh.md §3).

use super::*;
use crate::{
    services::directory::command::{Disable, Kind},
    store::tables::Table,
};

fn handshake(site: &mut Site, mailbox: &str, authorization: &str) -> Response {
    let headers =
        [("authorization", authorization), ("mex-clientversion", "t"), ("mex-osname", "t"), ("mex-osversion", "t")];
    site.raw("POST", &format!("/messageexchange/{mailbox}"), &headers, BodyInfo::None)
}

#[test]
fn the_published_vectors_hold() {
    for (key, message, digest) in [
        (
            "TestKey",
            "X26ABC1:bd0e2bd5-218e-41d0-83a9-73fdec414803:0:password:202005041305",
            "1d7da1305d2c4f169b097f4e7fddbc8dfba024de2ea0fdee858b64536f2a90bc",
        ),
        (
            "TestKey",
            "X26ABC1:bd0e2bd5-218e-41d0-83a9-73fdec414803:1:password:202005041305",
            "b35be3a6bdca886d8117b2f29cc9f3f90ad607efbc88c20aa41a0f3d5e65c863",
        ),
        (
            "BackBone",
            "AMP01HC001:jt81ti68rlvta7379p3ng949rv:001:P@ss:w0rd!:202611220059",
            "ba5c5fbd0b0bb83a06ec327c7c72c9d1558810df00301016740759671d89b499",
        ),
    ] {
        let parts: Vec<&str> = message.split(':').collect();
        let (mailbox, time) = (parts[0], parts[parts.len() - 1]);
        let password = parts[3..parts.len() - 1].join(":");
        let now = time::parse_compact(time).unwrap();
        let mut site = Site::new(1, MeshOptions::default());
        site.mesh = Mesh::new(MeshOptions { shared_key: key.as_bytes().to_vec(), ..Default::default() });
        site.now = now;
        let line = format!(r#"{{"mailbox_id":"{mailbox}","ods_code":"X26","password":"{password}"}}"#);
        site.register(lines::parse(&line).unwrap().unwrap());
        let token = format!("NHSMESH {mailbox}:{}:{}:{time}:{digest}", parts[1], parts[2]);
        assert_eq!(handshake(&mut site, mailbox, &token).status, 200, "{message}");
    }
}

#[test]
fn every_refusal_has_its_words_in_both_versions() {
    for mut site in sites() {
        let good = token(A, "n", "0", "password", NOW);
        let wrong_password = token(A, "n", "0", "wrong", NOW);
        let unknown = token("NOBODY", "n", "0", "password", NOW);
        let switched_off = token(C, "n", "0", "password", NOW);
        site.register(Disable { kind: Kind::Mailbox as u8, id: C.into(), ..Default::default() });
        for (mailbox, value, code, words) in [
            (A, "", "", "Error reading from Authorization header"),
            (B, good.as_str(), "", "Mailbox id does not match token"),
            (A, "NHSMESH X26ABC1:n:x:202611220059:00", "", "Error reading from Authorization header"),
            (A, "Bearer X26ABC1:n:0:202611220059:00", "", "Error reading from Authorization header"),
            ("NOBODY", unknown.as_str(), "EPL-151", "No mailbox matched"),
            (C, switched_off.as_str(), "", "Request Received from Inactive Mailbox"),
            (A, "NHSMESH X26ABC1:n:0:notatime0000:00", "", "Invalid Authentication Token"),
            (A, wrong_password.as_str(), "", "Invalid Authentication Token"),
        ] {
            for version in ["application/json", V2.1] {
                let headers = [("authorization", value), ("accept", version)];
                // Even a request that is wrong in every other way hears of its token first.
                for target in ["/inbox?max_results=1", "/outbox", ""] {
                    let method = if target == "/outbox" { "POST" } else { "GET" };
                    let path = format!("/messageexchange/{mailbox}{target}");
                    let response = site.raw(method, &path, &headers, BodyInfo::None);
                    assert_eq!(error(&response), (403, code.to_owned(), words.to_owned()), "{value} {path}");
                }
            }
        }
        assert_eq!(site.rows(Table::Tokens), 0, "nobody may burn another's nonces");
        assert!(site.notes.iter().filter(|n| n.interaction == "mesh.send").count() >= 16, "refusals are noted too");
    }
}

#[test]
fn a_missing_or_doubled_header_is_unreadable() {
    let mut site = Site::new(1, MeshOptions::default());
    let good = token(A, "n", "0", "password", NOW);
    let path = "/messageexchange/X26ABC1/count";
    let words = "Error reading from Authorization header";
    assert_eq!(error(&site.raw("GET", path, &[], BodyInfo::None)).2, words);
    let twice = [("authorization", good.as_str()), ("authorization", good.as_str())];
    assert_eq!(error(&site.raw("GET", path, &twice, BodyInfo::None)).2, words);
}

#[test]
fn a_token_works_once_whatever_its_timestamp() {
    for mut site in sites() {
        let first = token(A, "n", "7", "password", NOW);
        assert_eq!(handshake(&mut site, A, &first).status, 200);
        assert_eq!(error(&handshake(&mut site, A, &first)).2, "Error Duplicated Authentication Token");
        // The same nonce and count at another time, in other windows, is the same token.
        for later in [60_000, 60 * 60_000, 119 * 60_000] {
            for time in [NOW - later, NOW + later] {
                let again = token(A, "n", "7", "password", time);
                assert_eq!(error(&handshake(&mut site, A, &again)).2, "Error Duplicated Authentication Token");
            }
        }
        // Counts in any order, the same nonce in another mailbox, and other spellings of a count are other tokens.
        for (mailbox, count) in [(A, "9"), (A, "8"), (B, "7"), (A, "007")] {
            assert_eq!(handshake(&mut site, mailbox, &token(mailbox, "n", count, "password", NOW)).status, 200);
        }
        assert_eq!(
            handshake(&mut site, A, &first.to_uppercase().replace("NHSMESH", "nhsmesh").replace(":N:", ":m:")).status,
            403
        );
    }
}

#[test]
fn the_clock_may_be_two_hours_off() {
    let mut site = Site::new(1, MeshOptions::default());
    let minute = 60_000;
    for (n, (time, status)) in [
        (NOW - 120 * minute, 200),
        (NOW + 120 * minute, 200),
        (NOW - 122 * minute, 403),
        (NOW + 121 * minute, 403),
        (NOW + 60 * minute, 200),
    ]
    .into_iter()
    .enumerate()
    {
        let token = token(A, "n", &n.to_string(), "password", time);
        assert_eq!(handshake(&mut site, A, &token).status, status, "{n}");
    }
}

#[test]
fn the_scheme_may_be_missing_and_the_hash_in_upper_case() {
    let mut site = Site::new(1, MeshOptions::default());
    let bare = token(A, "bd0e2bd5218e41d083a973fdec414803", "001", "password", NOW).replace("NHSMESH ", "");
    assert_eq!(handshake(&mut site, A, &bare).status, 200);
    let full = token(A, "n", "1", "password", NOW);
    let (start, hash) = full.rsplit_once(':').unwrap();
    assert_eq!(handshake(&mut site, "x26abc1", &format!("{start}:{}", hash.to_uppercase())).status, 200);
}

#[test]
fn a_refused_request_has_used_its_token_all_the_same() {
    let mut site = Site::new(1, MeshOptions::default());
    let token = token(A, "n", "1", "password", NOW);
    let headers = [("authorization", token.as_str())];
    let first = site.raw("GET", "/messageexchange/X26ABC1/inbox?max_results=1", &headers, BodyInfo::None);
    assert_eq!(first.status, 400);
    let second = site.raw("GET", "/messageexchange/X26ABC1/inbox", &headers, BodyInfo::None);
    assert_eq!(error(&second).2, "Error Duplicated Authentication Token");
}

/// One send, as an attempt with a number, as the edge makes it.
fn attempt(site: &mut Site, token: &str, number: u64, forgiven: Vec<u64>, body: &[u8]) -> (super::super::Ask, Reply) {
    let headers = header_map(&[("authorization", token), ("mex-to", B), ("mex-workflowid", "TEST_WORKFLOW")]);
    let route = route("POST", "/messageexchange/X26ABC1/outbox", "");
    let ask = site.mesh.ask(&route, &headers, inline(body), &site.registry, Attempt { number, forgiven }).unwrap();
    let payload = ask.calls[0].payload.clone();
    let reply = site.command(A.as_bytes(), payload);
    (ask, reply)
}

#[test]
fn a_released_token_comes_again_once_and_makes_no_second_message() {
    for mut site in sites() {
        let token = token(A, "n", "1", "password", NOW);
        let (ask, first) = attempt(&mut site, &token, 11, vec![], b"body");
        // The engine's own retry of the very same command gets the same answer.
        let (_, retried) = attempt(&mut site, &token, 11, vec![], b"body");
        assert_eq!(first.message, retried.message);
        assert_eq!(attempt(&mut site, &token, 12, vec![], b"body").1.problem.unwrap().status, 403);
        let release = site.mesh.release(&ask).unwrap();
        site.command(&release.key, release.payload.clone());
        let (_, again) = attempt(&mut site, &token, 13, vec![], b"body");
        assert_eq!(again.message, first.message);
        assert_eq!(attempt(&mut site, &token, 14, vec![], b"body").1.problem.unwrap().status, 403);
        // A late release of the first attempt does not free the token for a third.
        site.command(&release.key, release.payload);
        assert_eq!(attempt(&mut site, &token, 15, vec![], b"body").1.problem.unwrap().status, 403);
        // What this node knows it has answered with 503 it may let pass without a release.
        let (_, forgiven) = attempt(&mut site, &token, 16, vec![13], b"body");
        assert_eq!(forgiven.message, first.message);
        assert_eq!(site.inbox(B).len(), 1);
    }
}

#[test]
fn the_last_chunk_again_after_an_unknown_outcome_gets_its_answer_again() {
    for mut site in sites() {
        let id = site.send(b"one", &[("mex-chunk-range", "1:2")]);
        let token = token(A, "n", "7", "password", NOW);
        let chunk = |site: &mut Site, number: u64, body: &[u8]| {
            let headers = header_map(&[("authorization", token.as_str()), ("mex-chunk-range", "2:2")]);
            let route = route("POST", &format!("/messageexchange/X26ABC1/outbox/{id}/2"), "");
            let attempt = Attempt { number, forgiven: vec![] };
            let ask = site.mesh.ask(&route, &headers, inline(body), &site.registry, attempt).unwrap();
            let reply = site.command(A.as_bytes(), ask.calls[0].payload.clone());
            (ask, reply)
        };
        let (ask, first) = chunk(&mut site, 1, b"two");
        assert_eq!(first.problem, None);
        let release = site.mesh.release(&ask).unwrap();
        site.command(&release.key, release.payload.clone());
        let (_, again) = chunk(&mut site, 2, b"two");
        assert_eq!((again.problem, again.message), (None, first.message), "it was done, and that is the answer");
        site.command(&release.key, site.mesh.release(&ask).unwrap().payload);
        assert!(chunk(&mut site, 3, b"three").1.problem.is_some(), "another chunk is no repeat");
    }
}

/// With a token of its own a chunk is a new request: once the message is complete it is refused (mesh.md §8), but where
/// the site itself said that it does not know, and to come again.
#[test]
fn the_last_chunk_with_a_fresh_token_is_refused_unless_the_site_said_to_come_again() {
    for mut site in sites() {
        let id = site.send(b"one", &[("mex-chunk-range", "1:2")]);
        let path = format!("/messageexchange/X26ABC1/outbox/{id}/2");
        let mut count = 0;
        let mut chunk = |site: &mut Site, body: &[u8]| {
            count += 1;
            let token = token(A, "n", &count.to_string(), "password", NOW);
            let headers = header_map(&[("authorization", token.as_str()), ("mex-chunk-range", "2:2")]);
            let attempt = Attempt { number: count, forgiven: vec![] };
            let ask =
                site.mesh.ask(&route("POST", &path, ""), &headers, inline(body), &site.registry, attempt).unwrap();
            let reply = site.command(A.as_bytes(), ask.calls[0].payload.clone());
            (ask, reply)
        };
        let (ask, first) = chunk(&mut site, b"two");
        assert_eq!(first.problem, None);
        let refused = chunk(&mut site, b"two").1.problem.unwrap();
        assert_eq!((refused.status, refused.message_id.to_string()), (423, id.clone()), "it names what is complete");
        let release = site.mesh.release(&ask).unwrap();
        site.command(&release.key, release.payload);
        for _ in 0..2 {
            let (_, again) = chunk(&mut site, b"two");
            assert_eq!((again.problem, &again.message), (None, &first.message));
        }
        assert_eq!(chunk(&mut site, b"TWO").1.problem.unwrap().status, 423, "another chunk is no repeat");
        assert_eq!(site.inbox(B).len(), 1);
        assert_eq!(text(&site.get(B, &format!("inbox/{id}/2"))), b"two");
        site.acknowledge(B, &id);
        assert_eq!(chunk(&mut site, b"two").1.problem, None, "also when it was collected meanwhile");
    }
}

#[test]
fn a_released_token_with_another_body_is_another_send() {
    let mut site = Site::new(1, MeshOptions::default());
    let token = token(A, "n", "1", "password", NOW);
    let (ask, first) = attempt(&mut site, &token, 1, vec![], b"one");
    let release = site.mesh.release(&ask).unwrap();
    site.command(&release.key, release.payload);
    let (_, second) = attempt(&mut site, &token, 2, vec![], b"two");
    assert_ne!(first.message, second.message);
    assert_eq!(site.inbox(B).len(), 2);
}

#[test]
fn a_body_that_was_not_read_leaves_the_token_unused() {
    let mut site = Site::new(1, MeshOptions::default());
    let token = token(A, "n", "1", "password", NOW);
    let headers = [("authorization", token.as_str()), ("mex-to", B), ("mex-workflowid", "TEST_WORKFLOW")];
    let response = site.raw("POST", "/messageexchange/X26ABC1/outbox", &headers, BodyInfo::Skipped);
    assert_eq!((response.status, header(&response, "retry-after").as_str()), (503, "1"));
    let response = site.raw("POST", "/messageexchange/X26ABC1/outbox", &headers, inline(b"x"));
    assert_eq!(response.status, 202);
    let bad = header_map(&[("authorization", "NHSMESH X26ABC1:n:1:202611220059:00")]);
    let route = route("POST", "/messageexchange/X26ABC1/outbox", "");
    assert!(!site.mesh.worth_reading(&route, &bad, &site.registry, NOW));
    assert!(site.mesh.worth_reading(&route, &header_map(&headers), &site.registry, NOW));
}

#[test]
fn used_tokens_are_swept_after_the_span_and_not_before() {
    for mut site in sites() {
        for n in 0..50 {
            let time = NOW + n * 60_000;
            assert_eq!(handshake(&mut site, A, &token(A, "n", &n.to_string(), "password", time)).status, 200);
        }
        let used = site.rows(Table::Tokens);
        site.wait(2 * 60 * 60 * 1000);
        assert_eq!(site.rows(Table::Tokens), used);
        site.wait(8 * 60 * 60 * 1000);
        assert_eq!(site.rows(Table::Tokens), 0);
    }
}
