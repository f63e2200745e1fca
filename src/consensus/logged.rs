//! What was agreed, read back from this node's log, for who keeps it elsewhere too: entry by entry, committed ones only, a
//! bounded page at a time (P2, P6). And how far the log may be cut meanwhile: no further than that reader says.

use super::api::Entry;
use super::group::Group;
use super::types::entry;
use crate::store::Applied;
use openraft::EntryPayload;
use std::io::{Error, ErrorKind};

/// Why entries cannot be read here now.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// They are in a snapshot by now and nowhere else on this node.
    #[error("this node's log of partition {partition} does not reach back to entry {index}")]
    Cut { partition: u16, index: u64 },
    #[error("the log of partition {partition} cannot be read at entry {index}: {error}")]
    Log { partition: u16, index: u64, error: Error },
}

impl Group {
    /// Entries from `from` on that this node has applied, `max_bytes` of content or one entry. None: it has applied no more. The
    /// content of entries that no decision made is empty.
    pub async fn committed(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, Unread> {
        let (partition, index) = (self.number(), from);
        let applied = self.partition().applied();
        let end = applied.index;
        if from > end {
            return Ok(vec![]);
        }
        self.is_of(&applied, from)?;
        let unread = |error| Unread::Log { partition, index, error };
        let records = match self.log().read(from..end.saturating_add(1), max_bytes).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(Unread::Cut { partition, index }),
            records => records.map_err(unread)?,
        };
        if records.first().is_none_or(|first| first.index != from) {
            // Applied, and not in the log: a snapshot brought it.
            return Err(Unread::Cut { partition, index });
        }
        self.is_of(&applied, from)?;
        let agreed = |record: crate::log::LogRecord| {
            let (index, term) = (record.index, record.term);
            let payload = match entry(record).map_err(|e| unread(Error::new(ErrorKind::InvalidData, e)))?.payload {
                EntryPayload::Normal(proposal) => proposal.payload,
                EntryPayload::Blank | EntryPayload::Membership(_) => bytes::Bytes::new(),
            };
            Ok(Entry { index, term, payload })
        };
        records.into_iter().map(agreed).collect()
    }
    /// Log bytes of entries behind one, up to what this node has applied.
    pub fn bytes_behind(&self, index: u64) -> u64 {
        self.log().bytes_of(index.saturating_add(1)..self.partition().applied().index.saturating_add(1))
    }

    /// Whether the log is the one that the rows are of, up to where they are: only if it holds that very entry. A snapshot may have
    /// brought the rows while the log still ends in entries that were never committed; they stay there until it is cut.
    fn is_of(&self, applied: &Applied, index: u64) -> Result<(), Unread> {
        let partition = self.number();
        match self.log().term(applied.index) {
            Some(term) if term == applied.term => Ok(()),
            Some(0) => {
                let error = Error::new(ErrorKind::InvalidData, format!("entry {} is damaged", applied.index));
                Err(Unread::Log { partition, index, error })
            }
            _ => Err(Unread::Cut { partition, index }),
        }
    }
}
