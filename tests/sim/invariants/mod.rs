//! What must hold in every run, one file for each. Some are looked at while trouble goes on, all of them in the end.

pub mod leaders;
pub mod logs;
pub mod outbox;
pub mod p1_answered;
pub mod p2_registers;
pub mod p3_once;
pub mod p4_audit;
pub mod p7_disks;
pub mod replicas;
pub mod timers;

use crate::clients::Known;
use crate::service::told;
use crate::site::Site;
use bytes::Bytes;
use spine::engine::Fence;
use spine::store::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often a running site is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// Every so many glances replicas are compared.
const COMPARE: u32 = 25;

/// A site at rest, and what clients know of it.
pub struct End {
    /// Rows of [`crate::service::Once`] and their counts, from all partitions.
    pub counts: BTreeMap<String, u8>,
    pub answered: BTreeSet<String>,
    pub asked: BTreeSet<String>,
}

/// All rows of a partition.
pub fn everything() -> std::ops::Range<Bytes> {
    Bytes::new()..Bytes::from_static(&[0xff])
}

/// Looks at a running site until told to stop.
pub async fn watch(site: Site) {
    let mut leaders = leaders::Leaders::default();
    let mut tick = tokio::time::interval(GLANCE);
    for n in 0u32.. {
        tick.tick().await;
        leaders.look(&site);
        if n.is_multiple_of(COMPARE) {
            replicas::look(&site);
        }
    }
}

/// Judges a site that has come to rest.
pub async fn judge(site: &Site, known: &Known) {
    let mut counts = BTreeMap::new();
    let Some((_, first)) = site.up().into_iter().next() else { return site.trace.fail("no node is up".into()) };
    for partition in site.partitions() {
        match first.engine.view(partition, Fence::Linearizable).await {
            Ok(view) => {
                let rows = view.scan(everything(), false, usize::MAX).unwrap();
                counts.extend(rows.iter().filter_map(|(key, value)| told(key, value)));
            }
            Err(e) => site.trace.fail(format!("partition {} cannot be read in the end: {e}", partition.0)),
        }
    }
    let end =
        End { counts, answered: known.answered.lock().unwrap().clone(), asked: known.asked.lock().unwrap().clone() };
    replicas::look(site);
    p1_answered::check(site, &end);
    p2_registers::check(site, known);
    p3_once::check(site, &end);
    p4_audit::check(site, &end);
    outbox::check(site, &end);
    timers::check(site, &end);
    // Finds and mends what rotted, so that the logs can be read.
    p7_disks::check(site).await;
    logs::check(site).await;
}
