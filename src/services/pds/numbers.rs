//! New NHS numbers (spec/pds.md §4): from configured ranges, by the one partition that each hashes to.
//!
//! Each partition goes through the same ranges with a place of its own and passes over what hashes elsewhere, cannot be
//! checked, or is somebody's already. So no two nodes and no two partitions can hand out the same number, ever.

use super::rows;
use crate::{
    engine::{
        PartitionMap,
        draft::{Draft, Fault, Stamp},
    },
    model::NhsNumber,
    store::{Reader, tables::Table},
};
use bytes::Bytes;

/// Nine-digit numbers tried for one person: with 64 partitions one in 70 is ours, and an imported nation may hold runs of them.
const MOST_TRIES: u64 = 20_000;

/// The next number of this partition, or `None` where the ranges hold none within the tries; the place that was come to
/// is kept, so that the next call goes on from there.
pub fn next(draft: &mut Draft<'_>, stamp: &Stamp, ranges: &[(u64, u64)]) -> Result<Option<NhsNumber>, Fault> {
    let map = PartitionMap { partitions: stamp.partitions };
    let mut tries = MOST_TRIES;
    for (first, last) in ranges {
        let key = Table::NumberRanges.key().number(*first);
        let stored = draft.get(&key.clone().build())?;
        let mut at =
            stored.and_then(|v| Some(u64::from_be_bytes(*v.first_chunk::<8>()?))).unwrap_or(*first).max(*first);
        let begun = at;
        let mut found = None;
        while at <= *last && tries > 0 && found.is_none() {
            let number = NhsNumber::from_nine(at).filter(|n| map.of(n.digits().as_bytes()) == stamp.partition);
            at += 1;
            tries -= 1;
            if let Some(number) = number
                && rows::person(draft, number)?.is_none()
            {
                found = Some(number);
            }
        }
        if at != begun {
            draft.put(key, Bytes::copy_from_slice(&at.to_be_bytes()));
        }
        if found.is_some() || tries == 0 {
            return Ok(found);
        }
    }
    Ok(None)
}
