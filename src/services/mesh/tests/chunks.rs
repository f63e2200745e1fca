//! Chunked messages: any order of arrival, repeats, ends, refusals (mesh.md §6.8, §8).

use super::*;
use crate::store::tables::Table;
use proptest::prelude::*;

fn begin(site: &mut Site, chunks: u32, body: &[u8], extra: &[(&str, &str)]) -> String {
    let range = format!("1:{chunks}");
    let mut headers = vec![("mex-chunk-range", range.as_str())];
    headers.extend_from_slice(extra);
    site.send(body, &headers)
}

fn chunk(site: &mut Site, id: &str, n: u32, of: u32, body: &[u8]) -> Response {
    let range = format!("{n}:{of}");
    site.ask("POST", A, &format!("outbox/{id}/{n}"), &[("mex-chunk-range", &range)], body)
}

#[test]
fn a_message_is_there_when_its_last_missing_chunk_is() {
    for mut site in sites() {
        let id = begin(&mut site, 3, b"one", &[]);
        assert_eq!(site.status(&id), "uploading");
        let third = chunk(&mut site, &id, 3, 3, b"three");
        assert_eq!((third.status, json(&third)), (202, serde_json::json!({"messageID": id, "blockID": 3})));
        assert!(site.inbox(B).is_empty());
        assert_eq!(site.get(B, &format!("inbox/{id}")).status, 410);
        assert_eq!(json(&site.get(B, "count"))["count"], 0);
        // A repeat replaces, and counts once.
        assert_eq!(chunk(&mut site, &id, 3, 3, b"THREE!").status, 202);
        assert!(site.inbox(B).is_empty());
        site.wait(60_000);
        assert_eq!(chunk(&mut site, &id, 2, 3, b"two").status, 202);
        assert_eq!(site.inbox(B), std::slice::from_ref(&id));
        for (n, status, body) in [(1, 206, &b"one"[..]), (2, 206, b"two"), (3, 200, b"THREE!")] {
            let got = site.get2(B, &format!("inbox/{id}/{n}"));
            assert_eq!((got.status, text(&got)), (status, body.to_vec()));
            assert_eq!(header(&got, "mex-chunk-range"), format!("{n}:3"));
            assert_eq!(header(&got, "content-type"), "application/octet-stream");
            assert_eq!(header(&got, "mex-statustimestamp"), time::compact(NOW + 60_000));
        }
        let tracked = json(&site.get(A, &format!("outbox/tracking?messageID={id}")));
        assert_eq!((&tracked["fileSize"], &tracked["chunkCount"]), (&12.into(), &3.into()));
        assert_eq!(tracked["expiryTime"], time::compact(NOW + 60_000 + 5 * DAY));
        assert_eq!(site.get(B, &format!("inbox/{id}/4")).status, 404);
        assert_eq!(site.rows(Table::Uploads) + site.rows(Table::UploadParts), 0);
        assert_eq!(error(&chunk(&mut site, &id, 2, 3, b"late")).0, 423);
        site.acknowledge(B, &id);
        assert_eq!(site.rows(Table::Bodies), 0);
    }
}

