//! MESH on values: a small site of maps, whose requests go the way the edge sends them, without a runtime.
//!
//! The site runs its tests at one and at three partitions; what one partition sends another is delivered in order.

mod authorization;
mod checklist;
mod chunks;
mod collecting;
mod downloads;
mod expiry;
mod formats;
mod hostile;
mod listing;
mod lookups;
mod routing;
mod sending;
mod tracking;
mod unread;

use super::{
    Attempt, Body, BodyInfo, Mesh, MeshOptions, Reply, Response, Transfer,
    command::MeshCommand,
    route,
    rows::{self, Status},
};
use crate::{
    access::caller::Caller,
    engine::{
        Command, PartitionId, SITE,
        draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp, Timer},
        services,
    },
    model::{EpochMillis, MessageId, time},
    services::directory::{
        Directory,
        command::{DirectoryCommand, DirectoryReply},
        lines,
    },
    wire::mesh::hex_encode,
};
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::BTreeMap;

/// 2026-11-22T00:59:33.579Z.
const NOW: EpochMillis = 1_795_309_173_579;
const DAY: u64 = 24 * 60 * 60 * 1000;
const V2: (&str, &str) = ("accept", "application/vnd.mesh.v2+json");
const A: &str = "X26ABC1";
const B: &str = "X26ABC2";
const C: &str = "X26ABC3";

/// The demo's mailboxes and workflows.
const REGISTRY: &str = r#"
{"mailbox_id":"X26ABC1","mailbox_name":"TESTMB1","billing_entity":"England","ods_code":"X26","org_code":"X26","org_name":"Org","password":"password","active":true}
{"mailbox_id":"X26ABC2","mailbox_name":"TESTMB2","billing_entity":"England","ods_code":"X26","org_code":"X26","org_name":"","password":"password","active":true}
{"mailbox_id":"X26ABC3","mailbox_name":"TESTMB3","billing_entity":"England","ods_code":"X27","org_code":"X27","org_name":"","password":"password","active":true}
{"mailbox_id":"INTERNAL","ods_code":"X26","password":"password","internal":true}
{"workflow_id":"TEST_WORKFLOW","senders":["X26ABC1"],"receivers":["X26ABC2"]}
{"workflow_id":"TEST_WORKFLOW_ACK","senders":["X26ABC2"],"receivers":["X26ABC1","X26ABC3"]}
{"workflow_id":"TEST_WORKFLOW2","senders":["X26ABC1"],"receivers":["X26ABC1","X26ABC2","X26ABC3"]}
{"workflow_id":"OPEN","restricted":false}
"#;

/// A whole site as maps.
struct Site {
    mesh: Mesh,
    registry: MapStore,
    partitions: Vec<MapStore>,
    timers: BTreeMap<(EpochMillis, u64), (usize, Timer)>,
    notes: Vec<AuditNote>,
    now: EpochMillis,
    sequence: u64,
    count: u64,
    /// Bodies in the blob store that commands between mailboxes named.
    named: Vec<Bytes>,
}

/// The tests of a file run on sites of one and of three partitions.
fn sites() -> [Site; 2] {
    [Site::new(1, MeshOptions::default()), Site::new(3, MeshOptions::default())]
}

impl Site {
    fn new(partitions: usize, options: MeshOptions) -> Site {
        let mut site = Site {
            mesh: Mesh::new(MeshOptions { shared_key: b"TestKey".to_vec(), ..options }),
            registry: MapStore::default(),
            partitions: (0..partitions).map(|_| MapStore::default()).collect(),
            timers: BTreeMap::new(),
            notes: vec![],
            now: NOW,
            sequence: 0,
            count: 0,
            named: vec![],
        };
        for line in REGISTRY.lines() {
            if let Some(command) = lines::parse(line).unwrap() {
                assert!(site.register(command).is_done());
            }
        }
        site
    }

    fn register(&mut self, command: impl Into<DirectoryCommand>) -> DirectoryReply {
        let command = Command {
            payload: command.into().encode(),
            caller: Caller { operator: "uid:0".into(), ..Default::default() },
            ..Default::default()
        };
        let overlay = Overlay::default();
        let stamp = self.stamp(SITE);
        let mut draft = Draft::new(&self.registry, &overlay, &self.registry);
        let reply = Directory.decide(&mut draft, &stamp, &command).unwrap();
        let decided = draft.finish();
        self.registry.apply(decided.rows);
        for (key, _, payload) in decided.outbox {
            self.command(&key, payload);
        }
        DirectoryReply::of(&reply).unwrap()
    }

