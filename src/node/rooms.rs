//! Opens the rooms below the listeners in their order, and closes them in reverse.

use super::{
    Node, NodeError,
    data::{self, Data, DataOptions},
    door, examine,
    identity::{self, Identity},
    level, pki, report, settle,
    signer::NodeSigner,
    succession,
};
use crate::{
    audit::Ca,
    config::Settings,
    consensus::{self, Consensus, Group, Member, RaftId, StateMachine},
    edge::prescribers::{Prescribers, TrustFiles},
    engine::{Agreement, Applier, Engine, EngineOptions, Rows, SITE, bulk::Bulk},
    log::{Log, LogOptions},
    ops::metrics as names,
    peer::{Peers, Tls},
    seam::net::{NodeNumber, Router, Transport},
    services::{
        directory::Directory,
        eps::{Eps, EpsOptions},
        identity::{Identity as TokenService, IdentityOptions},
        mesh::Mesh,
        pds::{Pds, PdsOptions},
        relationships::Relationships,
        trail::Trail,
    },
    store::{Store, StoreError, StoreOptions, blobs::Blobs},
};
use bytes::Bytes;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

/// Everything that runs below the listeners.
pub struct Rooms {
    pub identity: Identity,
    pub peers: Peers,
    pub transport: Arc<dyn Transport>,
    pub consensus: Consensus,
    pub groups: Vec<Group>,
    pub engine: Engine,
    pub bulk: Bulk,
    pub mesh: Arc<Mesh>,
    pub tokens: Arc<TokenService>,
    pub pds: Arc<Pds>,
    pub eps: Arc<Eps>,
    pub prescribers: Arc<Prescribers>,
    pub ca: Ca,
    pub log: Log,
    pub store: Store,
    /// What was damaged when the node started, and is whole again: for operators.
    pub mended: Vec<String>,
}

/// What is open before it is certain that the data can be used.
struct Base {
    identity: Identity,
    data: Data,
    router: Arc<Router>,
}

impl Base {
    /// Whether the site has gone on with this node since its data were written.
    async fn is_past(&self, peers: &[(NodeNumber, SocketAddr)], transport: &Arc<dyn Transport>) -> bool {
        let id = RaftId::new(NodeNumber(self.identity.node), self.identity.incarnation);
        let past = settle::past(id, &self.data.log, &self.data.store, peers, transport).await;
        if let Some(why) = &past {
            tracing::error!(
                event = "node.data.old",
                %why,
                "the site has gone on with this node since its disk was written: \
                an older state was put back; it comes back as its next incarnation"
            );
        }
        past.is_some()
    }

    async fn close(self) {
        let Data { log, store, consensus, .. } = self.data;
        drop(consensus);
        let _ = store.close().await;
        log.close().await;
    }
}

impl Rooms {
    /// Opens everything; a node without usable data gets its next incarnation from its peers first.
    pub async fn open(node: &Arc<Node>, cluster: String) -> Result<Rooms, NodeError> {
        let settings = &node.settings;
        let tls = read_tls(settings)?;
        let router = Arc::new(Router::default());
        let peers = Peers::new(NodeNumber(settings.node.number), &cluster, &tls, router.clone());
        let peers = peers.map_err(|e| NodeError::Tls(e.to_string()))?;
        let transport: Arc<dyn Transport> = Arc::new(peers.clone());
        for (number, address) in settle::peers(settings) {
            transport.set_address(number, address);
        }
        examine::alone(settings, &peers).await?;
        level::of_peers(settings, &transport, identity::LEVEL).await?;
        let base = loop {
            match open_base(node, &cluster, &transport, &router).await? {
                Some(base) if base.is_past(&settle::peers(settings), &transport).await => base.close().await,
                Some(base) => break base,
                None => {}
            }
            // Damage that nobody could repair, or data of the past: begin again as the next incarnation.
            set_aside(&settings.node.data)?;
        };
        if let Ok(site) = base.data.store.partition(SITE.0) {
            examine::not_left_behind(settings, site.as_ref(), &peers).await?;
        }
        let prescribers = Arc::new(prescribers(node)?);
        let engine_parts = engine(node, &base, &transport, &tls).await?;
        let address = settings.peer.listen;
        let level = level::of_rows(engine_parts.1.local(SITE).as_ref(), identity::LEVEL)?;
        let _ = door::bar(node, &engine_parts.1, &peers);
        peers.listen(address).await.map_err(|error| super::listen("peer.listen", address, error))?;
        let (groups, engine, bulk, Services { mesh, tokens, pds, eps }) = engine_parts;
        let Base { mut identity, data: Data { log, store, consensus, mended }, router } = base;
        if !identity.settled || identity.founder {
            (identity.settled, identity.founder) = (true, false);
            identity.write(&settings.node.data)?;
        }
        identity::note_release(&settings.node.data, level)?;
        door::claim(&router, node);
        report::claim(&router, node);
        succession::claim(&router, node);
        let past = identity::read_trail_authorities(settings).map_err(|e| NodeError::Tls(e.to_string()))?;
        let ca = Ca::new([certificates(&tls.ca_pem)?, certificates(past.as_bytes())?].concat());
        Ok(Rooms {
            identity,
            peers,
            transport,
            consensus,
            groups,
            engine,
            bulk,
            mesh,
            tokens,
            pds,
            eps,
            prescribers,
            ca,
            log,
            store,
            mended,
        })
    }

