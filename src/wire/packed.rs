//! JSON in few bytes: what is stored of FHIR resources. Lossless, the order of members included, so a version renders to the same
//! bytes for ever; words of the FHIR shapes cost one byte (`packed_words`), dates three, object ids four, digits half a byte each.
//!
//! | first byte | value |
//! |---|---|
//! | 0, 1, 2 | null, false, true |
//! | 3 | integer, zigzag varint |
//! | 4 | any other number, as its text: varint length, text |
//! | 5 | text: varint length, UTF-8 |
//! | 6, 7 | array, object of more than 15: varint count, items; an object's are name and value |
//! | 8 | `YYYY-MM-DD`: 3 bytes, year × 512 + month × 32 + day |
//! | 9 | eight upper-case hex digits: 4 bytes |
//! | 10 | digits only: varint count, two to a byte, high half first |
//! | 11 | a date as under 8, followed by `T00:00:00+00:00` |
//! | 32–95 | text of 0 to 63 bytes |
//! | 96–111, 112–127 | array, object of 0 to 15 |
//! | 128–254, 255 | a word of the list by its number; 255: varint of the number less 127 |

use super::packed_words::{number_of, word};
use super::record::{Malformed, get_varint, put_varint};
use bytes::{Buf, Bytes};
use serde_json::{Map, Number, Value};

/// Deepest nesting that is read back: more than the JSON reader lets in (128).
const MAX_DEPTH: u32 = 200;

/// A value's bytes.
pub fn pack(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(256);
    put(value, &mut out);
    out.into()
}

/// Reads what [`pack`] wrote; null for no bytes at all.
pub fn unpack(bytes: &Bytes) -> Result<Value, Malformed> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let mut bytes = bytes.clone();
    let value = take(&mut bytes, 0)?;
    if bytes.has_remaining() { Err(Malformed::Truncated) } else { Ok(value) }
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(no_or_yes) => out.push(1 + u8::from(*no_or_yes)),
        Value::Number(number) => match number.as_i64() {
            Some(n) => {
                out.push(3);
                put_varint(((n << 1) ^ (n >> 63)) as u64, out);
            }
            None => put_counted(4, number.to_string().as_bytes(), out),
        },
        Value::String(text) => put_text(text, out),
        Value::Array(items) => {
            put_count(6, 96, items.len(), out);
            items.iter().for_each(|item| put(item, out));
        }
        Value::Object(members) => {
            put_count(7, 112, members.len(), out);
            for (name, value) in members {
                put_text(name, out);
                put(value, out);
            }
        }
    }
}

fn put_count(long: u8, short: u8, count: usize, out: &mut Vec<u8>) {
    if count < 16 {
        out.push(short + count as u8);
    } else {
        out.push(long);
        put_varint(count as u64, out);
    }
}

fn put_counted(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    if let Some(number) = number_of(text) {
        if number < 127 {
            out.push(128 + number as u8);
        } else {
            out.push(255);
            put_varint(number as u64 - 127, out);
        }
        return;
    }
    let bytes = text.as_bytes();
    if let Some(day) = packed_day(text) {
        out.push(8);
        out.extend_from_slice(&day);
    } else if let Some(day) = text.strip_suffix(MIDNIGHT).and_then(packed_day) {
        out.push(11);
        out.extend_from_slice(&day);
    } else if bytes.len() == 8
        && bytes.iter().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b))
        && let Ok(id) = u32::from_str_radix(text, 16)
    {
        out.push(9);
        out.extend_from_slice(&id.to_be_bytes());
    } else if bytes.len() > 3 && bytes.iter().all(u8::is_ascii_digit) {
        out.push(10);
        put_varint(bytes.len() as u64, out);
        for pair in bytes.chunks(2) {
            out.push((pair[0] - b'0') << 4 | pair.get(1).map_or(0, |b| b - b'0'));
        }
    } else if bytes.len() < 64 {
        out.push(32 + bytes.len() as u8);
        out.extend_from_slice(bytes);
    } else {
        put_counted(5, bytes, out);
    }
}

const MIDNIGHT: &str = "T00:00:00+00:00";

/// Three bytes of `YYYY-MM-DD`, if the text is exactly that.
fn packed_day(text: &str) -> Option<[u8; 3]> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |from: usize, to: usize| {
        let part = &bytes[from..to];
        part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0u32, |n, b| n * 10 + u32::from(b - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if month > 15 || day > 31 {
        return None;
    }
    let packed = (year << 9 | month << 5 | day).to_be_bytes();
    Some([packed[1], packed[2], packed[3]])
}

fn take(bytes: &mut Bytes, depth: u32) -> Result<Value, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed::Range(depth));
    }
    if !bytes.has_remaining() {
        return Err(Malformed::Truncated);
    }
    let tag = bytes.get_u8();
    Ok(match tag {
        0 => Value::Null,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => {
            let n = get_varint(bytes)?;
            Value::from((n >> 1) as i64 ^ -((n & 1) as i64))
        }
        4 => {
            let text = counted(bytes)?;
            Value::Number(text.parse::<Number>().map_err(|_| Malformed::Range(4))?)
        }
        6 => items(count(bytes)?, bytes, depth)?,
        7 => members(count(bytes)?, bytes, depth)?,
        96..=111 => items(usize::from(tag - 96), bytes, depth)?,
        112..=127 => members(usize::from(tag - 112), bytes, depth)?,
        tag => Value::String(text(tag, bytes)?),
    })
}

