//! What each call does, on the machine's own file system, across a close and a reopen.

use super::*;

async fn reopen(log: Log, dir: &std::path::Path) -> Log {
    log.close().await;
    let (log, damage) = Log::open(real(), dir.into(), small()).await.unwrap();
    assert_eq!(damage, []);
    log
}

#[tokio::test]
async fn entries_votes_and_marks_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(real(), dir.path().into(), small()).await.unwrap();
    let (a, b) = (log.group(0), log.group(7));
    append(&a, (0..10).map(|i| record(i, 1, 100)).collect()).await.unwrap();
    append(&b, vec![record(0, 3, 0)]).await.unwrap();
    a.save_vote(Bytes::from_static(b"vote")).await.unwrap();
    a.save_committed(Bytes::from_static(b"committed"));
    a.truncate_after(Some(7)).await.unwrap();
    append(&a, vec![record(8, 2, 5)]).await.unwrap();
    a.purge(2, 1, 1 << 16 | 1).await.unwrap();
    let state = a.state();
    drop((a, b));
    let log = reopen(log, dir.path()).await;
    let a = log.group(0);
    assert_eq!(a.state(), state);
    assert_eq!(state.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(state.committed.as_deref(), Some(&b"committed"[..]));
    assert_eq!(state.purged, Some((2, 1, 65537)));
    assert_eq!(state.last, Some((8, 2, 131073)));
    let mut want: Vec<_> = (3..8).map(|i| record(i, 1, 100)).collect();
    want.push(record(8, 2, 5));
    assert_eq!(a.read(3..9, usize::MAX).await.unwrap(), want);
    assert_eq!(a.read(3..9, 250).await.unwrap(), want[..2]);
    assert_eq!(a.read(3..9, 0).await.unwrap(), want[..1]);
    assert_eq!(a.read(9..12, 100).await.unwrap(), []);
    assert_eq!(a.read(2..4, 100).await.err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
    assert_eq!(log.group(7).state().last, Some((0, 3, 3 << 16 | 1)));
    assert_eq!(log.groups(), [0, 7]);
    log.close().await;
}

#[tokio::test]
async fn entries_must_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(real(), dir.path().into(), small()).await.unwrap();
    let a = log.group(1);
    append(&a, vec![record(0, 1, 1)]).await.unwrap();
    let gap = append(&a, vec![record(2, 1, 1)]).await;
    assert_eq!(gap.err().map(|e| e.kind()), Some(io::ErrorKind::InvalidInput));
    assert_eq!(a.state().last, Some((0, 1, 65537)));
}

#[tokio::test]
async fn a_snapshot_restarts_the_log_or_keeps_what_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(real(), dir.path().into(), small()).await.unwrap();
    let (a, b) = (log.group(1), log.group(2));
    append(&a, (0..5).map(|i| record(i, 1, 10)).collect()).await.unwrap();
    append(&b, (0..5).map(|i| record(i, 1, 10)).collect()).await.unwrap();
    a.install((100, 4, 9));
    b.install((2, 1, 65537));
    append(&a, vec![record(101, 4, 10)]).await.unwrap();
    let log = {
        drop((a, b));
        reopen(log, dir.path()).await
    };
    let (a, b) = (log.group(1), log.group(2));
    assert_eq!(a.state().purged, Some((100, 4, 9)));
    assert_eq!(a.read(101..200, 1 << 20).await.unwrap(), [record(101, 4, 10)]);
    assert_eq!(b.state().purged, Some((2, 1, 65537)));
    let behind = [record(3, 1, 10), record(4, 1, 10)];
    assert_eq!(b.read(3..5, 1 << 20).await.unwrap(), behind);
    // Rows that came from a peer at the very place where the log was cut, or before it: what follows was acknowledged.
    for at in [(2, 1, 65537), (1, 1, 65537)] {
        b.install(at);
        assert_eq!(b.state().purged, Some((2, 1, 65537)));
        assert_eq!(b.read(3..5, 1 << 20).await.unwrap(), behind);
    }
}

#[tokio::test]
async fn many_segments_and_long_records_read_back_and_purged_ones_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { cache_bytes: 1 << 10, ..small() };
    let (log, _) = Log::open(real(), dir.path().into(), options.clone()).await.unwrap();
    let a = log.group(1);
    let lens = [1, 5_000, 0, 40_000, 200_000, 17, 60_000, 64 << 10];
    let want: Vec<_> = (0..40u64).map(|i| record(i, 1, lens[i as usize % lens.len()])).collect();
    for r in &want {
        append(&a, vec![r.clone()]).await.unwrap();
    }
    assert_eq!(a.read(0..40, usize::MAX).await.unwrap(), want);
    let full = log.bytes();
    a.purge(38, 1, 65537).await.unwrap();
    drop(a);
    log.close().await;
    let (log, damage) = Log::open(real(), dir.path().into(), options).await.unwrap();
    assert_eq!(damage, []);
    let a = log.group(1);
    assert_eq!(a.read(39..40, 0).await.unwrap(), want[39..]);
    // Twenty segments' worth of entries, purged as they come, stay within a few segments.
    for i in 40..400 {
        append(&a, vec![record(i, 1, 5_000)]).await.unwrap();
        a.purge(i - 1, 1, 65537).await.unwrap();
    }
    assert!(log.bytes() < full.min(10 * (64 << 10)), "{} of {full}", log.bytes());
    assert_eq!(a.read(399..400, 0).await.unwrap(), [record(399, 1, 5_000)]);
    drop(a);
    log.close().await;
}

#[tokio::test]
async fn a_quiet_group_does_not_pin_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { cache_bytes: 0, ..small() };
    let (log, _) = Log::open(real(), dir.path().into(), options.clone()).await.unwrap();
    let (quiet, busy) = (log.group(1), log.group(2));
    append(&quiet, (0..10).map(|i| record(i, 1, 2_000)).collect()).await.unwrap();
    quiet.save_vote(Bytes::from_static(b"vote")).await.unwrap();
    // Thirty segments' worth.
    for i in 0..400 {
        append(&busy, vec![record(i, 1, 5_000)]).await.unwrap();
        if i % 10 == 9 {
            busy.purge(i - 1, 1, 65537).await.unwrap();
        }
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while log.bytes() > 9 * (64 << 10) {
        assert!(std::time::Instant::now() < deadline, "{} bytes", log.bytes());
        tokio::task::yield_now().await;
    }
    let want: Vec<_> = (0..10).map(|i| record(i, 1, 2_000)).collect();
    assert_eq!(quiet.read(0..10, 1 << 20).await.unwrap(), want);
    drop((quiet, busy));
    log.close().await;
    let (log, damage) = Log::open(real(), dir.path().into(), options).await.unwrap();
    assert_eq!(damage, []);
    assert_eq!(log.group(1).read(0..10, 1 << 20).await.unwrap(), want);
    assert_eq!(log.group(1).state().vote.as_deref(), Some(&b"vote"[..]));
}
