//! Whom the operator trusts with prescribers' certificates, and what was revoked (spec/eps.md §6.5): sub-authorities, their revocation
//! lists, the authority revocation list. Bytes come in, as the operator's files hold them (PEM with one or more, or one in DER).
//!
//! Invariant: a list counts only if an authority that stands here signed it. One exception: the list of the authority above the
//! sub-authorities, when that authority's own certificate is not among the files: then the operator's word for the file has to do.

use super::x509::{Certificate, millis, serial};
use crate::model::EpochMillis;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use std::{collections::HashMap, time::Duration};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Most authorities: the national infrastructure has a handful.
pub const MAX_AUTHORITIES: usize = 64;
/// Most certificates on all lists together; one takes some 100 bytes.
pub const MAX_REVOKED: usize = 2_000_000;

/// Reasons for which a signature does not count whenever it was made: the key, or the one of an authority, was not safe.
/// keyCompromise, cACompromise, aACompromise.
const ALWAYS: [u8; 3] = [1, 2, 10];

/// Trusted authorities and revoked certificates. Empty: nobody is trusted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    authorities: Vec<Certificate>,
    /// By issuer's name, then by serial number.
    revoked: HashMap<Vec<u8>, HashMap<Vec<u8>, Revoked>>,
    /// When the newest list of each issuer should have been replaced.
    dates: HashMap<Vec<u8>, EpochMillis>,
    /// How long a list is believed behind that, milliseconds.
    grace: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Revoked {
    at: EpochMillis,
    reason: u8,
}

/// Why a file cannot be used. For the operator; the file's name is added by who read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTrust {
    #[error("it holds no certificate, neither as PEM nor as DER")]
    NoCertificate,
    #[error("certificate {0} cannot be read")]
    Certificate(usize),
    #[error("certificate {0} is not one of an authority (basic constraints do not say CA)")]
    NotAuthority(usize),
    #[error("more than {MAX_AUTHORITIES} authorities")]
    TooManyAuthorities,
    #[error("it holds no revocation list, neither as PEM nor as DER")]
    NoList,
    #[error("revocation list {0} cannot be read")]
    List(usize),
    #[error("revocation list {0} is of an authority that is not among the certificates, nor above one of them")]
    UnknownAuthority(usize),
    #[error("revocation list {0} was not signed by the authority that it names")]
    ListNotSigned(usize),
    #[error("revocation list {0} does not say when the next one comes")]
    NoNextList(usize),
    #[error("more than {MAX_REVOKED} revoked certificates")]
    TooManyRevoked,
}

impl Trust {
    /// From the contents of the files: first all authorities, then all lists.
    pub fn parse(authorities: &[&[u8]], lists: &[&[u8]]) -> Result<Trust, BadTrust> {
        let mut trust = Trust::default();
        authorities.iter().try_for_each(|file| trust.add_authorities(file))?;
        lists.iter().try_for_each(|file| trust.add_lists(file))?;
        Ok(trust)
    }

