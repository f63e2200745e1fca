//! MESH on the wire: authorization tokens, header values, JSON bodies (mesh.md §3, §7, §12, §13). Pure.

pub mod json;
pub mod token;
pub mod values;

/// Undoes percent-encoding; what is not a valid escape stays as it is.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        let escape = match rest {
            [a, b, ..] if *first == b'%' => hex_digit(*a).zip(hex_digit(*b)),
            _ => None,
        };
        match escape {
            Some((a, b)) => {
                out.push(a << 4 | b);
                bytes = &rest[2..];
            }
            None => out.push(*first),
        }
    }
    out
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub fn percent_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &b in bytes {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(b as char);
        } else {
            out.push('%');
            out.push(HEX[usize::from(b >> 4)] as char);
            out.push(HEX[usize::from(b & 15)] as char);
        }
    }
    out
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn hex_digit(b: u8) -> Option<u8> {
    (b as char).to_digit(16).map(|d| d as u8)
}

/// Reads hex of any case. `None` where it is none.
pub fn hex_decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks(2).map(|pair| Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?)).collect()
}

/// Lower-case hex.
pub fn hex_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        out.push(HEX[usize::from(b >> 4)].to_ascii_lowercase() as char);
        out.push(HEX[usize::from(b & 15)].to_ascii_lowercase() as char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_both_ways() {
        assert_eq!(percent_decode("a%20b%2fc%"), b"a b/c%");
        assert_eq!(percent_encode(b"!*a b*"), "%21%2Aa%20b%2A");
        assert_eq!(percent_decode(&percent_encode(&[0, 255, b'x'])), [0, 255, b'x']);
        assert_eq!(hex_decode("00fF"), Some(vec![0, 255]));
        assert_eq!(hex_decode("0g"), None);
        assert_eq!(hex_encode(&[0, 255]), "00ff");
    }
}
