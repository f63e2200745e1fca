//! Signed heads: the chain's end at a moment, signed with a node's own key, so that no one can later tell another
//! story without the key (P4). Verified against the cluster's CA alone.

use super::record::{Chain, HASH_LEN};
use crate::record;
use crate::store::tables::Table;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use bytes::Bytes;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Signs with the node's ECDSA P-256 key (SHA-256, ASN.1). The key never enters this room.
pub trait Signer: Send + Sync {
    /// Signature over `message`; the error's text is for the log.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String>;
    /// The node's certificate, DER.
    fn certificate(&self) -> Bytes;
}

record! {
    /// One signed head.
    pub struct Head v1 {
        /// Newest record that the head covers.
        1 => sequence: u64,
        2 => hash: [u8; 32],
        /// Milliseconds since the epoch.
        3 => at: u64,
        4 => node: u16,
        5 => partition: u16,
        /// Signer's certificate, DER.
        6 => certificate: Bytes,
        /// ECDSA P-256 over SHA-256, ASN.1.
        7 => signature: Bytes,
    }
}

/// Why a head proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the signer's certificate cannot be read")]
    Certificate,
    #[error("the signer's certificate was not issued by this CA")]
    Issuer,
    #[error("the signer's certificate was not valid at the time of the head")]
    Expired,
    #[error("the signer's certificate is of another node")]
    OtherNode,
    #[error("the signature does not match")]
    Signature,
}

/// Key of a head in [`Table::AuditHeads`].
pub fn head_key(sequence: u64) -> Bytes {
    Table::AuditHeads.key().number(sequence).build()
}

impl Head {
    /// Signs the end of a chain.
    pub fn sign(chain: &Chain, at: u64, node: u16, partition: u16, signer: &dyn Signer) -> Result<Head, String> {
        let mut head = Head { sequence: chain.sequence, hash: chain.hash, at, node, partition, ..Default::default() };
        head.signature = signer.sign(&head.signed_bytes())?.into();
        head.certificate = signer.certificate();
        Ok(head)
    }

    /// What the signature covers: a fixed word against mix-ups, then every field but the certificate.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + HASH_LEN + 20);
        out.extend_from_slice(b"spine audit head v1\0");
        out.extend_from_slice(&self.partition.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.node.to_be_bytes());
        out
    }

    /// Checks signature, signer and time. Does not compare the hash with the chain: [`super::verify`] does.
    pub fn check(&self, ca: &Ca) -> Result<(), HeadError> {
        proves((&self.certificate, &self.signature), self.at, self.node, &self.signed_bytes(), ca)
    }
}

/// Whether a node of this site signed a message then: its certificate is good at that time, names it, and fits the signature.
pub fn proves(
    (certificate, signed): (&[u8], &[u8]),
    at: u64,
    node: u16,
    message: &[u8],
    ca: &Ca,
) -> Result<(), HeadError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| HeadError::Certificate)?;
    if !ca.issued(&certificate) {
        return Err(HeadError::Issuer);
    }
    let at = (at / 1000) as i64;
    let validity = certificate.validity();
    if at < validity.not_before.timestamp() || at > validity.not_after.timestamp() {
        return Err(HeadError::Expired);
    }
    let name = certificate.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok()).unwrap_or("");
    if !name.starts_with(&format!("node-{node}.")) {
        return Err(HeadError::OtherNode);
    }
    let key = certificate.public_key().subject_public_key.data.as_ref();
    UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, key)
        .verify(message, signed)
        .map_err(|_| HeadError::Signature)
}

/// The cluster's CA certificates (one, or two while it is being changed), DER.
#[derive(Clone, Default)]
pub struct Ca(Vec<Bytes>);

impl Ca {
    pub fn new(certificates: Vec<Bytes>) -> Self {
        Ca(certificates)
    }

    /// Whether one of these signed the certificate directly.
    fn issued(&self, certificate: &X509Certificate<'_>) -> bool {
        self.0.iter().any(|der| {
            let Ok((_, ca)) = X509Certificate::from_der(der) else { return false };
            let Some(algorithm) = algorithm_of(certificate) else { return false };
            ca.subject() == certificate.issuer()
                && UnparsedPublicKey::new(algorithm, ca.public_key().subject_public_key.data.as_ref())
                    .verify(certificate.tbs_certificate.as_ref(), certificate.signature_value.data.as_ref())
                    .is_ok()
        })
    }
}

/// The signature algorithms that a cluster's CA may use (RFC 5758, RFC 8017); Spine's own makes ECDSA.
fn algorithm_of(certificate: &X509Certificate<'_>) -> Option<&'static dyn VerificationAlgorithm> {
    match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.4.3.2" => Some(&signature::ECDSA_P256_SHA256_ASN1),
        "1.2.840.10045.4.3.3" => Some(&signature::ECDSA_P384_SHA384_ASN1),
        "1.2.840.113549.1.1.11" => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        "1.2.840.113549.1.1.12" => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aws_lc_rs::{rand::SystemRandom, signature::EcdsaKeyPair};
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};

    /// A node's key and certificate under a CA made for the test.
    pub(crate) struct TestSigner {
        key: EcdsaKeyPair,
        certificate: Bytes,
    }

    impl Signer for TestSigner {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
            let made = self.key.sign(&SystemRandom::new(), message).map_err(|e| e.to_string())?;
            Ok(made.as_ref().to_vec())
        }
        fn certificate(&self) -> Bytes {
            self.certificate.clone()
        }
    }

    /// A CA and the signer of node 1 under it.
    pub(crate) fn signer() -> (Ca, TestSigner) {
        let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "test CA");
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut node = CertificateParams::new(vec![]).unwrap();
        node.distinguished_name.push(DnType::CommonName, "node-1.test");
        let certificate = node.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
        let signer = TestSigner { key: pair, certificate: Bytes::copy_from_slice(certificate.der()) };
        (Ca::new(vec![Bytes::copy_from_slice(ca_certificate.der())]), signer)
    }

    #[test]
    fn a_head_convinces_only_with_its_own_node_content_and_ca() {
        let (ca, signer) = signer();
        let chain = Chain { sequence: 7, hash: [3; 32] };
        let at = 1_790_000_000_000;
        let head = Head::sign(&chain, at, 1, 2, &signer).unwrap();
        assert_eq!(head.check(&ca), Ok(()));
        assert_eq!(Head { sequence: 8, ..head.clone() }.check(&ca), Err(HeadError::Signature));
        assert_eq!(Head { node: 2, ..head.clone() }.check(&ca), Err(HeadError::OtherNode));
        assert_eq!(Head { at: 9_999_999_999_000_000, ..head.clone() }.check(&ca), Err(HeadError::Expired));
        assert_eq!(Head { certificate: Bytes::new(), ..head.clone() }.check(&ca), Err(HeadError::Certificate));
        let (other, _) = super::tests::signer();
        assert_eq!(head.check(&other), Err(HeadError::Issuer));
    }
}
