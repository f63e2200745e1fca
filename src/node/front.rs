//! The listeners for clients: suppliers' systems, and the HTTP APIs where they are on. Opened last, drained on request and
//! at the end, taken up again.

use super::{
    Node, NodeError,
    outgoing::Outgoing,
    rooms::{self, Rooms},
};
use crate::{
    access::rules,
    config::Settings,
    edge::{
        Edge,
        api::Api,
        busiest::{Busiest, Deeds, Party},
        directory::DirectoryProtocol,
        documents::DocumentsProtocol,
        engine::EngineBackend,
        eps::EpsProtocol,
        identity::IdentityProtocol,
        ldap, listener,
        mesh::MeshProtocol,
        openapi::OpenapiProtocol,
        options::Options,
        pages::PagesProtocol,
        pds::PdsProtocol,
        prescribers::Prescribers,
        protocol::Protocol,
        relationships::RelationshipsProtocol,
        relays::{self, Relays},
        smsp::{SmspProtocol, Suppliers},
        tls::{Tls, TlsFiles},
        trail::TrailProtocol,
        upstream::Files,
    },
    ops::systemd,
    seam::clock::Clock,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// How often certificates and revocation lists are looked at for changes.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

pub struct Front {
    doors: Vec<Door>,
    /// The directory's LDAP face, where there is one.
    ldap: Option<LdapDoor>,
    /// The system that is being replaced.
    pub relays: Arc<Relays>,
    /// Whose signatures prescriptions are taken with.
    prescribers: Arc<Prescribers>,
    draining: AtomicBool,
}

/// One listener.
struct Door {
    edge: Arc<Edge>,
    /// The configuration's key of its address.
    key: &'static str,
    address: SocketAddr,
    /// Passed by systemd, kept so that the kernel queues connections while the node drains.
    passed: Option<std::net::TcpListener>,
    serving: tokio::sync::Mutex<Option<Serving>>,
}

/// The LDAP listener. It shows and takes the suppliers' certificates.
struct LdapDoor {
    address: SocketAddr,
    /// As a [`Door`]'s.
    passed: Option<std::net::TcpListener>,
    directory: Arc<ldap::Directory>,
    tls: Arc<Tls>,
    serving: tokio::sync::Mutex<Option<Serving>>,
}

struct Serving {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What tells one listener from the other.
struct Plan {
    key: &'static str,
    address: SocketAddr,
    /// The name under which systemd passes its socket (`FileDescriptorName=`).
    socket: &'static str,
    files: TlsFiles,
    options: Options,
    protocol: Arc<dyn Protocol>,
    rules: Vec<crate::access::gate::Rule>,
}

impl Front {
    pub async fn open(node: &Arc<Node>, rooms: &Rooms) -> Result<Front, NodeError> {
        let settings = &node.settings;
        let (engine, bulk) = (rooms.engine.clone(), rooms.bulk.clone());
        let courier = Arc::new(Outgoing::new(settings.api.logout_ca.clone()));
        let relays = Relays::new(&upstreams(settings)).map_err(|e| NodeError::Tls(format!("upstream: {e}")))?;
        let relays = Arc::new(relays);
        let clock = node.world.clock.clone();
        let backend = Arc::new(EngineBackend { engine, bulk, clock, courier, relays: relays.clone() });
        let passed = systemd::passed_sockets().map_err(|e| NodeError::Room { room: "systemd", why: e.to_string() })?;
        let mut passed = Passed(passed.into_iter().map(Some).collect());
        let mut doors = vec![];
        for plan in plans(settings, rooms, &node.world.clock) {
            let Plan { key, address, socket, files, options, protocol, rules } = plan;
            let tls = Tls::load(files, node.world.clock.clone()).map_err(|e| NodeError::Tls(e.to_string()))?;
            let (clock, rng) = (node.world.clock.clone(), node.world.rng.as_ref());
            let edge = Edge::new(options, tls, clock, rng, backend.clone(), protocol, &rules);
            let edge = edge.map_err(|e| NodeError::Room { room: "access rules", why: format!("{e:?}") })?;
            let passed = passed.take(socket, key, address)?;
            doors.push(Door { edge, key, address, passed, serving: tokio::sync::Mutex::new(None) });
        }
        let ldap = LdapDoor::open(node, backend, &mut passed)?;
        passed.tell_of_the_rest();
        let prescribers = rooms.prescribers.clone();
        let front = Front { doors, ldap, relays, prescribers, draining: AtomicBool::new(false) };
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
        for door in &self.doors {
            door.resume().await?;
        }
        match &self.ldap {
            Some(ldap) => ldap.resume().await,
            None => Ok(()),
        }
    }

    /// Stops listening; connections end as their requests are answered. Returns at once.
    pub async fn pause(&self) {
        for place in self.places() {
            if let Some(serving) = place.lock().await.take() {
                let _ = serving.stop.send(true);
            }
        }
    }

    /// Stops listening and waits until what is in flight is done, within the edge's own deadline.
    pub async fn close(&self) {
        let mut ending = vec![];
        for place in self.places() {
            if let Some(serving) = place.lock().await.take() {
                let _ = serving.stop.send(true);
                ending.push(serving.task);
            }
        }
        for task in ending {
            let _ = task.await;
        }
    }

    /// Reads certificates and revocation lists again, from where `settings` say. All listeners take theirs, and prescriptions
    /// those of prescribers, or nobody does.
    pub fn reload(&self, settings: &Settings) -> Result<(), String> {
        let doors = self.doors.iter().map(|door| (&door.edge.tls, door.key));
        let all = doors.chain(self.ldap.iter().map(|ldap| (ldap.tls.as_ref(), "ldap.listen")));
        let read = all.map(|(tls, key)| {
            let files = if key == "api.listen" { api_files(settings) } else { files(settings) };
            tls.prepare(files).map(|fresh| (tls, fresh))
        });
        let fresh = read.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
        let trust = self.prescribers.prepare(rooms::trust_files(settings)).map_err(|e| e.to_string())?;
        let upstreams = Relays::prepare(&upstreams(settings)).map_err(|e| format!("upstream: {e}"))?;
        fresh.into_iter().for_each(|(tls, fresh)| tls.take(fresh));
        self.relays.take(upstreams);
        self.prescribers.take(trust);
        Ok(())
    }

    /// Who kept each listener busy in the last minute.
    pub fn busiest(&self, now_ms: u64) -> Vec<(&'static str, BTreeMap<Party, Deeds>)> {
        let doors = self.doors.iter().map(|door| (door.key, &door.edge.busiest));
        let all = doors.chain(self.ldap.iter().map(|ldap| ("ldap.listen", &ldap.directory.busiest)));
        let told = |(key, busiest): (&'static str, &Busiest)| {
            let mut parties = BTreeMap::new();
            busiest.tell(now_ms, &mut parties);
            (key.trim_end_matches(".listen"), parties)
        };
        all.map(told).collect()
    }

    /// Where a listener really listens, if systemd opened its socket: that wins over the configuration.
    pub fn passed(&self, key: &str) -> Option<SocketAddr> {
        let door = self.doors.iter().find(|door| door.key == key)?;
        door.passed.as_ref()?.local_addr().ok()
    }
}

impl Front {
    fn places(&self) -> impl Iterator<Item = &tokio::sync::Mutex<Option<Serving>>> {
        self.doors.iter().map(|door| &door.serving).chain(self.ldap.iter().map(|ldap| &ldap.serving))
    }
}

/// Sockets that systemd passed, until somebody takes them.
struct Passed(Vec<Option<systemd::PassedSocket>>);

impl Passed {
    fn take(
        &mut self,
        name: &str,
        key: &'static str,
        address: SocketAddr,
    ) -> Result<Option<std::net::TcpListener>, NodeError> {
        let found = self.0.iter_mut().find(|s| s.as_ref().is_some_and(|s| s.name == name)).and_then(Option::take);
        let socket = found.map(systemd::PassedSocket::into_tcp).transpose();
        let socket = socket.map_err(|e| super::listen(key, address, e))?;
        if let Some(passed) = socket.as_ref().and_then(|s| s.local_addr().ok()) {
            tracing::info!(event = "listen.passed", key, configured = %address, %passed, "systemd's socket is used");
        }
        Ok(socket)
    }

    /// A socket that nobody serves lets clients in and never answers.
    fn tell_of_the_rest(&self) {
        for name in self.0.iter().flatten().map(|s| s.name.as_str()) {
            tracing::warn!(
                event = "listen.unserved",
                name,
                "systemd passed a socket for which the configuration has no listener: who connects waits for ever; \
                set NAME.listen, or disable the socket unit"
            );
        }
    }
}

impl LdapDoor {
    /// `None` where the configuration asks for none.
    fn open(node: &Arc<Node>, backend: Arc<EngineBackend>, passed: &mut Passed) -> Result<Option<LdapDoor>, NodeError> {
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
        let passed = passed.take("ldap", "ldap.listen", address)?;
        Ok(Some(LdapDoor { address, passed, directory, tls, serving: tokio::sync::Mutex::new(None) }))
    }

    async fn resume(&self) -> Result<(), NodeError> {
        let mut serving = self.serving.lock().await;
        if serving.is_some() {
            return Ok(());
        }
        let listener = match &self.passed {
            Some(passed) => passed.try_clone().and_then(TcpListener::from_std),
            None => TcpListener::bind(self.address).await,
        };
        let listener = listener.map_err(|error| super::listen("ldap.listen", self.address, error))?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(ldap::serve(self.directory.clone(), listener, stopped));
        *serving = Some(Serving { stop, task });
        Ok(())
    }
}

impl Door {
    async fn resume(&self) -> Result<(), NodeError> {
        let mut serving = self.serving.lock().await;
        if serving.is_some() {
            return Ok(());
        }
        let wrap = |error| super::listen(self.key, self.address, error);
        let listener = match &self.passed {
            Some(passed) => passed.try_clone().and_then(TcpListener::from_std).map_err(wrap)?,
            None => TcpListener::bind(self.address).await.map_err(wrap)?,
        };
        self.edge.draining.store(false, Relaxed);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(listener::serve(self.edge.clone(), listener, stopped));
        *serving = Some(Serving { stop, task });
        Ok(())
    }
}

/// The listeners that the configuration asks for.
fn plans(settings: &Settings, rooms: &Rooms, clock: &Arc<dyn Clock>) -> Vec<Plan> {
    let mut plans = vec![Plan {
        key: "supplier.listen",
        address: settings.supplier.listen,
        socket: "supplier",
        files: files(settings),
        options: options(settings),
        protocol: Arc::new(Suppliers {
            mesh: MeshProtocol(rooms.mesh.clone()),
            others: vec![Arc::new(SmspProtocol), Arc::new(OpenapiProtocol)],
        }),
        rules: [rules::MESH, rules::SMSP, rules::SUPPLIERS].concat(),
    }];
    if let Some(address) = settings.api.listen {
        let protocols: Vec<Arc<dyn Protocol>> = vec![
            Arc::new(IdentityProtocol::new(rooms.tokens.clone())),
            Arc::new(PdsProtocol(rooms.pds.clone())),
            Arc::new(EpsProtocol {
                eps: rooms.eps.clone(),
                prescribers: rooms.prescribers.clone(),
                clock: clock.clone(),
            }),
            Arc::new(DirectoryProtocol { clock: clock.clone() }),
            Arc::new(TrailProtocol),
            Arc::new(RelationshipsProtocol),
            Arc::new(PagesProtocol),
            Arc::new(OpenapiProtocol),
            Arc::new(DocumentsProtocol),
        ];
        plans.push(Plan {
            key: "api.listen",
            address,
            socket: "api",
            files: api_files(settings),
            options: Options { label: "api", application_rate: Some(settings.api.rate), ..options(settings) },
            protocol: Arc::new(Api(protocols)),
            rules: Api::rules(&[
                rules::IDENTITY,
                rules::PDS,
                rules::EPS,
                rules::DIRECTORY,
                rules::AUDIT,
                rules::RELATIONSHIPS,
                rules::PAGES,
                rules::OPENAPI,
                rules::DOCUMENTS,
            ]),
        });
    }
    plans
}

fn files(settings: &Settings) -> TlsFiles {
    TlsFiles {
        certificate: settings.supplier.cert.clone(),
        key: settings.supplier.key.clone(),
        client_authorities: vec![settings.supplier.ca.clone()],
        revocations: settings.supplier.crl.clone().into_iter().collect(),
        revocation_grace: settings.supplier.crl_grace,
        clients_optional: false,
        usage: "suppliers",
    }
}

/// A client certificate may be shown to the APIs, and is then checked like a supplier's.
fn api_files(settings: &Settings) -> TlsFiles {
    TlsFiles {
        certificate: settings.api.cert.clone(),
        key: settings.api.key.clone(),
        clients_optional: true,
        usage: "api",
        ..files(settings)
    }
}

/// Where requests are handed to, and who the site is there.
fn upstreams(settings: &Settings) -> relays::Plan {
    let of = &settings.upstream;
    let files = Files { authorities: of.ca.clone(), certificate: of.cert.clone(), key: of.key.clone() };
    relays::Plan { files, addresses: of.addresses.clone(), patience: of.patience, most: of.relays }
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
    let stamps = || -> Vec<_> {
        let settings = node.current.load();
        let (paths, api) = (files(&settings), api_files(&settings));
        let mut all = vec![paths.certificate, paths.key];
        if settings.api.listen.is_some() {
            all.extend([api.certificate, api.key]);
        }
        all.extend(paths.client_authorities);
        all.extend(paths.revocations);
        if !settings.upstream.addresses.is_empty() {
            let of = &settings.upstream;
            all.extend([&of.ca, &of.cert, &of.key].map(Clone::clone));
        }
        all.extend(settings.eps.trust.iter().chain(&settings.eps.revocations).cloned());
        all.iter().map(|path| Stamp::of(path)).collect()
    };
    let mut seen = stamps();
    loop {
        tokio::time::sleep(LOOK_AT_FILES).await;
        let now = stamps();
        if now == seen {
            continue;
        }
        seen = now;
        let node = node.clone();
        // It waits for its turn and reads files: not on a thread that serves.
        let done = tokio::task::spawn_blocking(move || super::reload::again(&node)).await;
        match done.unwrap_or_else(|e| Err(super::reload::ReloadError::Tls(e.to_string()))) {
            Ok(()) => tracing::info!(event = "tls.reloaded", "changed certificate files are in use"),
            // The files are read when the listeners open.
            Err(super::reload::ReloadError::Starting) => {}
            Err(why) => {
                tracing::error!(event = "tls.reload.failed", %why, "changed certificate files are not usable")
            }
        }
    }
}

/// What tells a file from the one that was read: contents, and who may read it. A file that could not be read for its owner
/// or mode keeps its time of writing when that is mended.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    changed: (i64, i64),
    length: u64,
}

impl Stamp {
    /// `None` where there is no such file.
    fn of(path: &Path) -> Option<Stamp> {
        let found = std::fs::metadata(path).ok()?;
        Some(Stamp { inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()), length: found.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_another_one_when_its_mode_was_mended_and_the_same_when_nothing_was_done() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        assert_eq!(Stamp::of(&path), None);
        std::fs::write(&path, "x").unwrap();
        let first = Stamp::of(&path);
        assert_eq!(Stamp::of(&path), first);
        // The file system's clock ticks by milliseconds: as often as it takes, and no longer than ten seconds.
        let until = std::time::Instant::now() + LOOK_AT_FILES;
        let mend = || std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        while Stamp::of(&path) == first && std::time::Instant::now() < until {
            mend();
        }
        assert_ne!(Stamp::of(&path), first, "chmod");
    }
}
