//! Decisions that hang on rows beside the prescription's: the calendar of a test site, which reaches a partition later than it is moved.

use super::*;
use crate::{
    engine::{
        PartitionId,
        draft::{MapStore, Overlay},
    },
    services::eps::{
        EpsOptions,
        command::Sweep,
        record::{Issue, LineItem},
        sign::Mode,
        states::issue,
        steps::Rules,
    },
};

const NOW: u64 = 1_772_366_400_000;
const ID: &str = "24F5DA-A83008-7EFE6Z";

fn eps() -> Eps {
    let (signatures, rules) = (Mode::Sample, Rules::default());
    Eps { options: EpsOptions { signatures, rules, prescribing: true, dispensing: true, live: false } }
}

fn stamp() -> Stamp {
    Stamp { now: NOW, partition: PartitionId(1), partitions: 1, sequence: 1, entropy: [7; 16] }
}

/// One prescription that nobody asks for.
fn store() -> MapStore {
    let first =
        Issue { number: 1, status: issue::TO_BE_DISPENSED, items: Bytes::from_static(&[7]), ..Default::default() };
    let waiting = Prescription {
        id: ID.into(),
        prescribed_at: NOW,
        arrived_at: NOW,
        issues: 1,
        current: 1,
        instances: vec![first],
        items: vec![LineItem { id: Id([1; 16]), issues: 1, ..Default::default() }],
        ..Default::default()
    };
    let (mut store, overlay) = (MapStore::default(), Overlay::default());
    let rows = {
        let mut draft = Draft::new(&store, &overlay, &store);
        rows::put(&mut draft, None, &waiting);
        draft.finish().rows
    };
    store.apply(rows);
    store
}

/// The registry of a site whose calendar is so many days ahead.
fn registry(days: u32) -> MapStore {
    let (mut store, overlay) = (MapStore::default(), Overlay::default());
    let rows = {
        let mut draft = Draft::new(&store, &overlay, &store);
        rows::set_days_ahead(&mut draft, days);
        draft.finish().rows
    };
    store.apply(rows);
    store
}

/// Sweeps where the registry says what it says; whether there is more to do.
fn sweep(store: &mut MapStore, registry: &MapStore, ahead: u32) -> bool {
    let overlay = Overlay::default();
    let command = Command {
        service: services::EPS.0,
        key: Bytes::from_static(b"sweep"),
        payload: EpsCommand::from(Sweep { ahead, ..Default::default() }).encode(),
        ..Default::default()
    };
    let mut draft = Draft::new(&*store, &overlay, registry);
    let reply = eps().decide(&mut draft, &stamp(), &command).unwrap();
    let decided = draft.finish();
    store.apply(decided.rows);
    Reply::of(&reply).unwrap().more
}

fn status(store: &MapStore) -> u16 {
    rows::prescription(store, key(ID)).unwrap().unwrap().instances[0].status
}

#[test]
fn a_calendar_that_has_not_arrived_yet_is_waited_for() {
    let mut store = store();
    assert!(sweep(&mut store, &registry(0), 190), "the site's rows are behind");
    assert_eq!(status(&store), issue::TO_BE_DISPENSED);
    assert!(!sweep(&mut store, &registry(190), 190));
    assert_eq!(status(&store), issue::EXPIRED);
    assert!(!sweep(&mut store, &registry(190), 190), "a second time nothing is due");
}
