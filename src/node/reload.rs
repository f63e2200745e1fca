//! A reload: the files are read, checked, and taken whole or not at all (rule 2 of operations.md, P5).
//!
//! Keys marked live are in force when it returns; those marked restart are named, and wait. A node that refuses the new files
//! goes on with the old ones.

use super::Node;
use crate::{
    config::{ConfigError, Running, Settings, keys},
    ops::metrics as names,
};
use std::sync::Arc;

/// What became of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys with a new value that is in force.
    pub taken: Vec<String>,
    /// Keys with a new value that waits for a restart.
    pub waiting: Vec<String>,
}

/// Why the old configuration stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Tls(String),
    #[error("the listeners are not open yet")]
    Starting,
}

/// Reads the node's files again; certificates and revocation lists too, where no key has changed.
pub fn reload(node: &Arc<Node>) -> Result<Reloaded, ReloadError> {
    let done = try_reload(node);
    match &done {
        Ok(reloaded) => {
            let (taken, waiting) = (reloaded.taken.join(" "), reloaded.waiting.join(" "));
            tracing::info!(event = "config.reloaded", taken, waiting, "the configuration was read again");
        }
        Err(why) => {
            metrics::gauge!(names::RELOAD_SUCCESS).set(0.0);
            tracing::error!(event = "config.reload.failed", %why, "the new configuration is not usable; the old one stays");
        }
    }
    done
}

/// Reads the files again that the node runs with, after somebody put others in their place; no key changes.
pub fn again(node: &Arc<Node>) -> Result<(), ReloadError> {
    let front = node.front.get().ok_or(ReloadError::Starting)?;
    let _turn = turn(node);
    front.reload(&node.current.load()).map_err(ReloadError::Tls)
}

/// One at a time: two that cross could leave the files of the one with the words of the other.
fn turn(node: &Node) -> std::sync::MutexGuard<'_, ()> {
    node.reloading.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn try_reload(node: &Arc<Node>) -> Result<Reloaded, ReloadError> {
    let front = node.front.get().ok_or(ReloadError::Starting)?;
    let _turn = turn(node);
    let now = node.current.load();
    let layers = now.told.sources().read()?;
    let fresh = Settings::from_layers(&layers)?;
    let (reloaded, told) = sorted(&now.told, &fresh.told, now.told.differing(&layers));
    let mut settings = Settings::clone(&now);
    settings.supplier.ca = fresh.supplier.ca;
    settings.supplier.cert = fresh.supplier.cert;
    settings.supplier.key = fresh.supplier.key;
    settings.supplier.crl = fresh.supplier.crl;
    settings.api.cert = fresh.api.cert;
    settings.api.key = fresh.api.key;
    settings.eps.trust = fresh.eps.trust;
    settings.eps.revocations = fresh.eps.revocations;
    settings.upstream = fresh.upstream;
    settings.told = told;
    front.reload(&settings).map_err(ReloadError::Tls)?;
    node.current.store(Arc::new(settings));
    Ok(reloaded)
}

/// Parts what is taken from what waits, and says what the node runs with from now on.
fn sorted(now: &Running, fresh: &Running, differing: Vec<String>) -> (Reloaded, Running) {
    let live = |key: &String| keys::find(key).is_some_and(|key| key.takes == keys::Takes::Live);
    let (taken, waiting): (Vec<String>, Vec<String>) = differing.into_iter().partition(live);
    let mut told = now.clone();
    for value in &mut told.values {
        if let Some(new) = fresh.values.iter().find(|new| taken.contains(&new.key) && new.key == value.key) {
            *value = new.clone();
        }
    }
    (Reloaded { taken, waiting }, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    /// Every key that the table calls live has to be handed on above.
    #[test]
    fn every_live_key_is_taken_and_every_other_waits() {
        let told = Running::of(&Sources { set: vec![], ..Sources::default() }.read().unwrap());
        let all: Vec<String> = keys::KEYS.iter().map(|key| key.name.to_owned()).collect();
        let (reloaded, _) = sorted(&told, &told, all);
        let listeners = ["supplier.ca", "supplier.cert", "supplier.key", "supplier.crl", "api.cert", "api.key"];
        let upstream = keys::KEYS.iter().map(|key| key.name).filter(|name| name.starts_with("upstream."));
        let handed_on: Vec<&str> =
            listeners.into_iter().chain(["eps.trust", "eps.revocations"]).chain(upstream).collect();
        assert_eq!(reloaded.taken, handed_on, "a key marked live must be copied in try_reload");
        assert_eq!(reloaded.waiting.len(), keys::KEYS.len() - handed_on.len());
    }

    #[test]
    fn what_waits_for_a_restart_is_still_told_with_its_old_value() {
        let read = |set: &[&str]| {
            let set = set.iter().map(|s| (*s).to_owned()).collect();
            Sources { set, ..Sources::default() }.read().unwrap()
        };
        let now = Running::of(&read(&[]));
        let layers = read(&["supplier.rate=7", "supplier.crl=/new.pem"]);
        let (reloaded, told) = sorted(&now, &Running::of(&layers), now.differing(&layers));
        assert_eq!((reloaded.taken, reloaded.waiting), (vec!["supplier.crl".into()], vec!["supplier.rate".into()]));
        assert_eq!(told.differing(&layers), ["supplier.rate"], "only what waits differs from now on");
    }
}
