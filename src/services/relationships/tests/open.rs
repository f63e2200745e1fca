//! How many alerts are open, and since when, over all partitions: what a metric tells.

use super::super::open;
use super::*;

/// Of all partitions, found in steps of so many alerts.
fn open_alerts(site: &Site, alerts: usize) -> (u64, Option<EpochMillis>) {
    let (mut count, mut since) = (0, vec![]);
    for partition in &site.partitions {
        let mut from = None;
        loop {
            let step = open::step(partition, from, alerts).unwrap();
            count += step.alerts;
            since.extend(step.since);
            match step.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
    (count, since.into_iter().min())
}

#[test]
fn open_alerts_are_counted_with_the_oldest_of_them_until_they_are_closed() {
    for mut site in sites() {
        assert_eq!(open_alerts(&site, 1), (0, None));
        let begun = site.now;
        let mut raised = vec![];
        let other = staff("656005750108", &["B0820"]);
        for (who, patient) in [(nurse(), JANE), (nurse(), JOHN), (other, JANE)] {
            site.pass(60_000);
            site.created(&who, patient, json!({"kind": "self-claimed", "reason": "on call tonight"}));
            raised.push(site.now);
        }
        let list = site.get(&officer(), "/alerts").1["items"].as_array().unwrap().clone();
        let mut ids: Vec<String> = list.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        assert!(begun < raised[0] && ids.len() == raised.len());
        for (closed, id) in ids.iter().enumerate() {
            for step in [1, 2, 100] {
                assert_eq!(
                    open_alerts(&site, step),
                    ((ids.len() - closed) as u64, Some(raised[closed])),
                    "{closed} {step}"
                );
            }
            site.post(&officer(), &format!("/alerts/{id}/acknowledge"), json!({}));
            assert_eq!(open_alerts(&site, 100).1, Some(raised[closed]), "one that is only acknowledged is open");
            assert_eq!(site.post(&officer(), &format!("/alerts/{id}/close"), json!({"note": "seen"})).0, 200);
        }
        assert_eq!(open_alerts(&site, 2), (0, None));
    }
}
