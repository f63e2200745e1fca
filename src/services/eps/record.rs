//! The stored prescription (spec/eps.md §16): one record with its issues, what was done to it by whom, and what waits.
//!
//! Kept small: statuses are numbers, ids sixteen bytes, and a sender or a dispenser stands once and is pointed at.
//! Invariant: `states::consistent` holds after every step; the format is append-only.

pub mod id;
pub mod index;

use super::{
    message::{Sender, treatment},
    states::{issue, item},
};
use crate::{model::EpochMillis, record};
use bytes::Bytes;
pub use id::Id;

record! {
    /// Who gave a prescription out: as it said at the release.
    pub struct Dispenser v1 {
        /// ODS code.
        1 => ods: String,
        2 => name: String,
        /// The release's `owner` Organization and `agent` PractitionerRole, packed (`wire::packed`); empty if it took the prescription over.
        3 => owner: Bytes,
        4 => agent: Bytes,
    }
}

record! {
    pub struct Nomination v1 {
        /// ODS code; empty for none.
        1 => ods: String,
        /// `P1`, `P2`, `P3` (§5.4).
        2 => kind: String,
        /// In the history: when it ended.
        3 => ended_at: u64,
    }
}

record! {
    /// An item of the prescription; its status stands in each issue.
    pub struct LineItem v1 {
        1 => id: Id,
        /// How many issues it is for.
        2 => issues: u32,
    }
}

record! {
    /// An issue before a notification, for its amendment or withdrawal (§10.2 no. 7).
    pub struct Snapshot v1 {
        /// The notification.
        1 => message: Id,
        2 => status: u16,
        /// As [`Issue::items`].
        3 => items: Bytes,
        4 => dispenser: u32,
        5 => dispensed_at: u64,
        6 => last_status: u16,
        7 => last_notification: Id,
        8 => reason: String,
        9 => completed_on: u32,
    }
}

record! {
    pub struct Claim v1 {
        /// The claim that counts; none for a no-claim.
        1 => id: Id,
        /// Day of the newest; for a no-claim its day.
        2 => received_on: u32,
        /// Day of the first.
        3 => first_on: u32,
        /// An amended claim replaced another.
        4 => rebuild: bool,
        /// Claims that were replaced, oldest first.
        5 => historic: Vec<Id>,
        /// `T1450`, `RQFZ1`; empty for a no-claim.
        6 => payer: String,
        /// When it was made, milliseconds, as it says.
        7 => made_at: u64,
    }
}

record! {
    /// One issue (§16 `instances`).
    pub struct Issue v1 {
        /// From 1.
        1 => number: u32,
        /// §17.1: `0001` is 1, `9001` 9001.
        2 => status: u16,
        3 => previous: u16,
        /// Status of each item (§17.2), a byte each, in the order of [`Prescription::items`].
        4 => items: Bytes,
        5 => previous_items: Bytes,
        /// Start of the dispensing window, a day; 0: the prescription's.
        6 => window_low: u32,
        /// `nominatedDownloadDate`: when it becomes 0001.
        7 => download_on: u32,
        /// When the issue before it was dispensed.
        8 => previous_issue_at: u64,
        /// When it became 0001: the order of bulk releases.
        9 => available_at: u64,
        /// Who has or had it: place in [`Prescription::dispensers`], from 1; 0 for nobody.
        10 => dispenser: u32,
        11 => released_at: u64,
        12 => release_request: Id,
        13 => release_response: Id,
        /// Items and status before the release.
        14 => before_release: Bytes,
        15 => status_before_release: u16,
        /// `lastDispenseDate` as a time; 0 before any.
        16 => dispensed_at: u64,
        /// `lastDispenseStatus`: what the last notification said.
        17 => last_status: u16,
        18 => last_notification: Id,
        /// Why nothing of it was dispensed (§20.6); empty for none.
        19 => reason: String,
        /// Completion, a day.
        20 => completed_on: u32,
        /// Oldest first; empty once claimed.
        21 => history: Vec<Snapshot>,
        22 => claim: Claim,
        /// `previous_issue_at` as the release told it; an amendment may change that later, a repeat of the release tells the same.
        23 => previous_told: u64,
        /// The agency that pays, as the last notification named it; empty before one.
        24 => payer: String,
    }
}

