//! A whole PDS site in maps, at three partitions: the service decides, rows apply at once, request ids are remembered, and what
//! one partition sends another follows at once.

use super::server::Server;
use super::trial::{InMemory, Memory};
use super::{Client, client};
use bytes::Bytes;
use serde_json::Value;
use spine::access::caller::Caller;
use spine::access::gate::{Proven, Standing};
use spine::access::rules;
use spine::edge::api::Api;
use spine::edge::backend::{Answering, Backend, Credentials, Stored, Upload, View};
use spine::edge::options::Options;
use spine::edge::payload::Pieces;
use spine::edge::pds::PdsProtocol;
use spine::engine::draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp};
use spine::engine::{Command, Outcome, PartitionId, PartitionMap, Unavailable, services};
use spine::seam::clock::{Clock, SystemClock};
use spine::services::pds::command::{Import, PdsCommand};
use spine::services::pds::{Pds, import};
use spine::services::trail::Trail;
use spine::wire::record::Record;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

const PARTITIONS: u16 = 3;
const PEOPLE: &str = include_str!("../../data/pds/people/seed.json");

/// The published people.
pub fn published() -> Vec<Value> {
    let file: Value = serde_json::from_str(PEOPLE).unwrap();
    file["people"].as_array().unwrap().clone()
}

pub struct People {
    pds: Arc<Pds>,
    memory: Arc<Memory>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    partitions: Vec<MapStore>,
    /// Replies by caller and request id, as the engine remembers them.
    remembered: BTreeMap<(String, String), Outcome>,
    sequence: u64,
    notes: Vec<AuditNote>,
}

/// The site behind a server.
struct Behind(Arc<People>);

