//! The partition against a plain map: random writes, flushes, snapshots, crashes in the middle of flushes, replays.

use super::index::{DATA, EDITS};
use super::testing::*;
use super::*;
use crate::seam::pace::Pace;
use proptest::{prelude::*, test_runner};

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// One entry: (key, value length or `None` to delete).
    Entry(Vec<(u16, Option<u16>)>),
    Flush,
    /// Merge this many pieces of a flush, then die.
    CrashInFlush(usize),
    Crash,
    Scan(u16, u16, bool, usize),
    Snapshot,
    /// The engine's files are gone.
    LoseEngine,
    /// This bit of this block, or of these edits, flips.
    Rot(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = || (0u16..400, prop_oneof![3 => (0u16..600).prop_map(Some), 2 => Just(None)]);
    let step = prop_oneof![
        6 => prop::collection::vec(change(), 1..60).prop_map(Step::Entry),
        // Few enough for a flush to put them beside their blocks.
        10 => prop::collection::vec(change(), 1..8).prop_map(Step::Entry),
        6 => Just(Step::Flush),
        2 => (0usize..4).prop_map(Step::CrashInFlush),
        1 => Just(Step::Crash),
        4 => (0u16..400, 0u16..400, any::<bool>(), 1usize..50).prop_map(|(a, b, r, l)| Step::Scan(a, b, r, l)),
        1 => Just(Step::Snapshot),
        1 => Just(Step::LoseEngine),
        1 => any::<(usize, usize)>().prop_map(|(which, bit)| Step::Rot(which, bit)),
    ];
    prop::collection::vec(step, 1..60)
}

async fn take(run: &mut Run, step: Step) {
    match step {
        Step::Entry(changes) => run.entry(changes),
        Step::Flush => {
            let reached = run.partition().flush().await.unwrap();
            assert_eq!(reached.index, run.log.len() as u64);
            run.check_tree();
        }
        Step::CrashInFlush(pieces) => {
            run.partition().flush_some(pieces).await.unwrap();
            run.check_tree();
            run.restart().await;
            run.replay();
        }
        Step::Crash => {
            run.restart().await;
            run.replay();
        }
        Step::Scan(a, b, reverse, limit) => {
            let range = key(a.min(b))..key(a.max(b));
            let got = run.partition().scan(range.clone(), reverse, limit).unwrap();
            let rows = run.model.range(range).map(|(k, v)| (k.clone(), v.clone()));
            let want: Vec<_> = if reverse { rows.rev().take(limit).collect() } else { rows.take(limit).collect() };
            assert_eq!(got, want);
        }
        Step::Snapshot => {
            run.partition().snapshot().await.unwrap();
        }
        Step::LoseEngine => {
            run.lose_engine().await;
            run.replay();
        }
        Step::Rot(which, bit) => rot(run, which, bit).await,
    }
}

/// Flips a bit at rest: reading finds it, and the next start begins again from what is whole.
async fn rot(run: &mut Run, which: usize, bit: usize) {
    let sealed: Vec<_> = [DATA, EDITS].into_iter().flat_map(|prefix| run.at_rest(prefix)).collect();
    let Some((key, value)) = sealed.get(which.checked_rem(sealed.len()).unwrap_or(0)).cloned() else { return };
    let mut bad = value.to_vec();
    bad[bit / 8 % value.len()] ^= 1 << (bit % 8);
    run.tree().batch(vec![(key, Some(bad.into()))]).unwrap();
    run.restart().await;
    let read = run.partition().scan(Bytes::new()..Bytes::from_static(b"z"), false, usize::MAX);
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    run.restart().await;
    assert_eq!(run.store.healed().len(), 1);
    run.replay();
    run.check();
}

/// What is there has the digest of a store that took all of it in one go.
async fn check_hash(run: &Run) {
    let rows = run.model.iter().map(|(key, value)| RowOp::Put { key: key.clone(), value: value.clone(), fresh: true });
    let other = Run::new().await;
    other.partition().apply(at(run.log.len() as u64), &rows.collect::<Vec<_>>());
    other.partition().flush().await.unwrap();
    assert_eq!(run.partition().hash().await.unwrap(), other.partition().hash().await.unwrap());
}

/// Takes every step and compares. Returns how many blocks were seen with edits beside them.
async fn compared(mut run: Run, steps: Vec<Step>) -> usize {
    let mut edited = 0;
    for step in steps {
        take(&mut run, step).await;
        edited += run.check_tree().1;
    }
    run.check();
    check_hash(&run).await;
    run.partition().flush().await.unwrap();
    run.check();
    check_hash(&run).await;
    run.restart().await;
    run.replay();
    run.check();
    run.partition().scrub(&Pace::new(u64::MAX)).await.unwrap();
    edited
}

