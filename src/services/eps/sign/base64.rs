//! Base64 of RFC 4648 §4, as `digest`, `Provenance.signature.data` and the parts of a signature hold it.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// With padding, in one line.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) as usize & 63;
            out.push(if place <= chunk.len() { ALPHABET.get(digit).map_or('=', |c| *c as char) } else { '=' });
        }
    }
    out
}

/// Reads it back. Blanks between are passed over, padding at the end may be missing (both are seen in messages); anything else that
/// is not of the alphabet makes it `None`.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut group, mut held, mut ended) = (Vec::with_capacity(text.len() / 4 * 3 + 3), 0u32, 0u32, false);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace()) {
        let digit = match c {
            b'=' => {
                ended = true;
                continue;
            }
            _ if ended => return None,
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        group = (group << 6 | u32::from(digit)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((group >> held) as u8);
        }
    }
    // Six bits left over are a digit that belongs to no byte.
    (held < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_nonsense_is_none() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(encode(&[0xff, 0xfe]), "//4=");
        assert_eq!(decode(" Zm\r\n9v\tYg "), Some(b"foob".to_vec()));
        for text in ["Z", "Zm9vY", "Z=g=", "Zg==Zg==", "Zm9v-", "\u{e9}"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