impl People {
    /// A server of the published people, who asks for whom by the word behind `Bearer`: `app`, `privileged`, `worker`, `reader`, `desk`, or a
    /// patient's own number.
    pub async fn start() -> (Server, Arc<People>) {
        People::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> (Server, Arc<People>) {
        let memory = Arc::new(Memory::default());
        let state = State { partitions: (0..PARTITIONS).map(|_| MapStore::default()).collect(), ..Default::default() };
        let people =
            Arc::new(People { pds: Arc::new(Pds::default()), memory: memory.clone(), state: Mutex::new(state) });
        let mut callers = vec![
            ("app".to_owned(), scoped("urn:nhsd:apim:app:level3:personal-demographics-service")),
            ("privileged".to_owned(), scoped("urn:nhsd:apim:app:level3:privileged-personal-demographics-service")),
            // Of staff: one who may amend, one who may find, and one at the desk who may neither.
            ("worker".to_owned(), worker(&["B0825"])),
            ("reader".to_owned(), worker(&["B0820"])),
            ("desk".to_owned(), worker(&["B0062"])),
        ];
        callers.push(("other-product".to_owned(), scoped("urn:nhsd:apim:app:level3:spine-directory")));
        callers.push(("low".to_owned(), scoped("urn:nhsd:apim:user-nhs-id:aal2:personal-demographics-service")));
        for person in published() {
            let nhs_number = person["nhsNumber"].as_str().unwrap().to_owned();
            callers.push((
                nhs_number.clone(),
                Caller {
                    nhs_number,
                    vector_of_trust: "P9.Cp.Cd".into(),
                    ..scoped("urn:nhsd:apim:user-nhs-login:P9:personal-demographics-service")
                },
            ));
            people.import(&person.to_string()).unwrap();
        }
        {
            let mut registry = memory.registry.lock().unwrap();
            for (word, caller) in callers {
                let standing = Standing::Proven(Box::new(Proven { caller, ..Default::default() }));
                registry.insert(format!("bearer {word}"), standing);
            }
        }
        let protocol = Arc::new(Api(vec![Arc::new(PdsProtocol(people.pds.clone()))]));
        let options = Options { label: "api", ..options };
        let backend = Arc::new(Behind(people.clone()));
        (Server::of(options, memory, backend, protocol, &Api::rules(&[rules::PDS])).await, people)
    }

    pub fn import(&self, line: &str) -> Result<(), String> {
        let (nhs, line) = import::line(line)?;
        let import = Import { people: vec![line.encode()], source: "a file".into(), ..Default::default() };
        let command = Command {
            service: services::PDS.0,
            key: Bytes::from(nhs.digits()),
            payload: PdsCommand::from(import).encode(),
            caller: Caller { operator: "uid:0".into(), ..Default::default() },
            ..Default::default()
        };
        self.decide(&mut self.state.lock().unwrap(), &command).map(|_| ()).map_err(|e| e.to_string())
    }

    /// From now on these credentials stand so.
    pub fn know(&self, credentials: &str, standing: Standing) {
        self.memory.registry.lock().unwrap().insert(credentials.to_owned(), standing);
    }

    /// Notes left so far.
    pub fn notes(&self) -> Vec<AuditNote> {
        self.state.lock().unwrap().notes.clone()
    }

    /// Decides, or remembers what was decided for the request's id.
    fn submitted(&self, command: &Command) -> Result<Outcome, Unavailable> {
        let mut state = self.state.lock().unwrap();
        let caller = &command.caller;
        let id = (format!("{} {} {}", caller.application, caller.user, caller.nhs_number), command.request_id.clone());
        let named = !command.request_id.is_empty();
        if let Some(outcome) = state.remembered.get(&id).filter(|_| named) {
            return Ok(outcome.clone());
        }
        let outcome = self.decide(&mut state, command)?;
        if named {
            state.remembered.insert(id, outcome.clone());
        }
        Ok(outcome)
    }

    fn decide(&self, state: &mut State, command: &Command) -> Result<Outcome, Unavailable> {
        let map = PartitionMap { partitions: PARTITIONS };
        let partition = map.of(&command.key);
        state.sequence += 1;
        let mut entropy = [7; 16];
        entropy[..8].copy_from_slice(&state.sequence.to_be_bytes());
        let stamp =
            Stamp { now: SystemClock.now().0, partition, partitions: PARTITIONS, sequence: state.sequence, entropy };
        let (overlay, site) = (Overlay::default(), MapStore::default());
        let at = usize::from(partition.0) - 1;
        let mut draft = Draft::new(&state.partitions[at], &overlay, &site);
        let service: &dyn Decide = match command.service {
            id if id == services::TRAIL.0 => &Trail,
            _ => self.pds.as_ref(),
        };
        let reply = service.decide(&mut draft, &stamp, command).map_err(|e| Unavailable::Fault(e.to_string()))?;
        let decided = draft.finish();
        state.notes.extend(decided.audit);
        state.partitions[at].apply(decided.rows);
        for (key, service, payload) in decided.outbox {
            let delivery =
                Command { service: service.0, key, payload, caller: command.caller.clone(), ..Default::default() };
            self.decide(state, &delivery)?;
        }
        Ok(Outcome { partition, index: state.sequence, reply, sent: vec![] })
    }
}

fn scoped(scope: &str) -> Caller {
    Caller { application: "app-1".into(), scopes: vec![scope.into()], ..Default::default() }
}

fn worker(activities: &[&str]) -> Caller {
    Caller {
        level: "aal3".into(),
        user: "555254240100".into(),
        role_profile: "555254241102".into(),
        activities: activities.iter().map(|a| (*a).to_owned()).collect(),
        ..scoped("urn:nhsd:apim:user-nhs-id:aal3:personal-demographics-service")
    }
}

fn copy(store: &MapStore) -> View {
    Arc::new(MapStore(store.0.clone()))
}

impl Backend for Behind {
    fn submit(&self, command: Command) -> Answering<'_, Outcome> {
        Box::pin(async move {
            let hold = self.0.memory.hold.lock().unwrap().clone();
            if let Some(mut hold) = hold {
                let _ = hold.wait_for(|held| !held).await;
            }
            self.0.submitted(&command)
        })
    }
    fn view(&self, partition: PartitionId, _: u64) -> Answering<'_, View> {
        let view = copy(&self.0.state.lock().unwrap().partitions[usize::from(partition.0) - 1]);
        Box::pin(async move { Ok(view) })
    }
    fn views_now(&self) -> Answering<'_, Vec<View>> {
        let views = self.0.state.lock().unwrap().partitions.iter().map(copy).collect();
        Box::pin(async move { Ok(views) })
    }
    fn settled<'a>(&'a self, _: &'a Outcome) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {})
    }
    fn site(&self) -> View {
        Arc::new(MapStore::default())
    }
    fn standing(&self, certificate: &str) -> Result<Standing, Unavailable> {
        InMemory(self.0.memory.clone()).standing(certificate)
    }
    fn known<'a>(&'a self, shown: &'a Credentials) -> Answering<'a, Standing> {
        let backend = InMemory(self.0.memory.clone());
        let shown = shown.clone();
        Box::pin(async move { backend.known(&shown).await })
    }
    fn upload(&self) -> Answering<'_, Box<dyn Upload>> {
        Box::pin(async { Err(Unavailable::Fault("PDS stores no bodies".into())) })
    }
    fn download(&self, _: Stored) -> Answering<'_, Pieces> {
        Box::pin(async { Err(Unavailable::Fault("PDS stores no bodies".into())) })
    }
}

