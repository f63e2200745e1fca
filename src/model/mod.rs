//! Words, parsed once: identifiers and times that mean something in the standards. Pure.

pub mod day;
pub mod ids;
pub mod message_id;
pub mod nhs_number;
pub mod time;
pub mod trace_context;

pub use ids::{Asid, MailboxId, OdsCode, WorkflowId};
pub use message_id::MessageId;
pub use nhs_number::NhsNumber;
pub use trace_context::TraceContext;

use serde::{Deserialize, Serialize};

/// Longest label of a site, in characters.
const MAX_SITE_LABEL: usize = 32;

/// Whether a text can be the label of a site: it is written into commands and scripts.
pub fn is_site_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= MAX_SITE_LABEL && text.bytes().all(plain)
}

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
