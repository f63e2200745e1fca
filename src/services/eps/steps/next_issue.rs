//! eRD: the next issue becomes available when one is complete (spec/eps.md §17.6).

use super::Draft;
use crate::services::eps::{
    clock::{plus_days, uk_day},
    record::day_of,
    refused::Refused,
    states::{Trigger, issue},
};

/// The next issue may be downloaded so many days before it is wanted.
const DAYS_AHEAD: i32 = 7;

/// An issue became 0006, 0007 or 0009: the one after it, if it still waits, becomes the current. Once only.
pub fn make_available(d: &mut Draft, completed: u32) -> Result<(), Refused> {
    let done = d.issue(completed)?;
    let (dispensed_at, next) = (done.dispensed_at, completed.saturating_add(1));
    if d.p.current != completed || d.p.issue(next).is_none_or(|i| i.status != issue::FUTURE_REPEAT) {
        return previous_issue(d, next, dispensed_at);
    }
    let ahead = i64::from(d.p.days_supply) * i64::from(completed) - i64::from(DAYS_AHEAD);
    let download_on = plus_days(uk_day(d.p.prescribed_at), i32::try_from(ahead).unwrap_or(i32::MAX));
    let waits = download_on >= d.at.today;
    d.go(next, if waits { issue::AWAITING_RELEASE } else { issue::TO_BE_DISPENSED }, Trigger::Next)?;
    let (now, today) = (d.at.now, d.at.today);
    let following = d.issue_mut(next)?;
    following.download_on = download_on;
    following.window_low = if dispensed_at == 0 { today } else { day_of(dispensed_at) };
    following.previous_issue_at = dispensed_at;
    if !waits {
        following.available_at = now;
    }
    d.p.current = next;
    Ok(())
}

/// An amended notification tells the next issue anew when the previous was dispensed; it does not release it twice.
fn previous_issue(d: &mut Draft, next: u32, dispensed_at: u64) -> Result<(), Refused> {
    if d.p.current == next && d.p.issue(next).is_some() {
        d.issue_mut(next)?.previous_issue_at = dispensed_at;
    }
    Ok(())
}