#[test]
fn chunk_refusals() {
    for mut site in sites() {
        let id = begin(&mut site, 2, b"one", &[("content-encoding", "gzip")]);
        let path = format!("outbox/{id}/2");
        let post = |site: &mut Site, path: &str, headers: &[(&str, &str)], body: &[u8]| {
            error(&site.ask("POST", A, path, headers, body))
        };
        let gzip = ("content-encoding", "GZip");
        for range in ["1:2", "2", "3:2", ""] {
            let (status, code, _) = post(&mut site, &path, &[gzip, ("mex-chunk-range", range)], b"x");
            assert_eq!((status, code.as_str()), (417, "InvalidHeaderChunks"), "{range}");
        }
        assert_eq!(post(&mut site, &format!("outbox/{id}/x"), &[gzip, ("mex-chunk-range", "2:2")], b"x").0, 417);
        assert_eq!(post(&mut site, &format!("outbox/{id}/3"), &[gzip, ("mex-chunk-range", "3:3")], b"x").0, 406);
        for headers in [vec![("mex-chunk-range", "2:2")], vec![("mex-chunk-range", "2:2"), ("content-encoding", "br")]]
        {
            let response = site.ask("POST", A, &path, &headers, b"x");
            assert_eq!(error(&response), (417, String::new(), "cannot change content encoding".into()));
            assert_eq!(json(&response)["messageID"], id.as_str());
        }
        assert_eq!(post(&mut site, &path, &[gzip, ("mex-chunk-range", "2:2")], b"").1, "02");
        let unknown = "outbox/20200101000000000000_ABCDEF/2";
        assert_eq!(post(&mut site, unknown, &[gzip, ("mex-chunk-range", "2:2")], b"x").1, "20");
        // Its recipient is not its sender.
        let response = site.ask("POST", B, &path, &[gzip, ("mex-chunk-range", "2:2")], b"x");
        assert_eq!(error(&response), (403, String::new(), "Forbidden".into()));
        let done = site.ask("POST", A, &path, &[gzip, ("mex-chunk-range", "2:2"), V2], b"x");
        assert_eq!((done.status, json(&done)), (202, serde_json::json!({"message_id": id})));
    }
}

#[test]
fn an_upload_that_never_ends_is_dropped_without_a_report() {
    for mut site in sites() {
        let id = begin(&mut site, 200, b"one", &[]);
        for n in 2..150 {
            assert_eq!(chunk(&mut site, &id, n, 200, b"x").status, 202);
        }
        site.wait(4 * DAY);
        assert_eq!(site.status(&id), "uploading");
        site.wait(DAY + 120_000);
        assert_eq!(site.status(&id), "undeliverable");
        assert_eq!(error(&chunk(&mut site, &id, 151, 200, b"x")).0, 423);
        assert!(site.inbox(A).is_empty() && site.inbox(B).is_empty());
        assert_eq!(site.rows(Table::Uploads) + site.rows(Table::UploadParts) + site.rows(Table::Bodies), 0);
    }
}

#[test]
fn each_chunk_is_inflated_for_who_cannot() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    encoder.write_all(b"plain words").unwrap();
    let packed = encoder.finish().unwrap();
    let mut site = Site::new(1, MeshOptions::default());
    let id = begin(&mut site, 2, &packed, &[("content-encoding", "gzip")]);
    let headers = [("mex-chunk-range", "2:2"), ("content-encoding", "gzip")];
    assert_eq!(site.ask("POST", A, &format!("outbox/{id}/2"), &headers, b"not gzip at all").status, 202);
    let got = site.get(B, &format!("inbox/{id}/1"));
    assert_eq!((text(&got), header(&got, "content-encoding").as_str()), (b"plain words".to_vec(), ""));
    let got = site.ask("GET", B, &format!("inbox/{id}"), &[("accept-encoding", "gzip")], b"");
    assert_eq!((text(&got), header(&got, "content-encoding").as_str()), (packed.clone(), "gzip"));
    // What only claims to be gzip goes out as it came.
    let got = site.get(B, &format!("inbox/{id}/2"));
    assert_eq!((text(&got), header(&got, "content-encoding").as_str()), (b"not gzip at all".to_vec(), "gzip"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Chunks come in any order and any number of times: the message is collectable exactly when all have come, and
    /// holds what was sent last before that.
    #[test]
    fn any_order_of_arrival(order in proptest::collection::vec((2u32..7, 0u8..250), 0..30)) {
        let mut site = Site::new(3, MeshOptions::default());
        let id = begin(&mut site, 6, b"first", &[]);
        let mut held = BTreeMap::from([(1u32, b"first".to_vec())]);
        for (n, byte) in order {
            let complete = held.len() == 6;
            let status = chunk(&mut site, &id, n, 6, &[byte, byte]).status;
            prop_assert_eq!(status, if complete { 423 } else { 202 });
            if !complete {
                held.insert(n, vec![byte, byte]);
            }
            prop_assert_eq!(site.inbox(B).len(), usize::from(held.len() == 6));
        }
        if held.len() == 6 {
            for (n, body) in held {
                prop_assert_eq!(text(&site.get(B, &format!("inbox/{id}/{n}"))), body);
            }
        }
    }
}