    /// Nobody yet; lists are believed so long behind their date.
    pub fn with_grace(grace: Duration) -> Trust {
        Trust { grace: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), ..Trust::default() }
    }

    /// A file of sub-authorities (or of the authority above them, for its list). After an error the value is half filled: throw it away.
    pub fn add_authorities(&mut self, file: &[u8]) -> Result<(), BadTrust> {
        let found = certificates(file)?;
        for (n, der) in found.iter().enumerate() {
            let read = Certificate::read(der).ok_or(BadTrust::Certificate(n + 1))?;
            if !read.is_authority {
                return Err(BadTrust::NotAuthority(n + 1));
            }
            if self.authorities.len() == MAX_AUTHORITIES {
                return Err(BadTrust::TooManyAuthorities);
            }
            self.authorities.push(read);
        }
        Ok(())
    }

    /// A file of revocation lists, of sub-authorities or of the authority above. Authorities come before.
    pub fn add_lists(&mut self, file: &[u8]) -> Result<(), BadTrust> {
        for (n, der) in lists(file)?.iter().enumerate() {
            let list = CertificateRevocationList::from_der(der).ok().filter(|(rest, _)| rest.is_empty());
            let (_, list) = list.ok_or(BadTrust::List(n + 1))?;
            self.add_list(&list, n + 1)?;
        }
        Ok(())
    }

    fn add_list(&mut self, list: &CertificateRevocationList<'_>, n: usize) -> Result<(), BadTrust> {
        let issuer = list.issuer().as_raw();
        let mut named = self.authorities.iter().filter(|authority| authority.subject == issuer).peekable();
        if named.peek().is_some() {
            let (algorithm, signature) =
                (list.signature_algorithm.algorithm.to_id_string(), &list.signature_value.data);
            if !named.any(|one| one.key.signed(&algorithm, list.tbs_cert_list.as_ref(), signature)) {
                return Err(BadTrust::ListNotSigned(n));
            }
        } else if !self.authorities.iter().any(|authority| authority.issuer == issuer) {
            return Err(BadTrust::UnknownAuthority(n));
        }
        let mut room = MAX_REVOKED.saturating_sub(self.counts().1);
        let revoked = self.revoked.entry(issuer.to_vec()).or_default();
        for one in list.iter_revoked_certificates() {
            room = room.checked_sub(1).ok_or(BadTrust::TooManyRevoked)?;
            let reason = one.reason_code().map_or(0, |(_, reason)| reason.0);
            let entry = Revoked { at: millis(one.revocation_date), reason };
            revoked.insert(serial(one.raw_serial()), entry);
        }
        let next = list.next_update().map(millis).ok_or(BadTrust::NoNextList(n))?;
        let newest = self.dates.entry(issuer.to_vec()).or_default();
        *newest = next.max(*newest);
        Ok(())
    }

    /// When the first of the lists should have been replaced: for the operator's watch.
    pub fn next_update(&self) -> Option<EpochMillis> {
        self.dates.values().min().copied()
    }

    /// How long a list is believed behind its date, milliseconds.
    pub fn grace(&self) -> u64 {
        self.grace
    }

    /// Whether nobody can say any more if a certificate, or the one of its authority, was revoked: a list of theirs is past its date
    /// and its grace. An authority without a list is taken at its word.
    pub(super) fn is_outdated(&self, certificate: &Certificate, now: EpochMillis) -> bool {
        let issuers = std::iter::once(&certificate.issuer).chain(self.issuer(certificate).map(|one| &one.issuer));
        issuers.filter_map(|issuer| self.dates.get(issuer)).any(|next| now > next.saturating_add(self.grace))
    }

    /// How many authorities are trusted, how many certificates revoked.
    pub fn counts(&self) -> (usize, usize) {
        (self.authorities.len(), self.revoked.values().map(HashMap::len).sum())
    }

    /// The authority that issued a certificate.
    pub(super) fn issuer(&self, of: &Certificate) -> Option<&Certificate> {
        self.authorities.iter().find(|authority| of.issued_by(authority))
    }

    /// Whether a certificate was revoked so that a signature of that moment does not count (§6.5 no. 6, 7).
    pub(super) fn is_revoked(&self, certificate: &Certificate, signed_at: EpochMillis) -> bool {
        let found = self.revoked.get(&certificate.issuer).and_then(|list| list.get(&certificate.serial));
        found.is_some_and(|one| ALWAYS.contains(&one.reason) || signed_at >= one.at)
    }
}

/// DER begins with a sequence; PEM with a dash or words.
fn is_der(file: &[u8]) -> bool {
    file.first() == Some(&0x30)
}

fn certificates(file: &[u8]) -> Result<Vec<Vec<u8>>, BadTrust> {
    if is_der(file) {
        return Ok(vec![file.to_vec()]);
    }
    let all = CertificateDer::pem_slice_iter(file).enumerate();
    let read: Result<Vec<_>, _> =
        all.map(|(n, one)| one.map(|der| der.to_vec()).map_err(|_| BadTrust::Certificate(n + 1))).collect();
    read.and_then(|all| if all.is_empty() { Err(BadTrust::NoCertificate) } else { Ok(all) })
}

fn lists(file: &[u8]) -> Result<Vec<Vec<u8>>, BadTrust> {
    if is_der(file) {
        return Ok(vec![file.to_vec()]);
    }
    let all = CertificateRevocationListDer::pem_slice_iter(file).enumerate();
    let read: Result<Vec<_>, _> =
        all.map(|(n, one)| one.map(|der| der.to_vec()).map_err(|_| BadTrust::List(n + 1))).collect();
    read.and_then(|all| if all.is_empty() { Err(BadTrust::NoList) } else { Ok(all) })
}
