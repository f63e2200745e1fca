//! A command that did not do what was asked: four short lines and an exit code (operations.md §1).

pub use crate::ops::admin::AdminError as Failure;
use crate::ops::codes::{self, Code};

/// What a command ends with.
pub type Done = Result<(), Failure>;

/// Exit codes, the same for every command.
pub mod exit {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    /// It works, but not as it should (status, doctor).
    pub const DEGRADED: u8 = 3;
    pub const UNREACHABLE: u8 = 4;
    /// A safety check refused.
    pub const REFUSED: u8 = 5;
    pub const NOT_FOUND: u8 = 6;
    /// Already so, with `--strict`.
    pub const ALREADY: u8 = 7;
}

/// A failure of the command line itself: what failed and why, under a code, with a remedy that fits the case.
pub fn failure(code: &Code, what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Failure {
    Failure::of(code, what, why).with_fix(fix)
}

/// A file that could not be read or written.
pub fn file(what: impl Into<String>, path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::of(&codes::CLI_FILE, what, format!("{}: {error}", path.display()))
}

/// A configuration that cannot be used.
pub fn config(e: crate::config::ConfigError) -> Failure {
    let why = format!("{}: {}", e.place, e.problem);
    failure(&codes::CLI_CONFIG, "the configuration cannot be used", why, e.fix).with_exit(exit::FAILED)
}

/// The four lines, without a final newline.
pub fn lines(failure: &Failure) -> String {
    let Failure { what, why, fix, code, .. } = failure;
    format!("error: {what}\n  why: {why}\n  fix: {fix}\n  code: {code}   (spine explain {code})")
}