/// A connection to the server, and requests as clients make them.
pub struct Asker {
    client: Client,
    count: u64,
}

/// What came back: status, head, body.
pub struct Told {
    pub status: u16,
    pub etag: String,
    pub retry_after: String,
    pub correlation: Option<String>,
    pub body: Value,
}

impl Told {
    /// The code of an OperationOutcome.
    pub fn code(&self) -> &str {
        self.body["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap_or_default()
    }
    pub fn numbers(&self) -> Vec<&str> {
        assert_eq!((self.status, self.body["resourceType"].as_str()), (200, Some("Bundle")), "{}", self.body);
        self.body["entry"].as_array().into_iter().flatten().map(|e| e["resource"]["id"].as_str().unwrap()).collect()
    }
}

impl Asker {
    pub async fn connect(server: &Server) -> Asker {
        let config = client::config(server, None, rustls::ALL_VERSIONS);
        Asker { client: Client::with(server, config).await.unwrap(), count: 0 }
    }

    /// One request with an id of its own. `headers` end with a line break each.
    pub async fn ask(&mut self, who: &str, method: &str, target: &str, headers: &str, body: &[u8]) -> Told {
        self.count += 1;
        let id = format!("60e0b220-8136-4ca5-ae46-{:012x}", self.count + (std::process::id() as u64) * 1_000_000);
        self.with_id(&id, who, method, target, headers, body).await
    }

    pub async fn with_id(
        &mut self,
        id: &str,
        who: &str,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Told {
        let mut bytes = format!(
            "{method} /personal-demographics/FHIR/R4{target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {who}\r\n\
             x-request-id: {id}\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        let answer = self.client.ask(bytes).await;
        assert_eq!(
            answer.header("content-type"),
            Some("application/fhir+json"),
            "{method} {target}: {}",
            answer.text()
        );
        assert_eq!(answer.header("x-request-id"), Some(id));
        Told {
            status: answer.status,
            etag: answer.header("etag").unwrap_or_default().to_owned(),
            retry_after: answer.header("retry-after").unwrap_or_default().to_owned(),
            correlation: answer.header("x-correlation-id").map(str::to_owned),
            body: serde_json::from_slice(&answer.body).unwrap(),
        }
    }

    pub async fn get(&mut self, who: &str, target: &str) -> Told {
        self.ask(who, "GET", target, "", b"").await
    }
}