/// [`Cancellation::state`].
pub mod cancellation {
    pub const PENDING: u8 = 0;
    pub const APPLIED: u8 = 1;
    /// Dropped or never valid; `failure` says why.
    pub const UNSUCCESSFUL: u8 = 2;
}

record! {
    /// A cancellation: pending, applied or unsuccessful.
    pub struct Cancellation v1 {
        1 => message: Id,
        /// The item; none for the whole prescription.
        2 => item: Id,
        /// §20.5.
        3 => reason: String,
        /// Place in [`Prescription::senders`], from 1; 0 for Spine.
        4 => who: u32,
        5 => at: u64,
        /// One of `cancellation`.
        6 => state: u8,
        /// Why it was unsuccessful.
        7 => failure: String,
        /// When it was applied or dropped.
        8 => settled_at: u64,
        /// Applied: the first issue that it took.
        9 => issue: u32,
        /// NHS number that it came with, while the order is not there.
        10 => nhs: u64,
    }
}

record! {
    /// One entry of the change log.
    pub struct Event v1 {
        /// Message id, for a release the request's; none for what Spine did by itself.
        1 => message: Id,
        2 => at: u64,
        /// `states::Trigger` as a number.
        3 => trigger: u8,
        /// Place in [`Prescription::senders`], from 1; 0 for Spine.
        4 => who: u32,
        /// 0 for the whole prescription.
        5 => issue: u32,
        /// Status of that issue; 0 for an order of something new.
        6 => before: u16,
        7 => after: u16,
        /// Cancel: `steps::cancel::Code` as a number; 0 for plain success.
        8 => answer: u16,
        /// Cancel: who had it, place in [`Prescription::dispensers`].
        9 => dispenser: u32,
        /// Order or cancel: the item.
        10 => item: Id,
    }
}

record! {
    /// The record. A placeholder (cancelled before it was ordered) has no order and one issue 9005; a shell has `deleted_on`.
    pub struct Prescription v1 {
        /// Short id.
        1 => id: String,
        2 => long_id: Id,
        3 => nhs: u64,
        /// Birth date, a day.
        4 => born: u32,
        /// One of `message::treatment`.
        5 => treatment: u8,
        6 => prescription_type: String,
        7 => prescribed_at: u64,
        8 => signed_at: u64,
        9 => days_supply: u32,
        /// Dispensing window, days; an issue may have a later start.
        10 => window_low: u32,
        11 => window_high: u32,
        /// Issues in all (`maxRepeats`).
        12 => issues: u32,
        /// `currentInstance`.
        13 => current: u32,
        /// The order's message id; none: placeholder.
        14 => order: Id,
        /// Prescriber: place in `senders`, from 1; 0 for a placeholder.
        15 => prescriber: u32,
        16 => nomination: Nomination,
        17 => past_nominations: Vec<Nomination>,
        18 => items: Vec<LineItem>,
        19 => instances: Vec<Issue>,
        20 => senders: Vec<Sender>,
        21 => dispensers: Vec<Dispenser>,
        22 => cancellations: Vec<Cancellation>,
        23 => log: Vec<Event>,
        /// Change number: +1 with each write.
        24 => scn: u32,
        /// When the first message of it came.
        25 => arrived_at: u64,
        /// When the last write was.
        26 => changed_at: u64,
        /// A shell since this day; 0: no shell.
        27 => deleted_on: u32,
        /// Documents of messages that came before this moment were deleted for their age (§16); 0: none were.
        28 => forgotten: u64,
    }
}

impl Issue {
    /// Status of the item at a place.
    pub fn item(&self, at: usize) -> u16 {
        self.items.get(at).map_or(0, |status| u16::from(*status))
    }

    pub fn item_statuses(&self) -> impl Iterator<Item = u16> + '_ {
        self.items.iter().map(|status| u16::from(*status))
    }

    pub fn with_dispenser(&self) -> bool {
        issue::WITH_DISPENSER.contains(&self.status)
    }
}

