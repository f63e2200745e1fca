//! A network in memory whose links can be cut, slowed and made lossy from a seed (P2, P9).
//!
//! A call that is lost on its way there or back looks the same to the caller: nothing until its time is up. A node that
//! is stopped refuses at once, as a machine without the process does.

use super::SimRng;
use crate::seam::net::{Answer, Handler, Kind, Lane, MAX_PAYLOAD, NodeNumber, Transport};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// How a link behaves in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Each message takes this long, drawn anew: so messages overtake each other.
    pub delay: Range<Duration>,
    /// Chance in 1,000 that a message is lost.
    pub loss: u32,
    /// Chance in 1,000 that a question arrives a second time; that answer goes nowhere.
    pub twice: u32,
}

impl Default for Link {
    fn default() -> Self {
        Link { delay: Duration::from_micros(50)..Duration::from_micros(500), loss: 0, twice: 0 }
    }
}

struct Served {
    handler: Arc<dyn Handler>,
    /// Tells a node that was stopped and started from the one before.
    life: u64,
}

struct Net {
    rng: SimRng,
    nodes: BTreeMap<NodeNumber, Served>,
    lives: u64,
    /// Stops of each node so far: who speaks for a process that is gone is not heard.
    stops: BTreeMap<NodeNumber, u64>,
    /// Directions in which nothing gets through.
    cut: BTreeSet<(NodeNumber, NodeNumber)>,
    links: BTreeMap<(NodeNumber, NodeNumber), Link>,
    usual: Link,
    calls: u64,
    lost: u64,
}

/// The network between the nodes of a simulated site. Clones are the same network.
#[derive(Clone)]
pub struct SimNet(Arc<Mutex<Net>>);

struct SimTransport {
    net: SimNet,
    from: NodeNumber,
    /// Stops of the node when this was made.
    stops: u64,
}

impl SimNet {
    pub fn new(seed: u64) -> SimNet {
        SimNet(Arc::new(Mutex::new(Net {
            rng: SimRng::new(seed),
            nodes: BTreeMap::new(),
            lives: 0,
            stops: BTreeMap::new(),
            cut: BTreeSet::new(),
            links: BTreeMap::new(),
            usual: Link::default(),
            calls: 0,
            lost: 0,
        })))
    }

    /// How node `from` calls others, until it is stopped.
    pub fn transport(&self, from: NodeNumber) -> Arc<dyn Transport> {
        Arc::new(SimTransport { net: self.clone(), from, stops: self.stops(from) })
    }

    /// Starts a node: calls to it are answered by `handler`.
    pub fn serve(&self, node: NodeNumber, handler: Arc<dyn Handler>) {
        let mut net = self.lock();
        net.lives += 1;
        let life = net.lives;
        net.nodes.insert(node, Served { handler, life });
    }

    /// Stops a node: calls to it are refused, answers it still owes are lost, and its own calls get nowhere.
    pub fn stop(&self, node: NodeNumber) {
        let mut net = self.lock();
        net.nodes.remove(&node);
        *net.stops.entry(node).or_default() += 1;
    }

    fn stops(&self, node: NodeNumber) -> u64 {
        self.lock().stops.get(&node).copied().unwrap_or(0)
    }

    /// Cuts the link between two nodes in both directions.
    pub fn cut(&self, a: NodeNumber, b: NodeNumber) {
        self.lock().cut.extend([(a, b), (b, a)]);
    }

    /// Cuts one direction only.
    pub fn cut_one_way(&self, from: NodeNumber, to: NodeNumber) {
        self.lock().cut.insert((from, to));
    }

    /// Cuts a node off from all of `others`.
    pub fn isolate(&self, node: NodeNumber, others: impl IntoIterator<Item = NodeNumber>) {
        others.into_iter().filter(|o| *o != node).for_each(|o| self.cut(node, o));
    }

    /// Joins all links again; delays and losses stay.
    pub fn heal(&self) {
        self.lock().cut.clear();
    }

    /// Gives every link the usual behaviour again.
    pub fn calm(&self) {
        let mut net = self.lock();
        net.links.clear();
        net.usual = Link::default();
    }

    /// How links behave that have no rule of their own.
    pub fn set_usual(&self, link: Link) {
        self.lock().usual = link;
    }

    /// How the link from one node to another behaves.
    pub fn set_link(&self, from: NodeNumber, to: NodeNumber, link: Link) {
        self.lock().links.insert((from, to), link);
    }

    /// (calls made, messages lost) so far.
    pub fn counts(&self) -> (u64, u64) {
        let net = self.lock();
        (net.calls, net.lost)
    }

    fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Time on the way; `None` if the message is lost.
    fn travel(&self, from: NodeNumber, to: NodeNumber) -> Option<Duration> {
        let mut net = self.lock();
        let link = net.links.get(&(from, to)).unwrap_or(&net.usual).clone();
        let span = link.delay.end.saturating_sub(link.delay.start).as_nanos() as u64;
        let delay = link.delay.start + Duration::from_nanos(net.rng.below(span));
        if net.rng.chance(link.loss) || net.cut.contains(&(from, to)) {
            net.lost += 1;
            return None;
        }
        Some(delay)
    }

    fn comes_twice(&self, from: NodeNumber, to: NodeNumber) -> bool {
        let net = self.lock();
        let twice = net.links.get(&(from, to)).unwrap_or(&net.usual).twice;
        twice > 0 && net.rng.chance(twice)
    }

    fn is_cut(&self, from: NodeNumber, to: NodeNumber) -> bool {
        self.lock().cut.contains(&(from, to))
    }

    fn served(&self, node: NodeNumber) -> Option<(Arc<dyn Handler>, u64)> {
        self.lock().nodes.get(&node).map(|s| (s.handler.clone(), s.life))
    }

    async fn carry(&self, from: NodeNumber, to: NodeNumber, kind: Kind, payload: Bytes) -> io::Result<Bytes> {
        self.pass(from, to).await;
        let Some((handler, life)) = self.served(to) else { return Err(ErrorKind::ConnectionRefused.into()) };
        if self.comes_twice(from, to) {
            let (net, handler, payload) = (self.clone(), handler.clone(), payload.clone());
            tokio::spawn(async move {
                net.pass(from, to).await;
                drop(handler.handle(from, kind, payload).await);
            });
        }
        // The work goes on if the caller gives up, as it would in another process.
        let answer = tokio::spawn(handler.handle(from, kind, payload)).await;
        let answer = answer.unwrap_or_else(|_| Err(ErrorKind::ConnectionReset.into()));
        self.pass(to, from).await;
        if self.served(to).map(|(_, life)| life) != Some(life) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        answer
    }

    /// Waits while a message travels; for ever if it is lost.
    async fn pass(&self, from: NodeNumber, to: NodeNumber) {
        if let Some(delay) = self.travel(from, to) {
            tokio::time::sleep(delay).await;
            if !self.is_cut(from, to) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

impl Transport for SimTransport {
    fn call(&self, to: NodeNumber, _lane: Lane, kind: Kind, payload: Bytes, timeout: Duration) -> Answer {
        let (net, from, gone) = (self.net.clone(), self.from, self.stops != self.net.stops(self.from));
        net.lock().calls += 1;
        Box::pin(async move {
            if gone {
                return Err(ErrorKind::NotConnected.into());
            }
            if payload.len() > MAX_PAYLOAD {
                return Err(ErrorKind::InvalidInput.into());
            }
            match tokio::time::timeout(timeout, net.carry(from, to, kind, payload)).await {
                Ok(answer) => answer,
                Err(_) => Err(ErrorKind::TimedOut.into()),
            }
        })
    }

    fn set_address(&self, _node: NodeNumber, _address: SocketAddr) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Handler for Echo {
        fn handle(&self, from: NodeNumber, kind: Kind, payload: Bytes) -> Answer {
            Box::pin(async move {
                assert_eq!((from, kind), (NodeNumber(1), Kind(7)));
                Ok(payload)
            })
        }
    }

    async fn ask(net: &SimNet) -> Result<Bytes, ErrorKind> {
        let call = net.transport(NodeNumber(1)).call(
            NodeNumber(2),
            Lane::Ask,
            Kind(7),
            Bytes::from_static(b"hi"),
            Duration::from_millis(50),
        );
        call.await.map_err(|e| e.kind())
    }

    #[tokio::test]
    async fn calls_arrive_and_cuts_and_stops_show() {
        let net = SimNet::new(1);
        assert_eq!(ask(&net).await, Err(ErrorKind::ConnectionRefused));
        net.serve(NodeNumber(2), Arc::new(Echo));
        assert_eq!(ask(&net).await, Ok(Bytes::from_static(b"hi")));
        net.cut_one_way(NodeNumber(2), NodeNumber(1));
        assert_eq!(ask(&net).await, Err(ErrorKind::TimedOut));
        net.heal();
        net.isolate(NodeNumber(2), [NodeNumber(1), NodeNumber(2), NodeNumber(3)]);
        assert_eq!(ask(&net).await, Err(ErrorKind::TimedOut));
        net.heal();
        net.set_link(NodeNumber(1), NodeNumber(2), Link { loss: 1000, ..Link::default() });
        assert_eq!(ask(&net).await, Err(ErrorKind::TimedOut));
        net.set_link(NodeNumber(1), NodeNumber(2), Link::default());
        assert_eq!(ask(&net).await, Ok(Bytes::from_static(b"hi")));
        net.stop(NodeNumber(2));
        assert_eq!(ask(&net).await, Err(ErrorKind::ConnectionRefused));
        assert_eq!(net.counts(), (7, 3));
    }
}
