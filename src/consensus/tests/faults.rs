//! Crashes of everyone at once, damage on disk, and a campaign of random faults under load.

use super::*;
use crate::log::LogRecord;
use crate::seam::net::kinds;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_stopped_altogether_has_everything_when_it_starts() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.write(0, "site").await;
    cluster.write(1, "data").await;
    let ids: Vec<RaftId> = cluster.running().map(|n| n.id).collect();
    for id in &ids {
        cluster.take(id.node().0).kill().await;
    }
    for id in ids {
        cluster.start(id).await;
    }
    cluster.write(1, "more").await;
    let index = cluster.leader(1).await.groups[1].read_index().await.unwrap();
    cluster.all_have(1, index).await;
    cluster.agree(1).await;
    for node in cluster.running() {
        let range = Table::Outbox.key().prefix();
        let rows = crate::store::Reader::scan(node.partition(1).as_ref(), range, false, 10).unwrap();
        let values: Vec<_> = rows.into_iter().map(|(_, v)| v).collect();
        assert_eq!(values, [payload_of("data"), payload_of("more")]);
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_mended_by_a_peer() {
    let mut cluster = Cluster::new(3, 1).await;
    for n in 0..20 {
        let leader = cluster.leader(0).await;
        let reign = leader.groups[0].leadership().borrow().reign;
        leader.groups[0].propose(reign, payload_of(&format!("{n:02} {}", "z".repeat(5000)))).await.unwrap();
    }
    // Proposals are queued in order: with the last in place, all are.
    cluster.write(0, "behind them").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    let victim = cluster.running().map(|n| n.id).last().unwrap();
    cluster.take(victim.node().0).kill().await;
    // A flipped bit in the middle of what is long durable.
    let dir = cluster.dir.path().join(format!("node{}", victim.node()));
    let needle = payload_of("07 zzzz");
    let mut flipped = false;
    for file in std::fs::read_dir(dir.join("log")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|w| w == needle) {
            bytes[at + 100] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            flipped = true;
        }
    }
    assert!(flipped);
    std::fs::remove_dir_all(dir.join("store")).unwrap();
    let (log, damage) = Log::open(world(), dir.join("log"), small().0).await.unwrap();
    assert_eq!(damage.len(), 1);
    log.close().await;
    cluster.how.mend = (1..=3).filter(|n| *n != victim.node().0).map(|n| (NodeNumber(n), address(n))).collect();
    cluster.start(victim).await;
    cluster.write(0, "after").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    cluster.agree(0).await;
    cluster.end().await;
}

