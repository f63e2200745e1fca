//! P7: in the end every log and every snapshot is whole on every node: what rotted was found and mended, while the node
//! runs, or, where peers have cut the entries off that they would be mended with, at its next start.

use crate::site::{End, Site};
use spine::seam::net::NodeNumber;
use spine::seam::pace::Pace;
use std::time::Duration;
use tokio::time::timeout;

/// How long a node that is started again may take to be whole.
const WHOLE: Duration = Duration::from_secs(90);

pub async fn check(site: &Site) {
    for node in walk(site).await {
        site.trace.say(format!("node {} is started again to be mended", node.0));
        site.end(node, End::Stopped, Duration::ZERO);
        let whole = async {
            while !site.is_whole(node) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if timeout(WHOLE, whole).await.is_err() {
            site.trace.fail(format!("P7: node {} does not come back whole", node.0));
        }
    }
    for node in walk(site).await {
        site.trace.fail(format!("P7: the log of node {} stays damaged", node.0));
    }
}

/// The daily walk over everything at rest. Returns nodes whose logs are left with damage.
async fn walk(site: &Site) -> Vec<NodeNumber> {
    let pace = Pace::new(u64::MAX);
    let mut left = vec![];
    for (node, running) in site.up() {
        let damage = running.log.scrub(&pace).await;
        if !running.consensus.mend(damage, &[]).await.is_empty() || !running.log.scrub(&pace).await.is_empty() {
            left.push(node);
        }
        for partition in running.store.partitions() {
            for snapshot in partition.snapshots() {
                // A damaged one is found here, and forgotten; what it held is in the rows, which are compared.
                let _ = partition.verify_snapshot(&snapshot, &pace).await;
            }
            if !partition.servable() {
                site.trace.fail(format!("P7: node {} cannot serve partition {}", node.0, partition.number()));
            }
        }
    }
    left
}
