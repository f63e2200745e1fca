//! What the program uses: typed settings, complete and without contradiction.

use super::{ConfigError, Layers, Running, value::Value};
use crate::model::{Environment, is_site_label};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Everything a node runs with. Fields are named after their keys in [`super::keys::KEYS`].
#[derive(Clone, Debug)]
pub struct Settings {
    pub site_name: String,
    pub environment: Environment,
    pub node: Node,
    pub supplier: Supplier,
    pub api: Api,
    pub ldap: Ldap,
    pub peer: Peer,
    pub ops_listen: SocketAddr,
    pub admin_socket: PathBuf,
    pub mesh: Mesh,
    pub trace: Trace,
    pub otlp: Otlp,
    pub pds: super::pds::Pds,
    pub eps: super::eps::Eps,
    pub upstream: super::upstream::Upstream,
    pub storage: Storage,
    pub requests_remembered: Duration,
    /// None: for ever.
    pub audit_retention: Option<Duration>,
    pub backup: super::backup::Backup,
    pub raft: Raft,
    /// Where all this came from, for whoever asks the running node.
    pub told: Running,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub number: u16,
    pub name: String,
    /// Label of the site that it stands in; may be empty.
    pub site: String,
    pub data: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Supplier {
    pub listen: SocketAddr,
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub crl: Option<PathBuf>,
    pub crl_grace: Duration,
    pub connections: usize,
    pub rate: u32,
    pub at_work: usize,
    pub patience: Duration,
    pub idle_timeout: Duration,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
}

/// The listener of the HTTP APIs. What is not here is as for suppliers.
#[derive(Clone, Debug)]
pub struct Api {
    /// `None`: off.
    pub listen: Option<SocketAddr>,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Where clients find the APIs, without a slash at its end.
    pub url: String,
    /// Requests a second of an application without a quota of its own.
    pub rate: u32,
    /// Where the provider of staff lies below it, without a slash at its end.
    pub issuer_path: String,
    /// Authorities of relying parties' addresses; empty means the machine's.
    pub logout_ca: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Ldap {
    /// `None`: no LDAP listener.
    pub listen: Option<SocketAddr>,
    pub connections: usize,
    pub idle_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub listen: SocketAddr,
    /// What other nodes are told to connect to.
    pub advertise: SocketAddr,
    pub nodes: Vec<(u16, SocketAddr)>,
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca_key: PathBuf,
}

/// How strictly MESH workflows bind senders and receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkflowEnforcement {
    Off,
    Restricted,
    Strict,
}

#[derive(Clone, Debug)]
pub struct Mesh {
    pub shared_key_file: PathBuf,
    pub workflow_enforcement: WorkflowEnforcement,
    pub inbox_expiry: Duration,
    pub retention: Duration,
    pub clock_skew: Duration,
    pub test_endpoints: bool,
}

/// Batch trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Most rows of a file.
    pub rows: u64,
    /// Rows a second.
    pub rate: u64,
}

/// Where steps of traced requests go.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// Empty: nowhere.
    pub endpoint: String,
    /// 0: only requests whose senders keep a trace.
    pub sample_every: u64,
}

#[derive(Clone, Debug)]
pub struct Storage {
    pub log_segment: u64,
    pub snapshot_after: u64,
    pub log_keep: u64,
    pub store_memory: u64,
    pub store_cache: u64,
    pub flush_interval: Duration,
    pub disk_reserve: u64,
    pub scrub_interval: Duration,
    /// Bytes a second.
    pub scrub_rate: u64,
}

#[derive(Clone, Debug)]
pub struct Raft {
    pub heartbeat: Duration,
    pub election_min: Duration,
    pub election_max: Duration,
}

