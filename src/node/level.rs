//! Holds this node to the site's level (`services::directory::level`): a program that knows less stops before it takes part, or
//! as soon as it learns of it, with one clear line (P8); and what the site was raised to is noted beside the data, so that an
//! earlier release leaves them alone.

use super::{Node, NodeError, identity, report::NodeStatus, settle};
use crate::{
    config::Settings,
    engine::{SITE, draft::Fault},
    ops::{codes, metrics as names},
    seam::net::{Lane, Transport, kinds},
    services::directory::level,
    store::Reader,
    wire::record::Record as _,
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// How long a peer may take to say what the site's level is: one that does not answer now is not waited for.
const ASK: Duration = Duration::from_secs(3);
/// Between two looks at the registry.
const LOOK: Duration = Duration::from_secs(1);

/// An error where a site's level is beyond what this program knows.
fn fits(level: u32, known: u32, says: &str) -> Result<(), NodeError> {
    if level <= known {
        return Ok(());
    }
    let why = format!("{says} says that the site is at level {level}; this program knows level {known}");
    Err(NodeError::Refused { code: &codes::LEVEL_UNKNOWN, why })
}

/// Asks the peers before anything is opened: a machine that was away, or has lost its data, knows no better.
pub async fn of_peers(settings: &Settings, transport: &Arc<dyn Transport>, known: u32) -> Result<(), NodeError> {
    let calls = settle::peers(settings).into_iter().map(|(node, _)| async move {
        let told = transport.call(node, Lane::Ask, kinds::STATUS, Bytes::new(), ASK).await.ok()?;
        NodeStatus::decode(&told).ok().map(|status| (node.0, status.site_level))
    });
    let told = futures_util::future::join_all(calls).await;
    told.into_iter().flatten().try_for_each(|(node, level)| fits(level, known, &format!("node {node}")))
}

/// What this node's own rows say, before it takes part.
pub fn of_rows(site: &dyn Reader, known: u32) -> Result<u32, NodeError> {
    let level = level::of(site).map_err(|e| NodeError::Room { room: "registry", why: e.to_string() })?;
    fits(level, known, "its own registry").map(|()| level)
}

/// Ends when the site was raised beyond what this program knows. Each level that it was raised to before is noted beside the data.
pub async fn outgrown(node: &Node, known: u32) -> NodeError {
    let Some(rooms) = node.rooms.get() else { return std::future::pending().await };
    let look = || level::of(rooms.engine.local(SITE).as_ref());
    let raised = |level: u32| {
        metrics::gauge!(names::RAFT_LEVEL).set(f64::from(level));
        if let Err(error) = identity::note_release(&node.settings.node.data, level) {
            tracing::warn!(event = "node.level.unnoted", %error, "the release that the data need is not noted");
        }
    };
    watch(look, known, raised).await
}

async fn watch(look: impl Fn() -> Result<u32, Fault>, known: u32, mut raised: impl FnMut(u32)) -> NodeError {
    let mut last = 0;
    loop {
        match look() {
            Ok(level) => {
                if let Err(refused) = fits(level, known, "the registry") {
                    return refused;
                }
                if level != last {
                    last = level;
                    raised(level);
                }
            }
            Err(error) => tracing::debug!(event = "node.level.unread", %error, "the site's level cannot be read now"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::draft::MapStore,
        services::directory::level::SiteLevel,
        store::{RowOp, tables::Table},
    };
    use std::cell::{Cell, RefCell};

    fn code(refused: &NodeError) -> &'static str {
        match refused {
            NodeError::Refused { code, .. } => code.code,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_program_that_knows_less_than_its_rows_say_does_not_take_part() {
        let mut site = MapStore::default();
        assert_eq!(of_rows(&site, 1).unwrap(), 1, "a site that was never raised");
        let value = SiteLevel { level: 3, ..Default::default() }.encode();
        site.apply(vec![RowOp::Put { key: Table::SiteLevel.key().build(), value, fresh: true }]);
        assert_eq!((of_rows(&site, 3).unwrap(), of_rows(&site, 4).unwrap()), (3, 3));
        let refused = of_rows(&site, 2).unwrap_err();
        assert_eq!(code(&refused), codes::LEVEL_UNKNOWN.code);
        assert!(refused.to_string().contains("level 3; this program knows level 2"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_site_is_raised_to_is_noted_once_and_ends_a_program_that_does_not_know_it() {
        // Levels as the looks find them, one a second; 0 for a look that fails.
        let levels = [1, 1, 0, 2, 2, 3];
        let (at, noted) = (Cell::new(0), RefCell::new(vec![]));
        let look = || {
            let level = levels[at.replace((at.get() + 1).min(levels.len() - 1))];
            if level == 0 { Err(Fault::Other("the disk".into())) } else { Ok(level) }
        };
        let refused = watch(look, 2, |level| noted.borrow_mut().push(level)).await;
        assert_eq!(code(&refused), codes::LEVEL_UNKNOWN.code);
        assert_eq!(*noted.borrow(), [1, 2], "what it does not know it does not note");
    }
}
