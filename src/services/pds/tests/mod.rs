//! PDS on values: a small site of maps with the published people, whose requests go the way the edge sends them.
//!
//! The site runs its tests at one and at three partitions; numbers go to partitions as in the product.

mod births;
mod closed;
mod coverage;
mod creating;
mod examples;
mod exporting;
mod golden;
mod history;
mod mini_services;
mod related;
mod restricted;
mod retrieving;
mod searching;
mod tracing;
mod updating;

use super::{
    Asked, BodyIn, Call, Pds, PdsOptions, Response, Step,
    command::{Import, PdsCommand, Reply},
    import, route,
};
use crate::{
    access::caller::Caller,
    engine::{
        Command, PartitionId, PartitionMap,
        draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp},
        services,
    },
    model::{EpochMillis, NhsNumber},
    store::Reader,
    wire::record::Record,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// 2026-11-22T00:59:33.579Z.
const NOW: EpochMillis = 1_795_309_173_579;
const PEOPLE: &str = include_str!("../../../../tests/data/pds/people/seed.json");
const JANE: &str = "9000000009";
const RESTRICTED: &str = "9000000025";
const MINIMAL: &str = "9000000033";

/// Who asks.
fn app() -> Caller {
    scoped("urn:nhsd:apim:app:level3:personal-demographics-service")
}
fn privileged() -> Caller {
    scoped("urn:nhsd:apim:app:level3:privileged-personal-demographics-service")
}
fn worker() -> Caller {
    Caller {
        user: "555254240100".into(),
        role_profile: "555254241102".into(),
        ..scoped("urn:nhsd:apim:user-nhs-id:aal3:personal-demographics-service")
    }
}
fn patient(nhs: &str) -> Caller {
    Caller {
        nhs_number: nhs.into(),
        vector_of_trust: "P9.Cp.Cd".into(),
        ..scoped("urn:nhsd:apim:user-nhs-login:P9:personal-demographics-service")
    }
}
fn scoped(scope: &str) -> Caller {
    Caller { application: "app-1".into(), scopes: vec![scope.into()], ..Default::default() }
}
fn with(caller: Caller, attribute: &str) -> Caller {
    Caller { attributes: vec![attribute.into()], ..caller }
}

struct Site {
    pds: Arc<Pds>,
    partitions: Vec<MapStore>,
    notes: Vec<AuditNote>,
    now: EpochMillis,
    sequence: u64,
    /// Replies by caller and request id, as the engine remembers them.
    remembered: BTreeMap<(String, String), Bytes>,
    count: u64,
    /// What was sent to MESH.
    posted: Vec<Bytes>,
    /// What EPS was told, with the partition key of each.
    told: Vec<(Bytes, Bytes)>,
    /// Rows of the site's registers.
    registry: MapStore,
}

/// The tests of a file run on sites of one and of three partitions.
fn sites() -> [Site; 2] {
    [Site::new(1), Site::new(3)]
}

impl Site {
    fn new(partitions: usize) -> Site {
        let mut site = Site::empty(partitions, PdsOptions::default());
        let people: Value = serde_json::from_str(PEOPLE).unwrap();
        for person in people["people"].as_array().unwrap() {
            site.import(&person.to_string()).unwrap();
        }
        site
    }

    fn empty(partitions: usize, options: PdsOptions) -> Site {
        Site {
            pds: Arc::new(Pds { options }),
            partitions: (0..partitions).map(|_| MapStore::default()).collect(),
            notes: vec![],
            now: NOW,
            sequence: 0,
            remembered: BTreeMap::new(),
            count: 0,
            posted: vec![],
            told: vec![],
            registry: MapStore::default(),
        }
    }

    fn import(&mut self, line: &str) -> Result<Reply, String> {
        let (nhs, line) = import::line(line)?;
        let command = Import { people: vec![line.encode()], source: "a file".into(), ..Default::default() };
        let caller = Caller { operator: "uid:0".into(), ..Default::default() };
        let reply = self.decide(nhs.digits().as_bytes(), PdsCommand::from(command).encode(), &caller);
        Ok(Reply::of(&reply).unwrap())
    }

