//! Lookup by organisation and workflow, by workflow, mailbox details, and the test mode (mesh.md §11.1, §15).

use super::*;
use crate::services::directory::command::{Disable, Kind};

fn get(site: &mut Site, target: &str, headers: &[(&str, &str)]) -> Response {
    site.raw("GET", target, headers, BodyInfo::None)
}

#[test]
fn endpoints_of_an_organisation_in_both_versions() {
    for mut site in sites() {
        let path = "/messageexchange/endpointlookup/x26/TEST_WORKFLOW2";
        let second = get(&mut site, path, &[V2]);
        assert_eq!(header(&second, "content-type"), V2.1);
        let expected = serde_json::json!({"results": [
            {"mailbox_id": A, "mailbox_name": "TESTMB1"},
            {"mailbox_id": B, "mailbox_name": "TESTMB2"},
        ]});
        assert_eq!(json(&second), expected);
        for (path, headers) in [(path, vec![]), ("/endpointlookup/mesh/X26/TEST_WORKFLOW2", vec![V2])] {
            let first = json(&get(&mut site, path, &headers));
            let line = serde_json::json!({"address": A, "description": "TESTMB1", "endpoint_type": "MESH"});
            assert_eq!(first["results"][0], line);
            assert!(first["query_id"].as_str().unwrap().starts_with("20261122005933"));
        }
        assert_eq!(site.last_note(), ("mesh.lookup", "ok"));
        let none = get(&mut site, "/messageexchange/endpointlookup/X99/TEST_WORKFLOW2", &[V2]);
        assert_eq!((none.status, json(&none)), (200, serde_json::json!({"results": []})));
        let other = get(&mut site, "/messageexchange/endpointlookup/X26/test_workflow2", &[V2]);
        assert_eq!(json(&other)["results"], serde_json::json!([]));
        assert_eq!(get(&mut site, "/messageexchange/endpointlookup/%20/W", &[]).status, 400);
        assert_eq!(
            get(&mut site, "/messageexchange/endpointlookup/X26/W", &[("accept", "application/vnd.mesh.vX+json")])
                .status,
            400
        );
    }
}

