//! Two partitions whose logs ended at different places when their leaders were lost: nothing passes for something else, and what
//! one has cleared and the other has lost is delivered once more.

use super::super::cut::{Misfit, Standing};
use super::super::draft::OutboxItem;
use super::super::entry::{Entry, Packer};
use super::super::succession::{Search, misfits, takeover};
use super::once::{apart, to};
use super::*;
use crate::store::{Reader, RowOp};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::time::Duration;

struct Two {
    site: Site,
    home: &'static str,
    away: &'static str,
    source: PartitionId,
    target: PartitionId,
}

impl Two {
    fn partitions() -> Two {
        let site = Site::start(3);
        let (home, away) = apart(&site);
        let of = |key: &str| site.engines[0].partition_of(key.as_bytes());
        let (source, target) = (of(home), of(away));
        Two { site, home, away, source, target }
    }

    /// Rows as they were when a log ended.
    fn force(&self, partition: PartitionId, ops: &[RowOp]) {
        let group = &self.site.groups[usize::from(partition.0)];
        let mut entry = Entry { term: group.term(), reign: 5, batch: 1, ..Default::default() };
        Packer::default().pack(ops, &mut entry);
        group.force(entry.encode());
    }

    fn standings(&self) -> Vec<Standing> {
        let rows = |p: PartitionId| self.site.rows[2][usize::from(p.0)].clone();
        let map = self.site.engines[0].map();
        map.all().map(|p| Standing::read(map, |key| rows(p).get(key)).unwrap()).collect()
    }

    /// The source is taken over, with what its log still has.
    fn take_over(&self, log: &[(&[RowOp], bool)]) -> (u64, Vec<u16>) {
        let (map, all) = (self.site.engines[0].map(), self.standings());
        let taken: Vec<u64> = all.iter().map(|target| target.taken(self.source)).collect();
        let standing = &all[usize::from(self.source.0)];
        let mut search = Search::new(map, self.source, standing, &taken);
        log.iter().for_each(|(ops, whole)| search.look(ops, *whole));
        let group = &self.site.groups[usize::from(self.source.0)];
        let record = audit::Record { interaction: "site.promote".into(), ..Default::default() };
        let made = takeover(self.source, group.term(), standing, &taken, search, record);
        made.entries.into_iter().for_each(|entry| group.force(entry));
        (made.again, made.lost)
    }

    /// Others lead, who know nothing but the rows.
    fn elect(&self) {
        self.site.groups.iter().for_each(|group| group.elect(2));
    }

    fn item(&self, sequence: u64) -> RowOp {
        let item = OutboxItem {
            sequence,
            to_key: self.away.into(),
            service: COUNTING.0,
            payload: format!("add {}", self.away).into(),
            ..Default::default()
        };
        put(rows::outbox_key(self.target, sequence), item.encode())
    }
}

fn put(key: Bytes, value: Bytes) -> RowOp {
    RowOp::Put { key, value, fresh: false }
}

