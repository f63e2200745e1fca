//! Making certificates: an authority, what it issues, signs and revokes. Used by `spine cert`, `init`, `join`, the demo
//! and tests.
//!
//! Trust decisions are never made here: those are rustls' own. ECDSA P-256 throughout, which every MESH client speaks.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls::{RootCertStore, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(86_400);
/// Certificates start an hour early, so that a client whose clock is a little behind does not refuse a fresh one.
const HEAD_START: Duration = Duration::from_secs(3_600);
/// Ten years: an authority that runs out stops every connection at once, so it outlives the hardware.
pub const AUTHORITY_DAYS: u64 = 3_650;
/// The usual longest life of a server certificate (CA/Browser Forum's 398 days, less one).
pub const LEAF_DAYS: u64 = 397;
/// How long a revocation list counts as fresh.
const CRL_DAYS: u32 = 30;

/// Why a certificate could not be made. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{0}")]
    Rcgen(#[from] rcgen::Error),
    #[error("{0}")]
    Malformed(String),
    #[error("the system's random generator failed")]
    Random,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A listener that clients connect to.
    Server,
    /// A supplier's system.
    Client,
    /// A node of the site: server and client to its peers.
    Node,
}

/// What a new certificate shall say.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub common_name: String,
    /// Organisation, usually an ODS code; empty leaves it out.
    pub organisation: String,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    pub purpose: Purpose,
    pub days: u64,
}

/// A certificate and its key, PEM.
pub struct Issued {
    pub cert: String,
    pub key: String,
}

/// A node's certificate, made anew.
pub struct Renewed {
    pub node: u16,
    /// The site's id.
    pub site: String,
    /// PEM.
    pub cert: String,
}

/// A certificate authority with its key in memory.
pub struct Authority {
    cert: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority that signs itself.
    pub fn create(common_name: &str, days: u64) -> Result<Authority, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = dated(CertificateParams::default(), days)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let cert = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Authority { cert, key_pem, issuer: Issuer::new(params, key) })
    }

    /// Takes up an authority from its PEM files.
    pub fn load(cert: &str, key: &str) -> Result<Authority, PkiError> {
        let pair = KeyPair::from_pem(key)?;
        let issuer = Issuer::from_ca_cert_pem(cert, pair)?;
        Ok(Authority { cert: cert.into(), key_pem: key.into(), issuer })
    }

    /// The authority's certificate, PEM.
    pub fn cert(&self) -> &str {
        &self.cert
    }
    /// The authority's private key, PEM.
    pub fn key(&self) -> &str {
        &self.key_pem
    }

    /// Makes a key and a certificate for it.
    pub fn issue(&self, wanted: &Wanted) -> Result<Issued, PkiError> {
        self.issue_for(KeyPair::generate()?, wanted)
    }

    /// The same with an RSA key of 2048 bits: prescriptions are signed with no other kind.
    pub fn issue_rsa(&self, wanted: &Wanted) -> Result<Issued, PkiError> {
        self.issue_for(KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)?, wanted)
    }

    fn issue_for(&self, key: KeyPair, wanted: &Wanted) -> Result<Issued, PkiError> {
        let params = leaf(CertificateParams::new(wanted.names.clone())?, wanted)?;
        let cert = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { cert, key: key.serialize_pem() })
    }

    /// Signs a request: the key is the requester's, the subject and names are `wanted`'s where given, else the request's.
    pub fn sign(&self, request: &str, wanted: &Wanted) -> Result<String, PkiError> {
        let mut request = CertificateSigningRequestParams::from_pem(request)?;
        let asked = CertificateParams::new(wanted.names.clone())?;
        let mut params = std::mem::take(&mut request.params);
        if !wanted.names.is_empty() {
            params.subject_alt_names = asked.subject_alt_names;
        }
        request.params = leaf(params, wanted)?;
        Ok(request.signed_by(&self.issuer)?.pem())
    }

    /// Makes a node's certificate anew: the same node of the same site and the same key, with new dates. Whatever else the old one
    /// says, and whether it has run out, does not count; that this authority made it does.
    pub fn renew_node(&self, cert: &str) -> Result<Renewed, PkiError> {
        let malformed = |e: String| PkiError::Malformed(e);
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).map_err(|e| malformed(e.to_string()))?;
        let (_, old) = X509Certificate::from_der(&der).map_err(|e| malformed(e.to_string()))?;
        let name = describe_der(&der)?.common_name;
        let foreign = || malformed(format!("{name} is no node's certificate"));
        let (node, site) = parse_node_common_name(&name).ok_or_else(foreign)?;
        is_of(&der, &self.cert)?;
        let wanted = node_wanted(node, site);
        let key = SubjectPublicKeyInfo::from_der(old.public_key().raw)?;
        let cert = leaf(CertificateParams::new(wanted.names.clone())?, &wanted)?.signed_by(&key, &self.issuer)?.pem();
        Ok(Renewed { node, site: site.to_owned(), cert })
    }

    /// Makes a revocation list: everything in `old` (PEM, may be empty) and the serial numbers in `more`.
    pub fn revoke(&self, old: &str, more: &[Vec<u8>]) -> Result<String, PkiError> {
        let now = SystemTime::now();
        let (mut serials, number) = if old.trim().is_empty() { (vec![], 0) } else { read_crl(old)? };
        for serial in more {
            if !serials.iter().any(|(s, _)| s == serial) {
                serials.push((serial.clone(), now));
            }
        }
        let entry = |(serial, at): Revoked| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial),
            revocation_time: at.into(),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + DAY * CRL_DAYS).into(),
            crl_number: SerialNumber::from(number + 1),
            issuing_distribution_point: None,
            revoked_certs: serials.into_iter().map(entry).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }
}

