//! How long a revocation list is believed (P5): up to the date at which its authority promised the next one, and for a
//! time of grace behind it. From then on nobody of that authority gets in, because nobody can say who was revoked.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The authorities that have a list, by name (DER), each with the date of its newest list, in Unix seconds.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    next_updates: BTreeMap<Vec<u8>, u64>,
    grace: Duration,
}

impl Lists {
    pub fn new(grace: Duration) -> Lists {
        Lists { next_updates: BTreeMap::new(), grace }
    }

    /// Adds a list; `Err` says why it cannot be read. One without a date for the next is none that can be believed.
    pub fn add(&mut self, list: &CertificateRevocationListDer<'_>) -> Result<(), String> {
        let (_, read) = x509_parser::parse_x509_crl(list).map_err(|e| e.to_string())?;
        let next = read.next_update().ok_or("the list does not say when the next one comes")?.timestamp();
        let newest = self.next_updates.entry(read.issuer().as_raw().to_vec()).or_default();
        *newest = (*newest).max(u64::try_from(next).unwrap_or(0));
        Ok(())
    }

    /// The date of the list that becomes stale first, in Unix seconds.
    pub fn next_update(&self) -> Option<u64> {
        self.next_updates.values().min().copied()
    }

    /// What operators are told of a file of lists; `Err` where it cannot be used.
    pub fn examine(pem: &[u8], grace: Duration, now: u64) -> Result<Told, String> {
        let mut lists = Lists::new(grace);
        for list in CertificateRevocationListDer::pem_slice_iter(pem) {
            lists.add(&list.map_err(|e| e.to_string())?)?;
        }
        let next_update = lists.next_update().ok_or("no revocation list in it")?;
        let believed_until = next_update.saturating_add(grace.as_secs());
        let state = match now {
            now if now > believed_until => State::Refusing,
            now if now > next_update => State::Stale,
            _ => State::Fresh,
        };
        Ok(Told { next_update, believed_until, state })
    }

    /// The date up to which a chain's lists are believed, with the list's own: both in Unix seconds. `None` where no
    /// authority of the chain has a list.
    fn believed(&self, chain: &[&CertificateDer<'_>]) -> Option<(u64, u64)> {
        let of = |certificate: &&CertificateDer<'_>| {
            let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
            self.next_updates.get(read.issuer().as_raw()).copied()
        };
        let next = chain.iter().filter_map(of).min()?;
        Some((next.saturating_add(self.grace.as_secs()), next))
    }

    /// The last moment, in Unix milliseconds, at which a chain's lists are believed; the end of time without lists.
    pub fn believed_until(&self, chain: &[CertificateDer<'_>]) -> u64 {
        let chain: Vec<&CertificateDer<'_>> = chain.iter().collect();
        self.believed(&chain).map_or(u64::MAX, |(until, _)| until.saturating_mul(1000))
    }
}

/// How old the oldest list of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Fresh,
    /// Past its date and still believed.
    Stale,
    /// Past its grace: its authority's clients are refused.
    Refusing,
}

/// Dates of a file's oldest list, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub next_update: u64,
    pub believed_until: u64,
    pub state: State,
}

/// The library's verifier, and on top of it the dates of the lists.
#[derive(Debug)]
pub struct Dated {
    pub inner: Arc<dyn ClientCertVerifier>,
    pub lists: Lists,
}

impl ClientCertVerifier for Dated {
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(leaf, rest, now)?;
        let chain: Vec<&CertificateDer<'_>> = std::iter::once(leaf).chain(rest).collect();
        match self.lists.believed(&chain) {
            Some((until, next)) if now.as_secs() > until => {
                let next_update = UnixTime::since_unix_epoch(Duration::from_secs(next));
                Err(CertificateError::ExpiredRevocationListContext { time: now, next_update }.into())
            }
            _ => Ok(verified),
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
