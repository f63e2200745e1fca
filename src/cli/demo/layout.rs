//! Where everything of a demo lies: ports, folders, certificates, each node's configuration.
//!
//! Certificates lie outside each node's data folder, so that wiping data is something a node heals from.

use crate::{
    cli::{
        cert::write_private,
        failure::{Failure, file},
    },
    node::pki::{self, Authority, Purpose, Wanted},
    ops::codes,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Distance between two nodes' ports: each node uses five of ten.
const STRIDE: u16 = 10;

/// Where staff log in, below the address of the APIs.
pub const ISSUER_PATH: &str = "/openam/oauth2/realms/root/realms/NHSIdentity/realms/Healthcare";

/// What Linux takes for a socket's path, less the final zero.
const MAX_SOCKET_PATH: usize = 107;

/// A demo's folder and first port.
#[derive(Clone, Debug)]
pub struct Layout {
    pub dir: PathBuf,
    pub port: u16,
}

impl Layout {
    pub fn new(dir: &Path, port: u16) -> Self {
        Layout { dir: std::path::absolute(dir).unwrap_or_else(|_| dir.into()), port }
    }

    pub fn supplier(&self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + STRIDE * (node - 1)).into()
    }
    pub fn peer(&self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + STRIDE * (node - 1) + 1).into()
    }
    pub fn ops(&self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + STRIDE * (node - 1) + 2).into()
    }
    /// The HTTP APIs' listener.
    pub fn api(&self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + STRIDE * (node - 1) + 3).into()
    }
    /// Under which address the APIs are known, whichever node is asked.
    pub fn api_url(&self) -> String {
        self.api_url_of(1)
    }
    /// A node's own. By name: browsers make no passkeys for an address.
    pub fn api_url_of(&self, node: u16) -> String {
        format!("https://localhost:{}", self.api(node).port())
    }
    /// The private key of one of the demo's applications.
    pub fn application_key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("applications/{name}.pem"))
    }
    /// Where the session of one of the demo's people is kept, as their browser would.
    pub fn session(&self, user: &str) -> PathBuf {
        self.dir.join(format!("users/{user}.session"))
    }
    /// The directory's LDAP face.
    pub fn ldap(&self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + STRIDE * (node - 1) + 4).into()
    }
    pub fn node(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }
    pub fn config(&self, node: u16) -> PathBuf {
        self.node(node).join("spine.toml")
    }
    pub fn data(&self, node: u16) -> PathBuf {
        self.node(node).join("data")
    }
    pub fn socket(&self, node: u16) -> PathBuf {
        self.short(self.node(node).join("admin.sock"), &format!("{node}.sock"))
    }
    /// A Unix socket's path has at most 107 bytes; in a deep folder sockets lie in the temporary one instead.
    fn short(&self, path: PathBuf, name: &str) -> PathBuf {
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            return path;
        }
        let of = crc32c::crc32c(self.dir.as_os_str().as_encoded_bytes());
        std::env::temp_dir().join(format!("spine-demo-{of:08x}-{name}"))
    }
    pub fn log(&self, node: u16) -> PathBuf {
        self.node(node).join("log")
    }
    fn tls(&self, node: u16) -> PathBuf {
        self.node(node).join("tls")
    }
    pub fn peer_cert(&self, node: u16) -> PathBuf {
        self.tls(node).join("peer-cert.pem")
    }
    pub fn ca(&self) -> PathBuf {
        self.dir.join("tls/ca.pem")
    }
    fn ca_key(&self) -> PathBuf {
        self.dir.join("tls/ca-key.pem")
    }
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.join(format!("clients/{name}.pem")), self.dir.join(format!("clients/{name}-key.pem")))
    }
    /// A person's smartcard: certificate and key.
    pub fn smartcard(&self, user: &str) -> (PathBuf, PathBuf) {
        self.client(&format!("smartcard-{user}"))
    }
    /// The certificate and key of a prescriber's signature.
    pub fn signing(&self, user: &str) -> (PathBuf, PathBuf) {
        self.client(&format!("signing-{user}"))
    }
    /// What the demo's prescriptions have become, once they are loaded.
    pub fn prescriptions(&self) -> PathBuf {
        self.dir.join("prescriptions.json")
    }
    fn shared_key(&self) -> PathBuf {
        self.dir.join("tls/mesh-shared-key")
    }
    pub fn control(&self) -> PathBuf {
        self.short(self.dir.join("demo.sock"), "demo.sock")
    }
    pub fn record(&self) -> PathBuf {
        self.dir.join("demo.json")
    }

    /// How many nodes the folder already holds.
    pub fn existing_nodes(&self) -> u16 {
        (1..=9).take_while(|n| self.peer_cert(*n).exists()).count() as u16
    }

    /// Makes the suppliers' authority, each node's listener certificate and the clients' certificates, where missing.
    pub fn make_certificates(
        &self,
        nodes: u16,
        clients: &[super::data::Client],
        shared_key: &str,
    ) -> Result<(), Failure> {
        let trouble =
            |e: pki::PkiError| Failure::of(&codes::CLI_CERTIFICATE, "a certificate cannot be made", e.to_string());
        if !self.ca().exists() {
            let ca = Authority::create("Spine demo CA", pki::AUTHORITY_DAYS).map_err(trouble)?;
            write_private(&self.ca_key(), ca.key())?;
            write_private(&self.ca(), ca.cert())?;
        }
        let ca = Authority::load(&read(&self.ca())?, &read(&self.ca_key())?).map_err(trouble)?;
        let kept = |cert: &Path, key: &Path, make: &dyn Fn() -> Result<pki::Issued, pki::PkiError>| {
            if cert.exists() && key.exists() {
                return Ok(());
            }
            let issued = make().map_err(trouble)?;
            write_private(key, &issued.key)?;
            write_private(cert, &issued.cert)
        };
        let pair = |cert: &Path, key: &Path, wanted: Wanted| kept(cert, key, &|| ca.issue(&wanted));
        for n in 1..=nodes {
            let wanted = Wanted {
                common_name: format!("node-{n}.spine.demo"),
                organisation: "Spine demo".into(),
                names: vec!["localhost".into(), "127.0.0.1".into()],
                purpose: Purpose::Server,
                days: pki::LEAF_DAYS,
            };
            pair(&self.tls(n).join("supplier-cert.pem"), &self.tls(n).join("supplier-key.pem"), wanted)?;
        }
        for client in clients {
            let wanted = Wanted {
                common_name: client.common_name(),
                organisation: client.ods.into(),
                names: vec![client.common_name()],
                purpose: Purpose::Client,
                days: pki::LEAF_DAYS,
            };
            let (cert, key) = self.client(client.name);
            pair(&cert, &key, wanted)?;
        }
        for user in super::data::USERS.iter().filter(|user| user.smartcard) {
            let wanted = Wanted {
                common_name: format!("{} {}", user.given, user.family),
                organisation: "Spine demo".into(),
                names: vec![],
                purpose: Purpose::Client,
                days: pki::LEAF_DAYS,
            };
            if user.id == super::data::PRESCRIBER {
                let (cert, key) = self.signing(user.id);
                kept(&cert, &key, &|| ca.issue_rsa(&wanted))?;
            }
            let (cert, key) = self.smartcard(user.id);
            pair(&cert, &key, wanted)?;
        }
        write_private(&self.shared_key(), shared_key)
    }

    /// Writes node `n`'s configuration, anew at each start.
    pub fn write_config(&self, n: u16, nodes: u16) -> Result<(), Failure> {
        let tls = self.tls(n);
        let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
        let peers: Vec<String> = (1..=nodes).map(|p| format!("\"{p}={}\"", self.peer(p))).collect();
        let text = format!(
            "# Written by `spine demo` at each start; --set changes a key for all nodes.\n\
             [site]\nname = \"demo\"\nenvironment = \"demo\"\n\n\
             [node]\nnumber = {n}\nname = \"node-{n}\"\ndata = {data}\n\n\
             [supplier]\nlisten = \"{supplier}\"\nca = {ca}\ncert = {cert}\nkey = {key}\n\n\
             [api]\nlisten = \"{api}\"\nurl = \"{api_url}\"\nissuer_path = \"{issuer_path}\"\n\n\
             [ldap]\nlisten = \"{ldap}\"\n\n\
             [peer]\nlisten = \"{peer}\"\nnodes = [{peers}]\nca = {peer_ca}\ncert = {peer_cert}\nkey = {peer_key}\n\
             ca_key = {ca_key}\n\n\
             [ops]\nlisten = \"{ops}\"\n\n[admin]\nsocket = {socket}\n\n\
             [mesh]\nshared_key_file = {shared_key}\n\n\
             [eps]\nsignatures = \"sample\"\n\n\
             [log]\nsegment = \"16MiB\"\n\n[disk]\nreserve = \"256MiB\"\n\n\
             [backup]\ndir = {backup}\n",
            backup = quoted(&self.data(n).with_file_name("backup")),
            data = quoted(&self.data(n)),
            supplier = self.supplier(n),
            ca = quoted(&self.ca()),
            cert = quoted(&tls.join("supplier-cert.pem")),
            key = quoted(&tls.join("supplier-key.pem")),
            api = self.api(n),
            api_url = self.api_url(),
            issuer_path = ISSUER_PATH,
            ldap = self.ldap(n),
            peer = self.peer(n),
            peers = peers.join(", "),
            peer_ca = quoted(&tls.join("peer-ca.pem")),
            peer_cert = quoted(&self.peer_cert(n)),
            peer_key = quoted(&tls.join("peer-key.pem")),
            ca_key = quoted(&tls.join("peer-ca-key.pem")),
            ops = self.ops(n),
            socket = quoted(&self.socket(n)),
            shared_key = quoted(&self.shared_key()),
        );
        write_private(&self.config(n), &text)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| file("the file cannot be read", path, &e))
}
