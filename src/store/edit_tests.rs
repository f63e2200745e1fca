//! Edits beside blocks: when they are written and when folded in, what damage to them does, stores of earlier releases.

use super::block::Builder;
use super::index::{DATA, EDITS, INDEX, Place};
use super::testing::*;
use super::*;
use crate::seam::pace::Pace;

/// 400 rows of some 230 bytes at rest, in blocks of 12 KiB each.
async fn filled() -> Run {
    let mut run = Run::new().await;
    run.entry((0..400).map(|n| (n, Some(220))).collect());
    run.partition().flush().await.unwrap();
    let (blocks, edited) = run.check_tree();
    assert!(blocks > 6 && edited == 0, "{blocks} blocks");
    run
}

async fn flushed(run: &mut Run, changes: Vec<(u16, Option<u16>)>) {
    run.entry(changes);
    run.partition().flush().await.unwrap();
    run.check();
}

/// Changes what the engine holds under a key.
fn meddle(run: &Run, (key, value): (Bytes, Bytes), change: impl FnOnce(&mut Vec<u8>)) {
    let mut bad = value.to_vec();
    change(&mut bad);
    run.tree().batch(vec![(key, Some(bad.into()))]).unwrap();
}

#[test]
fn a_few_changes_lie_beside_their_block_until_they_weigh_a_quarter_of_it() {
    runtime().block_on(async {
        let mut run = filled().await;
        let blocks = run.at_rest(DATA);
        let mut flushes = 0;
        while run.at_rest(DATA) == blocks {
            let before = run.at_rest(EDITS);
            // Overwritten, deleted, new; again and again in the same block.
            let n = 3 + flushes % 40;
            flushed(&mut run, vec![(n, Some(150)), (n + 1, None), (399, Some(7 + flushes))]).await;
            flushes += 1;
            assert_ne!(run.at_rest(EDITS), before);
            assert!(run.check_tree().1 <= 2);
        }
        assert!((4..20).contains(&flushes), "{flushes} flushes until the first block was rewritten");
        assert_eq!(run.check_tree().1, 1, "its edits went, those of the last block stayed");
        run.restart().await;
        run.replay();
        run.check();
    });
}

#[test]
fn deleted_rows_do_not_stay_for_long_because_their_marks_are_small() {
    runtime().block_on(async {
        let mut run = filled().await;
        for n in 0..200 {
            flushed(&mut run, vec![(n, None)]).await;
        }
        let left: usize = run.at_rest(DATA).len();
        assert!(left <= 7, "{left} blocks for 200 rows");
        flushed(&mut run, (200..400).map(|n| (n, None)).collect()).await;
        assert_eq!((run.check_tree(), run.at_rest(INDEX).len()), ((0, 0), 0));
    });
}

#[test]
fn blocks_split_and_join_with_the_edits_beside_them() {
    runtime().block_on(async {
        let mut run = filled().await;
        let (blocks, _) = run.check_tree();
        let everywhere = |len: Option<u16>, off: u16| (0..400).step_by(20).map(|n| (n + off, len)).collect::<Vec<_>>();
        flushed(&mut run, everywhere(Some(200), 0)).await;
        assert_eq!(run.check_tree(), (blocks, blocks), "every block has edits");
        flushed(&mut run, (0..400).filter(|n| n % 3 == 0).map(|n| (n, Some(600))).collect()).await;
        let (split, _) = run.check_tree();
        assert!(split > blocks, "{split} blocks of {blocks}");
        flushed(&mut run, everywhere(None, 7)).await;
        assert!(run.check_tree().1 > blocks / 2, "edits lie beside blocks that are to be joined");
        flushed(&mut run, (0..390).filter(|n| n % 20 != 0).map(|n| (n, None)).collect()).await;
        let (joined, _) = run.check_tree();
        assert!(joined <= blocks / 3, "{joined} blocks of {split}");
    });
}

