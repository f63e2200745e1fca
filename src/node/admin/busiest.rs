//! Who keeps this node busy: organisations' systems with what they did in the last minute. Told here and never in a metric's labels.

use super::Told;
use crate::{
    edge::busiest::{Deeds, Party},
    node::Node,
    ops::admin::AdminRequest,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Parties that are told of each listener: as many as are told apart.
const MOST: usize = 64;

/// The busiest first. Nothing while the listeners are not open yet.
pub async fn parties(node: Arc<Node>, _: AdminRequest) -> Told {
    let now = node.world.clock.now().0;
    let by_listener = node.front.get().map(|front| front.busiest(now)).unwrap_or_default();
    let mut all: Vec<(&'static str, Party, Deeds)> = vec![];
    for (listener, parties) in by_listener {
        let mut of_one: Vec<_> = parties.into_iter().map(|(party, deeds)| (listener, party, deeds)).collect();
        of_one.sort_by_key(|(.., deeds)| std::cmp::Reverse(deeds.requests));
        of_one.truncate(MOST);
        all.extend(of_one);
    }
    all.sort_by_key(|(.., deeds)| std::cmp::Reverse(deeds.requests));
    // The stretch that is now is not over.
    let seconds = 50.0 + (now % 10_000) as f64 / 1e3;
    Ok(json!({"seconds": seconds, "parties": all.iter().map(|one| told(one, seconds)).collect::<Vec<_>>()}))
}

fn told((listener, party, deeds): &(&'static str, Party, Deeds), seconds: f64) -> Value {
    let known = !party.ods.is_empty() || !party.system.is_empty();
    json!({
        "listener": listener, "ods": party.ods, "system": party.system, "known": known,
        "requests": deeds.requests, "requests_at_least": deeds.requests - deeds.at_most_over.min(deeds.requests),
        "refused": deeds.refused, "per_second": deeds.requests as f64 / seconds,
        // Of the last minute's time: 1 is one request at a time, all the while.
        "at_once": deeds.micros as f64 / 1e6 / seconds,
    })
}
