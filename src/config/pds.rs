//! What an operator may choose for PDS: the ranges that new NHS numbers come from (spec/pds.md §4), and how strict updates are.

/// Settings of PDS, named after their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pds {
    /// First and last of the first nine digits, in the order of their use; none: nobody can be created.
    pub number_ranges: Vec<(u64, u64)>,
    pub check_organisations: bool,
}

/// Most ranges: each is looked through when a number is taken.
const MOST: usize = 32;

/// Reads `FIRST-LAST,FIRST-LAST`. The numbers kept for tests are the default, but a live site must say what it may hand out:
/// a test number given to somebody stays theirs for ever.
pub fn ranges(text: &str, live: bool) -> Result<Vec<(u64, u64)>, String> {
    if text.trim().is_empty() {
        return Ok(if live { vec![] } else { vec![(999_000_000, 999_999_999)] });
    }
    let mut found: Vec<(u64, u64)> = vec![];
    for part in text.split(',').map(str::trim) {
        let nine = |digits: &str| {
            let digits = digits.trim();
            let whole = digits.len() == 9 && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| whole)
        };
        let range = part.split_once('-').and_then(|(first, last)| nine(first).zip(nine(last)));
        let (first, last) =
            range.ok_or_else(|| format!("pds.number_ranges: {part} is not nine digits, -, nine digits"))?;
        if first > last {
            return Err(format!("pds.number_ranges: {part} ends before it begins"));
        }
        if let Some((a, b)) = found.iter().find(|(a, b)| first <= *b && last >= *a) {
            return Err(format!("pds.number_ranges: {part} overlaps {a:09}-{b:09}"));
        }
        found.push((first, last));
    }
    if found.len() > MOST {
        return Err(format!("pds.number_ranges: more than {MOST} ranges"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_contradictions_named() {
        assert_eq!(ranges("", false).unwrap(), [(999_000_000, 999_999_999)]);
        assert!(ranges(" ", true).unwrap().is_empty(), "a live site hands out no test numbers unasked");
        assert_eq!(ranges("400000000-400000099, 600000000-600000000", true).unwrap().len(), 2);
        for wrong in [
            "4-5",
            "400000000",
            "400000000-39999999a",
            "400000001-400000000",
            "400000000-400000009,400000005-400000100",
        ] {
            assert!(ranges(wrong, true).unwrap_err().starts_with("pds.number_ranges: "), "{wrong}");
        }
    }
}
