//! Times as the standards write them. All in UTC; the moment comes in from a Stamp, never from a clock.

use super::EpochMillis;
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

/// The last moment that the calendar library knows, two days before the year 9999 ends and with it the text forms.
pub(super) const LAST_MILLIS: u64 = 253_402_207_199_999;

fn civil(at: EpochMillis) -> DateTime {
    let at = Timestamp::from_millisecond(at.min(LAST_MILLIS) as i64).unwrap_or_default();
    Offset::UTC.to_datetime(at)
}

fn millis(at: DateTime) -> Option<EpochMillis> {
    u64::try_from(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()).ok()
}

/// `yyyyMMddHHmmss` (mesh.md §13).
pub fn compact(at: EpochMillis) -> String {
    let t = civil(at);
    format!("{:04}{:02}{:02}{:02}{:02}{:02}", t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
}

/// `2026-11-22T00:59:33.579Z`.
pub fn iso(at: EpochMillis) -> String {
    let t = civil(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        at % 1000
    )
}

/// RFC 9110 HTTP date: `Sun, 22 Nov 2026 00:59:33 GMT`.
pub fn http_date(at: EpochMillis) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let t = civil(at);
    let day = DAYS[t.weekday().to_monday_zero_offset() as usize % 7];
    let month = MONTHS[(t.month() as usize + 11) % 12];
    format!("{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT", t.day(), t.year(), t.hour(), t.minute(), t.second())
}

/// Reads `yyyyMMdd`, `yyyyMMddHHmm` or `yyyyMMddHHmmss`, digits only. `None` for a day or hour that is none.
pub fn parse_compact(text: &str) -> Option<EpochMillis> {
    if !matches!(text.len(), 8 | 12 | 14) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).map_or(Some(0), |t| t.parse::<i8>().ok());
    let year = text.get(..4)?.parse::<i16>().ok()?;
    millis(DateTime::new(year, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, part(12, 14)?, 0).ok()?)
}

/// Reads an ISO 8601 date or time; without a zone it is UTC (mesh.md §10 lets both pass).
pub fn parse_iso(text: &str) -> Option<EpochMillis> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return u64::try_from(at.as_millisecond()).ok();
    }
    millis(text.parse::<DateTime>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_every_form() {
        let at = 1_795_309_173_579;
        assert_eq!(compact(at), "20261122005933");
        assert_eq!(iso(at), "2026-11-22T00:59:33.579Z");
        assert_eq!(http_date(at), "Sun, 22 Nov 2026 00:59:33 GMT");
        assert_eq!(parse_compact("20261122005933"), Some(at - 579));
        assert_eq!(parse_compact("202611220059"), Some(at - 33_579));
        assert_eq!(parse_iso("2026-11-22T00:59:33.579Z"), Some(at));
        assert_eq!(parse_iso("2026-11-22T01:59:33.579+01:00"), Some(at));
        assert_eq!(parse_iso("2026-11-22T00:59:33.579"), Some(at));
        assert_eq!(parse_iso("2026-11-22"), Some(at - 3_573_579));
    }

    #[test]
    fn nonsense_is_no_time_and_far_times_do_not_break_the_form() {
        for text in ["", "2026", "202613220059", "202602300059", "20261122005x", "abcdefgh", "202611222459"] {
            assert_eq!(parse_compact(text), None, "{text}");
        }
        assert_eq!(parse_iso("yesterday"), None);
        assert_eq!(compact(u64::MAX), "99991230215959");
    }
}
