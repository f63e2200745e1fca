//! Layers under restarts, lost engines, damage and snapshots beside them: whatever the log may be cut below is in files.

use super::file::{Kind, Reader};
use crate::seam::fs::Fs;
use crate::store::testing::*;
use std::{path::PathBuf, time::Duration};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn files(run: &Run, end: &str) -> Vec<PathBuf> {
    let files = run.fs.0.lock().unwrap();
    files.keys().filter(|path| path.to_string_lossy().ends_with(end)).cloned().collect()
}

/// Some changes of few keys: rows come, go, and come back.
fn write(run: &mut Run, dice: &mut Dice) {
    let some = 1 + dice.roll(4);
    let changes = (0..some).map(|_| {
        let n = dice.roll(60) as u16;
        (n, (dice.roll(3) > 0).then(|| dice.roll(3000) as u16))
    });
    let mut changes: Vec<_> = changes.collect();
    changes.sort();
    changes.dedup_by_key(|(n, _)| *n);
    run.entry(changes);
}

/// What is left of the engine after a death.
async fn die(run: &mut Run, dice: &mut Dice) {
    let floor = run.partition().log_floor();
    if dice.roll(2) == 0 {
        run.restart().await;
    } else {
        run.lose_engine().await;
    }
    let partition = run.partition();
    // As the library does at a start: files may be ahead of rows at rest.
    if let Some(newest) = partition.newest().filter(|newest| newest.before.index > partition.applied().index) {
        partition.install_snapshot(&newest.id).await.unwrap();
    }
    let applied = partition.applied().index;
    drop(partition);
    assert!(applied >= floor, "entries up to {floor} may be gone from the log, the rows are as of {applied}");
    run.replay();
    run.check();
}

#[tokio::test(start_paused = true)]
async fn background_work_does_not_rest_while_somebody_waits() {
    let run = Run::new().await;
    let partition = run.partition();
    let rested = async || {
        let began = tokio::time::Instant::now();
        partition.rest(Duration::from_secs(1)).await;
        began.elapsed()
    };
    assert!(rested().await > Duration::from_secs(1), "memory has room");
    let (one, other) = (partition.hurry(), partition.hurry());
    assert_eq!(rested().await, Duration::ZERO);
    drop(one);
    assert_eq!(rested().await, Duration::ZERO);
    drop(other);
    assert!(rested().await > Duration::from_secs(1));
}

#[test]
fn rows_come_back_from_files_and_the_log_behind_them_whatever_happened_between() {
    for seed in 1..60 {
        runtime().block_on(async {
            let (mut run, mut dice) = (Run::new().await, Dice::new(seed));
            for _ in 0..120 {
                for _ in 0..dice.roll(8) {
                    write(&mut run, &mut dice);
                }
                let partition = run.partition();
                match dice.roll(12) {
                    0..=4 => drop(partition.flush().await.unwrap()),
                    5 => drop(partition.seal(false).await.unwrap()),
                    6 => drop(partition.snapshot().await.unwrap()),
                    7 => partition.flush_some(1).await.unwrap(),
                    8 => {
                        partition.seal_only().await;
                        drop(partition);
                        die(&mut run, &mut dice).await;
                    }
                    9 => {
                        let newest = partition.newest();
                        if let Some(newest) = newest {
                            let whole = partition.whole(&newest).await.unwrap();
                            assert_eq!(whole.before, newest.before);
                        }
                    }
                    10 => {
                        drop(partition);
                        die(&mut run, &mut dice).await;
                    }
                    _ => {}
                }
                run.check();
            }
        });
    }
}

/// As above, but a walk over the rows is under way while rows come and go and are flushed.
#[test]
fn rows_that_come_and_go_while_a_snapshot_is_written_do_not_come_back() {
    for seed in 1..40 {
        runtime().block_on(async {
            let (mut run, mut dice) = (Run::new().await, Dice::new(seed));
            // Enough for several runs of a snapshot.
            for n in 100..700 {
                run.entry(vec![(n, Some(3000))]);
            }
            run.partition().flush().await.unwrap();
            for _ in 0..3 {
                write(&mut run, &mut dice);
            }
            let partition = run.partition();
            let walking = partition.clone();
            let walk = async move { walking.make_snapshot(false).await };
            tokio::pin!(walk);
            loop {
                tokio::select! {
                    biased;
                    made = &mut walk => break drop(made.unwrap()),
                    () = tokio::task::yield_now() => {
                        write(&mut run, &mut dice);
                        if dice.roll(6) == 0 {
                            partition.flush().await.unwrap();
                        }
                    }
                }
            }
            for _ in 0..dice.roll(5) {
                write(&mut run, &mut dice);
            }
            partition.flush().await.unwrap();
            let (applied, floor) = (partition.applied().index, partition.log_floor());
            drop(partition);
            run.lose_engine().await;
            assert_eq!((run.partition().applied().index, floor), (applied, applied), "seed {seed}");
            run.check();
        });
    }
}