    fn partition_of(&self, key: &[u8]) -> usize {
        key.iter().map(|b| usize::from(*b)).sum::<usize>() % self.partitions.len()
    }

    fn stamp(&mut self, partition: PartitionId) -> Stamp {
        self.sequence += 1;
        let partitions = self.partitions.len() as u16;
        Stamp { now: self.now, partition, partitions, sequence: self.sequence, entropy: [self.sequence as u8; 16] }
    }

    /// Decides a command of an operator and everything it sends.
    fn command(&mut self, key: &[u8], payload: Bytes) -> Reply {
        let caller = Caller { operator: "uid:0".into(), ..Default::default() };
        let command = Command { key: Bytes::copy_from_slice(key), payload, caller, ..Default::default() };
        let reply =
            self.decide(self.partition_of(key), |mesh, draft, stamp| mesh.decide(draft, stamp, &command).unwrap());
        Reply::of(&reply).unwrap()
    }

    fn decide<T>(&mut self, partition: usize, work: impl FnOnce(&Mesh, &mut Draft<'_>, &Stamp) -> T) -> T {
        let stamp = self.stamp(PartitionId(partition as u16 + 1));
        let overlay = Overlay::default();
        let mut draft = Draft::new(&self.partitions[partition], &overlay, &self.registry);
        let out = work(&self.mesh, &mut draft, &stamp);
        let decided = draft.finish();
        self.partitions[partition].apply(decided.rows);
        self.notes.extend(decided.audit);
        for (due, service, payload) in decided.timers {
            self.count += 1;
            let timer = Timer { due, service: service.0, payload, ..Default::default() };
            self.timers.insert((due, self.count), (partition, timer));
        }
        for (key, service, payload) in decided.outbox {
            assert_eq!(service, services::MESH);
            self.named.extend(self.mesh.bodies(&payload));
            self.command(&key, payload);
        }
        out
    }

    /// Lets time pass; what falls due happens at its time.
    fn wait(&mut self, millis: u64) {
        let until = self.now + millis;
        while let Some((&(due, n), _)) = self.timers.first_key_value() {
            if due > until {
                break;
            }
            let (partition, timer) = self.timers.remove(&(due, n)).unwrap();
            self.now = self.now.max(due);
            self.decide(partition, |mesh, draft, stamp| mesh.timer(draft, stamp, &timer).unwrap());
        }
        self.now = until;
    }

    /// A fresh token of a mailbox.
    fn token(&mut self, mailbox: &str) -> String {
        self.count += 1;
        token(mailbox, "nonce", &self.count.to_string(), "password", self.now)
    }

    /// A request without a token of its own.
    fn raw(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: BodyInfo) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let route = route(method, path, query);
        let headers = header_map(headers);
        if let Some(response) = self.mesh.at_once(&route, &headers) {
            return response;
        }
        self.count += 1;
        let attempt = Attempt { number: self.count, forgiven: vec![] };
        let ask = match self.mesh.ask(&route, &headers, body, &self.registry, attempt) {
            Ok(ask) => ask,
            Err(refused) => return refused,
        };
        let mut answer = None;
        for call in &ask.calls {
            let partition = self.partition_of(&call.key);
            let command = Command { key: call.key.clone(), payload: call.payload.clone(), ..Default::default() };
            let reply = self.decide(partition, |mesh, draft, stamp| mesh.decide(draft, stamp, &command).unwrap());
            let reply = Reply::of(&reply).unwrap();
            let here = !reply.elsewhere;
            answer = Some((reply, partition));
            if here && !ask.every {
                break;
            }
        }
        let (reply, partition) = answer.expect("a call");
        let view = match reply.probes() {
            Some(other) => Some(&self.partitions[usize::from(other) - 1]),
            None => reply.needs_view().then_some(&self.partitions[partition]),
        };
        let view = view.map(|view| view as &dyn crate::store::Reader);
        let response = self.mesh.answer(&ask, &reply, &self.registry, view).unwrap();
        well_formed(&response);
        response
    }

    /// A request of a mailbox, with a fresh token. `target` is what follows the mailbox in the path.
    fn ask(&mut self, method: &str, mailbox: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let token = self.token(mailbox);
        let mut all = vec![("authorization", token.as_str())];
        all.extend_from_slice(headers);
        let target = match target.is_empty() || target.starts_with('?') {
            true => format!("/messageexchange/{mailbox}{target}"),
            false => format!("/messageexchange/{mailbox}/{target}"),
        };
        self.raw(method, &target, &all, inline(body))
    }

