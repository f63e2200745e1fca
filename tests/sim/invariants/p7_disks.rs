//! P7: in the end every log and every snapshot is whole on every node: what rotted was found and mended.

use crate::site::Site;
use spine::seam::pace::Pace;

pub async fn check(site: &Site) {
    let pace = Pace::new(u64::MAX);
    for (node, running) in site.up() {
        let mut damage = running.log.scrub(&pace).await;
        if !damage.is_empty() {
            // The daily walk finds it; peers have it whole.
            damage = running.consensus.mend(damage, &[]).await;
        }
        if !damage.is_empty() || !running.log.scrub(&pace).await.is_empty() {
            site.trace.fail(format!("P7: the log of node {} stays damaged: {damage:?}", node.0));
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
}
