//! Log matching: where two logs hold an entry of the same index and term, they hold the same entries up to there.

use crate::site::Site;
use spine::log::LogRecord;

async fn entries(site: &Site, group: u16) -> Vec<(u16, Vec<LogRecord>)> {
    let mut all = vec![];
    for (node, running) in site.up() {
        site.mend_log(node, &running).await;
        let log = running.log.group(group);
        let state = log.state();
        let mut from = state.purged.map_or(0, |p| p.0) + 1;
        let last = state.last.map_or(0, |l| l.0);
        let mut records = vec![];
        while from <= last {
            match log.read(from..last + 1, 1 << 20).await {
                Ok(more) if !more.is_empty() => {
                    from = more[more.len() - 1].index + 1;
                    records.extend(more);
                }
                Ok(_) => break,
                Err(e) => {
                    site.trace.fail(format!("node {} cannot read entry {from} of group {group}: {e}", node.0));
                    break;
                }
            }
        }
        all.push((node.0, records));
    }
    all
}

pub async fn check(site: &Site) {
    for group in site.partitions() {
        let all = entries(site, group.0).await;
        for (n, (a, left)) in all.iter().enumerate() {
            for (b, right) in &all[n + 1..] {
                compare(site, group.0, (*a, left), (*b, right));
            }
        }
    }
}

fn compare(site: &Site, group: u16, (a, left): (u16, &[LogRecord]), (b, right): (u16, &[LogRecord])) {
    let Some(start) = left.first().map(|r| r.index).max(right.first().map(|r| r.index)) else { return };
    let from = |records: &[LogRecord]| records.iter().filter(|r| r.index >= start).cloned().collect::<Vec<_>>();
    let (left, right) = (from(left), from(right));
    let agreed = left.iter().zip(&right).rposition(|(l, r)| (l.index, l.term) == (r.index, r.term));
    let Some(agreed) = agreed else { return };
    for (l, r) in left.iter().zip(&right).take(agreed + 1) {
        if l != r {
            site.trace.fail(format!("logs of {a} and {b} differ in entry {} of group {group}", l.index));
            return;
        }
    }
}
