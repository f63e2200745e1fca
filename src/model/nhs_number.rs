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
        assert_eq!(format!("{:?}", NhsNumber::parse("9434765919")), "Some(NhsNumber)");
    }
}
