//! A node's data, opened and mended: log and store from the disk, what they lack from peers (P7, P9).
//!
//! Everything outside comes in, so that a simulated site (`tests/sim`) opens its nodes as a real one does.

use super::NodeError;
use crate::{
    consensus::{self, Consensus},
    engine,
    log::{Damage, Log, LogError, LogOptions},
    ops::{codes, metrics::DATA_LOST},
    seam::{
        World,
        net::{NodeNumber, Router, Transport},
    },
    store::{Store, StoreError, StoreOptions},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a node asks its peers for what it lost before it gives up its past and comes back as its next incarnation:
/// after a power cut the whole rack starts at once, and two nodes without a past would leave the site without a majority.
const MEND_PATIENCE: Duration = Duration::from_secs(60);
/// Between two such rounds.
const MEND_PAUSE: Duration = Duration::from_millis(500);

/// How a node's data are kept.
pub struct DataOptions {
    /// The folder that holds `log` and `store`.
    pub dir: PathBuf,
    pub log: LogOptions,
    pub store: StoreOptions,
    pub consensus: consensus::Options,
    /// Told in a line for operators, again and again, what the node waits for while nobody has what it lost.
    pub waits: Arc<dyn Fn(&str) + Send + Sync>,
}

/// Log and store, whole, and agreement over them: no group is open yet.
pub struct Data {
    pub log: Log,
    pub store: Store,
    pub consensus: Consensus,
    /// What was damaged and is whole again: for operators.
    pub mended: Vec<String>,
}

/// Opens log and store and has mended what is damaged. `None`: it is damaged beyond what anyone can repair, and the site
/// goes on without this node, which must begin again as its next incarnation. Where the site does not, what is lost may be
/// lost everywhere: the node keeps what it has, says so and waits. Without peers that is an error: an operator must see what
/// is left.
pub async fn open(
    world: &World,
    options: DataOptions,
    peers: &[(NodeNumber, SocketAddr)],
    transport: &Arc<dyn Transport>,
    router: &Arc<Router>,
) -> Result<Option<Data>, NodeError> {
    let log = Log::open(world.clone(), options.dir.join("log"), options.log).await;
    let Some((log, damage)) = usable("log", log, |e| matches!(e, LogError::StateLost { .. }), peers)? else {
        return Ok(None);
    };
    let store = Store::open(world.clone(), options.dir.join("store"), options.store).await;
    let Some(store) = usable("store", store, |e| matches!(e, StoreError::Corrupt(_)), peers)? else {
        log.close().await;
        return Ok(None);
    };
    let parts = consensus::Parts {
        log: log.clone(),
        store: store.clone(),
        transport: transport.clone(),
        router: router.clone(),
        rng: world.rng.clone(),
    };
    let consensus = Consensus::new(parts, options.consensus);
    let mut mended: Vec<String> = vec![];
    for healed in store.healed() {
        mended.push(format!("rows of partition {} were rebuilt: {}", healed.partition, healed.why));
    }
    if mend(&consensus, damage, peers, transport, &*options.waits, &mut mended).await {
        return Ok(Some(Data { log, store, consensus, mended }));
    }
    drop(consensus);
    let _ = store.close().await;
    log.close().await;
    if peers.is_empty() {
        let why = "log or rows are damaged, and this node has no peers that could have them whole";
        return Err(NodeError::Room { room: "data", why: why.into() });
    }
    Ok(None)
}

/// What was opened; `None` where it is `lost` in a way that it cannot heal from by itself, and there are peers from whom
/// the node gets everything anew. Alone, that is an error: an operator must see what is left.
fn usable<T, E: std::fmt::Display>(
    room: &'static str,
    opened: Result<T, E>,
    lost: impl Fn(&E) -> bool,
    peers: &[(NodeNumber, SocketAddr)],
) -> Result<Option<T>, NodeError> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(e) if lost(&e) && !peers.is_empty() => {
            tracing::error!(event = "node.data.lost", room, error = %e, "the node comes back as its next incarnation");
            Ok(None)
        }
        Err(e) => Err(NodeError::Room { room, why: e.to_string() }),
    }
}

