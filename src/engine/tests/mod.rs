//! The engine's promises, attacked over an in-memory site: P1–P4 and the two rules of "decided once".

mod backlog;
mod clocks;
pub(crate) mod dead;
mod disk;
mod expire;
pub(crate) mod harness;
mod moving;
pub(crate) mod once;
mod succession;

use super::*;
use crate::access::caller::Caller;
use crate::audit;
use harness::*;

#[tokio::test(start_paused = true)]
async fn a_command_to_any_node_is_decided_once_and_applied_everywhere() {
    for partitions in [1, 3] {
        let site = Site::start(partitions);
        for (n, engine) in site.engines.iter().enumerate() {
            let outcome = engine.submit(ask("add", "A")).await.unwrap();
            assert_eq!(outcome.reply, (n + 1).to_string());
        }
        assert_eq!(site.count(2, "A"), 3);
        site.assert_replicas_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn many_at_once_share_entries_and_see_each_other() {
    let site = Site::start(1);
    let group = site.group_of("A").clone();
    group.hold();
    let mut asked = vec![];
    for wave in 0..12 {
        for _ in 0..100 {
            let engine = site.engines[0].clone();
            asked.push(tokio::spawn(async move { engine.submit(ask("add", "A")).await }));
        }
        until("a wave is taken", || group.pending() >= (wave + 1).min(8)).await;
    }
    assert_eq!(group.pending(), 8, "entries under way are bounded");
    group.release();
    let mut replies = vec![];
    for asked in asked {
        replies.push(String::from_utf8(asked.await.unwrap().unwrap().reply.to_vec()).unwrap().parse::<u64>().unwrap());
    }
    replies.sort_unstable();
    assert_eq!(replies, (1..=1200).collect::<Vec<_>>());
    site.assert_replicas_equal();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_busy_at_once_and_does_nothing() {
    let site = Site::with(1, |options| options.queue_commands = 10);
    let group = site.group_of("A").clone();
    group.hold();
    let mut asked = vec![];
    for _ in 0..600 {
        let engine = site.engines[0].clone();
        asked.push(tokio::spawn(async move { engine.submit(ask("add", "A")).await }));
    }
    until("queue is full", || asked.iter().any(|a| a.is_finished())).await;
    let mut busy = 0;
    group.release();
    for asked in asked {
        match asked.await.unwrap() {
            Err(Unavailable::Busy) => busy += 1,
            other => drop(other.unwrap()),
        }
    }
    assert!(busy > 0);
    assert_eq!(site.count(0, "A"), 600 - busy);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_or_fault_writes_its_audit_record_and_nothing_else() {
    let site = Site::start(1);
    let caller = Caller {
        application: "app-1".into(),
        level: "aal3".into(),
        user: "999000000001".into(),
        role_profile: "999000000002".into(),
        session: "s-1".into(),
        ..Default::default()
    };
    let refused = Command { caller, ..ask("refuse", "A") };
    assert_eq!(site.engines[1].submit(refused).await.unwrap().reply, "refused");
    assert!(matches!(site.engines[1].submit(ask("explode", "A")).await, Err(Unavailable::Fault(_))));
    assert_eq!(site.count(0, "A"), 0);
    let reader = site.engines[2].local(PartitionId(1));
    let found = audit::search(reader.as_ref(), &audit::Query::default(), 0, 10).unwrap().records;
    let told: Vec<_> = found.iter().map(|r| (r.interaction.as_str(), r.correlation_id.as_str())).collect();
    assert_eq!(told, [("count.add", "c-A"), ("engine.fault", "c-A")]);
    let by = &found[0];
    let by = [&by.application, &by.level, &by.user, &by.role_profile, &by.session];
    assert_eq!(by, ["app-1", "aal3", "999000000001", "999000000002", "s-1"], "who asked, whatever proved it");
    let end = site.engines[2].audit_chain(PartitionId(1)).unwrap();
    let verifier = audit::Verifier::new(1, 1, u64::MAX - 1, Some(end), audit::Ca::default());
    assert!(audit::verify(reader.as_ref(), verifier).unwrap().is_whole());
}

#[tokio::test(start_paused = true)]
async fn a_fence_sees_what_was_acknowledged_before_on_any_node_or_refuses() {
    let site = Site::start(1);
    let outcome = site.engines[2].submit(ask("add", "A")).await.unwrap();
    for engine in &site.engines {
        for fence in [Fence::Linearizable, Fence::At(outcome.index)] {
            let view = engine.view(outcome.partition, fence).await.unwrap();
            assert_eq!(count_of(crate::store::Reader::get(&view, &count_key("A").build()).unwrap()), 1);
        }
    }
    site.wires.cut(3);
    let refused = site.engines[2].view(outcome.partition, Fence::Linearizable).await;
    assert_eq!(refused.err(), Some(Unavailable::NoLeader));
    let future = site.engines[2].view(outcome.partition, Fence::At(outcome.index + 5)).await;
    assert_eq!(future.err(), Some(Unavailable::NoLeader));
    site.wires.heal();
    assert!(site.engines[2].view(outcome.partition, Fence::Linearizable).await.is_ok());
}
