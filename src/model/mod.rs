//! Words, parsed once: identifiers and times that mean something in the standards. Pure.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC, as a Stamp or a row carries it.
pub type EpochMillis = u64;

/// Which environment a site is; test-only interfaces are refused where it is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Demo,
    Test,
    Live,
}