/// Has what log and store lack fetched from peers. False: nobody has it, and others go on.
async fn mend(
    consensus: &Consensus,
    damage: Vec<Damage>,
    peers: &[(NodeNumber, SocketAddr)],
    transport: &Arc<dyn Transport>,
    waits: &(dyn Fn(&str) + Send + Sync),
    mended: &mut Vec<String>,
) -> bool {
    let whole = |d: &Damage| {
        format!("log entries {} to {} of partition {} were repaired", d.range.start, d.range.end - 1, d.group)
    };
    let lines: Vec<String> = damage.iter().map(whole).collect();
    // After a power cut of the whole site the others may be starting too.
    let deadline = Instant::now() + if peers.is_empty() { Duration::ZERO } else { MEND_PATIENCE };
    let (mut left, mut waiting) = (damage, false);
    loop {
        if !left.is_empty() {
            tracing::warn!(event = "log.damaged", stretches = left.len(), "the log is damaged; asking peers");
            left = consensus.repair(left, peers).await;
        }
        let mut gaps = consensus.gaps();
        if !gaps.is_empty() {
            let own = consensus.rebuild(&gaps).await;
            gaps.retain(|group| !own.contains(group));
            mended
                .extend(own.iter().map(|g| format!("rows of partition {g} were rebuilt: the engine held older ones")));
        }
        if !gaps.is_empty() {
            tracing::warn!(event = "store.gap", partitions = ?gaps, "the log begins behind the rows; asking peers for them");
        }
        let missing = consensus.refill(gaps.clone(), peers).await;
        let here = gaps.iter().filter(|g| !missing.contains(g));
        mended.extend(here.map(|g| format!("rows of partition {g} were fetched from another node")));
        if left.is_empty() && missing.is_empty() {
            metrics::gauge!(DATA_LOST).set(0.0);
            mended.extend(lines);
            return true;
        }
        if Instant::now() >= deadline {
            if peers.is_empty() || engine::site_serves(transport.as_ref(), peers.iter().map(|(peer, _)| *peer)).await {
                tracing::error!(event = "log.lost", stretches = left.len(), partitions = ?missing, "no peer has what is lost here");
                return false;
            }
            // Nodes that give up what they have at the same time leave nothing to begin again from (P1).
            if !waiting {
                tracing::error!(event = "node.data.nowhere", stretches = left.len(), partitions = ?missing,
                    "no node has what is lost here, and the site does not go on without this one: it keeps what it has, and waits");
                metrics::gauge!(DATA_LOST).set(1.0);
                waiting = true;
            }
        }
        if waiting {
            waits(&waits_for(&left, &missing));
        }
        tokio::time::sleep(MEND_PAUSE).await;
    }
}

/// What is lost, for operators.
fn waits_for(entries: &[Damage], rows: &[u16]) -> String {
    let entries = entries.iter().map(|d| {
        format!("log entries {} to {} of partition {}", d.range.start, d.range.end.saturating_sub(1), d.group)
    });
    let all: Vec<String> = entries.chain(rows.iter().map(|number| format!("the rows of partition {number}"))).collect();
    format!("waits for {}, which no node that answers has whole ({})", all.join(", "), codes::DATA_LOST.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::settle::set_aside;
    use crate::{
        log::LogRecord,
        seam::{World, clock::SystemClock, fs_real::RealFs, rng::SystemRng},
    };
    use bytes::Bytes;
    use std::path::Path;

    async fn open(data: &Path) -> Result<(Log, Vec<Damage>), LogError> {
        let world = World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) };
        let options = LogOptions { segment_bytes: 1 << 20, ..Default::default() };
        Log::open(world, data.join("log"), options).await
    }

    const VOTE: &[u8] = &[0xcc; 64];

    fn lost(e: &LogError) -> bool {
        matches!(e, LogError::StateLost { .. })
    }

    fn one_peer() -> Vec<(NodeNumber, SocketAddr)> {
        vec![(NodeNumber(2), SocketAddr::from(([127, 0, 0, 1], 1)))]
    }

    #[tokio::test]
    async fn a_log_that_may_have_lost_its_vote_is_set_aside_where_there_are_peers_and_left_alone_where_not() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path()).await.unwrap();
        let group = log.group(1);
        group.save_vote(Bytes::from_static(VOTE)).await.unwrap();
        for index in 1..4 {
            let (done, synced) = tokio::sync::oneshot::channel();
            let record = LogRecord { index, term: 1, leader: 1, payload: Bytes::from_static(&[1; 3_000]) };
            group.append(vec![record], Box::new(move |outcome| drop(done.send(outcome))));
            synced.await.unwrap().unwrap();
        }
        log.close().await;
        // Every copy of the vote rots; what follows it is whole.
        for segment in std::fs::read_dir(dir.path().join("log")).unwrap().map(|f| f.unwrap().path()) {
            let mut content = std::fs::read(&segment).unwrap();
            while let Some(at) = content.windows(VOTE.len()).position(|w| w == VOTE) {
                content[at] ^= 1;
            }
            std::fs::write(&segment, content).unwrap();
        }

        let alone = usable("log", open(dir.path()).await, lost, &[]);
        assert!(matches!(alone, Err(NodeError::Room { room: "log", .. })), "an operator must see it");
        assert!(usable("log", open(dir.path()).await, lost, &one_peer()).unwrap().is_none());
        // What the node does then; it goes on empty, and its peers name it anew.
        set_aside(dir.path()).unwrap();
        let (log, damage) = usable("log", open(dir.path()).await, lost, &one_peer()).unwrap().expect("it opens empty");
        assert_eq!((damage.len(), log.group(1).state().vote, log.group(1).state().last), (0, None, None));
        assert!(dir.path().join("set-aside/log").exists());
        log.close().await;
    }

    #[test]
    fn a_store_that_cannot_be_read_is_begun_anew_and_one_that_cannot_be_opened_now_stops_the_node() {
        let opened = |e: StoreError, peers: &[_]| {
            usable::<(), _>("store", Err(e), |e| matches!(e, StoreError::Corrupt(_)), peers)
        };
        assert!(matches!(opened(StoreError::Corrupt("x".into()), &one_peer()), Ok(None)));
        assert!(opened(StoreError::Corrupt("x".into()), &[]).is_err());
        assert!(opened(StoreError::Io("too many open files".into()), &one_peer()).is_err());
        assert!(opened(StoreError::Unsynced("x".into()), &one_peer()).is_err());
    }
}
