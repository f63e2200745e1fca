//! Reads CBOR (RFC 8949) as authenticators write it: CTAP2's canonical form, in which every length is told first and no key
//! is there twice. Whatever an authenticator does not write is refused: floats, tags, lengths without an end.
//!
//! Invariants: input of any content is read without panic, in one pass, at most [`MOST_DEPTH`] deep; nothing is allocated
//! for more than the input holds.

/// Why bytes are not such CBOR. Says nothing of their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not canonical CBOR")]
pub struct Malformed;

/// An attestation object with a chain of certificates is three deep.
const MOST_DEPTH: u8 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Signed and unsigned integers.
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    /// In the order of the input.
    Map(Vec<(Value, Value)>),
    Bool(bool),
    Null,
}

impl Value {
    /// The value under an integer key; `None` where there is none, or this is no map.
    pub fn at(&self, key: i64) -> Option<&Value> {
        self.find(&Value::Int(key))
    }
    /// The value under a text key.
    pub fn named(&self, key: &str) -> Option<&Value> {
        self.find(&Value::Text(key.into()))
    }
    fn find(&self, key: &Value) -> Option<&Value> {
        let Value::Map(pairs) = self else { return None };
        pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }
    pub fn int(&self) -> Option<i64> {
        if let Value::Int(n) = self { Some(*n) } else { None }
    }
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }
}

/// The first value of the bytes, and what is behind it.
pub fn read(bytes: &[u8]) -> Result<(Value, &[u8]), Malformed> {
    let mut rest = bytes;
    let value = value(&mut rest, MOST_DEPTH)?;
    Ok((value, rest))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = rest.split_at_checked(count).ok_or(Malformed)?;
    *rest = tail;
    Ok(head)
}

/// The number that goes with a head: a value or a length.
fn argument(rest: &mut &[u8], low: u8) -> Result<u64, Malformed> {
    let width = match low {
        0..=23 => return Ok(low.into()),
        24..=27 => 1usize << (low - 24),
        _ => return Err(Malformed),
    };
    Ok(take(rest, width)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

fn value(rest: &mut &[u8], depth: u8) -> Result<Value, Malformed> {
    let deeper = depth.checked_sub(1).ok_or(Malformed)?;
    let head = take(rest, 1)?[0];
    if head >> 5 == 7 {
        return match head {
            0xf4 => Ok(Value::Bool(false)),
            0xf5 => Ok(Value::Bool(true)),
            0xf6 => Ok(Value::Null),
            _ => Err(Malformed),
        };
    }
    let number = argument(rest, head & 31)?;
    let length = usize::try_from(number).map_err(|_| Malformed)?;
    Ok(match head >> 5 {
        0 => Value::Int(i64::try_from(number).map_err(|_| Malformed)?),
        1 => Value::Int(-1 - i64::try_from(number).map_err(|_| Malformed)?),
        2 => Value::Bytes(take(rest, length)?.to_vec()),
        3 => Value::Text(std::str::from_utf8(take(rest, length)?).map_err(|_| Malformed)?.to_owned()),
        4 => {
            let mut items = vec![];
            for _ in 0..length {
                items.push(value(rest, deeper)?);
            }
            Value::Array(items)
        }
        5 => {
            let mut pairs: Vec<(Value, Value)> = vec![];
            for _ in 0..length {
                let key = value(rest, deeper)?;
                if !matches!(key, Value::Int(_) | Value::Text(_)) || pairs.iter().any(|(k, _)| *k == key) {
                    return Err(Malformed);
                }
                pairs.push((key, value(rest, deeper)?));
                if pairs.len() > MOST_PAIRS {
                    return Err(Malformed);
                }
            }
            Value::Map(pairs)
        }
        _ => return Err(Malformed),
    })
}

/// Most pairs of a map: looking for a key twice takes the square of it.
const MOST_PAIRS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_authenticators_write_is_read() {
        // {1: 2, 3: -7, -1: 1, -2: h'0102', "fmt": "none", "x5c": [h'', true, null]}
        let bytes = b"\xa6\x01\x02\x03\x26\x20\x01\x21\x42\x01\x02\x63fmt\x64none\x63x5c\x83\x40\xf5\xf6tail";
        let (map, rest) = read(bytes).unwrap();
        assert_eq!(rest, b"tail");
        assert_eq!((map.at(1).unwrap().int(), map.at(3).unwrap().int()), (Some(2), Some(-7)));
        assert_eq!(map.at(-2).unwrap().bytes(), Some(&[1, 2][..]));
        assert_eq!(map.named("fmt").unwrap().text(), Some("none"));
        let x5c = Value::Array(vec![Value::Bytes(vec![]), Value::Bool(true), Value::Null]);
        assert_eq!(map.named("x5c"), Some(&x5c));
        assert_eq!(read(b"\x19\x01\x00").unwrap().0, Value::Int(256));
        assert_eq!(read(b"\x39\x01\x00").unwrap().0, Value::Int(-257));
    }

    #[test]
    fn all_else_is_refused() {
        // Cut short, no end told, a float, a tag, a key twice, a list as a key, an integer out of range, too deep.
        let deep = [[0x81; 9].as_slice(), &[0]].concat();
        let bad: [&[u8]; 10] = [
            b"",
            b"\x42\x01",
            b"\x5f\xff",
            b"\xf9\x00\x00",
            b"\xc0\x00",
            b"\xa2\x01\x00\x01\x00",
            b"\xa1\x80\x00",
            b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            &deep,
        ];
        for bytes in bad {
            assert_eq!(read(bytes).err(), Some(Malformed), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            if let Ok((_, rest)) = read(&bytes) {
                prop_assert!(bytes.ends_with(rest));
            }
        }
    }
}