#[test]
fn a_few_files_hold_many_flushes_and_a_snapshot_is_made_of_files() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        let mut most = 0;
        for n in 0..300u16 {
            run.entry(vec![(n, Some(500)), (n / 2, None)]);
            run.partition().flush().await.unwrap();
            most = most.max(files(&run, ".layer").len());
        }
        assert!(most <= 10, "{most} layers");
        let partition = run.partition();
        assert_eq!((partition.snapshots().len(), partition.log_floor()), (0, 300));
        // The first seal makes a snapshot of the layers, so that two generations hold everything.
        let sealed = partition.seal(false).await.unwrap();
        assert_eq!((sealed.before.index, sealed.after_index), (300, 300));
        assert_eq!(partition.snapshots(), std::slice::from_ref(&sealed));
        run.entry(vec![(3, None)]);
        let newest = partition.seal(false).await.unwrap();
        assert_eq!((newest.before.index, partition.snapshots().len()), (301, 1), "a layer is enough");
        let other = Run::new().await;
        let whole = partition.whole(&newest).await.unwrap();
        let mut incoming = other.partition().receive_snapshot(whole.bytes).await.unwrap();
        incoming
            .write(0, partition.read_snapshot_piece(&whole.id, 0, whole.bytes as usize).await.unwrap())
            .await
            .unwrap();
        other.partition().install_snapshot(&incoming.finish_over().await.unwrap().id).await.unwrap();
        assert_eq!(other.partition().hash().await.unwrap(), partition.hash().await.unwrap());
        let reader = Reader::open(&run.fs, &whole.path).unwrap();
        assert_eq!((reader.kind, reader.foot.rows), (Kind::Whole, run.model.len() as u64));
        // Two snapshots later the layers below the older are gone.
        run.entry(vec![(4, None)]);
        partition.snapshot().await.unwrap();
        partition.flush().await.unwrap();
        for layer in files(&run, ".layer") {
            let layer = Reader::open(&run.fs, &layer).unwrap();
            assert!(layer.head.before.index > 301, "{:?}", layer.head);
        }
    });
}

#[test]
fn a_damaged_file_is_never_served_and_the_rest_is_used() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry((0..200).map(|n| (n, Some(100))).collect());
        run.partition().seal(false).await.unwrap();
        run.entry(vec![(1, Some(9)), (2, None)]);
        run.partition().flush().await.unwrap();
        run.entry(vec![(3, Some(9))]);
        let whole: Vec<_> = {
            let files = run.fs.0.lock().unwrap();
            files.iter().map(|(path, c)| (path.clone(), c.lock().unwrap().clone())).collect()
        };
        assert_eq!((files(&run, ".layer").len(), files(&run, ".snap").len()), (2, 1));
        for (path, content) in &whole {
            for bit in (0..content.len() * 8).step_by(97) {
                run.fs.flip(&path.to_string_lossy(), bit);
                run.lose_engine().await;
                // The log is whole here; what was cut off of it comes from a peer.
                run.replay();
                run.check();
                let mut files = run.fs.0.lock().unwrap();
                files.clear();
                files.extend(whole.iter().map(|(p, c)| (p.clone(), std::sync::Arc::new(c.clone().into()))));
            }
            // A snapshot that is lost costs nothing: the layers reach back to the beginning.
            run.fs.remove_file(path).unwrap();
            run.lose_engine().await;
            let snapshot = path.extension().is_some_and(|end| end == "snap");
            assert_eq!(
                run.partition().applied().index == 2,
                snapshot || path.ends_with("d00000000000000000000-00000000000000000001.layer"),
                "{path:?}"
            );
            run.replay();
            run.check();
            let mut files = run.fs.0.lock().unwrap();
            files.clear();
            files.extend(whole.iter().map(|(p, c)| (p.clone(), std::sync::Arc::new(c.clone().into()))));
        }
    });
}

/// A layer could not be read at one start and could at the next: rows that had been deleted meanwhile came back (simulation,
/// seed 189).
#[test]
fn a_file_that_comes_back_brings_no_deleted_row_back() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry(vec![(1, Some(9))]);
        run.partition().snapshot().await.unwrap();
        run.entry(vec![(2, Some(9))]);
        run.partition().flush().await.unwrap();
        let layer = files(&run, ".layer").pop().unwrap();
        let content = run.fs.0.lock().unwrap()[&layer].lock().unwrap().clone();
        // Its bytes cannot be read, its name can: it is not removed in the file system of a real node.
        let named = super::layers::named_until(&run.fs, "/store".as_ref(), 1);
        assert_eq!(named, 2);
        run.fs.0.lock().unwrap().get(&layer).unwrap().lock().unwrap().clear();
        run.lose_engine().await;
        run.fs.0.lock().unwrap().insert(layer, std::sync::Arc::new(content.into()));
        run.replay();
        run.entry(vec![(2, None)]);
        run.partition().flush().await.unwrap();
        run.lose_engine().await;
        run.replay();
        run.check();
    });
}

