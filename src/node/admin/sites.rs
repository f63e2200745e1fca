//! Two sites, of which one serves: how each stands, and moving the service from one to the other with nothing lost.

use super::{Told, cluster::command, fault, rooms};
use crate::{
    consensus::Group,
    engine::SITE,
    node::{
        Node,
        report::{self, NodeStatus},
        rooms::Rooms,
    },
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    services::directory::{
        rows,
        sites::{self, LEAST, Serving, SetServing},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A node so many entries behind is in step: it has the rest within a moment.
const IN_STEP: u64 = 256;

/// One node, as the sites' page shows it.
struct Seen {
    number: u16,
    name: String,
    site: String,
    /// What it says now, if it answers.
    told: Option<NodeStatus>,
    /// Of how many partitions' members it is one that votes, and how many it leads.
    votes: usize,
    leads: usize,
    /// Entries that it is behind in the partition where it is most.
    lag: u64,
}

/// `GET /v1/sites`: which one serves, and each node of each.
pub async fn show(node: Arc<Node>, _: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let serving = serving(rooms)?;
    let all = look(&node, rooms).await?;
    let mut sites: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in &all {
        sites.entry(&seen.site).or_default().push(seen);
    }
    let partitions = rooms.groups.len();
    let list: Vec<Value> = sites
        .into_iter()
        .map(|(label, nodes)| {
            json!({
                "site": label, "serving": label == serving.site, "nodes": nodes.iter().map(|n| told(n, &serving)).collect::<Vec<_>>(),
                "whole": nodes.iter().all(|n| n.bodies(&serving)),
                "votes_alone": all.iter().all(|n| n.site.is_empty() || n.votes == if n.site == label { partitions } else { 0 }),
                "leads_all": nodes.iter().map(|n| n.leads).sum::<usize>() == partitions,
            })
        })
        .collect();
    Ok(json!({
        "serving": serving.site, "since": if serving.since > 0 { super::moment(serving.since) } else { String::new() },
        "before": serving.before, "partitions": partitions, "sites": list,
    }))
}

#[derive(Deserialize)]
struct Cutover {
    site: String,
    force: bool,
    dry_run: bool,
}

/// `POST /v1/sites/cutover`: the site that is named serves from now on. Refused where it could not bear it.
pub async fn cutover(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Cutover = r.input()?;
    let serving = serving(rooms)?;
    if serving.site == ask.site {
        return Ok(
            json!({"site": ask.site, "before": serving.before, "changed": false, "steps": [], "dry_run": ask.dry_run}),
        );
    }
    let all = look(&node, rooms).await?;
    let there: Vec<&Seen> = all.iter().filter(|seen| seen.site == ask.site).collect();
    if there.is_empty() {
        let what = format!("the service cannot move to site {}", ask.site);
        let labels: BTreeSet<&str> =
            all.iter().map(|seen| seen.site.as_str()).filter(|label| !label.is_empty()).collect();
        let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
        let why = match labels.is_empty() {
            true => "no node says where it stands".to_owned(),
            false => format!("no node stands there; nodes stand in: {labels}"),
        };
        let fix =
            "`node.site` in the configuration of its nodes says so, from their next start on; `spine site` shows it";
        return Err(AdminError::of(&codes::CLI_NOT_FOUND, what, why).with_fix(fix));
    }
    let against = objections(&there, &serving);
    if !against.is_empty() && !ask.force {
        let what = format!("the service stays in site {}", serving.site);
        return Err(AdminError::of(&codes::SITE_NOT_FIT, what, against.join("; ")));
    }
    let names: Vec<String> = there.iter().map(|seen| seen.number.to_string()).collect();
    let mut steps = vec![
        format!("nodes {} get a vote in each partition", names.join(", ")),
        "leaderships go there, one partition at a time".into(),
        format!("the nodes of site {} keep following, without a vote", serving.site),
    ];
    steps.extend(against.into_iter().map(|why| format!("warning, forced: {why}")));
    if !ask.dry_run {
        let least = there.len().min(LEAST.into()) as u16;
        let set = SetServing { site: ask.site.clone(), instead_of: serving.site.clone(), least, ..Default::default() };
        command(rooms, &r, set.into()).await?;
    }
    Ok(
        json!({"site": ask.site, "before": serving.site, "changed": !ask.dry_run, "steps": steps, "dry_run": ask.dry_run}),
    )
}

fn serving(rooms: &Rooms) -> Result<Serving, AdminError> {
    Ok(sites::serving(rooms.engine.local(SITE).as_ref()).map_err(fault)?.unwrap_or_default())
}

async fn look(node: &Node, rooms: &Rooms) -> Result<Vec<Seen>, AdminError> {
    let mut told = report::gather(node, rooms).await;
    let site = rooms.engine.local(SITE);
    let mut all: BTreeMap<u16, Seen> = BTreeMap::new();
    for group in &rooms.groups {
        let committed = |s: &NodeStatus| of(s, group).map_or(0, |(committed, _)| committed);
        let newest = told.values().map(committed).max().unwrap_or(0);
        let leader = group.leadership().borrow().leader.map(|id| id.node().0);
        for member in group.members() {
            let number = member.id.node().0;
            let seen = match all.entry(number) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let row = rows::member(site.as_ref(), number).map_err(fault)?.unwrap_or_default();
                    entry.insert(Seen {
                        number,
                        name: row.name,
                        site: row.site,
                        told: None,
                        votes: 0,
                        leads: 0,
                        lag: 0,
                    })
                }
            };
            seen.votes += usize::from(member.voter);
            let behind =
                told.get(&number).and_then(|s| of(s, group)).map_or(0, |(_, applied)| newest.saturating_sub(applied));
            seen.lag = seen.lag.max(behind);
        }
        if let Some(seen) = leader.and_then(|leader| all.get_mut(&leader)) {
            seen.leads += 1;
        }
    }
    for seen in all.values_mut() {
        seen.told = told.remove(&seen.number);
    }
    Ok(all.into_values().collect())
}

