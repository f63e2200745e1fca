//! What is measured of the node now and then, each time with bounded work (P6): since when the oldest message waits
//! unread, how many alerts to privacy officers are open and since when, whether a changed setting waits for a restart.

use super::{Node, rooms::Rooms};
use crate::{
    config::keys,
    engine::{PartitionId, draft::Fault},
    model::EpochMillis,
    ops::metrics as names,
    services::{mesh::unread, relationships::open},
    store::Reader,
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Mailboxes, or open alerts, looked at in one step of a walk: some milliseconds.
const STEP: usize = 256;
/// Between two steps: 28,000 mailboxes in ten seconds.
const PAUSE: Duration = Duration::from_millis(100);

/// Measures for as long as the node runs.
pub async fn run(node: Arc<Node>) {
    loop {
        if let Some(rooms) = node.rooms.get() {
            let age = |since: Option<EpochMillis>| {
                since.map_or(0.0, |at| node.world.clock.now().0.saturating_sub(at) as f64 / 1000.0)
            };
            metrics::gauge!(names::MAILBOX_OLDEST_UNREAD_AGE).set(age(oldest_unread(rooms).await));
            let (alerts, since) = open_alerts(rooms).await;
            metrics::gauge!(names::IG_ALERTS_OPEN).set(alerts as f64);
            metrics::gauge!(names::IG_ALERTS_OLDEST_AGE).set(age(since));
        }
        if let Some(pending) = restart_pending(&node).await {
            metrics::gauge!(names::RESTART_PENDING).set(f64::from(u8::from(pending)));
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// When the message was accepted that waits longest, of the partitions that this node leads: the worst of all nodes is
/// the site's.
async fn oldest_unread(rooms: &Rooms) -> Option<EpochMillis> {
    let mut oldest = None::<EpochMillis>;
    walk(
        rooms,
        |rows, from| unread::step(rows, from, STEP).map(|step| (step.since, step.next)),
        |since| {
            oldest = oldest.into_iter().chain(since).min();
        },
    )
    .await;
    oldest
}

/// How many alerts are open, and when the oldest of them was raised, of the partitions that this node leads: the sum of all
/// nodes is the site's.
async fn open_alerts(rooms: &Rooms) -> (u64, Option<EpochMillis>) {
    let (mut alerts, mut oldest) = (0, None::<EpochMillis>);
    let look =
        |rows: &dyn Reader, from| open::step(rows, from, STEP).map(|step| ((step.alerts, step.since), step.next));
    walk(rooms, look, |(more, since)| {
        alerts += more;
        oldest = oldest.into_iter().chain(since).min();
    })
    .await;
    (alerts, oldest)
}

/// Walks over the partitions that this node leads, in steps: what a step found, and where the next one begins. What cannot be
/// read now is found by whoever leads next.
async fn walk<T: Send + 'static>(
    rooms: &Rooms,
    look: impl Fn(&dyn Reader, Option<Bytes>) -> Result<(T, Option<Bytes>), Fault> + Copy + Send + 'static,
    mut found: impl FnMut(T),
) {
    for group in rooms.groups.iter().skip(1) {
        let partition = PartitionId(group.number());
        let mut from = None;
        while group.leadership().borrow().leading {
            let rows = rooms.engine.local(partition);
            let step = tokio::task::spawn_blocking(move || look(rows.as_ref(), from)).await;
            match step.unwrap_or_else(|e| Err(Fault::Other(e.to_string()))) {
                Ok((told, next)) => {
                    found(told);
                    from = next;
                }
                Err(fault) => {
                    tracing::debug!(event = "node.gauges.unmeasured", partition = partition.0, %fault);
                    break;
                }
            }
            if from.is_none() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether a key that takes effect at a restart says otherwise than the node runs with; one that a reload takes does not count.
/// `None` while the files cannot be used.
async fn restart_pending(node: &Arc<Node>) -> Option<bool> {
    let node = node.clone();
    let look = move || {
        let told = &node.current.load().told;
        told.sources().read().ok().map(|layers| waits(&told.differing(&layers)))
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// Whether one of the `differing` keys waits for a restart.
fn waits(differing: &[String]) -> bool {
    differing.iter().any(|name| keys::find(name).is_none_or(|key| key.takes == keys::Takes::Restart))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_a_reload_takes_waits_for_no_restart() {
        let waits = |names: &[&str]| waits(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert!(!waits(&[]));
        assert!(!waits(&["supplier.cert", "eps.trust"]), "`spine config reload` takes these");
        assert!(waits(&["supplier.cert", "supplier.rate"]));
    }
}
