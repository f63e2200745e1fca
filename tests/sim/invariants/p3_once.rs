//! P3: however often a write was asked for, it was done once.

use super::End;
use crate::site::Site;

pub fn check(site: &Site, end: &End) {
    for id in &end.asked {
        if end.counts.get(id).is_some_and(|count| *count != 1) {
            site.trace.fail(format!("P3: write {id} was done {} times", end.counts[id]));
        }
    }
}
