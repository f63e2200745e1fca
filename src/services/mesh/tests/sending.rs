//! Sending: headers, limits, refusals in their order, both versions (mesh.md §6.7, §7.1, §12).

use super::*;

const WHOLE: [(&str, &str); 2] = [("mex-to", B), ("mex-workflowid", "TEST_WORKFLOW")];

fn post(site: &mut Site, headers: &[(&str, &str)], body: &[u8]) -> Response {
    site.ask("POST", A, "outbox", headers, body)
}

#[test]
fn a_message_arrives_with_what_was_sent() {
    for mut site in sites() {
        let response = post(
            &mut site,
            &[
                ("mex-to", "x26abc2 "),
                ("mex-workflowid", " TEST_WORKFLOW"),
                ("mex-subject", "S\u{e9}"),
                ("mex-localid", "L1"),
                ("mex-partnerid", "P"),
                ("mex-filename", "f.txt"),
                ("mex-content-encrypted", "TRUE"),
                ("mex-content-compressed", "y"),
                ("mex-content-checksum", "md5:ab-c/d 1"),
                ("mex-from", "x26abc1"),
                ("mex-messagetype", "data"),
                ("mex-content-compress", "maybe"),
                ("content-type", "Text/Plain"),
                ("User_Agent", "odd"),
            ],
            b"hello",
        );
        assert_eq!((response.status, header(&response, "content-type").as_str()), (202, "application/json"));
        let id = json(&response)["messageID"].as_str().unwrap().to_owned();
        assert_eq!((id.len(), id.get(..14)), (27, Some("20261122005933")));
        let got = site.get2(B, &format!("inbox/{}", id.to_lowercase()));
        assert_eq!((got.status, text(&got)), (200, b"hello".to_vec()));
        for (name, value) in [
            ("content-type", "text/plain"),
            ("last-modified", "Sun, 22 Nov 2026 00:59:33 GMT"),
            ("mex-from", A),
            ("mex-to", B),
            ("mex-workflowid", "TEST_WORKFLOW"),
            ("mex-messageid", &id),
            ("mex-messagetype", "DATA"),
            ("mex-chunk-range", "1:1"),
            ("mex-total-chunks", "1"),
            ("mex-addresstype", "ALL"),
            ("mex-version", "1.0"),
            ("mex-localid", "L1"),
            ("mex-partnerid", "P"),
            ("mex-subject", "S\u{e9}"),
            ("mex-filename", "f.txt"),
            ("mex-content-checksum", "md5:ab-c/d 1"),
            ("mex-content-type", "text/plain"),
            ("mex-content-encrypted", "Y"),
            ("mex-content-compressed", "Y"),
            ("mex-statuscode", "00"),
            ("mex-statusevent", "TRANSFER"),
            ("mex-statusdescription", "Transferred to recipient mailbox"),
            ("mex-statussuccess", "SUCCESS"),
            ("mex-statustimestamp", "20261122005933"),
        ] {
            assert_eq!(header(&got, name), value, "{name}");
        }
        assert_eq!(site.last_note(), ("mesh.download", "ok"));
    }
}

#[test]
fn defaults_and_empty_headers() {
    let mut site = Site::new(1, MeshOptions::default());
    let response = site.ask("POST", A, "outbox", &[WHOLE[0], WHOLE[1], V2], b"x");
    assert_eq!((response.status, header(&response, "content-type").as_str()), (202, V2.1));
    let id = json(&response)["message_id"].as_str().unwrap().to_owned();
    let got = site.get(B, &format!("inbox/{id}/1"));
    assert_eq!(header(&got, "mex-filename"), format!("{id}.dat"));
    assert_eq!(header(&got, "content-type"), "application/octet-stream");
    let absent = ["mex-localid", "mex-subject", "mex-partnerid", "mex-content-checksum", "mex-content-encrypted"];
    assert!(absent.iter().all(|name| header(&got, name).is_empty()));
    assert!(header(&got, "mex-content-compressed").is_empty());
    let typed = site.send(b"x", &[("mex-content-type", "Image/PNG"), ("content-type", "text/plain")]);
    assert_eq!(header(&site.get2(B, &format!("inbox/{typed}")), "content-type"), "Image/PNG");
}

