//! The site under load: where its nodes listen, with which certificate and mailboxes it is to be spoken to, and, for a
//! site on this machine, where to see what each node uses. Read from a demo's `demo.json` or from flags.

use super::MeshArgs;
use anyhow::{Context, anyhow, bail};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde::Deserialize;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A node's supplier listener.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub name: ServerName<'static>,
    /// What the `host` header says.
    pub authority: String,
}

/// What can be seen of a node on this machine.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: u64,
    pub pid: u32,
    pub data: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Mailbox {
    #[serde(alias = "mailbox_id")]
    pub id: String,
    pub password: String,
}

pub struct Site {
    pub targets: Vec<Target>,
    /// Empty for a site that is not on this machine.
    pub nodes: Vec<Node>,
    pub mailboxes: Vec<Mailbox>,
    pub shared_key: String,
    pub tls: Arc<rustls::ClientConfig>,
    demo: Option<PathBuf>,
}

/// The part of `demo.json` that a load needs; its whole shape is a contract (docs/architecture.md).
#[derive(Deserialize)]
struct Demo {
    ca: PathBuf,
    shared_key: String,
    nodes: Vec<DemoNode>,
    clients: Vec<DemoClient>,
    mailboxes: Vec<Mailbox>,
}

#[derive(Deserialize)]
struct DemoNode {
    id: u64,
    pid: u32,
    supplier: String,
    /// Of the HTTP APIs, where they are on.
    #[serde(default)]
    internet: Option<String>,
    #[serde(default)]
    socket: Option<PathBuf>,
    metrics: Option<String>,
    data: PathBuf,
}

#[derive(Deserialize)]
struct DemoClient {
    #[serde(default)]
    name: String,
    cert: PathBuf,
    key: PathBuf,
}

impl Site {
    pub fn find(args: &MeshArgs) -> anyhow::Result<Site> {
        match &args.demo {
            Some(dir) => Site::of_client(dir, &args.nodes, args.client.as_deref()),
            None => Site::of_flags(args),
        }
    }

    /// A running demo below `dir`; `which` nodes are spoken to, as in `--nodes`.
    pub fn of_demo(dir: &Path, which: &str) -> anyhow::Result<Site> {
        Site::of_client(dir, which, None)
    }

    /// The same, as the client of that name.
    fn of_client(dir: &Path, which: &str, name: Option<&str>) -> anyhow::Result<Site> {
        let demo = read_demo(dir)?;
        let client = demo.clients.iter().find(|client| name.is_none_or(|name| client.name == name));
        let client = client.with_context(|| format!("demo.json names no client {}", name.unwrap_or_default()))?;
        let tls = tls(&dir.join(&demo.ca), &dir.join(&client.cert), &dir.join(&client.key))?;
        let chosen = choose(&demo.nodes, which)?;
        let targets = chosen.iter().map(|n| target(&n.supplier)).collect::<anyhow::Result<_>>()?;
        Ok(Site {
            targets,
            nodes: seen(dir, &demo),
            mailboxes: demo.mailboxes,
            shared_key: demo.shared_key,
            tls,
            demo: Some(dir.to_owned()),
        })
    }

    /// The HTTP APIs of a running demo, and the admin socket of its first node.
    pub fn of_apis(dir: &Path) -> anyhow::Result<(Site, PathBuf)> {
        let demo = read_demo(dir)?;
        let urls: Vec<&str> = demo.nodes.iter().filter_map(|n| n.internet.as_deref()).collect();
        let socket = demo.nodes.iter().find_map(|n| n.socket.clone()).context("demo.json names no admin socket")?;
        let site = Site::at(&urls, &dir.join(&demo.ca), seen(dir, &demo), Some(dir.to_owned()))?;
        Ok((site, socket))
    }

    /// HTTP APIs by their URLs, without a client certificate.
    pub fn at(urls: &[&str], ca: &Path, nodes: Vec<Node>, demo: Option<PathBuf>) -> anyhow::Result<Site> {
        if urls.is_empty() {
            bail!("no node has an API listener");
        }
        let targets = urls.iter().map(|url| target(url)).collect::<anyhow::Result<_>>()?;
        let tls = tls_client(ca)?.with_no_client_auth();
        Ok(Site { targets, nodes, mailboxes: vec![], shared_key: String::new(), tls: Arc::new(tls), demo })
    }

