//! Who is at the other end of a connection: its certificate, proven by the handshake, and what the registry says of it
//! (P5). A certificate that our authorities signed opens a connection; only a registered, enabled system gets answers.

use super::tenant::CertificateHash;
use super::tls::Loaded;
use crate::access::caller::Caller;
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// A client certificate as one connection proved it.
pub struct Peer {
    pub hash: CertificateHash,
    /// Certificate, common name and address are set; the registry's part comes with each request.
    base: Caller,
    chain: Vec<CertificateDer<'static>>,
    /// Unix milliseconds after which the certificate is not valid.
    not_after: u64,
    /// [`Loaded::generation`] under which the chain was last found good.
    verified: AtomicU64,
    /// Unix milliseconds up to which the revocation lists of then are believed.
    believed_until: AtomicU64,
}

/// What is thought of a certificate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Good,
    Refused,
    /// Its authority's revocation list is too old to say.
    Unknown,
}

impl Peer {
    /// `None` where the chain is empty or its leaf cannot be read; neither passes a handshake.
    pub fn new(chain: &[CertificateDer<'_>], address: SocketAddr) -> Option<Peer> {
        let leaf = chain.first()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let name = parsed.subject().iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
        let mut hash = CertificateHash::default();
        hash.copy_from_slice(digest.as_ref());
        let base = Caller {
            certificate: hex(&hash),
            // Bounded: the name goes into each audit record.
            common_name: name.chars().take(200).collect(),
            address: address.ip().to_canonical().to_string(),
            ..Default::default()
        };
        Some(Peer {
            hash,
            base,
            chain: chain.iter().map(|c| c.clone().into_owned()).collect(),
            not_after: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0).saturating_mul(1000),
            verified: AtomicU64::new(0),
            believed_until: AtomicU64::new(0),
        })
    }

    /// A client without a certificate: its share of the node is its address's, or its network's.
    pub fn without_certificate(address: SocketAddr) -> Peer {
        let network = network(address.ip()).to_string();
        let address = address.ip().to_canonical().to_string();
        Peer {
            hash: share_of("address", &network),
            base: Caller { address, ..Default::default() },
            chain: vec![],
            not_after: u64::MAX,
            verified: AtomicU64::new(0),
            believed_until: AtomicU64::new(u64::MAX),
        }
    }

    /// Is the certificate still good? Checked whole once per connection and per reload of authorities and revocation
    /// lists; a resumed session brings a certificate that this handshake did not check.
    pub fn judge(&self, loaded: &Loaded, now_ms: u64) -> Judgement {
        if self.chain.is_empty() {
            return Judgement::Good;
        }
        if now_ms > self.not_after {
            return Judgement::Refused;
        }
        if self.verified.load(Acquire) != loaded.generation {
            match loaded.verify(&self.chain, now_ms) {
                Ok(believed_until) => {
                    self.believed_until.store(believed_until, Relaxed);
                    self.verified.store(loaded.generation, Release);
                }
                Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredRevocationListContext { .. })) => {
                    return Judgement::Unknown;
                }
                Err(_) => return Judgement::Refused,
            }
        }
        if now_ms > self.believed_until.load(Relaxed) { Judgement::Unknown } else { Judgement::Good }
    }

    /// Empty where there is none.
    pub fn certificate(&self) -> &str {
        &self.base.certificate
    }

    /// The caller without the registry's part, which the gate adds.
    pub fn caller(&self) -> &Caller {
        &self.base
    }
}

/// What one sender has to itself: an IPv4 address, or the first 64 bits of an IPv6 address, behind which it may call itself anything
/// (RFC 4291 §2.5.1).
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(long) => IpAddr::V6((u128::from(long) & !u128::from(u64::MAX)).into()),
        short => short,
    }
}

/// Under what a share is kept that is no certificate's: SHA-256 of the kind and the name.
pub fn share_of(kind: &str, name: &str) -> CertificateHash {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{kind}\0{name}").as_bytes());
    let mut hash = CertificateHash::default();
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[(b >> 4) as usize] as char, DIGITS[(b & 15) as usize] as char]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_share_and_each_ipv4_address_its_own() {
        let share = |address: &str| Peer::without_certificate(SocketAddr::new(address.parse().unwrap(), 1)).hash;
        assert_eq!(share("2001:db8:1:2::1"), share("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(share("2001:db8:1:2::1"), share("2001:db8:1:3::1"));
        assert_ne!(share("192.0.2.1"), share("192.0.2.2"));
        assert_eq!(share("192.0.2.1"), share("::ffff:192.0.2.1"));
        let peer = Peer::without_certificate("[2001:db8:1:2::1]:1".parse().unwrap());
        assert_eq!(peer.caller().address, "2001:db8:1:2::1", "the trail has the whole of it");
    }
}
