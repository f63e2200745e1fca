//! Whether a short prescription id has its form and its check character (spec/eps.md §4.1, §4.2).

/// What is wrong with a short id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Form,
    Check,
}

/// Reads a short id; small letters become capitals.
pub fn read(text: &str) -> Result<String, Bad> {
    let id = text.to_uppercase();
    let hex = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
    let letter = |b: &u8| b.is_ascii_digit() || b.is_ascii_uppercase();
    let bytes = id.as_bytes();
    let fits = bytes.len() == 20
        && bytes.iter().enumerate().all(|(at, b)| match at {
            6 | 13 => *b == b'-',
            0..=5 | 14..=18 => hex(b),
            19 => letter(b) || *b == b'+',
            _ => letter(b),
        });
    if !fits {
        return Err(Bad::Form);
    }
    let values = bytes.iter().filter(|b| **b != b'-').map(|b| match b {
        b'+' => 36,
        b'0'..=b'9' => u32::from(b - b'0'),
        _ => u32::from(b - b'A') + 10,
    });
    let mut total = 0;
    let mut check = 0;
    for (at, value) in values.enumerate() {
        match at {
            0..=16 => total = ((total + value) * 2) % 37,
            _ => check = value,
        }
    }
    if (total + check) % 37 == 1 { Ok(id) } else { Err(Bad::Check) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ids_check() {
        for id in ["7D9625-Z72BF2-11E3AC", "24F5DA-A83008-7EFE6Z", "4243A0-A99968-4E149+", "24f5da-a83008-7efe6z"] {
            assert_eq!(read(id), Ok(id.to_uppercase()), "{id}");
        }
        for id in ["7D9625-Z72BF2-11E3AD", "34F5DA-A83008-7EFE6Z", "4243A0-A99968-4E1490"] {
            assert_eq!(read(id), Err(Bad::Check), "{id}");
        }
        for id in ["", "7D9625-Z72BF2-11E3A", "7G9625-Z72BF2-11E3AC", "7D9625-Z72BF2-11E3A-", "é7D9625-Z72BF2-11E3A"] {
            assert_eq!(read(id), Err(Bad::Form), "{id}");
        }
    }
}
