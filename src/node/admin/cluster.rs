//! Changes of the site's members, hand-over, drain. Every one that can cost quorum shows its plan and refuses first.

use super::{Told, fault, rooms};
use crate::{
    engine::SITE,
    node::{
        Node, door, pki,
        report::{self, NodeStatus},
        rooms::Rooms,
        token::{self, Token},
    },
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    seam::net::NodeNumber,
    services::directory::{
        command::{DirectoryCommand, RemoveNode, SetInvitation, SetNode},
        rows::{self, Invitation, Member},
        sites,
    },
};
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// Longest life of an invitation.
const MAX_MINUTES: u16 = 30;

/// What this node holds, as a digest of each partition's rows at an index, to be compared with other nodes' at the same.
pub async fn hashes(node: Arc<Node>, _: AdminRequest) -> Told {
    let all = rooms(&node)?.hashes().await.map_err(fault)?;
    let one = |(partition, index, hash): &(u16, u64, [u8; 32])| json!({"partition": partition, "index": index, "hash": pki::hex(hash)});
    Ok(json!({"number": node.settings.node.number, "partitions": all.iter().map(one).collect::<Vec<_>>()}))
}

#[derive(Deserialize)]
struct HandOver {
    partition: Option<u16>,
    to: Option<u16>,
}

/// Hands over what this node leads: all of it, or one partition.
pub async fn hand_over(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: HandOver = r.input()?;
    let mut moved = vec![];
    for (n, group) in rooms.groups.iter().enumerate() {
        if ask.partition.is_some_and(|p| usize::from(p) != n) || !group.leadership().borrow().leading {
            continue;
        }
        let to = match ask.to {
            None => None,
            Some(number) => Some(voter(rooms, n, number)?),
        };
        group.hand_over(to).await.map_err(|e| {
            let what = format!("leadership of partition {n} stays here");
            AdminError::of(&codes::CLI_TRANSFER, what, e.to_string())
        })?;
        let leader = group.leadership().borrow().leader.map(|l| l.node().0);
        moved.push(json!({"partition": n, "to": leader.or(ask.to)}));
    }
    Ok(json!({"moved": moved}))
}

/// A node's voting incarnation in a group.
fn voter(rooms: &Rooms, group: usize, number: u16) -> Result<crate::consensus::RaftId, AdminError> {
    let members = rooms.groups[group].members();
    let found = members.into_iter().find(|m| m.voter && m.id.node().0 == number).map(|m| m.id);
    found.ok_or_else(|| {
        let why = format!("node {number} has no vote in partition {group}");
        AdminError::of(&codes::CLI_TRANSFER, "leadership cannot go there", why)
    })
}

#[derive(Deserialize)]
struct Invite {
    number: Option<u16>,
    minutes: u16,
}

/// Makes a one-time token. Only its hash is stored.
pub async fn invite(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Invite = r.input()?;
    invitation(&node, rooms, &r, ask.number, ask.minutes).await
}

async fn invitation(node: &Node, rooms: &Rooms, r: &AdminRequest, number: Option<u16>, minutes: u16) -> Told {
    let no_key = |why| {
        let error = AdminError::of(&codes::CLI_NO_AUTHORITY, "this node cannot invite others", why);
        error.with_fix("run it on the node that holds the site's authority key (peer.ca_key)")
    };
    let ca = door::authority(node).map_err(no_key)?;
    let site = rooms.engine.local(SITE);
    let known = rows::members(site.as_ref()).map_err(fault)?;
    let number = match number {
        Some(number) => number,
        None => known.last().map_or(1, |(n, _)| n + 1).max(rooms.groups[0].members().len() as u16 + 1),
    };
    let mut secret = [0; 16];
    node.world.rng.fill(&mut secret);
    let minutes = minutes.clamp(1, MAX_MINUTES);
    let expires = node.world.clock.now().0 + u64::from(minutes) * 60_000;
    let invitation = Invitation { expires, node: number, ..Default::default() };
    let token_hash = pki::hex(&token::secret_hash(&secret));
    command(rooms, r, SetInvitation { token_hash, invitation, ..Default::default() }.into()).await?;
    let fingerprint = pki::describe(ca.cert()).ok().and_then(|all| all.into_iter().next());
    let fingerprint = fingerprint.and_then(|d| pki::unhex(&d.fingerprint)).unwrap_or_default();
    let token = Token {
        addresses: vec![node.settings.peer.advertise.to_string()],
        ca_sha256: fingerprint.into(),
        secret: secret.to_vec().into(),
        ..Default::default()
    };
    Ok(json!({"token": token.text(), "number": number, "minutes": minutes, "expires": super::moment(expires)}))
}

