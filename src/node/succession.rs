//! A site whose voters are lost for good: what its followers tell of themselves, promise and take over, asked by one of them that
//! an operator told so (SUCCESSION). `admin/promote.rs` decides what is asked; Raft's part is `consensus/succession.rs`.
//!
//! Who asks must stand in this node's own site, and that site must not be the serving one (P5). From the moment on in which a node
//! gives the other site up it turns its nodes away at the door, over restarts too: they may come back with a majority of the old
//! votes, and would take back what was taken over (P2).

use super::{Node, rooms::Rooms};
use crate::{
    audit,
    consensus::{End, Group, Member, RaftId},
    engine::{
        SITE,
        cut::Standing,
        draft::Fault,
        succession::{ending, take_over},
    },
    record,
    seam::net::{Answer, Handler, Kind, Lane, NodeNumber, Router, kinds},
    services::directory::{rows, sites},
    store::Reader,
    wire::record::Record,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

/// Tell where your logs end, and whom of the other site you hear.
pub const TELL: u8 = 1;
/// Turn the other site's nodes away from now on.
pub const GIVE_UP: u8 = 2;
/// Promise a term to an heir.
pub const YIELD: u8 = 3;
/// Take a partition over, as its heir.
pub const SUCCEED: u8 = 4;
/// What the trail of each partition calls it.
pub const PROMOTED: &str = "site.promote";
/// A node that does not answer within this is not heard.
const HEARD: Duration = Duration::from_millis(800);
const FILE: &str = "given-up.json";

record! {
    /// SUCCESSION: what a node of a site is asked that goes on without the one that served.
    pub struct SuccessionCall v1 {
        /// 1 tell, 2 give up, 3 yield, 4 succeed.
        1 => what: u8,
        /// The site that goes on: the asker's and the asked one's.
        2 => site: String,
        /// Yield, succeed: partition, term, the heir's number, and where its log ends.
        3 => group: u16,
        4 => term: u64,
        5 => heir: u16,
        6 => end_term: u64,
        7 => end_index: u64,
        /// Succeed: Raft ids of those that vote from now on, and of those that follow.
        8 => voters: Vec<u64>,
        9 => learners: Vec<u64>,
        /// Succeed: how much each partition has taken of this one.
        10 => taken: Vec<u64>,
        /// Give up, succeed: who decided it, when (milliseconds since the epoch), and what may be missing, in words.
        11 => operator: String,
        12 => at: u64,
        13 => missing: String,
    }
}

record! {
    /// Answer to SUCCESSION.
    pub struct SuccessionAnswer v1 {
        /// Why it was not done; empty where it was.
        1 => refusal: String,
        /// Tell: every partition's place, and nodes of other sites that answer this one.
        2 => places: Vec<PlaceRecord>,
        3 => hears: Vec<u64>,
        /// Tell: since when it is known to hold every body, as in `NodeStatus`.
        4 => bodies_whole: u64,
        /// Succeed: items that are delivered once more, and partitions that have lost items for good.
        5 => again: u64,
        6 => lost: Vec<u64>,
    }
}

record! {
    /// Where a partition's log ends on a node, and how it stands to the others there.
    pub struct PlaceRecord v1 {
        1 => group: u16,
        /// The term that the node has promised to follow.
        2 => promised: u64,
        3 => end_term: u64,
        4 => end_index: u64,
        5 => applied: u64,
        /// Raft ids.
        6 => voters: Vec<u64>,
        7 => learners: Vec<u64>,
        8 => leading: bool,
        /// When the newest decision in the log was stamped, milliseconds since the epoch.
        9 => time: u64,
        /// Items sent; taken, by source; cleared, by target.
        10 => sent: u64,
        11 => taken: Vec<u64>,
        12 => cleared: Vec<u64>,
    }
}

impl PlaceRecord {
    pub fn end(&self) -> End {
        End { term: self.end_term, index: self.end_index }
    }
    pub fn standing(&self) -> Standing {
        Standing::told(self.time, self.sent, self.taken.clone(), self.cleared.clone())
    }
}

/// A site that was given up, as kept beside the data until the registry says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The site that goes on.
    site: String,
    /// Milliseconds since the epoch.
    at: u64,
    nodes: BTreeSet<u16>,
}

impl GivenUp {
    /// What is kept; `None` where nothing is, or it cannot be read: then the registry alone says who is out.
    pub fn kept(data: &Path) -> Option<GivenUp> {
        serde_json::from_slice(&std::fs::read(data.join(FILE)).ok()?).ok()
    }

    fn keep(&self, data: &Path) -> io::Result<()> {
        let temporary = data.join(FILE).with_extension("tmp");
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, data.join(FILE))?;
        std::fs::File::open(data)?.sync_all()
    }
}

fn told(site: &str, at: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(at as i64).map(|t| t.to_string()).unwrap_or_default();
    format!("this node's site was given up by `spine site promote {site}` at {at}; site {site} serves without it")
}

