//! Replicas that have applied the same index hold the same rows, at any time.

use super::everything;
use crate::site::Site;
use bytes::Bytes;
use spine::store::Reader;
use std::collections::BTreeMap;

pub fn look(site: &Site) {
    for partition in site.partitions() {
        let mut seen: BTreeMap<u64, (u16, Vec<(Bytes, Bytes)>)> = BTreeMap::new();
        for (node, running) in site.up() {
            let Ok(rows) = running.store.partition(partition.0) else { continue };
            if !rows.servable() {
                continue;
            }
            // One thread, and no wait in between: index and rows belong together.
            let index = rows.applied().index;
            let Ok(all) = rows.scan(everything(), false, usize::MAX) else { continue };
            let (first, same) = seen.entry(index).or_insert_with(|| (node.0, all.clone()));
            if *same != all {
                let (p, n) = (partition.0, node.0);
                site.trace.fail(format!("nodes {first} and {n} hold different rows of partition {p} at index {index}"));
            }
        }
    }
}
