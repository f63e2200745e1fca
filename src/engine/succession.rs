//! Partitions whose logs ended at different places when the site that led them was lost: how far each goes, and the entry that
//! makes one fit the others again (P2, P3).
//!
//! Between a source and a target two things can be at odds. The target has taken an item that its source, as far as its log
//! goes, never sent: the source would give the number again, and the new item under it would pass for the old one and be
//! dropped. And the source has cleared items away, because the target had them, which the target's log has lost. Both are put
//! right at the source, in the entry with which it is taken over and before anything is decided or delivered there: its next
//! number is far beyond whatever may have been given, and items that its target lost are put back from the log, to be
//! delivered once more.

use super::cut::{self, Misfit, Standing, misfits_of, with_record};
use super::entry::{Entry, Packer, row_size};
use super::ports::Rows;
use super::rows;
use super::{PartitionId, PartitionMap};
use crate::audit;
use crate::consensus::{self, End, Group};
use crate::store::RowOp;
use crate::store::tables::Table;
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// So many numbers are passed over: more items than a partition sends while its followers lag, and some may have been taken by
/// a target that nobody here has heard of.
const PASSED_OVER: u64 = 1 << 20;
/// Rows and log are read again while entries are applied in between.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// Rows of one entry of a takeover, in bytes: far below what a record of the log or a call between nodes may hold.
const ENTRY: usize = 1 << 20;
/// Rows that one takeover puts back, in bytes: more is refused before anything is written, for it is held in memory at once.
const MOST: usize = 64 << 20;

/// What two partitions are at odds about, by the ends of their logs.
pub fn misfits(standings: &[Standing]) -> Vec<Misfit> {
    misfits_of(standings.iter())
}

/// A partition's standing at the end of this node's log, applied or not.
pub async fn ending(map: PartitionMap, rows: &dyn Rows, group: &Group) -> Result<(Standing, End), String> {
    for n in 0..TRIES {
        if n > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let (applied, end) = (rows.applied_index(), group.place().end);
        let mut standing = Standing::read(map, |key| rows.get(key)).map_err(|e| e.to_string())?;
        if rows.applied_index() != applied {
            continue;
        }
        let mut at = applied;
        while at < end.index {
            let piece = group.logged(at, end.index).await.map_err(|e| e.to_string())?;
            let Some(last) = piece.last() else { break };
            at = last.index;
            for entry in &piece {
                standing.follow(&rows_of(entry)?).map_err(|e| e.to_string())?;
            }
        }
        if at >= end.index && group.place().end == end {
            return Ok((standing, end));
        }
    }
    Err(format!("the log of partition {} does not come to rest", group.number()))
}

/// The rows that an entry of the log writes.
fn rows_of(entry: &consensus::Entry) -> Result<Vec<RowOp>, String> {
    cut::rows_of(&entry.payload, entry.term).map_err(|e| format!("entry {}: {e}", entry.index))
}

/// Items that a source has cleared away and a target has lost, found again in the source's log.
#[derive(Debug)]
pub struct Search {
    /// By target: behind which item, and up to which.
    wanted: Vec<(PartitionId, u64, u64)>,
    found: BTreeMap<Bytes, Bytes>,
    /// Bytes of what was found.
    bytes: usize,
    /// The newest item sent before what was looked through; `None` while nothing was, or where that reaches back to the first.
    before: Option<u64>,
    begun: bool,
}

impl Search {
    /// `taken`: by target, how much of this source each has taken at the end of its log.
    pub fn new(map: PartitionMap, source: PartitionId, standing: &Standing, taken: &[u64]) -> Search {
        let of = |target: PartitionId| taken.get(usize::from(target.0)).copied().unwrap_or(0);
        let all = map.all().filter(|target| *target != source).map(|t| (t, of(t), standing.cleared(t)));
        let wanted = all.filter(|(_, taken, cleared)| cleared > taken).collect();
        Search { wanted, found: BTreeMap::new(), bytes: 0, before: None, begun: false }
    }