    /// Stops deciding, then agreement, then closes the store and the log, synced.
    pub async fn close(&self) {
        self.engine.stop().await;
        self.consensus.shutdown().await;
        self.peers.close();
        if let Err(e) = self.store.clone().close().await {
            // Nothing rests on it: the log has everything.
            tracing::warn!(event = "store.close.failed", error = %e, "the store was not closed cleanly");
        }
        self.log.clone().close().await;
    }

    /// Ends when stored rows fail a check: the node must stop and start again, which rebuilds them (P7).
    pub async fn damaged(&self) -> String {
        let mut damage = self.store.damage();
        match damage.wait_for(|partitions| !partitions.is_empty()).await {
            Ok(partitions) => {
                let numbers: Vec<String> = partitions.iter().map(|p| p.to_string()).collect();
                format!("of partition {}", numbers.join(", "))
            }
            // The store is closing.
            Err(_) => std::future::pending().await,
        }
    }

    /// A digest of this node's rows of each partition, with the index it belongs to: equal on all nodes at one index.
    pub async fn hashes(&self) -> Result<Vec<(u16, u64, [u8; 32])>, StoreError> {
        let mut all = vec![];
        for number in 0..self.groups.len() as u16 {
            // A partition that never comes to rest has no digest now.
            if let Some((index, hash)) = self.store.partition(number)?.hash().await? {
                all.push((number, index, hash));
            }
        }
        Ok(all)
    }

    /// Bytes on disk of log and store.
    pub fn bytes(&self) -> (u64, u64) {
        (self.log.bytes(), self.store.bytes())
    }
}

/// Log, store and agreement under this node's identity. `None`: the data is damaged beyond what peers can repair.
async fn open_base(
    node: &Arc<Node>,
    cluster: &str,
    transport: &Arc<dyn Transport>,
    router: &Arc<Router>,
) -> Result<Option<Base>, NodeError> {
    let settings = &node.settings;
    let identity = settle::settle(settings, cluster, transport).await?;
    let id = RaftId::new(NodeNumber(identity.node), identity.incarnation);
    let mut consensus = consensus::Options::new(cluster, id, settings.peer.advertise);
    consensus.heartbeat = settings.raft.heartbeat;
    consensus.election = (settings.raft.election_min, settings.raft.election_max);
    consensus.keep_bytes = settings.storage.log_keep;
    consensus.snapshot_after_bytes = settings.storage.snapshot_after;
    // What the archive still wants is known only when it was looked for.
    consensus.hold = if settings.backup.archive_every.is_some() { 0 } else { u64::MAX };
    consensus.fatal = fatal();
    let options = DataOptions {
        dir: settings.node.data.clone(),
        log: LogOptions { segment_bytes: settings.storage.log_segment, fatal: fatal(), ..Default::default() },
        store: store_options(settings),
        consensus,
        waits: {
            let node = node.clone();
            Arc::new(move |what: &str| node.waits_for(what))
        },
    };
    let opened = data::open(&node.world, options, &settle::peers(settings), transport, router).await?;
    Ok(opened.map(|data| Base { identity, data, router: router.clone() }))
}

type EngineParts = (Vec<Group>, Engine, Bulk, Services);

/// Those that the listeners ask too.
struct Services {
    mesh: Arc<Mesh>,
    tokens: Arc<TokenService>,
    pds: Arc<Pds>,
    eps: Arc<Eps>,
}

