//! P1: what was answered is there in the end; what is there was asked for.

use super::End;
use crate::site::Site;

/// What a row's name says of the write that it comes from.
pub fn write_of(name: &str) -> &str {
    name.strip_prefix("echo-").or(name.strip_prefix("timer-")).unwrap_or(name)
}

pub fn check(site: &Site, end: &End) {
    for id in &end.answered {
        if !end.counts.contains_key(id) {
            site.trace.fail(format!("P1: write {id} was answered and is lost"));
        }
    }
    for name in end.counts.keys() {
        if !end.asked.contains(write_of(name)) {
            site.trace.fail(format!("P1: row {name} comes from nothing that was asked for"));
        }
    }
}
