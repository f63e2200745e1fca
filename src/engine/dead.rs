//! Dead letters: commands that another partition could not decide, set aside so that those behind them go on. An operator
//! looks at them, and has them decided again once the cause is gone, or drops them.
//!
//! Keeps P3 (the row goes in the same entry as the effect, so that a letter is decided once) and P4 (either leaves an
//! audit record in the operator's name).

use super::errand::{self, Errand, Report};
use super::handle::Engine;
use super::rows::{self, DeadLetter};
use super::{Command, Fence, PartitionId, Unavailable, services};
use crate::access::caller::Caller;
use crate::store::Reader as _;
use crate::wire::record::Record as _;
use std::{fmt, str::FromStr};

/// Names a dead letter: the partition that it lies in, the one that it came from, its number there. Written `2.1.17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterId {
    pub target: PartitionId,
    pub source: PartitionId,
    pub sequence: u64,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.target.0, self.source.0, self.sequence)
    }
}

impl FromStr for DeadLetterId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(());
        let (target, source) = (next()?.parse().map_err(drop)?, next()?.parse().map_err(drop)?);
        let sequence = next()?.parse().map_err(drop)?;
        if next().is_ok() {
            return Err(());
        }
        Ok(DeadLetterId { target: PartitionId(target), source: PartitionId(source), sequence })
    }
}

/// What to do with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Decide its command again. Where that faults, it stays.
    Retry,
    /// Take it away: its command is never carried out.
    Drop,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// There is none of that name, or not any more.
    Gone,
    /// Its command faulted again, with this cause; it stays.
    Faulted(String),
}

impl Engine {
    /// Up to `limit` dead letters behind `after`, by target, source and number.
    pub async fn dead_letters(
        &self,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<(DeadLetterId, DeadLetter)>, Unavailable> {
        let fault = |e: String| Unavailable::Fault(e);
        let mut found = vec![];
        for target in self.map().all().filter(|p| after.is_none_or(|after| *p >= after.target)) {
            let view = self.view(target, Fence::Linearizable).await?;
            let mut range = rows::dead_letters();
            if let Some(after) = after.filter(|after| after.target == target) {
                range.start = rows::dead_key(after.source, after.sequence.saturating_add(1));
            }
            for (key, value) in view.scan(range, false, limit - found.len()).map_err(|e| fault(e.to_string()))? {
                let letter = DeadLetter::decode(&value).map_err(|e| fault(e.to_string()))?;
                let sequence = rows::sequence_of(&key);
                found.push((DeadLetterId { target, source: PartitionId(letter.source), sequence }, letter));
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// Has a dead letter decided again, or drops it, in the name of `caller`. With `trial` it is decided and nothing is
    /// written.
    pub async fn settle_dead_letter(
        &self,
        id: DeadLetterId,
        how: Settle,
        trial: bool,
        caller: Caller,
        correlation_id: String,
    ) -> Result<Settled, Unavailable> {
        if id.target > self.map().all().last().unwrap_or(super::SITE) {
            return Ok(Settled::Gone);
        }
        let kind = match how {
            Settle::Retry => errand::RETRY,
            Settle::Drop => errand::DROP,
        };
        let errand = Errand { kind, partition: id.source.0, sequence: id.sequence, trial, ..Default::default() };
        let payload = errand.encode();
        let command = Command { service: services::ENGINE.0, payload, caller, correlation_id, ..Default::default() };
        let outcome = self.inner.submit_to(id.target, command).await?;
        let report = Report::decode(&outcome.reply).map_err(|e| Unavailable::Fault(e.to_string()))?;
        Ok(match (report.found, report.fault) {
            (false, _) => Settled::Gone,
            (true, fault) if fault.is_empty() => Settled::Done,
            (true, fault) => Settled::Faulted(fault),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_it_is_written() {
        let id = DeadLetterId { target: PartitionId(2), source: PartitionId(0), sequence: 17 };
        assert_eq!((id.to_string().as_str(), "2.0.17".parse()), ("2.0.17", Ok(id)));
        for wrong in ["", "2.0", "2.0.17.1", "2.0.x", "70000.0.1", "-1.0.1"] {
            assert_eq!(wrong.parse::<DeadLetterId>(), Err(()), "{wrong}");
        }
    }
}
