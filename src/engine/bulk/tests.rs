//! Three nodes' blob stores over an in-memory transport.

use super::*;
use crate::engine::PartitionId;
use crate::engine::draft::{MapStore, OutboxItem};
use crate::engine::rows::{self, DeadLetter};
use crate::seam::net::{Answer, Handler, Kind, Lane, Router};
use crate::seam::pace::Pace;
use crate::store::Reader;
use crate::store::tables::Table;
use crate::store::testing::{MemFs, world};
use crate::wire::record::Record as _;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Calls go straight to the other node's router, unless it is down.
#[derive(Default)]
struct Wires {
    routers: Mutex<HashMap<u16, Arc<Router>>>,
    down: Mutex<BTreeSet<u16>>,
}

struct Wire(Arc<Wires>, NodeNumber);

impl Transport for Wire {
    fn call(&self, to: NodeNumber, lane: Lane, kind: Kind, payload: Bytes, _: Duration) -> Answer {
        assert_eq!(lane, Lane::Bulk);
        assert!(payload.len() <= PIECE + 100, "{} bytes in one call", payload.len());
        if self.0.down.lock().unwrap().contains(&to.0) {
            return Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) });
        }
        let router = self.0.routers.lock().unwrap()[&to.0].clone();
        router.handle(self.1, kind, payload)
    }
    fn set_address(&self, _: NodeNumber, _: SocketAddr) {}
}

async fn site() -> (Arc<Wires>, Vec<Bulk>) {
    site_on(MemFs::default()).await
}

/// Node 3 keeps its bodies in `last`.
async fn site_on(last: MemFs) -> (Arc<Wires>, Vec<Bulk>) {
    site_of(last, |_| true).await
}

async fn site_of(last: MemFs, votes: fn(u16) -> bool) -> (Arc<Wires>, Vec<Bulk>) {
    let wires = Arc::new(Wires::default());
    let mut nodes = vec![];
    for n in 1..=3 {
        let world = world(&if n == 3 { last.clone() } else { MemFs::default() });
        let rng = world.rng.clone();
        let blobs = Blobs::open(world, PathBuf::from("/blobs"), 0, Arc::new(|_| ())).await.unwrap();
        let site: Nodes = Arc::new(move || [1, 2, 3].map(|n| (NodeNumber(n), votes(n))).to_vec());
        let bulk = Bulk::new(NodeNumber(n), blobs, Arc::new(Wire(wires.clone(), NodeNumber(n))), site, rng);
        let router = Arc::new(Router::default());
        bulk.claim(&router);
        wires.routers.lock().unwrap().insert(n, router);
        nodes.push(bulk);
    }
    (wires, nodes)
}

fn body(len: usize) -> Bytes {
    (0..len).map(|n| (n * 31 + n / 255) as u8).collect::<Vec<_>>().into()
}

async fn store(bulk: &Bulk, body: &Bytes) -> Result<(BlobId, u64), BulkError> {
    let mut upload = bulk.upload().await?;
    for piece in body.chunks(700_001) {
        upload.piece(Bytes::copy_from_slice(piece)).await?;
    }
    upload.commit().await
}

async fn read(bulk: &Bulk, id: BlobId, length: u64) -> Result<Vec<u8>, String> {
    let mut pieces = bulk.open(id, length).await.map_err(|e| e.to_string())?;
    let mut out = vec![];
    while let Some(piece) = pieces.recv().await {
        out.extend_from_slice(&piece.map_err(|e| e.to_string())?);
    }
    Ok(out)
}

