//! The voters are gone for good: what their followers keep, whom they follow, and what they refuse.

use super::*;
use std::collections::BTreeSet;

/// Three voters, and three that follow without a vote.
async fn two_sites() -> Cluster {
    let mut cluster = Cluster::new(3, 1).await;
    cluster.write(0, TWO_SITES).await;
    cluster.nodes.resize_with(6, || None);
    for n in 4..=6 {
        let id = RaftId::new(NodeNumber(n), 1);
        cluster.start(id).await;
        let leader = cluster.leader(0).await;
        leader.groups[0].add_learner(id, address(n)).await.unwrap();
    }
    cluster.write(0, "everywhere").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    assert_eq!(voters(&cluster, 1), [1, 2, 3], "who follows has no vote");
    cluster
}

fn voters(cluster: &Cluster, of: u16) -> Vec<u16> {
    let mut all: Vec<u16> =
        cluster.node(of).groups[0].members().iter().filter(|m| m.voter).map(|m| m.id.node().0).collect();
    all.sort_unstable();
    all
}

/// One that hears nothing more while the others go on.
async fn left_behind(cluster: &Cluster, node: u16, then: &str) {
    cluster.net.cut(NodeNumber(node));
    cluster.write(0, then).await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    let behind: Vec<u16> = cluster.running().map(|n| n.id.node().0).filter(|n| *n != node).collect();
    let cut = |n: &u16| cluster.net.cut.read().unwrap().contains(&NodeNumber(*n));
    let near: Vec<u16> = behind.into_iter().filter(|n| !cut(n)).collect();
    until("the others to apply", || near.iter().all(|n| *cluster.node(*n).groups[0].applied().borrow() >= index)).await;
}

async fn lose_the_voters(cluster: &mut Cluster) {
    for n in 1..=3 {
        cluster.take(n).kill().await;
    }
    (4..=6).for_each(|n| cluster.net.heal(NodeNumber(n)));
}

fn place(cluster: &Cluster, node: u16) -> Place {
    cluster.node(node).groups[0].place()
}

/// Asks until the last leader's lease is over.
async fn promised(cluster: &Cluster, by: u16, term: u64, heir: u16, end: End) {
    let deadline = Instant::now() + PATIENCE;
    while !cluster.node(by).groups[0].yield_to(term, NodeNumber(heir), end).await.unwrap() {
        assert!(Instant::now() < deadline, "node {by} never promised term {term} to node {heir}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn succeed(cluster: &Cluster, heir: u16, term: u64, end: End, who: &[u16]) -> Result<(), ConsensusError> {
    let member = |n: &u16| Member { id: RaftId::new(NodeNumber(*n), 1), address: address(*n), voter: true };
    let members: Vec<Member> = who.iter().map(member).collect();
    cluster.node(heir).groups[0].succeed(term, end, vec![payload_of("taken over")], &members).await
}

/// Everyone has the same, and goes on together.
async fn goes_on(cluster: &Cluster, of: &[&str]) {
    cluster.write(0, "after").await;
    let index = cluster.leader(0).await.groups[0].read_index().await.unwrap();
    cluster.all_have(0, index).await;
    let wanted: Vec<Bytes> = of.iter().chain(&["taken over", "after"]).map(|text| payload_of(text)).collect();
    for node in cluster.running() {
        let all: BTreeSet<Bytes> = node.recorder.payloads().into_iter().collect();
        assert!(wanted.iter().all(|payload| all.contains(payload)), "node {} lacks some", node.id);
        assert_eq!(voters(cluster, node.id.node().0), [4, 5, 6]);
    }
    cluster.agree(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_go_on_from_the_longest_log_when_every_voter_is_lost() {
    let mut cluster = two_sites().await;
    left_behind(&cluster, 5, "at four and six").await;
    left_behind(&cluster, 6, "at four alone").await;
    assert!(
        !cluster.node(4).groups[0].yield_to(99, NodeNumber(4), place(&cluster, 4).end).await.unwrap(),
        "a leader is heard"
    );
    lose_the_voters(&mut cluster).await;
    let (end, shorter) = (place(&cluster, 4).end, place(&cluster, 6).end);
    assert!(place(&cluster, 5).end < shorter && shorter < end);

    let term = end.term + 1;
    promised(&cluster, 5, term, 6, shorter).await;
    let refuses = !cluster.node(4).groups[0].yield_to(term, NodeNumber(6), shorter).await.unwrap();
    assert!(refuses, "what node 4 alone has may have been acknowledged");
    assert!(!cluster.node(5).groups[0].yield_to(term, NodeNumber(4), end).await.unwrap(), "one heir in a term");
    for by in 4..=6 {
        promised(&cluster, by, term + 1, 4, end).await;
    }
    assert!(succeed(&cluster, 4, term + 1, shorter, &[4, 5, 6]).await.is_err());
    assert_eq!(place(&cluster, 4).end, end, "nothing was cut off");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_heir_has_is_everywhere_and_its_neighbours_vote() {
    let mut cluster = two_sites().await;
    left_behind(&cluster, 5, "at four and six").await;
    left_behind(&cluster, 6, "at four alone").await;
    lose_the_voters(&mut cluster).await;
    let end = place(&cluster, 4).end;
    for by in 4..=6 {
        promised(&cluster, by, end.term + 1, 4, end).await;
    }
    succeed(&cluster, 4, end.term + 1, end, &[4, 5, 6]).await.unwrap();
    goes_on(&cluster, &["everywhere", "at four and six", "at four alone"]).await;
    cluster.end().await;
}

/// The heir dies before anyone has heard from it, and others are chosen; what it took over alone is nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_heir_that_was_gone_in_the_middle_follows_the_next() {
    let mut cluster = two_sites().await;
    left_behind(&cluster, 4, "at five and six").await;
    cluster.net.heal(NodeNumber(4));
    let all = || (4..=6).map(|n| place(&cluster, n).end).collect::<BTreeSet<End>>().len() == 1;
    until("all to have the same", all).await;
    lose_the_voters(&mut cluster).await;
    let end = place(&cluster, 4).end;
    for by in 4..=6 {
        promised(&cluster, by, end.term + 1, 4, end).await;
    }
    cluster.net.cut(NodeNumber(4));
    succeed(&cluster, 4, end.term + 1, end, &[4, 5, 6]).await.unwrap();
    let old = cluster.take(4);
    let id = old.id;
    old.kill().await;
    // The next attempt sees what was promised, and takes a later term.
    let term = (5..=6).map(|n| place(&cluster, n).promised).max().unwrap() + 1;
    assert!(!cluster.node(6).groups[0].yield_to(term - 1, NodeNumber(5), end).await.unwrap(), "it is node 4's");
    for by in 5..=6 {
        promised(&cluster, by, term, 5, end).await;
    }
    succeed(&cluster, 5, term, end, &[4, 5, 6]).await.unwrap();
    cluster.write(0, "between").await;
    cluster.net.heal(NodeNumber(4));
    cluster.start(id).await;
    goes_on(&cluster, &["everywhere", "at five and six", "between"]).await;
    cluster.end().await;
}
