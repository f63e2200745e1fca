//! What a node keeps beside its data of the machines that its site goes on without: who they are, and the moment up to which everything
//! was there. From then on they are turned away, over restarts too, and until the registry says the same: they may come back
//! with a majority of the old votes, and would take back what was taken over (P2).
//!
//! A machine is told by its certificate that it was given up, and stops for good. Its number alone is refused like that of any machine that
//! was taken out: another machine may have it by now, and a neighbour that knows less must not stop that one.

use super::Node;
use crate::{peer::Barred, seam::net::NodeNumber, services::directory::sites::Serving};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
    sync::PoisonError,
};

pub const FILE: &str = "given-up.json";

/// A site that was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The site that goes on.
    pub site: String,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// Since when the lost site served, by the registry: a later word of it says more than this.
    pub since: u64,
    /// Everything that was acknowledged before it is there, milliseconds since the epoch: as the operator was told it.
    pub until: u64,
    pub nodes: BTreeSet<u16>,
    /// SHA-256 of the DER, lower-case hex.
    pub certificates: BTreeSet<String>,
}

impl GivenUp {
    /// What is kept; `None` where nothing is.
    pub fn kept(data: &Path) -> io::Result<Option<GivenUp>> {
        match std::fs::read(data.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn keep(&self, data: &Path) -> io::Result<()> {
        let temporary = data.join(FILE).with_extension("tmp");
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, data.join(FILE))?;
        std::fs::File::open(data)?.sync_all()
    }

    /// The registry says as much: another site serves since, or all of these certificates are known as given up.
    fn is_told_by(&self, serving: &Serving, expelled: &[(String, u64)]) -> bool {
        let known = |certificate: &String| expelled.iter().any(|(known, at)| *at > 0 && known == certificate);
        let all = !self.certificates.is_empty() && self.certificates.iter().all(known);
        serving.site == self.site || serving.since > self.since || all
    }
}

fn told(site: &str, at: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(at as i64).map(|t| t.to_string()).unwrap_or_default();
    format!("this machine was given up by `spine site promote {site}` at {at}; site {site} goes on without it")
}

/// Adds those that are turned away by what is kept here.
pub fn bar(node: &Node, barred: &mut Barred) {
    let kept = node.given_up.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(kept) = kept.as_ref() else { return };
    barred.nodes.extend(kept.nodes.iter().map(|number| NodeNumber(*number)));
    let told = told(&kept.site, kept.at);
    barred.given_up.extend(kept.certificates.iter().map(|certificate| (certificate.clone(), told.clone())));
}

/// Drops what is kept where the registry says it.
pub fn forget(node: &Node, serving: &Serving, expelled: &[(String, u64)]) {
    let mut kept = node.given_up.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.as_ref().is_some_and(|kept| kept.is_told_by(serving, expelled)) {
        let gone = std::fs::remove_file(node.settings.node.data.join(FILE));
        *kept = kept.take().filter(|_| gone.is_err_and(|e| e.kind() != io::ErrorKind::NotFound));
    }
}

/// Certificates that the registry knows as given up, and what their machines are told.
pub fn certificates(serving: &Serving, expelled: &[(String, u64)]) -> BTreeMap<String, String> {
    let given_up = expelled.iter().filter(|(_, at)| *at > 0);
    given_up.map(|(certificate, at)| (certificate.clone(), told(&serving.site, *at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> GivenUp {
        GivenUp { site: "york".into(), at: 9, since: 5, certificates: ["c1".into()].into(), ..Default::default() }
    }

    #[test]
    fn what_is_kept_goes_when_the_registry_says_it_and_not_before() {
        let serving = |site: &str, since| Serving { site: site.into(), since, ..Default::default() };
        let told = |site, since, expelled: &[(&str, u64)]| {
            let expelled: Vec<(String, u64)> = expelled.iter().map(|(c, at)| ((*c).to_owned(), *at)).collect();
            kept().is_told_by(&serving(site, since), &expelled)
        };
        assert!(!told("leeds", 5, &[]), "as it was when the site was given up");
        assert!(!told("leeds", 5, &[("c1", 0)]), "it was taken out, and may be told less");
        assert!(told("york", 10, &[]) && told("leeds", 5, &[("c1", 9)]));
        assert!(told("bath", 6, &[]), "a third site serves since");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_not_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(GivenUp::kept(dir.path()).unwrap(), None);
        kept().keep(dir.path()).unwrap();
        assert_eq!(GivenUp::kept(dir.path()).unwrap(), Some(kept()));
        std::fs::write(dir.path().join(FILE), b"{\"site\":\"yo").unwrap();
        assert!(GivenUp::kept(dir.path()).is_err());
    }
}
