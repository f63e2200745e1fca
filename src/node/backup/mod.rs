//! Backups of a whole site, made on one node while it serves, checked anywhere, restored into a site that does not exist yet.
//!
//! A backup is a folder: for each partition its sealed files up to one entry of its log, all of these entries fitting each
//! other; the bodies that rows name; and a manifest that names every file with its SHA-256, signed with the node's key. It is
//! written under another name and renamed at the end, so one that was interrupted is never taken for one (P1, P3, P4, P7).
//!
//! | file | duty |
//! |---|---|
//! | `manifest` | what a backup says of itself, its signature, and the comparison of every file with it |
//! | `copy` | files written, synced and hashed at a pace |
//! | `survey` | what rows say: their digest, what partitions sent each other, which bodies they name |
//! | `locked` | encrypted files, written and read |
//! | `create` | the folder, its name, and what is told of it |
//! | `maker` | the cut through all partitions, and what is in the folder |
//! | `check` | a replay into a scratch store, and the audit trail |
//! | `restore` | the first data of a new site |
//! | `since` | what an earlier backup has already |
//! | `keep` | how many stay |
//! | `archive` | the log behind a backup: pieces, their heads, their chain |
//! | `archiver` | the node that writes them |
//! | `pieces` | how they come to the disk |
//! | `chain` | which backup's log that is, and where its archive ends |
//! | `hold` | how long the log is kept for that, and how the archive stands |
//! | `points` | a moment between two backups: places that fit, and the rows there |
//! | `bodies` | which bodies can be had |
//! | `desk` | the one that is being made, and how the last one went |

pub mod archive;
pub mod archiver;
mod bodies;
mod chain;
pub mod check;
mod copy;
pub mod create;
pub mod desk;
pub mod hold;
pub mod keep;
mod locked;
mod maker;
pub mod manifest;
mod pieces;
pub mod points;
pub mod restore;
mod since;
mod survey;

use crate::{
    audit::HeadError,
    engine::cut::Misfit,
    ops::codes::{self, Code},
    store::StoreError,
};
use std::{io, path::PathBuf};

/// Why a backup was not made, is none, or was not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{0} holds no manifest: it is no backup, or one that was interrupted")]
    NoManifest(PathBuf),
    #[error("it was made by a newer release, in format {0}")]
    Newer(u32),
    #[error("the manifest was changed or cut off: {0}")]
    Manifest(String),
    #[error("the manifest proves nothing: {0}")]
    Signature(HeadError),
    #[error("the file {0} is missing")]
    Missing(String),
    #[error("the file {name} has {found} bytes and should have {wanted}")]
    Length { name: String, found: u64, wanted: u64 },
    #[error("the file {0} was changed: its SHA-256 is another")]
    Changed(String),
    #[error("partition {0}: the rows are not those that the manifest tells of")]
    OtherRows(u16),
    #[error("{0}")]
    Misfit(#[from] Misfit),
    #[error("partition {partition}: the audit trail is not whole: {finding}")]
    Trail { partition: u16, finding: String },
    #[error("the body {0} is named by rows and not in the backup")]
    NoBody(String),
    #[error("partition {partition}: {error}")]
    Rows { partition: u16, error: String },
    #[error("the body {id} of a message cannot be had: {why}")]
    Body { id: String, why: String },
    #[error("no moment was found at which all partitions fit each other: {0}")]
    NoCut(String),
    #[error("{path} has {free} bytes to spare, the backup wants {wanted}")]
    NoRoom { path: PathBuf, free: u64, wanted: u64 },
    #[error("the site cannot take a record of it: {0}")]
    Unrecorded(String),
    #[error("the manifest cannot be signed: {0}")]
    Unsigned(String),
    #[error("{0} is not empty")]
    NotEmpty(PathBuf),
    #[error("{made} is made and whole, but an older one that is to go is still there: {error}")]
    Outlived { made: PathBuf, error: Box<BackupError> },
    #[error("a backup is being made already")]
    Running,
    #[error("it is encrypted for {0}")]
    Locked(String),
    #[error("it is encrypted for {wanted}, and the key given is that of {given}")]
    OtherKey { wanted: String, given: String },
    #[error("{path} {why}: nothing of it can be in this one")]
    OtherBase { path: PathBuf, why: &'static str },
    #[error("the archive between backups is damaged, {file}: {why}")]
    Archive { file: String, why: String },
    #[error("the archive cannot go on: {0}")]
    Archiving(String),
    #[error("{0}")]
    NoPoint(String),
    #[error("{path}: {why}")]
    Recipients { path: PathBuf, why: String },
}

impl BackupError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BackupError {
        let path = path.into();
        move |error| BackupError::Io { path, error }
    }

    pub(super) fn rows(partition: u16) -> impl FnOnce(StoreError) -> BackupError {
        move |e| BackupError::Rows { partition, error: e.to_string() }
    }

    /// The catalogue's entry, for operators.
    pub fn code(&self) -> &'static Code {
        use BackupError::*;
        match self {
            Io { error, .. } if error.kind() == io::ErrorKind::InvalidData => &codes::BACKUP_DAMAGED,
            Io { .. } => &codes::CLI_FILE,
            NotEmpty(_) => &codes::RESTORE_OVER,
            Newer(_) => &codes::NEWER_DATA,
            Outlived { .. } => &codes::BACKUP_OUTLIVED,
            Running => &codes::BACKUP_RUNNING,
            Archive { .. } => &codes::ARCHIVE_DAMAGED,
            NoPoint(_) => &codes::NO_POINT,
            Locked(_) | OtherKey { .. } | Recipients { .. } => &codes::BACKUP_KEY,
            NoCut(_) | Body { .. } | NoRoom { .. } | OtherBase { .. } | Unrecorded(_) | Unsigned(_) | Archiving(_) => {
                &codes::BACKUP_FAILED
            }
            _ => &codes::BACKUP_DAMAGED,
        }
    }
}
