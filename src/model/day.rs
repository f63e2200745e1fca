//! A calendar day as one number, `YYYYMMDD`: sorts as the calendar does, fits a row's varint, and 0 says "none".

/// Reads `2023-08-22` or `20230822`. `None` where that is no day of the calendar.
pub fn parse(text: &str) -> Option<u32> {
    let plain = match text.len() {
        8 => text.to_owned(),
        10 if text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-' => text.replace('-', ""),
        _ => return None,
    };
    if plain.len() != 8 || !plain.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u32 = plain.parse().ok()?;
    jiff::civil::Date::new((number / 10_000) as i16, (number / 100 % 100) as i8, (number % 100) as i8).ok()?;
    Some(number)
}

/// `2023-08-22`; empty for 0.
pub fn text(day: u32) -> String {
    if day == 0 {
        return String::new();
    }
    format!("{:04}-{:02}-{:02}", day / 10_000, day / 100 % 100, day % 100)
}

/// The day of a moment in UTC, milliseconds since the epoch.
pub fn of_millis(millis: u64) -> u32 {
    let moment = jiff::Timestamp::from_millisecond(millis as i64).unwrap_or_default();
    let date = jiff::tz::Offset::UTC.to_datetime(moment).date();
    date.year() as u32 * 10_000 + date.month() as u32 * 100 + date.day() as u32
}

/// The day that lies `days` before another.
pub fn before(day: u32, days: i32) -> u32 {
    let date = jiff::civil::Date::new((day / 10_000) as i16, (day / 100 % 100) as i8, (day % 100) as i8);
    let moved = date.ok().and_then(|d| d.checked_sub(jiff::Span::new().days(days)).ok());
    moved.map_or(0, |d| d.year() as u32 * 10_000 + d.month() as u32 * 100 + d.day() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_written_and_counted() {
        assert_eq!((parse("2023-08-22"), parse("20230822")), (Some(20_230_822), Some(20_230_822)));
        for wrong in ["2023-02-30", "2023082", "20230x22", "2023/08/22", "", "2023-8-022"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(text(20_230_822), "2023-08-22");
        assert_eq!(text(0), "");
        assert_eq!(of_millis(1_795_309_173_579), 20_261_122);
        assert_eq!(before(20_260_301, 1), 20_260_228);
    }
}
