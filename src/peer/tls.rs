//! TLS between nodes: version 1.3, the site's own certificate authority, both sides proven (P5).
//!
//! A node's certificate has the common name and the DNS name `node-<number>.<cluster id>`. A machine that joins has
//! no certificate yet: it checks the authority's fingerprint from its token and may only send JOIN.

use crate::seam::net::NodeNumber;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::{io, sync::Arc};

/// A node's certificates and key, PEM.
#[derive(Clone)]
pub struct Tls {
    /// The site's certificate authority; more than one while it is being replaced.
    pub ca_pem: Vec<u8>,
    pub cert_pem: Vec<u8>,
    pub key_pem: Vec<u8>,
}

/// What the two sides of a connection are set up with.
#[derive(Clone)]
pub struct Configs {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

/// The one cryptography provider of peer connections.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

fn invalid(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, e.to_string())
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all.map_err(invalid)? {
        all if all.is_empty() => Err(invalid("no certificate in the PEM text")),
        all => Ok(all),
    }
}

impl Tls {
    /// Checks and prepares both configurations.
    pub fn configs(&self) -> io::Result<Configs> {
        let authorities = certificates(&self.ca_pem)?;
        let mut roots = RootCertStore::empty();
        for ca in &authorities {
            roots.add(ca.clone()).map_err(invalid)?;
        }
        let roots = Arc::new(roots);
        let mut chain = certificates(&self.cert_pem)?;
        // The authority goes along so that a joining machine can check its fingerprint.
        for ca in authorities {
            if !chain.contains(&ca) {
                chain.push(ca);
            }
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key_pem).map_err(invalid)?;
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
            .allow_unauthenticated()
            .build()
            .map_err(invalid)?;
        let server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(invalid)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(invalid)?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(invalid)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(invalid)?;
        Ok(Configs { client: Arc::new(client), server: Arc::new(server) })
    }

    /// The node number and cluster id that our own certificate names.
    pub fn identity(&self) -> io::Result<(NodeNumber, String)> {
        let certs = certificates(&self.cert_pem)?;
        let name = common_name(&certs[0]).ok_or_else(|| invalid("the node's certificate has no common name"))?;
        parse_name(&name).ok_or_else(|| invalid("the certificate's name is not node-<number>.<cluster id>"))
    }
}

/// The name a node's certificate must carry.
pub fn node_name(node: NodeNumber, cluster: &str) -> String {
    format!("node-{node}.{cluster}")
}

fn parse_name(name: &str) -> Option<(NodeNumber, String)> {
    let (node, cluster) = name.strip_prefix("node-")?.split_once('.')?;
    let number: u16 = node.parse().ok()?;
    // One spelling only, so that `node-03` and `node-3` cannot be two certificates for one node.
    (number != 0 && node == number.to_string()).then(|| (NodeNumber(number), cluster.to_owned()))
}

fn common_name(cert: &CertificateDer<'_>) -> Option<String> {
    let (_, cert) = x509_parser::parse_x509_certificate(cert).ok()?;
    cert.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

/// Which node a verified client certificate names, if it is one of this cluster's.
pub fn proven_node(cert: &CertificateDer<'_>, cluster: &str) -> Option<NodeNumber> {
    let (node, of) = parse_name(&common_name(cert)?)?;
    (of == cluster).then_some(node)
}

/// The name to demand from a node's certificate.
pub fn server_name(node: NodeNumber, cluster: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(node_name(node, cluster)).map_err(invalid)
}

/// A client without a certificate that trusts any node whose chain ends in the authority with this SHA-256.
pub fn joining(ca_sha256: [u8; 32]) -> io::Result<ClientConfig> {
    let verifier = Arc::new(Fingerprint { ca_sha256, provider: provider() });
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(invalid)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// SHA-256 of the first certificate of a PEM text, as a join token carries it.
pub fn fingerprint(ca_pem: &[u8]) -> io::Result<[u8; 32]> {
    Ok(sha256(&certificates(ca_pem)?[0]))
}

/// SHA-256 of a certificate and of its public key (DER), lower-case hex: a certificate that is renewed keeps its key.
pub fn fingerprints_of(cert: &CertificateDer<'_>) -> Vec<String> {
    let hex = |bytes: &[u8]| sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = x509_parser::parse_x509_certificate(cert).map(|(_, cert)| hex(cert.public_key().raw));
    std::iter::once(hex(cert)).chain(key).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

/// Trusts a chain that ends in one known authority; the name of the node is not known yet.
#[derive(Debug)]
struct Fingerprint {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Fingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let ca = intermediates.iter().find(|c| sha256(c) == self.ca_sha256).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let name = common_name(end_entity).ok_or_else(unknown)?;
        parse_name(&name).ok_or_else(unknown)?;
        let name = ServerName::try_from(name).map_err(|_| unknown())?;
        let inner = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        inner.verify_server_cert(end_entity, intermediates, &name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken between nodes".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_name_and_only_one_spelling_of_it() {
        assert_eq!(parse_name("node-3.ab-cd"), Some((NodeNumber(3), "ab-cd".into())));
        for other in ["node-03.ab", "node-0.ab", "node-.ab", "node-3", "nodes-3.ab", "node-70000.ab", "node-+3.ab"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
