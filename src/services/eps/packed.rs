//! Messages as they are stored: JSON without blanks between its parts, compressed. Numbers keep their digits, members their order,
//! so what a signature covers can be made anew from it (spec/eps.md §6.5, §16).
//!
//! What all messages have in common (addresses of FHIR's and the NHS's definitions, the order of their parts) is in a dictionary, so that
//! a message takes two thirds of what it takes without one. A value's first byte says which dictionary: 1, or none where a
//! frame of zstd begins at once. A dictionary is for ever; a better one gets the next number.

use bytes::Bytes;
use std::{io::Read, sync::LazyLock};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

/// Longest document that is read back: more than the edge lets in.
const MAX: u64 = 1 << 20;
/// Compression level: beyond it a message gets a percent smaller for several times the work.
const LEVEL: i32 = 6;

/// A message of each kind, as our own clients write them, of a patient who does not exist; the longest kind last.
const DICTIONARY: &[u8] = include_bytes!("dictionary-1.jsonl");
const WITH_DICTIONARY: u8 = 1;
static PACKING: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static UNPACKING: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

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
    let frame = zstd::bulk::Compressor::with_prepared_dictionary(&PACKING).ok()?.compress(&minified(json)).ok()?;
    Some([&[WITH_DICTIONARY], frame.as_slice()].concat().into())
}

/// What [`pack`] packed. `None` where the bytes are no such thing, or too many.
pub fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![];
    let read = match bytes.split_first()? {
        (&WITH_DICTIONARY, frame) => {
            let decoder = zstd::stream::read::Decoder::with_prepared_dictionary(frame, &UNPACKING).ok()?;
            decoder.take(MAX + 1).read_to_end(&mut out).ok()?
        }
        _ => zstd::stream::read::Decoder::new(bytes).ok()?.take(MAX + 1).read_to_end(&mut out).ok()?,
    };
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

    /// Signed orders hold 2 KiB that nothing makes shorter.
    #[test]
    fn a_dictionary_makes_published_messages_shorter_and_is_never_another() {
        const ORDER: &[u8] = include_bytes!("../../../tests/data/eps/02-order-acute-no-nomination/order-request.json");
        const CLAIM: &[u8] = include_bytes!("../../../tests/data/eps/12-claim/acute-request.json");
        for (message, most) in [(ORDER, 80), (CLAIM, 70)] {
            let packed = pack(message).unwrap();
            assert_eq!(unpack(&packed).unwrap(), minified(message));
            let without = zstd::bulk::compress(&minified(message), LEVEL).unwrap();
            assert_eq!(unpack(&without).unwrap(), minified(message), "what an earlier release packed");
            assert!(packed.len() * 100 < without.len() * most, "{} and {}", packed.len(), without.len());
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, DICTIONARY);
        assert_eq!(
            crate::wire::mesh::hex_encode(digest.as_ref()),
            "49fb793f9dab5d3c1ddf842f941935d39d723ba4be68edd62796d628b98c941a",
            "what is stored needs it as it is"
        );
    }

    #[test]
    fn what_is_no_document_or_too_long_is_none() {
        assert_eq!(unpack(b"nothing of ours"), None);
        let long = vec![b'1'; MAX as usize + 1];
        assert_eq!(unpack(&zstd::bulk::compress(&long, 1).unwrap()), None);
    }
}
