//! What time does to a prescription (spec/eps.md §18): the next activity of a record, and carrying it out.
//!
//! Days are those of the United Kingdom. [`next`] gives the day on which an activity is due, so that whoever keeps the index
//! asks for `day ≤ today` whatever the activity. Invariant: `due` ends with nothing due, and a second call does nothing.

mod jobs;

pub use jobs::{due, overdue};

use super::{
    record::{Event, Issue, Prescription, day_of},
    states::issue,
};
use crate::model::{EpochMillis, day};
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

/// What Spine does by itself. The order settles which comes first on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    Ready,
    Expire,
    CreateNoClaim,
    Delete,
    Purge,
    /// Documents of a prescription that goes on have reached their age (§16).
    Forget,
}

impl Activity {
    pub const ALL: &'static [Activity] = &[
        Activity::Ready,
        Activity::Expire,
        Activity::CreateNoClaim,
        Activity::Delete,
        Activity::Purge,
        Activity::Forget,
    ];

    /// As the index spells it: `ready_20260301`.
    pub fn word(self) -> &'static str {
        match self {
            Activity::Ready => "ready",
            Activity::Expire => "expire",
            Activity::CreateNoClaim => "createNoClaim",
            Activity::Delete => "delete",
            Activity::Purge => "purge",
            Activity::Forget => "forget",
        }
    }
}

/// §21 no. 9: a prescription is valid until 23:59:59 of its expiry date, so the expiry is due on the day after.
const EXPIRY_IS_DUE_AFTER: i32 = 1;
const FIRST_EXPIRES_MONTHS: i32 = 6;
const LATER_EXPIRE_MONTHS: i32 = 12;
const NO_CLAIM_DAYS: i32 = 180;
const CANCELLED_KEPT_DAYS: i32 = 180;
const EXPIRED_KEPT_DAYS: i32 = 90;
const NOT_DISPENSED_KEPT_DAYS: i32 = 30;
const CLAIMED_KEPT_DAYS: i32 = 36;
const PLACEHOLDER_KEPT_DAYS: i32 = 180;
const SHELL_KEPT_DAYS: i32 = 365;
/// Documents are deleted after so many months at the latest, even of a prescription that goes on (§16).
const DOCUMENT_MONTHS: i32 = 18;
/// The last day that is counted with: a wild date in a message must not break the calendar.
const LAST_DAY: u32 = 99_991_231;
/// Days that a span may have: more than any rule here, less than the calendar library refuses.
const FAR: i32 = 400_000;

/// The day of a moment in the United Kingdom.
pub fn uk_day(at: EpochMillis) -> u32 {
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let Some(at) = at else { return LAST_DAY };
    match TimeZone::get("Europe/London") {
        Ok(zone) => number(zone.to_datetime(at).date()),
        Err(_) => number(TimeZone::UTC.to_datetime(at).date()),
    }
}

/// When a day of the United Kingdom begins; 0 for what is no day.
pub fn midnight(day: u32) -> EpochMillis {
    let date = Date::new((day / 10_000) as i16, (day / 100 % 100) as i8, (day % 100) as i8);
    let zone = TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC);
    let begins = date.ok().and_then(|date| date.to_zoned(zone).ok());
    begins.and_then(|at| u64::try_from(at.timestamp().as_millisecond()).ok()).unwrap_or_default()
}

fn number(date: Date) -> u32 {
    u32::try_from(date.year()).unwrap_or_default() * 10_000 + date.month() as u32 * 100 + date.day() as u32
}

fn moved(from: u32, by: Span) -> u32 {
    let Some(date) = day::parse(&format!("{from:08}")) else { return from };
    let date = Date::new((date / 10_000) as i16, (date / 100 % 100) as i8, (date % 100) as i8);
    date.ok().and_then(|d| d.checked_add(by).ok()).map_or(LAST_DAY, number)
}

/// The day so many days later (or earlier); what is no day stays as it is.
pub fn plus_days(from: u32, days: i32) -> u32 {
    moved(from, Span::new().days(days.clamp(-FAR, FAR)))
}

/// The day so many months later; clamped to the month's last day: 31 October + 6 months = 30 April.
pub fn plus_months(from: u32, months: i32) -> u32 {
    moved(from, Span::new().months(months.clamp(-FAR / 30, FAR / 30)))
}

