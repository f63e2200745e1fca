//! Commands of the service: one tag byte, then a record; and the reply. Those on relationships go to the partition of the
//! NHS number, those on alerts to that of the organisation.

use super::rows::Doer;
use crate::{commands, engine::draft::Fault, record, wire::record::Record};
use bytes::Bytes;

commands! {
    /// A command, told apart by its first byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum RelationshipCommand("relationships") {
        1 Create(Create),
        2 Find(Find),
        3 Change(Change),
        /// From a relationship's partition to its organisation's.
        4 Raise(Raise),
        5 FindAlerts(FindAlerts),
        6 ChangeAlert(ChangeAlert),
        /// Leaves the record of what was refused before it came to a decision.
        7 Noted(Noted),
    }
}

record! {
    pub struct Create v1 {
        1 => nhs: u64,
        /// Name of the kind.
        2 => kind: String,
        3 => workgroup: String,
        4 => user: String,
        /// Organisation of the holder; empty for the caller's.
        5 => ods: String,
        6 => reason: String,
        7 => reference: String,
        /// Days that it shall last, where that is less than its kind's; 0 for its kind's.
        8 => days: u64,
    }
}

/// What [`Find`] is for.
pub mod find {
    pub const LIST: u8 = 1;
    pub const SHOW: u8 = 2;
    pub const CHECK: u8 = 3;
}

record! {
    pub struct Find v1 {
        1 => nhs: u64,
        /// One of `find`.
        2 => what: u8,
        /// The relationship to show, or behind which a list goes on.
        3 => id: String,
        /// Whether to give access to.
        4 => workgroup: String,
        5 => user: String,
    }
}

/// What [`Change`] and [`ChangeAlert`] do.
pub mod act {
    pub const READ: u8 = 0;
    pub const FREEZE: u8 = 1;
    pub const CLOSE: u8 = 2;
    pub const ACKNOWLEDGE: u8 = 3;
}

record! {
    pub struct Change v1 {
        1 => nhs: u64,
        2 => id: String,
        /// One of `act`.
        3 => what: u8,
        4 => reason: String,
        /// Close at once, without the days of grace.
        5 => now: bool,
    }
}

record! {
    pub struct Raise v1 {
        1 => ods: String,
        /// `kinds::AlertKind::number`.
        2 => kind: u8,
        3 => subject: String,
        4 => reason: String,
        5 => relationship: String,
        6 => by: Option<Doer>,
    }
}

record! {
    pub struct FindAlerts v1 {
        1 => ods: String,
        /// Behind which the list goes on.
        2 => after: String,
        /// Closed ones too.
        3 => all: bool,
    }
}

record! {
    pub struct ChangeAlert v1 {
        1 => ods: String,
        2 => id: String,
        /// One of `act`.
        3 => what: u8,
        4 => note: String,
    }
}

record! {
    pub struct Noted v1 {
        1 => interaction: String,
        /// The refusal's code.
        2 => outcome: String,
        /// NHS number, where the path names one.
        3 => subject: String,
    }
}

record! {
    /// When a relationship may be at its end: the payload of a timer.
    pub struct Due v1 {
        1 => nhs: u64,
        2 => id: String,
    }
}

record! {
    /// The answer, ready but for its headers.
    pub struct Reply v1 {
        /// Of HTTP.
        1 => status: u16,
        /// JSON.
        2 => body: Bytes,
    }
}

impl Reply {
    pub fn of(bytes: &Bytes) -> Result<Self, Fault> {
        Reply::decode(bytes).map_err(|e| Fault::Other(format!("relationships reply: {e}")))
    }
}
