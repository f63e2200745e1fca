//! Entries read back from a node's log, and the log kept for who reads them.

use super::*;
use crate::consensus::Unread;

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
