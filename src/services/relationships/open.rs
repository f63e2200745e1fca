//! How many alerts to privacy officers are not closed, and since when: a walk over the open ones of a partition, in steps of
//! bounded size (P6). It reads keys alone: neither patient nor reason (P10).

use crate::{
    engine::draft::Fault,
    model::EpochMillis,
    store::{
        Reader,
        tables::{Parts, Table, after_prefix},
    },
    wire::record::Malformed,
};
use bytes::Bytes;

/// What one step of a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Alerts seen.
    pub alerts: u64,
    /// When the earliest of them was raised; `None` where there is none.
    pub since: Option<EpochMillis>,
    /// Where the next step begins; `None` at the end.
    pub next: Option<Bytes>,
}

/// Looks at so many open alerts, from `from` on or from the beginning.
pub fn step(reader: &dyn Reader, from: Option<Bytes>, alerts: usize) -> Result<Step, Fault> {
    let all = Table::OpenPrivacyAlerts.key().prefix();
    let rows = reader.scan(from.unwrap_or(all.start)..all.end, false, alerts)?;
    let mut step = Step { alerts: rows.len() as u64, ..Default::default() };
    for (key, _) in &rows {
        let raised = raised(key).ok_or(Fault::Row(Table::OpenPrivacyAlerts, Malformed::Truncated))?;
        step.since = Some(step.since.map_or(raised, |earliest| earliest.min(raised)));
    }
    if rows.len() == alerts {
        step.next = rows.last().map(|(key, _)| after_prefix(key));
    }
    Ok(step)
}

/// When an alert was raised: its id says so (`decide::fresh_id`).
fn raised(key: &Bytes) -> Option<EpochMillis> {
    let mut parts = Parts::of(key);
    let _ods = parts.text()?;
    let id = uuid::Uuid::parse_str(&parts.text()?).ok()?;
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    Some(seconds * 1000 + u64::from(nanos) / 1_000_000)
}