impl Settings {
    /// Builds and checks. Errors name the place of the value that contradicts.
    pub fn from_layers(layers: &Layers) -> Result<Settings, ConfigError> {
        let from = Values(layers);
        let settings = Settings {
            site_name: from.text("site.name"),
            environment: from.environment(),
            node: from.node()?,
            supplier: from.supplier()?,
            api: from.api()?,
            ldap: from.ldap(),
            peer: from.peer()?,
            ops_listen: from.address("ops.listen")?,
            admin_socket: from.path("admin.socket"),
            mesh: from.mesh(),
            trace: Trace { rows: from.number("trace.rows"), rate: from.number("trace.rate") },
            otlp: from.otlp()?,
            pds: from.pds()?,
            eps: from.eps()?,
            upstream: from.upstream()?,
            storage: from.storage(),
            requests_remembered: from.duration("requests.remembered"),
            audit_retention: from.audit_retention()?,
            backup: super::backup::Backup {
                dir: from.path("backup.dir"),
                keep: from.number("backup.keep") as usize,
                recipient: from.optional_path("backup.recipient"),
                archive_every: Some(from.duration("backup.archive_every")).filter(|every| !every.is_zero()),
                archive_hold: from.size("backup.archive_hold"),
            },
            raft: from.raft(),
            told: Running::of(layers),
        };
        settings.check(&from)?;
        Ok(settings)
    }

    /// What no single value shows: combinations that cannot run, or must not.
    fn check(&self, from: &Values<'_>) -> Result<(), ConfigError> {
        if self.mesh.test_endpoints && self.environment == Environment::Live {
            return Err(ConfigError::new(
                from.place("mesh.test_endpoints"),
                "mesh.test_endpoints is true while site.environment is \"live\"",
                "take mesh.test_endpoints out, or set site.environment to \"test\" or \"demo\"",
            ));
        }
        self.check_memories(from)?;
        if self.raft.election_min >= self.raft.election_max {
            return Err(ConfigError::new(
                from.place("raft.election_max"),
                "raft.election_max is not longer than raft.election_min",
                "give elections a span to pick from, such as \"300ms\" and \"600ms\"",
            ));
        }
        if self.raft.heartbeat * 2 > self.raft.election_min {
            return Err(ConfigError::new(
                from.place("raft.election_min"),
                "raft.election_min is shorter than two heartbeats: one late heartbeat would cost the leader its place",
                "make raft.election_min at least twice raft.heartbeat",
            ));
        }
        if self.storage.log_segment < 1 << 20 {
            return Err(ConfigError::new(
                from.place("log.segment"),
                "log.segment is under 1MiB",
                "write a size of at least \"1MiB\"",
            ));
        }
        if self.node.data.as_os_str().is_empty() {
            return Err(ConfigError::new(from.place("node.data"), "node.data is empty", "name a folder"));
        }
        let tls = [&self.supplier.key, &self.supplier.cert, &self.peer.key, &self.peer.cert, &self.peer.ca];
        let mut tls = tls.into_iter().chain([&self.api.key, &self.api.cert]);
        if let Some(inside) = tls.find(|path| path.starts_with(&self.node.data)) {
            return Err(ConfigError::new(
                from.place("node.data"),
                format!("{} lies inside node.data", inside.display()),
                "keep certificates and keys outside, so that a wiped data folder can heal",
            ));
        }
        self.check_backup(|name| from.place(name))
    }

    /// What a site remembers so that nothing is done twice. Shorter times let a test see within an hour what a site does in
    /// a day; a live one has those of P3 and of mesh.md §3.
    fn check_memories(&self, from: &Values<'_>) -> Result<(), ConfigError> {
        const MINUTE: Duration = Duration::from_secs(60);
        let (skew, requests) = (Duration::from_secs(2 * 3600), Duration::from_secs(24 * 3600));
        let live = self.environment == Environment::Live;
        let wrong =
            |name: &str, why: &str, fix: &str| Err(ConfigError::new(from.place(name), format!("{name} {why}"), fix));
        if live && self.mesh.clock_skew != skew {
            return wrong(
                "mesh.clock_skew",
                "is not 2h while site.environment is \"live\"",
                "take it out, or write \"2h\"",
            );
        }
        if !(MINUTE..=skew).contains(&self.mesh.clock_skew) {
            return wrong("mesh.clock_skew", "is not between 1m and 2h", "write a time such as \"2h\" or \"10m\"");
        }
        if live && self.requests_remembered < requests {
            return wrong(
                "requests.remembered",
                "is under a day while site.environment is \"live\"",
                "write \"24h\" or more",
            );
        }
        if self.requests_remembered < MINUTE {
            return wrong("requests.remembered", "is under a minute", "write a time such as \"24h\" or \"1h\"");
        }
        Ok(())
    }
}