    fn partition_of(&self, key: &[u8]) -> usize {
        usize::from(PartitionMap { partitions: self.partitions.len() as u16 }.of(key).0) - 1
    }

    fn rows_of(&self, nhs: &str) -> &MapStore {
        &self.partitions[self.partition_of(nhs.as_bytes())]
    }

    fn decide(&mut self, key: &[u8], payload: Bytes, caller: &Caller) -> Bytes {
        let at = self.partition_of(key);
        self.sequence += 1;
        let stamp = Stamp {
            now: self.now,
            partition: PartitionId(at as u16 + 1),
            partitions: self.partitions.len() as u16,
            sequence: self.sequence,
            entropy: [self.sequence as u8; 16],
        };
        let command =
            Command { key: Bytes::copy_from_slice(key), payload, caller: caller.clone(), ..Default::default() };
        let overlay = Overlay::default();
        let mut draft = Draft::new(&self.partitions[at], &overlay, &self.registry);
        let reply = self.pds.decide(&mut draft, &stamp, &command).unwrap();
        let decided = draft.finish();
        self.partitions[at].apply(decided.rows);
        self.notes.extend(decided.audit);
        for (key, service, payload) in decided.outbox {
            match service {
                services::MESH => self.posted.push(payload),
                services::EPS => self.told.push((key, payload)),
                _ => drop(self.decide(&key, payload, caller)),
            }
        }
        reply
    }

    fn submit(&mut self, call: Call, caller: &Caller) -> Bytes {
        let id = (format!("{}/{}", caller.application, caller.nhs_number), call.request_id.clone());
        if let Some(reply) = self.remembered.get(&id).filter(|_| !call.request_id.is_empty()) {
            return reply.clone();
        }
        let reply = self.decide(&call.key, call.payload, caller);
        self.remembered.insert(id, reply.clone());
        reply
    }

    /// A request as it comes: all headers given.
    fn raw(&mut self, caller: &Caller, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = format!("/personal-demographics/FHIR/R4{path}");
        let mut asked = Asked::new(self.pds.clone(), route(method, &path, query));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let body = if body.is_empty() { BodyIn::None } else { BodyIn::Bytes(Bytes::copy_from_slice(body)) };
        let notes = self.notes.len();
        let mut step = asked.ask(caller, &map, body, &MapStore::default());
        if matches!(step, Step::Look) {
            let views: Vec<&dyn Reader> = self.partitions.iter().map(|p| p as _).collect();
            step = asked.looked(&views).unwrap();
        }
        let mut calls = match step {
            Step::Submit(calls) => calls,
            Step::Answer(response) => return response,
            Step::Look => panic!("looked twice"),
        };
        let mut last = (0, false);
        while let Some(call) = calls.pop() {
            let at = self.partition_of(&call.key);
            let reply = self.submit(call, caller);
            last = (at, asked.replied(&reply).unwrap());
            calls = asked.onward();
        }
        let view = last.1.then(|| &self.partitions[last.0] as &dyn Reader);
        let response = asked.answer(view).unwrap();
        assert!(self.notes.len() > notes || !self.remembered.is_empty(), "an interaction leaves a note (P4)");
        assert_eq!(header(&response, "content-type"), "application/fhir+json");
        response
    }

    fn ask(&mut self, caller: &Caller, method: &str, target: &str, extra: &[(&str, &str)], body: &[u8]) -> Response {
        self.count += 1;
        let id = format!("60e0b220-8136-4ca5-ae46-{:012x}", self.count);
        let mut headers = vec![("x-request-id", id.as_str()), ("host", "api.example.org")];
        headers.extend_from_slice(extra);
        self.raw(caller, method, target, &headers, body)
    }

    fn get(&mut self, caller: &Caller, target: &str) -> Response {
        self.ask(caller, "GET", target, &[], b"")
    }

    fn patch(&mut self, caller: &Caller, nhs: &str, version: u64, patches: Value) -> Response {
        let body = json!({"patches": patches}).to_string();
        let headers = [("content-type", "application/json-patch+json"), ("if-match", &*format!("W/\"{version}\""))];
        self.ask(caller, "PATCH", &format!("/Patient/{nhs}"), &headers, body.as_bytes())
    }

