//! The trail on values: a small site whose partitions keep the chains that the engine would, asked the way the edge asks.

mod filing;
mod reading;

use super::{Asked, BodyIn, Response, Step, Trail, command::TrailCommand, route};
use crate::{
    access::caller::Caller,
    audit::{Chain, Record},
    engine::{
        Command, PartitionId, PartitionMap,
        draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp},
    },
    model::EpochMillis,
    services::directory::rows::{Organisation, organisation_key},
    store::{Reader, RowOp},
    wire::record::Record as _,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// 2026-11-22T00:59:33.579Z.
const NOW: EpochMillis = 1_795_309_173_579;
const JANE: &str = "9990000018";
const JOHN: &str = "9990000026";
const BASE: &str = "/patient-audit/FHIR/R4";

fn officer() -> Caller {
    Caller {
        application: "portal".into(),
        ods: "A83002".into(),
        level: "aal3".into(),
        user: "555254240100".into(),
        role_profile: "555254242106".into(),
        granted: "urn:nhsd:apim:user-nhs-id:aal3:patient-audit B0016".into(),
        address: "10.1.2.3".into(),
        ..Default::default()
    }
}
fn citizen(nhs: &str) -> Caller {
    Caller { application: "nhs-app".into(), level: "P9".into(), nhs_number: nhs.into(), ..Default::default() }
}
fn clinician() -> Caller {
    Caller {
        application: "emr".into(),
        ods: "A83001".into(),
        level: "aal3".into(),
        user: "656005750107".into(),
        role_profile: "555254242102".into(),
        job_role: "S8000:G8000:R8001".into(),
        address: "10.9.9.9".into(),
        ..Default::default()
    }
}

struct Site {
    partitions: Vec<(MapStore, Chain)>,
    site: MapStore,
    now: EpochMillis,
    sequence: u64,
}

fn sites() -> [Site; 2] {
    [Site::new(1), Site::new(3)]
}

impl Site {
    fn new(partitions: usize) -> Site {
        let mut site = MapStore::default();
        let surgery = Organisation { name: "A GP Surgery".into(), ..Default::default() };
        site.0.insert(organisation_key("A83001").build(), surgery.encode());
        let partitions = (0..partitions).map(|_| Default::default()).collect();
        Site { partitions, site, now: NOW, sequence: 0 }
    }

    fn partition_of(&self, key: &[u8]) -> usize {
        usize::from(PartitionMap { partitions: self.partitions.len() as u16 }.of(key).0) - 1
    }

    /// What the engine makes of a note.
    fn note(&mut self, at: usize, caller: &Caller, note: AuditNote, asked_as: &str) {
        let c = caller.clone();
        let record = Record {
            at: self.now,
            interaction: note.interaction,
            outcome: note.outcome,
            object: note.object,
            other: note.other,
            subject: note.subject,
            purpose: note.purpose,
            detail: note.detail,
            correlation_id: "c0ffee".into(),
            request_id: asked_as.to_owned(),
            ods: c.ods,
            address: c.address,
            application: c.application,
            level: c.level,
            user: c.user,
            role_profile: c.role_profile,
            job_role: c.job_role,
            nhs_number: c.nhs_number,
            granted: c.granted,
            action: note.action,
            filed: note.filed,
            ..Default::default()
        };
        let mut rows = vec![];
        let (store, chain) = &mut self.partitions[at];
        chain.push(record, &mut rows);
        store.apply(rows.into_iter().collect::<Vec<RowOp>>());
    }

    /// A clinician's retrieve, as PDS notes it.
    fn looked_at(&mut self, nhs: &str) {
        let at = self.partition_of(nhs.as_bytes());
        let note = AuditNote {
            interaction: "pds.retrieve".into(),
            outcome: "ok".into(),
            subject: nhs.into(),
            ..Default::default()
        };
        self.note(at, &clinician(), note, "76d148b6-586d-11ec-bf63-0242ac130082");
        self.now += 1_000;
    }

