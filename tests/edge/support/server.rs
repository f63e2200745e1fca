//! A running edge with its files, registry and backend in reach of the test.

use super::pki::{Identity, Pki};
use super::site::{InProcess, Site};
use super::trial::{InMemory, Memory, RULES, Trial};
use spine::access::gate::{Rule, Standing};
use spine::access::rules;
use spine::edge::api::Api;
use spine::edge::backend::Backend;
use spine::edge::mesh::MeshProtocol;
use spine::edge::options::Options;
use spine::edge::protocol::{Proof, Protocol};
use spine::edge::{
    Edge, listener,
    tls::{Tls, TlsFiles},
};
use spine::seam::{clock::SystemClock, rng::SystemRng};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Server {
    pub pki: Pki,
    pub memory: Arc<Memory>,
    pub edge: Arc<Edge>,
    pub address: SocketAddr,
    /// A registered system's certificate.
    pub approved: Identity,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub async fn start(options: Options) -> Server {
        Self::with(options, Memory::default()).await
    }

    pub async fn with(options: Options, memory: Memory) -> Server {
        let memory = Arc::new(memory);
        Self::of(options, memory.clone(), Arc::new(InMemory(memory)), Arc::new(Trial), RULES).await
    }

    /// A MESH site behind the edge.
    pub async fn mesh(test_endpoints: bool) -> (Server, Arc<Site>) {
        Self::mesh_with(Options::default(), test_endpoints).await
    }

    pub async fn mesh_with(options: Options, test_endpoints: bool) -> (Server, Arc<Site>) {
        let memory = Arc::new(Memory::default());
        let site = Arc::new(Site::new(memory.clone(), test_endpoints));
        let (backend, protocol) = (Arc::new(InProcess(site.clone())), Arc::new(MeshProtocol(site.mesh.clone())));
        (Self::of(options, memory, backend, protocol, rules::MESH).await, site)
    }

    /// A site with these protocols on its API listener.
    pub async fn services(protocols: Vec<Arc<dyn Protocol>>, rules: &[&[Rule]]) -> (Server, Arc<Site>) {
        let memory = Arc::new(Memory::default());
        let site = Arc::new(Site::new(memory.clone(), false));
        let (backend, api) = (Arc::new(InProcess(site.clone())), Arc::new(Api(protocols)));
        let options = Options { label: "api", ..Options::default() };
        (Self::of(options, memory, backend, api, &Api::rules(rules)).await, site)
    }

    /// An API listener: client certificates are optional.
    pub async fn api(options: Options, memory: Memory, protocol: Arc<dyn Protocol>, rules: &[Rule]) -> Server {
        let memory = Arc::new(memory);
        let options = Options { label: "api", ..options };
        Self::of(options, memory.clone(), Arc::new(InMemory(memory)), protocol, rules).await
    }

    pub async fn of(
        options: Options,
        memory: Arc<Memory>,
        backend: Arc<dyn Backend>,
        protocol: Arc<dyn Protocol>,
        rules: &[Rule],
    ) -> Server {
        spine::ops::recorder::install(1.0);
        let pki = Pki::new();
        let clock = Arc::new(SystemClock);
        let clients_optional = protocol.proof() == Proof::Credentials;
        let tls = Tls::load(TlsFiles { clients_optional, ..pki.files() }, clock.clone()).unwrap();
        let edge = Edge::new(options, tls, clock, &SystemRng, backend, protocol, rules).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(listener::serve(edge.clone(), listener, stopped));
        let approved = pki.client(100);
        let server = Server { pki, memory, edge, address, approved: approved.clone(), stop, task: Some(task) };
        server.register(&approved, "200000000100");
        server
    }

    pub fn register(&self, identity: &Identity, asid: &str) {
        self.register_as(identity, asid, false);
    }

    pub fn register_as(&self, identity: &Identity, asid: &str, emergency: bool) {
        let (asid, ods, party_key) = (asid.into(), "X26".into(), "X26-1".into());
        let standing = Standing::Approved { asid, ods, party_key, emergency };
        self.memory.registry.lock().unwrap().insert(identity.sha256(), standing);
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.edge.connections()
    }

    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the drain's end.
    pub async fn stopped(&mut self) {
        self.stop();
        self.task.take().unwrap().await.unwrap();
    }
}
