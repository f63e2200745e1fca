//! Bytes that go bad on the disk (P7): found, told apart from a torn end, repaired only with what was there.

use super::{
    model::{Plain, contents},
    *,
};
use crate::seam::fs::Open;
use crate::seam::sim::{SimRng, SimWorld, fs::Call};
use std::path::Path;

const DIR: &str = "/log";

async fn open(sim: &SimWorld) -> Result<(Log, Vec<Damage>), LogError> {
    Log::open(sim.world(), DIR.into(), LogOptions { cache_bytes: 0, ..small() }).await
}

/// Two groups, 30 entries each of 1,500 bytes: a little more than one segment; closed cleanly.
async fn filled(sim: &SimWorld) {
    let (log, _) = open(sim).await.unwrap();
    log.group(1).save_vote(Bytes::from_static(b"vote")).await.unwrap();
    for i in 0..30 {
        append(&log.group(1), vec![record(i, 1, 1_500)]).await.unwrap();
        append(&log.group(2), vec![record(i, 2, 1_500)]).await.unwrap();
    }
    log.close().await;
}

fn segment(sequence: u32) -> std::path::PathBuf {
    Path::new(DIR).join(super::super::segment::name(sequence))
}

/// Where group 1's entry `index` lies in the first segment, by its payload, which is one byte over and over.
fn place_of(sim: &SimWorld, index: u64, term: u64) -> u64 {
    place_in(sim, 1, index, term)
}

fn place_in(sim: &SimWorld, sequence: u32, index: u64, term: u64) -> u64 {
    let file = sim.world().fs.open(&segment(sequence), crate::seam::fs::Open::Read).unwrap();
    let mut all = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut all).unwrap();
    let want = record(index, term, 1_500).payload;
    all.windows(want.len()).position(|w| w == want).unwrap() as u64
}

/// The segment that is written to.
fn last(sim: &SimWorld) -> std::path::PathBuf {
    let used = |path: &std::path::PathBuf| {
        let mut header = [0; 8];
        sim.world().fs.open(path, Open::Read).unwrap().read_at(0, &mut header).unwrap();
        header != [0; 8]
    };
    sim.fs.files().into_iter().map(|(path, _)| path).rfind(used).unwrap()
}