#[test]
fn every_refusal_reads_as_specified_in_both_versions() {
    let long = "x".repeat(101);
    let (to, flow) = (WHOLE[0], WHOLE[1]);
    #[allow(clippy::type_complexity, reason = "a table of cases")]
    let cases: &[(&[(&str, &str)], &[u8], u16, &str, &str)] = &[
        (&[to, flow, ("mex-subject", "a\tb")], b"x", 400, "06", "MalformedControlFile"),
        (&[("mex-to", "http://x"), flow], b"x", 400, "06", "MalformedControlFile"),
        (&[to, ("mex-workflowid", "HTTPS://x")], b"x", 400, "06", "MalformedControlFile"),
        (&[to, flow, ("mex-content-checksum", "http://x")], b"x", 400, "06", "MalformedControlFile"),
        (&[to, flow, ("mex-content-checksum", "a;b")], b"x", 400, "Invalid checksum", "Invalid checksum"),
        (&[("mex-to", " "), flow], b"x", 400, "08", "TO_DTS missing"),
        (
            &[to, flow, ("content-encoding", "br")],
            b"x",
            422,
            "UnsupportedContentEncoding",
            "Unsupported content encoding",
        ),
        (
            &[to, flow, ("mex-chunk-range", "2:2")],
            b"x",
            417,
            "InvalidHeaderChunks",
            "Invalid chunk values sent in mex-Chunk-Range header",
        ),
        (
            &[to, flow, ("mex-chunk-range", "x")],
            b"x",
            417,
            "InvalidHeaderChunks",
            "Invalid chunk values sent in mex-Chunk-Range header",
        ),
        (&[to, flow, ("mex-from", B)], b"x", 417, "07", "Invalid From Address (in the control file)"),
        (&[to, flow, ("mex-messagetype", "REPORT")], b"x", 417, "11", "Invalid Message Type for the transfer"),
        (&[("mex-to", "NOBODY"), flow], b"x", 417, "12", "Unregistered to address"),
        (&[("mex-to", "INTERNAL"), flow], b"x", 417, "12", "Cannot send messages to internal mailbox"),
        (
            &[to, ("mex-workflowid", "TEST_WORKFLOW_ACK")],
            b"x",
            417,
            "16",
            "Sender is not allowed to send messages of this type",
        ),
        (&[("mex-to", C), flow], b"x", 417, "17", "Workflow ID not registered for mailbox"),
        (&[to, flow], b"", 417, "02", "Data file is missing or inaccessible."),
    ];
    for mut site in sites() {
        for (headers, body, status, code, words) in cases {
            let first = post(&mut site, headers, body);
            assert_eq!(error(&first), (*status, code.to_string(), words.to_string()));
            assert!(json(&first)["errorEvent"].is_string() && json(&first).get("messageID").is_none());
            let mut second = headers.to_vec();
            second.push(V2);
            let second = post(&mut site, &second, body);
            assert_eq!(error(&second), (*status, code.to_string(), words.to_string()));
            assert_eq!(header(&second, "content-type"), V2.1);
            assert_eq!(site.last_note(), ("mesh.send", *code));
        }
        assert_eq!(site.rows(crate::store::tables::Table::Sent), 0);
        let two_wrong = post(&mut site, &[("mex-to", long.as_str())], b"");
        let detail = &json(&two_wrong)["detail"];
        assert_eq!(
            detail[0],
            serde_json::json!({"type": "missing", "loc": ["header", "mex-workflowid"], "msg": "Field required"})
        );
        assert_eq!(detail[1]["loc"][1], "mex-to");
        assert_eq!(two_wrong.status, 400);
    }
}

#[test]
fn lengths_count_characters() {
    let mut site = Site::new(1, MeshOptions::default());
    for (name, most) in [
        ("mex-subject", 500),
        ("mex-localid", 300),
        ("mex-partnerid", 500),
        ("mex-filename", 300),
        ("mex-content-encrypted", 20),
        ("mex-content-compressed", 20),
        ("mex-content-type", 100),
        ("mex-from", 100),
    ] {
        let (fits, long) = ("y".repeat(most), "y".repeat(most + 1));
        let status = |site: &mut Site, value: &str| post(site, &[WHOLE[0], WHOLE[1], (name, value)], b"x").status;
        assert_eq!((status(&mut site, &fits) != 400, status(&mut site, &long)), (true, 400), "{name}");
    }
    // UTF-8 of two bytes a character.
    let wide = "\u{c3}\u{a9}".repeat(500);
    assert_eq!(post(&mut site, &[WHOLE[0], WHOLE[1], ("mex-subject", &wide)], b"x").status, 202);
}