/// Whether a node's certificate (DER) is of one of these authorities (PEM), as of the moment at which it was made: whether it has run
/// out since is another matter. rustls says so.
pub fn is_of(der: &CertificateDer<'_>, authorities: &str) -> Result<(), PkiError> {
    let failed = |e: String| PkiError::Malformed(format!("the certificate is not of this authority: {e}"));
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        let authority = authority.map_err(|e| PkiError::Malformed(e.to_string()))?;
        roots.add(authority).map_err(|e| failed(e.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().map_err(|e| failed(e.to_string()))?;
    let (_, cert) = X509Certificate::from_der(der).map_err(|e| PkiError::Malformed(e.to_string()))?;
    let begins = Duration::from_secs(cert.validity().not_before.timestamp().max(0) as u64);
    let made = UnixTime::since_unix_epoch(begins + HEAD_START);
    verifier.verify_client_cert(der, &[], made).map(|_| ()).map_err(|e| failed(e.to_string()))
}

/// Makes a key and a request to be signed elsewhere (`spine join`).
pub fn request(common_name: &str, names: &[String]) -> Result<Issued, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(Issued { cert: params.serialize_request(&key)?.pem()?, key: key.serialize_pem() })
}

/// A fresh RSA key of 2,048 bits, for an application that signs its own tokens; PKCS#8, PEM.
pub fn rsa_key() -> Result<String, PkiError> {
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA512, rcgen::RsaKeySize::_2048)?;
    Ok(key.serialize_pem())
}

/// The common name of a node's certificate: it binds the node's number to one cluster.
pub fn node_common_name(number: u16, cluster: &str) -> String {
    format!("node-{number}.{cluster}")
}

/// Reads a node's number and cluster back from its common name.
pub fn parse_node_common_name(name: &str) -> Option<(u16, &str)> {
    let (number, cluster) = name.strip_prefix("node-")?.split_once('.')?;
    Some((number.parse().ok().filter(|n| *n > 0)?, cluster))
}

