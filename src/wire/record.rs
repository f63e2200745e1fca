//! The one encoding of everything Spine stores or sends between nodes: rows, log entries, commands, frames.
//!
//! A record is a version byte, then fields in protobuf wire form (varint key `number << 3 | type`, types 0 varint
//! and 2 length-delimited). Defaults are omitted. A reader keeps fields it does not know and writes them back, so
//! that neighbours of two releases can live together (P8). Field numbers are for ever: appended, never reused.

use bytes::{Buf, BufMut, Bytes};

/// Why bytes are not a record. Carries no content: content may be a patient's (P10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("record is empty")]
    Empty,
    #[error("record version {0} is newer than this program reads")]
    Version(u8),
    #[error("record ends inside a field")]
    Truncated,
    #[error("field {0} has the wrong type")]
    Type(u32),
    #[error("field {0} holds a value out of range")]
    Range(u32),
}

/// Fields of a newer release, kept as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown(pub Vec<u8>);

/// One decoded field value.
pub enum Raw {
    Varint(u64),
    Bytes(Bytes),
}

impl Raw {
    fn varint(self, field: u32) -> Result<u64, Malformed> {
        match self {
            Raw::Varint(v) => Ok(v),
            Raw::Bytes(_) => Err(Malformed::Type(field)),
        }
    }
    fn bytes(self, field: u32) -> Result<Bytes, Malformed> {
        match self {
            Raw::Bytes(b) => Ok(b),
            Raw::Varint(_) => Err(Malformed::Type(field)),
        }
    }
}

/// A type that can stand in a field. `merge` is called once for each occurrence (lists repeat).
pub trait Field: Default {
    fn put(&self, field: u32, out: &mut Vec<u8>);
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed>;
}

/// A whole record: what [`record!`](crate::record) makes.
pub trait Record: Sized {
    fn encode_into(&self, out: &mut Vec<u8>);
    fn decode(bytes: &Bytes) -> Result<Self, Malformed>;
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(128);
        self.encode_into(&mut out);
        out.into()
    }
}

pub fn put_varint(mut v: u64, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

pub fn get_varint(bytes: &mut Bytes) -> Result<u64, Malformed> {
    let mut v = 0u64;
    for shift in (0..70).step_by(7) {
        if !bytes.has_remaining() {
            return Err(Malformed::Truncated);
        }
        let b = bytes.get_u8();
        if shift == 63 && b > 1 {
            return Err(Malformed::Truncated);
        }
        v |= u64::from(b & 0x7f) << shift;
        if b & 0x80 == 0 {
            return Ok(v);
        }
    }
    Err(Malformed::Truncated)
}

pub fn put_bytes(field: u32, value: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(field) << 3 | 2, out);
    put_varint(value.len() as u64, out);
    out.put_slice(value);
}

/// Takes the next field, or `None` at the end. Slices share the input's memory.
pub fn next_field(bytes: &mut Bytes) -> Result<Option<(u32, Raw)>, Malformed> {
    if !bytes.has_remaining() {
        return Ok(None);
    }
    let key = get_varint(bytes)?;
    let field = u32::try_from(key >> 3).map_err(|_| Malformed::Truncated)?;
    match key & 7 {
        0 => Ok(Some((field, Raw::Varint(get_varint(bytes)?)))),
        2 => {
            let len = get_varint(bytes)?;
            if len > bytes.len() as u64 {
                return Err(Malformed::Truncated);
            }
            Ok(Some((field, Raw::Bytes(bytes.split_to(len as usize)))))
        }
        _ => Err(Malformed::Type(field)),
    }
}

/// Writes a field of a newer release back as it came.
pub fn keep_unknown(field: u32, raw: Raw, unknown: &mut Unknown) {
    match raw {
        Raw::Varint(v) => {
            put_varint(u64::from(field) << 3, &mut unknown.0);
            put_varint(v, &mut unknown.0);
        }
        Raw::Bytes(b) => put_bytes(field, &b, &mut unknown.0),
    }
}

macro_rules! varint_field {
    ($($t:ty),*) => {$(
        impl Field for $t {
            fn put(&self, field: u32, out: &mut Vec<u8>) {
                if *self != <$t>::default() {
                    put_varint(u64::from(field) << 3, out);
                    put_varint(u64::from(*self), out);
                }
            }
            fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
                *self = <$t>::try_from(raw.varint(field)?).map_err(|_| Malformed::Range(field))?;
                Ok(())
            }
        }
    )*};
}
varint_field!(u8, u16, u32, u64);

impl Field for bool {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        u8::from(*self).put(field, out);
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        *self = raw.varint(field)? != 0;
        Ok(())
    }
}

impl Field for String {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_bytes(field, self.as_bytes(), out);
        }
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        *self = String::from_utf8(raw.bytes(field)?.into()).map_err(|_| Malformed::Range(field))?;
        Ok(())
    }
}

impl Field for Bytes {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_bytes(field, self, out);
        }
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        *self = raw.bytes(field)?;
        Ok(())
    }
}

impl<const N: usize> Field for [u8; N]
where
    [u8; N]: Default,
{
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        put_bytes(field, self, out);
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        *self = raw.bytes(field)?.as_ref().try_into().map_err(|_| Malformed::Range(field))?;
        Ok(())
    }
}

/// Items of a list must not encode to nothing, so each goes as bytes or as a wrapped record.
impl<T: ListItem> Field for Vec<T> {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        for item in self {
            item.put_item(field, out);
        }
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        self.push(T::take_item(field, raw.bytes(field)?)?);
        Ok(())
    }
}

