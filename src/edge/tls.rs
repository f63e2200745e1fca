//! A listener's TLS: which certificates we show, which we take, and how both are exchanged under load (P5).
//!
//! TLS 1.2 with ECDHE and AEAD, and 1.3; a client certificate is required (on the API listener: taken) and checked against our authorities and
//! their revocation lists, which must not be older than they may be (`revocation`). Files are read into a fresh configuration, which each new handshake picks up; files that
//! cannot be used leave the old configuration serving. A fresh configuration has fresh ticket keys, so that a session
//! of a revoked certificate does not resume; connections that were open check themselves again ([`Loaded::verify`]).

use super::revocation::{Dated, Lists};
use crate::ops::metrics::{CERTIFICATE_EXPIRY, CRL_NEXT_UPDATE, RELOAD_SUCCESS, RELOAD_TIME};
use crate::seam::clock::Clock;
use arc_swap::ArcSwap;
use rustls::server::danger::ClientCertVerifier as _;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, crypto::aws_lc_rs as provider};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Largest file read, in bytes: a revocation list of a national authority has some megabytes.
const MAX_FILE: u64 = 64 << 20;

/// Where certificates and keys are, all PEM. They live outside the data directory.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Ours, leaf first.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities of clients.
    pub client_authorities: Vec<PathBuf>,
    /// Revocation lists of those authorities. A file that is named must be there: one that went missing would let the
    /// revoked in again.
    pub revocations: Vec<PathBuf>,
    /// How long a list is believed behind the date at which the next one was due.
    pub revocation_grace: Duration,
    /// Clients may come without a certificate; one that is shown is checked all the same.
    pub clients_optional: bool,
    /// The listener's word in metrics; `suppliers` where empty.
    pub usage: &'static str,
}

/// Why files cannot be used. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    Pem(PathBuf, String),
    #[error("{0}: no certificate in it")]
    Empty(PathBuf),
    #[error("{0}: no revocation list in it")]
    NoList(PathBuf),
    #[error("{cert} and {key}: {}", belonging(error))]
    Key { cert: PathBuf, key: PathBuf, error: rustls::Error },
    #[error("TLS: {0}")]
    Library(rustls::Error),
    #[error("client authorities: {0}")]
    Authorities(String),
}

/// What is wrong with a certificate and its key.
fn belonging(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".into(),
        other => other.to_string(),
    }
}

/// One state of the files, as handshakes use it.
pub struct Loaded {
    pub config: Arc<ServerConfig>,
    /// Rises with each reload; a connection remembers under which it was last verified.
    pub generation: u64,
    verifier: Arc<Dated>,
    certificate_expiry: i64,
}

impl Loaded {
    /// Checks a client's chain as of now: signature chain, dates, revocation. Says until when, in Unix milliseconds, its
    /// authorities' revocation lists are believed.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now_ms: u64) -> Result<u64, rustls::Error> {
        let [leaf, rest @ ..] = chain else { return Err(rustls::Error::NoCertificatesPresented) };
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
        self.verifier.verify_client_cert(leaf, rest, now).map(|_| self.verifier.lists.believed_until(chain))
    }
}

/// Files that were read and can be used, not in force yet.
pub struct Fresh {
    files: TlsFiles,
    loaded: Loaded,
}

/// The listener's TLS, reloadable.
pub struct Tls {
    files: ArcSwap<TlsFiles>,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
}

impl Tls {
    pub fn load(files: TlsFiles, clock: Arc<dyn Clock>) -> Result<Tls, TlsError> {
        let loaded = load(&files, 1)?;
        let tls = Tls { files: ArcSwap::from_pointee(files), clock, current: ArcSwap::from_pointee(loaded) };
        tls.observe(true);
        Ok(tls)
    }

    /// What the next handshake uses.
    pub fn current(&self) -> arc_swap::Guard<Arc<Loaded>> {
        self.current.load()
    }

