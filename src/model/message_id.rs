//! A MESH message id: UTC timestamp of 20 digits, `_`, six upper-case hex digits (mesh.md §13).
//!
//! Invariant (P2): ids are unique in a site without asking anyone. In one partition the sequence number gives the
//! microsecond digits, so two decisions of one millisecond differ unless a thousand lie between them; between
//! partitions the first ten bits of the tail differ; within one decision the other fourteen count up.

use super::{EpochMillis, time};
use std::fmt;

/// Opaque to clients, sorts by time; stored as eleven bytes in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    micros: u64,
    tail: u32,
}

/// Largest time that can be written out.
const LAST_MICROS: u64 = time::LAST_MILLIS * 1000 + 999;

impl MessageId {
    /// The `nth` id made by one decision.
    pub fn mint(now: EpochMillis, partition: u16, sequence: u64, entropy: &[u8; 16], nth: u32) -> Self {
        let luck = u32::from(u16::from_be_bytes([entropy[0], entropy[1]]));
        let tail = (u32::from(partition) & 0x3ff) << 14 | (luck.wrapping_add(nth) & 0x3fff);
        MessageId { micros: now.saturating_mul(1000).saturating_add(sequence % 1000).min(LAST_MICROS), tail }
    }

    /// Reads an id in any case. `None` where the text cannot be an id of this site.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, hex) = text.split_once('_')?;
        let decimal = digits.bytes().all(|b| b.is_ascii_digit());
        if digits.len() != 20 || !decimal || hex.len() != 6 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let millis = time::parse_compact(digits.get(..14)?)?;
        let fraction: u64 = digits.get(14..)?.parse().ok()?;
        Some(MessageId { micros: millis * 1000 + fraction, tail: u32::from_str_radix(hex, 16).ok()? })
    }

    /// The smallest id of a moment: where a scan by time begins.
    pub fn first_of(now: EpochMillis) -> Self {
        MessageId { micros: now.saturating_mul(1000).min(LAST_MICROS), tail: 0 }
    }

    /// The partition in which it was made: its sender's.
    pub fn partition(&self) -> u16 {
        (self.tail >> 14) as u16
    }

    pub fn millis(&self) -> EpochMillis {
        self.micros / 1000
    }

    pub fn to_bytes(&self) -> [u8; 11] {
        let mut out = [0; 11];
        out[..8].copy_from_slice(&self.micros.to_be_bytes());
        out[8..].copy_from_slice(&self.tail.to_be_bytes()[1..]);
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (micros, tail) = bytes.split_first_chunk::<8>()?;
        let [a, b, c] = *tail else { return None };
        let micros = u64::from_be_bytes(*micros);
        (micros <= LAST_MICROS).then(|| MessageId { micros, tail: u32::from_be_bytes([0, a, b, c]) })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&time::compact(self.millis()))?;
        write!(f, "{:06}_{:06X}", self.micros % 1_000_000, self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_in_any_case_and_sorts_by_time() {
        let id = MessageId::mint(1_669_078_773_579, 3, 41, &[7; 16], 0);
        let text = id.to_string();
        assert_eq!(text, "20221122005933579041_00C707");
        assert_eq!((MessageId::parse(&text.to_lowercase()), id.partition()), (Some(id), 3));
        assert_eq!(MessageId::from_bytes(&id.to_bytes()), Some(id));
        let later = MessageId::mint(1_669_078_773_580, 1, 0, &[0; 16], 0);
        assert!(id < later && id.to_bytes() < later.to_bytes() && text < later.to_string());
    }

    #[test]
    fn what_cannot_be_an_id_is_not_one() {
        for text in [
            "",
            "20221122005933579041",
            "2022112200593357904_ABCDEF",
            "20221322005933579041_ABCDEF",
            "20221122005933+79041_ABCDEF",
            "X_ABCDEF",
        ] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_of_one_millisecond_differ_by_decision_by_partition_and_within_a_decision() {
        let mut seen = std::collections::HashSet::new();
        for partition in 1..5 {
            for sequence in 0..100 {
                for nth in 0..50 {
                    assert!(seen.insert(MessageId::mint(5, partition, sequence, &[255; 16], nth)));
                }
            }
        }
    }
}
