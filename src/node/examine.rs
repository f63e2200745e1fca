//! What a node looks at before it opens or makes anything: whether its data, certificate and configuration are of one node,
//! whether this program can read what is there, and whether it is the only process that runs as this node. An operator's
//! mistake so ends in one clear line, with every byte as it was (P1, P7, P8).

use super::{
    NodeError, given_up,
    identity::{self, FORMAT, Identity, IdentityError},
    settle,
};
use crate::{
    config::Settings,
    log,
    ops::{codes, recorder::VERSION},
    peer::{Peers, TWIN_PATIENCE},
    seam::{
        fs::{Fs, blocking},
        net::{Lane, NodeNumber, Transport, kinds},
    },
    services::directory::rows,
    store::{self, Reader},
};
use bytes::Bytes;
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long a peer may take to say whether it hears another process: as long as a connection may take on a busy machine.
/// One that refuses connections says so at once; only a machine that is gone holds up a start for so long.
const ASK: Duration = Duration::from_secs(3);
/// Between two rounds of asking, while a peer refuses.
const PAUSE: Duration = Duration::from_millis(500);

/// Examines the data folder, reading only. `cluster` is the site that the certificate names.
pub async fn data(settings: &Settings, cluster: &str, fs: &Arc<dyn Fs>) -> Result<(), NodeError> {
    let folder = settings.node.data.clone();
    let (uid, node, cluster) = (nix::unistd::geteuid().as_raw(), settings.node.number, cluster.to_owned());
    blocking(fs, move |fs| {
        usable(&folder, uid)?;
        known(&folder, VERSION)?;
        own(&folder, node, &cluster)?;
        given_up::GivenUp::kept(&folder).map_err(|e| {
            let file = folder.join(given_up::FILE);
            refused(&codes::DATA_ACCESS, format!("{}, which says whom the site goes on without: {e}", file.display()))
        })?;
        readable(&folder, fs)
    })
    .await
}

fn refused(code: &'static codes::Code, why: String) -> NodeError {
    NodeError::Refused { code, why }
}

/// A folder that another user owns, or that cannot be written, is another's or on a broken disk; what this process made
/// there would be in the owner's way.
fn usable(data: &Path, uid: u32) -> Result<(), NodeError> {
    let no = |why: String| Err(refused(&codes::DATA_ACCESS, why));
    let mut paths = vec![data.to_owned()];
    match fs::metadata(data) {
        // It is made later, and closed to others.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return no(format!("{}: {e}", data.display())),
        Ok(meta) if !meta.is_dir() => return no(format!("{} is no folder", data.display())),
        Ok(_) => {}
    }
    match fs::read_dir(data) {
        Ok(entries) => paths.extend(entries.flatten().map(|entry| entry.path())),
        Err(e) => return no(format!("{}: {e}", data.display())),
    }
    for path in paths {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.uid() != uid && path.file_name().is_some_and(|name| name != "lost+found") {
            let owner = meta.uid();
            return no(format!("{} belongs to user {owner}, this process runs as user {uid}", path.display()));
        }
    }
    use nix::unistd::{AccessFlags, access};
    match access(data, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok(()),
        Err(e) => no(format!("{} cannot be written: {}", data.display(), e.desc())),
    }
}

/// What was written since the site was raised to a level of a later release, this one may misread.
fn known(data: &Path, version: &str) -> Result<(), NodeError> {
    let why = |needed| {
        format!(
            "{}: the data need release {needed} or a later one, this is {version}",
            data.join("needs-release").display()
        )
    };
    identity::needs_later(data, version).map_or(Ok(()), |needed| Err(refused(&codes::NEWER_DATA, why(needed))))
}

