//! Status of node and site, as `spine status` and `spine cluster` show it.

use super::{Told, arrivals, fault, moment, rooms};
use crate::{
    edge::revocation::{Lists, State},
    engine::{PartitionId, SITE, Standing},
    model::Environment,
    node::{
        Node, pki,
        reload::{self, ReloadError},
        report::{self, NodeStatus},
        rooms::Rooms,
    },
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
        recorder::VERSION,
    },
    services::{
        directory::{level, registration::rules::Rules, rows, sites},
        mesh,
    },
    store::blobs::BlobId,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Entries behind the leader from which on a member is called lagging: a second's work of a busy site.
const LAGGING: u64 = 10_000;
/// Days left below which a certificate is a trouble.
const SOON: i64 = 21;
/// Seconds that a delivery between partitions may wait before it is a trouble: long enough for any election.
const STALE: u64 = 60;
/// Lost bodies that are named, and messages of each.
const MAX_LOST: usize = 20;

pub async fn status(node: Arc<Node>, _: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let told = report::gather(&node, rooms).await;
    let settings = &node.settings;
    let (free, total) = node.world.fs.space(&settings.node.data).unwrap_or((0, 0));
    let (log_bytes, store_bytes) = rooms.bytes();
    let certificates = certificates(&node);
    let mut troubles = troubles(&node, rooms, &told);
    for certificate in &certificates {
        if certificate["days_left"].as_i64().unwrap_or(0) < SOON {
            troubles.push(format!("{} runs out in {} days", certificate["use"], certificate["days_left"]));
        }
    }
    let (revocations, trouble) = revocations(&node);
    troubles.extend(trouble);
    troubles.extend(rooms.prescribers.trouble());
    let scrub = node.scrub.report();
    troubles.extend(scrub.open.iter().map(|line| format!("damage at rest: {line}")));
    let lost = lost(rooms);
    troubles.extend(lost.iter().map(|body| {
        let messages = body["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let (id, messages) = (body["body"].as_str().unwrap_or_default(), messages.collect::<Vec<_>>().join(", "));
        format!("body {id} of {messages} is damaged or gone on every node ({})", codes::BODIES_LOST.code)
    }));
    let (registration, trouble) = registration(&node, rooms)?;
    troubles.extend(trouble);
    let environment = match settings.environment {
        Environment::Demo => "demo",
        Environment::Test => "test",
        Environment::Live => "live",
    };
    Ok(json!({
        "node": {
            "name": settings.node.name, "number": settings.node.number, "incarnation": rooms.identity.incarnation,
            "version": VERSION, "started": moment(node.started), "ready": node.ready(), "draining": node.draining(),
            "program_replaced": crate::ops::process::replaced(),
            "supplier": node.supplier_address().to_string(), "peer": settings.peer.advertise.to_string(),
        },
        "site": {
            "name": settings.site_name, "environment": environment, "cluster": rooms.identity.cluster,
            "members": members(rooms).len(),
        },
        "disk": {
            "free": mib(free), "total": mib(total), "free_bytes": free, "total_bytes": total,
            "log_bytes": log_bytes, "store_bytes": store_bytes, "sync_ms": sync_ms(rooms),
            "slow": rooms.engine.disk().slow, "trouble": rooms.engine.disk().trouble(),
        },
        "damage": {
            "mended_at_start": rooms.mended, "scrubbed": if scrub.finished > 0 { moment(scrub.finished) } else { String::new() },
            "scrubbed_bytes": scrub.bytes, "found": scrub.damaged, "repaired": scrub.repaired, "left": scrub.open,
            "lost": lost,
        },
        "outbox": outbox(&node, rooms, &told),
        "backup": super::backup::kept(&node),
        "clock": clock(rooms),
        "certificates": certificates,
        "revocations": revocations,
        "registration": registration,
        "upstreams_missing": arrivals::missing(rooms, &told),
        "partitions": partitions(rooms, &told),
        "takes_writes": standing_still(rooms, &told).is_empty(),
        "troubles": troubles,
    }))
}

/// Which files this node runs with, and every value: no secrets, those stay in files that keys only name. Answered from
/// the first moment on.
pub async fn config(node: Arc<Node>, _: AdminRequest) -> Told {
    serde_json::to_value(&node.current.load().told).map_err(fault)
}

/// Takes the files anew, or says why the old ones stay in force.
pub async fn reload(node: Arc<Node>, _: AdminRequest) -> Told {
    let what = "the new configuration is not taken; the old one stays in force";
    let done = tokio::task::spawn_blocking(move || reload::reload(&node)).await.map_err(fault)?;
    done.map(|done| json!({"taken": done.taken, "waiting": done.waiting})).map_err(|e| match e {
        ReloadError::Config(e) => {
            AdminError::of(&codes::CLI_CONFIG, what, format!("{}: {}", e.place, e.problem)).with_fix(e.fix).with_exit(1)
        }
        ReloadError::Tls(why) => AdminError::of(&codes::TLS_FILES, what, why)
            .with_fix("correct the file named above, then `spine config reload`"),
        ReloadError::Starting => AdminError::of(&codes::CLI_NOT_READY, "the node is still starting", e.to_string())
            .with_fix("wait until it is open, or give --wait")
            .with_exit(4),
    })
}

/// What is on its way between partitions, of the whole site, and what could not be delivered.
pub(super) fn outbox(node: &Node, rooms: &Rooms, told: &BTreeMap<u16, NodeStatus>) -> Value {
    let oldest = told.values().map(|s| s.oldest).filter(|at| *at > 0).min();
    let age = oldest.map_or(0, |at| node.world.clock.now().0.saturating_sub(at));
    json!({
        "waiting": told.values().map(|s| s.waiting).sum::<u64>(), "oldest_seconds": age / 1000,
        "dead_letters": rooms.engine.backlog().dead,
    })
}

pub async fn cluster(node: Arc<Node>, _: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let told = report::gather(&node, rooms).await;
    let site = rooms.engine.local(SITE);
    let mut list = vec![];
    for (number, incarnation, address, voter) in members(rooms) {
        let row = rows::member(site.as_ref(), number).map_err(fault)?.unwrap_or_default();
        let seen = told.get(&number);
        list.push(json!({
            "number": number, "name": row.name, "address": address, "incarnation": incarnation, "voter": voter,
            "seen": seen.is_some(), "ready": seen.is_some_and(|s| s.ready), "draining": seen.is_some_and(|s| s.draining),
            "version": seen.map_or(row.version.clone(), |s| s.version.clone()),
            "level": seen.map_or(row.level, |s| s.level).max(level::FIRST), "supplier": row.supplier,
            "joined": moment(row.joined),
        }));
    }
    Ok(json!({
        "cluster": rooms.identity.cluster, "members": list, "partitions": partitions(rooms, &told),
        "troubles": troubles(&node, rooms, &told),
    }))
}

/// (number, incarnation, address, voter) of the site group's members, newest incarnation of each node.
pub(super) fn members(rooms: &Rooms) -> Vec<(u16, u16, String, bool)> {
    let mut newest = BTreeMap::new();
    for m in rooms.groups[0].members() {
        let entry = newest.entry(m.id.node().0).or_insert((0, String::new(), false));
        if m.id.incarnation() >= entry.0 {
            *entry = (m.id.incarnation(), m.address.to_string(), m.voter);
        }
    }
    newest.into_iter().map(|(number, (incarnation, address, voter))| (number, incarnation, address, voter)).collect()
}

pub(super) fn partitions(rooms: &Rooms, told: &BTreeMap<u16, NodeStatus>) -> Vec<Value> {
    let one = |group: &crate::consensus::Group| {
        let status = group.status();
        let ids = |voter: bool| -> Vec<String> {
            let chosen = status.members.iter().filter(|m| m.voter == voter);
            chosen.map(|m| m.id.to_string()).collect()
        };
        let of = |s: &NodeStatus| s.groups.iter().find(|g| g.group == status.group).cloned();
        let committed = told.values().filter_map(of).map(|g| g.committed).max().unwrap_or(status.committed);
        let behind = |s: &NodeStatus| of(s).map(|g| committed.saturating_sub(g.applied));
        let lags: BTreeMap<String, u64> =
            told.iter().filter_map(|(n, s)| behind(s).map(|lag| (n.to_string(), lag))).collect();
        json!({
            "partition": status.group, "leader": status.leadership.leader.map(|l| l.node().0),
            "leader_id": status.leadership.leader.map(|l| l.to_string()),
            "term": status.leadership.term, "committed": committed, "applied": status.applied, "last": status.last,
            "snapshot": status.snapshot, "cut": status.cut, "voters": ids(true), "learners": ids(false),
            "lag": lags.values().max().copied().unwrap_or(0), "lags": lags,
            "quorum_age_ms": status.quorum_age_ms,
            "stamps_ahead_ms": rooms.engine.stamps_ahead(PartitionId(status.group)),
        })
    };
    rooms.groups.iter().map(one).collect()
}

/// Of each partition that takes nothing: why. Told by who answers now, before elections time out and leaders notice.
fn standing_still(rooms: &Rooms, told: &BTreeMap<u16, NodeStatus>) -> Vec<String> {
    let why = |group: &crate::consensus::Group| {
        let status = group.status();
        let voters: Vec<u16> = status.members.iter().filter(|m| m.voter).map(|m| m.id.node().0).collect();
        let answer = voters.iter().filter(|number| told.contains_key(number)).count();
        let number = status.group;
        if answer * 2 <= voters.len() {
            return Some(format!("partition {number} takes nothing: {answer} of {} voters answer", voters.len()));
        }
        status.leadership.leader.is_none().then(|| format!("partition {number} has no leader"))
    };
    rooms.groups.iter().filter_map(why).collect()
}

fn troubles(node: &Node, rooms: &Rooms, told: &BTreeMap<u16, NodeStatus>) -> Vec<String> {
    let mut out = standing_still(rooms, told);
    let members = members(rooms);
    for (number, ..) in &members {
        if !told.contains_key(number) {
            out.push(format!("node {number} does not answer"));
        }
    }
    let away = elsewhere(rooms);
    for (number, _, _, voter) in &members {
        if !voter && !away.contains(number) {
            out.push(format!("node {number} is learning and has no vote yet"));
        }
    }
    for (number, seen) in told.iter().filter(|(_, seen)| !seen.clock.is_empty()) {
        out.push(format!("node {number}: {} ({})", seen.clock, codes::CLOCK.code));
    }
    for (number, seen) in told.iter().filter(|(_, seen)| !seen.disk.is_empty()) {
        out.push(format!("node {number}: {} ({})", seen.disk, codes::DISK_SLOW.code));
    }
    for partition in partitions(rooms, told) {
        let number = &partition["partition"];
        let learns = |id: &Value| node_of(id).is_none_or(|node| !away.contains(&node));
        if number != 0 && partition["learners"].as_array().is_some_and(|all| all.iter().any(learns)) {
            out.push(format!("a node is learning partition {number} and has no vote there yet"));
        }
        if partition["lag"].as_u64().unwrap_or(0) > LAGGING {
            out.push(format!("a node is {} entries behind in partition {number}", partition["lag"]));
        }
        if let Some(millis) = partition["stamps_ahead_ms"].as_u64().filter(|millis| *millis > 0) {
            let (seconds, code) = (millis / 1000, codes::STAMPS.code);
            out.push(format!(
                "time stands still in partition {number}: its stamps are {seconds} s ahead of the clocks ({code})"
            ));
        }
    }
    let outbox = outbox(node, rooms, told);
    if outbox["dead_letters"] != 0 {
        out.push(format!(
            "{} commands within the site could not be delivered: see `spine outbox`",
            outbox["dead_letters"]
        ));
    }
    if outbox["oldest_seconds"].as_u64().unwrap_or(0) > STALE {
        out.push(format!("a delivery within the site has waited for {} s", outbox["oldest_seconds"]));
    }
    if !node.ready() && !node.draining() {
        out.push("this node is not ready: see /readyz".into());
    }
    out.extend(arrivals::missing(rooms, told));
    if told.values().any(|s| s.version != VERSION) {
        out.push("nodes run different releases".into());
    }
    out
}

/// Nodes that follow from another site, and have no vote by design.
pub(super) fn elsewhere(rooms: &Rooms) -> BTreeSet<u16> {
    sites::elsewhere(rooms.engine.local(SITE).as_ref()).unwrap_or_default().nodes
}

/// The node of a Raft id as it is told: `4.1`.
fn node_of(id: &Value) -> Option<u16> {
    id.as_str()?.split('.').next()?.parse().ok()
}

/// Bodies of which no node has a whole copy, with the messages that they are of; not those that no message needs.
pub(super) fn lost(rooms: &Rooms) -> Vec<Value> {
    let one = |id: BlobId| {
        let holders = rooms.engine.map().all().filter_map(|partition| {
            let rows = rooms.engine.local(partition);
            mesh::rows::blob_holders(rows.as_ref(), &id.0, MAX_LOST).ok()
        });
        let messages: Vec<String> =
            holders.flatten().map(|(mailbox, message)| format!("message {message} in mailbox {mailbox}")).collect();
        (!messages.is_empty()).then(|| json!({"body": id.to_string(), "messages": messages}))
    };
    rooms.bulk.lost().into_iter().filter_map(one).take(MAX_LOST).collect()
}

/// How long a sync of the log takes just now; nothing while few are made.
fn sync_ms(rooms: &Rooms) -> Option<f64> {
    rooms.engine.disk().sync.map(|sync| sync.as_micros() as f64 / 1000.0)
}

/// This node's clock beside the other voters'.
fn clock(rooms: &Rooms) -> Value {
    let told = rooms.engine.clock();
    let standing = match told.standing {
        Standing::Alone => "alone",
        Standing::Right => "right",
        Standing::Doubt => "doubt",
        Standing::Off => "off",
        Standing::Jumped => "jumped",
    };
    json!({"standing": standing, "ahead_ms": told.ahead, "off": told.is_off(), "trouble": told.trouble()})
}

fn certificates(node: &Node) -> Vec<Value> {
    let s = node.current.load();
    let mut files = vec![
        ("supplier authority", &s.supplier.ca),
        ("supplier listener", &s.supplier.cert),
        ("peer authority", &s.peer.ca),
        ("peer", &s.peer.cert),
    ];
    if !s.upstream.addresses.is_empty() {
        files.extend([("upstream authority", &s.upstream.ca), ("upstream", &s.upstream.cert)]);
    }
    let mut out = vec![];
    for (used_for, path) in files {
        let Some(told) = std::fs::read_to_string(path).ok().and_then(|text| pki::describe(&text).ok()) else {
            continue;
        };
        if let Some(least) = told.iter().min_by_key(|d| d.not_after) {
            out.push(json!({"use": used_for, "common_name": least.common_name, "days_left": least.days_left()}));
        }
    }
    out
}

/// The revocation lists of suppliers' authorities, and what is to be said of them.
fn revocations(node: &Node) -> (Value, Option<String>) {
    let supplier = &node.current.load().supplier;
    let Some(path) = &supplier.crl else { return (json!({"state": "none"}), None) };
    let now = node.world.clock.now().0 / 1000;
    let read = std::fs::read(path).map_err(|e| e.to_string());
    match read.and_then(|pem| Lists::examine(&pem, supplier.crl_grace, now)) {
        Err(e) => (json!({"state": "unreadable"}), Some(format!("revocation list {}: {e}", path.display()))),
        Ok(told) => {
            let until = moment(told.believed_until * 1000);
            let (state, trouble) = match told.state {
                State::Fresh => ("fresh", None),
                State::Stale => {
                    ("stale", Some(format!("a revocation list is out of date and is believed until {until}")))
                }
                State::Refusing => (
                    "refusing",
                    Some(format!("clients are refused since {until}: their revocation list is out of date")),
                ),
            };
            let next = moment(told.next_update * 1000);
            (json!({"state": state, "next_update": next, "believed_until": until}), trouble)
        }
    }
}

/// How strictly the site registers staff. An open register is a trouble, but in a demo, which is made so; one operator account is what
/// a site may have said of itself for good, so it is told and is none.
fn registration(node: &Node, rooms: &Rooms) -> Result<(Value, Option<String>), AdminError> {
    let rules = Rules::of(rooms.engine.local(SITE).as_ref()).map_err(fault)?;
    let open = rules.is_open(node.world.clock.now().0);
    let until = if open { moment(rules.open_until) } else { String::new() };
    let demo = node.settings.environment == Environment::Demo;
    let trouble = (open && !demo)
        .then(|| format!("the register of staff is open until {until}: people are let in without a registration"));
    Ok((json!({"open": open, "open_until": until, "one_operator": rules.one_operator}), trouble))
}

fn mib(bytes: u64) -> String {
    match bytes >> 30 {
        0..=9 => format!("{} MiB", bytes >> 20),
        gib => format!("{gib} GiB"),
    }
}