/// Last day of an issue's validity (§18.1).
pub fn expiry(p: &Prescription, i: &Issue) -> u32 {
    let months = if i.number <= 1 { FIRST_EXPIRES_MONTHS } else { LATER_EXPIRE_MONTHS };
    let end = plus_months(uk_day(p.prescribed_at), months);
    if i.status == issue::ACTIVE { end.min(plus_days(day_of(i.dispensed_at), NO_CLAIM_DAYS)) } else { end }
}

/// Activity of one issue and the day on which it is due; `None` where nothing ever will be.
pub fn activity(p: &Prescription, i: &Issue) -> Option<(Activity, u32)> {
    let expire = (Activity::Expire, plus_days(expiry(p, i), EXPIRY_IS_DUE_AFTER));
    let ready = |on: u32| if on < expiry(p, i) { (Activity::Ready, on) } else { expire };
    Some(match i.status {
        issue::TO_BE_DISPENSED | issue::WITH | issue::FUTURE_REPEAT => expire,
        issue::AWAITING_RELEASE if i.download_on != 0 => ready(i.download_on),
        issue::AWAITING_RELEASE => ready(p.window_start(i)),
        issue::FUTURE => ready(p.window_start(i).max(uk_day(p.prescribed_at))),
        // §21 no. 11.
        issue::ACTIVE if i.last_notification.is_some() => {
            (Activity::CreateNoClaim, plus_days(day_of(i.dispensed_at), NO_CLAIM_DAYS))
        }
        issue::ACTIVE => expire,
        issue::DISPENSED => (Activity::CreateNoClaim, plus_days(i.completed_on, NO_CLAIM_DAYS)),
        issue::NOT_DISPENSED => (Activity::Delete, plus_days(i.completed_on, NOT_DISPENSED_KEPT_DAYS)),
        issue::EXPIRED => (Activity::Delete, plus_days(i.completed_on, EXPIRED_KEPT_DAYS)),
        issue::CANCELLED => (Activity::Delete, plus_days(i.completed_on, CANCELLED_KEPT_DAYS)),
        issue::CLAIMED | issue::NO_CLAIMED => (Activity::Delete, plus_days(i.claim.received_on, CLAIMED_KEPT_DAYS)),
        issue::PLACEHOLDER => (Activity::Delete, plus_days(day_of(p.arrived_at), PLACEHOLDER_KEPT_DAYS)),
        _ => return None,
    })
}

/// The record's next activity and the day on which it is due.
pub fn next(p: &Prescription) -> Option<(Activity, u32)> {
    next_of(p).map(|(activity, day, _)| (activity, day))
}

/// As [`next`], with the issue that it is of (0: the record).
///
/// Earliest of what §18.1 permits: before the current issue no-claims, at it expiry, ready and no-claims. One more: an issue
/// before the current that a withdrawal left without a notification expires too, or the record would never end (§21 no. 12).
fn next_of(p: &Prescription) -> Option<(Activity, u32, u32)> {
    if p.is_shell() {
        return Some((Activity::Purge, plus_days(p.deleted_on, SHELL_KEPT_DAYS), 0));
    }
    let all = || p.instances.iter().filter_map(|i| activity(p, i).map(|(a, day)| (a, day, i.number)));
    let earliest =
        |of: &dyn Fn(&(Activity, u32, u32)) -> bool| all().filter(of).min_by_key(|(a, day, n)| (*day, *a, *n));
    let permitted = |(a, _, number): &(Activity, u32, u32)| *a != Activity::Delete && *number <= p.current;
    let of_issues = earliest(&permitted)
        .or_else(|| earliest(&|(a, _, _)| *a != Activity::Delete))
        .or_else(|| all().max_by_key(|(_, day, _)| *day).map(|(a, day, _)| (a, day, 0)));
    let of_documents = p.documented().next().map(|e| (Activity::Forget, forget_on(p, e), 0));
    // On one day what moves the prescription comes first: it may take the documents along.
    of_issues.into_iter().chain(of_documents).min_by_key(|(_, day, _)| *day)
}

/// The day on which a message's document is deleted for its age. The order's stays as long as the prescription can be given out,
/// which may be longer for one that is dated ahead.
fn forget_on(p: &Prescription, e: &Event) -> u32 {
    let aged = plus_months(uk_day(e.at), DOCUMENT_MONTHS);
    let last = p.instances.last().filter(|_| e.message == p.order);
    last.map_or(aged, |i| plus_days(expiry(p, i), EXPIRY_IS_DUE_AFTER).max(aged))
}
