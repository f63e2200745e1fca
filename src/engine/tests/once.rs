//! Once: requests with an id (P3), outbox deliveries, timers.

use super::super::bodies;
use super::super::cut::{Standing, misfit};
use super::super::errand::{DELIVER, Errand};
use super::super::rows;
use super::*;
use crate::access::caller::Caller;
use crate::engine::draft::OutboxItem;
use crate::store::{Reader, blobs::BlobId};
use crate::wire::record::Record as _;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn repeatable(key: &str, id: &str) -> Command {
    let caller = Caller { asid: "200000000001".into(), ..Default::default() };
    Command { request_id: id.into(), caller, ..ask("add", key) }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_gets_the_same_answer_and_one_effect_across_leaders() {
    for partitions in [1, 3] {
        let site = Site::start(partitions);
        let first = site.engines[1].submit(repeatable("A", "r1")).await.unwrap();
        site.groups.iter().for_each(|g| g.elect(2));
        let again = site.engines[0].submit(repeatable("A", "r1")).await.unwrap();
        assert_eq!((first.reply.clone(), site.count(0, "A")), (again.reply, 1));
        let other = site.engines[0].submit(repeatable("A", "r2")).await.unwrap();
        assert_eq!(other.reply, "2");
        site.assert_replicas_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_only_with_an_id() {
    let site = Site::start(1);
    site.wires.lose_answers.store(true, Ordering::SeqCst);
    let bare = site.engines[1].submit(ask("add", "A")).await.unwrap_err();
    assert_eq!(bare, Unavailable::Unknown);
    assert_eq!(site.count(0, "A"), 1, "it was done, and not done again");
    let engine = site.engines[1].clone();
    let asked = tokio::spawn(async move { engine.submit(repeatable("A", "r")).await });
    until("it was tried again", || site.wires.calls.load(Ordering::SeqCst) > 3).await;
    site.wires.lose_answers.store(false, Ordering::SeqCst);
    assert_eq!(asked.await.unwrap().unwrap().reply, "2");
    assert_eq!(site.count(0, "A"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_forgotten_after_its_day_and_not_before() {
    let site = Site::start(1);
    site.engines[0].submit(repeatable("A", "r")).await.unwrap();
    let remembered = || site.rows[1][1].all().iter().filter(|(k, _)| k[0] == 2 || k[0] == 3).count();
    site.pass(24 * 3_600_000 - 10_000);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(remembered(), 2);
    assert_eq!(site.engines[0].submit(repeatable("A", "r")).await.unwrap().reply, "1");
    site.pass(10_000);
    until("it is forgotten", || remembered() == 0).await;
    assert_eq!(site.engines[0].submit(repeatable("A", "r")).await.unwrap().reply, "2");
}

/// Two keys in different partitions of a site of three.
pub fn apart(site: &Site) -> (&'static str, &'static str) {
    let keys = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
    let home = site.engines[0].partition_of(keys[0].as_bytes());
    (keys[0], keys.into_iter().find(|k| site.engines[0].partition_of(k.as_bytes()) != home).unwrap())
}

pub fn to(home: &str, word: &str, key: &str) -> Command {
    Command { key: home.to_owned().into(), ..ask(word, key) }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_arrives_once_in_order_and_can_be_waited_for() {
    let site = Site::start(3);
    let (home, away) = apart(&site);
    for n in 1..=20 {
        let outcome = site.engines[n % 3].submit(to(home, "send", away)).await.unwrap();
        assert_eq!(outcome.sent.len(), 1);
        assert!(site.engines[n % 3].wait_delivered(&outcome, Duration::from_secs(2)).await.unwrap());
        assert_eq!(site.count(n % 3, away), n as u64);
    }
    let outbox = |site: &Site| {
        let source = usize::from(site.engines[0].partition_of(home.as_bytes()).0);
        site.rows[0][source].all().iter().filter(|(k, _)| k[0] == 4).count()
    };
    until("the outbox is cleared away", || outbox(&site) == 0).await;
    site.assert_replicas_equal();
    // What a backup goes by: nothing is cleared here that is not taken there, and the source says so itself.
    let (source, target) =
        (site.engines[0].partition_of(home.as_bytes()), site.engines[0].partition_of(away.as_bytes()));
    let rows = |partition: crate::engine::PartitionId| site.rows[0][usize::from(partition.0)].clone();
    let cleared = rows(source).get(&rows::cleared_key(target)).unwrap().expect("up to where it was cleared");
    let taken = rows::inbound(&*rows(target), source).unwrap();
    assert_eq!(u64::from_be_bytes(cleared.as_ref().try_into().unwrap()), taken);
    let standing = |partition| Standing::read(site.engines[0].map(), |key| rows(partition).get(key)).unwrap();
    let all: Vec<Standing> = site.engines[0].map().all().map(standing).collect();
    assert_eq!(misfit(all.iter()), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_within_the_partition_is_done_in_the_same_entry() {
    let site = Site::start(1);
    let outcome = site.engines[0].submit(to("A", "send", "B")).await.unwrap();
    assert!(outcome.sent.is_empty());
    assert_eq!(site.count(0, "B"), 1);
    let fault = site.engines[0].submit(to("A", "poison", "B")).await;
    assert!(matches!(fault, Err(Unavailable::Fault(_))), "both or neither");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_comes_again_and_again_has_one_effect() {
    let site = Site::start(3);
    let (home, away) = apart(&site);
    let (source, target) =
        (site.engines[0].partition_of(home.as_bytes()), site.engines[0].partition_of(away.as_bytes()));
    let item = |sequence| OutboxItem {
        sequence,
        to_key: away.into(),
        service: COUNTING.0,
        payload: format!("add {away}").into(),
        ..Default::default()
    };
    for leader in [0, 1, 2, 1] {
        let errand =
            Errand { kind: DELIVER, partition: source.0, items: vec![item(1), item(2), item(5)], ..Default::default() };
        let command = Command { service: 0, payload: errand.encode(), ..Default::default() };
        for engine in &site.engines {
            engine.inner.submit_to(target, command.clone()).await.unwrap();
        }
        site.groups.iter().for_each(|g| g.elect(leader));
    }
    assert_eq!(site.count(0, away), 3);
    assert_eq!(rows::inbound(site.rows[2][usize::from(target.0)].as_ref(), source).unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn deliveries_survive_changes_of_leader_on_both_sides() {
    let site = Site::start(3);
    let (home, away) = apart(&site);
    site.group_of(away).depose(false);
    let outcome = site.engines[0].submit(to(home, "send", away)).await.unwrap();
    assert!(!site.engines[0].wait_delivered(&outcome, Duration::from_millis(300)).await.unwrap());
    let source = usize::from(site.engines[0].partition_of(home.as_bytes()).0);
    let on_their_way = || {
        let mut found = BTreeSet::new();
        bodies::of_commands(site.rows[0][source].as_ref(), &mut found, 10).unwrap();
        found
    };
    assert_eq!(on_their_way(), BTreeSet::from([BlobId([away.as_bytes()[0]; 32])]), "its body is wanted meanwhile");
    site.group_of(home).elect(1);
    site.group_of(away).elect(2);
    assert!(site.engines[0].wait_delivered(&outcome, Duration::from_secs(20)).await.unwrap());
    assert_eq!(site.count(1, away), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_always_faults_is_set_aside_and_those_behind_it_go_on() {
    let site = Site::start(3);
    let (home, away) = apart(&site);
    site.engines[0].submit(to(home, "poison", away)).await.unwrap();
    let behind = site.engines[0].submit(to(home, "send", away)).await.unwrap();
    assert!(site.engines[0].wait_delivered(&behind, Duration::from_secs(60)).await.unwrap());
    assert_eq!(site.count(0, away), 1);
    let target = usize::from(site.engines[0].partition_of(away.as_bytes()).0);
    assert_eq!(site.rows[0][target].all().iter().filter(|(k, _)| k[0] == 11).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn timers_fire_once_when_due_also_under_another_leader() {
    for partitions in [1, 3] {
        let site = Site::start(partitions);
        for n in 0..300 {
            let payload = format!("at {} A", if n < 150 { 1_000 } else { 60_000 });
            site.engines[0].submit(Command { payload: payload.into(), ..ask("", "A") }).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(site.count(0, "A"), 0, "not before");
        site.pass(1_000);
        until("the first are fired", || site.count(0, "A") == 150).await;
        site.groups.iter().for_each(|g| g.elect(1));
        site.pass(60_000);
        until("all are fired", || site.count(0, "A") >= 300).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(site.count(0, "A"), 300, "and none twice");
        let left = site.rows[2].iter().flat_map(|r| r.all()).filter(|(k, _)| k[0] == 6).count();
        assert_eq!(left, 0);
        site.assert_replicas_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_of_the_engines_rows_names_what_is_broken() {
    let site = Site::start(1);
    let key = rows::mark_key();
    let broken = crate::store::RowOp::Put { key, value: vec![9, 9].into(), fresh: false };
    crate::engine::Rows::apply(site.rows[0][1].as_ref(), Default::default(), &[broken]);
    assert!(Mark::load(site.rows[0][1].as_ref()).is_err());
    assert!(site.rows[0][1].get(b"x").unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_into_unreadable_rows_waits_and_is_never_set_aside() {
    let site = Site::start(2);
    let (home, away) = apart(&site);
    let target = usize::from(site.engines[0].partition_of(away.as_bytes()).0);
    for node in &site.rows {
        node[target].unreadable.store(true, Ordering::SeqCst);
    }
    site.engines[0].submit(to(home, "send", away)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    for node in &site.rows {
        node[target].unreadable.store(false, Ordering::SeqCst);
    }
    until("it is delivered", || site.count(1, away) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_a_refusal_is_not_taken_for_nothing_done() {
    let site = Site::with(1, |options| options.patience = Duration::from_secs(10));
    site.wires.lose_answers.store(true, Ordering::SeqCst);
    let engine = site.engines[1].clone();
    let asked = Command { request_id: "r".into(), ..ask("add", "A") };
    let asked = tokio::spawn(async move { engine.submit(asked).await });
    until("it is done", || site.count(0, "A") == 1).await;
    for free in &site.outside.free {
        free.store(1 << 29, Ordering::SeqCst);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    site.wires.lose_answers.store(false, Ordering::SeqCst);
    assert_eq!(asked.await.unwrap().unwrap_err(), Unavailable::Unknown);
}
