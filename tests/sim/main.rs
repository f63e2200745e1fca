//! A site of three in one thread, from one seed: real log, store, consensus and engine over a simulated disk, network,
//! clock and randomness (P1, P2, P3, P9). What the seams are for; the issue "Prove it" builds the rest on this.

mod service;
mod site;

use service::put;
use site::{P, Site};
use spine::engine::Unavailable;
use spine::seam::net::NodeNumber;
use std::{collections::BTreeSet, sync::Arc, sync::Mutex, time::Duration};

/// Writes that clients make, each with an id of its own so that an unknown outcome may be asked for again (P3).
const CLIENTS: u64 = 4;
const WRITES: u64 = 60;

/// Clients write through all nodes while one is cut from power and comes back; returns the rows that all ended with.
fn run(seed: u64, partitions: u16, victim: Victim) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(within(RUN, async move {
        let mut site = Site::start(seed, partitions).await;
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let clients: Vec<_> =
            (0..CLIENTS).map(|n| tokio::spawn(client(n, site.doors(), acknowledged.clone()))).collect();
        let some = |share: u64| move |seen: usize| seen as u64 >= CLIENTS * WRITES / share;
        wait(&acknowledged, some(4)).await;
        let victims = match victim {
            Victim::Leader => vec![site.leader(P(partitions)).await],
            Victim::Follower => vec![site.follower(P(partitions)).await],
            Victim::All => site::numbers().collect(),
        };
        site.crash(&victims).await;
        if victims.len() == 1 {
            wait(&acknowledged, some(2)).await;
        }
        for victim in victims {
            site.restart(victim).await;
        }
        for client in clients {
            client.await.unwrap();
        }
        site.settle().await;
        let acknowledged = acknowledged.lock().unwrap().clone();
        assert_eq!(acknowledged.len() as u64, CLIENTS * WRITES);
        let rows = site.rows_of_all_equal().await;
        for id in &acknowledged {
            assert!(rows.contains(&format!("{id} 1")), "acknowledged and lost, or done twice: {id}");
            assert!(rows.contains(&format!("echo-{id} 1")), "sent and lost, or done twice: {id}");
        }
        assert_eq!(rows.len(), acknowledged.len() * 2, "nothing appears that was not sent");
        site.assert_audit_whole().await;
        site.stop().await;
        rows
    }))
}

/// A run takes some ten seconds of simulated time; one that takes minutes has got stuck.
const RUN: Duration = Duration::from_secs(120);

async fn within<T>(time: Duration, run: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, run).await.expect("the site comes back and the clients come to an end")
}

#[derive(Clone, Copy)]
enum Victim {
    Leader,
    Follower,
    All,
}

/// Writes one after the other, each through the next node, and goes to another node when one does not answer.
async fn client(number: u64, doors: site::Doors, acknowledged: Arc<Mutex<BTreeSet<String>>>) {
    for n in 0..WRITES {
        let id = format!("{number}-{n}");
        let mut via = number + n;
        loop {
            via += 1;
            let Some(engine) = doors.open(NodeNumber((via % 3) as u16 + 1)) else {
                pause().await;
                continue;
            };
            match engine.submit(put(&id)).await {
                Ok(outcome) => {
                    assert_eq!(outcome.reply, "1", "the answer of the first time, however often it was asked");
                    acknowledged.lock().unwrap().insert(id);
                    break;
                }
                Err(Unavailable::Fault(why)) => panic!("{why}"),
                Err(_) => pause().await,
            }
        }
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn wait(acknowledged: &Mutex<BTreeSet<String>>, enough: impl Fn(usize) -> bool) {
    for _ in 0..60_000 {
        if enough(acknowledged.lock().unwrap().len()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("writes stopped coming through at {}", acknowledged.lock().unwrap().len());
}

/// The seeds of a test: its own, or those of `SPINE_SIM_SEEDS=from..to`, for a longer search.
fn seeds(own: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("SPINE_SIM_SEEDS").ok();
    let range = asked.as_deref().and_then(|s| s.split_once("..")).map(|(a, b)| (a.parse(), b.parse()));
    match range {
        Some((Ok(from), Ok(to))) => from..to,
        _ => own..own + 1,
    }
}

#[test]
fn a_leader_that_loses_its_unsynced_writes_costs_nothing_acknowledged() {
    for seed in seeds(1) {
        assert_eq!(run(seed, 1, Victim::Leader), run(seed, 1, Victim::Leader), "the same seed ends the same");
    }
}

#[test]
fn three_partitions_and_the_commands_between_them_survive_it_too() {
    seeds(2).for_each(|seed| drop(run(seed, 3, Victim::Leader)));
}

#[test]
fn a_follower_that_loses_its_unsynced_writes_catches_up() {
    seeds(3).for_each(|seed| drop(run(seed, 3, Victim::Follower)));
}

#[test]
fn a_rack_that_loses_power_loses_nothing_acknowledged() {
    seeds(4).for_each(|seed| drop(run(seed, 1, Victim::All)));
}
