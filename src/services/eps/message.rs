//! What each message says to the store: read and checked where it came in (`read`), carried to the leader, carried out there
//! (`steps`). Ids of messages and items are lower-case UUIDs, short ids upper case (spec/eps.md §4); days are `model::day`.
//!
//! Invariant: what stands here was checked by `read`; what depends on the stored record is not.

use crate::record;
use bytes::Bytes;

/// Treatment types (spec/eps.md §5.3), as the last digit of their codes.
pub mod treatment {
    pub const ACUTE: u8 = 1;
    pub const REPEAT: u8 = 2;
    /// Repeat dispensing, eRD.
    pub const DISPENSING: u8 = 3;
}

record! {
    /// Who sent a message, as it says itself.
    pub struct Sender v1 {
        /// ODS code, upper case.
        1 => ods: String,
        /// The organisation's name.
        2 => name: String,
        /// `sds-user-id`.
        3 => user: String,
        /// `sds-role-profile-id`.
        4 => role: String,
        /// The person's name.
        5 => person: String,
    }
}

record! {
    pub struct Item v1 {
        1 => id: String,
        /// How many issues it is for; 0 in a message that does not say.
        2 => issues: u32,
    }
}

record! {
    /// A prescription (§5, §7).
    pub struct Order v1 {
        1 => message: String,
        /// Short id.
        2 => id: String,
        3 => long_id: String,
        4 => nhs: u64,
        /// Birth date, a day.
        5 => born: u32,
        /// One of `treatment`.
        6 => treatment: u8,
        /// `0101`, or `NotProvided` for a code that is in no table (§20.1).
        7 => prescription_type: String,
        /// Prescription time, milliseconds: start of the validity period, else the signature's time.
        8 => prescribed_at: u64,
        /// Time of the signature, milliseconds.
        9 => signed_at: u64,
        10 => prescriber: Sender,
        /// Days that one issue is for; 28 where the order does not say.
        11 => days_supply: u32,
        /// Validity period, days; only eRD keeps them (§7.2).
        12 => window_low: u32,
        13 => window_high: u32,
        /// Issues in all; 1 but for eRD.
        14 => issues: u32,
        15 => items: Vec<Item>,
        /// ODS code of the nominated dispenser; empty for none.
        16 => nominated: String,
        /// `P1`, `P2`, `P3`, `0004` (§5.4).
        17 => nominated_type: String,
        /// The Bundle as it came, compressed.
        18 => document: Bytes,
    }
}

record! {
    /// A prescriber takes an item back (§8).
    pub struct Cancel v1 {
        1 => message: String,
        2 => id: String,
        3 => long_id: String,
        4 => nhs: u64,
        /// The item.
        5 => item: String,
        /// §20.5.
        6 => reason: String,
        7 => by: Sender,
        8 => document: Bytes,
    }
}

record! {
    /// One prescription is given out (§9): by its id, or as one of those that a nominated release found.
    pub struct Release v1 {
        /// Short id, or for a nominated release the key.
        1 => id: String,
        2 => by: Sender,
        /// The request's id (`X-Request-ID`), lower case: a repeat gets the same again.
        3 => request: String,
        /// Release response id: what the answer's Bundle is called, kept for the return.
        4 => response: String,
        /// Found by nomination: then it must be 0001 and nominated to `by`.
        5 => nominated: bool,
        /// The `owner` Organization and the `agent` PractitionerRole, packed (`wire::packed`).
        6 => owner: Bytes,
        7 => agent: Bytes,
        /// Asks only what this request was given before, and takes nothing.
        8 => recalls: bool,
    }
}

record! {
    pub struct Dispensed v1 {
        1 => item: String,
        /// Status of the item after the message: 1 to 8 (§17.2).
        2 => status: u16,
        /// §20.6; empty for none.
        3 => reason: String,
        /// The item's issues as the message says them; 0 for not said.
        4 => issues: u32,
    }
}

record! {
    /// What a dispenser gave out (§10).
    pub struct Dispense v1 {
        1 => message: String,
        2 => id: String,
        3 => nhs: u64,
        /// Issue number from 1; 0 where the message does not say.
        4 => issue: u32,
        /// Issues in all, from the message; 0 where it does not say.
        5 => issues: u32,
        /// The notification that this one replaces; empty for none.
        6 => replaces: String,
        7 => by: Sender,
        /// Status of the prescription after the message: 3, 6 or 7 (§17.1).
        8 => status: u16,
        /// Why nothing of it was dispensed (§20.6); empty for none.
        9 => reason: String,
        /// When it was handed over, milliseconds.
        10 => at: u64,
        /// One for each item, in the message's order (the first of several for one item).
        11 => items: Vec<Dispensed>,
        12 => document: Bytes,
        /// The agency that pays the dispenser (`reimbursementAuthority`): `T1450`, `RQFZ1`.
        13 => payer: String,
    }
}

record! {
    /// A dispenser gives a prescription back (§11).
    pub struct Return v1 {
        1 => message: String,
        2 => id: String,
        3 => nhs: u64,
        /// Issue number from 1; 0 where the message does not say.
        4 => issue: u32,
        /// §20.7.
        5 => reason: String,
        /// Release response id; not compared (§11).
        6 => response: String,
        7 => by: Sender,
        8 => document: Bytes,
    }
}

record! {
    /// A dispenser takes the last dispense notification back (§12).
    pub struct Withdraw v1 {
        1 => message: String,
        2 => id: String,
        3 => nhs: u64,
        /// Issue number from 1; 0 where the message does not say.
        4 => issue: u32,
        /// §20.8.
        5 => reason: String,
        /// The dispense notification.
        6 => notification: String,
        7 => by: Sender,
        8 => document: Bytes,
    }
}

record! {
    /// A dispenser asks to be paid (§13).
    pub struct Claim v1 {
        1 => message: String,
        2 => id: String,
        3 => nhs: u64,
        /// Issue number from 1; 0 where the message does not say.
        4 => issue: u32,
        /// The claim that this one replaces; empty for none.
        5 => replaces: String,
        6 => by: Sender,
        /// `T1450` or `RQFZ1`.
        7 => payer: String,
        /// When it was made, milliseconds.
        8 => at: u64,
        9 => document: Bytes,
    }
}