fn items(count: usize, bytes: &mut Bytes, depth: u32) -> Result<Value, Malformed> {
    let mut items = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        items.push(take(bytes, depth + 1)?);
    }
    Ok(Value::Array(items))
}

fn members(count: usize, bytes: &mut Bytes, depth: u32) -> Result<Value, Malformed> {
    let mut members = Map::new();
    for _ in 0..count {
        if !bytes.has_remaining() {
            return Err(Malformed::Truncated);
        }
        let tag = bytes.get_u8();
        let name = text(tag, bytes)?;
        members.insert(name, take(bytes, depth + 1)?);
    }
    Ok(Value::Object(members))
}

/// Each item takes a byte at least, so a count cannot ask for more than there is.
fn count(bytes: &mut Bytes) -> Result<usize, Malformed> {
    let count = get_varint(bytes)?;
    if count > bytes.len() as u64 { Err(Malformed::Truncated) } else { Ok(count as usize) }
}

fn counted(bytes: &mut Bytes) -> Result<String, Malformed> {
    let len = count(bytes)?;
    utf8(bytes.split_to(len))
}

fn utf8(bytes: Bytes) -> Result<String, Malformed> {
    String::from_utf8(bytes.into()).map_err(|_| Malformed::Range(5))
}

fn need(bytes: &Bytes, len: usize) -> Result<(), Malformed> {
    if bytes.len() < len { Err(Malformed::Truncated) } else { Ok(()) }
}

fn text(tag: u8, bytes: &mut Bytes) -> Result<String, Malformed> {
    let unknown = |number: u64| word(number as usize).map(str::to_owned).ok_or(Malformed::Range(128));
    match tag {
        5 => counted(bytes),
        8 => day(bytes),
        9 => {
            need(bytes, 4)?;
            Ok(format!("{:08X}", bytes.get_u32()))
        }
        10 => {
            let digits = get_varint(bytes)?;
            if digits > 2 * bytes.len() as u64 {
                return Err(Malformed::Truncated);
            }
            let digits = digits as usize;
            let packed = bytes.split_to(digits.div_ceil(2));
            let halves = packed.iter().flat_map(|b| [b >> 4, b & 15]).take(digits);
            halves.map(|d| char::from_digit(d.into(), 10).ok_or(Malformed::Range(10))).collect()
        }
        11 => Ok(day(bytes)? + MIDNIGHT),
        32..=95 => {
            let len = usize::from(tag - 32);
            need(bytes, len)?;
            utf8(bytes.split_to(len))
        }
        128..=254 => unknown(u64::from(tag - 128)),
        255 => unknown(get_varint(bytes)?.saturating_add(127)),
        tag => Err(Malformed::Type(tag.into())),
    }
}

fn day(bytes: &mut Bytes) -> Result<String, Malformed> {
    need(bytes, 3)?;
    let packed = bytes.get_uint(3);
    Ok(format!("{:04}-{:02}-{:02}", packed >> 9, packed >> 5 & 15, packed & 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_value_comes_back_as_it_was() {
        let value = json!({
            "resourceType": "Patient", "birthDate": "2010-10-22", "deceasedDateTime": "2010-10-22T00:00:00+00:00",
            "id": "254406A3", "phone": "01632960587", "odd": "12345", "n": [0, -1, 7, i64::MIN, u64::MAX, 1.25],
            "b": [true, false, null], "": "", "long": "x".repeat(300), "short": "Jane", "nodate": "2010-19-22", "lower": "254406a3",
            "year": "2010", "deep": [[[[{"a": []}]]]], "many": (0..40).collect::<Vec<_>>(),
        });
        let bytes = pack(&value);
        assert_eq!(unpack(&bytes).unwrap(), value);
        assert_eq!(unpack(&Bytes::new()).unwrap(), Value::Null);
        for end in 1..bytes.len() {
            assert!(unpack(&bytes.slice(..end)).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = unpack(&bytes.into()) {
                prop_assert_eq!(unpack(&pack(&value)).unwrap(), value);
            }
        }
        #[test]
        fn any_text_comes_back(text in ".{0,80}|[0-9]{1,20}|[0-9A-F]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}(T00:00:00\\+00:00)?") {
            let value = Value::String(text);
            prop_assert_eq!(unpack(&pack(&value)).unwrap(), value);
        }
    }
}
