//! Method, path, query and header values of a MESH request, without HTTP around them: routes and what they parse to.
//!
//! A refusal in JSON is JSON, whatever of the request it repeats; a route that was named is named again the same.

use super::{KIB, Target};
use http::{HeaderMap, HeaderName, HeaderValue};
use spine::engine::draft::MapStore;
use spine::ops::http::{percent_decode, query_pairs};
use spine::services::mesh::{Attempt, Body, BodyInfo, Mesh, MeshOptions, Response, Route, route};
use spine::wire::mesh::{self, values};
use std::sync::LazyLock;

pub const TARGET: Target = Target { name: "paths", run, seeds, longest: 8 << 10, base: 512 * KIB, factor: 200 };

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "HEAD", "BREW"];

pub static MESH: LazyLock<Mesh> = LazyLock::new(|| {
    Mesh::new(MeshOptions { shared_key: b"TestKey".to_vec(), test_endpoints: true, ..Default::default() })
});

/// `METHOD target`, then a header a line.
fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = METHODS.iter().find(|m| **m == method).unwrap_or(&"BREW");
    let route = route(method, path, query);
    assert_eq!(route.test_only(), route.name().starts_with("mesh.admin"));
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    if let Some(response) = MESH.at_once(&route, &headers) {
        sound(&response);
    } else {
        asked(&route, &headers);
    }
    small_words(target, &headers);
}

fn asked(route: &Route, headers: &HeaderMap) {
    let site = MapStore::default();
    assert!(!MESH.worth_reading(route, headers, &site, 0) || route.authenticates().is_none(), "no mailbox is known");
    for body in [BodyInfo::None, BodyInfo::Inline(b"{\"mailbox_id\":\"A\"}".as_slice().into()), BodyInfo::TooLarge] {
        let attempt = Attempt { number: 1, forgiven: vec![] };
        match MESH.ask(route, headers, body, &site, attempt) {
            Ok(ask) => assert!(ask.calls.iter().all(|call| call.payload.len() < 128 * KIB), "commands are bounded"),
            Err(response) => sound(&response),
        }
    }
}

pub fn sound(response: &Response) {
    let json = response.headers.iter().any(|(name, value)| *name == "content-type" && value.ends_with(b"json"));
    if let (true, Body::Bytes(bytes)) = (json, &response.body) {
        let read: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
        assert!(bytes.is_empty() || read.is_ok(), "{}", String::from_utf8_lossy(bytes));
    }
}

/// Each value's own reader, on all values.
fn small_words(target: &str, headers: &HeaderMap) {
    let decoded = mesh::percent_decode(target);
    assert!(decoded.len() <= target.len());
    assert_eq!(mesh::percent_decode(&mesh::percent_encode(&decoded)), decoded);
    if let Some(text) = percent_decode(target) {
        assert_eq!(text.as_bytes(), decoded, "the operators' reader and MESH's agree where both read");
    }
    assert!(query_pairs(target).len() <= target.len());
    for value in headers.values() {
        let bytes = value.as_bytes();
        assert!(values::api_version(bytes).is_ok_and(|v| (1..=2).contains(&v)) || values::api_version(bytes).is_err());
        if let Some((n, of)) = values::chunk_range(bytes) {
            assert!(0 < n && n <= of && values::chunk_range(format!("{n}:{of}").as_bytes()) == Some((n, of)));
        }
        let _ = (values::accepts_gzip(bytes), values::boolean(bytes), values::checksum_fits(bytes));
        let readable = values::readable(bytes);
        assert!(values::characters(bytes) <= bytes.len() && readable.chars().count() <= bytes.len());
        let (plain, negated) = (values::Filter::parse(&readable), format!("!{}", readable.trim()));
        if !readable.trim().starts_with('!') {
            assert_ne!(plain.passes(b"FLOW_ACK"), values::Filter::parse(&negated).passes(b"FLOW_ACK"));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let send = "mex-to:X26ABC2\nmex-workflowid:TEST_WORKFLOW\nmex-chunk-range:1:3\nmex-subject:a b\nmex-localid:x/1\n\
                mex-content-checksum:md5 - 0a:9/\ncontent-encoding:gzip\nmex-filename:a.txt\n\
                authorization:NHSMESH X26ABC1:n:1:202601011200:00\naccept:application/vnd.mesh.v2+json\n\
                accept-encoding:deflate, gzip;q=0.5";
    let targets = [
        "GET /messageexchange/_ping",
        "POST /messageexchange/X26ABC1/outbox",
        "POST /messageexchange/X26ABC1/outbox/20220228174323222222_ABCDEF/2",
        "GET /messageexchange/X26ABC1/inbox?max_results=10&workflow_filter=%21*_ACK*&continue_from=20220228174323222222_ABCDEF",
        "GET /messageexchange/X26ABC1/inbox/rich?start_time=2026-01-01T00:00:00+01:00",
        "GET /messageexchange/X26ABC1/outbox/tracking?messageID=20220228174323222222_ABCDEF",
        "GET /messageexchange/X26ABC1/outbox/tracking/a%2Fb/c",
        "HEAD /messageexchange/X26ABC1/inbox/20220228174323222222_ABCDEF",
        "PUT /messageexchange/X26ABC1/inbox/20220228174323222222_ABCDEF/status/acknowledged",
        "GET /messageexchange/endpointlookup/X26/TEST%20WORKFLOW",
        "GET /messageexchange/workflowsearch/TEST_WORKFLOW",
        "GET /messageexchange/mailbox/x26abc1/",
        "DELETE /admin/reset/X26ABC1",
        "POST /messageexchange/admin/report",
        "POST /admin/message/20220228174323222222_ABCDEF/event",
        "GET //..%2f..//%00%ff%",
    ];
    targets.iter().map(|target| format!("{target}\n{send}").into_bytes()).collect()
}