    /// Takes an entry's rows; the first must be the oldest that there is. `whole`: nothing was before it.
    pub fn look(&mut self, ops: &[RowOp], whole: bool) {
        let mut sent = 0;
        for op in ops {
            let RowOp::Put { key, value, .. } = op else { continue };
            sent += u64::from(key.first() == Some(&(Table::Outbox as u8)));
            if self.wanted.iter().any(|(target, after, upto)| rows::outbox_range(*target, *after, *upto).contains(key))
            {
                self.bytes += row_size(op);
                self.found.insert(key.clone(), value.clone());
            }
            if !self.begun && *key == rows::mark_key() {
                self.begun = true;
                // A mark that cannot be read says nothing: what is wanted may all have been before.
                let before = rows::Mark::decode(value).map_or(u64::MAX, |mark| mark.outbox.saturating_sub(sent));
                self.before = (!whole).then_some(before);
            }
        }
    }

    /// Targets of whose items some may be lost: the log does not reach back to when they were sent.
    fn short(&self) -> Vec<u16> {
        let short = |after: u64| !self.begun || self.before.is_some_and(|before| before > after);
        self.wanted.iter().filter(|(_, after, _)| short(*after)).map(|(target, ..)| target.0).collect()
    }
}

/// The entries with which a partition is taken over: what others have lost, and last the mark.
#[derive(Debug)]
pub struct Takeover {
    pub entries: Vec<Bytes>,
    /// Items that are delivered once more.
    pub again: u64,
    /// Targets that have lost items which are nowhere any more.
    pub lost: Vec<u16>,
}

/// Makes those entries for `source`, of `term`. `taken` as in [`Search::new`]; `record` goes to the end of its audit chain.
pub fn takeover(
    source: PartitionId,
    term: u64,
    standing: &Standing,
    taken: &[u64],
    search: Search,
    record: audit::Record,
) -> Takeover {
    let (mut mark, record) = with_record(standing, source, record);
    mark.outbox = mark.outbox.max(taken.iter().copied().max().unwrap_or(0)) + PASSED_OVER;
    let again = search.found.len() as u64;
    let found = search.found.iter();
    let mut ops: Vec<RowOp> =
        found.map(|(key, value)| RowOp::Put { key: key.clone(), value: value.clone(), fresh: false }).collect();
    ops.extend(record);
    for (target, after, _) in &search.wanted {
        // What is put back is not cleared: a backup would else wait for the target to have taken it before.
        let value = Bytes::copy_from_slice(&after.to_be_bytes());
        ops.push(RowOp::Put { key: rows::cleared_key(*target), value, fresh: false });
    }
    ops.push(RowOp::Put { key: rows::mark_key(), value: mark.encode(), fresh: false });
    let entry = |ops: &[RowOp]| {
        let mut entry = Entry { term, first: mark.sequence + 1, ..Default::default() };
        Packer::default().pack(ops, &mut entry);
        entry.encode()
    };
    Takeover { entries: pieces(&ops).into_iter().map(entry).collect(), again, lost: search.short() }
}

/// Rows in their order, as many in each piece as an entry may hold; at least one.
fn pieces(ops: &[RowOp]) -> Vec<&[RowOp]> {
    let (mut pieces, mut begin, mut bytes) = (vec![], 0, 0);
    for (n, op) in ops.iter().enumerate() {
        bytes += row_size(op);
        if bytes > ENTRY && n > begin {
            pieces.extend(ops.get(begin..n));
            (begin, bytes) = (n, row_size(op));
        }
    }
    pieces.extend(ops.get(begin..).filter(|rest| !rest.is_empty()));
    pieces
}

/// As [`takeover`], with the log of the node at hand, whose end `standing` is.
pub async fn take_over(
    map: PartitionMap,
    group: &Group,
    (term, end): (u64, End),
    standing: &Standing,
    taken: &[u64],
    record: audit::Record,
) -> Result<Takeover, String> {
    let source = PartitionId(group.number());
    let mut search = Search::new(map, source, standing, taken);
    let cut = group.place().cut;
    let mut at = cut;
    while !search.wanted.is_empty() && at < end.index {
        let piece = group.logged(at, end.index).await.map_err(|e| e.to_string())?;
        let Some(last) = piece.last() else { break };
        at = last.index;
        for entry in &piece {
            search.look(&rows_of(entry)?, cut == 0);
        }
        if search.bytes > MOST {
            let most = MOST >> 20;
            return Err(format!("what others have lost of partition {} is more than {most} MiB", source.0));
        }
    }
    Ok(takeover(source, term, standing, taken, search, record))
}
