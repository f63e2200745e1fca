//! What waits for another partition is told as it is: rows, age, and what was set aside.

use super::*;
use metrics_exporter_prometheus::PrometheusBuilder;
use once::{apart, to};

/// A gauge as `/metrics` would show it.
fn shown(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix(line)).and_then(|value| value.trim().parse().ok())
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_counted_with_its_age_and_falls_to_nothing_when_it_is_delivered() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let gauge = |line: &str| shown(&handle.render(), line);
    let site = Site::start(3);
    let (home, away) = apart(&site);
    // The nodes share this process's metrics: only the leader is left to tell.
    for silent in &site.engines[1..] {
        silent.stop().await;
    }
    let rows = "spine_outbox_rows{kind=\"partition\"}";
    until("nothing waits", || gauge(rows) == Some(0.0)).await;
    site.group_of(away).depose(false);
    for _ in 0..300 {
        site.engines[0].submit(to(home, "send", away)).await.unwrap();
    }
    site.pass(90_000);
    until("all are counted", || gauge(rows) == Some(300.0)).await;
    assert!(gauge("spine_outbox_oldest_age_seconds").unwrap() >= 90.0);
    let told = site.engines[0].backlog();
    assert_eq!((told.waiting, told.oldest, told.dead), (300, START, 0));
    assert_eq!(site.engines[1].backlog().waiting, 0, "who leads tells");
    site.group_of(away).elect(0);
    until("nothing waits", || gauge(rows) == Some(0.0)).await;
    assert_eq!(site.count(0, away), 300);
    assert_eq!(gauge("spine_outbox_oldest_age_seconds"), Some(0.0));
    // Another reign counts anew and comes to the same.
    site.group_of(away).depose(false);
    site.engines[0].submit(to(home, "send", away)).await.unwrap();
    site.group_of(home).elect(0);
    until("one is counted", || gauge(rows) == Some(1.0)).await;
    site.group_of(away).elect(0);
    site.engines[0].submit(to(home, "poison", away)).await.unwrap();
    until("it is set aside", || gauge("spine_dead_letters") == Some(1.0)).await;
    assert_eq!((site.engines[2].backlog().dead, gauge(rows)), (1, Some(0.0)));
}

#[tokio::test(start_paused = true)]
async fn timers_that_are_due_are_counted_over_all_partitions_until_they_are_acted_on() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let due = || shown(&handle.render(), "spine_timers_due");
    let site = Site::start(3);
    let (here, there) = apart(&site);
    for silent in &site.engines[1..] {
        silent.stop().await;
    }
    for key in [here, there, there] {
        let payload = format!("at 60000 {key}").into();
        site.engines[0].submit(Command { payload, ..ask("", key) }).await.unwrap();
    }
    until("none is due", || due() == Some(0.0)).await;
    // Nothing commits, so nothing is acted on.
    [here, there].iter().for_each(|key| site.group_of(key).hold());
    site.pass(60_000);
    until("those of both partitions are counted", || due() == Some(3.0)).await;
    [here, there].iter().for_each(|key| site.group_of(key).release());
    until("all are acted on", || due() == Some(0.0)).await;
    assert_eq!((site.count(0, here), site.count(0, there)), (1, 2));
}