/// What a node's certificate says, and no more: its name as DNS name too, so that peers can check it by name.
pub fn node_wanted(number: u16, cluster: &str) -> Wanted {
    let name = node_common_name(number, cluster);
    let names = vec![name.clone()];
    Wanted { common_name: name, organisation: String::new(), names, purpose: Purpose::Node, days: LEAF_DAYS * 5 }
}

/// What a person wants to know about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub common_name: String,
    pub subject: String,
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// SHA-256 of the DER, lower-case hex: what the directory binds a system to.
    pub fingerprint: String,
    /// SHA-256 of the public key (DER), lower-case hex: what stays when a certificate is renewed.
    pub key: String,
    pub names: Vec<String>,
    pub authority: bool,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
}

impl Described {
    /// Whole days until it runs out, negative when it has.
    pub fn days_left(&self) -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        (self.not_after - now).div_euclid(86_400)
    }
}

/// Describes every certificate in a PEM text, in order.
pub fn describe(pem: &str) -> Result<Vec<Described>, PkiError> {
    let mut out = vec![];
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|e| PkiError::Malformed(e.to_string()))?;
        out.push(describe_der(&der)?);
    }
    Ok(out)
}

/// Describes one certificate.
pub fn describe_der(der: &[u8]) -> Result<Described, PkiError> {
    let (_, cert) = X509Certificate::from_der(der).map_err(|e| PkiError::Malformed(e.to_string()))?;
    let common_name = cert.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok()).unwrap_or_default();
    let names = match cert.subject_alternative_name() {
        Ok(Some(san)) => san.value.general_names.iter().map(show_name).collect(),
        _ => vec![],
    };
    Ok(Described {
        common_name: common_name.into(),
        subject: cert.subject().to_string(),
        issuer: cert.issuer().to_string(),
        serial: hex(cert.raw_serial()),
        fingerprint: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref()),
        key: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, cert.public_key().raw).as_ref()),
        names,
        authority: cert.is_ca(),
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
    })
}

/// A revoked certificate's serial number, and when it was revoked.
type Revoked = (Vec<u8>, SystemTime);

/// What a revocation list names, and its own number.
fn read_crl(pem: &str) -> Result<(Vec<Revoked>, u64), PkiError> {
    use rustls_pki_types::CertificateRevocationListDer;
    let malformed = |e: String| PkiError::Malformed(format!("revocation list: {e}"));
    let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).map_err(|e| malformed(e.to_string()))?;
    let (_, crl) = x509_parser::parse_x509_crl(&der).map_err(|e| malformed(e.to_string()))?;
    let time = |t: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(t.max(0) as u64);
    let entries = crl.iter_revoked_certificates();
    let serials = entries.map(|c| (c.raw_serial().to_vec(), time(c.revocation_date.timestamp()))).collect();
    let number = crl.crl_number().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Ok((serials, number))
}

/// Serial numbers that a revocation list names, lower-case hex.
pub fn revoked(pem: &str) -> Result<Vec<String>, PkiError> {
    Ok(read_crl(pem)?.0.into_iter().map(|(serial, _)| hex(&serial)).collect())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `None` where the text is not pairs of hex digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.replace(':', "");
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

fn show_name(name: &x509_parser::extensions::GeneralName<'_>) -> String {
    use x509_parser::extensions::GeneralName::{DNSName, IPAddress};
    match name {
        DNSName(name) => (*name).into(),
        IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|b| std::net::Ipv4Addr::from(b).to_string());
            let v6 = <[u8; 16]>::try_from(*bytes).map(|b| std::net::Ipv6Addr::from(b).to_string());
            v4.or(v6).unwrap_or_else(|_| hex(bytes))
        }
        other => other.to_string(),
    }
}

fn leaf(mut params: CertificateParams, wanted: &Wanted) -> Result<CertificateParams, PkiError> {
    if !wanted.common_name.is_empty() {
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !wanted.organisation.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, wanted.organisation.as_str());
        }
        params.distinguished_name.push(DnType::CommonName, wanted.common_name.as_str());
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match wanted.purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Node => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    dated(params, wanted.days)
}

