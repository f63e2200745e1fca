//! How a node finds out under which incarnation it runs: from its data, or, where they are gone, from its peers (P9).

use super::{
    NodeError,
    identity::{Identity, IdentityError},
};
use crate::{
    config::Settings,
    consensus::{self, ConsensusError},
    seam::net::{NodeNumber, Transport},
};
use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// One round of asking the peers; then it is said in the log that nobody answered, and asked again.
const ROUND: Duration = Duration::from_secs(10);
/// What a node's data folder holds of the past, other than blobs: those are checked by their names.
const PAST: [&str; 3] = ["log", "store", "identity.json"];
const SET_ASIDE: &str = "set-aside";

/// Keeps a second process away from the same data. Held until the process ends.
pub fn lock(data: &Path) -> Result<File, NodeError> {
    let path = data.join("lock");
    let wrap = |error: io::Error| IdentityError::Io { path: path.clone(), error };
    // Messages and passwords lie in there: nobody else may look.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(wrap)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(wrap)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(NodeError::Room { room: "data", why: format!("another process uses {}", data.display()) })
        }
        Err(fs::TryLockError::Error(error)) => Err(wrap(error).into()),
    }
}

/// The other nodes' addresses that the configuration names.
pub fn peers(settings: &Settings) -> Vec<(NodeNumber, SocketAddr)> {
    let others = settings.peer.nodes.iter().filter(|(number, _)| *number != settings.node.number);
    others.map(|(number, address)| (NodeNumber(*number), *address)).collect()
}

/// This node's identity: as stored, else as its peers give it anew. Asks them until one answers.
pub async fn settle(settings: &Settings, cluster: &str, transport: &Arc<dyn Transport>) -> Result<Identity, NodeError> {
    let data = &settings.node.data;
    let read = match Identity::read(data) {
        // Who it was cannot be told; its peers tell who it is next. Alone it stops: an operator must see what is left.
        Err(why @ IdentityError::Damaged { .. }) if !peers(settings).is_empty() => {
            tracing::error!(event = "node.identity.damaged", error = %why, "the node comes back as its next incarnation");
            None
        }
        read => read?,
    };
    match read {
        Some(found) if found.cluster != cluster || found.node != settings.node.number => {
            let why = format!("it is of node {} of site {}", found.node, found.cluster);
            return Err(IdentityError::Malformed { path: Identity::path(data), why }.into());
        }
        Some(found) if !hollow(&found, data) => return Ok(found),
        _ => {}
    }
    set_aside(data).map_err(|error| IdentityError::Io { path: data.clone(), error })?;
    let identity = rejoin(settings, cluster, transport).await?;
    identity.write(data)?;
    Ok(identity)
}

/// A node whose log is gone while its identity is there must not vote again under the same incarnation.
fn hollow(identity: &Identity, data: &Path) -> bool {
    let log = data.join("log");
    let empty = fs::read_dir(&log).map_or(true, |mut entries| entries.next().is_none());
    identity.settled && empty
}

/// Moves what is left of an earlier incarnation out of the way; only the newest is kept.
pub fn set_aside(data: &Path) -> io::Result<()> {
    let past: Vec<PathBuf> = PAST.iter().map(|name| data.join(name)).filter(|path| path.exists()).collect();
    if past.is_empty() {
        return Ok(());
    }
    let aside = data.join(SET_ASIDE);
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::create_dir_all(&aside)?;
    for path in past {
        tracing::warn!(event = "node.data.set_aside", path = %path.display(), "data of an earlier incarnation is set aside");
        fs::rename(&path, aside.join(path.file_name().unwrap_or_default()))?;
    }
    File::open(data)?.sync_all()
}

async fn rejoin(settings: &Settings, cluster: &str, transport: &Arc<dyn Transport>) -> Result<Identity, NodeError> {
    let peers = peers(settings);
    if peers.is_empty() {
        let why = "this node has no data, and peer.nodes names nobody who could give it its part of the site";
        return Err(NodeError::Room { room: "data", why: why.into() });
    }
    tracing::warn!(event = "node.rejoining", "the node has no data: it asks its peers for its next incarnation");
    loop {
        let deadline = Instant::now() + ROUND;
        match consensus::rejoin(transport, &peers, settings.peer.advertise, deadline).await {
            Ok(given) => {
                tracing::info!(
                    event = "node.rejoined",
                    incarnation = given.id.incarnation(),
                    "a new incarnation was given"
                );
                return Ok(Identity {
                    format: 1,
                    cluster: cluster.into(),
                    node: settings.node.number,
                    incarnation: given.id.incarnation(),
                    partitions: given.groups.saturating_sub(1),
                    founder: false,
                    settled: false,
                });
            }
            Err(ConsensusError::Timeout) => {
                tracing::warn!(event = "node.rejoin.unanswered", "no peer could give a new incarnation; asking again");
            }
            Err(e) => return Err(NodeError::Room { room: "consensus", why: e.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).is_err());
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }

    #[test]
    fn an_identity_without_its_log_counts_as_lost_and_blobs_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let identity = Identity {
            format: 1,
            cluster: "c".into(),
            node: 1,
            incarnation: 1,
            partitions: 1,
            founder: false,
            settled: true,
        };
        identity.write(data).unwrap();
        assert!(hollow(&identity, data));
        fs::create_dir_all(data.join("log")).unwrap();
        fs::write(data.join("log/1"), b"x").unwrap();
        fs::create_dir_all(data.join("blobs")).unwrap();
        assert!(!hollow(&identity, data));
        set_aside(data).unwrap();
        assert!(data.join("set-aside/log/1").exists() && data.join("blobs").exists());
        assert_eq!(Identity::read(data).unwrap(), None);
        set_aside(data).unwrap();
        assert!(data.join("set-aside/log/1").exists(), "nothing new to set aside: the newest stays");
    }
}