    /// Reads the files again. On an error the old state goes on serving, and a metric says so.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.prepare(TlsFiles::clone(&self.files.load())).map(|fresh| self.take(fresh))
    }

    /// Reads `files`, which may be others than so far; nothing is in force before [`Tls::take`]. Several listeners so
    /// change together or not at all.
    pub fn prepare(&self, files: TlsFiles) -> Result<Fresh, TlsError> {
        match load(&files, self.current.load().generation + 1) {
            Ok(loaded) => Ok(Fresh { files, loaded }),
            Err(e) => {
                metrics::gauge!(RELOAD_SUCCESS).set(0.0);
                tracing::error!(event = "tls.reload.failed", code = crate::ops::codes::TLS_FILES.code, error = %e,
                    "new certificate files cannot be used; the old ones go on serving");
                Err(e)
            }
        }
    }

    /// From here on handshakes use what was prepared.
    pub fn take(&self, fresh: Fresh) {
        let left = fresh.loaded.verifier.lists.next_update().is_none();
        self.files.store(Arc::new(fresh.files));
        let before = self.current.swap(Arc::new(fresh.loaded));
        if left && before.verifier.lists.next_update().is_some() {
            // A gauge cannot be taken back: a list that was taken away becomes stale never.
            metrics::gauge!(CRL_NEXT_UPDATE).set(f64::INFINITY);
        }
        self.observe(true);
        tracing::info!(event = "tls.reloaded", "certificates and revocation lists were read again");
    }

    fn usage(&self) -> &'static str {
        let usage = self.files.load().usage;
        if usage.is_empty() { "suppliers" } else { usage }
    }

    fn observe(&self, taken: bool) {
        let loaded = self.current.load();
        let now = self.clock.now().0 as f64 / 1000.0;
        metrics::gauge!(CERTIFICATE_EXPIRY, "use" => self.usage()).set(loaded.certificate_expiry as f64);
        if let Some(next) = loaded.verifier.lists.next_update() {
            metrics::gauge!(CRL_NEXT_UPDATE).set(next as f64);
            if (next as f64) < now {
                tracing::warn!(event = "tls.revocations.stale", grace = ?self.files.load().revocation_grace,
                    "a revocation list is past its date; clients of its authority are refused when its grace is over");
            }
        }
        metrics::gauge!(RELOAD_SUCCESS).set(f64::from(u8::from(taken)));
        metrics::gauge!(RELOAD_TIME).set(now);
        if (loaded.certificate_expiry as f64) < now {
            tracing::warn!(event = "tls.certificate.expired", file = %self.files.load().certificate.display(),
                "this node's own certificate has expired: clients will refuse it");
        }
    }
}

fn load(files: &TlsFiles, generation: u64) -> Result<Loaded, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|e| TlsError::Pem(files.key.clone(), e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for file in &files.client_authorities {
        for authority in certificates(file)? {
            roots.add(authority).map_err(|e| TlsError::Authorities(format!("{}: {e}", file.display())))?;
        }
    }
    let (lists, dates) = revocations(files)?;
    let certificate_expiry = chain.first().map(|c| expiry(c)).unwrap_or_default();
    // An authority without a list is taken at its word; one with a list refuses what the list names, and everyone once
    // the list is past its date and its grace. The library's own check of that date knows no grace.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider::default_provider().into())
        .with_crls(lists)
        .allow_unknown_revocation_status();
    let verifier = if files.clients_optional { verifier.allow_unauthenticated() } else { verifier };
    let inner = verifier.build().map_err(|e| TlsError::Authorities(e.to_string()))?;
    let verifier = Arc::new(Dated { inner, lists: dates });
    let mut config = ServerConfig::builder_with_provider(provider::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Library)?
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Key { cert: files.certificate.clone(), key: files.key.clone(), error })?;
    // Our order of suites, strongest first, whatever a client would rather have.
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions live in tickets that the client keeps: memory here does not grow with clients.
    config.ticketer = provider::Ticketer::new().map_err(TlsError::Library)?;
    config.send_tls13_tickets = 1;
    if files.clients_optional {
        config.ticketer = Arc::new(Anonymous(config.ticketer));
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(Loaded { config: Arc::new(config), generation, verifier, certificate_expiry })
}

/// Tickets for who showed no certificate. Where certificates are optional, people log in with theirs (spec/identity.md §2.4), and a
/// resumed connection proves nothing anew: with one, each connection is shaken in full, with the smartcard in its reader.
#[derive(Debug)]
struct Anonymous(Arc<dyn ProducesTickets>);

/// No session with a certificate is as short as this, in bytes; one without is, unless its server's name is uncommonly long.
const WITHOUT_CERTIFICATE: usize = 200;

impl ProducesTickets for Anonymous {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }
    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() < WITHOUT_CERTIFICATE { self.0.encrypt(plain) } else { None }
    }
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// A file of certificates or lists.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let error = |e| TlsError::Read(file.to_owned(), e);
    if std::fs::metadata(file).map_err(error)?.len() > MAX_FILE {
        return Err(error(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 64 MiB")));
    }
    std::fs::read(file).map_err(error)
}

pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| TlsError::Pem(file.to_owned(), e.to_string()))?;
    if all.is_empty() { Err(TlsError::Empty(file.to_owned())) } else { Ok(all) }
}

/// For the metric only; trust is the verifier's business.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> i64 {
    x509_parser::parse_x509_certificate(certificate).map(|(_, c)| c.validity().not_after.timestamp()).unwrap_or(0)
}

fn revocations(files: &TlsFiles) -> Result<(Vec<CertificateRevocationListDer<'static>>, Lists), TlsError> {
    let (mut lists, mut dates) = (vec![], Lists::new(files.revocation_grace));
    for file in &files.revocations {
        let before = lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(&read(file)?) {
            let list = list.map_err(|e| TlsError::Pem(file.clone(), e.to_string()))?;
            dates.add(&list).map_err(|why| TlsError::Pem(file.clone(), why))?;
            lists.push(list);
        }
        if lists.len() == before {
            return Err(TlsError::NoList(file.clone()));
        }
    }
    Ok((lists, dates))
}

/// How a failed handshake is counted; the set is closed (`ops::metrics`).
pub fn failure(error: &std::io::Error) -> &'static str {
    let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else { return "protocol" };
    match tls {
        rustls::Error::NoCertificatesPresented => "no_certificate",
        rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidCertRevocationList(_) => "bad_certificate",
        _ => "protocol",
    }
}
