//! The door for new machines (JOIN), changes of members asked of the site group's leader (MEMBERSHIP), and the list of
//! those who are kept out.
//!
//! A token is used up on a majority before anything is signed (P5): shown twice, it opens once. A machine that was taken
//! out of the site does not come in again by itself.

use super::{
    Node, given_up, identity,
    pki::{self, Authority},
    report,
    rooms::Rooms,
    token::{self, JoinAnswer, JoinAsk},
};
use crate::{
    consensus::RaftId,
    engine::{Engine, Fence, SITE, draft::Fault},
    model::is_site_label,
    peer::{Barred, Peers},
    record,
    seam::net::{Answer, Handler, Kind, Lane, NodeNumber, Router, kinds},
    services::directory::{
        command::UseInvitation,
        rows::{self, Member},
        sites,
    },
    wire::record::Record,
};
use bytes::Bytes;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// A change of members waits for an election at worst.
const PATIENCE: Duration = Duration::from_secs(10);
/// One try at whoever leads now.
const TRY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at who was expelled.
const LOOK: Duration = Duration::from_secs(1);

record! {
    /// MEMBERSHIP: a change of the site's members.
    pub struct Change v1 {
        /// 1 admit, 2 expel.
        1 => what: u8,
        2 => node: u16,
        /// Admit: where it listens for peers.
        3 => address: String,
    }
}

record! {
    /// Answer to MEMBERSHIP.
    pub struct Changed v1 {
        /// The admitted incarnation's Raft id.
        1 => id: u64,
        /// Empty where it was done.
        2 => refusal: String,
        /// Another node leads: ask that one.
        3 => elsewhere: bool,
    }
}

const ADMIT: u8 = 1;
const EXPEL: u8 = 2;

/// Answers JOIN and MEMBERSHIP.
pub fn claim(router: &Router, node: &Arc<Node>) {
    let door = Arc::new(Door(Arc::downgrade(node)));
    router.claim(kinds::JOIN, door.clone());
    router.claim(kinds::MEMBERSHIP, door);
}

struct Door(Weak<Node>);

impl Handler for Door {
    fn handle(&self, from: NodeNumber, kind: Kind, payload: Bytes) -> Answer {
        let node = self.0.clone();
        Box::pin(async move {
            let gone = || io::Error::from(io::ErrorKind::NotConnected);
            let node = node.upgrade().ok_or_else(gone)?;
            let rooms = node.rooms.get().ok_or_else(gone)?;
            let malformed = |e| io::Error::new(io::ErrorKind::InvalidData, e);
            match kind {
                kinds::JOIN => {
                    let ask = JoinAsk::decode(&payload).map_err(malformed)?;
                    let answer = welcome(&node, rooms, &ask).await;
                    let refused = |refusal| JoinAnswer { refusal, ..Default::default() };
                    Ok(answer.unwrap_or_else(refused).encode())
                }
                _ if from.0 == 0 => Err(io::ErrorKind::PermissionDenied.into()),
                _ => {
                    let change = Change::decode(&payload).map_err(malformed)?;
                    Ok(here(rooms, &change).await.encode())
                }
            }
        })
    }
}

/// Lets a new machine in. The error is for the operator at that machine.
async fn welcome(node: &Node, rooms: &Rooms, ask: &JoinAsk) -> Result<JoinAnswer, String> {
    let address: SocketAddr = ask.address.parse().map_err(|_| "its peer address is not IP:PORT".to_owned())?;
    if address.ip().is_unspecified() {
        return Err(format!("it would be reached at {address}, which is no address; set peer.advertise"));
    }
    if !ask.site.is_empty() && !is_site_label(&ask.site) {
        return Err("node.site is no label: up to 32 lower-case letters, digits and hyphens".into());
    }
    let ca = authority(node)?;
    // What cannot be read, or a request that cannot be signed, must not cost the token.
    let trail_ca =
        identity::read_trail_authorities(&node.settings).map_err(|e| format!("trail-authorities.pem: {e}"))?;
    ca.sign(&ask.request, &pki::node_wanted(1, "trial")).map_err(|e| format!("its certificate request: {e}"))?;
    let hash = pki::hex(&token::secret_hash(&ask.secret));
    // The machine may take the place of a lost one, whose incarnations must never come again.
    let taken = taken(rooms, &hash).await?;
    let (name, peer) = (ask.name.clone(), address.to_string());
    let member =
        Member { name, peer, incarnation: taken, site: ask.site.clone(), level: ask.level, ..Default::default() };
    let command = UseInvitation { token_hash: hash, member, ..Default::default() };
    let operator = format!("node:{}", node.settings.node.number);
    let reply = report::submit(rooms, operator, command.into()).await?;
    if !reply.is_done() {
        return Err(reply.text);
    }
    let id = admit(rooms, NodeNumber(reply.node), address, taken).await?;
    let cluster = &rooms.identity.cluster;
    let cert = ca.sign(&ask.request, &pki::node_wanted(reply.node, cluster)).map_err(|e| e.to_string())?;
    let members = rooms.groups[0].members();
    let mut nodes: Vec<String> = members.iter().map(|m| format!("{}={}", m.id.node(), m.address)).collect();
    nodes.sort();
    nodes.dedup();
    tracing::info!(event = "node.joined", node = reply.node, address = %address, "a new node was let in");
    Ok(JoinAnswer {
        cluster: cluster.clone(),
        number: reply.node,
        ca: ca.cert().to_owned(),
        cert,
        nodes,
        incarnation: id.incarnation(),
        partitions: rooms.identity.partitions,
        trail_ca,
        ..Default::default()
    })
}

