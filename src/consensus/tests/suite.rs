//! The library's own conformance suite over our log and store.

use super::*;
use crate::consensus::machine::{Machine, Progress};
use crate::consensus::snapshot::{Sealed, SnapshotData};
use crate::consensus::storage::LogStorage;
use crate::consensus::types::{LogId, SnapshotMeta, StoredMembership, Types};
use futures_util::Stream;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};

struct Builder;

/// The machine, but for one thing: the suite hands a snapshot from one store to another without a network.
struct Carrying(Machine);

impl RaftStateMachine<Types> for Carrying {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.0.applied_state().await
    }
    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        self.0.apply(entries).await
    }
    async fn get_snapshot_builder(&mut self) -> Machine {
        self.0.clone()
    }
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let bytes = std::fs::read(&snapshot.path)?;
        let mut incoming = self.0.partition.receive_snapshot(bytes.len() as u64).await.unwrap();
        incoming.write(0, bytes.into()).await.unwrap();
        let snapshot = incoming.finish_over().await.unwrap();
        self.0.install_snapshot(meta, snapshot).await
    }
    async fn get_current_snapshot(&mut self) -> io::Result<Option<Sealed>> {
        self.0.get_current_snapshot().await
    }
}

impl StoreBuilder<Types, LogStorage, Carrying, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStorage, Carrying), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let (log_options, store_options) = small();
        let (log, _) = Log::open(world(), dir.path().join("log"), log_options).await.unwrap();
        let store = Store::open(world(), dir.path().join("store"), store_options).await.unwrap();
        let fatal: Fatal = Arc::new(|why| panic!("{why}"));
        let partition = store.partition(1).unwrap();
        let machine = Machine {
            group: 1,
            partition: partition.clone(),
            engine: Recorder::new(store),
            progress: Arc::new(Progress::new()),
            fatal: fatal.clone(),
        };
        Ok((dir, LogStorage::new(log.group(1), partition, fatal), Carrying(machine)))
    }
}

#[tokio::test]
async fn our_storage_is_what_the_library_expects() {
    Suite::test_all(Builder).await.unwrap();
}

#[tokio::test]
async fn a_log_is_never_cut_below_what_was_applied_from_it() {
    use openraft::storage::RaftLogStorage;
    let cluster = Cluster::new(1, 1).await;
    cluster.write(0, "applied").await;
    let node = cluster.node(1);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let fatal = told.clone();
    let fatal: Fatal = Arc::new(move |why| fatal.lock().unwrap().push(why.to_owned()));
    let last = node.log.group(0).state().last;
    let mut storage = LogStorage::new(node.log.group(0), node.partition(0), fatal);
    assert!(storage.truncate_after(None).await.is_err());
    assert!(told.lock().unwrap()[0].contains("is applied"), "the process ends");
    assert_eq!(node.log.group(0).state().last, last, "nothing is cut off");
    cluster.end().await;
}
