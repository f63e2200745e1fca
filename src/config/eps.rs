//! What an operator may choose for EPS (spec/eps.md §6.5, §21): signatures, whom they are trusted from, and how strictly a dispenser
//! must be the holder.

use std::{path::PathBuf, time::Duration};

/// Settings of EPS, named after their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eps {
    /// Signatures of the published examples pass; never on a live site.
    pub sample_signatures: bool,
    pub trust: Option<PathBuf>,
    pub revocations: Option<PathBuf>,
    /// How long a revocation list is believed past its date.
    pub revocations_grace: Duration,
    pub prescribing: bool,
    pub dispensing: bool,
    pub holder_only: HolderOnly,
}

/// What only the holder of a prescription may do (spec/eps.md §21 no. 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderOnly {
    None,
    /// Notify and claim.
    Notify,
    /// Return and withdraw too.
    All,
}
