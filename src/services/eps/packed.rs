//! Messages as they are stored: JSON without blanks between its parts, compressed. Numbers keep their digits, members their order,
//! so what a signature covers can be made anew from it (spec/eps.md §6.5, §16).

use bytes::Bytes;
use std::io::Read;

/// Longest document that is read back: more than the edge lets in.
const MAX: u64 = 1 << 20;
/// Compression level: beyond it a message gets a percent smaller for several times the work.
const LEVEL: i32 = 6;

/// Takes the blanks between the parts of a JSON text away.
pub fn minified(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut text, mut escaped) = (false, false);
    for &byte in json {
        if text {
            out.push(byte);
            (text, escaped) = match byte {
                _ if escaped => (true, false),
                b'\\' => (true, true),
                b'"' => (false, false),
                _ => (true, false),
            };
        } else if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            text = byte == b'"';
            out.push(byte);
        }
    }
    out
}

/// A message, packed; `None` only where there is no memory for it.
pub fn pack(json: &[u8]) -> Option<Bytes> {
    zstd::bulk::compress(&minified(json), LEVEL).ok().map(Bytes::from)
}

/// What [`pack`] packed. `None` where the bytes are no such thing, or too many.
pub fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![];
    let decoder = zstd::stream::read::Decoder::new(bytes).ok()?;
    let read = decoder.take(MAX + 1).read_to_end(&mut out).ok()?;
    (read as u64 <= MAX).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_digits_texts_and_order() {
        let json = b"{ \"b\" : 63.0 ,\n \"a\" : \" two  blanks, a \\\" and \\\\\" , \"c\":[ 1 , 2 ] }";
        let packed = pack(json).unwrap();
        let back = String::from_utf8(unpack(&packed).unwrap()).unwrap();
        assert_eq!(back, r#"{"b":63.0,"a":" two  blanks, a \" and \\","c":[1,2]}"#);
    }

    #[test]
    fn what_is_no_document_or_too_long_is_none() {
        assert_eq!(unpack(b"nothing of ours"), None);
        let long = vec![b'1'; MAX as usize + 1];
        assert_eq!(unpack(&zstd::bulk::compress(&long, 1).unwrap()), None);
    }
}
