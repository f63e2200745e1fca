//! Dead letters: decided again once the cause is gone, or dropped; each once, and on record (P3, P4).

use super::*;
use crate::access::caller::Caller;
use once::{apart, to};

fn operator() -> Caller {
    Caller { operator: "uid:7".into(), ..Default::default() }
}

/// A site of three partitions with a dead letter, and the key that it is to be counted under.
pub(crate) async fn with_dead_letter() -> (Site, DeadLetterId, &'static str) {
    let site = Site::start(3);
    let (home, away) = apart(&site);
    site.engines[0].submit(to(home, "grudge", away)).await.unwrap();
    until("it is set aside", || site.engines[1].backlog().dead == 1).await;
    let found = site.engines[1].dead_letters(None, 10).await.unwrap();
    let (id, letter) = found[0].clone();
    let (source, target) =
        (site.engines[0].partition_of(home.as_bytes()), site.engines[0].partition_of(away.as_bytes()));
    assert_eq!((id.source, id.target), (source, target));
    let item = letter.item.unwrap();
    assert_eq!(
        (item.correlation_id.as_str(), item.at, letter.fault.as_str()),
        (format!("c-{away}").as_str(), START, "asked to fault")
    );
    (site, id, away)
}

fn told(site: &Site, id: DeadLetterId) -> Vec<(String, String, String)> {
    let query = audit::Query { id: id.to_string(), ..Default::default() };
    let found = audit::search(site.engines[2].local(id.target).as_ref(), &query, 0, 10).unwrap().records;
    found.into_iter().map(|r| (r.interaction, r.outcome, r.operator)).collect()
}

fn line(interaction: &str, outcome: &str) -> (String, String, String) {
    (interaction.into(), outcome.into(), "uid:7".into())
}

#[tokio::test(start_paused = true)]
async fn one_that_faults_again_stays_and_one_whose_cause_is_gone_is_done_once() {
    let (site, id, away) = with_dead_letter().await;
    let settle = |node: usize, how, trial| {
        let engine = site.engines[node].clone();
        async move { engine.settle_dead_letter(id, how, trial, operator(), "op-1".into()).await.unwrap() }
    };
    let faulted = Settled::Faulted("asked to fault".into());
    assert_eq!(settle(2, Settle::Retry, true).await, faulted);
    assert_eq!(told(&site, id), [], "a trial writes nothing");
    site.pass(5_000);
    assert_eq!(settle(2, Settle::Retry, false).await, faulted);
    let stays = site.engines[0].dead_letters(None, 10).await.unwrap();
    assert_eq!((stays.len(), stays[0].1.at), (1, START + 5_000));
    site.engines[0].submit(ask("add", away)).await.unwrap();
    assert_eq!(settle(1, Settle::Retry, true).await, Settled::Done);
    assert_eq!(site.count(0, away), 1, "a trial has no effect");
    assert_eq!(settle(1, Settle::Retry, false).await, Settled::Done);
    assert_eq!(settle(1, Settle::Retry, false).await, Settled::Gone);
    assert_eq!((site.count(0, away), site.engines[0].backlog().dead), (2, 0));
    assert_eq!(told(&site, id), [line("outbox.retry", "fault"), line("outbox.retry", "ok")]);
    site.assert_replicas_equal();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_is_never_done() {
    let (site, id, away) = with_dead_letter().await;
    let other = DeadLetterId { sequence: id.sequence + 1, ..id };
    let nowhere = DeadLetterId { target: PartitionId(9), ..id };
    for none in [other, nowhere] {
        let settled = site.engines[0].settle_dead_letter(none, Settle::Drop, false, operator(), "op".into()).await;
        assert_eq!(settled, Ok(Settled::Gone));
    }
    for (trial, left) in [(true, 1), (false, 0)] {
        let settled = site.engines[0].settle_dead_letter(id, Settle::Drop, trial, operator(), "op".into()).await;
        assert_eq!((settled, site.engines[0].backlog().dead), (Ok(Settled::Done), left));
    }
    assert_eq!((site.count(0, away), told(&site, id)), (0, vec![line("outbox.drop", "ok")]));
}

#[tokio::test(start_paused = true)]
async fn many_are_listed_in_pages() {
    let (site, first, _) = with_dead_letter().await;
    let (home, away) = apart(&site);
    for word in ["poison", "poison"] {
        site.engines[0].submit(to(home, word, away)).await.unwrap();
    }
    until("all are set aside", || site.engines[0].backlog().dead == 3).await;
    let page = |after, limit| {
        let engine = site.engines[2].clone();
        async move { engine.dead_letters(after, limit).await.unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>() }
    };
    let two = page(None, 2).await;
    let rest = page(two.last().copied(), 2).await;
    assert_eq!((two[0], two.len(), rest.len()), (first, 2, 1));
    assert!(two[1] < rest[0]);
    assert!(page(rest.last().copied(), 2).await.is_empty());
}