/// Polls until it holds; the runtime's own time bounds it.
async fn until(what: impl AsyncFn() -> bool) {
    for _ in 0..10_000 {
        if what().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come to hold");
}

#[tokio::test]
async fn a_committed_body_is_on_a_majority_and_soon_everywhere() {
    let (_, nodes) = site().await;
    let body = body(3_333_333);
    let (id, length) = store(&nodes[0], &body).await.unwrap();
    assert_eq!((id, length), (BlobId::of(&body), 3_333_333));
    for node in &nodes {
        until(async || node.blobs().verify(id, &Pace::new(u64::MAX)).await == Ok(length)).await;
    }
}

#[tokio::test]
async fn one_node_down_is_no_loss_and_two_are_a_refusal() {
    let (wires, nodes) = site().await;
    wires.down.lock().unwrap().insert(3);
    let body = body(2_000_000);
    let (id, length) = store(&nodes[0], &body).await.unwrap();
    assert_eq!(nodes[1].blobs().verify(id, &Pace::new(u64::MAX)).await, Ok(length));
    assert!(!nodes[2].blobs().has(id).await);
    wires.down.lock().unwrap().insert(2);
    assert!(matches!(store(&nodes[0], &body.slice(1..)).await, Err(BulkError::NoMajority(1, 2))));
}

#[tokio::test]
async fn a_node_without_a_copy_reads_from_its_peers_and_restores_it() {
    let (wires, nodes) = site().await;
    wires.down.lock().unwrap().insert(3);
    let body = body(1_500_000);
    let (id, length) = store(&nodes[0], &body).await.unwrap();
    wires.down.lock().unwrap().clear();
    assert!(read(&nodes[2], id, length).await.unwrap() == body);
    until(async || nodes[2].blobs().verify(id, &Pace::new(u64::MAX)).await == Ok(length)).await;
    let nowhere = BlobId([9; 32]);
    assert_eq!(read(&nodes[2], nowhere, 5).await, Err(BulkError::Lost(nowhere).to_string()));
    wires.down.lock().unwrap().insert(1);
    let also = BlobId([8; 32]);
    assert_eq!(read(&nodes[2], also, 5).await, Err(BulkError::Nowhere(also).to_string()), "one is not asked");
}

#[tokio::test]
async fn a_voter_has_from_a_node_without_a_vote_what_only_that_one_holds() {
    let (wires, nodes) = site_of(MemFs::default(), |n| n != 3).await;
    let body = body(1_500_000);
    let (id, length) = store(&nodes[2], &body).await.unwrap();
    for voter in &nodes[..2] {
        until(async || voter.blobs().has(id).await).await;
        voter.blobs().remove(id).await.unwrap();
    }
    assert!(read(&nodes[0], id, length).await.unwrap() == body);
    // One without a vote stores on the voters: its own copy is none of the majority.
    wires.down.lock().unwrap().insert(1);
    assert!(matches!(store(&nodes[2], &body.slice(1..)).await, Err(BulkError::NoMajority(1, 2))));
}

#[tokio::test]
async fn a_body_that_nobody_has_is_refused_from_the_start_and_told_until_it_is_there_again_or_not_needed() {
    let files = MemFs::default();
    let (_, nodes) = site_on(files.clone()).await;
    // Two pieces of a read: the damage is in the second.
    let (body, other) = (body(400_000), body(300_000));
    let mut ids = vec![];
    for body in [&body, &other] {
        let (id, _) = store(&nodes[2], body).await.unwrap();
        until(async || nodes[0].blobs().has(id).await && nodes[1].blobs().has(id).await).await;
        nodes[0].blobs().remove(id).await.unwrap();
        nodes[1].blobs().remove(id).await.unwrap();
        files.flip(&id.to_string(), 8 * 290_000);
        ids.push(id);
    }
    assert!(read(&nodes[2], ids[0], 400_000).await.unwrap_err().contains("on every node"), "the stream breaks off");
    until(async || nodes[2].lost() == [ids[0]]).await;
    assert_eq!(nodes[2].open(ids[0], 400_000).await.err(), Some(BulkError::Lost(ids[0])), "refused before it begins");
    assert_eq!(nodes[2].scrub(&Pace::new(u64::MAX)).await.unwrap(), (2, 0));
    assert_eq!(nodes[2].lost().len(), 2);
    // One comes again, no row names the other.
    store(&nodes[0], &body).await.unwrap();
    nodes[2].scrub(&Pace::new(u64::MAX)).await.unwrap();
    assert_eq!(nodes[2].lost(), [ids[1]]);
    let rows: Vec<Arc<dyn Reader + Send + Sync>> = vec![Arc::new(MapStore::default())];
    nodes[2].tend_once(&rows, tend::GRACE).await.unwrap();
    assert!(nodes[2].lost().is_empty());
}

#[tokio::test]
async fn a_dropped_upload_leaves_nothing() {
    let (_, nodes) = site().await;
    let mut upload = nodes[0].upload().await.unwrap();
    upload.piece(body(2_000_000)).await.unwrap();
    drop(upload);
    until(async || nodes[1].0.sessions.lock().unwrap().is_empty() && nodes[2].0.sessions.lock().unwrap().is_empty())
        .await;
    for node in &nodes {
        for folder in 0..=255 {
            assert!(node.blobs().list(folder).await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn rows_decide_what_is_fetched_and_what_is_removed() {
    let (wires, nodes) = site().await;
    wires.down.lock().unwrap().insert(3);
    let (kept, _) = store(&nodes[0], &body(100_000)).await.unwrap();
    let (lost, _) = store(&nodes[0], &body(100_001)).await.unwrap();
    wires.down.lock().unwrap().clear();
    let mut rows = MapStore::default();
    let key = |chunk: u32| Table::BlobRefs.key().fixed(&kept.0).text("X26ABC1").fixed(&chunk.to_be_bytes()).build();
    rows.0.extend([(key(1), Bytes::new()), (key(2), Bytes::new())]);
    let partitions: Vec<Arc<dyn Reader + Send + Sync>> = vec![Arc::new(MapStore::default()), Arc::new(rows)];

    assert_eq!(nodes[2].tend_once(&partitions, tend::GRACE).await.unwrap(), (1, 0));
    assert!(nodes[2].blobs().has(kept).await && !nodes[2].blobs().has(lost).await);
    assert_eq!(nodes[0].tend_once(&partitions, tend::GRACE).await.unwrap(), (0, 0), "within its grace");
    // The same content comes again: its grace begins anew.
    store(&nodes[0], &body(100_001)).await.unwrap();
    assert!(nodes[0].0.orphans.lock().unwrap().is_empty());
    assert_eq!(nodes[0].tend_once(&[], Duration::ZERO).await.unwrap(), (0, 0), "no judgement without rows");
    assert_eq!(nodes[0].tend_once(&partitions, Duration::ZERO).await.unwrap(), (0, 1));
    assert!(nodes[0].blobs().has(kept).await && !nodes[0].blobs().has(lost).await);
}

#[tokio::test]
async fn bodies_of_commands_on_their_way_are_fetched_and_kept_however_long_they_take() {
    let (wires, nodes) = site().await;
    wires.down.lock().unwrap().insert(3);
    let (sent, _) = store(&nodes[0], &body(100_000)).await.unwrap();
    let (set_aside, _) = store(&nodes[0], &body(100_001)).await.unwrap();
    wires.down.lock().unwrap().clear();
    let item = |id: BlobId| OutboxItem { bodies: vec![Bytes::copy_from_slice(&id.0)], ..Default::default() };
    let (outbox, dead) = (rows::outbox_key(PartitionId(2), 1), rows::dead_key(PartitionId(1), 9));
    let letter = DeadLetter { item: Some(item(set_aside)), ..Default::default() };
    let (mut source, mut target) = (MapStore::default(), MapStore::default());
    source.0.insert(outbox, item(sent).encode());
    target.0.insert(dead, letter.encode());
    let partitions: Vec<Arc<dyn Reader + Send + Sync>> = vec![Arc::new(source), Arc::new(target)];
    assert_eq!(nodes[2].tend_once(&partitions, tend::GRACE).await.unwrap(), (2, 0));
    assert_eq!(nodes[0].tend_once(&partitions, Duration::ZERO).await.unwrap(), (0, 0));
    assert!(nodes[0].blobs().has(sent).await && nodes[2].blobs().has(set_aside).await);
    let delivered: Vec<Arc<dyn Reader + Send + Sync>> = vec![Arc::new(MapStore::default())];
    assert_eq!(nodes[0].tend_once(&delivered, Duration::ZERO).await.unwrap(), (0, 2));
}

#[tokio::test]
async fn a_body_that_rots_unread_is_found_and_fetched_again() {
    let files = MemFs::default();
    let (wires, nodes) = site_on(files.clone()).await;
    let body = body(1_500_000);
    let (id, length) = store(&nodes[2], &body).await.unwrap();
    let pace = Pace::new(u64::MAX);
    assert_eq!(nodes[2].scrub(&pace).await.unwrap(), (0, 0));
    assert_eq!(pace.bytes(), length);
    files.flip(&id.to_string(), 8_000_003);
    wires.down.lock().unwrap().extend([1, 2]);
    assert_eq!(nodes[2].scrub(&pace).await.unwrap(), (1, 0), "nobody who has it can be reached");
    wires.down.lock().unwrap().clear();
    assert_eq!(nodes[2].scrub(&pace).await.unwrap(), (1, 1));
    assert_eq!(nodes[2].scrub(&pace).await.unwrap(), (0, 0));
    assert!(read(&nodes[2], id, length).await.unwrap() == body);
}
