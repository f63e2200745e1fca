//! What PDS tells EPS through the outbox of a person: a death, another nomination (spec/eps.md §8.3, §17.7). No service imports
//! another: the record is here, and EPS takes it under a tag that is for ever. A person's prescriptions lie in every partition,
//! so each partition is told.

use super::record::Record;
use crate::record;
use bytes::Bytes;

/// EPS's tag for [`PersonChanged`].
pub const PERSON_CHANGED: u8 = 64;

record! {
    /// A nomination of one type as it is now.
    pub struct NominatedNow v1 {
        /// `P1` pharmacy, `P2` appliance contractor, `P3` dispensing doctor.
        1 => kind: String,
        /// ODS code; empty for none any more.
        2 => ods: String,
    }
}

record! {
    pub struct PersonChanged v1 {
        1 => nhs: u64,
        /// A death was recorded.
        2 => died: bool,
        /// Those that are others than before.
        3 => nominations: Vec<NominatedNow>,
    }
}

/// The record as EPS's command.
pub fn tagged(record: &PersonChanged) -> Bytes {
    let mut out = vec![PERSON_CHANGED];
    record.encode_into(&mut out);
    out.into()
}
