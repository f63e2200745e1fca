//! Commands of the service: one tag byte, then a record; and the reply. All go to the partition of the prescription's key, but
//! those that say so.

use super::{
    message::{Cancel, Claim, Dispense, Order, Release, Return, Withdraw},
    refused::Refused,
    status::StatusUpdate,
};
use crate::{
    commands,
    engine::draft::Fault,
    record,
    wire::{person_changed::PersonChanged, record::Record},
};
use bytes::Bytes;

commands! {
    /// A command, told apart by its first byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum EpsCommand("eps") {
        /// Leaves the record of what was refused, or of whose prescriptions were shown.
        1 Noted(Noted),
        2 Order(Order),
        3 Cancel(Cancel),
        4 Release(Release),
        5 Dispense(Dispense),
        6 Return(Return),
        7 Withdraw(Withdraw),
        8 Claim(Claim),
        /// Which prescriptions a nominated release is about: in the partition of the request.
        9 Pick(Pick),
        /// Shows one prescription.
        10 Show(Show),
        11 Updates(Updates),
        /// Does what is due: sent to each partition when a test site's calendar was moved.
        12 Sweep(Sweep),
        /// Moves the calendar of a test site: in the site's partition.
        13 Advance(Advance),
        /// A death, another nomination; from PDS, to each partition.
        64 PersonChanged(PersonChanged),
    }
}

record! {
    pub struct Noted v1 {
        1 => interaction: String,
        /// `ok`, or the refusal's code.
        2 => outcome: String,
        /// NHS numbers of the people concerned.
        3 => subjects: Vec<u64>,
        /// Short id, where one was named.
        4 => object: String,
        5 => detail: String,
    }
}

record! {
    pub struct Pick v1 {
        1 => ods: String,
        /// Keys of prescriptions, oldest nomination first.
        2 => keys: Vec<String>,
        /// Number of the attempt that found them, by which a repeat knows that it is one.
        3 => attempt: u64,
    }
}

record! {
    pub struct Show v1 {
        /// Short id.
        1 => id: String,
        2 => interaction: String,
        /// With the dispense notifications of an issue; 0 for the current one.
        3 => notifications: bool,
        4 => issue: u32,
    }
}

record! {
    /// Status updates of one prescription.
    pub struct Updates v1 {
        /// Short id.
        1 => id: String,
        2 => updates: Vec<StatusUpdate>,
    }
}

record! {
    pub struct Sweep v1 {
        /// Days that the calendar is ahead: the answer is "more" until whoever decides knows it.
        1 => ahead: u32,
    }
}

record! {
    pub struct Advance v1 {
        /// Days that the calendar is to be ahead in all.
        1 => days: u32,
    }
}

record! {
    /// What became of a command.
    pub struct Reply v1 {
        /// 0: done; else the number of the refusal ([`number`]).
        1 => refused: u8,
        /// Of [`Refused::Failure`]: its reason; of a cancellation that fails: why.
        2 => reason: String,
        /// When it was decided, milliseconds; on a test site by its calendar.
        3 => at: u64,
        /// The prescription after it, where the answer shows it.
        4 => prescription: Bytes,
        /// The order's document, packed, where the answer shows it.
        5 => order: Bytes,
        /// Cancel: `steps::Code` as a number.
        6 => code: u16,
        /// Pick: the keys.
        7 => keys: Vec<String>,
        /// The issue it was about.
        8 => issue: u32,
        /// Updates: ids that were there before.
        9 => known: Vec<String>,
        /// Status updates, of a prescription that is shown.
        10 => updates: Vec<StatusUpdate>,
        /// Cancel: who had it, packed as in the record.
        11 => owner: Bytes,
        12 => agent: Bytes,
        /// Cancel: when it was decided the first time.
        13 => decided: u64,
        /// Release: what the answer's Bundle is called.
        14 => response: String,
        /// Release: status of each item before, a byte each.
        15 => items_before: Bytes,
        /// Release: when the issue before was dispensed.
        16 => last_dispensed: u64,
        /// Sweep: more is to be done.
        17 => more: bool,
        /// Show: dispense notifications, ids and packed documents.
        18 => notifications: Vec<String>,
        19 => documents: Vec<Bytes>,
        /// Release, a repeat: when Spine took it back for its signature; 0 for not.
        20 => taken_back: u64,
        /// Pick: whose the keys are.
        21 => attempt: u64,
    }
}

impl Reply {
    pub fn of(bytes: &Bytes) -> Result<Self, Fault> {
        Reply::decode(bytes).map_err(|e| Fault::Other(format!("eps reply: {e}")))
    }
    pub fn refused_by(at: u64, refused: &Refused) -> Reply {
        let reason = match refused {
            Refused::Failure(reason) => reason.clone(),
            _ => String::new(),
        };
        Reply { refused: number(refused), reason, at, ..Default::default() }
    }
    pub fn refusal(&self) -> Option<Refused> {
        let place = usize::from(self.refused).checked_sub(1)?;
        match PLAIN.get(place) {
            Some(plain) => Some(plain.clone()),
            None => Some(Refused::Failure(self.reason.clone())),
        }
    }
}

/// Refusals without words of their own, in the order of their numbers in replies, from 1: appended, never moved.
pub(super) const PLAIN: [Refused; 16] = [
    Refused::DuplicatePrescription,
    Refused::DuplicateItem,
    Refused::MissingSignature,
    Refused::NotFound,
    Refused::Transition,
    Refused::ItemTransition,
    Refused::ItemNotFound,
    Refused::NotDispensed,
    Refused::RepeatCount,
    Refused::AmendMismatch,
    Refused::ClaimPeriod,
    Refused::Cancelled,
    Refused::Expired,
    Refused::ResourceNotFound,
    Refused::WithAnotherDispenser,
    Refused::Dispensed,
];

/// A refusal's number in replies; the highest is that of one with a reason.
fn number(refused: &Refused) -> u8 {
    PLAIN.iter().position(|plain| plain == refused).map_or(u8::MAX, |place| place as u8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_back_from_replies_as_they_went_in() {
        for refused in PLAIN.into_iter().chain([Refused::Failure("x has invalid format".into())]) {
            assert_eq!(Reply::refused_by(1, &refused).refusal(), Some(refused));
        }
        assert_eq!(Reply::default().refusal(), None);
    }
}
