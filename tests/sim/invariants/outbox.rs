//! What a write sends to another partition is done there, once, and nothing stays behind in an outbox.

use super::End;
use crate::site::Site;
use spine::store::tables::Table;

pub fn check(site: &Site, end: &End) {
    for id in end.asked.iter().filter(|id| end.counts.contains_key(*id)) {
        let times = end.counts.get(&format!("echo-{id}")).copied().unwrap_or(0);
        if times != 1 {
            site.trace.fail(format!("the echo of write {id} was done {times} times"));
        }
    }
    for (node, running) in site.up() {
        for partition in site.partitions() {
            let left = running.engine.local(partition).scan(Table::Outbox.key().prefix(), false, 1);
            if left.is_ok_and(|rows| !rows.is_empty()) {
                site.trace.fail(format!("node {} has undelivered rows in partition {}", node.0, partition.0));
            }
        }
    }
}