#[test]
fn mailboxes_of_a_workflow() {
    for mut site in sites() {
        let path = "/messageexchange/workflowsearch/TEST_WORKFLOW_ACK";
        let expected = serde_json::json!({"results": [
            {"mailbox_id": A, "mailbox_name": "TESTMB1"},
            {"mailbox_id": C, "mailbox_name": "TESTMB3"},
        ]});
        assert_eq!(json(&get(&mut site, path, &[V2])), expected);
        assert_eq!(json(&get(&mut site, path, &[])), expected);
        site.register(Disable { kind: Kind::Mailbox as u8, id: C.into(), ..Default::default() });
        assert_eq!(json(&get(&mut site, path, &[]))["results"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn details_of_a_mailbox_hold_no_password() {
    for mut site in sites() {
        let response = get(&mut site, "/messageexchange/mailbox/x26abc1", &[]);
        let expected = serde_json::json!({
            "mailbox_id": A, "mailbox_name": "TESTMB1", "billing_entity": "England", "ods_code": "X26",
            "org_code": "X26", "org_name": "Org", "active": true
        });
        assert_eq!((response.status, json(&response)), (200, expected));
        assert_eq!(get(&mut site, "/messageexchange/mailbox/NOBODY", &[]).status, 404);
    }
}

#[test]
fn the_test_mode_is_not_there_where_it_is_off() {
    let mut site = Site::new(1, MeshOptions::default());
    site.send(b"x", &[]);
    for (method, path) in [
        ("DELETE", "/admin/reset"),
        ("DELETE", "/messageexchange/admin/reset/X26ABC2"),
        ("POST", "/messageexchange/admin/report"),
        ("POST", "/admin/message/20200101000000000000_ABCDEF/event"),
        ("GET", "/admin/mailbox/X26ABC1"),
        ("GET", "/admin/message/20200101000000000000_ABCDEF"),
    ] {
        assert_eq!(site.raw(method, path, &[], BodyInfo::None).status, 404, "{path}");
    }
    // Not even for a command that does not come from the edge.
    let reset = super::super::command::Reset { mailbox: B.into(), ..Default::default() };
    let reply = site.command(B.as_bytes(), MeshCommand::from(reset).encode());
    assert_eq!(reply.problem.unwrap().status, 404);
    assert_eq!(site.inbox(B).len(), 1);
}

#[test]
fn the_test_mode_resets_one_mailbox_or_all() {
    for partitions in [1, 3] {
        let mut site = Site::new(partitions, MeshOptions { test_endpoints: true, ..Default::default() });
        for _ in 0..3 {
            site.send(b"x", &[("mex-localid", "L")]);
            site.send_to(B, C, "TEST_WORKFLOW_ACK", b"x", &[("mex-chunk-range", "1:2")]);
        }
        assert_eq!(site.raw("DELETE", "/admin/reset/NOBODY", &[], BodyInfo::None).status, 404);
        let one = site.raw("DELETE", "/admin/reset/x26abc2", &[], BodyInfo::None);
        assert_eq!((one.status, json(&one)), (200, serde_json::json!({"message": "all mailboxes reset"})));
        assert!(site.inbox(B).is_empty());
        assert_eq!(json(&site.get2(B, "count"))["count"], 0);
        assert_eq!(site.get(A, "outbox/tracking/L").status, 300);
        assert_eq!(site.raw("DELETE", "/messageexchange/admin/reset", &[], BodyInfo::None).status, 200);
        assert_eq!(site.get(A, "outbox/tracking/L").status, 404);
        use crate::store::tables::Table as T;
        for table in [T::Messages, T::Bodies, T::Inbox, T::Sent, T::LocalIds, T::Uploads, T::UploadParts, T::MessageIds]
        {
            assert_eq!(site.rows(table), 0, "{table:?}");
        }
    }
}

#[test]
fn the_test_mode_makes_reports_and_events() {
    for partitions in [1, 3] {
        let mut site = Site::new(partitions, MeshOptions { test_endpoints: true, ..Default::default() });
        let body = br#"{"mailbox_id":"X26ABC1","code":"21","description":"words","workflow_id":"W","subject":"S","local_id":"L","status":"error","file_name":"f"}"#;
        let made = site.raw("POST", "/messageexchange/admin/report", &[], inline(body));
        let id = json(&made)["message_id"].as_str().unwrap().to_owned();
        assert_eq!(site.inbox(A), std::slice::from_ref(&id));
        let got = site.get(A, &format!("inbox/{id}"));
        for (name, value) in
            [("mex-statuscode", "21"), ("mex-statusevent", "TRANSFER"), ("mex-subject", "S"), ("mex-filename", "f")]
        {
            assert_eq!(header(&got, name), value);
        }
        let body = br#"{"mailbox_id":"X26ABC1","code":"21","description":"words","workflow_id":"W","subject":"S","status":"undeliverable"}"#;
        let made = site.raw("POST", "/messageexchange/admin/report", &[], inline(body));
        let got = site.get(A, &format!("inbox/{}", json(&made)["message_id"].as_str().unwrap()));
        assert_eq!((header(&got, "mex-statuscode").as_str(), header(&got, "mex-subject").as_str()), ("14", "NDR: S"));
        let nobody = br#"{"mailbox_id":"NOBODY","workflow_id":"W","status":"undeliverable"}"#;
        assert_eq!(site.raw("POST", "/messageexchange/admin/report", &[], inline(nobody)).status, 404);

        let id = site.send(b"x", &[]);
        let event = |site: &mut Site, status: &str| {
            let body = format!(r#"{{"status":"{status}","code":"13","event":"SEND","description":"words"}}"#);
            site.raw("POST", &format!("/admin/message/{id}/event"), &[], inline(body.as_bytes())).status
        };
        assert_eq!(event(&mut site, "error"), 200);
        assert_eq!((site.inbox(B).len(), site.status(&id).as_str()), (0, "error"));
        assert_eq!(event(&mut site, "accepted"), 200);
        assert_eq!((site.inbox(B).len(), site.status(&id).as_str()), (1, "accepted"));
        let unknown = "/admin/message/20200101000000000000_ABCDEF/event";
        assert_eq!(site.raw("POST", unknown, &[], inline(br#"{"status":"error"}"#)).status, 404);
        let details = site.raw("GET", "/admin/mailbox/X26ABC1", &[], BodyInfo::None);
        assert_eq!(json(&details)["mailbox_id"], A);
    }
}

#[test]
fn bad_bodies_of_the_test_mode_are_refused_and_change_nothing() {
    let mut site = Site::new(3, MeshOptions { test_endpoints: true, ..Default::default() });
    let id = site.send(b"x", &[]);
    let before = format!("{:?}", site.partitions.iter().map(|p| &p.0).collect::<Vec<_>>());
    let good = r#""mailbox_id":"X26ABC1","workflow_id":"W""#;
    for (body, field) in [
        (String::new(), "json"),
        ("{".into(), "json"),
        ("[]".into(), "json"),
        ("[".repeat(10_000), "json"),
        ("{}".into(), "status"),
        (format!(r#"{{{good},"status":"lost"}}"#), "status"),
        (format!(r#"{{{good},"status":"error","description":"d"}}"#), "code"),
        (format!(r#"{{{good},"status":"undeliverable","subject":7}}"#), "subject"),
        (format!(r#"{{{good},"status":"undeliverable","subject":"a\u0000"}}"#), "subject"),
        (r#"{"status":"undeliverable","workflow_id":"W"}"#.into(), "mailbox_id"),
    ] {
        let answer = site.raw("POST", "/messageexchange/admin/report", &[], inline(body.as_bytes()));
        assert_eq!((answer.status, &json(&answer)["detail"][0]["loc"]), (400, &serde_json::json!(["body", field])));
    }
    let path = format!("/admin/message/{id}/event");
    for body in ["", "null", "{}", r#"{"status":"lost"}"#, r#"{"status":"error","code":"\n"}"#] {
        assert_eq!(site.raw("POST", &path, &[], inline(body.as_bytes())).status, 400, "{body}");
    }
    assert_eq!(site.raw("POST", &path, &[], BodyInfo::TooLarge).status, 413);
    assert_eq!(before, format!("{:?}", site.partitions.iter().map(|p| &p.0).collect::<Vec<_>>()));
}
