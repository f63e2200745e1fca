//! A whole site in one map: the services decide, their rows apply at once, what they send elsewhere follows at once.

use super::trial::{InMemory, Memory};
use bytes::Bytes;
use spine::access::gate::Standing;
use spine::edge::backend::{Answering, Backend, Credentials, Stored, Upload, View};
use spine::edge::payload::Pieces;
use spine::engine::draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp};
use spine::engine::{Command, Outcome, PartitionId, ServiceId, Unavailable, services};
use spine::seam::clock::{Clock, SystemClock};
use spine::services::directory::rows::{self, Mailbox, Secret, Workflow};
use spine::services::mesh::{Enforcement, Mesh, MeshOptions};
use spine::services::{relationships::Relationships, trail::Trail};
use spine::wire::record::Record;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

pub struct Site {
    pub mesh: Arc<Mesh>,
    /// Bodies, registry of certificates and faults on order come from here.
    pub memory: Arc<Memory>,
    registry: MapStore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: MapStore,
    sequence: u64,
    notes: usize,
    told: Vec<AuditNote>,
}

/// Marks what another partition sent.
const DELIVERY: &str = "delivery";

fn copy(store: &MapStore) -> View {
    Arc::new(MapStore(store.0.clone()))
}

impl Site {
    pub fn new(memory: Arc<Memory>, test_endpoints: bool) -> Site {
        let options = MeshOptions {
            shared_key: b"TestKey".to_vec(),
            environment: "test".into(),
            enforcement: Enforcement::Restricted,
            test_endpoints,
            ..Default::default()
        };
        let mut registry = MapStore::default();
        for (id, ods) in [("X26ABC1", "X26"), ("X26ABC2", "X26"), ("X26ABC3", "X27")] {
            let mailbox = Mailbox { ods: ods.into(), password: Secret("password".into()), ..Default::default() };
            registry.0.insert(rows::mailbox_key(id).build(), mailbox.encode());
        }
        registry.0.insert(rows::workflow_key(b"TEST_WORKFLOW").build(), Workflow::default().encode());
        registry.0.insert(rows::sender_key(b"TEST_WORKFLOW", "X26ABC1").build(), Bytes::new());
        registry.0.insert(rows::receiver_key(b"TEST_WORKFLOW", "X26ABC2").build(), Bytes::new());
        Site { mesh: Arc::new(Mesh::new(options)), memory, registry, state: Mutex::default() }
    }

    /// Rows of the service: what an attack must not change but for tokens and audit.
    pub fn rows(&self) -> MapStore {
        MapStore(self.state.lock().unwrap().rows.0.clone())
    }

    /// Forgets all messages, tokens and notes.
    #[allow(dead_code, reason = "the fuzz targets start each input on an empty site")]
    pub fn clear(&self) {
        *self.state.lock().unwrap() = State::default();
        self.memory.bodies.lock().unwrap().clear();
    }

    /// Interactions that left an audit note.
    pub fn notes(&self) -> usize {
        self.state.lock().unwrap().notes
    }

    /// All audit notes, in their order.
    #[allow(dead_code, reason = "the fuzz targets ask for their number only")]
    pub fn told(&self) -> Vec<AuditNote> {
        self.state.lock().unwrap().told.clone()
    }

    fn service(&self, number: u8) -> &dyn Decide {
        match ServiceId(number) {
            services::TRAIL => &Trail,
            services::RELATIONSHIPS => &Relationships,
            _ => self.mesh.as_ref(),
        }
    }

    fn decide(&self, state: &mut State, command: &Command) -> Result<Bytes, Unavailable> {
        state.sequence += 1;
        let mut entropy = [7; 16];
        entropy[..8].copy_from_slice(&state.sequence.to_be_bytes());
        let stamp = Stamp {
            now: SystemClock.now().0,
            partition: PartitionId(1),
            partitions: 1,
            sequence: state.sequence,
            entropy,
        };
        let overlay = Overlay::default();
        let mut draft = Draft::new(&state.rows, &overlay, &self.registry);
        let reply = self
            .service(command.service)
            .decide(&mut draft, &stamp, command)
            .map_err(|e| Unavailable::Fault(e.to_string()))?;
        let decided = draft.finish();
        state.notes += usize::from(!decided.audit.is_empty() && command.request_id != DELIVERY);
        state.rows.apply(decided.rows);
        state.told.extend(decided.audit);
        for (key, service, payload) in decided.outbox {
            let delivery = Command {
                service: service.0,
                key,
                payload,
                caller: command.caller.clone(),
                request_id: DELIVERY.into(),
                ..Default::default()
            };
            self.decide(state, &delivery)?;
        }
        Ok(reply)
    }
}

/// The backend of one server.
pub struct InProcess(pub Arc<Site>);

impl Backend for InProcess {
    fn submit(&self, command: Command) -> Answering<'_, Outcome> {
        let fails = self.0.memory.fail.lock().unwrap().pop_front();
        let mut state = self.0.state.lock().unwrap();
        let result = match fails {
            Some(why) => Err(why),
            None => self.0.decide(&mut state, &command),
        };
        let outcome =
            result.map(|reply| Outcome { partition: PartitionId(1), index: state.sequence, reply, sent: vec![] });
        Box::pin(async move { outcome })
    }
    fn view(&self, _: PartitionId, _: u64) -> Answering<'_, View> {
        let view = copy(&self.0.state.lock().unwrap().rows);
        Box::pin(async move { Ok(view) })
    }
    fn views_now(&self) -> Answering<'_, Vec<View>> {
        let view = copy(&self.0.state.lock().unwrap().rows);
        Box::pin(async move { Ok(vec![view]) })
    }
    fn settled<'a>(&'a self, _: &'a Outcome) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {})
    }
    fn site(&self) -> View {
        copy(&self.0.registry)
    }
    fn standing(&self, certificate: &str) -> Result<Standing, Unavailable> {
        InMemory(self.0.memory.clone()).standing(certificate)
    }
    fn known<'a>(&'a self, shown: &'a Credentials) -> Answering<'a, Standing> {
        let memory = InMemory(self.0.memory.clone());
        Box::pin(async move { memory.known(shown).await })
    }
    fn upload(&self) -> Answering<'_, Box<dyn Upload>> {
        let backend = InMemory(self.0.memory.clone());
        Box::pin(async move { backend.upload().await })
    }
    fn download(&self, body: Stored) -> Answering<'_, Pieces> {
        let backend = InMemory(self.0.memory.clone());
        Box::pin(async move { backend.download(body).await })
    }
}
