//! Real TLS on loopback: who is let in, what is bounded, what happens when a peer goes and comes.

use super::testing::Authority;
use super::*;
use crate::seam::net::{Handler, kinds};

const CLUSTER: &str = "site-a";

struct Echo;

impl Handler for Echo {
    fn handle(&self, from: NodeNumber, kind: Kind, payload: Bytes) -> Answer {
        Box::pin(async move {
            if payload.as_ref() == b"never" {
                std::future::pending::<()>().await;
            }
            if payload.as_ref() == b"fail" {
                return Err(io::Error::new(io::ErrorKind::NotFound, "nothing here"));
            }
            Ok([format!("{from}/{}/", kind.0).as_bytes(), &payload].concat().into())
        })
    }
}

fn peers(authority: &Authority, node: u16, cluster: &str) -> Peers {
    let router = Arc::new(Router::default());
    for kind in [kinds::SUBMIT, kinds::JOIN, kinds::RAFT_APPEND] {
        router.claim(kind, Arc::new(Echo));
    }
    let node = NodeNumber(node);
    Peers::new(node, cluster, &authority.node(&node_name(node, cluster)), router).unwrap()
}

async fn pair() -> (Authority, Peers, Peers) {
    let authority = Authority::new();
    let (one, two) = (peers(&authority, 1, CLUSTER), peers(&authority, 2, CLUSTER));
    let at = two.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    one.set_address(NodeNumber(2), at);
    (authority, one, two)
}

const SOON: Duration = Duration::from_secs(10);

async fn call(from: &Peers, kind: Kind, payload: &'static [u8]) -> io::Result<Bytes> {
    from.call(NodeNumber(2), Lane::Ask, kind, Bytes::from_static(payload), SOON).await
}