/// Groups over the log, the engine over the groups, the services in the engine.
async fn engine(
    node: &Arc<Node>,
    base: &Base,
    transport: &Arc<dyn Transport>,
    tls: &Tls,
) -> Result<EngineParts, NodeError> {
    let settings = &node.settings;
    let failed = |room: &'static str| move |e: String| NodeError::Room { room, why: e };
    let mut rows: Vec<Arc<dyn Rows>> = vec![];
    for number in 0..=base.identity.partitions {
        rows.push(base.data.store.partition(number).map_err(|e| failed("store")(e.to_string()))?);
    }
    let applier = Applier::new(rows, fatal());
    let mut groups = vec![];
    for number in 0..=base.identity.partitions {
        let group = base.data.consensus.open(number, applier.clone() as Arc<dyn StateMachine>).await;
        let group = group.map_err(|e| failed("consensus")(e.to_string()))?;
        if base.identity.founder && group.members().is_empty() {
            let first = Member { id: group.id(), address: settings.peer.advertise, voter: true };
            group.initialise(&[first]).await.map_err(|e| failed("consensus")(e.to_string()))?;
        }
        groups.push(group);
    }
    let mut options = EngineOptions::new(NodeNumber(settings.node.number), settings.node.data.clone());
    options.spare_bytes = settings.storage.disk_reserve;
    options.audit_retention = settings.audit_retention;
    options.request_memory = settings.requests_remembered;
    let mesh = Arc::new(Mesh::new(mesh_options(settings)?));
    let url = settings.api.url.clone();
    let pds = Arc::new(Pds {
        options: PdsOptions {
            ranges: settings.pds.number_ranges.clone(),
            check_organisations: settings.pds.check_organisations,
        },
    });
    let eps = Arc::new(Eps { options: eps_options(settings) });
    let issuer_path = settings.api.issuer_path.clone();
    let version = crate::ops::recorder::VERSION.into();
    let tokens =
        Arc::new(TokenService::new(IdentityOptions { url, issuer_path, version, site: settings.site_name.clone() }));
    let signer = NodeSigner::new(&tls.cert_pem, &tls.key_pem)?;
    let engine = Engine::start(
        node.world.clone(),
        options,
        &applier,
        groups.iter().map(|g| Arc::new(g.clone()) as Arc<dyn Agreement>).collect(),
        transport.clone(),
        &base.router,
        vec![
            Arc::new(Directory),
            mesh.clone(),
            tokens.clone(),
            pds.clone(),
            Arc::new(Trail),
            Arc::new(Relationships),
            eps.clone(),
        ],
        Some(Arc::new(signer)),
    );
    let blobs =
        Blobs::open(node.world.clone(), settings.node.data.join("blobs"), settings.storage.disk_reserve, fatal()).await;
    let blobs = blobs.map_err(|e| failed("blobs")(e.to_string()))?;
    let bulk = bulk(node, &groups[0], blobs, transport, &base.router);
    Ok((groups, engine, bulk, Services { mesh, tokens, pds, eps }))
}

/// Bodies above the inline limit. Uploads count the voters of the site group: every node stores bodies.
fn bulk(node: &Node, site: &Group, blobs: Blobs, transport: &Arc<dyn Transport>, router: &Arc<Router>) -> Bulk {
    let site = site.clone();
    // While one incarnation gives its vote to the next both have one: a node stores a body once.
    let nodes = move || {
        let mut votes = BTreeMap::new();
        for member in site.members() {
            *votes.entry(member.id.node()).or_insert(false) |= member.voter;
        }
        votes.into_iter().collect()
    };
    let me = NodeNumber(node.settings.node.number);
    let bulk = Bulk::new(me, blobs, transport.clone(), Arc::new(nodes), node.world.rng.clone());
    bulk.claim(router);
    bulk
}

fn store_options(settings: &Settings) -> StoreOptions {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    StoreOptions {
        memory_bytes: settings.storage.store_memory as usize,
        cache_bytes: settings.storage.store_cache as usize,
        flush_interval: settings.storage.flush_interval,
        snapshot_log_bytes: settings.storage.snapshot_after,
        boot: boot.trim().to_owned(),
        ..Default::default()
    }
}

/// Whom prescribers' signatures are trusted from.
pub fn trust_files(settings: &Settings) -> TrustFiles {
    let eps = &settings.eps;
    TrustFiles { authorities: eps.trust.clone(), revocations: eps.revocations.clone(), grace: eps.revocations_grace }
}