#[test]
fn a_crash_between_pieces_leaves_blocks_and_edits_that_agree() {
    runtime().block_on(async {
        for pieces in 0..6 {
            let mut run = Run::new().await;
            run.entry((0..2000).map(|n| (n, Some(220))).collect());
            run.partition().flush().await.unwrap();
            let change = |n: u16| (n, (!n.is_multiple_of(3)).then_some(100));
            run.entry((0..2000).step_by(13).map(change).chain((900..1000).map(change)).collect());
            run.partition().flush_some(pieces).await.unwrap();
            run.check_tree();
            run.check();
            run.restart().await;
            run.replay();
            run.check();
            run.partition().flush().await.unwrap();
            run.check();
            assert!(run.check_tree().1 > 20);
        }
    });
}

#[test]
fn damaged_edits_are_found_by_each_way_to_read_and_never_served() {
    runtime().block_on(async {
        for (damage, way) in (0..3).flat_map(|damage| (0..4).map(move |way| (damage, way))) {
            let mut run = filled().await;
            run.partition().snapshot().await.unwrap();
            flushed(&mut run, vec![(5, Some(1)), (6, None)]).await;
            run.restart().await;
            let (edits, other) = (run.at_rest(EDITS).remove(0), run.at_rest(DATA).remove(0).1);
            match damage {
                0 => meddle(&run, edits, |value| value[20] ^= 4),
                1 => meddle(&run, edits, |value| *value = other.to_vec()),
                _ => run.tree().batch(vec![(edits.0, None)]).unwrap(),
            }
            let partition = run.partition();
            let failed = match way {
                0 => partition.get(&key(5)).map(|_| 0),
                1 => partition.scan(key(0)..key(9), false, 99).map(|rows| rows.len()),
                2 => partition.scrub(&Pace::new(u64::MAX)).await.map(|blocks| blocks as usize),
                _ => {
                    run.entry(vec![(7, Some(1))]);
                    partition.flush().await.map(|_| 0)
                }
            };
            assert!(matches!(failed, Err(StoreError::Corrupt(_))), "damage {damage}, way {way}: {failed:?}");
            assert!(partition.is_damaged() && !partition.servable());
            drop(partition);
            run.restart().await;
            assert_eq!(run.store.healed().len(), 1);
            run.replay();
            run.check();
            run.partition().flush().await.unwrap();
            run.check_tree();
        }
    });
}

#[test]
fn a_store_of_an_earlier_release_is_read_and_its_index_learns_sizes() {
    runtime().block_on(async {
        let mut run = filled().await;
        for entry in run.at_rest(INDEX) {
            meddle(&run, entry, |value| value.truncate(8));
        }
        run.restart().await;
        run.replay();
        run.check();
        flushed(&mut run, vec![(5, Some(1))]).await;
        assert_eq!(run.check_tree().1, 0, "rewritten while its size is not known");
        assert!(Place::read(&run.at_rest(INDEX)[0]).unwrap().size.rows > 40);
        flushed(&mut run, vec![(5, Some(2))]).await;
        assert_eq!(run.check_tree().1, 1);
    });
}

/// What an earlier release would look for: the id as it stands in the index.
#[test]
fn an_earlier_release_finds_no_block_where_there_are_edits() {
    runtime().block_on(async {
        let mut run = filled().await;
        flushed(&mut run, vec![(5, Some(1))]).await;
        let (_, value) = run.at_rest(INDEX).remove(0);
        let key = [&[DATA], &value[..8]].concat();
        assert_eq!(run.tree().get(&key).unwrap(), None);
    });
}

#[test]
fn blocks_of_any_size_have_a_weight_that_folds() {
    runtime().block_on(async {
        // One row that is longer than a block, then small ones beside it.
        let mut run = Run::new().await;
        flushed(&mut run, vec![(7, Some(60_000))]).await;
        for n in 0..200 {
            flushed(&mut run, vec![(n % 14, Some(400))]).await;
        }
        let mut rows = Builder::default();
        run.model.iter().for_each(|(key, value)| rows.push(key, value));
        assert!(rows.raw_len() < 8000);
        let held: usize = run.at_rest(DATA).iter().chain(&run.at_rest(EDITS)).map(|(_, value)| value.len()).sum();
        assert!(held < 16_000, "{held} bytes for {}", rows.raw_len());
    });
}
