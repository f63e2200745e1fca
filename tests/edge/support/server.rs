//! A running edge with its files, registry and backend in reach of the test.

use super::pki::{Identity, Pki};
use super::trial::{InMemory, Memory, RULES, Trial};
use spine::access::gate::Standing;
use spine::edge::options::Options;
use spine::edge::{Edge, listener, tls::Tls};
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
        spine::ops::recorder::install(1.0);
        let pki = Pki::new();
        let memory = Arc::new(memory);
        let clock = Arc::new(SystemClock);
        let tls = Tls::load(pki.files(), clock.clone()).unwrap();
        let backend = Arc::new(InMemory(memory.clone()));
        let edge = Edge::new(options, tls, clock, &SystemRng, backend, Arc::new(Trial), RULES).unwrap();
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
        let standing = Standing::Approved { asid: asid.into(), ods: "X26".into(), party_key: "X26-1".into() };
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