fn prescribers(node: &Node) -> Result<Prescribers, NodeError> {
    let loaded = Prescribers::load(trust_files(&node.settings), node.world.clock.clone());
    loaded.map_err(|e| NodeError::Room { room: "prescribers' authorities", why: e.to_string() })
}

fn eps_options(settings: &Settings) -> EpsOptions {
    use crate::config::eps::HolderOnly;
    use crate::services::eps::sign::Mode;
    EpsOptions {
        signatures: if settings.eps.sample_signatures { Mode::Sample } else { Mode::Verify },
        prescribing: settings.eps.prescribing,
        dispensing: settings.eps.dispensing,
        rules: crate::services::eps::steps::Rules {
            holder_only: settings.eps.holder_only != HolderOnly::None,
            holder_only_returns: settings.eps.holder_only == HolderOnly::All,
        },
        live: settings.environment == crate::model::Environment::Live,
    }
}

fn mesh_options(settings: &Settings) -> Result<crate::services::mesh::MeshOptions, NodeError> {
    use crate::{config::settings::WorkflowEnforcement, services::mesh::Enforcement};
    let sealed = crate::ops::systemd::credential("mesh-shared-key");
    let path = sealed.as_ref().unwrap_or(&settings.mesh.shared_key_file);
    let key = std::fs::read(path)
        .map_err(|e| NodeError::Room { room: "mesh.shared_key_file", why: format!("{}: {e}", path.display()) })?;
    Ok(crate::services::mesh::MeshOptions {
        shared_key: key.trim_ascii_end().to_vec(),
        environment: settings.site_name.clone(),
        build_label: crate::ops::recorder::VERSION.into(),
        enforcement: match settings.mesh.workflow_enforcement {
            WorkflowEnforcement::Off => Enforcement::Off,
            WorkflowEnforcement::Restricted => Enforcement::Restricted,
            WorkflowEnforcement::Strict => Enforcement::Strict,
        },
        inbox_expiry: settings.mesh.inbox_expiry,
        retention: settings.mesh.retention,
        clock_skew: settings.mesh.clock_skew,
        test_endpoints: settings.mesh.test_endpoints,
    })
}

fn read_tls(settings: &Settings) -> Result<Tls, NodeError> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| NodeError::Tls(format!("{}: {e}", path.display())));
    let tls = Tls {
        ca_pem: read(&settings.peer.ca)?,
        cert_pem: read(&settings.peer.cert)?,
        key_pem: read(&settings.peer.key)?,
    };
    // The peers would refuse it without a word to whoever looks here.
    let own = CertificateDer::from_pem_slice(&tls.cert_pem).map_err(|e| e.to_string());
    let own = own.and_then(|own| pki::is_of(&own, &String::from_utf8_lossy(&tls.ca_pem)).map_err(|e| e.to_string()));
    own.map_err(|e| NodeError::Tls(format!("{}: {e}", settings.peer.cert.display())))?;
    // As taken: files that are put in their place later count from the next start on.
    tell_expiry("peer-authority", &tls.ca_pem);
    tell_expiry("peer", &tls.cert_pem);
    Ok(tls)
}

/// Of several certificates the first that ends.
fn tell_expiry(usage: &'static str, pem: &[u8]) {
    let told = pki::describe(&String::from_utf8_lossy(pem)).unwrap_or_default();
    if let Some(ends) = told.iter().map(|certificate| certificate.not_after).min() {
        metrics::gauge!(names::CERTIFICATE_EXPIRY, "use" => usage).set(ends as f64);
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Bytes>, NodeError> {
    let all = CertificateDer::pem_slice_iter(pem);
    all.map(|der| der.map(|der| Bytes::copy_from_slice(&der)).map_err(|e| NodeError::Tls(format!("peer.ca: {e}"))))
        .collect()
}

fn set_aside(data: &Path) -> Result<(), NodeError> {
    settle::set_aside(data).map_err(|e| NodeError::Room { room: "data", why: e.to_string() })
}

/// Called when durability is unknown or replicas could part ways: one clear line, then the process ends (P7).
fn fatal() -> Arc<dyn Fn(&str) + Send + Sync> {
    Arc::new(|why| {
        tracing::error!(event = "node.fatal", why, "stopping at once: going on could break a promise");
        std::process::abort();
    })
}
