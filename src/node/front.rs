//! The suppliers' listener: opened last, drained on request and at the end, taken up again.

use super::{Node, NodeError, rooms::Rooms};
use crate::{
    access::rules,
    config::Settings,
    edge::{
        Edge,
        engine::EngineBackend,
        ldap, listener,
        mesh::MeshProtocol,
        options::Options,
        tls::{Tls, TlsFiles},
    },
    ops::systemd,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// The name under which systemd passes the suppliers' socket (`FileDescriptorName=`).
const PASSED: &str = "supplier";
/// How often certificates and revocation lists are looked at for changes.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

pub struct Front {
    edge: Arc<Edge>,
    /// The LDAP listener's, where there is one.
    directory: Option<(std::net::SocketAddr, Arc<ldap::Directory>, Arc<Tls>)>,
    settings: Settings,
    /// Passed by systemd, kept so that the kernel queues connections while the node drains.
    passed: Option<std::net::TcpListener>,
    serving: tokio::sync::Mutex<Option<Serving>>,
    draining: AtomicBool,
}

struct Serving {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    ldap: Option<JoinHandle<()>>,
}

impl Front {
    pub async fn open(node: &Arc<Node>, rooms: &Rooms) -> Result<Front, NodeError> {
        let settings = &node.settings;
        let tls = Tls::load(files(settings), node.world.clock.clone()).map_err(|e| NodeError::Tls(e.to_string()))?;
        let backend = EngineBackend { engine: rooms.engine.clone(), bulk: rooms.bulk.clone() };
        let directory = open_ldap(node, Arc::new(backend.clone()))?;
        let protocol = MeshProtocol(rooms.mesh.clone());
        let edge = Edge::new(
            options(settings),
            tls,
            node.world.clock.clone(),
            node.world.rng.as_ref(),
            Arc::new(backend),
            Arc::new(protocol),
            rules::MESH,
        );
        let edge = edge.map_err(|e| NodeError::Room { room: "access rules", why: format!("{e:?}") })?;
        let passed = systemd::passed_sockets().map_err(|e| NodeError::Room { room: "systemd", why: e.to_string() })?;
        let passed = passed.into_iter().find(|s| s.name == PASSED).map(systemd::PassedSocket::into_tcp).transpose();
        let passed = passed.map_err(|e| super::listen("supplier.listen", settings.supplier.listen, e))?;
        let front = Front {
            edge,
            directory,
            settings: settings.clone(),
            passed,
            serving: tokio::sync::Mutex::new(None),
            draining: AtomicBool::new(false),
        };
        front.resume().await?;
        Ok(front)
    }

    /// Whether the node is being taken out of traffic.
    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Relaxed);
    }

    /// Listens, unless it does already.
    pub async fn resume(&self) -> Result<(), NodeError> {
        let mut serving = self.serving.lock().await;
        if serving.is_some() {
            return Ok(());
        }
        let address = self.settings.supplier.listen;
        let wrap = |error| super::listen("supplier.listen", address, error);
        let listener = match &self.passed {
            Some(passed) => passed.try_clone().and_then(TcpListener::from_std).map_err(wrap)?,
            None => TcpListener::bind(address).await.map_err(wrap)?,
        };
        self.edge.draining.store(false, Relaxed);
        let (stop, stopped) = watch::channel(false);
        let ldap = match &self.directory {
            Some((address, directory, _)) => {
                let listener = TcpListener::bind(address).await;
                let listener = listener.map_err(|error| super::listen("ldap.listen", *address, error))?;
                Some(tokio::spawn(ldap::serve(directory.clone(), listener, stopped.clone())))
            }
            None => None,
        };
        let task = tokio::spawn(listener::serve(self.edge.clone(), listener, stopped));
        *serving = Some(Serving { stop, task, ldap });
        Ok(())
    }

    /// Stops listening; connections end as their requests are answered. Returns at once.
    pub async fn pause(&self) {
        if let Some(serving) = self.serving.lock().await.take() {
            let _ = serving.stop.send(true);
        }
    }

    /// Stops listening and waits until what is in flight is done, within the edge's own deadline.
    pub async fn close(&self) {
        let Some(serving) = self.serving.lock().await.take() else { return };
        let _ = serving.stop.send(true);
        let _ = serving.task.await;
        if let Some(ldap) = serving.ldap {
            let _ = ldap.await;
        }
    }

    /// Reads certificates and revocation lists again. What cannot be used leaves the old ones serving.
    pub fn reload(&self) -> Result<(), String> {
        if let Some((_, _, tls)) = &self.directory {
            tls.reload().map_err(|e| e.to_string())?;
        }
        self.edge.tls.reload().map_err(|e| e.to_string())
    }
}

/// The LDAP listener's part, if the configuration asks for one. It shows and takes the suppliers' certificates.
fn open_ldap(
    node: &Arc<Node>,
    backend: Arc<EngineBackend>,
) -> Result<Option<(std::net::SocketAddr, Arc<ldap::Directory>, Arc<Tls>)>, NodeError> {
    let settings = &node.settings;
    let Some(address) = settings.ldap.listen else { return Ok(None) };
    let tls = Tls::load(files(settings), node.world.clock.clone()).map_err(|e| NodeError::Tls(e.to_string()))?;
    let tls = Arc::new(tls);
    let options = ldap::Options {
        max_connections: settings.ldap.connections,
        idle_timeout: settings.ldap.idle_timeout,
        ..ldap::Options::default()
    };
    let directory = ldap::Directory::new(options, tls.clone(), node.world.clock.clone(), backend);
    let directory = directory.map_err(|e| NodeError::Room { room: "access rules", why: format!("{e:?}") })?;
    Ok(Some((address, directory, tls)))
}

fn files(settings: &Settings) -> TlsFiles {
    TlsFiles {
        certificate: settings.supplier.cert.clone(),
        key: settings.supplier.key.clone(),
        client_authorities: vec![settings.supplier.ca.clone()],
        revocations: settings.supplier.crl.clone().into_iter().collect(),
        revocation_grace: settings.supplier.crl_grace,
    }
}

fn options(settings: &Settings) -> Options {
    Options {
        max_connections: settings.supplier.connections,
        max_at_work: settings.supplier.at_work,
        turn_patience: settings.supplier.patience,
        rate: settings.supplier.rate,
        burst: settings.supplier.rate,
        header_timeout: settings.supplier.header_timeout,
        idle_timeout: settings.supplier.idle_timeout,
        body_pause: settings.supplier.body_timeout,
        ..Options::default()
    }
}

/// Takes up changed certificates and revocation lists without an operator: keys marked live in the configuration.
pub async fn watch_certificates(node: Arc<Node>) {
    let paths = files(&node.settings);
    let mut all = vec![paths.certificate, paths.key];
    all.extend(paths.client_authorities);
    all.extend(paths.revocations);
    let stamps = || -> Vec<_> { all.iter().map(|p| std::fs::metadata(p).and_then(|m| m.modified()).ok()).collect() };
    let mut seen = stamps();
    loop {
        tokio::time::sleep(LOOK_AT_FILES).await;
        let now = stamps();
        if now == seen {
            continue;
        }
        seen = now;
        if let Some(front) = node.front.get() {
            match front.reload() {
                Ok(()) => tracing::info!(event = "tls.reloaded", "changed certificate files are in use"),
                Err(why) => {
                    tracing::error!(event = "tls.reload.failed", why, "changed certificate files are not usable")
                }
            }
        }
    }
}