    fn post(&mut self, caller: &Caller, target: &str, body: &Value) -> Response {
        self.ask(caller, "POST", target, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    fn last_note(&self) -> (&str, &str, &str) {
        let note = self.notes.last().unwrap();
        (&note.interaction, &note.outcome, &note.subject)
    }
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

fn header(response: &Response, name: &str) -> String {
    let found = response.headers.iter().find(|(n, _)| *n == name);
    found.map(|(_, v)| String::from_utf8_lossy(v).into_owned()).unwrap_or_default()
}

/// `(status, code, diagnostics)` of an OperationOutcome.
fn error(response: &Response) -> (u16, String, String) {
    let body = json(response);
    assert_eq!(body["resourceType"], "OperationOutcome", "{body}");
    let issue = &body["issue"][0];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (response.status, text(&issue["details"]["coding"][0]["code"]), text(&issue["diagnostics"]))
}

fn expect(response: &Response, status: u16, code: &str, diagnostics: &str) {
    assert_eq!(error(response), (status, code.to_owned(), diagnostics.to_owned()));
}

/// The numbers of a bundle, with their scores.
fn found(response: &Response) -> Vec<(String, f64)> {
    let body = json(response);
    assert_eq!((response.status, &body["resourceType"]), (200, &json!("Bundle")), "{body}");
    let entries = body["entry"].as_array().cloned().unwrap_or_default();
    assert_eq!(body["total"], entries.len());
    let one = |e: &Value| (e["resource"]["id"].as_str().unwrap().to_owned(), e["search"]["score"].as_f64().unwrap());
    entries.iter().map(one).collect()
}

fn numbers(response: &Response) -> Vec<String> {
    found(response).into_iter().map(|(nhs, _)| nhs).collect()
}

macro_rules! published {
    ($($name:literal),* $(,)?) => {
        /// The published examples, by their names.
        const EXAMPLES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../../tests/data/pds/", $name)))),*];
    };
}

published![
    "coverage-bundle.json",
    "coverage-post.json",
    "create/create-patient.json",
    "create/created-at-birth.json",
    "create/created-patient.json",
    "errors/ACCESS_DENIED.json",
    "errors/ADDITIONAL_PROPERTIES.json",
    "errors/FORBIDDEN_UPDATE.json",
    "errors/INSERT_BIRTH_DEATH_STATUS_INCONSISTENT.json",
    "errors/INVALIDATED_RESOURCE.json",
    "errors/INVALID_CREATE.json",
    "errors/INVALID_METHOD.json",
    "errors/INVALID_RESOURCE_ID.json",
    "errors/INVALID_SEARCH_DATA.json",
    "errors/INVALID_UPDATE.json",
    "errors/INVALID_VALUE.json",
    "errors/MISSING_VALUE.json",
    "errors/MULTIPLE_MATCHES_FOUND.json",
    "errors/PRECONDITION_FAILED.json",
    "errors/RESOURCE_NOT_FOUND.json",
    "errors/RESOURCE_VERSION_MISMATCH.json",
    "errors/SINGLE_MATCH_FOUND.json",
    "errors/TOO_FEW_VALUES_SUBMITTED.json",
    "errors/TOO_MANY_MATCHES.json",
    "errors/TOO_MANY_VALUES_SUBMITTED.json",
    "errors/UNSUPPORTED_SERVICE.json",
    "patch/add-deceased-date-time.json",
    "patch/add-extension.json",
    "patch/add-name.json",
    "patch/delete-extension.json",
    "patch/delete-gender.json",
    "patch/delete-name-alternative.json",
    "patch/delete-name.json",
    "patch/update-address-alternative.json",
    "patch/update-address.json",
    "patch/update-extension.json",
    "patch/update-gender.json",
    "patient-minimal.json",
    "patient-restricted.json",
    "patient-unrestricted.json",
    "relatedperson-bundle.json",
    "search-bundle-restricted.json",
    "search-bundle.json",
];

fn example(name: &str) -> Value {
    let (_, text) = EXAMPLES.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name}"));
    serde_json::from_str(text).unwrap()
}

fn nhs(text: &str) -> NhsNumber {
    NhsNumber::strict(text).unwrap()
}