    fn decide(&mut self, key: &[u8], payload: Bytes, caller: &Caller, asked_as: &str) -> Bytes {
        let at = self.partition_of(key);
        self.sequence += 1;
        let stamp = Stamp {
            now: self.now,
            partition: PartitionId(at as u16 + 1),
            partitions: self.partitions.len() as u16,
            sequence: self.sequence,
            entropy: [7; 16],
        };
        let command =
            Command { key: Bytes::copy_from_slice(key), payload, caller: caller.clone(), ..Default::default() };
        let overlay = Overlay::default();
        let mut draft = Draft::new(&self.partitions[at].0, &overlay, &self.site);
        let reply = Trail.decide(&mut draft, &stamp, &command).unwrap();
        let decided = draft.finish();
        assert!(decided.rows.is_empty(), "the service keeps nothing but notes");
        assert!(!decided.audit.is_empty(), "every interaction leaves a note (P4)");
        for note in decided.audit {
            self.note(at, caller, note, asked_as);
        }
        reply
    }

    fn ask(&mut self, caller: &Caller, method: &str, target: &str, body: &[u8]) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut asked = Asked::new(route(method, &format!("{BASE}{path}"), query));
        let mut headers = HeaderMap::new();
        let id = "60e0b220-8136-4ca5-ae46-1d97ef59d068";
        for (name, value) in [("host", "api.example.org"), ("x-request-id", id)] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let body = if body.is_empty() { BodyIn::None } else { BodyIn::Bytes(Bytes::copy_from_slice(body)) };
        let mut step = asked.ask(caller, &headers, body);
        if matches!(step, Step::Look) {
            let views: Vec<&dyn Reader> = self.partitions.iter().map(|(store, _)| store as _).collect();
            step = asked.looked(&views).unwrap();
        }
        let Step::Submit(calls) = step else { panic!("an answer without a record (P4)") };
        for call in calls {
            let reply = self.decide(&call.key, call.payload, caller, id);
            asked.replied(&reply).unwrap();
        }
        self.now += 1_000;
        asked.answer(&self.site).unwrap()
    }

    fn get(&mut self, caller: &Caller, target: &str) -> (u16, Value) {
        let response = self.ask(caller, "GET", target, b"");
        (response.status, serde_json::from_slice(&response.body).unwrap())
    }

    /// Every page of a search: the events, and how many pages they came in.
    fn all(&mut self, caller: &Caller, query: &str) -> (Vec<Value>, usize) {
        let (mut events, mut pages, mut target) = (vec![], 0, format!("/AuditEvent?{query}"));
        loop {
            let (status, bundle) = self.get(caller, &target);
            assert_eq!((status, &bundle["type"]), (200, &"searchset".into()), "{bundle}");
            pages += 1;
            events.extend(bundle["entry"].as_array().unwrap().iter().map(|e| e["resource"].clone()));
            let links = bundle["link"].as_array().unwrap();
            let Some(next) = links.iter().find(|l| l["relation"] == "next") else { return (events, pages) };
            let url = next["url"].as_str().unwrap();
            target = url.strip_prefix(&format!("https://api.example.org{BASE}")).expect("a link of ours").to_owned();
        }
    }
}

/// The interaction that an event tells of.
fn interaction(event: &Value) -> &str {
    let entities = event["entity"].as_array().unwrap();
    let details = entities.iter().filter_map(|e| e["detail"].as_array()).flatten();
    let mut found = details.filter(|d| d["type"] == "interactionIdentifier");
    found.next().and_then(|d| d["valueString"].as_str()).unwrap()
}

fn code(body: &Value) -> &str {
    body["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap_or_default()
}

#[test]
fn a_refusal_of_the_gate_is_found_with_the_person_whom_it_was_about() {
    for mut site in sites() {
        let refused = super::command::Refused {
            interaction: "pds.retrieve".into(),
            code: "SPN-1026".into(),
            subject: JANE.into(),
            ..Default::default()
        };
        site.decide(JANE.as_bytes(), TrailCommand::from(refused).encode(), &clinician(), "");
        let (events, _) = site.all(&officer(), &format!("patient={JANE}"));
        assert_eq!((events.len(), interaction(&events[0])), (1, "pds.retrieve"));
        assert_eq!((&events[0]["outcome"], &events[0]["outcomeDesc"]), (&"4".into(), &"SPN-1026".into()));
    }
}
