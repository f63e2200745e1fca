//! A wrong clock harms nobody (P6): what a node does whose clock is off, and what the others' rows hold afterwards.

use super::*;
use std::sync::atomic::Ordering;
use std::time::Duration;

const YEAR: i64 = 365 * 24 * 3_600_000;

/// Greatest time stamped in any partition on any node.
fn newest_stamp(site: &Site) -> u64 {
    let rows = site.rows.iter().flatten();
    rows.map(|rows| Mark::load(rows.as_ref()).unwrap().time).max().unwrap()
}

/// Lets so many seconds go by and a half: clocks were compared then, and are not just being.
async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_millis(seconds * 1_000 + 500)).await;
}

fn standing(site: &Site, node: usize) -> Standing {
    site.engines[node].clock().standing
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_jumps_a_year_hands_over_and_stamps_nothing_with_it() {
    let site = Site::start(2);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    // A timer that the year would fire.
    site.engines[0].submit(Command { payload: "at 3600000 B".into(), ..ask("", "B") }).await.unwrap();
    seconds(3).await;
    site.set_clock(0, YEAR);
    let all = (0..50).map(|n| site.engines[n % 3].submit(ask("add", "A")));
    for answer in futures_util::future::join_all(all).await {
        answer.unwrap();
    }
    assert_eq!(site.count(1, "A"), 51, "nobody noticed");
    for group in &site.groups {
        until("leadership moved", || group.watchers_leader().is_some_and(|leader| leader != 0)).await;
    }
    // Elected again, it does not begin.
    site.groups.iter().for_each(|group| group.elect(0));
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    assert_ne!(site.group_of("A").watchers_leader(), Some(0));
    seconds(30).await;
    assert_eq!(site.count(1, "B"), 0, "the timer is not due");
    assert_eq!(newest_stamp(&site), START);
    assert!(site.engines[0].clock().trouble().unwrap().contains("31536000.0 s ahead"));
    assert!(site.engines[0].clock().is_off() && !site.engines[1].clock().is_off());
    site.assert_replicas_equal();
}

#[tokio::test(start_paused = true)]
async fn a_jump_while_one_node_is_down_is_seen_by_the_node_itself() {
    let site = Site::start(1);
    seconds(3).await;
    site.wires.cut(3);
    seconds(3).await;
    site.set_clock(0, YEAR);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    assert_eq!(site.group_of("A").watchers_leader(), Some(1), "the node whose clock was never set");
    seconds(10).await;
    assert_eq!((standing(&site, 0), standing(&site, 1)), (Standing::Off, Standing::Doubt));
    assert_eq!(newest_stamp(&site), START);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_with_a_wrong_clock_never_reigns_while_two_agree() {
    for skew in [YEAR, -YEAR, 6_000, -6_000] {
        let site = Site::with_clocks(1, [skew, 0, 200], |_| {});
        // Its first reign is there before any answer.
        site.wires.delay.store(300, Ordering::SeqCst);
        site.engines[0].submit(ask("add", "A")).await.unwrap();
        for _ in 0..5 {
            site.groups.iter().for_each(|group| group.elect(0));
            site.engines[2].submit(ask("add", "A")).await.unwrap();
            assert_ne!(site.group_of("A").watchers_leader(), Some(0));
        }
        assert!((START..=START + 200).contains(&newest_stamp(&site)));
        assert_eq!(standing(&site, 0), Standing::Off);
    }
}

#[tokio::test(start_paused = true)]
async fn it_leads_again_when_its_clock_is_set_right() {
    let site = Site::with_clocks(1, [YEAR, 0, 0], |_| {});
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    site.set_clock(0, 1_000);
    until("it is right again", || !site.engines[0].clock().is_off()).await;
    assert_eq!(site.engines[0].clock().trouble(), None);
    site.groups.iter().for_each(|group| group.elect(0));
    site.engines[1].submit(ask("add", "A")).await.unwrap();
    assert_eq!((site.group_of("A").watchers_leader(), newest_stamp(&site)), (Some(0), START + 1_000));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_off_together_go_on() {
    let site = Site::with_clocks(1, [YEAR; 3], |_| {});
    site.engines[1].submit(ask("add", "A")).await.unwrap();
    assert_eq!(site.group_of("A").watchers_leader(), Some(0));
    // A leap of all at once, as after a pause of the whole site, is none of theirs.
    site.pass(24 * 3_600_000);
    site.engines[1].submit(ask("add", "A")).await.unwrap();
    assert_eq!(newest_stamp(&site), START + YEAR as u64 + 24 * 3_600_000);
    assert!((0..3).all(|node| standing(&site, node) == Standing::Right));
}

#[tokio::test(start_paused = true)]
async fn with_two_clocks_that_differ_from_the_start_it_goes_on_and_says_so() {
    let site = Site::with_clocks(1, [YEAR, 0, 0], |_| {});
    site.wires.cut(3);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    assert_eq!(site.group_of("A").watchers_leader(), Some(0));
    for node in [0, 1] {
        assert_eq!(standing(&site, node), Standing::Doubt);
        assert!(site.engines[node].clock().trouble().unwrap().contains("nobody can tell"));
        assert!(!site.engines[node].clock().is_off());
    }
}

#[tokio::test(start_paused = true)]
async fn without_another_clock_it_goes_on() {
    let site = Site::with_clocks(1, [YEAR, 0, 0], |_| {});
    site.wires.cut(1);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    site.set_clock(0, 2 * YEAR);
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    assert_eq!(standing(&site, 0), Standing::Alone);
    assert_eq!(newest_stamp(&site), START + 2 * YEAR as u64);
}

#[tokio::test(start_paused = true)]
async fn leadership_for_want_of_space_does_not_go_to_a_wrong_clock() {
    let site = Site::with_clocks(1, [0, YEAR, 0], |_| {});
    seconds(3).await;
    site.outside.free[0].store(1 << 29, Ordering::SeqCst);
    let group = site.group_of("A").clone();
    until("leadership moved", || group.watchers_leader() != Some(0)).await;
    assert_eq!((group.watchers_leader(), group.term()), (Some(2), 2), "at once");
}

#[tokio::test(start_paused = true)]
async fn a_slow_wire_is_no_wrong_clock_and_a_leader_that_is_gone_is_followed_without_a_wait() {
    let site = Site::start(1);
    site.wires.delay.store(480, Ordering::SeqCst);
    seconds(5).await;
    assert!((0..3).all(|node| site.engines[node].clock().ahead.abs() <= 1_000));
    assert!((0..3).all(|node| standing(&site, node) == Standing::Right));
    site.wires.cut(1);
    seconds(5).await;
    let before = tokio::time::Instant::now();
    site.groups.iter().for_each(|group| group.elect(1));
    site.engines[1].submit(ask("add", "A")).await.unwrap();
    assert!(before.elapsed() < Duration::from_millis(10), "on the comparison that is there");
}

#[tokio::test(start_paused = true)]
async fn who_should_not_lead_is_known_to_all_others_and_who_may_again_too() {
    let site = Site::with_clocks(2, [0, YEAR, 0], |_| {});
    let known = |node: usize, wanted: &[u16]| site.groups.iter().all(|group| group.avoided_by(node) == wanted);
    until("a wrong clock is known", || known(0, &[2]) && known(2, &[2])).await;
    site.set_clock(1, 0);
    until("it may lead", || known(0, &[]) && known(2, &[])).await;
    site.outside.free[2].store(1 << 29, Ordering::SeqCst);
    until("a full disk is known", || known(0, &[3]) && known(1, &[3])).await;
    site.outside.free[2].store(1 << 40, Ordering::SeqCst);
    site.engines[0].leave(true);
    until("one that leaves is known, and one that has room", || known(1, &[1]) && known(2, &[1])).await;
    site.engines[0].leave(false);
    site.wires.cut(3);
    until("a silent one is not asked to lead", || known(0, &[3]) && known(1, &[3])).await;
}

#[tokio::test(start_paused = true)]
async fn stamps_that_a_wrong_clock_left_ahead_are_told_until_the_clocks_are_there() {
    const HOUR: i64 = 3_600_000;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let gauge = || {
        let text = handle.render();
        let line = text.lines().find_map(|l| l.strip_prefix("spine_stamps_ahead_seconds "));
        line.and_then(|value| value.parse::<f64>().ok())
    };
    // Clocks here stand still between comparisons, a second apart.
    let near = |found: f64, wanted: f64| (wanted - 2.0..=wanted).contains(&found);
    let site = Site::with_clocks(2, [HOUR; 3], |_| {});
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    let (partition, other) = (site.engines[0].partition_of(b"A"), SITE);
    seconds(2).await;
    assert_eq!(site.engines[0].stamps_ahead(partition), 0, "nobody can tell yet");
    // All clocks are set right.
    (0..3).for_each(|node| site.set_clock(node, 0));
    let ahead = |node: usize| site.engines[node].stamps_ahead(partition) as f64 / 1000.0;
    until("it is known", || (0..3).all(|node| near(ahead(node), 3_600.0))).await;
    // The nodes share this process's metrics: only the leader is left to tell.
    for silent in &site.engines[1..] {
        silent.stop().await;
    }
    assert_eq!(site.engines[0].stamps_ahead(other), 0);
    until("the gauge tells", || gauge().is_some_and(|seconds| near(seconds, 3_600.0))).await;
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    assert_eq!(newest_stamp(&site), START + HOUR as u64, "the site goes on, and its time stands still");
    site.pass(HOUR as u64 - 60_000);
    until("less is left", || gauge().is_some_and(|seconds| near(seconds, 60.0))).await;
    site.pass(60_000);
    until("the clocks are there", || gauge() == Some(0.0)).await;
    site.engines[0].submit(ask("add", "A")).await.unwrap();
    assert_eq!(site.engines[0].stamps_ahead(partition), 0);
}