#[tokio::test]
async fn the_caller_is_who_its_certificate_says() {
    let (_authority, one, _two) = pair().await;
    assert_eq!(call(&one, kinds::SUBMIT, b"x").await.unwrap().as_ref(), b"1/16/x");
    assert_eq!(call(&one, kinds::SUBMIT, b"fail").await.unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(call(&one, kinds::STATUS, b"").await.unwrap_err().kind(), io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn many_calls_share_a_connection_and_large_ones_pass() {
    let (_authority, one, _two) = pair().await;
    let calls = (0..500).map(|n| {
        let one = one.clone();
        async move {
            let body = Bytes::from(vec![n as u8; if n % 100 == 0 { 4 << 20 } else { 100 }]);
            let answer = one.call(NodeNumber(2), Lane::Raft, kinds::RAFT_APPEND, body.clone(), SOON).await.unwrap();
            assert!(answer.ends_with(&body));
        }
    });
    futures_util::future::join_all(calls).await;
    let long = Bytes::from(vec![0; crate::seam::net::MAX_PAYLOAD + 1]);
    let refused = one.call(NodeNumber(2), Lane::Raft, kinds::RAFT_APPEND, long, SOON).await;
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn strangers_are_refused() {
    let (authority, one, two) = pair().await;
    let at = one.shared.known.lock().unwrap().addresses[&NodeNumber(2)].borrow().to_owned();
    // Another site with the same authority, another authority, and a node that is not the one expected.
    let other_site = peers(&authority, 1, "site-b");
    let other_ca = peers(&Authority::new(), 1, CLUSTER);
    let three = peers(&authority, 3, CLUSTER);
    other_site.set_address(NodeNumber(2), at);
    other_ca.set_address(NodeNumber(2), at);
    three.set_address(NodeNumber(4), at);
    assert!(call(&other_site, kinds::SUBMIT, b"x").await.is_err());
    assert!(call(&other_ca, kinds::SUBMIT, b"x").await.is_err());
    assert!(three.call(NodeNumber(4), Lane::Ask, kinds::SUBMIT, Bytes::new(), SOON).await.is_err());
    let wrong = Tls { ..authority.node("node-5.site-a") };
    assert!(Peers::new(NodeNumber(6), CLUSTER, &wrong, Arc::default()).is_err());
    two.close();
}

#[tokio::test]
async fn who_was_expelled_loses_its_connection_and_gets_no_other() {
    let (authority, _, two) = pair().await;
    let at = two.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let tls = authority.node(&node_name(NodeNumber(1), CLUSTER));
    let one = Peers::new(NodeNumber(1), CLUSTER, &tls, Arc::default()).unwrap();
    one.set_address(NodeNumber(2), at);
    call(&one, kinds::SUBMIT, b"x").await.unwrap();
    two.bar(Barred { nodes: [NodeNumber(1)].into(), ..Default::default() });
    let refused = call(&one, kinds::SUBMIT, b"x").await;
    assert!(refused.is_err(), "its number was taken out");
    two.bar(Barred::default());
    call(&one, kinds::SUBMIT, b"x").await.unwrap();
    // The number is another machine's now: the old certificate opens nothing, the new one does.
    let hex = fingerprint(&tls.cert_pem).unwrap().iter().map(|b| format!("{b:02x}")).collect::<String>();
    two.bar(Barred { certificates: [hex].into(), ..Default::default() });
    assert!(call(&one, kinds::SUBMIT, b"x").await.is_err());
    // Its key, whatever certificate was made for it before or since.
    let key = rcgen::KeyPair::from_pem(std::str::from_utf8(&tls.key_pem).unwrap()).unwrap();
    two.bar(Barred::default());
    call(&one, kinds::SUBMIT, b"x").await.unwrap();
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &rcgen::PublicKeyData::subject_public_key_info(&key));
    let hex = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>();
    two.bar(Barred { certificates: [hex].into(), ..Default::default() });
    assert!(call(&one, kinds::SUBMIT, b"x").await.is_err());
    let successor = peers(&authority, 1, CLUSTER);
    successor.set_address(NodeNumber(2), at);
    assert_eq!(call(&successor, kinds::SUBMIT, b"x").await.unwrap().as_ref(), b"1/16/x");
}

#[tokio::test]
async fn a_node_whose_site_was_given_up_is_told_so_also_where_its_number_is_anothers() {
    let (authority, _, two) = pair().await;
    let at = two.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let tls = authority.node(&node_name(NodeNumber(1), CLUSTER));
    let old = |at| {
        let one = Peers::new(NodeNumber(1), CLUSTER, &tls, Arc::default()).unwrap();
        one.set_address(NodeNumber(2), at);
        one
    };
    let first = old(at);
    call(&first, kinds::SUBMIT, b"x").await.unwrap();
    assert_eq!(first.given_up(), None);
    let told = "its site was given up".to_owned();
    let hex = fingerprint(&tls.cert_pem).unwrap().iter().map(|b| format!("{b:02x}")).collect::<String>();
    // By its number alone it is refused, and may ask again: the number may be another machine's.
    two.bar(Barred { nodes: [NodeNumber(1)].into(), ..Default::default() });
    let stale = old(at);
    assert!(call(&stale, kinds::SUBMIT, b"x").await.is_err());
    assert_eq!(stale.given_up(), None);
    let nodes = [NodeNumber(1)].into();
    two.bar(Barred { nodes, given_up: [(hex, told.clone())].into(), ..Default::default() });
    // The open connection ends; the next one is told why.
    while first.given_up().is_none() {
        let _ = call(&first, kinds::SUBMIT, b"x").await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(first.given_up(), Some((NodeNumber(2), told.clone())));
    let again = old(at);
    assert!(call(&again, kinds::SUBMIT, b"x").await.is_err());
    assert_eq!(again.given_up(), Some((NodeNumber(2), told)));
    two.bar(Barred { nodes: [].into(), ..two.barred() });
    let successor = peers(&authority, 1, CLUSTER);
    successor.set_address(NodeNumber(2), at);
    assert_eq!(call(&successor, kinds::SUBMIT, b"x").await.unwrap().as_ref(), b"1/16/x");
}

#[tokio::test]
async fn a_joining_machine_may_send_join_and_nothing_else() {
    let (authority, one, _two) = pair().await;
    let at = one.shared.known.lock().unwrap().addresses[&NodeNumber(2)].borrow().to_owned();
    let ca = fingerprint(&authority.pem()).unwrap();
    let answer = join_call(at, ca, Bytes::from_static(b"token"), SOON).await.unwrap();
    assert_eq!(answer.as_ref(), b"0/34/token");
    assert!(join_call(at, [7; 32], Bytes::from_static(b"token"), SOON).await.is_err());
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let (authority, one, two) = pair().await;
    let at = one.shared.known.lock().unwrap().addresses[&NodeNumber(2)].borrow().to_owned();
    call(&one, kinds::SUBMIT, b"x").await.unwrap();
    two.close();
    let deadline = tokio::time::Instant::now() + SOON;
    while call(&one, kinds::SUBMIT, b"x").await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline);
    }
    let again = peers(&authority, 2, CLUSTER);
    let moved = again.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert_ne!(at, moved);
    one.set_address(NodeNumber(2), moved);
    while call(&one, kinds::SUBMIT, b"x").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn callers_that_gave_up_make_room_for_others() {
    let (_authority, one, _two) = pair().await;
    let hopeless = (0..20).map(|_| {
        one.call(NodeNumber(2), Lane::Bulk, kinds::SUBMIT, Bytes::from_static(b"never"), Duration::from_millis(200))
    });
    // Sixteen are on their way, the others wait for a place; all give up in time.
    for answer in futures_util::future::join_all(hopeless).await {
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
    let answer = one.call(NodeNumber(2), Lane::Bulk, kinds::SUBMIT, Bytes::from_static(b"x"), SOON).await;
    assert_eq!(answer.unwrap().as_ref(), b"1/16/x");
}

#[tokio::test]
async fn nobody_is_called_whose_address_is_not_known() {
    let (_authority, one, _two) = pair().await;
    let answer = one.call(NodeNumber(9), Lane::Ask, kinds::SUBMIT, Bytes::new(), SOON).await;
    assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_copy_of_a_node_is_refused_while_the_node_lives_and_told_why() {
    let authority = Authority::new();
    let two = peers(&authority, 2, CLUSTER);
    let at = two.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let tls = authority.node(&node_name(NodeNumber(1), CLUSTER));
    let process = || {
        let one = Peers::new(NodeNumber(1), CLUSTER, &tls, Arc::default()).unwrap();
        one.set_address(NodeNumber(2), at);
        one
    };
    let (one, copy) = (process(), process());
    call(&one, kinds::SUBMIT, b"x").await.unwrap();
    let refused = call(&copy, kinds::SUBMIT, b"x").await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.to_string().as_str()),
        (io::ErrorKind::AlreadyExists, "another process runs as this node")
    );
    assert_eq!(copy.twin().unwrap().0, NodeNumber(2));
    call(&one, kinds::SUBMIT, b"x").await.unwrap();
    assert!(one.twin().is_none());
    one.close();
    let deadline = tokio::time::Instant::now() + SOON;
    while call(&copy, kinds::SUBMIT, b"x").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the first is gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(copy.twin().is_none());
    // The first comes again, and is the second now.
    let again = process();
    assert_eq!(call(&again, kinds::SUBMIT, b"x").await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}
