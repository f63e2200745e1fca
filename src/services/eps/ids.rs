//! Identifiers of prescriptions (spec/eps.md §4): the short id with its check character, UUIDs and ODS codes as EPS takes them.
//!
//! Invariant: what these functions return is in the one form in which it is stored and compared: short ids and ODS codes in
//! upper case, UUIDs in lower case.

use aws_lc_rs::digest::{SHA256, digest};

/// Characters of a short id, `HHHHHH-OOOOOO-SSSSSC`.
pub const SHORT: usize = 20;

/// Values 0 to 36 of check characters.
const ALPHABET: &[u8; 37] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ+";

/// Why text is no short id; its text is what follows the field's name in a refusal (§7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadShortId {
    #[error("has invalid format")]
    Format,
    #[error("has invalid checksum")]
    Check,
}

/// The check character that the payload (hyphens are skipped) needs; `None` for a character that has no value (§4.2).
pub fn check_character(payload: &str) -> Option<char> {
    let mut total = 0u32;
    for b in payload.bytes().filter(|b| *b != b'-') {
        let value = match b {
            b'0'..=b'9' => b - b'0',
            b'A'..=b'Z' => b - b'A' + 10,
            _ => return None,
        };
        total = ((total + u32::from(value)) * 2) % 37;
    }
    ALPHABET.get(((38 - total) % 37) as usize).map(|b| char::from(*b))
}

/// Reads a short id; small letters become capitals (§4.1).
pub fn short(text: &str) -> Result<String, BadShortId> {
    let id = text.to_ascii_uppercase();
    let bytes = id.as_bytes();
    let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    let capital = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'Z');
    let fits = bytes.len() == SHORT
        && bytes.iter().enumerate().all(|(at, b)| match at {
            6 | 13 => *b == b'-',
            0..6 | 14..19 => hex(b),
            7..13 => capital(b),
            _ => capital(b) || *b == b'+',
        });
    if !fits {
        return Err(BadShortId::Format);
    }
    let right = check_character(key(&id)) == id.chars().last();
    if right { Ok(id) } else { Err(BadShortId::Check) }
}

/// A short id out of a query: one in 37 ends with a plus sign, and clients that write it as it is have it read as a blank
/// (`application/x-www-form-urlencoded`). No id has a blank.
pub fn from_query(text: &str) -> String {
    match text.strip_suffix(' ') {
        Some(front) => format!("{front}+"),
        None => text.to_owned(),
    }
}

/// What a prescription is stored under: the short id without its check character.
pub fn key(short: &str) -> &str {
    short.get(..SHORT - 1).unwrap_or(short)
}

/// A short id from its parts, as a prescribing system makes it: 24 random bits, its ODS code (padded with 0 to six
/// characters), its counter. `None` where the code is longer or holds anything but letters and digits.
pub fn make(random: u32, ods: &str, counter: u32) -> Option<String> {
    if ods.len() > 6 || !ods.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let ods = ods.to_ascii_uppercase();
    let mut id = format!("{:06X}-{ods:0>6}-{:05X}", random & 0xff_ffff, counter & 0xf_ffff);
    id.push(check_character(&id)?);
    Some(id)
}

/// A UUID in its usual form, in lower case; they compare without case (§4).
pub fn uuid(text: &str) -> Option<String> {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let fits = text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    fits.then(|| text.to_ascii_lowercase())
}

/// An organisation's code as the store takes it: 1 to 8 letters, digits or hyphens (§7.2), in upper case.
pub fn ods(text: &str) -> Option<String> {
    code(text, 8)
}

/// A code of 1 to `most` letters, digits or hyphens, in upper case.
pub fn code(text: &str, most: usize) -> Option<String> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    fits.then(|| text.to_ascii_uppercase())
}

/// A UUID (version 8) made of a text.
pub fn made_of(text: &str) -> String {
    let mut id = [0; 16];
    id.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref().first_chunk::<16>().unwrap_or(&[0; 16]));
    uuid::Builder::from_custom_bytes(id).into_uuid().to_string()
}

/// Message id of the return by which Spine takes a prescription back from a release whose signature check it failed (§9.4): the same
/// for a repeat of that release.
pub fn taken_back(request: &str, id: &str) -> String {
    made_of(&format!("{request} back {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_check_characters_of_the_specification() {
        for (payload, check) in [
            ("7D9625-Z72BF2-11E3A", 'C'),
            ("24F5DA-A83008-7EFE6", 'Z'),
            ("E7ZG38-ZBACYU-V38SR", '+'),
            ("A0548B-A99968-45148", '5'),
        ] {
            assert_eq!(check_character(payload), Some(check), "{payload}");
        }
        assert_eq!(check_character("é"), None);
        // Total 0 needs 1; total 1 (19 doubled is 38) needs 0.
        assert_eq!((check_character(""), check_character("J")), (Some('1'), Some('0')));
    }

    #[test]
    fn a_short_id_is_read_in_any_case_and_refused_for_its_form_or_its_check_character() {
        assert_eq!(short("24f5da-a83008-7efe6z").as_deref(), Ok("24F5DA-A83008-7EFE6Z"));
        assert_eq!(short("4243A0-A99968-4E149+").as_deref(), Ok("4243A0-A99968-4E149+"));
        assert_eq!(short("24F5DA-A83008-7EFE6Y"), Err(BadShortId::Check));
        assert_eq!(short("269CA9-A99968-4577BP"), Err(BadShortId::Check));
        for wrong in
            ["", "E7ZG38-ZBACYU-V38SR+", "24F5DAA83008-7EFE6Z", "24F5DA-A83008-7EFE6é", "24F5DA-A83008-7EFE6ZZ"]
        {
            assert_eq!(short(wrong), Err(BadShortId::Format), "{wrong}");
        }
        assert_eq!(key("24F5DA-A83008-7EFE6Z"), "24F5DA-A83008-7EFE6");
        assert_eq!((key(""), key("éééééééééé")), ("", "éééééééééé"));
    }

    #[test]
    fn a_made_id_is_read_back() {
        assert_eq!(make(0x24f5da, "A83008", 0x7efe6).as_deref(), Some("24F5DA-A83008-7EFE6Z"));
        for n in 0..2_000u32 {
            let id = make(n.wrapping_mul(7_919), "vn5", n).expect("made");
            assert_eq!(short(&id).as_deref(), Ok(id.as_str()));
        }
        assert_eq!((make(1, "A830081", 1), make(1, "é", 1)), (None, None));
    }

    #[test]
    fn uuids_and_codes_take_one_form() {
        let low = "46183abc-9fad-4673-85db-ce2cb6614732";
        assert_eq!(uuid(&low.to_uppercase()).as_deref(), Some(low));
        assert_eq!(uuid(&format!("urn:uuid:{low}")).as_deref(), Some(low));
        for wrong in ["", "46183abc9fad467385dbce2cb6614732", "46183abc-9fad-4673-85db-ce2cb661473g", "é"] {
            assert_eq!(uuid(wrong), None, "{wrong}");
        }
        assert_eq!(ods("a83008").as_deref(), Some("A83008"));
        assert_eq!((ods(""), ods("A83008123"), ods("A 3")), (None, None, None));
        assert_eq!(code("A83008123", 12).as_deref(), Some("A83008123"));
    }
}
