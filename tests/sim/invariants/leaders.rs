//! At most one node leads a group in a term, for ever.

use crate::site::Site;
use spine::consensus::RaftId;
use std::collections::BTreeMap;

/// Who was seen to lead, by group and term.
#[derive(Default)]
pub struct Leaders(BTreeMap<(u16, u64), RaftId>);

impl Leaders {
    pub fn look(&mut self, site: &Site) {
        for (node, running) in site.up() {
            for group in running.consensus.groups() {
                let now = *group.leadership().borrow();
                if !now.leading {
                    continue;
                }
                let known = *self.0.entry((group.number(), now.term)).or_insert(group.id());
                if known != group.id() {
                    let (number, term) = (group.number(), now.term);
                    site.trace
                        .fail(format!("group {number} has two leaders in term {term}: {known} and {}", group.id()));
                    self.0.insert((number, term), group.id());
                }
                if now.leader.is_some_and(|leader| leader != group.id()) {
                    site.trace.fail(format!("node {} leads group {} and names another", node.0, group.number()));
                }
            }
        }
    }
}
