//! A leader whose disk becomes slow, in a whole simulated site (P9): leadership goes to a node whose disk is not, once, and
//! stays there; where all disks are slow it stays where it is.

use crate::service::set;
use crate::site::Site;
use crate::trace::Trace;
use spine::seam::net::NodeNumber;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// On a site of three, with a client that writes all the time; the run's time is simulated.
fn on_a_site<T>(seed: u64, scenario: impl AsyncFn(&Site) -> T) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let out = runtime.block_on(async {
        let site = Site::start(seed, 3, 2, Trace::new()).await;
        for writer in 0..4u64 {
            tokio::spawn(write(site.clone(), writer));
        }
        sleep(Duration::from_secs(3)).await;
        scenario(&site).await
    });
    runtime.shutdown_background();
    out
}

async fn write(site: Site, writer: u64) {
    for count in 1u64.. {
        let (_, running) = site.up()[(writer % 3) as usize].clone();
        let _ = running.engine.submit(set(&format!("register-{writer}"), count, "")).await;
        sleep(Duration::from_millis(20)).await;
    }
}

fn slow(site: &Site, node: NodeNumber, millis: u64) {
    let about = Duration::from_millis(millis)..Duration::from_millis(millis + millis / 4 + 1);
    site.machines[&node].world.fs.set_slow(about);
}

/// The newest term of each partition, and who leads it.
fn leaders(site: &Site) -> Vec<(u64, Option<NodeNumber>)> {
    let one = |partition| {
        let groups = site.up().into_iter().filter_map(|(_, r)| r.consensus.group(partition)).collect::<Vec<_>>();
        let term = groups.iter().map(|group| group.status().leadership.term).max().unwrap_or(0);
        (term, site.leader(partition))
    };
    (0..=site.partitions).map(one).collect()
}

#[test]
fn a_leader_whose_disk_becomes_slow_hands_over_once() {
    for seed in 1..4 {
        on_a_site(seed, async |site| {
            let victim = site.leader(1).expect("a leader");
            let before = leaders(site);
            slow(site, victim, 80);
            let since = Instant::now();
            while leaders(site).iter().any(|(_, leader)| leader.is_none_or(|leader| leader == victim)) {
                sleep(Duration::from_millis(20)).await;
                assert!(since.elapsed() < Duration::from_secs(5), "seed {seed}: {:?}", leaders(site));
            }
            println!("seed {seed}: handed over after {:?}", since.elapsed());
            sleep(Duration::from_secs(40)).await;
            for (before, (term, leader)) in before.iter().zip(leaders(site)) {
                assert!(
                    term <= before.0 + 1 && leader.is_some_and(|leader| leader != victim),
                    "{before:?} {term} {leader:?}"
                );
            }
        });
    }
}

#[test]
fn a_site_whose_disks_are_all_slow_keeps_its_leaders() {
    on_a_site(9, async |site| {
        for node in site.numbers() {
            slow(site, node, 80);
        }
        sleep(Duration::from_secs(5)).await;
        let before = leaders(site);
        sleep(Duration::from_secs(40)).await;
        assert_eq!(leaders(site), before);
    });
}