/// Data of another node or site is left alone, whatever the reason it came here for.
fn own(data: &Path, node: u16, cluster: &str) -> Result<(), NodeError> {
    match Identity::read(data) {
        Ok(Some(found)) if found.cluster != cluster || found.node != node => {
            let path = Identity::path(data);
            let why = format!(
                "{} is of node {} of site {}, certificate and configuration say node {node} of site {cluster}",
                path.display(),
                found.node,
                found.cluster
            );
            Err(refused(&codes::OTHER_NODES_DATA, why))
        }
        Err(IdentityError::Newer { path, format }) => {
            let why = format!("{} has format {format}, this program reads up to {FORMAT}", path.display());
            Err(refused(&codes::NEWER_DATA, why))
        }
        // Who it was is lost; how it comes back is `settle`'s.
        Err(IdentityError::Damaged { .. }) | Ok(_) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// A file of a newer release is not taken for a damaged one: that would be set aside, or overwritten.
fn readable(data: &Path, fs: &dyn Fs) -> Result<(), NodeError> {
    let unread = |path: PathBuf| {
        move |e: std::io::Error| refused(&codes::DATA_ACCESS, format!("{} cannot be read: {e}", path.display()))
    };
    let (log, store) = (data.join("log"), data.join("store"));
    let in_log = log::newer(fs, &log).map_err(unread(log.clone()))?;
    let in_store = store::newer(fs, &store).map_err(unread(store.clone()))?;
    let found = in_log.or(in_store.map(|path| format!("{} is of a newer release", path.display())));
    found.map_or(Ok(()), |found| Err(refused(&codes::NEWER_DATA, found)))
}

/// Asks the peers whether they hear another process as this node. One that was gone without a word is forgotten in
/// seconds; peers that do not answer do not count.
pub async fn alone(settings: &Settings, peers: &Peers) -> Result<(), NodeError> {
    loop {
        let asked = settle::peers(settings).into_iter();
        let calls = asked.map(|(number, _)| peers.call(number, Lane::Ask, kinds::ROOM, Bytes::new(), ASK));
        futures_util::future::join_all(calls).await;
        not_given_up(peers)?;
        match peers.twin() {
            None => return Ok(()),
            Some(_) => twin(settings, peers)?,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// An error where a peer has said that this node's site was given up.
fn not_given_up(peers: &Peers) -> Result<(), NodeError> {
    match peers.given_up() {
        None => Ok(()),
        Some((peer, told)) => Err(refused(&codes::GIVEN_UP, format!("node {peer} says: {told}"))),
    }
}

/// Asks every node that the registry names, before anything is served, where several sites stand: a site that comes back after another
/// one was let go on without it must not begin a second history, nor a node that its own site went on without (P2). Who does
/// not answer does not count.
pub async fn not_left_behind(settings: &Settings, site: &dyn Reader, peers: &Peers) -> Result<(), NodeError> {
    // A registry that cannot be read now is mended later; whoever is called then says the same.
    let members = rows::members(site).unwrap_or_default();
    let others = members.into_iter().filter(|(number, m)| !m.removed && *number != settings.node.number);
    let others: Vec<(u16, rows::Member)> = others.collect();
    if others.iter().all(|(_, m)| m.site == settings.node.site) {
        return Ok(());
    }
    let calls = others.into_iter().filter_map(|(number, member)| Some((NodeNumber(number), member.peer.parse().ok()?)));
    let calls = calls.map(|(number, address)| {
        peers.set_address(number, address);
        peers.call(number, Lane::Ask, kinds::ROOM, Bytes::new(), ASK)
    });
    futures_util::future::join_all(calls).await;
    not_given_up(peers)
}

/// An error where a peer refuses this process for good, because another one runs as this node.
fn twin(settings: &Settings, peers: &Peers) -> Result<(), NodeError> {
    match peers.twin().filter(|(_, refuses)| *refuses >= TWIN_PATIENCE) {
        None => Ok(()),
        Some((peer, _)) => {
            let why = format!("node {peer} hears another process as node {}", settings.node.number);
            Err(refused(&codes::TWIN, why))
        }
    }
}

/// Ends when another process has come to speak for this node, as when this machine was cut off and its copy started.
pub async fn displaced(settings: &Settings, peers: &Peers) -> NodeError {
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Err(e) = not_given_up(peers).and_then(|()| twin(settings, peers)) {
            return e;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::fs_real::RealFs;

    #[test]
    fn data_that_need_a_later_release_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(known(dir.path(), "0.1.0").is_ok(), "a folder that was never used");
        fs::write(dir.path().join("needs-release"), "0.2.0\n").unwrap();
        let told = known(dir.path(), "0.1.9").unwrap_err().to_string();
        assert!(told.contains("needs-release: the data need release 0.2.0 or a later one, this is 0.1.9"), "{told}");
        assert!(known(dir.path(), "0.2.0").is_ok());
    }

    #[test]
    fn files_of_a_newer_release_are_told_and_none_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        assert!(readable(data, &RealFs).is_ok(), "a folder that was never used");
        let snapshots = data.join("store/snapshots/p1");
        fs::create_dir_all(&snapshots).unwrap();
        fs::write(snapshots.join("s00000000000000000001-00000000000000000002.snap"), b"SPNSNAP2 and so on").unwrap();
        let told = readable(data, &RealFs).unwrap_err().to_string();
        assert!(told.contains("p1") && told.contains("newer"), "{told}");
        fs::write(snapshots.join("s00000000000000000001-00000000000000000002.snap"), b"rotten").unwrap();
        assert!(readable(data, &RealFs).is_ok(), "damage is mended, not refused");
    }
}