    fn of_flags(args: &MeshArgs) -> anyhow::Result<Site> {
        let need = |path: &Option<PathBuf>, flag: &str| {
            path.clone().ok_or_else(|| anyhow!("--{flag} is needed where --demo is not given"))
        };
        let mailboxes = fs::read_to_string(need(&args.mailboxes, "mailboxes")?).context("reading --mailboxes")?;
        let shared_key = fs::read_to_string(need(&args.shared_key, "shared-key")?).context("reading --shared-key")?;
        if args.urls.is_empty() {
            bail!("--node URL is needed where --demo is not given");
        }
        let mailbox = |line: &str| serde_json::from_str(line).context("--mailboxes holds JSON lines");
        Ok(Site {
            targets: args.urls.iter().map(|u| target(u)).collect::<anyhow::Result<_>>()?,
            nodes: vec![],
            mailboxes: mailboxes.lines().filter(|l| !l.trim().is_empty()).map(mailbox).collect::<Result<_, _>>()?,
            shared_key: shared_key.trim_end().to_owned(),
            tls: tls(&need(&args.ca, "ca")?, &need(&args.cert, "cert")?, &need(&args.key, "key")?)?,
            demo: None,
        })
    }

    /// The nodes as they are now: a demo gives a node that died a new process.
    pub fn nodes_now(&self) -> Vec<Node> {
        match &self.demo {
            Some(dir) => read_demo(dir).map(|demo| seen(dir, &demo)).unwrap_or_else(|_| self.nodes.clone()),
            None => self.nodes.clone(),
        }
    }
}

fn read_demo(dir: &Path) -> anyhow::Result<Demo> {
    let path = dir.join("demo.json");
    let text = fs::read(&path).with_context(|| format!("reading {}: is the demo running?", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
}

fn seen(dir: &Path, demo: &Demo) -> Vec<Node> {
    let node = |n: &DemoNode| Node { id: n.id, pid: n.pid, data: dir.join(&n.data) };
    demo.nodes.iter().map(node).collect()
}

fn choose<'a>(nodes: &'a [DemoNode], which: &str) -> anyhow::Result<Vec<&'a DemoNode>> {
    match which {
        "all" => Ok(nodes.iter().collect()),
        "leader" => {
            let leads = |n: &&DemoNode| n.metrics.as_deref().map_or(0, super::usage::partitions_led);
            let best = nodes.iter().max_by_key(leads).context("demo.json names no node")?;
            if leads(&best) == 0 {
                bail!("no node says that it leads a partition; wait until the site is ready, or name a node");
            }
            Ok(vec![best])
        }
        list => {
            let one = |id: &str| {
                let id: u64 = id.trim().parse().map_err(|_| anyhow!("--nodes is all, leader, or numbers: 1,3"))?;
                nodes.iter().find(|n| n.id == id).ok_or_else(|| anyhow!("the site has no node {id}"))
            };
            list.split(',').map(one).collect()
        }
    }
}

/// `https://127.0.0.1:8440`. No name is resolved (a static binary has no resolver): `localhost` means the loopback.
fn target(url: &str) -> anyhow::Result<Target> {
    let uri: http::Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
    let host = uri.host().with_context(|| format!("`{url}` names no host"))?;
    let port = uri.port_u16().unwrap_or(443);
    let ip: IpAddr = match host {
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => host.trim_matches(['[', ']']).parse().with_context(|| format!("`{url}`: write the node's IP address"))?,
    };
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    Ok(Target { address: SocketAddr::new(ip, port), name, authority: format!("{host}:{port}") })
}

fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    found.with_context(|| format!("reading certificates from {}", path.display()))
}

type Half = rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>;

fn tls_client(ca: &Path) -> anyhow::Result<Half> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in chain(ca)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}

fn tls(ca: &Path, cert: &Path, key: &Path) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading {}", key.display()))?;
    Ok(Arc::new(tls_client(ca)?.with_client_auth_cert(chain(cert)?, secret)?))
}
