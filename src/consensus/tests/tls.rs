//! The same over real TLS on loopback.

use super::*;
use crate::peer::Peers;
use crate::peer::testing::Authority;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_agree_over_real_connections() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = vec![];
    let mut members = vec![];
    for number in 1..=3u16 {
        let node = NodeNumber(number);
        let router = Arc::new(Router::default());
        let tls = authority.node(&crate::peer::node_name(node, "test"));
        let peers = Peers::new(node, "test", &tls, router.clone()).unwrap();
        let at = peers.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let id = RaftId::new(node, 1);
        members.push(Member { id, address: at, voter: true });
        nodes.push(
            start(&dir.path().join(format!("node{number}")), id, Arc::new(peers), router, 1, at, &How::default()).await,
        );
    }
    nodes[0].groups[0].initialise(&members).await.unwrap();
    let leads = |n: &Node| n.groups[0].leadership().borrow().leading;
    until("a leader", || nodes.iter().any(leads)).await;
    let leader = nodes.iter().find(|n| leads(n)).unwrap();
    let reign = leader.groups[0].leadership().borrow().reign;
    let large = "y".repeat(1 << 20);
    let payloads: Vec<Bytes> =
        (0..40).map(|n| payload_of(&format!("{n} {}", if n % 8 == 0 { &large } else { "small" }))).collect();
    for payload in &payloads {
        leader.groups[0].propose(reign, payload.clone()).await.unwrap();
    }
    until("all to apply", || nodes.iter().all(|n| n.recorder.payloads().len() == payloads.len())).await;
    assert!(nodes.iter().all(|n| n.recorder.payloads() == payloads));
    for node in nodes {
        node.kill().await;
    }
}
