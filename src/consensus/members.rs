//! Who belongs to a group, kept right by its leader (P9): learners that caught up get a vote, earlier incarnations
//! go, half-finished changes are finished, every group follows the site group's members, and the groups' leaderships
//! are spread over the members.

use super::api::{ConsensusError, Member, RaftId};
use super::consensus::{SITE_GROUP, Shared};
use super::group::Group;
use super::types::Types;
use openraft::{Instant as _, RaftMetrics};
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::Instant;

/// How often a leader looks. A node that comes back waits this long at each of a few steps.
const LOOK: Duration = Duration::from_millis(250);
/// A learner that is at most so many entries behind has caught up.
const CAUGHT_UP: u64 = 256;
/// After a hand-over that failed, the next is tried after so long.
const BALANCE_PAUSE: Duration = Duration::from_secs(600);
/// A member that answered within this time is there.
const ALIVE: Duration = Duration::from_secs(2);

/// What a leader should do next, at most one change at a time.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Settle,
    Add(Member),
    Promote(RaftId),
    Remove(RaftId),
    /// Members are right; the group is this member's to lead.
    HandOver(RaftId),
}

/// Looks after the group's members for as long as the group runs; acts only while this node leads.
pub async fn keep(shared: Weak<Shared>, group: Group) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let leadership = group.leadership();
    let (mut reign, mut since, mut not_before) = (0, Instant::now(), Instant::now());
    loop {
        tick.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if !leadership.borrow().leading {
            if group.number() == SITE_GROUP {
                super::rejoin::tell_address(&shared, &group).await;
            }
            continue;
        }
        if std::mem::replace(&mut reign, leadership.borrow().reign) != reign {
            since = Instant::now();
        }
        let rested = shared.options.balance_after.is_some_and(|b| since.elapsed() >= b) && Instant::now() >= not_before;
        let step = next(&group, site_members(&shared, &group), shared.options.address);
        let Some(step) = step.or_else(|| rested.then(|| turn(&group)).flatten()) else { continue };
        drop(shared);
        let done = match &step {
            Step::Settle => group.settle_members().await,
            Step::Add(member) => group.add_learner(member.id, member.address).await,
            Step::Promote(id) => group.promote(*id).await,
            // Whoever leads next takes this node out.
            Step::Remove(id) if *id == group.id() => group.hand_over(None).await,
            Step::Remove(id) => group.remove(*id).await,
            Step::HandOver(id) => {
                not_before = Instant::now() + BALANCE_PAUSE;
                group.hand_over(Some(*id)).await
            }
        };
        log(&group, &step, done);
    }
}

fn log(group: &Group, step: &Step, done: Result<(), ConsensusError>) {
    match done {
        Ok(()) => tracing::info!(event = "raft.members", group = group.number(), step = ?step, "members changed"),
        Err(e) => {
            tracing::warn!(event = "raft.members_kept", group = group.number(), step = ?step, why = %e, "members not changed");
        }
    }
}

/// The site group's members as of now; `None` for the site group itself, or where this node's view of them is old.
fn site_members(shared: &Shared, group: &Group) -> Option<Vec<Member>> {
    if group.number() == SITE_GROUP {
        return None;
    }
    let site = shared.group(SITE_GROUP)?;
    let metrics = site.metrics();
    // Only what is committed counts, and only while somebody leads: else the view may be from before a pause.
    metrics.current_leader?;
    let members = super::types::members(metrics.committed_membership_config.membership());
    (!members.is_empty()).then_some(members)
}

fn next(group: &Group, site: Option<Vec<Member>>, listens: std::net::SocketAddr) -> Option<Step> {
    let metrics = group.metrics();
    let config = metrics.membership_config.membership();
    let joint = config.get_joint_config().len() > 1;
    let members = super::types::members(config);
    let own = members.iter().find(|m| m.id == group.id());
    if let Some(moved) = own.filter(|m| !joint && site.is_none() && m.address != listens) {
        return Some(Step::Add(Member { address: listens, ..*moved }));
    }
    plan(joint, &members, site.as_deref(), |id| caught_up(&metrics, id))
}

/// Whether a member has nearly everything and answers.
fn caught_up(metrics: &RaftMetrics<Types>, id: RaftId) -> bool {
    let last = metrics.last_log_index.unwrap_or(0);
    let answered = metrics.heartbeat.as_ref().and_then(|h| h.get(&id.0).copied().flatten());
    let matched = metrics.replication.as_ref().and_then(|r| r.get(&id.0).copied().flatten());
    let near = matched.is_some_and(|at| last.saturating_sub(at.index) <= CAUGHT_UP);
    near && answered.is_some_and(|at| at.elapsed() < ALIVE)
}

