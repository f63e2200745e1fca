//! Asking the other voters how they stand, all at once and in bounded time (ROOM): what free space, clocks and
//! disks are watched with, and where leadership goes when this node should not have it (P6, P9).

use super::clocks::Clocks;
use super::ports::Agreement;
use super::space::{self, Room};
use crate::seam::net::{Lane, NodeNumber, Transport, kinds};
use crate::wire::record::Record as _;
use bytes::Bytes;
use futures_util::future::join_all;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a peer may take to say how it stands: many times a round trip within a site, and short enough that a reign
/// which has to wait for it still begins within the second that clients do not notice.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// What a node said of itself.
pub(super) struct Said {
    pub node: NodeNumber,
    pub room: Room,
    /// Its clock's zero (see `clocks`), the wire's delay halved; `None` from a release that does not tell.
    pub zero: Option<i64>,
    /// How long a sync of its log takes just now; `None` while it does not know.
    pub sync: Option<Duration>,
    /// How long its answer took.
    pub trip: Duration,
}

impl Said {
    /// Whether it has room for writes, and is not being taken out of traffic.
    pub fn may_lead(&self) -> bool {
        self.room.state == space::ENOUGH && !self.room.leaving
    }
}

/// Whom to ask, and how.
pub(super) struct Survey {
    pub me: NodeNumber,
    /// Every node that votes anywhere votes in the site's group.
    pub site: Arc<dyn Agreement>,
    pub transport: Arc<dyn Transport>,
}

impl Survey {
    fn others(&self) -> BTreeSet<NodeNumber> {
        self.site.others(self.me).into_iter().map(|voter| voter.node()).collect()
    }

    /// How many are asked.
    pub fn asks(&self) -> usize {
        self.others().len()
    }

    /// The others that should not lead, by what they said: those whose clock is wrong or whose disk is nearly full or slow,
    /// those that are being taken out of traffic, and silent ones.
    pub fn unfit(&self, said: &[Said], clocks: &Clocks) -> BTreeSet<NodeNumber> {
        let mut unfit = self.others();
        for fit in said.iter().filter(|s| s.may_lead() && !s.room.disk_slow && !clocks.wrong(s)) {
            unfit.remove(&fit.node);
        }
        unfit
    }

    /// What the others say; silent ones are missing.
    pub async fn ask(&self, clocks: &Clocks) -> Vec<Said> {
        let calls = self.others().into_iter().map(|node| async move {
            let (sent, asked) = (clocks.steady(), Instant::now());
            let told = self.transport.call(node, Lane::Ask, kinds::ROOM, Bytes::new(), ASK_TIMEOUT).await.ok()?;
            let middle = sent.midpoint(clocks.steady());
            let room = Room::decode(&told).ok()?;
            let shown = i64::try_from(room.now).unwrap_or(i64::MAX);
            let zero = (shown > 0).then(|| shown.saturating_sub(middle));
            let sync = (room.sync_micros > 0).then(|| Duration::from_micros(room.sync_micros));
            Some(Said { node, room, zero, sync, trip: asked.elapsed() })
        });
        join_all(calls).await.into_iter().flatten().collect()
    }
}

/// Gives every group that this node leads to a voter that will do: `rank` says `None` of one that will not; the first of
/// those with the least rank is taken.
pub(super) async fn give_away<R: Ord>(
    groups: &[Arc<dyn Agreement>],
    me: NodeNumber,
    event: &'static str,
    rank: &(dyn Fn(NodeNumber) -> Option<R> + Sync),
) {
    let led = groups.iter().filter(|group| group.leadership().borrow().leading);
    let given = led.map(|group| async move {
        let fit = group.others(me).into_iter().filter_map(|voter| Some((rank(voter.node())?, voter)));
        let Some((_, to)) = fit.min_by(|a, b| a.0.cmp(&b.0)) else { return };
        tracing::warn!(event, to = %to, "leadership goes to a node that is fit for it");
        let _ = group.hand_over(Some(to)).await;
    });
    join_all(given).await;
}
