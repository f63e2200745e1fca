//! Changes of leader and of luck: what is told to callers then must be true.

use super::super::entry::{Entry, Packer};
use super::*;
use crate::store::{Reader, RowOp};
use crate::wire::record::Record as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn what_was_decided_under_one_term_is_not_applied_under_another() {
    let site = Site::start(1);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    let group = site.group_of("A").clone();
    let stale = RowOp::Put { key: count_key("A").build(), value: 99u64.to_be_bytes().to_vec().into(), fresh: false };
    let mut entry = Entry { term: 1, reign: 5, batch: 1, ..Default::default() };
    Packer::default().pack(&[stale], &mut entry);
    group.elect(1);
    group.force(entry.encode());
    assert_eq!(site.count(0, "A"), 1, "logged in term 2, decided in term 1");
    entry.term = 2;
    group.force(entry.encode());
    assert_eq!(site.count(0, "A"), 99, "the same entry in its own term");
    site.assert_replicas_equal();
}

#[tokio::test(start_paused = true)]
async fn a_lost_reign_takes_its_overlay_along_and_its_callers_try_again() {
    let site = Site::start(1);
    let group = site.group_of("A").clone();
    group.hold();
    let engine = site.engines[0].clone();
    let lost = tokio::spawn(async move { engine.submit(ask("add", "A")).await });
    until("it is proposed", || group.pending() == 1).await;
    group.depose(false);
    group.release();
    tokio::task::yield_now().await;
    group.elect(1);
    // The new leader's first entry proves the old one lost, so asking again is safe, and the answer is from scratch.
    assert_eq!(lost.await.unwrap().unwrap().reply, "1");
    assert_eq!(site.engines[0].submit(ask("add", "A")).await.unwrap().reply, "2");
    site.assert_replicas_equal();
}

#[tokio::test(start_paused = true)]
async fn a_lost_reign_whose_entry_survives_answers_with_it() {
    let site = Site::start(1);
    let group = site.group_of("A").clone();
    group.hold();
    let engine = site.engines[0].clone();
    let kept = tokio::spawn(async move { engine.submit(ask("add", "A")).await });
    until("it is proposed", || group.pending() == 1).await;
    group.depose(true);
    group.release();
    group.elect(2);
    assert_eq!(kept.await.unwrap().unwrap().reply, "1");
    assert_eq!(site.count(1, "A"), 1, "once");
}

#[tokio::test(start_paused = true)]
async fn without_a_word_from_the_log_the_outcome_is_unknown() {
    let site = Site::start(1);
    let group = site.group_of("A").clone();
    group.hold();
    let engine = site.engines[0].clone();
    let asked = tokio::spawn(async move { engine.submit(ask("add", "A")).await });
    until("it is proposed", || group.pending() == 1).await;
    group.depose(false);
    assert_eq!(asked.await.unwrap().unwrap_err(), Unavailable::Unknown);
    let nobody = site.engines[1].submit(ask("add", "A")).await.unwrap_err();
    assert_eq!(nobody, Unavailable::NoLeader);
}

#[tokio::test(start_paused = true)]
async fn an_election_is_invisible_where_asking_again_is_safe() {
    let site = Site::start(1);
    let group = site.group_of("A").clone();
    group.depose(false);
    let engine = site.engines[2].clone();
    let asked = tokio::spawn(async move { engine.submit(ask("add", "A")).await });
    tokio::time::sleep(Duration::from_millis(800)).await;
    group.elect(1);
    assert_eq!(asked.await.unwrap().unwrap().reply, "1");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_leader_is_not_waited_for_once_another_leads() {
    let site = Site::start(1);
    site.engines[1].submit(ask("add", "A")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.wires.freeze(1);
    let began = tokio::time::Instant::now();
    let again = Command { request_id: "once".into(), ..ask("add", "A") };
    let asked = [ask("add", "A"), again].map(|command| {
        let engine = site.engines[1].clone();
        tokio::spawn(async move { engine.submit(command).await })
    });
    tokio::time::sleep(Duration::from_millis(800)).await;
    site.groups.iter().for_each(|group| group.elect(2));
    let [open, repeatable] = asked;
    assert_eq!(open.await.unwrap().unwrap_err(), Unavailable::Unknown, "it may have been decided before");
    assert_eq!(repeatable.await.unwrap().unwrap().reply, "2", "with a request id it is safe to ask again");
    assert!(began.elapsed() < Duration::from_millis(1_600), "not only after all patience: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn time_never_falls_and_sequences_never_repeat_across_leaders() {
    let site = Site::start(1);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    site.outside.millis.fetch_sub(60_000, Ordering::SeqCst);
    site.groups[1].elect(1);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    let mark = Mark::load(site.rows[0][1].as_ref()).unwrap();
    assert_eq!((mark.time, mark.sequence, mark.audit_sequence), (START, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_node_short_of_space_gives_leadership_to_one_that_has_room() {
    let site = Site::start(1);
    site.outside.free[0].store(1 << 29, Ordering::SeqCst);
    let group = site.groups[1].clone();
    let leads = |n: u16| group.watchers_leader() == Some(n);
    until("leadership moved", || leads(1)).await;
    assert!(site.engines[0].submit(ask("add", "A")).await.is_ok());
    for free in &site.outside.free {
        free.store(1 << 29, Ordering::SeqCst);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(site.engines[2].submit(ask("add", "A")).await.unwrap_err(), Unavailable::NoSpace);
    let view = site.engines[2].view(PartitionId(1), Fence::Linearizable).await.unwrap();
    assert_eq!(count_of(view.get(&count_key("A").build()).unwrap()), 1, "reads go on");
    for free in &site.outside.free {
        free.store(1 << 40, Ordering::SeqCst);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(site.engines[2].submit(ask("add", "A")).await.is_ok(), "all comes back by itself");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_rows_cannot_be_read_neither_leads_nor_answers() {
    let site = Site::start(1);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    site.rows[0][1].damaged.store(true, Ordering::SeqCst);
    assert_eq!(site.engines[0].submit(ask("add", "A")).await.unwrap().reply, "2", "by another leader");
    assert_ne!(site.groups[1].watchers_leader(), Some(0));
    let refused = site.engines[0].view(PartitionId(1), Fence::Linearizable).await;
    assert_eq!(refused.err(), Some(Unavailable::NoLeader));
    assert!(site.engines[0].local(PartitionId(1)).get(&count_key("A").build()).is_err());
    site.rows[0][1].damaged.store(false, Ordering::SeqCst);
    assert!(site.engines[0].view(PartitionId(1), Fence::Linearizable).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_leader_cannot_read_is_decided_by_another() {
    let site = Site::start(2);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    let here = usize::from(site.engines[0].partition_of(b"A").0);
    site.rows[0][here].unreadable.store(true, Ordering::SeqCst);
    let (one, two) = tokio::join!(site.engines[0].submit(ask("add", "A")), site.engines[1].submit(ask("add", "A")));
    let mut replies = [one.unwrap().reply, two.unwrap().reply];
    replies.sort();
    assert_eq!(replies, ["2", "3"], "each once, by a leader that can read");
    assert_ne!(site.group_of("A").watchers_leader(), Some(0));
    let told = audit::search(site.engines[1].local(PartitionId(here as u16)).as_ref(), &Default::default(), 0, 10);
    assert!(told.unwrap().records.iter().all(|r| r.interaction == "count.add"), "no fault was on record");
}
