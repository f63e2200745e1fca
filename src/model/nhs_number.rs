//! The NHS number: ten digits, the last a modulus 11 check digit.

/// A number whose check digit holds. Never shown in logs, metrics or errors, so `Debug` prints nothing of it (P10).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NhsNumber(u64);

impl NhsNumber {
    /// Reads ten digits, spaces and dashes between them allowed. `None` where they are not ten or do not check.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = [0u64; 10];
        let mut count = 0;
        for b in text.bytes().filter(|b| !matches!(b, b' ' | b'-')) {
            if !b.is_ascii_digit() || count == 10 {
                return None;
            }
            digits[count] = u64::from(b - b'0');
            count += 1;
        }
        if count != 10 {
            return None;
        }
        let sum: u64 = digits[..9].iter().zip((2..=10).rev()).map(|(d, weight)| d * weight).sum();
        let check = match 11 - sum % 11 {
            11 => 0,
            10 => return None,
            n => n,
        };
        (check == digits[9]).then(|| NhsNumber(digits.iter().fold(0, |all, d| all * 10 + d)))
    }

    /// Reads exactly ten digits, as they stand in a path or a FHIR value (spec/pds.md §4).
    pub fn strict(text: &str) -> Option<Self> {
        (text.len() == 10).then(|| Self::parse(text)).flatten()
    }

    /// A number as [`NhsNumber::value`] gave it; `None` where it does not check.
    pub fn of(value: u64) -> Option<Self> {
        Self::strict(&format!("{value:010}"))
    }

    /// The number that begins with these nine digits; `None` for those whose check digit would be 10, which are never issued.
    pub fn from_nine(nine: u64) -> Option<Self> {
        (0..10).find_map(|check| Self::of(nine * 10 + check))
    }

    /// For keys and rows.
    pub fn value(self) -> u64 {
        self.0
    }

    /// The ten digits, for the patient's own record, partition keys and audit records; never for logs (P10).
    pub fn digits(self) -> String {
        format!("{:010}", self.0)
    }
}

impl std::fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NhsNumber")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_digit_decides() {
        assert!(NhsNumber::parse("9434765919").is_some());
        assert!(NhsNumber::parse("943 476 5919").is_some());
        for wrong in ["9434765918", "943476591", "94347659199", "943476591x", ""] {
            assert_eq!(NhsNumber::parse(wrong), None, "{wrong}");
        }
        assert_eq!(NhsNumber::strict("943 476 5919"), None);
        assert_eq!(NhsNumber::of(9434765919).map(NhsNumber::digits).as_deref(), Some("9434765919"));
        assert_eq!(NhsNumber::from_nine(900000000).map(NhsNumber::value), Some(9000000009));
        assert_eq!((0..1000).filter_map(NhsNumber::from_nine).count(), 909, "one in eleven cannot be issued");
        assert_eq!(format!("{:?}", NhsNumber::parse("9434765919")), "Some(NhsNumber)");
    }
}