pub async fn drain(node: Arc<Node>, _: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let Some(front) = node.front.get() else { return Err(fault("the listener is not open")) };
    front.set_draining(true);
    rooms.engine.leave(true);
    let left = rooms.engine.hand_over_all().await;
    front.pause().await;
    Ok(json!({"number": node.settings.node.number, "draining": true, "still_leading": left}))
}

pub async fn undrain(node: Arc<Node>, _: AdminRequest) -> Told {
    let Some(front) = node.front.get() else { return Err(fault("the listener is not open")) };
    front
        .resume()
        .await
        .map_err(|e| AdminError::of(&codes::CLI_PORT, "the node cannot listen again", e.to_string()))?;
    front.set_draining(false);
    Ok(json!({"number": node.settings.node.number, "draining": false}))
}

#[derive(Deserialize)]
struct Add {
    number: u16,
    address: SocketAddr,
    dry_run: bool,
}

/// Adds a node that has a certificate of the site already and waits for its part.
pub async fn add(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Add = r.input()?;
    if !report::incarnations(rooms, 0, ask.number).is_empty() {
        let why = format!("node {} is a member already", ask.number);
        return Err(AdminError::of(&codes::CLI_MEMBERSHIP, "the node cannot be added", why));
    }
    let mut steps = vec![format!("node {} at {} learns, and votes once it has caught up", ask.number, ask.address)];
    if !ask.dry_run {
        let taken = rows::member(rooms.engine.local(SITE).as_ref(), ask.number).map_err(fault)?;
        readmit(rooms, &r, &ask).await?;
        let taken = taken.map_or(0, |row| row.incarnation);
        let id = door::admit(rooms, NodeNumber(ask.number), ask.address, taken).await;
        let id = id.map_err(|why| AdminError::of(&codes::CLI_MEMBERSHIP, "the node cannot be added", why))?;
        steps.push(format!("admitted as {id}"));
    }
    Ok(json!({"number": ask.number, "steps": steps, "dry_run": ask.dry_run}))
}

/// A number that was taken out may be given again; a certificate that was expelled stays out.
async fn readmit(rooms: &Rooms, r: &AdminRequest, ask: &Add) -> Result<(), AdminError> {
    let site = rooms.engine.local(SITE);
    let Some(row) = rows::member(site.as_ref(), ask.number).map_err(fault)?.filter(|row| row.removed) else {
        return Ok(());
    };
    let member =
        Member { removed: false, peer: ask.address.to_string(), certificate: String::new(), key: String::new(), ..row };
    command(rooms, r, SetNode { node: ask.number, member, ..Default::default() }.into()).await
}

#[derive(Deserialize)]
struct Remove {
    number: u16,
    force: bool,
    dry_run: bool,
}

pub async fn remove(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Remove = r.input()?;
    let mut steps = plan(&node, rooms, &ask, false).await?;
    if !ask.dry_run {
        take_out(rooms, &r, ask.number).await?;
        steps.push("done".into());
    }
    Ok(json!({"number": ask.number, "steps": steps, "dry_run": ask.dry_run}))
}

/// Removes a lost node and invites its successor under the same number.
pub async fn replace(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Remove = r.input()?;
    let mut steps = plan(&node, rooms, &ask, true).await?;
    steps.push(format!("a machine that shows the token becomes node {}", ask.number));
    if ask.dry_run {
        return Ok(json!({"number": ask.number, "steps": steps, "dry_run": true}));
    }
    take_out(rooms, &r, ask.number).await?;
    let invited = invitation(&node, rooms, &r, Some(ask.number), MAX_MINUTES).await?;
    Ok(json!({"number": ask.number, "steps": steps, "token": invited["token"], "dry_run": false}))
}

