//! How a node finds out under which incarnation it runs: from its data, or, where they are gone, from its peers (P9).

use super::{
    NodeError,
    identity::{FORMAT, Identity, IdentityError},
};
use crate::{
    config::Settings,
    consensus::{self, ConsensusError, RaftId},
    log::Log,
    node::report::{Acknowledged, NodeStatus},
    seam::net::{Lane, NodeNumber, Transport, kinds},
    store::Store,
    wire::record::Record,
};
use bytes::Bytes;
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
/// How long a peer may take to say what it knows, a connection included.
const ASK: Duration = Duration::from_secs(3);
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
            let why = format!("another process uses {}", data.display());
            Err(NodeError::Refused { code: &crate::ops::codes::TWIN, why })
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
    let unreadable = |error| IdentityError::Io { path: data.clone(), error };
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
            // Looked at before anything was opened, too: this is for data that came in between.
            let why = format!("it is of node {} of site {}", found.node, found.cluster);
            return Err(IdentityError::Malformed { path: Identity::path(data), why }.into());
        }
        Some(found) if !hollow(&found, data).map_err(unreadable)? => return Ok(found),
        _ => {}
    }
    set_aside(data).map_err(unreadable)?;
    let identity = rejoin(settings, cluster, transport).await?;
    identity.write(data)?;
    Ok(identity)
}

/// A node whose log is gone while its identity is there must not vote again under the same incarnation. A log that cannot
/// be looked at is not gone: the node does not start, and what it has acknowledged stays (P1).
fn hollow(identity: &Identity, data: &Path) -> io::Result<bool> {
    let empty = match fs::read_dir(data.join("log")) {
        Ok(mut entries) => entries.next().transpose()?.is_none(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => true,
        Err(e) => return Err(e),
    };
    Ok(identity.settled && empty)
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

/// Why a node's data are of the past: its disk was put back to an older state, as by a backup of the machine, or another
/// machine was taken for it meanwhile. It must not go on under its Raft id (P1).
#[derive(Debug, thiserror::Error)]
pub enum Past {
    /// Its peers speak to a later incarnation of it only.
    #[error("its peers know it as incarnation {0}")]
    Incarnation(u16),
    /// What it promised is lost with what is not there. Known to leaders only, and only since they lead.
    #[error("in partitions {0:?} it acknowledged more than its disk holds")]
    Groups(Vec<u16>),
}

/// Asks the peers whether the data at hand are of the past.
pub async fn past(
    id: RaftId,
    log: &Log,
    store: &Store,
    peers: &[(NodeNumber, SocketAddr)],
    transport: &Arc<dyn Transport>,
) -> Option<Past> {
    let ask = |to: NodeNumber| async move {
        let told = transport.call(to, Lane::Ask, kinds::STATUS, Bytes::new(), ASK).await.ok()?;
        NodeStatus::decode(&told).ok()
    };
    let told = futures_util::future::join_all(peers.iter().map(|(to, _)| ask(*to))).await;
    let told: Vec<NodeStatus> = told.into_iter().flatten().collect();
    let latest = told.iter().map(|status| status.incarnation).max().unwrap_or(0);
    if latest > id.incarnation() {
        return Some(Past::Incarnation(latest));
    }
    let acknowledged = told.into_iter().flat_map(|status| status.acknowledged);
    let lost = acknowledged.filter(|a| {
        a.id == id.0 && lacks(a, consensus::promised(log, a.group).unwrap_or_default(), reached(log, store, a.group))
    });
    let groups: Vec<u16> = lost.map(|a| a.group).collect();
    (!groups.is_empty()).then_some(Past::Groups(groups))
}

/// Whether data that go up to `reached`, of a node that has promised to follow nobody before term `promised`, lack what was
/// acknowledged. A promise of a later term is younger than everything its leader was told, and what that leader knows may
/// have been taken back since then, lawfully: one that was deposed and does not know it yet sends nobody away.
fn lacks(told: &Acknowledged, promised: u64, reached: u64) -> bool {
    promised <= told.term && told.index > reached
}

/// How far this node's data of a group go: by its log, its rows, or a snapshot that it has not taken its rows from yet.
fn reached(log: &Log, store: &Store, group: u16) -> u64 {
    let last = log.group(group).state().last.map_or(0, |(index, ..)| index);
    let Ok(partition) = store.partition(group) else { return last };
    let sealed = partition.newest().map_or(0, |snapshot| snapshot.before.index);
    last.max(sealed).max(partition.applied().index)
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
                    format: FORMAT,
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
    fn only_who_led_in_the_last_promised_term_or_later_can_tell_that_data_are_old() {
        let told = Acknowledged { index: 100, term: 7, ..Default::default() };
        assert!(lacks(&told, 7, 99), "the same leader's, and shorter: put back");
        assert!(lacks(&told, 3, 99), "put back to before that leader");
        assert!(!lacks(&told, 7, 100));
        assert!(!lacks(&told, 8, 95), "cut by a later leader, of whom the teller has not heard");
    }

    #[test]
    fn an_identity_without_its_log_counts_as_lost_and_blobs_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let identity = Identity {
            format: FORMAT,
            cluster: "c".into(),
            node: 1,
            incarnation: 1,
            partitions: 1,
            founder: false,
            settled: true,
        };
        identity.write(data).unwrap();
        assert!(hollow(&identity, data).unwrap());
        fs::write(data.join("log"), b"no folder").unwrap();
        assert!(hollow(&identity, data).is_err(), "what cannot be looked at is not gone");
        fs::remove_file(data.join("log")).unwrap();
        fs::create_dir_all(data.join("log")).unwrap();
        fs::write(data.join("log/1"), b"x").unwrap();
        fs::create_dir_all(data.join("blobs")).unwrap();
        assert!(!hollow(&identity, data).unwrap());
        set_aside(data).unwrap();
        assert!(data.join("set-aside/log/1").exists() && data.join("blobs").exists());
        assert_eq!(Identity::read(data).unwrap(), None);
        set_aside(data).unwrap();
        assert!(data.join("set-aside/log/1").exists(), "nothing new to set aside: the newest stays");
    }
}
