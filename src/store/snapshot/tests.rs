//! Snapshots taken while writes go on, sent, damaged, installed; replicas compared.

use crate::seam::pace::Pace;
use crate::store::testing::*;
use crate::store::{Partition, SnapshotInfo, StoreError};
use bytes::Bytes;
use std::sync::Arc;

/// Sends a snapshot over in pieces.
async fn send(from: &Partition, info: &SnapshotInfo, to: &Arc<Partition>) -> Result<SnapshotInfo, StoreError> {
    let mut incoming = to.receive_snapshot(info.bytes).await?;
    while incoming.received() < info.bytes {
        let piece = from.read_snapshot_piece(&info.id, incoming.received(), 1000).await?;
        incoming.write(incoming.received(), piece).await?;
    }
    incoming.finish().await.map(|info| info.expect("newer than the rows here"))
}

#[test]
fn a_snapshot_taken_under_writes_and_the_log_give_the_same_rows_on_another_replica() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        for n in 0..3000 {
            run.entry(vec![(n, Some(1200))]);
        }
        run.partition().flush().await.unwrap();
        let partition = run.partition();
        // Between the snapshot's runs, this loop gets its turn and changes rows in front of and behind it.
        let snapshot = async { partition.clone().snapshot().await.unwrap() };
        tokio::pin!(snapshot);
        let mut n = 0u16;
        let info = loop {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {
                    n += 1;
                    run.entry(vec![(n * 7 % 3000, None), (n * 11 % 3000, Some(n % 500)), (3000 + n, Some(9))]);
                    if n.is_multiple_of(5) { partition.flush_some(2).await.unwrap(); }
                }
                info = &mut snapshot => break info,
            }
            if n > 500 {
                break (&mut snapshot).await;
            }
        };
        run.entry(vec![(1, Some(44))]);
        assert!(info.before.index >= 3000 && info.after_index > info.before.index + 3, "{info:?}");
        let mut other = Run::new().await;
        other.entry(vec![(9999, Some(1))]);
        let there = other.partition();
        let received = send(&partition, &info, &there).await.unwrap();
        assert_eq!(there.install_snapshot(&received.id).await.unwrap().index, info.before.index);
        assert_eq!(there.servable(), info.before.index == info.after_index);
        (other.log, other.model) = (run.log.clone(), run.model.clone());
        other.replay();
        other.check();
        assert_eq!(there.hash().await.unwrap(), partition.hash().await.unwrap());
        there.flush().await.unwrap();
        assert_eq!(there.hash().await.unwrap(), partition.hash().await.unwrap());
        run.entry(vec![(1, None)]);
        assert_ne!(there.hash().await.unwrap().unwrap().1, partition.hash().await.unwrap().unwrap().1);
    });
}

#[test]
fn rows_made_before_a_snapshot_and_deleted_after_it_do_not_come_back() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry(vec![(0, Some(1))]);
        let partition = run.partition();
        let before = partition.applied();
        // A snapshot that began at entry 1 and saw the row of entry 2.
        run.entry(vec![(1, Some(1))]);
        let mut info = partition.snapshot().await.unwrap();
        info = rewrite(&run, &info, before.index);
        run.entry(vec![(1, None)]);
        run.lose_engine().await;
        let partition = run.partition();
        assert_eq!(partition.applied().index, info.before.index);
        assert!(!partition.servable());
        run.replay();
        partition.flush().await.unwrap();
        run.check();
    });
}

/// Writes a snapshot's file again with a lower first position.
fn rewrite(run: &Run, info: &SnapshotInfo, before: u64) -> SnapshotInfo {
    use super::file::{Head, Kind, Reader, Writer};
    use crate::seam::fs::Fs;
    let path = info.path.with_file_name("s-test.snap");
    let mut reader = Reader::open(&run.fs, &info.path).unwrap();
    let mut head = Head { partition: 1, before: info.before.clone(), ..Default::default() };
    head.before.index = before;
    let mut writer = Writer::create(&run.fs, &path, Kind::Whole, &head).unwrap();
    while let Some(rows) = reader.rows().unwrap() {
        for (key, value) in rows {
            writer.row(&key, value.as_deref()).unwrap();
        }
    }
    writer.finish(info.after_index).unwrap();
    run.fs.remove_file(&info.path).unwrap();
    super::info(&run.fs, path).unwrap()
}

#[test]
fn two_generations_are_kept_and_a_damaged_one_costs_nothing() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        assert_eq!(run.partition().log_floor(), 0);
        let mut infos = vec![];
        for n in 0..4 {
            run.entry(vec![(n, Some(300)), (100 + n, Some(5))]);
            infos.push(run.partition().snapshot().await.unwrap());
        }
        assert_eq!(run.partition().snapshot().await.unwrap(), infos[3], "nothing new to write");
        assert_eq!(run.partition().snapshots(), infos[2..]);
        assert_eq!(run.partition().log_floor(), infos[2].before.index);
        for bit in (0..infos[3].bytes as usize * 8).step_by(11) {
            run.fs.flip(&infos[3].id, bit);
            let copy: Vec<_> = {
                let files = run.fs.0.lock().unwrap();
                files.iter().map(|(p, c)| (p.clone(), c.lock().unwrap().clone())).collect()
            };
            run.lose_engine().await;
            assert_eq!(run.store.healed()[0].from.as_ref(), Some(&infos[2]), "bit {bit}");
            run.replay();
            run.check();
            let mut files = run.fs.0.lock().unwrap();
            files.clear();
            files.extend(copy.into_iter().map(|(p, c)| (p, Arc::new(std::sync::Mutex::new(c)))));
            drop(files);
            run.fs.flip(&infos[3].id, bit);
        }
    });
}

