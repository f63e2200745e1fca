//! The client compatibility checklist (mesh.md §17), item by item, as far as no socket is needed. Items 3 and 14
//! (transfer coding, TLS) are the listener's and are held by `tests/edge`.

use super::*;

const CLIENT: [(&str, &str); 3] = [("mex-clientversion", "c"), ("mex-osname", "o"), ("mex-osversion", "v")];

#[test]
fn item_1_handshake_by_post_and_get() {
    for mut site in sites() {
        let any = [CLIENT[0], CLIENT[1], CLIENT[2], ("accept", "*/*")];
        for method in ["POST", "GET"] {
            assert_eq!(json(&site.ask(method, A, "", &any, b"")), serde_json::json!({"mailboxId": A}));
        }
    }
}

#[test]
fn item_2_nonces_of_all_habits() {
    for mut site in sites() {
        let guid = "bd0e2bd5-218e-41d0-83a9-73fdec414803";
        let tokens = [
            token(A, guid, "0", "password", NOW),
            token(A, guid, "1", "password", NOW),
            token(A, "0c4e2bd5-218e-41d0-83a9-73fdec414803", "0", "password", NOW),
            token(A, &guid.replace('-', ""), "0", "password", NOW),
            token(A, "jt81ti68rlvta7379p3ng949rv", "001", "password", NOW),
        ];
        for token in tokens {
            let headers = [("authorization", token.as_str())];
            assert_eq!(site.raw("GET", "/messageexchange/X26ABC1/count", &headers, BodyInfo::None).status, 200);
        }
    }
}

#[test]
fn items_4_and_5_send_without_from_and_errors_that_parse() {
    for mut site in sites() {
        site.send(b"x", &[]);
        for version in [("accept", "*/*"), V2] {
            let unknown = [("mex-to", "NOBODY"), ("mex-workflowid", "W"), version];
            let response = site.ask("POST", A, "outbox", &unknown, b"x");
            assert_eq!((response.status, error(&response).2.as_str()), (417, "Unregistered to address"));
            let missing = site.ask("POST", A, "outbox", &[version], b"x");
            assert!(json(&missing)["detail"][0]["msg"].is_string());
            let token = site.token(A);
            let headers =
                [("authorization", token.as_str()), ("mex-to", B), ("mex-workflowid", "TEST_WORKFLOW"), version];
            let large = site.raw("POST", "/messageexchange/X26ABC1/outbox", &headers, BodyInfo::TooLarge);
            assert_eq!(large.status, 413);
            json(&large);
            json(&site.raw("POST", "/messageexchange/X26ABC1/outbox", &[version], BodyInfo::None));
        }
    }
}

#[test]
fn item_6_the_next_link_as_it_is() {
    for mut site in sites() {
        let sent: Vec<String> = (0..11).map(|_| site.send(b"x", &[])).collect();
        let first = json(&site.get2(B, "inbox?max_results=10"));
        let token = site.token(B);
        let next = first["links"]["next"].as_str().unwrap();
        let second = site.raw("GET", next, &[("authorization", &token), V2], BodyInfo::None);
        assert_eq!(json(&second)["messages"], serde_json::json!([sent[10]]));
    }
}

#[test]
fn items_7_and_8_chunk_one_and_the_range() {
    for mut site in sites() {
        let id = site.send(b"x", &[]);
        for path in [format!("inbox/{id}"), format!("inbox/{id}/1")] {
            let got = site.get2(B, &path);
            assert_eq!((got.status, header(&got, "mex-chunk-range").as_str()), (200, "1:1"));
        }
        let id = site.send(b"x", &[("mex-chunk-range", "1:2")]);
        let done = site.ask("POST", A, &format!("outbox/{id}/2"), &[("mex-chunk-range", "2:2"), V2], b"y");
        // Item 9: the answer to a chunk is JSON.
        assert_eq!(json(&done)["message_id"], id.as_str());
        let got = site.get2(B, &format!("inbox/{id}/1"));
        assert_eq!((got.status, header(&got, "mex-chunk-range").as_str()), (206, "1:2"));
    }
}

#[test]
fn items_10_11_12_and_16_names_cases_and_strays() {
    // Lower-case header names are checked on every response of every test.
    for mut site in sites() {
        let id = site.send(b"x", &[("content-encoding", "GZIP"), ("user_agent", "x"), ("mex-whatever", "x")]);
        let headers = [("content-type", "application/octet-stream")];
        let path = format!("inbox/{id}/status/acknowledged");
        assert_eq!(site.ask("PUT", B, &path, &headers, br#"{"some":"json"}"#).status, 200);
    }
}

#[test]
fn item_13_an_identical_token_after_503() {
    for mut site in sites() {
        let id = site.send(b"x", &[]);
        let token = site.token(B);
        let headers = header_map(&[("authorization", &token)]);
        let requests = [("GET", format!("inbox/{id}")), ("PUT", format!("inbox/{id}/status/acknowledged"))];
        for (method, path) in requests {
            let route = route(method, &format!("/messageexchange/{B}/{path}"), "");
            for (number, status) in [(1, None), (2, Some(403))] {
                let attempt = Attempt { number: number + site.sequence, forgiven: vec![] };
                let ask = site.mesh.ask(&route, &headers, BodyInfo::None, &site.registry, attempt).unwrap();
                let reply = site.command(B.as_bytes(), ask.calls[0].payload.clone());
                assert_eq!(reply.problem.map(|p| p.status), status, "{method}");
                if status.is_none() {
                    let release = site.mesh.release(&ask).unwrap();
                    site.command(&release.key, release.payload);
                    let attempt = Attempt { number: 1_000_000 + site.sequence, forgiven: vec![] };
                    let again = site.mesh.ask(&route, &headers, BodyInfo::None, &site.registry, attempt).unwrap();
                    let reply = site.command(B.as_bytes(), again.calls[0].payload.clone());
                    assert_eq!(reply.problem, None, "{method}");
                    if method == "GET" {
                        let release = site.mesh.release(&again).unwrap();
                        site.command(&release.key, release.payload);
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn item_15_what_old_clients_read() {
    for mut site in sites() {
        let id = site.send(b"x", &[("mex-localid", "L")]);
        assert_eq!(json(&site.get(B, "inbox")), serde_json::json!({"messages": [id]}));
        for path in [format!("outbox/tracking?messageID={id}"), "outbox/tracking/L".to_owned()] {
            let body = json(&site.get(A, &path));
            assert_eq!((&body["messageId"], &body["status"]), (&id.as_str().into(), &"Accepted".into()));
        }
        let legacy = site.raw("GET", "/endpointlookup/mesh/X26/TEST_WORKFLOW", &[], BodyInfo::None);
        assert_eq!(json(&legacy)["results"][0]["address"], B);
    }
}
