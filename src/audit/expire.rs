//! What happens to a trail's oldest records where a site does not keep them for ever (P4, P6): whole pieces go, never one record
//! alone, and a record at the chain's end says up to where and what the last of them hashed to. So a trail that was shortened
//! by its retention can be told from one that was shortened by somebody: only the former says so itself.

use super::head::head_key;
use super::record::{Chain, HASH_LEN, Record, index_keys, record_key};
use crate::record;
use crate::store::tables::{Parts, Table};
use crate::store::{Reader, RowOp, StoreError};
use crate::wire::jwt::{from_base64url, to_base64url};
use crate::wire::record::Record as _;
use bytes::Bytes;

/// Records that go at once. Fewer are kept past their time: a trail at rest would else write a record for each that it removes.
pub const PIECE: u64 = 512;
/// Interaction of the record that tells of it.
pub const EXPIRED: &str = "audit.expire";

record! {
    /// Where the trail begins, when its first records are gone.
    pub struct Begin v1 {
        /// Newest record that is gone, and its hash; 0 and zeros for a trail that is whole.
        1 => sequence: u64,
        2 => hash: [u8; HASH_LEN],
    }
}

/// Key of [`Begin`].
pub fn begin_key() -> Bytes {
    Table::Meta.key().text("trail").build()
}

impl Begin {
    pub fn load(reader: &dyn Reader) -> Result<Begin, StoreError> {
        let Some(stored) = reader.get(&begin_key())? else { return Ok(Begin::default()) };
        Begin::decode(&stored).map_err(|e| StoreError::Corrupt(format!("where the trail begins: {e}")))
    }

    /// The chain that the first record left hangs on.
    pub fn chain(&self) -> Chain {
        Chain { sequence: self.sequence, hash: self.hash }
    }

    /// What the record says that tells of it: the last one gone, and its hash.
    pub fn told(&self) -> (String, String) {
        (self.sequence.to_string(), to_base64url(&self.hash))
    }

    /// What a record tells, if it is one of those.
    pub fn read(record: &Record) -> Option<Begin> {
        if record.interaction != EXPIRED {
            return None;
        }
        let hash = from_base64url(&record.detail)?.try_into().ok()?;
        Some(Begin { sequence: record.object.parse().ok()?, hash, ..Default::default() })
    }
}

/// A piece that has had its time.
pub struct Piece {
    /// Where the trail begins without it.
    pub begin: Begin,
    /// Removes records, what finds them, and signed heads; writes the new beginning.
    pub rows: Vec<RowOp>,
}

/// Why a piece stays: a trail that is not as it was written is evidence.
#[derive(Debug, thiserror::Error)]
pub enum Kept {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("record {0} is missing, or is not what was written: the trail is kept whole, see `spine audit verify`")]
    Broken(u64),
}

/// The oldest [`PIECE`] records behind `begin`, if all were made before `before` (milliseconds since the epoch).
pub fn piece(reader: &dyn Reader, begin: &Begin, before: u64) -> Result<Option<Piece>, Kept> {
    let last = begin.sequence + PIECE;
    // Times never fall along a chain: where the last is old enough, all are.
    let Some(value) = reader.get(&record_key(last))? else { return Ok(None) };
    let newest = Record::decode(&value).map_err(|_| Kept::Broken(last))?;
    if newest.at >= before {
        return Ok(None);
    }
    let mut chain = begin.chain();
    let mut rows = Vec::with_capacity(PIECE as usize * 5);
    for (key, value) in reader.scan(record_key(begin.sequence + 1)..record_key(last + 1), false, PIECE as usize)? {
        let broken = Kept::Broken(chain.sequence + 1);
        let Ok(record) = Record::decode(&value) else { return Err(broken) };
        if Parts::of(&key).number() != Some(record.sequence) || !chain.follow(&record, &value) {
            return Err(broken);
        }
        rows.extend(index_keys(&record).into_iter().map(|key| RowOp::Delete { key }));
        rows.push(RowOp::Delete { key });
    }
    if chain.sequence != last {
        return Err(Kept::Broken(chain.sequence + 1));
    }
    for (key, _) in reader.scan(head_key(0)..head_key(last + 1), false, PIECE as usize)? {
        rows.push(RowOp::Delete { key });
    }
    let begin = Begin { sequence: last, hash: chain.hash, ..Default::default() };
    rows.push(RowOp::Put { key: begin_key(), value: begin.encode(), fresh: false });
    Ok(Some(Piece { begin, rows }))
}