impl Prescription {
    /// The key: the short id without its check character (§4.1).
    pub fn key(&self) -> &str {
        key(&self.id)
    }

    /// Is it only a cancellation that came before its order?
    pub fn is_placeholder(&self) -> bool {
        self.order.is_none() && self.deleted_on == 0
    }

    /// Were its documents deleted?
    pub fn is_shell(&self) -> bool {
        self.deleted_on != 0
    }

    pub fn is_erd(&self) -> bool {
        self.treatment == treatment::DISPENSING
    }

    pub fn issue(&self, number: u32) -> Option<&Issue> {
        self.instances.get((number as usize).checked_sub(1)?)
    }

    pub fn current_issue(&self) -> Option<&Issue> {
        self.issue(self.current)
    }

    /// Place of an item.
    pub fn place(&self, item: Id) -> Option<usize> {
        self.items.iter().position(|i| i.id == item)
    }

    pub fn sender(&self, who: u32) -> Option<&Sender> {
        self.senders.get((who as usize).checked_sub(1)?)
    }

    pub fn prescribed_by(&self) -> Option<&Sender> {
        self.sender(self.prescriber)
    }

    pub fn dispenser(&self, at: u32) -> Option<&Dispenser> {
        self.dispensers.get((at as usize).checked_sub(1)?)
    }

    /// Who has or had an issue.
    pub fn holder(&self, issue: &Issue) -> Option<&Dispenser> {
        self.dispenser(issue.dispenser)
    }

    /// Messages whose documents are stored under their ids: they are deleted with the prescription, or for their age (§16).
    pub fn documents(&self) -> impl Iterator<Item = Id> + '_ {
        self.documented().map(|e| e.message)
    }

    /// The log's entries of these.
    pub fn documented(&self) -> impl Iterator<Item = &Event> {
        self.log.iter().filter(|e| e.message.is_some() && !e.is_release() && e.at >= self.forgotten)
    }

    pub fn pending(&self) -> impl Iterator<Item = &Cancellation> {
        self.cancellations.iter().filter(|c| c.state == cancellation::PENDING)
    }

    pub fn unsuccessful(&self) -> impl Iterator<Item = &Cancellation> {
        self.cancellations.iter().filter(|c| c.state == cancellation::UNSUCCESSFUL)
    }

    /// The applied cancellation of an item, or of the whole prescription.
    pub fn cancelled_by(&self, item: Id) -> Option<&Cancellation> {
        let applied = self.cancellations.iter().filter(|c| c.state == cancellation::APPLIED);
        applied.into_iter().rev().find(|c| c.item == item || c.item.is_none())
    }

    /// Start of an issue's dispensing window, a day.
    pub fn window_start(&self, issue: &Issue) -> u32 {
        if issue.window_low == 0 { self.window_low } else { issue.window_low }
    }

    /// First of the charge exemption ages: the day before the 16th birthday, and the 60th birthday (§9.2).
    pub fn age_limits(&self) -> (u32, u32) {
        use super::clock::{plus_days, plus_months};
        (plus_days(plus_months(self.born, 16 * 12), -1), plus_months(self.born, 60 * 12))
    }

    /// Does it still have an item that can be dispensed, in the issue?
    pub fn active(issue: &Issue) -> bool {
        issue.item_statuses().any(|status| item::ACTIVE.contains(&status))
    }
}

impl Event {
    pub fn trigger(&self) -> Option<super::states::Trigger> {
        super::states::Trigger::of(self.trigger)
    }

    /// Is `message` the id of a release request?
    pub fn is_release(&self) -> bool {
        self.trigger().is_some_and(|t| t.is_release())
    }
}

/// The key of a short id: all but its check character.
pub fn key(id: &str) -> &str {
    id.get(..19).unwrap_or(id)
}

/// A day of the United Kingdom for a time that was kept; 0 stays 0.
pub fn day_of(at: EpochMillis) -> u32 {
    if at == 0 { 0 } else { super::clock::uk_day(at) }
}
