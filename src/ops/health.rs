//! `/livez`, `/readyz`, `/startupz`: named checks, answered from what the rooms registered (`operations.md` §5).
//!
//! Live means "do not restart me". Ready means "send me traffic": caught up, quorum seen, store writable, not draining.

use std::sync::{Arc, RwLock};

/// Which question a check helps to answer. A startup check that has once passed is not asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Live,
    Ready,
    Startup,
}

/// `Err` holds a few words for the operator.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// All checks of the node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    #[allow(clippy::type_complexity, reason = "a list of named checks, written once")]
    checks: Arc<RwLock<Vec<(Probe, &'static str, Check)>>>,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub ok: bool,
    /// (name, what is wrong), in the order of registration; excluded ones are missing.
    pub lines: Vec<(&'static str, Result<(), String>)>,
    /// Names asked to be excluded that no check has.
    pub unknown: Vec<String>,
}

impl Health {
    /// Adds a check. It must answer at once: it is called while someone waits, and must never block.
    pub fn add(
        &self,
        probe: Probe,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.checks.write().unwrap_or_else(|e| e.into_inner()).push((probe, name, Box::new(check)));
    }

    /// Asks every check of `probe` but those in `exclude`.
    pub fn ask(&self, probe: Probe, exclude: &[&str]) -> Report {
        let checks = self.checks.read().unwrap_or_else(|e| e.into_inner());
        let of_probe = || checks.iter().filter(|(p, ..)| *p == probe);
        let lines: Vec<_> = of_probe()
            .filter(|(_, name, _)| !exclude.contains(name))
            .map(|(_, name, check)| (*name, check()))
            .collect();
        let unknown = exclude.iter().filter(|e| !of_probe().any(|(_, name, _)| name == *e));
        Report { ok: lines.iter().all(|(_, r)| r.is_ok()), unknown: unknown.map(|e| e.to_string()).collect(), lines }
    }
}

impl Report {
    /// `ok` or the failed checks; with `verbose` a line for each check.
    pub fn text(&self, verbose: bool) -> String {
        let mut out = String::new();
        for (name, result) in &self.lines {
            match result {
                Ok(()) if verbose => out.push_str(&format!("[+]{name} ok\n")),
                Ok(()) => {}
                Err(why) => out.push_str(&format!("[-]{name} failed: {why}\n")),
            }
        }
        for name in &self.unknown {
            out.push_str(&format!("warning: no check is named {name:?}\n"));
        }
        out.push_str(if self.ok { "ok\n" } else { "failed\n" });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_fails_its_probe_unless_excluded() {
        let health = Health::default();
        health.add(Probe::Ready, "log", || Ok(()));
        health.add(Probe::Ready, "quorum", || Err("1 of 3 nodes answers".into()));
        health.add(Probe::Live, "loop", || Ok(()));
        assert!(health.ask(Probe::Live, &[]).ok);
        let report = health.ask(Probe::Ready, &[]);
        assert!(!report.ok);
        assert_eq!(report.text(true), "[+]log ok\n[-]quorum failed: 1 of 3 nodes answers\nfailed\n");
        assert!(health.ask(Probe::Ready, &["quorum"]).ok);
        assert_eq!(health.ask(Probe::Ready, &["nonsense"]).unknown, ["nonsense"]);
    }
}