/// The highest incarnation that the node of an invitation ever had.
async fn taken(rooms: &Rooms, token_hash: &str) -> Result<u16, String> {
    let site = rooms.engine.view(SITE, Fence::Linearizable).await.map_err(|e| e.to_string())?;
    let node = rows::invitation(&site, token_hash).map_err(|e| e.to_string())?.map_or(0, |i| i.node);
    Ok(rows::member(&site, node).map_err(|e| e.to_string())?.map_or(0, |m| m.incarnation))
}

/// The site's authority, where this node holds its key.
pub fn authority(node: &Node) -> Result<Authority, String> {
    let peer = &node.settings.peer;
    let key = std::fs::read_to_string(&peer.ca_key).map_err(|e| {
        format!("node {} lacks the authority's key: {}: {e}", node.settings.node.number, peer.ca_key.display())
    })?;
    let cert = std::fs::read_to_string(&peer.ca).map_err(|e| format!("{}: {e}", peer.ca.display()))?;
    Authority::load(&cert, &key).map_err(|e| e.to_string())
}

/// Gives a node a new incarnation in the site, whoever leads: one above `taken`, the highest it ever had. A group that
/// has not heard yet that an incarnation was taken out would else believe that the new one has what the old one had (P1).
pub async fn admit(rooms: &Rooms, node: NodeNumber, address: SocketAddr, taken: u16) -> Result<RaftId, String> {
    let change = Change { what: ADMIT, node: node.0, address: address.to_string(), ..Default::default() };
    loop {
        let id = ask_leader(rooms, &change).await.map(RaftId)?;
        if id.incarnation() > taken {
            return Ok(id);
        }
    }
}

/// Takes a node out of the site, whoever leads.
pub async fn expel(rooms: &Rooms, node: NodeNumber) -> Result<(), String> {
    let change = Change { what: EXPEL, node: node.0, ..Default::default() };
    ask_leader(rooms, &change).await.map(|_| ())
}

/// Keeps expelled machines out: what the registry says of them is passed to the peer listener (P5). Once before it
/// listens, then as the registry changes.
pub async fn keep_out(node: Arc<Node>) {
    loop {
        if let Some(rooms) = node.rooms.get() {
            let _ = bar(&node, &rooms.engine, &rooms.peers);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One look at the registry as this node has it. Where it cannot be read nobody that was kept out comes in, and who is given up by what
/// this node keeps itself is kept out all the same.
pub fn bar(node: &Node, engine: &Engine, peers: &Peers) -> Result<(), Fault> {
    let site = engine.site();
    let read = || -> Result<Barred, Fault> {
        let (site, serving) = (site.as_ref(), sites::serving(site.as_ref())?.unwrap_or_default());
        let (members, expelled) = (rows::members(site)?, rows::expelled(site)?);
        given_up::forget(node, &serving, &expelled);
        Ok(Barred {
            nodes: members.iter().filter(|(_, m)| m.removed).map(|(n, _)| NodeNumber(*n)).collect(),
            given_up: given_up::certificates(&serving, &expelled),
            certificates: expelled.into_iter().map(|(certificate, _)| certificate).collect(),
        })
    };
    let (mut barred, read) = match read() {
        Ok(barred) => (barred, Ok(())),
        Err(e) => (peers.barred(), Err(e)),
    };
    if let Err(e) = &read {
        tracing::debug!(event = "node.barred.unread", error = %e, "who is expelled cannot be read now");
    }
    given_up::bar(node, &mut barred);
    peers.bar(barred);
    read
}

async fn ask_leader(rooms: &Rooms, change: &Change) -> Result<u64, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = String::from("the site has no leader");
    while Instant::now() < deadline {
        let leadership = *rooms.groups[0].leadership().borrow();
        let changed = match leadership.leader {
            _ if leadership.leading => Ok(here(rooms, change).await),
            Some(leader) => {
                let call = rooms.transport.call(leader.node(), Lane::Ask, kinds::MEMBERSHIP, change.encode(), TRY);
                call.await.and_then(|bytes| Changed::decode(&bytes).map_err(io::Error::other))
            }
            None => Ok(Changed { elsewhere: true, ..Default::default() }),
        };
        match changed {
            Ok(changed) if changed.elsewhere => {}
            Ok(changed) if changed.refusal.is_empty() => return Ok(changed.id),
            Ok(changed) => last = changed.refusal,
            Err(e) => last = e.to_string(),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}

/// Makes the change, if this node leads.
async fn here(rooms: &Rooms, change: &Change) -> Changed {
    use crate::consensus::ConsensusError::NotLeader;
    let node = NodeNumber(change.node);
    let done = match (change.what, change.address.parse()) {
        (ADMIT, Ok(address)) => rooms.consensus.admit(node, address).await.map(|id| id.0),
        (EXPEL, _) => rooms.consensus.expel(node).await.map(|()| 0),
        _ => return Changed { refusal: "the change was not understood".into(), ..Default::default() },
    };
    match done {
        Ok(id) => Changed { id, ..Default::default() },
        Err(NotLeader(_)) => Changed { elsewhere: true, ..Default::default() },
        Err(e) => Changed { refusal: e.to_string(), ..Default::default() },
    }
}
