//! A command that did not do what was asked: four short lines and an exit code (operations.md §1).

use serde::{Deserialize, Serialize};

/// Exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    /// It works, but not as it should (status, doctor).
    Degraded = 3,
    Unreachable = 4,
    /// A safety check refused.
    Refused = 5,
    NotFound = 6,
    /// Already so, with `--strict`.
    Already = 7,
}

/// What failed, why, what to do, and the code under which `spine explain` says more. Travels over the admin socket too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Failure {
    pub what: String,
    pub why: String,
    pub fix: String,
    pub code: String,
    pub exit: Exit,
}

impl Failure {
    /// `code` is one of [`super::codes`].
    pub fn new(
        exit: Exit,
        code: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Failure { what: what.into(), why: why.into(), fix: fix.into(), code: code.into(), exit }
    }

    /// A file that could not be read or written.
    pub fn file(what: impl Into<String>, path: &std::path::Path, error: &std::io::Error) -> Self {
        let why = format!("{}: {error}", path.display());
        Failure::new(Exit::Failed, super::codes::FILE, what, why, "check the path, its permissions and free space")
    }

    /// The four lines, without a final newline.
    pub fn lines(&self) -> String {
        let Failure { what, why, fix, code, .. } = self;
        format!("error: {what}\n  why: {why}\n  fix: {fix}\n  code: {code}   (spine explain {code})")
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(e: crate::config::ConfigError) -> Self {
        let why = format!("{}: {}", e.place, e.problem);
        Failure::new(Exit::Failed, super::codes::CONFIG, "the configuration cannot be used", why, e.fix)
    }
}

/// What a command ends with.
pub type Done = Result<(), Failure>;