/// Random histories over an engine, as many as it takes to have met enough edits: without them they show nothing of them.
fn histories(cases: u32, make: fn() -> Engine) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let edited = std::cell::Cell::new(0);
    let run = |steps| {
        edited.set(edited.get() + runtime().block_on(async { compared(Run::over(make).await, steps).await }));
        Ok(())
    };
    let mut runner = test_runner::TestRunner::new(config);
    for _ in 0..10 {
        runner.run(&steps(), run).unwrap();
        if edited.get() > cases as usize {
            return;
        }
    }
    panic!("{} edits seen", edited.get());
}

#[test]
fn any_history_reads_like_a_plain_map() {
    histories(150, memory);
}

#[test]
fn any_history_over_the_real_engine_reads_like_a_plain_map() {
    histories(12, sled);
}

#[test]
fn a_row_made_before_and_deleted_after_an_interrupted_flush_stays_deleted() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry(vec![(1, Some(3))]);
        // The flush wrote the row and died before it could say so.
        run.partition().flush_some(usize::MAX).await.unwrap();
        run.entry(vec![(1, None)]);
        run.restart().await;
        assert!(!run.partition().servable(), "rows of a later moment may be there");
        run.replay();
        run.partition().flush().await.unwrap();
        assert_eq!(run.partition().get(&key(1)).unwrap(), None);
    });
}

#[test]
fn a_row_that_lived_between_two_flushes_never_reaches_the_engine() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.partition().flush().await.unwrap();
        run.entry((0..100).map(|n| (n, Some(500))).collect());
        run.entry((0..100).map(|n| (n, None)).collect());
        assert_eq!(run.partition().memory_bytes(), 0);
        run.partition().flush().await.unwrap();
        assert_eq!(run.partition().scrub(&Pace::new(u64::MAX)).await.unwrap(), 0);
    });
}

#[test]
fn blocks_split_and_join_as_rows_come_and_go() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry((0..2000).map(|n| (n, Some(200))).collect());
        run.partition().flush().await.unwrap();
        let many = run.partition().scrub(&Pace::new(u64::MAX)).await.unwrap();
        assert!((25..50).contains(&many), "{many} blocks for 430 KB");
        run.entry((0..2000).filter(|n| n % 20 != 0).map(|n| (n, None)).collect());
        run.partition().flush().await.unwrap();
        let few = run.partition().scrub(&Pace::new(u64::MAX)).await.unwrap();
        assert!(few < many / 4, "{few} blocks for 22 KB");
        run.check();
        run.entry((0..2000).map(|n| (n, None)).collect());
        run.partition().flush().await.unwrap();
        assert_eq!(run.partition().scrub(&Pace::new(u64::MAX)).await.unwrap(), 0);
        run.entry(vec![(7, Some(1))]);
        run.partition().flush().await.unwrap();
        run.check();
    });
}

#[test]
fn a_full_table_holds_back_whoever_waits_for_room() {
    runtime().block_on(async {
        let run = Run::new().await;
        let partition = run.partition();
        let value = Bytes::from(vec![1; 60_000]);
        for n in 1..=700u64 {
            partition.room().await;
            let key = Bytes::copy_from_slice(&n.to_be_bytes());
            partition.apply(at(n), &[RowOp::Put { key, value: value.clone(), fresh: true }]);
            assert!(partition.memory_bytes() <= (32 << 20) + 70_000);
        }
        assert!(partition.durable().index > 0, "the background flush ran");
    });
}

#[test]
fn a_flipped_bit_at_rest_is_found_and_never_served() {
    runtime().block_on(async {
        let mut run = Run::new().await;
        run.entry((0..300).map(|n| (n, Some(100))).collect());
        run.partition().snapshot().await.unwrap();
        run.entry(vec![(5, Some(1))]);
        run.partition().flush().await.unwrap();
        run.restart().await;
        // One bit of one block.
        let tree = run.kv.tree("p1.1").unwrap();
        let (block, stored) = tree.range(b"D", Some(b"E"), false, 1).unwrap().remove(0);
        let mut bad = stored.to_vec();
        bad[40] ^= 4;
        tree.batch(vec![(block, Some(bad.into()))]).unwrap();
        let mut damage = run.store.damage();
        let answers: Vec<_> = (0..300).map(|n| run.partition().get(&key(n))).collect();
        assert!(answers.iter().any(|a| matches!(a, Err(StoreError::Corrupt(_)))));
        for (n, answer) in answers.into_iter().enumerate() {
            assert!(answer.is_err() || answer.unwrap() == run.model.get(&key(n as u16)).cloned());
        }
        assert!(run.partition().is_damaged() && !run.partition().servable());
        assert!(damage.borrow_and_update().contains(&1));
        assert!(run.partition().flush().await.is_ok(), "nothing to flush");
        // The next start begins again from the sealed files, and the log brings the rest.
        run.entry(vec![(6, None)]);
        run.restart().await;
        let healed = run.store.healed();
        assert_eq!(healed[0].from.as_ref().map(|s| s.before.index), Some(2));
        assert_eq!(run.partition().applied().index, 2);
        run.replay();
        run.check();
        run.restart().await;
        assert!(run.store.healed().is_empty(), "once is enough");
        run.replay();
        run.check();
    });
}