    fn get(&mut self, mailbox: &str, target: &str) -> Response {
        self.ask("GET", mailbox, target, &[], b"")
    }

    fn get2(&mut self, mailbox: &str, target: &str) -> Response {
        self.ask("GET", mailbox, target, &[V2], b"")
    }

    /// Sends one message from A to B, and gives its id.
    fn send(&mut self, body: &[u8], extra: &[(&str, &str)]) -> String {
        self.send_to(A, B, "TEST_WORKFLOW", body, extra)
    }

    fn send_to(&mut self, from: &str, to: &str, workflow: &str, body: &[u8], extra: &[(&str, &str)]) -> String {
        let mut headers = vec![("mex-to", to), ("mex-workflowid", workflow)];
        headers.extend_from_slice(extra);
        let response = self.ask("POST", from, "outbox", &headers, body);
        assert_eq!(response.status, 202, "{response:?}");
        json(&response)["messageID"].as_str().unwrap().to_owned()
    }

    fn inbox(&mut self, mailbox: &str) -> Vec<String> {
        let response = self.get(mailbox, "inbox?max_results=5000");
        assert_eq!(response.status, 200);
        json(&response)["messages"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    fn acknowledge(&mut self, mailbox: &str, id: &str) -> Response {
        self.ask("PUT", mailbox, &format!("inbox/{id}/status/acknowledged"), &[], b"")
    }

    /// The status that tracking shows to A.
    fn status(&mut self, id: &str) -> String {
        let response = self.get2(A, &format!("outbox/tracking?messageID={id}"));
        json(&response)["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Rows of all partitions whose keys begin with this table.
    fn rows(&self, table: crate::store::tables::Table) -> usize {
        self.partitions.iter().map(|p| p.0.keys().filter(|k| k.first() == Some(&(table as u8))).count()).sum()
    }

    fn last_note(&self) -> (&str, &str) {
        let note = self.notes.last().unwrap();
        (&note.interaction, &note.outcome)
    }
}

fn inline(body: &[u8]) -> BodyInfo {
    if body.is_empty() { BodyInfo::None } else { BodyInfo::Inline(Bytes::copy_from_slice(body)) }
}

fn token(mailbox: &str, nonce: &str, count: &str, password: &str, now: EpochMillis) -> String {
    let stamp = &time::compact(now)[..12];
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"TestKey");
    let hash = hmac::sign(&key, format!("{mailbox}:{nonce}:{count}:{password}:{stamp}").as_bytes());
    format!("NHSMESH {mailbox}:{nonce}:{count}:{stamp}:{}", hex_encode(hash.as_ref()))
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        // Test texts are read as Latin-1, so that any byte can be written.
        let bytes: Vec<u8> = value.chars().map(|c| c as u8).collect();
        map.append(name, HeaderValue::from_bytes(&bytes).unwrap());
    }
    map
}

/// What holds for every response: lower-case names, values that HTTP can carry, JSON below 500.
fn well_formed(response: &Response) {
    let mut names = std::collections::HashSet::new();
    for (name, value) in &response.headers {
        assert!(HeaderValue::from_bytes(value).is_ok() && !value.is_empty(), "{name}");
        assert!(name.chars().all(|c| !c.is_uppercase()) && names.insert(*name), "{name}");
    }
    if response.status >= 400 {
        json(response);
    }
}

fn text(response: &Response) -> Vec<u8> {
    match &response.body {
        Body::Empty => vec![],
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Inflate(_) | Body::Blob { .. } => panic!("a stream: {:?}", response.headers),
    }
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&text(response)).unwrap_or_else(|e| panic!("{e}: {response:?}"))
}

fn header(response: &Response, name: &str) -> String {
    let found = response.headers.iter().find(|(n, _)| *n == name);
    found.map(|(_, v)| v.iter().map(|&b| b as char).collect()).unwrap_or_default()
}

/// `(status, code, text)` of an error of either version.
fn error(response: &Response) -> (u16, String, String) {
    let body = json(response);
    let (code, words) = match body.get("detail") {
        Some(detail) => (&detail[0]["code"], &detail[0]["msg"]),
        None => (&body["errorCode"], &body["errorDescription"]),
    };
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (response.status, text(code), text(words))
}
