//! A certificate authority for one test, with its files in a folder of its own.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use spine::edge::tls::TlsFiles;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a revocation list is believed past its date.
pub const GRACE: Duration = Duration::from_secs(7 * 86_400);

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    pub pem: String,
    pub key_pem: String,
    pub serial: u64,
}

impl Identity {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap()
    }
    /// As the registry knows it.
    pub fn sha256(&self) -> String {
        spine::edge::peer::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der()).as_ref())
    }
}

pub struct Pki {
    pub dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    pub authority_pem: String,
}

impl Pki {
    pub fn new() -> Pki {
        Self::named("Test authority")
    }

    /// An authority of this name; two of one name are taken for one.
    pub fn named(name: &str) -> Pki {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let pki =
            Pki { dir: tempfile::tempdir().unwrap(), authority_pem: authority.pem(), issuer: Issuer::new(params, key) };
        let server = pki.issue("localhost", 1, 2100);
        pki.revoke(&[]);
        pki.write("ca.pem", &pki.authority_pem);
        pki.write("server.pem", &server.pem);
        pki.write("server.key", &server.key_pem);
        pki
    }

    /// A certificate for `name`, valid until the first day of `until`.
    pub fn issue(&self, name: &str, serial: u64, until: i32) -> Identity {
        self.issue_with(name, serial, |params| params.not_after = date_time_ymd(until, 1, 1))
    }

    /// A certificate of which something is different.
    pub fn issue_with(&self, name: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { pem: certificate.pem(), key_pem: key.serialize_pem(), serial }
    }

    pub fn client(&self, serial: u64) -> Identity {
        self.issue("client.x26.api.mesh-client.nhs.uk", serial, 2100)
    }

    /// Writes the revocation list `crl.pem`.
    pub fn revoke(&self, serials: &[u64]) {
        let forever = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
        self.write("crl.pem", &self.list(serials, forever));
    }

    /// A revocation list whose successor is due at `next`, PEM.
    pub fn list(&self, serials: &[u64], next: SystemTime) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: next.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
    pub fn read(&self, path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_authorities: vec![self.path("ca.pem")],
            revocations: vec![self.path("crl.pem")],
            revocation_grace: GRACE,
            ..Default::default()
        }
    }
}
