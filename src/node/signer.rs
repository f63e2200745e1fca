//! Signs heads of the audit chain with the node's own key (P4). The key stays in here.

use super::NodeError;
use crate::audit::Signer;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use bytes::Bytes;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

pub struct NodeSigner {
    key: EcdsaKeyPair,
    certificate: Bytes,
}

impl NodeSigner {
    pub fn new(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, NodeError> {
        let unusable = |what: &str, e: String| NodeError::Tls(format!("{what}: {e}"));
        let certificate = CertificateDer::from_pem_slice(cert_pem).map_err(|e| unusable("peer.cert", e.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|e| unusable("peer.key", e.to_string()))?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(der) => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der())
            }
            other => EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, other.secret_der()),
        };
        let key = key.map_err(|e| unusable("peer.key is not an ECDSA P-256 key", e.to_string()))?;
        Ok(NodeSigner { key, certificate: Bytes::copy_from_slice(&certificate) })
    }
}

impl Signer for NodeSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = self.key.sign(&SystemRandom::new(), message).map_err(|e| e.to_string())?;
        Ok(signature.as_ref().to_vec())
    }
    fn certificate(&self) -> Bytes {
        self.certificate.clone()
    }
}
