//! The service on values: a small site whose requests go the way the edge sends them, whose partitions send one another what
//! they must, and whose timers fire as time passes.

mod alerts;
mod kinds;
mod lives;
mod open;
mod rows;

use super::{Asked, BodyIn, Relationships, route};
use crate::{
    access::caller::Caller,
    engine::{
        Command, PartitionId, PartitionMap, ServiceId,
        draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp, Timer},
        services,
    },
    model::EpochMillis,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// 2026-11-22T00:59:33.579Z.
const NOW: EpochMillis = 1_795_309_173_579;
const DAY: u64 = 86_400_000;
const JANE: &str = "9990000018";
const JOHN: &str = "9990000026";
const ROOM: &str = "/legitimate-relationships";

/// A member of staff of the practice A83001.
fn staff(user: &str, activities: &[&str]) -> Caller {
    Caller {
        application: "portal".into(),
        ods: "A83001".into(),
        level: "aal3".into(),
        user: user.into(),
        role_profile: format!("{user}-role"),
        activities: activities.iter().map(|a| (*a).into()).collect(),
        ..Default::default()
    }
}
fn officer() -> Caller {
    staff("555254240100", &["B0015", "B0016"])
}
fn nurse() -> Caller {
    staff("656005750107", &["B0820"])
}
fn system() -> Caller {
    Caller { application: "gp-system".into(), ods: "A83001".into(), level: "level3".into(), ..Default::default() }
}
fn operator() -> Caller {
    Caller { operator: "uid:0".into(), ..Default::default() }
}

struct Site {
    partitions: Vec<MapStore>,
    timers: Vec<(EpochMillis, usize, Bytes)>,
    notes: Vec<AuditNote>,
    now: EpochMillis,
    sequence: u64,
    /// Replies by request id, as the engine remembers them.
    remembered: BTreeMap<String, Bytes>,
    count: u64,
}

fn sites() -> [Site; 2] {
    [Site::new(1), Site::new(3)]
}

impl Site {
    fn new(partitions: usize) -> Site {
        Site {
            partitions: (0..partitions).map(|_| MapStore::default()).collect(),
            timers: vec![],
            notes: vec![],
            now: NOW,
            sequence: 0,
            remembered: BTreeMap::new(),
            count: 0,
        }
    }

    fn partition_of(&self, key: &[u8]) -> usize {
        usize::from(PartitionMap { partitions: self.partitions.len() as u16 }.of(key).0) - 1
    }

    fn within<T>(&mut self, at: usize, decide: impl FnOnce(&mut Draft<'_>, &Stamp) -> T) -> (T, Vec<(Bytes, Bytes)>) {
        self.sequence += 1;
        let stamp = Stamp {
            now: self.now,
            partition: PartitionId(at as u16 + 1),
            partitions: self.partitions.len() as u16,
            sequence: self.sequence,
            entropy: [7; 16],
        };
        let (overlay, registry) = (Overlay::default(), MapStore::default());
        let mut draft = Draft::new(&self.partitions[at], &overlay, &registry);
        let told = decide(&mut draft, &stamp);
        let decided = draft.finish();
        self.partitions[at].apply(decided.rows);
        self.notes.extend(decided.audit);
        self.timers.extend(decided.timers.into_iter().map(|(due, _, payload)| (due, at, payload)));
        (told, decided.outbox.into_iter().map(|(key, _, payload)| (key, payload)).collect())
    }

    fn decide(&mut self, key: &[u8], payload: Bytes, caller: &Caller) -> Bytes {
        let at = self.partition_of(key);
        let command = Command {
            service: services::RELATIONSHIPS.0,
            key: Bytes::copy_from_slice(key),
            payload,
            caller: caller.clone(),
            ..Default::default()
        };
        let notes = self.notes.len();
        let (reply, sent) = self.within(at, |draft, stamp| Relationships.decide(draft, stamp, &command).unwrap());
        assert!(self.notes.len() > notes, "every interaction leaves a note (P4)");
        for (key, payload) in sent {
            self.decide(&key, payload, caller);
        }
        reply
    }

    /// Lets time pass: timers fire when they are due, in order.
    fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.timers.sort();
        while let Some((due, at, payload)) = self.timers.first().filter(|(due, ..)| *due <= self.now).cloned() {
            self.timers.remove(0);
            let timer = Timer { due, service: services::RELATIONSHIPS.0, payload, ..Default::default() };
            assert_eq!(Relationships.service(), ServiceId(timer.service));
            self.within(at, |draft, stamp| Relationships.timer(draft, stamp, &timer).unwrap());
        }
    }

    fn raw(&mut self, caller: &Caller, method: &str, target: &str, id: Option<&str>, body: &[u8]) -> (u16, Value) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut asked = Asked::new(route(method, &format!("{ROOM}{path}"), query));
        let mut headers = HeaderMap::new();
        if let Some(id) = id {
            headers.insert("x-request-id", HeaderValue::from_str(id).unwrap());
        }
        let body = if body.is_empty() { BodyIn::None } else { BodyIn::Bytes(Bytes::copy_from_slice(body)) };
        let call = asked.ask(caller, &headers, body);
        let reply = match self.remembered.get(&call.request_id).filter(|_| !call.request_id.is_empty()) {
            Some(reply) => reply.clone(),
            None => self.decide(&call.key, call.payload, caller),
        };
        self.remembered.insert(call.request_id, reply.clone());
        let response = asked.answer(&reply).unwrap();
        (response.status, serde_json::from_slice(&response.body).unwrap())
    }

    fn get(&mut self, caller: &Caller, target: &str) -> (u16, Value) {
        self.raw(caller, "GET", target, None, b"")
    }

    fn post(&mut self, caller: &Caller, target: &str, body: Value) -> (u16, Value) {
        self.count += 1;
        let id = format!("60e0b220-8136-4ca5-ae46-{:012x}", self.count);
        self.raw(caller, "POST", target, Some(&id), body.to_string().as_bytes())
    }

    fn create(&mut self, caller: &Caller, nhs: &str, body: Value) -> (u16, Value) {
        self.post(caller, &format!("/patients/{nhs}/relationships"), body)
    }

    /// The id of one that is created.
    fn created(&mut self, caller: &Caller, nhs: &str, body: Value) -> String {
        let (status, made) = self.create(caller, nhs, body);
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    fn access(&mut self, caller: &Caller, nhs: &str, query: &str) -> bool {
        let (status, told) = self.get(caller, &format!("/patients/{nhs}/relationships/check?{query}"));
        assert_eq!(status, 200, "{told}");
        told["access"].as_bool().unwrap()
    }

    fn state(&mut self, nhs: &str, id: &str) -> String {
        let (status, row) = self.get(&operator(), &format!("/patients/{nhs}/relationships/{id}"));
        assert_eq!(status, 200, "{row}");
        row["state"].as_str().unwrap().to_owned()
    }

    fn last_note(&self) -> &AuditNote {
        self.notes.last().unwrap()
    }
}

fn code(told: &(u16, Value)) -> (u16, &str) {
    (told.0, told.1["error"].as_str().unwrap_or_default())
}