#[test]
fn a_snapshot_damaged_on_the_way_or_cut_short_is_refused() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry((0..500).map(|n| (n, Some(50))).collect());
        let from = run.partition();
        let info = from.snapshot().await.unwrap();
        let other = Run::new().await;
        let to = other.partition();
        let mut incoming = to.receive_snapshot(info.bytes).await.unwrap();
        let whole = from.read_snapshot_piece(&info.id, 0, info.bytes as usize).await.unwrap();
        assert!(incoming.write(5, whole.clone()).await.is_err(), "out of place");
        incoming.write(0, whole.slice(..100)).await.unwrap();
        assert!(incoming.finish().await.is_err(), "cut short");
        let mut bad = whole.to_vec();
        bad[200] ^= 1;
        let mut incoming = to.receive_snapshot(info.bytes).await.unwrap();
        incoming.write(0, Bytes::from(bad)).await.unwrap();
        assert!(matches!(incoming.finish().await, Err(StoreError::Corrupt(_))));
        assert!(to.snapshots().is_empty());
        assert!(from.read_snapshot_piece("../../etc/passwd", 0, 10).await.is_err());
    });
}

#[test]
fn a_running_partition_can_be_rebuilt_in_place() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry((0..500).map(|n| (n, Some(50))).collect());
        run.partition().snapshot().await.unwrap();
        run.entry(vec![(3, None), (600, Some(2))]);
        let from = run.partition().rebuild().await.unwrap();
        assert_eq!(from.map(|s| s.before.index), Some(1));
        run.replay();
        run.check();
        run.restart().await;
        run.replay();
        run.check();
    });
}

/// A page of rows is bounded by count. Of rows near the largest that stay out of the blob store, 514 once made one run
/// of 16.8 MiB, more than a reader takes: the snapshot was sealed, sent, and then refused where it was needed.
#[test]
fn a_snapshot_of_many_large_rows_can_be_read() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        for n in 0..600 {
            run.entry(vec![(n, Some(40_000))]);
        }
        let partition = run.partition();
        let info = partition.clone().snapshot().await.unwrap();
        let other = Run::new().await;
        let there = other.partition();
        let received = send(&partition, &info, &there).await.unwrap();
        there.install_snapshot(&received.id).await.unwrap();
        assert_eq!(there.hash().await.unwrap(), partition.hash().await.unwrap());
    });
}

#[test]
fn a_snapshot_that_rots_is_found_forgotten_and_sealed_anew() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry(vec![(1, Some(100)), (2, Some(5000))]);
        let partition = run.partition();
        let info = partition.snapshot().await.unwrap();
        let pace = Pace::new(u64::MAX);
        partition.verify_snapshot(&info, &pace).await.unwrap();
        assert!(pace.bytes() > 0);
        run.fs.flip(".snap", 400);
        assert!(matches!(partition.verify_snapshot(&info, &pace).await, Err(StoreError::Corrupt(_))));
        assert_eq!(partition.snapshots(), []);
        let gone = partition.verify_snapshot(&info, &pace).await;
        assert!(matches!(gone, Err(StoreError::Io(_))), "a file that is gone says nothing: {gone:?}");
        let again = partition.snapshot().await.unwrap();
        partition.verify_snapshot(&again, &pace).await.unwrap();
        assert!(!partition.is_damaged());
    });
}

#[test]
fn a_rotten_snapshot_that_is_to_be_installed_is_gone_after_the_next_start() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry(vec![(1, Some(100)), (2, Some(5000))]);
        let partition = run.partition();
        let info = partition.snapshot().await.unwrap();
        partition.flush().await.unwrap();
        run.fs.flip(".snap", 400);
        assert!(matches!(partition.install_snapshot(&info.id).await, Err(StoreError::Corrupt(_))));
        assert!(partition.is_damaged());
        drop(partition);
        // The engine is whole and its rows are older than the snapshot claims: only the mark keeps consensus from asking again.
        run.restart().await;
        assert_eq!(run.partition().snapshots(), []);
        run.replay();
        run.check();
    });
}

#[test]
fn a_full_disk_costs_a_flush_and_a_snapshot_but_no_rows() {
    use crate::seam::sim::SimWorld;
    use crate::store::{Reader, RowOp, Store, StoreOptions};
    runtime().block_on(async {
        let sim = SimWorld::new(3, 64 << 20);
        let store = Store::open(sim.world(), "/store".into(), StoreOptions::default()).await.unwrap();
        let partition = store.partition(1).unwrap();
        let put = |n| RowOp::Put { key: key(n), value: Bytes::from_static(b"v"), fresh: true };
        partition.apply(at(1), &[put(1)]);
        sim.fs.set_capacity(1 << 20);
        assert!(matches!(partition.flush().await, Err(StoreError::Io(_))));
        assert!(matches!(partition.snapshot().await, Err(StoreError::Io(_))));
        partition.apply(at(2), &[put(2)]);
        assert_eq!(partition.get(&key(1)).unwrap().as_deref(), Some(&b"v"[..]));
        assert!(!partition.is_damaged());
        sim.fs.set_capacity(64 << 20);
        assert_eq!(partition.flush().await.unwrap().index, 2);
        assert_eq!(partition.snapshot().await.unwrap().rows, 2);
    });
}