/// Nodes that are turned away because their site was given up, and what they are told. By the registry; until it says so, by what
/// was kept here.
pub fn given_up(
    node: &Node,
    site: &dyn Reader,
    members: &[(u16, rows::Member)],
) -> Result<BTreeMap<NodeNumber, String>, Fault> {
    let serving = sites::serving(site)?.unwrap_or_default().site;
    let out = members.iter().filter(|(_, m)| m.removed && m.given_up > 0);
    let mut all: BTreeMap<NodeNumber, String> =
        out.map(|(number, m)| (NodeNumber(*number), told(&serving, m.given_up))).collect();
    let mut kept = node.given_up.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.as_ref().is_some_and(|kept| kept.site == serving) {
        let gone = std::fs::remove_file(node.settings.node.data.join(FILE));
        *kept = kept.take().filter(|_| gone.is_err_and(|e| e.kind() != io::ErrorKind::NotFound));
    }
    if let Some(kept) = kept.as_ref().filter(|kept| kept.site != serving) {
        all.extend(kept.nodes.iter().map(|number| (NodeNumber(*number), told(&kept.site, kept.at))));
    }
    Ok(all)
}

/// The same by certificate, where the registry says so.
pub fn given_up_certificates(site: &dyn Reader, expelled: &[(String, u64)]) -> Result<BTreeMap<String, String>, Fault> {
    let serving = sites::serving(site)?.unwrap_or_default().site;
    let given_up = expelled.iter().filter(|(_, at)| *at > 0);
    Ok(given_up.map(|(certificate, at)| (certificate.clone(), told(&serving, *at))).collect())
}

/// Answers SUCCESSION.
pub fn claim(router: &Router, node: &Arc<Node>) {
    router.claim(kinds::SUCCESSION, Arc::new(Successor(Arc::downgrade(node))));
}

struct Successor(Weak<Node>);

impl Handler for Successor {
    fn handle(&self, from: NodeNumber, _: Kind, payload: Bytes) -> Answer {
        let node = self.0.clone();
        Box::pin(async move {
            let gone = || io::Error::from(io::ErrorKind::NotConnected);
            let node = node.upgrade().ok_or_else(gone)?;
            let rooms = node.rooms.get().ok_or_else(gone)?;
            let call = SuccessionCall::decode(&payload).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            Ok(answer(&node, rooms, from, &call).await.encode())
        })
    }
}

/// Asks a node of this site, or this one itself.
pub async fn ask(
    node: &Node,
    rooms: &Rooms,
    to: u16,
    call: &SuccessionCall,
    patience: Duration,
) -> Option<SuccessionAnswer> {
    if to == node.settings.node.number {
        return Some(answer(node, rooms, NodeNumber(to), call).await);
    }
    let answer = rooms.transport.call(NodeNumber(to), Lane::Ask, kinds::SUCCESSION, call.encode(), patience).await;
    answer.ok().and_then(|bytes| SuccessionAnswer::decode(&bytes).ok())
}

async fn answer(node: &Node, rooms: &Rooms, from: NodeNumber, call: &SuccessionCall) -> SuccessionAnswer {
    let done = match allowed(node, rooms, from, call) {
        Err(why) => Err(why),
        Ok(()) => match call.what {
            TELL => tell(node, rooms).await,
            GIVE_UP => give_up(node, rooms, call).await,
            YIELD => promise(rooms, call).await,
            SUCCEED => succeed(node, rooms, call).await,
            other => Err(format!("what {other} asks is not known to this release")),
        },
    };
    done.unwrap_or_else(|refusal| SuccessionAnswer { refusal, ..Default::default() })
}

/// Only a node of the site that is to go on may ask, and only while that site does not serve.
fn allowed(node: &Node, rooms: &Rooms, from: NodeNumber, call: &SuccessionCall) -> Result<(), String> {
    let site = rooms.engine.local(SITE);
    let unread = |e: Fault| e.to_string();
    let own = &node.settings.node.site;
    if own.is_empty() || *own != call.site {
        return Err(format!("node {} stands in site {own}, not in {}", node.settings.node.number, call.site));
    }
    let asker = rows::member(site.as_ref(), from.0).map_err(unread)?.filter(|m| !m.removed);
    if asker.is_none_or(|asker| asker.site != call.site) {
        return Err(format!("node {from} does not stand in site {}", call.site));
    }
    let serving = sites::serving(site.as_ref()).map_err(unread)?.unwrap_or_default();
    if serving.site == call.site && call.what != TELL {
        return Err(format!("site {} serves already", call.site));
    }
    Ok(())
}

/// Nodes that are no part of this node's site, by the registry: those that would be given up.
pub fn elsewhere(node: &Node, site: &dyn Reader) -> Result<BTreeSet<u16>, Fault> {
    let away = |m: &rows::Member| !m.removed && m.site != node.settings.node.site;
    Ok(rows::members(site)?.into_iter().filter(|(_, m)| away(m)).map(|(number, _)| number).collect())
}

