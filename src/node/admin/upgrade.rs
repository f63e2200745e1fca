//! Upgrades as operators ask for them: what is to be known before a node restarts, and raising the site's level at the end.

use super::{Told, fault, rooms, status};
use crate::{
    engine::SITE,
    model::Environment,
    node::{
        Node,
        identity::LEVEL,
        report::{self, NodeStatus},
        rooms::Rooms,
    },
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
        recorder::VERSION,
    },
    services::directory::{
        level::{self, RaiseLevel},
        rows,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// `GET /v1/upgrade`: what `spine upgrade check` judges. It changes nothing.
pub async fn show(node: Arc<Node>, _: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let told = report::gather(&node, rooms).await;
    let site = rooms.engine.local(SITE);
    let away = status::elsewhere(rooms);
    let mut members = vec![];
    for (number, _, address, voter) in status::members(rooms) {
        let row = rows::member(site.as_ref(), number).map_err(fault)?.unwrap_or_default();
        let seen = told.get(&number);
        members.push(json!({
            "number": number, "name": row.name, "address": address, "seen": seen.is_some(),
            "ready": seen.is_some_and(|s| s.ready), "draining": seen.is_some_and(|s| s.draining),
            "version": seen.map_or(row.version.as_str(), |s| s.version.as_str()),
            "level": seen.map_or(row.level, |s| s.level).max(level::FIRST),
            "clock": seen.map_or("", |s| s.clock.as_str()), "disk": seen.map_or("", |s| s.disk.as_str()),
            // A node of another site follows without a vote, and waits for none.
            "learning": !voter && !away.contains(&number),
        }));
    }
    let (free, _) = node.world.fs.space(&node.settings.node.data).unwrap_or((0, 0));
    Ok(json!({
        "number": node.settings.node.number, "version": VERSION, "level": LEVEL,
        "site_level": level::of(site.as_ref()).map_err(fault)?,
        "live": node.settings.environment == Environment::Live,
        "members": members, "partitions": partitions(&node, rooms, &told),
        "outbox": status::outbox(&node, rooms, &told),
        "lost": status::lost(rooms).len(), "damaged": node.scrub.report().open,
        "backup": backup(&node, &told),
        "disk": {"free_bytes": free, "reserve_bytes": node.settings.storage.disk_reserve},
    }))
}

/// Of each partition: who leads, which other nodes that are ready have a vote, of how many, who learns, who is behind.
fn partitions(node: &Node, rooms: &Rooms, told: &BTreeMap<u16, NodeStatus>) -> Vec<Value> {
    let (me, away) = (node.settings.node.number, status::elsewhere(rooms));
    let shown = status::partitions(rooms, told);
    let one = |(group, shown): (&crate::consensus::Group, Value)| {
        let members = group.members();
        let nodes = |voter: bool| -> BTreeSet<u16> {
            members.iter().filter(|m| m.voter == voter).map(|m| m.id.node().0).collect()
        };
        let voters = nodes(true);
        let ready = |number: &&u16| **number != me && told.get(number).is_some_and(|s| s.ready && !s.draining);
        let learns: Vec<u16> = nodes(false).into_iter().filter(|n| !voters.contains(n) && !away.contains(n)).collect();
        json!({
            "partition": shown["partition"], "leader": shown["leader"], "voters": voters.len(),
            "others_ready": voters.iter().filter(ready).count(), "learning": learns, "lag": shown["lag"],
        })
    };
    rooms.groups.iter().zip(shown).map(one).collect()
}

/// When any node that answers last made a backup, and when one was verified since.
fn backup(node: &Node, told: &BTreeMap<u16, NodeStatus>) -> Value {
    let newest = |of: fn(&NodeStatus) -> u64| told.values().map(of).max().unwrap_or(0);
    let (made, verified) = (newest(|s| s.backup_made), newest(|s| s.backup_verified));
    let age = node.world.clock.now().0.saturating_sub(made) / 1000;
    json!({"age_seconds": (made > 0).then_some(age), "verified": made > 0 && verified >= made})
}

#[derive(Deserialize)]
struct Finalise {
    dry_run: bool,
}

/// `POST /v1/upgrade/finalise`: `{"dry_run"}`: raises the site's level to what every member's release knows.
pub async fn finalise(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Finalise = r.input()?;
    let told = report::gather(&node, rooms).await;
    let known = status::members(rooms)
        .into_iter()
        .map(|(number, ..)| (number, told.get(&number).map(|s| (s.version.as_str(), s.level))));
    let now = level::of(rooms.engine.local(SITE).as_ref()).map_err(fault)?;
    let refused = |why: String| AdminError::of(&codes::LEVEL_REFUSED, codes::LEVEL_REFUSED.words, why).with_exit(5);
    let to = reachable(known).map_err(refused)?;
    if to <= now {
        return Ok(json!({"level": now, "before": now, "changed": false, "steps": [], "dry_run": ask.dry_run}));
    }
    let steps = [
        format!("the site's level rises from {now} to {to}: from then on what is new is used"),
        "each node notes which release its data need; earlier ones do not start on them".to_owned(),
        "the level is never lowered: the way back is a backup of before".to_owned(),
    ];
    if !ask.dry_run {
        let command = RaiseLevel { level: to, instead_of: now, ..Default::default() };
        let reply = report::submit(rooms, r.caller.operator.clone(), command.into()).await;
        let reply = reply.map_err(|why| AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, why))?;
        if !reply.is_done() {
            return Err(refused(reply.text));
        }
    }
    Ok(json!({"level": to, "before": now, "changed": !ask.dry_run, "steps": steps, "dry_run": ask.dry_run}))
}

/// The level that all members know, each told with the release that it runs and the level that it knows; or why none may be raised.
fn reachable<'a>(members: impl Iterator<Item = (u16, Option<(&'a str, u32)>)>) -> Result<u32, String> {
    let (mut silent, mut runs, mut least) = (vec![], BTreeMap::<&str, Vec<String>>::new(), u32::MAX);
    for (number, told) in members {
        match told {
            None => silent.push(format!("node {number} does not answer")),
            Some((version, level)) => {
                runs.entry(version).or_default().push(number.to_string());
                least = least.min(level.max(level::FIRST));
            }
        }
    }
    if runs.len() > 1 {
        let each = runs.into_iter().map(|(version, nodes)| format!("node {} runs {version}", nodes.join(", ")));
        silent.extend(each);
    }
    if silent.is_empty() { Ok(least) } else { Err(silent.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_rises_to_what_all_members_know_and_only_when_all_answer_with_one_release() {
        let of = |members: &[(u16, Option<(&'static str, u32)>)]| reachable(members.iter().copied());
        assert_eq!(of(&[(1, Some(("0.3.0", 4))), (2, Some(("0.3.0", 4)))]), Ok(4));
        assert_eq!(of(&[(1, Some(("0.3.0", 4))), (2, Some(("0.3.0", 0)))]), Ok(1), "one that does not tell");
        assert_eq!(of(&[(1, Some(("0.3.0", 4))), (2, None)]), Err("node 2 does not answer".into()));
        let differ = of(&[(1, Some(("0.3.0", 4))), (2, Some(("0.2.0", 4))), (3, Some(("0.3.0", 4)))]);
        assert_eq!(differ, Err("node 2 runs 0.2.0; node 1, 3 runs 0.3.0".into()), "though all know the level");
    }
}