struct Values<'a>(&'a Layers);

/// Kinds are fixed by the list of keys; a mismatch here is caught by the test below, so the fallbacks never show.
impl Values<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(|(value, _)| value.clone())
    }
    fn place(&self, name: &str) -> String {
        self.0.get(name).map_or_else(|| name.into(), |(_, origin)| origin.to_string())
    }
    fn text(&self, name: &str) -> String {
        if let Some(Value::Text(text)) = self.value(name) { text } else { String::new() }
    }
    fn optional_path(&self, name: &str) -> Option<PathBuf> {
        Some(self.path(name)).filter(|path| !path.as_os_str().is_empty())
    }
    fn path(&self, name: &str) -> PathBuf {
        if let Some(Value::Path(path)) = self.value(name) { path } else { PathBuf::new() }
    }
    fn duration(&self, name: &str) -> Duration {
        if let Some(Value::Duration(d)) = self.value(name) { d } else { Duration::ZERO }
    }
    fn size(&self, name: &str) -> u64 {
        if let Some(Value::Size(bytes)) = self.value(name) { bytes } else { 0 }
    }
    fn number(&self, name: &str) -> u64 {
        if let Some(Value::Number(n)) = self.value(name) { n } else { 0 }
    }
    fn bool(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Bool(true)))
    }
    fn address(&self, name: &str) -> Result<SocketAddr, ConfigError> {
        match self.value(name) {
            Some(Value::Address(Some(address))) => Ok(address),
            _ => Err(ConfigError::new(self.place(name), format!("{name} is missing"), "give an IP address and port")),
        }
    }

    fn environment(&self) -> Environment {
        match self.text("site.environment").as_str() {
            "demo" => Environment::Demo,
            "test" => Environment::Test,
            _ => Environment::Live,
        }
    }

    fn node(&self) -> Result<Node, ConfigError> {
        let number = self.number("node.number") as u16;
        let name = Some(self.text("node.name")).filter(|n| !n.is_empty()).unwrap_or_else(|| format!("node-{number}"));
        let site = self.text("node.site").to_owned();
        if !site.is_empty() && !is_site_label(&site) {
            return Err(ConfigError::new(
                self.place("node.site"),
                format!("node.site is {site:?}, not a label"),
                "write up to 32 lower-case letters, digits and hyphens, such as \"leeds\"",
            ));
        }
        Ok(Node { number, name, site, data: self.path("node.data") })
    }

    fn supplier(&self) -> Result<Supplier, ConfigError> {
        Ok(Supplier {
            listen: self.address("supplier.listen")?,
            ca: self.path("supplier.ca"),
            cert: self.path("supplier.cert"),
            key: self.path("supplier.key"),
            crl: self.optional_path("supplier.crl"),
            crl_grace: self.duration("supplier.crl_grace"),
            connections: self.number("supplier.connections") as usize,
            rate: u32::try_from(self.number("supplier.rate")).unwrap_or(u32::MAX),
            at_work: self.number("supplier.at_work") as usize,
            patience: self.duration("supplier.patience"),
            idle_timeout: self.duration("supplier.idle_timeout"),
            header_timeout: self.duration("supplier.header_timeout"),
            body_timeout: self.duration("supplier.body_timeout"),
        })
    }

    fn api(&self) -> Result<Api, ConfigError> {
        let listen = if let Some(Value::Address(address)) = self.value("api.listen") { address } else { None };
        let or = |name: &str, other: &str| {
            Some(self.path(name)).filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| self.path(other))
        };
        let (cert, key) = (self.path("api.cert"), self.path("api.key"));
        if cert.as_os_str().is_empty() != key.as_os_str().is_empty() {
            return Err(ConfigError::new(
                self.place(if cert.as_os_str().is_empty() { "api.key" } else { "api.cert" }),
                "of api.cert and api.key only one is given",
                "give both, or neither to use those of the suppliers' listener",
            ));
        }
        let given = self.text("api.url");
        let is_url =
            given.strip_prefix("https://").is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace));
        if !given.is_empty() && !is_url {
            return Err(ConfigError::new(
                self.place("api.url"),
                format!("api.url is {given}, not an https address"),
                "write the address that clients use, such as \"https://api.example.test\"",
            ));
        }
        if given.is_empty() && listen.is_some_and(|address| address.ip().is_unspecified()) {
            return Err(ConfigError::new(
                self.place("api.listen"),
                "api.url is empty, and api.listen names no address that clients could sign their tokens for",
                "set api.url to the address that clients use, the same on every node",
            ));
        }
        let url = match (given.is_empty(), listen) {
            (true, Some(address)) => format!("https://{address}"),
            _ => given.trim_end_matches('/').to_owned(),
        };
        let issuer_path = self.text("api.issuer_path").trim_end_matches('/').to_owned();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
        if !issuer_path.starts_with('/') || !issuer_path.bytes().all(plain) || issuer_path.starts_with("/oauth2") {
            return Err(ConfigError::new(
                self.place("api.issuer_path"),
                format!("api.issuer_path is {issuer_path:?}, not a path of its own"),
                "write a path such as \"/openam/oauth2/realms/root/realms/oidc\"",
            ));
        }
        let (cert, key) = (or("api.cert", "supplier.cert"), or("api.key", "supplier.key"));
        let rate = u32::try_from(self.number("api.rate")).unwrap_or(u32::MAX);
        Ok(Api { listen, cert, key, url, rate, issuer_path, logout_ca: self.path("api.logout_ca") })
    }

    fn otlp(&self) -> Result<Otlp, ConfigError> {
        let endpoint = self.text("otlp.endpoint");
        let uri = endpoint.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let taken = match uri.as_ref().and_then(http::Uri::scheme_str) {
            Some("https") => !host.is_empty(),
            Some("http") => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
            _ => endpoint.is_empty(),
        };
        if !taken {
            return Err(ConfigError::new(
                self.place("otlp.endpoint"),
                format!("otlp.endpoint is {endpoint:?}, not an https address nor plain HTTP to this machine"),
                "write an address such as \"http://127.0.0.1:4318/v1/traces\"",
            ));
        }
        Ok(Otlp { endpoint: endpoint.to_owned(), sample_every: self.number("otlp.sample_every") })
    }

    fn ldap(&self) -> Ldap {
        let listen = if let Some(Value::Address(listen)) = self.value("ldap.listen") { listen } else { None };
        let connections = self.number("ldap.connections") as usize;
        Ldap { listen, connections, idle_timeout: self.duration("ldap.idle_timeout") }
    }

    fn peer(&self) -> Result<Peer, ConfigError> {
        let listen = self.address("peer.listen")?;
        let advertise = match self.value("peer.advertise") {
            Some(Value::Address(Some(address))) => address,
            _ => listen,
        };
        let nodes = if let Some(Value::Nodes(nodes)) = self.value("peer.nodes") { nodes } else { vec![] };
        if advertise.ip().is_unspecified() && !nodes.is_empty() {
            return Err(ConfigError::new(
                self.place("peer.advertise"),
                format!("peer.advertise would be {advertise}, which no other node can connect to"),
                "set peer.advertise to this node's own address",
            ));
        }
        let (ca, cert) = (self.path("peer.ca"), self.path("peer.cert"));
        let (key, ca_key) = (self.path("peer.key"), self.path("peer.ca_key"));
        Ok(Peer { listen, advertise, nodes, ca, cert, key, ca_key })
    }

    fn mesh(&self) -> Mesh {
        Mesh {
            shared_key_file: self.path("mesh.shared_key_file"),
            workflow_enforcement: match self.text("mesh.workflow_enforcement").as_str() {
                "off" => WorkflowEnforcement::Off,
                "strict" => WorkflowEnforcement::Strict,
                _ => WorkflowEnforcement::Restricted,
            },
            inbox_expiry: self.duration("mesh.inbox_expiry"),
            retention: self.duration("mesh.retention"),
            clock_skew: self.duration("mesh.clock_skew"),
            test_endpoints: self.bool("mesh.test_endpoints"),
        }
    }

    fn pds(&self) -> Result<super::pds::Pds, ConfigError> {
        let refused = |why| {
            ConfigError::new(self.place("pds.number_ranges"), why, "write ranges such as \"999000000-999999999\"")
        };
        let live = self.environment() == Environment::Live;
        let number_ranges = super::pds::ranges(&self.text("pds.number_ranges"), live).map_err(refused)?;
        Ok(super::pds::Pds { number_ranges, check_organisations: self.bool("pds.check_organisations") })
    }

    fn eps(&self) -> Result<super::eps::Eps, ConfigError> {
        use super::eps::{Eps, HolderOnly};
        let sample = self.text("eps.signatures") == "sample";
        if sample && self.environment() == Environment::Live {
            let why = "eps.signatures: sample signatures are for demo and test sites".to_owned();
            return Err(ConfigError::new(self.place("eps.signatures"), why, "write \"verify\""));
        }
        Ok(Eps {
            sample_signatures: sample,
            trust: self.optional_path("eps.trust"),
            revocations: self.optional_path("eps.revocations"),
            revocations_grace: self.duration("eps.revocations_grace"),
            prescribing: self.bool("eps.prescribing"),
            dispensing: self.bool("eps.dispensing"),
            holder_only: match self.text("eps.holder_only").as_str() {
                "none" => HolderOnly::None,
                "all" => HolderOnly::All,
                _ => HolderOnly::Notify,
            },
        })
    }

    fn upstream(&self) -> Result<super::upstream::Upstream, ConfigError> {
        const SERVICES: [(&str, &str); 7] = [
            ("mesh", "upstream.mesh"),
            ("smsp", "upstream.smsp"),
            ("identity", "upstream.identity"),
            ("pds", "upstream.pds"),
            ("eps", "upstream.eps"),
            ("directory", "upstream.directory"),
            ("relationships", "upstream.relationships"),
        ];
        let mut addresses = vec![];
        for (service, key) in SERVICES {
            let text = self.text(key);
            if text.is_empty() {
                continue;
            }
            let address = super::upstream::address(&text).map_err(|why| {
                ConfigError::new(self.place(key), format!("{key}: {why}"), "write https, host and port; empty for none")
            })?;
            addresses.push((service, address));
        }
        let files = ["upstream.ca", "upstream.cert", "upstream.key"];
        if let (false, Some(missing)) =
            (addresses.is_empty(), files.iter().find(|key| self.path(key).as_os_str().is_empty()))
        {
            return Err(ConfigError::new(
                self.place(missing),
                format!("an address of an upstream system is given, and {missing} is empty"),
                "give upstream.ca, upstream.cert and upstream.key: requests are handed on over mutual TLS only",
            ));
        }
        let [ca, cert, key] = files.map(|key| self.path(key));
        let (patience, relays) = (self.duration("upstream.patience"), self.number("upstream.relays") as usize);
        Ok(super::upstream::Upstream { ca, cert, key, addresses, patience, relays })
    }

    fn storage(&self) -> Storage {
        Storage {
            log_segment: self.size("log.segment"),
            snapshot_after: self.size("log.snapshot_after"),
            log_keep: self.size("log.keep"),
            store_memory: self.size("store.memory"),
            store_cache: self.size("store.cache"),
            flush_interval: self.duration("store.flush_interval"),
            disk_reserve: self.size("disk.reserve"),
            scrub_interval: self.duration("disk.scrub_interval"),
            scrub_rate: self.size("disk.scrub_rate"),
        }
    }

    /// A trail that ends too soon answers nobody who asks who looked at them; a day is what requests are remembered for.
    fn audit_retention(&self) -> Result<Option<Duration>, ConfigError> {
        const YEAR: Duration = Duration::from_secs(365 * 86_400);
        let kept = self.duration("audit.retention");
        if kept.is_zero() {
            return Ok(None);
        }
        if kept < YEAR && self.environment() == Environment::Live {
            return Err(ConfigError::new(
                self.place("audit.retention"),
                "audit.retention is under a year while site.environment is \"live\"",
                "write \"365d\" or more, or \"0s\" to keep the trail for ever",
            ));
        }
        Ok(Some(kept))
    }

    fn raft(&self) -> Raft {
        Raft {
            heartbeat: self.duration("raft.heartbeat"),
            election_min: self.duration("raft.election_min"),
            election_max: self.duration("raft.election_max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn settings(set: &[&str]) -> Result<Settings, ConfigError> {
        let mut layers = Layers::defaults();
        for assignment in set {
            layers.add_assignment(assignment)?;
        }
        Settings::from_layers(&layers)
    }

    #[test]
    fn the_defaults_are_a_whole_configuration() {
        let s = settings(&[]).unwrap();
        assert_eq!(s.environment, Environment::Live);
        assert_eq!(s.node.name, "node-1");
        assert_eq!(s.mesh.inbox_expiry, Duration::from_secs(5 * 86_400));
        assert_eq!(s.mesh.workflow_enforcement, WorkflowEnforcement::Restricted);
        assert_eq!(s.storage.log_segment, 64 << 20);
        assert_eq!(s.peer.advertise, s.peer.listen);
    }

    #[test]
    fn contradictions_are_refused_with_the_place_of_the_value() {
        let refused = |set: &[&str]| settings(set).unwrap_err().problem;
        assert!(refused(&["mesh.test_endpoints=true"]).contains("live"));
        assert!(settings(&["mesh.test_endpoints=true", "site.environment=demo"]).is_ok());
        assert!(refused(&["audit.retention=364d"]).contains("under a year"));
        assert!(refused(&["mesh.clock_skew=10m"]).contains("not 2h"));
        assert!(refused(&["mesh.clock_skew=59s", "site.environment=test"]).contains("between 1m and 2h"));
        assert!(refused(&["mesh.clock_skew=3h", "site.environment=test"]).contains("between 1m and 2h"));
        assert!(refused(&["requests.remembered=23h"]).contains("under a day"));
        assert!(refused(&["requests.remembered=59s", "site.environment=test"]).contains("under a minute"));
        let short = settings(&["mesh.clock_skew=1m", "requests.remembered=1m", "site.environment=demo"]).unwrap();
        assert_eq!(
            (short.mesh.clock_skew, short.requests_remembered),
            (Duration::from_secs(60), Duration::from_secs(60))
        );
        let usual = settings(&[]).unwrap();
        assert_eq!((usual.mesh.clock_skew, usual.requests_remembered), (DAY / 12, DAY));
        assert!(refused(&["backup.dir=backup"]).contains("whole path"));
        assert!(refused(&["backup.dir=/var/lib/spine/backup"]).contains("inside node.data"));
        assert_eq!(
            settings(&["audit.retention=364d", "site.environment=test"]).unwrap().audit_retention,
            Some(364 * DAY)
        );
        assert_eq!(settings(&["audit.retention=8760h"]).unwrap().audit_retention, Some(365 * DAY));
        assert_eq!(settings(&[]).unwrap().audit_retention, None, "for ever");
        assert!(refused(&["raft.heartbeat=300ms"]).contains("two heartbeats"));
        assert!(refused(&["peer.nodes=1=10.0.0.1:8441"]).contains("no other node"));
        assert!(refused(&["node.data=/etc/spine"]).contains("lies inside node.data"));
        assert!(refused(&["log.segment=4KiB"]).contains("1MiB"));
        assert!(refused(&["api.cert=/etc/a.pem"]).contains("only one"));
        assert!(refused(&["api.url=http://a.test"]).contains("https"));
        assert!(refused(&["api.listen=0.0.0.0:443"]).contains("api.url is empty"));
        assert!(refused(&["upstream.mesh=http://a.test"]).contains("no https address"));
        assert!(refused(&["upstream.mesh=https://a.test", "upstream.ca=/a.pem"]).contains("upstream.cert is empty"));
        let api = settings(&["api.listen=10.0.0.1:443"]).unwrap().api;
        assert_eq!((api.url.as_str(), api.cert), ("https://10.0.0.1:443", "/etc/spine/tls/supplier-cert.pem".into()));
    }
}
