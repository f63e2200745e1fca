//! What was agreed, read back from this node's log, for who keeps it elsewhere too: entry by entry, committed ones only, a
//! bounded page at a time (P2, P6). And how far the log may be cut meanwhile: no further than that reader says.

use super::api::Entry;
use super::group::Group;
use super::types::entry;
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
        let end = self.partition().applied().index;
        if from > end {
            return Ok(vec![]);
        }
        let unread = |error| Unread::Log { partition, index, error };
        let records = match self.log().read(from..end.saturating_add(1), max_bytes).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(Unread::Cut { partition, index }),
            records => records.map_err(unread)?,
        };
        if records.first().is_none_or(|first| first.index != from) {
            // Applied, and not in the log: a snapshot brought it.
            return Err(Unread::Cut { partition, index });
        }
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
}
