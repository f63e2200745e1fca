//! Tracking by the sender in both versions, by message and by local id (mesh.md §10).

use super::*;

#[test]
fn the_second_version_leaves_out_what_is_empty() {
    for mut site in sites() {
        let id = site.send(b"hello", &[("mex-localid", "L1")]);
        let response = site.get2(A, &format!("outbox/tracking?messageID={}", id.to_lowercase()));
        assert_eq!((response.status, header(&response, "content-type").as_str()), (200, V2.1));
        assert_eq!(
            json(&response),
            serde_json::json!({
                "message_id": id,
                "local_id": "L1",
                "workflow_id": "TEST_WORKFLOW",
                "filename": format!("{id}.dat"),
                "expiry_time": "2026-11-27T00:59:33.579Z",
                "upload_timestamp": "2026-11-22T00:59:33.579Z",
                "recipient": B,
                "recipient_name": "TESTMB2",
                "recipient_ods_code": "X26",
                "recipient_org_code": "X26",
                "status": "accepted",
                "status_success": true
            })
        );
    }
}

#[test]
fn the_first_version_writes_every_name() {
    for mut site in sites() {
        let id = site.send(b"hello", &[("mex-localid", "L1"), ("mex-subject", "S"), ("content-encoding", "gzip")]);
        let response = site.get(A, &format!("outbox/tracking?messageID={id}"));
        let body = json(&response);
        for (name, value) in [
            ("messageId", id.as_str()),
            ("dtsId", &id),
            ("localId", "L1"),
            ("workflowId", "TEST_WORKFLOW"),
            ("subject", "S"),
            ("fileName", &format!("{id}.dat")),
            ("messageType", "Data"),
            ("status", "Accepted"),
            ("statusSuccess", "SUCCESS"),
            ("uploadTimestamp", "20261122005933"),
            ("expiryTime", "20261127005933"),
            ("downloadTimestamp", ""),
            ("addressType", "ALL"),
            ("version", "1.0"),
            ("contentEncoding", "gzip"),
            ("encryptedFlag", ""),
            ("recipient", B),
            ("recipientName", "TESTMB2"),
            ("recipientSmtp", "x26abc2@dts.nhs.uk"),
            ("meshRecipientOdsCode", "X26"),
            ("sender", A),
            ("senderName", "TESTMB1"),
            ("senderOrgName", "Org"),
            ("senderSmtp", "x26abc1@dts.nhs.uk"),
        ] {
            assert_eq!(body[name], value, "{name}");
        }
        assert_eq!((&body["fileSize"], &body["chunkCount"]), (&5.into(), &1.into()));
        assert!(body.get("statusCode").is_none() && body.get("failureDate").is_none());
    }
}

#[test]
fn by_local_id_one_none_or_many() {
    for mut site in sites() {
        let id = site.send(b"x", &[("mex-localid", "L/1 a")]);
        let one = site.get2(A, "outbox/tracking/L%2F1%20a");
        assert_eq!((one.status, &json(&one)["messageId"]), (200, &id.as_str().into()));
        assert_eq!(header(&one, "content-type"), "application/json");
        assert_eq!(error(&site.get(A, "outbox/tracking/L")), (404, String::new(), "Not Found".into()));
        site.send(b"x", &[("mex-localid", "L/1 a")]);
        assert_eq!(error(&site.get(A, "outbox/tracking/L/1%20a")), (300, String::new(), "Multiple Choices".into()));
    }
}

#[test]
fn only_the_sender_tracks() {
    for mut site in sites() {
        let id = site.send(b"x", &[]);
        for mailbox in [B, C] {
            for version in [false, true] {
                let path = format!("outbox/tracking?messageID={id}");
                let response = if version { site.get2(mailbox, &path) } else { site.get(mailbox, &path) };
                assert_eq!(error(&response), (404, String::new(), "Not Found".into()));
            }
        }
        assert_eq!(site.get(A, "outbox/tracking?messageID=nonsense").status, 404);
        let missing = site.get(A, "outbox/tracking");
        assert_eq!(
            (missing.status, &json(&missing)["detail"][0]["loc"]),
            (400, &serde_json::json!(["query", "messageID"]))
        );
    }
}

#[test]
fn the_test_mode_shows_a_message_from_whoever_has_it() {
    let mut site = Site::new(3, MeshOptions { test_endpoints: true, ..Default::default() });
    let id = site.send(b"x", &[("mex-subject", "S")]);
    let response = site.raw("GET", &format!("/messageexchange/admin/message/{id}"), &[], BodyInfo::None);
    let body = json(&response);
    assert_eq!((response.status, &body["status"], &body["message_type"]), (200, &"Accepted".into(), &"Data".into()));
    assert_eq!((&body["sender"], &body["recipient"], &body["chunk_count"]), (&A.into(), &B.into(), &1.into()));
    let unknown = site.raw("GET", "/admin/message/20200101000000000000_ABCDEF", &[], BodyInfo::None);
    assert_eq!(unknown.status, 404);
}
