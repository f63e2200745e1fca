//! Whether an order's signature holds (spec/eps.md §6.5): the nine checks in their order, run when an order comes in (switch) and on every
//! release.
//!
//! Invariant: what the key has signed and what is compared with the prescription is the same text, the canonical SignedInfo; so
//! nothing that canonical form leaves out can stand for anything else.

use super::{
    base64,
    digits::Digits,
    prepare::signed_info,
    signature::{BadSignature, Signature},
    trust::Trust,
    x509::Certificate,
};
use crate::model::EpochMillis;
use serde_json::Value;

/// What is asked of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All nine checks.
    Verify,
    /// For demo and test: signatures of the published examples pass, which are samples (empty, or by a key and for an order that are not
    /// these). Checked is only that `data` is base64 of XML (before, as everywhere), that this is a Signature with SignedInfo,
    /// SignatureMethod, SignatureValue and X509Certificate in their places, and that its DigestValue is not empty. Nothing says
    /// that the order is what was signed, nor by whom. Refused in a live site.
    Sample,
}

/// How every failure is told on release (§9.4): display of `INVALID_VALUE`, at this expression.
pub const ON_RELEASE: (&str, &str) = ("Signature is invalid.", "Provenance.signature.data");

/// What is wrong with a signature. The text is that of `diagnostics` when an order is refused: one issue error/invalid for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("Invalid signature format")]
    Format,
    #[error("Multiple certificates detected")]
    SeveralCertificates,
    #[error("Invalid certificate")]
    Certificate,
    #[error("Signature is invalid")]
    Invalid,
    #[error("Signature doesn't match prescription")]
    Mismatch,
    #[error("Certificate is revoked")]
    Revoked,
    #[error("CA certificate is revoked")]
    AuthorityRevoked,
    #[error("Certificate expired when signed")]
    Expired,
    #[error("Certificate not trusted")]
    NotTrusted,
}

impl Failure {
    /// What would be right.
    pub fn right(self) -> &'static str {
        match self {
            Failure::Format => {
                "A Signature with SignedInfo, SignatureValue and one X509Certificate is wanted, as base64."
            }
            Failure::SeveralCertificates => "One certificate is wanted, the signer's, in DER as base64.",
            Failure::Certificate => "An X.509 certificate is wanted, in DER as base64.",
            Failure::Invalid => {
                "SignatureValue must be the RSASSA-PKCS1-v1_5 signature of the digest of $prepare, by the certificate's key."
            }
            Failure::Mismatch => {
                "The digest of $prepare for this very order must be signed, and signature.when be its timestamp, unchanged."
            }
            Failure::Revoked => "The signer needs a certificate that was not revoked when it signed.",
            Failure::AuthorityRevoked => "The signer needs a certificate of an authority that was not revoked.",
            Failure::Expired => "The signing time must lie within the certificate's validity.",
            Failure::NotTrusted => {
                "The signer needs a certificate of an authority that this site trusts with prescribers."
            }
        }
    }
}

/// What a text holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// No JSON.
    NotJson,
    /// A Bundle whose signature cannot be converted.
    Bad(BadSignature),
    /// No signature of a requester.
    Missing,
    /// A signature, and what is wrong with it: nothing where it holds.
    Signed(Vec<Failure>),
}

/// Reads a Bundle's text and checks its signature. For stored documents, which are texts.
pub fn check(text: &[u8], mode: Mode, trust: &Trust) -> Checked {
    let Ok(text) = std::str::from_utf8(text) else { return Checked::NotJson };
    let Ok(bundle) = serde_json::from_str::<Value>(text) else { return Checked::NotJson };
    match Signature::of(&bundle) {
        Err(bad) => Checked::Bad(bad),
        Ok(None) => Checked::Missing,
        Ok(Some(signature)) => Checked::Signed(verify(&bundle, &Digits::of(text), &signature, mode, trust)),
    }
}

/// Whether it cannot be said any more if the certificate of an order's signature was revoked (`Trust`): asked of new orders only.
/// What is given out was checked when it came in, by lists that were believed then.
pub fn outdated(bundle: &Value, mode: Mode, trust: &Trust, now: EpochMillis) -> bool {
    // On a normal day no list is late, and nothing has to be read again.
    let late = trust.next_update().is_some_and(|next| now > next.saturating_add(trust.grace()));
    if mode != Mode::Verify || !late {
        return false;
    }
    let Ok(Some(signature)) = Signature::of(bundle) else { return false };
    let certificate = base64::decode(signature.certificate()).as_deref().and_then(Certificate::read);
    certificate.is_some_and(|certificate| trust.is_outdated(&certificate, now))
}

/// What is wrong with the signature of an order: nothing where it holds.
pub fn verify(bundle: &Value, digits: &Digits, signature: &Signature, mode: Mode, trust: &Trust) -> Vec<Failure> {
    match mode {
        Mode::Sample if signature.has_shape() => vec![],
        Mode::Sample => vec![Failure::Format],
        Mode::Verify => {
            let anew = || signed_info(bundle, digits, signature.at, signature.algorithm());
            all_nine(signature, anew, trust)
        }
    }
}

/// The checks; `anew` makes the SignedInfo of the prescription as it stands.
pub(super) fn all_nine(signature: &Signature, anew: impl FnOnce() -> String, trust: &Trust) -> Vec<Failure> {
    let (value, certificate) = (signature.value(), signature.certificate());
    let Some(signed) = signature.signed_info().filter(|_| !value.is_empty() && !certificate.is_empty()) else {
        return vec![Failure::Format];
    };
    if signature.several_certificates() {
        return vec![Failure::SeveralCertificates];
    }
    let Some(certificate) = base64::decode(certificate).as_deref().and_then(Certificate::read) else {
        return vec![Failure::Certificate];
    };
    let made = base64::decode(value)
        .is_some_and(|value| certificate.key.signed_order(signature.algorithm(), signed.as_bytes(), &value));
    let authority = trust.issuer(&certificate);
    let valid = certificate.not_before..=certificate.not_after;
    let checks = [
        (made, Failure::Invalid),
        (anew() == signed, Failure::Mismatch),
        (!trust.is_revoked(&certificate, signature.at), Failure::Revoked),
        (!authority.is_some_and(|one| trust.is_revoked(one, signature.at)), Failure::AuthorityRevoked),
        (valid.contains(&signature.at), Failure::Expired),
        (authority.is_some(), Failure::NotTrusted),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, failure)| failure).collect()
}
