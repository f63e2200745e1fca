//! A UUID in sixteen bytes, as the record keeps messages, items and releases. Reads either case, writes lower.

use crate::wire::record::{Field, ListItem, Malformed, Raw, put_bytes};
use bytes::Bytes;
use std::fmt;

/// A UUID; all zero stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl Id {
    pub const NONE: Id = Id([0; 16]);

    /// Reads 8-4-4-4-12 hex digits of either case. `None` for anything else, and for the UUID of zeros.
    pub fn read(text: &str) -> Option<Id> {
        let mut nibbles = Vec::with_capacity(32);
        for (at, byte) in text.bytes().enumerate() {
            match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => {}
                (8 | 13 | 18 | 23, _) => return None,
                _ => nibbles.push((byte as char).to_digit(16)? as u8),
            }
        }
        if text.len() != 36 {
            return None;
        }
        let mut id = Id::NONE;
        for (byte, pair) in id.0.iter_mut().zip(nibbles.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |sum, nibble| sum << 4 | nibble);
        }
        id.is_some().then_some(id)
    }

    /// As [`Id::read`]; none stays none.
    pub fn or_none(text: &str) -> Id {
        Id::read(text).unwrap_or(Id::NONE)
    }

    pub fn is_none(&self) -> bool {
        *self == Id::NONE
    }

    pub fn is_some(&self) -> bool {
        !self.is_none()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Field for Id {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        if self.is_some() {
            put_bytes(field, &self.0, out);
        }
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        self.0.merge(field, raw)
    }
}

impl ListItem for Id {
    fn put_item(&self, field: u32, out: &mut Vec<u8>) {
        put_bytes(field, &self.0, out);
    }
    fn take_item(field: u32, bytes: Bytes) -> Result<Self, Malformed> {
        bytes.as_ref().try_into().map(Id).map_err(|_| Malformed::Range(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_of_either_case_is_the_same_sixteen_bytes() {
        let text = "a14d4fc1-82a2-4a82-aae2-50e212e7b907";
        assert_eq!(Id::read(text).map(|id| id.to_string()).as_deref(), Some(text));
        assert_eq!(Id::read(&text.to_uppercase()), Id::read(text));
        let wrong = ["", "a14d4fc1", "a14d4fc182a24a82aae250e212e7b907", "a14d4fc1-82a2-4a82-aae2-50e212e7b90g"];
        let zero = "00000000-0000-0000-0000-000000000000";
        for text in wrong.into_iter().chain([zero, "a14d4fc1-82a2-4a82-aae2-50e212e7b9071", "é14d4fc1-82a2"]) {
            assert_eq!(Id::read(text), None, "{text}");
        }
    }
}
