//! The retention of the trail: pieces that have had their time go, the trail says so itself, and what is left verifies.

use super::super::*;
use super::harness::*;
use crate::audit::{self, Begin, Finding, PIECE};
use std::time::Duration;

const HERE: PartitionId = PartitionId(1);
const KEPT: u64 = 60_000;

fn site() -> Site {
    Site::with(1, |options| options.audit_retention = Some(Duration::from_millis(KEPT)))
}

async fn write(site: &Site, records: u64) {
    for n in 0..records {
        site.engines[0].submit(ask("add", &format!("A{}", n % 7))).await.unwrap();
    }
}

fn begin(site: &Site) -> u64 {
    Begin::load(site.engines[2].local(HERE).as_ref()).unwrap().sequence
}

fn findings(site: &Site, begin: Begin) -> Vec<Finding> {
    verdict(site, begin).findings
}

fn verdict(site: &Site, begin: Begin) -> audit::Verdict {
    let reader = site.engines[2].local(HERE);
    let end = site.engines[2].audit_chain(HERE).unwrap();
    let verifier = audit::Verifier::new(HERE.0, 1, u64::MAX - 1, Some(end), audit::Ca::default()).begins(begin);
    audit::verify(reader.as_ref(), verifier).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_has_had_its_time_goes_in_pieces_and_the_trail_says_so() {
    let site = site();
    write(&site, 2 * PIECE + 100).await;
    site.pass(KEPT / 2);
    write(&site, PIECE).await;
    until("nothing is old enough", || begin(&site) == 0).await;
    site.pass(KEPT / 2 + 1);
    until("two pieces are gone", || begin(&site) == 2 * PIECE).await;
    // A hundred records are old enough and less than a piece: they stay.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(begin(&site), 2 * PIECE);
    let reader = site.engines[1].local(HERE);
    for sequence in [1, PIECE, 2 * PIECE] {
        assert_eq!(reader.get(&audit::record_key(sequence)).unwrap(), None);
    }
    assert!(reader.get(&audit::record_key(2 * PIECE + 1)).unwrap().is_some());
    let begins = Begin::load(reader.as_ref()).unwrap();
    assert_eq!(findings(&site, begins.clone()), []);
    let verdict = verdict(&site, begins);
    let line =
        format!("whole from record {} on; those before expired, says record {} of ", 2 * PIECE + 1, verdict.told_by);
    assert!(verdict.told_by > 3 * PIECE && verdict.line().starts_with(&line), "{}", verdict.line());
    let told = audit::search(
        reader.as_ref(),
        &audit::Query { interaction: "audit.expire".into(), ..Default::default() },
        0,
        1_000,
    );
    let told: Vec<String> = told.unwrap().records.into_iter().map(|r| r.object).collect();
    assert_eq!(told, [PIECE.to_string(), (2 * PIECE).to_string()]);
    // Nothing finds what is gone, and what is there is found.
    let page = audit::newest_of(reader.as_ref(), "A3", u64::MAX, 5_000).unwrap();
    let expected =
        (2 * PIECE..2 * PIECE + 100).filter(|n| n % 7 == 3).count() + (0..PIECE).filter(|n| n % 7 == 3).count();
    assert_eq!((page.records.len(), page.next), (expected, None));
    site.assert_replicas_equal();
    // Another leader goes on where this one was.
    site.groups[1].elect(1);
    site.pass(KEPT);
    until("all pieces are gone", || begin(&site) == 3 * PIECE).await;
    assert_eq!(findings(&site, Begin::load(reader.as_ref()).unwrap()), []);
}

#[tokio::test(start_paused = true)]
async fn a_trail_shortened_by_somebody_does_not_pass_for_one_that_expired() {
    let site = site();
    write(&site, 2 * PIECE).await;
    site.pass(KEPT + 1);
    until("two pieces are gone", || begin(&site) == 2 * PIECE).await;
    let honest = Begin::load(site.engines[2].local(HERE).as_ref()).unwrap();
    assert_eq!(findings(&site, honest.clone()), []);
    let other = Begin { hash: [7; 32], ..honest.clone() };
    assert!(findings(&site, other).contains(&Finding::Unexplained(2 * PIECE)));
    assert!(matches!(findings(&site, Begin::default())[0], Finding::Missing(1)), "a beginning that is not told");
    let later = Begin { sequence: 2 * PIECE + 1, ..honest };
    assert!(findings(&site, later).contains(&Finding::Unexplained(2 * PIECE + 1)));
}