#[tokio::test]
async fn a_flipped_bit_in_the_middle_is_damage_and_is_repaired_for_good() {
    let sim = SimWorld::new(1, 1 << 30);
    filled(&sim).await;
    sim.fs.flip(&segment(1), place_of(&sim, 5, 1) + 700, 3);
    let (log, damage) = open(&sim).await.unwrap();
    assert_eq!(damage, [Damage { group: 1, range: 5..6 }]);
    let group = log.group(1);
    assert_eq!(group.state().last, Some((29, 1, 65537)), "never the end of the log");
    assert_eq!(group.read(0..30, 1 << 20).await.unwrap().len(), 5);
    assert_eq!(group.read(5..6, 1).await.err().map(|e| e.kind()), Some(io::ErrorKind::InvalidData));
    assert_eq!(group.read(6..7, 1).await.unwrap(), [record(6, 1, 1_500)]);
    // What a peer sends must be what was lost.
    let wrong = [record(5, 2, 1_500), record(5, 1, 1_499), LogRecord { leader: 9, ..record(5, 1, 1_500) }];
    for other in wrong {
        let refused = group.repair(vec![other]).await;
        assert_eq!(refused.err().map(|e| e.kind()), Some(io::ErrorKind::InvalidData));
    }
    group.repair(vec![record(4, 1, 1_500), record(5, 1, 1_500), record(6, 1, 1_500)]).await.unwrap();
    assert_eq!(group.holes(), []);
    drop(group);
    drop(log);
    tokio::task::yield_now().await;
    sim.fs.crash();
    let (log, damage) = open(&sim).await.unwrap();
    assert_eq!(damage, []);
    assert_eq!(
        log.group(1).read(0..30, 1 << 20).await.unwrap(),
        (0..30).map(|i| record(i, 1, 1_500)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_smeared_stretch_of_records_is_damage_to_each_group_it_held() {
    let sim = SimWorld::new(2, 1 << 30);
    filled(&sim).await;
    // From within entry 5 of group 1, over heads, into entry 8.
    let (from, to) = (place_of(&sim, 5, 1) + 10, place_of(&sim, 8, 1) + 10);
    sim.fs.smear(&segment(1), from, (to - from) as usize, 0xee);
    let (log, damage) = open(&sim).await.unwrap();
    assert_eq!(damage, [Damage { group: 1, range: 5..9 }, Damage { group: 2, range: 5..8 }]);
    let part = log.group(1).repair((5..8).map(|i| record(i, 1, 1_500)).collect()).await;
    assert_eq!(part.err().map(|e| e.kind()), Some(io::ErrorKind::InvalidData), "a part proves nothing");
    log.group(1).repair((0..30).map(|i| record(i, 1, 1_500)).collect()).await.unwrap();
    log.group(2).repair((5..8).map(|i| record(i, 2, 1_500)).collect()).await.unwrap();
    log.close().await;
    let (log, damage) = open(&sim).await.unwrap();
    assert_eq!(damage, []);
    let all = contents(&log).await;
    assert_eq!(all[&1].entries.len() + all[&2].entries.len(), 60);
    assert_eq!(all[&1].vote.as_deref(), Some(&b"vote"[..]));
}

#[tokio::test]
async fn a_bad_last_record_is_cut_only_where_nothing_proves_it_durable() {
    for closed in [false, true] {
        let sim = SimWorld::new(3, 1 << 30);
        let (log, _) = open(&sim).await.unwrap();
        for i in 0..3 {
            append(&log.group(1), vec![record(i, 1, 1_500)]).await.unwrap();
        }
        if closed {
            log.close().await;
        } else {
            drop(log);
            sim.fs.cut_power_after(1);
            tokio::task::yield_now().await;
            sim.fs.crash();
        }
        sim.fs.flip(&segment(1), place_of(&sim, 2, 1) + 3, 1);
        let (log, damage) = open(&sim).await.unwrap();
        if closed {
            assert_eq!(damage, [Damage { group: 1, range: 2..3 }]);
        } else {
            assert_eq!(damage, [], "a torn write looks like this");
            assert_eq!(log.group(1).state().last, Some((1, 1, 65537)));
        }
    }
}

#[tokio::test]
async fn quiet_proves_the_last_write() {
    let sim = SimWorld::new(4, 1 << 30);
    let (log, _) = open(&sim).await.unwrap();
    append(&log.group(1), vec![record(0, 1, 1_500)]).await.unwrap();
    let before = sim.fs.calls();
    while sim.fs.calls() < before + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(log);
    sim.fs.crash();
    sim.fs.flip(&segment(1), place_of(&sim, 0, 1) + 3, 1);
    let (_log, damage) = open(&sim).await.unwrap();
    assert_eq!(damage, [Damage { group: 1, range: 0..1 }]);
}

#[tokio::test]
async fn bad_headers_and_lost_segments_cost_entries_not_the_log() {
    // One header copy is enough; without both, the segment's records still speak for themselves.
    for smeared in [512, 4096] {
        let sim = SimWorld::new(5, 1 << 30);
        filled(&sim).await;
        sim.fs.smear(&segment(1), 0, smeared, 0xaa);
        let (log, damage) = open(&sim).await.unwrap();
        assert_eq!(damage, []);
        assert_eq!(contents(&log).await[&1].entries.len(), 30);
    }
    let sim = SimWorld::new(6, 1 << 30);
    filled(&sim).await;
    sim.world().fs.remove_file(&segment(1)).unwrap();
    let (log, damage) = open(&sim).await.unwrap();
    assert!(damage.iter().all(|d| d.range.start == 0) && damage.len() == 2, "{damage:?}");
    assert_eq!(log.group(1).state().vote.as_deref(), Some(&b"vote"[..]), "the next segment repeats it");
    assert_eq!(log.group(1).state().last, Some((29, 1, 65537)));
}

/// The simulation found (its seed 24) that a sector which cannot be read in the last segment's header made that segment a
/// spare: everything in it, acknowledged long ago, was gone without a word.
#[tokio::test]
async fn the_last_segment_is_never_taken_for_a_spare() {
    let zeroed = SimWorld::new(8, 1 << 30);
    filled(&zeroed).await;
    zeroed.fs.smear(&last(&zeroed), 0, 4096, 0);
    let (log, damage) = open(&zeroed).await.unwrap();
    assert_eq!(damage, []);
    assert_eq!(contents(&log).await[&1].entries.len(), 30);
    // Whichever read fails: the log is whole, or it does not open, or it says what is missing.
    for (after, times) in (0..40).flat_map(|after| (1..4).map(move |times| (after, times))) {
        let sim = SimWorld::new(8, 1 << 30);
        filled(&sim).await;
        let name = last(&sim).file_name().unwrap().to_string_lossy().into_owned();
        sim.fs.fail(Call::Read, &name, after, times, io::ErrorKind::Other);
        match open(&sim).await {
            Ok((log, damage)) => {
                sim.fs.mend();
                assert_eq!(log.group(1).state().last, Some((29, 1, 65537)), "reads {after} to {}", after + times);
                if damage.is_empty() {
                    assert_eq!(contents(&log).await[&1].entries.len(), 30);
                }
            }
            Err(LogError::Io(_) | LogError::StateLost { .. }) => {}
            Err(e) => panic!("reads {after} to {}: {e}", after + times),
        }
    }
}

/// Fuzzing found that wiping a torn record could take away the only proof that a damaged one before it had been durable: the
/// next crash made the damage the end of the log, and an acknowledged entry was gone.
#[tokio::test]
async fn what_proves_damage_stays_until_something_else_proves_it() {
    for calls in 1..40 {
        let sim = SimWorld::new(10, 1 << 30);
        let (log, _) = open(&sim).await.unwrap();
        for i in 0..3 {
            append(&log.group(1), vec![record(i, 1, 1_500)]).await.unwrap();
        }
        sim.fs.crash();
        drop(log);
        sim.fs.flip(&segment(1), place_of(&sim, 1, 1) + 700, 3);
        sim.fs.smear(&segment(1), place_of(&sim, 2, 1) + 1_400, 100, 0xee);
        sim.fs.cut_power_after(calls);
        drop(open(&sim).await);
        sim.fs.crash();
        let (log, damage) = open(&sim).await.unwrap();
        assert_eq!(damage, [Damage { group: 1, range: 1..2 }], "the power went after {calls} calls");
        assert_eq!(log.group(1).state().last, Some((1, 1, 65537)));
    }
}

#[tokio::test]
async fn a_log_that_was_cut_short_does_not_pass_for_a_whole_one() {
    for (len, whole) in [(0, false), (5_000, false), (20_000, false), (64 << 10, true)] {
        let sim = SimWorld::new(9, 1 << 30);
        filled(&sim).await;
        sim.fs.cut(&last(&sim), len);
        match open(&sim).await {
            Ok((log, damage)) if whole => {
                assert_eq!(damage, []);
                assert_eq!(contents(&log).await[&1].entries.len(), 30);
            }
            Err(LogError::StateLost { .. }) if !whole => {}
            other => panic!("cut to {len}: {:?}", other.map(|(_, damage)| damage)),
        }
    }
}

#[tokio::test]
async fn a_lost_vote_stops_the_node() {
    let sim = SimWorld::new(7, 1 << 30);
    let (log, _) = open(&sim).await.unwrap();
    append(&log.group(1), vec![record(0, 1, 1_500)]).await.unwrap();
    log.group(1).save_vote(Bytes::from(vec![0xcc; 64])).await.unwrap();
    // Still in the batch that repeats the vote: only then is it there twice.
    append(&log.group(1), vec![record(1, 1, 1_500)]).await.unwrap();
    append(&log.group(1), vec![record(2, 1, 1_500)]).await.unwrap();
    drop(log);
    sim.fs.cut_power_after(1);
    tokio::task::yield_now().await;
    sim.fs.crash();
    let first = {
        let file = sim.world().fs.open(&segment(1), crate::seam::fs::Open::Read).unwrap();
        let mut all = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut all).unwrap();
        all.windows(64).position(|w| w == [0xcc; 64]).unwrap() as u64
    };
    sim.fs.flip(&segment(1), first + 5, 0);
    let (log, damage) = open(&sim).await.unwrap();
    assert_eq!((damage, log.group(1).state().vote), (vec![], Some(Bytes::from(vec![0xcc; 64]))));
    drop(log);
    sim.fs.crash();
    // Both copies, with the later ones gone too: nobody can say what the vote was.
    sim.fs.smear(&segment(1), first - 10, (place_of(&sim, 2, 1) - first) as usize - 100, 0xee);
    let later = place_of(&sim, 2, 1) + 1_500;
    sim.fs.smear(&segment(1), later, (64 << 10) - later as usize, 0);
    let opened = open(&sim).await;
    assert!(matches!(opened, Err(LogError::StateLost { .. }) | Ok(_)));
    if let Ok((log, damage)) = opened {
        panic!("opened with {:?} and {damage:?}", log.group(1).state());
    }
}

#[tokio::test]
async fn damage_found_by_a_read_is_reported_and_repaired() {
    let sim = SimWorld::new(8, 1 << 30);
    let (log, _) = open(&sim).await.unwrap();
    let group = log.group(1);
    for i in 0..10 {
        append(&group, vec![record(i, 1, 1_500)]).await.unwrap();
    }
    sim.fs.flip(&segment(1), place_of(&sim, 4, 1), 0);
    assert_eq!(group.read(0..10, 1 << 20).await.unwrap().len(), 4);
    assert_eq!(group.read(4..10, 1 << 20).await.err().map(|e| e.kind()), Some(io::ErrorKind::InvalidData));
    assert_eq!(group.holes(), vec![std::ops::Range { start: 4, end: 5 }]);
    group.repair(vec![record(4, 1, 1_500)]).await.unwrap();
    assert_eq!(group.read(0..10, 1 << 20).await.unwrap().len(), 10);
}

/// Reading ahead met the end of the file, and an entry that lay whole before it was taken for damaged (simulation, seed 123).
#[tokio::test]
async fn a_file_that_is_cut_short_has_what_lies_before_the_cut() {
    let sim = SimWorld::new(9, 1 << 30);
    let (log, _) = open(&sim).await.unwrap();
    let group = log.group(1);
    for i in 0..10 {
        append(&group, vec![record(i, 1, 1_500)]).await.unwrap();
    }
    sim.fs.cut(&segment(1), place_of(&sim, 7, 1));
    assert_eq!(group.read(0..10, 1 << 20).await.unwrap().len(), 7);
    assert_eq!(group.holes(), vec![std::ops::Range { start: 7, end: 8 }]);
}

/// Whatever is smeared before the last record: no entry is ever wrong, and no group is shorter than it was or has another vote,
/// unless the log says that it does not know.
#[tokio::test]
async fn random_smears_never_give_a_wrong_answer() {
    let (mut repaired, mut refused) = (0, 0);
    for seed in 0..150 {
        let rng = SimRng::new(seed);
        let sim = SimWorld::new(seed, 1 << 30);
        filled(&sim).await;
        let end = place_in(&sim, 2, 29, 2) + 1_500;
        for _ in 0..1 + rng.below(3) {
            let (at, len) = (rng.below(64 << 10), 1 + rng.below(6_000));
            let sequence = 1 + rng.below(2) as u32;
            // The checkpoint at the very end is what proves that the entries before it were durable.
            let len = if sequence == 2 { len.min(end.saturating_sub(at)) } else { len };
            sim.fs.smear(&segment(sequence), at, len as usize, rng.below(256) as u8);
        }
        let log = match open(&sim).await {
            Ok((log, damage)) => {
                for d in damage {
                    let records = d.range.clone().map(|i| record(i, u64::from(d.group), 1_500)).collect();
                    log.group(d.group).repair(records).await.unwrap_or_else(|e| panic!("seed {seed} {d:?}: {e}"));
                    repaired += 1;
                }
                log
            }
            Err(LogError::StateLost { .. }) => {
                refused += 1;
                continue;
            }
            Err(e) => panic!("seed {seed}: {e}"),
        };
        let all = contents(&log).await;
        for (id, term) in [(1, 1), (2, 2)] {
            let entries = (0..30).map(|i| (i, record(i, term, 1_500))).collect();
            let vote = (id == 1).then(|| Bytes::from_static(b"vote"));
            assert_eq!(all[&id], Plain { vote, purged: None, entries }, "seed {seed}");
        }
    }
    assert!(repaired > 100 && refused < 30, "{repaired} {refused}");
}

#[tokio::test]
async fn what_rots_under_a_running_log_is_found_and_mended() {
    let sim = SimWorld::new(7, 1 << 30);
    let (log, _) = open(&sim).await.unwrap();
    for i in 0..30 {
        append(&log.group(1), vec![record(i, 1, 1_500)]).await.unwrap();
    }
    let pace = Pace::new(u64::MAX);
    assert_eq!(log.scrub(&pace).await, []);
    assert!(pace.bytes() >= 30 * 1_500);
    sim.fs.flip(&segment(1), place_of(&sim, 5, 1) + 700, 3);
    sim.fs.smear(&segment(1), place_of(&sim, 20, 1) - 40, 30, 0xee);
    let damage = [Damage { group: 1, range: 5..6 }, Damage { group: 1, range: 20..21 }];
    assert_eq!(log.scrub(&pace).await, damage);
    log.group(1).repair((0..30).map(|i| record(i, 1, 1_500)).collect()).await.unwrap();
    assert_eq!(log.scrub(&pace).await, []);
    log.close().await;
    let (log, damage) = open(&sim).await.unwrap();
    assert_eq!(damage, []);
    assert_eq!(log.group(1).read(0..30, 1 << 20).await.unwrap().len(), 30);
}
