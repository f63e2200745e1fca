//! A prescriber's key and certificate, and the signature of an order that they make (spec/eps.md §6).

use crate::{
    cli::failure::{Failure, file},
    model::EpochMillis,
    ops::codes,
    services::eps::sign::{Algorithm, Digits, Signing, sign},
};
use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;
use std::path::Path;

/// RSA, as the signature needs it; only the key's holder sees it.
pub struct SigningKey {
    pair: KeyPair,
    /// DER.
    certificate: Vec<u8>,
}

impl SigningKey {
    /// From the PEM files of certificate and key.
    pub fn read(certificate: &Path, key: &Path) -> Result<SigningKey, Failure> {
        let text =
            |path: &Path| std::fs::read_to_string(path).map_err(|e| file("a signing key cannot be read", path, &e));
        let trouble = |why: String| Failure::of(&codes::CLI_CERTIFICATE, "a signing key cannot be used", why);
        SigningKey::of_pem(&text(certificate)?, &text(key)?).map_err(trouble)
    }

    pub fn of_pem(certificate: &str, key: &str) -> Result<SigningKey, String> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| e.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| e.to_string())?;
        let PrivateKeyDer::Pkcs8(key) = key else { return Err("not a key in PKCS#8".into()) };
        let pair = KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|e| e.to_string())?;
        Ok(SigningKey { pair, certificate: certificate.to_vec() })
    }

    /// Puts the signature into an order; `provenance` is a UUID.
    pub fn sign(&self, order: &mut Value, provenance: &str, at: EpochMillis) -> Result<(), String> {
        let with = Signing { at, algorithm: Algorithm::Rs256, certificate: &self.certificate, provenance };
        // Quantities are whole numbers here: they have no digits that a parser could lose.
        let made = sign(order, &Digits::default(), &with, |bytes| {
            let mut value = vec![0; self.pair.public_modulus_len()];
            self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut value).ok()?;
            Some(value)
        });
        made.map_err(|e| e.to_string())
    }
}
