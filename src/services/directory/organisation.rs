//! What an organisation is (directory.md §C.3): record class, status, roles, relationships, succession, address, contacts.
//! Part of the row under the ODS code; the row itself is [`rows::Organisation`](super::rows::Organisation).
//!
//! Days are [`model::day`](crate::model::day) numbers, 0 for none.

use super::rows::Organisation;
use crate::record;

/// The look-up rows that this release writes beside an organisation. A row of another generation is written again at its
/// next change, with its look-up rows.
pub const GENERATION: u32 = 1;

record! {
    /// From one day to another; no end while it lasts.
    pub struct Period v1 {
        1 => start: u32,
        2 => end: u32,
    }
}

record! {
    /// A role that an organisation has or had.
    pub struct Role v1 {
        /// Instance id, unique over all roles and relationships that the site has numbered itself.
        1 => id: u64,
        /// `RO177`.
        2 => code: String,
        3 => primary: bool,
        4 => inactive: bool,
        5 => legal: Period,
        6 => operational: Period,
    }
}

record! {
    /// A relationship from this organisation to another.
    pub struct Relationship v1 {
        1 => id: u64,
        /// `RE4`.
        2 => code: String,
        /// ODS code of the other.
        3 => target: String,
        4 => inactive: bool,
        5 => legal: Period,
        6 => operational: Period,
    }
}

record! {
    /// Which organisation came before or after this one.
    pub struct Succession v1 {
        1 => id: u64,
        2 => predecessor: bool,
        3 => target: String,
        4 => date: u32,
    }
}

record! {
    pub struct Address v1 {
        1 => lines: Vec<String>,
        2 => town: String,
        3 => county: String,
        4 => postcode: String,
        5 => country: String,
        /// Unique property reference number.
        6 => uprn: String,
    }
}

record! {
    pub struct Contact v1 {
        /// `tel`, `http`, `mail` or `fax`.
        1 => kind: String,
        2 => value: String,
    }
}

impl Organisation {
    /// 1 organisation (RC1), 2 site (RC2). Rows of before this was kept are organisations.
    pub fn class(&self) -> u8 {
        self.class.max(1)
    }
    /// Status, class and use in one byte of each look-up row, so that most questions need no other row.
    pub fn facets(&self) -> u8 {
        u8::from(self.inactive) | u8::from(self.class() == 2) << 1 | u8::from(self.ref_only) << 2
    }
    pub fn primary_role(&self) -> Option<&Role> {
        self.roles.iter().find(|role| role.primary)
    }
}

/// Reads a [`Organisation::facets`] byte.
pub mod facets {
    pub const COMBINATIONS: u8 = 8;
    pub fn active(byte: u8) -> bool {
        byte & 1 == 0
    }
    pub fn class(byte: u8) -> u8 {
        1 + (byte >> 1 & 1)
    }
    pub fn ref_only(byte: u8) -> bool {
        byte & 4 != 0
    }
}
