//! What a node knows of itself, told to the others (STATUS), gathered for operators, and kept in its registry row.

use super::{Node, backup::desk::kept, rooms::Rooms};
use crate::{
    access::caller::Caller,
    consensus::RaftId,
    engine::{Command, Fence, SITE, services},
    node::identity::LEVEL,
    ops::recorder::VERSION,
    record,
    seam::net::{Answer, Handler, Kind, Lane, NodeNumber, Router, kinds},
    services::directory::{
        command::{DirectoryCommand, DirectoryReply, SetNode},
        level,
        rows::{self, Member},
        sites::{self, SetServing},
    },
    store::Reader,
    wire::record::Record,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

/// A node that does not answer within this is not seen.
const PATIENCE: Duration = Duration::from_millis(800);
/// How often the node's row in the registry is compared with the truth.
const ROW: Duration = Duration::from_secs(5);

record! {
    /// Answer to STATUS.
    pub struct NodeStatus v1 {
        1 => version: String,
        2 => name: String,
        3 => ready: bool,
        4 => draining: bool,
        5 => groups: Vec<GroupStatus>,
        /// What is wrong with its clock, in words for operators; empty while nothing is known to be.
        6 => clock: String,
        /// Commands that wait here for another partition, of the partitions that it leads.
        7 => waiting: u64,
        /// When the oldest of them was sent, milliseconds since the epoch; 0 where none waits.
        8 => oldest: u64,
        /// What the asking node has acknowledged, in groups that this node leads.
        9 => acknowledged: Vec<Acknowledged>,
        /// What is wrong with its disk's pace, as `clock`.
        10 => disk: String,
        /// The latest incarnation of the asking node among the members of groups known here; 0 for none.
        11 => incarnation: u16,
        /// The site that it stands in.
        12 => site: String,
        /// At this moment it began to look for bodies that it lacks, and lacked none at the end; 0: not since it started.
        13 => bodies_whole: u64,
        /// Services for which it knows an address of the system being replaced.
        14 => upstreams: Vec<String>,
        /// The highest level that it knows; 0 of a release that does not tell: 1.
        20 => level: u32,
        /// The site's level as it knows it; 0 of a release that does not tell: 1.
        21 => site_level: u32,
        /// When it last made a backup, and when one was last verified by way of it; milliseconds since the epoch, 0 for never.
        22 => backup_made: u64,
        23 => backup_verified: u64,
    }
}

record! {
    /// The last entry that a member of a group has acknowledged to its leader.
    pub struct Acknowledged v1 {
        1 => group: u16,
        /// The member's Raft id.
        2 => id: u64,
        3 => index: u64,
        /// The leader's term: in which it was acknowledged.
        4 => term: u64,
    }
}

record! {
    pub struct GroupStatus v1 {
        1 => group: u16,
        2 => applied: u64,
        3 => last: u64,
        4 => leading: bool,
        5 => committed: u64,
    }
}

/// This node's own status.
pub fn own(node: &Node, rooms: &Rooms) -> NodeStatus {
    let group = |g: &crate::consensus::Group| {
        let s = g.status();
        let (group, leading) = (s.group, s.leadership.leading);
        GroupStatus { group, applied: s.applied, last: s.last, leading, committed: s.committed, ..Default::default() }
    };
    let backlog = rooms.engine.backlog();
    let backup = kept(&node.settings.node.data);
    let now = node.world.clock.now().0;
    NodeStatus {
        version: VERSION.into(),
        name: node.settings.node.name.clone(),
        site: node.settings.node.site.clone(),
        bodies_whole: rooms.bulk.whole_since().map_or(0, |ago| now.saturating_sub(ago.as_millis() as u64)),
        ready: node.ready(),
        draining: node.draining(),
        groups: rooms.groups.iter().map(group).collect(),
        waiting: backlog.waiting,
        oldest: backlog.oldest,
        upstreams: upstreams(node),
        level: LEVEL,
        // What cannot be read now is told by the others.
        site_level: level::of(rooms.engine.local(SITE).as_ref()).unwrap_or(0),
        backup_made: backup.made,
        backup_verified: backup.verified,
        clock: rooms.engine.clock().trouble().unwrap_or_default(),
        disk: rooms.engine.disk().trouble().unwrap_or_default(),
        ..Default::default()
    }
}

/// As they are in force; while it starts, as they will be.
fn upstreams(node: &Node) -> Vec<String> {
    let configured = || node.settings.upstream.addresses.iter().map(|(service, _)| *service).collect();
    let services = node.front.get().map_or_else(configured, |front| front.relays.services());
    services.into_iter().map(str::to_owned).collect()
}

/// What a node has acknowledged, of the groups led here: only a leader knows, and only since it leads.
fn acknowledged(rooms: &Rooms, by: NodeNumber) -> Vec<Acknowledged> {
    let led = rooms.groups.iter().map(crate::consensus::Group::status).filter(|status| status.leadership.leading);
    let of = |status: crate::consensus::Status| {
        let (group, term) = (status.group, status.leadership.term);
        let own = status.matched.into_iter().filter(move |(id, _)| id.node() == by);
        own.map(move |(id, index)| Acknowledged { group, id: id.0, index, term, ..Default::default() })
    };
    led.flat_map(of).collect()
}

/// The latest incarnation in which a node is a member, as known here, committed or not: none is given twice.
fn latest(rooms: &Rooms, node: NodeNumber) -> u16 {
    let members = rooms.groups.iter().flat_map(|group| group.members());
    members.filter(|member| member.id.node() == node).map(|member| member.id.incarnation()).max().unwrap_or(0)
}

/// What every member says of itself now; silent ones are missing.
pub async fn gather(node: &Node, rooms: &Rooms) -> BTreeMap<u16, NodeStatus> {
    let me = node.settings.node.number;
    let mut numbers: Vec<NodeNumber> = rooms.groups.iter().flat_map(|g| g.members()).map(|m| m.id.node()).collect();
    numbers.sort();
    numbers.dedup();
    let calls = numbers.into_iter().filter(|n| n.0 != me).map(|n| async move {
        let answer = rooms.transport.call(n, Lane::Ask, kinds::STATUS, Bytes::new(), PATIENCE).await;
        answer.ok().and_then(|bytes| NodeStatus::decode(&bytes).ok()).map(|status| (n.0, status))
    });
    let mut all: BTreeMap<u16, NodeStatus> =
        futures_util::future::join_all(calls).await.into_iter().flatten().collect();
    all.insert(me, own(node, rooms));
    all
}

struct Status(Weak<Node>);

impl Handler for Status {
    fn handle(&self, from: NodeNumber, _: Kind, _: Bytes) -> Answer {
        let node = self.0.clone();
        Box::pin(async move {
            let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
            let node = node.upgrade().ok_or_else(gone)?;
            let rooms = node.rooms.get().ok_or_else(gone)?;
            let (acknowledged, incarnation) = (acknowledged(rooms, from), latest(rooms, from));
            Ok(NodeStatus { acknowledged, incarnation, ..own(&node, rooms) }.encode())
        })
    }
}

/// Answers STATUS.
pub fn claim(router: &Router, node: &Arc<Node>) {
    router.claim(kinds::STATUS, Arc::new(Status(Arc::downgrade(node))));
}

/// Keeps this node's row in the registry true: address, version, incarnation, draining.
pub async fn keep_member_row(node: Arc<Node>) {
    loop {
        if let Some(rooms) = node.rooms.get()
            && let Err(why) = write_row(&node, rooms).await
        {
            tracing::debug!(event = "node.row.kept", why, "the node's row in the registry could not be written yet");
        }
        tokio::time::sleep(ROW).await;
    }
}

async fn write_row(node: &Node, rooms: &Rooms) -> Result<(), String> {
    let settings = &node.settings;
    let number = settings.node.number;
    let view = rooms.engine.view(SITE, Fence::Linearizable).await.map_err(|e| e.to_string())?;
    let old = rows::member(&view, number).map_err(|e| e.to_string())?;
    if old.as_ref().is_some_and(|row| row.removed) {
        return Ok(());
    }
    let told = std::fs::read_to_string(&settings.peer.cert).ok().and_then(|pem| super::pki::describe(&pem).ok());
    let certificate = told.and_then(|all| all.into_iter().next());
    let (certificate, key) = certificate.map(|d| (d.fingerprint, d.key)).unwrap_or_default();
    let base = old.clone().unwrap_or_default();
    let row = Member {
        name: settings.node.name.clone(),
        peer: settings.peer.advertise.to_string(),
        incarnation: rooms.identity.incarnation,
        supplier: node.supplier_address().to_string(),
        draining: node.draining(),
        certificate,
        key,
        level: LEVEL,
        version: VERSION.into(),
        joined: if base.joined == 0 { node.world.clock.now().0 } else { base.joined },
        metrics: settings.ops_listen.to_string(),
        site: settings.node.site.clone(),
        ..base
    };
    if old.as_ref() == Some(&row) {
        look_for_bodies(node, rooms, &view)?;
        return say_where_it_began(node, rooms, &view).await;
    }
    let command = SetNode { node: number, member: row, ..Default::default() };
    let reply = submit(rooms, format!("node:{number}"), command.into()).await?;
    if !reply.is_done() {
        return Err(reply.text);
    }
    say_where_it_began(node, rooms, &view).await
}

/// Since the service moved, what only the other site's nodes may hold is to be copied: operators wait for it before they switch
/// those off.
fn look_for_bodies(node: &Node, rooms: &Rooms, site: &(dyn Reader + Sync)) -> Result<(), String> {
    let moved = sites::serving(site).map_err(|e| e.to_string())?.map_or(0, |serving| serving.since);
    let ago = Duration::from_millis(node.world.clock.now().0.saturating_sub(moved));
    if moved > 0 && rooms.bulk.whole_since().is_none_or(|since| since >= ago) {
        rooms.bulk.look_again();
    }
    Ok(())
}

/// A node that votes says, once, that the service is where it stands, if no other voter stands elsewhere: so nodes of another site
/// have no vote when they come.
async fn say_where_it_began(node: &Node, rooms: &Rooms, site: &(dyn Reader + Sync)) -> Result<(), String> {
    let label = &node.settings.node.site;
    if label.is_empty() || sites::serving(site).map_err(|e| e.to_string())?.is_some() {
        return Ok(());
    }
    let voters = rooms.groups[0].members().into_iter().filter(|m| m.voter).map(|m| m.id.node().0);
    let voters: Vec<u16> = voters.collect();
    for voter in &voters {
        let row = rows::member(site, *voter).map_err(|e| e.to_string())?.unwrap_or_default();
        if *voter != node.settings.node.number && !row.site.is_empty() && row.site != *label {
            return Ok(());
        }
    }
    if !voters.contains(&node.settings.node.number) {
        return Ok(());
    }
    let command = SetServing { site: label.clone(), ..Default::default() };
    let reply = submit(rooms, format!("node:{}", node.settings.node.number), command.into()).await?;
    if reply.is_done() { Ok(()) } else { Err(reply.text) }
}

/// One command on the registry in the name of a node or an operator.
pub async fn submit(rooms: &Rooms, operator: String, command: DirectoryCommand) -> Result<DirectoryReply, String> {
    let id = uuid::Uuid::new_v4().to_string();
    let command = Command {
        service: services::DIRECTORY.0,
        payload: command.encode(),
        caller: Caller { operator, ..Default::default() },
        request_id: id.clone(),
        correlation_id: id,
        ..Default::default()
    };
    let outcome = rooms.engine.submit(command).await.map_err(|e| e.to_string())?;
    // What was written is seen by whoever asks this node next.
    let _ = rooms.engine.view(SITE, Fence::At(outcome.index)).await;
    DirectoryReply::of(&outcome.reply).map_err(|e| e.to_string())
}

/// Raft ids of a node in a group, newest first.
pub fn incarnations(rooms: &Rooms, group: usize, number: u16) -> Vec<RaftId> {
    let members = rooms.groups.get(group).map(|g| g.members()).unwrap_or_default();
    let mut ids: Vec<RaftId> = members.into_iter().map(|m| m.id).filter(|id| id.node().0 == number).collect();
    ids.sort();
    ids.reverse();
    ids
}