impl<T: ListItem> Field for Option<T> {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        if let Some(item) = self {
            item.put_item(field, out);
        }
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        *self = Some(T::take_item(field, raw.bytes(field)?)?);
        Ok(())
    }
}

/// What a list or an option may hold: always length-delimited, so that an empty or zero item is still there.
pub trait ListItem: Sized {
    fn put_item(&self, field: u32, out: &mut Vec<u8>);
    fn take_item(field: u32, bytes: Bytes) -> Result<Self, Malformed>;
}

impl ListItem for String {
    fn put_item(&self, field: u32, out: &mut Vec<u8>) {
        put_bytes(field, self.as_bytes(), out);
    }
    fn take_item(field: u32, bytes: Bytes) -> Result<Self, Malformed> {
        String::from_utf8(bytes.into()).map_err(|_| Malformed::Range(field))
    }
}

impl ListItem for Bytes {
    fn put_item(&self, field: u32, out: &mut Vec<u8>) {
        put_bytes(field, self, out);
    }
    fn take_item(_: u32, bytes: Bytes) -> Result<Self, Malformed> {
        Ok(bytes)
    }
}

impl ListItem for u64 {
    fn put_item(&self, field: u32, out: &mut Vec<u8>) {
        let mut v = Vec::with_capacity(10);
        put_varint(*self, &mut v);
        put_bytes(field, &v, out);
    }
    fn take_item(_: u32, mut bytes: Bytes) -> Result<Self, Malformed> {
        get_varint(&mut bytes)
    }
}

impl<R: Record> ListItem for R {
    fn put_item(&self, field: u32, out: &mut Vec<u8>) {
        put_bytes(field, &self.encode(), out);
    }
    fn take_item(_: u32, bytes: Bytes) -> Result<Self, Malformed> {
        R::decode(&bytes)
    }
}

impl<R: Record + Default + PartialEq> Field for R {
    fn put(&self, field: u32, out: &mut Vec<u8>) {
        if *self != R::default() {
            self.put_item(field, out);
        }
    }
    fn merge(&mut self, field: u32, raw: Raw) -> Result<(), Malformed> {
        *self = R::take_item(field, raw.bytes(field)?)?;
        Ok(())
    }
}

/// Defines a record: a plain struct with numbered fields, its encoding and decoding, and a place for unknown fields.
///
/// ```
/// spine::record! {
///     /// A point, version 1.
///     pub struct Point v1 {
///         1 => x: u64,
///         2 => label: Option<String>,
///     }
/// }
/// use spine::wire::record::Record;
/// let p = Point { x: 7, label: Some("here".into()), ..Default::default() };
/// assert_eq!(Point::decode(&p.encode()), Ok(p));
/// ```
#[macro_export]
macro_rules! record {
    ($(#[$meta:meta])* $vis:vis struct $name:ident v1 { $($(#[$fmeta:meta])* $num:literal => $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$fmeta])* pub $field: $ty,)*
            /// Fields of a newer release, written back unchanged (P8).
            pub unknown: $crate::wire::record::Unknown,
        }
        impl $crate::wire::record::Record for $name {
            fn encode_into(&self, out: &mut Vec<u8>) {
                out.push(1);
                $($crate::wire::record::Field::put(&self.$field, $num, out);)*
                out.extend_from_slice(&self.unknown.0);
            }
            fn decode(bytes: &::bytes::Bytes) -> Result<Self, $crate::wire::record::Malformed> {
                let mut bytes = bytes.clone();
                match bytes.first() {
                    None => return Err($crate::wire::record::Malformed::Empty),
                    Some(1) => {}
                    Some(v) => return Err($crate::wire::record::Malformed::Version(*v)),
                }
                ::bytes::Buf::advance(&mut bytes, 1);
                let mut out = Self::default();
                while let Some((field, raw)) = $crate::wire::record::next_field(&mut bytes)? {
                    match field {
                        $($num => $crate::wire::record::Field::merge(&mut out.$field, $num, raw)?,)*
                        _ => $crate::wire::record::keep_unknown(field, raw, &mut out.unknown),
                    }
                }
                Ok(out)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    record! {
        struct Old v1 { 1 => a: u64 }
    }
    record! {
        struct New v1 { 1 => a: u64, 2 => b: Vec<String>, 3 => c: Option<Bytes>, 4 => d: [u8; 4], 5 => e: Option<Old> }
    }

    #[test]
    fn an_old_reader_keeps_what_it_does_not_know() {
        let new = New {
            a: 1,
            b: vec!["x".into(), "".into()],
            c: Some(Bytes::new()),
            d: [1, 2, 3, 4],
            e: Some(Old { a: 9, ..Default::default() }),
            ..Default::default()
        };
        let mut old = Old::decode(&new.encode()).unwrap();
        old.a = 300;
        let back = New::decode(&old.encode()).unwrap();
        assert_eq!(back, New { a: 300, ..new });
    }

    #[test]
    fn broken_bytes_are_named_not_guessed() {
        assert_eq!(Old::decode(&Bytes::new()), Err(Malformed::Empty));
        assert_eq!(Old::decode(&Bytes::from_static(&[2])), Err(Malformed::Version(2)));
        assert_eq!(Old::decode(&Bytes::from_static(&[1, 8])), Err(Malformed::Truncated));
        assert_eq!(Old::decode(&Bytes::from_static(&[1, 10, 0])), Err(Malformed::Type(1)));
        assert_eq!(Old::decode(&Bytes::from_static(&[1, 10, 255, 255, 255, 255, 15])), Err(Malformed::Truncated));
    }
}