fn number(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

fn sent(n: u64) -> RowOp {
    put(rows::mark_key(), Mark { outbox: n, ..Default::default() }.encode())
}

#[tokio::test(start_paused = true)]
async fn a_number_that_a_target_has_seen_is_never_given_to_something_new() {
    let two = Two::partitions();
    // The target has taken seven items of a source that, as far as its log goes, has sent none.
    two.force(two.target, &[put(rows::inbound_key(two.source), number(7))]);
    let (source_partition, target) = (two.source.0, two.target.0);
    assert_eq!(misfits(&two.standings()), vec![Misfit::NotSent { source_partition, target, taken: 7, sent: 0 }]);
    assert_eq!(two.take_over(&[]), (0, vec![]));
    two.elect();
    let outcome = two.site.engines[1].submit(to(two.home, "send", two.away)).await.unwrap();
    assert!(two.site.engines[1].wait_delivered(&outcome, Duration::from_secs(2)).await.unwrap());
    assert_eq!(two.site.count(0, two.away), 1, "it was not taken for one of the seven");
    assert_eq!(misfits(&two.standings()), vec![]);
    two.site.assert_replicas_equal();
}

/// An item was delivered and cleared away, and the target's log ended before it was taken.
async fn lost_by_its_target() -> Two {
    let two = Two::partitions();
    two.site.engines[0].submit(to(two.home, "send", two.away)).await.unwrap();
    let cleared = |two: &Two| two.standings()[usize::from(two.source.0)].cleared(two.target);
    until("it is cleared away", || cleared(&two) == 1).await;
    assert_eq!(two.site.count(2, two.away), 1);
    let gone = RowOp::Delete { key: count_key(two.away).build() };
    two.force(two.target, &[put(rows::inbound_key(two.source), number(0)), gone]);
    let (source_partition, target) = (two.source.0, two.target.0);
    assert_eq!(misfits(&two.standings()), vec![Misfit::NotTaken { source_partition, target, cleared: 1, taken: 0 }]);
    two
}

#[tokio::test(start_paused = true)]
async fn what_a_target_lost_and_its_source_has_cleared_is_delivered_once_more() {
    let two = lost_by_its_target().await;
    assert_eq!(two.take_over(&[(&[two.item(1), sent(1)], true)]), (1, vec![]));
    two.elect();
    until("it is delivered", || two.site.count(2, two.away) == 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(two.site.count(2, two.away), 1, "once");
    assert_eq!(misfits(&two.standings()), vec![]);
    two.site.assert_replicas_equal();
}

#[tokio::test(start_paused = true)]
async fn where_the_log_does_not_reach_back_it_is_said_what_is_lost_and_all_goes_on() {
    let two = lost_by_its_target().await;
    let told = two.take_over(&[(&[two.item(9), sent(9)], false)]);
    assert_eq!(told, (0, vec![two.target.0]), "item 1 was sent before the log begins");
    two.elect();
    let outcome = two.site.engines[1].submit(to(two.home, "send", two.away)).await.unwrap();
    assert!(two.site.engines[1].wait_delivered(&outcome, Duration::from_secs(2)).await.unwrap());
    assert_eq!((two.site.count(2, two.away), misfits(&two.standings())), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn however_much_a_target_lost_no_entry_is_longer_than_a_record_may_be() {
    let two = lost_by_its_target().await;
    let (map, all) = (two.site.engines[0].map(), two.standings());
    let (standing, taken) = (cleared_to(&two, &all, 40), vec![0; all.len()]);
    let mut search = Search::new(map, two.source, &standing, &taken);
    let mut body = vec![0; 1 << 20];
    aws_lc_rs::rand::fill(&mut body).unwrap();
    let items: Vec<RowOp> =
        (1..=40).map(|n| put(rows::outbox_key(two.target, n), Bytes::copy_from_slice(&body))).collect();
    items.iter().for_each(|item| search.look(&[item.clone(), sent(40)], true));
    let record = audit::Record { interaction: "site.promote".into(), ..Default::default() };
    let made = takeover(two.source, 7, &standing, &taken, search, record);
    assert_eq!((made.again, made.lost), (40, vec![]));
    assert!(made.entries.iter().all(|entry| entry.len() < 2 << 20), "they are {} entries", made.entries.len());
    let rows = |entry: &Bytes| Entry::read(entry).unwrap().rows_in(7).unwrap();
    let written: Vec<RowOp> = made.entries.iter().flat_map(rows).collect();
    assert!(items.iter().all(|item| written.contains(item)), "none is left out");
    assert!(matches!(written.last(), Some(RowOp::Put { key, .. }) if *key == rows::mark_key()), "the mark comes last");
}

/// The source's standing, had it cleared so many items of this target.
fn cleared_to(two: &Two, all: &[Standing], upto: u64) -> Standing {
    let of = &all[usize::from(two.source.0)];
    let cleared = all.iter().enumerate().map(|(p, _)| if p == usize::from(two.target.0) { upto } else { 0 });
    Standing::told(of.time(), upto, vec![0; all.len()], cleared.collect())
}
