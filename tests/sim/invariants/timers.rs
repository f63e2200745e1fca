//! A write's timer fires, once.

use super::End;
use crate::site::Site;

pub fn check(site: &Site, end: &End) {
    for id in end.asked.iter().filter(|id| end.counts.contains_key(*id)) {
        let times = end.counts.get(&format!("timer-{id}")).copied().unwrap_or(0);
        if times != 1 {
            site.trace.fail(format!("the timer of write {id} fired {times} times"));
        }
    }
}