/// The voter whose turn this group is, if that is another one and it is fit to lead. Groups go round the nodes.
fn turn(group: &Group) -> Option<Step> {
    let metrics = group.metrics();
    let mut voters: Vec<RaftId> = metrics.membership_config.voter_ids().map(RaftId).collect();
    voters.sort();
    let whose = *voters.get(usize::from(group.number()) % voters.len().max(1))?;
    // One that should not lead would give it back at once, and clients would wait for two elections.
    let fit = caught_up(&metrics, whose) && !group.avoids(whose.node());
    (whose != group.id() && fit).then_some(Step::HandOver(whose))
}

/// Decides on values alone.
fn plan(joint: bool, members: &[Member], site: Option<&[Member]>, caught_up: impl Fn(RaftId) -> bool) -> Option<Step> {
    if joint {
        return Some(Step::Settle);
    }
    let newest = newest_of(members);
    if let Some(site) = site {
        for (node, wanted) in newest_of(site) {
            match newest.get(&node) {
                // An incarnation that the group knows and the site view does not: the view is old.
                Some(here) if here.id > wanted.id => {}
                Some(here) if here.id == wanted.id && here.address == wanted.address => {}
                _ => return Some(Step::Add(*wanted)),
            }
        }
    }
    // A later incarnation takes the vote of the earlier one in the same change.
    let learners = members.iter().filter(|m| !m.voter && newest.get(&m.id.node()).is_some_and(|n| n.id == m.id));
    for learner in learners {
        if caught_up(learner.id) {
            return Some(Step::Promote(learner.id));
        }
    }
    let is_newest = |m: &Member| newest.get(&m.id.node()).is_some_and(|n| n.id == m.id);
    let replaced = members.iter().find(|m| !m.voter && !is_newest(m));
    if let Some(old) = replaced {
        return Some(Step::Remove(old.id));
    }
    let site = site.map(newest_of)?;
    let gone = members.iter().find(|m| !site.contains_key(&m.id.node()));
    gone.map(|m| Step::Remove(m.id))
}

/// Each node's latest incarnation.
fn newest_of(members: &[Member]) -> BTreeMap<crate::seam::net::NodeNumber, &Member> {
    let mut newest: BTreeMap<_, &Member> = BTreeMap::new();
    for member in members {
        let entry = newest.entry(member.id.node()).or_insert(member);
        if member.id > entry.id {
            *entry = member;
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::net::NodeNumber;

    fn member(node: u16, incarnation: u16, voter: bool) -> Member {
        Member {
            id: RaftId::new(NodeNumber(node), incarnation),
            address: std::net::SocketAddr::from(([10, 0, 0, node as u8], 7)),
            voter,
        }
    }

    fn settled() -> Vec<Member> {
        vec![member(1, 1, true), member(2, 1, true), member(3, 1, true)]
    }

    #[test]
    fn a_settled_group_is_left_alone_and_a_half_change_is_finished() {
        assert_eq!(plan(false, &settled(), Some(&settled()), |_| true), None);
        assert_eq!(plan(true, &settled(), None, |_| true), Some(Step::Settle));
    }

    #[test]
    fn a_wiped_node_gets_its_vote_back_when_it_caught_up_and_its_old_self_goes() {
        let mut members = settled();
        let again = member(3, 2, false);
        members.push(again);
        assert_eq!(plan(false, &members, None, |_| false), None);
        assert_eq!(plan(false, &members, None, |_| true), Some(Step::Promote(again.id)));
        // Old learners of a node are removed; the newest never is.
        let members = [member(1, 1, true), member(3, 1, false), member(3, 2, true)];
        assert_eq!(plan(false, &members, None, |_| true), Some(Step::Remove(member(3, 1, false).id)));
    }

    #[test]
    fn groups_follow_the_site_group() {
        let mut site = settled();
        site.push(member(4, 1, true));
        assert_eq!(plan(false, &settled(), Some(&site), |_| true), Some(Step::Add(member(4, 1, true))));
        let left = &settled()[..2];
        assert_eq!(plan(false, &settled(), Some(left), |_| true), Some(Step::Remove(member(3, 1, true).id)));
        let mut moved = settled();
        moved[1].address.set_port(9);
        assert_eq!(plan(false, &settled(), Some(&moved), |_| true), Some(Step::Add(moved[1])));
    }

    #[test]
    fn an_old_view_of_the_site_takes_no_incarnation_back() {
        let group = [member(1, 1, true), member(2, 1, true), member(3, 2, true)];
        assert_eq!(plan(false, &group, Some(&settled()), |_| true), None);
    }
}