fn dated(mut params: CertificateParams, days: u64) -> Result<CertificateParams, PkiError> {
    let now = SystemTime::now();
    params.not_before = (now - HEAD_START).into();
    params.not_after = (now + DAY * u32::try_from(days).unwrap_or(u32::MAX).min(36_500)).into();
    let mut serial = [0u8; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| PkiError::Random)?;
    // A serial number is a positive integer without leading zeros.
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Wanted {
        Wanted {
            common_name: name.into(),
            organisation: "X26".into(),
            names: vec![],
            purpose: Purpose::Client,
            days: 30,
        }
    }

    #[test]
    fn an_authority_survives_being_written_and_read_and_what_it_issues_says_what_was_wanted() {
        let made = Authority::create("Test CA", 10).unwrap();
        let ca = Authority::load(made.cert(), made.key()).unwrap();
        let issued =
            ca.issue(&Wanted { names: vec!["localhost".into(), "127.0.0.1".into()], ..client("a.X26") }).unwrap();
        let told = &describe(&issued.cert).unwrap()[0];
        assert_eq!(told.common_name, "a.X26");
        assert_eq!(told.names, ["localhost", "127.0.0.1"]);
        assert!(told.issuer.contains("Test CA") && !told.authority);
        assert!((29..=30).contains(&told.days_left()));
        assert!(describe(ca.cert()).unwrap()[0].authority);
    }

    #[test]
    fn a_request_is_signed_with_the_names_that_the_authority_grants() {
        let ca = Authority::create("Test CA", 10).unwrap();
        let asked = request("node-9.other", &[]).unwrap();
        let cert = ca.sign(&asked.cert, &node_wanted(2, "c1")).unwrap();
        let told = &describe(&cert).unwrap()[0];
        assert_eq!(told.common_name, "node-2.c1");
        assert_eq!(told.names, ["node-2.c1"]);
        assert_eq!(parse_node_common_name(&told.common_name), Some((2, "c1")));
        assert_eq!(parse_node_common_name("node-0.c1"), None);
    }

    #[test]
    fn a_nodes_certificate_is_made_anew_for_its_own_key_and_number_only() {
        let ca = Authority::create("Test CA", 10).unwrap();
        let wanted = |days| Wanted { days, ..node_wanted(2, "c1") };
        // One day, begun an hour ago; and one that has run out.
        for days in [1, 0] {
            let old = ca.issue(&wanted(days)).unwrap();
            let new = ca.renew_node(&old.cert).unwrap();
            assert_eq!((new.node, new.site.as_str()), (2, "c1"));
            let (was, is) = (&describe(&old.cert).unwrap()[0], &describe(&new.cert).unwrap()[0]);
            assert_eq!((&is.common_name, &is.names, &is.key), (&was.common_name, &was.names, &was.key));
            assert!(is.serial != was.serial && is.days_left() > 1_900, "{is:?}");
        }
        let other = Authority::create("Test CA", 10).unwrap();
        let refused = |cert: &str| ca.renew_node(cert).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused(&other.issue(&wanted(1)).unwrap().cert).contains("not of this authority"));
        assert!(refused(&ca.issue(&client("a.X26")).unwrap().cert).contains("a.X26 is no node's certificate"));
        assert!(!refused(ca.cert()).is_empty() && !refused("").is_empty());
    }

    #[test]
    fn a_revocation_list_keeps_what_it_held() {
        let ca = Authority::create("Test CA", 10).unwrap();
        let first = ca.revoke("", &[vec![0x45, 1]]).unwrap();
        let second = ca.revoke(&first, &[vec![0x45, 1], vec![0x46, 2]]).unwrap();
        assert_eq!(revoked(&second).unwrap(), ["4501", "4602"]);
        assert_eq!(unhex("45:01"), Some(vec![0x45, 1]));
        assert_eq!(unhex("4"), None);
    }
}
