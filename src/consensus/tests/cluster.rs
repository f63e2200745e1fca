//! What a group promises while nodes stop, are cut off, lose their data and come back.

use super::*;
use crate::seam::net::kinds;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_agree_on_one_order() {
    let cluster = Cluster::new(3, 1).await;
    let leader = cluster.leader(0).await;
    let group = &leader.groups[0];
    let reign = group.leadership().borrow().reign;
    let payloads: Vec<Bytes> = (0..500).map(|n| payload_of(&format!("entry {n}"))).collect();
    for payload in &payloads {
        group.propose(reign, payload.clone()).await.unwrap();
    }
    until("the leader to apply", || leader.recorder.payloads().len() == payloads.len()).await;
    let index = group.read_index().await.unwrap();
    cluster.all_have(0, index).await;
    for node in cluster.running() {
        assert_eq!(node.recorder.payloads(), payloads);
    }
    cluster.agree(0).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_followed_and_finds_its_place_again() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.write(0, "before").await;
    let old = cluster.leader(0).await.id;
    cluster.take(old.node().0).kill().await;
    cluster.write(0, "during").await;
    assert_ne!(cluster.leader(0).await.id, old);
    cluster.start(old).await;
    cluster.write(0, "after").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    let back = cluster.node(old.node().0);
    assert_eq!(back.recorder.payloads().last(), Some(&payload_of("after")));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_neither_commits_nor_fences() {
    let cluster = Cluster::new(3, 1).await;
    cluster.write(0, "before").await;
    let old = cluster.leader(0).await;
    let group = &old.groups[0];
    let reign = group.leadership().borrow().reign;
    cluster.net.cut(old.id.node());
    let _ = group.propose(reign, payload_of("lost")).await;
    assert!(group.read_index().await.is_err());
    cluster.write(0, "kept").await;
    cluster.net.heal(old.id.node());
    until("the old leader to follow", || group.leadership().borrow().leader.is_some_and(|l| l != old.id)).await;
    cluster.write(0, "after").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    for node in cluster.running() {
        let payloads = node.recorder.payloads();
        assert!(!payloads.contains(&payload_of("lost")));
        assert!(payloads.contains(&payload_of("kept")));
    }
    assert!(group.propose(reign, payload_of("stale")).await.is_err());
    cluster.end().await;
}

/// The library refuses proposals while its lease is out and takes them again afterwards, in one term. What was
/// proposed on top of a refused proposal must not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_counts_that_was_proposed_behind_a_refused_proposal() {
    let cluster = Cluster::lively(3, 1).await;
    cluster.write(0, "before").await;
    let leader = cluster.leader(0).await;
    let group = &leader.groups[0];
    let was = *group.leadership().borrow();
    // Followers hear the leader, but their answers come too late for its lease.
    cluster.net.slow(Some((kinds::RAFT_APPEND, Duration::from_secs(2))));
    until("the lease to run out", || group.status().quorum_age_ms.is_some_and(|age| age > 1000)).await;
    let reign = group.reign();
    let (refused, behind) = (reign.enter().unwrap(), reign.enter().unwrap());
    group.write(refused, payload_of("refused")).await.unwrap();
    until("the refusal", || reign.broken()).await;
    assert!(group.propose(was.reign, payload_of("late")).await.is_err());
    cluster.net.slow(None);
    until("the lease to be back", || group.status().quorum_age_ms.is_some_and(|age| age < 300)).await;
    assert!(!group.leadership().borrow().leading, "no new reign while a proposal of the old one is on its way");
    // It was already on its way to the library, which takes it now.
    let before = group.status().last;
    group.write(behind, payload_of("behind")).await.unwrap();
    until("the late proposal to be logged and applied", || *group.applied().borrow() > before).await;
    let mut leadership = group.leadership();
    let again = tokio::time::timeout(PATIENCE, leadership.wait_for(|l| l.leading)).await;
    let now = *again.expect("it leads again").unwrap();
    assert!(now.reign > was.reign && now.term == was.term, "another reign of the same term");
    group.propose(now.reign, payload_of("after")).await.unwrap();
    until("the new reign's proposal", || leader.recorder.payloads().len() == 2).await;
    let index = group.read_index().await.unwrap();
    cluster.all_have(0, index).await;
    for node in cluster.running() {
        assert_eq!(node.recorder.payloads(), [payload_of("before"), payload_of("after")]);
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_comes_back_as_its_next_incarnation_from_a_snapshot() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.write(0, "site").await;
    let victim = cluster.running().map(|n| n.id).find(|id| *id != RaftId::new(NodeNumber(1), 1)).unwrap();
    let leader = cluster.leader(1).await;
    let reign = leader.groups[1].leadership().borrow().reign;
    let filler = "x".repeat(32 << 10);
    let cut = || leader.partition(1).log_floor() > 0 && leader.log.group(1).state().purged.is_some();
    let deadline = Instant::now() + PATIENCE;
    while !cut() {
        assert!(Instant::now() < deadline, "the log is cut below two snapshots");
        for n in 0..8 {
            let _ = leader.groups[1].propose(reign, payload_of(&format!("{n} {filler}"))).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.take(victim.node().0).kill().await;
    std::fs::remove_dir_all(cluster.dir.path().join(format!("node{}", victim.node()))).unwrap();
    cluster.write(1, "while it was gone").await;

    let peers: Vec<_> = (1..=3).filter(|n| *n != victim.node().0).map(|n| (NodeNumber(n), address(n))).collect();
    let port = cluster.port(victim.node());
    let back = rejoin(&port, &peers, address(victim.node().0), Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(back.id, RaftId::new(victim.node(), 2));
    assert_eq!(back.groups, 2);
    cluster.start(back.id).await;
    for number in 0..2u16 {
        until("the new incarnation to have the only vote of its node", || {
            cluster.running().all(|n| {
                let members = n.groups[usize::from(number)].members();
                members.len() == 3 && members.iter().any(|m| m.id == back.id && m.voter)
            })
        })
        .await;
    }
    let index = cluster.leader(1).await.groups[1].read_index().await.unwrap();
    cluster.all_have(1, index).await;
    let node = cluster.node(victim.node().0);
    assert!(!node.partition(1).snapshots().is_empty(), "it started from a snapshot");
    assert!(node.partition(1).servable());
    cluster.agree(1).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_leader_hands_over_and_loses_nothing_under_way() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.write(0, "site").await;
    let leader = cluster.leader(1).await;
    let (id, group) = (leader.id, leader.groups[1].clone());
    let reign = group.leadership().borrow().reign;
    let mut accepted = vec![];
    for n in 0..50 {
        let payload = payload_of(&format!("under way {n}"));
        group.propose(reign, payload.clone()).await.unwrap();
        accepted.push(payload);
    }
    let node = cluster.take(id.node().0);
    let recorder = node.recorder.clone();
    // It is off the network in the test's sense only after it stopped: calls to it still need its router.
    node.stop().await;
    assert_eq!(recorder.payloads().iter().filter(|p| accepted.contains(p)).count(), accepted.len());
    assert!(group.propose(reign, payload_of("late")).await.is_err());
    cluster.write(1, "after").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_gets_a_vote_in_every_group_and_one_that_leaves_loses_it() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.write(0, "site").await;
    cluster.write(1, "data").await;
    let id = cluster.leader(0).await.consensus.admit(NodeNumber(4), address(4)).await.unwrap();
    assert_eq!(id, RaftId::new(NodeNumber(4), 1));
    cluster.nodes.push(None);
    cluster.start(id).await;
    let voters = |cluster: &Cluster, number: usize| {
        let members = cluster.node(1).groups[number].members();
        members.iter().filter(|m| m.voter).map(|m| m.id).collect::<Vec<_>>()
    };
    until("four voters", || (0..2).all(|g| voters(&cluster, g).len() == 4)).await;
    cluster.leader(0).await.consensus.expel(NodeNumber(4)).await.unwrap();
    until("three voters", || (0..2).all(|g| voters(&cluster, g).len() == 3)).await;
    assert!(!voters(&cluster, 1).contains(&id));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_tells_the_site_where_it_listens() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.write(1, "data").await;
    let leader = cluster.leader(0).await.id;
    let mover = cluster.running().map(|n| n.id).find(|id| *id != leader).unwrap();
    cluster.take(mover.node().0).kill().await;
    cluster.moved.insert(mover.node(), address(99));
    cluster.start(mover).await;
    until("everyone to know the new address", || {
        cluster.running().all(|n| {
            (0..2).all(|g: usize| {
                n.groups[g].members().iter().any(|m| m.id == mover && m.address == address(99) && m.voter)
            })
        })
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaderships_are_spread_over_the_members() {
    let cluster = Cluster::balanced(3, 4, Duration::from_millis(500)).await;
    for group in 0..4u16 {
        let whose = NodeNumber(1 + group % 3);
        until("the group to be led by the member whose turn it is", || {
            cluster.node(whose.0).groups[usize::from(group)].leadership().borrow().leading
        })
        .await;
    }
    cluster.write(2, "data").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_to_no_member_that_should_not_lead_while_there_is_another() {
    let cluster = Cluster::balanced(3, 3, Duration::from_millis(500)).await;
    let avoid = |nodes: &[u16]| {
        let nodes: BTreeSet<NodeNumber> = nodes.iter().map(|n| NodeNumber(*n)).collect();
        cluster.running().for_each(|n| n.groups[1].avoid(nodes.clone()));
    };
    let leads = |node: u16, group: usize| cluster.node(node).groups[group].leadership().borrow().leading;
    // The second group is the second member's, which should not lead, as all know.
    avoid(&[2]);
    until("the other groups are led by whose turn it is", || leads(1, 0) && leads(3, 2)).await;
    let leader = cluster.leader(1).await;
    assert_ne!(leader.id.node(), NodeNumber(2));
    leader.groups[1].hand_over(None).await.unwrap();
    let next = leader.groups[1].leadership().borrow().leader.unwrap();
    assert_eq!(next.node().0, 4 - leader.id.node().0, "the third member rather than the second");
    cluster.write(1, "data").await;
    avoid(&[]);
    until("it leads its group", || leads(2, 1)).await;
    // Where no other may lead, one of them is better than none.
    avoid(&[1, 3]);
    cluster.node(2).groups[1].hand_over(None).await.unwrap();
    cluster.write(1, "data").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_that_nobody_takes_costs_an_election_and_not_the_service() {
    let cluster = Cluster::new(3, 1).await;
    cluster.write(0, "before").await;
    let leader = cluster.leader(0).await;
    let target = cluster.running().map(|n| n.id).find(|id| *id != leader.id).unwrap();
    let fence = leader.groups[0].clone();
    // Readers never pause: their rounds must not keep a leader in office that the library lets write no more.
    let reading = tokio::spawn(async move {
        loop {
            let _ = fence.read_index().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    cluster.net.cut(target.node());
    // The library stops its heartbeats, so the third member stands for election, within the patience or after it.
    let _ = leader.groups[0].hand_over(Some(target)).await;
    let wait = until("another leads", || {
        let led = |n: &&Node| n.id != leader.id && n.id != target && n.groups[0].leadership().borrow().leading;
        cluster.running().any(|n| led(&n))
    });
    wait.await;
    cluster.write(0, "after").await;
    reading.abort();
    cluster.net.heal(target.node());
    cluster.end().await;
}
