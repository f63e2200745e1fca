//! Under which keys a prescription is found (§16): the integrator turns them into rows and writes the difference of before and after.

use super::Prescription;
use crate::{
    model::EpochMillis,
    services::eps::{
        clock::{self, Activity},
        states::issue,
    },
};

/// One key of an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexKey {
    /// The current issue is 0001 and nominated: oldest first is by `since`, when it became so.
    Nominated {
        ods: String,
        since: EpochMillis,
    },
    /// Prescription time (a placeholder: when it came).
    Patient {
        nhs: u64,
        at: EpochMillis,
    },
    Prescriber {
        ods: String,
        at: EpochMillis,
    },
    /// Each dispenser that has or had an issue.
    Dispenser {
        ods: String,
        at: EpochMillis,
    },
    /// The one next activity, and its day.
    Activity {
        day: u32,
        activity: Activity,
    },
}

/// Every key of a prescription, sorted, none twice.
pub fn index_rows(p: &Prescription) -> Vec<IndexKey> {
    let at = if p.prescribed_at == 0 { p.arrived_at } else { p.prescribed_at };
    let mut rows = vec![IndexKey::Patient { nhs: p.nhs, at }];
    if let Some((activity, day)) = clock::next(p) {
        rows.push(IndexKey::Activity { day, activity });
    }
    if !p.is_shell() {
        if let Some(prescriber) = p.prescribed_by() {
            rows.push(IndexKey::Prescriber { ods: prescriber.ods.clone(), at });
        }
        let holders = p.instances.iter().filter_map(|i| p.holder(i));
        rows.extend(holders.map(|d| IndexKey::Dispenser { ods: d.ods.clone(), at }));
        let ready = p.current_issue().filter(|i| i.status == issue::TO_BE_DISPENSED);
        if let (Some(ready), false) = (ready, p.nomination.ods.is_empty()) {
            rows.push(IndexKey::Nominated { ods: p.nomination.ods.clone(), since: ready.available_at });
        }
    }
    rows.sort();
    rows.dedup();
    rows
}
