//! Who belongs to a group, kept right by its leader (P9): learners that caught up get a vote, earlier incarnations
//! go, half-finished changes are finished, every group follows the site group's members, and the groups' leaderships
//! are spread over the members.

use super::api::{ConsensusError, Member, RaftId};
use super::consensus::{SITE_GROUP, Shared};
use super::group::Group;
use super::types::Types;
use crate::seam::net::NodeNumber;
use crate::services::directory::sites::{self, Elsewhere};
use openraft::{Instant as _, RaftMetrics};
use std::collections::{BTreeMap, BTreeSet};
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
    /// The service has moved to another site: these keep the vote.
    LeaveVoteTo(BTreeSet<RaftId>),
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
        let Some(elsewhere) = elsewhere(&shared) else { continue };
        let step = next(&group, site_members(&shared, &group), &elsewhere, shared.options.address);
        let Some(step) = step.or_else(|| rested.then(|| turn(&group)).flatten()) else { continue };
        drop(shared);
        let done = match &step {
            Step::Settle => group.settle_members().await,
            Step::Add(member) => group.add_learner(member.id, member.address).await,
            Step::Promote(id) => group.promote(*id).await,
            // Whoever leads next takes this node out.
            Step::Remove(id) if *id == group.id() => group.hand_over(None).await,
            Step::Remove(id) => group.remove(*id).await,
            Step::LeaveVoteTo(voters) => group.leave_vote_to(voters.clone()).await,
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

/// Nodes that stand in another site than the serving one, as the registry says here. `None` while it cannot be read: no vote is
/// given or taken on a guess.
fn elsewhere(shared: &Shared) -> Option<Elsewhere> {
    let rows = shared.parts.store.partition(SITE_GROUP).ok()?;
    sites::elsewhere(rows.as_ref()).ok()
}

fn next(
    group: &Group,
    site: Option<Vec<Member>>,
    elsewhere: &Elsewhere,
    listens: std::net::SocketAddr,
) -> Option<Step> {
    let metrics = group.metrics();
    let config = metrics.membership_config.membership();
    let joint = config.get_joint_config().len() > 1;
    let members = super::types::members(config);
    let own = members.iter().find(|m| m.id == group.id());
    if let Some(moved) = own.filter(|m| !joint && site.is_none() && m.address != listens) {
        return Some(Step::Add(Member { address: listens, ..*moved }));
    }
    let caught_up = |id| id == group.id() || caught_up(&metrics, id);
    plan(joint, &members, site.as_deref(), elsewhere, caught_up)
        .or_else(|| (!joint).then(|| move_vote(group.id(), &members, elsewhere, caught_up)).flatten())
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
fn plan(
    joint: bool,
    members: &[Member],
    site: Option<&[Member]>,
    elsewhere: &Elsewhere,
    caught_up: impl Fn(RaftId) -> bool,
) -> Option<Step> {
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
        // Where an earlier incarnation votes, the vote only changes hands.
        let votes = members.iter().any(|m| m.voter && m.id.node() == learner.id.node());
        if caught_up(learner.id) && (votes || !elsewhere.nodes.contains(&learner.id.node().0)) {
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

/// What is left to do where nodes vote that stand in another site than the serving one: those of the serving site have had their
/// votes, lead first, and keep them alone in the end. Nothing while too few of them could go on by themselves.
fn move_vote(
    own: RaftId,
    members: &[Member],
    elsewhere: &Elsewhere,
    caught_up: impl Fn(RaftId) -> bool,
) -> Option<Step> {
    let away = |m: &&Member| elsewhere.nodes.contains(&m.id.node().0);
    if !members.iter().any(|m| m.voter && away(&m)) {
        return None;
    }
    let stay: BTreeSet<RaftId> = members.iter().filter(|m| m.voter && !away(m)).map(|m| m.id).collect();
    let nodes: BTreeSet<NodeNumber> = members.iter().filter(|m| !away(m)).map(|m| m.id.node()).collect();
    let fit: Vec<RaftId> = stay.iter().copied().filter(|id| caught_up(*id)).collect();
    if fit.len() * 2 <= nodes.len() || stay.len() < elsewhere.least {
        return None;
    }
    match stay.contains(&own) {
        true => Some(Step::LeaveVoteTo(stay)),
        false => fit.first().map(|to| Step::HandOver(*to)),
    }
}

/// Each node's latest incarnation.
fn newest_of(members: &[Member]) -> BTreeMap<NodeNumber, &Member> {
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

    fn member(node: u16, incarnation: u16, voter: bool) -> Member {
        Member {
            id: RaftId::new(NodeNumber(node), incarnation),
            address: std::net::SocketAddr::from(([10, 0, 0, node as u8], 7)),
            voter,
        }
    }

    /// One site only.
    const HERE: Elsewhere = Elsewhere { nodes: BTreeSet::new(), least: 0 };

    fn settled() -> Vec<Member> {
        vec![member(1, 1, true), member(2, 1, true), member(3, 1, true)]
    }

    #[test]
    fn a_settled_group_is_left_alone_and_a_half_change_is_finished() {
        assert_eq!(plan(false, &settled(), Some(&settled()), &HERE, |_| true), None);
        assert_eq!(plan(true, &settled(), None, &HERE, |_| true), Some(Step::Settle));
    }

    #[test]
    fn a_wiped_node_gets_its_vote_back_when_it_caught_up_and_its_old_self_goes() {
        let mut members = settled();
        let again = member(3, 2, false);
        members.push(again);
        assert_eq!(plan(false, &members, None, &HERE, |_| false), None);
        assert_eq!(plan(false, &members, None, &HERE, |_| true), Some(Step::Promote(again.id)));
        // Old learners of a node are removed; the newest never is.
        let members = [member(1, 1, true), member(3, 1, false), member(3, 2, true)];
        assert_eq!(plan(false, &members, None, &HERE, |_| true), Some(Step::Remove(member(3, 1, false).id)));
    }

    #[test]
    fn groups_follow_the_site_group() {
        let mut site = settled();
        site.push(member(4, 1, true));
        assert_eq!(plan(false, &settled(), Some(&site), &HERE, |_| true), Some(Step::Add(member(4, 1, true))));
        let left = &settled()[..2];
        assert_eq!(plan(false, &settled(), Some(left), &HERE, |_| true), Some(Step::Remove(member(3, 1, true).id)));
        let mut moved = settled();
        moved[1].address.set_port(9);
        assert_eq!(plan(false, &settled(), Some(&moved), &HERE, |_| true), Some(Step::Add(moved[1])));
    }

    #[test]
    fn an_old_view_of_the_site_takes_no_incarnation_back() {
        let group = [member(1, 1, true), member(2, 1, true), member(3, 2, true)];
        assert_eq!(plan(false, &group, Some(&settled()), &HERE, |_| true), None);
    }

    #[test]
    fn nodes_of_another_site_follow_without_a_vote() {
        let york = Elsewhere { nodes: BTreeSet::from([4]), least: 3 };
        let mut members = settled();
        members.push(member(4, 1, false));
        assert_eq!(plan(false, &members, Some(&members), &york, |_| true), None);
        assert_eq!(move_vote(member(1, 1, true).id, &members, &york, |_| true), None);
        assert_eq!(plan(false, &members, None, &HERE, |_| true), Some(Step::Promote(member(4, 1, false).id)));
        // One that lost its data there is let in again, and still has none.
        members.push(member(4, 2, false));
        assert_eq!(plan(false, &members, None, &york, |_| true), Some(Step::Remove(member(4, 1, false).id)));
    }

    #[test]
    fn the_vote_moves_when_enough_of_the_other_site_could_go_on_alone_and_lead() {
        let leeds = Elsewhere { nodes: BTreeSet::from([1, 2, 3]), least: 2 };
        let of = |node: u16| RaftId::new(NodeNumber(node), 1);
        let with = |voters: &[u16]| -> Vec<Member> { (1..=6).map(|n| member(n, 1, voters.contains(&n))).collect() };
        let all = |_: RaftId| true;
        // First they get votes, one after the other.
        assert_eq!(plan(false, &with(&[1, 2, 3]), None, &leeds, all), Some(Step::Promote(of(4))));
        assert_eq!(move_vote(of(1), &with(&[1, 2, 3, 4]), &leeds, all), None, "one alone could not go on");
        // Then one of them leads, and then they vote alone.
        assert_eq!(move_vote(of(1), &with(&[1, 2, 3, 4, 5, 6]), &leeds, all), Some(Step::HandOver(of(4))));
        let behind = |id: RaftId| id != of(4);
        assert_eq!(move_vote(of(1), &with(&[1, 2, 3, 4, 5, 6]), &leeds, behind), Some(Step::HandOver(of(5))));
        let vote = Step::LeaveVoteTo(BTreeSet::from([4, 5, 6].map(of)));
        assert_eq!(move_vote(of(5), &with(&[1, 2, 3, 4, 5, 6]), &leeds, all), Some(vote));
        assert_eq!(move_vote(of(5), &with(&[1, 2, 3, 4, 5, 6]), &leeds, |id| id == of(5)), None, "one would be alone");
        assert_eq!(move_vote(of(5), &with(&[4, 5, 6]), &leeds, all), None, "done");
        // A node there that is gone for long does not hold the others up.
        let vote = Step::LeaveVoteTo(BTreeSet::from([4, 5].map(of)));
        assert_eq!(move_vote(of(5), &with(&[1, 2, 3, 4, 5]), &leeds, |id| id != of(6)), Some(vote));
    }

    #[test]
    fn a_label_that_was_mistyped_takes_nobodys_vote_while_too_few_would_keep_theirs() {
        let mistyped = |nodes: &[u16]| Elsewhere { nodes: nodes.iter().copied().collect(), least: 3 };
        let own = member(1, 1, true).id;
        for wrong in [&[2][..], &[2, 3], &[1, 2, 3]] {
            assert_eq!(move_vote(own, &settled(), &mistyped(wrong), |_| true), None, "{wrong:?}");
        }
        let five: Vec<Member> = (1..=5).map(|n| member(n, 1, true)).collect();
        let three = BTreeSet::from([1, 3, 4].map(|n| member(n, 1, true).id));
        assert_eq!(move_vote(own, &five, &mistyped(&[2, 5]), |_| true), Some(Step::LeaveVoteTo(three)));
    }
}