/// Writes until every node has cut its log below a snapshot; then gives the last node's id.
async fn cut_everywhere(cluster: &Cluster) -> RaftId {
    let cut = |n: &Node| n.log.group(0).state().purged.is_some_and(|(index, ..)| index > 0);
    let deadline = Instant::now() + PATIENCE;
    while !cluster.running().all(cut) {
        assert!(Instant::now() < deadline, "no log was cut");
        let leader = cluster.leader(0).await;
        let reign = leader.groups[0].leadership().borrow().reign;
        let _ = leader.groups[0].propose(reign, payload_of(&"x".repeat(50_000))).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    cluster.running().map(|n| n.id).last().unwrap()
}

async fn all_equal(cluster: &Cluster) {
    cluster.write(0, "after").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    cluster.agree(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_lost_behind_a_cut_log_comes_from_a_peer() {
    let mut cluster = Cluster::new(3, 1).await;
    let victim = cut_everywhere(&cluster).await;
    cluster.take(victim.node().0).kill().await;
    let dir = cluster.dir.path().join(format!("node{}", victim.node()));
    std::fs::remove_dir_all(dir.join("store")).unwrap();
    cluster.how.mend = (1..=3).filter(|n| *n != victim.node().0).map(|n| (NodeNumber(n), address(n))).collect();
    cluster.start(victim).await;
    assert!(!cluster.node(victim.node().0).partition(0).snapshots().is_empty());
    all_equal(&cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_not_sent_but_replaced() {
    let mut cluster = Cluster::new(3, 1).await;
    let victim = cut_everywhere(&cluster).await;
    let node = victim.node().0;
    cluster.take(node).kill().await;
    std::fs::remove_dir_all(cluster.dir.path().join(format!("node{node}"))).unwrap();
    for other in cluster.running() {
        for info in other.partition(0).snapshots() {
            let mut bytes = std::fs::read(&info.path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&info.path, bytes).unwrap();
        }
    }
    // With nothing left it must get a snapshot; none that is there can be believed.
    let leader = cluster.leader(0).await;
    let again = RaftId::new(victim.node(), 2);
    leader.groups[0].add_learner(again, address(node)).await.unwrap();
    cluster.start(again).await;
    all_equal(&cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_came_in_before_a_crash_wins_over_a_tail_that_was_never_committed() {
    let mut cluster = Cluster::new(3, 1).await;
    cluster.write(0, "before").await;
    let leader = cluster.leader(0).await.id;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    let victim = cluster.running().map(|n| n.id).find(|id| *id != leader).unwrap();
    cluster.take(victim.node().0).kill().await;
    let dir = cluster.dir.path().join(format!("node{}", victim.node()));
    // Its own tail, from a time when it led and reached nobody.
    let (log, _) = Log::open(world(), dir.join("log"), small().0).await.unwrap();
    let (last, term, _) = log.group(0).state().last.unwrap();
    let lost = |n| LogRecord { index: last + n, term, leader: victim.0, payload: payload_of("never committed") };
    let (done, written) = tokio::sync::oneshot::channel();
    log.group(0).append((1..=50).map(lost).collect(), Box::new(|r| drop(done.send(r))));
    written.await.unwrap().unwrap();
    log.close().await;
    // The others go on in a later term; what they sealed has come in, and then it died.
    cluster.leader(0).await.groups[0].hand_over(None).await.unwrap();
    for n in 0..10 {
        cluster.write(0, &format!("later {n}")).await;
    }
    let leader = cluster.leader(0).await;
    leader.groups[0].trigger_snapshot().await.unwrap();
    let info = leader.partition(0).snapshots().pop().unwrap();
    assert!(info.before.term > term && (last + 1..last + 50).contains(&info.before.index));
    let folder = dir.join("store/snapshots/p0");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(&info.path, folder.join(info.path.file_name().unwrap())).unwrap();
    cluster.start(victim).await;
    all_equal(&cluster).await;
    assert!(!cluster.node(victim.node().0).recorder.payloads().contains(&payload_of("never committed")));
    cluster.end().await;
}

/// Overwrites a part of each file that holds the payload of the test below.
fn rot(dir: &Path) {
    use std::os::unix::fs::FileExt;
    let needle = "rotrotrot".as_bytes();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|w| w == needle) {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(b"ROT", at as u64).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_mends_its_log_from_memory_or_a_peer() {
    let cluster = Cluster::new(3, 1).await;
    cluster.write(0, &"rot".repeat(500)).await;
    cluster.write(0, "behind").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    let node = cluster.running().last().unwrap();
    let pace = crate::seam::pace::Pace::new(u64::MAX);
    let dir = cluster.dir.path().join(format!("node{}", node.id.node()));
    // The others' disks are enough for an entry to be applied here: this node's own may be behind.
    let deadline = Instant::now() + PATIENCE;
    let damage = loop {
        rot(&dir.join("log"));
        let damage = node.log.scrub(&pace).await;
        if !damage.is_empty() {
            break damage;
        }
        assert!(Instant::now() < deadline, "what rots on disk is not found");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(node.consensus.mend(damage, &[]).await, vec![], "it is still in memory");
    assert_eq!(node.log.scrub(&pace).await, vec![]);
    cluster.end().await;
}

/// Under random faults: every replica applies the same entries in the same order, in each reign what was applied is a
/// prefix of what was proposed, and whatever a leader has seen applied stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_of_faults_loses_and_reorders_nothing() {
    let mut cluster = Cluster::new(3, 1).await;
    let mut acknowledged: Vec<Bytes> = vec![];
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut roll = move |sides: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % sides
    };
    for round in 0..12 {
        let stop = AtomicBool::new(false);
        let load = load(&cluster, round, &stop);
        let faults = async {
            tokio::time::sleep(Duration::from_millis(100 + roll(200))).await;
            let victim = NodeNumber(1 + roll(3) as u16);
            match roll(3) {
                0 => cluster.net.cut(victim),
                1 => cluster.net.slow(Some((kinds::RAFT_APPEND, Duration::from_millis(600 + roll(800))))),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(600 + roll(900))).await;
            cluster.net.heal(victim);
            cluster.net.slow(None);
            stop.store(true, Ordering::Relaxed);
        };
        let (acks, ()) = tokio::join!(load, faults);
        acknowledged.extend(acks);
        if round % 3 == 2 {
            let victim = cluster.node(1 + roll(3) as u16).id;
            cluster.take(victim.node().0).kill().await;
            tokio::time::sleep(Duration::from_millis(roll(300))).await;
            cluster.start(victim).await;
        }
    }
    cluster.write(0, "end").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    check(&cluster, &acknowledged);
    cluster.end().await;
}

/// Proposes as fast as it is taken on whoever leads, eight in flight; returns what the proposer saw applied.
async fn load(cluster: &Cluster, round: u64, stop: &AtomicBool) -> Vec<Bytes> {
    let mut proposed = vec![];
    let mut by_reign: HashMap<(RaftId, u64), u32> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        for node in cluster.running() {
            let now = *node.groups[0].leadership().borrow();
            if !now.leading {
                continue;
            }
            let n = by_reign.entry((node.id, now.reign)).or_default();
            let payload = payload_of(&format!("{round}.{}.{}.{} {n}", node.id, now.term, now.reign));
            if node.groups[0].propose(now.reign, payload.clone()).await.is_ok() {
                *n += 1;
                proposed.push((node.id, payload));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let seen: HashMap<RaftId, HashSet<Bytes>> =
        cluster.running().map(|n| (n.id, n.recorder.payloads().into_iter().collect())).collect();
    proposed.into_iter().filter(|(id, p)| seen.get(id).is_some_and(|s| s.contains(p))).map(|(_, p)| p).collect()
}

fn check(cluster: &Cluster, acknowledged: &[Bytes]) {
    let order = |node: &Node| {
        let mut entries: Vec<Entry> = node.recorder.seen.lock().unwrap().clone();
        // A restart applies again what its store had not flushed: the same entries.
        entries.sort_by_key(|e| e.index);
        entries.dedup();
        entries
    };
    let longest = cluster.running().map(order).max_by_key(Vec::len).unwrap();
    for node in cluster.running() {
        let mine = order(node);
        assert!(mine.windows(2).all(|w| w[0].index < w[1].index), "two entries at one index");
        let from = longest.iter().position(|e| e.index == mine[0].index).unwrap();
        assert_eq!(mine, longest[from..from + mine.len()]);
    }
    let range = Table::Outbox.key().prefix();
    let rows = crate::store::Reader::scan(cluster.node(1).partition(0).as_ref(), range, false, usize::MAX).unwrap();
    let stored: HashSet<&Bytes> = rows.iter().map(|(_, v)| v).collect();
    assert!(acknowledged.len() > 100);
    assert!(acknowledged.iter().all(|p| stored.contains(p)), "an acknowledged entry is gone");
    let mut next: HashMap<String, u32> = HashMap::new();
    for (_, payload) in &rows {
        let text = String::from_utf8(payload[1..].to_vec()).unwrap();
        let Some((reign, n)) = text.split_once(' ') else { continue };
        let next = next.entry(reign.to_owned()).or_default();
        assert_eq!(n.parse::<u32>().unwrap(), *next, "a hole in {reign}");
        *next += 1;
    }
}
