//! Certificates and the keys in them: who issued one, how long it holds, and whether a key made a signature.

use super::Algorithm;
use crate::model::EpochMillis;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
    x509::SubjectPublicKeyInfo,
};

const RSA: &str = "1.2.840.113549.1.1.1";

/// What of a certificate is looked at. Names and numbers are DER as they stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub subject: Vec<u8>,
    pub issuer: Vec<u8>,
    pub serial: Vec<u8>,
    pub not_before: EpochMillis,
    pub not_after: EpochMillis,
    pub is_authority: bool,
    pub key: Key,
    signed: Vec<u8>,
    algorithm: String,
    signature: Vec<u8>,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    kind: String,
    bytes: Vec<u8>,
}

impl Certificate {
    /// Reads DER with nothing behind it.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let (rest, read) = X509Certificate::from_der(der).ok()?;
        rest.is_empty().then(|| Certificate {
            subject: read.subject().as_raw().to_vec(),
            issuer: read.issuer().as_raw().to_vec(),
            serial: serial(read.raw_serial()),
            not_before: millis(read.validity().not_before),
            not_after: millis(read.validity().not_after),
            is_authority: read.is_ca(),
            key: Key::of(read.public_key()),
            signed: read.tbs_certificate.as_ref().to_vec(),
            algorithm: read.signature_algorithm.algorithm.to_id_string(),
            signature: read.signature_value.data.to_vec(),
        })
    }

    /// Whether that authority issued it: named as the issuer, and its key made the signature.
    pub fn issued_by(&self, authority: &Certificate) -> bool {
        self.issuer == authority.subject && authority.key.signed(&self.algorithm, &self.signed, &self.signature)
    }
}

impl Key {
    fn of(info: &SubjectPublicKeyInfo<'_>) -> Key {
        Key { kind: info.algorithm.algorithm.to_id_string(), bytes: info.subject_public_key.data.to_vec() }
    }

    /// A prescriber's signature: RSASSA-PKCS1-v1_5. Keys of 1,024 bits are taken, because smartcards of that size are in the published
    /// prescriptions; whether they still are given out is the authority's to say.
    pub fn signed_order(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let scheme: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Algorithm::Rs1 => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        };
        self.kind == RSA && UnparsedPublicKey::new(scheme, &self.bytes).verify(message, signature).is_ok()
    }

    /// An authority's signature on a certificate or a list, by the object identifier of its algorithm. Not SHA-1 and not 1,024 bits:
    /// who can make two certificates with one hash has one for whomever he likes.
    pub fn signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let scheme: &'static dyn VerificationAlgorithm = match algorithm {
            "1.2.840.113549.1.1.11" => &RSA_PKCS1_2048_8192_SHA256,
            "1.2.840.113549.1.1.12" => &RSA_PKCS1_2048_8192_SHA384,
            "1.2.840.113549.1.1.13" => &RSA_PKCS1_2048_8192_SHA512,
            "1.2.840.10045.4.3.2" => &ECDSA_P256_SHA256_ASN1,
            "1.2.840.10045.4.3.3" => &ECDSA_P384_SHA384_ASN1,
            _ => return false,
        };
        UnparsedPublicKey::new(scheme, &self.bytes).verify(message, signature).is_ok()
    }
}

/// A serial number without the zeros that DER puts before it.
pub fn serial(raw: &[u8]) -> Vec<u8> {
    raw.iter().skip_while(|byte| **byte == 0).copied().collect()
}

/// A time of a certificate or a list; the epoch for one before it.
pub fn millis(time: ASN1Time) -> EpochMillis {
    u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000)
}