#[test]
fn refusals_come_in_the_specified_order() {
    let mut site = Site::new(1, MeshOptions::default());
    let mut headers = vec![
        ("mex-to", " "),
        ("mex-subject", "a\tb"),
        ("mex-content-checksum", ";"),
        ("content-encoding", "br"),
        ("mex-chunk-range", "9"),
    ];
    let status = |site: &mut Site, headers: &[(&str, &str)]| {
        let response = post(site, headers, b"");
        (response.status, error(&response).1)
    };
    assert_eq!(status(&mut site, &headers), (400, String::new()));
    headers.push(("mex-workflowid", "TEST_WORKFLOW"));
    for (name, expected) in [
        ("mex-subject", (400, "06")),
        ("mex-content-checksum", (400, "Invalid checksum")),
        ("mex-to", (400, "08")),
        ("content-encoding", (422, "UnsupportedContentEncoding")),
        ("mex-chunk-range", (417, "InvalidHeaderChunks")),
    ] {
        assert_eq!(status(&mut site, &headers), (expected.0, expected.1.to_owned()), "{name}");
        headers.retain(|(n, _)| *n != name);
        if name == "mex-to" {
            headers.push(("mex-to", "NOBODY"));
        }
    }
    assert_eq!(status(&mut site, &headers), (417, "12".to_owned()));
    headers.retain(|(n, _)| *n != "mex-to");
    headers.push(("mex-to", B));
    assert_eq!(status(&mut site, &headers), (417, "02".to_owned()));
}

#[test]
fn a_body_over_the_limit_and_one_in_the_blob_store() {
    for mut site in sites() {
        let token = site.token(A);
        let headers = [("authorization", token.as_str()), WHOLE[0], WHOLE[1]];
        let path = "/messageexchange/X26ABC1/outbox";
        assert_eq!(error(&site.raw("POST", path, &headers, BodyInfo::TooLarge)).0, 413);
        let token = site.token(A);
        let headers = [("authorization", token.as_str()), WHOLE[0], WHOLE[1], ("content-encoding", "GZIP")];
        let blob = BodyInfo::Blob { digest: [7; 32], len: 70_000 };
        let sent = site.raw("POST", path, &headers, blob);
        let id = json(&sent)["messageID"].as_str().unwrap().to_owned();
        let in_use = |site: &Site| site.partitions.iter().any(|p| rows::blob_in_use(p, &[7; 32]).unwrap());
        assert!(in_use(&site));
        assert_eq!(site.named, [Bytes::from_static(&[7; 32])], "on its way to the recipient's partition, too");
        let packed = site.ask("GET", B, &format!("inbox/{id}"), &[("accept-encoding", "gzip, br")], b"");
        assert_eq!(packed.body, Body::Blob { digest: [7; 32], len: 70_000, transfer: Transfer::AsIs });
        assert_eq!(
            (header(&packed, "content-encoding").as_str(), header(&packed, "mex-content-compressed").as_str()),
            ("gzip", "Y")
        );
        let plain = site.get(B, &format!("inbox/{id}"));
        assert_eq!(plain.body, Body::Blob { digest: [7; 32], len: 70_000, transfer: Transfer::Inflate });
        assert_eq!(header(&plain, "content-encoding"), "");
        site.acknowledge(B, &id);
        assert!(!in_use(&site));
    }
}

#[test]
fn a_wrong_accept_is_told_in_version_one() {
    let mut site = Site::new(1, MeshOptions::default());
    let response = post(&mut site, &[WHOLE[0], WHOLE[1], ("accept", "application/vnd.mesh.vX+json")], b"x");
    assert_eq!(error(&response), (400, String::new(), "Accept header api format incorrect".into()));
    assert_eq!(header(&response, "content-type"), "application/json");
}

#[test]
fn two_posts_are_two_messages_and_a_mailbox_may_write_to_itself() {
    for mut site in sites() {
        let first = site.send_to(A, A, "TEST_WORKFLOW2", b"x", &[("mex-localid", "same")]);
        let second = site.send_to(A, A, "TEST_WORKFLOW2", b"x", &[("mex-localid", "same")]);
        assert_ne!(first, second);
        assert_eq!(site.inbox(A), [first, second]);
    }
}
