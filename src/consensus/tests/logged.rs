//! Entries read back from a node's log, and the log kept for who reads them.

use super::*;
use crate::consensus::Unread;
use crate::log::LogRecord;

/// Writes until the logs of these nodes are cut.
async fn write_until_cut(cluster: &Cluster, of: impl Fn(&Node) -> bool) {
    let cut = |n: &Node| n.log.group(0).state().purged.map_or(0, |(index, ..)| index) > 6;
    let deadline = Instant::now() + PATIENCE;
    while !cluster.running().filter(|n| of(n)).all(cut) {
        assert!(Instant::now() < deadline, "no log was cut");
        let leader = cluster.leader(0).await;
        let reign = leader.groups[0].leadership().borrow().reign;
        let _ = leader.groups[0].propose(reign, payload_of(&"x".repeat(50_000))).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_in_the_log_and_is_read_in_order_and_what_is_let_go_is_told_to_be_gone() {
    let cluster = Cluster::new(3, 1).await;
    cluster.write(0, "first").await;
    let archives = cluster.node(2).id;
    let group = cluster.node(2).groups[0].clone();
    group.hold_log(6);
    write_until_cut(&cluster, |n| n.id != archives).await;
    let (mut next, mut entries) = (7, vec![]);
    let end = cluster.node(2).partition(0).applied().index;
    while next <= end {
        let page = group.committed(next, 200_000).await.unwrap();
        let bytes: usize = page.iter().map(|entry| entry.payload.len()).sum();
        assert!(!page.is_empty() && bytes <= 200_000, "{bytes} bytes");
        entries.extend(page.into_iter().map(|entry| (entry.index, entry.payload)));
        next = entries.last().unwrap().0 + 1;
    }
    assert!(entries.iter().zip(7..).all(|((index, _), wanted)| *index == wanted));
    let applied = cluster.node(2).recorder.payloads();
    let read: Vec<_> = entries.iter().map(|(_, payload)| payload).filter(|payload| !payload.is_empty()).collect();
    assert!(read.len() > 5 && read.iter().all(|payload| applied.contains(payload)));
    let beyond = cluster.node(2).partition(0).applied().index + 1_000;
    assert!(group.committed(beyond, 1).await.unwrap().is_empty(), "it has applied no more");
    group.hold_log(u64::MAX);
    write_until_cut(&cluster, |_| true).await;
    let gone = group.committed(1, 200_000).await;
    assert!(matches!(gone, Err(Unread::Cut { partition: 0, index: 1 })), "{gone:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_was_never_committed_is_not_read_behind_rows_that_a_snapshot_brought() {
    let cluster = Cluster::new(3, 1).await;
    cluster.write(0, "before").await;
    let leader = cluster.leader(0).await.id;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    let victim = cluster.running().find(|n| n.id != leader).unwrap();
    cluster.net.cut(victim.id.node());
    // What it proposed when it led and reached nobody; it ends before what the snapshot reaches to.
    let (last, term, _) = victim.log.group(0).state().last.unwrap();
    let written = victim.log.group(0).read(1..last + 1, 1 << 20).await.unwrap();
    let payload = written.iter().rev().find(|record| record.payload.len() > 6).unwrap().payload.clone();
    let lost = |n| LogRecord { index: last + n, term, leader: victim.id.0, payload: payload.clone() };
    let (done, durable) = tokio::sync::oneshot::channel();
    victim.log.group(0).append((1..=3).map(lost).collect(), Box::new(|r| drop(done.send(r))));
    durable.await.unwrap().unwrap();
    for n in 0..10 {
        cluster.write(0, &format!("later {n}")).await;
    }
    // Installed, and the log not cut yet.
    let leader = cluster.leader(0).await;
    leader.groups[0].trigger_snapshot().await.unwrap();
    let info = leader.partition(0).snapshots().pop().unwrap();
    let (from, into) = (leader.partition(0), victim.partition(0));
    let whole = from.read_snapshot_piece(&info.id, 0, info.bytes as usize).await.unwrap();
    let mut incoming = into.receive_snapshot(info.bytes).await.unwrap();
    incoming.write(0, whole).await.unwrap();
    let info = incoming.finish().await.unwrap().unwrap();
    into.install_snapshot(&info.id).await.unwrap();
    assert!(into.applied().index > last + 3);
    let found = victim.groups[0].committed(last + 1, 1 << 20).await;
    assert!(matches!(found, Err(Unread::Cut { .. })), "{found:?}");
    cluster.end().await;
}
