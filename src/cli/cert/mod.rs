//! `spine cert`: make an authority; issue, sign and revoke certificates; list them with days left; check a handshake.
//!
//! Works on files alone, so that it serves suppliers' and nodes' certificates before any node runs.

mod check;
mod list;
mod make;

use super::{
    args::{Globals, Write},
    failure::{Done, Failure, failure, file},
};
use crate::{node::pki, ops::codes};
use std::path::{Path, PathBuf};

pub use make::{write_private, write_public};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine cert\n  spine cert list /etc/spine/tls")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What a certificate is for, as the command line says it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Use {
    /// A listener
    Server,
    /// A supplier's system
    Client,
}

/// Which authority signs.
#[derive(clap::Args, Debug)]
pub struct Signer {
    /// The authority's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// Its private key, PEM (else the certificate's name with -key)
    #[arg(long, value_name = "FILE")]
    pub ca_key: Option<PathBuf>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Make a certificate authority: OUT.pem and OUT-key.pem
    #[command(
        after_help = "Examples:\n  spine cert ca --name \"Lab CA\" --out lab-ca\n  spine cert ca --name T --out t --days 30"
    )]
    Ca {
        /// Common name
        #[arg(long, default_value = "Spine CA")]
        name: String,
        /// Days until it runs out
        #[arg(long, default_value_t = pki::AUTHORITY_DAYS)]
        days: u64,
        /// Where to write, without .pem
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// Make a key and a certificate for it: OUT.pem and OUT-key.pem
    #[command(
        override_usage = "spine cert issue --ca FILE --for USE --name NAME --out PATH [OPTIONS]",
        after_help = "Examples:\n  spine cert issue --ca ca.pem --for server --name gw --san 10.0.0.1 --out gw\n  \
                      spine cert issue --ca ca.pem --for client --name a.X26 --out a"
    )]
    Issue {
        #[command(flatten)]
        signer: Signer,
        /// What it is for
        #[arg(long = "for", value_enum, value_name = "USE")]
        purpose: Use,
        /// Common name
        #[arg(long)]
        name: String,
        /// Organisation, usually its ODS code
        #[arg(long, default_value = "")]
        organisation: String,
        /// DNS name or IP address it is good for; may be repeated
        #[arg(long = "san", value_name = "NAME")]
        names: Vec<String>,
        /// Days until it runs out
        #[arg(long, default_value_t = pki::LEAF_DAYS)]
        days: u64,
        /// Where to write, without .pem
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// Sign a certificate request that somebody sent
    #[command(after_help = "Examples:\n  spine cert sign their.csr --ca ca.pem --for client --out their.pem\n  \
                      spine cert sign gw.csr --ca ca.pem --for server --san 10.0.0.1 --out gw.pem")]
    Sign {
        /// The request, PEM
        request: PathBuf,
        #[command(flatten)]
        signer: Signer,
        /// What it is for
        #[arg(long = "for", value_enum, value_name = "USE")]
        purpose: Use,
        /// Common name to grant (else the request's)
        #[arg(long, default_value = "")]
        name: String,
        /// Names to grant instead of the request's; may be repeated
        #[arg(long = "san", value_name = "NAME")]
        names: Vec<String>,
        /// Days until it runs out
        #[arg(long, default_value_t = pki::LEAF_DAYS)]
        days: u64,
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// Make a node's certificate anew, for five years
    ///
    /// For the same node and the same key: run it where the authority's key is, and carry
    /// only certificates. The node takes the new one up at its next start.
    #[command(
        override_usage = "spine cert renew-node CERT --ca FILE --out FILE [OPTIONS]",
        after_help = "Examples:\n  spine cert renew-node peer-cert.pem --ca peer-ca.pem --out new.pem\n  \
                      spine cert renew-node 2.pem --ca peer-ca.pem --out new.pem --dry-run"
    )]
    RenewNode {
        /// The certificate that the node has now (its peer.cert)
        cert: PathBuf,
        #[command(flatten)]
        signer: Signer,
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// Add a certificate to the revocation list
    #[command(after_help = "Examples:\n  spine cert revoke their.pem --ca ca.pem --crl ca.crl\n  \
                      spine cert revoke 4f0a11 --ca ca.pem --crl ca.crl --dry-run")]
    Revoke {
        /// Certificate file, or serial number in hex
        what: String,
        #[command(flatten)]
        signer: Signer,
        /// The revocation list; made if missing
        #[arg(long, value_name = "FILE")]
        crl: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// List certificates with days left
    #[command(after_help = "Examples:\n  spine cert list\n  spine cert list /etc/spine/tls --output json")]
    List {
        /// Files or folders (else what the configuration names)
        paths: Vec<PathBuf>,
    },
    /// Make the TLS handshake with a host and explain what happens
    #[command(after_help = "Examples:\n  spine cert check 127.0.0.1:8440 --ca ca.pem\n  \
                      spine cert check 10.0.0.1:8443 --ca ca.pem --cert a.pem --key a-key.pem")]
    Check {
        /// IP address and port; localhost is taken too
        host: String,
        /// Name to expect in the certificate (else the host)
        #[arg(long)]
        name: Option<String>,
        /// Authority to trust (else supplier.ca)
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Client certificate to show
        #[arg(long, value_name = "FILE", requires = "key")]
        cert: Option<PathBuf>,
        /// Its private key
        #[arg(long, value_name = "FILE", requires = "cert")]
        key: Option<PathBuf>,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::List { paths: vec![] }) {
        Verb::Ca { name, days, out, write } => make::authority(globals, &name, days, &out, &write),
        Verb::Issue { signer, purpose, name, organisation, names, days, out, write } => {
            let wanted = pki::Wanted { common_name: name, organisation, names, purpose: purpose.into(), days };
            make::issue(globals, &signer, &wanted, &out, &write)
        }
        Verb::Sign { request, signer, purpose, name, names, days, out, write } => {
            let (organisation, purpose) = (String::new(), purpose.into());
            let wanted = pki::Wanted { common_name: name, organisation, names, purpose, days };
            make::sign(globals, &signer, &request, &wanted, &out, &write)
        }
        Verb::RenewNode { cert, signer, out, write } => make::renew_node(globals, &signer, &cert, &out, &write),
        Verb::Revoke { what, signer, crl, write } => make::revoke(globals, &signer, &what, &crl, &write),
        Verb::List { paths } => list::run(globals, &paths).await,
        Verb::Check { host, name, ca, cert, key } => {
            check::run(globals, &check::Ask { host, name, ca, cert: cert.zip(key) }).await
        }
    }
}

impl From<Use> for pki::Purpose {
    fn from(purpose: Use) -> Self {
        match purpose {
            Use::Server => pki::Purpose::Server,
            Use::Client => pki::Purpose::Client,
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| file("the file cannot be read", path, &e))
}

fn trouble(what: &str, path: &Path, error: &pki::PkiError) -> Failure {
    let why = format!("{}: {error}", path.display());
    failure(&codes::CLI_CERTIFICATE, what, why, "check that the file is PEM and holds what its name says")
}
