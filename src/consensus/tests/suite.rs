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
        let machine = Machine {
            group: 1,
            partition: store.partition(1).unwrap(),
            engine: Recorder::new(store),
            progress: Arc::new(Progress::new()),
            fatal: fatal.clone(),
        };
        Ok((dir, LogStorage::new(log.group(1), fatal), Carrying(machine)))
    }
}

#[tokio::test]
async fn our_storage_is_what_the_library_expects() {
    Suite::test_all(Builder).await.unwrap();
}
