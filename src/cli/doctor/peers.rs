//! The other nodes: can each be reached, does it take part, and do all run the same release.

use super::Finding;
use crate::{config::Settings, ops::admin_client::AdminClient};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};
use tokio::{net::TcpStream, time::Instant};

/// A connection within a rack takes well under a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// Of the members that the running node knows, else of those that the configuration names.
pub async fn examine(client: &AdminClient, settings: &Settings) -> Vec<Finding> {
    let told = client.get("/v1/cluster").await.ok();
    let mut nodes: BTreeMap<u16, SocketAddr> = settings.peer.nodes.iter().copied().collect();
    for member in members(told.as_ref()) {
        let number = member["number"].as_u64().and_then(|number| u16::try_from(number).ok());
        let address = member["address"].as_str().and_then(|address| address.parse().ok());
        nodes.extend(number.zip(address));
    }
    nodes.remove(&settings.node.number);
    let mut out = vec![];
    for (number, address) in nodes {
        let member = members(told.as_ref()).find(|member| member["number"] == number);
        out.push(reachable(number, address, member.map(|member| member["seen"] == true)).await);
    }
    out.extend(told.as_ref().map(versions));
    out
}

fn members(told: Option<&Value>) -> impl Iterator<Item = &Value> {
    told.and_then(|told| told["members"].as_array()).into_iter().flatten()
}

/// `seen`: whether this machine's node hears it, where that runs.
async fn reachable(number: u16, address: SocketAddr, seen: Option<bool>) -> Finding {
    let check = "peer";
    let begun = Instant::now();
    let reached = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
    let millis = begun.elapsed().as_secs_f64() * 1e3;
    match (reached, seen) {
        (Ok(Ok(_)), Some(false)) => Finding::warn(
            check,
            format!("node {number} at {address} can be reached in {millis:.1} ms, and does not answer this node"),
            "on that machine: `spine doctor --troubles` and `journalctl -u spine -n 50`",
        ),
        (Ok(Ok(_)), _) => Finding::ok(check, format!("node {number} at {address} can be reached in {millis:.1} ms")),
        (Ok(Err(e)), _) => Finding::warn(
            check,
            format!("node {number} at {address} cannot be reached: {e}"),
            format!(
                "on that machine `systemctl start spine`; if it runs, `ss -ltn 'sport = :{}'` there",
                address.port()
            ),
        ),
        (Err(_), _) => Finding::warn(
            check,
            format!("node {number} at {address} cannot be reached: no answer in {} s", PATIENCE.as_secs()),
            format!("look at network and firewall between: `ping {}`, port {}", address.ip(), address.port()),
        ),
    }
}

/// Of the nodes that answer: what is known of the others is old.
fn versions(told: &Value) -> Finding {
    let check = "versions";
    let seen: Vec<&Value> = members(Some(told)).filter(|member| member["seen"] == true).collect();
    let version = |member: &&Value| member["version"].as_str().unwrap_or_default().to_owned();
    let all: BTreeSet<String> = seen.iter().map(version).collect();
    if all.len() < 2 {
        let only = all.into_iter().next().unwrap_or_default();
        return Finding::ok(check, format!("{} nodes that answer run {only}", seen.len()));
    }
    let each: Vec<String> = seen.iter().map(|m| format!("node {} runs {}", m["number"], version(m))).collect();
    let fix = "end the upgrade, or take it back: install the package on the nodes that differ, then `spine node restart` on \
               one after the other";
    Finding::warn(check, each.join(", "), fix)
}
