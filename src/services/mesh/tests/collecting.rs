//! Handshake, count, download, head, acknowledge (mesh.md §6.1, §6.3 to §6.6).

use super::*;
use crate::store::tables::Table;

const CLIENT: [(&str, &str); 3] = [("mex-clientversion", "c 1"), ("mex-osname", "Linux"), ("mex-osversion", "6")];

#[test]
fn a_handshake_by_post_and_by_get() {
    for mut site in sites() {
        let post = site.ask("POST", A, "", &CLIENT, b"");
        assert_eq!((post.status, json(&post)), (200, serde_json::json!({"mailboxId": A})));
        let mut headers = CLIENT.to_vec();
        headers.push(("accept", "*/*"));
        assert_eq!(json(&site.ask("GET", A, "", &headers, b""))["mailboxId"], A);
        headers[3] = V2;
        let second = site.ask("GET", A, "", &headers, b"");
        assert_eq!((second.status, second.body), (200, Body::Empty));
        let partition = site.partition_of(A.as_bytes());
        let row = rows::handshake(&site.partitions[partition], A).unwrap().unwrap();
        assert_eq!((row.at, row.client_version.as_str()), (NOW, "c 1"));
        let missing = site.ask("POST", A, "", &CLIENT[..1], b"");
        assert_eq!((missing.status, json(&missing)["detail"].as_array().unwrap().len()), (400, 2));
        assert_eq!(site.notes.last().unwrap().detail, "c 1");
        assert_eq!(site.ask("POST", A, "update", &[], b"").body, Body::Empty);
    }
}

#[test]
fn a_count_in_both_versions() {
    for mut site in sites() {
        for _ in 0..3 {
            site.send(b"x", &[]);
        }
        let first = json(&site.get(B, "count"));
        assert_eq!((&first["count"], &first["allResultsIncluded"]), (&3.into(), &true.into()));
        assert!(first["internalID"].is_string());
        assert_eq!(json(&site.get2(B, "count")), serde_json::json!({"count": 3}));
    }
}

#[test]
fn who_may_download_and_who_may_look() {
    for mut site in sites() {
        let id = site.send(b"x", &[]);
        let path = format!("inbox/{id}");
        for version in [false, true] {
            let mut get =
                |mailbox, path: &str| if version { site.get2(mailbox, path) } else { site.get(mailbox, path) };
            assert_eq!(get(B, &path).status, 200);
            assert_eq!(error(&get(A, &path)), (403, String::new(), "Forbidden".into()));
            assert_eq!(error(&get(C, &path)), (403, String::new(), "Forbidden".into()), "a stranger");
            for unknown in ["inbox/20200101000000000000_ABCDEF", "inbox/nonsense", &format!("{path}/2")] {
                assert_eq!(error(&get(B, unknown)), (404, "20".into(), "Message does not exist".into()));
            }
            assert_eq!(get(B, &format!("{path}/0")).status, 400);
            assert_eq!(get(B, &format!("{path}/one")).status, 400);
        }
        for (mailbox, from, status) in [(B, A, 200), (A, A, 200), (C, "", 404)] {
            let head = site.ask("HEAD", mailbox, &path, &[], b"");
            assert_eq!((head.status, header(&head, "mex-from").as_str()), (status, from), "{mailbox}");
            if status == 200 {
                assert_eq!((header(&head, "mex-to").as_str(), head.body), (B, Body::Empty));
            }
        }
    }
}

#[test]
fn an_acknowledged_message_is_gone_and_stays_acknowledged() {
    for mut site in sites() {
        let id = site.send(b"x", &[]);
        site.wait(5000);
        let first = site.acknowledge(B, &id);
        assert_eq!((first.status, json(&first)), (200, serde_json::json!({"messageId": id})));
        assert!(site.inbox(B).is_empty());
        assert_eq!(json(&site.get2(B, "count"))["count"], 0);
        let headers = [V2, ("content-type", "application/octet-stream")];
        let again = site.ask("PUT", B, &format!("inbox/{id}/status/acknowledged"), &headers, b"{}");
        assert_eq!((again.status, again.body), (200, Body::Empty));
        assert_eq!(json(&site.get2(B, "count"))["count"], 0);
        assert_eq!(
            error(&site.get(B, &format!("inbox/{id}"))),
            (410, "Message already accepted".into(), "Message no longer available for download".into())
        );
        assert_eq!(site.ask("HEAD", B, &format!("inbox/{id}"), &[], b"").status, 200);
        assert_eq!(site.status(&id), "acknowledged");
        let tracked = json(&site.get(A, &format!("outbox/tracking?messageID={id}")));
        assert_eq!(tracked["downloadTimestamp"], time::compact(NOW + 5000));
        assert_eq!(error(&site.acknowledge(A, &id)).0, 403);
        assert_eq!(error(&site.acknowledge(B, "20200101000000000000_ABCDEF")).1, "20");
        assert_eq!(site.rows(Table::Bodies), 0);
    }
}

#[test]
fn what_is_unknown_or_wrong_by_method() {
    let mut site = Site::new(1, MeshOptions::default());
    let response = site.raw("GET", "/nowhere", &[], BodyInfo::None);
    assert_eq!((response.status, json(&response)), (404, serde_json::json!({"detail": "Not Found"})));
    let response = site.raw("PATCH", "/messageexchange/X26ABC1/outbox", &[], BodyInfo::None);
    assert_eq!((response.status, header(&response, "allow").as_str()), (405, "POST"));
    assert_eq!(json(&response), serde_json::json!({"detail": "Method Not Allowed"}));
    let ping = site.raw("GET", "/messageexchange/_ping", &[], BodyInfo::None);
    assert_eq!((ping.status, &json(&ping)["status"], &json(&ping)["outcome"]), (200, &"running".into(), &"Yes".into()));
    let response = site.mesh.unavailable(503, "come again", "id-1");
    assert_eq!(json(&response), serde_json::json!({"message": "come again", "internal_id": "id-1"}));
}

#[test]
fn rows_of_another_release_are_a_fault_not_an_absence() {
    let mut site = Site::new(1, MeshOptions::default());
    let id = MessageId::parse(&site.send(b"x", &[])).unwrap();
    let key = rows::message_key(Table::Messages, B, id).build();
    site.partitions[0].0.insert(key, Bytes::from_static(&[9]));
    let route = route("GET", &format!("/messageexchange/X26ABC2/inbox/{id}"), "");
    let token = site.token(B);
    let ask = site.mesh.ask(
        &route,
        &header_map(&[("authorization", &token)]),
        BodyInfo::None,
        &site.registry,
        Attempt::default(),
    );
    let ask = ask.unwrap();
    let command = Command { payload: ask.calls[0].payload.clone(), ..Default::default() };
    assert!(MeshCommand::decode(&command.payload).is_ok());
    let failed = site.decide(0, |mesh, draft, stamp| mesh.decide(draft, stamp, &command).is_err());
    assert!(failed);
    assert_eq!(Status::named("ACCEPTED"), Some(Status::Accepted));
}
