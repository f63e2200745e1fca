//! A running node, wired together: open, start, stop in reverse.

pub mod identity;
pub mod pki;
pub mod token;

use crate::config::Settings;
use identity::IdentityError;
use std::{future::Future, net::SocketAddr};

/// Why a node cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{key} {address}: {error}")]
    Listen { key: &'static str, address: SocketAddr, error: std::io::Error },
    #[error("{0}")]
    Tls(String),
    #[error("{room}: {why}")]
    Room { room: &'static str, why: String },
}

/// Runs a node until `stop` ends; its value says why, for the log.
pub async fn run(settings: Settings, stop: impl Future<Output = &'static str> + Send) -> Result<(), NodeError> {
    let _cluster = identity::cluster_of(&settings)?;
    stop.await;
    Ok(())
}
