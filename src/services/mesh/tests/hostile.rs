//! Input that no client sends: nothing panics, nothing faults, every answer is a documented one, and a refusal
//! changes nothing but the memory of tokens.

use super::*;
use crate::store::tables::Table;
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "messageexchange",
    "X26ABC1",
    "X26ABC2",
    "x26abc3",
    "NOBODY",
    "inbox",
    "outbox",
    "rich",
    "tracking",
    "count",
    "status",
    "acknowledged",
    "endpointlookup",
    "workflowsearch",
    "mailbox",
    "mesh",
    "update",
    "_ping",
    "admin",
    "reset",
    "1",
    "2",
    "0",
    "TEST_WORKFLOW",
    "%00",
    "%ff",
    "%",
    "",
    "..",
    "\u{e9}",
    "20261122005933579001_004101",
];
const NAMES: &[&str] = &[
    "mex-to",
    "mex-from",
    "mex-workflowid",
    "mex-chunk-range",
    "mex-subject",
    "mex-localid",
    "mex-partnerid",
    "mex-filename",
    "mex-content-encrypted",
    "mex-content-compressed",
    "mex-content-checksum",
    "mex-content-type",
    "mex-messagetype",
    "content-type",
    "content-encoding",
    "accept",
    "accept-encoding",
    "mex-clientversion",
    "mex-osname",
    "mex-osversion",
];
const VALUES: &[&str] = &[
    "",
    " ",
    "X26ABC2",
    "TEST_WORKFLOW",
    "1:1",
    "1:2",
    "2:2",
    "0:0",
    "1:999999999",
    "gzip",
    "application/vnd.mesh.v2+json",
    "application/vnd.mesh.vx+json",
    "http://x",
    "GPPROVIDER_1_2_3",
    "\t",
    "\u{ff}\u{fe}",
    "DATA",
    "true",
    "*/*",
];

fn pick(list: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![6 => proptest::sample::select(list).prop_map(str::to_owned), 1 => "[ -~]{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_request_gets_a_documented_answer(
        method in proptest::sample::select(&["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH"][..]),
        segments in proptest::collection::vec(pick(WORDS), 0..7),
        query in "[a-z_]{0,14}(=[ -~]{0,30})?(&(max_results|continue_from|workflow_filter|start_time|messageID)=[ -~]{0,30})?",
        headers in proptest::collection::vec((proptest::sample::select(NAMES), pick(VALUES)), 0..12),
        authentic in any::<bool>(),
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut site = Site::new(3, MeshOptions { test_endpoints: true, ..Default::default() });
        site.send(b"x", &[]);
        site.send(b"x", &[("mex-chunk-range", "1:2")]);
        let path = format!("/{}", segments.join("/"));
        let token = site.token(segments.get(1).map_or(A, |m| m.as_str()));
        let mut all: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        if authentic {
            all.push(("authorization", &token));
        }
        let before = rows_but_tokens(&site);
        let response = site.raw(method, &format!("{path}?{query}"), &all, inline(&body));
        let documented = [200, 202, 206, 300, 400, 403, 404, 405, 406, 410, 417, 422, 423];
        prop_assert!(documented.contains(&response.status), "{}", response.status);
        if response.status >= 300 {
            prop_assert_eq!(rows_but_tokens(&site), before);
        }
    }

    #[test]
    fn any_authorization_header_is_refused(value in "[ -~]{0,120}") {
        let mut site = Site::new(1, MeshOptions::default());
        let response = site.raw("GET", "/messageexchange/X26ABC1/inbox", &[("authorization", &value)], BodyInfo::None);
        prop_assert_eq!(response.status, 403);
        prop_assert_eq!(site.rows(Table::Tokens), 0);
    }

    /// What peers or disks may hold instead of a command is a fault, never a panic.
    #[test]
    fn any_bytes_as_a_command(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut site = Site::new(1, MeshOptions { test_endpoints: true, ..Default::default() });
        let command = Command { payload: payload.clone().into(), ..Default::default() };
        site.decide(0, |mesh, draft, stamp| mesh.decide(draft, stamp, &command).is_ok());
        let timer = Timer { payload: payload.into(), ..Default::default() };
        site.decide(0, |mesh, draft, stamp| mesh.timer(draft, stamp, &timer).is_ok());
    }
}

fn rows_but_tokens(site: &Site) -> Vec<(Bytes, Bytes)> {
    let rows = site.partitions.iter().flat_map(|p| p.0.iter());
    rows.filter(|(k, _)| k.first() != Some(&(Table::Tokens as u8))).map(|(k, v)| (k.clone(), v.clone())).collect()
}