async fn tell(node: &Node, rooms: &Rooms) -> Result<SuccessionAnswer, String> {
    let away = elsewhere(node, rooms.engine.local(SITE).as_ref()).map_err(|e| e.to_string())?;
    let calls = away.into_iter().map(|number| async move {
        let call = rooms.transport.call(NodeNumber(number), Lane::Ask, kinds::STATUS, Bytes::new(), HEARD);
        call.await.ok().map(|_| u64::from(number))
    });
    let hears: Vec<u64> = futures_util::future::join_all(calls).await.into_iter().flatten().collect();
    let mut places = vec![];
    for group in &rooms.groups {
        places.push(place(rooms, group).await?);
    }
    let bodies_whole = super::report::own(node, rooms).bodies_whole;
    Ok(SuccessionAnswer { places, hears, bodies_whole, ..Default::default() })
}

async fn place(rooms: &Rooms, group: &Group) -> Result<PlaceRecord, String> {
    let (place, map) = (group.place(), rooms.engine.map());
    let rows = rooms.store.partition(group.number()).map_err(|e| e.to_string())?;
    // Where this node leads it writes on: its rows are the truth, and its end moves.
    let (standing, end) = match place.leading {
        true => (Standing::read(map, |key| rows.get(key)).map_err(|e| e.to_string())?, place.end),
        false => ending(map, rows.as_ref(), group).await?,
    };
    let ids = |votes: bool| place.members.iter().filter(|m| m.voter == votes).map(|m| m.id.0).collect();
    Ok(PlaceRecord {
        group: group.number(),
        promised: place.promised,
        end_term: end.term,
        end_index: end.index,
        applied: place.applied,
        voters: ids(true),
        learners: ids(false),
        leading: place.leading,
        time: standing.time(),
        sent: standing.sent(),
        taken: map.all().map(|source| standing.taken(source)).collect(),
        cleared: map.all().map(|target| standing.cleared(target)).collect(),
        ..Default::default()
    })
}

async fn give_up(node: &Node, rooms: &Rooms, call: &SuccessionCall) -> Result<SuccessionAnswer, String> {
    let nodes = elsewhere(node, rooms.engine.local(SITE).as_ref()).map_err(|e| e.to_string())?;
    let given_up = GivenUp { site: call.site.clone(), at: call.at, nodes };
    given_up.keep(&node.settings.node.data).map_err(|e| format!("{FILE} cannot be written: {e}"))?;
    tracing::warn!(event = "node.site.given_up", nodes = ?given_up.nodes, operator = call.operator, missing = call.missing,
        "the site goes on without those nodes, and takes no word from them");
    *node.given_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(given_up);
    super::door::bar(node, &rooms.engine, &rooms.peers);
    Ok(SuccessionAnswer::default())
}

fn group(rooms: &Rooms, call: &SuccessionCall) -> Result<(Group, End), String> {
    let group = rooms.groups.get(usize::from(call.group)).ok_or("there is no such partition")?;
    Ok((group.clone(), End { term: call.end_term, index: call.end_index }))
}

async fn promise(rooms: &Rooms, call: &SuccessionCall) -> Result<SuccessionAnswer, String> {
    let (group, end) = group(rooms, call)?;
    let granted = group.yield_to(call.term, NodeNumber(call.heir), end).await.map_err(|e| e.to_string())?;
    if !granted {
        return Err("it hears a leader, or its log is longer, or it has promised a later term".into());
    }
    Ok(SuccessionAnswer::default())
}

async fn succeed(node: &Node, rooms: &Rooms, call: &SuccessionCall) -> Result<SuccessionAnswer, String> {
    let (group, end) = group(rooms, call)?;
    let (map, rows) = (rooms.engine.map(), rooms.store.partition(call.group).map_err(|e| e.to_string())?);
    let (standing, found) = ending(map, rows.as_ref(), &group).await?;
    if found != end {
        return Err("its log has moved meanwhile".into());
    }
    let record = audit::Record {
        at: call.at,
        node: node.settings.node.number,
        interaction: PROMOTED.into(),
        outcome: "ok".into(),
        detail: format!("{}; this partition goes on behind entry {} of term {}", call.missing, end.index, end.term),
        operator: call.operator.clone(),
        action: audit::action_of(PROMOTED).into(),
        ..Default::default()
    };
    let made = take_over(map, &group, (call.term, end), &standing, &call.taken, record).await?;
    let known = group.members();
    let member = |voter: bool| {
        let known = &known;
        move |id: &u64| known.iter().find(|m| m.id == RaftId(*id)).map(|m| Member { voter, ..*m })
    };
    let voters = call.voters.iter().filter_map(member(true));
    let members: Vec<Member> = voters.chain(call.learners.iter().filter_map(member(false))).collect();
    if members.len() != call.voters.len() + call.learners.len() {
        return Err("its members are not those that were told".into());
    }
    group.succeed(call.term, end, made.entry, &members).await.map_err(|e| e.to_string())?;
    let lost = made.lost.into_iter().map(u64::from).collect();
    Ok(SuccessionAnswer { again: made.again, lost, ..Default::default() })
}
