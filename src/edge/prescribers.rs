//! Whom prescribers' signatures are trusted from: the authorities and revocation lists of `eps.trust` and `eps.revocations`, as the
//! files say it now (P5, spec/eps.md §6.5). Read like a listener's (`tls`): changed files are taken up while requests go on, each
//! with what was in force when it came; files that cannot be used leave the old ones in force, and that is told.

use super::tls;
use crate::ops::{codes, metrics::RELOAD_SUCCESS};
use crate::seam::clock::Clock;
use crate::services::eps::sign::{BadTrust, Trust};
use arc_swap::ArcSwap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where they are.
#[derive(Clone, Debug, Default)]
pub struct TrustFiles {
    /// Certificates of authorities; without them nobody is trusted.
    pub authorities: Option<PathBuf>,
    /// A file that is named must be there: one that went missing would let the revoked sign again.
    pub revocations: Option<PathBuf>,
    /// How long a list is believed behind the date at which the next one was due.
    pub grace: Duration,
}

/// Why files cannot be used. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{0}: {1}")]
    Read(&'static str, tls::TlsError),
    #[error("{0}: {1}: {2}")]
    Bad(&'static str, PathBuf, BadTrust),
}

/// Files that were read and can be used, not in force yet.
pub struct Fresh(Trust);

pub struct Prescribers {
    clock: Arc<dyn Clock>,
    current: ArcSwap<Trust>,
}

impl Prescribers {
    pub fn load(files: TrustFiles, clock: Arc<dyn Clock>) -> Result<Prescribers, TrustError> {
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Prescribers { clock, current })
    }

    /// What the next request goes by.
    pub fn current(&self) -> Arc<Trust> {
        self.current.load_full()
    }

    /// Reads `files`; nothing is in force before [`Prescribers::take`].
    pub fn prepare(&self, files: TrustFiles) -> Result<Fresh, TrustError> {
        read(&files).map(Fresh).inspect_err(|e| {
            metrics::gauge!(RELOAD_SUCCESS).set(0.0);
            tracing::error!(event = "eps.trust.failed", code = codes::TLS_FILES.code, error = %e,
                "new files of prescribers' authorities cannot be used; the old ones stay in force");
        })
    }

    /// From here on requests go by what was prepared.
    pub fn take(&self, Fresh(trust): Fresh) {
        let (authorities, revoked) = trust.counts();
        self.current.store(Arc::new(trust));
        if authorities > 0 {
            tracing::info!(
                event = "eps.trust.reloaded",
                authorities,
                revoked,
                "prescribers' authorities and revocation lists were read again"
            );
        }
        if let Some(trouble) = self.trouble() {
            tracing::warn!(event = "eps.revocations.stale", trouble);
        }
    }

    /// What an operator has to be told of the lists.
    pub fn trouble(&self) -> Option<String> {
        let (trust, now) = (self.current.load(), self.clock.now().0);
        let next = trust.next_update()?;
        let until = next.saturating_add(trust.grace());
        let date = crate::model::time::iso(until);
        match now {
            now if now > until => Some(format!(
                "orders signed by prescribers of one authority are refused since {date}: its revocation list (eps.revocations) is out of date"
            )),
            now if now > next => {
                Some(format!("a revocation list of eps.revocations is out of date and is believed until {date}"))
            }
            _ => None,
        }
    }
}

fn read(files: &TrustFiles) -> Result<Trust, TrustError> {
    let mut trust = Trust::with_grace(files.grace);
    let open = |key, path: &Path| tls::read(path).map_err(|e| TrustError::Read(key, e));
    if let Some(path) = &files.authorities {
        let bad = |e| TrustError::Bad("eps.trust", path.clone(), e);
        trust.add_authorities(&open("eps.trust", path)?).map_err(bad)?;
    }
    if let Some(path) = &files.revocations {
        let bad = |e| TrustError::Bad("eps.revocations", path.clone(), e);
        trust.add_lists(&open("eps.revocations", path)?).map_err(bad)?;
    }
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::parse_iso;
    use crate::seam::clock::Millis;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
        RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
    };
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// A clock that is set by hand.
    struct Hand(AtomicU64);

    impl Hand {
        fn set(&self, to: &str) {
            self.0.store(parse_iso(to).unwrap(), Relaxed);
        }
    }
    impl Clock for Hand {
        fn now(&self) -> Millis {
            Millis(self.0.load(Relaxed))
        }
    }

    /// An authority's certificate, and a list of it with so many certificates, good through January 2026.
    fn made(revoked: u64) -> (String, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let one = |serial: u64| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: (1..=revoked).map(one).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        (certificate, list.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap())
    }

    #[test]
    fn changed_files_are_taken_up_and_bad_ones_leave_the_old_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, lists) = (dir.path().join("trust.pem"), dir.path().join("lists.pem"));
        let put = |(certificate, list): (String, String)| {
            std::fs::write(&trust, certificate).unwrap();
            std::fs::write(&lists, list).unwrap();
        };
        put(made(1));
        let files = TrustFiles {
            authorities: Some(trust.clone()),
            revocations: Some(lists.clone()),
            grace: Duration::from_secs(7 * 86_400),
        };
        let clock = Arc::new(Hand(AtomicU64::new(parse_iso("2026-01-15T00:00:00Z").unwrap())));
        let prescribers = Prescribers::load(files.clone(), clock.clone()).unwrap();
        let (asked, counts) = (prescribers.current(), || prescribers.current().counts());
        assert_eq!(counts(), (1, 1));
        put(made(3));
        let reload = || prescribers.prepare(files.clone()).map(|fresh| prescribers.take(fresh));
        reload().unwrap();
        assert_eq!((counts(), asked.counts()), ((1, 3), (1, 1)), "a request keeps what it came under");
        // A list of somebody else, then none at all.
        std::fs::write(&lists, made(2).1).unwrap();
        let told = reload().unwrap_err().to_string();
        assert!(told.starts_with("eps.revocations: ") && told.contains("lists.pem"), "{told}");
        std::fs::remove_file(&lists).unwrap();
        assert!(reload().is_err(), "a named file must be there");
        assert_eq!(counts(), (1, 3));
        assert!(Prescribers::load(files, clock.clone()).is_err(), "and a node does not start without it");
        assert_eq!(prescribers.trouble(), None);
        clock.set("2026-02-03T00:00:00Z");
        assert!(prescribers.trouble().unwrap().contains("believed until 2026-02-08"));
        clock.set("2026-02-09T00:00:00Z");
        assert!(prescribers.trouble().unwrap().contains("refused since 2026-02-08"));
    }
}
