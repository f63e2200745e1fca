//! Durations and sizes as people write them: `30s`, `5d`, `64KiB`. Whole numbers and one unit, nothing else, so that
//! a value has one reading.

use std::time::Duration;

const DURATIONS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// `500ms`, `30s`, `15m`, `2h`, `5d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, DURATIONS).map(Duration::from_millis)
}

/// `512B`, `64KiB`, `32MiB`, `1GiB`, and the decimal `KB`, `MB`, `GB`.
pub fn parse_size(text: &str) -> Option<u64> {
    scaled(text, SIZES)
}

/// The shortest exact form that [`parse_duration`] reads back.
pub fn show_duration(duration: Duration) -> String {
    show(duration.as_millis() as u64, DURATIONS)
}

/// The shortest exact form that [`parse_size`] reads back.
pub fn show_size(bytes: u64) -> String {
    show(bytes, SIZES)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |factor: u64| amount != 0 && amount.is_multiple_of(factor);
    let (name, factor) = units.iter().find(|(_, f)| fits(*f)).unwrap_or(&units[units.len() - 1]);
    format!("{}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_and_print_exactly() {
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("5d"), Some(Duration::from_secs(5 * 86_400)));
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("64 KiB"), Some(65_536));
        for wrong in ["30", "s", "1.5h", "-1s", "30 sec", "99999999999999999999d", ""] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::from_secs(432_000)), "5d");
        assert_eq!(show_size(64 << 20), "64MiB");
        assert_eq!(show_size(0), "0B");
        assert_eq!(show_size(1_500), "1500B");
    }
}
