//! A site whose voters are lost for good: what its followers tell of themselves, promise and take over, asked by one of them that
//! an operator told so (SUCCESSION). `admin/promote.rs` decides what is asked; Raft's part is `consensus/succession.rs`.
//!
//! Who asks must stand in this node's own site, and that site must not be the serving one (P5). What is kept of whom it gave up is
//! `given_up.rs`.

use super::{
    Node,
    given_up::{self, GivenUp},
    rooms::Rooms,
};
use crate::{
    audit,
    consensus::{End, Group, Member, RaftId},
    engine::{
        SITE,
        cut::Standing,
        draft::Fault,
        succession::{Takeover, ending, take_over},
    },
    record,
    seam::{
        fs::blocking,
        net::{Answer, Handler, Kind, Lane, NodeNumber, Router, kinds},
    },
    services::directory::{rows, sites},
    store::Reader,
    wire::record::Record,
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    io,
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
/// Ask the other site's nodes for a while whether they are there.
pub const LISTEN: u8 = 5;
/// Tell what a takeover would find, and write nothing.
pub const SEARCH: u8 = 6;
/// What the trail of each partition calls it.
pub const PROMOTED: &str = "site.promote";
/// A node that does not answer within this is not heard.
const HEARD: Duration = Duration::from_millis(800);
/// A peer that could not be reached is tried again within a second at most (`peer/link.rs`): who may come back is asked more than once.
const AGAIN: Duration = Duration::from_millis(500);
/// Times that the lost nodes are asked before they are given up: over two seconds.
const ROUNDS: usize = 5;

record! {
    /// SUCCESSION: what a node of a site is asked that goes on without the one that served.
    pub struct SuccessionCall v1 {
        /// 1 tell, 2 give up, 3 yield, 4 succeed, 5 listen, 6 search.
        1 => what: u8,
        /// The site that goes on: the asker's and the asked one's.
        2 => site: String,
        /// Yield, succeed: partition, term, the heir's number, and where its log ends.
        3 => group: u16,
        4 => term: u64,
        5 => heir: u16,
        6 => end_term: u64,
        7 => end_index: u64,
        /// Succeed: Raft ids of those that vote from now on, and are its only members.
        8 => voters: Vec<u64>,
        /// Succeed, search: how much each partition has taken of this one.
        9 => taken: Vec<u64>,
        /// Give up, succeed: who decided it, when (milliseconds since the epoch), and what may be missing, in words.
        10 => operator: String,
        11 => at: u64,
        12 => missing: String,
        /// Listen, give up: the nodes that are gone on without, and certificates of theirs (SHA-256 of the DER, lower-case hex).
        13 => out: Vec<u64>,
        14 => certificates: Vec<String>,
        /// Give up: since when the lost site served (milliseconds since the epoch), and the moment before which everything is there.
        15 => since: u64,
        16 => until: u64,
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
        /// Tell: what its clock says, milliseconds since the epoch.
        7 => now: u64,
        /// Tell: nodes that stand elsewhere by its registry, their certificates, and since when the serving site serves.
        8 => away: Vec<u64>,
        9 => certificates: Vec<String>,
        10 => since: u64,
        /// Tell: nodes that it has given up already, and the moment that was named then.
        11 => given_up: Vec<u64>,
        12 => until: u64,
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
        /// The node's own Raft id: an incarnation of before is nobody's.
        13 => own: u64,
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
            LISTEN => silent(rooms, call, ROUNDS).await.map(|()| SuccessionAnswer::default()),
            SEARCH => search(rooms, call).await,
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
fn elsewhere(node: &Node, site: &dyn Reader) -> Result<Vec<(u16, rows::Member)>, Fault> {
    let away = |m: &rows::Member| !m.removed && m.site != node.settings.node.site;
    Ok(rows::members(site)?.into_iter().filter(|(_, m)| away(m)).collect())
}

/// Which of these nodes answer, asked so many times.
async fn heard(rooms: &Rooms, of: &[u64], rounds: usize) -> BTreeSet<u64> {
    let mut heard = BTreeSet::new();
    for round in 0..rounds {
        if round > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        let calls = of.iter().filter_map(|number| Some((*number, u16::try_from(*number).ok()?)));
        let calls = calls.map(|(id, number)| async move {
            let call = rooms.transport.call(NodeNumber(number), Lane::Ask, kinds::STATUS, Bytes::new(), HEARD);
            call.await.ok().map(|_| id)
        });
        heard.extend(futures_util::future::join_all(calls).await.into_iter().flatten());
    }
    heard
}

/// A refusal where one of those that would be given up is there.
async fn silent(rooms: &Rooms, call: &SuccessionCall, rounds: usize) -> Result<(), String> {
    match heard(rooms, &call.out, rounds).await.first() {
        None => Ok(()),
        Some(number) => Err(format!("node {number}, which would be given up, answers")),
    }
}

async fn tell(node: &Node, rooms: &Rooms) -> Result<SuccessionAnswer, String> {
    let site = rooms.engine.local(SITE);
    let away = elsewhere(node, site.as_ref()).map_err(|e| e.to_string())?;
    let since = sites::serving(site.as_ref()).map_err(|e| e.to_string())?.unwrap_or_default().since;
    let certificates = away.iter().map(|(_, m)| m.certificate.clone()).filter(|c| !c.is_empty()).collect();
    let away: Vec<u64> = away.into_iter().map(|(number, _)| number.into()).collect();
    // Once more than once: a link that has just failed does not ask.
    let hears = heard(rooms, &away, 2).await.into_iter().collect();
    let mut places = vec![];
    for group in &rooms.groups {
        places.push(place(rooms, group).await?);
    }
    let kept = node.given_up.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
    Ok(SuccessionAnswer {
        places,
        hears,
        bodies_whole: super::report::own(node, rooms).bodies_whole,
        now: node.world.clock.now().0,
        away,
        certificates,
        since,
        given_up: kept.nodes.into_iter().map(u64::from).collect(),
        until: kept.until,
        ..Default::default()
    })
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
        own: group.id().0,
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
    silent(rooms, call, 1).await?;
    let nodes: BTreeSet<u16> = call.out.iter().filter_map(|number| u16::try_from(*number).ok()).collect();
    let own = rows::members(rooms.engine.local(SITE).as_ref()).map_err(|e| e.to_string())?;
    let own = own.into_iter().filter(|(number, m)| nodes.contains(number) && !m.certificate.is_empty());
    let certificates = own.map(|(_, m)| m.certificate).chain(call.certificates.iter().cloned()).collect();
    let (site, since, until) = (call.site.clone(), call.since, call.until);
    let given_up = GivenUp { site, at: call.at, since, until, nodes, certificates };
    let (keeping, data) = (given_up.clone(), node.settings.node.data.clone());
    let kept = blocking(&node.world.fs, move |_| keeping.keep(&data)).await;
    kept.map_err(|e| format!("{} cannot be written: {e}", given_up::FILE))?;
    tracing::warn!(event = "node.site.given_up", nodes = ?given_up.nodes, operator = call.operator, missing = call.missing,
        "the site goes on without those nodes, and takes no word from them");
    *node.given_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(given_up);
    let barred = super::door::bar(node, &rooms.engine, &rooms.peers);
    barred.map_err(|e| format!("the registry cannot be read: {e}"))?;
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

/// The entries with which this node would take the partition over, nothing written.
async fn makes(rooms: &Rooms, call: &SuccessionCall, detail: String) -> Result<(Takeover, Group, End), String> {
    let (group, end) = group(rooms, call)?;
    let (map, rows) = (rooms.engine.map(), rooms.store.partition(call.group).map_err(|e| e.to_string())?);
    let (standing, found) = ending(map, rows.as_ref(), &group).await?;
    if found != end {
        return Err("its log has moved meanwhile".into());
    }
    let record = audit::Record {
        // The partition's own time: an operator's clock would move its stamps on, and with them whatever is due by them.
        at: standing.time(),
        interaction: PROMOTED.into(),
        outcome: "ok".into(),
        detail,
        operator: call.operator.clone(),
        action: audit::action_of(PROMOTED).into(),
        ..Default::default()
    };
    let made = take_over(map, &group, (call.term, end), &standing, &call.taken, record).await?;
    Ok((made, group, end))
}

fn told(made: &Takeover) -> SuccessionAnswer {
    let lost = made.lost.iter().copied().map(u64::from).collect();
    SuccessionAnswer { again: made.again, lost, ..Default::default() }
}

async fn search(rooms: &Rooms, call: &SuccessionCall) -> Result<SuccessionAnswer, String> {
    makes(rooms, call, String::new()).await.map(|(made, ..)| told(&made))
}

async fn succeed(node: &Node, rooms: &Rooms, call: &SuccessionCall) -> Result<SuccessionAnswer, String> {
    let decided = jiff::Timestamp::from_millisecond(call.at as i64).map(|t| t.to_string()).unwrap_or_default();
    let (end, number) = ((call.end_index, call.end_term), node.settings.node.number);
    let detail = format!(
        "{}; decided at {decided}; node {number} goes on behind entry {} of term {}",
        call.missing, end.0, end.1
    );
    let (made, group, end) = makes(rooms, call, detail).await?;
    let known = group.members();
    let member = |id: &u64| known.iter().find(|m| m.id == RaftId(*id)).map(|m| Member { voter: true, ..*m });
    let members: Vec<Member> = call.voters.iter().filter_map(member).collect();
    if members.len() != call.voters.len() {
        return Err("its members are not those that were told".into());
    }
    let answer = told(&made);
    group.succeed(call.term, end, made.entries, &members).await.map_err(|e| e.to_string())?;
    Ok(answer)
}