/// How far a node has come in a group: what it knows to be committed, and what it has applied.
fn of(status: &NodeStatus, group: &Group) -> Option<(u64, u64)> {
    status.groups.iter().find(|g| g.group == group.number()).map(|g| (g.committed, g.applied))
}

impl Seen {
    /// Whether it was found to hold every body after the service came to where it is now: before, some may be only there where
    /// it was.
    fn bodies(&self, serving: &Serving) -> bool {
        self.told.as_ref().is_some_and(|told| told.bodies_whole > serving.since)
    }
}

fn told(seen: &Seen, serving: &Serving) -> Value {
    let status = seen.told.as_ref();
    json!({
        "number": seen.number, "name": seen.name, "seen": status.is_some(), "ready": status.is_some_and(|s| s.ready),
        "draining": status.is_some_and(|s| s.draining), "version": status.map_or("", |s| &s.version),
        "votes": seen.votes, "leads": seen.leads, "lag": seen.lag, "bodies": seen.bodies(serving),
        "bodies_whole_at": status.map(|s| s.bodies_whole).filter(|at| *at > 0).map_or(String::new(), super::moment),
    })
}

/// Why a site should not serve now, in words for the operator.
fn objections(there: &[&Seen], serving: &Serving) -> Vec<String> {
    let mut out = vec![];
    if there.len() < LEAST.into() {
        out.push(format!("{} nodes stand there: they cannot bear the loss of one", there.len()));
    }
    for seen in there {
        let number = seen.number;
        match &seen.told {
            None => out.push(format!("node {number} does not answer")),
            Some(told) if told.draining => out.push(format!("node {number} is draining")),
            Some(told) if !told.ready => out.push(format!("node {number} is not ready")),
            Some(told) if !told.clock.is_empty() => out.push(format!("node {number}: {}", told.clock)),
            Some(told) if !told.disk.is_empty() => out.push(format!("node {number}: {}", told.disk)),
            Some(_) if seen.lag > IN_STEP => out.push(format!("node {number} is {} entries behind", seen.lag)),
            Some(_) if !seen.bodies(serving) => {
                out.push(format!(
                    "node {number} has not yet made sure that it holds every body (it looks each minute)"
                ));
            }
            Some(_) => {}
        }
    }
    out
}