/// As above, where the rows are rebuilt by a running node.
#[test]
fn a_file_that_a_rebuild_did_without_brings_no_deleted_row_back() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry(vec![(1, Some(9))]);
        run.partition().snapshot().await.unwrap();
        run.entry(vec![(2, Some(9))]);
        run.partition().flush().await.unwrap();
        let layer = files(&run, ".layer").pop().unwrap();
        // It does not open now, which says nothing of its bytes.
        let content = run.fs.0.lock().unwrap().remove(&layer).unwrap();
        assert_eq!(run.partition().rebuild().await.unwrap().unwrap().before.index, 1, "as of the snapshot");
        run.fs.0.lock().unwrap().insert(layer, content);
        run.replay();
        run.entry(vec![(2, None)]);
        run.partition().flush().await.unwrap();
        run.lose_engine().await;
        run.replay();
        run.check();
    });
}

#[test]
fn a_layer_that_rots_beside_whole_rows_is_made_up_for() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        for n in 0..3 {
            run.entry(vec![(n, Some(400))]);
            run.partition().seal(false).await.unwrap();
        }
        let partition = run.partition();
        let layer = files(&run, ".layer").pop().unwrap();
        run.fs.flip(&layer.to_string_lossy(), 900);
        let pace = crate::seam::pace::Pace::new(u64::MAX);
        assert_eq!(partition.verify_layers(&pace).await, 1);
        assert!(partition.log_floor() < 3, "what no file holds stays in the log");
        partition.seal(false).await.unwrap();
        assert_eq!(partition.newest().unwrap().before.index, 3);
        assert_eq!(partition.verify_layers(&pace).await, 0);
        run.lose_engine().await;
        assert_eq!(run.partition().applied().index, 3);
        run.check();
    });
}

/// A replica of `of` that has followed its log, and a snapshot of `of` all of which it has received.
async fn follower(of: &Run) -> (Run, crate::store::Incoming) {
    let mut here = Run::new().await;
    (here.log, here.model) = (of.log.clone(), of.model.clone());
    here.replay();
    let info = of.partition().snapshot().await.unwrap();
    let mut incoming = here.partition().receive_snapshot(info.bytes).await.unwrap();
    let whole = of.partition().read_snapshot_piece(&info.id, 0, info.bytes as usize).await.unwrap();
    incoming.write(0, whole).await.unwrap();
    (here, incoming)
}

#[test]
fn a_snapshot_that_came_and_was_not_installed_brings_no_row_back() {
    runtime().block_on(async {
        let mut there = Run::new().await;
        there.entry(vec![(1, Some(10)), (2, Some(10))]);
        // In time: the deletion after it leaves a mark, though the row never was at rest here.
        let (mut here, incoming) = follower(&there).await;
        assert!(incoming.finish().await.unwrap().is_some());
        here.entry(vec![(1, None)]);
        here.partition().flush().await.unwrap();
        here.lose_engine().await;
        here.replay();
        here.check();
        // Too late: the row came and went without a mark.
        let (mut here, incoming) = follower(&there).await;
        here.entry(vec![(1, None)]);
        assert!(incoming.finish().await.unwrap().is_none());
        assert_eq!(here.partition().snapshots(), []);
        here.partition().flush().await.unwrap();
        here.lose_engine().await;
        here.replay();
        here.check();
    });
}

#[test]
fn a_snapshot_in_the_place_of_later_rows_is_not_read_with_their_layers() {
    runtime().block_on(async {
        let mut there = Run::new().await;
        there.entry(vec![(1, Some(10)), (2, Some(10))]);
        let (mut here, incoming) = follower(&there).await;
        here.entry(vec![(1, None)]);
        here.partition().flush().await.unwrap();
        let info = incoming.finish_over().await.unwrap();
        here.partition().install_snapshot(&info.id).await.unwrap();
        here.lose_engine().await;
        here.replay();
        here.check();
        assert_eq!(files(&here, ".layer"), Vec::<PathBuf>::new());
    });
}

#[test]
fn many_layers_become_few_before_they_become_a_snapshot() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        let partition = run.partition();
        // A snapshot is being written all the time, so that nobody joins the layers.
        let turn = partition.snapshot_turn.lock().await;
        for n in 0..50 {
            run.entry(vec![(n, Some(100)), (n / 2, None)]);
            partition.flush().await.unwrap();
        }
        drop(turn);
        assert_eq!(files(&run, ".layer").len(), 50);
        let newest = partition.newest().unwrap();
        assert_eq!(partition.whole(&newest).await.unwrap().before, newest.before);
        assert!(files(&run, ".layer").len() <= 16, "{:?}", files(&run, ".layer"));
        drop(partition);
        run.lose_engine().await;
        run.replay();
        run.check();
    });
}