async fn take_out(rooms: &Rooms, r: &AdminRequest, number: u16) -> Result<(), AdminError> {
    let refused = |why: String| AdminError::of(&codes::CLI_MEMBERSHIP, "the node cannot be removed", why);
    door::expel(rooms, NodeNumber(number)).await.map_err(refused)?;
    // A node that never wrote its row has nothing to mark.
    let _ = command(rooms, r, RemoveNode { node: number, ..Default::default() }.into()).await;
    Ok(())
}

/// What a removal does, refused where too few voters in step would remain. A node that does not answer may be replaced
/// while two voters that do answer remain: the site can lose no more nodes before than after.
async fn plan(node: &Node, rooms: &Rooms, ask: &Remove, replace: bool) -> Result<Vec<String>, AdminError> {
    let what = || format!("node {} cannot be removed", ask.number);
    let members = rooms.groups[0].members();
    if !members.iter().any(|m| m.id.node().0 == ask.number) {
        return Err(AdminError::of(&codes::CLI_NOT_FOUND, what(), "it is not a member of the site"));
    }
    let told = report::gather(node, rooms).await;
    let mut remaining: Vec<u16> = members.iter().filter(|m| m.voter).map(|m| m.id.node().0).collect();
    remaining.retain(|n| *n != ask.number);
    let silent: Vec<String> = remaining.iter().filter(|n| !told.contains_key(n)).map(u16::to_string).collect();
    let lost = !told.contains_key(&ask.number);
    let unsafe_because = match (remaining.len(), silent.is_empty()) {
        _ if alone_with_bodies(rooms, ask.number, &told)? => {
            Some("its site served before, and may hold bodies that the serving one lacks yet (`spine site`)".to_owned())
        }
        (0, _) => Some("no voter would remain".to_owned()),
        (2, true) if replace && lost => None,
        (1 | 2, _) if members.len() > 2 => {
            Some(format!("{} voters would remain, which cannot lose one more", remaining.len()))
        }
        (_, false) => Some(format!("of the voters that would remain, node {} does not answer", silent.join(", "))),
        _ => None,
    };
    match unsafe_because {
        Some(why) if !ask.force || remaining.is_empty() => {
            let fix = match replace && !lost {
                true => {
                    "stop that node first, or let a new one join beside it (`spine cluster invite`); --force overrides"
                }
                false => "add or repair a node first (`spine cluster invite`); --force overrides and may lose data",
            };
            Err(AdminError::of(&codes::CLI_UNSAFE_REMOVE, what(), why).with_fix(fix))
        }
        warned => {
            let mut steps =
                vec![format!("node {} leaves every partition; {} voters remain", ask.number, remaining.len())];
            steps.extend(warned.map(|why| format!("warning, forced: {why}")));
            Ok(steps)
        }
    }
}

/// Whether a node stands where the service was, and where it is now somebody is not yet known to hold every body.
fn alone_with_bodies(rooms: &Rooms, number: u16, told: &BTreeMap<u16, NodeStatus>) -> Result<bool, AdminError> {
    let site = rooms.engine.local(SITE);
    let serving = sites::serving(site.as_ref()).map_err(fault)?.unwrap_or_default();
    let row = rows::member(site.as_ref(), number).map_err(fault)?.unwrap_or_default();
    if serving.before.is_empty() || row.site != serving.before {
        return Ok(false);
    }
    Ok(told.values().any(|status| status.site == serving.site && status.bodies_whole <= serving.since))
}

/// One command on the registry in the operator's name.
pub(super) async fn command(rooms: &Rooms, r: &AdminRequest, command: DirectoryCommand) -> Result<(), AdminError> {
    let reply = report::submit(rooms, r.caller.operator.clone(), command).await;
    let reply = reply.map_err(|why| AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, why))?;
    match reply.is_done() {
        true => Ok(()),
        false => Err(AdminError::of(&codes::CLI_MEMBERSHIP, "the registry refused", reply.text)),
    }
}
